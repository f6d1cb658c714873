//! Packets of open flows: passed in the page that they lie in, past queues that are empty.

use super::dataplane::DataPlane;
use super::egress::{Egress, EgressContext, GATEWAY_MAC};
use crate::base::side::{ClientSlot, Side};
use crate::base::time::Moment;
use crate::engine::Output;
use crate::engine::fast_path::Passed;
use crate::tables::share::Account;
use crate::vif::parcel::Parcel;
use crate::wire::bytes::u32_at;
use crate::wire::ethernet::{EtherType, HEADER_BYTES, Header, Mac};
use crate::wire::frame_view::HEAD_BYTES;
use crate::wire::ipv4;
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
        let Some(mut view) = parcel.view() else { return Some(parcel) };
        let header = Header::read(view.head);
        let is_ours = header.is_some_and(|it| it.destination == mac && it.ether_type == EtherType::Ipv4);
        let Egress { vifs, .. } = &mut self.egress;
        if !is_ours || vifs.clients.owns(source_of(view.head)) {
            return Some(parcel);
        }
        let Some(passed) = self.engine.pass_fast_inward(now, &mut view) else { return Some(parcel) };
        let target = match passed.exit {
            Side::Client(slot) => {
                vifs.clients.vif(slot).and_then(|vif| Some((slot, vif.identity().mac()?, vif.netback()?)))
            }
            Side::Uplink => None,
        };
        if let Some((slot, destination, netback)) = target {
            Header { destination, source: GATEWAY_MAC, ether_type: EtherType::Ipv4 }.write(view.head);
            parcel.cut(passed.total_bytes);
            match self.exchange.pass(slot, netback, parcel) {
                Ok(()) => return None,
                Err(back) => parcel = back,
            }
        }
        self.send_passed(parcel, passed, Account::UPLINK, pages, now);
        None
    }

    /// Sends what the fast path has passed and what has to wait all the same.
    #[inline(never)]
    fn send_passed(
        &mut self,
        mut parcel: Parcel,
        passed: Passed,
        account: Account,
        pages: &mut PagePool,
        now: Moment,
    ) {
        parcel.cut(passed.total_bytes);
        // What was passed has headers.
        if let Ok(mut frame) = parcel.into_passed_frame(passed.original, pages) {
            frame.charge_to(account);
            let mut context = EgressContext { egress: &mut self.egress, pages, now };
            context.forward(passed.exit, frame, passed.destination);
        }
    }

    /// Passes a packet of a client by the fast path. It comes back, as it was, if it is not for that.
    pub(super) fn pass_from_client(
        &mut self,
        slot: ClientSlot,
        mut parcel: Parcel,
        pages: &mut PagePool,
        now: Moment,
    ) -> Option<Parcel> {
        let Some(mut view) = parcel.view() else { return Some(parcel) };
        let Some(vif) = self.egress.vifs.clients.vif(slot) else { return Some(parcel) };
        let (source, account) = (vif.identity().mac(), vif.account());
        let is_its_own = Header::read(view.head).is_some_and(|header| {
            header.destination == GATEWAY_MAC
                && Some(header.source) == source
                && header.ether_type == EtherType::Ipv4
        });
        let Some(route) = self.egress.route().filter(|_| is_its_own) else { return Some(parcel) };
        let Some(passed) = self.engine.pass_fast_outward(now, slot, &mut view) else { return Some(parcel) };
        let Egress { vifs, neighbours, .. } = &mut self.egress;
        let hop = neighbours.known(route.next_hop(passed.destination), now);
        let uplink = vifs.uplink.as_mut().and_then(|uplink| Some((uplink.mac(), uplink.netfront()?)));
        if let (Some(destination), Some((source, netfront))) = (hop, uplink) {
            Header { destination, source, ether_type: EtherType::Ipv4 }.write(view.head);
            parcel.cut(passed.total_bytes);
            match netfront.bypass(parcel) {
                Ok(()) => return None,
                Err(back) => parcel = back,
            }
        }
        self.send_passed(parcel, passed, account, pages, now);
        None
    }
}

/// The source address in the IPv4 header of a frame; of one without, anything.
fn source_of(head: &[u8; HEAD_BYTES]) -> Ipv4Addr {
    u32_at(head, HEADER_BYTES + ipv4::at::SOURCE).unwrap_or(0).into()
}
