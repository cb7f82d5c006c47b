//! Converts the rows of the system into the types of the snapshot.

use std::net::IpAddr;

use super::{AddrState, Interface, InterfaceAddr};
use crate::sys::{AddrFlags, AddrRow, InterfaceRow};

impl From<InterfaceRow> for Interface {
    fn from(row: InterfaceRow) -> Self {
        let mut new = Self::new(row.name, row.index).with_running(row.running);
        if let Some(up) = row.up {
            new = new.with_up(up);
        }
        if let Some(loopback) = row.loopback {
            new = new.with_loopback(loopback);
        }
        new.addrs = row.addrs.into_iter().map(InterfaceAddr::from).collect();
        new
    }
}

impl From<AddrRow> for InterfaceAddr {
    fn from(row: AddrRow) -> Self {
        let prefix_len = match row.peer {
            // In IPv4 the prefix is that of the peer's network.
            Some(IpAddr::V4(_)) => u8::MAX,
            _ => row.prefix_len,
        };
        let mut new = Self::new(row.ip, prefix_len)
            .with_state(AddrState::of(row.flags))
            .with_temporary(row.flags.is_temporary());
        if new.is_usable() && !row.may_be_routed {
            new = new.with_state(AddrState::Unrouted);
        }
        new.peer = row.peer.map(|peer| peer.to_canonical());
        new.broadcast = row.broadcast;
        new
    }
}

impl AddrState {
    /// Returns the state that the flags of an address describe.
    pub(crate) fn of(flags: AddrFlags) -> Self {
        if flags.is_duplicate() {
            Self::Duplicate
        } else if flags.is_tentative() {
            Self::Tentative
        } else if flags.is_deprecated() {
            Self::Deprecated
        } else {
            Self::Preferred
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn optimistic_address_is_not_tentative() {
        for (flags, state) in [
            (0x40, AddrState::Tentative),
            (0xc0, AddrState::Tentative),
            (0xc8, AddrState::Duplicate),
            (0xc4, AddrState::Preferred),
            (0x80, AddrState::Preferred),
            (0xa0, AddrState::Deprecated),
        ] {
            assert_eq!(AddrState::of(AddrFlags(flags)), state, "{flags:#x}");
        }
    }

    #[test]
    fn row_has_broadcast_or_peer() {
        let ip = Ipv4Addr::new(10, 0, 0, 1);
        let other = Ipv4Addr::new(10, 0, 0, 9);
        let read = |prefix_len, broadcast, peer: Option<Ipv4Addr>| {
            Interface::from(InterfaceRow {
                name: "eth0".into(),
                index: 2,
                up: None,
                running: true,
                loopback: None,
                addrs: vec![AddrRow {
                    ip: ip.into(),
                    prefix_len,
                    broadcast,
                    peer: peer.map(IpAddr::V4),
                    flags: AddrFlags::default(),
                    may_be_routed: true,
                }],
            })
        };
        let eth0 = || Interface::new("eth0", 2);
        assert_eq!(read(24, None, None), eth0().with_addr(ip.into(), 24));
        assert_eq!(
            read(24, Some(other), None),
            eth0().with_broadcast(ip, 24, other)
        );
        assert_eq!(
            read(32, None, Some(other)),
            eth0().with_peer(ip.into(), other.into())
        );
    }
}
