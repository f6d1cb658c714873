//! The whole of a firewall qube in the simulated Xen: dom0's daemon says what is to be, one client sees what is.
//!
//! Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::kernel::event::{Event, LinkEnd, QubesEvent, QubesMistake};
use ravelin::sim::peer::qubesdb_daemon::DaemonOrder;
use ravelin::sim::peer::vchan_server::{BadIndex, FalseAnnouncement};
use ravelin::sim::qube::{Qube, QubesEntries};
use ravelin::sim::reconfigure::{KnownFlow, Seen, Setup};
use ravelin::xen::Shutdown;
use std::net::Ipv4Addr;
use std::time::Duration;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// Whom the client pings and sends datagrams.
const FAR: &str = "198.51.100.20";

const UDP: u8 = 17;
const ICMP: u8 = 1;

/// What is answered in five seconds, but for what chance makes slower.
const MANY: u64 = 50;

const SETUP: Setup = Setup { command_line: "", rules: "", router: ROUTER };

const SETTINGS: [(&str, &str); 9] = [
    ("/name", "sys-ravelin"),
    ("/qubes-random-seed", "c29tZSByYW5kb20gYnl0ZXM="),
    ("/qubes-netvm-gateway", "10.137.0.1"),
    ("/qubes-netvm-primary-dns", "10.139.1.1"),
    ("/qubes-ip", "10.0.0.2"),
    ("/qubes-netmask", "255.255.255.255"),
    ("/qubes-gateway", "10.0.0.1"),
    ("/qubes-primary-dns", "10.0.0.1"),
    ("/connected-ips", "10.137.0.10"),
];

const CLIENT: &str = "/qubes-firewall/10.137.0.10";
const HANDLED: &str = "/qubes-firewall-handled/10.137.0.10";

fn entries(rules: &[(&str, &str)]) -> QubesEntries {
    SETTINGS.iter().chain(rules).map(|(path, value)| (path.to_string(), value.as_bytes().to_vec())).collect()
}

/// What dom0 does when it writes the rules of the client.
fn write_rules(qube: &mut Qube, rules: &[&str]) {
    qube.order(DaemonOrder::Remove(format!("{CLIENT}/")));
    qube.write(&[(&format!("{CLIENT}/policy"), "drop")]);
    for (number, rule) in rules.iter().enumerate() {
        qube.write(&[(&format!("{CLIENT}/{number:04}"), rule)]);
    }
    qube.write(&[(CLIENT, "")]);
}

fn accept_all() -> QubesEntries {
    entries(&[(&format!("{CLIENT}/policy"), "drop"), (&format!("{CLIENT}/0000"), "action=accept")])
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn of(protocol: u8, seen: &Seen) -> Vec<KnownFlow> {
    seen.flows.iter().copied().filter(|flow| flow.protocol == protocol).collect()
}

fn is_full(seen: &Seen) -> bool {
    seen.pings > MANY && seen.datagrams > MANY && seen.lookups > MANY
}

fn is_silent(seen: &Seen) -> bool {
    (seen.pings, seen.datagrams, seen.lookups) == (0, 0, 0)
}

fn happened(qube: &Qube, event: &QubesEvent) -> usize {
    qube.events.iter().filter(|other| matches!(other, Event::Qubes(other) if other == event)).count()
}

fn check(qube: &Qube) {
    assert!(qube.violations().is_empty(), "{:#?}", qube.violations());
}

#[test]
fn a_client_without_rules_is_refused_until_the_trigger_and_then_as_they_say() {
    let mut qube = Qube::boot(SETUP, Some(entries(&[])));
    assert!(is_silent(&qube.run(seconds(5))));
    assert_eq!(happened(&qube, &QubesEvent::Connected), 1, "{:#?}", qube.events);
    qube.order(DaemonOrder::Write(format!("{CLIENT}/policy"), "drop".into()));
    qube.order(DaemonOrder::Write(format!("{CLIENT}/0000"), "action=accept".into()));
    assert!(is_silent(&qube.run(seconds(3))), "rules count from their trigger on");
    qube.order(DaemonOrder::Write(CLIENT.into(), String::new()));
    qube.run(seconds(1));
    let seen = qube.run(seconds(5));
    assert!(is_full(&seen), "{seen:#?}");
    assert_eq!(qube.daemon().text(HANDLED).as_deref(), Some("1"));
    check(&qube);
}

#[test]
fn a_change_ends_the_flow_that_it_forbids_and_spares_the_other() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    qube.run(seconds(2));
    let before = qube.run(seconds(5));
    assert!(is_full(&before), "{before:#?}");
    write_rules(&mut qube, &["action=accept proto=icmp"]);
    qube.run(seconds(1));
    let after = qube.run(seconds(5));
    assert!(after.pings > MANY && after.datagrams == 0 && after.lookups == 0, "{after:#?}");
    assert_eq!((of(UDP, &after), of(ICMP, &after)), (vec![], of(ICMP, &before)));
    write_rules(&mut qube, &["action=accept proto=icmp"]);
    let same = qube.run(seconds(2));
    assert_eq!(of(ICMP, &same), of(ICMP, &before));
    let changed = |event: &Event| matches!(event, Event::LiveRulesChanged(_));
    assert!(!qube.events.iter().any(changed), "{:#?}", qube.events);
    assert_eq!(qube.daemon().text(HANDLED).as_deref(), Some("2"));
    check(&qube);
}

#[test]
fn rules_that_are_wrong_block_their_client() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    qube.run(seconds(2));
    write_rules(&mut qube, &["action=accept", "action=nonsense"]);
    qube.run(seconds(1));
    assert!(is_silent(&qube.run(seconds(3))));
    write_rules(&mut qube, &["action=accept"]);
    qube.run(seconds(1));
    let seen = qube.run(seconds(5));
    assert!(is_full(&seen), "{seen:#?}");
    assert_eq!(qube.daemon().text(HANDLED).as_deref(), Some("2"));
    check(&qube);
}

#[test]
fn a_daemon_that_dies_leaves_all_as_it_was_and_the_next_one_is_obeyed() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    qube.run(seconds(2));
    qube.order(DaemonOrder::Die);
    qube.run(seconds(1));
    assert_eq!(happened(&qube, &QubesEvent::Gone(LinkEnd::Closed)), 1, "{:#?}", qube.events);
    let alone = qube.run(seconds(30));
    assert!(is_full(&alone), "{alone:#?}");
    let other = entries(&[
        (&format!("{CLIENT}/policy"), "drop"),
        (&format!("{CLIENT}/0003"), "action=accept proto=icmp"),
    ]);
    qube.order(DaemonOrder::Start(other));
    qube.run(seconds(2));
    let after = qube.run(seconds(5));
    assert!(after.pings > MANY && after.datagrams == 0, "{after:#?}");
    assert_eq!((of(ICMP, &after), qube.daemon().connections), (of(ICMP, &alone), 2));
    // A source that the new one does not have has no rules any more.
    qube.order(DaemonOrder::Start(entries(&[])));
    qube.run(seconds(4));
    assert!(is_silent(&qube.run(seconds(3))));
    check(&qube);
}

#[test]
fn another_netvm_gives_other_addresses_all_at_once() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    qube.run(seconds(2));
    qube.detach_uplink();
    qube.run(seconds(2));
    qube.write(&[("/qubes-ip", "10.0.5.7"), ("/qubes-netmask", "255.255.0.0")]);
    qube.write(&[("/qubes-gateway", "10.0.0.1"), ("/qubes-primary-dns", "10.0.0.1")]);
    write_rules(&mut qube, &["action=accept"]);
    qube.run(seconds(1));
    let routes = qube.events.iter().filter(|event| matches!(event, Event::RouteChanged { .. })).count();
    assert_eq!(routes, 1, "{:#?}", qube.events);
    qube.attach_uplink();
    qube.run(seconds(3));
    let after = qube.run(seconds(5));
    assert!(is_full(&after), "{after:#?}");
    let (address, _) = qube.live().address().unwrap();
    assert_eq!(address.address(), Ipv4Addr::new(10, 0, 5, 7));
    check(&qube);
}

#[test]
fn without_a_netvm_the_qube_serves_its_clients_and_takes_up_an_uplink_that_comes() {
    let mut without =
        entries(&[(&format!("{CLIENT}/policy"), "drop"), (&format!("{CLIENT}/0000"), "action=accept")]);
    for key in ["/qubes-ip", "/qubes-netmask", "/qubes-gateway", "/qubes-primary-dns"] {
        without.remove(key);
    }
    let mut qube = Qube::boot(SETUP, Some(without));
    assert!(is_silent(&qube.run(seconds(3))));
    assert_eq!(qube.live().client_gateway(), Ipv4Addr::new(10, 137, 0, 1));
    for (path, value) in SETTINGS {
        qube.write(&[(path, value)]);
    }
    qube.run(seconds(1));
    let seen = qube.run(seconds(5));
    assert!(is_full(&seen), "{seen:#?}");
    check(&qube);
}

#[test]
fn names_that_nobody_answered_for_without_an_uplink_are_asked_for_soon_after_it_came() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    qube.run(seconds(2));
    qube.detach_uplink();
    qube.run(seconds(2));
    write_rules(&mut qube, &["action=drop dsthost=refused.example", "action=accept"]);
    // By now the next question is more than half a minute away.
    qube.run(seconds(100));
    let blocking = |event: &Event| matches!(event, Event::NameUnknown(..));
    assert!(qube.events.iter().any(blocking), "{:#?}", qube.events);
    qube.attach_uplink();
    qube.run(seconds(10));
    let seen = qube.run(seconds(5));
    assert!(is_full(&seen), "{seen:#?}");
    check(&qube);
}

#[test]
fn the_qube_is_shut_down_without_uplink_and_without_daemon() {
    let mut qube = Qube::boot(SETUP, Some(entries(&[])));
    qube.run(seconds(2));
    qube.order(DaemonOrder::Die);
    qube.detach_uplink();
    qube.run(seconds(3));
    qube.shut_down();
    qube.run(seconds(2));
    assert_eq!(qube.ended, Some(Shutdown::PowerOff));
    check(&qube);
}

#[test]
fn a_daemon_that_appears_later_makes_it_a_qube() {
    let command_line = "ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1 dns=10.0.0.1";
    let setup = Setup { command_line, rules: "[default]\npolicy=accept\n", router: ROUTER };
    let mut qube = Qube::boot(setup, None);
    qube.run(seconds(2));
    assert!(is_full(&qube.run(seconds(5))));
    qube.order(DaemonOrder::Start(entries(&[])));
    qube.run(seconds(2));
    assert!(is_silent(&qube.run(seconds(3))), "sections of the rule file do not count in a qube");
    check(&qube);
}

#[test]
fn a_daemon_that_makes_no_sense_is_left_and_never_waited_for_in_a_loop() {
    let nonsense = |kind: u8| {
        let mut bytes = vec![0; 72];
        bytes[0] = kind;
        DaemonOrder::Nonsense(bytes)
    };
    let hostile = [
        nonsense(99),
        nonsense(2),
        DaemonOrder::BreakIndex(BadIndex::Written(5000)),
        DaemonOrder::BreakIndex(BadIndex::Read(1)),
    ];
    for order in hostile {
        let mut qube = Qube::boot(SETUP, Some(accept_all()));
        qube.run(seconds(2));
        qube.order(order.clone());
        // Something to send, so that both directions are looked at.
        qube.write(&[(CLIENT, "")]);
        let seen = qube.run(seconds(20));
        assert!(is_full(&seen), "{order:?}: {seen:#?}");
        let gone = |event: &&Event| matches!(event, Event::Qubes(QubesEvent::Gone(_)));
        assert_eq!(qube.events.iter().filter(gone).count(), 1, "{order:?}: {:#?}", qube.events);
        assert!(qube.turns < 20_000, "{order:?}: {} turns", qube.turns);
        qube.order(DaemonOrder::Start(entries(&[])));
        qube.run(seconds(5));
        assert!(is_silent(&qube.run(seconds(3))), "{order:?}");
        check(&qube);
    }
}

#[test]
fn what_is_announced_and_not_there_is_taken_up_when_it_is() {
    let hostile = [FalseAnnouncement::Zero, FalseAnnouncement::Stale, FalseAnnouncement::Garbage];
    for how in hostile {
        let mut qube = Qube::boot(SETUP, None);
        qube.run(seconds(1));
        qube.order(DaemonOrder::AnnounceFalsely(how));
        qube.run(seconds(5));
        assert!(qube.turns < 5000, "{how:?}: {} turns", qube.turns);
        qube.order(DaemonOrder::Start(accept_all()));
        qube.run(seconds(2));
        let seen = qube.run(seconds(5));
        assert!(is_full(&seen), "{how:?}: {seen:#?}");
        check(&qube);
    }
}

#[test]
fn a_trigger_is_counted_when_its_rules_are_in_effect_and_not_before() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    qube.run(seconds(2));
    for round in 1..=40 {
        let rule = if round % 2 == 0 { "action=accept" } else { "action=accept proto=icmp" };
        write_rules(&mut qube, &[rule]);
        let count = format!("{round}");
        let is_counted = |qube: &Qube| qube.daemon().text(HANDLED).as_deref() == Some(count.as_str());
        assert!(qube.run_until(seconds(1), is_counted), "{round}");
        // The event is that of the data plane's taking them up.
        let taken_up = |event: &Event| matches!(event, Event::LiveRulesChanged(_));
        assert!(qube.events.iter().any(taken_up), "{round}");
    }
    check(&qube);
}

#[test]
fn a_daemon_that_breaks_each_connection_gets_ever_fewer() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    let mut turns = 0;
    for _ in 0..40 {
        qube.run(seconds(1));
        turns += qube.turns;
        qube.order(DaemonOrder::BreakIndex(BadIndex::Written(5000)));
    }
    // After one second, two, four, eight and sixteen.
    let connections = qube.daemon().connections;
    assert!((4..=6).contains(&connections), "{connections}");
    assert!(turns < 40_000, "{turns}");
    let seen = qube.run(seconds(5));
    assert!(is_full(&seen), "{seen:#?}");
    check(&qube);
}

#[test]
fn a_client_with_another_visible_address_is_known_by_that_one_on_its_vif() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    assert!(is_full(&qube.run(seconds(5))));
    qube.write(&[("/mapped-ip/10.137.0.10/visible-ip", "192.168.1.10")]);
    qube.run(seconds(1));
    // It goes on under its real address, which is not its own there.
    assert!(is_silent(&qube.run(seconds(5))));
    qube.order(DaemonOrder::Remove("/mapped-ip/10.137.0.10/".to_string()));
    qube.run(seconds(1));
    assert!(is_full(&qube.run(seconds(5))));
    check(&qube);
}

#[test]
fn an_address_of_a_client_that_is_switched_off_is_nobody_s_on_the_uplink() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    assert!(is_full(&qube.run(seconds(5))));
    // As if the far end that the client talks to had its address from us.
    qube.write(&[("/connected-ips", &format!("10.137.0.10 {FAR}"))]);
    qube.run(seconds(1));
    let seen = qube.run(seconds(5));
    assert_eq!((seen.pings, seen.datagrams), (0, 0), "{seen:#?}");
    // A client that believes to have that address takes it from nobody.
    qube.write(&[("/mapped-ip/10.137.0.99/visible-ip", FAR)]);
    qube.run(seconds(1));
    assert!(is_full(&qube.run(seconds(5))));
    // Another one that is switched off has it in truth.
    qube.write(&[("/connected-ips", &format!("10.137.0.10 {FAR} {FAR}"))]);
    qube.run(seconds(1));
    let seen = qube.run(seconds(5));
    assert_eq!((seen.pings, seen.datagrams), (0, 0), "{seen:#?}");
    check(&qube);
}

#[test]
fn what_a_daemon_said_last_before_it_died_counts() {
    let mut qube = Qube::boot(SETUP, Some(accept_all()));
    assert!(is_full(&qube.run(seconds(5))));
    // More triggers than are taken in one turn, the last of them with rules that refuse everything.
    let write = |path: &str, value: &str| DaemonOrder::Write(path.to_string(), value.to_string());
    let mut last = vec![write(CLIENT, ""); 20];
    last.push(DaemonOrder::Remove(format!("{CLIENT}/")));
    last.extend([write(&format!("{CLIENT}/policy"), "drop"), write(CLIENT, "")]);
    qube.order(DaemonOrder::Last(last));
    qube.run(seconds(1));
    assert!(is_silent(&qube.run(seconds(5))));
    check(&qube);
}

#[test]
fn features_of_ours_with_a_name_that_does_not_exist_are_said_and_change_nothing() {
    let names = ["base", "bsae-1", "permits-1", "Log", ""];
    let path = |name: &str| format!("/vm-config/ravelin-{name}");
    let mut all = accept_all();
    all.extend(names.map(|name| (path(name), b"action=drop".to_vec())));
    // These are none of ours.
    all.extend(["/vm-config/ravelin", "/vm-config/raveline-base-1"].map(|name| (name.into(), b"x".to_vec())));
    let mut qube = Qube::boot(SETUP, Some(all));
    qube.run(seconds(2));
    let said = |qube: &Qube, name: &str| {
        let name = format!("\"vm-config.ravelin-{name}\"");
        let is_it = |event: &&Event| matches!(event, Event::Qubes(QubesEvent::Wrong(QubesMistake::Feature(it))) if it.to_string() == name);
        qube.events.iter().filter(is_it).count()
    };
    assert_eq!(names.map(|name| said(&qube, name)), [1; 5], "{:#?}", qube.events);
    let wrong = |event: &&Event| matches!(event, Event::Qubes(QubesEvent::Wrong(_)));
    assert_eq!(qube.events.iter().filter(wrong).count(), 5, "{:#?}", qube.events);
    let seen = qube.run(seconds(5));
    assert!(is_full(&seen), "{seen:#?}");
    qube.write(&[(&path("base-"), "action=drop")]);
    qube.write(&[(&path("forward"), "x")]);
    qube.run(seconds(1));
    assert_eq!(said(&qube, "forward"), 1);
    assert!(is_silent(&qube.run(seconds(3))), "one without a word behind it is a base line all the same");
    check(&qube);
}
