//! ICMP errors that the firewall sends itself (RFC 1812 section 4.3.2).

use core::net::Ipv4Addr;

use crate::wire::bytes::{put_u16, put_u32};
use crate::wire::checksum;
use crate::wire::icmp;
use crate::wire::ipv4::{self, Ipv4, Part, protocol};

/// Bytes of the longest error: as much of the packet is quoted as fits (RFC 1812 section 4.3.2.3).
pub const MAX_BYTES: usize = 576;

/// Precedence 6 (RFC 1812 section 4.3.2.5).
const TOS: u8 = 0xC0;

/// What is told to the sender of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Refused by a rule or for want of room: type 3 code 13.
    Prohibited,
    /// Meant for the firewall, which takes nothing: type 3 code 10.
    HostProhibited,
    /// Nobody there answers: type 3 code 1.
    HostUnreachable,
    /// Larger than the next hop takes, and not to be cut: type 3 code 4 with the next hop's MTU.
    TooBig {
        /// Bytes of the largest IP packet that would pass.
        mtu: u16,
    },
    /// Out of hops: type 11 code 0.
    TimeExceeded,
}

impl IcmpError {
    /// Type, code and the second word of the message.
    const fn message(self) -> (u8, u8, u32) {
        match self {
            IcmpError::Prohibited => (icmp::kind::UNREACHABLE, 13, 0),
            IcmpError::HostProhibited => (icmp::kind::UNREACHABLE, 10, 0),
            IcmpError::HostUnreachable => (icmp::kind::UNREACHABLE, 1, 0),
            IcmpError::TooBig { mtu } => (icmp::kind::UNREACHABLE, 4, mtu as u32),
            IcmpError::TimeExceeded => (icmp::kind::TIME_EXCEEDED, 0, 0),
        }
    }
}

/// Whether an error may be sent about the packet that starts `header`: never about an ICMP error, a fragment
/// but the first, a packet to many, or one whose source is no single host (RFC 1812 section 4.3.2.7).
pub fn may_report(ip: &Ipv4, header: &[u8]) -> bool {
    let first = matches!(ip.part, Part::Whole | Part::First);
    let about_error = ip.protocol == protocol::ICMP
        && header.get(usize::from(ip.header_bytes)).is_none_or(|message| icmp::is_error(*message));
    first && !about_error && is_host(ip.source) && !is_many(ip.destination)
}

/// Whether an address can be a single host's.
pub const fn is_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// Whether an address stands for many hosts.
pub const fn is_many(address: Ipv4Addr) -> bool {
    address.is_multicast() || address.is_broadcast()
}

/// Writes an error from `source` to `destination` about the packet that starts `quoted` (no byte after its
/// end) into `buffer`; returns its length.
pub fn write(
    buffer: &mut [u8; MAX_BYTES],
    report: IcmpError,
    source: Ipv4Addr,
    destination: Ipv4Addr,
    quoted: &[u8],
) -> usize {
    let (kind, code, word) = report.message();
    let message_at = ipv4::HEADER_BYTES;
    let quote_at = message_at + icmp::HEADER_BYTES;
    let length = quoted.len().min(MAX_BYTES - quote_at);
    let total = quote_at + length;
    buffer[..quote_at].fill(0);
    for (to, from) in buffer.iter_mut().skip(quote_at).zip(quoted.iter().take(length)) {
        *to = *from;
    }
    buffer[message_at + icmp::at::KIND] = kind;
    buffer[message_at + icmp::at::CODE] = code;
    put_u32(buffer, message_at + icmp::at::IDENT, word);
    let sum = checksum::of(buffer.get(message_at..total).unwrap_or(&[]));
    put_u16(buffer, message_at + icmp::at::CHECKSUM, sum);
    write_ip(buffer, total, TOS, protocol::ICMP, source, destination);
    total
}

/// Writes the IP header of a packet of ours, `total_bytes` long, into the start of `buffer`. DF is set, so that
/// the identification says nothing (RFC 6864 section 4.1).
pub fn write_ip(
    buffer: &mut [u8],
    total_bytes: usize,
    tos: u8,
    protocol: u8,
    source: Ipv4Addr,
    destination: Ipv4Addr,
) {
    let Some(head) = buffer.first_chunk_mut::<{ ipv4::HEADER_BYTES }>() else { return };
    *head = [0; ipv4::HEADER_BYTES];
    head[0] = 0x45;
    head[ipv4::at::TOS] = tos;
    put_u16(head, ipv4::at::TOTAL_BYTES, total_bytes as u16);
    put_u16(head, ipv4::at::FRAGMENT, 0x4000);
    head[ipv4::at::TTL] = ipv4::DEFAULT_TTL;
    head[ipv4::at::PROTOCOL] = protocol;
    put_u32(head, ipv4::at::SOURCE, source.to_bits());
    put_u32(head, ipv4::at::DESTINATION, destination.to_bits());
    let sum = checksum::of(head);
    put_u16(head, ipv4::at::CHECKSUM, sum);
}
