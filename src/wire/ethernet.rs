//! Ethernet: addresses and the 14-byte frame header (smoltcp's wire format).

use core::fmt;
use core::str::FromStr;
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol};

/// Bytes of a frame header.
pub const HEADER_BYTES: usize = 14;

/// A 48-bit Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody on the segment.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Whether it stands for several hosts, as broadcast does.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }

    /// Whether a host can have it.
    pub fn is_host(self) -> bool {
        !self.is_group() && self.0 != [0; 6]
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// Text that is not six colon-separated bytes in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl FromStr for Mac {
    type Err = NotAMac;

    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or(NotAMac)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| NotAMac)?;
        }
        if parts.next().is_some() { Err(NotAMac) } else { Ok(Mac(bytes)) }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EtherType {
    /// An IPv4 packet.
    Ipv4,
    /// An ARP packet.
    Arp,
    /// Something we do not handle.
    Other(u16),
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// To whom.
    pub destination: Mac,
    /// From whom.
    pub source: Mac,
    /// What follows.
    pub ether_type: EtherType,
}

impl Header {
    /// Reads the header; `None` when the frame is shorter.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let frame = EthernetFrame::new_checked(frame).ok()?;
        Some(Self {
            destination: Mac(frame.dst_addr().0),
            source: Mac(frame.src_addr().0),
            ether_type: match frame.ethertype() {
                EthernetProtocol::Ipv4 => EtherType::Ipv4,
                EthernetProtocol::Arp => EtherType::Arp,
                other => EtherType::Other(other.into()),
            },
        })
    }

    /// Writes the header over the frame's first bytes. A frame too short for it is left alone.
    pub fn write(self, frame: &mut [u8]) {
        if let Ok(mut frame) = EthernetFrame::new_checked(frame) {
            frame.set_dst_addr(EthernetAddress(self.destination.0));
            frame.set_src_addr(EthernetAddress(self.source.0));
            frame.set_ethertype(match self.ether_type {
                EtherType::Ipv4 => EthernetProtocol::Ipv4,
                EtherType::Arp => EthernetProtocol::Arp,
                EtherType::Other(other) => EthernetProtocol::Unknown(other),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_written_as_it_is_read() {
        let header = Header {
            destination: Mac([1, 2, 3, 4, 5, 6]),
            source: Mac([7, 8, 9, 10, 11, 12]),
            ether_type: EtherType::Arp,
        };
        let mut frame = [0; 20];
        header.write(&mut frame);
        assert_eq!(frame[..14], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 6]);
        assert_eq!(Header::read(&frame), Some(header));
        assert_eq!(Header::read(&frame[..13]), None);
    }

    #[test]
    fn addresses_are_read_strictly() {
        assert_eq!("00:16:3e:5E:6c:00".parse(), Ok(Mac([0, 0x16, 0x3e, 0x5e, 0x6c, 0])));
        assert_eq!(std::string::ToString::to_string(&Mac([0, 0x16, 0x3e, 1, 2, 3])), "00:16:3e:01:02:03");
        for text in ["", "00:16:3e:5e:6c", "00:16:3e:5e:6c:00:11", "0:16:3e:5e:6c:000", "00-16-3e-5e-6c-00"] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
    }
}
