//! The domain's free pages, and on whose account the others are.

use super::DomainId;
use super::charge::{Accounts, Booking, Charge, ClientCharges};
use super::grant::GrantedPage;
use super::page::Page;
use alloc::boxed::Box;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::ops::Range;

/// Some bytes of a page.
#[derive(Debug)]
pub struct Chunk {
    /// The page.
    pub page: Page,
    /// First byte.
    pub offset: u16,
    /// Bytes; `offset + bytes` is within the page.
    pub bytes: u16,
}

impl Chunk {
    /// Where in the page the bytes are.
    pub fn range(&self) -> Range<usize> {
        let start = usize::from(self.offset);
        start..start + usize::from(self.bytes)
    }

    /// The bytes.
    pub fn data(&self) -> &[u8] {
        self.page.bytes().get(self.range()).unwrap_or_default()
    }

    /// The first bytes, as many as there are up to `most`, writable.
    pub fn head_mut(&mut self, most: usize) -> &mut [u8] {
        let start = usize::from(self.offset);
        self.page.bytes_mut(start..start + usize::from(self.bytes).min(most))
    }
}

/// Most segments behind a packet's first.
pub const CHAIN: usize = 18;

/// The segments behind a packet's first, in order.
pub type Chain = ArrayVec<Chunk, CHAIN>;

/// One chain for so many pages. Whoever has a chain has two pages or more, so chains never run out before pages do.
const PAGES_PER_CHAIN: usize = 2;

/// The domain's free pages, for packets and rings, and on whose account the others are; and chains, which hold packets
/// of several pages together.
#[derive(Debug)]
pub struct PagePool {
    free: Vec<Page>,
    total: usize,
    accounts: Accounts,
    #[expect(clippy::vec_box, reason = "a chain changes hands as a pointer, not as 400 bytes")]
    chains: Vec<Box<Chain>>,
}

impl PagePool {
    /// An empty pool with room for `capacity` pages, so that giving back never allocates.
    pub fn with_capacity(capacity: usize) -> Self {
        let chains = capacity.div_ceil(PAGES_PER_CHAIN);
        Self {
            free: Vec::with_capacity(capacity),
            total: 0,
            accounts: Accounts::new(capacity),
            chains: (0..chains).map(|_| Box::default()).collect(),
        }
    }

    /// Takes an empty chain; `None` when all are in use.
    pub fn take_chain(&mut self) -> Option<Box<Chain>> {
        self.chains.pop()
    }

    /// Gives a chain back, with the pages that it still holds.
    pub fn give_chain(&mut self, mut chain: Box<Chain>) {
        for segment in chain.drain(..) {
            self.give(segment.page);
        }
        self.chains.push(chain);
    }

    /// Chains free now.
    pub fn free_chains(&self) -> usize {
        self.chains.len()
    }

    /// Adds a page that was never in the pool.
    pub fn add(&mut self, page: Page) {
        self.free.push(page);
        self.total += 1;
    }

    /// Takes a page with old contents of this domain on an account; `None` when the account may take no more, or all
    /// are in use.
    #[inline]
    pub fn take(&mut self, charge: Charge) -> Option<Page> {
        // Asked before the account is, which then has nothing to undo.
        let free = self.free.len();
        if free == 0 || self.accounts.take(charge, free) == Booking::Refused {
            return None;
        }
        let mut page = self.free.pop()?;
        page.charge = charge;
        Some(page)
    }

    /// Gives a page back.
    #[inline]
    pub fn give(&mut self, page: Page) {
        self.accounts.give(page.charge);
        self.free.push(page);
    }

    /// Pages that [`Self::take`] would give on this account now.
    #[inline]
    pub fn room(&self, charge: Charge) -> usize {
        self.accounts.room(charge, self.free.len())
    }

    /// Whether [`Self::take`] would give so many pages on this account now.
    #[inline]
    pub fn has_room(&self, charge: Charge, pages: usize) -> bool {
        self.accounts.has_room(charge, pages, self.free.len())
    }

    /// Moves a packet's pages to another account, which must have room.
    #[inline]
    pub fn recharge(&mut self, (first, rest): (&mut Chunk, &mut [Chunk]), to: Charge) {
        let count = 1 + rest.len() as u32;
        let from = core::mem::replace(&mut first.page.charge, to);
        for Chunk { page, .. } in rest {
            page.charge = to;
        }
        self.accounts.transfer(from, to, count);
    }

    /// Notes that the uplink's backend has answered a page and still uses it.
    pub fn keep(&mut self, granted: &mut GrantedPage) {
        self.accounts.transfer(granted.charge, Charge::KEPT, 1);
        granted.charge = Charge::KEPT;
    }

    /// Whether more is on an account than is guaranteed to it.
    pub fn is_beyond(&self, charge: Charge) -> bool {
        self.accounts.held(charge) > self.accounts.guaranteed(charge)
    }

    /// Pages on an account.
    pub fn charged(&self, charge: Charge) -> usize {
        self.accounts.held(charge) as usize
    }

    /// Pages that an account may always take, those that it has taken included.
    pub fn guaranteed(&self, charge: Charge) -> usize {
        self.accounts.guaranteed(charge) as usize
    }

    /// Gives a client that connects its accounts; `None` when there are none left.
    pub fn open(&mut self, client: DomainId) -> Option<ClientCharges> {
        self.accounts.open(client)
    }

    /// Takes the guaranteed part of a client that disconnects. What it still holds stays on its accounts, also when it
    /// comes back.
    pub fn close(&mut self, client: ClientCharges) {
        self.accounts.close(client);
    }

    /// Pages free now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pages that were added.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The accounts, to look at.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::page::on_heap;

    #[test]
    fn pool_counts_what_is_free() {
        let mut pool = PagePool::with_capacity(2);
        pool.add(on_heap::page());
        pool.add(on_heap::page());
        let page = pool.take(Charge::NOBODY).unwrap();
        assert_eq!((pool.free(), pool.total()), (1, 2));
        pool.give(page);
        assert_eq!(pool.free(), 2);
    }
}
