//! The rows of the table of interfaces: [`InterfaceRow`], [`AddrRow`] and [`Link`].

use std::net::{IpAddr, Ipv4Addr};

/// An interface that has an address, or one of its addresses where the system lists addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InterfaceRow {
    pub(crate) name: String,
    /// 0 where the system does not report it.
    pub(crate) index: u32,
    /// `IFF_UP`; `None` where the system does not report it.
    pub(crate) up: Option<bool>,
    /// Up and with a carrier.
    pub(crate) running: bool,
    /// `IFF_LOOPBACK`; `None` where the system does not report it.
    pub(crate) loopback: Option<bool>,
    pub(crate) addrs: Vec<AddrRow>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AddrRow {
    pub(crate) ip: IpAddr,
    pub(crate) prefix_len: u8,
    pub(crate) broadcast: Option<Ipv4Addr>,
    /// The other end of a point-to-point link, or its network.
    pub(crate) peer: Option<IpAddr>,
    /// Empty for IPv4, where the bits have other meanings, and where the system does not report
    /// them.
    pub(crate) flags: AddrFlags,
    /// `false` only if the kernel is known to deliver no packet to the address, because its
    /// interface went down and took the local route with it.
    pub(crate) may_be_routed: bool,
}

/// The flags of an IPv6 address: `IFA_F_*` of `linux/if_addr.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct AddrFlags(pub(crate) u32);

impl AddrFlags {
    const TEMPORARY: u32 = 0x01;
    const OPTIMISTIC: u32 = 0x04;
    const DADFAILED: u32 = 0x08;
    const DEPRECATED: u32 = 0x20;
    const TENTATIVE: u32 = 0x40;

    fn has(self, flag: u32) -> bool {
        self.0 & flag != 0
    }

    /// Returns `true` for an address of the privacy extensions (RFC 8981).
    pub(crate) fn is_temporary(self) -> bool {
        self.has(Self::TEMPORARY)
    }

    pub(crate) fn is_deprecated(self) -> bool {
        self.has(Self::DEPRECATED)
    }

    /// Returns `true` if duplicate address detection has found another host with the address.
    pub(crate) fn is_duplicate(self) -> bool {
        self.has(Self::DADFAILED)
    }

    /// Returns `true` if the address cannot be bound until duplicate address detection is over. An
    /// optimistic address can (RFC 4429).
    pub(crate) fn is_tentative(self) -> bool {
        self.has(Self::TENTATIVE) && !self.has(Self::OPTIMISTIC)
    }
}

/// A network interface, with an address or without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    /// Up and with a carrier.
    pub(crate) running: bool,
    /// The index of the bridge or VRF that the interface is part of; 0 for none.
    pub(crate) master: u32,
    pub(crate) kind: LinkKind,
    /// The name of the kind in ip-link(8); empty for a network card.
    pub(crate) kind_name: String,
    /// 0 where it is not reported.
    pub(crate) mtu: u32,
    /// The other end of the link is in another network namespace.
    pub(crate) ends_elsewhere: bool,
}

/// The kinds of links that the crate distinguishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LinkKind {
    #[default]
    Other,
    Loopback,
    /// A process reads and writes its packets (`tun` or `tap`).
    Tun,
    Vrf,
    /// It receives the packets of its ports, as a bridge, a bond or a team does.
    Switch,
}
