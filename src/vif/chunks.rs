//! The pieces of a frame: one page as a rule, more for what does not fit one.

use crate::vif::slots::MAX_SLOTS;
use crate::xen::page_pool::{CHAIN, Chain, Chunk, PagePool};
use alloc::boxed::Box;
use arrayvec::ArrayVec;
use core::{iter, slice};

/// Most pages of a frame. A backend may need one slot more than a frontend when its first is tiny.
pub const MAX_SEGMENTS: usize = MAX_SLOTS + 1;

const _: () = assert!(MAX_SEGMENTS == CHAIN + 1);

/// Pieces in order, at least one. Small while there is only one, because queues are full of them.
#[derive(Debug)]
pub struct Chunks {
    first: Chunk,
    rest: Option<Box<Chain>>,
}

impl Chunks {
    /// A single piece.
    pub fn one(first: Chunk) -> Self {
        Self { first, rest: None }
    }

    /// Adds a piece behind the others. It comes back when there are [`MAX_SEGMENTS`] already, or no chain is free.
    pub fn push(&mut self, segment: Chunk, pages: &mut PagePool) -> Result<(), Chunk> {
        if self.rest.is_none() {
            self.rest = pages.take_chain();
        }
        let Some(rest) = &mut self.rest else { return Err(segment) };
        rest.try_push(segment).map_err(|refused| refused.element())
    }

    /// How many.
    pub fn len(&self) -> usize {
        1 + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// Never: there is a first.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// The only piece; all of them if there are several.
    #[inline(always)]
    pub fn into_one(self) -> Result<Chunk, Self> {
        match self {
            Self { first, rest: None } => Ok(first),
            several => Err(several),
        }
    }

    /// The first piece.
    pub fn first(&self) -> &Chunk {
        &self.first
    }

    /// The first piece, writable.
    pub fn first_mut(&mut self) -> &mut Chunk {
        &mut self.first
    }

    /// The first piece, and those behind it.
    pub fn split_mut(&mut self) -> (&mut Chunk, &mut [Chunk]) {
        (&mut self.first, self.rest.as_deref_mut().map(|rest| rest.as_mut_slice()).unwrap_or_default())
    }

    /// Every piece.
    pub fn iter(&self) -> iter::Chain<iter::Once<&Chunk>, slice::Iter<'_, Chunk>> {
        iter::once(&self.first).chain(self.rest.as_deref().map(ArrayVec::as_slice).unwrap_or_default())
    }

    /// Every piece, writable.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Chunk> {
        let (first, rest) = self.split_mut();
        iter::once(first).chain(rest)
    }

    /// Gives back the pages of pieces behind the first that hold nothing.
    #[inline]
    pub fn drop_empty(&mut self, pages: &mut PagePool) {
        if self.rest.is_some() {
            self.drop_empty_rest(pages);
        }
    }

    fn drop_empty_rest(&mut self, pages: &mut PagePool) {
        if let Some(rest) = &mut self.rest {
            for at in (0..rest.len()).rev() {
                if rest.get(at).is_some_and(|segment| segment.bytes == 0)
                    && let Some(empty) = rest.pop_at(at)
                {
                    pages.give(empty.page);
                }
            }
        }
        if let Some(rest) = self.rest.take_if(|rest| rest.is_empty()) {
            pages.give_chain(rest);
        }
    }

    /// Gives every page back.
    #[inline]
    pub fn release(self, pages: &mut PagePool) {
        pages.give(self.first.page);
        if let Some(rest) = self.rest {
            pages.give_chain(rest);
        }
    }

    /// Hands over every piece, in order. What is left is their chain, which is to be given back to the pool.
    #[must_use = "a chain that is dropped is lost"]
    pub fn hand_over(self, mut each: impl FnMut(Chunk)) -> Option<Box<Chain>> {
        let Self { first, mut rest } = self;
        each(first);
        if let Some(rest) = &mut rest {
            rest.drain(..).for_each(each);
        }
        rest
    }
}

impl<'a> IntoIterator for &'a Chunks {
    type Item = &'a Chunk;
    type IntoIter = iter::Chain<iter::Once<&'a Chunk>, slice::Iter<'a, Chunk>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
