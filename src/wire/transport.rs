//! What a packet carries above IP, told apart once for all stages.

use super::icmp::{Icmp, IcmpFault};
use super::ipv4::{Ipv4, Part, protocol};
use super::tcp::{Tcp, TcpFault};
use super::udp::{Udp, UdpFault};

/// What a packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp(Udp),
    /// An ICMP message.
    Icmp(Icmp),
    /// A protocol without ports that this firewall knows of.
    Other,
}

/// What is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportFault {
    /// In a TCP header.
    Tcp(TcpFault),
    /// In a UDP header.
    Udp(UdpFault),
    /// In an ICMP message.
    Icmp(IcmpFault),
}

impl Transport {
    /// Reads what follows the IP header; `header` is what there is of the packet from its first byte.
    ///
    /// `protocol` is that of `ip`, apart so that a caller who knows it pays for no other. Of a first fragment the
    /// whole layer-4 header must be there (RFC 1858 section 3, RFC 3128); a later fragment has none and must not be
    /// given here.
    #[inline(always)]
    pub fn read(ip: &Ipv4, protocol: u8, header: &[u8]) -> Result<Transport, TransportFault> {
        let bytes =
            || header.get(usize::from(ip.header_bytes)..header.len().min(usize::from(ip.total_bytes)));
        match protocol {
            protocol::TCP => {
                let read = bytes().ok_or(TcpFault::Short).and_then(|bytes| Tcp::read(bytes, most_bytes(ip)));
                read.map(Transport::Tcp).map_err(TransportFault::Tcp)
            }
            protocol::UDP => {
                let read = bytes().ok_or(UdpFault::Short).and_then(|bytes| Udp::read(bytes, most_bytes(ip)));
                read.map(Transport::Udp).map_err(TransportFault::Udp)
            }
            protocol::ICMP => {
                let read = bytes().ok_or(IcmpFault::Short).and_then(Icmp::read);
                read.map(Transport::Icmp).map_err(TransportFault::Icmp)
            }
            _ => Ok(Transport::Other),
        }
    }
}

/// Bytes of layer-4 header and data at most: how long its datagram is, a first fragment does not say.
#[inline(always)]
fn most_bytes(ip: &Ipv4) -> u16 {
    if ip.part == Part::Whole { ip.payload_bytes() } else { u16::MAX - u16::from(ip.header_bytes) }
}
