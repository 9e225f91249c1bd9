//! More clients than may wait to be accepted.

use std::io;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind};
use sim_core::{Conn, Failure, Loop, LoopFuture, Socket, Time, World};
use sim_net::{Log, PacketKind, Record, Sim, TcpConfig};

use crate::protocols::{Recorder, ms};

const SERVER: (&str, u16) = ("server", 7000);
const RTT: Duration = ms(20);

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A listener that accepts when the test says so.
struct Stage {
    world: World,
    server: Loop,
    listener: Socket,
}

type Client = Conn<Recorder>;

impl Stage {
    /// So many clients ask at one instant, and say who they are as soon as they are connected. Those
    /// that were within two round trips, with when, in order of their names.
    async fn rush(&self, names: &str) -> Result<Vec<Option<(Client, Duration)>>, Failure> {
        let began = self.world.time();
        let connecting = |name: char| {
            let client = self.world.host(&name.to_string());
            let made: LoopFuture<(Client, Duration)> = client.create_future();
            let (own, connected) = (client.clone(), made.clone());
            client.create_task(async move {
                let hello = move || Recorder::saying(name.to_string().as_bytes());
                if let Ok(conn) = own.create_connection(SERVER, hello).await {
                    connected.set_result((conn, own.time().saturating_since(began))).ok();
                }
            });
            made
        };
        let all: Vec<_> = names.chars().map(connecting).collect();
        self.world.sleep(RTT * 2).await;
        let mut found = Vec::new();
        for made in all {
            found.push(if made.done() { Some(made.await?) } else { None });
        }
        Ok(found)
    }

    /// Accepts the next connection, and reads what its client said within a second.
    async fn accept(&mut self) -> Result<(Conn<Recorder>, String), Failure> {
        let (socket, _) = self.listener.accept().await?;
        let conn = self.server.connection().adopt(socket, Recorder::default).await?;
        self.world.sleep(secs(1)).await;
        let said = conn.with(|it, _| String::from_utf8(it.data.clone()).expect("a name"));
        Ok((conn, said))
    }
}

fn run<F, R, T>(tcp: TcpConfig, backlog: u32, scenario: F) -> (T, Log)
where
    F: FnOnce(Stage) -> R + 'static,
    R: Future<Output = Result<T, Failure>>,
    T: 'static,
{
    let report = Sim::new(1).latency(RTT / 2).tcp(tcp).trace(true).run(move |world| async move {
        let server = world.host("server");
        let listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.bind(server.getaddrinfo(SERVER).await?[0])?;
        listener.listen(backlog)?;
        scenario(Stage { world, server, listener }).await
    });
    let log = report.log.clone().expect("it was asked for");
    (report.unwrap(), log)
}

/// How the connection of a client ended, and when.
fn end(client: &Client) -> Option<(io::ErrorKind, Time)> {
    client.with(|it, _| {
        let error = it.lost.as_ref()?.as_ref().expect("it did not end in good order");
        Some((error.kind(), it.lost_at))
    })
}

/// When the host of this index sent packets of this kind, in whole seconds.
fn sent(log: &Log, host: u32, kind: PacketKind) -> Vec<u64> {
    let of_kind = log.entries().filter(|entry| {
        entry.host == host && matches!(entry.record, Record::Sent(packet) if packet.kind == kind)
    });
    of_kind.map(|entry| entry.time.since_epoch().as_secs()).collect()
}

/// L-08: of four clients at once two find room. The others are connected too, as far as they know: the
/// server does not hear them, sends its SYN-ACK again at 1, 3, 7, 15 and 31 s, and forgets them after 63.
/// What they send next is reset.
#[test]
fn an_overflow_at_the_third_ack_is_connected_and_not_heard() {
    let (ends, log) = run(TcpConfig::default(), 4, |it| async move {
        assert_eq!(it.rush("abc").await?.iter().flatten().count(), 3);
        let began = it.world.time();
        let late: Vec<_> = it.rush("defg").await?.into_iter().flatten().collect();
        assert!(late.len() == 4 && late.iter().all(|(_, after)| *after == RTT));
        it.world.sleep(secs(3_600)).await;
        Ok(late.iter().map(|(conn, _)| end(conn).map(|(kind, at)| (kind, at - began))).collect())
    });
    let ends: Vec<Option<(io::ErrorKind, Duration)>> = ends;
    let reset: Vec<Duration> = ends
        .iter()
        .flatten()
        .map(|&(kind, after)| {
            assert_eq!(kind, io::ErrorKind::ConnectionReset);
            after
        })
        .collect();
    assert_eq!(reset.len(), 2, "{ends:?}");
    assert!(reset.iter().all(|after| *after > secs(63) && *after < secs(130)), "{reset:?}");
    let again = [1, 3, 7, 15, 31].map(|at| [at, at]).concat();
    let syn_acks = sent(&log, 1, PacketKind::SynAck);
    assert_eq!(syn_acks.split_at(7), ([0; 7].as_slice(), again.as_slice()));
    // Each answers every SYN-ACK, and repeats its data on its own ladder: RTO, 2 RTO, 4 RTO ..
    let repeated = log.entries().filter(|entry| {
        matches!(entry.record, Record::Dropped(packet, sim_net::DropReason::Backlog)
            if packet.kind == PacketKind::Data)
    });
    let repeated = repeated.count();
    assert!((2 * 7..=2 * 10).contains(&repeated), "{repeated}");
}

/// L-08: when a place becomes free, the next segment of one who was not heard takes it, with its data; the
/// other goes on waiting.
#[test]
fn a_place_that_becomes_free_is_taken_by_the_next_segment() {
    let (said, _) = run(TcpConfig::default(), 0, |mut it| async move {
        let first = it.rush("a").await?;
        assert!(first[0].is_some());
        let late: Vec<_> = it.rush("b").await?.into_iter().flatten().collect();
        assert!(late.is_empty(), "a SYN that finds no place is dropped (L-07)");
        let mut said = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..2 {
            let (conn, name) = it.accept().await?;
            said.push((name, it.world.time().since_epoch().as_secs()));
            kept.push(conn);
        }
        Ok(said)
    });
    assert_eq!(said, [("a".to_owned(), 1), ("b".to_owned(), 2)]);

    let (said, _) = run(TcpConfig::default(), 1, |mut it| async move {
        assert_eq!(it.rush("a").await?.iter().flatten().count(), 1);
        let late: Vec<_> = it.rush("bc").await?.into_iter().flatten().collect();
        assert_eq!(late.len(), 2, "both are connected as far as they know");
        it.world.sleep(secs(4)).await;
        let mut said = Vec::new();
        let mut kept = Vec::new();
        for _ in 0..3 {
            let (conn, name) = it.accept().await?;
            said.push(name);
            kept.push(conn);
        }
        // Nothing is lost for those who had to wait.
        assert!(it.world.time().since_epoch() < secs(12));
        kept.iter().for_each(|conn| conn.with(|_, cx| cx.write(b"welcome")));
        it.world.sleep(secs(1)).await;
        let welcomed = late.iter().filter(|(conn, _)| conn.with(|it, _| it.data == b"welcome"));
        assert_eq!(welcomed.count(), 2);
        said.sort();
        Ok(said)
    });
    assert_eq!(said, ["a", "b", "c"]);
}

/// L-08: with `tcp_abort_on_overflow` the client is connected after one round trip and reset after two.
#[test]
fn an_overflow_is_reset_if_so_set() {
    let (ends, log) = run(TcpConfig::default().abort_on_overflow(true), 1, |it| async move {
        assert_eq!(it.rush("a").await?.iter().flatten().count(), 1);
        let began = it.world.time();
        let late: Vec<_> = it.rush("bc").await?.into_iter().flatten().collect();
        assert!(late.len() == 2 && late.iter().all(|(_, after)| *after == RTT));
        it.world.sleep(secs(100)).await;
        // There is a place for the next SYN, when one was taken.
        let mut it = it;
        drop(it.listener.accept().await?);
        assert_eq!(it.rush("d").await?.iter().flatten().count(), 1);
        Ok(late.iter().map(|(conn, _)| end(conn).map(|(kind, at)| (kind, at - began))).collect())
    });
    let ends: Vec<Option<(io::ErrorKind, Duration)>> = ends;
    let reset: Vec<_> = ends.into_iter().flatten().collect();
    assert_eq!(reset, [(io::ErrorKind::ConnectionReset, RTT * 2)]);
    assert_eq!(sent(&log, 1, PacketKind::SynAck).len(), 4);
}

/// L-09: without cookies as many handshakes run at once as connections may wait, and one more; other
/// SYNs are dropped, and come again after a second.
#[test]
fn as_many_handshakes_run_as_connections_may_wait() {
    for backlog in [0, 1, 2] {
        let (connected, _) = run(TcpConfig::default(), backlog, |it| async move {
            Ok(it.rush("abcdef").await?.iter().flatten().count())
        });
        assert_eq!(connected, backlog as usize + 1);
    }
}

/// Who was not heard leaves no trace when it goes: by a reset of its own, or with the listener.
#[test]
fn who_is_not_heard_can_go() {
    let (places, _) = run(TcpConfig::default(), 1, |mut it| async move {
        it.rush("a").await?;
        let late: Vec<_> = it.rush("bc").await?.into_iter().flatten().collect();
        late.iter().for_each(|(conn, _)| conn.transport().abort());
        it.world.sleep(secs(1)).await;
        for _ in 0..2 {
            drop(it.listener.accept().await?);
        }
        // Had a handshake been left over there would be one place less.
        Ok(it.rush("def").await?.iter().flatten().count())
    });
    assert_eq!(places, 2);

    let (ends, _) = run(TcpConfig::default(), 1, |it| async move {
        it.rush("a").await?;
        let late: Vec<_> = it.rush("bc").await?.into_iter().flatten().collect();
        drop(it.listener);
        it.world.sleep(secs(10)).await;
        Ok(late.iter().map(|(conn, _)| end(conn).map(|(kind, _)| kind)).collect())
    });
    let ends: Vec<Option<io::ErrorKind>> = ends;
    assert_eq!(ends, [Some(io::ErrorKind::ConnectionReset); 2]);
}
