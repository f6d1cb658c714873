//! The kernel's end of a vchan against this one.

use super::*;
use crate::base::time::Moment;
use crate::sim::cast::{KERNEL, TOOLSTACK};
use crate::sim::machine::kernel_domain::SimXen;
use crate::sim::machine::world::{Interleaving, NextRun, Peer, SharedWorld, World};
use crate::sim::prng::Prng;
use crate::sim::trace::Recording;
use crate::vchan::{ConnectError, Readiness, Vchan, VchanBroken, Wish};
use crate::xen::event::RemotePort;
use crate::xen::grant::Gref;
use crate::xen::{Xen, touch};
use alloc::boxed::Box;
use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::time::Duration;

const NUMBER: u32 = 111;
const QUBES: (u32, u32) = (12, 12);

fn world(seed: u64) -> (SharedWorld, SimXen) {
    let mut prng = Prng::new(seed);
    let machine = Machine::new(256, prng.split(), Recording::Off);
    let ends = machine.now + Duration::from_secs(60);
    let interleaving = Interleaving { accesses: 40, steps: 3, call_nanoseconds: 1000 };
    let world = Rc::new(RefCell::new(World::new(machine, interleaving, ends)));
    let boot = SimXen::boot(&world, 16);
    (world, boot.xen)
}

fn connect(world: &SharedWorld, xen: &mut SimXen) -> Result<Vchan, ConnectError> {
    let number = |key: &str| {
        let machine = &world.borrow().machine;
        let node = format!("{}/{key}", vchan_node(TOOLSTACK, KERNEL, NUMBER));
        machine.store.text(KERNEL, &node).parse().unwrap()
    };
    let (grant, port) = (number("ring-ref"), number("event-channel"));
    Vchan::connect(xen, TOOLSTACK, Gref(grant), RemotePort(port))
}

fn start(world: &SharedWorld, orders: (u32, u32)) -> VchanServer {
    VchanServer::start(&mut world.borrow_mut().machine, TOOLSTACK, KERNEL, NUMBER, orders)
}

fn holds_nothing(xen: &SimXen) {
    let held = xen.holdings();
    assert_eq!((held.mappings, held.ports), (0, 0));
}

/// Sends back what it gets.
struct EchoServer {
    vchan: VchanServer,
    waiting: Vec<u8>,
    echoed: Rc<Cell<usize>>,
}

impl Peer for EchoServer {
    fn domain(&self) -> DomainId {
        TOOLSTACK
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        if !self.vchan.look_for_client(machine) {
            return NextRun::Asleep;
        }
        if self.waiting.len() < 3000 {
            let most = machine.prng.between(1, 2000) as usize;
            self.waiting.extend(self.vchan.read(machine, most));
        }
        let sent = self.vchan.write(machine, &self.waiting);
        self.waiting.drain(..sent);
        self.echoed.set(self.echoed.get() + sent);
        let more = self.vchan.arm(machine) && self.waiting.len() < 3000;
        if sent > 0 || more { NextRun::Again } else { NextRun::Asleep }
    }
}

#[test]
fn all_bytes_come_back_in_order_and_nobody_sleeps_for_ever_whatever_the_order_of_the_rings() {
    for (seed, orders) in [QUBES, (10, 11), (11, 10), (11, 12), (12, 10), QUBES].into_iter().enumerate() {
        let (world, mut xen) = world(seed as u64);
        let echoed = Rc::new(Cell::new(0));
        let vchan = start(&world, orders);
        let peer = EchoServer { vchan, waiting: Vec::new(), echoed: echoed.clone() };
        world.borrow_mut().add(Box::new(peer));
        let mut vchan = connect(&world, &mut xen).unwrap();
        let sent: Vec<u8> = (0..40_000u32).map(|index| (index * index / 7) as u8).collect();
        let (mut unsent, mut received) = (sent.as_slice(), Vec::new());
        let mut buffer = [0; 777];
        while received.len() < sent.len() {
            assert!(!world.borrow().is_over(), "{orders:?}: {} of {}", received.len(), sent.len());
            let piece = unsent.get(..1500).unwrap_or(unsent);
            let moved = vchan.write(&mut xen, piece).unwrap();
            unsent = unsent.get(moved..).unwrap();
            let read = vchan.read(&mut xen, &mut buffer).unwrap();
            received.extend_from_slice(buffer.get(..read).unwrap());
            let wanted = if unsent.is_empty() { Wish::Bytes } else { Wish::BytesOrRoom(1) };
            if read == 0 && moved == 0 && vchan.arm(wanted) == Ok(Readiness::Asked) {
                xen.wait(&[vchan.port()], None);
                xen.take_pending(vchan.port());
            }
        }
        assert!(received == sent, "{orders:?}");
        vchan.close(&mut xen);
        holds_nothing(&xen);
        touch::listen(None);
    }
}

#[test]
fn room_that_is_too_small_is_not_waited_for_in_a_loop() {
    let (world, mut xen) = world(1);
    let _server = start(&world, QUBES);
    let mut vchan = connect(&world, &mut xen).unwrap();
    let message = [7; 72];
    while vchan.write_message(&mut xen, &message) == Ok(message.len()) {}
    assert_eq!(vchan.write_message(&mut xen, &message), Ok(0));
    // 4096 bytes have room for 56 messages and some bytes more.
    assert_eq!(vchan.arm(Wish::BytesOrRoom(message.len())), Ok(Readiness::Asked));
    assert_eq!(vchan.arm(Wish::BytesOrRoom(64)), Ok(Readiness::MoreToDo));
    assert_eq!(vchan.arm(Wish::BytesOrRoom(100_000)), Ok(Readiness::Asked));
    touch::listen(None);
}

#[test]
fn what_is_announced_falsely_is_refused_and_leaves_nothing_behind() {
    let (world, mut xen) = world(1);
    let both = (TOOLSTACK, KERNEL);
    let announce = |how| VchanServer::announce_falsely(&mut world.borrow_mut().machine, both, NUMBER, how);
    announce(FalseAnnouncement::Zero);
    assert_eq!(connect(&world, &mut xen).unwrap_err(), ConnectError::NotAnnounced);
    announce(FalseAnnouncement::Stale);
    assert!(matches!(connect(&world, &mut xen).unwrap_err(), ConnectError::Port(_)));
    for orders in [(9, 12), (12, 13), (12, 21), (0, 0), (10, 10), (11, 11), (0xffff, 12)] {
        let server = start(&world, QUBES);
        let numbers = orders.0 | orders.1 << 16;
        world.borrow_mut().machine.memory.set_word(server.interface, ORDERS, numbers);
        assert_eq!(connect(&world, &mut xen).unwrap_err(), ConnectError::Orders(orders.0, orders.1));
        // The server has seen nothing of it: the next attempt finds it waiting.
        assert_eq!(server.byte(&world.borrow().machine, CLI_LIVE), 2);
        world.borrow_mut().machine.memory.set_word(server.interface, ORDERS, 12 | 12 << 16);
        connect(&world, &mut xen).unwrap().close(&mut xen);
        server.stop(&mut world.borrow_mut().machine);
    }
    let server = start(&world, QUBES);
    world.borrow_mut().machine.memory.set_word(server.interface, GRANTS + 4, 3);
    assert!(matches!(connect(&world, &mut xen).unwrap_err(), ConnectError::Page(_)));
    holds_nothing(&xen);
    touch::listen(None);
}

#[test]
fn indices_that_cannot_be_break_the_channel_and_nothing_is_read_or_written() {
    let (world, mut xen) = world(2);
    for how in [BadIndex::Written(4097), BadIndex::Written(u32::MAX), BadIndex::Written(1 << 31)] {
        let server = start(&world, QUBES);
        let mut vchan = connect(&world, &mut xen).unwrap();
        server.break_index(&mut world.borrow_mut().machine, how);
        assert_eq!(vchan.arm(Wish::Bytes), Err(VchanBroken));
        assert_eq!(vchan.read(&mut xen, &mut [0; 100]), Err(VchanBroken));
        vchan.close(&mut xen);
        server.stop(&mut world.borrow_mut().machine);
    }
    for how in [BadIndex::Read(1), BadIndex::Read(4096), BadIndex::Read(1 << 31)] {
        let server = start(&world, QUBES);
        let mut vchan = connect(&world, &mut xen).unwrap();
        assert_eq!(vchan.write(&mut xen, b"abc"), Ok(3));
        server.break_index(&mut world.borrow_mut().machine, how);
        assert_eq!(vchan.arm(Wish::Bytes), Err(VchanBroken));
        assert_eq!(vchan.write(&mut xen, b"abc"), Err(VchanBroken));
        vchan.close(&mut xen);
        server.stop(&mut world.borrow_mut().machine);
    }
    holds_nothing(&xen);
    touch::listen(None);
}

#[test]
fn a_server_that_goes_wakes_us_and_is_seen_to_be_gone() {
    let (world, mut xen) = world(3);
    let server = start(&world, QUBES);
    let mut vchan = connect(&world, &mut xen).unwrap();
    assert!(server.look_for_client(&mut world.borrow_mut().machine));
    assert!(
        !world.borrow().machine.store.exists(&format!("{}/ring-ref", vchan_node(TOOLSTACK, KERNEL, NUMBER)))
    );
    xen.take_pending(vchan.port());
    assert_eq!(vchan.arm(Wish::Bytes), Ok(Readiness::Asked));
    server.write(&mut world.borrow_mut().machine, b"last words");
    server.stop(&mut world.borrow_mut().machine);
    let before = world.borrow().machine.now;
    let until: Moment = before + Duration::from_secs(5);
    assert!(xen.wait(&[vchan.port()], Some(until)) < until);
    let mut bytes = [0; 16];
    assert_eq!((vchan.is_open(), vchan.read(&mut xen, &mut bytes)), (false, Ok(10)));
    assert_eq!(vchan.arm(Wish::Bytes), Ok(Readiness::MoreToDo));
    vchan.close(&mut xen);
    holds_nothing(&xen);
    touch::listen(None);
}

#[test]
fn closing_says_so_to_the_server() {
    let (world, mut xen) = world(4);
    let server = start(&world, QUBES);
    let vchan = connect(&world, &mut xen).unwrap();
    server.look_for_client(&mut world.borrow_mut().machine);
    assert!(server.is_open(&world.borrow().machine));
    vchan.close(&mut xen);
    let machine = &mut world.borrow_mut().machine;
    assert!(machine.channels.take(TOOLSTACK, server.port) && !server.is_open(machine));
    touch::listen(None);
}
