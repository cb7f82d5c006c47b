//! Questions to the kernel that a socket answers, without sending a packet.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::OnceLock;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys::{Errno, System};

/// Returns `true` if `ip` is a broadcast address of one of the host's subnets; `None` where the
/// kernel does not show it.
///
/// A UDP connect to a broadcast address is refused with `EACCES` unless the socket may broadcast
/// (connect(2)); nothing is sent. A route that prohibits the address gives the same error, and
/// gives it again when the socket may.
pub(crate) fn is_broadcast(ip: IpAddr) -> Option<bool> {
    // On other systems connect(2) is not known to refuse it.
    if System::HERE != System::Linux {
        return None;
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    // The discard port, in case port 0 means something.
    let to = SockAddr::from(SocketAddr::new(ip, 9));
    let is_denied = || match socket.connect(&to) {
        Ok(()) => Some(false),
        Err(error) => (Errno::of(&error) == Errno::AccessDenied).then_some(true),
    };
    if !is_denied()? {
        return Some(false);
    }
    socket.set_broadcast(true).ok()?;
    // If it is denied again, a route prohibits the address, and whether it is a broadcast is
    // unknown.
    (!is_denied()?).then_some(true)
}

/// Returns `true` if the lowest address of an IPv4 subnet is a broadcast address to the kernel, as
/// it was before Linux 5.14 (commit 58fee5fc8365); `None` where the kernel does not show it.
///
/// 127.0.0.0 is the lowest address of a subnet that every host has.
pub(crate) fn lowest_is_broadcast() -> Option<bool> {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    if let Some(answer) = ANSWER.get() {
        return Some(*answer);
    }
    let answer = is_broadcast(Ipv4Addr::new(127, 0, 0, 0).into())?;
    Some(*ANSWER.get_or_init(|| answer))
}

/// Returns the interface that a new socket of this process is bound to: a BPF program of its cgroup
/// may bind each one, as `ip vrf exec` sets up (ip-vrf(8)).
pub(crate) fn device_of_new_sockets() -> io::Result<Option<String>> {
    if System::HERE != System::Linux {
        return Ok(None);
    }
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None);
    device_of(&socket.or_else(|_| Socket::new(Domain::IPV6, Type::DGRAM, None))?)
}

/// Returns the interface that a socket is bound to, by its name in the kernel.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn device_of(socket: &Socket) -> io::Result<Option<String>> {
    let name = socket.device()?;
    Ok(name.map(|name| String::from_utf8_lossy(&name).into_owned()))
}

/// Returns the interface that a socket is bound to, which these systems do not have.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[allow(clippy::unnecessary_wraps)] // on Linux it can fail
pub(crate) fn device_of(_: &Socket) -> io::Result<Option<String>> {
    Ok(None)
}

/// Returns the IPv4 and the IPv6 address from which the host would reach the internet, as far as
/// routes lead there.
///
/// # Errors
///
/// A route cannot be looked up.
///
/// A UDP connect looks up the route and sends nothing. The destination is a.root-servers.net, which
/// is on the internet to every other host.
pub(crate) fn default_sources() -> io::Result<Vec<IpAddr>> {
    let routes: [(SocketAddr, SocketAddr); 2] = [
        (
            (Ipv4Addr::UNSPECIFIED, 0).into(),
            (Ipv4Addr::new(198, 41, 0, 4), 9).into(),
        ),
        (
            (Ipv6Addr::UNSPECIFIED, 0).into(),
            (Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30), 9).into(),
        ),
    ];
    let mut sources = Vec::new();
    for (from, to) in routes {
        match UdpSocket::bind(from) {
            Ok(socket) => sources.extend(source_for(&socket, to)?),
            // This host has no such family, or denies it to this process.
            Err(error) if has_no_family(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sources)
}

fn has_no_family(error: &io::Error) -> bool {
    let errno = Errno::of(error);
    errno.is_about_family() || errno == Errno::NotAvailable
}

/// Returns the address from which a socket would reach `to`; `None` if no route leads there.
///
/// # Errors
///
/// Anything else leaves the route unknown, such as a filter of connect(2).
fn source_for(socket: &UdpSocket, to: SocketAddr) -> io::Result<Option<IpAddr>> {
    match socket.connect(to) {
        Ok(()) => Ok(Some(socket.local_addr()?.ip())),
        // Routes of the types blackhole (`EINVAL`) and prohibit (`EACCES`) lead nowhere either
        // (ip-route(8)).
        Err(error)
            if matches!(
                Errno::of(&error),
                Errno::NotAvailable | Errno::Invalid | Errno::AccessDenied
            ) || matches!(
                error.kind(),
                io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
