//! What is configured changes while packets pass, in the simulated Xen.
//!
//! Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::base::prefix::Ipv4Prefix;
use ravelin::config::live::Resolvers;
use ravelin::config::rule_config::RuleConfig;
use ravelin::config::setting::Source;
use ravelin::config::{ChangeQueue, Live};
use ravelin::kernel::event::Event;
use ravelin::sim::reconfigure::{KnownFlow, Setup, Story, reconfigure};
use std::net::Ipv4Addr;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const OTHER_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 7);

const UDP: u8 = 17;
const ICMP: u8 = 1;

/// Everything that is asked for in five seconds, but for what chance makes slower.
const MANY: u64 = 50;

const SETUP: Setup = Setup {
    command_line: "ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1 dns=10.0.0.1",
    rules: "[default]\npolicy=accept\n",
    router: ROUTER,
};

fn told(setup: Setup, act: impl FnOnce(&mut Live, &mut ChangeQueue)) -> Story {
    let story = reconfigure(setup, act);
    assert!(story.violations.is_empty(), "{:#?}", story.violations);
    story
}

/// The flows of `protocol` among those that were seen.
fn of(protocol: u8, flows: &[KnownFlow]) -> Vec<KnownFlow> {
    flows.iter().copied().filter(|flow| flow.protocol == protocol).collect()
}

#[test]
fn an_address_that_was_not_there_at_boot_opens_the_way_out() {
    let setup = Setup { command_line: "gateway=10.0.0.1 client-gateway=10.137.0.1", ..SETUP };
    let address = "10.0.0.2/24".parse().unwrap();
    let story = told(setup, |live, changes| live.set_address(Source::Toolstack, Some(address), changes));
    assert_eq!((story.before.pings, story.before.datagrams, story.before.lookups), (0, 0, 0));
    assert!(story.after.pings > MANY && story.after.datagrams > MANY, "{story:#?}");
    let came = |event: &Event| matches!(event, Event::RouteChanged { from: None, to: Some(to) } if to.address() == address);
    assert_eq!(story.events.iter().filter(|event| came(event)).count(), 1, "{:#?}", story.events);
}

#[test]
fn an_address_that_changes_ends_flows_from_the_old_one_and_new_ones_begin() {
    let address = "10.0.0.9/24".parse().unwrap();
    let story = told(SETUP, |live, changes| live.set_address(Source::Toolstack, Some(address), changes));
    assert!(story.before.pings > MANY && story.before.datagrams > MANY, "{story:#?}");
    assert!(story.after.pings > MANY && story.after.datagrams > MANY, "{story:#?}");
}

#[test]
fn a_device_s_address_in_no_network_reaches_the_world_through_the_gateway_alone() {
    let address = Ipv4Addr::new(10, 0, 5, 7);
    let story = told(SETUP, |live, changes| live.set_device_address(Some(address), changes));
    assert!(story.before.pings > MANY && story.before.datagrams > MANY, "{story:#?}");
    let after = &story.after;
    assert!(after.pings > MANY && after.datagrams > MANY && after.lookups > MANY, "{story:#?}");
    let moved = |event: &Event| matches!(event, Event::RouteChanged { to: Some(to), .. } if to.address() == Ipv4Prefix::host(address));
    assert_eq!(story.events.iter().filter(|event| moved(event)).count(), 1, "{:#?}", story.events);
}

#[test]
fn a_gateway_that_changes_is_the_one_that_packets_go_to() {
    let setup = Setup { router: OTHER_ROUTER, ..SETUP };
    let story = told(setup, |live, changes| live.set_gateway(Source::Toolstack, Some(OTHER_ROUTER), changes));
    // The old one is not there; the new one is a neighbour, and was reached as that.
    assert_eq!((story.before.pings, story.before.datagrams), (0, 0), "{story:#?}");
    assert!(story.before.lookups > 0, "{story:#?}");
    assert!(
        story.after.pings > MANY && story.after.datagrams > MANY && story.after.lookups > MANY,
        "{story:#?}"
    );
}

#[test]
fn resolvers_that_change_are_those_that_rules_stand_for() {
    let setup = Setup {
        command_line: "ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1 dns=10.139.1.1",
        rules: "[default]\naction=accept specialtarget=dns\n",
        ..SETUP
    };
    let resolvers = Resolvers::from_iter([ROUTER]);
    let story = told(setup, |live, changes| live.set_resolvers(Source::Toolstack, Some(resolvers), changes));
    assert_eq!(story.before.lookups, 0, "{story:#?}");
    assert!(story.after.lookups > MANY, "{story:#?}");
    assert_eq!((story.after.pings, story.after.datagrams), (0, 0), "{story:#?}");
    assert!(story.events.iter().any(|event| matches!(event, Event::RulesReplaced(_))), "{:#?}", story.events);
}

#[test]
fn rules_that_are_replaced_end_the_flows_that_they_forbid_and_no_others() {
    let rules = RuleConfig::File(b"[default]\naction=accept proto=icmp\n".as_slice().into());
    let story = told(SETUP, |live, changes| live.set_rules(Source::Toolstack, Some(rules), changes));
    assert!(story.before.pings > MANY && story.before.datagrams > MANY, "{story:#?}");
    assert!(story.after.pings > MANY, "{story:#?}");
    assert_eq!((story.after.datagrams, story.after.lookups), (0, 0), "{story:#?}");
    assert!(!of(UDP, &story.before.flows).is_empty());
    assert_eq!(of(UDP, &story.after.flows), []);
    // The same flow as before, by the same identifier.
    let pings = of(ICMP, &story.before.flows);
    assert_eq!((pings.len(), of(ICMP, &story.after.flows)), (1, pings));
}
