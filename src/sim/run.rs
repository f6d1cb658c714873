//! One run: the world is built, the kernel boots into it, and in the end everything must have been given back.

use crate::base::prefix::Ipv4Prefix;
use crate::base::time::Moment;
use crate::config::command_line::CommandLine;
use crate::config::qube_rules::SectionsOf;
use crate::config::rule_config::{RuleConfig, RulesReport};
use crate::config::{ChangeQueue, Live};
use crate::engine::Engine;
use crate::kernel::Firewall;
use crate::kernel::qubesdb::QubesConnection;
use crate::qubes::QubesDb;
use crate::sim::cast::{
    CLIENT_GATEWAY, FIREWALL, FORBIDDEN, GATEWAY, SERVER, UPLINK, UPLINK_MAC, client_address, client_domain,
    client_mac,
};
use crate::sim::dom0_plan::add_dom0;
use crate::sim::end_checks::{KernelSummary, check_balance, check_forwarding, check_service};
use crate::sim::host::Host;
use crate::sim::host::apps::{Datagrams, Pace, Pings, Probes, Transfers};
use crate::sim::host::flaky::Flaky;
use crate::sim::host::flood::Flood;
use crate::sim::host::greedy::{self, Greedy};
use crate::sim::host::names::{Lookups, NameServer};
use crate::sim::host::nonsense::Nonsense;
use crate::sim::host::outside::{Outside, Target};
use crate::sim::host::server::{ECHO, Echo, TRANSFER, TransferServer};
use crate::sim::host::stack::{HostAddresses, StackHost};
use crate::sim::host::web::{Browser, WebServer};
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::{KernelBoot, SimRing, SimXen};
use crate::sim::machine::world::{Peer, SharedWorld, World};
use crate::sim::oracle::excuse::Judgements;
use crate::sim::oracle::ledger::{ClientService, ServiceOutcome};
use crate::sim::oracle::memory::MemoryOracle;
use crate::sim::oracle::neighbours;
use crate::sim::oracle::pages::PageOracle;
use crate::sim::oracle::payers::PayerOracle;
use crate::sim::oracle::shares::{ShareOracle, ports_are_short};
use crate::sim::peer::backend_config::BackendConfig;
use crate::sim::peer::console::{self, Terminal};
use crate::sim::peer::frontend::ClientFrontend;
use crate::sim::peer::hostile::HostileClient;
use crate::sim::peer::store_daemon::StoreDaemon;
use crate::sim::peer::storm::StormingClient;
use crate::sim::peer::toolstack::{ClientPlan, MakePeer, Task, Toolstack, When};
use crate::sim::peer::uplink_backend::UplinkBackend;
use crate::sim::prng::Prng;
use crate::sim::scenario::{Attacker, ClientShape, Scenario};
use crate::sim::trace::Recording;
use crate::sim::violation::OracleViolation;
use crate::store::{Store, StoreError};
use crate::xen::meter::{self, Payer};
use crate::xen::{DomainId, Shutdown, Xen, touch};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// Pages of the machine.
pub(in crate::sim) const FRAMES: usize = 8192;
/// Pages that the kernel has for packets.
pub(in crate::sim) const PAGES: usize = 1024;
/// The same where clients compete for a slow uplink: so many that it is the uplink that is short. Where pages are short
/// they are what is divided, and whoever sends small packets gets fewer bytes out.
const ENOUGH_PAGES: usize = 3072;
/// After the last device is gone: time for everything that is held to be let go.
const REST: Duration = Duration::from_secs(90);

/// What came of a run.
#[derive(Debug)]
pub struct RunReport {
    /// Hash of everything that happened.
    pub hash: u64,
    /// Events that went into it.
    pub events: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Packets that crossed any ring.
    pub packets: u64,
    /// Bytes of content that arrived.
    pub content_bytes: u64,
    /// Requests of the kernel to xenstored.
    pub store_requests: u64,
    /// Those of them that were refused for a reason that passes.
    pub store_refusals: u64,
    /// Lines that the console's reader has read.
    pub console_lines: u64,
    /// How often the kernel slept.
    pub sleeps: u64,
    /// How often it asked for the time.
    pub clock_readings: u64,
    /// What was violated.
    pub violations: Vec<OracleViolation>,
    /// How many packets the model judged.
    pub judgements: Judgements,
    /// What clients asked and got.
    pub outcomes: Vec<(DomainId, ClientService, ServiceOutcome)>,
    /// The slowest transfer.
    pub slowest: Duration,
    /// Most bytes that the kernel had allocated beyond those after boot, if anybody counted.
    pub peak_bytes: i64,
    /// What the kernel itself counted.
    pub kernel: KernelSummary,
    /// The last events as text, if they were kept.
    pub lines: Vec<String>,
    /// The last frames as a capture file per domain, if they were kept.
    pub captures: BTreeMap<DomainId, Vec<u8>>,
}

/// Runs a scenario to its end or to the first violation.
pub fn run(scenario: &Scenario, recording: Recording) -> RunReport {
    let mut prng = Prng::new(scenario.seed);
    let machine = Machine::new(FRAMES, prng.split(), recording);
    let start = machine.now;
    let traffic_ends = start + scenario.traffic;
    let drained = traffic_ends + Duration::from_secs(25);
    let tasks = plan(scenario, &mut prng, start, traffic_ends, drained);
    let ends = drained
        + REST
        + Duration::from_secs(60 + 25 * (scenario.clients.len() + scenario.attackers.len()) as u64);
    let world = Rc::new(RefCell::new(World::new(machine, scenario.interleaving, ends)));
    world.borrow_mut().machine.create(UPLINK);
    let pages = if scenario.backend.link.is_some() { ENOUGH_PAGES } else { PAGES };
    let boot = SimXen::boot(&world, pages);
    let tasks = tasks.into_iter().map(|(at, task)| (When::At(at), task));
    populate(&world, scenario, &mut prng, boot.store_ring, Toolstack::new(tasks), traffic_ends);
    let console = console::open(&world);
    world.borrow_mut().add(Box::new(Terminal::new(console, scenario.reader)));
    let mut kernel = KernelSummary::default();
    let ended = boot_kernel(&world, scenario, boot, &mut kernel);
    touch::listen(None);
    console::close();
    let mut world = world.borrow_mut();
    world.machine.hear_complaints();
    if ended != Some(Shutdown::PowerOff) && world.machine.violations.is_empty() {
        world.machine.violate("shutdown", format!("the kernel ended with {ended:?}, not with PowerOff"));
    }
    check_service(&mut world.machine, scenario, &kernel);
    check_forwarding(&mut world.machine, scenario, &kernel);
    let (sleeps, clock_readings) = (world.sleeps(), world.clock_readings);
    let machine = &mut world.machine;
    RunReport {
        hash: machine.trace.hash(),
        events: machine.trace.events(),
        simulated: machine.now.since(start),
        packets: machine.ledger.packets,
        content_bytes: machine.ledger.content_bytes(),
        store_requests: machine.ledger.store_requests,
        store_refusals: machine.ledger.store_refusals,
        console_lines: machine.ledger.console_lines,
        sleeps,
        clock_readings,
        violations: core::mem::take(&mut machine.violations),
        judgements: machine.model.judgements,
        outcomes: machine.ledger.outcomes().collect(),
        peak_bytes: kernel.peak_bytes,
        kernel,
        slowest: machine.ledger.slowest,
        lines: machine.trace.lines().map(Into::into).collect(),
        captures: machine.trace.captures(),
    }
}

/// What the toolstack does when.
fn plan(
    scenario: &Scenario,
    prng: &mut Prng,
    start: Moment,
    traffic_ends: Moment,
    drained: Moment,
) -> Vec<(Moment, Task)> {
    let mut tasks = vec![(start + Duration::from_millis(prng.below(300)), Task::AttachUplink)];
    let everybody = scenario.clients.len() + scenario.attackers.len();
    let span = scenario.traffic.as_millis() as u64;
    for (after, plan) in plans(scenario, traffic_ends) {
        tasks.push((start + after, Task::Start(plan)));
    }
    for number in 0..scenario.attackers.len() {
        let domain = client_domain(scenario.clients.len() + number);
        for _ in 0..prng.below(3) {
            let at = start + Duration::from_millis(1000 + prng.below(span));
            let task = if prng.chance(500) { Task::Vanish(domain) } else { Task::Detach(domain) };
            tasks.push((at, task));
            tasks.push((at + Duration::from_millis(prng.below(1000)), Task::Attach(domain)));
        }
    }
    for _ in 0..scenario.detaches {
        let domain = client_domain(prng.below(scenario.clients.len() as u64) as usize);
        let at = start + Duration::from_millis(1500 + prng.below(span));
        tasks.push((at, Task::Detach(domain)));
        tasks.push((at + Duration::from_millis(prng.below(3000)), Task::Attach(domain)));
    }
    for _ in 0..scenario.destroyed {
        let domain = client_domain(prng.below(everybody as u64) as usize);
        tasks.push((start + Duration::from_millis(500 + prng.below(span)), Task::Destroy(domain)));
    }
    for _ in 0..scenario.uplink_restarts {
        let at = start + Duration::from_millis(500 + prng.below(span));
        tasks.push((at, Task::DetachUplink));
        tasks.push((at + Duration::from_millis(prng.below(3000)), Task::AttachUplink));
    }
    tasks.sort_by_key(|(at, _)| *at);
    for index in 0..everybody {
        let domain = client_domain(index);
        let task = if prng.chance(500) { Task::Destroy(domain) } else { Task::Detach(domain) };
        tasks.push((drained, task));
    }
    tasks.push((drained, Task::DetachUplink));
    // Tasks wait for each other: this one comes well after the last device is gone.
    let rest = drained + REST + Duration::from_secs(20 * everybody as u64);
    tasks.push((rest, Task::ShutDown));
    tasks
}

/// Everybody's plan: first the honest clients, then the hostile ones.
pub(in crate::sim) fn plans(scenario: &Scenario, until: Moment) -> Vec<(Duration, ClientPlan)> {
    let flaky_every = scenario.flaky_every;
    let honest = scenario.clients.iter().enumerate().map(|(index, &shape)| {
        let host = move |machine: &mut Machine| honest_host(index, shape, until, machine);
        let peer = move |machine: &mut Machine| -> Box<dyn Peer> {
            let host = host(machine);
            let host = match flaky_every {
                Some(every) => Box::new(Flaky::new(host, every, until)),
                None => host,
            };
            Box::new(ClientFrontend::new(client_domain(index), shape.config, host, shape.reload_every))
        };
        (shape.starts_after, client_plan(index, Box::new(peer)))
    });
    let hostile = scenario.attackers.iter().enumerate().map(|(number, &attacker)| {
        let index = scenario.clients.len() + number;
        let (domain, mac, address) = (client_domain(index), client_mac(index), client_address(index));
        let peer = move |machine: &mut Machine| -> Box<dyn Peer> {
            match attacker {
                Attacker::Rings(rates) => Box::new(HostileClient::new(domain, mac, address, rates, until)),
                Attacker::Packets(config, every) => {
                    let host = Box::new(Nonsense::new(mac, address, every, until));
                    Box::new(ClientFrontend::new(domain, config, host, None))
                }
                Attacker::Flood(config, kind, burst) => {
                    let host = Box::new(Flood::new(kind, mac, address, burst, until));
                    Box::new(ClientFrontend::new(domain, config, host, None))
                }
                Attacker::Storm(shape, storm) => {
                    let host = honest_host(index, shape, until, machine);
                    let frontend = ClientFrontend::new(domain, shape.config, host, storm.reload_every());
                    Box::new(StormingClient::new(frontend, storm, until))
                }
                Attacker::Greedy(config, bytes) => {
                    let span = (machine.now, until);
                    let host = Box::new(Greedy::new(domain, mac, address, bytes, span));
                    Box::new(ClientFrontend::new(domain, config, host, None))
                }
                Attacker::Hoarder(shape) => {
                    let host = honest_host(index, shape, until, machine);
                    Box::new(ClientFrontend::new(domain, shape.config, host, None))
                }
            }
        };
        (Duration::from_millis(100), client_plan(index, Box::new(peer)))
    });
    honest.chain(hostile).collect()
}

pub(in crate::sim) fn client_plan(index: usize, peer: MakePeer) -> ClientPlan {
    let text: Vec<String> = client_mac(index).iter().map(|byte| format!("{byte:02x}")).collect();
    let ip = format!("{}", client_address(index));
    ClientPlan { domain: client_domain(index), mac: text.join(":"), ip, peer }
}

/// A host that pings, exchanges datagrams, transfers data, and tries what is forbidden.
fn honest_host(index: usize, shape: ClientShape, until: Moment, machine: &mut Machine) -> Box<dyn Host> {
    let domain = client_domain(index);
    let addresses = vec![(client_address(index), 24)];
    let address = HostAddresses { mac: client_mac(index), addresses, gateway: Some(CLIENT_GATEWAY) };
    let now = machine.now;
    let prng = &mut machine.prng;
    let mut host = StackHost::new(&address, prng, now);
    let pace = Pace { every: shape.pace, until };
    let slow = Pace { every: shape.pace * 10, until };
    let forbidden = Pace { every: shape.pace * 4, until };
    let largest = shape.largest_transfer;
    host.run(|sockets| Pings::start(domain, SERVER, pace, prng, sockets));
    host.run(|sockets| Datagrams::start(domain, (SERVER, ECHO), pace, 1400, prng, sockets));
    host.run(|sockets| Lookups::start(domain, GATEWAY, pace, sockets));
    host.run(|sockets| Browser::start(domain, SERVER, slow, largest / 4, prng, sockets));
    host.run(|sockets| Transfers::start(domain, (SERVER, TRANSFER), slow, largest, prng, sockets));
    host.run(|sockets| Transfers::start(domain, (GATEWAY, TRANSFER), slow, largest, prng, sockets));
    host.run(|sockets| Probes::start(domain, FORBIDDEN, forbidden, prng, sockets));
    Box::new(host)
}

pub(in crate::sim) fn populate(
    world: &SharedWorld,
    scenario: &Scenario,
    prng: &mut Prng,
    (ring, port): (crate::xen::host::HostFrame, u32),
    toolstack: Toolstack,
    traffic_ends: Moment,
) {
    let mut world = world.borrow_mut();
    let mut daemon = StoreDaemon::new(ring, port);
    daemon.spurious_per_mille = scenario.store_noise;
    daemon.conflict_per_mille = scenario.store_noise / 2;
    daemon.refusals.per_mille = scenario.store_refusals;
    daemon.latency = scenario.store_latency;
    world.add(Box::new(daemon));
    let address = HostAddresses {
        mac: [0x00, 0x16, 0x3e, 0, 0, 9],
        addresses: vec![(GATEWAY, 24), (SERVER, 32)],
        gateway: None,
    };
    let model = &mut world.machine.model;
    model.rules = Some(scenario.rules.clone());
    model.firewall = Some(FIREWALL);
    let hoarders = scenario.attackers.iter().enumerate().filter_map(|(number, attacker)| {
        matches!(attacker, Attacker::Hoarder(_) | Attacker::Storm(..))
            .then_some(scenario.clients.len() + number)
    });
    let honest = (0..scenario.clients.len()).chain(hoarders);
    model.clients = honest.map(|index| (client_domain(index), client_address(index))).collect();
    for (number, attacker) in scenario.attackers.iter().enumerate() {
        let domain = client_domain(scenario.clients.len() + number);
        let is_open = scenario.rules.accept(greedy::target(domain), 17, Some(greedy::PORT));
        if is_open && matches!(attacker, Attacker::Greedy(..)) {
            world.machine.fairness.watch(domain);
        }
    }
    let now = world.machine.now;
    let mut network = StackHost::new(&address, prng, now);
    network.run(|sockets| Echo::start(ECHO, sockets));
    network.run(NameServer::start);
    network.run(WebServer::start);
    network.run(TransferServer::start);
    let mut network: Box<dyn Host> = Box::new(network);
    if let Some(every) = scenario.flaky_every {
        network = Box::new(Flaky::new(network, every, traffic_ends));
    }
    if let Some(every) = scenario.outside_every {
        let (address, client) = (FIREWALL, client_address(0));
        let target = Target { mac: UPLINK_MAC, address, client, server: SERVER };
        network = Box::new(Outside::new(network, target, every, traffic_ends));
    }
    world.machine.clock.every = scenario.clock_faults_every;
    let backend = BackendConfig { attacks_until: traffic_ends, ..scenario.backend };
    world.machine.ledger.uplink_is_honest = backend.attacks_per_mille == 0;
    world.machine.ledger.uplink_is_narrow = backend.link.is_some();
    if let Some(qube) = scenario.qube {
        add_dom0(&mut world, scenario, qube, prng, traffic_ends);
    }
    world.add(Box::new(UplinkBackend::new(backend, network)));
    world.add(Box::new(toolstack));
}

/// Puts the kernel together as `main` does.
pub(in crate::sim) fn start_kernel(
    boot: KernelBoot,
    mut live: Live,
) -> Result<Firewall<SimXen, SimRing>, StoreError> {
    let KernelBoot { mut xen, store: ring, .. } = boot;
    let (port, store) = (ring.port(), Store::new(ring));
    let qubes = QubesConnection::find(&store, MEMORY_BYTES)?;
    if qubes.is_announced() {
        live.set_sections(SectionsOf::QubesDb, &mut ChangeQueue::default());
    }
    let (rules, _) = live.compile_rules();
    let engine = Engine::boot(live.settings(), rules, xen.entropy(), xen.now());
    Firewall::new(xen, store, port, live, engine, qubes)
}

/// What the simulated domain has: the engine's tables are small, so that they get full.
pub(in crate::sim) const MEMORY_BYTES: u64 = 4 << 20;

/// What a qube may take more: its database, and while a dump comes another one; the rules as text, and compiled.
fn qubes_bytes(scenario: &Scenario) -> i64 {
    let database = QubesDb::budget(MEMORY_BYTES) as i64;
    if scenario.qube.is_some() { 4 * database } else { 0 }
}

/// Boots the kernel as `main` does, runs it, and checks that it lets go of everything.
pub(in crate::sim) fn boot_kernel(
    world: &SharedWorld,
    scenario: &Scenario,
    boot: KernelBoot,
    told: &mut KernelSummary,
) -> Option<Shutdown> {
    let _kernel = meter::charge(Payer::Kernel);
    meter::reset();
    let options = match scenario.qube {
        // All of it comes by QubesDB; that the rule file has rules for all clients must not matter.
        Some(_) => CommandLine::default(),
        None => CommandLine {
            ipv4: Ipv4Prefix::new(FIREWALL, 24),
            gateway: Some(GATEWAY),
            client_gateway: Some(CLIENT_GATEWAY),
            ..CommandLine::default()
        },
    };
    let rules = RuleConfig::File(scenario.rules.file().into_bytes().into());
    let live = Live::boot(&options, rules, MEMORY_BYTES);
    if let (_, RulesReport::Read { problems, .. }) = live.compile_rules()
        && !problems.list.is_empty()
    {
        let mut world = world.borrow_mut();
        world.machine.violate("rule-file", format!("{problems:?}"));
    }
    let mut firewall = match start_kernel(boot, live) {
        Ok(firewall) => firewall,
        Err(error) => {
            world.borrow_mut().machine.violate("store", format!("the kernel gave up XenStore: {error}"));
            return None;
        }
    };
    let everybody = scenario.clients.len() + scenario.attackers.len();
    let memory = MemoryOracle::begin(everybody, qubes_bytes(scenario));
    let mut oracles = TurnOracles::default();
    loop {
        let reason = firewall.turn();
        check_turn(world, &mut firewall, &memory, &mut oracles);
        if reason.is_some() || world.borrow().is_over() {
            let _world = meter::charge(Payer::World);
            let refusals = world.borrow().machine.ledger.store_refusals;
            *told = KernelSummary::of(&firewall, &memory, refusals);
        }
        if reason.is_some() {
            let _world = meter::charge(Payer::World);
            check_balance(world, &mut firewall, scenario);
            return reason;
        }
        if world.borrow().is_over() {
            return None;
        }
    }
}

/// The oracles that look at the kernel after every turn of its loop and remember something from one to the next.
#[derive(Default)]
struct TurnOracles {
    pages: PageOracle,
    shares: ShareOracle,
    payers: PayerOracle,
}

/// Has every oracle look at the kernel.
fn check_turn(
    world: &SharedWorld,
    firewall: &mut Firewall<SimXen, SimRing>,
    memory: &MemoryOracle,
    oracles: &mut TurnOracles,
) {
    let _world = meter::charge(Payer::World);
    let checked = [
        ("memory", memory.check()),
        ("accounts", oracles.pages.check(firewall)),
        ("shares", oracles.shares.check(firewall)),
        ("neighbours", neighbours::check(firewall)),
        ("payers", oracles.payers.check(firewall)),
    ];
    let machine = &mut world.borrow_mut().machine;
    for (oracle, result) in checked {
        if let Err(what) = result {
            machine.violate(oracle, what);
        }
    }
    machine.model.ports_are_short |= ports_are_short(firewall);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_run_every_time() {
        let runs: Vec<RunReport> = (0..2).map(|_| run(&Scenario::of_seed(1), Recording::Off)).collect();
        assert_eq!(runs[0].hash, runs[1].hash);
        assert_eq!(runs[0].events, runs[1].events);
        assert_ne!(runs[0].hash, run(&Scenario::of_seed(2), Recording::Off).hash);
    }
}
