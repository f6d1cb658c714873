//! Pages of memory: private ones, and ones that a peer reads and writes at any time.
//!
//! The type says who may touch the bytes. A [`Page`] is ours alone and lends out slices. A [`SharedPage`]
//! is reachable by a peer: only atomic loads and stores, so a race gives wrong values but is never undefined
//! behaviour. A page moves from one to the other only by granting it and ending the grant
//! ([`crate::xen::grant`]), or by lending it to a copy batch ([`crate::xen::copy`]).

use super::DomainId;
use super::charge::{Accounts, Booking, Charge, ClientCharges};
use super::grant::GrantedPage;
use alloc::boxed::Box;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Bytes in a page.
pub const PAGE_BYTES: usize = 4096;

const WORDS: usize = PAGE_BYTES / 4;

/// A page of the domain's own memory that nobody else can reach.
///
/// It knows which of its bytes the domain that it was granted to last has not seen, so that granting it again
/// wipes those and no more. Not tied to a pool: dropping one loses it, so give it back ([`PagePool::give`]).
#[derive(Debug)]
#[must_use = "a page that is dropped is lost: give it back to the pool"]
pub struct Page {
    start: NonNull<[u8; PAGE_BYTES]>,
    /// Who it was granted to last.
    reader: Option<DomainId>,
    /// Bytes from the start that may hold what `reader` has not seen.
    unseen: u16,
    /// On whose account it is.
    charge: Charge,
}

// SAFETY: a page is owned memory, reached through one value only, like a boxed array.
unsafe impl Send for Page {}

impl Page {
    /// Takes ownership of the page at `start`.
    ///
    /// # Safety
    /// `start` is page-aligned, mapped writable for the rest of the program, and no other [`Page`],
    /// reference or peer reaches it.
    pub unsafe fn from_raw(start: NonNull<[u8; PAGE_BYTES]>) -> Self {
        Self { start, reader: None, unseen: PAGE_BYTES as u16, charge: Charge::NOBODY }
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; PAGE_BYTES] {
        // SAFETY: from_raw's contract: mapped, and reached through this value only; &self forbids writes.
        unsafe { self.start.as_ref() }
    }

    /// Bytes, writable; none if `range` is not within the page.
    pub fn bytes_mut(&mut self, range: Range<usize>) -> &mut [u8] {
        self.written(range.end);
        self.whole_mut().get_mut(range).unwrap_or_default()
    }

    fn whole_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        // SAFETY: from_raw's contract: mapped writable, and reached through this value only.
        unsafe { self.start.as_mut() }
    }

    /// Notes that bytes before `end` were written.
    pub(in crate::xen) fn written(&mut self, end: usize) {
        self.unseen = self.unseen.max(end.min(PAGE_BYTES) as u16);
    }

    /// On whose account it is.
    pub fn charge(&self) -> Charge {
        self.charge
    }

    /// Virtual address of the first byte.
    pub fn address(&self) -> usize {
        self.start.as_ptr().addr()
    }

    /// Wipes whatever `reader` has not seen yet and is not to see now, which is all but `shown`.
    pub(in crate::xen) fn prepare_for(&mut self, reader: DomainId, shown: Range<usize>) {
        if self.reader != Some(reader) {
            self.reader = Some(reader);
            self.unseen = PAGE_BYTES as u16;
        }
        let unseen = usize::from(core::mem::take(&mut self.unseen));
        if shown.start == 0 && unseen <= shown.end {
            return;
        }
        // An empty slice would be a call of memset all the same.
        if shown.start > 0
            && let Some(before) = self.whole_mut().get_mut(..shown.start.min(unseen))
        {
            before.fill(0);
        }
        if let Some(after) = self.whole_mut().get_mut(shown.end..unseen) {
            after.fill(0);
        }
    }

    pub(in crate::xen) fn into_shared(self) -> SharedPage {
        SharedPage(self.start.cast())
    }
}

/// A page that a peer may read and write at any time.
///
/// Offsets are in bytes and wrap within the page, so no value of a peer can reach outside it.
#[derive(Debug)]
pub struct SharedPage(NonNull<[AtomicU32; WORDS]>);

// SAFETY: all access is by atomic operations, which any thread may do.
unsafe impl Send for SharedPage {}
// SAFETY: as above.
unsafe impl Sync for SharedPage {}

impl SharedPage {
    /// Names the shared page at `start`.
    ///
    /// # Safety
    /// `start` is page-aligned and stays mapped writable as long as the value lives, and this program
    /// reaches it through atomic operations only.
    pub unsafe fn from_raw(start: NonNull<[u8; PAGE_BYTES]>) -> Self {
        Self(start.cast())
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        #[cfg(feature = "sim")]
        super::touch::now(self.address() + offset % PAGE_BYTES);
        // SAFETY: from_raw's contract: mapped as long as self lives; atomics may race with a peer.
        let words = unsafe { self.0.as_ref() };
        &words[(offset / 4) % WORDS]
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        #[cfg(feature = "sim")]
        super::touch::now(self.address() + offset % PAGE_BYTES);
        // SAFETY: as in `word`; the same bytes viewed one by one. No caller views one offset both ways.
        let bytes = unsafe { self.0.cast::<[AtomicU8; PAGE_BYTES]>().as_ref() };
        &bytes[offset % PAGE_BYTES]
    }

    /// The 32-bit word at `offset`, in no particular order to other accesses.
    pub fn load(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Relaxed)
    }

    /// The word at `offset`; later reads see what its writer wrote before it (pairs with the peer's
    /// write barrier before it publishes an index).
    pub fn load_acquire(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes the word at `offset`, in no particular order to other accesses.
    pub fn store(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Relaxed);
    }

    /// Writes the word at `offset` after everything written before (pairs with the peer's read barrier
    /// after it reads an index).
    pub fn store_release(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    /// Replaces the word at `offset` if it still is `expected`; the present value otherwise.
    pub fn exchange(&self, offset: usize, expected: u32, new: u32) -> Result<u32, u32> {
        self.word(offset).compare_exchange(expected, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// Clears the bits of `mask` in the word at `offset`; the value before.
    pub fn clear_bits(&self, offset: usize, mask: u32) -> u32 {
        self.word(offset).fetch_and(!mask, Ordering::AcqRel)
    }

    /// The byte at `offset`.
    pub fn load_byte(&self, offset: usize) -> u8 {
        self.byte(offset).load(Ordering::Relaxed)
    }

    /// Writes the byte at `offset`.
    pub fn store_byte(&self, offset: usize, value: u8) {
        self.byte(offset).store(value, Ordering::Relaxed);
    }

    /// Virtual address of the first byte.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// Makes the page private again: `reader` has seen all of it. It is on `charge`.
    ///
    /// # Safety
    /// No peer can reach the page any more, and it is of the domain's own memory.
    pub(in crate::xen) unsafe fn into_private(self, reader: DomainId, charge: Charge) -> Page {
        Page { start: self.0.cast(), reader: Some(reader), unseen: 0, charge }
    }
}

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

/// Pages on the host's heap, for tests.
#[cfg(test)]
pub(crate) mod on_heap {
    use super::*;
    use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};

    /// A zeroed page that is never freed.
    pub(crate) fn page() -> Page {
        let layout = Layout::from_size_align(PAGE_BYTES, PAGE_BYTES).expect("a page is a valid layout");
        // SAFETY: the layout has a size.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        // SAFETY: freshly allocated, aligned, never freed, known to nobody else.
        unsafe { Page::from_raw(start.cast()) }
    }

    /// A zeroed page shared with nobody yet.
    pub(crate) fn shared_page() -> SharedPage {
        page().into_shared()
    }

    /// A second name for a shared page: the peer's.
    pub(crate) fn alias(page: &SharedPage) -> SharedPage {
        SharedPage(page.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_wrap_within_the_page() {
        let page = on_heap::shared_page();
        page.store(PAGE_BYTES + 8, 7);
        assert_eq!(page.load(8), 7);
    }

    #[test]
    fn granting_wipes_what_the_reader_has_not_seen_and_is_not_shown() {
        let (reader, other) = (DomainId(1), DomainId(2));
        let mut page = on_heap::page();
        page.bytes_mut(0..PAGE_BYTES).fill(7);
        page.prepare_for(reader, 10..20);
        assert!(
            page.bytes().iter().enumerate().all(|(at, &byte)| byte == 7 * u8::from((10..20).contains(&at)))
        );
        // It has seen these now; what is written later it has not.
        page.bytes_mut(4..8).fill(9);
        page.bytes_mut(100..104).fill(9);
        page.prepare_for(reader, 6..8);
        let mut expected = [0; PAGE_BYTES];
        expected[6..8].fill(9);
        assert_eq!(page.bytes(), &expected);
        // Wiped as far as was written, and not beyond.
        page.whole_mut()[200] = 5;
        page.bytes_mut(0..100).fill(9);
        page.prepare_for(reader, 0..50);
        assert_eq!((page.bytes()[49], page.bytes()[50], page.bytes()[99], page.bytes()[200]), (9, 0, 0, 5));
        page.prepare_for(other, 0..0);
        assert!(page.bytes().iter().all(|&byte| byte == 0));
    }

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
