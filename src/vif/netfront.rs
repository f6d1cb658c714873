//! netfront: the rings towards the uplink.
//!
//! Received packets lie in pages of ours that the backend filled; they are private again once the grant is
//! ended. Packets to send are granted read-only page by page when they are ready to leave, never before.
//! The backend's domain is not trusted: every id, offset and length it returns is checked, and a page that it
//! still holds is not reused (XSA-396).

mod receive;

mod transmit;

use crate::vif::byte_limit::ByteLimit;
use crate::vif::channels::Channels;
use crate::vif::fair_queue::FairQueue;
use crate::vif::features::{Features, Support};
use crate::vif::frame::Frame;
use crate::vif::ring::{FrontRing, RING_SIZE, RingBroken, Wakeup};
use crate::vif::rx::RX_BYTES;
use crate::vif::slots::TX_BYTES;
use crate::xen::bounce::BOUNCES_PER_PAGE;
use crate::xen::charge::Charge;
use crate::xen::grant::{Access, GrantedPage, Gref};
use crate::xen::page::{PAGE_BYTES, Page};
use crate::xen::{DomainId, Xen, XenError};
use alloc::boxed::Box;
use alloc::vec::Vec;

const SLOTS: usize = RING_SIZE as usize;

/// Pages of the frames that may wait for the backend. One client alone may take half of them.
const QUEUE_PAGES: usize = 2 * SLOTS;

/// Pages in which there is a place for a small packet of each request id.
const SMALL_PAGES: usize = SLOTS / BOUNCES_PER_PAGE;

/// Bytes of the largest frame: its first request says how many in 16 bits.
const MOST_BYTES: usize = u16::MAX as usize;

/// Packets taken in one pass.
const PACKETS_PER_PASS: usize = SLOTS;

/// Why the connection to the backend cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkBroken {
    /// A ring index makes no sense.
    Ring,
    /// A response for a slot that has none outstanding.
    UnknownId,
    /// An extra-info slot of a kind that was not offered.
    ExtraInfo,
    /// A packet without its last slot, or of more slots than fit.
    Slots,
    /// It still uses more pages than it may of those that it has answered.
    KeptPages,
}

impl From<RingBroken> for UplinkBroken {
    fn from(_: RingBroken) -> Self {
        Self::Ring
    }
}

impl core::fmt::Display for UplinkBroken {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Ring => "a ring index makes no sense",
            Self::UnknownId => "a response to a request that was not made",
            Self::ExtraInfo => "an extra-info slot that was not offered",
            Self::Slots => "a packet without its last slot, or with too many",
            Self::KeptPages => "it answers and does not let go of the pages",
        })
    }
}

/// What passed the uplink's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UplinkTraffic {
    /// Packets received.
    pub received: u64,
    /// Packets sent.
    pub sent: u64,
    /// Received packets dropped for a status, offset or length that makes no sense, or an error.
    pub bad_packet: u64,
    /// Pages that the backend still used after it had answered.
    pub kept_page: u64,
    /// Packets to send dropped because the backend does not keep up.
    pub queue_full: u64,
    /// Packets to send dropped because no grant reference was free.
    pub no_grant: u64,
}

/// What is at the backend under a request id.
#[derive(Debug, Default)]
enum AtBackend {
    #[default]
    Nothing,
    /// A small packet of so many bytes, in the place of this id.
    Small(u16),
    /// A page with so many bytes.
    Page(GrantedPage, u16),
}

impl AtBackend {
    fn into_page(self) -> Option<GrantedPage> {
        match self {
            AtBackend::Page(granted, _) => Some(granted),
            AtBackend::Nothing | AtBackend::Small(_) => None,
        }
    }
}

/// The connected rings.
#[derive(Debug)]
pub struct Netfront {
    backend: DomainId,
    channels: Channels,
    features: Features,
    tx: FrontRing<GrantedPage, TX_BYTES>,
    /// What is at the backend, by request id.
    sent: Box<[AtBackend; SLOTS]>,
    /// Where small packets lie, by request id: [`BOUNCES_PER_PAGE`] in each page.
    small: Vec<GrantedPage>,
    tx_ids: Vec<u16>,
    rx: FrontRing<GrantedPage, RX_BYTES>,
    /// Posted buffers by ring slot, which is also their id.
    rx_pages: Box<[Option<GrantedPage>; SLOTS]>,
    queue: FairQueue,
    /// How often [`Self::room`] made a client wait for pages of its own that are here, since [`Self::take_awaited`].
    awaited: usize,
    limit: ByteLimit,
    /// Slots that the backend has answered, modulo 2³².
    answered: u32,
    /// Pages that the backend would not let go.
    kept: Vec<GrantedPage>,
    traffic: UplinkTraffic,
}

/// What to tell the backend in XenStore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `tx-ring-ref`
    pub tx_ring: Gref,
    /// `rx-ring-ref`
    pub rx_ring: Gref,
    /// `event-channel`, or `event-channel-tx` and `event-channel-rx`
    pub channels: Channels,
}

impl Netfront {
    /// Makes rings for `backend` and posts receive buffers. `features` says what the backend can take, `split`
    /// whether it takes one event channel per ring.
    pub fn create(
        xen: &mut impl Xen,
        backend: DomainId,
        features: Features,
        split: Support,
    ) -> Result<Self, XenError> {
        let channels = allocate_channels(xen, backend, split)?;
        let mut ring = || make_page(xen, backend, Access::ReadWrite);
        let rings = (ring(), ring());
        let (Some(tx), Some(rx)) = rings else {
            for page in [rings.0, rings.1].into_iter().flatten() {
                end(xen, page, &mut Vec::new());
            }
            channels.close(xen);
            return Err(XenError(-12));
        };
        let mut front = Self {
            backend,
            channels,
            features,
            tx: FrontRing::create(tx),
            sent: Box::new([const { AtBackend::Nothing }; SLOTS]),
            small: Vec::with_capacity(SMALL_PAGES),
            tx_ids: (0..RING_SIZE as u16).rev().collect(),
            rx: FrontRing::create(rx),
            rx_pages: Box::new([const { None }; SLOTS]),
            queue: FairQueue::with_capacity(QUEUE_PAGES as u16),
            awaited: 0,
            limit: ByteLimit::default(),
            answered: 0,
            kept: Vec::new(),
            traffic: UplinkTraffic::default(),
        };
        front.small.extend((0..SMALL_PAGES).map_while(|_| make_page(xen, backend, Access::ReadOnly)));
        front.post_buffers(xen);
        front.rx.publish();
        Ok(front)
    }

    /// What the backend needs to know.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            tx_ring: self.tx.page().reference(),
            rx_ring: self.rx.page().reference(),
            channels: self.channels,
        }
    }

    /// The event channels that the backend notifies.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// What the backend can take.
    pub fn features(&self) -> Features {
        self.features
    }

    /// The backend's domain.
    pub fn backend(&self) -> DomainId {
        self.backend
    }

    /// What passed so far.
    pub fn traffic(&self) -> UplinkTraffic {
        self.traffic
    }

    /// Clients that wait for pages of theirs, as [found](Self::room) since the last call.
    pub fn take_awaited(&mut self) -> usize {
        core::mem::take(&mut self.awaited)
    }

    /// Slots that the backend has to answer until all that waits for it now has left. Zero if no frame waits, and none
    /// of the [clients](Self::room) has waited for its pages since the last call.
    pub fn take_backlog(&mut self) -> usize {
        match self.queue.pages() + self.take_awaited() {
            0 => 0,
            _ => self.queue.pages() + self.tx.outstanding() as usize,
        }
    }

    /// The oldest frame of each account that waits for the backend. To look at.
    pub fn oldest(&self) -> impl Iterator<Item = &Frame> {
        self.queue.oldest()
    }

    /// Pages of the frames that wait for the backend.
    pub fn waiting(&self) -> usize {
        self.queue.pages()
    }

    /// Pages that are lent to the backend: rings and buffers, and packets that it has not answered. To look at.
    pub fn lent(&self) -> (usize, usize) {
        let posted = self.rx_pages.iter().flatten().count();
        let sent = self.sent.iter().filter(|sent| matches!(sent, AtBackend::Page(..)));
        (2 + self.small.len() + posted, sent.count())
    }

    /// Pages that it answered and still uses.
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// Slots that the backend has answered, modulo 2³².
    pub fn answered(&self) -> u32 {
        self.answered
    }

    /// Slots of the ring that can be written.
    pub fn free_slots(&self) -> usize {
        (self.tx.room() as usize).min(self.tx_ids.len())
    }

    /// Ends the grant of a page that the backend has answered; `None` when it still uses it.
    fn end(&mut self, granted: GrantedPage, xen: &mut impl Xen) -> Result<Option<Page>, UplinkBroken> {
        match xen.end_grant(granted) {
            Ok(page) => Ok(Some(page)),
            Err(granted) => self.keep(granted, xen).map(|()| None),
        }
    }

    /// Keeps a page that the backend has answered and still uses. Beyond the part that is for such pages the connection
    /// ends: in the end the backend would have them all.
    #[cold]
    fn keep(&mut self, mut granted: GrantedPage, xen: &mut impl Xen) -> Result<(), UplinkBroken> {
        xen.pages().keep(&mut granted);
        self.kept.push(granted);
        self.traffic.kept_page += 1;
        if xen.pages().is_beyond(Charge::KEPT) { Err(UplinkBroken::KeptPages) } else { Ok(()) }
    }

    /// Posts fresh buffers, makes requests visible, and tells the backend if it asked to be.
    pub fn publish(&mut self, xen: &mut impl Xen) {
        // Not before what was received is on its way: then its pages are free again, or somebody else's.
        self.post_buffers(xen);
        let (tx, rx) = (self.tx.publish(), self.rx.publish());
        self.channels.notify(xen, tx, rx);
    }

    /// Asks to be notified of the next packet, and, if something waits for pages or slots of what was sent, when half
    /// of that is answered. Otherwise answers are taken when there is something else to do.
    pub fn arm(&mut self) -> Result<Wakeup, UplinkBroken> {
        let received = self.rx.arm(1)?;
        let outstanding = self.tx.outstanding();
        let waits = !self.queue.is_empty()
            || self.awaited > 0
            || self.rx.room() > 0
            || self.tx.room() < RING_SIZE / 2;
        if outstanding == 0 || !waits || received == Wakeup::MoreToDo {
            return Ok(received);
        }
        Ok(self.tx.arm(outstanding / 2 + 1)?)
    }

    /// Lets go of everything: closes the event channels, ends every grant, drops what waits. Pages that the
    /// backend still holds are returned; they stay granted until a later [`end`] succeeds.
    pub fn disconnect(self, xen: &mut impl Xen) -> Vec<GrantedPage> {
        self.channels.close(xen);
        let mut kept = Vec::new();
        let rings = [self.tx.into_page(), self.rx.into_page()];
        let sent = self.sent.into_iter().filter_map(AtBackend::into_page);
        let buffers = sent.chain(self.rx_pages.into_iter().flatten());
        for granted in rings.into_iter().chain(self.small).chain(buffers).chain(self.kept) {
            end(xen, granted, &mut kept);
        }
        self.queue.release(xen.pages());
        kept
    }
}

/// Ends a grant; a page that the peer still holds goes to `kept`.
pub fn end(xen: &mut impl Xen, granted: GrantedPage, kept: &mut Vec<GrantedPage>) {
    match xen.end_grant(granted) {
        Ok(page) => xen.pages().give(page),
        Err(mut granted) => {
            xen.pages().keep(&mut granted);
            kept.push(granted);
        }
    }
}

fn allocate_channels(xen: &mut impl Xen, backend: DomainId, split: Support) -> Result<Channels, XenError> {
    let tx = xen.allocate_port(backend)?;
    if split == Support::No {
        return Ok(Channels::Shared(tx));
    }
    match xen.allocate_port(backend) {
        Ok(rx) => Ok(Channels::Split { tx, rx }),
        Err(error) => {
            xen.close_port(tx);
            Err(error)
        }
    }
}

/// A page of zeroes, granted for as long as the connection lasts.
fn make_page(xen: &mut impl Xen, backend: DomainId, access: Access) -> Option<GrantedPage> {
    let mut page = xen.pages().take(Charge::UPLINK)?;
    page.bytes_mut(0..PAGE_BYTES).fill(0);
    match xen.grant(backend, page, access, 0..PAGE_BYTES) {
        Ok(granted) => Some(granted),
        Err(page) => {
            xen.pages().give(page);
            None
        }
    }
}
