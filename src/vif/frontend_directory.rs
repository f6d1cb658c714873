//! The uplink's directory in XenStore: what the toolstack and the backend wrote, and what we say in ours.

use crate::base::text::{Excerpt, decimal};
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::vif::channels::Channels;
use crate::vif::features::{Features, Support};
use crate::vif::lifecycle::frontend::{FrontendEvent, FrontendObservation};
use crate::vif::lifecycle::{BusState, Online};
use crate::vif::netfront::Addresses;
use crate::vif::vif_options::parse_mtu;
use crate::wire::ethernet::Mac;
use crate::xen::DomainId;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Where the toolstack announces our network devices.
pub const DEVICES: &str = "device/vif";

/// What we announce besides our rings, as `netif.h` names it. A key that is missing says no.
const ABILITIES: [(&str, u32); 4] =
    [("request-rx-copy", 1), ("feature-rx-notify", 1), ("feature-sg", 1), ("feature-gso-tcpv4", 1)];

/// Bytes of the largest IP packet where the toolstack says nothing else.
pub const USUAL_MTU: u16 = 1500;

/// What the backend can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfferedFeatures {
    /// What packets it takes.
    pub features: Features,
    /// `feature-split-event-channels`
    pub split: Support,
}

/// Where the device's nodes are, and what the toolstack wrote there when it made them.
#[derive(Debug)]
pub struct FrontendDirectory {
    device: u32,
    front: String,
    back: String,
    /// Token of the watch on the backend's state.
    token: String,
    backend: DomainId,
    mac: Mac,
    address: Option<Ipv4Addr>,
    mtu: u16,
    /// What the toolstack wrote instead of an MTU.
    refused_mtu: Option<Excerpt>,
    found: BusState,
}

impl FrontendDirectory {
    /// Reads what the toolstack wrote about device number `device`, and watches the backend's state.
    ///
    /// # Errors
    /// [`StoreError::NoEntry`] when there is no such device, or not yet.
    pub async fn discover<R: StoreRing>(
        device: u32,
        token: &str,
        store: &Store<R>,
    ) -> Result<Self, StoreError> {
        let front = format!("{DEVICES}/{device}");
        let values = store.read_children(&front, ["backend", "backend-id", "mac", "state", "mtu"]).await?;
        let [Some(back), Some(backend), Some(mac), Some(found), mtu] = values else {
            return Err(StoreError::NoEntry);
        };
        let backend = decimal(&backend).ok_or_else(|| StoreError::NotANumber(Excerpt::of(&backend)))?;
        let mac = mac.parse().map_err(|_| StoreError::NotAMac(Excerpt::of(&mac)))?;
        let found = BusState::parse(&found);
        let addresses = store.read_peer(&format!("{back}/ip")).await?.unwrap_or_default();
        let refused_mtu = mtu.as_deref().filter(|text| parse_mtu(text).is_none()).map(Excerpt::of);
        let mtu = mtu.as_deref().and_then(parse_mtu).unwrap_or(USUAL_MTU);
        store.watch(&format!("{back}/state"), token).await?;
        Ok(Self {
            device,
            backend: DomainId(backend),
            mac,
            address: addresses.split_ascii_whitespace().find_map(|word| word.parse().ok()),
            token: token.into(),
            front,
            back,
            mtu,
            refused_mtu,
            found,
        })
    }

    /// The device's number.
    pub fn device(&self) -> u32 {
        self.device
    }

    /// Our Ethernet address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// The IPv4 address that the toolstack gave the device, if it did.
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.address
    }

    /// Bytes of the largest IP packet that the toolstack says may go there.
    pub fn mtu(&self) -> u16 {
        self.mtu
    }

    /// What the toolstack wrote instead of an MTU; the usual one is used.
    pub fn refused_mtu(&self) -> Option<&Excerpt> {
        self.refused_mtu.as_ref()
    }

    /// Who serves the device.
    pub fn backend(&self) -> DomainId {
        self.backend
    }

    /// The state in which the device was found.
    pub fn found(&self) -> BusState {
        self.found
    }

    /// What XenStore shows of the device.
    pub(super) async fn look<R: StoreRing>(
        &self,
        store: &Store<R>,
    ) -> Result<FrontendObservation, StoreError> {
        let own = ["state", "backend"].map(|key| self.own(key));
        let [state, online] = ["state", "online"].map(|key| format!("{}/{key}", self.back));
        let [own, back, backend, online] = store.read_peers([&own[0], &own[1], &state, &online]).await?;
        let same = back.as_deref() == Some(self.back.as_str());
        Ok(FrontendObservation {
            own: own.filter(|_| same).map(|text| BusState::parse(&text)),
            online: Online::parse(online.as_deref()),
            backend: BusState::parse(&backend.unwrap_or_default()),
        })
    }

    /// What the backend says that it can do.
    pub(super) async fn read_talents<R: StoreRing>(
        &self,
        store: &Store<R>,
    ) -> Result<OfferedFeatures, StoreError> {
        let features =
            ["feature-sg", "feature-no-csum-offload", "feature-gso-tcpv4", "feature-split-event-channels"];
        let values = store.read_children(&self.back, features).await?;
        let [sg, no_csum, gso, split] = values.map(|text| text.and_then(|text| decimal(&text)));
        let features = Features {
            scatter_gather: Support::of(sg),
            blank_checksum: Support::unless(no_csum),
            segmentation: Support::of(gso),
        };
        Ok(OfferedFeatures { features, split: Support::of(split) })
    }

    /// Writes our state where `written` is what we wrote last, and where our `rings` are in Connected, in one
    /// transaction, unless the directory has vanished or was made anew: then it is another device's.
    pub(super) async fn write<R: StoreRing>(
        &self,
        state: BusState,
        written: BusState,
        rings: Option<Addresses>,
        store: &Store<R>,
    ) -> Result<FrontendEvent, StoreError> {
        let (node, backend) = (self.own("state"), self.own("backend"));
        let (mut nodes, stale) = match rings {
            Some(rings) if state == BusState::Connected => self.addresses(rings),
            _ => (Vec::new(), &[][..]),
        };
        nodes.push((node.clone(), state.text().into()));
        let done = store.transaction(async |transaction| {
            let found = BusState::parse(&transaction.read(&node).await?);
            if found == BusState::Initialising && written != BusState::Initialising
                || transaction.read(&backend).await? != self.back
            {
                return Err(StoreError::NoEntry);
            }
            for key in stale {
                transaction.remove(&self.own(key)).await?;
            }
            transaction.write_all(&nodes).await
        });
        match done.await {
            Ok(()) => Ok(FrontendEvent::Done),
            Err(StoreError::NoEntry) => Ok(FrontendEvent::Vanished),
            Err(error) => Err(error),
        }
    }

    /// What announces our rings, and what an earlier connection may have announced that must not be found any more: it
    /// is one kind of channels or the other.
    fn addresses(&self, rings: Addresses) -> (Vec<(String, String)>, &'static [&'static str]) {
        let mut nodes = Vec::new();
        let mut add = |key, value: u32| nodes.push((self.own(key), value.to_string()));
        add("tx-ring-ref", rings.tx_ring.0);
        add("rx-ring-ref", rings.rx_ring.0);
        let stale: &[_] = match rings.channels {
            Channels::Shared(port) => {
                add("event-channel", port.0);
                &["event-channel-tx", "event-channel-rx"]
            }
            Channels::Split { tx, rx } => {
                add("event-channel-tx", tx.0);
                add("event-channel-rx", rx.0);
                &["event-channel"]
            }
        };
        ABILITIES.iter().for_each(|(key, value)| add(key, *value));
        (nodes, stale)
    }

    /// Ends the watch on the backend's state.
    pub(super) async fn forget<R: StoreRing>(&self, store: &Store<R>) -> Result<(), StoreError> {
        store.unwatch(&format!("{}/state", self.back), &self.token).await
    }

    fn own(&self, key: &str) -> String {
        format!("{}/{key}", self.front)
    }
}
