//! The rules of a client: a list and a policy, or nothing but refusal.

use super::compiled::CompiledRule;
use super::name_addresses::{FlowAge, NameAddresses};
use super::rule::RuleAction;
use super::rule_id::RuleId;
use super::rule_list::RuleList;
use super::rule_names::RuleNames;
use super::ruling::{FlowRequest, RuledBy, Ruling};
use super::service::ServiceNumber;
use crate::base::host_name::HostName;
use crate::base::time::UnixSeconds;

/// What holds when no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of the packet.
    pub action: RuleAction,
    /// The line that says so, if one does.
    pub id: Option<RuleId>,
}

impl Policy {
    fn ruling(self) -> Ruling {
        let by = self.id.map_or(RuledBy::NoRule, RuledBy::Rule);
        Ruling { answer: self.action.into(), by }
    }
}

/// A policy that is nowhere written.
impl From<RuleAction> for Policy {
    fn from(action: RuleAction) -> Self {
        Self { action, id: None }
    }
}

/// What a client may do, as one section of the rule file or one client's keys in QubesDB say.
#[derive(Debug)]
pub struct Section(SectionRules);

#[derive(Debug)]
enum SectionRules {
    /// Its rules cannot be trusted.
    Blocked,
    /// The first rule that matches decides, or else the policy.
    Rules { list: RuleList, policy: Policy },
}

impl Section {
    /// A section that accepts nothing, because its rules are wrong. No flow to its clients begins either.
    pub const BLOCKED: Section = Section(SectionRules::Blocked);

    /// Rules in the order in which they are asked, and what holds when none matches.
    pub fn new(rules: &[CompiledRule], policy: impl Into<Policy>) -> Self {
        Self(SectionRules::Rules { list: RuleList::new(rules), policy: policy.into() })
    }

    /// Whether its rules are wrong, or refuse a name of which is not known what it stands for. The latter ends no flow that
    /// is open.
    pub fn is_blocked(&self, age: FlowAge) -> bool {
        match &self.0 {
            SectionRules::Blocked => true,
            SectionRules::Rules { list, .. } => age == FlowAge::New && list.lacks_names(),
        }
    }

    /// The names in its rules.
    pub(super) const fn names(&self) -> Option<&RuleNames> {
        match &self.0 {
            SectionRules::Blocked => None,
            SectionRules::Rules { list, .. } => Some(list.names()),
        }
    }

    /// Whether a rule of it has this name.
    pub(super) fn has_name(&self, host: &HostName) -> bool {
        match &self.0 {
            SectionRules::Blocked => false,
            SectionRules::Rules { list, .. } => list.has_name(host),
        }
    }

    /// The names in its rules, to note what becomes known of them.
    pub(super) const fn names_mut(&mut self) -> Option<&mut RuleNames> {
        match &mut self.0 {
            SectionRules::Blocked => None,
            SectionRules::Rules { list, .. } => Some(list.names_mut()),
        }
    }

    /// When rules of it stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        let list = match &self.0 {
            SectionRules::Blocked => None,
            SectionRules::Rules { list, .. } => Some(list),
        };
        list.into_iter().flat_map(RuleList::expiries)
    }

    /// Its rules, and the line of its policy.
    pub(super) fn ids(&self) -> impl Iterator<Item = RuleId> + '_ {
        let rules = match &self.0 {
            SectionRules::Blocked => None,
            SectionRules::Rules { list, policy } => Some((list, policy.id)),
        };
        rules.into_iter().flat_map(|(list, policy)| list.ids().chain(policy))
    }

    /// What becomes of a packet to the outside: the rules of `base` are asked first. `names` are what names stand for.
    pub(super) fn judge(
        &self,
        base: &RuleList,
        request: &FlowRequest,
        names: &NameAddresses,
        age: FlowAge,
    ) -> Ruling {
        let SectionRules::Rules { list, policy } = &self.0 else { return Ruling::BLOCKED };
        if age == FlowAge::New && (list.lacks_names() || base.lacks_names()) {
            return Ruling::BLOCKED;
        }
        let Some(service) = ServiceNumber::of(request) else { return Ruling::REJECTED_BY_NO_RULE };
        let decide = |rules: &RuleList| rules.decide(request.destination, service, request.now, names, age);
        let based = if base.is_empty() { None } else { decide(base) };
        based.or_else(|| decide(list)).unwrap_or_else(|| policy.ruling())
    }
}
