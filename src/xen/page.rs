//! Pages of memory: private ones, and ones that a peer reads and writes at any time.
//!
//! The type says who may touch the bytes. A [`Page`] is ours alone and lends out slices. A [`SharedPage`]
//! is reachable by a peer: only atomic loads and stores, so a race gives wrong values but is never undefined
//! behaviour. A page moves from one to the other only by granting it and ending the grant
//! ([`crate::xen::grant`]), or by lending it to a copy batch ([`crate::xen::copy`]).

use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Bytes in a page.
pub const PAGE_BYTES: usize = 4096;

const WORDS: usize = PAGE_BYTES / 4;

/// A page of the domain's own memory that nobody else can reach.
///
/// Not tied to a pool: dropping one loses it, so give it back ([`PagePool::give`]).
#[derive(Debug)]
#[must_use = "a page that is dropped is lost: give it back to the pool"]
pub struct Page(NonNull<[u8; PAGE_BYTES]>);

// SAFETY: a page is owned memory, reached through one value only, like a boxed array.
unsafe impl Send for Page {}

impl Page {
    /// Takes ownership of the page at `start`.
    ///
    /// # Safety
    /// `start` is page-aligned, mapped writable for the rest of the program, and no other [`Page`],
    /// reference or peer reaches it.
    pub unsafe fn from_raw(start: NonNull<[u8; PAGE_BYTES]>) -> Self {
        Self(start)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; PAGE_BYTES] {
        // SAFETY: from_raw's contract: mapped, and reached through this value only; &self forbids writes.
        unsafe { self.0.as_ref() }
    }

    /// The bytes, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8; PAGE_BYTES] {
        // SAFETY: from_raw's contract: mapped writable, and reached through this value only.
        unsafe { self.0.as_mut() }
    }

    /// Virtual address of the first byte.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    pub(in crate::xen) fn into_shared(self) -> SharedPage {
        SharedPage(self.0.cast())
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
        super::touch::now();
        // SAFETY: from_raw's contract: mapped as long as self lives; atomics may race with a peer.
        let words = unsafe { self.0.as_ref() };
        &words[(offset / 4) % WORDS]
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        #[cfg(feature = "sim")]
        super::touch::now();
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

    /// Makes the page private again.
    ///
    /// # Safety
    /// No peer can reach the page any more, and it is of the domain's own memory.
    pub(in crate::xen) unsafe fn into_private(self) -> Page {
        Page(self.0.cast())
    }
}

/// The domain's free pages, for packets and rings.
#[derive(Debug, Default)]
pub struct PagePool {
    free: alloc::vec::Vec<Page>,
    total: usize,
}

impl PagePool {
    /// An empty pool with room for `capacity` pages, so that giving back never allocates.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { free: alloc::vec::Vec::with_capacity(capacity), total: 0 }
    }

    /// Adds a page that was never in the pool.
    pub fn add(&mut self, page: Page) {
        self.free.push(page);
        self.total += 1;
    }

    /// Takes a page with old contents of this domain; `None` when all are in use.
    pub fn take(&mut self) -> Option<Page> {
        self.free.pop()
    }

    /// Gives a page back.
    pub fn give(&mut self, page: Page) {
        self.free.push(page);
    }

    /// Pages free now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Pages that were added.
    pub fn total(&self) -> usize {
        self.total
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
    fn pool_counts_what_is_free() {
        let mut pool = PagePool::with_capacity(2);
        pool.add(on_heap::page());
        pool.add(on_heap::page());
        let page = pool.take().unwrap();
        assert_eq!((pool.free(), pool.total()), (1, 2));
        pool.give(page);
        assert_eq!(pool.free(), 2);
    }
}
