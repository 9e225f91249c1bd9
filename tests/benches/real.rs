//! The real loop's costs: echoes over loopback with client and server on one loop, and timers.
//!
//! Echoes against peers in processes of their own: see `BENCHMARKS.md`.
//!
//! `cargo bench -p tests --bench real`

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tests::workloads::{self, Echoing};

fn echoes(c: &mut Criterion) {
    const ROUNDS: u64 = 2_000;
    let mut group = c.benchmark_group("real");
    group.throughput(Throughput::Elements(ROUNDS)).sample_size(10);
    for size in [64, 16 << 10] {
        group.bench_function(format!("TCP round trip on one loop, {size} B"), |b| {
            b.iter(|| {
                let ran = real_net::run(|world| workloads::tcp_echo(world, ROUNDS, size));
                ran.expect("loopback echoes");
            });
        });
    }
    for echoing in [Echoing::Callbacks, Echoing::Streams] {
        for window in [1, 16] {
            let name = format!("message of 64 B, {window} at once, {echoing:?}");
            let bursts = ROUNDS / window as u64;
            group.bench_function(name, |b| {
                b.iter(|| {
                    let echo = |world| workloads::message_echo(world, echoing, bursts, window, 64);
                    real_net::run(echo).expect("loopback echoes");
                });
            });
        }
    }
    group.finish();
}

fn timers(c: &mut Criterion) {
    const TIMERS: u64 = 10_000;
    let mut group = c.benchmark_group("real");
    group.throughput(Throughput::Elements(TIMERS)).sample_size(10);
    group.bench_function("timer set and fired, 10 000 pending", |b| {
        b.iter(|| {
            let lp = real_net::new_loop().expect("there are descriptors left");
            workloads::timers(&lp, TIMERS, TIMERS, Duration::from_millis(1))
        });
    });
    group.finish();
}

criterion_group!(benches, echoes, timers);
criterion_main!(benches);
