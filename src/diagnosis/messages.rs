//! The sentence of a [`Cause`].

use std::fmt;
use std::net::IpAddr;

use super::cause::{Cause, FamilyUnavailableReason, Mismatch, Policy, Privilege, RangeHolders};
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
                write!(f, "{ip} was removed from {names} after the setting was resolved")
            }
            Self::RoutedNotAssigned(foreign) if foreign.ip().is_ipv4() => write!(
                f,
                "{} has a local route in a table other than `local`, the only one that bind(2) consults; add the route to `local`, or assign the address to an interface",
                foreign.ip()
            ),
            Self::RoutedNotAssigned(foreign) => write!(
                f,
                "{} has a local route, but bind(2) requires an IPv6 address to be on an interface; assign it to one",
                foreign.ip()
            ),
            Self::OtherZone { ip, zones } => {
                write!(f, "{ip} is on {}, but its zone names another interface", InterfaceList(zones))
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
                    write!(f, "the server binds this socket to the interface {device}, but ")?;
                    return match interfaces.first() {
                        Some(name) => write!(f, "the zone of {ip} is {}", shown(name)),
                        None => write!(f, "{ip} has another zone"),
                    };
                }
                if *is_by_cgroup {
                    write!(
                        f,
                        "the cgroup of this process binds its sockets to {device}, which does not have {ip}"
                    )?;
                } else {
                    write!(f, "the server binds this socket to the interface {device}, which does not have {ip}")?;
                }
                match interfaces[..] {
                    [] => Ok(()),
                    _ => write!(f, "; {ip} is on {}", InterfaceList(interfaces)),
                }
            }
            Self::Tentative(local) => write!(
                f,
                "{} is tentative (duplicate address detection is in progress); retry in a moment",
                On(local)
            ),
            Self::Duplicate(local) => write!(
                f,
                "{} failed duplicate address detection: another host on the link uses it; change the address on one of the two",
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
                "{} belongs to the VRF `{}`, but this socket does not",
                On(addr),
                shown(vrf)
            ),
            Self::LocalRouteMissing(local) => write!(
                f,
                "{} is on {}, but the routing table `local` has no usable route to it",
                local.ip(),
                Owners(local)
            ),
            Self::NotTreatedAsLocal(local) => {
                write!(f, "{} is on {}, but bind(2) does not accept it", local.ip(), Owners(local))
            }
            Self::LoopbackMissing { ip, has } if is_listed(*ip, has) => write!(
                f,
                "{ip} is on the loopback interface, but the routing table `local` has no usable route to it"
            ),
            Self::LoopbackMissing { ip, has } => {
                write!(f, "no interface of this host has {ip}")?;
                for (n, addr) in has.iter().take(3).enumerate() {
                    let joint = if n == 0 { "; the loopback interface has only" } else { " and" };
                    write!(f, "{joint} {addr}")?;
                }
                Ok(())
            }
            Self::AddressUnavailable { .. } => f.write_str(
                "this address cannot be bound; the reason is unknown, because this host's interfaces cannot be read",
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
                "this server's sockets are IPv6-only and cannot use an IPv4-mapped address; use {ip}"
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
            Self::HandedOver { ip, handed, mismatch } => {
                write!(f, "port {} was handed over to the server as {handed}", handed.port())?;
                match mismatch {
                    Mismatch::Addr(overlap) => write_overlap(f, *ip, *overlap),
                    Mismatch::Ipv6Only => f.write_str(", which is IPv6-only"),
                    Mismatch::DualStack => f.write_str(", which also accepts IPv4 clients"),
                    Mismatch::Device(Some(name)) => {
                        write!(f, " on the interface {} only", shown(name))
                    }
                    Mismatch::Device(None) => f.write_str(" on every interface"),
                }
            }
            Self::InUseByUnknown { port } => write!(
                f,
                "the kernel reports port {port} in use, but its socket is not listed (bound without listening, or closed since)"
            ),
            Self::TimeWait { port } => write!(
                f,
                "port {port} is in use, apparently only by connections in TIME_WAIT; retry in a minute"
            ),
            Self::RangeInUse {
                first,
                last,
                holders,
            } => {
                write!(f, "all ports {first}-{last} are in use")?;
                write_counts(f, holders)
            }
            Self::EmptyList => f.write_str("nothing to listen on: the list is empty"),
            Self::Conflict {
                ip,
                other,
                text,
                overlap,
            } => {
                write!(f, "conflicts with `{}` in the same list", shown(text))?;
                match overlap {
                    Overlap::SameAddress => write!(f, ": both bind {other}")?,
                    Overlap::Covers => write!(f, ", which already includes {ip}")?,
                    Overlap::CoversAsDualStack => {
                        write!(f, ", which is dual-stack and already includes {ip}")?;
                    }
                    Overlap::IsCovered => write!(f, ": {ip} already includes {}", other.ip())?,
                    Overlap::IsCoveredByDualStack => {
                        write!(f, ": the dual-stack {ip} already includes {}", other.ip())?;
                    }
                }
                f.write_str("; remove one of them")
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
                match limit {
                    Some(limit) => write!(f, "port {port} is privileged (below {limit})")?,
                    None => write!(
                        f,
                        "port {port} is probably privileged (below {DEFAULT_PORT_START} by default)"
                    )?,
                }
                let limit = limit.unwrap_or(DEFAULT_PORT_START);
                f.write_str(match privilege {
                    Privilege::Missing if HAS_CAPABILITIES => {
                        " and this process lacks CAP_NET_BIND_SERVICE"
                    }
                    Privilege::Missing => " and this process is not root",
                    Privilege::InAnotherUserNamespace => {
                        ", and this process has CAP_NET_BIND_SERVICE only in its own user namespace (rootless container?)"
                    }
                })?;
                write!(f, "; use port {limit} or higher")
            }
            Self::RefusedByPolicy(policy) => {
                write!(f, "denied by {}; running as root does not help", refuser(*policy))
            }
            Self::Denied { .. } => {
                f.write_str("permission denied: a missing privilege or a security policy")
            }
            Self::FamilyUnavailable { family, why } => write_unavailable(f, *family, *why),
            Self::TooManyOpenFiles { open } => {
                f.write_str("the limit on open files is reached")?;
                match open {
                    Some(open) => write!(f, "; this process has {open} open"),
                    None => Ok(()),
                }
            }
            Self::TooManyOpenFilesInSystem => {
                f.write_str("the system-wide limit on open files is reached")
            }
            Self::OutOfMemory => f.write_str("the kernel has no memory for the socket"),
            Self::NoSuchDevice { name, known } => {
                write!(f, "the server is configured to use the interface `{}`, which does not exist", shown(name))?;
                match known {
                    Some(known) => write!(f, "; {}", Listing(known)),
                    None => Ok(()),
                }
            }
            Self::InvalidDevice { name } => write!(
                f,
                "`{}` is not a valid interface name (1 to 15 bytes, without `/`, NUL or white space)",
                shown(name)
            ),
            Self::UnsupportedOption { option } => {
                write!(f, "the server sets the socket option `{option}`, which this operating system does not support")
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
    let lead_in = if are_certain {
        ": "
    } else {
        ", possibly because "
    };
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
            Who::Process(process) => write!(f, "{joint}{process} holds {count}")?,
            Who::CreatedBy(uid) => write!(f, "{joint}sockets created by uid {uid} hold {count}")?,
            Who::Kernel => write!(f, "{joint}the kernel holds {count}")?,
            Who::Unknown => write!(f, "{joint}unknown processes hold {count}")?,
        }
    }
    match counts.len().saturating_sub(SHOWN) + holders.more() {
        0 => Ok(()),
        more => write!(f, ", and {more} more hold others"),
    }
}

/// Writes why another socket is in the way of one on `ip`.
fn write_overlap(f: &mut fmt::Formatter<'_>, ip: IpAddr, overlap: Overlap) -> fmt::Result {
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    match overlap {
        Overlap::SameAddress => Ok(()),
        Overlap::Covers => write!(f, ", which includes every {family} address"),
        Overlap::CoversAsDualStack => f.write_str(", which is dual-stack and includes IPv4"),
        Overlap::IsCovered if ip.is_ipv6() => write!(f, ", which [{ip}] includes"),
        Overlap::IsCovered => write!(f, ", which {ip} includes"),
        Overlap::IsCoveredByDualStack => write!(f, ", which the dual-stack [{ip}] includes"),
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
            "{family} is disabled (`net.ipv6.conf.{interface}.disable_ipv6` is set)"
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
        Policy::Filter => "a seccomp filter or a BPF program",
        Policy::Bpf => "a BPF program (cgroup or LSM)",
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

/// Other systems let only root bind privileged ports.
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
