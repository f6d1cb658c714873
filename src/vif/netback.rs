//! netback: the rings of one client.
//!
//! A pass over a client is: [`Netback::collect`] takes what it sent and queues the copies into our pages,
//! [`Netback::deliver`] queues copies of what waits for it into its buffers, the hypervisor runs the batch,
//! [`Netback::settle`] answers every slot and hands out the frames that arrived.
//!
//! Whatever a client does wrong ends at worst its own connection ([`Broken`]).

use crate::packet::{Datagram, Gso};
use crate::vif::abilities::{Abilities, Support};
use crate::vif::channels::Channels;
use crate::vif::frame::Frame;
use crate::vif::in_flight::{Arrival, Departure, InFlight, RxAnswer};
use crate::vif::intake::Intake;
use crate::vif::ring::{BackRing, RING_SIZE, RingBroken, Wakeup};
use crate::vif::rx::{RX_BYTES, RxFlags, RxRequest, RxResponse};
use crate::vif::segments::{MAX_SEGMENTS, Segments};
use crate::vif::slots::{
    Fragment, MAX_SLOTS, TX_BYTES, TxPacket, TxStatus, TxViolation, read_packet, responses, tx_response,
};
use crate::xen::copy::{CopyBatch, LentPage, Remote};
use crate::xen::page::{PAGE_BYTES, PagePool, Segment};
use crate::xen::{DomainId, MappedPage, Xen};
use alloc::collections::VecDeque;

/// Frames that may wait for one client to post buffers: one ring of buffers' worth.
const QUEUE_FRAMES: usize = RING_SIZE as usize;

/// Pages of the frames that may wait.
const QUEUE_PAGES: usize = RING_SIZE as usize;

/// When the pool is short of pages, each client's frames that wait may still take this many.
const QUEUE_PAGES_UNDER_PRESSURE: usize = 24;

/// What a client may send in one round before it is the next one's turn, in bytes as [`cost`] counts them:
/// about 64 small packets, or two of the largest kind.
const QUANTUM: i32 = 144 << 10;

/// What a packet costs, in bytes: its own, and as many as take the time that goes into a packet of any size.
fn cost(bytes: u16) -> i32 {
    const PER_PACKET: i32 = 2048;
    PER_PACKET + i32::from(bytes)
}

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

/// The connected rings of one client.
#[derive(Debug)]
pub struct Netback {
    client: DomainId,
    channels: Channels,
    abilities: Abilities,
    tx: BackRing<MappedPage, TX_BYTES>,
    rx: BackRing<MappedPage, RX_BYTES>,
    queue: VecDeque<Frame>,
    /// Pages of the frames in the queue.
    queued_pages: usize,
    /// What the client may still send in this round (deficit round robin); negative if its last packet was
    /// larger than that.
    credit: i32,
    /// How many of the arrivals in flight are ours: the oldest ones when our turn to settle comes.
    arriving: usize,
    /// Likewise of the departures.
    departing: usize,
    traffic: Traffic,
}

impl Netback {
    /// Takes up mapped rings. The pages come back when an index makes no sense.
    pub fn connect(
        client: DomainId,
        channels: Channels,
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
            channels,
            abilities,
            tx,
            rx,
            queue: VecDeque::with_capacity(QUEUE_FRAMES),
            queued_pages: 0,
            credit: 0,
            arriving: 0,
            departing: 0,
            traffic: Traffic::default(),
        })
    }

    /// Takes packets that the client sent, as many as its turn allows, and queues the copies into pages of ours.
    /// Takes no packets that may take up more than `slots`; says how many slots it took.
    pub fn collect(
        &mut self,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
        slots: usize,
    ) -> Result<usize, Broken> {
        let mut waiting = self.tx.waiting()?;
        if waiting == 0 {
            self.credit = 0;
            return Ok(0);
        }
        self.credit = (self.credit + QUANTUM).min(QUANTUM);
        let mut packet = TxPacket::default();
        let mut taken = 0;
        // An empty fragment takes a slot and no copy.
        while waiting > 0
            && self.credit > 0
            && taken + MAX_SLOTS < slots
            && batch.room() >= MAX_SLOTS
            && in_flight.ids.room() >= MAX_SLOTS
        {
            let outcome = read_packet(&mut packet, || {
                waiting = waiting.checked_sub(1)?;
                Some(self.tx.take())
            });
            match outcome.map_err(Broken::Transmit)? {
                Ok(()) => self.fetch(&packet, batch, in_flight, pages),
                Err(_) => {
                    self.traffic.refused += 1;
                    self.answer(&packet, TxStatus::Error);
                }
            }
            self.credit -= cost(packet.bytes);
            taken += packet.fragments.len() + packet.answers.extras;
        }
        Ok(taken)
    }

    /// Queues the copies of one packet: each fragment in one piece, behind the one before if it fits there.
    fn fetch(
        &mut self,
        packet: &TxPacket,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pool: &mut PagePool,
    ) {
        if pool.free() < packet.fragments.len() {
            self.traffic.no_page += 1;
            return self.answer(packet, TxStatus::Dropped);
        }
        let first_copy = batch.waiting() as u32;
        let mut pages = 0;
        let mut filling: Option<(LentPage, u16)> = None;
        for fragment in packet.fragments.iter().filter(|fragment| fragment.bytes > 0) {
            let fits = |&(_, filled): &(LentPage, u16)| usize::from(filled + fragment.bytes) <= PAGE_BYTES;
            let (mut page, filled) = match filling.take() {
                Some(present) if fits(&present) => present,
                full => {
                    if let Some(full) = full {
                        in_flight.arriving.push(full);
                    }
                    let Some(page) = pool.take() else { break };
                    pages += 1;
                    (batch.lend(page), 0)
                }
            };
            let Fragment { reference, offset, bytes } = *fragment;
            // Never refused: there is room for a packet's copies, and the bytes are within the page.
            let _ =
                batch.copy_in(Remote { domain: self.client, reference, offset }, &mut page, filled, bytes);
            filling = Some((page, filled + bytes));
        }
        if let Some(last) = filling {
            in_flight.arriving.push(last);
        }
        packet.answers.ids.iter().for_each(|&id| in_flight.ids.push(id));
        self.arriving += 1;
        in_flight.arrivals.push(Arrival {
            ids: packet.answers.ids.len() as u8,
            extras: packet.answers.extras as u8,
            pages,
            copies: first_copy..batch.waiting() as u32,
            offload: packet.offload,
        });
    }

    fn answer(&mut self, packet: &TxPacket, status: TxStatus) {
        for response in responses(packet.answers.ids.iter().copied(), packet.answers.extras, status) {
            self.tx.respond(response);
        }
    }

    /// What the client can take.
    pub fn abilities(&self) -> Abilities {
        self.abilities
    }

    /// Queues a frame for the client, which must be able to [take](Abilities::take) it; drops it when too many
    /// wait already.
    pub fn send(&mut self, mut frame: Frame, pages: &mut PagePool, pressure: Pressure) {
        let limit = match pressure {
            Pressure::Low => QUEUE_PAGES,
            Pressure::High => QUEUE_PAGES_UNDER_PRESSURE,
        };
        let fits = frame.bytes() <= PAGE_BYTES || self.abilities.scatter_gather == Support::Yes;
        let is_full = self.queue.len() >= QUEUE_FRAMES || self.queued_pages >= limit;
        if is_full || !fits || self.abilities.take(frame.offload()) == Support::No {
            self.traffic.queue_full += 1;
            return frame.release(pages);
        }
        if self.abilities.blank_checksum == Support::No {
            frame.complete_checksum();
        }
        self.queued_pages += frame.segments().len();
        self.queue.push_back(frame);
    }

    /// Queues the copies of waiting frames into buffers that the client posted.
    pub fn deliver(
        &mut self,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
    ) -> Result<(), Broken> {
        let mut buffers = self.rx.waiting()? as usize;
        while let Some(frame) = self.queue.front() {
            let wanted = buffers_for(frame);
            if buffers < wanted || batch.room() < COPIES_PER_PACKET {
                break;
            }
            buffers -= wanted;
            if let Some(frame) = self.queue.pop_front() {
                self.queued_pages -= frame.segments().len();
                self.store(frame, batch, in_flight, pages);
            }
        }
        Ok(())
    }

    /// Queues the copies of one frame, each buffer filled from its start.
    fn store(&mut self, frame: Frame, batch: &mut CopyBatch, in_flight: &mut InFlight, pool: &mut PagePool) {
        let (segments, offload) = frame.into_parts();
        let first_copy = batch.waiting() as u32;
        let first_answer = in_flight.responses.added();
        let mut pages = 0;
        let mut flags = RxFlags::for_checksum(offload.checksum);
        flags.set(RxFlags::EXTRA_INFO, offload.gso.is_some());
        let mut extra = offload.gso;
        // The buffer that is being filled, and how far.
        let mut buffer: Option<(RxRequest, u16)> = None;
        let chain = segments.hand_over(|Segment { page, mut offset, bytes }| {
            let page = batch.lend(page);
            let mut left = bytes;
            while left > 0 {
                let (request, filled) = match buffer.take() {
                    Some((request, filled)) if usize::from(filled) < PAGE_BYTES => (request, filled),
                    full => {
                        if let Some((RxRequest { id, .. }, filled)) = full {
                            let status = filled as i16;
                            let data =
                                RxResponse { id, offset: 0, flags: flags | RxFlags::MORE_DATA, status };
                            in_flight.responses.push(RxAnswer::Data(data));
                            flags = RxFlags::empty();
                            self.give_up_slot(extra.take(), in_flight);
                        }
                        (RxRequest::parse(self.rx.take()), 0)
                    }
                };
                let moved = left.min(PAGE_BYTES as u16 - filled);
                let to = Remote { domain: self.client, reference: request.reference, offset: filled };
                // Never refused: there is room for a frame's copies, and the bytes are within the page.
                let _ = batch.copy_out(&page, offset, to, moved);
                buffer = Some((request, filled + moved));
                offset += moved;
                left -= moved;
            }
            in_flight.departing.push(page);
            pages += 1;
        });
        if let Some(chain) = chain {
            pool.give_chain(chain);
        }
        if let Some((RxRequest { id, .. }, filled)) = buffer {
            let data = RxResponse { id, offset: 0, flags, status: filled as i16 };
            in_flight.responses.push(RxAnswer::Data(data));
            self.give_up_slot(extra.take(), in_flight);
        }
        self.departing += 1;
        let responses = (in_flight.responses.added() - first_answer) as u8;
        let copies = first_copy..batch.waiting() as u32;
        in_flight.departures.push(Departure { pages, responses, copies });
    }

    /// Behind a packet's first slot: the next one is given up for an extra-info entry, if it has one.
    fn give_up_slot(&mut self, extra: Option<Gso>, in_flight: &mut InFlight) {
        if let Some(gso) = extra {
            let RxRequest { id, .. } = RxRequest::parse(self.rx.take());
            in_flight.responses.push(RxAnswer::Extra(id, gso));
        }
    }

    /// After the batch ran: answers every slot, gives pages back, hands each frame that arrived to `arrived`, and
    /// tells the client if it asked to be.
    pub fn settle<X: Xen>(
        &mut self,
        batch: &CopyBatch,
        in_flight: &mut InFlight,
        xen: &mut X,
        mut arrived: impl FnMut(Frame),
    ) {
        for _ in 0..core::mem::take(&mut self.departing) {
            self.settle_departure(batch, in_flight, xen.pages());
        }
        for _ in 0..core::mem::take(&mut self.arriving) {
            if let Some(frame) = self.settle_arrival(batch, in_flight, xen.pages()) {
                arrived(frame);
            }
        }
        let (tx, rx) = (self.tx.publish(), self.rx.publish());
        self.channels.notify(xen, tx, rx);
    }

    fn settle_departure(&mut self, batch: &CopyBatch, in_flight: &mut InFlight, pages: &mut PagePool) {
        let Some(departure) = in_flight.departures.pop() else { return };
        let result = batch.result(departure.copies);
        match result {
            Ok(()) => self.traffic.sent += 1,
            Err(_) => self.traffic.bad_buffer += 1,
        }
        for answer in in_flight.responses.take(departure.responses) {
            self.rx.respond(if result.is_ok() { answer.encode() } else { answer.encode_failure() });
        }
        for page in in_flight.departing.take(departure.pages) {
            give_back(page, batch, pages);
        }
    }

    fn settle_arrival(
        &mut self,
        batch: &CopyBatch,
        in_flight: &mut InFlight,
        pool: &mut PagePool,
    ) -> Option<Frame> {
        let arrival = in_flight.arrivals.pop()?;
        let result = batch.result(arrival.copies);
        let status = if result.is_ok() { TxStatus::Okay } else { TxStatus::Error };
        match (arrival.ids, arrival.extras, in_flight.ids.pop()) {
            // Most packets, with least effort.
            (1, 0, Some(id)) => self.tx.respond(tx_response(id, status)),
            (ids, extras, first) => {
                let ids = first.into_iter().chain(in_flight.ids.take(ids.saturating_sub(1)));
                responses(ids, extras.into(), status).for_each(|response| self.tx.respond(response));
            }
        }
        let mut pieces = in_flight.arriving.take(arrival.pages);
        if result.is_err() {
            self.traffic.refused += 1;
            pieces.for_each(|(page, _)| give_back(page, batch, pool));
            return None;
        }
        let mut private =
            |(page, bytes)| batch.reclaim(page).ok().map(|page| Segment { page, offset: 0, bytes });
        let mut segments = Segments::one(pieces.next().and_then(&mut private)?);
        let mut lost = 0;
        for segment in pieces.filter_map(private) {
            if let Err(refused) = segments.push(segment, pool) {
                pool.give(refused.page);
                lost += 1;
            }
        }
        if lost > 0 {
            // No chain was free to hold its pages together.
            self.traffic.no_page += 1;
            segments.release(pool);
            return None;
        }
        self.traffic.received += 1;
        Frame::new(segments, arrival.offload, pool).ok()
    }

    /// Asks to be notified of the client's next packet, unless what it sends has to wait, and of buffers if
    /// frames wait for some.
    pub fn arm(&mut self, intake: Intake) -> Result<Wakeup, Broken> {
        let transmit = match intake {
            Intake::Open(_) => self.tx.arm(1)?,
            Intake::Held => Wakeup::Armed,
        };
        let Some(frame) = self.queue.front() else { return Ok(transmit) };
        let posted = self.rx.arm(buffers_for(frame) as u32)?;
        Ok(if transmit == Wakeup::MoreToDo { transmit } else { posted })
    }

    /// The event channels that the client notifies.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// What passed so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Lets go of the rings, after [`Self::settle`]: closes the event channels, unmaps the pages, drops what
    /// waits. In this order, so that nothing uses a page that is not mapped.
    pub fn disconnect(self, xen: &mut impl Xen) {
        self.channels.close(xen);
        for page in [self.tx.into_page(), self.rx.into_page()] {
            unmap(xen, page);
        }
        for frame in self.queue {
            frame.release(xen.pages());
        }
    }
}

/// Buffers that a frame takes up: its bytes', and one that is given up for an extra-info entry.
fn buffers_for(frame: &Frame) -> usize {
    frame.bytes().div_ceil(PAGE_BYTES) + usize::from(frame.offload().gso.is_some())
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
