//! The uplink's life as the loop sees it: found, connected, gone; and ARP on it.

use super::{Firewall, UPLINK};
use crate::clients::directory_or_empty;
use crate::exits::{Leaving, UplinkRoute};
use crate::store::{StoreError, StoreRing};
use crate::text::decimal;
use crate::vif::drops::FrameDrop;
use crate::vif::frame::Frame;
use crate::vif::netfront;
use crate::vif::uplink::{self, Change, Presence, Uplink};
use crate::wire::arp::{Arp, Operation};
use crate::wire::ethernet::{HEADER_BYTES, Mac};
use crate::xen::Xen;
use alloc::vec::Vec;

impl<X: Xen, R: StoreRing> Firewall<X, R> {
    /// Takes the first network device that there is, when there is none yet.
    pub(super) fn find_uplink(&mut self) -> Result<(), StoreError> {
        self.uplink_changed()?;
        for granted in core::mem::take(&mut self.kept) {
            netfront::end(&mut self.xen, granted, &mut self.kept);
        }
        let mut devices: Vec<u32> = directory_or_empty(&mut self.store, uplink::DEVICES)?
            .iter()
            .filter_map(|name| decimal(name))
            .collect();
        devices.sort_unstable();
        let ours = self.exits.uplink.as_ref().map(Uplink::path);
        let Some(&first) = devices.first() else { return Ok(()) };
        if ours.is_none() {
            match Uplink::discover(first, UPLINK, &mut self.store) {
                Ok(device) => {
                    log::info!("uplink: device {first}, our address there is {}", device.mac());
                    self.exits.uplink = Some(device);
                }
                // It went away, or is still being made: another event will tell.
                Err(StoreError::NoEntry) => return Ok(()),
                Err(error) => return Err(error),
            }
            for other in devices.iter().skip(1) {
                log::warn!("uplink: device {other} is not used; the first one is");
            }
        }
        self.uplink_changed()
    }

    /// Follows the uplink's backend.
    pub(super) fn uplink_changed(&mut self) -> Result<(), StoreError> {
        let Some(device) = self.exits.uplink.as_mut() else { return Ok(()) };
        if device.refresh(&mut self.store)? == Presence::Gone {
            log::warn!("uplink: the device was removed");
            if let Some(device) = self.exits.uplink.take() {
                self.kept.extend(device.forget(&mut self.xen, &mut self.store));
            }
            return Ok(());
        }
        let change = device.advance(&mut self.xen, &mut self.store)?;
        let now = self.xen.now();
        let mut leaving = Leaving { exits: &mut self.exits, pages: self.xen.pages(), now };
        match change {
            Change::Up => {
                log::info!("uplink: connected");
                leaving.with_neighbours(|neighbours, emit| neighbours.clear(emit));
                leaving.announce_address();
            }
            Change::Down => log::warn!("uplink: disconnected"),
            Change::None => {}
        }
        Ok(())
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
