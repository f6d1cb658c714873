//! A backend device's directory in XenStore: what the toolstack wrote there, and what we say in it.

use crate::guard::antispoof::Identity;
use crate::store::{Nodes, Store, StoreError, StoreRing, Transaction};
use crate::vif::connect::{RingAddresses, UnusableRings};
use crate::vif::device_id::DeviceId;
use crate::vif::features::Support;
use crate::vif::lifecycle::backend::{BackendEvent, BackendObservation};
use crate::vif::lifecycle::{BusState, Online};
use crate::vif::vif_options::VifOptions;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What we announce in InitWait, as `netif.h` names it. A key that is missing says no.
const OFFER: &[(&str, &str)] = &[("feature-rx-copy", "1"), ("feature-sg", "1"), ("feature-gso-tcpv4", "1")];

/// Only Linux's netback waits for this node; said for whoever looks, where the toolstack made it.
const HOTPLUG_STATUS: &str = "hotplug-status";

/// Nodes that the toolstack made for backends of another kind and for hotplug scripts, which do not run in this
/// domain. Nobody reads them; they are removed when our quota of nodes is used up.
const UNREAD: [&str; 5] = ["script", "bridge", "handle", "frontend-id", HOTPLUG_STATUS];

/// Where a device's nodes are, and what the toolstack wrote there when it made them.
#[derive(Debug)]
pub struct BackendDirectory {
    id: DeviceId,
    back: String,
    front: String,
    /// Token of the watch on the frontend's state.
    token: String,
    /// `feature-split-event-channels`
    split: Support,
    words: VifOptions,
    identity: Identity,
    /// What of the toolstack's words is not done.
    not_done: Vec<String>,
}

/// What is to become of a backend device's directory.
#[derive(Clone, Copy, Debug)]
pub(super) enum DirectoryChange {
    /// This is written as our state, and in InitWait what we offer.
    State(BusState),
    /// It is removed.
    Remove,
}

impl BackendDirectory {
    /// Reads what the toolstack wrote about a new device, and watches the frontend's state. `split`: whether the client
    /// is offered an event channel per ring.
    ///
    /// # Errors
    /// [`StoreError::NoEntry`] when there is no such device.
    pub async fn discover<R: StoreRing>(
        id: DeviceId,
        token: String,
        split: Support,
        store: &Store<R>,
    ) -> Result<Self, StoreError> {
        let back = path_of(id);
        let front = store.read(&format!("{back}/frontend")).await?;
        let words = read_words(&back, store).await?;
        let not_done = words.not_done(&store.directory(&back).await?);
        store.watch(&format!("{front}/state"), &token).await?;
        let identity = words.identity();
        Ok(Self { id, back, front, token, split, words, identity, not_done })
    }

    /// Which device this is.
    pub fn id(&self) -> DeviceId {
        self.id
    }

    /// The addresses that the toolstack gave the client.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// What the toolstack chose for this vif.
    pub fn words(&self) -> &VifOptions {
        &self.words
    }

    /// What of that is not done, for the console.
    pub fn not_done(&self) -> &[String] {
        &self.not_done
    }

    /// What XenStore shows of the device.
    pub(super) async fn look<R: StoreRing>(
        &self,
        store: &Store<R>,
    ) -> Result<BackendObservation, StoreError> {
        let (own, online, frontend) =
            (self.own("state"), self.own("online"), format!("{}/state", self.front));
        let [own, online, frontend] = store.read_peers([&own, &online, &frontend]).await?;
        Ok(BackendObservation {
            own: own.map(|text| BusState::parse(&text)),
            online: Online::parse(online.as_deref()),
            frontend: BusState::parse(&frontend.unwrap_or_default()),
        })
    }

    /// What the frontend announced.
    pub(super) async fn read_announcement<R: StoreRing>(
        &self,
        store: &Store<R>,
    ) -> Result<Result<RingAddresses, UnusableRings>, StoreError> {
        RingAddresses::read(&self.front, self.split, store).await
    }

    /// Changes our directory in one transaction, where `written` is the state we wrote last, unless it has vanished: a node
    /// that the toolstack removed must not come back, and one that it made anew is another device's.
    pub(super) async fn change<R: StoreRing>(
        &self,
        change: DirectoryChange,
        written: BusState,
        store: &Store<R>,
    ) -> Result<BackendEvent, StoreError> {
        let node = self.own("state");
        let changed = store.transaction(async |transaction| {
            let found = BusState::parse(&transaction.read(&node).await?);
            if found == BusState::Initialising && written != BusState::Initialising {
                return Err(StoreError::NoEntry);
            }
            let DirectoryChange::State(state) = change else {
                return transaction.remove(&self.back).await;
            };
            let mut nodes = match state {
                BusState::InitWait => self.offer(transaction).await?,
                _ => Vec::new(),
            };
            nodes.push((node.clone(), state.text().into()));
            transaction.write_all(&nodes).await
        });
        match changed.await {
            Ok(()) => Ok(BackendEvent::Done),
            Err(StoreError::NoEntry) => Ok(BackendEvent::Vanished),
            Err(error) => Err(error),
        }
    }

    /// Ends the watch on the frontend's state.
    pub(super) async fn forget<R: StoreRing>(&self, store: &Store<R>) -> Result<(), StoreError> {
        store.unwatch(&format!("{}/state", self.front), &self.token).await
    }

    /// What announces what we can do.
    async fn offer<R: StoreRing>(
        &self,
        transaction: &Transaction<R>,
    ) -> Result<Vec<(String, String)>, StoreError> {
        let hotplug = transaction.read_peer(&self.own(HOTPLUG_STATUS)).await?;
        // What we know of the client may be of a directory that was removed and made anew since.
        if read_words(&self.back, transaction).await? != self.words {
            return Err(StoreError::NoEntry);
        }
        let mut nodes: Vec<(String, String)> =
            OFFER.iter().map(|&(key, value)| (self.own(key), value.into())).collect();
        // Nodes are scarce: what says no is not said.
        if self.split == Support::Yes {
            nodes.push((self.own("feature-split-event-channels"), self.split.flag().into()));
        }
        if hotplug.is_some() {
            nodes.push((self.own(HOTPLUG_STATUS), "connected".into()));
        }
        Ok(nodes)
    }

    fn own(&self, key: &str) -> String {
        format!("{}/{key}", self.back)
    }
}

/// What the toolstack chose for a vif.
async fn read_words(back: &str, nodes: &impl Nodes) -> Result<VifOptions, StoreError> {
    VifOptions::new(nodes.read_children(back, VifOptions::KEYS).await?).ok_or(StoreError::NoEntry)
}

/// A device's directory, relative to ours.
pub fn path_of(id: DeviceId) -> String {
    format!("backend/vif/{}/{}", id.domain.0, id.device)
}

/// Removes nodes of devices' directories that nobody reads, when we own more than we may.
///
/// # Errors
/// Those of XenStore itself.
pub async fn make_room<R: StoreRing>(devices: Vec<DeviceId>, store: Store<R>) -> Result<(), StoreError> {
    for back in devices.into_iter().map(path_of) {
        for name in UNREAD {
            match store.remove(&format!("{back}/{name}")).await {
                Err(error) if !error.is_about_the_request() => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
