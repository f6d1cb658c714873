//! The control plane: XenStore, the lives of vifs, the toolstack's requests, and what is configured.
//!
//! It never waits: events are noted, replies carry on what was asked, and no packet waits for either. What the data plane
//! has to know goes into the queue of changes.

use super::backend_devices::BACKENDS;
use super::client_vifs::{ClientVifs, News};
use super::event::{Event, StoreEvent};
use super::event_log::EventLog;
use super::qubes_announcement::QUBESDB;
use super::qubes_config::Configured;
use super::qubesdb::{QubesConnection, QubesWork};
use super::requests::{self, Request, Requests, TakenRequest};
use super::store_silence::StoreSilence;
use super::uplink_search::{UPLINK, UplinkSearch};
use super::vifs::Vifs;
use crate::base::side::ClientSlot;
use crate::base::time::Moment;
use crate::config::{Change, ChangeQueue, Live};
use crate::store::{Polled, Store, StoreError, StoreRing, WatchEvent};
use crate::vif::deferred::DeferredPages;
use crate::vif::frontend_directory;
use crate::vif::look_limit::LookLimit;
use crate::vif::netback::ClientBroken;
use crate::vif::platform::Platform;
use crate::vif::uplink::Uplink;
use crate::xen::Xen;
use crate::xen::event::Port;

/// The watch on the toolstack's requests to the whole domain.
const CONTROL: &str = "control";
/// The watch on our own network devices.
const DEVICES: &str = "devices";

/// What talks to XenStore and knows what is configured.
pub struct ControlPlane<R: StoreRing> {
    pub(super) store: Store<R>,
    /// The event channel of XenStore's ring.
    pub(super) store_port: Port,
    /// What is configured.
    pub(super) live: Live,
    /// What the data plane is to be told.
    pub(super) changes: ChangeQueue,
    pub(super) qubes: QubesConnection,
    requests: Requests,
    pub(super) search: UplinkSearch,
    /// Pages that backends of the uplink have not let go yet.
    pub(super) held: DeferredPages,
    /// How often each client's nodes may be looked at.
    looks: LookLimit,
    /// What happened: for the console and for tests.
    pub(super) events: EventLog,
    silence: StoreSilence,
    health: StoreHealth,
    /// Until when vifs, requests and searches have nothing to do; `None` when something has changed since that was known.
    rests_until: Option<Moment>,
}

/// Whether XenStore itself works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StoreHealth {
    /// As far as is known.
    Works,
    /// It failed, and that was said.
    Failed,
}

/// Whether a look at XenStore found something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreWork {
    /// It did: there may be new ports to sleep on.
    Done,
    /// It did not.
    None,
    /// The toolstack asks for this.
    Requested(Request),
}

impl<R: StoreRing + 'static> ControlPlane<R> {
    /// Sets the watches; devices that exist already announce themselves through them.
    ///
    /// # Errors
    /// Those of XenStore.
    pub fn new(
        store: Store<R>,
        store_port: Port,
        live: Live,
        qubes: QubesConnection,
    ) -> Result<Self, StoreError> {
        // There are no packets yet: the only time that XenStore is waited for.
        let refused = store.wait_for(async {
            let refused = requests::announce(&store).await?;
            store.watch(requests::REQUESTS, CONTROL).await?;
            store.watch(BACKENDS, BACKENDS).await?;
            store.watch(frontend_directory::DEVICES, DEVICES).await?;
            Ok(refused)
        })?;
        let mut events = EventLog::default();
        refused.into_iter().for_each(|request| events.note(Event::RequestRefused(request)));
        Ok(Self {
            store,
            store_port,
            live,
            changes: ChangeQueue::default(),
            qubes,
            requests: Requests::default(),
            search: UplinkSearch::default(),
            held: DeferredPages::default(),
            looks: LookLimit::default(),
            events,
            silence: StoreSilence::default(),
            health: StoreHealth::Works,
            rests_until: None,
        })
    }

    /// Takes in what XenStore sent, and goes on with everything that replies or time allow. After
    /// [`StoreWork::Requested`] it is to be called again, since work may be left.
    pub fn look<X: Xen>(&mut self, xen: &mut X, vifs: &mut Vifs, now: Moment) -> StoreWork {
        xen.take_pending(self.store_port);
        let work = match self.store.poll() {
            Ok(Polled::Drained) => StoreWork::None,
            Ok(Polled::More) => StoreWork::Done,
            Err(error) => {
                self.note(Some(error));
                StoreWork::None
            }
        };
        while let Some(event) = self.store.next_event() {
            self.take_event(event, xen, vifs, now);
        }
        let work = match self.look_at_qubesdb(xen, now) {
            QubesWork::More => StoreWork::Done,
            QubesWork::None => work,
        };
        let mut news = if self.store.take_news() { News::Some } else { News::None };
        // Nodes that changed, but whose domain has used up its looks (`LookLimit`), are not due yet.
        if news == News::None && !self.is_due(vifs, now) {
            // An event may have made us send a request: from now on its reply may be overdue.
            self.look_for_silence(now);
            return work;
        }
        self.rests_until = None;
        // A step that was just taken may be what another conversation waits for, such as the end of a transaction.
        loop {
            self.advance_clients(news, xen, vifs, now);
            self.advance_uplink(news, xen, vifs, now);
            let failed = self.qubes.search(&self.store, now).err();
            self.note(failed);
            match self.requests.next(&self.store, now) {
                Ok(Some(TakenRequest { request, unacknowledged })) => {
                    self.note(unacknowledged);
                    return StoreWork::Requested(request);
                }
                Ok(None) => {}
                Err(error) => self.note(Some(error)),
            }
            if !self.store.take_news() {
                break;
            }
            news = News::Some;
        }
        self.look_for_silence(now);
        self.events.advance(now);
        // There may be a new port to sleep on, which the next pass lists.
        StoreWork::Done
    }

    /// Whether something is to be done though nobody said anything. Asked in every pass: what is long in coming is looked
    /// up once, and again when something has changed.
    fn is_due(&mut self, vifs: &Vifs, now: Moment) -> bool {
        let rests_until = match self.rests_until {
            Some(until) => until,
            None => {
                let until = if self.wants_something(vifs, now) { now } else { self.devices_deadline(vifs) };
                *self.rests_until.insert(until)
            }
        };
        let is_true = || !self.wants_something(vifs, now) && self.devices_deadline(vifs) >= rests_until;
        debug_assert!(now >= rests_until || is_true(), "something has changed, and nobody said so");
        let others = [self.qubes.deadline(), self.silence.deadline(), self.events.deadline()];
        now >= rests_until || self.qubes.is_due(now) || others.into_iter().flatten().any(|due| due <= now)
    }

    /// Whether something is to be looked at now.
    fn wants_something(&self, vifs: &Vifs, now: Moment) -> bool {
        self.requests.is_due(now) || self.search.is_due(now) || vifs.clients.wants_scan(now)
    }

    /// When vifs, requests and searches have something to do.
    fn devices_deadline(&self, vifs: &Vifs) -> Moment {
        let clients = vifs.clients.deadline(&self.looks);
        let uplink = vifs.uplink.as_ref().and_then(Uplink::deadline);
        let all = [clients, uplink, self.held.deadline(), self.requests.deadline(), self.search.deadline()];
        all.into_iter().flatten().min().unwrap_or(Moment::END)
    }

    /// Takes what QubesDB says.
    fn look_at_qubesdb<X: Xen>(&mut self, xen: &mut X, now: Moment) -> QubesWork {
        let Self { qubes, live, changes, events, .. } = self;
        qubes.look(xen, &mut Configured { live, changes, events }, now)
    }

    fn look_for_silence(&mut self, now: Moment) {
        if let Some(event) = self.silence.look(now, &self.store) {
            self.events.note(Event::Store(event));
        }
    }

    /// Notes what is to be looked at again.
    fn take_event<X: Xen>(&mut self, event: WatchEvent, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        self.rests_until = None;
        match event.token.as_str() {
            CONTROL => self.requests.look_again(),
            BACKENDS => {
                let (clients, mut platform) = (&mut vifs.clients, self.platform(xen, now));
                clients.backend_changed(&event.path, &mut platform);
            }
            DEVICES => {
                self.search.look_again();
                look_at_uplink(vifs);
            }
            UPLINK => look_at_uplink(vifs),
            QUBESDB => self.qubes.look_again(),
            token => vifs.clients.frontend_changed(token),
        }
    }

    fn advance_clients<X: Xen>(&mut self, news: News, xen: &mut X, vifs: &mut Vifs, now: Moment) {
        let failed = vifs.clients.advance(news, &mut self.platform(xen, now));
        self.note(failed);
        self.queue_ownership(&mut vifs.clients);
    }

    /// Ends the connection of a client that broke the protocol.
    pub fn break_client_off<X: Xen>(
        &mut self,
        slot: ClientSlot,
        why: ClientBroken,
        xen: &mut X,
        vifs: &mut Vifs,
        now: Moment,
    ) {
        let failed = vifs.clients.break_off(slot, why, &mut self.platform(xen, now));
        self.note(failed);
        self.queue_ownership(&mut vifs.clients);
    }

    fn queue_ownership(&mut self, clients: &mut ClientVifs) {
        for change in clients.take_changes() {
            self.changes.push(Change::Ownership(change));
        }
    }

    /// Takes what the data plane is to be told.
    pub fn take_changes(&mut self) -> impl Iterator<Item = Change> + '_ {
        let Self { changes, events, .. } = self;
        let changes = core::iter::from_fn(|| changes.pop());
        changes.inspect(|change| {
            if let Change::LogLevel(level) = change {
                log::set_max_level(*level);
            }
            if let Some(event) = Event::of(change) {
                events.note(event);
            }
        })
    }

    pub(super) fn platform<'a, X: Xen>(&'a mut self, xen: &'a mut X, now: Moment) -> Platform<'a, X, R> {
        self.rests_until = None;
        let Self { store, looks, held, events, .. } = self;
        Platform { xen, store, now, looks, held, events }
    }

    /// Reports a failure of XenStore's. That XenStore as a whole has failed is reported once.
    pub(super) fn note(&mut self, failed: Option<StoreError>) {
        let Some(error) = failed else { return };
        let is_new = error.is_about_the_request()
            || core::mem::replace(&mut self.health, StoreHealth::Failed) == StoreHealth::Works;
        if is_new {
            self.events.note(Event::Store(StoreEvent::Failed(error)));
        }
    }

    /// When there is something to do without a reply of XenStore.
    pub fn deadline(&self, vifs: &Vifs) -> Option<Moment> {
        let devices = self.rests_until.unwrap_or_else(|| self.devices_deadline(vifs));
        let devices = Some(devices).filter(|due| *due != Moment::END);
        let others = [self.qubes.deadline(), self.silence.deadline(), self.events.deadline()];
        others.into_iter().flatten().chain(devices).min()
    }
}

fn look_at_uplink(vifs: &mut Vifs) {
    if let Some(device) = vifs.uplink.as_mut() {
        device.look_again();
    }
}

#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
