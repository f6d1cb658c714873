//! The listing of all clients' devices: what a single event does not name is found by it.

use super::backend_devices::list;
use super::retry::Retry;
use crate::base::time::Moment;
use crate::store::{Job, Store, StoreError, StoreRing};
use crate::vif::device_id::DeviceId;
use alloc::vec::Vec;
use core::task::Poll;

/// The listing.
#[derive(Debug, Default)]
pub(super) struct DeviceScan {
    job: Option<Job<Result<Vec<DeviceId>, StoreError>>>,
    /// Devices are to be listed (again).
    wanted: bool,
    /// The last listing failed.
    retry: Retry,
}

impl DeviceScan {
    /// Devices may have come or gone: they are to be listed.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// Whether [`Self::next`] has something to ask.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.job.is_none() && (self.wanted || self.retry.is_due(now))
    }

    /// When it has, if nothing happens before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.retry.deadline()
    }

    /// The next list, if XenStore has answered. One that failed is begun again a second later, and the same failure is
    /// returned once.
    pub(super) fn next<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        now: Moment,
    ) -> Option<Result<Vec<DeviceId>, StoreError>> {
        if self.is_due(now) {
            self.wanted = false;
            self.retry.begin();
            let store = store.clone();
            self.job = Some(Job::new(async move { list(&store).await }));
        }
        let Poll::Ready(listed) = self.job.as_mut()?.poll() else { return None };
        self.job = None;
        match listed {
            Ok(devices) => {
                self.retry.succeed();
                Some(Ok(devices))
            }
            Err(error) => self.retry.fail(error, now).map(Err),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fake::FakeXenstored;
    use crate::vif::lifecycle::RETRY_AFTER;
    use crate::xen::DomainId;

    #[test]
    fn a_listing_that_fails_is_begun_again_a_second_later() {
        let daemon = FakeXenstored::default();
        let (store, mut scan) = (Store::new(daemon.ring()), DeviceScan::default());
        daemon.set("backend/vif/7/0/frontend", "/local/domain/7/device/vif/0");
        daemon.refuse("Directory backend/vif/7", "EBUSY", 1);
        let start = Moment::from_nanoseconds(1_000_000_000);
        scan.want();
        let mut next = |now| loop {
            let next = scan.next(&store, now);
            if next.is_some() || store.unanswered() == 0 {
                return (next, scan.deadline());
            }
            daemon.run();
            store.poll().unwrap();
        };
        let again = start + RETRY_AFTER;
        assert_eq!(next(start), (Some(Err(StoreError::Busy)), Some(again)));
        assert_eq!(next(start), (None, Some(again)));
        let id = DeviceId { domain: DomainId(7), device: 0 };
        assert_eq!(next(again), (Some(Ok([id].into())), None));
    }
}
