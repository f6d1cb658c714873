//! Clients that compete for an uplink slower than they are, in virtual time: the same figures on every machine.
//!
//! Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::sim::competition::{UPLINK_RATE, Workload, compete};
use ravelin::sim::host::bulk::Way;
use ravelin::sim::host::flood::{Burst, FloodKind};
use ravelin::sim::oracle::rules::SlowRules;
use ravelin::sim::peer::backend_config::{BackendConfig, LinkLimit};
use ravelin::sim::peer::nic::FrontendConfig;
use ravelin::sim::run::run;
use ravelin::sim::scenario::{Attacker, Scenario};
use ravelin::sim::trace::Recording;
use std::time::Duration;

/// Bytes per second of each; no oracle may speak.
fn rates(works: &[Workload]) -> Vec<u64> {
    let outcome = compete(works, 7);
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
    println!("{works:?}: {:?}", outcome.rates);
    outcome.rates
}

/// Beside a greedy client an honest one must have four fifths of its half, in either order of attaching.
fn check_half(honest: Workload, greedy: Workload) {
    let floor = UPLINK_RATE / 2 * 8 / 10;
    let first = rates(&[honest, greedy]);
    assert!(first[0] >= floor, "{honest:?} first, {greedy:?} second: {first:?}");
    let second = rates(&[greedy, honest]);
    assert!(second[1] >= floor, "{greedy:?} first, {honest:?} second: {second:?}");
}

#[test]
fn s_5_an_upload_has_its_half_beside_a_flood_of_datagrams() {
    check_half(Workload::Bulk(Way::Up), Workload::Datagrams(1400));
}

#[test]
fn s_5_a_download_has_its_half_beside_a_flood_of_datagrams() {
    check_half(Workload::Bulk(Way::Down), Workload::Datagrams(1400));
}

#[test]
fn s_5_an_upload_has_its_half_beside_a_flood_of_tiny_packets() {
    check_half(Workload::Bulk(Way::Up), Workload::Datagrams(60));
}

#[test]
fn s_5_three_kinds_of_packets_have_a_third_each() {
    let works = [Workload::Bulk(Way::Up), Workload::Datagrams(60), Workload::Large(Way::Up)];
    let rates = rates(&works);
    for rate in &rates {
        assert!(*rate >= UPLINK_RATE / 3 * 8 / 10, "{rates:?}");
    }
}

#[test]
fn one_client_alone_fills_the_uplink() {
    for work in [
        Workload::Bulk(Way::Up),
        Workload::Bulk(Way::Down),
        Workload::Large(Way::Up),
        Workload::Datagrams(1400),
    ] {
        let rates = rates(&[work]);
        assert!(rates[0] >= UPLINK_RATE * 8 / 10, "{work:?}: {rates:?}");
    }
}

/// A world in which such clients come and go on an uplink slower than they are; no oracle may speak.
fn crowd(attackers: usize, kind: FloodKind, frames: usize) {
    let burst = Burst { frames, every: Duration::from_millis(100) };
    let base = Scenario::of_seed(1);
    let config = FrontendConfig { lazy_per_mille: 0, ..base.clients[0].config };
    let link = LinkLimit { bytes_per_second: UPLINK_RATE, outward_bytes: 8 << 10, inward_bytes: 128 << 10 };
    let scenario = Scenario {
        traffic: Duration::from_secs(2),
        backend: BackendConfig { link: Some(link), lazy_per_mille: 0, attacks_per_mille: 0, ..base.backend },
        attackers: vec![Attacker::Flood(config, kind, burst); attackers],
        outside_every: None,
        clock_faults_every: None,
        uplink_restarts: 0,
        rules: SlowRules::open(),
        ..base
    };
    let report = run(&scenario, Recording::Off);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

#[test]
fn s_5_an_account_is_its_address_s_whatever_slot_that_comes_back_on() {
    crowd(8, FloodKind::Pings, 1);
}
