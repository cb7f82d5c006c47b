//! One port for several sockets, where hardly any is free.
#![cfg(target_os = "linux")]

mod util;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};

use bindaddr::bind;
use util::netns::{in_namespace, set};

const PORTS: std::ops::RangeInclusive<u16> = 40_000..=40_999;

/// Takes all ports that are given out but one, each on one of the two loopback addresses.
fn all_but(free: u16) -> Vec<TcpListener> {
    let held = PORTS.filter(|port| *port != free).map(|port| {
        let ip: IpAddr = match port % 3 {
            0 => Ipv6Addr::LOCALHOST.into(),
            _ => Ipv4Addr::LOCALHOST.into(),
        };
        TcpListener::bind((ip, port)).expect("no other process is in the namespace")
    });
    held.collect()
}

#[test]
fn last_common_port_is_found() {
    in_namespace(|| {
        set("net/ipv4/ip_local_port_range", "40000 40999");
        // The kernel prefers ports of one parity.
        for free in [40_000, 40_123, 40_998] {
            let held = all_but(free);
            for _ in 0..20 {
                let listeners = bind("localhost:0").unwrap();
                let ports: Vec<u16> = listeners
                    .iter()
                    .map(|one| one.local_addr().port())
                    .collect();
                assert_eq!(ports, [free, free]);
            }
            drop(held);
        }
    });
}
