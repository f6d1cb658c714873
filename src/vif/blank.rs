//! Where a blank layer-4 checksum is, and how it is completed.
//!
//! The rings say only that the field holds the folded pseudo-header sum; which bytes it covers follows from
//! the headers (`xen/include/public/io/netif.h`, "checksum_blank").

use crate::wire::ipv4::protocol;
use crate::wire::{tcp, udp};

/// The checksum field of a TCP or UDP packet. Offsets are from the start of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlankChecksum {
    /// First byte that the checksum covers: the layer-4 header.
    pub covered_from: usize,
    /// The field.
    pub field: usize,
    protocol: u8,
}

impl BlankChecksum {
    /// That of a whole packet with `protocol` behind an IP header of `ip_bytes`; `None` when it has none that can be
    /// blank.
    pub fn of(protocol: u8, ip_bytes: u8) -> Option<Self> {
        let offset = match protocol {
            protocol::TCP => tcp::at::CHECKSUM,
            protocol::UDP => udp::at::CHECKSUM,
            _ => return None,
        };
        let covered_from = usize::from(ip_bytes);
        Some(Self { covered_from, field: covered_from + offset, protocol })
    }

    /// The finished checksum, from the sum of all covered bytes (which include the pseudo-header sum).
    pub fn complete(self, mut sum: u64) -> u16 {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        match (!(sum as u16), self.protocol) {
            // Zero means "no checksum" in UDP (RFC 768).
            (0, protocol::UDP) => 0xffff,
            (checksum, _) => checksum,
        }
    }
}
