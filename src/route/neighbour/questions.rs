//! How often accounts may have the uplink's network asked.

use crate::flow::allowance::{Allowance, Rate, Taken};
use crate::flow::share::Account;
use crate::time::Moment;
use alloc::boxed::Box;
use alloc::vec;

/// Questions on one account. Each is a broadcast that every host of the network has to look at. A network of 254 hosts may
/// be swept at once; all accounts together come to three thousand a second at worst.
pub const RATE: Rate = Rate { per_second: 32, burst: 256 };

/// What each account has left. Accounts are the journey's, so coming back gives no fresh ones.
pub struct Questions(Box<[Allowance]>);

impl Default for Questions {
    fn default() -> Self {
        Self(vec![Allowance::new(RATE); Account::COUNT].into_boxed_slice())
    }
}

impl Questions {
    /// Uses one up, if there is one.
    pub fn take(&mut self, account: Account, now: Moment) -> Taken {
        self.0.get_mut(account.position()).map_or(Taken::Exhausted, |allowance| allowance.take(now))
    }
}
