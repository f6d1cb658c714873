//! What came for us.

use core::net::SocketAddrV4;

/// A datagram to a port of ours: from whom, and where in its packet the payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnDatagram {
    /// Its sender.
    pub from: SocketAddrV4,
    /// Our port.
    pub port: u16,
    /// Where its payload begins.
    pub begin: u16,
    /// Where it ends.
    pub end: u16,
}
