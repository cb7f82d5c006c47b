//! The interfaces of a Linux host, asked of the kernel itself.
//!
//! getifaddrs(3), which if-addrs reads, asks for every interface with its counters,
//! finds the interface of each address by a scan, and tells neither the state of an
//! IPv6 address nor the interface of one with a label.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::{AddrState, Interface, InterfaceAddr};
use crate::netlink::{self, AF_INET6, Addr, LinkKind, Netlink, ROUTE};

/// Reads the interfaces that have an address.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    let mut netlink = Netlink::open(ROUTE)?;
    let addrs = netlink.all(&netlink::addrs_question(), netlink::addr)?;
    let mut links = netlink.links(AF_INET6)?;
    if addrs.iter().any(|addr| !links.contains_key(&addr.index)) {
        // IPv6 is switched off on an interface.
        links = netlink.links(0)?;
    }
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut places: HashMap<u32, Option<usize>> = HashMap::new();
    for addr in &addrs {
        let place = places.entry(addr.index).or_insert_with(|| {
            // An interface that is gone by now takes its addresses with it.
            let link = links.remove(&addr.index)?;
            let interface = Interface::new(link.name, link.index)
                .with_loopback(link.kind == LinkKind::Loopback)
                .with_running(link.running)
                .with_up(link.up);
            interfaces.push(interface);
            Some(interfaces.len() - 1)
        });
        if let Some(place) = place {
            interfaces[*place].addrs.push(interface_addr(addr));
        }
    }
    Ok(interfaces)
}

fn interface_addr(addr: &Addr) -> InterfaceAddr {
    // IFA_F_* of linux/if_addr.h. In IPv4 the first one means something else.
    let [temporary, optimistic, failed, deprecated, tentative] = [0x01, 0x04, 0x08, 0x20, 0x40];
    let is = |flag: u32| addr.ip.is_ipv6() && addr.flags & flag != 0;
    let state = if is(failed) {
        AddrState::Duplicate
    } else if is(tentative) && !is(optimistic) {
        AddrState::Tentative
    } else if is(deprecated) {
        AddrState::Deprecated
    } else {
        AddrState::Preferred
    };
    let prefix_len = match addr.peer {
        // In IPv4 the prefix is that of the peer's network.
        Some(IpAddr::V4(_)) => u8::MAX,
        _ => addr.prefix_len,
    };
    let mut new = InterfaceAddr::new(addr.ip, prefix_len)
        .with_state(state)
        .with_temporary(is(temporary));
    new.peer = addr.peer.map(|peer| IpAddr::to_canonical(&peer));
    new.broadcast = addr.broadcast;
    new
}
