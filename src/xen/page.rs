//! Pages of memory: private ones, and ones that a peer reads and writes at any time.
//!
//! The type says who may touch the bytes. A [`Page`] is ours alone and lends out slices. A [`SharedPage`]
//! is reachable by a peer: only atomic loads and stores, so a race gives wrong values but is never undefined
//! behaviour. A page moves from one to the other only by granting it and ending the grant
//! ([`crate::xen::grant`]), or by lending it to a copy batch ([`crate::xen::copy`]).

use super::DomainId;
use super::charge::Charge;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// Bytes in a page.
pub const PAGE_BYTES: usize = 4096;

const WORDS: usize = PAGE_BYTES / 4;

/// A page of the domain's own memory that nobody else can reach.
///
/// It knows which of its bytes the domain that it was granted to last has not seen, so that granting it again
/// wipes those and no more. Not tied to a pool: dropping one loses it, so give it back
/// ([`PagePool::give`](super::page_pool::PagePool::give)).
#[derive(Debug)]
#[must_use = "a page that is dropped is lost: give it back to the pool"]
pub struct Page {
    start: NonNull<[u8; PAGE_BYTES]>,
    /// Who it was granted to last.
    reader: Option<DomainId>,
    /// Bytes from the start that may hold what `reader` has not seen.
    unseen: u16,
    /// On whose account it is.
    pub(super) charge: Charge,
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

    /// So many bytes from `start` on, writable; `None` if they are not all within the page.
    #[inline(always)]
    pub fn head_mut<const BYTES: usize>(&mut self, start: usize) -> Option<&mut [u8; BYTES]> {
        self.written(start.saturating_add(BYTES));
        self.whole_mut().get_mut(start..)?.first_chunk_mut()
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

    /// Wipes whatever `reader` has not seen yet and is not to see now, which is all but `exposed`.
    pub(in crate::xen) fn prepare_for(&mut self, reader: DomainId, exposed: Range<usize>) {
        if self.reader != Some(reader) {
            self.reader = Some(reader);
            self.unseen = PAGE_BYTES as u16;
        }
        let unseen = usize::from(core::mem::take(&mut self.unseen));
        if exposed.start == 0 && unseen <= exposed.end {
            return;
        }
        // An empty slice would be a call of memset all the same.
        if exposed.start > 0
            && let Some(before) = self.whole_mut().get_mut(..exposed.start.min(unseen))
        {
            before.fill(0);
        }
        if let Some(after) = self.whole_mut().get_mut(exposed.end..unseen) {
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

    fn long(&self, offset: usize) -> &AtomicU64 {
        #[cfg(feature = "sim")]
        super::touch::now(self.address() + offset % PAGE_BYTES);
        // SAFETY: as in `word`; the same bytes viewed by eights. No caller views one offset both ways.
        let longs = unsafe { self.0.cast::<[AtomicU64; PAGE_BYTES / 8]>().as_ref() };
        &longs[(offset / 8) % (PAGE_BYTES / 8)]
    }

    /// Eight bytes from `offset` on, a multiple of eight, in no particular order to other accesses.
    pub fn load_long(&self, offset: usize) -> [u8; 8] {
        self.long(offset).load(Ordering::Relaxed).to_le_bytes()
    }

    /// Writes eight bytes from `offset` on, a multiple of eight, in no particular order to other accesses.
    pub fn store_long(&self, offset: usize, bytes: [u8; 8]) {
        self.long(offset).store(u64::from_le_bytes(bytes), Ordering::Relaxed);
    }

    /// The byte at `offset`.
    pub fn load_byte(&self, offset: usize) -> u8 {
        self.byte(offset).load(Ordering::Relaxed)
    }

    /// Writes the byte at `offset`.
    pub fn store_byte(&self, offset: usize, value: u8) {
        self.byte(offset).store(value, Ordering::Relaxed);
    }

    /// Sets the bits of `mask` in the byte at `offset`.
    pub fn set_byte_bits(&self, offset: usize, mask: u8) {
        self.byte(offset).fetch_or(mask, Ordering::AcqRel);
    }

    /// Clears the bits of `mask` in the byte at `offset`; the value before.
    pub fn clear_byte_bits(&self, offset: usize, mask: u8) -> u8 {
        self.byte(offset).fetch_and(!mask, Ordering::AcqRel)
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
    fn granting_wipes_what_the_reader_has_not_seen_and_is_not_exposed() {
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
}
