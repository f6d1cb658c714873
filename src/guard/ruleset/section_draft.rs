//! A section of the rule file as far as it is read.

use super::problem::SectionName;
use crate::guard::compiled::CompiledRule;
use crate::guard::rule::RuleAction;
use crate::guard::section::{Policy, Section};
use alloc::vec::Vec;

/// A section in the making.
pub(super) struct SectionDraft {
    pub(super) name: SectionName,
    /// The line of its header.
    pub(super) first_line: u32,
    /// What its `policy=` line says.
    pub(super) policy: Option<Policy>,
    content: SectionContent,
}

enum SectionContent {
    Rules(Vec<CompiledRule>),
    /// A line of it is wrong.
    Blocked,
}

impl SectionDraft {
    /// An empty section.
    pub(super) const fn new(name: SectionName, first_line: u32) -> Self {
        Self { name, first_line, policy: None, content: SectionContent::Rules(Vec::new()) }
    }

    /// Appends a rule, if it is not blocked.
    pub(super) fn add(&mut self, rule: CompiledRule) {
        if let SectionContent::Rules(rules) = &mut self.content {
            rules.push(rule);
        }
    }

    /// Blocks its clients, whatever else it says.
    pub(super) fn block(&mut self) {
        self.content = SectionContent::Blocked;
    }

    /// The section. Without a policy it refuses what no rule matches.
    pub(super) fn finish(self) -> Section {
        match self.content {
            SectionContent::Blocked => Section::BLOCKED,
            SectionContent::Rules(rules) => {
                Section::new(&rules, self.policy.unwrap_or(Policy::from(RuleAction::Drop)))
            }
        }
    }
}
