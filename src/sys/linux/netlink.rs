//! The transport of netlink(7): a socket, requests to the kernel, and its responses.
//!
//! Unknown attributes are skipped. A response that is incomplete is an error, never a smaller host.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::ControlFlow;

// linux/socket.h
pub(super) const AF_INET: u8 = 2;
pub(super) const AF_INET6: u8 = 10;

// linux/netlink.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// The table changed during the dump.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Nested attributes may be marked by the highest bits of their type.
const NLA_TYPE_MASK: u16 = 0x3fff;

/// Appends an attribute to the body of a request.
pub(super) fn push_attribute(to: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let len = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    to.extend(len.to_ne_bytes());
    to.extend(kind.to_ne_bytes());
    to.extend(value);
    to.resize(padded(to.len()), 0);
}

/// Builds a request.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
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
pub(super) enum Message<'a> {
    /// A part of the response, and its type.
    Payload(u16, &'a [u8]),
    /// The dump is complete.
    Done,
    /// The request is refused with this error of the system.
    Refused(i32),
    /// The message continues past the end of the datagram.
    Cut,
}

/// Splits a datagram into its messages, each with whether the table changed during the dump.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = (Message<'_>, bool)> {
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

/// Returns the number of the error that a message reports, 0 for none.
fn error_in(body: &[u8]) -> i32 {
    let negative = body
        .first_chunk()
        .map_or(0, |bytes| i32::from_ne_bytes(*bytes));
    negative.wrapping_neg()
}

/// How often to repeat a dump during which the table changed.
const TRIES: usize = 64;

/// The sizes of the buffer for a datagram, tried in turn. The kernel fills 32 KiB of a dump, unless
/// one message is larger, for example that of a link with some 250 alternative names. The largest
/// attribute has 64 KiB.
const SIZES: [usize; 3] = [1 << 15, 1 << 18, 1 << 21];

/// A netlink socket.
///
/// After an error, responses to an earlier request may be left in it.
pub(super) struct Netlink {
    socket: File,
    datagram: Vec<u8>,
}

impl Netlink {
    /// Opens a netlink socket with a buffer for datagrams of less than `size` bytes.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn open(protocol: i32, size: usize) -> io::Result<Self> {
        use std::os::fd::OwnedFd;
        use std::time::Duration;

        use socket2::{Domain, Socket, Type};

        // Of asm-generic/errno.h, as on the machines that gVisor runs on.
        const ENOPROTOOPT: i32 = 92;

        // AF_NETLINK of linux/socket.h. A socket that is bound to nothing talks to
        // the kernel (netlink(7)).
        let socket = Socket::new(Domain::from(16), Type::RAW, Some(protocol.into()))?;
        // The kernel responds at once; the timeout is for one that does not. gVisor has no such
        // option, and has responded when send(2) returns.
        match socket.set_read_timeout(Some(Duration::from_secs(1))) {
            Err(error) if error.raw_os_error() != Some(ENOPROTOOPT) => return Err(error),
            _ => {}
        }
        Ok(Self::on(OwnedFd::from(socket).into(), size))
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn open(_: i32, _: usize) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))] // where there is such a socket
    pub(super) fn on(socket: File, size: usize) -> Self {
        Self {
            socket,
            datagram: vec![0; size],
        }
    }

    /// Runs `query` on a new socket, and on another one with a larger buffer if a message did not
    /// fit.
    pub(super) fn query<T>(
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

    /// Sends a request and passes each message of the response to `each` until it breaks, with
    /// whether the table changed and the number of the datagram.
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
            // recv(2) drops what does not fit. A datagram that fills the buffer may have been cut
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

    /// Requests a consistent dump of a table.
    ///
    /// A dump that spans datagrams resumes by position, so that an entry can be missed if others
    /// were removed in between. One that fits in a datagram is consistent in any case.
    ///
    /// # Errors
    ///
    /// Besides the system's: `InvalidData` for a message that is cut, and `ResourceBusy` if the
    /// table changed during each dump.
    pub(super) fn all<T>(
        &mut self,
        request: &[u8],
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..TRIES {
            if let (found, true) = self.first(request, usize::MAX, &read)? {
                return Ok(found);
            }
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// Requests the entries in the first `most` messages of a dump, and returns whether these are
    /// all.
    pub(super) fn first<T>(
        &mut self,
        request: &[u8],
        most: usize,
        read: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<(Vec<T>, bool)> {
        let (mut found, mut count, mut is_cut_off) = (Vec::new(), 0, false);
        let (mut is_consistent, mut first, mut last) = (true, None, None);
        self.request(request, |message, is_changed, datagram| {
            is_consistent &= !is_changed;
            match message {
                Message::Payload(..) if count == most => {
                    is_cut_off = true;
                    return ControlFlow::Break(Ok(()));
                }
                Message::Payload(kind, body) => {
                    count += 1;
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
        Ok((found, !is_cut_off && (is_consistent || first == last)))
    }

    /// Requests one thing; `None` if the kernel has none. An error that the kernel responded with
    /// is kept apart from an error of the socket, which a filter or a security module may refuse.
    pub(super) fn one<T>(
        &mut self,
        request: &[u8],
        read: impl Fn(u16, &[u8]) -> Option<T>,
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
}

fn too_large() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn is_too_large(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidData
}

/// Reads an address of a family, `AF_INET` or `AF_INET6`.
pub(super) fn ip(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => Some(Ipv4Addr::from(*bytes.first_chunk::<4>()?).into()),
        AF_INET6 => Some(Ipv6Addr::from(*bytes.first_chunk::<16>()?).into()),
        _ => None,
    }
}

/// Splits the part of a message behind its fixed fields into attributes.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
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

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

/// Reads a string that ends at a NUL.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(&bytes[..end.unwrap_or(bytes.len())]).into_owned()
}
