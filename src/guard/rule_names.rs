//! Which names a list of rules has.

use crate::base::host_name::HostName;
use alloc::vec::Vec;

/// The names in a list of rules.
#[derive(Debug, Default)]
pub struct RuleNames {
    /// None twice, in the order of the first rule with each.
    all: Vec<HostName>,
    /// Those of them that a rule refuses, by name.
    refused: Vec<HostName>,
    /// How many of these are not known.
    unknown: usize,
}

impl RuleNames {
    /// Every name.
    pub(super) fn all(&self) -> &[HostName] {
        &self.all
    }

    /// Whether a name that a rule refuses is not known.
    pub(super) const fn lack(&self) -> bool {
        self.unknown > 0
    }

    /// Counts anew which names that a rule refuses are not known.
    pub(super) fn count_unknown(&mut self, is_known: impl Fn(&HostName) -> bool) {
        self.unknown = self.refused.iter().filter(|host| !is_known(host)).count();
    }

    /// This name has become known.
    pub(super) fn note_known(&mut self, host: &HostName) {
        if self.refuse(host) {
            self.unknown = self.unknown.saturating_sub(1);
        }
    }

    /// Whether a rule refuses this name.
    pub(super) fn refuse(&self, host: &HostName) -> bool {
        self.refused.binary_search(host).is_ok()
    }

    /// Adds a name, which is not there yet.
    pub(super) fn add(&mut self, host: &HostName) {
        self.all.push(host.clone());
    }

    /// Adds a name that a rule refuses, which comes after those that are there.
    pub(super) fn add_refused(&mut self, host: &HostName) {
        self.refused.push(host.clone());
        self.unknown += 1;
    }
}
