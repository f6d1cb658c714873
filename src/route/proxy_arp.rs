//! ARP towards a client: the firewall stands for every address but the client's own.
//!
//! Nothing is learned from a client: its address comes from the toolstack.

use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::Mac;
use core::net::Ipv4Addr;

/// Why a client's ARP packet gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoArpReply {
    /// It was no question.
    NotARequest,
    /// It asks for the client's own address: a probe whether somebody else has it (RFC 5227).
    OwnAddress,
    /// The sender it names is not the client.
    Spoofed,
}

/// A client as it stands in packets on its own vif.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// Its address.
    pub address: Option<Ipv4Addr>,
}

/// The answer to what a client asked: `mac` has the address.
pub fn answer(request: &Arp, asker: Asker, mac: Mac) -> Result<Arp, NoArpReply> {
    if request.operation != Operation::Request {
        return Err(NoArpReply::NotARequest);
    }
    if Some(request.target) == asker.address {
        return Err(NoArpReply::OwnAddress);
    }
    // A probe names no sender address yet.
    let is_its_own = request.sender == Ipv4Addr::UNSPECIFIED || Some(request.sender) == asker.address;
    if asker.address.is_some() && is_its_own && Some(request.sender_mac) == asker.mac {
        Ok(request.answer(mac))
    } else {
        Err(NoArpReply::Spoofed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = Mac([0, 0x16, 0x3e, 0, 0, 5]);
    const OURS: Mac = Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 1);

    fn ask(sender_mac: Mac, sender: Ipv4Addr, target: Ipv4Addr) -> Result<Arp, NoArpReply> {
        let request =
            Arp { operation: Operation::Request, sender_mac, sender, target_mac: Mac([0; 6]), target };
        answer(&request, Asker { mac: Some(MAC), address: Some(CLIENT) }, OURS)
    }

    #[test]
    fn a_1_every_address_but_the_client_s_is_answered() {
        let reply = ask(MAC, CLIENT, OTHER).unwrap();
        assert_eq!((reply.sender, reply.sender_mac, reply.target), (OTHER, OURS, CLIENT));
        assert_eq!(ask(MAC, CLIENT, CLIENT), Err(NoArpReply::OwnAddress));
    }

    #[test]
    fn a_2_a_probe_for_the_own_address_is_left_unanswered() {
        assert_eq!(ask(MAC, Ipv4Addr::UNSPECIFIED, CLIENT), Err(NoArpReply::OwnAddress));
        assert!(ask(MAC, Ipv4Addr::UNSPECIFIED, OTHER).is_ok());
    }

    #[test]
    fn a_3_spoofed_senders_get_no_answer() {
        assert_eq!(ask(Mac([1; 6]), CLIENT, OTHER), Err(NoArpReply::Spoofed));
        assert_eq!(ask(MAC, Ipv4Addr::new(10, 137, 0, 6), OTHER), Err(NoArpReply::Spoofed));
    }

    #[test]
    fn a_3_a_client_without_an_address_gets_no_answer() {
        let request = Arp {
            operation: Operation::Request,
            sender_mac: MAC,
            sender: CLIENT,
            target_mac: Mac([0; 6]),
            target: OTHER,
        };
        let asker = Asker { mac: Some(MAC), address: None };
        assert_eq!(answer(&request, asker, OURS), Err(NoArpReply::Spoofed));
        let probe = Arp { sender: Ipv4Addr::UNSPECIFIED, ..request };
        assert_eq!(answer(&probe, asker, OURS), Err(NoArpReply::Spoofed));
    }
}
