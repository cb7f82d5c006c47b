//! netlink in its own bytes: requests to the Linux kernel, and its responses.
//!
//! rtnetlink(7) reports addresses, links and routes. Attributes that are not known are skipped. A response
//! that is incomplete is an error, never a smaller host.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

/// `NETLINK_ROUTE` of linux/netlink.h.
pub(crate) const ROUTE: i32 = 0;
/// `NETLINK_SOCK_DIAG` of linux/netlink.h.
pub(crate) const SOCK_DIAG: i32 = 4;

pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
pub(crate) const NLM_F_DUMP: u16 = 0x300;
/// The table changed during the dump.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Nested attributes may be marked by the highest bits of their type.
const NLA_TYPE_MASK: u16 = 0x3fff;

// linux/rtnetlink.h, linux/if_addr.h, linux/if_link.h and linux/if.h
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTN_LOCAL: u8 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_ALT_IFNAME: u16 = 53;
/// What the first name of a link takes at most, with its NUL (linux/if.h).
const IFNAMSIZ: usize = 16;
const RTEXT_FILTER_SKIP_STATS: u32 = 8;
const IFLA_INFO_KIND: u16 = 1;
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_RUNNING: u32 = 0x40;

/// A network interface, as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) running: bool,
    /// The index of the interface it is part of, a bridge or a VRF; 0 for none.
    pub(crate) master: u32,
    /// Where one family is asked about, loopback alone is told.
    pub(crate) kind: LinkKind,
    /// Its other end is in another network namespace. Not told where one family is asked about.
    pub(crate) ends_elsewhere: bool,
}

/// What is behind a link, as far as it matters here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkKind {
    #[default]
    Other,
    Loopback,
    /// A process is behind it (`tun` or `tap`).
    Tun,
    Vrf,
}

/// An address of an interface, as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addr {
    /// Of the interface.
    pub(crate) index: u32,
    pub(crate) ip: IpAddr,
    pub(crate) prefix_len: u8,
    pub(crate) broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link, or the network of it.
    pub(crate) peer: Option<IpAddr>,
    /// `IFA_F_*` of `linux/if_addr.h`.
    pub(crate) flags: u32,
}

/// The request for all addresses of the host.
pub(crate) fn addr_dump_request() -> Vec<u8> {
    message(RTM_GETADDR, NLM_F_DUMP, &[0; 8])
}

/// The request for all links. For one family, the kernel reports little of each link,
/// and leaves out those that do not have the family.
fn link_dump_request(family: u8) -> Vec<u8> {
    let mut ifinfomsg = vec![0; 16];
    ifinfomsg[0] = family;
    let mask = RTEXT_FILTER_SKIP_STATS.to_ne_bytes();
    push_attribute(&mut ifinfomsg, IFLA_EXT_MASK, &mask);
    message(RTM_GETLINK, NLM_F_DUMP, &ifinfomsg)
}

/// The request for a link, by its index or its name.
pub(crate) fn link_request(index: u32, name: Option<&str>) -> Vec<u8> {
    let mut ifinfomsg = vec![0; 16];
    ifinfomsg[4..8].copy_from_slice(&index.to_ne_bytes());
    if let Some(name) = name {
        // A name that is too long for the one is refused unread.
        let attribute = if name.len() < IFNAMSIZ {
            IFLA_IFNAME
        } else {
            IFLA_ALT_IFNAME
        };
        let name = [name.as_bytes(), &[0]].concat();
        push_attribute(&mut ifinfomsg, attribute, &name);
    }
    message(RTM_GETLINK, 0, &ifinfomsg)
}

/// The request for the route to `ip`.
fn route_request(ip: IpAddr) -> Vec<u8> {
    let (family, bits, dst) = match ip {
        IpAddr::V4(ip) => (AF_INET, 32, ip.octets().to_vec()),
        IpAddr::V6(ip) => (AF_INET6, 128, ip.octets().to_vec()),
    };
    let mut rtmsg = vec![family, bits, 0, 0, 0, 0, 0, 0];
    // Without the second flag the kernel looks for a source address as well, among all
    // addresses of the interface.
    rtmsg.extend((RTM_F_LOOKUP_TABLE | RTM_F_FIB_MATCH).to_ne_bytes());
    push_attribute(&mut rtmsg, RTA_DST, &dst);
    message(RTM_GETROUTE, 0, &rtmsg)
}

fn push_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    to.extend(len.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(padded(to.len()), 0);
}

pub(crate) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
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

/// A message of the kernel.
pub(crate) enum Message<'a> {
    /// A part of the response, and its type.
    Payload(u16, &'a [u8]),
    /// The dump is complete.
    Done,
    /// The request is refused, by an error of the system.
    Refused(i32),
    /// The message goes on behind the end of the datagram.
    Cut,
}

/// Splits a datagram into its messages, each with whether the table changed during the dump.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (Message<'_>, bool)> {
    std::iter::from_fn(move || {
        if datagram.is_empty() {
            return None;
        }
        let Some((kind, flags, body, rest)) = split_message(datagram) else {
            datagram = &[];
            return Some((Message::Cut, false));
        };
        datagram = rest;
        let message = match kind {
            // A dump may end in an error, too, for example where the kernel has no table for it.
            NLMSG_ERROR | NLMSG_DONE if error_in(body) != 0 => Message::Refused(error_in(body)),
            NLMSG_ERROR | NLMSG_DONE => Message::Done,
            kind => Message::Payload(kind, body),
        };
        Some((message, flags & NLM_F_DUMP_INTR != 0))
    })
}

/// Splits off the first message: its type, its flags, its body and what follows.
fn split_message(datagram: &[u8]) -> Option<(u16, u16, &[u8], &[u8])> {
    let len = usize::try_from(u32_at(datagram, 0)?).ok()?;
    let (kind, flags) = (u16_at(datagram, 4)?, u16_at(datagram, 6)?);
    let body = datagram.get(16..len)?;
    let rest = datagram.get(padded(len)..).unwrap_or_default();
    Some((kind, flags, body, rest))
}

/// The number of the error that a message has, 0 for none.
fn error_in(body: &[u8]) -> i32 {
    let negative = body
        .first_chunk()
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    negative.wrapping_neg()
}

/// How often to request again what changed during the dump.
const TRIES: usize = 64;

/// The sizes of the buffer for a datagram, tried in turn. Of a dump the kernel fills 32 KiB, unless one message is
/// larger, as that of a link with some 250 alternative names. The largest attribute has 64 KiB.
const SIZES: [usize; 3] = [1 << 15, 1 << 18, 1 << 21];

/// A netlink socket. Sockets are `bind`'s to make, and so it has `open`.
///
/// After an error it may have responses left to an earlier request.
pub(crate) struct Netlink {
    socket: File,
    datagram: Vec<u8>,
}

impl Netlink {
    #[cfg(any(target_os = "linux", target_os = "android"))] // where there is such a socket
    pub(crate) fn on(socket: File, size: usize) -> Self {
        Self {
            socket,
            datagram: vec![0; size],
        }
    }

    /// Runs `query` on a new socket, and on another one with a larger buffer if a message did not fit.
    pub(crate) fn query<T>(
        protocol: i32,
        mut query: impl FnMut(&mut Self) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut result = Err(too_large());
        for size in SIZES {
            result = Self::open(protocol, size).and_then(|mut netlink| query(&mut netlink));
            match &result {
                Err(error) if is_too_large(error) => {}
                _ => break,
            }
        }
        result
    }

    /// Sends a request, and goes through the response until `each` has enough: each message with whether the table
    /// changed, and the number of its datagram.
    fn request(
        &mut self,
        request: &[u8],
        mut each: impl FnMut(Message<'_>, bool, usize) -> ControlFlow<io::Result<()>>,
    ) -> io::Result<()> {
        self.socket.write_all(request)?;
        for datagram in 0.. {
            let len = loop {
                match self.socket.read(&mut self.datagram) {
                    // A signal came (signal(7)); the response is still to come.
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    read => break read?,
                }
            };
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            // recv(2) drops what does not fit. A datagram that fills the buffer may be one of those that is cut
            // between two messages.
            if len == self.datagram.len() {
                return Err(too_large());
            }
            for (message, is_changed) in messages(&self.datagram[..len]) {
                if let ControlFlow::Break(result) = each(message, is_changed, datagram) {
                    return result;
                }
            }
        }
        Ok(())
    }

    /// Requests all things of a kind, as they are at one moment.
    ///
    /// A dump that spans datagrams resumes by position, so that an entry can be missed if others were removed in
    /// between. One that fits in a datagram is consistent in any case.
    ///
    /// # Errors
    ///
    /// Besides the system's: `InvalidData` for a message that is cut, and `ResourceBusy` where the table changed during
    /// each dump.
    pub(crate) fn all<T>(
        &mut self,
        request: &[u8],
        read: fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            let (mut is_consistent, mut first, mut last) = (true, None, None);
            self.request(request, |message, is_changed, datagram| {
                is_consistent &= !is_changed;
                match message {
                    Message::Payload(kind, body) => {
                        first.get_or_insert(datagram);
                        last = Some(datagram);
                        found.extend(read(kind, body));
                    }
                    Message::Refused(error) => {
                        return ControlFlow::Break(Err(io::Error::from_raw_os_error(error)));
                    }
                    Message::Cut => return ControlFlow::Break(Err(too_large())),
                    Message::Done => return ControlFlow::Break(Ok(())),
                }
                ControlFlow::Continue(())
            })?;
            if is_consistent || first == last {
                return Ok(found);
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Requests one thing; `None` if the kernel has none.
    pub(crate) fn one<T>(
        &mut self,
        request: &[u8],
        read: fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<Option<T>> {
        self.one_or_refusal(request, read)?
    }

    /// Requests one thing, and keeps an error that the kernel responded with apart from one of the socket, which a
    /// filter or a security module may refuse.
    fn one_or_refusal<T>(
        &mut self,
        request: &[u8],
        read: fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<io::Result<Option<T>>> {
        let mut found = Ok(None);
        self.request(request, |message, _, _| {
            ControlFlow::Break(match message {
                Message::Payload(kind, body) => {
                    found = Ok(read(kind, body));
                    Ok(())
                }
                Message::Cut => Err(too_large()),
                Message::Done => Ok(()),
                Message::Refused(error) => {
                    found = Err(io::Error::from_raw_os_error(error));
                    Ok(())
                }
            })
        })?;
        Ok(found)
    }

    /// Requests the links that have a family, by their index; all links, if it is 0.
    pub(crate) fn links(&mut self, family: u8) -> io::Result<HashMap<u32, Link>> {
        let links = self.all(&link_dump_request(family), link)?;
        Ok(links.into_iter().map(|link| (link.index, link)).collect())
    }

    /// Requests the table of the route that makes `ip` local; `None` if no route does.
    ///
    /// A refusal is the system's error for what it does with packets to the address: unreachable, prohibited.
    pub(crate) fn local_table(&mut self, ip: IpAddr) -> io::Result<Option<u8>> {
        match self.one_or_refusal(&route_request(ip), local_route)? {
            Err(error) if is_route_error(&error) => Ok(None),
            found => found,
        }
    }
}

fn too_large() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn is_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// On every architecture (asm-generic/errno-base.h).
const EACCES: i32 = 13;

/// Returns `true` for the errors by which `RTM_GETROUTE` says that no route of type `local` applies: no route
/// (`ENETUNREACH`), and routes of the types blackhole (`EINVAL`), unreachable (`EHOSTUNREACH`) and prohibit (`EACCES`).
fn is_route_error(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::InvalidInput
    ) || error.raw_os_error() == Some(EACCES)
}

/// Requests one thing of rtnetlink(7); `None` if the kernel has none.
pub(crate) fn request_one<T>(
    request: &[u8],
    read: fn(u16, &[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    Netlink::query(ROUTE, |netlink| netlink.one(request, read))
}

/// Requests the interface called `name`, by any of its names; `None` where it is not there, or netlink is not.
pub(crate) fn device(name: &str) -> Option<Link> {
    request_one(&link_request(0, Some(name)), link).ok()?
}

/// Requests the table of the route that makes `ip` local; `None` if no route does.
pub(crate) fn local_table(ip: IpAddr) -> io::Result<Option<u8>> {
    Netlink::query(ROUTE, |netlink| netlink.local_table(ip))
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
    if flags & IFF_LOOPBACK != 0 {
        link.kind = LinkKind::Loopback;
    }
    for (kind, value) in attributes(body.get(16..)?) {
        match kind {
            // The first one, in case a list of names is longer than its length can say.
            IFLA_IFNAME if link.name.is_empty() => link.name = text(value),
            IFLA_LINK_NETNSID => link.ends_elsewhere = true,
            IFLA_MASTER => link.master = u32_at(value, 0).unwrap_or(0),
            IFLA_LINKINFO => {
                let kind = attributes(value).find(|(kind, _)| *kind == IFLA_INFO_KIND);
                link.kind = match kind.map(|(_, kind)| text(kind)).as_deref() {
                    Some("tun") => LinkKind::Tun,
                    Some("vrf") => LinkKind::Vrf,
                    _ => LinkKind::Other,
                };
            }
            _ => {}
        }
    }
    Some(link)
}

/// Reads an address out of a part of an answer.
pub(crate) fn addr(kind: u16, body: &[u8]) -> Option<Addr> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let [family, prefix_len, flags, _scope] = *body.first_chunk()?;
    let (mut addr, mut local, mut broadcast) = (None, None, None);
    let mut flags = u32::from(flags);
    for (kind, value) in attributes(body.get(8..)?) {
        match kind {
            IFA_ADDRESS => addr = ip(family, value),
            IFA_LOCAL => local = ip(family, value),
            IFA_BROADCAST => broadcast = ip(family, value),
            IFA_FLAGS => flags = u32_at(value, 0).unwrap_or(flags),
            _ => {}
        }
    }
    // Where there is a peer, `addr` is the peer's.
    let ip = local.or(addr)?;
    Some(Addr {
        index: u32_at(body, 4)?,
        ip,
        prefix_len,
        broadcast: match broadcast {
            Some(IpAddr::V4(broadcast)) => Some(broadcast),
            _ => None,
        },
        peer: addr.filter(|peer| *peer != ip),
        flags,
    })
}

/// Reads an address of a family.
pub(crate) fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        AF_INET6 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Reads out of a part of an answer the table of a route that makes its destination local; `None` of
/// any other route.
pub(crate) fn local_route(kind: u16, body: &[u8]) -> Option<u8> {
    let [_, _, _, _, table, _, _, route] = *body.first_chunk()?;
    (kind == RTM_NEWROUTE && route == RTN_LOCAL).then_some(table)
}

pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
