//! A flaky host, or network: for a while it is slow, lossy or gone, and then well again.

use crate::base::time::Moment;
use crate::sim::host::Host;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::prng::Prng;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// How the host is reached for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinkState {
    Well,
    /// Each frame takes so much longer, in either direction.
    Slow(Duration),
    /// Of thousand frames so many are lost.
    Lossy(u64),
    /// Nothing arrives and nothing leaves.
    Gone,
}

/// Frames held up in either direction: more are lost.
const MOST_HELD: usize = 512;

/// Frames on their way, oldest first.
type DelayedFrames = VecDeque<(Moment, Vec<u8>)>;

/// A host behind a flaky link.
pub struct Flaky {
    host: Box<dyn Host>,
    state: LinkState,
    every: Duration,
    until: Moment,
    next: Moment,
    arrived: Vec<Vec<u8>>,
    inward: DelayedFrames,
    outward: DelayedFrames,
    now: Moment,
}

impl Flaky {
    /// `host`, whose link changes about so often and is well from `until` on.
    pub fn new(host: Box<dyn Host>, every: Duration, until: Moment) -> Self {
        let (state, next, now) = (LinkState::Well, Moment::default(), Moment::default());
        let (arrived, inward, outward) = (Vec::new(), DelayedFrames::new(), DelayedFrames::new());
        Self { host, state, every, until, next, arrived, inward, outward, now }
    }

    fn change(&mut self, now: Moment, prng: &mut Prng) {
        if now >= self.until {
            self.state = LinkState::Well;
        } else if now >= self.next {
            self.state = match prng.below(6) {
                0 => LinkState::Slow(Duration::from_millis(prng.between(1, 300))),
                1 => LinkState::Lossy(*prng.pick(&[10, 100, 500])),
                2 => LinkState::Gone,
                _ => LinkState::Well,
            };
            let mean = self.every.as_nanos() as u64;
            self.next = now + Duration::from_nanos(prng.between(mean / 4, mean * 2));
        }
    }

    fn hold(state: LinkState, queue: &mut DelayedFrames, frame: Vec<u8>, now: Moment, prng: &mut Prng) {
        let due = match state {
            LinkState::Gone => return,
            LinkState::Lossy(per_mille) if prng.chance(per_mille) => return,
            LinkState::Slow(span) => now + span,
            LinkState::Lossy(_) | LinkState::Well => now,
        };
        if queue.len() < MOST_HELD {
            // It keeps the order.
            let due = queue.back().map_or(due, |(last, _)| due.max(*last));
            queue.push_back((due, frame));
        }
    }
}

fn due(queue: &DelayedFrames) -> Option<Moment> {
    queue.front().map(|(due, _)| *due)
}

impl Host for Flaky {
    fn receive(&mut self, frame: Vec<u8>) {
        self.arrived.push(frame);
    }

    fn poll(&mut self, now: Moment, ledger: &mut Ledger, prng: &mut Prng) {
        self.now = now;
        self.change(now, prng);
        for frame in self.arrived.drain(..) {
            Self::hold(self.state, &mut self.inward, frame, now, prng);
        }
        while due(&self.inward).is_some_and(|due| due <= now)
            && let Some((_, frame)) = self.inward.pop_front()
        {
            self.host.receive(frame);
        }
        self.host.poll(now, ledger, prng);
        while self.outward.len() < MOST_HELD
            && let Some(frame) = self.host.transmit()
        {
            Self::hold(self.state, &mut self.outward, frame, now, prng);
        }
    }

    fn transmit(&mut self) -> Option<Vec<u8>> {
        due(&self.outward).filter(|due| *due <= self.now)?;
        self.outward.pop_front().map(|(_, frame)| frame)
    }

    fn deadline(&mut self, now: Moment) -> Option<Moment> {
        let held = due(&self.inward).into_iter().chain(due(&self.outward));
        held.chain(self.host.deadline(now)).min()
    }

    fn is_honest(&self) -> bool {
        self.host.is_honest()
    }
}
