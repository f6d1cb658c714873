//! What netback takes from a client's ring.

use crate::stub::Stub;
use ravelin::vif::backpressure::EgressLimits;
use ravelin::vif::channels::Channels;
use ravelin::vif::features::{Features, Support};
use ravelin::vif::in_flight::{Collected, InFlight, Landing, Single};
use ravelin::vif::netback::Netback;
use ravelin::vif::slots::MAX_SLOTS;
use ravelin::xen::charge::Charge;
use ravelin::xen::copy::CopyBatch;
use ravelin::xen::event::Port;
use ravelin::xen::grant::Gref;
use ravelin::xen::host::{HostFrame, HostMemory};
use ravelin::xen::page_pool::PagePool;
use ravelin::xen::{DomainId, Xen};

const CLIENT: DomainId = DomainId(9);
const ALL: Features =
    Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
/// An uplink that takes everything as it comes.
const WAY_OUT: EgressLimits = EgressLimits { segmentation: Support::Yes, mtu: 1500 };
const PAGES: u32 = 256;
const TX: HostFrame = HostFrame(PAGES);
const RX: HostFrame = HostFrame(PAGES + 1);
const PACKETS: u32 = 60;

/// `netif_tx_request` of 1,000 bytes whose checksum is blank and behind which an extra-info slot lies.
const REQUEST: [u8; 12] = [1, 0, 0, 0, 0, 0, 1 | 2 | 8, 0, 7, 0, 0xe8, 3];
/// `netif_extra_info`: TCP over IPv4, in segments of 500 bytes.
const GSO: [u8; 12] = [1, 0, 0xf4, 1, 1, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn extra_info_slots_count_against_the_room_that_the_uplink_has() {
    let mut memory = HostMemory::new(PAGES as usize + 2);
    let mut pages = PagePool::with_capacity(PAGES as usize);
    (0..PAGES).for_each(|frame| pages.add(memory.give(HostFrame(frame)).unwrap()));
    let [tx, rx] = [TX, RX].map(|frame| memory.map(frame, 0).unwrap());
    let charges = pages.open(CLIENT).unwrap();
    let mut netback = Netback::connect(CLIENT, charges, Channels::Shared(Port(1)), ALL, tx, rx).unwrap();
    for packet in 0..PACKETS as usize {
        for (slot, entry) in [REQUEST, GSO].iter().enumerate() {
            memory.write(TX, 64 + (2 * packet + slot) * entry.len(), entry);
        }
    }
    memory.set_word(TX, 0, 2 * PACKETS);

    let mut batch = CopyBatch::with_capacity(512);
    let mut in_flight = InFlight::with_capacity(512);
    let room = 40;
    let slots = netback.collect(&mut batch, &mut in_flight, &mut pages, room, WAY_OUT).unwrap();
    // Each packet went into a page of its own.
    let packets = PAGES as usize - pages.free();
    assert_eq!(slots, 2 * packets);
    assert!(slots <= room, "{slots} slots taken where there is room for {room}");
    assert!(slots + 2 + MAX_SLOTS > room, "only {slots} slots taken where there is room for {room}");
}

#[test]
fn packet_that_cannot_be_read_fails_all_its_slots_and_no_other() {
    let mut xen = Stub::new(PAGES, 8);
    let ring = HostFrame(PAGES + 4);
    let [tx, rx] = [ring, HostFrame(PAGES + 5)].map(|ring| xen.map(CLIENT, Gref(ring.0)).unwrap());
    let charges = xen.pages().open(CLIENT).unwrap();
    let mut netback = Netback::connect(CLIENT, charges, Channels::Shared(Port(1)), ALL, tx, rx).unwrap();
    // 3,000 bytes to be segmented: 2,000 of them in the first slot. Then a packet of its own.
    let [mut first, mut second, mut alone] = [REQUEST; 3];
    (first[6], first[8], first[10], first[11]) = (1 | 2 | 4 | 8, 5, 0xb8, 0x0b);
    (second[6], second[8]) = (0, 6);
    (alone[6], alone[8]) = (0, 7);
    for (slot, entry) in [first, GSO, second, alone].iter().enumerate() {
        xen.memory.write(ring, 64 + slot * entry.len(), entry);
    }
    xen.memory.set_word(ring, 0, 4);

    let (mut batch, mut in_flight) = (CopyBatch::with_capacity(64), InFlight::with_capacity(64));
    assert_eq!(netback.collect(&mut batch, &mut in_flight, xen.pages(), 256, WAY_OUT), Ok(4));
    // Of the two copies of the first packet, the second.
    batch.run(|copies| copies.iter_mut().zip([0, -3, 0]).for_each(|(copy, status)| copy.status = status));
    netback.settle(&batch, &mut in_flight, &mut xen);
    let has_arrived = |packet: &Collected| match packet {
        Collected::Single(single) => single.bytes > 0,
        Collected::Frame(_) => true,
        Collected::Several(_) | Collected::Nothing => false,
    };
    let arrived = in_flight.collected.iter().filter(|(_, packet)| has_arrived(packet)).count();

    let answer = |slot: usize| xen.memory.word(ring, 64 + 12 * slot);
    let (error, null) = (0xffff << 16, 1 << 16);
    assert_eq!(xen.memory.word(ring, 8), 4);
    assert_eq!([0, 1, 2, 3].map(answer), [5 | error, null, 6 | error, 7]);
    assert_eq!((netback.traffic().refused, netback.traffic().received, arrived), (1, 1, 1));
    assert_eq!(xen.pages().free(), PAGES as usize - 1);
}

#[test]
fn small_packet_that_cannot_be_read_is_refused_and_goes_no_further() {
    let mut xen = Stub::new(PAGES, 8);
    let ring = HostFrame(PAGES + 4);
    let [tx, rx] = [ring, HostFrame(PAGES + 5)].map(|ring| xen.map(CLIENT, Gref(ring.0)).unwrap());
    let charges = xen.pages().open(CLIENT).unwrap();
    let mut netback = Netback::connect(CLIENT, charges, Channels::Shared(Port(1)), ALL, tx, rx).unwrap();
    for slot in 0..3 {
        let small = [1, 0, 0, 0, 0, 0, 0, 0, 5 + slot, 0, 60, 0];
        xen.memory.write(ring, 64 + usize::from(slot) * small.len(), &small);
    }
    xen.memory.set_word(ring, 0, 3);

    let (mut batch, mut in_flight) = (CopyBatch::with_capacity(64), InFlight::with_capacity(64));
    batch.bounces.add(xen.pages().take(Charge::NOBODY).unwrap());
    assert_eq!(netback.collect(&mut batch, &mut in_flight, xen.pages(), 256, WAY_OUT), Ok(3));
    batch.run(|copies| copies.iter_mut().zip([0, -3, 0]).for_each(|(copy, status)| copy.status = status));
    netback.settle(&batch, &mut in_flight, &mut xen);
    let bytes = |(_, packet): &(_, Collected)| match packet {
        Collected::Single(Single { landing: Landing::Bounce(_), bytes, .. }) => Some(*bytes),
        _ => None,
    };
    let arrived: Vec<_> = in_flight.collected.iter().map(bytes).collect();
    assert_eq!(arrived, [Some(60), Some(0), Some(60)]);
    let answer = |xen: &Stub, slot: usize| xen.memory.word(ring, 64 + 12 * slot);
    assert_eq!(
        (xen.memory.word(ring, 8), [0, 1, 2].map(|slot| answer(&xen, slot))),
        (3, [5, 6 | 0xffff << 16, 7])
    );
    assert_eq!((netback.traffic().refused, netback.traffic().received), (1, 2));

    // One more, and nothing fails.
    in_flight.collected.clear();
    in_flight.settled = 0;
    xen.memory.set_word(ring, 0, 4);
    xen.memory.write(ring, 64 + 3 * 12, &[1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 60, 0]);
    assert_eq!(netback.collect(&mut batch, &mut in_flight, xen.pages(), 256, WAY_OUT), Ok(1));
    batch.run(|copies| copies.iter_mut().for_each(|copy| copy.status = 0));
    netback.settle(&batch, &mut in_flight, &mut xen);
    assert_eq!((netback.traffic().refused, netback.traffic().received, answer(&xen, 3)), (1, 3, 8));
}
#[test]
fn small_packets_land_in_bounce_buffers_as_long_as_there_are_any_and_what_fails_is_nothing() {
    let mut xen = Stub::new(PAGES, 8);
    let ring = HostFrame(PAGES + 4);
    let [tx, rx] = [ring, HostFrame(PAGES + 5)].map(|ring| xen.map(CLIENT, Gref(ring.0)).unwrap());
    let charges = xen.pages().open(CLIENT).unwrap();
    let mut netback = Netback::connect(CLIENT, charges, Channels::Shared(Port(1)), ALL, tx, rx).unwrap();
    let (mut batch, mut in_flight) = (CopyBatch::with_capacity(64), InFlight::with_capacity(64));
    batch.bounces.add(xen.pages().take(Charge::OWN).unwrap());
    // All but two are in use.
    assert!((0..30).all(|_| batch.bounces.take().is_some()));
    let sizes = [13u8, 128, 129, 60, 14];
    for (slot, size) in sizes.iter().enumerate() {
        let request = [1, 0, 0, 0, 0, 0, 0, 0, slot as u8, 0, *size, 0];
        xen.memory.write(ring, 64 + slot * request.len(), &request);
    }
    xen.memory.set_word(ring, 0, sizes.len() as u32);
    let free = xen.pages().free();
    netback.collect(&mut batch, &mut in_flight, xen.pages(), 256, WAY_OUT).unwrap();
    assert_eq!(free - xen.pages().free(), 2);
    batch.run(|copies| copies.iter_mut().zip([0, 0, -3, 0]).for_each(|(copy, status)| copy.status = status));
    netback.settle(&batch, &mut in_flight, &mut xen);
    let landed = |(_, packet): &(_, Collected)| match packet {
        Collected::Single(single) => (matches!(single.landing, Landing::Bounce(_)), single.bytes),
        other => panic!("{other:?}"),
    };
    let landed: Vec<_> = in_flight.collected.iter().map(landed).collect();
    assert_eq!(landed, [(true, 128), (false, 129), (true, 0), (false, 14)]);
    let error = 0xffff << 16;
    let answer = |slot: usize| xen.memory.word(ring, 64 + 12 * slot);
    assert_eq!([0, 1, 2, 3, 4].map(answer), [error, 1, 2, 3 | error, 4]);
}
