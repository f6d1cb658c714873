//! The rules that QubesDB has of one client, made ready, with their counts.

use super::hits::RuleHits;
use super::rule_texts::RuleTexts;
use super::section::Section;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// What one client may do, and how often each of its rules said so.
#[derive(Debug)]
pub struct ClientSection {
    pub(super) client: Ipv4Addr,
    pub(super) section: Section,
    pub(super) hits: RuleHits,
}

impl ClientSection {
    /// That of the client with this address; `texts` are what its rules say.
    pub(super) fn new(client: Ipv4Addr, section: Section, texts: &RuleTexts) -> Self {
        let mut hits = RuleHits::default().for_rules(section.ids());
        hits.note_texts(texts);
        Self { client, section, hits }
    }

    /// That of a client whose rules are wrong.
    pub fn blocked(client: Ipv4Addr) -> Self {
        Self { client, section: Section::BLOCKED, hits: RuleHits::default() }
    }
}

/// Those of all clients.
#[derive(Debug, Default)]
pub(super) struct ClientSections {
    /// By address.
    sorted: Vec<ClientSection>,
}

impl ClientSections {
    fn place(&self, client: Ipv4Addr) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&client, |it| it.client)
    }

    /// That of this client.
    pub(super) fn of(&self, client: Ipv4Addr) -> Option<&ClientSection> {
        self.place(client).ok().and_then(|place| self.sorted.get(place))
    }

    /// Where what its rules decide is counted.
    pub(super) fn hits_mut(&mut self, client: Ipv4Addr) -> Option<&mut RuleHits> {
        let place = self.place(client).ok()?;
        self.sorted.get_mut(place).map(|it| &mut it.hits)
    }

    /// All counts.
    pub(super) fn hits(&self) -> impl Iterator<Item = &RuleHits> {
        self.sorted.iter().map(|it| &it.hits)
    }

    /// Takes one in, in the place of the one before it: rules that stay keep their counts.
    pub(super) fn set(&mut self, mut section: ClientSection) {
        match self.place(section.client) {
            Ok(place) => {
                if let Some(before) = self.sorted.get_mut(place) {
                    section.hits.go_on_from(&before.hits);
                    *before = section;
                }
            }
            Err(place) => self.sorted.insert(place, section),
        }
    }

    /// Takes out that of this client.
    pub(super) fn remove(&mut self, client: Ipv4Addr) {
        if let Ok(place) = self.place(client) {
            self.sorted.remove(place);
        }
    }
}
