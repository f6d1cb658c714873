//! The search for an uplink: our network devices are listed when they change, and the first that can be used is taken.

use super::backend_devices::directory_or_empty;
use super::inquiry::Inquiry;
use crate::base::sort::sort_by_key;
use crate::base::text::decimal;
use crate::base::time::Moment;
use crate::store::{Store, StoreError, StoreRing};
use crate::vif::frontend_directory::{self, FrontendDirectory};
use alloc::vec::Vec;

/// The watch on the uplink's backend.
pub(super) const UPLINK: &str = "uplink";

/// The network devices that there are, and the first that can be used, unless one is in use.
#[derive(Debug)]
pub(super) struct Listing {
    pub(super) devices: Vec<u32>,
    pub(super) found: Option<FrontendDirectory>,
    /// The devices before it that cannot be used, and why. Without those that XenStore was too busy to read.
    pub(super) unusable: Vec<(u32, StoreError)>,
}

impl Listing {
    /// Lists the devices; with [`Need::Uplink`] the first that can be used is taken.
    ///
    /// # Errors
    /// If no device can be used, the first failure that may pass. In any case those of XenStore as a whole.
    async fn read<R: StoreRing>(need: Need, store: Store<R>) -> Result<Self, StoreError> {
        let mut devices: Vec<u32> = directory_or_empty(&store, frontend_directory::DEVICES)
            .await?
            .iter()
            .filter_map(|name| decimal(name))
            .collect();
        sort_by_key(&mut devices, |device| u64::from(*device));
        let candidates = match need {
            Need::Uplink => devices.as_slice(),
            Need::Names => &[],
        };
        let (mut unusable, mut trouble) = (Vec::new(), None);
        for &device in candidates {
            match FrontendDirectory::discover(device, UPLINK, &store).await {
                Ok(directory) => return Ok(Self { devices, found: Some(directory), unusable }),
                // It went away, or is still being made: another event will tell.
                Err(StoreError::NoEntry) => {}
                Err(error) if !error.is_about_the_request() => return Err(error),
                // Meanwhile a device behind it may serve.
                Err(error) if error.is_transient() => trouble = trouble.or(Some(error)),
                Err(error) => unusable.push((device, error)),
            }
        }
        match trouble {
            Some(error) => Err(error),
            None => Ok(Self { devices, found: None, unusable }),
        }
    }
}

/// Why the devices are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is no uplink.
    Uplink,
    /// To say which are not used.
    Names,
}

/// The search for an uplink: our network devices are listed when they change.
#[derive(Debug, Default)]
pub(super) struct UplinkSearch {
    listing: Inquiry<Listing>,
    /// Network devices beside the uplink that were reported as not used.
    pub(super) unused: Vec<u32>,
}

impl UplinkSearch {
    /// Devices may have come or gone: they are to be listed again.
    pub(super) fn look_again(&mut self) {
        self.listing.look_again();
    }

    /// Whether [`Self::next`] has something to ask.
    pub(super) fn is_due(&self, now: Moment) -> bool {
        self.listing.is_due(now)
    }

    /// When [`Self::is_due`] becomes true, if no change is announced before.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.listing.deadline()
    }

    /// The next listing, if XenStore has answered. One that failed is begun again a second later, and the same failure
    /// is returned once.
    pub(super) fn next<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        need: Need,
        now: Moment,
    ) -> Option<Result<Listing, StoreError>> {
        self.listing.next(now, || Listing::read(need, store.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::text::Excerpt;
    use crate::store::fake::{FakeRing, FakeXenstored};
    use crate::vif::lifecycle::RETRY_AFTER;
    use alloc::format;

    const START: Moment = Moment::from_nanoseconds(1_000_000_000);

    /// What is listed at `now`, when XenStore has answered everything.
    fn next(
        search: &mut UplinkSearch,
        (daemon, store): (&FakeXenstored, &Store<FakeRing>),
        now: Moment,
    ) -> Option<Result<Listing, StoreError>> {
        loop {
            let next = search.next(store, Need::Uplink, now);
            if next.is_some() || store.unanswered() == 0 {
                return next;
            }
            daemon.run();
            store.poll().unwrap();
        }
    }

    /// A device as the toolstack makes it.
    fn make(daemon: &FakeXenstored, device: u32) {
        let back = format!("/local/domain/2/backend/vif/1/{device}");
        for (key, value) in
            [("backend", back.as_str()), ("backend-id", "2"), ("mac", "00:16:3e:00:00:01"), ("state", "1")]
        {
            daemon.set(&format!("device/vif/{device}/{key}"), value);
        }
        daemon.set(&format!("{back}/state"), "1");
    }

    #[test]
    fn a_device_that_cannot_be_read_for_a_while_keeps_no_other_from_being_the_uplink() {
        for error in ["EBUSY", "ENOSPC", "EIO"] {
            let daemon = FakeXenstored::default();
            let (store, mut search) = (Store::new(daemon.ring()), UplinkSearch::default());
            (0..3).for_each(|device| make(&daemon, device));
            daemon.set("device/vif/0/mac", "nobody's");
            daemon.refuse("Read device/vif/1/mac", error, 1);
            search.look_again();
            let listing = next(&mut search, (&daemon, &store), START).unwrap().unwrap();
            let found = listing.found.map(|directory| directory.device());
            assert_eq!((listing.devices, found), ([0, 1, 2].into(), Some(2)), "{error}");
            assert_eq!(listing.unusable, [(0, StoreError::NotAMac(Excerpt::of("nobody's")))], "{error}");
            assert_eq!(search.deadline(), None, "{error}");
        }
    }

    #[test]
    fn where_no_device_can_be_used_the_one_that_could_not_be_read_is_read_a_second_later() {
        let daemon = FakeXenstored::default();
        let (store, mut search) = (Store::new(daemon.ring()), UplinkSearch::default());
        (0..3).for_each(|device| make(&daemon, device));
        daemon.set("device/vif/0/mac", "nobody's");
        daemon.set("device/vif/2/mac", "nobody's");
        daemon.refuse("Read device/vif/1/mac", "EBUSY", 1);
        search.look_again();
        let told = next(&mut search, (&daemon, &store), START).unwrap();
        assert_eq!((told.err(), search.deadline()), (Some(StoreError::Busy), Some(START + RETRY_AFTER)));
        let listing = next(&mut search, (&daemon, &store), START + RETRY_AFTER).unwrap().unwrap();
        assert_eq!(listing.found.map(|directory| directory.device()), Some(1));
    }

    #[test]
    fn a_search_that_xenstore_refuses_is_begun_again_a_second_later_and_no_device_is_unusable_for_it() {
        for asked in ["Directory device/vif", "Read device/vif/0/backend"] {
            let daemon = FakeXenstored::default();
            let (store, mut search) = (Store::new(daemon.ring()), UplinkSearch::default());
            daemon.set("device/vif/0/backend", "/local/domain/2/backend/vif/1/0");
            daemon.refuse(asked, "EBUSY", 1);
            search.look_again();
            let mut next = |now| {
                let listed = next(&mut search, (&daemon, &store), now);
                (listed.map(|listing| listing.map(|listing| listing.devices)), search.deadline())
            };
            let again = START + RETRY_AFTER;
            assert_eq!(next(START), (Some(Err(StoreError::Busy)), Some(again)), "{asked}");
            assert_eq!(next(START), (None, Some(again)), "{asked}");
            assert_eq!(next(again), (Some(Ok([0].into())), None), "{asked}");
        }
    }
}
