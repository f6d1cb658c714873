//! The addresses at which pages of peers are mapped.

use super::pvh::PageTables;
use crate::xen::XenError;
use alloc::vec::Vec;

/// Who enters a peer's page in our page tables.
pub enum Tables {
    /// Xen does: ours are those of a PV guest.
    Xens,
    /// We do: Xen puts the page at a physical address that had nothing, which is our virtual address too.
    Ours(PageTables),
}

/// Addresses with page tables and nothing mapped, one page each.
pub struct PeerWindow {
    free: Vec<usize>,
    tables: Tables,
}

impl PeerWindow {
    /// A window of these addresses.
    pub fn new(free: Vec<usize>, tables: Tables) -> Self {
        Self { free, tables }
    }

    /// An address that is not in use.
    pub fn take(&mut self) -> Result<usize, XenError> {
        self.free.pop().ok_or(XenError(-12))
    }

    /// Gives an address back, with nothing mapped there.
    pub fn give(&mut self, address: usize) {
        self.free.push(address);
    }

    /// Makes the page reachable that Xen put there.
    ///
    /// # Safety
    /// Xen mapped a peer's page at `address`, which was taken.
    pub unsafe fn show(&self, address: usize) {
        if let Tables::Ours(tables) = &self.tables {
            // SAFETY: the caller's contract: an address of the window, and there is something behind it.
            unsafe { tables.show(address) };
        }
    }

    /// Makes the page unreachable, before Xen takes it away.
    pub fn hide(&self, address: usize) {
        if let Tables::Ours(tables) = &self.tables {
            tables.hide(address);
        }
    }
}
