//! The client vifs, by slot: who is there, who owns which address, what XenStore says of them.

use super::backend_devices::{Changed, changed_in, list};
use super::inquiry::Inquiry;
use super::new_device::NewDevice;
use super::ownership::Owners;
use crate::base::side::{ClientSlot, MAX_CLIENTS};
use crate::base::sort::sort_by_key;
use crate::base::text::decimal;
use crate::base::time::Moment;
use crate::config::change::Ownership;
use crate::store::{Job, StoreError, StoreRing};
use crate::tables::share::Account;
use crate::vif::backend_directory::make_room;
use crate::vif::client::{ClientSteps, ClientVif, RingsChange};
use crate::vif::device_id::DeviceId;
use crate::vif::event::{ClientEvent, VifEvent};
use crate::vif::features::Support;
use crate::vif::look_limit::LookLimit;
use crate::vif::netback::{ClientBroken, Netback};
use crate::vif::platform::Platform;
use crate::xen::Xen;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;
use core::task::Poll;

/// Clients that are offered an event channel per ring: Xen polls 128 ports at most, so the others share one.
const SPLIT_CLIENTS: usize = 32;

/// Ports of ours: XenStore's, two of the uplink, and QubesDB's.
const OWN_PORTS: usize = 4;

const _: () = assert!(MAX_CLIENTS + SPLIT_CLIENTS + OWN_PORTS <= 128);

/// Whether XenStore has answered since the last time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It has: whatever is under way may go on.
    Some,
    /// Only time has passed.
    None,
}

/// What is on a slot.
#[derive(Debug, Default)]
#[expect(clippy::large_enum_variant, reason = "most places are taken")]
enum SlotState {
    #[default]
    Vacant,
    /// A device was announced and is being read.
    New(NewDevice),
    Taken(ClientVif),
}

impl SlotState {
    fn id(&self) -> Option<DeviceId> {
        match self {
            Self::Vacant => None,
            Self::New(device) => Some(device.id()),
            Self::Taken(vif) => Some(vif.id()),
        }
    }

    fn vif(&mut self) -> Option<&mut ClientVif> {
        match self {
            Self::Taken(vif) => Some(vif),
            _ => None,
        }
    }
}

/// All client vifs.
#[derive(Debug, Default)]
pub struct ClientVifs {
    slots: Vec<SlotState>,
    owners: Owners,
    /// Addresses that came and went since [`Self::take_changes`].
    changes: Vec<Ownership>,
    scan: Inquiry<Vec<DeviceId>>,
    /// Nodes that nobody reads are being removed.
    clearing: Option<Job<Result<(), StoreError>>>,
}

impl ClientVifs {
    /// Notes a change below `backend`, at `path` (relative, as watched): devices appear and change.
    pub fn backend_changed<X: Xen, R: StoreRing + 'static>(
        &mut self,
        path: &str,
        platform: &mut Platform<'_, X, R>,
    ) {
        match changed_in(path) {
            Changed::Device(id) => self.device_changed(id, platform),
            Changed::Devices => self.scan.look_again(),
            Changed::Nothing => {}
        }
    }

    /// Notes a change of the frontend's state, as the watch's `token` tells.
    pub fn frontend_changed(&mut self, token: &str) {
        let index: Option<usize> = token.strip_prefix(TOKEN).and_then(decimal);
        if let Some(vif) = index.and_then(|index| self.slots.get_mut(index)).and_then(SlotState::vif) {
            vif.look_again();
        }
    }

    /// Whether all devices are to be listed now.
    pub fn wants_scan(&self, now: Moment) -> bool {
        self.scan.is_due(now)
    }

    fn device_changed<X: Xen, R: StoreRing + 'static>(
        &mut self,
        id: DeviceId,
        platform: &mut Platform<'_, X, R>,
    ) {
        match self.slots.iter_mut().find(|place| place.id() == Some(id)) {
            Some(SlotState::Taken(vif)) => vif.look_again(),
            Some(SlotState::New(device)) => device.stale = true,
            Some(SlotState::Vacant) | None => self.add(id, platform),
        }
    }

    /// Begins to read what the toolstack wrote about a device that is new, if there is a slot for it.
    fn add<X: Xen, R: StoreRing + 'static>(&mut self, id: DeviceId, platform: &mut Platform<'_, X, R>) {
        let vacant = self.slots.iter().position(|place| matches!(place, SlotState::Vacant));
        let index = vacant.unwrap_or(self.slots.len());
        if index >= MAX_CLIENTS {
            let full = ClientEvent::NotServed(MAX_CLIENTS);
            return platform.events.emit(VifEvent::Client(id, full));
        }
        let split = if index < SPLIT_CLIENTS { Support::Yes } else { Support::No };
        let place = SlotState::New(NewDevice::new(id, token(index), split));
        match self.slots.get_mut(index) {
            Some(vacant) => *vacant = place,
            None => self.slots.push(place),
        }
        self.welcome(index, platform);
    }

    /// Goes on with what replies and time allow. Returns a failure of XenStore's that is to be reported, if there was
    /// one.
    pub fn advance<X: Xen, R: StoreRing + 'static>(
        &mut self,
        news: News,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        let mut failed = None;
        if news == News::Some || self.scan.is_due(platform.now) {
            failed = self.follow_scan(platform).or(self.follow_clearing());
        }
        for index in 0..self.slots.len() {
            match self.slots.get_mut(index) {
                Some(SlotState::Taken(vif)) => {
                    let next_look = platform.looks.next_look(vif.id().domain);
                    let due = match vif.is_asking() {
                        true => news == News::Some,
                        false => vif.deadline(next_look).is_some_and(|due| due <= platform.now),
                    };
                    if due {
                        let steps = vif.advance(platform);
                        failed = self.take_steps(index, steps, platform).or(failed);
                    }
                }
                Some(SlotState::New(device)) if news == News::Some || device.is_due(platform.now) => {
                    failed = self.welcome(index, platform).or(failed);
                }
                _ => {}
            }
        }
        failed
    }

    /// Goes on with a device that arrives; when all is read it takes its slot.
    fn welcome<X: Xen, R: StoreRing + 'static>(
        &mut self,
        index: usize,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        let place = self.slots.get_mut(index)?;
        let SlotState::New(device) = place else { return None };
        let found = device.next(platform.store, platform.now)?;
        let (id, stale) = (device.id(), device.stale);
        match found {
            Ok(directory) => {
                let found = ClientEvent::Found(directory.identity().clone());
                platform.events.emit(VifEvent::Client(id, found));
                for what in directory.not_done() {
                    let unsupported = ClientEvent::NotSupported(what.clone());
                    platform.events.emit(VifEvent::Client(id, unsupported));
                }
                let mut vif = ClientVif::new(directory, platform.xen.now());
                let steps = vif.advance(platform);
                *place = SlotState::Taken(vif);
                self.take_steps(index, steps, platform)
            }
            Err(error) if error.is_transient() => Some(error),
            Err(error) => {
                *place = SlotState::Vacant;
                // It is not there (any more), or not yet.
                if stale {
                    self.add(id, platform);
                }
                Some(error).filter(|error| *error != StoreError::NoEntry)
            }
        }
    }

    /// Lists all devices: those that are new arrive, the others are looked at again.
    fn follow_scan<X: Xen, R: StoreRing + 'static>(
        &mut self,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        loop {
            let ask = || {
                let store = platform.store.clone();
                async move { list(&store).await }
            };
            match self.scan.next(platform.now, ask)? {
                Ok(mut devices) => {
                    devices.extend(self.slots.iter().filter_map(SlotState::id));
                    sort_by_key(&mut devices, |id| u64::from(id.domain.0) << 32 | u64::from(id.device));
                    devices.dedup();
                    for id in devices {
                        self.device_changed(id, platform);
                    }
                }
                Err(error) => return Some(error),
            }
        }
    }

    fn follow_clearing(&mut self) -> Option<StoreError> {
        let Poll::Ready(cleared) = self.clearing.as_mut()?.poll() else { return None };
        self.clearing = None;
        cleared.err()
    }

    /// Ends the connection of a client that broke the protocol. Returns a failure of XenStore's that is to be reported.
    pub fn break_off<X: Xen, R: StoreRing + 'static>(
        &mut self,
        slot: ClientSlot,
        why: ClientBroken,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        let steps = self.vif(slot)?.break_off(why, platform);
        self.take_steps(usize::from(slot.0), steps, platform)
    }

    /// Tells of what a vif did, and changes its slot and the owners accordingly. Returns a failure of XenStore as a
    /// whole.
    fn take_steps<X: Xen, R: StoreRing + 'static>(
        &mut self,
        index: usize,
        steps: ClientSteps,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        let place = self.slots.get_mut(index)?;
        let vif = place.vif()?;
        let (slot, id, address) = (slot_of(index), vif.id(), vif.identity().address());
        match steps.change {
            RingsChange::None => {}
            RingsChange::Attached => {
                platform.events.emit(VifEvent::Client(id, ClientEvent::Connected));
                if let Some(address) = address {
                    self.owners.claim(slot, id, address, &mut self.changes);
                }
            }
            RingsChange::Detached => {
                platform.events.emit(VifEvent::Client(id, ClientEvent::Disconnected));
                self.owners.withdraw(slot, &mut self.changes);
            }
            RingsChange::Gone => {
                platform.events.emit(VifEvent::Client(id, ClientEvent::Gone));
                *place = SlotState::Vacant;
                self.owners.withdraw(slot, &mut self.changes);
                // It may have been made anew already, and nothing will announce it again.
                self.add(id, platform);
            }
        }
        let error = steps.error?;
        if error.is_about_quota() {
            self.make_room(platform);
        }
        if error.is_about_the_request() {
            platform.events.emit(VifEvent::Client(id, ClientEvent::Refused(error)));
            return None;
        }
        Some(error)
    }

    /// Removes nodes that nobody reads when our quota of XenStore nodes is used up, so that clients can be told
    /// something again. The nodes that the toolstack made for us count as ours, some 13 per client.
    fn make_room<X: Xen, R: StoreRing + 'static>(&mut self, platform: &mut Platform<'_, X, R>) {
        if self.clearing.is_some() {
            return;
        }
        platform.events.emit(VifEvent::QuotaUsedUp);
        let vifs = self.slots.iter_mut().filter_map(SlotState::vif);
        let devices = vifs.map(|vif| vif.id()).collect();
        let mut clearing = Job::new(make_room(devices, platform.store.clone()));
        // The first requests go out.
        self.clearing = clearing.poll().is_pending().then_some(clearing);
    }

    /// The next moment at which [`Self::advance`] has something to do without a reply of XenStore.
    pub fn deadline(&self, looks: &LookLimit) -> Option<Moment> {
        let vifs = self.slots.iter().filter_map(|place| match place {
            SlotState::Taken(vif) => vif.deadline(looks.next_look(vif.id().domain)),
            SlotState::New(device) => device.deadline(),
            SlotState::Vacant => None,
        });
        vifs.chain(self.scan.deadline()).min()
    }

    /// The vif on a slot.
    pub fn vif(&mut self, slot: ClientSlot) -> Option<&mut ClientVif> {
        self.slots.get_mut(usize::from(slot.0))?.vif()
    }

    /// Addresses that came to a slot or left it since the last time, in order.
    pub fn take_changes(&mut self) -> Vec<Ownership> {
        core::mem::take(&mut self.changes)
    }

    /// Every vif with its slot.
    pub fn vifs(&mut self) -> impl Iterator<Item = (ClientSlot, &mut ClientVif)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, place)| Some((slot_of(index), place.vif()?)))
    }

    /// The rings of every connected client, with its slot.
    pub fn rings(&mut self) -> impl Iterator<Item = (ClientSlot, &mut Netback)> {
        self.vifs().filter_map(|(slot, vif)| Some((slot, vif.netback()?)))
    }

    /// The rings of the client whose account that is, while it is connected.
    pub fn rings_on(&mut self, account: Account) -> Option<&mut Netback> {
        let mut vifs = self.slots.iter_mut().filter_map(SlotState::vif);
        vifs.find(|vif| vif.account() == account)?.netback()
    }

    /// As [`Self::rings`], with their clients' accounts and beginning with slot `first`.
    pub fn rings_from(&mut self, first: usize) -> impl Iterator<Item = (ClientSlot, Account, &mut Netback)> {
        let start = first.min(self.slots.len());
        let (before, from) = self.slots.split_at_mut(start);
        let from = from.iter_mut().enumerate().map(move |(index, place)| (start + index, place));
        from.chain(before.iter_mut().enumerate()).filter_map(|(index, place)| {
            let vif = place.vif()?;
            Some((slot_of(index), vif.account(), vif.netback()?))
        })
    }

    /// Whether an address belongs to a connected client: then it cannot come from the uplink.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.owners.owns(address)
    }
}

const TOKEN: &str = "client ";

fn token(index: usize) -> String {
    format!("{TOKEN}{index}")
}

fn slot_of(index: usize) -> ClientSlot {
    const { assert!(MAX_CLIENTS <= u8::MAX as usize) };
    ClientSlot(index as u8)
}
