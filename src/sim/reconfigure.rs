//! What is configured changes while packets pass: one client, one server, and a kernel that is told something in between.

use crate::base::time::Moment;
use crate::config::command_line::CommandLine;
use crate::config::rule_config::RuleConfig;
use crate::config::{ChangeQueue, Live};
use crate::kernel::Firewall;
use crate::kernel::event::Event;
use crate::sim::cast::{CLIENT_GATEWAY, SERVER, UPLINK, client_address, client_domain, client_mac};
use crate::sim::host::Host;
use crate::sim::host::apps::{Datagrams, Pace, Pings};
use crate::sim::host::names::{Lookups, NameServer};
use crate::sim::host::server::{ECHO, Echo};
use crate::sim::host::stack::{HostAddresses, StackHost};
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::{SimRing, SimXen};
use crate::sim::machine::world::{Peer, SharedWorld, World};
use crate::sim::oracle::ledger::ClientService;
use crate::sim::peer::backend_config::BackendConfig;
use crate::sim::peer::frontend::ClientFrontend;
use crate::sim::peer::nic::FrontendConfig;
use crate::sim::peer::store_daemon::StoreDaemon;
use crate::sim::peer::toolstack::{Task, Toolstack, When};
use crate::sim::peer::uplink_backend::UplinkBackend;
use crate::sim::prng::Prng;
use crate::sim::run::{FRAMES, PAGES, client_plan, start_kernel};
use crate::sim::scenario::Scenario;
use crate::sim::trace::Recording;
use crate::sim::violation::OracleViolation;
use crate::xen::touch;
use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::Ipv4Addr;
use core::time::Duration;

/// A firewall and what is beyond it.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What it is booted with.
    pub command_line: &'static str,
    /// Its rule file.
    pub rules: &'static str,
    /// The address that the uplink's router has, which is also the name server's.
    pub router: Ipv4Addr,
}

/// A flow that the firewall knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownFlow {
    /// IP protocol.
    pub protocol: u8,
    /// The far end's address.
    pub far: Ipv4Addr,
    /// The port or identifier that the far end sees.
    pub outer_port: u16,
}

/// What was seen in a span of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Pings of the server that were answered.
    pub pings: u64,
    /// Datagrams that the server echoed.
    pub datagrams: u64,
    /// Names that the router gave the addresses of.
    pub lookups: u64,
    /// Flows at its end.
    pub flows: Vec<KnownFlow>,
}

/// What came of it.
#[derive(Debug)]
pub struct Story {
    /// Until it was told.
    pub before: Seen,
    /// From a second after that.
    pub after: Seen,
    /// What happened in between.
    pub events: Vec<Event>,
    /// What was violated.
    pub violations: Vec<OracleViolation>,
}

/// Between two requests of each kind.
const PACE: Duration = Duration::from_millis(50);
/// When the kernel is told, after the start.
const TOLD: Duration = Duration::from_secs(6);
/// When what was under way has arrived.
const SETTLED: Duration = Duration::from_secs(7);
/// When all is over.
const ENDS: Duration = Duration::from_secs(12);

/// Boots `setup`, and tells it `act` while a client pings, sends datagrams and looks up names.
pub fn reconfigure(setup: Setup, act: impl FnOnce(&mut Live, &mut ChangeQueue)) -> Story {
    let mut prng = Prng::new(1);
    let machine = Machine::new(FRAMES, prng.split(), Recording::Off);
    let start = machine.now;
    let ends = start + ENDS;
    let world = Rc::new(RefCell::new(World::new(machine, Scenario::calm(1).interleaving, ends)));
    world.borrow_mut().machine.create(UPLINK);
    let boot = SimXen::boot(&world, PAGES);
    populate(&world, setup, &mut prng, boot.store_ring, ends);
    let (options, _) = CommandLine::parse(setup.command_line);
    let rules = RuleConfig::File(Cow::Borrowed(setup.rules.as_bytes()));
    let mut firewall = start_kernel(boot, Live::boot(&options, rules, 4 << 20)).expect("XenStore is there");
    run_until(&world, &mut firewall, start + TOLD, |_| {});
    let before = look(&world, &firewall);
    firewall.configure(act);
    let mut events = Vec::new();
    run_until(&world, &mut firewall, start + SETTLED, |firewall| events.extend_from_slice(firewall.events()));
    let settled = look(&world, &firewall);
    run_until(&world, &mut firewall, ends, |_| {});
    let end = look(&world, &firewall);
    touch::listen(None);
    let violations = core::mem::take(&mut world.borrow_mut().machine.violations);
    let after = Seen {
        pings: end.pings - settled.pings,
        datagrams: end.datagrams - settled.datagrams,
        lookups: end.lookups - settled.lookups,
        flows: end.flows,
    };
    Story { before, after, events, violations }
}

pub(in crate::sim) fn run_until(
    world: &SharedWorld,
    firewall: &mut Firewall<SimXen, SimRing>,
    until: Moment,
    mut look: impl FnMut(&Firewall<SimXen, SimRing>),
) {
    loop {
        {
            let world = world.borrow();
            if world.is_over() || world.machine.now >= until {
                return;
            }
        }
        firewall.turn();
        look(firewall);
    }
}

/// What there was so far.
pub(in crate::sim) fn look(world: &SharedWorld, firewall: &Firewall<SimXen, SimRing>) -> Seen {
    let world = world.borrow();
    let answered = |service| world.machine.ledger.of(client_domain(0), service).answered;
    let table = firewall.engine().engine().flows();
    let flows = (0..table.extent()).filter_map(|position| table.get(table.id_at(position)?));
    Seen {
        pings: answered(ClientService::Ping),
        datagrams: answered(ClientService::Datagram),
        lookups: answered(ClientService::Lookup),
        flows: flows
            .map(|flow| KnownFlow { protocol: flow.protocol, far: flow.far, outer_port: flow.outer_port })
            .collect(),
    }
}

/// Fills a world with xenstored, an uplink with a router, and a client.
pub(in crate::sim) fn populate(
    world: &SharedWorld,
    setup: Setup,
    prng: &mut Prng,
    (ring, port): (crate::xen::host::HostFrame, u32),
    until: Moment,
) {
    let mut world = world.borrow_mut();
    let now = world.machine.now;
    world.add(Box::new(StoreDaemon::new(ring, port)));
    let address = HostAddresses {
        mac: [0, 0x16, 0x3e, 0, 0, 9],
        // Its network has room for a firewall that is a neighbour and knows no other.
        addresses: vec![(setup.router, 16), (SERVER, 32)],
        gateway: None,
    };
    let mut network = StackHost::new(&address, prng, now);
    network.run(|sockets| Echo::start(ECHO, sockets));
    network.run(NameServer::start);
    world.machine.ledger.uplink_is_honest = true;
    world.add(Box::new(UplinkBackend::new(BackendConfig::CALM, Box::new(network))));
    let peer = move |machine: &mut Machine| -> Box<dyn Peer> {
        let host = client(setup, until, machine);
        Box::new(ClientFrontend::new(client_domain(0), FrontendConfig::PLAIN, host, None))
    };
    let tasks = [
        (When::At(now + Duration::from_millis(100)), Task::AttachUplink),
        (When::At(now + Duration::from_millis(500)), Task::Start(client_plan(0, Box::new(peer)))),
    ];
    world.add(Box::new(Toolstack::new(tasks)));
}

fn client(setup: Setup, until: Moment, machine: &mut Machine) -> Box<dyn Host> {
    let addresses = vec![(client_address(0), 24)];
    let address = HostAddresses { mac: client_mac(0), addresses, gateway: Some(CLIENT_GATEWAY) };
    let (now, prng, domain) = (machine.now, &mut machine.prng, client_domain(0));
    let pace = Pace { every: PACE, until };
    let mut host = StackHost::new(&address, prng, now);
    host.run(|sockets| Pings::start(domain, SERVER, pace, prng, sockets));
    host.run(|sockets| Datagrams::start(domain, (SERVER, ECHO), pace, 1000, prng, sockets));
    host.run(|sockets| Lookups::start(domain, setup.router, pace, sockets));
    Box::new(host)
}
