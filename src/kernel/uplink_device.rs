//! The uplink's life in XenStore: found, connected, gone.

use super::client_vifs::News;
use super::control::ControlPlane;
use super::uplink_search::{Listing, Need};
use super::vifs::Vifs;
use crate::base::time::Moment;
use crate::config::Change;
use crate::store::StoreRing;
use crate::vif::event::{EventSink, UplinkEvent, VifEvent};
use crate::vif::frontend_directory::USUAL_MTU;
use crate::vif::netfront::UplinkBroken;
use crate::vif::uplink::{LinkChange, Uplink, UplinkSteps};
use crate::xen::Xen;

impl<R: StoreRing + 'static> ControlPlane<R> {
    /// Ends the connection to a backend that broke the protocol.
    pub fn break_uplink_off<X: Xen>(&mut self, why: UplinkBroken, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        self.tell(UplinkEvent::ProtocolBroken(why));
        let Some(device) = vifs.uplink.as_mut() else { return };
        let steps = device.break_off(&mut self.platform(xen, now));
        self.uplink_took_steps(steps, vifs);
    }

    /// Goes on with what replies and time allow.
    pub(super) fn advance_uplink<X: Xen>(&mut self, news: News, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        if self.held.deadline().is_some_and(|due| due <= now) {
            self.held.retry(xen);
        }
        if let Some(device) = vifs.uplink.as_mut() {
            let due = match device.is_asking() {
                true => news == News::Some,
                false => device.deadline().is_some_and(|due| due <= now),
            };
            if due {
                let steps = device.advance(&mut self.platform(xen, now));
                self.uplink_took_steps(steps, vifs);
            }
        }
        self.find_uplink(xen, vifs, now);
    }

    /// Tells of what the uplink did, and queues the changes that follow.
    fn uplink_took_steps(&mut self, steps: UplinkSteps, vifs: &mut Vifs) {
        match steps.change {
            LinkChange::None => {}
            LinkChange::Up => {
                self.tell(UplinkEvent::Connected);
                self.take_device_address(vifs);
                let mtu = vifs.uplink.as_ref().map_or(USUAL_MTU, Uplink::mtu);
                self.changes.push(Change::UplinkConnected { mtu });
            }
            LinkChange::Down => self.tell(UplinkEvent::Disconnected),
            LinkChange::Gone => {
                self.tell(UplinkEvent::Removed);
                vifs.uplink = None;
                self.search.look_again();
            }
        }
        match steps.error {
            Some(error) if error.is_about_the_request() => self.tell(UplinkEvent::Refused(error)),
            failed => self.note(failed),
        }
    }

    /// Lists the network devices when that is wanted, takes the first as the uplink when there is none yet, and reports
    /// the others once each.
    fn find_uplink<X: Xen>(&mut self, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        loop {
            let need = if vifs.uplink.is_none() { Need::Uplink } else { Need::Names };
            match self.search.next(&self.store, need, now) {
                None => return,
                Some(Ok(listing)) => self.take_listing(listing, xen, vifs, now),
                Some(Err(error)) => self.note(Some(error)),
            }
        }
    }

    fn take_listing<X: Xen>(
        &mut self,
        Listing { devices, found, unusable }: Listing,
        xen: &mut X,
        vifs: &mut Vifs,
        now: Moment,
    ) {
        for (device, error) in unusable {
            self.tell(UplinkEvent::Unusable(device, error));
        }
        if let Some(directory) = found {
            if let Some(text) = directory.refused_mtu() {
                self.tell(UplinkEvent::MtuRefused(text.clone(), directory.mtu()));
            }
            self.tell(UplinkEvent::Found { device: directory.device(), mac: directory.mac() });
            let device = vifs.uplink.insert(Uplink::new(directory, xen.now()));
            let steps = device.advance(&mut self.platform(xen, now));
            self.uplink_took_steps(steps, vifs);
        }
        let used = vifs.uplink.as_ref().map(Uplink::device);
        let unused = &mut self.search.unused;
        unused.retain(|device| devices.contains(device) && Some(*device) != used);
        for device in devices {
            if used.is_some() && Some(device) != used && !unused.contains(&device) {
                unused.push(device);
                self.events.emit(VifEvent::Uplink(UplinkEvent::Unused(device)));
            }
        }
    }

    fn tell(&mut self, event: UplinkEvent) {
        self.events.emit(VifEvent::Uplink(event));
    }

    /// Notes the address that the toolstack gave the device, if it did.
    fn take_device_address(&mut self, vifs: &Vifs) {
        let given = vifs.uplink.as_ref().and_then(Uplink::address);
        // The node lies in the backend's directory, which the backend can write: an address of a client's is not
        // believed.
        let given = given.filter(|&given| !vifs.clients.owns(given));
        self.live.set_device_address(given, &mut self.changes);
    }
}
