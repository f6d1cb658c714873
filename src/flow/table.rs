//! The flow table: every flow under its two names, on the timer wheel, and on somebody's account.
//!
//! Everything is allocated at the start; no call here allocates or takes longer than a short chain of one
//! hash bucket. The table only keeps flows: releasing the outer port of one that is gone is up to the caller,
//! who gets the record back.

use alloc::boxed::Box;
use alloc::vec;

use super::index::{Chain, Heads};
use super::key::{Face, Key};
use super::record::{Chained, Flow, Route, Stage};
use super::share::{Account, Membership, Share};
use super::siphash::SipKey;
use super::slab::{Ends, Id, Links, Slab};
use super::tcp::{TcpStage, Track};
use super::tick::{Seconds, Tick};
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
    inside: Heads<Flow>,
    outside: Heads<Flow>,
    key: SipKey,
    share: Share,
    lists: Lists,
}

/// Where flows are listed by their age.
struct Lists {
    wheel: Wheel<Flow>,
    timeouts: Timeouts,
    /// Those for TCP once more, by stage: looked up for every packet.
    tcp_timeouts: [Seconds; TcpStage::COUNT],
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
            + 2 * Heads::<Flow>::bytes(capacity).div_ceil(capacity)
    }

    /// An empty table for `capacity` flows, of which one account may hold `cap`; `key` seeds its hash.
    pub fn new(capacity: u32, cap: u32, timeouts: Timeouts, key: (u64, u64), now: Tick) -> FlowTable {
        let places = capacity as usize;
        let share = Share::new(capacity, cap);
        FlowTable {
            slab: Slab::new(places),
            inside: Heads::new(places),
            outside: Heads::new(places),
            key: SipKey::new(key),
            share,
            lists: Lists {
                wheel: Wheel::new(places, now),
                timeouts,
                tcp_timeouts: TcpStage::ALL.map(|stage| timeouts.of_tcp(stage)),
                young: vec![Ends::EMPTY; Account::COUNT].into_boxed_slice(),
                young_links: Links::new(places),
            },
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
        let chained = |id| self.slab.get(id).map(|flow| flow.chained).unwrap_or_default();
        let inside = self.inside.longest_chain(|id| chained(id).inside);
        inside.max(self.outside.longest_chain(|id| chained(id).outside))
    }

    /// Gives `account` a guaranteed part of the table, or takes it away.
    pub fn set_membership(&mut self, account: Account, member: Membership) {
        self.share.set_membership(account, member);
    }

    /// The flow that is known as `key`, over or not.
    #[inline(always)]
    pub fn find(&self, key: &Key) -> Option<Id<Flow>> {
        let heads = match key.face {
            Face::Inside(_) => &self.inside,
            Face::Outside => &self.outside,
        };
        // A loop and not a closure, which would be one call more per packet.
        let mut at = heads.first(key.hash(&self.key));
        while let Some(id) = at {
            let flow = self.slab.get(id)?;
            if key.names(flow) {
                return Some(id);
            }
            at = match key.face {
                Face::Inside(_) => flow.chained.inside,
                Face::Outside => flow.chained.outside,
            };
        }
        None
    }

    /// The flow `id`, to be moved on.
    #[inline(always)]
    pub fn entry(&mut self, id: Id<Flow>) -> Option<Entry<'_>> {
        Some(Entry { id, flow: self.slab.get_mut(id)?, lists: &mut self.lists })
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

    /// Whether the table is half full and `flow` would take more than what its account is guaranteed.
    pub fn is_crowded(&self, flow: &Flow) -> bool {
        self.share.is_crowded(payer(flow), self.slab.len() as u32)
    }

    /// Enters `flow`, whose timeout starts `now`. The caller made sure that no other flow has its inside name,
    /// and that there was room for it or another flow of its account was removed in its favour.
    pub fn insert(&mut self, mut flow: Flow, now: Tick) -> Result<Id<Flow>, Refusal> {
        if Key::outside(&flow).is_some_and(|name| self.find(&name).is_some()) {
            return Err(Refusal::NameTaken);
        }
        flow.deadline = now.after(self.lists.timeouts.of(&flow));
        let id = self.slab.insert(flow).map_err(|_| Refusal::NoRoom)?;
        self.inside.insert(Key::inside(&flow).hash(&self.key), id, &mut Names::inside(&mut self.slab));
        if let Some(name) = Key::outside(&flow) {
            self.outside.insert(name.hash(&self.key), id, &mut Names::outside(&mut self.slab));
        }
        self.lists.wheel.file(id, flow.deadline);
        self.share.take(payer(&flow));
        if !flow.stage.is_assured() {
            self.lists.put_on_young(id, &flow);
        }
        Ok(id)
    }

    /// The flow on the account of `flow` that has waited longest to be assured.
    pub fn oldest_young(&self, flow: &Flow) -> Option<Id<Flow>> {
        self.lists.young.get(payer(flow).position())?.first()
    }

    /// Takes `id` out.
    pub fn remove(&mut self, id: Id<Flow>) -> Option<Flow> {
        self.lists.wheel.remove(id);
        self.forget(id)
    }

    /// Takes out `id`, which is on the wheel no longer.
    fn forget(&mut self, id: Id<Flow>) -> Option<Flow> {
        let flow = *self.slab.get(id)?;
        self.inside.remove(Key::inside(&flow).hash(&self.key), id, &mut Names::inside(&mut self.slab));
        if let Some(name) = Key::outside(&flow) {
            self.outside.remove(name.hash(&self.key), id, &mut Names::outside(&mut self.slab));
        }
        self.slab.remove(id);
        self.share.give(payer(&flow));
        if !flow.stage.is_assured() {
            self.lists.take_off_young(id, &flow);
        }
        Some(flow)
    }

    /// Looks at the next flow whose second on the wheel has come; `None` when there is none up to `now`.
    pub fn next_due(&mut self, now: Tick) -> Option<Due> {
        let id = self.lists.wheel.pop_due(now)?;
        let deadline = self.slab.get(id)?.deadline;
        if deadline.is_over(now) {
            return self.forget(id).map(Due::Expired);
        }
        self.lists.wheel.file(id, deadline);
        Some(Due::Alive)
    }

    /// The next second in which [`FlowTable::next_due`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.lists.wheel.next_due()
    }
}

/// The links of one kind of name, which are in the records.
struct Names<'s> {
    slab: &'s mut Slab<Flow>,
    link: fn(&mut Chained) -> &mut Option<Id<Flow>>,
}

impl Names<'_> {
    fn inside(slab: &mut Slab<Flow>) -> Names<'_> {
        Names { slab, link: |chained| &mut chained.inside }
    }

    fn outside(slab: &mut Slab<Flow>) -> Names<'_> {
        Names { slab, link: |chained| &mut chained.outside }
    }
}

impl Chain<Flow> for Names<'_> {
    fn next(&self, id: Id<Flow>) -> Option<Id<Flow>> {
        let mut chained = self.slab.get(id)?.chained;
        *(self.link)(&mut chained)
    }

    fn set_next(&mut self, id: Id<Flow>, next: Option<Id<Flow>>) {
        if let Some(flow) = self.slab.get_mut(id) {
            *(self.link)(&mut flow.chained) = next;
        }
    }
}

/// A flow in its table, found once for all that its packet does to it.
pub struct Entry<'t> {
    id: Id<Flow>,
    flow: &'t mut Flow,
    lists: &'t mut Lists,
}

impl Entry<'_> {
    /// The record.
    pub const fn flow(&self) -> &Flow {
        self.flow
    }

    /// What is known of its connection.
    pub const fn tcp(&mut self) -> &mut Track {
        &mut self.flow.tcp
    }

    /// Starts its timeout anew.
    #[inline(always)]
    pub fn refresh(&mut self, now: Tick) {
        self.lists.refresh(self.id, self.flow, now);
    }

    /// Moves it to `stage`, another than its present one, and starts its timeout anew.
    #[inline(always)]
    pub fn enter(&mut self, stage: Stage, now: Tick) {
        self.lists.enter(self.id, self.flow, stage, now);
    }
}

impl Lists {
    #[inline(always)]
    fn refresh(&mut self, id: Id<Flow>, flow: &mut Flow, now: Tick) {
        let silence = match flow.stage {
            Stage::Tcp(stage) => self.tcp_timeouts[stage as usize],
            _ => self.timeouts.of(flow),
        };
        let deadline = now.after(silence);
        let due = core::mem::replace(&mut flow.deadline, deadline);
        if deadline < due {
            self.wheel.hasten(id, deadline);
        }
    }

    #[inline(never)]
    fn enter(&mut self, id: Id<Flow>, flow: &mut Flow, stage: Stage, now: Tick) {
        let was = core::mem::replace(&mut flow.stage, stage);
        match (was.is_assured(), stage.is_assured()) {
            (false, true) => self.take_off_young(id, flow),
            (true, false) => self.put_on_young(id, flow),
            _ => {}
        }
        self.refresh(id, flow, now);
    }

    /// Adds `flow` to the flows of its account that are not assured.
    fn put_on_young(&mut self, id: Id<Flow>, flow: &Flow) {
        if let Some(ends) = self.young.get_mut(payer(flow).position()) {
            self.young_links.push(ends, id);
        }
    }

    /// Takes `flow` off the flows of its account that are not assured.
    fn take_off_young(&mut self, id: Id<Flow>, flow: &Flow) {
        if let Some(ends) = self.young.get_mut(payer(flow).position()) {
            self.young_links.remove(ends, id);
        }
    }
}
