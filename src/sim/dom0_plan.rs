//! What dom0 does when in a scenario whose firewall is a qube.

use crate::base::time::Moment;
use crate::sim::cast::{GATEWAY, SERVER, client_address};
use crate::sim::machine::world::{Peer, World};
use crate::sim::oracle::given_rules::GivenRules;
use crate::sim::oracle::rules::SlowRules;
use crate::sim::peer::dom0::{Dom0, Dom0Act};
use crate::sim::peer::qubesdb_daemon::{DaemonDesk, DaemonOrder, QubesDbDaemon, order_daemon};
use crate::sim::prng::Prng;
use crate::sim::scenario::{QubeShape, Scenario};
use alloc::boxed::Box;
use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;
use core::net::Ipv4Addr;
use core::time::Duration;

/// Adds dom0 and its daemon, which serves before the kernel runs.
pub(in crate::sim) fn add_dom0(
    world: &mut World,
    scenario: &Scenario,
    qube: QubeShape,
    prng: &mut Prng,
    traffic_ends: Moment,
) {
    let everybody = 0..scenario.clients.len() + scenario.attackers.len();
    let is_late = |prng: &mut Prng| qube.rules_change && prng.chance(700);
    let clients: Vec<(Ipv4Addr, Option<SlowRules>)> = everybody
        .map(|index| (client_address(index), (!is_late(prng)).then(|| scenario.rules.clone())))
        .collect();
    let machine = &mut world.machine;
    let mut given = GivenRules::default();
    for (address, rules) in &clients {
        if let Some(rules) = rules {
            given.give(*address, rules.clone());
        }
    }
    machine.model.given = Some(given);
    let span = traffic_ends.since(machine.now).as_millis() as u64;
    let acts = acts(scenario, qube, &clients, prng, (machine.now, span));
    let desk = Rc::new(RefCell::new(DaemonDesk::default()));
    let mut daemon = QubesDbDaemon::new(desk.clone());
    let dom0 = Dom0::new(desk.clone(), acts, clients);
    order_daemon(&desk, machine, DaemonOrder::Start(dom0.entries()));
    daemon.step(machine);
    world.add(Box::new(daemon));
    world.add(Box::new(dom0));
}

/// What happens within so many milliseconds from `start` on.
fn acts(
    scenario: &Scenario,
    qube: QubeShape,
    clients: &[(Ipv4Addr, Option<SlowRules>)],
    prng: &mut Prng,
    (start, span): (Moment, u64),
) -> Vec<(Moment, Dom0Act)> {
    let after = |milliseconds| start + Duration::from_millis(milliseconds);
    let mut acts = Vec::new();
    for (index, (address, rules)) in clients.iter().enumerate() {
        if rules.is_none() {
            let vif = scenario.clients.get(index).map_or(0, |client| client.starts_after.as_millis() as u64);
            acts.push((after(vif + prng.below(2000)), Dom0Act::Rules(*address, scenario.rules.clone())));
        }
        for _ in 0..if qube.rules_change { prng.below(4) } else { 0 } {
            let others = SlowRules::random(prng, &[SERVER, GATEWAY]);
            acts.push((after(prng.below(span)), Dom0Act::Rules(*address, others)));
        }
    }
    let mut at = prng.below(span);
    while at < span {
        let (address, _) = *prng.pick(clients);
        let again = if prng.chance(200) { Dom0Act::Everything } else { Dom0Act::Again(address) };
        acts.push((after(at), again));
        at += 1 + prng.below(2 * qube.rewrites_every.as_millis() as u64);
    }
    for _ in 0..qube.restarts {
        let at = prng.below(span);
        if prng.chance(700) {
            acts.push((after(at), Dom0Act::Die));
        }
        let (address, _) = *prng.pick(clients);
        let midway = (qube.rules_change && prng.chance(500)).then_some(address);
        acts.push((after(at + prng.below(3000)), Dom0Act::Start(midway)));
    }
    if let Some(attack) = qube.attack {
        for _ in 0..prng.between(1, 4) {
            let at = prng.below(span);
            acts.push((after(at), Dom0Act::Attack(attack)));
            acts.push((after(at + prng.between(10, 5000)), Dom0Act::Start(None)));
        }
    }
    // In the end there is one that serves.
    acts.push((after(span + 5000), Dom0Act::Start(None)));
    acts
}
