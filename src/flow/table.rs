//! The flow table: every flow under its two names, on the timer wheel, and on somebody's account.
//!
//! Everything is allocated at the start; no call here allocates or takes longer than a short chain of one
//! hash bucket. The table only keeps flows: releasing the outer port of one that is gone is up to the caller,
//! who gets the record back.

use alloc::boxed::Box;
use alloc::vec;

use super::index::Index;
use super::key::{Face, Key};
use super::record::{Flow, Route, Stage};
use super::share::{Account, Membership, Share};
use super::siphash::SipKey;
use super::slab::{Ends, Id, Links, Slab};
use super::tick::Tick;
use super::timeouts::Timeouts;
use super::wheel::Wheel;

/// Why a flow cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The table is full.
    NoRoom,
    /// Another flow has the same name on the uplink side.
    NameTaken,
}

/// What became of a flow whose second on the wheel came.
#[derive(Debug)]
pub enum Due {
    /// It was too long silent and is gone.
    Expired(Flow),
    /// It saw packets meanwhile and stays.
    Alive,
}

/// All flows there are.
pub struct FlowTable {
    slab: Slab<Flow>,
    inside: Index<Flow>,
    outside: Index<Flow>,
    key: SipKey,
    wheel: Wheel<Flow>,
    timeouts: Timeouts,
    share: Share,
    /// Flows that are not assured, oldest first, per account.
    young: Box<[Ends<Flow>]>,
    young_links: Links<Flow>,
}

/// The account that pays for a flow: whoever opened it.
const fn payer(flow: &Flow) -> Account {
    match flow.route {
        Route::Outward | Route::Between(_) => Account::client(flow.near),
        Route::Forwarded => Account::UPLINK,
    }
}

impl FlowTable {
    /// Bytes per flow, hash index and timer links included.
    pub const fn bytes_per_flow(capacity: usize) -> usize {
        Slab::<Flow>::PLACE_BYTES
            + Wheel::<Flow>::RECORD_BYTES
            + Links::<Flow>::LINK_BYTES
            + 2 * Index::<Flow>::bytes(capacity).div_ceil(capacity)
    }

    /// An empty table for `capacity` flows, of which one account may hold `cap`; `key` seeds its hash.
    pub fn new(capacity: u32, cap: u32, timeouts: Timeouts, key: (u64, u64), now: Tick) -> FlowTable {
        let places = capacity as usize;
        let share = Share::new(capacity, cap);
        FlowTable {
            slab: Slab::new(places),
            inside: Index::new(places),
            outside: Index::new(places),
            key: SipKey::new(key),
            wheel: Wheel::new(places, now),
            timeouts,
            share,
            young: vec![Ends::EMPTY; Account::COUNT].into_boxed_slice(),
            young_links: Links::new(places),
        }
    }

    /// Flows in it.
    pub const fn len(&self) -> usize {
        self.slab.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.slab.is_empty()
    }

    /// Flows on `account`.
    pub fn held(&self, account: Account) -> u32 {
        self.share.held(account)
    }

    /// One more than the highest position a flow ever had: for [`FlowTable::id_at`].
    pub const fn extent(&self) -> usize {
        self.slab.extent()
    }

    /// The flow at a position, to walk over all of them.
    pub fn id_at(&self, position: usize) -> Option<Id<Flow>> {
        self.slab.id_at(position)
    }

    /// Flows in the fullest hash bucket.
    pub fn longest_chain(&self) -> usize {
        self.inside.longest_chain().max(self.outside.longest_chain())
    }

    /// Gives `account` a guaranteed part of the table, or takes it away.
    pub fn set_membership(&mut self, account: Account, member: Membership) {
        self.share.set_membership(account, member);
    }

    /// The flow that is known as `key`, over or not.
    #[inline(always)]
    pub fn find(&self, key: &Key) -> Option<Id<Flow>> {
        let hash = key.hash(&self.key);
        match key.face {
            Face::Inside(_) => {
                self.inside.find(hash, |id| self.get(id).is_some_and(|flow| Key::inside(flow) == *key))
            }
            Face::Outside => self
                .outside
                .find(hash, |id| self.get(id).is_some_and(|flow| Key::outside(flow) == Some(*key))),
        }
    }

    /// The record of `id`.
    pub fn get(&self, id: Id<Flow>) -> Option<&Flow> {
        self.slab.get(id)
    }

    /// The record of `id`. Its names, route, stage and deadline must not be changed through this.
    pub fn get_mut(&mut self, id: Id<Flow>) -> Option<&mut Flow> {
        self.slab.get_mut(id)
    }

    /// Whether there is a place for `flow` on its account. If not, [`FlowTable::oldest_young`] names one that
    /// may be removed for it.
    pub fn has_room(&self, flow: &Flow) -> bool {
        !self.slab.is_full() && self.share.has_room(payer(flow))
    }

    /// Enters `flow`, whose timeout starts `now`. The caller made sure that no other flow has its inside name,
    /// and that there was room for it or another flow of its account was removed in its favour.
    pub fn insert(&mut self, mut flow: Flow, now: Tick) -> Result<Id<Flow>, Refusal> {
        if Key::outside(&flow).is_some_and(|name| self.find(&name).is_some()) {
            return Err(Refusal::NameTaken);
        }
        flow.deadline = now.after(self.timeouts.of(&flow));
        let id = self.slab.insert(flow).map_err(|_| Refusal::NoRoom)?;
        self.inside.insert(Key::inside(&flow).hash(&self.key), id);
        if let Some(name) = Key::outside(&flow) {
            self.outside.insert(name.hash(&self.key), id);
        }
        self.wheel.file(id, flow.deadline);
        self.share.take(payer(&flow));
        if !flow.stage.is_assured()
            && let Some(ends) = self.young.get_mut(payer(&flow).position())
        {
            self.young_links.push(ends, id);
        }
        Ok(id)
    }

    /// The flow on the account of `flow` that has waited longest to be assured.
    pub fn oldest_young(&self, flow: &Flow) -> Option<Id<Flow>> {
        self.young.get(payer(flow).position())?.first()
    }

    /// Moves `id` to `stage` and starts its timeout anew.
    #[inline(always)]
    pub fn restart(&mut self, id: Id<Flow>, stage: Stage, now: Tick) {
        let Some(flow) = self.slab.get_mut(id) else { return };
        if flow.stage != stage {
            return self.advance(id, stage, now);
        }
        let deadline = now.after(self.timeouts.of(flow));
        let due = core::mem::replace(&mut flow.deadline, deadline);
        if deadline < due {
            self.wheel.hasten(id, deadline);
        }
    }

    /// As [`FlowTable::restart`], for a new stage.
    #[inline(never)]
    fn advance(&mut self, id: Id<Flow>, stage: Stage, now: Tick) {
        let Some(flow) = self.slab.get_mut(id) else { return };
        let was = core::mem::replace(&mut flow.stage, stage);
        let deadline = now.after(self.timeouts.of(flow));
        let due = core::mem::replace(&mut flow.deadline, deadline);
        if deadline < due {
            self.wheel.hasten(id, deadline);
        }
        if was.is_assured() != stage.is_assured()
            && let Some(ends) = self.young.get_mut(payer(flow).position())
        {
            match stage.is_assured() {
                true => self.young_links.remove(ends, id),
                false => self.young_links.push(ends, id),
            }
        }
    }

    /// Takes `id` out.
    pub fn remove(&mut self, id: Id<Flow>) -> Option<Flow> {
        self.wheel.remove(id);
        self.forget(id)
    }

    /// Takes out `id`, which is on the wheel no longer.
    fn forget(&mut self, id: Id<Flow>) -> Option<Flow> {
        let flow = self.slab.remove(id)?;
        self.inside.remove(Key::inside(&flow).hash(&self.key), id);
        if let Some(name) = Key::outside(&flow) {
            self.outside.remove(name.hash(&self.key), id);
        }
        self.share.give(payer(&flow));
        if !flow.stage.is_assured()
            && let Some(ends) = self.young.get_mut(payer(&flow).position())
        {
            self.young_links.remove(ends, id);
        }
        Some(flow)
    }

    /// Looks at the next flow whose second on the wheel has come; `None` when there is none up to `now`.
    pub fn next_due(&mut self, now: Tick) -> Option<Due> {
        let id = self.wheel.pop_due(now)?;
        let deadline = self.slab.get(id)?.deadline;
        if deadline.is_over(now) {
            return self.forget(id).map(Due::Expired);
        }
        self.wheel.file(id, deadline);
        Some(Due::Alive)
    }

    /// The next second in which [`FlowTable::next_due`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.wheel.next_due()
    }
}
