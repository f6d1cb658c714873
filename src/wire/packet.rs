//! What every stage may know of a packet: private header bytes, a total length, offload state.
//!
//! The header is memory that no peer can write. The payload stays in the pages it arrived in and is
//! moved once, by Xen, to where it goes; no stage reads or writes it.

use super::ipv4::{Ipv4, Part, protocol};
use super::{bytes::u16_at, icmp};
use core::net::Ipv4Addr;
use core::num::NonZeroU16;

/// What is known about a packet's TCP, UDP or ICMP checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// The field holds a full checksum nobody has verified.
    Unverified,
    /// The field holds a full checksum that was verified, or comes from memory on this machine.
    Validated,
    /// The field holds the folded pseudo-header sum only, to be completed by whoever needs it
    /// (`NETTXF_csum_blank` / `NETRXF_csum_blank`; Linux: `CHECKSUM_PARTIAL`).
    Blank,
}

/// Which protocol a generic-segmentation-offload packet is to be cut for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GsoKind {
    /// `XEN_NETIF_GSO_TYPE_TCPV4`
    TcpV4,
    /// `XEN_NETIF_GSO_TYPE_TCPV6`
    TcpV6,
}

/// A packet larger than the MTU that its receiver may cut into TCP segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gso {
    /// What it is cut for.
    pub kind: GsoKind,
    /// TCP payload bytes per segment (the MSS).
    pub segment_bytes: NonZeroU16,
}

/// The work that a sender left to whoever comes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offload {
    /// State of the layer-4 checksum.
    pub checksum: Checksum,
    /// Segmentation still to be done, if any.
    pub gso: Option<Gso>,
}

impl Offload {
    /// A packet whose checksum is complete but unverified, and that fits the MTU.
    pub const NONE: Offload = Offload { checksum: Checksum::Unverified, gso: None };
}

/// What a client's packet said when it came in: for whoever has to tell the client what became of it after its translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Original {
    /// Its sender.
    pub source: Ipv4Addr,
    /// The port, or the query identifier, that it was sent from, if it has one.
    pub port: u16,
    /// Its identification.
    pub ident: u16,
}

impl Original {
    /// That of a packet whose header was read as `ip`, and is the beginning of `header`.
    #[inline(always)]
    pub fn of(ip: &Ipv4, header: &[u8]) -> Self {
        let field = if ip.protocol == protocol::ICMP { icmp::at::IDENT } else { 0 };
        let port = match ip.part {
            Part::Whole | Part::First => u16_at(header, usize::from(ip.header_bytes) + field),
            Part::Middle { .. } | Part::Last { .. } => None,
        };
        Self { source: ip.source, port: port.unwrap_or(0), ident: ip.ident }
    }
}

/// An IP packet on its way through the firewall, wherever its bytes are kept.
pub trait Packet {
    /// The first bytes of the IP packet: contiguous and private. At least `min(total_bytes, 576)` long, or
    /// `min(total_bytes, 128)` if the packet is still to be segmented; may be longer, never longer than `total_bytes`.
    fn header(&self) -> &[u8];

    /// The same, to be changed.
    fn header_mut(&mut self) -> &mut [u8];

    /// Bytes of the IP packet, header and payload, including link-layer padding not yet trimmed.
    fn total_bytes(&self) -> usize;

    /// Bytes of memory that nobody else can have while the packet is there: whole pages where those are given out
    /// whole. What waits is bounded by these.
    fn memory_bytes(&self) -> usize {
        self.total_bytes()
    }

    /// What the sender left to do.
    fn offload(&self) -> Offload;

    /// What it said when it came in; `None` of one that no client sent.
    fn original(&self) -> Option<Original>;

    /// Changes what is left to do.
    fn set_offload(&mut self, offload: Offload);
}
