//! One packet's transmit slots, read from a client's requests and checked.
//!
//! Format: `xen/include/public/io/netif.h`. The first slot's size is the whole packet's; each further slot's
//! is its own. Extra-info entries follow the first slot. What breaks the protocol is fatal to the vif; what
//! is merely not acceptable is answered with an error. The limits are those that Linux's netback holds its
//! clients to.

use crate::packet::{Checksum, Gso, GsoKind, Offload};
use crate::xen::grant::Gref;
use crate::xen::page::PAGE_BYTES;
use arrayvec::ArrayVec;
use bitflags::bitflags;
use core::num::NonZeroU16;

/// Bytes of a transmit request or response slot.
pub const TX_BYTES: usize = 12;

/// Most slots of one packet (`XEN_NETIF_NR_SLOTS_MIN`, what a frontend may rely on).
pub const MAX_SLOTS: usize = 18;

/// More slots than this are an attack, not a large packet (Linux: `fatal_skb_slots`).
const FATAL_SLOTS: usize = 20;

/// Most extra-info entries of one packet: one of each type.
const MAX_EXTRAS: usize = 4;

/// Bytes of an Ethernet header: the least a packet can have.
const ETHERNET_BYTES: u16 = 14;

bitflags! {
    /// `NETTXF_*`
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TxFlags: u16 {
        /// The layer-4 checksum field holds the pseudo-header sum only.
        const CHECKSUM_BLANK = 1;
        /// The packet comes from memory of this machine: nothing can have damaged it.
        const DATA_VALIDATED = 2;
        /// Another slot of this packet follows.
        const MORE_DATA = 4;
        /// An extra-info entry follows.
        const EXTRA_INFO = 8;
    }
}

/// A transmit request, as it lies in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxRequest {
    /// The page that holds the bytes.
    pub reference: Gref,
    /// First byte within it.
    pub offset: u16,
    /// Flags.
    pub flags: TxFlags,
    /// Names the slot in the response.
    pub id: u16,
    /// Bytes: of the packet in the first slot, of this slot in the others.
    pub size: u16,
}

impl TxRequest {
    /// Reads a slot.
    pub fn parse(entry: [u8; TX_BYTES]) -> Self {
        let [g0, g1, g2, g3, o0, o1, f0, f1, i0, i1, s0, s1] = entry;
        Self {
            reference: Gref(u32::from_le_bytes([g0, g1, g2, g3])),
            offset: u16::from_le_bytes([o0, o1]),
            flags: TxFlags::from_bits_truncate(u16::from_le_bytes([f0, f1])),
            id: u16::from_le_bytes([i0, i1]),
            size: u16::from_le_bytes([s0, s1]),
        }
    }

    /// The slot's bytes.
    pub fn encode(self) -> [u8; TX_BYTES] {
        let mut entry = [0; TX_BYTES];
        entry[0..4].copy_from_slice(&self.reference.0.to_le_bytes());
        entry[4..6].copy_from_slice(&self.offset.to_le_bytes());
        entry[6..8].copy_from_slice(&self.flags.bits().to_le_bytes());
        entry[8..10].copy_from_slice(&self.id.to_le_bytes());
        entry[10..12].copy_from_slice(&self.size.to_le_bytes());
        entry
    }
}

/// How a transmit slot was dealt with (`NETIF_RSP_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxStatus {
    /// No buffer was free.
    Dropped = -2,
    /// The request was wrong.
    Error = -1,
    /// Taken.
    Okay = 0,
    /// The slot was an extra-info entry.
    Null = 1,
}

/// A transmit response slot; what the response does not use is zero (XSA-216).
pub fn tx_response(id: u16, status: TxStatus) -> [u8; TX_BYTES] {
    let mut entry = [0; TX_BYTES];
    entry[0..2].copy_from_slice(&id.to_le_bytes());
    entry[2..4].copy_from_slice(&(status as i16).to_le_bytes());
    entry
}

/// A piece of a packet in a client's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// The page.
    pub reference: Gref,
    /// First byte within it.
    pub offset: u16,
    /// Bytes; `offset + bytes` is within the page. May be zero.
    pub bytes: u16,
}

/// The slots that a packet took up, to be answered one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    ids: ArrayVec<u16, FATAL_SLOTS>,
    extras: usize,
}

impl Answers {
    /// The responses, in ring order: each data slot with `status`, extra-info slots as null.
    pub fn responses(&self, status: TxStatus) -> impl Iterator<Item = [u8; TX_BYTES]> {
        let (first, rest) = self.ids.split_at(self.ids.len().min(1));
        let data = move |&id: &u16| tx_response(id, status);
        let extras = core::iter::repeat_n(tx_response(0, TxStatus::Null), self.extras);
        first.iter().map(data).chain(extras).chain(rest.iter().map(data))
    }
}

/// A packet's slots, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxPacket {
    /// Where the bytes are, in order.
    pub fragments: ArrayVec<Fragment, MAX_SLOTS>,
    /// Bytes of the packet: at least an Ethernet header.
    pub bytes: u16,
    /// What the client left to do.
    pub offload: Offload,
    /// Slots to answer.
    pub answers: Answers,
}

/// Why a packet is not taken, while the vif goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxRefusal {
    /// More slots than [`MAX_SLOTS`].
    TooManySlots,
    /// Shorter than an Ethernet header.
    TooShort,
    /// The fragments are longer than the packet claims to be.
    SizesDisagree,
}

/// What a client cannot do by mistake: its vif is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxViolation {
    /// A slot announced another that was not published with it.
    MissingSlots,
    /// Slots without end.
    SlotFlood,
    /// A fragment reaches beyond its page.
    BeyondPage,
    /// An extra-info entry of a type that was not offered, or too many of them.
    BadExtra,
    /// A segmentation entry that makes no sense.
    BadSegmentation,
}

/// What became of the slots that were read.
pub type TxOutcome = Result<Result<TxPacket, (TxRefusal, Answers)>, TxViolation>;

/// Reads one packet. `next` takes the next published slot from the ring, or says that there is none;
/// the first call must find one.
pub fn read_packet(mut next: impl FnMut() -> Option<[u8; TX_BYTES]>) -> TxOutcome {
    let mut take = || next().ok_or(TxViolation::MissingSlots);
    let first = TxRequest::parse(take()?);
    let mut answers = Answers::default();
    let mut gso = None;
    if first.flags.contains(TxFlags::EXTRA_INFO) {
        loop {
            let extra = Extra::parse(take()?);
            answers.extras += 1;
            if answers.extras > MAX_EXTRAS {
                return Err(TxViolation::BadExtra);
            }
            gso = Some(extra.segmentation()?);
            if !extra.more {
                break;
            }
        }
    }

    let mut slots: ArrayVec<TxRequest, FATAL_SLOTS> = ArrayVec::new();
    slots.push(first);
    answers.ids.push(first.id);
    let mut last = first;
    while last.flags.contains(TxFlags::MORE_DATA) {
        last = TxRequest::parse(take()?);
        slots.try_push(last).map_err(|_| TxViolation::SlotFlood)?;
        answers.ids.push(last.id);
    }

    // The first slot's own length is what the others leave of the total.
    let total = u32::from(first.size);
    let others: u32 = slots.iter().skip(1).map(|slot| u32::from(slot.size)).sum();
    if first.size < ETHERNET_BYTES {
        return Ok(Err((TxRefusal::TooShort, answers)));
    }
    let Some(first_bytes) = total.checked_sub(others) else {
        return Ok(Err((TxRefusal::SizesDisagree, answers)));
    };
    let mut fragments = ArrayVec::new();
    for (index, slot) in slots.iter().enumerate() {
        let bytes = if index == 0 { first_bytes as u16 } else { slot.size };
        if usize::from(slot.offset) + usize::from(bytes) > PAGE_BYTES {
            return Err(TxViolation::BeyondPage);
        }
        let fragment = Fragment { reference: slot.reference, offset: slot.offset, bytes };
        if fragments.try_push(fragment).is_err() {
            return Ok(Err((TxRefusal::TooManySlots, answers)));
        }
    }
    let checksum = if first.flags.contains(TxFlags::CHECKSUM_BLANK) {
        Checksum::Blank
    } else if first.flags.contains(TxFlags::DATA_VALIDATED) {
        Checksum::Validated
    } else {
        Checksum::Unverified
    };
    Ok(Ok(TxPacket { fragments, bytes: first.size, offload: Offload { checksum, gso }, answers }))
}

/// An extra-info entry (`struct netif_extra_info`).
struct Extra {
    kind: u8,
    more: bool,
    size: u16,
    protocol: u8,
}

/// `XEN_NETIF_EXTRA_TYPE_GSO`, the only type we offer.
const EXTRA_GSO: u8 = 1;

impl Extra {
    fn parse(entry: [u8; TX_BYTES]) -> Self {
        let [kind, flags, s0, s1, protocol, ..] = entry;
        Self { kind, more: flags & 1 != 0, size: u16::from_le_bytes([s0, s1]), protocol }
    }

    fn segmentation(&self) -> Result<Gso, TxViolation> {
        if self.kind != EXTRA_GSO {
            return Err(TxViolation::BadExtra);
        }
        let kind = match self.protocol {
            1 => GsoKind::TcpV4,
            2 => GsoKind::TcpV6,
            _ => return Err(TxViolation::BadSegmentation),
        };
        let segment_bytes = NonZeroU16::new(self.size).ok_or(TxViolation::BadSegmentation)?;
        Ok(Gso { kind, segment_bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn slot(size: u16, offset: u16, flags: TxFlags) -> [u8; TX_BYTES] {
        TxRequest { reference: Gref(77), offset, flags, id: 5, size }.encode()
    }

    fn read(slots: &[[u8; TX_BYTES]]) -> TxOutcome {
        let mut slots = slots.iter().copied();
        read_packet(|| slots.next())
    }

    const MORE: TxFlags = TxFlags::MORE_DATA;
    const LAST: TxFlags = TxFlags::empty();

    #[test]
    fn layout_is_netif_h_s() {
        let entry = [1, 2, 3, 4, 5, 6, 7, 0, 9, 10, 11, 12];
        let request = TxRequest::parse(entry);
        assert_eq!(request.reference, Gref(0x0403_0201));
        assert_eq!((request.offset, request.id, request.size), (0x0605, 0x0a09, 0x0c0b));
        assert_eq!(request.flags.bits(), 7);
        assert_eq!(request.encode(), entry);
        assert_eq!(tx_response(0x0102, TxStatus::Dropped), [2, 1, 0xfe, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn single_slot_with_blank_checksum() {
        let packet =
            read(&[slot(60, 100, TxFlags::CHECKSUM_BLANK | TxFlags::DATA_VALIDATED)]).unwrap().unwrap();
        assert_eq!(packet.bytes, 60);
        assert_eq!(packet.fragments[..], [Fragment { reference: Gref(77), offset: 100, bytes: 60 }]);
        assert_eq!(packet.offload, Offload { checksum: Checksum::Blank, gso: None });
        assert_eq!(packet.answers.responses(TxStatus::Okay).count(), 1);
    }

    #[test]
    fn first_slot_holds_what_the_others_leave() {
        let packet = read(&[slot(1514, 0, MORE), slot(1000, 0, MORE), slot(0, 4096, LAST)]).unwrap().unwrap();
        let bytes: Vec<u16> = packet.fragments.iter().map(|fragment| fragment.bytes).collect();
        assert_eq!(bytes, [514, 1000, 0]);
    }

    #[test]
    fn extra_slot_gives_segmentation_and_is_answered_as_null() {
        let extra = [1, 0, 0xb4, 5, 1, 0, 0, 0, 0, 0, 0, 0];
        let first = slot(9000, 0, TxFlags::EXTRA_INFO | MORE);
        let packet = read(&[first, extra, slot(4096, 0, MORE), slot(4000, 0, LAST)]).unwrap().unwrap();
        let gso = packet.offload.gso.unwrap();
        assert_eq!((gso.kind, gso.segment_bytes.get()), (GsoKind::TcpV4, 1460));
        let statuses: Vec<u8> = packet.answers.responses(TxStatus::Okay).map(|entry| entry[2]).collect();
        assert_eq!(statuses, [0, 1, 0, 0]);
    }

    #[test]
    fn sizes_that_disagree_are_refused_and_answered() {
        let (refusal, answers) = read(&[slot(100, 0, MORE), slot(101, 0, LAST)]).unwrap().unwrap_err();
        assert_eq!(refusal, TxRefusal::SizesDisagree);
        assert_eq!(answers.responses(TxStatus::Error).count(), 2);
        assert_eq!(read(&[slot(13, 0, LAST)]).unwrap().unwrap_err().0, TxRefusal::TooShort);
    }

    #[test]
    fn too_many_slots_are_refused_and_a_flood_is_a_violation() {
        let many = |count: usize| {
            let mut slots: Vec<_> = (0..count).map(|_| slot(20, 0, MORE)).collect();
            slots[0] = slot(2000, 0, MORE);
            slots[count - 1] = slot(20, 0, LAST);
            read(&slots)
        };
        assert!(many(18).unwrap().is_ok());
        assert_eq!(many(19).unwrap().unwrap_err().0, TxRefusal::TooManySlots);
        assert_eq!(many(21), Err(TxViolation::SlotFlood));
    }

    #[test]
    fn violations_are_told_apart() {
        assert_eq!(read(&[slot(60, 0, MORE)]), Err(TxViolation::MissingSlots));
        assert_eq!(read(&[slot(97, 4000, LAST)]), Err(TxViolation::BeyondPage));
        let extra = |bytes: [u8; 5]| {
            let mut entry = [0; TX_BYTES];
            entry[..5].copy_from_slice(&bytes);
            read(&[slot(60, 0, TxFlags::EXTRA_INFO), entry])
        };
        assert_eq!(extra([4, 0, 0, 0, 0]), Err(TxViolation::BadExtra));
        assert_eq!(extra([1, 0, 0, 0, 1]), Err(TxViolation::BadSegmentation));
        assert_eq!(extra([1, 0, 9, 0, 7]), Err(TxViolation::BadSegmentation));
        assert_eq!(extra([1, 1, 9, 0, 1]), Err(TxViolation::MissingSlots));
    }
}
