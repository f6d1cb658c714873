//! What the toolstack asks of the whole domain: `control/shutdown` and `control/sysrq`
//! (`docs/misc/xenstore-paths.pandoc`).

use super::inquiry::Inquiry;
use crate::base::time::Moment;
use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::xen::Shutdown;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The directory of requests, relative to ours: to be watched.
pub const REQUESTS: &str = "control";

const SHUTDOWN: &str = "control/shutdown";
const SYSRQ: &str = "control/sysrq";

/// Which requests we obey: some toolstacks make no others. We cannot be suspended; `xl pause` serves as well.
const FEATURES: [(&str, u8); 3] =
    [("control/feature-poweroff", 1), ("control/feature-reboot", 1), ("control/feature-suspend", 0)];

/// A request that is obeyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// End the domain.
    End(Shutdown),
    /// Say on the console what is held (`xl sysrq DOMAIN m`).
    Balance,
    /// Say on the console what passed and what did not (`xl sysrq DOMAIN s`).
    Report,
    /// Say on the console that this is not supported.
    Unknown(UnknownRequest),
}

/// A request that was taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenRequest {
    /// What is asked.
    pub request: Request,
    /// Why it cannot be acknowledged. It is obeyed all the same, as Linux does: the toolstack waits for that.
    pub unacknowledged: Option<StoreError>,
}

/// Something about requests that does not work, to be said on the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnknownRequest {
    /// What `control/shutdown` held.
    Shutdown(String),
    /// What `control/sysrq` held.
    SysRq(String),
    /// XenStore does not let us write this node, which says whether we obey a request. What we do is the same without
    /// it.
    Feature(&'static str, StoreError),
}

impl fmt::Display for UnknownRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shutdown(text) => {
                write!(f, "{SHUTDOWN}: request \"{}\" is not supported", text.escape_debug())
            }
            Self::SysRq(text) => {
                write!(f, "{SYSRQ}: key \"{}\" is not supported; m and s are", text.escape_debug())
            }
            Self::Feature(node, error) => write!(f, "{node}: {error}"),
        }
    }
}

/// Says which requests are obeyed. Returns where the toolstack does not let us say so.
///
/// # Errors
/// Only those that say that XenStore itself fails.
pub async fn announce<R: StoreRing>(store: &Store<R>) -> Result<Vec<UnknownRequest>, StoreError> {
    let mut refused = Vec::new();
    for (node, value) in FEATURES {
        match store.write(node, value).await {
            Err(error) if error.is_about_the_request() => refused.push(UnknownRequest::Feature(node, error)),
            other => other?,
        }
    }
    Ok(refused)
}

/// The request that waits, if any. It is acknowledged, as the protocol wants, by emptying the node.
///
/// # Errors
/// Those of XenStore that keep a request from being read, or may pass.
async fn take_request<R: StoreRing>(store: Store<R>) -> Result<Option<TakenRequest>, StoreError> {
    let taken = |request, unacknowledged| Ok(Some(TakenRequest { request, unacknowledged }));
    let (shutdown, unacknowledged) = take(&store, SHUTDOWN).await?;
    match shutdown.as_str() {
        "" => {}
        "poweroff" | "halt" => return taken(Request::End(Shutdown::PowerOff), unacknowledged),
        "reboot" => return taken(Request::End(Shutdown::Reboot), unacknowledged),
        _ => return taken(Request::Unknown(UnknownRequest::Shutdown(shutdown)), unacknowledged),
    }
    let (key, unacknowledged) = take(&store, SYSRQ).await?;
    match key.as_str() {
        "" | "\0" => Ok(None),
        "m" => taken(Request::Balance, unacknowledged),
        "s" => taken(Request::Report, unacknowledged),
        _ => taken(Request::Unknown(UnknownRequest::SysRq(key)), unacknowledged),
    }
}

/// Reads a request and empties its node in one transaction, so that one that comes meanwhile is not lost. If the node
/// can never be emptied, the request comes back all the same, with the reason.
async fn take<R: StoreRing>(
    store: &Store<R>,
    node: &str,
) -> Result<(String, Option<StoreError>), StoreError> {
    let mut request = store.read_peer(node).await?.unwrap_or_default();
    if request.is_empty() {
        return Ok((request, None));
    }
    let emptied = store.transaction(async |transaction| {
        request = transaction.read_peer(node).await?.unwrap_or_default();
        if request.is_empty() { Ok(()) } else { transaction.write(node, "").await }
    });
    match emptied.await {
        Ok(()) => Ok((request, None)),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => Ok((request, Some(error))),
    }
}

/// Reads requests when there may be some.
#[derive(Debug, Default)]
pub struct Requests {
    reading: Inquiry<Option<TakenRequest>>,
}

impl Requests {
    /// The nodes changed: they are to be read again.
    pub fn look_again(&mut self) {
        self.reading.look_again();
    }

    /// Whether [`Self::next`] has something to ask.
    pub fn is_due(&self, now: Moment) -> bool {
        self.reading.is_due(now)
    }

    /// When [`Self::is_due`] becomes true, if no change is announced before.
    pub fn deadline(&self) -> Option<Moment> {
        self.reading.deadline()
    }

    /// The next request, if XenStore has answered. As long as the nodes change, they are read again.
    ///
    /// # Errors
    /// Those of XenStore, each once while it lasts; the nodes are read again a second later.
    pub fn next<R: StoreRing + 'static>(
        &mut self,
        store: &Store<R>,
        now: Moment,
    ) -> Result<Option<TakenRequest>, StoreError> {
        loop {
            match self.reading.next(now, || take_request(store.clone())).transpose()? {
                None => return Ok(None),
                Some(Some(taken)) => return Ok(Some(taken)),
                // What was empty may have changed meanwhile.
                Some(None) => {}
            }
        }
    }
}

#[cfg(test)]
#[path = "requests_tests.rs"]
mod tests;
