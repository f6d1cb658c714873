//! An oracle: every page is where it is charged, and what is guaranteed is there.

use crate::kernel::Firewall;
use crate::store::StoreRing;
use crate::xen::Xen;
use crate::xen::charge::{Charge, ClientCharges};
use alloc::format;
use alloc::string::String;
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
    /// Objects when a page is lost, on the wrong account, or taken from somebody's part.
    pub fn check(
        &mut self,
        firewall: &mut Firewall<impl Xen, impl StoreRing + 'static>,
    ) -> Result<(), String> {
        let holders = firewall.holders();
        let clients = firewall.charges();
        let pages = firewall.hypervisor().pages();
        let (free, total) = (pages.free(), pages.total());
        if holders.total() + free != total {
            return Err(format!("{free} of {total} pages are free, and these are known: {holders}"));
        }
        let charged = pages.accounts().audit()?;
        if charged as usize + free != total {
            return Err(format!("{charged} pages are charged and {free} of {total} are free"));
        }
        let (kept, may_keep) = (pages.charged(Charge::KEPT), pages.guaranteed(Charge::KEPT));
        if holders.kept != kept {
            return Err(format!("{kept} pages are charged to the backend, which uses {}", holders.kept));
        }
        // Parts become smaller when a client connects, and others may hold more than theirs for a while.
        let missing = pages.accounts().missing(free).saturating_sub(kept.saturating_sub(may_keep));
        if missing > self.missing && clients == self.clients {
            return Err(format!("{missing} pages that are guaranteed are somebody else's; {holders}"));
        }
        (self.missing, self.clients) = (missing, clients);
        Ok(())
    }
}
