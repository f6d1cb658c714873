//! Packets to the uplink: frames granted to its backend.

use super::{AtBackend, MOST_BYTES, Netfront, QUEUE_PAGES, UplinkBroken, end};
use crate::base::bug::OrBug;
use crate::tables::share::Account;
use crate::vif::backpressure::LEAST_ROOM;
use crate::vif::chunks::MAX_SEGMENTS;
use crate::vif::extra::Extra;
use crate::vif::fair_queue::Room;
use crate::vif::features::Support;
use crate::vif::frame::{Complete, Frame};
use crate::vif::parcel::{Body, Parcel};
use crate::vif::slots::{TX_BYTES, TxFlags, TxRequest, TxStatus};
use crate::wire::packet::{Checksum, Gso, Offload, Packet};
use crate::xen::Xen;
use crate::xen::bounce::{BOUNCE_BYTES, BOUNCES_PER_PAGE, Bounce, BounceBuffers};
use crate::xen::charge::Charge;
use crate::xen::grant::{Access, Gref};
use crate::xen::page_pool::{Chunk, PagePool};
use arrayvec::ArrayVec;

/// Slots that a frame takes up: its pieces', and one for an extra-info entry.
fn slots_for(frame: &Frame) -> usize {
    frame.segments().len() + usize::from(frame.offload().gso.is_some())
}

impl Netfront {
    /// Queues a frame for the backend, which must be able to [take](Features::accept) it. When too much waits already,
    /// drops the oldest frame of the account that has most waiting, or this one if that is its own account. Says
    /// whether it was queued.
    pub fn send(&mut self, mut frame: Frame, pages: &mut PagePool) -> Complete {
        let Self { queue, traffic, .. } = self;
        let fits = frame.segments().len() == 1
            || self.features.scatter_gather == Support::Yes && frame.bytes() <= MOST_BYTES;
        let mut give_up = |frame: Frame| {
            traffic.queue_full += 1;
            frame.release(pages);
        };
        if !fits
            || self.features.accept(frame.offload()) == Support::No
            || queue.make_room(frame.account(), QUEUE_PAGES, &mut give_up) == Room::None
        {
            give_up(frame);
            return Complete::No;
        }
        if self.features.blank_checksum == Support::No {
            frame.complete_checksum();
        }
        match queue.push(frame) {
            Ok(()) => Complete::Yes,
            Err(frame) => {
                give_up(frame);
                Complete::No
            }
        }
    }

    /// Sends a packet before all that waits. It comes back if it has to wait, or if the backend cannot take it as it is. A
    /// packet need not wait, as a queueing discipline of Linux lets one by (`TCQ_F_CAN_BYPASS`), while nothing waits, and ring
    /// and byte limit have room.
    #[inline(always)]
    pub fn send_now<X: Xen>(
        &mut self,
        parcel: Parcel,
        bounces: &mut BounceBuffers,
        xen: &mut X,
    ) -> Result<(), Parcel> {
        if !self.queue.is_empty() && self.limit.has_room() {
            // What waits for the end of the pass only leaves now.
            self.transmit(xen);
        }
        let is_too_blank = parcel.checksum == Checksum::Blank && self.features.blank_checksum == Support::No;
        if !self.queue.is_empty() || !self.limit.has_room() || self.tx.room() == 0 || is_too_blank {
            return Err(parcel);
        }
        let Some(id) = self.tx_ids.pop() else { return Err(parcel) };
        let Parcel { body, bytes, checksum } = parcel;
        let flags = TxFlags::for_checksum(checksum);
        let (sent, reference, offset) = match body {
            Body::Bounce(bounce) => match self.write_small(id, &bounce, bytes, bounces) {
                Some((reference, offset)) => (AtBackend::Small(bytes), reference, offset),
                None => {
                    self.tx_ids.push(id);
                    return Err(Parcel { body: Body::Bounce(bounce), bytes, checksum });
                }
            },
            Body::Page(page, offset) => {
                let start = usize::from(offset);
                let shown = start..start + usize::from(bytes);
                match xen.grant(self.backend, page, Access::ReadOnly, shown) {
                    Ok(granted) => {
                        let reference = granted.reference();
                        (AtBackend::Page(granted, bytes), reference, offset)
                    }
                    Err(page) => {
                        self.tx_ids.push(id);
                        self.traffic.no_grant += 1;
                        xen.pages().give(page);
                        return Ok(());
                    }
                }
            }
        };
        self.limit.grant(bytes);
        self.tx.push(TxRequest { reference, offset, flags, id, size: bytes }.encode());
        if let Some(place) = self.sent.get_mut(usize::from(id)).or_bug("no such request") {
            *place = sent;
        }
        self.traffic.sent += 1;
        Ok(())
    }

    /// Copies a small packet into the place of a request id. `None` if there is none.
    #[inline(always)]
    fn write_small(
        &mut self,
        id: u16,
        bounce: &Bounce,
        bytes: u16,
        bounces: &mut BounceBuffers,
    ) -> Option<(Gref, u16)> {
        let index = usize::from(id);
        let page = self.small.get(index / BOUNCES_PER_PAGE)?;
        let start = index % BOUNCES_PER_PAGE * BOUNCE_BYTES;
        let content = bounces.bytes_mut(bounce)?;
        let end = usize::from(bytes);
        // What lies behind the packet is of another one: the backend is not to see it.
        content.get_mut(end..end.next_multiple_of(8))?.fill(0);
        for (at, eight) in content.as_chunks::<8>().0.iter().enumerate().take(end.div_ceil(8)) {
            page.shared().store_long(start + at * 8, *eight);
        }
        Some((page.reference(), start as u16))
    }

    /// Slots that may be taken from the client whose lane is that of `account`, and whose packets are charged to
    /// `sent`: as many as its lane has room for without displacing what others have waiting; none when that is not
    /// enough for another packet of `usual_slots`. A client that has no pages left for such a packet waits if some of
    /// its pages are here.
    pub fn room(&mut self, account: Account, sent: Charge, usual_slots: usize, pages: &PagePool) -> usize {
        let least = LEAST_ROOM.max(usual_slots + 1);
        let lane = self.queue.room(account, least);
        if lane < least {
            return 0;
        }
        let room = lane.min((pages.room(sent) + least).saturating_sub(usual_slots));
        if room >= least {
            return room;
        }
        if !self.has_pages_of(account, sent) {
            // Its pages are held elsewhere, for who knows how long: what it sends is taken, and dropped for want of
            // pages.
            return lane;
        }
        self.awaited += 1;
        0
    }

    /// Whether a client's pages are in its lane, or at the backend.
    #[cold]
    fn has_pages_of(&self, account: Account, sent: Charge) -> bool {
        let is_its =
            |held: &AtBackend| matches!(held, AtBackend::Page(granted, _) if granted.charge() == sent);
        self.queue.pages_of(account) > 0 || self.sent.iter().any(is_its)
    }

    /// Grants waiting frames to the backend: as many as it takes until we look again, as far as the ring has room.
    pub fn transmit(&mut self, xen: &mut impl Xen) {
        let mut free = self.free_slots();
        while self.limit.has_room() {
            let mut slots = 0;
            let next = self.queue.pop_if(|frame| {
                slots = slots_for(frame);
                slots <= free
            });
            let Some(frame) = next else { break };
            free -= slots;
            self.grant_frame(frame, xen);
        }
        if !self.queue.is_empty() {
            self.limit.hold();
        }
    }

    /// Grants the pieces of a frame and writes their requests, for which there is room.
    fn grant_frame(&mut self, frame: Frame, xen: &mut impl Xen) {
        // The first slot says the whole packet's size, the others their own. No frame is queued whose size does not
        // fit.
        let whole = u16::try_from(frame.bytes()).or_bug("a frame that is larger than any that is queued");
        let mut size = Some(whole.unwrap_or(u16::MAX));
        let (mut segments, offload) = frame.into_parts();
        segments.drop_empty(xen.pages());
        let mut left = segments.len();
        let mut flags = TxFlags::for_checksum(offload.checksum);
        flags.set(TxFlags::EXTRA_INFO, offload.gso.is_some());
        let mut written: ArrayVec<u16, MAX_SEGMENTS> = ArrayVec::new();
        let mut failed = false;
        let chain = segments.hand_over(|segment| {
            let (shown, Chunk { page, offset, bytes }) = (segment.range(), segment);
            let id = if failed { None } else { self.tx_ids.pop() };
            let granted = match id {
                Some(id) => {
                    xen.grant(self.backend, page, Access::ReadOnly, shown).map(|granted| (granted, id))
                }
                None => Err(page),
            };
            match granted {
                Ok((granted, id)) => {
                    left -= 1;
                    flags.set(TxFlags::MORE_DATA, left > 0);
                    let gso = if size.is_some() { offload.gso } else { None };
                    let size = size.take().unwrap_or(bytes);
                    self.write_request(
                        TxRequest { reference: granted.reference(), offset, flags, id, size },
                        gso,
                    );
                    flags = TxFlags::empty();
                    written.push(id);
                    self.limit.grant(bytes);
                    if let Some(place) = self.sent.get_mut(usize::from(id)).or_bug("no such request") {
                        *place = AtBackend::Page(granted, bytes);
                    }
                }
                Err(page) => {
                    xen.pages().give(page);
                    self.tx_ids.extend(id);
                    failed = true;
                }
            }
        });
        if let Some(chain) = chain {
            xen.pages().give_chain(chain);
        }
        if failed {
            self.traffic.no_grant += 1;
            self.withdraw(&written, offload, xen);
        } else {
            self.traffic.sent += 1;
        }
    }

    /// Writes a request, and an extra-info entry behind it.
    fn write_request(&mut self, request: TxRequest, gso: Option<Gso>) {
        self.tx.push(request.encode());
        if let Some(gso) = gso {
            let mut entry = [0; TX_BYTES];
            entry[..8].copy_from_slice(&Extra::encode(gso));
            self.tx.push(entry);
        }
    }

    /// Takes back the requests of a frame that could not be granted whole, the last ones written.
    #[cold]
    fn withdraw(&mut self, written: &[u16], offload: Offload, xen: &mut impl Xen) {
        let extras = usize::from(offload.gso.is_some() && !written.is_empty());
        self.tx.withdraw((written.len() + extras) as u32);
        for &id in written {
            self.tx_ids.push(id);
            if let Some(AtBackend::Page(granted, bytes)) =
                self.sent.get_mut(usize::from(id)).map(core::mem::take)
            {
                self.limit.withdraw(bytes);
                end(xen, granted, &mut self.kept);
            }
        }
    }

    /// Takes back the pages of packets that the backend has sent on.
    pub fn reap(&mut self, xen: &mut impl Xen) -> Result<(), UplinkBroken> {
        let answers = self.tx.waiting()?;
        self.answered = self.answered.wrapping_add(answers);
        for _ in 0..answers {
            let (_, [i0, i1, s0, s1, ..]) = self.tx.take();
            // The answer to an extra-info entry, which names nothing.
            if i16::from_le_bytes([s0, s1]) == TxStatus::Null as i16 {
                continue;
            }
            let id = u16::from_le_bytes([i0, i1]);
            let sent = self.sent.get_mut(usize::from(id)).map(core::mem::take).unwrap_or_default();
            let (bytes, page) = match sent {
                AtBackend::Nothing => return Err(UplinkBroken::UnknownId),
                AtBackend::Small(bytes) => (bytes, None),
                AtBackend::Page(granted, bytes) => (bytes, self.end(granted, xen)?),
            };
            self.limit.answer(bytes);
            self.tx_ids.push(id);
            if let Some(page) = page {
                xen.pages().give(page);
            }
        }
        self.limit.look();
        for at in (0..self.kept.len()).rev() {
            let granted = self.kept.swap_remove(at);
            end(xen, granted, &mut self.kept);
        }
        Ok(())
    }
}
