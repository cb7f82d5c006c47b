//! Finds why a socket could not be opened: [`Evidence`] is read after the failure, and the causes
//! and hints are decided on it, which is pure.

// The hints about causes.
mod hints;
// The evidence about the host after a failure.
mod evidence;
// The sockets that have a port.
mod sockets;
// The warnings about a socket that was opened.
mod socket_warnings;
// The invariants of every decision.
#[cfg(any(test, fuzzing))]
pub(crate) mod properties;
// The decision on each system.
#[cfg(test)]
mod systems;
#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::addr::{Family, ListenAddr, is_link_scoped};
use crate::diagnosis::{
    Cause, Diagnosis, FamilyUnavailableReason, Mismatch, Policy, Privilege, RangeHolders, Step,
    is_listed,
};
use crate::interfaces::{AddrState, Interface, InterfaceAddr, Interfaces};
use crate::plan::Claims;
use crate::sys::{Capability, DEFAULT_PORT_START, LOOPBACK_INDEX, LinkKind};
pub(crate) use crate::sys::{Errno, Namespace, System};
use crate::target::{BindTarget, ForeignReason, GroupAddr, LocalAddr, Protocol, zone};
pub(crate) use evidence::{AddrProbe, Evidence};
pub(crate) use socket_warnings::{warnings_about_others, warnings_of, warnings_of_socket};
pub(crate) use sockets::Sockets;
use sockets::{Held, Holders};

/// A socket that was wanted, and what came of it.
#[derive(Clone, Copy)]
#[allow(clippy::struct_excessive_bools)] // each is an option, or what came of it
pub(crate) struct Attempt<'a> {
    pub(crate) protocol: Protocol,
    /// Its port is the one that was tried last.
    pub(crate) addr: SocketAddr,
    pub(crate) only_v6: bool,
    /// The interface it is to be bound to.
    pub(crate) device: Option<&'a str>,
    /// The probe, which queries the kernel with the options of the socket.
    pub(crate) kernel: &'a dyn AddrProbe,
    /// Whether others may have the port as well (`SO_REUSEPORT`).
    pub(crate) shares_port: bool,
    /// Whether `freebind` is set.
    pub(crate) freebind: bool,
    /// Whether the option `only_v6` is set, by which `[::]` names IPv6 alone.
    pub(crate) only_v6_option: bool,
    /// The setting that it is of.
    pub(crate) written: Option<&'a ListenAddr>,
    /// The first and the last port that it may have.
    pub(crate) ports: (u16, u16),
    /// Whether it is of a range whose ports are all in use; no holder is named then.
    pub(crate) no_port_left: bool,
    /// The snapshot in which the address was found.
    pub(crate) before: Option<&'a Interfaces>,
    /// The group that the address is, to which no TCP client can connect.
    pub(crate) group: Option<GroupAddr>,
    /// The socket on its port that was handed over and does not fit.
    pub(crate) handed_over: Option<&'a HandedOver>,
    /// The step that the system refused, if it refused one.
    pub(crate) refused: Option<(Step, &'a io::Error)>,
    /// The claims of the list that it is part of, by the number of their entry, and that of its
    /// own.
    pub(crate) beside: Option<(&'a Claims, usize)>,
}

/// A socket that was handed over, on a port that another one was wanted on.
pub(crate) struct HandedOver {
    pub(crate) addr: SocketAddr,
    pub(crate) only_v6: bool,
    pub(crate) mismatch: Mismatch,
    /// Whether a dual-stack socket may serve IPv4 alone.
    pub(crate) is_allowed: bool,
}

/// Decides on what is wrong with an attempt, and on what to do about it.
pub(crate) fn diagnose(attempt: &Attempt<'_>, evidence: &Evidence) -> Diagnosis {
    let causes = causes(attempt, evidence);
    let hints = hints::hints(&causes, attempt, evidence);
    Diagnosis { causes, hints }
}

impl Attempt<'_> {
    fn errno(&self) -> Option<(Step, Errno)> {
        let (step, error) = self.refused?;
        Some((step, Errno::of(error)))
    }

    fn is_in_use(&self) -> bool {
        matches!(self.errno(), Some((_, Errno::InUse)))
    }
}

/// Returns `true` if the cause that an address cannot be bound rests on contradictory facts.
fn is_contradicted(attempt: &Attempt<'_>, evidence: &Evidence) -> bool {
    let refused = attempt.errno().map(|(_, errno)| errno);
    let verdict = evidence.verdict_on(attempt.addr);
    [refused, verdict].contains(&Some(Errno::NotAvailable))
        && is_contradictory(&not_available(attempt, evidence))
}

/// Returns `true` if a cause rests on two facts that exclude each other on an ordinary host.
fn is_contradictory(cause: &Cause) -> bool {
    match cause {
        Cause::LocalRouteMissing(_)
        | Cause::NotTreatedAsLocal(_)
        | Cause::NotReady(_)
        | Cause::RoutedNotAssigned(_) => true,
        Cause::LoopbackMissing { ip, has } => is_listed(*ip, has),
        _ => false,
    }
}

/// Decides on what is wrong with an attempt: the cause of the system's error
/// first, then what the system would have refused next.
///
/// There is at least one cause if the attempt was refused.
pub(crate) fn causes(attempt: &Attempt<'_>, evidence: &Evidence) -> Vec<Cause> {
    let mut causes = Vec::new();
    causes.extend(attempt.group.map(Cause::Group));
    let errno = attempt.errno();
    if let Some((step, errno)) = errno {
        causes.push(cause_of(errno, step, attempt, evidence));
    }
    // Linux looks at the address before the privilege in IPv4, after it in IPv6;
    // at policies before both, and at other sockets last.
    if let Some((Step::Bind, Errno::AccessDenied | Errno::NotPermitted)) = errno {
        if let Some(errno) = evidence.verdict_on(attempt.addr) {
            causes.extend(address_cause(errno, attempt, evidence));
        }
    }
    let came_to_others = matches!(
        errno,
        Some((Step::Bind, Errno::InUse) | (Step::Listen | Step::GetSockName | Step::Register, _))
    );
    if came_to_others {
        return causes;
    }
    if !matches!(errno, Some((Step::Bind, Errno::AccessDenied))) {
        causes.extend(privileged(attempt.addr.port(), evidence));
    }
    causes.extend(in_use_next(attempt, evidence));
    causes
}

fn cause_of(errno: Errno, step: Step, attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let addr = attempt.addr;
    match (errno, step) {
        (Errno::ProcessDescriptors, _) => Cause::TooManyOpenFiles {
            open: evidence.open_files,
        },
        (Errno::SystemDescriptors, _) => Cause::TooManyOpenFilesInSystem,
        (Errno::NoMemory, _) => Cause::OutOfMemory,
        (_, Step::Validate) => zone_of_another_device(attempt, evidence),
        (Errno::FamilyUnsupported, Step::Socket) => family_unsupported(addr, evidence),
        (Errno::AccessDenied | Errno::NotPermitted, Step::Socket)
            if evidence.system == System::Linux && !cfg!(target_os = "android") =>
        {
            Cause::FamilyUnavailable {
                family: Family::of(addr.ip()),
                why: FamilyUnavailableReason::Refused(policy(errno, evidence)),
            }
        }
        (Errno::Unsupported, Step::Option(option)) => Cause::UnsupportedOption { option },
        (Errno::NoDevice, Step::Option("device")) => {
            let name = attempt.device.unwrap_or_default();
            let host = evidence.interfaces.as_ref();
            Cause::NoSuchDevice {
                name: name.to_owned(),
                known: host.map(|host| host.names_by_likeness(name)),
            }
        }
        (Errno::InUse, Step::Bind | Step::Listen) => in_use(attempt, evidence),
        (Errno::AccessDenied, Step::Bind) => access_denied(addr, evidence),
        (Errno::NotPermitted, Step::Bind | Step::Listen) if evidence.system == System::Linux => {
            Cause::RefusedByPolicy(policy(errno, evidence))
        }
        (Errno::AccessDenied | Errno::NotPermitted, _) => Cause::Denied { step },
        (_, Step::Bind) => address_cause(errno, attempt, evidence).unwrap_or(Cause::Other { step }),
        _ => Cause::Other { step },
    }
}

/// The cause of an error that is about the address alone.
fn address_cause(errno: Errno, attempt: &Attempt<'_>, evidence: &Evidence) -> Option<Cause> {
    let addr = attempt.addr;
    match (errno, addr) {
        (Errno::NotAvailable, _) => Some(not_available(attempt, evidence)),
        (Errno::NoDevice, SocketAddr::V6(v6)) => Some(Cause::NoSuchZone {
            ip: addr.ip(),
            index: v6.scope_id(),
            zones: evidence.names_with(addr.ip()).unwrap_or_default(),
        }),
        (Errno::Invalid, _) => invalid(addr, evidence),
        _ => None,
    }
}

fn not_available(attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let addr = attempt.addr;
    let ip = addr.ip();
    if are_ports_exhausted(addr, evidence) {
        return Cause::EphemeralPortsExhausted { range: None };
    }
    if evidence.available_now.contains(&addr) {
        return Cause::BecameAvailable { ip };
    }
    let Some(host) = &evidence.interfaces else {
        let is_listed = |ip| {
            let listed = evidence.ipv6_addrs.as_ref();
            listed.is_none_or(|listed| listed.keys().any(|(listed, _)| *listed == ip))
        };
        return Cause::AddressUnavailable {
            may_be_tentative: matches!(ip, IpAddr::V6(ip) if is_listed(ip)),
        };
    };
    if let Some(cause) = on_another_device(attempt, host, evidence) {
        return cause;
    }
    match BindTarget::classify_socket(addr, host) {
        BindTarget::Local(local) if ip.is_ipv6() => ipv6_not_ready(local, attempt, evidence),
        BindTarget::Local(local) => ipv4_not_bound(local, attempt, evidence),
        BindTarget::Loopback(_) => no_loopback(ip, host, evidence),
        BindTarget::Any(_) => Cause::Other { step: Step::Bind },
        BindTarget::Foreign(foreign) => {
            let before = attempt
                .before
                .map(|host| BindTarget::classify_socket(addr, host));
            if let Some(BindTarget::Local(local)) = before {
                return Cause::Gone(local);
            }
            match foreign.reason() {
                ForeignReason::OtherZone { .. } => Cause::OtherZone {
                    ip,
                    zones: evidence.names_with(ip).unwrap_or_default(),
                },
                _ if evidence.local_by_route.contains(&ip) => Cause::RoutedNotAssigned(foreign),
                _ => match evidence.ipv6_switch.of_all {
                    Some(interface) if ip.is_ipv6() => switched_off(interface),
                    _ => Cause::NotOnThisHost(foreign),
                },
            }
        }
    }
}

/// Elsewhere than on Linux and Windows the error is the same where the address is there, and no
/// port of it is left (`in_pcbbind` of XNU, `in_pcb_lport` of FreeBSD).
fn are_ports_exhausted(addr: SocketAddr, evidence: &Evidence) -> bool {
    let is_of_bsd = matches!(evidence.system, System::Darwin | System::Unix);
    let host = evidence.interfaces.as_ref();
    let is_listed = host.is_some_and(|host| host.has(addr.ip().to_canonical()));
    is_of_bsd && addr.port() == 0 && (addr.ip().is_unspecified() || is_listed)
}

/// The address is not looked for on the interface that has it: `::1` and a link-local
/// address without its zone are looked for on the device alone, and in a VRF its own.
fn on_another_device(
    attempt: &Attempt<'_>,
    host: &Interfaces,
    evidence: &Evidence,
) -> Option<Cause> {
    let name = evidence.device_of(attempt)?;
    let device = evidence.devices.get(name)?;
    let ip = attempt.addr.ip();
    let is_on_one_interface = match attempt.addr {
        SocketAddr::V4(_) => false,
        SocketAddr::V6(v6) if v6.scope_id() != 0 => return None,
        SocketAddr::V6(v6) => v6.ip().is_loopback() || v6.ip().is_unicast_link_local(),
    };
    let mut vrfs = [device.index, device.master].into_iter();
    let vrf = vrfs.find(|index| {
        let link = evidence.links.get(index);
        link.is_some_and(|link| link.kind == LinkKind::Vrf)
    });
    let vrf = vrf.or_else(|| (device.kind == LinkKind::Vrf).then_some(device.index));
    if !is_on_one_interface && vrf.is_none() {
        return None;
    }
    let mut owners: Vec<&Interface> = host.by_ip(ip).collect();
    if owners.is_empty() && ip.is_loopback() && ip.is_ipv4() {
        // All of 127.0.0.0/8 is the loopback interface's.
        owners = host.loopbacks();
    }
    let is_of_device = |owner: &&Interface| {
        let index = owner.index().unwrap_or(0);
        let master = evidence.links.get(&index).map_or(0, |link| link.master);
        let is_in_vrf = vrf.is_some_and(|vrf| [index, master].contains(&vrf));
        [index, master].contains(&device.index) || is_in_vrf && !is_on_one_interface
    };
    if owners.is_empty() || owners.iter().any(is_of_device) {
        return None;
    }
    Some(Cause::OnAnotherDevice {
        ip,
        device: name.to_owned(),
        is_by_cgroup: attempt.device.is_none(),
        is_by_zone: false,
        interfaces: owners.iter().map(|owner| owner.name().to_owned()).collect(),
    })
}

/// The zone of the address is another interface than the device, which bind(2) would replace.
fn zone_of_another_device(attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let host = evidence.interfaces.as_ref();
    let interface = host.and_then(|host| host.by_index(zone(attempt.addr)));
    Cause::OnAnotherDevice {
        ip: attempt.addr.ip(),
        device: attempt.device.unwrap_or_default().to_owned(),
        is_by_cgroup: false,
        is_by_zone: true,
        interfaces: interface
            .map(|one| one.name().to_owned())
            .into_iter()
            .collect(),
    }
}

/// Returns the kind of policy that refused a step which needs no privilege on Linux.
fn policy(errno: Errno, evidence: &Evidence) -> Policy {
    match (errno, evidence.has_seccomp_filter) {
        (Errno::NotPermitted, Some(false)) => Policy::Bpf,
        (Errno::NotPermitted, _) => Policy::Filter,
        (_, Some(false)) => Policy::SecurityModule,
        _ => Policy::SecurityModuleOrFilter,
    }
}

fn ipv6_not_ready(local: LocalAddr, attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let links = || local.interfaces().filter_map(Interface::index);
    let is = |wanted: AddrState| {
        links().any(|index| evidence.addr_state(local.ip(), index) == Some(wanted))
    };
    let link = links().find_map(|index| evidence.links.get(&index));
    if is(AddrState::Duplicate) {
        return Cause::Duplicate(local);
    }
    if is(AddrState::Tentative) {
        // It is looked for duplicates over a link that works only.
        return match link {
            Some(link) if !link.up => Cause::InterfaceDown(local),
            Some(link) if !link.running => Cause::NoCarrier(local),
            _ => Cause::Tentative(local),
        };
    }
    match vrf_of(&local, attempt, evidence) {
        Some(vrf) => Cause::InVrf { addr: local, vrf },
        None => Cause::NotReady(local),
    }
}

fn ipv4_not_bound(local: LocalAddr, attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    if let Some(vrf) = vrf_of(&local, attempt, evidence) {
        return Cause::InVrf { addr: local, vrf };
    }
    let is_known =
        |index: Option<u32>| index.is_some_and(|index| evidence.links.contains_key(&index));
    let are_known = local.interfaces().map(Interface::index).all(is_known);
    let is_unrouted = evidence.without_local_route.contains(&local.ip());
    // The interfaces are in no VRF, if known, and the address is looked up in none.
    if is_unrouted && are_known && evidence.is_without_device(attempt) {
        Cause::LocalRouteMissing(local)
    } else {
        Cause::NotTreatedAsLocal(local)
    }
}

/// The VRF that has an address, other than the one that the socket is bound to.
fn vrf_of(local: &LocalAddr, attempt: &Attempt<'_>, evidence: &Evidence) -> Option<String> {
    let device = evidence.device_of(attempt);
    let device = device.and_then(|name| evidence.devices.get(name));
    let device = device.map_or(0, |device| device.index);
    let links = local.interfaces().filter_map(Interface::index);
    links
        .filter_map(|index| evidence.links.get(&index))
        .filter_map(|link| match evidence.links.get(&link.master) {
            _ if link.kind == LinkKind::Vrf => Some(link),
            Some(master) if master.kind == LinkKind::Vrf => Some(master),
            _ => None,
        })
        .find(|vrf| vrf.index != device)
        .map(|vrf| vrf.name.clone())
}

fn no_loopback(ip: IpAddr, host: &Interfaces, evidence: &Evidence) -> Cause {
    let lo = host.loopbacks();
    if let (true, Some(interface)) = (ip.is_ipv6(), evidence.ipv6_switch.of_lo) {
        return switched_off(interface);
    }
    let is_running = match evidence.links.get(&LOOPBACK_INDEX) {
        Some(link) => link.up,
        None => lo.is_empty() || lo.iter().any(|lo| lo.is_running()),
    };
    if !is_running {
        return Cause::FamilyUnavailable {
            family: Family::of(ip),
            why: FamilyUnavailableReason::LoopbackDown,
        };
    }
    let addrs = lo.iter().flat_map(|lo| lo.addrs());
    let is_alike =
        |addr: &&InterfaceAddr| addr.ip().is_loopback() && addr.ip().is_ipv4() == ip.is_ipv4();
    let has: Vec<InterfaceAddr> = addrs.filter(is_alike).cloned().collect();
    if is_listed(ip, &has) && !evidence.without_local_route.contains(&ip) {
        return Cause::Other { step: Step::Bind };
    }
    Cause::LoopbackMissing { ip, has }
}

fn switched_off(interface: &'static str) -> Cause {
    Cause::FamilyUnavailable {
        family: Family::Ipv6,
        why: FamilyUnavailableReason::Sysctl { interface },
    }
}

fn invalid(addr: SocketAddr, evidence: &Evidence) -> Option<Cause> {
    let SocketAddr::V6(v6) = addr else {
        return None;
    };
    if is_link_scoped(*v6.ip()) && v6.scope_id() == 0 {
        let candidates = if v6.ip().is_multicast() {
            let host = evidence.interfaces.as_ref();
            host.map(|host| host.iter().map(|one| one.name().to_owned()).collect())
        } else {
            evidence.names_with(addr.ip())
        };
        return Some(Cause::ZoneRequired {
            ip: addr.ip(),
            candidates,
        });
    }
    None
}

fn family_unsupported(addr: SocketAddr, evidence: &Evidence) -> Cause {
    let (family, in_kernel) = match addr {
        SocketAddr::V4(_) => (Family::Ipv4, None),
        SocketAddr::V6(_) => (Family::Ipv6, evidence.has_ipv6),
    };
    Cause::FamilyUnavailable {
        family,
        why: match (in_kernel, evidence.has_seccomp_filter) {
            (Some(false), _) => FamilyUnavailableReason::NoKernelSupport,
            (Some(true), _) | (None, Some(true)) => FamilyUnavailableReason::Sandbox,
            (None, _) => FamilyUnavailableReason::Unknown,
        },
    }
}

fn in_use(attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let port = attempt.addr.port();
    if evidence.verdicts.get(&attempt.addr) == Some(&Errno::InUse) {
        return Cause::Other { step: Step::Bind };
    }
    if port == 0 {
        return Cause::EphemeralPortsExhausted {
            range: evidence.ephemeral_ports.clone(),
        };
    }
    if attempt.no_port_left {
        return range_in_use(attempt, evidence);
    }
    if let Some(handed) = attempt.handed_over {
        return Cause::HandedOver {
            ip: attempt.addr.ip(),
            handed: handed.addr,
            mismatch: handed.mismatch.clone(),
        };
    }
    let claim = evidence.claim(attempt);
    let holders = match evidence.sockets(attempt.protocol).held(claim, port) {
        Held::By(holders) => holders,
        Held::Unknown => Holders::default(),
        Held::ByTimeWait => return Cause::TimeWait { port },
        Held::ByNobodyVisible => return Cause::InUseByUnknown { port },
    };
    in_use_by(attempt, port, holders)
}

fn in_use_by(attempt: &Attempt<'_>, port: u16, holders: Holders) -> Cause {
    Cause::InUse {
        ip: attempt.addr.ip(),
        port,
        holders: holders.first,
        more: holders.more,
    }
}

/// Returns the conflict that the kernel would report next.
fn in_use_next(attempt: &Attempt<'_>, evidence: &Evidence) -> Option<Cause> {
    let (first, last) = attempt.ports;
    if first < last {
        let are_held = (first..=last).all(|port| is_held(attempt, port, evidence));
        return are_held.then(|| range_in_use(attempt, evidence));
    }
    let holders = holders_next(attempt, first, evidence);
    (!holders.first.is_empty()).then(|| in_use_by(attempt, first, holders))
}

/// Returns the holders of the ports of a range, one for each port.
fn range_in_use(attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let (first, last) = attempt.ports;
    let holder = |port| {
        holders_next(attempt, port, evidence)
            .first
            .into_iter()
            .next()
    };
    Cause::RangeInUse {
        first,
        last,
        holders: RangeHolders::count((first..=last).filter_map(holder)),
    }
}

/// Returns `true` if a socket will be in the way on `port`.
fn is_held(attempt: &Attempt<'_>, port: u16, evidence: &Evidence) -> bool {
    !holders_next(attempt, port, evidence).first.is_empty()
}

/// Finds what will be in the way on `port`.
fn holders_next(attempt: &Attempt<'_>, port: u16, evidence: &Evidence) -> Holders {
    // A port is shared with other sockets of the same user, and whether those set SO_REUSEPORT is
    // not reported.
    if attempt.shares_port || port == 0 {
        return Holders::default();
    }
    let sockets = evidence.sockets(attempt.protocol);
    sockets.foreseen(evidence.claim(attempt), port)
}

fn access_denied(addr: SocketAddr, evidence: &Evidence) -> Cause {
    let port = addr.port();
    let system = evidence.system;
    let denied = || Cause::Denied { step: Step::Bind };
    let policy = || match system {
        System::Linux => Cause::RefusedByPolicy(policy(Errno::AccessDenied, evidence)),
        _ => denied(),
    };
    let limit = evidence.first_unprivileged_port;
    match limit {
        _ if port == 0 => return policy(),
        Some(limit) if port >= limit => return policy(),
        // The wildcard has every port without a privilege (`in_pcbbind` of XNU).
        Some(_) if system == System::Darwin && addr.ip().is_unspecified() => return denied(),
        Some(_) => {}
        // The sysctl may be hidden (`ProcSubset=pid`); below its default the kernel asks for the
        // capability, unless an administrator has lowered it, and then it would not have refused
        // the port for that.
        None if system == System::Linux && port < DEFAULT_PORT_START => {}
        None => return denied(),
    }
    // Elsewhere only root may, and root is not refused.
    let elsewhere = (system != System::Linux).then_some(Capability::Missing);
    let capability = evidence.capability.or(elsewhere);
    match capability.and_then(lacking) {
        Some(privilege) => Cause::PrivilegedPort {
            port,
            limit,
            privilege,
        },
        None if capability == Some(Capability::Effective) => policy(),
        None => denied(),
    }
}

/// Returns what the process lacks for a privileged port, if that is known.
fn lacking(capability: Capability) -> Option<Privilege> {
    match capability {
        Capability::Missing => Some(Privilege::Missing),
        Capability::InAnotherUserNamespace => Some(Privilege::InAnotherUserNamespace),
        Capability::Effective | Capability::Uncertain => None,
    }
}

/// The missing privilege that the kernel did not come to speak of.
fn privileged(port: u16, evidence: &Evidence) -> Option<Cause> {
    let limit = evidence.first_unprivileged_port?;
    let privilege = lacking(evidence.capability?)?;
    (1..limit).contains(&port).then_some(Cause::PrivilegedPort {
        port,
        limit: Some(limit),
        privilege,
    })
}
