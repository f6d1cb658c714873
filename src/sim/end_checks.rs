//! Checks at the end of a run: what the kernel counted, what it still holds, what clients got.

use crate::base::drop_reason::{DropCounts, DropReason};
use crate::kernel::Firewall;
use crate::sim::cast::{KERNEL, client_domain};
use crate::sim::machine::Machine;
use crate::sim::machine::kernel_domain::{SimRing, SimXen};
use crate::sim::machine::world::SharedWorld;
use crate::sim::oracle::ledger::{ClientService, ServiceOutcome};
use crate::sim::oracle::memory::MemoryOracle;
use crate::sim::scenario::Scenario;
use crate::xen::Xen;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What the kernel counted.
#[derive(Debug, Default)]
pub struct KernelSummary {
    /// As text, without what is zero.
    pub text: String,
    /// Packets that it refused because a table was full, or because their client had used up its share of it.
    pub refused: u64,
    /// Packets that it may drop without being at fault: those, what came before its next hop was known, and what waited
    /// for an uplink that came late.
    pub excused: u64,
    /// See [`MemoryOracle::peak_bytes`].
    pub peak_bytes: i64,
}

impl KernelSummary {
    /// `store_refusals` counts what XenStore refused for a reason that passes.
    pub(in crate::sim) fn of(
        firewall: &Firewall<SimXen, SimRing>,
        memory: &MemoryOracle,
        store_refusals: u64,
    ) -> Self {
        let counters = firewall.engine().counters();
        let frames = &firewall.egress().drops;
        let named = |drops: &DropCounts| {
            let drops: Vec<String> = drops.occurred().map(|(why, count)| format!("{why} {count}")).collect();
            drops.join(", ")
        };
        let text = format!(
            "{} outward, {} inward, {} between; packets dropped: {}; frames dropped: {}",
            counters.outward,
            counters.inward,
            counters.between,
            named(&counters.dropped),
            named(frames),
        );
        let full =
            [DropReason::FlowLimit, DropReason::FlowRate, DropReason::PortLimit, DropReason::PortsExhausted];
        let refused = full.iter().map(|&why| counters.dropped.of(why)).sum();
        let unresolved = [DropReason::NeighbourQueueFull, DropReason::NoUplink, DropReason::NoPage];
        let unresolved: u64 = unresolved.iter().map(|&why| frames.of(why)).sum();
        // An uplink whose requests were refused comes a second later. One that stays away shows in transfers: they send
        // again what was sent back.
        let late = if store_refusals > 0 { counters.dropped.of(DropReason::Unreachable) } else { 0 };
        let excused = refused + unresolved + late;
        Self { text, refused, excused, peak_bytes: memory.peak_bytes() }
    }
}

/// Every device is gone: the kernel holds nothing of anybody and has all its own.
pub(in crate::sim) fn check_balance(
    world: &SharedWorld,
    firewall: &mut Firewall<SimXen, SimRing>,
    scenario: &Scenario,
) {
    let bounces = firewall.holders().bounces;
    let pages = firewall.hypervisor().pages();
    let (free, total) = (pages.free(), pages.total());
    let mut world = world.borrow_mut();
    let ports = world.kernel_ports();
    let machine = &mut world.machine;
    // The connection to QubesDB, whatever became of it before.
    let vchans = usize::from(scenario.qube.is_some());
    let checks = [
        ("pages", total - free, bounces),
        ("mappings", machine.mappings_of(KERNEL), 3 * vchans),
        ("grants", machine.ledger.grants.len(), 0),
        ("ports", ports, 1 + vchans),
        ("watches", machine.store.watches_of(KERNEL), 4),
    ];
    for (what, held, expected) in checks {
        // What a hostile backend held on to comes back when the kernel next looks at its devices.
        let kept_by_backend = !machine.ledger.uplink_is_honest && matches!(what, "pages" | "grants");
        if held != expected && !kept_by_backend {
            machine.violate("balance", format!("{what}: {held} are held in the end, expected {expected}"));
        }
    }
}

/// What the rules allow was forwarded.
pub(in crate::sim) fn check_forwarding(machine: &mut Machine, scenario: &Scenario, kernel: &KernelSummary) {
    if !machine.violations.is_empty() || !scenario.is_lossless() || machine.ledger.rules_were_late {
        return;
    }
    let lost = machine.model.lost();
    // Queues are short, and TCP finds their ends.
    let overflowed = machine.ledger.packets / QUEUES_LOSE_ONE_IN;
    let KernelSummary { excused, text, .. } = kernel;
    // The kernel counts what it drops in packets as they came, the model in segments.
    let largest = scenario.clients.iter().map(|client| client.config.gso_bytes).max().unwrap_or(0) as u64;
    let excused = excused * (1 + largest / SEGMENT_BYTES);
    if lost > excused + overflowed {
        let what =
            format!("{lost} packets that should have been forwarded were not; {excused} are excused; {text}");
        machine.violate("refused", what);
    }
}

/// Bytes of a full TCP segment.
const SEGMENT_BYTES: u64 = 1460;

/// One packet in so many may find the queue full that it is to wait in.
const QUEUES_LOSE_ONE_IN: u64 = 10_000;

/// Packets of one client for one service that may be lost under attack while its next hop is not known.
const MOST_EXCUSED: u64 = 100;

/// Honest clients got what they asked for: everything that the tables had room for, or nine tenths when others attack.
pub(in crate::sim) fn check_service(machine: &mut Machine, scenario: &Scenario, kernel: &KernelSummary) {
    if !machine.violations.is_empty() || !scenario.is_steady() || machine.ledger.rules_were_late {
        return;
    }
    let attacked = !scenario.attackers.is_empty();
    let &KernelSummary { refused, excused, ref text, .. } = kernel;
    let outcomes: Vec<_> = machine.ledger.outcomes().collect();
    for (client, service, ServiceOutcome { asked, answered, failed }) in outcomes {
        // The others are attackers, and some of those take nothing.
        if usize::from(client.0 - client_domain(0).0) >= scenario.clients.len() {
            continue;
        }
        let complete = match service {
            _ if attacked => (answered + excused.min(MOST_EXCUSED)) * 10 >= asked * 9,
            // TCP sends again what is lost, and fails only if each of its attempts is refused.
            ClientService::Transfer | ClientService::Page => failed <= refused && answered + failed == asked,
            _ => answered + excused >= asked,
        };
        if !complete {
            let domain = client.0;
            let what = format!(
                "domain {domain}: of {asked} {service:?} {answered} answered, {failed} failed; {excused} are excused; {text}"
            );
            machine.violate("service", what);
        }
    }
}
