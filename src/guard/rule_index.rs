//! A list of rules arranged for look-up: the first that matches decides, found without reading the list.
//!
//! Rules are filed by destination network ([`PrefixIndex`]) and, within each network, by service ([`ServiceIndex`]).
//! A packet's destination is in at most 33 of the networks, each inside the next; the first rule of each is
//! found in logarithmic time, and the smallest rank of these wins. Networks that hold no earlier rule, nor any
//! network around them, end the search. With n rules a look-up costs O(log n) for the network, plus at most
//! 33 × O(log² n) for the services (O(log n) each when no rule expires); usually one to three networks matter. Memory
//! is O(n) words, O(n log n) if all rules expire. Nothing depends on hashing, so there is no bad case to aim at.

use super::compiled::{CompiledRule, Lifetime};
use super::decisions::Rank;
use super::prefix_index::{PrefixIndex, sort_by_network};
use super::service::{ServiceNumber, ServiceRange};
use super::service_index::ServiceIndex;
use crate::base::prefix::Ipv4Prefix;
use crate::base::time::UnixSeconds;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// The rules of one destination network.
#[derive(Debug)]
struct NetworkRules {
    services: ServiceIndex,
    /// The smallest rank here and in all networks around.
    smallest: Rank,
}

/// Where to find the first rule for a destination and a service. What the rules decide is kept beside it.
#[derive(Debug, Default)]
pub(super) struct RuleIndex {
    prefixes: PrefixIndex<Ipv4Addr>,
    networks: Box<[NetworkRules]>,
}

/// A place where a rule is filed.
struct FiledRule {
    network: Ipv4Prefix,
    services: ServiceRange,
    rank: Rank,
}

impl RuleIndex {
    /// Files rules under their ranks. `lifetimes` are those of all ranks.
    pub(super) fn new(
        rules: &mut dyn Iterator<Item = (Rank, &CompiledRule)>,
        lifetimes: &[Lifetime],
    ) -> Self {
        let mut entries: Vec<FiledRule> = rules
            .flat_map(|(rank, rule)| {
                rule.destinations.networks().iter().flat_map(move |network| {
                    let network = network.network();
                    rule.services.iter().map(move |services| FiledRule { network, services: *services, rank })
                })
            })
            .collect();
        sort_by_network(&mut entries, |entry| entry.network);

        let mut prefixes = Vec::new();
        let mut networks: Vec<NetworkRules> = Vec::new();
        let mut intervals = Vec::new();
        for group in entries.chunk_by(|a, b| a.network == b.network) {
            let Some(first) = group.first() else { continue };
            intervals.clear();
            intervals.extend(group.iter().map(|entry| (entry.services, entry.rank)));
            prefixes.push(first.network);
            let services = ServiceIndex::new(&intervals, lifetimes);
            networks.push(NetworkRules { services, smallest: first.rank });
        }
        let index = PrefixIndex::new(&prefixes);
        // Larger networks come first, so what is around a network is final when its turn comes.
        for place in 0..networks.len() {
            let outer =
                index.parent(place).and_then(|parent| networks.get(parent)).map(|rules| rules.smallest);
            if let (Some(rules), Some(outer)) = (networks.get_mut(place), outer) {
                rules.smallest = rules.smallest.min(outer);
            }
        }
        Self { prefixes: index, networks: networks.into() }
    }

    /// The first rule that matches and counts at `now`.
    pub(super) fn first(
        &self,
        destination: Ipv4Addr,
        service: ServiceNumber,
        lifetimes: &[Lifetime],
        now: UnixSeconds,
    ) -> Option<Rank> {
        let mut best: Option<Rank> = None;
        for rules in self.prefixes.containing(destination).filter_map(|place| self.networks.get(place)) {
            if best.is_some_and(|best| best <= rules.smallest) {
                break;
            }
            let found = rules.services.first(service, lifetimes, now);
            best = best.into_iter().chain(found).min();
        }
        best
    }
}
