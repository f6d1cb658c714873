//! What time and changes bring due: flows expire, and are judged again.
//!
//! A flow that was judged before a change that concerns it is judged again before its next packet passes; those
//! without packets are judged again by [`Datapath::advance`], some at a time, which also takes out the flows of clients
//! that have left.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::time::Duration;

use super::datapath::Datapath;
use crate::base::bug::OrBug;
use crate::base::side::ClientSlot;
use crate::base::tick::Tick;
use crate::base::time::Moment;
use crate::flow::record::{Flow, FlowKind};
use crate::flow::table::DueFlow;
use crate::guard::name_addresses::FlowAge;
use crate::guard::rule::RuleAction;
use crate::guard::{Answer, FlowRequest, RuleTable, Ruling};
use crate::tables::slab::Id;
use crate::wire::ipv4::protocol;

/// Whether work that is due is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All that was due is done.
    Done,
    /// Call again soon.
    MoreToDo,
}

impl Datapath {
    /// Makes every flow be judged anew: at its next packet, or by [`Datapath::advance`].
    pub(super) fn judge_all_again(&mut self) {
        self.begin_generation();
        self.freshness.demand_of_all(self.generation);
        if !self.flows.is_empty() {
            self.walks.ask();
        }
    }

    /// Makes flows of these clients be judged anew, as a name stands for others: whoever owns it decides how often.
    pub(super) fn judge_again_of(&mut self, concerns: impl Fn(&RuleTable, Ipv4Addr) -> bool, now: Moment) {
        self.begin_generation();
        for number in (0..=u8::MAX).map(ClientSlot) {
            if self.clients.get(number).is_some_and(|client| concerns(&self.rules, client.address)) {
                self.freshness.demand(number, self.generation);
            }
        }
        self.ask_for_walk(now);
    }

    /// Makes every flow be judged anew, since a rule has expired.
    #[cold]
    pub(super) fn revalidate(&mut self, now: Moment) {
        self.rules.look_at_expiries(self.unix(now));
        self.judge_all_again();
        self.plan_revalidation(now);
    }

    /// Finds out when the next rule expires.
    pub(super) fn plan_revalidation(&mut self, now: Moment) {
        let (told, unix) = self.wall;
        self.next_revalidation = match self.rules.next_expiry(self.unix(now)) {
            Some(end) => told + Duration::from_secs(end.0.saturating_sub(unix.0)),
            None => Moment::END,
        };
    }

    /// When a rule expires, and flows have to be judged again.
    pub const fn next_review(&self) -> Moment {
        self.next_revalidation
    }

    /// Whether the flow `id` still exists at `now` under the present rules; if not it is ended.
    pub(super) fn is_alive(&mut self, id: Id<Flow>, now: Moment) -> bool {
        let Some(flow) = self.flows.get(id) else { return false };
        if flow.deadline.is_over(Tick::at(now)) {
            self.end(id, now);
            self.counters.expired += 1;
            return false;
        }
        self.freshness.is_met(flow) || self.is_still_allowed(id, now)
    }

    /// Judges the flow `id` again; ends it if it is forbidden now.
    #[cold]
    fn is_still_allowed(&mut self, id: Id<Flow>, now: Moment) -> bool {
        let Some(flow) = self.flows.get(id).copied() else { return false };
        let is_over = self.flows.is_condemned(&flow) || self.has_another_address(&flow);
        if is_over || self.judge(&flow, now, FlowAge::Open).answer != Answer::Accept {
            self.end(id, now);
            self.counters.revoked += 1;
            return false;
        }
        self.mark_judged(id);
        true
    }

    /// Whether `flow` was translated to an address on the uplink that is not ours any more.
    fn has_another_address(&self, flow: &Flow) -> bool {
        !matches!(flow.kind, FlowKind::ClientToClient(_)) && flow.judged.is_before(self.readdressed)
    }

    fn mark_judged(&mut self, id: Id<Flow>) {
        if let Some(flow) = self.flows.get_mut(id).or_bug("a flow that was judged is gone") {
            flow.judged = self.generation;
        }
    }

    /// What the rules say about a flow, and whether its ends are where they were.
    pub(super) fn judge(&self, flow: &Flow, now: Moment, age: FlowAge) -> Ruling {
        let Some(near) = self.clients.get(flow.near) else { return Ruling::UNKNOWN };
        let has_ports = matches!(flow.protocol, protocol::TCP | protocol::UDP);
        let query = (flow.protocol == protocol::ICMP).then_some(flow.far_port);
        let request = FlowRequest {
            source: near.address,
            destination: flow.far,
            protocol: flow.protocol,
            destination_port: has_ports.then_some(flow.far_port),
            icmp_type: query.and_then(|kind| u8::try_from(kind).ok()),
            now: self.unix(now),
        };
        let forward = || {
            let target = self.rules.port_forward_at(flow.protocol, flow.outer_port, age);
            target.filter(|target| target.to == SocketAddrV4::new(near.address, flow.near_port))
        };
        match flow.kind {
            FlowKind::Outbound if self.is_inside(flow.far) => Ruling::REJECTED_BY_NO_RULE,
            // It uses a port that was its endpoint's by a forward.
            FlowKind::Outbound
                if has_ports && flow.outer_port != 0 && flow.mapping.is_none() && forward().is_none() =>
            {
                Ruling::REJECTED_BY_NO_RULE
            }
            FlowKind::Outbound => self.rules.outward_at(&request, age),
            FlowKind::ClientToClient(peer) if self.clients.slot_of(flow.far) == Some(peer) => {
                self.rules.between_at(&request, age)
            }
            FlowKind::ClientToClient(_) => Ruling::REJECTED_BY_NO_RULE,
            FlowKind::PortForward => match forward() {
                Some(target) if !self.is_inside(flow.far) => Ruling::by_rule(target.id, RuleAction::Accept),
                _ => Ruling::REJECTED_BY_NO_RULE,
            },
        }
    }

    /// Does what time has brought due, up to `budget` flows; returns whether more is left.
    pub fn advance(&mut self, now: Moment, budget: usize) -> Progress {
        let tick = Tick::at(now);
        if now >= self.next_revalidation {
            self.revalidate(now);
        }
        if self.rules.names().review().is_some_and(|due| due <= now) {
            self.review_former_addresses(now);
        }
        let mut left = budget - self.mappings.free_released(tick, budget);
        while left > 0 {
            left -= 1;
            match self.flows.next_due(tick, &mut self.places) {
                Some(DueFlow::Expired(flow)) => {
                    self.release(&flow, now);
                    self.counters.expired += 1;
                }
                Some(DueFlow::Alive) => {}
                None => break,
            }
        }
        while left > 0
            && let Some(flow) = self.flows.next_condemned(&mut self.places)
        {
            left -= 1;
            self.release(&flow, now);
            self.counters.revoked += 1;
        }
        while left > 0
            && let Some(position) = self.walks.next(now, self.flows.extent())
        {
            left -= 1;
            if let Some(id) = self.flows.id_at(position)
                && self.is_alive(id, now)
            {
                self.mark_judged(id);
                if let Some(flow) = self.flows.get(id) {
                    self.rules.names_mut().note_use(flow.far);
                }
            }
            if self.walks.is_over() && self.rules.names().review().is_some_and(|due| due <= now) {
                self.rules.names_mut().forget_unused(now);
            }
        }
        if left == 0 { Progress::MoreToDo } else { Progress::Done }
    }

    /// Finds out which addresses that names stood for are used by no flow any more: a walk sees all flows.
    #[cold]
    fn review_former_addresses(&mut self, now: Moment) {
        if self.flows.is_empty() {
            self.rules.names_mut().forget_unused(now);
        } else if self.walks.is_over() {
            self.walks.ask();
        }
    }

    /// When [`Datapath::advance`] has something to do; a moment in the past when it has now.
    pub fn next_deadline(&self) -> Option<Moment> {
        if self.flows.has_condemned() {
            return Some(Moment::default());
        }
        let flows = self.flows.next_deadline();
        let ports = self.mappings.next_deadline();
        let due = flows.into_iter().chain(ports).min().map(Tick::begins);
        let review = Some(self.next_revalidation).filter(|review| *review != Moment::END);
        let names = self.rules.names().review();
        due.into_iter().chain(review).chain(names).chain(self.walks.deadline()).min()
    }
}
