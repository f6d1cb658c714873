//! Which names a list of rules has.

use super::compiled::Lifetime;
use crate::base::host_name::HostName;
use crate::base::time::UnixSeconds;
use alloc::vec::Vec;

/// The names in a list of rules.
#[derive(Debug, Default)]
pub struct RuleNames {
    /// None twice, in the order of the first rule with each.
    all: Vec<HostName>,
    /// Those of them that a rule refuses, by name, and how long the one that counts longest does.
    refused: Vec<(HostName, Lifetime)>,
    /// How many of these are refused and not known.
    unknown: usize,
    /// Rules that do not count at this time refuse nothing.
    clock: UnixSeconds,
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

    /// Says what time it is: rules may have stopped counting.
    pub(super) const fn set_clock(&mut self, clock: UnixSeconds) {
        self.clock = clock;
    }

    /// Counts anew which names that a rule refuses are not known.
    pub(super) fn count_unknown(&mut self, is_known: impl Fn(&HostName) -> bool) {
        let refused = self.refused.iter().filter(|(_, lifetime)| lifetime.includes(self.clock));
        self.unknown = refused.filter(|(host, _)| !is_known(host)).count();
    }

    /// This name has become known.
    pub(super) fn note_known(&mut self, host: &HostName) {
        if self.refuse(host) {
            self.unknown = self.unknown.saturating_sub(1);
        }
    }

    /// Whether a rule refuses this name.
    pub(super) fn refuse(&self, host: &HostName) -> bool {
        let place = self.refused.binary_search_by(|(refused, _)| refused.cmp(host));
        place
            .ok()
            .and_then(|place| self.refused.get(place))
            .is_some_and(|(_, lifetime)| lifetime.includes(self.clock))
    }

    /// Adds a name, which is not there yet.
    pub(super) fn add(&mut self, host: &HostName) {
        self.all.push(host.clone());
    }

    /// Adds a name that a rule refuses for so long, which comes after those that are there.
    pub(super) fn add_refused(&mut self, host: &HostName, lifetime: Lifetime) {
        self.refused.push((host.clone(), lifetime));
        self.unknown += 1;
    }
}
