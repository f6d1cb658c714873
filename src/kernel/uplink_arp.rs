//! ARP on the uplink: what is told is taken in, questions for our address are answered.

use super::egress::EgressContext;
use crate::base::drop_reason::DropReason;
use crate::route::uplink_arp::{self, ArpRefusal, Heard, Us};
use crate::vif::frame::Frame;
use crate::wire::arp::Arp;
use crate::wire::ethernet::{HEADER_BYTES, Header, Mac};

/// ARP from the uplink: what it tells is taken in, questions for our address are answered.
pub(super) fn answer(frame: Frame, mac: Mac, context: &mut EgressContext<'_>) {
    let header = Header::read(frame.head());
    let arp = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
    frame.release(context.pages);
    let (Some(header), Some(arp), Some(route)) = (header, arp, context.egress.route()) else {
        return context.egress.drops.count(DropReason::ArpUnanswered);
    };
    let us = Us { address: route.address().address(), mac };
    let clients = &context.egress.vifs.clients;
    match uplink_arp::hear(&arp, header.destination, us, |address| clients.owns(address)) {
        Ok(Heard { claim, answer }) => {
            let now = context.now;
            if let Some(claim) = claim {
                context.with_neighbours(|neighbours, output| {
                    neighbours.learn(arp.sender, arp.sender_mac, claim, now, output);
                });
            }
            if let Some(answer) = answer {
                context.arp(&answer, answer.target_mac);
            }
        }
        Err(ArpRefusal::NotForUs) => context.egress.drops.count(DropReason::OtherHost),
        Err(ArpRefusal::Spoofed) => context.egress.drops.count(DropReason::SpoofedUplink),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prefix::Ipv4Prefix;
    use crate::base::time::Moment;
    use crate::config::uplink_route::UplinkRoute;
    use crate::kernel::egress::Egress;
    use crate::route::neighbour::{NeighbourEffect, NeighbourOutput, Solicited};
    use crate::tables::share::Account;
    use crate::wire::arp::Operation;
    use crate::xen::charge::Charge;
    use crate::xen::page::on_heap;
    use crate::xen::page_pool::PagePool;
    use core::net::Ipv4Addr;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
    const MAC: Mac = Mac([6; 6]);
    const OLD: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const NEW: Mac = Mac([2, 0, 0, 0, 0, 2]);

    fn says(
        operation: Operation,
        sender_mac: Mac,
        target: Ipv4Addr,
        to: Mac,
        context: &mut EgressContext<'_>,
    ) {
        let arp = Arp { operation, sender_mac, sender: GATEWAY, target_mac: Mac([0; 6]), target };
        let page = context.pages.take(Charge::UPLINK).unwrap();
        let frame = Frame::with_bytes(page, &arp.frame(to), context.pages).unwrap();
        answer(frame, MAC, context);
    }

    /// Sends a packet to the gateway, and says where it goes if it does.
    fn goes_to(context: &mut EgressContext<'_>) -> Option<Mac> {
        let page = context.pages.take(Charge::UPLINK).unwrap();
        let frame = Frame::with_packet(page, &[0x45; 40], context.pages).unwrap();
        let mut last = Last(None);
        context.egress.neighbours.resolve(GATEWAY, frame, context.now, &mut last);
        last.0
    }

    /// Where the last packet went.
    struct Last(Option<Mac>);

    impl NeighbourOutput<Frame> for Last {
        fn ask(&mut self, _: Ipv4Addr, _: Account) -> Solicited {
            Solicited::Yes
        }

        fn emit(&mut self, event: NeighbourEffect<Frame>) {
            if let NeighbourEffect::Send(mac, _) = event {
                self.0 = Some(mac);
            }
        }
    }

    /// Where packets for the gateway go after it answered as `OLD` and then said something else.
    fn gateway_is_at(operation: Operation, mac: Mac, target: Ipv4Addr, to: Mac) -> Option<Mac> {
        let address = Ipv4Prefix::new(OURS, 24).unwrap();
        let mut egress = Egress::new(UplinkRoute::new(address, GATEWAY).ok());
        let mut pages = PagePool::with_capacity(32);
        (0..32).for_each(|_| pages.add(on_heap::page()));
        let now = Moment::from_nanoseconds(5_000_000_000);
        let mut context = EgressContext { egress: &mut egress, pages: &mut pages, now };
        assert_eq!(goes_to(&mut context), None);
        says(Operation::Reply, OLD, OURS, MAC, &mut context);
        says(operation, mac, target, to, &mut context);
        goes_to(&mut context)
    }

    #[test]
    fn a_8_an_announcement_moves_the_gateway() {
        assert_eq!(gateway_is_at(Operation::Request, NEW, GATEWAY, Mac::BROADCAST), Some(NEW));
    }

    #[test]
    fn a_8_an_unasked_reply_moves_the_gateway() {
        assert_eq!(gateway_is_at(Operation::Reply, NEW, GATEWAY, Mac::BROADCAST), Some(NEW));
    }

    #[test]
    fn a_8_a_question_of_the_gateway_s_moves_it() {
        assert_eq!(gateway_is_at(Operation::Request, NEW, OURS, Mac::BROADCAST), Some(NEW));
        let another = Ipv4Addr::new(10, 0, 0, 77);
        assert_eq!(gateway_is_at(Operation::Request, NEW, another, Mac::BROADCAST), Some(NEW));
    }

    #[test]
    fn a_8_what_no_gateway_says_does_not_move_it() {
        for mac in [MAC, Mac::BROADCAST, Mac([0; 6])] {
            assert_eq!(gateway_is_at(Operation::Reply, mac, OURS, MAC), Some(OLD));
        }
        assert_eq!(gateway_is_at(Operation::Reply, NEW, OURS, Mac([2; 6])), Some(OLD));
    }
}
