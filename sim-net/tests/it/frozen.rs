//! A frozen machine sends nothing until it goes on, whoever asks it to.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind};
use sim_core::{Cx, Protocol, Socket, Transport, World};
use sim_net::{DropReason, HostOperator, Link, PacketKind, PacketRecord, Record, Sim};

use crate::protocols::{Datagrams, Name, Recorder, endpoint, ms};

const SERVER: Name = ("server", 7000);

/// Shows its transport to whoever wants to use it from outside.
struct Shows(Rc<RefCell<Option<Transport>>>);

impl Protocol for Shows {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.0.replace(Some(cx.transport().clone()));
    }
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}

/// What the client of a server knows that was frozen at 1 s, with something done to its transport from outside at
/// the same instant, and thawed at 3 s.
#[derive(PartialEq, Eq, Debug)]
struct Seen {
    data: Vec<u8>,
    arrivals: Vec<Duration>,
    ended: bool,
    lost: Option<Option<io::ErrorKind>>,
    lost_at: Duration,
}

#[track_caller]
fn seen_of(deed: fn(&Transport, &HostOperator)) -> Seen {
    let once = || {
        let simulation = Sim::new(1).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let seen = simulation.run(async move {
            let shown = Rc::new(RefCell::new(None));
            let (server, client) = (world.host("server"), world.host("client"));
            let shows = Rc::clone(&shown);
            let _server = server.create_server(SERVER, move || Shows(shows.clone())).await?;
            let conn = client.create_connection(SERVER, Recorder::default).await?;
            world.sleep(ms(1_000) - world.time().since_epoch()).await;
            let transport = shown.take().unwrap();
            let host = operator.host("server");
            host.freeze();
            deed(&transport, &host);
            world.sleep(ms(1_999)).await;
            let early = conn.with(|it, _| it.arrivals.len() + usize::from(it.lost.is_some()));
            assert_eq!(early, 0, "it sends while it is frozen");
            world.sleep(ms(1)).await;
            host.thaw();
            world.sleep(ms(2_000)).await;
            io::Result::Ok(conn.with(|it, _| Seen {
                data: it.data.clone(),
                arrivals: it.arrivals.iter().map(|at| at.since_epoch()).collect(),
                ended: it.ended,
                lost: it.lost.as_ref().map(|lost| lost.as_ref().map(io::Error::kind)),
                lost_at: it.lost_at.since_epoch(),
            }))
        });
        (seen.unwrap(), simulation.hash())
    };
    let (seen, hash) = once();
    assert_eq!(once().1, hash);
    seen
}

const THAWED: Duration = ms(3_001);

#[test]
fn what_is_written_at_a_frozen_machine_is_sent_when_it_goes_on() {
    let seen = seen_of(|transport, _| {
        transport.write(b"one,");
        transport.write(b"two,");
        transport.write(b"six");
    });
    assert_eq!((seen.data.as_slice(), seen.lost), (&b"one,two,six"[..], None));
    assert!(seen.arrivals.iter().all(|&at| at == THAWED), "{:?}", seen.arrivals);
    // As much as a buffer takes, and the rest as it drains.
    let seen = seen_of(|transport, _| transport.write(&vec![7; 3 << 20]));
    assert_eq!((seen.data.len(), seen.lost), (3 << 20, None));
}

#[test]
fn a_frozen_machine_ends_and_resets_nothing() {
    let seen = seen_of(|transport, _| {
        transport.write(b"last");
        transport.close();
    });
    assert_eq!((seen.data.as_slice(), seen.ended, seen.lost), (&b"last"[..], true, Some(None)));
    assert_eq!((seen.arrivals, seen.lost_at), (vec![THAWED], THAWED));
    let seen = seen_of(|transport, _| transport.write_eof());
    assert_eq!((seen.ended, seen.lost_at), (true, THAWED));
    let seen = seen_of(|transport, _| transport.abort());
    assert_eq!(seen.lost, Some(Some(io::ErrorKind::ConnectionReset)));
    assert_eq!((seen.lost_at, seen.ended), (THAWED, false));
}

/// What it could not send is lost with a crash, and comes before the end when it is killed.
#[test]
fn a_crash_takes_what_a_frozen_machine_has_not_sent() {
    let seen = seen_of(|transport, host| {
        transport.write(b"lost");
        assert!(host.crash() && host.start() && host.is_frozen());
    });
    assert_eq!((seen.data.as_slice(), seen.lost), (&b""[..], None));
    let seen = seen_of(|transport, host| {
        transport.write(b"said");
        assert!(host.kill());
    });
    assert_eq!((seen.data.as_slice(), seen.ended, seen.lost), (&b"said"[..], true, Some(None)));
}

/// Each datagram on its own, in order; to a group, too.
#[test]
fn datagrams_of_a_frozen_machine_wait() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let received = simulation.run(async move {
        let (ice, sink) = (world.host("ice"), world.host("sink"));
        let group = [239, 1, 2, 3].into();
        let heard = sink.datagram().local(("0.0.0.0", 9)).bind(Datagrams::default).await?;
        heard.transport().join_multicast(group, None)?;
        let none: Option<Name> = None;
        let talks = endpoint(&ice, none, Some(("sink", 9)), Datagrams::default).await?;
        let calls = ice.datagram().local(("0.0.0.0", 0)).bind(Datagrams::default).await?;
        talks.transport().send_to(b"before", None)?;
        world.sleep(ms(1_000)).await;
        let host = operator.host("ice");
        assert!(host.freeze());
        talks.transport().send_to(b"one", None)?;
        calls.transport().send_to(b"to all", Some((group, 9).into()))?;
        talks.transport().send_to(b"two", None)?;
        world.sleep(ms(1_000)).await;
        let early = heard.with(|it, _| it.received.len());
        assert!(host.thaw());
        talks.transport().send_to(b"after", None)?;
        world.sleep(ms(1_000)).await;
        assert!(host.freeze());
        talks.transport().send_to(b"never", None)?;
        assert!(host.crash() && host.start() && host.thaw());
        world.sleep(ms(1_000)).await;
        let all = heard.with(|it, _| {
            let told = it.received.iter().map(|(data, _, at)| (data.clone(), at.since_epoch()));
            told.collect::<Vec<_>>()
        });
        io::Result::Ok((early, all))
    });
    let (early, all) = received.unwrap();
    let texts: Vec<&[u8]> = all.iter().map(|(text, _)| text.as_slice()).collect();
    assert_eq!(texts, [&b"before"[..], b"one", b"to all", b"two", b"after"]);
    assert_eq!(early, 1);
    assert!(all[1..].iter().all(|(_, at)| *at == ms(2_001)), "{all:?}");
}

/// What is wrong with a datagram its sender is told at once, as a kernel tells it, and as on a machine that is not
/// frozen; and of its first one a socket is bound.
#[test]
fn errors_of_datagrams_are_told_on_a_frozen_machine() {
    let simulation = Sim::new(1).link("mtu=1000/refuse".parse::<Link>().unwrap()).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let told = simulation.run(async move {
        let (ice, sink) = (world.host("ice"), world.host("sink"));
        let none: Option<Name> = None;
        let heard = endpoint(&sink, Some(("sink", 9)), none, Datagrams::default).await?;
        let sink = sink.getaddrinfo(("sink", 9)).await?[0];
        let host = operator.host("ice");
        let mut told = Vec::new();
        for frozen in [false, true] {
            assert!(!frozen || host.freeze());
            let socket = Socket::open(&ice, SocketKind::Datagram, Family::V4)?;
            let sent = [
                socket.send_to(b"fine", sink).await,
                socket.send_to(&[0; 1_000], sink).await,
                socket.send_to(&[0; 65_508], sink).await,
                socket.send_to(b"to nowhere", ([192, 0, 2, 1], 9).into()).await,
                socket.send_to(b"to everybody", ([255; 4], 9).into()).await,
                socket.send_to(b"to no port", ([10, 0, 0, 2], 0).into()).await,
                socket.send_to(b"of another family", "[fd00::2]:9".parse().unwrap()).await,
            ];
            let sent = sent.map(|sent| sent.map_err(|error| (error.kind(), error.to_string())));
            let is_bound = socket.local_addr().is_ok_and(|local| local.port() != 0);
            told.push((sent, is_bound));
        }
        world.sleep(ms(1_000)).await;
        assert!(host.thaw());
        world.sleep(ms(1_000)).await;
        io::Result::Ok((told, heard.with(|it, _| it.received.len())))
    });
    let (told, heard) = told.unwrap();
    assert_eq!(told[1], told[0]);
    let (sent, is_bound) = &told[0];
    assert_eq!((&sent[0], is_bound), (&Ok(4), &true));
    assert!(sent[1..].iter().all(Result::is_err), "{sent:?}");
    assert_eq!(heard, 2, "what is fine arrives, once each");
}

/// A socket that is closed while its machine is frozen has sent what it was given before, and gives its port back.
#[test]
fn a_frozen_machine_closes_a_socket_behind_what_that_has_sent() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let (ice, sink) = (world.host("ice"), world.host("sink"));
        let none: Option<Name> = None;
        let heard = endpoint(&sink, Some(("sink", 9)), none, Datagrams::default).await?;
        let to = sink.getaddrinfo(("sink", 9)).await?[0];
        assert!(operator.host("ice").freeze());
        for text in [b"one", b"two"] {
            let socket = Socket::open(&ice, SocketKind::Datagram, Family::V4)?;
            socket.bind(([0; 4], 5_000).into())?;
            socket.send_to(text, to).await?;
        }
        world.sleep(ms(1_000)).await;
        assert!(operator.host("ice").thaw());
        world.sleep(ms(1_000)).await;
        io::Result::Ok(heard.with(|it, _| {
            let told = it.received.iter().map(|(text, from, _)| (text.clone(), from.port()));
            told.collect::<Vec<_>>()
        }))
    };
    let heard = simulation.run(run).unwrap();
    assert_eq!(heard, [(b"one".to_vec(), 5_000), (b"two".to_vec(), 5_000)]);
}

/// A datagram that a machine has sent to itself is in its memory: it is there when the machine goes on, to a group
/// too, and gone when it crashes. One from elsewhere is lost.
#[test]
fn datagrams_to_a_frozen_machine_itself_are_not_lost() {
    let simulation = Sim::new(1).trace(true).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let received = simulation.run(async move {
        let (ice, other) = (world.host("ice"), world.host("other"));
        let group = [239, 1, 2, 3].into();
        let heard = ice.datagram().local(("0.0.0.0", 9)).bind(Datagrams::default).await?;
        heard.transport().join_multicast(group, None)?;
        let none: Option<Name> = None;
        let own = endpoint(&ice, none, Some(("ice", 9)), Datagrams::default).await?;
        let local = ice.datagram().remote(("127.0.0.1", 9)).bind(Datagrams::default).await?;
        let calls = ice.datagram().local(("0.0.0.0", 0)).bind(Datagrams::default).await?;
        let foreign = endpoint(&other, none, Some(("ice", 9)), Datagrams::default).await?;
        let unheard = ice.datagram().remote(("127.0.0.1", 99)).bind(Datagrams::default).await?;
        world.sleep(ms(1_000)).await;
        let host = operator.host("ice");
        own.transport().send_to(b"one", None)?;
        foreign.transport().send_to(b"lost", None)?;
        local.transport().send_to(b"two", None)?;
        calls.transport().send_to(b"to all", Some((group, 9).into()))?;
        unheard.transport().send_to(b"to nobody", None)?;
        assert!(host.freeze());
        world.sleep(ms(999)).await;
        let early = heard.with(|it, _| it.received.len());
        world.sleep(ms(1)).await;
        assert!(host.thaw());
        world.sleep(ms(1_000)).await;
        let refused = unheard.with(|it, _| it.errors.len());
        own.transport().send_to(b"gone", None)?;
        assert!(host.freeze());
        world.sleep(ms(1)).await;
        assert!(host.crash() && host.start() && host.thaw());
        let ice = world.host("ice");
        let again = ice.datagram().local(("0.0.0.0", 9)).bind(Datagrams::default).await?;
        world.sleep(ms(1_000)).await;
        let all = heard.with(|it, _| {
            let told = it.received.iter().map(|(data, _, at)| (data.clone(), at.since_epoch()));
            told.collect::<Vec<_>>()
        });
        io::Result::Ok((early, refused, all, again.with(|it, _| it.received.len())))
    });
    let (early, refused, all, again) = received.unwrap();
    let texts: Vec<&[u8]> = all.iter().map(|(text, _)| text.as_slice()).collect();
    assert_eq!(texts, [&b"one"[..], b"two", b"to all"]);
    assert!(all.iter().all(|(_, at)| *at == ms(2_000)), "{all:?}");
    assert_eq!((early, refused, again), (0, 1, 0));
    // Each packet that was sent has an end.
    let log = simulation.log().expect("it was asked for");
    let count = |is_it: fn(Record) -> bool| log.entries().filter(|it| is_it(it.record)).count();
    let sent = count(|it| matches!(it, Record::Sent(_)));
    let down = |it| matches!(it, Record::Dropped(_, DropReason::HostDown));
    assert_eq!(count(down), 2, "one from elsewhere, and one to itself before the crash");
    let ended = |it| matches!(it, Record::Delivered(_) | Record::Dropped(..));
    assert_eq!(count(ended), sent);
}

/// What a machine sends to itself over TCP is not lost either: nothing has to be sent again, and nobody waits for that.
#[test]
fn segments_to_a_frozen_machine_itself_are_not_lost() {
    for (frozen, sent) in [(ms(100), 1), (ms(5_000), 2)] {
        let simulation = Sim::new(1).trace(true).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let run = async move {
            let ice = world.host("ice");
            let _server = ice.create_server(("ice", 7), || Recorder::saying(b"hi")).await?;
            let conn = ice.create_connection(("ice", 7), Recorder::default).await?;
            world.sleep(ms(1_000)).await;
            conn.with(|_, cx| cx.write(b"hello"));
            assert!(operator.host("ice").freeze());
            world.sleep(frozen).await;
            assert!(operator.host("ice").thaw());
            world.sleep(ms(1_000)).await;
            io::Result::Ok(conn.with(|it, _| (it.data.clone(), it.lost.is_some())))
        };
        assert_eq!(simulation.run(run).unwrap(), (b"hi".to_vec(), false));
        let log = simulation.log().expect("it was asked for");
        let hello = |packet: PacketRecord| packet.kind == PacketKind::Data && packet.bytes == 5;
        let told = |is_it: fn(Record) -> Option<PacketRecord>| {
            let entries = log.entries().filter(|it| is_it(it.record).is_some_and(hello));
            entries.map(|it| it.time.since_epoch()).collect::<Vec<_>>()
        };
        let times = told(|it| if let Record::Sent(packet) = it { Some(packet) } else { None });
        assert_eq!(times.len(), sent, "a timer of its own came up meanwhile, or not: {times:?}");
        let arrivals = told(|it| if let Record::Delivered(it) = it { Some(it) } else { None });
        assert_eq!(arrivals[0], times[0] + frozen);
    }
}

/// What waits counts in the send buffer of its socket, and no more once it is sent.
#[test]
fn datagrams_that_wait_fill_the_send_buffer() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let sent = simulation.run(async move {
        let (ice, sink) = (world.host("ice"), world.host("sink"));
        let none: Option<Name> = None;
        let heard = endpoint(&sink, Some(("sink", 9)), none, Datagrams::default).await?;
        let bound = ice.datagram().remote(("sink", 9)).send_buffer(2_000);
        let talks = bound.bind(Datagrams::default).await?;
        operator.host("ice").freeze();
        for _ in 0..10 {
            talks.transport().send_to(&[0; 500], None)?;
        }
        let waits = talks.transport().write_buffer_size();
        operator.host("ice").thaw();
        world.sleep(ms(1_000)).await;
        let left = talks.transport().write_buffer_size();
        io::Result::Ok((waits, left, heard.with(|it, _| it.received.len())))
    });
    let (waits, left, heard) = sent.unwrap();
    assert!(
        waits >= 8 * 500,
        "{waits} bytes wait with the engine, as one datagram fills the buffer"
    );
    assert_eq!((left, heard), (0, 10));
}

/// Has a socket of a frozen machine connect, thaws the machine long after, and says how long the connect took from
/// then on.
async fn connect_late(
    world: &World,
    frozen: &HostOperator,
    socket: &mut Socket,
    addr: SocketAddr,
) -> io::Result<Duration> {
    let early = world.timeout(Duration::from_secs(200), socket.connect(addr)).await;
    assert!(early.is_err(), "nobody has heard of it");
    assert!(frozen.thaw());
    let began = world.time();
    socket.connect(addr).await?;
    Ok(world.time() - began)
}

/// A connect begins when the machine goes on: with one SYN, and its patience counts from then on.
#[test]
fn a_connect_of_a_frozen_machine_begins_when_it_goes_on() {
    let simulation = Sim::new(1).trace(true).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let (ice, server) = (world.host("ice"), world.host("server"));
        let _server = server.create_server(SERVER, Recorder::default).await?;
        let addr = ice.getaddrinfo(SERVER).await?[0];
        let mut socket = Socket::open(&ice, SocketKind::Stream, Family::V4)?;
        assert!(operator.host("ice").freeze());
        connect_late(&world, &operator.host("ice"), &mut socket, addr).await
    };
    assert_eq!(simulation.run(run).unwrap(), ms(2));
    let log = simulation.log().expect("it was asked for");
    let opens = |record| matches!(record, Record::Sent(PacketRecord { kind: PacketKind::Syn, .. }));
    assert_eq!(log.entries().filter(|entry| opens(entry.record)).count(), 1);
}

/// A timer of a connect that failed comes up for the next one of the same socket, and does not end that before its
/// first SYN.
#[test]
fn an_old_timer_does_not_end_a_connect_that_has_not_begun() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let run = async move {
        let (ice, server) = (world.host("ice"), world.host("server"));
        let addr = ice.getaddrinfo(SERVER).await?[0];
        let mut socket = Socket::open(&ice, SocketKind::Stream, Family::V4)?;
        let refused = socket.connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _server = server.create_server(SERVER, Recorder::default).await?;
        assert!(operator.host("ice").freeze());
        // The first one's SYN would have been repeated after 1 s.
        world.sleep(ms(2_000)).await;
        connect_late(&world, &operator.host("ice"), &mut socket, addr).await
    };
    assert_eq!(simulation.run(run).unwrap(), ms(2));
}
