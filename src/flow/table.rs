//! The flow table: every flow of one family under its two keys, on the timer wheel, and on somebody's account.
//!
//! Everything is allocated at the start; no call here allocates or takes longer than a short chain of one
//! hash bucket. The table only keeps flows: releasing the outer port of one that is gone is up to the caller,
//! who gets the record back.
//!
//! A flow's place is booked on an account. The [`Share`] of places is the caller's, who lends the same one to the tables
//! of both families: what a call takes or gives back is booked there.
//!
//! Every account's flows are on lists, by what they keep (a kind of port) and by who may put an end to them. When a
//! client leaves, its flows are condemned in one step, however many they are: they are over wherever they are met, and
//! are taken out some at a time or when their account wants something (conformance S-6).

use alloc::vec;
use core::net::Ipv4Addr;

use super::key::{FlowKey, Realm};
use super::lists::{Lists, Protection, RESOURCES, age_list, payer, resources};
use super::record::{Chained, Flow, FlowKind, FlowStage, Generation};
use super::tcp::{TcpStage, TcpTracker};
use super::timeouts::Timeouts;
use crate::base::address::Address;
use crate::base::bug::OrBug;
use crate::base::tick::Tick;
use crate::nat::mapping::Want;
use crate::tables::index::{ChainLinks, Heads};
use crate::tables::multilinear::MultilinearKey;
use crate::tables::prf::Prf;
use crate::tables::share::{Account, Share};
use crate::tables::slab::{Ends, Id, Links, Slab};
use crate::tables::wheel::Wheel;

/// Flows in one bucket at most: with as many buckets as flows, one in 10³⁵ has more by chance.
const MAX_CHAIN: usize = 32;

/// Why a flow cannot be entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowRefusal {
    /// The table is full.
    NoRoom,
    /// Another flow has the same external key.
    KeyTaken,
}

/// What became of a flow whose second on the wheel came.
#[derive(Debug)]
pub enum DueFlow<A = Ipv4Addr> {
    /// It was too long silent and is gone.
    Expired(Flow<A>),
    /// It saw packets meanwhile and stays.
    Alive,
}

/// All flows of one family.
pub struct FlowTable<A = Ipv4Addr> {
    slab: Slab<Flow<A>>,
    internal: Heads<Flow<A>>,
    external: Heads<Flow<A>>,
    key: MultilinearKey,
    /// Where further keys are from.
    random: Prf,
    lists: Lists<A>,
}

impl<A: Address> FlowTable<A> {
    /// Bytes per flow, hash index and timer links included.
    pub const fn bytes_per_flow(capacity: usize) -> usize {
        Slab::<Flow<A>>::PLACE_BYTES
            + Wheel::<Flow<A>>::RECORD_BYTES
            + Links::<Flow<A>>::LINK_BYTES
            + 2 * Heads::<Flow<A>>::bytes(capacity).div_ceil(capacity)
    }

    /// An empty table for `capacity` flows; `key` seeds its hash.
    pub fn new(capacity: u32, timeouts: Timeouts, key: (u64, u64), now: Tick) -> FlowTable<A> {
        let places = capacity as usize;
        let mut random = Prf::new(key);
        FlowTable {
            slab: Slab::new(places),
            internal: Heads::new(places),
            external: Heads::new(places),
            key: MultilinearKey::new(&mut random),
            random,
            lists: Lists {
                wheel: Wheel::new(places, now),
                timeouts,
                tcp_timeouts: TcpStage::ALL.map(|stage| timeouts.of_tcp(stage)),
                age_lists: vec![Ends::EMPTY; Account::COUNT * RESOURCES * Protection::ALL.len()]
                    .into_boxed_slice(),
                age_links: Links::new(places),
                left: vec![Generation::default(); Account::COUNT].into_boxed_slice(),
                leaving: [0; Account::COUNT.div_ceil(64)],
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

    /// Whether there is no place for one more, whoever asks.
    pub const fn is_full(&self) -> bool {
        self.slab.is_full()
    }

    /// One more than the highest position a flow ever had: for [`FlowTable::id_at`].
    pub const fn extent(&self) -> usize {
        self.slab.extent()
    }

    /// The flow at a position, to walk over all of them.
    pub fn id_at(&self, position: usize) -> Option<Id<Flow<A>>> {
        self.slab.id_at(position)
    }

    /// Flows in the fullest hash bucket.
    pub fn longest_chain(&self) -> usize {
        let chained = |id| self.slab.get(id).map(|flow| flow.chained).unwrap_or_default();
        let inside = self.internal.longest_chain(|id| chained(id).internal);
        inside.max(self.external.longest_chain(|id| chained(id).external))
    }

    /// The flow that is known as `key`, over or not.
    #[inline(always)]
    pub fn find(&self, key: &FlowKey<A>) -> Option<Id<Flow<A>>> {
        let heads = match key.realm {
            Realm::Internal(_) => &self.internal,
            Realm::External => &self.external,
        };
        // A loop and not a closure, which would be one call more per packet.
        let mut at = heads.first(key.hash(&self.key).into());
        while let Some(id) = at {
            let flow = self.slab.get(id).or_bug("a chain leads to a flow that is gone")?;
            if key.matches(flow) {
                return Some(id);
            }
            at = match key.realm {
                Realm::Internal(_) => flow.chained.internal,
                Realm::External => flow.chained.external,
            };
        }
        None
    }

    /// The flow `id`, to be moved on.
    #[inline(always)]
    pub fn entry(&mut self, id: Id<Flow<A>>) -> Option<FlowEntry<'_, A>> {
        Some(FlowEntry { id, flow: self.slab.get_mut(id)?, lists: &mut self.lists })
    }

    /// The record of `id`.
    pub fn get(&self, id: Id<Flow<A>>) -> Option<&Flow<A>> {
        self.slab.get(id)
    }

    /// The record of `id`. Its keys, kind, stage and deadline must not be changed through this.
    pub fn get_mut(&mut self, id: Id<Flow<A>>) -> Option<&mut Flow<A>> {
        self.slab.get_mut(id)
    }

    /// Condemns every flow on `account`, whose client leaves as `generation` begins.
    pub fn condemn(&mut self, account: Account, generation: Generation) {
        self.lists.condemn(account, generation);
    }

    /// No flow is older than `floor`: nobody has left before that, as far as flows go.
    pub fn raise(&mut self, floor: Generation) {
        self.lists.left.iter_mut().for_each(|left| *left = left.max(floor));
    }

    /// Whether one of the clients at the ends of `flow` has left since it was judged.
    pub fn is_condemned(&self, flow: &Flow<A>) -> bool {
        let left = |client| self.lists.has_left(Account::client(client), flow);
        left(flow.near) || matches!(flow.kind, FlowKind::ClientToClient(peer) if left(peer))
    }

    /// Whether [`FlowTable::next_condemned`] has something to do.
    pub fn has_condemned(&self) -> bool {
        self.lists.leaving.iter().any(|word| *word != 0)
    }

    /// Takes out one that was condemned with its account; `None` when there is none left.
    pub fn next_condemned(&mut self, places: &mut Share) -> Option<Flow<A>> {
        let id = self.lists.first_condemned()?;
        self.remove(id, places)
    }

    /// Enters `flow`, whose timeout starts `now`. The caller made sure that no other flow has its internal key,
    /// and that its account had room for it or another flow was removed in its favour.
    pub fn insert(
        &mut self,
        mut flow: Flow<A>,
        now: Tick,
        places: &mut Share,
    ) -> Result<Id<Flow<A>>, FlowRefusal> {
        if FlowKey::external(&flow).is_some_and(|key| self.find(&key).is_some()) {
            return Err(FlowRefusal::KeyTaken);
        }
        flow.deadline = now.after(self.lists.timeouts.of(&flow));
        let id = self.slab.insert(flow).map_err(|_| FlowRefusal::NoRoom)?;
        self.file_by_keys(id, &flow);
        if self.has_long_chain(&flow) {
            self.take_new_keys();
        }
        self.lists.wheel.file(id, flow.deadline);
        places.take(payer(&flow));
        self.lists.file_by_age(id, &flow);
        Ok(id)
    }

    fn file_by_keys(&mut self, id: Id<Flow<A>>, flow: &Flow<A>) {
        let hash = FlowKey::internal(flow).hash(&self.key);
        self.internal.insert(hash.into(), id, &mut KeyLinks::internal(&mut self.slab));
        if let Some(key) = FlowKey::external(flow) {
            let hash = key.hash(&self.key);
            self.external.insert(hash.into(), id, &mut KeyLinks::external(&mut self.slab));
        }
    }

    /// Whether one of the buckets that `flow` is in is fuller than any is by chance.
    fn has_long_chain(&self, flow: &Flow<A>) -> bool {
        let internal = self.internal.first(FlowKey::internal(flow).hash(&self.key).into());
        let external =
            FlowKey::external(flow).and_then(|key| self.external.first(key.hash(&self.key).into()));
        let chained = |id| self.slab.get(id).map(|flow| flow.chained).unwrap_or_default();
        let inside = core::iter::successors(internal, |id| chained(*id).internal);
        let outside = core::iter::successors(external, |id| chained(*id).external);
        inside.take(MAX_CHAIN + 1).count() > MAX_CHAIN || outside.take(MAX_CHAIN + 1).count() > MAX_CHAIN
    }

    /// Files every flow anew under keys that nobody knows: somebody seems to have found out the present ones.
    #[cold]
    fn take_new_keys(&mut self) {
        log::warn!("the table of flows has a long chain and takes new keys");
        self.key = MultilinearKey::new(&mut self.random);
        self.internal.clear();
        self.external.clear();
        for position in 0..self.slab.extent() {
            let Some(id) = self.slab.id_at(position) else { continue };
            let Some(flow) = self.slab.get_mut(id) else { continue };
            flow.chained = Chained::default();
            let flow = *flow;
            self.file_by_keys(id, &flow);
        }
    }

    /// The flow on `account` that is to give way to one that lacks `want`, of those that are protected no better than
    /// `most`: the condemned before the unassured, those before the assured. Among equals it is the one that was listed
    /// first (a flow that is not TCP is listed anew when its opener uses it again), and between kinds the one that has
    /// not been used for longest.
    pub fn oldest(&self, account: Account, want: Want, most: Protection) -> Option<Id<Flow<A>>> {
        let standings = Protection::ALL.into_iter().filter(|standing| *standing <= most);
        let first = |standing, kind| self.lists.age_lists.get(age_list(account, kind, standing))?.first();
        let last_used = |id: &Id<Flow<A>>| self.slab.get(*id).map(|flow| self.lists.last_used(flow));
        let mut oldest = standings
            .map(|standing| resources(want).filter_map(|kind| first(standing, kind)).min_by_key(last_used));
        oldest.find_map(|found| found)
    }

    /// When `flow` was last used by its opener, as far as that is known; if assured or of TCP, by anybody.
    pub const fn last_used(&self, flow: &Flow<A>) -> Tick {
        self.lists.last_used(flow)
    }

    /// The flow that goes so many `places` after `id`, of those of its kind and standing.
    pub fn after(&self, id: Id<Flow<A>>, places: u8) -> Option<Id<Flow<A>>> {
        (0..places).try_fold(id, |at, _| self.lists.age_links.after(at))
    }

    /// Takes `id` out.
    pub fn remove(&mut self, id: Id<Flow<A>>, places: &mut Share) -> Option<Flow<A>> {
        self.lists.wheel.remove(id);
        self.forget(id, places)
    }

    /// Takes out `id`, which is on the wheel no longer.
    fn forget(&mut self, id: Id<Flow<A>>, places: &mut Share) -> Option<Flow<A>> {
        let flow = *self.slab.get(id)?;
        let hash = FlowKey::internal(&flow).hash(&self.key);
        self.internal.remove(hash.into(), id, &mut KeyLinks::internal(&mut self.slab));
        if let Some(key) = FlowKey::external(&flow) {
            let hash = key.hash(&self.key);
            self.external.remove(hash.into(), id, &mut KeyLinks::external(&mut self.slab));
        }
        self.slab.remove(id);
        places.give(payer(&flow));
        self.lists.unfile(id, &flow);
        Some(flow)
    }

    /// Looks at the next flow whose second on the wheel has come; `None` when there is none up to `now`.
    pub fn next_due(&mut self, now: Tick, places: &mut Share) -> Option<DueFlow<A>> {
        let id = self.lists.wheel.pop_due(now)?;
        let deadline = self.slab.get(id).or_bug("a flow that is gone is on the wheel")?.deadline;
        if deadline.is_over(now) {
            return self.forget(id, places).map(DueFlow::Expired);
        }
        self.lists.wheel.file(id, deadline);
        Some(DueFlow::Alive)
    }

    /// The next second in which [`FlowTable::next_due`] has something to do.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.lists.wheel.next_due()
    }
}

/// The links of one kind of key, which are in the records.
struct KeyLinks<'s, A> {
    slab: &'s mut Slab<Flow<A>>,
    link: fn(&mut Chained<A>) -> &mut Option<Id<Flow<A>>>,
}

impl<A: Address> KeyLinks<'_, A> {
    fn internal(slab: &mut Slab<Flow<A>>) -> KeyLinks<'_, A> {
        KeyLinks { slab, link: |chained| &mut chained.internal }
    }

    fn external(slab: &mut Slab<Flow<A>>) -> KeyLinks<'_, A> {
        KeyLinks { slab, link: |chained| &mut chained.external }
    }
}

impl<A: Address> ChainLinks<Flow<A>> for KeyLinks<'_, A> {
    fn next(&self, id: Id<Flow<A>>) -> Option<Id<Flow<A>>> {
        let mut chained = self.slab.get(id).or_bug("a chain leads to a flow that is gone")?.chained;
        *(self.link)(&mut chained)
    }

    fn set_next(&mut self, id: Id<Flow<A>>, next: Option<Id<Flow<A>>>) {
        if let Some(flow) = self.slab.get_mut(id).or_bug("a chain leads to a flow that is gone") {
            *(self.link)(&mut flow.chained) = next;
        }
    }
}

/// A flow in its table, found once for all that its packet does to it.
pub struct FlowEntry<'t, A = Ipv4Addr> {
    id: Id<Flow<A>>,
    flow: &'t mut Flow<A>,
    lists: &'t mut Lists<A>,
}

impl<A: Address> FlowEntry<'_, A> {
    /// The record.
    pub const fn flow(&self) -> &Flow<A> {
        self.flow
    }

    /// What is known of its TCP connection.
    pub const fn tcp(&mut self) -> &mut TcpTracker {
        &mut self.flow.tcp
    }

    /// Whether its timeout started in this second.
    #[inline(always)]
    pub fn was_refreshed(&self, now: Tick) -> bool {
        self.flow.deadline == now.after(self.lists.timeouts.of_usual(self.flow))
    }

    /// Starts its timeout anew.
    #[inline(always)]
    pub fn refresh(&mut self, now: Tick) {
        self.lists.refresh(self.id, self.flow, now);
    }

    /// Notes an answer that does not assure it, without TCP, and starts its timeout anew.
    #[inline(always)]
    pub fn answer(&mut self, now: Tick) {
        self.lists.answer(self.id, self.flow, now);
    }

    /// Moves it to `stage`, or has it enter its present one once more, and starts its timeout anew.
    #[inline(always)]
    pub fn enter(&mut self, stage: FlowStage, now: Tick) {
        self.lists.enter(self.id, self.flow, stage, now);
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
