//! The packet that an ICMP error quotes: read with suspicion, and translated like the packet it was.
//!
//! RFC 5508 section 7: the quoted packet's addresses, port and sums are changed as the flow's own were, in
//! the other direction. Of what is quoted beyond the first eight layer-4 bytes only TCP's checksum is changed, if it is
//! there; all else is left as it is, RFC 4884 extensions included. The layer-4 sum of the quote is never verified
//! (REQ-3c).
//!
//! Its header's sum is (REQ-3a), but some routers quote a packet as it lies in their memory, with that sum zeroed for
//! whoever was to send it on. Zero is taken for no sum (conformance I-16): dropping the "fragmentation needed" of such
//! a router stalls connections, and the sum keeps nobody out, since who forges an error can compute it.

use core::net::Ipv4Addr;

use super::rewrite::PortChange;
use crate::wire::bytes::{put_u16, u16_at, u32_at};
use crate::wire::checksum::{self, Delta};
use crate::wire::icmp::{self, Icmp};
use crate::wire::ipv4::{self, protocol};
use crate::wire::{tcp, udp};

/// What is wrong with a quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteFault {
    /// It is not IPv4, or its header and eight bytes more are not there.
    Broken,
    /// Its header checksum is there and does not verify (RFC 5508 REQ-3a).
    Checksum,
    /// It is a later fragment, or an ICMP message other than a query: it belongs to no flow.
    NoFlow,
}

/// The checksum of a quoted packet's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HeaderSum {
    /// It verifies.
    Right,
    /// There is none: a router zeroed it.
    Zeroed,
}

/// A quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Where its IP header starts, in bytes from the start of the whole packet.
    at: usize,
    /// Where its layer-4 header starts.
    transport_at: usize,
    /// Where it ends, by its own word.
    ends_at: usize,
    header_sum: HeaderSum,
    /// IP protocol.
    pub protocol: u8,
    /// Who sent it.
    pub source: Ipv4Addr,
    /// To whom.
    pub destination: Ipv4Addr,
    /// Source port, or identifier of a query; zero without.
    pub source_port: u16,
    /// Destination port; of a query what it asks for, as its ICMP type; zero without.
    pub destination_port: u16,
    /// Sequence number, of TCP.
    pub sequence: Option<u32>,
    /// Which query or reply it is, of ICMP.
    pub query: Option<Icmp>,
}

impl Quote {
    /// Reads the packet quoted in `header` from byte `at`.
    pub fn read(header: &[u8], at: usize) -> Result<Quote, QuoteFault> {
        let inner = header.get(at..).ok_or(QuoteFault::Broken)?;
        let head: &[u8; ipv4::HEADER_BYTES] = inner.first_chunk().ok_or(QuoteFault::Broken)?;
        let header_bytes = usize::from(head[0] & 0x0F) * 4;
        if head[0] >> 4 != 4 || header_bytes < ipv4::HEADER_BYTES {
            return Err(QuoteFault::Broken);
        }
        let (whole_header, bytes) = inner.split_at_checked(header_bytes).ok_or(QuoteFault::Broken)?;
        let header_sum = match (checksum::of(whole_header), u16_at(head, ipv4::at::CHECKSUM)) {
            (0, _) => HeaderSum::Right,
            (_, Some(0)) => HeaderSum::Zeroed,
            _ => return Err(QuoteFault::Checksum),
        };
        if u16::from_be_bytes([head[6], head[7]]) & 0x1FFF != 0 {
            return Err(QuoteFault::NoFlow);
        }
        let mut quote = Quote {
            at,
            transport_at: at + header_bytes,
            ends_at: at + usize::from(u16::from_be_bytes([head[2], head[3]])),
            header_sum,
            protocol: head[ipv4::at::PROTOCOL],
            source: Ipv4Addr::new(head[12], head[13], head[14], head[15]),
            destination: Ipv4Addr::new(head[16], head[17], head[18], head[19]),
            source_port: 0,
            destination_port: 0,
            sequence: None,
            query: None,
        };
        match quote.protocol {
            protocol::TCP | protocol::UDP => {
                if bytes.len() < udp::HEADER_BYTES {
                    return Err(QuoteFault::Broken);
                }
                (quote.source_port, quote.destination_port) = tcp::ports(bytes).ok_or(QuoteFault::Broken)?;
                if quote.protocol == protocol::TCP {
                    quote.sequence = u32_at(bytes, tcp::at::SEQUENCE);
                }
            }
            protocol::ICMP => match Icmp::read(bytes) {
                Ok(message @ (Icmp::Request { query, ident } | Icmp::Reply { query, ident })) => {
                    quote.source_port = ident;
                    quote.destination_port = query.kind().into();
                    quote.query = Some(message);
                }
                Ok(Icmp::Error) => return Err(QuoteFault::NoFlow),
                Err(_) if bytes.len() < icmp::HEADER_BYTES => return Err(QuoteFault::Broken),
                Err(_) => return Err(QuoteFault::NoFlow),
            },
            _ => {}
        }
        Ok(quote)
    }

    /// Gives the quoted packet its new address and port, and the ICMP message at `icmp_at` the checksum that
    /// follows from it.
    pub fn translate(&self, header: &mut [u8], icmp_at: usize, address: Ipv4Addr, change: PortChange) {
        let (old_address, address_at) = match change {
            PortChange::None => return,
            PortChange::Source(_) => (self.source, ipv4::at::SOURCE),
            PortChange::Destination(_) => (self.destination, ipv4::at::DESTINATION),
        };
        let addresses = Delta::NONE.address(old_address, address);
        let bits = address.to_bits();
        let mut all = Delta::NONE;
        let mut put = |at: usize, change: &dyn Fn(u16) -> u16| {
            let Some(old) = u16_at(header, at) else { return Delta::NONE };
            let new = change(old);
            put_u16(header, at, new);
            let delta = Delta::NONE.word(old, new);
            all = all.and(delta);
            delta
        };
        put(self.at + address_at, &|_| (bits >> 16) as u16);
        put(self.at + address_at + 2, &|_| bits as u16);
        if self.header_sum == HeaderSum::Right {
            put(self.at + ipv4::at::CHECKSUM, &|sum| addresses.apply(sum));
        }
        let (port, port_at) = match (change, self.protocol) {
            (PortChange::Source(port) | PortChange::Destination(port), protocol::ICMP) => {
                (port, icmp::at::IDENT)
            }
            (PortChange::Destination(port), _) => (port, tcp::at::DESTINATION_PORT),
            (PortChange::Source(port), _) => (port, tcp::at::SOURCE_PORT),
            (PortChange::None, _) => return,
        };
        let sum = |at: usize| {
            let end = self.transport_at + at + 2;
            (end <= self.ends_at).then_some(self.transport_at + at)
        };
        match self.protocol {
            protocol::TCP => {
                let ports = put(self.transport_at + port_at, &|_| port);
                if let Some(at) = sum(tcp::at::CHECKSUM) {
                    put(at, &|sum| addresses.and(ports).apply(sum));
                }
            }
            protocol::UDP => {
                let ports = put(self.transport_at + port_at, &|_| port);
                if let Some(at) = sum(udp::at::CHECKSUM) {
                    put(at, &|sum| addresses.and(ports).apply_udp(sum));
                }
            }
            protocol::ICMP => {
                let ident = put(self.transport_at + port_at, &|_| port);
                put(self.transport_at + icmp::at::CHECKSUM, &|sum| ident.apply(sum));
            }
            _ => {}
        }
        if let Some(field) = u16_at(header, icmp_at + icmp::at::CHECKSUM) {
            put_u16(header, icmp_at + icmp::at::CHECKSUM, all.apply(field));
        }
    }
}
