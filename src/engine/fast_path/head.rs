//! The first bytes of a frame, read at fixed places and rewritten there.

use crate::nat::ident::UNCUT_BYTES;
use crate::wire::bytes::{put_u16, put_u32};
use crate::wire::checksum::{Delta, Sum};
use crate::wire::ethernet;
use crate::wire::frame_view::{FrameView, HEAD_BYTES};
use crate::wire::ipv4;
use crate::wire::packet::Checksum;
use core::net::Ipv4Addr;

/// What lies behind the Ethernet header.
const IP_BYTES: usize = HEAD_BYTES - ethernet::HEADER_BYTES;

/// Flags of the word that says of which fragment a packet is: those that do not make it one.
const RESERVED: u16 = 0x8000;
const DONT_FRAGMENT: u16 = 0x4000;

/// Where the layer-4 header begins, from the IP header on.
pub(super) const L4: usize = ipv4::HEADER_BYTES;

/// The IP packet's first bytes.
pub(super) struct Head<'a> {
    bytes: &'a mut [u8; IP_BYTES],
    available: u16,
    checksum: Checksum,
}

/// What the IP header says that is looked at.
#[derive(Clone, Copy)]
pub(super) struct Ip {
    pub(super) total_bytes: u16,
    pub(super) ident: u16,
    /// Routers behind the uplink may cut it.
    pub(super) may_be_cut: bool,
    pub(super) protocol: u8,
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
}

/// One end of a packet.
#[derive(Clone, Copy)]
pub(super) struct PacketEnd {
    /// Where its address is, from the IP header on.
    address_at: usize,
    /// Where its port is, from the layer-4 header on.
    port_at: usize,
}

/// Its sender.
pub(super) const SOURCE: PacketEnd = PacketEnd { address_at: ipv4::at::SOURCE, port_at: 0 };
/// Its receiver.
pub(super) const DESTINATION: PacketEnd = PacketEnd { address_at: ipv4::at::DESTINATION, port_at: 2 };

impl<'a> Head<'a> {
    #[inline(always)]
    pub(super) fn of<'f: 'a>(frame: &'a mut FrameView<'f>) -> Option<Head<'a>> {
        let (_, bytes) = frame.head.split_at_mut(ethernet::HEADER_BYTES);
        let available = frame.frame_bytes.checked_sub(ethernet::HEADER_BYTES as u16)?;
        Some(Head { bytes: bytes.first_chunk_mut()?, available, checksum: frame.checksum })
    }

    /// The byte at `at`, from the IP header on.
    #[inline(always)]
    pub(super) fn byte(&self, at: usize) -> u8 {
        self.bytes[at]
    }

    /// The big-endian word of 16 bits there.
    #[inline(always)]
    pub(super) fn word(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]])
    }

    /// That of 32 bits.
    #[inline(always)]
    pub(super) fn long(&self, at: usize) -> u32 {
        let bytes = &self.bytes;
        u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    }

    /// Reads the header of a whole packet without options that may go one hop further.
    #[inline(always)]
    pub(super) fn ip(&self) -> Option<Ip> {
        let total_bytes = self.word(ipv4::at::TOTAL_BYTES);
        let fragment = self.word(ipv4::at::FRAGMENT);
        let sum = Sum::ZERO.header(self.bytes.first_chunk::<{ ipv4::HEADER_BYTES }>()?);
        if self.bytes[0] != 0x45
            || total_bytes > self.available
            || fragment & !(DONT_FRAGMENT | RESERVED) != 0
            || self.bytes[ipv4::at::TTL] <= 1
            || !sum.verifies()
        {
            return None;
        }
        Some(Ip {
            total_bytes,
            ident: self.word(ipv4::at::IDENT),
            may_be_cut: fragment & DONT_FRAGMENT == 0 && total_bytes > UNCUT_BYTES,
            protocol: self.bytes[ipv4::at::PROTOCOL],
            source: Ipv4Addr::from_bits(self.long(ipv4::at::SOURCE)),
            destination: Ipv4Addr::from_bits(self.long(ipv4::at::DESTINATION)),
        })
    }

    /// The ports of the packet: its sender's and its receiver's.
    #[inline(always)]
    pub(super) fn ports(&self) -> (u16, u16) {
        (self.word(L4), self.word(L4 + 2))
    }

    /// Gives the packet another identification. The IP header's checksum changes with that.
    #[inline(never)]
    pub(super) fn set_ident(&mut self, ident: u16) {
        let sum = Delta::NONE.word(self.word(ipv4::at::IDENT), ident).apply(self.word(ipv4::at::CHECKSUM));
        put_u16(self.bytes, ipv4::at::IDENT, ident);
        put_u16(self.bytes, ipv4::at::CHECKSUM, sum);
    }

    /// Gives one end of the packet another address and port and takes a hop off. Checksums change with that: the IP
    /// header's, and the one at `sum_at` from the layer-4 header on, to which a complete sum is put by `complete`.
    #[inline(always)]
    pub(super) fn rewrite(
        self,
        end: PacketEnd,
        address: Ipv4Addr,
        port: u16,
        sum_at: usize,
        complete: impl FnOnce(Delta, u16) -> u16,
    ) {
        let old = Ipv4Addr::from_bits(self.long(end.address_at));
        let addresses = Delta::NONE.address(old, address);
        let ports = Delta::NONE.word(self.word(L4 + end.port_at), port);
        let ttl = self.bytes[ipv4::at::TTL];
        let sum = addresses.first_byte(ttl, ttl.wrapping_sub(1)).apply(self.word(ipv4::at::CHECKSUM));
        let field = self.word(L4 + sum_at);
        let layer4 = match self.checksum {
            Checksum::Blank => addresses.apply_blank(field),
            Checksum::Unverified | Checksum::Validated => complete(addresses.and(ports), field),
        };
        self.bytes[ipv4::at::TTL] = ttl.wrapping_sub(1);
        put_u16(self.bytes, ipv4::at::CHECKSUM, sum);
        put_u32(self.bytes, end.address_at, address.to_bits());
        put_u16(self.bytes, L4 + end.port_at, port);
        put_u16(self.bytes, L4 + sum_at, layer4);
    }
}
