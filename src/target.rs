//! Classifies an address on a host: [`BindTarget`].

// Why an address is not the host's.
mod foreign;
// The claim of a socket on its port.
mod claim;
// The endpoints that a text names on a host.
mod resolve;
// The error of a text that names none.
mod error;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use crate::addr::{Family, is_link_scoped};
use crate::interfaces::{AddrState, Interface, Interfaces};
pub(crate) use crate::sys::Protocol;
pub use claim::Overlap;
pub(crate) use claim::{Claim, DeviceIndex, is_scoped, zone};
pub use error::{ResolveError, ResolveErrorKind};
use foreign::reason_in;
pub use foreign::{ForeignAddr, ForeignReason};
pub(crate) use resolve::{SnapshotCache, alternative_name};

/// The class of a listen address on one host.
///
/// | | who can connect | example |
/// |---|---|---|
/// | [`Any`](Self::Any) | any client that reaches an address of the host | `0.0.0.0`, `[::]`, `*` |
/// | [`Loopback`](Self::Loopback) | this host only | `127.0.0.1`, `::1`, `localhost` |
/// | [`Local`](Self::Local) | any client that reaches that address, while the host has it | `192.168.71.67` on the host that has it |
/// | [`Foreign`](Self::Foreign) | no client: `bind` usually fails with "Cannot assign requested address" | `192.168.71.67` on any other host |
///
/// The class depends on the canonical address (an IPv4-mapped one counts as IPv4). An address that
/// is merely in one of the host's subnets is not `Local`. `Loopback` depends on the address, not
/// the interface, because other hosts can reach other addresses of the loopback interface.
///
/// The class is a prediction from the snapshot; the kernel decides: Linux
/// binds some addresses that no interface lists and refuses some that are listed.
///
/// # Examples
///
/// ```
/// use bindaddr::BindTarget;
///
/// match BindTarget::parse("127.0.0.1")? {
///     BindTarget::Any(wildcard) => println!("open to every network: {wildcard}"),
///     BindTarget::Loopback(addrs) => println!("this host only: {addrs}"),
///     BindTarget::Local(addr) => println!("listens on {} only", addr.ip()),
///     BindTarget::Foreign(addr) => println!("not here: {}", addr.reason()),
/// }
/// # Ok::<(), bindaddr::target::ResolveError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BindTarget {
    /// A wildcard: every address of the host.
    Any(Wildcard),
    /// One loopback address, or both of `localhost`.
    Loopback(LoopbackAddrs),
    /// An address that an interface of the host has.
    Local(LocalAddr),
    /// An address that no interface of the host has.
    Foreign(ForeignAddr),
}

impl BindTarget {
    /// Classifies an address against a snapshot.
    ///
    /// A link-local address without its zone is `Local` if any interface has it.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::target::Wildcard;
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16)]
    ///     .into_iter()
    ///     .collect();
    /// let class = |ip: &str| Ok(BindTarget::classify(ip.parse()?, &host));
    ///
    /// assert!(class("192.168.71.67")?.is_local());
    /// assert!(class("192.168.158.94")?.is_foreign());
    /// assert!(class("127.8.8.8")?.is_loopback());
    /// // The kernel treats it as the IPv4 wildcard; std's `is_unspecified` returns `false`.
    /// assert_eq!(class("::ffff:0.0.0.0")?, BindTarget::Any(Wildcard::Ipv4));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn classify(ip: IpAddr, host: &Interfaces) -> Self {
        Self::classify_in_zone(ip, 0, host)
    }

    /// Classifies an address in the zone of the interface with index `scope_id`.
    ///
    /// The scope id counts for link-local addresses only, as it does in the
    /// kernel. 0 means no zone.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let host: Interfaces = [Interface::new("eth0", 2).with_addr("fe80::77".parse()?, 64)]
    ///     .into_iter()
    ///     .collect();
    /// let ip = "fe80::77".parse()?;
    /// assert!(BindTarget::classify_in_zone(ip, 2, &host).is_local());
    /// assert!(BindTarget::classify_in_zone(ip, 3, &host).is_foreign());
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn classify_in_zone(ip: IpAddr, scope_id: u32, host: &Interfaces) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::classify_v4(ip, host),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => Self::classify_v4(ip, host),
                None => Self::classify_v6(ip, scope_id, host),
            },
        }
    }

    fn classify_v4(ip: Ipv4Addr, host: &Interfaces) -> Self {
        if ip.is_unspecified() {
            Self::Any(Wildcard::Ipv4)
        } else if ip.is_loopback() {
            Self::Loopback(LoopbackAddrs(Loopbacks::One(ip.into())))
        } else {
            Self::host_addr(ip.into(), 0, host, host.has(ip.into()))
        }
    }

    fn classify_v6(ip: Ipv6Addr, scope_id: u32, host: &Interfaces) -> Self {
        if ip.is_unspecified() {
            Self::Any(Wildcard::DualStack)
        } else if ip.is_loopback() {
            Self::Loopback(LoopbackAddrs(Loopbacks::One(ip.into())))
        } else if scope_id != 0 && is_link_scoped(ip) {
            let has_ip = |interface: &Interface| interface.entry(ip.into()).is_some();
            let is_owned = host.by_index(scope_id).is_some_and(has_ip);
            Self::host_addr(ip.into(), scope_id, host, is_owned)
        } else {
            Self::host_addr(ip.into(), 0, host, host.has(ip.into()))
        }
    }

    fn host_addr(ip: IpAddr, scope_id: u32, host: &Interfaces, is_owned: bool) -> Self {
        let host = host.clone();
        let host_addr = HostAddr { ip, scope_id, host };
        if is_owned {
            Self::Local(LocalAddr(host_addr))
        } else {
            Self::Foreign(ForeignAddr(host_addr))
        }
    }

    /// Classifies the address of a socket, in the zone that it names.
    pub(crate) fn classify_socket(addr: SocketAddr, host: &Interfaces) -> Self {
        Self::classify_in_zone(addr.ip(), zone(addr), host)
    }

    /// Classifies the address of a socket that may be IPv6-only.
    pub(crate) fn of_socket(addr: SocketAddr, only_v6: bool, host: &Interfaces) -> Self {
        match Self::classify_socket(addr, host) {
            Self::Any(Wildcard::DualStack) if only_v6 => Self::Any(Wildcard::Ipv6),
            target => target,
        }
    }

    /// Returns `true` for a wildcard.
    #[must_use]
    pub fn is_any(&self) -> bool {
        matches!(self, Self::Any(_))
    }

    /// Returns `true` if only this host can connect.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Loopback(_))
    }

    /// Returns `true` if an interface of the host has the address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local(_))
    }

    /// Returns `true` if no interface of the host has the address.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// Returns the snapshot that the class is based on; `None` for a wildcard or loopback.
    pub(crate) fn host(&self) -> Option<&Interfaces> {
        match self {
            Self::Any(_) | Self::Loopback(_) => None,
            Self::Local(LocalAddr(host_addr)) | Self::Foreign(ForeignAddr(host_addr)) => {
                Some(&host_addr.host)
            }
        }
    }

    /// Returns the endpoint to bind, including whether it is a group address.
    pub(crate) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Any(wildcard) => Endpoint::Any(*wildcard),
            Self::Loopback(LoopbackAddrs(Loopbacks::Localhost)) => Endpoint::Localhost,
            Self::Loopback(LoopbackAddrs(Loopbacks::One(ip))) => Endpoint::literal(*ip, 0),
            Self::Local(LocalAddr(host_addr)) => Endpoint::Ip {
                ip: host_addr.ip,
                scope_id: host_addr.scope_id,
                group: GroupCheck::of_listed(host_addr.ip),
            },
            Self::Foreign(foreign) => Endpoint::Ip {
                ip: foreign.ip(),
                scope_id: foreign.0.scope_id,
                group: match foreign.reason() {
                    ForeignReason::DirectedBroadcast { addr, .. }
                        if addr.subnet().broadcast().map(IpAddr::V4) == Some(foreign.ip()) =>
                    {
                        GroupCheck::Group(GroupAddr::Broadcast)
                    }
                    // Snapshots of a system take one for the other.
                    ForeignReason::DirectedBroadcast { .. } => GroupCheck::MayBeBroadcast,
                    ForeignReason::Peer { .. } if foreign.ip().is_ipv4() => {
                        GroupCheck::MayBeBroadcast
                    }
                    _ => GroupCheck::of_literal(foreign.ip()),
                },
            },
        }
    }
}

impl fmt::Display for BindTarget {
    /// Describes the target in words; `{:#}` adds every interface with the address's subnet and
    /// state, and the closest local addresses of a foreign one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(wildcard) => wildcard.fmt(f),
            Self::Loopback(addrs) => write!(f, "this host only ({addrs})"),
            Self::Local(addr) => addr.fmt(f),
            Self::Foreign(addr) => addr.fmt(f),
        }
    }
}

/// The class of an address on a host, without the payload of a [`BindTarget`].
///
/// It costs one lookup in a hash map and shares nothing with the snapshot, so a server can classify
/// an address of every request.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::target::Class;
/// use bindaddr::Interfaces;
///
/// let host: Interfaces =
///     [Interface::new("eth0", 2).with_addr("10.0.0.1".parse()?, 8)].into_iter().collect();
/// assert_eq!(Class::of("10.0.0.1".parse()?, &host), Class::Local);
/// assert_eq!(Class::of("10.0.0.2".parse()?, &host), Class::Foreign);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A wildcard: [`BindTarget::Any`].
    Any,
    /// A loopback address: [`BindTarget::Loopback`].
    Loopback,
    /// An address that an interface of the host has: [`BindTarget::Local`].
    Local,
    /// An address that no interface of the host has: [`BindTarget::Foreign`].
    Foreign,
}

impl Class {
    /// Classifies an address against a snapshot, as [`BindTarget::classify`] does.
    ///
    /// A link-local address is `Local` if any interface has it, because its zone is not considered.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::target::Class;
    /// use bindaddr::Interfaces;
    ///
    /// let host = Interfaces::default();
    /// assert_eq!(Class::of("::ffff:127.0.0.1".parse()?, &host), Class::Loopback);
    /// assert_eq!(Class::of("::".parse()?, &host), Class::Any);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[inline]
    #[must_use]
    pub fn of(ip: IpAddr, host: &Interfaces) -> Self {
        let ip = ip.to_canonical();
        if ip.is_unspecified() {
            Self::Any
        } else if ip.is_loopback() {
            Self::Loopback
        } else if host.has(ip) {
            Self::Local
        } else {
            Self::Foreign
        }
    }
}

/// The address of a socket, without its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Any(Wildcard),
    /// Both loopback addresses, the second one where the host has it.
    Localhost,
    Ip {
        ip: IpAddr,
        scope_id: u32,
        group: GroupCheck,
    },
}

/// Returns the address of a socket; a scope id of 0 means no zone.
pub(crate) fn socket_addr(ip: IpAddr, scope_id: u32, port: u16) -> SocketAddr {
    match ip {
        IpAddr::V4(_) => (ip, port).into(),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, scope_id).into(),
    }
}

/// An address of many hosts, which no TCP client can connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GroupAddr {
    /// A multicast group (RFC 5771; RFC 4291, section 2.7).
    Multicast,
    /// The limited broadcast address (RFC 919), or that of a subnet.
    Broadcast,
}

/// The knowledge whether an address is a [`GroupAddr`], before the kernel is queried. Linux binds
/// some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GroupCheck {
    /// One host has it.
    Host,
    Group(GroupAddr),
    /// It may be the broadcast address of a subnet, which only the kernel knows.
    MayBeBroadcast,
    /// It may be the lowest address of a subnet, which is a broadcast address before Linux 5.14.
    MayBeOldBroadcast,
}

impl GroupCheck {
    /// Decides on an address of which no snapshot says more.
    pub(crate) fn of_literal(ip: IpAddr) -> Self {
        match (Self::of_listed(ip), ip) {
            (Self::Host, IpAddr::V4(v4)) => match v4.octets()[3] & 0b11 {
                // In a subnet of /30 or larger the last two bits of a broadcast address are all
                // set, or none is.
                0b11 => Self::MayBeBroadcast,
                0b00 => Self::MayBeOldBroadcast,
                _ => Self::Host,
            },
            (check, _) => check,
        }
    }

    /// Decides on an address that an interface has, which may even be a multicast address
    /// (`autojoin`, ip-address(8)).
    pub(crate) fn of_listed(ip: IpAddr) -> Self {
        match ip {
            _ if ip.is_multicast() => Self::Group(GroupAddr::Multicast),
            IpAddr::V4(v4) if v4.is_broadcast() => Self::Group(GroupAddr::Broadcast),
            _ => Self::Host,
        }
    }
}

impl Endpoint {
    /// The loopback address of a family.
    pub(crate) fn loopback(family: Family) -> Self {
        Self::literal(
            match family {
                Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
                Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
            },
            0,
        )
    }

    /// An address without a snapshot.
    pub(crate) fn literal(ip: IpAddr, scope_id: u32) -> Self {
        Self::Ip {
            ip,
            scope_id,
            group: GroupCheck::of_literal(ip),
        }
    }

    pub(crate) fn classify(self, host: &Interfaces) -> BindTarget {
        match self {
            Self::Any(wildcard) => BindTarget::Any(wildcard),
            Self::Localhost => BindTarget::Loopback(LoopbackAddrs(Loopbacks::Localhost)),
            Self::Ip { ip, scope_id, .. } => BindTarget::classify_in_zone(ip, scope_id, host),
        }
    }
}

/// A wildcard, and its families.
///
/// # Examples
///
/// ```
/// use bindaddr::target::Wildcard;
/// use bindaddr::BindTarget;
///
/// assert_eq!(BindTarget::parse("*")?, BindTarget::Any(Wildcard::All));
/// assert_eq!(BindTarget::parse("ipv6@*")?, BindTarget::Any(Wildcard::Ipv6));
/// # Ok::<(), bindaddr::target::ResolveError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wildcard {
    /// `*`: IPv4 and IPv6 on one dual-stack socket, and IPv4 alone where the
    /// host has no IPv6.
    All,
    /// `[::]`: IPv4 and IPv6 on one dual-stack socket.
    DualStack,
    /// `0.0.0.0`: IPv4 only.
    Ipv4,
    /// `ipv6@*`: IPv6 only.
    Ipv6,
}

impl Wildcard {
    /// Returns `true` if clients of `family` can connect.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::addr::Family;
    /// use bindaddr::target::Wildcard;
    ///
    /// assert!(Wildcard::DualStack.takes(Family::Ipv4));
    /// assert!(!Wildcard::Ipv6.takes(Family::Ipv4));
    /// ```
    #[must_use]
    pub fn takes(self, family: Family) -> bool {
        match self {
            Self::All | Self::DualStack => true,
            Self::Ipv4 => family == Family::Ipv4,
            Self::Ipv6 => family == Family::Ipv6,
        }
    }
}

impl fmt::Display for Wildcard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::All | Self::DualStack => "every IPv4 and IPv6 address of this host",
            Self::Ipv4 => "every IPv4 address of this host",
            Self::Ipv6 => "every IPv6 address of this host",
        })
    }
}

/// The addresses of a [`BindTarget::Loopback`].
///
/// # Examples
///
/// ```
/// use bindaddr::BindTarget;
///
/// let BindTarget::Loopback(addrs) = BindTarget::parse("127.0.0.2")? else { unreachable!() };
/// assert_eq!(addrs.to_string(), "127.0.0.2");
/// # Ok::<(), bindaddr::target::ResolveError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoopbackAddrs(Loopbacks);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Loopbacks {
    Localhost,
    One(IpAddr),
}

impl LoopbackAddrs {
    /// Iterates over the addresses: one, or `127.0.0.1` and `::1` for `localhost`.
    pub fn ips(self) -> impl Iterator<Item = IpAddr> {
        let ips = match self.0 {
            Loopbacks::Localhost => [
                Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
                Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            ],
            Loopbacks::One(ip) => [Some(ip), None],
        };
        ips.into_iter().flatten()
    }
}

impl fmt::Display for LoopbackAddrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, ip) in self.ips().enumerate() {
            let joint = if n == 0 { "" } else { " and " };
            write!(f, "{joint}{ip}")?;
        }
        Ok(())
    }
}

/// An address and the snapshot it was looked up in.
#[derive(Clone)]
struct HostAddr {
    ip: IpAddr,
    /// 0 for no zone.
    scope_id: u32,
    host: Interfaces,
}

impl HostAddr {
    fn scope_id(&self) -> Option<u32> {
        (self.scope_id != 0).then_some(self.scope_id)
    }

    /// The interfaces that have the address in its zone.
    fn owners(&self) -> impl Iterator<Item = &Interface> {
        let in_zone = self.host.by_index(self.scope_id);
        let in_zone = in_zone.filter(|interface| interface.entry(self.ip).is_some());
        let anywhere = (self.scope_id == 0).then(|| self.host.by_ip(self.ip));
        in_zone.into_iter().chain(anywhere.into_iter().flatten())
    }
}

impl PartialEq for HostAddr {
    /// Compares the address and what the snapshots say of it, not the whole snapshots.
    fn eq(&self, other: &Self) -> bool {
        (self.ip, self.scope_id) == (other.ip, other.scope_id)
            && self.owners().eq(other.owners())
            && reason_in(self) == reason_in(other)
    }
}

impl Eq for HostAddr {}

impl Hash for HostAddr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.ip, self.scope_id).hash(state);
    }
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ip.fmt(f)?;
        match (self.scope_id, self.host.by_index(self.scope_id)) {
            (0, _) => Ok(()),
            (_, Some(interface)) => write!(f, "%{interface}"),
            (index, None) => write!(f, "%{index}"),
        }
    }
}

/// The address of a [`BindTarget::Local`], and the interfaces that have it.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let host: Interfaces =
///     [Interface::new("eth0", 2).with_addr("fe80::77".parse()?, 64)].into_iter().collect();
/// let BindTarget::Local(addr) = BindTarget::parse_with("fe80::77%eth0", &host)? else {
///     unreachable!()
/// };
/// assert_eq!((addr.ip(), addr.scope_id()), ("fe80::77".parse()?, Some(2)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct LocalAddr(HostAddr);

impl LocalAddr {
    /// Returns the address; never an IPv4-mapped one.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.0.ip
    }

    /// Returns the zone of a link-local address, as the index of its interface.
    #[must_use]
    pub fn scope_id(&self) -> Option<u32> {
        self.0.scope_id()
    }

    /// Iterates over the interfaces that have the address: at least one.
    pub fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.0.owners()
    }
}

impl fmt::Debug for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalAddr")
            .field("ip", &self.ip())
            .field("scope_id", &self.scope_id())
            .field("interfaces", &self.interfaces().collect::<Vec<_>>())
            .finish()
    }
}

impl fmt::Display for LocalAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, an address of ", self.0)?;
        let shown = if f.alternate() { usize::MAX } else { 3 };
        for (n, interface) in self.interfaces().take(shown).enumerate() {
            let joint = if n == 0 { "" } else { " and " };
            write!(f, "{joint}{interface}")?;
            if !interface.is_running() {
                f.write_str(" (not running)")?;
            }
            if let Some(entry) = interface.entry(self.ip()).filter(|_| f.alternate()) {
                write!(f, " ({}", entry.subnet())?;
                let remarks = [
                    (
                        entry.state() != AddrState::Preferred,
                        entry.state().to_string(),
                    ),
                    (entry.is_temporary(), "temporary".to_owned()),
                ];
                for (_, remark) in remarks.iter().filter(|(is, _)| *is) {
                    write!(f, ", {remark}")?;
                }
                f.write_str(")")?;
            }
        }
        match self.interfaces().skip(shown).count() {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        Ok(())
    }
}
