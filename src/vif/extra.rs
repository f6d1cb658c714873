//! Extra-info entries: what does not fit a slot's flags (`struct netif_extra_info`).
//!
//! Format: `xen/include/public/io/netif.h`, the same 8 bytes on both rings. Only segmentation is offered.

use crate::wire::packet::{Gso, GsoKind};
use core::num::NonZeroU16;

/// `XEN_NETIF_EXTRA_TYPE_GSO`
const SEGMENTATION: u8 = 1;
/// `XEN_NETIF_EXTRA_FLAG_MORE`
const MORE: u8 = 1;

/// An extra-info entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extra {
    kind: u8,
    /// Another entry follows.
    pub more: bool,
    size: u16,
    protocol: u8,
}

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadExtra {
    /// Its kind was not offered.
    Kind,
    /// It asks for a segmentation that there is not.
    Segmentation,
}

impl Extra {
    /// Reads an entry from the first bytes of its slot.
    pub fn parse(entry: &[u8]) -> Self {
        let [kind, flags, s0, s1, protocol, ..] = entry.first_chunk::<8>().copied().unwrap_or_default();
        Self { kind, more: flags & MORE != 0, size: u16::from_le_bytes([s0, s1]), protocol }
    }

    /// The segmentation that the entry asks for.
    pub fn segmentation(&self) -> Result<Gso, BadExtra> {
        if self.kind != SEGMENTATION {
            return Err(BadExtra::Kind);
        }
        let kind = match self.protocol {
            1 => GsoKind::TcpV4,
            2 => GsoKind::TcpV6,
            _ => return Err(BadExtra::Segmentation),
        };
        let segment_bytes = NonZeroU16::new(self.size).ok_or(BadExtra::Segmentation)?;
        Ok(Gso { kind, segment_bytes })
    }

    /// The entry's bytes, for a single segmentation.
    pub fn encode(gso: Gso) -> [u8; 8] {
        let [s0, s1] = gso.segment_bytes.get().to_le_bytes();
        let protocol = match gso.kind {
            GsoKind::TcpV4 => 1,
            GsoKind::TcpV6 => 2,
        };
        [SEGMENTATION, 0, s0, s1, protocol, 0, 0, 0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_netif_h_s() {
        let gso = Gso { kind: GsoKind::TcpV4, segment_bytes: NonZeroU16::new(0x05b4).unwrap() };
        assert_eq!(Extra::encode(gso), [1, 0, 0xb4, 5, 1, 0, 0, 0]);
        for kind in [GsoKind::TcpV4, GsoKind::TcpV6] {
            let gso = Gso { kind, ..gso };
            assert_eq!(Extra::parse(&Extra::encode(gso)).segmentation(), Ok(gso));
        }
    }

    #[test]
    fn what_was_not_offered_is_told_apart() {
        assert_eq!(Extra::parse(&[2, 0, 1, 0, 1, 0, 0, 0]).segmentation(), Err(BadExtra::Kind));
        assert_eq!(Extra::parse(&[1, 0, 0, 0, 1, 0, 0, 0]).segmentation(), Err(BadExtra::Segmentation));
        assert_eq!(Extra::parse(&[1, 0, 1, 0, 3, 0, 0, 0]).segmentation(), Err(BadExtra::Segmentation));
        assert_eq!(Extra::parse(&[1]).segmentation(), Err(BadExtra::Kind));
        assert!(Extra::parse(&[1, 1, 1, 0, 1, 0, 0, 0]).more);
    }
}
