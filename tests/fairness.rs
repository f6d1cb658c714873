//! Clients that compete for an uplink slower than they are, in virtual time: the same figures on every machine.
//!
//! Needs `--features sim`.
#![cfg(feature = "sim")]

use ravelin::sim::fairness::{UPLINK_RATE, Work, compete};
use ravelin::sim::net::bulk::Way;
use ravelin::sim::net::flood::{Burst, Kind};
use ravelin::sim::peer::conduct::{Conduct, Line};
use ravelin::sim::peer::nic::Style;
use ravelin::sim::rules::SlowRules;
use ravelin::sim::run::run;
use ravelin::sim::scenario::{Attacker, Scenario};
use ravelin::sim::trace::Recording;
use std::time::Duration;

/// Bytes per second of each; no oracle may speak.
fn rates(works: &[Work]) -> Vec<u64> {
    let outcome = compete(works, 7);
    assert!(outcome.violations.is_empty(), "{:#?}", outcome.violations);
    println!("{works:?}: {:?}", outcome.rates);
    outcome.rates
}

/// Beside a greedy client an honest one must have four fifths of its half, in either order of attaching.
fn check_half(honest: Work, greedy: Work) {
    let floor = UPLINK_RATE / 2 * 8 / 10;
    let first = rates(&[honest, greedy]);
    assert!(first[0] >= floor, "{honest:?} first, {greedy:?} second: {first:?}");
    let second = rates(&[greedy, honest]);
    assert!(second[1] >= floor, "{greedy:?} first, {honest:?} second: {second:?}");
}

#[test]
fn s_5_an_upload_has_its_half_beside_a_flood_of_datagrams() {
    check_half(Work::Bulk(Way::Up), Work::Datagrams(1400));
}

#[test]
fn s_5_a_download_has_its_half_beside_a_flood_of_datagrams() {
    check_half(Work::Bulk(Way::Down), Work::Datagrams(1400));
}

#[test]
fn s_5_an_upload_has_its_half_beside_a_flood_of_tiny_packets() {
    check_half(Work::Bulk(Way::Up), Work::Datagrams(60));
}

#[test]
fn s_5_three_kinds_of_packets_have_a_third_each() {
    let works = [Work::Bulk(Way::Up), Work::Datagrams(60), Work::Large(Way::Up)];
    let rates = rates(&works);
    for rate in &rates {
        assert!(*rate >= UPLINK_RATE / 3 * 8 / 10, "{rates:?}");
    }
}

#[test]
fn one_client_alone_fills_the_uplink() {
    for work in [Work::Bulk(Way::Up), Work::Bulk(Way::Down), Work::Large(Way::Up), Work::Datagrams(1400)] {
        let rates = rates(&[work]);
        assert!(rates[0] >= UPLINK_RATE * 8 / 10, "{work:?}: {rates:?}");
    }
}

/// A world in which such clients come and go on an uplink slower than they are; no oracle may speak.
fn crowd(attackers: usize, kind: Kind, frames: usize) {
    let burst = Burst { frames, every: Duration::from_millis(100) };
    let base = Scenario::of_seed(1);
    let style = Style { lazy_per_mille: 0, ..base.clients[0].style };
    let line = Line { bytes_per_second: UPLINK_RATE, outward_bytes: 8 << 10, inward_bytes: 128 << 10 };
    let scenario = Scenario {
        traffic: Duration::from_secs(2),
        conduct: Conduct { line: Some(line), lazy_per_mille: 0, mischief_per_mille: 0, ..base.conduct },
        attackers: vec![Attacker::Flood(style, kind, burst); attackers],
        outside_every: None,
        upset_every: None,
        uplink_restarts: 0,
        rules: SlowRules::open(),
        ..base
    };
    let report = run(&scenario, Recording::Off);
    assert!(report.violations.is_empty(), "{:#?}", report.violations);
}

#[test]
fn s_5_an_account_is_its_address_s_whatever_slot_that_comes_back_on() {
    crowd(8, Kind::Pings, 1);
}
