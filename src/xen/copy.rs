//! Grant copies, gathered into one hypercall.
//!
//! Pages are lent to the batch while copies wait: what is [`Lent`] has no bytes to look at and comes back only
//! after the batch ran, so nobody sees or reuses memory that Xen is about to read or write.

use super::DomainId;
use super::abi::{DOMID_SELF, GNTCOPY_DEST_GREF, GNTCOPY_SOURCE_GREF, GrantCopy, GrantCopySide};
use super::bounce::{BOUNCE_BYTES, Bounce, BounceBuffers};
use super::grant::Gref;
use super::page::{PAGE_BYTES, Page};
use super::page_pool::Chunk;
use alloc::vec::Vec;
use core::ops::Range;

/// A page, or several, that a copy batch may read and write.
#[derive(Debug)]
pub struct Lent<T> {
    pages: T,
    /// The batch's run that it waits for.
    run: u32,
}

impl<'a, T> Lent<T>
where
    T: 'a,
    &'a T: IntoIterator<Item = &'a Chunk>,
{
    /// Every segment, lent like the whole.
    pub fn segments(&'a self) -> impl Iterator<Item = Lent<&'a Chunk>> {
        let run = self.run;
        self.pages.into_iter().map(move |pages| Lent { pages, run })
    }
}

impl<T> Lent<T> {
    /// The same, to be looked at by the batch.
    pub fn as_ref(&self) -> Lent<&T> {
        Lent { pages: &self.pages, run: self.run }
    }
}

impl Lent<&Chunk> {
    /// Its length in bytes.
    pub fn bytes(&self) -> u16 {
        self.pages.bytes
    }
}

/// A place in another domain's granted page.
#[derive(Clone, Copy, Debug)]
pub struct Remote {
    /// The granting domain.
    pub domain: DomainId,
    /// Its reference.
    pub reference: Gref,
    /// First byte within the page.
    pub offset: u16,
}

/// Copies that wait for the next hypercall, and the results of the last one.
#[derive(Debug)]
pub struct CopyBatch {
    waiting: Vec<GrantCopy>,
    finished: Vec<GrantCopy>,
    /// Whether one of the last run failed.
    failed: bool,
    /// For small frames.
    pub bounces: BounceBuffers,
    /// Runs completed; the count wraps.
    run: u32,
}

impl CopyBatch {
    /// A batch with room for `capacity` copies; more are refused until it ran.
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            waiting: Vec::with_capacity(capacity),
            finished: Vec::with_capacity(capacity),
            failed: false,
            bounces: BounceBuffers::default(),
            run: 0,
        }
    }

    /// Copies that can still be added.
    pub fn room(&self) -> usize {
        self.waiting.capacity() - self.waiting.len()
    }

    /// Copies waiting, which is also the index of the next one: remember it before and after adding a
    /// packet's copies, and ask for that range's result when the batch ran.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Lends pages until the batch has run.
    pub fn lend<T>(&self, pages: T) -> Lent<T> {
        Lent { pages, run: self.run }
    }

    /// The pages back, or the loan again when the batch has not run since.
    pub fn reclaim<T>(&self, lent: Lent<T>) -> Result<T, Lent<T>> {
        if lent.run != self.run { Ok(lent.pages) } else { Err(lent) }
    }

    /// Queues a copy of `len` bytes from a peer's page into `page` at `offset`.
    pub fn copy_in(
        &mut self,
        from: Remote,
        page: &mut Lent<Page>,
        offset: u16,
        len: u16,
    ) -> Result<(), CopyRefused> {
        let end = usize::from(offset) + usize::from(len);
        if page.run != self.run || end > PAGE_BYTES {
            return Err(CopyRefused);
        }
        self.push(from.side(), local(&page.pages, offset), len, GNTCOPY_SOURCE_GREF)?;
        page.pages.written(end);
        Ok(())
    }

    /// Queues a copy of `len` bytes of `segment`, those behind its first `skip`, into a peer's page.
    pub fn copy_out(
        &mut self,
        segment: &Lent<&Chunk>,
        skip: u16,
        to: Remote,
        len: u16,
    ) -> Result<(), CopyRefused> {
        let Chunk { page, offset, bytes } = segment.pages;
        if segment.run != self.run || u32::from(skip) + u32::from(len) > u32::from(*bytes) {
            return Err(CopyRefused);
        }
        self.push(local(page, offset + skip), to.side(), len, GNTCOPY_DEST_GREF)
    }

    /// Queues a copy of `len` bytes from a peer's page into a bounce buffer.
    #[inline(always)]
    pub fn copy_into_bounce(&mut self, from: Remote, bounce: &Bounce, len: u16) -> Result<(), CopyRefused> {
        let (page, offset) = self.bounces.place(bounce).filter(|_| fits(len)).ok_or(CopyRefused)?;
        self.push(from.side(), local(page, offset), len, GNTCOPY_SOURCE_GREF)
    }

    /// Queues a copy of the first `len` bytes of a bounce buffer into a peer's page.
    #[inline(always)]
    pub fn copy_bounce_out(&mut self, bounce: &Bounce, to: Remote, len: u16) -> Result<(), CopyRefused> {
        let (page, offset) = self.bounces.place(bounce).filter(|_| fits(len)).ok_or(CopyRefused)?;
        self.push(local(page, offset), to.side(), len, GNTCOPY_DEST_GREF)
    }

    /// Whether all copies of the last run have succeeded.
    pub fn has_succeeded(&self) -> bool {
        !self.failed
    }

    fn push(
        &mut self,
        source: GrantCopySide,
        dest: GrantCopySide,
        len: u16,
        flags: u16,
    ) -> Result<(), CopyRefused> {
        if self.room() == 0 {
            return Err(CopyRefused);
        }
        self.waiting.push(GrantCopy { source, dest, len, flags, status: i16::MIN });
        Ok(())
    }

    /// The result of one copy of the last run; one that was never run has failed.
    #[inline(always)]
    pub fn result_of(&self, copy: u32) -> Result<(), i16> {
        match self.finished.get(copy as usize).map(|copy| copy.status) {
            Some(0) => Ok(()),
            status => Err(status.unwrap_or(i16::MIN)),
        }
    }

    /// The first failure among copies `range` of the last run: a `GNTST_*` status. A range that was never
    /// run has failed.
    pub fn result(&self, range: Range<u32>) -> Result<(), i16> {
        let copies = self.finished.get(range.start as usize..range.end as usize).ok_or(i16::MIN)?;
        copies.iter().find(|copy| copy.status != 0).map_or(Ok(()), |copy| Err(copy.status))
    }

    /// For the hypervisor: runs the waiting copies through `copy`, which fills in the statuses and
    /// translates the addresses of [local](GrantCopy::local_mut) sides to frames.
    pub fn run(&mut self, copy: impl FnOnce(&mut [GrantCopy])) {
        copy(&mut self.waiting);
        self.failed = self.waiting.iter().fold(0, |any, copy| any | copy.status) != 0;
        core::mem::swap(&mut self.waiting, &mut self.finished);
        self.waiting.clear();
        self.run = self.run.wrapping_add(1);
    }
}

/// Where to let a range of copies begin if one of them was refused: then [`CopyBatch::result`] is a failure.
pub const NO_RESULT: u32 = u32::MAX;

/// A copy that could not be queued: the batch is full, the page was lent to an earlier run, or the bytes
/// reach beyond the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyRefused;

/// Whether so many bytes fit into a bounce buffer.
fn fits(len: u16) -> bool {
    usize::from(len) <= BOUNCE_BYTES
}

/// The local side of a copy: named by its virtual address, translated when the batch runs.
fn local(page: &Page, offset: u16) -> GrantCopySide {
    GrantCopySide { reference: page.address() as u64, domain: DOMID_SELF, offset }
}

impl Remote {
    fn side(self) -> GrantCopySide {
        GrantCopySide { reference: u64::from(self.reference.0), domain: self.domain.0, offset: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;

    const REMOTE: Remote = Remote { domain: DomainId(5), reference: Gref(9), offset: 0 };

    fn segment(offset: u16, bytes: u16) -> Chunk {
        Chunk { page: on_heap::page(), offset, bytes }
    }

    #[test]
    fn lent_page_comes_back_only_after_the_run() {
        let mut batch = CopyBatch::with_capacity(4);
        let mut lent = batch.lend(on_heap::page());
        assert_eq!(batch.copy_in(REMOTE, &mut lent, 0, 64), Ok(()));
        let mut lent = batch.reclaim(lent).unwrap_err();
        batch.run(|copies| copies.iter_mut().for_each(|copy| copy.status = 0));
        assert_eq!(batch.copy_in(REMOTE, &mut lent, 0, 64), Err(CopyRefused));
        assert!(batch.reclaim(lent).is_ok());
        assert_eq!(batch.result(0..1), Ok(()));
    }

    #[test]
    fn one_failed_copy_fails_its_packet_only() {
        let mut batch = CopyBatch::with_capacity(4);
        let lent = batch.lend([segment(0, 64)]);
        for _ in 0..3 {
            assert_eq!(batch.copy_out(&lent.segments().next().unwrap(), 0, REMOTE, 64), Ok(()));
        }
        batch.run(|copies| copies.iter_mut().zip([0, -3, 0]).for_each(|(copy, status)| copy.status = status));
        assert_eq!(batch.result(0..2), Err(-3));
        assert_eq!(batch.result(2..3), Ok(()));
        assert_eq!(batch.result(2..4), Err(i16::MIN));
    }

    #[test]
    fn copies_out_name_bytes_of_the_segment_only() {
        let mut batch = CopyBatch::with_capacity(4);
        let lent = batch.lend([segment(100, 50), segment(0, 7)]);
        let parts: Vec<_> = lent.segments().collect();
        assert_eq!(parts.iter().map(Lent::bytes).collect::<Vec<_>>(), [50, 7]);
        assert_eq!(batch.copy_out(&parts[0], 20, REMOTE, 31), Err(CopyRefused));
        assert_eq!(batch.copy_out(&parts[0], 20, REMOTE, 30), Ok(()));
        batch.run(|copies| {
            let [copy] = copies else { panic!("one copy") };
            assert_eq!((copy.source.offset, copy.len), (120, 30));
            copy.status = 0;
        });
        assert_eq!(batch.copy_out(&parts[1], 0, REMOTE, 7), Err(CopyRefused));
    }

    #[test]
    fn copies_beyond_the_page_or_the_batch_are_refused() {
        let mut batch = CopyBatch::with_capacity(1);
        let mut lent = batch.lend(on_heap::page());
        assert_eq!(batch.copy_in(REMOTE, &mut lent, 4000, 97), Err(CopyRefused));
        assert_eq!(batch.copy_in(REMOTE, &mut lent, 4000, 96), Ok(()));
        assert_eq!(batch.copy_in(REMOTE, &mut lent, 0, 1), Err(CopyRefused));
        batch.run(|copies| copies.iter_mut().for_each(|copy| copy.status = 0));
        let results = [0, NO_RESULT].map(|first| batch.result(first..1));
        assert_eq!(results, [Ok(()), Err(i16::MIN)]);
    }
}
