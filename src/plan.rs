//! Which sockets to open: [`Endpoint`]s and a port to [`PlannedSocket`]s.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use crate::target::{Claim, Endpoint, Overlap, Standing, Wildcard, socket_addr};

/// A socket to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedSocket {
    pub(crate) addr: SocketAddr,
    /// What to set `IPV6_V6ONLY` to; of no meaning on an IPv4 socket.
    pub(crate) only_v6: bool,
    pub(crate) absence: Absence,
    pub(crate) clients: Clients,
}

/// What to do where the host has no such address or family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absence {
    Fails,
    IsSkipped,
    LeavesIpv4,
}

/// Whether a TCP client can reach the address. Linux binds some that none can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clients {
    MayCome,
    NeverComeToMulticast,
    NeverComeToBroadcast,
    /// It may be a directed broadcast, and only the kernel knows.
    TheKernelKnows,
    /// It may be the lowest address of a subnet, which is a broadcast before Linux 5.14.
    OldKernelsKnow,
}

/// Plans the sockets for `endpoints`, all on `port`.
///
/// `only_v6` makes `[::]` an IPv6-only wildcard. `*` stays what it says: both families.
pub(crate) fn sockets(endpoints: &[Endpoint], port: u16, only_v6: bool) -> Vec<PlannedSocket> {
    let mut planned = Vec::with_capacity(endpoints.len());
    for endpoint in endpoints {
        match *endpoint {
            Endpoint::Any(wildcard) => planned.push(any(wildcard, port, only_v6)),
            Endpoint::Localhost => {
                planned.push(address(
                    Ipv4Addr::LOCALHOST.into(),
                    0,
                    port,
                    Standing::Listed,
                ));
                planned.push(PlannedSocket {
                    absence: Absence::IsSkipped,
                    ..address(Ipv6Addr::LOCALHOST.into(), 0, port, Standing::Listed)
                });
            }
            Endpoint::Ip {
                ip,
                scope_id,
                standing,
            } => planned.push(address(ip, scope_id, port, standing)),
        }
    }
    planned
}

/// Plans the socket of an address that is no wildcard and has no zone.
pub(crate) fn plain_address(addr: SocketAddr) -> PlannedSocket {
    address(addr.ip(), 0, addr.port(), Standing::Unknown)
}

fn any(wildcard: Wildcard, port: u16, only_v6: bool) -> PlannedSocket {
    let ip: IpAddr = match wildcard {
        Wildcard::Ipv4 => Ipv4Addr::UNSPECIFIED.into(),
        _ => Ipv6Addr::UNSPECIFIED.into(),
    };
    PlannedSocket {
        addr: (ip, port).into(),
        only_v6: match wildcard {
            Wildcard::Ipv6 => true,
            Wildcard::DualStack => only_v6,
            // It has no meaning on an IPv4 socket.
            Wildcard::All | Wildcard::Ipv4 => false,
        },
        absence: match wildcard {
            Wildcard::All => Absence::LeavesIpv4,
            _ => Absence::Fails,
        },
        clients: Clients::MayCome,
    }
}

/// The socket of the IPv4 wildcard, for where there is no IPv6.
pub(crate) fn ipv4_wildcard(port: u16) -> PlannedSocket {
    any(Wildcard::Ipv4, port, false)
}

fn address(ip: IpAddr, scope_id: u32, port: u16, standing: Standing) -> PlannedSocket {
    PlannedSocket {
        addr: socket_addr(ip, scope_id, port),
        only_v6: true,
        absence: Absence::Fails,
        clients: clients_of(ip, standing),
    }
}

fn clients_of(ip: IpAddr, standing: Standing) -> Clients {
    if ip.is_multicast() {
        return Clients::NeverComeToMulticast;
    }
    let IpAddr::V4(v4) = ip else {
        return Clients::MayCome;
    };
    match standing {
        _ if v4.is_broadcast() => Clients::NeverComeToBroadcast,
        Standing::Broadcast => Clients::NeverComeToBroadcast,
        Standing::PeerOrBroadcast => Clients::TheKernelKnows,
        Standing::Listed => Clients::MayCome,
        // In a subnet of /30 or larger the last two bits of a broadcast are all set, or none is.
        Standing::Unknown | Standing::Foreign => match v4.octets()[3] & 0b11 {
            0b11 => Clients::TheKernelKnows,
            0b00 => Clients::OldKernelsKnow,
            _ => Clients::MayCome,
        },
    }
}

/// The sockets of one setting of a list, on the port that it must have.
pub(crate) struct Listed<'s> {
    /// Which of the settings it is.
    pub(crate) number: usize,
    /// Whether it may be absent as a whole.
    pub(crate) is_optional: bool,
    pub(crate) device: Device,
    pub(crate) freebind: bool,
    pub(crate) sockets: &'s mut Vec<PlannedSocket>,
}

/// The interface that sockets are bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Device {
    None,
    Index(u32),
    /// Its index is not known.
    Name(String),
}

impl Device {
    /// The index, 0 for none; `None` if it is not known.
    pub(crate) fn index(&self) -> Option<u32> {
        match self {
            Self::None => Some(0),
            Self::Index(index) => Some(*index),
            Self::Name(_) => None,
        }
    }
}

/// Makes the sockets of a list fit together: makes room for both wildcards, and leaves each
/// socket to one setting. Returns what was merged: the setting, the one that has the socket,
/// and the address.
pub(crate) fn fit_together(settings: &mut [Listed<'_>]) -> Vec<(usize, usize, SocketAddr)> {
    make_room(settings);
    // The first setting has it, or the first one that cannot do without.
    let mut owners = HashMap::new();
    for setting in &*settings {
        for socket in &*setting.sockets {
            // Of what may be lacked, a setting that tells so comes before one that does not.
            let need = match socket.absence {
                _ if setting.is_optional => 2,
                Absence::Fails => 0,
                Absence::LeavesIpv4 => 1,
                Absence::IsSkipped => 3,
            };
            let claim = (need, setting.number);
            let owner = owners.entry(setting.identity(socket)).or_insert(claim);
            *owner = claim.min(*owner);
        }
    }
    let mut merged = Vec::new();
    for setting in settings {
        let mut sockets = std::mem::take(setting.sockets);
        sockets.retain(|socket| {
            let (_, owner) = owners[&setting.identity(socket)];
            if owner != setting.number {
                merged.push((setting.number, owner, socket.addr));
            }
            owner == setting.number
        });
        *setting.sockets = sockets;
    }
    merged
}

impl Listed<'_> {
    /// What makes two sockets the same one.
    fn identity(&self, socket: &PlannedSocket) -> (SocketAddr, bool, Device, bool) {
        (
            socket.addr,
            socket.only_v6,
            self.device.clone(),
            self.freebind,
        )
    }
}

/// Makes the dual-stack wildcards leave IPv4 to the IPv4 wildcards on the same port and
/// device, so that both can be opened.
fn make_room(settings: &mut [Listed<'_>]) {
    let is_wildcard = |socket: &PlannedSocket| socket.addr.ip().is_unspecified();
    let mut taken = HashSet::new();
    for setting in &*settings {
        let sockets = setting.sockets.iter();
        let v4 = sockets.filter(|socket| is_wildcard(socket) && socket.addr.is_ipv4());
        taken.extend(v4.map(|socket| (setting.device.clone(), socket.addr.port())));
    }
    for setting in settings {
        for socket in setting.sockets.iter_mut() {
            let is_v6 = is_wildcard(socket) && socket.addr.is_ipv6();
            if is_v6 && taken.contains(&(setting.device.clone(), socket.addr.port())) {
                socket.only_v6 = true;
                // There is IPv4 already.
                if socket.absence == Absence::LeavesIpv4 {
                    socket.absence = Absence::IsSkipped;
                }
            }
        }
    }
}

/// The claims of a list of sockets on their ports, in its order.
#[derive(Default)]
pub(crate) struct Claims {
    ports: HashMap<u16, OnPort>,
}

/// The claims on one port, each with the number of its socket.
#[derive(Default)]
struct OnPort {
    all: Vec<(usize, Claim)>,
    wildcards: Vec<(usize, Claim)>,
    by_ip: HashMap<IpAddr, Vec<(usize, Claim)>>,
}

impl Claims {
    pub(crate) fn add(&mut self, number: usize, claim: Claim, port: u16) {
        let on_port = self.ports.entry(port).or_default();
        on_port.all.push((number, claim));
        on_port
            .by_ip
            .entry(claim.ip())
            .or_default()
            .push((number, claim));
        if claim.ip().is_unspecified() {
            on_port.wildcards.push((number, claim));
        }
    }

    /// Finds the first socket beside which one with `claim` cannot be opened on `port`.
    ///
    /// Of an address it looks at its likes and the wildcards, and not at all others.
    pub(crate) fn conflict(&self, claim: Claim, port: u16) -> Option<(usize, Overlap)> {
        let on_port = self.ports.get(&port)?;
        let first_of = |claims: &[(usize, Claim)]| {
            let mut claims = claims.iter();
            claims.find_map(|(number, other)| Some((*number, claim.overlap(*other)?)))
        };
        if claim.ip().is_unspecified() {
            return first_of(&on_port.all);
        }
        let alike = on_port
            .by_ip
            .get(&claim.ip())
            .and_then(|alike| first_of(alike));
        let wildcard = first_of(&on_port.wildcards);
        alike
            .into_iter()
            .chain(wildcard)
            .min_by_key(|(number, _)| *number)
    }

    /// Returns `true` if a socket of another number than `own` conflicts with `claim` on `port`.
    pub(crate) fn has_conflict_beside(&self, own: usize, claim: Claim, port: u16) -> bool {
        let Some(on_port) = self.ports.get(&port) else {
            return false;
        };
        let any_of = |claims: &Vec<(usize, Claim)>| {
            let mut others = claims.iter().filter(|(number, _)| *number != own);
            others.any(|(_, other)| claim.overlap(*other).is_some())
        };
        if claim.ip().is_unspecified() {
            return any_of(&on_port.all);
        }
        on_port.by_ip.get(&claim.ip()).is_some_and(any_of) || any_of(&on_port.wildcards)
    }

    /// Finds why these leave a range no port: the first of its sockets that cannot be opened on its first port, by
    /// the place of its claim, and beside which one.
    pub(crate) fn conflict_of_range(
        &self,
        claims: &[Option<Claim>],
        mut ports: RangeInclusive<u16>,
    ) -> Option<(usize, usize, Overlap)> {
        let conflict_on = |port| {
            let mut claims = claims.iter().enumerate();
            claims.find_map(|(socket, claim)| {
                let (other, overlap) = self.conflict((*claim)?, port)?;
                Some((socket, other, overlap))
            })
        };
        let first = conflict_on(*ports.start());
        first.filter(|_| ports.all(|port| conflict_on(port).is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::{Interface, Interfaces};
    use crate::target::BindTarget;

    fn clients(ip: [u8; 4]) -> Clients {
        plain_address((ip, 80).into()).clients
    }

    fn clients_on_host(ip: [u8; 4]) -> Clients {
        let odd = Interface::new("eth1", 3).with_broadcast(
            Ipv4Addr::new(172, 20, 0, 1),
            24,
            Ipv4Addr::new(172, 20, 0, 200),
        );
        let host: Interfaces = [
            Interface::new("eth0", 2).with_addr([10, 0, 0, 1].into(), 24),
            odd,
        ]
        .into_iter()
        .collect();
        let endpoint = BindTarget::classify(ip.into(), &host).endpoint();
        sockets(&[endpoint], 80, false).remove(0).clients
    }

    #[test]
    fn a_broadcast_is_refused_where_that_is_sure_and_asked_about_where_it_may_be() {
        assert_eq!(clients([255; 4]), Clients::NeverComeToBroadcast);
        assert_eq!(clients([224, 0, 0, 1]), Clients::NeverComeToMulticast);
        assert_eq!(clients([10, 0, 0, 255]), Clients::TheKernelKnows);
        assert_eq!(clients([10, 0, 0, 7]), Clients::TheKernelKnows);
        for last in [0, 4, 252] {
            assert_eq!(clients([10, 0, 0, last]), Clients::OldKernelsKnow, "{last}");
        }
        for last in [1, 2, 5, 6, 254] {
            assert_eq!(clients([10, 0, 0, last]), Clients::MayCome, "{last}");
        }
        assert_eq!(
            clients_on_host([10, 0, 0, 255]),
            Clients::NeverComeToBroadcast
        );
        // A snapshot may have the other end of a tunnel for it.
        assert_eq!(clients_on_host([172, 20, 0, 200]), Clients::TheKernelKnows);
        assert_eq!(clients_on_host([10, 0, 0, 1]), Clients::MayCome);
        assert_eq!(clients_on_host([10, 0, 0, 9]), Clients::MayCome);
    }

    #[test]
    fn only_all_addresses_do_without_ipv6() {
        for only_v6 in [false, true] {
            let absence = |wildcard| any(wildcard, 80, only_v6).absence;
            assert_eq!(absence(Wildcard::All), Absence::LeavesIpv4);
            assert_eq!(absence(Wildcard::DualStack), Absence::Fails);
            assert_eq!(absence(Wildcard::Ipv6), Absence::Fails);
        }
    }

    #[test]
    fn only_v6_changes_the_literal_wildcard_only() {
        let is_only_v6 = |wildcard, option| any(wildcard, 80, option).only_v6;
        for (wildcard, without, with) in [
            (Wildcard::All, false, false),
            (Wildcard::DualStack, false, true),
            (Wildcard::Ipv4, false, false),
            (Wildcard::Ipv6, true, true),
        ] {
            assert_eq!(is_only_v6(wildcard, false), without, "{wildcard:?}");
            assert_eq!(is_only_v6(wildcard, true), with, "{wildcard:?}");
        }
    }

    #[test]
    fn room_is_made_by_the_ipv6_wildcard_alone() {
        let mut v4 = sockets(&[Endpoint::Any(Wildcard::Ipv4)], 80, false);
        let mut all = sockets(&[Endpoint::Any(Wildcard::All)], 80, false);
        let before = v4.clone();
        let listed = |number, sockets| Listed {
            number,
            is_optional: false,
            device: Device::None,
            freebind: false,
            sockets,
        };
        let merged = fit_together(&mut [listed(0, &mut v4), listed(1, &mut all)]);
        assert!(merged.is_empty());
        assert_eq!(v4, before);
        assert!(all[0].only_v6);
        assert_eq!(all[0].absence, Absence::IsSkipped);
    }
}
