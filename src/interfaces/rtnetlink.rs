//! The interfaces of a Linux host, read from the kernel itself.
//!
//! getifaddrs(3), which if-addrs reads, requests every interface with its counters,
//! finds the interface of each address by a scan, and has neither the state of an
//! IPv6 address nor the interface of one with a label.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;

use super::{AddrState, Interface, InterfaceAddr};
use crate::netlink::{self, AF_INET6, Addr, LinkKind, Netlink, ROUTE};

/// Reads the interfaces that have an address.
pub(super) fn interfaces() -> io::Result<Vec<Interface>> {
    Netlink::query(ROUTE, read)
}

fn read(netlink: &mut Netlink) -> io::Result<Vec<Interface>> {
    let addrs = netlink.all(&netlink::addr_dump_request(), netlink::addr)?;
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
            let is_routed = interfaces[*place].is_up() || has_route(netlink, addr)?;
            let mut new = interface_addr(addr);
            if new.is_usable() && !is_routed {
                new = new.with_state(AddrState::Unrouted);
            }
            interfaces[*place].addrs.push(new);
        }
    }
    Ok(interfaces)
}

/// Returns `true` if packets to an address of an interface that is down are delivered, or may be.
///
/// IPv4 keeps the route. IPv6 removes it when the interface goes down, and an address that was added since has
/// one (`addrconf_ifdown` and `inet6_addr_add` of net/ipv6/addrconf.c); only the route distinguishes the two.
fn has_route(netlink: &mut Netlink, addr: &Addr) -> io::Result<bool> {
    if addr.ip.is_ipv4() || netlink.local_table(addr.ip)?.is_some() {
        return Ok(true);
    }
    // The tables of a VRF are others.
    let link = netlink.one(&netlink::link_request(addr.index, None), netlink::link)?;
    Ok(link.is_none_or(|link| link.master != 0))
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
