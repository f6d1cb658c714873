//! Packets of a client: taken from its ring, and copied into memory of ours.

use super::{ClientBroken, Netback};
use crate::base::bug::OrBug;
use crate::vif::backpressure::EgressLimits;
use crate::vif::chunks::Chunks;
use crate::vif::frame::{Frame, NoFrame};
use crate::vif::in_flight::{BatchQueue, Collected, InFlight, Landing, Several, Single};
use crate::vif::parcel::Parcel;
use crate::vif::slots::{MAX_SLOTS, PacketSlot, TxPacket, TxRequest, TxStatus, read_packet, tx_response};
use crate::wire::ethernet::HEADER_BYTES;
use crate::xen::bounce::{BOUNCE_BYTES, BounceBuffers};
use crate::xen::copy::{CopyBatch, Lent, NO_RESULT, Remote};
use crate::xen::page::{PAGE_BYTES, Page};
use crate::xen::page_pool::{Chunk, PagePool};

/// What a client may send in one round before it is the next one's turn, in bytes as [`cost`] counts them:
/// about 90 small packets, or two of the largest kind.
const QUANTUM: i32 = 192 << 10;

/// What a packet costs, in bytes: its own, and 2,048 for each of its slots, filled or not, because a slot's copy and
/// what else it takes cost us about as much time as those.
fn cost(bytes: u16, slots: usize) -> i32 {
    const PER_SLOT: i32 = 2048;
    i32::from(bytes) + PER_SLOT * slots as i32
}

impl Netback {
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
        let (mut copy, mut bytes) = (batch.waiting() as u32, size);
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
            (copy, bytes) = (NO_RESULT, 0);
        }
        self.arriving += 1;
        let (answer, checksum) = (self.tx.next_response(), flags.checksum());
        let single = Single { landing, bytes, checksum, answer, copy };
        in_flight.collected.push((in_flight.sender, Collected::Single(single)));
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
        self.several += 1;
        let several = Several {
            answer: self.tx.next_response(),
            answers: packet.answers.count() as u8,
            extras: packet.answers.extras as u8,
            pages,
            copies: first_copy..batch.waiting() as u32,
            offload: packet.offload,
        };
        in_flight.collected.push((in_flight.sender, Collected::Several(several)));
        packet.answers.respond(TxStatus::Okay, |response| self.tx.respond(response));
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

    /// Notes of the packets that were collected last whether they have arrived.
    pub(super) fn settle_collected(
        &mut self,
        batch: &CopyBatch,
        in_flight: &mut InFlight,
        pool: &mut PagePool,
    ) {
        let (count, several) = (core::mem::take(&mut self.arriving), core::mem::take(&mut self.several));
        let InFlight { collected, settled, arriving, .. } = in_flight;
        let first = core::mem::replace(settled, *settled + count);
        if batch.has_succeeded() && several == 0 {
            self.traffic.received += count as u64;
            return;
        }
        for (_, packet) in collected.iter_mut().skip(first).take(count) {
            match packet {
                Collected::Single(single) => self.settle_single(single, batch),
                Collected::Several(several) => {
                    let frame = self.settle_several(several, arriving, batch, pool);
                    *packet = frame.map_or(Collected::Nothing, Collected::Frame);
                }
                Collected::Frame(_) | Collected::Nothing => {}
            }
        }
    }

    fn settle_single(&mut self, single: &mut Single, batch: &CopyBatch) {
        match batch.result_of(single.copy) {
            Ok(()) => self.traffic.received += 1,
            Err(_) => {
                single.bytes = 0;
                self.traffic.refused += 1;
                self.fail_arrival(single.answer, 1, 0);
            }
        }
    }

    fn settle_several(
        &mut self,
        arrival: &Several,
        arriving: &mut BatchQueue<(Lent<Page>, u16)>,
        batch: &CopyBatch,
        pool: &mut PagePool,
    ) -> Option<Frame> {
        let result = batch.result(arrival.copies.clone());
        let mut pieces = arriving.take(arrival.pages);
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
}

fn give_back(page: Lent<Page>, batch: &CopyBatch, pages: &mut PagePool) {
    // Never refused: the batch has run since the page was lent to it.
    if let Ok(page) = batch.reclaim(page).or_bug("a page that was lent is not given back") {
        pages.give(page);
    }
}
