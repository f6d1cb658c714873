//! The rules that come from QubesDB and change while packets pass: those of each client, and the lines that a person wrote
//! for all of them.
//!
//! They stand beside the rules of the file, so that a change of some compiles nothing else.

use super::client_section::ClientSections;
use super::forward::PortForwards;
use super::hits::RuleHits;
use super::permit::Permits;
use super::rule_id::{RuleId, RuleSource};
use super::rule_list::RuleList;
use super::rule_texts::RuleTexts;
use super::rule_update::{ClientUpdate, LinesUpdate, RuleUpdate};
use crate::base::time::UnixSeconds;

/// What is in effect of them.
#[derive(Debug, Default)]
pub(super) struct LiveRules {
    pub(super) clients: ClientSections,
    /// Asked before the rules of each client.
    pub(super) base: CountedRules<RuleList>,
    /// Asked before what the file permits between clients.
    pub(super) permits: CountedRules<Permits>,
    /// These lead before those of the file.
    pub(super) forwards: CountedRules<PortForwards>,
}

/// Rules of one kind, and how often each decided.
#[derive(Debug, Default)]
pub(super) struct CountedRules<T> {
    pub(super) rules: T,
    pub(super) hits: RuleHits,
}

impl<T> CountedRules<T> {
    /// Puts others in their place, with what they say: rules that stay keep their counts.
    fn replace(&mut self, rules: T, mut hits: RuleHits, texts: &RuleTexts) {
        hits.note_texts(texts);
        hits.go_on_from(&self.hits);
        *self = Self { rules, hits };
    }
}

impl LiveRules {
    /// Takes up what is otherwise.
    pub(super) fn update(&mut self, update: RuleUpdate) {
        let counted = |ids: &mut dyn Iterator<Item = RuleId>| RuleHits::default().for_rules(ids);
        match update {
            RuleUpdate::Clients(updates) => {
                for update in updates {
                    match update {
                        ClientUpdate::Set(section) => self.clients.set(section),
                        ClientUpdate::Gone(client) => self.clients.remove(client),
                    }
                }
            }
            RuleUpdate::Lines(LinesUpdate::Base(rules), texts) => {
                let rules = RuleList::new(&rules);
                let hits = counted(&mut rules.ids());
                self.base.replace(rules, hits, &texts);
            }
            RuleUpdate::Lines(LinesUpdate::Permits(permits), texts) => {
                let permits = Permits::new(&permits);
                let hits = counted(&mut permits.ids());
                self.permits.replace(permits, hits, &texts);
            }
            RuleUpdate::Lines(LinesUpdate::Forwards(forwards), texts) => {
                let hits = counted(&mut forwards.ids());
                self.forwards.replace(forwards, hits, &texts);
            }
        }
    }

    /// When some of them stop counting. Clients' own never do.
    pub(super) fn expiries(&self) -> impl Iterator<Item = UnixSeconds> + '_ {
        self.base.rules.expiries().chain(self.permits.rules.expiries())
    }

    /// Where the decisions of a text's rules are counted; `None` for what is not here.
    pub(super) fn hits_mut(&mut self, source: RuleSource) -> Option<&mut RuleHits> {
        match source {
            RuleSource::File => None,
            RuleSource::Base => Some(&mut self.base.hits),
            RuleSource::Permit => Some(&mut self.permits.hits),
            RuleSource::Forward => Some(&mut self.forwards.hits),
            RuleSource::Client(client) => self.clients.hits_mut(client),
        }
    }

    /// The same, to look at.
    pub(super) fn hits_of(&self, source: RuleSource) -> Option<&RuleHits> {
        match source {
            RuleSource::File => None,
            RuleSource::Base => Some(&self.base.hits),
            RuleSource::Permit => Some(&self.permits.hits),
            RuleSource::Forward => Some(&self.forwards.hits),
            RuleSource::Client(client) => self.clients.of(client).map(|it| &it.hits),
        }
    }

    /// All counts.
    pub(super) fn hits(&self) -> impl Iterator<Item = &RuleHits> {
        [&self.base.hits, &self.permits.hits, &self.forwards.hits].into_iter().chain(self.clients.hits())
    }
}
