//! An oracle: what the kernel's tables hold is on somebody's account, and nobody's is more than it may be.
//!
//! That a client which has less than its part is never refused for want of somebody who gives is asserted in the engine
//! itself (`engine/room.rs`), where a refusal happens.

use crate::kernel::Firewall;
use crate::store::StoreRing;
use crate::xen::Xen;
use alloc::format;
use alloc::string::String;

/// Turns of the loop between two looks at the mappings, which are walked for it. Flows are looked at in every turn.
const TURNS: u64 = 256;

/// Watches the accounts.
#[derive(Debug, Default)]
pub struct ShareOracle {
    turns: u64,
}

impl ShareOracle {
    /// Objects when the accounts are wrong.
    pub fn check(&mut self, firewall: &Firewall<impl Xen, impl StoreRing + 'static>) -> Result<(), String> {
        let engine = firewall.engine().engine();
        let flows = engine.places().fault(engine.flows().len()).map(|fault| ("flows", fault));
        let at_mappings = self.turns.is_multiple_of(TURNS);
        self.turns += 1;
        let mappings = || if at_mappings { engine.mappings().fault() } else { None };
        match flows.or_else(|| mappings().map(|fault| ("mappings", fault))) {
            Some((what, fault)) => Err(format!("{what}: {fault:?}")),
            None => Ok(()),
        }
    }
}

/// Whether the kernel had to give up ports before their quarantine was over.
pub fn ports_are_short(firewall: &Firewall<impl Xen, impl StoreRing + 'static>) -> bool {
    firewall.engine().engine().mappings().reused_early() > 0
}
