//! The claim that a socket has on its port: [`Claim`], and why two of them exclude each other.

use std::net::{IpAddr, SocketAddr};

use crate::addr::is_link_scoped;

/// Why two sockets cannot have one port at once, seen from the one that came too late.
///
/// It is the rule of the Linux kernel for sockets without `SO_REUSEPORT`, on canonical addresses:
/// equal addresses exclude each other, and a wildcard excludes what it covers, in either order.
/// Sockets on different interfaces do not exclude each other, nor does a TCP socket on a VRF one on
/// no interface, unless `net.ipv4.tcp_l3mdev_accept` is set.
///
/// # Platform notes
///
/// macOS, the BSDs and Windows let a specific address be bound beside a wildcard.
///
/// # Examples
///
/// ```
/// use bindaddr::target::Overlap;
/// use bindaddr::Cause;
///
/// let held = bindaddr::bind("127.0.0.1:0")?;
/// let port = held.as_slice()[0].local_addr().port();
/// let err = bindaddr::bind(format!("127.0.0.1:{port}")).unwrap_err();
/// let Cause::InUse { holders, .. } = err.cause() else { unreachable!() };
/// // Who holds a port can be read on Linux.
/// assert!(holders.iter().all(|holder| holder.overlap() == Overlap::SameAddress));
/// # Ok::<(), bindaddr::BindError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overlap {
    /// Both have the same address.
    SameAddress,
    /// The other one is the wildcard of the address.
    Covers,
    /// The other one is the dual-stack wildcard `[::]`, which covers IPv4, too.
    CoversAsDualStack,
    /// The other one's address is covered by the wildcard that is wanted.
    IsCovered,
    /// The other one is IPv4 and covered by the dual-stack wildcard that is wanted.
    IsCoveredByDualStack,
}

/// The part of its port that a socket claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Claim {
    /// Never an IPv4-mapped address.
    ip: IpAddr,
    /// Whether a wildcard leaves out IPv4.
    only_v6: bool,
    /// The interface it is bound to, which a zone does as well.
    device: DeviceIndex,
}

/// The interface that a socket is bound to, so that two of them can be compared.
///
/// A name has no index where there is no such interface, or where that cannot be read. A number
/// takes its place, the same for the same name of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DeviceIndex {
    /// It is bound to none.
    None,
    Known(u32),
    /// No interface has that name.
    Missing(usize),
    /// The index cannot be read, or the snapshot does not show it.
    Unknown(usize),
}

impl DeviceIndex {
    /// Returns the interface of a scope id or of what the kernel reports, where 0 is none.
    pub(crate) fn of(index: u32) -> Self {
        match index {
            0 => Self::None,
            index => Self::Known(index),
        }
    }

    /// Returns the index of an interface that has a known one.
    pub(crate) fn known(self) -> Option<u32> {
        match self {
            Self::Known(index) => Some(index),
            Self::None | Self::Missing(_) | Self::Unknown(_) => None,
        }
    }
}

impl Claim {
    pub(crate) fn new(ip: IpAddr, only_v6: bool, device: DeviceIndex) -> Self {
        Self {
            ip: ip.to_canonical(),
            only_v6,
            device,
        }
    }

    /// The claim of a socket that is bound to no device but the zone of its address.
    pub(crate) fn of_socket(addr: SocketAddr, only_v6: bool) -> Self {
        Self::new(addr.ip(), only_v6, DeviceIndex::of(zone(addr)))
    }

    /// The same claim of a socket that is bound to a device, where no zone says which.
    pub(crate) fn on_device(self, device: DeviceIndex) -> Self {
        match self.device {
            DeviceIndex::None => Self { device, ..self },
            _ => self,
        }
    }

    /// The same claim of a socket that may be bound to any device.
    pub(crate) fn without_device(mut self) -> Self {
        self.device = DeviceIndex::None;
        self
    }

    pub(crate) fn ip(self) -> IpAddr {
        self.ip
    }

    pub(crate) fn device(self) -> DeviceIndex {
        self.device
    }

    /// Returns `true` if it is of the wildcard of both families.
    pub(crate) fn is_dual_stack(self) -> bool {
        self.ip.is_ipv6() && self.ip.is_unspecified() && !self.only_v6
    }

    /// Returns why this socket cannot be opened beside `other` on one port, if so.
    pub(crate) fn overlap(self, other: Self) -> Option<Overlap> {
        let has_any = [self.device, other.device].contains(&DeviceIndex::None);
        if !has_any && self.device != other.device {
            return None;
        }
        if self.ip == other.ip {
            return Some(Overlap::SameAddress);
        }
        let same_family = self.ip.is_ipv4() == other.ip.is_ipv4();
        let other_is_wider = match other {
            _ if !other.ip.is_unspecified() => None,
            _ if same_family => Some(Overlap::Covers),
            Self { only_v6: false, .. } if other.ip.is_ipv6() => Some(Overlap::CoversAsDualStack),
            _ => None,
        };
        let this_is_wider = match self {
            _ if !self.ip.is_unspecified() => None,
            _ if same_family => Some(Overlap::IsCovered),
            Self { only_v6: false, .. } if self.ip.is_ipv6() => Some(Overlap::IsCoveredByDualStack),
            _ => None,
        };
        other_is_wider.or(this_is_wider)
    }
}

/// The scope id of an address; 0 for none.
pub(crate) fn zone(addr: SocketAddr) -> u32 {
    match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// Returns `true` if bind(2) binds the socket to the zone of the address, in place of any device
/// (`__inet6_bind` of `net/ipv6/af_inet6.c`).
pub(crate) fn is_scoped(addr: SocketAddr) -> bool {
    matches!(addr, SocketAddr::V6(v6) if v6.scope_id() != 0 && is_link_scoped(*v6.ip()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claims() -> impl Strategy<Value = Claim> {
        let ips = prop_oneof![
            Just("0.0.0.0"),
            Just("::"),
            Just("127.0.0.1"),
            Just("::ffff:127.0.0.1"),
            Just("10.0.0.1"),
            Just("::1"),
            Just("fe80::1"),
        ];
        let devices = prop_oneof![
            (0..3u32).prop_map(DeviceIndex::of),
            (0..2usize).prop_map(DeviceIndex::Unknown),
        ];
        (ips, any::<bool>(), devices).prop_map(|(ip, only_v6, device)| {
            Claim::new(ip.parse().expect("an address"), only_v6, device)
        })
    }

    proptest! {
        #[test]
        fn overlap_is_mutual_and_mirrored(a in claims(), b in claims()) {
            let mirrored = b.overlap(a).map(|overlap| match overlap {
                Overlap::SameAddress => Overlap::SameAddress,
                Overlap::Covers => Overlap::IsCovered,
                Overlap::CoversAsDualStack => Overlap::IsCoveredByDualStack,
                Overlap::IsCovered => Overlap::Covers,
                Overlap::IsCoveredByDualStack => Overlap::CoversAsDualStack,
            });
            prop_assert_eq!(a.overlap(b), mirrored);
            prop_assert_eq!(a.overlap(a), Some(Overlap::SameAddress));
        }

        #[test]
        fn device_only_narrows_a_claim(a in claims(), b in claims()) {
            let free = |claim: Claim| Claim { device: DeviceIndex::None, ..claim };
            if a.overlap(b).is_some() {
                prop_assert_eq!(a.overlap(b), free(a).overlap(free(b)));
            }
        }
    }
}
