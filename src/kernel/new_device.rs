//! A client's device that was announced and is being read; its slot waits for it.

use super::inquiry::Inquiry;
use crate::base::time::Moment;
use crate::store::{Store, StoreError, StoreRing};
use crate::vif::backend_directory::BackendDirectory;
use crate::vif::device_id::DeviceId;
use crate::vif::features::Support;
use alloc::string::String;

/// A device that is being read.
#[derive(Debug)]
pub(super) struct NewDevice {
    id: DeviceId,
    /// Token of the watch on the frontend's state.
    token: String,
    /// Whether it is offered an event channel per ring.
    split: Support,
    reading: Inquiry<BackendDirectory>,
    /// A change was announced while the device was being read: if it was not there yet, it may be there now.
    pub(super) stale: bool,
}

impl NewDevice {
    /// A device that was just announced.
    pub(super) fn new(id: DeviceId, token: String, split: Support) -> Self {
        let mut reading = Inquiry::default();
        reading.look_again();
        Self { id, token, split, reading, stale: false }
    }

    /// Which device this is.
    pub(super) fn id(&self) -> DeviceId {
        self.id
    }

    /// Whether [`Self::next`] has something to ask.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.reading.is_due(now)
    }

    /// When [`Self::is_due`] becomes true.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.reading.deadline()
    }

    /// What the toolstack wrote about the device, if XenStore has answered. What failed and is transient is asked again a
    /// second later, and the same failure is returned once; after any other there is nothing more to ask.
    pub(super) fn next<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        now: Moment,
    ) -> Option<Result<BackendDirectory, StoreError>> {
        let (id, split) = (self.id, self.split);
        self.reading.next(now, || {
            let (token, store) = (self.token.clone(), store.clone());
            async move { BackendDirectory::discover(id, token, split, &store).await }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::fake::{FakeRing, FakeXenstored};
    use crate::vif::lifecycle::RETRY_AFTER;
    use crate::xen::DomainId;

    const START: Moment = Moment::from_nanoseconds(1_000_000_000);
    const ID: DeviceId = DeviceId { domain: DomainId(7), device: 0 };

    fn next(
        device: &mut NewDevice,
        (daemon, store): (&FakeXenstored, &Store<FakeRing>),
        now: Moment,
    ) -> Option<Result<DeviceId, StoreError>> {
        loop {
            let next = device.next(store, now);
            if next.is_some() || store.unanswered() == 0 {
                return next.map(|found| found.map(|directory| directory.id()));
            }
            daemon.run();
            store.poll().unwrap();
        }
    }

    #[test]
    fn a_device_that_cannot_be_read_is_read_a_second_later() {
        for (asked, error) in [
            ("Read backend/vif/7/0/frontend", "EBUSY"),
            ("Read backend/vif/7/0/mac", "EBUSY"),
            ("Directory", "EBUSY"),
            ("Watch", "E2BIG"),
        ] {
            let daemon = FakeXenstored::default();
            let store = Store::new(daemon.ring());
            daemon.set("backend/vif/7/0/frontend", "/local/domain/7/device/vif/0");
            daemon.set("backend/vif/7/0/mac", "00:16:3e:01:02:03");
            let mut device = NewDevice::new(ID, "client 0".into(), Support::No);
            daemon.refuse(asked, error, 2);
            let failed = StoreError::from_reply(error.as_bytes());
            assert_eq!(next(&mut device, (&daemon, &store), START), Some(Err(failed)), "{asked}");
            let second = START + RETRY_AFTER;
            assert_eq!((device.deadline(), device.is_due(START)), (Some(second), false));
            assert_eq!(next(&mut device, (&daemon, &store), second), None, "{asked}");
            let third = second + RETRY_AFTER;
            assert_eq!(next(&mut device, (&daemon, &store), third), Some(Ok(ID)), "{asked}");
            assert_eq!(device.deadline(), None);
        }
    }

    #[test]
    fn a_device_that_is_not_there_is_not_looked_for_again() {
        let daemon = FakeXenstored::default();
        let store = Store::new(daemon.ring());
        let mut device = NewDevice::new(ID, "client 0".into(), Support::No);
        assert_eq!(next(&mut device, (&daemon, &store), START), Some(Err(StoreError::NoEntry)));
        assert_eq!(device.deadline(), None);
    }
}
