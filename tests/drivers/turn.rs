//! What one client's turn may cost, by what it sends.

use crate::stub::Stub;
use ravelin::base::time::Moment;
use ravelin::vif::backpressure::{Budget, EgressLimits};
use ravelin::vif::channels::Channels;
use ravelin::vif::features::{Features, Support};
use ravelin::vif::in_flight::InFlight;
use ravelin::vif::netback::Netback;
use ravelin::vif::token_bucket::{RateLimit, TokenBucket};
use ravelin::xen::copy::CopyBatch;
use ravelin::xen::event::Port;
use ravelin::xen::grant::Gref;
use ravelin::xen::host::HostFrame;
use ravelin::xen::{DomainId, Xen};

const KERNEL: u32 = 2400;
const RINGS: [u32; 2] = [KERNEL + 4, KERNEL + 5];
const CLIENT: DomainId = DomainId(9);
/// An uplink that takes everything as it comes.
const WAY_OUT: EgressLimits = EgressLimits { segmentation: Support::Yes, mtu: 65_521 };

/// `netif_tx_request` of `size` bytes, of a packet of as many if it is the first; whether another slot follows.
fn slot(size: u16, follows: Follows) -> [u8; 12] {
    let ([low, high], flags) = (size.to_le_bytes(), if follows == Follows::Yes { 4 } else { 0 });
    [0x6c, 9, 0, 0, 0, 0, flags, 0, 7, 0, low, high]
}

#[derive(Clone, Copy, PartialEq)]
enum Follows {
    Yes,
    No,
}

/// A packet of `bytes` in as many slots: what the first leaves is spread over the others.
fn packet(bytes: u16, slots: u16) -> Vec<[u8; 12]> {
    let other = if slots > 1 { (bytes / slots).max(1) } else { 0 };
    let follows = |index| if index + 1 < slots { Follows::Yes } else { Follows::No };
    (0..slots).map(|index| slot(if index == 0 { bytes } else { other }, follows(index))).collect()
}

/// A client whose ring is full of such packets.
fn client(packet: &[[u8; 12]]) -> (Stub, Netback) {
    let mut xen = Stub::new(KERNEL, 16);
    let all =
        Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
    let [tx, rx] = RINGS.map(|ring| xen.map(CLIENT, Gref(ring)).unwrap());
    let charges = xen.pages().open(CLIENT).unwrap();
    let netback = Netback::connect(CLIENT, charges, Channels::Shared(Port(1)), all, tx, rx).unwrap();
    let slots = 256 / packet.len() * packet.len();
    for (at, entry) in packet.iter().cycle().take(slots).enumerate() {
        xen.memory.write(HostFrame(RINGS[0]), 64 + at * 12, entry);
    }
    xen.memory.set_word(HostFrame(RINGS[0]), 0, slots as u32);
    (xen, netback)
}

/// Copies in its first turn.
fn copies(packet: &[[u8; 12]]) -> usize {
    let (mut xen, mut netback) = client(packet);
    let (mut batch, mut in_flight) = (CopyBatch::with_capacity(512), InFlight::with_capacity(512));
    netback.collect(&mut batch, &mut in_flight, xen.pages(), usize::MAX, WAY_OUT).unwrap();
    batch.waiting()
}

#[test]
fn s_5_a_turn_costs_as_many_copies_whatever_the_packets_are_cut_into() {
    let whole = copies(&packet(60, 1));
    assert!((64..128).contains(&whole), "{whole}");
    for (bytes, slots) in [(59, 18), (60, 2), (1514, 18), (1514, 1), (65_000, 16)] {
        let cut = copies(&packet(bytes, slots));
        assert!(cut <= whole * 5 / 4, "{bytes} bytes in {slots} slots: {cut} copies, in one {whole}");
    }
}

/// 65,000 bytes in 16 slots, to be segmented into as many as it takes of 1,448 bytes of payload.
fn large_packet() -> Vec<[u8; 12]> {
    let mut packet = packet(65_000, 16);
    packet[0][6] |= 1 | 2 | 8;
    let [low, high] = 1448u16.to_le_bytes();
    packet.insert(1, [1, 0, low, high, 1, 0, 0, 0, 0, 0, 0, 0]);
    packet
}

#[test]
fn s_5_a_packet_that_leaves_in_pieces_takes_up_room_for_as_many() {
    let take = |packet: &[[u8; 12]], way_out| {
        let (mut xen, mut netback) = client(packet);
        let (mut batch, mut in_flight) = (CopyBatch::with_capacity(512), InFlight::with_capacity(512));
        let slots = netback.collect(&mut batch, &mut in_flight, xen.pages(), 100, way_out).unwrap();
        (slots, in_flight.collected.len(), netback.usual_slots())
    };
    let cuts = EgressLimits { segmentation: Support::No, mtu: 1500 };
    // 64,946 bytes of payload in 17 slots. A turn would take two or three such packets.
    let (in_segments, as_it_came) = (64_946usize.div_ceil(1448) + 17, 17);
    assert_eq!(take(&large_packet(), cuts), (in_segments, 1, in_segments));
    assert_eq!(take(&large_packet(), WAY_OUT), (2 * as_it_came, 2, as_it_came));
    // What is not TCP is cut to fragments, of which all but the last are a multiple of 8 bytes.
    let fragments = 64_966usize.div_ceil(1480) + 16;
    assert_eq!(take(&packet(65_000, 16), cuts), (fragments, 1, fragments));
    assert_eq!(take(&packet(65_000, 16), WAY_OUT), (48, 3, 16));
    assert_eq!(take(&packet(1514, 1), cuts).2, 1);
    assert_eq!(take(&packet(1515, 1), cuts).2, 3);
}

#[test]
fn v_2_what_is_too_much_waits_in_the_ring_until_the_next_interval() {
    let (mut xen, mut netback) = client(&packet(1000, 1));
    let at = |milliseconds: u64| Moment::from_nanoseconds((1000 + milliseconds) * 1_000_000);
    let limit = RateLimit::parse("10000,50000").unwrap();
    netback.set_bucket(TokenBucket::new(Some(limit), at(0)));
    let (mut batch, mut in_flight) = (CopyBatch::with_capacity(512), InFlight::with_capacity(512));
    let mut turn = |now| {
        let intake = netback.intake(Budget::Slots(usize::MAX), now);
        let taken =
            netback.collect(&mut batch, &mut in_flight, xen.pages(), intake.slots(), WAY_OUT).unwrap();
        (taken, netback.deadline())
    };
    assert_eq!(turn(at(0)), (10, Some(at(50))));
    assert_eq!(turn(at(49)), (0, Some(at(50))));
    assert_eq!(turn(at(50)), (10, Some(at(100))));
    // Three intervals later there is no more than one's.
    assert_eq!(turn(at(250)), (10, Some(at(300))));
}
