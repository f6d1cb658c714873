//! What netback takes from a client's ring.

use ravelin::vif::abilities::{Abilities, Support};
use ravelin::vif::channels::Channels;
use ravelin::vif::in_flight::InFlight;
use ravelin::vif::netback::Netback;
use ravelin::vif::slots::MAX_SLOTS;
use ravelin::xen::DomainId;
use ravelin::xen::copy::CopyBatch;
use ravelin::xen::event::Port;
use ravelin::xen::host::{Frame, HostMemory};
use ravelin::xen::page::PagePool;

const PAGES: u32 = 256;
const TX: Frame = Frame(PAGES);
const RX: Frame = Frame(PAGES + 1);
const PACKETS: u32 = 60;

/// `netif_tx_request` of 1,000 bytes whose checksum is blank and behind which an extra-info slot lies.
const REQUEST: [u8; 12] = [1, 0, 0, 0, 0, 0, 1 | 2 | 8, 0, 7, 0, 0xe8, 3];
/// `netif_extra_info`: TCP over IPv4, in segments of 500 bytes.
const GSO: [u8; 12] = [1, 0, 0xf4, 1, 1, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn extra_info_slots_count_against_the_room_that_the_uplink_has() {
    let mut memory = HostMemory::new(PAGES as usize + 2);
    let mut pages = PagePool::with_capacity(PAGES as usize);
    (0..PAGES).for_each(|frame| pages.add(memory.give(Frame(frame)).unwrap()));
    let [tx, rx] = [TX, RX].map(|frame| memory.map(frame, 0).unwrap());
    let all =
        Abilities { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
    let mut netback = Netback::connect(DomainId(9), Channels::Shared(Port(1)), all, tx, rx).unwrap();
    for packet in 0..PACKETS as usize {
        for (slot, entry) in [REQUEST, GSO].iter().enumerate() {
            memory.write(TX, 64 + (2 * packet + slot) * entry.len(), entry);
        }
    }
    memory.set_word(TX, 0, 2 * PACKETS);

    let mut batch = CopyBatch::with_capacity(512);
    let mut in_flight = InFlight::with_capacity(512);
    let room = 40;
    let slots = netback.collect(&mut batch, &mut in_flight, &mut pages, room).unwrap();
    // Each packet went into a page of its own.
    let packets = PAGES as usize - pages.free();
    assert_eq!(slots, 2 * packets);
    assert!(slots <= room, "{slots} slots taken where there is room for {room}");
    assert!(slots + 2 + MAX_SLOTS > room, "only {slots} slots taken where there is room for {room}");
}
