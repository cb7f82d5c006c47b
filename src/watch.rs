//! Notifications that the host's addresses may have changed: [`Watch`].

use std::io;
use std::time::Duration;

use crate::sys::{AddrEvents, Wakeup};

/// Reports when addresses or interfaces of this host may have changed.
///
/// It does not report what changed: read the [`Interfaces`](crate::Interfaces) again, and
/// [`Plan::diff`](crate::Plan::diff) compares. So nothing is lost when changes come faster than
/// they are read, and a burst of them is compared once.
///
/// Make it before the first snapshot is taken, so that nothing happens unseen in between.
///
/// # Platform notes
///
/// - Linux: the kernel wakes it (rtnetlink(7), the groups of links, addresses, routes and rules),
///   through rustix. It is about the network namespace of the thread that made it. The descriptor,
///   through `AsFd`, is readable when something has changed, for event loops; [`wait`](Self::wait)
///   with a timeout of zero then clears it.
/// - Elsewhere nothing wakes it: it says once a second that something may have changed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use bindaddr::update::Watch;
/// use bindaddr::{BindOptions, Interfaces};
///
/// let mut watch = Watch::new()?;
/// let mut plan = BindOptions::new().plan("127.0.0.1:0")?;
/// let listeners = plan.bind()?;
/// let mut last = plan.diff(&listeners);
/// # let mut rounds = 0..1;
/// # while rounds.next().is_some() {
/// // loop {
/// if watch.wait(Some(Duration::from_millis(10)))? {
///     plan = plan.replan(&Interfaces::system()?)?;
///     let diff = plan.diff(&listeners);
///     for change in diff.since(&last) {
///         eprintln!("{change}");
///     }
///     last = diff;
/// }
/// // }
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Watch(AddrEvents);

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
    /// let watch = bindaddr::update::Watch::new()?;
    /// # let _ = watch;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn new() -> io::Result<Self> {
        AddrEvents::new().map(Self)
    }

    /// Waits until something may have changed since the last call, and returns `true`; or `false`,
    /// when `timeout` is over. Without a timeout it waits indefinitely.
    ///
    /// # Errors
    ///
    /// The system's. Dropped events are not an error: something has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let mut watch = bindaddr::update::Watch::new()?;
    /// if watch.wait(Some(Duration::ZERO))? {
    ///     println!("something may have changed");
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        self.0.wait(timeout)
    }

    /// Waits as [`wait`](Self::wait) does, and returns `false` as soon as `wakeup` is used.
    pub(crate) fn wait_unless(
        &mut self,
        wakeup: &Wakeup,
        timeout: Option<Duration>,
    ) -> io::Result<bool> {
        self.0.wait_unless(Some(wakeup), timeout)
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for Watch {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.0)
    }
}
