//! The uplink's frontend device: its XenStore directory, its life, and its rings while connected.

use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::text::{Excerpt, decimal};
use crate::vif::abilities::{Abilities, Support};
use crate::vif::channels::Channels;
use crate::vif::lifecycle::{BusState, FrontStep, Link, frontend_step};
use crate::vif::netfront::{self, Netfront};
use crate::wire::ethernet::Mac;
use crate::xen::grant::GrantedPage;
use crate::xen::{DomainId, Xen};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

/// Where the toolstack announces our network devices.
pub const DEVICES: &str = "device/vif";

/// What happened to the link while the device took its steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// Traffic may flow.
    Up,
    /// It may not any more.
    Down,
}

/// Our network device.
#[derive(Debug)]
pub struct Uplink {
    front: String,
    back: String,
    /// Token of the watch on the backend's state.
    token: String,
    backend: DomainId,
    mac: Mac,
    own: BusState,
    link: Link,
    backend_state: BusState,
    netfront: Option<Netfront>,
    /// Pages of earlier connections that their backend still holds.
    kept: Vec<GrantedPage>,
}

impl Uplink {
    /// Reads what the toolstack wrote about device number `device`. Its watch is on the backend's state.
    pub fn discover<R: StoreRing>(
        device: u32,
        token: &str,
        store: &mut Store<R>,
    ) -> Result<Self, StoreError> {
        let front = format!("{DEVICES}/{device}");
        let back = store.read(&format!("{front}/backend"))?;
        let backend = store.read_number(&format!("{front}/backend-id"))?;
        let mac = store.read(&format!("{front}/mac"))?;
        let mac = mac.parse().map_err(|_| StoreError::Other(Excerpt::of(&mac)))?;
        let own = BusState::parse(&store.read_peer(&format!("{front}/state"))?.unwrap_or_default());
        store.watch(&format!("{back}/state"), token)?;
        Ok(Self {
            backend: DomainId(backend),
            mac,
            token: token.into(),
            front,
            back,
            own,
            link: Link::Down,
            backend_state: BusState::Unknown,
            netfront: None,
            kept: Vec::new(),
        })
    }

    /// Our address on the uplink.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Our directory in XenStore, relative to the domain's.
    pub fn path(&self) -> &str {
        &self.front
    }

    /// The rings, while connected.
    pub fn netfront(&mut self) -> Option<&mut Netfront> {
        self.netfront.as_mut()
    }

    /// Looks at XenStore again; whether the device is still the one that was discovered.
    pub fn refresh<R: StoreRing>(&mut self, store: &mut Store<R>) -> Result<Presence, StoreError> {
        let back = store.read_peer(&format!("{}/backend", self.front))?;
        if back.as_deref() != Some(self.back.as_str()) {
            return Ok(Presence::Gone);
        }
        let state = store.read_peer(&format!("{}/state", self.back))?;
        self.backend_state = BusState::parse(&state.unwrap_or_default());
        Ok(Presence::Here)
    }

    /// Takes every step there is.
    pub fn advance<X: Xen, R: StoreRing>(
        &mut self,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<Change, StoreError> {
        let before = self.link;
        loop {
            match frontend_step(self.own, self.link, self.backend_state) {
                FrontStep::Stay => break,
                FrontStep::Connect => self.connect(xen, store)?,
                FrontStep::LinkUp => self.link = Link::Up,
                FrontStep::Close => {
                    self.disconnect(xen);
                    self.write(&[], BusState::Closed, store)?;
                }
                FrontStep::Restart => self.write(&[], BusState::Initialising, store)?,
            }
        }
        Ok(match (before, self.link) {
            (Link::Down, Link::Up) => Change::Up,
            (Link::Up, Link::Down) => Change::Down,
            _ => Change::None,
        })
    }

    /// Makes rings and announces them.
    fn connect<X: Xen, R: StoreRing>(&mut self, xen: &mut X, store: &mut Store<R>) -> Result<(), StoreError> {
        let mut flag = |feature: &str| -> Result<Option<u32>, StoreError> {
            let text = store.read_peer(&format!("{}/feature-{feature}", self.back))?;
            Ok(text.and_then(|text| decimal(&text)))
        };
        let abilities = Abilities {
            scatter_gather: Support::of(flag("sg")?),
            blank_checksum: Support::unless(flag("no-csum-offload")?),
            segmentation: Support::of(flag("gso-tcpv4")?),
        };
        let split = Support::of(flag("split-event-channels")?);
        let netfront = match Netfront::create(xen, self.backend, abilities, split) {
            Ok(netfront) => netfront,
            Err(error) => {
                log::error!("uplink: no rings for domain {}: {error}", self.backend.0);
                return self.write(&[], BusState::Closing, store);
            }
        };
        let addresses = netfront.addresses();
        self.netfront = Some(netfront);
        let mut keys: ArrayVec<(&str, u32), 8> = ArrayVec::from_iter([
            ("tx-ring-ref", addresses.tx_ring.0),
            ("rx-ring-ref", addresses.rx_ring.0),
            ("request-rx-copy", 1),
            ("feature-rx-notify", 1),
            ("feature-sg", 1),
            ("feature-gso-tcpv4", 1),
        ]);
        match addresses.channels {
            Channels::Shared(port) => keys.extend([("event-channel", port.0)]),
            Channels::Split { tx, rx } => {
                keys.extend([("event-channel-tx", tx.0), ("event-channel-rx", rx.0)]);
            }
        }
        self.write(&keys, BusState::Connected, store)
    }

    /// Lets go of the rings. What the backend still holds stays granted until it lets go.
    pub fn disconnect<X: Xen>(&mut self, xen: &mut X) {
        self.link = Link::Down;
        if let Some(netfront) = self.netfront.take() {
            self.kept.extend(netfront.disconnect(xen));
        }
        for granted in core::mem::take(&mut self.kept) {
            netfront::end(xen, granted, &mut self.kept);
        }
    }

    /// Lets go of a device that is not ours any more, and of its watch. Pages that its backend still holds
    /// are returned.
    pub fn forget<X: Xen, R: StoreRing>(mut self, xen: &mut X, store: &mut Store<R>) -> Vec<GrantedPage> {
        self.disconnect(xen);
        if let Err(error) = store.unwatch(&format!("{}/state", self.back), &self.token) {
            log::warn!("uplink: its watch cannot be removed: {error}");
        }
        self.kept
    }

    /// Closes the connection to a backend that broke the protocol.
    pub fn break_off<X: Xen, R: StoreRing>(
        &mut self,
        xen: &mut X,
        store: &mut Store<R>,
    ) -> Result<(), StoreError> {
        self.disconnect(xen);
        self.write(&[], BusState::Closed, store)
    }

    /// Writes keys and our state in one transaction, unless the directory has vanished.
    fn write<R: StoreRing>(
        &mut self,
        keys: &[(&str, u32)],
        state: BusState,
        store: &mut Store<R>,
    ) -> Result<(), StoreError> {
        self.own = state;
        let front = &self.front;
        store.transaction(|transaction| {
            let node = format!("{front}/state");
            if transaction.read_peer(&node)?.is_some() {
                for (key, value) in keys {
                    transaction.write(&format!("{front}/{key}"), value)?;
                }
                transaction.write(&node, state.text())?;
            }
            Ok(())
        })
    }
}

/// Whether a device's directory is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It is.
    Here,
    /// It was removed, or made anew for another backend.
    Gone,
}
