//! What links do to segments.

use std::io;
use std::time::Duration;

use sim_core::{Failure, Time, World};
use sim_net::plan::SegmentClass;
use sim_net::{
    DropReason, LinkRule, Links, Message, PacketKind, PacketRecord, Plan, Record, Report, Sim,
};

use crate::protocols::{Echo, Recorder, ms};

const SERVER: (&str, u16) = ("b", 80);

fn sim(link: &str) -> Sim {
    Sim::new(1).link(link.parse::<LinkRule>().unwrap()).trace(true)
}

/// Host `a` sends `size` bytes to `b` and hears them again; how many came back.
async fn echo(world: World, size: usize) -> io::Result<usize> {
    let (a, b) = (world.host("a"), world.host("b"));
    let _server = b.create_server(SERVER, || Echo).await?;
    let hello = vec![7; size];
    let conn = a.create_connection(SERVER, move || Recorder::saying(&hello)).await?;
    a.sleep(Duration::from_secs(60)).await;
    Ok(conn.with(|it, _| it.data.len()))
}

/// The segments with data that arrived at `b`, which is host 2.
fn arrived<T>(report: &Report<T>) -> Vec<(Time, PacketRecord)> {
    let entries = report.log.as_ref().unwrap().entries();
    let data = entries.filter_map(|entry| match entry.record {
        Record::Delivered(packet) if packet.kind == PacketKind::Data => {
            (entry.host == 2).then_some((entry.time, packet))
        }
        _ => None,
    });
    data.collect()
}

/// Where nothing tells segments apart a train of them is one packet; where anything does, each has
/// at most 1448 bytes.
#[test]
fn trains_travel_only_where_nothing_tells_segments_apart() {
    let largest = |link: &str| {
        let report = sim(link).run(|world| echo(world, 100_000));
        let largest = arrived(&report).iter().map(|it| it.1.bytes).max().unwrap();
        assert_eq!(report.unwrap(), 100_000, "{link}");
        largest
    };
    assert!(largest("latency=1ms") > 10_000);
    assert!(largest("b->a: loss=0.0000001%") > 10_000);
    for link in [
        "latency=1ms..2ms",
        "loss=0.0000001%",
        "rate=1Gbit",
        "mtu=1500",
        "a->b: dup=0.0000001%",
        "a->*: rate=1Gbit",
        "*->b: rate=1Gbit",
    ] {
        assert_eq!(largest(link), 1_448, "{link}");
    }
    assert_eq!(largest("mtu=1000"), 948);
    // A black hole is what nobody knows of.
    assert_eq!(largest("mtu=1500/silent"), 1_448);
}

/// Goodput of min(rate · 1448/1500, window/RTT) in the steady state.
#[test]
fn a_rate_bounds_the_goodput() {
    let report = sim("latency=10ms,rate=10Mbit").run(|world| echo(world, 2_000_000));
    let arrived = arrived(&report);
    assert_eq!(report.unwrap(), 2_000_000);
    let (first, last) = (arrived[100], arrived[arrived.len() - 10]);
    let bytes = f64::from(last.1.offset - first.1.offset);
    let goodput = bytes * 8.0 / last.0.saturating_since(first.0).as_secs_f64();
    let expected = 1e7 * 1_448.0 / 1_500.0;
    assert!((goodput / expected - 1.0).abs() < 0.02, "{goodput}");
}

#[test]
fn segments_of_a_connection_keep_their_order_unless_it_is_free() {
    let in_order = |link: &str| {
        let report = sim(link).run(|world| echo(world, 200_000));
        let offsets: Vec<u32> = arrived(&report).iter().map(|it| it.1.offset).collect();
        offsets.len() > 20 && offsets.is_sorted()
    };
    assert!(in_order("latency=1ms..20ms"));
    assert!(in_order("latency=exp(1ms,+5ms)"));
    assert!(in_order("latency=1ms..20ms,order=fifo"));
    assert!(!in_order("latency=1ms..20ms,order=free"));
}

/// A connection that began when the path was plain sends trains. Those are taken apart once the
/// path is not, and segments that have become too large are dropped and reported, whereupon their
/// sender makes them smaller (RFC 1191 §6.4).
#[test]
fn links_can_change_under_a_connection() {
    async fn change(world: World, links: Links, link: &'static str) -> Result<(), Failure> {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(SERVER, || Echo).await?;
        let conn = a.create_connection(SERVER, || Recorder::saying(&[7; 20_000])).await?;
        a.sleep(ms(50)).await;
        links.link("a", "b")?.set(link.parse()?);
        for _ in 0..3 {
            conn.with(|_, cx| cx.write(&[7; 5_000]));
            a.sleep(ms(100)).await;
        }
        Ok(())
    }
    let run = |link| {
        let sim = Sim::new(1).trace(true);
        sim.run_with_links(move |world, links| change(world, links, link))
    };
    let sizes = |report: &Report<()>| {
        let late = |it: &&(Time, PacketRecord)| it.0 > Time::ZERO + ms(50);
        arrived(report).iter().filter(late).map(|it| it.1.bytes).collect::<Vec<_>>()
    };
    let report = run("latency=2ms");
    assert_eq!(sizes(&report), [5_000; 3]);
    let report = run("loss=0.0000001%");
    assert_eq!(sizes(&report), [1_448, 1_448, 1_448, 656].repeat(3));

    let report = run("mtu=1000");
    assert!(report.faults["link.mtu"] >= 3, "{:?}", report.faults);
    let log = report.log.as_ref().unwrap();
    assert!(log.to_string().contains("send    a@1←b:80#1 TOO-BIG"));
    let told = log.entries().find(|entry| {
        let icmp = PacketKind::FragmentationNeeded;
        matches!(entry.record, Record::Delivered(packet) if packet.kind == icmp)
    });
    let told = told.unwrap().time;
    let sent = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) if entry.host == 1 && entry.time > told => Some(packet.bytes),
        _ => None,
    });
    let sent: Vec<u32> = sent.collect();
    assert!(sent.len() > 5 && sent.iter().all(|&bytes| bytes <= 948), "{sent:?}");
}

/// The answers of a host without a connection are lost like everything else, each by its own draw.
#[test]
fn resets_of_nobody_are_lost_now_and_then() {
    let refused = (0..40)
        .filter(|&seed| {
            let rule: LinkRule = "b->a: loss=50%".parse().unwrap();
            let report = Sim::new(seed).link(rule).run(|world| async move {
                let a = world.host("a");
                world.host("b");
                let error = a.create_connection(SERVER, Recorder::default).await.err().unwrap();
                assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
                io::Result::Ok(a.time())
            });
            report.unwrap() == Time::ZERO + ms(2)
        })
        .count();
    assert!((10..30).contains(&refused), "{refused}");
}

#[test]
fn the_reasons_of_drops_stand_in_the_log() {
    let report = sim("loss=packets(1)").run(|world| echo(world, 10));
    let log = report.log.as_ref().unwrap();
    let drops = log.entries().filter_map(|entry| match entry.record {
        Record::Dropped(packet, reason) => Some((packet.kind, reason)),
        _ => None,
    });
    let expected = [(PacketKind::Syn, DropReason::Loss), (PacketKind::SynAck, DropReason::Loss)];
    assert_eq!(drops.take(2).collect::<Vec<_>>(), expected);
}

/// A host that has let a connection go answers what comes late where the peer has heard it last: that is what
/// traces, and plans, say of the reset.
#[test]
fn the_reset_of_a_host_without_the_connection_has_its_place() {
    async fn aborts(world: World) -> io::Result<()> {
        let (a, b) = (world.host("a"), world.host("b"));
        let _server = b.create_server(SERVER, || Recorder::saying(b"hello")).await?;
        let conn = a.create_connection(SERVER, Recorder::default).await?;
        a.sleep(ms(100)).await;
        assert_eq!(conn.with(|it, _| it.data.len()), 5);
        // These are on their way when the server crashes.
        for byte in 0..3 {
            conn.transport().write(&[byte]);
            a.sleep(ms(1)).await;
        }
        a.sleep(ms(100)).await;
        Ok(())
    }
    let crash = Plan::new().crash(ms(125), "b", ms(1));
    let report = sim("latency=10ms").census(true).plan(&crash).unwrap().run(aborts);
    let log = report.log.as_ref().unwrap();
    let resets = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) if packet.kind == PacketKind::Reset => Some(packet.offset),
        _ => None,
    });
    assert_eq!(resets.collect::<Vec<u32>>(), [6, 6, 6]);
    let census = report.census.as_ref().unwrap();
    let named = census.packets().filter(|it| it.message == Message::Segment(SegmentClass::Reset));
    let names: Vec<String> = named.map(|it| it.event.to_string()).collect();
    assert_eq!(names, ["", " 2nd", " 3rd"].map(|nth| format!("a@1←b:80#1 rst 6{nth}")));
    report.unwrap();
}

/// RFC 9293 §3.7.1: a segment is no larger than its peer takes, so that one that takes little is reached through
/// a black hole for more.
#[test]
fn a_peer_that_takes_little_gets_no_more() {
    let links = ["a->b: mtu=700/silent", "b->a: mtu=600"];
    let sim = links
        .iter()
        .fold(Sim::new(1).trace(true), |sim, link| sim.link(link.parse::<LinkRule>().unwrap()));
    let report = sim.run(|world| echo(world, 20_000));
    assert_eq!(arrived(&report).iter().map(|it| it.1.bytes).max(), Some(548));
    assert_eq!(report.unwrap(), 20_000);
}
