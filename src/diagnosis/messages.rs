//! The sentence of a [`Cause`].

use std::fmt;
use std::net::IpAddr;

use super::cause::{Cause, FamilyUnavailableReason, Policy, Privilege, RangeHolders};
use super::holder::{Holder, Who};
use super::is_listed;
use crate::addr::{Family, shown};
use crate::interfaces::Listing;
use crate::target::{GroupAddr, Overlap};

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
                    Some(ip) => write!(f, "; the nearest address here is {ip}"),
                    None => Ok(()),
                }
            }
            Self::BecameAvailable { ip } => {
                write!(f, "{ip} came to this host a moment too late; try again")
            }
            Self::Gone(local) => {
                write!(f, "{local} when it was looked up, is on no interface of this host any more")
            }
            Self::RoutedNotAssigned(foreign) if foreign.ip().is_ipv4() => write!(
                f,
                "only a route outside of the table `local` makes {} local, and the system binds by that table; add the address to an interface, or the route to the table",
                foreign.ip()
            ),
            Self::RoutedNotAssigned(foreign) => write!(
                f,
                "a route makes {} local, but no interface has it; add it to one, or use the option `freebind`",
                foreign.ip()
            ),
            Self::OtherZone { ip, zones } => {
                write!(f, "{ip} is in another zone here; write {}", Zoned(*ip, zones))
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
                    if let Some(name) = interfaces.first() {
                        write!(f, "{}, ", shown(name))?;
                    }
                    return write!(f, "not the device `{device}`");
                }
                if *is_by_cgroup {
                    write!(
                        f,
                        "the cgroup of this process binds its sockets to `{device}`, which does not have {ip}"
                    )?;
                } else {
                    write!(f, "the device `{device}` does not have {ip}")?;
                }
                for (n, name) in interfaces.iter().take(8).enumerate() {
                    let joint = if n == 0 { ", which is on " } else { " and " };
                    write!(f, "{joint}{}", shown(name))?;
                }
                Ok(())
            }
            Self::Tentative(local) => write!(
                f,
                "{local}, is tentative: the system still looks for a duplicate of it; try again in a moment"
            ),
            Self::Duplicate(local) => write!(
                f,
                "{local}, is not used, for another host on the link has it; give one of them another address"
            ),
            Self::InterfaceDown(local) => {
                write!(f, "{local}, cannot be bound while the interface is down")
            }
            Self::NoCarrier(local) => {
                write!(f, "{local}, cannot be bound while the interface has no carrier")
            }
            Self::NotReady(local) => {
                write!(f, "{local}, but the system does not bind it at present")
            }
            Self::InVrf { addr, vrf } => write!(
                f,
                "{addr}, belongs to the VRF `{vrf}`; bind to that `device`",
                vrf = shown(vrf)
            ),
            Self::LocalRouteMissing(local) => write!(
                f,
                "{local}, is not in the routing table `local`, by which the system binds"
            ),
            Self::NotTreatedAsLocal(local) => {
                write!(f, "{local}, but the system does not take it for one of its own")
            }
            Self::LoopbackMissing { ip, has } if is_listed(*ip, has) => write!(
                f,
                "{ip}, an address of the loopback interface, is not in the routing table `local`, by which the system binds"
            ),
            Self::LoopbackMissing { ip, has } => {
                write!(f, "this host has no {ip} at present")?;
                for (n, addr) in has.iter().take(3).enumerate() {
                    let joint = if n == 0 { "; there is" } else { " and" };
                    write!(f, "{joint} {addr}")?;
                }
                Ok(())
            }
            Self::AddressUnavailable { .. } => f.write_str(
                "the system does not bind this address, and its interfaces cannot be read to say why",
            ),
            Self::ZoneRequired { ip, candidates } => {
                f.write_str("a link-local address needs its zone")?;
                match candidates.as_deref() {
                    Some([]) => write!(f, ", and no interface of this host has {ip}"),
                    Some(candidates) => write!(f, "; write {}", Zoned(*ip, candidates)),
                    None => f.write_str("; name its interface, as in `[fe80::1%eth0]`"),
                }
            }
            Self::NoSuchZone { ip, index, zones } => {
                write!(f, "no interface has the index {index}")?;
                match zones[..] {
                    [] => Ok(()),
                    _ => write!(f, "; write {}", Zoned(*ip, zones)),
                }
            }
            Self::MappedOnV6Only { ip } => write!(
                f,
                "an IPv6-only socket accepts no IPv4-mapped address; the IPv4 address is `{ip}`"
            ),
            Self::Group(GroupAddr::Multicast) => f.write_str(
                "no TCP client can connect to a multicast address; write an address of this host",
            ),
            Self::Group(GroupAddr::Broadcast) => f.write_str(
                "no TCP client can connect to a broadcast address; write an address of this host",
            ),
            Self::InUse {
                ip,
                port,
                holders,
                more,
            } => write_in_use(f, *ip, *port, holders, *more),
            Self::InUseByUnknown { port } => write!(
                f,
                "port {port} is in use by a socket that the system does not show, or was a moment ago; one that is bound and does not listen is such a socket"
            ),
            Self::TimeWait { port } => write!(
                f,
                "port {port} is in use, and only connections in TIME_WAIT are seen on it, as an outgoing connection leaves, or a server that does not set SO_REUSEADDR; try again in a minute"
            ),
            Self::RangeInUse {
                first,
                last,
                holders,
            } => {
                write!(f, "other sockets have every port from {first} to {last}")?;
                write_counts(f, holders)
            }
            Self::EmptyList => f.write_str("there is nothing to listen on: the list is empty"),
            Self::Conflict {
                ip,
                other,
                text,
                overlap,
            } => {
                let text = shown(text);
                write!(f, "it cannot stand beside `{text}` of the same list")?;
                match overlap {
                    Overlap::SameAddress => write!(f, ", which has {other}"),
                    _ => write_overlap(f, *ip, other.ip(), *overlap),
                }
            }
            Self::EphemeralPortsExhausted { range: Some(range) } => write!(
                f,
                "the system has none left of the ports that it gives, {} to {}; write one outside of them",
                range.start(),
                range.end()
            ),
            Self::EphemeralPortsExhausted { range: None } => {
                f.write_str("the system has none left of the ports that it gives; write a port")
            }
            Self::PrivilegedPort {
                limit,
                privilege: Privilege::Missing,
                ..
            } => match limit {
                Some(limit) => write!(
                    f,
                    "ports below {limit} need a privilege that this process lacks; write a port from {limit} on, or grant it"
                ),
                None => write!(
                    f,
                    "ports below 1024 need a privilege by default, and this process lacks it; write a higher port, or grant it"
                ),
            },
            Self::PrivilegedPort {
                limit,
                privilege: Privilege::InAnotherUserNamespace,
                ..
            } => match limit {
                Some(limit) => write!(
                    f,
                    "ports below {limit} need a privilege that does not count in this process's user namespace, as in a rootless container; write a port from {limit} on"
                ),
                None => write!(
                    f,
                    "ports below 1024 need a privilege by default, which does not count in this process's user namespace, as in a rootless container; write a higher port"
                ),
            },
            Self::RefusedByPolicy(policy) => {
                f.write_str(match policy {
                    Policy::SecurityModule => {
                        "a security policy refuses it (Landlock, SELinux or AppArmor)"
                    }
                    Policy::SecurityModuleOrFilter => {
                        "a security policy refuses it (Landlock, SELinux, AppArmor or a seccomp filter)"
                    }
                    Policy::Filter => "a filter refuses it (seccomp, or a BPF program)",
                    Policy::Bpf => {
                        "a BPF program refuses it, of this process's cgroup or of a security module"
                    }
                })?;
                f.write_str("; root would not help")
            }
            Self::Denied { .. } => {
                f.write_str("permission denied: a missing privilege or a security policy")
            }
            Self::FamilyUnavailable { family, why } => write_unavailable(f, *family, *why),
            Self::TooManyOpenFiles { open } => {
                f.write_str("no file descriptor is left for the socket")?;
                match open {
                    Some(open) => write!(f, "; this process has {open} open"),
                    None => Ok(()),
                }
            }
            Self::TooManyOpenFilesInSystem => {
                f.write_str("the system has as many files open as it may have")
            }
            Self::OutOfMemory => f.write_str("the system has no memory for the socket"),
            Self::NoSuchDevice { name, known } => {
                write!(f, "no interface to bind to is called `{}`", shown(name))?;
                match known {
                    Some(known) => write!(f, "; {}", Listing(known)),
                    None => Ok(()),
                }
            }
            Self::InvalidDevice { name } => write!(
                f,
                "`{}` can be the name of no interface; it has 1 to 15 bytes, and no `/`, NUL or white space",
                shown(name)
            ),
            Self::UnsupportedOption { option } => {
                write!(f, "this platform does not have the option `{option}`")
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
        return write!(f, "another socket has port {port}");
    }
    // They are all certain, or none is.
    let by = if holders.iter().all(Holder::is_certain) {
        " by"
    } else {
        ", possibly by"
    };
    write!(f, "port {port} is in use{by} ")?;
    let (first, rest) = holders.split_at(holders.len().min(3));
    for (n, holder) in first.iter().enumerate() {
        let joint = if n == 0 { "" } else { ", and by " };
        write!(f, "{joint}{holder}")?;
        if holder.is_certain() {
            write_overlap(f, ip, holder.addr().ip(), holder.overlap())?;
        }
    }
    match rest.len() + more {
        0 => Ok(()),
        n => write!(f, ", and by {n} more"),
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

/// Writes why a socket on `other` is in the way of one on `ip`.
fn write_overlap(
    f: &mut fmt::Formatter<'_>,
    ip: IpAddr,
    other: IpAddr,
    overlap: Overlap,
) -> fmt::Result {
    let family = if ip.is_ipv4() { "IPv4" } else { "IPv6" };
    match overlap {
        Overlap::SameAddress => Ok(()),
        Overlap::Covers => write!(f, ", which covers every {family} address"),
        Overlap::CoversAsDualStack => f.write_str(", which is dual-stack and covers IPv4, too"),
        Overlap::IsCovered => write!(f, ", and `{ip}` covers {other}"),
        Overlap::IsCoveredByDualStack => {
            write!(f, ", and the dual-stack `{ip}` covers IPv4, too")
        }
    }
}

fn write_unavailable(
    f: &mut fmt::Formatter<'_>,
    family: Family,
    why: FamilyUnavailableReason,
) -> fmt::Result {
    match why {
        FamilyUnavailableReason::NoKernelSupport => {
            write!(f, "the kernel of this system has no {family}")
        }
        FamilyUnavailableReason::Sysctl { interface } => write!(
            f,
            "{family} is switched off by `net.ipv6.conf.{interface}.disable_ipv6`"
        ),
        FamilyUnavailableReason::LoopbackDown => f.write_str("the loopback interface is down"),
        FamilyUnavailableReason::Sandbox => {
            write!(f, "a sandbox keeps this process from {family} sockets")
        }
        FamilyUnavailableReason::Refused(policy) => {
            write!(
                f,
                "{} refuses {family} sockets to this process",
                refuser(policy)
            )
        }
        FamilyUnavailableReason::Unknown => write!(f, "this system has no {family}"),
    }
}

/// Names the mechanism that refused a socket.
fn refuser(policy: Policy) -> &'static str {
    match policy {
        Policy::SecurityModule => "a security module (SELinux, AppArmor or another)",
        Policy::SecurityModuleOrFilter => {
            "a security module (SELinux, AppArmor or another) or a seccomp filter"
        }
        Policy::Filter => "a filter (seccomp, or a BPF program)",
        Policy::Bpf => "a BPF program of this process's cgroup, or of a security module,",
    }
}

/// A link-local address in each of its zones.
struct Zoned<'a>(IpAddr, &'a [String]);

impl fmt::Display for Zoned<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(ip, zones) = self;
        for (n, zone) in zones.iter().take(8).enumerate() {
            let joint = if n == 0 { "" } else { " or " };
            write!(f, "{joint}`[{ip}%{}]`", shown(zone))?;
        }
        Ok(())
    }
}
