//! Made-up hosts and the addresses around them.
#![allow(dead_code)] // each test file uses its part

#[cfg(feature = "cli")]
pub(crate) mod command;
#[cfg(target_os = "linux")]
pub(crate) mod features;
pub(crate) mod netns;
pub(crate) mod rerun;
#[cfg(target_os = "linux")]
pub(crate) mod sandbox;
pub(crate) mod strace;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bindaddr::Interfaces;
use bindaddr::interfaces::Interface;
use proptest::prelude::*;

/// Returns `true` unless the kernel only resembles Linux; prints that `test` is skipped if so.
///
/// gVisor binds a wildcard beside an address that it includes, and has no `sock_diag`, no
/// `IP_FREEBIND` and no FIFOs.
#[track_caller]
pub(crate) fn is_like_linux(test: &str) -> bool {
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = held.local_addr().expect("it is bound").port();
    let is_it = !cfg!(target_os = "linux")
        || std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_err();
    if !is_it {
        rerun::skip(test, "the kernel is not Linux", "BINDADDR_REQUIRE_NETNS");
    }
    is_it
}

#[track_caller]
pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap_or_else(|err| panic!("{text:?}: {err}"))
}

/// A host with one of everything.
pub(crate) fn office() -> Interfaces {
    [
        Interface::new("lo", 1)
            .with_addr(ip("127.0.0.1"), 8)
            .with_addr(ip("::1"), 128)
            // A virtual address that a balancer forwards to.
            .with_addr(ip("203.0.113.80"), 32),
        Interface::new("eth0", 2)
            .with_addr(ip("192.168.71.67"), 16)
            .with_addr(ip("2001:db8:1::10"), 64)
            .with_addr(ip("fe80::77"), 64),
        Interface::new("eth0.100", 3)
            .with_broadcast(
                Ipv4Addr::new(172, 20, 0, 1),
                24,
                Ipv4Addr::new(172, 20, 0, 200),
            )
            .with_addr(ip("fe80::77"), 64)
            .with_running(false),
        Interface::new("wg0", 4)
            .with_addr(ip("10.9.9.1"), 31)
            .with_addr(ip("fd00:9::1"), 127),
        Interface::new("tun0", 5).with_peer(ip("10.8.0.1"), ip("10.8.0.2")),
        Interface::new("tailscale0", 6).with_addr(ip("100.100.1.2"), 32),
    ]
    .into_iter()
    .collect()
}

/// Addresses that lie close together, so that hosts and questions meet.
pub(crate) fn near_ips() -> impl Strategy<Value = IpAddr> {
    let v4 = prop_oneof![
        (0..4u8, any::<u8>()).prop_map(|(net, host)| Ipv4Addr::new(10, 0, net, host)),
        any::<u8>().prop_map(|host| Ipv4Addr::new(127, 0, 0, host)),
        (200..=255u8).prop_map(|last| Ipv4Addr::new(last, last, last, last)),
        Just(Ipv4Addr::UNSPECIFIED),
        any::<Ipv4Addr>(),
    ];
    let v6 = prop_oneof![
        (0..4u16, 0..8u16).prop_map(|(net, host)| Ipv6Addr::new(0xfd00, net, 0, 0, 0, 0, 0, host)),
        (0..8u16).prop_map(|host| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, host)),
        (0..3u16).prop_map(|last| Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, last)),
        any::<Ipv6Addr>(),
    ];
    prop_oneof![
        v4.clone().prop_map(IpAddr::V4),
        v6.prop_map(IpAddr::V6),
        v4.prop_map(|ip| IpAddr::V6(ip.to_ipv6_mapped())),
    ]
}

/// An address that an interface may have.
fn unicast_ips() -> impl Strategy<Value = IpAddr> {
    near_ips().prop_filter("no interface has a wildcard", |ip| {
        !ip.to_canonical().is_unspecified()
    })
}

/// The interfaces of a host, each under a name and an index of its own.
pub(crate) fn interfaces() -> impl Strategy<Value = Vec<Interface>> {
    let addrs = prop::collection::vec((unicast_ips(), any::<u8>()), 0..5);
    prop::collection::vec((addrs, any::<bool>()), 0..5).prop_map(|interfaces| {
        let numbered = (1..).zip(interfaces);
        numbered
            .map(|(index, (addrs, running))| {
                let interface = Interface::new(format!("eth{index}"), index).with_running(running);
                addrs.into_iter().fold(interface, |interface, (ip, len)| {
                    interface.with_addr(ip, len % 129)
                })
            })
            .collect()
    })
}

/// Compares what was found with what is expected, row by row, and reports every row that is wrong.
#[track_caller]
pub(crate) fn assert_rows<T: PartialEq + std::fmt::Debug>(
    rows: impl IntoIterator<Item = (String, T, T)>,
) {
    let wrong = rows
        .into_iter()
        .filter(|(_, found, expected)| found != expected);
    let wrong: Vec<String> = wrong
        .map(|(row, found, expected)| {
            format!("{row}\n      found: {found:?}\n   expected: {expected:?}")
        })
        .collect();
    assert!(
        wrong.is_empty(),
        "{} rows are wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
