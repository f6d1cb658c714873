//! Errors and what they quote: conformance I-2 to I-17.

use crate::support::*;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use ravelin::engine::small::SmallVerdict;
use ravelin::wire::packet::Checksum;

#[test]
fn i_2_an_error_with_a_wrong_checksum_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let error = icmp_error(R, F, 3, 3, &asked, 28);
    world.uplink_nothing(error.clone().with_wrong(|bytes| bytes[22] ^= 1), DropReason::IcmpChecksum);
    let mut validated = error.with_wrong(|bytes| bytes[22] ^= 1);
    validated.offload.checksum = Checksum::Validated;
    world.out_c(ONE, validated);
}

#[test]
fn i_2_a_long_error_with_a_wrong_checksum_stays_wrong() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp_with((C1, 5000), (R, 53), &[9; 1200]));
    let error = icmp_error(R, F, 3, 3, &asked, 1200).with_wrong(|bytes| bytes[22] ^= 1);
    assert_ne!(world.out_c(ONE, error).verified_sum(), 0xFFFF);
    world.out_c(ONE, icmp_error(R, F, 3, 3, &asked, 1200)).assert_sums();
}

#[test]
fn i_3_a_quote_with_a_wrong_header_checksum_is_dropped() {
    let mut world = World::new();
    let mut asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    asked.bytes[10] ^= 1;
    world.uplink_nothing(icmp_error(R, F, 3, 3, &asked, 28), DropReason::QuoteChecksum);
}

#[test]
fn i_4_options_in_the_quote_are_stepped_over() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)).options(&[1, 1, 1, 1]));
    let error = world.out_c(ONE, icmp_error(R, F, 3, 3, &asked, 32));
    assert_eq!(error.quoted().from(), (C1, 5000));
    error.assert_sums();
}

#[test]
fn i_5_an_error_is_translated_with_all_its_sums() {
    let mut world = World::new();
    let sent = udp((C1, 5000), (R, 53));
    let asked = world.out_u(ONE, sent.clone());
    let error = world.out_c(ONE, icmp_error(S, F, 3, 3, &asked, 200));
    assert_eq!((error.source(), error.destination()), (S, C1));
    error.assert_sums();
    let quoted = error.quoted();
    assert_eq!((quoted.from(), quoted.to()), ((C1, 5000), (R, 53)));
    // All of the packet is quoted, so its own sums must be right again.
    quoted.assert_sums();
    assert_eq!(quoted.payload(), sent.payload());
}

#[test]
fn i_5_what_lies_behind_a_small_error_is_no_part_of_its_quote() {
    let mut world = World::new();
    for sent in [tcp((C1, 5000), (R, 53), "S", 1000, 0), echo_request(C1, R, 7), ip(C1, R, 33, &[5; 20])] {
        let asked = world.out_u(ONE, sent);
        for quoted in 28..=asked.bytes.len() {
            let error = icmp_error(S, F, 11, 0, &asked, quoted);
            let mut padded = error.bytes.clone();
            padded.extend([0x5a; 24]);
            let verdict =
                world.engine.judge_small(world.now, Side::Uplink, &mut padded, Checksum::Unverified);
            assert!(matches!(verdict, SmallVerdict::Passed(_)), "{verdict:?}");
            let expected = world.out_c(ONE, error);
            assert_eq!(padded[..expected.bytes.len()], expected.bytes, "{quoted}");
        }
    }
}

#[test]
fn i_5_any_truncation_of_any_protocol_is_translated() {
    let mut world = World::new();
    let packets = [
        udp_with((C1, 5000), (R, 53), b"question"),
        tcp_with((C1, 5000), (R, 53), "S", 1000, 0, b""),
        echo_request(C1, R, 7),
        ip(C1, R, 50, b"encrypted"),
    ];
    for sent in packets {
        let asked = world.out_u(ONE, sent.clone());
        for quoted in 28..=asked.bytes.len() {
            let error = world.out_c(ONE, icmp_error(S, F, 11, 0, &asked, quoted));
            error.assert_sums();
            let mut expected = sent.clone();
            expected.bytes[8] -= 1;
            expected.fix_ip_sum();
            // Half a checksum cannot be changed.
            let compared = if sent.protocol() == 6 && quoted == 37 { 36 } else { quoted };
            assert_eq!(error.quoted().bytes[..compared], expected.bytes[..compared], "{sent:?} {quoted}");
        }
    }
}

#[test]
fn i_5_frag_needed_keeps_its_mtu() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    let data = world.out_u(ONE, tcp_with((C1, 40000), (R, 80), "A", 1101, 5101, &[1; 1000]));
    assert_eq!(data.from(), outer);
    let error = icmp_error(S, F, 3, 4, &data, 28).with(|bytes| bytes[26..28].copy_from_slice(&[5, 0]));
    let got = world.out_c(ONE, error);
    assert_eq!(got.u16_at(26), 1280);
    got.assert_sums();
}

#[test]
fn i_6_an_error_about_no_flow_is_dropped_silently() {
    let mut world = World::new();
    world.uplink_nothing(icmp_error(R, F, 3, 3, &udp((F, 5000), (R, 53)), 28), DropReason::QuoteUnknown);
}

#[test]
fn i_7_a_clients_error_hides_the_client() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    let answer = udp((R, 53), outer);
    let received = world.out_c(ONE, answer.clone());
    let error = world.out_u(ONE, icmp_error(C1, R, 3, 3, &received, 200));
    assert_eq!((error.source(), error.destination()), (F, R));
    error.assert_sums();
    let quoted = error.quoted();
    assert_eq!((quoted.from(), quoted.to()), ((R, 53), outer));
    quoted.assert_sums();
}

#[test]
fn i_7_a_clients_error_must_be_about_a_packet_to_itself() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    let received = world.out_c(ONE, udp((R, 53), outer));
    world.client_nothing(ONE, icmp_error(C1, S, 3, 3, &received, 28), DropReason::QuoteMisdirected);
    world.client_nothing(TWO, icmp_error(C2, R, 3, 3, &received, 28), DropReason::QuoteMisdirected);
    world.client_nothing(
        ONE,
        icmp_error(C1, R, 3, 3, &udp((R, 54), (C1, 5000)), 28),
        DropReason::QuoteUnknown,
    );
}

#[test]
fn i_8_the_layer_4_sum_of_a_quote_is_not_verified() {
    let mut world = World::new();
    let mut asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    asked.bytes[26] ^= 0x55;
    world.out_c(ONE, icmp_error(R, F, 3, 3, &asked, 33)).assert_sums();
}

#[test]
fn i_9_extensions_and_their_length_are_kept() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp_with((C1, 5000), (R, 53), &[3; 200]));
    let mut message = vec![11, 0, 0, 0, 0, 32, 0, 0];
    message.extend(&asked.bytes[..128]);
    // An MPLS label stack (RFC 4950) in an extension structure (RFC 4884).
    let extension = [0x20, 0, 0x12, 0x34, 0, 8, 1, 1, 0x00, 0x01, 0x41, 0x01];
    message.extend(extension);
    let got = world.out_c(ONE, icmp(S, F, &message));
    assert!(got.bytes.ends_with(&extension));
    assert_eq!(got.payload()[4..8], [0, 32, 0, 0]);
    got.assert_sums();
}

#[test]
fn i_10_unreachable_time_exceeded_and_parameter_problem_pass() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    for kind in [3, 11, 12] {
        assert_eq!(world.out_c(ONE, icmp_error(S, F, kind, 0, &asked, 28)).icmp_kind(), kind);
    }
}

#[test]
fn i_10_a_quote_with_another_port_than_the_flows_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let other = asked.clone().with(|bytes| bytes[23] ^= 1);
    world.uplink_nothing(icmp_error(S, F, 3, 3, &other, 28), DropReason::QuoteUnknown);
    let other = asked.with(|bytes| bytes[21] ^= 1);
    world.uplink_nothing(icmp_error(S, F, 3, 3, &other, 28), DropReason::QuoteUnknown);
}

#[test]
fn i_11_a_client_that_has_no_session_left_is_told() {
    let mut settings = settings();
    settings.quotas.ports_per_client = 1;
    let mut world = World::with(settings, ravelin::guard::RuleTable::allow_all());
    world.open_tcp(5000);
    assert_eq!(world.client_error(ONE, tcp((C1, 5001), (R, 80), "S", 1, 0), DropReason::PortLimit), (3, 13));
}

#[test]
fn i_12_other_messages_are_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    for kind in [4, 5, 9, 10, 15, 16, 17, 18, 30, 42, 255] {
        world.uplink_nothing(icmp_error(S, F, kind, 0, &asked, 28), DropReason::IcmpKind);
        world.client_nothing(ONE, icmp_error(C1, S, kind, 0, &asked, 28), DropReason::IcmpKind);
    }
}

#[test]
fn i_13_an_error_must_go_to_the_sender_of_what_it_quotes() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let foreign = asked.with(|bytes| bytes[12..16].copy_from_slice(&S.octets()));
    world.uplink_nothing(icmp_error(S, F, 3, 3, &foreign, 28), DropReason::QuoteMisdirected);
}

#[test]
fn i_13_a_forged_sequence_number_is_not_believed() {
    let mut world = World::new();
    world.open_tcp(40000);
    let data = world.out_u(ONE, tcp_with((C1, 40000), (R, 80), "A", 1101, 5101, &[1; 1000]));
    for sequence in [1101 + 1001, 0x8000_0000, 0xF000_0000u32] {
        let forged = data.clone().with(|bytes| bytes[24..28].copy_from_slice(&sequence.to_be_bytes()));
        world.uplink_nothing(icmp_error(S, F, 3, 4, &forged, 28), DropReason::QuoteSequence);
    }
    world.out_c(ONE, icmp_error(S, F, 3, 4, &data, 28));
}

#[test]
fn i_13_before_the_handshake_only_the_syn_can_be_quoted() {
    let mut world = World::new();
    let syn = world.out_u(ONE, tcp((C1, 40000), (R, 80), "S", 1000, 0));
    let forged = syn.clone().with(|bytes| bytes[24] ^= 0x80);
    world.uplink_nothing(icmp_error(S, F, 3, 1, &forged, 28), DropReason::QuoteSequence);
    world.out_c(ONE, icmp_error(S, F, 3, 1, &syn, 28));
}

#[test]
fn a_quote_too_short_to_be_read_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    for quoted in [0, 1, 19, 20, 27] {
        world.uplink_nothing(icmp_error(S, F, 3, 3, &asked, quoted), DropReason::QuoteBroken);
    }
    world.uplink_nothing(icmp(S, F, &[3, 3, 0, 0]), DropReason::IcmpHeader);
}

#[test]
fn an_error_about_an_error_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let error = icmp_error(F, R, 3, 3, &asked, 28);
    world.uplink_nothing(icmp_error(S, F, 3, 3, &error, 56), DropReason::QuoteUnknown);
}

#[test]
fn an_error_about_a_later_fragment_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let fragment = asked.with_wrong(|bytes| bytes[7] = 3);
    world.uplink_nothing(icmp_error(S, F, 11, 1, &fragment, 28), DropReason::QuoteUnknown);
}

#[test]
fn a_ping_can_only_be_quoted_as_it_was_sent() {
    let mut world = World::new();
    let asked = world.out_u(ONE, echo_request(C1, R, 7));
    let reply = asked.clone().with(|bytes| bytes[20] = 0);
    world.uplink_nothing(icmp_error(S, F, 3, 1, &reply, 28), DropReason::QuoteUnknown);
    world.out_c(ONE, icmp_error(S, F, 3, 1, &asked, 28));
}

#[test]
fn errors_pass_between_permitted_clients() {
    let mut world = World::with(settings(), permitting());
    let asked = only_forward(world.client(ONE, udp((C1, 5000), (C2, 53))), Side::Client(TWO));
    let error = only_forward(world.client(TWO, icmp_error(C2, C1, 3, 3, &asked, 28)), Side::Client(ONE));
    assert_eq!(error.quoted().from(), (C1, 5000));
    error.assert_sums();
    let answer = only_forward(world.client(TWO, udp((C2, 53), (C1, 5000))), Side::Client(ONE));
    only_forward(world.client(ONE, icmp_error(C1, C2, 3, 3, &answer, 28)), Side::Client(TWO));
}

#[test]
fn f_6_an_error_from_an_address_that_nobody_has_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    for martian in
        [[0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4], [203, 0, 113, 255]]
    {
        world.uplink_nothing(icmp_error(martian.into(), F, 3, 3, &asked, 28), DropReason::Martian);
    }
    // Routers have private addresses, too.
    world.out_c(ONE, icmp_error([10, 0, 0, 1].into(), F, 11, 0, &asked, 28));
}

#[test]
fn f_7_an_error_from_our_own_address_or_a_clients_is_dropped() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    for source in [F, C1, C2] {
        world.uplink_nothing(icmp_error(source, F, 3, 3, &asked, 28), DropReason::InsideSource);
    }
}

#[test]
fn i_5_an_error_about_what_a_service_behind_a_forwarded_port_sent_is_translated() {
    let mut world = World::with(settings(), forwarding(&[(6, 8080, C1, 80), (17, 5061, C1, 5060)]));
    let remote = (R, 50_000);
    world.out_c(ONE, tcp(remote, (F, 8080), "S", 1000, 0));
    world.out_u(ONE, tcp((C1, 80), remote, "SA", 5000, 1001));
    world.out_c(ONE, tcp(remote, (F, 8080), "A", 1001, 5001));
    let answer = world.out_u(ONE, tcp_with((C1, 80), remote, "A", 5001, 1001, &[1; 1400]));
    let called = world.out_u(ONE, udp((C1, 5060), remote));
    for (left, near) in [(answer, (C1, 80)), (called, (C1, 5060))] {
        let error = world.out_c(ONE, icmp_error(S, F, 3, 4, &left, 28));
        error.assert_sums();
        assert_eq!((error.quoted().from(), error.quoted().to()), (near, remote));
    }
}

#[test]
fn i_7_an_error_of_a_service_behind_a_forwarded_port_hides_it() {
    let mut world = World::with(settings(), forwarding(&[(17, 5061, C1, 5060)]));
    let received = world.out_c(ONE, udp((R, 50_000), (F, 5061)));
    let error = world.out_u(ONE, icmp_error(C1, R, 3, 3, &received, 200));
    error.assert_sums();
    assert_eq!((error.source(), error.quoted().to()), (F, (F, 5061)));
    error.quoted().assert_sums();
}

#[test]
fn i_14_no_error_is_sent_about_errors_many_fragments_and_bad_sources() {
    let mut world = World::new();
    let asked = world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let received = world.out_c(ONE, udp((R, 53), asked.from()));
    // Out of hops: an error about any other packet would be sent.
    world.client_nothing(ONE, icmp_error(C1, R, 3, 3, &received, 28).ttl_of(1), DropReason::TtlExpired);
    world.uplink_nothing(icmp_error(S, F, 3, 3, &asked, 28).ttl_of(1), DropReason::TtlExpired);
    world.client_nothing(
        ONE,
        udp((C1, 1), (std::net::Ipv4Addr::new(224, 0, 0, 251), 5353)),
        DropReason::Multicast,
    );
    world.client_nothing(ONE, udp((C1, 1), (std::net::Ipv4Addr::BROADCAST, 67)), DropReason::Multicast);
    // The first fragment passes, and the second has no hop left.
    let fragments = udp_with((C1, 5000), (R, 53), &[5; 2000]).no_df().cut(1500);
    world.out_u(ONE, fragments[0].clone());
    let second = fragments[1].clone().with_wrong(|bytes| bytes[8] = 1);
    world.client_nothing(ONE, second, DropReason::TtlExpired);
}

#[test]
fn i_15_errors_are_rate_limited() {
    let mut world = World::new();
    let mut errors = 0;
    for tenth in 0..10 {
        for port in 0..100 {
            errors += world.client(ONE, udp((C1, 1000 + tenth * 100 + port), (R, 53)).ttl_of(1)).len() - 1;
        }
        world.now = world.now + std::time::Duration::from_millis(100);
    }
    assert!((100..=150).contains(&errors), "{errors}");
    // Another client still gets its own.
    assert_eq!(world.client_error(TWO, udp((C2, 1), (R, 53)).ttl_of(1), DropReason::TtlExpired), (11, 0));
}

#[test]
fn i_16_a_quoted_packet_whose_header_sum_was_zeroed_is_translated() {
    let mut world = World::new();
    world.open_tcp(40000);
    let sent = tcp_with((C1, 40000), (R, 80), "A", 1101, 5101, &[1; 1400]);
    let zeroed = |mut packet: TestPacket| {
        packet.put_u16(10, 0);
        packet
    };
    let left = zeroed(world.out_u(ONE, sent.clone()));
    for (kind, code) in [(3, 4), (11, 0)] {
        let error = world.out_c(ONE, icmp_error(S, F, kind, code, &left, 28));
        error.assert_sums();
        // It is still none.
        assert_eq!(error.quoted().bytes, zeroed(sent.clone().ttl_of(63)).bytes[..28]);
    }
    // A client's stack may do the same.
    let received = world.out_c(ONE, tcp_with((R, 80), (F, left.source_port()), "A", 5101, 1101, &[2; 1400]));
    let error = world.out_u(ONE, icmp_error(C1, R, 3, 4, &zeroed(received), 28));
    error.assert_sums();
    assert_eq!((error.quoted().to(), error.quoted().u16_at(10)), (left.from(), 0));
}

#[test]
fn i_16_what_is_quoted_is_believed_no_more_for_it() {
    let mut world = World::new();
    world.open_tcp(40000);
    let left = world.out_u(ONE, tcp_with((C1, 40000), (R, 80), "A", 1101, 5101, &[1; 1000]));
    let forged = |change: &dyn Fn(&mut [u8])| {
        let mut packet = left.clone();
        change(&mut packet.bytes);
        packet.put_u16(10, 0);
        icmp_error(S, F, 3, 4, &packet, 28)
    };
    world.uplink_nothing(forged(&|bytes| bytes[24] ^= 0x40), DropReason::QuoteSequence);
    world.uplink_nothing(forged(&|bytes| bytes[21] ^= 1), DropReason::QuoteUnknown);
    world.uplink_nothing(forged(&|bytes| bytes[15] ^= 1), DropReason::QuoteMisdirected);
    let mut wrong = left.clone();
    wrong.bytes[10] ^= 1;
    world.uplink_nothing(icmp_error(S, F, 3, 4, &wrong, 28), DropReason::QuoteChecksum);
}

#[test]
fn i_17_a_quoted_packet_is_numbered_as_its_client_numbered_it() {
    let mut world = World::new();
    // A SYN as tcptraceroute sends it, a ping, and the largest that is not cut anywhere.
    let largest = udp_with((C1, 5000), (R, 53), &[1; 548]);
    assert_eq!(largest.bytes.len(), 576);
    for sent in [tcp((C1, 40000), (R, 80), "S", 1000, 0), echo_request(C1, R, 7), largest] {
        let sent = sent.no_df().id(0xBEEF);
        let left = world.out_u(ONE, sent.clone());
        let error = world.out_c(ONE, icmp_error(S, F, 11, 0, &left, 28));
        error.assert_sums();
        assert_eq!(error.quoted().bytes, sent.clone().ttl_of(63).bytes[..28]);
        assert_eq!(error.quoted().ident(), 0xBEEF);
    }
}
