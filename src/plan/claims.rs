//! The claims that the sockets of a plan have on their ports: [`Claims`].

use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::map::{Map, Set};
use crate::target::{Claim, DeviceIndex, Overlap};

/// The claims of a list of sockets on their ports, in its order.
///
/// A conflict is looked up: it costs the same however many claims there are.
#[derive(Default)]
pub(crate) struct Claims {
    /// Those of sockets on any device, or on none.
    all: Map<u16, OnPort>,
    by_device: Map<(u16, DeviceIndex), OnPort>,
    /// The devices whose sockets can have a port beside one on no device.
    apart: Set<DeviceIndex>,
}

/// The claims on one port, each with the number of its socket.
#[derive(Default)]
struct OnPort {
    by_ip: Map<IpAddr, Firsts>,
    ipv4: Firsts,
    ipv6: Firsts,
    dual_stack: Firsts,
}

/// The first claim of some that are alike, and the first of another number than that.
#[derive(Default)]
struct Firsts {
    first: Option<(usize, Claim)>,
    other: Option<(usize, Claim)>,
}

impl Firsts {
    fn add(&mut self, number: usize, claim: Claim) {
        match self.first {
            None => self.first = Some((number, claim)),
            Some((first, _)) if first != number => {
                self.other.get_or_insert((number, claim));
            }
            Some(_) => {}
        }
    }

    fn beside(&self, own: Option<usize>) -> Option<(usize, Claim)> {
        let is_other = |(number, _): &(usize, Claim)| Some(*number) != own;
        self.first.filter(is_other).or(self.other)
    }
}

impl OnPort {
    fn add(&mut self, number: usize, claim: Claim) {
        let by_ip = self.by_ip.get_or_default(claim.ip());
        by_ip.add(number, claim);
        let of_family = if claim.ip().is_ipv4() {
            &mut self.ipv4
        } else {
            &mut self.ipv6
        };
        of_family.add(number, claim);
        if claim.is_dual_stack() {
            self.dual_stack.add(number, claim);
        }
    }

    /// Finds the first claim that excludes `claim`, that of socket number `own` aside.
    fn conflict(&self, claim: Claim, own: Option<usize>) -> Option<(usize, Claim)> {
        let ip = claim.ip();
        let alike = |ip: &IpAddr| self.by_ip.get(ip)?.beside(own);
        let of_family = |ip: IpAddr| match ip {
            IpAddr::V4(_) => (alike(&IPV4_ANY), &self.ipv4),
            IpAddr::V6(_) => (alike(&IPV6_ANY), &self.ipv6),
        };
        let (wildcard, likes) = of_family(ip);
        let covered = ip.is_unspecified().then(|| likes.beside(own)).flatten();
        let covered_ipv4 = || self.ipv4.beside(own);
        let found = [
            alike(&ip),
            wildcard,
            covered,
            claim.is_dual_stack().then(covered_ipv4).flatten(),
            // Of IPv6 it is among the wildcards.
            self.dual_stack.beside(own).filter(|_| ip.is_ipv4()),
        ];
        found
            .into_iter()
            .flatten()
            .min_by_key(|(number, _)| *number)
    }
}

const IPV4_ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);
const IPV6_ANY: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

impl Claims {
    /// Sets that claims on some devices, which are to be added after it, do not meet those on none.
    pub(crate) fn set_apart(&mut self, devices: impl IntoIterator<Item = DeviceIndex>) {
        self.apart.extend(devices);
    }

    pub(crate) fn add(&mut self, number: usize, claim: Claim, port: u16) {
        let on_device = self.by_device.get_or_default((port, claim.device()));
        on_device.add(number, claim);
        if !self.apart.contains(&claim.device()) {
            self.all.get_or_default(port).add(number, claim);
        }
    }

    /// Finds the first socket beside which one with `claim` cannot be opened on `port`.
    pub(crate) fn conflict(&self, claim: Claim, port: u16) -> Option<(usize, Overlap)> {
        self.first_conflict(claim, port, None)
    }

    /// Returns `true` if a socket of another number than `own` conflicts with `claim` on `port`.
    pub(crate) fn has_conflict_beside(&self, own: usize, claim: Claim, port: u16) -> bool {
        self.first_conflict(claim, port, Some(own)).is_some()
    }

    fn first_conflict(
        &self,
        claim: Claim,
        port: u16,
        own: Option<usize>,
    ) -> Option<(usize, Overlap)> {
        let on = |device| self.by_device.get(&(port, device));
        // A socket that is bound to no device meets those of every device.
        let groups = match claim.device() {
            DeviceIndex::None => [self.all.get(&port), None],
            device if self.apart.contains(&device) => [on(device), None],
            device => [on(DeviceIndex::None), on(device)],
        };
        let found = groups
            .into_iter()
            .flatten()
            .filter_map(|group| group.conflict(claim, own));
        let (number, other) = found.min_by_key(|(number, _)| *number)?;
        Some((number, claim.overlap(other)?))
    }

    /// Finds why these leave a range no port: the first of its sockets that cannot be opened on its
    /// first port, by the place of its claim, and beside which one.
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
    use proptest::prelude::*;

    use super::*;

    const IPS: [&str; 7] = [
        "0.0.0.0",
        "::",
        "127.0.0.1",
        "::ffff:127.0.0.1",
        "10.0.0.1",
        "::1",
        "fe80::1",
    ];

    fn claims() -> impl Strategy<Value = Claim> {
        let devices = prop_oneof![
            (0..3u32).prop_map(DeviceIndex::of),
            (0..2usize).prop_map(DeviceIndex::Unknown),
        ];
        (prop::sample::select(&IPS[..]), any::<bool>(), devices).prop_map(
            |(ip, only_v6, device)| Claim::new(ip.parse().expect("an address"), only_v6, device),
        )
    }

    proptest! {
        #[test]
        fn claim_lookup_agrees_with_scan(
            list in prop::collection::vec((0..4usize, claims(), 80..82u16), 0..8),
            claim in claims(),
            own in 0..4usize,
        ) {
            // As those who add them, in the order of their numbers.
            let mut list = list;
            list.sort_by_key(|(number, ..)| *number);
            let mut all = Claims::default();
            for (number, claim, port) in &list {
                all.add(*number, *claim, *port);
            }
            let scan = |own: Option<usize>| {
                let others = list.iter().filter(|(number, _, port)| *port == 80 && Some(*number) != own);
                others.filter(|(_, other, _)| claim.overlap(*other).is_some()).map(|(number, ..)| *number).min()
            };
            prop_assert_eq!(all.conflict(claim, 80).map(|(number, _)| number), scan(None));
            prop_assert_eq!(all.has_conflict_beside(own, claim, 80), scan(Some(own)).is_some());
        }
    }
}
