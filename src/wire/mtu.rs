//! The bounds of an MTU.

use super::ethernet::HEADER_BYTES;

/// The least MTU there may be: every link carries a packet of 68 bytes uncut (RFC 791 section 3.2).
pub const LEAST: u16 = 68;

/// The largest: a request says in 16 bits how large its packet is, Ethernet header included (`netif.h`).
pub const MOST: u16 = u16::MAX - HEADER_BYTES as u16;
