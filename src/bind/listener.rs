//! The sockets that are open: [`Listeners`], and each [`Listener`] of them. They are the actual
//! state.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockRef, Socket};

use super::OpenedSocket;
use super::socket::{bound_device, listen};
use crate::diagnose::{self, Namespace};
use crate::diagnosis::{Position, Warning};
use crate::interfaces::Interfaces;
use crate::plan::{Options, PlannedSocket};
use crate::reach::{Exposure, Exposures, OpenSocket, Reach};
use crate::sys::{InheritedSocket, device_of};
use crate::target::{BindTarget, Claim, DeviceIndex, Protocol};

/// A bound socket: a TCP listener, or a UDP socket as `Listener<UdpSocket>`.
///
/// It converts into the std type and lends its descriptor, so that any option
/// can be set on it that this crate does not know.
///
/// The [`Display`](fmt::Display) form is its address; `{:#}` adds the protocol and what is set on
/// it.
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
    pub(super) state: OpenState,
}

/// The state of an open socket, without the socket itself.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
pub(crate) struct OpenState {
    pub(crate) local_addr: SocketAddr,
    pub(crate) namespace: Namespace,
    /// Whether it accepts no IPv4 clients; an IPv4 socket ignores it.
    pub(crate) only_v6: bool,
    pub(crate) protocol: Protocol,
    /// `None` of a socket that was handed over, which may have it or not.
    pub(crate) freebind: Option<bool>,
    /// The option, as it was set.
    pub(crate) device: Option<String>,
    pub(crate) device_index: DeviceIndex,
    /// Whether it is the IPv4 wildcard that replaces a dual-stack one.
    pub(crate) is_ipv4_instead: bool,
    /// Whether another process has it as well: the service manager that opened it, or one that it
    /// was passed to.
    pub(crate) is_shared: AtomicBool,
    /// The inherited socket that it is a copy of.
    pub(crate) inherited: Option<Arc<InheritedSocket>>,
    /// Whether it is made to block once it is used as a std socket. `O_NONBLOCK` is that of every
    /// process that has the socket, so it is not cleared for one that never blocks on it.
    pub(crate) blocks_later: AtomicBool,
    /// Whether it was bound to its port, and not to port 0.
    pub(crate) is_port_bound: bool,
    pub(crate) backlog: Option<u32>,
    pub(crate) position: Position,
    /// Its index among the sockets of the setting.
    pub(crate) place: usize,
    /// The text of the setting; `None` of a literal address, which needs none to be found again.
    pub(crate) text: Option<Arc<str>>,
}

impl OpenState {
    /// Returns what is known of the socket of a literal address, which was bound with the options
    /// of all.
    pub(super) fn of_addr(
        local_addr: SocketAddr,
        protocol: Protocol,
        is_port_bound: bool,
        options: &Options,
    ) -> Self {
        Self {
            local_addr,
            namespace: Namespace::This,
            only_v6: true,
            protocol,
            freebind: Some(options.freebind),
            device: None,
            device_index: DeviceIndex::None,
            is_ipv4_instead: false,
            is_shared: false.into(),
            inherited: None,
            blocks_later: false.into(),
            is_port_bound,
            backlog: options.backlog,
            position: Position::default(),
            place: 0,
            text: None,
        }
    }

    /// Returns `true` if it is an IPv6 socket that accepts no IPv4 clients.
    pub(crate) fn is_only_v6(&self) -> bool {
        self.local_addr.is_ipv6() && self.only_v6
    }

    /// Returns `true` if another process has it as well, so that closing it here does not free its
    /// port.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Notes that whether it blocks is as the server wants it. Returns `true` if it is to be made
    /// to block, and no other listener of the same open file description has settled that.
    pub(super) fn set_settled(&self) -> bool {
        let is_first = self
            .inherited
            .as_ref()
            .is_none_or(|handed| handed.set_settled());
        self.blocks_later.swap(false, Ordering::Relaxed) && is_first
    }

    /// Returns what it claims of its port.
    pub(crate) fn claim(&self) -> Claim {
        Claim::of_socket(self.local_addr, self.only_v6).on_device(self.device_index)
    }
}

impl<S> Listener<S> {
    /// Returns the position of the setting that it was opened for.
    #[must_use]
    pub fn position(&self) -> Position {
        self.state.position
    }

    /// Returns the address the socket is bound to, with the port it was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.state.local_addr
    }

    /// Classifies the socket's address on the host of a snapshot.
    ///
    /// [`Foreign`](BindTarget::Foreign) is an address that no interface of that host has: the
    /// kernel binds what a local route covers, and with [`freebind`](crate::BindOptions::freebind)
    /// anything.
    #[must_use]
    pub fn target(&self, host: &Interfaces) -> BindTarget {
        BindTarget::of_socket(self.state.local_addr, self.state.only_v6, host)
    }
}

impl<S: StdSocket> Listener<S> {
    /// Borrows the std socket, which blocks unless [`nonblocking`](crate::BindOptions::nonblocking)
    /// was set.
    #[must_use]
    pub fn as_std(&self) -> &S {
        self.settle();
        &self.socket
    }

    /// Converts into the std socket, which blocks unless
    /// [`nonblocking`](crate::BindOptions::nonblocking) was set.
    #[must_use]
    pub fn into_std(self) -> S {
        self.settle();
        self.socket
    }

    /// Makes a socket block that was handed over non-blocking.
    fn settle(&self) {
        if self.state.set_settled() {
            let _ = self.socket.set_nonblocking(false);
        }
    }
}

impl<S> Listener<S> {
    /// Borrows the socket as it is.
    pub(crate) fn socket(&self) -> &S {
        &self.socket
    }

    pub(crate) fn state(&self) -> &OpenState {
        &self.state
    }

    /// Notes that another process gets it as well.
    #[cfg(all(feature = "restart", unix))]
    pub(crate) fn set_shared(&self) {
        self.state.is_shared.store(true, Ordering::Relaxed);
    }

    /// Converts the socket.
    pub(crate) fn convert<T, E>(
        self,
        convert: impl FnOnce(S) -> Result<T, E>,
    ) -> Result<Listener<T>, E> {
        Ok(Listener {
            socket: convert(self.socket)?,
            state: self.state,
        })
    }

    /// Makes it the listener of a planned socket, which it fits.
    pub(crate) fn set_planned(&mut self, planned: &PlannedSocket) {
        self.state.position = planned.entry.position;
        self.state.place = planned.place;
        self.state.text = Some(planned.entry.text.clone());
    }
}

impl<S: StdSocket> Listener<S> {
    /// Returns the warnings about this socket, on the host of a snapshot.
    ///
    /// Routes and sysctls are read, each time it is called. What cannot be read is not warned
    /// about. [`Listeners::warnings`](crate::Listeners::warnings) has those about all sockets
    /// together as well.
    #[must_use]
    pub fn warnings(&self, host: &Interfaces) -> Vec<Warning> {
        let kinds = diagnose::warnings_of_socket(&self.open_socket(), Some(host));
        let kinds = kinds.into_iter();
        kinds
            .map(|kind| Warning::new(self.state.local_addr, kind))
            .collect()
    }

    /// Returns who can connect, the host being that of a snapshot.
    ///
    /// For a socket that was handed over from another network namespace no address is listed,
    /// because the snapshot has those of this one.
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        self.open_socket().reach(host)
    }

    /// Returns from how far away clients may connect, as [`BindTarget::exposure`] has it.
    ///
    /// A socket that was handed over from another network namespace, or of which that cannot be
    /// ruled out, counts as [`Global`](Exposure::Global), because the snapshot has the addresses of
    /// this namespace.
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        Exposures::on(host).of(&self.open_socket())
    }

    /// Returns the interface that the socket is bound to (`SO_BINDTODEVICE`, socket(7)): by
    /// [`device`](crate::BindOptions::device), or by the cgroup of the process, as `ip vrf exec`
    /// does it.
    ///
    /// The socket is queried on each call, so the result is the current primary name of the
    /// interface. The zone of an address is not a device.
    ///
    /// # Platform notes
    ///
    /// Linux and Android; `None` elsewhere.
    #[must_use]
    pub fn device(&self) -> Option<String> {
        let device = || self.socket.device();
        bound_device(device, self.state.local_addr, self.state.device.as_deref())
    }

    /// Describes it for those who say who can connect.
    pub(super) fn open_socket(&self) -> OpenSocket {
        OpenSocket {
            is_open: true,
            addr: self.state.local_addr,
            protocol: self.state.protocol,
            only_v6: self.state.only_v6,
            freebind: self.state.freebind.unwrap_or(false),
            device: self.device(),
            namespace: self.state.namespace,
        }
    }
}

impl<S> Listener<S> {
    /// Sets how many connections may wait, by listen(2) again if it was another number.
    pub(crate) fn set_backlog(&mut self, backlog: Option<u32>) -> io::Result<()>
    where
        S: OwnSocket,
    {
        if self.state.backlog == backlog || self.state.is_shared() {
            return Ok(());
        }
        let set = listen(&self.sock_ref(), self.state.protocol, backlog);
        set.map_err(|(_, error)| error)?;
        self.state.backlog = backlog;
        Ok(())
    }

    /// Describes it as what a check would open.
    pub(crate) fn as_checked(&self, planned: &PlannedSocket) -> OpenedSocket
    where
        S: OwnSocket,
    {
        let device = || device_of(&self.sock_ref());
        OpenedSocket {
            planned: planned.clone(),
            local_addr: self.state.local_addr,
            namespace: self.state.namespace,
            socket: None,
            device: bound_device(device, self.state.local_addr, self.state.device.as_deref()),
            device_index: self.state.device_index,
            inherited: None,
            is_nonblocking: false,
            backlog: self.state.backlog,
            protocol: self.state.protocol,
            is_sharing_unknown: false,
        }
    }

    /// Borrows the socket as what sets options on it.
    pub(crate) fn sock_ref(&self) -> SockRef<'_>
    where
        S: OwnSocket,
    {
        self.socket.sock_ref()
    }

    /// Accepts the connections that are waiting. Adds them to `waiting`.
    ///
    /// # Errors
    ///
    /// Why not all of them can be accepted, such as a lack of descriptors.
    pub(crate) fn accept_waiting(
        &self,
        waiting: &mut Vec<(TcpStream, SocketAddr)>,
    ) -> io::Result<()>
    where
        S: OwnSocket,
    {
        match self.state.protocol {
            Protocol::Tcp => accept_waiting(&self.sock_ref(), waiting),
            Protocol::Udp => Ok(()),
        }
    }
}

/// Accepts the connections that wait at a listening socket, which block as those of accept(2) do,
/// and leaves it non-blocking. Adds them to `waiting`.
pub(super) fn accept_waiting(
    socket: &Socket,
    waiting: &mut Vec<(TcpStream, SocketAddr)>,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // It listens until it is closed, so clients may come without end.
    for _ in 0..LONGEST_QUEUE {
        match socket.accept() {
            Ok((client, peer)) => {
                // The BSDs let it inherit that of the listener.
                client.set_nonblocking(false)?;
                let peer = peer.as_socket().ok_or(io::ErrorKind::InvalidData)?;
                waiting.push((client.into(), peer));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if is_about_one_client(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Returns `true` if an error of accept(2) is that of a connection, and the next one may be well
/// (accept(2)).
pub(crate) fn is_about_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::Interrupted
    )
}

impl<S: StdSocket> fmt::Display for Listener<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.local_addr.fmt(f)?;
        if f.alternate() {
            write!(f, " ({}", self.state.protocol)?;
            if self.state.only_v6 && self.state.local_addr.ip().is_unspecified() {
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
        self.state.set_settled();
        self.socket.set_nonblocking(true)?;
        Ok(self.socket)
    }
}

impl From<Listener> for TcpListener {
    fn from(listener: Listener) -> Self {
        listener.into_std()
    }
}

impl From<Listener<UdpSocket>> for UdpSocket {
    fn from(listener: Listener<UdpSocket>) -> Self {
        listener.into_std()
    }
}

#[cfg(unix)]
impl<S: std::os::fd::AsFd> std::os::fd::AsFd for Listener<S> {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(unix)]
impl<S: std::os::fd::AsRawFd> std::os::fd::AsRawFd for Listener<S> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(unix)]
impl<S: StdSocket + Into<std::os::fd::OwnedFd>> From<Listener<S>> for std::os::fd::OwnedFd {
    fn from(listener: Listener<S>) -> Self {
        listener.into_std().into()
    }
}

#[cfg(windows)]
impl<S: std::os::windows::io::AsRawSocket> std::os::windows::io::AsRawSocket for Listener<S> {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        self.socket.as_raw_socket()
    }
}

#[cfg(windows)]
impl<S: StdSocket + Into<std::os::windows::io::OwnedSocket>> From<Listener<S>>
    for std::os::windows::io::OwnedSocket
{
    fn from(listener: Listener<S>) -> Self {
        listener.into_std().into()
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
/// use bindaddr::update::StdSocket;
/// use bindaddr::Listener;
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
pub trait StdSocket: sealed::Sealed {}

impl StdSocket for TcpListener {}

impl StdSocket for UdpSocket {}

mod sealed {
    use std::io;

    #[allow(unnameable_types)] // which is what seals
    pub trait Sealed {
        fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()>;

        /// Returns the interface that it is bound to.
        fn device(&self) -> io::Result<Option<String>>;
    }
}

impl sealed::Sealed for TcpListener {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }

    fn device(&self) -> io::Result<Option<String>> {
        device_of(&SockRef::from(self))
    }
}

impl sealed::Sealed for UdpSocket {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        self.set_nonblocking(nonblocking)
    }

    fn device(&self) -> io::Result<Option<String>> {
        device_of(&SockRef::from(self))
    }
}

/// How many connections wait at most: the default of `net.core.somaxconn` of Linux since 5.4.
const LONGEST_QUEUE: usize = 4096;

/// Connections that were accepted, each with its peer address.
pub(crate) type Accepted = Vec<(TcpStream, SocketAddr)>;

/// A socket that can hand out connections later, which were accepted of it before.
pub(crate) trait KeepAccepted {
    /// Keeps the connections for the server of the socket, which does not listen. Returns those
    /// that it cannot keep.
    fn keep(&self, accepted: Accepted) -> Accepted {
        accepted
    }
}

impl KeepAccepted for TcpListener {}

impl KeepAccepted for UdpSocket {}

/// The socket of a [`Listener`] that this crate has opened.
pub(crate) trait OwnSocket: KeepAccepted + Sized {
    /// Whether [`from_socket`](Self::from_socket) sets whether it blocks.
    const SETS_BLOCKING: bool = false;

    /// Converts a socket that is bound, and listens if it is of TCP.
    fn from_socket(socket: Socket) -> io::Result<Self>;

    fn sock_ref(&self) -> SockRef<'_>;
}

impl OwnSocket for TcpListener {
    fn from_socket(socket: Socket) -> io::Result<Self> {
        Ok(socket.into())
    }

    fn sock_ref(&self) -> SockRef<'_> {
        self.into()
    }
}

impl OwnSocket for UdpSocket {
    fn from_socket(socket: Socket) -> io::Result<Self> {
        Ok(socket.into())
    }

    fn sock_ref(&self) -> SockRef<'_> {
        self.into()
    }
}

impl OpenedSocket {
    /// Returns the listener of a socket that is open; `None` if it is not.
    pub(super) fn into_own<S: From<Socket>>(self) -> Option<Listener<S>> {
        let convert = |socket: Socket| Ok::<S, Infallible>(socket.into());
        let Ok(own) = self.listener()?.convert(convert);
        Some(own)
    }

    /// Returns the listener of a socket that is open, as the server holds it; `None` if it is not.
    pub(crate) fn into_listener<S: OwnSocket>(self) -> Option<io::Result<Listener<S>>> {
        let listener = self.listener()?;
        if S::SETS_BLOCKING {
            listener.state.set_settled();
        }
        Some(listener.convert(S::from_socket))
    }

    /// Returns the listener of a socket that is open; `None` if it is not.
    fn listener(self) -> Option<Listener<Socket>> {
        let entry = &self.planned.entry;
        let socket = self.socket?;
        let mut blocks_later = false;
        if let Some(handed) = &self.inherited {
            handed.set_used();
            if self.is_nonblocking {
                let _ = socket.set_nonblocking(true);
                handed.set_settled();
            }
            blocks_later = !handed.is_settled();
        }
        Some(Listener {
            socket,
            state: OpenState {
                local_addr: self.local_addr,
                namespace: self.namespace,
                only_v6: self.planned.only_v6,
                protocol: self.protocol,
                freebind: Some(entry.freebind),
                device: entry.device.clone(),
                device_index: self.device_index,
                is_ipv4_instead: self.planned.is_ipv4_instead(),
                is_shared: self.inherited.is_some().into(),
                blocks_later: blocks_later.into(),
                inherited: self.inherited,
                is_port_bound: self.planned.addr.port() != 0,
                backlog: self.backlog,
                position: entry.position,
                place: self.planned.place,
                text: Some(entry.text.clone()),
            },
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn errors_of_connections_differ_from_those_of_the_socket() {
        let is_about_one = |code| is_about_one_client(&io::Error::from_raw_os_error(code));
        // EINTR, ENETDOWN, ENETUNREACH, ECONNABORTED, ECONNRESET, ECONNREFUSED, EHOSTUNREACH
        for code in [4, 100, 101, 103, 104, 111, 113] {
            assert!(is_about_one(code), "{code}");
        }
        // EPERM, EBADF, EAGAIN, ENOMEM, EINVAL, ENFILE, EMFILE, ENOBUFS
        for code in [1, 9, 11, 12, 22, 23, 24, 105] {
            assert!(!is_about_one(code), "{code}");
        }
    }
}
