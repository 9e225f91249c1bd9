//! The same seed is the same run.

use std::io;
use std::time::Duration;

use sim_core::World;
use sim_net::Sim;

use crate::protocols::{Datagrams, Echo, Name, Recorder, endpoint, ms, udp_echo};

/// A bit of everything, on a network with jitter.
async fn everything(world: World) -> io::Result<u64> {
    let server = world.host("server");
    let _echo = server.create_server(("server", 7000), || Echo).await?;
    let any = None::<Name>;
    let _udp = endpoint(&server, Some(("server", 53)), any, udp_echo).await?;
    let mut conns = Vec::new();
    let mut endpoints = Vec::new();
    for index in 0..world.size("clients", 2..=6) {
        let client = world.host(&format!("client{index}"));
        let size = client.rng("size").range(1..100_000) as usize;
        let hello = move || Recorder::saying(&vec![index as u8; size]);
        conns.push(client.create_connection(("server", 7000), hello).await?);
        let target = Some(("server", 53));
        let endpoint = endpoint(&client, any, target, Datagrams::default).await?;
        endpoint.transport().send_to(b"question", None)?;
        endpoints.push(endpoint);
    }
    server.sleep(Duration::from_secs(5)).await;
    let total = conns.iter().map(|conn| conn.with(|it, _| it.data.len() as u64)).sum();
    for conn in &conns {
        conn.transport().close();
    }
    world.settle().await;
    Ok(total)
}

fn sim(seed: u64) -> Sim {
    Sim::new(seed).latency(ms(1)..ms(20))
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the test is about threads")]
fn a_seed_gives_one_run_on_any_thread_and_after_any_other() {
    for seed in 0..8 {
        let first = sim(seed).run(everything);
        let there = std::thread::spawn(move || {
            sim(seed + 100).run(everything);
            let report = sim(seed).run(everything);
            (report.hash, report.events, report.time, report.outcome.unwrap())
        });
        let here = (first.hash, first.events, first.time, first.outcome.unwrap());
        assert_eq!(there.join().unwrap(), here);
        assert_ne!(sim(seed + 1).run(everything).hash, first.hash);
    }
}

#[test]
fn observing_changes_neither_hash_nor_times() {
    let plain = sim(5).run(everything);
    let observed = sim(5).trace(true).run(everything);
    assert_eq!(
        (plain.hash, plain.events, plain.time),
        (observed.hash, observed.events, observed.time)
    );
    assert_eq!(observed.log.unwrap().entries().len() as u64, observed.events);
    assert!(plain.log.is_none());
}

/// The decision plane: another host, and what it does, moves nothing on the others.
#[test]
fn another_host_reshuffles_nothing() {
    async fn dialogue(world: World, with_others: bool) -> io::Result<Vec<sim_core::Time>> {
        let server = world.host("server");
        let _echo = server.create_server(("server", 7000), || Echo).await?;
        let client = world.host("client");
        let mut others = Vec::new();
        if with_others {
            let other = world.host("other");
            let hello = || Recorder::saying(b"noise");
            others.push(other.create_connection(("client", 1), hello).await.err().unwrap());
        }
        client.sleep(Duration::from_secs(1) - (client.time() - sim_core::Time::ZERO)).await;
        let conn = client.create_connection(("server", 7000), Recorder::default).await?;
        for _ in 0..20 {
            conn.with(|_, cx| cx.write(b"ping"));
            client.sleep(ms(100)).await;
        }
        Ok(conn.with(|it, _| it.arrivals.clone()))
    }
    let alone = sim(9).run(|world| dialogue(world, false)).unwrap();
    let beside = sim(9).run(|world| dialogue(world, true)).unwrap();
    assert_eq!(alone.len(), 20);
    assert_eq!(alone, beside);
}

#[test]
fn named_streams_depend_on_host_and_name_alone() {
    let draw = |host: &'static str, name: &'static str| {
        Sim::new(4)
            .run(move |world| async move { io::Result::Ok(world.host(host).rng(name).next_u64()) })
            .unwrap()
    };
    assert_eq!(draw("a", "election"), draw("a", "election"));
    assert_ne!(draw("a", "election"), draw("b", "election"));
    assert_ne!(draw("a", "election"), draw("a", "backoff"));
}

/// The value was noted from both. It changes with whatever breaks traces, and is noted anew then.
#[test]
fn hashes_are_the_same_in_debug_and_release() {
    assert_eq!(format!("{:016x}", sim(1).run(everything).hash), "3de092c0e2d7099f");
}
