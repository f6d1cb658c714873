//! Where packets leave: the vif chosen, the next hop found, Ethernet made anew.

use super::vifs::Vifs;
use crate::base::drop_reason::{DropCounts, DropReason};
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::config::uplink_route::UplinkRoute;
use crate::engine::Output;
use crate::engine::own_datagram::OwnDatagram;
use crate::route::fragmentation;
use crate::route::neighbour::{NeighbourEffect, NeighbourOutput, Neighbours, Solicited, waiting};
use crate::tables::share::Account;
use crate::vif::features::Support;
use crate::vif::frame::{CannotSegment, Complete, Frame};
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{EtherType, Header, Mac};
use crate::wire::ipv4::Ipv4;
use crate::wire::packet::Packet;
use crate::xen::charge::{Charge, OWN_PAGES};
use crate::xen::page_pool::PagePool;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The Ethernet address that every client sees as its gateway's: the one that Xen's backends use.
pub const GATEWAY_MAC: Mac = Mac([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

// Our own packets that wait for next hops are on the uplink's account: they must leave pages for ARP requests.
const _: () = assert!(waiting::PAGES.per_account <= OWN_PAGES * 3 / 4);

/// The vifs, and what is needed to send through them.
pub struct Egress {
    /// The vifs.
    pub vifs: Vifs,
    /// Who is where on the uplink.
    pub neighbours: Neighbours<Frame>,
    /// Our address and the gateway on the uplink, as the control plane last told. `None`: nothing goes there.
    route: Option<UplinkRoute>,
    /// Frames whose next hop does not answer: the engine is to tell their senders.
    pub undeliverable: Vec<Frame>,
    /// The datagram to a port of ours that was judged last, with its payload. It is looked at before the next packet is, so
    /// that nobody else's displaces it.
    pub received: Option<(OwnDatagram, Box<[u8]>)>,
    /// What did not leave.
    pub drops: DropCounts,
}

impl Egress {
    /// No vif yet; `route` says how things are on the uplink.
    pub fn new(route: Option<UplinkRoute>) -> Self {
        Self {
            vifs: Vifs::default(),
            neighbours: Neighbours::new(gateway_of(route), GATEWAY_MAC),
            route,
            undeliverable: Vec::with_capacity(waiting::PAGES.total as usize),
            received: None,
            drops: DropCounts::default(),
        }
    }

    /// How packets leave by the uplink.
    pub fn route(&self) -> Option<UplinkRoute> {
        self.route
    }

    /// Replaces the addresses on the uplink. What is known of neighbours there is to be cleared.
    pub fn set_route(&mut self, route: Option<UplinkRoute>) {
        self.route = route;
        self.neighbours.set_gateway(gateway_of(route));
    }
}

/// The gateway that neighbours are to know; without a route nothing is sent to it.
fn gateway_of(route: Option<UplinkRoute>) -> Ipv4Addr {
    route.map_or(Ipv4Addr::UNSPECIFIED, |route| route.gateway())
}

/// The egress together with the pages and the time that sending needs.
pub struct EgressContext<'a> {
    /// The vifs, and what is needed to send through them.
    pub egress: &'a mut Egress,
    /// Where frames' pages come from and go back to.
    pub pages: &'a mut PagePool,
    /// The present.
    pub now: Moment,
}

impl EgressContext<'_> {
    /// Drops a frame: counts why, and gives its pages back.
    pub fn drop_frame(&mut self, frame: Frame, why: DropReason) {
        self.egress.drops.count(why);
        frame.release(self.pages);
    }

    fn queue_for_client(&mut self, slot: ClientSlot, mut frame: Frame) {
        let now = self.now;
        let Egress { vifs, drops, .. } = &mut *self.egress;
        let target = vifs.clients.vif(slot).and_then(|vif| Some((vif.identity().mac()?, vif.netback()?)));
        let Some((mac, netback)) = target else { return self.drop_frame(frame, DropReason::NoClient) };
        let header = Header { destination: mac, source: GATEWAY_MAC, ether_type: EtherType::Ipv4 };
        let takes = netback.features().accept(frame.offload());
        // The segments are charged to the account that the frame is on, which is to be the receiver's.
        if takes == Support::No && frame.recharge(netback.charges().waiting(), self.pages) == Complete::No {
            return netback.refuse(frame, self.pages);
        }
        let mut send = |mut frame: Frame, pages: &mut PagePool| {
            header.write(frame.ethernet_mut());
            netback.send(frame, pages, now);
        };
        match takes {
            Support::Yes => send(frame, self.pages),
            Support::No => segment(frame, self.pages, drops, send),
        }
    }

    fn queue_for_uplink(&mut self, frame: Frame, destination: Ipv4Addr) {
        let Some(route) = self.egress.route else {
            return self.drop_frame(frame, DropReason::NoUplink);
        };
        let now = self.now;
        self.with_neighbours(|neighbours, output| {
            neighbours.resolve(route.next_hop(destination), frame, now, output);
        });
    }

    fn queue(&mut self, to: Side, frame: Frame, destination: Ipv4Addr) {
        match to {
            Side::Uplink => self.queue_for_uplink(frame, destination),
            Side::Client(slot) => self.queue_for_client(slot, frame),
        }
    }

    /// Runs `act` on the neighbour table and does what it asks for.
    pub fn with_neighbours(
        &mut self,
        act: impl FnOnce(&mut Neighbours<Frame>, &mut dyn NeighbourOutput<Frame>),
    ) {
        let Egress { vifs, neighbours, route, undeliverable, drops, .. } = &mut *self.egress;
        let pages = &mut *self.pages;
        act(neighbours, &mut Outgoing { vifs, route, undeliverable, drops, pages });
    }

    /// Sends an ARP packet of the firewall's own to the uplink.
    pub fn arp(&mut self, arp: &Arp, destination: Mac) {
        let Egress { vifs, drops, .. } = &mut *self.egress;
        send_arp(vifs, arp, destination, (Charge::OWN, Account::UPLINK), self.pages, drops);
    }

    /// Sends an ARP packet to a client.
    pub fn arp_to_client(&mut self, slot: ClientSlot, arp: &Arp) {
        let target = self.egress.vifs.clients.vif(slot).and_then(|vif| Some((vif.account(), vif.netback()?)));
        let Some((account, netback)) = target else {
            return self.egress.drops.count(DropReason::NoClient);
        };
        let page = self.pages.take(netback.charges().waiting());
        match page.and_then(|page| Frame::with_bytes(page, &arp.frame(arp.target_mac), self.pages)) {
            Some(mut frame) => {
                frame.charge_to(account);
                netback.send(frame, self.pages, self.now);
            }
            None => self.egress.drops.count(DropReason::NoPage),
        }
    }

    /// Who pays for a packet of our own to `to`: for its page an account of the pool, for its turn in a queue an
    /// account of the engine.
    fn payer_of_answer(&mut self, to: Side) -> Option<(Charge, Account)> {
        let Side::Client(slot) = to else { return Some((Charge::OWN, Account::UPLINK)) };
        let vif = self.egress.vifs.clients.vif(slot)?;
        let account = vif.account();
        Some((vif.netback()?.charges().waiting(), account))
    }

    /// Tells the uplink's network where our address is, by gratuitous ARP (RFC 5227 section 3).
    pub fn announce_address(&mut self) {
        let Egress { vifs, route, .. } = &*self.egress;
        if let (Some(uplink), Some(route)) = (&vifs.uplink, route) {
            let address = route.address().address();
            let arp = Arp {
                operation: Operation::Request,
                sender_mac: uplink.mac(),
                sender: address,
                target_mac: Mac([0; 6]),
                target: address,
            };
            self.arp(&arp, Mac::BROADCAST);
        }
    }
}

impl Output<Frame> for EgressContext<'_> {
    #[inline(always)]
    fn admit(&mut self, from: Side, frame: &mut Frame, ip: &Ipv4) -> Result<(), DropReason> {
        if from == Side::Uplink && self.egress.vifs.clients.owns(ip.source) {
            return Err(DropReason::SpoofedUplink);
        }
        frame.note_header(from, ip, self.pages).map_err(|CannotSegment| DropReason::Segmentation)
    }

    fn forward(&mut self, to: Side, frame: Frame, destination: Ipv4Addr) {
        self.queue(to, frame, destination);
    }

    fn reply(&mut self, to: Side, packet: &[u8], destination: Ipv4Addr) {
        // It goes back to whoever caused it.
        let Some((charge, account)) = self.payer_of_answer(to) else {
            return self.egress.drops.count(DropReason::NoClient);
        };
        let page = self.pages.take(charge);
        match page.and_then(|page| Frame::with_packet(page, packet, self.pages)) {
            Some(mut frame) => {
                frame.charge_to(account);
                self.queue(to, frame, destination);
            }
            None => self.egress.drops.count(DropReason::NoPage),
        }
    }

    fn fragment(&mut self, to: Side, mut frame: Frame, ip: &Ipv4, mtu: u16) {
        // A receiver that gets only pieces cannot complete a blank checksum.
        frame.complete_checksum();
        let Ok(pieces) = fragmentation::fragments(frame.header(), ip, mtu) else {
            return self.drop_frame(frame, DropReason::TooBig);
        };
        for piece in pieces {
            match frame.piece(piece.header(), piece.payload.clone(), self.pages) {
                Some(fragment) => self.queue(to, fragment, ip.destination),
                None => self.egress.drops.count(DropReason::NoPage),
            }
        }
        frame.release(self.pages);
    }

    fn receive(&mut self, frame: Frame, datagram: OwnDatagram) {
        let payload = frame.header().get(datagram.begin.into()..datagram.end.into());
        self.egress.received = payload.map(|payload| (datagram, payload.into()));
        frame.release(self.pages);
    }

    fn discard(&mut self, frame: Frame, _: DropReason) {
        // The engine has counted it.
        frame.release(self.pages);
    }
}

fn transmit(vifs: &mut Vifs, mac: Mac, frame: Frame, pages: &mut PagePool, drops: &mut DropCounts) {
    let Some((source, netfront)) =
        vifs.uplink.as_mut().and_then(|uplink| Some((uplink.mac(), uplink.netfront()?)))
    else {
        drops.count(DropReason::NoUplink);
        return frame.release(pages);
    };
    let header = Header { destination: mac, source, ether_type: EtherType::Ipv4 };
    let takes = netfront.features().accept(frame.offload());
    let mut send = |mut frame: Frame, pages: &mut PagePool| {
        header.write(frame.ethernet_mut());
        netfront.send(frame, pages);
    };
    match takes {
        Support::Yes => send(frame, pages),
        Support::No => segment(frame, pages, drops, send),
    }
}

/// Segments a frame for a receiver that cannot do it, and hands each segment to `send`.
fn segment(
    mut frame: Frame,
    pages: &mut PagePool,
    drops: &mut DropCounts,
    send: impl FnMut(Frame, &mut PagePool),
) {
    if frame.segment(pages, send) == Complete::No {
        drops.count(DropReason::NoPage);
    }
    frame.release(pages);
}

/// Does what the neighbour table asks for, with all that this takes.
struct Outgoing<'a> {
    vifs: &'a mut Vifs,
    route: &'a Option<UplinkRoute>,
    undeliverable: &'a mut Vec<Frame>,
    drops: &'a mut DropCounts,
    pages: &'a mut PagePool,
}

impl Outgoing<'_> {
    fn lose(&mut self, frame: Frame, why: DropReason) {
        self.drops.count(why);
        frame.release(self.pages);
    }
}

impl NeighbourOutput<Frame> for Outgoing<'_> {
    fn ask(&mut self, target: Ipv4Addr, asker: Account) -> Solicited {
        let Some((device, route)) = self.vifs.uplink.as_ref().zip(*self.route) else { return Solicited::No };
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: device.mac(),
            sender: route.address().address(),
            target_mac: Mac([0; 6]),
            target,
        };
        let sent = |client| self.vifs.clients.rings_on(client).map(|netback| netback.charges().sent());
        // Nothing of a client that has left waits.
        let Some(payer) = payer_of_question(asker, sent) else { return Solicited::No };
        match send_arp(self.vifs, &arp, Mac::BROADCAST, payer, self.pages, self.drops) {
            Complete::Yes => Solicited::Yes,
            Complete::No => Solicited::No,
        }
    }

    fn emit(&mut self, event: NeighbourEffect<Frame>) {
        match event {
            NeighbourEffect::Send(mac, frame) => {
                transmit(self.vifs, mac, frame, self.pages, self.drops);
            }
            NeighbourEffect::Unreachable(frame) => self.undeliverable.push(frame),
            NeighbourEffect::Displaced(frame) => self.lose(frame, DropReason::NeighbourQueueFull),
            NeighbourEffect::Abandoned(frame) => self.lose(frame, DropReason::Detached),
        }
    }
}

/// Who pays for an ARP request that `asker` causes: for its page an account of the pool, for its turn in a queue an
/// account of the engine. `sent` gives the pool's account for what a client sends; `None` if the client has left.
fn payer_of_question(
    asker: Account,
    sent: impl FnOnce(Account) -> Option<Charge>,
) -> Option<(Charge, Account)> {
    let charge = if asker == Account::UPLINK { Charge::OWN } else { sent(asker)? };
    Some((charge, asker))
}

/// Sends an ARP packet to the uplink: `charge` pays for its page, `account` for its turn in the queue.
fn send_arp(
    vifs: &mut Vifs,
    arp: &Arp,
    destination: Mac,
    (charge, account): (Charge, Account),
    pages: &mut PagePool,
    drops: &mut DropCounts,
) -> Complete {
    let Some(netfront) = vifs.netfront() else {
        drops.count(DropReason::NoUplink);
        return Complete::No;
    };
    match pages.take(charge).and_then(|page| Frame::with_bytes(page, &arp.frame(destination), pages)) {
        Some(mut frame) => {
            frame.charge_to(account);
            netfront.send(frame, pages)
        }
        None => {
            drops.count(DropReason::NoPage);
            Complete::No
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::DomainId;

    #[test]
    fn s_4_a_question_is_on_the_accounts_of_whoever_wants_to_know() {
        let client = Account::client(ClientSlot(3));
        let sent = PagePool::with_capacity(8).open(DomainId(7)).unwrap().sent();
        assert_eq!(payer_of_question(client, |_| Some(sent)), Some((sent, client)));
        assert_eq!(payer_of_question(client, |_| None), None);
        assert_eq!(payer_of_question(Account::UPLINK, |_| None), Some((Charge::OWN, Account::UPLINK)));
    }
}
