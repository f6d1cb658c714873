//! Runs the kernel in the simulated Xen, seed after seed, and reports what any oracle finds.
//!
//! `simulate [SEEDS [FIRST [DIRECTORY]]] [--qubes]`: so many seeds from the first on, on every CPU; with `--qubes` only those
//! whose world is a Qubes firewall qube, others are passed over and not counted. A violation is shrunk, and its event trace and
//! a capture per interface are written to the directory. Ends with 1 when something was violated. With `-` as directory it ends
//! at the first violation and writes nothing. `make simulate` and `make mutants` call it.

use ravelin::sim::oracle::excuse::Judgements;
use ravelin::sim::run::{RunReport, run};
use ravelin::sim::scenario::Scenario;
use ravelin::sim::trace::Recording;
use ravelin::sim::violation::OracleViolation;
use ravelin::xen::meter::Meter;
use std::panic::catch_unwind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts what the kernel allocates, for the oracle of its memory.
#[global_allocator]
static METER: Meter = Meter;

/// What all seeds so far came to.
#[derive(Default)]
struct Totals {
    seeds: u64,
    /// Of these, worlds that are Qubes firewall qubes.
    qubes: u64,
    simulated: f64,
    packets: u64,
    content_bytes: u64,
    peak_bytes: i64,
    judgements: Judgements,
    failed: Vec<u64>,
}

/// What a scenario violates, a panic of the kernel included, and its report if it did not panic.
fn try_out(scenario: &Scenario, recording: Recording) -> (Option<RunReport>, Vec<OracleViolation>) {
    match catch_unwind(|| run(scenario, recording)) {
        Ok(mut report) => {
            let violations = std::mem::take(&mut report.violations);
            (Some(report), violations)
        }
        Err(cause) => {
            ravelin::xen::touch::listen(None);
            let text = cause.downcast_ref::<String>().cloned();
            let what = text.or(cause.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default();
            (None, vec![OracleViolation { oracle: "panic", what, at: Default::default() }])
        }
    }
}

/// The simplest scenario that violates the same oracle.
fn shrink(mut scenario: Scenario, oracle: &str) -> Scenario {
    let deadline = Instant::now() + Duration::from_secs(60);
    while let Some(simpler) = scenario
        .simpler()
        .into_iter()
        .take_while(|_| Instant::now() < deadline)
        .find(|simpler| try_out(simpler, Recording::Off).1.first().is_some_and(|v| v.oracle == oracle))
    {
        scenario = simpler;
    }
    scenario
}

/// Writes what a violation takes.
fn explain(scenario: Scenario, violation: &OracleViolation, directory: &Path) -> std::io::Result<()> {
    let scenario = shrink(scenario, violation.oracle);
    let (report, violations) = try_out(&scenario, Recording::On);
    std::fs::create_dir_all(directory)?;
    let mut text = format!("{scenario:#?}\n");
    for violation in &violations {
        text += &format!("VIOLATED {violation}\n");
    }
    for link in report.iter().flat_map(|report| &report.lines) {
        text += link;
        text += "\n";
    }
    let name = format!("seed-{}", scenario.seed);
    std::fs::write(directory.join(format!("{name}.trace")), text)?;
    for (domain, bytes) in report.iter().flat_map(|report| &report.captures) {
        std::fs::write(directory.join(format!("{name}-domain-{}.pcap", domain.0)), bytes)?;
    }
    println!("  trace and captures of the shrunk scenario: {}/{name}*", directory.display());
    Ok(())
}

fn work(seeds: &Mutex<impl Iterator<Item = u64>>, totals: &Mutex<Totals>, begun: Instant, directory: &Path) {
    let next = || seeds.lock().unwrap_or_else(PoisonError::into_inner).next();
    while let Some(seed) = next() {
        let scenario = Scenario::of_seed(seed);
        let (report, violations) = try_out(&scenario, Recording::Off);
        let mut sum = totals.lock().unwrap_or_else(PoisonError::into_inner);
        sum.seeds += 1;
        sum.qubes += u64::from(scenario.qube.is_some());
        if let Some(report) = &report {
            sum.simulated += report.simulated.as_secs_f64();
            sum.packets += report.packets;
            sum.content_bytes += report.content_bytes;
            sum.peak_bytes = sum.peak_bytes.max(report.peak_bytes);
            sum.judgements += report.judgements;
        }
        if let Some(violation) = violations.first() {
            println!("seed {seed}: VIOLATED {violation}");
            sum.failed.push(seed);
            let first = sum.failed.len() == 1;
            drop(sum);
            if directory == Path::new("-") {
                // Not when the other worlds end: with the same bug, they may not.
                std::process::exit(1);
            }
            if first && let Err(error) = explain(scenario, violation, directory) {
                println!("  its trace cannot be written: {error}");
            }
        } else if sum.seeds.is_multiple_of(20) {
            progress(&sum, begun);
        }
    }
}

fn progress(sum: &Totals, begun: Instant) {
    let wall = begun.elapsed().as_secs_f64();
    println!(
        "{} seeds ({} qubes), {:.0} s simulated, {} packets, {} MB of content checked in {wall:.1} s: {:.0} s/s, {:.0} packets/s",
        sum.seeds,
        sum.qubes,
        sum.simulated,
        sum.packets,
        sum.content_bytes / 1_000_000,
        sum.simulated / wall,
        sum.packets as f64 / wall,
    );
}

fn main() -> ExitCode {
    let (options, words): (Vec<_>, Vec<_>) =
        std::env::args().skip(1).partition(|word| word.starts_with("--"));
    let only_qubes = match options.as_slice() {
        [] => false,
        [option] if option == "--qubes" => true,
        _ => panic!("the only option is --qubes"),
    };
    let number = |at: usize, default| words.get(at).map_or(default, |word| word.parse().expect("a number"));
    let (count, first): (usize, u64) = (number(0, 20) as usize, number(1, 1));
    let directory = words.get(2).map_or("build/simulate", String::as_str);
    let wanted = |seed: &u64| !only_qubes || Scenario::of_seed(*seed).qube.is_some();
    let seeds = Mutex::new((first..).filter(wanted).take(count));
    let (totals, begun) = (Mutex::new(Totals::default()), Instant::now());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| work(&seeds, &totals, begun, Path::new(directory)));
        }
    });
    let mut sum = totals.into_inner().unwrap_or_else(PoisonError::into_inner);
    progress(&sum, begun);
    println!("the model {}", sum.judgements);
    sum.failed.sort_unstable();
    if sum.failed.is_empty() {
        println!("nothing was violated; the kernel's heap grew by {} KiB at most", sum.peak_bytes >> 10);
        ExitCode::SUCCESS
    } else {
        println!("violated by {} seeds: {:?}", sum.failed.len(), sum.failed);
        ExitCode::FAILURE
    }
}
