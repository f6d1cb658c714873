//! The kernel's loop in the simulated Xen: the same seeds every time, each a different world.
//!
//! Needs `--features sim`. A bug that it finds gets its test where the bug was; seeds change their meaning with the scenarios.
#![cfg(feature = "sim")]

use ravelin::sim::oracle::excuse::{Excuse, Judgements};
use ravelin::sim::peer::console::ConsoleReader;
use ravelin::sim::run::run;
use ravelin::sim::scenario::{Attacker, Scenario};
use ravelin::sim::trace::Recording;
use ravelin::xen::meter::Meter;
use std::time::Duration;

/// Counts what the kernel allocates, for the oracle of its memory.
#[global_allocator]
static METER: Meter = Meter;

/// Runs a seed with at most two seconds of traffic; no oracle may speak.
fn check(seed: u64) -> Judgements {
    let mut scenario = Scenario::of_seed(seed);
    scenario.traffic = scenario.traffic.min(Duration::from_secs(2));
    let report = run(&scenario, Recording::Off);
    assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    assert!(report.packets > 0, "seed {seed}: nothing happened");
    report.judgements
}

/// Between them they hold everything that is simulated; see `the_fixed_seeds_hold_everything`.
const SEEDS: [u64; 18] = [1, 3, 5, 8, 11, 13, 14, 20, 22, 30, 36, 44, 48, 53, 55, 60, 61, 75];

#[test]
fn the_fixed_seeds_violate_nothing() {
    // Two at a time: each thread has its own count of what its kernel allocates.
    let (first, second) = SEEDS.split_at(SEEDS.len() / 2);
    let check_all = |seeds: &[u64]| {
        let mut sum = Judgements::default();
        seeds.iter().for_each(|seed| sum += check(*seed));
        sum
    };
    let sum = std::thread::scope(|scope| {
        let others = scope.spawn(|| check_all(second));
        let mut sum = check_all(first);
        sum += others.join().expect("its message says which seed");
        sum
    });
    // An oracle that excuses more and more says less and less: nine of ten packets are judged, but for the nonsense.
    println!("the model {sum}");
    let sensible = sum.packets() - sum.excused(Excuse::Nonsense);
    assert!(sum.judged() * 10 >= sensible * 9, "{sum}");
    assert!(sum.judged() > 10_000, "{sum}");
    assert_eq!(sum.excused(Excuse::NoRules), 0, "{sum}");
}

#[test]
fn the_fixed_seeds_hold_everything() {
    let worlds = SEEDS.map(Scenario::of_seed);
    let some = |what: &dyn Fn(&Scenario) -> bool| worlds.iter().any(what);
    let attacked = |what: &dyn Fn(&Attacker) -> bool| worlds.iter().flat_map(|w| &w.attackers).any(what);
    assert!(attacked(&|attacker| matches!(attacker, Attacker::Rings(_))));
    assert!(attacked(&|attacker| matches!(attacker, Attacker::Packets(..))));
    assert!(attacked(&|attacker| matches!(attacker, Attacker::Flood(..))));
    assert!(attacked(&|attacker| matches!(attacker, Attacker::Hoarder(_))));
    assert!(attacked(&|attacker| matches!(attacker, Attacker::Greedy(..))));
    assert!(some(&|world| world.backend.attacks_per_mille > 0));
    assert!(some(&|world| world.is_lossless()));
    assert!(some(&|world| world.is_steady() && !world.attackers.is_empty()));
    assert!(some(&|world| world.flaky_every.is_some()));
    assert!(some(&|world| world.outside_every.is_some()));
    assert!(some(&|world| world.clock_faults_every.is_some()));
    assert!(some(&|world| world.store_refusals > 0));
    assert!(some(&|world| world.destroyed > 0));
    assert!(some(&|world| world.detaches > 0));
    assert!(some(&|world| world.uplink_restarts > 0));
    assert!(some(&|world| world.reader == ConsoleReader::Nobody));
}

#[test]
fn replaying_a_seed_gives_the_identical_trace() {
    for seed in [3, 16] {
        let mut scenario = Scenario::of_seed(seed);
        scenario.traffic = Duration::from_secs(1);
        let hashes = [(); 2].map(|()| {
            let report = run(&scenario, Recording::Off);
            (report.hash, report.events, report.packets)
        });
        assert_eq!(hashes[0], hashes[1]);
    }
}

#[test]
fn a_turn_after_a_sleep_does_not_ask_for_the_time() {
    // Asking is a trap where Xen emulates the time-stamp counter. Turns that did not follow a sleep ask, and lives of
    // devices; if every turn did, there would be more readings than sleeps.
    let mut scenario = Scenario::of_seed(48);
    scenario.traffic = Duration::from_millis(300);
    let report = run(&scenario, Recording::Off);
    let (readings, sleeps) = (report.clock_readings, report.sleeps);
    assert!(readings < sleeps, "the kernel slept {sleeps} times and asked for the time {readings} times");
}

#[test]
fn a_small_world_works() {
    // Small enough for Miri, which looks at every access to the memory that kernel and peers share.
    let mut scenario = Scenario::of_seed(48);
    scenario.traffic = Duration::from_millis(20);
    let report = run(&scenario, Recording::Off);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}
