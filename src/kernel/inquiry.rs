//! Something that XenStore is asked when it may have changed, and again a second after that failed: nothing else may ever
//! announce it.

use crate::base::time::Moment;
use crate::store::{Job, StoreError};
use crate::vif::lifecycle::RETRY_AFTER;
use core::future::Future;
use core::task::Poll;

/// What is asked, one conversation at a time.
#[derive(Debug)]
pub(super) struct Inquiry<T> {
    /// The conversation that goes on.
    job: Option<Job<Result<T, StoreError>>>,
    /// It may have changed since it was last asked.
    stale: bool,
    failure: LastFailure,
}

/// How the last conversation failed, if it did.
#[derive(Debug, Default)]
struct LastFailure {
    /// When it is asked again.
    again: Option<Moment>,
    why: Option<StoreError>,
}

impl<T> Default for Inquiry<T> {
    fn default() -> Self {
        Self { job: None, stale: false, failure: LastFailure::default() }
    }
}

impl<T> Inquiry<T> {
    /// The answer may have changed: it is to be asked.
    pub(super) fn look_again(&mut self) {
        self.stale = true;
    }

    /// Whether [`Self::next`] has something to ask.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.job.is_none() && (self.stale || self.failure.again.is_some_and(|again| again <= now))
    }

    /// When it has, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.failure.again
    }

    /// The next answer, if XenStore has given it; `ask` begins the conversation. What failed and is
    /// [transient](StoreError::is_transient) is asked again a second later, and the same failure is returned once.
    pub(super) fn next<F>(&mut self, now: Moment, ask: impl FnOnce() -> F) -> Option<Result<T, StoreError>>
    where
        F: Future<Output = Result<T, StoreError>> + 'static,
    {
        if self.is_due(now) {
            (self.stale, self.failure.again) = (false, None);
            self.job = Some(Job::new(ask()));
        }
        let Poll::Ready(answer) = self.job.as_mut()?.poll() else { return None };
        self.job = None;
        match answer {
            Ok(answer) => {
                self.failure.why = None;
                Some(Ok(answer))
            }
            Err(error) => self.failure.note(error, now).map(Err),
        }
    }
}

impl LastFailure {
    /// Notes a failure. The error, unless it is that of the attempt before.
    fn note(&mut self, error: StoreError, now: Moment) -> Option<StoreError> {
        self.again = error.is_transient().then(|| now + RETRY_AFTER);
        let is_known = self.why.as_ref() == Some(&error);
        self.why = Some(error.clone());
        (!is_known).then_some(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Moment = Moment::from_nanoseconds(1_000_000_000);

    #[test]
    fn what_is_transient_is_asked_again_a_second_later_and_said_once() {
        let mut inquiry = Inquiry::default();
        let busy = || async { Err::<u8, _>(StoreError::Busy) };
        assert_eq!((inquiry.next(START, busy), inquiry.deadline()), (None, None));
        inquiry.look_again();
        let second = START + RETRY_AFTER;
        assert_eq!(inquiry.next(START, busy), Some(Err(StoreError::Busy)));
        assert_eq!((inquiry.deadline(), inquiry.is_due(START)), (Some(second), false));
        let third = second + RETRY_AFTER;
        assert_eq!((inquiry.next(second, busy), inquiry.deadline()), (None, Some(third)));
        assert_eq!(inquiry.next(third, || async { Ok(7) }), Some(Ok(7)));
        assert_eq!((inquiry.deadline(), inquiry.is_due(third)), (None, false));
        // It is new after an answer.
        inquiry.look_again();
        assert_eq!(inquiry.next(third, busy), Some(Err(StoreError::Busy)));
    }

    #[test]
    fn what_is_not_there_is_asked_again_when_it_may_have_changed_only() {
        let mut inquiry = Inquiry::default();
        inquiry.look_again();
        let gone = || async { Err::<u8, _>(StoreError::NoEntry) };
        assert_eq!(inquiry.next(START, gone), Some(Err(StoreError::NoEntry)));
        assert_eq!((inquiry.deadline(), inquiry.is_due(START + RETRY_AFTER)), (None, false));
    }
}
