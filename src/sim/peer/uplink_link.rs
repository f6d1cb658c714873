//! The way between the uplink's backend and the network beyond, in one direction.

use super::backend_config::{BackendConfig, LinkLimit};
use crate::base::time::Moment;
use crate::sim::machine::Machine;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// Frames on the way in either direction: more are lost. That is more than two floods
/// send at once, who are not to cost anybody else anything here.
const MOST_UNDERWAY: usize = 8192;

/// Frames on their way, the oldest first, each with its time of arrival.
#[derive(Debug, Default)]
pub(super) struct LinkDirection {
    frames: VecDeque<(Moment, Vec<u8>)>,
    /// When a limited link is done with what it was given.
    pub(super) free: Moment,
}

impl LinkDirection {
    /// Puts a frame on its way, unless it is lost.
    pub(super) fn send(&mut self, config: &BackendConfig, machine: &mut Machine, frame: Vec<u8>) {
        if self.frames.len() >= MOST_UNDERWAY || machine.prng.chance(config.loss_per_mille) {
            return;
        }
        let longest = config.latency.as_nanos() as u64;
        let latency = Duration::from_nanos(machine.prng.between(longest / 2, longest));
        let mut due = machine.now + latency;
        if let Some(link) = config.link {
            self.free = machine.now.max(self.free) + link.time_for(frame.len() as u64);
            due = self.free + latency;
        }
        // A cable keeps the order.
        let due = self.frames.back().map_or(due, |(last, _)| due.max(*last));
        self.frames.push_back((due, frame));
    }

    /// The oldest frame, if it has arrived.
    pub(super) fn arrived(&self, now: Moment) -> Option<&[u8]> {
        self.frames.front().filter(|(due, _)| *due <= now).map(|(_, frame)| frame.as_slice())
    }

    /// Takes it.
    pub(super) fn take_arrived(&mut self, now: Moment) -> Option<Vec<u8>> {
        self.arrived(now)?;
        self.frames.pop_front().map(|(_, frame)| frame)
    }

    /// When the oldest frame arrives, if it has not.
    pub(super) fn next_arrival(&self, now: Moment) -> Option<Moment> {
        self.frames.front().map(|(due, _)| *due).filter(|due| *due > now)
    }

    /// Loses all frames.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }

    /// Until when nothing is taken for a link as full as this one.
    pub(super) fn full_until(&self, limit: Option<LinkLimit>, now: Moment) -> Option<Moment> {
        limit.map(|limit| limit.takes_from(self.free)).filter(|until| *until > now)
    }
}
