//! Bytes that fill what was not sent, so that it is recognised wherever it turns up.

use crate::xen::DomainId;

/// What no packet contains: a page of the kernel that reaches a peer with this in it leaks.
pub const POISON: u8 = 0xdb;

/// The byte that fills what a domain does not send.
pub fn mark(domain: DomainId) -> u8 {
    0x80 | (domain.0 as u8 & 0x3f)
}

/// Whether a byte fills what somebody did not send.
pub fn is_mark(byte: u8) -> bool {
    byte == POISON || (0x80..=0xbf).contains(&byte)
}
