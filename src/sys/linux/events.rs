//! Notifications of rtnetlink(7): [`AddrEvents`].

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV4_RULE`,
/// `RTMGRP_IPV6_IFADDR`, `RTMGRP_IPV6_ROUTE` and the bit of `RTNLGRP_IPV6_RULE` of
/// `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << (19 - 1);

/// A netlink socket that receives the changes of links, addresses, routes and rules.
#[derive(Debug)]
pub(crate) struct AddrEvents {
    socket: OwnedFd,
}

impl AddrEvents {
    /// Starts to collect events.
    pub(crate) fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            flags,
            None, // NETLINK_ROUTE
        )?;
        bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
        Ok(Self { socket })
    }

    /// Waits until something may have changed since the last call, and returns `true`; or `false`
    /// after `timeout`.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.wait_unless(None, timeout)
    }

    /// Waits as [`wait`](Self::wait) does, and returns `false` as soon as `wakeup` is used.
    pub(crate) fn wait_unless(
        &mut self,
        wakeup: Option<&Wakeup>,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        let begun = Instant::now();
        loop {
            if self.drain()? {
                return Ok(true);
            }
            let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(false);
            }
            // A timeout that does not fit is as good as none.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let socket = [self.socket.as_fd()].into_iter();
            let waited_for = socket.chain(wakeup.map(|wakeup| wakeup.receiver.as_fd()));
            let mut fds: Vec<PollFd<'_>> = waited_for
                .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
                .collect();
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            if wakeup.is_some_and(Wakeup::is_used) {
                return Ok(false);
            }
        }
    }

    /// Discards the events that have arrived, and returns `true` if there were any.
    fn drain(&mut self) -> io::Result<bool> {
        let mut is_changed = false;
        // The content of an event is not read, so it may be cut short. Changes that never cease
        // must not delay the report.
        for _ in 0..100_000 {
            match recv(&self.socket, &mut [0; 32], RecvFlags::DONTWAIT) {
                // ENOBUFS: the kernel has dropped events.
                Ok(_) | Err(Errno::NOBUFS) => is_changed = true,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(is_changed)
    }
}

impl AsFd for AddrEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Wakes the thread that waits for events.
#[derive(Debug)]
pub(crate) struct Wakeup {
    receiver: UnixStream,
    sender: UnixStream,
}

impl Wakeup {
    pub(crate) fn new() -> io::Result<Self> {
        let (receiver, sender) = UnixStream::pair()?;
        receiver.set_nonblocking(true)?;
        sender.set_nonblocking(true)?;
        Ok(Self { receiver, sender })
    }

    pub(crate) fn wake(&self) {
        // A full buffer wakes the reader anyway.
        let _ = (&self.sender).write(&[0]);
    }

    /// Waits, and returns `true` as soon as it is used.
    pub(crate) fn is_used_within(&self, timeout: Duration) -> bool {
        let timeout = Timespec::try_from(timeout).ok();
        let _ = poll(
            &mut [PollFd::new(&self.receiver, PollFlags::IN)],
            timeout.as_ref(),
        );
        self.is_used()
    }

    /// Returns `true` if it was used since the last call.
    fn is_used(&self) -> bool {
        let mut is_used = false;
        while matches!((&self.receiver).read(&mut [0; 64]), Ok(1..)) {
            is_used = true;
        }
        is_used
    }
}
