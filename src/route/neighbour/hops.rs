//! Next hops by address, each on the account of whoever wanted it first.

use super::bounded::{Admission, Bounded, Bounds, Item};
use crate::tables::index::Index;
use crate::tables::share::Account;
use core::net::Ipv4Addr;

/// A hop, and what is known of it.
pub struct Hop<T> {
    address: Ipv4Addr,
    state: T,
}

/// The name of a hop.
pub type HopId<T> = super::bounded::ItemId<Hop<T>>;

/// What a list of hops is made of.
pub type Record<T> = Item<Hop<T>>;

/// Hops of one kind.
pub struct Hops<T> {
    hops: Bounded<Hop<T>>,
    index: Index<Record<T>>,
}

/// The addresses of one network follow each other, so they spread by themselves. An account that chooses its addresses
/// to make a chain long makes it as long as its bound.
fn hash(address: Ipv4Addr) -> u64 {
    address.to_bits().into()
}

impl<T> Hops<T> {
    /// Room for so many.
    pub fn new(bounds: Bounds) -> Self {
        Self { hops: Bounded::new(bounds), index: Index::new(bounds.total as usize) }
    }

    /// How many there are on `account`.
    pub fn held(&self, account: Account) -> u32 {
        self.hops.held(account)
    }

    /// A hop with that address that `is_it` recognises.
    pub fn find(&self, address: Ipv4Addr, mut is_it: impl FnMut(HopId<T>, &T) -> bool) -> Option<HopId<T>> {
        self.index.find(hash(address), |place| {
            self.hops.get(place).is_some_and(|hop| hop.address == address && is_it(place, &hop.state))
        })
    }

    /// Takes in a hop. Those that make room for it are named to `gave_way`.
    pub fn insert(
        &mut self,
        account: Account,
        address: Ipv4Addr,
        state: T,
        mut gave_way: impl FnMut(HopId<T>),
    ) -> Option<HopId<T>> {
        while let Admission::Behind(place) = self.hops.room(account, 1) {
            self.remove(place)?;
            gave_way(place);
        }
        let place = self.hops.insert(account, 1, Hop { address, state }).ok()?;
        self.index.insert(hash(address), place);
        Some(place)
    }

    /// On whose account a hop is, and its address.
    pub fn name(&self, place: HopId<T>) -> Option<(Account, Ipv4Addr)> {
        Some((self.hops.account(place)?, self.hops.get(place)?.address))
    }

    /// What is known of it.
    pub fn get(&self, place: HopId<T>) -> Option<&T> {
        self.hops.get(place).map(|hop| &hop.state)
    }

    /// What is known of it.
    pub fn get_mut(&mut self, place: HopId<T>) -> Option<&mut T> {
        self.hops.get_mut(place).map(|hop| &mut hop.state)
    }

    /// Makes it the last of its account to give way.
    pub fn renew(&mut self, place: HopId<T>) {
        self.hops.renew(place);
    }

    /// Forgets it.
    pub fn remove(&mut self, place: HopId<T>) -> Option<T> {
        let hop = self.hops.remove(place)?;
        self.index.remove(hash(hop.address), place);
        Some(hop.state)
    }

    /// Any hop.
    pub fn any(&self) -> Option<HopId<T>> {
        self.hops.any()
    }
}
