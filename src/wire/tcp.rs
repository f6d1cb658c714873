//! The TCP header (RFC 9293 section 3.1), as far as a firewall reads it.

use bitflags::bitflags;

use super::bytes::u16_at;

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// Byte offsets of header fields.
pub mod at {
    /// Source port.
    pub const SOURCE_PORT: usize = 0;
    /// Destination port.
    pub const DESTINATION_PORT: usize = 2;
    /// Sequence number.
    pub const SEQUENCE: usize = 4;
    /// Acknowledgement number.
    pub const ACKNOWLEDGEMENT: usize = 8;
    /// Data offset, in the upper four bits: length of the header in words.
    pub const DATA_OFFSET: usize = 12;
    /// Flags.
    pub const FLAGS: usize = 13;
    /// Window.
    pub const WINDOW: usize = 14;
    /// Checksum.
    pub const CHECKSUM: usize = 16;
}

bitflags! {
    /// The control bits.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Flags: u8 {
        /// No more data from the sender.
        const FIN = 0x01;
        /// Synchronise sequence numbers.
        const SYN = 0x02;
        /// Reset the connection.
        const RST = 0x04;
        /// Push.
        const PSH = 0x08;
        /// The acknowledgement number is significant.
        const ACK = 0x10;
        /// The urgent pointer is significant.
        const URG = 0x20;
        /// ECN echo.
        const ECE = 0x40;
        /// Congestion window reduced.
        const CWR = 0x80;
    }
}

/// What is wrong with a TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpFault {
    /// The header is not all there.
    Short,
    /// The data offset is below 5 words or beyond the segment.
    Offset,
    /// A combination of flags that no TCP sends.
    Flags,
}

/// What a TCP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Sequence number of the first byte, or of the SYN.
    pub sequence: u32,
    /// Acknowledgement number; meaningful with ACK.
    pub acknowledgement: u32,
    /// Control bits.
    pub flags: Flags,
    /// Window, unscaled.
    pub window: u16,
    /// Sequence numbers the segment takes: its data, and one for SYN and one for FIN. Of a first fragment the most that
    /// its segment can take.
    pub span: u32,
    /// Window scale option of a SYN (RFC 7323 section 2.2), at most 14.
    pub window_scale: Option<u8>,
}

impl Tcp {
    /// Reads the header at the start of `bytes`, of a segment of `segment_bytes` in all, or at most.
    #[inline(always)]
    pub fn read(bytes: &[u8], segment_bytes: u16) -> Result<Tcp, TcpFault> {
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(TcpFault::Short)?;
        let header_bytes = usize::from(head[12] >> 4) * 4;
        if header_bytes < HEADER_BYTES || header_bytes > usize::from(segment_bytes) {
            return Err(TcpFault::Offset);
        }
        if bytes.len() < header_bytes {
            return Err(TcpFault::Short);
        }
        let flags = Flags::from_bits_retain(head[at::FLAGS]);
        if !possible(flags) {
            return Err(TcpFault::Flags);
        }
        let syn = flags.contains(Flags::SYN);
        let data = u32::from(segment_bytes) - header_bytes as u32;
        Ok(Tcp {
            source_port: u16::from_be_bytes([head[0], head[1]]),
            destination_port: u16::from_be_bytes([head[2], head[3]]),
            sequence: u32::from_be_bytes([head[4], head[5], head[6], head[7]]),
            acknowledgement: u32::from_be_bytes([head[8], head[9], head[10], head[11]]),
            flags,
            window: u16::from_be_bytes([head[14], head[15]]),
            span: data + u32::from(syn) + u32::from(flags.contains(Flags::FIN)),
            window_scale: if syn {
                bytes.get(HEADER_BYTES..header_bytes).and_then(window_scale)
            } else {
                None
            },
        })
    }

    /// Whether it opens a connection: SYN without ACK.
    pub const fn opens(&self) -> bool {
        self.flags.contains(Flags::SYN) && !self.flags.contains(Flags::ACK)
    }

    /// The sequence number after the segment's last.
    pub const fn end(&self) -> u32 {
        self.sequence.wrapping_add(self.span)
    }
}

/// Whether a TCP may send these flags together (conformance TC-5).
///
/// SYN goes with neither FIN nor RST, FIN not with RST, and only SYN and RST come without ACK.
const fn possible(flags: Flags) -> bool {
    const SYN: u8 = Flags::SYN.bits();
    const FIN: u8 = Flags::FIN.bits();
    const RST: u8 = Flags::RST.bits();
    const ACK: u8 = Flags::ACK.bits();
    /// One bit per combination of the four.
    const POSSIBLE: u32 =
        1 << SYN | 1 << (SYN | ACK) | 1 << ACK | 1 << (FIN | ACK) | 1 << RST | 1 << (RST | ACK);
    POSSIBLE >> (flags.bits() & (SYN | FIN | RST | ACK)) & 1 == 1
}

/// The window scale option among a SYN's options; a shift above 14 counts as 14.
fn window_scale(mut options: &[u8]) -> Option<u8> {
    while let Some((&kind, rest)) = options.split_first() {
        match (kind, rest) {
            (0, _) => return None,
            (1, _) => options = rest,
            (3, [3, shift, ..]) => return Some((*shift).min(14)),
            (_, [length, ..]) if *length >= 2 => options = options.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
    None
}

/// The ports at the start of a TCP or UDP header, of which eight bytes may be all there is (ICMP errors).
pub fn ports(bytes: &[u8]) -> Option<(u16, u16)> {
    Some((u16_at(bytes, at::SOURCE_PORT)?, u16_at(bytes, at::DESTINATION_PORT)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(flags: u8, words: u8) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[12] = words << 4;
        bytes[at::FLAGS] = flags;
        bytes
    }

    #[test]
    fn only_flag_combinations_that_a_tcp_sends_are_read() {
        let legal = [0x02, 0x12, 0x10, 0x11, 0x04, 0x14];
        for flags in 0..=0xFFu8 {
            let read = Tcp::read(&segment(flags, 5), 24);
            let expected = legal.contains(&(flags & 0x17));
            assert_eq!(read.is_ok(), expected, "flags {flags:#04x}");
        }
    }

    #[test]
    fn the_data_offset_must_lie_within_the_segment() {
        assert_eq!(Tcp::read(&segment(0x10, 4), 24).unwrap_err(), TcpFault::Offset);
        assert_eq!(Tcp::read(&segment(0x10, 7), 24).unwrap_err(), TcpFault::Offset);
        assert_eq!(Tcp::read(&segment(0x10, 6)[..20], 24).unwrap_err(), TcpFault::Short);
    }

    #[test]
    fn a_segment_spans_its_data_and_its_syn_or_fin() {
        assert_eq!(Tcp::read(&segment(0x10, 5), 1020).unwrap().span, 1000);
        assert_eq!(Tcp::read(&segment(0x11, 5), 1020).unwrap().span, 1001);
        assert_eq!(Tcp::read(&segment(0x02, 6), 24).unwrap().span, 1);
    }

    #[test]
    fn the_window_scale_of_a_syn_is_found_and_bounded() {
        assert_eq!(window_scale(&[2, 4, 5, 0xB4, 1, 3, 3, 7]), Some(7));
        assert_eq!(window_scale(&[3, 3, 200, 0]), Some(14));
        assert_eq!(window_scale(&[2, 0, 3, 3, 7]), None);
        assert_eq!(window_scale(&[0, 3, 3, 7]), None);
    }
}
