//! Plain, slow looks at Ethernet frames: checksums summed byte by byte, nothing shared with the kernel.

pub(crate) mod gso;

use alloc::vec::Vec;

/// Bytes of an Ethernet header.
pub const ETHERNET: usize = 14;

/// Bytes of an IP packet up to which the kernel verifies what it answers.
const VERIFIED: usize = 576;

/// Whether a frame says that it is ARP.
pub fn is_arp(frame: &[u8]) -> bool {
    word(frame, 12) == 0x0806
}

/// The 16-bit word at `at`, zero if it is not there.
pub fn word(bytes: &[u8], at: usize) -> u16 {
    bytes.get(at..at + 2).map_or(0, |two| u16::from(two[0]) << 8 | u16::from(two[1]))
}

fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn sum(bytes: &[u8]) -> u64 {
    let mut total = 0;
    let (pairs, odd) = bytes.as_chunks::<2>();
    for &[high, low] in pairs {
        total += u64::from(high) << 8 | u64::from(low);
    }
    total + odd.first().map_or(0, |&byte| u64::from(byte) << 8)
}

/// An IPv4 packet that has been found to be one.
#[derive(Clone, Copy, Debug)]
pub struct PlainPacket<'a> {
    /// From the IP header to the end that it names.
    pub bytes: &'a [u8],
    /// Length of the IP header.
    pub header: usize,
}

impl<'a> PlainPacket<'a> {
    /// The IPv4 packet in a frame.
    pub fn of_frame(frame: &'a [u8]) -> Option<Self> {
        if word(frame, 12) != 0x0800 {
            return None;
        }
        Self::read(frame.get(ETHERNET..)?)
    }

    /// The IPv4 packet at the start of `bytes`.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let first = *bytes.first()?;
        let (header, total) = (usize::from(first & 15) * 4, usize::from(word(bytes, 2)));
        if first >> 4 != 4 || header < 20 || total < header {
            return None;
        }
        Some(Self { bytes: bytes.get(..total)?, header })
    }

    /// The protocol number.
    pub fn protocol(&self) -> u8 {
        self.bytes[9]
    }

    /// The source address.
    pub fn source(&self) -> [u8; 4] {
        [self.bytes[12], self.bytes[13], self.bytes[14], self.bytes[15]]
    }

    /// The destination address.
    pub fn destination(&self) -> [u8; 4] {
        [self.bytes[16], self.bytes[17], self.bytes[18], self.bytes[19]]
    }

    /// Whether it is a piece of a datagram.
    pub fn is_fragment(&self) -> bool {
        word(self.bytes, 6) & 0x3fff != 0
    }

    /// What comes after the IP header.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.header..]
    }

    /// Offset of the layer-4 checksum from the IP header's start, of protocols that the rings can leave blank.
    fn checksum_at(&self) -> Option<usize> {
        let offset = match self.protocol() {
            6 => 16,
            17 => 6,
            _ => return None,
        };
        (!self.is_fragment() && self.bytes.len() >= self.header + offset + 2).then_some(self.header + offset)
    }

    fn pseudo(&self) -> u64 {
        let length = (self.bytes.len() - self.header) as u64;
        sum(&self.bytes[12..20]) + u64::from(self.protocol()) + length
    }

    /// Whether it answers a ping.
    pub fn is_echo_reply(&self) -> bool {
        self.protocol() == 1 && self.payload().first() == Some(&0)
    }

    /// Whether it answers a ping that is longer than what the kernel verifies.
    pub fn is_long_echo_reply(&self) -> bool {
        self.is_echo_reply() && self.bytes.len() > VERIFIED
    }

    /// Whether header and layer-4 checksums are right. Fragments and UDP without a sum pass.
    pub fn sums_are_right(&self) -> bool {
        let header = fold(sum(&self.bytes[..self.header])) == 0xffff;
        let payload = match self.protocol() {
            _ if self.is_fragment() => true,
            1 => fold(sum(self.payload())) == 0xffff,
            17 if word(self.payload(), 6) == 0 => true,
            6 | 17 => fold(self.pseudo() + sum(self.payload())) == 0xffff,
            _ => true,
        };
        header && payload
    }
}

/// Replaces a complete TCP or UDP checksum by the pseudo-header sum; whether there was one to replace.
pub fn blank(frame: &mut [u8]) -> bool {
    let Some((at, pseudo)) = blank_place(frame) else { return false };
    if word(frame, at) == 0 {
        return false;
    }
    frame[at..at + 2].copy_from_slice(&pseudo.to_be_bytes());
    true
}

/// Completes a blank checksum; nothing if the field does not hold the pseudo-header sum.
pub fn complete(frame: &mut [u8]) -> Option<()> {
    let (at, pseudo) = blank_place(frame)?;
    if word(frame, at) != pseudo {
        return None;
    }
    let packet = PlainPacket::of_frame(frame)?;
    let total = !fold(sum(packet.payload()));
    let total = if total == 0 && packet.protocol() == 17 { 0xffff } else { total };
    frame[at..at + 2].copy_from_slice(&total.to_be_bytes());
    Some(())
}

fn blank_place(frame: &[u8]) -> Option<(usize, u16)> {
    let packet = PlainPacket::of_frame(frame)?;
    Some((ETHERNET + packet.checksum_at()?, fold(packet.pseudo())))
}

/// Makes both checksums of an IPv4 packet right.
pub fn finish(packet: &mut [u8]) {
    let Some(view) = PlainPacket::read(packet) else { return };
    let (header, total) = (view.header, view.bytes.len());
    packet[10..12].fill(0);
    let value = !fold(sum(&packet[..header]));
    packet[10..12].copy_from_slice(&value.to_be_bytes());
    let Some(view) = PlainPacket::read(packet) else { return };
    if view.is_fragment() {
        return;
    }
    let (at, base) = match view.protocol() {
        1 => (header + 2, 0),
        6 => (header + 16, view.pseudo()),
        17 => (header + 6, view.pseudo()),
        _ => return,
    };
    if at + 2 > total {
        return;
    }
    packet[at..at + 2].fill(0);
    let value = !fold(base + sum(&packet[header..total]));
    let value = if value == 0 && packet[9] == 17 { 0xffff } else { value };
    packet[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// An Ethernet frame around an IPv4 packet.
pub fn frame(destination: [u8; 6], source: [u8; 6], packet: &[u8]) -> Vec<u8> {
    [&destination[..], &source[..], &[8, 0], packet].concat()
}

/// The mark of which so many bytes lie in a row that a marked page must have been laid bare.
pub fn mark_in(bytes: &[u8], is_mark: impl Fn(u8) -> bool) -> Option<u8> {
    let words = bytes.as_chunks::<8>().0.iter();
    words.filter(|word| **word == [word[0]; 8]).map(|word| word[0]).find(|&mark| is_mark(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram() -> Vec<u8> {
        let mut packet = [0x45, 0, 0, 31, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2].to_vec();
        packet.extend([3, 232, 0, 53, 0, 11, 0, 0, b'a', b'b', b'c']);
        finish(&mut packet);
        frame([1; 6], [2; 6], &packet)
    }

    #[test]
    fn blanked_checksum_is_completed_to_what_it_was() {
        let whole = datagram();
        assert!(PlainPacket::of_frame(&whole).unwrap().sums_are_right());
        let mut frame = whole.clone();
        assert!(blank(&mut frame));
        assert!(!PlainPacket::of_frame(&frame).unwrap().sums_are_right());
        assert_eq!(complete(&mut frame), Some(()));
        assert_eq!(frame, whole);
        assert_eq!(complete(&mut frame), None);
    }
}
