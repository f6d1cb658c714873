//! Rules with their decisions: the list that a section of the rule file is.

use super::compiled::CompiledRule;
use super::decisions::{Decisions, Rank};
use super::name_addresses::{FlowAge, NameAddresses};
use super::named_rules::NamedRules;
use super::rule_id::RuleId;
use super::rule_index::RuleIndex;
use super::rule_names::RuleNames;
use super::ruling::Ruling;
use super::service::ServiceNumber;
use crate::base::host_name::HostName;
use crate::base::time::UnixSeconds;
use core::net::Ipv4Addr;

/// Rules in order, the first that matches deciding.
#[derive(Debug, Default)]
pub(super) struct RuleList {
    decisions: Decisions,
    index: RuleIndex,
    /// Those about names.
    named: NamedRules,
}

impl RuleList {
    /// Arranges rules; the first in the slice is asked first.
    pub(super) fn new(rules: &[CompiledRule]) -> Self {
        let decisions = Decisions::of(rules.iter());
        let index = RuleIndex::new(&mut (0..).map(Rank).zip(rules), decisions.lifetimes());
        Self { decisions, index, named: NamedRules::new(rules) }
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

    /// The names in it.
    pub(super) const fn names(&self) -> &RuleNames {
        self.named.names()
    }

    /// Whether a rule has this name.
    pub(super) fn has_name(&self, host: &HostName) -> bool {
        self.named.has_name(host)
    }

    /// The names in it, to note what becomes known of them.
    pub(super) const fn names_mut(&mut self) -> &mut RuleNames {
        self.named.names_mut()
    }

    /// Whether a rule refuses a name of which is not known what it stands for: whatever else matches, nothing may begin.
    pub(super) const fn lacks_names(&self) -> bool {
        self.names().lack()
    }

    /// What the first rule that matches and counts at `now` decides. `names` are what names stand for.
    pub(super) fn decide(
        &self,
        destination: Ipv4Addr,
        service: ServiceNumber,
        now: UnixSeconds,
        names: &NameAddresses,
        age: FlowAge,
    ) -> Option<Ruling> {
        let lifetimes = self.decisions.lifetimes();
        let first = self.index.first(destination, service, lifetimes, now);
        let named = self.named.first(destination, service, names, age, |rank| {
            lifetimes.get(rank.0 as usize).is_some_and(|lifetime| lifetime.includes(now))
        });
        self.decisions.ruling(first.into_iter().chain(named).min()?)
    }
}
