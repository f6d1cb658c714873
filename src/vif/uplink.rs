//! The uplink's frontend device: its XenStore directory, its life, and its rings while connected.

use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::text::{Excerpt, decimal};
use crate::time::Moment;
use crate::vif::abilities::{Abilities, Support};
use crate::vif::channels::Channels;
use crate::vif::held::HeldPages;
use crate::vif::lifecycle::frontend::{Action, Event, Frontend, Link, Sight};
use crate::vif::lifecycle::{BusState, Online};
use crate::vif::netfront::Netfront;
use crate::wire::ethernet::Mac;
use crate::xen::charge::Charge;
use crate::xen::{DomainId, Xen};
use alloc::format;
use alloc::string::String;
use core::net::Ipv4Addr;

/// Where the toolstack announces our network devices.
pub const DEVICES: &str = "device/vif";

/// What we announce besides our rings, as `netif.h` names it. A key that is missing says no.
const ABILITIES: &[(&str, u32)] =
    &[("request-rx-copy", 1), ("feature-rx-notify", 1), ("feature-sg", 1), ("feature-gso-tcpv4", 1)];

/// What happened to the link while the device took its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Traffic may flow.
    Up,
    /// It may not any more.
    Down,
    /// The device is gone for good.
    Gone,
}

/// Our network device.
#[derive(Debug)]
pub struct Uplink {
    device: u32,
    front: String,
    back: String,
    /// Token of the watch on the backend's state.
    token: String,
    backend: DomainId,
    mac: Mac,
    address: Option<Ipv4Addr>,
    life: Frontend,
    netfront: Option<Netfront>,
    /// What XenStore last failed to do for this device.
    trouble: Option<StoreError>,
}

/// What a device's steps take besides its own state.
pub struct Surroundings<'a, X: Xen, R: StoreRing> {
    /// The hypervisor.
    pub xen: &'a mut X,
    /// XenStore.
    pub store: &'a mut Store<R>,
    /// Where pages go that the backend does not let go.
    pub held: &'a mut HeldPages,
}

impl Uplink {
    /// Reads what the toolstack wrote about device number `device`. Its watch is on the backend's state.
    pub fn discover<R: StoreRing>(
        device: u32,
        token: &str,
        store: &mut Store<R>,
        now: Moment,
    ) -> Result<Self, StoreError> {
        let front = format!("{DEVICES}/{device}");
        let back = store.read(&format!("{front}/backend"))?;
        let backend = store.read_number(&format!("{front}/backend-id"))?;
        let mac = store.read(&format!("{front}/mac"))?;
        let mac = mac.parse().map_err(|_| StoreError::Other(Excerpt::of(&mac)))?;
        let own = BusState::parse(&store.read(&format!("{front}/state"))?);
        let addresses = store.read_peer(&format!("{back}/ip"))?.unwrap_or_default();
        store.watch(&format!("{back}/state"), token)?;
        Ok(Self {
            device,
            backend: DomainId(backend),
            mac,
            address: addresses.split_ascii_whitespace().find_map(|word| word.parse().ok()),
            token: token.into(),
            front,
            back,
            life: Frontend::new(own, now),
            netfront: None,
            trouble: None,
        })
    }

    /// The device's number.
    pub fn device(&self) -> u32 {
        self.device
    }

    /// Our Ethernet address on the uplink.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The IPv4 address that the toolstack gave the device (`ip=`), if it did.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// Whether the backend has taken up the rings.
    pub fn link(&self) -> Link {
        self.life.link()
    }

    /// The rings, while connected.
    pub fn netfront(&mut self) -> Option<&mut Netfront> {
        self.netfront.as_mut()
    }

    /// When [`Self::follow`] has something to do without an event.
    pub fn deadline(&self) -> Option<Moment> {
        self.life.deadline()
    }

    /// Looks at XenStore again and takes every step that is due. The caller drops the device on [`Change::Gone`].
    pub fn follow<X: Xen, R: StoreRing>(
        &mut self,
        around: &mut Surroundings<'_, X, R>,
    ) -> Result<Change, StoreError> {
        let store = &mut *around.store;
        let own = store.read_peer(&format!("{}/state", self.front))?;
        let back = store.read_peer(&format!("{}/backend", self.front))?;
        let backend = store.read_peer(&format!("{}/state", self.back))?;
        let online = store.read_peer(&format!("{}/online", self.back))?;
        let same = back.as_deref() == Some(self.back.as_str());
        let sight = Sight {
            own: own.filter(|_| same).map(|text| BusState::parse(&text)),
            online: Online::parse(online.as_deref()),
            backend: BusState::parse(&backend.unwrap_or_default()),
        };
        self.handle(Event::Saw(sight), around)
    }

    /// Ends the connection to a backend that broke the protocol; it is tried again after a while.
    pub fn break_off<X: Xen, R: StoreRing>(
        &mut self,
        around: &mut Surroundings<'_, X, R>,
    ) -> Result<Change, StoreError> {
        self.handle(Event::Broke, around)
    }

    /// Hands an event to the device's life and carries out what comes of it.
    fn handle<X: Xen, R: StoreRing>(
        &mut self,
        event: Event,
        around: &mut Surroundings<'_, X, R>,
    ) -> Result<Change, StoreError> {
        let before = self.life.link();
        let mut outcome = Ok(());
        let mut action = self.life.handle(event, around.xen.now());
        while let Some(next) = action {
            let event = match self.carry_out(next, around) {
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
            action = self.life.handle(event, around.xen.now());
        }
        let change = match (before, self.life.link()) {
            _ if self.life.is_forgotten() => Change::Gone,
            (Link::Down, Link::Up) => Change::Up,
            (Link::Up, Link::Down) => Change::Down,
            _ => Change::None,
        };
        match outcome {
            // What happened to the link matters more than what could not be written.
            Err(error) if change == Change::None => Err(error),
            Err(error) => {
                log::error!("uplink: {error}");
                Ok(change)
            }
            Ok(()) => Ok(change),
        }
    }

    /// Carries out one action; its outcome, unless XenStore failed.
    fn carry_out<X: Xen, R: StoreRing>(
        &mut self,
        action: Action,
        around: &mut Surroundings<'_, X, R>,
    ) -> Result<Event, StoreError> {
        match action {
            Action::MakeRings => self.make_rings(around),
            Action::Write(state) => {
                let event = self.write(state, around.store)?;
                self.trouble = None;
                Ok(event)
            }
            Action::LetGo => {
                if let Some(netfront) = self.netfront.take() {
                    around.held.extend(netfront.disconnect(around.xen));
                }
                around.held.retry(around.xen);
                Ok(Event::Done)
            }
            Action::Forget => {
                around.store.unwatch(&format!("{}/state", self.back), &self.token)?;
                Ok(Event::Done)
            }
        }
    }

    fn make_rings<X: Xen, R: StoreRing>(
        &mut self,
        around: &mut Surroundings<'_, X, R>,
    ) -> Result<Event, StoreError> {
        let mut flag = |feature: &str| -> Result<Option<u32>, StoreError> {
            let text = around.store.read_peer(&format!("{}/feature-{feature}", self.back))?;
            Ok(text.and_then(|text| decimal(&text)))
        };
        let abilities = Abilities {
            scatter_gather: Support::of(flag("sg")?),
            blank_checksum: Support::unless(flag("no-csum-offload")?),
            segmentation: Support::of(flag("gso-tcpv4")?),
        };
        let split = Support::of(flag("split-event-channels")?);
        around.held.retry(around.xen);
        if around.xen.pages().is_beyond(Charge::KEPT) {
            log::error!("uplink: its backend still holds {} pages: no new rings for it", around.held.len());
            return Ok(Event::Refused);
        }
        Ok(match Netfront::create(around.xen, self.backend, abilities, split) {
            Ok(netfront) => {
                self.netfront = Some(netfront);
                Event::Done
            }
            Err(error) => {
                log::error!("uplink: no rings for domain {}: {error}", self.backend.0);
                Event::Refused
            }
        })
    }

    /// Writes our state, and where our rings are in Connected, in one transaction, unless the directory has
    /// vanished or was made anew: then it is another device's.
    fn write<R: StoreRing>(&self, state: BusState, store: &mut Store<R>) -> Result<Event, StoreError> {
        let front = &self.front;
        let node = format!("{front}/state");
        let written = self.life.written();
        let rings = match (&self.netfront, state) {
            (Some(netfront), BusState::Connected) => Some(netfront.addresses()),
            _ => None,
        };
        let done = store.transaction(|transaction| {
            let found = BusState::parse(&transaction.read(&node)?);
            if found == BusState::Initialising && written != BusState::Initialising
                || transaction.read(&format!("{front}/backend"))? != self.back
            {
                return Err(StoreError::NoEntry);
            }
            if let Some(rings) = rings {
                let keys = [("tx-ring-ref", rings.tx_ring.0), ("rx-ring-ref", rings.rx_ring.0)];
                // One kind of channels or the other: what an earlier connection announced must not be found.
                let (channels, stale): (&[_], &[_]) = match rings.channels {
                    Channels::Shared(port) => {
                        (&[("event-channel", port.0)], &["event-channel-tx", "event-channel-rx"])
                    }
                    Channels::Split { tx, rx } => {
                        (&[("event-channel-tx", tx.0), ("event-channel-rx", rx.0)], &["event-channel"])
                    }
                };
                for key in stale {
                    transaction.remove(&format!("{front}/{key}"))?;
                }
                for (key, value) in keys.iter().chain(channels).chain(ABILITIES) {
                    transaction.write(&format!("{front}/{key}"), value)?;
                }
            }
            transaction.write(&node, state.text())
        });
        match done {
            Ok(()) => Ok(Event::Done),
            Err(StoreError::NoEntry) => Ok(Event::Vanished),
            Err(error) => Err(error),
        }
    }
}
