//! Why a socket could not be opened: [`Evidence`] read after the failure, and the
//! [`Cause`] decided on it, which is pure.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::interfaces::{Interfaces, ThereAre};
use crate::listen::{Family, ParseError, has_zone, shown};
use crate::resolve::ResolveErrorKind;
use crate::target::{BindTarget, ForeignAddr, ForeignReason, LocalAddr};

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

/// Why a socket could not be opened.
///
/// Each is named on evidence only; what nothing tells is [`Other`](Self::Other).
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
    /// The link-local address is on this host, but not in that zone (`EADDRNOTAVAIL`).
    #[non_exhaustive]
    OtherZone {
        /// The address.
        ip: IpAddr,
        /// The names of the interfaces that have it.
        zones: Vec<String>,
    },
    /// An interface has the IPv6 address and the system does not bind it at present
    /// (`EADDRNOTAVAIL`), as while it looks for a duplicate of it (RFC 4862).
    NotReady(LocalAddr),
    /// An interface has the IPv4 address and the system does not bind it
    /// (`EADDRNOTAVAIL`): its local route is missing, or a VRF has it.
    ListedOnly(LocalAddr),
    /// The loopback address is not there (`EADDRNOTAVAIL`): IPv6 is switched off,
    /// or the loopback interface is down or narrowed.
    #[non_exhaustive]
    NoLoopback {
        /// The address.
        ip: IpAddr,
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
        /// The index.
        index: u32,
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
    /// Another socket has the port (`EADDRINUSE`).
    #[non_exhaustive]
    InUse {
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
    },
    /// The system's policy forbids it: `EPERM`, or `EACCES` on a port that needs no privilege.
    Forbidden,
    /// The system denies it (`EACCES`, `EPERM`), and does not tell whether for
    /// want of a privilege or by a policy.
    Denied,
    /// The system has no sockets of the family (`EAFNOSUPPORT`).
    FamilyUnavailable(Family),
    /// The process or the system has no descriptor left (`EMFILE`, `ENFILE`).
    TooManyOpenFiles,
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

impl fmt::Display for Cause {
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
            Self::OtherZone { ip, zones } => {
                write!(f, "{ip} is in another zone here; write {}", Zoned(*ip, zones))
            }
            Self::NotReady(local) => {
                write!(f, "{local}, but the system does not bind it at present")
            }
            Self::ListedOnly(local) => {
                write!(f, "{local}, but the system does not take it for one of its own")
            }
            Self::NoLoopback { ip } => write!(f, "this host has no {ip} at present"),
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
            Self::NoSuchZone { index } => {
                write!(f, "no interface has the index {index}")
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
            Self::InUse { port } => write!(f, "another socket has port {port}"),
            Self::RangeInUse { first, last } => {
                write!(f, "other sockets have every port from {first} to {last}")
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
            Self::PrivilegedPort { limit, .. } => write!(
                f,
                "ports below {limit} need a privilege that this process lacks; write a port from {limit} on, or grant it"
            ),
            Self::Forbidden => f.write_str("a policy of the system forbids it"),
            Self::Denied => f.write_str("the system denies it, for want of a privilege or by a policy"),
            Self::FamilyUnavailable(Family::Ipv6) => {
                f.write_str("this system has no IPv6; write an IPv4 address, or `*`")
            }
            Self::FamilyUnavailable(Family::Ipv4) => f.write_str("this system has no IPv4"),
            Self::TooManyOpenFiles => f.write_str("no file descriptor is left for the socket"),
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
    /// Decides on the cause of a failed step.
    pub(crate) fn of(failure: &SystemFailure<'_>, evidence: &Evidence) -> Self {
        let SystemFailure { addr, step, .. } = *failure;
        match (Errno::of(failure.error), step) {
            (Errno::NoDescriptors, _) => Self::TooManyOpenFiles,
            (Errno::FamilyUnsupported, Step::Socket) => {
                Self::FamilyUnavailable(family_of_socket(addr))
            }
            (Errno::Unsupported, Step::Option(option)) => Self::UnsupportedOption { option },
            (Errno::NoDevice, Step::Option("device")) => {
                let name = failure.device.unwrap_or_default();
                let host = evidence.interfaces.as_ref();
                Self::NoSuchDevice {
                    name: name.to_owned(),
                    known: host.map(|host| host.names_by_likeness(name)),
                }
            }
            (Errno::NotAvailable, Step::Bind) => not_available(addr, evidence),
            (Errno::InUse, Step::Bind | Step::Listen) if addr.port() == 0 => {
                Self::EphemeralPortsExhausted {
                    range: evidence.ephemeral_ports.clone(),
                }
            }
            (Errno::InUse, Step::Bind | Step::Listen) => match failure.tried {
                (first, last) if first < last => Self::RangeInUse { first, last },
                (port, _) => Self::InUse { port },
            },
            (Errno::AccessDenied, Step::Bind) => match evidence.first_unprivileged_port {
                Some(limit) if (1..limit).contains(&addr.port()) => Self::PrivilegedPort {
                    port: addr.port(),
                    limit,
                },
                Some(_) => Self::Forbidden,
                None => Self::Denied,
            },
            (Errno::NotPermitted, Step::Bind | Step::Listen) => Self::Forbidden,
            (Errno::AccessDenied | Errno::NotPermitted, _) => Self::Denied,
            (Errno::NoDevice, Step::Bind) => match addr {
                SocketAddr::V6(v6) => Self::NoSuchZone {
                    index: v6.scope_id(),
                },
                SocketAddr::V4(_) => Self::Other { step },
            },
            (Errno::Invalid, Step::Bind) => invalid(addr, evidence).unwrap_or(Self::Other { step }),
            _ => Self::Other { step },
        }
    }

    /// Returns what else would help, a sentence each, the likeliest first.
    pub(crate) fn hints(&self) -> Vec<String> {
        match self {
            Self::NotOnThisHost(foreign) => {
                let all = match foreign.ip() {
                    IpAddr::V4(_) => "`0.0.0.0` listens on every IPv4 address of this host",
                    IpAddr::V6(_) => "`[::]` listens on every address of this host",
                };
                let mut hints = vec![all.to_owned()];
                if cfg!(any(target_os = "linux", target_os = "android"))
                    && !matches!(
                        foreign.reason(),
                        ForeignReason::Multicast
                            | ForeignReason::LimitedBroadcast
                            | ForeignReason::DirectedBroadcast { .. }
                    )
                {
                    hints.push(
                        "the option `freebind` binds an address that comes to this host later"
                            .to_owned(),
                    );
                }
                hints
            }
            Self::NotReady(_) => {
                vec!["`ip addr` shows whether the address is tentative or a duplicate".to_owned()]
            }
            Self::ListedOnly(_) if cfg!(target_os = "linux") => vec![
                "`ip route show table local` shows what the system takes for its own".to_owned(),
                "`ip link show type vrf` shows the VRFs, each of which is a `device` to bind to".to_owned(),
            ],
            Self::RangeInUse { .. } if cfg!(target_os = "linux") => {
                vec!["`ss -lntup` shows who has them".to_owned()]
            }
            Self::InUse { port } => {
                let mut hints = vec!["port 0 takes any free port".to_owned()];
                if cfg!(target_os = "linux") {
                    hints.insert(0, format!("`ss -lntup 'sport = :{port}'` shows who has it"));
                }
                hints
            }
            Self::PrivilegedPort { port, .. } if cfg!(target_os = "linux") => vec![
                "`AmbientCapabilities=CAP_NET_BIND_SERVICE` in a systemd unit grants it".to_owned(),
                "`setcap cap_net_bind_service=+ep` on the program's file grants it".to_owned(),
                format!(
                    "`sysctl net.ipv4.ip_unprivileged_port_start={port}` lets every process have it"
                ),
            ],
            Self::Denied if cfg!(target_os = "linux") => vec![
                "ports below `net.ipv4.ip_unprivileged_port_start` need CAP_NET_BIND_SERVICE".to_owned(),
            ],
            Self::Denied if cfg!(windows) => vec![
                "`netsh int ipv4 show excludedportrange protocol=tcp` shows the ports that Windows keeps for itself"
                    .to_owned(),
            ],
            Self::TooManyOpenFiles if cfg!(unix) => {
                vec!["`ulimit -n` and `LimitNOFILE=` set how many a process may have".to_owned()]
            }
            Self::FamilyUnavailable(Family::Ipv6) => {
                vec!["`*` takes IPv6 where there is IPv6, and IPv4 alone elsewhere".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// Tells whether trying again may help although nobody mends anything.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NotReady(_) | Self::EphemeralPortsExhausted { .. } | Self::TooManyOpenFiles
        )
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

fn family_of_socket(addr: SocketAddr) -> Family {
    if addr.is_ipv4() {
        Family::Ipv4
    } else {
        Family::Ipv6
    }
}

fn not_available(addr: SocketAddr, evidence: &Evidence) -> Cause {
    let Some(host) = &evidence.interfaces else {
        return Cause::AddressUnavailable;
    };
    match BindTarget::classify_socket(addr, host) {
        BindTarget::Foreign(foreign) => match foreign.reason() {
            ForeignReason::OtherZone { .. } => Cause::OtherZone {
                ip: addr.ip(),
                zones: names_with(host, addr.ip()),
            },
            _ => Cause::NotOnThisHost(foreign),
        },
        BindTarget::Local(local) if addr.is_ipv6() => Cause::NotReady(local),
        BindTarget::Local(local) => Cause::ListedOnly(local),
        BindTarget::Loopback(_) => Cause::NoLoopback { ip: addr.ip() },
        BindTarget::Any(_) => Cause::Other { step: Step::Bind },
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
        let candidates = evidence.interfaces.as_ref().map(|host| {
            if v6.ip().is_multicast() {
                host.iter()
                    .map(|interface| interface.name().to_owned())
                    .collect()
            } else {
                names_with(host, addr.ip())
            }
        });
        return Some(Cause::ZoneRequired {
            ip: addr.ip(),
            candidates,
        });
    }
    None
}

fn names_with(host: &Interfaces, ip: IpAddr) -> Vec<String> {
    host.with_ip(ip)
        .map(|interface| interface.name().to_owned())
        .collect()
}

/// A step that the system refused.
#[derive(Clone, Copy)]
pub(crate) struct SystemFailure<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) step: Step,
    /// The first and the last port that were tried.
    pub(crate) tried: (u16, u16),
    pub(crate) error: &'a io::Error,
    pub(crate) device: Option<&'a str>,
}

/// What the host says after a failure; what could not be read is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) interfaces: Option<Interfaces>,
    pub(crate) first_unprivileged_port: Option<u16>,
    pub(crate) ephemeral_ports: Option<RangeInclusive<u16>>,
}

impl Evidence {
    /// Reads what the failures call for, once, and nothing else.
    pub(crate) fn read<'a>(failures: impl Iterator<Item = (SocketAddr, &'a io::Error)>) -> Self {
        let failures: Vec<(u16, Errno)> = failures
            .map(|(addr, error)| (addr.port(), Errno::of(error)))
            .collect();
        let any = |wanted: fn(&(u16, Errno)) -> bool| failures.iter().any(wanted);
        let about_addresses = any(|(_, errno)| {
            matches!(
                errno,
                Errno::NotAvailable | Errno::Invalid | Errno::NoDevice
            )
        });
        let about_privilege = any(|(_, errno)| *errno == Errno::AccessDenied);
        let about_port_0 = any(|failure| *failure == (0, Errno::InUse));
        Self {
            interfaces: about_addresses
                .then(Interfaces::system)
                .and_then(Result::ok),
            first_unprivileged_port: about_privilege.then(first_unprivileged_port).flatten(),
            ephemeral_ports: about_port_0.then(ephemeral_ports).flatten(),
        }
    }
}

/// `net.ipv4.ip_unprivileged_port_start`, which holds for IPv6, too (ip-sysctl).
fn first_unprivileged_port() -> Option<u16> {
    if cfg!(any(target_os = "linux", target_os = "android")) {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").ok()?;
        text.trim().parse().ok()
    } else if cfg!(unix) {
        // IPPORT_RESERVED of netinet/in.h.
        Some(1024)
    } else {
        None
    }
}

/// `net.ipv4.ip_local_port_range`, which holds for IPv6, too (ip(7)).
fn ephemeral_ports() -> Option<RangeInclusive<u16>> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ports = text.split_whitespace().map(str::parse);
    match (ports.next(), ports.next()) {
        (Some(Ok(first)), Some(Ok(last))) => Some(first..=last),
        _ => None,
    }
}

/// The errors of the system that tell causes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errno {
    NotAvailable,
    InUse,
    AccessDenied,
    NotPermitted,
    Invalid,
    NoDevice,
    FamilyUnsupported,
    NoDescriptors,
    /// No error of the system: the platform lacks the call.
    Unsupported,
    Unknown,
}

impl Errno {
    pub(crate) fn of(error: &io::Error) -> Self {
        // std has no kind for the last three (errno(3); Winsock error codes).
        let (no_device, family_unsupported, no_descriptors): (i32, i32, &[i32]) = if cfg!(windows) {
            (-1, 10047, &[10024])
        } else if cfg!(any(
            target_os = "solaris",
            target_os = "illumos",
            all(
                target_os = "linux",
                any(
                    target_arch = "mips",
                    target_arch = "mips32r6",
                    target_arch = "mips64",
                    target_arch = "mips64r6"
                )
            )
        )) {
            (19, 124, &[23, 24])
        } else if cfg!(any(target_os = "linux", target_os = "android")) {
            (19, 97, &[23, 24])
        } else {
            (19, 47, &[23, 24])
        };
        // EPERM; EACCES and the Winsock codes are larger.
        let not_permitted = 1;
        match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::AddrNotAvailable, _) => Self::NotAvailable,
            (io::ErrorKind::AddrInUse, _) => Self::InUse,
            (io::ErrorKind::PermissionDenied, Some(code)) if code == not_permitted => {
                Self::NotPermitted
            }
            (io::ErrorKind::PermissionDenied, _) => Self::AccessDenied,
            (io::ErrorKind::InvalidInput, _) => Self::Invalid,
            (io::ErrorKind::Unsupported, None) => Self::Unsupported,
            (_, Some(code)) if code == no_device => Self::NoDevice,
            (_, Some(code)) if code == family_unsupported => Self::FamilyUnsupported,
            (_, Some(code)) if no_descriptors.contains(&code) => Self::NoDescriptors,
            _ => Self::Unknown,
        }
    }
}
