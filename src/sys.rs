//! Reads the state of the operating system. The lowest layer of the crate: every other module may
//! use it, and it uses none of them.
//!
//! # Contract
//!
//! What each platform provides:
//!
//! | function | returns | Linux | Android | elsewhere |
//! |---|---|---|---|---|
//! | [`interfaces`] | the interfaces with an address | rtnetlink | getifaddrs(3) | if-addrs |
//! | [`device`], [`link`], [`links`] | interfaces, with an address or without | rtnetlink | the same, unless denied | error |
//! | [`local_table`] | the table of the route that makes an address local | rtnetlink | the same, unless denied | error |
//! | [`default_sources`] | the source addresses of the default routes | connect(2) | the same | the same |
//! | [`is_broadcast`], [`lowest_is_broadcast`] | whether the kernel takes an address for a broadcast | connect(2) | the same | `None` |
//! | [`device_of`], [`device_of_new_sockets`] | the interface that a socket is bound to | `SO_BINDTODEVICE` | the same | none |
//! | [`sockets`] | the sockets on a port | `sock_diag`, else procfs | the same, unless denied | error |
//! | [`Owners`], [`open_files`] | which processes have sockets open; own descriptors | procfs | the same | unknown |
//! | [`Namespace::of`](Namespace) | whether a socket belongs to this network namespace | `sock_diag`, else procfs | the same | it does |
//! | [`Status`] | capability, seccomp filter, `no_new_privs` | procfs | the same | error |
//! | [`ipv6_addrs`], [`has_ipv6`], [`has_ipv4_routes`], [`has_local_ipv6`] | addresses and routes | procfs | the same | error, `None` |
//! | [`first_unprivileged_port`] | the first port that needs no privilege | sysctl | the same | 1024 on Unix |
//! | [`ephemeral_ports`], [`ipv6_switch`], [`allows_nonlocal_bind`], [`routed_loopback`] | switches and limits | sysctl | the same | error, `None` |
//! | [`container_marker`], [`is_pod`] | traces of container engines | files, environment | the same | the same |
//! | `AddrEvents` | notifications of changes (feature `watch`) | rtnetlink | timer | timer |
//!
//! A fact that could not be read is an error or `None`, and never a statement that it is absent:
//! `Ok(None)`, an empty list and `false` mean that the system reported that there is none. A
//! response that is cut short is an error. Where a function has nothing to read, because the system
//! lacks the concept, it returns what holds on that system.
//!
//! The functions return plain rows ([`InterfaceRow`], [`AddrRow`], [`Link`], [`SocketRow`]), which
//! the modules above convert to their types. On Linux all of them are about the network namespace
//! of the calling thread, without any privilege.

// The traces that container engines leave.
#[cfg(feature = "socket-activation")]
mod activation;
mod container;
// The errors that the crate distinguishes.
mod errno;
// The names in `/etc/hosts`.
mod hosts;
// The rows of the table of interfaces.
mod interface;
// Linux and Android.
mod linux;
mod owners;
// The systems without netlink.
mod other;
// Facts about the kernel that a socket shows.
mod probe;
// The rows of the tables of sockets.
mod socket;
// The systems whose rules differ.
mod system;

use std::io;

use crate::map::Map;

#[cfg(feature = "socket-activation")]
pub use activation::Activation;
#[cfg(feature = "socket-activation")]
pub(crate) use activation::InheritedSocket;
#[cfg(all(unix, feature = "restart"))]
pub(crate) use activation::READY;
pub(crate) use container::{container_marker, is_pod, is_system_container, is_wsl};
pub(crate) use errno::Errno;
pub(crate) use hosts::addrs_of;
pub(crate) use interface::{AddrFlags, AddrRow, InterfaceRow, Link, LinkKind};
#[cfg(fuzzing)]
pub(crate) use linux::parsers_accept_any_bytes;
#[cfg(all(feature = "watch", target_os = "linux"))]
pub(crate) use linux::{AddrEvents, Wakeup};
pub(crate) use linux::{
    Capability, DEFAULT_PORT_START, Ipv6Switch, LOOPBACK_INDEX, LocalRoute, Namespace, Status,
    accepts_from_vrfs, allows_nonlocal_bind, device, ephemeral_ports, first_unprivileged_port,
    has_ipv4_routes, has_ipv6, has_local_ipv6, holders_of, host_name, interfaces_without_ipv6,
    ipv6_addrs, ipv6_switch, link, links, links_with_ports, local_routes, local_table, open_files,
    reserved_ports, routed_loopback, security_modules, sockets, sockets_of_process,
};
#[cfg(feature = "cli")]
pub(crate) use linux::{process, unit_of, units};
#[cfg(all(feature = "watch", not(target_os = "linux")))]
pub(crate) use other::{AddrEvents, Wakeup};
pub(crate) use owners::{Owners, is_of_kernel};
pub(crate) use probe::{
    default_sources, device_of, device_of_new_sockets, is_broadcast, lowest_is_broadcast,
};
pub use socket::SocketState;
pub(crate) use socket::{Process, Protocol, Searched, SocketFilter, SocketRow};
pub(crate) use system::System;

/// A socket that was handed over: without the feature there is none.
#[cfg(not(feature = "socket-activation"))]
#[derive(Debug)]
pub(crate) enum InheritedSocket {}

#[cfg(not(feature = "socket-activation"))]
impl InheritedSocket {
    pub(crate) fn set_used(&self) {
        match *self {}
    }

    pub(crate) fn is_used(&self) -> bool {
        match *self {}
    }

    pub(crate) fn is_settled(&self) -> bool {
        match *self {}
    }

    pub(crate) fn set_settled(&self) -> bool {
        match *self {}
    }
}

/// Returns `true` if a TCP socket on an interface and one on none can have one port: the interface
/// is a VRF or a port of one, and sockets on none accept no clients of VRFs (`inet_bind_bucket` of
/// `net/ipv4/inet_hashtables.c`, since Linux 5.0).
pub(crate) fn is_apart(index: u32) -> io::Result<bool> {
    let own = link(index)?;
    let master = own.as_ref().map_or(0, |own| own.master);
    let master = if master == 0 { None } else { link(master)? };
    let mut links = own.into_iter().chain(master);
    let is_in_vrf = links.any(|link| link.kind == LinkKind::Vrf);
    Ok(is_in_vrf && !accepts_from_vrfs(Protocol::Tcp)?)
}

/// Reads the interfaces that have an address, as they are at one moment.
///
/// On systems that list addresses, an interface has one row for each of its addresses.
pub(crate) fn interfaces() -> io::Result<Vec<InterfaceRow>> {
    // getifaddrs(3) uses netlink as well, and does not detect an inconsistent dump. Android denies
    // apps a dump of the links.
    if cfg!(target_os = "linux") {
        linux::interfaces()
    } else {
        other::interfaces()
    }
}

/// Reads the same, and the links of the host if one of them can have ports: a VRF, a bridge, a bond
/// or a team.
pub(crate) fn interfaces_with_ports() -> io::Result<(Vec<InterfaceRow>, Map<u32, Link>)> {
    if cfg!(target_os = "linux") {
        linux::interfaces_with_ports()
    } else {
        Ok((other::interfaces()?, Map::new()))
    }
}
