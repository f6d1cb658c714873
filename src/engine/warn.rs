//! What the console is told when something runs out: each thing once in a while, whatever happens.

use super::datapath::Datapath;
use crate::base::drop_reason::DropReason;
use crate::base::side::ClientSlot;
use crate::base::tick::{Seconds, Tick};
use crate::base::time::Moment;

/// How long after a notice the next one may follow.
const INTERVAL: Seconds = Seconds(60);

impl Datapath {
    /// Says on the log that new flows of the client of this number are refused for `why`, unless the same was
    /// said a short time ago, of whatever client.
    pub(super) fn warn(&mut self, now: Moment, number: ClientSlot, why: DropReason) {
        let tick = Tick::at(now);
        let Some(next) = self.next_warnings.get_mut(why as usize).filter(|next| **next <= tick) else {
            return;
        };
        *next = tick.after(INTERVAL);
        if let Some(client) = self.clients.get(number) {
            let refused = self.counters.dropped.of(why).saturating_add(1);
            log::warn!("{}: new flows refused ({}, {refused} packets so far)", client.address, why.name());
        }
    }
}
