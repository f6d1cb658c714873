//! What a backend of the uplink may do to the pages that it was lent, and what ends its connection.

use crate::stub::Stub;
use ravelin::vif::features::{Features, Support};
use ravelin::vif::netfront::{Netfront, UplinkBroken};
use ravelin::vif::parcel::Arrived;
use ravelin::xen::bounce::BounceBuffers;
use ravelin::xen::charge::Charge;
use ravelin::xen::host::HostFrame;
use ravelin::xen::{DomainId, Xen};

const KERNEL: u32 = 1400;
/// Where the stand-in keeps our grant table.
const TABLE: HostFrame = HostFrame(KERNEL);
const BACKEND: DomainId = DomainId(8);
/// Pages that it may keep: an eighth.
const MAY_KEEP: usize = KERNEL as usize / 8;

/// What a backend writes as flags of a receive response.
const EXTRA_INFO: u16 = 8;
const MORE_DATA: u16 = 4;
const LAST: u16 = 0;

/// Entries of the grant table, and the bits in them that say that a page is in use (`GTF_reading | GTF_writing`).
const GRANTS: u32 = 2048;
const IN_USE: u32 = 0x18;

/// Where the entry of a grant reference is.
fn entry(reference: u32) -> (HostFrame, usize) {
    (HostFrame(TABLE.0 + reference / 512), (reference % 512) as usize * 8)
}

struct World {
    xen: Stub,
    netfront: Netfront,
    ring: HostFrame,
    answered: u32,
}

impl World {
    fn new() -> Self {
        let mut xen = Stub::new(KERNEL, 8);
        let all = Features {
            scatter_gather: Support::Yes,
            blank_checksum: Support::Yes,
            segmentation: Support::Yes,
        };
        let netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
        let ring = xen.granted(TABLE, netfront.addresses().rx_ring.0);
        Self { xen, netfront, ring, answered: 0 }
    }

    /// Answers the next buffer as one of 100 bytes, under this name.
    fn answer(&mut self, id: u16, flags: u16) {
        self.answer_with(id, flags, 100);
    }

    /// The same, as one of so many bytes.
    fn answer_with(&mut self, id: u16, flags: u16, bytes: u8) {
        let [i0, i1] = id.to_le_bytes();
        let place = 64 + (self.answered % 256) as usize * 8;
        self.xen.memory.write(self.ring, place, &[i0, i1, 0, 0, flags as u8, 0, bytes, 0]);
        self.answered = self.answered.wrapping_add(1);
        self.xen.memory.set_word(self.ring, 8, self.answered);
    }

    /// Answers so many buffers, or as many as are posted, and keeps them mapped.
    fn keep(&mut self, count: usize) {
        for _ in 0..count {
            if self.answered == self.xen.memory.word(self.ring, 0) {
                break;
            }
            let place = 64 + (self.answered % 256) as usize * 8;
            let reference = self.xen.memory.word(self.ring, place + 4);
            let (table, offset) = entry(reference);
            self.xen.memory.set_word(table, offset, self.xen.memory.word(table, offset) | IN_USE);
            self.answer((self.answered % 256) as u16, LAST);
        }
    }

    /// Unmaps whatever it has mapped.
    fn let_go(&mut self) {
        for (table, offset) in (0..GRANTS).map(entry) {
            self.xen.memory.set_word(table, offset, self.xen.memory.word(table, offset) & !IN_USE);
        }
    }

    fn receive(&mut self) -> Result<(), UplinkBroken> {
        self.netfront.reap(&mut self.xen)?;
        let mut arrived = Vec::new();
        // Without any: each packet lies in pages.
        let bounces = &mut BounceBuffers::default();
        let received = self.netfront.receive(&mut self.xen, bounces, &mut |packet| arrived.push(packet));
        for packet in arrived {
            match packet {
                Arrived::Parcel(parcel) => parcel.release(self.xen.pages()),
                Arrived::Frame(frame) => frame.release(self.xen.pages()),
            }
        }
        received?;
        self.netfront.publish(&mut self.xen);
        Ok(())
    }
}

/// A backend that writes responses with these names and flags breaks the protocol, and that costs nothing.
fn breaks_without_loss(responses: &[(u16, u16)], expected: UplinkBroken) {
    let mut world = World::new();
    let chains = Stub::new(KERNEL, 8).pages().free_chains();
    responses.iter().for_each(|&(id, flags)| world.answer(id, flags));
    assert_eq!(world.receive(), Err(expected));
    assert_eq!(world.netfront.disconnect(&mut world.xen).len(), 0);
    let pages = world.xen.pages();
    assert_eq!((pages.free(), pages.free_chains()), (KERNEL as usize, chains));
}

#[test]
fn b_2_a_packet_without_its_last_slot_costs_no_page() {
    breaks_without_loss(&[(0, MORE_DATA), (1, MORE_DATA), (2, MORE_DATA)], UplinkBroken::Slots);
}

#[test]
fn b_2_a_wrong_name_in_the_middle_of_a_packet_costs_no_page() {
    breaks_without_loss(&[(0, MORE_DATA), (9, MORE_DATA), (2, LAST)], UplinkBroken::UnknownId);
}

#[test]
fn b_2_extra_info_that_is_missing_costs_no_page() {
    breaks_without_loss(&[(0, EXTRA_INFO)], UplinkBroken::Slots);
}

#[test]
fn b_2_extra_info_that_was_not_offered_costs_no_page() {
    // The entry behind the first slot is of type 1 and length 100: no segmentation that there is.
    breaks_without_loss(&[(0, EXTRA_INFO | MORE_DATA), (1, LAST), (2, LAST)], UplinkBroken::ExtraInfo);
}

#[test]
fn b_1_a_backend_that_keeps_what_it_answered_loses_the_connection_before_it_has_all() {
    let mut world = World::new();
    let mut rounds = 0;
    let end = loop {
        world.keep(256);
        match world.receive() {
            Ok(()) => rounds += 1,
            Err(broken) => break broken,
        }
        assert!(rounds < 20, "{} pages free", world.xen.pages().free());
    };
    assert_eq!(end, UplinkBroken::KeptPages);
    assert_eq!(world.xen.pages().charged(Charge::KEPT), MAY_KEEP + 1);
    assert!(world.xen.pages().free() > KERNEL as usize / 2, "{} pages free", world.xen.pages().free());
}

#[test]
fn b_1_a_backend_that_lets_go_in_time_keeps_its_connection() {
    let mut world = World::new();
    for _ in 0..20 {
        world.keep(MAY_KEEP);
        assert_eq!(world.receive(), Ok(()));
        world.let_go();
    }
    assert_eq!(world.netfront.traffic().kept_page, 20 * MAY_KEEP as u64);
}

#[test]
fn a_packet_without_an_ethernet_header_is_none() {
    let mut world = World::new();
    let free = world.xen.pages().free();
    for (id, bytes) in (0..).zip([0, 13, 14]) {
        world.answer_with(id, LAST, bytes);
    }
    assert_eq!(world.receive(), Ok(()));
    let traffic = world.netfront.traffic();
    assert_eq!((traffic.bad_packet, traffic.received, world.xen.pages().free()), (2, 1, free));
}
