//! Bounce buffers: places of 128 bytes, in pages of ours that are never granted, for small frames on their way through.
//!
//! A frame of the uplink's is copied into one out of the page that its backend may write, a frame of a client's by the
//! batch of copies, and what may pass is copied out of it again. So small frames cost no page and no grant of their own.

use super::page::{PAGE_BYTES, Page};
use alloc::vec::Vec;

/// Bytes of a bounce buffer.
pub const BOUNCE_BYTES: usize = 128;

/// Bounce buffers in a page.
pub const BOUNCES_PER_PAGE: usize = PAGE_BYTES / BOUNCE_BYTES;

/// A bounce buffer, until all are taken back.
#[derive(Debug, PartialEq, Eq)]
pub struct Bounce {
    index: u16,
    round: u16,
}

/// All bounce buffers.
#[derive(Debug, Default)]
pub struct BounceBuffers {
    pages: Vec<Page>,
    /// Those that were taken: the first ones.
    taken: usize,
    /// How often all were taken back, modulo 2¹⁶.
    round: u16,
}

impl BounceBuffers {
    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Pages that they lie in.
    pub fn pages(&self) -> usize {
        self.pages.len()
    }

    /// Adds those of a page.
    pub fn add(&mut self, page: Page) {
        self.pages.push(page);
    }

    /// Takes one with old contents of this domain; `None` when all are in use.
    #[inline(always)]
    pub fn take(&mut self) -> Option<Bounce> {
        let index = self.taken;
        if index >= self.pages.len() * BOUNCES_PER_PAGE {
            return None;
        }
        self.taken += 1;
        Some(Bounce { index: index as u16, round: self.round })
    }

    /// Takes all back.
    pub fn clear(&mut self) {
        self.taken = 0;
        self.round = self.round.wrapping_add(1);
    }

    /// The bytes of one; `None` if it was taken back.
    #[inline(always)]
    pub fn bytes_mut(&mut self, bounce: &Bounce) -> Option<&mut [u8; BOUNCE_BYTES]> {
        let (page, start) = place(bounce, self.round)?;
        self.pages.get_mut(page)?.head_mut(start)
    }

    /// Its page and its place there; `None` if it was taken back.
    #[inline(always)]
    pub(super) fn place(&self, bounce: &Bounce) -> Option<(&Page, u16)> {
        let (page, start) = place(bounce, self.round)?;
        Some((self.pages.get(page)?, start as u16))
    }
}

#[inline(always)]
fn place(bounce: &Bounce, round: u16) -> Option<(usize, usize)> {
    let index = usize::from(bounce.index);
    let place = (index / BOUNCES_PER_PAGE, index % BOUNCES_PER_PAGE * BOUNCE_BYTES);
    (bounce.round == round).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::super::page::on_heap;
    use super::*;

    #[test]
    fn a_buffer_is_nobodys_once_all_were_taken_back() {
        let mut buffers = BounceBuffers::default();
        assert_eq!(buffers.take(), None);
        buffers.add(on_heap::page());
        let all: Vec<_> = core::iter::from_fn(|| buffers.take()).collect();
        assert_eq!(all.len(), BOUNCES_PER_PAGE);
        buffers.bytes_mut(&all[31]).unwrap().fill(7);
        assert!(buffers.bytes_mut(&all[30]).unwrap().iter().all(|byte| *byte == 0));
        buffers.clear();
        assert_eq!(buffers.bytes_mut(&all[31]), None);
        let again = buffers.take().unwrap();
        assert!(buffers.bytes_mut(&again).is_some());
    }
}
