//! The simulated machine: memory, domains, grants, event channels, XenStore and the clock.
//!
//! Everything that the real hypervisor and xenstored would keep, and what the oracles note. The kernel
//! reaches it through [`crate::sim::machine::kernel_domain`], peers directly.

pub(crate) mod channels;
pub mod driver_action;
pub(crate) mod grants;
mod judge;
pub(crate) mod kernel_domain;
pub(crate) mod world;

use crate::base::time::Moment;
use crate::sim::cast::TOOLSTACK;
use crate::sim::clock::Clock;
use crate::sim::machine::channels::EventChannels;
use crate::sim::machine::driver_action::DriverAction;
use crate::sim::oracle::exposure::Exposure;
use crate::sim::oracle::fairness::FairnessOracle;
use crate::sim::oracle::ledger::Ledger;
use crate::sim::oracle::model::Model;
use crate::sim::prng::Prng;
use crate::sim::store::StoreServer;
use crate::sim::trace::{Recording, Trace};
use crate::sim::violation::OracleViolation;
use crate::xen::DomainId;
use crate::xen::host::{HostFrame, HostMemory};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

/// Frames of a domain's grant table.
pub const GRANT_FRAMES: u32 = 4;

/// A domain as the hypervisor knows it.
#[derive(Debug)]
pub struct Domain {
    /// The frames of its grant table.
    pub table: Vec<HostFrame>,
    /// References that its own allocator may use.
    pub(in crate::sim) free_references: Vec<u32>,
}

/// A page mapped by another domain.
#[derive(Clone, Copy, Debug)]
pub struct GrantMapping {
    /// Who mapped it.
    pub mapper: DomainId,
    /// Whose grant it is.
    pub granter: DomainId,
    /// The grant.
    pub reference: u32,
    /// The page.
    pub frame: HostFrame,
}

/// The machine.
#[derive(Debug)]
pub struct Machine {
    /// All memory.
    pub memory: HostMemory,
    /// Frames that belong to nobody.
    free_frames: Vec<HostFrame>,
    /// Living domains.
    pub domains: BTreeMap<DomainId, Domain>,
    /// Event channels.
    pub channels: EventChannels,
    /// XenStore.
    pub store: StoreServer,
    /// Who has mapped what.
    pub(in crate::sim) mappings: BTreeMap<u32, GrantMapping>,
    pub(in crate::sim) last_handle: u32,
    /// System time.
    pub now: Moment,
    /// What happens to it.
    pub clock: Clock,
    /// Batches of copies that the kernel ran.
    pub batches: u64,
    /// Chance.
    pub prng: Prng,
    /// What happened.
    pub trace: Trace,
    /// What clients' drivers are told to do.
    pub commands: BTreeMap<DomainId, VecDeque<DriverAction>>,
    /// Backend directories that several toolstacks work on at once: libxl's deadlines do not hold for them.
    pub contested: BTreeSet<String>,
    /// Domains whose peer has something to look at.
    pub woken: BTreeSet<DomainId>,
    /// What went wrong.
    pub violations: Vec<OracleViolation>,
    /// What the uplink's backend has seen.
    pub(in crate::sim) exposure: Exposure,
    /// What the firewall may do with packets.
    pub model: Model,
    /// How an uplink that is slower than its clients is divided.
    pub fairness: FairnessOracle,
    /// What honest peers and the network counted.
    pub ledger: Ledger,
}

impl Machine {
    /// A machine with `frames` pages and no domains but the toolstack.
    pub fn new(frames: usize, prng: Prng, recording: Recording) -> Self {
        let memory = HostMemory::new(frames);
        let free_frames = (0..memory.frames()).rev().map(HostFrame).collect();
        let mut machine = Self {
            memory,
            free_frames,
            domains: BTreeMap::new(),
            channels: EventChannels::default(),
            store: StoreServer::default(),
            mappings: BTreeMap::new(),
            last_handle: 0,
            now: Moment::from_nanoseconds(1_000_000_000),
            clock: Clock::default(),
            batches: 0,
            prng,
            trace: Trace::new(recording),
            commands: BTreeMap::new(),
            contested: BTreeSet::new(),
            woken: BTreeSet::new(),
            violations: Vec::new(),
            exposure: Exposure::default(),
            model: Model::default(),
            fairness: FairnessOracle::default(),
            ledger: Ledger::default(),
        };
        machine.create(TOOLSTACK);
        machine
    }

    /// Makes a domain with an empty grant table and its XenStore home.
    pub fn create(&mut self, domain: DomainId) {
        let table: Vec<HostFrame> = (0..GRANT_FRAMES).map(|_| self.take_frame()).collect();
        for &frame in &table {
            self.memory.fill(frame, 0, 4096, 0);
        }
        let free_references = (8..GRANT_FRAMES * 512).rev().collect();
        self.domains.insert(domain, Domain { table, free_references });
        self.store.introduce(domain);
    }

    /// Ends a domain: its ports close, its grants are void. Its pages stay while others map them.
    pub fn destroy(&mut self, domain: DomainId) {
        self.note(&[11, u64::from(domain.0)], || format!("domain {} destroyed", domain.0));
        self.model.client_leaves(domain);
        if let Some(gone) = self.domains.remove(&domain) {
            self.free_frames.extend(gone.table);
        }
        self.mappings.retain(|_, mapping| mapping.mapper != domain);
        self.channels.close_all(domain);
        self.store.release(domain);
    }

    /// A frame for somebody, with whatever it contains.
    ///
    /// # Panics
    /// If the machine has no more.
    pub fn take_frame(&mut self) -> HostFrame {
        self.free_frames.pop().expect("the machine was given too little memory")
    }

    /// Gives a frame back, unless somebody still maps it: then it is lost, as in real life.
    pub fn give_frame(&mut self, frame: HostFrame) {
        if !self.mappings.values().any(|mapping| mapping.frame == frame) {
            self.free_frames.push(frame);
        }
    }

    /// Lets time pass.
    pub fn pass(&mut self, span: Duration) {
        self.now = self.now + span;
    }

    /// Notes a frame that crosses a domain's ring.
    pub fn capture(&mut self, domain: DomainId, frame: &[u8]) {
        self.trace.frame(self.now, domain, frame);
    }

    /// Notes an event.
    pub fn note(&mut self, numbers: &[u64], text: impl FnOnce() -> String) {
        self.trace.note(self.now, numbers, text);
    }

    /// Notes that something must not have happened.
    pub fn violate(&mut self, oracle: &'static str, what: String) {
        self.trace.note(self.now, &[99], || format!("VIOLATED {oracle}: {what}"));
        self.violations.push(OracleViolation { oracle, what, at: self.now });
    }

    /// Notifies the other end of a port, and wakes its owner.
    pub fn send_event(&mut self, domain: DomainId, port: u32) {
        if let Some(remote) = self.channels.send(domain, port) {
            self.woken.insert(remote);
        }
    }

    /// Wakes the peers whose XenStore watches fired.
    pub fn spread_store_events(&mut self) {
        while let Some(domain) = self.store.next_woken() {
            self.woken.insert(domain);
        }
    }
}
