//! Forwarding: conformance F-1 to F-13, V-1 (RFC 1812, RFC 791, RFC 768, RFC 7126).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use ravelin::guard::RuleTable;
use ravelin::route::fragmentation;
use ravelin::wire::ipv4::Ipv4;
use ravelin::wire::packet::{Checksum, Gso, GsoKind, Offload};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use support::*;

fn query() -> TestPacket {
    udp((C1, 5000), (R, 53))
}

#[test]
fn f_1_broken_headers_are_dropped() {
    let mut world = World::new();
    let broken = |change: fn(&mut [u8])| query().with_wrong(change);
    world.client_nothing(ONE, broken(|b| b[0] = 0x65), DropReason::IpVersion);
    world.client_nothing(ONE, broken(|b| b[0] = 0x44), DropReason::IpHeaderLength);
    world.client_nothing(ONE, broken(|b| b[3] = 19), DropReason::IpTotalLength);
    world.client_nothing(ONE, broken(|b| b[3] = 200), DropReason::IpTotalLength);
    let mut packet = query();
    packet.bytes[10] ^= 1;
    world.client_nothing(ONE, packet, DropReason::IpChecksum);
    world.client_nothing(ONE, TestPacket::new(query().bytes[..19].to_vec()), DropReason::IpShort);
    world.client_nothing(ONE, TestPacket::new(vec![]), DropReason::IpShort);
    world.client_nothing(ONE, broken(|b| b[6..8].copy_from_slice(&[0x3F, 0xFF])), DropReason::FragmentShape);
}

#[test]
fn f_1_broken_transport_headers_are_dropped() {
    let mut world = World::new();
    world.client_nothing(ONE, query().with_wrong(|b| b[25] = 7), DropReason::UdpHeader);
    world.client_nothing(ONE, query().with_wrong(|b| b[25] = 99), DropReason::UdpHeader);
    world.client_nothing(ONE, ip(C1, R, 17, &[0; 7]), DropReason::UdpHeader);
    world.client_nothing(ONE, ip(C1, R, 6, &[0; 19]), DropReason::TcpHeader);
    let syn = tcp((C1, 1), (R, 2), "S", 0, 0);
    world.client_nothing(ONE, syn.clone().with(|b| b[32] = 0x40), DropReason::TcpHeader);
    world.client_nothing(ONE, syn.with(|b| b[32] = 0x60), DropReason::TcpHeader);
    world.client_nothing(ONE, ip(C1, R, 1, &[8, 0, 0, 0, 0, 0, 0]), DropReason::IcmpHeader);
}

#[test]
fn f_1_padding_is_cut_off() {
    let mut world = World::new();
    let mut padded = query();
    let length = padded.bytes.len();
    padded.bytes.extend([0; 18]);
    let out = world.out_u(ONE, padded);
    assert_eq!(out.bytes.len(), length);
    out.assert_sums();
}

#[test]
fn f_2_the_last_hop_is_not_used_up_here() {
    let mut world = World::new();
    for ttl in [0, 1] {
        let out = world.client(ONE, query().ttl_of(ttl));
        let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::TtlExpired)] = out.as_slice()
        else {
            panic!("{out:?}")
        };
        let error = TestPacket::new(bytes.clone());
        error.assert_sums();
        assert_eq!((error.source(), error.destination()), (G, C1));
        assert_eq!((error.icmp_kind(), error.icmp_code()), (11, 0));
        assert_eq!(error.quoted().bytes, query().ttl_of(ttl).bytes);
    }
    assert_eq!(world.flows(), 0);
    assert_eq!(world.out_u(ONE, query().ttl_of(2)).ttl(), 1);
}

#[test]
fn f_2_a_remote_is_told_from_the_uplink_address() {
    let mut world = World::new();
    let outer = world.out_u(ONE, query()).from();
    let out = world.uplink(udp((R, 53), outer).ttl_of(1));
    let [Out::Answer(Side::Uplink, bytes), Out::Discard(DropReason::TtlExpired)] = out.as_slice() else {
        panic!("{out:?}")
    };
    let error = TestPacket::new(bytes.clone());
    assert_eq!((error.source(), error.destination()), (F, R));
    assert_eq!(error.quoted().to(), outer);
}

fn narrow_uplink() -> World {
    let mut settings = settings();
    settings.uplink_mtu = 1400;
    World::with(settings, RuleTable::allow_all())
}

#[test]
fn f_3_too_big_with_df_is_told_the_mtu() {
    let mut world = narrow_uplink();
    let packet = udp_with((C1, 5000), (R, 53), &[1; 1472]);
    assert_eq!(packet.bytes.len(), 1500);
    let out = world.client(ONE, packet.clone());
    let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::TooBig)] = out.as_slice() else {
        panic!("{out:?}")
    };
    let error = TestPacket::new(bytes.clone());
    error.assert_sums();
    assert_eq!((error.icmp_kind(), error.icmp_code(), error.u16_at(26)), (3, 4, 1400));
    assert_eq!(error.bytes.len(), 576);
    assert_eq!(error.quoted().bytes, packet.bytes[..548]);
}

#[test]
fn f_4_too_big_without_df_is_cut() {
    let mut world = narrow_uplink();
    let packet = udp_with((C1, 5000), (R, 53), &[1; 1472]).no_df();
    let out = world.client(ONE, packet.clone());
    let [Out::Fragment(Side::Uplink, whole, 1400)] = out.as_slice() else { panic!("{out:?}") };
    whole.assert_sums();
    let ip = Ipv4::read(&whole.bytes, whole.bytes.len()).unwrap();
    let fragments: Vec<TestPacket> = fragmentation::fragments(&whole.bytes, &ip, 1400)
        .unwrap()
        .map(|piece| TestPacket::new([piece.header(), &whole.bytes[piece.payload.clone()]].concat()))
        .collect();
    assert_eq!(fragments.len(), 2);
    let again = reassemble(&fragments);
    again.assert_sums();
    assert_eq!(again.payload()[8..], packet.payload()[8..]);
}

fn gso(mss: u16) -> Option<Gso> {
    Some(Gso { kind: GsoKind::TcpV4, segment_bytes: NonZeroU16::new(mss).unwrap() })
}

#[test]
fn a_gso_packet_is_as_large_as_its_segments() {
    let mut world = narrow_uplink();
    let client = (C1, 40000);
    let outer = world.out_u(ONE, tcp(client, (R, 80), "S", 1000, 0)).from();
    world.out_c(ONE, tcp((R, 80), outer, "SA", 5000, 1001));
    let mut large = tcp_with(client, (R, 80), "A", 1001, 5001, &[1; 20_000]).blank();
    large.offload.gso = gso(1360);
    let out = world.out_u(ONE, large.clone());
    assert_eq!(out.offload, Offload { checksum: Checksum::Blank, gso: gso(1360) });
    out.complete().assert_sums();
    large.offload.gso = gso(1361);
    assert_eq!(world.client_error(ONE, large, DropReason::TooBig), (3, 4));
}

/// Twenty thousand bytes of C1 to R:80 on an open connection, to be cut into segments, and without DF.
fn large_segment(sequence: u32) -> TestPacket {
    tcp_with((C1, 40000), (R, 80), "A", sequence, 5101, &[1; 20_000]).no_df().blank()
}

#[test]
fn f_13_segments_that_may_be_cut_are_made_to_fit() {
    let mut world = narrow_uplink();
    world.open_tcp(40000);
    let mut large = large_segment(1101);
    large.offload.gso = gso(1460);
    let out = world.out_u(ONE, large.clone());
    assert_eq!(out.offload, Offload { checksum: Checksum::Blank, gso: gso(1360) });
    out.complete().assert_sums();
    // With DF its sender is told, and segments that fit stay as they were asked for.
    assert_eq!(world.client_error(ONE, large.clone().df().blank(), DropReason::TooBig), (3, 4));
    large.offload.gso = gso(1000);
    assert_eq!(world.out_u(ONE, large.clone()).offload.gso, gso(1000));
    // Segments of 48 bytes are the least.
    world.engine.set_mtu(Side::Uplink, 40 + 48);
    assert_eq!(world.out_u(ONE, large.clone()).offload.gso, gso(48));
    world.engine.set_mtu(Side::Uplink, 40 + 47);
    assert_eq!(world.client_error(ONE, large, DropReason::TooBig), (3, 4));
}

#[test]
fn f_13_so_are_those_for_a_client() {
    let mut world = World::new();
    let outer = world.open_tcp(40000);
    world.engine.set_mtu(Side::Client(ONE), 1000);
    let mut large = tcp_with((R, 80), outer, "A", 5101, 1101, &[1; 5000]).no_df().blank();
    large.offload.gso = gso(1448);
    assert_eq!(world.out_c(ONE, large).offload.gso, gso(960));
}

#[test]
fn f_13_every_segment_has_a_number_of_its_own() {
    let mut world = narrow_uplink();
    world.open_tcp(40000);
    // In fifteen segments of 1,360 bytes, as 1,460 do not fit, and in forty of 500.
    for (mss, count) in [(1360, 15), (1460, 15), (500, 40)] {
        let mut large = large_segment(1101);
        large.offload.gso = gso(mss);
        let first = world.out_u(ONE, large).ident();
        let next =
            world.out_u(ONE, tcp_with((C1, 40000), (R, 80), "A", 1101, 5101, &[1; 1000]).no_df()).ident();
        assert_eq!(next.wrapping_sub(first), count, "{mss}");
    }
}

#[test]
fn f_13_every_segment_counts() {
    let mut world = narrow_uplink();
    let outer = world.open_tcp(40000);
    let before = world.engine.counters().clone();
    let mut large = large_segment(1101);
    large.offload.gso = gso(1460);
    world.out_u(ONE, large);
    let mut back = tcp_with((R, 80), outer, "A", 5101, 1101, &[1; 14_600]).blank();
    back.offload.gso = gso(1460);
    world.out_c(ONE, back);
    let after = world.engine.counters();
    assert_eq!((after.outward - before.outward, after.inward - before.inward), (15, 10));
}

#[test]
fn f_5_df_dscp_ecn_and_identification_are_kept() {
    let mut world = World::new();
    let out = world.out_u(ONE, query().tos(46 << 2 | 2).id(0xBEEF));
    assert_eq!((out.bytes[1], out.ident(), out.u16_at(6)), (46 << 2 | 2, 0xBEEF, 0x4000));
    let back = world.out_c(ONE, udp((R, 53), out.from()).tos(46 << 2 | 3).id(0xCAFE).no_df());
    assert_eq!((back.bytes[1], back.ident(), back.u16_at(6)), (46 << 2 | 3, 0xCAFE, 0));
}

#[test]
fn f_6_martians_are_dropped() {
    let mut world = World::with(settings(), forwarding(&[(17, 8080, C1, 80)]));
    let address = Ipv4Addr::from;
    for martian in [[0, 1, 2, 3], [127, 0, 0, 1], [240, 0, 0, 1]].map(address) {
        world.client_nothing(ONE, udp((C1, 5000), (martian, 53)), DropReason::Martian);
    }
    for martian in
        [[0, 1, 2, 3], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255; 4], [203, 0, 113, 255]]
    {
        world.uplink_nothing(udp((address(martian), 53), (F, 8080)), DropReason::Martian);
    }
}

#[test]
fn f_7_a_spoofed_source_is_dropped() {
    let mut world = World::with(settings(), forwarding(&[(17, 8080, C1, 80)]));
    world.client_nothing(ONE, udp((C2, 5000), (R, 53)), DropReason::Spoofed);
    world.client_nothing(ravelin::base::side::ClientSlot(9), query(), DropReason::NoClient);
    world.uplink_nothing(udp((C2, 53), (F, 8080)), DropReason::InsideSource);
    world.uplink_nothing(udp((F, 53), (F, 8080)), DropReason::InsideSource);
}

#[test]
fn f_7_a_flow_to_an_address_that_becomes_a_clients_ends() {
    let mut world = World::new();
    let outer = world.out_u(ONE, query()).from();
    world.engine.attach(ravelin::base::side::ClientSlot(3), R, world.now);
    world.uplink_nothing(udp((R, 53), outer), DropReason::InsideSource);
    assert_eq!(world.client_error(ONE, query(), DropReason::Rule), (3, 13));
}

#[test]
fn f_8_broadcast_multicast_and_dhcp_are_not_forwarded() {
    let mut world = World::with(settings(), permitting());
    for many in [[255; 4], [224, 0, 0, 1], [239, 1, 2, 3], [203, 0, 113, 255], [203, 0, 113, 0]] {
        world.client_nothing(ONE, udp((C1, 5000), (many.into(), 53)), DropReason::Multicast);
    }
    world.client_nothing(ONE, udp((C1, 67), (R, 68)), DropReason::Dhcp);
    world.client_nothing(ONE, udp((C1, 67), (C2, 68)), DropReason::Dhcp);
    world.uplink_nothing(udp((R, 67), (Ipv4Addr::BROADCAST, 68)), DropReason::NotForUs);
}

#[test]
fn f_9_source_routes_are_dropped_and_other_options_pass() {
    let mut world = World::new();
    let outer = world.out_u(ONE, query().options(&[0x94, 4, 0, 0])).from();
    for kind in [0x83, 0x89] {
        world.client_nothing(ONE, query().options(&[kind, 3, 4, 0]), DropReason::SourceRoute);
        world.uplink_nothing(udp((R, 53), outer).options(&[kind, 3, 4, 0]), DropReason::SourceRoute);
    }
    world.client_nothing(ONE, query().options(&[7, 9, 4, 0]), DropReason::IpOptions);
    let back = world.out_c(ONE, udp((R, 53), outer).options(&[0x94, 4, 0, 0]));
    assert_eq!(back.bytes[20..24], [0x94, 4, 0, 0]);
    back.assert_sums();
}

#[test]
fn f_10_errors_quote_what_fits_in_576_bytes_and_have_precedence_6() {
    let mut world = World::new();
    for size in [0, 100, 519, 520, 521, 1400] {
        let packet = udp_with((C1, 5000), (R, 53), &vec![1; size]).ttl_of(1);
        let out = world.client(ONE, packet.clone());
        let Out::Answer(_, bytes) = &out[0] else { panic!("{out:?}") };
        let error = TestPacket::new(bytes.clone());
        error.assert_sums();
        assert_eq!((error.bytes[1], error.ttl()), (0xC0, 64));
        assert_eq!(error.bytes.len(), (28 + packet.bytes.len()).min(576));
        assert!(packet.bytes.starts_with(&error.quoted().bytes));
    }
}

#[test]
fn f_11_no_udp_checksum_stays_none() {
    let mut world = World::new();
    let out = world.out_u(ONE, query().with_wrong(|b| b[26..28].fill(0)));
    assert_eq!(out.layer4_sum(), 0);
    let back = udp((R, 53), out.from()).with_wrong(|b| b[26..28].fill(0));
    assert_eq!(world.out_c(ONE, back).layer4_sum(), 0);
}

#[test]
fn f_11_a_computed_zero_is_sent_as_ones() {
    let mut world = World::new();
    let mut ones = 0;
    for value in 0..=0xFFFFu16 {
        let out = world.out_u(ONE, udp_with((C1, 5000), (R, 53), &value.to_be_bytes()));
        assert_ne!(out.layer4_sum(), 0);
        ones += usize::from(out.layer4_sum() == 0xFFFF);
        assert_eq!(out.verified_sum(), 0xFFFF);
    }
    assert!(ones >= 1);
}

#[test]
fn f_12_a_blank_checksum_stays_blank_with_the_new_pseudo_header() {
    let mut world = World::new();
    let client = (C1, 40000);
    let syn = world.out_u(ONE, tcp(client, (R, 80), "S", 1000, 0).blank());
    assert_eq!(syn.offload.checksum, Checksum::Blank);
    assert_eq!(syn.layer4_sum(), syn.pseudo_sum());
    let outer = syn.from();
    syn.complete().assert_sums();
    let answer = world.out_c(ONE, tcp((R, 80), outer, "SA", 5000, 1001).blank());
    assert_eq!(answer.layer4_sum(), answer.pseudo_sum());
    answer.complete().assert_sums();
    world.out_u(ONE, query().blank()).complete().assert_sums();
}

#[test]
fn a_clients_mtu_holds_for_what_comes_in() {
    let mut settings = settings();
    settings.client_mtu = 1400;
    let mut world = World::with(settings, RuleTable::allow_all());
    let outer = world.out_u(ONE, query()).from();
    let out = world.uplink(udp_with((R, 53), outer, &[1; 1472]));
    let [Out::Answer(Side::Uplink, bytes), Out::Discard(DropReason::TooBig)] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(TestPacket::new(bytes.clone()).u16_at(26), 1400);
    let out = world.uplink(udp_with((R, 53), outer, &[1; 1472]).no_df());
    assert!(matches!(out.as_slice(), [Out::Fragment(Side::Client(ONE), _, 1400)]));
}

/// What a packet of `bytes` from the uplink to `outer` becomes.
fn arrival(world: &mut World, outer: (Ipv4Addr, u16), bytes: usize) -> Vec<Out> {
    world.uplink(udp_with((R, 53), outer, &vec![1; bytes - 28]))
}

#[test]
fn v_1_the_uplinks_mtu_holds_as_soon_as_it_is_set() {
    let mut world = World::new();
    let packet = udp_with((C1, 5000), (R, 53), &[1; 1472]);
    world.out_u(ONE, packet.clone());
    world.engine.set_mtu(Side::Uplink, 1400);
    let out = world.client(ONE, packet.clone());
    let [Out::Answer(Side::Client(ONE), bytes), Out::Discard(DropReason::TooBig)] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(TestPacket::new(bytes.clone()).u16_at(26), 1400);
    let out = world.client(ONE, packet.clone().no_df());
    assert!(matches!(out.as_slice(), [Out::Fragment(Side::Uplink, _, 1400)]), "{out:?}");
    world.engine.set_mtu(Side::Uplink, 9000);
    world.out_u(ONE, udp_with((C1, 5000), (R, 53), &[1; 8972]));
}

#[test]
fn v_1_each_client_has_an_mtu_of_its_own() {
    let mut world = World::new();
    let first = world.out_u(ONE, query()).from();
    let second = world.out_u(TWO, udp((C2, 5000), (R, 53))).from();
    world.engine.set_mtu(Side::Client(ONE), 1400);
    let out = arrival(&mut world, first, 1401);
    let [Out::Answer(Side::Uplink, bytes), Out::Discard(DropReason::TooBig)] = out.as_slice() else {
        panic!("{out:?}")
    };
    assert_eq!(TestPacket::new(bytes.clone()).u16_at(26), 1400);
    only_forward(arrival(&mut world, first, 1400), Side::Client(ONE));
    only_forward(arrival(&mut world, second, 1500), Side::Client(TWO));
    // It is the vif's: whoever has the slot next has what is said of its own.
    world.engine.attach(ONE, C1, world.now);
    let first = world.out_u(ONE, query()).from();
    only_forward(arrival(&mut world, first, 1500), Side::Client(ONE));
}

#[test]
fn v_1_an_mtu_that_no_link_has_counts_as_the_least() {
    let mut world = World::new();
    world.engine.set_mtu(Side::Uplink, 0);
    world.out_u(ONE, udp_with((C1, 5000), (R, 53), &[1; 40]));
    assert_eq!(world.client_error(ONE, udp_with((C1, 5000), (R, 53), &[1; 41]), DropReason::TooBig), (3, 4));
}
