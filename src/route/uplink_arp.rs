//! ARP from the uplink's network: what of it is believed, and what is answered.
//!
//! As RFC 826 has it, what a packet says of its sender is taken in before its opcode is looked at; announcements are
//! requests (RFC 5227 section 3). Only hops that are in use are listened to ([`crate::route::neighbour`]).
//!
//! The Ethernet source is not compared with the sender's address in the packet: routers that share an address answer with
//! one that is not their own (VRRP, RFC 5798 section 8.1.2), and who forges one forges both.

use crate::route::neighbour::binding::ArpOrigin;
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::Mac;
use core::net::Ipv4Addr;

/// Who we are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Us {
    /// Our address.
    pub address: Ipv4Addr,
    /// Our Ethernet address.
    pub mac: Mac,
}

/// What there is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The sender is where the packet says. `None` of a probe, which has no address yet (RFC 5227 section 2.1).
    pub claim: Option<ArpOrigin>,
    /// To be sent back.
    pub answer: Option<Arp>,
}

/// Why nothing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArpRefusal {
    /// It is for another host.
    NotForUs,
    /// It claims an address of a client's or ours, or an Ethernet address that is ours or no host's (RFC 1812 section
    /// 3.3.2).
    Spoofed,
}

/// Judges an ARP packet that was sent to the Ethernet address `destination`. `is_client` says which addresses are
/// clients'.
pub fn hear(
    arp: &Arp,
    destination: Mac,
    us: Us,
    is_client: impl FnOnce(Ipv4Addr) -> bool,
) -> Result<Heard, ArpRefusal> {
    if destination != us.mac && !destination.is_group() {
        return Err(ArpRefusal::NotForUs);
    }
    let is_host = arp.sender_mac.is_host() && arp.sender_mac != us.mac;
    if !is_host || arp.sender == us.address || is_client(arp.sender) {
        return Err(ArpRefusal::Spoofed);
    }
    let is_answer = arp.operation == Operation::Reply && destination == us.mac;
    let claim = if is_answer { ArpOrigin::Reply } else { ArpOrigin::Unasked };
    let asks_us = arp.operation == Operation::Request && arp.target == us.address;
    Ok(Heard {
        claim: (!arp.sender.is_unspecified()).then_some(claim),
        answer: asks_us.then(|| arp.answer(us.mac)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Us = Us { address: Ipv4Addr::new(10, 0, 0, 2), mac: Mac([0, 0x16, 0x3e, 0, 0, 1]) };
    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const ROUTER: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);

    fn says(
        operation: Operation,
        sender: (Ipv4Addr, Mac),
        target: Ipv4Addr,
        to: Mac,
    ) -> Result<Heard, ArpRefusal> {
        let (sender, sender_mac) = sender;
        let arp = Arp { operation, sender_mac, sender, target_mac: Mac([0; 6]), target };
        hear(&arp, to, US, |address| address == CLIENT)
    }

    fn claims(operation: Operation, target: Ipv4Addr, to: Mac) -> Option<ArpOrigin> {
        says(operation, (GATEWAY, ROUTER), target, to).ok()?.claim
    }

    #[test]
    fn a_8_requests_announcements_and_replies_all_tell_where_their_sender_is() {
        let everybody = Mac::BROADCAST;
        assert_eq!(claims(Operation::Reply, US.address, US.mac), Some(ArpOrigin::Reply));
        assert_eq!(claims(Operation::Reply, GATEWAY, everybody), Some(ArpOrigin::Unasked));
        assert_eq!(claims(Operation::Request, GATEWAY, everybody), Some(ArpOrigin::Unasked));
        assert_eq!(claims(Operation::Request, US.address, US.mac), Some(ArpOrigin::Unasked));
        assert_eq!(
            claims(Operation::Request, Ipv4Addr::new(10, 0, 0, 77), everybody),
            Some(ArpOrigin::Unasked)
        );
    }

    #[test]
    fn questions_for_our_address_are_answered_probes_too_and_no_others() {
        let ask =
            |sender, target| says(Operation::Request, (sender, ROUTER), target, Mac::BROADCAST).unwrap();
        let answer = ask(GATEWAY, US.address).answer.unwrap();
        assert_eq!((answer.sender, answer.sender_mac), (US.address, US.mac));
        assert_eq!((answer.target, answer.target_mac), (GATEWAY, ROUTER));
        assert_eq!(ask(GATEWAY, GATEWAY).answer, None);
        let probe = ask(Ipv4Addr::UNSPECIFIED, US.address);
        assert!(probe.answer.is_some() && probe.claim.is_none());
    }

    #[test]
    fn a_8_nobody_claims_what_is_ours_or_a_client_s() {
        for operation in [Operation::Request, Operation::Reply] {
            for sender in [(CLIENT, ROUTER), (US.address, ROUTER), (GATEWAY, US.mac)] {
                assert_eq!(says(operation, sender, US.address, US.mac), Err(ArpRefusal::Spoofed));
            }
        }
    }

    #[test]
    fn a_8_an_address_that_no_host_has_is_not_believed() {
        for mac in [Mac::BROADCAST, Mac([0; 6]), Mac([1, 0, 0x5e, 0, 0, 1])] {
            assert_eq!(says(Operation::Reply, (GATEWAY, mac), US.address, US.mac), Err(ArpRefusal::Spoofed));
        }
        let backend = Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert!(says(Operation::Reply, (GATEWAY, backend), US.address, US.mac).is_ok());
    }

    #[test]
    fn what_a_bridge_floods_to_everybody_is_not_for_us() {
        let other = Mac([2, 0, 0, 0, 0, 7]);
        let heard = says(Operation::Reply, (GATEWAY, ROUTER), US.address, other);
        assert_eq!(heard, Err(ArpRefusal::NotForUs));
    }
}
