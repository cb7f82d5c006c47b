//! Sockets that a service manager has opened: [`Activation`] (feature `socket-activation`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use listenfd::ListenFd;
use socket2::Socket;

use super::{BindOptions, at, name_of};
use crate::diagnose::Step;
use crate::plan::PlannedSocket;
use crate::target::{Protocol, zone};

/// The sockets that a service manager has opened and handed over, in place of which nothing is bound.
///
/// They come as systemd hands them over (`sd_listen_fds(3)`): it opens what the lines `ListenStream=` and
/// `ListenDatagram=` of a `.socket` unit say, and keeps them open while the server restarts, so that no client is
/// turned away. A setting still says where to listen: a socket is taken where it fits, and whatever was not handed
/// over is bound.
///
/// A socket fits where its address, port, protocol and, of IPv6, `IPV6_V6ONLY` are those that would be bound, it
/// listens, and it is bound to the interface of [`device`](BindOptions::device), or without that option to none but its
/// zone. So `*:80` and `[::]:80` are `ListenStream=80`, `0.0.0.0:80` is `ListenStream=0.0.0.0:80`, and port 0
/// fits none. Its backlog is the manager's, and so is its `SO_REUSEADDR`. It blocks unless
/// [`nonblocking`](BindOptions::nonblocking) is set, though systemd's do not. Whoever takes a socket once more has the
/// same open file (open(2)), so that what one sets there holds for the other: only the first taking makes it block.
///
/// Of a range the first port is taken that is handed over or free. While an `Activation` lives, or [`BindOptions`] that
/// have it, so do its sockets: the port stays open when the listener is dropped, as it does at the manager, and may be
/// bound by them again.
///
/// Of several sockets on one address (`ReusePort=`, systemd.socket(5)) one is taken, and the kernel gives the others
/// their share of the clients: hand over one.
///
/// Sockets that listenfd takes for neither TCP nor UDP are left alone. [`check`](BindOptions::check) knows nothing of any, and finds
/// their ports in use.
///
/// # Platform notes
///
/// Unix: the variables `LISTEN_FDS` and `LISTEN_PID`, through listenfd, which takes them out of the environment.
/// Windows: as systemfd hands them over.
///
/// # Examples
///
/// ```
/// use bindaddr::{Activation, BindOptions};
///
/// // First thing in `main`, before there are threads.
/// let activation = Activation::from_env();
/// let options = BindOptions::new().activation(activation.clone());
/// let listeners = options.bind("127.0.0.1:0")?;
/// for addr in activation.unused() {
///     eprintln!("warning: {addr} was handed over, and no setting stands for it");
/// }
/// # assert_eq!((activation.unused().count(), listeners.as_slice().len()), (0, 1));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Default)]
pub struct Activation {
    sockets: Arc<[Handed]>,
}

struct Handed {
    socket: Socket,
    protocol: Protocol,
    addr: SocketAddr,
    used: AtomicBool,
}

impl Activation {
    /// Takes the sockets that the environment tells of: none, if no service manager has handed over any, or they
    /// were taken before.
    ///
    /// It changes the environment, so call it before there are threads
    /// ([`std::env::remove_var`](std::env::remove_var#safety) says why).
    ///
    /// # Examples
    ///
    /// ```
    /// let activation = bindaddr::Activation::from_env();
    /// # let _ = activation;
    /// ```
    #[must_use]
    pub fn from_env() -> Self {
        let mut fds = ListenFd::from_env();
        let sockets = (0..fds.len()).filter_map(|n| {
            // Each is an error that leaves it where it is if it is something else.
            let tcp = fds.take_tcp_listener(n).ok().flatten();
            let tcp = tcp.map(|tcp| (Socket::from(tcp), Protocol::Tcp));
            let (socket, protocol) = tcp.or_else(|| {
                let udp = fds.take_udp_socket(n).ok().flatten();
                udp.map(|udp| (Socket::from(udp), Protocol::Udp))
            })?;
            let addr = name_of(&socket).ok()?;
            Some(Handed {
                socket,
                protocol,
                addr,
                used: AtomicBool::new(false),
            })
        });
        Self {
            sockets: sockets.collect(),
        }
    }

    /// Iterates over the addresses of the sockets that no setting has stood for so far, not even in
    /// a list that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// for addr in bindaddr::Activation::from_env().unused() {
    ///     eprintln!("warning: {addr} was handed over, and no setting stands for it");
    /// }
    /// ```
    pub fn unused(&self) -> impl Iterator<Item = SocketAddr> {
        let sockets = self.sockets.iter();
        let unused = sockets.filter(|handed| !handed.used.load(Ordering::Relaxed));
        unused.map(|handed| handed.addr)
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addrs = self.sockets.iter().map(|handed| handed.addr);
        f.debug_list().entries(addrs).finish()
    }
}

impl Handed {
    fn fits(&self, protocol: Protocol, planned: &PlannedSocket, device: Option<&str>) -> bool {
        let place = |addr: SocketAddr| (addr.ip(), addr.port());
        let (own_zone, wanted_zone) = (zone(self.addr), zone(planned.addr));
        // An address without its zone has that of the device.
        let is_in_zone = own_zone == wanted_zone || wanted_zone == 0 && device.is_some();
        // By its zone a socket is bound to that interface, too.
        let is_tied_by_zone = own_zone != 0 && device.is_none();
        self.protocol == protocol
            && place(self.addr) == place(planned.addr)
            && (planned.addr.is_ipv4() || self.socket.only_v6().ok() == Some(planned.only_v6))
            && is_in_zone
            && (is_tied_by_zone || is_on_device(&self.socket, device))
            && (protocol == Protocol::Udp || is_listening(&self.socket))
    }
}

/// Tells whether it takes connections: a manager may hand over a connection, too, or a
/// socket for the server to make listen.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn is_listening(socket: &Socket) -> bool {
    socket.is_listener().unwrap_or(false)
}

/// Elsewhere the system does not tell; a connection has a peer.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn is_listening(socket: &Socket) -> bool {
    socket.peer_addr().is_err()
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_on_device(socket: &Socket, device: Option<&str>) -> bool {
    let own = socket.device().ok().flatten();
    own.as_deref() == device.map(str::as_bytes)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_on_device(_: &Socket, device: Option<&str>) -> bool {
    device.is_none()
}

impl BindOptions {
    /// Sets the sockets that are taken in place of binding, where they fit.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Activation, BindOptions};
    ///
    /// let options = BindOptions::new().activation(Activation::from_env());
    /// options.bind("127.0.0.1:0")?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Tells whether a socket was handed over for what is planned.
    pub(super) fn is_handed_over(&self, protocol: Protocol, planned: &PlannedSocket) -> bool {
        self.handed(protocol, planned).is_some()
    }

    fn handed(&self, protocol: Protocol, planned: &PlannedSocket) -> Option<&Handed> {
        let mut sockets = self.activation.sockets.iter();
        sockets.find(|handed| handed.fits(protocol, planned, self.device.as_deref()))
    }

    /// Takes the socket that was handed over for what is planned, if there is one.
    pub(super) fn handed_over(
        &self,
        protocol: Protocol,
        planned: &PlannedSocket,
    ) -> Option<Result<(Socket, SocketAddr), (Step, io::Error)>> {
        let handed = self.handed(protocol, planned)?;
        let taken = || {
            // A copy, so that one is left where the rest of a list fails and is tried again.
            let socket = handed.socket.try_clone().map_err(at(Step::Socket))?;
            let is_first = !handed.used.swap(true, Ordering::Relaxed);
            if self.nonblocking || is_first {
                let nonblocking = socket.set_nonblocking(self.nonblocking);
                nonblocking.map_err(at(Step::Option("nonblocking")))?;
            }
            Ok((socket, handed.addr))
        };
        Some(taken())
    }
}
