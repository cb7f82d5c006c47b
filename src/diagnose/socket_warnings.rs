//! Decides which warnings apply to a socket by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::sockets::Sockets;
use super::{Namespace, System};
use crate::addr::Family;
use crate::addr::network::is_group_addr;
use crate::diagnosis::{BindableReason, Holder, Warning, WarningKind};
use crate::interfaces::{AddrState, Interface, InterfaceAddr, Interfaces, is_routed};
use crate::map::{Map, Set};
use crate::reach::{Environment, OpenSocket, warnings_of_exposure};
use crate::sys;
use crate::target::{BindTarget, Claim, DeviceIndex, Overlap, Protocol};

/// The facts about an address that can be bound.
#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is read from a place of its own
pub(super) struct AddrFacts {
    pub(super) interfaces: Option<Interfaces>,
    /// Whether a route brings clients to it; `None` where that cannot be read.
    pub(super) is_routed: Option<bool>,
    pub(super) is_nonlocal_bind: bool,
    /// Whether the kernel accepts packets to loopback addresses from other hosts, or may.
    pub(super) may_route_loopback: bool,
    /// Whether the IPv4 routing tables are empty, without which no IPv4 address is local.
    pub(super) has_no_ipv4: bool,
    /// Whether no interface has an IPv6 address, and no route makes one local.
    pub(super) has_no_ipv6: bool,
}

impl AddrFacts {
    pub(super) fn read(addr: SocketAddr, device: Option<&str>, host: Option<&Interfaces>) -> Self {
        let mut new = Self {
            interfaces: host.cloned().or_else(|| Interfaces::system().ok()),
            ..Self::default()
        };
        let host = new.interfaces.as_ref();
        let target = host.map(|host| BindTarget::classify_socket(addr, host));
        // An address of an interface needs no other reason, and has its route.
        if matches!(target, Some(BindTarget::Local(_))) || System::HERE != System::Linux {
            return new;
        }
        let ip = addr.ip().to_canonical();
        if device.is_some() && matches!(target, Some(BindTarget::Loopback(_))) {
            let is_loopback = |name: &str| host.is_some_and(|host| host.is_loopback(name));
            let routed = sys::routed_loopback(is_loopback);
            new.may_route_loopback = !matches!(routed, Ok(None));
        }
        new.has_no_ipv4 = sys::has_ipv4_routes().is_ok_and(|has_routes| !has_routes);
        new.has_no_ipv6 = ip.is_ipv6() && sys::has_local_ipv6().is_ok_and(|has_local| !has_local);
        if let Some(BindTarget::Foreign(foreign)) = target {
            new.is_routed = match foreign.scope_id() {
                Some(_) => Some(false),
                None => is_routed(ip),
            };
            let nonlocal_bind = sys::allows_nonlocal_bind(ip.is_ipv6());
            new.is_nonlocal_bind = nonlocal_bind.is_ok_and(|is_set| is_set);
        }
        new
    }
}

/// Reads the host and returns the warnings about each of some sockets, and about all of them
/// together.
///
/// There is no warning about what cannot be read.
pub(crate) fn warnings_of(sockets: &[OpenSocket], host: &Interfaces) -> Vec<Warning> {
    let of_one = |socket: &OpenSocket| {
        let kinds = warnings_of_socket(socket, Some(host)).into_iter();
        let addr = socket.addr;
        kinds.map(move |kind| Warning::new(addr, kind))
    };
    let mut warnings: Vec<Warning> = sockets.iter().flat_map(of_one).collect();
    // The snapshot does not show a socket of another network namespace.
    let here = sockets
        .iter()
        .filter(|socket| socket.namespace == Namespace::This);
    let here: Vec<&OpenSocket> = here.collect();
    let around = Environment::read(&here, host);
    warnings.extend(warnings_of_exposure(&here, host, &around));
    warnings
}

/// Returns the warnings about other servers on the ports of open sockets: on the other loopback
/// address, which `localhost` also is, and on the same address by `SO_REUSEPORT`. Those with the
/// inodes of `aside` are left out.
pub(crate) fn warnings_about_others(sockets: &[OpenSocket], aside: &Set<u64>) -> Vec<Warning> {
    // Warnings about more addresses than this would not be read.
    const MOST: usize = 64;
    if System::HERE != System::Linux {
        return Vec::new();
    }
    let is_asked_about = |socket: &&OpenSocket| {
        socket.namespace == Namespace::This
            && socket.protocol == Protocol::Tcp
            && socket.device.is_none()
    };
    let sockets: Vec<&OpenSocket> = sockets.iter().filter(is_asked_about).collect();
    let on_port = |port| sockets.iter().filter(move |own| own.addr.port() == port);
    let claim_of = |socket: &OpenSocket| Claim::of_socket(socket.addr, socket.only_v6);
    let other_of = |socket: &OpenSocket| {
        let mut own = on_port(socket.addr.port());
        let other = other_loopback(socket.addr.ip());
        other.filter(|other| !own.any(|own| claim_of(own).overlap(*other).is_some()))
    };
    let mut seen = Set::new();
    let mut read: Map<u16, Option<Sockets>> = Map::new();
    let mut warnings = Vec::new();
    // A server may have several on one address, by SO_REUSEPORT.
    let on_addrs = sockets.iter().filter(|socket| seen.insert(socket.addr));
    for socket in on_addrs.take(MOST) {
        let (addr, port) = (socket.addr, socket.addr.port());
        let listening = read.get_or_insert_with(port, || {
            let claims =
                on_port(port).flat_map(|own| other_of(own).into_iter().chain([claim_of(own)]));
            Sockets::listening(port, &claims.collect::<Vec<_>>(), aside).ok()
        });
        let Some(listening) = listening else {
            continue;
        };
        let is_of_another = |holder: &Holder| !holder.is_this_process();
        let other = other_of(socket).and_then(|other| {
            let mut holders = listening.all_foreseen(other, port);
            holders.find(is_of_another)
        });
        warnings.extend(other.map(|holder| Warning::new(addr, WarningKind::OtherLoopback(holder))));
        let own = claim_of(socket);
        // One socket may be open in another process as well.
        let rows = listening.foreseen_rows(own, port).into_iter();
        let rows = rows.filter(|(_, overlap)| *overlap == Overlap::SameAddress);
        let owns = on_port(port).filter(|own| own.addr == addr);
        if rows.count() <= owns.count() {
            continue;
        }
        // If no other process can have it, a socket without a visible process belongs to this one.
        let shares = |holder: &Holder| {
            let is_same = holder.overlap() == Overlap::SameAddress;
            is_same && is_of_another(holder) && holder.pid().is_some()
        };
        let shared = listening.all_foreseen(own, port).find(shares);
        warnings.extend(shared.map(|holder| Warning::new(addr, WarningKind::SharedPort(holder))));
    }
    warnings
}

/// Returns the claim of the other address that `localhost` is.
fn other_loopback(ip: IpAddr) -> Option<Claim> {
    let other: IpAddr = match ip {
        IpAddr::V4(Ipv4Addr::LOCALHOST) => Ipv6Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::LOCALHOST) => Ipv4Addr::LOCALHOST.into(),
        _ => return None,
    };
    Some(Claim::new(other, true, DeviceIndex::None))
}

/// Reads the host and returns the warnings about a socket by itself.
pub(crate) fn warnings_of_socket(
    socket: &OpenSocket,
    host: Option<&Interfaces>,
) -> Vec<WarningKind> {
    if socket.namespace != Namespace::This {
        let is_certain = socket.namespace == Namespace::Other;
        return vec![WarningKind::OtherNamespace { is_certain }];
    }
    let around = AddrFacts::read(socket.addr, socket.device.as_deref(), host);
    warnings_on(socket, &around)
}

pub(super) fn warnings_on(socket: &OpenSocket, around: &AddrFacts) -> Vec<WarningKind> {
    let (addr, protocol) = (socket.addr, socket.protocol);
    let ip = addr.ip().to_canonical();
    // UDP sockets receive there what was sent to many, as DHCP clients do.
    let receives_for_many = protocol == Protocol::Udp && (ip.is_unspecified() || is_group_addr(ip));
    let has_no_address = match ip {
        IpAddr::V4(_) => around.has_no_ipv4.then_some(Some(Family::Ipv4)),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            let is_dead = around.has_no_ipv6 && (socket.only_v6 || around.has_no_ipv4);
            is_dead.then_some(socket.only_v6.then_some(Family::Ipv6))
        }
        IpAddr::V6(_) => None,
    };
    if let Some(family) = has_no_address.filter(|_| !receives_for_many) {
        return vec![WarningKind::NoAddress { family }];
    }
    let Some(host) = &around.interfaces else {
        return Vec::new();
    };
    let target = BindTarget::classify_socket(addr, host);
    let device = socket
        .device
        .as_deref()
        .filter(|device| !around.may_route_loopback && !leads_to(device, &target, host));
    if let Some(device) = device {
        return vec![WarningKind::NotThroughDevice {
            ip,
            device: device.to_owned(),
        }];
    }
    match target {
        BindTarget::Any(_) => Vec::new(),
        BindTarget::Local(local) => {
            let state = |interface: &Interface| interface.entry(ip).map(InterfaceAddr::state);
            let mut states = local.interfaces().map(state);
            if states.all(|state| state == Some(AddrState::Unrouted)) {
                vec![WarningKind::NoLocalRoute { ip }]
            } else {
                Vec::new()
            }
        }
        BindTarget::Loopback(_) => {
            let lo = host.loopbacks();
            if lo.is_empty() || lo.iter().any(|lo| lo.is_running()) {
                Vec::new()
            } else {
                vec![WarningKind::LoopbackDown { ip: addr.ip() }]
            }
        }
        BindTarget::Foreign(foreign) => {
            let is_group = foreign.reason().is_group();
            // UDP sockets receive on those.
            if is_group && protocol == Protocol::Udp {
                return Vec::new();
            }
            // IPv4 binds what a route brings, and IPv6 what an interface has.
            let why = match around {
                // A broadcast address that was not refused before bind(2).
                _ if is_group && ip.is_ipv4() => BindableReason::Broadcast,
                _ if around.is_routed == Some(true) && ip.is_ipv4() => BindableReason::LocalRoute,
                _ if socket.freebind => BindableReason::Freebind,
                _ if around.is_nonlocal_bind => BindableReason::NonLocalBind,
                _ => BindableReason::Unknown,
            };
            vec![WarningKind::NotListed {
                addr: foreign,
                why,
                is_routed: around.is_routed,
            }]
        }
    }
}

/// Returns `true` if clients can connect to an address through an interface.
fn leads_to(device: &str, target: &BindTarget, host: &Interfaces) -> bool {
    match target {
        // A VRF may have an address of 127.0.0.0/8 of its own (Documentation/networking/vrf.rst of
        // Linux).
        BindTarget::Loopback(_) => {
            let own = host.by_name(device);
            let has_one = own.is_some_and(|own| {
                let mut ips = own.addrs().iter().map(InterfaceAddr::ip);
                own.is_loopback() || ips.any(|ip| ip.is_loopback())
            });
            // An interface whose name is not listed may be the loopback interface.
            has_one || own.is_none()
        }
        BindTarget::Local(local) => {
            !host.is_loopback(device) || local.interfaces().any(|own| own.name() == device)
        }
        BindTarget::Any(_) | BindTarget::Foreign(_) => true,
    }
}
