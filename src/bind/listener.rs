//! The sockets that are open: [`Listeners`], and each [`Listener`] of them. They are the actual state.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{SockRef, Socket};

use super::socket::{bound_device, listen};
use super::{Opened, OpenedSocket};
use crate::addr::shown;
use crate::diagnose::{self, Namespace};
use crate::diagnosis::{Position, SettingError, Warning};
use crate::interfaces::Interfaces;
use crate::plan::{Duplicate, Options, Plan, PlannedSocket};
use crate::reach::{Exposure, Exposures, OpenSocket, Reach, SHOWN};
use crate::sys::device_of;
use crate::target::{BindTarget, Claim, DeviceIndex, Protocol};

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
#[allow(clippy::struct_excessive_bools)] // each is a property of its own
pub struct Listener<S = TcpListener> {
    socket: S,
    local_addr: SocketAddr,
    namespace: Namespace,
    only_v6: bool,
    protocol: Protocol,
    freebind: bool,
    /// The option, as it was set.
    device: Option<String>,
    device_index: DeviceIndex,
    /// Whether it is the IPv4 wildcard that replaces a dual-stack one.
    is_ipv4_instead: bool,
    /// Whether another process has it as well: the service manager that opened it, or one that it was passed to.
    is_shared: AtomicBool,
    /// Whether it was bound to its port, and not to port 0.
    is_port_bound: bool,
    backlog: Option<u32>,
    position: Position,
    /// Its index among the sockets of the setting.
    place: usize,
    /// The text of the setting; `None` of a literal address, which needs none to be found again.
    text: Option<Arc<str>>,
}

impl<S> Listener<S> {
    /// Returns the position of the setting that it was opened for.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns the address the socket is bound to, with the port it was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Classifies the socket's address on the host of a snapshot.
    ///
    /// [`Foreign`](BindTarget::Foreign) is an address that no interface of that host has: the kernel binds what a
    /// local route covers, and with [`freebind`](crate::BindOptions::freebind) anything.
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

impl<S> Listener<S> {
    /// Returns `true` if it is an IPv6 socket that accepts no IPv4 clients.
    pub(crate) fn is_only_v6(&self) -> bool {
        self.local_addr.is_ipv6() && self.only_v6
    }

    pub(crate) fn device_index(&self) -> DeviceIndex {
        self.device_index
    }

    pub(crate) fn is_freebind(&self) -> bool {
        self.freebind
    }

    /// Returns `true` if another process has it as well, so that closing it here does not free its port.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared.load(Ordering::Relaxed)
    }

    /// Notes that another process gets it as well.
    #[cfg(all(feature = "restart", unix))]
    pub(crate) fn set_shared(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if it was bound to its port, and not to port 0. The kernel keeps the port then when it stops
    /// listening.
    pub(crate) fn is_port_bound(&self) -> bool {
        self.is_port_bound
    }

    pub(crate) fn backlog(&self) -> Option<u32> {
        self.backlog
    }

    /// Converts the socket.
    pub(crate) fn convert<T, E>(
        self,
        convert: impl FnOnce(S) -> Result<T, E>,
    ) -> Result<Listener<T>, E> {
        Ok(Listener {
            socket: convert(self.socket)?,
            local_addr: self.local_addr,
            namespace: self.namespace,
            only_v6: self.only_v6,
            protocol: self.protocol,
            freebind: self.freebind,
            device: self.device,
            device_index: self.device_index,
            is_ipv4_instead: self.is_ipv4_instead,
            is_shared: self.is_shared,
            is_port_bound: self.is_port_bound,
            backlog: self.backlog,
            position: self.position,
            place: self.place,
            text: self.text,
        })
    }

    /// Returns the text of the setting that it was opened for, if it is known.
    pub(crate) fn text(&self) -> Option<&str> {
        self.text.as_deref()
    }

    /// Returns what it claims of its port.
    pub(crate) fn claim(&self) -> Claim {
        Claim::of_socket(self.local_addr, self.only_v6).on_device(self.device_index)
    }

    /// Makes it the listener of a planned socket, which it fits.
    pub(crate) fn set_planned(&mut self, planned: &PlannedSocket) {
        self.position = planned.entry.position;
        self.place = planned.place;
        self.text = Some(planned.entry.text.clone());
    }

    /// Returns `true` if it is the IPv4 wildcard that was opened instead of a dual-stack one.
    pub(crate) fn is_ipv4_instead(&self) -> bool {
        self.is_ipv4_instead
    }

    pub(crate) fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Returns the interface that it is bound to by its options.
    pub(crate) fn device_option(&self) -> Option<&str> {
        self.device.as_deref()
    }
}

impl<S: StdSocket> Listener<S> {
    /// Returns the warnings about this socket, on the host of a snapshot.
    ///
    /// Routes and sysctls are read, each time it is called. What cannot be read is not warned about.
    /// [`Listeners::warnings`] has those about all sockets together as well.
    #[must_use]
    pub fn warnings(&self, host: &Interfaces) -> Vec<Warning> {
        let kinds = diagnose::warnings_of_socket(&self.open_socket(), Some(host));
        let kinds = kinds.into_iter();
        kinds
            .map(|kind| Warning::new(self.local_addr, kind))
            .collect()
    }

    /// Says who can connect, the host being that of a snapshot.
    ///
    /// For a socket that was handed over from another network namespace no address is listed, because the
    /// snapshot has those of this one.
    #[must_use]
    pub fn reach(&self, host: &Interfaces) -> Reach {
        self.open_socket().reach(host)
    }

    /// Returns from how far away clients may connect, as [`BindTarget::exposure`] has it.
    ///
    /// A socket that was handed over from another network namespace, or of which that cannot be ruled out, counts as
    /// [`Global`](Exposure::Global), because the snapshot has the addresses of this namespace.
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        Exposures::on(host).of(&self.open_socket())
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
    #[must_use]
    pub fn device(&self) -> Option<String> {
        let device = || self.socket.device();
        bound_device(device, self.local_addr, self.device.as_deref())
    }

    /// Describes it for those who say who can connect.
    fn open_socket(&self) -> OpenSocket {
        OpenSocket {
            addr: self.local_addr,
            protocol: self.protocol,
            only_v6: self.only_v6,
            freebind: self.freebind,
            device: self.device(),
            namespace: self.namespace,
        }
    }
}

impl<S> Listener<S> {
    /// Sets how many connections may wait, by listen(2) again if it was another number.
    pub(crate) fn set_backlog(&mut self, backlog: Option<u32>) -> io::Result<()>
    where
        S: OwnSocket,
    {
        if self.backlog == backlog || self.is_shared() {
            return Ok(());
        }
        let set = listen(&self.sock_ref(), self.protocol, backlog);
        set.map_err(|(_, error)| error)?;
        self.backlog = backlog;
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
            local_addr: self.local_addr,
            namespace: self.namespace,
            socket: None,
            device: bound_device(device, self.local_addr, self.device.as_deref()),
            device_index: self.device_index,
            is_inherited: self.is_shared(),
            backlog: self.backlog,
            protocol: self.protocol,
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
        match self.protocol {
            Protocol::Tcp => accept_waiting(&self.sock_ref(), waiting),
            Protocol::Udp => Ok(()),
        }
    }
}

/// Accepts the connections that wait at a listening socket, which block as those of accept(2) do, and leaves it
/// non-blocking. Adds them to `waiting`.
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
            // The client has gone by now.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
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

#[cfg(unix)]
impl<S: std::os::fd::AsRawFd> std::os::fd::AsRawFd for Listener<S> {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(unix)]
impl<S: Into<std::os::fd::OwnedFd>> From<Listener<S>> for std::os::fd::OwnedFd {
    fn from(listener: Listener<S>) -> Self {
        listener.socket.into()
    }
}

#[cfg(windows)]
impl<S: std::os::windows::io::AsRawSocket> std::os::windows::io::AsRawSocket for Listener<S> {
    fn as_raw_socket(&self) -> std::os::windows::io::RawSocket {
        self.socket.as_raw_socket()
    }
}

#[cfg(windows)]
impl<S: Into<std::os::windows::io::OwnedSocket>> From<Listener<S>>
    for std::os::windows::io::OwnedSocket
{
    fn from(listener: Listener<S>) -> Self {
        listener.socket.into()
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

/// What a [`Listener`] of this crate's own opening holds.
pub(crate) trait OwnSocket: Sized {
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

/// The sockets that settings yield, in the order of the settings: the actual state beside the desired state of a
/// [`Plan`].
///
/// It dereferences to a slice of [`Listener`], and can be collected and extended as a `Vec` can. The sockets of one
/// setting are all on one port.
///
/// The [`Display`](fmt::Display) form has the first ten addresses; `{:#}` has a line for each socket, and
/// for what was skipped or listed twice.
///
/// # Examples
///
/// ```
/// let listeners = bindaddr::bind("localhost:0")?;
/// assert_eq!(listeners.port(), Some(listeners[0].local_addr().port()));
/// for listener in &listeners {
///     assert!(listener.local_addr().ip().is_loopback());
/// }
///
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let listeners = bindaddr::bind(["127.0.0.1:0", "-198.51.100.1:0"])?;
/// assert_eq!(listeners.len(), 1);
/// assert_eq!(listeners.skipped()[0].text(), "-198.51.100.1:0");
///
/// let std: Vec<std::net::TcpListener> = listeners.into_std();
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Debug)]
pub struct Listeners<S = TcpListener> {
    listeners: Vec<Listener<S>>,
    rest: Option<Box<Rest>>,
}

/// What became of the entries that have no socket of their own.
#[derive(Debug)]
pub(crate) struct Rest {
    skipped: Vec<SettingError>,
    duplicates: Vec<Duplicate>,
    /// What the host lacks, and the setting or the list does without.
    left_out: Vec<PlannedSocket>,
}

impl Rest {
    /// Returns the rest of a plan; `None` if there is none.
    pub(crate) fn of<'p>(
        plan: &Plan,
        mut skipped: Vec<SettingError>,
        open: impl IntoIterator<Item = &'p PlannedSocket>,
        left_out: Vec<PlannedSocket>,
    ) -> Option<Box<Self>> {
        let open: HashSet<(Position, SocketAddr)> = open
            .into_iter()
            .map(|planned| (planned.position(), planned.addr()))
            .collect();
        // A duplicate of a skipped entry is not open. It is skipped as well if it is optional, and `localhost` does
        // without it.
        let kept: HashMap<(Position, Option<SocketAddr>), SettingError> = skipped
            .iter()
            .map(|error| ((error.position(), error.addr()), error.clone()))
            .collect();
        let mut duplicates = plan.duplicates.clone();
        duplicates.retain(|duplicate| {
            let Some(error) = kept.get(&(duplicate.kept_by, Some(duplicate.addr))) else {
                // `*` and `localhost` do without IPv6 where the host has none.
                return open.contains(&(duplicate.kept_by, duplicate.addr));
            };
            let entry = plan.entry_at(duplicate.position);
            if let Some(entry) = entry.filter(|entry| entry.is_optional()) {
                skipped.push(error.clone().at(entry.position, entry.text.clone()));
            }
            false
        });
        skipped.sort_by_key(SettingError::position);
        let has_any = !skipped.is_empty() || !duplicates.is_empty() || !left_out.is_empty();
        has_any.then(|| {
            Box::new(Self {
                skipped,
                duplicates,
                left_out,
            })
        })
    }
}

impl<S> Listeners<S> {
    /// Creates a list of the socket of a literal address.
    pub(super) fn of_one(
        socket: S,
        local_addr: SocketAddr,
        protocol: Protocol,
        is_port_bound: bool,
        options: &Options,
    ) -> Self {
        let Options {
            freebind, backlog, ..
        } = *options;
        let listener = Listener {
            socket,
            local_addr,
            namespace: Namespace::This,
            only_v6: true,
            protocol,
            freebind,
            device: None,
            device_index: DeviceIndex::None,
            is_ipv4_instead: false,
            is_shared: false.into(),
            is_port_bound,
            backlog,
            position: Position::default(),
            place: 0,
            text: None,
        };
        Self::from_iter([listener])
    }

    /// Borrows the sockets.
    #[must_use]
    pub fn as_slice(&self) -> &[Listener<S>] {
        &self.listeners
    }

    /// Returns the port if all sockets have the same.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let mut ports = self.iter().map(|listener| listener.local_addr.port());
        let first = ports.next()?;
        ports.all(|port| port == first).then_some(first)
    }

    /// Returns the socket if there is one only, for servers that take one.
    ///
    /// # Errors
    ///
    /// The sockets themselves, if there are several or none.
    /// [`AddrSelection::Single`](crate::plan::AddrSelection::Single) refuses an entry that resolves to several addresses
    /// before any is opened; a list of several entries is still several sockets.
    pub fn into_single(mut self) -> Result<Listener<S>, Self> {
        match (self.listeners.pop(), self.listeners.is_empty()) {
            (Some(only), true) => Ok(only),
            (last, _) => {
                self.listeners.extend(last);
                Err(self)
            }
        }
    }

    /// Converts into the std sockets, which block unless [`nonblocking`](crate::BindOptions::nonblocking) was set.
    #[must_use]
    pub fn into_std(self) -> Vec<S> {
        self.into_iter().map(Listener::into_std).collect()
    }

    /// Returns the optional entries that this host lacks, each with its cause.
    #[must_use]
    pub fn skipped(&self) -> &[SettingError] {
        self.rest.as_ref().map_or(&[], |rest| &rest.skipped)
    }

    /// Returns the addresses that are listed twice and were opened once.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        self.rest.as_ref().map_or(&[], |rest| &rest.duplicates)
    }

    /// Returns the sockets whose address or family the host lacked when the others were opened.
    pub(crate) fn left_out(&self) -> &[PlannedSocket] {
        self.rest.as_ref().map_or(&[], |rest| &rest.left_out)
    }

    /// Keeps the sockets for which `keep` returns `true`, and closes the others.
    pub fn retain(&mut self, keep: impl FnMut(&Listener<S>) -> bool) {
        self.listeners.retain(keep);
    }
}

impl<S> Listeners<S> {
    /// Takes the sockets out.
    pub(crate) fn take(&mut self) -> Vec<Listener<S>> {
        mem::take(&mut self.listeners)
    }

    /// Sets what is open, in the order of the settings, and what became of the other entries.
    pub(crate) fn replace(&mut self, listeners: Vec<Listener<S>>, rest: Option<Box<Rest>>) {
        self.listeners = in_order(listeners);
        self.rest = rest;
    }

    /// Converts the sockets; those that are left are closed if one cannot be.
    #[cfg(feature = "tokio")]
    pub(crate) fn convert<T>(
        self,
        mut convert: impl FnMut(S) -> io::Result<T>,
    ) -> io::Result<Listeners<T>> {
        let listeners = self.listeners.into_iter();
        Ok(Listeners {
            listeners: listeners
                .map(|listener| listener.convert(&mut convert))
                .collect::<io::Result<_>>()?,
            rest: self.rest,
        })
    }

    /// Takes out the sockets at some indices.
    pub(crate) fn extract(&mut self, indices: &HashSet<usize>) -> Vec<Listener<S>> {
        let all = mem::take(&mut self.listeners).into_iter().enumerate();
        let (out, rest): (Vec<_>, Vec<_>) = all.partition(|(index, _)| indices.contains(index));
        self.listeners = rest.into_iter().map(|(_, listener)| listener).collect();
        out.into_iter().map(|(_, listener)| listener).collect()
    }

    /// Converts the sockets of the engine, all of which are open.
    pub(super) fn of(opened: Opened) -> Self
    where
        S: From<Socket>,
    {
        let sockets = opened.sockets.into_iter();
        Self {
            listeners: in_order(sockets.filter_map(OpenedSocket::into_own).collect()),
            rest: opened.rest,
        }
    }
}

/// Sorts sockets by the setting that they are of.
fn in_order<S>(mut listeners: Vec<Listener<S>>) -> Vec<Listener<S>> {
    listeners.sort_by_key(|listener| (listener.position, listener.place));
    listeners
}

impl OpenedSocket {
    /// Returns the listener of a socket that is open; `None` if it is not.
    fn into_own<S: From<Socket>>(self) -> Option<Listener<S>> {
        let convert = |socket: Socket| Ok::<S, Infallible>(socket.into());
        let Ok(own) = self.listener()?.convert(convert);
        Some(own)
    }

    /// Returns the listener of a socket that is open, as the server holds it; `None` if it is not.
    pub(crate) fn into_listener<S: OwnSocket>(self) -> Option<io::Result<Listener<S>>> {
        Some(self.listener()?.convert(S::from_socket))
    }

    /// Returns the listener of a socket that is open; `None` if it is not.
    fn listener(self) -> Option<Listener<Socket>> {
        let entry = &self.planned.entry;
        Some(Listener {
            socket: self.socket?,
            local_addr: self.local_addr,
            namespace: self.namespace,
            only_v6: self.planned.only_v6,
            protocol: self.protocol,
            freebind: entry.freebind,
            device: entry.device.clone(),
            device_index: self.device_index,
            is_ipv4_instead: self.planned.is_ipv4_instead(),
            is_shared: self.is_inherited.into(),
            is_port_bound: self.planned.addr.port() != 0,
            backlog: self.backlog,
            position: entry.position,
            place: self.planned.place,
            text: Some(entry.text.clone()),
        })
    }
}

/// No socket.
impl<S> Default for Listeners<S> {
    fn default() -> Self {
        Self {
            listeners: Vec::new(),
            rest: None,
        }
    }
}

impl<S> Deref for Listeners<S> {
    type Target = [Listener<S>];

    fn deref(&self) -> &[Listener<S>] {
        &self.listeners
    }
}

impl<S> FromIterator<Listener<S>> for Listeners<S> {
    fn from_iter<I: IntoIterator<Item = Listener<S>>>(listeners: I) -> Self {
        Self {
            listeners: listeners.into_iter().collect(),
            rest: None,
        }
    }
}

impl<S> Extend<Listener<S>> for Listeners<S> {
    fn extend<I: IntoIterator<Item = Listener<S>>>(&mut self, listeners: I) {
        self.listeners.extend(listeners);
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
    /// assert_eq!(reach.addrs().len(), listeners.as_slice().len());
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
    /// let listeners = bindaddr::bind(["127.0.0.1:0", "*:0"])?;
    /// assert!(listeners.exposure(&Interfaces::system()?) > Exposure::ThisHost);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn exposure(&self, host: &Interfaces) -> Exposure {
        Exposures::on(host).of_all(self.iter().map(Listener::open_socket))
    }

    /// Returns the warnings about each socket and about all of them together, on the host of a snapshot.
    ///
    /// Routes, sysctls and the signs of a container are read, each time it is called. What cannot be read is not warned
    /// about.
    #[must_use]
    pub fn warnings(&self, host: &Interfaces) -> Vec<Warning> {
        let sockets: Vec<OpenSocket> = self.iter().map(Listener::open_socket).collect();
        diagnose::warnings_of(&sockets, host)
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
        for duplicate in self.duplicates() {
            writeln!(f, "{duplicate}")?;
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
