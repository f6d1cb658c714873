//! What a seed stands for: who is there, how they behave, and what happens when.

use super::console::Reader;
use super::dice::Dice;
use super::net::flood::{Burst, Kind};
use super::peer::conduct::{Conduct, Line};
use super::peer::hostile::Malice;
use super::peer::nic::Style;
use super::peer::storm::{Storm, Words};
use super::rules::SlowRules;
use super::run::{GATEWAY, SERVER};
use super::world::Tempo;
use crate::base::time::Moment;
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
    /// Sends far too much of one thing.
    Flood(Style, Kind, Burst),
    /// Always has a datagram of so many bytes for the uplink.
    Greedy(Style, usize),
    /// Behaves like an honest client, and never takes what it receives out of its ring.
    Hoarder(ClientShape),
    /// Behaves like an honest client, and writes its nodes in XenStore far too often.
    Storm(ClientShape, Storm),
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
    /// Clients that are destroyed in the midst of their traffic, for good.
    pub destroyed: u64,
    /// Hosts and the network beyond the uplink become slow, lossy or silent about so often, and well again.
    pub moods_every: Option<Duration>,
    /// Hostile hosts beyond the uplink send something to the firewall about so often.
    pub outside_every: Option<Duration>,
    /// The uplink goes and comes back so often.
    pub uplink_restarts: u64,
    /// Something happens to time about so often.
    pub upset_every: Option<Duration>,
    /// Who reads the console.
    pub reader: Reader,
    /// The rules.
    pub rules: SlowRules,
    /// Of thousand steps of xenstored so many fire a watch or fail a commit for nothing.
    pub store_noise: u64,
    /// How long xenstored takes to answer.
    pub store_latency: Duration,
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
            line: None,
            lazy_per_mille: if calm { 0 } else { *dice.pick(&[0, 0, 300]) },
            mischief_per_mille: if dice.chance(120) { *dice.pick(&[1, 10, 100]) } else { 0 },
            mischief_until: Moment::default(),
        };
        let attackers = if calm { dice.below(4) / 3 } else { dice.below(3) };
        let attackers: Vec<Attacker> = (0..attackers).map(|_| attacker(&mut dice)).collect();
        // Whoever strikes between two reads of one slot must get to run there.
        let swaps = |attacker: &Attacker| matches!(attacker, Attacker::Rings(malice) if malice.swaps > 900);
        let most_accesses = if attackers.iter().any(swaps) { 5 } else { u64::MAX };
        let mut scenario = Self {
            seed,
            traffic: Duration::from_secs(*dice.pick(&[1, 2, 5])),
            tempo: Tempo {
                accesses: most_accesses.min(*dice.pick(&[5, 20, 200, 2000])),
                steps: *dice.pick(&[0, 1, 1, 3]),
                call_nanoseconds: *dice.pick(&[100, 1000, 5000]),
            },
            conduct,
            clients,
            attackers,
            detaches: if calm { 0 } else { dice.below(4) },
            destroyed: if calm { 0 } else { dice.below(2) },
            moods_every: (!calm && dice.chance(300)).then(|| Duration::from_millis(dice.between(100, 2000))),
            outside_every: dice.chance(300).then(|| Duration::from_micros(*dice.pick(&[200, 2_000, 20_000]))),
            uplink_restarts: if calm { 0 } else { dice.below(2) },
            upset_every: dice.chance(400).then(|| Duration::from_secs(dice.between(4, 15))),
            reader: *dice.pick(&[Reader::Prompt, Reader::Rare, Reader::Nobody, Reader::Scribbler]),
            rules: SlowRules::of_dice(&mut dice, &[SERVER, GATEWAY]),
            store_noise: *dice.pick(&[0, 20, 200]),
            store_latency: Duration::from_micros(*dice.pick(&[0, 0, 100, 1_000, 20_000])),
        };
        if dice.chance(150) {
            scenario.narrow(&mut dice);
        }
        scenario
    }

    /// A world in which nothing goes wrong and nobody is yet: the uplink, open rules, no traffic.
    pub fn calm(seed: u64) -> Self {
        Self {
            seed,
            traffic: Duration::ZERO,
            tempo: Tempo { accesses: 2000, steps: 1, call_nanoseconds: 1000 },
            conduct: Conduct::CALM,
            clients: Vec::new(),
            attackers: Vec::new(),
            detaches: 0,
            destroyed: 0,
            moods_every: None,
            outside_every: None,
            uplink_restarts: 0,
            upset_every: None,
            reader: Reader::Prompt,
            rules: SlowRules::open(),
            store_noise: 0,
            store_latency: Duration::ZERO,
        }
    }

    /// Makes the uplink slower than its clients, and adds some that compete for it.
    fn narrow(&mut self, dice: &mut Dice) {
        let (outward, inward) = (*dice.pick(&[4 << 10, 32 << 10]), 128 << 10);
        let bytes_per_second = *dice.pick(&[300_000, 1_000_000]);
        self.conduct.line = Some(Line { bytes_per_second, outward_bytes: outward, inward_bytes: inward });
        // Whoever always has something to send would else send without end what goes nowhere, which shows nothing.
        (self.conduct.lazy_per_mille, self.conduct.mischief_per_mille, self.uplink_restarts) = (0, 0, 0);
        self.rules = SlowRules::open();
        self.traffic = self.traffic.min(Duration::from_secs(2));
        for _ in 0..dice.between(2, 3) {
            let style = Style { lazy_per_mille: 0, ..client(dice, true).style };
            self.attackers.push(Attacker::Greedy(style, *dice.pick(&[60, 500, 1514])));
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
        if self.store_latency > Duration::ZERO {
            with(&mut |scenario| scenario.store_latency = Duration::ZERO);
        }
        if self.conduct.mischief_per_mille > 0 {
            with(&mut |scenario| scenario.conduct.mischief_per_mille = 0);
        }
        if self.conduct.line.is_some() {
            with(&mut |scenario| scenario.conduct.line = None);
        }
        if self.conduct.loss_per_mille > 0 {
            with(&mut |scenario| scenario.conduct.loss_per_mille = 0);
        }
        if self.traffic > Duration::from_secs(1) {
            with(&mut |scenario| scenario.traffic /= 2);
        }
        if self.moods_every.is_some() || self.outside_every.is_some() {
            with(&mut |scenario| (scenario.moods_every, scenario.outside_every) = (None, None));
        }
        if self.upset_every.is_some() || self.destroyed > 0 {
            with(&mut |scenario| (scenario.upset_every, scenario.destroyed) = (None, 0));
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
        self.conduct.mischief_per_mille == 0
            && self.conduct.line.is_none()
            && self.conduct.loss_per_mille == 0
            && self.clients.iter().all(|client| client.reload_every.is_none())
            && self.moods_every.is_none()
            && self.detaches + self.uplink_restarts + self.destroyed == 0
    }
}

fn attacker(dice: &mut Dice) -> Attacker {
    let every = Duration::from_micros(*dice.pick(&[100, 1_000, 20_000]));
    match dice.below(10) {
        0 | 1 => return Attacker::Packets(client(dice, true).style, every),
        2 | 3 => {
            let (frames, every) = *dice.pick(&[(32, 2), (32, 20), (500, 50), (2000, 200)]);
            let burst = Burst { frames, every: Duration::from_millis(every) };
            return Attacker::Flood(client(dice, true).style, *dice.pick(&Kind::ALL), burst);
        }
        4 => {
            let mut shape = client(dice, true);
            shape.style.lazy_per_mille = 1000;
            return Attacker::Hoarder(shape);
        }
        5 => {
            let words = *dice.pick(&[Words::Same, Words::Garbage, Words::Reload]);
            let every = Duration::from_micros(*dice.pick(&[100, 1_000, 10_000]));
            return Attacker::Storm(client(dice, true), Storm { words, every });
        }
        _ => {}
    }
    // Does nothing wrong but to change its mind while the kernel reads; so it lives long enough to be lucky.
    if dice.chance(300) {
        let every = Duration::from_micros(*dice.pick(&[20, 100]));
        return Attacker::Rings(Malice { swaps: 900, every, ..Malice::default() });
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
    let pace = *dice.pick(&[1, 5, 20, 100]);
    // Whoever asks often asks for little: a world of nothing but bulk is slow and shows nothing new.
    let largest: &[u64] = if pace < 20 { &[2_000, 20_000] } else { &[2_000, 100_000, 1_000_000] };
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
        pace: Duration::from_millis(pace),
        largest_transfer: *dice.pick(largest),
    }
}
