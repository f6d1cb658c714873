//! Which client may reach which other client: nobody nobody, but for these rules.

use super::compiled::{CompiledRule, Decision, expiries};
use super::nest::{Nest, order};
use super::rule_list::RuleIndex;
use super::service::Service;
use super::service_index::Rank;
use super::verdict::{Answer, Question};
use crate::base::prefix::Ipv4Prefix;
use crate::base::time::UnixSeconds;
use alloc::boxed::Box;
use alloc::vec::Vec;

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
    decisions: Box<[Decision]>,
    sources: Nest,
    /// Per source network, the rules written for it, under their ranks in the whole list.
    indexes: Box<[RuleIndex]>,
}

impl Permits {
    pub(super) fn new(permits: &[Permit]) -> Self {
        let decisions: Box<[Decision]> = permits.iter().map(|permit| permit.rule.decision).collect();
        let mut ranked: Vec<(Rank, &Permit)> = (0..).map(Rank).zip(permits).collect();
        ranked.sort_by_key(|(rank, permit)| (order(permit.from), *rank));
        let mut networks = Vec::new();
        let mut indexes = Vec::new();
        for group in ranked.chunk_by(|(_, a), (_, b)| a.from.network() == b.from.network()) {
            let Some((_, first)) = group.first() else { continue };
            networks.push(first.from.network());
            let rules = group.iter().map(|(rank, permit)| (*rank, &permit.rule));
            indexes.push(RuleIndex::new(rules, &decisions));
        }
        Self { decisions, sources: Nest::new(&networks), indexes: indexes.into() }
    }

    /// When some of them stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        expiries(&self.decisions)
    }

    pub(super) fn judge(&self, question: &Question) -> Answer {
        let Some(service) = Service::of(question) else { return Answer::Reject };
        let indexes = self.sources.around(question.source).filter_map(|place| self.indexes.get(place));
        let first = indexes
            .filter_map(|index| index.first(question.destination, service, &self.decisions, question.now))
            .min();
        let decision = first.and_then(|rank| rank.decision(&self.decisions));
        decision.map_or(Answer::Reject, |decision| decision.action.into())
    }
}
