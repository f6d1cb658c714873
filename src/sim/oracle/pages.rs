//! An oracle: every page is where it is charged, and what is guaranteed is there.

use crate::kernel::Firewall;
use crate::sim::machine::kernel_domain::{SimRing, SimXen};
use crate::sim::machine::world::SharedWorld;
use crate::xen::Xen;
use crate::xen::charge::{Charge, ClientCharges};
use crate::xen::meter::{self, Payer};
use alloc::format;
use alloc::vec::Vec;

/// Watches the kernel's pages, turn by turn.
#[derive(Debug, Default)]
pub struct PageOracle {
    /// Pages that were guaranteed and not there after the last turn.
    missing: usize,
    /// Clients that were connected then.
    clients: Vec<ClientCharges>,
}

impl PageOracle {
    /// Complains when a page is lost, on the wrong account, or taken from somebody's part.
    pub fn check(&mut self, world: &SharedWorld, firewall: &mut Firewall<SimXen, SimRing>) {
        let _world = meter::charge(Payer::World);
        let holders = firewall.holders();
        let clients = firewall.charges();
        let pages = firewall.hypervisor().pages();
        let (free, total) = (pages.free(), pages.total());
        let violate = |what| world.borrow_mut().machine.violate("accounts", what);
        if holders.total() + free != total {
            violate(format!("{free} of {total} pages are free, and these are known: {holders}"));
        }
        match pages.accounts().audit() {
            Ok(charged) if charged as usize + free == total => {}
            Ok(charged) => violate(format!("{charged} pages are charged and {free} of {total} are free")),
            Err(why) => violate(why.into()),
        }
        let (kept, may_keep) = (pages.charged(Charge::KEPT), pages.guaranteed(Charge::KEPT));
        if holders.kept != kept {
            violate(format!("{kept} pages are charged to the backend, which uses {}", holders.kept));
        }
        // Parts become smaller when a client connects, and others may hold more than theirs for a while.
        let missing = pages.accounts().missing(free).saturating_sub(kept.saturating_sub(may_keep));
        if missing > self.missing && clients == self.clients {
            violate(format!("{missing} pages that are guaranteed are somebody else's; {holders}"));
        }
        (self.missing, self.clients) = (missing, clients);
    }
}
