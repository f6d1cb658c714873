//! A client that keeps to the rules of its rings and writes its nodes in XenStore far too often.

use crate::base::time::Moment;
use crate::sim::machine::Machine;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::peer::frontend::ClientFrontend;
use crate::sim::store::home;
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StormWrites {
    /// Its state, as it is.
    Same,
    /// No state, and then its own again; and nodes below it that nobody knows.
    Garbage,
    /// Every state that there is, by reloading the driver as soon as it is connected.
    Reload,
}

/// How its nodes are written.
#[derive(Clone, Copy, Debug)]
pub struct Storm {
    /// What.
    pub writes: StormWrites,
    /// How often.
    pub every: Duration,
}

impl Storm {
    /// How often the driver is reloaded, if it is.
    pub fn reload_every(self) -> Option<Duration> {
        (self.writes == StormWrites::Reload).then_some(self.every)
    }
}

/// The client.
pub struct StormingClient {
    frontend: ClientFrontend,
    storm: Storm,
    until: Moment,
    next: Moment,
    writes: u64,
}

impl StormingClient {
    /// A client that writes until `until`, and is well behaved from then on.
    pub fn new(frontend: ClientFrontend, storm: Storm, until: Moment) -> Self {
        Self { frontend, storm, until, next: Moment::default(), writes: 0 }
    }

    fn write(&mut self, machine: &mut Machine) {
        let domain = self.frontend.domain();
        let node = format!("{}/device/vif/0/state", home(domain));
        let own = machine.store.text(domain, &node);
        if own.is_empty() {
            return;
        }
        self.writes += 1;
        if self.storm.writes == StormWrites::Garbage {
            let _ = machine.store.put(domain, &node, "no state at all");
            let below = format!("{node}/{}", self.writes % 50);
            let _ = machine.store.put(domain, &below, self.writes);
        }
        let _ = machine.store.put(domain, &node, own);
    }
}

impl Peer for StormingClient {
    fn domain(&self) -> DomainId {
        self.frontend.domain()
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        let rest = self.frontend.step(machine);
        let storms = self.storm.writes != StormWrites::Reload && machine.now < self.until;
        if !storms || rest == NextRun::Gone {
            return rest;
        }
        if machine.now >= self.next {
            self.next = machine.now + self.storm.every;
            self.write(machine);
        }
        match rest {
            NextRun::Until(due) => NextRun::Until(due.min(self.next)),
            NextRun::Asleep => NextRun::Until(self.next),
            other => other,
        }
    }

    fn take_spawned(&mut self) -> Vec<Box<dyn Peer>> {
        self.frontend.take_spawned()
    }

    fn check_idle(&self, machine: &mut Machine) {
        self.frontend.check_idle(machine);
    }
}
