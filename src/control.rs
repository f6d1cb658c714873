//! What the toolstack asks of the whole domain: `control/shutdown` and `control/sysrq`
//! (`docs/misc/xenstore-paths.pandoc`).

use crate::store::{Nodes, Store, StoreError, StoreRing};
use crate::xen::Shutdown;

/// The node that a request is written to, relative to our directory.
pub const SHUTDOWN: &str = "control/shutdown";

/// The node that `xl sysrq DOMAIN LETTER` writes its letter to, relative to our directory.
pub const SYSRQ: &str = "control/sysrq";

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

/// What `xl sysrq` can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `s`: say on the console what passed and what did not.
    Report,
}

/// The letter that waits, if any. It is acknowledged by emptying the node, as Linux does.
pub fn take_letter<R: StoreRing>(store: &mut Store<R>) -> Result<Option<Letter>, StoreError> {
    let Some(letter) = store.read_peer(SYSRQ)? else { return Ok(None) };
    let asked = match letter.as_str() {
        // Linux' driver empties the node with a zero byte.
        "" | "\0" => return Ok(None),
        "s" => Some(Letter::Report),
        other => {
            log::warn!("{SYSRQ}: \"{}\" is not supported", other.escape_debug());
            None
        }
    };
    store.write(SYSRQ, "")?;
    Ok(asked)
}
