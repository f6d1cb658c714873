//! Where a blank layer-4 checksum is, and how it is completed.
//!
//! The rings say only that the field holds the folded pseudo-header sum; which bytes it covers follows from
//! the headers (`xen/include/public/io/netif.h`, "checksum_blank").

use smoltcp::wire::{IpProtocol, Ipv4Packet};

/// The checksum field of a TCP or UDP packet. Offsets are from the start of the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlankChecksum {
    /// First byte that the checksum covers: the layer-4 header.
    pub covered_from: usize,
    /// The field.
    pub field: usize,
    protocol: IpProtocol,
}

impl BlankChecksum {
    /// Finds the field in the headers of an IPv4 packet; `None` when it has none that can be blank.
    pub fn locate(header: &[u8]) -> Option<Self> {
        let ip = Ipv4Packet::new_unchecked(header.get(..20)?);
        let offset = match ip.next_header() {
            IpProtocol::Tcp => 16,
            IpProtocol::Udp => 6,
            _ => return None,
        };
        let covered_from = usize::from(ip.header_len());
        let first_fragment = ip.frag_offset() == 0 && !ip.more_frags();
        (ip.version() == 4 && first_fragment).then_some(Self {
            covered_from,
            field: covered_from + offset,
            protocol: ip.next_header(),
        })
    }

    /// The finished checksum, from the sum of all covered bytes (which include the pseudo-header sum).
    pub fn complete(self, mut sum: u64) -> u16 {
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        match (!(sum as u16), self.protocol) {
            // Zero means "no checksum" in UDP (RFC 768).
            (0, IpProtocol::Udp) => 0xffff,
            (checksum, _) => checksum,
        }
    }
}
