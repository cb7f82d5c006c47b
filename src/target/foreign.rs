//! Why an address is not the host's: [`ForeignAddr`] and [`ForeignReason`].

use std::fmt;
use std::net::IpAddr;

use super::HostAddr;
use crate::interfaces::{Interface, InterfaceAddr};

/// The address of a [`BindTarget::Foreign`](crate::BindTarget::Foreign), and why it is likely not
/// the host's.
///
/// # Examples
///
/// ```
/// use bindaddr::target::ForeignReason;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let target = BindTarget::parse_with("224.0.0.1", &Interfaces::default())?;
/// let BindTarget::Foreign(addr) = target else { unreachable!() };
/// assert_eq!(addr.reason(), ForeignReason::Multicast);
/// assert_eq!((addr.ip(), addr.scope_id()), ("224.0.0.1".parse()?, None));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ForeignAddr(pub(super) HostAddr);

impl ForeignAddr {
    /// Returns the address; never an IPv4-mapped one.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.0.ip
    }

    /// Returns the zone of a link-local address, as the index of an interface.
    #[must_use]
    pub fn scope_id(&self) -> Option<u32> {
        self.0.scope_id()
    }

    /// Returns why no interface is likely to have the address.
    #[must_use]
    pub fn reason(&self) -> ForeignReason<'_> {
        reason_in(&self.0)
    }

    /// Returns up to three addresses of the host that share the longest prefixes with this one.
    ///
    /// They are of its family, and link-local only if it is, too.
    #[must_use]
    pub fn nearest(&self) -> Vec<IpAddr> {
        let HostAddr {
            ip, scope_id, host, ..
        } = &self.0;
        if *scope_id == 0 {
            return host.nearest(*ip, 3);
        }
        // Addresses of other links are not near.
        let in_zone = |near: &IpAddr| {
            let zone = host.by_index(*scope_id);
            zone.is_some_and(|zone| zone.entry(*near).is_some())
        };
        let nearest = host.nearest(*ip, 64).into_iter().filter(in_zone);
        nearest.take(3).collect()
    }
}

impl fmt::Debug for ForeignAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignAddr")
            .field("ip", &self.ip())
            .field("scope_id", &self.scope_id())
            .field("reason", &self.reason())
            .field("nearest", &self.nearest())
            .finish()
    }
}

impl fmt::Display for ForeignAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, which no interface of this host has", self.0)?;
        write!(f, "; {}", self.reason())?;
        if f.alternate() {
            for (n, ip) in self.nearest().iter().enumerate() {
                let joint = if n == 0 {
                    "; closest local addresses:"
                } else {
                    ","
                };
                write!(f, "{joint} {ip}")?;
            }
        }
        Ok(())
    }
}

/// Why an address is likely not one of the host's.
///
/// # Examples
///
/// ```
/// use bindaddr::interfaces::Interface;
/// use bindaddr::target::ForeignReason;
/// use bindaddr::{BindTarget, Interfaces};
///
/// let host: Interfaces =
///     [Interface::new("eth0", 2).with_addr("10.0.0.1".parse()?, 24)].into_iter().collect();
/// let target = BindTarget::parse_with("10.0.0.0", &host)?;
/// let BindTarget::Foreign(addr) = &target else { unreachable!() };
/// match addr.reason() {
///     ForeignReason::NetworkAddress { interface, .. } => assert_eq!(interface.name(), "eth0"),
///     reason => unreachable!("{reason}"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignReason<'a> {
    /// The limited broadcast address, 255.255.255.255 (RFC 919).
    LimitedBroadcast,
    /// A multicast group (RFC 5771, RFC 4291 section 2.7).
    Multicast,
    /// An address in 0.0.0.0/8, "this network" (RFC 1122, section 3.2.1.3).
    ThisNetwork,
    /// The link-local address of another interface than the zone says.
    #[non_exhaustive]
    OtherZone {
        /// The first interface that has the address.
        interface: &'a Interface,
    },
    /// The other end of a point-to-point link.
    #[non_exhaustive]
    Peer {
        /// The interface of the link.
        interface: &'a Interface,
        /// This end.
        addr: &'a InterfaceAddr,
    },
    /// The broadcast address of a subnet (RFC 919).
    #[non_exhaustive]
    DirectedBroadcast {
        /// The interface in that subnet.
        interface: &'a Interface,
        /// Its address there.
        addr: &'a InterfaceAddr,
    },
    /// The network address of an IPv4 subnet, or the subnet-router anycast
    /// address of an IPv6 one (RFC 4291, section 2.6.1).
    #[non_exhaustive]
    NetworkAddress {
        /// The interface in that subnet.
        interface: &'a Interface,
        /// Its address there.
        addr: &'a InterfaceAddr,
    },
    /// An address in a subnet of the host. Whether another host has it is not known.
    #[non_exhaustive]
    SameSubnet {
        /// The interface in that subnet.
        interface: &'a Interface,
        /// Its address there.
        addr: &'a InterfaceAddr,
    },
    /// An address in no subnet of the host.
    Unrelated,
}

impl ForeignReason<'_> {
    /// Returns `true` if the address is a group of hosts: multicast or broadcast.
    pub(crate) fn is_group(self) -> bool {
        matches!(
            self,
            Self::Multicast | Self::LimitedBroadcast | Self::DirectedBroadcast { .. }
        )
    }

    /// Returns `true` if a host may be given the address.
    pub(crate) fn may_be_assigned(self) -> bool {
        !self.is_group() && self != Self::ThisNetwork
    }
}

impl fmt::Display for ForeignReason<'_> {
    /// Writes a clause about "it", the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitedBroadcast => f.write_str("it is the limited broadcast address"),
            Self::Multicast => f.write_str("it is a multicast address"),
            Self::ThisNetwork => f.write_str("it is in the reserved network 0.0.0.0/8"),
            Self::OtherZone { interface } => {
                write!(
                    f,
                    "it is on {interface}, but its zone names another interface"
                )
            }
            Self::Peer { interface, addr } => write!(
                f,
                "it is the peer address of {interface}, whose own address is {}",
                addr.ip()
            ),
            Self::DirectedBroadcast { interface, addr } => write!(
                f,
                "it is the broadcast address of {interface}'s subnet ({addr})"
            ),
            Self::NetworkAddress { interface, addr } => {
                let what = match addr.ip() {
                    IpAddr::V4(_) => "network address",
                    IpAddr::V6(_) => "subnet-router anycast address",
                };
                write!(f, "it is the {what} of {interface}'s subnet ({addr})")
            }
            Self::SameSubnet { interface, addr } => {
                write!(
                    f,
                    "it is in {interface}'s subnet ({addr}) but not assigned to this host"
                )
            }
            Self::Unrelated => f.write_str("it is in none of this host's subnets"),
        }
    }
}

pub(super) fn reason_in(host_addr: &HostAddr) -> ForeignReason<'_> {
    let HostAddr { ip, scope_id, host } = host_addr;
    if ip.is_multicast() {
        return ForeignReason::Multicast;
    }
    match ip {
        IpAddr::V4(v4) => {
            if v4.is_broadcast() {
                return ForeignReason::LimitedBroadcast;
            }
            if v4.octets()[0] == 0 {
                return ForeignReason::ThisNetwork;
            }
            if let Some((interface, addr)) = host.broadcast_of(*v4) {
                return ForeignReason::DirectedBroadcast { interface, addr };
            }
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            if let Some(interface) = host.by_ip(*ip).next() {
                return ForeignReason::OtherZone { interface };
            }
            // Every interface has the subnet fe80::/64: only the zone's counts.
            let neighbour = host.by_index(*scope_id).and_then(|interface| {
                let mut addrs = interface.addrs().iter();
                let addr = addrs.find(|addr| addr.subnet().contains(*ip))?;
                Some(ForeignReason::SameSubnet { interface, addr })
            });
            return neighbour.unwrap_or(ForeignReason::Unrelated);
        }
        IpAddr::V6(_) => {}
    }
    if let Some((interface, addr)) = host.peer_of(*ip) {
        return ForeignReason::Peer { interface, addr };
    }
    if let Some((interface, addr)) = host.network_of(*ip) {
        return ForeignReason::NetworkAddress { interface, addr };
    }
    match host.subnets_of(*ip).next() {
        Some((interface, addr)) => ForeignReason::SameSubnet { interface, addr },
        None => ForeignReason::Unrelated,
    }
}
