//! What a seed stands for: who is there, how they behave, and what happens when.

use super::dice::Dice;
use super::peer::backend::Conduct;
use super::peer::hostile::Malice;
use super::peer::nic::Style;
use super::rules::SlowRules;
use super::run::{GATEWAY, SERVER};
use super::world::Tempo;
use crate::time::Moment;
use alloc::vec::Vec;
use core::time::Duration;

/// An honest client.
#[derive(Clone, Copy, Debug)]
pub struct ClientShape {
    /// How it uses its rings.
    pub style: Style,
    /// It appears so long after the start.
    pub starts_after: Duration,
    /// It reloads its driver about so often.
    pub reload_every: Option<Duration>,
    /// Between two pings, datagrams and transfers.
    pub pace: Duration,
    /// Bytes of the largest transfer.
    pub largest_transfer: u64,
}

/// A hostile client.
#[derive(Clone, Copy, Debug)]
pub enum Attacker {
    /// Breaks the rules of rings, grants and XenStore.
    Rings(Malice),
    /// Keeps to those, and sends nonsense about so often.
    Packets(Style, Duration),
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What all chance comes from.
    pub seed: u64,
    /// How long there is traffic.
    pub traffic: Duration,
    /// The scheduler's pace.
    pub tempo: Tempo,
    /// The uplink.
    pub conduct: Conduct,
    /// Honest clients.
    pub clients: Vec<ClientShape>,
    /// Hostile clients.
    pub attackers: Vec<Attacker>,
    /// Device removals by the toolstack.
    pub detaches: u64,
    /// The uplink goes and comes back so often.
    pub uplink_restarts: u64,
    /// The rules.
    pub rules: SlowRules,
    /// Of thousand steps of xenstored so many fire a watch or fail a commit for nothing.
    pub store_noise: u64,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let calm = dice.chance(400);
        let count = dice.between(1, 4);
        let clients = (0..count).map(|_| client(&mut dice, calm)).collect();
        let conduct = Conduct {
            loss_per_mille: if calm { 0 } else { *dice.pick(&[0, 0, 5, 50]) },
            latency: Duration::from_micros(*dice.pick(&[50, 500, 5_000, 40_000])),
            blank_per_mille: *dice.pick(&[0, 500, 1000]),
            most_slots: *dice.pick(&[1, 1, 4, 18]),
            refuses_blank: dice.chance(200),
            bundle_bytes: *dice.pick(&[0, 9_000, 65_535]),
            takes_bundles: dice.chance(700),
            split_channels: dice.chance(500),
            lazy_per_mille: if calm { 0 } else { *dice.pick(&[0, 0, 300]) },
            mischief_per_mille: if dice.chance(120) { *dice.pick(&[1, 10, 100]) } else { 0 },
            mischief_until: Moment::default(),
        };
        let attackers = if calm { 0 } else { dice.below(3) };
        let attackers = (0..attackers).map(|_| attacker(&mut dice)).collect();
        Self {
            seed,
            traffic: Duration::from_secs(*dice.pick(&[2, 5, 10])),
            tempo: Tempo {
                accesses: *dice.pick(&[20, 200, 2000]),
                steps: *dice.pick(&[0, 1, 1, 3]),
                call_nanoseconds: *dice.pick(&[100, 1000, 5000]),
            },
            conduct,
            clients,
            attackers,
            detaches: if calm { 0 } else { dice.below(4) },
            uplink_restarts: if calm { 0 } else { dice.below(2) },
            rules: SlowRules::of_dice(&mut dice, &[SERVER, GATEWAY]),
            store_noise: *dice.pick(&[0, 20, 200]),
        }
    }

    /// The scenarios that are this one with something left out: for finding what a violation takes.
    pub fn simpler(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut with = |change: &mut dyn FnMut(&mut Self)| {
            let mut simpler = self.clone();
            change(&mut simpler);
            all.push(simpler);
        };
        for index in 0..self.attackers.len() {
            with(&mut |scenario| {
                scenario.attackers.remove(index);
            });
        }
        for index in 0..self.clients.len() {
            with(&mut |scenario| {
                scenario.clients.remove(index);
            });
            if self.clients.get(index).is_some_and(|client| client.reload_every.is_some()) {
                with(&mut |scenario| scenario.clients[index].reload_every = None);
            }
        }
        if self.detaches > 0 && !self.clients.is_empty() {
            with(&mut |scenario| scenario.detaches = 0);
        }
        if self.uplink_restarts > 0 {
            with(&mut |scenario| scenario.uplink_restarts = 0);
        }
        if self.store_noise > 0 {
            with(&mut |scenario| scenario.store_noise = 0);
        }
        if self.conduct.mischief_per_mille > 0 {
            with(&mut |scenario| scenario.conduct.mischief_per_mille = 0);
        }
        if self.conduct.loss_per_mille > 0 {
            with(&mut |scenario| scenario.conduct.loss_per_mille = 0);
        }
        if self.traffic > Duration::from_secs(1) {
            with(&mut |scenario| scenario.traffic /= 2);
        }
        all.retain(|scenario| !scenario.clients.is_empty() || scenario.detaches == 0);
        all
    }

    /// Whether every request must be answered: nothing is lost and nobody goes away.
    pub fn is_lossless(&self) -> bool {
        let steady = self.attackers.is_empty()
            && self.conduct.mischief_per_mille == 0
            && self.clients.iter().all(|client| client.reload_every.is_none());
        steady && self.conduct.loss_per_mille == 0 && self.detaches == 0 && self.uplink_restarts == 0
    }
}

fn attacker(dice: &mut Dice) -> Attacker {
    let every = Duration::from_micros(*dice.pick(&[100, 1_000, 20_000]));
    if dice.chance(300) {
        return Attacker::Packets(client(dice, true).style, every);
    }
    let mut rate = |rates: &[u64]| *dice.pick(rates);
    Attacker::Rings(Malice {
        indices: rate(&[0, 1, 50]),
        swaps: rate(&[0, 500, 1000]),
        slots: rate(&[0, 20, 500]),
        grants: rate(&[0, 50, 500]),
        store: rate(&[0, 20, 200]),
        events: rate(&[0, 10, 300]),
        every,
    })
}

fn client(dice: &mut Dice, calm: bool) -> ClientShape {
    let scatter = *dice.pick(&[1, 2, 6, 18]);
    ClientShape {
        style: Style {
            blank_per_mille: *dice.pick(&[0, 1000, 1000, 500]),
            takes_blank: dice.chance(800),
            bundle_bytes: *dice.pick(&[0, 9_000, 65_535]),
            takes_bundles: dice.chance(700),
            split_channels: dice.chance(700),
            most_slots: scatter,
            buffers: *dice.pick(&[256, 256, 64, 20]),
            start: *dice.pick(&[0, u32::MAX - 30, u32::MAX - 300, 1 << 31]),
            lazy_per_mille: if calm { 0 } else { *dice.pick(&[0, 0, 500]) },
        },
        starts_after: Duration::from_millis(dice.below(1500)),
        reload_every: (!calm && dice.chance(300)).then(|| Duration::from_millis(dice.between(500, 4000))),
        pace: Duration::from_millis(*dice.pick(&[1, 5, 20, 100])),
        largest_transfer: *dice.pick(&[2_000, 100_000, 1_000_000]),
    }
}
