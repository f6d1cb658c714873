//! Room for a new flow: whose flow gives way.
//!
//! Whatever is short, a place in the table, a mapping or a port, one flow gives way for it: of the client's own, what
//! is left of an earlier stay, then the oldest that is not assured (conformance P-8, P-12); or of somebody who has too
//! much, if the client has less than its guaranteed part (conformance S-1).

use super::datapath::Datapath;
use super::spared::{BURST, IN_USE};
use crate::base::bug::bug;
use crate::base::drop_reason::DropReason;
use crate::base::tick::Tick;
use crate::base::time::Moment;
use crate::flow::lists::{Protection, payer};
use crate::flow::record::{Flow, FlowKind};

use crate::nat::mapping::Want;
use crate::nat::mapping::{Mapping, NoPort};
use crate::nat::mapping_table::Freed;
use crate::nat::ports::PoolKind;
use crate::tables::allowance::Taken;
use crate::tables::share::Account;
use crate::tables::slab::Id;

impl Datapath {
    /// Whose flow gives way to a new one of `account` that lacks `want`, which `debtor` has too much of.
    fn who_gives_way(&self, account: Account, want: Want, debtor: Option<Account>) -> Option<Id<Flow>> {
        let own = |most| self.flows.oldest(account, want, most);
        let of_debtor = || self.flows.oldest(debtor?, want, Protection::Assured);
        own(Protection::Condemned).or_else(of_debtor).or_else(|| own(Protection::Unassured))
    }

    /// The flow that is to give way to `flow`; `None` when there is a place for it.
    ///
    /// The rate is there so that nobody fills the table in no time. It holds for flows that make the table fuller
    /// where that can hurt others; one that takes the place of an older one of the same client does not.
    fn who_gives_place(&self, flow: &Flow, pace: Taken) -> Result<Option<Id<Flow>>, DropReason> {
        let account = payer(flow);
        if !self.flows.is_full() && self.places.has_room(account) {
            if pace == Taken::Granted || !self.places.is_crowded(account, self.flows.len() as u32) {
                return Ok(None);
            }
            let gives = self.who_gives_way(account, Want::Place, None);
            return gives.map(Some).ok_or(DropReason::FlowRate);
        }
        let debtor = self.places.debtor_to(account);
        let gives = self.who_gives_way(account, Want::Place, debtor);
        if gives.is_none() && debtor.is_some() {
            bug("whoever has too much has nothing to give");
        }
        gives.map(Some).ok_or(DropReason::FlowLimit)
    }

    /// Makes room for `flow`; `pace` says whether its client's rate allows it. Returns a mapping and its outer port if
    /// the flow needs one from `pool`. Nothing is taken if the flow is refused.
    pub(super) fn make_room(
        &mut self,
        now: Moment,
        flow: &Flow,
        pool: Option<PoolKind>,
        pace: Taken,
    ) -> Result<Option<(Id<Mapping>, u16)>, DropReason> {
        let for_place = self.who_gives_place(flow, pace)?;
        let Some(pool) = pool else {
            self.evict(for_place, now);
            return Ok(None);
        };
        let short = match self.mappings.acquire(flow.near, pool, flow.near_port, Tick::at(now)) {
            Ok(port) => {
                self.evict(for_place, now);
                return Ok(Some(port));
            }
            Err(short) => short,
        };
        let refused = match short.reason {
            NoPort::ClientLimit => DropReason::PortLimit,
            NoPort::PoolEmpty => DropReason::PortsExhausted,
        };
        let account = payer(flow);
        let gives = self.who_gives_way(account, short.want, short.debtor);
        if gives.is_none() && short.debtor.is_some() {
            bug("whoever has too much has nothing to give");
        }
        let gives = gives.ok_or(refused)?;
        let is_own = self.flows.get(gives).is_some_and(|gives| payer(gives) == account);
        self.evict(Some(gives), now);
        let port = self.mappings.acquire(flow.near, pool, flow.near_port, Tick::at(now));
        let port = port.map_err(|_| refused)?;
        // One of its own that gave its port has also given its place.
        if !is_own && let Ok(for_place) = self.who_gives_place(flow, pace) {
            self.evict(for_place, now);
        }
        Ok(Some(port))
    }

    /// Takes something back from an account that has more than it may, because its limit was lowered: with each new
    /// `flow` another one ends, besides the one that gave way to it. This holds for places in the table, and for ports
    /// of the pool that `flow` has a port of; of these, the one that has been in quarantine longest goes first. A port
    /// that several flows use is given back with the last of them. A client that opens no flows keeps what it has.
    ///
    /// A flow that was just used is spared; else a client that asks two questions at once would lose the first with the
    /// second. This keeps nobody above its limit for good. As long as there are too many flows, every new one takes the
    /// place of another, and its port if it needs one, so there are never more than before. Of five new flows at least
    /// one ends another besides, in use or not. An account that has only assured flows gets no new ones, so it has
    /// fewer with each that is over. A flow that is ended is always on the account that has too much.
    #[cold]
    pub(super) fn shrink(&mut self, flow: &Flow, now: Moment) {
        let account = payer(flow);
        let pool = flow.mapping.and_then(|_| PoolKind::of(flow.protocol, flow.near_port));
        if let Some(pool) = pool.filter(|pool| self.mappings.is_over_cap(account, *pool))
            && self.mappings.free_early(account, pool) == Freed::None
        {
            self.end_surplus(account, Want::Port(pool), now);
            // None if others use it, too: their turn comes with the next flows.
            self.mappings.free_early(account, pool);
        }
        if self.places.is_at_cap(account) {
            self.end_surplus(account, Want::Place, now);
        }
    }

    /// Ends the flow on `account` that gives way for `want`, unless it is spared.
    fn end_surplus(&mut self, account: Account, want: Want, now: Moment) {
        let Some(first) = self.who_gives_way(account, want, None) else { return };
        let is_silent = |id: Id<Flow>| {
            let is_silent = |flow| self.flows.last_used(flow).after(IN_USE).is_over(Tick::at(now));
            self.flows.get(id).is_some_and(is_silent)
        };
        let is_over = self.flows.get(first).is_some_and(|flow| self.flows.is_condemned(flow));
        // The next few new flows are to find silent ones, too, that can give way to them.
        let are_silent = is_silent(first) && self.flows.after(first, BURST).is_some_and(is_silent);
        if !is_over && !are_silent && self.spared.spare(account) {
            return;
        }
        self.spared.begin_anew(account);
        self.evict(Some(first), now);
    }

    fn evict(&mut self, id: Option<Id<Flow>>, now: Moment) {
        if let Some(id) = id {
            self.end(id, now);
            self.counters.evicted += 1;
        }
    }

    /// Notes the clients, other than the one that pays for `flow`, whose coming or going ends it or has it judged
    /// again.
    pub(super) fn note_callers(&mut self, flow: &Flow) {
        let (at_ends, away) = match flow.kind {
            FlowKind::ClientToClient(peer) => (Some(peer), None),
            FlowKind::Outbound => (None, self.clients.known(flow.far)),
            FlowKind::PortForward => (Some(flow.near), self.clients.known(flow.far)),
        };
        for client in at_ends.into_iter().chain(away) {
            self.clients.note_caller(client, flow.near);
        }
    }
}
