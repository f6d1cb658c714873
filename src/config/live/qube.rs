//! What a qube is told by QubesDB: the rules of each client, lines for all of them, and options as text.

use crate::base::bug::bug;
use crate::base::text::Excerpt;
use crate::config::change::{Change, ChangeQueue};
use crate::config::live::Live;
use crate::config::mistake::{OptionMistake, OptionName};
use crate::config::option_value::{limit, log_level, uplink_pings};
use crate::config::qube_rules::{
    ChangedClients, ClientRules, FeatureLines, LiveRulesReport, RulesSubject, Scope, SectionsOf,
};
use crate::config::rule_config::Problems;
use crate::config::setting::Source;
use crate::engine::seed::Seed;
use crate::guard::keyed_lines::KeyedLines;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// What stands for a line that is no text: a mistake wherever it is.
const NO_TEXT: &str = "\u{fffd}";

/// The words of a rule that is about the resolvers.
const ABOUT_RESOLVERS: &str = "specialtarget=";

impl Live {
    /// Says whose sections count. In a qube those of the rule file do not, and clients that QubesDB has no rules for are
    /// refused silently.
    pub fn set_sections(&mut self, sections: SectionsOf, changes: &mut ChangeQueue) {
        if core::mem::replace(&mut self.sections, sections) != sections {
            self.put_rules(changes);
        }
    }

    /// Says which clients are there; `None` if nobody knows. Those that are not may be forgotten when memory is short.
    pub fn set_present(&mut self, present: Option<Vec<Ipv4Addr>>, changes: &mut ChangeQueue) {
        let forgotten = self.qube_rules.set_present(present);
        if !forgotten.is_empty() {
            self.put_clients(&forgotten, 0, changes);
        }
    }

    /// Sets the rules of clients: all that are otherwise are in effect at once.
    pub fn set_client_rules<'t, L: Iterator<Item = (&'t str, &'t str)>>(
        &mut self,
        scope: Scope,
        clients: impl Iterator<Item = (Ipv4Addr, ClientRules<L>)>,
        changes: &mut ChangeQueue,
    ) {
        let (changed, left_out) = self.qube_rules.set_clients(scope, clients.collect());
        if !changed.is_empty() || left_out > 0 {
            self.put_clients(&changed, left_out, changes);
        }
    }

    /// Sets the lines of one kind, in the order of their names; `None` is one that is no text. An empty one is as if it
    /// were not there.
    pub fn set_lines<'t>(
        &mut self,
        kind: FeatureLines,
        lines: impl Iterator<Item = (&'t str, Option<&'t str>)>,
        changes: &mut ChangeQueue,
    ) {
        let is_text = |line: &&str| !line.bytes().any(|byte| byte.is_ascii_control());
        let lines = lines.map(|(name, line)| (name, line.filter(is_text).unwrap_or(NO_TEXT)));
        let mut lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
        // Names that are none, or out of order, make one wrong line of all.
        let lines = KeyedLines::of(&mut lines).or_else(|_| KeyedLines::of(&mut [("", NO_TEXT)].into_iter()));
        if let Ok(lines) = lines
            && self.qube_rules.set_lines(kind, lines)
        {
            self.put_lines(kind, changes);
        }
    }

    /// Compiles the rules of these clients again, in order and none twice.
    #[inline(never)]
    fn put_clients(&self, clients: &[Ipv4Addr], left_out: usize, changes: &mut ChangeQueue) {
        let mut problems = Problems::default();
        let update = self.qube_rules.compile_clients(clients, self.resolvers(), &mut problems);
        let gone = clients.iter().filter(|client| !self.qube_rules.has(**client)).count();
        let subject = ChangedClients { changed: clients.len() - gone, gone, left_out };
        let report = LiveRulesReport { subject: RulesSubject::Clients(subject), problems };
        changes.push(Change::LiveRules(Box::new(update), Rc::new(report)));
    }

    #[inline(never)]
    fn put_lines(&self, kind: FeatureLines, changes: &mut ChangeQueue) {
        let mut problems = Problems::default();
        let update = self.qube_rules.compile_lines(kind, self.resolvers(), &mut problems);
        let count = self.qube_rules.lines(kind).count();
        let report = LiveRulesReport { subject: RulesSubject::Lines(kind, count), problems };
        changes.push(Change::LiveRules(Box::new(update), Rc::new(report)));
    }

    /// Compiles what is about resolvers again, which are others now.
    pub(super) fn put_rules_about_resolvers(&self, changes: &mut ChangeQueue) {
        if self.qube_rules.lines(FeatureLines::Base).mention(ABOUT_RESOLVERS) {
            self.put_lines(FeatureLines::Base, changes);
        }
        let clients = self.qube_rules.clients_that_mention(ABOUT_RESOLVERS);
        if !clients.is_empty() {
            self.put_clients(&clients, 0, changes);
        }
    }

    /// Sets an option from text: one of the limits, `uplink-pings` or `log`. Empty, it is as if it were not there; so is one
    /// that cannot be read, which is said once.
    pub fn set_option(
        &mut self,
        source: Source,
        name: OptionName,
        text: Option<&str>,
        changes: &mut ChangeQueue,
    ) {
        let text = text.map(str::trim_ascii).filter(|text| !text.is_empty());
        let (number, mut limits) =
            (text.and_then(limit), self.limits.of(source).copied().unwrap_or_default());
        let is_read = match name {
            OptionName::UplinkPings => {
                let pings = text.and_then(uplink_pings);
                self.set_uplink_pings(source, pings, changes);
                pings.is_some()
            }
            OptionName::Log => {
                let level = text.and_then(log_level);
                self.set_log_level(source, level, changes);
                level.is_some()
            }
            _ => {
                match name {
                    OptionName::ClientFlows => limits.flows = number,
                    OptionName::ClientPorts => limits.ports = number,
                    OptionName::ClientNewFlows => limits.new_flows = number,
                    _ => return bug("an option that cannot change is set"),
                }
                self.set_limits(source, Some(limits), changes);
                number.is_some()
            }
        };
        let refused = text.filter(|_| !is_read).map(|text| OptionMistake::Malformed(name, Excerpt::of(text)));
        let known = self.refused_options.iter().position(|mistake| mistake.option() == Some(name));
        let known = known.map(|place| self.refused_options.remove(place));
        if let Some(mistake) = refused {
            if known.as_ref() != Some(&mistake) {
                changes.push(Change::OptionRefused(mistake.clone()));
            }
            self.refused_options.push(mistake);
        }
    }

    /// Takes in random bytes from outside, for the choice of ports. The same once more changes nothing.
    pub fn set_random_seed(&mut self, bytes: &[u8], changes: &mut ChangeQueue) {
        let seed = Seed::of(bytes);
        if self.seed.replace(seed) != Some(seed) {
            changes.push(Change::RandomSeed(seed));
        }
    }
}

#[cfg(test)]
#[path = "qube_tests.rs"]
mod tests;
