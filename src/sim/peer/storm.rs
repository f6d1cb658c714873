//! A client that keeps to the rules of its rings and writes its nodes in XenStore far too often.

use super::frontend::Frontend;
use crate::base::time::Moment;
use crate::sim::machine::Machine;
use crate::sim::store::home;
use crate::sim::world::{Peer, Rest};
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
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
    pub words: Words,
    /// How often.
    pub every: Duration,
}

impl Storm {
    /// How often the driver is reloaded, if it is.
    pub fn reload_every(self) -> Option<Duration> {
        (self.words == Words::Reload).then_some(self.every)
    }
}

/// The client.
pub struct Storming {
    frontend: Frontend,
    storm: Storm,
    until: Moment,
    next: Moment,
    writes: u64,
}

impl Storming {
    /// A client that writes until `until`, and is well behaved from then on.
    pub fn new(frontend: Frontend, storm: Storm, until: Moment) -> Self {
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
        if self.storm.words == Words::Garbage {
            let _ = machine.store.put(domain, &node, "no state at all");
            let below = format!("{node}/{}", self.writes % 50);
            let _ = machine.store.put(domain, &below, self.writes);
        }
        let _ = machine.store.put(domain, &node, own);
    }
}

impl Peer for Storming {
    fn domain(&self) -> DomainId {
        self.frontend.domain()
    }

    fn step(&mut self, machine: &mut Machine) -> Rest {
        let rest = self.frontend.step(machine);
        let storms = self.storm.words != Words::Reload && machine.now < self.until;
        if !storms || rest == Rest::Gone {
            return rest;
        }
        if machine.now >= self.next {
            self.next = machine.now + self.storm.every;
            self.write(machine);
        }
        match rest {
            Rest::Until(due) => Rest::Until(due.min(self.next)),
            Rest::Asleep => Rest::Until(self.next),
            other => other,
        }
    }

    fn take_births(&mut self) -> Vec<Box<dyn Peer>> {
        self.frontend.take_births()
    }

    fn check_idle(&self, machine: &mut Machine) {
        self.frontend.check_idle(machine);
    }
}
