//! On whose account pages are, and what nobody can take from others.

use crate::stub::Stub;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::engine::{Engine, Output, Settings};
use ravelin::guard::RuleTable;
use ravelin::route::neighbour::waiting;
use ravelin::tables::share::Account;
use ravelin::vif::chunks::Chunks;
use ravelin::vif::frame::{Complete, Frame};
use ravelin::vif::ring::RING_SIZE;
use ravelin::wire::ipv4::Ipv4;
use ravelin::wire::packet::{Offload, Packet};
use ravelin::xen::charge::Charge;
use ravelin::xen::page::Page;
use ravelin::xen::page_pool::{Chunk, PagePool};
use ravelin::xen::{DomainId, Xen};
use std::net::Ipv4Addr;

/// As many packet pages as a domain of 16 MB has.
const KERNEL: u32 = 1400;
const ONE: DomainId = DomainId(5);
const TWO: DomainId = DomainId(6);
const SLOT: ClientSlot = ClientSlot(1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 137, 0, 5);

/// Takes what an account may take.
fn take_all(pages: &mut PagePool, charge: Charge) -> Vec<Page> {
    std::iter::from_fn(|| pages.take(charge)).collect()
}

/// A frame of so many pages on an account.
fn frame(pages: &mut PagePool, charge: Charge, pieces: usize) -> Frame {
    let mut segment = || Chunk { page: pages.take(charge).unwrap(), offset: 0, bytes: 4000 };
    let mut segments = Chunks::one(segment());
    let others: Vec<_> = (1..pieces).map(|_| segment()).collect();
    others.into_iter().for_each(|other| segments.push(other, pages).unwrap());
    Frame::new(segments, Offload::NONE, pages).unwrap()
}

#[test]
fn s_2_what_is_behind_a_short_packet_is_given_back() {
    let mut xen = Stub::new(KERNEL, 8);
    let pages = xen.pages();
    let client = pages.open(ONE).unwrap();
    let (free, chains) = (pages.free(), pages.free_chains());
    let mut frame = frame(pages, client.sent(), 16);
    frame.truncate(50, pages);
    assert_eq!((frame.bytes(), frame.segments().len(), frame.memory_bytes()), (64, 1, 4096));
    assert_eq!((pages.free(), pages.free_chains(), pages.charged(client.sent())), (free - 1, chains, 1));
    frame.release(pages);
    assert_eq!(pages.charged(client.sent()), 0);
}

#[test]
fn s_2_what_waits_for_next_hops_leaves_pages_to_ask_for_them_and_to_receive_the_answers() {
    for total in [300, 600, KERNEL] {
        let mut xen = Stub::new(total, 8);
        let pages = xen.pages();
        let most = waiting::PAGES.per_account as usize;
        let errors: Vec<Page> = std::iter::from_fn(|| pages.take(Charge::OWN)).take(most).collect();
        assert!(errors.len() == most && pages.take(Charge::OWN).is_some(), "{total}: {}", errors.len());
    }
    // Both rings and a ring full of buffers, fragments, and pings that were turned round.
    let mut xen = Stub::new(KERNEL, 8);
    let limits = Settings::for_memory(16 << 20, Ipv4Addr::LOCALHOST).fragments;
    let most = 2 + RING_SIZE + limits.bytes_from_uplink as u32 / 4096 + waiting::PAGES.per_account;
    assert!(xen.pages().guaranteed(Charge::UPLINK) >= most as usize);
}

#[test]
fn s_2_no_client_takes_what_is_another_s_or_the_uplink_s_or_our_own() {
    let mut xen = Stub::new(KERNEL, 8);
    let pages = xen.pages();
    let (one, two) = (pages.open(ONE).unwrap(), pages.open(TWO).unwrap());
    // Whatever the first does it can do on both of its accounts.
    let greedy = [take_all(pages, one.sent()), take_all(pages, one.waiting())];
    for charge in [two.sent(), two.waiting()] {
        let part = pages.guaranteed(charge);
        assert!(part >= 90, "only {part} pages are guaranteed to one of two clients");
        assert_eq!(pages.room(charge), part);
        assert_eq!(take_all(pages, charge).len(), part);
    }
    let uplink = take_all(pages, Charge::UPLINK);
    assert!(uplink.len() > RING_SIZE as usize, "{} pages for the uplink", uplink.len());
    assert!(!take_all(pages, Charge::OWN).is_empty());
    assert!(greedy.iter().all(|taken| taken.len() < KERNEL as usize / 3));
}

#[test]
fn s_2_the_guaranteed_part_is_small_with_many_clients_and_still_there() {
    let mut xen = Stub::new(KERNEL, 8);
    let pages = xen.pages();
    let clients: Vec<_> = (0..90).map(|domain| pages.open(DomainId(domain)).unwrap()).collect();
    let (greedy, honest) = clients.split_first().unwrap();
    let _taken = [take_all(pages, greedy.sent()), take_all(pages, greedy.waiting())];
    assert!(honest.iter().all(|client| pages.room(client.sent()) >= 2 && pages.room(client.waiting()) >= 2));
}

#[test]
fn s_2_a_packet_from_one_client_to_another_is_on_the_receiver_s_account_and_not_on_the_sender_s() {
    let mut xen = Stub::new(KERNEL, 8);
    let pages = xen.pages();
    let (one, two) = (pages.open(ONE).unwrap(), pages.open(TWO).unwrap());
    let mut frame = frame(pages, one.sent(), 3);
    assert_eq!(frame.recharge(two.waiting(), pages), Complete::Yes);
    assert_eq!([one.sent(), two.waiting()].map(|charge| pages.charged(charge)), [0, 3]);
    frame.release(pages);
    // Who takes nothing does not get more than its account has room for.
    let _waiting = take_all(pages, two.waiting());
    let mut more = self::frame(pages, one.sent(), 3);
    assert_eq!(more.recharge(two.waiting(), pages), Complete::No);
    assert_eq!(pages.charged(one.sent()), 3);
}

#[test]
fn s_2_what_a_client_left_behind_is_on_its_account_when_it_comes_back_and_on_nobody_else_s() {
    let mut xen = Stub::new(KERNEL, 8);
    let pages = xen.pages();
    let before = pages.open(ONE).unwrap();
    let left = take_all(pages, before.sent());
    pages.close(before);
    let other = pages.open(TWO).unwrap();
    assert_eq!((pages.charged(other.sent()), pages.charged(other.waiting())), (0, 0));
    let again = pages.open(ONE).unwrap();
    assert_eq!(pages.charged(again.sent()), left.len());
    assert_eq!(pages.room(again.sent()), 0);
    // What comes back counts at once, in whatever order.
    left.into_iter().for_each(|page| pages.give(page));
    assert_eq!((pages.charged(again.sent()), pages.free()), (0, KERNEL as usize));
    assert!(pages.room(other.sent()) > pages.guaranteed(other.sent()));
}

/// A middle fragment of an IP packet of so many bytes, number `ident`, in a frame of `pieces` pages.
fn fragment(pages: &mut PagePool, charge: Charge, ident: u16, total: u16, pieces: usize) -> Frame {
    let mut frame = self::frame(pages, charge, pieces);
    let header = frame.header_mut();
    header[..20].fill(0);
    header[0] = 0x45;
    header[2..4].copy_from_slice(&total.to_be_bytes());
    header[4..6].copy_from_slice(&ident.to_be_bytes());
    header[6..8].copy_from_slice(&[0x20, 4]);
    (header[8], header[9]) = (64, 17);
    header[12..16].copy_from_slice(&CLIENT.octets());
    header[16..20].copy_from_slice(&[198, 51, 100, 9]);
    let sum = ravelin::wire::checksum::of(&header[..20]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    frame
}

/// Gives back what the engine is done with.
struct Done<'a>(&'a mut PagePool);

impl Output<Frame> for Done<'_> {
    fn admit(&mut self, from: Side, frame: &mut Frame, ip: &Ipv4) -> Result<(), DropReason> {
        frame.note_header(from, ip, self.0).map_err(|_| DropReason::Segmentation)
    }

    fn forward(&mut self, _: Side, frame: Frame, _: Ipv4Addr) {
        frame.release(self.0);
    }

    fn reply(&mut self, _: Side, _: &[u8], _: Ipv4Addr) {}

    fn fragment(&mut self, _: Side, frame: Frame, _: &Ipv4, _: u16) {
        frame.release(self.0);
    }

    fn discard(&mut self, frame: Frame, _: DropReason) {
        frame.release(self.0);
    }
}

/// Pages that a client holds after it has sent 500 middle fragments of so many bytes in frames of `pieces` pages.
fn held_by_fragments(total: u16, pieces: usize) -> usize {
    let mut xen = Stub::new(KERNEL, 8);
    let now = xen.now();
    let client = xen.pages().open(ONE).unwrap();
    let settings = Settings::for_memory(16 << 20, Ipv4Addr::new(10, 0, 0, 2));
    let limit = settings.fragments.bytes_per_client / 4096;
    let mut engine = Engine::new(settings, RuleTable::allow_all(), [7; 32], now);
    engine.attach(SLOT, CLIENT, now);
    for ident in 0..500 {
        let frame = fragment(xen.pages(), client.sent(), ident, total, pieces);
        engine.outbound(now, SLOT, frame, &mut Done(xen.pages()));
    }
    let held = xen.pages().charged(client.sent());
    assert!(engine.fragments().waiting() > 0 && held <= limit, "{held} pages of {limit}");
    assert_eq!(engine.fragments().waiting_bytes(Account::client(SLOT)), held * 4096);
    held
}

#[test]
fn s_2_fragments_that_wait_are_counted_in_the_pages_that_they_hold() {
    // Of each, the pages behind the IP packet are given back, and one is left.
    assert_eq!(held_by_fragments(36, 15), 16);
    assert!(held_by_fragments(59_980, 15) > 45);
}

#[test]
fn s_2_chains_are_enough_for_whoever_has_pages_to_chain() {
    let mut xen = Stub::new(KERNEL, 8);
    let pages = xen.pages();
    let (one, two) = (pages.open(ONE).unwrap(), pages.open(TWO).unwrap());
    let mut frames = Vec::new();
    for charge in [one.sent(), one.waiting(), Charge::UPLINK, two.sent(), two.waiting()] {
        while pages.room(charge) >= 2 {
            frames.push(frame(pages, charge, 2));
        }
    }
    assert!(pages.free_chains() > 0 && frames.len() > KERNEL as usize / 4);
}
