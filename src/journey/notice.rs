//! What the console is told when something runs out: each thing once in a while, whatever happens.

use super::engine::Engine;
use crate::client::ClientSlot;
use crate::counters::Drop;
use crate::flow::tick::{Seconds, Tick};
use crate::time::Moment;

/// How long after a notice the next one may follow.
const INTERVAL: Seconds = Seconds(60);

impl Engine {
    /// Says on the log that new flows of the client on `slot` are refused for `why`, unless that was
    /// said a short time ago.
    pub(super) fn notice(&mut self, now: Moment, slot: ClientSlot, why: Drop) {
        let tick = Tick::at(now);
        let Some(next) = self.next_notices.get_mut(why as usize).filter(|next| **next <= tick) else {
            return;
        };
        *next = tick.after(INTERVAL);
        if let Some(client) = self.clients.get(slot) {
            let refused = self.counters.dropped(why).saturating_add(1);
            log::warn!("{}: new flows refused ({}, {refused} packets so far)", client.address, why.name());
        }
    }
}
