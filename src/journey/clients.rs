//! Who is attached: address by slot, slot by address, and what each may still do this second.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::settings::Quotas;
use crate::client::ClientSlot;
use crate::flow::allowance::Allowance;

/// An attached client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its one address.
    pub address: Ipv4Addr,
    /// New flows it may open.
    pub new_flows: Allowance,
    /// ICMP errors it may be sent.
    pub errors: Allowance,
    /// RSTs it may be sent.
    pub resets: Allowance,
}

/// All attached clients.
pub struct Clients {
    slots: Box<[Option<Client>]>,
    /// Sorted by address.
    by_address: Vec<(Ipv4Addr, ClientSlot)>,
}

/// Slots there are.
const SLOTS: usize = 256;

impl Clients {
    /// Nobody yet.
    pub fn new() -> Clients {
        Clients { slots: vec![None; SLOTS].into_boxed_slice(), by_address: Vec::with_capacity(SLOTS) }
    }

    /// Attaches a client; the slot and the address must be free.
    pub fn attach(&mut self, slot: ClientSlot, address: Ipv4Addr, quotas: &Quotas) {
        if let Some(place) = self.slots.get_mut(usize::from(slot.0)) {
            *place = Some(Client {
                address,
                new_flows: Allowance::new(quotas.new_flows),
                errors: Allowance::new(quotas.errors),
                resets: Allowance::new(quotas.resets),
            });
            let at = self.by_address.partition_point(|(other, _)| *other < address);
            self.by_address.insert(at, (address, slot));
        }
    }

    /// Takes the client on `slot` away.
    pub fn detach(&mut self, slot: ClientSlot) -> Option<Client> {
        self.by_address.retain(|(_, other)| *other != slot);
        self.slots.get_mut(usize::from(slot.0))?.take()
    }

    /// The client on `slot`.
    pub fn get(&self, slot: ClientSlot) -> Option<&Client> {
        self.slots.get(usize::from(slot.0))?.as_ref()
    }

    /// The client on `slot`.
    pub fn get_mut(&mut self, slot: ClientSlot) -> Option<&mut Client> {
        self.slots.get_mut(usize::from(slot.0))?.as_mut()
    }

    /// The slot of the client that has `address`.
    pub fn slot_of(&self, address: Ipv4Addr) -> Option<ClientSlot> {
        let at = self.by_address.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        self.by_address.get(at).map(|(_, slot)| *slot)
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}
