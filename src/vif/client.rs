//! One client's backend device: its XenStore directory, its life, and its rings while connected.

use crate::guard::antispoof::Identity;
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::text::decimal;
use crate::time::Moment;
use crate::vif::abilities::{Abilities, Support};
use crate::vif::channels::Channels;
use crate::vif::lifecycle::{
    BusState, CLOSE_ALONE_AFTER, OFFER_AT_LEAST, REMOVE_AFTER, Step, Wanted, backend_step,
};
use crate::vif::netback::{Netback, unmap};
use crate::xen::event::RemotePort;
use crate::xen::grant::Gref;
use crate::xen::{DomainId, Xen, XenError};
use alloc::format;
use alloc::string::String;
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
    own: BusState,
    /// When `own` was entered.
    since: Moment,
    wanted: Wanted,
    /// When the device was first seen offline.
    offline_since: Option<Moment>,
    frontend: BusState,
    health: Health,
    identity: Identity,
    netback: Option<Netback>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// The frontend broke the protocol: it is served again only when it starts anew.
    Broken,
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
        let mac = store.read(&format!("{back}/mac"))?;
        let addresses = store.read_peer(&format!("{back}/ip"))?.unwrap_or_default();
        store.watch(&format!("{front}/state"), token)?;
        Ok(Self {
            id,
            token: token.into(),
            split,
            identity: Identity::parse(&mac, &addresses),
            back,
            front,
            own: BusState::Initialising,
            since: now,
            wanted: Wanted::Online,
            offline_since: None,
            frontend: BusState::Unknown,
            health: Health::Good,
            netback: None,
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

    /// The rings, while connected.
    pub fn netback(&mut self) -> Option<&mut Netback> {
        self.netback.as_mut()
    }

    /// Whether the rings are in use.
    pub fn is_connected(&self) -> bool {
        self.netback.is_some()
    }

    /// Looks at XenStore again.
    pub fn refresh<R: StoreRing>(&mut self, store: &mut Store<R>, now: Moment) -> Result<(), StoreError> {
        let own = store.read_peer(&format!("{}/state", self.back))?.map(|text| BusState::parse(&text));
        let online = store.read_peer(&format!("{}/online", self.back))?;
        self.wanted = match (own, online.as_deref()) {
            (None, _) => Wanted::Vanished,
            // Only the toolstack writes this state: the directory was removed and made anew meanwhile.
            (Some(BusState::Initialising), _) if self.own != BusState::Initialising => Wanted::Vanished,
            (Some(_), Some("1")) => Wanted::Online,
            (Some(_), _) => Wanted::Offline,
        };
        if self.wanted == Wanted::Online {
            self.offline_since = None;
        } else {
            self.offline_since.get_or_insert(now);
        }
        let state = store.read_peer(&format!("{}/state", self.front))?;
        self.frontend = BusState::parse(&state.unwrap_or_default());
        Ok(())
    }

    /// What is to be done, and from when on.
    fn next_step(&self) -> (Step, Moment) {
        let step = backend_step(self.own, self.wanted, self.frontend);
        let due = match step {
            Step::Connect => self.since + OFFER_AT_LEAST,
            // From when both hold: whoever detaches a device that is closed already must still find it closed.
            Step::Remove => self.offline_since.unwrap_or_default().max(self.since) + REMOVE_AFTER,
            _ => self.since,
        };
        match (step, self.offline_since) {
            (Step::Stay, Some(offline)) if self.own != BusState::Closed => {
                (Step::Close, offline + CLOSE_ALONE_AFTER)
            }
            // What broke the protocol must start anew before it is offered anything.
            (Step::Offer, _) if self.health == Health::Broken && self.frontend != BusState::Initialising => {
                (Step::Stay, due)
            }
            (step, _) => (step, due),
        }
    }

    /// When [`Self::advance`] has something to do without an event.
    pub fn deadline(&self) -> Option<Moment> {
        let (step, due) = self.next_step();
        (step != Step::Stay).then_some(due)
    }

    /// Takes every step that is due. The caller forgets the device on [`Change::Gone`].
    pub fn advance<X: Xen, R: StoreRing>(
        &mut self,
        xen: &mut X,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<Change, StoreError> {
        let before = self.netback.is_some();
        loop {
            let (step, due) = self.next_step();
            if step == Step::Stay || now < due {
                break;
            }
            match step {
                Step::Stay => break,
                Step::Offer => self.offer(store, now)?,
                Step::Connect => self.connect(xen, store, now)?,
                Step::StartClosing => self.close(BusState::Closing, xen, store, now)?,
                Step::Close => self.close(BusState::Closed, xen, store, now)?,
                Step::Remove | Step::Forget => {
                    self.disconnect(xen);
                    self.forget(step, store);
                    return Ok(Change::Gone);
                }
            }
        }
        Ok(match (before, self.netback.is_some()) {
            (false, true) => Change::Attached,
            (true, false) => Change::Detached,
            _ => Change::None,
        })
    }
}

impl ClientVif {
    /// Removes our watch, and our directory unless that is gone already. What fails here has failed for good.
    fn forget<R: StoreRing>(&mut self, step: Step, store: &mut Store<R>) {
        let removed = if step == Step::Remove { store.remove(&self.back) } else { Ok(()) };
        let unwatched = store.unwatch(&format!("{}/state", self.front), &self.token);
        if let Err(error) = removed.and(unwatched) {
            log::warn!("{}: cannot be cleaned up: {error}", self.id);
        }
    }

    /// Announces what we can do and waits for the frontend.
    fn offer<R: StoreRing>(&mut self, store: &mut Store<R>, now: Moment) -> Result<(), StoreError> {
        let offer = [
            ("feature-rx-copy", "1"),
            ("feature-rx-flip", "0"),
            ("feature-sg", "1"),
            ("feature-gso-tcpv4", "1"),
            ("feature-split-event-channels", self.split.flag()),
            // Only Linux's netback waits for this one; written for whoever looks.
            ("hotplug-status", "connected"),
        ];
        self.health = Health::Good;
        self.write(&offer, BusState::InitWait, store, now)
    }

    /// Maps the rings that the frontend announced.
    fn connect<X: Xen, R: StoreRing>(
        &mut self,
        xen: &mut X,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<(), StoreError> {
        match self.take_up_rings(xen, store) {
            Ok(netback) => {
                self.netback = Some(netback);
                self.write(&[], BusState::Connected, store, now)
            }
            Err(Unusable(why)) => {
                log::warn!("{}: cannot connect: {why}", self.id);
                self.health = Health::Broken;
                self.write(&[], BusState::Closed, store, now)
            }
        }
    }

    fn take_up_rings<X: Xen, R: StoreRing>(
        &self,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<Netback, Unusable> {
        let mut number = |key: &str| -> Result<Option<u32>, Unusable> {
            let text = store.read_peer(&format!("{}/{key}", self.front));
            let Some(text) = text.map_err(|error| Unusable(format!("{error}")))? else { return Ok(None) };
            decimal(&text).map(Some).ok_or_else(|| Unusable(format!("{key} is no number")))
        };
        let present =
            |key: &str, value: Option<u32>| value.ok_or_else(|| Unusable(format!("{key} is missing")));
        if number("request-rx-copy")? != Some(1) {
            return Err(Unusable("it cannot receive by copy (request-rx-copy)".into()));
        }
        let tx_ring = Gref(present("tx-ring-ref", number("tx-ring-ref")?)?);
        let rx_ring = Gref(present("rx-ring-ref", number("rx-ring-ref")?)?);
        // Whoever was offered a channel per ring may still want one for both.
        let remote = match (number("event-channel-tx")?, number("event-channel-rx")?) {
            (Some(tx), Some(rx)) if self.split == Support::Yes => {
                Remote::Split { tx: RemotePort(tx), rx: RemotePort(rx) }
            }
            _ => Remote::Shared(RemotePort(present("event-channel", number("event-channel")?)?)),
        };
        let abilities = Abilities {
            scatter_gather: Support::of(number("feature-sg")?),
            blank_checksum: Support::unless(number("feature-no-csum-offload")?),
            segmentation: Support::of(number("feature-gso-tcpv4")?),
        };
        let domain = self.id.domain;
        let tx = xen.map(domain, tx_ring).map_err(|error| Unusable(format!("tx ring: {error}")))?;
        let rx = match xen.map(domain, rx_ring) {
            Ok(rx) => rx,
            Err(error) => {
                unmap(xen, tx);
                return Err(Unusable(format!("rx ring: {error}")));
            }
        };
        let channels = match bind(xen, domain, remote) {
            Ok(channels) => channels,
            Err(error) => {
                unmap(xen, tx);
                unmap(xen, rx);
                return Err(Unusable(format!("event channel: {error}")));
            }
        };
        Netback::connect(domain, channels, abilities, tx, rx).map_err(|pages| {
            channels.close(xen);
            pages.into_iter().for_each(|page| unmap(xen, page));
            Unusable("a ring's indices make no sense".into())
        })
    }

    /// Lets go of the rings and says so.
    fn close<X: Xen, R: StoreRing>(
        &mut self,
        state: BusState,
        xen: &mut X,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<(), StoreError> {
        // The frontend frees its ring pages when it reads the state: unmap first.
        self.disconnect(xen);
        self.write(&[], state, store, now)
    }

    /// Closes the connection of a client that broke the protocol; it is served again when it starts anew.
    pub fn break_off<X: Xen, R: StoreRing>(
        &mut self,
        xen: &mut X,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<(), StoreError> {
        self.health = Health::Broken;
        self.close(BusState::Closed, xen, store, now)
    }

    fn disconnect(&mut self, xen: &mut impl Xen) {
        if let Some(netback) = self.netback.take() {
            netback.disconnect(xen);
        }
    }

    /// Writes keys and our state in one transaction, unless the directory has vanished: a node that the
    /// toolstack removed must not come back.
    fn write<R: StoreRing>(
        &mut self,
        keys: &[(&str, &str)],
        state: BusState,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<(), StoreError> {
        self.own = state;
        self.since = now;
        let back = &self.back;
        store.transaction(|transaction| {
            let node = format!("{back}/state");
            if transaction.read_peer(&node)?.is_some() {
                for (key, value) in keys {
                    transaction.write(&format!("{back}/{key}"), value)?;
                }
                transaction.write(&node, state.text())?;
            }
            Ok(())
        })
    }
}

/// Why a frontend's announcement cannot be taken up.
struct Unusable(String);

/// Binds to the event channels that a client announced.
fn bind(xen: &mut impl Xen, domain: DomainId, remote: Remote) -> Result<Channels, XenError> {
    match remote {
        Remote::Shared(port) => Ok(Channels::Shared(xen.bind_port(domain, port)?)),
        Remote::Split { tx, rx } => {
            let tx = xen.bind_port(domain, tx)?;
            match xen.bind_port(domain, rx) {
                Ok(rx) => Ok(Channels::Split { tx, rx }),
                Err(error) => {
                    xen.close_port(tx);
                    Err(error)
                }
            }
        }
    }
}

/// The client's ends of the event channels.
enum Remote {
    /// One for both rings.
    Shared(RemotePort),
    /// One for each.
    Split { tx: RemotePort, rx: RemotePort },
}
