//! The first bytes of a frame, to be judged and rewritten before anything is done with the rest.

use super::packet::Checksum;

/// Bytes that are looked at: the headers of Ethernet, IPv4 and TCP without options, and what is left of a cache line.
pub const HEAD_BYTES: usize = 64;

/// A frame that is not to be segmented.
pub struct FrameView<'a> {
    /// Its first bytes. What lies behind its end means nothing.
    pub head: &'a mut [u8; HEAD_BYTES],
    /// Bytes of the frame.
    pub frame_bytes: u16,
    /// What is known of its packet's layer-4 checksum.
    pub checksum: Checksum,
}
