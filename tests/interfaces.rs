//! `Interfaces`: looking up in a snapshot, and reading one of this host.

mod util;

use std::collections::BTreeSet;
use std::error::Error;
use std::io;
use std::net::IpAddr;

use bindaddr::interfaces::{AddrState, Interface, InterfaceAddr};
use bindaddr::{BindOptions, Exposure, Interfaces};
use proptest::prelude::*;
use util::netns::{in_namespace, ip as run_ip, set};
use util::{interfaces, ip, near_ips, office};

fn names<'a>(interfaces: impl Iterator<Item = &'a Interface>) -> Vec<&'a str> {
    interfaces.map(Interface::name).collect()
}

#[test]
fn interface_lookup_by_name_index_and_address() {
    let host = office();
    assert_eq!(names(host.by_name("eth0.100").into_iter()), ["eth0.100"]);
    assert_eq!(names(host.by_index(2).into_iter()), ["eth0"]);
    assert_eq!(names(host.by_ip(ip("192.168.71.67"))), ["eth0"]);
    assert_eq!(names(host.by_ip(ip("::ffff:192.168.71.67"))), ["eth0"]);
    assert_eq!(names(host.by_ip(ip("fe80::77"))), ["eth0", "eth0.100"]);
    assert_eq!(names(host.by_ip(ip("192.168.71.68"))), [""; 0]);
    assert!(host.by_name("eth1").is_none());
    assert!(host.by_index(0).is_none());
    assert!(Interfaces::default().is_empty());
    assert!((&host).into_iter().eq(host.iter()));
    assert!(host == office() && host != office().with_default_source(ip("192.168.71.67")));
    assert_ne!(host, host.iter().skip(1).cloned().collect());
}

#[test]
fn loopback_address_marks_interface_in_any_order() {
    for ips in [["192.168.1.1", "127.0.0.1"], ["127.0.0.1", "192.168.1.1"]] {
        let lo = Interface::new("lo0", 1);
        let lo = ips.iter().fold(lo, |lo, text| lo.with_addr(ip(text), 32));
        assert!(lo.is_loopback(), "{ips:?}");
    }
}

#[test]
fn entries_with_one_index_are_one_interface() {
    // As Linux lists an address with a label.
    let host: Interfaces = [
        Interface::new("eth0:web", 2).with_addr(ip("10.0.0.2"), 8),
        Interface::new("eth0", 2).with_addr(ip("10.0.0.1"), 8),
        Interface::new("eth0", 2).with_addr(ip("10.0.0.1"), 16),
    ]
    .into_iter()
    .collect();
    assert_eq!(names(host.iter()), ["eth0"]);
    assert_eq!(names(host.by_ip(ip("10.0.0.2"))), ["eth0"]);
    assert_eq!(
        names(host.by_ip(ip("10.0.0.1"))),
        ["eth0"],
        "once, though it has it twice"
    );
    let addrs: Vec<String> = host
        .iter()
        .flat_map(Interface::addrs)
        .map(ToString::to_string)
        .collect();
    assert_eq!(addrs, ["10.0.0.1/8", "10.0.0.1/16", "10.0.0.2/8"]);
}

#[test]
fn interface_without_index_is_keyed_by_name() {
    for order in [[0, 7], [7, 0]] {
        let host: Interfaces = order
            .map(|index| Interface::new("Ethernet", index).with_addr(ip("10.0.0.1"), 8))
            .into_iter()
            .collect();
        assert_eq!(
            host.iter().map(Interface::index).collect::<Vec<_>>(),
            [Some(7)]
        );
    }
    let host: Interfaces = [Interface::new("a", 0), Interface::new("b", 0)]
        .into_iter()
        .collect();
    assert_eq!(names(host.iter()), ["a", "b"]);
    assert_eq!(host.by_name("a").unwrap().index(), None);
}

#[test]
fn system_snapshot_has_loopback() {
    let host = Interfaces::system().unwrap();
    // Each address that this host lists is found again, and binds or is IPv6.
    for interface in &host {
        assert!(host.by_name(interface.name()).is_some());
        for addr in interface.addrs() {
            assert!(
                host.by_ip(addr.ip()).any(|with| with == interface),
                "{addr}"
            );
        }
    }
}

/// Holds what is read here against if-addrs, address by address.
#[track_caller]
fn assert_as_if_addrs_reads() {
    let host = Interfaces::system().expect("netlink is there");
    let theirs = if_addrs::get_if_addrs().expect("netlink is there");
    let mut ours = 0;
    for interface in &host {
        for addr in interface.addrs() {
            ours += 1;
            let entry = theirs.iter().find(|entry| {
                entry.index == interface.index()
                    && entry.ip() == addr.ip()
                    && (addr.peer().is_some() || prefix_len(entry) == addr.prefix_len())
            });
            let entry = entry.unwrap_or_else(|| panic!("{interface} {addr} is not of if-addrs"));
            assert_eq!(entry.is_oper_up(), interface.is_running(), "{interface}");
            let label = entry.name.split(':').next();
            assert_eq!(label, Some(interface.name()), "{entry:?}");
        }
    }
    assert_eq!(ours, theirs.len());
}

fn prefix_len(entry: &if_addrs::Interface) -> u8 {
    match &entry.addr {
        if_addrs::IfAddr::V4(addr) => addr.prefixlen,
        if_addrs::IfAddr::V6(addr) => addr.prefixlen,
    }
}

#[test]
fn snapshot_agrees_with_if_addrs() {
    in_namespace(|| {
        assert_as_if_addrs_reads();
        run_ip("link add name eth0 type veth peer name far0");
        run_ip("addr add 10.0.0.1/24 dev eth0");
        run_ip("addr add 10.0.0.2/24 brd 10.0.0.200 dev eth0 label eth0:web");
        run_ip("addr add 10.0.0.1/16 dev eth0");
        run_ip("addr add 10.9.9.9/32 dev lo");
        run_ip("addr add 10.8.0.1 peer 10.8.0.2 dev far0");
        run_ip("addr add fd00::1 peer fd00::2 dev far0");
        // Down, so duplicate address detection never ends.
        assert_as_if_addrs_reads();
        run_ip("link set eth0 up");
        assert_as_if_addrs_reads();
        run_ip("link set far0 up");
        run_ip("addr add fd01::1/64 dev eth0");
        assert_as_if_addrs_reads();
        // The interfaces that have IPv6 are no longer all.
        set("net/ipv6/conf/far0/disable_ipv6", "1");
        assert_as_if_addrs_reads();
        run_ip("link set eth0 mtu 1000"); // less than IPv6 takes
        assert_as_if_addrs_reads();
        set("net/ipv6/conf/all/disable_ipv6", "1");
        assert_as_if_addrs_reads();
        // More than one datagram of the kernel's holds.
        let lines = (0..200).flat_map(|n| {
            let vips = (0..4).map(move |m| format!("addr add 10.102.{n}.{m}/32 dev lo"));
            let pair = [
                format!("link add d{n} type veth peer name p{n}"),
                format!("addr add 10.100.{n}.1/32 dev d{n}"),
                format!("addr add 10.101.{n}.1/24 dev p{n}"),
                format!("link set d{n} up"),
            ];
            pair.into_iter().chain(vips)
        });
        let batch: Vec<String> = lines.collect();
        util::netns::ip_batch(&batch.join("\n"));
        assert_as_if_addrs_reads();
        assert_eq!(Interfaces::system().unwrap().iter().count(), 403);
    });
}

#[test]
fn address_has_state_and_peer() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        run_ip("link add name eth0 type veth peer name far0");
        run_ip("link set eth0 up");
        run_ip("link set far0 up");
        set("net/ipv6/conf/far0/accept_dad", "0");
        set("net/ipv6/conf/eth0/use_tempaddr", "2");
        run_ip("addr add 2001:db8::1/64 dev eth0 nodad mngtmpaddr");
        run_ip("addr add 2001:db8:1::1/64 dev eth0 nodad preferred_lft 0");
        run_ip("addr add 10.8.0.1 peer 10.8.0.2/32 dev eth0");
        run_ip("addr add 10.8.1.1 peer 10.8.2.0/24 dev eth0");
        run_ip("addr add fd00:1::1 peer fd00:2::2/64 dev eth0");
        let addrs = || -> Vec<InterfaceAddr> {
            let host = Interfaces::system().unwrap();
            host.by_name("eth0").unwrap().addrs().to_vec()
        };
        let find = |text: &str| {
            addrs()
                .into_iter()
                .find(|addr| addr.ip() == ip(text))
                .unwrap()
        };
        set("net/ipv6/conf/eth0/dad_transmits", "600");
        run_ip("addr add 2001:db8:9::1/64 dev eth0");
        assert_eq!(find("2001:db8:9::1").state(), AddrState::Tentative);
        assert_eq!(find("2001:db8::1").state(), AddrState::Preferred);
        assert!(!find("2001:db8::1").is_temporary());
        assert_eq!(find("2001:db8:1::1").state(), AddrState::Deprecated);
        assert_eq!(find("10.8.0.1").peer(), Some(ip("10.8.0.2")));
        assert_eq!(find("10.8.0.1").state(), AddrState::Preferred);
        assert_eq!(find("10.8.1.1").to_string(), "10.8.1.1/32");
        assert_eq!(find("10.8.1.1").peer(), Some(ip("10.8.2.0")));
        // In IPv6 the prefix is that of the own address.
        assert_eq!(find("fd00:1::1").to_string(), "fd00:1::1/64");
        assert_eq!(find("fd00:1::1").peer(), Some(ip("fd00:2::2")));
        let temporary = addrs()
            .into_iter()
            .find(InterfaceAddr::is_temporary)
            .unwrap();
        assert!(
            temporary.to_string().starts_with("2001:db8::"),
            "{temporary}"
        );
        // Its flag says that it is none, whatever its addresses.
        run_ip("addr add 127.5.5.5/32 dev eth0");
        let host = Interfaces::system().unwrap();
        assert!(!host.by_name("eth0").unwrap().is_loopback());
        assert!(host.by_name("lo").unwrap().is_loopback());
        let on_eth0 = BindOptions::new().device("eth0");
        let exposure = on_eth0.bind("0.0.0.0:0").unwrap().exposure(&host);
        assert_eq!(exposure, Exposure::Private, "by 10.8.0.1");
        run_ip("link property add dev lo altname loop0");
        for name in ["lo", "loop0"] {
            let on_lo = BindOptions::new().device(name).plan("0.0.0.0:0").unwrap();
            assert_eq!(on_lo.exposure(&host), Exposure::ThisHost, "{name}");
        }
        run_ip("addr add 2001:db8:9::1/64 dev far0 nodad"); // its neighbour has it, too
        let begun = std::time::Instant::now();
        while find("2001:db8:9::1").state() != AddrState::Duplicate {
            assert!(begun.elapsed().as_secs() < 60, "{:?}", addrs());
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    });
}

#[test]
fn address_state_is_known_during_churn() {
    in_namespace(|| {
        set("net/ipv6/conf/default/accept_dad", "1");
        run_ip("link add name eth0 type veth peer name far0");
        run_ip("link set eth0 up"); // without a carrier, so that DAD never ends
        run_ip("addr add fd77::1/64 dev eth0");
        let addrs = (0..2000).map(|n| format!("addr add 10.1.{}.{}/32 dev lo", n / 200, n % 200));
        util::netns::ip_batch(&addrs.collect::<Vec<_>>().join("\n"));
        let churn = "addr add 10.2.0.1/32 dev lo\naddr del 10.2.0.1/32 dev lo\n".repeat(2000);
        let churning = std::thread::spawn(move || util::netns::ip_batch(&churn));
        let look = || {
            let host = match Interfaces::system() {
                Ok(host) => host,
                // A host that is read in part is not reported as a smaller one.
                Err(err) => {
                    let source = err.source().unwrap().downcast_ref::<io::Error>().unwrap();
                    assert_eq!(source.kind(), io::ErrorKind::ResourceBusy);
                    return;
                }
            };
            let addrs = host.by_name("eth0").unwrap().addrs();
            assert_eq!(addrs.len(), 1);
            assert_eq!(addrs[0].state(), AddrState::Tentative);
            let lo = host.by_name("lo").unwrap().addrs();
            let lasting = lo
                .iter()
                .filter(|addr| addr.ip() >= ip("10.1.0.0") && addr.ip() < ip("10.2.0.0"));
            assert_eq!(lasting.count(), 2000);
        };
        while !churning.is_finished() {
            look();
        }
        churning.join().unwrap();
        look();
        assert!(Interfaces::system().is_ok());
    });
}

proptest! {
    #[test]
    fn address_lookup_agrees_with_scan(interfaces in interfaces(), asked in near_ips()) {
        let host: Interfaces = interfaces.into_iter().collect();
        let has = |interface: &&Interface, ip: IpAddr| interface.addrs().iter().any(|addr| addr.ip() == ip);
        let asked_for: BTreeSet<IpAddr> = host
            .iter()
            .flat_map(|interface| interface.addrs().iter().map(bindaddr::interfaces::InterfaceAddr::ip))
            .chain([asked])
            .collect();
        for ip in asked_for {
            let scanned: Vec<&Interface> =
                host.iter().filter(|interface| has(interface, ip.to_canonical())).collect();
            prop_assert_eq!(host.by_ip(ip).collect::<Vec<_>>(), scanned);
        }
    }
}
