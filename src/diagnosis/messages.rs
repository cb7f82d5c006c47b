//! The sentence of a [`Cause`].

use std::fmt;
use std::net::IpAddr;

use super::cause::{Cause, FamilyUnavailableReason, Policy, Privilege, RangeHolders};
use super::holder::{Holder, Who};
use super::is_listed;
use crate::addr::{Family, shown};
use crate::interfaces::{Interface, Listing};
use crate::sys::DEFAULT_PORT_START;
use crate::target::{GroupAddr, LocalAddr, Overlap};

impl fmt::Display for Cause {
    #[allow(clippy::too_many_lines)] // one arm a sentence
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidText(err) => err.fmt(f),
            Self::Unresolved(kind) => kind.fmt(f),
            Self::NotOnThisHost(foreign) => {
                write!(f, "no interface of this host has {}; ", foreign.ip())?;
                write!(f, "{}", foreign.reason())?;
                match foreign.nearest().first() {
                    Some(ip) => write!(f, "; closest local address: {ip}"),
                    None => Ok(()),
                }
            }
            Self::BecameAvailable { ip } => {
                write!(f, "{ip} was assigned to this host while binding; retry")
            }
            Self::Gone(local) => {
                let (ip, names) = (local.ip(), Owners(local));
                write!(f, "no interface has {ip} any more; it was on {names} when the setting was resolved")
            }
            Self::RoutedNotAssigned(foreign) if foreign.ip().is_ipv4() => write!(
                f,
                "{} is local only by a route outside the routing table `local`, which bind(2) ignores; assign the address to an interface, or add the route to that table",
                foreign.ip()
            ),
            Self::RoutedNotAssigned(foreign) => write!(
                f,
                "{} is local by a route, but no interface has it; assign it to an interface",
                foreign.ip()
            ),
            Self::OtherZone { ip, zones } => {
                write!(f, "{ip} is on {}, not on the interface of its zone", InterfaceList(zones))
            }
            Self::OnAnotherDevice {
                ip,
                device,
                is_by_cgroup,
                is_by_zone,
                interfaces,
            } => {
                let device = shown(device);
                if *is_by_zone {
                    write!(f, "the zone of {ip} is ")?;
                    return match interfaces.first() {
                        Some(name) => write!(f, "{}, but the socket is bound to `{device}`", shown(name)),
                        None => write!(f, "not `{device}`, which the socket is bound to"),
                    };
                }
                if *is_by_cgroup {
                    write!(
                        f,
                        "the cgroup of this process binds its sockets to `{device}`, which does not have {ip}"
                    )?;
                } else {
                    write!(f, "the device `{device}` does not have {ip}")?;
                }
                match interfaces[..] {
                    [] => Ok(()),
                    _ => write!(f, ", which is on {}", InterfaceList(interfaces)),
                }
            }
            Self::Tentative(local) => write!(
                f,
                "{} is tentative (duplicate address detection is in progress); retry in a moment",
                On(local)
            ),
            Self::Duplicate(local) => write!(
                f,
                "{} is a duplicate: another host on the link has it; assign another address to one of them",
                On(local)
            ),
            Self::InterfaceDown(local) => {
                write!(f, "{} cannot be bound while {} is down", local.ip(), Owners(local))
            }
            Self::NoCarrier(local) => {
                write!(f, "{} cannot be bound while {} has no carrier", local.ip(), Owners(local))
            }
            Self::NotReady(local) => {
                write!(f, "the kernel does not bind {} at present, although {} has it", local.ip(), Owners(local))
            }
            Self::InVrf { addr, vrf } => write!(
                f,
                "{} belongs to the VRF `{}`, and a socket outside of it cannot be bound to the address",
                On(addr),
                shown(vrf)
            ),
            Self::LocalRouteMissing(local) => write!(
                f,
                "{} is missing from the routing table `local`, which decides what bind(2) accepts",
                On(local)
            ),
            Self::NotTreatedAsLocal(local) => {
                write!(f, "{} is on {}, but the kernel does not treat it as local", local.ip(), Owners(local))
            }
            Self::LoopbackMissing { ip, has } if is_listed(*ip, has) => write!(
                f,
                "{ip} on the loopback interface is missing from the routing table `local`, which decides what bind(2) accepts"
            ),
            Self::LoopbackMissing { ip, has } => {
                write!(f, "this host has no {ip} at present")?;
                for (n, addr) in has.iter().take(3).enumerate() {
                    let joint = if n == 0 { "; it has" } else { " and" };
                    write!(f, "{joint} {addr}")?;
                }
                Ok(())
            }
            Self::AddressUnavailable { .. } => f.write_str(
                "the kernel does not bind this address; the reason is unknown, because the interfaces cannot be read",
            ),
            Self::ZoneRequired { ip, candidates } => {
                f.write_str("a link-local address needs a zone")?;
                match candidates.as_deref() {
                    Some([]) => write!(f, ", and no interface of this host has {ip}"),
                    Some(candidates) => write!(f, "; {ip} is on {}", InterfaceList(candidates)),
                    None => f.write_str(", as in `[fe80::1%eth0]`"),
                }
            }
            Self::NoSuchZone { ip, index, zones } => {
                write!(f, "no interface has index {index}")?;
                match zones[..] {
                    [] => Ok(()),
                    _ => write!(f, "; {ip} is on {}", InterfaceList(zones)),
                }
            }
            Self::MappedOnV6Only { ip } => write!(
                f,
                "an IPv6-only socket cannot be bound to an IPv4-mapped address; the IPv4 address is {ip}"
            ),
            Self::Group(GroupAddr::Multicast) => f.write_str(
                "no TCP client can connect to a multicast address; use an address of this host",
            ),
            Self::Group(GroupAddr::Broadcast) => f.write_str(
                "no TCP client can connect to a broadcast address; use an address of this host",
            ),
            Self::InUse {
                ip,
                port,
                holders,
                more,
            } => write_in_use(f, *ip, *port, holders, *more),
            Self::InUseByUnknown { port } => write!(
                f,
                "port {port} is in use by a socket that the kernel does not list, such as one that is bound and does not listen"
            ),
            Self::TimeWait { port } => write!(
                f,
                "port {port} is in use, and only connections in TIME_WAIT are seen on it; retry in a minute"
            ),
            Self::RangeInUse {
                first,
                last,
                holders,
            } => {
                write!(f, "every port from {first} to {last} is in use")?;
                write_counts(f, holders)
            }
            Self::EmptyList => f.write_str("nothing to listen on: the list is empty"),
            Self::Conflict {
                ip,
                other,
                text,
                overlap,
            } => {
                let text = shown(text);
                write!(f, "conflicts with `{text}` in the same list")?;
                match overlap {
                    Overlap::SameAddress => write!(f, ", which has {other}"),
                    _ => write_overlap(f, *ip, *overlap),
                }
            }
            Self::EphemeralPortsExhausted { range: Some(range) } => write!(
                f,
                "no ephemeral port is free (range {}-{}); set a port outside the range",
                range.start(),
                range.end()
            ),
            Self::EphemeralPortsExhausted { range: None } => {
                f.write_str("no ephemeral port is free; set a port")
            }
            Self::PrivilegedPort {
                port,
                limit,
                privilege,
            } => {
                // If it cannot be read, the default of Linux is named.
                let (by_default, limit) = match limit {
                    Some(limit) => ("", *limit),
                    None => (" by default", DEFAULT_PORT_START),
                };
                write!(f, "port {port} is privileged{by_default} (below {limit})")?;
                f.write_str(match privilege {
                    Privilege::Missing if HAS_CAPABILITIES => {
                        " and this process lacks CAP_NET_BIND_SERVICE"
                    }
                    Privilege::Missing => " and this process is not root",
                    Privilege::InAnotherUserNamespace => {
                        ", and CAP_NET_BIND_SERVICE of this process's user namespace does not count, as in a rootless container"
                    }
                })?;
                write!(f, "; use port {limit} or higher")
            }
            Self::RefusedByPolicy(policy) => {
                write!(f, "denied by {}, even for root", refuser(*policy))
            }
            Self::Denied { .. } => {
                f.write_str("permission denied: a missing privilege or a security policy")
            }
            Self::FamilyUnavailable { family, why } => write_unavailable(f, *family, *why),
            Self::TooManyOpenFiles { open } => {
                f.write_str("no file descriptor is left")?;
                match open {
                    Some(open) => write!(f, "; this process has {open} open"),
                    None => Ok(()),
                }
            }
            Self::TooManyOpenFilesInSystem => {
                f.write_str("the system-wide limit of open files is reached")
            }
            Self::OutOfMemory => f.write_str("the kernel has no memory for the socket"),
            Self::NoSuchDevice { name, known } => {
                write!(f, "no interface is called `{}`", shown(name))?;
                match known {
                    Some(known) => write!(f, "; {}", Listing(known)),
                    None => Ok(()),
                }
            }
            Self::InvalidDevice { name } => write!(
                f,
                "`{}` cannot be the name of an interface, which has 1 to 15 bytes and no `/`, NUL or white space",
                shown(name)
            ),
            Self::UnsupportedOption { option } => {
                write!(f, "this platform does not support the option `{option}`")
            }
            Self::Other { step } => write!(f, "{step} failed"),
        }
    }
}

fn write_in_use(
    f: &mut fmt::Formatter<'_>,
    ip: IpAddr,
    port: u16,
    holders: &[Holder],
    more: usize,
) -> fmt::Result {
    if holders.is_empty() {
        return write!(f, "port {port} is in use by another socket");
    }
    // They are all certain, or none is.
    let are_certain = holders.iter().all(Holder::is_certain);
    let lead_in = if are_certain { ": " } else { "; possibly " };
    write!(f, "port {port} is in use{lead_in}")?;
    let (first, rest) = holders.split_at(holders.len().min(3));
    for (n, holder) in first.iter().enumerate() {
        let joint = if n == 0 { "" } else { "; " };
        write!(f, "{joint}{holder}")?;
        if are_certain {
            write_overlap(f, ip, holder.overlap())?;
        }
    }
    match rest.len() + more {
        0 => Ok(()),
        n => write!(f, "; and {n} more"),
    }
}

/// Writes how many ports each has, the one with the most first.
fn write_counts(f: &mut fmt::Formatter<'_>, holders: &RangeHolders) -> fmt::Result {
    const SHOWN: usize = 3;
    let counts = holders.counts();
    for (n, (holder, count)) in counts.iter().take(SHOWN).enumerate() {
        let joint = if n == 0 { ": " } else { ", " };
        match holder.who() {
            Who::Process(process) => write!(f, "{joint}{process} has {count}")?,
            Who::CreatedBy(uid) => write!(f, "{joint}uid {uid} created {count}")?,
            Who::Unknown => write!(f, "{joint}{count} by unknown processes")?,
        }
    }
    match counts.len().saturating_sub(SHOWN) + holders.more() {
        0 => Ok(()),
        more => write!(f, ", and {more} more have others"),
    }
}

/// Writes why another socket is in the way of one on `ip`.
fn write_overlap(f: &mut fmt::Formatter<'_>, ip: IpAddr, overlap: Overlap) -> fmt::Result {
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    match overlap {
        Overlap::SameAddress => Ok(()),
        Overlap::Covers => write!(f, ", which includes every {family} address"),
        Overlap::CoversAsDualStack => f.write_str(", which is dual-stack and includes IPv4"),
        Overlap::IsCovered => write!(f, ", which {ip} includes"),
        Overlap::IsCoveredByDualStack => write!(f, ", which the dual-stack {ip} includes"),
    }
}

fn write_unavailable(
    f: &mut fmt::Formatter<'_>,
    family: Family,
    why: FamilyUnavailableReason,
) -> fmt::Result {
    match why {
        FamilyUnavailableReason::NoKernelSupport => {
            write!(f, "the kernel does not support {family}")
        }
        FamilyUnavailableReason::Sysctl { interface } => write!(
            f,
            "{family} is disabled by `net.ipv6.conf.{interface}.disable_ipv6`"
        ),
        FamilyUnavailableReason::LoopbackDown => f.write_str("the loopback interface is down"),
        FamilyUnavailableReason::Sandbox => {
            write!(f, "a sandbox denies {family} sockets to this process")
        }
        FamilyUnavailableReason::Refused(policy) => {
            let refuser = refuser_of_family(policy);
            write!(f, "{refuser} denies {family} sockets to this process")
        }
        FamilyUnavailableReason::Unknown => write!(f, "this system has no {family}"),
    }
}

/// Names the mechanism that refused bind(2) or listen(2).
fn refuser(policy: Policy) -> &'static str {
    match policy {
        Policy::SecurityModule => "a security module (Landlock, SELinux or AppArmor)",
        Policy::SecurityModuleOrFilter => {
            "a security module (Landlock, SELinux or AppArmor) or a seccomp filter"
        }
        Policy::Filter => "a filter (seccomp or BPF)",
        Policy::Bpf => "a BPF program (of this process's cgroup or of a security module)",
    }
}

/// Names the mechanism that refused socket(2), which Landlock does not.
fn refuser_of_family(policy: Policy) -> &'static str {
    match policy {
        Policy::SecurityModule => "a security module (SELinux or AppArmor)",
        Policy::SecurityModuleOrFilter => {
            "a security module (SELinux or AppArmor) or a seccomp filter"
        }
        Policy::Filter | Policy::Bpf => refuser(policy),
    }
}

/// Other systems let root bind every port, and nobody else a privileged one.
const HAS_CAPABILITIES: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The interfaces that have an address.
struct Owners<'a>(&'a LocalAddr);

impl fmt::Display for Owners<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.0.interfaces().map(Interface::name))
    }
}

/// An address and the interfaces that have it.
struct On<'a>(&'a LocalAddr);

impl fmt::Display for On<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {}", self.0.ip(), Owners(self.0))
    }
}

/// The names of interfaces.
struct InterfaceList<'a>(&'a [String]);

impl fmt::Display for InterfaceList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self.0.iter().map(String::as_str))
    }
}

fn write_list<'a>(f: &mut fmt::Formatter<'_>, names: impl Iterator<Item = &'a str>) -> fmt::Result {
    for (n, name) in names.take(8).enumerate() {
        let joint = if n == 0 { "" } else { " and " };
        write!(f, "{joint}{}", shown(name))?;
    }
    Ok(())
}
