//! GSO frames: TCP packets in a row joined into one that is to be segmented again (what Linux does before and after
//! its rings), written plainly and on its own; and the ways in which such a packet is cut into slots.

use crate::sim::frame::{ETHERNET, PlainPacket, finish, word};
use crate::sim::prng::Prng;
use crate::xen::page::PAGE_BYTES;
use alloc::vec::Vec;

/// Bytes of the largest packet that a ring's slot can describe.
const LARGEST: usize = 0xffff;

const FIN: u8 = 1;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A frame, and the payload of each of its TCP segments if it is of more than one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GsoFrame {
    /// The frame.
    pub frame: Vec<u8>,
    /// Bytes per segment.
    pub segment_bytes: Option<u16>,
}

/// A TCP packet's parts: bytes before the payload, flags, sequence number, payload.
struct TcpParts<'a> {
    headers: usize,
    ip: usize,
    flags: u8,
    sequence: u32,
    payload: &'a [u8],
}

fn parts(frame: &[u8]) -> Option<TcpParts<'_>> {
    let packet =
        PlainPacket::of_frame(frame).filter(|packet| packet.protocol() == 6 && !packet.is_fragment())?;
    let tcp = packet.payload();
    let length = usize::from(tcp.get(12)? >> 4) * 4;
    Some(TcpParts {
        headers: ETHERNET + packet.header + length,
        ip: packet.header,
        flags: *tcp.get(13)?,
        sequence: u32::from(word(tcp, 4)) << 16 | u32::from(word(tcp, 6)),
        payload: tcp.get(length..)?,
    })
}

impl GsoFrame {
    /// A frame by itself.
    pub fn of(frame: Vec<u8>) -> Self {
        Self { frame, segment_bytes: None }
    }

    /// Takes in the frame that follows, if it goes on where this one ends, is alike otherwise, and the whole stays
    /// within `most` bytes. Whether it did.
    pub fn join(&mut self, next: &[u8], most: usize) -> bool {
        let (Some(first), Some(second)) = (parts(&self.frame), parts(next)) else { return false };
        let segment = self.segment_bytes.map_or(first.payload.len(), usize::from);
        let alike = |from: usize, to: usize| self.frame.get(from..to) == next.get(from..to);
        let tcp = ETHERNET + first.ip;
        // All but total length, identification, header checksum; sequence number; flags, checksum.
        let same = alike(0, ETHERNET + 2)
            && alike(ETHERNET + 6, ETHERNET + 10)
            && alike(ETHERNET + 12, tcp + 4)
            && alike(tcp + 8, tcp + 13)
            && alike(tcp + 14, tcp + 16)
            && alike(tcp + 18, first.headers);
        let goes_on = first.flags == ACK
            && second.flags & !(FIN | PSH) == ACK
            && first.sequence.wrapping_add(first.payload.len() as u32) == second.sequence
            && segment >= 48
            && first.payload.len().is_multiple_of(segment)
            && (1..=segment).contains(&second.payload.len());
        let total = self.frame.len() + second.payload.len();
        if !same || !goes_on || total > most.min(LARGEST) {
            return false;
        }
        let (flags, flags_at) = (second.flags, tcp + 13);
        let payload = second.payload.to_vec();
        self.frame.extend(payload);
        self.frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&((total - ETHERNET) as u16).to_be_bytes());
        self.frame[flags_at] = flags;
        finish(&mut self.frame[ETHERNET..]);
        self.segment_bytes = Some(segment as u16);
        true
    }

    /// The frames that one with right checksums is segmented into.
    pub fn split(&self) -> Vec<Vec<u8>> {
        let (Some(segment), Some(all)) = (self.segment_bytes, parts(&self.frame)) else {
            return alloc::vec![self.frame.clone()];
        };
        let count = all.payload.len().div_ceil(usize::from(segment).max(1)).max(1);
        let mut frames = Vec::new();
        for (index, payload) in all.payload.chunks(usize::from(segment).max(1)).enumerate() {
            let mut frame = self.frame[..all.headers].to_vec();
            frame.extend(payload);
            let tcp = ETHERNET + all.ip;
            let total = (frame.len() - ETHERNET) as u16;
            frame[ETHERNET + 2..ETHERNET + 4].copy_from_slice(&total.to_be_bytes());
            let sequence = all.sequence.wrapping_add((index * usize::from(segment)) as u32);
            frame[tcp + 4..tcp + 8].copy_from_slice(&sequence.to_be_bytes());
            if index + 1 < count {
                frame[tcp + 13] &= !(FIN | PSH);
            }
            finish(&mut frame[ETHERNET..]);
            frames.push(frame);
        }
        frames
    }

    /// Whether it is one that a receiver can segment: TCP, more than one segment.
    pub fn is_sound(&self) -> bool {
        self.segment_bytes.is_none_or(|segment| {
            parts(&self.frame).is_some_and(|parts| parts.payload.len() > usize::from(segment))
        })
    }
}

/// Cuts `bytes` at random into at most `most` pieces of at most a page; the pieces' ends.
///
/// # Panics
/// If that many pages do not hold them.
pub fn cuts(bytes: usize, most: usize, prng: &mut Prng) -> Vec<usize> {
    assert!(bytes <= most * PAGE_BYTES, "{bytes} bytes do not fit {most} slots");
    if bytes > PAGE_BYTES {
        // As Linux does: headers and perhaps more first, then page after page.
        let least = bytes.saturating_sub((most - 1) * PAGE_BYTES).max(1);
        let first = prng.between(least as u64, PAGE_BYTES as u64) as usize;
        let rest = (first..bytes).step_by(PAGE_BYTES);
        return rest.chain([bytes]).collect();
    }
    let wanted = prng.between(1, most as u64) as usize;
    let mut cuts: Vec<usize> = (1..wanted).map(|_| prng.between(1, bytes as u64 - 1) as usize).collect();
    cuts.push(bytes);
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::frame::frame;

    fn segment(sequence: u32, payload: &[u8], flags: u8) -> Vec<u8> {
        let total = (40 + payload.len()) as u16;
        let mut packet = [0x45, 0, 0, 0, 0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2].to_vec();
        packet[2..4].copy_from_slice(&total.to_be_bytes());
        packet.extend([3, 232, 0, 80]);
        packet.extend(sequence.to_be_bytes());
        packet.extend([0, 0, 0, 9, 0x50, flags, 16, 0, 0, 0, 0, 0]);
        packet.extend(payload);
        finish(&mut packet);
        frame([1; 6], [2; 6], &packet)
    }

    #[test]
    fn what_is_joined_is_split_into_what_it_was() {
        // Sequence numbers wrap between the second and the third.
        let pieces = [(0u32, 100, ACK), (100, 100, ACK), (200, 30, ACK | PSH | FIN)];
        let all = pieces.map(|(at, bytes, flags)| {
            segment((u32::MAX - 199).wrapping_add(at), &alloc::vec![at as u8; bytes], flags)
        });
        let mut gso = GsoFrame::of(all[0].clone());
        assert!(gso.join(&all[1], LARGEST) && gso.join(&all[2], LARGEST));
        assert_eq!(gso.segment_bytes, Some(100));
        assert!(gso.is_sound());
        assert_eq!(gso.split(), all);
        // The last one ended it.
        assert!(!gso.join(&segment(30, &[0; 10], ACK), LARGEST));
    }

    #[test]
    fn what_does_not_follow_is_not_joined() {
        let first = GsoFrame::of(segment(0, &[1; 100], ACK));
        for other in [segment(101, &[1; 100], ACK), segment(100, &[1; 101], ACK), segment(100, &[], ACK)] {
            assert!(!first.clone().join(&other, LARGEST));
        }
        assert!(!first.clone().join(&segment(100, &[1; 100], ACK), 200));
    }

    #[test]
    fn pieces_are_of_a_page_at_most() {
        let mut prng = Prng::new(1);
        for bytes in [1, 60, 4096, 4097, 9000, 65535] {
            for _ in 0..100 {
                let cuts = cuts(bytes, 18, &mut prng);
                assert!(cuts.len() <= 18 && cuts.last() == Some(&bytes));
                let starts = core::iter::once(0).chain(cuts.iter().copied());
                assert!(starts.zip(&cuts).all(|(start, &end)| start < end && end - start <= PAGE_BYTES));
            }
        }
    }
}
