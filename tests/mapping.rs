//! Mapping and filtering: conformance M-1 to M-11 (RFC 4787, RFC 5382, RFC 5508).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use ravelin::engine::Settings;
use ravelin::guard::RuleTable;
use ravelin::nat::ports::PoolKind;
use std::net::Ipv4Addr;
use support::*;

#[test]
fn m_1_one_outer_port_serves_all_remotes() {
    let mut world = World::new();
    let first = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let second = world.out_u(ONE, udp((C1, 5000), (S, 123)));
    assert_eq!((first.source(), second.source()), (F, F));
    assert_eq!(first.source_port(), second.source_port());
    first.assert_sums();
    second.assert_sums();
    let syn = world.out_u(ONE, tcp((C1, 6000), (R, 80), "S", 1, 0));
    let other = world.out_u(ONE, tcp((C1, 6000), (S, 443), "S", 1, 0));
    assert_eq!(syn.source_port(), other.source_port());
}

#[test]
fn m_2_two_endpoints_never_share_an_outer_port() {
    let mut world = World::new();
    let first = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let second = world.out_u(TWO, udp((C2, 5000), (S, 53)));
    assert_ne!(first.source_port(), second.source_port());
}

#[test]
fn a_reply_returns_to_the_client_that_asked() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let answered = world.out_c(ONE, udp((R, 53), asked.from()));
    assert_eq!((answered.from(), answered.to()), ((R, 53), (C1, 5000)));
    answered.assert_sums();
}

#[test]
fn m_3_only_the_address_and_port_that_was_asked_may_answer() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    world.uplink_nothing(udp((S, 53), outer), DropReason::Unsolicited);
    world.uplink_nothing(udp((R, 54), outer), DropReason::Unsolicited);
    world.out_c(ONE, udp((R, 53), outer));
}

#[test]
fn m_4_clients_do_not_reach_each_other_by_the_uplink_address() {
    let mut world = World::new();
    let outer = world.out_u(TWO, udp((C2, 5000), (R, 53))).from();
    world.client_nothing(ONE, udp((C1, 6000), outer), DropReason::Hairpin);
    // Nor can they tell which ports others use.
    world.client_nothing(ONE, udp((C1, 6000), (F, outer.1 ^ 1)), DropReason::Hairpin);
    world.client_nothing(ONE, tcp((C1, 6000), (F, 80), "S", 1, 0), DropReason::Hairpin);
    assert_eq!(world.dropped(DropReason::Hairpin), 3);
}

#[test]
fn m_5_a_pool_that_is_nearly_full_gives_the_same_kind_of_mapping() {
    let mut settings = Settings { client_gateway: G, ..Settings::for_memory(64 << 20, F) };
    settings.quotas.ports_per_client = 65_536;
    settings.quotas.new_flows.burst = 100_000;
    let mut world = World::with(settings, RuleTable::allow_all());
    // The share of one client is three quarters; two clients fill the rest.
    let mut refused = 0;
    for port in 1024..=65535 {
        let (slot, client) = if port % 4 == 0 { (TWO, C2) } else { (ONE, C1) };
        let out = world.client(slot, udp((client, port), (R, 53)));
        refused += usize::from(!matches!(out.as_slice(), [Out::Forward(..)]));
    }
    // All but the firewall's own ports were given away; the last few to whoever had the oldest flows.
    assert_eq!((refused, world.engine.engine().mappings().free(PoolKind::UdpHigh)), (0, 0));
    assert_eq!(world.engine.counters().evicted, 128);
    for remote in 1..50u16 {
        let mapped = world.out_u(ONE, udp((C1, 5001), (S, remote))).from();
        let again = world.out_u(ONE, udp((C1, 5001), (R, remote))).from();
        assert_eq!(mapped, again);
        world.out_c(ONE, udp((S, remote), mapped));
    }
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    world.out_c(ONE, udp((R, 53), outer));
}

#[test]
fn m_6_no_payload_is_looked_at() {
    let mut world = World::new();
    let client = (C1, 40000);
    let outer = world.out_u(ONE, tcp(client, (R, 21), "S", 1, 0)).from();
    world.out_c(ONE, tcp((R, 21), outer, "SA", 9, 2));
    let command = b"PORT 10,137,0,11,19,136\r\n";
    let packet = world.out_u(ONE, tcp_with(client, (R, 21), "PA", 2, 10, command));
    assert!(packet.bytes.ends_with(command));
    packet.assert_sums();
}

#[test]
fn m_7_what_a_client_sends_and_what_it_was_answered_refreshes() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    for _ in 0..5 {
        world.wait(119);
        world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    }
    world.out_c(ONE, udp((R, 5000), outer));
    world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    world.out_c(ONE, udp((R, 5000), outer));
    for _ in 0..5 {
        world.wait(299);
        world.out_c(ONE, udp((R, 5000), outer));
    }
}

#[test]
fn m_8_an_icmp_error_neither_ends_nor_extends_a_flow() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    world.out_c(ONE, icmp_error(R, F, 3, 3, &asked, 28));
    world.out_c(ONE, udp((R, 5000), asked.from()));
    world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    world.out_c(ONE, udp((R, 5000), asked.from()));
    world.wait(200);
    world.out_c(ONE, icmp_error(R, F, 3, 3, &asked, 28));
    world.wait(101);
    world.uplink_nothing(udp((R, 5000), asked.from()), DropReason::Unsolicited);
}

#[test]
fn m_9_nothing_new_comes_in() {
    let mut world = World::new();
    world.uplink_nothing(udp((R, 9), (F, 1234)), DropReason::Unsolicited);
    world.uplink_nothing(tcp((R, 9), (F, 1234), "S", 1, 0), DropReason::Unsolicited);
    world.uplink_nothing(tcp((R, 9), (F, 1234), "A", 1, 1), DropReason::Unsolicited);
    world.uplink_nothing(ip(R, F, 50, b"esp"), DropReason::Unsolicited);
    // A ping of our own address is answered, and nothing of it goes further.
    only_forward(world.uplink(echo_request(R, F, 1)), Side::Uplink);
    world.uplink_nothing(echo_reply(R, F, 1), DropReason::EchoUnasked);
    assert_eq!(world.flows(), 0);
}

#[test]
fn m_10_other_protocols_pass_for_one_client_per_remote() {
    let mut world = World::new();
    for protocol in [50, 47, 132] {
        let out = world.out_u(ONE, ip(C1, R, protocol, b"payload"));
        assert_eq!((out.source(), out.payload()), (F, b"payload".as_slice()));
        out.assert_sums();
        let back = world.out_c(ONE, ip(R, F, protocol, b"answer"));
        assert_eq!(back.destination(), C1);
        back.assert_sums();
        assert_eq!(world.client_error(TWO, ip(C2, R, protocol, b"mine"), DropReason::ProtocolBusy), (3, 13));
        world.out_u(TWO, ip(C2, S, protocol, b"mine"));
    }
}

#[test]
fn m_10_the_next_client_gets_the_remote_when_the_first_is_done() {
    let mut world = World::new();
    world.out_u(ONE, ip(C1, R, 50, b"payload"));
    world.wait_unattended(122);
    world.out_u(TWO, ip(C2, R, 50, b"payload"));
    assert_eq!(world.out_c(TWO, ip(R, F, 50, b"answer")).destination(), C2);
}

#[test]
fn protocols_whose_sum_covers_addresses_keep_it_right() {
    let mut world = World::new();
    for protocol in [33, 136] {
        let mut packet = ip(C1, R, protocol, &[7; 24]);
        packet.fix_sums();
        let out = world.out_u(ONE, packet);
        assert_eq!(out.verified_sum(), 0xFFFF);
    }
}

#[test]
fn a_client_may_not_send_to_itself() {
    let mut world = World::new();
    world.client_nothing(ONE, udp((C1, 1), (C1, 2)), DropReason::Martian);
}

#[test]
fn a_new_uplink_address_ends_translated_flows() {
    let mut world = World::with(settings(), permitting());
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    let between =
        only_forward(world.client(ONE, udp((C1, 1), (C2, 2))), ravelin::base::side::Side::Client(TWO));
    assert_eq!(between.source(), C1);
    let address = Ipv4Addr::new(203, 0, 113, 77);
    world.engine.set_uplink_address(address);
    world.advance();
    assert_eq!(world.flows(), 1);
    world.uplink_nothing(udp((R, 53), outer), DropReason::NotForUs);
    world.uplink_nothing(udp((R, 53), (address, outer.1)), DropReason::Unsolicited);
    assert_eq!(world.out_u(ONE, udp((C1, 5000), (R, 53))).source(), address);
}

/// C1's port 5060 is reached by port 5060 of the uplink.
fn telephone() -> World {
    World::with(settings(), forwarding(&[(17, 5060, C1, 5060), (6, 6881, C1, 6881)]))
}

#[test]
fn m_11_what_the_service_behind_a_forwarded_port_sends_leaves_by_that_port() {
    let mut world = telephone();
    for far in [(R, 5060), (S, 5060), (R, 3478)] {
        let registered = world.out_u(ONE, udp((C1, 5060), far));
        registered.assert_sums();
        assert_eq!(registered.from(), (F, 5060));
    }
    assert_eq!(world.out_u(ONE, tcp((C1, 6881), (R, 6881), "S", 1, 0)).from(), (F, 6881));
    // No port of the pools is used for it; other endpoints have theirs.
    assert!(world.engine.engine().mappings().is_empty());
    assert_ne!(world.out_u(ONE, udp((C1, 5061), (R, 5060))).source_port(), 5060);
    assert_ne!(world.out_u(TWO, udp((C2, 5060), (R, 5060))).source_port(), 5060);
    assert_ne!(world.out_u(ONE, tcp((C1, 5060), (R, 5060), "S", 1, 0)).source_port(), 5060);
}

#[test]
fn m_11_both_directions_are_one_flow() {
    let mut world = telephone();
    world.out_u(ONE, udp((C1, 5060), (R, 5060)));
    assert_eq!(world.out_c(ONE, udp((R, 5060), (F, 5060))).to(), (C1, 5060));
    world.out_c(ONE, udp((S, 5060), (F, 5060)));
    assert_eq!(world.out_u(ONE, udp((C1, 5060), (S, 5060))).from(), (F, 5060));
    assert_eq!(world.flows(), 2);
}

#[test]
fn m_11_rules_for_what_goes_out_hold_for_the_endpoint_too() {
    let mut world =
        World::with(settings(), forwarding_by(&["action=drop dst4=192.0.2.10"], &[(17, 5060, C1, 5060)]));
    assert_eq!(world.client_error(ONE, udp((C1, 5060), (R, 5060)), DropReason::Rule), (3, 13));
    // What comes in by the forward is answered all the same.
    world.out_c(ONE, udp((R, 5060), (F, 5060)));
    world.out_u(ONE, udp((C1, 5060), (R, 5060)));
}

#[test]
fn m_11_a_forward_that_appears_takes_over_the_endpoint() {
    let mut world = World::new();
    let before = world.out_u(ONE, udp((C1, 5060), (R, 5060))).from();
    world.out_c(ONE, udp((R, 5060), before));
    world.engine.set_rules(forwarding(&[(17, 5060, C1, 5060)]), world.now);
    // What is open goes on, until the far end calls the forwarded port.
    assert_eq!(world.out_u(ONE, udp((C1, 5060), (R, 5060))).from(), before);
    assert_eq!(world.out_u(ONE, udp((C1, 5060), (S, 5060))).from(), (F, 5060));
    world.out_c(ONE, udp((R, 5060), (F, 5060)));
    assert_eq!(world.out_u(ONE, udp((C1, 5060), (R, 5060))).from(), (F, 5060));
}

#[test]
fn m_11_a_forward_that_goes_takes_its_flows_with_it() {
    let mut world = telephone();
    world.out_u(ONE, udp((C1, 5060), (R, 5060)));
    world.engine.set_rules(forwarding(&[(17, 5060, C2, 5060)]), world.now);
    assert_eq!(world.out_u(TWO, udp((C2, 5060), (R, 5060))).from(), (F, 5060));
    assert_ne!(world.out_u(ONE, udp((C1, 5060), (R, 5060))).from(), (F, 5060));
    assert_eq!(world.out_c(TWO, udp((R, 5060), (F, 5060))).to(), (C2, 5060));
}

#[test]
fn m_11_a_port_that_an_older_flow_has_is_left_to_it_for_its_far_end_alone() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    world.engine.set_rules(forwarding(&[(17, outer.1, C2, 9)]), world.now);
    assert_ne!(world.out_u(TWO, udp((C2, 9), (R, 5000))).from(), outer);
    assert_eq!(world.out_u(TWO, udp((C2, 9), (S, 5000))).from(), outer);
    assert_eq!(world.out_c(ONE, udp((R, 5000), outer)).to(), (C1, 5000));
}

#[test]
fn m_11_a_simultaneous_open_by_a_forwarded_port_completes() {
    let mut world = telephone();
    let peer = (R, 6881);
    world.out_u(ONE, tcp((C1, 6881), peer, "S", 1000, 0));
    world.out_c(ONE, tcp(peer, (F, 6881), "S", 5000, 0));
    world.out_u(ONE, tcp((C1, 6881), peer, "SA", 1000, 5001));
    world.out_c(ONE, tcp(peer, (F, 6881), "SA", 5000, 1001));
    world.wait(7_000);
    world.out_c(ONE, tcp(peer, (F, 6881), "A", 5001, 1001));
}
