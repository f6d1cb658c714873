//! Fragments: conformance, TT-5 (RFC 791, RFC 1858, RFC 3128, RFC 4787, RFC 5722, RFC 6864, RFC 8200).
#![allow(missing_docs)]

mod duplicates;
#[path = "../support/mod.rs"]
mod support;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, MAX_CLIENTS, Side};
use ravelin::tables::share::Account;
use ravelin::wire::packet::Checksum;
use support::*;

/// A datagram of C1 to R:53 with `size` bytes of payload, all different enough.
fn large(size: usize) -> TestPacket {
    let payload: Vec<u8> = (0..size).map(|n| (n / 3) as u8).collect();
    udp_with((C1, 5000), (R, 53), &payload).no_df().id(0x4242)
}

/// What leaves by the uplink when C1 sends `packets`, and why others do not.
fn send(
    world: &mut World,
    packets: impl IntoIterator<Item = TestPacket>,
) -> (Vec<TestPacket>, Vec<DropReason>) {
    let mut passed = Vec::new();
    let mut dropped = Vec::new();
    for packet in packets {
        for out in world.client(ONE, packet) {
            match out {
                Out::Forward(Side::Uplink, packet) => passed.push(packet),
                Out::Discard(why) => dropped.push(why),
                other => panic!("{other:?}"),
            }
        }
    }
    (passed, dropped)
}

fn assert_nothing_waits(world: &World) {
    let fragments = world.engine.fragments();
    assert_eq!(
        (fragments.len(), fragments.waiting(), fragments.waiting_bytes(Account::client(ONE))),
        (0, 0, 0)
    );
}

#[test]
fn x_1_fragments_pass_translated_in_any_order() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut world = World::new();
        let datagram = large(4000);
        let fragments = datagram.cut(1500);
        let (passed, dropped) = send(&mut world, order.map(|n| fragments[n].clone()));
        assert!(dropped.is_empty());
        let whole = reassemble(&passed);
        whole.assert_sums();
        assert_eq!((whole.source(), whole.to()), (F, (R, 53)));
        assert_eq!(whole.payload()[8..], datagram.payload()[8..]);
        assert_nothing_waits(&world);
    }
}

#[test]
fn x_1_fragments_come_in_in_any_order() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    let answer = udp_with((R, 53), outer, &[8; 4000]).no_df().id(77);
    let fragments = answer.cut(1500);
    let mut passed = Vec::new();
    for n in [2, 0, 1] {
        for out in world.uplink(fragments[n].clone()) {
            let Out::Forward(Side::Client(ONE), packet) = out else { panic!("{out:?}") };
            passed.push(packet);
        }
    }
    let whole = reassemble(&passed);
    whole.assert_sums();
    assert_eq!((whole.to(), whole.ident()), ((C1, 5000), 77));
    assert_eq!(world.engine.fragments().len(), 0);
}

#[test]
fn x_1_a_refused_datagram_takes_its_fragments_with_it() {
    let mut world = World::with(settings(), ravelin::guard::RuleTable::block_all());
    let fragments = large(4000).cut(1500);
    assert!(matches!(world.client(ONE, fragments[1].clone()).as_slice(), []));
    let out = world.client(ONE, fragments[0].clone());
    assert!(matches!(out[0], Out::Answer(Side::Client(ONE), _)));
    assert_eq!(out[1..], [Out::Discard(DropReason::Rule), Out::Discard(DropReason::FragmentRefused)]);
    world.client_nothing(ONE, fragments[2].clone(), DropReason::FragmentRefused);
}

/// C1's and the server's connection, of which `who` sends every segment in fragments; it is closed, or reset by `who`.
fn segments_in_pieces(who: Side, last: &str) {
    let (client, server) = ((C1, 40_000), (R, 80));
    let mut world = World::new();
    let outer = world.open_tcp(client.1);
    let (mut sent, mut received) = (1101, 5101);
    // More than a window of them.
    for ident in 0..60 {
        match who {
            Side::Client(_) => {
                let segment = tcp_with(client, server, "PA", sent, received, &[1; 1400]).no_df().id(ident);
                segment.cut(800).into_iter().for_each(|piece| drop(world.out_u(ONE, piece)));
                sent += 1400;
                world.out_c(ONE, tcp_with(server, outer, "PA", received, sent, &[2; 200]));
                received += 200;
            }
            Side::Uplink => {
                world.out_u(ONE, tcp_with(client, server, "PA", sent, received, &[2; 200]));
                sent += 200;
                let segment = tcp_with(server, outer, "PA", received, sent, &[1; 1400]).no_df().id(ident);
                segment.cut(800).into_iter().for_each(|piece| drop(world.out_c(ONE, piece)));
                received += 1400;
            }
        }
        world.out_u(ONE, tcp(client, server, "A", sent, received));
    }
    match who {
        Side::Client(_) => drop(world.out_u(ONE, tcp(client, server, last, sent, received))),
        Side::Uplink => drop(world.out_c(ONE, tcp(server, outer, last, received, sent))),
    }
    if last == "FA" {
        match who {
            Side::Client(_) => drop(world.out_c(ONE, tcp(server, outer, "FA", received, sent + 1))),
            Side::Uplink => drop(world.out_u(ONE, tcp(client, server, "FA", sent, received + 1))),
        }
    }
    world.wait(242);
    assert_eq!(world.flows(), 0, "{who:?} {last}");
}

#[test]
fn x_1_a_connection_whose_segments_come_in_fragments_is_tracked() {
    for who in [Side::Client(ONE), Side::Uplink] {
        segments_in_pieces(who, "FA");
        segments_in_pieces(who, "R");
    }
}

#[test]
fn x_1_fragments_with_df_pass_and_keep_it() {
    let has_df = |packet: &TestPacket| packet.u16_at(6) & 0x4000 != 0;
    let mut world = World::new();
    let (passed, _) = send(&mut world, large(4000).df().cut(1500));
    assert!(passed.iter().all(has_df));
    let whole = reassemble(&passed);
    whole.assert_sums();
    let answer = udp_with((R, 53), whole.from(), &[7; 4000]).id(9);
    let back: Vec<TestPacket> = answer.cut(1500).into_iter().map(|piece| world.out_c(ONE, piece)).collect();
    assert!(back.iter().all(has_df));
    reassemble(&back).assert_sums();
}

#[test]
fn x_2_once_fragments_contradict_nothing_more_leaves() {
    let datagram = large(4000);
    let pieces = datagram.cut(1500);
    let all = datagram.payload();
    let contradictions = [
        datagram.piece(1472, &all[1472..2960], true),
        datagram.piece(1472, &all[1472..1480], true),
        datagram.piece(2000, &all[2000..2008], false),
        datagram.piece(4400, &all[..8], true),
    ];
    for contradiction in contradictions {
        let mut world = World::new();
        let before = [pieces[1].clone(), pieces[2].clone(), contradiction];
        let (passed, dropped) = send(&mut world, before);
        assert!(passed.is_empty());
        if dropped.is_empty() {
            // The contradiction is with the first fragment.
            let (passed, dropped) = send(&mut world, [pieces[0].clone()]);
            assert!(passed.is_empty(), "{passed:?}");
            assert_eq!(dropped, [DropReason::FragmentOverlap; 4]);
        } else {
            assert!(dropped.iter().all(|why| *why == DropReason::FragmentOverlap));
            let (passed, dropped) = send(&mut world, [pieces[0].clone()]);
            assert!(passed.is_empty());
            assert_eq!(dropped, [DropReason::FragmentRefused]);
        }
        assert_eq!(world.engine.fragments().waiting(), 0);
    }
}

#[test]
fn x_2_a_contradiction_after_the_first_fragment_leaves_the_datagram_incomplete() {
    let mut world = World::new();
    let datagram = large(4000);
    let pieces = datagram.cut(1500);
    let (passed, _) = send(&mut world, [pieces[0].clone(), pieces[1].clone()]);
    assert_eq!(passed.len(), 2);
    let contradiction = datagram.piece(2952, &datagram.payload()[2952..2968], true);
    let (passed, dropped) = send(&mut world, [contradiction, pieces[2].clone()]);
    assert!(passed.is_empty());
    assert_eq!(dropped, [DropReason::FragmentOverlap, DropReason::FragmentRefused]);
}

#[test]
fn x_3_a_first_fragment_must_hold_the_layer_4_header() {
    let mut world = World::new();
    let segment = tcp_with((C1, 1), (R, 2), "S", 1, 0, &[0; 40]).no_df();
    for held in [8, 16] {
        let tiny = segment.piece(0, &segment.payload()[..held], true).id(held as u16);
        world.client_nothing(ONE, tiny, DropReason::FragmentTiny);
    }
    let with_options = tcp_with((C1, 1), (R, 2), "S", 1, 0, &[0; 40]).no_df().with(|b| b[32] = 0xA0);
    world.client_nothing(
        ONE,
        with_options.piece(0, &with_options.payload()[..32], true),
        DropReason::FragmentTiny,
    );
    assert_eq!(world.flows(), 0);
}

#[test]
fn x_3_no_later_fragment_may_lie_in_the_header() {
    let mut world = World::new();
    let segment = tcp_with((C1, 1), (R, 2), "S", 1, 0, &[0; 40]).no_df();
    for offset in [8, 16] {
        let hidden = segment.piece(offset, &[0; 24], false).id(offset as u16);
        world.client_nothing(ONE, hidden, DropReason::FragmentTiny);
    }
}

#[test]
fn x_4_a_flood_of_fragments_is_bounded_and_costs_only_its_sender() {
    let mut world = World::new();
    let other = udp_with((C2, 5000), (R, 53), &[1; 4000]).no_df().id(1).cut(1500);
    assert!(world.client(TWO, other[1].clone()).is_empty());
    for ident in 0..1000 {
        let flood = large(4000).id(ident).cut(1500);
        send(&mut world, [flood[0].clone()]);
    }
    for ident in 1000..3000 {
        let flood = large(4000).id(ident).cut(1500);
        send(&mut world, [flood[1].clone()]);
    }
    let limits = settings().fragments;
    let fragments = world.engine.fragments();
    assert!(fragments.len() <= usize::from(limits.datagrams_per_client) + 1);
    assert!(fragments.waiting() <= usize::from(limits.packets_per_client) + 1);
    assert!(fragments.waiting_bytes(Account::client(ONE)) <= limits.bytes_per_client);
    let out = world.client(TWO, other[0].clone());
    assert_eq!(out.iter().filter(|out| matches!(out, Out::Forward(..))).count(), 2);
    only_forward(world.client(TWO, other[2].clone()), Side::Uplink);
}

#[test]
fn x_4_every_client_may_have_a_datagram_in_pieces_whoever_floods() {
    let address = |slot: u8| std::net::Ipv4Addr::new(10, 137, 1, slot);
    let mut world = World::new();
    for slot in 3..MAX_CLIENTS as u8 {
        world.engine.attach(ClientSlot(slot), address(slot), world.now);
    }
    let later = |from, to, ident| udp_with(from, to, &[1; 4000]).no_df().id(ident).cut(1500)[1].clone();
    for ident in 0..300 {
        for slot in 3..20 {
            world.client(ClientSlot(slot), later((address(slot), 5000), (R, 53), ident));
        }
        world.uplink(later((S, 5000), (F, 53), ident));
    }
    let pieces = large(4000).cut(1500);
    let (passed, dropped) = send(&mut world, [1, 0, 2].map(|n| pieces[n].clone()));
    assert!(dropped.is_empty(), "{dropped:?}");
    reassemble(&passed).assert_sums();
}

#[test]
fn x_4_bytes_that_wait_are_bounded() {
    let mut settings = settings();
    settings.fragments.bytes_per_client = 10_000;
    let mut world = World::with(settings, ravelin::guard::RuleTable::allow_all());
    let pieces = large(30_000).cut(1500);
    let (passed, dropped) = send(&mut world, pieces[1..].iter().cloned());
    assert!(passed.is_empty());
    assert_eq!(dropped.len(), pieces.len() - 1);
    assert_eq!(world.engine.fragments().waiting(), 0);
    let (passed, dropped) = send(&mut world, [pieces[0].clone()]);
    assert!(passed.is_empty());
    assert_eq!(dropped, [DropReason::FragmentRefused]);
}

#[test]
fn x_5_a_datagram_of_65535_bytes_passes_both_ways_in_any_order() {
    let datagram = large(65_507);
    assert_eq!(datagram.bytes.len(), 65_535);
    let in_order = datagram.cut(1500);
    let mut reversed = in_order.clone();
    reversed.reverse();
    for fragments in [in_order, reversed] {
        let mut world = World::new();
        let (passed, dropped) = send(&mut world, fragments);
        assert!(dropped.is_empty(), "{dropped:?}");
        let whole = reassemble(&passed);
        whole.assert_sums();
        let answer = udp_with((R, 53), whole.from(), &datagram.payload()[8..]).no_df();
        let back: Vec<TestPacket> =
            answer.cut(1500).into_iter().map(|piece| world.out_c(ONE, piece)).collect();
        reassemble(&back).assert_sums();
        assert_nothing_waits(&world);
    }
}

#[test]
fn x_5_a_ping_of_65507_bytes_is_answered() {
    let mut world = World::new();
    let ping = echo(C1, R, 8, 7, &vec![3; 65_507]).no_df();
    let (passed, _) = send(&mut world, ping.cut(1500));
    let asked = reassemble(&passed);
    asked.assert_sums();
    let reply = echo(R, F, 0, asked.icmp_ident(), &vec![3; 65_507]).no_df();
    let back: Vec<TestPacket> = reply.cut(1500).into_iter().map(|piece| world.out_c(ONE, piece)).collect();
    let answered = reassemble(&back);
    answered.assert_sums();
    assert_eq!(answered.icmp_ident(), 7);
}

#[test]
fn x_6_two_clients_with_one_identification_leave_with_two() {
    let mut world = World::new();
    let first = large(4000).cut(1500);
    let second = udp_with((C2, 5000), (R, 53), &[1; 4000]).no_df().id(0x4242).cut(1500);
    let (passed, _) = send(&mut world, first);
    let others: Vec<TestPacket> =
        second.into_iter().map(|piece| only_forward(world.client(TWO, piece), Side::Uplink)).collect();
    assert_ne!(passed[0].ident(), others[0].ident());
    reassemble(&passed).assert_sums();
    reassemble(&others).assert_sums();
}

#[test]
fn x_6_packets_that_may_be_cut_later_get_different_identifications() {
    let mut world = World::new();
    // One byte more than what is not cut anywhere.
    let packet = |client| udp_with((client, 5000), (R, 53), &[1; 549]).no_df().id(5);
    let first = world.out_u(ONE, packet(C1));
    let second = world.out_u(TWO, packet(C2));
    assert_ne!(first.ident(), second.ident());
    let mut seen = std::collections::BTreeSet::from([first.ident(), second.ident()]);
    for _ in 0..65_534 {
        assert!(seen.insert(world.out_u(ONE, packet(C1)).ident()));
    }
}

#[test]
fn x_6_what_is_cut_here_is_numbered_however_small_it_is() {
    let mut world = World::new();
    world.engine.set_mtu(Side::Uplink, 400);
    let cut = |out: Vec<Out>| match out.as_slice() {
        [Out::Fragment(Side::Uplink, packet, 400)] => packet.ident(),
        other => panic!("{other:?}"),
    };
    let packet = |client| udp_with((client, 5000), (R, 53), &[1; 373]).no_df().id(5);
    assert_ne!(cut(world.client(ONE, packet(C1))), cut(world.client(TWO, packet(C2))));
}

#[test]
fn a_detached_clients_fragments_are_given_back() {
    let mut world = World::new();
    world.client(ONE, large(4000).cut(1500)[1].clone());
    world.engine.detach(ONE, world.now);
    assert!(world.engine.next_deadline().unwrap() < world.now);
    assert_eq!(world.advance(), [Out::Discard(DropReason::Detached)]);
    assert_nothing_waits(&world);
}

#[test]
fn fragments_to_a_detached_client_do_not_reach_the_next_one_on_its_slot() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    let pieces = udp_with((R, 53), outer, &[8; 4000]).no_df().cut(1500);
    world.out_c(ONE, pieces[0].clone());
    world.engine.detach(ONE, world.now);
    world.engine.attach(ONE, std::net::Ipv4Addr::new(10, 137, 0, 99), world.now);
    assert!(world.uplink(pieces[1].clone()).iter().all(|out| matches!(out, Out::Discard(_))));
}

#[test]
fn fragments_are_cut_further_for_a_narrower_uplink() {
    let mut settings = settings();
    settings.uplink_mtu = 1000;
    let mut world = World::with(settings, ravelin::guard::RuleTable::allow_all());
    for piece in large(4000).cut(1500) {
        let out = world.client(ONE, piece.clone());
        let expected = piece.bytes.len() > 1000;
        assert_eq!(matches!(out.as_slice(), [Out::Fragment(Side::Uplink, _, 1000)]), expected, "{out:?}");
    }
}

#[test]
fn a_fragment_with_a_blank_checksum_cannot_be_completed() {
    let mut world = World::new();
    let mut piece = large(4000).cut(1500)[0].clone();
    piece.offload.checksum = Checksum::Blank;
    world.client_nothing(ONE, piece, DropReason::FragmentOffload);
}

#[test]
fn spoofed_fragments_are_dropped_at_once() {
    let mut world = World::new();
    let pieces = large(4000).cut(1500);
    world.client_nothing(TWO, pieces[1].clone(), DropReason::Spoofed);
    world.client_nothing(ClientSlot(77), pieces[1].clone(), DropReason::NoClient);
    world.uplink_nothing(
        udp_with((R, 1), (S, 2), &[0; 4000]).no_df().cut(1500)[1].clone(),
        DropReason::NotForUs,
    );
}

#[test]
fn a_fragmented_ping_of_the_gateway_is_answered() {
    let mut world = World::new();
    let ping = echo(C1, G, 8, 7, &vec![3; 8000]).no_df().id(9);
    let answers: Vec<TestPacket> = ping
        .cut(1500)
        .into_iter()
        .map(|piece| only_forward(world.client(ONE, piece), Side::Client(ONE)))
        .collect();
    let answer = reassemble(&answers);
    answer.assert_sums();
    assert_eq!((answer.icmp_kind(), answer.source(), answer.ttl()), (0, G, 64));
}
