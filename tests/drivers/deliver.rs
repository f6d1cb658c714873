//! What netback answers to the buffers that a client posted.

use crate::stub::Stub;
use ravelin::base::time::Moment;
use ravelin::vif::channels::Channels;
use ravelin::vif::chunks::Chunks;
use ravelin::vif::features::{Features, Support};
use ravelin::vif::frame::Frame;
use ravelin::vif::in_flight::InFlight;
use ravelin::vif::netback::Netback;
use ravelin::vif::parcel::{Body, Parcel};
use ravelin::wire::packet::{Checksum, Gso, GsoKind, Offload};
use ravelin::xen::charge::Charge;
use ravelin::xen::copy::CopyBatch;
use ravelin::xen::event::Port;
use ravelin::xen::grant::Gref;
use ravelin::xen::page_pool::Chunk;
use ravelin::xen::{DomainId, Xen, host};
use std::num::NonZeroU16;
use std::time::Duration;

const KERNEL: u32 = 64;
const CLIENT: DomainId = DomainId(9);
/// Frames of the client: its rings, and the first of its buffers.
const RINGS: [host::HostFrame; 2] = [host::HostFrame(KERNEL + 4), host::HostFrame(KERNEL + 5)];
const BUFFERS: u32 = KERNEL + 6;
/// Names of the buffers count from here.
const NAME: u16 = 0x120;

struct World {
    xen: Stub,
    netback: Netback,
    batch: CopyBatch,
    in_flight: InFlight,
    now: Moment,
}

impl World {
    /// A client that posted `count` buffers.
    fn with_buffers(count: u16) -> Self {
        let mut xen = Stub::new(KERNEL, 32);
        let all = Features {
            scatter_gather: Support::Yes,
            blank_checksum: Support::Yes,
            segmentation: Support::Yes,
        };
        let [tx, rx] = RINGS.map(|ring| xen.map(CLIENT, Gref(ring.0)).unwrap());
        let charges = xen.pages().open(CLIENT).unwrap();
        let netback = Netback::connect(CLIENT, charges, Channels::Shared(Port(1)), all, tx, rx).unwrap();
        for slot in 0..count {
            let reference = BUFFERS + u32::from(slot);
            xen.memory.set_word(RINGS[1], 64 + 8 * usize::from(slot), (NAME + slot).into());
            xen.memory.set_word(RINGS[1], 68 + 8 * usize::from(slot), reference);
        }
        xen.memory.set_word(RINGS[1], 0, count.into());
        let now = xen.now();
        Self {
            xen,
            netback,
            batch: CopyBatch::with_capacity(64),
            in_flight: InFlight::with_capacity(64),
            now,
        }
    }

    /// Queues a frame of pieces of so many bytes.
    fn send(&mut self, pieces: &[u16], offload: Offload) {
        let pages = self.xen.pages();
        let mut segments: Option<Chunks> = None;
        for &bytes in pieces {
            let segment = Chunk { page: pages.take(Charge::UPLINK).unwrap(), offset: 0, bytes };
            match &mut segments {
                Some(segments) => segments.push(segment, pages).unwrap(),
                None => segments = Some(Chunks::one(segment)),
            }
        }
        let frame = Frame::new(segments.unwrap(), offload, pages).unwrap();
        let now = self.now;
        self.netback.send(frame, pages, now);
    }

    /// Runs the copies; each gets what `status` says.
    fn run(&mut self, status: impl Fn(usize) -> i16) {
        self.netback.deliver(&mut self.batch, &mut self.in_flight, self.xen.pages(), self.now).unwrap();
        self.batch.run(|copies| {
            copies.iter_mut().enumerate().for_each(|(index, copy)| copy.status = status(index));
        });
        self.netback.settle(&self.batch, &mut self.in_flight, &mut self.xen);
        assert!(self.in_flight.collected.is_empty());
    }

    /// The answers that are published: name, offset, flags, status; of an extra-info entry what lies there.
    fn answers(&self) -> Vec<(u16, u16, u16, i16)> {
        let halves = |word: u32| (word as u16, (word >> 16) as u16);
        let answer = |slot: u32| {
            let at = 64 + 8 * slot as usize;
            let (name, offset) = halves(self.xen.memory.word(RINGS[1], at));
            let (flags, status) = halves(self.xen.memory.word(RINGS[1], at + 4));
            (name, offset, flags, status as i16)
        };
        (0..self.xen.memory.word(RINGS[1], 8)).map(answer).collect()
    }
}

const GSO: Offload = Offload {
    checksum: Checksum::Blank,
    gso: Some(Gso { kind: GsoKind::TcpV4, segment_bytes: NonZeroU16::new(1400).unwrap() }),
};

#[test]
fn buffers_are_filled_one_after_the_other_and_answered_in_order() {
    let mut world = World::with_buffers(8);
    world.send(&[3000, 4096, 100], GSO);
    world.send(&[60], Offload::NONE);
    world.run(|_| 0);
    // Blank and validated, an extra-info entry next, more data behind that; a buffer filled whole, and the rest.
    let (first, last) = ((NAME, 0, 1 | 2 | 4 | 8, 4096), (NAME + 2, 0, 0, 3100));
    // `netif_extra_info`: segmentation, nothing behind it; 1,400 bytes; TCP over IPv4.
    let extra = (1, 1400, 1, 0);
    assert_eq!(world.answers(), [first, extra, last, (NAME + 3, 0, 0, 60)]);
    assert_eq!((world.netback.traffic().sent, world.xen.pages().free()), (2, KERNEL as usize));
}

#[test]
fn s_3_what_finds_no_buffer_for_ten_seconds_is_dropped_and_not_before() {
    let mut world = World::with_buffers(1);
    world.send(&[4096, 100], Offload::NONE);
    world.now = world.now + Duration::from_secs(4);
    world.send(&[3000, 3000], Offload::NONE);
    world.send(&[60], Offload::NONE);
    assert_eq!(world.netback.deadline(), Some(world.now + Duration::from_secs(6)));
    world.now = world.now + Duration::from_secs(6);
    world.run(|_| 0);
    // The first was too old. The others keep their order: the one buffer is for neither.
    assert_eq!((world.answers(), world.netback.traffic().expired), (vec![], 1));
    world.now = world.now + Duration::from_secs(4);
    world.run(|_| 0);
    assert_eq!(world.answers(), [(NAME, 0, 0, 60)]);
    assert_eq!((world.netback.traffic().expired, world.netback.deadline()), (2, None));
    assert_eq!(world.xen.pages().free(), KERNEL as usize);
}

#[test]
fn s_3_what_is_old_and_finds_its_buffers_is_delivered() {
    let mut world = World::with_buffers(1);
    world.send(&[60], Offload::NONE);
    // As after `xl pause` for hours.
    world.now = world.now + Duration::from_secs(10_000);
    world.run(|_| 0);
    assert_eq!(world.answers(), [(NAME, 0, 0, 60)]);
}

#[test]
fn frame_that_cannot_be_written_fails_all_its_buffers_and_no_other() {
    let mut world = World::with_buffers(8);
    world.send(&[3000, 4096, 100], GSO);
    world.send(&[60], Offload::NONE);
    // Of the four copies of the first frame, the last one.
    world.run(|copy| if copy == 3 { -3 } else { 0 });
    let failed = [NAME, NAME + 1, NAME + 2].map(|name| (name, 0, 0, -1));
    assert_eq!(world.answers()[..3], failed);
    assert_eq!(world.answers()[3..], [(NAME + 3, 0, 0, 60)]);
    assert_eq!((world.netback.traffic().sent, world.netback.traffic().bad_buffer), (1, 1));
    assert_eq!(world.xen.pages().free(), KERNEL as usize);
}

#[test]
fn packet_that_need_not_wait_does_not_overtake_what_waits_for_the_client() {
    let mut world = World::with_buffers(1);
    let mut lent = Vec::new();
    let mut pass = |world: &mut World| {
        let page = world.xen.pages().take(Charge::UPLINK).unwrap();
        let parcel = Parcel { body: Body::Page(page, 0), bytes: 60, checksum: Checksum::Unverified };
        let passing = world.netback.deliver_now(parcel, &mut world.batch, &mut lent);
        passing.map_err(|parcel| parcel.release(world.xen.pages()))
    };
    // It waits for two buffers, and one is posted.
    world.send(&[4096, 100], Offload::NONE);
    assert!(pass(&mut world).is_err());
    world.now = world.now + Duration::from_secs(10);
    world.run(|_| 0);
    assert_eq!((world.netback.waiting(), world.answers()), (0, vec![]));
    assert!(pass(&mut world).is_ok());
    assert!(pass(&mut world).is_err());
    world.run(|_| 0);
    assert_eq!(world.answers(), [(NAME, 0, 0, 60)]);
}
impl World {
    /// Hands the client a packet of so many bytes, if it need not wait. Says whether it does not.
    fn pass(&mut self, bytes: u16) -> bool {
        let page = self.xen.pages().take(Charge::UPLINK).unwrap();
        let parcel = Parcel { body: Body::Page(page, 64), bytes, checksum: Checksum::Validated };
        let mut lent = Vec::new();
        match self.netback.deliver_now(parcel, &mut self.batch, &mut lent) {
            Ok(passing) => {
                self.batch.run(|copies| {
                    copies.iter_mut().for_each(|copy| copy.status = if copy.len == FAILS { -3 } else { 0 });
                });
                if self.batch.result_of(passing.copy).is_err() {
                    self.netback.fail_now(passing.answer);
                }
                let chunk = self.batch.reclaim(lent.pop().unwrap()).unwrap();
                self.xen.pages().give(chunk.page);
                self.netback.settle(&self.batch, &mut self.in_flight, &mut self.xen);
                true
            }
            Err(parcel) => {
                parcel.release(self.xen.pages());
                false
            }
        }
    }
}

/// A packet of so many bytes cannot be written.
const FAILS: u16 = 99;

#[test]
fn what_need_not_wait_goes_past_an_empty_queue_only_and_takes_one_buffer() {
    let mut world = World::with_buffers(3);
    assert!(world.pass(60) && world.pass(FAILS));
    assert_eq!(world.answers(), [(NAME, 0, 1, 60), (NAME + 1, 0, 0, -1)]);
    // One buffer is left, and what waits wants two.
    world.send(&[3000, 3000], Offload::NONE);
    assert!(!world.pass(60));
    assert_eq!(world.answers().len(), 2);
    let traffic = world.netback.traffic();
    assert_eq!((traffic.sent, traffic.bad_buffer, world.netback.waiting()), (1, 1, 2));
    // Without a buffer it waits, too.
    let mut world = World::with_buffers(1);
    assert!(world.pass(61) && !world.pass(62));
    assert_eq!((world.answers(), world.xen.pages().free()), (vec![(NAME, 0, 1, 61)], KERNEL as usize));
}
