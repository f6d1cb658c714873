//! What a client's frontend announces in its directory, and taking it up: rings, event channels, abilities.
//!
//! All of it is the client's to choose: every value is read once, checked by Xen or here, and what is no good ends
//! only this attempt.

use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::text::decimal;
use crate::vif::abilities::{Abilities, Support};
use crate::vif::channels::Channels;
use crate::vif::netback::{Netback, unmap};
use crate::xen::event::RemotePort;
use crate::xen::grant::Gref;
use crate::xen::{DomainId, Xen, XenError};
use Failure::Unusable;
use alloc::format;
use alloc::string::String;

/// Reads what the frontend of `domain` announced in its directory `front`, maps its rings and binds its event
/// channels: one per ring only if that was offered (`split`). What fails leaves nothing behind.
pub fn take_up<R: StoreRing>(
    front: &str,
    domain: DomainId,
    split: Support,
    xen: &mut impl Xen,
    store: &mut Store<R>,
) -> Result<Netback, Failure> {
    let mut number = |key: &str| -> Result<Option<u32>, Failure> {
        let text = store.read_peer(&format!("{}/{key}", front));
        let Some(text) = text.map_err(Failure::Store)? else { return Ok(None) };
        decimal(&text).map(Some).ok_or_else(|| Unusable(format!("{key} is no number")))
    };
    let present = |key: &str, value: Option<u32>| value.ok_or_else(|| Unusable(format!("{key} is missing")));
    if number("request-rx-copy")? != Some(1) {
        return Err(Unusable("it cannot receive by copy (request-rx-copy)".into()));
    }
    let tx_ring = Gref(present("tx-ring-ref", number("tx-ring-ref")?)?);
    let rx_ring = Gref(present("rx-ring-ref", number("rx-ring-ref")?)?);
    // Whoever was offered a channel per ring may still want one for both.
    let remote = match (number("event-channel-tx")?, number("event-channel-rx")?) {
        (Some(tx), Some(rx)) if split == Support::Yes => {
            Remote::Split { tx: RemotePort(tx), rx: RemotePort(rx) }
        }
        _ => Remote::Shared(RemotePort(present("event-channel", number("event-channel")?)?)),
    };
    let abilities = Abilities {
        scatter_gather: Support::of(number("feature-sg")?),
        blank_checksum: Support::unless(number("feature-no-csum-offload")?),
        segmentation: Support::of(number("feature-gso-tcpv4")?),
    };
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
    let Some(charges) = xen.pages().open(domain) else {
        channels.close(xen);
        [tx, rx].into_iter().for_each(|page| unmap(xen, page));
        return Err(Unusable("pages of clients that are gone are still in use everywhere".into()));
    };
    Netback::connect(domain, charges, channels, abilities, tx, rx).map_err(|pages| {
        channels.close(xen);
        xen.pages().close(charges);
        pages.into_iter().for_each(|page| unmap(xen, page));
        Unusable("a ring's indices make no sense".into())
    })
}

/// Why rings cannot be taken up.
pub enum Failure {
    /// What the frontend announced is no good.
    Unusable(String),
    /// XenStore does not say what it announced.
    Store(StoreError),
}

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
