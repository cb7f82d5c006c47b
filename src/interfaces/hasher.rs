//! A hash for the keys of a snapshot: one folded multiplication.
//!
//! The keys are the addresses of the host and what its operator writes, so a client cannot choose
//! ones that collide, which is what std's slower hash prevents.

use std::hash::{BuildHasherDefault, Hasher};
use std::net::IpAddr;

/// A map of a snapshot.
pub(super) type FoldMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Fold>>;

/// An address as a number: that of its IPv4-mapped form, if it is one of IPv4.
pub(super) fn key(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    }
}

#[derive(Clone, Copy, Default)]
pub(super) struct Fold(u64);

impl Fold {
    fn fold(&mut self, low: u64, high: u64) {
        // The fractional digits of pi, so that no bit of zeros goes into the product.
        let low = low ^ self.0 ^ 0x243f_6a88_85a3_08d3;
        let high = high ^ 0x1319_8a2e_0370_7344;
        let product = u128::from(low) * u128::from(high);
        let [low, high] = halves(product);
        self.0 = low ^ high;
    }
}

#[allow(clippy::cast_possible_truncation)] // which halves it
fn halves(number: u128) -> [u64; 2] {
    [number as u64, (number >> 64) as u64]
}

impl Hasher for Fold {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(16) {
            let mut number = [0; 16];
            number[..chunk.len()].copy_from_slice(chunk);
            self.write_u128(u128::from_ne_bytes(number));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.fold(number.into(), 0);
    }

    fn write_u128(&mut self, number: u128) {
        let [low, high] = halves(number);
        self.fold(low, high);
    }
}
