//! The uplink's frontend device: its life, and its rings while connected.
//!
//! It works as a client's device does (`vif/client.rs`): what it wants of XenStore is asked, and never waited for.

use crate::base::time::Moment;
use crate::store::{Job, Store, StoreError, StoreRing};
use crate::tables::allowance::{Allowance, Rate, Taken};
use crate::vif::event::{UplinkEvent, VifEvent};
use crate::vif::frontend_directory::{FrontendDirectory, OfferedFeatures};
use crate::vif::lifecycle::RETRY_AFTER;
use crate::vif::lifecycle::frontend::{Frontend, FrontendAction, FrontendEvent, FrontendObservation, Link};
use crate::vif::netfront::Netfront;
use crate::vif::platform::Platform;
use crate::wire::ethernet::Mac;
use crate::xen::Xen;
use crate::xen::charge::Charge;
use alloc::rc::Rc;
use core::net::Ipv4Addr;
use core::task::Poll;

/// What happened to the link while the device took its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkChange {
    /// Nothing.
    None,
    /// Traffic may flow.
    Up,
    /// It may not any more.
    Down,
    /// The device is gone for good.
    Gone,
}

/// Looks at XenStore for the uplink: a backend may write into its nodes as often as it likes.
const LOOKS: Rate = Rate { per_second: 20, burst: 16 };

/// How a conversation with XenStore ended.
#[derive(Debug)]
enum UplinkReply {
    /// A look at XenStore showed this.
    Saw(Result<FrontendObservation, StoreError>),
    /// The backend can do this.
    Offered(Result<OfferedFeatures, StoreError>),
    /// An action ended like this.
    Ended(Result<FrontendEvent, StoreError>),
}

/// What the device did.
#[derive(Debug)]
pub struct UplinkSteps {
    /// What happened to its link.
    pub change: LinkChange,
    /// A failure of XenStore's that was not reported before.
    pub error: Option<StoreError>,
}

/// Our network device.
#[derive(Debug)]
pub struct Uplink {
    directory: Rc<FrontendDirectory>,
    life: Frontend,
    netfront: Option<Netfront>,
    /// The conversation with XenStore that is under way.
    job: Option<Job<UplinkReply>>,
    /// Something changed in XenStore since it was last looked at.
    stale: bool,
    looks: Allowance,
    /// XenStore is not looked at before then.
    paused_until: Moment,
    /// The backend broke the protocol, and `life` has not been told yet.
    broke: bool,
    /// What XenStore last failed to do for this device.
    trouble: Option<StoreError>,
}

impl Uplink {
    /// A device that was found; whatever happened since is seen at the first step.
    pub fn new(directory: FrontendDirectory, now: Moment) -> Self {
        Self {
            life: Frontend::new(directory.found(), now),
            directory: Rc::new(directory),
            netfront: None,
            job: None,
            stale: true,
            looks: Allowance::new(LOOKS),
            paused_until: Moment::default(),
            broke: false,
            trouble: None,
        }
    }

    /// The device's number.
    pub fn device(&self) -> u32 {
        self.directory.device()
    }

    /// Our Ethernet address on the uplink.
    pub fn mac(&self) -> Mac {
        self.directory.mac()
    }

    /// The IPv4 address that the toolstack gave the device (`ip=`), if it did.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.directory.address()
    }

    /// Bytes of the largest IP packet that the toolstack says may go there.
    pub fn mtu(&self) -> u16 {
        self.directory.mtu()
    }

    /// Whether the backend has taken up the rings.
    pub fn link(&self) -> Link {
        if self.broke { Link::Down } else { self.life.link() }
    }

    /// The rings, while connected.
    pub fn netfront(&mut self) -> Option<&mut Netfront> {
        self.netfront.as_mut()
    }

    /// Something changed in XenStore: it is to be looked at again.
    pub fn look_again(&mut self) {
        self.stale = true;
    }

    /// Whether a reply of XenStore is waited for.
    pub fn is_asking(&self) -> bool {
        self.job.is_some()
    }

    /// When [`Self::advance`] has something to do without a reply of XenStore.
    pub fn deadline(&self) -> Option<Moment> {
        if self.job.is_some() {
            return None;
        }
        let due = if self.stale { Some(Moment::default()) } else { self.life.deadline() };
        due.map(|due| due.max(self.looks.next()).max(self.paused_until))
    }

    /// Goes on with what replies and time allow. The caller drops the device on [`LinkChange::Gone`].
    pub fn advance<X: Xen, R: StoreRing + 'static>(
        &mut self,
        platform: &mut Platform<'_, X, R>,
    ) -> UplinkSteps {
        let before = self.link();
        let mut error = None;
        while !self.life.is_forgotten() {
            if let Some(job) = &mut self.job {
                let Poll::Ready(outcome) = job.poll() else { break };
                self.job = None;
                error = self.settle(outcome, platform).or(error);
            } else if self.broke {
                self.handle(FrontendEvent::Broke, platform);
                self.broke = false;
            } else if self.may_look(platform.now) {
                self.stale = false;
                let (directory, store) = (self.directory.clone(), platform.store.clone());
                self.job = Some(Job::new(async move { UplinkReply::Saw(directory.look(&store).await) }));
            } else {
                break;
            }
        }
        let change = match (before, self.link()) {
            _ if self.life.is_forgotten() => LinkChange::Gone,
            (Link::Down, Link::Up) => LinkChange::Up,
            (Link::Up, Link::Down) => LinkChange::Down,
            _ => LinkChange::None,
        };
        UplinkSteps { change, error }
    }

    /// Ends the connection to a backend that broke the protocol; it is tried again after a while.
    pub fn break_off<X: Xen, R: StoreRing + 'static>(
        &mut self,
        platform: &mut Platform<'_, X, R>,
    ) -> UplinkSteps {
        let before = self.link();
        self.broke = true;
        self.let_go(platform);
        let mut steps = self.advance(platform);
        if steps.change == LinkChange::None && before == Link::Up {
            steps.change = LinkChange::Down;
        }
        steps
    }

    /// Whether there is a reason to look at XenStore, and a look left.
    fn may_look(&mut self, now: Moment) -> bool {
        let due = self.stale || self.life.deadline().is_some_and(|due| due <= now);
        due && now >= self.paused_until && self.looks.take(now) == Taken::Granted
    }

    /// Hands an event to the device's life and begins the action that comes back.
    fn handle<X: Xen, R: StoreRing + 'static>(
        &mut self,
        event: FrontendEvent,
        platform: &mut Platform<'_, X, R>,
    ) {
        let mut action = self.life.handle(event, platform.xen.now());
        while let Some(next) = action {
            if next != FrontendAction::Disconnect {
                self.job = Some(self.begin(next, platform.store));
                return;
            }
            self.let_go(platform);
            action = self.life.handle(FrontendEvent::Done, platform.xen.now());
        }
    }

    /// Begins an action that takes XenStore.
    fn begin<R: StoreRing + 'static>(&self, action: FrontendAction, store: &Store<R>) -> Job<UplinkReply> {
        let (directory, store, written) = (self.directory.clone(), store.clone(), self.life.written());
        let rings = self.netfront.as_ref().map(Netfront::addresses);
        Job::new(async move {
            match action {
                FrontendAction::MakeRings => UplinkReply::Offered(directory.read_talents(&store).await),
                FrontendAction::Write(state) => {
                    UplinkReply::Ended(directory.write(state, written, rings, &store).await)
                }
                FrontendAction::Unwatch => {
                    UplinkReply::Ended(directory.forget(&store).await.map(|()| FrontendEvent::Done))
                }
                // Takes no XenStore.
                FrontendAction::Disconnect => UplinkReply::Ended(Ok(FrontendEvent::Done)),
            }
        })
    }

    /// Takes in how a conversation ended. Returns a failure that was not reported before.
    fn settle<X: Xen, R: StoreRing + 'static>(
        &mut self,
        outcome: UplinkReply,
        platform: &mut Platform<'_, X, R>,
    ) -> Option<StoreError> {
        let ended = match outcome {
            UplinkReply::Saw(Ok(sight)) => Ok(FrontendEvent::Observed(sight)),
            UplinkReply::Saw(Err(error)) => {
                self.stale = true;
                self.paused_until = platform.now + RETRY_AFTER;
                return self.report(error);
            }
            UplinkReply::Offered(Ok(talents)) => Ok(self.make_rings(talents, platform)),
            UplinkReply::Ended(Ok(event)) => {
                self.trouble = None;
                Ok(event)
            }
            UplinkReply::Offered(Err(error)) | UplinkReply::Ended(Err(error)) => Err(error),
        };
        match ended {
            Ok(event) => {
                self.handle(event, platform);
                None
            }
            Err(error) => {
                self.handle(FrontendEvent::Failed, platform);
                self.report(error)
            }
        }
    }

    /// Remembers a failure, and returns it if it is not the one that was remembered: the same one at every attempt is
    /// reported once.
    fn report(&mut self, error: StoreError) -> Option<StoreError> {
        let known = self.trouble.as_ref() == Some(&error);
        self.trouble = Some(error.clone());
        (!known).then_some(error)
    }

    fn make_rings<X: Xen, R: StoreRing>(
        &mut self,
        OfferedFeatures { features, split }: OfferedFeatures,
        platform: &mut Platform<'_, X, R>,
    ) -> FrontendEvent {
        platform.held.retry(platform.xen);
        if platform.xen.pages().is_beyond(Charge::KEPT) {
            let held = UplinkEvent::PagesHeld(platform.held.len());
            platform.events.emit(VifEvent::Uplink(held));
            return FrontendEvent::Refused;
        }
        let backend = self.directory.backend();
        match Netfront::create(platform.xen, backend, features, split) {
            Ok(netfront) => {
                self.netfront = Some(netfront);
                FrontendEvent::Done
            }
            Err(error) => {
                platform.events.emit(VifEvent::Uplink(UplinkEvent::NoRings(backend, error)));
                FrontendEvent::Refused
            }
        }
    }

    fn let_go<X: Xen, R: StoreRing>(&mut self, platform: &mut Platform<'_, X, R>) {
        if let Some(netfront) = self.netfront.take() {
            platform.held.extend(netfront.disconnect(platform.xen));
        }
        platform.held.retry(platform.xen);
    }
}
