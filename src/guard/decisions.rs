//! What each rule of a list decides, and how long it does so.

use super::compiled::{CompiledRule, Lifetime};
use super::rule::RuleAction;
use super::rule_id::RuleId;
use super::ruling::Ruling;
use crate::base::bug::OrBug;
use crate::base::time::UnixSeconds;
use alloc::boxed::Box;

/// A rule's place in its list: the first rule that matches decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(pub(super) u32);

/// What a rule decides.
#[derive(Clone, Copy, Debug)]
struct RuleDecision {
    id: RuleId,
    action: RuleAction,
}

/// The decisions of a list of rules, by rank.
#[derive(Debug, Default)]
pub(super) struct Decisions {
    /// Apart from what is decided: a look-up reads many of these and one decision.
    lifetimes: Box<[Lifetime]>,
    decisions: Box<[RuleDecision]>,
}

impl Decisions {
    /// Those of `rules`, of which the first has rank 0.
    pub(super) fn of<'r>(rules: impl Iterator<Item = &'r CompiledRule> + Clone) -> Self {
        Self {
            lifetimes: rules.clone().map(|rule| rule.lifetime).collect(),
            decisions: rules.map(|rule| RuleDecision { id: rule.id, action: rule.action }).collect(),
        }
    }

    /// How long each rule counts.
    pub(super) const fn lifetimes(&self) -> &[Lifetime] {
        &self.lifetimes
    }

    /// What becomes of a packet of which the rule of this rank is the first that matches. A rank is always that of a
    /// rule in the list it is used with.
    pub(super) fn ruling(&self, rank: Rank) -> Option<Ruling> {
        let decision =
            self.decisions.get(rank.0 as usize).or_bug("the rank of a rule that is not in the list");
        decision.map(|decision| Ruling::by_rule(decision.id, decision.action))
    }

    /// The rules.
    pub(super) fn ids(&self) -> impl Iterator<Item = RuleId> + '_ {
        self.decisions.iter().map(|decision| decision.id)
    }

    /// When those that do not count for ever stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        self.lifetimes.iter().filter_map(|lifetime| lifetime.end())
    }
}
