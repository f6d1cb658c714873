//! A Linux-like or Windows-like client: its vif's life in XenStore, around a [`Nic`] and a host.

use crate::base::time::Moment;
use crate::sim::cast::KERNEL;
use crate::sim::host::Host;
use crate::sim::machine::Machine;
use crate::sim::machine::driver_action::DriverAction;
use crate::sim::machine::world::{NextRun, Peer};
use crate::sim::peer::nic::{Expected, FrontendConfig, Nic};
use crate::sim::store::home;
use crate::xen::DomainId;
use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use core::time::Duration;

/// A client.
pub struct ClientFrontend {
    domain: DomainId,
    front: String,
    back: String,
    config: FrontendConfig,
    host: Box<dyn Host>,
    nic: Option<Nic>,
    own: FrontendState,
    /// Reloads its driver about so often.
    reload_every: Option<Duration>,
    reload_at: Option<Moment>,
    watching: bool,
    /// Changes of XenStore that it has seen.
    seen: u64,
    compliance: Compliance,
}

/// Whether the kernel may close on this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compliance {
    Honest,
    /// It broke the rules: the kernel closes on it, and serves it again when it starts anew.
    BrokeRings,
}

/// Its own state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrontendState {
    /// 1: waits for the backend's offer.
    Initialising,
    /// 4: rings announced.
    Connected,
    /// 5: waits for the backend to close.
    Closing,
    /// 6: closed; comes back if it closed on its own.
    Closed(AfterClose),
    /// Windows' driver starts: it walks the backend, and itself, to where both can begin.
    Preparing,
}

/// What follows a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterClose {
    Stay,
    Return,
}

impl ClientFrontend {
    /// A client on device 0 of `domain`.
    pub fn new(
        domain: DomainId,
        config: FrontendConfig,
        host: Box<dyn Host>,
        reload_every: Option<Duration>,
    ) -> Self {
        Self {
            domain,
            front: format!("{}/device/vif/0", home(domain)),
            back: format!("{}/backend/vif/{}/0", home(KERNEL), domain.0),
            config,
            host,
            nic: None,
            own: FrontendState::Initialising,
            reload_every,
            reload_at: None,
            watching: false,
            seen: 0,
            compliance: Compliance::Honest,
        }
    }

    /// Does as it is told.
    fn obey(&mut self, machine: &mut Machine, action: DriverAction) {
        let there = machine.store.exists(&format!("{}/state", self.front));
        match action {
            _ if !there => {}
            DriverAction::Reload if self.own == FrontendState::Connected => {
                self.set_state(machine, FrontendState::Closing)
            }
            // The driver was unloaded or never got anywhere: a new one starts.
            DriverAction::Reload | DriverAction::Crash => {
                if let Some(nic) = self.nic.take() {
                    nic.close(machine, Expected::Anything);
                }
                self.compliance = Compliance::Honest;
                self.set_state(machine, FrontendState::Initialising);
            }
            DriverAction::Dance => {
                self.reload_at = None;
                self.compliance = Compliance::Honest;
                self.own = FrontendState::Preparing;
            }
            DriverAction::CloseAtOnce => self.set_state(machine, FrontendState::Closed(AfterClose::Return)),
            DriverAction::RemoveDirectory => {
                self.own = FrontendState::Closed(AfterClose::Stay);
                let _ = machine.store.remove(self.domain, &self.front);
            }
            DriverAction::BreakRings => {
                if let Some(nic) = &self.nic {
                    self.compliance = Compliance::BrokeRings;
                    nic.break_rings(machine);
                }
            }
            DriverAction::Babble => {
                let own = machine.store.text(self.domain, &format!("{}/state", self.front));
                for state in ["", "0", "7", "99", "3", own.as_str(), own.as_str()] {
                    let _ = machine.store.put(self.domain, &format!("{}/state", self.front), state);
                }
            }
        }
    }

    fn set_state(&mut self, machine: &mut Machine, own: FrontendState) {
        self.own = own;
        if own != FrontendState::Connected {
            self.reload_at = None;
        }
        let number = match own {
            FrontendState::Initialising => 1,
            FrontendState::Connected => 4,
            FrontendState::Closing => 5,
            FrontendState::Closed(_) => 6,
            // Its state is what it was.
            FrontendState::Preparing => return,
        };
        machine.note(&[30, u64::from(self.domain.0), number], || {
            format!("domain {}: frontend is in state {number}", self.domain.0)
        });
        // When the directory is gone nobody wants to know.
        if machine.store.exists(&format!("{}/state", self.front)) {
            let _ = machine.store.put(self.domain, &format!("{}/state", self.front), number);
        }
    }

    fn disconnect(&mut self, machine: &mut Machine) {
        let closed = machine.store.text(self.domain, &format!("{}/state", self.back)) == "6";
        if let Some(nic) = self.nic.take() {
            machine.model.client_leaves(self.domain);
            nic.close(machine, if closed { Expected::Unmapped } else { Expected::Anything });
        }
    }

    /// Follows the backend.
    fn look(&mut self, machine: &mut Machine) {
        let there = machine.store.exists(&format!("{}/state", self.front));
        let backend = machine.store.text(self.domain, &format!("{}/state", self.back));
        if let Some(nic) = &mut self.nic {
            nic.set_served(backend == "4", machine);
        }
        match (self.own, backend.as_str()) {
            (FrontendState::Initialising, "2") if there => {
                self.nic = Nic::connect(machine, self.domain, &self.front, self.config);
                self.config.start = machine.prng.bits() as u32;
                if self.nic.is_some() {
                    let wait = self.reload_every.map_or(0, |every| every.as_nanos() as u64);
                    let wait = Duration::from_nanos(machine.prng.between(wait / 2, wait * 2));
                    self.reload_at = self.reload_every.map(|_| machine.now + wait);
                    self.set_state(machine, FrontendState::Connected);
                }
            }
            (FrontendState::Connected, "4") if self.reload_at.is_some_and(|at| at <= machine.now) => {
                self.reload_at = None;
                self.set_state(machine, FrontendState::Closing);
            }
            (FrontendState::Connected, "5" | "6" | "") => {
                let online = machine.store.text(self.domain, &format!("{}/online", self.back)) == "1";
                if backend == "6" && online && self.host.is_honest() && self.compliance == Compliance::Honest
                {
                    let domain = self.domain.0;
                    machine.violate("broken-off", format!("the kernel closed on honest domain {domain}"));
                }
                let then = if backend == "6" && there { AfterClose::Return } else { AfterClose::Stay };
                // Until it reads Closed the backend may use the rings.
                if backend != "5" {
                    self.disconnect(machine);
                    self.set_state(machine, FrontendState::Closed(then));
                } else {
                    self.set_state(machine, FrontendState::Closed(AfterClose::Stay));
                }
            }
            (FrontendState::Closing, "5" | "6" | "") => {
                self.set_state(machine, FrontendState::Closed(AfterClose::Return));
            }
            (FrontendState::Preparing, _) if there => self.prepare(machine, &backend),
            (FrontendState::Closed(then), "6" | "") => {
                self.disconnect(machine);
                let online = machine.store.text(self.domain, &format!("{}/online", self.back)) == "1";
                if then == AfterClose::Return && online && there {
                    self.set_state(machine, FrontendState::Initialising);
                } else if !there && backend.is_empty() {
                    // Whoever attaches it again makes a new directory.
                    self.own = FrontendState::Initialising;
                }
            }
            (FrontendState::Closed(_), "1" | "2") if there => {
                // A new device in the place of the old one.
                self.disconnect(machine);
                let fresh = machine.store.text(self.domain, &format!("{}/state", self.front)) == "1";
                if fresh {
                    self.own = FrontendState::Initialising;
                }
            }
            _ => {}
        }
    }
}

impl ClientFrontend {
    /// One step of xenvif's `FrontendPrepare`: the backend's state says what to write.
    fn prepare(&mut self, machine: &mut Machine, backend: &str) {
        let node = format!("{}/state", self.front);
        let online = machine.store.text(self.domain, &format!("{}/online", self.back)) == "1";
        let write = match backend {
            "6" if online => "1",
            "4" => "5",
            "5" => "6",
            "2" => {
                if let Some(nic) = self.nic.take() {
                    nic.close(machine, Expected::Anything);
                }
                self.own = FrontendState::Initialising;
                self.seen = 0;
                return;
            }
            _ => return,
        };
        // Its predecessor's, who is not there any more to free them. State 5 may be libxl's writing: not yet then.
        if backend == "6"
            && let Some(nic) = self.nic.take()
        {
            nic.close(machine, Expected::Unmapped);
        }
        if machine.store.text(self.domain, &node) != write {
            machine.note(&[31, u64::from(self.domain.0)], || {
                format!("domain {}: Windows writes {write}", self.domain.0)
            });
            let _ = machine.store.put(self.domain, &node, write);
        }
    }
}

impl Peer for ClientFrontend {
    fn domain(&self) -> DomainId {
        self.domain
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        if !machine.domains.contains_key(&self.domain) {
            return NextRun::Gone;
        }
        if !self.watching {
            self.watching = true;
            machine.store.wake_for(self.domain, &self.back);
            machine.store.wake_for(self.domain, &self.front);
        }
        if let Some(action) = machine.commands.get_mut(&self.domain).and_then(VecDeque::pop_front) {
            self.obey(machine, action);
            self.seen = 0;
        }
        let before = self.own;
        let reload = self.reload_at.is_some_and(|at| at <= machine.now);
        if self.seen != machine.store.changes || reload {
            self.seen = machine.store.changes;
            self.look(machine);
        }
        let busy = match (&mut self.nic, self.own) {
            (Some(nic), FrontendState::Connected | FrontendState::Closing) => {
                nic.step(machine, &mut *self.host)
            }
            _ => false,
        };
        if self.own == FrontendState::Connected
            && self.nic.as_ref().is_some_and(|nic| nic.is_starved(machine))
        {
            machine.violate("share", format!("domain {} is passed over again and again", self.domain.0));
        }
        if busy || before != self.own {
            return NextRun::Again;
        }
        let host = self.nic.as_ref().and_then(|_| self.host.deadline(machine.now));
        match host.into_iter().chain(self.reload_at).min() {
            // Timers of guests are not finer than this.
            Some(due) => NextRun::Until(due.max(machine.now + Duration::from_micros(50))),
            None => NextRun::Asleep,
        }
    }

    fn check_idle(&self, machine: &mut Machine) {
        if self.nic.as_ref().is_none_or(|nic| nic.unanswered() == 0) {
            return;
        }
        let backend = machine.store.text(self.domain, &format!("{}/state", self.back));
        if let (Some(nic), FrontendState::Connected, "4") = (&self.nic, self.own, backend.as_str()) {
            nic.check_idle(machine);
        }
    }
}
