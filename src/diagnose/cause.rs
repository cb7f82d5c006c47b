//! Why a socket could not be opened, in words: [`Cause`].

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::Step;
use super::sockets::Holder;
use crate::interfaces::{InterfaceAddr, ThereAre};
use crate::listen::{Family, ParseError, shown};
use crate::resolve::ResolveErrorKind;
use crate::target::{ForeignAddr, ForeignReason, LocalAddr, Overlap};

/// Why a socket could not be opened.
///
/// Each is named on evidence only; what nothing tells is [`Other`](Self::Other).
/// [The page about the diagnosis](crate::diagnosis) has each with what std says of it.
///
/// The [`Display`](fmt::Display) form is a clause that says what is wrong and what would mend it.
///
/// # Examples
///
/// ```
/// use bindaddr::Cause;
///
/// let err = bindaddr::bind("198.51.100.1:0").unwrap_err();
/// match err.cause() {
///     Cause::NotOnThisHost(addr) => println!("{}: {}", addr.ip(), addr.reason()),
///     Cause::InUse { port, .. } => println!("{port} is taken"),
///     other => println!("{other}"),
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Cause {
    /// The text is no listen address.
    Text(ParseError),
    /// The text names nothing on this host.
    Unresolved(ResolveErrorKind),
    /// No interface of this host has the address (`EADDRNOTAVAIL`).
    NotOnThisHost(ForeignAddr),
    /// An interface had the address when the setting was resolved, and none has it any more
    /// (`EADDRNOTAVAIL`). It is told as it was then.
    Gone(LocalAddr),
    /// A route makes the address local, but no interface has it (`EADDRNOTAVAIL`).
    ///
    /// IPv6 binds by the list of addresses, and IPv4 by the routing table `local`
    /// only, whatever other tables say.
    RoutedNotAssigned(ForeignAddr),
    /// The link-local address is on this host, but not in that zone (`EADDRNOTAVAIL`).
    #[non_exhaustive]
    OtherZone {
        /// The address.
        ip: IpAddr,
        /// The names of the interfaces that have it.
        zones: Vec<String>,
    },
    /// The IPv6 address is that of another interface than the
    /// [`device`](crate::BindOptions::device) (`EADDRNOTAVAIL`), which matters to `::1` and to
    /// link-local addresses.
    #[non_exhaustive]
    OnAnotherDevice {
        /// The address.
        ip: IpAddr,
        /// The device, as it was set.
        device: String,
        /// The names of the interfaces that have the address.
        interfaces: Vec<String>,
    },
    /// The IPv6 address is tentative: the system still looks for a duplicate of it on the
    /// link (`EADDRNOTAVAIL`; RFC 4862, section 5.4).
    Tentative(LocalAddr),
    /// The IPv6 address is not used, for another host on the link has it, too
    /// (`EADDRNOTAVAIL`; RFC 4862, section 5.4.5).
    Duplicate(LocalAddr),
    /// The interface of the IPv6 address is down (`EADDRNOTAVAIL`).
    InterfaceDown(LocalAddr),
    /// The interface of the IPv6 address has no carrier, so that the system cannot look for
    /// duplicates (`EADDRNOTAVAIL`).
    NoCarrier(LocalAddr),
    /// An interface has the IPv6 address, and nothing tells why the system does not bind it
    /// (`EADDRNOTAVAIL`).
    NotReady(LocalAddr),
    /// The interface of the address is part of a VRF, and only sockets bound to that device
    /// can have it (`EADDRNOTAVAIL`).
    #[non_exhaustive]
    InVrf {
        /// The address.
        addr: LocalAddr,
        /// The name of the VRF's device.
        vrf: String,
    },
    /// An interface has the IPv4 address, but the routing table `local` does not
    /// (`EADDRNOTAVAIL`).
    LocalRouteMissing(LocalAddr),
    /// An interface has the IPv4 address, and nothing tells why the system does not bind it
    /// (`EADDRNOTAVAIL`).
    ListedOnly(LocalAddr),
    /// No interface has the loopback address (`EADDRNOTAVAIL`).
    #[non_exhaustive]
    NoLoopback {
        /// The address.
        ip: IpAddr,
        /// The loopback addresses of its family that there are.
        has: Vec<InterfaceAddr>,
    },
    /// The system does not bind the address (`EADDRNOTAVAIL`), and its
    /// interfaces cannot be read to say why.
    AddressUnavailable,
    /// A link-local address without its zone (`EINVAL`).
    #[non_exhaustive]
    ZoneRequired {
        /// The address.
        ip: IpAddr,
        /// The names of the interfaces it can mean, where they could be read.
        candidates: Option<Vec<String>>,
    },
    /// A zone that is the index of no interface (`ENODEV`).
    #[non_exhaustive]
    NoSuchZone {
        /// The address.
        ip: IpAddr,
        /// The index.
        index: u32,
        /// The names of the interfaces that have the address.
        zones: Vec<String>,
    },
    /// An IPv4-mapped address for a socket that is to be IPv6-only (`EINVAL`).
    #[non_exhaustive]
    MappedOnV6Only {
        /// The IPv4 address.
        ip: Ipv4Addr,
    },
    /// A multicast address, to which no TCP client can connect.
    Multicast,
    /// A broadcast address, to which no TCP client can connect. Linux would bind it.
    Broadcast,
    /// Other sockets have the port (`EADDRINUSE`).
    #[non_exhaustive]
    InUse {
        /// The address that was wanted.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// Who has it; empty where that could not be read.
        holders: Vec<Holder>,
    },
    /// The port is in use (`EADDRINUSE`) by no socket that can be seen: by one that is bound
    /// and does not listen, which newer kernels only show, or by one that was closed since.
    #[non_exhaustive]
    HeldInvisibly {
        /// The port.
        port: u16,
    },
    /// Only connections in `TIME_WAIT` have the port (`EADDRINUSE`), of a server that did not
    /// set `SO_REUSEADDR`.
    #[non_exhaustive]
    TimeWait {
        /// The port.
        port: u16,
    },
    /// Other sockets have every port of the range (`EADDRINUSE`).
    #[non_exhaustive]
    RangeInUse {
        /// The first port of the range.
        first: u16,
        /// The last one.
        last: u16,
    },
    /// Another setting of the list claims the port.
    #[non_exhaustive]
    Conflict {
        /// The address of this setting.
        ip: IpAddr,
        /// The address of the other one.
        other: SocketAddr,
        /// The other setting, as it was written.
        text: String,
        /// Why both cannot be.
        overlap: Overlap,
    },
    /// No ephemeral port is free on the address (`EADDRINUSE` for port 0).
    #[non_exhaustive]
    EphemeralPortsExhausted {
        /// The ephemeral ports, where they could be read (`ip_local_port_range`, ip(7)).
        range: Option<RangeInclusive<u16>>,
    },
    /// The port is below the limit for unprivileged processes (`EACCES`).
    #[non_exhaustive]
    PrivilegedPort {
        /// The port.
        port: u16,
        /// The first port that needs no privilege.
        limit: u16,
        /// What the process lacks.
        privilege: Privilege,
    },
    /// A policy of the system refuses it (`EPERM`, or `EACCES` on a port that needs no
    /// privilege), so that root would not help.
    RefusedByPolicy(Policy),
    /// The system denies it (`EACCES`, `EPERM`), and does not tell whether for
    /// want of a privilege or by a policy.
    Denied,
    /// The system has no sockets of the family (`EAFNOSUPPORT`), or no address of it.
    #[non_exhaustive]
    FamilyUnavailable {
        /// The family.
        family: Family,
        /// Why it is not to be had.
        why: Unavailable,
    },
    /// The process has as many descriptors open as it may (`EMFILE`).
    #[non_exhaustive]
    TooManyOpenFiles {
        /// How many that is, where it could be read (`RLIMIT_NOFILE`, getrlimit(2)).
        limit: Option<u64>,
    },
    /// The system has as many files open as it may (`ENFILE`; `fs.file-max`, proc(5)).
    TooManyOpenFilesInSystem,
    /// The system has no memory for the socket (`ENOBUFS`, `ENOMEM`).
    OutOfMemory,
    /// The interface of [`BindOptions::device`](crate::BindOptions::device) is not there (`ENODEV`).
    #[non_exhaustive]
    NoSuchDevice {
        /// The name, as it was set.
        name: String,
        /// The names there are, the likeliest one first, where they could be read.
        known: Option<Vec<String>>,
    },
    /// No interface can have the name that was set by
    /// [`BindOptions::device`](crate::BindOptions::device).
    #[non_exhaustive]
    InvalidDevice {
        /// The name, as it was set.
        name: String,
    },
    /// The platform does not have the option.
    #[non_exhaustive]
    UnsupportedOption {
        /// The method of [`BindOptions`](crate::BindOptions).
        option: &'static str,
    },
    /// Nothing known here explains the system's error.
    #[non_exhaustive]
    Other {
        /// How far it came.
        step: Step,
    },
}

/// What a process lacks for a [privileged port](Cause::PrivilegedPort).
///
/// # Examples
///
/// ```
/// use bindaddr::{Cause, Privilege};
///
/// fn would_a_capability_help(cause: &Cause) -> bool {
///     matches!(cause, Cause::PrivilegedPort { privilege: Privilege::Missing, .. })
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Privilege {
    /// It has none: on Linux `CAP_NET_BIND_SERVICE` (capabilities(7)), elsewhere root.
    Missing,
    /// It has `CAP_NET_BIND_SERVICE`, but in a user namespace that does not own the network
    /// namespace, where it counts for nothing (user_namespaces(7)).
    InAnotherUserNamespace,
}

/// What [refuses](Cause::RefusedByPolicy) a socket.
///
/// # Examples
///
/// ```
/// use bindaddr::{Cause, Policy};
///
/// let cause = Cause::RefusedByPolicy(Policy::SecurityModule);
/// assert_eq!(
///     cause.to_string(),
///     "a security policy refuses it (Landlock, SELinux or AppArmor); root would not help",
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// A security module: Landlock, SELinux or AppArmor (`EACCES`).
    SecurityModule,
    /// A seccomp filter on the process, or a BPF program of its cgroup (`EPERM`).
    Filter,
    /// A BPF program of the process's cgroup (`EPERM`): it has no seccomp filter.
    CgroupFilter,
}

/// Why a [family is not to be had](Cause::FamilyUnavailable).
///
/// # Examples
///
/// ```
/// use bindaddr::{Cause, Unavailable};
///
/// match bindaddr::bind("[::1]:0") {
///     Ok(_) => println!("there is IPv6"),
///     Err(err) => match err.cause() {
///         Cause::FamilyUnavailable { why: Unavailable::Sysctl { interface }, .. } => {
///             println!("net.ipv6.conf.{interface}.disable_ipv6 is 1");
///         }
///         cause => println!("{cause}"),
///     },
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unavailable {
    /// The kernel does not have it: it was built or started without.
    NoKernelSupport,
    /// `net.ipv6.conf.*.disable_ipv6` switches it off (ip-sysctl).
    #[non_exhaustive]
    Sysctl {
        /// The `*`: `all`, `default` or `lo`.
        interface: &'static str,
    },
    /// The loopback interface is down.
    LoopbackDown,
    /// The kernel has it, and refuses this process: a sandbox, such as systemd's
    /// `RestrictAddressFamilies=`.
    Sandbox,
    /// Nothing tells why.
    Unknown,
}

impl fmt::Display for Cause {
    #[allow(clippy::too_many_lines)] // one arm a sentence
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(err) => err.fmt(f),
            Self::Unresolved(kind) => kind.fmt(f),
            Self::NotOnThisHost(foreign) => {
                write!(f, "no interface of this host has {}; ", foreign.ip())?;
                write!(f, "{}", foreign.reason())?;
                match foreign.nearest().first() {
                    Some(ip) => write!(f, "; the nearest address here is {ip}"),
                    None => Ok(()),
                }
            }
            Self::Gone(local) => {
                write!(f, "{local} a moment ago, is on no interface of this host any more")
            }
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
                interfaces,
            } => {
                write!(f, "the device `{}` does not have {ip}", shown(device))?;
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
            Self::ListedOnly(local) => {
                write!(f, "{local}, but the system does not take it for one of its own")
            }
            Self::NoLoopback { ip, has } => {
                write!(f, "this host has no {ip} at present")?;
                for (n, addr) in has.iter().take(3).enumerate() {
                    let joint = if n == 0 { "; there is" } else { " and" };
                    write!(f, "{joint} {addr}")?;
                }
                Ok(())
            }
            Self::AddressUnavailable => f.write_str(
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
                "an IPv6-only socket takes no IPv4-mapped address; write `{ip}`"
            ),
            Self::Multicast => f.write_str(
                "no TCP client can connect to a multicast address; write an address of this host",
            ),
            Self::Broadcast => f.write_str(
                "no TCP client can connect to a broadcast address; write an address of this host",
            ),
            Self::InUse { ip, port, holders } => write_in_use(f, *ip, *port, holders),
            Self::HeldInvisibly { port } => write!(
                f,
                "port {port} is in use by a socket that the system does not show, or was a moment ago; one that is bound and does not listen is such a socket"
            ),
            Self::TimeWait { port } => write!(
                f,
                "port {port} is held by connections in TIME_WAIT of a server that did not set SO_REUSEADDR; try again in a minute"
            ),
            Self::RangeInUse { first, last } => {
                write!(f, "other sockets have every port from {first} to {last}")
            }
            Self::Conflict {
                ip,
                other,
                text,
                overlap,
            } => {
                write!(f, "`{}` of the same list has port {}", shown(text), other.port())?;
                write_overlap(f, *ip, other.ip(), *overlap)
            }
            Self::EphemeralPortsExhausted { range: Some(range) } => write!(
                f,
                "every port from {} to {} is taken; write one outside of them",
                range.start(),
                range.end()
            ),
            Self::EphemeralPortsExhausted { range: None } => {
                f.write_str("every ephemeral port is taken; write a port")
            }
            Self::PrivilegedPort {
                limit,
                privilege: Privilege::Missing,
                ..
            } => write!(
                f,
                "ports below {limit} need a privilege that this process lacks; write a port from {limit} on, or grant it"
            ),
            Self::PrivilegedPort {
                limit,
                privilege: Privilege::InAnotherUserNamespace,
                ..
            } => write!(
                f,
                "ports below {limit} need a privilege that does not count in this process's user namespace, as in a rootless container; write a port from {limit} on"
            ),
            Self::RefusedByPolicy(policy) => {
                f.write_str(match policy {
                    Policy::SecurityModule => "a security policy refuses it (Landlock, SELinux or AppArmor)",
                    Policy::Filter => "a filter on this process refuses it (seccomp, or a BPF program of its cgroup)",
                    Policy::CgroupFilter => "a BPF program of this process's cgroup refuses it",
                })?;
                f.write_str("; root would not help")
            }
            Self::Denied => f.write_str("the system denies it, for want of a privilege or by a policy"),
            Self::FamilyUnavailable { family, why } => write_unavailable(f, *family, *why),
            Self::TooManyOpenFiles { limit } => {
                f.write_str("no file descriptor is left for the socket")?;
                match limit {
                    Some(limit) => write!(f, "; this process may have {limit}"),
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
                    Some(known) => write!(f, "; {}", ThereAre(known)),
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
) -> fmt::Result {
    if holders.is_empty() {
        return write!(f, "another socket has port {port}");
    }
    write!(f, "port {port} is in use by ")?;
    let (first, rest) = holders.split_at(holders.len().min(3));
    for (n, holder) in first.iter().enumerate() {
        let joint = if n == 0 { "" } else { ", and by " };
        write!(f, "{joint}{holder}")?;
        write_overlap(f, ip, holder.addr().ip(), holder.overlap())?;
    }
    match rest.len() {
        0 => Ok(()),
        n => write!(f, ", and by {n} more"),
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

fn write_unavailable(f: &mut fmt::Formatter<'_>, family: Family, why: Unavailable) -> fmt::Result {
    match why {
        Unavailable::NoKernelSupport => write!(f, "the kernel of this system has no {family}")?,
        Unavailable::Sysctl { interface } => write!(
            f,
            "{family} is switched off by `net.ipv6.conf.{interface}.disable_ipv6`"
        )?,
        Unavailable::LoopbackDown => f.write_str("the loopback interface is down")?,
        Unavailable::Sandbox => write!(f, "a sandbox keeps this process from {family} sockets")?,
        Unavailable::Unknown => write!(f, "this system has no {family}")?,
    }
    match (why, family) {
        (Unavailable::LoopbackDown, _) => f.write_str("; `ip link set lo up` mends it"),
        (_, Family::Ipv6) => f.write_str("; write an IPv4 address, or `*`"),
        (_, Family::Ipv4) => Ok(()),
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

impl Cause {
    /// Returns what else would help, a sentence each, the likeliest first.
    pub(crate) fn hints(&self) -> Vec<String> {
        let linux = cfg!(any(target_os = "linux", target_os = "android"));
        match self {
            Self::NotOnThisHost(foreign) => {
                let all = match foreign.ip() {
                    IpAddr::V4(_) => "`0.0.0.0` listens on every IPv4 address of this host",
                    IpAddr::V6(_) => "`[::]` listens on every address of this host",
                };
                let mut hints = vec![all.to_owned()];
                let is_dead = matches!(
                    foreign.reason(),
                    ForeignReason::Multicast
                        | ForeignReason::LimitedBroadcast
                        | ForeignReason::DirectedBroadcast { .. }
                );
                if linux && !is_dead {
                    hints.push(COMES_LATER.to_owned());
                }
                hints
            }
            Self::Gone(_) | Self::InterfaceDown(_) | Self::NoCarrier(_) if linux => {
                vec![COMES_LATER.to_owned()]
            }
            Self::Duplicate(_) | Self::NotReady(_) if linux => {
                vec!["`ip addr` shows whether the address is tentative or a duplicate".to_owned()]
            }
            Self::LocalRouteMissing(_) | Self::ListedOnly(_) if linux => {
                vec!["`ip route show table local` shows what the system takes for its own".to_owned()]
            }
            Self::RangeInUse { .. } if linux => {
                vec!["`ss -lntup` shows who has them".to_owned()]
            }
            Self::InUse { port, holders, .. } => {
                let mut hints = vec!["port 0 takes any free port".to_owned()];
                // What is in the sentence needs no command.
                if linux && !holders.iter().any(|holder| holder.pid().is_some()) {
                    hints.insert(0, format!("`ss -lntup 'sport = :{port}'` shows root who has it"));
                }
                hints
            }
            Self::PrivilegedPort {
                port, privilege, ..
            } if linux => {
                let lower = format!("`sysctl net.ipv4.ip_unprivileged_port_start={port}`");
                match privilege {
                    Privilege::Missing => vec![
                        "`AmbientCapabilities=CAP_NET_BIND_SERVICE` in a systemd unit grants it"
                            .to_owned(),
                        "`setcap cap_net_bind_service=+ep` on the program's file grants it".to_owned(),
                        format!("{lower} lets every process have it"),
                    ],
                    Privilege::InAnotherUserNamespace => {
                        vec![format!("{lower} on the host lets every process have it")]
                    }
                }
            }
            Self::Denied if linux => vec![
                "ports below `net.ipv4.ip_unprivileged_port_start` need CAP_NET_BIND_SERVICE".to_owned(),
            ],
            Self::Denied if cfg!(windows) => vec![
                "`netsh int ipv4 show excludedportrange protocol=tcp` shows the ports that Windows keeps for itself"
                    .to_owned(),
            ],
            Self::RefusedByPolicy(Policy::Filter | Policy::CgroupFilter) => vec![
                "`SocketBindDeny=`, `SystemCallFilter=` and a container's seccomp profile are such filters"
                    .to_owned(),
            ],
            Self::TooManyOpenFiles { .. } if cfg!(unix) => {
                vec!["`ulimit -n` and `LimitNOFILE=` set how many a process may have".to_owned()]
            }
            Self::FamilyUnavailable {
                family: Family::Ipv6,
                why,
            } if *why != Unavailable::LoopbackDown => {
                vec!["`*` takes IPv6 where there is IPv6, and IPv4 alone elsewhere".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// Tells whether trying again may help although nobody mends anything.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::InUse { holders, .. } => {
                let gone_soon = |holder: &Holder| holder.state() == super::HolderState::Connected;
                !holders.is_empty() && holders.iter().all(gone_soon)
            }
            Self::Tentative(_)
            | Self::InterfaceDown(_)
            | Self::NoCarrier(_)
            | Self::NotReady(_)
            | Self::Gone(_)
            | Self::TimeWait { .. }
            | Self::EphemeralPortsExhausted { .. }
            | Self::TooManyOpenFiles { .. }
            | Self::TooManyOpenFilesInSystem
            | Self::OutOfMemory => true,
            _ => false,
        }
    }

    /// The kind for an `io::Error` where the system was not asked.
    pub(crate) fn error_kind(&self) -> io::ErrorKind {
        match self {
            Self::Unresolved(_) => io::ErrorKind::AddrNotAvailable,
            Self::UnsupportedOption { .. } => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::InvalidInput,
        }
    }
}

const COMES_LATER: &str = "the option `freebind` binds an address that comes to this host later";
