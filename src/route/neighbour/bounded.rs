//! Items held on accounts in bounded space: when it is full, the account that holds most gives up its oldest.
//!
//! So an account that holds no more than its equal part of the space loses nothing to others, however many there are
//! and without anybody being told who takes part.

use crate::base::bug::OrBug;
use crate::tables::share::Account;
use crate::tables::slab::{Ends, Id, Links, Slab};
use alloc::boxed::Box;

/// How much may be held, in whatever unit the costs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// On all accounts together.
    pub total: u32,
    /// On one.
    pub per_account: u32,
}

/// A thing that is held.
pub struct Item<T> {
    account: Account,
    cost: u32,
    value: T,
}

/// The name of a thing that is held.
pub type ItemId<T> = Id<Item<T>>;

/// What one account holds: oldest first, and what it costs.
struct AccountItems<T> {
    order: Ends<Item<T>>,
    held: u32,
}

/// Whether something more can be held.
pub enum Admission<T> {
    /// It can.
    There,
    /// Not before this one is taken out: take it out, and ask again.
    Behind(ItemId<T>),
    /// It costs more than its account may hold.
    Never,
}

/// Things that are held.
pub struct Bounded<T> {
    items: Slab<Item<T>>,
    order: Links<Item<T>>,
    accounts: Box<[AccountItems<T>]>,
    held: u32,
    bounds: Bounds,
}

impl<T> Bounded<T> {
    /// Nothing yet. All memory is allocated now.
    pub fn new(bounds: Bounds) -> Self {
        let capacity = bounds.total as usize;
        let accounts = (0..Account::COUNT).map(|_| AccountItems { order: Ends::EMPTY, held: 0 });
        Self {
            items: Slab::new(capacity),
            order: Links::new(capacity),
            accounts: accounts.collect(),
            held: 0,
            bounds,
        }
    }

    /// What is held on `account`.
    pub fn held(&self, account: Account) -> u32 {
        self.accounts.get(account.position()).map_or(0, |holding| holding.held)
    }

    /// Whether something that costs `cost` can be held on `account`.
    pub fn room(&self, account: Account, cost: u32) -> Admission<T> {
        let Some(own) = self.accounts.get(account.position()) else { return Admission::Never };
        let behind =
            |holding: &AccountItems<T>| holding.order.first().map_or(Admission::Never, Admission::Behind);
        let wanted = own.held + cost;
        if wanted > self.bounds.per_account {
            return behind(own);
        }
        if self.held + cost <= self.bounds.total {
            return Admission::There;
        }
        match self.accounts.iter().max_by_key(|holding| holding.held) {
            Some(most) if most.held >= wanted => behind(most),
            _ => behind(own),
        }
    }

    /// Holds `value`, for which there is [`Self::room`], on `account`. It comes back when there is none.
    pub fn insert(&mut self, account: Account, cost: u32, value: T) -> Result<ItemId<T>, T> {
        debug_assert!(cost > 0 && matches!(self.room(account, cost), Admission::There));
        let Some(holding) = self.accounts.get_mut(account.position()).or_bug("no such account") else {
            return Err(value);
        };
        let place = self.items.insert(Item { account, cost, value }).or_bug("there is no room");
        let place = place.map_err(|item| item.value)?;
        holding.held += cost;
        self.held += cost;
        self.order.push(&mut holding.order, place);
        Ok(place)
    }

    /// The thing at `place`.
    pub fn get(&self, place: ItemId<T>) -> Option<&T> {
        self.items.get(place).map(|item| &item.value)
    }

    /// The thing at `place`.
    pub fn get_mut(&mut self, place: ItemId<T>) -> Option<&mut T> {
        self.items.get_mut(place).map(|item| &mut item.value)
    }

    /// On whose account it is.
    pub fn account(&self, place: ItemId<T>) -> Option<Account> {
        self.items.get(place).map(|item| item.account)
    }

    /// Makes it the newest of its account.
    pub fn renew(&mut self, place: ItemId<T>) {
        if let Some(item) = self.items.get(place)
            && let Some(holding) = self.accounts.get_mut(item.account.position())
        {
            self.order.remove(&mut holding.order, place);
            self.order.push(&mut holding.order, place);
        }
    }

    /// Takes it out.
    pub fn remove(&mut self, place: ItemId<T>) -> Option<T> {
        let Item { account, cost, value } = self.items.remove(place)?;
        if let Some(holding) = self.accounts.get_mut(account.position()).or_bug("no such account") {
            self.order.remove(&mut holding.order, place);
            holding.held = holding.held.saturating_sub(cost);
            self.held = self.held.saturating_sub(cost);
        }
        Some(value)
    }

    /// What is held longest on `account`.
    pub fn first_of(&self, account: Account) -> Option<ItemId<T>> {
        self.accounts.get(account.position())?.order.first()
    }

    /// Any of what is held.
    pub fn any(&self) -> Option<ItemId<T>> {
        self.accounts.iter().find_map(|holding| holding.order.first())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::side::ClientSlot;
    use std::vec;
    use std::vec::Vec;

    const ONE: Account = Account::client(ClientSlot(1));
    const TWO: Account = Account::client(ClientSlot(2));
    const THREE: Account = Account::client(ClientSlot(3));

    /// Holds `value` and says what had to go for it; itself if it found no room.
    fn hold(held: &mut Bounded<u32>, account: Account, cost: u32, value: u32) -> Vec<u32> {
        let mut gone = vec![];
        loop {
            match held.room(account, cost) {
                Admission::There => break,
                Admission::Behind(place) => gone.extend(held.remove(place)),
                Admission::Never => return [gone, vec![value]].concat(),
            }
        }
        held.insert(account, cost, value).unwrap();
        gone
    }

    fn bounded() -> Bounded<u32> {
        Bounded::new(Bounds { total: 12, per_account: 8 })
    }

    #[test]
    fn s_4_an_account_at_its_bound_gives_its_own_oldest() {
        let mut held = bounded();
        hold(&mut held, TWO, 1, 0);
        assert!((1..=8).all(|value| hold(&mut held, ONE, 1, value).is_empty()));
        assert_eq!(hold(&mut held, ONE, 1, 9), [1]);
        assert_eq!(hold(&mut held, ONE, 3, 10), [2, 3, 4]);
        assert_eq!((held.held(ONE), held.held(TWO)), (8, 1));
    }

    #[test]
    fn s_4_in_full_space_whoever_holds_most_gives_way() {
        let mut held = bounded();
        (0..8).for_each(|value| assert_eq!(hold(&mut held, ONE, 1, value), []));
        (10..14).for_each(|value| assert_eq!(hold(&mut held, TWO, 1, value), []));
        assert_eq!(hold(&mut held, THREE, 3, 20), [0, 1, 2]);
        assert_eq!(hold(&mut held, TWO, 1, 14), [3]);
        // Nobody holds more than it would.
        assert_eq!(hold(&mut held, TWO, 1, 15), [10]);
        assert_eq!((held.held(ONE), held.held(TWO), held.held(THREE)), (4, 5, 3));
    }

    #[test]
    fn s_4_an_equal_part_is_lost_to_nobody() {
        let mut held = bounded();
        [ONE, TWO, THREE].into_iter().for_each(|account| {
            hold(&mut held, account, 4, 0);
        });
        assert_eq!(hold(&mut held, THREE, 5, 1), [0, 1]);
        assert_eq!(hold(&mut held, Account::UPLINK, 5, 2), [2]);
        assert_eq!((held.held(ONE), held.held(TWO)), (4, 4));
    }

    #[test]
    fn what_is_used_is_not_the_oldest_and_what_costs_too_much_is_never_held() {
        let mut held = bounded();
        let first = held.insert(ONE, 4, 1).unwrap();
        held.insert(ONE, 4, 2).unwrap();
        held.renew(first);
        assert_eq!(hold(&mut held, ONE, 4, 3), [2]);
        assert_eq!(hold(&mut held, TWO, 9, 4), [4]);
        assert_eq!((held.get(first), held.account(first)), (Some(&1), Some(ONE)));
    }
}
