//! Times of the firewall engine, by criterion: `cargo bench --bench engine`.
#![allow(missing_docs)]

mod scene;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use scene::memory::Memory;
use scene::rules::Rules;
use scene::{Ports, Scene};

fn established(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("established");
    group.throughput(Throughput::Elements(1));
    for flows in [1_024, 32_768, 262_144] {
        let mut scene = Scene::established(flows);
        let mut memory = Memory::of(flows);
        group.bench_function(format!("memory/{flows}"), |bencher| bencher.iter(|| memory.touch()));
        group.bench_function(format!("nothing/{flows}"), |bencher| bencher.iter(|| scene.nothing()));
        group.bench_function(format!("outward/{flows}"), |bencher| bencher.iter(|| scene.outward()));
        group.bench_function(format!("inward/{flows}"), |bencher| bencher.iter(|| scene.inward()));
        scene.forwarded();
    }
}

fn opening(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open and close a connection");
    for flows in [1_024, 32_768, 262_144] {
        let mut scene = Scene::established(flows);
        group.bench_function(format!("{flows}"), |bencher| bencher.iter(|| scene.open_and_close()));
    }
}

fn rules(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rule lookup");
    for count in [10, 1_000, 10_000] {
        let mut rules = Rules::separate(count);
        group.bench_function(format!("separate/{count}"), |bencher| bencher.iter(|| rules.ask()));
        let mut rules = Rules::nested(count);
        group.bench_function(format!("nested/{count}"), |bencher| bencher.iter(|| rules.ask()));
    }
}

fn ports(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("port allocation");
    for (name, free) in [("0 %", 64_511), ("50 %", 32_256), ("99.9 %", 64), ("100 %", 0)] {
        let mut ports = Ports::with_free(free);
        group.bench_function(name, |bencher| bencher.iter(|| ports.take_and_give()));
    }
}

fn expiry(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expiry");
    group.sample_size(10);
    group.throughput(Throughput::Elements(100_000));
    group.bench_function("100,000 flows", |bencher| {
        bencher.iter_batched(
            || Scene::with_idle(100_000),
            |mut scene| scene.expire(),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, established, opening, rules, ports, expiry);
criterion_main!(benches);
