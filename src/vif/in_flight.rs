//! Packets whose copies are in the present batch.
//!
//! Flat queues instead of one structure per packet, so that a small packet moves few bytes here. Of all clients,
//! in the order in which they were queued: clients settle in that order too, and each takes its own from the front.

use crate::base::side::ClientSlot;
use crate::vif::chunks::Chunks;
use crate::vif::frame::Frame;
use crate::wire::packet::{Checksum, Offload};
use crate::xen::bounce::Bounce;
use crate::xen::copy::Lent;
use crate::xen::page::Page;
use alloc::vec::Vec;
use core::ops::Range;

/// A packet that was taken from a client's ring.
#[derive(Debug)]
pub enum Collected {
    /// One of one slot.
    Single(Single),
    /// Any other, until it is settled.
    Several(Several),
    /// One of several slots that has arrived.
    Frame(Frame),
    /// It is lost.
    Nothing,
}

/// A packet of one slot. Until it is settled, its answer is written and not published yet.
#[derive(Debug)]
pub struct Single {
    /// Where it is copied to.
    pub landing: Landing,
    /// Bytes of the packet; none once its copy has failed.
    pub bytes: u16,
    /// What the client said of its checksum.
    pub checksum: Checksum,
    /// Index of the answer.
    pub answer: u32,
    /// Its copy in the batch.
    pub copy: u32,
}

/// Where a packet of one slot is copied to.
#[derive(Debug)]
pub enum Landing {
    /// A small one.
    Bounce(Bounce),
    /// The start of a page.
    Page(Lent<Page>),
}

/// A packet of several slots on its way into our pages. The answers to its slots are written and not published yet.
#[derive(Debug)]
pub struct Several {
    /// Index of the first answer.
    pub answer: u32,
    /// How many there are.
    pub answers: u8,
    /// How many of them, behind the first, are to extra-info slots.
    pub extras: u8,
    /// Pages that it goes into: the next of [`InFlight::arriving`].
    pub pages: u8,
    /// Its copies in the batch.
    pub copies: Range<u32>,
    /// What the client left to do.
    pub offload: Offload,
}

/// A frame on its way into the client's buffers. The answers to the buffers are written and not published yet.
#[derive(Debug)]
pub struct Departure {
    /// What is copied.
    pub segments: Lent<Chunks>,
    /// Index of the first answer.
    pub answer: u32,
    /// How many there are.
    pub answers: u8,
    /// The name of the buffer that was given up for an extra-info entry: the second one.
    pub given_up: Option<u16>,
    /// Its copies in the batch.
    pub copies: Range<u32>,
}

/// A packet on its way into a client's buffer that did not wait for it.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// Index of the answer.
    pub answer: u32,
    /// Its copy in the batch.
    pub copy: u32,
}

/// A queue that is filled and then emptied: all that the order of a batch needs, and less work than a ring buffer.
#[derive(Debug)]
pub struct BatchQueue<T> {
    items: Vec<Option<T>>,
    /// Items taken out.
    taken: usize,
}

impl<T> BatchQueue<T> {
    /// Room for so many items without allocating.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { items: Vec::with_capacity(capacity), taken: 0 }
    }

    /// Adds an item behind the others.
    #[inline]
    pub fn push(&mut self, item: T) {
        self.items.push(Some(item));
    }

    /// Takes the first item.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items.get_mut(self.taken)?.take();
        self.taken += 1;
        if self.taken == self.items.len() {
            // What is left are places of items that were taken: nothing to drop.
            self.items.clear();
            self.taken = 0;
        }
        item
    }

    /// Takes the first `count` items.
    #[inline]
    pub fn take(&mut self, count: u8) -> impl Iterator<Item = T> {
        (0..count).map_while(|_| self.pop())
    }

    /// Items that can still be added without allocating.
    pub fn room(&self) -> usize {
        self.items.capacity() - self.items.len()
    }
}

/// All packets in flight.
#[derive(Debug)]
pub struct InFlight {
    /// What clients sent, in order, and on which slot each client is.
    pub collected: Vec<(ClientSlot, Collected)>,
    /// The slot of the client from which packets are collected.
    pub sender: ClientSlot,
    /// How many of `collected` are settled.
    pub settled: usize,
    /// Pages that packets of several slots go into, and how much of each is filled.
    pub arriving: BatchQueue<(Lent<Page>, u16)>,
    /// Packets for clients.
    pub departures: BatchQueue<Departure>,
}

impl InFlight {
    /// Room for what a batch of `copies` can hold.
    pub fn with_capacity(copies: usize) -> Self {
        Self {
            collected: Vec::with_capacity(copies),
            sender: ClientSlot(0),
            settled: 0,
            arriving: BatchQueue::with_capacity(copies),
            departures: BatchQueue::with_capacity(copies),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_keeps_the_order_and_begins_anew_when_empty() {
        let mut line = BatchQueue::with_capacity(4);
        (0..4).for_each(|item| line.push(item));
        assert_eq!(line.pop(), Some(0));
        assert_eq!(line.take(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(line.room(), 0);
        assert_eq!(line.take(9).collect::<Vec<_>>(), [3]);
        assert_eq!((line.room(), line.pop()), (4, None));
    }
}
