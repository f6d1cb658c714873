use super::*;
use crate::base::time::{Moment, UnixSeconds};
use crate::guard::name_addresses::FlowAge;
use crate::guard::ruleset;
use crate::guard::ruling::RuledBy;
use crate::guard::service::TCP;
use crate::guard::table::RuleTable;
use crate::guard::{Answer, FlowRequest, Ruling};
use alloc::format;
use alloc::vec::Vec;
use proptest::prelude::*;

const RESOLVER: Ipv4Addr = Ipv4Addr::new(10, 139, 1, 1);

fn table(text: &str) -> RuleTable {
    let (table, problems) = ruleset::read(text.as_bytes(), &[RESOLVER]);
    assert!(problems.list.is_empty(), "{problems:?}");
    table
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn set(table: &mut RuleTable, name: &str, last: &[u8]) {
    table.set_addresses(
        &HostName::parse(name).unwrap(),
        last.iter().map(|last| address(*last)),
        Moment::default(),
    );
}

fn ask(last: u8, port: u16) -> FlowRequest {
    FlowRequest {
        source: Ipv4Addr::new(10, 137, 0, 5),
        destination: address(last),
        protocol: TCP,
        destination_port: Some(port),
        icmp_type: None,
        now: UnixSeconds(1000),
    }
}

/// The line of the rule that decides about port 443 of this address.
fn line(table: &RuleTable, last: u8) -> u32 {
    match table.outward(&ask(last, 443)).by {
        RuledBy::Rule(id) => id.line,
        RuledBy::NoRule | RuledBy::BlockedSection => 0,
    }
}

fn accepts(table: &RuleTable, last: u8) -> bool {
    table.outward(&ask(last, 443)).answer == Answer::Accept
}

#[test]
fn a_rule_matches_what_its_name_stands_for() {
    let mut table = table("[default]\naction=accept dsthost=www.example proto=tcp dstports=443\n");
    assert!(!accepts(&table, 1));
    set(&mut table, "www.example", &[1, 2]);
    assert!(accepts(&table, 1) && accepts(&table, 2) && !accepts(&table, 3));
    assert_eq!(table.outward(&ask(1, 80)).answer, Answer::Reject);
    set(&mut table, "www.example", &[2, 3]);
    assert!(!accepts(&table, 1) && accepts(&table, 2) && accepts(&table, 3));
    set(&mut table, "www.example", &[]);
    assert!(!accepts(&table, 3));
}

#[test]
fn the_first_rule_that_matches_decides_with_a_name_or_without() {
    let mut table = table(
        "[default]\naction=accept dsthost=a\naction=drop dst4=192.0.2.2\naction=accept dsthost=b\n\
         action=drop dsthost=c expire=1000\naction=drop dst4=192.0.2.0/24\naction=accept dsthost=a\n",
    );
    set(&mut table, "a", &[1]);
    set(&mut table, "b", &[1, 2, 3, 4]);
    set(&mut table, "c", &[3, 4, 5]);
    assert_eq!([1, 2, 3, 4, 5, 6].map(|last| line(&table, last)), [2, 3, 4, 4, 6, 6]);
    set(&mut table, "b", &[1]);
    assert_eq!([1, 2, 3].map(|last| line(&table, last)), [2, 3, 6]);
}

#[test]
fn a_name_that_is_refused_blocks_its_source_until_it_is_known() {
    let mut table = table(
        "[client 10.137.0.5]\naction=drop dsthost=a\naction=accept\n[client 10.137.0.6]\naction=accept\n",
    );
    assert_eq!(table.outward(&ask(9, 443)), Ruling::BLOCKED);
    let other = FlowRequest { source: Ipv4Addr::new(10, 137, 0, 6), ..ask(9, 443) };
    assert_eq!(table.outward(&other).answer, Answer::Accept);
    let to_it = FlowRequest { destination: Ipv4Addr::new(10, 137, 0, 5), ..other };
    assert_eq!(table.between(&to_it), Ruling::BLOCKED);
    set(&mut table, "a", &[1]);
    assert!(!accepts(&table, 1) && accepts(&table, 9));
    assert_eq!(table.between(&to_it), Ruling::REJECTED_BY_NO_RULE);
    // Nothing more is heard of it: what it stood for is refused until something is.
    set(&mut table, "a", &[]);
    assert!(!accepts(&table, 1) && accepts(&table, 9));
    set(&mut table, "a", &[2]);
    assert!(accepts(&table, 1) && !accepts(&table, 2));
}

#[test]
fn an_open_flow_is_judged_as_if_a_name_that_is_not_known_stood_for_nothing() {
    let mut table = table(
        "[client 10.137.0.5]\naction=drop dsthost=a\naction=drop dst4=192.0.2.1\naction=accept\n[default]\naction=accept\n\
         [permit]\nfrom=10.137.0.6 to=10.137.0.5 action=accept\n[forward]\nproto=tcp dstports=80 to=10.137.0.5:80\n",
    );
    let to_it = FlowRequest {
        source: Ipv4Addr::new(10, 137, 0, 6),
        destination: Ipv4Addr::new(10, 137, 0, 5),
        ..ask(9, 443)
    };
    let judge = |table: &RuleTable, age| {
        let outward = [1, 9].map(|last| table.outward_at(&ask(last, 443), age).answer == Answer::Accept);
        let between = table.between_at(&to_it, age).answer == Answer::Accept;
        (outward, between, table.port_forward_at(TCP, 80, age).is_some())
    };
    assert_eq!(judge(&table, FlowAge::New), ([false, false], false, false));
    assert_eq!(judge(&table, FlowAge::Open), ([false, true], true, true));
    set(&mut table, "a", &[9]);
    assert_eq!(judge(&table, FlowAge::Open), ([false, false], true, true));
}

#[test]
fn a_name_that_stands_for_nothing_is_known_and_refuses_nothing() {
    let mut table = table("[default]\naction=drop dsthost=a\naction=drop dsthost=b\naction=accept\n");
    set(&mut table, "a", &[]);
    assert_eq!(table.outward(&ask(9, 443)), Ruling::BLOCKED);
    set(&mut table, "a", &[]);
    assert_eq!(table.outward(&ask(9, 443)), Ruling::BLOCKED);
    set(&mut table, "b", &[]);
    assert!(accepts(&table, 9));
}

#[test]
fn a_judgement_takes_as_long_however_many_names_are_refused() {
    let time = |names: u32| {
        let lines = (0..names).map(|name| format!("action=drop dsthost=n{name}.example\n"));
        let mut table = table(&format!("[default]\n{}action=accept\n", lines.collect::<Vec<_>>().concat()));
        (0..names).for_each(|name| set(&mut table, &format!("n{name}.example"), &[1]));
        let quickest = (0..20).map(|_| {
            let begin = std::time::Instant::now();
            (0..20).for_each(|_| assert!(accepts(&table, 9)));
            begin.elapsed()
        });
        quickest.min().unwrap()
    };
    let (few, many) = (time(1), time(1000));
    assert!(many < few * 20, "{few:?} {many:?}");
}

#[test]
fn a_flow_goes_on_when_its_name_stands_for_others() {
    let mut table = table("[default]\naction=accept dsthost=a\n");
    set(&mut table, "a", &[1]);
    set(&mut table, "a", &[2]);
    let judge = |table: &RuleTable, age| table.outward_at(&ask(1, 443), age).answer;
    assert_eq!(judge(&table, FlowAge::New), Answer::Reject);
    assert_eq!(judge(&table, FlowAge::Open), Answer::Accept);
    set(&mut table, "a", &[]);
    assert_eq!(judge(&table, FlowAge::Open), Answer::Accept);
    assert_eq!(table.outward_at(&ask(3, 443), FlowAge::Open).answer, Answer::Reject);
}

#[test]
fn a_flow_that_began_after_a_refused_name_stood_for_its_address_goes_on() {
    let mut table = table("[default]\naction=drop dsthost=a\naction=accept\n");
    set(&mut table, "a", &[1]);
    set(&mut table, "a", &[2]);
    assert_eq!(table.outward_at(&ask(1, 443), FlowAge::Open).answer, Answer::Accept);
    assert_eq!(table.outward_at(&ask(2, 443), FlowAge::Open).answer, Answer::Reject);
}

#[test]
fn of_a_name_and_the_resolvers_both_must_hold() {
    let mut table = table("[default]\naction=accept dsthost=a specialtarget=dns\n");
    let to = |destination: Ipv4Addr, port: u16| FlowRequest { destination, ..ask(0, port) };
    let host = HostName::parse("a").unwrap();
    table.set_addresses(&host, [RESOLVER, address(1)].into_iter(), Moment::default());
    assert_eq!(table.outward(&to(RESOLVER, 53)).answer, Answer::Accept);
    assert_eq!(table.outward(&to(RESOLVER, 54)).answer, Answer::Reject);
    assert_eq!(table.outward(&to(address(1), 53)).answer, Answer::Reject);
}

#[test]
fn what_names_stand_for_outlives_other_rules() {
    let mut before = table("[default]\naction=accept dsthost=a\naction=accept dsthost=b\n");
    set(&mut before, "a", &[1]);
    let mut after = table("[default]\naction=drop dsthost=c\naction=accept dsthost=a\n");
    after.replace(&mut before);
    assert_eq!(after.outward(&ask(1, 443)), Ruling::BLOCKED);
    set(&mut after, "c", &[3]);
    assert!(accepts(&after, 1));
    let wanted: Vec<_> = after.names().wanted().map(|name| name.host.text()).collect();
    assert_eq!(wanted, ["a", "c"]);
}

#[test]
fn ten_thousand_names_of_one_client_are_filed_quickly() {
    let lines =
        |count: u32| (0..count).map(|n| format!("action=accept dsthost=n{}.example\n", n * 7919 % 10_007));
    let text = format!("[default]\n{}", lines(10_000).collect::<Vec<_>>().concat());
    let begin = std::time::Instant::now();
    let table = table(&text);
    assert_eq!(table.names().wanted().count(), crate::guard::wanted_names::MAX_NAMES);
    assert!(begin.elapsed().as_secs() < 5, "{:?}", begin.elapsed());
}

proptest! {
    /// Compares with reading the rules from the first to the last.
    #[test]
    fn names_decide_as_networks_in_their_place_would(
        rules in prop::collection::vec((any::<bool>(), 0u8..4, prop::option::of(440u16..445)), 0..12),
        sets in prop::collection::vec(prop::collection::vec(0u8..8, 1..4), 3),
        asked in prop::collection::vec((0u8..9, 440u16..446), 1..10),
    ) {
        let action = |accept| if accept { "accept" } else { "drop" };
        let ports = |port: Option<u16>| port.map_or(alloc::string::String::new(), |port| format!(" proto=tcp dstports={port}"));
        let mut named = alloc::string::String::from("[default]\n");
        for (accept, name, port) in &rules {
            let destination = if *name == 3 { "dst4=192.0.2.4/30".into() } else { format!("dsthost=n{name}") };
            named += &format!("action={} {destination}{}\n", action(*accept), ports(*port));
        }
        let mut named = table(&named);
        for (name, set_of) in sets.iter().enumerate() {
            set(&mut named, &format!("n{name}"), set_of);
        }
        for (last, port) in asked {
            let matches = |(_, name, of): &&(bool, u8, Option<u16>)| {
                let is_there = match sets.get(usize::from(*name)) {
                    Some(addresses) => addresses.contains(&last),
                    None => (4..8).contains(&last),
                };
                is_there && of.is_none_or(|of| of == port)
            };
            let expected = rules.iter().find(matches).is_some_and(|(accept, ..)| *accept);
            prop_assert_eq!(named.outward(&ask(last, port)).answer == Answer::Accept, expected);
        }
    }
}
