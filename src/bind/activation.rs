//! Takes the sockets that a service manager has opened, where they fit (feature `socket-activation`).

use socket2::Socket;
use std::net::SocketAddr;

#[cfg(unix)]
use super::socket::Identity;
use super::socket::{BoundSocket, SocketSpec, StepError, at, set_device};
use crate::diagnosis::Step;
use crate::sys::{Activation, InheritedSocket, Namespace, Protocol, device_of};
use crate::target::zone;

/// Finds the socket that was handed over for one that is to be opened.
pub(super) fn find<'a>(
    activation: &'a Activation,
    spec: &SocketSpec<'_>,
) -> Option<&'a InheritedSocket> {
    activation
        .sockets()
        .iter()
        .find(|inherited| fits(inherited, spec))
}

fn fits(inherited: &InheritedSocket, spec: &SocketSpec<'_>) -> bool {
    let place = |addr: SocketAddr| (addr.ip(), addr.port());
    let (own_zone, wanted_zone) = (zone(inherited.addr()), zone(spec.addr));
    // An address without its zone has that of the device.
    let is_in_zone = own_zone == wanted_zone || wanted_zone == 0 && spec.device.is_some();
    // A socket in a zone is bound to that interface, too.
    let is_bound_by_zone = own_zone != 0 && spec.device.is_none();
    inherited.protocol() == spec.protocol
        && place(inherited.addr()) == place(spec.addr)
        && (spec.addr.is_ipv4() || inherited.socket().only_v6().ok() == Some(spec.only_v6))
        && is_in_zone
        && (is_bound_by_zone || is_on_device(inherited.socket(), spec.device))
        && (spec.protocol == Protocol::Udp || is_listening(inherited.socket()))
}

/// Duplicates the socket, so that one is left if the rest of a list fails and is tried again.
pub(super) fn take(
    inherited: &InheritedSocket,
    nonblocking: bool,
) -> Result<BoundSocket, StepError> {
    let socket = inherited.socket().try_clone().map_err(at(Step::Socket))?;
    let is_first = inherited.set_used();
    if nonblocking || is_first {
        let set = socket.set_nonblocking(nonblocking);
        set.map_err(at(Step::Option("nonblocking")))?;
    }
    Ok(BoundSocket {
        namespace: namespace_of(&socket, inherited.protocol(), inherited.addr().port()),
        socket,
        local_addr: inherited.addr(),
    })
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

/// Returns `true` if the socket is bound to that interface, or without one to none.
fn is_on_device(socket: &Socket, device: Option<&str>) -> bool {
    // The kernel has the interface by its own name, and it may have been set by another.
    let primary = |name: &str| {
        let probe = Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
        set_device(&probe, name)?;
        device_of(&probe)
    };
    let wanted = device.map(|name| {
        primary(name)
            .ok()
            .flatten()
            .unwrap_or_else(|| name.to_owned())
    });
    device_of(socket).is_ok_and(|own| own == wanted)
}

/// Finds out whether a socket is of this network namespace.
#[cfg(unix)]
fn namespace_of(socket: &Socket, protocol: Protocol, port: u16) -> Namespace {
    match Identity::of(socket) {
        Some(identity) => Namespace::of(protocol, port, identity.inode),
        None => Namespace::Unknown,
    }
}

#[cfg(not(unix))]
fn namespace_of(_: &Socket, _: Protocol, _: u16) -> Namespace {
    Namespace::This
}
