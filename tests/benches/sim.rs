//! The simulator's costs: round trips, bulk, many clients, whole worlds. The trace hash is on.
//!
//! `cargo bench -p tests --bench sim`

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tests::workloads::{self, Echoing};

fn bench(c: &mut Criterion, name: &str, operations: u64, mut run: impl FnMut() -> u64) {
    let mut group = c.benchmark_group("sim");
    group.throughput(Throughput::Elements(operations)).sample_size(10);
    group.bench_function(name, |b| b.iter(&mut run));
    group.finish();
}

fn round_trips(c: &mut Criterion) {
    const ROUNDS: u64 = 20_000;
    bench(c, "TCP round trip, 64 B", ROUNDS, || workloads::tcp_round_trips(ROUNDS, 64));
    for echoing in [Echoing::Callbacks, Echoing::Streams] {
        for window in [1, 16] {
            let name = format!("message of 64 B, {window} at once, {echoing:?}");
            let bursts = ROUNDS / window as u64;
            bench(c, &name, ROUNDS, || workloads::messages(echoing, bursts, window, 64));
        }
    }
    bench(c, "UDP round trip, 64 B", ROUNDS, || workloads::udp_round_trips(ROUNDS, 64));
    bench(c, "datagram, 512 B, 5 % lost", ROUNDS, || workloads::datagrams(ROUNDS, 512, 10));
    bench(c, "64 KiB of bulk", 1_024, || workloads::bulk(64, 64 << 10));
}

fn many_clients(c: &mut Criterion) {
    for hosts in [1_000, 10_000] {
        let name = format!("request, {hosts} clients");
        bench(c, &name, hosts * 20, || workloads::many_clients(hosts, 20));
    }
}

fn worlds(c: &mut Criterion) {
    const WORLDS: u64 = 2_000;
    bench(c, "world, connect, round trip, drop", WORLDS, || workloads::worlds(WORLDS));
}

criterion_group!(benches, round_trips, many_clients, worlds);
criterion_main!(benches);
