//! What QubesDB says, made what is configured: settings, features and rules. Whether any of it is otherwise than before is
//! for [`Live`] to see.

use super::event::{Event, QubesEvent, QubesMistake};
use super::event_log::EventLog;
use crate::base::text::Excerpt;
use crate::config::live::Resolvers;
use crate::config::mistake::OptionName;
use crate::config::qube_rules::{ClientRules, FeatureLines, Scope, SectionsOf};
use crate::config::setting::Source;
use crate::config::{ChangeQueue, Live};
use crate::engine::inside::InsideAddresses;
use crate::engine::visible::{Visible, VisibleAddresses};
use crate::qubes::{ConfigKind, Database, SourceFault, Update};
use alloc::format;
use alloc::vec::Vec;
use core::net::Ipv4Addr;

/// Options that a feature may set, each named as on the command line.
const OPTIONS: [OptionName; 5] = [
    OptionName::ClientFlows,
    OptionName::ClientPorts,
    OptionName::ClientNewFlows,
    OptionName::UplinkPings,
    OptionName::Log,
];

const LINES: [(ConfigKind, FeatureLines); 3] = [
    (ConfigKind::Base, FeatureLines::Base),
    (ConfigKind::Permit, FeatureLines::Permit),
    (ConfigKind::Forward, FeatureLines::Forward),
];

/// What stands for the name of features that there was no room for: behind all names that there are.
const LEFT_OUT: &str = "~left-out";

/// What is configured, and where it is told.
pub(super) struct Configured<'a> {
    pub(super) live: &'a mut Live,
    pub(super) changes: &'a mut ChangeQueue,
    pub(super) events: &'a mut EventLog,
}

/// Takes over what QubesDB says.
#[derive(Debug, Default)]
pub(super) struct QubesConfig {
    /// What was wrong when it was last looked at: it is told once.
    wrong: Vec<QubesMistake>,
}

impl QubesConfig {
    /// Takes over what `update` is about, and who is there. What belongs together is in effect at once: all changes of one call are.
    pub(super) fn take_over(&mut self, update: Update, database: &Database, to: &mut Configured<'_>) {
        to.live.set_present(database.present(), to.changes);
        match update {
            Update::Everything => {
                to.live.set_sections(SectionsOf::QubesDb, to.changes);
                if let Some(seed) = database.random_seed() {
                    to.live.set_random_seed(seed.as_bytes(), to.changes);
                }
                self.take_settings(database, to);
                let all = database.rule_sources().map(|source| (source, rules_of(database, source)));
                to.live.set_client_rules(Scope::All, all, to.changes);
                to.events.note(Event::Qubes(QubesEvent::Loaded(database.rule_sources().count())));
            }
            Update::Settings => self.take_settings(database, to),
            Update::Rules(source) => {
                let one = [(source, rules_of(database, source))];
                to.live.set_client_rules(Scope::These, one.into_iter(), to.changes);
            }
        }
    }

    fn take_settings(&mut self, database: &Database, to: &mut Configured<'_>) {
        let Configured { live, changes, .. } = to;
        let settings = database.settings();
        live.set_uplink(Source::QubesDb, settings.address, settings.gateway, changes);
        live.set_client_gateway(Source::QubesDb, settings.client_gateway, changes);
        let mut resolvers = Resolvers::new();
        for resolver in settings.resolvers.into_iter().flatten() {
            if !resolvers.contains(&resolver) {
                resolvers.push(resolver);
            }
        }
        let resolvers = (!resolvers.is_empty()).then_some(resolvers);
        live.set_resolvers(Source::QubesDb, resolvers, changes);
        for (kind, lines) in LINES {
            let lines_of_kind = database.config_lines(kind);
            let all =
                lines_of_kind.map(|(name, line)| (if name.is_empty() { LEFT_OUT } else { name }, line.ok()));
            live.set_lines(lines, all, changes);
        }
        for option in OPTIONS {
            let said = database.options().find(|(name, _)| *name == option.key());
            let text = said.and_then(|(_, value)| value.ok());
            live.set_option(Source::QubesDb, option, text, changes);
        }
        take_addresses(database, live, changes);
        let mistakes = settings.mistakes.into_iter().map(QubesMistake::Setting);
        let full = database.has_too_many_sources().then_some(QubesMistake::TooManySources);
        self.tell(mistakes.chain(wrong_options(database)).chain(full).collect(), to.events);
    }

    /// Tells what is wrong that was not so before.
    fn tell(&mut self, wrong: Vec<QubesMistake>, events: &mut EventLog) {
        for mistake in wrong.iter().filter(|mistake| !self.wrong.contains(mistake)) {
            events.note(Event::Qubes(QubesEvent::Wrong(mistake.clone())));
        }
        self.wrong = wrong;
    }
}

/// Takes over which addresses belong to clients, and under which others some of them see themselves and us. Others may use an
/// address that a client only believes to be its own; it is somebody's if it is also said of one who does not believe it.
fn take_addresses(database: &Database, live: &mut Live, changes: &mut ChangeQueue) {
    let gateway_of = |client| {
        let mut all = database.mapped();
        all.find(|(real, name, _)| *real == client && *name == "visible-gateway").map(|(.., gateway)| gateway)
    };
    let visible: Vec<(Ipv4Addr, Visible)> = database
        .mapped()
        .filter(|(_, name, _)| *name == "visible-ip")
        .map(|(client, _, address)| (client, Visible { address, gateway: gateway_of(client) }))
        .collect();
    let believers = |address| visible.iter().filter(move |(_, seen)| seen.address == address).count();
    let is_real = |address| match believers(address) {
        0 => true,
        believers => {
            database.connected().filter(|other| *other == address).count() > believers
                || database.rule_sources().any(|source| source == address)
        }
    };
    let connected = database.connected().filter(|address| is_real(*address));
    let mapped = visible.iter().map(|(client, _)| *client);
    live.set_inside_addresses(InsideAddresses::new(connected.chain(mapped)), changes);
    live.set_visible_addresses(VisibleAddresses::new(visible.iter().copied()), changes);
}

/// Features that are no option, no text, or that there was no room for.
fn wrong_options(database: &Database) -> impl Iterator<Item = QubesMistake> {
    database.options().filter_map(|(name, value)| {
        let is_known = OPTIONS.iter().any(|option| option.key() == name);
        (!is_known || value.is_err())
            .then(|| QubesMistake::Feature(Excerpt::of(&format!("vm-config.ravelin-{name}"))))
    })
}

/// The rules of a client. Who has none is blocked, as its rules say nothing.
fn rules_of(database: &Database, source: Ipv4Addr) -> ClientRules<impl Iterator<Item = (&str, &str)>> {
    match database.rules_of(source) {
        Err(SourceFault::NotText) => ClientRules::Unreadable,
        Err(SourceFault::TooLarge) => ClientRules::TooLarge,
        rules @ (Ok(_) | Err(SourceFault::NoPolicy)) => ClientRules::Lines(rules.into_iter().flatten()),
    }
}
