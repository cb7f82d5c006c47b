//! `Reach`: the addresses by which clients can connect, and how far a target is exposed.

mod util;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bindaddr::addr::Network;
use bindaddr::interfaces::{AddrState, Interface, InterfaceAddr};
use bindaddr::reach::{Origin, Reach};
use bindaddr::{BindTarget, Exposure, Interfaces};
use proptest::prelude::*;
use util::{interfaces, ip, near_ips, office};

#[track_caller]
fn reach(text: &str, host: &Interfaces) -> Reach {
    let target = BindTarget::parse_with(text, host).expect(text);
    target.reach(5000, host)
}

fn urls(text: &str, host: &Interfaces) -> Vec<String> {
    reach(text, host)
        .addrs()
        .iter()
        .map(|dial| {
            format!(
                "{} {} {}",
                dial.url("http"),
                dial.origin(),
                dial.interface().unwrap_or("-")
            )
        })
        .collect()
}

#[test]
fn wildcard_lists_each_address() {
    let host = office();
    let v4 = [
        "http://127.0.0.1:5000/ this host lo",
        "http://203.0.113.80:5000/ the network lo",
        "http://192.168.71.67:5000/ the network eth0",
        "http://10.9.9.1:5000/ the network wg0",
        "http://10.8.0.1:5000/ the network tun0",
        "http://100.100.1.2:5000/ the network tailscale0",
    ];
    let down = "http://172.20.0.1:5000/ the network eth0.100";
    let v6 = [
        "http://[::1]:5000/ this host lo",
        "http://[2001:db8:1::10]:5000/ the network eth0",
        "http://[fd00:9::1]:5000/ the network wg0",
        "http://[fe80::77%25eth0]:5000/ the link eth0",
        "http://[fe80::77%25eth0.100]:5000/ the link eth0.100",
    ];
    assert_eq!(urls("0.0.0.0", &host), [&v4[..], &[down]].concat());
    assert_eq!(urls("ipv6@*", &host), v6);
    assert_eq!(
        urls("*", &host),
        [&v4[..1], &v6[..1], &v4[1..], &v6[1..3], &[down], &v6[3..]].concat(),
        "loopback first, link-local last, IPv4 before IPv6, and what does not run after what does",
    );
    assert_eq!(urls("*", &host), urls("[::]", &host));
    for dial in reach("*", &host).addrs() {
        assert_eq!(
            dial.is_running(),
            dial.interface() != Some("eth0.100"),
            "{dial:?}"
        );
    }
    let routed = host.with_default_source(ip("10.9.9.1"));
    assert_eq!(
        urls("0.0.0.0", &routed)[1],
        v4[3],
        "the default source before others"
    );
}

#[test]
fn udp_and_tcp_reach_the_same_without_vrfs() {
    for text in ["*", "0.0.0.0", "localhost"] {
        let target = BindTarget::parse_with(text, &office()).unwrap();
        assert_eq!(
            target.reach_udp(53, &office()),
            target.reach(53, &office()),
            "{text}"
        );
    }
}

#[test]
fn literal_lists_itself() {
    let host = office();
    assert_eq!(
        urls("192.168.71.67", &host),
        ["http://192.168.71.67:5000/ the network eth0"],
    );
    assert_eq!(
        urls("fe80::77%eth0.100", &host),
        ["http://[fe80::77%25eth0.100]:5000/ the link eth0.100"],
    );
    assert_eq!(
        urls("localhost", &host),
        [
            "http://127.0.0.1:5000/ this host lo",
            "http://[::1]:5000/ this host lo"
        ],
    );
    // All of the network of 127.0.0.1.
    assert_eq!(
        urls("127.0.0.2", &host),
        ["http://127.0.0.2:5000/ this host lo"]
    );
    assert_eq!(
        urls("192.168.158.94", &host),
        [""; 0],
        "no client can connect there"
    );
}

#[test]
fn unreachable_addresses_are_not_listed() {
    let eth0 = |state| {
        let addr = InterfaceAddr::new(ip("2001:db8::1"), 64).with_state(state);
        Interface::new("eth0", 2).with_interface_addr(addr)
    };
    for (state, count) in [
        (AddrState::Preferred, 1),
        (AddrState::Deprecated, 1),
        (AddrState::Tentative, 0),
        (AddrState::Duplicate, 0),
    ] {
        let host: Interfaces = [eth0(state)].into_iter().collect();
        assert_eq!(urls("*", &host).len(), count, "{state:?}");
        assert_eq!(urls("2001:db8::1", &host).len(), count, "{state:?}");
    }
    let lo = Interface::new("lo", 1)
        .with_addr(ip("127.0.0.1"), 32)
        .with_addr(ip("::1"), 128);
    let host: Interfaces = [lo.clone()].into_iter().collect();
    assert_eq!(urls("127.0.0.2", &host), [""; 0], "it has 127.0.0.1 alone");
    assert_eq!(urls("localhost", &host).len(), 2);
    let host: Interfaces = [lo.with_running(false)].into_iter().collect();
    assert_eq!(urls("localhost", &host), [""; 0]);
    assert_eq!(urls("*", &host), [""; 0]);
    for text in ["*", "localhost", "127.0.0.1", "10.0.0.1"] {
        assert_eq!(urls(text, &Interfaces::default()), [""; 0], "{text}");
    }
    // Addresses of many hosts, which an interface may have.
    let eth0 = Interface::new("eth0", 2).with_addr(ip("10.0.0.1"), 24);
    let groups = ["239.1.1.1", "ff05::1:3", "255.255.255.255"];
    let add = |eth0: Interface, group: &&str| eth0.with_addr(ip(group), 128);
    let host: Interfaces = [groups.iter().fold(eth0, add)].into_iter().collect();
    for text in ["*", "eth0"] {
        assert_eq!(
            urls(text, &host),
            ["http://10.0.0.1:5000/ the network eth0"],
            "{text}"
        );
        assert_eq!(reach(text, &host).exposure(), Exposure::Private, "{text}");
    }
    assert_eq!(urls("239.1.1.1", &host), [""; 0]);
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let host: Interfaces = [lo].into_iter().collect();
    assert_eq!(urls("127.255.255.254", &host).len(), 1);
    assert_eq!(urls("127.255.255.255", &host), [""; 0], "the broadcast");
    assert_eq!(
        reach("127.0.0.1", &host).to_string(),
        "127.0.0.1:5000 from this host, through lo\nexposed to this host only\n",
    );
    assert_eq!(
        reach("*", &Interfaces::default()).to_string(),
        "no address of an interface is open to clients\nexposed to the link now, and on every address that this host gets later\n",
    );
    assert_eq!(
        reach("*", &Interfaces::default())
            .banner("http")
            .to_string(),
        "  no address of an interface is open to clients\n",
    );
}

#[test]
fn shared_address_is_listed_once() {
    let host: Interfaces = [
        Interface::new("eth0", 2)
            .with_addr(ip("10.0.0.1"), 24)
            .with_addr(ip("10.0.0.9"), 24),
        Interface::new("eth1", 3).with_addr(ip("10.0.0.1"), 24),
    ]
    .into_iter()
    .collect();
    assert_eq!(
        urls("0.0.0.0", &host),
        [
            "http://10.0.0.1:5000/ the network eth0",
            "http://10.0.0.9:5000/ the network eth0"
        ],
    );
    // By the one that runs.
    let host: Interfaces = [("eth0", false), ("eth1", true)]
        .into_iter()
        .zip(2..)
        .map(|((name, runs), index)| {
            let interface = Interface::new(name, index).with_running(runs);
            interface.with_addr(ip("10.0.0.1"), 24)
        })
        .collect();
    assert_eq!(
        urls("10.0.0.1", &host),
        ["http://10.0.0.1:5000/ the network eth1"]
    );
}

#[test]
fn permanent_address_precedes_temporary_one() {
    let addr = |text| InterfaceAddr::new(ip(text), 64);
    let host: Interfaces = [Interface::new("eth0", 2)
        .with_interface_addr(addr("2001:db8::1").with_state(AddrState::Deprecated))
        .with_interface_addr(addr("2001:db8::2").with_temporary(true))
        .with_interface_addr(addr("2001:db8::3"))]
    .into_iter()
    .collect();
    assert_eq!(
        format!("{:#}", reach("*", &host)),
        "[2001:db8::3]:5000 from the network, through eth0\n\
         [2001:db8::2]:5000 from the network, through eth0; temporary\n\
         [2001:db8::1]:5000 from the network, through eth0; deprecated\n\
         exposed to the internet now, and on every address that this host gets later\n",
    );
}

#[test]
fn zone_is_encoded_in_url() {
    let host: Interfaces = [Interface::new("a b%\n", 2).with_addr(ip("fe80::1"), 64)]
        .into_iter()
        .collect();
    let target = BindTarget::classify_in_zone(ip("fe80::1"), 2, &host);
    let reach = target.reach(80, &host);
    let dial = &reach.addrs()[0];
    assert_eq!(dial.url("http"), "http://[fe80::1%25a%20b%25%0A]:80/");
    assert_eq!(
        format!("{dial:#}"),
        "[fe80::1%a b%\\n]:80 from the link, through a b%\\n; browsers do not open it",
    );
    assert_eq!(
        reach.banner("http").to_string(),
        "  Link:     http://[fe80::1%25a%20b%25%0A]:80/  (a b%\\n; browsers do not open it)\n",
    );
    assert_eq!(target.to_string(), "fe80::1%a b%\\n, an address of a b%\\n");
}

#[test]
fn ipv4_link_local_address_is_listed_for_link() {
    let host: Interfaces = [Interface::new("eth0", 2).with_addr(ip("169.254.7.7"), 16)]
        .into_iter()
        .collect();
    let reach = BindTarget::parse_with("eth0", &host)
        .unwrap()
        .reach(80, &host);
    let dial = &reach.addrs()[0];
    assert_eq!(dial.origin(), Origin::Link);
    assert_eq!(dial.url("http"), "http://169.254.7.7:80/");
    assert!(dial.is_for_browsers());
}

#[test]
fn loopback_zone_is_host_only() {
    let lo = Interface::new("lo", 1)
        .with_loopback(true)
        .with_addr(ip("127.0.0.1"), 8)
        .with_addr(ip("169.254.0.1"), 32)
        .with_addr(ip("fe80::1"), 64);
    let eth0 = Interface::new("eth0", 2)
        .with_loopback(false)
        .with_addr(ip("127.5.5.5"), 32)
        .with_addr(ip("fe80::2"), 64);
    let host: Interfaces = [lo, eth0].into_iter().collect();
    assert_eq!(
        urls("[fe80::1%lo]", &host),
        ["http://[fe80::1%25lo]:5000/ this host lo"]
    );
    let lo = reach("[fe80::1%lo]", &host);
    assert_eq!(lo.addrs()[0].exposure(), Exposure::ThisHost);
    for (text, exposure) in [
        ("[fe80::1%lo]", Exposure::ThisHost),
        ("[fe80::2%eth0]", Exposure::Link),
        // Linux takes it in from elsewhere, too.
        ("169.254.0.1", Exposure::Link),
    ] {
        assert_eq!(reach(text, &host).exposure(), exposure, "{text}");
    }
    // If its kind is unknown, another address of the interface means that other hosts can be in its
    // zone.
    let card = |ips: [&str; 2]| -> Interfaces {
        let en0 = Interface::new("en0", 4).with_addr(ip("fe80::5"), 64);
        let en0 = ips
            .iter()
            .fold(en0, |en0, addr| en0.with_addr(ip(addr), 32));
        [en0].into_iter().collect()
    };
    let exposure = |host: &Interfaces| reach("[fe80::5%4]", host).exposure();
    assert_eq!(exposure(&card(["127.0.0.2", "::1"])), Exposure::ThisHost);
    assert_eq!(exposure(&card(["127.0.0.2", "10.0.0.1"])), Exposure::Link);
    // An interface is not loopback for such an address.
    assert!(!host.by_name("eth0").is_some_and(Interface::is_loopback));
}

#[test]
fn wildcard_has_routed_addresses_of_its_family() {
    let lo = Interface::new("lo", 1).with_addr(ip("127.0.0.1"), 8);
    let host: Interfaces = [lo].into_iter().collect();
    let routed = ["203.0.113.9", "2001:db8::9"].map(ip);
    let host = routed.into_iter().fold(host, Interfaces::with_local_route);
    let ips = |text: &str| -> Vec<IpAddr> {
        let reach = reach(text, &host);
        let addrs = reach.addrs().iter().map(|dial| dial.addr().ip());
        addrs.filter(|ip| !ip.is_loopback()).collect()
    };
    assert_eq!(ips("0.0.0.0"), [routed[0]]);
    assert_eq!(ips("ipv6@*"), [routed[1]]);
    assert_eq!(ips("*"), routed);
}

#[test]
fn display_shows_ten_addresses() {
    let eth0 = (0..10_000u32).fold(Interface::new("eth0", 2), |eth0, n| {
        eth0.with_addr(Ipv4Addr::from_bits(0x0a00_0001 + n).into(), 8)
    });
    let host: Interfaces = [eth0].into_iter().collect();
    let reach = reach("0.0.0.0", &host);
    assert_eq!(reach.addrs().len(), 10_000);
    assert_eq!(reach.urls("http").count(), 10_000);
    let text = reach.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 12);
    assert_eq!(lines[9], "10.0.0.10:5000 from the network, through eth0");
    assert_eq!(lines[10], "and 9990 more");
    let ten = (1..=10u8).fold(Interface::new("eth0", 2), |eth0, n| {
        eth0.with_addr([10, 0, 0, n].into(), 8)
    });
    let ten = self::reach("0.0.0.0", &[ten].into_iter().collect());
    let banner = ten.banner("http").to_string();
    assert!(
        banner.ends_with("  Network:  http://10.0.0.10:5000/  (eth0)\n"),
        "{banner:?}"
    );
    let banner = reach.banner("http").to_string();
    assert_eq!(banner.lines().count(), 11);
    assert_eq!(banner.lines().last(), Some("  and 9990 more"));
    assert_eq!(
        format!("{:#}", reach.banner("http")).lines().count(),
        10_000
    );
}

/// The rows of the table in `docs/exposure.md`.
fn registry() -> Vec<(Network, &'static str)> {
    let docs = include_str!("../docs/exposure.md");
    let rows = docs.lines().filter_map(|line| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let (ip, len) = cells.get(1)?.split_once('/')?;
        let network = Network::containing(ip.parse().ok()?, len.parse().ok()?);
        Some((network, *cells.get(4)?))
    });
    rows.collect()
}

fn last_of(network: Network) -> IpAddr {
    let len = u32::from(network.prefix_len());
    match network.first() {
        IpAddr::V4(first) => {
            Ipv4Addr::from_bits(first.to_bits() | u32::MAX.checked_shr(len).unwrap_or(0)).into()
        }
        IpAddr::V6(first) => {
            Ipv6Addr::from_bits(first.to_bits() | u128::MAX.checked_shr(len).unwrap_or(0)).into()
        }
    }
}

#[test]
fn exposure_covers_iana_registries() {
    let registry = registry();
    assert_eq!(registry.len(), 37);
    for (network, place) in registry {
        for ip in [network.first(), last_of(network)] {
            assert_eq!(Exposure::of(ip).to_string(), place, "{ip} of {network}");
            if let IpAddr::V4(v4) = ip {
                let mapped = v4.to_ipv6_mapped().into();
                assert_eq!(Exposure::of(mapped), Exposure::of(ip), "{mapped}");
            }
        }
    }
    // The neighbours of the near blocks are far.
    for text in [
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "9.255.255.255",
        "11.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "::",
        "::2",
        "fbff::",
        "fe00::",
        "fec0::",
    ] {
        assert_eq!(Exposure::of(ip(text)), Exposure::Global, "{text}");
    }
}

#[test]
fn exposure_unmaps_mapped_addresses() {
    assert!(!ip("::ffff:127.0.0.1").is_loopback());
    assert!(!ip("::ffff:0.0.0.0").is_unspecified());
    assert!(!Ipv4Addr::new(100, 64, 0, 1).is_private());
    assert!(Ipv4Addr::new(10, 0, 0, 1).is_private());
}

#[test]
fn exposure_is_an_ordered_scale() {
    let host = office();
    let exposures: Vec<Exposure> = [
        "localhost",
        "fe80::77%eth0",
        "192.168.71.67",
        "100.100.1.2",
        "203.0.113.80",
    ]
    .into_iter()
    .map(|text| reach(text, &host).exposure())
    .collect();
    assert!(exposures.is_sorted());
    assert_eq!(exposures.len(), 5);
    assert!(exposures.windows(2).all(|two| two[0] < two[1]));
    // The VIP on `lo`; IPv6 has a documentation address.
    for text in ["0.0.0.0", "*", "[::]", "ipv6@*"] {
        assert_eq!(reach(text, &host).exposure(), Exposure::Global, "{text}");
    }
    // A socket with freebind is open once the address is there.
    assert_eq!(reach("10.66.0.1", &host).exposure(), Exposure::Private);
}

proptest! {
    #[test]
    fn additional_address_never_lowers_exposure(
        mut interfaces in interfaces(), more in near_ips(), v6_only in any::<bool>(),
    ) {
        let text = if v6_only { "ipv6@*" } else { "*" };
        let exposure = |interfaces: &[Interface]| {
            let host: Interfaces = interfaces.iter().cloned().collect();
            reach(text, &host).exposure()
        };
        let before = exposure(&interfaces);
        interfaces.reverse();
        prop_assert_eq!(exposure(&interfaces), before, "independent of order");
        interfaces.push(Interface::new("more", 99).with_addr(more, 24));
        let after = exposure(&interfaces);
        prop_assert!(after >= before);
        let is_taken = more.to_canonical().is_ipv6() || !v6_only;
        let is_group_addr = more.to_canonical().is_multicast() || more.to_canonical() == ip("255.255.255.255");
        prop_assert!(!is_taken || is_group_addr || after >= Exposure::of(more));
    }

    #[test]
    fn exposure_is_that_of_the_canonical_address(ip in near_ips(), interfaces in interfaces()) {
        prop_assert_eq!(Exposure::of(ip), Exposure::of(ip.to_canonical()));
        let host: Interfaces = interfaces.into_iter().collect();
        let target = BindTarget::classify(ip, &host);
        prop_assert_eq!(target.exposure(&host), BindTarget::classify(ip.to_canonical(), &host).exposure(&host));
        if !target.is_any() {
            let is_of_zone = |ip: IpAddr| matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
            // It is not said of these, and another address makes it a card.
            let is_lo = |one: &Interface| {
                let mut ips = one.addrs().iter().map(bindaddr::interfaces::InterfaceAddr::ip);
                one.is_loopback() && ips.all(|ip| ip.is_loopback() || is_of_zone(ip))
            };
            let is_of_lo = matches!(&target, BindTarget::Local(local) if local.interfaces().all(is_lo));
            let kind = if is_of_zone(ip) && is_of_lo { Exposure::ThisHost } else { Exposure::of(ip) };
            prop_assert_eq!(target.exposure(&host), kind);
        }
    }

    #[test]
    fn listed_addresses_belong_to_host(ip in near_ips(), interfaces in interfaces(), port in any::<u16>()) {
        let host: Interfaces = interfaces.into_iter().collect();
        for target in [BindTarget::classify(ip, &host), BindTarget::parse_with("*", &host).unwrap()] {
            let reach = target.reach(port, &host);
            for dial in reach.addrs() {
                let to = dial.addr();
                prop_assert!(!to.ip().is_unspecified());
                prop_assert_eq!(to.port(), port);
                prop_assert!(dial.exposure() <= reach.exposure());
                let is_listed = host.by_ip(to.ip()).next().is_some();
                prop_assert!(is_listed || to.ip().is_loopback(), "{}", to);
            }
            let mut addrs: Vec<_> = reach.addrs().iter().map(bindaddr::reach::ReachableAddr::addr).collect();
            addrs.sort();
            addrs.dedup();
            prop_assert_eq!(addrs.len(), reach.addrs().len());
        }
    }
}
