//! Instructions of the firewall engine, counted by valgrind: `cargo bench --bench instructions`.
//!
//! The counts repeat exactly on one build. Each scene is run twice under callgrind, with and without its
//! measured part; the difference, less what the scene itself does, is the engine's. A count above its budget
//! fails the run.
#![allow(missing_docs)]

mod scene;

use scene::memory::Memory;
use scene::rules::Rules;
use scene::{Ports, Scene};
use std::process::Command;

/// Packets, or whatever is measured, per run.
const ROUNDS: u64 = 10_000;

/// What is measured, and how many instructions it may take.
const SCENES: [(&str, u64); 21] = [
    ("outward/1024", 600),
    ("outward/32768", 600),
    ("outward/262144", 600),
    ("inward/1024", 600),
    ("inward/32768", 600),
    ("inward/262144", 600),
    ("open_and_close/1024", 6_300),
    ("open_and_close/262144", 6_000),
    ("rules/10", 500),
    ("rules/1000", 500),
    ("rules/10000", 500),
    ("nested_rules/10", 12_000),
    ("nested_rules/1000", 12_000),
    ("nested_rules/10000", 12_000),
    ("ports/64511", 1_500),
    ("ports/32256", 1_500),
    ("ports/64", 1_500),
    ("ports/0", 1_500),
    ("expire/100000", 1_000),
    ("nothing/1024", 200),
    ("memory/262144", 50),
];

/// Sets a scene up and runs its measured part `rounds` times.
fn perform(name: &str, size: u32, rounds: u64) {
    match name {
        "ports" => {
            let mut ports = Ports::with_free(size as usize);
            (0..rounds).for_each(|_| assert!(ports.take_and_give() || size == 0));
        }
        "rules" | "nested_rules" => {
            let make = if name == "rules" { Rules::separate } else { Rules::nested };
            let mut rules = make(size);
            (0..rounds).for_each(|_| rules.ask());
            assert!(rounds == 0 || (rounds / 4..rounds).contains(&rules.accepted));
        }
        "memory" => {
            let mut memory = Memory::of(size);
            (0..rounds).for_each(|_| memory.touch());
        }
        "expire" => {
            let mut scene = Scene::with_idle(size);
            if rounds > 0 {
                assert_eq!(scene.expire(), u64::from(size));
            }
        }
        _ => {
            let mut scene = Scene::established(size);
            let step = match name {
                "outward" => Scene::outward,
                "inward" => Scene::inward,
                "open_and_close" => Scene::open_and_close,
                _ => Scene::nothing,
            };
            (0..rounds).for_each(|_| step(&mut scene));
            if name == "outward" || name == "inward" {
                assert!(scene.forwarded() >= rounds);
            }
        }
    }
}

/// Instructions that this program takes for a scene.
fn count(scene: &str, rounds: u64) -> u64 {
    let program = std::env::current_exe().expect("this program has a name");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--perform", scene, &rounds.to_string()])
        .output()
        .expect("valgrind can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split("Collected :").nth(1));
    match counted.and_then(|number| number.trim().parse().ok()) {
        Some(number) if output.status.success() => number,
        _ => panic!("{scene}: {text}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--perform") {
        let (name, size) = arguments[at + 1].split_once('/').expect("name/size");
        perform(name, size.parse().expect("a size"), arguments[at + 2].parse().expect("a number"));
        return;
    }
    let mut failed = false;
    let around = (count("nothing/1024", ROUNDS) - count("nothing/1024", 0)) / ROUNDS;
    println!("{:<24} {:>12} {:>8}", "scene", "instructions", "budget");
    for (scene, budget) in SCENES {
        let per_run = count(scene, ROUNDS) - count(scene, 0);
        let each = match scene.split_once('/') {
            Some(("outward" | "inward", _)) => (per_run / ROUNDS).saturating_sub(around),
            Some(("expire", size)) => per_run / size.parse::<u64>().expect("a size"),
            _ => per_run / ROUNDS,
        };
        println!("{scene:<24} {each:>12} {budget:>8}");
        failed |= each > budget;
    }
    assert!(!failed, "over budget");
}
