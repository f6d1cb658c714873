//! One client's backend device: its life, and its rings while connected.
//!
//! What its life wants of XenStore is asked of its [`BackendDirectory`], one thing after the other, and carried on when
//! the reply comes. What needs no XenStore waits for none: rings are let go of at once, whatever is under way.

use crate::base::time::Moment;
use crate::guard::antispoof::Identity;
use crate::store::{Job, Store, StoreError, StoreRing};
use crate::tables::allowance::Taken;
use crate::tables::share::Account;
use crate::vif::backend_directory::{BackendDirectory, DirectoryChange};
use crate::vif::connect::{RingAddresses, UnusableRings};
use crate::vif::device_id::DeviceId;
use crate::vif::event::{ClientEvent, VifEvent};
use crate::vif::lifecycle::RETRY_AFTER;
use crate::vif::lifecycle::backend::{Backend, BackendAction, BackendEvent, BackendObservation};
use crate::vif::netback::{ClientBroken, Netback};
use crate::vif::platform::Platform;
use crate::vif::token_bucket::{RateLimit, TokenBucket};
use crate::xen::Xen;
use alloc::rc::Rc;
use core::task::Poll;

/// What happened to the rings while the device took its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingsChange {
    /// Nothing.
    None,
    /// The client's rings are in use: it has attached.
    Attached,
    /// They are not any more.
    Detached,
    /// The device is gone for good.
    Gone,
}

/// What came of what XenStore was asked.
#[derive(Debug)]
enum ClientReply {
    /// It shows this.
    Saw(Result<BackendObservation, StoreError>),
    /// The frontend announced this.
    Announced(Result<Result<RingAddresses, UnusableRings>, StoreError>),
    /// An action ended so.
    Ended(Result<BackendEvent, StoreError>),
}

/// What a device did.
#[derive(Debug)]
pub struct ClientSteps {
    /// What happened to its rings.
    pub change: RingsChange,
    /// What XenStore did not do, unless it was said before.
    pub error: Option<StoreError>,
}

/// A backend device.
#[derive(Debug)]
pub struct ClientVif {
    directory: Rc<BackendDirectory>,
    life: Backend,
    account: Account,
    /// What is left of how much its client may send, while no rings are in use.
    bucket: TokenBucket,
    netback: Option<Netback>,
    /// What XenStore is asked now.
    job: Option<Job<ClientReply>>,
    /// Something changed in XenStore since it was last looked at.
    stale: bool,
    /// XenStore is not looked at before then.
    paused_until: Moment,
    /// The client broke the protocol, and the device's life does not know yet.
    broke: bool,
    /// What XenStore last failed to do for this device.
    trouble: Option<StoreError>,
}

impl ClientVif {
    /// A device that was found; whatever happened since is seen at the first step.
    pub fn new(directory: BackendDirectory, now: Moment) -> Self {
        Self {
            bucket: TokenBucket::new(directory.words().rate(), now),
            directory: Rc::new(directory),
            life: Backend::new(now),
            account: Account::UPLINK,
            netback: None,
            job: None,
            stale: true,
            paused_until: Moment::default(),
            broke: false,
            trouble: None,
        }
    }

    /// Which device this is.
    pub fn id(&self) -> DeviceId {
        self.directory.id()
    }

    /// The addresses that the toolstack gave the client.
    pub fn identity(&self) -> &Identity {
        self.directory.identity()
    }

    /// On whose account it is what its client sends. The uplink's until it is told otherwise: then nothing of that goes
    /// anywhere.
    pub fn account(&self) -> Account {
        self.account
    }

    /// Sets the account: that of its address while traffic for that goes here.
    pub fn charge_to(&mut self, account: Account) {
        self.account = account;
    }

    /// What its client may send, if the toolstack set a limit (`rate=`).
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.bucket.limit()
    }

    /// Where its nodes are.
    pub fn directory(&self) -> &BackendDirectory {
        &self.directory
    }

    /// The rings, while connected.
    pub fn netback(&mut self) -> Option<&mut Netback> {
        self.netback.as_mut()
    }

    /// Whether the rings are in use.
    pub fn is_connected(&self) -> bool {
        self.netback.is_some()
    }

    /// Something changed in XenStore: it is to be looked at again.
    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// Whether a reply of XenStore is waited for.
    pub fn is_asking(&self) -> bool {
        self.job.is_some()
    }

    /// When [`Self::advance`] has something to do without a reply of XenStore; `next_look` is when its client's nodes
    /// may be looked at.
    pub fn deadline(&self, next_look: Moment) -> Option<Moment> {
        if self.job.is_some() {
            return None;
        }
        let due = if self.stale { Some(Moment::default()) } else { self.life.deadline() };
        due.map(|due| due.max(next_look).max(self.paused_until))
    }

    /// Goes on with what replies and time allow. The caller drops the device on [`RingsChange::Gone`].
    pub fn advance<X: Xen, R: StoreRing + 'static>(
        &mut self,
        platform: &mut Platform<'_, X, R>,
    ) -> ClientSteps {
        let before = self.netback.is_some();
        let mut error = None;
        while !self.life.is_forgotten() {
            if let Some(job) = &mut self.job {
                let Poll::Ready(outcome) = job.poll() else { break };
                self.job = None;
                error = self.settle(outcome, platform).or(error);
            } else if self.broke {
                self.broke = false;
                self.handle(BackendEvent::Broke, platform);
            } else if self.may_look(platform) {
                self.stale = false;
                let (directory, store) = (self.directory.clone(), platform.store.clone());
                self.job = Some(Job::new(async move { ClientReply::Saw(directory.look(&store).await) }));
            } else {
                break;
            }
        }
        let change = match (before, self.netback.is_some()) {
            _ if self.life.is_forgotten() => RingsChange::Gone,
            (false, true) => RingsChange::Attached,
            (true, false) => RingsChange::Detached,
            _ => RingsChange::None,
        };
        ClientSteps { change, error }
    }

    /// Ends the connection of a client that broke the protocol; it is served again when it starts anew.
    pub fn break_off<X: Xen, R: StoreRing + 'static>(
        &mut self,
        why: ClientBroken,
        platform: &mut Platform<'_, X, R>,
    ) -> ClientSteps {
        platform.events.emit(VifEvent::Client(self.id(), ClientEvent::ProtocolBroken(why)));
        self.broke = true;
        self.let_go(platform.xen);
        let mut steps = self.advance(platform);
        if steps.change == RingsChange::None {
            steps.change = RingsChange::Detached;
        }
        steps
    }

    /// Whether there is a reason to look at XenStore, and the client has a look left.
    fn may_look<X: Xen, R: StoreRing>(&self, platform: &mut Platform<'_, X, R>) -> bool {
        let due = self.stale || self.life.deadline().is_some_and(|due| due <= platform.now);
        due && platform.now >= self.paused_until
            && platform.looks.look(self.id().domain, platform.now) == Taken::Granted
    }

    /// Hands an event to the device's life and begins what comes of it.
    fn handle<X: Xen, R: StoreRing + 'static>(
        &mut self,
        event: BackendEvent,
        platform: &mut Platform<'_, X, R>,
    ) {
        let mut action = self.life.handle(event, platform.xen.now());
        while let Some(next) = action {
            if next != BackendAction::Disconnect {
                self.job = Some(self.begin(next, platform.store));
                return;
            }
            self.let_go(platform.xen);
            action = self.life.handle(BackendEvent::Done, platform.xen.now());
        }
    }

    /// Begins an action that takes XenStore.
    fn begin<R: StoreRing + 'static>(&self, action: BackendAction, store: &Store<R>) -> Job<ClientReply> {
        let (directory, store, written) = (self.directory.clone(), store.clone(), self.life.written());
        Job::new(async move {
            match action {
                BackendAction::Write(state) => {
                    ClientReply::Ended(directory.change(DirectoryChange::State(state), written, &store).await)
                }
                BackendAction::TakeUpRings => {
                    ClientReply::Announced(directory.read_announcement(&store).await)
                }
                BackendAction::Remove => {
                    ClientReply::Ended(directory.change(DirectoryChange::Remove, written, &store).await)
                }
                BackendAction::Unwatch => {
                    ClientReply::Ended(directory.forget(&store).await.map(|()| BackendEvent::Done))
                }
                // Takes no XenStore.
                BackendAction::Disconnect => ClientReply::Ended(Ok(BackendEvent::Done)),
            }
        })
    }

    /// Draws the conclusions from what XenStore did or said; what it failed to do, unless that is known.
    fn settle<X: Xen, R: StoreRing + 'static>(
        &mut self,
        outcome: ClientReply,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        let ended = match outcome {
            ClientReply::Saw(Ok(sight)) => Ok(BackendEvent::Observed(sight)),
            ClientReply::Saw(Err(error)) => {
                self.stale = true;
                self.paused_until = platform.now + RETRY_AFTER;
                return self.report(error);
            }
            ClientReply::Announced(Ok(announced)) => Ok(self.take_up(announced, platform)),
            ClientReply::Ended(Ok(event)) => {
                self.trouble = None;
                Ok(event)
            }
            ClientReply::Announced(Err(error)) | ClientReply::Ended(Err(error)) => Err(error),
        };
        match ended {
            Ok(event) => {
                self.handle(event, platform);
                None
            }
            Err(error) => {
                self.handle(BackendEvent::Failed, platform);
                self.report(error)
            }
        }
    }

    /// The same trouble at every attempt is told once.
    fn report(&mut self, error: StoreError) -> Option<StoreError> {
        let known = self.trouble.as_ref() == Some(&error);
        self.trouble = Some(error.clone());
        (!known).then_some(error)
    }

    fn take_up<X: Xen, R: StoreRing>(
        &mut self,
        announced: Result<RingAddresses, UnusableRings>,
        platform: &mut Platform<'_, X, R>,
    ) -> BackendEvent {
        let id = self.id();
        match announced.and_then(|addresses| addresses.connect(id.domain, platform.xen)) {
            Ok(mut netback) => {
                netback.set_bucket(self.bucket);
                self.netback = Some(netback);
                BackendEvent::Done
            }
            Err(why) => {
                platform.events.emit(VifEvent::Client(id, ClientEvent::CannotConnect(why)));
                BackendEvent::Refused
            }
        }
    }

    fn let_go(&mut self, xen: &mut impl Xen) {
        if let Some(netback) = self.netback.take() {
            // Coming back does not fill it.
            self.bucket = netback.bucket();
            netback.disconnect(xen);
        }
    }
}
