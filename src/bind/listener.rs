//! What the doors give: [`Listeners`], and each [`Listener`] among them.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use super::BindOptions;
use crate::diagnose::{self, Note};
use crate::interfaces::Interfaces;
use crate::plan::PlannedSocket;
use crate::target::{BindTarget, Protocol};

/// A bound socket: a TCP listener, or a UDP socket as `Listener<UdpSocket>`.
///
/// It converts into the std type and lends its descriptor, so that any option
/// can be set on it that this crate does not know.
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
    socket: S,
    local_addr: SocketAddr,
    only_v6: bool,
    foreign: bool,
    protocol: Protocol,
    freebind: bool,
}

impl<S> Listener<S> {
    pub(super) fn new(
        socket: S,
        local_addr: SocketAddr,
        planned: &PlannedSocket,
        protocol: Protocol,
        freebind: bool,
    ) -> Self {
        Self {
            socket,
            local_addr,
            only_v6: planned.only_v6,
            foreign: planned.foreign,
            protocol,
            freebind,
        }
    }

    /// Returns the address the socket is bound to, with the port it was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Tells whether the kernel bound a [`Foreign`](BindTarget::Foreign) target all the same.
    ///
    /// No interface had the address when it was classified, so it may well be that
    /// nobody can connect: the kernel binds what a local route covers, and with
    /// [`freebind`](crate::BindOptions::freebind) anything. Of a text, which is bound
    /// without looking at the interfaces, it says no; [`target`](Self::target) tells.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::bind((bindaddr::BindTarget::parse("127.0.0.1")?, 0))?;
    /// assert!(!listeners.as_slice()[0].is_foreign());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Looks at this host and notes what is odd about the socket's address, such as that
    /// nobody can connect to it.
    ///
    /// Binding reads nothing of the sort: this does, each time it is called. What cannot be
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
        let kernel = BindOptions::new();
        diagnose::notes(self.local_addr, self.protocol, self.freebind, None, &kernel)
    }

    /// Says what the socket's address is on the host of a snapshot.
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
    #[must_use]
    pub fn as_std(&self) -> &S {
        &self.socket
    }

    /// Converts into the std socket, which blocks unless
    /// [`nonblocking`](crate::BindOptions::nonblocking) was set.
    #[must_use]
    pub fn into_std(self) -> S {
        self.socket
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
}

impl StdSocket for TcpListener {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }
}

impl StdSocket for UdpSocket {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }
}

mod sealed {
    #[allow(unnameable_types)] // which is what seals
    pub trait Sealed {}

    impl Sealed for std::net::TcpListener {}
    impl Sealed for std::net::UdpSocket {}
}

/// The sockets that a setting stands for: at least one, all on one port.
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
}

impl<S> Listeners<S> {
    pub(super) fn new(listeners: Vec<Listener<S>>) -> Self {
        Self { listeners }
    }

    /// Borrows the sockets: at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[Listener<S>] {
        &self.listeners
    }

    /// Iterates over the sockets.
    pub fn iter(&self) -> std::slice::Iter<'_, Listener<S>> {
        self.listeners.iter()
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
