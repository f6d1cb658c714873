//! Cutting a packet into fragments (RFC 791 section 3.2): a plan, which the packet's owner carries out.
//!
//! Only the packet's header is at hand here, so a fragment is planned as a new header and a range of the packet's
//! bytes.

use core::ops::Range;

use crate::wire::bytes::put_u16;
use crate::wire::checksum;
use crate::wire::ipv4::{self, DontFragment, Ipv4, Part};

/// Bytes of the longest IP header.
const LONGEST_HEADER: usize = 60;

/// One fragment to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutgoingFragment {
    header: [u8; LONGEST_HEADER],
    header_bytes: usize,
    /// The bytes that follow the header, counted from the first byte of the packet that is cut.
    pub payload: Range<usize>,
}

impl OutgoingFragment {
    /// The fragment's IP header, checksum included.
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_bytes).unwrap_or(&self.header)
    }
}

/// Why a packet cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotFragment {
    /// Its DF bit is set.
    DontFragment,
    /// The MTU leaves no room for 8 bytes of payload.
    TinyMtu,
    /// `header` does not start with the whole IP header.
    Short,
}

/// The fragments of a packet, in order.
#[derive(Clone, Debug)]
pub struct Fragmenter {
    first: [u8; LONGEST_HEADER],
    later: [u8; LONGEST_HEADER],
    later_bytes: usize,
    ip: Ipv4,
    mtu: usize,
    /// Bytes of the packet that are not sent yet.
    left: Range<usize>,
}

/// Plans the fragments of at most `mtu` bytes of the packet that starts `header`, which was read as `ip`.
///
/// A packet that is itself a fragment is cut further. Its layer-4 checksum must be complete: a blank one cannot
/// be completed by who gets only pieces.
pub fn fragments(header: &[u8], ip: &Ipv4, mtu: u16) -> Result<Fragmenter, CannotFragment> {
    let header_bytes = usize::from(ip.header_bytes);
    let own = header.get(..header_bytes).ok_or(CannotFragment::Short)?;
    if ip.dont_fragment == DontFragment::Set {
        return Err(CannotFragment::DontFragment);
    }
    if usize::from(mtu) < header_bytes + 8 {
        return Err(CannotFragment::TinyMtu);
    }
    let mut first = [0; LONGEST_HEADER];
    for (to, from) in first.iter_mut().zip(own) {
        *to = *from;
    }
    let (later, later_bytes) = later_header(own);
    let left = header_bytes..usize::from(ip.total_bytes);
    Ok(Fragmenter { first, later, later_bytes, ip: *ip, mtu: usize::from(mtu), left })
}

/// The header of all fragments but the first: only options with the copied flag, padded to words.
fn later_header(own: &[u8]) -> ([u8; LONGEST_HEADER], usize) {
    let mut header = [0; LONGEST_HEADER];
    let (fixed, mut options) = own.split_at_checked(ipv4::HEADER_BYTES).unwrap_or((own, &[]));
    let mut end = fixed.len();
    for (to, from) in header.iter_mut().zip(fixed) {
        *to = *from;
    }
    while let [kind, rest @ ..] = options
        && *kind != 0
    {
        let length =
            if *kind == 1 { 1 } else { rest.first().map_or(1, |length| usize::from(*length).max(1)) };
        let (option, next) = options.split_at_checked(length).unwrap_or((options, &[]));
        if kind & 0x80 != 0 {
            for (to, from) in header.iter_mut().skip(end).zip(option) {
                *to = *from;
            }
            end += option.len();
        }
        options = next;
    }
    let end = end.next_multiple_of(4).min(LONGEST_HEADER);
    header[0] = 0x40 | (end / 4) as u8;
    (header, end)
}

impl Iterator for Fragmenter {
    type Item = OutgoingFragment;

    fn next(&mut self) -> Option<OutgoingFragment> {
        if self.left.is_empty() {
            return None;
        }
        let start = usize::from(self.ip.header_bytes);
        let is_first = self.left.start == start;
        let (mut header, header_bytes) =
            if is_first { (self.first, start) } else { (self.later, self.later_bytes) };
        let room = (self.mtu.saturating_sub(header_bytes)).max(8);
        let is_last = self.left.len() <= room;
        let length = if is_last { self.left.len() } else { room & !7 };
        let payload = self.left.start..self.left.start + length;
        let (offset, own_more) = match self.ip.part {
            Part::Whole => (0, false),
            Part::First => (0, true),
            Part::Middle { offset_bytes } => (usize::from(offset_bytes), true),
            Part::Last { offset_bytes } => (usize::from(offset_bytes), false),
        };
        let more = own_more || !is_last;
        let offset_units = (offset + payload.start - start) / 8;
        put_u16(&mut header, ipv4::at::TOTAL_BYTES, (header_bytes + length) as u16);
        put_u16(&mut header, ipv4::at::FRAGMENT, offset_units as u16 | if more { 0x2000 } else { 0 });
        put_u16(&mut header, ipv4::at::CHECKSUM, 0);
        let sum = checksum::of(header.get(..header_bytes).unwrap_or(&header));
        put_u16(&mut header, ipv4::at::CHECKSUM, sum);
        self.left.start = payload.end;
        Some(OutgoingFragment { header, header_bytes, payload })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    fn packet(options: &[u8], payload: usize, flags_and_offset: u16) -> Vec<u8> {
        let header_bytes = 20 + options.len();
        let mut bytes = vec![0; header_bytes + payload];
        bytes[0] = 0x40 | (header_bytes / 4) as u8;
        bytes[1] = 0xB9;
        let total = bytes.len() as u16;
        put_u16(&mut bytes, 2, total);
        put_u16(&mut bytes, 4, 0x1234);
        put_u16(&mut bytes, 6, flags_and_offset);
        bytes[8] = 63;
        bytes[9] = 17;
        bytes[20..header_bytes].copy_from_slice(options);
        let sum = checksum::of(&bytes[..header_bytes]);
        put_u16(&mut bytes, 10, sum);
        for (n, byte) in bytes[header_bytes..].iter_mut().enumerate() {
            *byte = (n / 7) as u8;
        }
        bytes
    }

    fn cut(packet: &[u8], mtu: u16) -> Vec<(Ipv4, Vec<u8>)> {
        let ip = Ipv4::read(packet, packet.len()).unwrap();
        let made = fragments(packet, &ip, mtu).unwrap();
        made.map(|piece| {
            let mut bytes = piece.header().to_vec();
            bytes.extend(&packet[piece.payload.clone()]);
            assert!(bytes.len() <= usize::from(mtu));
            (Ipv4::read(&bytes, bytes.len()).unwrap(), bytes)
        })
        .collect()
    }

    fn reassemble(fragments: &[(Ipv4, Vec<u8>)]) -> Vec<u8> {
        fragments.iter().flat_map(|(ip, bytes)| bytes[usize::from(ip.header_bytes)..].to_vec()).collect()
    }

    #[test]
    fn f_4_a_packet_of_1500_bytes_becomes_two_for_an_mtu_of_1400() {
        let whole = packet(&[], 1480, 0);
        let fragments = cut(&whole, 1400);
        assert_eq!(fragments.len(), 2);
        assert_eq!(fragments[0].0.part, Part::First);
        assert_eq!(fragments[1].0.part, Part::Last { offset_bytes: 1376 });
        assert!(fragments.iter().all(|(ip, _)| (ip.ident, ip.tos, ip.ttl) == (0x1234, 0xB9, 63)));
        assert_eq!(reassemble(&fragments), whole[20..]);
    }

    #[test]
    fn every_mtu_gives_pieces_that_make_up_the_whole() {
        let whole = packet(&[], 3001, 0);
        for mtu in 28..1600 {
            assert_eq!(reassemble(&cut(&whole, mtu)), whole[20..], "mtu {mtu}");
        }
    }

    #[test]
    fn a_fragment_is_cut_further_and_keeps_its_place() {
        let fragments = cut(&packet(&[], 800, 0x2000 | 100), 420);
        let parts: Vec<_> = fragments.iter().map(|(ip, _)| ip.part).collect();
        assert_eq!(parts, [Part::Middle { offset_bytes: 800 }, Part::Middle { offset_bytes: 1200 }]);
        let last = cut(&packet(&[], 801, 100), 420);
        assert_eq!(last.last().unwrap().0.part, Part::Last { offset_bytes: 1600 });
    }

    #[test]
    fn only_options_with_the_copied_flag_are_in_later_fragments() {
        // Router alert (copied), no-operation, record route (not copied).
        let options = [0x94, 4, 0, 0, 1, 7, 7, 4, 0, 0, 0, 0];
        let fragments = cut(&packet(&options, 1000, 0), 576);
        assert_eq!(&fragments[0].1[20..32], &options);
        assert_eq!(fragments[1].0.header_bytes, 24);
        assert_eq!(&fragments[1].1[20..24], &[0x94, 4, 0, 0]);
    }

    #[test]
    fn df_and_tiny_mtus_are_refused() {
        let bytes = packet(&[], 100, 0x4000);
        let ip = Ipv4::read(&bytes, bytes.len()).unwrap();
        assert_eq!(fragments(&bytes, &ip, 80).unwrap_err(), CannotFragment::DontFragment);
        let bytes = packet(&[], 100, 0);
        let ip = Ipv4::read(&bytes, bytes.len()).unwrap();
        assert_eq!(fragments(&bytes, &ip, 27).unwrap_err(), CannotFragment::TinyMtu);
        assert_eq!(fragments(&bytes[..19], &ip, 80).unwrap_err(), CannotFragment::Short);
    }
}
