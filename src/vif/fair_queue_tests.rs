//! Who leaves when, and who gives way.

use super::*;
use crate::base::side::ClientSlot;
use crate::vif::backpressure::LEAST_ROOM;
use crate::vif::chunks::Chunks;
use crate::wire::packet::Offload;
use crate::xen::page::on_heap;
use crate::xen::page_pool::Chunk;
use std::collections::BTreeMap;
use std::vec::Vec;

const A: Account = Account::client(ClientSlot(0));
const B: Account = Account::client(ClientSlot(1));
const C: Account = Account::client(ClientSlot(2));

struct Rig {
    queue: FairQueue,
    pages: PagePool,
}

impl Rig {
    fn new(capacity: u16) -> Self {
        Self { queue: FairQueue::with_capacity(capacity), pages: PagePool::with_capacity(4096) }
    }

    /// A frame of so many bytes, 4,096 to a page.
    fn frame(&mut self, account: Account, bytes: u32) -> Frame {
        let piece =
            |at: u32| Chunk { page: on_heap::page(), offset: 0, bytes: (bytes - at).min(4096) as u16 };
        let mut segments = Chunks::one(piece(0));
        for at in (4096..bytes).step_by(4096) {
            segments.push(piece(at), &mut self.pages).unwrap();
        }
        let mut frame = Frame::new(segments, Offload::NONE, &mut self.pages).unwrap();
        frame.charge_to(account);
        frame
    }

    /// Queues a frame; whose frames had to give way.
    fn push(&mut self, account: Account, bytes: u32) -> Vec<Account> {
        let frame = self.frame(account, bytes);
        let most = self.queue.places.len();
        let mut gone = Vec::new();
        match self.queue.make_room(account, most, |frame| gone.push(frame)) {
            Room::Made => self.queue.push(frame).unwrap(),
            Room::None => gone.push(frame),
        }
        let accounts = gone.iter().map(Frame::account).collect();
        gone.into_iter().for_each(|frame| frame.release(&mut self.pages));
        accounts
    }

    /// Fills every lane that has room with frames of its size, as clients do whose rings are never empty.
    fn fill(&mut self, clients: &[(Account, u32)]) {
        for &(account, bytes) in clients {
            while self.queue.room(account, LEAST_ROOM) > 18 {
                assert_eq!(self.push(account, bytes), []);
            }
        }
    }

    fn pop(&mut self) -> Option<(Account, usize)> {
        let frame = self.queue.pop_if(|_| true)?;
        let left = (frame.account(), frame.bytes());
        frame.release(&mut self.pages);
        Some(left)
    }

    /// Lets an uplink take so many bytes in all while `clients` always have something to send; bytes of each.
    fn compete(&mut self, clients: &[(Account, u32)], bytes: usize) -> Vec<usize> {
        let mut sent = BTreeMap::new();
        while sent.values().sum::<usize>() < bytes {
            self.fill(clients);
            let (account, bytes) = self.pop().unwrap();
            *sent.entry(account.position()).or_default() += bytes;
        }
        clients.iter().map(|(account, _)| sent.get(&account.position()).copied().unwrap_or(0)).collect()
    }
}

#[test]
fn s_5_bytes_are_divided_whatever_the_packets_are_like() {
    let clients = [(A, 60), (B, 1514), (C, 65_000)];
    let sent = Rig::new(512).compete(&clients, 6_000_000);
    for bytes in &sent {
        assert!((1_900_000..2_100_000).contains(bytes), "{sent:?}");
    }
}

#[test]
fn s_5_whoever_comes_waits_for_one_turn_of_the_others_and_not_for_what_they_have_waiting() {
    let mut rig = Rig::new(512);
    let greedy = [(A, 1400), (B, 1400)];
    rig.compete(&greedy, 1_000_000);
    rig.fill(&greedy);
    assert_eq!(rig.push(C, 1400), []);
    let before = std::iter::from_fn(|| rig.pop()).take_while(|&(account, _)| account != C);
    let bytes: usize = before.map(|(_, bytes)| bytes).sum();
    assert!(bytes <= 2 * (QUANTUM as usize + 1400), "{bytes}");
}

#[test]
fn s_5_a_lane_alone_takes_half_and_leaves_room_for_the_next() {
    let mut rig = Rig::new(512);
    rig.fill(&[(A, 100)]);
    assert!((230..=256).contains(&rig.queue.pages_of(A)), "{}", rig.queue.pages_of(A));
    rig.fill(&[(B, 100)]);
    assert!(rig.queue.pages_of(B) >= 100, "{}", rig.queue.pages_of(B));
    assert!(rig.queue.room(C, LEAST_ROOM) >= 100, "{}", rig.queue.room(C, LEAST_ROOM));
}

#[test]
fn s_5_a_full_queue_is_emptied_at_the_cost_of_whoever_has_most_in_it() {
    let mut rig = Rig::new(8);
    for _ in 0..8 {
        assert_eq!(rig.push(A, 100), []);
    }
    assert_eq!(rig.push(A, 100), [A]);
    for _ in 0..4 {
        assert_eq!(rig.push(B, 100), [A]);
    }
    assert_eq!(rig.push(B, 100), [B]);
    assert_eq!((rig.queue.pages_of(A), rig.queue.pages_of(B)), (4, 4));
}

#[test]
fn s_5_leaving_and_coming_back_does_not_pay_debts() {
    // A has one large packet at a time, B small ones without end. A comes back at once, or when its turn went by while
    // its lane was empty.
    for absent_for in [0, 1, 2, 5] {
        let mut rig = Rig::new(512);
        let (mut sent, mut since) = ([0, 0], 0);
        for _ in 0..4000 {
            rig.fill(&[(B, 1514)]);
            if rig.queue.pages_of(A) == 0 && since >= absent_for {
                rig.push(A, 65_000);
            }
            let (account, bytes) = rig.pop().unwrap();
            sent[account.position()] += bytes;
            since = if account == A { 0 } else { since + 1 };
        }
        std::println!("{absent_for} {sent:?}");
        assert!(sent[0] <= sent[1] + 65_000, "{absent_for}: {sent:?}");
    }
}

#[test]
fn debts_are_forgiven_to_who_did_not_want_to_send() {
    let mut rig = Rig::new(512);
    rig.push(B, 1514);
    rig.push(A, 65_000);
    while rig.pop().is_some() {}
    // B alone, for longer than A's debt is worth.
    rig.compete(&[(B, 1514)], 100_000);
    rig.fill(&[(B, 1514)]);
    rig.push(A, 1514);
    let before = std::iter::from_fn(|| rig.pop()).take_while(|&(account, _)| account != A).count();
    assert!(before <= 3, "{before}");
}

#[test]
fn a_lane_keeps_its_order_and_nothing_is_lost() {
    let mut rig = Rig::new(64);
    for round in 0..50 {
        for bytes in 0..20 {
            rig.push(A, 100 + bytes);
            rig.push(B, 200 + bytes);
        }
        let all: Vec<_> = std::iter::from_fn(|| rig.pop()).collect();
        for (account, least) in [(A, 100), (B, 200)] {
            let own: Vec<_> =
                all.iter().filter(|(other, _)| *other == account).map(|(_, bytes)| *bytes).collect();
            assert_eq!(own, (least..least + 20).collect::<Vec<_>>(), "round {round}");
        }
        assert_eq!((rig.queue.pages(), rig.queue.is_empty()), (0, true));
    }
}

#[test]
fn s_5_a_client_with_nothing_waiting_has_room_when_another_filled_the_queue() {
    let mut rig = Rig::new(512);
    for _ in 0..512 {
        rig.push(A, 60);
    }
    assert_eq!((rig.queue.room(A, 63), rig.queue.room(B, 63)), (0, 63));
}
