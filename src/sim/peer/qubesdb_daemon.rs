//! dom0's QubesDB daemon as a peer: it serves the kernel's domain over a vchan, does what it is told, and whatever of the kernel's
//! makes it end is a violation.

use super::qubesdb_server::QubesDbServer;
use super::vchan_server::{BadIndex, FalseAnnouncement, VchanServer};
use crate::sim::cast::{KERNEL, TOOLSTACK};
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer};
use crate::xen::DomainId;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec::Vec;
use core::cell::RefCell;

/// The number of QubesDB's vchan.
const NUMBER: u32 = 111;

/// The rings are of a page each.
const ORDERS: (u32, u32) = (12, 12);

/// Bytes read in one step.
const PIECE: usize = 500;

/// What the daemon is told to do.
#[derive(Clone, Debug)]
pub enum DaemonOrder {
    /// Somebody in dom0 writes an entry.
    Write(String, String),
    /// Somebody in dom0 removes an entry, or all below a path that ends with a slash.
    Remove(String),
    /// It dies, and what it had is lost.
    Die,
    /// It does all of this, as far as there is room in the ring, and dies before anybody has looked.
    Last(Vec<DaemonOrder>),
    /// One is started, with these entries.
    Start(BTreeMap<String, Vec<u8>>),
    /// Hostile: an index of a connection is moved to where it cannot be.
    BreakIndex(BadIndex),
    /// Hostile: bytes that are no message.
    Nonsense(Vec<u8>),
    /// Nobody serves what is announced.
    AnnounceFalsely(FalseAnnouncement),
}

/// What a test tells the daemon, and sees of it.
#[derive(Debug, Default)]
pub struct DaemonDesk {
    orders: VecDeque<DaemonOrder>,
    /// What it has now.
    pub entries: BTreeMap<String, Vec<u8>>,
    /// How often the kernel has connected.
    pub connections: u64,
}

impl DaemonDesk {
    /// The value of an entry.
    pub fn text(&self, path: &str) -> Option<String> {
        self.entries.get(path).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// The daemon.
pub struct QubesDbDaemon {
    desk: Rc<RefCell<DaemonDesk>>,
    server: QubesDbServer,
    vchan: Option<VchanServer>,
    is_connected: bool,
    /// What it sent on this connection made no sense: the kernel may do as it likes.
    is_hostile: bool,
    reproaches: usize,
}

impl QubesDbDaemon {
    /// A daemon that waits at `desk` for orders, and serves nobody yet.
    pub fn new(desk: Rc<RefCell<DaemonDesk>>) -> Self {
        let server = QubesDbServer::default();
        Self { desk, server, vchan: None, is_connected: false, is_hostile: false, reproaches: 0 }
    }

    fn serve(&mut self, machine: &mut Machine) {
        self.is_connected = false;
        self.vchan = Some(VchanServer::start(machine, TOOLSTACK, KERNEL, NUMBER, ORDERS));
    }

    fn stop(&mut self, machine: &mut Machine) {
        if let Some(vchan) = self.vchan.take() {
            vchan.stop(machine);
            machine.ledger.rules_were_late |= self.desk.borrow().connections == 0;
        }
    }

    fn obey(&mut self, machine: &mut Machine, order: DaemonOrder) {
        match order {
            DaemonOrder::Write(..) | DaemonOrder::Remove(_) if self.is_hostile => {}
            DaemonOrder::Write(path, value) => self.server.write(&path, value.as_bytes()),
            DaemonOrder::Remove(path) => drop(self.server.remove(&path)),
            DaemonOrder::Die => self.stop(machine),
            DaemonOrder::Last(orders) => {
                orders.into_iter().for_each(|order| self.obey(machine, order));
                if let Some(vchan) = &self.vchan {
                    vchan.write(machine, self.server.output().make_contiguous());
                }
                self.stop(machine);
            }
            DaemonOrder::Start(entries) => {
                self.stop(machine);
                (self.server, self.is_hostile, self.reproaches) = (QubesDbServer::new(entries), false, 0);
                self.serve(machine);
            }
            DaemonOrder::BreakIndex(how) => {
                self.is_hostile = true;
                self.server.output().clear();
                if let Some(vchan) = self.vchan.as_ref().filter(|_| self.is_connected) {
                    vchan.break_index(machine, how);
                }
            }
            DaemonOrder::Nonsense(bytes) => {
                self.is_hostile = true;
                self.server.output().extend(bytes);
            }
            DaemonOrder::AnnounceFalsely(how) => {
                self.stop(machine);
                VchanServer::announce_falsely(machine, (TOOLSTACK, KERNEL), NUMBER, how);
            }
        }
    }

    /// Moves bytes; whether there is more to do.
    fn exchange(&mut self, machine: &mut Machine) -> bool {
        let Some(vchan) = &self.vchan else { return false };
        vchan.take_event(machine);
        if !self.is_connected {
            if !vchan.look_for_client(machine) {
                return false;
            }
            (self.is_connected, self.is_hostile) = (true, false);
            self.server.connected();
            self.desk.borrow_mut().connections += 1;
        }
        if !vchan.is_open(machine) {
            self.server.closed();
            self.blame(machine);
            self.stop(machine);
            if self.server.end().is_none() {
                self.serve(machine);
            }
            return false;
        }
        if self.is_hostile && self.server.output().is_empty() {
            return false;
        }
        if !self.is_hostile {
            let bytes = vchan.read(machine, PIECE);
            let room = (1 << ORDERS.1) - vchan.unread(machine) as usize;
            self.server.receive(&bytes, room);
        }
        let most = machine.prng.between(1, 3000) as usize;
        let piece: Vec<u8> = self.server.output().iter().copied().take(most).collect();
        let moved = vchan.write(machine, &piece);
        self.server.output().drain(..moved);
        // One that is hostile never reads: what is left unread there is nothing to do.
        let waits = vchan.arm(machine) && !self.is_hostile;
        self.blame(machine);
        if self.server.end().is_some() {
            self.stop(machine);
        }
        waits || moved > 0
    }

    /// Says what the kernel has done wrong.
    fn blame(&mut self, machine: &mut Machine) {
        if self.is_hostile {
            return;
        }
        if let Some(end) = self.server.end() {
            machine.violate("qubesdb", format!("the kernel has ended dom0's daemon: {end:?}"));
        }
        for reproach in self.server.reproaches().iter().skip(self.reproaches) {
            machine.violate("qubesdb", format!("{reproach:?}"));
        }
        self.reproaches = self.server.reproaches().len();
    }
}

impl Peer for QubesDbDaemon {
    fn domain(&self) -> DomainId {
        TOOLSTACK
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        let order = self.desk.borrow_mut().orders.pop_front();
        let obeyed = order.is_some();
        if let Some(order) = order {
            self.obey(machine, order);
        }
        let busy = self.exchange(machine);
        self.desk.borrow_mut().entries.clone_from(self.server.entries());
        if busy || obeyed { NextRun::Again } else { NextRun::Asleep }
    }

    fn check_idle(&self, machine: &mut Machine) {
        let Some(vchan) = self.vchan.as_ref().filter(|_| self.is_connected && !self.is_hostile) else {
            return;
        };
        let unread = vchan.unread(machine);
        if unread > 0 && vchan.is_open(machine) {
            machine.violate("lost-wakeup", format!("the kernel sleeps before {unread} bytes of QubesDB"));
        }
    }
}

/// Gives the daemon an order.
pub fn order_daemon(desk: &RefCell<DaemonDesk>, machine: &mut Machine, order: DaemonOrder) {
    desk.borrow_mut().orders.push_back(order);
    machine.woken.insert(TOOLSTACK);
}
