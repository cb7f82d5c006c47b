//! Sockets that a service manager has opened: [`Activation`] (feature `socket-activation`).

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
#[cfg(unix)]
use std::{
    fs,
    os::fd::OwnedFd,
    sync::{Mutex, PoisonError},
};

use listenfd::ListenFd;
use socket2::Socket;

use super::Protocol;

/// The sockets that a service manager has opened and handed over, in place of which nothing is
/// bound.
///
/// They come as systemd hands them over (`sd_listen_fds(3)`): it opens what the lines
/// `ListenStream=` and `ListenDatagram=` of a `.socket` unit say, and keeps them open while the
/// server restarts, so that no client is turned away. A setting still says where to listen: a
/// socket is taken where it fits, and whatever was not handed over is bound.
///
/// A socket fits where it has the protocol, the address and the zone of the setting, listens, and
/// is bound to the interface of [`device`](crate::BindOptions::device), or without that option to
/// none but its zone. A port of the setting that may be several, as port 0 or a range, is that of
/// the socket. `[::]` has to be dual-stack or IPv6-only as the setting is: so `ListenStream=80` is
/// `*:80`, `[::]:80`, or both of `0.0.0.0:80` and `[::]:80`, which one socket serves then
/// ([`Listeners::duplicates`](crate::Listeners::duplicates)). It would open `0.0.0.0:80` alone to
/// IPv6 clients, so it has to be [allowed](Self::allow_dual_stack). UDP-Lite, ICMP and connected
/// UDP sockets fit no setting. If a socket is in the way because it does not fit, the cause is
/// [`HandedOver`](crate::Cause::HandedOver).
///
/// The backlog is the manager's, and so is `SO_REUSEADDR`. The socket blocks unless
/// [`nonblocking`](crate::BindOptions::nonblocking) is set, though systemd's do not. Taking a
/// socket twice yields two descriptors for one open file description (open(2)), so that what is set
/// on one holds for the other: whether it blocks is settled when it is first used as a std socket,
/// and only a setting with that very port takes it again.
///
/// While an `Activation` lives, or [`BindOptions`](crate::BindOptions) that have it, so do its
/// sockets: the port stays open when the listener is dropped, as it does at the manager, and may be
/// bound by them again.
///
/// One of several sockets on one address (`ReusePort=`, systemd.socket(5)) is taken, and the kernel
/// gives the others their share of the clients: hand over one.
///
/// A socket may belong to another network namespace than the process, for example with
/// `PrivateNetwork=yes` of systemd: clients of that namespace connect, whatever the interfaces here
/// are. [`Listener::warnings`](crate::Listener::warnings) reports it, and
/// [`Listener::exposure`](crate::Listener::exposure) assumes the most.
///
/// Unix sockets and others that fit no setting are kept for [`take_rest`](Self::take_rest).
/// [`check`](crate::BindOptions::check) finds the sockets that it would take, and takes none; nor
/// does a list that fails. [`Plan::apply`](crate::Plan::apply) takes them as
/// [`bind`](crate::BindOptions::bind) does, so a reload keeps what was handed over.
/// [`listeners`](Self::listeners) takes all of them, whatever the settings say.
///
/// # Platform notes
///
/// - Unix: the variables `LISTEN_FDS` and `LISTEN_PID`, through listenfd, which removes them from
///   the environment.
/// - Windows: as systemfd hands them over.
/// - The protocol is read on Linux, Android and FreeBSD; elsewhere only the type of the socket is.
///
/// # Examples
///
/// ```
/// use bindaddr::{Activation, BindOptions};
///
/// // First thing in `main`, before there are threads.
/// let activation = Activation::from_env()?;
/// let options = BindOptions::new().activation(activation.clone());
/// let listeners = options.bind("127.0.0.1:0")?;
/// for addr in activation.unused() {
///     eprintln!("warning: no setting uses the inherited socket {addr}");
/// }
/// # assert_eq!((activation.unused().count(), listeners.as_slice().len()), (0, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Activation {
    handed: Option<Arc<HandedOver>>,
    allows_dual_stack: bool,
}

/// The name of a descriptor that has none (`sd_listen_fds_with_names(3)`).
const UNNAMED: &str = "unknown";

/// The name of the descriptor through which a process reports to the previous one that it is ready.
#[cfg(unix)]
pub(crate) const READY: &str = "bindaddr-ready";

#[derive(Default)]
struct HandedOver {
    sockets: Vec<Arc<InheritedSocket>>,
    /// The descriptors that are neither TCP nor UDP sockets.
    #[cfg(unix)]
    others: Mutex<Vec<Other>>,
    /// The pipe that reports to the previous process that this one is ready.
    #[cfg(unix)]
    ready: Mutex<Option<OwnedFd>>,
}

/// A descriptor that fits no setting.
#[cfg(unix)]
struct Other {
    /// Its place among all descriptors.
    place: usize,
    name: String,
    /// Or why it cannot be had.
    fd: io::Result<OwnedFd>,
}

impl HandedOver {
    fn add(&mut self, place: usize, name: &str, socket: Socket) {
        let addr = socket.local_addr().map(|addr| addr.as_socket());
        match (protocol_of(&socket), addr) {
            (Some(protocol), Ok(Some(addr))) => self.sockets.push(Arc::new(InheritedSocket {
                place,
                name: name.to_owned(),
                socket,
                protocol,
                addr,
                used: AtomicBool::new(false),
                settled: AtomicBool::new(false),
            })),
            #[cfg(unix)]
            _ => self.add_other(place, name, Ok(socket.into())),
            #[cfg(not(unix))]
            _ => {}
        }
    }

    #[cfg(unix)]
    fn add_other(&mut self, place: usize, name: &str, fd: io::Result<OwnedFd>) {
        // A thread that panicked while it had the lock has left both whole.
        if name == READY {
            let ready = self.ready.get_mut();
            *ready.unwrap_or_else(PoisonError::into_inner) = fd.ok();
        } else {
            let others = self.others.get_mut();
            others.unwrap_or_else(PoisonError::into_inner).push(Other {
                place,
                name: name.to_owned(),
                fd,
            });
        }
    }
}

#[derive(Debug)]
pub(crate) struct InheritedSocket {
    /// Its place among all descriptors.
    #[cfg_attr(not(unix), allow(dead_code))]
    place: usize,
    #[cfg_attr(not(unix), allow(dead_code))]
    name: String,
    socket: Socket,
    protocol: Protocol,
    addr: SocketAddr,
    used: AtomicBool,
    /// Whether a server has chosen if it blocks.
    settled: AtomicBool,
}

impl Activation {
    /// Takes the sockets that the environment names: none, if no service manager has handed over
    /// any, or they were taken before.
    ///
    /// It changes the environment, so call it before there are threads
    /// ([`std::env::remove_var`](std::env::remove_var#safety) says why).
    ///
    /// # Errors
    ///
    /// An environment that no service manager leaves, so that a descriptor of the program itself
    /// might be taken: `LISTEN_FDS` is not a number, a descriptor is not open or is marked
    /// close-on-exec, or `LISTEN_PID` is missing (`sd_listen_fds(3)` requires it,
    /// `systemd-socket-activate` and systemd set it) and `/proc/self/fdinfo` does not show that
    /// every descriptor was inherited. Nothing is taken then, and the environment stays as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// let activation = bindaddr::Activation::from_env()?;
    /// # let _ = activation;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn from_env() -> io::Result<Self> {
        #[cfg(unix)]
        let first;
        #[cfg(unix)]
        {
            let variable = |name: &str| {
                std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
            };
            match first_descriptor(variable, std::process::id(), &is_inherited)? {
                None => return Ok(Self::default()),
                Some(found) => first = found,
            }
        }
        // listenfd leaves it, as another library may read it.
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut handed = HandedOver::default();
        for n in 0..fds.len() {
            // An empty one has its place, too.
            let name = names.next().filter(|name| !name.is_empty());
            let name = name.unwrap_or(UNNAMED);
            // listenfd checks the type of the socket only.
            let stream = fds.take_tcp_listener(n).ok().flatten().map(Socket::from);
            let datagram = || fds.take_udp_socket(n).ok().flatten().map(Socket::from);
            if let Some(socket) = stream.or_else(datagram) {
                handed.add(n, name, socket);
                continue;
            }
            #[cfg(unix)]
            {
                let other = take_other(&mut fds, n).map(Ok);
                let again =
                    || open_again(first.saturating_add(u32::try_from(n).unwrap_or(u32::MAX)));
                handed.add_other(n, name, other.unwrap_or_else(again));
            }
        }
        Ok(Self::of(handed))
    }

    /// Takes sockets that were handed over in another way than by the environment, each with a
    /// name.
    ///
    /// # Platform notes
    ///
    /// Unix.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Activation, BindOptions};
    ///
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let addr = socket.local_addr()?;
    /// let activation = Activation::from_sockets([("web".to_owned(), socket.into())]);
    /// let listeners = BindOptions::new().activation(activation).bind(addr)?;
    /// assert_eq!(listeners.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(unix)]
    #[must_use]
    pub fn from_sockets(sockets: impl IntoIterator<Item = (String, OwnedFd)>) -> Self {
        let mut handed = HandedOver::default();
        for (place, (name, socket)) in sockets.into_iter().enumerate() {
            handed.add(place, &name, socket.into());
        }
        Self::of(handed)
    }

    fn of(handed: HandedOver) -> Self {
        Self {
            handed: Some(Arc::new(handed)),
            allows_dual_stack: false,
        }
    }

    /// Sets whether the setting `0.0.0.0` may be served by a socket that was handed over as `[::]`,
    /// as `ListenStream=80` makes it. By default it may not, because that socket accepts IPv6
    /// clients as well; the port is in use then, and the error says how it was handed over.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Activation, BindOptions};
    ///
    /// let activation = Activation::from_env()?.allow_dual_stack(true);
    /// let listeners = BindOptions::new().activation(activation).bind("0.0.0.0:0")?;
    /// # let _ = listeners;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn allow_dual_stack(mut self, allow: bool) -> Self {
        self.allows_dual_stack = allow;
        self
    }

    pub(crate) fn allows_dual_stack(&self) -> bool {
        self.allows_dual_stack
    }

    /// Returns `true` if no socket was handed over.
    pub(crate) fn is_empty(&self) -> bool {
        self.sockets().is_empty()
    }

    pub(crate) fn sockets(&self) -> &[Arc<InheritedSocket>] {
        self.handed.as_ref().map_or(&[], |inner| &inner.sockets)
    }

    /// Takes what no setting has used so far, in the order in which it was handed over: Unix
    /// sockets, other protocols, FIFOs and files, and the TCP and UDP sockets of
    /// [`unused`](Self::unused).
    ///
    /// Call it after binding. A FIFO or a file (`ListenFIFO=`, `ListenSpecial=`) is opened again,
    /// non-blocking and at its beginning, where `/proc/self/fd` and its permissions allow it; the
    /// descriptor that was handed over stays open.
    ///
    /// # Errors
    ///
    /// The system's, where a descriptor cannot be duplicated, and once for each FIFO or file that
    /// cannot be opened again.
    ///
    /// # Platform notes
    ///
    /// Unix.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixListener;
    ///
    /// let activation = bindaddr::Activation::from_env()?;
    /// for socket in activation.take_rest()? {
    ///     let listener = UnixListener::from(socket);
    ///     // An error for a socket of another family.
    ///     if listener.local_addr().is_ok() {
    ///         println!("{listener:?}");
    ///     }
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn take_rest(&self) -> io::Result<Vec<OwnedFd>> {
        self.take_unused(|_| true)
    }

    /// Takes what has a name (`FileDescriptorName=`, systemd.socket(5)) and no setting has used so
    /// far, as [`take_rest`](Self::take_rest) does. What was handed over without a name is called
    /// `unknown`.
    ///
    /// # Errors
    ///
    /// The system's, where a descriptor cannot be duplicated, and once for each FIFO or file that
    /// cannot be opened again.
    ///
    /// # Platform notes
    ///
    /// Unix.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::os::unix::net::UnixListener;
    ///
    /// let activation = bindaddr::Activation::from_env()?;
    /// for socket in activation.take("control")? {
    ///     println!("{:?}", UnixListener::from(socket));
    /// }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[cfg(unix)]
    pub fn take(&self, name: &str) -> io::Result<Vec<OwnedFd>> {
        self.take_unused(|own| own == name)
    }

    #[cfg(unix)]
    fn take_unused(&self, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<OwnedFd>> {
        let Some(inner) = &self.handed else {
            return Ok(Vec::new());
        };
        // A thread that panicked while it had the lock has left the list whole.
        let mut others = inner.others.lock().unwrap_or_else(PoisonError::into_inner);
        // A descriptor that cannot be opened again is reported once.
        let is_lost = |other: &Other| is_wanted(&other.name) && other.fd.is_err();
        if let Some(at) = others.iter().position(is_lost) {
            others.remove(at).fd?;
        }
        let unused = inner.sockets.iter();
        let unused: Vec<&Arc<InheritedSocket>> = unused
            .filter(|handed| !handed.is_used() && is_wanted(&handed.name))
            .collect();
        let copies = unused.iter().map(|handed| handed.socket.try_clone());
        // None counts as taken before all of them could be.
        let copies: Vec<Socket> = copies.collect::<io::Result<_>>()?;
        let places = unused.iter().map(|handed| handed.place);
        let mut taken: Vec<(usize, OwnedFd)> =
            places.zip(copies.into_iter().map(OwnedFd::from)).collect();
        for handed in unused {
            handed.set_used();
        }
        let (wanted, left) = std::mem::take(&mut *others)
            .into_iter()
            .partition::<Vec<_>, _>(|other| is_wanted(&other.name));
        *others = left;
        let wanted = wanted.into_iter();
        taken.extend(wanted.filter_map(|other| Some((other.place, other.fd.ok()?))));
        crate::order::sort_by(&mut taken, |(a, _), (b, _)| a.cmp(b));
        Ok(taken.into_iter().map(|(_, fd)| fd).collect())
    }

    /// Reports to the previous process, if one
    /// [waits](crate::restart::Successor::wait_until_ready), that this one accepts connections.
    ///
    /// # Errors
    ///
    /// The system's, if the other process has ended.
    ///
    /// # Platform notes
    ///
    /// Unix.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::{Activation, BindOptions};
    ///
    /// let activation = Activation::from_env()?;
    /// let listeners = BindOptions::new().activation(activation.clone()).bind("127.0.0.1:0")?;
    /// activation.notify_ready()?;
    /// # let _ = listeners;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(all(unix, feature = "restart"))]
    pub fn notify_ready(&self) -> io::Result<()> {
        use std::io::Write as _;

        let Some(inner) = &self.handed else {
            return Ok(());
        };
        let ready = inner
            .ready
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ready = ready.map(std::os::unix::net::UnixStream::from);
        ready.map_or(Ok(()), |mut ready| ready.write_all(b"1"))
    }

    /// Iterates over the addresses of the sockets that no setting has used so far.
    pub fn unused(&self) -> impl Iterator<Item = SocketAddr> {
        let sockets = self.sockets().iter();
        let unused = sockets.filter(|handed| !handed.is_used());
        unused.map(|handed| handed.addr)
    }
}

impl fmt::Debug for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addrs = self.sockets().iter().map(|handed| handed.addr);
        f.debug_list().entries(addrs).finish()
    }
}

impl InheritedSocket {
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Returns the address it is bound to.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns `true` if it was taken for a setting, or by its name.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn set_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    /// Returns `true` if `O_NONBLOCK` is as a setting wants it, and not as it was handed over.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Relaxed)
    }

    /// Notes that a server has chosen, and returns `true` the first time.
    pub(crate) fn set_settled(&self) -> bool {
        !self.settled.swap(true, Ordering::Relaxed)
    }
}

/// Returns the protocol whose clients an internet socket serves; `None` for another protocol, or a
/// UDP socket that hears one peer only.
fn protocol_of(socket: &Socket) -> Option<Protocol> {
    let is_stream = socket.r#type().ok()? == socket2::Type::STREAM;
    let number = number_of(socket).ok()?;
    match (is_stream, number) {
        // MPTCP, which speaks TCP where the peer does not have it (linux/in.h).
        (true, None | Some(6 | 262)) => Some(Protocol::Tcp),
        (false, None | Some(17)) => socket.peer_addr().is_err().then_some(Protocol::Udp),
        _ => None,
    }
}

/// Returns the number of the protocol (`SO_PROTOCOL`, socket(7)); `None` on systems without it.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn number_of(socket: &Socket) -> io::Result<Option<i32>> {
    Ok(socket.protocol()?.map(i32::from))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
#[allow(clippy::unnecessary_wraps)] // where the option exists it can fail
fn number_of(_: &Socket) -> io::Result<Option<i32>> {
    Ok(None)
}

/// Takes a socket of another family than the internet's.
#[cfg(unix)]
fn take_other(fds: &mut ListenFd, n: usize) -> Option<OwnedFd> {
    if let Ok(Some(listener)) = fds.take_unix_listener(n) {
        return Some(listener.into());
    }
    if let Ok(Some(datagram)) = fds.take_unix_datagram(n) {
        return Some(datagram.into());
    }
    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return None;
    }
    // AF_UNIX, AF_NETLINK, AF_PACKET and AF_VSOCK, and the internet's beside TCP and UDP, each with
    // SOCK_STREAM, SOCK_DGRAM, SOCK_RAW and SOCK_SEQPACKET (linux/socket.h, linux/net.h).
    let families = [1, 16, 17, 40, 2];
    let mut kinds = families
        .into_iter()
        .flat_map(|family| [1, 2, 3, 5].map(|kind| (family, kind)));
    kinds.find_map(|(family, kind)| fds.take_custom(n, family, kind, "socket").ok().flatten())
}

/// Opens a FIFO or a file again, because only unsafe code takes a descriptor by its number.
#[cfg(unix)]
fn open_again(fd: u32) -> io::Result<OwnedFd> {
    use std::os::unix::fs::OpenOptionsExt as _;

    // O_NONBLOCK and O_APPEND of asm/fcntl.h. Without the first, open(2) would wait for a writer of
    // a FIFO.
    let (nonblocking, append) = match std::env::consts::ARCH {
        "mips" | "mips64" => (0x80, 0x8),
        "sparc" | "sparc64" => (0x4000, 0x8),
        _ => (0o4000, 0o2000),
    };
    let flags = flags_of(fd).ok_or(io::ErrorKind::Unsupported)?;
    // O_ACCMODE: O_RDONLY, O_WRONLY and O_RDWR.
    let access = flags & 3;
    let file = fs::File::options()
        .read(access != 1)
        .write(access != 0)
        .append(access != 0 && flags & append != 0)
        .custom_flags(nonblocking)
        .open(format!("/proc/self/fd/{fd}"));
    file.map(OwnedFd::from).map_err(|error| {
        let text =
            format!("descriptor {fd}, which was handed over, cannot be opened again: {error}");
        io::Error::new(error.kind(), text)
    })
}

/// Returns the flags of a descriptor; `None` where procfs does not show them.
#[cfg(unix)]
fn flags_of(fd: u32) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
    // Octal, proc_pid_fdinfo(5).
    u64::from_str_radix(flags.trim(), 8).ok()
}

/// More descriptors than this are not looked through without procfs.
#[cfg(unix)]
const MOST: u32 = 1 << 10;

/// Returns the first descriptor that the environment names for this process, if all of them were
/// inherited; no descriptor is touched before.
#[cfg(unix)]
fn first_descriptor(
    variable: impl Fn(&str) -> Option<String>,
    pid: u32,
    is_inherited: &dyn Fn(u32) -> Inherited,
) -> io::Result<Option<u32>> {
    let wrong = |what: String| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    let Some(count) = variable("LISTEN_FDS") else {
        return Ok(None);
    };
    let has_pid = match variable("LISTEN_PID").as_deref() {
        None | Some("") => false,
        Some(text) => match text.parse::<u32>() {
            Ok(of) if of == pid => true,
            // It is a parent's.
            Ok(_) => return Ok(None),
            Err(_) => return wrong(format!("LISTEN_PID is not a process id: {text:?}")),
        },
    };
    let Ok(count) = count.parse::<u32>() else {
        return wrong(format!(
            "LISTEN_FDS is not a number of descriptors: {count:?}"
        ));
    };
    let first = variable("LISTEN_FDS_FIRST_FD").unwrap_or_else(|| "3".to_owned());
    // 0 to 2 are the standard streams.
    let Some(first) = first.parse::<u32>().ok().filter(|first| *first > 2) else {
        return wrong(format!(
            "LISTEN_FDS_FIRST_FD is not a descriptor from 3 on: {first:?}"
        ));
    };
    // Descriptors are of the type int.
    let end = first
        .checked_add(count)
        .filter(|end| i32::try_from(*end).is_ok());
    let Some(end) = end else {
        return wrong(format!(
            "LISTEN_FDS names more descriptors than there can be: {count}"
        ));
    };
    for fd in first..end {
        match is_inherited(fd) {
            Inherited::Yes => {}
            Inherited::No => {
                return wrong(format!(
                    "descriptor {fd} of LISTEN_FDS is marked close-on-exec, so it was not inherited"
                ));
            }
            Inherited::NotOpen => {
                return wrong(format!("descriptor {fd} of LISTEN_FDS is not open"));
            }
            Inherited::Unknown if !has_pid => {
                return wrong(
                    "LISTEN_PID is missing, and /proc does not show that the descriptors were inherited"
                        .to_owned(),
                );
            }
            Inherited::Unknown if count > MOST => {
                return wrong(format!("LISTEN_FDS is larger than {MOST}: {count}"));
            }
            Inherited::Unknown => return Ok(Some(first)),
        }
    }
    Ok(Some(first))
}

/// Whether a descriptor came with exec(2): one that does has no close-on-exec flag, which std sets
/// on whatever a program opens.
#[cfg(unix)]
#[derive(Clone, Copy)]
enum Inherited {
    Yes,
    No,
    NotOpen,
    /// procfs is not mounted.
    Unknown,
}

#[cfg(unix)]
fn is_inherited(fd: u32) -> Inherited {
    // O_CLOEXEC differs on SPARC (asm/fcntl.h).
    let close_on_exec = match std::env::consts::ARCH {
        "sparc" | "sparc64" => 0x40_0000,
        _ => 0o200_0000,
    };
    let is_there = |path: &str| fs::exists(path);
    match flags_of(fd) {
        Some(flags) if flags & close_on_exec == 0 => Inherited::Yes,
        Some(_) => Inherited::No,
        None => match is_there(&format!("/proc/self/fdinfo/{fd}")) {
            Ok(false) if is_there("/proc/self/fdinfo").unwrap_or(false) => Inherited::NotOpen,
            _ => Inherited::Unknown,
        },
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn activation_validates_environment() {
        let decide = |pid: Option<&str>, count: &str, inherited: &dyn Fn(u32) -> Inherited| {
            let variable = |name: &str| match name {
                "LISTEN_PID" => pid.map(str::to_owned),
                "LISTEN_FDS" => Some(count.to_owned()),
                _ => None,
            };
            first_descriptor(variable, 42, inherited)
                .map(|first| first.is_some())
                .map_err(|err| err.to_string())
        };
        let all = |_| Inherited::Yes;
        let no_proc = |_| Inherited::Unknown;
        let one = |fd| {
            if fd == 3 {
                Inherited::Yes
            } else {
                Inherited::NotOpen
            }
        };
        let own = |fd| {
            if fd == 3 {
                Inherited::Yes
            } else {
                Inherited::No
            }
        };
        assert_eq!(decide(Some("42"), "2", &all), Ok(true));
        assert_eq!(decide(Some("42"), "2", &no_proc), Ok(true));
        assert_eq!(decide(Some("42"), "1024", &no_proc), Ok(true));
        // As `systemfd --no-pid` leaves it.
        assert_eq!(decide(None, "2", &all), Ok(true));
        assert_eq!(decide(Some(""), "2", &all), Ok(true));
        assert_eq!(decide(Some("41"), "2", &all), Ok(false));
        for (pid, count, inherited, what) in [
            (
                None,
                "2",
                &no_proc as &dyn Fn(u32) -> Inherited,
                "LISTEN_PID is missing, and /proc does not show that the descriptors were inherited",
            ),
            (
                None,
                "2",
                &own,
                "descriptor 4 of LISTEN_FDS is marked close-on-exec, so it was not inherited",
            ),
            (
                Some("42"),
                "2",
                &own,
                "descriptor 4 of LISTEN_FDS is marked close-on-exec, so it was not inherited",
            ),
            (
                Some("42"),
                "2000000000",
                &one,
                "descriptor 4 of LISTEN_FDS is not open",
            ),
            (
                Some("42"),
                "2000000000",
                &no_proc,
                "LISTEN_FDS is larger than 1024: 2000000000",
            ),
            (
                Some("42"),
                "1025",
                &no_proc,
                "LISTEN_FDS is larger than 1024: 1025",
            ),
            (
                Some("42"),
                "-1",
                &all,
                "LISTEN_FDS is not a number of descriptors: \"-1\"",
            ),
            (
                Some("x"),
                "1",
                &all,
                "LISTEN_PID is not a process id: \"x\"",
            ),
        ] {
            assert_eq!(decide(pid, count, inherited), Err(what.to_owned()));
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn descriptor_with_close_on_exec_was_not_inherited() {
        use std::os::fd::AsRawFd as _;

        let own = fs::File::open("/dev/null").expect("it is there");
        let own = own.as_raw_fd().unsigned_abs();
        assert!(matches!(is_inherited(own), Inherited::No));
        // Standard error.
        assert!(matches!(is_inherited(2), Inherited::Yes));
        assert!(matches!(is_inherited(u32::MAX), Inherited::NotOpen));
    }
}
