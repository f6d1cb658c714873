//! Where a packet goes, and what its header says from then on.

use core::net::Ipv4Addr;

use super::rewrite::NewHeader;
use crate::base::side::Side;
use crate::wire::ipv4::{DEFAULT_TTL, Ipv4};

/// Hops left after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ttl {
    /// One less than it came with.
    Decrement,
    /// It begins here.
    Fresh,
}

/// Where a packet goes and under which addresses: holds for every fragment of its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The side it leaves by.
    pub to: Side,
    /// Its new source.
    pub source: Ipv4Addr,
    /// Its new destination.
    pub destination: Ipv4Addr,
    /// Its new identification.
    pub ident: u16,
    /// Its hops.
    pub ttl: Ttl,
}

impl Translation {
    /// What the header of the packet says, once it is translated, that was read as `ip`.
    pub const fn translated(&self, ip: &Ipv4) -> Ipv4 {
        let NewHeader { source, destination, ident, ttl } = self.new_header(ip);
        Ipv4 { source, destination, ident, ttl, ..*ip }
    }

    /// The header of a packet, read as `ip`, that goes this way.
    pub const fn new_header(&self, ip: &Ipv4) -> NewHeader {
        let ttl = match self.ttl {
            Ttl::Decrement => ip.ttl.saturating_sub(1),
            Ttl::Fresh => DEFAULT_TTL,
        };
        NewHeader { source: self.source, destination: self.destination, ident: self.ident, ttl }
    }
}
