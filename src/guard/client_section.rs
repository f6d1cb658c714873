//! The rules that QubesDB has of one client, made ready, with their counts.

use super::hits::RuleHits;
use super::rule_names::RuleNames;
use super::rule_texts::RuleTexts;
use super::section::Section;
use alloc::boxed::Box;
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
        let mut hits = RuleHits::default().for_rules(&mut section.ids());
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
    /// By address. Each apart, so that one more moves little.
    sorted: Vec<(Ipv4Addr, Box<ClientSection>)>,
}

impl ClientSections {
    fn place(&self, client: Ipv4Addr) -> Result<usize, usize> {
        self.sorted.binary_search_by_key(&client, |(client, _)| *client)
    }

    /// That of this client.
    pub(super) fn of(&self, client: Ipv4Addr) -> Option<&ClientSection> {
        let place = self.place(client).ok()?;
        self.sorted.get(place).map(|(_, section)| &**section)
    }

    /// Where what its rules decide is counted.
    pub(super) fn hits_mut(&mut self, client: Ipv4Addr) -> Option<&mut RuleHits> {
        let place = self.place(client).ok()?;
        self.sorted.get_mut(place).map(|(_, section)| &mut section.hits)
    }

    /// All sections, each with its client.
    pub(super) fn sections(&self) -> impl Iterator<Item = (Ipv4Addr, &Section)> + Clone {
        self.sorted.iter().map(|(client, it)| (*client, &it.section))
    }

    /// The names in all sections, to note what becomes known of them.
    pub(super) fn names_mut(&mut self) -> impl Iterator<Item = &mut RuleNames> {
        self.sorted.iter_mut().filter_map(|(_, it)| it.section.names_mut())
    }

    /// All counts.
    pub(super) fn hits(&self) -> impl Iterator<Item = &RuleHits> {
        self.sorted.iter().map(|(_, section)| &section.hits)
    }

    /// Takes one in, in the place of the one before it: rules that stay keep their counts.
    pub(super) fn set(&mut self, mut section: Box<ClientSection>) {
        match self.place(section.client) {
            Ok(place) => {
                if let Some((_, before)) = self.sorted.get_mut(place) {
                    section.hits.go_on_from(&before.hits);
                    *before = section;
                }
            }
            Err(place) => self.sorted.insert(place, (section.client, section)),
        }
    }

    /// Takes out that of this client.
    pub(super) fn remove(&mut self, client: Ipv4Addr) {
        if let Ok(place) = self.place(client) {
            self.sorted.remove(place);
        }
    }
}
