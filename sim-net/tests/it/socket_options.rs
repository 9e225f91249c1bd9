//! What the options of a socket do: keepalive, user timeout, Nagle's algorithm.

use std::io;
use std::time::Duration;

use sim_core::{Conn, Failure, Keepalive, Loop, Time, World};
use sim_net::{Links, Log, Operator, PacketKind, Partition, Record, Sim};

use crate::protocols::{Echo, Recorder, ms};

const SERVER: (&str, u16) = ("server", 7000);
/// As in the measurements.
const DELAY: Duration = ms(10);
const RTT: Duration = ms(20);
const KEEPALIVE: Keepalive = Keepalive { idle: secs(2), interval: secs(1), count: 3 };

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A server that echoes, a client that is connected to it, and every hand on them.
struct Stage {
    world: World,
    links: Links,
    operator: Operator,
    conn: Conn<Recorder>,
    /// When it was connected, and so when the client last heard of the server.
    began: Time,
}

impl Stage {
    fn socket(&self) -> sim_core::TransportSocket {
        self.conn.transport().socket()
    }

    /// How the connection ended within an hour, and how long after `since`.
    async fn end(&self, since: Time) -> Option<(io::ErrorKind, Duration)> {
        self.world.sleep(secs(3_600)).await;
        self.conn.with(|it, _| {
            let error = it.lost.as_ref()?.as_ref().expect("it did not end in good order");
            Some((error.kind(), it.lost_at.saturating_since(since)))
        })
    }
}

/// Runs a scenario; its value and all records.
fn run<F, R, T>(scenario: F) -> (T, Log)
where
    F: FnOnce(Stage) -> R + 'static,
    R: Future<Output = Result<T, Failure>>,
    T: 'static,
{
    let simulation = Sim::new(1).latency(DELAY).trace(true).build();
    let (world, links, operator) = (simulation.world(), simulation.links(), simulation.operator());
    let value = simulation.run(async move {
        world.boot("server", |lp: Loop| async move {
            lp.create_server(SERVER, || Echo).await?.serve_forever().await
        });
        world.sleep(ms(1)).await;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        let began = client.time();
        scenario(Stage { world, links, operator, conn, began }).await
    });
    (value.unwrap(), simulation.log().expect("it was asked for"))
}

/// When the client, which is host 2, sent packets of a kind, counted from `since`, and how many bytes.
fn sent(log: &Log, kind: PacketKind, since: Time) -> Vec<(Duration, u32)> {
    let by_client = log.entries().filter(|entry| entry.host == 2 && entry.time > since);
    let of_kind = by_client.filter_map(|entry| match entry.record {
        Record::Sent(packet) if packet.kind == kind => {
            Some((entry.time.saturating_since(since), packet.bytes))
        }
        _ => None,
    });
    of_kind.collect()
}

/// A crashed peer is found out by keepalive: probes at 2, 3 and 4 s, ETIMEDOUT at 5 s (L-92). Without
/// it, and once it is taken back, the crash is noticed by nobody (L-90).
#[test]
fn keepalive_finds_a_crashed_peer() {
    let ((end, began), log) = run(|it| async move {
        it.socket().set_keepalive(Some(KEEPALIVE))?;
        it.operator.host("server").crash();
        Ok((it.end(it.began).await, it.began))
    });
    assert_eq!(end, Some((io::ErrorKind::TimedOut, secs(5))));
    let probes = sent(&log, PacketKind::Ack, began);
    assert_eq!(probes, [2, 3, 4].map(|at| (secs(at), 0)));
    assert_eq!(sent(&log, PacketKind::Reset, began), [(secs(5), 0)]);

    let (end, log) = run(|it| async move {
        it.operator.host("server").crash();
        it.socket().set_keepalive(Some(KEEPALIVE))?;
        it.socket().set_keepalive(None)?;
        Ok(it.end(it.began).await)
    });
    assert_eq!(end, None);
    assert_eq!(
        log.entries().filter(|it| it.time.since_epoch() > secs(1) && it.host != 0).count(),
        0
    );
}

/// A peer that started again answers the first probe with a reset (L-93).
#[test]
fn keepalive_finds_a_restarted_peer() {
    let (end, _) = run(|it| async move {
        it.socket().set_keepalive(Some(KEEPALIVE))?;
        // Until the handshake is done at both ends.
        it.world.sleep(ms(100)).await;
        it.operator.host("server").crash();
        it.operator.host("server").start();
        Ok(it.end(it.began).await)
    });
    assert_eq!(end, Some((io::ErrorKind::ConnectionReset, secs(2) + RTT)));
}

/// Silence counts from what was heard last: set after ten seconds of it, the first probe goes at once,
/// and a change of the figures holds from the next.
#[test]
fn keepalive_counts_the_silence_before_it() {
    let ((end, set_at), log) = run(|it| async move {
        it.operator.host("server").crash();
        it.world.sleep(secs(10)).await;
        it.socket().set_keepalive(Some(KEEPALIVE))?;
        let set_at = it.world.time();
        it.world.sleep(ms(1_500)).await;
        let rarely = Keepalive { interval: secs(10), ..KEEPALIVE };
        it.socket().set_keepalive(Some(rarely))?;
        it.world.sleep(ms(100)).await;
        Ok((it.end(set_at).await, set_at))
    });
    // Two at the old interval, one when the new figures were set: three without an answer.
    let before = Time::ZERO + (set_at.since_epoch() - ms(1));
    let probes: Vec<Duration> =
        sent(&log, PacketKind::Ack, before).into_iter().map(|(at, _)| at - ms(1)).collect();
    assert_eq!(probes, [ms(0), ms(1_000), ms(1_500)]);
    assert_eq!(end, Some((io::ErrorKind::TimedOut, ms(11_500))));
}

/// A connection whose peer is there outlives any number of probes.
#[test]
fn an_idle_connection_that_is_probed_goes_on() {
    let ((end, echoed), log) = run(|it| async move {
        it.socket().set_keepalive(Some(KEEPALIVE))?;
        let end = it.end(it.began).await;
        it.conn.with(|_, cx| cx.write(b"still there?"));
        it.world.sleep(ms(50)).await;
        Ok((end, it.conn.with(|it, _| it.data.clone())))
    });
    assert_eq!((end, echoed), (None, b"still there?".to_vec()));
    let probes = sent(&log, PacketKind::Ack, Time::ZERO).len();
    assert!((1_780..=1_785).contains(&probes), "one in two seconds and a round trip: {probes}");
}

/// The user timeout ends a connection whose data nobody acknowledges so long after its first timeout
/// (L-27), a connect after so long (L-05), and a keepalive at the first expiry after it (L-95).
#[test]
fn the_user_timeout_gives_up() {
    let ladder = |timeout: Option<Duration>| {
        let (end, _) = run(move |it| async move {
            it.socket().set_user_timeout(timeout)?;
            it.links.partition(&Partition::isolate("server"))?;
            let wrote_at = it.world.time();
            it.conn.with(|_, cx| cx.write(b"x"));
            Ok(it.end(wrote_at).await)
        });
        let (kind, after) = end.expect("it gave up");
        assert_eq!(kind, io::ErrorKind::TimedOut);
        after
    };
    // A loss probe and the first timeout, each after RTO = RTT + 200 ms.
    let first_timeout = 2 * (RTT + ms(200));
    for timeout in [ms(1), ms(800), secs(3), secs(20)] {
        let after = ladder(Some(timeout));
        assert!(after.abs_diff(first_timeout + timeout) <= ms(8), "{timeout:?}: {after:?}");
    }
    assert!(ladder(None) > secs(924));

    let (outcome, _) = run(|it| async move {
        let client = it.world.host("client");
        let connecting = client.connection().user_timeout(secs(5));
        let began = client.time();
        let error = connecting.connect(("10.0.0.99", 1), Recorder::default).await.unwrap_err();
        Ok((error.kind(), client.time().saturating_since(began)))
    });
    assert_eq!(outcome, (io::ErrorKind::TimedOut, secs(5)));

    let (end, _) = run(|it| async move {
        it.socket().set_keepalive(Some(KEEPALIVE))?;
        it.socket().set_user_timeout(Some(ms(3_500)))?;
        it.operator.host("server").crash();
        Ok(it.end(it.began).await)
    });
    assert_eq!(end, Some((io::ErrorKind::TimedOut, secs(4))));
}

/// A timeout that is set while a timer runs is judged when that comes up, as in Linux.
#[test]
fn a_user_timeout_in_the_middle_of_a_ladder_ends_it() {
    let (end, _) = run(|it| async move {
        it.links.partition(&Partition::isolate("server"))?;
        let wrote_at = it.world.time();
        it.conn.with(|_, cx| cx.write(b"x"));
        it.world.sleep(secs(20)).await;
        it.socket().set_user_timeout(Some(secs(1)))?;
        Ok(it.end(wrote_at).await)
    });
    let (kind, after) = end.expect("it gave up");
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(after > secs(20) && after < secs(30), "{after:?}");
}

/// Nagle's algorithm holds a small segment until the one before it is acknowledged (L-77): 10, then 20
/// bytes. Without it there are three segments at once. What it holds goes out when it is turned off, and
/// when the stream ends.
#[test]
fn nagle_holds_the_small_segment_until_the_acknowledgement() {
    let write_thrice = |nodelay: bool, then: fn(&Conn<Recorder>)| {
        let (wrote_at, log) = run(move |it| async move {
            it.socket().set_nodelay(nodelay)?;
            it.world.sleep(secs(1)).await;
            let before = it.world.time();
            it.world.sleep(ms(1)).await;
            it.conn.with(|_, cx| (0..3).for_each(|_| cx.write(&[7; 10])));
            then(&it.conn);
            it.world.sleep(secs(1)).await;
            assert_eq!(it.conn.with(|it, _| it.data.len()), 30);
            Ok(before)
        });
        let data = sent(&log, PacketKind::Data, wrote_at);
        let fin = sent(&log, PacketKind::Fin, wrote_at);
        let both = data.into_iter().chain(fin);
        both.map(|(at, bytes)| (at - ms(1), bytes)).collect::<Vec<_>>()
    };
    let at_once = Duration::ZERO;
    assert_eq!(write_thrice(false, |_| {}), [(at_once, 10), (RTT, 20)]);
    assert_eq!(write_thrice(true, |_| {}), [(at_once, 10); 3]);
    let turned_off = write_thrice(false, |conn| {
        conn.transport().socket().set_nodelay(true).expect("it is open");
    });
    assert_eq!(turned_off, [(at_once, 10), (at_once, 20)]);
    let ended = write_thrice(false, |conn| conn.transport().write_eof());
    assert_eq!(ended, [(at_once, 10), (at_once, 20)]);
}
