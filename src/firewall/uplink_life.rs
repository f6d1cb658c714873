//! The uplink's life as the loop sees it: found, connected, gone; and ARP on it.

use super::{Firewall, UPLINK};
use crate::clients::directory_or_empty;
use crate::exits::{Leaving, UplinkRoute};
use crate::prefix::Ipv4Prefix;
use crate::store::{StoreError, StoreRing};
use crate::text::decimal;
use crate::time::Moment;
use crate::vif::drops::FrameDrop;
use crate::vif::frame::Frame;
use crate::vif::uplink::{self, Change, Surroundings, Uplink};
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{HEADER_BYTES, Mac};
use crate::xen::Xen;
use alloc::vec::Vec;

impl<X: Xen, R: StoreRing> Firewall<X, R> {
    /// Looks which network devices there are: the first is the uplink, the others are reported.
    pub(super) fn find_uplink(&mut self) -> Result<(), StoreError> {
        self.uplink_changed()?;
        self.choose_uplink()
    }

    /// Follows the uplink's backend.
    pub(super) fn uplink_changed(&mut self) -> Result<(), StoreError> {
        let change = self.with_uplink(|device, around| device.follow(around))?;
        self.uplink_took_steps(change)
    }

    /// Ends the connection to a backend that broke the protocol.
    pub(super) fn break_uplink_off(&mut self) -> Result<(), StoreError> {
        let change = self.with_uplink(|device, around| device.break_off(around))?;
        self.uplink_took_steps(change)
    }

    /// Takes every step that is due by now.
    pub(super) fn advance_uplink(&mut self, now: Moment) -> Result<(), StoreError> {
        if self.held.deadline().is_some_and(|due| due <= now) {
            self.held.retry(&mut self.xen);
        }
        let device = self.exits.uplink.as_ref().and_then(Uplink::deadline);
        if device.is_some_and(|due| due <= now) { self.uplink_changed() } else { Ok(()) }
    }

    /// When [`Self::advance_uplink`] has something to do.
    pub(super) fn uplink_deadline(&self) -> Option<Moment> {
        let device = self.exits.uplink.as_ref().and_then(Uplink::deadline);
        device.into_iter().chain(self.held.deadline()).min()
    }

    fn with_uplink(
        &mut self,
        act: impl FnOnce(&mut Uplink, &mut Surroundings<'_, X, R>) -> Result<Change, StoreError>,
    ) -> Result<Change, StoreError> {
        let Some(device) = self.exits.uplink.as_mut() else { return Ok(Change::None) };
        act(device, &mut Surroundings { xen: &mut self.xen, store: &mut self.store, held: &mut self.held })
    }

    /// Draws the conclusions from what the uplink did.
    fn uplink_took_steps(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::None => {}
            Change::Up => {
                log::info!("uplink: connected");
                self.settle_address();
                let now = self.xen.now();
                let mut leaving = Leaving { exits: &mut self.exits, pages: self.xen.pages(), now };
                leaving.with_neighbours(|neighbours, emit| neighbours.clear(emit));
                leaving.announce_address();
            }
            Change::Down => log::warn!("uplink: disconnected"),
            Change::Gone => {
                log::warn!("uplink: the device was removed");
                self.exits.uplink = None;
                return self.choose_uplink();
            }
        }
        Ok(())
    }

    /// Takes the first network device that there is, when there is none yet, and reports the others once each.
    fn choose_uplink(&mut self) -> Result<(), StoreError> {
        let mut devices: Vec<u32> = directory_or_empty(&mut self.store, uplink::DEVICES)?
            .iter()
            .filter_map(|name| decimal(name))
            .collect();
        devices.sort_unstable();
        for &number in &devices {
            if self.exits.uplink.is_some() {
                break;
            }
            match Uplink::discover(number, UPLINK, &mut self.store, self.xen.now()) {
                Ok(device) => {
                    log::info!("uplink: device {number}, our address there is {}", device.mac());
                    self.exits.uplink = Some(device);
                    let change = self.with_uplink(|device, around| device.follow(around))?;
                    // One that vanished meanwhile is announced by another event.
                    self.uplink_took_steps(change)?;
                }
                // It went away, or is still being made: another event will tell.
                Err(StoreError::NoEntry) => {}
                Err(error) if error.is_about_the_request() => {
                    log::error!("uplink: device {number} cannot be used: {error}");
                }
                Err(error) => return Err(error),
            }
        }
        let used = self.exits.uplink.as_ref().map(Uplink::device);
        self.unused_devices.retain(|device| devices.contains(device) && Some(*device) != used);
        for device in devices {
            if used.is_some() && Some(device) != used && !self.unused_devices.contains(&device) {
                log::warn!("uplink: device {device} is not used while there is another one");
                self.unused_devices.push(device);
            }
        }
        Ok(())
    }

    /// Our address on the uplink is the one that the toolstack gave the device, or else the configured one. Flows
    /// go on if it is what it was.
    fn settle_address(&mut self) {
        let given = self.exits.uplink.as_ref().and_then(Uplink::address);
        let (Some(route), Some(configured)) = (self.exits.route.as_mut(), self.configured_address) else {
            return;
        };
        // The node lies in the backend's directory: what cannot be ours is not believed.
        let given = given.filter(|&given| {
            let unusable = given.is_unspecified() || given.is_multicast() || given.is_loopback();
            !unusable && !given.is_broadcast() && !self.exits.clients.owns(given)
        });
        let address =
            given.and_then(|given| Ipv4Prefix::new(given, configured.length())).unwrap_or(configured);
        if address != route.address {
            log::warn!("uplink: our address is {address} from now on; flows from {} end", route.address);
            route.address = address;
            self.journey.set_uplink_address(address.address(), self.xen.now());
        }
    }
}

/// ARP from the uplink: questions for our address are answered, answers to our questions are learned.
pub(super) fn answer_arp(frame: Frame, mac: Mac, leaving: &mut Leaving<'_>) {
    let arp = Arp::read(frame.head().get(HEADER_BYTES..).unwrap_or_default());
    frame.release(leaving.pages);
    let now = leaving.now;
    match (arp, leaving.exits.route) {
        (Some(arp), Some(UplinkRoute { address, .. }))
            if arp.operation == Operation::Request && arp.target == address.address() =>
        {
            leaving.arp(&arp.answer(mac), arp.sender_mac);
        }
        (Some(arp), Some(_)) if arp.operation == Operation::Reply => {
            leaving
                .with_neighbours(|neighbours, emit| neighbours.learn(arp.sender, arp.sender_mac, now, emit));
        }
        _ => leaving.exits.drops.count(FrameDrop::ArpUnanswered),
    }
}
