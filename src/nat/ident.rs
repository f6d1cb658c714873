//! Identification numbers for packets that may be cut: unique per destination and protocol (RFC 6864).
//!
//! Behind one address, two clients may pick the same number for the same destination, and their fragments
//! would be mixed up there. So packets that leave by the uplink without DF get their number from here: a
//! counter per keyed bucket of (destination, protocol), which repeats after 65,536 packets at the earliest.

use crate::flow::siphash::SipKey;
use alloc::boxed::Box;
use core::net::Ipv4Addr;

/// Buckets: a power of two.
const BUCKETS: usize = 512;

/// The counters.
pub struct Idents {
    key: SipKey,
    counters: Box<[u16; BUCKETS]>,
}

impl Idents {
    /// Counters under the secret `key`.
    pub fn new(key: (u64, u64)) -> Idents {
        Idents { key: SipKey::new(key), counters: Box::new([0; BUCKETS]) }
    }

    /// The next number for a packet to `destination`.
    pub fn next(&mut self, destination: Ipv4Addr, protocol: u8) -> u16 {
        let message = u64::from(protocol) << 32 | u64::from(u32::from(destination));
        let hash = self.key.hash(message, 0, 0);
        let counter = &mut self.counters[hash as usize % BUCKETS];
        *counter = counter.wrapping_add(1);
        // Each bucket starts at its own secret place.
        counter.wrapping_add((hash >> 48) as u16)
    }
}
