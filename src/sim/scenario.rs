//! What a seed stands for: who is there, how they behave, and what happens when.

use crate::base::time::Moment;
use crate::sim::cast::{GATEWAY, SERVER};
use crate::sim::host::flood::{Burst, FloodKind};
use crate::sim::machine::world::Interleaving;
use crate::sim::oracle::rules::SlowRules;
use crate::sim::peer::backend_config::{BackendConfig, LinkLimit};
use crate::sim::peer::console::ConsoleReader;
use crate::sim::peer::dom0::DaemonAttack;
use crate::sim::peer::hostile::AttackRates;
use crate::sim::peer::nic::FrontendConfig;
use crate::sim::peer::storm::{Storm, StormWrites};
use crate::sim::prng::Prng;
use alloc::vec::Vec;
use core::time::Duration;

/// An honest client.
#[derive(Clone, Copy, Debug)]
pub struct ClientShape {
    /// How it uses its rings.
    pub config: FrontendConfig,
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
    Rings(AttackRates),
    /// Keeps to those, and sends nonsense about so often.
    Packets(FrontendConfig, Duration),
    /// Sends far too much of one thing.
    Flood(FrontendConfig, FloodKind, Burst),
    /// Always has a datagram of so many bytes for the uplink.
    Greedy(FrontendConfig, usize),
    /// Behaves like an honest client, and never takes what it receives out of its ring.
    Hoarder(ClientShape),
    /// Behaves like an honest client, and writes its nodes in XenStore far too often.
    Storm(ClientShape, Storm),
}

/// What makes the firewall of a scenario a qube: dom0 says by QubesDB what is to be.
#[derive(Clone, Copy, Debug)]
pub struct QubeShape {
    /// Clients get their rules some time after their vifs, and others now and then.
    pub rules_change: bool,
    /// The same rules, and the same settings, are written again about so often.
    pub rewrites_every: Duration,
    /// The daemon ends so often, and another one begins.
    pub restarts: u64,
    /// What it does before it ends, if it is hostile.
    pub attack: Option<DaemonAttack>,
}

/// A whole run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What all chance comes from.
    pub seed: u64,
    /// How long there is traffic.
    pub traffic: Duration,
    /// The scheduler's pace.
    pub interleaving: Interleaving,
    /// The uplink.
    pub backend: BackendConfig,
    /// Honest clients.
    pub clients: Vec<ClientShape>,
    /// Hostile clients.
    pub attackers: Vec<Attacker>,
    /// Device removals by the toolstack.
    pub detaches: u64,
    /// Clients that are destroyed in the midst of their traffic, for good.
    pub destroyed: u64,
    /// Hosts and the network beyond the uplink become slow, lossy or silent about so often, and well again.
    pub flaky_every: Option<Duration>,
    /// Hostile hosts beyond the uplink send something to the firewall about so often.
    pub outside_every: Option<Duration>,
    /// The uplink goes and comes back so often.
    pub uplink_restarts: u64,
    /// Something happens to time about so often.
    pub clock_faults_every: Option<Duration>,
    /// Who reads the console.
    pub reader: ConsoleReader,
    /// The rules.
    pub rules: SlowRules,
    /// Of thousand steps of xenstored so many fire a watch or fail a commit for nothing.
    pub store_noise: u64,
    /// Of thousand requests to xenstored so many begin a row that is refused for a reason that passes.
    pub store_refusals: u64,
    /// How long xenstored takes to answer.
    pub store_latency: Duration,
    /// The firewall is a qube.
    pub qube: Option<QubeShape>,
}

impl Scenario {
    /// The scenario of a seed.
    pub fn of_seed(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let calm = prng.chance(400);
        let count = prng.between(1, 4);
        let clients = (0..count).map(|_| client(&mut prng, calm)).collect();
        let backend = BackendConfig {
            loss_per_mille: if calm { 0 } else { *prng.pick(&[0, 0, 5, 50]) },
            latency: Duration::from_micros(*prng.pick(&[50, 500, 5_000, 40_000])),
            blank_per_mille: *prng.pick(&[0, 500, 1000]),
            most_slots: *prng.pick(&[1, 1, 4, 18]),
            refuses_blank: prng.chance(200),
            gso_bytes: *prng.pick(&[0, 9_000, 65_535]),
            takes_gso: prng.chance(700),
            split_channels: prng.chance(500),
            link: None,
            lazy_per_mille: if calm { 0 } else { *prng.pick(&[0, 0, 300]) },
            attacks_per_mille: if prng.chance(120) { *prng.pick(&[1, 10, 100]) } else { 0 },
            attacks_until: Moment::default(),
        };
        let attackers = if calm { prng.below(4) / 3 } else { prng.below(3) };
        let attackers: Vec<Attacker> = (0..attackers).map(|_| attacker(&mut prng)).collect();
        // Whoever changes a slot between two reads of one slot must get to run there.
        let swaps = |attacker: &Attacker| matches!(attacker, Attacker::Rings(rates) if rates.swaps > 900);
        let most_accesses = if attackers.iter().any(swaps) { 5 } else { u64::MAX };
        let mut scenario = Self {
            seed,
            traffic: Duration::from_secs(*prng.pick(&[1, 2, 5])),
            interleaving: Interleaving {
                accesses: most_accesses.min(*prng.pick(&[5, 20, 200, 2000])),
                steps: *prng.pick(&[0, 1, 1, 3]),
                call_nanoseconds: *prng.pick(&[100, 1000, 5000]),
            },
            backend,
            clients,
            attackers,
            detaches: if calm { 0 } else { prng.below(4) },
            destroyed: if calm { 0 } else { prng.below(2) },
            flaky_every: (!calm && prng.chance(300)).then(|| Duration::from_millis(prng.between(100, 2000))),
            outside_every: prng.chance(300).then(|| Duration::from_micros(*prng.pick(&[200, 2_000, 20_000]))),
            uplink_restarts: if calm { 0 } else { prng.below(2) },
            clock_faults_every: prng.chance(400).then(|| Duration::from_secs(prng.between(4, 15))),
            reader: *prng.pick(&[
                ConsoleReader::Prompt,
                ConsoleReader::Rare,
                ConsoleReader::Nobody,
                ConsoleReader::Scribbler,
            ]),
            rules: SlowRules::random(&mut prng, &[SERVER, GATEWAY]),
            store_noise: *prng.pick(&[0, 20, 200]),
            store_refusals: 0,
            store_latency: Duration::from_micros(*prng.pick(&[0, 0, 100, 1_000, 20_000])),
            qube: None,
        };
        if prng.chance(150) {
            scenario.narrow(&mut prng);
        }
        scenario.store_refusals = *prng.pick(&[0, 0, 20]);
        if scenario.backend.link.is_none() && prng.chance(350) {
            scenario.qube = Some(QubeShape {
                rules_change: !calm && prng.chance(600),
                rewrites_every: Duration::from_millis(*prng.pick(&[100, 1_000, 10_000])),
                restarts: prng.below(4),
                attack: prng.chance(300).then(|| *prng.pick(&DaemonAttack::ALL)),
            });
        }
        scenario
    }

    /// A world in which nothing goes wrong and nobody is yet: the uplink, open rules, no traffic.
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            traffic: Duration::ZERO,
            interleaving: Interleaving { accesses: 2000, steps: 1, call_nanoseconds: 1000 },
            backend: BackendConfig::CALM,
            clients: Vec::new(),
            attackers: Vec::new(),
            detaches: 0,
            destroyed: 0,
            flaky_every: None,
            outside_every: None,
            uplink_restarts: 0,
            clock_faults_every: None,
            reader: ConsoleReader::Prompt,
            rules: SlowRules::open(),
            store_noise: 0,
            store_refusals: 0,
            store_latency: Duration::ZERO,
            qube: None,
        }
    }

    /// Makes the uplink slower than its clients, and adds some that compete for it.
    fn narrow(&mut self, prng: &mut Prng) {
        let (outward, inward) = (*prng.pick(&[4 << 10, 32 << 10]), 128 << 10);
        let bytes_per_second = *prng.pick(&[300_000, 1_000_000]);
        self.backend.link =
            Some(LinkLimit { bytes_per_second, outward_bytes: outward, inward_bytes: inward });
        // Whoever always has something to send would else send without end what goes nowhere, which shows nothing.
        (self.backend.lazy_per_mille, self.backend.attacks_per_mille, self.uplink_restarts) = (0, 0, 0);
        self.rules = SlowRules::open();
        self.traffic = self.traffic.min(Duration::from_secs(2));
        for _ in 0..prng.between(2, 3) {
            let config = FrontendConfig { lazy_per_mille: 0, ..client(prng, true).config };
            self.attackers.push(Attacker::Greedy(config, *prng.pick(&[60, 500, 1514])));
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
        if self.store_refusals > 0 {
            with(&mut |scenario| scenario.store_refusals = 0);
        }
        if self.store_latency > Duration::ZERO {
            with(&mut |scenario| scenario.store_latency = Duration::ZERO);
        }
        if self.backend.attacks_per_mille > 0 {
            with(&mut |scenario| scenario.backend.attacks_per_mille = 0);
        }
        if self.backend.link.is_some() {
            with(&mut |scenario| scenario.backend.link = None);
        }
        if self.backend.loss_per_mille > 0 {
            with(&mut |scenario| scenario.backend.loss_per_mille = 0);
        }
        if self.traffic > Duration::from_secs(1) {
            with(&mut |scenario| scenario.traffic /= 2);
        }
        if self.flaky_every.is_some() || self.outside_every.is_some() {
            with(&mut |scenario| (scenario.flaky_every, scenario.outside_every) = (None, None));
        }
        if let Some(qube) = self.qube {
            with(&mut |scenario| scenario.qube = None);
            if qube.rules_change {
                with(&mut |scenario| scenario.qube = Some(QubeShape { rules_change: false, ..qube }));
            }
            if qube.restarts > 0 {
                with(&mut |scenario| scenario.qube = Some(QubeShape { restarts: 0, ..qube }));
            }
            if qube.attack.is_some() {
                with(&mut |scenario| scenario.qube = Some(QubeShape { attack: None, ..qube }));
            }
        }
        if self.clock_faults_every.is_some() || self.destroyed > 0 {
            with(&mut |scenario| (scenario.clock_faults_every, scenario.destroyed) = (None, 0));
        }
        all.retain(|scenario| !scenario.clients.is_empty() || scenario.detaches == 0);
        all
    }

    /// Whether every request must be answered: nothing is lost and nobody goes away.
    pub fn is_lossless(&self) -> bool {
        self.attackers.is_empty() && self.is_steady()
    }

    /// Whether nothing but attackers keeps clients from what they ask for: nothing is lost on purpose, the uplink is
    /// as fast as they are, and nobody goes away.
    pub fn is_steady(&self) -> bool {
        self.backend.attacks_per_mille == 0
            && self.backend.link.is_none()
            && self.qube.is_none_or(|qube| !qube.rules_change)
            && self.backend.loss_per_mille == 0
            && self.clients.iter().all(|client| client.reload_every.is_none())
            && self.flaky_every.is_none()
            && self.detaches + self.uplink_restarts + self.destroyed == 0
    }
}

fn attacker(prng: &mut Prng) -> Attacker {
    let every = Duration::from_micros(*prng.pick(&[100, 1_000, 20_000]));
    match prng.below(10) {
        0 | 1 => return Attacker::Packets(client(prng, true).config, every),
        2 | 3 => {
            let (frames, every) = *prng.pick(&[(32, 2), (32, 20), (500, 50), (2000, 200)]);
            let burst = Burst { frames, every: Duration::from_millis(every) };
            return Attacker::Flood(client(prng, true).config, *prng.pick(&FloodKind::ALL), burst);
        }
        4 => {
            let mut shape = client(prng, true);
            shape.config.lazy_per_mille = 1000;
            return Attacker::Hoarder(shape);
        }
        5 => {
            let writes = *prng.pick(&[StormWrites::Same, StormWrites::Garbage, StormWrites::Reload]);
            let every = Duration::from_micros(*prng.pick(&[100, 1_000, 10_000]));
            return Attacker::Storm(client(prng, true), Storm { writes, every });
        }
        _ => {}
    }
    // Does nothing wrong but to change its mind while the kernel reads; so it lives long enough to be lucky.
    if prng.chance(300) {
        let every = Duration::from_micros(*prng.pick(&[20, 100]));
        return Attacker::Rings(AttackRates { swaps: 900, every, ..AttackRates::default() });
    }
    let mut rate = |rates: &[u64]| *prng.pick(rates);
    Attacker::Rings(AttackRates {
        indices: rate(&[0, 1, 50]),
        swaps: rate(&[0, 500, 1000]),
        slots: rate(&[0, 20, 500]),
        grants: rate(&[0, 50, 500]),
        store: rate(&[0, 20, 200]),
        events: rate(&[0, 10, 300]),
        every,
    })
}

fn client(prng: &mut Prng, calm: bool) -> ClientShape {
    let scatter = *prng.pick(&[1, 2, 6, 18]);
    let pace = *prng.pick(&[1, 5, 20, 100]);
    // Whoever asks often asks for little: a world of nothing but bulk is slow and shows nothing new.
    let largest: &[u64] = if pace < 20 { &[2_000, 20_000] } else { &[2_000, 100_000, 1_000_000] };
    ClientShape {
        config: FrontendConfig {
            blank_per_mille: *prng.pick(&[0, 1000, 1000, 500]),
            takes_blank: prng.chance(800),
            gso_bytes: *prng.pick(&[0, 9_000, 65_535]),
            takes_gso: prng.chance(700),
            split_channels: prng.chance(700),
            most_slots: scatter,
            buffers: *prng.pick(&[256, 256, 64, 20]),
            start: *prng.pick(&[0, u32::MAX - 30, u32::MAX - 300, 1 << 31]),
            lazy_per_mille: if calm { 0 } else { *prng.pick(&[0, 0, 500]) },
        },
        starts_after: Duration::from_millis(prng.below(1500)),
        reload_every: (!calm && prng.chance(300)).then(|| Duration::from_millis(prng.between(500, 4000))),
        pace: Duration::from_millis(pace),
        largest_transfer: *prng.pick(largest),
    }
}
