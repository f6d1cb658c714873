//! How long to wait before a connection is made again that has ended.

use crate::base::time::Moment;
use core::time::Duration;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// The pause doubles with each end, up to a minute. A connection that held for so long begins anew.
#[derive(Debug)]
pub(super) struct ReconnectPause(Duration);

impl Default for ReconnectPause {
    fn default() -> Self {
        Self(SHORTEST)
    }
}

impl ReconnectPause {
    /// A connection made at `since` ends `now`: when to make the next.
    pub(super) fn after(&mut self, since: Moment, now: Moment) -> Moment {
        if now.since(since) >= LONGEST {
            self.0 = SHORTEST;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST);
        now + pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanoseconds(seconds * 1_000_000_000)
    }

    #[test]
    fn a_connection_that_ends_again_and_again_is_made_ever_more_rarely() {
        let mut pause = ReconnectPause::default();
        let pauses = [1, 2, 4, 8, 16, 32, 60, 60].map(|seconds| at(100 + seconds));
        assert_eq!(pauses.map(|_| pause.after(at(100), at(100))), pauses);
    }

    #[test]
    fn one_that_held_for_a_minute_is_made_again_soon() {
        let mut pause = ReconnectPause::default();
        for _ in 0..6 {
            pause.after(at(10), at(10));
        }
        assert_eq!(pause.after(at(100), at(159)), at(159 + 60));
        assert_eq!(pause.after(at(200), at(260)), at(261));
    }
}
