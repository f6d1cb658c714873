//! Cutting a TCP packet that is larger than the MTU into segments (what Linux calls GSO): a plan, which the
//! packet's owner carries out for a receiver that cannot do it.
//!
//! As in [`crate::route::fragmentation`] a piece is a new header and a range of bytes of the old packet. What the headers
//! of the segments say follows RFC 9293: sequence numbers count on, FIN and PSH belong to the last one, CWR
//! (RFC 3168) to the first, and identifications count on. Checksums are left blank, as the large packet's was.
//!
//! Whether such a packet fits the MTU, and as how many packets it counts, is decided by its segments ([`Segmented`]).

use core::net::Ipv4Addr;
use core::num::NonZeroU16;
use core::ops::Range;

use crate::wire::bytes::{put_u16, put_u32, u16_at, u32_at};
use crate::wire::checksum::{self, Sum};
use crate::wire::ipv4::{self, Ipv4, protocol};
use crate::wire::tcp;

/// Least TCP payload per segment: one large packet must not become thousands. Linux goes no lower
/// (`TCP_MIN_SND_MSS`).
pub const LEAST_SEGMENT: u16 = 48;

/// What a packet to be segmented will be on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segmented {
    header_bytes: u16,
    payload_bytes: u16,
    segment_bytes: NonZeroU16,
}

impl Segmented {
    /// Of the TCP packet that starts `header`, read as `ip`, in segments of `segment_bytes`.
    pub fn of(header: &[u8], ip: &Ipv4, segment_bytes: NonZeroU16) -> Segmented {
        let offset = header.get(usize::from(ip.header_bytes) + tcp::at::DATA_OFFSET);
        // The drivers let none pass that has no TCP header (`Frame::note_header`).
        let tcp_bytes = offset.map_or(tcp::HEADER_BYTES as u16, |offset| u16::from(offset >> 4) * 4);
        let header_bytes = (u16::from(ip.header_bytes) + tcp_bytes).min(ip.total_bytes);
        Segmented { header_bytes, payload_bytes: ip.total_bytes - header_bytes, segment_bytes }
    }

    /// Bytes of the largest segment, as an IP packet.
    pub fn largest_bytes(&self) -> u16 {
        self.header_bytes + self.payload_bytes.min(self.segment_bytes.get())
    }

    /// How many segments: at least one.
    pub fn count(&self) -> u16 {
        self.payload_bytes.div_ceil(self.segment_bytes.get()).max(1)
    }

    /// The same packet in segments small enough for `mtu`; `None` when they would be smaller than [`LEAST_SEGMENT`].
    /// TCP does not mind smaller ones: each segment says which part of the stream it is.
    pub fn within(self, mtu: u16) -> Option<Segmented> {
        if self.largest_bytes() <= mtu {
            return Some(self);
        }
        let segment_bytes = mtu.checked_sub(self.header_bytes).filter(|bytes| *bytes >= LEAST_SEGMENT)?;
        Some(Segmented { segment_bytes: NonZeroU16::new(segment_bytes)?, ..self })
    }

    /// Bytes of TCP payload per segment.
    pub const fn segment_bytes(&self) -> NonZeroU16 {
        self.segment_bytes
    }
}

/// Bytes of the longest headers: 60 of IP, 60 of TCP.
const LONGEST_HEADERS: usize = 120;

/// Bit of PSH and FIN, which only the last segment may have.
const ENDS: u8 = 0x08 | 0x01;
/// Bit of CWR, which only the first segment may have.
const CWR: u8 = 0x80;

/// Where the parts of a packet that is to be segmented are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    ip_bytes: usize,
    header_bytes: usize,
    total_bytes: usize,
}

impl Shape {
    /// Of a TCP packet of `total_bytes` with an IP header of `ip_bytes`. `None` when its headers are not all there.
    pub fn of(header: &[u8], ip_bytes: usize, total_bytes: usize) -> Option<Self> {
        let tcp_bytes = usize::from(header.get(ip_bytes + tcp::at::DATA_OFFSET)? >> 4) * 4;
        let header_bytes = ip_bytes + tcp_bytes;
        let is_sound = tcp_bytes >= tcp::HEADER_BYTES && header_bytes <= header.len().min(total_bytes);
        is_sound.then_some(Self { ip_bytes, header_bytes, total_bytes })
    }

    /// Bytes of TCP payload.
    pub fn payload_bytes(&self) -> usize {
        self.total_bytes - self.header_bytes
    }

    /// Replaces the checksum of the packet that starts `header` by a blank one.
    pub fn blank_checksum(&self, header: &mut [u8]) {
        self.write_blank(header, self.total_bytes);
    }

    /// Writes the sum of the pseudo-header of a packet of `total_bytes` as the TCP checksum.
    fn write_blank(&self, header: &mut [u8], total_bytes: usize) {
        let address = |at| Ipv4Addr::from_bits(u32_at(header, at).unwrap_or(0));
        let (source, destination) = (address(ipv4::at::SOURCE), address(ipv4::at::DESTINATION));
        let bytes = (total_bytes - self.ip_bytes) as u16;
        let sum = Sum::ZERO.pseudo_header(source, destination, protocol::TCP, bytes);
        put_u16(header, self.ip_bytes + tcp::at::CHECKSUM, sum.folded());
    }

    /// Plans the segments of at most `segment_bytes` of payload of the packet that starts `header`.
    pub fn segments(self, header: &[u8], segment_bytes: NonZeroU16) -> TcpSegments {
        let mut original = [0; LONGEST_HEADERS];
        for (to, from) in original.iter_mut().zip(header) {
            *to = *from;
        }
        TcpSegments { shape: self, original, segment_bytes: segment_bytes.get().into(), next: 0 }
    }
}

/// One segment to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSegment {
    header: [u8; LONGEST_HEADERS],
    header_bytes: usize,
    /// The bytes that follow the headers, counted from the first byte of the packet that is cut.
    pub payload: Range<usize>,
}

impl TcpSegment {
    /// IP and TCP header, with a blank TCP checksum.
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_bytes).unwrap_or(&self.header)
    }
}

/// The segments of a packet, in order.
#[derive(Clone, Debug)]
pub struct TcpSegments {
    shape: Shape,
    original: [u8; LONGEST_HEADERS],
    segment_bytes: usize,
    /// Number of the next one.
    next: usize,
}

impl Iterator for TcpSegments {
    type Item = TcpSegment;

    fn next(&mut self) -> Option<TcpSegment> {
        let Shape { ip_bytes, header_bytes, total_bytes } = self.shape;
        let sent = self.next * self.segment_bytes;
        let left = self.shape.payload_bytes().checked_sub(sent).filter(|left| *left > 0)?;
        let bytes = left.min(self.segment_bytes);
        let start = header_bytes + sent;
        let mut header = self.original;

        put_u16(&mut header, ipv4::at::TOTAL_BYTES, (header_bytes + bytes) as u16);
        let ident = u16_at(&header, ipv4::at::IDENT).unwrap_or(0);
        put_u16(&mut header, ipv4::at::IDENT, ident.wrapping_add(self.next as u16));
        put_u16(&mut header, ipv4::at::CHECKSUM, 0);
        let sum = checksum::of(header.get(..ip_bytes).unwrap_or_default());
        put_u16(&mut header, ipv4::at::CHECKSUM, sum);

        let sequence_at = ip_bytes + tcp::at::SEQUENCE;
        let sequence = u32_at(&header, sequence_at).unwrap_or(0);
        put_u32(&mut header, sequence_at, sequence.wrapping_add(sent as u32));
        if let Some(flags) = header.get_mut(ip_bytes + tcp::at::FLAGS) {
            if start + bytes < total_bytes {
                *flags &= !ENDS;
            }
            if self.next > 0 {
                *flags &= !CWR;
            }
        }
        self.shape.write_blank(&mut header, header_bytes + bytes);
        self.next += 1;
        Some(TcpSegment { header, header_bytes, payload: start..start + bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// IP and TCP header (with 4 bytes of options each) of a packet with `payload` bytes.
    fn packet(payload: u16, flags: u8) -> [u8; 48] {
        let mut header = [0; 48];
        header[0] = 0x46;
        put_u16(&mut header, 2, 48 + payload);
        put_u16(&mut header, 4, 0xffff);
        header[8] = 64;
        header[9] = 6;
        header[12..20].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        header[20..24].fill(1);
        put_u32(&mut header, 24 + 4, u32::MAX - 99);
        header[24 + 12] = 0x60;
        header[24 + 13] = flags;
        header[44..48].fill(1);
        let sum = checksum::of(&header[..24]);
        put_u16(&mut header, 10, sum);
        header
    }

    fn read(header: &[u8], total: usize) -> Option<Shape> {
        let ip = Ipv4::read(header, total).ok()?;
        Shape::of(header, ip.header_bytes.into(), total)
    }

    fn cut(header: &[u8], payload: usize, segment_bytes: u16) -> Vec<TcpSegment> {
        let shape = read(header, 48 + payload).unwrap();
        shape.segments(header, NonZeroU16::new(segment_bytes).unwrap()).collect()
    }

    #[test]
    fn segments_count_on_and_cover_the_payload() {
        let pieces = cut(&packet(250, 0x10), 250, 100);
        let ranges: Vec<_> = pieces.iter().map(|piece| piece.payload.clone()).collect();
        assert_eq!(ranges, [48..148, 148..248, 248..298]);
        for (index, piece) in pieces.iter().enumerate() {
            let header = piece.header();
            assert_eq!(header.len(), 48);
            assert_eq!(usize::from(u16_at(header, 2).unwrap()), 48 + piece.payload.len());
            assert_eq!(u16_at(header, 4), Some(0xffffu16.wrapping_add(index as u16)));
            assert_eq!(u32_at(header, 28), Some((u32::MAX - 99).wrapping_add(100 * index as u32)));
            assert_eq!(checksum::of(&header[..24]), 0);
            assert_eq!(header[20..24], [1; 4]);
        }
    }

    #[test]
    fn what_is_said_of_the_segments_is_true_of_those_that_are_made() {
        for (payload, segment_bytes) in
            [(1, 48), (48, 48), (250, 100), (300, 100), (301, 100), (60_000, 1448)]
        {
            let header = packet(payload, 0x10);
            let ip = Ipv4::read(&header, 48 + usize::from(payload)).unwrap();
            let said = Segmented::of(&header, &ip, NonZeroU16::new(segment_bytes).unwrap());
            let made = cut(&header, payload.into(), segment_bytes);
            let largest = made.iter().map(|piece| 48 + piece.payload.len()).max();
            assert_eq!(
                (usize::from(said.count()), Some(usize::from(said.largest_bytes()))),
                (made.len(), largest)
            );
        }
    }

    #[test]
    fn only_the_last_ends_and_only_the_first_says_that_the_window_was_reduced() {
        let flags: Vec<u8> =
            cut(&packet(300, 0x99), 300, 100).iter().map(|piece| piece.header()[37]).collect();
        assert_eq!(flags, [0x90, 0x10, 0x19]);
    }

    #[test]
    fn checksum_is_the_sum_of_the_segment_s_own_pseudo_header() {
        for piece in cut(&packet(250, 0x10), 250, 100) {
            let bytes = (24 + piece.payload.len()) as u16;
            assert_eq!(u16_at(piece.header(), 40), Some(0x0a00 + 1 + 0x0a00 + 2 + 6 + bytes));
        }
    }

    #[test]
    fn what_has_no_tcp_header_is_not_cut() {
        let good = packet(250, 0x10);
        assert!(read(&good, 298).is_some());
        let broken = |at: usize, value: u8| {
            let mut header = good;
            header[at] = value;
            header[10..12].fill(0);
            let sum = checksum::of(&header[..24]);
            put_u16(&mut header, 10, sum);
            read(&header, 298)
        };
        assert_eq!(broken(36, 0x40), None);
        assert_eq!(broken(36, 0xf0), None);
        assert_eq!(read(&good[..40], 298), None);
    }
}
