//! Why a socket could not be opened: [`Cause`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;

use super::{Holder, SocketState, Step};
use crate::addr::{Family, ParseError};
use crate::interfaces::InterfaceAddr;
use crate::map::Map;
use crate::order::sort_by;
use crate::target::ResolveErrorKind;
use crate::target::{ForeignAddr, GroupAddr, LocalAddr, Overlap};

/// Why a socket could not be opened.
///
/// Each is named on evidence only; without evidence it is [`Other`](Self::Other).
/// [The page about the diagnosis](crate::docs::diagnosis) has each with what std says of it.
///
/// The [`Display`](std::fmt::Display) form is a clause that says what is wrong and what would fix
/// it.
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
    /// The text is not a listen address.
    InvalidText(ParseError),
    /// The text names nothing on this host.
    Unresolved(ResolveErrorKind),
    /// No interface of this host has the address (`EADDRNOTAVAIL`).
    NotOnThisHost(ForeignAddr),
    /// The system did not bind the address (`EADDRNOTAVAIL`), and would a moment later: it
    /// came to this host in between.
    #[non_exhaustive]
    BecameAvailable {
        /// The address.
        ip: IpAddr,
    },
    /// An interface had the address when the setting was resolved, and none has it any more
    /// (`EADDRNOTAVAIL`). The address is described as it was then.
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
    /// The address is that of another interface than the [`device`](crate::BindOptions::device)
    /// (`EADDRNOTAVAIL`), which matters to `::1`, to link-local addresses, and where the device is
    /// a VRF. With a zone bind(2) is not called, because it would bind the socket to the zone
    /// instead of the device.
    #[non_exhaustive]
    OnAnotherDevice {
        /// The address.
        ip: IpAddr,
        /// The device, as it was set, or as the cgroup has it.
        device: String,
        /// Whether no option is set, and the cgroup of this process binds its sockets to the
        /// device, as `ip vrf exec` does (ip-vrf(8)).
        is_by_cgroup: bool,
        /// Whether the zone of the address is the other interface, whatever addresses the device
        /// has.
        is_by_zone: bool,
        /// The names of the interfaces that have the address, or that of the zone.
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
    /// An interface has the IPv6 address, and it is unknown why the system does not bind it
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
    /// An interface has the IPv4 address, and it is unknown why the system does not bind it
    /// (`EADDRNOTAVAIL`).
    NotTreatedAsLocal(LocalAddr),
    /// No interface has the loopback address (`EADDRNOTAVAIL`).
    #[non_exhaustive]
    LoopbackMissing {
        /// The address.
        ip: IpAddr,
        /// The loopback addresses of its family that there are.
        has: Vec<InterfaceAddr>,
    },
    /// The system does not bind the address (`EADDRNOTAVAIL`), and its
    /// interfaces cannot be read to say why.
    #[non_exhaustive]
    AddressUnavailable {
        /// Whether an interface may have it and perform duplicate address detection for it, which
        /// only IPv6 does. Then an [optional](crate::ListenAddr::is_optional) address is not
        /// skipped.
        may_be_tentative: bool,
    },
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
    /// An IPv4-mapped address, the wildcard included, where sockets are to be
    /// [IPv6-only](crate::BindOptions::only_v6). The system is not asked: it refuses an address
    /// (`EINVAL`), and opens the wildcard to IPv4.
    #[non_exhaustive]
    MappedOnV6Only {
        /// The IPv4 address.
        ip: Ipv4Addr,
    },
    /// A multicast or broadcast address, to which no TCP client can connect. Linux would bind it.
    Group(GroupAddr),
    /// Other sockets have the port (`EADDRINUSE`).
    #[non_exhaustive]
    InUse {
        /// The address that was wanted.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// Eight of the sockets that have it, those of known processes first and connections last;
        /// none where they could not be read. If they are not [certain](Holder::is_certain), one
        /// of them may have it, or another that is not shown.
        holders: Vec<Holder>,
        /// How many more have it.
        more: usize,
    },
    /// The port is in use (`EADDRINUSE`) by a socket that was handed over to this process, which
    /// does not fit the setting.
    #[non_exhaustive]
    HandedOver {
        /// The address that was wanted.
        ip: IpAddr,
        /// The address of that socket.
        handed: SocketAddr,
        /// How it differs from what was wanted.
        mismatch: Mismatch,
    },
    /// The port is in use (`EADDRINUSE`) by no socket that can be seen: by one that is bound
    /// and does not listen, which newer kernels only show, or by one that was closed since.
    #[non_exhaustive]
    InUseByUnknown {
        /// The port.
        port: u16,
    },
    /// The port is in use (`EADDRINUSE`), and only connections in `TIME_WAIT` are seen on it,
    /// which are in the way if their server did not set `SO_REUSEADDR`.
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
        /// The sockets that have them, as far as they could be read.
        holders: RangeHolders,
    },
    /// The list of settings has none.
    EmptyList,
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
        /// The first port that needs no privilege, where it could be read
        /// (`ip_unprivileged_port_start`, ip(7)).
        limit: Option<u16>,
        /// The privilege that the process lacks.
        privilege: Privilege,
    },
    /// A policy of the system refuses it (`EPERM`, or `EACCES` on a port that needs no
    /// privilege), so that root would not help.
    RefusedByPolicy(Policy),
    /// The system denies it (`EACCES`, `EPERM`), and does not report whether for
    /// want of a privilege or by a policy.
    #[non_exhaustive]
    Denied {
        /// How far it came.
        step: Step,
    },
    /// The system has no sockets of the family (`EAFNOSUPPORT`), or no address of it.
    #[non_exhaustive]
    FamilyUnavailable {
        /// The family.
        family: Family,
        /// Why it is not to be had.
        why: FamilyUnavailableReason,
    },
    /// The process has as many descriptors open as it may (`EMFILE`).
    #[non_exhaustive]
    TooManyOpenFiles {
        /// How many that is, where the system reports it (Linux 6.2 and later).
        open: Option<u64>,
    },
    /// The system has as many files open as it may (`ENFILE`; `fs.file-max`, proc(5)).
    TooManyOpenFilesInSystem,
    /// The system has no memory for the socket (`ENOBUFS`, `ENOMEM`).
    OutOfMemory,
    /// The interface of [`BindOptions::device`](crate::BindOptions::device) is not there
    /// (`ENODEV`).
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

/// How a socket that was [handed over](Cause::HandedOver) differs from the one that the setting
/// names.
///
/// # Examples
///
/// ```
/// use bindaddr::Cause;
/// use bindaddr::diagnosis::Mismatch;
///
/// /// Whether the unit opens more or less than the setting, and not just with other options.
/// fn is_about_the_address(cause: &Cause) -> bool {
///     matches!(cause, Cause::HandedOver { mismatch: Mismatch::Addr(_), .. })
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mismatch {
    /// It has another address.
    Addr(Overlap),
    /// It accepts IPv6 clients only, and the setting names both families.
    Ipv6Only,
    /// It accepts IPv4 clients as well, and the setting names IPv6 alone.
    DualStack,
    /// It is bound to another interface, or to none.
    Device(Option<String>),
}

/// The privilege that a process lacks for a [privileged port](Cause::PrivilegedPort).
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::Privilege;
/// use bindaddr::Cause;
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
    /// namespace, where it counts for nothing (`user_namespaces(7)`).
    InAnotherUserNamespace,
}

/// What [refuses](Cause::RefusedByPolicy) a socket.
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::Policy;
/// use bindaddr::Cause;
///
/// let cause = Cause::RefusedByPolicy(Policy::SecurityModule);
/// assert_eq!(
///     cause.to_string(),
///     "denied by a security module (Landlock, SELinux or AppArmor); running as root does not help",
/// );
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// A security module: Landlock, SELinux or AppArmor (`EACCES`).
    SecurityModule,
    /// A security module, or a seccomp filter that says `EACCES`: the process has one.
    SecurityModuleOrFilter,
    /// A seccomp filter on the process, or a BPF program (`EPERM`).
    Filter,
    /// A BPF program, of the process's cgroup or of a security module (`EPERM`): the process
    /// has no seccomp filter.
    Bpf,
}

/// Why a [family is not to be had](Cause::FamilyUnavailable).
///
/// # Examples
///
/// ```
/// use bindaddr::diagnosis::FamilyUnavailableReason;
/// use bindaddr::Cause;
///
/// match bindaddr::bind("[::1]:0") {
///     Ok(_) => println!("there is IPv6"),
///     Err(err) => match err.cause() {
///         Cause::FamilyUnavailable { why: FamilyUnavailableReason::Sysctl { interface, .. }, .. } => {
///             println!("net.ipv6.conf.{interface}.disable_ipv6 is 1");
///         }
///         cause => println!("{cause}"),
///     },
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FamilyUnavailableReason {
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
    /// A policy refuses such sockets to this process (`EACCES`, `EPERM` of socket(2)), which needs
    /// no privilege.
    Refused(Policy),
    /// The reason is unknown.
    Unknown,
}

impl Cause {
    /// Returns the name of the cause, as in `in-use`, for logs and metrics.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.facts().name
    }

    /// Returns `true` if the host lacks the address or its family, which an optional setting can do
    /// without.
    pub(crate) fn is_absence(&self) -> bool {
        self.facts().is_absence
    }

    /// Returns `true` if waiting may help: what is missing may come, and what lingers goes.
    pub(crate) fn may_resolve_itself(&self) -> bool {
        self.facts().may_resolve_itself
    }

    /// Returns `true` if a retry may succeed without intervention.
    pub(crate) fn is_transient(&self) -> bool {
        self.facts().is_transient
    }

    /// Returns the kind for an [`io::Error`] if the failure is not one of the system.
    pub(crate) fn error_kind(&self) -> io::ErrorKind {
        self.facts().kind
    }

    /// Returns everything that is decided by the kind of the cause.
    fn facts(&self) -> Facts {
        match self {
            Self::InvalidText(_) => Facts::of("invalid-text"),
            Self::Unresolved(kind) => Facts {
                is_absence: kind.is_absence(),
                may_resolve_itself: kind.is_absence(),
                kind: io::ErrorKind::AddrNotAvailable,
                ..Facts::of("unresolved")
            },
            Self::NotOnThisHost(foreign) => Facts {
                may_resolve_itself: foreign.reason().may_be_assigned(),
                ..Facts::of("not-on-this-host").absent()
            },
            Self::BecameAvailable { .. } => Facts::of("became-available").transient(),
            Self::Gone(_) => Facts::of("gone").absent().transient(),
            Self::RoutedNotAssigned(_) => Facts::of("routed-not-assigned").absent().waits(),
            Self::OtherZone { .. } => Facts::of("other-zone").absent().waits(),
            Self::OnAnotherDevice { .. } => Facts::of("on-another-device"),
            Self::Tentative(_) => Facts::of("tentative").transient(),
            Self::Duplicate(_) => Facts::of("duplicate"),
            Self::InterfaceDown(_) => Facts::of("interface-down").transient(),
            Self::NoCarrier(_) => Facts::of("no-carrier").transient(),
            Self::NotReady(_) => Facts::of("not-ready").transient(),
            Self::InVrf { .. } => Facts::of("in-vrf"),
            Self::LocalRouteMissing(_) => Facts::of("local-route-missing"),
            Self::NotTreatedAsLocal(_) => Facts::of("not-treated-as-local"),
            Self::LoopbackMissing { .. } => Facts::of("loopback-missing").absent().waits(),
            Self::AddressUnavailable { may_be_tentative } => Facts {
                is_absence: !may_be_tentative,
                ..Facts::of("address-unavailable").waits()
            },
            Self::ZoneRequired { .. } => Facts::of("zone-required"),
            Self::NoSuchZone { .. } => Facts::of("no-such-zone").absent().waits(),
            Self::MappedOnV6Only { .. } => Facts::of("mapped-on-v6-only"),
            Self::Group(GroupAddr::Multicast) => Facts::of("multicast"),
            Self::Group(GroupAddr::Broadcast) => Facts::of("broadcast"),
            Self::InUse { holders, .. } if are_connections(holders) => {
                Facts::of("in-use").transient()
            }
            Self::InUse { .. } => Facts::of("in-use"),
            Self::HandedOver { .. } => Facts::of("handed-over"),
            Self::InUseByUnknown { .. } => Facts::of("in-use-by-unknown").transient(),
            Self::TimeWait { .. } => Facts::of("time-wait").transient(),
            Self::RangeInUse { .. } => Facts::of("range-in-use"),
            Self::EmptyList => Facts::of("empty-list"),
            Self::Conflict { .. } => Facts::of("conflict"),
            Self::EphemeralPortsExhausted { .. } => {
                Facts::of("ephemeral-ports-exhausted").of_resources()
            }
            Self::PrivilegedPort { .. } => Facts::of("privileged-port"),
            Self::RefusedByPolicy(_) => Facts::of("refused-by-policy"),
            Self::Denied { .. } => Facts::of("denied"),
            Self::FamilyUnavailable { why, .. } => Facts {
                may_resolve_itself: *why == FamilyUnavailableReason::LoopbackDown,
                ..Facts::of("family-unavailable").absent()
            },
            Self::TooManyOpenFiles { .. } => Facts::of("too-many-open-files").of_resources(),
            Self::TooManyOpenFilesInSystem => {
                Facts::of("too-many-open-files-in-system").of_resources()
            }
            Self::OutOfMemory => Facts::of("out-of-memory").of_resources(),
            Self::NoSuchDevice { .. } => Facts::of("no-such-device").waits(),
            Self::InvalidDevice { .. } => Facts::of("invalid-device"),
            Self::UnsupportedOption { .. } => Facts {
                kind: io::ErrorKind::Unsupported,
                ..Facts::of("unsupported-option")
            },
            Self::Other { .. } => Facts::of("other"),
        }
    }
}

/// The properties of a kind of cause.
struct Facts {
    name: &'static str,
    /// The host lacks the address or its family.
    is_absence: bool,
    /// Waiting may help.
    may_resolve_itself: bool,
    /// A retry may succeed without intervention.
    is_transient: bool,
    /// The kind of an error that is not the system's.
    kind: io::ErrorKind,
}

impl Facts {
    fn of(name: &'static str) -> Self {
        Self {
            name,
            is_absence: false,
            may_resolve_itself: false,
            is_transient: false,
            kind: io::ErrorKind::InvalidInput,
        }
    }

    fn absent(self) -> Self {
        Self {
            is_absence: true,
            ..self
        }
    }

    fn waits(self) -> Self {
        Self {
            may_resolve_itself: true,
            ..self
        }
    }

    /// It passes by itself.
    fn transient(self) -> Self {
        Self {
            is_transient: true,
            ..self.waits()
        }
    }

    /// Others have what is limited, and may give it back; to wait for that while the server does
    /// not run is in vain.
    fn of_resources(self) -> Self {
        Self {
            is_transient: true,
            ..self
        }
    }
}

/// The holders of the ports of a [range](Cause::RangeInUse), the one with the most ports first.
///
/// # Examples
///
/// ```
/// use bindaddr::Cause;
///
/// fn has_a_process(cause: &Cause) -> bool {
///     match cause {
///         Cause::RangeInUse { holders, .. } => holders.first().iter().any(|one| one.pid().is_some()),
///         _ => false,
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeHolders {
    /// A socket of each process or user, and how many of the ports it has.
    counts: Vec<(Holder, usize)>,
    more: usize,
}

impl RangeHolders {
    const SHOWN: usize = 8;

    /// Counts the holders of ports by process, or by user where the process is not known.
    pub(crate) fn count(holders: impl Iterator<Item = Holder>) -> Self {
        let mut counts: Vec<(Holder, usize)> = Vec::new();
        let mut places: Map<(Option<u32>, Option<u32>, bool), usize> = Map::new();
        for holder in holders {
            let user = holder.uid().filter(|_| holder.pid().is_none());
            let who = (holder.pid(), user, holder.is_of_kernel);
            let place = *places.get_or_insert_with(who, || {
                counts.push((holder, 0));
                counts.len() - 1
            });
            counts[place].1 += 1;
        }
        sort_by(&mut counts, |(_, a), (_, b)| b.cmp(a));
        let more = counts.len().saturating_sub(Self::SHOWN);
        counts.truncate(Self::SHOWN);
        Self { counts, more }
    }

    /// Returns a socket of each of the first eight processes, or of each user where the process is
    /// not known.
    #[must_use]
    pub fn first(&self) -> Vec<&Holder> {
        self.counts.iter().map(|(holder, _)| holder).collect()
    }

    /// Returns those, each with how many of the ports it has.
    pub(crate) fn counts(&self) -> &[(Holder, usize)] {
        &self.counts
    }

    /// Returns how many more processes or users have others of the ports.
    pub(crate) fn more(&self) -> usize {
        self.more
    }
}

/// Returns `true` if only connections have the port, which end some day. Of many holders, those
/// that are not come first.
fn are_connections(holders: &[Holder]) -> bool {
    let is_connection = |holder: &Holder| holder.state() == SocketState::Connected;
    !holders.is_empty() && holders.iter().all(is_connection)
}
