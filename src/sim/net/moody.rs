//! A host, or a whole network, that is now well, now slow, now lossy, now gone, and comes back.

use super::Host;
use crate::base::time::Moment;
use crate::sim::dice::Dice;
use crate::sim::ledger::Ledger;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

/// How a host is for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
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
type Held = VecDeque<(Moment, Vec<u8>)>;

/// A host with moods.
pub struct Moody {
    host: Box<dyn Host>,
    mood: Mood,
    every: Duration,
    until: Moment,
    next: Moment,
    arrived: Vec<Vec<u8>>,
    inward: Held,
    outward: Held,
    now: Moment,
}

impl Moody {
    /// `host`, whose mood changes about so often and is well from `until` on.
    pub fn new(host: Box<dyn Host>, every: Duration, until: Moment) -> Self {
        let (mood, next, now) = (Mood::Well, Moment::default(), Moment::default());
        let (arrived, inward, outward) = (Vec::new(), Held::new(), Held::new());
        Self { host, mood, every, until, next, arrived, inward, outward, now }
    }

    fn change(&mut self, now: Moment, dice: &mut Dice) {
        if now >= self.until {
            self.mood = Mood::Well;
        } else if now >= self.next {
            self.mood = match dice.below(6) {
                0 => Mood::Slow(Duration::from_millis(dice.between(1, 300))),
                1 => Mood::Lossy(*dice.pick(&[10, 100, 500])),
                2 => Mood::Gone,
                _ => Mood::Well,
            };
            let mean = self.every.as_nanos() as u64;
            self.next = now + Duration::from_nanos(dice.between(mean / 4, mean * 2));
        }
    }

    fn hold(mood: Mood, queue: &mut Held, frame: Vec<u8>, now: Moment, dice: &mut Dice) {
        let due = match mood {
            Mood::Gone => return,
            Mood::Lossy(per_mille) if dice.chance(per_mille) => return,
            Mood::Slow(span) => now + span,
            Mood::Lossy(_) | Mood::Well => now,
        };
        if queue.len() < MOST_HELD {
            // It keeps the order.
            let due = queue.back().map_or(due, |(last, _)| due.max(*last));
            queue.push_back((due, frame));
        }
    }
}

fn due(queue: &Held) -> Option<Moment> {
    queue.front().map(|(due, _)| *due)
}

impl Host for Moody {
    fn receive(&mut self, frame: Vec<u8>) {
        self.arrived.push(frame);
    }

    fn poll(&mut self, now: Moment, ledger: &mut Ledger, dice: &mut Dice) {
        self.now = now;
        self.change(now, dice);
        for frame in self.arrived.drain(..) {
            Self::hold(self.mood, &mut self.inward, frame, now, dice);
        }
        while due(&self.inward).is_some_and(|due| due <= now)
            && let Some((_, frame)) = self.inward.pop_front()
        {
            self.host.receive(frame);
        }
        self.host.poll(now, ledger, dice);
        while self.outward.len() < MOST_HELD
            && let Some(frame) = self.host.transmit()
        {
            Self::hold(self.mood, &mut self.outward, frame, now, dice);
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
