//! Packets of open flows: passed where they lie, past queues that are empty.

use super::client_vifs::ClientVifs;
use super::dataplane::DataPlane;
use super::egress::{EgressContext, GATEWAY_MAC};
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::engine::Output;
use crate::engine::fast_path::Passed;
use crate::tables::share::Account;
use crate::vif::netback::Netback;
use crate::vif::parcel::Parcel;
use crate::wire::bytes::u32_at;
use crate::wire::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use crate::wire::frame_view::HEAD_BYTES;
use crate::wire::ipv4;
use crate::xen::Xen;
use crate::xen::charge::Charge;
use crate::xen::page_pool::PagePool;
use core::net::Ipv4Addr;

impl DataPlane {
    /// Passes a packet from the uplink by the fast path. It comes back, as it was, if it is not for that.
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
        let clients = &mut self.egress.vifs.clients;
        if !is_ours || clients.owns(source_of(view.head)) {
            return Some(parcel);
        }
        let Some(passed) = self.engine.pass_fast_inward(now, &mut view) else { return Some(parcel) };
        if let Some((slot, destination, netback)) = receiver(clients, passed.exit) {
            Header { destination, source: GATEWAY_MAC, ether_type: EtherType::Ipv4 }.write(view.head);
            parcel.cut(passed.total_bytes);
            match self.exchange.pass(slot, netback, parcel) {
                Ok(()) => return None,
                Err(back) => parcel = back,
            }
        }
        self.send_passed(parcel, passed, (Account::UPLINK, Charge::UPLINK), pages, now);
        None
    }

    /// Sends what the fast path has passed and what has to wait all the same.
    #[inline(never)]
    fn send_passed(
        &mut self,
        mut parcel: Parcel,
        passed: Passed,
        (account, charge): (Account, Charge),
        pages: &mut PagePool,
        now: Moment,
    ) {
        parcel.cut(passed.total_bytes);
        // Without a page it is lost, as it would have been on arrival.
        if let Ok(mut frame) =
            parcel.into_passed_frame(passed.original, self.exchange.bounces(), charge, pages)
        {
            frame.charge_to(account);
            let mut context = EgressContext { egress: &mut self.egress, pages, now };
            context.forward(passed.exit, frame, passed.destination);
        }
    }

    /// Passes a packet of a client by the fast path. It comes back, as it was, if it is not for that.
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
        let Some(route) = self.egress.route().filter(|_| is_its_own) else { return Some(parcel) };
        let Some(passed) = self.engine.pass_fast_outward(now, slot, &mut view) else { return Some(parcel) };
        let hop = self.egress.neighbours.known(route.next_hop(passed.destination), now);
        let uplink = self.egress.vifs.uplink.as_mut();
        if let (Some(destination), Some(uplink)) = (hop, uplink) {
            let source = uplink.mac();
            Header { destination, source, ether_type: EtherType::Ipv4 }.write(view.head);
            parcel.cut(passed.total_bytes);
            if let Some(netfront) = uplink.netfront() {
                match netfront.send_now(parcel, self.exchange.bounces(), xen) {
                    Ok(()) => return None,
                    Err(back) => parcel = back,
                }
            }
        }
        self.send_passed(parcel, passed, (account, charge), xen.pages(), now);
        None
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
