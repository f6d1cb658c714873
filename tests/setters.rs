//! What the engine is told while packets pass: our addresses, limits, pings.
#![allow(missing_docs)]

mod support;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use ravelin::engine::settings::{Quotas, UplinkPings};
use ravelin::tables::allowance::Rate;
use ravelin::tables::share::Account;
use std::net::Ipv4Addr;
use support::*;

#[test]
fn a_new_client_gateway_answers_and_the_old_one_does_not() {
    let mut world = World::new();
    let new = Ipv4Addr::new(10, 137, 0, 254);
    world.engine.set_client_gateway(new);
    let answer = only_forward(world.client(ONE, echo_request(C1, new, 7)), Side::Client(ONE));
    assert_eq!((answer.source(), answer.icmp_kind()), (new, 0));
    // The old one is a host like any other now.
    assert_eq!(world.out_u(ONE, echo_request(C1, G, 8)).destination(), G);
}

#[test]
fn a_new_prefix_length_makes_another_address_the_broadcast_address() {
    let mut world = World::new();
    let broadcast = Ipv4Addr::from_bits(F.to_bits() | 0xffff);
    assert_eq!(world.out_u(ONE, udp((C1, 5000), (broadcast, 53))).destination(), broadcast);
    world.engine.set_uplink_prefix_bits(16);
    world.client_nothing(ONE, udp((C1, 5001), (broadcast, 53)), DropReason::Multicast);
}

#[test]
fn who_is_in_no_network_has_no_broadcast_address_answers_pings_and_tells_of_errors() {
    let mut world = World::new();
    world.engine.set_uplink_prefix_bits(32);
    let last = Ipv4Addr::from_bits(F.to_bits() | 0xff);
    assert_eq!(world.out_u(ONE, udp((C1, 5000), (last, 53))).destination(), last);
    let answer = only_forward(world.uplink(echo_request(R, F, 7)), Side::Uplink);
    assert_eq!((answer.source(), answer.destination(), answer.icmp_kind()), (F, R, 0));
    let from = world.out_u(ONE, udp((C1, 5001), (R, 53))).from();
    let told = world.uplink(udp((R, 53), from).ttl_of(1));
    let [Out::Answer(Side::Uplink, error), Out::Discard(DropReason::TtlExpired)] = &told[..] else {
        panic!("{told:?}")
    };
    let error = TestPacket::new(error.clone());
    assert_eq!((error.source(), error.destination(), error.icmp_kind()), (F, R, 11));
}

#[test]
fn pings_from_the_uplink_are_ignored_from_when_it_is_said() {
    let mut world = World::new();
    assert!(matches!(world.uplink(echo_request(R, F, 7))[..], [Out::Forward(Side::Uplink, _)]));
    world.engine.set_uplink_pings(UplinkPings::Ignored);
    world.uplink_nothing(echo_request(R, F, 8), DropReason::ForFirewall);
    world.engine.set_uplink_pings(UplinkPings::Answered);
    assert!(matches!(world.uplink(echo_request(R, F, 9))[..], [Out::Forward(Side::Uplink, _)]));
}

/// Flows that ONE can have now, to ports from `first` on.
fn opened(world: &mut World, first: u16, tries: u16) -> usize {
    let all = (first..first + tries).map(|port| world.client(ONE, udp((C1, 5000), (R, port))));
    all.filter(|out| matches!(out[..], [Out::Forward(..)])).count()
}

#[test]
fn a_limit_of_flows_that_is_lowered_ends_none_and_is_reached_as_new_ones_begin() {
    let mut world = World::new();
    assert_eq!(opened(&mut world, 1000, 20), 20);
    world.engine.set_quotas(Quotas { flows_per_client: 10, ..settings().quotas });
    assert_eq!(world.flows(), 20);
    let engine = world.engine.engine();
    assert_eq!(engine.places().fault(engine.flows().len()), None);
    // What there is goes on.
    assert_eq!(opened(&mut world, 1000, 20), 20);
    world.wait(3);
    // A new one takes the place of the two oldest, until there are as many as there may be.
    for left in [19, 18, 17] {
        assert_eq!(opened(&mut world, 2000 + left, 1), 1);
        assert_eq!(world.flows(), usize::from(left));
        let engine = world.engine.engine();
        assert_eq!(engine.places().fault(engine.flows().len()), None);
    }
    assert_eq!(opened(&mut world, 2100, 20), 20);
    assert_eq!(world.flows(), 10);
    world.engine.set_quotas(Quotas { flows_per_client: 40, ..settings().quotas });
    opened(&mut world, 3000, 100);
    assert_eq!(world.flows(), 40);
}

#[test]
fn a_limit_of_ports_that_is_lowered_holds_for_new_ones() {
    let mut world = World::new();
    let quotas = |ports| Quotas { ports_per_client: ports, ..settings().quotas };
    let open = |world: &mut World, port| {
        !world
            .client(ONE, udp((C1, port), (R, 53)))
            .iter()
            .any(|out| matches!(out, Out::Discard(DropReason::PortLimit)))
    };
    assert!((2000..2005).all(|port| open(&mut world, port)));
    world.engine.set_quotas(quotas(5));
    assert_eq!(world.engine.engine().mappings().held(ravelin::tables::share::Account::client(ONE)), 5);
    let before = world.engine.engine().mappings().len();
    open(&mut world, 3000);
    assert!(world.engine.engine().mappings().len() <= before);
    world.engine.set_quotas(quotas(6));
    assert!(open(&mut world, 3001));
}

#[test]
fn ports_above_a_limit_that_is_lowered_are_given_back_as_new_ones_are_taken() {
    let mut world = World::new();
    let held = |world: &World| world.engine.engine().mappings().held(Account::client(ONE));
    let open = |world: &mut World, port| {
        only_forward(world.client(ONE, udp((C1, port), (R, 53))), Side::Uplink);
    };
    (2000..2010).for_each(|port| open(&mut world, port));
    // All flows are over, and their ports in quarantine.
    world.wait(121);
    assert_eq!((world.flows(), held(&world)), (0, 10));
    world.engine.set_quotas(Quotas { ports_per_client: 5, ..settings().quotas });
    for (port, left) in [(3000, 9), (3001, 8), (3002, 7), (3003, 6), (3004, 5), (3005, 5)] {
        open(&mut world, port);
        assert_eq!(held(&world), left);
    }
}

/// Nothing is booked that is not there.
#[track_caller]
fn assert_sound(world: &World) {
    let engine = world.engine.engine();
    assert_eq!((engine.places().fault(engine.flows().len()), engine.mappings().fault()), (None, None));
}

/// Ports that ONE holds.
fn held(world: &World) -> u32 {
    world.engine.engine().mappings().held(Account::client(ONE))
}

fn ask_from(world: &mut World, port: u16) {
    only_forward(world.client(ONE, udp((C1, port), (R, 53))), Side::Uplink);
}

#[test]
fn ports_above_a_limit_that_is_lowered_are_given_back_while_flows_use_them() {
    let mut world = World::new();
    (2000..2010).for_each(|port| ask_from(&mut world, port));
    world.engine.set_quotas(Quotas { ports_per_client: 5, ..settings().quotas });
    assert_eq!((world.flows(), held(&world)), (10, 10));
    // What is silent ends at once.
    world.wait(3);
    for (port, left) in [(3000, 9), (3001, 8), (3002, 7)] {
        ask_from(&mut world, port);
        assert_eq!((held(&world), world.flows()), (left, left as usize));
        assert_sound(&world);
    }
    // Each of these takes a port of the one before, and there are never fewer than there may be.
    for port in 3003..3200 {
        ask_from(&mut world, port);
        assert!(held(&world) >= 5);
    }
    assert_eq!((held(&world), world.flows()), (5, 5));
    assert_sound(&world);
    // Nobody else's are fewer, and what it may have it can have.
    world.engine.set_quotas(Quotas { ports_per_client: 8, ..settings().quotas });
    (4000..4100).for_each(|port| ask_from(&mut world, port));
    assert_eq!(held(&world), 8);
}

#[test]
fn a_client_that_opens_flows_without_a_pause_comes_down_to_a_limit_of_ports_too() {
    let mut world = World::new();
    (2000..2010).for_each(|port| ask_from(&mut world, port));
    world.engine.set_quotas(Quotas { ports_per_client: 5, ..settings().quotas });
    // At once: each is in use when the next begins. One in five ends another besides that whose port it takes.
    for (opened, port) in (1..=200).zip(3000..) {
        ask_from(&mut world, port);
        assert_eq!(held(&world), 10 - (opened / 5).min(5));
        assert_sound(&world);
    }
}

#[test]
fn a_limit_of_ports_is_reached_in_time_whatever_was_used() {
    let mut world = World::new();
    (2000..2400).for_each(|port| ask_from(&mut world, port));
    world.engine.set_quotas(Quotas { ports_per_client: 5, ..settings().quotas });
    for second in 0..600u16 {
        (0..5).for_each(|n| ask_from(&mut world, 3000 + second * 5 + n));
        world.wait(1);
    }
    assert!(held(&world) <= 5, "{}", held(&world));
    assert_sound(&world);
}

#[test]
fn ports_that_several_flows_use_come_back_when_the_last_of_these_is_over() {
    let mut world = World::new();
    for port in 2000..2010 {
        for far in [R, S, Ipv4Addr::new(192, 0, 2, 77)] {
            world.out_u(ONE, udp((C1, port), (far, 53)));
        }
    }
    world.engine.set_quotas(Quotas { ports_per_client: 5, ..settings().quotas });
    assert_eq!((world.flows(), held(&world)), (30, 10));
    world.wait(3);
    // From an endpoint that has its port, as nobody gets another.
    for port in 1000..1200 {
        world.out_u(ONE, udp((C1, 2009), (R, port)));
        assert_sound(&world);
    }
    assert_eq!(held(&world), 5);
}

#[test]
fn a_limit_that_is_lowered_costs_nobody_else_a_flow_or_a_port() {
    let mut world = World::new();
    let others: Vec<_> = (0..20).map(|n| world.out_u(TWO, udp((C2, 2000 + n), (R, 53))).from()).collect();
    (2000..2400).for_each(|port| ask_from(&mut world, port));
    let quotas = Quotas { ports_per_client: 5, flows_per_client: 5, ..settings().quotas };
    world.engine.set_quotas(quotas);
    world.wait(3);
    (3000..4000).for_each(|port| ask_from(&mut world, port));
    assert_eq!((held(&world), world.flows()), (5, 25));
    others.iter().for_each(|outer| drop(world.out_c(TWO, udp((R, 53), *outer))));
    assert_sound(&world);
}

/// A connection without TCP that goes both ways.
fn assure(world: &mut World, port: u16) -> (Ipv4Addr, u16) {
    let outer = world.out_u(ONE, udp((C1, port), (R, 443))).from();
    world.out_c(ONE, udp((R, 443), outer));
    world.out_u(ONE, udp((C1, port), (R, 443)));
    world.out_c(ONE, udp((R, 443), outer));
    outer
}

#[test]
fn while_a_limit_is_reached_three_questions_at_once_are_all_answered() {
    let flows = Quotas { flows_per_client: 10, ..settings().quotas };
    let ports = Quotas { ports_per_client: 10, ..settings().quotas };
    for quotas in [flows, ports] {
        for seconds in [0, 1, 2, 3, 60] {
            let mut world = World::new();
            let assured: Vec<_> = (0..12).map(|n| assure(&mut world, 4000 + n)).collect();
            (0..3).for_each(|n| drop(world.out_u(ONE, udp((C1, 6000 + n), (S, 9)))));
            world.engine.set_quotas(quotas);
            world.wait(seconds);
            let asked: Vec<_> =
                (0..3).map(|n| world.out_u(ONE, udp((C1, 5000 + n), (R, 53))).from()).collect();
            asked.iter().for_each(|outer| drop(world.out_c(ONE, udp((R, 53), *outer))));
            // Whoever has more keeps it.
            assured.iter().for_each(|outer| drop(world.out_c(ONE, udp((R, 443), *outer))));
            assert_sound(&world);
        }
    }
}

/// The ports from which the client on ONE has flows.
fn ports_in_use(world: &World) -> Vec<u16> {
    let flows = world.engine.engine().flows();
    let ids = (0..flows.extent()).filter_map(|position| flows.id_at(position));
    ids.map(|id| flows.get(id).unwrap().near_port).collect()
}

#[test]
fn a_client_that_uses_all_its_flows_comes_down_to_a_limit_that_is_lowered() {
    let mut world = World::new();
    (2000..2030).for_each(|port| ask_from(&mut world, port));
    world.engine.set_quotas(Quotas { flows_per_client: 10, ..settings().quotas });
    for opened in 1..=150 {
        world.wait(1);
        ports_in_use(&world).into_iter().for_each(|port| ask_from(&mut world, port));
        ask_from(&mut world, 3000 + opened);
        assert_eq!(world.flows(), 30 - usize::from(opened / 5).min(20));
        assert_sound(&world);
    }
}

#[test]
fn a_rate_of_pings_that_is_changed_counts_from_now_on() {
    let mut world = World::new();
    let quotas = Quotas { uplink_pings: Rate { per_second: 1, burst: 2 }, ..settings().quotas };
    world.engine.set_quotas(quotas);
    let answered = |world: &mut World| {
        let all = (0..10).map(|ident| world.uplink(echo_request(R, F, ident)));
        all.filter(|out| matches!(out[..], [Out::Forward(Side::Uplink, _)])).count()
    };
    assert_eq!(answered(&mut world), 2);
    world.wait(60);
    assert_eq!(answered(&mut world), 2);
}

#[test]
fn an_address_that_is_the_same_ends_no_datagram_in_pieces() {
    let mut world = World::new();
    let pieces = udp_with((C1, 5000), (R, 53), &[7; 4000]).no_df().cut(1500);
    assert_eq!(world.client(ONE, pieces[1].clone()), []);
    world.engine.set_uplink_address(F);
    let passed = world.client(ONE, pieces[0].clone());
    assert!(matches!(passed[..], [Out::Forward(..), Out::Forward(..)]), "{passed:?}");
    // Another one does.
    let others = udp_with((C1, 5001), (R, 53), &[7; 4000]).id(2).no_df().cut(1500);
    assert_eq!(world.client(ONE, others[1].clone()), []);
    world.engine.set_uplink_address(Ipv4Addr::new(203, 0, 113, 6));
    assert_eq!(world.advance(), [Out::Discard(DropReason::Detached)]);
}
