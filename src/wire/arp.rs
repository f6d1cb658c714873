//! ARP for IPv4 over Ethernet (RFC 826), on smoltcp's wire format.

use super::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use core::net::Ipv4Addr;
use smoltcp::wire::{ArpHardware, ArpOperation, ArpPacket, EthernetProtocol};

/// Bytes of an ARP packet without the frame header.
const ARP_BYTES: usize = 28;

/// Bytes of a frame with an ARP packet.
pub const FRAME_BYTES: usize = HEADER_BYTES + ARP_BYTES;

/// Question or answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Question or answer.
    pub operation: Operation,
    /// Who says it.
    pub sender_mac: Mac,
    /// Zero in an address probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// Unset in a request.
    pub target_mac: Mac,
    /// Who is asked for.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads the packet behind a frame header; `None` when it is not ARP for IPv4 over Ethernet.
    pub fn read(packet: &[u8]) -> Option<Self> {
        let packet = ArpPacket::new_checked(packet).ok()?;
        let lengths = (packet.hardware_len(), packet.protocol_len());
        let types = (packet.hardware_type(), packet.protocol_type());
        if lengths != (6, 4) || types != (ArpHardware::Ethernet, EthernetProtocol::Ipv4) {
            return None;
        }
        let mac = |bytes: &[u8]| bytes.try_into().ok().map(Mac);
        let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
        Some(Self {
            operation: match packet.operation() {
                ArpOperation::Request => Operation::Request,
                ArpOperation::Reply => Operation::Reply,
                ArpOperation::Unknown(_) => return None,
            },
            sender_mac: mac(packet.source_hardware_addr())?,
            sender: address(packet.source_protocol_addr())?,
            target_mac: mac(packet.target_hardware_addr())?,
            target: address(packet.target_protocol_addr())?,
        })
    }

    /// A whole frame with the packet, to `destination`.
    pub fn frame(&self, destination: Mac) -> [u8; FRAME_BYTES] {
        let mut frame = [0; FRAME_BYTES];
        let header = Header { destination, source: self.sender_mac, ether_type: EtherType::Arp };
        header.write(&mut frame);
        let mut packet = ArpPacket::new_unchecked(&mut frame[HEADER_BYTES..]);
        packet.set_hardware_type(ArpHardware::Ethernet);
        packet.set_protocol_type(EthernetProtocol::Ipv4);
        packet.set_hardware_len(6);
        packet.set_protocol_len(4);
        packet.set_operation(match self.operation {
            Operation::Request => ArpOperation::Request,
            Operation::Reply => ArpOperation::Reply,
        });
        packet.set_source_hardware_addr(&self.sender_mac.0);
        packet.set_source_protocol_addr(&self.sender.octets());
        packet.set_target_hardware_addr(&self.target_mac.0);
        packet.set_target_protocol_addr(&self.target.octets());
        frame
    }

    /// The answer to a request: `mac` has the address that was asked for.
    pub fn answer(&self, mac: Mac) -> Arp {
        Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Arp = Arp {
        operation: Operation::Request,
        sender_mac: Mac([2, 0, 0, 0, 0, 1]),
        sender: Ipv4Addr::new(10, 137, 0, 5),
        target_mac: Mac([0; 6]),
        target: Ipv4Addr::new(10, 137, 0, 1),
    };

    #[test]
    fn frame_is_rfc_826_s() {
        let frame = REQUEST.frame(Mac::BROADCAST);
        assert_eq!(
            frame[..22],
            [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1]
        );
        assert_eq!(Arp::read(&frame[14..]), Some(REQUEST));
    }

    #[test]
    fn answer_names_what_was_asked_for() {
        let answer = REQUEST.answer(Mac([9; 6]));
        assert_eq!((answer.sender_mac, answer.sender), (Mac([9; 6]), REQUEST.target));
        assert_eq!((answer.target_mac, answer.target), (REQUEST.sender_mac, REQUEST.sender));
    }

    #[test]
    fn anything_else_is_not_arp_for_ipv4() {
        let frame = REQUEST.frame(Mac::BROADCAST);
        assert_eq!(Arp::read(&frame[14..41]), None);
        // Hardware type, protocol type, lengths, operation.
        for (byte, value) in [(0, 1), (2, 0x86), (4, 5), (5, 16), (7, 3), (6, 1)] {
            let mut packet: [u8; 28] = frame[14..].try_into().unwrap();
            packet[byte] = value;
            assert_eq!(Arp::read(&packet), None, "byte {byte}");
        }
    }
}
