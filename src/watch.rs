//! Being told when the host's addresses change: [`Watch`].

use std::io;
use std::time::Duration;

/// Tells when addresses or interfaces of this host may have changed.
///
/// It says that, and not what: whoever is told reads the [`Interfaces`](crate::Interfaces) again, and
/// [`Hold::look`](crate::Hold::look) finds what it means. So nothing is lost when changes come faster than they
/// are read, and a burst of them costs one look.
///
/// Make it before the first snapshot is taken, so that nothing happens unseen in between.
///
/// # Platform notes
///
/// - Linux: the kernel wakes it (rtnetlink(7), the groups of links, addresses, routes and rules), through rustix. It is
///   about the network namespace of the thread that made it. The descriptor, through `AsFd`, is readable when
///   something has changed, for event loops; [`wait`](Self::wait) with a timeout of zero then clears it.
/// - Elsewhere nothing wakes it: it says once a second that something may have changed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use bindaddr::{Interfaces, Watch};
///
/// let mut watch = Watch::new()?;
/// let listeners = bindaddr::bind("127.0.0.1:0")?;
/// let mut hold = listeners.hold(Interfaces::system()?);
/// # let mut rounds = 0..1;
/// # while rounds.next().is_some() {
/// // loop {
/// if watch.wait(Some(Duration::from_millis(10)))? {
///     for change in hold.look(Interfaces::system()?) {
///         eprintln!("{change}; {}", change.action());
///     }
/// }
/// // }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watch(system::Watch);

impl Watch {
    /// Starts to watch.
    ///
    /// # Errors
    ///
    /// The system's, as in a sandbox without `AF_NETLINK`.
    ///
    /// # Examples
    ///
    /// ```
    /// let watch = bindaddr::Watch::new()?;
    /// # let _ = watch;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        system::Watch::new().map(Self)
    }

    /// Waits until something may have changed since the last call, and returns `true`; or `false`,
    /// when `timeout` is over. Without a timeout it waits for ever.
    ///
    /// # Errors
    ///
    /// The system's. That events were dropped is no error: something has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut watch = bindaddr::Watch::new()?;
    /// if watch.wait(Some(Duration::ZERO))? {
    ///     println!("something may have changed");
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.0.wait(timeout)
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::time::{Duration, Instant};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::net::netlink::SocketAddrNetlink;
    use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

    /// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR`, `RTMGRP_IPV4_ROUTE`, `RTMGRP_IPV4_RULE`, `RTMGRP_IPV6_IFADDR`,
    /// `RTMGRP_IPV6_ROUTE` and the bit of `RTNLGRP_IPV6_RULE` of `linux/rtnetlink.h`.
    const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << (19 - 1);

    #[derive(Debug)]
    pub(super) struct Watch {
        socket: OwnedFd,
    }

    impl Watch {
        pub(super) fn new() -> io::Result<Self> {
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

        pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
            let begun = Instant::now();
            loop {
                if self.drain()? {
                    return Ok(true);
                }
                let left = timeout.map(|timeout| timeout.saturating_sub(begun.elapsed()));
                if left.is_some_and(|left| left.is_zero()) {
                    return Ok(false);
                }
                // One that does not fit is as good as none.
                let left = left.and_then(|left| Timespec::try_from(left).ok());
                match poll(
                    &mut [PollFd::new(&self.socket, PollFlags::IN)],
                    left.as_ref(),
                ) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }

        /// Takes in what there is, and tells whether there was anything.
        fn drain(&mut self) -> io::Result<bool> {
            let mut is_changed = false;
            // What an event says is not read, so it may be cut short. A host where changes
            // never cease must not keep this from telling.
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

        pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
            self.socket.as_fd()
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::thread;
    use std::time::{Duration, Instant};

    const PERIOD: Duration = Duration::from_secs(1);

    #[derive(Debug)]
    pub(super) struct Watch {
        told: Instant,
    }

    impl Watch {
        #[allow(clippy::unnecessary_wraps)] // as on Linux
        pub(super) fn new() -> io::Result<Self> {
            let told = Instant::now();
            Ok(Self { told })
        }

        #[allow(clippy::unnecessary_wraps)] // as on Linux
        pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
            let due = PERIOD.saturating_sub(self.told.elapsed());
            let is_due = timeout.is_none_or(|timeout| timeout >= due);
            thread::sleep(timeout.map_or(due, |timeout| timeout.min(due)));
            if is_due {
                self.told = Instant::now();
            }
            Ok(is_due)
        }
    }
}
