//! The first bytes of a frame, read at fixed places and rewritten there.

use crate::nat::ident::UNCUT_BYTES;
use crate::wire::bytes::{put_u16, put_u32};
use crate::wire::checksum::{Delta, Sum};
use crate::wire::ethernet;
use crate::wire::frame_view::{FrameView, HEAD_BYTES};
use crate::wire::ipv4::{self, protocol};
use crate::wire::packet::Checksum;
use crate::wire::tcp::{self, Flags, Tcp};
use crate::wire::udp;
use core::net::Ipv4Addr;

/// What lies behind the Ethernet header.
const IP_BYTES: usize = HEAD_BYTES - ethernet::HEADER_BYTES;

/// Where the layer-4 header begins, from the IP header on.
const L4: usize = ipv4::HEADER_BYTES;

/// The IP packet's first bytes.
pub(super) struct Head<'a> {
    bytes: &'a mut [u8; IP_BYTES],
    available: u16,
    checksum: Checksum,
}

/// What the IP header says that is looked at.
pub(super) struct Ip {
    pub(super) total_bytes: u16,
    pub(super) ident: u16,
    pub(super) protocol: u8,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
}

/// What the packet carries.
pub(super) enum Carried {
    /// A segment that carries data or acknowledges some, and does nothing else.
    Tcp(Tcp),
    /// A datagram.
    Udp {
        /// Its source port.
        source: u16,
        /// Its destination port.
        destination: u16,
    },
}

impl Carried {
    pub(super) const fn source_port(&self) -> u16 {
        match self {
            Carried::Tcp(segment) => segment.source_port,
            Carried::Udp { source, .. } => *source,
        }
    }

    pub(super) const fn destination_port(&self) -> u16 {
        match self {
            Carried::Tcp(segment) => segment.destination_port,
            Carried::Udp { destination, .. } => *destination,
        }
    }
}

impl<'a> Head<'a> {
    #[inline(always)]
    pub(super) fn of<'f: 'a>(frame: &'a mut FrameView<'f>) -> Option<Head<'a>> {
        let (_, bytes) = frame.head.split_at_mut(ethernet::HEADER_BYTES);
        let available = frame.frame_bytes.checked_sub(ethernet::HEADER_BYTES as u16)?;
        Some(Head { bytes: bytes.first_chunk_mut()?, available, checksum: frame.checksum })
    }

    fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    fn long(&self, at: usize) -> u32 {
        let bytes = &self.bytes;
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    /// Reads the header of a whole packet without options that may go one hop further and keeps its identification.
    #[inline(always)]
    pub(super) fn ip(&self) -> Option<Ip> {
        let total_bytes = self.word(ipv4::at::TOTAL_BYTES);
        let fragment = self.word(ipv4::at::FRAGMENT);
        let may_be_cut = fragment & 0x4000 == 0 && total_bytes > UNCUT_BYTES;
        let sum = Sum::ZERO.header(self.bytes.first_chunk::<{ ipv4::HEADER_BYTES }>()?);
        if self.bytes[0] != 0x45
            || total_bytes > self.available
            || fragment & 0x3FFF != 0
            || may_be_cut
            || self.bytes[ipv4::at::TTL] <= 1
            || !sum.verifies()
        {
            return None;
        }
        Some(Ip {
            total_bytes,
            ident: self.word(ipv4::at::IDENT),
            protocol: self.bytes[ipv4::at::PROTOCOL],
            source: Ipv4Addr::from_bits(self.long(ipv4::at::SOURCE)),
            destination: Ipv4Addr::from_bits(self.long(ipv4::at::DESTINATION)),
        })
    }

    /// Reads what the packet carries.
    #[inline(always)]
    pub(super) fn carried(&self, ip: &Ip) -> Option<Carried> {
        let payload = ip.total_bytes.checked_sub(L4 as u16)?;
        let (source, destination) = (self.word(L4), self.word(L4 + 2));
        match ip.protocol {
            protocol::UDP => {
                let bytes = self.word(L4 + 4);
                let is_sound = usize::from(bytes) >= udp::HEADER_BYTES && bytes <= payload;
                is_sound.then_some(Carried::Udp { source, destination })
            }
            protocol::TCP => {
                let flags = Flags::from_bits_retain(self.bytes[L4 + tcp::at::FLAGS]);
                let header_bytes = u16::from(self.bytes[L4 + tcp::at::DATA_OFFSET] >> 4) * 4;
                let data = payload.checked_sub(header_bytes)?;
                let decisive = Flags::SYN | Flags::FIN | Flags::RST | Flags::ACK;
                if usize::from(header_bytes) < tcp::HEADER_BYTES || flags & decisive != Flags::ACK {
                    return None;
                }
                Some(Carried::Tcp(Tcp {
                    source_port: source,
                    destination_port: destination,
                    sequence: self.long(L4 + tcp::at::SEQUENCE),
                    acknowledgement: self.long(L4 + tcp::at::ACKNOWLEDGEMENT),
                    flags,
                    window: self.word(L4 + tcp::at::WINDOW),
                    span: data.into(),
                    window_scale: None,
                }))
            }
            _ => None,
        }
    }

    /// Gives the packet another sender.
    #[inline(always)]
    pub(super) fn replace_source(self, ip: &Ip, carried: &Carried, address: Ipv4Addr, port: u16) {
        let addresses = Delta::NONE.address(ip.source, address);
        put_u32(self.bytes, ipv4::at::SOURCE, address.to_bits());
        put_u16(self.bytes, L4, port);
        self.mend(addresses, Delta::NONE.word(carried.source_port(), port), carried);
    }

    /// Gives the packet another receiver.
    #[inline(always)]
    pub(super) fn replace_destination(self, ip: &Ip, carried: &Carried, address: Ipv4Addr, port: u16) {
        let addresses = Delta::NONE.address(ip.destination, address);
        put_u32(self.bytes, ipv4::at::DESTINATION, address.to_bits());
        put_u16(self.bytes, L4 + 2, port);
        self.mend(addresses, Delta::NONE.word(carried.destination_port(), port), carried);
    }

    /// Takes a hop off, and changes both checksums for that, for the address and for the port that were replaced.
    #[inline(always)]
    fn mend(self, addresses: Delta, ports: Delta, carried: &Carried) {
        let ttl = self.bytes[ipv4::at::TTL];
        self.bytes[ipv4::at::TTL] = ttl.wrapping_sub(1);
        let field = self.word(ipv4::at::CHECKSUM);
        put_u16(self.bytes, ipv4::at::CHECKSUM, addresses.first_byte(ttl, ttl.wrapping_sub(1)).apply(field));
        let at = match carried {
            Carried::Tcp(_) => L4 + tcp::at::CHECKSUM,
            Carried::Udp { .. } => L4 + udp::at::CHECKSUM,
        };
        let field = self.word(at);
        let sum = match (self.checksum, carried) {
            (Checksum::Blank, _) => addresses.apply_blank(field),
            (_, Carried::Tcp(_)) => addresses.and(ports).apply(field),
            (_, Carried::Udp { .. }) => addresses.and(ports).apply_udp(field),
        };
        put_u16(self.bytes, at, sum);
    }
}
