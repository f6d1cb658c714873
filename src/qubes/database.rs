//! What the daemon has and we need: settings, features that are meant for us, and the rules of clients.
//!
//! Everything else is forgotten as it comes. A database holds at most what it was given to hold, in memory as it really is
//! taken; what is too much is marked where it is missing, so that nobody takes a part for the whole.

use super::entries::{Entries, Put};
use super::fault::{SourceFault, ValueFault};
use super::path::{CONFIG, CONNECTED, FIREWALL, MAPPED, Meaning, meaning};
use super::rule_sources::RuleSources;
use super::settings::QubesSettings;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// What is always there for settings: each with the longest value, twice while one is replaced.
const SETTINGS_BYTES: usize = 64 << 10;

/// What features of ours are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigKind {
    /// `ravelin-base-…`: a rule for all clients, before each one's own.
    Base,
    /// `ravelin-permit-…`: what one client may ask of another.
    Permit,
    /// `ravelin-forward-…`: what comes in from the uplink.
    Forward,
}

impl ConfigKind {
    const ALL: [Self; 3] = [Self::Base, Self::Permit, Self::Forward];

    /// What the names of its features begin with, behind `ravelin-`.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Base => "base-",
            Self::Permit => "permit-",
            Self::Forward => "forward-",
        }
    }
}

/// What the daemon has, as far as it concerns us.
#[derive(Debug)]
pub struct Database {
    settings: Entries,
    /// One that there was no room for is there, and cannot be read.
    config: Entries,
    /// There was no room for that either.
    config_is_full: bool,
    mapped: Entries,
    rules: RuleSources,
    /// The rules have not been told yet who is there now.
    presence_is_stale: bool,
    budget_bytes: usize,
}

impl Database {
    /// Nothing, with room for so many bytes beside the settings.
    #[inline(never)]
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self {
            settings: Entries::default(),
            config: Entries::default(),
            config_is_full: false,
            mapped: Entries::default(),
            rules: RuleSources::new(budget_bytes / 8 * 7),
            presence_is_stale: false,
            budget_bytes,
        }
    }

    /// Nothing, to be filled by a dump. As long as that does not say who is there, those are who are there now.
    pub(super) fn for_dump(&self) -> Self {
        let mut empty = Self::new(self.budget_bytes);
        empty.rules.set_present(self.present());
        empty.rules.set_dump(true);
        empty
    }

    /// The dump has come entirely.
    pub(super) fn end_dump(&mut self) {
        self.rules.set_dump(false);
    }

    /// The settings, as far as they make sense.
    pub fn settings(&self) -> QubesSettings {
        QubesSettings::read(|path| self.setting(path))
    }

    /// Bytes from dom0's source of randomness, as text, if it sent some.
    pub fn random_seed(&self) -> Option<&str> {
        self.setting("/qubes-random-seed")?.ok()
    }

    /// The visible addresses of all qubes that have us as their netvm, running or not. What is no address is passed over.
    pub fn connected(&self) -> impl Iterator<Item = Ipv4Addr> {
        let text = self.setting("/connected-ips").and_then(Result::ok).unwrap_or_default();
        text.split(' ').filter_map(|address| address.parse().ok())
    }

    /// The same qubes by the addresses that their rules are kept under; `None` if that was not said.
    #[inline(never)]
    pub fn present(&self) -> Option<Vec<Ipv4Addr>> {
        self.settings.get(CONNECTED)?.ok()?;
        let mut present: Vec<Ipv4Addr> = self.connected().collect();
        let visible = present.len();
        for (real, name, address) in self.mapped() {
            if name == "visible-ip" && present.iter().take(visible).any(|seen| *seen == address) {
                present.push(real);
            }
        }
        Some(present)
    }

    /// What clients with another visible address look like: the real address, `visible-ip` or `visible-gateway`, and that.
    /// What makes no sense is passed over.
    pub fn mapped(&self) -> impl Iterator<Item = (Ipv4Addr, &str, Ipv4Addr)> {
        self.mapped.iter().filter_map(|(path, value)| {
            let (address, name) = path.strip_prefix(MAPPED)?.split_once('/')?;
            Some((address.parse().ok()?, name, value.ok()?.parse().ok()?))
        })
    }

    /// The sources that have rules, in order.
    pub fn rule_sources(&self) -> impl Iterator<Item = Ipv4Addr> {
        self.rules.addresses()
    }

    /// Whether sources were left out or forgotten for want of room.
    pub const fn has_too_many_sources(&self) -> bool {
        self.rules.is_incomplete()
    }

    /// The rules of a source (`0000`, `0001`, …) and its `policy`, each with its value, in the order of their names.
    ///
    /// # Errors
    /// Why it is to be blocked.
    pub fn rules_of(&self, address: Ipv4Addr) -> Result<impl Iterator<Item = (&str, &str)>, SourceFault> {
        self.rules.rules_of(address)
    }

    /// The features of one kind that are not empty, each with its name behind `vm-config.` as people write it. If some are
    /// missing, one without a name says so at the end.
    pub fn config_lines(&self, kind: ConfigKind) -> impl Iterator<Item = (&str, Result<&str, ValueFault>)> {
        let of_kind = move |name: &str| {
            name.strip_prefix("ravelin-").is_some_and(|name| name.starts_with(kind.prefix()))
        };
        let missing = self.config_is_full.then_some(("", Err(ValueFault::NoRoom)));
        self.features().filter(move |(name, _)| of_kind(name)).chain(missing)
    }

    /// The other features that are meant for us and not empty: an option's name as on the command line, and its value.
    pub fn options(&self) -> impl Iterator<Item = (&str, Result<&str, ValueFault>)> {
        let options =
            self.features().filter_map(|(name, value)| Some((name.strip_prefix("ravelin-")?, value)));
        options.filter(|(name, _)| !ConfigKind::ALL.iter().any(|kind| name.starts_with(kind.prefix())))
    }

    /// The features that are meant for us and have a value.
    fn features(&self) -> impl Iterator<Item = (&str, Result<&str, ValueFault>)> {
        let features = self.config.iter().filter(|(_, value)| *value != Ok(""));
        features.filter_map(|(path, value)| Some((path.strip_prefix("/vm-config/")?, value)))
    }

    /// A setting that is there and not empty.
    fn setting(&self, path: &str) -> Option<Result<&str, ValueFault>> {
        self.settings.get(path).filter(|value| *value != Ok(""))
    }

    /// What it takes of memory.
    pub(super) fn cost(&self) -> usize {
        [&self.settings, &self.config, &self.mapped].map(Entries::cost).iter().sum::<usize>()
            + self.rules.cost()
    }

    /// Takes in an entry. Whether a setting, a feature or a visible address is another now.
    pub(super) fn put(&mut self, path: &str, value: &[u8]) -> bool {
        let put = match meaning(path) {
            Meaning::Setting => {
                self.presence_is_stale = true;
                self.settings.put(path, value, SETTINGS_BYTES)
            }
            Meaning::Config => self.put_config(path, value),
            Meaning::Mapped => {
                self.presence_is_stale = true;
                let put = self.mapped.put(path, value, self.budget_bytes / 16);
                if put == Put::NoRoom {
                    self.mapped.remove(path);
                }
                put
            }
            Meaning::Rule(source, name) => {
                self.tell_who_is_there();
                self.rules.put(source, name, value);
                return false;
            }
            Meaning::Trigger(_) | Meaning::Handled | Meaning::Nothing => return false,
        };
        put != Put::Same
    }

    /// Takes in a feature. Of one that there is no room for the name stays: no older value counts, and nobody takes what is
    /// there for all. Names have a quarter of the room that values do not take.
    fn put_config(&mut self, path: &str, value: &[u8]) -> Put {
        let most = self.budget_bytes / 16;
        let put = self.config.put(path, value, most / 4 * 3);
        if put != Put::NoRoom {
            return put;
        }
        self.config.remove(path);
        if self.config.put_unreadable(path, most) == Put::NoRoom {
            self.config_is_full = true;
        }
        Put::NoRoom
    }

    fn tell_who_is_there(&mut self) {
        if core::mem::take(&mut self.presence_is_stale)
            && let Some(present) = self.present()
        {
            self.rules.set_present(Some(present));
        }
    }

    /// Takes out an entry, or all below a path that ends with a slash. Whether one of those that [`Self::put`] tells of went.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        if path.ends_with('/') {
            self.remove_rules_below(path);
        } else if let Meaning::Rule(source, name) = meaning(path) {
            self.rules.remove(source, name);
        }
        let config = self.config.remove(path);
        // What was left out without a name is known to be gone when all are.
        if path.ends_with('/') && CONFIG.starts_with(path) {
            self.config_is_full = false;
        }
        let presence = self.settings.remove(path) | self.mapped.remove(path);
        self.presence_is_stale |= presence;
        presence | config
    }

    fn remove_rules_below(&mut self, path: &str) {
        if FIREWALL.starts_with(path) {
            self.rules.remove_all();
        } else if let Some(source) = path.strip_prefix(FIREWALL).and_then(|rest| rest.strip_suffix('/'))
            && let Ok(source) = source.parse()
        {
            self.rules.remove_all_of(source);
        }
    }
}
