//! Who is attached, who was, and what each may still do this second.
//!
//! Everything that a client takes is on an account, and an account belongs to an address: that is what the toolstack
//! gives a client (`ip=`) and what its rules are for. A client can reload its driver, reboot into another domain and be
//! moved to another vif by itself, but not get another address. So it finds what it left behind when it comes back:
//! its ports, what is not swept yet of its flows, and allowances as used up as it left them (conformance S-1).
//!
//! Accounts are numbered. Inside the engine a client goes by the number of its account, which has the type of a slot
//! because it takes a slot's place; [`ClientTable::inside`] and [`ClientTable::outside`] stand at the border. A number that is
//! not attached is given to another address only when there is no unused one: best one that nothing is left on, of
//! those the one that has been away longest.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

use super::settings::Quotas;
use super::visible::{Visible, VisibleAddresses};
use crate::base::bug::OrBug;
use crate::base::side::{ClientSlot, Side};
use crate::base::tick::Tick;
use crate::tables::allowance::Allowance;

/// A client.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Its one address, as the toolstack, rules and other clients know it.
    pub address: Ipv4Addr,
    /// What stands in packets on its own vif.
    pub visible: Visible,
    /// New flows it may open.
    pub new_flows: Allowance,
    /// ICMP errors it may be sent.
    pub errors: Allowance,
    /// RSTs it may be sent.
    pub resets: Allowance,
}

/// What a number stands for.
#[derive(Clone, Copy, Debug)]
enum AccountHolder {
    /// Nobody yet.
    Unused,
    /// The client on this slot.
    Attached(Client, ClientSlot),
    /// A client that has left, and when.
    Away(Client, Tick),
}

/// A set of clients by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientSet([u64; COUNT / 64]);

impl ClientSet {
    /// Adds a client.
    pub fn insert(&mut self, client: ClientSlot) {
        self.0[usize::from(client.0 / 64)] |= 1 << (client.0 % 64);
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        *self == ClientSet::default()
    }

    /// Its members.
    pub fn iter(self) -> impl Iterator<Item = ClientSlot> {
        let is_in = move |client: &ClientSlot| self.0[usize::from(client.0 / 64)] & 1 << (client.0 % 64) != 0;
        (0..=u8::MAX).map(ClientSlot).filter(is_in)
    }
}

/// Whose flows an arrival concerns: they may be to an address on the uplink that is a client's now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerned {
    /// The address was not known: anybody's.
    All,
    /// Theirs, who opened flows to it while it was away.
    Some(ClientSet),
}

/// All clients, by the number of their account. Numbers have the type of a slot; see the module's introduction.
pub struct ClientTable {
    accounts: Box<[AccountHolder]>,
    /// Who is on each slot.
    slots: Box<[Option<ClientSlot>]>,
    /// Every known address with its number, sorted.
    by_address: Vec<(Ipv4Addr, ClientSlot)>,
    /// For each client, the clients with flows that are to end or to be judged again when it comes or goes, and are not
    /// on its account: see [`Self::note_caller`].
    callers: Box<[ClientSet]>,
    visible: VisibleAddresses,
}

/// Accounts there are, and slots.
const COUNT: usize = 256;

impl ClientTable {
    /// Nobody yet.
    pub fn new() -> ClientTable {
        ClientTable {
            accounts: vec![AccountHolder::Unused; COUNT].into_boxed_slice(),
            slots: vec![None; COUNT].into_boxed_slice(),
            by_address: Vec::with_capacity(COUNT),
            callers: vec![ClientSet::default(); COUNT].into_boxed_slice(),
            visible: VisibleAddresses::default(),
        }
    }

    /// Attaches a client; the slot and the address must be free. Returns its number and whom it concerns.
    /// `holds_nothing` says of a number whether all it held is gone.
    pub fn attach(
        &mut self,
        slot: ClientSlot,
        address: Ipv4Addr,
        quotas: &Quotas,
        holds_nothing: impl Fn(ClientSlot) -> bool,
    ) -> Option<(ClientSlot, Concerned)> {
        let known = self.known(address);
        let number = known.or_else(|| self.free_number(slot, holds_nothing))?;
        let concerned = match known {
            Some(_) => Concerned::Some(self.take_callers(number)),
            None => Concerned::All,
        };
        let account = self.accounts.get_mut(usize::from(number.0))?;
        let client = match (*account, known) {
            (AccountHolder::Away(client, _), Some(_)) => client,
            _ => Client {
                address,
                visible: self.visible.of(address),
                new_flows: Allowance::new(quotas.new_flows),
                errors: Allowance::new(quotas.errors),
                resets: Allowance::new(quotas.resets),
            },
        };
        *account = AccountHolder::Attached(client, slot);
        if known.is_none() {
            self.take_callers(number);
            self.by_address.retain(|(_, other)| *other != number);
            let at = self.by_address.partition_point(|(other, _)| *other < address);
            self.by_address.insert(at, (address, number));
        }
        *self.slots.get_mut(usize::from(slot.0))? = Some(number);
        Some((number, concerned))
    }

    /// Replaces what clients see of themselves and of us: those that are there, and those that come.
    pub fn set_visible(&mut self, visible: VisibleAddresses) {
        for account in &mut self.accounts {
            if let AccountHolder::Attached(client, _) | AccountHolder::Away(client, _) = account {
                client.visible = visible.of(client.address);
            }
        }
        self.visible = visible;
    }

    /// Changes how often something may happen to each client, and to those that come back.
    pub fn set_rates(&mut self, quotas: &Quotas) {
        for account in &mut self.accounts {
            if let AccountHolder::Attached(client, _) | AccountHolder::Away(client, _) = account {
                client.new_flows.set_rate(quotas.new_flows);
                client.errors.set_rate(quotas.errors);
                client.resets.set_rate(quotas.resets);
            }
        }
    }

    /// A number for a new address: the slot's own if it is unused, which is easy to follow.
    fn free_number(
        &self,
        slot: ClientSlot,
        holds_nothing: impl Fn(ClientSlot) -> bool,
    ) -> Option<ClientSlot> {
        let mut best: Option<((u8, Tick), ClientSlot)> = None;
        for number in core::iter::once(slot).chain((0..=u8::MAX).map(ClientSlot)) {
            let rank = match self.accounts.get(usize::from(number.0)) {
                Some(AccountHolder::Unused) => (0, Tick(0)),
                Some(AccountHolder::Away(_, since)) if holds_nothing(number) => (1, *since),
                Some(AccountHolder::Away(_, since)) => (2, *since),
                Some(AccountHolder::Attached(..)) | None => continue,
            };
            if best.is_none_or(|(before, _)| rank < before) {
                best = Some((rank, number));
            }
        }
        best.map(|(_, number)| number)
    }

    /// Notes at `now` that the client of this number has left. Returns who had flows with it that are not on its
    /// own account.
    pub fn detach(&mut self, number: ClientSlot, now: Tick) -> ClientSet {
        if let Some(account) = self.accounts.get_mut(usize::from(number.0))
            && let AccountHolder::Attached(client, slot) = *account
        {
            *account = AccountHolder::Away(client, now);
            if let Some(place) = self.slots.get_mut(usize::from(slot.0)).or_bug("a slot that does not exist")
            {
                *place = None;
            }
        }
        self.take_callers(number)
    }

    /// The attached client of this number.
    #[inline(always)]
    pub fn get(&self, number: ClientSlot) -> Option<&Client> {
        match self.accounts.get(usize::from(number.0))? {
            AccountHolder::Attached(client, _) => Some(client),
            AccountHolder::Unused | AccountHolder::Away(..) => None,
        }
    }

    /// The attached client of this number.
    pub fn get_mut(&mut self, number: ClientSlot) -> Option<&mut Client> {
        match self.accounts.get_mut(usize::from(number.0))? {
            AccountHolder::Attached(client, _) => Some(client),
            AccountHolder::Unused | AccountHolder::Away(..) => None,
        }
    }

    /// The number of the attached client that has `address`.
    pub fn slot_of(&self, address: Ipv4Addr) -> Option<ClientSlot> {
        self.known(address).filter(|number| self.get(*number).is_some())
    }

    /// The number of the client that has `address` or had it when it left.
    pub fn known(&self, address: Ipv4Addr) -> Option<ClientSlot> {
        let at = self.by_address.binary_search_by_key(&address, |(address, _)| *address).ok()?;
        self.by_address.get(at).map(|(_, number)| *number)
    }

    /// The number of the client on `slot`.
    pub fn on(&self, slot: ClientSlot) -> Option<ClientSlot> {
        self.slots.get(usize::from(slot.0)).copied().flatten()
    }

    /// A side by slot, as vifs have it, as a side by number, as the engine has it; `None` when nobody is attached
    /// there.
    #[inline(always)]
    pub fn inside(&self, side: Side) -> Option<Side> {
        match side {
            Side::Uplink => Some(side),
            Side::Client(slot) => self.on(slot).map(Side::Client),
        }
    }

    /// A side by number as a side by slot, where packets leave; `None` when nobody is attached there.
    #[inline(always)]
    pub fn outside(&self, side: Side) -> Option<Side> {
        let Side::Client(number) = side else { return Some(side) };
        match self.accounts.get(usize::from(number.0))? {
            AccountHolder::Attached(_, slot) => Some(Side::Client(*slot)),
            AccountHolder::Unused | AccountHolder::Away(..) => None,
        }
    }

    /// Notes that `caller` has a flow that ends, or is to be judged again, when the client `number` comes or goes,
    /// and that is not on that one's account.
    pub fn note_caller(&mut self, number: ClientSlot, caller: ClientSlot) {
        if let Some(callers) =
            self.callers.get_mut(usize::from(number.0)).or_bug("a client that does not exist")
        {
            callers.insert(caller);
        }
    }

    fn take_callers(&mut self, number: ClientSlot) -> ClientSet {
        self.callers.get_mut(usize::from(number.0)).map(core::mem::take).unwrap_or_default()
    }
}

impl Default for ClientTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Settings;

    fn address(n: u16) -> Ipv4Addr {
        let [high, low] = n.to_be_bytes();
        Ipv4Addr::new(10, 137, high, low)
    }

    /// Attaches and detaches the client with address `n` at second `n`; its number.
    fn visit(clients: &mut ClientTable, n: u16, holds_nothing: impl Fn(ClientSlot) -> bool) -> ClientSlot {
        let quotas = Settings::for_memory(16 << 20, Ipv4Addr::UNSPECIFIED).quotas;
        let (number, _) = clients.attach(ClientSlot(3), address(n), &quotas, holds_nothing).unwrap();
        clients.detach(number, Tick(n.into()));
        number
    }

    #[test]
    fn s_1_an_address_keeps_its_number_on_whatever_slot_it_comes_back() {
        let quotas = Settings::for_memory(16 << 20, Ipv4Addr::UNSPECIFIED).quotas;
        let mut clients = ClientTable::new();
        let (one, _) = clients.attach(ClientSlot(1), address(1), &quotas, |_| true).unwrap();
        clients.detach(one, Tick(1));
        let (two, _) = clients.attach(ClientSlot(1), address(2), &quotas, |_| true).unwrap();
        assert_ne!(one, two);
        assert_eq!(clients.attach(ClientSlot(9), address(1), &quotas, |_| true).unwrap().0, one);
        assert_eq!(clients.inside(Side::Client(ClientSlot(9))), Some(Side::Client(one)));
        assert_eq!(clients.outside(Side::Client(one)), Some(Side::Client(ClientSlot(9))));
    }

    #[test]
    fn s_1_a_number_is_given_away_when_none_is_unused_and_best_one_that_nothing_is_left_on() {
        let mut clients = ClientTable::new();
        let numbers: Vec<ClientSlot> = (0..256).map(|n| visit(&mut clients, n, |_| true)).collect();
        let busy = [numbers[0], numbers[1]];
        assert_eq!(visit(&mut clients, 300, |number| !busy.contains(&number)), numbers[2]);
        assert_eq!(clients.known(address(2)), None);
        assert_eq!(visit(&mut clients, 301, |_| false), numbers[0]);
        assert_eq!(visit(&mut clients, 1, |_| false), numbers[1]);
    }
}
