//! A xenstored that now and then refuses what it is asked, for reasons that pass: everybody is served all the same.
//!
//! What it refuses at which step is tried in `kernel/control_tests.rs`. Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::sim::peer::nic::FrontendConfig;
use ravelin::sim::run::run;
use ravelin::sim::scenario::{ClientShape, Scenario};
use ravelin::sim::trace::Recording;
use std::time::Duration;

/// Two clients that come while the world is young, whose vifs are detached and whose uplink is restarted.
fn world(seed: u64) -> Scenario {
    let client = |starts_after| ClientShape {
        config: FrontendConfig::PLAIN,
        starts_after: Duration::from_millis(starts_after),
        reload_every: None,
        pace: Duration::from_millis(100),
        largest_transfer: 2000,
    };
    Scenario {
        traffic: Duration::from_secs(15),
        clients: vec![client(200), client(1500)],
        detaches: 4,
        uplink_restarts: 1,
        store_refusals: 200,
        store_latency: Duration::from_micros(500),
        ..Scenario::calm(seed)
    }
}

#[test]
fn clients_and_the_uplink_come_and_go_whatever_is_refused_for_a_while() {
    let mut refused = 0;
    for seed in 0..8 {
        let report = run(&world(seed), Recording::Off);
        assert!(report.violations.is_empty(), "seed {seed}: {:#?}", report.violations);
        refused += report.store_refusals;
    }
    assert!(refused > 50, "{refused} requests were refused");
}
