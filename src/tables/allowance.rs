//! How often something may happen: a rate with a burst, in eight bytes of state.

use crate::base::time::Moment;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// What is left of a rate (the virtual scheduling form of the leaky bucket, ITU-T I.371).
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    /// When everything used so far would have been due at the plain rate, in nanoseconds.
    used_up_to: u64,
    interval: u64,
    burst: u64,
}

impl Allowance {
    /// All of `rate`'s burst is there. A rate of zero allows nothing.
    pub const fn new(rate: Rate) -> Allowance {
        let interval = match 1_000_000_000u64.checked_div(rate.per_second as u64) {
            Some(interval) => interval,
            None => 0,
        };
        let burst = if interval == 0 { 0 } else { rate.burst as u64 };
        Allowance { used_up_to: 0, interval, burst }
    }

    /// Changes the rate. What was used stays used.
    pub const fn set_rate(&mut self, rate: Rate) {
        *self = Allowance { used_up_to: self.used_up_to, ..Self::new(rate) };
    }

    /// Uses one up if there is one.
    pub fn take(&mut self, now: Moment) -> Taken {
        let now = now.as_nanoseconds();
        let full = now.saturating_add(self.burst * self.interval);
        // A clock that went back must not stop everything until it catches up.
        self.used_up_to = self.used_up_to.clamp(now, full);
        let used = self.used_up_to.saturating_add(self.interval);
        if used > full || self.burst == 0 {
            return Taken::Exhausted;
        }
        self.used_up_to = used;
        Taken::Granted
    }

    /// From when on there is one to be had; the end of time if never.
    pub const fn next(&self) -> Moment {
        match self.burst {
            0 => Moment::END,
            burst => Moment::from_nanoseconds(self.used_up_to.saturating_sub((burst - 1) * self.interval)),
        }
    }
}

/// Whether there was one left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Yes, and it is used up now.
    Granted,
    /// No.
    Exhausted,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn granted(allowance: &mut Allowance, now: u64, tries: usize) -> usize {
        let now = Moment::from_nanoseconds(now);
        (0..tries).filter(|_| allowance.take(now) == Taken::Granted).count()
    }

    #[test]
    fn a_burst_passes_at_once_and_then_the_rate() {
        let mut allowance = Allowance::new(Rate { per_second: 100, burst: 50 });
        let start = 7_000_000_000;
        assert_eq!(granted(&mut allowance, start, 1000), 50);
        assert_eq!(allowance.next(), Moment::from_nanoseconds(start + 10_000_000));
        assert_eq!(granted(&mut allowance, start + 100_000_000, 1000), 10);
        assert_eq!(granted(&mut allowance, start + 3_600_000_000_000, 1000), 50);
    }

    #[test]
    fn a_clock_that_goes_back_does_not_block_for_long() {
        let mut allowance = Allowance::new(Rate { per_second: 100, burst: 50 });
        assert_eq!(granted(&mut allowance, 3_600_000_000_000, 50), 50);
        assert_eq!(granted(&mut allowance, 10_000_000, 1), 0);
        assert_eq!(granted(&mut allowance, 20_000_000, 1), 1);
    }

    #[test]
    fn a_rate_that_changes_gives_nobody_anything_at_once() {
        let mut allowance = Allowance::new(Rate { per_second: 100, burst: 50 });
        let start = 7_000_000_000;
        assert_eq!(granted(&mut allowance, start, 1000), 50);
        allowance.set_rate(Rate { per_second: 10, burst: 5 });
        assert_eq!(granted(&mut allowance, start, 1000), 0);
        assert_eq!(granted(&mut allowance, start + 3_600_000_000_000, 1000), 5);
        allowance.set_rate(Rate { per_second: 1000, burst: 9 });
        assert!(granted(&mut allowance, start + 3_600_000_000_000, 1000) <= 9);
        assert_eq!(granted(&mut allowance, start + 7_200_000_000_000, 1000), 9);
    }

    #[test]
    fn a_rate_of_zero_allows_nothing() {
        assert_eq!(granted(&mut Allowance::new(Rate { per_second: 0, burst: 5 }), 1, 5), 0);
    }
}
