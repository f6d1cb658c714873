//! `measure=copy`: what this machine needs to copy packets by grant, and nothing else.
//!
//! The least that a firewall of this design pays for a packet is one copy by Xen of each of its pages
//! (`docs/architecture.md`). The domain grants pages to itself and copies from them, as it copies from a client:
//! every source is a grant of its own, and small packets share a page of ours. Real traffic is compared with
//! these figures by `make bench`.

use crate::base::bug::OrBug;
use crate::base::sort::sort_by_key;
use crate::base::time::Moment;
use crate::xen::charge::Charge;
use crate::xen::copy::{CopyBatch, Lent, Remote};
use crate::xen::grant::{Access, GrantedPage};
use crate::xen::page::{PAGE_BYTES, Page};
use crate::xen::{DomainId, Xen};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

/// Copies in one hypercall: more make little difference.
const BATCH: usize = 32;

/// How long one window of copying lasts.
const WINDOW: Duration = Duration::from_millis(50);

/// Windows for one size; their median is the result.
const WINDOWS: usize = 11;

/// Bytes of the packets that are copied, up to what one segmentation-offload packet holds.
pub const SIZES: [usize; 3] = [64, 1500, 65536];

/// What copying packets of one size costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyCost {
    /// Bytes of a packet.
    pub bytes: usize,
    /// The median of the windows.
    pub median: PerPacket,
    /// The fastest window.
    pub least: PerPacket,
}

/// Nanoseconds for one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PerPacket(pub u64);

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmeasured {
    /// Not enough pages or grant references.
    Memory,
    /// Xen refused a copy, with this `GNTST_*` status.
    Refused(i16),
}

impl fmt::Display for CopyCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, median, least } = self;
        write!(f, "copy of {bytes} bytes: {} ns per packet, at least {} ns", median.0, least.0)
    }
}

impl fmt::Display for Unmeasured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("no page or no grant reference is free"),
            Self::Refused(status) => write!(f, "Xen refuses to copy from our own grants (status {status})"),
        }
    }
}

/// Measures packets of every size. `own` is the number of this domain.
///
/// # Errors
/// If Xen does not copy.
pub fn copies<X: Xen>(xen: &mut X, own: DomainId) -> Result<[CopyCost; SIZES.len()], Unmeasured> {
    let mut bench = Bench::new(xen, own)?;
    let mut costs = SIZES.map(|bytes| CopyCost { bytes, median: PerPacket(0), least: PerPacket(0) });
    let measured = costs.iter_mut().try_for_each(|cost| bench.measure(xen, cost));
    bench.close(xen);
    measured.map(|()| costs)
}

/// The pages that are copied between.
struct Bench {
    own: DomainId,
    sources: Vec<GrantedPage>,
    targets: Vec<Page>,
    batch: CopyBatch,
}

impl Bench {
    fn new<X: Xen>(xen: &mut X, own: DomainId) -> Result<Self, Unmeasured> {
        let mut bench = Self {
            own,
            sources: Vec::with_capacity(BATCH),
            targets: Vec::with_capacity(BATCH),
            batch: CopyBatch::with_capacity(BATCH),
        };
        for _ in 0..BATCH {
            bench.targets.extend(xen.pages().take(Charge::NOBODY));
            if let Some(page) = xen.pages().take(Charge::NOBODY) {
                match xen.grant(own, page, Access::ReadOnly, 0..0) {
                    Ok(granted) => bench.sources.push(granted),
                    Err(page) => xen.pages().give(page),
                }
            }
        }
        if bench.sources.len() == BATCH && bench.targets.len() == BATCH {
            Ok(bench)
        } else {
            bench.close(xen);
            Err(Unmeasured::Memory)
        }
    }

    fn close<X: Xen>(self, xen: &mut X) {
        for granted in self.sources {
            // In use by nobody but us: no copy is under way.
            if let Ok(page) = xen.end_grant(granted) {
                xen.pages().give(page);
            }
        }
        for page in self.targets {
            xen.pages().give(page);
        }
    }

    fn measure<X: Xen>(&mut self, xen: &mut X, cost: &mut CopyCost) -> Result<(), Unmeasured> {
        // The first copies pay for cold caches.
        self.copy_once(xen, cost.bytes)?;
        let mut windows = [PerPacket(0); WINDOWS];
        for window in &mut windows {
            *window = self.window(xen, cost.bytes)?;
        }
        sort_by_key(&mut windows, |window| window.0);
        [cost.least, cost.median] = [windows[0], windows[WINDOWS / 2]];
        Ok(())
    }

    fn window<X: Xen>(&mut self, xen: &mut X, bytes: usize) -> Result<PerPacket, Unmeasured> {
        let begun: Moment = xen.now();
        let mut packets = 0;
        loop {
            packets += self.copy_once(xen, bytes)?;
            let passed = xen.now().since(begun);
            if passed >= WINDOW {
                let nanoseconds = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
                return Ok(PerPacket(nanoseconds / packets));
            }
        }
    }

    /// One full batch; how many packets that were.
    fn copy_once<X: Xen>(&mut self, xen: &mut X, bytes: usize) -> Result<u64, Unmeasured> {
        let piece = bytes.min(PAGE_BYTES);
        let per_page = PAGE_BYTES / piece;
        let len = piece as u16;
        let mut targets: Vec<Lent<Page>> = self.targets.drain(..).map(|page| self.batch.lend(page)).collect();
        for (index, source) in self.sources.iter().enumerate() {
            let from = Remote { domain: self.own, reference: source.reference(), offset: 0 };
            let offset = (index % per_page * piece) as u16;
            if let Some(target) = targets.get_mut(index / per_page) {
                // The batch has room for all of them, and no piece reaches beyond its page.
                self.batch.copy_in(from, target, offset, len).or_bug("a copy that the batch refuses").ok();
            }
        }
        xen.copy(&mut self.batch);
        self.targets.extend(targets.into_iter().flat_map(|lent| self.batch.reclaim(lent)));
        self.batch.result(0..BATCH as u32).map_err(Unmeasured::Refused)?;
        Ok((BATCH * piece / bytes) as u64)
    }
}
