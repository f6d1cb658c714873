//! An Ethernet frame in pages of our own, on its way from one vif to another.
//!
//! The first segment holds every header, contiguous; the rest of the payload stays wherever it arrived.

use crate::base::bug::OrBug;
use crate::base::side::Side;
use crate::base::time::Moment;
use crate::route::neighbour::waiting::Charged;
use crate::route::segmentation::{LEAST_SEGMENT, Shape};
use crate::tables::share::Account;
use crate::vif::blank::BlankChecksum;
use crate::vif::chunks::Chunks;
use crate::wire::checksum::Sum;
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::ipv4::{Ipv4, Part, protocol};
use crate::wire::packet::{Checksum, Gso, GsoKind, Offload, Original, Packet};
use crate::xen::charge::Charge;
use crate::xen::page::{PAGE_BYTES, Page};
use crate::xen::page_pool::{Chunk, PagePool};
use core::ops::Range;

/// IP bytes that [`Packet::header`] gives at least, of a packet that is not to be segmented: as much as an ICMP error
/// may quote.
const HEADER_ROOM: usize = 576;

/// The same of a packet that is still to be segmented: IP and TCP header at their longest, and a few bytes. No more,
/// because the CPU is not to move its payload, which in what a Linux client sends begins right behind the headers.
const GSO_HEADER_ROOM: usize = 128;

/// A frame: at least an Ethernet header, contiguous with the headers behind it.
#[derive(Debug)]
pub struct Frame {
    segments: Chunks,
    /// Of all segments together.
    bytes: u32,
    offload: Offload,
    /// What is known of its headers, once its packet was read.
    layer4: Layer4,
    /// What a client's packet said then.
    original: Option<Original>,
    /// See [`Self::account`].
    account: Account,
    /// Since when it is in a client's queue.
    waits_since: Moment,
}

/// What a frame's IP header said when it was read. A rewritten packet has it in the same place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Layer4 {
    /// Bytes of the IP header.
    ip_bytes: u8,
    /// The protocol behind it; zero of a fragment, and of a frame that was not read.
    protocol: u8,
}

/// Why bytes are not a frame; the pages are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFrame {
    /// Shorter than an Ethernet header.
    TooShort,
    /// There is no page for it.
    NoPage,
}

/// What a sender asked to be segmented cannot be: it is no TCP packet over IPv4, or the segments are absurd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CannotSegment;

impl Frame {
    /// Makes a frame of `segments`. When the headers are scattered they are gathered into the first page
    /// (peers may split a packet anywhere, XSA-423); the usual frame is left as it is.
    #[inline(always)]
    pub fn new(segments: Chunks, offload: Offload, pages: &mut PagePool) -> Result<Self, NoFrame> {
        let mut frame = Self::of(segments, offload);
        let bytes = frame.bytes();
        if bytes < HEADER_BYTES {
            frame.release(pages);
            return Err(NoFrame::TooShort);
        }
        let wanted = HEADER_BYTES + if offload.gso.is_some() { GSO_HEADER_ROOM } else { HEADER_ROOM };
        if usize::from(frame.segments.first().bytes) < wanted.min(bytes) {
            frame.gather_headers(wanted.min(bytes), pages);
        }
        Ok(frame)
    }

    fn of(segments: Chunks, offload: Offload) -> Self {
        let bytes = segments.iter().map(|segment| u32::from(segment.bytes)).sum();
        let layer4 = Layer4::default();
        let waits_since = Moment::default();
        Self { segments, bytes, offload, layer4, original: None, account: Account::UPLINK, waits_since }
    }

    /// Makes a frame of an IP packet of our own, with room for the Ethernet header. `None` when it does not
    /// fit a page.
    pub fn with_packet(page: Page, packet: &[u8], pages: &mut PagePool) -> Option<Self> {
        Self::fill(page, HEADER_BYTES, packet, pages)
    }

    /// Makes a frame of our own bytes, Ethernet header included. `None` when they do not fit a page.
    pub fn with_bytes(page: Page, bytes: &[u8], pages: &mut PagePool) -> Option<Self> {
        Self::fill(page, 0, bytes, pages)
    }

    fn fill(mut page: Page, start: usize, bytes: &[u8], pages: &mut PagePool) -> Option<Self> {
        let end = start + bytes.len();
        if end > PAGE_BYTES {
            pages.give(page);
            return None;
        }
        page.bytes_mut(start..end).copy_from_slice(bytes);
        let segments = Chunks::one(Chunk { page, offset: 0, bytes: end as u16 });
        Some(Self::of(segments, Offload { checksum: Checksum::Validated, gso: None }))
    }

    /// Bytes in all, Ethernet header included.
    pub fn bytes(&self) -> usize {
        self.bytes as usize
    }

    /// The engine's account that pays for its place in queues: its sender's. The uplink's until [`Self::charge_to`]
    /// says otherwise, which is right for what hosts there sent and for what we answer them. What pays for its pages is
    /// [`Self::charge`].
    pub fn account(&self) -> Account {
        self.account
    }

    /// Puts it on its sender's account, and with it every piece that is made of it later.
    pub fn charge_to(&mut self, account: Account) {
        self.account = account;
    }

    /// Notes that it is put into a client's queue.
    pub fn wait_since(&mut self, now: Moment) {
        self.waits_since = now;
    }

    /// Since when it is in a client's queue, if it is.
    pub fn waits_since(&self) -> Moment {
        self.waits_since
    }

    /// Notes what a client's packet said before it was rewritten.
    pub fn set_original(&mut self, original: Option<Original>) {
        self.original = original;
    }

    /// The pool's account that its pages are charged to.
    pub fn charge(&self) -> Charge {
        self.segments.first().page.charge()
    }

    /// Moves its pages to another account, if there is room for them.
    pub fn recharge(&mut self, to: Charge, pages: &mut PagePool) -> Complete {
        if self.charge() != to && !pages.has_room(to, self.segments.len()) {
            return Complete::No;
        }
        self.move_to(to, pages);
        Complete::Yes
    }

    /// Moves its pages, which are all on one account, to another that has room for them.
    #[inline]
    pub fn move_to(&mut self, to: Charge, pages: &mut PagePool) {
        if self.charge() != to {
            pages.recharge(self.segments.split_mut(), to);
        }
    }

    /// The pieces, in order.
    pub fn segments(&self) -> &Chunks {
        &self.segments
    }

    /// The pieces, to be granted or lent, and the offload state.
    pub fn into_parts(self) -> (Chunks, Offload) {
        (self.segments, self.offload)
    }

    /// The Ethernet header, as it came or to be made anew.
    pub fn ethernet_mut(&mut self) -> &mut [u8] {
        self.segments.first_mut().head_mut(HEADER_BYTES)
    }

    /// Everything contiguous from the frame's first byte.
    pub fn head(&self) -> &[u8] {
        self.segments.first().data()
    }

    /// A frame of its own with `header` as headers from the IP header on and bytes `payload` of this frame's IP
    /// packet behind them: a fragment, or a segment. Copied, because these are rare and pages are not shared
    /// between frames. `None` when it does not fit a page or none is free.
    pub fn piece(&self, header: &[u8], payload: Range<usize>, pages: &mut PagePool) -> Option<Self> {
        let start = HEADER_BYTES + header.len();
        let end = start + payload.len();
        if end > PAGE_BYTES {
            return None;
        }
        let mut page = pages.take(self.charge())?;
        // The Ethernet header is made anew; until then it is nobody's.
        page.bytes_mut(0..HEADER_BYTES).fill(0);
        let (head, mut body) = page.bytes_mut(HEADER_BYTES..end).split_at_mut(header.len());
        head.copy_from_slice(header);
        let mut skip = HEADER_BYTES + payload.start;
        for data in self.segments.iter().map(Chunk::data) {
            let (skipped, data) = data.split_at(skip.min(data.len()));
            skip -= skipped.len();
            let (part, rest) = body.split_at_mut(data.len().min(body.len()));
            part.copy_from_slice(data.get(..part.len()).unwrap_or_default());
            body = rest;
        }
        let segments = Chunks::one(Chunk { page, offset: 0, bytes: end as u16 });
        let piece = Self::of(segments, Offload { gso: None, ..self.offload });
        Some(Self { account: self.account, layer4: self.layer4, original: self.original, ..piece })
    }

    /// Cuts the IP packet to `total_bytes`, if it is longer, and gives the pages behind that back.
    #[inline(always)]
    pub fn truncate(&mut self, total_bytes: usize, pages: &mut PagePool) {
        if HEADER_BYTES + total_bytes < self.bytes() {
            self.cut_off(total_bytes, pages);
        }
    }

    #[cold]
    fn cut_off(&mut self, total_bytes: usize, pages: &mut PagePool) {
        let mut left = HEADER_BYTES + total_bytes;
        self.bytes = left as u32;
        for segment in self.segments.iter_mut() {
            segment.bytes = segment.bytes.min(u16::try_from(left).unwrap_or(u16::MAX));
            left -= usize::from(segment.bytes);
        }
        self.segments.drop_empty(pages);
    }

    /// Gives the pages back.
    pub fn release(self, pages: &mut PagePool) {
        self.segments.release(pages);
    }

    /// Copies bytes of later segments into the first page until it holds `wanted`.
    #[cold]
    fn gather_headers(&mut self, wanted: usize, pages: &mut PagePool) {
        let (first, rest) = self.segments.split_mut();
        let mut have = usize::from(first.bytes);
        // To the page's start, so that there is room behind.
        let range = first.range();
        let page = first.page.bytes_mut(0..range.end.max(wanted));
        page.copy_within(range, 0);
        first.offset = 0;
        for segment in rest.iter_mut() {
            let moved = usize::from(segment.bytes).min(wanted - have);
            let target = page.get_mut(have..have + moved).unwrap_or_default();
            target.copy_from_slice(segment.data().get(..moved).unwrap_or_default());
            have += moved;
            segment.offset += moved as u16;
            segment.bytes -= moved as u16;
        }
        first.bytes = have as u16;
        // Emptied pieces would be empty slots: Linux drops those.
        self.segments.drop_empty(pages);
    }

    /// Takes note of what its IP header says, and that it came from `from`. What lies behind the IP packet's end is cut
    /// off, and a segmentation that the sender asked for is checked.
    ///
    /// # Errors
    /// A segmentation that cannot be.
    #[inline(always)]
    pub fn note_header(&mut self, from: Side, ip: &Ipv4, pages: &mut PagePool) -> Result<(), CannotSegment> {
        if let Side::Client(_) = from {
            self.original = Some(Original::of(ip, self.header()));
        }
        self.layer4 = Layer4 {
            ip_bytes: ip.header_bytes,
            protocol: if ip.part == Part::Whole { ip.protocol } else { 0 },
        };
        self.truncate(usize::from(ip.total_bytes), pages);
        match self.offload.gso {
            None => Ok(()),
            Some(gso) => self.settle_segmentation(ip.header_bytes, ip.total_bytes, gso),
        }
    }

    /// Checks that the packet can be segmented as its sender asked, by us or by whoever gets it. One that fits one
    /// segment is not to be segmented; the checksum of any other is left blank, as every segment gets its own.
    #[inline(never)]
    fn settle_segmentation(&mut self, ip_bytes: u8, total: u16, gso: Gso) -> Result<(), CannotSegment> {
        let Gso { kind, segment_bytes } = gso;
        let is_tcp = self.layer4.protocol == protocol::TCP;
        let shape = Shape::of(self.header(), ip_bytes.into(), total.into()).ok_or(CannotSegment)?;
        if !is_tcp || kind != GsoKind::TcpV4 || segment_bytes.get() < LEAST_SEGMENT {
            return Err(CannotSegment);
        }
        if shape.payload_bytes() <= usize::from(segment_bytes.get()) {
            self.offload.gso = None;
        } else if self.offload.checksum != Checksum::Blank {
            shape.blank_checksum(self.header_mut());
            self.offload.checksum = Checksum::Blank;
        }
        Ok(())
    }

    /// Cuts a frame that [`Self::note_header`] found sound into frames of one segment each, for a receiver
    /// that cannot. Says whether all were made: if no page is free the rest is lost, as on any full queue.
    pub fn segment(&mut self, pages: &mut PagePool, mut each: impl FnMut(Self, &mut PagePool)) -> Complete {
        let (total, ip_bytes) = (self.total_bytes(), usize::from(self.layer4.ip_bytes));
        let shape = Shape::of(self.header(), ip_bytes, total);
        let sound = self.offload.gso.zip(shape);
        let Some((gso, shape)) = sound.or_bug("a frame to be segmented that was not read") else {
            return Complete::No;
        };
        for segment in shape.segments(self.header(), gso.segment_bytes) {
            match self.piece(segment.header(), segment.payload.clone(), pages) {
                Some(piece) => each(piece, pages),
                None => return Complete::No,
            }
        }
        Complete::Yes
    }

    /// Completes a blank layer-4 checksum, for a receiver that cannot. In other protocols than TCP and UDP no checksum
    /// can be left blank: such a packet stays as it is, and is not called blank any more.
    pub fn complete_checksum(&mut self) {
        if self.offload.checksum != Checksum::Blank {
            return;
        }
        let Some(blank) = BlankChecksum::of(self.layer4.protocol, self.layer4.ip_bytes) else {
            self.offload.checksum = Checksum::Unverified;
            return;
        };
        let checksum = blank.complete(self.sum_from(HEADER_BYTES + blank.covered_from));
        if let Some(field) = self.header_mut().get_mut(blank.field..blank.field + 2) {
            field.copy_from_slice(&checksum.to_be_bytes());
            self.offload.checksum = Checksum::Validated;
        }
    }

    /// Ones' complement sum, not folded, of everything from byte `start` on.
    fn sum_from(&self, start: usize) -> u64 {
        let mut skip = start;
        let (mut total, mut summed) = (0, 0);
        for data in self.segments.iter().map(Chunk::data) {
            let (skipped, data) = data.split_at(skip.min(data.len()));
            skip -= skipped.len();
            let sum = Sum::ZERO.bytes(data).folded();
            // Behind an odd number of bytes high and low change places (RFC 1071 section 2).
            total += u64::from(if summed % 2 == 0 { sum } else { sum.swap_bytes() });
            summed += data.len();
        }
        total
    }
}

/// Whether everything was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Complete {
    /// It was.
    Yes,
    /// Something is missing.
    No,
}

impl Packet for Frame {
    #[inline(always)]
    fn header(&self) -> &[u8] {
        self.head().get(HEADER_BYTES..).unwrap_or_default()
    }

    fn header_mut(&mut self) -> &mut [u8] {
        let head = self.segments.first_mut().head_mut(HEADER_BYTES + HEADER_ROOM);
        head.get_mut(HEADER_BYTES..).unwrap_or_default()
    }

    fn total_bytes(&self) -> usize {
        self.bytes().saturating_sub(HEADER_BYTES)
    }

    fn memory_bytes(&self) -> usize {
        self.segments.len() * PAGE_BYTES
    }

    fn offload(&self) -> Offload {
        self.offload
    }

    fn original(&self) -> Option<Original> {
        self.original
    }

    fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }
}

impl Charged for Frame {
    fn account(&self) -> Account {
        self.account
    }

    fn pages(&self) -> usize {
        self.segments.len()
    }
}

const _: () = assert!(HEADER_BYTES + HEADER_ROOM <= PAGE_BYTES);

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
