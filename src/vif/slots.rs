//! One packet's transmit slots, read from a client's requests and checked.
//!
//! Format: `xen/include/public/io/netif.h`. The first slot's size is the whole packet's; each further slot's
//! is its own. Extra-info entries follow the first slot. What breaks the protocol is fatal to the vif; what
//! is merely not acceptable is answered with an error. The limits are those that Linux's netback holds its
//! clients to.

use crate::vif::extra::{BadExtra, Extra};
use crate::wire::packet::{Checksum, Offload};
use crate::xen::grant::Gref;
use crate::xen::page::PAGE_BYTES;
use arrayvec::ArrayVec;
use bitflags::bitflags;

/// Bytes of a transmit request or response slot.
pub const TX_BYTES: usize = 12;

/// Most slots of one packet (`XEN_NETIF_NR_SLOTS_MIN`, what a frontend may rely on).
pub const MAX_SLOTS: usize = 18;

/// More slots than this are an attack, not a large packet (Linux: `fatal_skb_slots`).
pub const FATAL_SLOTS: usize = 20;

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

impl TxFlags {
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

    /// What to tell a receiver about the checksum.
    pub fn for_checksum(checksum: Checksum) -> Self {
        match checksum {
            Checksum::Unverified => Self::empty(),
            Checksum::Validated => Self::DATA_VALIDATED,
            Checksum::Blank => Self::CHECKSUM_BLANK | Self::DATA_VALIDATED,
        }
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

    /// Whether it is all of a packet that is not to be segmented, and within its page.
    #[inline(always)]
    pub fn is_single(&self) -> bool {
        !self.flags.intersects(TxFlags::MORE_DATA | TxFlags::EXTRA_INFO)
            && self.size >= ETHERNET_BYTES
            && usize::from(self.offset) + usize::from(self.size) <= PAGE_BYTES
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
pub struct PacketSlot {
    /// The page.
    pub reference: Gref,
    /// First byte within it.
    pub offset: u16,
    /// Bytes; `offset + bytes` is within the page. May be zero.
    pub bytes: u16,
}

impl PacketSlot {
    fn is_within_page(&self) -> bool {
        usize::from(self.offset) + usize::from(self.bytes) <= PAGE_BYTES
    }
}

/// The slots that a packet took up, to be answered one by one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// Names of its data slots.
    pub ids: ArrayVec<u16, FATAL_SLOTS>,
    /// Extra-info entries behind the first.
    pub extras: usize,
}

impl Answers {
    /// How many slots.
    pub fn count(&self) -> usize {
        self.ids.len() + self.extras
    }

    /// Gives the responses in the order of the slots: with `status` for each data slot, null for extra-info entries.
    pub fn respond(&self, status: TxStatus, mut respond: impl FnMut([u8; TX_BYTES])) {
        let mut extras = self.extras;
        for &id in &self.ids {
            respond(tx_response(id, status));
            for _ in 0..core::mem::take(&mut extras) {
                respond(tx_response(0, TxStatus::Null));
            }
        }
    }
}

/// A packet's slots, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxPacket {
    /// Where the bytes are, in order.
    pub slots: ArrayVec<PacketSlot, MAX_SLOTS>,
    /// Bytes of the packet: at least an Ethernet header.
    pub bytes: u16,
    /// What the client left to do.
    pub offload: Offload,
    /// Slots to answer.
    pub answers: Answers,
}

impl Default for TxPacket {
    fn default() -> Self {
        Self { slots: ArrayVec::new(), bytes: 0, offload: Offload::NONE, answers: Answers::default() }
    }
}

/// Why a packet is not taken, while the vif goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxRefusal {
    /// More slots than [`MAX_SLOTS`].
    TooManySlots,
    /// Shorter than an Ethernet header.
    TooShort,
    /// The slots behind the first are longer together than the packet claims to be.
    SizesDisagree,
}

/// What a client cannot do by mistake: its vif is disabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TxViolation {
    /// A slot announced another that was not published with it.
    MissingSlots,
    /// Slots without end.
    SlotFlood,
    /// A slot reaches beyond its page.
    BeyondPage,
    /// An extra-info entry of a type that was not offered, or too many of them.
    BadExtra,
    /// A segmentation entry that makes no sense.
    BadSegmentation,
}

/// What became of the slots that were read.
pub type TxOutcome = Result<Result<(), TxRefusal>, TxViolation>;

/// Reads one packet, of which `first` is the first slot, into `packet`, whose `answers` are right even if it is refused.
/// `next` takes the next published slot from the ring, or says that there is none.
pub fn read_packet(
    packet: &mut TxPacket,
    first: TxRequest,
    mut next: impl FnMut() -> Option<[u8; TX_BYTES]>,
) -> TxOutcome {
    let mut take = || next().ok_or(TxViolation::MissingSlots);
    let TxPacket { slots, bytes, offload, answers } = packet;
    slots.clear();
    answers.ids.clear();
    answers.extras = 0;

    answers.ids.push(first.id);
    *bytes = first.size;
    *offload = Offload { checksum: first.flags.checksum(), gso: None };
    let mut more_extras = first.flags.contains(TxFlags::EXTRA_INFO);
    while more_extras {
        let extra = Extra::parse(&take()?);
        answers.extras += 1;
        if answers.extras > MAX_EXTRAS {
            return Err(TxViolation::BadExtra);
        }
        offload.gso = Some(extra.segmentation().map_err(|bad| match bad {
            BadExtra::Kind => TxViolation::BadExtra,
            BadExtra::Segmentation => TxViolation::BadSegmentation,
        })?);
        more_extras = extra.more;
    }

    let mut refusal = None;
    // The first slot's own length is what the others leave of the total.
    slots.push(PacketSlot { reference: first.reference, offset: first.offset, bytes: 0 });
    let mut left = Some(first.size);
    let mut more_slots = first.flags.contains(TxFlags::MORE_DATA);
    while more_slots {
        let request = TxRequest::parse(take()?);
        answers.ids.try_push(request.id).map_err(|_| TxViolation::SlotFlood)?;
        let slot = PacketSlot { reference: request.reference, offset: request.offset, bytes: request.size };
        if !slot.is_within_page() {
            return Err(TxViolation::BeyondPage);
        }
        if slots.try_push(slot).is_err() {
            refusal = Some(TxRefusal::TooManySlots);
        }
        left = left.and_then(|left| left.checked_sub(request.size));
        more_slots = request.flags.contains(TxFlags::MORE_DATA);
    }
    if first.size < ETHERNET_BYTES {
        return Ok(Err(TxRefusal::TooShort));
    }
    let Some(left) = left else { return Ok(Err(TxRefusal::SizesDisagree)) };
    if let Some(slot) = slots.first_mut() {
        slot.bytes = left;
        if !slot.is_within_page() {
            return Err(TxViolation::BeyondPage);
        }
    }
    Ok(refusal.map_or(Ok(()), Err))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::packet::GsoKind;
    use std::vec::Vec;

    fn slot(size: u16, offset: u16, flags: TxFlags) -> [u8; TX_BYTES] {
        TxRequest { reference: Gref(77), offset, flags, id: 5, size }.encode()
    }

    /// The packet, or why there is none, with the slots to answer.
    fn read(slots: &[[u8; TX_BYTES]]) -> Result<Result<TxPacket, (TxRefusal, Answers)>, TxViolation> {
        let (mut slots, mut packet) = (slots.iter().copied(), TxPacket::default());
        let first = TxRequest::parse(slots.next().unwrap());
        let outcome = read_packet(&mut packet, first, || slots.next())?;
        Ok(match outcome {
            Ok(()) => Ok(packet),
            Err(refusal) => Err((refusal, packet.answers)),
        })
    }

    fn answers(answers: &Answers, status: TxStatus) -> Vec<[u8; TX_BYTES]> {
        let mut responses = Vec::new();
        answers.respond(status, |response| responses.push(response));
        assert_eq!(responses.len(), answers.count());
        responses
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
        assert_eq!(packet.slots[..], [PacketSlot { reference: Gref(77), offset: 100, bytes: 60 }]);
        assert_eq!(packet.offload, Offload { checksum: Checksum::Blank, gso: None });
        assert_eq!(answers(&packet.answers, TxStatus::Okay).len(), 1);
    }

    #[test]
    fn first_slot_holds_what_the_others_leave() {
        let packet = read(&[slot(1514, 0, MORE), slot(1000, 0, MORE), slot(0, 4096, LAST)]).unwrap().unwrap();
        let bytes: Vec<u16> = packet.slots.iter().map(|slot| slot.bytes).collect();
        assert_eq!(bytes, [514, 1000, 0]);
    }

    #[test]
    fn extra_slot_gives_segmentation_and_is_answered_as_null() {
        let extra = [1, 0, 0xb4, 5, 1, 0, 0, 0, 0, 0, 0, 0];
        let first = slot(9000, 0, TxFlags::EXTRA_INFO | MORE);
        let packet = read(&[first, extra, slot(4096, 0, MORE), slot(4000, 0, LAST)]).unwrap().unwrap();
        let gso = packet.offload.gso.unwrap();
        assert_eq!((gso.kind, gso.segment_bytes.get()), (GsoKind::TcpV4, 1460));
        let statuses: Vec<u8> =
            answers(&packet.answers, TxStatus::Okay).iter().map(|entry| entry[2]).collect();
        assert_eq!(statuses, [0, 1, 0, 0]);
    }

    #[test]
    fn sizes_that_disagree_are_refused_and_answered() {
        let (refusal, slots) = read(&[slot(100, 0, MORE), slot(101, 0, LAST)]).unwrap().unwrap_err();
        assert_eq!(refusal, TxRefusal::SizesDisagree);
        assert_eq!(answers(&slots, TxStatus::Error).len(), 2);
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
