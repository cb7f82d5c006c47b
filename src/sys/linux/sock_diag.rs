//! The sockets of a network namespace, by `sock_diag(7)`.

use std::io;

use super::netlink::{self, Netlink};
use crate::sys::{Protocol, SocketFilter, SocketRow, SocketState};

/// `NETLINK_SOCK_DIAG` of linux/netlink.h.
const SOCK_DIAG: i32 = 4;

// linux/sock_diag.h and linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_SKV6ONLY: u16 = 11;
const INET_DIAG_CGROUP_ID: u16 = 21;

/// The bit of `TCP_LISTEN` of `net/tcp_states.h`.
const LISTENING: u32 = 1 << 10;
/// The bit of `TCP_CLOSE`, the state of a UDP socket without a peer.
const UNCONNECTED: u32 = 1 << 7;

/// Requests the sockets of a protocol, those on `port` if it is not 0.
pub(super) fn sockets(
    protocol: Protocol,
    filter: SocketFilter,
    port: u16,
) -> io::Result<Vec<SocketRow>> {
    Netlink::query(SOCK_DIAG, |netlink| {
        let mut rows = Vec::new();
        for ipv6 in [false, true] {
            let request = request(ipv6, protocol, filter, port);
            let read = |kind, body: &[u8]| socket(protocol, kind, body);
            rows.extend(netlink.all(&request, read)?);
        }
        Ok(rows)
    })
}

/// Builds the request for the sockets of a family and a protocol, on `port` if it is not 0.
pub(super) fn request(ipv6: bool, protocol: Protocol, filter: SocketFilter, port: u16) -> Vec<u8> {
    let family = if ipv6 {
        netlink::AF_INET6
    } else {
        netlink::AF_INET
    };
    // IPPROTO_TCP and IPPROTO_UDP of linux/in.h.
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let states = match (filter, protocol) {
        (SocketFilter::AcceptClients | SocketFilter::Listening, Protocol::Tcp) => LISTENING,
        (SocketFilter::AcceptClients, Protocol::Udp) => u32::MAX,
        (SocketFilter::Listening, Protocol::Udp) => UNCONNECTED,
        (SocketFilter::Others, Protocol::Tcp) => !LISTENING,
        (SocketFilter::Others, Protocol::Udp) => 0,
    };
    let mut inet_diag_req_v2 = vec![family, number, 0, 0];
    inet_diag_req_v2.extend(states.to_ne_bytes());
    inet_diag_req_v2.extend(port.to_be_bytes());
    // The peer's port, both addresses and the interface: any.
    inet_diag_req_v2.extend([0; 2 + 16 + 16 + 4]);
    // INET_DIAG_NOCOOKIE
    inet_diag_req_v2.extend([0xff; 8]);
    netlink::message(SOCK_DIAG_BY_FAMILY, netlink::NLM_F_DUMP, &inet_diag_req_v2)
}

/// Reads a socket from a message of a response.
pub(super) fn socket(protocol: Protocol, kind: u16, body: &[u8]) -> Option<SocketRow> {
    if kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let family = *body.first()?;
    let state = SocketState::of(protocol, *body.get(1)?);
    let (mut only_v6, mut cgroup) = (None, None);
    for (kind, value) in netlink::attributes(body.get(72..)?) {
        match kind {
            INET_DIAG_SKV6ONLY => only_v6 = value.first().map(|only| *only != 0),
            INET_DIAG_CGROUP_ID => cgroup = value.first_chunk().copied().map(u64::from_ne_bytes),
            _ => {}
        }
    }
    let inode = u64::from(netlink::u32_at(body, 68)?);
    Some(SocketRow {
        protocol,
        state,
        ip: netlink::ip(family, body.get(8..)?)?,
        port: u16::from_be_bytes(<[u8; 2]>::try_from(body.get(4..6)?).ok()?),
        only_v6,
        device: Some(netlink::u32_at(body, 40)?),
        uid: netlink::u32_at(body, 64).filter(|_| has_owner(state, inode)),
        inode,
        cgroup,
    })
}

/// Returns `true` if the user in a row created the socket. A connection in `TIME_WAIT` has no user,
/// and neither has one that was closed before its peer closed it: it has no inode any more, and the
/// kernel reports user 0.
pub(super) fn has_owner(state: SocketState, inode: u64) -> bool {
    state != SocketState::TimeWait && inode != 0
}
