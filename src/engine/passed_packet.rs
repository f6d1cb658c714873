//! A packet that has passed.

use crate::base::side::Side;
use crate::wire::packet::Original;
use core::net::Ipv4Addr;

/// Where a packet goes that has passed and is rewritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassedPacket {
    /// The side it leaves by, as vifs have it.
    pub exit: Side,
    /// Its receiver.
    pub destination: Ipv4Addr,
    /// Bytes of the IP packet: what lies behind them is no part of it.
    pub total_bytes: u16,
    /// What a client's packet said before.
    pub original: Option<Original>,
}
