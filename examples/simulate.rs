//! Runs the kernel in the simulated Xen, seed after seed: `simulate [SEEDS] [FIRST]`.

use ravelin::sim::run::{Report, run};
use ravelin::sim::scenario::Scenario;
use ravelin::sim::trace::Recording;
use std::time::Instant;

fn main() {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<u64>().expect("a number"));
    let (seeds, first) = (words.next().unwrap_or(10), words.next().unwrap_or(1));
    let begun = Instant::now();
    let (mut simulated, mut packets, mut naps, mut bytes) = (0.0, 0, 0, 0);
    for seed in first..first + seeds {
        let scenario = Scenario::of_seed(seed);
        let clock = Instant::now();
        let report: Report = run(&scenario, Recording::Off);
        simulated += report.simulated.as_secs_f64();
        packets += report.packets;
        naps += report.naps;
        bytes += report.content_bytes;
        println!(
            "seed {seed}: {:.1} s simulated, {} packets, {} content bytes, {} naps, slowest {:?}, hash {:016x}, {:?}",
            report.simulated.as_secs_f64(),
            report.packets,
            report.content_bytes,
            report.naps,
            report.slowest,
            report.hash,
            clock.elapsed()
        );
        if !report.violations.is_empty() {
            println!("  {}", report.kernel.text);
        }
        for violation in &report.violations {
            println!("  VIOLATED {violation}");
        }
        if std::env::var("TRACE").is_ok() {
            let report = run(&scenario, Recording::On);
            for line in &report.lines {
                println!("    {line}");
            }
            println!("{scenario:#?}");
        }
    }
    let wall = begun.elapsed().as_secs_f64();
    println!(
        "{simulated:.0} s, {packets} packets, {naps} naps, {bytes} bytes in {wall:.1} s: {:.0} s/s, {:.0} packets/s",
        simulated / wall,
        packets as f64 / wall
    );
}
