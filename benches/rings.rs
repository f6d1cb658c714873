//! Instructions from ring to ring: a packet taken from a client, judged, and given to the uplink, or back.
//! `cargo bench --features sim --bench rings`
//!
//! Drivers and engine are the kernel's; hypervisor and peers are stand-ins that do next to nothing, and what they
//! take is counted apart and subtracted. Counted by valgrind as in `instructions.rs`; a count above its budget
//! fails the run.
#![allow(missing_docs)]

mod loopback;

use loopback::{Loopback, Shape};
use std::process::Command;

/// Bursts per run, of as many packets as a turn of a client is.
const BURSTS: u64 = 200;

/// What is measured, and how many instructions per slot it may take.
const SCENES: [(&str, u64); 6] = [
    ("up/64", 1_030),
    ("up/1500", 1_230),
    ("up/65152", 1_240),
    ("down/64", 860),
    ("down/1500", 1_310),
    ("down/65152", 1_190),
];

fn perform(scene: &str, bursts: u64, shape: Shape) -> u64 {
    let (way, bytes) = scene.split_once('/').expect("way/bytes");
    let mut world = Loopback::new(bytes.parse().expect("a number"));
    for _ in 0..bursts {
        match way {
            "up" => drop(world.up(shape)),
            _ => world.down(shape),
        }
    }
    world.packets
}

/// Instructions and packets of a run.
fn count(scene: &str, bursts: u64, shape: &str) -> (u64, u64) {
    let program = std::env::current_exe().expect("this program has a name");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["--perform", scene, &bursts.to_string(), shape])
        .output()
        .expect("valgrind can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    let counted = text.lines().find_map(|line| line.split("Collected :").nth(1));
    let packets = String::from_utf8_lossy(&output.stdout).trim().parse();
    match (counted.and_then(|number| number.trim().parse().ok()), packets) {
        (Some(number), Ok(packets)) if output.status.success() => (number, packets),
        _ => panic!("{scene}: {text}"),
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--perform") {
        let shape = if arguments[at + 3] == "peers" { Shape::PeersOnly } else { Shape::Whole };
        println!("{}", perform(&arguments[at + 1], arguments[at + 2].parse().expect("a number"), shape));
        return;
    }
    let mut failed = false;
    println!("{:<24} {:>12} {:>8}", "scene", "instructions", "budget");
    for (scene, budget) in SCENES {
        let (start, _) = count(scene, 1, "whole");
        let (end, packets) = count(scene, 1 + BURSTS, "whole");
        let peers = count(scene, 1 + BURSTS, "peers").0 - count(scene, 1, "peers").0;
        let burst = packets / (1 + BURSTS);
        let each = (end - start).saturating_sub(peers) / (BURSTS * burst);
        println!("{scene:<24} {each:>12} {budget:>8}");
        failed |= each > budget;
    }
    assert!(!failed, "over budget");
}
