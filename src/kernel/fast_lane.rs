//! Packets that pass where they lie, past queues that are empty: by the fast path of the engine or, small ones, by the whole
//! engine.

use super::client_vifs::ClientVifs;
use super::dataplane::DataPlane;
use super::egress::{EgressContext, GATEWAY_MAC};
use crate::base::drop_reason::DropReason;
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::engine::Output;
use crate::engine::passed_packet::PassedPacket;
use crate::engine::small::{Judged, SmallVerdict};
use crate::tables::share::Account;
use crate::vif::frame::{Frame, NoFrame};
use crate::vif::netback::Netback;
use crate::vif::parcel::{Body, Parcel};
use crate::wire::bytes::u32_at;
use crate::wire::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use crate::wire::frame_view::HEAD_BYTES;
use crate::wire::ipv4;
use crate::xen::Xen;
use crate::xen::charge::Charge;
use crate::xen::page_pool::PagePool;
use core::net::Ipv4Addr;

impl DataPlane {
    /// Passes a packet from the uplink where it lies. It comes back, as it was, if it is not for that.
    pub(super) fn pass_from_uplink(
        &mut self,
        mut parcel: Parcel,
        mac: Mac,
        pages: &mut PagePool,
        now: Moment,
    ) -> Option<Parcel> {
        let Some(mut view) = parcel.view(self.exchange.bounces()) else { return Some(parcel) };
        let header = Header::read(view.head);
        let is_ours = header.is_some_and(|it| it.destination == mac && it.ether_type == EtherType::Ipv4);
        if !is_ours || self.egress.vifs.clients.owns(source_of(view.head)) {
            return Some(parcel);
        }
        if let Some(passed) = self.engine.pass_fast_inward(now, &mut view) {
            self.send_inward(parcel, passed, pages, now);
            return None;
        }
        match self.judge_small(&mut parcel, Side::Uplink, now) {
            SmallVerdict::Passed(passed) => self.send_inward(parcel, passed, pages, now),
            SmallVerdict::NotJudged => return Some(parcel),
            SmallVerdict::Judged(judged) => {
                let frame = self.frame_from_uplink(parcel, pages);
                self.finish(judged, frame, Account::UPLINK, pages, now);
                return None;
            }
        }
        self.send_answer(pages, now);
        None
    }

    /// Passes a packet of a client where it lies. It comes back, as it was, if it is not for that.
    pub(super) fn pass_from_client<X: Xen>(
        &mut self,
        slot: ClientSlot,
        mut parcel: Parcel,
        xen: &mut X,
        now: Moment,
    ) -> Option<Parcel> {
        let Some(mut view) = parcel.view(self.exchange.bounces()) else { return Some(parcel) };
        let Some(vif) = self.egress.vifs.clients.vif(slot) else { return Some(parcel) };
        let (source, account) = (vif.identity().mac(), vif.account());
        let Some(charge) = vif.netback().map(|netback| netback.charges().sent()) else { return Some(parcel) };
        let is_its_own = Header::read(view.head).is_some_and(|header| {
            header.destination == GATEWAY_MAC
                && Some(header.source) == source
                && header.ether_type == EtherType::Ipv4
        });
        if !is_its_own {
            return Some(parcel);
        }
        if let Some(passed) = self.engine.pass_fast_outward(now, slot, &mut view) {
            self.send_outward(parcel, passed, (account, charge), xen, now);
            return None;
        }
        match self.judge_small(&mut parcel, Side::Client(slot), now) {
            SmallVerdict::Passed(passed) if passed.exit == Side::Uplink => {
                self.send_outward(parcel, passed, (account, charge), xen, now);
            }
            SmallVerdict::Passed(passed) => {
                self.send_later(parcel, passed, (account, charge), xen.pages(), now);
            }
            SmallVerdict::NotJudged => return Some(parcel),
            SmallVerdict::Judged(judged) => {
                let frame = self.frame_of(slot, parcel, xen.pages());
                self.finish(judged, frame, account, xen.pages(), now);
                return None;
            }
        }
        self.send_answer(xen.pages(), now);
        None
    }

    /// Has the whole engine judge a packet, if it is a small one.
    fn judge_small(&mut self, parcel: &mut Parcel, side: Side, now: Moment) -> SmallVerdict {
        let Body::Bounce(bounce) = &parcel.body else { return SmallVerdict::NotJudged };
        let content = self.exchange.bounces().bytes_mut(bounce);
        let packet = content.and_then(|content| content.get_mut(HEADER_BYTES..parcel.bytes.into()));
        let Some(packet) = packet else { return SmallVerdict::NotJudged };
        self.due = None;
        self.engine.judge_small(now, side, packet, parcel.checksum)
    }

    /// Does with a small packet, which is a frame now, what was decided.
    #[inline(never)]
    fn finish(
        &mut self,
        judged: Judged,
        frame: Result<Frame, NoFrame>,
        account: Account,
        pages: &mut PagePool,
        now: Moment,
    ) {
        // What is no frame is lost and counted, but what it asks for is answered.
        let Ok(mut frame) = frame else { return self.send_answer(pages, now) };
        frame.charge_to(account);
        let mut context = EgressContext { egress: &mut self.egress, pages, now };
        self.engine.finish(judged, frame, &mut context);
    }

    /// Sends the answer to a packet that has passed, if there is one.
    fn send_answer(&mut self, pages: &mut PagePool, now: Moment) {
        self.engine.send_answer(&mut EgressContext { egress: &mut self.egress, pages, now });
    }

    /// Hands a packet from the uplink that has passed to its receiver.
    #[inline(always)]
    fn send_inward(&mut self, mut parcel: Parcel, passed: PassedPacket, pages: &mut PagePool, now: Moment) {
        let receiver = receiver(&mut self.egress.vifs.clients, passed.exit);
        if let Some((slot, destination, netback)) = receiver
            && let Some(view) = parcel.view(self.exchange.bounces())
        {
            Header { destination, source: GATEWAY_MAC, ether_type: EtherType::Ipv4 }.write(view.head);
            parcel.cut(passed.total_bytes);
            match self.exchange.pass(slot, netback, parcel) {
                Ok(()) => return,
                Err(back) => parcel = back,
            }
        }
        self.send_later(parcel, passed, (Account::UPLINK, Charge::UPLINK), pages, now);
    }

    /// Sends a client's packet that has passed to the uplink.
    #[inline(always)]
    fn send_outward<X: Xen>(
        &mut self,
        mut parcel: Parcel,
        passed: PassedPacket,
        payer: (Account, Charge),
        xen: &mut X,
        now: Moment,
    ) {
        let route = self.egress.route();
        let hop =
            route.and_then(|route| self.egress.neighbours.known(route.next_hop(passed.destination), now));
        if let Some(destination) = hop
            && let Some(uplink) = self.egress.vifs.uplink.as_mut()
            && let Some(view) = parcel.view(self.exchange.bounces())
        {
            let source = uplink.mac();
            Header { destination, source, ether_type: EtherType::Ipv4 }.write(view.head);
            parcel.cut(passed.total_bytes);
            if let Some(netfront) = uplink.netfront() {
                match netfront.send_now(parcel, self.exchange.bounces(), xen) {
                    Ok(()) => return,
                    Err(back) => parcel = back,
                }
            }
        }
        self.send_later(parcel, passed, payer, xen.pages(), now);
    }

    /// Sends what has passed and has to wait.
    #[inline(never)]
    fn send_later(
        &mut self,
        mut parcel: Parcel,
        passed: PassedPacket,
        (account, charge): (Account, Charge),
        pages: &mut PagePool,
        now: Moment,
    ) {
        self.due = None;
        parcel.cut(passed.total_bytes);
        let frame = parcel.into_passed_frame(passed.original, self.exchange.bounces(), charge, pages);
        // Without a page it is lost, as it would have been on arrival.
        let Ok(mut frame) = frame else { return self.egress.drops.count(DropReason::NoPage) };
        frame.charge_to(account);
        let mut context = EgressContext { egress: &mut self.egress, pages, now };
        context.forward(passed.exit, frame, passed.destination);
    }
}

/// The client on the other side of an exit, if it is connected.
#[inline(always)]
fn receiver(clients: &mut ClientVifs, exit: Side) -> Option<(ClientSlot, Mac, &mut Netback)> {
    let Side::Client(slot) = exit else { return None };
    let vif = clients.vif(slot)?;
    Some((slot, vif.identity().mac()?, vif.netback()?))
}

/// The source address in the IPv4 header of a frame; of one without, anything.
fn source_of(head: &[u8; HEAD_BYTES]) -> Ipv4Addr {
    u32_at(head, HEADER_BYTES + ipv4::at::SOURCE).unwrap_or(0).into()
}
