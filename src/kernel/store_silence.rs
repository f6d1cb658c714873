//! Says on the console, once, that xenstored is slow or silent: packets go on, and clients cannot come or go.

use crate::base::time::Moment;
use crate::store::{Store, StoreRing};
use core::time::Duration;

/// How long a reply may take before it is worth a line: xenstored answers within a millisecond.
const SLOW: Duration = Duration::from_secs(1);

/// How long it must have been prompt before it may be said again.
const PROMPT: Duration = Duration::from_secs(60);

/// How long xenstored has been silent.
#[derive(Debug, Default)]
pub(super) struct StoreSilence {
    replies: u64,
    /// Since when something is waited for and nothing has come.
    since: Option<Moment>,
    /// When it was last seen to be slow, until it has been prompt for long enough.
    slow: Option<Moment>,
}

impl StoreSilence {
    /// Looks at how many requests are unanswered now, and how many `replies` there were since boot; says how things stand
    /// when that is too long.
    pub(super) fn look<R: StoreRing>(&mut self, now: Moment, store: &Store<R>) {
        let waited = self.note(now, store.unanswered(), store.replies());
        if let Some(waited) = waited {
            let (asked, ring) = store.status();
            let seconds = waited.as_secs();
            log::warn!(
                "xenstored takes {seconds} s to answer: clients wait, packets go on ({asked:?}; {ring})"
            );
        }
    }

    /// Notes that; how long it has been silent if that is to be said now.
    fn note(&mut self, now: Moment, unanswered: usize, replies: u64) -> Option<Duration> {
        let waited = self.since.map_or(Duration::ZERO, |since| now.since(since));
        let mut say = None;
        if waited >= SLOW {
            say = self.slow.is_none().then_some(waited);
            self.slow = Some(now);
        } else if self.slow.is_some_and(|slow| now >= slow + PROMPT) {
            log::info!("xenstored answers promptly again");
            self.slow = None;
        }
        if unanswered == 0 {
            self.since = None;
        } else if self.since.is_none() || replies != self.replies {
            self.since = Some(now);
        }
        self.replies = replies;
        say
    }

    /// When to look again, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        // Said already: nothing more to say before a reply has come.
        self.since.filter(|_| self.slow.is_none()).map(|since| since + SLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanoseconds(seconds * 1_000_000_000)
    }

    #[test]
    fn a_slow_xenstored_is_noticed_once_until_it_was_prompt_for_a_minute() {
        let mut silence = StoreSilence::default();
        silence.note(at(10), 1, 0);
        assert_eq!(silence.deadline(), Some(at(11)));
        silence.note(at(11), 1, 0);
        assert_eq!((silence.slow, silence.deadline()), (Some(at(11)), None));
        // One reply a second is still slow.
        silence.note(at(12), 1, 1);
        silence.note(at(13), 1, 1);
        assert_eq!(silence.slow, Some(at(13)));
        silence.note(at(14), 0, 2);
        silence.note(at(72), 0, 2);
        assert_eq!(silence.slow, Some(at(14)));
        silence.note(at(74), 0, 2);
        assert_eq!((silence.slow, silence.deadline()), (None, None));
    }
}
