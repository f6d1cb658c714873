//! XenStore as the loop sees it: events are noted, replies carry on what was asked, and no packet waits for either.

use super::client_vifs::{BACKENDS, ClientVifs, News};
use super::requests::{self, Request};
use super::turn::{CONTROL, DEVICES, Firewall, UPLINK};
use super::uplink_device::Listing;
use crate::store::{Job, Polled, StoreError, StoreRing, WatchEvent};
use crate::time::Moment;
use crate::vif::platform::Platform;
use crate::xen::{Shutdown, Xen};
use core::task::Poll;

/// What is asked of XenStore beside the devices: each thing once at a time, and again if it was wanted meanwhile.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    /// What the toolstack wants of the domain.
    request: Option<Job<Result<Option<Request>, StoreError>>>,
    request_wanted: bool,
    /// Our network devices.
    pub(super) devices: Option<Job<Result<Listing, StoreError>>>,
    pub(super) devices_wanted: bool,
    /// XenStore itself failed, and that was said.
    failed: bool,
}

impl Inquiries {
    /// Whether something is to be asked now.
    fn are_wanted(&self) -> bool {
        self.request_wanted && self.request.is_none() || self.devices_wanted && self.devices.is_none()
    }
}

/// Whether a look at XenStore found something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreWork {
    Done,
    None,
}

/// The toolstack asked for the end.
pub(super) struct ShutdownRequested(pub(super) Shutdown);

impl<X: Xen, R: StoreRing + 'static> Firewall<X, R> {
    /// Takes in what XenStore says, and goes on with all that it or time allows.
    pub(super) fn look_at_store(&mut self) -> Result<StoreWork, ShutdownRequested> {
        self.xen.take_pending(self.store_port);
        let work = match self.store.poll() {
            Ok(Polled::Drained) => StoreWork::None,
            Ok(Polled::More) => StoreWork::Done,
            Err(error) => {
                self.note(Some(error));
                StoreWork::None
            }
        };
        while let Some(event) = self.store.next_event() {
            self.take_event(event);
        }
        let mut news = if self.store.take_news() { News::Some } else { News::None };
        // A change of nodes that were looked at often enough is for later.
        let due = self.control_deadline().is_some_and(|due| due <= self.now)
            || self.inquiries.are_wanted()
            || self.egress.clients.wants_scan();
        if news == News::None && !due {
            return Ok(work);
        }
        // What was just done may be what somebody else waits for.
        loop {
            let failed = self.with_clients(|clients, platform| clients.advance(news, platform));
            self.note(failed);
            self.advance_uplink(news);
            self.follow_requests()?;
            if !self.store.take_news() {
                break;
            }
            news = News::Some;
        }
        self.silence.look(self.now, &self.store);
        // A port to sleep on is for the next round to see.
        Ok(StoreWork::Done)
    }

    /// Notes what is to be looked at again.
    fn take_event(&mut self, event: WatchEvent) {
        match event.token.as_str() {
            CONTROL => self.inquiries.request_wanted = true,
            BACKENDS => self.with_clients(|clients, platform| clients.backend_changed(&event.path, platform)),
            DEVICES => {
                self.inquiries.devices_wanted = true;
                self.look_at_uplink();
            }
            UPLINK => self.look_at_uplink(),
            token => self.egress.clients.frontend_changed(token),
        }
    }

    fn look_at_uplink(&mut self) {
        if let Some(device) = self.egress.uplink.as_mut() {
            device.look_again();
        }
    }

    /// Obeys what the toolstack wants of the domain.
    fn follow_requests(&mut self) -> Result<(), ShutdownRequested> {
        loop {
            if self.inquiries.request.is_none() && self.inquiries.request_wanted {
                self.inquiries.request_wanted = false;
                self.inquiries.request = Some(Job::new(requests::take_request(self.store.clone())));
            }
            let Some(Poll::Ready(request)) = self.inquiries.request.as_mut().map(Job::poll) else {
                return Ok(());
            };
            self.inquiries.request = None;
            match request {
                Ok(Some(Request::End(reason))) => return Err(ShutdownRequested(reason)),
                Ok(Some(Request::Balance)) => self.report_balance(),
                Ok(Some(Request::Report)) => self.report(),
                Ok(None) => {}
                Err(error) => self.note(Some(error)),
            }
        }
    }

    pub(super) fn with_clients<T>(
        &mut self,
        act: impl FnOnce(&mut ClientVifs, &mut Platform<'_, X, R>) -> T,
    ) -> T {
        let mut platform = Platform {
            xen: &mut self.xen,
            store: &self.store,
            now: self.now,
            attention: &mut self.attention,
            held: &mut self.held,
        };
        act(&mut self.egress.clients, &mut platform)
    }

    /// Says what XenStore did not do. That it has failed for good is said once.
    pub(super) fn note(&mut self, failed: Option<StoreError>) {
        let Some(error) = failed else { return };
        if error.is_about_the_request() || !core::mem::replace(&mut self.inquiries.failed, true) {
            log::error!("{error}");
        }
    }

    /// When there is something to do without a reply of XenStore.
    pub(super) fn control_deadline(&self) -> Option<Moment> {
        let clients = self.egress.clients.deadline(&self.attention);
        [clients, self.uplink_deadline(), self.silence.deadline()].into_iter().flatten().min()
    }
}
