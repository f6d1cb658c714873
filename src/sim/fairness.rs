//! Clients that compete for an uplink which is slower than they are: who gets how much, in virtual time.

use super::books::KernelStory;
use super::dice::Dice;
use super::domain::SimXen;
use super::machine::{Machine, TOOLSTACK, UPLINK};
use super::net::Host;
use super::net::bulk::{Bulk, Way};
use super::net::greedy::Greedy;
use super::net::host::{Address, StackHost};
use super::oracle::Violation;
use super::peer::conduct::{Conduct, Line};
use super::peer::frontend::Frontend;
use super::peer::nic::Style;
use super::peer::toolstack::{Task, Toolstack, When};
use super::run::{
    FRAMES, PAGES, SERVER, boot_kernel, client_address, client_mac, client_plan, domain_of,
    gateway_of_clients, populate,
};
use super::scenario::Scenario;
use super::trace::Recording;
use super::world::{Peer, Rest, World};
use crate::base::time::Moment;
use crate::xen::{DomainId, touch};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// TCP: as much as its connection carries, that way.
    Bulk(Way),
    /// The same, joined to packets of up to 64 KB as far as the window goes.
    Large(Way),
    /// UDP: frames of so many bytes, as fast as its ring takes them.
    Datagrams(usize),
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Bytes per second of each client while all were at work: content of TCP, frames of UDP.
    pub rates: Vec<u64>,
    /// What was violated.
    pub violations: Vec<Violation>,
}

/// Bytes per second that the uplink carries in either direction.
pub const UPLINK_RATE: u64 = 500_000;

/// When everybody is at work, and for how long that is measured.
const SETTLED: Duration = Duration::from_millis(3200);
const MEASURED: Duration = Duration::from_secs(2);

/// Lets clients compete. They appear in the order of `works`; each begins its work two seconds later.
pub fn compete(works: &[Work], seed: u64) -> Outcome {
    let mut dice = Dice::new(seed);
    let scenario = scenario(seed);
    let machine = Machine::new(FRAMES, dice.split(), Recording::Off);
    let start = machine.now;
    let (settled, ends) = (start + SETTLED, start + SETTLED + MEASURED);
    let world = Rc::new(RefCell::new(World::new(machine, scenario.tempo, ends)));
    world.borrow_mut().machine.create(UPLINK);
    let boot = SimXen::boot(&world, PAGES);
    let mut tasks = vec![(When::At(start), Task::AttachUplink)];
    for (index, &work) in works.iter().enumerate() {
        let at = start + Duration::from_millis(200 * (1 + index as u64));
        let span = (at + Duration::from_secs(2), ends);
        let peer = move |machine: &mut Machine| client(index, work, span, machine);
        tasks.push((When::At(at), Task::Start(client_plan(index, Box::new(peer)))));
    }
    populate(&world, &scenario, &mut dice, boot.store_ring, Toolstack::new(tasks), ends);
    let clients: Vec<DomainId> = (0..works.len()).map(domain_of).collect();
    let before = Rc::new(RefCell::new(Vec::new()));
    {
        let mut world = world.borrow_mut();
        let machine = &mut world.machine;
        machine.model.clients =
            (0..works.len()).map(|index| (domain_of(index), client_address(index))).collect();
        let greedy = works.iter().zip(&clients).filter(|(work, _)| matches!(work, Work::Datagrams(_)));
        greedy.for_each(|(_, &client)| machine.rivals.watch(client));
        world.add(Box::new(Observer { at: settled, clients: clients.clone(), seen: before.clone() }));
    }
    boot_kernel(&world, &scenario, boot, &mut KernelStory::default());
    touch::listen(None);
    let machine = &mut world.borrow_mut().machine;
    let after = carried(machine, &clients);
    let each = before
        .borrow()
        .iter()
        .zip(after)
        .map(|(before, after)| (after - before) / MEASURED.as_secs())
        .collect();
    Outcome { rates: each, violations: core::mem::take(&mut machine.violations) }
}

/// Bytes that each client has got through.
fn carried(machine: &Machine, clients: &[DomainId]) -> Vec<u64> {
    let bytes = |&client| machine.ledger.content_of(client) + machine.rivals.total(client);
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

    fn step(&mut self, machine: &mut Machine) -> Rest {
        if machine.now < self.at {
            return Rest::Until(self.at);
        }
        *self.seen.borrow_mut() = carried(machine, &self.clients);
        Rest::Gone
    }
}

fn client(index: usize, work: Work, span: (Moment, Moment), machine: &mut Machine) -> Box<dyn Peer> {
    let (domain, mac, address) = (domain_of(index), client_mac(index), client_address(index));
    let bulk = |machine: &mut Machine, way| -> Box<dyn Host> {
        let address = Address { mac, addresses: vec![(address, 24)], gateway: Some(gateway_of_clients()) };
        let now = machine.now;
        let mut host = StackHost::new(&address, &mut machine.dice, now);
        host.run(|sockets| Bulk::start(domain, SERVER, way, span.0, &mut machine.dice, sockets));
        Box::new(host)
    };
    let (host, bundle_bytes): (Box<dyn Host>, usize) = match work {
        Work::Bulk(way) => (bulk(machine, way), 0),
        Work::Large(way) => (bulk(machine, way), 65_535),
        Work::Datagrams(bytes) => (Box::new(Greedy::new(domain, mac, address, bytes, span)), 0),
    };
    let most_slots = if bundle_bytes > 0 { 18 } else { 1 };
    let style = Style { bundle_bytes, most_slots, ..Style::PLAIN };
    Box::new(Frontend::new(domain, style, host, None))
}

/// A calm world with a narrow uplink.
fn scenario(seed: u64) -> Scenario {
    let line = Line { bytes_per_second: UPLINK_RATE, outward_bytes: 8 << 10, inward_bytes: 128 << 10 };
    let conduct = Conduct { latency: Duration::from_millis(2), line: Some(line), ..Conduct::CALM };
    Scenario { traffic: SETTLED + MEASURED, conduct, ..Scenario::calm(seed) }
}
