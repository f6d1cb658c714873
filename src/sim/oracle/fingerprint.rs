//! What of a packet is the same on both sides of the firewall.

use crate::sim::frame::{PlainPacket, word};
use core::net::Ipv4Addr;

/// A packet without what the translation changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Fingerprint {
    pub(super) far: Ipv4Addr,
    pub(super) far_port: u16,
    pub(super) protocol: u8,
    content: u64,
}

/// Which of a packet's ends is the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Near {
    Source,
    Destination,
}

fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Fingerprint, near port and TTL of a whole packet with ports, or an ICMP query.
pub(super) fn look(packet: &PlainPacket<'_>, near: Near) -> Option<(Fingerprint, u16, u8)> {
    let payload = packet.payload();
    let mut content = payload.to_vec();
    let (near_at, far_at, sum_at) = match (packet.protocol(), near) {
        (6, Near::Source) => (0, 2, 16),
        (6, Near::Destination) => (2, 0, 16),
        (17, Near::Source) => (0, 2, 6),
        (17, Near::Destination) => (2, 0, 6),
        (1, _) if matches!(payload.first(), Some(0 | 8 | 13 | 14)) => (4, 4, 2),
        _ => return None,
    };
    let (near_port, mut far_port) = (word(payload, near_at), word(payload, far_at));
    if packet.protocol() == 1 {
        far_port = 0;
    }
    content.get_mut(near_at..near_at + 2)?.fill(0);
    content.get_mut(sum_at..sum_at + 2)?.fill(0);
    let far = if near == Near::Source { packet.destination() } else { packet.source() };
    let print =
        Fingerprint { far: far.into(), far_port, protocol: packet.protocol(), content: hash(&content) };
    Some((print, near_port, packet.bytes[8]))
}

/// What a ping asks and its answer repeats: all but type and checksum.
pub(super) fn echoed(packet: &PlainPacket<'_>) -> u64 {
    hash(packet.payload().get(4..).unwrap_or_default())
}
