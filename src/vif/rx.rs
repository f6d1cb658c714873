//! Receive slots: the buffers that a frontend posts, and what the backend says of them.
//!
//! Format: `xen/include/public/io/netif.h`. The flags' bits differ from the transmit side's.

use crate::wire::packet::Checksum;
use crate::xen::grant::Gref;
use bitflags::bitflags;

/// Bytes of a receive request or response slot.
pub const RX_BYTES: usize = 8;

bitflags! {
    /// `NETRXF_*`
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RxFlags: u16 {
        /// The checksum was verified, or the packet comes from memory of this machine.
        const DATA_VALIDATED = 1;
        /// The layer-4 checksum field holds the pseudo-header sum only.
        const CHECKSUM_BLANK = 2;
        /// The next response continues this packet.
        const MORE_DATA = 4;
        /// The next response slot is an extra-info entry.
        const EXTRA_INFO = 8;
        /// A segmentation entry instead of data (Windows).
        const GSO_PREFIX = 16;
    }
}

impl RxFlags {
    /// What to tell a receiver about the checksum.
    pub fn for_checksum(checksum: Checksum) -> Self {
        match checksum {
            Checksum::Unverified => Self::empty(),
            Checksum::Validated => Self::DATA_VALIDATED,
            Checksum::Blank => Self::DATA_VALIDATED | Self::CHECKSUM_BLANK,
        }
    }

    /// What a sender said of the checksum.
    pub fn checksum(self) -> Checksum {
        if self.contains(Self::CHECKSUM_BLANK) {
            Checksum::Blank
        } else if self.contains(Self::DATA_VALIDATED) {
            Checksum::Validated
        } else {
            Checksum::Unverified
        }
    }
}

/// A posted buffer: one whole page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxRequest {
    /// Names the buffer in the response.
    pub id: u16,
    /// The page.
    pub reference: Gref,
}

impl RxRequest {
    /// Reads a slot.
    pub fn parse([i0, i1, _, _, g0, g1, g2, g3]: [u8; RX_BYTES]) -> Self {
        Self { id: u16::from_le_bytes([i0, i1]), reference: Gref(u32::from_le_bytes([g0, g1, g2, g3])) }
    }

    /// The slot's bytes.
    pub fn encode(self) -> [u8; RX_BYTES] {
        let [i0, i1] = self.id.to_le_bytes();
        let [g0, g1, g2, g3] = self.reference.0.to_le_bytes();
        [i0, i1, 0, 0, g0, g1, g2, g3]
    }
}

/// What lies in a buffer now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RxResponse {
    /// The request's name for the buffer.
    pub id: u16,
    /// First byte within the page.
    pub offset: u16,
    /// Flags.
    pub flags: RxFlags,
    /// Bytes in this buffer, or a negative error.
    pub status: i16,
}

impl RxResponse {
    /// The buffer could not be written.
    pub fn failure(id: u16) -> Self {
        Self { id, offset: 0, flags: RxFlags::empty(), status: -1 }
    }

    /// Reads a slot.
    pub fn parse([i0, i1, o0, o1, f0, f1, s0, s1]: [u8; RX_BYTES]) -> Self {
        Self {
            id: u16::from_le_bytes([i0, i1]),
            offset: u16::from_le_bytes([o0, o1]),
            flags: RxFlags::from_bits_truncate(u16::from_le_bytes([f0, f1])),
            status: i16::from_le_bytes([s0, s1]),
        }
    }

    /// The slot's bytes.
    pub fn encode(self) -> [u8; RX_BYTES] {
        let [i0, i1] = self.id.to_le_bytes();
        let [o0, o1] = self.offset.to_le_bytes();
        let [f0, f1] = self.flags.bits().to_le_bytes();
        let [s0, s1] = self.status.to_le_bytes();
        [i0, i1, o0, o1, f0, f1, s0, s1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_netif_h_s() {
        let request = [1, 2, 0, 0, 5, 6, 7, 8];
        assert_eq!(RxRequest::parse(request), RxRequest { id: 0x0201, reference: Gref(0x0807_0605) });
        assert_eq!(RxRequest::parse(request).encode(), request);
        let response = [1, 2, 3, 4, 5, 0, 0xff, 0xff];
        let parsed = RxResponse::parse(response);
        assert_eq!((parsed.id, parsed.offset, parsed.status), (0x0201, 0x0403, -1));
        assert_eq!(parsed.flags, RxFlags::DATA_VALIDATED | RxFlags::MORE_DATA);
        assert_eq!(parsed.encode(), response);
    }

    #[test]
    fn checksum_states_survive_the_flags() {
        for checksum in [Checksum::Unverified, Checksum::Validated, Checksum::Blank] {
            assert_eq!(RxFlags::for_checksum(checksum).checksum(), checksum);
        }
    }
}
