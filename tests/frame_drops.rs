//! Frames that are dropped before the engine sees them, or after it has let them pass: each is counted once, for the
//! right reason and no other.
//!
//! Single frames in the simulated Xen. Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::base::drop_reason::DropReason;
use ravelin::kernel::egress::GATEWAY_MAC;
use ravelin::route::neighbour::waiting;
use ravelin::sim::cast::{FIREWALL, GATEWAY, SERVER, UPLINK_MAC, client_address, client_mac};
use ravelin::sim::frame::{finish, frame};
use ravelin::sim::injection::Injection;
use ravelin::wire::arp::{Arp, Operation};
use ravelin::wire::ethernet::Mac;
use ravelin::xen::Xen;
use ravelin::xen::charge::Charge;
use std::net::Ipv4Addr;

/// The uplink's router.
const ROUTER: Mac = Mac([0, 0x16, 0x3e, 0, 0, 9]);
/// An Ethernet address that nobody has.
const NOBODY: Mac = Mac([2, 0, 0, 0, 0, 7]);
/// An address on the uplink's network that nobody answers for.
const SILENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 77);

/// What is dropped while `act` goes on, and how often: by the loop and by the engine.
fn drops(world: &mut Injection, act: impl FnOnce(&mut Injection)) -> Vec<(DropReason, u64)> {
    let count = |world: &mut Injection| {
        let firewall = world.firewall();
        let of =
            |&why| firewall.egress().drops.of(why) + firewall.engine().engine().counters().dropped.of(why);
        DropReason::ALL.iter().map(of).collect::<Vec<u64>>()
    };
    let before = count(world);
    act(world);
    assert!(world.violations().is_empty(), "{:#?}", world.violations());
    let new = count(world).into_iter().zip(before).map(|(after, before)| after - before);
    DropReason::ALL.iter().copied().zip(new).filter(|(_, count)| *count > 0).collect()
}

fn drops_from_client(world: &mut Injection, frames: &[Vec<u8>]) -> Vec<(DropReason, u64)> {
    drops(world, |world| world.send_from_client(frames.to_vec()))
}

fn drops_from_uplink(world: &mut Injection, frames: &[Vec<u8>]) -> Vec<(DropReason, u64)> {
    drops(world, |world| world.send_from_uplink(frames.to_vec()))
}

/// An IPv4 packet with right checksums.
fn packet(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 64, protocol, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    finish(&mut packet);
    packet
}

/// A UDP datagram without content.
fn datagram(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    packet(from, to, 17, &[0x13, 0x88, 0, 7, 0, 8, 0, 0])
}

/// A datagram as the client sends it.
fn sent_to(to: Ipv4Addr) -> Vec<u8> {
    frame(GATEWAY_MAC.0, client_mac(0), &datagram(client_address(0), to))
}

/// A frame with another EtherType: that of IPv6.
fn ipv6(mut frame: Vec<u8>) -> Vec<u8> {
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    frame
}

fn arp(operation: Operation, from: (Ipv4Addr, Mac), target: Ipv4Addr, destination: Mac) -> Vec<u8> {
    let (sender, sender_mac) = from;
    Arp { operation, sender_mac, sender, target_mac: Mac([0; 6]), target }.frame(destination).to_vec()
}

#[test]
fn what_is_neither_ipv4_nor_arp_is_of_no_protocol_of_ours() {
    let mut world = Injection::boot();
    let short = frame(GATEWAY_MAC.0, client_mac(0), &datagram(client_address(0), SERVER)[..15]);
    let frames = [ipv6(sent_to(SERVER)), short];
    assert_eq!(drops_from_client(&mut world, &frames), [(DropReason::Protocol, 1), (DropReason::IpShort, 1)]);
    let outside = ipv6(frame(UPLINK_MAC, ROUTER.0, &datagram(SERVER, FIREWALL)));
    assert_eq!(drops_from_uplink(&mut world, &[outside]), [(DropReason::Protocol, 1)]);
}

#[test]
fn frames_to_other_hosts_and_packets_to_groups_are_not_taken() {
    let packet = datagram(client_address(0), SERVER);
    let frames = [NOBODY, Mac::BROADCAST].map(|to| frame(to.0, client_mac(0), &packet));
    assert_eq!(drops_from_client(&mut Injection::boot_plain(), &frames), [(DropReason::OtherHost, 2)]);
    let mut world = Injection::boot();
    assert_eq!(drops_from_client(&mut world, &frames), [(DropReason::OtherHost, 2)]);
    let packet = datagram(SERVER, FIREWALL);
    let packets = [NOBODY, Mac::BROADCAST].map(|to| frame(to.0, ROUTER.0, &packet));
    let question = arp(Operation::Request, (GATEWAY, ROUTER), FIREWALL, NOBODY);
    let frames = [&packets[..], &[question]].concat();
    assert_eq!(drops_from_uplink(&mut world, &frames), [(DropReason::OtherHost, 3)]);
}

#[test]
fn a_client_has_one_ethernet_address() {
    let frames =
        [NOBODY, GATEWAY_MAC].map(|from| frame(GATEWAY_MAC.0, from.0, &datagram(client_address(0), SERVER)));
    for mut world in [Injection::boot(), Injection::boot_plain()] {
        assert_eq!(drops_from_client(&mut world, &frames), [(DropReason::SpoofedMac, 2)]);
    }
}

#[test]
fn nobody_on_the_uplink_is_a_client_or_us() {
    let mut world = Injection::boot();
    let packet = frame(UPLINK_MAC, ROUTER.0, &datagram(client_address(0), FIREWALL));
    let claims = [client_address(0), FIREWALL]
        .map(|address| arp(Operation::Reply, (address, ROUTER), FIREWALL, Mac(UPLINK_MAC)));
    // Where a packet lies in its page decides which way it takes.
    let frames = [&vec![packet; 40][..], &claims].concat();
    assert_eq!(drops_from_uplink(&mut world, &frames), [(DropReason::SpoofedUplink, 42)]);
}

#[test]
fn arp_that_needs_no_answer_gets_none() {
    let mut world = Injection::boot();
    let own = (client_address(0), Mac(client_mac(0)));
    let announcement = arp(Operation::Request, own, client_address(0), Mac::BROADCAST);
    let reply = arp(Operation::Reply, own, SERVER, GATEWAY_MAC);
    let as_another = arp(Operation::Request, (SERVER, own.1), GATEWAY, Mac::BROADCAST);
    let frames = [announcement, reply, as_another];
    assert_eq!(drops_from_client(&mut world, &frames), [(DropReason::ArpUnanswered, 3)]);
    let question = arp(Operation::Request, (GATEWAY, ROUTER), FIREWALL, Mac::BROADCAST);
    let cut = question[..30].to_vec();
    assert_eq!(drops_from_uplink(&mut world, &[question, cut]), [(DropReason::ArpUnanswered, 1)]);
}

#[test]
fn a_segmentation_that_cannot_be_is_refused() {
    let mut world = Injection::boot();
    // Two halves of a stream, which the driver joins; their headers say that they are four bytes long.
    let segments = [0u32, 116].map(|sequence| {
        let [s0, s1, s2, s3] = sequence.to_be_bytes();
        let header = [0x13, 0x88, 0, 80, s0, s1, s2, s3, 0, 0, 0, 9, 0x10, 0x10, 16, 0, 0, 0, 0, 0];
        let segment = packet(client_address(0), SERVER, 6, &[&header[..], &[0; 100]].concat());
        frame(GATEWAY_MAC.0, client_mac(0), &segment)
    });
    assert_eq!(drops_from_client(&mut world, &segments), [(DropReason::Segmentation, 1)]);
}

#[test]
fn without_an_uplink_nothing_leaves_by_it() {
    let mut world = Injection::boot();
    // Where the router is was asked and answered, and is still known.
    let router = arp(Operation::Reply, (GATEWAY, ROUTER), FIREWALL, Mac(UPLINK_MAC));
    assert_eq!(drops_from_client(&mut world, &[sent_to(SERVER)]), []);
    assert_eq!(drops_from_uplink(&mut world, &[router]), []);
    assert_eq!(drops(&mut world, Injection::detach_uplink), []);
    let three = [SERVER; 3].map(sent_to);
    assert_eq!(drops_from_client(&mut world, &three), [(DropReason::NoUplink, 3)]);
}

#[test]
fn of_too_many_packets_for_a_silent_neighbour_the_oldest_go() {
    let mut world = Injection::boot();
    let all: Vec<Vec<u8>> = (0..waiting::PAGES.per_account + 3).map(|_| sent_to(SILENT)).collect();
    let (fit, more) = all.split_at(waiting::PAGES.per_account as usize);
    assert_eq!(drops_from_client(&mut world, fit), []);
    assert_eq!(drops_from_client(&mut world, more), [(DropReason::NeighbourQueueFull, 3)]);
}

#[test]
fn without_a_free_page_nothing_is_answered() {
    let mut world = Injection::boot();
    let question = arp(Operation::Request, (GATEWAY, ROUTER), FIREWALL, Mac::BROADCAST);
    assert_eq!(drops_from_uplink(&mut world, std::slice::from_ref(&question)), []);
    // The page of the answer is given back when the next frame is looked at.
    let frame = ipv6(question.clone());
    assert_eq!(drops_from_uplink(&mut world, &[frame]), [(DropReason::Protocol, 1)]);
    // Everything that the firewall has for packets of its own.
    let pages = world.firewall().hypervisor().pages();
    let taken: Vec<_> = std::iter::from_fn(|| pages.take(Charge::OWN)).collect();
    assert!(!taken.is_empty());
    let two = [question.clone(), question.clone()];
    assert_eq!(drops_from_uplink(&mut world, &two), [(DropReason::NoPage, 2)]);
    let pages = world.firewall().hypervisor().pages();
    taken.into_iter().for_each(|page| pages.give(page));
    assert_eq!(drops_from_uplink(&mut world, &[question]), []);
}
