//! Which accounts may hold more than their limit, because it was lowered, and how often their flows were spared.

use alloc::boxed::Box;
use alloc::vec;

use crate::base::tick::Seconds;
use crate::tables::share::Account;

/// How long a flow counts as in use after its opener last sent: most answers come sooner.
pub(super) const IN_USE: Seconds = Seconds(2);

/// New flows that a client may open at once without one ending another: a resolver asks for two kinds of addresses, or
/// two servers.
pub(super) const BURST: u8 = 4;

/// Whether anybody can have more than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// No limit was changed yet.
    Impossible,
    /// One may have been lowered.
    Possible,
}

/// How often in a row flows of each account were spared.
pub(super) struct Spared {
    /// Whether any account can be above its limit. Asked for every new flow, before anything that costs more.
    pub(super) excess: Excess,
    times: Box<[u8]>,
}

impl Spared {
    /// None yet.
    pub(super) fn new() -> Spared {
        Spared { excess: Excess::Impossible, times: vec![0; Account::COUNT].into_boxed_slice() }
    }

    /// Whether a flow on `account` is spared once more: not more than [`BURST`] times in a row, so that one of so many
    /// new flows and one more always ends another.
    pub(super) fn spare(&mut self, account: Account) -> bool {
        let times = self.times.get_mut(account.position()).filter(|times| **times < BURST);
        times.is_some_and(|times| {
            *times += 1;
            true
        })
    }

    /// One on `account` ends.
    pub(super) fn begin_anew(&mut self, account: Account) {
        if let Some(times) = self.times.get_mut(account.position()) {
            *times = 0;
        }
    }
}
