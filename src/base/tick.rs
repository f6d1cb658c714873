//! Time as the tables count it: whole seconds, in four bytes.

use crate::base::time::Moment;

/// A length of time in seconds, as timeouts are configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seconds(pub u32);

/// A whole second of system time.
///
/// An entry whose deadline is tick `d` lives through all of that second and is over in the next one, so a
/// timeout of n seconds means more than n and at most n + 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(pub u32);

impl Tick {
    /// The second that `now` falls in; the last one there is after 136 years.
    pub fn at(now: Moment) -> Tick {
        Tick(u32::try_from(now.as_nanoseconds() / 1_000_000_000).unwrap_or(u32::MAX))
    }

    /// The moment this second begins.
    pub fn begins(self) -> Moment {
        Moment::from_nanoseconds(u64::from(self.0) * 1_000_000_000)
    }

    /// The tick that is `span` later.
    #[must_use]
    pub const fn after(self, span: Seconds) -> Tick {
        Tick(self.0.saturating_add(span.0))
    }

    /// The tick that is `span` earlier.
    #[must_use]
    pub const fn before(self, span: Seconds) -> Tick {
        Tick(self.0.saturating_sub(span.0))
    }

    /// Whether a deadline at this tick is over at `now`.
    pub const fn is_over(self, now: Tick) -> bool {
        self.0 < now.0
    }
}
