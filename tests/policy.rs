//! Rules and clients: conformance Q-1 to Q-7 (Q-8 is with ICMP).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::host_name::HostName;
use ravelin::base::side::{ClientSlot, Side};
use ravelin::base::time::UnixSeconds;
use ravelin::config::command_line::CommandLine;
use ravelin::config::qube_rules::FeatureLines;
use ravelin::config::rule_config::RuleConfig;
use ravelin::config::{Change, ChangeQueue, Live};
use ravelin::guard::RuleTable;
use ravelin::guard::rule_id::RuleId;
use ravelin::guard::rule_update::RuleUpdate;
use ravelin::guard::ruleset;
use ravelin::guard::ruling::RuledBy;
use ravelin::guard::section::Section;
use ravelin::guard::table::RuleTableParts;
use ravelin::nat::ports::PoolKind;
use ravelin::tables::share::Account;
use std::net::Ipv4Addr;
use std::time::Duration;
use support::*;

fn world(rules: RuleTable) -> World {
    World::with(settings(), rules)
}

#[test]
fn q_1_the_first_rule_that_matches_decides() {
    let mut world = world(rules(&[
        "action=accept dst4=192.0.2.10 proto=udp dstports=53-53",
        "action=drop dst4=192.0.2.0/24",
        "action=accept proto=tcp",
    ]));
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    assert_eq!(world.client_error(ONE, udp((C1, 5000), (R, 54)), DropReason::Rule), (3, 13));
    assert_eq!(world.client_error(ONE, tcp((C1, 5000), (R, 80), "S", 1, 0), DropReason::Rule), (3, 13));
    world.out_u(ONE, tcp((C1, 5000), (S, 80), "S", 1, 0));
    assert_eq!(world.client_error(ONE, echo_request(C1, S, 1), DropReason::Rule), (3, 13));
}

#[test]
fn q_1_a_client_with_broken_rules_is_refused_everything() {
    let table =
        RuleTable::new(RuleTableParts { default: Some(Section::BLOCKED), ..RuleTableParts::default() });
    let mut world = world(table);
    let packets = [udp((C1, 5000), (R, 53)), tcp((C1, 1), (R, 2), "S", 1, 0), echo_request(C1, R, 1)];
    for packet in packets {
        assert_eq!(world.client_error(ONE, packet, DropReason::Rule), (3, 13));
    }
    assert_eq!(world.flows(), 0);
}

#[test]
fn a_client_that_no_rule_knows_is_dropped_silently() {
    let mut world = world(rules_of(&[(C1, &["action=accept"])]));
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.client_nothing(TWO, udp((C2, 5000), (R, 53)), DropReason::UnknownSource);
}

/// How often the rule on `line` decided.
fn hits(world: &World, line: u32) -> u64 {
    world.engine.engine().rules().count_of(RuledBy::Rule(RuleId::in_file(line)))
}

/// How often none did.
fn hits_of_none(world: &World) -> u64 {
    world.engine.engine().rules().count_of(RuledBy::NoRule)
}

#[test]
fn a_rule_counts_what_it_decides_and_nothing_that_a_flow_carries() {
    let mut world = world(rules(&[
        "action=accept dst4=192.0.2.10",
        "action=drop dst4=198.51.100.20",
        "action=drop proto=tcp expire=1000000",
    ]));
    let from = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    for _ in 0..3 {
        world.out_u(ONE, udp((C1, 5000), (R, 53)));
        world.out_c(ONE, udp((R, 53), from));
        world.client_error(ONE, udp((C1, 5000), (S, 53)), DropReason::Rule);
    }
    world.client_error(ONE, udp((C1, 5000), (Ipv4Addr::new(8, 8, 8, 8), 53)), DropReason::Rule);
    assert_eq!((hits(&world, 1), hits(&world, 2), hits_of_none(&world)), (1, 3, 1));
    // A flow that is judged again because another rule has expired is no new one.
    world.engine.set_wall_clock(world.now, UnixSeconds(1_000_000));
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.out_u(ONE, udp((C1, 5001), (R, 53)));
    assert_eq!((hits(&world, 1), hits(&world, 2), hits_of_none(&world)), (2, 3, 1));
    let told = world.engine.engine().rules().hit_lines();
    assert_eq!(told, ["judged: 1 by no rule, 2 by rules:1, 3 by rules:2"]);
    world.engine.set_rules(rules(&["action=accept"]), world.now);
    assert_eq!(hits(&world, 1), 0);
}

#[test]
fn forwards_permits_and_what_comes_unasked_are_counted_where_they_were_written() {
    let mut world = world(forwarding_by(&[], &[(6, 9, C1, 9), (17, 8080, C1, 80)]));
    world.out_c(ONE, udp((R, 9), (F, 8080)));
    world.out_c(ONE, udp((R, 9), (F, 8080)));
    world.uplink_nothing(udp((R, 9), (F, 8081)), DropReason::Unsolicited);
    assert_eq!((hits(&world, 1), hits(&world, 2), hits_of_none(&world)), (0, 1, 0));
    world.engine.set_rules(permitting_by(&["action=drop proto=icmp", "action=accept"]), world.now);
    only_forward(world.client(ONE, udp((C1, 1), (C2, 2))), Side::Client(TWO));
    only_forward(world.client(TWO, udp((C2, 2), (C1, 1))), Side::Client(ONE));
    world.client_error(ONE, echo_request(C1, C2, 1), DropReason::Rule);
    assert_eq!((hits(&world, 1), hits(&world, 2), hits_of_none(&world)), (1, 1, 0));
}

#[test]
fn other_resolvers_leave_the_counts_of_all_rules() {
    let file = b"[default]\naction=accept specialtarget=dns\naction=accept dst4=192.0.2.10\n";
    let read = |resolvers: &[Ipv4Addr]| ruleset::read(file, resolvers).0;
    let mut world = world(read(&RESOLVERS[..1]));
    world.out_u(ONE, udp((C1, 5000), (RESOLVERS[0], 53)));
    world.out_u(ONE, udp((C1, 5001), (R, 53)));
    world.client_error(ONE, udp((C1, 5002), (RESOLVERS[1], 53)), DropReason::Rule);
    assert_eq!((hits(&world, 2), hits(&world, 3), hits_of_none(&world)), (1, 1, 1));
    world.engine.set_rules(read(&RESOLVERS), world.now);
    assert_eq!((hits(&world, 2), hits(&world, 3), hits_of_none(&world)), (1, 1, 1));
    world.out_u(ONE, udp((C1, 5002), (RESOLVERS[1], 53)));
    assert_eq!((hits(&world, 2), hits(&world, 3), hits_of_none(&world)), (2, 1, 1));
}

#[test]
fn a_file_that_is_edited_leaves_the_counts_of_the_rules_that_stay() {
    let read = |file: &str| ruleset::read(file.as_bytes(), &[]).0;
    let mut world = world(read("[default]\naction=accept proto=udp\naction=accept proto=tcp\n"));
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.out_u(ONE, tcp((C1, 5000), (R, 80), "S", 1, 0));
    let edited = "# edited\n[default]\naction=drop proto=icmp\naction=accept proto=udp # names\naction=accept proto=tcp\n";
    world.engine.set_rules(read(edited), world.now);
    assert_eq!((hits(&world, 2), hits(&world, 3), hits(&world, 4), hits(&world, 5)), (0, 0, 1, 1));
    world.engine.set_rules(read("[client 10.137.0.12]\naction=accept proto=udp\n"), world.now);
    assert_eq!(hits(&world, 2), 0);
}

#[test]
fn what_a_blocked_client_asks_is_counted_apart() {
    let mut world = world(RuleTable::block_all());
    world.client_error(ONE, udp((C1, 5000), (R, 53)), DropReason::Rule);
    assert_eq!(world.engine.engine().rules().count_of(RuledBy::BlockedSection), 1);
    assert_eq!(hits_of_none(&world), 0);
}

#[test]
fn q_2_a_dropped_packet_is_answered_with_prohibited() {
    let mut world = world(RuleTable::block_all());
    assert_eq!(world.client_error(ONE, tcp((C1, 1), (R, 2), "S", 1, 0), DropReason::Rule), (3, 13));
    // In the middle of a connection too: the client learns that it is refused, not that it is unknown.
    assert_eq!(world.client_error(ONE, tcp((C1, 1), (R, 2), "A", 1, 1), DropReason::Rule), (3, 13));
}

#[test]
fn q_3_flows_that_new_rules_forbid_end_and_the_others_go_on() {
    let mut world = World::new();
    let allowed = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    let forbidden = world.out_u(ONE, udp((C1, 5001), (S, 53))).from();
    let unheard = world.out_u(ONE, udp((C1, 5002), (S, 53))).from();
    world.engine.set_rules(rules(&["action=accept dst4=192.0.2.10"]), world.now);
    assert_eq!(world.client_error(ONE, udp((C1, 5001), (S, 53)), DropReason::Rule), (3, 13));
    world.uplink_nothing(udp((S, 53), forbidden), DropReason::Unsolicited);
    assert_eq!(world.out_u(ONE, udp((C1, 5000), (R, 53))).from(), allowed);
    world.out_c(ONE, udp((R, 53), allowed));
    // A flow without packets ends as well, soon.
    assert!(world.engine.next_deadline().unwrap() <= world.now);
    world.advance();
    assert_eq!(world.flows(), 1);
    assert_eq!(world.engine.counters().revoked, 2);
    world.uplink_nothing(udp((S, 53), unheard), DropReason::Unsolicited);
}

#[test]
fn q_3_flows_between_clients_and_to_forwarded_ports_obey_new_rules() {
    let mut world = world(forwarding(&[(17, 8080, C1, 80)]));
    world.out_c(ONE, udp((R, 9), (F, 8080)));
    world.engine.set_rules(permitting(), world.now);
    world.uplink_nothing(udp((R, 9), (F, 8080)), DropReason::Unsolicited);
    only_forward(world.client(ONE, udp((C1, 1), (C2, 2))), Side::Client(TWO));
    world.engine.set_rules(RuleTable::allow_all(), world.now);
    assert_eq!(world.client_error(ONE, udp((C1, 1), (C2, 2)), DropReason::Rule), (3, 13));
    world.advance();
    assert_eq!(world.flows(), 0);
}

#[test]
fn q_4_a_rule_that_expires_lets_nothing_begin_and_ends_what_it_began() {
    let mut world = world(rules(&["action=accept expire=1000100"]));
    world.engine.set_wall_clock(world.now, UnixSeconds(1_000_000));
    world.advance();
    world.out_u(ONE, udp((C1, 5000), (R, 5000)));
    world.wait(99);
    let open = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    let silent = world.out_u(ONE, udp((C1, 5001), (R, 53))).from();
    // Whether the engine is told that time has passed, or sees it by the next packet.
    world.wait_unattended(1);
    world.uplink_nothing(udp((R, 5000), open), DropReason::Unsolicited);
    assert_eq!(world.client_error(ONE, udp((C1, 5000), (R, 5000)), DropReason::Rule), (3, 13));
    assert_eq!(world.client_error(ONE, udp((C1, 5002), (R, 53)), DropReason::Rule), (3, 13));
    world.advance();
    assert_eq!((world.flows(), world.engine.counters().revoked), (0, 2));
    world.uplink_nothing(udp((R, 53), silent), DropReason::Unsolicited);
}

#[test]
fn q_4_the_loop_is_woken_when_a_rule_expires() {
    let mut world =
        world(rules(&["action=accept dst4=192.0.2.10 expire=1000100", "action=accept dst4=198.51.100.20"]));
    world.engine.set_wall_clock(world.now, UnixSeconds(1_000_000));
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.out_u(ONE, udp((C1, 5000), (S, 53)));
    world.advance();
    assert_eq!(world.engine.next_deadline(), Some(world.now + Duration::from_secs(100)));
    world.wait(100);
    assert_eq!(world.flows(), 1);
    world.out_u(ONE, udp((C1, 5000), (S, 53)));
}

#[test]
fn q_4_a_wall_clock_that_is_put_right_ends_what_has_expired_and_no_more() {
    let mut world =
        world(rules(&["action=accept dst4=192.0.2.10 expire=1000100", "action=accept expire=1000200"]));
    world.engine.set_wall_clock(world.now, UnixSeconds(1_000_000));
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.out_u(ONE, udp((C1, 5000), (S, 53)));
    world.engine.set_wall_clock(world.now, UnixSeconds(1_000_150));
    world.advance();
    assert_eq!(world.flows(), 2);
    world.engine.set_wall_clock(world.now, UnixSeconds(1_000_200));
    world.advance();
    assert_eq!(world.flows(), 0);
}

#[test]
fn q_5_dns_means_port_53_of_the_name_servers() {
    let mut world = world(rules(&["action=accept specialtarget=dns"]));
    for resolver in RESOLVERS {
        world.out_u(ONE, udp((C1, 5000), (resolver, 53)));
        world.out_u(ONE, tcp((C1, 5000), (resolver, 53), "S", 1, 0));
        assert_eq!(world.client_error(ONE, udp((C1, 5000), (resolver, 54)), DropReason::Rule), (3, 13));
    }
    assert_eq!(world.client_error(ONE, udp((C1, 5000), (R, 53)), DropReason::Rule), (3, 13));
}

#[test]
fn permits_are_for_those_who_begin() {
    let mut world = world(permitting_by(&["action=accept dst4=10.137.0.12 proto=tcp dstports=22-22"]));
    only_forward(world.client(ONE, tcp((C1, 40000), (C2, 22), "S", 1000, 0)), Side::Client(TWO));
    only_forward(world.client(TWO, tcp((C2, 22), (C1, 40000), "SA", 5000, 1001)), Side::Client(ONE));
    assert_eq!(world.client_error(TWO, tcp((C2, 40000), (C1, 22), "S", 1, 0), DropReason::Rule), (3, 13));
    assert_eq!(world.client_error(ONE, tcp((C1, 40000), (C2, 23), "S", 1, 0), DropReason::Rule), (3, 13));
}

#[test]
fn q_7_a_thousand_clients_come_and_go_and_leave_nothing() {
    let mut world = world(permitting());
    world.wait(1);
    let free: Vec<usize> = PoolKind::ALL.map(|pool| world.engine.engine().mappings().free(pool)).to_vec();
    for n in 0..1000u32 {
        let slot = ClientSlot(10 + (n % 5) as u8);
        let address = Ipv4Addr::from(u32::from(C1) + 100 + n);
        world.engine.attach(slot, address, world.now);
        world.out_u(slot, udp((address, 5000), (R, 53)));
        world.out_u(slot, tcp((address, 5000), (R, 80), "S", 1, 0));
        world.out_u(slot, echo_request(address, R, 1));
        world.out_u(slot, ip(address, Ipv4Addr::from(u32::from(S) + n), 50, b"esp"));
        only_forward(world.client(slot, udp((address, 1), (C1, 2))), Side::Client(ONE));
        only_forward(world.client(ONE, udp((C1, 3), (address, 4))), Side::Client(slot));
        assert!(
            world
                .client(slot, udp_with((address, 1), (R, 2), &[0; 3000]).no_df().cut(1500)[1].clone())
                .is_empty()
        );
        world.engine.detach(slot, world.now);
        world.engine.detach(slot, world.now);
        world.advance();
    }
    // What others had with them goes within a second.
    world.wait(1);
    assert_eq!(world.flows(), 0);
    for slot in 0..=255 {
        assert_eq!(world.engine.engine().places().held(Account::client(ClientSlot(slot))), 0);
    }
    assert_eq!(world.engine.fragments().len(), 0);
    assert_eq!(world.dropped(DropReason::Detached), 1000);
    world.wait(121);
    assert!(world.engine.engine().mappings().is_empty());
    let after: Vec<usize> = PoolKind::ALL.map(|pool| world.engine.engine().mappings().free(pool)).to_vec();
    assert_eq!(after, free);
}

#[test]
fn a_slot_or_address_that_is_attached_again_starts_anew() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    world.engine.attach(ClientSlot(7), C1, world.now);
    world.client_nothing(ONE, udp((C1, 5000), (R, 53)), DropReason::NoClient);
    world.uplink_nothing(udp((R, 53), outer), DropReason::Unsolicited);
    world.engine.attach(ClientSlot(7), Ipv4Addr::new(10, 137, 0, 77), world.now);
    world.client_nothing(ClientSlot(7), udp((C1, 5000), (R, 53)), DropReason::Spoofed);
}

#[test]
fn a_port_forward_needs_its_client() {
    let mut world = world(forwarding(&[(6, 8080, Ipv4Addr::new(10, 137, 0, 99), 80)]));
    world.uplink_nothing(tcp((R, 1), (F, 8080), "S", 1, 0), DropReason::Unsolicited);
}

#[test]
fn q_6_the_loop_sleeps_when_former_addresses_are_due_however_often_rules_change() {
    let mut world = world(rules(&["action=accept dsthost=www.example"]));
    let name = HostName::parse("www.example").unwrap();
    world.engine.set_addresses(&name, [R].into_iter(), world.now);
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.engine.set_addresses(&name, [S].into_iter(), world.now);
    let due = world.engine.engine().rules().names().review().unwrap();
    while world.now < due + Duration::from_secs(5) {
        let is_near = world.now + Duration::from_secs(22) > due;
        if is_near {
            world.engine.update_rules(RuleUpdate::Clients(Vec::new()), world.now);
        }
        world.now = world.now + Duration::from_millis(if is_near { 300 } else { 20_000 });
        world.advance();
        assert!(world.engine.next_deadline().is_none_or(|deadline| deadline > world.now));
        world.out_u(ONE, udp((C1, 5000), (R, 53)));
    }
}

#[test]
fn q_6_whoever_owns_a_refused_name_causes_one_walk_over_all_flows_in_a_second() {
    for base in [false, true] {
        let refusing = "action=drop dsthost=www.example";
        let own: &[&str] = if base { &["action=accept"] } else { &[refusing, "action=accept"] };
        let mut world = world(rules(own));
        if base {
            let mut live = Live::boot(&CommandLine::default(), RuleConfig::None, 32 << 20);
            let mut changes = ChangeQueue::default();
            live.set_lines(FeatureLines::Base, [("a", Some(refusing))].into_iter(), &mut changes);
            let Some(Change::LiveRules(update, _)) = changes.pop() else { panic!("no lines") };
            world.engine.update_rules(*update, world.now);
        }
        let name = HostName::parse("www.example").unwrap();
        world.engine.set_addresses(&name, [].into_iter(), world.now);
        world.out_u(ONE, udp((C1, 5000), (R, 53)));
        let mut walks = 0;
        for last in 0..100 {
            world.engine.set_addresses(&name, [Ipv4Addr::new(203, 0, 113, last)].into_iter(), world.now);
            walks += u32::from(world.engine.next_deadline().is_some_and(|deadline| deadline <= world.now));
            world.advance();
            world.now = world.now + Duration::from_millis(50);
        }
        assert!((5..=6).contains(&walks), "{walks}");
        // It is obeyed at once all the same.
        world.engine.set_addresses(&name, [R].into_iter(), world.now);
        assert_eq!(world.client_error(ONE, udp((C1, 5000), (R, 53)), DropReason::Rule), (3, 13));
    }
}
