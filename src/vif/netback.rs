//! netback: the rings of one client.
//!
//! A pass over a client is: [`Netback::collect`] takes what it sent and queues the copies into our pages,
//! [`Netback::deliver`] queues copies of what waits for it into its buffers, the hypervisor runs the batch,
//! [`Netback::settle`] answers every slot and hands out the frames that arrived.
//!
//! Whatever a client does wrong ends at worst its own connection ([`Broken`]).

use crate::packet::Offload;
use crate::vif::frame::Frame;
use crate::vif::ring::{BackRing, Notice, RING_SIZE, RingBroken, Wakeup};
use crate::vif::rx::{RX_BYTES, RxFlags, RxRequest, RxResponse};
use crate::vif::segments::{MAX_SEGMENTS, Segment, Segments};
use crate::vif::slots::{Answers, TX_BYTES, TxPacket, TxStatus, TxViolation, read_packet};
use crate::xen::copy::{CopyBatch, LentPage, Remote};
use crate::xen::event::Port;
use crate::xen::page::{PAGE_BYTES, PagePool};
use crate::xen::{DomainId, MappedPage, Xen};
use alloc::collections::VecDeque;
use arrayvec::ArrayVec;
use core::ops::Range;

/// Frames that may wait for one client to post buffers: one ring of buffers' worth.
const QUEUE_FRAMES: usize = RING_SIZE as usize;

/// When the pool is short of pages, each client may still keep this many waiting.
const QUEUE_FRAMES_UNDER_PRESSURE: usize = 16;

/// Packets taken from one client in one pass.
const PACKETS_PER_PASS: usize = 64;

/// Most copies that one packet can need: each of its fragments may lie across two of our pages.
pub const COPIES_PER_PACKET: usize = 2 * MAX_SEGMENTS;

/// Why a vif cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A ring index makes no sense.
    Ring,
    /// Transmit slots that no frontend writes by mistake.
    Transmit(TxViolation),
}

impl From<RingBroken> for Broken {
    fn from(_: RingBroken) -> Self {
        Self::Ring
    }
}

impl core::fmt::Display for Broken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ring => "a ring index makes no sense",
            Self::Transmit(TxViolation::MissingSlots) => "a packet without its last slot",
            Self::Transmit(TxViolation::SlotFlood) => "a packet of more slots than any frontend uses",
            Self::Transmit(TxViolation::BeyondPage) => "a fragment that reaches beyond its page",
            Self::Transmit(TxViolation::BadExtra) => "an extra-info slot of a kind that was not offered",
            Self::Transmit(TxViolation::BadSegmentation) => "a segmentation slot that makes no sense",
        })
    }
}

/// What passed one client's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets taken from the client.
    pub received: u64,
    /// Packets put into its buffers.
    pub sent: u64,
    /// Packets of the client answered with an error: bad sizes, bad grants, too many slots.
    pub refused: u64,
    /// Packets of the client dropped because no page was free.
    pub no_page: u64,
    /// Packets for the client dropped because it did not post buffers fast enough.
    pub queue_full: u64,
    /// Packets for the client lost because a buffer it posted could not be written.
    pub bad_buffer: u64,
}

/// What the client's frontend can take, from its XenStore keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// `feature-sg`: packets in more than one buffer.
    pub scatter_gather: Support,
    /// Blank IPv4 checksums (the absence of `feature-no-csum-offload`).
    pub blank_checksum: Support,
}

/// Whether a peer supports something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// It does.
    Yes,
    /// It does not.
    No,
}

/// A packet on its way into our pages.
#[derive(Debug)]
struct Arrival {
    answers: Answers,
    pages: ArrayVec<(LentPage, u16), MAX_SEGMENTS>,
    copies: Range<usize>,
    offload: Offload,
}

/// A frame on its way into the client's buffers.
#[derive(Debug)]
struct Departure {
    pages: ArrayVec<LentPage, MAX_SEGMENTS>,
    /// The responses, if all copies succeed.
    responses: ArrayVec<RxResponse, MAX_SEGMENTS>,
    copies: Range<usize>,
}

/// The connected rings of one client.
#[derive(Debug)]
pub struct Netback {
    client: DomainId,
    port: Port,
    abilities: Abilities,
    tx: BackRing<MappedPage, TX_BYTES>,
    rx: BackRing<MappedPage, RX_BYTES>,
    queue: VecDeque<Frame>,
    /// How many of the arrivals in flight are ours: the oldest ones when our turn to settle comes.
    arriving: usize,
    /// Likewise of the departures.
    departing: usize,
    traffic: Traffic,
}

/// Packets whose copies are in the present batch, of all clients, in the order in which they were queued.
///
/// Clients must settle in that order too: each takes its own from the front.
#[derive(Debug)]
pub struct InFlight {
    arrivals: VecDeque<Arrival>,
    departures: VecDeque<Departure>,
}

impl InFlight {
    /// Room for as many packets as a batch of `copies` can hold.
    pub fn with_capacity(copies: usize) -> Self {
        Self { arrivals: VecDeque::with_capacity(copies), departures: VecDeque::with_capacity(copies) }
    }
}

impl Netback {
    /// Takes up mapped rings. `port` is notified by the client for both. The pages come back when an index
    /// makes no sense.
    pub fn connect(
        client: DomainId,
        port: Port,
        abilities: Abilities,
        tx: MappedPage,
        rx: MappedPage,
    ) -> Result<Self, [MappedPage; 2]> {
        let tx = match BackRing::attach(tx) {
            Ok(ring) => ring,
            Err(tx) => return Err([tx, rx]),
        };
        let rx = match BackRing::attach(rx) {
            Ok(ring) => ring,
            Err(rx) => return Err([tx.into_page(), rx]),
        };
        Ok(Self {
            client,
            port,
            abilities,
            tx,
            rx,
            queue: VecDeque::with_capacity(QUEUE_FRAMES),
            arriving: 0,
            departing: 0,
            traffic: Traffic::default(),
        })
    }

    /// Takes packets that the client sent and queues the copies into pages of ours.
    pub fn collect(
        &mut self,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
    ) -> Result<(), Broken> {
        let mut waiting = self.tx.waiting()?;
        for _ in 0..PACKETS_PER_PASS {
            if waiting == 0 || batch.room() < COPIES_PER_PACKET {
                break;
            }
            let mut next = || {
                waiting = waiting.checked_sub(1)?;
                Some(self.tx.take())
            };
            match read_packet(&mut next).map_err(Broken::Transmit)? {
                // Segmentation was not offered: no client may send it.
                Ok(packet) if packet.offload.gso.is_some() => {
                    return Err(Broken::Transmit(TxViolation::BadExtra));
                }
                Ok(packet) => self.fetch(packet, batch, in_flight, pages),
                Err((_, answers)) => {
                    self.traffic.refused += 1;
                    self.answer(&answers, TxStatus::Error);
                }
            }
        }
        Ok(())
    }

    /// Queues the copies of one packet, packed into as few pages as hold it.
    fn fetch(
        &mut self,
        packet: TxPacket,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pool: &mut PagePool,
    ) {
        let total = usize::from(packet.bytes);
        if pool.free() < total.div_ceil(PAGE_BYTES) {
            self.traffic.no_page += 1;
            return self.answer(&packet.answers, TxStatus::Dropped);
        }
        let mut pages: ArrayVec<(LentPage, u16), MAX_SEGMENTS> = ArrayVec::new();
        for start in (0..total).step_by(PAGE_BYTES) {
            let Some(page) = pool.take() else { break };
            pages.push((batch.lend(page), (total - start).min(PAGE_BYTES) as u16));
        }
        let first_copy = batch.waiting();
        let mut filled = 0;
        for fragment in &packet.fragments {
            let (mut offset, mut left) = (fragment.offset, fragment.bytes);
            while let (true, Some((page, _))) = (left > 0, pages.get(filled / PAGE_BYTES)) {
                let within = filled % PAGE_BYTES;
                let bytes = left.min((PAGE_BYTES - within) as u16);
                let from = Remote { domain: self.client, reference: fragment.reference, offset };
                // Never refused: there is room for a packet's copies, and the bytes are within the page.
                let _ = batch.copy_in(from, page, within as u16, bytes);
                filled += usize::from(bytes);
                offset += bytes;
                left -= bytes;
            }
        }
        let copies = first_copy..batch.waiting();
        self.arriving += 1;
        in_flight.arrivals.push_back(Arrival {
            answers: packet.answers,
            pages,
            copies,
            offload: packet.offload,
        });
    }

    fn answer(&mut self, answers: &Answers, status: TxStatus) {
        for response in answers.responses(status) {
            self.tx.respond(response);
        }
    }

    /// Queues a frame for the client; drops it when too many wait already.
    pub fn send(&mut self, mut frame: Frame, pages: &mut PagePool, pressure: Pressure) {
        let limit = match pressure {
            Pressure::Low => QUEUE_FRAMES,
            Pressure::High => QUEUE_FRAMES_UNDER_PRESSURE,
        };
        let fits = frame.bytes() <= PAGE_BYTES || self.abilities.scatter_gather == Support::Yes;
        if self.queue.len() >= limit || !fits {
            self.traffic.queue_full += 1;
            return frame.release(pages);
        }
        if self.abilities.blank_checksum == Support::No {
            frame.complete_checksum();
        }
        self.queue.push_back(frame);
    }

    /// Queues the copies of waiting frames into buffers that the client posted.
    pub fn deliver(&mut self, batch: &mut CopyBatch, in_flight: &mut InFlight) -> Result<(), Broken> {
        let mut buffers = self.rx.waiting()? as usize;
        while let Some(frame) = self.queue.front() {
            let wanted = frame.bytes().div_ceil(PAGE_BYTES);
            if buffers < wanted || batch.room() < COPIES_PER_PACKET {
                break;
            }
            buffers -= wanted;
            if let Some(frame) = self.queue.pop_front() {
                self.store(frame, batch, in_flight);
            }
        }
        Ok(())
    }

    /// Queues the copies of one frame, each buffer filled from its start.
    fn store(&mut self, frame: Frame, batch: &mut CopyBatch, in_flight: &mut InFlight) {
        let (segments, offload) = frame.into_parts();
        let first_copy = batch.waiting();
        let mut pages = ArrayVec::new();
        let mut buffers: ArrayVec<(RxRequest, u16), MAX_SEGMENTS> = ArrayVec::new();
        for Segment { page, mut offset, bytes } in segments {
            let page = batch.lend(page);
            let mut left = bytes;
            while left > 0 {
                if buffers.last().is_none_or(|&(_, filled)| usize::from(filled) == PAGE_BYTES) {
                    buffers.push((RxRequest::parse(self.rx.take()), 0));
                }
                let Some((buffer, filled)) = buffers.last_mut() else { break };
                let moved = left.min(PAGE_BYTES as u16 - *filled);
                let to = Remote { domain: self.client, reference: buffer.reference, offset: *filled };
                // Never refused: there is room for a frame's copies, and the bytes are within the page.
                let _ = batch.copy_out(&page, offset, to, moved);
                *filled += moved;
                offset += moved;
                left -= moved;
            }
            pages.push(page);
        }
        let last = buffers.len().saturating_sub(1);
        let responses = buffers.iter().enumerate().map(|(index, &(buffer, filled))| {
            let mut flags =
                if index == 0 { RxFlags::for_checksum(offload.checksum) } else { RxFlags::empty() };
            flags.set(RxFlags::MORE_DATA, index < last);
            RxResponse { id: buffer.id, offset: 0, flags, status: filled as i16 }
        });
        let responses = responses.collect();
        self.departing += 1;
        in_flight.departures.push_back(Departure { pages, responses, copies: first_copy..batch.waiting() });
    }

    /// After the batch ran: answers every slot, gives pages back, and hands each frame that arrived to
    /// `arrived`. Says whether the client wants to be notified.
    pub fn settle(
        &mut self,
        batch: &CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
        arrived: &mut impl FnMut(Frame),
    ) -> Notice {
        let departing = core::mem::take(&mut self.departing).min(in_flight.departures.len());
        for departure in in_flight.departures.drain(..departing) {
            self.settle_departure(departure, batch, pages);
        }
        let arriving = core::mem::take(&mut self.arriving).min(in_flight.arrivals.len());
        for arrival in in_flight.arrivals.drain(..arriving) {
            if let Some(frame) = self.settle_arrival(arrival, batch, pages) {
                arrived(frame);
            }
        }
        match (self.tx.publish(), self.rx.publish()) {
            (Notice::NotNeeded, Notice::NotNeeded) => Notice::NotNeeded,
            _ => Notice::Needed,
        }
    }

    fn settle_departure(&mut self, departure: Departure, batch: &CopyBatch, pages: &mut PagePool) {
        let result = batch.result(departure.copies);
        match result {
            Ok(()) => self.traffic.sent += 1,
            Err(_) => self.traffic.bad_buffer += 1,
        }
        for response in departure.responses {
            let failed = RxResponse { flags: RxFlags::empty(), status: -1, ..response };
            self.rx.respond(if result.is_ok() { response } else { failed }.encode());
        }
        for page in departure.pages {
            give_back(page, batch, pages);
        }
    }

    fn settle_arrival(&mut self, arrival: Arrival, batch: &CopyBatch, pages: &mut PagePool) -> Option<Frame> {
        if batch.result(arrival.copies).is_err() {
            self.traffic.refused += 1;
            self.answer(&arrival.answers, TxStatus::Error);
            arrival.pages.into_iter().for_each(|(page, _)| give_back(page, batch, pages));
            return None;
        }
        self.traffic.received += 1;
        self.answer(&arrival.answers, TxStatus::Okay);
        let segments = arrival.pages.into_iter().filter_map(|(page, bytes)| {
            batch.reclaim(page).ok().map(|page| Segment { page, offset: 0, bytes })
        });
        Frame::new(Segments::of(segments)?, arrival.offload, pages).ok()
    }

    /// Asks to be notified of the client's next packet, and of buffers if frames wait for some.
    pub fn arm(&mut self) -> Result<Wakeup, Broken> {
        let transmit = self.tx.arm(1)?;
        if self.queue.is_empty() {
            return Ok(transmit);
        }
        let wanted = self.queue.front().map_or(1, |frame| frame.bytes().div_ceil(PAGE_BYTES));
        let posted = self.rx.arm(wanted as u32)?;
        Ok(if transmit == Wakeup::MoreToDo { transmit } else { posted })
    }

    /// The event channel that the client notifies.
    pub fn port(&self) -> Port {
        self.port
    }

    /// What passed so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Lets go of the rings, after [`Self::settle`]: closes the event channel, unmaps the pages, drops what
    /// waits. In this order, so that nothing uses a page that is not mapped.
    pub fn disconnect(self, xen: &mut impl Xen) {
        xen.close_port(self.port);
        for page in [self.tx.into_page(), self.rx.into_page()] {
            unmap(xen, page);
        }
        for frame in self.queue {
            frame.release(xen.pages());
        }
    }
}

/// Unmaps a ring page; a failure costs one address and is reported.
pub fn unmap(xen: &mut impl Xen, page: MappedPage) {
    if let Err(error) = xen.unmap(page) {
        log::error!("a client's ring page cannot be unmapped: {error}");
    }
}

/// Whether packet pages are running out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// There are plenty.
    Low,
    /// Queues must be short.
    High,
}

fn give_back(page: LentPage, batch: &CopyBatch, pages: &mut PagePool) {
    // Never refused: the batch has run since the page was lent to it.
    if let Ok(page) = batch.reclaim(page) {
        pages.give(page);
    }
}
