//! What Linux tells over netlink, in its own bytes: requests out, answers in.
//!
//! rtnetlink(7) tells links and routes, `sock_diag(7)` sockets. The answers are
//! read leniently: what is cut short or unknown is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sockets::{Row, State};

/// `NETLINK_ROUTE` of linux/netlink.h.
pub(crate) const ROUTE: i32 = 0;
/// `NETLINK_SOCK_DIAG` of linux/netlink.h.
pub(crate) const SOCK_DIAG: i32 = 4;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP: u16 = 0x300;
/// Nested attributes may be marked by the highest bits of their type.
const NLA_TYPE_MASK: u16 = 0x3fff;

// linux/rtnetlink.h, linux/if_link.h and linux/if.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_RUNNING: u32 = 0x40;

// linux/sock_diag.h and linux/inet_diag.h
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const INET_DIAG_SKV6ONLY: u16 = 11;

/// A network interface, as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) running: bool,
    /// The index of the interface it is part of, a bridge or a VRF; 0 for none.
    pub(crate) master: u32,
    pub(crate) is_vrf: bool,
}

/// The question for a link, by its index or its name.
pub(crate) fn link_question(index: u32, name: Option<&str>) -> Vec<u8> {
    let mut ifinfomsg = vec![0; 16];
    ifinfomsg[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(name) = name {
        push_attribute(
            &mut ifinfomsg,
            IFLA_IFNAME,
            &[name.as_bytes(), &[0]].concat(),
        );
    }
    message(RTM_GETLINK, 0, &ifinfomsg)
}

/// The question for the route to `ip`.
pub(crate) fn route_question(ip: IpAddr) -> Vec<u8> {
    let (family, bits, dst) = match ip {
        IpAddr::V4(ip) => (AF_INET, 32, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, 128, ip.octets().to_vec()),
    };
    let mut rtmsg = vec![family, bits, 0, 0, 0, 0, 0, 0];
    // Without this flag the kernel looks for a source address as well, among all
    // addresses of the interface.
    rtmsg.extend(RTM_F_FIB_MATCH.to_ne_bytes());
    push_attribute(&mut rtmsg, RTA_DST, &dst);
    message(RTM_GETROUTE, 0, &rtmsg)
}

/// The question for the sockets of a family and a protocol in the given states (a
/// bit each), on `port` if it is not 0.
pub(crate) fn sockets_question(ipv6: bool, protocol: u8, states: u32, port: u16) -> Vec<u8> {
    let family = if ipv6 { AF_INET6 } else { AF_INET };
    let mut inet_diag_req_v2 = vec![family, protocol, 0, 0];
    inet_diag_req_v2.extend(states.to_ne_bytes());
    inet_diag_req_v2.extend(port.to_be_bytes());
    // The peer's port, both addresses and the interface: any.
    inet_diag_req_v2.extend([0; 2 + 16 + 16 + 4]);
    // INET_DIAG_NOCOOKIE
    inet_diag_req_v2.extend([0xff; 8]);
    message(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &inet_diag_req_v2)
}

fn push_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    to.extend(len.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(padded(to.len()), 0);
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(16 + body.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(16 + body.len());
    message.extend(len.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | flags).to_ne_bytes());
    // A sequence number and the sender, which the kernel fills in.
    message.extend(1u32.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(body);
    message
}

/// What a datagram of the kernel's says.
pub(crate) enum Answer<'a> {
    /// A part of the answer, and its type.
    Part(u16, &'a [u8]),
    /// The dump is over.
    Done,
    /// The question is refused.
    Refused,
}

/// Splits a datagram into its messages; what is cut short ends it.
pub(crate) fn answers(mut datagram: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let kind = u16_at(datagram, 4)?;
        let body = datagram.get(16..len)?;
        datagram = datagram.get(padded(len)..).unwrap_or_default();
        Some(match kind {
            NLMSG_ERROR => Answer::Refused,
            // A dump may end in an error, as where the kernel has no table for it.
            NLMSG_DONE if u32_at(body, 0).is_some_and(|error| error != 0) => Answer::Refused,
            NLMSG_DONE => Answer::Done,
            kind => Answer::Part(kind, body),
        })
    })
}

/// Reads a link out of a part of an answer.
pub(crate) fn link(kind: u16, body: &[u8]) -> Option<Link> {
    if kind != RTM_NEWLINK {
        return None;
    }
    let flags = u32_at(body, 8)?;
    let mut link = Link {
        index: u32_at(body, 4)?,
        up: flags & IFF_UP != 0,
        running: flags & IFF_RUNNING != 0,
        ..Link::default()
    };
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_MASTER => link.master = u32_at(value, 0).unwrap_or(0),
            IFLA_LINKINFO => {
                link.is_vrf = attributes(value)
                    .any(|(kind, value)| kind == IFLA_INFO_KIND && text(value) == "vrf");
            }
            _ => {}
        }
    }
    Some(link)
}

/// Reads out of a part of an answer whether a route makes its destination local.
pub(crate) fn is_local_route(kind: u16, body: &[u8]) -> Option<bool> {
    (kind == RTM_NEWROUTE)
        .then(|| body.get(7).map(|kind| *kind == RTN_LOCAL))
        .flatten()
}

/// Reads a socket out of a part of an answer.
pub(crate) fn socket(kind: u16, body: &[u8]) -> Option<Row> {
    if kind != SOCK_DIAG_BY_FAMILY {
        return None;
    }
    let ip = |at: usize| match *body.first()? {
        AF_INET => {
            let octets = <[u8; 4]>::try_from(body.get(at..at + 4)?).ok()?;
            Some(IpAddr::V4(Ipv4Addr::from(octets)))
        }
        AF_INET6 => {
            let octets = <[u8; 16]>::try_from(body.get(at..at + 16)?).ok()?;
            Some(IpAddr::V6(Ipv6Addr::from(octets)))
        }
        _ => None,
    };
    let state = State::of(*body.get(1)?);
    let only_v6 = attributes(body.get(72..)?)
        .find(|(kind, _)| *kind == INET_DIAG_SKV6ONLY)
        .and_then(|(_, value)| value.first().map(|only| *only != 0));
    Some(Row {
        state,
        ip: ip(8)?,
        port: u16::from_be_bytes(<[u8; 2]>::try_from(body.get(4..6)?).ok()?),
        only_v6,
        device: Some(u32_at(body, 40)?),
        // A connection in TIME_WAIT has no owner any more.
        uid: (state != State::TimeWait)
            .then(|| u32_at(body, 64))
            .flatten(),
        inode: u64::from(u32_at(body, 68)?),
    })
}

fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(padded(len)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// Messages and attributes begin at multiples of four bytes.
fn padded(len: usize) -> usize {
    len.saturating_add(3) & !3
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
