//! One client's backend device: its XenStore directory, its life, and its rings while connected.

use crate::guard::antispoof::Identity;
use crate::store::{Nodes, Store, StoreError, StoreRing, Transaction};
use crate::text::Excerpt;
use crate::time::Moment;
use crate::vif::abilities::Support;
use crate::vif::announcement::{self, Failure};
use crate::vif::lifecycle::backend::{Action, Backend, Event, Sight};
use crate::vif::lifecycle::{BusState, Online};
use crate::vif::netback::Netback;
use crate::vif::token_bucket::{RateLimit, TokenBucket};
use crate::xen::{DomainId, Xen};
use alloc::format;
use alloc::string::String;
use core::cmp::Ordering;
use core::fmt;

/// Names a backend device: the client's domain and the device's number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceId {
    /// The client.
    pub domain: DomainId,
    /// Its `devid`: 0 for the first network device.
    pub device: u32,
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vif{}.{}", self.domain.0, self.device)
    }
}

/// What happened to the rings while the device took its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The client's rings are in use: it has attached.
    Attached,
    /// They are not any more.
    Detached,
    /// The device is gone for good.
    Gone,
}

/// What we announce in InitWait, as `netif.h` names it. A key that is missing says no.
const OFFER: &[(&str, &str)] = &[("feature-rx-copy", "1"), ("feature-sg", "1"), ("feature-gso-tcpv4", "1")];

/// Only Linux's netback waits for this node; said for whoever looks, where the toolstack made it.
const HOTPLUG_STATUS: &str = "hotplug-status";

/// Nodes that the toolstack made for backends of another kind and for hotplug scripts, which do not run in this
/// domain. Nobody reads them; they are removed when our quota of nodes is used up.
const UNREAD: [&str; 6] = ["script", "bridge", "type", "handle", "frontend-id", HOTPLUG_STATUS];

/// Complaints about one device that reach the console: a client can cause them at will.
const MAX_COMPLAINTS: u32 = 10;

/// A backend device.
#[derive(Debug)]
pub struct ClientVif {
    id: DeviceId,
    back: String,
    front: String,
    /// Token of the watch on the frontend's state.
    token: String,
    /// `feature-split-event-channels`
    split: Support,
    life: Backend,
    identity: Identity,
    /// What the toolstack wrote of how much its client may send.
    rate: Option<String>,
    /// That, if it is a limit: what is left of it while no rings are in use.
    bucket: Option<TokenBucket>,
    netback: Option<Netback>,
    complaints: u32,
    /// What XenStore last failed to do for this device.
    trouble: Option<StoreError>,
}

impl ClientVif {
    /// Reads what the toolstack wrote about a new device. Its watch is on the frontend's state. `split`: whether
    /// the client is offered an event channel per ring.
    pub fn discover<R: StoreRing>(
        id: DeviceId,
        token: &str,
        split: Support,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<Self, StoreError> {
        let back = format!("backend/vif/{}/{}", id.domain.0, id.device);
        let front = store.read(&format!("{back}/frontend"))?;
        let identity = read_identity(&back, store)?;
        let rate = read_rate(&back, store)?;
        store.watch(&format!("{front}/state"), token)?;
        Ok(Self {
            id,
            token: token.into(),
            split,
            identity,
            back,
            front,
            life: Backend::new(now),
            bucket: rate
                .as_deref()
                .and_then(|rate| rate_limit(id, rate))
                .map(|limit| TokenBucket::new(limit, now)),
            rate,
            netback: None,
            complaints: 0,
            trouble: None,
        })
    }

    /// Which device this is.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The addresses that the toolstack gave the client.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What its client may send, if the toolstack set a limit (`rate=`).
    pub fn rate_limit(&self) -> Option<RateLimit> {
        self.bucket.map(|bucket| bucket.limit())
    }

    /// The rings, while connected.
    pub fn netback(&mut self) -> Option<&mut Netback> {
        self.netback.as_mut()
    }

    /// Whether the rings are in use.
    pub fn is_connected(&self) -> bool {
        self.netback.is_some()
    }

    /// When [`Self::follow`] has something to do without an event.
    pub fn deadline(&self) -> Option<Moment> {
        self.life.deadline()
    }

    /// Looks at XenStore again and takes every step that is due. The caller drops the device on [`Change::Gone`].
    pub fn follow<X: Xen, R: StoreRing>(
        &mut self,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<Change, StoreError> {
        let own = store.read_peer(&format!("{}/state", self.back))?;
        let online = store.read_peer(&format!("{}/online", self.back))?;
        let frontend = store.read_peer(&format!("{}/state", self.front))?;
        let sight = Sight {
            own: own.map(|text| BusState::parse(&text)),
            online: Online::parse(online.as_deref()),
            frontend: BusState::parse(&frontend.unwrap_or_default()),
        };
        self.handle(Event::Saw(sight), xen, store)
    }

    /// Ends the connection of a client that broke the protocol; it is served again when it starts anew.
    pub fn break_off<X: Xen, R: StoreRing>(
        &mut self,
        why: impl fmt::Display,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<Change, StoreError> {
        self.complain(format_args!("broke the protocol ({why}): connection ended"));
        self.handle(Event::Broke, xen, store)
    }

    /// Hands an event to the device's life and carries out what comes of it.
    fn handle<X: Xen, R: StoreRing>(
        &mut self,
        event: Event,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<Change, StoreError> {
        let before = self.netback.is_some();
        let mut outcome = Ok(());
        let mut action = self.life.handle(event, xen.now());
        while let Some(next) = action {
            let event = match self.carry_out(next, xen, store) {
                Ok(event) => event,
                Err(error) => {
                    let known = self.trouble.as_ref() == Some(&error);
                    self.trouble = Some(error.clone());
                    // The same trouble at every attempt is said once; that XenStore is silent is for the loop to know.
                    if !known || !error.is_about_the_request() {
                        outcome = Err(error);
                    }
                    Event::Failed
                }
            };
            action = self.life.handle(event, xen.now());
        }
        let change = match (before, self.netback.is_some()) {
            _ if self.life.is_forgotten() => Change::Gone,
            (false, true) => Change::Attached,
            (true, false) => Change::Detached,
            _ => Change::None,
        };
        match outcome {
            // What happened to the rings matters more than what could not be written.
            Err(error) if change == Change::None => Err(error),
            Err(error) => {
                log::error!("{}: {error}", self.id);
                Ok(change)
            }
            Ok(()) => Ok(change),
        }
    }

    /// Carries out one action; its outcome, unless XenStore failed.
    fn carry_out<X: Xen, R: StoreRing>(
        &mut self,
        action: Action,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<Event, StoreError> {
        match action {
            Action::Write(state) => {
                let event = self.write(state, store)?;
                self.trouble = None;
                Ok(event)
            }
            Action::TakeUpRings => {
                match announcement::take_up(&self.front, self.id.domain, self.split, xen, store) {
                    Ok(mut netback) => {
                        netback.set_bucket(self.bucket);
                        self.netback = Some(netback);
                        Ok(Event::Done)
                    }
                    Err(Failure::Store(error)) => Err(error),
                    Err(Failure::Unusable(why)) => {
                        self.complain(format_args!("cannot connect: {why}"));
                        Ok(Event::Refused)
                    }
                }
            }
            Action::LetGo => {
                if let Some(netback) = self.netback.take() {
                    // Coming back does not fill it.
                    self.bucket = netback.bucket();
                    netback.disconnect(xen);
                }
                Ok(Event::Done)
            }
            Action::Remove => {
                let back = &self.back;
                self.if_present(store, |transaction| transaction.remove(back))
            }
            Action::Forget => {
                store.unwatch(&format!("{}/state", self.front), &self.token)?;
                Ok(Event::Done)
            }
        }
    }

    /// Says what is wrong with this client, unless it has been said often enough.
    fn complain(&mut self, what: fmt::Arguments<'_>) {
        self.complaints = self.complaints.saturating_add(1);
        match self.complaints.cmp(&MAX_COMPLAINTS) {
            Ordering::Less => log::warn!("{}: {what}", self.id),
            Ordering::Equal => log::warn!("{}: {what}; no more will be said of this client", self.id),
            Ordering::Greater => {}
        }
    }

    /// Writes our state, and what we offer in InitWait.
    fn write<R: StoreRing>(&self, state: BusState, store: &mut Store<R>) -> Result<Event, StoreError> {
        let back = &self.back;
        self.if_present(store, |transaction| {
            if state == BusState::InitWait {
                self.offer(transaction)?;
            }
            transaction.write(&format!("{back}/state"), state.text())
        })
    }

    /// Announces what we can do.
    fn offer<R: StoreRing>(&self, transaction: &mut Transaction<'_, R>) -> Result<(), StoreError> {
        let back = &self.back;
        // What we know of the client may be of a directory that was removed and made anew since.
        if read_identity(back, transaction)? != self.identity || read_rate(back, transaction)? != self.rate {
            return Err(StoreError::NoEntry);
        }
        for (key, value) in OFFER {
            transaction.write(&format!("{back}/{key}"), value)?;
        }
        // Nodes are scarce: what says no is not said.
        if self.split == Support::Yes {
            transaction.write(&format!("{back}/feature-split-event-channels"), self.split.flag())?;
        }
        let hotplug = format!("{back}/{HOTPLUG_STATUS}");
        if transaction.read_peer(&hotplug)?.is_some() {
            transaction.write(&hotplug, "connected")?;
        }
        Ok(())
    }

    /// Changes our directory in one transaction, unless it has vanished: a node that the toolstack removed must
    /// not come back, and one that it made anew is another device's.
    fn if_present<R: StoreRing>(
        &self,
        store: &mut Store<R>,
        mut change: impl FnMut(&mut Transaction<'_, R>) -> Result<(), StoreError>,
    ) -> Result<Event, StoreError> {
        let node = format!("{}/state", self.back);
        let written = self.life.written();
        let changed = store.transaction(|transaction| {
            let state = BusState::parse(&transaction.read(&node)?);
            if state == BusState::Initialising && written != BusState::Initialising {
                return Err(StoreError::NoEntry);
            }
            change(transaction)
        });
        match changed {
            Ok(()) => Ok(Event::Done),
            Err(StoreError::NoEntry) => Ok(Event::Vanished),
            Err(error) => Err(error),
        }
    }

    /// Removes nodes of our directory that nobody reads, when we own more than we may.
    pub fn make_room<R: StoreRing>(&self, store: &mut Store<R>) -> Result<(), StoreError> {
        for name in UNREAD {
            match store.remove(&format!("{}/{name}", self.back)) {
                Err(error) if !error.is_about_the_request() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The addresses that the toolstack gave a device's client.
fn read_identity(back: &str, nodes: &mut impl Nodes) -> Result<Identity, StoreError> {
    let mac = nodes.read(&format!("{back}/mac"))?;
    let addresses = nodes.read_peer(&format!("{back}/ip"))?.unwrap_or_default();
    Ok(Identity::parse(&mac, &addresses))
}

/// What the toolstack wrote of how much a device's client may send (`rate=`).
fn read_rate(back: &str, nodes: &mut impl Nodes) -> Result<Option<String>, StoreError> {
    nodes.read_peer(&format!("{back}/rate"))
}

/// The limit that it stands for; none where it is not one, as in netback.
fn rate_limit(id: DeviceId, text: &str) -> Option<RateLimit> {
    let limit = RateLimit::parse(text).ok();
    if limit.is_none() {
        log::warn!("{id}: rate {} is no limit: what it sends is not limited", Excerpt::of(text));
    }
    limit
}
