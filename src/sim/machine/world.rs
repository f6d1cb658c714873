//! The world around the kernel: peers, and a scheduler that lets them act whenever chance says so.
//!
//! One thread runs everything. The kernel runs until it calls the hypervisor or touches a shared page; there
//! some peers may take a step. When the kernel sleeps, peers run until something wakes it; when nobody has
//! anything to do, the clock jumps to the next deadline.

use crate::base::time::Moment;
use crate::sim::cast::KERNEL;
use crate::sim::clock::ClockFault;
use crate::sim::machine::Machine;
use crate::xen::DomainId;
use crate::xen::event::Port;
use crate::xen::touch;
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// When a peer wants to run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextRun {
    /// It has more to do now.
    Again,
    /// When an event or a store change wakes it.
    Asleep,
    /// Then, or earlier when woken.
    Until(Moment),
    /// Never: it is to be forgotten.
    Gone,
}

/// Somebody other than the kernel.
pub trait Peer {
    /// The domain it runs in.
    fn domain(&self) -> DomainId;

    /// Does a little: at most a few packets or requests.
    fn step(&mut self, machine: &mut Machine) -> NextRun;

    /// Peers that it has brought into being.
    fn take_spawned(&mut self) -> Vec<Box<dyn Peer>> {
        Vec::new()
    }

    /// The kernel sleeps and nobody has anything to do: what is wrong with that, seen from here?
    fn check_idle(&self, _machine: &mut Machine) {}

    /// The kernel has just read or written a shared page at the address `place`, and runs on: whoever lies in wait for
    /// that may change the page.
    fn on_kernel_access(&mut self, _machine: &mut Machine, _place: usize) {}
}

struct PeerSlot {
    peer: Box<dyn Peer>,
    rest: NextRun,
}

/// How often peers run while the kernel does.
#[derive(Clone, Copy, Debug)]
pub struct Interleaving {
    /// At most so many accesses to shared pages between two chances for peers.
    pub accesses: u64,
    /// At most so many steps of peers at one chance.
    pub steps: u64,
    /// At most so many nanoseconds that a call of the hypervisor takes.
    pub call_nanoseconds: u64,
}

/// Machine, peers and scheduler.
pub struct World {
    /// The machine.
    pub machine: Machine,
    peers: Vec<PeerSlot>,
    interleaving: Interleaving,
    ends: Moment,
    over: bool,
    sleeps: u64,
    /// How often the kernel asked for the time.
    pub clock_readings: u64,
}

/// Steps of peers at most while the kernel stands still.
const MOST_STEPS: u32 = 20_000;

/// What the kernel waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitFor {
    /// Anything: it has nothing to do.
    Work,
    /// A reply of xenstored: other things may wait meanwhile.
    Reply,
}

/// A world that the kernel's two doors share.
pub type SharedWorld = Rc<RefCell<World>>;

impl World {
    /// A world without peers that ends at `ends`.
    pub fn new(machine: Machine, interleaving: Interleaving, ends: Moment) -> Self {
        Self { machine, peers: Vec::new(), interleaving, ends, over: false, sleeps: 0, clock_readings: 0 }
    }

    /// Adds a peer.
    pub fn add(&mut self, peer: Box<dyn Peer>) {
        self.peers.push(PeerSlot { peer, rest: NextRun::Again });
    }

    /// Moves the end. A world whose time was up goes on until then.
    pub fn end_at(&mut self, ends: Moment) {
        self.ends = ends;
    }

    /// Whether the run is at its end: time is up, or an oracle has spoken.
    pub fn is_over(&self) -> bool {
        self.over || self.machine.now >= self.ends || !self.machine.violations.is_empty()
    }

    /// How often the kernel slept.
    pub fn sleeps(&self) -> u64 {
        self.sleeps
    }

    /// Does what the kernel's call costs, and lets peers act.
    pub fn interleave(&mut self) {
        let cost = self.machine.prng.between(1, self.interleaving.call_nanoseconds);
        self.machine.pass(Duration::from_nanos(cost));
        self.upset_clock();
        for _ in 0..self.machine.prng.below(self.interleaving.steps + 1) {
            if !self.run_one() {
                break;
            }
        }
    }

    /// Between two copies of a batch: a peer may change a grant that a later one needs.
    pub fn between_copies(&mut self) {
        if self.machine.prng.below(16) < self.interleaving.steps {
            self.run_one();
        }
    }

    /// Lets happen to time what is due.
    fn upset_clock(&mut self) {
        let Machine { clock, prng, now, .. } = &mut self.machine;
        let Some(upset) = clock.upset(*now, prng) else { return };
        self.machine.note(&[13], || format!("clock: {upset:?}"));
        match upset {
            ClockFault::Step => {}
            ClockFault::Jump(span) => {
                self.machine.pass(span);
                // Whoever looks at the clock sees first what was there before it jumped.
                for _ in 0..MOST_STEPS {
                    if !self.run_one() {
                        break;
                    }
                }
            }
            ClockFault::Pause(span) => {
                let end = self.machine.now + span;
                for _ in 0..MOST_STEPS {
                    if self.machine.now >= end {
                        break;
                    }
                    if !self.run_one() {
                        let next = self.next_wish().map_or(end, |due| due.min(end));
                        self.machine.now = self.machine.now.max(next);
                    }
                }
            }
        }
    }

    /// When the next peer wants to run.
    fn next_wish(&self) -> Option<Moment> {
        let wishes = self.peers.iter().filter_map(|slot| match slot.rest {
            NextRun::Until(due) => Some(due),
            _ => None,
        });
        wishes.min()
    }

    /// Lets peers act between two accesses to a shared page; after how many the next time.
    pub fn touched(&mut self) -> u32 {
        if self.interleaving.steps > 0 {
            self.run_one();
        }
        let place = touch::last();
        for slot in &mut self.peers {
            slot.peer.on_kernel_access(&mut self.machine, place);
        }
        self.machine.prng.between(1, self.interleaving.accesses) as u32
    }

    fn is_ready(&self, slot: &PeerSlot) -> bool {
        match slot.rest {
            NextRun::Again => true,
            NextRun::Until(due) if due <= self.machine.now => true,
            _ => self.machine.woken.contains(&slot.peer.domain()),
        }
    }

    /// Runs one peer that has something to do; whether there was one.
    fn run_one(&mut self) -> bool {
        let count = self.peers.len();
        if count == 0 {
            return false;
        }
        let first = self.machine.prng.below(count as u64) as usize;
        let ready = (first..count).chain(0..first);
        let ready = ready.into_iter().find(|&index| self.peers.get(index).is_some_and(|s| self.is_ready(s)));
        let Some(slot) = ready.and_then(|index| self.peers.get_mut(index)) else {
            // Whoever was woken is no more.
            self.machine.woken.clear();
            return false;
        };
        let domain = slot.peer.domain();
        let was_woken = self.machine.woken.remove(&domain);
        self.machine.pass(Duration::from_nanos(100));
        slot.rest = slot.peer.step(&mut self.machine);
        let spawned = slot.peer.take_spawned();
        if was_woken {
            self.wake_others(domain, ready);
        }
        self.machine.spread_store_events();
        self.peers.retain(|slot| slot.rest != NextRun::Gone);
        spawned.into_iter().for_each(|peer| self.add(peer));
        true
    }

    /// What woke one peer of `domain`, the one at `place`, is for all that run in it.
    fn wake_others(&mut self, domain: DomainId, place: Option<usize>) {
        for (at, slot) in self.peers.iter_mut().enumerate() {
            if Some(at) != place && slot.peer.domain() == domain {
                slot.rest = NextRun::Again;
            }
        }
    }

    /// `SCHEDOP_poll`: returns when a listed port is pending, at `until`, or when the world ends. With two or
    /// more ports any 0→1 transition of the domain wakes; with one only that port.
    pub fn poll(&mut self, ports: &[Port], until: Option<Moment>, wait: WaitFor) {
        self.machine.channels.clear_edge();
        self.sleeps += 1;
        let mut quiet_checked = false;
        if wait == WaitFor::Reply {
            self.check_wait();
        }
        loop {
            let pending = ports.iter().any(|port| self.machine.channels.is_pending(port.0));
            let edge = ports.len() != 1 && self.machine.channels.edge();
            let due = until.is_some_and(|until| until <= self.machine.now);
            if pending || edge || due || self.is_over() {
                let nanoseconds = until.map_or(0, Moment::as_nanoseconds);
                self.machine.note(&[12, u64::from(pending), u64::from(edge), u64::from(due)], || {
                    format!("kernel wakes: pending {pending}, edge {edge}, due {due} ({nanoseconds})")
                });
                return;
            }
            if self.run_one() {
                quiet_checked = false;
                continue;
            }
            if !quiet_checked && wait == WaitFor::Work {
                quiet_checked = true;
                self.check_idle();
            }
            let next = self.next_wish().into_iter().chain(until).fold(self.ends, Moment::min);
            self.machine.now = self.machine.now.max(next);
        }
    }

    /// The kernel waits for xenstored and looks at no ring meanwhile: it may do so at boot only.
    fn check_wait(&mut self) {
        if self.machine.mappings_of(KERNEL) > 0 || !self.machine.ledger.grants.is_empty() {
            self.machine
                .violate("store-wait", "the kernel waits for xenstored while rings are in use".into());
        }
    }

    /// The kernel sleeps, nobody has anything to do: nothing may lie around undone.
    fn check_idle(&mut self) {
        for slot in &self.peers {
            slot.peer.check_idle(&mut self.machine);
        }
    }

    /// Ends the run.
    pub fn finish(&mut self) {
        self.over = true;
    }

    /// Notes what the kernel did.
    pub fn note(&mut self, numbers: &[u64], text: impl FnOnce() -> alloc::string::String) {
        self.machine.note(numbers, || format!("kernel {}", text()));
    }

    /// Ports that the kernel has open.
    pub fn kernel_ports(&self) -> usize {
        self.machine.channels.ports_of(KERNEL).count()
    }
}
