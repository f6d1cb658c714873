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
}

impl RuleNames {
    /// Every name.
    pub(super) fn all(&self) -> &[HostName] {
        &self.all
    }

    /// The names that a rule refuses.
    pub(super) fn refused(&self) -> &[HostName] {
        &self.refused
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
    }
}
