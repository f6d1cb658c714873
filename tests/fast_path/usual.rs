//! Each kind of packet by itself: the usual ones, and what must not count as usual.

use crate::support::*;
use ravelin::base::side::Side;
use ravelin::engine::passed_packet::PassedPacket;
use ravelin::wire::ethernet::HEADER_BYTES;
use ravelin::wire::frame_view::{FrameView, HEAD_BYTES};
use ravelin::wire::packet::Checksum;
use std::net::Ipv4Addr;

const WEB: (Ipv4Addr, u16) = (R, 80);
const TALK: (Ipv4Addr, u16) = (R, 4000);
const NEAR_TCP: (Ipv4Addr, u16) = (C1, 5000);
const NEAR_UDP: (Ipv4Addr, u16) = (C1, 6000);

/// A world with an open TCP connection and a conversation by UDP, and their outer ends.
fn open() -> (World, (Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let mut world = World::new();
    let tcp = world.open_tcp_of(ONE, NEAR_TCP, WEB);
    let outer = world.out_u(ONE, udp(NEAR_UDP, TALK)).from();
    world.out_c(ONE, udp(TALK, outer));
    world.out_u(ONE, udp(NEAR_UDP, TALK));
    world.out_c(ONE, udp(TALK, outer));
    (world, tcp, outer)
}

/// What the fast path makes of a packet.
fn fast(world: &mut World, side: Side, packet: &TestPacket) -> Option<(PassedPacket, TestPacket)> {
    let mut head = [0xee; HEAD_BYTES];
    let (_, room) = head.split_at_mut(HEADER_BYTES);
    room.iter_mut().zip(&packet.bytes).for_each(|(to, from)| *to = *from);
    let before = head;
    let frame_bytes = (HEADER_BYTES + packet.bytes.len()) as u16;
    let mut frame = FrameView { head: &mut head, frame_bytes, checksum: packet.offload.checksum };
    let passed = match side {
        Side::Client(slot) => world.engine.pass_fast_outward(world.now, slot, &mut frame),
        Side::Uplink => world.engine.pass_fast_inward(world.now, &mut frame),
    };
    if passed.is_none() {
        assert_eq!(head, before, "what is left to the whole engine has changed");
    }
    let mut packet = packet.clone();
    packet.bytes.iter_mut().zip(&head[HEADER_BYTES..]).for_each(|(to, from)| *to = *from);
    passed.map(|passed| (passed, packet))
}

/// Checks that a packet passes, and as in a world that has the whole engine alone.
#[track_caller]
fn passes(world: &mut World, whole: &mut World, side: Side, packet: &TestPacket) {
    let (passed, sent) = fast(world, side, packet).expect("it is of an open flow");
    let (exit, expected) = match side {
        Side::Client(slot) => (Side::Uplink, whole.out_u(slot, packet.clone())),
        Side::Uplink => (Side::Client(ONE), whole.out_c(ONE, packet.clone())),
    };
    assert_eq!(sent, expected);
    assert_eq!((passed.exit, passed.destination), (exit, sent.destination()));
    let original = expected.original.filter(|_| exit == Side::Uplink);
    assert_eq!((usize::from(passed.total_bytes), passed.original), (sent.bytes.len(), original));
    assert_eq!(world.engine.counters(), whole.engine.counters());
    if packet.offload.checksum != Checksum::Blank {
        sent.assert_sums();
    }
}

/// Checks that a packet is left to the whole engine.
#[track_caller]
fn is_left(world: &mut World, side: Side, packet: &TestPacket) {
    assert_eq!(fast(world, side, packet), None);
}

fn segment() -> TestPacket {
    tcp_with(NEAR_TCP, WEB, "PA", 1101, 5101, &[b'z'; 100])
}

fn datagram() -> TestPacket {
    udp_with(NEAR_UDP, TALK, &[b'z'; 100])
}

/// Usual packets, and the side that they come from: two of a client, and two of the far end.
fn usual() -> [(Side, TestPacket); 4] {
    let (_, tcp, outer) = open();
    [
        (Side::Client(ONE), segment()),
        (Side::Client(ONE), datagram()),
        (Side::Uplink, tcp_with(WEB, tcp, "PA", 5101, 1101, &[b'z'; 100])),
        (Side::Uplink, udp_with(TALK, outer, &[b'z'; 100])),
    ]
}

#[test]
fn usual_packets_pass_as_the_whole_engine_has_them() {
    let ((mut world, ..), (mut whole, ..)) = (open(), open());
    for (side, packet) in usual() {
        let variants =
            [packet.clone(), packet.clone().blank(), packet.clone().ttl_of(2), packet.clone().no_df()];
        variants.iter().for_each(|packet| passes(&mut world, &mut whole, side, packet));
    }
}

#[test]
fn packets_on_their_last_hop_with_options_or_in_pieces_are_left_to_the_whole_engine() {
    let (mut world, ..) = open();
    for (side, packet) in usual() {
        is_left(&mut world, side, &packet.clone().ttl_of(1));
        is_left(&mut world, side, &packet.clone().ttl_of(0));
        is_left(&mut world, side, &packet.clone().options(&[1, 1, 1, 0]));
        is_left(&mut world, side, &packet.clone().with(|bytes| bytes[6] |= 0x20));
        is_left(&mut world, side, &packet.clone().with(|bytes| bytes[7] = 1));
        is_left(&mut world, side, &packet.clone().with_wrong(|bytes| bytes[3] = 255));
        let mut broken = packet;
        broken.bytes[10] ^= 1;
        is_left(&mut world, side, &broken);
    }
}

#[test]
fn segments_that_open_or_end_a_connection_are_left_to_the_whole_engine() {
    let (mut world, ..) = open();
    for (side, packet) in usual().into_iter().filter(|(_, packet)| packet.protocol() == 6) {
        for letters in ["S", "SA", "FA", "F", "R", "RA", "P", ""] {
            is_left(&mut world, side, &packet.clone().with(|bytes| bytes[33] = flags(letters)));
        }
    }
}

#[test]
fn packets_of_no_open_flow_are_left_to_the_whole_engine() {
    let (mut world, _, outer) = open();
    // From another's address, by another's vif, and to where nothing is open.
    is_left(&mut world, Side::Client(ONE), &tcp((C2, 5000), WEB, "A", 1101, 5101));
    is_left(&mut world, Side::Client(ONE), &udp((C2, 6000), TALK));
    is_left(&mut world, Side::Client(TWO), &datagram());
    is_left(&mut world, Side::Client(ONE), &udp(NEAR_UDP, (R, 4001)));
    is_left(&mut world, Side::Uplink, &udp((R, 4001), outer));
    is_left(&mut world, Side::Uplink, &udp(TALK, (S, outer.1)));
}

#[test]
fn what_may_not_pass_any_more_is_left_to_the_whole_engine() {
    let (mut forbidden, ..) = open();
    forbidden.engine.set_rules(rules(&["action=drop"]), forbidden.now);
    let (mut late, ..) = open();
    late.wait_unattended(600_000);
    for (side, packet) in usual() {
        is_left(&mut forbidden, side, &packet);
        is_left(&mut late, side, &packet);
    }
}

#[test]
fn packets_larger_than_their_receivers_mtu_are_left_to_the_whole_engine() {
    let (mut world, ..) = open();
    for (side, packet) in usual() {
        let exit = if side == Side::Uplink { Side::Client(ONE) } else { Side::Uplink };
        let bytes = packet.bytes.len() as u16;
        world.engine.set_mtu(exit, bytes - 1);
        is_left(&mut world, side, &packet);
        world.engine.set_mtu(exit, bytes);
        assert!(fast(&mut world, side, &packet).is_some());
    }
}
