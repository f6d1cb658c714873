//! The rules of a client: a list and a policy, or nothing but refusal.

use super::compiled::CompiledRule;
use super::rule::Action;
use super::rule_list::RuleList;
use super::service::Service;
use super::verdict::{Answer, Question};
use crate::base::time::UnixSeconds;

/// What a client may do, as one section of the rule file or one client's keys in QubesDB say.
#[derive(Debug)]
pub struct Section(Content);

#[derive(Debug)]
enum Content {
    /// Its rules cannot be trusted.
    Blocked,
    /// The first rule that matches decides, or else the policy.
    Rules { list: RuleList, policy: Action },
}

impl Section {
    /// A section that accepts nothing, because its rules are wrong. No flow to its clients begins either.
    pub const BLOCKED: Section = Section(Content::Blocked);

    /// Rules in the order in which they are asked, and what holds when none matches.
    pub fn new(rules: &[CompiledRule], policy: Action) -> Self {
        Self(Content::Rules { list: RuleList::new(rules), policy })
    }

    /// Whether its rules are wrong.
    pub const fn is_blocked(&self) -> bool {
        matches!(self.0, Content::Blocked)
    }

    /// When rules of it stop counting.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        let list = match &self.0 {
            Content::Blocked => None,
            Content::Rules { list, .. } => Some(list),
        };
        list.into_iter().flat_map(RuleList::expiries)
    }

    /// What becomes of a packet to the outside.
    pub(super) fn judge(&self, question: &Question) -> Answer {
        let Content::Rules { list, policy } = &self.0 else { return Answer::Reject };
        let Some(service) = Service::of(question) else { return Answer::Reject };
        match list.decide(question.destination, service, question.now) {
            Some(decision) => decision.action.into(),
            None => (*policy).into(),
        }
    }
}

impl From<Action> for Answer {
    fn from(action: Action) -> Self {
        match action {
            Action::Accept => Self::Accept,
            Action::Drop => Self::Reject,
        }
    }
}
