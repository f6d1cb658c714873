//! Headers rewritten in place: only addresses, ports, TTL, identification and the sums that cover them change, and the
//! type of a ping that is answered.
//!
//! Every sum is changed by the difference (RFC 1624), so it stays exactly as right or wrong as it came. A
//! blank checksum (Xen `csum_blank`) holds the pseudo-header's sum, so only the address change goes into it.

use core::net::Ipv4Addr;

use crate::wire::bytes::{put_u16, put_u32, u16_at};
use crate::wire::checksum::Delta;
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::{self, Ipv4};
use crate::wire::packet::Checksum;
use crate::wire::transport::Transport;
use crate::wire::{tcp, udp};

/// What an IP header is to say from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHeader {
    /// Sender.
    pub source: Ipv4Addr,
    /// Receiver.
    pub destination: Ipv4Addr,
    /// Identification.
    pub ident: u16,
    /// Hops left.
    pub ttl: u8,
}

/// Which end of a packet gets a new port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortChange {
    /// None.
    None,
    /// Its source port; of an ICMP query, its identifier.
    Source(u16),
    /// Its destination port; of an ICMP query, its identifier.
    Destination(u16),
}

/// Writes `new_header` into the IP header at the start of `header`, which was read as `ip`; returns what that
/// does to sums that cover the addresses.
#[inline(always)]
pub fn readdress(header: &mut [u8], ip: &Ipv4, new_header: &NewHeader) -> Delta {
    let addresses =
        Delta::NONE.address(ip.source, new_header.source).address(ip.destination, new_header.destination);
    let delta = addresses.word(ip.ident, new_header.ident).first_byte(ip.ttl, new_header.ttl);
    let Some(head) = header.first_chunk_mut::<{ ipv4::HEADER_BYTES }>() else { return addresses };
    let sum = delta.apply(u16::from_be_bytes([head[10], head[11]]));
    put_u16(head, ipv4::at::IDENT, new_header.ident);
    head[ipv4::at::TTL] = new_header.ttl;
    put_u16(head, ipv4::at::CHECKSUM, sum);
    put_u32(head, ipv4::at::SOURCE, new_header.source.to_bits());
    put_u32(head, ipv4::at::DESTINATION, new_header.destination.to_bits());
    addresses
}

/// Changes a port of the packet whose layer-4 header starts `bytes`, and its checksum for that and for the
/// `addresses` that changed.
#[inline(always)]
pub fn repoint(
    bytes: &mut [u8],
    protocol: u8,
    transport: &Transport,
    checksum: Checksum,
    addresses: Delta,
    change: PortChange,
) {
    match transport {
        Transport::Tcp(_) => {
            let Some(head) = bytes.first_chunk_mut::<{ tcp::HEADER_BYTES }>() else { return };
            let ports = change_port(head.first_chunk_mut(), change);
            let field = u16::from_be_bytes([head[tcp::at::CHECKSUM], head[tcp::at::CHECKSUM + 1]]);
            let sum = match checksum {
                Checksum::Blank => addresses.apply_blank(field),
                Checksum::Unverified | Checksum::Validated => addresses.and(ports).apply(field),
            };
            put_u16(head, tcp::at::CHECKSUM, sum);
        }
        Transport::Udp(_) => {
            let Some(head) = bytes.first_chunk_mut::<{ udp::HEADER_BYTES }>() else { return };
            let ports = change_port(head.first_chunk_mut(), change);
            let field = u16::from_be_bytes([head[udp::at::CHECKSUM], head[udp::at::CHECKSUM + 1]]);
            let sum = match checksum {
                Checksum::Blank => addresses.apply_blank(field),
                Checksum::Unverified | Checksum::Validated => addresses.and(ports).apply_udp(field),
            };
            put_u16(head, udp::at::CHECKSUM, sum);
        }
        Transport::Icmp(Icmp::Request { ident: old, .. } | Icmp::Reply { ident: old, .. }) => {
            let (PortChange::Source(new) | PortChange::Destination(new)) = change else { return };
            put_u16(bytes, icmp::at::IDENT, new);
            if let Some(field) = u16_at(bytes, icmp::at::CHECKSUM) {
                put_u16(bytes, icmp::at::CHECKSUM, Delta::NONE.word(*old, new).apply(field));
            }
        }
        Transport::Other if sums_addresses(protocol) => {
            if let Some(field) = u16_at(bytes, SUM_OF_DCCP_AND_UDP_LITE) {
                put_u16(bytes, SUM_OF_DCCP_AND_UDP_LITE, addresses.apply(field));
            }
        }
        Transport::Icmp(Icmp::Error) | Transport::Other => {}
    }
}

/// Where DCCP (RFC 4340 section 5.1) and UDP-Lite (RFC 3828 section 3.1) keep their checksum.
const SUM_OF_DCCP_AND_UDP_LITE: usize = 6;

/// Whether a protocol without translated ports has a checksum that covers the addresses.
const fn sums_addresses(protocol: u8) -> bool {
    matches!(protocol, 33 | 136)
}

/// Writes the port that `change` asks for into the source and destination ports, and returns what that does
/// to sums that cover them.
fn change_port(ports: Option<&mut [u8; 4]>, change: PortChange) -> Delta {
    let Some([source_high, source_low, destination_high, destination_low]) = ports else {
        return Delta::NONE;
    };
    let (high, low, new) = match change {
        PortChange::None => return Delta::NONE,
        PortChange::Source(port) => (source_high, source_low, port),
        PortChange::Destination(port) => (destination_high, destination_low, port),
    };
    let old = u16::from_be_bytes([*high, *low]);
    [*high, *low] = new.to_be_bytes();
    Delta::NONE.word(old, new)
}

/// Turns a ping into its answer: the type changes, and the checksum with it.
pub fn answer_echo(bytes: &mut [u8]) {
    let Some(old) = u16_at(bytes, icmp::at::KIND) else { return };
    let new = u16::from_be_bytes([icmp::kind::ECHO_REPLY, old as u8]);
    put_u16(bytes, icmp::at::KIND, new);
    if let Some(field) = u16_at(bytes, icmp::at::CHECKSUM) {
        put_u16(bytes, icmp::at::CHECKSUM, Delta::NONE.word(old, new).apply(field));
    }
}
