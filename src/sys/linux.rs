//! Linux and Android: netlink, procfs and sysctls.
//!
//! It compiles on every system, so that one check covers it. Elsewhere its functions return an
//! error, because there is no netlink socket and no `/proc`.

// The units of systemd.
#[cfg(feature = "cli")]
mod cgroup;
// The notifications of rtnetlink.
#[cfg(all(feature = "watch", target_os = "linux"))]
mod events;
// Network and user namespaces.
mod namespace;
// The transport of netlink.
mod netlink;
// The files of procfs.
mod procfs;
// The property of the parsers.
#[cfg(any(test, fuzzing))]
mod properties;
// Interfaces, addresses and routes.
mod rtnetlink;
// Sockets.
mod sock_diag;
// Switches and limits.
mod sysctl;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;

#[cfg(feature = "cli")]
pub(crate) use cgroup::{unit_of, units};
#[cfg(all(feature = "watch", target_os = "linux"))]
pub(crate) use events::{AddrEvents, Wakeup};
pub(crate) use namespace::{Capability, Namespace};
#[cfg(feature = "cli")]
pub(crate) use procfs::process;
pub(crate) use procfs::{
    Status, has_ipv4_routes, has_ipv6, has_local_ipv6, holders_of, ipv6_addrs, open_files,
    processes_with, sockets_of_process,
};
#[cfg(fuzzing)]
pub(crate) use properties::parsers_accept_any_bytes;
pub(super) use rtnetlink::interfaces;
pub(crate) use rtnetlink::{
    LocalRoute, device, interfaces_with_ports, link, links, links_with_ports, local_routes,
    local_table,
};
pub(crate) use sysctl::{
    DEFAULT_PORT_START, Ipv6Switch, accepts_from_vrfs, allows_nonlocal_bind, ephemeral_ports,
    first_unprivileged_port, host_name, interfaces_without_ipv6, ipv6_switch, reserved_ports,
    routed_loopback, security_modules,
};

use crate::sys::{Protocol, SocketFilter, SocketRow};

/// The loopback interface is the first one of every network namespace (`LOOPBACK_IFINDEX` of
/// net/flow.h).
pub(crate) const LOOPBACK_INDEX: u32 = 1;

/// Reads all sockets of a protocol that a filter selects, those on `port` if it is not 0, without
/// those that are being closed.
///
/// Without netlink, procfs has those that accept clients.
pub(crate) fn sockets(
    protocol: Protocol,
    filter: SocketFilter,
    port: u16,
) -> io::Result<Vec<SocketRow>> {
    let rows = sock_diag::sockets(protocol, filter, port).or_else(|error| {
        if filter != SocketFilter::AcceptClients {
            return Err(error);
        }
        let mut rows = procfs::sockets(protocol)?;
        rows.retain(|row| row.accepts_clients() && (port == 0 || row.port == port));
        Ok(rows)
    });
    let mut rows = rows?;
    rows.retain(|row| !row.is_being_closed());
    Ok(rows)
}
