//! Ports, quotas and overflow: conformance P-1 to P-11 (RFC 4787, RFC 6056, RFC 6888).
#![allow(missing_docs)]

mod support;
use ravelin::base::drop_reason::DropReason;
use ravelin::base::side::ClientSlot;
use ravelin::engine::Settings;
use ravelin::guard::RuleTable;
use ravelin::nat::ports::PoolKind;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use support::*;

/// A world without limits per client but those of the tables.
fn unlimited(mebibytes: u64) -> World {
    let mut settings = Settings { client_gateway: G, ..Settings::for_memory(mebibytes << 20, F) };
    settings.quotas.new_flows.per_second = 1_000_000_000;
    settings.quotas.new_flows.burst = 10_000_000;
    World::with(settings, RuleTable::allow_all())
}

#[test]
fn p_1_the_class_of_a_port_is_kept() {
    let mut world = World::new();
    for inner in [1, 123, 500, 1023] {
        let outer = world.out_u(ONE, udp((C1, inner), (R, 53))).source_port();
        assert!((600..1024).contains(&outer), "{outer}");
        let outer = world.out_u(ONE, tcp((C1, inner), (R, 53), "S", 1, 0)).source_port();
        assert!((600..1024).contains(&outer), "{outer}");
    }
    for inner in [1024, 40_000, 65_535] {
        assert!(world.out_u(ONE, udp((C1, inner), (R, 53))).source_port() >= 1024);
        assert!(world.out_u(ONE, tcp((C1, inner), (R, 53), "S", 1, 0)).source_port() >= 1024);
    }
}

#[test]
fn p_2_a_port_is_not_preserved() {
    let mut world = World::new();
    let same = (2000..3000).filter(|port| world.out_u(ONE, udp((C1, *port), (R, 53))).source_port() == *port);
    assert!(same.count() < 5);
}

#[test]
fn p_3_ports_are_uniform_and_do_not_follow_each_other() {
    let mut world = unlimited(16);
    let ports: Vec<f64> = (0..10_000)
        .map(|n| f64::from(world.out_u(ONE, udp((C1, 10_000 + n), (R, 53))).source_port()))
        .collect();
    // Chi-square over 63 bins of 1,024 ports: 62 degrees of freedom, 99.99 % below 112.
    let mut bins = [0u32; 64];
    for port in &ports {
        bins[*port as usize / 1024] += 1;
    }
    let expected = 10_000.0 * 1024.0 / 64_384.0;
    // The first bin of high ports lacks the firewall's own.
    let chi: f64 = bins[2..].iter().map(|count| (f64::from(*count) - expected).powi(2) / expected).sum();
    assert!(chi < 112.0, "{chi}");
    // Correlation of a port with the next: of 10,000 pairs, within 4 standard deviations of 0.01.
    let mean = ports.iter().sum::<f64>() / 10_000.0;
    let variance: f64 = ports.iter().map(|port| (port - mean).powi(2)).sum();
    let covariance: f64 = ports.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    assert!((covariance / variance).abs() < 0.04, "{}", covariance / variance);
}

#[test]
fn p_3_another_secret_gives_other_ports() {
    let ports = |secret: u8| -> Vec<u16> {
        let mut world = World::new();
        world.engine =
            ravelin::engine::Engine::new(settings(), RuleTable::allow_all(), [secret; 32], world.now);
        world.engine.attach(ONE, C1, world.now);
        (0..20).map(|n| world.out_u(ONE, udp((C1, 5000 + n), (R, 53))).source_port()).collect()
    };
    assert_eq!(ports(1), ports(1));
    assert_ne!(ports(1), ports(2));
}

#[test]
fn p_4_a_client_at_its_port_cap_is_refused_and_others_are_not() {
    let mut settings = settings();
    settings.quotas.ports_per_client = 100;
    let mut world = World::with(settings, RuleTable::allow_all());
    for port in 0..100 {
        world.open_tcp(5000 + port);
    }
    let next = tcp((C1, 6000), (R, 80), "S", 1, 0);
    assert_eq!(world.client_error(ONE, next, DropReason::PortLimit), (3, 13));
    // A known endpoint needs no new port, and other protocols have their own.
    world.out_u(ONE, tcp((C1, 5000), (S, 80), "S", 1, 0));
    world.out_u(ONE, udp((C1, 6000), (R, 53)));
    world.out_u(TWO, tcp((C2, 6000), (R, 80), "S", 1, 0));
}

#[test]
fn p_5_a_client_that_opens_too_fast_is_refused_and_others_are_not() {
    let mut world = small(64, 10);
    for port in 0..32 {
        world.open_tcp(5000 + port);
    }
    // TCP tries again; an error would end the attempt.
    world.client_nothing(ONE, tcp((C1, 6000), (R, 80), "S", 1, 0), DropReason::FlowRate);
    world.client_nothing(ONE, udp((C1, 6000), (R, 53)), DropReason::FlowRate);
    world.out_u(ONE, tcp((C1, 5000), (R, 80), "A", 1101, 5101));
    for port in 0..16 {
        world.out_u(TWO, udp((C2, 6000 + port), (R, 53)));
    }
    world.wait(1);
    for port in 0..10 {
        world.open_tcp(6000 + port);
    }
    world.client_nothing(ONE, udp((C1, 7000), (R, 53)), DropReason::FlowRate);
}

/// A world with room for so many flows, and this rate of new ones.
fn small(flows: u32, per_second: u32) -> World {
    let mut settings = settings();
    settings.flows = flows;
    settings.quotas.flows_per_client = flows;
    settings.quotas.new_flows = ravelin::tables::allowance::Rate { per_second, burst: 2 * per_second };
    World::with(settings, RuleTable::allow_all())
}

/// A hundred connections at a time, each over after a request and its answer, as `ab -n 30000 -c 100` makes them.
fn thirty_thousand_short_connections(world: &mut World) {
    let server = (R, 80);
    for first in (0..30_000).step_by(100) {
        let ports = || (0..100).map(|n| (C1, 32_768 + ((first + n) % 28_232) as u16));
        let outers: Vec<_> =
            ports().map(|client| world.out_u(ONE, tcp(client, server, "S", 1000, 0)).from()).collect();
        for (client, outer) in ports().zip(outers) {
            world.out_c(ONE, tcp(server, outer, "SA", 5000, 1001));
            world.out_u(ONE, tcp_with(client, server, "PA", 1001, 5001, b"GET"));
            world.out_c(ONE, tcp_with(server, outer, "PA", 5001, 1004, b"200"));
            world.out_c(ONE, tcp(server, outer, "FA", 5004, 1004));
            world.out_u(ONE, tcp(client, server, "FA", 1004, 5005));
            world.out_c(ONE, tcp(server, outer, "A", 5005, 1005));
        }
    }
}

#[test]
fn p_13_thirty_thousand_short_connections_pass_at_any_speed() {
    for mebibytes in [16, 64] {
        let settings = Settings { client_gateway: G, ..Settings::for_memory(mebibytes << 20, F) };
        let mut world = World::with(settings, RuleTable::allow_all());
        let waiting = world.out_u(TWO, udp((C2, 5000), (R, 5000))).from();
        thirty_thousand_short_connections(&mut world);
        world.out_c(TWO, udp((R, 5000), waiting));
        assert_eq!(world.dropped(DropReason::FlowRate), 0);
    }
}

#[test]
fn p_13_below_half_of_the_table_there_is_no_rate() {
    let mut world = small(64, 1);
    for port in 0..32 {
        world.open_tcp(5000 + port);
    }
    world.client_nothing(ONE, tcp((C1, 6000), (R, 80), "S", 1, 0), DropReason::FlowRate);
}

#[test]
fn p_13_above_the_rate_a_new_flow_takes_the_place_of_the_clients_oldest() {
    let mut world = small(64, 1);
    for port in 0..1000 {
        world.out_u(ONE, tcp((C1, 5000 + port), (R, 80), "S", 1, 0));
        assert!(world.flows() <= 32, "{}", world.flows());
    }
    assert_eq!(world.engine.counters().evicted, 1000 - 32);
}

#[test]
fn p_13_a_table_that_others_filled_does_not_hold_a_client_to_the_rate_within_its_part() {
    let mut world = small(64, 1);
    for port in 0..32 {
        world.open_tcp(5000 + port);
    }
    // Sixteen are guaranteed to each of two clients.
    for port in 0..16 {
        world.out_u(TWO, tcp((C2, 5000 + port), (R, 80), "S", 1, 0));
    }
    assert_eq!((world.flows(), world.engine.counters().evicted), (48, 0));
}

#[test]
fn p_6_a_port_rests_before_another_client_gets_it() {
    let mut settings = settings();
    // All but a few low ports are taken away by giving them to C2.
    settings.quotas.ports_per_client = 1000;
    let mut world = World::with(settings, RuleTable::allow_all());
    let mut own = BTreeSet::new();
    for port in 1..=300 {
        own.insert(world.out_u(ONE, udp((C1, port), (R, 5000))).source_port());
    }
    world.wait(121);
    assert_eq!(world.flows(), 0);
    for port in 1..=400 {
        assert!(!own.contains(&world.out_u(TWO, udp((C2, port), (R, 5000))).source_port()));
    }
    // It has what does not rest, which is more than its part; beyond that its own give way.
    assert_eq!(world.engine.counters().evicted, 400 - (424 - 300));
    // The client itself may have its port back at once.
    assert!(own.contains(&world.out_u(ONE, udp((C1, 7), (R, 5000))).source_port()));
    world.wait(121);
    let again: Vec<u16> =
        (500..600).map(|port| world.out_u(TWO, udp((C2, port), (R, 5000))).source_port()).collect();
    assert!(again.iter().any(|port| own.contains(port)));
    assert_eq!(world.engine.engine().mappings().reused_early(), 0);
}

#[test]
fn p_6_an_endpoint_gets_its_resting_port_again() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 5000))).from();
    world.wait(121);
    assert_eq!(world.flows(), 0);
    assert_eq!(world.out_u(ONE, udp((C1, 5000), (S, 5000))).from(), outer);
}

#[test]
fn p_6_the_ports_of_a_client_that_is_gone_rest_too() {
    let mut world = World::new();
    let own: BTreeSet<u16> =
        (1..=300).map(|port| world.out_u(ONE, udp((C1, port), (R, 5000))).source_port()).collect();
    world.engine.detach(ONE, world.now);
    world.engine.attach(ONE, Ipv4Addr::new(10, 137, 0, 13), world.now);
    // As many as do not rest. What they are guaranteed beyond those is theirs all the same (conformance S-1).
    for port in 1..=62 {
        let packet = udp((Ipv4Addr::new(10, 137, 0, 13), port), (R, 5000));
        assert!(!own.contains(&world.out_u(ONE, packet).source_port()));
        assert!(!own.contains(&world.out_u(TWO, udp((C2, port), (R, 5000))).source_port()));
    }
}

#[test]
fn p_7_a_flood_of_one_client_costs_another_nothing() {
    let mut world = unlimited(16);
    let mut established = Vec::new();
    for port in 0..1000u16 {
        let client = (C2, 20_000 + port);
        let outer = world.out_u(TWO, tcp(client, (R, 80), "S", 1000, 0)).from();
        world.out_c(TWO, tcp((R, 80), outer, "SA", 5000, 1001));
        world.out_u(TWO, tcp(client, (R, 80), "A", 1001, 5001));
        established.push((client, outer));
    }
    let waiting = world.out_u(TWO, udp((C2, 5000), (R, 53))).from();
    for n in 0..100_000u32 {
        let remote = (Ipv4Addr::from(0x0808_0000 + n / 60_000), 80);
        world.client(ONE, tcp((C1, (n % 60_000) as u16 + 1024), remote, "S", 1, 0));
    }
    for (_, outer) in &established {
        world.out_c(TWO, tcp((R, 80), *outer, "A", 5001, 1001));
    }
    world.out_c(TWO, udp((R, 53), waiting));
    // And it can open more.
    for port in 0..1000 {
        world.out_u(TWO, udp((C2, 30_000 + port), (S, 53)));
    }
}

#[test]
fn p_7_hosts_on_the_uplink_cannot_fill_the_table_through_a_forwarded_port() {
    let mut world = World::with(settings(), forwarding(&[(6, 8080, C1, 80)]));
    let outer = world.out_u(ONE, udp((C1, 5000), (R, 53))).from();
    for n in 0..100_000u32 {
        let remote = (Ipv4Addr::from(0x0808_0000 + n / 60_000), (n % 60_000) as u16);
        world.uplink(tcp(remote, (F, 8080), "S", 1, 0));
    }
    world.out_c(ONE, udp((R, 53), outer));
    for port in 0..1000 {
        world.out_u(ONE, udp((C1, 30_000 + port), (S, 53)));
    }
}

#[test]
fn p_8_overflow_takes_the_clients_own_oldest_that_is_not_assured() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    let assured = world.open_tcp(40_000);
    let outers: Vec<_> =
        (0..9).map(|port| world.out_u(ONE, udp((C1, 5000 + port), (R, 53))).from()).collect();
    world.out_u(ONE, udp((C1, 6000), (R, 53)));
    assert_eq!(world.engine.counters().evicted, 1);
    world.uplink_nothing(udp((R, 53), outers[0]), DropReason::Unsolicited);
    world.out_c(ONE, udp((R, 53), outers[1]));
    world.out_c(ONE, tcp((R, 80), assured, "A", 5101, 1101));
    assert_eq!(world.flows(), 10);
}

/// Flows are reused: Linux picks the ports of short exchanges at random. The answer to the last question of an old flow
/// comes after newer flows were opened.
#[test]
fn p_8_a_flow_that_is_used_again_gives_way_after_those_that_are_not() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    let question = |port| udp((C1, port), (R, 53));
    let outers: Vec<_> = (0..9).map(|n| world.out_u(ONE, question(5000 + n)).from()).collect();
    for outer in &outers {
        world.out_c(ONE, udp((R, 53), *outer));
    }
    let unanswered = world.out_u(ONE, question(5009)).from();
    world.wait(1);
    // Both are asked again.
    assert_eq!(world.out_u(ONE, question(5000)).from(), outers[0]);
    assert_eq!(world.out_u(ONE, question(5009)).from(), unanswered);
    let reply_to = |world: &mut World, outer| world.uplink(udp((R, 53), outer));
    for n in 0..8 {
        world.out_u(ONE, question(6000 + n));
    }
    assert_eq!(world.engine.counters().evicted, 8);
    for outer in [outers[0], unanswered] {
        assert!(matches!(reply_to(&mut world, outer)[..], [Out::Forward(..)]));
    }
    assert_eq!(reply_to(&mut world, outers[1]), [Out::Discard(DropReason::Unsolicited)]);
}

#[test]
fn p_8_with_only_assured_flows_a_new_one_is_refused() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 10;
    let mut world = World::with(settings, RuleTable::allow_all());
    let outers: Vec<_> = (0..10).map(|port| world.open_tcp(40_000 + port)).collect();
    assert_eq!(world.client_error(ONE, udp((C1, 6000), (R, 53)), DropReason::FlowLimit), (3, 13));
    for outer in outers {
        world.out_c(ONE, tcp((R, 80), outer, "A", 5101, 1101));
    }
}

#[test]
fn p_8_a_closed_connection_gives_way() {
    let mut settings = settings();
    settings.quotas.flows_per_client = 2;
    let mut world = World::with(settings, RuleTable::allow_all());
    let open = world.open_tcp(40_000);
    let closed = world.open_tcp(40_001);
    world.out_c(ONE, tcp((R, 80), closed, "R", 5101, 0));
    world.out_u(ONE, udp((C1, 6000), (R, 53)));
    world.out_c(ONE, tcp((R, 80), open, "A", 5101, 1101));
    world.uplink_nothing(tcp((R, 80), closed, "A", 5101, 1101), DropReason::Unsolicited);
}

#[test]
fn p_9_the_last_free_port_is_found() {
    let mut world = unlimited(64);
    let mut taken = BTreeSet::new();
    // No client may have more than its share, so several fill the pool.
    let clients: Vec<(ClientSlot, Ipv4Addr)> =
        (20..28).map(|n| (ClientSlot(n), Ipv4Addr::new(10, 137, 1, n))).collect();
    for (slot, address) in &clients {
        world.engine.attach(*slot, *address, world.now);
    }
    world.engine.detach(ONE, world.now);
    world.engine.detach(TWO, world.now);
    for port in 1024..=65_535u16 {
        let (slot, address) = clients[usize::from(port) % clients.len()];
        let evicted = world.engine.counters().evicted;
        let outer = world.out_u(slot, udp((address, port), (R, 53))).source_port();
        // Only when there is none left, one is taken that was given before.
        assert_eq!(taken.insert(outer), world.engine.counters().evicted == evicted);
    }
    assert_eq!(world.engine.engine().mappings().free(PoolKind::UdpHigh), 0);
    assert_eq!((taken.len(), world.engine.counters().evicted), (64_512 - 128, 128));
}

#[test]
fn p_9_forwarded_and_own_ports_are_never_given_away() {
    let forwards: Vec<(u8, u16, Ipv4Addr, u16)> = (610..=1023).map(|port| (6, port, C2, port)).collect();
    let mut world = World::with(settings(), forwarding(&forwards));
    let mut seen = BTreeSet::new();
    for port in 1..=10 {
        seen.insert(world.open_tcp(port).1);
    }
    assert!(seen.iter().copied().eq(600..610));
    let next = tcp((C1, 11), (R, 80), "S", 1, 0);
    assert_eq!(world.client_error(ONE, next, DropReason::PortsExhausted), (3, 13));
    for port in 2000..12_000 {
        if port % 4000 == 0 {
            world.wait(2);
        }
        assert!(world.out_u(ONE, udp((C1, port), (R, 53))).source_port() > 1151);
    }
}

#[test]
fn p_9_a_port_that_is_forwarded_while_in_use_stays_with_its_flow_and_is_not_reused() {
    let mut world = World::new();
    let outer = world.out_u(ONE, udp((C1, 500), (R, 5000))).from();
    world.engine.set_rules(forwarding(&[(17, outer.1, C2, 9)]), world.now);
    world.out_c(ONE, udp((R, 5000), outer));
    assert_eq!(world.out_c(TWO, udp((S, 5000), outer)).to(), (C2, 9));
    world.wait(302);
    world.wait(122);
    let free = world.engine.engine().mappings().free(PoolKind::UdpLow);
    assert_eq!(free, 423);
    world.engine.set_rules(RuleTable::allow_all(), world.now);
    assert_eq!(world.engine.engine().mappings().free(PoolKind::UdpLow), 424);
}

#[test]
fn p_10_names_chosen_against_another_key_do_not_fill_a_bucket() {
    let mut world = unlimited(16);
    // 20,000 names that differ in few bits, and share whatever a fixed hash would make of them.
    for n in 0..20_000u32 {
        let remote = Ipv4Addr::from(0x0808_0000 + (n << 4 & 0xFFFF_0000) + n);
        world.out_u(ONE, udp((C1, 5000), (remote, 53)));
    }
    assert_eq!(world.flows(), 20_000);
    let longest = world.engine.engine().flows().longest_chain();
    assert!(longest <= 10, "{longest}");
}

#[test]
fn a_full_table_is_bounded_and_refuses() {
    let mut world = unlimited(16);
    let flows = settings().flows as usize;
    for slot in 0..200u8 {
        let address = Ipv4Addr::new(10, 137, 2, slot);
        world.engine.attach(ClientSlot(slot), address, world.now);
    }
    for n in 0..300_000u32 {
        let slot = (n % 200) as u8;
        let remote = (Ipv4Addr::from(0x0808_0000 + n), 53);
        world.client(
            ClientSlot(slot),
            udp((Ipv4Addr::new(10, 137, 2, slot), (n / 500) as u16 + 1024), remote),
        );
        assert!(world.flows() <= flows);
    }
    assert!(world.flows() > flows / 2);
    world.wait(121);
    assert_eq!(world.flows(), 0);
}

#[test]
fn p_11_without_entropy_nothing_begins_and_the_log_says_so() {
    let mut world = World::new();
    let rules = || forwarding(&[(17, 8080, C1, 80)]);
    let said = log::lines_of(|| {
        world.engine = ravelin::engine::Engine::boot(settings(), rules(), None, world.now);
    });
    assert_eq!(said, ["ERROR: the CPU has no working random generator: nothing is forwarded"]);
    world.engine.attach(ONE, C1, world.now);
    world.engine.attach(TWO, C2, world.now);
    // Rules that come later change nothing.
    for round in 0..2 {
        assert_eq!(world.client_error(ONE, udp((C1, 5000), (R, 53)), DropReason::Rule), (3, 13));
        assert_eq!(world.client_error(ONE, tcp((C1, 5000), (R, 80), "S", 1, 0), DropReason::Rule), (3, 13));
        assert_eq!(world.client_error(ONE, udp((C1, 5000), (C2, 53)), DropReason::Rule), (3, 13));
        world.uplink_nothing(udp((R, 9), (F, 8080)), DropReason::Unsolicited);
        world.engine.set_rules(if round == 0 { rules() } else { permitting() }, world.now);
    }
    assert_eq!((world.flows(), world.engine.counters().opened), (0, 0));
    // With entropy the same rules forward, and nothing is said.
    let said = log::lines_of(|| {
        world.engine = ravelin::engine::Engine::boot(settings(), rules(), Some([7; 32]), world.now);
    });
    world.engine.attach(ONE, C1, world.now);
    world.out_u(ONE, udp((C1, 5000), (R, 53)));
    world.out_c(ONE, udp((R, 9), (F, 8080)));
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn running_out_of_ports_is_told_once_a_minute_and_existing_flows_go_on() {
    let mut settings = settings();
    settings.quotas.ports_per_client = 1000;
    let forwards: Vec<_> = (600..610).map(|port| (6, port, C1, 8080)).collect();
    let mut world = World::with(settings, forwarding(&forwards));
    // Two clients take all ports below 1024 that there are: 424 less ten that are forwarded.
    let mut left = vec![];
    for (slot, client, ports) in [(ONE, C1, 308), (TWO, C2, 106)] {
        for port in 1..=ports {
            left.push(world.open_tcp_of(slot, (client, port), (R, 80)));
        }
    }
    let mut refused = |seconds: u64| {
        world.wait_unattended(seconds);
        log::lines_of(|| {
            for port in 400..500 {
                world.client(TWO, tcp((C2, port), (R, 80), "S", 1, 0));
            }
        })
    };
    let first = refused(1);
    assert_eq!(first.len(), 1, "{first:?}");
    assert!(first[0].starts_with("WARN: 10.137.0.12: new flows refused (ports-exhausted, "), "{first:?}");
    assert_eq!(refused(30), Vec::<String>::new());
    assert_eq!(refused(30).len(), 1);
    assert_eq!(world.dropped(DropReason::PortsExhausted), 300);
    for outer in [left[0], left[413]] {
        let packet = tcp((R, 80), outer, "A", 5101, 1101);
        assert!(matches!(world.uplink(packet).as_slice(), [Out::Forward(..)]));
    }
}
