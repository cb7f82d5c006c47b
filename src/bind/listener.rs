//! What the doors give: [`Listeners`], and each [`Listener`] among them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use socket2::SockRef;

use super::{BindFailure, Choice, device_of};
use crate::diagnose::{self, BoundBy, Cause, Namespace, Note};
use crate::interfaces::Interfaces;
use crate::listen::{ListenAddr, shown};
use crate::reach::{self, Exposure, Finding, Lints, OpenSocket, Reach, SHOWN, Surroundings};
use crate::target::{BindTarget, Protocol, is_scoped};

/// A bound socket: a TCP listener, or a UDP socket as `Listener<UdpSocket>`.
///
/// It converts into the std type and lends its descriptor, so that any option
/// can be set on it that this crate does not know.
///
/// The [`Display`](fmt::Display) form is its address; `{:#}` adds the protocol and what is set on it.
///
/// # Examples
///
/// ```
/// use std::net::{TcpListener, TcpStream};
///
/// let listener = bindaddr::bind("127.0.0.1:0")?.into_iter().next().expect("one at least");
/// let client = TcpStream::connect(listener.local_addr())?;
/// let listener: TcpListener = listener.into();
/// let (_, peer) = listener.accept()?;
/// assert_eq!(peer, client.local_addr()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Listener<S = TcpListener> {
    pub(super) socket: S,
    pub(super) local_addr: SocketAddr,
    pub(super) namespace: Namespace,
    pub(super) only_v6: bool,
    pub(super) protocol: Protocol,
    pub(super) freebind: bool,
    /// The option, as it was set.
    pub(super) device: Option<String>,
    pub(super) entry: usize,
}

impl<S> Listener<S> {
    pub(super) fn of_entry(self, entry: usize) -> Self {
        Self { entry, ..self }
    }

    /// Returns which of the settings of a list it is of, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind_all(["localhost:0", "127.0.0.1:0"])?;
    /// assert_eq!(listeners.as_slice().last().map(bindaddr::Listener::entry), Some(1));
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the address the socket is bound to, with the port it was given.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// assert_ne!(listeners.as_slice()[0].local_addr().port(), 0);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Classifies the socket's address on the host of a snapshot.
    ///
    /// [`Foreign`](BindTarget::Foreign) is an address that no interface of that host has: the kernel binds what a
    /// local route covers, and with [`freebind`](crate::BindOptions::freebind) anything.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{BindTarget, Interfaces, Wildcard};
    ///
    /// let listeners = bindaddr::bind("[::]:0")?;
    /// let target = listeners.as_slice()[0].target(&Interfaces::system()?);
    /// assert_eq!(target, BindTarget::Any(Wildcard::DualStack));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn target(&self, host: &Interfaces) -> BindTarget {
        BindTarget::of_socket(self.local_addr, self.only_v6, host)
    }

    /// Borrows the std socket.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let listener = &listeners.as_slice()[0];
    /// assert_eq!(listener.as_std().local_addr()?, listener.local_addr());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn as_std(&self) -> &S {
        &self.socket
    }

    /// Converts into the std socket, which blocks unless
    /// [`nonblocking`](crate::BindOptions::nonblocking) was set.
    ///
    /// # Examples
    ///
    /// ```
    /// for listener in bindaddr::bind("127.0.0.1:0")? {
    ///     let _listener: std::net::TcpListener = listener.into_std();
    /// }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn into_std(self) -> S {
        self.socket
    }
}

impl<S: StdSocket> Listener<S> {
    /// Reads the host and notes what is odd about the socket's address, for example that
    /// no client can connect to it.
    ///
    /// Binding reads nothing of the sort. This does, each time it is called. What cannot be
    /// read is not noted.
    ///
    /// # Examples
    ///
    /// ```
    /// for listener in bindaddr::bind("127.0.0.1:0")? {
    ///     for note in listener.notes() {
    ///         eprintln!("note: {}: {note}", listener.local_addr());
    ///     }
    /// }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        let device = self.device();
        let socket = BoundBy {
            freebind: self.freebind,
            device: device.as_deref(),
            only_v6: self.only_v6,
            namespace: self.namespace,
        };
        diagnose::notes(self.local_addr, self.protocol, &socket, None)
    }

    /// Says who can connect, the host being that of a snapshot.
    ///
    /// For a socket that was handed over from another network namespace no address is listed, because the
    /// snapshot has those of this one.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind("0.0.0.0:0")?;
    /// let reach = listeners.as_slice()[0].reach(&bindaddr::Interfaces::system()?);
    /// for dial in reach.dials() {
    ///     println!("{dial}");
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        if self.namespace != Namespace::This {
            return Reach::elsewhere(self.namespace);
        }
        let port = self.local_addr.port();
        self.target(host)
            .reach_on_device(port, self.device().as_deref(), host)
    }

    /// Returns from how far away clients may connect, as [`BindTarget::exposure`] has it.
    ///
    /// A socket that was handed over from another network namespace, or of which that cannot be ruled out, counts as
    /// [`Global`](Exposure::Global), because the snapshot has the addresses of this namespace.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Exposure, Interfaces};
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// let exposure = listeners.as_slice()[0].exposure(&Interfaces::default());
    /// assert_eq!(exposure, Exposure::ThisHost);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        if self.namespace != Namespace::This {
            return Exposure::Global;
        }
        let device = self.device();
        self.target(host)
            .exposure_on_device(device.as_deref(), host)
    }

    /// Returns the interface that the socket is bound to (`SO_BINDTODEVICE`, socket(7)): by
    /// [`device`](crate::BindOptions::device), or by the cgroup of the process, as `ip vrf exec` does it.
    ///
    /// The socket is queried on each call, so the result is the current primary name of the interface. The zone of an
    /// address is not a device.
    ///
    /// # Platform notes
    ///
    /// Linux and Android; `None` elsewhere.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// let listeners = bindaddr::BindOptions::new().device("lo").bind("0.0.0.0:0")?;
    /// assert_eq!(listeners.as_slice()[0].device().as_deref(), Some("lo"));
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn device(&self) -> Option<String> {
        if self.device.is_none() && is_scoped(self.local_addr) {
            return None;
        }
        // The interface may have been deleted (ENODEV), and the socket is still bound to it.
        let device = self.socket.bound_device();
        device.unwrap_or_else(|_| self.device.clone())
    }
}

impl<S: StdSocket> fmt::Display for Listener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.local_addr.fmt(f)?;
        if f.alternate() {
            write!(f, " ({}", self.protocol)?;
            if self.only_v6 && self.local_addr.ip().is_unspecified() {
                f.write_str(", IPv6 only")?;
            }
            if let Some(device) = self.device() {
                write!(f, ", on {} only", device.escape_debug())?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl<S: StdSocket> Listener<S> {
    /// Converts into the std socket and makes it non-blocking, as async runtimes want it.
    ///
    /// # Errors
    ///
    /// The system's, which no socket that was just opened is known to give.
    ///
    /// # Examples
    ///
    /// ```
    /// let listener = bindaddr::bind("127.0.0.1:0")?.into_iter().next().expect("one at least");
    /// // tokio::net::TcpListener::from_std(listener) takes this one.
    /// let listener = listener.into_std_nonblocking()?;
    /// assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_std_nonblocking(self) -> io::Result<S> {
        self.socket.set_nonblocking(true)?;
        Ok(self.socket)
    }
}

impl From<Listener> for TcpListener {
    fn from(listener: Listener) -> Self {
        listener.socket
    }
}

impl From<Listener<UdpSocket>> for UdpSocket {
    fn from(listener: Listener<UdpSocket>) -> Self {
        listener.socket
    }
}

#[cfg(unix)]
impl<S: std::os::fd::AsFd> std::os::fd::AsFd for Listener<S> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(windows)]
impl<S: std::os::windows::io::AsSocket> std::os::windows::io::AsSocket for Listener<S> {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.socket.as_socket()
    }
}

/// A std socket that a [`Listener`] can hold: [`TcpListener`] or [`UdpSocket`].
///
/// It is sealed.
///
/// # Examples
///
/// ```
/// use bindaddr::{Listener, StdSocket};
///
/// /// Makes ready for a runtime whatever was bound.
/// fn ready<S: StdSocket>(listener: Listener<S>) -> std::io::Result<S> {
///     listener.into_std_nonblocking()
/// }
///
/// for listener in bindaddr::bind_udp("127.0.0.1:0")? {
///     ready(listener)?;
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait StdSocket: sealed::Sealed {
    #[doc(hidden)]
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;

    #[doc(hidden)]
    fn bound_device(&self) -> io::Result<Option<String>>;
}

impl StdSocket for TcpListener {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }

    fn bound_device(&self) -> io::Result<Option<String>> {
        device_of(&SockRef::from(self))
    }
}

impl StdSocket for UdpSocket {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }

    fn bound_device(&self) -> io::Result<Option<String>> {
        device_of(&SockRef::from(self))
    }
}

mod sealed {
    #[allow(unnameable_types)] // which is what seals
    pub trait Sealed {}

    impl Sealed for std::net::TcpListener {}
    impl Sealed for std::net::UdpSocket {}
}

/// The sockets that a setting or a list of them stands for: at least one. Those of one
/// setting are all on one port.
///
/// The [`Display`](fmt::Display) form has the first ten addresses; `{:#}` has a line for each socket, and
/// for what was skipped or merged.
///
/// # Examples
///
/// ```
/// let listeners = bindaddr::bind("localhost:0")?;
/// let port = listeners.as_slice()[0].local_addr().port();
/// assert!(listeners.iter().all(|listener| listener.local_addr().port() == port));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Debug)]
pub struct Listeners<S = TcpListener> {
    listeners: Vec<Listener<S>>,
    /// What became of the rest of a list, if anything is to be said of it.
    rest: Option<Box<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    skipped: Vec<Skipped>,
    merged: Vec<Merged>,
    followed: Vec<Followed>,
}

/// A setting that may stand for other sockets when the host has changed.
#[derive(Clone, Debug)]
pub(crate) struct Followed {
    pub(crate) entry: usize,
    pub(crate) addr: ListenAddr,
    pub(crate) choice: Choice,
    /// Whether a name that no interface has is looked up.
    pub(crate) asks_dns: bool,
}

impl<S> Listeners<S> {
    pub(super) fn new(listeners: Vec<Listener<S>>, followed: Option<Followed>) -> Self {
        let rest = |followed| Rest {
            followed: vec![followed],
            ..Rest::default()
        };
        Self {
            listeners,
            rest: followed.map(rest).map(Box::new),
        }
    }

    pub(super) fn of_list(
        listeners: Vec<Listener<S>>,
        skipped: Vec<Skipped>,
        merged: Vec<Merged>,
        followed: Vec<Followed>,
    ) -> Self {
        Self {
            listeners,
            rest: Some(Box::new(Rest {
                skipped,
                merged,
                followed,
            })),
        }
    }

    /// The settings that may stand for other sockets when the host has changed.
    pub(crate) fn followed(&self) -> &[Followed] {
        self.rest.as_ref().map_or(&[], |rest| &rest.followed)
    }

    /// Borrows the sockets: at least one, in the order of the settings.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(bindaddr::bind("127.0.0.1:0")?.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn as_slice(&self) -> &[Listener<S>] {
        &self.listeners
    }

    /// Iterates over the sockets.
    ///
    /// # Examples
    ///
    /// ```
    /// for listener in bindaddr::bind("localhost:0")?.iter() {
    ///     assert!(listener.local_addr().ip().is_loopback());
    /// }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn iter(&self) -> std::slice::Iter<'_, Listener<S>> {
        self.listeners.iter()
    }

    /// Returns what this host does not have of the settings that may be absent.
    ///
    /// # Examples
    ///
    /// ```
    /// // TEST-NET-2 (RFC 5737), which no host has.
    /// let listeners = bindaddr::bind_all(["127.0.0.1:0", "-198.51.100.1:0"])?;
    /// assert_eq!(listeners.skipped()[0].text(), "-198.51.100.1:0");
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn skipped(&self) -> &[Skipped] {
        self.rest.as_ref().map_or(&[], |rest| &rest.skipped)
    }

    /// Returns the entries that are listed twice and were opened once.
    ///
    /// # Examples
    ///
    /// ```
    /// let free = bindaddr::bind("127.0.0.1:0")?.as_slice()[0].local_addr();
    /// let listeners = bindaddr::bind_all([free, free])?;
    /// assert_eq!((listeners.as_slice().len(), listeners.merged().len()), (1, 1));
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn merged(&self) -> &[Merged] {
        self.rest.as_ref().map_or(&[], |rest| &rest.merged)
    }
}

impl<S: StdSocket> Listeners<S> {
    /// Says who can connect to any of the sockets, the host being that of a snapshot.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind("localhost:0")?;
    /// let reach = listeners.reach(&bindaddr::Interfaces::system()?);
    /// print!("{}", reach.banner("http"));
    /// assert_eq!(reach.dials().len(), listeners.as_slice().len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        Reach::of_all(self.iter().map(|listener| listener.reach(host)), host)
    }

    /// Returns from how far away clients may connect to any of the sockets.
    ///
    /// It is for a guard against serving the world without authentication; see [`Exposure`].
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Exposure, Interfaces};
    ///
    /// let listeners = bindaddr::bind_all(["127.0.0.1:0", "*:0"])?;
    /// assert!(listeners.exposure(&Interfaces::system()?) > Exposure::ThisHost);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        let exposures = self.iter().map(|listener| listener.exposure(host));
        exposures.fold(Exposure::ThisHost, Ord::max)
    }

    /// Looks for what an operator may not expect of the sockets, the host being that of a snapshot.
    ///
    /// Some [`Lint`](crate::Lint)s look at this host besides, each time it is called; what cannot be read is not found.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Interfaces, Lints};
    ///
    /// let listeners = bindaddr::bind("127.0.0.1:0")?;
    /// for finding in listeners.lint(&Lints::new(), &Interfaces::system()?) {
    ///     eprintln!("warning: {finding} [{}]", finding.lint());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn lint(&self, lints: &Lints, host: &Interfaces) -> Vec<Finding> {
        // The snapshot says nothing of a socket of another network namespace.
        let here = self
            .iter()
            .filter(|listener| listener.namespace == Namespace::This);
        let sockets: Vec<OpenSocket> = here
            .map(|listener| OpenSocket {
                addr: listener.local_addr,
                target: listener.target(host),
                device: listener.device(),
            })
            .collect();
        let around = Surroundings::read(lints, &sockets, host);
        reach::find(lints, &sockets, host, &around)
    }
}

impl<S: StdSocket> fmt::Display for Listeners<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            for (n, listener) in self.iter().take(SHOWN).enumerate() {
                write!(f, "{}{listener}", if n == 0 { "" } else { ", " })?;
            }
            return match self.listeners.len().saturating_sub(SHOWN) {
                0 => Ok(()),
                more => write!(f, " and {more} more"),
            };
        }
        for listener in self {
            writeln!(f, "{listener:#}")?;
        }
        for skipped in self.skipped() {
            writeln!(f, "skipped {}: {}", shown(skipped.text()), skipped.cause())?;
        }
        for merged in self.merged() {
            writeln!(f, "{} stands twice and is open once", merged.addr())?;
        }
        Ok(())
    }
}

impl<S> IntoIterator for Listeners<S> {
    type Item = Listener<S>;
    type IntoIter = std::vec::IntoIter<Listener<S>>;

    fn into_iter(self) -> Self::IntoIter {
        self.listeners.into_iter()
    }
}

impl<'a, S> IntoIterator for &'a Listeners<S> {
    type Item = &'a Listener<S>;
    type IntoIter = std::slice::Iter<'a, Listener<S>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A socket of a setting that [may be absent](crate::ListenAddr::is_optional), and is.
///
/// # Examples
///
/// ```
/// use bindaddr::Cause;
///
/// let listeners = bindaddr::bind_all(["127.0.0.1:0", "-198.51.100.1:0"])?;
/// let skipped = &listeners.skipped()[0];
/// assert!(matches!(skipped.cause(), Cause::NotOnThisHost(_)));
/// assert_eq!((skipped.entry(), skipped.addr()), (1, Some(([198, 51, 100, 1], 0).into())));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Debug)]
pub struct Skipped {
    entry: usize,
    text: String,
    failure: Arc<BindFailure>,
}

impl Skipped {
    pub(super) fn new(entry: usize, text: String, failure: Arc<BindFailure>) -> Self {
        Self {
            entry,
            text,
            failure,
        }
    }

    /// The same of another setting that stands for the same socket.
    pub(super) fn of_entry(&self, entry: usize, text: String) -> Self {
        Self::new(entry, text, self.failure.clone())
    }

    /// Returns the setting as it was written.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind_all(["127.0.0.1:0", "-198.51.100.1:0"])?;
    /// let skipped = &listeners.skipped()[0];
    /// assert_eq!(skipped.text(), "-198.51.100.1:0");
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns which of the settings it is, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind_all(["127.0.0.1:0", "-198.51.100.1:0"])?;
    /// let skipped = &listeners.skipped()[0];
    /// assert_eq!(skipped.entry(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn entry(&self) -> usize {
        self.entry
    }

    /// Returns the address of the socket; `None` if the setting did not come to one.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind_all(["127.0.0.1:0", "-198.51.100.1:0"])?;
    /// let skipped = &listeners.skipped()[0];
    /// assert_eq!(skipped.addr(), "198.51.100.1:0".parse().ok());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        self.failure.addr()
    }

    /// Returns why this host does not have it.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind_all(["127.0.0.1:0", "-198.51.100.1:0"])?;
    /// let skipped = &listeners.skipped()[0];
    /// assert_eq!(skipped.cause().name(), "not-on-this-host");
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn cause(&self) -> &Cause {
        self.failure.cause()
    }
}

/// A socket that two settings of a list stand for, and that was opened once.
///
/// # Examples
///
/// ```
/// let port = bindaddr::bind("127.0.0.1:0")?.as_slice()[0].local_addr().port();
/// let text = format!("127.0.0.1:{port}");
/// let listeners = bindaddr::bind_all([&text, &text])?;
/// assert_eq!(listeners.as_slice().len(), 1);
/// let merged = listeners.merged()[0];
/// assert_eq!((merged.entry(), merged.into_entry()), (1, 0));
/// assert_eq!(merged.addr().port(), port);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Merged {
    entry: usize,
    into: usize,
    addr: SocketAddr,
}

impl Merged {
    pub(super) fn new(entry: usize, into: usize, addr: SocketAddr) -> Self {
        Self { entry, into, addr }
    }

    /// Returns which of the settings was merged, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let free = bindaddr::bind("127.0.0.1:0")?.as_slice()[0].local_addr();
    /// let listeners = bindaddr::bind_all([free, free])?;
    /// let merged = listeners.merged()[0];
    /// assert_eq!(merged.entry(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn entry(self) -> usize {
        self.entry
    }

    /// Returns which of the settings has the socket, from 0 on.
    ///
    /// # Examples
    ///
    /// ```
    /// let free = bindaddr::bind("127.0.0.1:0")?.as_slice()[0].local_addr();
    /// let listeners = bindaddr::bind_all([free, free])?;
    /// let merged = listeners.merged()[0];
    /// assert_eq!(merged.into_entry(), 0);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn into_entry(self) -> usize {
        self.into
    }

    /// Returns the address of the socket.
    ///
    /// # Examples
    ///
    /// ```
    /// let free = bindaddr::bind("127.0.0.1:0")?.as_slice()[0].local_addr();
    /// let listeners = bindaddr::bind_all([free, free])?;
    /// let merged = listeners.merged()[0];
    /// assert_eq!(merged.addr(), free);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn addr(self) -> SocketAddr {
        self.addr
    }
}
