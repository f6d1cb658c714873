//! The client vifs, by slot: who is there, who owns which address, what XenStore says of them.

mod ownership;

pub use ownership::{Owners, Ownership};

use crate::client::ClientSlot;
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::text::decimal;
use crate::time::Moment;
use crate::vif::abilities::Support;
use crate::vif::client::{Change, ClientVif, DeviceId};
use crate::vif::netback::{Broken, Netback};
use crate::xen::{DomainId, Xen};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The directory that the toolstack makes backend devices in, relative to ours.
pub const BACKENDS: &str = "backend";

/// Most client vifs at once. xenstored grants 100 watches (the smaller of its two implementations): one each,
/// and some are ours.
pub const MAX_CLIENTS: usize = 90;

/// Clients that are offered an event channel per ring: Xen polls 128 ports at most, so the others share one.
const SPLIT_CLIENTS: usize = 32;

/// Ports of ours: XenStore's and two of the uplink.
const OWN_PORTS: usize = 3;

const _: () = assert!(MAX_CLIENTS + SPLIT_CLIENTS + OWN_PORTS <= 128);

/// What acting on a device takes: the hypervisor, XenStore, and where changes of ownership are noted.
pub struct World<'a, X: Xen, R: StoreRing> {
    /// The hypervisor.
    pub xen: &'a mut X,
    /// XenStore.
    pub store: &'a mut Store<R>,
    /// Filled in, in order.
    pub changes: &'a mut Vec<Ownership>,
}

/// All client vifs.
#[derive(Debug, Default)]
pub struct Clients {
    slots: Vec<Option<ClientVif>>,
    owners: Owners,
}

impl Clients {
    /// Acts on a change below [`BACKENDS`], at `path` (relative, as watched): devices appear and change.
    pub fn backend_changed<X: Xen, R: StoreRing>(
        &mut self,
        path: &str,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        match device_in(path) {
            Some(id) => self.device_changed(id, world),
            None => self.scan(world),
        }
    }

    /// Looks at every device that there is, and at those that there no longer are.
    fn scan<X: Xen, R: StoreRing>(&mut self, world: &mut World<'_, X, R>) -> Result<(), StoreError> {
        let mut devices: Vec<DeviceId> = self.slots.iter().flatten().map(ClientVif::id).collect();
        for domain in directory_or_empty(world.store, &format!("{BACKENDS}/vif"))? {
            let Some(number) = decimal(&domain) else { continue };
            for device in directory_or_empty(world.store, &format!("{BACKENDS}/vif/{domain}"))? {
                let Some(device) = decimal(&device) else { continue };
                devices.push(DeviceId { domain: DomainId(number), device });
            }
        }
        devices.sort_unstable();
        devices.dedup();
        for id in devices {
            self.device_changed(id, world)?;
        }
        Ok(())
    }

    fn device_changed<X: Xen, R: StoreRing>(
        &mut self,
        id: DeviceId,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        let known = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|vif| vif.id() == id));
        let index = match known {
            Some(index) => index,
            None => match self.add(id, world)? {
                Some(index) => index,
                None => return Ok(()),
            },
        };
        self.slot_changed(index, world)
    }

    /// Takes in a device that is new. `None` when it is not there (any more) or there is no slot for it.
    fn add<X: Xen, R: StoreRing>(
        &mut self,
        id: DeviceId,
        world: &mut World<'_, X, R>,
    ) -> Result<Option<usize>, StoreError> {
        let index = self.slots.iter().position(Option::is_none).unwrap_or(self.slots.len());
        if index >= MAX_CLIENTS {
            log::error!("{id}: {MAX_CLIENTS} clients are connected already; this one is not served");
            return Ok(None);
        }
        let split = if index < SPLIT_CLIENTS { Support::Yes } else { Support::No };
        let vif = match ClientVif::discover(id, &token(index), split, world.store, world.xen.now()) {
            Ok(vif) => vif,
            Err(StoreError::NoEntry) => return Ok(None),
            Err(error) => return Err(error),
        };
        log::info!("{id}: new client, {}", vif.identity());
        match self.slots.get_mut(index) {
            Some(place) => *place = Some(vif),
            None => self.slots.push(Some(vif)),
        }
        Ok(Some(index))
    }

    /// Acts on a change of the frontend's state, as the watch's `token` tells.
    pub fn frontend_changed<X: Xen, R: StoreRing>(
        &mut self,
        token: &str,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        match token.strip_prefix(TOKEN).and_then(decimal) {
            Some(index) => self.slot_changed(index, world),
            None => Ok(()),
        }
    }

    fn slot_changed<X: Xen, R: StoreRing>(
        &mut self,
        index: usize,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        let Some(Some(vif)) = self.slots.get_mut(index) else { return Ok(()) };
        let id = vif.id();
        let change = vif.follow(world.xen, world.store);
        self.take_change(index, change, world)?;
        // A device that went may have been made anew already, and nothing will announce it again.
        if !matches!(self.slots.get(index), Some(Some(vif)) if vif.id() == id)
            && let Some(index) = self.add(id, world)?
            && let Some(Some(vif)) = self.slots.get_mut(index)
        {
            let change = vif.follow(world.xen, world.store);
            self.take_change(index, change, world)?;
        }
        Ok(())
    }

    /// Takes every step that is due at `now`.
    pub fn advance<X: Xen, R: StoreRing>(
        &mut self,
        now: Moment,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        for index in 0..self.slots.len() {
            let due = matches!(self.slots.get(index), Some(Some(vif)) if vif.deadline().is_some_and(|due| due <= now));
            if due {
                self.slot_changed(index, world)?;
            }
        }
        Ok(())
    }

    /// Ends the connection of a client that broke the protocol.
    pub fn break_off<X: Xen, R: StoreRing>(
        &mut self,
        slot: ClientSlot,
        why: Broken,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        let Some(vif) = self.vif(slot) else { return Ok(()) };
        let change = vif.break_off(why, world.xen, world.store);
        self.take_change(usize::from(slot.0), change, world)
    }

    /// Draws the conclusions from what a vif did.
    fn take_change<X: Xen, R: StoreRing>(
        &mut self,
        index: usize,
        change: Result<Change, StoreError>,
        world: &mut World<'_, X, R>,
    ) -> Result<(), StoreError> {
        let change = match change {
            Ok(change) => change,
            Err(error) => {
                if error.is_about_quota() {
                    self.make_room(world)?;
                }
                return Err(error);
            }
        };
        let Some(place) = self.slots.get_mut(index) else { return Ok(()) };
        let Some(vif) = place else { return Ok(()) };
        let (slot, id, address) = (slot_of(index), vif.id(), vif.identity().address());
        match change {
            Change::None => {}
            Change::Attached => {
                log::info!("{id}: connected");
                if let Some(address) = address {
                    self.owners.claim(slot, id, address, world.changes);
                }
            }
            Change::Detached => {
                log::info!("{id}: disconnected");
                self.owners.withdraw(slot, world.changes);
            }
            Change::Gone => {
                log::info!("{id}: gone");
                *place = None;
                self.owners.withdraw(slot, world.changes);
            }
        }
        Ok(())
    }

    /// Makes room for what clients are to be told when the quota of nodes is used up: the toolstack's own nodes
    /// count too, some 13 per client.
    fn make_room<X: Xen, R: StoreRing>(&mut self, world: &mut World<'_, X, R>) -> Result<(), StoreError> {
        log::warn!(
            "XenStore's quota is used up: nodes that the toolstack made for hotplug scripts are removed"
        );
        self.slots.iter().flatten().try_for_each(|vif| vif.make_room(world.store))
    }

    /// The next moment at which [`Self::advance`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        self.slots.iter().flatten().filter_map(ClientVif::deadline).min()
    }

    /// The vif on a slot.
    pub fn vif(&mut self, slot: ClientSlot) -> Option<&mut ClientVif> {
        self.slots.get_mut(usize::from(slot.0))?.as_mut()
    }

    /// Every vif with its slot.
    pub fn vifs(&mut self) -> impl Iterator<Item = (ClientSlot, &mut ClientVif)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(index, slot)| Some((slot_of(index), slot.as_mut()?)))
    }

    /// The rings of every connected client, with its slot.
    pub fn rings(&mut self) -> impl Iterator<Item = (ClientSlot, &mut Netback)> {
        self.vifs().filter_map(|(slot, vif)| Some((slot, vif.netback()?)))
    }

    /// As [`Self::rings`], beginning with slot `first`.
    pub fn rings_from(&mut self, first: usize) -> impl Iterator<Item = (ClientSlot, &mut Netback)> {
        let start = first.min(self.slots.len());
        let (before, from) = self.slots.split_at_mut(start);
        let from = from.iter_mut().enumerate().map(move |(index, slot)| (start + index, slot));
        from.chain(before.iter_mut().enumerate())
            .filter_map(|(index, slot)| Some((slot_of(index), slot.as_mut()?.netback()?)))
    }

    /// Whether an address belongs to a connected client: then it cannot come from the uplink.
    pub fn owns(&self, address: Ipv4Addr) -> bool {
        self.owners.owns(address)
    }
}

/// The children of a node; none when it does not exist.
pub fn directory_or_empty<R: StoreRing>(store: &mut Store<R>, path: &str) -> Result<Vec<String>, StoreError> {
    match store.directory(path) {
        Err(StoreError::NoEntry) => Ok(Vec::new()),
        other => other,
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

/// The device that a path below [`BACKENDS`] belongs to: `backend/vif/<domain>/<device>/…`.
fn device_in(path: &str) -> Option<DeviceId> {
    let mut parts = path.strip_prefix(BACKENDS)?.strip_prefix("/vif/")?.split('/');
    let domain = DomainId(decimal(parts.next()?)?);
    Some(DeviceId { domain, device: decimal(parts.next()?)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_is_found_in_every_path_below_it() {
        let id = Some(DeviceId { domain: DomainId(7), device: 1 });
        assert_eq!(device_in("backend/vif/7/1"), id);
        assert_eq!(device_in("backend/vif/7/1/online"), id);
        for path in ["backend", "backend/vif", "backend/vif/7", "backend/vbd/7/1", "backend/vif/x/1", "x"] {
            assert_eq!(device_in(path), None);
        }
    }
}
