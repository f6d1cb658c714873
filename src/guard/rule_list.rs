//! Rules with their decisions: the list that a section of the rule file is.

use super::compiled::CompiledRule;
use super::decisions::{Decisions, Rank};
use super::rule_id::RuleId;
use super::rule_index::RuleIndex;
use super::ruling::Ruling;
use super::service::ServiceNumber;
use crate::base::time::UnixSeconds;
use core::net::Ipv4Addr;

/// Rules in order, the first that matches deciding.
#[derive(Debug, Default)]
pub(super) struct RuleList {
    decisions: Decisions,
    index: RuleIndex,
}

impl RuleList {
    /// Arranges rules; the first in the slice is asked first.
    pub(super) fn new(rules: &[CompiledRule]) -> Self {
        let decisions = Decisions::of(rules.iter());
        let index = RuleIndex::new((0..).map(Rank).zip(rules), decisions.lifetimes());
        Self { decisions, index }
    }

    /// Whether there is no rule in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.decisions.lifetimes().is_empty()
    }

    /// When rules of it stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        self.decisions.expiries()
    }

    /// Its rules.
    pub(super) fn ids(&self) -> impl Iterator<Item = RuleId> + '_ {
        self.decisions.ids()
    }

    /// What the first rule that matches and counts at `now` decides.
    pub(super) fn decide(
        &self,
        destination: Ipv4Addr,
        service: ServiceNumber,
        now: UnixSeconds,
    ) -> Option<Ruling> {
        let first = self.index.first(destination, service, self.decisions.lifetimes(), now)?;
        self.decisions.ruling(first)
    }
}
