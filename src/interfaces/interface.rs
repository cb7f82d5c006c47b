//! One interface of a snapshot: [`Interface`], and each [`InterfaceAddr`] of it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use crate::addr::is_link_scoped;
use crate::addr::network::{Network, addr_bits};

/// A network interface and its addresses.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
///
/// let tunnel = Interface::new("tun0", 7)
///     .with_peer("10.8.0.1".parse()?, "10.8.0.2".parse()?)
///     .with_running(false);
/// assert_eq!(tunnel.addrs()[0].peer(), Some("10.8.0.2".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Interface {
    pub(super) name: String,
    /// 0 where the system did not report it.
    pub(super) index: u32,
    up: bool,
    running: bool,
    /// `None` where it is unknown.
    loopback: Option<bool>,
    pub(super) addrs: Vec<InterfaceAddr>,
}

impl Interface {
    /// Makes up an interface that is running and has no address yet.
    ///
    /// An `index` of 0 means that it is unknown.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    ///
    /// let eth0 = Interface::new("eth0", 2);
    /// assert_eq!((eth0.name(), eth0.index()), ("eth0", Some(2)));
    /// ```
    #[must_use]
    pub fn new(name: impl Into<String>, index: u32) -> Self {
        Self {
            name: name.into(),
            index,
            up: true,
            running: true,
            loopback: None,
            addrs: Vec::new(),
        }
    }

    /// Adds an address with the length of its subnet's prefix, in bits.
    ///
    /// A length beyond the address counts as its whole length.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    ///
    /// let eth0 = Interface::new("eth0", 2).with_addr("10.0.0.1".parse()?, 8);
    /// assert_eq!(eth0.addrs()[0].to_string(), "10.0.0.1/8");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_addr(mut self, ip: IpAddr, prefix_len: u8) -> Self {
        self.addrs.push(InterfaceAddr::new(ip, prefix_len));
        self
    }

    /// Adds an address whose subnet has an explicit broadcast address.
    ///
    /// The all-ones address of a subnet of /30 or larger is a broadcast without it.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    /// use bindaddr::target::ForeignReason;
    /// use bindaddr::{BindTarget, Interfaces};
    ///
    /// let eth0 = Interface::new("eth0", 2)
    ///     .with_broadcast("10.0.0.1".parse()?, 24, "10.0.0.200".parse()?);
    /// let host: Interfaces = [eth0].into_iter().collect();
    /// let BindTarget::Foreign(addr) = BindTarget::classify("10.0.0.200".parse()?, &host) else {
    ///     unreachable!()
    /// };
    /// assert!(matches!(addr.reason(), ForeignReason::DirectedBroadcast { .. }));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_broadcast(mut self, ip: Ipv4Addr, prefix_len: u8, broadcast: Ipv4Addr) -> Self {
        let mut addr = InterfaceAddr::new(IpAddr::V4(ip), prefix_len);
        addr.broadcast = Some(broadcast);
        self.addrs.push(addr);
        self
    }

    /// Adds an address of a point-to-point link with the address of its other end.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    ///
    /// let tun0 = Interface::new("tun0", 7).with_peer("10.8.0.1".parse()?, "10.8.0.2".parse()?);
    /// assert_eq!(tun0.addrs()[0].peer(), Some("10.8.0.2".parse()?));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_peer(mut self, ip: IpAddr, peer: IpAddr) -> Self {
        let mut addr = InterfaceAddr::new(ip, u8::MAX);
        addr.peer = Some(peer.to_canonical());
        self.addrs.push(addr);
        self
    }

    /// Adds an address of which more is known.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::{AddrState, Interface, InterfaceAddr};
    ///
    /// let addr = InterfaceAddr::new("2001:db8::10".parse()?, 64).with_state(AddrState::Tentative);
    /// let eth0 = Interface::new("eth0", 2).with_interface_addr(addr);
    /// assert_eq!(eth0.addrs()[0].state(), AddrState::Tentative);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_interface_addr(mut self, addr: InterfaceAddr) -> Self {
        self.addrs.push(addr);
        self
    }

    /// Sets whether the interface is switched on; one that is not does not run either.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    ///
    /// assert!(!Interface::new("eth0", 2).with_up(false).is_up());
    /// ```
    #[must_use]
    pub fn with_up(mut self, up: bool) -> Self {
        self.up = up;
        self.running &= up;
        self
    }

    /// Sets whether the interface is up and has a carrier.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    ///
    /// assert!(!Interface::new("eth0", 2).with_running(false).is_running());
    /// ```
    #[must_use]
    pub fn with_running(mut self, running: bool) -> Self {
        self.running = running;
        self
    }

    /// Sets whether it is a loopback interface, whatever its addresses.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::Interface;
    ///
    /// let eth0 = Interface::new("eth0", 2).with_addr("127.5.5.5".parse()?, 32);
    /// assert!(!eth0.with_loopback(false).is_loopback());
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_loopback(mut self, loopback: bool) -> Self {
        self.loopback = Some(loopback);
        self
    }

    /// Returns the name; on Windows, the friendly one.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the index, which is the scope id of its link-local addresses.
    ///
    /// It is `None` where the system does not report it.
    #[must_use]
    pub fn index(&self) -> Option<u32> {
        (self.index != 0).then_some(self.index)
    }

    /// Returns `true` if it is a loopback interface; where that is unknown, if it has a loopback
    /// address.
    ///
    /// # Platform notes
    ///
    /// Linux: `IFF_LOOPBACK`, netdevice(7). Elsewhere it is not said.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let has_loopback = || self.addrs.iter().any(|addr| addr.ip.is_loopback());
        self.loopback.unwrap_or_else(has_loopback)
    }

    /// Returns `true` if its zone has no other hosts. Where it is unknown whether it is a loopback
    /// interface, an address of 127.0.0.0/8 on a network card makes it none.
    pub(crate) fn is_host_only(&self) -> bool {
        let is_of_lo =
            |ip: IpAddr| ip.is_loopback() || matches!(ip, IpAddr::V6(ip) if is_link_scoped(ip));
        let has_no_other = || self.addrs.iter().all(|addr| is_of_lo(addr.ip));
        self.is_loopback() && self.loopback.unwrap_or_else(has_no_other)
    }

    /// Returns `true` if the interface is switched on, with a carrier or without.
    ///
    /// An IPv6 address of one that is not takes no connections.
    ///
    /// # Platform notes
    ///
    /// Linux: `IFF_UP`, netdevice(7). Elsewhere it is not known of an interface that does not
    /// run, and says yes.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Returns `true` if the interface is up and has a carrier.
    ///
    /// Linux binds an IPv4 address of an interface that is not running, too.
    ///
    /// # Platform notes
    ///
    /// - Unix: `IFF_RUNNING`, netdevice(7).
    /// - Windows: `IfOperStatusUp`.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.running
    }

    /// Returns the addresses, ordered by value.
    #[must_use]
    pub fn addrs(&self) -> &[InterfaceAddr] {
        &self.addrs
    }

    /// Finds its entry for exactly `ip`.
    pub(crate) fn entry(&self, ip: IpAddr) -> Option<&InterfaceAddr> {
        let at = self.addrs.partition_point(|addr| addr.ip < ip);
        self.addrs.get(at).filter(|addr| addr.ip == ip)
    }

    /// Takes over what another entry says of the same interface.
    pub(super) fn join(&mut self, other: Self) {
        self.index = self.index.max(other.index);
        self.up |= other.up;
        self.running |= other.running;
        self.loopback = self.loopback.or(other.loopback);
        self.name = other.name.min(std::mem::take(&mut self.name));
        self.addrs.extend(other.addrs);
    }
}

impl fmt::Display for Interface {
    /// Writes the name, with control characters escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.escape_debug().fmt(f)
    }
}

/// An address of an [`Interface`].
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
///
/// let eth0 = Interface::new("eth0", 2).with_addr("192.168.71.67".parse()?, 16);
/// let addr = &eth0.addrs()[0];
/// assert_eq!(addr.to_string(), "192.168.71.67/16");
/// assert_eq!(addr.subnet().to_string(), "192.168.0.0/16");
/// assert_eq!((addr.prefix_len(), addr.peer()), (16, None));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InterfaceAddr {
    pub(super) ip: IpAddr,
    pub(super) prefix_len: u8,
    pub(super) broadcast: Option<Ipv4Addr>,
    pub(super) peer: Option<IpAddr>,
    state: AddrState,
    temporary: bool,
}

/// How far an address is usable: its state in the life of an IPv6 address (RFC 4862, section
/// 5.5.4).
///
/// An IPv4 address is always [`Preferred`](Self::Preferred).
///
/// # Platform notes
///
/// Read on Linux. Elsewhere every address counts as preferred.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::{AddrState, InterfaceAddr};
///
/// let addr = InterfaceAddr::new("10.0.0.1".parse()?, 8);
/// assert_eq!(addr.state(), AddrState::Preferred);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddrState {
    /// It is used for whatever is opened.
    #[default]
    Preferred,
    /// It takes connections, and will be gone before long.
    Deprecated,
    /// Whether another host has it is being looked for; until then it cannot be bound, and
    /// no client can connect to it. On an interface without a carrier that never ends.
    Tentative,
    /// Another host has it; it cannot be bound, and no client can connect to it.
    Duplicate,
    /// The interface went down and took the route of the address with it: the address can be bound,
    /// and the kernel delivers nothing to it. An address that was added to an interface that is
    /// down has a route.
    Unrouted,
}

impl fmt::Display for AddrState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preferred => "preferred",
            Self::Deprecated => "deprecated",
            Self::Tentative => "tentative",
            Self::Duplicate => "duplicate",
            Self::Unrouted => "unrouted",
        })
    }
}

impl InterfaceAddr {
    /// Makes up an address with the length of its subnet's prefix, in bits.
    ///
    /// A length beyond the address counts as its whole length.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::InterfaceAddr;
    ///
    /// let addr = InterfaceAddr::new("192.168.71.67".parse()?, 16);
    /// assert_eq!(addr.to_string(), "192.168.71.67/16");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn new(ip: IpAddr, prefix_len: u8) -> Self {
        let ip = ip.to_canonical();
        Self {
            ip,
            prefix_len: prefix_len.min(addr_bits(ip)),
            broadcast: None,
            peer: None,
            state: AddrState::Preferred,
            temporary: false,
        }
    }

    /// Sets how far the address is usable.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::{AddrState, InterfaceAddr};
    ///
    /// let addr = InterfaceAddr::new("fd00::1".parse()?, 64).with_state(AddrState::Tentative);
    /// assert_eq!(addr.state(), AddrState::Tentative);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_state(mut self, state: AddrState) -> Self {
        self.state = state;
        self
    }

    /// Sets whether the address is a temporary one.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::interfaces::InterfaceAddr;
    ///
    /// assert!(InterfaceAddr::new("fd00::1".parse()?, 64).with_temporary(true).is_temporary());
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn with_temporary(mut self, temporary: bool) -> Self {
        self.temporary = temporary;
        self
    }

    /// Returns the address; never an IPv4-mapped one.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Returns the length of the subnet's prefix, in bits.
    #[must_use]
    pub fn prefix_len(&self) -> u8 {
        self.prefix_len
    }

    /// Returns the other end of a point-to-point link, where it is known.
    ///
    /// # Platform notes
    ///
    /// Linux reports it. Elsewhere if-addrs does, on interfaces that could broadcast only, and in
    /// one field with the broadcast address: of the system, a snapshot knows the peer of an
    /// IPv4 host route (`/32`) on such an interface, and no other.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns how far the address is usable.
    #[must_use]
    pub fn state(&self) -> AddrState {
        self.state
    }

    /// Returns `true` if the address is a temporary one, generated for privacy and removed after
    /// hours or days (RFC 8981).
    ///
    /// # Platform notes
    ///
    /// Read on Linux. Elsewhere it says no.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }

    /// Returns `true` if clients can connect to it.
    pub(crate) fn is_usable(&self) -> bool {
        matches!(self.state, AddrState::Preferred | AddrState::Deprecated)
    }

    /// Returns the subnet that the address lies in.
    #[must_use]
    pub fn subnet(&self) -> Network {
        Network::containing(self.ip, self.prefix_len)
    }
}

impl fmt::Display for InterfaceAddr {
    /// Writes the address with its prefix length, as in `192.168.71.67/16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix_len)
    }
}
