//! Clients that see themselves under another address than everybody else does (Qubes OS' `fake-ip`).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::engine::visible::{Visible, VisibleAddresses};
use ravelin::guard::{RuleTable, ruleset};
use std::net::Ipv4Addr;
use support::*;

/// How C1 sees itself, and us.
const V: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 128);
const VG: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
/// How C2 sees itself.
const V2: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 129);

fn visible() -> VisibleAddresses {
    VisibleAddresses::new([
        (C1, Visible { address: V, gateway: Some(VG) }),
        (C2, Visible { address: V2, gateway: None }),
    ])
}

/// C1 may reach host R alone, and each client the other one.
const RULES: &[u8] = b"
[default]
action=accept
[client 10.137.0.11]
action=accept dst4=192.0.2.10
[permit]
from=10.137.0.11 to=10.137.0.12 action=accept
from=10.137.0.12 to=10.137.0.11 action=accept
";

fn rules() -> RuleTable {
    let (table, problems) = ruleset::read(RULES, &[]);
    assert_eq!(problems.list, []);
    table
}

fn world() -> World {
    let mut world = World::with(settings(), rules());
    world.engine.set_visible_addresses(visible());
    world
}

#[test]
fn a_client_is_known_by_its_visible_address_on_its_vif_and_by_its_real_one_in_rules() {
    let mut world = world();
    let out = world.out_u(ONE, udp((V, 5000), (R, 53)));
    assert_eq!(out.source(), F);
    out.assert_sums();
    let back = world.out_c(ONE, udp((R, 53), out.from()));
    assert_eq!((back.from(), back.to()), ((R, 53), (V, 5000)));
    back.assert_sums();
    assert_eq!(world.client_error(ONE, udp((V, 5000), (S, 53)), DropReason::Rule), (3, 13));
}

#[test]
fn its_real_address_is_as_wrong_on_its_vif_as_anybody_else_s() {
    let mut world = world();
    world.client_nothing(ONE, udp((C1, 5000), (R, 53)), DropReason::Spoofed);
    world.client_nothing(ONE, udp((V2, 5000), (R, 53)), DropReason::Spoofed);
}

#[test]
fn errors_reach_it_under_its_visible_address_and_quote_what_it_sent() {
    let mut world = world();
    let asked = world.out_u(ONE, udp((V, 5000), (R, 53)));
    let error = world.out_c(ONE, icmp_error(S, F, 3, 3, &asked, 200));
    assert_eq!(error.destination(), V);
    error.assert_sums();
    assert_eq!(error.quoted().from(), (V, 5000));
    error.quoted().assert_sums();

    let ours = world.client(ONE, udp((V, 5000), (R, 53)).ttl_of(1));
    let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::TtlExpired)] = ours.as_slice()
    else {
        panic!("{ours:?}")
    };
    let error = TestPacket::new(bytes.clone());
    assert_eq!((error.source(), error.destination(), error.quoted().source()), (VG, V, V));
}

/// The error that says to a client that its packet, which left as `left`, did not arrive.
#[track_caller]
fn told_of_silence(world: &mut World, client: ClientSlot, left: TestPacket) -> TestPacket {
    let out = world.undelivered(client, left);
    let [Out::Answer(to, bytes), Out::Discard(DropReason::Unreachable)] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(*to, Side::Client(client));
    TestPacket::new(bytes.clone())
}

#[test]
fn that_the_next_hop_is_silent_is_told_to_whoever_sent_and_not_to_whose_address_that_is() {
    let mut world = World::with(settings(), rules());
    // One believes to have the address that the other one has, and that it has another one.
    let to_see = |address| Visible { address, gateway: None };
    world.engine.set_visible_addresses(VisibleAddresses::new([(C1, to_see(C2)), (C2, to_see(V2))]));
    let sent = udp((C2, 5000), (R, 53));
    let left = world.out_u(ONE, sent.clone());
    let error = told_of_silence(&mut world, ONE, left);
    assert_eq!((error.destination(), error.quoted().bytes), (C2, sent.bytes));
    // Both believe to have the same one.
    world.engine.set_visible_addresses(VisibleAddresses::new([(C1, to_see(V)), (C2, to_see(V))]));
    for client in [ONE, TWO] {
        let left = world.out_u(client, udp((V, 5001), (R, 53)));
        told_of_silence(&mut world, client, left);
    }
}

#[test]
fn its_own_errors_leave_with_the_quote_that_the_uplink_sent() {
    let mut world = world();
    let asked = world.out_u(ONE, udp((V, 5000), (R, 53)));
    let answer = world.out_c(ONE, udp((R, 53), asked.from()));
    let error = world.out_u(ONE, icmp_error(V, R, 3, 3, &answer, 200));
    assert_eq!((error.source(), error.quoted().to()), (F, asked.from()));
    error.assert_sums();
    error.quoted().assert_sums();
}

#[test]
fn its_gateway_answers_pings_under_the_address_that_it_sees() {
    let mut world = world();
    for gateway in [VG, G] {
        let answer = only_forward(world.client(ONE, echo_request(V, gateway, 7)), Side::Client(ONE));
        assert_eq!((answer.source(), answer.destination()), (gateway, V));
        answer.assert_sums();
    }
}

#[test]
fn two_clients_know_each_other_by_their_real_addresses() {
    let mut world = world();
    let asked = only_forward(world.client(ONE, udp((V, 5000), (C2, 53))), Side::Client(TWO));
    assert_eq!((asked.from(), asked.to()), ((C1, 5000), (V2, 53)));
    asked.assert_sums();
    let answer = only_forward(world.client(TWO, udp((V2, 53), (C1, 5000))), Side::Client(ONE));
    assert_eq!((answer.from(), answer.to()), ((C2, 53), (V, 5000)));
    answer.assert_sums();
    assert_eq!(world.flows(), 1);

    // An error of either end about what the other sent.
    let error = only_forward(world.client(TWO, icmp_error(V2, C1, 3, 3, &asked, 200)), Side::Client(ONE));
    assert_eq!((error.source(), error.destination()), (C2, V));
    assert_eq!((error.quoted().from(), error.quoted().to()), ((V, 5000), (C2, 53)));
    error.assert_sums();
    error.quoted().assert_sums();
    let error = only_forward(world.client(ONE, icmp_error(V, C2, 3, 3, &answer, 200)), Side::Client(TWO));
    assert_eq!((error.source(), error.destination()), (C1, V2));
    assert_eq!((error.quoted().from(), error.quoted().to()), ((V2, 53), (C1, 5000)));
    error.assert_sums();
    error.quoted().assert_sums();
}

#[test]
fn two_clients_ping_each_other_and_tcp_passes_both_ways() {
    let mut world = world();
    let ping = only_forward(world.client(ONE, echo_request(V, C2, 7)), Side::Client(TWO));
    assert_eq!((ping.source(), ping.destination()), (C1, V2));
    ping.assert_sums();
    let pong = only_forward(world.client(TWO, echo_reply(V2, C1, 7)), Side::Client(ONE));
    assert_eq!((pong.source(), pong.destination()), (C2, V));
    let syn = only_forward(world.client(ONE, tcp((V, 6000), (C2, 80), "S", 1000, 0)), Side::Client(TWO));
    assert_eq!((syn.from(), syn.to()), ((C1, 6000), (V2, 80)));
    syn.assert_sums();
    let answer = tcp((V2, 80), (C1, 6000), "SA", 5000, 1001);
    only_forward(world.client(TWO, answer), Side::Client(ONE)).assert_sums();
}

#[test]
fn what_is_said_while_it_is_away_holds_when_it_comes_and_ends_when_it_is_taken_back() {
    let mut world = World::with(settings(), rules());
    world.engine.detach(ONE, world.now);
    world.engine.set_visible_addresses(visible());
    world.engine.attach(ONE, C1, world.now);
    world.out_u(ONE, udp((V, 5000), (R, 53)));
    world.engine.set_visible_addresses(VisibleAddresses::default());
    world.client_nothing(ONE, udp((V, 5000), (R, 53)), DropReason::Spoofed);
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
}
