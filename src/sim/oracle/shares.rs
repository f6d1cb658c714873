//! An oracle: what the kernel's tables hold is on somebody's account, and nobody's is more than it may be.
//!
//! That a client which has less than its part is never refused for want of somebody who gives is asserted in the engine
//! itself (`engine/room.rs`), where a refusal happens.

use crate::kernel::Firewall;
use crate::sim::machine::kernel_domain::{SimRing, SimXen};
use crate::sim::machine::world::SharedWorld;
use crate::xen::meter::{self, Payer};
use alloc::format;

/// Turns of the loop between two looks at the mappings, which are walked for it. Flows are looked at in every turn.
const TURNS: u64 = 256;

/// Watches the accounts.
#[derive(Debug, Default)]
pub struct ShareOracle {
    turns: u64,
}

impl ShareOracle {
    /// Complains when the accounts are wrong; tells the model when ports had to be given up early.
    pub(in crate::sim) fn check(&mut self, firewall: &Firewall<SimXen, SimRing>, world: &SharedWorld) {
        let engine = firewall.engine().engine();
        if engine.mappings().reused_early() > 0 {
            world.borrow_mut().machine.model.ports_are_short = true;
        }
        let flows = engine.flows().fault().map(|fault| ("flows", fault));
        let at_mappings = self.turns.is_multiple_of(TURNS);
        self.turns += 1;
        let mappings = || if at_mappings { engine.mappings().fault() } else { None };
        if let Some((what, fault)) = flows.or_else(|| mappings().map(|fault| ("mappings", fault))) {
            let _world = meter::charge(Payer::World);
            world.borrow_mut().machine.violate("shares", format!("{what}: {fault:?}"));
        }
    }
}
