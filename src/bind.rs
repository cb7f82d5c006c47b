//! Opening the sockets: [`bind()`] and [`BindOptions`]. Only this module and [`sys`] name `socket2`.

// What is asked of the kernel besides.
mod ask;
// What the doors take.
mod setting;
// Which of the addresses that it names.
mod choice;
// What they give.
mod listener;
// What came of it.
mod outcome;
// What they say when they fail.
mod failure;
// Several settings together.
mod list;
// Trying again until they can be opened.
mod wait;
// Taking what a service manager has opened.
#[cfg(feature = "socket-activation")]
mod activation;
// Sockets of tokio.
#[cfg(feature = "tokio")]
mod tokio;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::slice;
use std::time::Duration;

#[cfg(feature = "socket-activation")]
pub use activation::Activation;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::diagnose::{Attempt, Cause, Kernel as _, Namespace, Step};
use crate::listen::has_zone;
use crate::plan::{self, Absence, Device, PlannedSocket};
use crate::resolve::ThisHost;
use crate::sys::{self, device_of};
use crate::target::{Protocol, is_scoped};
pub(crate) use ask::Tried;
use ask::{dead_end, free_port};
pub use choice::Choice;
use choice::Resolver;
pub use failure::{BindError, BindFailure};
pub use list::{bind_all, bind_udp_all};
pub(crate) use listener::Followed;
pub use listener::{Listener, Listeners, Merged, Skipped, StdSocket};
use outcome::{Failed, Opened, absence, explain};
use setting::Read;
pub use setting::Setting;
pub(crate) use setting::Wanted;
pub use wait::Waiting;
use wait::Watch;

/// Opens the TCP listeners that a setting stands for, with the default [`BindOptions`].
///
/// A text stands for one socket, save `localhost` and what selects addresses of
/// the host. All of them are opened, on one port, or none.
///
/// For a literal address this makes the system calls of
/// [`TcpListener::bind`](std::net::TcpListener::bind) and, on an IPv6 socket, sets `IPV6_V6ONLY`; for port 0
/// it asks for the port, and for an IPv4 address whose last two bits are set,
/// whether it is a broadcast. The interfaces are read only where the text names
/// them, and after a failure.
///
/// # Errors
///
/// A [`BindError`] that names the [`Cause`] of every socket that failed.
///
/// # Platform notes
///
/// - Unix: sets `SO_REUSEADDR`, so that a restart need not wait for connections
///   in `TIME_WAIT`.
/// - Windows: leaves it unset; there it would let another process take the port.
///
/// # Examples
///
/// ```
/// for listener in bindaddr::bind("localhost:0")? {
///     assert!(listener.local_addr().ip().is_loopback());
///     let _std: std::net::TcpListener = listener.into_std();
/// }
/// # Ok::<(), bindaddr::BindError>(())
/// ```
///
/// # Example: errors
///
/// ```
/// // TEST-NET-2 (RFC 5737), which no host has.
/// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
/// assert!(matches!(err.cause(), bindaddr::Cause::NotOnThisHost(_)));
/// assert!(err.to_string().starts_with(
///     "cannot listen on 198.51.100.1:0: no interface of this host has 198.51.100.1; "
/// ));
/// ```
pub fn bind<'a>(setting: impl Into<Setting<'a>>) -> Result<Listeners, BindError> {
    BindOptions::new().bind(setting)
}

/// Binds the UDP sockets that a setting stands for, with the default [`BindOptions`].
///
/// It is [`bind()`] for UDP: no `SO_REUSEADDR`, for there it lets sockets share a
/// port silently, and no refusal of multicast and broadcast addresses, which UDP
/// sockets receive on.
///
/// # Platform notes
///
/// Unix and Windows alike: no option is set but `IPV6_V6ONLY` on IPv6 sockets.
///
/// # Errors
///
/// A [`BindError`] that names the [`Cause`] of every socket that failed.
///
/// # Examples
///
/// ```
/// let sockets = bindaddr::bind_udp("127.0.0.1:0")?;
/// assert_ne!(sockets.as_slice()[0].local_addr().port(), 0);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
pub fn bind_udp<'a>(setting: impl Into<Setting<'a>>) -> Result<Listeners<UdpSocket>, BindError> {
    BindOptions::new().bind_udp(setting)
}

/// How sockets are opened.
///
/// An option that the platform lacks is an error when it is used, never a silent no-op.
///
/// # Examples
///
/// ```
/// use bindaddr::BindOptions;
///
/// let listeners = BindOptions::new().backlog(64).nonblocking(true).bind("127.0.0.1:0")?;
/// let idle = listeners.as_slice()[0].as_std().accept().unwrap_err();
/// assert_eq!(idle.kind(), std::io::ErrorKind::WouldBlock);
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is an option of a socket
pub struct BindOptions {
    backlog: Option<u32>,
    only_v6: bool,
    reuse_port: bool,
    freebind: bool,
    nonblocking: bool,
    device: Option<String>,
    wait: Duration,
    watch: Option<Watch>,
    choice: Choice,
    resolver: Option<Resolver>,
    #[cfg(feature = "socket-activation")]
    activation: Activation,
}

impl BindOptions {
    /// Returns the default options: what [`bind()`] uses.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::BindOptions::new().bind("127.0.0.1:0")?;
    /// assert_eq!(listeners.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many connections may wait to be accepted.
    ///
    /// The default is the most that the kernel allows (`somaxconn` on Linux,
    /// listen(2)), for std's 128 is short of a busy server's bursts. UDP has none.
    ///
    /// # Platform notes
    ///
    /// Every system cuts a larger number down to its own limit.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// BindOptions::new().backlog(1024).bind("127.0.0.1:0")?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn backlog(mut self, connections: u32) -> Self {
        self.backlog = Some(connections);
        self
    }

    /// Sets whether `[::]` accepts IPv6 clients only.
    ///
    /// It is for servers whose `[::]` means IPv6, beside a `0.0.0.0` of its own. It also refuses
    /// IPv4-mapped addresses, the wildcard `[::ffff:0.0.0.0]` included. IPv4 addresses and `*` stay what
    /// they are: `*` names both families, so it accepts both. `IPV6_V6ONLY` (ipv6(7)) is set on
    /// every IPv6 socket in any case, so that no system default decides.
    ///
    /// # Examples
    ///
    /// ```
    /// # use bindaddr::BindOptions;
    /// let v6 = BindOptions::new().only_v6(true).bind("[::]:0")?;
    /// let port = v6.as_slice()[0].local_addr().port();
    /// // The two stand side by side.
    /// let v4 = bindaddr::bind(format!("0.0.0.0:{port}"))?;
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn only_v6(mut self, only: bool) -> Self {
        self.only_v6 = only;
        self
    }

    /// Sets whether several sockets of one user may listen on one port and share
    /// its clients (`SO_REUSEPORT`, socket(7)).
    ///
    /// # Platform notes
    ///
    /// Unix except Solaris and illumos. The BSDs and macOS do not balance the load.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// let sharing = BindOptions::new().reuse_port(true);
    /// let first = sharing.bind("127.0.0.1:0")?;
    /// let second = sharing.bind(first.as_slice()[0].local_addr())?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn reuse_port(mut self, reuse: bool) -> Self {
        self.reuse_port = reuse;
        self
    }

    /// Sets whether an address may be bound that the host does not have yet
    /// (`IP_FREEBIND`, ip(7)). It needs no privilege.
    ///
    /// # Platform notes
    ///
    /// Linux and Android.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// BindOptions::new().freebind(true).bind("198.51.100.1:0")?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn freebind(mut self, free: bool) -> Self {
        self.freebind = free;
        self
    }

    /// Sets whether the sockets are non-blocking from the start.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::BindOptions::new().nonblocking(true).bind("127.0.0.1:0")?;
    /// // Nobody is there, and it does not wait.
    /// assert!(listeners.as_slice()[0].as_std().accept().is_err());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn nonblocking(mut self, nonblocking: bool) -> Self {
        self.nonblocking = nonblocking;
        self
    }

    /// Sets the interface that the sockets are bound to (`SO_BINDTODEVICE`,
    /// socket(7)): they take what arrives through it and nothing else.
    ///
    /// An address with the zone of another interface is refused, because the kernel would bind the socket to the zone
    /// in place of the device. The device of the socket is read
    /// after bind(2) and before listen(2).
    ///
    /// # Platform notes
    ///
    /// Linux and Android.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[cfg(target_os = "linux")] {
    /// # use bindaddr::BindOptions;
    /// BindOptions::new().device("lo").bind("0.0.0.0:0")?;
    /// # }
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    #[must_use]
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.device = Some(name.into());
        self
    }

    /// Opens the TCP listeners that a setting stands for, as [`bind()`] does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let listeners = bindaddr::BindOptions::new().backlog(128).bind("localhost:0")?;
    /// # assert!(!listeners.as_slice().is_empty());
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind<'a>(&self, setting: impl Into<Setting<'a>>) -> Result<Listeners, BindError> {
        let setting = setting.into();
        self.keep_trying(slice::from_ref(&setting), || {
            self.open(Protocol::Tcp, &setting)
        })
    }

    /// Binds the UDP sockets that a setting stands for, as [`bind_udp()`] does.
    ///
    /// # Errors
    ///
    /// A [`BindError`] that names the [`Cause`] of every socket that failed.
    ///
    /// # Examples
    ///
    /// ```
    /// let sockets = bindaddr::BindOptions::new().nonblocking(true).bind_udp("127.0.0.1:0")?;
    /// # assert_eq!(sockets.as_slice().len(), 1);
    /// # Ok::<(), bindaddr::BindError>(())
    /// ```
    pub fn bind_udp<'a>(
        &self,
        setting: impl Into<Setting<'a>>,
    ) -> Result<Listeners<UdpSocket>, BindError> {
        let setting = setting.into();
        self.keep_trying(slice::from_ref(&setting), || {
            self.open(Protocol::Udp, &setting)
        })
    }

    fn open<S: From<Socket>>(
        &self,
        protocol: Protocol,
        setting: &Setting<'_>,
    ) -> Result<Listeners<S>, BindError> {
        let refused = |failures| BindError::new(protocol, vec![setting.text()], failures);
        let options = setting.options(self);
        let read = setting.read();
        let refusal = options.refusal();
        // Most settings are one address, for which nothing is to be planned.
        let plain = read.as_ref().ok().and_then(Read::plain_addr);
        let plain = plain.filter(|_| refusal.is_none());
        let mut opened = plain.map(|addr| {
            let planned = [plan::plain_address(addr)];
            options.open_each(protocol, &planned, Extent::Listen)
        });
        if let Some(opened) = opened.take_if(|opened| opened.failures.is_empty()) {
            return Ok(Listeners::new(opened.listeners, None));
        }
        let mut followed = None;
        let wanted = read.and_then(|read| {
            followed = read.followed(0, &options);
            read.wanted(&ThisHost::default(), &options)
        });
        let wanted = match (wanted, refusal) {
            (Ok(wanted), None) => wanted,
            (wanted, refusal) => {
                let failures = wanted.err().into_iter().map(|failure| *failure);
                return Err(refused(failures.chain(refusal).collect()));
            }
        };
        let opened = match opened {
            Some(opened) => opened.on_last_port(false),
            None => options.open_wanted(protocol, &wanted, Extent::Listen),
        };
        if opened.failures.is_empty() {
            return Ok(Listeners::new(opened.listeners, followed));
        }
        // Clients should not get in while the causes are found.
        drop(opened.listeners);
        let failed = opened.failures.into_iter().map(|failed| (0, failed));
        let explained = explain(protocol, failed.collect(), None, |entry| {
            (entry, &wanted, &options)
        });
        let failures = explained.into_iter().map(|(_, failure)| failure);
        Err(refused(failures.collect()))
    }

    /// Looks over what the kernel would take for something else.
    pub(crate) fn refusal(&self) -> Option<BindFailure> {
        // Where there is no such option, that is what is wrong.
        if cfg!(any(target_os = "linux", target_os = "android")) {
            let odd = self
                .device
                .as_deref()
                .filter(|name| !is_device_name(name))?;
            let name = odd.to_owned();
            let cause = Cause::InvalidDevice { name };
            return Some(BindFailure::of_setting(Step::Check, cause, None));
        }
        None
    }

    /// Opens what is wanted on the first port where nobody is in the way.
    fn open_wanted<S: From<Socket>>(
        &self,
        protocol: Protocol,
        wanted: &Wanted,
        extent: Extent,
    ) -> Opened<S> {
        let last = *wanted.ports.end();
        for port in wanted.ports.clone() {
            let planned = self.planned(wanted, port);
            let opened = self.open_on_one_port(protocol, planned, wanted.is_optional, extent);
            if port == last {
                return opened.on_last_port(wanted.is_optional);
            }
            if !opened.is_in_use(wanted.is_optional) {
                return opened;
            }
        }
        unreachable!("a range has a last port")
    }

    /// Plans the sockets on one of the ports.
    pub(crate) fn planned(&self, wanted: &Wanted, port: u16) -> Vec<PlannedSocket> {
        plan::sockets(&wanted.endpoints, port, self.only_v6)
    }

    /// Opens the sockets on one port; if it is 0, on one of the kernel's choice.
    fn open_on_one_port<S: From<Socket>>(
        &self,
        protocol: Protocol,
        mut planned: Vec<PlannedSocket>,
        is_optional: bool,
        extent: Extent,
    ) -> Opened<S> {
        if planned.len() < 2 || planned[0].addr.port() != 0 {
            return self.open_each(protocol, &planned, extent);
        }
        // Several sockets on one port of the kernel's choice. To take the port of
        // one of them for the others fails for ever on a crowded host, where the
        // kernel gives out the ports that are free on one address only. What is
        // free on the dual-stack wildcard is free on every address; where nothing is,
        // the first address has the choice after all.
        let mut tries_left = 16;
        loop {
            let port = match free_port(protocol, planned[0].addr.ip()) {
                Ok(port) => port,
                Err((step, error)) => {
                    return Opened {
                        listeners: Vec::new(),
                        failures: vec![Failed::system(&planned[0], step, error)],
                    };
                }
            };
            for socket in &mut planned {
                socket.addr.set_port(port);
            }
            tries_left -= 1;
            let opened = self.open_each(protocol, &planned, extent);
            // Somebody else may have taken it in between.
            if tries_left == 0 || !opened.is_in_use(is_optional) {
                return opened;
            }
        }
    }

    fn open_each<S: From<Socket>>(
        &self,
        protocol: Protocol,
        planned: &[PlannedSocket],
        mut extent: Extent,
    ) -> Opened<S> {
        let mut opened = Opened {
            listeners: Vec::with_capacity(planned.len()),
            failures: Vec::new(),
        };
        for socket in planned {
            match self.open_one(protocol, socket, extent) {
                Ok(listener) => opened.listeners.push(listener),
                Err(failed) => match (socket.absence, failed.absence()) {
                    (Absence::IsSkipped, (true, _) | (_, true)) => {}
                    (Absence::LeavesIpv4, (_, true)) => {
                        let ipv4 = plan::ipv4_wildcard(socket.addr.port());
                        return self.open_each(protocol, &[ipv4], extent);
                    }
                    _ => {
                        // The others are tried for what is wrong with them, and accept no client.
                        extent = Extent::Bind;
                        opened.listeners.clear();
                        opened.failures.push(failed);
                    }
                },
            }
        }
        opened
    }

    fn open_one<S: From<Socket>>(
        &self,
        protocol: Protocol,
        planned: &PlannedSocket,
        extent: Extent,
    ) -> Result<Listener<S>, Failed> {
        if let Some(dead) = dead_end(protocol, planned) {
            let planned = planned.clone();
            return Err(Failed::Dead { planned, dead });
        }
        if self.device.is_some() && is_scoped(planned.addr) {
            // Before the port is asked for, so that a zone on another device is reported even if the port is in use.
            if let Err((Step::Check, error)) = self.try_address(planned.addr) {
                return Err(Failed::system(planned, Step::Check, error));
            }
        }
        self.handed_over(protocol, planned)
            .unwrap_or_else(|| self.open_socket(protocol, planned.addr, planned.only_v6, extent))
            .map(|socket| Listener {
                socket: socket.socket.into(),
                local_addr: socket.local_addr,
                namespace: socket.namespace,
                only_v6: planned.only_v6,
                protocol,
                freebind: self.freebind,
                device: self.device.clone(),
                entry: 0,
            })
            .map_err(|(step, error)| Failed::system(planned, step, error))
    }

    #[cfg(not(feature = "socket-activation"))]
    #[allow(clippy::unused_self)] // as with the feature
    fn is_handed_over(&self, _: Protocol, _: &PlannedSocket) -> bool {
        false
    }

    #[cfg(not(feature = "socket-activation"))]
    #[allow(clippy::unused_self)] // as with the feature
    fn handed_over(
        &self,
        _: Protocol,
        _: &PlannedSocket,
    ) -> Option<Result<BoundSocket, (Step, io::Error)>> {
        None
    }

    fn open_socket(
        &self,
        protocol: Protocol,
        addr: SocketAddr,
        only_v6: bool,
        extent: Extent,
    ) -> Result<BoundSocket, (Step, io::Error)> {
        let socket = self.bind_socket(protocol, addr, only_v6)?;
        if protocol == Protocol::Tcp && extent == Extent::Listen {
            // The kernel cuts it down to what it allows.
            let backlog = self.backlog.unwrap_or(u32::MAX);
            let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
            socket.listen(backlog).map_err(at(Step::Listen))?;
        }
        // The zone of a link-local address that has none is that of the device.
        let is_unscoped =
            matches!(addr, SocketAddr::V6(v6) if v6.scope_id() == 0 && has_zone(*v6.ip()));
        let has_zone_of_device = self.device.is_some() && is_unscoped;
        // In a jail without it FreeBSD binds the jail's first address (`prison_local_ip4`), which others reach.
        let may_be_of_jail = cfg!(target_os = "freebsd") && addr.ip().is_loopback();
        let local_addr = if addr.port() == 0 || has_zone_of_device || may_be_of_jail {
            name_of(&socket).map_err(at(Step::Name))?
        } else {
            addr
        };
        Ok(BoundSocket {
            socket,
            local_addr,
            namespace: Namespace::This,
        })
    }

    /// Creates, configures and binds the socket, without listening.
    fn bind_socket(
        &self,
        protocol: Protocol,
        addr: SocketAddr,
        only_v6: bool,
    ) -> Result<Socket, (Step, io::Error)> {
        let socket = Socket::new(Domain::for_address(addr), type_of(protocol), None)
            .map_err(at(Step::Socket))?;
        if cfg!(unix) && protocol == Protocol::Tcp {
            let reuse_address = socket.set_reuse_address(true);
            reuse_address.map_err(at(Step::Option("SO_REUSEADDR")))?;
        }
        if addr.is_ipv6() {
            let only_v6 = socket.set_only_v6(only_v6);
            only_v6.map_err(at(Step::Option("only_v6")))?;
        }
        if self.reuse_port {
            set_reuse_port(&socket).map_err(at(Step::Option("reuse_port")))?;
        }
        if self.freebind {
            set_freebind(&socket, addr).map_err(at(Step::Option("freebind")))?;
        }
        if let Some(name) = &self.device {
            set_device(&socket, name).map_err(at(Step::Option("device")))?;
        }
        if self.nonblocking {
            let nonblocking = socket.set_nonblocking(true);
            nonblocking.map_err(at(Step::Option("nonblocking")))?;
        }
        if self.device.is_none() || !is_scoped(addr) {
            socket.bind(&SockAddr::from(addr)).map_err(at(Step::Bind))?;
            return Ok(socket);
        }
        // bind(2) replaces the device by the zone, which would open the socket to the clients of another link.
        let device = device_of(&socket).map_err(at(Step::Option("device")))?;
        socket.bind(&SockAddr::from(addr)).map_err(at(Step::Bind))?;
        if device_of(&socket).map_err(at(Step::Option("device")))? == device {
            Ok(socket)
        } else {
            Err((Step::Check, io::ErrorKind::InvalidInput.into()))
        }
    }

    /// What is wanted, of which nothing has come yet.
    pub(crate) fn attempt<'a>(
        &'a self,
        protocol: Protocol,
        planned: &PlannedSocket,
        wanted: &'a Wanted,
    ) -> Attempt<'a> {
        Attempt {
            protocol,
            addr: planned.addr,
            only_v6: planned.only_v6,
            device: self.device.as_deref(),
            kernel: self,
            shares_port: self.reuse_port,
            freebind: self.freebind,
            only_v6_option: self.only_v6,
            written: Some(&wanted.written),
            ports: (*wanted.ports.start(), *wanted.ports.end()),
            no_port_left: false,
            before: wanted.host.as_ref(),
            dead: None,
            refused: None,
            beside: None,
        }
    }

    /// The interface that sockets are bound to.
    pub(crate) fn device_claim(&self) -> Device {
        let Some(name) = &self.device else {
            return Device::None;
        };
        match sys::device(name).ok().flatten() {
            Some(device) => Device::Index(device.index),
            None => Device::Name(name.clone()),
        }
    }

    pub(crate) fn shares_port(&self) -> bool {
        self.reuse_port
    }

    pub(crate) fn is_freebind(&self) -> bool {
        self.freebind
    }
}

/// Tells whether an interface can be called so. The kernel is not asked, for it
/// would take what stands before a NUL, or the first 15 bytes.
fn is_device_name(name: &str) -> bool {
    let odd = |b: u8| b == b'/' || b == 0 || b.is_ascii_whitespace();
    (1..=15).contains(&name.len()) && !name.bytes().any(odd)
}

/// How far sockets are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// TCP sockets listen.
    Listen,
    /// The list has failed by then: a socket is bound for the kernel's verdict, and closed.
    Bind,
}

/// A socket that has its address.
struct BoundSocket {
    socket: Socket,
    local_addr: SocketAddr,
    namespace: Namespace,
}

/// Says at which step an error came.
fn at(step: Step) -> impl Fn(io::Error) -> (Step, io::Error) {
    move |error| (step, error)
}

fn name_of(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?.as_socket();
    addr.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
fn set_reuse_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
fn set_reuse_port(_: &Socket) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_freebind(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    match addr {
        SocketAddr::V4(_) => socket.set_freebind_v4(true),
        SocketAddr::V6(_) => socket.set_freebind_v6(true),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_freebind(_: &Socket, _: SocketAddr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn type_of(protocol: Protocol) -> Type {
    match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    }
}
