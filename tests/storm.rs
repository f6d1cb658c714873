//! Clients that write their nodes in XenStore far too often, and a xenstored that is slow or silent: packets go on.
//!
//! In virtual time, where a kernel that waits for xenstored loses what it waits. Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::sim::peer::backend_config::BackendConfig;
use ravelin::sim::peer::nic::FrontendConfig;
use ravelin::sim::peer::storm::{Storm, StormWrites};
use ravelin::sim::run::{RunReport, run};
use ravelin::sim::scenario::{Attacker, ClientShape, Scenario};
use ravelin::sim::trace::Recording;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A world with one client that loads as much as it can, behind a xenstored that takes `latency` to answer.
fn busy_world(latency: Duration) -> Scenario {
    let client = ClientShape {
        config: FrontendConfig { takes_gso: false, ..FrontendConfig::PLAIN },
        starts_after: Duration::ZERO,
        reload_every: None,
        pace: MILLISECOND,
        largest_transfer: 100_000,
    };
    Scenario {
        traffic: Duration::from_secs(2),
        backend: BackendConfig {
            latency: 5 * MILLISECOND,
            blank_per_mille: 1000,
            takes_gso: false,
            ..BackendConfig::CALM
        },
        clients: vec![client],
        store_latency: latency,
        ..Scenario::calm(1)
    }
}

/// Adds a client that does nothing but write.
fn with_storm(mut scenario: Scenario, writes: StormWrites, every: Duration) -> Scenario {
    let quiet = ClientShape { pace: Duration::from_secs(3600), ..scenario.clients[0] };
    scenario.attackers = vec![Attacker::Storm(quiet, Storm { writes, every })];
    scenario
}

fn go(scenario: &Scenario) -> RunReport {
    let report = run(scenario, Recording::Off);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
    report
}

/// Whether the busy client keeps nine tenths of what it carries alone.
fn costs_less_than_a_tenth(latency: Duration, writes: StormWrites, every: Duration) {
    let alone = go(&busy_world(latency)).content_bytes;
    let beside = go(&with_storm(busy_world(latency), writes, every)).content_bytes;
    assert!(alone > 500_000, "{alone} bytes alone are no load");
    assert!(beside * 10 >= alone * 9, "{writes:?}: {beside} bytes beside the storm, {alone} alone");
}

#[test]
fn s_6_a_storm_of_states_costs_an_honest_client_less_than_a_tenth() {
    costs_less_than_a_tenth(MILLISECOND, StormWrites::Same, 10 * MILLISECOND);
}

#[test]
fn s_6_nor_does_one_of_garbage_ten_thousand_times_a_second() {
    costs_less_than_a_tenth(MILLISECOND, StormWrites::Garbage, MILLISECOND / 10);
}

#[test]
fn s_6_nor_does_a_driver_that_is_reloaded_without_end() {
    costs_less_than_a_tenth(MILLISECOND, StormWrites::Reload, MILLISECOND);
}

#[test]
fn s_6_a_xenstored_that_is_slow_holds_up_no_packets() {
    let mut scenario = busy_world(100 * MILLISECOND);
    // The uplink is connected before the client is.
    scenario.clients[0].starts_after = Duration::from_secs(3);
    scenario.traffic += Duration::from_secs(5);
    let carried = go(&with_storm(scenario, StormWrites::Same, 10 * MILLISECOND)).content_bytes;
    assert!(carried > 200_000, "{carried} bytes");
}

#[test]
fn s_6_a_storm_is_looked_at_ten_times_a_second() {
    let quiet = go(&busy_world(MILLISECOND)).store_requests;
    let storm = go(&with_storm(busy_world(MILLISECOND), StormWrites::Same, MILLISECOND / 10)).store_requests;
    // Another client's coming and going, and three nodes in each of 16 + 4 × 10 looks.
    assert!(storm < quiet + 150 + 3 * 60, "{storm} requests, {quiet} without");
}

#[test]
fn s_6_a_client_that_comes_and_goes_fills_no_console() {
    let quiet = go(&busy_world(Duration::ZERO)).console_lines;
    let storm = go(&with_storm(busy_world(Duration::ZERO), StormWrites::Reload, MILLISECOND)).console_lines;
    assert!(storm <= quiet + 12, "{storm} lines, {quiet} without the client");
}
