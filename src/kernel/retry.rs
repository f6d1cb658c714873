//! What XenStore did not do is tried again, a second later: nothing else may ever announce it.

use crate::base::time::Moment;
use crate::store::StoreError;
use crate::vif::lifecycle::RETRY_AFTER;

/// When something that XenStore is asked is asked again.
#[derive(Debug, Default)]
pub(super) struct Retry {
    at: Option<Moment>,
    /// What it last failed for.
    trouble: Option<StoreError>,
}

impl Retry {
    /// It was never asked, and is to be at `now`.
    pub(super) fn at_once(now: Moment) -> Self {
        Self { at: Some(now), trouble: None }
    }

    /// It is asked now.
    pub(super) fn begin(&mut self) {
        self.at = None;
    }

    /// It was done.
    pub(super) fn succeed(&mut self) {
        *self = Self::default();
    }

    /// It failed at `now`, and is tried again if that can help. The error, unless it is that of the attempt before.
    pub(super) fn fail(&mut self, error: StoreError, now: Moment) -> Option<StoreError> {
        self.at = error.is_transient().then(|| now + RETRY_AFTER);
        let known = self.trouble.as_ref() == Some(&error);
        self.trouble = Some(error.clone());
        (!known).then_some(error)
    }

    /// Whether it is time to try again.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.at.is_some_and(|at| at <= now)
    }

    /// When that is, if it failed.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.at
    }
}
