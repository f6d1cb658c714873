//! The Internet checksum: computing it, and changing it without reading what it covers.
//!
//! A forwarder that recomputes a sum repairs what a fault upstream broke, so every field this firewall
//! changes goes through [`Delta`] (RFC 1624 equation 3): a sum that was wrong stays wrong by as much.
//! Full computation ([`of`], [`Sum`]) is for packets we make ourselves and for verifying.
//!
//! Sums are kept over words as they lie in memory, and only turned round at the end: a ones' complement sum comes
//! out the same in either byte order (RFC 1071 section 2(B)), and so no word is turned round on the way.

use core::net::Ipv4Addr;

/// A ones' complement sum in progress over 16-bit words (RFC 1071), in the byte order of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);

impl Sum {
    /// Nothing added yet.
    pub const ZERO: Sum = Sum(0);

    /// Adds `bytes`; an odd last byte is padded with zero, so only the last piece may be odd.
    pub fn bytes(mut self, bytes: &[u8]) -> Sum {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        if rest.is_empty() {
            return self;
        }
        let mut last = [0u8; 4];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        self.0 += u64::from(u32::from_ne_bytes(last));
        self
    }

    /// Adds 32-bit words of a header of fixed size.
    pub fn header<const BYTES: usize>(mut self, header: &[u8; BYTES]) -> Sum {
        let (words, rest) = header.as_chunks();
        for word in words {
            self.0 += u64::from(u32::from_ne_bytes(*word));
        }
        self.bytes(rest)
    }

    /// Adds one 16-bit word.
    pub const fn word(self, word: u16) -> Sum {
        Sum(self.0 + word.to_be() as u64)
    }

    /// Adds the pseudo-header of TCP and UDP (RFC 9293 section 3.1, RFC 768); `bytes` is the length of the
    /// layer-4 header and its payload.
    pub fn pseudo_header(self, source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, bytes: u16) -> Sum {
        Sum(self.0
            + u64::from(source.to_bits().to_be())
            + u64::from(destination.to_bits().to_be())
            + u64::from(u16::from(protocol).to_be())
            + u64::from(bytes.to_be()))
    }

    /// The sum folded to 16 bits, not complemented: what a blank checksum field holds.
    pub const fn folded(self) -> u16 {
        if self.0 == 0 { 0 } else { u16::from_be(fold(self.0)) }
    }

    /// The checksum field for what was added while the field itself was zero.
    pub const fn checksum(self) -> u16 {
        !self.folded()
    }

    /// Whether what was added, checksum field included, is intact.
    pub const fn verifies(self) -> bool {
        self.0 != 0 && self.0.is_multiple_of(0xFFFF)
    }
}

/// The checksum of `bytes` whose checksum field is zero; zero for `bytes` that hold a right checksum.
pub fn of(bytes: &[u8]) -> u16 {
    Sum::ZERO.bytes(bytes).checksum()
}

/// What changes of covered words do to a checksum, gathered before it is applied.
///
/// This is RFC 1624 equation 3, with one subtraction for all the words that were instead of one complement for
/// each, over words in the byte order of memory. A word that did not change may be added too: it changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delta(i64);

/// A multiple of 0xFFFF, which is zero in ones' complement, that makes any sum of changes positive.
const POSITIVE: i64 = 0xFFFF << 24;

impl Delta {
    /// Nothing changed yet.
    pub const NONE: Delta = Delta(0);

    /// A 16-bit word went from `old` to `new`.
    #[must_use]
    pub const fn word(self, old: u16, new: u16) -> Delta {
        Delta(self.0 + new.to_be() as i64 - old.to_be() as i64)
    }

    /// The first byte of a 16-bit word went from `old` to `new`.
    #[must_use]
    pub const fn first_byte(self, old: u8, new: u8) -> Delta {
        let (old, new) = (u16::from_ne_bytes([old, 0]), u16::from_ne_bytes([new, 0]));
        Delta(self.0 + new as i64 - old as i64)
    }

    /// An address went from `old` to `new`.
    #[must_use]
    pub const fn address(self, old: Ipv4Addr, new: Ipv4Addr) -> Delta {
        Delta(self.0 + new.to_bits().to_be() as i64 - old.to_bits().to_be() as i64)
    }

    /// Both this change and `other`.
    #[must_use]
    pub const fn and(self, other: Delta) -> Delta {
        Delta(self.0 + other.0)
    }

    /// The new value of a complete checksum that held `field`.
    pub const fn apply(self, field: u16) -> u16 {
        !self.apply_blank(!field)
    }

    /// The new value of a blank checksum, which holds an uncomplemented pseudo-header sum, that held `field`.
    pub const fn apply_blank(self, field: u16) -> u16 {
        u16::from_be(fold((field.to_be() as i64 + self.0 + POSITIVE) as u64))
    }

    /// The new value of a UDP checksum that held `field`: zero means none and stays; a computed zero is
    /// sent as ones (RFC 768, RFC 3022 section 4.1).
    pub const fn apply_udp(self, field: u16) -> u16 {
        if field == 0 {
            return 0;
        }
        match self.apply(field) {
            0 => 0xFFFF,
            sum => sum,
        }
    }
}

/// The 16-bit ones' complement value of a positive sum: 1 to 0xFFFF, which stands for zero. Carrying back in
/// is the same as a division by 0xFFFF, and that is one multiplication.
const fn fold(sum: u64) -> u16 {
    (sum.wrapping_sub(1) % 0xFFFF + 1) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071_sums_to_ddf2() {
        let bytes = [0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7];
        assert_eq!(Sum::ZERO.bytes(&bytes).folded(), 0xDDF2);
        assert_eq!(of(&bytes), !0xDDF2);
    }

    #[test]
    fn an_odd_byte_is_padded_with_zero() {
        assert_eq!(of(&[0x12, 0x34, 0x56]), of(&[0x12, 0x34, 0x56, 0x00]));
        assert_eq!(of(&[0x12]), of(&[0x12, 0x00]));
    }

    #[test]
    fn the_example_of_rfc_1624_gives_zero_not_ones() {
        assert_eq!(Delta::NONE.word(0x5555, 0x3285).apply(0xDD2F), 0x0000);
    }

    #[test]
    fn a_delta_agrees_with_a_full_sum_for_every_new_word() {
        let old = [0x45u8, 0x00, 0x12, 0x34, 0xAB, 0xCD];
        for new in 0..=0xFFFFu16 {
            let mut changed = old;
            changed[2..4].copy_from_slice(&new.to_be_bytes());
            assert_eq!(Delta::NONE.word(0x1234, new).apply(of(&old)), of(&changed));
        }
    }

    #[test]
    fn a_first_byte_is_the_high_half_of_its_word() {
        for (old, new) in [(0, 255), (64, 63), (1, 0), (7, 7)] {
            let word = Delta::NONE.word(u16::from_be_bytes([old, 17]), u16::from_be_bytes([new, 17]));
            for field in [0, 1, 0x1234, 0xFFFE, 0xFFFF] {
                assert_eq!(Delta::NONE.first_byte(old, new).apply(field), word.apply(field));
            }
        }
    }

    #[test]
    fn a_wrong_checksum_stays_wrong_by_as_much() {
        let right = 0x1234u16;
        let delta = Delta::NONE.address(Ipv4Addr::new(10, 137, 0, 11), Ipv4Addr::new(192, 168, 7, 9));
        let error = |a: u16, b: u16| (u32::from(a) + u32::from(!b)) % 0xFFFF;
        assert_eq!(error(delta.apply(right), delta.apply(right + 7)), error(right, right + 7));
    }

    #[test]
    fn udp_zero_stays_zero_and_a_computed_zero_becomes_ones() {
        assert_eq!(Delta::NONE.word(1, 2).apply_udp(0), 0);
        assert_eq!(Delta::NONE.word(0x5555, 0x3285).apply_udp(0xDD2F), 0xFFFF);
    }

    #[test]
    fn a_blank_checksum_follows_its_pseudo_header() {
        let (client, uplink) = (Ipv4Addr::new(10, 137, 0, 11), Ipv4Addr::new(192, 168, 7, 9));
        let remote = Ipv4Addr::new(198, 51, 100, 20);
        let before = Sum::ZERO.pseudo_header(client, remote, 6, 40).folded();
        let after = Sum::ZERO.pseudo_header(uplink, remote, 6, 40).folded();
        assert_eq!(Delta::NONE.address(client, uplink).apply_blank(before), after);
    }
}
