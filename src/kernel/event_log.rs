//! Where events become lines on the console: the one place that words them, and how many lines a client may cause.

use super::event::{Event, LinkEnd, QubesEvent, QubesMistake, StoreEvent};
use crate::base::host_name::HostName;
use crate::base::rule_owners::RuleOwners;
use crate::base::time::Moment;
use crate::config::host_address::AddressRole;
use crate::config::qube_rules::{ChangedClients, LiveRulesReport, RulesSubject};
use crate::config::rule_config::{Problems, RulesReport};
use crate::vif::device_id::DeviceId;
use crate::vif::event::{ClientEvent, EventSink, UplinkEvent, VifEvent};
use crate::vif::per_domain::PerDomain;
use crate::xen::DomainId;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;
use log::{Level, LevelFilter};

/// Lines about one domain in one `WINDOW`.
const LINES: u32 = 10;

/// Whose lines those about QubesDB are: no client is the domain of this number, which Xen keeps for each domain itself.
const QUBESDB: DomainId = DomainId(0x7ff0);

/// Whose lines those about names in rules are: another such number.
const NAMES: DomainId = DomainId(0x7ff1);

/// Whose lines those about what is configured are: one more such number.
const SETTINGS: DomainId = DomainId(0x7ff2);

/// Lines about QubesDB in one `WINDOW`, which tells of all clients.
const QUBESDB_LINES: u32 = 40;

/// Lines about what is configured in one `WINDOW`: once all that may be said of a rule file, and some more.
const SETTINGS_LINES: u32 = 100;

/// How long lines are counted. Then as many are allowed again, and the number of those left out is said.
const WINDOW: Duration = Duration::from_secs(60);

/// Takes a line of the console.
type Say<'a> = dyn FnMut(Level, fmt::Arguments<'_>) + 'a;

/// Writes events to the console, and keeps those of the present turn to be looked at.
#[derive(Debug, Default)]
pub struct EventLog {
    budgets: PerDomain<LineBudget>,
    happened: Vec<Event>,
    now: Moment,
    /// When XenStore's quota was last found to be used up. Every client whose nodes are to be written finds that.
    quota_used_up: Option<Moment>,
}

/// Lines about one domain.
#[derive(Clone, Copy, Debug)]
struct LineBudget {
    window: Moment,
    said: u32,
    left_out: u32,
    /// The most urgent level of a line that was left out.
    most_urgent: Level,
}

impl EventLog {
    /// A turn begins at `now`: what happened before is forgotten.
    pub fn begin_turn(&mut self, now: Moment) {
        self.now = now;
        self.happened.clear();
    }

    /// What has happened in this turn, in order.
    pub fn happened(&self) -> &[Event] {
        &self.happened
    }

    /// Writes an event to the console and keeps it. About one domain at most `LINES` are written in a `WINDOW`;
    /// that XenStore's quota is used up is written once, and again after a `WINDOW` in which it was not found so.
    pub fn note(&mut self, event: Event) {
        self.note_to(event, log::max_level(), &mut line);
    }

    /// As [`Self::note`], with `say` in place of the console. Lines about a domain that are less urgent than `shown`
    /// are neither written nor counted.
    fn note_to(&mut self, event: Event, shown: LevelFilter, say: &mut Say<'_>) {
        let account = match &event {
            Event::Vif(VifEvent::Client(id, _)) => Some(id.domain),
            Event::Qubes(_) | Event::LiveRulesChanged(_) => Some(QUBESDB),
            Event::NameUnknown(..) => Some(NAMES),
            Event::RulesReplaced(_)
            | Event::RouteChanged { .. }
            | Event::AddressRefused(_)
            | Event::OptionRefused(_) => Some(SETTINGS),
            _ => None,
        };
        match (account, &event) {
            (Some(account), event) => tell(event, &mut |level, line| {
                if level <= shown && self.may_say(account, level, say) {
                    say(level, line);
                }
            }),
            (None, Event::Vif(VifEvent::QuotaUsedUp)) => {
                let last = self.quota_used_up.replace(self.now);
                if last.is_none_or(|last| self.now >= last + WINDOW) {
                    tell(&event, say);
                }
            }
            _ => tell(&event, say),
        }
        self.happened.push(event);
    }

    /// Says how much was left out, when it is time.
    pub fn advance(&mut self, now: Moment) {
        self.advance_to(now, &mut line);
    }

    fn advance_to(&mut self, now: Moment, say: &mut Say<'_>) {
        for (domain, budget) in self.budgets.iter_mut() {
            if budget.deadline().is_some_and(|due| due <= now) {
                budget.open_window(domain, now, say);
            }
        }
    }

    /// When [`Self::advance`] has something to do.
    pub fn deadline(&self) -> Option<Moment> {
        self.budgets.iter().filter_map(|(_, budget)| budget.deadline()).min()
    }

    /// Whether another line of this level may be written about `domain`; that counts as one.
    fn may_say(&mut self, domain: DomainId, level: Level, say: &mut Say<'_>) -> bool {
        let now = self.now;
        let forget = |gone, mut budget: LineBudget| budget.open_window(gone, now, say);
        let budget = self.budgets.entry(domain, now, || LineBudget::since(now), forget);
        if now >= budget.window + WINDOW {
            budget.open_window(domain, now, say);
        }
        let most = match domain {
            QUBESDB => QUBESDB_LINES,
            SETTINGS => SETTINGS_LINES,
            _ => LINES,
        };
        if budget.said < most {
            budget.said += 1;
            return true;
        }
        budget.left_out = budget.left_out.saturating_add(1);
        budget.most_urgent = budget.most_urgent.min(level);
        false
    }
}

impl EventSink for EventLog {
    fn emit(&mut self, event: VifEvent) {
        self.note(Event::Vif(event));
    }
}

impl LineBudget {
    /// Nothing was said yet.
    const fn since(now: Moment) -> Self {
        Self { window: now, said: 0, left_out: 0, most_urgent: Level::Trace }
    }

    fn deadline(&self) -> Option<Moment> {
        (self.left_out > 0).then(|| self.window + WINDOW)
    }

    /// Begins to count lines anew, and says how many were left out, on the level of the most urgent of them.
    fn open_window(&mut self, domain: DomainId, now: Moment, say: &mut Say<'_>) {
        let left_out = self.left_out;
        if left_out > 0 {
            let seconds = now.since(self.window).as_secs();
            let (whose, what) = match domain {
                QUBESDB => (String::from("QubesDB"), "it"),
                NAMES => (String::from("rules"), "names"),
                SETTINGS => (String::from("configuration"), "it"),
                DomainId(domain) => (format!("domain {domain}"), "its vifs"),
            };
            say(
                self.most_urgent,
                format_args!("{whose}: {left_out} more lines about {what} in {seconds} s were left out"),
            );
        }
        *self = Self::since(now);
    }
}

/// Writes an event to the console.
pub fn write(event: &Event) {
    tell(event, &mut line);
}

/// Writes a line to the console. A function, as the macros of `log` are some 200 bytes of code wherever they stand.
#[inline(never)]
pub fn line(level: Level, line: fmt::Arguments<'_>) {
    log::log!(level, "{line}");
}

/// Puts an event into words: no line, one, or several.
fn tell(event: &Event, say: &mut Say<'_>) {
    match event {
        Event::Vif(VifEvent::Client(id, event)) => tell_client(*id, event, say),
        Event::Vif(VifEvent::Uplink(event)) => tell_uplink(event, say),
        Event::Vif(VifEvent::QuotaUsedUp) => say(
            Level::Warn,
            format_args!(
                "XenStore's quota is used up: nodes that the toolstack made for hotplug scripts are removed"
            ),
        ),
        Event::RouteChanged { from: Some(from), to: Some(to) }
            if from.address().address() != to.address().address() =>
        {
            let (from, to) = (from.address(), to.address());
            say(Level::Warn, format_args!("uplink: our address is {to} from now on; flows from {from} end"));
        }
        Event::RouteChanged { to: Some(to), .. } => {
            let (address, gateway) = (to.address(), to.gateway());
            say(
                Level::Warn,
                format_args!("uplink: our address is {address}, the gateway {gateway} from now on"),
            );
        }
        Event::RouteChanged { to: None, .. } => {
            say(
                Level::Warn,
                format_args!("uplink: without an address or a gateway nothing goes there from now on"),
            );
        }
        Event::AddressRefused(refused) => {
            let instead = match refused.role {
                AddressRole::Device => "the configured one is used",
                _ => "what was in effect stays",
            };
            say(Level::Warn, format_args!("{refused}; {instead}"));
        }
        Event::RulesReplaced(report) => tell_rules(report, say),
        Event::LiveRulesChanged(report) => tell_live_rules(report, say),
        Event::OptionRefused(mistake) => {
            say(Level::Warn, format_args!("{mistake}; it is as if it were not set"));
        }
        Event::Store(event) => tell_store(event, say),
        Event::Qubes(event) => tell_qubes(event, say),
        Event::NameUnknown(host, blocked) => tell_blocking_name(host, *blocked, say),
        Event::RequestRefused(request) => say(Level::Warn, format_args!("{request}")),
        Event::AddressTaken(..)
        | Event::AddressLost(_)
        | Event::ClientGatewayChanged(_)
        | Event::QuotasChanged(_)
        | Event::UplinkPingsChanged(_)
        | Event::LogLevelChanged(_) => {}
    }
}

fn tell_client(id: DeviceId, event: &ClientEvent, say: &mut Say<'_>) {
    match event {
        ClientEvent::Found(identity) => say(Level::Info, format_args!("{id}: new client, {identity}")),
        ClientEvent::NotSupported(what) => say(Level::Warn, format_args!("{id}: {what}")),
        ClientEvent::NotServed(most) => say(
            Level::Error,
            format_args!("{id}: {most} clients are connected already; this one is not served"),
        ),
        ClientEvent::Connected => say(Level::Info, format_args!("{id}: connected")),
        ClientEvent::Disconnected => say(Level::Info, format_args!("{id}: disconnected")),
        ClientEvent::Gone => say(Level::Info, format_args!("{id}: gone")),
        ClientEvent::ProtocolBroken(why) => {
            say(Level::Warn, format_args!("{id}: broke the protocol ({why}): connection ended"));
        }
        ClientEvent::CannotConnect(why) => say(Level::Warn, format_args!("{id}: cannot connect: {why}")),
        ClientEvent::Refused(error) => say(Level::Error, format_args!("{id}: {error}")),
    }
}

fn tell_uplink(event: &UplinkEvent, say: &mut Say<'_>) {
    match event {
        UplinkEvent::Found { device, mac } => {
            say(Level::Info, format_args!("uplink: device {device}, our address there is {mac}"));
        }
        UplinkEvent::MtuRefused(text, used) => {
            say(Level::Warn, format_args!("uplink: mtu {text} cannot be: {used} is used"));
        }
        UplinkEvent::Connected => say(Level::Info, format_args!("uplink: connected")),
        UplinkEvent::Disconnected => say(Level::Warn, format_args!("uplink: disconnected")),
        UplinkEvent::Removed => say(Level::Warn, format_args!("uplink: the device was removed")),
        UplinkEvent::Unused(device) => {
            say(Level::Warn, format_args!("uplink: device {device} is not used while there is another one"));
        }
        UplinkEvent::Unusable(device, error) => {
            say(Level::Error, format_args!("uplink: device {device} cannot be used: {error}"));
        }
        UplinkEvent::ProtocolBroken(why) => {
            say(
                Level::Error,
                format_args!("uplink: its backend broke the protocol ({why}): connection ended"),
            );
        }
        UplinkEvent::PagesHeld(pages) => {
            say(
                Level::Error,
                format_args!("uplink: its backend still holds {pages} pages: no new rings for it"),
            );
        }
        UplinkEvent::NoRings(backend, error) => {
            say(Level::Error, format_args!("uplink: no rings for domain {}: {error}", backend.0));
        }
        UplinkEvent::Refused(error) => say(Level::Error, format_args!("uplink: {error}")),
    }
}

fn tell_rules(report: &RulesReport, say: &mut Say<'_>) {
    match report {
        RulesReport::NoFile => say(
            Level::Info,
            format_args!(
                "no rule file: clients may open connections to the uplink, nothing else is permitted"
            ),
        ),
        RulesReport::NoFileInQube => {}
        RulesReport::Read { bytes, passed_over, problems } => {
            tell_problems(problems, say);
            if *passed_over > 0 {
                say(
                    Level::Warn,
                    format_args!(
                        "rules: {passed_over} sections [default] or [client] do not count: this is a qube, \
                         whose clients have the rules that Qubes gives them"
                    ),
                );
            }
            say(Level::Info, format_args!("rules: {bytes} bytes read"));
        }
    }
}

fn tell_live_rules(report: &LiveRulesReport, say: &mut Say<'_>) {
    tell_problems(&report.problems, say);
    match report.subject {
        RulesSubject::Clients(clients) => {
            let ChangedClients { changed, gone, left_out } = clients;
            say(Level::Info, format_args!("rules: new ones of {changed} clients, {gone} have none any more"));
            if left_out > 0 {
                say(
                    Level::Error,
                    format_args!("rules: {left_out} clients are too many: they are refused everything"),
                );
            }
        }
        RulesSubject::Lines(kind, count) => {
            say(Level::Info, format_args!("rules: {count} lines of {}", kind.feature()));
        }
    }
}

fn tell_problems(problems: &Problems, say: &mut Say<'_>) {
    for problem in &problems.list {
        say(Level::Error, format_args!("{problem}"));
    }
    if problems.omitted > 0 {
        say(Level::Error, format_args!("rules: {} more problems", problems.omitted));
    }
}

fn tell_blocking_name(host: &HostName, blocked: RuleOwners, say: &mut Say<'_>) {
    let (whose, more) = match blocked {
        RuleOwners::All => (String::from("all clients"), 0),
        RuleOwners::Clients { first, more } if first.length() == 32 => {
            (format!("client {}", first.address()), more)
        }
        RuleOwners::Clients { first, more } => (format!("clients {first}"), more),
    };
    let others = if more > 0 { format!(" and {more} others") } else { String::new() };
    say(
        Level::Error,
        format_args!(
            "rules for {whose}{others} refuse {host}, of which no name server says anything: until one does, they may \
             begin no flow"
        ),
    );
}

fn tell_store(event: &StoreEvent, say: &mut Say<'_>) {
    match event {
        StoreEvent::Slow { waited, status } => {
            let seconds = waited.as_secs();
            say(
                Level::Warn,
                format_args!("xenstored takes {seconds} s to answer: clients wait, packets go on ({status})"),
            );
        }
        StoreEvent::Prompt => say(Level::Info, format_args!("xenstored answers promptly again")),
        StoreEvent::Failed(error) => say(Level::Error, format_args!("{error}")),
    }
}

fn tell_qubes(event: &QubesEvent, say: &mut Say<'_>) {
    match event {
        QubesEvent::Connected => say(Level::Info, format_args!("QubesDB: connected")),
        QubesEvent::Loaded(sources) => {
            say(Level::Info, format_args!("QubesDB: read, with rules of {sources} clients"));
        }
        QubesEvent::Gone(end) => {
            let what: &dyn fmt::Display = match end {
                LinkEnd::Closed => &"its server is gone",
                LinkEnd::Broken => &"its server broke the connection",
                LinkEnd::Protocol(fault) => fault,
            };
            say(Level::Warn, format_args!("QubesDB: {what}: what it said last stays in effect"));
        }
        QubesEvent::CannotConnect(error) => {
            say(Level::Warn, format_args!("QubesDB: cannot connect: {error}"))
        }
        QubesEvent::Wrong(QubesMistake::Setting(mistake)) => {
            say(Level::Error, format_args!("QubesDB: {mistake}; it is not in effect"));
        }
        QubesEvent::Wrong(QubesMistake::Feature(name)) => {
            say(
                Level::Error,
                format_args!("QubesDB: feature {name} is not in effect: no such name, no text, or no room"),
            );
        }
        QubesEvent::Wrong(QubesMistake::TooManySources) => {
            say(
                Level::Error,
                format_args!(
                    "QubesDB: no room for the rules of so many clients: some of those that are not there are refused \
                     everything until theirs come again"
                ),
            );
        }
    }
}

#[cfg(test)]
#[path = "event_log_tests.rs"]
mod tests;
