//! The hints about causes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Attempt, Errno, Evidence, HandedOver, System};
use crate::addr::network::{is_global, is_group_addr};
use crate::addr::{Host, ListenAddr, Zone, is_link_scoped, shown};
use crate::diagnosis::{
    Cause, FamilyUnavailableReason, Hint, HintKind, Holder, Mismatch, Policy, Privilege,
    SocketState, Step, is_listed, without_repetition,
};
use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::reach::Exposure;
use crate::sys::Searched;
use crate::target::{BindTarget, ForeignReason, Overlap, Protocol, Wildcard, is_scoped, zone};

/// Returns the addresses that could be written in place of that of an attempt, the closest first;
/// whether the kernel binds them is yet to be asked. `verdict` is what it says of the address.
pub(super) fn candidates(
    attempt: &Attempt<'_>,
    verdict: Option<Errno>,
    host: &Interfaces,
) -> Vec<SocketAddr> {
    let errno = verdict.or(attempt.errno().map(|(_, errno)| errno));
    let Some(errno) = errno else {
        return Vec::new();
    };
    let (ip, port) = (attempt.addr.ip(), attempt.addr.port());
    let on_port = |ip: IpAddr| SocketAddr::new(ip, port);
    let loopback = on_port(Ipv4Addr::LOCALHOST.into());
    let every = |ip: IpAddr| match ip {
        IpAddr::V4(_) => on_port(Ipv4Addr::UNSPECIFIED.into()),
        IpAddr::V6(_) => on_port(Ipv6Addr::UNSPECIFIED.into()),
    };
    let of_zone = host.by_index(zone(attempt.addr));
    let is_host_only = ip.is_loopback() || of_zone.is_some_and(Interface::is_host_only);
    let is_of_socket = matches!(attempt.errno(), Some((Step::Socket, _)));
    match errno {
        errno if is_of_socket && errno.is_about_family() && ip.is_ipv6() => match ip {
            _ if is_host_only => vec![loopback],
            // One that accepts no IPv4 client has no IPv4 address in its place.
            ip if ip.is_unspecified() && !attempt.only_v6 => {
                vec![on_port(Ipv4Addr::UNSPECIFIED.into())]
            }
            _ => Vec::new(),
        },
        Errno::NotAvailable | Errno::Invalid | Errno::NoDevice => match ip {
            IpAddr::V6(v6) if is_link_scoped(v6) => {
                let zones = host.by_ip(ip).filter_map(Interface::index);
                let zoned = zones.map(|zone| crate::target::socket_addr(ip, zone, port));
                let here = is_host_only.then_some(loopback);
                zoned.chain(here).take(3).collect()
            }
            _ if is_host_only => vec![loopback],
            _ if ip.is_unspecified() => Vec::new(),
            _ => {
                let is_usable = |ip: &IpAddr| {
                    let mut entries = host.by_ip(*ip).filter_map(|own| own.entry(*ip));
                    !is_group_addr(*ip) && entries.any(InterfaceAddr::is_usable)
                };
                let nearest = host.nearest(ip, 8).into_iter().filter(is_usable);
                nearest.take(3).map(on_port).chain([every(ip)]).collect()
            }
        },
        _ => Vec::new(),
    }
}

/// Decides on what to do about what is wrong with an attempt, the likeliest first.
pub(super) fn hints(causes: &[Cause], attempt: &Attempt<'_>, evidence: &Evidence) -> Vec<Hint> {
    let mut hints = Vec::new();
    // If more is wrong than the address, another address does not help.
    if let [cause] = causes {
        hints.extend(replacements(cause, attempt, evidence));
        hints.extend(handed_over_instead(cause, attempt, evidence));
    }
    for cause in causes {
        hints.extend(of_cause(cause, attempt, evidence));
    }
    without_repetition(&hints)
}

/// Returns the settings to write in place of one that is an address.
fn replacements(cause: &Cause, attempt: &Attempt<'_>, evidence: &Evidence) -> Vec<Hint> {
    match cause {
        // No address helps until the interface is up.
        Cause::FamilyUnavailable {
            why: FamilyUnavailableReason::LoopbackDown,
            ..
        } => return Vec::new(),
        Cause::NotOnThisHost(_)
        | Cause::OtherZone { .. }
        | Cause::ZoneRequired { .. }
        | Cause::NoSuchZone { .. }
        | Cause::LoopbackMissing { .. }
        | Cause::FamilyUnavailable { .. } => {}
        _ => return Vec::new(),
    }
    let (Some(host), Some(written)) = (evidence.interfaces.as_ref(), attempt.written) else {
        return Vec::new();
    };
    let is_one_address = matches!(written.host(), Host::Ip { .. } | Host::Localhost);
    if !is_one_address || !evidence.is_port_unprivileged(attempt) {
        return Vec::new();
    }
    let (first, last) = attempt.ports;
    // Whether the holder of a port shares it cannot be read.
    if attempt.shares_port && last != 0 {
        return Vec::new();
    }
    let instead = |addr: &SocketAddr| Attempt {
        addr: *addr,
        only_v6: attempt.only_v6_option && addr.ip().is_unspecified(),
        ..*attempt
    };
    let is_free = |addr: &SocketAddr| {
        let claim = evidence.claim(&instead(addr));
        let sockets = evidence.sockets(attempt.protocol);
        let is_in_list = |port| {
            let beside = attempt.beside;
            beside.is_some_and(|(list, own)| list.has_conflict_beside(own, claim, port))
        };
        let is_taken = |port| sockets.may_hold(claim, port) || is_in_list(port);
        (first..=last).any(|port| port == 0 || !is_taken(port))
    };
    let is_lo_up = || {
        let loopbacks = host.loopbacks();
        loopbacks.is_empty() || loopbacks.iter().any(|lo| lo.is_running())
    };
    // A socket that is bound to an interface accepts connections to the addresses of that one.
    let is_served = |addr: &SocketAddr| {
        let ip = addr.ip();
        let of_device = |device: &str| {
            let owners = host.by_ip(ip);
            owners.map(Interface::name).any(|name| name == device)
                || ip.is_loopback() && host.is_loopback(device)
        };
        let device = instead(addr);
        let device = evidence
            .device_of(&device)
            .map(|name| evidence.name_of_device(name));
        (!ip.is_loopback() || is_lo_up()) && (ip.is_unspecified() || device.is_none_or(of_device))
    };
    let is_bound = |addr: &SocketAddr| {
        let mut on_no_port = *addr;
        on_no_port.set_port(0);
        *addr != attempt.addr && evidence.bindable.contains(&on_no_port)
    };
    let candidates = candidates(attempt, evidence.verdict_on(attempt.addr), host).into_iter();
    let mut candidates: Vec<SocketAddr> = candidates
        .filter(|addr| is_bound(addr) && is_free(addr) && is_served(addr))
        .collect();
    // One specific address is enough, and a link-local one may be in several zones.
    let is_specific = |addr: &SocketAddr| !addr.ip().is_unspecified() && !is_scoped(*addr);
    let closest = candidates.iter().copied().find(is_specific);
    candidates.retain(|addr| !is_specific(addr) || closest == Some(*addr));
    let candidates = candidates.into_iter();
    candidates
        .map(|addr| {
            let instead = instead(&addr);
            let device = evidence
                .device_of(&instead)
                .map(|name| evidence.name_of_device(name));
            replacement(attempt, written, addr, device, host, None)
        })
        .collect()
}

/// Advises to write the address of a socket that was handed over.
fn handed_over_instead(cause: &Cause, attempt: &Attempt<'_>, evidence: &Evidence) -> Option<Hint> {
    let Cause::HandedOver {
        mismatch: Mismatch::Addr(overlap),
        ..
    } = *cause
    else {
        return None;
    };
    let &HandedOver {
        addr: handed,
        only_v6,
        ..
    } = attempt.handed_over?;
    let (host, written) = (evidence.interfaces.as_ref()?, attempt.written?);
    let is_one_address = matches!(written.host(), Host::Ip { .. });
    let claim = evidence.claim(&Attempt {
        addr: handed,
        only_v6,
        ..*attempt
    });
    let beside = attempt.beside;
    let is_in_list =
        beside.is_some_and(|(list, own)| list.has_conflict_beside(own, claim, handed.port()));
    // `[::]` names both families, or IPv6 alone by the option.
    let is_wildcard = handed.is_ipv6() && handed.ip().is_unspecified();
    let has_name = !is_wildcard || only_v6 == attempt.only_v6_option;
    let is_usable = is_one_address && has_name && !is_in_list && attempt.device.is_none();
    is_usable.then(|| {
        let what = "is the address that was handed over";
        let hint = replacement(attempt, written, handed, None, host, Some(what));
        let is_wider = matches!(overlap, Overlap::Covers | Overlap::CoversAsDualStack);
        match (hint.kind(), hint.replacement()) {
            // A wider address that is not more exposed today.
            (HintKind::Replace, Some(setting)) if is_wider => Hint::replacing(
                HintKind::Widen,
                format!("{hint}, which accepts more clients"),
                setting.to_owned(),
            ),
            _ => hint,
        }
    })
}

/// Returns the line of a socket unit (systemd.socket(5)) by which a socket is handed over that
/// fits.
fn socket_unit(mismatch: &Mismatch, attempt: &Attempt<'_>) -> Option<Hint> {
    let line = match (mismatch, attempt.protocol) {
        (Mismatch::Ipv6Only, _) => "BindIPv6Only=both".to_owned(),
        (Mismatch::DualStack, _) => "BindIPv6Only=ipv6-only".to_owned(),
        (Mismatch::Device(_), _) => format!("BindToDevice={}", shown(attempt.device?)),
        (Mismatch::Addr(_), Protocol::Tcp) => format!("ListenStream={}", attempt.addr),
        (Mismatch::Addr(_), Protocol::Udp) => format!("ListenDatagram={}", attempt.addr),
    };
    let text = format!("`{line}` in the socket unit opens what the setting names");
    (!is_scoped(attempt.addr)).then(|| configure(text))
}

/// Advises to write `addr`, and says so if that opens the server to more clients.
fn replacement(
    attempt: &Attempt<'_>,
    written: &ListenAddr,
    addr: SocketAddr,
    device: Option<&str>,
    host: &Interfaces,
    what: Option<&str>,
) -> Hint {
    let ip = addr.ip();
    let named_zone = match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => {
            let interface = host.by_index(v6.scope_id());
            // A name that no setting can have goes by its number.
            let name = interface.map(|one| one.name().to_owned());
            let name = name.filter(|name| {
                let text = format!("[{ip}%{name}]:0");
                text.parse::<ListenAddr>().is_ok()
            });
            Some(name.map_or(Zone::Index(v6.scope_id()), Zone::Name))
        }
        _ => None,
    };
    let setting = written.with_other_host(Host::Ip {
        ip,
        zone: named_zone,
    });
    let exposure = exposure_of(&setting, attempt.only_v6_option, device, host);
    let what = what.unwrap_or(match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "listens on every IPv4 address of this host",
        IpAddr::V6(ip) if ip.is_unspecified() && attempt.only_v6_option => {
            "listens on every IPv6 address of this host"
        }
        IpAddr::V6(ip) if ip.is_unspecified() => "listens on every address of this host",
        ip if ip.is_loopback() => "listens on loopback, for this host only",
        ip if ip == attempt.addr.ip() && zone(attempt.addr) == 0 => "adds the zone",
        ip if ip == attempt.addr.ip() => "has the zone of the interface that has the address",
        ip if is_translated(attempt.addr.ip(), ip, host) => {
            "is the address to listen on if a provider or a router translates the one that was written"
        }
        _ => "is the closest local address",
    });
    let text = format!("`{setting}` {what}");
    let before = exposure_of(written, attempt.only_v6_option, device, host);
    // An unknown exposure counts as wider, and so does a wildcard in place of an address: it takes
    // whatever address the host is given later.
    let becomes_any = ip.is_unspecified()
        && !attempt.addr.ip().is_unspecified()
        && exposure != Some(Exposure::ThisHost);
    let is_wider = before.is_none() || exposure > before || becomes_any;
    match exposure {
        _ if !is_wider => Hint::replacing(HintKind::Replace, text, setting.to_string()),
        Some(exposure) => Hint::replacing(
            HintKind::Widen,
            format!("{text}, reachable from {exposure}"),
            setting.to_string(),
        ),
        None => Hint::replacing(
            HintKind::Widen,
            format!("{text}, which may let more clients connect"),
            setting.to_string(),
        ),
    }
}

/// Returns `true` if a public address may be that of a provider or a router, which translates it to
/// a private one of this host: no interface here has a public one of its family.
fn is_translated(written: IpAddr, own: IpAddr, host: &Interfaces) -> bool {
    let is_public = |ip: IpAddr| is_global(ip) && Exposure::of(ip) == Exposure::Global;
    let has_public = |(_, addr): (&Interface, &InterfaceAddr)| {
        addr.ip().is_ipv4() == written.is_ipv4() && is_public(addr.ip())
    };
    is_public(written)
        && written.is_ipv4()
        && matches!(Exposure::of(own), Exposure::Private | Exposure::Shared)
        && !host.addrs().any(has_public)
}

/// Returns how far a setting is open on a host; `None` where it names nothing there.
fn exposure_of(
    setting: &ListenAddr,
    only_v6: bool,
    device: Option<&str>,
    host: &Interfaces,
) -> Option<Exposure> {
    let targets = setting.resolve(host).ok()?;
    let of_target = |target: &BindTarget| {
        let target = match target {
            BindTarget::Any(Wildcard::DualStack) if only_v6 => BindTarget::Any(Wildcard::Ipv6),
            target => target.clone(),
        };
        target.exposure_on_device(device, host)
    };
    targets.iter().map(of_target).max()
}

/// Tells which security modules are active, and how each shows what it has denied.
fn of_security_modules(active: &[String]) -> Vec<Hint> {
    let hints = active.iter().filter_map(|module| {
        Some(match module.as_str() {
            "selinux" => "SELinux is active: `ausearch -m avc -ts recent` shows what it has denied, and `semanage port -l` its ports",
            "apparmor" => "AppArmor is active: `journalctl -k -g apparmor` shows what it has denied, and `aa-status` its profiles",
            "landlock" => "Landlock is active: a program restricts itself and its children by it",
            "smack" => "Smack is active: `journalctl -k -g smack` shows what it has denied",
            "tomoyo" => "TOMOYO is active: `/var/log/tomoyo` has what it has denied",
            _ => return None,
        })
    });
    hints.map(inspect).collect()
}

/// Tells where IPv6 is off, if that may be why no interface has an address.
fn of_missing_ipv6(ip: IpAddr, evidence: &Evidence) -> Vec<Hint> {
    const MOST: usize = 3;
    if ip.is_ipv4() {
        return Vec::new();
    }
    let off = evidence.without_ipv6.iter().take(MOST).map(|name| {
        let name = shown(name);
        inspect(format!(
            "`net.ipv6.conf.{}.disable_ipv6` is set, so {name} has no IPv6 address",
            // As sysctl(8) wants it.
            name.replace('.', "/")
        ))
    });
    let small = evidence
        .below_ipv6_mtu
        .iter()
        .take(MOST)
        .map(|(name, mtu)| {
            let name = shown(name);
            inspect(format!(
                "{name} has an MTU of {mtu}, and no IPv6 address, which needs 1280"
            ))
        });
    off.chain(small).collect()
}

/// Advises about a port that other sockets have.
fn of_in_use(
    port: u16,
    holders: &[Holder],
    attempt: &Attempt<'_>,
    evidence: &Evidence,
) -> Vec<Hint> {
    let system = evidence.system;
    let is_unknown = (holders.is_empty() || holders.iter().any(Holder::may_have_a_process))
        && !holders.iter().any(|holder| holder.pid().is_some());
    let who = match (is_unknown, evidence.sockets(attempt.protocol).searched) {
        (true, Searched::Some) => match system {
            System::Linux => Some(format!(
                "`ss -antup 'sport = :{port}'`, run as root, shows which process holds the port"
            )),
            System::Darwin => Some(format!(
                "`sudo lsof -nP -i :{port}` shows which process holds the port"
            )),
            System::Windows => Some("`netstat -ano` shows which process holds the port".to_owned()),
            System::Unix => None,
        },
        (true, Searched::Namespace) => Some(format!(
            "no process that can be seen here has the socket; if this is a container, `ss -antup 'sport = :{port}'` on \
             its host shows which has"
        )),
        _ => None,
    };
    let mut for_others = holders.iter();
    let for_others = for_others.find_map(|holder| of_holder(holder, port, system));
    let mut connections = holders.iter();
    let has_connection = connections.any(|holder| holder.state() == SocketState::Connected);
    let reserve = has_connection.then(|| reserve(port, evidence)).flatten();
    let beside = beside_specific(holders, attempt, evidence);
    let who = who.map(inspect).or(for_others).into_iter();
    who.chain(beside).chain(reserve).collect()
}

/// Returns where to look for the service that a process holds a port for.
fn of_holder(holder: &Holder, port: u16, system: System) -> Option<Hint> {
    if system == System::Windows && holder.pid() == Some(4) {
        let text = "`netsh http show servicestate` shows which program http.sys holds the port for";
        return Some(inspect(text));
    }
    match holder.command()? {
        _ if holder.is_of_unit() && holder.pid() == Some(1) => Some(inspect(
            "`systemctl list-sockets` shows the socket unit that holds the port",
        )),
        "systemd" => Some(inspect(
            "`systemctl --user list-sockets` shows the socket unit that holds the port",
        )),
        _ if holder.is_of_unit() => Some(inspect(
            "`systemctl list-sockets` shows the socket unit by which systemd has opened the port",
        )),
        "docker-proxy" => Some(inspect(format!(
            "`docker ps --filter publish={port}` shows the container that publishes the port"
        ))),
        "rootlessport" | "conmon" | "pasta" | "pasta.avx2" | "slirp4netns" => {
            Some(inspect(format!(
                "`podman ps --filter publish={port}` shows the container that publishes the port"
            )))
        }
        _ => None,
    }
}

/// Advises to listen on one interface where sockets on specific addresses are in the way of a
/// wildcard.
fn beside_specific(holders: &[Holder], attempt: &Attempt<'_>, evidence: &Evidence) -> Option<Hint> {
    let (host, written) = (evidence.interfaces.as_ref()?, attempt.written?);
    let is_specific = |holder: &Holder| !holder.addr().ip().is_unspecified();
    let is_usable = attempt.addr.ip().is_unspecified()
        && attempt.device.is_none()
        && holders.iter().all(is_specific);
    if !is_usable {
        return None;
    }
    let family = match attempt.addr.ip() {
        IpAddr::V4(_) => "ipv4@",
        IpAddr::V6(_) if attempt.only_v6 => "ipv6@",
        IpAddr::V6(_) => "",
    };
    let sockets = evidence.sockets(attempt.protocol);
    let (first, last) = attempt.ports;
    let is_free = |setting: &ListenAddr| {
        let targets = setting.resolve(host).ok()?;
        let is_free = |target: &BindTarget| {
            let BindTarget::Local(local) = target else {
                return false;
            };
            let claim = evidence.claim(&Attempt {
                addr: SocketAddr::new(local.ip(), first),
                ..*attempt
            });
            (first..=last).all(|port| !sockets.may_hold(claim, port))
        };
        targets.iter().all(is_free).then_some(())
    };
    let optional = if written.is_optional() { "-" } else { "" };
    // Not one that has link-local addresses alone.
    let is_outward = |interface: &&Interface| {
        let mut ips = interface.addrs().iter().map(InterfaceAddr::ip);
        let has_any = ips.any(|ip| Exposure::of(ip) > Exposure::Link);
        has_any && interface.is_running() && !interface.is_loopback()
    };
    let mut interfaces = host.iter().filter(is_outward);
    interfaces.find_map(|interface| {
        let ports = written.to_string();
        let (_, ports) = ports.rsplit_once(':')?;
        let text = format!("{optional}{family}{}:{ports}", interface.name());
        let setting = text.parse::<ListenAddr>().ok()?;
        // A name may read as something else, such as `localhost`.
        let is_name = *setting.host() == Host::Name(interface.name().to_owned());
        is_free(&setting).filter(|()| is_name)?;
        let hint = format!(
            "`{text}` listens only on the addresses of {}, without a conflict",
            shown(interface.name())
        );
        Some(Hint::replacing(HintKind::Replace, hint, text))
    })
}

/// Advises to keep outgoing connections off a port of the ephemeral range.
fn reserve(port: u16, evidence: &Evidence) -> Option<Hint> {
    let range = evidence.ephemeral_ports.as_ref()?;
    let reserved = evidence.reserved_ports.as_ref()?;
    let all = match reserved.as_str() {
        "" => port.to_string(),
        others => format!("{others},{port}"),
    };
    let (first, last) = (range.start(), range.end());
    let is_reserved = reserved.split(',').any(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
        matches!((first, last), (Ok(first), Ok(last)) if (first..=last).contains(&port))
    });
    (range.contains(&port) && !is_reserved).then(|| {
        configure(format!(
            "`sysctl net.ipv4.ip_local_reserved_ports={all}` excludes the port from the ephemeral range \
             ({first}-{last}) for new outgoing connections"
        ))
    })
}

fn inspect(text: impl Into<String>) -> Hint {
    Hint::new(HintKind::Inspect, text)
}

fn configure(text: impl Into<String>) -> Hint {
    Hint::new(HintKind::Configure, text)
}

#[allow(clippy::too_many_lines)] // one arm a cause
fn of_cause(cause: &Cause, attempt: &Attempt<'_>, evidence: &Evidence) -> Vec<Hint> {
    let system = evidence.system;
    let linux = system == System::Linux;
    let comes_later = || {
        let text = "`BindOptions::freebind` binds an address before the host has it";
        let hint = Hint::new(HintKind::Program, text);
        (linux && !attempt.freebind)
            .then_some(hint)
            .into_iter()
            .collect()
    };
    match cause {
        Cause::NotOnThisHost(foreign) if may_come(foreign.reason()) => {
            let mut hints = of_missing_ipv6(foreign.ip(), evidence);
            hints.extend(comes_later());
            hints
        }
        Cause::InterfaceDown(local) if linux => {
            let is_down = |interface: &&Interface| {
                let link = interface
                    .index()
                    .and_then(|index| evidence.links.get(&index));
                link.is_none_or(|link| !link.up)
            };
            let names = local.interfaces().filter(is_down).map(Interface::name);
            let names = names.filter(|name| is_safe_in_command(name));
            let bring_up = |name| configure(format!("`ip link set dev {name} up` brings it up"));
            let mut hints: Vec<Hint> = names.map(bring_up).collect();
            hints.extend(comes_later());
            hints
        }
        Cause::Gone(_)
        | Cause::InterfaceDown(_)
        | Cause::NoCarrier(_)
        | Cause::RoutedNotAssigned(_) => comes_later(),
        Cause::Duplicate(_) | Cause::NotReady(_) if linux => vec![inspect(
            "`ip addr` shows whether the address is `tentative` or `dadfailed`",
        )],
        Cause::LocalRouteMissing(_) | Cause::NotTreatedAsLocal(_) if linux => {
            vec![inspect(TABLE_LOCAL)]
        }
        Cause::LoopbackMissing { ip, has } if linux && is_listed(*ip, has) => {
            vec![inspect(TABLE_LOCAL)]
        }
        Cause::LoopbackMissing { ip, .. }
            if ip.is_ipv4() && matches!(system, System::Darwin | System::Unix) =>
        {
            vec![configure(format!("`ifconfig lo0 alias {ip}` adds it"))]
        }
        Cause::InVrf { vrf, .. } if linux => {
            let exec = is_safe_in_command(vrf).then(|| {
                configure(format!(
                    "`ip vrf exec {vrf} COMMAND` runs the program in the VRF"
                ))
            });
            let device = format!("`BindOptions::device` binds the socket to `{}`", shown(vrf));
            let device = Hint::new(HintKind::Program, device);
            exec.into_iter().chain([device]).collect()
        }
        Cause::HandedOver {
            ip,
            mismatch,
            handed,
        } => {
            let is_allowed = *mismatch == Mismatch::Addr(Overlap::CoversAsDualStack)
                && ip.is_unspecified()
                && handed.ip().is_unspecified()
                && !attempt.handed_over.is_some_and(|handed| handed.is_allowed);
            let allow = is_allowed.then(|| {
                let text = "`Activation::allow_dual_stack` takes it for `0.0.0.0`, and serves IPv6 clients as well";
                Hint::new(HintKind::Program, text)
            });
            socket_unit(mismatch, attempt)
                .into_iter()
                .chain(allow)
                .collect()
        }
        Cause::RangeInUse { holders, .. }
            if holders.first().iter().any(|holder| holder.pid().is_none())
                && evidence.sockets(attempt.protocol).searched == Searched::Some =>
        {
            let all = match system {
                System::Linux => "`ss -antup`, run as root, shows which processes hold the ports",
                System::Darwin => "`sudo lsof -nP -i` shows which processes hold the ports",
                System::Windows => "`netstat -ano` shows which processes hold the ports",
                System::Unix => return Vec::new(),
            };
            vec![inspect(all)]
        }
        Cause::InUse { port, holders, .. } => of_in_use(*port, holders, attempt, evidence),
        Cause::InUseByUnknown { .. } if evidence.has_seccomp_filter == Some(true) => vec![inspect(
            "a seccomp filter of this process may deny the port; on WSL2, one denies the ports that Windows uses",
        )],
        Cause::PrivilegedPort { .. }
            if system == System::Darwin && !attempt.addr.ip().is_unspecified() =>
        {
            let ip: IpAddr = match attempt.addr.ip() {
                IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            let every = |written: &ListenAddr| {
                let setting = written
                    .with_other_host(Host::Ip { ip, zone: None })
                    .to_string();
                let text = format!(
                    "`{setting}` needs no privilege, and opens the port to all networks of this host"
                );
                Hint::replacing(HintKind::Widen, text, setting)
            };
            attempt.written.map(every).into_iter().collect()
        }
        Cause::PrivilegedPort {
            port, privilege, ..
        } if linux => {
            let lower = format!("`sysctl net.ipv4.ip_unprivileged_port_start={port}`");
            match privilege {
                Privilege::Missing => {
                    let mut hints = vec![configure(
                        "`AmbientCapabilities=CAP_NET_BIND_SERVICE` in a systemd unit grants the capability",
                    )];
                    // execve(2) ignores file capabilities then.
                    if evidence.no_new_privs == Some(false) {
                        hints.push(configure(
                            "`setcap cap_net_bind_service=+ep` on the program's file grants the capability",
                        ));
                    }
                    hints.push(configure(format!(
                        "{lower} lets every process bind the ports from {port} up"
                    )));
                    hints
                }
                Privilege::InAnotherUserNamespace => vec![configure(format!(
                    "{lower} in this process's network namespace lets every process bind the ports from {port} up"
                ))],
            }
        }
        Cause::Denied { step: Step::Bind } if linux => vec![configure(
            "a port below `net.ipv4.ip_unprivileged_port_start` needs CAP_NET_BIND_SERVICE; grant it, or use a higher port",
        )],
        Cause::Denied { step: Step::Bind } if system == System::Windows => vec![
            inspect(
                "`netsh int ipv4 show excludedportrange protocol=tcp` shows the ports that Windows reserves",
            ),
            inspect(
                "`netstat -ano` shows which process has the port; a port that is held exclusively is denied",
            ),
        ],
        Cause::Denied { step: Step::Socket } if cfg!(target_os = "android") => {
            vec![configure("an Android app needs the permission `INTERNET`")]
        }
        Cause::RefusedByPolicy(policy) => match policy {
            Policy::SecurityModule | Policy::SecurityModuleOrFilter => {
                of_security_modules(&evidence.security_modules)
            }
            Policy::Bpf => vec![configure("check `SocketBindDeny=` in the systemd unit")],
            Policy::Filter => vec![configure(
                "check `SocketBindDeny=` and `SystemCallFilter=` in the systemd unit, or the container's seccomp profile",
            )],
        },
        Cause::FamilyUnavailable {
            why:
                FamilyUnavailableReason::Refused(
                    Policy::SecurityModule | Policy::SecurityModuleOrFilter,
                ),
            ..
        } => of_security_modules(&evidence.security_modules),
        Cause::FamilyUnavailable {
            why: FamilyUnavailableReason::Sandbox | FamilyUnavailableReason::Refused(Policy::Filter),
            ..
        } => vec![configure(
            "check `RestrictAddressFamilies=` and `SystemCallFilter=` in the systemd unit, or the container's seccomp profile",
        )],
        Cause::TooManyOpenFiles { .. } if linux => vec![configure(
            "raise the limit with `LimitNOFILE=` in a systemd unit, or with `ulimit -n`",
        )],
        Cause::TooManyOpenFiles { .. } if system != System::Windows => {
            vec![configure("raise the limit with `ulimit -n`")]
        }
        // `default` is for interfaces that come later.
        Cause::FamilyUnavailable {
            family,
            why: FamilyUnavailableReason::Sysctl { interface },
        } if *interface != "default" => {
            let place = match *interface {
                "all" => "every interface",
                interface => interface,
            };
            vec![configure(format!(
                "`sysctl net.ipv6.conf.{interface}.disable_ipv6=0` enables {family} on {place}"
            ))]
        }
        Cause::FamilyUnavailable {
            why: FamilyUnavailableReason::LoopbackDown,
            ..
        } => match system {
            System::Linux => vec![configure("`ip link set lo up` brings it up")],
            System::Darwin | System::Unix => vec![configure("`ifconfig lo0 up` brings it up")],
            System::Windows => Vec::new(),
        },
        _ => Vec::new(),
    }
}

/// Returns `true` if an address may be assigned to this host some day.
fn may_come(reason: ForeignReason<'_>) -> bool {
    matches!(
        reason,
        ForeignReason::OtherZone { .. }
            | ForeignReason::SameSubnet { .. }
            | ForeignReason::Unrelated
    )
}

/// Returns `true` if the name of an interface can be pasted into a shell. The kernel takes `;` and
/// `$(…)` as well (`dev_valid_name` in net/core/dev.c), and a user who may name an interface must
/// not write the operator's commands.
fn is_safe_in_command(name: &str) -> bool {
    let is_safe = |b: u8| b.is_ascii_alphanumeric() || b"_.:@-".contains(&b);
    !name.starts_with('-') && name.bytes().all(is_safe)
}

const TABLE_LOCAL: &str = "`ip route show table local` shows what the kernel treats as local";
