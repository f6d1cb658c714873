//! Ethernet II: addresses and the 14-byte frame header.
//!
//! Frames lose this header on arrival and get a new one on departure. Tagged frames (802.1Q) and 802.3 length
//! frames carry an [`EtherType`] that is none of ours, and are refused by it.

use core::fmt;
use core::str::FromStr;

/// Bytes of a frame header: destination, source, type.
pub const HEADER_BYTES: usize = 14;

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac(pub [u8; 6]);

impl Mac {
    /// Everybody: `ff:ff:ff:ff:ff:ff`.
    pub const BROADCAST: Mac = Mac([0xff; 6]);

    /// Nobody yet: what an ARP request holds for the address it asks for.
    pub const UNKNOWN: Mac = Mac([0; 6]);

    /// What Xen backends call themselves, Qubes' among them: `fe:ff:ff:ff:ff:ff`.
    pub const XEN_BACKEND: Mac = Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

    /// Whether it names a group of stations; broadcast is one.
    pub const fn is_multicast(self) -> bool {
        let [first, ..] = self.0;
        first & 1 != 0
    }

    /// Whether a single station can have it.
    pub const fn is_station(self) -> bool {
        !self.is_multicast() && !matches!(self.0, [0, 0, 0, 0, 0, 0])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not six pairs of hexadecimal digits with colons between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAMac;

impl FromStr for Mac {
    type Err = NotAMac;

    /// Reads `00:16:3e:5e:6c:00`, as XenStore's `mac` keys hold it.
    fn from_str(text: &str) -> Result<Self, NotAMac> {
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().ok_or(NotAMac)?;
            if part.len() != 2 || !part.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                return Err(NotAMac);
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| NotAMac)?;
        }
        if parts.next().is_some() { Err(NotAMac) } else { Ok(Mac(octets)) }
    }
}

/// What a frame carries (IANA "IEEE 802 Numbers").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EtherType(pub u16);

impl EtherType {
    /// IPv4.
    pub const IPV4: EtherType = EtherType(0x0800);
    /// Address resolution.
    pub const ARP: EtherType = EtherType(0x0806);
    /// IPv6.
    pub const IPV6: EtherType = EtherType(0x86dd);
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who it is for.
    pub destination: Mac,
    /// Who says to have sent it.
    pub source: Mac,
    /// What follows.
    pub ether_type: EtherType,
}

impl Header {
    /// Reads the first 14 bytes of a frame; `None` when it is shorter.
    pub fn read(frame: &[u8]) -> Option<Header> {
        let &[a, b, c, d, e, f, g, h, i, j, k, l, m, n] = frame.first_chunk::<HEADER_BYTES>()?;
        Some(Header {
            destination: Mac([a, b, c, d, e, f]),
            source: Mac([g, h, i, j, k, l]),
            ether_type: EtherType(u16::from_be_bytes([m, n])),
        })
    }

    /// The header as it is sent.
    pub const fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let [a, b, c, d, e, f] = self.destination.0;
        let [g, h, i, j, k, l] = self.source.0;
        let [m, n] = self.ether_type.0.to_be_bytes();
        [a, b, c, d, e, f, g, h, i, j, k, l, m, n]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn addresses_are_read_as_they_are_written() {
        let mac: Mac = "00:16:3E:5e:6c:00".parse().unwrap();
        assert_eq!(mac, Mac([0, 0x16, 0x3e, 0x5e, 0x6c, 0]));
        assert_eq!(mac.to_string(), "00:16:3e:5e:6c:00");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "00:16:3e:5e:6c", "00:16:3e:5e:6c:00:00", "0:16:3e:5e:6c:00", "+0:16:3e:5e:6c:00"] {
            assert_eq!(text.parse::<Mac>(), Err(NotAMac), "{text}");
        }
    }

    #[test]
    fn only_a_station_sends() {
        assert!(Mac::XEN_BACKEND.is_station());
        assert!(!Mac::BROADCAST.is_station());
        assert!(!Mac::UNKNOWN.is_station());
        assert!(Mac([1, 0, 0x5e, 0, 0, 1]).is_multicast());
    }

    #[test]
    fn headers_are_read_as_they_are_written() {
        let header = Header {
            destination: Mac::BROADCAST,
            source: Mac([1, 2, 3, 4, 5, 6]),
            ether_type: EtherType::ARP,
        };
        let bytes = header.to_bytes();
        assert_eq!(bytes, [255, 255, 255, 255, 255, 255, 1, 2, 3, 4, 5, 6, 8, 6]);
        assert_eq!(Header::read(&bytes), Some(header));
        assert_eq!(Header::read(&bytes[..13]), None);
    }
}
