//! Who may have how much, and who gives way.

use super::*;

impl Model {
    pub(super) fn is_member(&self, holder: Holder, uplink_too: bool) -> bool {
        match holder {
            Holder::Client(number) => {
                self.clients.iter().any(|it| self.holder(it.0) == Holder::Client(number))
            }
            Holder::Uplink => uplink_too,
        }
    }

    /// The part of `capacity` that is guaranteed to `holder`.
    pub(super) fn part(&self, holder: Holder, capacity: u32, uplink_too: bool) -> u32 {
        let members = self.clients.len() as u32 + u32::from(uplink_too);
        if self.is_member(holder, uplink_too) { capacity / 2 / members.max(1) } else { 0 }
    }

    /// Whether `holder` may have one more, given what everybody has.
    pub(super) fn has_room(&self, holder: Holder, limit: Limit, held: &[(Holder, u32)]) -> bool {
        let Limit { capacity, cap, uplink_too } = limit;
        let members = self.clients.len() as u32 + u32::from(uplink_too);
        let all_parts = capacity / 2 / members.max(1) * members;
        let beyond =
            |(holder, count): &(Holder, u32)| count.saturating_sub(self.part(*holder, capacity, uplink_too));
        let common: u32 = held.iter().map(beyond).sum();
        let own = of(held, holder);
        own < cap && (own < self.part(holder, capacity, uplink_too) || common < capacity - all_parts)
    }

    /// Who has to give to `holder`, if it has less than its part.
    pub(super) fn debtor(&self, holder: Holder, limit: Limit, held: &[(Holder, u32)]) -> Option<Holder> {
        let part = |holder| self.part(holder, limit.capacity, limit.uplink_too);
        if of(held, holder) >= part(holder).min(limit.cap) {
            return None;
        }
        let excess =
            |it: &(Holder, u32)| (!self.is_member(it.0, limit.uplink_too), it.1.saturating_sub(part(it.0)));
        let most = held.iter().map(excess).filter(|it| it.1 > 0).max()?;
        held.iter().find(|it| excess(it) == most).map(|it| it.0)
    }

    pub(super) fn count(holders: impl Iterator<Item = Holder>) -> Vec<(Holder, u32)> {
        let mut counts = std::collections::BTreeMap::new();
        holders.for_each(|holder| *counts.entry(holder).or_insert(0) += 1);
        counts.into_iter().collect()
    }

    /// The flow of `holder` that goes first for one that lacks `want`.
    pub(super) fn oldest(&self, holder: Holder, want: Want, assured: bool) -> Option<u64> {
        let first_of = |kind: usize| {
            let mine = |it: &&Flow| it.payer == holder && it.kind() == kind && it.is_assured() == assured;
            self.flows.iter().filter(mine).min_by_key(|it| it.listed)
        };
        let kinds = (0..6).filter(|kind| match want {
            Want::Place => true,
            Want::Mapping => *kind < 5,
            Want::Port(pool) => *kind == pool,
        });
        // The engine counts no further than 255.
        let last_used = |flow: &&Flow| {
            let last_heard = flow.deadline - flow.timeout();
            last_heard - (last_heard - flow.used).min(255)
        };
        kinds.filter_map(first_of).min_by_key(last_used).map(|flow| flow.listed)
    }

    pub(super) fn who_gives_way(&self, holder: Holder, want: Want, debtor: Option<Holder>) -> Option<u64> {
        let of_debtor = |debtor| self.oldest(debtor, want, false).or(self.oldest(debtor, want, true));
        debtor.and_then(of_debtor).or(self.oldest(holder, want, false))
    }

    pub(super) fn who_gives_place(&self, flow: &Flow) -> Result<Option<u64>, DropReason> {
        let held = Self::count(self.flows.iter().map(|it| it.payer));
        let limit = Limit {
            capacity: self.limits.flows,
            cap: self.limits.flows_per_client,
            uplink_too: !self.rules.forwards.is_empty(),
        };
        if (self.flows.len() as u32) < self.limits.flows && self.has_room(flow.payer, limit, &held) {
            return Ok(None);
        }
        let debtor = self.debtor(flow.payer, limit, &held);
        self.who_gives_way(flow.payer, Want::Place, debtor).map(Some).ok_or(DropReason::FlowLimit)
    }

    pub(super) fn give_way(&mut self, listed: Option<u64>) {
        if let Some(at) = self.flows.iter().position(|it| Some(it.listed) == listed) {
            self.end(at);
        }
    }

    /// Makes room for a flow; the outer port of its endpoint if it has one of a pool.
    pub(super) fn make_room(&mut self, flow: &Flow, hint: &Hint) -> Result<u16, DropReason> {
        let for_place = self.who_gives_place(flow)?;
        if flow.kind() == 5 {
            self.give_way(for_place);
            return Ok(0);
        }
        let short = match self.acquire(flow, hint) {
            Ok(port) => {
                self.give_way(for_place);
                return Ok(port);
            }
            Err(short) => short,
        };
        let gives = self.who_gives_way(flow.payer, short.want, short.debtor).ok_or(short.why)?;
        let is_own = self.flows.iter().any(|it| it.listed == gives && it.payer == flow.payer);
        self.give_way(Some(gives));
        let port = self.acquire(flow, hint).map_err(|_| short.why)?;
        if !is_own && let Ok(for_place) = self.who_gives_place(flow) {
            self.give_way(for_place);
        }
        Ok(port)
    }

    /// The outer port of a new flow's endpoint.
    pub(super) fn acquire(&mut self, flow: &Flow, hint: &Hint) -> Result<u16, Short> {
        let (holder, pool, inner_port) = (flow.payer, flow.kind(), flow.near_port);
        let known = |it: &&mut Mapping| it.holder == holder && it.pool == pool && it.inner_port == inner_port;
        if let Some(mapping) = self.mappings.iter_mut().find(known) {
            mapping.flows += 1;
            mapping.rests = None;
            return Ok(mapping.outer_port);
        }
        let outer_port = self.free_port(holder, pool, hint)?;
        self.mappings.push(Mapping { holder, pool, inner_port, outer_port, flows: 1, rests: None });
        Ok(outer_port)
    }

    pub(super) fn free_port(&mut self, holder: Holder, pool: usize, hint: &Hint) -> Result<u16, Short> {
        let why = DropReason::PortLimit;
        let all = self.limits.mappings;
        let limit = Limit { capacity: all, cap: all - all / 4, uplink_too: false };
        let held = Self::count(self.mappings.iter().map(|it| it.holder));
        if self.mappings.len() as u32 >= all || !self.has_room(holder, limit, &held) {
            if let Some(at) = self.longest_quarantined(holder, pool, hint) {
                return Ok(self.mappings.remove(at).outer_port);
            }
            let debtor = self.debtor(holder, limit, &held);
            let own = self.longest_quarantined_anywhere(holder, hint);
            let at = own.or_else(|| self.longest_quarantined_anywhere(debtor?, hint));
            self.mappings.remove(at.ok_or(Short { why, want: Want::Mapping, debtor })?);
        }
        let size = POOL_SIZES[pool];
        let cap = self.limits.ports_per_client.min(size - size / 4);
        let limit = Limit { capacity: size, cap, uplink_too: false };
        let held = Self::count(self.mappings.iter().filter(|it| it.pool == pool).map(|it| it.holder));
        if !self.has_room(holder, limit, &held) {
            let at = self.longest_quarantined(holder, pool, hint);
            let at = at.ok_or(Short { why, want: Want::Port(pool), debtor: None })?;
            return Ok(self.mappings.remove(at).outer_port);
        }
        let port = hint.choice.expect("the engine did not give a port that was free");
        assert!(is_in_class(pool, port), "port {port} is not of its class");
        let protocol = [6, 6, 17, 17, 1][pool];
        assert!(!self.rules.forwards.iter().any(|it| (it.0, it.1) == (protocol, port)));
        let is_taken = |it: &Mapping| it.pool == pool && it.outer_port == port;
        assert!(!self.mappings.iter().any(is_taken), "port {port} is taken");
        Ok(port)
    }

    /// The mapping of `holder` that has rested longest in `pool`; of those that came to rest in the same second the one
    /// whose port the engine took.
    pub(super) fn longest_quarantined(&self, holder: Holder, pool: usize, hint: &Hint) -> Option<usize> {
        let quarantined = self.quarantined(holder).filter(|(_, it)| it.pool == pool);
        let longest = quarantined.clone().map(|(_, it)| it.rests).min()?;
        let mut candidates = quarantined.filter(|(_, it)| it.rests == longest);
        let is_choice = |it: &(usize, &Mapping)| Some(it.1.outer_port) == hint.choice;
        candidates.clone().find(is_choice).or(candidates.next()).map(|(at, _)| at)
    }

    /// The same in any pool: of those that came to rest in the same second one of the first pool, that is gone.
    pub(super) fn longest_quarantined_anywhere(&self, holder: Holder, hint: &Hint) -> Option<usize> {
        let order = |it: &Mapping| (it.rests, it.pool);
        let longest = self.quarantined(holder).map(|(_, it)| order(it)).min()?;
        let mut candidates = self.quarantined(holder).filter(|(_, it)| order(it) == longest);
        let is_gone = |it: &(usize, &Mapping)| !hint.held.contains(&(it.1.pool, it.1.outer_port));
        candidates.clone().find(is_gone).or(candidates.next()).map(|(at, _)| at)
    }

    pub(super) fn quarantined(&self, holder: Holder) -> impl Iterator<Item = (usize, &Mapping)> + Clone {
        self.mappings.iter().enumerate().filter(move |(_, it)| it.holder == holder && it.rests.is_some())
    }
}
