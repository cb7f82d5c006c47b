//! Decides which warnings apply to the exposure of sockets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Exposure, Exposures, OpenSocket};
use crate::addr::Family;
use crate::addr::network::is_global;
use crate::diagnosis::{Container, Warning, WarningKind};
use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::map::Map;
use crate::sys::{self, Link, LinkKind};
use crate::target::{BindTarget, LocalAddr, Wildcard};

/// The facts that are read besides the snapshot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(super) container: Option<Container>,
    /// The `*` of a `net.ipv4.conf.*.route_localnet` that is set.
    pub(super) routed_loopback: Option<String>,
    pub(super) is_wsl: bool,
    /// The name of this host, with the addresses that `/etc/hosts` has for it.
    pub(super) own_name: Option<(String, Vec<IpAddr>)>,
}

impl Environment {
    /// Reads what the warnings need.
    pub(crate) fn read(sockets: &[&OpenSocket], host: &Interfaces) -> Self {
        if !cfg!(target_os = "linux") {
            return Self::default();
        }
        let links = sys::links().ok();
        let is_ipv4_loopback =
            |socket: &OpenSocket| socket.addr.is_ipv4() && socket.addr.ip().is_loopback();
        let about_loopback = sockets.iter().copied().any(is_ipv4_loopback);
        let own_name = || {
            let name = sys::host_name()?;
            let ips = sys::addrs_of(&name);
            Some((name, ips))
        };
        let about_name = sockets
            .iter()
            .any(|socket| is_other_loopback(socket.addr.ip()));
        Self {
            container: links
                .and_then(|links| container(host, &links, sys::container_marker(), sys::is_pod()))
                .map(|mut container| {
                    container.system = sys::is_system_container();
                    container
                }),
            routed_loopback: about_loopback.then(|| routed_loopback(host)).flatten(),
            is_wsl: sys::is_wsl(),
            own_name: about_name.then(own_name).flatten(),
        }
    }
}

/// Returns `true` for a loopback address that `localhost` is not.
fn is_other_loopback(ip: IpAddr) -> bool {
    let localhost = [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ];
    ip.is_loopback() && !localhost.contains(&ip)
}

/// Returns the `*` of a `net.ipv4.conf.*.route_localnet` that is known to be set.
fn routed_loopback(host: &Interfaces) -> Option<String> {
    sys::routed_loopback(|name| host.is_loopback(name)).ok()?
}

/// Decides whether this network namespace is like that of a container.
pub(super) fn container(
    host: &Interfaces,
    links: &Map<u32, Link>,
    marker: Option<&'static str>,
    pod: bool,
) -> Option<Container> {
    let is_outward = |interface: &&Interface| {
        let mut ips = interface.addrs().iter().map(InterfaceAddr::ip);
        !interface.is_loopback() && ips.any(|ip| Exposure::of(ip) > Exposure::Link)
    };
    let outward: Option<Vec<&Link>> = host
        .iter()
        .filter(is_outward)
        .map(|interface| links.get(&interface.index()?))
        .collect();
    let outward = outward.filter(|links| !links.is_empty())?;
    let ends_elsewhere = outward.iter().all(|link| link.ends_elsewhere);
    // An engine without privilege has a process behind it. A container may have the host's own
    // network, too, where loopback is that of the host.
    let is_tun = outward.iter().all(|link| link.kind == LinkKind::Tun);
    (ends_elsewhere || (is_tun && marker.is_some())).then_some(Container {
        ends_elsewhere,
        marker,
        pod,
        system: false,
    })
}

/// Returns the warnings about what the sockets of a server are open to; all are of this network
/// namespace.
pub(crate) fn warnings_of_exposure(
    sockets: &[&OpenSocket],
    host: &Interfaces,
    around: &Environment,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut exposures = Exposures::on(host);
    let exposures: Vec<Exposure> = sockets.iter().map(|socket| exposures.of(socket)).collect();
    let are_only_here = exposures.iter().all(|one| *one == Exposure::ThisHost);
    let mut container = around.container.clone();
    let mut is_wsl = around.is_wsl;
    let mut global_addrs: Map<Wildcard, Option<WarningKind>> = Map::new();
    for (socket, exposure) in sockets.iter().zip(exposures) {
        let mut add = |kind| warnings.push(Warning::new(socket.addr, kind));
        // It is the same for all sockets. A pod publishes by Services, to which other rules apply,
        // and the ports of a container that is like a host are not published.
        let is_unpublished = |container: &Container| container.is_pod() || container.is_system();
        let is_unpublished = container.as_ref().is_some_and(is_unpublished);
        if are_only_here {
            container
                .take()
                .map(WarningKind::ContainerLoopback)
                .into_iter()
                .for_each(&mut add);
        } else if exposure > Exposure::ThisHost && !is_unpublished {
            container
                .take()
                .map(WarningKind::PublishedPort)
                .into_iter()
                .for_each(&mut add);
        }
        if exposure > Exposure::ThisHost && std::mem::take(&mut is_wsl) {
            add(WarningKind::Wsl);
        }
        // Through the loopback interface no other host gets in.
        let device = socket.device.as_deref();
        if device.is_some_and(|device| host.is_loopback(device)) {
            continue;
        }
        let target = socket.target(host);
        if let Some(port) = port_of_switch(&target, device, host) {
            add(port);
            continue;
        }
        if let (BindTarget::Any(wildcard), None) = (&target, device) {
            other_family(*wildcard, host).into_iter().for_each(&mut add);
        }
        match target {
            BindTarget::Any(wildcard) => {
                let warning =
                    global_addrs.get_or_insert_with(wildcard, || global_addr(wildcard, host));
                warning.clone().into_iter().for_each(add);
            }
            BindTarget::Local(local) => of_local(&local).into_iter().for_each(add),
            BindTarget::Loopback(_) if socket.addr.is_ipv4() => {
                let ip = socket.addr.ip();
                let own_name = around.own_name.as_ref();
                let own_name =
                    own_name.filter(|(_, ips)| is_other_loopback(ip) && ips.contains(&ip));
                let own_name = own_name.map(|(name, _)| name.clone());
                let own_name = own_name.map(|name| WarningKind::OwnHostName { ip, name });
                own_name.into_iter().for_each(&mut add);
                let routed = around.routed_loopback.clone();
                let warning = routed.map(|interface| WarningKind::RoutedLoopback { interface });
                warning.into_iter().for_each(add);
            }
            BindTarget::Loopback(_) | BindTarget::Foreign(_) => {}
        }
    }
    warnings
}

/// Returns the warning about a socket that is on a port of a bridge, a bond or a team: by its
/// device or its address.
fn port_of_switch(
    target: &BindTarget,
    device: Option<&str>,
    host: &Interfaces,
) -> Option<WarningKind> {
    let owner = match target {
        BindTarget::Local(local) => {
            let names = || local.interfaces().map(Interface::name);
            names()
                .next()
                .filter(|_| names().all(|name| host.switch_of(name).is_some()))
        }
        _ => None,
    };
    let interface = device.or(owner)?;
    let master = host.switch_of(interface)?;
    Some(WarningKind::PortOfSwitch {
        interface: interface.to_owned(),
        master: master.to_owned(),
    })
}

/// Returns the warning about a wildcard of the family in which the host has no address for other
/// networks.
fn other_family(wildcard: Wildcard, host: &Interfaces) -> Option<WarningKind> {
    let (own, other) = match (wildcard.takes(Family::Ipv4), wildcard.takes(Family::Ipv6)) {
        (true, false) => (Family::Ipv4, Family::Ipv6),
        (false, true) => (Family::Ipv6, Family::Ipv4),
        _ => return None,
    };
    let has = |family| {
        let mut addrs = host.addrs();
        addrs.any(|(interface, addr)| {
            let ip = addr.ip();
            Family::of(ip) == family && Exposure::through(interface, ip) > Exposure::Link
        })
    };
    (!has(own) && has(other)).then_some(WarningKind::OtherFamily { family: other })
}

/// Returns `true` for an address of the internet. Reserved ones, such as those of documentation,
/// count as [`Global`](Exposure::Global) as well, because nothing keeps them from being routed.
fn is_on_the_internet(ip: IpAddr) -> bool {
    Exposure::of(ip) == Exposure::Global && is_global(ip)
}

/// Returns the warning about the global addresses that a wildcard takes.
fn global_addr(wildcard: Wildcard, host: &Interfaces) -> Option<WarningKind> {
    let mut global = host
        .addrs()
        .filter(|(_, addr)| wildcard.takes(Family::of(addr.ip())) && is_on_the_internet(addr.ip()));
    let (interface, addr) = global.next()?;
    Some(WarningKind::GlobalAddress {
        ip: addr.ip(),
        interface: interface.name().to_owned(),
        more: global.count(),
    })
}

/// Returns the warnings about one address.
fn of_local(local: &LocalAddr) -> Vec<WarningKind> {
    let ip = local.ip();
    let mut warnings = Vec::new();
    let name = |interface: &Interface| interface.name().to_owned();
    let Some(owner) = local.interfaces().next() else {
        return warnings;
    };
    if is_on_the_internet(ip) {
        let interface = name(owner);
        warnings.push(WarningKind::GlobalAddress {
            ip,
            interface,
            more: 0,
        });
    }
    let is_open = |one: &&Interface| Exposure::through(one, ip) > Exposure::ThisHost;
    if let Some(lo) = local
        .interfaces()
        .filter(|one| one.is_loopback())
        .find(is_open)
    {
        let interface = name(lo);
        warnings.push(WarningKind::LoopbackInterface { ip, interface });
    }
    if !local.interfaces().any(Interface::is_running) {
        let interface = name(owner);
        warnings.push(WarningKind::InterfaceDown { ip, interface });
    }
    let is_temporary = |one: &&Interface| one.entry(ip).is_some_and(InterfaceAddr::is_temporary);
    if let Some(temporary) = local.interfaces().find(is_temporary) {
        let interface = name(temporary);
        warnings.push(WarningKind::TemporaryAddress { ip, interface });
    }
    warnings
}
