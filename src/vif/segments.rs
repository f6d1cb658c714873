//! The pieces of a frame: one page as a rule, more for what does not fit one.

use crate::vif::slots::MAX_SLOTS;
use crate::xen::page::Page;
use alloc::boxed::Box;
use arrayvec::ArrayVec;
use core::ops::Range;

/// Most pages of a frame. A backend may need one slot more than a frontend when its first is tiny.
pub const MAX_SEGMENTS: usize = MAX_SLOTS + 1;

/// Some bytes of a page.
#[derive(Debug)]
pub struct Segment {
    /// The page.
    pub page: Page,
    /// First byte.
    pub offset: u16,
    /// Bytes; `offset + bytes` is within the page.
    pub bytes: u16,
}

impl Segment {
    pub(super) fn range(&self) -> Range<usize> {
        let start = usize::from(self.offset);
        start..start + usize::from(self.bytes)
    }

    /// The bytes.
    pub fn data(&self) -> &[u8] {
        self.page.bytes().get(self.range()).unwrap_or_default()
    }

    /// The bytes, writable.
    pub fn data_mut(&mut self) -> &mut [u8] {
        let range = self.range();
        self.page.bytes_mut().get_mut(range).unwrap_or_default()
    }
}

type Rest = ArrayVec<Segment, { MAX_SEGMENTS - 1 }>;

/// Pieces in order, at least one. Small while there is only one, because queues are full of them.
#[derive(Debug)]
pub struct Segments {
    first: Segment,
    rest: Option<Box<Rest>>,
}

impl Segments {
    /// A single piece.
    pub fn one(first: Segment) -> Self {
        Self { first, rest: None }
    }

    /// Pieces in the order given; `None` when there are none.
    pub fn of(mut segments: impl Iterator<Item = Segment>) -> Option<Self> {
        let mut all = Self::one(segments.next()?);
        for segment in segments.take(MAX_SEGMENTS - 1) {
            all.rest.get_or_insert_default().push(segment);
        }
        Some(all)
    }

    /// How many.
    pub fn len(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Never: there is a first.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The first piece.
    pub fn first(&self) -> &Segment {
        &self.first
    }

    /// The first piece, and those behind it.
    pub fn split_mut(&mut self) -> (&mut Segment, &mut [Segment]) {
        (&mut self.first, self.rest.as_deref_mut().map(|rest| rest.as_mut_slice()).unwrap_or_default())
    }

    /// Every piece.
    pub fn iter(&self) -> impl Iterator<Item = &Segment> {
        core::iter::once(&self.first).chain(self.rest.iter().flat_map(|rest| rest.iter()))
    }

    /// Every piece, writable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Segment> {
        core::iter::once(&mut self.first).chain(self.rest.iter_mut().flat_map(|rest| rest.iter_mut()))
    }

    /// Takes out pieces behind the first that hold nothing.
    pub fn drain_empty(&mut self) -> impl Iterator<Item = Page> {
        let mut empty: ArrayVec<Page, MAX_SEGMENTS> = ArrayVec::new();
        if let Some(rest) = self.rest.take() {
            let (keep, gone): (Rest, Rest) = rest.into_iter().partition(|segment| segment.bytes > 0);
            empty.extend(gone.into_iter().map(|segment| segment.page));
            self.rest = (!keep.is_empty()).then(|| Box::new(keep));
        }
        empty.into_iter()
    }
}

impl IntoIterator for Segments {
    type Item = Segment;
    type IntoIter =
        core::iter::Chain<core::iter::Once<Segment>, core::iter::Flatten<core::option::IntoIter<Rest>>>;

    fn into_iter(self) -> Self::IntoIter {
        core::iter::once(self.first).chain(self.rest.map(|rest| *rest).into_iter().flatten())
    }
}
