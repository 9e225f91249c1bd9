//! Partitions, jams, and packets in the test's own hand.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{Conn, DatagramTransport, Failure, Time, World};
use sim_net::{DropReason, Effect, Links, PacketKind, Partition, Record, Report, Schedule, Sim};

use crate::protocols::{Datagrams, Echo, Name, Recorder, endpoint, ms};

const ANY: Option<Name> = None;

/// A stream of numbers from each of the hosts to each other, a datagram every millisecond.
struct Chatter {
    names: Vec<&'static str>,
    ends: Vec<Conn<Datagrams, DatagramTransport>>,
}

impl Chatter {
    async fn start(world: &World, names: &[&'static str]) -> io::Result<Self> {
        let mut ends = Vec::new();
        for name in names {
            let local = Some((*name, 9));
            ends.push(endpoint(&world.host(name), local, ANY, Datagrams::default).await?);
        }
        Ok(Self { names: names.to_vec(), ends })
    }

    /// The hosts were made in order.
    fn address(index: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, index as u8 + 1], 9))
    }

    /// Everybody sends one byte to everybody.
    fn speak(&self, byte: u8) -> io::Result<()> {
        for from in 0..self.names.len() {
            for to in (0..self.names.len()).filter(|&to| to != from) {
                self.ends[from].transport().send_to(&[byte], Some(Self::address(to)))?;
            }
        }
        Ok(())
    }

    /// Who heard whom say `byte`, as `ab cb`: a heard b, c heard b.
    fn heard(&self, byte: u8) -> String {
        let mut heard = Vec::new();
        for (name, end) in self.names.iter().zip(&self.ends) {
            end.with(|it, _| {
                for (data, from, _) in &it.received {
                    if data == &[byte] {
                        let from = (0..self.names.len()).find(|&n| Self::address(n) == *from);
                        heard.push(format!("{name}{}", self.names[from.unwrap()]));
                    }
                }
            });
        }
        heard.sort_unstable();
        heard.join(" ")
    }
}

/// Runs a scenario with links in hand.
fn run<R, T>(scenario: impl FnOnce(World, Links) -> R) -> Report<T>
where
    R: Future<Output = Result<T, Failure>> + 'static,
    T: 'static,
{
    Sim::new(1).trace(true).run_with_links(scenario)
}

/// It catches what is in flight when it begins, and what is sent while it holds; what is sent when
/// it is over arrives.
#[test]
fn a_partition_is_judged_at_both_ends_of_the_way() {
    let report = run(|world, links| async move {
        let chatter = Chatter::start(&world, &["a", "b", "c"]).await?;
        chatter.speak(1)?;
        world.host("a").sleep(Duration::from_micros(500)).await;
        let cut = links.partition(&Partition::isolate("a"))?;
        chatter.speak(2)?;
        world.host("a").sleep(ms(10)).await;
        links.heal_one(cut);
        chatter.speak(3)?;
        world.host("a").sleep(ms(10)).await;
        Ok([1, 2, 3].map(|byte| chatter.heard(byte)))
    });
    assert_eq!(report.faults["partition.drop"], 8);
    let log = report.log.as_ref().unwrap().to_string();
    assert_eq!(log.matches("DGRAM len 1: a partition is in its way").count(), 8);
    assert_eq!(report.unwrap(), ["bc cb", "bc cb", "ab ac ba bc ca cb"]);
}

#[test]
fn partitions_overlap_and_heal_together() {
    let report = run(|world, links| async move {
        let chatter = Chatter::start(&world, &["a", "b", "c"]).await?;
        let first = links.partition(&Partition::one_way("a", "b"))?;
        links.partition(&Partition::between("b", "c").port(9))?;
        links.partition(&Partition::isolate("a").port(10))?;
        chatter.speak(1)?;
        world.host("a").sleep(ms(10)).await;
        links.heal_one(first);
        chatter.speak(2)?;
        world.host("a").sleep(ms(10)).await;
        links.heal();
        chatter.speak(3)?;
        world.host("a").sleep(ms(10)).await;
        Ok([1, 2, 3].map(|byte| chatter.heard(byte)))
    });
    assert_eq!(report.unwrap(), ["ab ac ca", "ab ac ba ca", "ab ac ba bc ca cb"]);
}

/// L-10: connecting fails when the ICMP is back, and not earlier.
#[test]
fn a_rejecting_partition_fails_a_connect_with_ehostunreach() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 80), || Echo).await?;
        links.partition(&Partition::isolate("b").effect(Effect::Reject))?;
        let error = a.create_connection(("b", 80), Recorder::default).await.err().unwrap();
        Ok((error.kind(), a.time()))
    });
    assert_eq!(report.faults["partition.reject"], 1);
    let log = report.log.as_ref().unwrap().to_string();
    assert!(log.contains("SYN seq 0 len 0: a partition rejects it"), "{log}");
    assert!(log.contains("deliver a@1←b:80#1 HOST-UNREACH"), "{log}");
    assert_eq!(report.unwrap(), (io::ErrorKind::HostUnreachable, Time::ZERO + ms(1)));
}

#[test]
fn an_established_connection_outlives_a_rejection() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 80), || Echo).await?;
        let conn = a.create_connection(("b", 80), Recorder::default).await?;
        let cut = links.partition(&Partition::isolate("b").effect(Effect::Reject))?;
        conn.with(|_, cx| cx.write(b"lost"));
        a.sleep(ms(20)).await;
        links.heal_one(cut);
        Ok(conn.with(|it, _| it.lost.is_none()))
    });
    assert!(report.unwrap());
}

/// A connection's segments are dropped while it is cut, and no byte is edited.
#[test]
fn a_cut_connection_stands_still() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 80), || Echo).await?;
        let conn = a.create_connection(("b", 80), Recorder::default).await?;
        a.sleep(ms(100)).await;
        links.partition(&Partition::between("a", "b"))?;
        conn.with(|_, cx| cx.write(b"into the void"));
        a.sleep(ms(150)).await;
        Ok(conn.with(|it, _| it.data.len()))
    });
    let entries = report.log.as_ref().unwrap().entries();
    let dropped = entries.filter(|entry| match entry.record {
        Record::Dropped(packet, DropReason::Partition) => packet.kind == PacketKind::Data,
        _ => false,
    });
    assert_eq!(dropped.count(), 1);
    assert_eq!(report.unwrap(), 0);
}

/// A cut takes what is on its way when it begins, and everything until it ends; the stream is whole
/// all the same.
#[test]
fn what_a_cut_takes_from_a_stream_on_its_way_comes_again() {
    let mut taken = 0;
    for at in 1..=20 {
        let report = run(move |world, links| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let _server = b.create_server(("b", 80), || Echo).await?;
            let conn = a.create_connection(("b", 80), Recorder::default).await?;
            let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n ^ n >> 8) as u8).collect();
            conn.with(|_, cx| cx.write(&bytes));
            a.sleep(Duration::from_micros(400 * at)).await;
            let cut = links.partition(&Partition::between("a", "b"))?;
            a.sleep(ms(50)).await;
            links.heal_one(cut);
            a.sleep(Duration::from_secs(60)).await;
            Ok(conn.with(|it, _| it.data == bytes))
        });
        taken += report.faults["partition.drop"];
        assert!(report.unwrap(), "a cut {at} steps behind the beginning");
    }
    assert!(taken > 20, "{taken}");
}

#[test]
fn what_is_held_arrives_in_order_when_it_is_released() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let sink = endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await?;
        let source = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
        let link = links.link("a", "b")?;
        source.transport().send_to(&[0], None)?;
        a.sleep(Duration::from_micros(500)).await;
        link.hold();
        for byte in 1..5 {
            source.transport().send_to(&[byte], None)?;
        }
        let flying = link.in_flight();
        let all: Vec<_> = flying.iter().map(|it| (&*it.flow, it.kind, it.bytes)).collect();
        assert_eq!(all, [("a@1→b:9/udp#1", PacketKind::Datagram, 1); 5]);
        assert_eq!(flying[0].arrives, Some(Time::ZERO + ms(1)));
        assert!(links.link("b", "a")?.in_flight().is_empty());
        a.sleep(Duration::from_secs(100)).await;
        assert!(link.in_flight().iter().all(|it| it.arrives.is_none()));
        assert_eq!(links.in_flight().len(), 5);
        link.release();
        b.sleep(ms(1)).await;
        assert!(link.in_flight().is_empty());
        Ok(sink.with(|it, _| it.received.iter().map(|it| (it.0[0], it.2)).collect::<Vec<_>>()))
    });
    assert_eq!(report.faults["partition.hold"], 5);
    let log = report.log.as_ref().unwrap().to_string();
    assert_eq!(log.matches("hold    a@1→b:9/udp#1 DGRAM len 1").count(), 5);
    assert_eq!(log.matches("release a@1→b:9/udp#1 DGRAM len 1").count(), 5);
    let received = report.unwrap();
    let released = Time::ZERO + Duration::from_secs(100) + Duration::from_micros(500);
    assert_eq!(received, (0..5).map(|byte| (byte, released)).collect::<Vec<_>>());
}

/// A jam delays a stream and edits nothing; but no segment lives for more than 30 s.
#[test]
fn a_stream_goes_on_after_a_jam_and_old_segments_are_gone() {
    for (jam, expected) in [(20, 5), (31, 0)] {
        let report = run(move |world, links| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let _server = b.create_server(("b", 80), || Echo).await?;
            let conn = a.create_connection(("b", 80), Recorder::default).await?;
            a.sleep(ms(100)).await;
            let jammed = Partition::one_way("a", "b").effect(Effect::Hold);
            let cut = links.partition(&jammed)?;
            conn.with(|_, cx| cx.write(b"hello"));
            a.sleep(Duration::from_secs(jam)).await;
            let before = links.in_flight().iter().filter(|it| it.bytes == 5).count();
            assert!(before >= 1);
            links.heal_one(cut);
            a.sleep(ms(5)).await;
            Ok(conn.with(|it, _| it.data.len()))
        });
        let expired = report.log.as_ref().unwrap().to_string();
        let expired = expired.matches("it was held for longer than a segment lives").count();
        assert_eq!(expired > 0, expected == 0);
        // What is sent again in the meantime is younger, and may arrive.
        let received = report.unwrap();
        assert!(received == expected || expected == 0 && received == 5, "{jam}: {received}");
    }
}

#[test]
fn a_packet_can_be_delivered_or_dropped_by_hand() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let sink = endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await?;
        let source = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
        let link = links.link("a", "b")?;
        link.set("latency=50ms".parse()?);
        for byte in 0..4 {
            source.transport().send_to(&[byte], None)?;
        }
        let flying = link.in_flight();
        assert!(links.deliver(&flying[2]) && links.discard(&flying[0]));
        // Each is there once.
        assert!(!links.deliver(&flying[2]) && !links.discard(&flying[0]));
        a.sleep(ms(10)).await;
        link.hold();
        a.sleep(ms(50)).await;
        let held = link.in_flight();
        assert!(held.len() == 2 && links.deliver(&held[1]) && !links.discard(&held[1]));
        a.sleep(ms(10)).await;
        assert!(links.discard(&held[0]));
        link.release();
        a.sleep(ms(10)).await;
        assert!(!links.deliver(&flying[1]));
        Ok(sink.with(|it, _| it.received.iter().map(|it| (it.0[0], it.2)).collect::<Vec<_>>()))
    });
    assert_eq!(report.faults["hand.drop"], 2);
    let log = report.log.as_ref().unwrap().to_string();
    assert_eq!(log.matches("the test dropped it").count(), 2);
    assert_eq!(report.unwrap(), [(2, Time::ZERO), (3, Time::ZERO + ms(60))]);
}

/// A packet that is held back for others can be taken as well, and counts as in flight.
#[test]
fn what_is_held_back_is_in_flight() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let sink = endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await?;
        let source = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
        links.link("a", "b")?.set("reorder=100%".parse()?);
        source.transport().send_to(&[0], None)?;
        let flying = links.in_flight();
        assert_eq!(flying.len(), 1);
        assert!(links.deliver(&flying[0]));
        world.settle().await;
        assert_eq!(a.time(), Time::ZERO);
        source.transport().send_to(&[1], None)?;
        world.settle().await;
        Ok((a.time(), sink.with(|it, _| it.received.len())))
    });
    assert_eq!(report.unwrap(), (Time::ZERO + ms(101), 2));
}

#[test]
fn a_jam_holds_65536_packets_and_drops_the_next() {
    let report = Sim::new(1).run_with_links(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _sink = endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await?;
        let source = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
        links.link("a", "b")?.hold();
        for _ in 0..65_537 {
            source.transport().send_to(&[0], None)?;
        }
        world.settle().await;
        Result::<_, Failure>::Ok(links.in_flight().len())
    });
    assert!(report.tail.to_string().contains("too many packets are held"), "{}", report.tail);
    assert_eq!(report.unwrap(), 65_536);
}

/// Nothing happens any more while packets wait in a jam: the world is quiet.
#[test]
fn a_jam_does_not_keep_the_world_from_settling() {
    let report = run(|world, links| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _sink = endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await?;
        let source = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
        links.link("a", "b")?.hold();
        source.transport().send_to(&[0], None)?;
        world.settle().await;
        Ok((a.time(), links.in_flight().len()))
    });
    assert_eq!(report.unwrap(), (Time::ZERO + ms(1), 1));
}

#[test]
fn a_schedule_is_followed_to_the_nanosecond() {
    let report = run(|world, links| async move {
        let chatter = Chatter::start(&world, &["a", "b"]).await?;
        let partition = Partition::one_way("a", "b");
        let schedule = Schedule::flap(&partition, ms(10), ms(5), ms(5), 2);
        let control = world.host("a");
        let (clock, follower) = (control.clone(), links.clone());
        let following =
            control.create_task(async move { follower.follow(&clock, &schedule).await });
        for byte in 0..40 {
            chatter.speak(byte)?;
            control.sleep(ms(1)).await;
        }
        following.await??;
        control.sleep(ms(1)).await;
        Ok((0..40).filter(|&byte| chatter.heard(byte) == "ab").collect::<Vec<u8>>())
    });
    // Cut at 10..15 and 20..25 ms; at the same instant the scenario goes first.
    let received = report.unwrap();
    assert_eq!(received, [10, 11, 12, 13, 14, 15, 20, 21, 22, 23, 24, 25]);
}

/// Between two runs, without an async scenario.
#[test]
fn a_built_world_lends_its_links() {
    let simulation = Sim::new(1).build();
    let world = simulation.world();
    let (a, b) = (world.host("a"), world.host("b"));
    let sink = simulation
        .run(async move { endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await })
        .unwrap();
    let link = simulation.link("a", "b").unwrap();
    link.set("loss=packets(1)".parse().unwrap());
    let send = || {
        let a = a.clone();
        simulation.run(async move {
            let source = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
            source.transport().send_to(&[1], None)?;
            a.sleep(ms(5)).await;
            io::Result::Ok(())
        })
    };
    send().unwrap();
    link.reset();
    send().unwrap();
    assert_eq!(sink.with(|it, _| it.received.len()), 1);
    assert_eq!(simulation.faults()["packet.loss"], 1);
    assert!(simulation.link("a", "c").is_err());
}

#[test]
fn unknown_hosts_are_errors_and_change_nothing() {
    let report = run(|world, links| async move {
        world.host("a");
        let errors = [
            links.link("a", "nobody").err().unwrap(),
            links.partition(&Partition::isolate("nobody")).err().unwrap(),
            links.set("a->nobody: loss=5%".parse::<sim_net::LinkRule>()?).err().unwrap(),
            links.set_uplink("nobody", None).err().unwrap(),
        ];
        for error in errors {
            assert!(error.to_string().contains("no host of this world is called \"nobody\""));
        }
        assert!(links.link("a", "a").is_err());
        Ok(links.faults().len())
    });
    assert_eq!(report.unwrap(), 0);
}

/// The first of both ends of a run's determinism: everything at once, twice, watched and not.
#[test]
fn all_faults_together_give_the_same_run_again() {
    async fn storm(world: World, links: Links) -> Result<String, Failure> {
        let names = ["a", "b", "c", "d"];
        let chatter = Chatter::start(&world, &names).await?;
        let a = world.host("a");
        links.set_downlink("b", Some(sim_net::Rate::bits_per_second(1_000_000)?))?;
        let swizzle = Schedule::swizzle(&names, ms(20), ms(100), &mut world.rng("swizzle"));
        let (clock, follower) = (a.clone(), links.clone());
        let following = a.create_task(async move { follower.follow(&clock, &swizzle).await });
        for byte in 0..200 {
            chatter.speak(byte)?;
            a.sleep(ms(1)).await;
        }
        following.await??;
        let heard: Vec<String> = (0..200).map(|byte| chatter.heard(byte)).collect();
        Ok(heard.join("\n"))
    }
    let link = "latency=lognormal(2ms,p99=30ms),loss=burst(5%,3),rate=2Mbit,queue=20,dup=3%,\
                corrupt=2%/deliver,reorder=4%/2,mtu=1400";
    let mut hashes = Vec::new();
    for seed in 0..4 {
        let sim = Sim::new(seed).link(link.parse::<sim_net::Link>().unwrap());
        let first = sim.run_with_links(storm);
        let second = sim.clone().trace(true).run_with_links(storm);
        assert_eq!((first.hash, first.time), (second.hash, second.time));
        assert_eq!(first.faults, second.faults);
        for name in ["packet.loss", "packet.duplicate", "packet.corrupt", "packet.reorder"] {
            assert!(first.faults[name] > 10, "{:?}", first.faults);
        }
        assert!(first.faults["partition.drop"] > 10, "{:?}", first.faults);
        assert_eq!(first.outcome.unwrap(), second.outcome.unwrap());
        hashes.push(first.hash);
    }
    hashes.dedup();
    assert_eq!(hashes.len(), 4);
}
