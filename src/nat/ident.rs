//! Identification numbers for packets that may be cut: unique per destination and protocol (RFC 6864).
//!
//! Behind one address, two clients may pick the same number for the same destination, and their fragments
//! would be mixed up there. So packets that leave by the uplink without DF get their number from here: a
//! counter per keyed bucket of (destination, protocol), which repeats after 65,536 packets at the earliest.
//!
//! A packet that nobody cuts keeps its sender's number, which then means nothing to its receiver and much to its
//! sender: programs know by it which of their packets an ICMP error quotes (RFC 5508 REQ-4).

use crate::tables::siphash::SipKey;
use alloc::boxed::Box;
use core::net::Ipv4Addr;

/// Buckets: a power of two.
const BUCKETS: usize = 512;

/// A whole packet of so many bytes or fewer is not cut anywhere: 576 bytes are what every host must take
/// (RFC 791 section 3.1), and the Internet's links carry them in one piece.
pub const UNCUT_BYTES: u16 = 576;

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

    /// The number for a packet to `destination`, or the first of as many in a row as there are `packets`.
    pub fn next(&mut self, destination: Ipv4Addr, protocol: u8, packets: u16) -> u16 {
        let message = u64::from(protocol) << 32 | u64::from(u32::from(destination));
        let hash = self.key.hash([message], 0, 0);
        let counter = &mut self.counters[hash as usize % BUCKETS];
        // Each bucket starts at its own secret place.
        let first = counter.wrapping_add((hash >> 48) as u16);
        *counter = counter.wrapping_add(packets);
        first
    }
}
