//! Single frames sent to a kernel that has one client and an uplink. Nobody there sends anything but what is asked for,
//! so what the kernel counts is what became of those frames.

use crate::config::Live;
use crate::config::command_line::CommandLine;
use crate::config::rule_config::RuleConfig;
use crate::kernel::Firewall;
use crate::sim::cast::{UPLINK, client_domain};
use crate::sim::host::scripted::{Script, Scripted};
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::{SimRing, SimXen};
use crate::sim::machine::world::{Peer, SharedWorld, World};
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
use crate::xen::{DomainId, touch};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// What the firewall is booted with: the addresses are those of [`crate::sim::cast`].
const COMMAND_LINE: &str = "ipv4=10.0.0.2/24 gateway=10.0.0.1 client-gateway=10.137.0.1";
const RULES: &str = "[default]\npolicy=accept\n";

/// The client's driver, unless another is asked for: packets lie in several slots.
const JOINING: FrontendConfig = FrontendConfig { gso_bytes: 65_535, most_slots: 18, ..FrontendConfig::PLAIN };

/// Time for frames to be sent and judged. Less than what a silent neighbour is given to answer.
const SETTLES: Duration = Duration::from_secs(1);
/// Time for both vifs to be connected, or for one to be detached.
const CONNECTS: Duration = Duration::from_secs(5);

/// The kernel and who is around it.
pub struct Injection {
    world: SharedWorld,
    firewall: Firewall<SimXen, SimRing>,
    client: Script,
    outside: Script,
}

impl Injection {
    /// Boots a kernel whose rules accept everything, and connects both vifs.
    ///
    /// # Panics
    /// If the kernel does not boot.
    pub fn boot() -> Self {
        Self::boot_with(JOINING)
    }

    /// The same, with a client whose driver puts each packet into one slot.
    ///
    /// # Panics
    /// If the kernel does not boot.
    pub fn boot_plain() -> Self {
        Self::boot_with(FrontendConfig::PLAIN)
    }

    fn boot_with(driver: FrontendConfig) -> Self {
        let mut prng = Prng::new(1);
        let machine = Machine::new(FRAMES, prng.split(), Recording::Off);
        let start = machine.now;
        let world = World::new(machine, Scenario::calm(1).interleaving, start + CONNECTS);
        let world = Rc::new(RefCell::new(world));
        world.borrow_mut().machine.create(UPLINK);
        let boot = SimXen::boot(&world, PAGES);
        let (client, outside) = (Script::default(), Script::default());
        {
            let mut world = world.borrow_mut();
            let (ring, port) = boot.store_ring;
            world.add(Box::new(StoreDaemon::new(ring, port)));
            world.machine.ledger.uplink_is_honest = true;
            let network = Box::new(Scripted(outside.clone()));
            world.add(Box::new(UplinkBackend::new(BackendConfig::CALM, network)));
            let script = client.clone();
            let peer = move |_: &mut Machine| -> Box<dyn Peer> {
                let host = Box::new(Scripted(script.clone()));
                Box::new(ClientFrontend::new(client_domain(0), driver, host, None))
            };
            let tasks = [Task::AttachUplink, Task::Start(client_plan(0, Box::new(peer)))];
            world.add(Box::new(Toolstack::new(tasks.map(|task| (When::At(start), task)))));
        }
        let (options, _) = CommandLine::parse(COMMAND_LINE);
        let rules = RuleConfig::File(RULES.as_bytes().into());
        let firewall = start_kernel(boot, Live::boot(&options, rules, 4 << 20)).expect("XenStore is there");
        let mut injection = Self { world, firewall, client, outside };
        injection.run();
        injection
    }

    /// The client sends frames. Its driver joins TCP segments that follow each other to one packet to be segmented (GSO).
    ///
    /// # Panics
    /// If they do not all leave.
    pub fn send_from_client(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        self.client.extend(frames);
        self.wake(client_domain(0));
        assert!(self.client.is_empty(), "the client's driver takes what it is given");
    }

    /// A host on the uplink's network sends frames.
    ///
    /// # Panics
    /// If they do not all leave.
    pub fn send_from_uplink(&mut self, frames: impl IntoIterator<Item = Vec<u8>>) {
        self.outside.extend(frames);
        self.wake(UPLINK);
        assert!(self.outside.is_empty(), "the uplink's backend takes what it is given");
    }

    /// The toolstack detaches the uplink.
    pub fn detach_uplink(&mut self) {
        let now = self.world.borrow().machine.now;
        let toolstack = Toolstack::new([(When::At(now), Task::DetachUplink)]);
        self.world.borrow_mut().add(Box::new(toolstack));
        self.run_for(CONNECTS);
    }

    /// The kernel, to look at, and to take its pages away.
    pub fn firewall(&mut self) -> &mut Firewall<SimXen, SimRing> {
        &mut self.firewall
    }

    /// What was violated.
    pub fn violations(&self) -> Vec<OracleViolation> {
        self.world.borrow().machine.violations.clone()
    }

    /// Wakes `domain`, which has frames to send, and runs until they have been dealt with.
    fn wake(&mut self, domain: DomainId) {
        self.world.borrow_mut().machine.woken.insert(domain);
        self.run_for(SETTLES);
    }

    fn run_for(&mut self, span: Duration) {
        let now = self.world.borrow().machine.now;
        self.world.borrow_mut().end_at(now + span);
        self.run();
    }

    fn run(&mut self) {
        while !self.world.borrow().is_over() {
            self.firewall.turn();
        }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        touch::listen(None);
    }
}
