//! System time and wall clock, and their faults: time jumps, the kernel's CPU is taken away for a while, the wall clock is set.

use crate::base::time::{Moment, UnixSeconds};
use crate::sim::prng::Prng;
use core::time::Duration;

/// Seconds since the epoch when system time was zero.
const EPOCH: u64 = 1_750_000_000;

/// How far the wall clock is ever set off.
pub const MOST_OFF: u64 = 300_000_000;

/// Something that happens to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockFault {
    /// System time goes on by so much while nobody runs.
    Jump(Duration),
    /// The kernel does not run for so long, everybody else does.
    Pause(Duration),
    /// The wall clock is set.
    Step,
}

/// The clocks.
#[derive(Clone, Debug)]
pub struct Clock {
    /// About so long between two faults; without, there are none.
    pub every: Option<Duration>,
    next: Moment,
    /// The wall clock is ahead by so many seconds, less [`MOST_OFF`].
    offset: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { every: None, next: Moment::default(), offset: MOST_OFF }
    }
}

impl Clock {
    /// The wall clock.
    pub fn unix_time(&self, now: Moment) -> UnixSeconds {
        UnixSeconds(EPOCH + self.offset - MOST_OFF + now.as_nanoseconds() / 1_000_000_000)
    }

    /// A second that the wall clock has always passed, whatever was done to it.
    pub const ALWAYS_PAST: u64 = EPOCH - MOST_OFF;
    /// A second that it never reaches.
    pub const NEVER_REACHED: u64 = EPOCH + 2 * MOST_OFF;

    /// What happens now, if anything.
    pub fn upset(&mut self, now: Moment, prng: &mut Prng) -> Option<ClockFault> {
        let every = self.every?;
        if now < self.next {
            return None;
        }
        let first = self.next == Moment::default();
        // Jumps are short and rare enough for libxl, which waits ten seconds for each step of a removal.
        let wait = (every.as_millis() as u64).max(4_000);
        self.next = now + Duration::from_millis(prng.between(wait / 2, wait * 2));
        if first {
            return None;
        }
        Some(match prng.below(3) {
            0 => ClockFault::Jump(Duration::from_millis(prng.between(1, 1500))),
            1 => ClockFault::Pause(Duration::from_micros(prng.between(10, 400_000))),
            _ => {
                self.offset = prng.below(2 * MOST_OFF);
                ClockFault::Step
            }
        })
    }
}
