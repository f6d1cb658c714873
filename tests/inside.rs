//! Addresses that belong to clients that are not connected (Qubes OS' `/connected-ips`).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::engine::inside::InsideAddresses;
use std::net::{Ipv4Addr, SocketAddrV4};
use support::*;

/// A client that is switched off.
const OFF: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 77);

#[test]
fn a_packet_to_a_client_that_is_not_there_does_not_leave_by_the_uplink() {
    let mut world = World::new();
    world.out_u(ONE, udp((C1, 5000), (OFF, 53)));
    world.engine.set_inside_addresses(InsideAddresses::new([C1, OFF]));
    // Nor does the flow go on that began before it was known.
    world.client_nothing(ONE, udp((C1, 5000), (OFF, 53)), DropReason::NoClient);
    world.client_nothing(ONE, udp((C1, 5001), (OFF, 53)), DropReason::NoClient);
    assert_eq!(world.flows(), 0);
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
}

#[test]
fn nor_does_a_question_of_our_own_to_such_an_address() {
    let mut world = World::new();
    let asked = |world: &mut World| {
        let mut recorder = Recorder::default();
        world.engine.send_own(4000, SocketAddrV4::new(OFF, 53), b"?", &mut recorder);
        recorder.out.len()
    };
    assert_eq!(asked(&mut world), 1);
    world.engine.set_inside_addresses(InsideAddresses::new([OFF]));
    assert_eq!(asked(&mut world), 0);
}

#[test]
fn nobody_on_the_uplink_poses_as_a_client_that_is_not_there() {
    let mut world = World::with(settings(), forwarding(&[(17, 8080, C1, 80)]));
    world.engine.set_inside_addresses(InsideAddresses::new([OFF]));
    world.uplink_nothing(udp((OFF, 5000), (F, 8080)), DropReason::InsideSource);
    world.uplink_nothing(echo_request(OFF, F, 1), DropReason::InsideSource);
    world.out_c(ONE, udp((R, 5000), (F, 8080)));
    world.engine.set_inside_addresses(InsideAddresses::default());
    world.out_c(ONE, udp((OFF, 5000), (F, 8080)));
}
