//! Data in a SYN, and connections over older ones: conformance TC-11 and TC-12.

use super::*;
use crate::support::*;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;

/// A SYN with a hundred bytes.
fn fast_open() -> TestPacket {
    tcp_with(CLIENT, SERVER, "S", 1000, 0, &[b'q'; 100])
}

/// The connection lives for hours: it counts as open.
#[track_caller]
fn lives_on(world: &mut World, outer: (std::net::Ipv4Addr, u16), sequence: u32, acknowledgement: u32) {
    world.wait(7_000);
    world.out_c(ONE, tcp(SERVER, outer, "A", sequence, acknowledgement));
}

#[test]
fn tc_11_a_server_may_take_the_syn_and_none_or_some_of_its_data() {
    for taken in [1001, 1050] {
        let mut world = World::new();
        let outer = world.out_u(ONE, fast_open()).from();
        world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, taken));
        world.out_u(ONE, tcp(CLIENT, SERVER, "A", taken, 5001));
        world.out_u(ONE, tcp_with(CLIENT, SERVER, "PA", taken, 5001, &vec![b'q'; 1101 - taken as usize]));
        world.out_c(ONE, tcp(SERVER, outer, "A", 5001, 1101));
        lives_on(&mut world, outer, 5001, 1101);
    }
}

#[test]
fn tc_11_a_server_that_took_the_data_may_answer_before_the_handshake_is_complete() {
    let mut world = World::new();
    let outer = world.out_u(ONE, fast_open()).from();
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1101));
    world.out_c(ONE, tcp_with(SERVER, outer, "PA", 5001, 1101, &[b'y'; 100]));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 1101, 5101));
    lives_on(&mut world, outer, 5101, 1101);
}

#[test]
fn tc_11_a_syn_sent_again_without_its_data_may_still_be_answered_with_it() {
    let mut world = World::new();
    let outer = world.out_u(ONE, fast_open()).from();
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0));
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1101));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 1101, 5001));
    lives_on(&mut world, outer, 5001, 1101);
}

#[test]
fn tc_11_a_refusal_may_acknowledge_the_data_or_not() {
    for taken in [1001, 1101] {
        let mut world = World::new();
        let outer = world.out_u(ONE, fast_open()).from();
        world.out_c(ONE, tcp(SERVER, outer, "RA", 0, taken));
        // The refusal counts: a new SYN opens anew at once, and is what the next answer is for.
        world.out_u(ONE, tcp(CLIENT, SERVER, "S", 90_000, 0));
        world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 90_001));
        world.out_u(ONE, tcp(CLIENT, SERVER, "A", 90_001, 5001));
    }
}

#[test]
fn tc_11_an_answer_to_another_syn_opens_nothing_and_its_refusal_passes() {
    let mut world = World::new();
    let outer = world.out_u(ONE, fast_open()).from();
    for wrong in [1000, 1102, 0x8000_0000] {
        world.out_c(ONE, tcp(SERVER, outer, "SA", 70_000, wrong));
        // No TCP accepts it: it answers with a RST (RFC 9293 section 3.10.7.3).
        world.out_u(ONE, tcp(CLIENT, SERVER, "R", wrong, 0));
    }
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1001));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 1001, 5001));
    lives_on(&mut world, outer, 5001, 1001);
}

#[test]
fn tc_11_a_simultaneous_open_completes_whether_or_not_its_data_is_taken() {
    for taken in [1001, 1101] {
        let mut world = World::new();
        let outer = world.out_u(ONE, fast_open()).from();
        world.out_c(ONE, tcp(SERVER, outer, "S", 5000, 0));
        world.out_u(ONE, tcp(CLIENT, SERVER, "SA", 1000, 5001));
        world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, taken));
        lives_on(&mut world, outer, 5001, taken);
    }
}

#[test]
fn tc_11_an_error_about_a_syn_with_data_reaches_its_client() {
    let mut world = World::new();
    let syn = world.out_u(ONE, fast_open());
    world.out_c(ONE, icmp_error(S, F, 3, 1, &syn, 28));
}

/// What is new on the flow is tracked: an error about it comes back, and both FINs end it.
#[track_caller]
fn is_tracked(world: &mut World, outer: (std::net::Ipv4Addr, u16), sequence: u32, acknowledgement: u32) {
    let data = [b'x'; 1400];
    let big = world.out_u(ONE, tcp_with(CLIENT, SERVER, "A", sequence, acknowledgement, &data));
    world.out_c(ONE, icmp_error(S, F, 3, 4, &big, 28));
    world.out_u(ONE, tcp(CLIENT, SERVER, "FA", sequence + 1400, acknowledgement));
    world.out_c(ONE, tcp(SERVER, outer, "FA", acknowledgement, sequence + 1401));
    world.wait(242);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tc_12_a_new_connection_over_an_open_one_is_taken_up_at_its_answer() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    // The server has rebooted; the client connects again from the same port.
    let syn = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 900_000_000, 0));
    world.out_c(ONE, icmp_error(S, F, 3, 1, &syn, 28));
    world.out_c(ONE, tcp(SERVER, outer, "SA", 3_000_000_000, 900_000_001));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 900_000_001, 3_000_000_001));
    is_tracked(&mut world, outer, 900_000_001, 3_000_000_001);
}

#[test]
fn tc_12_so_is_one_over_a_handshake_and_one_with_data() {
    for taken in [77_001, 77_101] {
        let mut world = World::new();
        let outer = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0)).from();
        world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1001));
        world.out_u(ONE, tcp_with(CLIENT, SERVER, "S", 77_000, 0, &[b'q'; 100]));
        world.out_c(ONE, tcp(SERVER, outer, "SA", 9000, taken));
        world.out_u(ONE, tcp(CLIENT, SERVER, "A", taken, 9001));
        is_tracked(&mut world, outer, taken, 9001);
    }
}

#[test]
fn tc_12_only_the_answer_to_the_syn_that_passed_takes_the_place_of_a_connection() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_c(ONE, tcp(SERVER, outer, "SA", 9000, 77_001));
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 77_000, 0));
    for wrong in [77_000, 77_002, 1101] {
        world.out_c(ONE, tcp(SERVER, outer, "SA", 9000, wrong));
        world.out_c(ONE, tcp(SERVER, outer, "RA", 0, wrong));
    }
    // The server challenges, and the connection was the client's after all.
    world.out_c(ONE, tcp(SERVER, outer, "A", 5101, 1101));
    is_tracked(&mut world, outer, 1101, 5101);
}

#[test]
fn tc_12_of_two_answers_to_a_syn_the_one_counts_that_is_taken() {
    for (taken, syns) in [(5000, 1), (5000, 2), (900_000_000, 1), (900_000_000, 2)] {
        let mut world = World::new();
        let outer = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0)).from();
        world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1001));
        if syns == 2 {
            world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0));
        }
        world.out_c(ONE, tcp(SERVER, outer, "SA", 900_000_000, 1001));
        // A third one is nobody's: it acknowledges what was not sent.
        world.out_c(ONE, tcp(SERVER, outer, "SA", 7_000_000, 9001));
        world.out_u(ONE, tcp(CLIENT, SERVER, "A", 1001, taken + 1));
        lives_on(&mut world, outer, taken + 1, 1001);
        is_tracked(&mut world, outer, 1001, taken + 1);
    }
}

#[test]
fn tc_12_a_refusal_of_the_new_connection_ends_the_old_one() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 77_000, 0));
    world.out_c(ONE, tcp(SERVER, outer, "RA", 0, 77_001));
    world.wait(242);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tc_12_the_far_end_of_a_forwarded_port_connects_again() {
    let mut world = World::with(settings(), forwarding(&[(6, 8080, C1, 80)]));
    let (remote, port, client) = ((R, 9000), (F, 8080), (C1, 80));
    world.out_c(ONE, tcp(remote, port, "S", 1, 0));
    world.out_u(ONE, tcp(client, remote, "SA", 7, 2));
    world.out_c(ONE, tcp(remote, port, "A", 2, 8));
    // Both have rebooted.
    world.out_c(ONE, tcp(remote, port, "S", 500_000, 0));
    world.out_u(ONE, tcp(client, remote, "SA", 77_000, 500_001));
    world.out_c(ONE, tcp(remote, port, "A", 500_001, 77_001));
    let data = world.out_c(ONE, tcp_with(remote, port, "A", 500_001, 77_001, &[1; 900]));
    world.out_u(ONE, icmp_error(C1, R, 3, 4, &data, 28));
    world.out_c(ONE, tcp(remote, port, "FA", 500_901, 77_001));
    world.out_u(ONE, tcp(client, remote, "FA", 77_001, 500_902));
    world.wait(242);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tc_12_so_does_a_permitted_client() {
    let mut world = World::with(settings(), permitting());
    let (one, two) = (CLIENT, (C2, 22));
    let there = |world: &mut World, packet| only_forward(world.client(ONE, packet), Side::Client(TWO));
    let back = |world: &mut World, packet| only_forward(world.client(TWO, packet), Side::Client(ONE));
    for (first, answer) in [(1000, 5000), (900_000, 800_000)] {
        there(&mut world, tcp(one, two, "S", first, 0));
        back(&mut world, tcp(two, one, "SA", answer, first + 1));
        there(&mut world, tcp(one, two, "A", first + 1, answer + 1));
    }
    there(&mut world, tcp(one, two, "FA", 900_001, 800_001));
    back(&mut world, tcp(two, one, "FA", 800_001, 900_002));
    world.wait(242);
    assert_eq!(world.flows(), 0);
}

#[test]
fn tc_12_the_other_end_opens_only_what_the_rules_let_it() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    // A client that rebooted and listens on that port is not reached.
    world.uplink_nothing(tcp(SERVER, outer, "S", 1, 0), DropReason::TcpState);
    world.out_c(ONE, tcp(SERVER, outer, "A", 5101, 1101));
}

#[test]
fn tc_12_the_other_end_may_open_by_a_forwarded_port() {
    let mut world = World::with(settings(), forwarding(&[(6, 6881, C1, 6881)]));
    let (client, peer, port) = ((C1, 6881), (R, 6881), (F, 6881));
    // Refused calls out are followed by a call in.
    assert_eq!(world.out_u(ONE, tcp(client, peer, "S", 1, 0)).from(), port);
    world.out_c(ONE, tcp(peer, port, "RA", 0, 2));
    for (first, answer) in [(50, 9000), (700_000, 800_000)] {
        // The second time the client's own call was open, and both have rebooted.
        world.out_c(ONE, tcp(peer, port, "S", first, 0));
        if first > 50 {
            world.client_nothing(ONE, tcp(client, peer, "SA", answer, first + 1), DropReason::TcpState);
            world.out_c(ONE, tcp(peer, port, "S", first, 0));
        }
        world.out_u(ONE, tcp(client, peer, "SA", answer, first + 1));
        world.out_c(ONE, tcp(peer, port, "A", first + 1, answer + 1));
        world.out_c(ONE, tcp(peer, port, "R", first + 1, 0));
        if first == 50 {
            world.out_u(ONE, tcp(client, peer, "S", 30_000, 0));
            world.out_c(ONE, tcp(peer, port, "SA", 40_000, 30_001));
            world.out_u(ONE, tcp(client, peer, "A", 30_001, 40_001));
        }
    }
    assert_eq!(world.flows(), 1);
}
