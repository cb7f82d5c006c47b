//! Which sockets to open: [`Endpoint`]s and a port to [`PlannedSocket`]s.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::target::{Endpoint, Wildcard};

/// A socket to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedSocket {
    pub(crate) addr: SocketAddr,
    /// What to set `IPV6_V6ONLY` to; of no meaning on an IPv4 socket.
    pub(crate) only_v6: bool,
    pub(crate) absence: Absence,
    pub(crate) clients: Clients,
}

/// What to do where the host has no such address or family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    Fails,
    IsSkipped,
    LeavesIpv4,
}

/// Whether a TCP client can reach the address. Linux binds some that none can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    MayCome,
    NeverComeToMulticast,
    NeverComeToBroadcast,
    /// It may be a directed broadcast, and only the kernel knows.
    TheKernelKnows,
}

/// Plans the sockets for `endpoints`, all on `port`.
///
/// `only_v6` turns dual-stack wildcards into IPv6-only ones.
pub(crate) fn sockets(endpoints: &[Endpoint], port: u16, only_v6: bool) -> Vec<PlannedSocket> {
    let mut planned = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        match *endpoint {
            Endpoint::Any(wildcard) => planned.push(any(wildcard, port, only_v6)),
            Endpoint::Localhost => {
                planned.push(address(Ipv4Addr::LOCALHOST.into(), 0, port, Some(false)));
                planned.push(PlannedSocket {
                    absence: Absence::IsSkipped,
                    ..address(Ipv6Addr::LOCALHOST.into(), 0, port, Some(false))
                });
            }
            Endpoint::Ip {
                ip,
                scope_id,
                is_broadcast,
            } => planned.push(address(ip, scope_id, port, is_broadcast)),
        }
    }
    planned
}

fn any(wildcard: Wildcard, port: u16, only_v6: bool) -> PlannedSocket {
    let ip: IpAddr = match wildcard {
        Wildcard::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    PlannedSocket {
        addr: (ip, port).into(),
        only_v6: only_v6 || wildcard == Wildcard::Ipv6,
        absence: match wildcard {
            Wildcard::All if !only_v6 => Absence::LeavesIpv4,
            _ => Absence::Fails,
        },
        clients: Clients::MayCome,
    }
}

fn address(ip: IpAddr, scope_id: u32, port: u16, is_broadcast: Option<bool>) -> PlannedSocket {
    PlannedSocket {
        addr: socket_addr(ip, scope_id, port),
        only_v6: true,
        absence: Absence::Fails,
        clients: clients_of(ip, is_broadcast),
    }
}

pub(crate) fn socket_addr(ip: IpAddr, scope_id: u32, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => (ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope_id).into(),
    }
}

fn clients_of(ip: IpAddr, is_broadcast: Option<bool>) -> Clients {
    let IpAddr::V4(v4) = ip else {
        return if ip.is_multicast() {
            Clients::NeverComeToMulticast
        } else {
            Clients::MayCome
        };
    };
    if v4.is_multicast() {
        Clients::NeverComeToMulticast
    } else if v4.is_broadcast() || is_broadcast == Some(true) {
        Clients::NeverComeToBroadcast
    } else if is_broadcast.is_none() && v4.octets()[3] & 0b11 == 0b11 {
        // In a subnet of /30 or larger the last two bits of a broadcast are set.
        Clients::TheKernelKnows
    } else {
        Clients::MayCome
    }
}
