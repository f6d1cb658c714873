//! What netfront writes into the uplink's ring.

use crate::stub::Stub;
use ravelin::packet::Offload;
use ravelin::vif::abilities::{Abilities, Support};
use ravelin::vif::frame::Frame;
use ravelin::vif::netfront::Netfront;
use ravelin::vif::segments::Segments;
use ravelin::xen::charge::Charge;
use ravelin::xen::grant::{Access, GrantedPage};
use ravelin::xen::page::Segment;
use ravelin::xen::{DomainId, Xen};

const KERNEL: u32 = 4000;
/// Where the stand-in keeps our grant table.
const TABLE: ravelin::xen::host::Frame = ravelin::xen::host::Frame(KERNEL);
const BACKEND: DomainId = DomainId(8);

/// Sends a frame of as many pieces, each on a page of its own.
fn send(netfront: &mut Netfront, xen: &mut Stub, pieces: usize) {
    let pages = xen.pages();
    let mut segment = || Segment { page: pages.take(Charge::NOBODY).unwrap(), offset: 0, bytes: 1000 };
    let mut segments = Segments::one(segment());
    let others: Vec<_> = (1..pieces).map(|_| segment()).collect();
    others.into_iter().for_each(|other| segments.push(other, xen.pages()).unwrap());
    let frame = Frame::new(segments, Offload::NONE, xen.pages()).unwrap();
    netfront.send(frame, xen.pages());
    netfront.transmit(xen);
    netfront.publish(xen);
}

#[test]
fn frame_that_cannot_be_granted_whole_leaves_nothing_in_the_ring() {
    let mut xen = Stub::new(KERNEL, 8);
    let all =
        Abilities { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
    let mut netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
    let ring = xen.granted(TABLE, netfront.addresses().tx_ring.0);
    // Somebody takes all references but two.
    let mut taken: Vec<GrantedPage> = Vec::new();
    while let Some(page) = xen.pages().take(Charge::NOBODY) {
        match xen.grant(BACKEND, page, Access::ReadOnly, 0..0) {
            Ok(granted) => taken.push(granted),
            Err(page) => {
                xen.pages().give(page);
                break;
            }
        }
    }
    for _ in 0..2 {
        let page = xen.end_grant(taken.pop().unwrap()).unwrap();
        xen.pages().give(page);
    }
    let (free, room) = (xen.pages().free(), netfront.free_slots());

    send(&mut netfront, &mut xen, 3);
    assert_eq!((netfront.traffic().no_grant, netfront.traffic().sent), (1, 0));
    assert_eq!((xen.memory.word(ring, 0), xen.pages().free(), netfront.free_slots()), (0, free, room));

    send(&mut netfront, &mut xen, 2);
    assert_eq!((netfront.traffic().no_grant, netfront.traffic().sent), (1, 1));
    assert_eq!((xen.memory.word(ring, 0), netfront.free_slots()), (2, room - 2));
    // The first says the whole packet's size and that more follows, the second its own.
    let halves = |slot: usize| {
        let at = 64 + 12 * slot;
        (xen.memory.word(ring, at + 4) >> 16, xen.memory.word(ring, at + 8) >> 16)
    };
    assert_eq!((halves(0), halves(1)), ((4, 2000), (0, 1000)));
}
