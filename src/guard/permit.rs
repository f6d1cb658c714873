//! Which client may reach which other client: nobody nobody, but for these rules.

use super::compiled::CompiledRule;
use super::decisions::{Decisions, Rank};
use super::prefix_index::{PrefixIndex, sort_by_network};
use super::rule_id::RuleId;
use super::rule_index::RuleIndex;
use super::ruling::{FlowRequest, Ruling};
use super::service::ServiceNumber;
use crate::base::prefix::Ipv4Prefix;
use crate::base::time::UnixSeconds;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// A rule between clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The clients that begin the flow.
    pub from: Ipv4Prefix,
    /// The clients that are reached, and how.
    pub rule: CompiledRule,
}

/// All rules between clients, in order: the first that matches decides, and none means no.
///
/// They are filed by source network, then as in a [`RuleIndex`]; a look-up costs at most 33 of that one's.
#[derive(Debug, Default)]
pub(super) struct Permits {
    decisions: Decisions,
    sources: PrefixIndex<Ipv4Addr>,
    /// Per source network, the rules written for it, under their ranks in the whole list.
    indexes: Box<[RuleIndex]>,
}

impl Permits {
    pub(super) fn new(permits: &[Permit]) -> Self {
        let decisions = Decisions::of(permits.iter().map(|permit| &permit.rule));
        let mut ranked: Vec<(Rank, &Permit)> = (0..).map(Rank).zip(permits).collect();
        sort_by_network(&mut ranked, |(_, permit)| permit.from);
        let mut networks = Vec::new();
        let mut indexes = Vec::new();
        for group in ranked.chunk_by(|(_, a), (_, b)| a.from.network() == b.from.network()) {
            let Some((_, first)) = group.first() else { continue };
            networks.push(first.from.network());
            let mut rules = group.iter().map(|(rank, permit)| (*rank, &permit.rule));
            indexes.push(RuleIndex::new(&mut rules, decisions.lifetimes()));
        }
        Self { decisions, sources: PrefixIndex::new(&networks), indexes: indexes.into() }
    }

    /// When some of them stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        self.decisions.expiries()
    }

    /// The rules.
    pub(super) fn ids(&self) -> impl Iterator<Item = RuleId> + '_ {
        self.decisions.ids()
    }

    /// What the first that matches decides.
    pub(super) fn decide(&self, request: &FlowRequest) -> Option<Ruling> {
        let service = ServiceNumber::of(request)?;
        let indexes = self.sources.containing(request.source).filter_map(|place| self.indexes.get(place));
        let lifetimes = self.decisions.lifetimes();
        let first = indexes
            .filter_map(|index| index.first(request.destination, service, lifetimes, request.now))
            .min();
        first.and_then(|rank| self.decisions.ruling(rank))
    }
}
