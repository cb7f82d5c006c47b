//! The requests and responses of `sock_diag(7)` about sockets, in its own bytes.

use super::sockets::{Row, State, has_owner};
use crate::netlink;

// linux/sock_diag.h and linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// The request for the sockets of a family and a protocol in the given states (a
/// bit each), on `port` if it is not 0.
pub(super) fn request(ipv6: bool, protocol: u8, states: u32, port: u16) -> Vec<u8> {
    let family = if ipv6 {
        netlink::AF_INET6
    } else {
        netlink::AF_INET
    };
    let mut inet_diag_req_v2 = vec![family, protocol, 0, 0];
    inet_diag_req_v2.extend(states.to_ne_bytes());
    inet_diag_req_v2.extend(port.to_be_bytes());
    // The peer's port, both addresses and the interface: any.
    inet_diag_req_v2.extend([0; 2 + 16 + 16 + 4]);
    // INET_DIAG_NOCOOKIE
    inet_diag_req_v2.extend([0xff; 8]);
    netlink::message(SOCK_DIAG_BY_FAMILY, netlink::NLM_F_DUMP, &inet_diag_req_v2)
}

/// Reads a socket out of a part of a response.
pub(super) fn socket(kind: u16, body: &[u8]) -> Option<Row> {
    if kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let family = *body.first()?;
    let state = State::of(*body.get(1)?);
    let only_v6 = netlink::attributes(body.get(72..)?)
        .find(|(kind, _)| *kind == INET_DIAG_SKV6ONLY)
        .and_then(|(_, value)| value.first().map(|only| *only != 0));
    let inode = u64::from(netlink::u32_at(body, 68)?);
    Some(Row {
        state,
        ip: netlink::ip(family, body.get(8..)?)?,
        port: u16::from_be_bytes(<[u8; 2]>::try_from(body.get(4..6)?).ok()?),
        only_v6,
        device: Some(netlink::u32_at(body, 40)?),
        uid: netlink::u32_at(body, 64).filter(|_| has_owner(state, inode)),
        inode,
    })
}
