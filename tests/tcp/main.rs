//! TCP: conformance TC-1 to TC-12 (RFC 5382, RFC 7857, RFC 5961, RFC 7413).
#![allow(missing_docs)]

mod reopen;
#[path = "../support/mod.rs"]
mod support;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use support::*;

const CLIENT: (std::net::Ipv4Addr, u16) = (C1, 40000);
const SERVER: (std::net::Ipv4Addr, u16) = (R, 80);

#[test]
fn tc_1_a_simultaneous_open_completes() {
    let mut world = World::new();
    let outer = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0)).from();
    world.out_c(ONE, tcp(SERVER, outer, "S", 5000, 0));
    world.out_u(ONE, tcp(CLIENT, SERVER, "SA", 1000, 5001));
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1001));
    world.out_u(ONE, tcp_with(CLIENT, SERVER, "PA", 1001, 5001, b"data"));
    world.out_c(ONE, tcp_with(SERVER, outer, "PA", 5001, 1005, b"data"));
    world.wait(7_000);
    world.out_c(ONE, tcp(SERVER, outer, "A", 5005, 1005));
}

#[test]
fn tc_2_an_unsolicited_syn_is_never_answered() {
    let mut world = World::new();
    for _ in 0..10 {
        world.uplink_nothing(tcp(SERVER, (F, 4000), "S", 1, 0), DropReason::Unsolicited);
        world.wait(1);
    }
}

#[test]
fn tc_2_nor_is_one_to_a_port_that_is_used() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.uplink_nothing(tcp((S, 80), outer, "S", 1, 0), DropReason::Unsolicited);
}

#[test]
fn tc_3_a_reset_out_of_the_window_does_not_close() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    for sequence in [5100, 5101 + 8193, 0, 0xFFFF_0000] {
        world.out_c(ONE, tcp(SERVER, outer, "R", sequence, 0));
    }
    world.wait(300);
    world.out_c(ONE, tcp(SERVER, outer, "A", 5101, 1101));
    world.out_c(ONE, tcp(SERVER, outer, "R", 5101 + 8192, 0));
    world.wait(300);
    world.uplink_nothing(tcp(SERVER, outer, "A", 5101, 1101), DropReason::Unsolicited);
}

#[test]
fn tc_3_a_window_that_is_scaled_takes_resets_as_far_as_it_reaches() {
    let mut world = World::new();
    // Both ends scale by 2 ^ 7: options NOP, window scale 7.
    let scaled = |packet: TestPacket| {
        let mut packet = packet;
        packet.bytes.extend([1, 3, 3, 7]);
        packet.bytes[32] = 6 << 4;
        let total = packet.bytes.len() as u16;
        packet.put_u16(2, total);
        packet.with(|_| ())
    };
    let outer = world.out_u(ONE, scaled(tcp(CLIENT, SERVER, "S", 1000, 0))).from();
    world.out_c(ONE, scaled(tcp(SERVER, outer, "SA", 5000, 1001)));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 1001, 5001));
    world.out_c(ONE, tcp(SERVER, outer, "R", 5001 + (8192 << 7) + 1, 0));
    world.wait(300);
    world.out_c(ONE, tcp(SERVER, outer, "R", 5001 + (8192 << 7), 0));
    world.wait(300);
    world.uplink_nothing(tcp(SERVER, outer, "A", 5001, 1001), DropReason::Unsolicited);
}

#[test]
fn tc_3_segments_that_nobody_can_have_sent_do_not_move_the_window() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    // Somebody who knows the addresses and ports, but no sequence number.
    world.out_c(ONE, tcp(SERVER, outer, "A", 0x6000_0000, 0x6000_0000));
    world.out_c(ONE, tcp(SERVER, outer, "FA", 0x6000_0000, 0x6000_0000));
    world.out_c(ONE, tcp(SERVER, outer, "R", 0x6000_0000, 0));
    world.wait(7_000);
    world.out_c(ONE, tcp(SERVER, outer, "A", 5101, 1101));
}

#[test]
fn tc_4_a_segment_of_an_unknown_connection_is_answered_with_a_reset() {
    let mut world = World::new();
    let out = world.client(ONE, tcp_with(CLIENT, SERVER, "PA", 7777, 8888, b"hello"));
    let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::TcpMidstream)] = out.as_slice()
    else {
        panic!("{out:?}");
    };
    let reset = TestPacket::new(bytes.clone());
    reset.assert_sums();
    assert_eq!((reset.from(), reset.to()), (SERVER, CLIENT));
    assert_eq!((reset.bytes[33], reset.u32_at(24)), (flags("R"), 8888));
    assert_eq!(world.flows(), 0);
}

#[test]
fn tc_4_a_reset_of_an_unknown_connection_is_not_answered() {
    let mut world = World::new();
    world.client_nothing(ONE, tcp(CLIENT, SERVER, "R", 7777, 0), DropReason::TcpMidstream);
}

#[test]
fn tc_4_resets_are_rate_limited() {
    let mut world = World::new();
    let mut answers = 0;
    for port in 0..1000 {
        answers += world.client(ONE, tcp((C1, 2000 + port), SERVER, "A", 1, 1)).len() - 1;
    }
    assert_eq!(answers, 50);
    assert_eq!(world.engine.counters().unanswered, 950);
}

#[test]
fn tc_5_impossible_flags_are_dropped() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    for letters in ["SF", "SR", "", "F", "FPU", "SFA", "FR", "FRA", "SRA", "P", "U"] {
        world.client_nothing(ONE, tcp(CLIENT, SERVER, letters, 1101, 5101), DropReason::TcpFlags);
        world.uplink_nothing(tcp(SERVER, outer, letters, 5101, 1101), DropReason::TcpFlags);
    }
}

#[test]
fn tc_7_a_syn_after_both_fins_opens_anew_on_the_same_mapping() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.out_u(ONE, tcp(CLIENT, SERVER, "FA", 1101, 5101));
    world.out_c(ONE, tcp(SERVER, outer, "FA", 5101, 1102));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 1102, 5102));
    // Not from the other end.
    world.uplink_nothing(tcp(SERVER, outer, "S", 1, 0), DropReason::TcpState);
    let syn = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 90_000, 0));
    assert_eq!(syn.from(), outer);
    world.out_c(ONE, tcp(SERVER, outer, "SA", 70_000, 90_001));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 90_001, 70_001));
    world.wait(7_000);
    world.out_c(ONE, tcp(SERVER, outer, "A", 70_001, 90_001));
    assert_eq!(world.flows(), 1);
}

#[test]
fn tc_7_a_syn_after_a_reset_opens_anew() {
    let mut world = World::new();
    let outer = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0)).from();
    world.out_c(ONE, tcp(SERVER, outer, "RA", 0, 1001));
    assert_eq!(world.out_u(ONE, tcp(CLIENT, SERVER, "S", 2000, 0)).from(), outer);
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 2001));
}

#[test]
fn a_syn_that_meets_an_old_connection_gets_its_challenge_and_resets_it() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    // The client forgot the connection and opens it anew; the server challenges (RFC 5961 section 4).
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 77_000, 0));
    world.out_c(ONE, tcp(SERVER, outer, "A", 5101, 1101));
    world.out_u(ONE, tcp(CLIENT, SERVER, "R", 1101, 0));
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 77_000, 0));
    world.out_c(ONE, tcp(SERVER, outer, "SA", 6000, 77_001));
    world.out_u(ONE, tcp(CLIENT, SERVER, "A", 77_001, 6001));
    world.wait(7_000);
    world.out_c(ONE, tcp(SERVER, outer, "A", 6001, 77_001));
}

#[test]
fn a_syn_to_a_server_that_remembers_gets_its_challenge() {
    let mut world = World::new();
    let outer = world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0)).from();
    world.out_c(ONE, tcp(SERVER, outer, "A", 8000, 9000));
    world.out_u(ONE, tcp(CLIENT, SERVER, "R", 9000, 0));
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0));
    world.out_c(ONE, tcp(SERVER, outer, "SA", 5000, 1001));
}

#[test]
fn data_before_the_handshake_is_dropped() {
    let mut world = World::new();
    world.out_u(ONE, tcp(CLIENT, SERVER, "S", 1000, 0));
    world.client_nothing(ONE, tcp_with(CLIENT, SERVER, "PA", 1001, 5001, b"x"), DropReason::TcpState);
}

#[test]
fn tc_8_everything_but_address_port_sum_and_ttl_is_as_it_came() {
    let mut world = World::new();
    let sent = tcp(CLIENT, SERVER, "SECU", 1000, 0).with(|bytes| {
        bytes[32] |= 1;
        bytes[38..40].copy_from_slice(&[0x12, 0x34]);
    });
    let got = world.out_u(ONE, sent.clone());
    got.assert_sums();
    let mut expected = sent.bytes.clone();
    expected[8] -= 1;
    expected[12..16].copy_from_slice(&F.octets());
    expected[20..22].copy_from_slice(&got.bytes[20..22]);
    expected[10..12].copy_from_slice(&got.bytes[10..12]);
    expected[36..38].copy_from_slice(&got.bytes[36..38]);
    assert_eq!(got.bytes, expected);
}

#[test]
fn tc_6_destination_unreachable_about_a_connection_reaches_its_client() {
    let mut world = World::new();
    let outer = world.open_tcp(CLIENT.1);
    let sent = world.out_u(ONE, tcp_with(CLIENT, SERVER, "PA", 1101, 5101, &[b'z'; 900]));
    for code in 0..=15 {
        let error = world.out_c(ONE, icmp_error(S, F, 3, code, &sent, 28));
        assert_eq!((error.source(), error.destination(), error.icmp_code()), (S, C1, code));
        assert_eq!((error.quoted().from(), error.quoted().to()), (CLIENT, SERVER));
    }
    // What it makes of that is the client's to decide: the connection goes on.
    world.out_c(ONE, tcp_with(SERVER, outer, "PA", 5101, 2001, &[b'y'; 100]));
}

#[test]
fn tc_9_the_mss_of_a_syn_is_not_touched() {
    let mut world = World::new();
    let mut syn = tcp(CLIENT, SERVER, "S", 1000, 0);
    syn.bytes.extend([2, 4, 0x05, 0xB4]);
    syn.bytes[32] = 6 << 4;
    syn.put_u16(2, 44);
    let got = world.out_u(ONE, syn.with(|_| ()));
    assert_eq!(got.bytes[40..], [2, 4, 0x05, 0xB4]);
}

#[test]
fn tc_10_a_wrong_checksum_leaves_wrong_by_the_same_amount() {
    let error = |packet: &TestPacket| {
        let sum = u32::from(packet.verified_sum());
        sum % 0xFFFF
    };
    let mut world = World::new();
    for wrong in [1u16, 0x00FF, 0x8000, 0xFFFE] {
        let sent = tcp(CLIENT, SERVER, "S", 1000, 0);
        let sum = sent.layer4_sum();
        let sent =
            sent.with_wrong(|bytes| bytes[36..38].copy_from_slice(&sum.wrapping_add(wrong).to_be_bytes()));
        let got = world.out_u(ONE, sent.clone());
        assert_ne!(error(&sent), 0);
        assert_eq!(error(&got), error(&sent));
    }
}

#[test]
fn tc_10_a_checksum_of_zero_is_legal_in_tcp() {
    let mut world = World::new();
    // Of all sequence numbers one gives a sum of zero.
    let sent = (0..=0xFFFFu32)
        .map(|sequence| tcp(CLIENT, SERVER, "S", sequence, 0))
        .find(|packet| packet.layer4_sum() == 0)
        .unwrap();
    world.out_u(ONE, sent).assert_sums();
    let zero_outside = (0..=0xFFFFu32).find_map(|sequence| {
        let got = world.out_u(ONE, tcp(CLIENT, SERVER, "S", sequence, 0));
        (got.layer4_sum() == 0).then_some(got)
    });
    zero_outside.unwrap().assert_sums();
}

#[test]
fn a_forwarded_port_takes_connections_from_outside() {
    let mut world = World::with(settings(), forwarding(&[(6, 8080, C1, 80)]));
    let remote = (R, 50_000);
    let got = world.out_c(ONE, tcp(remote, (F, 8080), "S", 1000, 0));
    assert_eq!(got.to(), (C1, 80));
    got.assert_sums();
    let answer = world.out_u(ONE, tcp((C1, 80), remote, "SA", 5000, 1001));
    assert_eq!(answer.from(), (F, 8080));
    answer.assert_sums();
    world.out_c(ONE, tcp(remote, (F, 8080), "A", 1001, 5001));
    world.wait(7_000);
    world.out_u(ONE, tcp_with((C1, 80), remote, "PA", 5001, 1001, b"data"));
    world.uplink_nothing(tcp(remote, (F, 8081), "S", 1000, 0), DropReason::Unsolicited);
}

#[test]
fn a_forwarded_port_takes_a_new_connection_after_the_old_one_closed() {
    let mut world = World::with(settings(), forwarding(&[(6, 8080, C1, 80)]));
    let remote = (R, 50_000);
    world.out_c(ONE, tcp(remote, (F, 8080), "S", 1000, 0));
    world.out_u(ONE, tcp((C1, 80), remote, "SA", 5000, 1001));
    world.out_c(ONE, tcp(remote, (F, 8080), "A", 1001, 5001));
    world.out_c(ONE, tcp(remote, (F, 8080), "FA", 1001, 5001));
    world.out_u(ONE, tcp((C1, 80), remote, "FA", 5001, 1002));
    world.out_c(ONE, tcp(remote, (F, 8080), "S", 99_000, 0));
    world.out_u(ONE, tcp((C1, 80), remote, "SA", 7000, 99_001));
}

#[test]
fn two_ports_forwarded_to_one_are_not_confused() {
    let mut world = World::with(settings(), forwarding(&[(6, 8080, C1, 80), (6, 8081, C1, 80)]));
    let remote = (R, 50_000);
    world.out_c(ONE, tcp(remote, (F, 8080), "S", 1000, 0));
    world.uplink_nothing(tcp(remote, (F, 8081), "S", 1000, 0), DropReason::ProtocolBusy);
    world.out_c(ONE, tcp((S, 50_000), (F, 8081), "S", 1000, 0));
    assert_eq!(world.out_u(ONE, tcp((C1, 80), (S, 50_000), "SA", 1, 1001)).from(), (F, 8081));
}

#[test]
fn permitted_clients_connect_without_translation() {
    let mut world = World::with(settings(), permitting());
    let got = only_forward(world.client(ONE, tcp(CLIENT, (C2, 22), "S", 1000, 0)), Side::Client(TWO));
    assert_eq!((got.from(), got.to(), got.ttl()), (CLIENT, (C2, 22), 63));
    got.assert_sums();
    let answer = only_forward(world.client(TWO, tcp((C2, 22), CLIENT, "SA", 5000, 1001)), Side::Client(ONE));
    answer.assert_sums();
    only_forward(world.client(ONE, tcp(CLIENT, (C2, 22), "A", 1001, 5001)), Side::Client(TWO));
    world.wait(7_000);
    only_forward(world.client(TWO, tcp((C2, 22), CLIENT, "A", 5001, 1001)), Side::Client(ONE));
    assert_eq!(world.flows(), 1);
}

#[test]
fn clients_do_not_connect_unless_permitted() {
    let mut world = World::new();
    assert_eq!(world.client_error(ONE, tcp(CLIENT, (C2, 22), "S", 1000, 0), DropReason::Rule), (3, 13));
}
