use super::*;
use crate::base::side::ClientSlot;
use crate::xen::page::on_heap;

/// A frame of `lengths` bytes counted up from zero, each piece at offset 100 of a page of its own.
fn frame(lengths: &[u16], pages: &mut PagePool) -> Frame {
    frame_with(lengths, Offload::NONE, pages)
}

fn frame_with(lengths: &[u16], offload: Offload, pages: &mut PagePool) -> Frame {
    let mut count = 0u8;
    let mut segments = std::vec::Vec::new();
    for &bytes in lengths {
        let mut page = on_heap::page();
        page.bytes_mut(0..PAGE_BYTES).fill(0xee);
        for byte in page.bytes_mut(100..100 + usize::from(bytes)) {
            *byte = count;
            count = count.wrapping_add(1);
        }
        segments.push(Chunk { page, offset: 100, bytes });
    }
    Frame::new(joined(segments, pages), offload, pages).unwrap()
}

fn joined(pieces: std::vec::Vec<Chunk>, pages: &mut PagePool) -> Chunks {
    let mut pieces = pieces.into_iter();
    let mut segments = Chunks::one(pieces.next().unwrap());
    pieces.for_each(|piece| segments.push(piece, pages).unwrap());
    segments
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
    let frame = frame(&[1, 0, 13, 700, 900], &mut pages);
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
    let segments = Chunks::one(Chunk { page: on_heap::page(), offset: 0, bytes: 13 });
    assert!(matches!(Frame::new(segments, Offload::NONE, &mut pages), Err(NoFrame::TooShort)));
    assert_eq!(pages.free(), 1);
}

#[test]
fn truncation_cuts_padding_across_segments() {
    let mut pages = PagePool::with_capacity(8);
    let mut frame = frame(&[600, 100, 100], &mut pages);
    frame.truncate(636, &mut pages);
    assert_eq!(content(&frame), counting(650));
    frame.truncate(2000, &mut pages);
    assert_eq!(frame.total_bytes(), 636);
}

#[test]
fn piece_is_a_header_and_a_range_of_the_packet() {
    let mut pages = PagePool::with_capacity(8);
    let mut frame = frame(&[600, 100], &mut pages);
    // One more than is reserved for others.
    (0..6).for_each(|_| pages.add(on_heap::page()));
    frame.charge_to(Account::client(ClientSlot(3)));
    let fragment = frame.piece(&[0xaa; 20], 580..600, &mut pages).unwrap();
    assert_eq!(fragment.account(), frame.account());
    assert_eq!(fragment.header()[..20], [0xaa; 20]);
    assert_eq!(fragment.header()[20..], counting(614)[594..]);
    assert!(frame.piece(&[0; 20], 0..1, &mut pages).is_none());
}

#[test]
fn blank_checksum_is_completed_over_odd_segments() {
    // A UDP datagram of 9 payload bytes, 10.0.0.1:1000 > 10.0.0.2:53, pseudo-header sum in the field.
    let mut packet = std::vec![0u8; 14];
    packet.extend([0x45, 0, 0, 37, 0, 0, 0, 0, 64, 17, 0x66, 0xc6, 10, 0, 0, 1, 10, 0, 0, 2]);
    let pseudo: u16 = 0x0a00 + 1 + 0x0a00 + 2 + 17 + 17;
    packet.extend([0x03, 0xe8, 0, 53, 0, 17]);
    packet.extend(pseudo.to_be_bytes());
    packet.extend(b"abcdefghi");
    let mut segments = std::vec::Vec::new();
    for part in [&packet[..45], &packet[45..]] {
        let mut page = on_heap::page();
        page.bytes_mut(0..part.len()).copy_from_slice(part);
        segments.push(Chunk { page, offset: 0, bytes: part.len() as u16 });
    }
    let offload = Offload { checksum: Checksum::Blank, gso: None };
    let mut pages = PagePool::with_capacity(8);
    let mut frame = Frame::of(joined(segments, &mut pages), offload);
    let ip = Ipv4::read(frame.header(), 37).unwrap();
    frame.note_header(Side::Uplink, &ip, &mut pages).unwrap();
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

#[test]
fn a_ping_has_no_checksum_that_is_left_blank() {
    let mut packet = std::vec![0u8; 14];
    packet.extend([0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0x66, 0xdf, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend([8, 0, 0xf7, 0xff, 0, 0, 0, 0]);
    let mut page = on_heap::page();
    page.bytes_mut(0..packet.len()).copy_from_slice(&packet);
    let mut pages = PagePool::with_capacity(8);
    let bytes = packet.len() as u16;
    let chunks = joined(std::vec![Chunk { page, offset: 0, bytes }], &mut pages);
    let mut frame = Frame::of(chunks, Offload { checksum: Checksum::Blank, gso: None });
    let ip = Ipv4::read(frame.header(), 28).unwrap();
    frame.note_header(Side::Uplink, &ip, &mut pages).unwrap();
    frame.complete_checksum();
    assert_eq!(frame.offload().checksum, Checksum::Unverified);
    assert_eq!(content(&frame)[34..], packet[34..]);
}
