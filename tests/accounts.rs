//! What a client may take and what it has to give: conformance S-1, S-6 and P-12.
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::engine::{Progress, Settings};
use ravelin::guard::RuleTable;
use ravelin::nat::ports::PoolKind;
use ravelin::tables::allowance::Rate;
use ravelin::tables::share::Account;
use std::net::Ipv4Addr;
use support::*;

const SERVER: (Ipv4Addr, u16) = (R, 80);
const THREE: ClientSlot = ClientSlot(3);
const C3: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 13);

fn firewall(mebibytes: u64) -> World {
    let settings = Settings { client_gateway: G, ..Settings::for_memory(mebibytes << 20, F) };
    World::with(settings, RuleTable::allow_all())
}

/// Nothing is booked that is not there, and nobody holds more than it may.
#[track_caller]
fn assert_sound(world: &World) {
    let engine = world.engine.engine();
    assert_eq!((engine.places().fault(engine.flows().len()), engine.mappings().fault()), (None, None));
}

/// The client reloads its driver, and the loop goes on.
fn reload(world: &mut World, slot: ClientSlot, address: Ipv4Addr) {
    world.engine.detach(slot, world.now);
    world.advance();
    world.engine.attach(slot, address, world.now);
    world.advance();
}

/// How many of `count` UDP flows from new ports a client can open, from port `first` on.
fn open_udp(world: &mut World, slot: ClientSlot, address: Ipv4Addr, first: u16, count: u16) -> usize {
    let opened = |port: &u16| {
        let out = world.client(slot, udp((address, *port), (R, 5000)));
        matches!(out.as_slice(), [Out::Forward(..)])
    };
    (first..).take(count.into()).filter(opened).count()
}

/// A client that opens what it can and reloads, so often; then another opens a hundred.
fn reload_and_fill(mebibytes: u64, reloads: u16) -> World {
    let mut world = firewall(mebibytes);
    for round in 0..reloads {
        open_udp(&mut world, ONE, C1, 1024 + round * 7_000, 8_192);
        reload(&mut world, ONE, C1);
        assert_sound(&world);
    }
    assert_eq!(open_udp(&mut world, TWO, C2, 2_000, 100), 100);
    assert_sound(&world);
    world
}

#[test]
fn s_1_a_client_that_reloads_its_driver_four_times_takes_no_mapping_of_others() {
    reload_and_fill(16, 4);
}

#[test]
fn s_1_a_client_that_reloads_its_driver_nine_times_takes_no_port_of_others() {
    reload_and_fill(64, 9);
}

#[test]
fn s_1_reloading_brings_no_new_allowances() {
    let mut settings = settings();
    settings.quotas.errors.burst = 3;
    settings.quotas.resets.burst = 3;
    // The rate of new flows holds where a table that is half full gets fuller.
    (settings.flows, settings.quotas.flows_per_client) = (64, 48);
    settings.quotas.new_flows = Rate { per_second: 1, burst: 40 };
    let mut world = World::with(settings, RuleTable::allow_all());
    let evicted_for_forty = |world: &mut World, address| {
        let before = world.engine.counters().evicted;
        assert_eq!(open_udp(world, ONE, address, 1024, 40), 40);
        world.engine.counters().evicted - before
    };
    assert_eq!(evicted_for_forty(&mut world, C1), 0);
    let stray = tcp((C1, 9), SERVER, "A", 5, 5);
    let resets = |world: &mut World| (0..9).filter(|_| world.client(ONE, stray.clone()).len() == 2).count();
    let ttl = udp((C1, 9), (S, 9)).ttl_of(1);
    let errors = |world: &mut World| (0..9).filter(|_| world.client(ONE, ttl.clone()).len() == 2).count();
    resets(&mut world);
    errors(&mut world);
    // To another slot, too.
    reload(&mut world, ONE, C1);
    world.engine.attach(THREE, C1, world.now);
    world.engine.attach(ONE, C1, world.now);
    assert_eq!((resets(&mut world), errors(&mut world)), (0, 0));
    assert_eq!(evicted_for_forty(&mut world, C1), 8);
    // They are used up for it, not for who has its slot.
    world.engine.attach(ONE, C3, world.now);
    world.advance();
    assert_eq!(evicted_for_forty(&mut world, C3), 0);
}

#[test]
fn s_1_what_a_client_left_behind_is_on_its_account_when_it_comes_back() {
    let mut world = World::new();
    assert_eq!(open_udp(&mut world, ONE, C1, 2_000, 50), 50);
    let first = world.out_u(ONE, udp((C1, 2_000), (R, 5000))).from();
    world.engine.detach(ONE, world.now);
    // Somebody else on its slot.
    world.engine.attach(ONE, C3, world.now);
    world.advance();
    let held = |world: &World| {
        let mappings = world.engine.engine().mappings();
        Account::all().map(|account| mappings.held(account)).filter(|held| *held > 0).collect::<Vec<_>>()
    };
    assert_eq!(held(&world), [50]);
    let other = world.out_u(ONE, udp((C3, 2_000), (R, 5000))).from();
    assert_ne!(other, first);
    world.engine.attach(THREE, C1, world.now);
    // Its endpoint has the port that rests for it, and no more is held.
    assert_eq!(world.out_u(THREE, udp((C1, 2_000), (R, 5000))).from(), first);
    assert_eq!(world.out_c(THREE, udp((R, 5000), first)).to(), (C1, 2_000));
    assert_eq!(held(&world).iter().sum::<u32>(), 51);
}

#[test]
fn s_1_two_clients_that_reload_in_turns_leave_a_third_its_part() {
    let mut settings = Settings { client_gateway: G, ..Settings::for_memory(16 << 20, F) };
    settings.quotas.new_flows.per_second = 1_000_000_000;
    settings.quotas.new_flows.burst = 1_000_000_000;
    let mut world = World::with(settings, RuleTable::allow_all());
    for round in 0..6u16 {
        let (slot, address) = if round % 2 == 0 { (ONE, C1) } else { (TWO, C2) };
        open_udp(&mut world, slot, address, 2_000 + round * 100, 40_000);
        reload(&mut world, slot, address);
        assert_sound(&world);
    }
    world.engine.attach(THREE, C3, world.now);
    let part = 32_768 / 2 / 3;
    assert_eq!(open_udp(&mut world, THREE, C3, 2_000, part as u16), part);
    assert_sound(&world);
}

#[test]
fn s_1_a_client_that_is_owed_takes_even_from_one_that_keeps_its_flows_alive() {
    let mut settings = settings();
    (settings.flows, settings.mappings) = (64, 64);
    settings.quotas.flows_per_client = 48;
    let mut world = World::with(settings, RuleTable::allow_all());
    world.engine.detach(TWO, world.now);
    let outers: Vec<_> = (0..48).map(|port| world.open_tcp(40_000 + port)).collect();
    world.engine.attach(TWO, C2, world.now);
    world.engine.attach(THREE, C3, world.now);
    // Ten each are guaranteed, and only 16 are left.
    for (slot, address) in [(TWO, C2), (THREE, C3)] {
        for port in 0..10 {
            world.open_tcp_of(slot, (address, 50_000 + port), SERVER);
        }
    }
    assert_sound(&world);
    let alive = |world: &mut World, outer| {
        !world.uplink(tcp(SERVER, outer, "A", 5101, 1101)).contains(&Out::Discard(DropReason::Unsolicited))
    };
    let gone = outers.iter().take_while(|outer| !alive(&mut world, **outer)).count();
    assert_eq!((gone, world.engine.counters().evicted), (4, 4));
    assert!(outers[4..].iter().all(|outer| alive(&mut world, *outer)));
}

#[test]
fn s_1_domains_made_and_destroyed_without_end_leave_others_their_part() {
    let mut settings = settings();
    (settings.flows, settings.mappings) = (4_096, 4_096);
    settings.quotas.flows_per_client = 3_072;
    let mut world = World::with(settings, RuleTable::allow_all());
    for n in 0..600u32 {
        let address = Ipv4Addr::from(u32::from(C1) + 1_000 + n);
        world.engine.attach(THREE, address, world.now);
        open_udp(&mut world, THREE, address, 2_000, 40);
        world.engine.detach(THREE, world.now);
        if n % 3 == 0 {
            world.advance();
        }
        assert_sound(&world);
    }
    assert_eq!(open_udp(&mut world, TWO, C2, 2_000, 1_024), 1_024);
    world.wait(1);
    world.wait(125);
    assert_eq!(world.flows(), 0);
    world.wait(122);
    assert!(world.engine.engine().mappings().is_empty());
    assert_sound(&world);
}

/// Flows and mappings that one call of the loop takes out at most.
const PORTION: usize = 512;

#[test]
fn s_6_leaving_touches_no_flow_and_no_turn_takes_out_more_than_a_portion() {
    let mut world = firewall(16);
    assert_eq!(open_udp(&mut world, ONE, C1, 1024, 8_000), 8_000);
    world.engine.detach(ONE, world.now);
    assert_eq!(world.flows(), 8_000);
    // Over at once, wherever they are met; and no port of theirs is another's.
    world.uplink_nothing(udp((R, 5000), (F, 1)), DropReason::Unsolicited);
    let mut calls = 0;
    loop {
        let before = world.flows();
        let progress = world.engine.advance(world.now, &mut Recorder::default());
        assert!(before - world.flows() <= PORTION);
        calls += 1;
        if progress == Progress::Done {
            break;
        }
    }
    assert_eq!((world.flows(), calls), (0, 8_000 / PORTION + 1));
    assert_eq!(world.engine.counters().revoked, 8_000);
    assert_sound(&world);
}

#[test]
fn s_6_a_flow_that_was_left_is_over_before_it_is_taken_out() {
    let mut world = World::new();
    let outer = world.open_tcp(40_000);
    let kept = world.open_tcp(40_001);
    world.engine.detach(ONE, world.now);
    world.engine.attach(ONE, C1, world.now);
    assert_eq!(world.flows(), 2);
    world.uplink_nothing(tcp(SERVER, outer, "A", 5101, 1101), DropReason::Unsolicited);
    assert_eq!(world.flows(), 1);
    // Its name is free for a new one, on the port of its endpoint.
    assert_eq!(world.out_u(ONE, tcp((C1, 40_001), SERVER, "S", 77, 0)).from(), kept);
    world.out_c(ONE, tcp(SERVER, kept, "SA", 9, 78));
    assert_sound(&world);
    world.advance();
    assert_eq!(world.flows(), 1);
    world.out_u(ONE, tcp((C1, 40_001), SERVER, "A", 78, 10));
}

#[test]
fn s_6_flows_of_a_slot_that_is_anothers_now_are_not_its() {
    let mut world = World::new();
    let outer = world.open_tcp(40_000);
    world.engine.detach(ONE, world.now);
    world.engine.attach(ONE, C3, world.now);
    world.uplink_nothing(tcp(SERVER, outer, "A", 5101, 1101), DropReason::Unsolicited);
    let segment = tcp((C3, 40_000), SERVER, "A", 1101, 5101);
    assert_eq!(world.client(ONE, segment).last(), Some(&Out::Discard(DropReason::TcpMidstream)));
    let opened = world.out_u(ONE, tcp((C3, 40_000), SERVER, "S", 1, 0)).from();
    assert_ne!(opened, outer);
    assert_sound(&world);
}

#[test]
fn s_6_flows_that_were_left_give_way_before_any_other() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    for port in 0..10 {
        world.open_tcp(40_000 + port);
    }
    world.engine.detach(ONE, world.now);
    world.engine.attach(ONE, C1, world.now);
    let first = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    for port in 1..10 {
        world.open_tcp(50_000 + port);
    }
    assert_eq!(world.flows(), 10);
    world.out_c(ONE, udp((R, 5000), first));
    assert_sound(&world);
    world.advance();
    assert_eq!(world.flows(), 10);
}

#[test]
fn s_6_a_client_that_comes_and_goes_has_no_flow_of_others_judged_again() {
    let mut world = World::with(settings(), permitting());
    let outer = world.out_u(TWO, udp((C2, 5000), (R, 5000))).from();
    world.engine.attach(THREE, C3, world.now);
    world.wait(2);
    only_forward(world.client(TWO, udp((C2, 5000), (R, 5000))), Side::Uplink);
    let judged = |world: &World| {
        let flows = world.engine.engine().flows();
        let ids = (0..flows.extent()).filter_map(|position| flows.id_at(position));
        ids.map(|id| flows.get(id).unwrap()).find(|flow| flow.outer_port == outer.1).unwrap().judged
    };
    let before = judged(&world);
    for _ in 0..1_000 {
        world.engine.detach(THREE, world.now);
        world.engine.attach(THREE, C3, world.now);
        world.out_u(TWO, udp((C2, 5000), (R, 5000)));
        world.out_c(TWO, udp((R, 5000), outer));
        world.advance();
    }
    assert_eq!(judged(&world), before);
    // Not so if it opened one to that address while nobody had it.
    world.engine.detach(THREE, world.now);
    let called = world.out_u(TWO, udp((C2, 5000), (C3, 5000))).from();
    assert_eq!(called, outer);
    world.engine.attach(THREE, C3, world.now);
    world.uplink_nothing(udp((C3, 5000), outer), DropReason::InsideSource);
    world.out_c(TWO, udp((R, 5000), outer));
    assert_ne!(judged(&world), before);
}

#[test]
fn s_6_what_others_had_with_a_client_that_left_is_over_and_goes_within_a_second() {
    let mut world = World::with(settings(), permitting_by(&["action=accept dst4=10.137.0.12"]));
    only_forward(world.client(ONE, udp((C1, 5000), (C2, 53))), Side::Client(TWO));
    only_forward(world.client(TWO, udp((C2, 53), (C1, 5000))), Side::Client(ONE));
    world.wait(2);
    world.engine.detach(TWO, world.now);
    world.engine.attach(TWO, C2, world.now);
    // Both the one that is met and the one that is not.
    assert_eq!(world.flows(), 1);
    let met = world.client(TWO, udp((C2, 53), (C1, 5000)));
    assert!(!matches!(met.as_slice(), [Out::Forward(..)]), "{met:?}");
    assert_eq!(world.flows(), 0);
    only_forward(world.client(ONE, udp((C1, 5000), (C2, 53))), Side::Client(TWO));
    world.engine.detach(TWO, world.now);
    world.wait(1);
    assert_eq!(world.flows(), 0);
    assert_sound(&world);
}

/// Short TCP connections to one server, 500 a second and each from another port: what refused one of them, if any was.
fn short_connections(mebibytes: u64, ports_per_client: u32, count: u32) -> Option<(u32, Vec<Out>)> {
    let mut settings = Settings { client_gateway: G, ..Settings::for_memory(mebibytes << 20, F) };
    settings.quotas.ports_per_client = ports_per_client;
    let mut world = World::with(settings, RuleTable::allow_all());
    for n in 0..count {
        if n % 500 == 0 {
            world.wait(1);
        }
        let client = (C1, 1024 + (n % 64_512) as u16);
        let out = world.client(ONE, tcp(client, SERVER, "S", 1000, 0));
        let [Out::Forward(_, syn)] = out.as_slice() else { return Some((n, out)) };
        close_tcp(&mut world, client, syn.from());
    }
    assert_sound(&world);
    None
}

/// The rest of a short connection of which the SYN has passed.
fn close_tcp(world: &mut World, client: (Ipv4Addr, u16), outer: (Ipv4Addr, u16)) {
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1001));
    world.out_u(ONE, tcp(client, SERVER, "A", 1001, 5001));
    world.out_u(ONE, tcp(client, SERVER, "FA", 1001, 5001));
    world.out_c(ONE, tcp(SERVER, outer, "FA", 5001, 1002));
    world.out_u(ONE, tcp(client, SERVER, "A", 1002, 5002));
}

#[test]
fn p_12_short_connections_are_not_refused_whatever_the_memory() {
    // First of places in the table, then of ports there are too few for connections that were closed of late.
    assert_eq!(short_connections(16, 48_384, 26_000), None);
    assert_eq!(short_connections(64, 5_000, 7_000), None);
}

#[test]
fn p_12_connections_from_reserved_ports_are_not_refused_when_older_ones_are_closed() {
    let mut world = World::new();
    // Other flows of the client are older, and none of them keeps such a port.
    assert_eq!(open_udp(&mut world, ONE, C1, 2_000, 100), 100);
    for port in 1..=500u16 {
        let outer = world.out_u(ONE, tcp((C1, port), SERVER, "S", 1000, 0)).from();
        close_tcp(&mut world, (C1, port), outer);
    }
    assert_eq!(world.engine.counters().evicted, 500 - 318);
    assert_eq!(world.flows(), 100 + 318);
    assert_sound(&world);
}

#[test]
fn p_12_one_flow_gives_way_for_a_place_and_a_port_both() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    settings.quotas.ports_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    assert_eq!(open_udp(&mut world, ONE, C1, 2_000, 10), 10);
    assert_eq!(open_udp(&mut world, ONE, C1, 3_000, 1), 1);
    assert_eq!((world.engine.counters().evicted, world.flows()), (1, 10));
    assert_sound(&world);
}

#[test]
fn p_12_for_want_of_a_mapping_one_of_another_pool_is_freed() {
    let mut settings = settings();
    (settings.mappings, settings.quotas.ports_per_client) = (16, 16);
    let mut world = World::with(settings, RuleTable::allow_all());
    // Twelve are the most that one client may have.
    for ident in 0..12 {
        world.out_u(ONE, echo_request(C1, R, ident));
    }
    let free = world.engine.engine().mappings().free(PoolKind::Icmp);
    world.wait(61);
    assert_eq!(world.flows(), 0);
    for port in 0..12 {
        world.open_tcp(40_000 + port);
    }
    let mappings = world.engine.engine().mappings();
    assert_eq!((mappings.free(PoolKind::Icmp), mappings.reused_early()), (free + 12, 12));
    assert_eq!(world.client_error(ONE, echo_request(C1, R, 77), DropReason::PortLimit), (3, 13));
    assert_sound(&world);
}

#[test]
fn p_12_an_endpoint_gets_its_resting_port_again_when_ports_are_short() {
    let mut settings = settings();
    settings.quotas.ports_per_client = 4;
    let mut world = World::with(settings, RuleTable::allow_all());
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    world.wait(121);
    assert_eq!(open_udp(&mut world, ONE, C1, 6_000, 3), 3);
    assert_eq!(world.out_u(ONE, udp((C1, 5000), (S, 5000))).from(), outer);
    assert_eq!(world.engine.counters().evicted, 0);
}
