//! Why a socket could not be opened: [`Evidence`] read after the failure, and the
//! [`Cause`]s decided on it, which is pure.

// The causes.
mod cause;
// What they say.
mod words;
// The system's errors that tell them apart.
mod errno;
// What the host says after a failure.
mod evidence;
// What Linux tells over netlink.
mod netlink;
// Which sockets have a port.
mod sockets;
// What is odd about a socket that was opened.
mod note;
#[cfg(all(test, target_os = "linux"))] // its errors have the system's numbers
mod tests;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::interfaces::{Interface, InterfaceAddr, Interfaces};
use crate::listen::{Family, has_zone};
use crate::target::{BindTarget, Claim, ForeignReason, LocalAddr, Protocol};
pub use cause::{Cause, Policy, Privilege, Unavailable};
pub(crate) use errno::Errno;
use evidence::{Capability, DadState};
pub(crate) use evidence::{Evidence, Kernel};
pub(crate) use note::notes;
pub use note::{Note, WhyBound};
use sockets::Held;
pub use sockets::{Holder, HolderState};

/// How far the opening of a socket came.
///
/// # Examples
///
/// ```
/// use bindaddr::Step;
///
/// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
/// assert_eq!(err.step(), Step::Bind);
/// assert_eq!(err.step().to_string(), "binding the socket");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// Reading the text.
    Parse,
    /// Finding what the text names on this host.
    Resolve,
    /// Looking over the address and the options before the kernel is asked.
    Check,
    /// Making the socket, socket(2).
    Socket,
    /// Setting an option, setsockopt(2); its name is that of the method of
    /// [`BindOptions`](crate::BindOptions), or of the option where there is none.
    Option(&'static str),
    /// Giving the socket its address, bind(2).
    Bind,
    /// Starting to take connections, listen(2).
    Listen,
    /// Asking for the port that was given, getsockname(2).
    Name,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parse => "reading the text",
            Self::Resolve => "resolving the text",
            Self::Check => "looking the address over",
            Self::Socket => "making the socket",
            Self::Option(option) => return write!(f, "setting the option `{option}`"),
            Self::Bind => "binding the socket",
            Self::Listen => "listening",
            Self::Name => "asking for the port",
        })
    }
}

/// A socket that was wanted, and what came of it.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) protocol: Protocol,
    /// Its port is the one that was tried last.
    pub(crate) addr: SocketAddr,
    pub(crate) only_v6: bool,
    /// The interface it is to be bound to.
    pub(crate) device: Option<&'a str>,
    /// Whether others may have the port as well (`SO_REUSEPORT`).
    pub(crate) shares_port: bool,
    /// The first and the last port that were tried.
    pub(crate) tried: (u16, u16),
    /// The snapshot in which the address was found.
    pub(crate) before: Option<&'a Interfaces>,
    /// The step that the system refused, if it refused one.
    pub(crate) refused: Option<(Step, &'a io::Error)>,
}

impl Attempt<'_> {
    fn errno(&self) -> Option<(Step, Errno)> {
        let (step, error) = self.refused?;
        Some((step, Errno::of(error)))
    }

    /// What the socket claims, where `device` is the index of the interface it is bound to.
    pub(crate) fn claim(&self, device: u32) -> Claim {
        let device = match self.addr {
            // A zone is a device, and the last one set.
            SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id(),
            _ => device,
        };
        Claim::new(self.addr.ip(), self.only_v6, device)
    }
}

/// Decides on what is wrong with an attempt: the cause of the system's error
/// first, then what the system would have refused next.
///
/// There is at least one cause if the attempt was refused.
pub(crate) fn causes(attempt: &Attempt<'_>, evidence: &Evidence) -> Vec<Cause> {
    let mut causes = Vec::new();
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
        Some((Step::Bind, Errno::InUse) | (Step::Listen | Step::Name, _))
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
            limit: evidence.open_files,
        },
        (Errno::SystemDescriptors, _) => Cause::TooManyOpenFilesInSystem,
        (Errno::NoMemory, _) => Cause::OutOfMemory,
        (Errno::FamilyUnsupported, Step::Socket) => family_unsupported(addr, evidence),
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
        (Errno::AccessDenied, Step::Bind) => access_denied(addr.port(), evidence),
        (Errno::NotPermitted, Step::Bind | Step::Listen) => {
            Cause::RefusedByPolicy(match evidence.has_seccomp_filter {
                Some(false) => Policy::CgroupFilter,
                Some(true) | None => Policy::Filter,
            })
        }
        (Errno::AccessDenied | Errno::NotPermitted, _) => Cause::Denied,
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
    let Some(host) = &evidence.interfaces else {
        return Cause::AddressUnavailable;
    };
    if let Some(cause) = on_another_device(attempt, host) {
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
            match foreign.reason() {
                _ if matches!(before, Some(BindTarget::Local(_))) => match before {
                    Some(BindTarget::Local(local)) => Cause::Gone(local),
                    _ => Cause::NotOnThisHost(foreign),
                },
                ForeignReason::OtherZone { .. } => Cause::OtherZone {
                    ip,
                    zones: evidence.names_with(ip).unwrap_or_default(),
                },
                _ if evidence.local_by_route.contains(&ip) => Cause::RoutedNotAssigned(foreign),
                _ => match evidence.ipv6_switch {
                    // No interface can have any.
                    Some(interface) if ip.is_ipv6() && evidence.has_no_ipv6_address() => {
                        Cause::FamilyUnavailable {
                            family: Family::Ipv6,
                            why: Unavailable::Sysctl { interface },
                        }
                    }
                    _ => Cause::NotOnThisHost(foreign),
                },
            }
        }
    }
}

/// `::1` and a link-local address without its zone are looked for on the device alone.
fn on_another_device(attempt: &Attempt<'_>, host: &Interfaces) -> Option<Cause> {
    let (device, SocketAddr::V6(v6)) = (attempt.device?, attempt.addr) else {
        return None;
    };
    let is_of_one_interface = v6.ip().is_loopback() || v6.ip().is_unicast_link_local();
    let interfaces: Vec<String> = host
        .with_ip(attempt.addr.ip())
        .map(|interface| interface.name().to_owned())
        .collect();
    let is_on_others = !interfaces.is_empty() && !interfaces.iter().any(|name| name == device);
    (is_of_one_interface && v6.scope_id() == 0 && is_on_others).then(|| Cause::OnAnotherDevice {
        ip: attempt.addr.ip(),
        device: device.to_owned(),
        interfaces,
    })
}

fn ipv6_not_ready(local: LocalAddr, attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let links = || local.interfaces().filter_map(Interface::index);
    let is = |wanted: DadState| {
        links().any(|index| evidence.dad_state(local.ip(), index) == Some(wanted))
    };
    let link = links().find_map(|index| evidence.links.get(&index));
    if is(DadState::Failed) {
        return Cause::Duplicate(local);
    }
    if is(DadState::Tentative) {
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
    // The interfaces are in no VRF, if known; a device may be one, and the address looked up there.
    if are_known && attempt.device.is_none() {
        Cause::LocalRouteMissing(local)
    } else {
        Cause::ListedOnly(local)
    }
}

/// The VRF that has an address to which the socket is not bound.
fn vrf_of(local: &LocalAddr, attempt: &Attempt<'_>, evidence: &Evidence) -> Option<String> {
    local
        .interfaces()
        .filter_map(Interface::index)
        .filter_map(|index| evidence.links.get(&index))
        .find_map(|link| match evidence.links.get(&link.master) {
            _ if link.is_vrf => Some(link.name.clone()),
            Some(master) if master.is_vrf => Some(master.name.clone()),
            _ => None,
        })
        .filter(|vrf| attempt.device != Some(vrf))
}

fn no_loopback(ip: IpAddr, host: &Interfaces, evidence: &Evidence) -> Cause {
    let unavailable = |why| Cause::FamilyUnavailable {
        family: Family::Ipv6,
        why,
    };
    let lo = host.loopbacks();
    if ip.is_ipv6() {
        if let Some(interface @ ("all" | "lo")) = evidence.ipv6_switch {
            return unavailable(Unavailable::Sysctl { interface });
        }
        if lo.iter().any(|lo| !lo.is_running()) {
            return unavailable(Unavailable::LoopbackDown);
        }
    }
    let addrs = lo.iter().flat_map(|lo| lo.addrs());
    let is_alike =
        |addr: &&InterfaceAddr| addr.ip().is_loopback() && addr.ip().is_ipv4() == ip.is_ipv4();
    Cause::NoLoopback {
        ip,
        has: addrs.filter(is_alike).cloned().collect(),
    }
}

fn invalid(addr: SocketAddr, evidence: &Evidence) -> Option<Cause> {
    let SocketAddr::V6(v6) = addr else {
        return None;
    };
    if let Some(ip) = v6.ip().to_ipv4_mapped() {
        return Some(Cause::MappedOnV6Only { ip });
    }
    if has_zone(*v6.ip()) && v6.scope_id() == 0 {
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
            (Some(false), _) => Unavailable::NoKernelSupport,
            (Some(true), _) | (None, Some(true)) => Unavailable::Sandbox,
            (None, _) => Unavailable::Unknown,
        },
    }
}

fn in_use(attempt: &Attempt<'_>, evidence: &Evidence) -> Cause {
    let port = attempt.addr.port();
    if port == 0 {
        return Cause::EphemeralPortsExhausted {
            range: evidence.ephemeral_ports.clone(),
        };
    }
    let (first, last) = attempt.tried;
    if first < last {
        return Cause::RangeInUse { first, last };
    }
    let claim = attempt.claim(evidence.device);
    let holders = match evidence.sockets(attempt.protocol).held(claim, port) {
        Held::By(holders) => holders,
        Held::Unknown => Vec::new(),
        Held::ByTimeWait => return Cause::TimeWait { port },
        Held::ByNobodyVisible => return Cause::HeldInvisibly { port },
    };
    Cause::InUse {
        ip: attempt.addr.ip(),
        port,
        holders,
    }
}

/// Who will be in the way, where the kernel did not come to say so.
fn in_use_next(attempt: &Attempt<'_>, evidence: &Evidence) -> Option<Cause> {
    if attempt.shares_port || attempt.tried == (0, 0) {
        return None;
    }
    let (first, last) = attempt.tried;
    if first < last {
        let mut holders = (first..=last).map(|port| holders_next(attempt, port, evidence));
        let all_have_some = holders.all(|holders| !holders.is_empty());
        return all_have_some.then_some(Cause::RangeInUse { first, last });
    }
    let holders = holders_next(attempt, first, evidence);
    (!holders.is_empty()).then(|| Cause::InUse {
        ip: attempt.addr.ip(),
        port: first,
        holders,
    })
}

fn holders_next(attempt: &Attempt<'_>, port: u16, evidence: &Evidence) -> Vec<Holder> {
    let sockets = evidence.sockets(attempt.protocol);
    sockets.foreseen(attempt.claim(evidence.device), port, attempt.protocol)
}

/// The address with the first of its ports that nobody has, or the last one.
pub(crate) fn with_free_port(attempt: &Attempt<'_>, evidence: &Evidence) -> SocketAddr {
    let (first, last) = attempt.tried;
    let is_free = |port: &u16| *port == last || holders_next(attempt, *port, evidence).is_empty();
    let mut addr = attempt.addr;
    addr.set_port((first..=last).find(is_free).unwrap_or(last));
    addr
}

fn access_denied(port: u16, evidence: &Evidence) -> Cause {
    match evidence.first_unprivileged_port {
        Some(limit) if (1..limit).contains(&port) => match evidence.capability {
            Some(Capability::Effective) => Cause::RefusedByPolicy(Policy::SecurityModule),
            Some(Capability::Uncertain) => Cause::Denied,
            None if cfg!(any(target_os = "linux", target_os = "android")) => Cause::Denied,
            // Elsewhere only root may, and root is not refused.
            None => Cause::PrivilegedPort {
                port,
                limit,
                privilege: Privilege::Missing,
            },
            Some(Capability::Lacking(privilege)) => Cause::PrivilegedPort {
                port,
                limit,
                privilege,
            },
        },
        Some(_) => Cause::RefusedByPolicy(Policy::SecurityModule),
        None => Cause::Denied,
    }
}

/// The missing privilege that the kernel did not come to speak of.
fn privileged(port: u16, evidence: &Evidence) -> Option<Cause> {
    let limit = evidence.first_unprivileged_port?;
    match evidence.capability? {
        Capability::Lacking(privilege) if (1..limit).contains(&port) => {
            Some(Cause::PrivilegedPort {
                port,
                limit,
                privilege,
            })
        }
        _ => None,
    }
}
