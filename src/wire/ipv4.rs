//! The IPv4 header (RFC 791): read once into a plain value, changed in place.
//!
//! [`Ipv4::read`] makes every check RFC 1812 section 5.2.2 asks for, so that later stages may rely on the
//! lengths. Nothing is ever rebuilt from the value: DSCP, ECN, DF, options and whatever else is not
//! translated stay in the packet's own bytes.

use core::net::Ipv4Addr;

use super::bytes::u16_at;
use super::checksum::Sum;

/// The TTL of packets of our own (RFC 1700; Linux: `IPDEFTTL`).
pub const DEFAULT_TTL: u8 = 64;

/// Bytes of a header without options.
pub const HEADER_BYTES: usize = 20;

/// Byte offsets of header fields.
pub mod at {
    /// Type of service: DSCP and ECN.
    pub const TOS: usize = 1;
    /// Total length.
    pub const TOTAL_BYTES: usize = 2;
    /// Identification.
    pub const IDENT: usize = 4;
    /// Flags and fragment offset.
    pub const FRAGMENT: usize = 6;
    /// Time to live.
    pub const TTL: usize = 8;
    /// Protocol.
    pub const PROTOCOL: usize = 9;
    /// Header checksum.
    pub const CHECKSUM: usize = 10;
    /// Source address.
    pub const SOURCE: usize = 12;
    /// Destination address.
    pub const DESTINATION: usize = 16;
}

/// Protocol numbers (IANA "Assigned Internet Protocol Numbers").
pub mod protocol {
    /// ICMP, RFC 792.
    pub const ICMP: u8 = 1;
    /// TCP, RFC 9293.
    pub const TCP: u8 = 6;
    /// UDP, RFC 768.
    pub const UDP: u8 = 17;
}

/// Whether routers may cut the packet (the DF bit).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DontFragment {
    /// DF clear.
    Clear,
    /// DF set.
    Set,
}

/// Which part of its datagram a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment: it has the layer-4 header, and more follow.
    First,
    /// A later fragment with more to follow, `offset_bytes` into the datagram's payload (a multiple of 8).
    Middle {
        /// Bytes of payload before it.
        offset_bytes: u16,
    },
    /// The last fragment.
    Last {
        /// Bytes of payload before it.
        offset_bytes: u16,
    },
}

/// What is wrong with an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ipv4Fault {
    /// Fewer than 20 bytes, or fewer than its header length says.
    Short,
    /// The version is not 4.
    Version,
    /// The header length field is below 5 words.
    HeaderLength,
    /// Total length below the header's, or above the frame's.
    TotalLength,
    /// The header checksum does not verify.
    Checksum,
    /// The fragment is empty, reaches beyond 65,535 bytes, or is no multiple of 8 bytes with more to follow.
    Fragment,
}

/// What an IPv4 header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4 {
    /// Header with options: 20..=60.
    pub header_bytes: u8,
    /// Header and payload.
    pub total_bytes: u16,
    /// DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// The DF bit.
    pub dont_fragment: DontFragment,
    /// Which part of its datagram this is.
    pub part: Part,
    /// Hops left.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
}

impl Ipv4 {
    /// Reads and checks the header at the start of `bytes`; `available_bytes` is what arrived of the whole
    /// packet, padding included.
    #[inline(always)]
    pub fn read(bytes: &[u8], available_bytes: usize) -> Result<Ipv4, Ipv4Fault> {
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(Ipv4Fault::Short)?;
        let header_bytes = (head[0] & 0x0F) * 4;
        if head[0] >> 4 != 4 {
            return Err(Ipv4Fault::Version);
        }
        if usize::from(header_bytes) < HEADER_BYTES {
            return Err(Ipv4Fault::HeaderLength);
        }
        let total_bytes = u16::from_be_bytes([head[2], head[3]]);
        if total_bytes < u16::from(header_bytes) || usize::from(total_bytes) > available_bytes {
            return Err(Ipv4Fault::TotalLength);
        }
        let mut sum = Sum::ZERO.header(head);
        if usize::from(header_bytes) > HEADER_BYTES {
            sum = sum.bytes(bytes.get(HEADER_BYTES..usize::from(header_bytes)).ok_or(Ipv4Fault::Short)?);
        }
        if !sum.verifies() {
            return Err(Ipv4Fault::Checksum);
        }
        let fragment = u16::from_be_bytes([head[6], head[7]]);
        let part = part(fragment, total_bytes - u16::from(header_bytes))?;
        Ok(Ipv4 {
            header_bytes,
            total_bytes,
            tos: head[at::TOS],
            ident: u16::from_be_bytes([head[4], head[5]]),
            dont_fragment: if fragment & 0x4000 == 0 { DontFragment::Clear } else { DontFragment::Set },
            part,
            ttl: head[at::TTL],
            protocol: head[at::PROTOCOL],
            source: Ipv4Addr::new(head[12], head[13], head[14], head[15]),
            destination: Ipv4Addr::new(head[16], head[17], head[18], head[19]),
        })
    }

    /// Bytes after the header.
    pub const fn payload_bytes(&self) -> u16 {
        self.total_bytes - self.header_bytes as u16
    }
}

/// Reads the flags and offset word of a packet with `payload_bytes` of payload.
fn part(word: u16, payload_bytes: u16) -> Result<Part, Ipv4Fault> {
    if word & 0x3FFF == 0 {
        return Ok(Part::Whole);
    }
    let more = word & 0x2000 != 0;
    let offset = u32::from(word & 0x1FFF) * 8;
    if offset + u32::from(payload_bytes) > 0xFFFF || (more && !payload_bytes.is_multiple_of(8)) {
        return Err(Ipv4Fault::Fragment);
    }
    if payload_bytes == 0 {
        return Err(Ipv4Fault::Fragment);
    }
    let offset_bytes = offset as u16;
    Ok(match (offset_bytes, more) {
        (0, false) => Part::Whole,
        (0, true) => Part::First,
        (_, true) => Part::Middle { offset_bytes },
        (_, false) => Part::Last { offset_bytes },
    })
}

/// What a packet's IP options ask of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Options {
    /// Nothing that this firewall objects to.
    Harmless,
    /// Loose or strict source routing (RFC 7126 section 4.3 and 4.4: drop).
    SourceRoute,
    /// An option's length runs out of the header.
    Broken,
}

/// Walks the options of a header (what lies after its first 20 bytes).
pub fn options(mut options: &[u8]) -> Options {
    while let Some((&kind, rest)) = options.split_first() {
        match kind {
            0 => return Options::Harmless,
            1 => options = rest,
            0x83 | 0x89 => return Options::SourceRoute,
            _ => {
                let length = rest.first().map_or(0, |length| usize::from(*length));
                match options.get(length..) {
                    Some(next) if length >= 2 => options = next,
                    _ => return Options::Broken,
                }
            }
        }
    }
    Options::Harmless
}

/// The checksum field of a header that was checked by [`Ipv4::read`].
pub fn checksum_field(header: &[u8]) -> u16 {
    u16_at(header, at::CHECKSUM).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::bytes::put_u16;
    use crate::wire::checksum;

    fn header(change: impl Fn(&mut [u8; 24])) -> [u8; 24] {
        let mut bytes = [0u8; 24];
        bytes[0] = 0x45;
        put_u16(&mut bytes, at::TOTAL_BYTES, 24);
        bytes[at::TTL] = 64;
        bytes[at::PROTOCOL] = 17;
        change(&mut bytes);
        put_u16(&mut bytes, at::CHECKSUM, 0);
        let words = usize::from(bytes[0] & 0x0F).clamp(5, 6);
        let sum = checksum::of(&bytes[..words * 4]);
        put_u16(&mut bytes, at::CHECKSUM, sum);
        bytes
    }

    #[test]
    fn a_plain_header_is_read() {
        let ip = Ipv4::read(&header(|_| ()), 24).unwrap();
        assert_eq!((ip.header_bytes, ip.total_bytes, ip.ttl, ip.protocol), (20, 24, 64, 17));
        assert_eq!(ip.part, Part::Whole);
        assert_eq!(ip.dont_fragment, DontFragment::Clear);
    }

    #[test]
    fn each_broken_field_is_named() {
        let fault = |bytes: [u8; 24], available| Ipv4::read(&bytes, available).unwrap_err();
        assert_eq!(fault(header(|b| b[0] = 0x65), 24), Ipv4Fault::Version);
        assert_eq!(fault(header(|b| b[0] = 0x44), 24), Ipv4Fault::HeaderLength);
        assert_eq!(fault(header(|b| b[3] = 19), 24), Ipv4Fault::TotalLength);
        assert_eq!(fault(header(|b| b[3] = 25), 24), Ipv4Fault::TotalLength);
        assert_eq!(fault(header(|b| b[0] = 0x4F), 24), Ipv4Fault::TotalLength);
        let mut bad = header(|_| ());
        bad[at::TTL] = 63;
        assert_eq!(fault(bad, 24), Ipv4Fault::Checksum);
        assert_eq!(Ipv4::read(&bad[..19], 19).unwrap_err(), Ipv4Fault::Short);
    }

    #[test]
    fn a_fragment_must_end_on_eight_bytes_and_within_the_datagram() {
        let fragment = |word: u16, total: u16| {
            let bytes = header(|b| {
                put_u16(b, at::FRAGMENT, word);
                put_u16(b, at::TOTAL_BYTES, total);
            });
            Ipv4::read(&bytes, 2000).map(|ip| ip.part)
        };
        assert_eq!(fragment(0x2000, 28), Ok(Part::First));
        assert_eq!(fragment(0x2001, 28), Ok(Part::Middle { offset_bytes: 8 }));
        assert_eq!(fragment(0x0002, 25), Ok(Part::Last { offset_bytes: 16 }));
        assert_eq!(fragment(0x2000, 24), Err(Ipv4Fault::Fragment));
        assert_eq!(fragment(0x1FFF, 28), Err(Ipv4Fault::Fragment));
        assert_eq!(fragment(0x2000, 20), Err(Ipv4Fault::Fragment));
        assert_eq!(fragment(0x0001, 20), Err(Ipv4Fault::Fragment));
    }

    #[test]
    fn source_routes_are_found_behind_other_options() {
        assert_eq!(options(&[1, 1, 0x94, 4, 0, 0, 0, 0]), Options::Harmless);
        assert_eq!(options(&[0x94, 4, 0, 0, 0x83, 3, 4, 0]), Options::SourceRoute);
        assert_eq!(options(&[1, 0x89, 3, 4]), Options::SourceRoute);
        assert_eq!(options(&[0x94, 1, 0, 0]), Options::Broken);
        assert_eq!(options(&[1, 1, 1, 0x94]), Options::Broken);
        assert_eq!(options(&[0, 0x83, 3, 4]), Options::Harmless);
    }
}
