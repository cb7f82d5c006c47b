//! A network in CIDR notation: [`Network`], the arithmetic of prefixes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A network: the addresses that share a prefix (CIDR, RFC 4632).
///
/// # Examples
///
/// ```
/// use bindaddr::addr::Network;
///
/// let network = Network::containing("192.168.71.67".parse()?, 16);
/// assert_eq!(network.to_string(), "192.168.0.0/16");
/// assert!(network.contains("192.168.158.94".parse()?));
/// assert!(!network.contains("192.0.2.1".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Network {
    first: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// Returns the network of `prefix_len` bits that `ip` lies in.
    ///
    /// An IPv4-mapped address counts as the IPv4 address, and a length beyond
    /// the address as its whole length.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::addr::Network;
    ///
    /// let network = Network::containing("192.168.71.67".parse()?, 16);
    /// assert_eq!(network.to_string(), "192.168.0.0/16");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn containing(ip: IpAddr, prefix_len: u8) -> Self {
        let ip = ip.to_canonical();
        let prefix_len = prefix_len.min(addr_bits(ip));
        let host_bits = u32::from(addr_bits(ip) - prefix_len);
        let first = match ip {
            IpAddr::V4(ip) => {
                let mask = u32::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() & mask))
            }
            IpAddr::V6(ip) => {
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask))
            }
        };
        Self { first, prefix_len }
    }

    /// Returns the network's first address.
    #[must_use]
    pub fn first(self) -> IpAddr {
        self.first
    }

    /// Returns how many leading bits its addresses share.
    #[must_use]
    pub fn prefix_len(self) -> u8 {
        self.prefix_len
    }

    /// Returns `true` if `ip` lies in the network; an IPv4-mapped address counts as the IPv4
    /// address.
    ///
    /// # Examples
    ///
    /// ```
    /// use bindaddr::addr::Network;
    ///
    /// let network = Network::containing("10.0.0.0".parse()?, 8);
    /// assert!(network.contains("10.1.2.3".parse()?));
    /// assert!(!network.contains("11.0.0.1".parse()?));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn contains(self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && Self::containing(ip, self.prefix_len) == self
    }

    /// Returns the network's last address.
    pub(crate) fn last(self) -> IpAddr {
        let host_bits = u32::from(addr_bits(self.first) - self.prefix_len);
        match self.first {
            IpAddr::V4(first) => {
                let host = u32::MAX
                    .checked_shl(host_bits)
                    .map_or(u32::MAX, |mask| !mask);
                Ipv4Addr::from_bits(first.to_bits() | host).into()
            }
            IpAddr::V6(first) => {
                let host = u128::MAX
                    .checked_shl(host_bits)
                    .map_or(u128::MAX, |mask| !mask);
                Ipv6Addr::from_bits(first.to_bits() | host).into()
            }
        }
    }

    /// Returns the all-ones address, which is the broadcast of an IPv4 subnet of
    /// /30 or larger. A /31 has none (RFC 3021), and neither has IPv6.
    pub(crate) fn broadcast(self) -> Option<Ipv4Addr> {
        match self.first {
            IpAddr::V4(first) if self.prefix_len <= 30 => {
                let host_bits = u32::MAX >> self.prefix_len;
                Some(Ipv4Addr::from_bits(first.to_bits() | host_bits))
            }
            _ => None,
        }
    }

    /// Returns the first address where it is not a host's: the network address of
    /// an IPv4 subnet, the subnet-router anycast address of IPv6 (RFC 4291,
    /// section 2.6.1). A /31 and a /127 have none (RFC 3021, RFC 6164).
    pub(crate) fn reserved_first(self) -> Option<IpAddr> {
        (self.prefix_len + 1 < addr_bits(self.first)).then_some(self.first)
    }

    /// Returns `true` if the network has more than one address.
    pub(crate) fn is_subnet(self) -> bool {
        self.prefix_len < addr_bits(self.first)
    }
}

impl fmt::Display for Network {
    /// Writes the network as in `192.168.0.0/16`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.prefix_len)
    }
}

/// Returns the length of an address of the family of `ip`, in bits.
pub(crate) fn addr_bits(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Returns how many leading bits two addresses of one family share.
pub(crate) fn common_prefix_len(a: IpAddr, b: IpAddr) -> u32 {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
        _ => 0,
    }
}

/// The loopback networks (RFC 1122, section 3.2.1.3; RFC 4291, section 2.5.3).
pub(crate) fn loopback_networks() -> [Network; 2] {
    [
        Network::containing(Ipv4Addr::LOCALHOST.into(), 8),
        Network::containing(Ipv6Addr::LOCALHOST.into(), 128),
    ]
}

/// The private networks: the shared one of RFC 6598, those of RFC 1918, and the unique
/// local one of RFC 4193.
pub(crate) fn private_networks() -> [Network; 5] {
    let v4 = |octets: [u8; 4], len| Network::containing(octets.into(), len);
    [
        v4([100, 64, 0, 0], 10),
        v4([10, 0, 0, 0], 8),
        v4([172, 16, 0, 0], 12),
        v4([192, 168, 0, 0], 16),
        Network::containing(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0).into(), 7),
    ]
}

/// Returns `true` if `ip` addresses many hosts: a multicast group (RFC 5771; RFC 4291, section 2.7)
/// or the limited broadcast (RFC 919). An interface may have it anyway (`autojoin`, ip-address(8)).
pub(crate) fn is_group_addr(ip: IpAddr) -> bool {
    ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// Returns `true` if `ip` is globally reachable unicast, as the IANA special-purpose
/// address registries for IPv4 and IPv6 have it.
pub(crate) fn is_global(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            !(private_networks().iter().any(|private| private.contains(ip.into()))
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || a == 0
                // IETF protocol assignments, except port control and TURN anycast.
                || (a == 192 && b == 0 && c == 0 && d != 9 && d != 10)
                // Benchmarking (RFC 2544).
                || (a == 198 && b & 0xfe == 18)
                // Multicast, reserved and the limited broadcast.
                || a >= 224)
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            // 2000::/3 is all that is allocated for it (RFC 4291, section 2.4) ...
            a & 0xe000 == 0x2000
                // ... save IETF protocol assignments, documentation and 6to4.
                && !(a == 0x2001 && b < 0x200 && !is_global_assignment(ip))
                && !(a == 0x2001 && b == 0xdb8)
                && !(a == 0x3fff && b < 0x1000)
                && a != 0x2002
        }
    }
}

/// The globally reachable parts of `2001::/23`.
fn is_global_assignment(ip: Ipv6Addr) -> bool {
    let [_, b, rest @ ..] = ip.segments();
    match b {
        // Port control, TURN and DNS-SD anycast.
        1 => rest[..5] == [0; 5] && (1..=3).contains(&rest[5]),
        // AS112.
        4 => rest[0] == 0x112,
        // AMT; ORCHIDv2 and drone remote identification.
        3 | 0x20..=0x3f => true,
        _ => false,
    }
}
