//! Identification numbers for packets that may be cut: unique per destination and protocol (RFC 6864).
//!
//! Behind one address, two clients may pick the same number for the same destination, and their fragments
//! would be mixed up there. So packets that leave by the uplink without DF get their number from here: a
//! counter per keyed bucket of (destination, protocol), which repeats after 65,536 packets at the earliest.

use core::net::Ipv4Addr;

use alloc::boxed::Box;
use siphasher::sip::SipHasher13;

/// Buckets: a power of two.
const BUCKETS: usize = 512;

/// The counters.
pub struct Idents {
    hasher: SipHasher13,
    counters: Box<[u16; BUCKETS]>,
}

impl Idents {
    /// Counters under the secret `key`.
    pub fn new(key: (u64, u64)) -> Idents {
        Idents { hasher: SipHasher13::new_with_keys(key.0, key.1), counters: Box::new([0; BUCKETS]) }
    }

    /// The next number for a packet to `destination`.
    pub fn next(&mut self, destination: Ipv4Addr, protocol: u8) -> u16 {
        let [a, b, c, d] = destination.octets();
        let hash = self.hasher.hash(&[a, b, c, d, protocol]);
        let counter = &mut self.counters[hash as usize % BUCKETS];
        *counter = counter.wrapping_add(1);
        // Each bucket starts at its own secret place.
        counter.wrapping_add((hash >> 48) as u16)
    }
}
