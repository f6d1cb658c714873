//! A qube from its start to its end: dom0's daemon, an uplink, one client, and a kernel that obeys what QubesDB says.

use crate::config::Live;
use crate::config::command_line::CommandLine;
use crate::config::rule_config::RuleConfig;
use crate::kernel::Firewall;
use crate::kernel::event::Event;
use crate::sim::cast::UPLINK;
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::{SimRing, SimXen};
use crate::sim::machine::world::{Peer, SharedWorld, World};
use crate::sim::peer::qubesdb_daemon::{DaemonDesk, DaemonOrder, QubesDbDaemon, order_daemon};
use crate::sim::peer::toolstack::{Task, Toolstack, When};
use crate::sim::prng::Prng;
use crate::sim::reconfigure::{Seen, Setup, look, populate};
use crate::sim::run::{FRAMES, MEMORY_BYTES, PAGES, start_kernel};
use crate::sim::scenario::Scenario;
use crate::sim::trace::Recording;
use crate::sim::violation::OracleViolation;
use crate::xen::{Shutdown, touch};
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::rc::Rc;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::{Ref, RefCell};
use core::time::Duration;

/// The longest story.
const ENDS: Duration = Duration::from_secs(600);

/// Entries of QubesDB by path.
pub type QubesEntries = BTreeMap<String, Vec<u8>>;

/// A world with a qube in it.
pub struct Qube {
    world: SharedWorld,
    firewall: Firewall<SimXen, SimRing>,
    desk: Rc<RefCell<DaemonDesk>>,
    seen: Seen,
    /// What happened in the last [`Self::run`].
    pub events: Vec<Event>,
    /// How many turns the loop took in it.
    pub turns: u64,
    /// Why the domain ended, if it did.
    pub ended: Option<Shutdown>,
}

impl Qube {
    /// Starts one. With `entries` dom0's daemon is there before its first instruction, as on Qubes.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn boot(setup: Setup, entries: Option<QubesEntries>) -> Self {
        let mut prng = Prng::new(1);
        let machine = Machine::new(FRAMES, prng.split(), Recording::Off);
        let ends = machine.now + ENDS;
        let world = Rc::new(RefCell::new(World::new(machine, Scenario::calm(1).interleaving, ends)));
        world.borrow_mut().machine.create(UPLINK);
        let boot = SimXen::boot(&world, PAGES);
        populate(&world, setup, &mut prng, boot.store_ring, ends);
        let desk = Rc::new(RefCell::new(DaemonDesk::default()));
        let mut daemon = QubesDbDaemon::new(desk.clone());
        if let Some(entries) = entries {
            let machine = &mut world.borrow_mut().machine;
            order_daemon(&desk, machine, DaemonOrder::Start(entries));
            daemon.step(machine);
        }
        world.borrow_mut().add(Box::new(daemon));
        let (options, _) = CommandLine::parse(setup.command_line);
        let rules = RuleConfig::File(Cow::Borrowed(setup.rules.as_bytes()));
        let live = Live::boot(&options, rules, MEMORY_BYTES);
        let firewall = start_kernel(boot, live).expect("XenStore is there");
        Self { world, firewall, desk, seen: Seen::default(), events: Vec::new(), turns: 0, ended: None }
    }

    /// Gives dom0's daemon an order.
    pub fn order(&mut self, order: DaemonOrder) {
        order_daemon(&self.desk, &mut self.world.borrow_mut().machine, order);
    }

    /// Somebody in dom0 writes entries, one after the other.
    pub fn write(&mut self, entries: &[(&str, &str)]) {
        for (path, value) in entries {
            self.order(DaemonOrder::Write((*path).to_string(), (*value).to_string()));
        }
    }

    /// The uplink is attached.
    pub fn attach_uplink(&mut self) {
        self.command(Task::AttachUplink);
    }

    /// The uplink is detached.
    pub fn detach_uplink(&mut self) {
        self.command(Task::DetachUplink);
    }

    /// The toolstack asks for the domain's end.
    pub fn shut_down(&mut self) {
        self.command(Task::ShutDown);
    }

    fn command(&mut self, task: Task) {
        let mut world = self.world.borrow_mut();
        let now = world.machine.now;
        world.add(Box::new(Toolstack::new([(When::At(now), task)])));
    }

    /// What dom0's daemon has, and how often the kernel has connected to it.
    pub fn daemon(&self) -> Ref<'_, DaemonDesk> {
        self.desk.borrow()
    }

    /// What is configured.
    pub fn live(&self) -> &Live {
        self.firewall.live()
    }

    /// Runs for so long, or to the domain's end; what was seen in this time.
    pub fn run(&mut self, span: Duration) -> Seen {
        let until = self.world.borrow().machine.now + span;
        self.events.clear();
        self.turns = 0;
        while self.ended.is_none()
            && self.world.borrow().machine.now < until
            && !self.world.borrow().is_over()
        {
            self.ended = self.firewall.turn();
            self.events.extend_from_slice(self.firewall.events());
            self.turns += 1;
        }
        let now = look(&self.world, &self.firewall);
        let before = core::mem::replace(&mut self.seen, now.clone());
        Seen {
            pings: now.pings - before.pings,
            datagrams: now.datagrams - before.datagrams,
            lookups: now.lookups - before.lookups,
            flows: now.flows,
        }
    }

    /// Runs until `is_so`, which is asked after each turn, and not for longer than `most`. Whether it came to that.
    pub fn run_until(&mut self, most: Duration, is_so: impl Fn(&Self) -> bool) -> bool {
        let until = self.world.borrow().machine.now + most;
        self.events.clear();
        while !is_so(self) {
            if self.world.borrow().machine.now >= until || self.world.borrow().is_over() {
                return false;
            }
            self.ended = self.firewall.turn();
            self.events.extend_from_slice(self.firewall.events());
        }
        true
    }

    /// What must not have happened, and did.
    pub fn violations(&self) -> Vec<OracleViolation> {
        self.world.borrow().machine.violations.clone()
    }
}

impl Drop for Qube {
    fn drop(&mut self) {
        touch::listen(None);
    }
}
