//! What comes twice, and what comes late: conformance X-7 and TT-5.

use super::*;
use crate::support::*;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;

/// Sends `packets` from C1, or to it from R; what passes, and why the rest does not.
fn send_either_way(
    world: &mut World,
    from: Side,
    packets: &[TestPacket],
) -> (Vec<TestPacket>, Vec<DropReason>) {
    let (mut passed, mut dropped) = (Vec::new(), Vec::new());
    for packet in packets.iter().cloned() {
        let out = match from {
            Side::Client(slot) => world.client(slot, packet),
            Side::Uplink => world.uplink(packet),
        };
        for out in out {
            match out {
                Out::Forward(to, packet) if to != from => passed.push(packet),
                Out::Discard(why) => dropped.push(why),
                other => panic!("{other:?}"),
            }
        }
    }
    (passed, dropped)
}

#[test]
fn x_7_a_duplicated_fragment_costs_nothing_but_itself() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    for (from, order) in
        [Side::Client(ONE), Side::Uplink].into_iter().flat_map(|from| orders.map(|it| (from, it)))
    {
        for (which, behind) in [(0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2)] {
            let mut world = World::new();
            let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
            let datagram = match from {
                Side::Uplink => udp_with((R, 53), outer, &[7; 4000]).no_df().id(77),
                Side::Client(_) => large(4000),
            };
            let pieces = datagram.cut(1500);
            let mut packets = order.map(|n| pieces[n].clone()).to_vec();
            packets.insert(behind + 1, packets[which].clone());
            // The first fragment of a datagram that has passed begins another one.
            let is_new = behind == 2 && order[which] == 0;
            let (passed, dropped) = send_either_way(&mut world, from, &packets);
            assert_eq!(passed.len(), 3 + usize::from(is_new), "{order:?} {which} {behind}");
            reassemble(&passed[..3]).assert_sums();
            assert_eq!(dropped, [DropReason::FragmentDuplicate; 1][usize::from(is_new)..]);
            assert_eq!(world.engine.fragments().waiting(), 0);
        }
    }
}

#[test]
fn x_7_parts_of_what_arrived_are_duplicates_too() {
    let mut world = World::new();
    let datagram = large(4000);
    let (pieces, all) = (datagram.cut(1500), datagram.payload());
    send(&mut world, [pieces[0].clone(), pieces[1].clone()]);
    // Cut again on a path with a smaller MTU, or two in one.
    let again = [
        datagram.piece(0, &all[..552], true),
        datagram.piece(552, &all[552..1104], true),
        datagram.piece(1104, &all[1104..2952], true),
    ];
    let (passed, dropped) = send(&mut world, again);
    assert!(passed.is_empty());
    assert_eq!(dropped, [DropReason::FragmentDuplicate; 3]);
    let (passed, dropped) = send(&mut world, [pieces[2].clone()]);
    assert_eq!((passed.len(), dropped.len()), (1, 0));
    assert_nothing_waits(&world);
}

#[test]
fn x_7_of_every_byte_the_first_copy_leaves_and_no_other() {
    let mut world = World::with(settings(), rules(&["action=accept proto=udp dstports=53"]));
    let datagram = large(4000);
    let pieces = datagram.cut(1500);
    // To a port that is refused, with other bytes, and the header alone.
    let forged = datagram.clone().with(|bytes| {
        bytes[22..24].copy_from_slice(&99u16.to_be_bytes());
        bytes[30..].fill(0xEE);
    });
    let forgeries = [
        forged.cut(1500)[0].clone(),
        forged.piece(0, &forged.payload()[..8], true),
        forged.cut(1500)[1].clone(),
    ];
    let mut packets = vec![pieces[1].clone(), forgeries[2].clone(), pieces[0].clone()];
    packets.extend(forgeries);
    packets.push(pieces[2].clone());
    let (passed, dropped) = send(&mut world, packets);
    assert_eq!(dropped, [DropReason::FragmentDuplicate; 4]);
    let whole = reassemble(&passed);
    whole.assert_sums();
    assert_eq!((whole.to(), &whole.payload()[8..]), ((R, 53), &datagram.payload()[8..]));
    assert_nothing_waits(&world);
}

#[test]
fn x_7_a_duplicate_that_is_late_waits_for_nothing_and_its_name_may_be_used_again() {
    let mut world = World::new();
    let pieces = large(4000).cut(1500);
    send(&mut world, pieces.clone());
    let (passed, dropped) = send(&mut world, [pieces[2].clone(), pieces[1].clone()]);
    assert!(passed.is_empty());
    assert_eq!(dropped, [DropReason::FragmentDuplicate; 2]);
    assert_nothing_waits(&world);
    let (passed, _) = send(&mut world, pieces.clone());
    reassemble(&passed).assert_sums();
    // Soon it is nobody's duplicate any more.
    world.wait(2);
    let (passed, _) = send(&mut world, [pieces[2].clone(), pieces[0].clone(), pieces[1].clone()]);
    reassemble(&passed).assert_sums();
    assert_nothing_waits(&world);
}

#[test]
fn tt_5_a_fragment_after_31_seconds_is_too_late() {
    let mut world = World::new();
    let pieces = large(4000).cut(1500);
    let (passed, _) = send(&mut world, [pieces[0].clone(), pieces[1].clone()]);
    assert_eq!(passed.len(), 2);
    world.wait(31);
    let (passed, dropped) = send(&mut world, [pieces[2].clone()]);
    assert!(passed.is_empty() && dropped.is_empty());
    world.wait(31);
    assert_eq!(world.dropped(DropReason::FragmentTimeout), 1);
    assert_nothing_waits(&world);
}

#[test]
fn tt_5_a_fragment_after_29_seconds_is_not() {
    let mut world = World::new();
    let pieces = large(4000).cut(1500);
    send(&mut world, [pieces[0].clone(), pieces[1].clone()]);
    world.wait(29);
    let (passed, _) = send(&mut world, [pieces[2].clone()]);
    assert_eq!(passed.len(), 1);
}

#[test]
fn tt_5_waiting_fragments_time_out_without_any_packet_or_error() {
    let mut world = World::new();
    assert!(world.client(ONE, large(4000).cut(1500)[1].clone()).is_empty());
    let deadline = world.engine.next_deadline().unwrap();
    assert!(deadline > world.now);
    world.now = deadline;
    assert_eq!(world.advance(), [Out::Discard(DropReason::FragmentTimeout)]);
    assert_eq!(world.engine.next_deadline(), None);
}
