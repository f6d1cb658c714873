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
