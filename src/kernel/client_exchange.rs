//! What goes to and fro between clients' rings and our pages, in one batch of copies for each pass.

use super::client_vifs::ClientVifs;
use crate::base::bug::OrBug;
use crate::base::side::ClientSlot;
use crate::base::time::Moment;
use crate::tables::share::Account;
use crate::vif::backpressure::{Budget, Drain, EgressLimits};
use crate::vif::client::ClientVif;
use crate::vif::in_flight::{Collected, InFlight, Landing, Passing, Single};
use crate::vif::netback::{COPIES_PER_PACKET, ClientBroken, Netback};
use crate::vif::netfront::Netfront;
use crate::vif::parcel::{Body, Parcel};
use crate::vif::ring::{RING_SIZE, Wakeup};
use crate::xen::Xen;
use crate::xen::bounce::BounceBuffers;
use crate::xen::charge::{BOUNCE_PAGES, Charge};
use crate::xen::copy::{CopyBatch, Lent};
use crate::xen::page_pool::{Chunk, PagePool};
use alloc::vec::Vec;

/// Copies in one hypercall: a ring of buffers and as much again. Xen itself pauses long batches to let others run.
const BATCH: usize = 2 * RING_SIZE as usize;

/// The batch of copies, and what came of the last one.
pub struct ClientExchange {
    batch: CopyBatch,
    in_flight: InFlight,
    /// Packets for clients that do not wait, whose copies are in the batch.
    passing: Vec<(ClientSlot, Passing)>,
    /// The pages that they lie in.
    lent: Vec<Lent<Chunk>>,
    /// The client slot that the next pass begins with.
    first: usize,
    /// See [`Self::deadline`].
    due: Option<Moment>,
    /// Batches that were run, and copies in them.
    pub run: CopiesRun,
}

/// How many copies were made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopiesRun {
    /// Hypercalls.
    pub batches: u64,
    /// Copies in them.
    pub copies: u64,
}

/// What limits how much is taken from clients: the rings of the uplink and how fast they are emptied.
pub struct WayAhead<'a> {
    /// The rings, while there are any.
    pub netfront: Option<&'a mut Netfront>,
    /// Whether the uplink moves, so that clients' packets are to wait for it.
    pub flow: Drain,
    /// What decides in how many pieces a packet leaves.
    pub way_out: EgressLimits,
}

impl Default for ClientExchange {
    fn default() -> Self {
        Self {
            batch: CopyBatch::with_capacity(BATCH),
            in_flight: InFlight::with_capacity(BATCH),
            passing: Vec::with_capacity(BATCH),
            lent: Vec::with_capacity(BATCH),
            first: 0,
            due: None,
            run: CopiesRun::default(),
        }
    }
}

impl ClientExchange {
    /// Takes what clients sent and hands them what waits for them. Returns the clients that broke the protocol.
    pub fn exchange<X: Xen>(
        &mut self,
        clients: &mut ClientVifs,
        mut ahead: WayAhead<'_>,
        xen: &mut X,
        now: Moment,
    ) -> Vec<(ClientSlot, ClientBroken)> {
        let mut broken = Vec::new();
        let first = self.first;
        // The first slot that found no room in the batch, and the slot that was served second.
        let (mut turned_away, mut second) = (None, None);
        for (place, (slot, account, netback)) in clients.rings_from(first).enumerate() {
            let (batch, in_flight, pages) = (&mut self.batch, &mut self.in_flight, xen.pages());
            if place == 1 {
                second = Some(slot);
            }
            if batch.room() < COPIES_PER_PACKET {
                turned_away = turned_away.or(Some(slot));
            }
            let room = uplink_room(&mut ahead.netfront, account, netback, pages);
            let intake = netback.intake(Budget::of(ahead.flow, room), now);
            in_flight.sender = slot;
            let delivered = netback.deliver(batch, in_flight, pages, now);
            if let Err(why) = delivered
                .and_then(|()| netback.collect(batch, in_flight, pages, intake.slots(), ahead.way_out))
            {
                broken.push((slot, why));
            }
        }
        // The next pass begins with whoever found the batch full, or else with whoever was second in this one.
        self.first = turned_away.or(second).map_or(0, |slot| slot.0.into());
        if self.batch.waiting() > 0 {
            self.run.batches += 1;
            self.run.copies += self.batch.waiting() as u64;
            xen.copy(&mut self.batch);
        }
        self.settle_passed(clients, xen.pages());
        for (_, _, netback) in clients.rings_from(first) {
            netback.settle(&self.batch, &mut self.in_flight, xen);
        }
        self.in_flight.settled = 0;
        broken
    }

    /// Makes room for small frames: those of the last pass have gone.
    pub fn begin(&mut self, pages: &mut PagePool) {
        let bounces = &mut self.batch.bounces;
        if bounces.is_empty() {
            (0..BOUNCE_PAGES).map_while(|_| pages.take(Charge::OWN)).for_each(|page| bounces.add(page));
        }
        bounces.clear();
    }

    /// The bounce buffers.
    pub fn bounces(&mut self) -> &mut BounceBuffers {
        &mut self.batch.bounces
    }

    /// Hands a packet to a client with the next [`Self::exchange`], before all that waits. It comes back if it has to wait.
    #[inline(always)]
    pub fn pass(&mut self, slot: ClientSlot, netback: &mut Netback, parcel: Parcel) -> Result<(), Parcel> {
        let passing = netback.deliver_now(parcel, &mut self.batch, &mut self.lent)?;
        self.passing.push((slot, passing));
        Ok(())
    }

    fn settle_passed(&mut self, clients: &mut ClientVifs, pages: &mut PagePool) {
        if !self.batch.has_succeeded() {
            for &(slot, Passing { answer, copy }) in &self.passing {
                if self.batch.result_of(copy).is_err()
                    && let Some(netback) = clients.vif(slot).and_then(ClientVif::netback)
                {
                    netback.fail_now(answer);
                }
            }
        }
        self.passing.clear();
        for chunk in self.lent.drain(..) {
            // Never refused: the batch has run since the page was lent to it.
            if let Ok(chunk) = self.batch.reclaim(chunk).or_bug("a page that was lent is not given back") {
                pages.give(chunk.page);
            }
        }
    }

    /// Takes out what clients sent, in order. The list is to come back to [`Self::put_back`], to be filled again.
    pub fn take_collected(&mut self) -> Vec<(ClientSlot, Collected)> {
        core::mem::take(&mut self.in_flight.collected)
    }

    /// Takes back the list, empty.
    pub fn put_back(&mut self, collected: Vec<(ClientSlot, Collected)>) {
        self.in_flight.collected = collected;
    }

    /// A packet of one slot as it has arrived; `None` if it could not be read.
    #[inline(always)]
    pub fn arrived(&self, single: Single, pages: &mut PagePool) -> Option<Parcel> {
        let Single { landing, bytes, checksum, .. } = single;
        let body = match landing {
            Landing::Bounce(bounce) => Body::Bounce(bounce),
            // Never refused: the batch has run since the page was lent to it.
            Landing::Page(page) => {
                Body::Page(self.batch.reclaim(page).or_bug("a page that was lent is not given back").ok()?, 0)
            }
        };
        let parcel = Parcel { body, bytes, checksum };
        if bytes == 0 {
            parcel.release(pages);
            return None;
        }
        Some(parcel)
    }

    /// Asks every client's ring to wake us. [`Armed::NotAll`] if one has something already, or is broken: the next pass
    /// deals with it.
    pub fn arm(
        &mut self,
        clients: &mut ClientVifs,
        netfront: &mut Option<&mut Netfront>,
        flow: Drain,
        pages: &PagePool,
        now: Moment,
    ) -> Armed {
        self.due = None;
        let mut armed = Armed::All;
        for (_, account, netback) in clients.rings_from(0) {
            let room = uplink_room(netfront, account, netback, pages);
            let intake = netback.intake(Budget::of(flow, room), now);
            // Every ring is armed, whatever the others say.
            if netback.arm(intake) != Ok(Wakeup::Armed) {
                armed = Armed::NotAll;
            }
            self.due = self.due.into_iter().chain(netback.deadline()).min();
        }
        armed
    }

    /// When there is something to do without an event, as of the last [`Self::arm`]: a client that has used up its
    /// `rate=` may send again, or a frame has waited for a client for too long.
    pub fn deadline(&self) -> Option<Moment> {
        self.due
    }
}

/// Whether all rings wake us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// They do.
    All,
    /// Some have something already.
    NotAll,
}

/// Slots that may be taken from a client as far as the uplink is concerned.
fn uplink_room(
    uplink: &mut Option<&mut Netfront>,
    account: Account,
    client: &Netback,
    pages: &PagePool,
) -> usize {
    let room =
        |front: &mut Netfront| front.room(account, client.charges().sent(), client.usual_slots(), pages);
    uplink.as_deref_mut().map_or(0, room)
}
