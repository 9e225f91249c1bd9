//! What has nothing to do with a flow moves none of its packets.

use std::io;
use std::time::Duration;

use sim_core::{Time, World};
use sim_net::{PacketRecord, Record};
use tests::echo::Echo;

use crate::programs::{SERVER, Talk, jittered};

/// What else is in the world.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Besides {
    Nothing,
    /// A host that does nothing.
    Host,
    /// A host that has a life of its own.
    BusyHost,
    /// Draws from random streams of the flow's own hosts.
    Draws,
    /// Another connection between the same hosts, to another port, and datagrams.
    Connection,
    /// Timers and tasks on the flow's own hosts.
    Timers,
}

async fn dialogue(world: World, besides: Besides) -> io::Result<()> {
    let (server, client) = (world.host("server"), world.host("client"));
    let _listening = server.create_server(SERVER, || Echo).await?;
    match besides {
        Besides::Nothing => {}
        Besides::Host => drop(world.host("bystander")),
        Besides::BusyHost => {
            let other = world.host("bystander");
            let lp = other.clone();
            other.create_task(async move {
                for _ in 0..50 {
                    let nobody = lp.create_connection(("client", 1), Talk::default).await;
                    nobody.expect_err("nobody listens there");
                }
            });
        }
        Besides::Draws => {
            client.rng("another").next_u64();
            server.rng("another").next_u64();
            world.rng("another").next_u64();
            world.size("another", 0..=9);
        }
        Besides::Connection => {
            let _more = server.create_server(("server", 8000), || Echo).await?;
            let says = vec![1; 20_000];
            let lp = client.clone();
            client.create_task(async move {
                let noise = lp.create_connection(("server", 8000), || Talk { says, heard: 0 });
                noise.await.expect("somebody listens").closed().await.ok();
            });
        }
        Besides::Timers => {
            for lp in [client.clone(), server.clone()] {
                let clock = lp.clone();
                lp.create_task(async move {
                    for _ in 0..100 {
                        clock.sleep(Duration::from_micros(300)).await;
                    }
                });
            }
        }
    }
    client.sleep(Duration::from_millis(1)).await;
    for bytes in [1, 1_000, 30_000] {
        let talk = || Talk { says: vec![9; bytes], heard: 0 };
        client.create_connection(SERVER, talk).await?.closed().await?;
    }
    Ok(())
}

/// When each packet between the two hosts was sent, and when it arrived.
fn packets(seed: u64, besides: Besides) -> Vec<(Time, bool, String, PacketRecord)> {
    let report = jittered(seed).trace(true).run(|world| dialogue(world, besides));
    let log = report.log.clone().expect("it was asked for");
    report.unwrap();
    let packet = |record| match record {
        Record::Sent(packet) => Some((true, packet)),
        Record::Delivered(packet) => Some((false, packet)),
        _ => None,
    };
    let packets = log.entries().filter_map(|entry| {
        let (sent, packet) = packet(entry.record)?;
        let flow = log.flow(packet.flow);
        flow.contains(":7000").then_some((entry.time, sent, flow, packet))
    });
    let mut packets: Vec<_> = packets.collect();
    // At one instant hosts come in an order of their own.
    packets.sort_by(|a, b| (a.0, a.1, &a.2, a.3.offset).cmp(&(b.0, b.1, &b.2, b.3.offset)));
    packets
}

#[test]
fn what_has_nothing_to_do_with_a_flow_moves_none_of_its_packets() {
    for seed in 0..20 {
        let alone = packets(seed, Besides::Nothing);
        assert!(alone.len() > 40, "{} packets", alone.len());
        for besides in
            [Besides::Host, Besides::BusyHost, Besides::Draws, Besides::Connection, Besides::Timers]
        {
            assert_eq!(packets(seed, besides), alone, "seed {seed}: {besides:?}");
        }
    }
}
