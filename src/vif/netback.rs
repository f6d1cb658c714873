//! netback: the rings of one client.
//!
//! A pass over a client is: [`Netback::deliver`] queues copies of what waits for it into its buffers,
//! [`Netback::collect`] takes what it sent and queues the copies into our pages, the hypervisor runs the batch,
//! [`Netback::settle`] publishes the answers and hands out the frames that arrived. The answers are written where
//! slots and buffers are taken, and changed if a copy fails.
//!
//! Whatever a client does wrong ends at worst its own connection ([`ClientBroken`]).

mod deliver;

use crate::base::bug::OrBug;
use crate::base::time::Moment;
use crate::vif::backpressure::{Budget, EgressLimits};
use crate::vif::channels::Channels;
use crate::vif::chunks::{Chunks, MAX_SEGMENTS};
use crate::vif::fair_queue::{FairQueue, Room};
use crate::vif::features::{Features, Support};
use crate::vif::frame::{Frame, NoFrame};
use crate::vif::in_flight::{Arrival, ArrivalKind, InFlight, Landing, Single};
use crate::vif::parcel::Parcel;
use crate::vif::ring::{BackRing, RING_SIZE, RingBroken, Wakeup};
use crate::vif::rx::RX_BYTES;
use crate::vif::slots::{
    MAX_SLOTS, PacketSlot, TX_BYTES, TxPacket, TxRequest, TxStatus, TxViolation, read_packet, tx_response,
};
use crate::vif::token_bucket::TokenBucket;
use crate::wire::ethernet::HEADER_BYTES;
use crate::wire::packet::Packet;
use crate::xen::bounce::{BOUNCE_BYTES, BounceBuffers};
use crate::xen::charge::ClientCharges;
use crate::xen::copy::{CopyBatch, Lent, NO_RESULT, Remote};
use crate::xen::page::{PAGE_BYTES, Page};
use crate::xen::page_pool::{Chunk, PagePool};
use crate::xen::{DomainId, MappedPage, Xen};
use core::time::Duration;

/// Pages of the frames that may wait for one client to post buffers, if its account has room for so many: one ring of
/// buffers' worth.
const QUEUE_PAGES: usize = RING_SIZE as usize;

/// How long a frame waits for buffers: as long as under Linux's netback (`rx_drain_timeout_msecs`).
const PATIENCE: Duration = Duration::from_secs(10);

/// What a client may send in one round before it is the next one's turn, in bytes as [`cost`] counts them:
/// about 90 small packets, or two of the largest kind.
const QUANTUM: i32 = 192 << 10;

/// What a packet costs, in bytes: its own, and 2,048 for each of its slots, filled or not, because a slot's copy and
/// what else it takes cost us about as much time as those.
fn cost(bytes: u16, slots: usize) -> i32 {
    const PER_SLOT: i32 = 2048;
    i32::from(bytes) + PER_SLOT * slots as i32
}

/// Most copies that one packet can need: each of its chunks may go into two of the client's buffers. From a client,
/// where each slot is copied in one piece, it is at most [`MAX_SLOTS`].
pub const COPIES_PER_PACKET: usize = 2 * MAX_SEGMENTS;

/// Why a vif cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientBroken {
    /// A ring index makes no sense.
    Ring,
    /// Transmit slots that no frontend writes by mistake.
    Transmit(TxViolation),
}

impl From<RingBroken> for ClientBroken {
    fn from(_: RingBroken) -> Self {
        Self::Ring
    }
}

impl core::fmt::Display for ClientBroken {
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
pub struct ClientTraffic {
    /// Packets taken from the client.
    pub received: u64,
    /// Packets put into its buffers.
    pub sent: u64,
    /// Packets of the client answered with an error: bad sizes, bad grants, too many slots.
    pub refused: u64,
    /// Packets of the client dropped because it may take no more pages.
    pub no_page: u64,
    /// Packets for the client dropped because it did not post buffers fast enough.
    pub queue_full: u64,
    /// Packets for the client dropped because it posted no buffers for too long.
    pub expired: u64,
    /// Packets for the client lost because a buffer it posted could not be written.
    pub bad_buffer: u64,
}

/// What became of a packet that was collected.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "most are single, and nothing is allocated for the others")]
pub enum Settled {
    /// It is the next of [`InFlight::singles`].
    Single,
    /// It arrived.
    Frame(Frame),
    /// It is lost.
    Nothing,
}

/// The connected rings of one client.
#[derive(Debug)]
pub struct Netback {
    client: DomainId,
    charges: ClientCharges,
    channels: Channels,
    features: Features,
    tx: BackRing<MappedPage, TX_BYTES>,
    rx: BackRing<MappedPage, RX_BYTES>,
    queue: FairQueue,
    /// Nothing in the queue is dropped before.
    expiry: Moment,
    /// What the client may still send in this round (deficit round robin); negative if its last packet was
    /// larger than that.
    credit: i32,
    /// Slots that the largest packet of its last turns took up on the way out; shrinks by an eighth with each turn of
    /// smaller ones.
    usual_slots: usize,
    /// What it may send in the long run.
    bucket: TokenBucket,
    /// How many of the arrivals in flight are ours: the oldest ones when our turn to settle comes.
    arriving: usize,
    /// Likewise of the departures.
    departing: usize,
    traffic: ClientTraffic,
}

impl Netback {
    /// Takes up mapped rings; the client's packets are on `charges`. The pages come back when an index makes no sense.
    pub fn connect(
        client: DomainId,
        charges: ClientCharges,
        channels: Channels,
        features: Features,
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
            charges,
            channels,
            features,
            tx,
            rx,
            queue: FairQueue::with_capacity(QUEUE_PAGES as u16),
            expiry: Moment::default(),
            credit: 0,
            usual_slots: 1,
            bucket: TokenBucket::new(None, Moment::default()),
            arriving: 0,
            departing: 0,
            traffic: ClientTraffic::default(),
        })
    }

    /// Limits what the client may send, from what was left of the limit before.
    pub fn set_bucket(&mut self, bucket: TokenBucket) {
        self.bucket = bucket;
    }

    /// What is left of its limit.
    pub fn bucket(&self) -> TokenBucket {
        self.bucket
    }

    /// Whether packets are taken from the client: as the uplink allows, and unless it has sent as much as it may.
    pub fn intake(&mut self, uplink: Budget, now: Moment) -> Budget {
        self.bucket.refill(now);
        if self.bucket.is_empty() { Budget::Wait } else { uplink }
    }

    /// When packets are taken again from a client that has sent as much as it may, or what waits for it is dropped.
    pub fn deadline(&self) -> Option<Moment> {
        let dropped = (!self.queue.is_empty()).then_some(self.expiry);
        self.bucket.due().into_iter().chain(dropped).min()
    }

    /// Takes packets that the client sent, as many as its turn allows, and queues the copies into pages of ours. If all
    /// of them leave by `way_out`, they take up fewer than `slots` there; returns how many.
    pub fn collect(
        &mut self,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
        slots: usize,
        way_out: EgressLimits,
    ) -> Result<usize, ClientBroken> {
        let mut waiting = self.tx.waiting()?;
        if waiting == 0 {
            self.credit = 0;
            return Ok(0);
        }
        self.credit = (self.credit + QUANTUM).min(QUANTUM);
        self.usual_slots = (self.usual_slots - self.usual_slots.div_ceil(8)).max(1);
        let mut packet = TxPacket::default();
        let mut taken = 0;
        while waiting > 0
            && self.credit > 0
            && !self.bucket.is_empty()
            && taken + self.usual_slots.max(MAX_SLOTS) < slots
            && batch.room() >= MAX_SLOTS
        {
            waiting -= 1;
            let request = TxRequest::parse(self.tx.take());
            if request.is_single() && usize::from(request.size) <= usize::from(way_out.mtu) + HEADER_BYTES {
                self.fetch_single(request, batch, in_flight, pages);
                self.credit -= cost(request.size, 1);
                self.bucket.take(request.size);
                taken += 1;
                continue;
            }
            let outcome = read_packet(&mut packet, request, || {
                waiting = waiting.checked_sub(1)?;
                Some(self.tx.take())
            });
            match outcome.map_err(ClientBroken::Transmit)? {
                Ok(()) => self.fetch(&packet, batch, in_flight, pages),
                Err(_) => {
                    self.traffic.refused += 1;
                    packet.answers.respond(TxStatus::Error, |response| self.tx.respond(response));
                }
            }
            self.credit -= cost(packet.bytes, packet.answers.count());
            self.bucket.take(packet.bytes);
            let leaving = way_out.slots(&packet);
            self.usual_slots = self.usual_slots.max(leaving);
            taken += leaving;
        }
        Ok(taken)
    }

    /// Queues the copy of a packet of one slot.
    fn fetch_single(
        &mut self,
        request: TxRequest,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pool: &mut PagePool,
    ) {
        let TxRequest { reference, offset, flags, id, size } = request;
        let mut copy = batch.waiting() as u32;
        let from = Remote { domain: self.client, reference, offset };
        let is_small = usize::from(size) <= BOUNCE_BYTES;
        let bounce = if is_small { batch.bounces.take() } else { None };
        let (landing, copied) = if let Some(bounce) = bounce {
            let copied = batch.copy_into_bounce(from, &bounce, size);
            (Landing::Bounce(bounce), copied)
        } else if let Some(page) = pool.take(self.charges.sent()) {
            let mut page = batch.lend(page);
            let copied = batch.copy_in(from, &mut page, 0, size);
            (Landing::Page(page), copied)
        } else {
            self.traffic.no_page += 1;
            return self.tx.respond(tx_response(id, TxStatus::Dropped));
        };
        // Not refused: there is room for a packet's copies, and the bytes are within the page.
        if copied.or_bug("a copy in that the batch refuses").is_err() {
            copy = NO_RESULT;
        }
        self.arriving += 1;
        let (answer, checksum) = (self.tx.next_response(), flags.checksum());
        in_flight.singles.push(Single { landing, bytes: size, checksum, answer, copy });
        in_flight.kinds.push(ArrivalKind::Single);
        self.tx.respond(tx_response(id, TxStatus::Okay));
    }

    /// Queues the copies of one packet: each slot in one piece, behind the one before if it fits into the same page.
    fn fetch(
        &mut self,
        packet: &TxPacket,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pool: &mut PagePool,
    ) {
        if !pool.has_room(self.charges.sent(), packet.slots.len()) {
            self.traffic.no_page += 1;
            return packet.answers.respond(TxStatus::Dropped, |response| self.tx.respond(response));
        }
        let mut first_copy = batch.waiting() as u32;
        let mut pages = 0;
        let mut filling: Option<(Lent<Page>, u16)> = None;
        for slot in packet.slots.iter().filter(|slot| slot.bytes > 0) {
            let fits = |&(_, filled): &(Lent<Page>, u16)| usize::from(filled + slot.bytes) <= PAGE_BYTES;
            let (mut page, filled) = match filling.take() {
                Some(present) if fits(&present) => present,
                full => {
                    if let Some(full) = full {
                        in_flight.arriving.push(full);
                    }
                    let Some(page) = pool.take(self.charges.sent()) else { break };
                    pages += 1;
                    (batch.lend(page), 0)
                }
            };
            let PacketSlot { reference, offset, bytes } = *slot;
            // Not refused: there is room for a packet's copies, and the bytes are within the page. If one of them is
            // missing, all count as failed.
            let from = Remote { domain: self.client, reference, offset };
            let copy = batch.copy_in(from, &mut page, filled, bytes);
            if copy.or_bug("a copy in that the batch refuses").is_err() {
                first_copy = NO_RESULT;
            }
            filling = Some((page, filled + bytes));
        }
        if let Some(last) = filling {
            in_flight.arriving.push(last);
        }
        self.arriving += 1;
        in_flight.kinds.push(ArrivalKind::Several);
        in_flight.arrivals.push(Arrival {
            answer: self.tx.next_response(),
            answers: packet.answers.count() as u8,
            extras: packet.answers.extras as u8,
            pages,
            copies: first_copy..batch.waiting() as u32,
            offload: packet.offload,
        });
        packet.answers.respond(TxStatus::Okay, |response| self.tx.respond(response));
    }

    /// Slots that its next packet is expected to take up on the way out: as many as the largest of its last ones.
    pub fn usual_slots(&self) -> usize {
        self.usual_slots
    }

    /// What the client can take.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The accounts of its pages.
    pub fn charges(&self) -> ClientCharges {
        self.charges
    }

    /// Queues a frame for the client, which must be able to [take](Features::accept) it. When too much waits already,
    /// drops the oldest frame of the account that has most waiting, or this one if that is its own account. From here
    /// on its pages are charged to the receiver.
    #[inline]
    pub fn send(&mut self, mut frame: Frame, pages: &mut PagePool, now: Moment) {
        let charge = self.charges.waiting();
        let Self { queue, traffic, .. } = self;
        let fits = frame.bytes() <= PAGE_BYTES || self.features.scatter_gather == Support::Yes;
        let count = frame.segments().len();
        let limit = if pages.has_room(charge, count) {
            QUEUE_PAGES
        } else {
            // As few as leave room for the frame's pages on the account.
            QUEUE_PAGES.min((queue.pages() + 1 + pages.room(charge)).saturating_sub(count))
        };
        let mut give_up = |frame: Frame, pages: &mut PagePool| {
            traffic.queue_full += 1;
            frame.release(pages);
        };
        if !fits
            || self.features.accept(frame.offload()) == Support::No
            || queue.make_room(frame.account(), limit, |frame| give_up(frame, pages)) == Room::None
        {
            return give_up(frame, pages);
        }
        frame.move_to(charge, pages);
        if self.features.blank_checksum == Support::No {
            frame.complete_checksum();
        }
        if queue.is_empty() {
            self.expiry = now + PATIENCE;
        }
        frame.wait_since(now);
        if let Err(frame) = queue.push(frame) {
            give_up(frame, pages);
        }
    }

    /// Drops a frame for which there is no room.
    pub fn refuse(&mut self, frame: Frame, pages: &mut PagePool) {
        self.traffic.queue_full += 1;
        frame.release(pages);
    }

    /// After the batch ran: publishes the answers, gives pages back, hands each frame that arrived to `arrived`, and
    /// tells the client if it asked to be.
    pub fn settle<X: Xen>(
        &mut self,
        batch: &CopyBatch,
        in_flight: &mut InFlight,
        xen: &mut X,
        mut arrived: impl FnMut(Settled),
    ) {
        for _ in 0..core::mem::take(&mut self.departing) {
            self.settle_departure(batch, in_flight, xen.pages());
        }
        for _ in 0..core::mem::take(&mut self.arriving) {
            match in_flight.kinds.pop() {
                Some(ArrivalKind::Single) => {
                    self.settle_single(batch, in_flight);
                    arrived(Settled::Single);
                }
                Some(ArrivalKind::Several) => {
                    arrived(
                        self.settle_arrival(batch, in_flight, xen.pages())
                            .map_or(Settled::Nothing, Settled::Frame),
                    );
                }
                None => break,
            }
        }
        let (tx, rx) = (self.tx.publish(), self.rx.publish());
        self.channels.notify(xen, tx, rx);
    }

    /// A packet of this client as a frame, on its account. What has no page and gets none is lost, and counted.
    ///
    /// # Errors
    /// It is shorter than an Ethernet header, or there is no page.
    pub fn keep(
        &mut self,
        parcel: Parcel,
        bounces: &mut BounceBuffers,
        pages: &mut PagePool,
    ) -> Result<Frame, NoFrame> {
        let frame = parcel.into_frame(bounces, self.charges.sent(), pages);
        self.traffic.no_page += u64::from(matches!(frame, Err(NoFrame::NoPage)));
        frame
    }

    /// Notes of the next packet of one slot whether it has arrived: it is taken out of `in_flight` later.
    #[inline(always)]
    fn settle_single(&mut self, batch: &CopyBatch, in_flight: &mut InFlight) {
        let place = in_flight.settled;
        in_flight.settled += 1;
        let Some(single) = in_flight.singles.get_mut(place) else { return };
        match batch.result_of(single.copy) {
            Ok(()) => self.traffic.received += 1,
            Err(_) => {
                single.bytes = 0;
                self.traffic.refused += 1;
                self.fail_arrival(single.answer, 1, 0);
            }
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
        let mut pieces = in_flight.arriving.take(arrival.pages);
        if result.is_err() {
            self.traffic.refused += 1;
            self.fail_arrival(arrival.answer, arrival.answers, arrival.extras);
            pieces.for_each(|(page, _)| give_back(page, batch, pool));
            return None;
        }
        let mut private = |(page, bytes)| {
            batch.reclaim(page).or_bug("a page that was lent is not given back").ok().map(|page| Chunk {
                page,
                offset: 0,
                bytes,
            })
        };
        let mut segments = Chunks::one(pieces.next().and_then(&mut private)?);
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

    /// Changes `count` answers from `first` on, which are not published yet: the packet could not be read.
    #[cold]
    fn fail_arrival(&mut self, first: u32, count: u8, extras: u8) {
        for at in (0..count).filter(|at| !(1..=extras).contains(at)) {
            self.tx.amend(first.wrapping_add(at.into()), |[i0, i1, ..]| {
                tx_response(u16::from_le_bytes([i0, i1]), TxStatus::Error)
            });
        }
    }

    /// Asks to be notified of the client's next packet, unless what it sends has to wait, and, if frames wait for
    /// buffers, of as many as the next frame takes.
    pub fn arm(&mut self, intake: Budget) -> Result<Wakeup, ClientBroken> {
        let transmit = match intake {
            Budget::Slots(_) => self.tx.arm(1)?,
            Budget::Wait => Wakeup::Armed,
        };
        let Some(frame) = self.queue.front() else { return Ok(transmit) };
        let posted = self.rx.arm(buffers_for(frame) as u32)?;
        Ok(if transmit == Wakeup::MoreToDo { transmit } else { posted })
    }

    /// Pages of the frames that wait for buffers.
    pub fn waiting(&self) -> usize {
        self.queue.pages()
    }

    /// The event channels that the client notifies.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// What passed so far.
    pub fn traffic(&self) -> ClientTraffic {
        self.traffic
    }

    /// Lets go of the rings, after [`Self::settle`]: closes the event channels, unmaps the pages, drops what
    /// waits. In this order, so that nothing uses a page that is not mapped.
    pub fn disconnect(self, xen: &mut impl Xen) {
        self.channels.close(xen);
        for page in [self.tx.into_page(), self.rx.into_page()] {
            unmap(xen, page);
        }
        self.queue.release(xen.pages());
        xen.pages().close(self.charges);
    }
}

/// Buffers that a frame takes up: those that its bytes fill, and one that is given up for an extra-info entry.
fn buffers_for(frame: &Frame) -> usize {
    frame.bytes().div_ceil(PAGE_BYTES) + usize::from(frame.offload().gso.is_some())
}

/// Unmaps a ring page; a failure costs one address and is reported.
pub fn unmap(xen: &mut impl Xen, page: MappedPage) {
    if let Err(error) = xen.unmap(page) {
        log::error!("a client's ring page cannot be unmapped: {error}");
    }
}

fn give_back(page: Lent<Page>, batch: &CopyBatch, pages: &mut PagePool) {
    // Never refused: the batch has run since the page was lent to it.
    if let Ok(page) = batch.reclaim(page).or_bug("a page that was lent is not given back") {
        pages.give(page);
    }
}
