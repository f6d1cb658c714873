//! Timers: conformance TU-1 to TU-4, TT-1 to TT-6 (RFC 4787, RFC 5382, RFC 5508, RFC 7857).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use support::*;

#[test]
fn tu_1_an_answer_after_119_seconds_returns() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    world.wait(119);
    world.out_c(ONE, udp((R, 53), outer));
}

#[test]
fn tu_2_udp_that_goes_both_ways_lives_300_seconds() {
    let mut world = World::new();
    let outer = exchange(&mut world, 5000, R);
    assert_eq!(exchange(&mut world, 5000, R), outer);
    world.wait(299);
    world.out_c(ONE, udp((R, 5000), outer));
    world.wait(301);
    world.uplink_nothing(udp((R, 5000), outer), DropReason::Unsolicited);
    assert_eq!(world.flows(), 0);
}

/// One datagram of C1 to port 5000 of a host, and its answer; returns the outer end.
#[track_caller]
fn exchange(world: &mut World, port: u16, far: std::net::Ipv4Addr) -> (std::net::Ipv4Addr, u16) {
    let outer = world.out_u(ONE, udp((C1, port), (far, 5000))).from();
    world.out_c(ONE, udp((far, 5000), outer));
    outer
}

#[test]
fn tu_4_udp_that_was_answered_once_lives_120_seconds() {
    let mut world = World::new();
    let outer = exchange(&mut world, 5000, R);
    // Whoever is answered may go on: a second answer to the same question keeps the flow, no more.
    for _ in 0..3 {
        world.wait(119);
        world.out_c(ONE, udp((R, 5000), outer));
    }
    world.wait(121);
    world.uplink_nothing(udp((R, 5000), outer), DropReason::Unsolicited);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tu_4_two_questions_and_their_two_answers_are_one_exchange() {
    let mut world = World::new();
    // As a resolver asks for A and AAAA from one socket.
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    exchange(&mut world, 5000, R);
    world.out_c(ONE, udp((R, 5000), outer));
    world.wait(121);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tu_4_exchanges_give_way_and_what_goes_both_ways_does_not() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 100;
    let mut world = World::with(settings, ravelin::guard::RuleTable::allow_all());
    let far = |n: u32| std::net::Ipv4Addr::from(0x2D00_0000 + n);
    exchange(&mut world, 6000, R);
    let lasting = exchange(&mut world, 6000, R);
    let first = exchange(&mut world, 6881, far(0));
    for n in 1..1000 {
        exchange(&mut world, 6881, far(n));
    }
    assert_eq!(world.flows(), 100);
    world.uplink_nothing(udp((far(0), 5000), first), DropReason::Unsolicited);
    world.out_c(ONE, udp((R, 5000), lasting));
    world.open_tcp(40_000);
}

#[test]
fn tu_4_five_hundred_exchanges_a_second_lock_nobody_out() {
    // A DHT node with one port, and a resolver with a random port for each question.
    for random_ports in [false, true] {
        let mut world = World::new();
        for n in 0..60_000u32 {
            if n % 500 == 0 {
                world.wait(1);
            }
            let port = if random_ports { 1024 + (n.wrapping_mul(40_499) % 64_512) as u16 } else { 6881 };
            let far = if random_ports { (R, 53) } else { (std::net::Ipv4Addr::from(0x2D00_0000 + n), 6881) };
            let outer = world.out_u(ONE, udp((C1, port), far)).from();
            world.out_c(ONE, udp(far, outer));
        }
        world.open_tcp(40_000);
        world.out_u(TWO, tcp((C2, 40_000), (R, 80), "S", 1, 0));
    }
}

#[test]
fn tu_4_hosts_outside_do_not_fill_a_forwarded_ports_share_with_exchanges() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 100;
    let mut world = World::with(settings, forwarding(&[(17, 53, C1, 53)]));
    for n in 0..1000 {
        let far = (std::net::Ipv4Addr::from(0x2D00_0000 + n), 4000);
        world.out_c(ONE, udp(far, (F, 53)));
        world.out_u(ONE, udp((C1, 53), far));
    }
}

#[test]
fn tu_3_unanswered_udp_lives_120_seconds() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    world.wait(121);
    world.uplink_nothing(udp((R, 5000), outer), DropReason::Unsolicited);
}

#[test]
fn tu_3_dns_lives_60_seconds_after_its_answer() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    world.wait(100);
    world.out_c(ONE, udp((R, 53), outer));
    world.wait(59);
    world.out_c(ONE, udp((R, 53), outer));
    world.wait(61);
    world.uplink_nothing(udp((R, 53), outer), DropReason::Unsolicited);
}

#[test]
fn a_flow_is_over_at_its_second_whether_or_not_the_engine_was_called() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    world.wait_unattended(121);
    assert_eq!(world.flows(), 1);
    world.uplink_nothing(udp((R, 5000), outer), DropReason::Unsolicited);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tt_1_an_idle_connection_lives_7440_seconds() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.wait(7_439);
    world.out_c(ONE, tcp_with((R, 80), outer, "PA", 5101, 1101, b"still here"));
    world.wait(7_439);
    world.out_u(ONE, tcp((C1, 40000), (R, 80), "A", 1101, 5111));
    world.wait(7_501);
    world.uplink_nothing(tcp((R, 80), outer, "A", 5111, 1101), DropReason::Unsolicited);
}

#[test]
fn tt_2_a_handshake_may_take_239_seconds_per_step() {
    let mut world = World::new();
    let outer = world.out_u(ONE, tcp((C1, 40000), (R, 80), "S", 1000, 0)).from();
    world.wait(239);
    world.out_c(ONE, tcp((R, 80), outer, "SA", 5000, 1001));
    world.wait(239);
    world.out_u(ONE, tcp((C1, 40000), (R, 80), "A", 1001, 5001));
    world.wait(5_000);
    world.out_c(ONE, tcp((R, 80), outer, "A", 5001, 1001));
}

#[test]
fn tt_2_a_handshake_without_an_answer_is_over_after_240_seconds() {
    let mut world = World::new();
    let outer = world.out_u(ONE, tcp((C1, 40000), (R, 80), "S", 1000, 0)).from();
    world.wait(241);
    world.uplink_nothing(tcp((R, 80), outer, "SA", 5000, 1001), DropReason::Unsolicited);
}

#[test]
fn tt_2_a_closed_connection_lives_240_seconds_whatever_passes() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_u(ONE, tcp((C1, 40000), (R, 80), "FA", 1101, 5101));
    world.out_c(ONE, tcp((R, 80), outer, "FA", 5101, 1102));
    world.wait(239);
    world.out_u(ONE, tcp((C1, 40000), (R, 80), "A", 1102, 5102));
    world.wait(2);
    world.uplink_nothing(tcp((R, 80), outer, "FA", 5101, 1102), DropReason::Unsolicited);
}

#[test]
fn tt_2_a_half_closed_connection_lives_on() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_u(ONE, tcp((C1, 40000), (R, 80), "FA", 1101, 5101));
    world.wait(7_000);
    world.out_c(ONE, tcp_with((R, 80), outer, "PA", 5101, 1102, b"more"));
}

#[test]
fn tt_3_a_reset_passes_and_the_flow_is_kept_240_seconds() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_c(ONE, tcp((R, 80), outer, "R", 5101, 0));
    world.wait(239);
    world.out_c(ONE, tcp((R, 80), outer, "R", 5101, 0));
    world.wait(2);
    world.uplink_nothing(tcp((R, 80), outer, "R", 5101, 0), DropReason::Unsolicited);
}

#[test]
fn tt_3_data_after_a_reset_restores_the_connection() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_c(ONE, tcp((R, 80), outer, "R", 5101, 0));
    world.out_u(ONE, tcp_with((C1, 40000), (R, 80), "PA", 1101, 5101, b"data"));
    world.out_c(ONE, tcp((R, 80), outer, "A", 5101, 1105));
    world.wait(7_000);
    world.out_c(ONE, tcp((R, 80), outer, "A", 5101, 1105));
}

#[test]
fn tt_4_an_echo_reply_after_59_seconds_returns() {
    let mut world = World::new();
    let asked = world.out_u(ONE, echo_request(C1, R, 7));
    world.wait(59);
    world.out_c(ONE, echo_reply(R, F, asked.icmp_ident()));
    world.wait(2);
    world.uplink_nothing(echo_reply(R, F, asked.icmp_ident()), DropReason::EchoUnasked);
}

#[test]
fn tt_4_an_answer_between_clients_keeps_no_ping_alive() {
    let mut world = World::with(settings(), permitting());
    only_forward(world.client(ONE, echo_request(C1, C2, 7)), Side::Client(TWO));
    world.wait(59);
    only_forward(world.client(TWO, echo_reply(C2, C1, 7)), Side::Client(ONE));
    world.wait(2);
    world.client_nothing(TWO, echo_reply(C2, C1, 7), DropReason::EchoUnasked);
}

#[test]
fn tt_6_resets_and_icmp_errors_of_a_client_do_not_refresh() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    let data = world.out_c(ONE, tcp_with((R, 80), outer, "PA", 5101, 1101, &[b'z'; 100]));
    world.wait(7_400);
    world.out_u(ONE, icmp_error(C1, R, 3, 3, &data, 28));
    // Far out of the window: it does not close the connection, nor keep it.
    world.out_u(ONE, tcp((C1, 40000), (R, 80), "R", 0x7000_0000, 0));
    world.wait(101);
    world.uplink_nothing(tcp((R, 80), outer, "A", 5201, 1101), DropReason::Unsolicited);
}

#[test]
fn a_jump_of_the_clock_ends_what_is_over_and_nothing_else() {
    let mut world = World::new();
    let tcp_outer = world.open_tcp(40000);
    let udp_outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    world.wait_unattended(5_000);
    world.advance();
    assert_eq!(world.flows(), 1);
    world.uplink_nothing(udp((R, 5000), udp_outer), DropReason::Unsolicited);
    world.out_c(ONE, tcp((R, 80), tcp_outer, "A", 5101, 1101));
    world.wait_unattended(100_000_000);
    world.advance();
    assert_eq!(world.flows(), 0);
    world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    world.wait(121);
    assert_eq!(world.flows(), 0);
}

#[test]
fn the_next_deadline_is_never_late_and_there_is_none_without_flows() {
    let mut world = World::new();
    world.advance();
    assert_eq!(world.engine.next_deadline(), None);
    world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    let mut steps = 0;
    while let Some(deadline) = world.engine.next_deadline() {
        world.now = world.now.max(deadline);
        world.advance();
        steps += 1;
        assert!(steps < 10, "the engine must not be woken for nothing");
    }
    assert_eq!(world.flows(), 0);
    assert!(world.engine.engine().mappings().is_empty());
}
