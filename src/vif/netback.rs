//! netback: the rings of one client.
//!
//! A pass over a client is: [`Netback::deliver`] queues copies of what waits for it into its buffers,
//! [`Netback::collect`] takes what it sent and queues the copies into our pages, the hypervisor runs the batch,
//! [`Netback::settle`] publishes the answers and notes what has arrived. The answers are written where slots and
//! buffers are taken, and changed if a copy fails. What need not wait goes into the batch before that
//! ([`Netback::deliver_now`]).
//!
//! Whatever a client does wrong ends at worst its own connection ([`ClientBroken`]).

mod collect;

mod deliver;

use crate::base::time::Moment;
use crate::vif::backpressure::Budget;
use crate::vif::channels::Channels;
use crate::vif::chunks::MAX_SEGMENTS;
use crate::vif::fair_queue::{FairQueue, Room};
use crate::vif::features::{Features, Support};
use crate::vif::frame::Frame;
use crate::vif::in_flight::InFlight;
use crate::vif::ring::{BackRing, RING_SIZE, RingBroken, Wakeup};
use crate::vif::rx::RX_BYTES;
use crate::vif::slots::{TX_BYTES, TxViolation};
use crate::vif::token_bucket::TokenBucket;
use crate::wire::packet::Packet;
use crate::xen::charge::ClientCharges;
use crate::xen::copy::CopyBatch;
use crate::xen::page::PAGE_BYTES;
use crate::xen::page_pool::PagePool;
use crate::xen::{DomainId, MappedPage, Xen};
use core::time::Duration;

/// Pages of the frames that may wait for one client to post buffers, if its account has room for so many: one ring of
/// buffers' worth.
const QUEUE_PAGES: usize = RING_SIZE as usize;

/// How long a frame waits for buffers: as long as under Linux's netback (`rx_drain_timeout_msecs`).
const PATIENCE: Duration = Duration::from_secs(10);

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
    /// How many of the packets in flight that were collected are ours: the first that are not settled when our turn comes.
    arriving: usize,
    /// How many of them are of several slots.
    several: usize,
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
            several: 0,
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

    /// After the batch ran: publishes the answers, gives pages back, notes in `in_flight` what has arrived, and tells the
    /// client if it asked to be.
    pub fn settle<X: Xen>(&mut self, batch: &CopyBatch, in_flight: &mut InFlight, xen: &mut X) {
        for _ in 0..core::mem::take(&mut self.departing) {
            self.settle_departure(batch, in_flight, xen.pages());
        }
        self.settle_collected(batch, in_flight, xen.pages());
        let (tx, rx) = (self.tx.publish(), self.rx.publish());
        self.channels.notify(xen, tx, rx);
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
#[inline(never)]
pub fn unmap(xen: &mut impl Xen, page: MappedPage) {
    if let Err(error) = xen.unmap(page) {
        log::error!("a client's ring page cannot be unmapped: {error}");
    }
}
