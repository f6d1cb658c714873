//! The grant table, version 1: lending pages to other domains and taking them back.
//!
//! Layout of an entry (`grant_entry_v1`, 8 bytes): flags u16, domain u16, frame u32. Entries 0–7 are
//! reserved (0 console, 1 XenStore); ours start at 8. Version 2 is not used: Qubes disables it.

use super::charge::Charge;
use super::page::{Page, SharedPage};
use super::{DomainId, FrameNumber};
use alloc::vec::Vec;
use core::ops::Range;

/// References below this one belong to the toolstack.
const FIRST_FREE: u32 = 8;
const ENTRIES_PER_PAGE: u32 = 512;

const GTF_PERMIT_ACCESS: u32 = 1;
const GTF_READONLY: u32 = 4;
/// `GTF_reading | GTF_writing`: the peer has the page mapped or a copy in progress.
const GTF_IN_USE: u32 = 0x18;

/// A grant reference: the index of an entry in the granting domain's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gref(pub u32);

/// What the other domain may do with a granted page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Only read it.
    ReadOnly,
    /// Read and write it.
    ReadWrite,
}

/// A page that another domain may reach until the grant is ended.
#[derive(Debug)]
#[must_use = "a grant that is dropped stays in force: end it"]
pub struct GrantedPage {
    reference: Gref,
    reader: DomainId,
    /// On whose account the page is.
    pub(in crate::xen) charge: Charge,
    page: SharedPage,
}

impl GrantedPage {
    /// The reference to tell the peer.
    pub fn reference(&self) -> Gref {
        self.reference
    }

    /// On whose account the page is.
    pub fn charge(&self) -> Charge {
        self.charge
    }

    /// The bytes, which the peer may be reading or writing.
    pub fn shared(&self) -> &SharedPage {
        &self.page
    }
}

/// The domain's own grant table.
#[derive(Debug)]
pub struct GrantTable {
    frames: Vec<SharedPage>,
    free: Vec<Gref>,
}

impl GrantTable {
    /// Takes over the table that Xen keeps in `frames`, in order.
    pub fn new(frames: Vec<SharedPage>) -> Self {
        let entries = u32::try_from(frames.len()).unwrap_or(u32::MAX).saturating_mul(ENTRIES_PER_PAGE);
        // Low references first: fewer cache lines of the table are in use.
        let free = (FIRST_FREE..entries).rev().map(Gref).collect();
        Self { frames, free }
    }

    fn entry(&self, reference: Gref) -> Option<(&SharedPage, usize)> {
        let page = self.frames.get((reference.0 / ENTRIES_PER_PAGE) as usize)?;
        Some((page, (reference.0 % ENTRIES_PER_PAGE) as usize * 8))
    }

    /// Lends `page`, which is at machine frame `frame`, to `domain`, with nothing in it that `domain` has not
    /// seen but the bytes `shown`. Gives the page back when no reference is free.
    pub fn grant(
        &mut self,
        domain: DomainId,
        mut page: Page,
        frame: FrameNumber,
        access: Access,
        shown: Range<usize>,
    ) -> Result<GrantedPage, Page> {
        let Some(reference) = self.free.pop() else { return Err(page) };
        let Some((table, offset)) = self.entry(reference) else { return Err(page) };
        let Ok(frame) = u32::try_from(frame.0) else {
            // A version 1 entry names frames below 16 TiB only.
            self.free.push(reference);
            return Err(page);
        };
        page.prepare_for(domain, shown);
        let flags = match access {
            Access::ReadOnly => GTF_PERMIT_ACCESS | GTF_READONLY,
            Access::ReadWrite => GTF_PERMIT_ACCESS,
        };
        table.store(offset + 4, frame);
        // The flags make the entry valid: frame and contents must be visible before them.
        table.store_release(offset, flags | u32::from(domain.0) << 16);
        Ok(GrantedPage { reference, reader: domain, charge: page.charge(), page: page.into_shared() })
    }

    /// Ends a grant. Gives it back when the peer still maps the page or is copying: it must then stay
    /// granted (XSA-396), because the peer could go on writing to it.
    pub fn end(&mut self, granted: GrantedPage) -> Result<Page, GrantedPage> {
        let Some((table, offset)) = self.entry(granted.reference) else { return Err(granted) };
        let mut entry = table.load_acquire(offset);
        while entry & GTF_IN_USE == 0 {
            match table.exchange(offset, entry, 0) {
                Ok(_) => {
                    self.free.push(granted.reference);
                    // SAFETY: the entry was not in use at the instant it became zero, so no peer reaches the
                    // page any more; it was a Page when it was granted.
                    return Ok(unsafe { granted.page.into_private(granted.reader, granted.charge) });
                }
                Err(now) => entry = now,
            }
        }
        Err(granted)
    }

    /// Grants in force.
    pub fn in_force(&self) -> usize {
        let entries = self.frames.len() * ENTRIES_PER_PAGE as usize;
        entries.saturating_sub(FIRST_FREE as usize + self.free.len())
    }

    /// References not in use.
    pub fn free(&self) -> usize {
        self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;
    use alloc::vec;

    const PEER: DomainId = DomainId(3);

    fn table() -> (GrantTable, SharedPage) {
        let frame = on_heap::shared_page();
        let xens = on_heap::alias(&frame);
        (GrantTable::new(vec![frame]), xens)
    }

    fn lend(table: &mut GrantTable, access: Access) -> GrantedPage {
        table.grant(PEER, on_heap::page(), FrameNumber(0x1234), access, 0..0).unwrap()
    }

    #[test]
    fn entry_is_written_as_xen_reads_it() {
        let (mut table, xens) = table();
        let granted = lend(&mut table, Access::ReadOnly);
        assert_eq!(granted.reference(), Gref(8));
        assert_eq!(xens.load(64), 5 | 3 << 16);
        assert_eq!(xens.load(68), 0x1234);
        let writable = lend(&mut table, Access::ReadWrite);
        assert_eq!(xens.load(72) & 0xffff, 1);
        assert!(table.end(granted).is_ok() && table.end(writable).is_ok());
        assert_eq!(xens.load(64), 0);
    }

    #[test]
    fn page_in_use_by_the_peer_is_not_given_back() {
        let (mut table, xens) = table();
        let granted = lend(&mut table, Access::ReadWrite);
        let entry = xens.load(64);
        xens.store(64, entry | 0x10);
        let granted = table.end(granted).unwrap_err();
        assert_eq!(xens.load(64), entry | 0x10);
        xens.store(64, entry);
        assert!(table.end(granted).is_ok());
    }

    #[test]
    fn running_out_gives_the_page_back_and_ended_references_serve_again() {
        let (mut table, _) = table();
        let all: Vec<_> = (8..512).map(|_| lend(&mut table, Access::ReadOnly)).collect();
        assert_eq!(table.free(), 0);
        assert!(table.grant(PEER, on_heap::page(), FrameNumber(1), Access::ReadOnly, 0..0).is_err());
        for granted in all {
            assert!(table.end(granted).is_ok());
        }
        assert_eq!(table.free(), 504);
    }
}
