//! What the sockets of a plan claim of their ports: [`Claims`].

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::target::{Claim, Overlap};

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
