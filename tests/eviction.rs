//! Which flow of a client gives way to its new ones, and who decides that: conformance P-8.
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::guard::RuleTable;
use std::net::Ipv4Addr;
use support::*;

/// A client that may have ten flows has asked R eight times, and R answered.
fn eight_answered() -> (World, Vec<(Ipv4Addr, u16)>) {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    let outers: Vec<_> =
        (0..8).map(|port| world.out_u(ONE, udp((C1, 5000 + port), (R, 53))).from()).collect();
    outers.iter().for_each(|outer| drop(world.out_c(ONE, udp((R, 53), *outer))));
    (world, outers)
}

#[test]
fn p_8_a_far_end_that_goes_on_sending_keeps_no_flow_from_giving_way() {
    let (mut world, outers) = eight_answered();
    let is_there =
        |world: &mut World, outer| matches!(world.uplink(udp((R, 53), outer))[..], [Out::Forward(..)]);
    for second in 0..8u16 {
        world.wait(1);
        let left: Vec<bool> = outers.iter().map(|outer| is_there(&mut world, *outer)).collect();
        // There are two places that nobody has; then the oldest goes each time, and not what was asked since.
        let gone = usize::from(second.saturating_sub(2));
        assert_eq!(left, (0..8).map(|at| at >= gone).collect::<Vec<_>>());
        world.out_u(ONE, udp((C1, 6000 + second), (S, 53)));
    }
}

type Answer = fn((Ipv4Addr, u16)) -> TestPacket;

/// Packets with which a client asks S, each keeping something else, and how S answers at the outer end.
fn questions_of_all_kinds() -> [(TestPacket, Answer); 5] {
    [
        (udp((C1, 7000), (S, 123)), |outer| udp((S, 123), outer)),
        (udp((C1, 123), (S, 123)), |outer| udp((S, 123), outer)),
        (tcp((C1, 7000), (S, 80), "S", 1, 0), |outer| tcp((S, 80), outer, "SA", 5, 2)),
        (echo_request(C1, S, 7), |outer| echo_reply(S, outer.0, outer.1)),
        (ip(C1, S, 50, b"esp packet here"), |outer| ip(S, outer.0, 50, b"esp packet here")),
    ]
}

#[test]
fn p_8_a_slow_answer_comes_through_whatever_other_far_ends_send_meanwhile() {
    for (question, answer) in questions_of_all_kinds() {
        let (mut world, outers) = eight_answered();
        world.wait(1);
        let asked = world.out_u(ONE, question);
        let outer = match asked.protocol() {
            1 => (asked.source(), asked.icmp_ident()),
            50 => (asked.source(), 0),
            _ => asked.from(),
        };
        for port in 0..4 {
            world.wait(1);
            outers.iter().for_each(|outer| drop(world.uplink(udp((R, 53), *outer))));
            world.out_u(ONE, udp((C1, 8000 + port), (R, 53)));
        }
        world.out_c(ONE, answer(outer));
        assert_eq!(world.engine.counters().evicted, 3);
    }
}

#[test]
fn p_8_an_answer_does_not_make_a_flow_the_last_to_give_way() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    let outers: Vec<_> =
        (0..8).map(|port| world.out_u(ONE, udp((C1, 5000 + port), (R, 53))).from()).collect();
    let slow = world.out_u(ONE, udp((C1, 7000), (S, 123))).from();
    // R answers when it likes.
    outers.iter().for_each(|outer| drop(world.out_c(ONE, udp((R, 53), *outer))));
    (0..4).for_each(|port| drop(world.out_u(ONE, udp((C1, 8000 + port), (S, 53)))));
    world.out_c(ONE, udp((S, 123), slow));
    world.uplink_nothing(udp((R, 53), outers[2]), DropReason::Unsolicited);
}

#[test]
fn p_8_a_flow_is_as_old_as_its_openers_last_packet_for_hours() {
    // Of two flows the far ends keep one each, for longer than the record counts.
    let mut settings = settings();
    settings.quotas.flows_per_client = 2;
    let mut world = World::with(settings, RuleTable::allow_all());
    let high = world.out_u(ONE, udp((C1, 5000), (R, 5004))).from();
    world.out_c(ONE, udp((R, 5004), high));
    for _ in 0..99 {
        world.wait(100);
        world.out_c(ONE, udp((R, 5004), high));
    }
    let low = world.out_u(ONE, udp((C1, 500), (S, 500))).from();
    world.wait(100);
    world.out_c(ONE, udp((R, 5004), high));
    world.out_u(ONE, udp((C1, 6000), (R, 53)));
    world.out_c(ONE, udp((S, 500), low));
    world.uplink_nothing(udp((R, 5004), high), DropReason::Unsolicited);
}
