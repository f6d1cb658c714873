//! What the toolstack asks of the whole domain: `control/shutdown` (`docs/misc/xenstore-paths.pandoc`).

use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::xen::Shutdown;

/// The node that a request is written to, relative to our directory.
pub const SHUTDOWN: &str = "control/shutdown";

/// Says which requests are obeyed. Some toolstacks refuse to ask otherwise.
pub fn announce<R: StoreRing>(store: &mut Store<R>) -> Result<(), StoreError> {
    store.write("control/feature-poweroff", 1)?;
    store.write("control/feature-reboot", 1)
}

/// The request that waits, if any. It is acknowledged, as the protocol wants, by emptying the node.
pub fn take_request<R: StoreRing>(store: &mut Store<R>) -> Result<Option<Shutdown>, StoreError> {
    let Some(request) = store.read_peer(SHUTDOWN)? else { return Ok(None) };
    let reason = match request.as_str() {
        "" => return Ok(None),
        "poweroff" | "halt" => Some(Shutdown::PowerOff),
        "reboot" => Some(Shutdown::Reboot),
        other => {
            log::warn!("{SHUTDOWN}: request \"{}\" is not supported", other.escape_debug());
            None
        }
    };
    store.write(SHUTDOWN, "")?;
    Ok(reason)
}
