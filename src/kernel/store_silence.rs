//! Notices, once, that xenstored is slow or silent: packets go on, and clients cannot come or go.

use super::event::StoreEvent;
use crate::base::time::Moment;
use crate::store::{Store, StoreRing};
use alloc::format;
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
    /// Looks at the requests that are unanswered. Returns an event when a reply has become overdue, and when replies
    /// have been prompt again for long enough.
    pub(super) fn look<R: StoreRing>(&mut self, now: Moment, store: &Store<R>) -> Option<StoreEvent> {
        Some(match self.note(now, store.unanswered(), store.replies())? {
            Reached::Slow(waited) => {
                let (asked, ring) = store.status();
                StoreEvent::Slow { waited, status: format!("{asked:?}; {ring}") }
            }
            Reached::Prompt => StoreEvent::Prompt,
        })
    }

    /// As [`Self::look`], given how many requests are unanswered, and how many `replies` there were since boot.
    fn note(&mut self, now: Moment, unanswered: usize, replies: u64) -> Option<Reached> {
        let waited = self.since.map_or(Duration::ZERO, |since| now.since(since));
        let mut say = None;
        if waited >= SLOW {
            say = self.slow.is_none().then_some(Reached::Slow(waited));
            self.slow = Some(now);
        } else if self.slow.is_some_and(|slow| now >= slow + PROMPT) {
            say = Some(Reached::Prompt);
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

/// What is worth a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    /// Nothing has come for so long.
    Slow(Duration),
    /// It has been prompt for long enough.
    Prompt,
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
        assert_eq!(silence.note(at(11), 1, 0), Some(Reached::Slow(Duration::from_secs(1))));
        assert_eq!((silence.slow, silence.deadline()), (Some(at(11)), None));
        // One reply a second is still slow.
        silence.note(at(12), 1, 1);
        assert_eq!(silence.note(at(13), 1, 1), None);
        assert_eq!(silence.slow, Some(at(13)));
        silence.note(at(14), 0, 2);
        silence.note(at(72), 0, 2);
        assert_eq!(silence.slow, Some(at(14)));
        assert_eq!(silence.note(at(74), 0, 2), Some(Reached::Prompt));
        assert_eq!((silence.slow, silence.deadline()), (None, None));
    }
}
