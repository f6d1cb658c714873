//! Packets whose copies are in the present batch.
//!
//! Flat queues instead of one structure per packet, so that a small packet moves few bytes here. Of all clients,
//! in the order in which they were queued: clients settle in that order too, and each takes its own from the front.

use crate::packet::{Gso, Offload};
use crate::vif::extra::Extra;
use crate::vif::rx::{RX_BYTES, RxFlags, RxResponse};
use crate::xen::copy::LentPage;
use alloc::collections::VecDeque;
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

/// All packets in flight.
#[derive(Debug)]
pub struct InFlight {
    /// Packets that clients sent.
    pub arrivals: VecDeque<Arrival>,
    /// Names of their slots.
    pub ids: VecDeque<u16>,
    /// The pages they go into, and how much of each is filled.
    pub arriving: VecDeque<(LentPage, u16)>,
    /// Packets for clients.
    pub departures: VecDeque<Departure>,
    /// What to answer if they can be written.
    pub responses: VecDeque<RxAnswer>,
    /// The pages they are in.
    pub departing: VecDeque<LentPage>,
}

impl InFlight {
    /// Room for what a batch of `copies` can hold.
    pub fn with_capacity(copies: usize) -> Self {
        Self {
            arrivals: VecDeque::with_capacity(copies),
            ids: VecDeque::with_capacity(copies),
            arriving: VecDeque::with_capacity(copies),
            departures: VecDeque::with_capacity(copies),
            // One more than its copies, of a frame that is to be segmented.
            responses: VecDeque::with_capacity(2 * copies),
            departing: VecDeque::with_capacity(copies),
        }
    }
}
