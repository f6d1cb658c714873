//! Shared rings of 256 entries: fixed-size requests one way, responses back in the same slots.
//!
//! Layout and notification protocol: `xen/include/public/io/ring.h`. Indices run freely. Whatever the peer
//! writes is read once, into private memory; an index that makes no sense breaks the ring ([`RingBroken`])
//! and nothing else.

use crate::xen::MappedPage;
use crate::xen::grant::GrantedPage;
use crate::xen::page::SharedPage;
use core::sync::atomic::{Ordering, fence};

/// Entries in a ring.
pub const RING_SIZE: u32 = 256;

const REQ_PROD: usize = 0;
const REQ_EVENT: usize = 4;
const RSP_PROD: usize = 8;
const RSP_EVENT: usize = 12;
const ENTRIES: usize = 64;

/// The peer moved an index to where it cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingBroken;

/// What a producer should do after publishing entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notify {
    /// The peer asked to be told.
    Needed,
    /// The peer is awake, or nothing was published.
    NotNeeded,
}

/// Whether it is safe to sleep after asking for an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wakeup {
    /// The peer will notify about the next entry.
    Armed,
    /// Entries arrived meanwhile: look again.
    MoreToDo,
}

/// A page that holds a ring.
pub trait RingPage {
    /// The bytes.
    fn shared(&self) -> &SharedPage;
}

impl RingPage for MappedPage {
    fn shared(&self) -> &SharedPage {
        MappedPage::shared(self)
    }
}

impl RingPage for GrantedPage {
    fn shared(&self) -> &SharedPage {
        GrantedPage::shared(self)
    }
}

/// Reads entry `index` once, word by word.
fn read_entry<const BYTES: usize>(page: &SharedPage, index: u32) -> [u8; BYTES] {
    let start = ENTRIES + (index % RING_SIZE) as usize * BYTES;
    let mut entry = [0; BYTES];
    for (word, bytes) in entry.chunks_exact_mut(4).enumerate() {
        bytes.copy_from_slice(&page.load(start + word * 4).to_le_bytes());
    }
    entry
}

fn write_entry<const BYTES: usize>(page: &SharedPage, index: u32, entry: [u8; BYTES]) {
    let start = ENTRIES + (index % RING_SIZE) as usize * BYTES;
    for (word, bytes) in entry.as_chunks::<4>().0.iter().enumerate() {
        page.store(start + word * 4, u32::from_le_bytes(*bytes));
    }
}

/// Publishes `new` at `producer`; whether the peer's `event` index lies in what is new.
fn publish(page: &SharedPage, producer: usize, event: usize, new: u32) -> Notify {
    let old = page.load(producer);
    if old == new {
        return Notify::NotNeeded;
    }
    // Release: entries are visible before the index. The fence orders the index before the look at the
    // event index; it pairs with the peer's fence between setting its event index and its last look.
    page.store_release(producer, new);
    fence(Ordering::SeqCst);
    let asked = page.load(event);
    if new.wrapping_sub(asked) < new.wrapping_sub(old) { Notify::Needed } else { Notify::NotNeeded }
}

/// The end that consumes requests and produces responses: a backend's.
#[derive(Debug)]
pub struct BackRing<P, const BYTES: usize> {
    page: P,
    consumed: u32,
    responded: u32,
}

impl<P: RingPage, const BYTES: usize> BackRing<P, BYTES> {
    /// Takes up a ring where the last backend left it. Gives the page back when the indices make no sense.
    pub fn attach(page: P) -> Result<Self, P> {
        let responded = page.shared().load(RSP_PROD);
        let ring = Self { page, consumed: responded, responded };
        if ring.waiting().is_ok() { Ok(ring) } else { Err(ring.page) }
    }

    /// Requests published and not taken yet.
    pub fn waiting(&self) -> Result<u32, RingBroken> {
        // Acquire: the requests are visible once their index is.
        let published = self.page.shared().load_acquire(REQ_PROD).wrapping_sub(self.consumed);
        // The slots that wait for our response cannot hold new requests.
        let free = RING_SIZE - self.consumed.wrapping_sub(self.responded);
        if published <= free { Ok(published) } else { Err(RingBroken) }
    }

    /// Takes the next request. Call only as often as [`Self::waiting`] said.
    pub fn take(&mut self) -> [u8; BYTES] {
        let entry = read_entry(self.page.shared(), self.consumed);
        self.consumed = self.consumed.wrapping_add(1);
        entry
    }

    /// Writes the next response, for the oldest slot without one; not visible before [`Self::publish`].
    /// A response without a request taken is refused: it would overwrite one.
    pub fn respond(&mut self, response: [u8; BYTES]) {
        if self.responded != self.consumed {
            write_entry(self.page.shared(), self.responded, response);
            self.responded = self.responded.wrapping_add(1);
        }
    }

    /// Index of the next response.
    pub fn next_response(&self) -> u32 {
        self.responded
    }

    /// Writes response `index`, one of those since the last [`Self::publish`], anew from what stands there. If the peer
    /// has changed that meanwhile, it gets a wrong answer, and nobody else is concerned.
    pub fn amend(&mut self, index: u32, change: impl FnOnce([u8; BYTES]) -> [u8; BYTES]) {
        let page = self.page.shared();
        write_entry(page, index, change(read_entry(page, index)));
    }

    /// Makes the responses visible.
    pub fn publish(&mut self) -> Notify {
        publish(self.page.shared(), RSP_PROD, RSP_EVENT, self.responded)
    }

    /// Asks to be notified when `further` more requests are there (1: the next).
    pub fn arm(&mut self, further: u32) -> Result<Wakeup, RingBroken> {
        self.page.shared().store(REQ_EVENT, self.consumed.wrapping_add(further));
        // Pairs with the peer's fence between its index and its look at the event index.
        fence(Ordering::SeqCst);
        Ok(if self.waiting()? >= further { Wakeup::MoreToDo } else { Wakeup::Armed })
    }

    /// The page, to be unmapped.
    pub fn into_page(self) -> P {
        self.page
    }
}

/// The end that produces requests and consumes responses: a frontend's.
#[derive(Debug)]
pub struct FrontRing<P, const BYTES: usize> {
    page: P,
    produced: u32,
    consumed: u32,
}

impl<P: RingPage, const BYTES: usize> FrontRing<P, BYTES> {
    /// Lays out an empty ring in a page of zeroes.
    pub fn create(page: P) -> Self {
        page.shared().store(REQ_EVENT, 1);
        page.shared().store(RSP_EVENT, 1);
        Self { page, produced: 0, consumed: 0 }
    }

    /// Requests that can still be written.
    pub fn room(&self) -> u32 {
        RING_SIZE - self.produced.wrapping_sub(self.consumed)
    }

    /// Index that the next request will have, modulo the ring's size.
    pub fn next_slot(&self) -> u16 {
        (self.produced % RING_SIZE) as u16
    }

    /// Writes a request; not visible before [`Self::publish`]. Call only while there is room.
    pub fn push(&mut self, request: [u8; BYTES]) {
        write_entry(self.page.shared(), self.produced, request);
        self.produced = self.produced.wrapping_add(1);
    }

    /// Takes back the last `count` requests, which were not published.
    pub fn withdraw(&mut self, count: u32) {
        self.produced = self.produced.wrapping_sub(count);
    }

    /// Makes the requests visible.
    pub fn publish(&mut self) -> Notify {
        publish(self.page.shared(), REQ_PROD, REQ_EVENT, self.produced)
    }

    /// Responses published and not taken yet.
    pub fn waiting(&self) -> Result<u32, RingBroken> {
        let published = self.page.shared().load_acquire(RSP_PROD).wrapping_sub(self.consumed);
        // There cannot be more responses than requests.
        let outstanding = self.produced.wrapping_sub(self.consumed);
        if published <= outstanding { Ok(published) } else { Err(RingBroken) }
    }

    /// Takes the next response and the slot it lies in. Call only as often as [`Self::waiting`] said.
    pub fn take(&mut self) -> (u16, [u8; BYTES]) {
        let slot = (self.consumed % RING_SIZE) as u16;
        let entry = read_entry(self.page.shared(), self.consumed);
        self.consumed = self.consumed.wrapping_add(1);
        (slot, entry)
    }

    /// Asks to be notified when `further` more responses are there (1: the next).
    pub fn arm(&mut self, further: u32) -> Result<Wakeup, RingBroken> {
        self.page.shared().store(RSP_EVENT, self.consumed.wrapping_add(further));
        // Pairs with the peer's fence between its index and its look at the event index.
        fence(Ordering::SeqCst);
        Ok(if self.waiting()? >= further { Wakeup::MoreToDo } else { Wakeup::Armed })
    }

    /// Requests without a response.
    pub fn outstanding(&self) -> u32 {
        self.produced.wrapping_sub(self.consumed)
    }

    /// The page, to take back.
    pub fn into_page(self) -> P {
        self.page
    }

    /// The page, to tell its grant reference.
    pub fn page(&self) -> &P {
        &self.page
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xen::page::on_heap;

    impl RingPage for SharedPage {
        fn shared(&self) -> &SharedPage {
            self
        }
    }

    /// A ring whose indices all stand at `start`, seen from both ends.
    fn pair(start: u32) -> (FrontRing<SharedPage, 12>, BackRing<SharedPage, 12>) {
        let page = on_heap::shared_page();
        let peer = on_heap::alias(&page);
        let mut front = FrontRing::create(page);
        front.produced = start;
        front.consumed = start;
        for (index, event) in [(REQ_PROD, REQ_EVENT), (RSP_PROD, RSP_EVENT)] {
            peer.store(index, start);
            peer.store(event, start.wrapping_add(1));
        }
        (front, BackRing::attach(peer).unwrap())
    }

    #[test]
    fn requests_and_responses_cross_the_index_wrap() {
        let (mut front, mut back) = pair(u32::MAX - 100);
        for round in 0..300u32 {
            let byte = round as u8;
            front.push([byte; 12]);
            assert_eq!(front.publish(), Notify::Needed);
            assert_eq!(back.waiting(), Ok(1));
            assert_eq!(back.take(), [byte; 12]);
            back.respond([!byte; 12]);
            assert_eq!(back.publish(), Notify::Needed);
            assert_eq!(front.waiting(), Ok(1));
            assert_eq!(front.take().1, [!byte; 12]);
            assert_eq!(back.arm(1), Ok(Wakeup::Armed));
            assert_eq!(front.arm(1), Ok(Wakeup::Armed));
        }
    }

    #[test]
    fn peer_that_is_awake_is_not_notified() {
        let (mut front, mut back) = pair(0);
        front.push([1; 12]);
        assert_eq!(front.publish(), Notify::Needed);
        front.push([2; 12]);
        assert_eq!(front.publish(), Notify::NotNeeded);
        assert_eq!(front.publish(), Notify::NotNeeded);
        assert_eq!(back.arm(1), Ok(Wakeup::MoreToDo));
    }

    #[test]
    fn completions_are_announced_when_as_many_are_there_as_asked() {
        let (mut front, mut back) = pair(0);
        for _ in 0..4 {
            front.push([0; 12]);
        }
        front.publish();
        assert_eq!(front.arm(3), Ok(Wakeup::Armed));
        let mut notices = std::vec::Vec::new();
        for _ in 0..4 {
            back.take();
            back.respond([0; 12]);
            notices.push(back.publish());
        }
        use Notify::*;
        assert_eq!(notices, [NotNeeded, NotNeeded, Needed, NotNeeded]);
    }

    #[test]
    fn more_requests_than_slots_break_the_ring() {
        let (front, back) = pair(7);
        front.page.store(REQ_PROD, 7 + 256);
        assert_eq!(back.waiting(), Ok(256));
        front.page.store(REQ_PROD, 7 + 257);
        assert_eq!(back.waiting(), Err(RingBroken));
        front.page.store(REQ_PROD, 6);
        assert_eq!(back.waiting(), Err(RingBroken));
    }

    #[test]
    fn requests_in_slots_that_wait_for_an_answer_break_the_ring() {
        let (front, mut back) = pair(0);
        front.page.store(REQ_PROD, 256);
        back.take();
        front.page.store(REQ_PROD, 257);
        assert_eq!(back.waiting(), Err(RingBroken));
    }

    #[test]
    fn responses_to_nothing_break_the_ring() {
        let (mut front, _) = pair(0);
        front.push([0; 12]);
        front.publish();
        front.page.store(RSP_PROD, 2);
        assert_eq!(front.waiting(), Err(RingBroken));
        front.page.store(RSP_PROD, u32::MAX);
        assert_eq!(front.waiting(), Err(RingBroken));
    }

    #[test]
    fn response_without_request_is_not_written() {
        let (_, mut back) = pair(0);
        back.respond([9; 12]);
        assert_eq!(back.publish(), Notify::NotNeeded);
    }

    #[test]
    fn attaching_to_nonsense_indices_gives_the_page_back() {
        let page = on_heap::shared_page();
        page.store(REQ_PROD, 1000);
        assert!(BackRing::<_, 12>::attach(page).is_err());
    }
}
