//! What live rules cost: ten thousand of them are nothing to speak of, in time and in memory.

use ravelin::config::command_line::CommandLine;
use ravelin::config::qube_rules::{ClientRules, Scope};
use ravelin::config::rule_config::RuleConfig;
use ravelin::config::{Change, ChangeQueue, Live};
use ravelin::guard::RuleTable;
use ravelin::xen::meter::{self, Meter, Payer};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

#[global_allocator]
static METER: Meter = Meter;

/// A client's rules: keys and lines.
type Lines = Vec<(String, String)>;

fn client(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(10, 137, 0, 2).to_bits() + number)
}

/// As many rules as are asked for, by `rule`, and the policy.
fn lines(rules: u32, rule: impl Fn(u32) -> String) -> Lines {
    let rules = (0..rules).map(|number| (format!("{number:04}"), rule(number)));
    rules.chain([("policy".into(), "drop".into())]).collect()
}

fn live() -> Live {
    Live::boot_qube(&CommandLine::default(), RuleConfig::None, 32 << 20)
}

fn given(lines: &Lines) -> ClientRules<impl Iterator<Item = (&str, &str)>> {
    ClientRules::Lines(lines.iter().map(|(key, line)| (key.as_str(), line.as_str())))
}

/// Takes up what was queued.
fn take_up(table: &mut RuleTable, changes: &mut ChangeQueue) {
    while let Some(change) = changes.pop() {
        if let Change::LiveRules(update, report) = change {
            assert!(report.problems.list.is_empty(), "{:?}", report.problems);
            table.update(*update);
        }
    }
}

/// The rule of a number.
type Shape = fn(u32) -> String;

/// How rules look that take much memory, and how people write them.
const SHAPES: [(&str, Shape); 6] = [
    ("as people write them", |n| {
        format!(
            "action=accept dst4=10.{}.{}.0/24 proto=tcp dstports={}-{}",
            n % 50,
            n / 50,
            n % 50,
            n % 50 + 9
        )
    }),
    ("a host each", |n| format!("action=drop dst4=203.{}.{}.1/32", n / 250, n % 250)),
    ("two services each", |n| format!("action=accept dst4=203.{}.{}.1 dstports=80-80", n / 250, n % 250)),
    ("one network, many ports", |n| format!("action=accept dstports={}-{}", n * 6, n * 6 + 3)),
    ("wide and nested", |n| format!("action=accept dstports={}-{}", n, 60_000 - n)),
    ("nothing", |_| "action=drop".into()),
];

#[test]
fn a_client_with_few_rules_takes_no_more_than_is_counted() {
    for rules in [0, 1, 2, 8, 9] {
        let text = lines(rules, |n| format!("action=accept dst4=203.0.113.{n}/32 dstports=80-80"));
        let mut live = live();
        let (mut table, _) = live.compile_rules();
        let mut changes = ChangeQueue::default();
        meter::reset();
        let charged = meter::charge(Payer::Kernel);
        for number in 0..1_000 {
            let said = [(client(number), given(&text))];
            live.set_client_rules(Scope::These, said.into_iter(), &mut changes);
            take_up(&mut table, &mut changes);
        }
        drop(charged);
        let bytes: usize = text.iter().map(|(key, line)| key.len() + line.len() + 2).sum();
        let (held, counted) = (meter::reading().live_bytes as usize / 1_000, bytes + 300 + text.len() * 150);
        println!("{rules} rules: {held} bytes a client, of which {bytes} are text; {counted} are counted");
        assert!(held <= counted);
    }
}

#[test]
fn ten_thousand_rules_of_fifty_clients_take_little_time_and_memory() {
    for (name, shape) in SHAPES {
        for (clients, rules) in [(50, 200), (1, 5_000)] {
            let text = lines(rules, shape);
            let mut live = live();
            let (mut table, _) = live.compile_rules();
            let mut changes = ChangeQueue::default();
            meter::reset();
            let charged = meter::charge(Payer::Kernel);
            let begin = Instant::now();
            let said = (0..clients).map(|number| (client(number), given(&text)));
            live.set_client_rules(Scope::All, said, &mut changes);
            let compiled = begin.elapsed();
            take_up(&mut table, &mut changes);
            let whole = begin.elapsed();
            drop(charged);
            let held = meter::reading();
            let bytes: usize = text.iter().map(|(key, line)| key.len() + line.len() + 2).sum();
            // What `config/qube_rules.rs` counts, by which memory is bounded.
            let counted = clients as usize * (bytes + 300 + text.len() * 150);
            assert!(held.live_bytes as usize <= counted, "{name}: {} of {counted}", held.live_bytes);
            let per_rule = held.live_bytes as usize / (clients * rules) as usize;
            let charged = meter::charge(Payer::Kernel);
            let mut other = text.clone();
            other[7].1 = "action=drop dst4=192.0.2.7".into();
            let begin = Instant::now();
            live.set_client_rules(Scope::These, [(client(0), given(&other))].into_iter(), &mut changes);
            take_up(&mut table, &mut changes);
            let one = begin.elapsed();
            drop(charged);
            println!(
                "{name}, {clients} clients of {rules}: {} bytes held ({per_rule} per rule, {} of them text), \
                 {} at most; {compiled:?} to compile, {whole:?} in all; one client changed: {one:?}",
                held.live_bytes,
                bytes / rules as usize,
                held.peak_bytes,
            );
            // Debug builds take 20 times as long.
            let limit = if cfg!(debug_assertions) { 3_000 } else { 50 };
            assert!(whole < Duration::from_millis(limit), "{name}: {whole:?}");
        }
    }
}
