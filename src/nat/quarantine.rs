//! Ports of one pool in quarantine: which has been there longest, of one account and of all.
//!
//! Each account's mappings in quarantine are a list in the order in which they came there. Above the first members of these
//! lists stands a tournament tree: every node holds the earlier of the two ends of quarantine below it. So a port is put
//! there, taken out or freed in the same few steps whatever the number of ports and accounts.

use alloc::boxed::Box;
use alloc::vec;

use super::mapping::Mapping;
use crate::base::tick::Tick;
use crate::tables::share::Account;
use crate::tables::slab::{Ends, Id};

/// Leaves of the tournament: a power of two, at least one per account.
const LEAVES: usize = Account::COUNT.next_power_of_two();

/// The end of quarantine of an account that has nothing there: a tick that is never over.
const NEVER: Tick = Tick(u32::MAX);

/// The mappings of one pool that are in quarantine.
pub struct Quarantine {
    lists: Box<[Ends<Mapping>]>,
    /// The root at 1, the two nodes below the one at n at 2n and 2n + 1, the accounts from [`LEAVES`] on.
    earliest: Box<[Tick]>,
}

impl Quarantine {
    /// Nothing is in quarantine.
    pub fn new() -> Quarantine {
        Quarantine {
            lists: vec![Ends::EMPTY; Account::COUNT].into_boxed_slice(),
            earliest: vec![NEVER; 2 * LEAVES].into_boxed_slice(),
        }
    }

    /// The list of `account`. Whoever changes its first member says so with [`Quarantine::set_first`].
    pub fn list_mut(&mut self, account: Account) -> Option<&mut Ends<Mapping>> {
        self.lists.get_mut(account.position())
    }

    /// The mapping of `account` that has been there longest.
    pub fn first_of(&self, account: Account) -> Option<Id<Mapping>> {
        self.lists.get(account.position())?.first()
    }

    /// Notes the last second in quarantine of the first of `account`; `None` when it has none.
    pub fn set_first(&mut self, account: Account, until: Option<Tick>) {
        let mut node = LEAVES + account.position();
        let mut earlier = until.unwrap_or(NEVER);
        while let Some(at) = self.earliest.get_mut(node) {
            if *at == earlier {
                return;
            }
            *at = earlier;
            let other = self.earliest.get(node ^ 1).copied().unwrap_or(NEVER);
            earlier = earlier.min(other);
            node /= 2;
            if node == 0 {
                return;
            }
        }
    }

    /// The last second of the quarantine that is over first; `None` when there is none.
    pub fn earliest(&self) -> Option<Tick> {
        self.earliest.get(1).copied().filter(|until| *until != NEVER)
    }

    /// The mapping whose quarantine is over first, if that is so at `now`.
    pub fn released(&self, now: Tick) -> Option<Id<Mapping>> {
        let until = self.earliest().filter(|until| until.is_over(now))?;
        let mut node = 1;
        while node < LEAVES {
            node *= 2;
            if self.earliest.get(node) != Some(&until) {
                node += 1;
            }
        }
        self.lists.get(node - LEAVES)?.first()
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::side::ClientSlot;

    #[test]
    fn the_earliest_of_all_accounts_is_known_whoever_comes_and_goes() {
        let mut quarantine = Quarantine::new();
        let mut untils = [None; 256];
        let mut seed = 1u32;
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let slot = (seed >> 24) as u8;
            let until = (seed & 0x300 != 0).then_some(Tick(seed >> 10 & 0x3F));
            untils[usize::from(slot)] = until;
            quarantine.set_first(Account::client(ClientSlot(slot)), until);
            assert_eq!(quarantine.earliest(), untils.iter().flatten().min().copied());
        }
        for account in (0..=255).map(|slot| Account::client(ClientSlot(slot))) {
            quarantine.set_first(account, None);
        }
        assert_eq!(quarantine.earliest(), None);
    }
}
