//! Live rules: what they do to flows, what they cost, and that they say what their text says in whatever order it came.
#![allow(missing_docs)]

#[cfg(feature = "sim")]
mod cost;
mod naive;
mod text;

#[path = "../support/mod.rs"]
mod support;

use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::Side;
use ravelin::config::command_line::CommandLine;
use ravelin::config::qube_rules::{ClientRules, FeatureLines, Scope};
use ravelin::config::rule_config::RuleConfig;
use ravelin::config::{Change, ChangeQueue, Live};
use ravelin::engine::seed::Seed;
use ravelin::guard::rule_id::{RuleId, RuleSource};
use ravelin::guard::ruling::RuledBy;
use std::net::Ipv4Addr;
use support::*;

const ALL: &[&str] = &["action=accept"];

/// A firewall qube: what it is told, and what it does.
struct Qube {
    live: Live,
    world: World,
}

impl Qube {
    /// With two clients that may begin anything.
    fn new() -> Self {
        let live = Live::boot_qube(&CommandLine::default(), RuleConfig::None, 32 << 20);
        let (table, _) = live.compile_rules();
        let mut qube = Self { live, world: World::with(settings(), table) };
        qube.rules(C1, ALL);
        qube.rules(C2, ALL);
        qube
    }

    fn told(&mut self, act: impl FnOnce(&mut Live, &mut ChangeQueue)) {
        let mut changes = ChangeQueue::default();
        act(&mut self.live, &mut changes);
        while let Some(change) = changes.pop() {
            match change {
                Change::LiveRules(update, _) => self.world.engine.update_rules(*update, self.world.now),
                Change::Rules(table, _) => self.world.engine.set_rules(*table, self.world.now),
                other => panic!("{other:?}"),
            }
        }
    }

    /// These rules of a client come, and no others are accepted.
    fn rules(&mut self, client: Ipv4Addr, rules: &[&str]) {
        let keys: Vec<String> = (0..rules.len()).map(|number| format!("{number:04}")).collect();
        let lines = keys.iter().map(String::as_str).zip(rules.iter().copied()).chain([("policy", "drop")]);
        self.told(|live, changes| {
            let said = [(client, ClientRules::Lines(lines))];
            live.set_client_rules(Scope::These, said.into_iter(), changes);
        });
    }

    fn lines(&mut self, kind: FeatureLines, line: &str) {
        self.told(|live, changes| live.set_lines(kind, [("a", Some(line))].into_iter(), changes));
    }

    /// When the flow from this port of a client was judged last, if it is there.
    fn judged(&self, near_port: u16) -> Option<impl Copy + PartialEq + std::fmt::Debug + use<>> {
        let table = self.world.engine.engine().flows();
        let mut flows = (0..table.extent()).filter_map(|position| table.get(table.id_at(position)?));
        flows.find(|flow| flow.near_port == near_port).map(|flow| flow.judged)
    }

    fn revoked(&self) -> u64 {
        self.world.engine.counters().revoked
    }
}

#[test]
fn a_client_without_rules_is_refused_silently_until_they_come() {
    let mut qube = Qube::new();
    qube.told(|live, changes| {
        live.set_client_rules::<std::iter::Empty<(&str, &str)>>(Scope::All, std::iter::empty(), changes);
    });
    qube.world.client_nothing(ONE, udp((C1, 5000), (R, 53)), DropReason::UnknownSource);
    qube.rules(C1, ALL);
    qube.world.out_u(ONE, udp((C1, 5000), (R, 53)));
    qube.world.client_nothing(TWO, udp((C2, 5000), (R, 53)), DropReason::UnknownSource);
}

#[test]
fn rules_of_one_client_end_the_flows_that_they_forbid_and_others_go_on_by_the_same_port() {
    let mut qube = Qube::new();
    let outer = [
        qube.world.out_u(ONE, udp((C1, 5000), (R, 53))).from(),
        qube.world.out_u(ONE, udp((C1, 5001), (S, 53))).from(),
        qube.world.out_u(TWO, udp((C2, 5002), (S, 53))).from(),
    ];
    let before = qube.judged(5002);
    qube.rules(C1, &["action=accept dst4=192.0.2.0/24"]);
    assert_eq!(qube.world.client_error(ONE, udp((C1, 5001), (S, 53)), DropReason::Rule), (3, 13));
    qube.world.uplink_nothing(udp((S, 53), outer[1]), DropReason::Unsolicited);
    assert_eq!(qube.world.out_u(ONE, udp((C1, 5000), (R, 53))).from(), outer[0]);
    assert_eq!(qube.world.out_u(TWO, udp((C2, 5002), (S, 53))).from(), outer[2]);
    // The other client's flow was not judged again for that.
    assert_eq!(qube.judged(5002), before);
    assert_ne!(qube.judged(5000), before);
    assert_eq!(qube.revoked(), 1);
}

#[test]
fn flows_that_nobody_meets_end_too() {
    let mut qube = Qube::new();
    qube.world.out_u(ONE, udp((C1, 5000), (R, 53)));
    qube.world.out_u(TWO, udp((C2, 5001), (R, 53)));
    qube.rules(C1, &[]);
    qube.world.wait(1);
    assert_eq!((qube.world.flows(), qube.revoked()), (1, 1));
    assert!(qube.judged(5001).is_some());
}

#[test]
fn rules_that_say_the_same_judge_nothing_again() {
    let mut qube = Qube::new();
    qube.world.out_u(ONE, udp((C1, 5000), (R, 53)));
    let before = qube.judged(5000);
    qube.rules(C1, ALL);
    qube.world.out_u(ONE, udp((C1, 5000), (R, 53)));
    assert_eq!(qube.judged(5000), before);
}

#[test]
fn base_lines_end_flows_of_all_clients() {
    let mut qube = Qube::new();
    qube.world.out_u(ONE, udp((C1, 5000), (R, 53)));
    qube.world.out_u(TWO, udp((C2, 5001), (R, 53)));
    qube.world.out_u(TWO, udp((C2, 5002), (S, 53)));
    qube.lines(FeatureLines::Base, "action=drop dst4=192.0.2.0/24");
    assert_eq!(qube.world.client_error(TWO, udp((C2, 5001), (R, 53)), DropReason::Rule), (3, 13));
    qube.world.advance();
    assert_eq!((qube.world.flows(), qube.revoked()), (1, 2));
}

#[test]
fn wrong_rules_of_a_client_end_what_others_began_to_it() {
    let mut qube = Qube::new();
    qube.lines(FeatureLines::Permit, "from=0.0.0.0/0 to=0.0.0.0/0 action=accept");
    only_forward(qube.world.client(ONE, udp((C1, 5000), (C2, 53))), Side::Client(TWO));
    qube.rules(C2, &["action=perhaps"]);
    assert_eq!(qube.world.client_error(ONE, udp((C1, 5000), (C2, 53)), DropReason::Rule), (3, 13));
    assert_eq!(qube.revoked(), 1);
}

#[test]
fn a_client_of_which_nothing_is_known_is_not_reached() {
    let mut qube = Qube::new();
    qube.lines(FeatureLines::Permit, "from=0.0.0.0/0 to=0.0.0.0/0 action=accept");
    qube.lines(FeatureLines::Forward, &format!("proto=udp dstports=8053-8053 to={C2}:53"));
    only_forward(qube.world.client(ONE, udp((C1, 5000), (C2, 53))), Side::Client(TWO));
    qube.told(|live, changes| {
        let none: ClientRules<std::iter::Empty<(&str, &str)>> = ClientRules::None;
        live.set_client_rules(Scope::These, [(C2, none)].into_iter(), changes);
    });
    qube.world.client_error(ONE, udp((C1, 5000), (C2, 53)), DropReason::Rule);
    qube.world.client_error(ONE, udp((C1, 5001), (C2, 53)), DropReason::Rule);
    qube.world.uplink_nothing(udp((R, 700), (F, 8053)), DropReason::Unsolicited);
    qube.rules(C2, ALL);
    only_forward(qube.world.client(ONE, udp((C1, 5001), (C2, 53))), Side::Client(TWO));
    only_forward(qube.world.uplink(udp((R, 700), (F, 8053))), Side::Client(TWO));
}

#[test]
fn a_live_forward_leads_to_its_client_and_ends_with_the_line() {
    let mut qube = Qube::new();
    qube.lines(FeatureLines::Forward, &format!("proto=udp dstports=8053-8053 to={C2}:53"));
    let delivered = only_forward(qube.world.uplink(udp((R, 700), (F, 8053))), Side::Client(TWO));
    assert_eq!(delivered.to(), (C2, 53));
    let by = RuledBy::Rule(RuleId { source: RuleSource::Forward, line: 1 });
    assert_eq!(qube.world.engine.engine().rules().count_of(by), 1);
    qube.lines(FeatureLines::Forward, "");
    qube.world.uplink_nothing(udp((R, 700), (F, 8053)), DropReason::Unsolicited);
    assert_eq!(qube.world.flows(), 0);
}

#[test]
fn rules_that_stay_keep_their_counts_and_are_told_by_their_keys() {
    let mut qube = Qube::new();
    let count = |qube: &Qube, line| {
        let id = RuleId { source: RuleSource::Client(C1), line };
        qube.world.engine.engine().rules().count_of(RuledBy::Rule(id))
    };
    qube.rules(C1, &["action=accept dst4=192.0.2.0/24", "action=drop dst4=198.51.100.0/24"]);
    qube.world.out_u(ONE, udp((C1, 5000), (R, 53)));
    qube.world.client_error(ONE, udp((C1, 5000), (S, 53)), DropReason::Rule);
    qube.world.client_error(ONE, udp((C1, 5000), (Ipv4Addr::new(1, 1, 1, 1), 53)), DropReason::Rule);
    assert_eq!([count(&qube, 0), count(&qube, 1), count(&qube, RuleId::POLICY)], [1, 1, 1]);
    qube.rules(C1, &["action=drop proto=tcp", "action=accept dst4=192.0.2.0/24"]);
    assert_eq!([count(&qube, 0), count(&qube, 1), count(&qube, RuleId::POLICY)], [0, 1, 1]);
    assert_eq!(
        qube.world.engine.engine().rules().hit_lines(),
        [format!("judged: 1 by /qubes-firewall/{C1}/0001, 1 by /qubes-firewall/{C1}/policy")]
    );
}

#[test]
fn a_seed_that_is_mixed_in_changes_the_ports_that_are_chosen_and_no_mapping() {
    let ports = |seed: Option<&[u8]>| {
        let mut world = World::new();
        let first = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
        seed.into_iter().for_each(|seed| world.engine.mix_seed(Seed::of(seed)));
        assert_eq!(world.out_u(ONE, udp((C1, 5000), (S, 53))).from(), first);
        world.out_c(ONE, udp((R, 53), first));
        let others = [5001, 5002, 5003];
        others.map(|port| world.out_u(ONE, udp((C1, port), (R, 53))).from().1)
    };
    let all = [ports(None), ports(Some(b"a")), ports(Some(b"b"))];
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2], "{all:?}");
    assert_eq!(ports(Some(b"a")), all[1]);
}
