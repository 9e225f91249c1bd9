//! The engine's own costs: timers and tasks on a virtual clock.
//!
//! `cargo bench -p tests --bench engine`

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tests::workloads;

const PENDING: u64 = 10_000;
const FIRES: u64 = 100_000;

fn timers(c: &mut Criterion) {
    let mut group = c.benchmark_group("timers, 10 000 pending");
    group.throughput(Throughput::Elements(FIRES)).sample_size(10);
    group.bench_function("call_later", |b| {
        b.iter(|| workloads::timers(&sim_net::new_loop(), PENDING, FIRES, Duration::from_secs(1)));
    });
    group.bench_function("sleep", |b| {
        let sleeps = FIRES / PENDING;
        b.iter(|| workloads::sleeps(&sim_net::new_loop(), PENDING, sleeps, Duration::from_secs(1)));
    });
    group.finish();
}

criterion_group!(benches, timers);
criterion_main!(benches);
