//! Clients that compete for an uplink which is slower than they are: who gets how much, in virtual time.

use crate::base::time::Moment;
use crate::sim::cast::{
    CLIENT_GATEWAY, SERVER, TOOLSTACK, UPLINK, client_address, client_domain, client_mac,
};
use crate::sim::end_checks::KernelSummary;
use crate::sim::host::Host;
use crate::sim::host::bulk::{Bulk, Way};
use crate::sim::host::greedy::Greedy;
use crate::sim::host::stack::{HostAddresses, StackHost};
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::SimXen;
use crate::sim::machine::world::{NextRun, Peer, World};
use crate::sim::peer::backend_config::{BackendConfig, LinkLimit};
use crate::sim::peer::frontend::ClientFrontend;
use crate::sim::peer::nic::FrontendConfig;
use crate::sim::peer::toolstack::{Task, Toolstack, When};
use crate::sim::prng::Prng;
use crate::sim::run::{FRAMES, PAGES, boot_kernel, client_plan, populate};
use crate::sim::scenario::Scenario;
use crate::sim::trace::Recording;
use crate::sim::violation::OracleViolation;
use crate::xen::{DomainId, touch};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// TCP: as much as its connection carries, that way.
    Bulk(Way),
    /// The same, joined to packets of up to 64 KB as far as the window goes.
    Large(Way),
    /// UDP: frames of so many bytes, as fast as its ring takes them.
    Datagrams(usize),
}

/// What came of it.
#[derive(Debug)]
pub struct CompetitionResult {
    /// Bytes per second of each client while all were at work: content of TCP, frames of UDP.
    pub rates: Vec<u64>,
    /// What was violated.
    pub violations: Vec<OracleViolation>,
}

/// Bytes per second that the uplink carries in either direction.
pub const UPLINK_RATE: u64 = 500_000;

/// When everybody is at work, and for how long that is measured.
const SETTLED: Duration = Duration::from_millis(3200);
const MEASURED: Duration = Duration::from_secs(2);

/// Lets clients compete. They appear in the order of `works`; each begins its work two seconds later.
pub fn compete(works: &[Workload], seed: u64) -> CompetitionResult {
    let mut prng = Prng::new(seed);
    let scenario = scenario(seed);
    let machine = Machine::new(FRAMES, prng.split(), Recording::Off);
    let start = machine.now;
    let (settled, ends) = (start + SETTLED, start + SETTLED + MEASURED);
    let world = Rc::new(RefCell::new(World::new(machine, scenario.interleaving, ends)));
    world.borrow_mut().machine.create(UPLINK);
    let boot = SimXen::boot(&world, PAGES);
    let mut tasks = vec![(When::At(start), Task::AttachUplink)];
    for (index, &work) in works.iter().enumerate() {
        let at = start + Duration::from_millis(200 * (1 + index as u64));
        let span = (at + Duration::from_secs(2), ends);
        let peer = move |machine: &mut Machine| client(index, work, span, machine);
        tasks.push((When::At(at), Task::Start(client_plan(index, Box::new(peer)))));
    }
    populate(&world, &scenario, &mut prng, boot.store_ring, Toolstack::new(tasks), ends);
    let clients: Vec<DomainId> = (0..works.len()).map(client_domain).collect();
    let before = Rc::new(RefCell::new(Vec::new()));
    {
        let mut world = world.borrow_mut();
        let machine = &mut world.machine;
        machine.model.clients =
            (0..works.len()).map(|index| (client_domain(index), client_address(index))).collect();
        let greedy = works.iter().zip(&clients).filter(|(work, _)| matches!(work, Workload::Datagrams(_)));
        greedy.for_each(|(_, &client)| machine.fairness.watch(client));
        world.add(Box::new(Observer { at: settled, clients: clients.clone(), seen: before.clone() }));
    }
    boot_kernel(&world, &scenario, boot, &mut KernelSummary::default());
    touch::listen(None);
    let machine = &mut world.borrow_mut().machine;
    let after = carried(machine, &clients);
    let each = before
        .borrow()
        .iter()
        .zip(after)
        .map(|(before, after)| (after - before) / MEASURED.as_secs())
        .collect();
    CompetitionResult { rates: each, violations: core::mem::take(&mut machine.violations) }
}

/// Bytes that each client has got through.
fn carried(machine: &Machine, clients: &[DomainId]) -> Vec<u64> {
    let bytes = |&client| machine.ledger.content_of(client) + machine.fairness.total(client);
    clients.iter().map(bytes).collect()
}

/// Looks once how far everybody is.
struct Observer {
    at: Moment,
    clients: Vec<DomainId>,
    seen: Rc<RefCell<Vec<u64>>>,
}

impl Peer for Observer {
    fn domain(&self) -> DomainId {
        TOOLSTACK
    }

    fn step(&mut self, machine: &mut Machine) -> NextRun {
        if machine.now < self.at {
            return NextRun::Until(self.at);
        }
        *self.seen.borrow_mut() = carried(machine, &self.clients);
        NextRun::Gone
    }
}

fn client(index: usize, work: Workload, span: (Moment, Moment), machine: &mut Machine) -> Box<dyn Peer> {
    let (domain, mac, address) = (client_domain(index), client_mac(index), client_address(index));
    let bulk = |machine: &mut Machine, way| -> Box<dyn Host> {
        let address = HostAddresses { mac, addresses: vec![(address, 24)], gateway: Some(CLIENT_GATEWAY) };
        let now = machine.now;
        let mut host = StackHost::new(&address, &mut machine.prng, now);
        host.run(|sockets| Bulk::start(domain, SERVER, way, span.0, &mut machine.prng, sockets));
        Box::new(host)
    };
    let (host, gso_bytes): (Box<dyn Host>, usize) = match work {
        Workload::Bulk(way) => (bulk(machine, way), 0),
        Workload::Large(way) => (bulk(machine, way), 65_535),
        Workload::Datagrams(bytes) => (Box::new(Greedy::new(domain, mac, address, bytes, span)), 0),
    };
    let most_slots = if gso_bytes > 0 { 18 } else { 1 };
    let config = FrontendConfig { gso_bytes, most_slots, ..FrontendConfig::PLAIN };
    Box::new(ClientFrontend::new(domain, config, host, None))
}

/// A calm world with a narrow uplink.
fn scenario(seed: u64) -> Scenario {
    let link = LinkLimit { bytes_per_second: UPLINK_RATE, outward_bytes: 8 << 10, inward_bytes: 128 << 10 };
    let backend =
        BackendConfig { latency: Duration::from_millis(2), link: Some(link), ..BackendConfig::CALM };
    Scenario { traffic: SETTLED + MEASURED, backend, ..Scenario::calm(seed) }
}
