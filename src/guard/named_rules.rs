//! The rules of a list whose destination is a name: which of them is the first that matches?
//!
//! They are filed by name. A destination leads to the names that stand for it, and these to the rules: rules about other
//! names cost nothing.

use super::compiled::{CompiledRule, Destinations};
use super::decisions::Rank;
use super::name_addresses::{FlowAge, NameAddresses, Standing};
use super::rule::RuleAction;
use super::rule_names::RuleNames;
use super::service::{ServiceNumber, ServiceRange};
use crate::base::host_name::HostName;
use crate::base::prefix::Ipv4Prefix;
use alloc::boxed::Box;
use alloc::vec::Vec;
use arrayvec::ArrayVec;
use core::net::Ipv4Addr;

/// A rule about a name.
#[derive(Debug)]
struct NamedRule {
    host: HostName,
    /// Of the addresses that the name stands for, the rule is about those in these networks.
    within: Box<[Ipv4Prefix]>,
    services: ArrayVec<ServiceRange, 2>,
    action: RuleAction,
    rank: Rank,
}

impl NamedRule {
    fn of(rank: Rank, rule: &CompiledRule) -> Option<Self> {
        let Destinations::Name { host, within } = &rule.destinations else { return None };
        let (within, services) = (within.as_slice().into(), rule.services.clone());
        Some(Self { host: host.clone(), within, services, action: rule.action, rank })
    }
}

/// The name that a rule is about, if it is about one.
const fn host_of(rule: &CompiledRule) -> Option<&HostName> {
    match &rule.destinations {
        Destinations::Name { host, .. } => Some(host),
        Destinations::Networks(_) => None,
    }
}

/// Rules about names.
#[derive(Debug, Default)]
pub(super) struct NamedRules {
    /// By name, of one name by rank.
    rules: Box<[NamedRule]>,
    names: RuleNames,
}

impl NamedRules {
    /// Those of `rules` that are about names.
    pub(super) fn new(rules: &[CompiledRule]) -> Self {
        let mut names = RuleNames::default();
        // Places of rules, as a place is moved more quickly than a rule.
        let mut order: Vec<u32> = Vec::new();
        let host_at = |place: u32| rules.get(place as usize).and_then(host_of);
        for (place, rule) in (0..).zip(rules) {
            let Some(host) = host_of(rule) else { continue };
            let at = order.partition_point(|other| host_at(*other) <= Some(host));
            if at.checked_sub(1).and_then(|before| host_at(*order.get(before)?)) != Some(host) {
                names.add(host);
            }
            order.insert(at, place);
        }
        let mut filed: Vec<NamedRule> = Vec::with_capacity(order.len());
        filed.extend(
            order.iter().filter_map(|place| NamedRule::of(Rank(*place), rules.get(*place as usize)?)),
        );
        for group in filed.chunk_by(|a, b| a.host == b.host) {
            let refusing = group.iter().filter(|rule| rule.action == RuleAction::Drop);
            let longest = refusing.filter_map(|rule| Some(rules.get(rule.rank.0 as usize)?.lifetime)).max();
            if let (Some(rule), Some(longest)) = (group.first(), longest) {
                names.add_refused(&rule.host, longest);
            }
        }
        Self { rules: filed.into(), names }
    }

    /// Its names.
    pub(super) const fn names(&self) -> &RuleNames {
        &self.names
    }

    /// Whether a rule has this name.
    pub(super) fn has_name(&self, host: &HostName) -> bool {
        self.rules.binary_search_by(|rule| rule.host.cmp(host)).is_ok()
    }

    /// Its names, to note what becomes known of them.
    pub(super) const fn names_mut(&mut self) -> &mut RuleNames {
        &mut self.names
    }

    /// The first rule that matches and of which `counts` holds.
    pub(super) fn first(
        &self,
        destination: Ipv4Addr,
        service: ServiceNumber,
        addresses: &NameAddresses,
        age: FlowAge,
        counts: impl Fn(Rank) -> bool,
    ) -> Option<Rank> {
        if self.rules.is_empty() {
            return None;
        }
        let matches = |rule: &NamedRule, standing| {
            is_about(rule.action, standing, age)
                && rule.services.iter().any(|services| services.contains(service))
                && rule.within.iter().any(|network| network.contains(destination))
                && counts(rule.rank)
        };
        let of_name = |(host, standing): (&HostName, Standing)| {
            let first = self.rules.partition_point(|rule| rule.host < *host);
            let rules = self.rules.get(first..).unwrap_or_default().iter();
            let mut rules = rules.take_while(|rule| rule.host == *host);
            rules.find(|rule| matches(rule, standing)).map(|rule| rule.rank)
        };
        addresses.names_of(destination).filter_map(of_name).min()
    }
}

/// Whether a rule is about an address that its name stands or stood for. What it accepted goes on; what it refuses it
/// refuses until it is known that the name stands for others.
const fn is_about(action: RuleAction, standing: Standing, age: FlowAge) -> bool {
    match (standing, action, age) {
        (Standing::Present, _, _) => true,
        (Standing::Last, RuleAction::Drop, _) => true,
        (Standing::Last | Standing::Former, RuleAction::Accept, FlowAge::Open) => true,
        (Standing::Last | Standing::Former, _, _) => false,
    }
}

#[cfg(test)]
#[path = "named_rules_tests.rs"]
mod tests;
