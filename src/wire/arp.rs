//! ARP for IPv4 over Ethernet (RFC 826): 28 bytes, read and made.

use super::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use core::net::Ipv4Addr;
use smoltcp::wire::{ArpOperation, ArpPacket, ArpRepr, EthernetAddress};

/// Bytes of an ARP packet for IPv4 over Ethernet.
pub const ARP_BYTES: usize = 28;

/// Bytes of a frame that holds one.
pub const ARP_FRAME_BYTES: usize = HEADER_BYTES + ARP_BYTES;

/// What an ARP packet wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target address?
    Request,
    /// The sender has the sender address.
    Reply,
}

/// An ARP packet for IPv4 over Ethernet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// Request or reply.
    pub operation: Operation,
    /// Ethernet address of the sender, as it claims.
    pub sender_mac: Mac,
    /// IPv4 address of the sender, as it claims; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// Ethernet address of the target; without meaning in a request.
    pub target_mac: Mac,
    /// IPv4 address that is asked for, or of whoever asked.
    pub target: Ipv4Addr,
}

/// Bytes that are no ARP packet for IPv4 over Ethernet: too short, another kind of address, or neither request
/// nor reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotArp;

impl Arp {
    /// Reads the payload of a frame of type ARP; padding after the packet is ignored.
    pub fn read(payload: &[u8]) -> Result<Arp, NotArp> {
        let packet = ArpPacket::new_checked(payload).map_err(|_| NotArp)?;
        let Ok(ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_hardware_addr,
            target_protocol_addr,
        }) = ArpRepr::parse(&packet)
        else {
            return Err(NotArp);
        };
        Ok(Arp {
            operation: match operation {
                ArpOperation::Request => Operation::Request,
                ArpOperation::Reply => Operation::Reply,
                ArpOperation::Unknown(_) => return Err(NotArp),
            },
            sender_mac: Mac(source_hardware_addr.0),
            sender: source_protocol_addr,
            target_mac: Mac(target_hardware_addr.0),
            target: target_protocol_addr,
        })
    }

    /// Asks who has `target`.
    pub const fn request(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Arp {
        Arp { operation: Operation::Request, sender_mac, sender, target_mac: Mac::UNKNOWN, target }
    }

    /// Tells everybody that `sender_mac` has `sender`: a gratuitous request (RFC 5227, 2.3).
    pub const fn announcement(sender_mac: Mac, sender: Ipv4Addr) -> Arp {
        Self::request(sender_mac, sender, sender)
    }

    /// Answers this request: `mac` has the address it asks for.
    pub const fn answer(&self, mac: Mac) -> Arp {
        Arp {
            operation: Operation::Reply,
            sender_mac: mac,
            sender: self.target,
            target_mac: self.sender_mac,
            target: self.sender,
        }
    }

    /// Whether it asks for an address without claiming one (RFC 5227, 1.1).
    pub const fn is_probe(&self) -> bool {
        matches!(self.operation, Operation::Request) && self.sender.is_unspecified()
    }

    /// The packet as it is sent.
    pub fn to_bytes(&self) -> [u8; ARP_BYTES] {
        let mut bytes = [0; ARP_BYTES];
        let repr = ArpRepr::EthernetIpv4 {
            operation: match self.operation {
                Operation::Request => ArpOperation::Request,
                Operation::Reply => ArpOperation::Reply,
            },
            source_hardware_addr: EthernetAddress(self.sender_mac.0),
            source_protocol_addr: self.sender,
            target_hardware_addr: EthernetAddress(self.target_mac.0),
            target_protocol_addr: self.target,
        };
        repr.emit(&mut ArpPacket::new_unchecked(&mut bytes));
        bytes
    }

    /// The whole frame: requests go to everybody, replies to whoever asked.
    pub fn to_frame(&self) -> [u8; ARP_FRAME_BYTES] {
        let destination = match self.operation {
            Operation::Request => Mac::BROADCAST,
            Operation::Reply => self.target_mac,
        };
        let header = Header { destination, source: self.sender_mac, ether_type: EtherType::ARP };
        let mut frame = [0; ARP_FRAME_BYTES];
        let bytes = header.to_bytes().into_iter().chain(self.to_bytes());
        for (to, from) in frame.iter_mut().zip(bytes) {
            *to = from;
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const PEER: Mac = Mac([2, 0, 0, 0, 0, 9]);
    const US: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    #[test]
    fn a_request_is_laid_out_as_rfc_826_says() {
        let frame = Arp::request(OURS, US, GATEWAY).to_frame();
        #[rustfmt::skip]
        assert_eq!(frame, [
            255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6,
            0, 1, 8, 0, 6, 4, 0, 1,
            2, 0, 0, 0, 0, 1, 10, 0, 0, 2,
            0, 0, 0, 0, 0, 0, 10, 0, 0, 1,
        ]);
    }

    #[test]
    fn an_answer_goes_back_to_whoever_asked() {
        let answer = Arp::request(PEER, GATEWAY, US).answer(OURS);
        assert_eq!((answer.sender, answer.sender_mac), (US, OURS));
        assert_eq!((answer.target, answer.target_mac), (GATEWAY, PEER));
        assert_eq!(&answer.to_frame()[..6], PEER.0);
    }

    #[test]
    fn packets_are_read_as_they_are_written_and_padding_is_ignored() {
        let answer = Arp::request(PEER, GATEWAY, US).answer(OURS);
        let mut padded = [0xaa; 46];
        padded[..28].copy_from_slice(&answer.to_bytes());
        assert_eq!(Arp::read(&padded), Ok(answer));
    }

    #[test]
    fn other_sizes_kinds_and_operations_are_refused() {
        let good = Arp::request(OURS, US, GATEWAY).to_bytes();
        assert_eq!(Arp::read(&good[..27]), Err(NotArp));
        for (at, value) in [(1, 6), (2, 0x86), (4, 8), (5, 16), (7, 0), (7, 3), (6, 1)] {
            let mut wrong = [0; 64];
            wrong[..28].copy_from_slice(&good);
            wrong[at] = value;
            assert_eq!(Arp::read(&wrong), Err(NotArp), "byte {at} = {value}");
        }
    }

    #[test]
    fn probes_claim_no_address() {
        assert!(Arp::request(OURS, Ipv4Addr::UNSPECIFIED, US).is_probe());
        assert!(!Arp::announcement(OURS, US).is_probe());
    }
}
