//! Packets to a client: copied into the buffers that it posted.

use super::{COPIES_PER_PACKET, ClientBroken, Netback, PATIENCE, buffers_for};
use crate::base::bug::OrBug;
use crate::base::time::Moment;
use crate::vif::extra::Extra;
use crate::vif::features::Support;
use crate::vif::frame::Frame;
use crate::vif::in_flight::{Departure, InFlight, Passing};
use crate::vif::parcel::{Body, Parcel};
use crate::vif::rx::{RxFlags, RxRequest, RxResponse};
use crate::wire::packet::{Checksum, Gso, Offload, Packet};
use crate::xen::copy::{CopyBatch, Lent, NO_RESULT, Remote};
use crate::xen::grant::Gref;
use crate::xen::page::PAGE_BYTES;
use crate::xen::page_pool::{Chunk, PagePool};
use alloc::vec::Vec;

/// Whether something had waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expired {
    One,
    None,
}

/// What the answers to a frame's buffers say, as far as they are not written yet.
struct Filling {
    /// Bytes of the frame that have no buffer yet.
    left: usize,
    /// Flags of the next answer.
    flags: RxFlags,
    /// The segmentation that an extra-info entry behind the first buffer's answer is to tell.
    gso: Option<Gso>,
    /// The id of the buffer that was given up for that entry.
    given_up: Option<u16>,
}

impl Filling {
    fn of(frame: &Frame) -> Self {
        let Offload { checksum, gso } = frame.offload();
        let mut flags = RxFlags::for_checksum(checksum);
        flags.set(RxFlags::EXTRA_INFO, gso.is_some());
        Self { left: frame.bytes(), flags, gso, given_up: None }
    }
}

impl Netback {
    /// Queues the copies of waiting frames into buffers that the client posted. What has found none for too long is
    /// dropped.
    pub fn deliver(
        &mut self,
        batch: &mut CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
        now: Moment,
    ) -> Result<(), ClientBroken> {
        let mut buffers = self.rx.waiting()? as usize;
        while batch.room() >= COPIES_PER_PACKET {
            let mut wanted = 0;
            let next = self.queue.pop_if(|frame| {
                wanted = buffers_for(frame);
                wanted <= buffers
            });
            let Some(frame) = next else {
                if now < self.expiry || self.expire_one(pages, now) == Expired::None {
                    break;
                }
                continue;
            };
            buffers -= wanted;
            self.fill(frame, wanted, batch, in_flight);
        }
        Ok(())
    }

    /// Whether a packet need not wait: nothing else does, a buffer is posted for it, and the client can take it as it is.
    #[inline(always)]
    fn admits(&self, checksum: Checksum) -> bool {
        let is_too_blank = checksum == Checksum::Blank && self.features.blank_checksum == Support::No;
        self.queue.is_empty() && self.rx.waiting().unwrap_or(0) > 0 && !is_too_blank
    }

    /// Queues the copy of a packet, before all that waits. It comes back if it has to wait. Its page goes to `lent` until the
    /// batch has run.
    #[inline(always)]
    pub fn deliver_now(
        &mut self,
        parcel: Parcel,
        batch: &mut CopyBatch,
        lent: &mut Vec<Lent<Chunk>>,
    ) -> Result<Passing, Parcel> {
        if batch.room() < COPIES_PER_PACKET || !self.admits(parcel.checksum) {
            return Err(parcel);
        }
        let Parcel { body, bytes, checksum } = parcel;
        let RxRequest { id, reference } = RxRequest::parse(self.rx.take());
        let answer = self.rx.next_response();
        let flags = RxFlags::for_checksum(checksum);
        self.rx.respond(RxResponse { id, offset: 0, flags, status: bytes as i16 }.encode());
        let mut copy = batch.waiting() as u32;
        let to = Remote { domain: self.client, reference, offset: 0 };
        let copied = match body {
            Body::Bounce(bounce) => batch.copy_bounce_out(&bounce, to, bytes),
            Body::Page(page, offset) => {
                let chunk = batch.lend(Chunk { page, offset, bytes });
                let copied = batch.copy_out(&chunk.as_ref(), 0, to, bytes);
                lent.push(chunk);
                copied
            }
        };
        if copied.or_bug("a copy out that the batch refuses").is_err() {
            copy = NO_RESULT;
        }
        self.traffic.sent += 1;
        Ok(Passing { answer, copy })
    }

    /// After the batch ran, before [`Self::settle`]: the copy of a packet that did not wait has failed.
    #[cold]
    pub fn fail_now(&mut self, answer: u32) {
        self.traffic.sent -= 1;
        self.traffic.bad_buffer += 1;
        self.fail_departure(answer, 1, None);
    }

    /// Drops a frame that has waited for too long.
    #[cold]
    fn expire_one(&mut self, pages: &mut PagePool, now: Moment) -> Expired {
        match self.queue.take_oldest_if(|frame| now >= frame.waits_since() + PATIENCE) {
            Some(frame) => {
                self.traffic.expired += 1;
                frame.release(pages);
                Expired::One
            }
            None => {
                self.expiry = self.queue.oldest().map(Frame::waits_since).min().unwrap_or(now) + PATIENCE;
                Expired::None
            }
        }
    }

    /// Queues the copies of one frame, which fills `buffers`.
    fn fill(&mut self, frame: Frame, buffers: usize, batch: &mut CopyBatch, in_flight: &mut InFlight) {
        let mut filling = Filling::of(&frame);
        let segments = batch.lend(frame.into_parts().0);
        let mut first_copy = batch.waiting() as u32;
        let first_answer = self.rx.next_response();
        // The present buffer, and how far it is filled.
        let (mut reference, mut filled) = (Gref(0), PAGE_BYTES as u16);
        for segment in segments.segments() {
            let mut skip = 0;
            while skip < segment.bytes() {
                if usize::from(filled) == PAGE_BYTES {
                    (reference, filled) = (self.take_buffer(&mut filling), 0);
                }
                let moved = (segment.bytes() - skip).min(PAGE_BYTES as u16 - filled);
                let to = Remote { domain: self.client, reference, offset: filled };
                // Not refused: there is room for a frame's copies, and the bytes are the segment's. If one of them is
                // missing, all count as failed.
                let copy = batch.copy_out(&segment, skip, to, moved);
                if copy.or_bug("a copy out that the batch refuses").is_err() {
                    first_copy = NO_RESULT;
                }
                filled += moved;
                skip += moved;
            }
        }
        self.departing += 1;
        in_flight.departures.push(Departure {
            segments,
            answer: first_answer,
            answers: buffers as u8,
            given_up: filling.given_up,
            copies: first_copy..batch.waiting() as u32,
        });
    }

    /// Takes the next buffer and writes the answer: each but the last is filled whole. Behind the first, one is given
    /// up for an extra-info entry if there is one.
    fn take_buffer(&mut self, filling: &mut Filling) -> Gref {
        let RxRequest { id, reference } = RxRequest::parse(self.rx.take());
        let bytes = filling.left.min(PAGE_BYTES);
        filling.left -= bytes;
        let mut flags = core::mem::replace(&mut filling.flags, RxFlags::empty());
        flags.set(RxFlags::MORE_DATA, filling.left > 0);
        self.rx.respond(RxResponse { id, offset: 0, flags, status: bytes as i16 }.encode());
        if let Some(gso) = filling.gso.take() {
            filling.given_up = Some(RxRequest::parse(self.rx.take()).id);
            self.rx.respond(Extra::encode(gso));
        }
        reference
    }

    pub(super) fn settle_departure(
        &mut self,
        batch: &CopyBatch,
        in_flight: &mut InFlight,
        pages: &mut PagePool,
    ) {
        let Some(departure) = in_flight.departures.pop() else { return };
        match batch.result(departure.copies) {
            Ok(()) => self.traffic.sent += 1,
            Err(_) => {
                self.traffic.bad_buffer += 1;
                self.fail_departure(departure.answer, departure.answers, departure.given_up);
            }
        }
        // Never refused: the batch has run since the pages were lent to it.
        if let Ok(segments) =
            batch.reclaim(departure.segments).or_bug("segments that were lent are not given back")
        {
            segments.release(pages);
        }
    }

    /// Changes `count` answers from `first` on, which are not published yet: nothing could be written.
    #[cold]
    fn fail_departure(&mut self, first: u32, count: u8, given_up: Option<u16>) {
        for at in 0..u32::from(count) {
            // An extra-info entry has no name of its own.
            let name = given_up.filter(|_| at == 1);
            self.rx.amend(first.wrapping_add(at), |written| {
                RxResponse::failure(name.unwrap_or(RxResponse::parse(written).id)).encode()
            });
        }
    }
}
