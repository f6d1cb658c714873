//! What netfront writes into the uplink's ring.

use crate::stub::Stub;
use ravelin::base::side::ClientSlot;
use ravelin::tables::share::Account;
use ravelin::vif::backpressure::{Budget, Drain};
use ravelin::vif::chunks::Chunks;
use ravelin::vif::features::{Features, Support};
use ravelin::vif::frame::Frame;
use ravelin::vif::netfront::{Netfront, UplinkBroken};
use ravelin::vif::parcel::{Body, Parcel};
use ravelin::vif::ring::Wakeup;
use ravelin::vif::slots::MAX_SLOTS;
use ravelin::wire::packet::{Checksum, Offload};
use ravelin::xen::bounce::{BOUNCE_BYTES, BOUNCES_PER_PAGE, BounceBuffers};
use ravelin::xen::charge::Charge;
use ravelin::xen::grant::{Access, GrantedPage};
use ravelin::xen::host::HostFrame;
use ravelin::xen::page_pool::{Chunk, PagePool};
use ravelin::xen::{DomainId, Xen};

const KERNEL: u32 = 4000;
/// Where the stand-in keeps our grant table.
const TABLE: HostFrame = HostFrame(KERNEL);
const BACKEND: DomainId = DomainId(8);

/// Sends a frame of as many pieces of 1,000 bytes, each on a page of its own.
fn send(netfront: &mut Netfront, xen: &mut Stub, pieces: usize) {
    send_pieces(netfront, xen, pieces, 1000);
}

/// The same, of so many bytes each.
fn send_pieces(netfront: &mut Netfront, xen: &mut Stub, pieces: usize, bytes: u16) {
    let pages = xen.pages();
    let mut segment = || Chunk { page: pages.take(Charge::NOBODY).unwrap(), offset: 0, bytes };
    let mut segments = Chunks::one(segment());
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
        Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
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

#[test]
fn v_4_a_frame_is_no_larger_than_a_request_can_say() {
    let mut xen = Stub::new(KERNEL, 8);
    let all =
        Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
    let mut netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
    netfront.publish(&mut xen);
    let (ring, free) = (xen.granted(TABLE, netfront.addresses().tx_ring.0), xen.pages().free());
    send_pieces(&mut netfront, &mut xen, 16, 4096);
    assert_eq!((netfront.traffic().queue_full, xen.memory.word(ring, 0), xen.pages().free()), (1, 0, free));
    send_pieces(&mut netfront, &mut xen, 17, 3855);
    assert_eq!((netfront.traffic().sent, xen.memory.word(ring, 0)), (1, 17));
    assert_eq!(xen.memory.word(ring, 64 + 8) >> 16, 0xffff);
}

/// A frame that a client sent.
fn sent_by(account: Account, charge: Charge, pages: &mut PagePool) -> Frame {
    let segment = Chunk { page: pages.take(charge).unwrap(), offset: 0, bytes: 60 };
    let mut frame = Frame::new(Chunks::one(segment), Offload::NONE, pages).unwrap();
    frame.charge_to(account);
    frame
}

#[test]
fn s_5_a_client_whose_last_pages_the_backend_has_waits_until_they_come_back() {
    let mut xen = Stub::new(KERNEL, 8);
    let all =
        Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
    let mut netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
    netfront.publish(&mut xen);
    let ring = xen.granted(TABLE, netfront.addresses().tx_ring.0);
    let (account, sent) = (Account::client(ClientSlot(3)), xen.pages().open(DomainId(9)).unwrap().sent());
    let open = netfront.room(account, sent, MAX_SLOTS, xen.pages());
    assert!(open >= 63);
    let for_pieces = netfront.room(account, sent, 62, xen.pages());
    assert_eq!(Budget::of(Drain::Moving, for_pieces), Budget::Slots(for_pieces));
    // All that it has left is elsewhere: nobody knows for how long, and it does not wait.
    let mut elsewhere: Vec<_> = std::iter::from_fn(|| xen.pages().take(sent)).collect();
    assert_eq!((netfront.room(account, sent, MAX_SLOTS, xen.pages()), netfront.take_awaited()), (open, 0));

    const FRAMES: u32 = 4;
    for page in elsewhere.drain(..FRAMES as usize) {
        xen.pages().give(page);
    }
    for _ in 0..FRAMES {
        let frame = sent_by(account, sent, xen.pages());
        netfront.send(frame, xen.pages());
    }
    netfront.transmit(&mut xen);
    netfront.publish(&mut xen);
    assert_eq!((netfront.waiting(), xen.memory.word(ring, 0)), (0, FRAMES));
    let room = netfront.room(account, sent, MAX_SLOTS, xen.pages());
    assert_eq!(Budget::of(Drain::Moving, room), Budget::Wait);
    // A packet of one slot would find none either.
    assert_eq!(Budget::of(Drain::Moving, netfront.room(account, sent, 1, xen.pages())), Budget::Wait);
    // An answer wakes us.
    assert_eq!(netfront.arm(), Ok(Wakeup::Armed));
    assert_eq!(xen.memory.word(ring, 12), FRAMES / 2 + 1);
    assert_eq!(netfront.take_awaited(), 2);

    // For small packets a page or two are enough.
    elsewhere.drain(..2).for_each(|page| xen.pages().give(page));
    assert_ne!(Budget::of(Drain::Moving, netfront.room(account, sent, 1, xen.pages())), Budget::Wait);
    for page in elsewhere.drain(..30) {
        xen.pages().give(page);
    }
    assert_ne!(Budget::of(Drain::Moving, netfront.room(account, sent, MAX_SLOTS, xen.pages())), Budget::Wait);
    assert_eq!(netfront.take_awaited(), 0);
}

#[test]
fn packet_that_need_not_wait_does_not_overtake_what_waits_for_the_uplink() {
    let mut xen = Stub::new(KERNEL, 8);
    let all =
        Features { scatter_gather: Support::Yes, blank_checksum: Support::Yes, segmentation: Support::Yes };
    let mut netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
    let pass = |netfront: &mut Netfront, xen: &mut Stub| {
        let page = xen.pages().take(Charge::NOBODY).unwrap();
        let parcel = Parcel { body: Body::Page(page, 0), bytes: 60, checksum: Checksum::Unverified };
        let sent = netfront.send_now(parcel, &mut BounceBuffers::default(), xen);
        sent.map_err(|parcel| parcel.release(xen.pages()))
    };
    (0..254).for_each(|_| send_pieces(&mut netfront, &mut xen, 1, 60));
    assert!(pass(&mut netfront, &mut xen).is_ok());
    // One slot is left, and what waits takes up two.
    send(&mut netfront, &mut xen, 2);
    assert_eq!((netfront.waiting(), netfront.free_slots()), (2, 1));
    assert!(pass(&mut netfront, &mut xen).is_err());
    assert_eq!((netfront.waiting(), netfront.free_slots()), (2, 1));
}

/// A world in which small packets are sent.
struct SmallPackets {
    xen: Stub,
    netfront: Netfront,
    bounces: BounceBuffers,
    /// Requests that were made.
    requests: u32,
    /// Requests that were answered.
    answered: u32,
}

impl SmallPackets {
    fn new() -> Self {
        let mut xen = Stub::new(KERNEL, 8);
        let all = Features {
            scatter_gather: Support::Yes,
            blank_checksum: Support::Yes,
            segmentation: Support::Yes,
        };
        let netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
        let mut bounces = BounceBuffers::default();
        (0..=256 / BOUNCES_PER_PAGE).for_each(|_| bounces.add(xen.pages().take(Charge::NOBODY).unwrap()));
        Self { xen, netfront, bounces, requests: 0, answered: 0 }
    }

    /// Sends 60 bytes of this value, in a bounce buffer that held something else before.
    fn send(&mut self, value: u8) {
        let bounce = self.bounces.take().unwrap();
        let content = self.bounces.bytes_mut(&bounce).unwrap();
        content.fill(!value);
        content[..60].fill(value);
        let parcel = Parcel { body: Body::Bounce(bounce), bytes: 60, checksum: Checksum::Unverified };
        self.netfront.send_now(parcel, &mut self.bounces, &mut self.xen).unwrap();
        self.netfront.publish(&mut self.xen);
        self.requests += 1;
    }

    fn ring(&self) -> HostFrame {
        self.xen.granted(TABLE, self.netfront.addresses().tx_ring.0)
    }

    /// The id of a request, and where its packet lies: a grant reference and a place in its page.
    fn request(&self, index: u32) -> (u16, (u32, u16)) {
        let at = 64 + 12 * (index as usize % 256);
        let word = |behind: usize| self.xen.memory.word(self.ring(), at + behind);
        (word(8) as u16, (word(0), word(4) as u16))
    }

    /// What the backend finds in a place.
    fn shown(&self, (reference, offset): (u32, u16)) -> [u8; 64] {
        let mut shown = [0; 64];
        self.xen.memory.read(self.xen.granted(TABLE, reference), offset.into(), &mut shown);
        shown
    }

    fn answer(&mut self, id: u16) {
        let ring = self.ring();
        self.xen.memory.set_word(ring, 64 + 12 * (self.answered as usize % 256), id.into());
        self.answered += 1;
        self.xen.memory.set_word(ring, 8, self.answered);
        self.netfront.reap(&mut self.xen).unwrap();
    }
}

/// What a backend finds where 60 bytes of a value were sent: nothing else behind them.
fn sixty(value: u8) -> [u8; 64] {
    let mut bytes = [0; 64];
    bytes[..60].fill(value);
    bytes
}

#[test]
fn small_packet_lies_alone_where_it_lies_until_it_is_answered() {
    let mut world = SmallPackets::new();
    (0..=255).for_each(|value| world.send(value));
    let requests: Vec<_> = (0..256).map(|index| world.request(index)).collect();
    let shown: Vec<_> = requests.iter().map(|(_, place)| world.shown(*place)).collect();
    assert_eq!(shown, (0..=255).map(sixty).collect::<Vec<_>>());

    // Not in the order in which they were sent.
    let (id, place) = requests[7];
    world.answer(id);
    world.send(77);
    assert_eq!((world.request(256), world.shown(place)), ((id, place), sixty(77)));
    for (value, (other, place)) in (0..=255).zip(requests) {
        assert!(other == id || world.shown(place) == sixty(value));
    }
}
/// A netfront, and bounce buffers.
struct SmallWorld {
    xen: Stub,
    netfront: Netfront,
    ring: HostFrame,
    bounces: BounceBuffers,
    answered: u32,
}

impl SmallWorld {
    fn new() -> Self {
        let mut xen = Stub::new(KERNEL, 8);
        let all = Features {
            scatter_gather: Support::Yes,
            blank_checksum: Support::Yes,
            segmentation: Support::Yes,
        };
        let mut netfront = Netfront::create(&mut xen, BACKEND, all, Support::No).unwrap();
        netfront.publish(&mut xen);
        let ring = xen.granted(TABLE, netfront.addresses().tx_ring.0);
        let mut bounces = BounceBuffers::default();
        bounces.add(xen.pages().take(Charge::OWN).unwrap());
        Self { xen, netfront, ring, bounces, answered: 0 }
    }

    /// Sends a packet of so many bytes of `content`, in a place where others were before. Says whether it need not wait.
    fn send(&mut self, bytes: u16, content: u8) -> bool {
        self.bounces.clear();
        let bounce = self.bounces.take().unwrap();
        let place = self.bounces.bytes_mut(&bounce).unwrap();
        place.fill(OLD);
        place[..bytes.into()].fill(content);
        let parcel = Parcel { body: Body::Bounce(bounce), bytes, checksum: Checksum::Unverified };
        let sent = self.netfront.send_now(parcel, &mut self.bounces, &mut self.xen).is_ok();
        self.netfront.publish(&mut self.xen);
        sent
    }

    /// The request in a slot: its reference, offset, name and size.
    fn request(&self, slot: u32) -> (u32, usize, u16, u16) {
        let at = 64 + 12 * (slot % 256) as usize;
        let [reference, second, third] = [0, 4, 8].map(|word| self.xen.memory.word(self.ring, at + word));
        (reference, (second & 0xffff) as usize, third as u16, (third >> 16) as u16)
    }

    /// The backend answers the next request, under this name.
    fn answer(&mut self, id: u16) -> Result<(), UplinkBroken> {
        let at = 64 + 12 * (self.answered % 256) as usize;
        self.xen.memory.set_word(self.ring, at, id.into());
        self.answered += 1;
        self.xen.memory.set_word(self.ring, 8, self.answered);
        self.netfront.reap(&mut self.xen)
    }
}

/// What lies in bounce buffers of packets that are gone.
const OLD: u8 = 0xa5;

#[test]
fn the_place_of_a_small_packet_shows_nothing_of_others() {
    let mut world = SmallWorld::new();
    for (slot, bytes) in (0..).zip([14, 60, 63, 64, 65, 120, 121, 127, 128, 14, 15]) {
        assert!(world.send(bytes, slot as u8));
        let (reference, offset, id, size) = world.request(slot);
        assert_eq!((size, offset % BOUNCE_BYTES), (bytes, 0));
        let mut page = [0; 4096];
        world.xen.memory.read(world.xen.granted(TABLE, reference), 0, &mut page);
        let end = offset + usize::from(bytes);
        assert!(page[offset..end].iter().all(|byte| *byte == slot as u8));
        assert!(page.iter().all(|byte| *byte != OLD), "a packet of {bytes} bytes");
        assert_eq!(world.answer(id), Ok(()));
    }
}

#[test]
fn b_2_a_small_packet_is_answered_once() {
    let mut world = SmallWorld::new();
    assert!(world.send(60, 1) && world.send(60, 2));
    let (_, _, id, _) = world.request(0);
    assert_eq!(world.answer(id), Ok(()));
    assert_eq!(world.answer(id), Err(UplinkBroken::UnknownId));
}

#[test]
fn b_2_small_packets_that_are_never_answered_keep_their_places_and_take_no_others() {
    let mut world = SmallWorld::new();
    let free = world.xen.pages().free();
    let sent = (0..300).filter(|_| world.send(60, 1)).count();
    let mut places: Vec<_> = (0..256).map(|slot| world.request(slot)).collect();
    places.sort();
    places.dedup();
    assert_eq!((sent, places.len(), world.xen.pages().free()), (256, 256, free));
    let (_, _, id, _) = world.request(0);
    assert_eq!(world.answer(id), Ok(()));
    assert!(world.send(60, 1));
    assert_eq!(world.request(256).2, id);
}

#[test]
fn a_small_packet_leaves_behind_what_waits() {
    let mut world = SmallWorld::new();
    let frame = sent_by(Account::UPLINK, Charge::OWN, world.xen.pages());
    world.netfront.send(frame, world.xen.pages());
    assert!(world.send(100, 1));
    assert_eq!([0, 1].map(|slot| world.request(slot).3), [60, 100]);
    // While another has no room in the ring, it does not take what there is.
    while world.send(61, 1) {}
    for slot in 0..2 {
        assert_eq!(world.answer(world.request(slot).2), Ok(()));
    }
    send(&mut world.netfront, &mut world.xen, 3);
    assert!(!world.send(101, 1));
    assert_eq!((world.netfront.free_slots(), world.netfront.waiting()), (2, 3));
}
