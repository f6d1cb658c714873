//! The UDP header (RFC 768).

/// Bytes of the header.
pub const HEADER_BYTES: usize = 8;

/// Byte offsets of header fields.
pub mod at {
    /// Length of header and data.
    pub const LENGTH: usize = 4;
    /// Checksum.
    pub const CHECKSUM: usize = 6;
}

/// The port DHCP clients listen on: never forwarded.
pub const DHCP_CLIENT: u16 = 68;

/// The port of name servers.
pub const DNS: u16 = 53;

/// What is wrong with a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpFault {
    /// The header is not all there.
    Short,
    /// The length field is below 8 or beyond the datagram.
    Length,
}

/// What a UDP header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub destination_port: u16,
    /// Header and data, as the header says.
    pub bytes: u16,
}

impl Udp {
    /// Reads the header at the start of `bytes`; `limit_bytes` is what its length field may say at most:
    /// the IP payload of a whole datagram, the most that there can be in a first fragment.
    pub fn read(bytes: &[u8], limit_bytes: u16) -> Result<Udp, UdpFault> {
        let head: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(UdpFault::Short)?;
        let length = u16::from_be_bytes([head[4], head[5]]);
        if usize::from(length) < HEADER_BYTES || length > limit_bytes {
            return Err(UdpFault::Length);
        }
        Ok(Udp {
            source_port: u16::from_be_bytes([head[0], head[1]]),
            destination_port: u16::from_be_bytes([head[2], head[3]]),
            bytes: length,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_must_hold_the_header_and_fit_the_datagram() {
        let with_length = |length: u8| [0x13, 0x88, 0, 53, 0, length, 0, 0];
        assert_eq!(Udp::read(&with_length(8), 8).map(|udp| udp.source_port), Ok(5000));
        assert_eq!(Udp::read(&with_length(7), 8), Err(UdpFault::Length));
        assert_eq!(Udp::read(&with_length(9), 8), Err(UdpFault::Length));
        assert_eq!(Udp::read(&with_length(8)[..7], 8), Err(UdpFault::Short));
    }
}
