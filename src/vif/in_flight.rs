//! Packets whose copies are in the present batch.
//!
//! Flat queues instead of one structure per packet, so that a small packet moves few bytes here. Of all clients,
//! in the order in which they were queued: clients settle in that order too, and each takes its own from the front.

use crate::packet::{Gso, Offload};
use crate::vif::extra::Extra;
use crate::vif::rx::{RX_BYTES, RxFlags, RxResponse};
use crate::xen::copy::LentPage;
use alloc::vec::Vec;
use core::ops::Range;

/// A packet on its way into our pages.
#[derive(Debug)]
pub struct Arrival {
    /// Data slots to answer: the next of [`InFlight::ids`].
    pub ids: u8,
    /// Extra-info slots to answer.
    pub extras: u8,
    /// Pages that it goes into: the next of [`InFlight::arriving`].
    pub pages: u8,
    /// Its copies in the batch.
    pub copies: Range<u32>,
    /// What the client left to do.
    pub offload: Offload,
}

/// A frame on its way into the client's buffers.
#[derive(Debug)]
pub struct Departure {
    /// Pages that it is in: the next of [`InFlight::departing`].
    pub pages: u8,
    /// Responses: the next of [`InFlight::responses`].
    pub responses: u8,
    /// Its copies in the batch.
    pub copies: Range<u32>,
}

/// A receive slot to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RxAnswer {
    /// It holds this.
    Data(RxResponse),
    /// It is given up for an extra-info entry; the request's name.
    Extra(u16, Gso),
}

impl RxAnswer {
    /// The response if the frame could be written.
    pub fn encode(self) -> [u8; RX_BYTES] {
        match self {
            Self::Data(response) => response.encode(),
            Self::Extra(_, gso) => Extra::encode(gso),
        }
    }

    /// The response if not.
    pub fn encode_failure(self) -> [u8; RX_BYTES] {
        let (Self::Data(RxResponse { id, .. }) | Self::Extra(id, _)) = self;
        RxResponse { id, offset: 0, flags: RxFlags::empty(), status: -1 }.encode()
    }
}

/// A queue that is filled and then emptied: all that the order of a batch needs, and less work than a ring buffer.
#[derive(Debug)]
pub struct Line<T> {
    items: Vec<Option<T>>,
    /// Items taken out.
    taken: usize,
}

impl<T> Line<T> {
    fn with_capacity(capacity: usize) -> Self {
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

    /// Items added since the queue was last empty.
    pub fn added(&self) -> usize {
        self.items.len()
    }
}

/// All packets in flight.
#[derive(Debug)]
pub struct InFlight {
    /// Packets that clients sent.
    pub arrivals: Line<Arrival>,
    /// Names of their slots.
    pub ids: Line<u16>,
    /// The pages they go into, and how much of each is filled.
    pub arriving: Line<(LentPage, u16)>,
    /// Packets for clients.
    pub departures: Line<Departure>,
    /// What to answer if they can be written.
    pub responses: Line<RxAnswer>,
    /// The pages they are in.
    pub departing: Line<LentPage>,
}

impl InFlight {
    /// Room for what a batch of `copies` can hold.
    pub fn with_capacity(copies: usize) -> Self {
        Self {
            arrivals: Line::with_capacity(copies),
            ids: Line::with_capacity(copies),
            arriving: Line::with_capacity(copies),
            departures: Line::with_capacity(copies),
            // One more than its copies, of a frame that is to be segmented.
            responses: Line::with_capacity(2 * copies),
            departing: Line::with_capacity(copies),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_keeps_the_order_and_begins_anew_when_empty() {
        let mut line = Line::with_capacity(4);
        (0..4).for_each(|item| line.push(item));
        assert_eq!(line.pop(), Some(0));
        assert_eq!(line.take(2).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(line.added(), 4);
        assert_eq!(line.take(9).collect::<Vec<_>>(), [3]);
        assert_eq!((line.added(), line.pop()), (0, None));
    }
}
