//! ICMP: conformance I-1 to I-18, V-4 (RFC 5508, RFC 1812 section 4.3, RFC 5927).
#![allow(missing_docs)]

mod errors;
#[path = "../support/mod.rs"]
mod support;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use support::*;

#[test]
fn i_1_an_echo_reply_returns_under_the_clients_identifier() {
    let mut world = World::new();
    let asked = world.out_u(ONE, echo_request(C1, R, 7));
    assert_eq!((asked.source(), asked.icmp_kind()), (F, 8));
    asked.assert_sums();
    let answered = world.out_c(ONE, echo_reply(R, F, asked.icmp_ident()));
    assert_eq!((answered.destination(), answered.icmp_ident()), (C1, 7));
    answered.assert_sums();
}

#[test]
fn i_1_one_identifier_serves_all_remotes_and_no_other_client() {
    let mut world = World::new();
    let ident = world.out_u(ONE, echo_request(C1, R, 7)).icmp_ident();
    assert_eq!(world.out_u(ONE, echo_request(C1, S, 7)).icmp_ident(), ident);
    assert_ne!(world.out_u(TWO, echo_request(C2, R, 7)).icmp_ident(), ident);
}

#[test]
fn q_8_a_ping_of_the_gateway_is_answered_whatever_its_size() {
    let mut world = World::new();
    for size in [0, 8, 1400] {
        let out = world.client(ONE, echo(C1, G, 8, 7, &vec![6; size]).ttl_of(1));
        let answer = only_forward(out, Side::Client(ONE));
        assert_eq!((answer.source(), answer.destination(), answer.icmp_kind()), (G, C1, 0));
        assert_eq!((answer.icmp_ident(), answer.ttl(), answer.payload().len()), (7, 64, size + 8));
        answer.assert_sums();
    }
    only_forward(world.client(ONE, echo_request(C1, F, 7)), Side::Client(ONE));
    assert_eq!(world.flows(), 0);
}

#[test]
fn q_8_other_packets_to_the_gateway_are_refused() {
    let mut world = World::new();
    assert_eq!(world.client_error(ONE, udp((C1, 5000), (G, 53)), DropReason::ForFirewall), (3, 10));
    assert_eq!(
        world.client_error(ONE, tcp((C1, 5000), (G, 22), "S", 1, 0), DropReason::ForFirewall),
        (3, 10)
    );
    assert_eq!(world.client_error(ONE, ip(C1, F, 50, b"esp"), DropReason::ForFirewall), (3, 10));
}

#[test]
fn a_client_may_ping_a_permitted_client_both_ways_with_one_identifier() {
    let mut world = World::with(settings(), permitting());
    only_forward(world.client(ONE, echo_request(C1, C2, 7)), Side::Client(TWO));
    only_forward(world.client(TWO, echo_request(C2, C1, 7)), Side::Client(ONE));
    let answer = only_forward(world.client(TWO, echo_reply(C2, C1, 7)), Side::Client(ONE));
    assert_eq!(answer.source(), C2);
    only_forward(world.client(ONE, echo_reply(C1, C2, 7)), Side::Client(TWO));
    world.client_nothing(ONE, echo_reply(C1, C2, 8), DropReason::EchoUnasked);
}

#[test]
fn v_4_a_ping_of_the_uplink_address_is_answered() {
    let mut world = World::new();
    for size in [0, 8, 1472] {
        let ping = echo(R, F, 8, 7, &vec![6; size]).ttl_of(1).tos(46 << 2).id(0xBEEF);
        let answer = only_forward(world.uplink(ping), Side::Uplink);
        assert_eq!((answer.source(), answer.destination(), answer.icmp_kind()), (F, R, 0));
        assert_eq!((answer.icmp_ident(), answer.ttl(), answer.payload().len()), (7, 64, size + 8));
        assert_eq!((answer.bytes[1], answer.ident()), (46 << 2, 0xBEEF));
        answer.assert_sums();
    }
    assert_eq!((world.flows(), world.engine.counters().between), (0, 3));
}

#[test]
fn v_4_a_ping_with_a_wrong_checksum_is_not_answered() {
    let mut world = World::new();
    let damaged = echo(R, F, 8, 7, &[6; 100]).with_wrong(|bytes| bytes[60] ^= 1);
    assert_eq!(world.uplink(damaged), [Out::Discard(DropReason::IcmpChecksum)]);
    let of_a_client = echo(C1, G, 8, 7, &[6; 100]).with_wrong(|bytes| bytes[60] ^= 1);
    assert_eq!(world.client(ONE, of_a_client), [Out::Discard(DropReason::IcmpChecksum)]);
}

#[test]
fn v_4_so_is_one_in_fragments() {
    let mut world = World::new();
    let pieces = echo(R, F, 8, 7, &[3; 4000]).no_df().ttl_of(1).cut(1500);
    let answers: Vec<TestPacket> =
        pieces.into_iter().map(|piece| only_forward(world.uplink(piece), Side::Uplink)).collect();
    let answer = reassemble(&answers);
    answer.assert_sums();
    assert_eq!((answer.source(), answer.destination(), answer.icmp_kind(), answer.ttl()), (F, R, 0, 64));
    // It shares the numbers of what clients send there.
    let theirs = world.out_u(ONE, echo(C1, R, 8, 7, &[3; 1000]).no_df());
    assert_eq!(theirs.ident(), answer.ident().wrapping_add(1));
}

#[test]
fn v_4_one_whose_answer_is_too_large_for_the_way_back_is_cut_or_its_sender_told() {
    let mut world = World::new();
    world.engine.set_mtu(Side::Uplink, 1400);
    world.engine.set_mtu(Side::Client(ONE), 1300);
    let large = |from, to| echo(from, to, 8, 7, &[6; 1400]);
    let too_big = |out: Vec<Out>| match out.as_slice() {
        [Out::Answer(_, error), Out::Discard(DropReason::TooBig)] => {
            (error[20], error[21], error[26..28].to_vec())
        }
        other => panic!("{other:?}"),
    };
    let told = |mtu: u16| (3, 4, mtu.to_be_bytes().to_vec());
    assert_eq!(too_big(world.uplink(large(R, F))), told(1400));
    assert_eq!(too_big(world.client(ONE, large(C1, G))), told(1300));
    assert_eq!(world.engine.counters().between, 0);
    let pings = [world.uplink(large(R, F).no_df()), world.client(ONE, large(C1, G).no_df())];
    for (out, largest) in pings.iter().zip([1400, 1300]) {
        assert!(matches!(out.as_slice(), [Out::Fragment(_, _, mtu)] if *mtu == largest), "{out:?}");
    }
}

#[test]
fn v_4_the_largest_mtu_leaves_room_for_an_ethernet_header() {
    let mut world = World::new();
    world.engine.set_mtu(Side::Uplink, u16::MAX);
    assert_eq!(world.engine.engine().mtu(Side::Uplink), 65_521);
}

#[test]
fn v_4_not_to_addresses_that_cannot_have_sent_it() {
    let mut world = World::new();
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [203, 0, 113, 255]] {
        world.uplink_nothing(echo_request(source.into(), F, 7), DropReason::Martian);
    }
    for source in [F, C1] {
        world.uplink_nothing(echo_request(source, F, 7), DropReason::InsideSource);
    }
}

#[test]
fn v_4_answers_are_few_fragments_included() {
    let mut world = World::new();
    let rate = settings().quotas.uplink_pings;
    let mut answers = 0;
    for ident in 0..100 {
        for piece in echo(R, F, 8, ident, &[3; 2000]).no_df().id(ident).cut(1500) {
            match world.uplink(piece).as_slice() {
                [Out::Forward(Side::Uplink, _)] => answers += 1,
                [Out::Discard(DropReason::PingRate | DropReason::FragmentRefused)] => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(answers, rate.burst);
    world.uplink_nothing(echo_request(R, F, 7), DropReason::PingRate);
    world.wait(1);
    only_forward(world.uplink(echo_request(R, F, 7)), Side::Uplink);
    // Clients' pings and errors to the uplink are counted apart.
    world.out_u(ONE, echo_request(C1, R, 7));
}

#[test]
fn v_4_the_uplink_address_can_be_silent() {
    let settings = ravelin::engine::Settings {
        uplink_pings: ravelin::engine::settings::UplinkPings::Ignored,
        ..settings()
    };
    let mut world = World::with(settings, ravelin::guard::RuleTable::allow_all());
    world.uplink_nothing(echo_request(R, F, 7), DropReason::ForFirewall);
    let ident = world.out_u(ONE, echo_request(C1, R, 7)).icmp_ident();
    world.out_c(ONE, echo_reply(R, F, ident));
    only_forward(world.client(ONE, echo_request(C1, F, 7)), Side::Client(ONE));
}

#[test]
fn v_4_nobody_is_told_that_an_answer_was_not_delivered() {
    let mut world = World::new();
    let ident = world.out_u(ONE, echo_request(C1, R, 7)).icmp_ident();
    // The pinger has chosen a client's identifier.
    let answer = only_forward(world.uplink(echo_request(R, F, ident)), Side::Uplink);
    world.uplink_nothing(icmp_error(S, F, 3, 1, &answer, 28), DropReason::QuoteUnknown);
    assert_eq!(world.undelivered(ONE, answer), [Out::Discard(DropReason::Unreachable)]);
}

#[test]
fn a_4_a_client_is_told_that_the_next_hop_is_silent() {
    let mut world = World::new();
    for sent in [udp((C1, 5000), (R, 53)), tcp((C1, 5000), (R, 53), "S", 1, 0), echo_request(C1, R, 7)] {
        let left = world.out_u(ONE, sent.clone());
        let out = world.undelivered(ONE, left);
        let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::Unreachable)] = out.as_slice()
        else {
            panic!("{out:?}")
        };
        let error = TestPacket::new(bytes.clone());
        error.assert_sums();
        assert_eq!((error.icmp_kind(), error.icmp_code(), error.source()), (3, 1, G));
        assert_eq!(error.quoted().bytes, sent.bytes);
    }
}

#[test]
fn a_4_a_client_is_told_of_a_packet_whose_flow_is_over_by_then() {
    let mut world = World::new();
    let sent = udp((C1, 5000), (R, 53));
    let left = world.out_u(ONE, sent.clone());
    world.wait(400);
    assert!(world.engine.engine().flows().is_empty());
    let out = world.undelivered(ONE, left);
    let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::Unreachable)] = out.as_slice()
    else {
        panic!("{out:?}")
    };
    assert_eq!(TestPacket::new(bytes.clone()).quoted().bytes, sent.bytes);
}

#[test]
fn a_4_nobody_is_told_of_packets_without_a_flow() {
    let mut world = World::new();
    assert_eq!(world.undelivered(ONE, udp((F, 5000), (R, 53))), [Out::Discard(DropReason::Unreachable)]);
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let received = world.out_c(ONE, udp((R, 53), asked.from()));
    let error = world.out_u(ONE, icmp_error(C1, R, 3, 3, &received, 28));
    assert_eq!(world.undelivered(ONE, error), [Out::Discard(DropReason::Unreachable)]);
}

/// The three times of a timestamp message (RFC 792).
const TIMES: [u8; 12] = [1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn i_18_a_timestamp_query_is_translated_like_an_echo() {
    let mut world = World::new();
    let asked = world.out_u(ONE, echo(C1, R, 13, 7, &TIMES));
    assert_eq!((asked.source(), asked.icmp_kind()), (F, 13));
    asked.assert_sums();
    let answered = world.out_c(ONE, echo(R, F, 14, asked.icmp_ident(), &TIMES));
    assert_eq!((answered.destination(), answered.icmp_kind(), answered.icmp_ident()), (C1, 14, 7));
    answered.assert_sums();
    world.wait(59);
    world.out_c(ONE, echo(R, F, 14, asked.icmp_ident(), &TIMES));
    let error = world.out_c(ONE, icmp_error(S, F, 11, 0, &asked, 48));
    error.assert_sums();
    assert_eq!((error.quoted().source(), error.quoted().icmp_ident()), (C1, 7));
    let refused = world.out_u(ONE, icmp_error(C1, R, 3, 1, &answered, 48));
    refused.assert_sums();
    assert_eq!((refused.quoted().destination(), refused.quoted().icmp_ident()), (F, asked.icmp_ident()));
}

#[test]
fn i_18_echo_and_timestamp_do_not_answer_each_other() {
    let mut world = World::new();
    let ping = world.out_u(ONE, echo_request(C1, R, 7));
    world.uplink_nothing(echo(R, F, 14, ping.icmp_ident(), &TIMES), DropReason::EchoUnasked);
    let time = world.out_u(ONE, echo(C1, R, 13, 7, &TIMES));
    // One endpoint, one identifier.
    assert_eq!(time.icmp_ident(), ping.icmp_ident());
    assert_eq!(world.out_c(ONE, echo(R, F, 14, time.icmp_ident(), &TIMES)).icmp_ident(), 7);
    assert_eq!(world.out_c(ONE, echo_reply(R, F, ping.icmp_ident())).icmp_ident(), 7);
    assert_eq!(world.flows(), 2);
}

#[test]
fn i_18_nobody_asks_the_time_of_clients_or_of_the_firewall() {
    let mut world = World::new();
    world.uplink_nothing(echo(R, F, 13, 7, &TIMES), DropReason::ForFirewall);
    world.uplink_nothing(echo(R, F, 14, 7, &TIMES), DropReason::EchoUnasked);
    world.client_nothing(ONE, echo(C1, R, 14, 7, &TIMES), DropReason::EchoUnasked);
    assert_eq!(world.client_error(ONE, echo(C1, G, 13, 7, &TIMES), DropReason::ForFirewall), (3, 10));
}

#[test]
fn i_18_rules_tell_timestamps_from_echo() {
    for (line, kind) in
        [("action=accept proto=icmp icmptype=8", 8), ("action=accept proto=icmp icmptype=13", 13)]
    {
        let mut world = World::with(settings(), rules(&[line]));
        for asked in [8, 13] {
            let packet = echo(C1, R, asked, 7, &TIMES);
            if asked == kind {
                world.out_u(ONE, packet);
            } else {
                assert_eq!(world.client_error(ONE, packet, DropReason::Rule), (3, 13));
            }
        }
    }
}

#[test]
fn i_18_permitted_clients_may_ask_each_other() {
    let mut world = World::with(settings(), permitting());
    only_forward(world.client(ONE, echo(C1, C2, 13, 7, &TIMES)), Side::Client(TWO));
    only_forward(world.client(TWO, echo(C2, C1, 14, 7, &TIMES)), Side::Client(ONE));
}
