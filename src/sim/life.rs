//! Lives of vifs: something that takes several steps in XenStore, interrupted after one of them by something else.
//!
//! Two clients are there, one of which everything happens to. In the end whoever is alive is given what it lacks, must
//! be served, and leaves; then the kernel must hold nothing.

use crate::base::time::Moment;
use crate::sim::cast::{GATEWAY, SERVER, UPLINK, client_domain};
use crate::sim::end_checks::KernelSummary;
use crate::sim::machine::Machine;
use crate::sim::machine::driver_action::DriverAction;
use crate::sim::machine::kernel_domain::SimXen;
use crate::sim::machine::world::World;
use crate::sim::oracle::rules::SlowRules;
use crate::sim::peer::backend_config::BackendConfig;
use crate::sim::peer::nic::FrontendConfig;
use crate::sim::peer::toolstack::{Task, Toolstack, When, back_of, uplink_back};
use crate::sim::prng::Prng;
use crate::sim::run::{FRAMES, PAGES, boot_kernel, plans, populate};
use crate::sim::scenario::{ClientShape, Scenario};
use crate::sim::trace::Recording;
use crate::sim::violation::OracleViolation;
use crate::xen::{Shutdown, touch};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::time::Duration;

/// Something that happens to a client's vif, to the uplink, or to the firewall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeEvent {
    /// The client's driver does something.
    Client(DriverAction),
    /// `xl network-detach` of the client's vif.
    Detach,
    /// `xl destroy` of the client.
    Destroy,
    /// The client's vif is removed from XenStore, both halves or the backend's only.
    Vanish,
    /// As above.
    RemoveBackend,
    /// The vif is removed and made anew before anybody looks.
    MakeAnew,
    /// The uplink is detached and attached.
    UplinkRestart,
    /// The firewall was paused for three hours.
    Pause,
}

impl LifeEvent {
    /// Everything that can happen.
    pub const ALL: [Self; 14] = [
        Self::Client(DriverAction::Reload),
        Self::Client(DriverAction::Crash),
        Self::Client(DriverAction::Dance),
        Self::Client(DriverAction::CloseAtOnce),
        Self::Client(DriverAction::RemoveDirectory),
        Self::Client(DriverAction::BreakRings),
        Self::Client(DriverAction::Babble),
        Self::Detach,
        Self::Destroy,
        Self::Vanish,
        Self::RemoveBackend,
        Self::MakeAnew,
        Self::UplinkRestart,
        Self::Pause,
    ];

    fn tasks(self) -> Vec<Task> {
        let client = client_domain(0);
        match self {
            Self::Client(action) => vec![Task::Command(client, action)],
            Self::Detach => vec![Task::Detach(client)],
            Self::Destroy => vec![Task::Destroy(client)],
            Self::Vanish => vec![Task::Vanish(client)],
            Self::RemoveBackend => vec![Task::RemoveBackend(client)],
            Self::MakeAnew => vec![Task::Vanish(client), Task::Attach(client)],
            Self::UplinkRestart => vec![Task::DetachUplink, Task::AttachUplink],
            Self::Pause => vec![Task::Pause(Duration::from_secs(3 * 3600))],
        }
    }
}

/// What is interrupted: a client's first attach, or a happening once it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The client appears.
    Appear,
    /// It is there, and this happens.
    Then(LifeEvent),
}

impl Course {
    fn happening(self) -> Option<LifeEvent> {
        match self {
            Self::Appear => None,
            Self::Then(happening) => Some(happening),
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct LifeReport {
    /// What was violated.
    pub violations: Vec<OracleViolation>,
    /// What happened, if it was recorded.
    pub lines: Vec<String>,
}

const APPEARS: Duration = Duration::from_millis(500);
const HAPPENS: Duration = Duration::from_secs(4);
/// Later than everything that happens, even if libxl's patience was used up twice.
const REPAIRS: Duration = Duration::from_secs(50);
/// Three hours later, if the firewall was paused.
const LATER: Duration = Duration::from_secs(3 * 3600);

/// Runs `course`, interrupted by `interruption` after XenStore has changed `step` times.
pub fn live(
    course: Course,
    interruption: LifeEvent,
    step: u64,
    seed: u64,
    recording: Recording,
) -> LifeReport {
    let mut prng = Prng::new(seed);
    let scenario = scenario(seed, &mut prng);
    let machine = Machine::new(FRAMES, prng.split(), recording);
    let start = machine.now;
    let (begins, course_tasks) = match course {
        Course::Appear => (start + APPEARS, Vec::new()),
        Course::Then(happening) => (start + HAPPENS, happening.tasks()),
    };
    let happenings = [Some(interruption), course.happening()];
    let pauses = happenings.iter().filter(|&&happening| happening == Some(LifeEvent::Pause)).count();
    let repairs = start + REPAIRS + LATER * pauses as u32;
    let mut tasks = vec![(When::At(start + Duration::from_millis(100)), Task::AttachUplink)];
    for (after, plan) in plans(&scenario, repairs + Duration::from_secs(30)) {
        tasks.push((When::At(start + after), Task::Start(plan)));
    }
    tasks.extend(course_tasks.into_iter().map(|task| (When::At(begins), task)));
    tasks.extend(end(repairs));
    let interrupting = interruption.tasks().into_iter().enumerate().map(|(index, task)| match index {
        0 => (When::AfterChanges(begins, step), task),
        _ => (When::At(begins), task),
    });
    let toolstacks =
        Toolstacks { toolstacks: [tasks, interrupting.collect()], contested: contested(&happenings) };
    run_life(&scenario, &mut prng, machine, toolstacks, repairs)
}

/// `count` clients at once: all must be served, and leave nothing.
pub fn crowd(count: usize, seed: u64) -> LifeReport {
    let mut prng = Prng::new(seed);
    let mut scenario = scenario(seed, &mut prng);
    let shape = ClientShape { pace: Duration::from_secs(400), ..scenario.clients[0] };
    scenario.clients = vec![shape; count];
    let machine = Machine::new(FRAMES_OF_A_CROWD, prng.split(), Recording::Off);
    let start = machine.now;
    let full = start + Duration::from_secs(5 + count as u64);
    let mut tasks = vec![(When::At(start), Task::AttachUplink)];
    for (after, plan) in plans(&scenario, full) {
        tasks.push((When::At(start + after), Task::Start(plan)));
    }
    let clients = (0..count).map(client_domain);
    tasks.extend(clients.clone().map(|client| (When::At(full), Task::Expect(client))));
    tasks.extend(clients.map(|client| (When::At(full), Task::Detach(client))));
    tasks.push((When::At(full), Task::DetachUplink));
    tasks.push((When::At(full + Duration::from_secs(60 + 5 * count as u64)), Task::ShutDown));
    let toolstacks = Toolstacks { toolstacks: [tasks, Vec::new()], contested: BTreeSet::new() };
    run_life(&scenario, &mut prng, machine, toolstacks, full + Duration::from_secs(5 * count as u64))
}

/// Memory for every client's rings and buffers.
const FRAMES_OF_A_CROWD: usize = 32_000;

/// Who does what in XenStore.
struct Toolstacks {
    toolstacks: [Vec<(When, Task)>; 2],
    /// See [`Machine::contested`].
    contested: BTreeSet<String>,
}

/// Runs the scenario to its end, some minutes after `late`.
fn run_life(
    scenario: &Scenario,
    prng: &mut Prng,
    machine: Machine,
    toolstacks: Toolstacks,
    late: Moment,
) -> LifeReport {
    let ends = late + Duration::from_secs(300);
    let world = Rc::new(RefCell::new(World::new(machine, scenario.interleaving, ends)));
    world.borrow_mut().machine.create(UPLINK);
    world.borrow_mut().machine.contested = toolstacks.contested;
    let boot = SimXen::boot(&world, PAGES);
    let [first, second] = toolstacks.toolstacks.map(Toolstack::new);
    populate(&world, scenario, prng, boot.store_ring, first, late);
    world.borrow_mut().add(Box::new(second));
    let ended = boot_kernel(&world, scenario, boot, &mut KernelSummary::default());
    touch::listen(None);
    let mut world = world.borrow_mut();
    let machine = &mut world.machine;
    if ended != Some(Shutdown::PowerOff) && machine.violations.is_empty() {
        machine.violate("shutdown", format!("the kernel ended with {ended:?}, not with PowerOff"));
    }
    LifeReport {
        violations: core::mem::take(&mut machine.violations),
        lines: machine.trace.lines().map(Into::into).collect(),
    }
}

/// Both clients get what they lack, must be served, and leave.
fn end(repairs: Moment) -> Vec<(When, Task)> {
    let clients = [client_domain(0), client_domain(1)];
    let at = |seconds| When::At(repairs + Duration::from_secs(seconds));
    let mut tasks = Vec::new();
    tasks.push((at(0), Task::AttachUplink));
    tasks.extend(clients.map(|client| (at(0), Task::Repair(client))));
    // A driver that was closed on must be loaded again.
    tasks.push((at(5), Task::Command(clients[0], DriverAction::Reload)));
    tasks.extend(clients.map(|client| (at(12), Task::Expect(client))));
    tasks.extend(clients.map(|client| (at(13), Task::Detach(client))));
    tasks.push((at(13), Task::DetachUplink));
    tasks.push((at(130), Task::ShutDown));
    tasks
}

/// Two work on one vif: what libxl promises to one alone is not promised to them. The directories in which libxl may be
/// in its own way: it is paused along with the firewall, too.
fn contested(happenings: &[Option<LifeEvent>]) -> BTreeSet<String> {
    let mut all = BTreeSet::from([back_of(client_domain(0))]);
    if happenings.contains(&Some(LifeEvent::Pause)) {
        all.insert(back_of(client_domain(1)));
    }
    if happenings.contains(&Some(LifeEvent::Pause)) || happenings.contains(&Some(LifeEvent::UplinkRestart)) {
        all.insert(uplink_back());
    }
    all
}

/// Two calm clients with little traffic.
fn scenario(seed: u64, prng: &mut Prng) -> Scenario {
    let config = FrontendConfig {
        blank_per_mille: 500,
        most_slots: 2,
        buffers: 64,
        start: u32::MAX - 30,
        ..FrontendConfig::PLAIN
    };
    let client = |starts_after| ClientShape {
        config,
        starts_after,
        reload_every: None,
        pace: Duration::from_secs(1),
        largest_transfer: 2000,
    };
    Scenario {
        backend: BackendConfig { blank_per_mille: 500, most_slots: 2, ..BackendConfig::CALM },
        // In this order: what is interrupted is the appearance of the first.
        clients: vec![client(APPEARS), client(Duration::from_millis(1500))],
        rules: SlowRules::random(prng, &[SERVER, GATEWAY]),
        store_noise: 20,
        store_latency: Duration::from_micros(500),
        ..Scenario::calm(seed)
    }
}
