//! One socket: created, configured, bound and, for TCP, listening.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::addr::is_link_scoped;
use crate::diagnose::Namespace;
use crate::diagnosis::Step;
use crate::plan::{BeforeBind, Entry, IfAbsent, Options, PlannedSocket, UnboundSocket};
use crate::sys::{device_of, is_broadcast, lowest_is_broadcast};
use crate::target::{GroupAddr, GroupCheck, Protocol, is_scoped};

/// How far a socket is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    /// It accepts connections.
    Listen,
    /// It has its address for a moment, and accepts nothing.
    Check,
}

/// A step that failed, with the system's error.
pub(crate) type StepError = (Step, io::Error);

/// A socket as it is to be opened.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // each is an option of a socket
pub(super) struct SocketSpec<'a> {
    pub(super) protocol: Protocol,
    pub(super) addr: SocketAddr,
    /// The value for `IPV6_V6ONLY`; ignored for an IPv4 socket.
    pub(super) only_v6: bool,
    pub(super) freebind: bool,
    pub(super) device: Option<&'a str>,
    pub(super) reuse_port: bool,
    pub(super) nonblocking: bool,
    pub(super) mptcp: bool,
    pub(super) nodelay: bool,
    pub(super) keepalive: Option<Duration>,
    pub(super) before_bind: Option<&'a BeforeBind>,
}

/// A socket that has its address.
pub(super) struct BoundSocket {
    pub(super) socket: Socket,
    pub(super) local_addr: SocketAddr,
    pub(super) namespace: Namespace,
}

impl<'a> SocketSpec<'a> {
    pub(super) fn of(protocol: Protocol, planned: &'a PlannedSocket, options: &'a Options) -> Self {
        Self {
            freebind: planned.entry.freebind,
            device: planned.entry.device.as_deref(),
            ..Self::of_addr(protocol, planned.addr, planned.only_v6, options)
        }
    }

    pub(super) fn of_addr(
        protocol: Protocol,
        addr: SocketAddr,
        only_v6: bool,
        options: &'a Options,
    ) -> Self {
        Self {
            protocol,
            addr,
            only_v6,
            freebind: options.freebind,
            device: options.device.as_deref(),
            reuse_port: options.reuse_port,
            nonblocking: options.nonblocking,
            mptcp: options.mptcp,
            nodelay: options.nodelay,
            keepalive: options.keepalive,
            before_bind: options.before_bind.as_ref(),
        }
    }

    /// A socket with no options but these, which is closed at once.
    pub(super) fn plain(
        protocol: Protocol,
        addr: SocketAddr,
        freebind: bool,
        device: Option<&'a str>,
    ) -> Self {
        Self {
            protocol,
            addr,
            only_v6: true,
            freebind,
            device,
            // With SO_REUSEPORT it could get the port of a server that set it, too.
            reuse_port: false,
            nonblocking: false,
            mptcp: false,
            nodelay: false,
            keepalive: None,
            before_bind: None,
        }
    }

    /// Creates, configures and binds the socket, and reads its address.
    pub(super) fn open(&self) -> Result<BoundSocket, StepError> {
        self.read_address(self.bind()?)
    }

    /// Reads the address of a socket that is bound, as far as it is not the one that was asked for.
    pub(super) fn read_address(&self, socket: Socket) -> Result<BoundSocket, StepError> {
        // The zone of a link-local address that has none is that of the device.
        let is_unscoped = matches!(self.addr, SocketAddr::V6(v6) if v6.scope_id() == 0 && is_link_scoped(*v6.ip()));
        let has_zone_of_device = self.device.is_some() && is_unscoped;
        // In a jail without it FreeBSD binds the jail's first address (`prison_local_ip4`), which
        // others reach.
        let may_be_of_jail = cfg!(target_os = "freebsd") && self.addr.ip().is_loopback();
        let local_addr = if self.addr.port() == 0 || has_zone_of_device || may_be_of_jail {
            local_addr(&socket).map_err(at(Step::GetSockName))?
        } else {
            self.addr
        };
        Ok(BoundSocket {
            socket,
            local_addr,
            namespace: Namespace::This,
        })
    }

    /// Creates, configures and binds the socket.
    pub(super) fn bind(&self) -> Result<Socket, StepError> {
        let addr = self.addr;
        let socket = self.socket()?;
        if cfg!(unix) && self.protocol == Protocol::Tcp {
            let reuse_address = socket.set_reuse_address(true);
            reuse_address.map_err(at(Step::Option("SO_REUSEADDR")))?;
        }
        if addr.is_ipv6() {
            let only_v6 = socket.set_only_v6(self.only_v6);
            only_v6.map_err(at(Step::Option("only_v6")))?;
        }
        if self.reuse_port {
            set_reuse_port(&socket, true).map_err(at(Step::Option("reuse_port")))?;
        }
        if self.freebind {
            set_freebind(&socket, addr).map_err(at(Step::Option("freebind")))?;
        }
        if let Some(name) = self.device {
            set_device(&socket, name).map_err(at(Step::Option("device")))?;
        }
        if self.nonblocking {
            let nonblocking = socket.set_nonblocking(true);
            nonblocking.map_err(at(Step::Option("nonblocking")))?;
        }
        if self.protocol == Protocol::Tcp {
            self.set_inherited(&socket)?;
        }
        if let Some(before_bind) = self.before_bind {
            return self.bind_after(before_bind, socket);
        }
        if self.device.is_none() {
            socket.bind(&SockAddr::from(addr)).map_err(at(Step::Bind))?;
            return Ok(socket);
        }
        // bind(2) replaces the device by the zone of an address, which would open the socket to the
        // clients of another link.
        let device = device_of(&socket).map_err(at(Step::Option("device")))?;
        socket.bind(&SockAddr::from(addr)).map_err(at(Step::Bind))?;
        if device_of(&socket).map_err(at(Step::Option("device")))? == device {
            Ok(socket)
        } else {
            Err((Step::Validate, io::ErrorKind::InvalidInput.into()))
        }
    }
}

impl SocketSpec<'_> {
    /// Creates the socket.
    fn socket(&self) -> Result<Socket, StepError> {
        let domain = Domain::for_address(self.addr);
        let kind = type_of(self.protocol);
        if !self.mptcp || self.protocol == Protocol::Udp {
            return Socket::new(domain, kind, None).map_err(at(Step::Socket));
        }
        // If TCP fails as well, the cause is not missing MPTCP.
        new_mptcp(domain).or_else(|_| {
            Socket::new(domain, kind, None).map_err(at(Step::Socket))?;
            let unsupported = io::ErrorKind::Unsupported.into();
            Err((Step::Option("mptcp"), unsupported))
        })
    }

    /// Sets what connections inherit from a listening socket.
    fn set_inherited(&self, socket: &Socket) -> Result<(), StepError> {
        let is_inherited = cfg!(any(target_os = "linux", target_os = "android"));
        let set = |is_set: bool, option, set: &dyn Fn() -> io::Result<()>| match is_set {
            false => Ok(()),
            true if is_inherited => set().map_err(at(Step::Option(option))),
            true => Err((Step::Option(option), io::ErrorKind::Unsupported.into())),
        };
        set(self.nodelay, "nodelay", &|| socket.set_tcp_nodelay(true))?;
        let keepalive = self.keepalive.unwrap_or_default();
        set(self.keepalive.is_some(), "keepalive", &|| {
            socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(keepalive))
        })
    }

    /// Binds the socket after the callback, which may set any option but those that decide who can
    /// connect.
    fn bind_after(&self, before_bind: &BeforeBind, socket: Socket) -> Result<Socket, StepError> {
        const STEP: Step = Step::Option("before_bind");
        let device = device_of(&socket).map_err(at(Step::Option("device")))?;
        let unbound = UnboundSocket {
            socket: handle_of(&socket),
            addr: self.addr,
        };
        (before_bind.0)(&unbound).map_err(at(STEP))?;
        let changed = |option: &str| {
            let text = format!("the callback has changed {option}");
            (STEP, io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        if self.addr.is_ipv6() && socket.only_v6().map_err(at(STEP))? != self.only_v6 {
            return Err(changed("IPV6_V6ONLY"));
        }
        if device_of(&socket).map_err(at(STEP))? != device {
            return Err(changed("the interface, which is the option `device`"));
        }
        // A check would join the group of a running server, and an update takes the option away
        // again.
        if has_reuse_port(&socket) != self.reuse_port {
            return Err(changed("SO_REUSEPORT, which is the option `reuse_port`"));
        }
        let addr = SockAddr::from(self.addr);
        socket.bind(&addr).map_err(at(Step::Bind))?;
        let is_replaced = self.device.is_some()
            && device_of(&socket).map_err(at(Step::Option("device")))? != device;
        if is_replaced {
            return Err((Step::Validate, io::ErrorKind::InvalidInput.into()));
        }
        Ok(socket)
    }
}

#[cfg(target_os = "linux")]
fn new_mptcp(domain: Domain) -> io::Result<Socket> {
    Socket::new(domain, Type::STREAM, Some(socket2::Protocol::MPTCP))
}

#[cfg(not(target_os = "linux"))]
fn new_mptcp(_: Domain) -> io::Result<Socket> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(unix)]
fn handle_of(socket: &Socket) -> std::os::fd::BorrowedFd<'_> {
    std::os::fd::AsFd::as_fd(socket)
}

#[cfg(windows)]
fn handle_of(socket: &Socket) -> std::os::windows::io::BorrowedSocket<'_> {
    std::os::windows::io::AsSocket::as_socket(socket)
}

/// Makes a TCP socket listen.
pub(super) fn listen(
    socket: &Socket,
    protocol: Protocol,
    backlog: Option<u32>,
) -> Result<(), StepError> {
    if protocol == Protocol::Udp {
        return Ok(());
    }
    // The kernel cuts it down to what it allows.
    let backlog = backlog.unwrap_or(u32::MAX);
    let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
    socket.listen(backlog).map_err(at(Step::Listen))
}

/// Asks the kernel whether an address can be bound with the options of an entry, on port 0, where
/// it conflicts with no other socket.
pub(crate) fn probe(entry: &Entry, protocol: Protocol, addr: SocketAddr) -> Result<(), StepError> {
    let mut addr = addr;
    addr.set_port(0);
    let spec = SocketSpec::plain(protocol, addr, entry.freebind, entry.device.as_deref());
    spec.bind().map(drop)
}

/// Returns which group of hosts an address is that Linux would bind for TCP, and that no client can
/// connect to.
pub(super) fn group_of(protocol: Protocol, ip: IpAddr, check: GroupCheck) -> Option<GroupAddr> {
    if protocol == Protocol::Udp {
        return None;
    }
    let is_broadcast = match check {
        GroupCheck::Host => false,
        GroupCheck::Group(group) => return Some(group),
        GroupCheck::MayBeBroadcast => is_broadcast(ip) == Some(true),
        GroupCheck::MayBeOldBroadcast => {
            lowest_is_broadcast() != Some(false) && is_broadcast(ip) == Some(true)
        }
    };
    is_broadcast.then_some(GroupAddr::Broadcast)
}

/// Finds a port that is free on every address of the host or, if there is none, on `first`.
pub(super) fn free_port(protocol: Protocol, first: IpAddr) -> Result<u16, StepError> {
    let everywhere = [Ipv6Addr::UNSPECIFIED.into(), Ipv4Addr::UNSPECIFIED.into()];
    let mut found = everywhere.map(|ip| SocketAddr::new(ip, 0)).into_iter();
    if let Some(port) = found.find_map(|addr| port_given(protocol, addr).ok()) {
        return Ok(port);
    }
    port_given(protocol, SocketAddr::new(first, 0))
}

/// Returns a free port of `addr`, which the kernel chooses; `[::]` is the dual-stack wildcard.
fn port_given(protocol: Protocol, addr: SocketAddr) -> Result<u16, StepError> {
    let socket = Socket::new(Domain::for_address(addr), type_of(protocol), None)
        .map_err(at(Step::Socket))?;
    if addr.is_ipv6() {
        let dual_stack = socket.set_only_v6(false);
        dual_stack.map_err(at(Step::Option("only_v6")))?;
    }
    // Without SO_REUSEADDR, with which the kernel looks at half of the ports first.
    socket.bind(&SockAddr::from(addr)).map_err(at(Step::Bind))?;
    Ok(local_addr(&socket).map_err(at(Step::GetSockName))?.port())
}

/// Returns what a host lacks, if a step failed because of that.
pub(super) fn absent(step: Step, error: &io::Error) -> Option<Absent> {
    let errno = crate::diagnose::Errno::of(error);
    match step {
        Step::Bind if errno == crate::diagnose::Errno::NotAvailable => Some(Absent::Address),
        // The error of bind(2) for an address in a zone that is not an interface.
        Step::Bind if errno == crate::diagnose::Errno::NoDevice => Some(Absent::Address),
        Step::Socket if errno.is_about_family() => Some(Absent::Family),
        _ => None,
    }
}

/// The part that a host lacks for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    Address,
    Family,
}

impl IfAbsent {
    /// Returns `true` if a socket is left out because of what the host lacks.
    pub(super) fn skips(self, absent: Option<Absent>) -> bool {
        self == Self::Skip && absent.is_some()
    }
}

/// Returns the interface that a bound socket accepts connections through: that of the option
/// `device`, or of the cgroup. The zone of an address is not a device.
pub(super) fn bound_device(
    device: impl FnOnce() -> io::Result<Option<String>>,
    addr: SocketAddr,
    option: Option<&str>,
) -> Option<String> {
    if option.is_none() && is_scoped(addr) {
        return None;
    }
    // The interface may have been deleted (ENODEV), and the socket is still bound to it.
    device().unwrap_or_else(|_| option.map(str::to_owned))
}

/// The identity that fstat(2) reports for a socket.
pub(super) struct Identity {
    pub(super) inode: u64,
    /// The user who created it.
    pub(super) owner: u32,
}

impl Identity {
    /// Reads it; `None` if it cannot be read.
    #[cfg(unix)]
    pub(super) fn of(socket: &Socket) -> Option<Self> {
        use std::os::unix::fs::MetadataExt as _;

        let copy = std::os::fd::OwnedFd::from(socket.try_clone().ok()?);
        let metadata = std::fs::File::from(copy).metadata().ok()?;
        Some(Self {
            inode: metadata.ino(),
            owner: metadata.uid(),
        })
    }

    #[cfg(not(unix))]
    pub(super) fn of(_: &Socket) -> Option<Self> {
        None
    }
}

/// Adds the step to an error.
pub(super) fn at(step: Step) -> impl Fn(io::Error) -> StepError {
    move |error| (step, error)
}

/// Returns the address of a socket, getsockname(2).
pub(super) fn local_addr(socket: &Socket) -> io::Result<SocketAddr> {
    let addr = socket.local_addr()?.as_socket();
    addr.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
pub(super) fn has_reuse_port(socket: &Socket) -> bool {
    socket.reuse_port().unwrap_or(false)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
pub(super) fn has_reuse_port(_: &Socket) -> bool {
    false
}

#[cfg(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
))]
pub(super) fn set_reuse_port(socket: &Socket, reuse: bool) -> io::Result<()> {
    socket.set_reuse_port(reuse)
}

#[cfg(not(all(
    unix,
    not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))
)))]
pub(super) fn set_reuse_port(_: &Socket, _: bool) -> io::Result<()> {
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
pub(super) fn set_device(socket: &Socket, name: &str) -> io::Result<()> {
    socket.bind_device(Some(name.as_bytes()))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn set_device(_: &Socket, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn type_of(protocol: Protocol) -> Type {
    match protocol {
        Protocol::Tcp => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    }
}
