//! What a [`Cause`] says: its sentence, and the hints of what else would help.

use std::cmp::Reverse;
use std::fmt;
use std::net::IpAddr;

use super::cause::{Cause, Policy, Privilege, Unavailable};
use super::sockets::Holder;
use super::{Step, System, is_listed};
use crate::interfaces::ThereAre;
use crate::listen::{Family, shown};
use crate::target::{ForeignReason, Overlap};

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
            Self::Appeared { ip } => {
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
            Self::NoLoopback { ip, has } if is_listed(*ip, has) => write!(
                f,
                "{ip}, an address of the loopback interface, is not in the routing table `local`, by which the system binds"
            ),
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
            Self::Denied { .. } => f.write_str("the system denies it, for want of a privilege or by a policy"),
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

/// Writes how many ports each has, who has the most first.
fn write_counts(f: &mut fmt::Formatter<'_>, holders: &[Holder]) -> fmt::Result {
    let mut counts: Vec<(usize, String)> = Vec::new();
    for holder in holders {
        let who = holder.who();
        match counts.iter_mut().find(|(_, known)| *known == who) {
            Some((count, _)) => *count += 1,
            None => counts.push((1, who)),
        }
    }
    counts.sort_by_key(|(count, _)| Reverse(*count));
    for (n, (count, who)) in counts.iter().take(3).enumerate() {
        let joint = if n == 0 { ": " } else { ", " };
        write!(f, "{joint}{who} has {count}")?;
    }
    match counts.len().saturating_sub(3) {
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
        (Unavailable::LoopbackDown, _) => f.write_str(match System::HERE {
            System::Linux => "; `ip link set lo up` mends it",
            System::Darwin | System::Unix => "; `ifconfig lo0 up` mends it",
            System::Windows => "",
        }),
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
    ///
    /// # Examples
    ///
    /// ```
    /// let check = bindaddr::check(["198.51.100.1:0"]);
    /// for cause in check.settings()[0].problems() {
    ///     eprintln!("{cause}; {}", cause.hints().join("; "));
    /// }
    /// ```
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        self.hints_on(System::HERE)
    }

    #[allow(clippy::too_many_lines)] // one arm a cause
    pub(super) fn hints_on(&self, system: System) -> Vec<String> {
        let linux = system == System::Linux;
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
            Self::LocalRouteMissing(_) | Self::ListedOnly(_) if linux => vec![TABLE_LOCAL.to_owned()],
            Self::NoLoopback { ip, has } if linux && is_listed(*ip, has) => vec![TABLE_LOCAL.to_owned()],
            Self::NoLoopback { ip, .. }
                if ip.is_ipv4() && matches!(system, System::Darwin | System::Unix) =>
            {
                vec![format!("`ifconfig lo0 alias {ip}` adds it")]
            }
            // What is in the sentence needs no command.
            Self::RangeInUse { holders, .. }
                if !holders.iter().any(|holder| holder.pid().is_some()) =>
            {
                let all = match system {
                    System::Linux => "`ss -antup` shows root who has them",
                    System::Darwin => "`sudo lsof -nP -i` shows who has them",
                    System::Windows => "`netstat -ano` shows who has them",
                    System::Unix => return Vec::new(),
                };
                vec![all.to_owned()]
            }
            Self::InUse { port, holders, .. } => {
                let mut hints = vec!["port 0 takes any free port".to_owned()];
                let shows = match system {
                    _ if holders.iter().any(|holder| holder.pid().is_some()) => None,
                    System::Linux => Some(format!(
                        "`ss -antup 'sport = :{port}'` shows root who has it"
                    )),
                    System::Darwin => {
                        Some(format!("`sudo lsof -nP -i :{port}` shows who has it"))
                    }
                    System::Windows => Some("`netstat -ano` shows who has it".to_owned()),
                    System::Unix => None,
                };
                hints.splice(..0, shows);
                hints
            }
            Self::PrivilegedPort { .. } if system == System::Darwin => {
                vec!["`0.0.0.0` and `[::]` have it without a privilege".to_owned()]
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
                        vec![format!("{lower} in this process's network namespace lets every process have it")]
                    }
                }
            }
            Self::Denied { step: Step::Bind } if linux => vec![
                "ports below `net.ipv4.ip_unprivileged_port_start` need CAP_NET_BIND_SERVICE".to_owned(),
            ],
            Self::Denied { step: Step::Bind } if system == System::Windows => vec![
                "`netsh int ipv4 show excludedportrange protocol=tcp` shows the ports that Windows keeps for itself"
                    .to_owned(),
                "`netstat -ano` shows who has which port; one that is held exclusively is denied".to_owned(),
            ],
            Self::RefusedByPolicy(Policy::Filter | Policy::Bpf) => vec![
                "`SocketBindDeny=`, `SystemCallFilter=` and a container's seccomp profile are such filters"
                    .to_owned(),
            ],
            Self::TooManyOpenFiles { .. } if system != System::Windows => {
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
}

/// The hints of several causes, each once.
pub(crate) fn hints_of<'a>(causes: impl Iterator<Item = &'a Cause>) -> Vec<String> {
    let mut hints: Vec<String> = Vec::new();
    for hint in causes.flat_map(Cause::hints) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    hints
}

const TABLE_LOCAL: &str = "`ip route show table local` shows what the system takes for its own";

const COMES_LATER: &str = "the option `freebind` binds an address that comes to this host later";
