//! How often accounts may have the uplink's network asked.

use crate::base::time::Moment;
use crate::tables::allowance::{Allowance, Rate, Taken};
use crate::tables::share::Account;
use alloc::boxed::Box;
use alloc::vec;

/// Questions on one account. Each is a broadcast that every host of the network has to look at. A network of 254 hosts may
/// be swept at once; all accounts together come to three thousand a second at worst.
pub const RATE: Rate = Rate { per_second: 32, burst: 256 };

/// What each account has left. Accounts are the engine's, so coming back gives no fresh ones.
pub struct RequestAllowances(Box<[Allowance]>);

impl Default for RequestAllowances {
    fn default() -> Self {
        Self(vec![Allowance::new(RATE); Account::COUNT].into_boxed_slice())
    }
}

impl RequestAllowances {
    /// Uses one up, if there is one.
    pub fn take(&mut self, account: Account, now: Moment) -> Taken {
        self.0.get_mut(account.position()).map_or(Taken::Exhausted, |allowance| allowance.take(now))
    }
}
