//! `Interfaces`: looking up in a snapshot, and reading one of this host.

mod util;

use std::collections::BTreeSet;
use std::net::IpAddr;

use bindaddr::{Interface, Interfaces};
use proptest::prelude::*;
use util::{interfaces, ip, near_ips, office};

fn names<'a>(interfaces: impl Iterator<Item = &'a Interface>) -> Vec<&'a str> {
    interfaces.map(Interface::name).collect()
}

#[test]
fn an_interface_is_found_by_name_index_and_address() {
    let host = office();
    assert_eq!(names(host.by_name("eth0.100").into_iter()), ["eth0.100"]);
    assert_eq!(names(host.by_index(2).into_iter()), ["eth0"]);
    assert_eq!(names(host.with_ip(ip("192.168.71.67"))), ["eth0"]);
    assert_eq!(names(host.with_ip(ip("::ffff:192.168.71.67"))), ["eth0"]);
    assert_eq!(names(host.with_ip(ip("fe80::77"))), ["eth0", "eth0.100"]);
    assert_eq!(names(host.with_ip(ip("192.168.71.68"))), [""; 0]);
    assert!(host.by_name("eth1").is_none());
    assert!(host.by_index(0).is_none());
    assert!(Interfaces::default().is_empty());
}

#[test]
fn entries_of_one_index_are_one_interface() {
    // As Linux lists an address with a label.
    let host: Interfaces = [
        Interface::new("eth0:web", 2).with_addr(ip("10.0.0.2"), 8),
        Interface::new("eth0", 2).with_addr(ip("10.0.0.1"), 8),
        Interface::new("eth0", 2).with_addr(ip("10.0.0.1"), 16),
    ]
    .into_iter()
    .collect();
    assert_eq!(names(host.iter()), ["eth0"]);
    assert_eq!(names(host.with_ip(ip("10.0.0.2"))), ["eth0"]);
    assert_eq!(
        names(host.with_ip(ip("10.0.0.1"))),
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
fn an_interface_without_an_index_is_known_by_its_name() {
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
fn this_host_is_read() {
    let host = Interfaces::system().unwrap();
    // Each address that this host lists is found again, and binds or is IPv6.
    for interface in host.iter() {
        assert!(host.by_name(interface.name()).is_some());
        for addr in interface.addrs() {
            assert!(
                host.with_ip(addr.ip()).any(|with| with == interface),
                "{addr}"
            );
        }
    }
}

proptest! {
    #[test]
    fn look_up_agrees_with_a_scan(interfaces in interfaces(), asked in near_ips()) {
        let host: Interfaces = interfaces.into_iter().collect();
        let has = |interface: &&Interface, ip: IpAddr| interface.addrs().iter().any(|addr| addr.ip() == ip);
        let asked_for: BTreeSet<IpAddr> = host
            .iter()
            .flat_map(|interface| interface.addrs().iter().map(bindaddr::InterfaceAddr::ip))
            .chain([asked])
            .collect();
        for ip in asked_for {
            let scanned: Vec<&Interface> =
                host.iter().filter(|interface| has(interface, ip.to_canonical())).collect();
            prop_assert_eq!(host.with_ip(ip).collect::<Vec<_>>(), scanned);
        }
    }
}
