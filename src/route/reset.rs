//! The RST that tells a client its connection is unknown here (RFC 9293 section 3.10.7.1).

use super::icmp_error::write_ip;
use crate::wire::bytes::{put_u16, put_u32};
use crate::wire::checksum::Sum;
use crate::wire::ipv4::{self, Ipv4, protocol};
use crate::wire::tcp::{self, Flags, Tcp};

/// Bytes of the packet.
pub const BYTES: usize = ipv4::HEADER_BYTES + tcp::HEADER_BYTES;

/// Writes the answer to `segment`, which came in `ip`, into the start of `buffer`; returns its length.
///
/// The answer comes from the segment's receiver: with the sequence number the segment acknowledges, or else
/// acknowledging the segment.
pub fn write(buffer: &mut [u8], ip: &Ipv4, segment: &Tcp) -> usize {
    let Some(buffer) = buffer.first_chunk_mut::<BYTES>() else { return 0 };
    buffer.fill(0);
    let (sequence, acknowledgement, flags) = match segment.flags.contains(Flags::ACK) {
        true => (segment.acknowledgement, 0, Flags::RST),
        false => (0, segment.end(), Flags::RST | Flags::ACK),
    };
    let at = ipv4::HEADER_BYTES;
    put_u16(buffer, at + tcp::at::SOURCE_PORT, segment.destination_port);
    put_u16(buffer, at + tcp::at::DESTINATION_PORT, segment.source_port);
    put_u32(buffer, at + tcp::at::SEQUENCE, sequence);
    put_u32(buffer, at + tcp::at::SEQUENCE + 4, acknowledgement);
    buffer[at + 12] = 5 << 4;
    buffer[at + tcp::at::FLAGS] = flags.bits();
    let sum = Sum::ZERO
        .pseudo_header(ip.destination, ip.source, protocol::TCP, tcp::HEADER_BYTES as u16)
        .bytes(buffer.get(at..).unwrap_or(&[]))
        .checksum();
    put_u16(buffer, at + tcp::at::CHECKSUM, sum);
    write_ip(buffer, BYTES, 0, protocol::TCP, ip.destination, ip.source);
    BYTES
}
