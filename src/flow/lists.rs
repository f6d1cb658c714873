//! Where flows are listed: on the timer wheel, and by whose they are and who may put an end to them.

use super::record::{Flow, FlowKind, FlowStage, Generation};
use super::tcp::TcpStage;
use super::timeouts::Timeouts;
use crate::base::address::Address;
use crate::base::bug::OrBug;
use crate::base::tick::{Seconds, Tick};
use crate::nat::mapping::Want;
use crate::nat::ports::PoolKind;
use crate::tables::share::Account;
use crate::tables::slab::{Ends, Id, Links};
use crate::tables::wheel::Wheel;
use alloc::boxed::Box;
use core::ops::Range;

/// By whom a flow may be put an end to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Its client has left since it was opened: by anybody.
    Condemned,
    /// It is not assured: by a newer one on its account.
    Unassured,
    /// It is assured: by somebody who is owed what its account has too much of.
    Assured,
}

impl Protection {
    pub(super) const ALL: [Protection; 3] =
        [Protection::Condemned, Protection::Unassured, Protection::Assured];
}

/// Kinds of flows by what they keep: a port of one of the pools, or none.
pub(super) const RESOURCES: usize = PoolKind::ALL.len() + 1;

/// Where flows are listed by their deadline and by their age, and what decides about both.
pub(super) struct Lists<A> {
    pub(super) wheel: Wheel<Flow<A>>,
    pub(super) timeouts: Timeouts,
    /// Those of `timeouts` for TCP, by stage: looked up for every packet.
    pub(super) tcp_timeouts: [Seconds; TcpStage::COUNT],
    /// Every flow is on one of these, in the order they were put there: see [`age_list`].
    pub(super) age_lists: Box<[Ends<Flow<A>>]>,
    pub(super) age_links: Links<Flow<A>>,
    /// Per account, the generation in which its client last left: flows that were judged before are condemned.
    pub(super) left: Box<[Generation]>,
    /// Accounts that may have condemned flows, one bit each.
    pub(super) leaving: [u64; Account::COUNT.div_ceil(64)],
}

/// Where the flows of one kind and standing of `account` are listed.
pub(super) const fn age_list(account: Account, kind: usize, standing: Protection) -> usize {
    (account.position() * RESOURCES + kind) * Protection::ALL.len() + standing as usize
}

/// The account that pays for a flow: whoever opened it.
pub const fn payer<A>(flow: &Flow<A>) -> Account {
    match flow.kind {
        FlowKind::Outbound | FlowKind::ClientToClient(_) => Account::client(flow.near),
        FlowKind::PortForward => Account::UPLINK,
    }
}

/// The kind of a flow, by what it keeps. One that leaves by a forwarded port keeps none.
pub(super) const fn resource<A>(flow: &Flow<A>) -> usize {
    match (flow.mapping, PoolKind::of(flow.protocol, flow.near_port)) {
        (Some(_), Some(pool)) => pool.position(),
        _ => RESOURCES - 1,
    }
}

/// The kinds of flows that keep what is wanted.
pub(super) const fn resources(want: Want) -> Range<usize> {
    match want {
        Want::Place => 0..RESOURCES,
        Want::Mapping => 0..PoolKind::ALL.len(),
        Want::Port(pool) => pool.position()..pool.position() + 1,
    }
}

impl<A: Address> Lists<A> {
    #[inline(always)]
    pub(super) fn refresh(&mut self, id: Id<Flow<A>>, flow: &mut Flow<A>, now: Tick) {
        let silence = match flow.stage {
            FlowStage::Tcp(stage) => self.tcp_timeouts[stage as usize],
            _ => self.timeouts.of_usual(flow),
        };
        let deadline = now.after(silence);
        let due = core::mem::replace(&mut flow.deadline, deadline);
        if deadline < due {
            self.wheel.hasten(id, deadline);
        }
    }

    /// When `flow` was last used by its opener, as far as that is known; if assured or of TCP, by anybody.
    pub(super) const fn last_used(&self, flow: &Flow<A>) -> Tick {
        flow.deadline.before(self.timeouts.of(flow)).before(Seconds(flow.unused as u32))
    }

    /// Moves `flow`, not of TCP, to the stage after an answer that does not assure it, or has it enter that once more. It
    /// stays where it is listed: which flow gives way to newer ones is not for the end that answers to say.
    #[inline(never)]
    pub(super) fn answer(&mut self, id: Id<Flow<A>>, flow: &mut Flow<A>, now: Tick) {
        let unused = now.0.saturating_sub(self.last_used(flow).0);
        flow.unused = u8::try_from(unused).unwrap_or(u8::MAX);
        flow.stage = FlowStage::Replied;
        self.refresh(id, flow, now);
    }

    #[inline(never)]
    pub(super) fn enter(&mut self, id: Id<Flow<A>>, flow: &mut Flow<A>, stage: FlowStage, now: Tick) {
        // Without TCP, nobody repeats what is lost: a flow that its opener uses again is the last to give way to newer
        // ones, as an answer may be on its way.
        let keeps_place = matches!(stage, FlowStage::Tcp(_)) && flow.stage.is_assured() == stage.is_assured();
        if keeps_place {
            flow.stage = stage;
        } else {
            let (from, to) = (self.age_list_of(flow), self.age_list_at(flow, stage));
            self.unlist(from, id);
            flow.stage = stage;
            flow.unused = 0;
            self.list(to, id);
        }
        self.refresh(id, flow, now);
    }

    /// Whether `account` has left since `flow` was judged.
    pub(super) fn has_left(&self, account: Account, flow: &Flow<A>) -> bool {
        self.left.get(account.position()).is_some_and(|left| flow.judged.is_before(*left))
    }

    /// The list by age that `flow` is on.
    pub(super) fn age_list_of(&self, flow: &Flow<A>) -> usize {
        self.age_list_at(flow, flow.stage)
    }

    /// The list by age that `flow` is on when it has reached `stage`.
    #[inline(always)]
    fn age_list_at(&self, flow: &Flow<A>, stage: FlowStage) -> usize {
        let account = payer(flow);
        let standing = match stage.is_assured() {
            _ if self.has_left(account, flow) => Protection::Condemned,
            false => Protection::Unassured,
            true => Protection::Assured,
        };
        age_list(account, resource(flow), standing)
    }

    pub(super) fn file_by_age(&mut self, id: Id<Flow<A>>, flow: &Flow<A>) {
        self.list(self.age_list_of(flow), id);
    }

    pub(super) fn unfile(&mut self, id: Id<Flow<A>>, flow: &Flow<A>) {
        self.unlist(self.age_list_of(flow), id);
    }

    #[inline(always)]
    fn list(&mut self, age_list: usize, id: Id<Flow<A>>) {
        if let Some(ends) = self.age_lists.get_mut(age_list).or_bug("a flow that is on no list by age") {
            self.age_links.push(ends, id);
        }
    }

    #[inline(always)]
    fn unlist(&mut self, age_list: usize, id: Id<Flow<A>>) {
        if let Some(ends) = self.age_lists.get_mut(age_list).or_bug("a flow that is on no list by age") {
            self.age_links.remove(ends, id);
        }
    }

    pub(super) fn condemn(&mut self, account: Account, generation: Generation) {
        if let Some(left) = self.left.get_mut(account.position()) {
            *left = generation;
        }
        for kind in 0..RESOURCES {
            for standing in [Protection::Unassured, Protection::Assured] {
                let Some(from) = self.age_lists.get_mut(age_list(account, kind, standing)) else { continue };
                let mut moved = core::mem::replace(from, Ends::EMPTY);
                if let Some(to) = self.age_lists.get_mut(age_list(account, kind, Protection::Condemned)) {
                    self.age_links.append(to, &mut moved);
                }
            }
        }
        let position = account.position();
        if let Some(word) = self.leaving.get_mut(position / 64) {
            *word |= 1 << (position % 64);
        }
    }

    /// A condemned flow; forgets that accounts have some when they have none.
    pub(super) fn first_condemned(&mut self) -> Option<Id<Flow<A>>> {
        for (at, word) in self.leaving.iter_mut().enumerate() {
            while *word != 0 {
                let bit = word.trailing_zeros() as usize;
                let account = Account::all().nth(at * 64 + bit)?;
                let first =
                    |kind| self.age_lists.get(age_list(account, kind, Protection::Condemned))?.first();
                if let Some(id) = (0..RESOURCES).find_map(first) {
                    return Some(id);
                }
                *word &= !(1 << bit);
            }
        }
        None
    }
}
