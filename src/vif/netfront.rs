//! netfront: the rings towards the uplink.
//!
//! Received packets lie in pages of ours that the backend filled; they are private again once the grant is
//! ended. Packets to send are granted read-only page by page when they are ready to leave, never before.
//! The backend's domain is not trusted: every id, offset and length it returns is checked, and a page that it
//! still holds is not reused (XSA-396).

use crate::packet::Checksum;
use crate::vif::frame::Frame;
use crate::vif::netback::Support;
use crate::vif::ring::{FrontRing, Notice, RING_SIZE, RingBroken, Wakeup};
use crate::vif::rx::{RX_BYTES, RxFlags, RxRequest, RxResponse};
use crate::vif::segments::{MAX_SEGMENTS, Segment, Segments};
use crate::vif::slots::{TX_BYTES, TxFlags, TxRequest};
use crate::xen::event::Port;
use crate::xen::grant::{Access, GrantedPage, Gref};
use crate::xen::page::{PAGE_BYTES, PagePool};
use crate::xen::{DomainId, Xen, XenError};
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use arrayvec::ArrayVec;

const SLOTS: usize = RING_SIZE as usize;

/// Frames that may wait for the backend to free slots.
const QUEUE_FRAMES: usize = SLOTS;

/// Packets taken in one pass.
const PACKETS_PER_PASS: usize = SLOTS;

/// Why the connection to the backend cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A ring index makes no sense.
    Ring,
    /// A response for a slot that has none outstanding.
    UnknownId,
    /// An extra-info slot: none was offered.
    ExtraInfo,
    /// A packet without its last slot, or of more slots than fit.
    Slots,
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
            Self::UnknownId => "a response to a request that was not made",
            Self::ExtraInfo => "an extra-info slot that was not offered",
            Self::Slots => "a packet without its last slot, or with too many",
        })
    }
}

/// What passed the uplink's rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
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

/// The connected rings.
#[derive(Debug)]
pub struct Netfront {
    backend: DomainId,
    port: Port,
    blank_checksum: Support,
    tx: FrontRing<GrantedPage, TX_BYTES>,
    /// Granted pages by request id.
    tx_pages: Box<[Option<GrantedPage>; SLOTS]>,
    tx_ids: Vec<u16>,
    rx: FrontRing<GrantedPage, RX_BYTES>,
    /// Posted buffers by ring slot, which is also their id.
    rx_pages: Box<[Option<GrantedPage>; SLOTS]>,
    queue: VecDeque<Frame>,
    /// Pages that the backend would not let go.
    kept: Vec<GrantedPage>,
    traffic: Traffic,
}

/// What to tell the backend in XenStore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// `tx-ring-ref`
    pub tx_ring: Gref,
    /// `rx-ring-ref`
    pub rx_ring: Gref,
    /// `event-channel`
    pub port: Port,
}

impl Netfront {
    /// Makes rings for `backend` and posts receive buffers. `blank_checksum`: whether it completes checksums.
    pub fn create(xen: &mut impl Xen, backend: DomainId, blank_checksum: Support) -> Result<Self, XenError> {
        let port = xen.allocate_port(backend)?;
        let rings = (make_ring(xen, backend), make_ring(xen, backend));
        let (Some(tx), Some(rx)) = rings else {
            for page in [rings.0, rings.1].into_iter().flatten() {
                end(xen, page, &mut Vec::new());
            }
            xen.close_port(port);
            return Err(XenError(-12));
        };
        let mut front = Self {
            backend,
            port,
            blank_checksum,
            tx: FrontRing::create(tx),
            tx_pages: Box::new([const { None }; SLOTS]),
            tx_ids: (0..RING_SIZE as u16).rev().collect(),
            rx: FrontRing::create(rx),
            rx_pages: Box::new([const { None }; SLOTS]),
            queue: VecDeque::with_capacity(QUEUE_FRAMES),
            kept: Vec::new(),
            traffic: Traffic::default(),
        };
        front.post_buffers(xen);
        front.rx.publish();
        Ok(front)
    }

    /// What the backend needs to know.
    pub fn addresses(&self) -> Addresses {
        Addresses {
            tx_ring: self.tx.page().reference(),
            rx_ring: self.rx.page().reference(),
            port: self.port,
        }
    }

    /// The event channel that the backend notifies.
    pub fn port(&self) -> Port {
        self.port
    }

    /// The backend's domain.
    pub fn backend(&self) -> DomainId {
        self.backend
    }

    /// What passed so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Takes received packets, hands each to `arrived`, and posts fresh buffers.
    pub fn receive<X: Xen>(
        &mut self,
        xen: &mut X,
        arrived: &mut impl FnMut(Frame, &mut X),
    ) -> Result<(), Broken> {
        let mut waiting = self.rx.waiting()?;
        for _ in 0..PACKETS_PER_PASS {
            if waiting == 0 {
                break;
            }
            if let Some(frame) = self.take_packet(xen, &mut waiting)? {
                self.traffic.received += 1;
                arrived(frame, xen);
            }
        }
        self.post_buffers(xen);
        Ok(())
    }

    /// Takes the slots of one packet; `None` when it is not usable.
    fn take_packet(&mut self, xen: &mut impl Xen, waiting: &mut u32) -> Result<Option<Frame>, Broken> {
        let mut segments: ArrayVec<Segment, MAX_SEGMENTS> = ArrayVec::new();
        let mut usable = true;
        let mut first_flags = None;
        loop {
            *waiting = waiting.checked_sub(1).ok_or(Broken::Slots)?;
            let (slot, entry) = self.rx.take();
            let response = RxResponse::parse(entry);
            let granted = self.rx_pages.get_mut(usize::from(slot)).and_then(Option::take);
            let granted = granted.filter(|_| response.id == slot).ok_or(Broken::UnknownId)?;
            if response.flags.intersects(RxFlags::EXTRA_INFO | RxFlags::GSO_PREFIX) {
                end(xen, granted, &mut self.kept);
                return Err(Broken::ExtraInfo);
            }
            first_flags.get_or_insert(response.flags);
            match (xen.end_grant(granted), u16::try_from(response.status)) {
                (Ok(page), Ok(bytes))
                    if usize::from(response.offset) + usize::from(bytes) <= PAGE_BYTES
                        && !segments.is_full() =>
                {
                    segments.push(Segment { page, offset: response.offset, bytes });
                }
                (Ok(page), _) => {
                    xen.pages().give(page);
                    usable = false;
                }
                (Err(granted), _) => {
                    self.kept.push(granted);
                    self.traffic.kept_page += 1;
                    usable = false;
                }
            }
            if !response.flags.contains(RxFlags::MORE_DATA) {
                break;
            }
        }
        let offload = first_flags.unwrap_or(RxFlags::empty()).offload();
        if !usable {
            segments.into_iter().for_each(|segment| xen.pages().give(segment.page));
        } else if let Some(segments) = Segments::of(segments.into_iter())
            && let Ok(frame) = Frame::new(segments, offload, xen.pages())
        {
            return Ok(Some(frame));
        }
        self.traffic.bad_packet += 1;
        Ok(None)
    }

    /// Fills the receive ring with wiped pages.
    fn post_buffers(&mut self, xen: &mut impl Xen) {
        while self.rx.room() > 0 {
            let slot = self.rx.next_slot();
            let Some(place) = self.rx_pages.get_mut(usize::from(slot)) else { break };
            let Some(mut page) = xen.pages().take() else { break };
            // The backend can read what it may write: nobody else's bytes (XSA-403).
            page.bytes_mut().fill(0);
            match xen.grant(self.backend, page, Access::ReadWrite) {
                Ok(granted) => {
                    self.rx.push(RxRequest { id: slot, reference: granted.reference() }.encode());
                    *place = Some(granted);
                }
                Err(page) => {
                    xen.pages().give(page);
                    break;
                }
            }
        }
    }

    /// Queues a frame for the backend; drops it when too many wait already.
    pub fn send(&mut self, mut frame: Frame, pages: &mut PagePool) {
        if self.queue.len() >= QUEUE_FRAMES {
            self.traffic.queue_full += 1;
            return frame.release(pages);
        }
        if self.blank_checksum == Support::No {
            frame.complete_checksum();
        }
        self.queue.push_back(frame);
    }

    /// Grants waiting frames to the backend, as far as the ring has room.
    pub fn transmit(&mut self, xen: &mut impl Xen) {
        while let Some(frame) = self.queue.front() {
            if (self.tx.room() as usize) < frame.segments().len()
                || self.tx_ids.len() < frame.segments().len()
            {
                break;
            }
            if let Some(mut frame) = self.queue.pop_front() {
                frame.wipe_surroundings();
                self.grant_frame(frame, xen);
            }
        }
    }

    fn grant_frame(&mut self, frame: Frame, xen: &mut impl Xen) {
        let total = frame.bytes();
        let (segments, offload) = frame.into_parts();
        let mut granted: ArrayVec<(GrantedPage, u16, u16), MAX_SEGMENTS> = ArrayVec::new();
        let mut failed = false;
        for Segment { page, offset, bytes } in segments {
            if bytes == 0 || failed {
                xen.pages().give(page);
                continue;
            }
            match xen.grant(self.backend, page, Access::ReadOnly) {
                Ok(grant) => granted.push((grant, offset, bytes)),
                Err(page) => {
                    xen.pages().give(page);
                    failed = true;
                }
            }
        }
        if failed {
            self.traffic.no_grant += 1;
            return granted.into_iter().for_each(|(grant, ..)| end(xen, grant, &mut self.kept));
        }
        self.traffic.sent += 1;
        let last = granted.len().saturating_sub(1);
        for (index, (grant, offset, bytes)) in granted.into_iter().enumerate() {
            let Some(id) = self.tx_ids.pop() else { return };
            let mut flags = match (index, offload.checksum) {
                (0, Checksum::Blank) => TxFlags::CHECKSUM_BLANK | TxFlags::DATA_VALIDATED,
                (0, Checksum::Validated) => TxFlags::DATA_VALIDATED,
                _ => TxFlags::empty(),
            };
            flags.set(TxFlags::MORE_DATA, index < last);
            // The first slot says the whole packet's size, the others their own.
            let size = if index == 0 { total as u16 } else { bytes };
            self.tx.push(TxRequest { reference: grant.reference(), offset, flags, id, size }.encode());
            if let Some(place) = self.tx_pages.get_mut(usize::from(id)) {
                *place = Some(grant);
            }
        }
    }

    /// Takes back the pages of packets that the backend has sent on.
    pub fn reap(&mut self, xen: &mut impl Xen) -> Result<(), Broken> {
        for _ in 0..self.tx.waiting()? {
            let (_, [i0, i1, ..]) = self.tx.take();
            let id = u16::from_le_bytes([i0, i1]);
            let granted = self.tx_pages.get_mut(usize::from(id)).and_then(Option::take);
            let granted = granted.ok_or(Broken::UnknownId)?;
            self.tx_ids.push(id);
            match xen.end_grant(granted) {
                Ok(page) => xen.pages().give(page),
                Err(granted) => {
                    self.kept.push(granted);
                    self.traffic.kept_page += 1;
                }
            }
        }
        for granted in core::mem::take(&mut self.kept) {
            end(xen, granted, &mut self.kept);
        }
        Ok(())
    }

    /// Makes requests visible; whether the backend wants to be notified.
    pub fn publish(&mut self) -> Notice {
        match (self.tx.publish(), self.rx.publish()) {
            (Notice::NotNeeded, Notice::NotNeeded) => Notice::NotNeeded,
            _ => Notice::Needed,
        }
    }

    /// Asks to be notified of the next packet, and when half of what was sent is done with.
    pub fn arm(&mut self) -> Result<Wakeup, Broken> {
        let received = self.rx.arm(1)?;
        let outstanding = self.tx.outstanding();
        if outstanding == 0 || received == Wakeup::MoreToDo {
            return Ok(received);
        }
        Ok(self.tx.arm(outstanding / 2 + 1)?)
    }

    /// Lets go of everything: closes the event channel, ends every grant, drops what waits. Pages that the
    /// backend still holds are returned; they stay granted until a later [`end`] succeeds.
    pub fn disconnect(self, xen: &mut impl Xen) -> Vec<GrantedPage> {
        xen.close_port(self.port);
        let mut kept = Vec::new();
        let rings = [self.tx.into_page(), self.rx.into_page()];
        let buffers = self.tx_pages.into_iter().chain(*self.rx_pages).flatten();
        for granted in rings.into_iter().chain(buffers).chain(self.kept) {
            end(xen, granted, &mut kept);
        }
        for frame in self.queue {
            frame.release(xen.pages());
        }
        kept
    }
}

/// Ends a grant; a page that the peer still holds goes to `kept`.
pub fn end(xen: &mut impl Xen, granted: GrantedPage, kept: &mut Vec<GrantedPage>) {
    match xen.end_grant(granted) {
        Ok(page) => xen.pages().give(page),
        Err(granted) => kept.push(granted),
    }
}

/// A page of zeroes, granted as a ring.
fn make_ring(xen: &mut impl Xen, backend: DomainId) -> Option<GrantedPage> {
    let mut page = xen.pages().take()?;
    page.bytes_mut().fill(0);
    match xen.grant(backend, page, Access::ReadWrite) {
        Ok(granted) => Some(granted),
        Err(page) => {
            xen.pages().give(page);
            None
        }
    }
}
