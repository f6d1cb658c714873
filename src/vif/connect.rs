//! What a client's frontend announces in its directory, and taking it up: rings, event channels, features.
//!
//! All of it is the client's to choose: every value is read once, checked by Xen or here, and what is no good ends
//! only this attempt.

use crate::base::text::decimal;
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::vif::channels::Channels;
use crate::vif::features::{Features, Support};
use crate::vif::netback::{Netback, unmap};
use crate::xen::event::RemotePort;
use crate::xen::grant::Gref;
use crate::xen::{DomainId, Xen, XenError};
use alloc::format;
use alloc::string::String;
use core::fmt;

/// What a frontend announced: not believed before it is taken up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingAddresses {
    tx_ring: Gref,
    rx_ring: Gref,
    remote: RemoteChannels,
    features: Features,
}

/// Why rings cannot be taken up: what the frontend announced is no good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableRings(String);

impl fmt::Display for UnusableRings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a frontend writes into its directory.
const KEYS: [&str; 9] = [
    "request-rx-copy",
    "tx-ring-ref",
    "rx-ring-ref",
    "event-channel-tx",
    "event-channel-rx",
    "event-channel",
    "feature-sg",
    "feature-no-csum-offload",
    "feature-gso-tcpv4",
];

impl RingAddresses {
    /// Reads what the frontend announced in its directory `front`. It may announce an event channel per ring only if
    /// that was offered (`split`).
    ///
    /// # Errors
    /// Those of XenStore itself.
    pub async fn read<R: StoreRing>(
        front: &str,
        split: Support,
        store: &Store<R>,
    ) -> Result<Result<Self, UnusableRings>, StoreError> {
        Ok(Self::of(store.read_children(front, KEYS).await?, split))
    }

    /// `values`: those of [`KEYS`].
    fn of(values: [Option<String>; KEYS.len()], split: Support) -> Result<Self, UnusableRings> {
        let mut numbers = [None; KEYS.len()];
        for ((number, value), key) in numbers.iter_mut().zip(values).zip(KEYS) {
            if let Some(text) = value {
                *number = Some(decimal(&text).ok_or_else(|| UnusableRings(format!("{key} is no number")))?);
            }
        }
        let [copies, tx_ring, rx_ring, tx_channel, rx_channel, channel, sg, no_csum, gso] = numbers;
        let present =
            |key: &str, value: Option<u32>| value.ok_or_else(|| UnusableRings(format!("{key} is missing")));
        if copies != Some(1) {
            return Err(UnusableRings("it cannot receive by copy (request-rx-copy)".into()));
        }
        Ok(Self {
            tx_ring: Gref(present("tx-ring-ref", tx_ring)?),
            rx_ring: Gref(present("rx-ring-ref", rx_ring)?),
            // Whoever was offered a channel per ring may still want one for both.
            remote: match (tx_channel, rx_channel) {
                (Some(tx), Some(rx)) if split == Support::Yes => {
                    RemoteChannels::Split { tx: RemotePort(tx), rx: RemotePort(rx) }
                }
                _ => RemoteChannels::Shared(RemotePort(present("event-channel", channel)?)),
            },
            features: Features {
                scatter_gather: Support::of(sg),
                blank_checksum: Support::unless(no_csum),
                segmentation: Support::of(gso),
            },
        })
    }

    /// Maps the rings of `domain` and binds its event channels. What fails leaves nothing behind.
    ///
    /// # Errors
    /// What Xen refuses, and rings whose indices cannot be.
    pub fn connect(self, domain: DomainId, xen: &mut impl Xen) -> Result<Netback, UnusableRings> {
        let tx = xen.map(domain, self.tx_ring).map_err(|error| UnusableRings(format!("tx ring: {error}")))?;
        let rx = match xen.map(domain, self.rx_ring) {
            Ok(rx) => rx,
            Err(error) => {
                unmap(xen, tx);
                return Err(UnusableRings(format!("rx ring: {error}")));
            }
        };
        let channels = match bind(xen, domain, self.remote) {
            Ok(channels) => channels,
            Err(error) => {
                unmap(xen, tx);
                unmap(xen, rx);
                return Err(UnusableRings(format!("event channel: {error}")));
            }
        };
        let Some(charges) = xen.pages().open(domain) else {
            channels.close(xen);
            [tx, rx].into_iter().for_each(|page| unmap(xen, page));
            return Err(UnusableRings("pages of clients that are gone are still in use everywhere".into()));
        };
        Netback::connect(domain, charges, channels, self.features, tx, rx).map_err(|pages| {
            channels.close(xen);
            xen.pages().close(charges);
            pages.into_iter().for_each(|page| unmap(xen, page));
            UnusableRings("a ring's indices make no sense".into())
        })
    }
}

/// Binds to the event channels that a client announced.
fn bind(xen: &mut impl Xen, domain: DomainId, remote: RemoteChannels) -> Result<Channels, XenError> {
    match remote {
        RemoteChannels::Shared(port) => Ok(Channels::Shared(xen.bind_port(domain, port)?)),
        RemoteChannels::Split { tx, rx } => {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RemoteChannels {
    /// One for both rings.
    Shared(RemotePort),
    /// One for each.
    Split { tx: RemotePort, rx: RemotePort },
}
