//! The kernel's loop in the simulated Xen: the same seeds every time, each a different world.
//!
//! Needs `--features sim`. Seeds that once showed a bug are named after it.
#![cfg(feature = "sim")]

use ravelin::sim::run::run;
use ravelin::sim::scenario::Scenario;
use ravelin::sim::trace::Recording;
use ravelin::xen::meter::Meter;
use std::time::Duration;

/// Counts what the kernel allocates, for the oracle of its memory.
#[global_allocator]
static METER: Meter = Meter;

/// Runs a seed with at most two seconds of traffic; no oracle may speak.
fn check(seed: u64) {
    let mut scenario = Scenario::of_seed(seed);
    scenario.traffic = scenario.traffic.min(Duration::from_secs(2));
    let report = run(&scenario, Recording::Off);
    assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
    assert!(report.packets > 0, "seed {seed}: nothing happened");
}

#[test]
fn the_fixed_seeds_violate_nothing() {
    for seed in [1, 2, 5, 6, 12, 13, 15, 17, 22, 26, 34, 35, 38, 47] {
        check(seed);
    }
}

#[test]
fn device_that_is_made_anew_while_nobody_looks_is_served() {
    check(40);
}

#[test]
fn device_that_closed_before_its_detach_stays_for_libxl_to_read() {
    check(70);
    check(77);
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
fn a_small_world_works() {
    // Small enough for Miri, which looks at every access to the memory that kernel and peers share.
    let mut scenario = Scenario::of_seed(48);
    scenario.traffic = Duration::from_millis(20);
    let report = run(&scenario, Recording::Off);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}
