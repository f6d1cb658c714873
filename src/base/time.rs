//! Points in time, as the hypervisor's system time counts them.

use core::ops::{Add, Sub};
use core::time::Duration;

/// A point in time: nanoseconds of Xen system time (zero at some moment before the domain booted).
///
/// It does not run while the host sleeps and may jump ahead when the domain was paused or restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The end of time: after every other moment.
    pub const END: Moment = Moment(u64::MAX);

    /// The moment `nanoseconds` after system time zero.
    pub const fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// Nanoseconds since system time zero.
    pub const fn as_nanoseconds(self) -> u64 {
        self.0
    }

    /// Time passed since `earlier`; zero when the clock went back.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;

    /// Saturates at the end of time (584 years).
    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;

    /// Saturates at system time zero.
    fn sub(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Seconds since the epoch (1970-01-01 UTC): the wall clock, for rules that expire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);
