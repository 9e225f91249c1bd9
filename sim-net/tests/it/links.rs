//! What links do to datagrams and segments.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use sim_core::{Conn, DatagramTransport, Time, World};
use sim_net::{DropReason, LinkRule, Record, Report, Sim};

use crate::protocols::{Datagrams, Echo, Name, Recorder, endpoint, ms};

const ANY: Option<Name> = None;
const SINK: Name = ("b", 9);

/// A million of nanoseconds in a virtual time.
fn millis(time: Time) -> f64 {
    time.as_nanos() as f64 / 1e6
}

fn sim(link: &str) -> Sim {
    Sim::new(1).link(link.parse::<LinkRule>().unwrap()).trace(true)
}

/// What arrived: bytes and times.
type Arrivals = Vec<(Vec<u8>, Time)>;

fn arrivals(sink: &Conn<Datagrams, DatagramTransport>) -> Arrivals {
    sink.with(|it, _| it.received.iter().map(|(data, _, at)| (data.clone(), *at)).collect())
}

/// Host `a` sends `count` datagrams of `size` bytes to `b`, one each `gap`, each with its number.
async fn stream(world: World, count: u32, size: usize, gap: Duration) -> io::Result<Arrivals> {
    let (a, b) = (world.host("a"), world.host("b"));
    let sink = endpoint(&b, Some(SINK), ANY, Datagrams::default).await?;
    let source = endpoint(&a, ANY, Some(SINK), Datagrams::default).await?;
    let start = a.time();
    for number in 0..count {
        let mut data = vec![0; size];
        data[..4].copy_from_slice(&number.to_le_bytes());
        a.sleep((start + gap * number).saturating_since(a.time())).await;
        source.transport().send_to(&data, None)?;
    }
    a.sleep(Duration::from_secs(600)).await;
    Ok(arrivals(&sink))
}

fn numbers(arrivals: &Arrivals) -> Vec<u32> {
    let number = |data: &[u8]| u32::from_le_bytes(data[..4].try_into().unwrap());
    arrivals.iter().map(|(data, _)| number(data)).collect()
}

fn dropped<T>(report: &Report<T>, why: DropReason) -> u64 {
    let log = report.log.as_ref().unwrap();
    let is_it = |record| matches!(record, Record::Dropped(_, reason) if reason == why);
    log.entries().filter(|entry| is_it(entry.record)).count() as u64
}

#[test]
fn exactly_the_packets_of_a_list_are_lost() {
    let mut report = sim("loss=packets(1,3,4,10)").run(|world| stream(world, 6, 4, ms(0)));
    assert_eq!(numbers(report.outcome.as_mut().unwrap()), [1, 4, 5]);
    assert_eq!(report.faults, BTreeMap::from([("packet.loss", 3)]));
    let log = report.log.unwrap().to_string();
    assert_eq!(log.matches("drop    a@1→b:9/udp#1 DGRAM len 4: the link lost it").count(), 3);
}

/// D-24: each datagram arrives whole or not at all.
#[test]
fn what_was_not_lost_arrives_and_the_report_counts_the_rest() {
    let report = sim("loss=20%").run(|world| stream(world, 1_000, 4, ms(1)));
    let lost = report.faults["packet.loss"];
    assert!((150..250).contains(&lost), "{lost}");
    assert_eq!(dropped(&report, DropReason::Loss), lost);
    assert_eq!(report.unwrap().len() as u64, 1_000 - lost);
}

/// A fault that could have happened and did not is there with a zero.
#[test]
fn an_enabled_fault_that_never_bit_is_named() {
    let report = sim("loss=0.0000001%,dup=0.0000001%").run(|world| stream(world, 3, 4, ms(0)));
    assert_eq!(report.faults, BTreeMap::from([("packet.duplicate", 0), ("packet.loss", 0)]));
    assert!(Sim::new(1).run(|world| stream(world, 3, 4, ms(0))).faults.is_empty());
}

/// The decision plane: losing a packet of one flow moves nothing else, not even in its own flow.
#[test]
fn a_loss_renumbers_nothing() {
    let times = |link: &str| {
        let arrivals = sim(link).run(|world| stream(world, 50, 4, ms(1))).unwrap();
        numbers(&arrivals).into_iter().zip(arrivals.iter().map(|it| it.1)).collect::<Vec<_>>()
    };
    let all = times("latency=5ms..50ms,order=free");
    let fewer = times("latency=5ms..50ms,order=free,loss=packets(3,20)");
    let expected: Vec<_> = all.into_iter().filter(|(n, _)| ![2, 19].contains(n)).collect();
    assert_eq!(fewer, expected);
}

#[test]
fn a_rule_for_one_pair_changes_no_other() {
    let with = |rules: &[&str]| {
        let parse = |rule: &&str| rule.parse::<LinkRule>().unwrap();
        let sim = Sim::new(1).latency(ms(5)..ms(50));
        let sim = rules.iter().map(parse).fold(sim, Sim::link);
        sim.run(|world| stream(world, 50, 4, ms(1))).unwrap()
    };
    let plain = with(&[]);
    assert_eq!(with(&["b->a: latency=1s,loss=50%", "a->c: loss=100%"]), plain);
    assert_ne!(with(&["a->b: latency=5ms..51ms"]), plain);
    let slow = with(&["a<->b: latency=1s", "a->b: latency=2s"]);
    assert!(slow.iter().enumerate().all(|(n, it)| millis(it.1) == 2_000.0 + n as f64));
}

#[test]
fn a_rule_about_a_host_that_never_comes_is_reported() {
    let rule: LinkRule = "a->nobody: loss=5%".parse().unwrap();
    let report = Sim::new(1).link(rule).run(|world| stream(world, 1, 4, ms(0)));
    assert_eq!(report.absent_hosts, ["nobody"]);
    assert_eq!(report.unwrap().len(), 1);
}

/// D-24: what is copied is the whole datagram.
#[test]
fn copies_follow_with_delays_of_their_own() {
    let report = sim("dup=100%,latency=1ms..20ms").run(|world| stream(world, 100, 4, ms(30)));
    assert_eq!(report.faults["packet.duplicate"], 100);
    let log = report.log.as_ref().unwrap().to_string();
    assert_eq!(log.matches("copy    a@1→b:9/udp#1 DGRAM len 4").count(), 100);
    let arrivals = report.unwrap();
    let expected: Vec<u32> = (0..100).flat_map(|n| [n, n]).collect();
    assert_eq!(numbers(&arrivals), expected);
    let pairs = arrivals.chunks_exact(2).filter(|pair| pair[0].1 != pair[1].1).count();
    assert!(pairs > 95, "{pairs}");
}

/// D-24: corruption keeps to one datagram.
#[test]
fn corrupt_datagrams_are_dropped_for_their_checksum_or_delivered_with_one_damage() {
    let report = sim("corrupt=30%").run(|world| stream(world, 200, 8, ms(0)));
    let corrupted = report.faults["packet.corrupt"];
    assert_eq!(dropped(&report, DropReason::Checksum), corrupted);
    assert_eq!(report.unwrap().len() as u64, 200 - corrupted);

    let report = sim("corrupt=30%/deliver").run(|world| stream(world, 200, 8, ms(0)));
    assert_eq!(report.faults["packet.corrupt"], corrupted);
    let arrivals = report.unwrap();
    assert_eq!(arrivals.len(), 200);
    let damaged = arrivals.iter().zip(0_u32..).filter(|((data, _), number)| {
        let mut sent = [0; 8];
        sent[..4].copy_from_slice(&number.to_le_bytes());
        let bits: u32 = sent.iter().zip(data).map(|(a, b)| (a ^ b).count_ones()).sum();
        assert!(bits == 0 || bits == 1 && data.len() == 8, "{data:?}");
        bits == 1 || data.len() < 8
    });
    assert_eq!(damaged.count() as u64, corrupted);
}

#[test]
fn a_corrupt_segment_never_arrives() {
    let report = sim("corrupt=100%").run(|world| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 80), || Echo).await?;
        let client = a.clone();
        let connecting = a.create_task(async move {
            let _ = client.create_connection(("b", 80), Recorder::default).await;
        });
        b.sleep(Duration::from_secs(4)).await;
        drop(connecting);
        io::Result::Ok(())
    });
    // SYNs at 0, 1, 2, 3 and perhaps 4 s, all in vain.
    assert!((4..=5).contains(&dropped(&report, DropReason::Checksum)));
    assert!(!report.log.unwrap().to_string().contains("SYN-ACK"));
}

/// 972 bytes are 1000 with their headers: a millisecond each at 8 Mbit/s.
#[test]
fn a_rate_spaces_packets_and_a_burst_lets_some_go_at_once() {
    let times = |link: &str| {
        let arrivals = sim(link).run(|world| stream(world, 10, 972, ms(0))).unwrap();
        arrivals.iter().map(|it| millis(it.1)).collect::<Vec<_>>()
    };
    let expected: Vec<f64> = (1..=10).map(|n| 20.0 + f64::from(n)).collect();
    assert_eq!(times("latency=20ms,rate=8Mbit"), expected);
    let expected: Vec<f64> = (1..=10).map(|n| 20.0 + f64::from(n.max(3) - 3)).collect();
    assert_eq!(times("latency=20ms,rate=8Mbit,burst=3kB"), expected);
}

#[test]
fn a_full_queue_drops_at_its_tail() {
    let report = sim("rate=8Mbit,queue=4").run(|world| stream(world, 10, 972, ms(0)));
    assert_eq!(report.faults, BTreeMap::from([("link.queue", 6)]));
    assert_eq!(dropped(&report, DropReason::Queue), 6);
    assert_eq!(numbers(&report.unwrap()), [0, 1, 2, 3]);
    let report = sim("rate=8Mbit,queue=3500B").run(|world| stream(world, 10, 972, ms(0)));
    assert_eq!(numbers(&report.unwrap()), [0, 1, 2]);
}

/// Two hosts send to one at once: their own links have room, the downlink has not. And the other
/// way round.
#[test]
fn a_downlink_is_shared_by_its_senders_and_an_uplink_by_its_receivers() {
    async fn incast(world: World) -> io::Result<Vec<f64>> {
        let b = world.host("b");
        let sink = endpoint(&b, Some(SINK), ANY, Datagrams::default).await?;
        let mut sources = Vec::new();
        for name in ["a", "c"] {
            sources.push(endpoint(&world.host(name), ANY, Some(SINK), Datagrams::default).await?);
        }
        for _ in 0..3 {
            for source in &sources {
                source.transport().send_to(&[0; 972], None)?;
            }
        }
        b.sleep(ms(100)).await;
        Ok(arrivals(&sink).iter().map(|it| millis(it.1)).collect())
    }
    assert_eq!(sim("latency=1ms").run(incast).unwrap(), [1.0; 6]);
    assert_eq!(sim("*->b: rate=8Mbit").run(incast).unwrap(), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    let report = sim("*->b: rate=8Mbit,queue=4").run(incast);
    assert_eq!((report.faults["link.queue"], report.outcome.unwrap().len()), (2, 4));
    assert_eq!(sim("a->*: rate=8Mbit").run(incast).unwrap(), [1.0, 1.0, 1.0, 2.0, 3.0, 4.0]);

    async fn fan_out(world: World) -> io::Result<Vec<f64>> {
        let a = world.host("a");
        let mut times = Vec::new();
        let mut sinks = Vec::new();
        let source = endpoint(&a, Some(("0.0.0.0", 0)), ANY, Datagrams::default).await?;
        for name in ["b", "c"] {
            let local = Some((name, 9));
            sinks.push(endpoint(&world.host(name), local, ANY, Datagrams::default).await?);
        }
        for to in ["10.0.0.2:9", "10.0.0.3:9", "10.0.0.2:9"] {
            source.transport().send_to(&[0; 972], Some(to.parse().unwrap()))?;
        }
        a.sleep(ms(100)).await;
        sinks.iter().for_each(|sink| times.extend(arrivals(sink).iter().map(|it| millis(it.1))));
        Ok(times)
    }
    assert_eq!(sim("a->*: rate=8Mbit").run(fan_out).unwrap(), [2.0, 4.0, 3.0]);
}

/// D-24: whole datagrams change places.
#[test]
fn a_packet_is_held_back_until_so_many_later_ones_went_by() {
    for held in [1, 3] {
        let link = format!("reorder=10%/{held}");
        let report = sim(&link).run(|world| stream(world, 300, 4, ms(1)));
        let count = report.faults["packet.reorder"];
        assert!((15..50).contains(&count), "{count}");
        let order = numbers(&report.unwrap());
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..300).collect::<Vec<_>>());
        assert_ne!(order, sorted);
        let later = |place: usize| order[..place].iter().filter(|&&n| n > order[place]).count();
        let late: Vec<usize> = (0..300).map(later).filter(|&late| late > 0).collect();
        // Two that wait at once overtake each other now and then; the last ones wait in vain.
        assert!(late.iter().all(|&late| late <= 2 * held), "{late:?}");
        assert!(late.iter().filter(|&&late| late == held).count() * 2 > count as usize);
    }
}

/// With nobody behind it, a packet waits 100 ms.
#[test]
fn a_packet_that_nobody_follows_is_held_back_for_a_while() {
    let times = |count| {
        let arrivals = sim("reorder=100%").run(move |world| stream(world, count, 4, ms(1)));
        arrivals.unwrap().iter().map(|it| millis(it.1)).collect::<Vec<_>>()
    };
    assert_eq!(times(2), [101.0, 102.0]);
}

#[test]
fn a_link_keeps_the_order_that_it_is_asked_for() {
    let order = |link: &str| {
        let arrivals = sim(link).run(|world| stream(world, 100, 4, ms(1))).unwrap();
        numbers(&arrivals).is_sorted()
    };
    assert!(!order("latency=1ms..40ms"));
    assert!(!order("latency=1ms..40ms,order=free"));
    assert!(order("latency=1ms..40ms,order=fifo"));
    assert!(order("latency=1ms..40ms,order=fifo,dup=20%"));
}

async fn sized(world: World) -> io::Result<(Vec<usize>, Vec<Option<i32>>)> {
    let (a, b) = (world.host("a"), world.host("b"));
    let sink = endpoint(&b, Some(SINK), ANY, Datagrams::default).await?;
    let source = endpoint(&a, ANY, Some(SINK), Datagrams::default).await?;
    for size in [972, 973, 10] {
        source.transport().send_to(&vec![0; size], None)?;
        a.sleep(ms(10)).await;
    }
    let sizes = arrivals(&sink).iter().map(|it| it.0.len()).collect();
    Ok((sizes, source.with(|it, _| it.errors.iter().map(io::Error::raw_os_error).collect())))
}

/// 973 bytes and 28 of headers are one more than the MTU.
#[test]
fn a_datagram_over_the_mtu_is_reported_lost_in_silence_or_refused() {
    let report = sim("mtu=1000").run(sized);
    assert_eq!((report.faults["link.mtu"], dropped(&report, DropReason::Mtu)), (1, 1));
    assert!(report.log.as_ref().unwrap().to_string().contains("send    a@1←b:9/udp#1 TOO-BIG"));
    assert_eq!(report.unwrap(), (vec![972, 10], vec![Some(90)]));

    let report = sim("mtu=1000/silent").run(sized);
    assert_eq!((report.faults["link.mtu"], dropped(&report, DropReason::Mtu)), (1, 1));
    assert_eq!(report.unwrap(), (vec![972, 10], vec![]));

    let report = sim("mtu=1000/refuse").run(sized);
    assert_eq!((report.faults["link.mtu"], dropped(&report, DropReason::Mtu)), (1, 0));
    assert_eq!(report.unwrap(), (vec![972, 10], vec![Some(90)]));
}

/// A black hole is a fault as others are: behind the quiesce, who sends too much is told.
#[test]
fn a_black_hole_speaks_after_the_quiesce() {
    let report = sim("mtu=1000/silent").quiesce(ms(0)).run(sized);
    assert_eq!(report.unwrap(), (vec![972, 10], vec![Some(90)]));
    let whole = sim("mtu=1000/silent").quiesce(ms(1_000)).run(async |world: World| {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(("b", 7), || Echo).await?;
        let conn = a.create_connection(("b", 7), Recorder::default).await?;
        conn.transport().write(&[7; 20_000]);
        let all = world.eventually(|| conn.with(|it, _| it.data.len()) == 20_000).await;
        io::Result::Ok(all)
    });
    assert!(whole.unwrap());
}

/// The sender's own MTU is that of the interface by which it sends to many: it refuses what one of its links would. By
/// the loopback interface there is none.
#[test]
fn a_datagram_to_many_over_the_mtu_of_its_sender_is_refused() {
    let report = sim("mtu=1000/refuse").run(async |world: World| {
        let (a, b) = (world.host("a"), world.host("b"));
        let heard = endpoint(&b, Some(("0.0.0.0", 9)), ANY, Datagrams::default).await?;
        heard.transport().join_multicast([239, 1, 1, 1].into(), None)?;
        let own = a.datagram().local(("0.0.0.0", 9)).broadcast(true);
        let source = own.bind(Datagrams::default).await?;
        for to in ["255.255.255.255:9", "239.1.1.1:9"] {
            for size in [972, 973] {
                source.transport().send_to(&vec![0; size], Some(to.parse().unwrap()))?;
            }
        }
        world.settle().await;
        let sizes: Vec<usize> = arrivals(&heard).iter().map(|it| it.0.len()).collect();
        let errors = source.with(|it, _| it.errors.iter().map(io::Error::raw_os_error).collect());
        io::Result::Ok((sizes, errors))
    });
    assert_eq!((report.faults["link.mtu"], dropped(&report, DropReason::Mtu)), (2, 0));
    assert_eq!(report.unwrap(), (vec![972, 972], vec![Some(90), Some(90)]));
}

/// What is lost on the way leaves the sender's buffer at once.
#[test]
fn a_lost_datagram_takes_no_room_in_its_senders_buffer() {
    for link in ["loss=100%", "corrupt=100%/deliver", "mtu=500/silent", "latency=10s"] {
        let (paused, resumed) = sim(link)
            .run(|world| async move {
                let (a, b) = (world.host("a"), world.host("b"));
                let _sink = endpoint(&b, Some(SINK), ANY, Datagrams::default).await?;
                let bind = a.datagram().remote(SINK).send_buffer(20_000).bind(Datagrams::default);
                let source = bind.await?;
                for _ in 0..100 {
                    source.transport().send_to(&[0; 1_000], None)?;
                }
                a.sleep(ms(100)).await;
                io::Result::Ok(source.with(|it, _| (it.paused, it.resumed)))
            })
            .unwrap();
        let expected = if link.starts_with("latency") { (1, 0) } else { (0, 0) };
        assert_eq!((paused, resumed), expected, "{link}");
    }
}

/// Links keep no world alive: when it is over none is found, and what one had of them does nothing.
#[test]
fn links_end_with_their_world() {
    let simulation = Sim::new(1).build();
    let (world, links) = (simulation.world(), simulation.links());
    simulation
        .run(async move {
            world.host("a");
            world.host("b");
        })
        .unwrap();
    let link = links.link("a", "b").unwrap();
    drop(simulation);
    assert!(links.link("a", "b").unwrap_err().to_string().contains("over"));
    assert!(links.partition(&sim_net::Partition::isolate("a")).is_err());
    link.hold();
    link.release();
    link.reset();
    links.heal();
    assert!(links.in_flight().is_empty() && link.in_flight().is_empty());
    assert!(links.faults().is_empty());
}
