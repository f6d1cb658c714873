//! Every event has the line that scenarios and people look for, and a client causes no more than so many.

use super::*;
use crate::base::text::Excerpt;
use crate::config::host_address::{AddressRole, RefusedAddress, UnusableAddress};
use crate::config::uplink_route::UplinkRoute;
use crate::guard::antispoof::Identity;
use crate::guard::ruleset;
use crate::kernel::requests::UnknownRequest;
use crate::qubes::ProtocolFault;
use crate::qubes::settings::SettingMistake;
use crate::store::StoreError;
use crate::vchan::ConnectError;
use crate::vif::{netback, netfront};
use crate::wire::ethernet::Mac;
use crate::xen::XenError;
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use core::iter;

const START: Moment = Moment::from_nanoseconds(1_000_000_000);
const ID: DeviceId = DeviceId { domain: DomainId(7), device: 0 };

fn lines(event: Event) -> Vec<String> {
    let mut lines = Vec::new();
    tell(&event, &mut |level, line| lines.push(format!("{level} {line}")));
    lines
}

fn client(event: ClientEvent) -> Vec<String> {
    lines(Event::Vif(VifEvent::Client(ID, event)))
}

fn uplink(event: UplinkEvent) -> Vec<String> {
    lines(Event::Vif(VifEvent::Uplink(event)))
}

#[test]
fn a_client_s_life_is_told() {
    let identity = Identity::parse("00:16:3e:01:02:03", "10.137.0.5");
    assert_eq!(
        client(ClientEvent::Found(identity.clone())),
        [format!("INFO vif7.0: new client, {identity}")]
    );
    assert_eq!(client(ClientEvent::NotSupported("rate".to_owned())), ["WARN vif7.0: rate"]);
    assert_eq!(
        client(ClientEvent::NotServed(90)),
        ["ERROR vif7.0: 90 clients are connected already; this one is not served"]
    );
    assert_eq!(client(ClientEvent::Connected), ["INFO vif7.0: connected"]);
    assert_eq!(client(ClientEvent::Disconnected), ["INFO vif7.0: disconnected"]);
    assert_eq!(client(ClientEvent::Gone), ["INFO vif7.0: gone"]);
    let why = netback::ClientBroken::Ring;
    assert_eq!(
        client(ClientEvent::ProtocolBroken(why)),
        [format!("WARN vif7.0: broke the protocol ({why}): connection ended")]
    );
    let error = StoreError::NoEntry;
    assert_eq!(client(ClientEvent::Refused(error.clone())), [format!("ERROR vif7.0: {error}")]);
}

#[test]
fn the_uplink_s_life_is_told() {
    let mac = Mac([0, 0x16, 0x3e, 0, 0, 3]);
    assert_eq!(
        uplink(UplinkEvent::Found { device: 1, mac }),
        ["INFO uplink: device 1, our address there is 00:16:3e:00:00:03"]
    );
    assert_eq!(
        uplink(UplinkEvent::MtuRefused(Excerpt::of("tiny"), 1500)),
        ["WARN uplink: mtu \"tiny\" cannot be: 1500 is used"]
    );
    assert_eq!(uplink(UplinkEvent::Connected), ["INFO uplink: connected"]);
    assert_eq!(uplink(UplinkEvent::Disconnected), ["WARN uplink: disconnected"]);
    assert_eq!(uplink(UplinkEvent::Removed), ["WARN uplink: the device was removed"]);
    assert_eq!(
        uplink(UplinkEvent::Unused(1)),
        ["WARN uplink: device 1 is not used while there is another one"]
    );
    let error = StoreError::NoEntry;
    assert_eq!(
        uplink(UplinkEvent::Unusable(1, error.clone())),
        [format!("ERROR uplink: device 1 cannot be used: {error}")]
    );
    let why = netfront::UplinkBroken::Ring;
    assert_eq!(
        uplink(UplinkEvent::ProtocolBroken(why)),
        [format!("ERROR uplink: its backend broke the protocol ({why}): connection ended")]
    );
    assert_eq!(
        uplink(UplinkEvent::PagesHeld(3)),
        ["ERROR uplink: its backend still holds 3 pages: no new rings for it"]
    );
    let error = XenError(-12);
    assert_eq!(
        uplink(UplinkEvent::NoRings(DomainId(4), error)),
        [format!("ERROR uplink: no rings for domain 4: {error}")]
    );
    let error = StoreError::NoEntry;
    assert_eq!(uplink(UplinkEvent::Refused(error.clone())), [format!("ERROR uplink: {error}")]);
}

#[test]
fn a_change_of_our_address_is_told() {
    let route = |address: &str, gateway: &str| {
        UplinkRoute::new(address.parse().unwrap(), gateway.parse().unwrap()).ok()
    };
    let changed = |from, to| lines(Event::RouteChanged { from, to });
    let (old, new) = (route("10.0.0.2/24", "10.0.0.1"), route("10.0.0.7/24", "10.0.0.1"));
    assert_eq!(
        changed(old, new),
        ["WARN uplink: our address is 10.0.0.7/24 from now on; flows from 10.0.0.2/24 end"]
    );
    let first = ["WARN uplink: our address is 10.0.0.7/24, the gateway 10.0.0.1 from now on"];
    assert_eq!(changed(None, new), first);
    assert_eq!(changed(route("10.0.0.7/24", "10.0.0.9"), new), first);
    // No flow ends where only the network is another one.
    assert_eq!(changed(route("10.0.0.7/32", "10.0.9.1"), new), first);
    assert_eq!(
        changed(new, None),
        ["WARN uplink: without an address or a gateway nothing goes there from now on"]
    );
}

#[test]
fn an_address_that_is_refused_is_told() {
    let refused = UplinkRoute::new("10.0.0.2/24".parse().unwrap(), "10.0.1.1".parse().unwrap()).unwrap_err();
    assert_eq!(
        lines(Event::AddressRefused(refused)),
        ["WARN the gateway cannot be 10.0.1.1: it is outside 10.0.0.0/24, the network of our address; \
          what was in effect stays"]
    );
    let device = RefusedAddress { role: AddressRole::Device, why: UnusableAddress::Gateway, ..refused };
    assert_eq!(
        lines(Event::AddressRefused(device)),
        [
            "WARN the uplink device's address cannot be 10.0.1.1: it is the gateway's; the configured one is used"
        ]
    );
}

#[test]
fn rules_are_told_with_what_is_wrong_with_them() {
    let none = Rc::new(RulesReport::NoFile);
    assert_eq!(
        lines(Event::RulesReplaced(none)),
        ["INFO no rule file: clients may open connections to the uplink, nothing else is permitted"]
    );
    let (_, problems) = ruleset::read(b"[default]\nnonsense\n", &[]);
    let problem = format!("ERROR {}", problems.list[0]);
    let report = Rc::new(RulesReport::Read { bytes: 19, passed_over: 0, problems });
    assert_eq!(lines(Event::RulesReplaced(report)), [problem.as_str(), "INFO rules: 19 bytes read"]);
}

#[test]
fn a_name_that_blocks_is_told_with_whom_it_blocks() {
    let of = |blocked| lines(Event::NameUnknown(HostName::parse("t.example").unwrap(), blocked)).remove(0);
    let rest =
        "refuse t.example, of which no name server says anything: until one does, they may begin no flow";
    assert_eq!(of(RuleOwners::All), format!("ERROR rules for all clients {rest}"));
    let clients = |first: &str, more| of(RuleOwners::Clients { first: first.parse().unwrap(), more });
    assert_eq!(clients("10.137.0.5/32", 0), format!("ERROR rules for client 10.137.0.5 {rest}"));
    assert_eq!(
        clients("10.137.0.0/24", 2),
        format!("ERROR rules for clients 10.137.0.0/24 and 2 others {rest}")
    );
}

#[test]
fn lines_about_names_are_counted_on_an_account_of_their_own() {
    let mut log = EventLog::default();
    let mut told = Vec::new();
    let mut say = |level: Level, line: fmt::Arguments<'_>| told.push(format!("{level} {line}"));
    log.begin_turn(START);
    for _ in 0..100 {
        let event = Event::NameUnknown(HostName::parse("t.example").unwrap(), RuleOwners::All);
        log.note_to(event, LevelFilter::Info, &mut say);
    }
    log.advance_to(START + WINDOW, &mut say);
    assert_eq!(told.len(), 11);
    assert_eq!(told[10], "ERROR rules: 90 more lines about names in 60 s were left out");
}

#[test]
fn xenstore_and_the_toolstack_are_told_of() {
    let slow = StoreEvent::Slow { waited: Duration::from_secs(2), status: "Read; 1".to_owned() };
    assert_eq!(
        lines(Event::Store(slow)),
        ["WARN xenstored takes 2 s to answer: clients wait, packets go on (Read; 1)"]
    );
    assert_eq!(lines(Event::Store(StoreEvent::Prompt)), ["INFO xenstored answers promptly again"]);
    let error = StoreError::NoEntry;
    assert_eq!(lines(Event::Store(StoreEvent::Failed(error.clone()))), [format!("ERROR {error}")]);
    let quota = "XenStore's quota is used up: nodes that the toolstack made for hotplug scripts are removed";
    assert_eq!(lines(Event::Vif(VifEvent::QuotaUsedUp)), [format!("WARN {quota}")]);
    assert_eq!(
        lines(Event::RequestRefused(UnknownRequest::Shutdown("suspend".to_owned()))),
        ["WARN control/shutdown: request \"suspend\" is not supported"]
    );
    assert_eq!(
        lines(Event::RequestRefused(UnknownRequest::SysRq("x".to_owned()))),
        ["WARN control/sysrq: key \"x\" is not supported; m and s are"]
    );
}

/// Notes `events`, and advances the log by a minute, when lines up to `shown` are looked at. The lines that were said.
fn said(
    log: &mut EventLog,
    shown: LevelFilter,
    events: impl IntoIterator<Item = ClientEvent>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |level: Level, line: fmt::Arguments<'_>| lines.push(format!("{level} {line}"));
    for event in events {
        log.note_to(Event::Vif(VifEvent::Client(ID, event)), shown, &mut say);
    }
    log.advance_to(log.now + WINDOW, &mut say);
    lines
}

#[test]
fn what_is_left_out_is_counted_and_told_when_the_minute_is_over() {
    let mut log = EventLog::default();
    log.begin_turn(START);
    for _ in 0..100 {
        log.note_to(
            Event::Vif(VifEvent::Client(ID, ClientEvent::Connected)),
            LevelFilter::Info,
            &mut |_, _| {},
        );
    }
    let budget = *log.budgets.get(ID.domain).unwrap();
    assert_eq!((budget.said, budget.left_out), (10, 90));
    // Whoever looks sees all of them.
    assert_eq!(log.happened().len(), 100);
    assert_eq!(log.deadline(), Some(START + WINDOW));
    let told = said(&mut log, LevelFilter::Info, []);
    assert_eq!(told, ["INFO domain 7: 90 more lines about its vifs in 60 s were left out"]);
    let budget = *log.budgets.get(ID.domain).unwrap();
    assert_eq!((budget.said, budget.left_out), (0, 0));
    assert_eq!(log.deadline(), None);
    log.begin_turn(START + WINDOW);
    assert!(log.happened().is_empty());
}

#[test]
fn what_the_log_level_hides_takes_no_line_from_what_it_shows() {
    let mut log = EventLog::default();
    log.begin_turn(START);
    let error = ClientEvent::Refused(StoreError::NoEntry);
    let events = iter::repeat_n(ClientEvent::Connected, 50).chain([error]);
    assert_eq!(
        said(&mut log, LevelFilter::Error, events),
        [format!("ERROR vif7.0: {}", StoreError::NoEntry)]
    );
}

#[test]
fn that_lines_were_left_out_is_said_as_urgently_as_the_most_urgent_of_them() {
    let mut log = EventLog::default();
    log.begin_turn(START);
    let error = ClientEvent::Refused(StoreError::NoEntry);
    let events = iter::repeat_n(error, 11).chain([ClientEvent::Connected]);
    let told = said(&mut log, LevelFilter::Info, events);
    assert_eq!(told.len(), 11);
    assert_eq!(told[10], "ERROR domain 7: 2 more lines about its vifs in 60 s were left out");
}

#[test]
fn that_the_quota_is_used_up_is_said_again_when_it_has_sufficed_for_a_minute() {
    let mut log = EventLog::default();
    let mut said = Vec::new();
    for second in [0, 0, 1, 59, 100, 160] {
        log.begin_turn(START + Duration::from_secs(second));
        let quota = Event::Vif(VifEvent::QuotaUsedUp);
        log.note_to(quota, LevelFilter::Info, &mut |_, _| said.push(second));
        assert_eq!(log.happened().len(), 1);
    }
    assert_eq!(said, [0, 160]);
}

#[test]
fn what_becomes_of_qubesdb_is_told() {
    let qubes = |event| lines(Event::Qubes(event));
    assert_eq!(qubes(QubesEvent::Connected), ["INFO QubesDB: connected"]);
    assert_eq!(qubes(QubesEvent::Loaded(3)), ["INFO QubesDB: read, with rules of 3 clients"]);
    let kept = "what it said last stays in effect";
    let gone = |end| qubes(QubesEvent::Gone(end)).remove(0);
    assert_eq!(gone(LinkEnd::Closed), format!("WARN QubesDB: its server is gone: {kept}"));
    assert_eq!(gone(LinkEnd::Broken), format!("WARN QubesDB: its server broke the connection: {kept}"));
    let fault = ProtocolFault::Type(99);
    assert_eq!(gone(LinkEnd::Protocol(fault)), format!("WARN QubesDB: {fault}: {kept}"));
    let error = ConnectError::NotServed;
    assert_eq!(qubes(QubesEvent::CannotConnect(error)), [format!("WARN QubesDB: cannot connect: {error}")]);
    let mistake = SettingMistake { path: "/qubes-ip", value: Some(Excerpt::of("x")) };
    assert_eq!(
        qubes(QubesEvent::Wrong(QubesMistake::Setting(mistake))),
        ["ERROR QubesDB: /qubes-ip cannot be \"x\"; it is not in effect"]
    );
    let feature = Excerpt::of("vm-config.ravelin-lag");
    assert_eq!(
        qubes(QubesEvent::Wrong(QubesMistake::Feature(feature))),
        [
            "ERROR QubesDB: feature \"vm-config.ravelin-lag\" is not in effect: no such name, no text, or no room"
        ]
    );
    assert_eq!(qubes(QubesEvent::Wrong(QubesMistake::TooManySources)).len(), 1);
}

#[test]
fn lines_about_qubesdb_are_counted_on_an_account_of_their_own() {
    let mut log = EventLog::default();
    let mut told = Vec::new();
    let mut say = |level: Level, line: fmt::Arguments<'_>| told.push(format!("{level} {line}"));
    log.begin_turn(START);
    for _ in 0..100 {
        log.note_to(Event::Qubes(QubesEvent::Connected), LevelFilter::Info, &mut say);
        log.note_to(Event::Vif(VifEvent::Client(ID, ClientEvent::Connected)), LevelFilter::Info, &mut say);
    }
    log.advance_to(START + WINDOW, &mut say);
    let of = |start: &str| told.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((of("INFO QubesDB: connected"), of("INFO vif7.0: connected")), (40, 10));
    assert!(told.contains(&"INFO QubesDB: 60 more lines about it in 60 s were left out".to_owned()));
}

#[test]
fn lines_about_what_is_configured_are_counted_on_an_account_of_their_own() {
    let mut log = EventLog::default();
    let mut told = Vec::new();
    let mut say = |level: Level, line: fmt::Arguments<'_>| told.push(format!("{level} {line}"));
    log.begin_turn(START);
    for _ in 0..130 {
        log.note_to(Event::RouteChanged { from: None, to: None }, LevelFilter::Info, &mut say);
    }
    log.advance_to(START + WINDOW, &mut say);
    assert_eq!(told.len(), 101);
    assert_eq!(told[100], "WARN configuration: 30 more lines about it in 60 s were left out");
}
