//! An Ethernet frame in pages of our own, on its way from one vif to another.
//!
//! The first segment holds every header, contiguous; the rest of the payload stays wherever it arrived.

use crate::packet::{Checksum, Datagram, Offload};
use crate::vif::blank::BlankChecksum;
use crate::vif::segments::{Segment, Segments};
use crate::wire::ethernet::HEADER_BYTES;
use crate::xen::page::{PAGE_BYTES, Page, PagePool};
use core::ops::Range;

/// IP bytes that [`Datagram::header`] promises to be contiguous.
const HEADER_ROOM: usize = 576;

/// A frame: at least an Ethernet header, contiguous with the headers behind it.
#[derive(Debug)]
pub struct Frame {
    segments: Segments,
    offload: Offload,
}

/// Why bytes are not a frame; the pages are given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoFrame {
    /// Shorter than an Ethernet header.
    TooShort,
}

impl Frame {
    /// Makes a frame of `segments`. When the headers are scattered they are gathered into the first page
    /// (peers may split a packet anywhere, XSA-423); the usual frame is left as it is.
    pub fn new(segments: Segments, offload: Offload, pages: &mut PagePool) -> Result<Self, NoFrame> {
        let mut frame = Self { segments, offload };
        if frame.bytes() < HEADER_BYTES {
            frame.release(pages);
            return Err(NoFrame::TooShort);
        }
        frame.gather_headers(pages);
        Ok(frame)
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
        let Some(room) = page.bytes_mut().get_mut(start..end) else {
            pages.give(page);
            return None;
        };
        room.copy_from_slice(bytes);
        let segments = Segments::one(Segment { page, offset: 0, bytes: end as u16 });
        Some(Self { segments, offload: Offload { checksum: Checksum::Validated, gso: None } })
    }

    /// Bytes in all, Ethernet header included.
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| usize::from(segment.bytes)).sum()
    }

    /// The pieces, in order.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// The pieces, to be granted or lent, and the offload state.
    pub fn into_parts(self) -> (Segments, Offload) {
        (self.segments, self.offload)
    }

    /// The Ethernet header, as it came or to be made anew.
    pub fn ethernet_mut(&mut self) -> &mut [u8] {
        let all = self.segments.split_mut().0.data_mut();
        all.get_mut(..HEADER_BYTES).unwrap_or_default()
    }

    /// Everything contiguous from the frame's first byte.
    pub fn head(&self) -> &[u8] {
        self.segments.first().data()
    }

    /// A frame of its own with `header` as IP header and bytes `payload` of this frame's IP packet behind it:
    /// a fragment. Copied, because a fragment is rare and pages are not shared between frames. `None` when it
    /// does not fit a page or none is free.
    pub fn fragment(&self, header: &[u8], payload: Range<usize>, pages: &mut PagePool) -> Option<Self> {
        let mut page = pages.take()?;
        let start = HEADER_BYTES + header.len();
        let end = start + payload.len();
        let room = page.bytes_mut().get_mut(HEADER_BYTES..end);
        let Some((head, body)) = room.and_then(|room| room.split_at_mut_checked(header.len())) else {
            pages.give(page);
            return None;
        };
        head.copy_from_slice(header);
        let bytes = self.segments.iter().flat_map(Segment::data).skip(HEADER_BYTES + payload.start);
        for (to, from) in body.iter_mut().zip(bytes) {
            *to = *from;
        }
        let segments = Segments::one(Segment { page, offset: 0, bytes: end as u16 });
        Some(Self { segments, offload: self.offload })
    }

    /// Gives the pages back.
    pub fn release(self, pages: &mut PagePool) {
        for segment in self.segments {
            pages.give(segment.page);
        }
    }

    /// Copies bytes of later segments into the first page until it holds every header.
    fn gather_headers(&mut self, pages: &mut PagePool) {
        let wanted = self.bytes().min(HEADER_BYTES + HEADER_ROOM);
        let (first, rest) = self.segments.split_mut();
        let mut have = usize::from(first.bytes);
        if have >= wanted {
            return;
        }
        // To the page's start, so that there is room behind.
        let range = first.range();
        first.page.bytes_mut().copy_within(range, 0);
        first.offset = 0;
        for segment in rest.iter_mut() {
            let moved = usize::from(segment.bytes).min(wanted - have);
            let target = first.page.bytes_mut().get_mut(have..have + moved).unwrap_or_default();
            target.copy_from_slice(segment.data().get(..moved).unwrap_or_default());
            have += moved;
            segment.offset += moved as u16;
            segment.bytes -= moved as u16;
        }
        first.bytes = have as u16;
        // Emptied pieces would be empty slots: Linux drops those.
        self.segments.drain_empty().for_each(|page| pages.give(page));
    }

    /// Wipes what the frame does not use of its pages, so that a peer that is granted them sees the frame
    /// and nothing else.
    pub fn wipe_surroundings(&mut self) {
        for segment in self.segments.iter_mut() {
            let range = segment.range();
            let bytes = segment.page.bytes_mut();
            if let Some((before, _)) = bytes.split_at_mut_checked(range.start) {
                before.fill(0);
            }
            if let Some((_, after)) = bytes.split_at_mut_checked(range.end) {
                after.fill(0);
            }
        }
    }

    /// Completes a blank layer-4 checksum, for a receiver that cannot. Anything else stays as it is.
    pub fn complete_checksum(&mut self) {
        if self.offload.checksum != Checksum::Blank {
            return;
        }
        let Some(blank) = BlankChecksum::locate(self.header()) else { return };
        let checksum = blank.complete(self.sum_from(HEADER_BYTES + blank.covered_from));
        if let Some(field) = self.header().get_mut(blank.field..blank.field + 2) {
            field.copy_from_slice(&checksum.to_be_bytes());
            self.offload.checksum = Checksum::Validated;
        }
    }

    /// Ones'-complement sum, not folded, of everything from byte `start` on.
    fn sum_from(&self, start: usize) -> u64 {
        let bytes = self.segments.iter().flat_map(Segment::data).skip(start);
        let shift = [8, 0].into_iter().cycle();
        bytes.zip(shift).map(|(&byte, shift)| u64::from(byte) << shift).sum()
    }
}

impl Datagram for Frame {
    fn header(&mut self) -> &mut [u8] {
        let all = self.segments.split_mut().0.data_mut();
        all.get_mut(HEADER_BYTES..).unwrap_or_default()
    }

    fn total_bytes(&self) -> usize {
        self.bytes().saturating_sub(HEADER_BYTES)
    }

    fn truncate(&mut self, total_bytes: usize) {
        let mut left = HEADER_BYTES + total_bytes;
        for segment in self.segments.iter_mut() {
            segment.bytes = segment.bytes.min(u16::try_from(left).unwrap_or(u16::MAX));
            left -= usize::from(segment.bytes);
        }
    }

    fn offload(&self) -> Offload {
        self.offload
    }

    fn set_offload(&mut self, offload: Offload) {
        self.offload = offload;
    }
}

const _: () = assert!(HEADER_BYTES + HEADER_ROOM <= PAGE_BYTES);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::page::on_heap;

    /// A frame of `lengths` bytes counted up from zero, each piece at offset 100 of a page of its own.
    fn frame(lengths: &[u16], pages: &mut PagePool) -> Frame {
        let mut count = 0u8;
        let mut segments = std::vec::Vec::new();
        for &bytes in lengths {
            let mut page = on_heap::page();
            page.bytes_mut().fill(0xee);
            for byte in &mut page.bytes_mut()[100..100 + usize::from(bytes)] {
                *byte = count;
                count = count.wrapping_add(1);
            }
            segments.push(Segment { page, offset: 100, bytes });
        }
        Frame::new(Segments::of(segments.into_iter()).unwrap(), Offload::NONE, pages).unwrap()
    }

    fn content(frame: &Frame) -> std::vec::Vec<u8> {
        frame.segments().iter().flat_map(|segment| segment.data().to_vec()).collect()
    }

    fn counting(bytes: usize) -> std::vec::Vec<u8> {
        (0..bytes).map(|index| index as u8).collect()
    }

    #[test]
    fn scattered_headers_are_gathered_and_nothing_is_lost() {
        let mut pages = PagePool::with_capacity(8);
        let mut frame = frame(&[1, 0, 13, 700, 900], &mut pages);
        assert_eq!(frame.head(), counting(590));
        assert_eq!(frame.header().len(), 576);
        assert_eq!(content(&frame), counting(1614));
        assert_eq!(pages.free(), 2);
    }

    #[test]
    fn contiguous_frame_stays_where_it_is() {
        let mut pages = PagePool::with_capacity(8);
        let frame = frame(&[1514], &mut pages);
        assert_eq!(frame.segments().first().offset, 100);
        assert_eq!(content(&frame), counting(1514));
    }

    #[test]
    fn short_frame_is_refused_and_its_pages_come_back() {
        let mut pages = PagePool::with_capacity(8);
        let segments = Segments::one(Segment { page: on_heap::page(), offset: 0, bytes: 13 });
        assert!(matches!(Frame::new(segments, Offload::NONE, &mut pages), Err(NoFrame::TooShort)));
        assert_eq!(pages.free(), 1);
    }

    #[test]
    fn truncation_cuts_padding_across_segments() {
        let mut pages = PagePool::with_capacity(8);
        let mut frame = frame(&[600, 100, 100], &mut pages);
        frame.truncate(636);
        assert_eq!(content(&frame), counting(650));
        frame.truncate(2000);
        assert_eq!(frame.total_bytes(), 636);
    }

    #[test]
    fn fragment_is_a_header_and_a_range_of_the_packet() {
        let mut pages = PagePool::with_capacity(8);
        let frame = frame(&[600, 100], &mut pages);
        pages.add(on_heap::page());
        let mut fragment = frame.fragment(&[0xaa; 20], 580..600, &mut pages).unwrap();
        assert_eq!(fragment.header()[..20], [0xaa; 20]);
        assert_eq!(fragment.header()[20..], counting(614)[594..]);
        assert!(frame.fragment(&[0; 20], 0..1, &mut pages).is_none());
    }

    #[test]
    fn surroundings_are_wiped_and_the_frame_is_not() {
        let mut pages = PagePool::with_capacity(8);
        let mut frame = frame(&[60], &mut pages);
        frame.wipe_surroundings();
        let bytes = frame.segments().first().page.bytes();
        assert!(bytes[..100].iter().chain(&bytes[160..]).all(|&byte| byte == 0));
        assert_eq!(content(&frame), counting(60));
    }

    #[test]
    fn blank_checksum_is_completed_over_odd_segments() {
        // A UDP datagram of 9 payload bytes, 10.0.0.1:1000 > 10.0.0.2:53, pseudo-header sum in the field.
        let mut packet = std::vec![0u8; 14];
        packet.extend([0x45, 0, 0, 37, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        let pseudo: u16 = 0x0a00 + 1 + 0x0a00 + 2 + 17 + 17;
        packet.extend([0x03, 0xe8, 0, 53, 0, 17]);
        packet.extend(pseudo.to_be_bytes());
        packet.extend(b"abcdefghi");
        let mut segments = std::vec::Vec::new();
        for part in [&packet[..45], &packet[45..]] {
            let mut page = on_heap::page();
            page.bytes_mut()[..part.len()].copy_from_slice(part);
            segments.push(Segment { page, offset: 0, bytes: part.len() as u16 });
        }
        let offload = Offload { checksum: Checksum::Blank, gso: None };
        let mut frame = Frame { segments: Segments::of(segments.into_iter()).unwrap(), offload };
        frame.complete_checksum();
        assert_eq!(frame.offload().checksum, Checksum::Validated);
        // By hand: the ones' complement sum of pseudo-header and datagram.
        let datagram = [&content(&frame)[34..], &[0]].concat();
        let words = datagram.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
        let mut sum: u32 = words.sum::<u32>() + u32::from(pseudo);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        assert_eq!(sum, 0xffff);
    }
}
