//! A list of rules arranged for look-up: the first that matches decides, found without reading the list.
//!
//! Rules are filed by destination network ([`Nest`]) and, within each network, by service ([`ServiceIndex`]).
//! A packet's destination is in at most 33 of the networks, each inside the next; the first rule of each is
//! found in logarithmic time, and the smallest rank of these wins. Networks that hold no earlier rule, nor any
//! network around them, end the search. With n rules a look-up costs O(log n) for the network, plus at most
//! 33 × O(log² n) for the services (O(log n) each when no rule expires); usually one to three networks matter. Memory
//! is O(n) words, O(n log n) if all rules expire. Nothing depends on hashing, so there is no bad case to aim at.

use super::compiled::{CompiledRule, Decision, expiries};
use super::nest::{Nest, order};
use super::service::{Service, Services};
use super::service_index::{Rank, ServiceIndex};
use crate::base::prefix::Ipv4Prefix;
use crate::base::time::UnixSeconds;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The rules of one destination network.
#[derive(Debug)]
struct Shelf {
    services: ServiceIndex,
    /// The smallest rank here and in all networks around.
    smallest: Rank,
}

/// Where to find the first rule for a destination and a service. The rules' decisions are kept beside it.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    nest: Nest,
    shelves: Box<[Shelf]>,
}

/// A place where a rule is filed.
struct Entry {
    network: Ipv4Prefix,
    services: Services,
    rank: Rank,
}

impl RuleIndex {
    /// Files rules under their ranks. `decisions` are those of all ranks.
    pub(super) fn new<'r>(
        rules: impl Iterator<Item = (Rank, &'r CompiledRule)>,
        decisions: &[Decision],
    ) -> Self {
        let mut entries: Vec<Entry> = rules
            .flat_map(|(rank, rule)| {
                rule.destinations.iter().flat_map(move |network| {
                    let network = network.network();
                    rule.services.iter().map(move |services| Entry { network, services: *services, rank })
                })
            })
            .collect();
        entries.sort_by_key(|entry| (order(entry.network), entry.rank));

        let mut networks = Vec::new();
        let mut shelves: Vec<Shelf> = Vec::new();
        let mut intervals = Vec::new();
        for shelf in entries.chunk_by(|a, b| a.network == b.network) {
            let Some(first) = shelf.first() else { continue };
            intervals.clear();
            intervals.extend(shelf.iter().map(|entry| (entry.services, entry.rank)));
            networks.push(first.network);
            let services = ServiceIndex::new(&intervals, decisions);
            shelves.push(Shelf { services, smallest: first.rank });
        }
        let nest = Nest::new(&networks);
        // Larger networks come first, so what is around a network is final when its turn comes.
        for place in 0..shelves.len() {
            let outer = nest.holder(place).and_then(|holder| shelves.get(holder)).map(|shelf| shelf.smallest);
            if let (Some(shelf), Some(outer)) = (shelves.get_mut(place), outer) {
                shelf.smallest = shelf.smallest.min(outer);
            }
        }
        Self { nest, shelves: shelves.into() }
    }

    /// The first rule that matches and counts at `now`.
    pub(super) fn first(
        &self,
        destination: Ipv4Addr,
        service: Service,
        decisions: &[Decision],
        now: UnixSeconds,
    ) -> Option<Rank> {
        let mut best: Option<Rank> = None;
        for shelf in self.nest.around(destination).filter_map(|place| self.shelves.get(place)) {
            if best.is_some_and(|best| best <= shelf.smallest) {
                break;
            }
            let found = shelf.services.first(service, decisions, now);
            best = best.into_iter().chain(found).min();
        }
        best
    }
}

/// Rules with their decisions: the list that a section of the rule file is.
#[derive(Debug, Default)]
pub(super) struct RuleList {
    decisions: Box<[Decision]>,
    index: RuleIndex,
}

impl RuleList {
    /// Arranges rules; the first in the slice is asked first.
    pub(super) fn new(rules: &[CompiledRule]) -> Self {
        let decisions: Box<[Decision]> = rules.iter().map(|rule| rule.decision).collect();
        let index = RuleIndex::new((0..).map(Rank).zip(rules), &decisions);
        Self { decisions, index }
    }

    /// When rules of it stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        expiries(&self.decisions)
    }

    /// What the first rule that matches and counts at `now` decides.
    pub(super) fn decide(
        &self,
        destination: Ipv4Addr,
        service: Service,
        now: UnixSeconds,
    ) -> Option<Decision> {
        self.index.first(destination, service, &self.decisions, now)?.decision(&self.decisions)
    }
}
