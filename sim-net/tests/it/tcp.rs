//! Connections between hosts.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind, SocketOption};
use sim_core::{Conn, Failure, Socket, Time, World};
use sim_net::{Effect, LinkRule, PacketKind, Partition, Record, Report, Sim};

use crate::protocols::{Echo, Recorder, ms};

const SERVER: (&str, u16) = ("server", 7000);

/// Runs a scenario with seed 1 and hands its value out.
#[track_caller]
fn run<F, R, T>(scenario: F) -> T
where
    F: FnOnce(World) -> R,
    R: Future<Output = io::Result<T>> + 'static,
    T: 'static,
{
    Sim::new(1).run(scenario).unwrap()
}

/// The server's ends, in the order in which they were accepted.
type Accepted = Rc<RefCell<Vec<Conn<Recorder>>>>;

async fn accept_all(world: &World, keep_open: bool) -> io::Result<(sim_core::Server, Accepted)> {
    struct Keeper(Accepted, Recorder);
    impl sim_core::Protocol for Keeper {
        fn connection_made(&mut self, cx: &mut sim_core::Cx<'_, Self>) {
            let recorder = std::mem::take(&mut self.1);
            self.0.borrow_mut().push(cx.set_protocol(recorder));
        }
        fn data_received(&mut self, _: &mut sim_core::Cx<'_, Self>, _: &[u8]) {}
    }
    let accepted = Accepted::default();
    let list = accepted.clone();
    let server = world
        .host("server")
        .create_server(SERVER, move || {
            Keeper(list.clone(), Recorder { keep_open, ..Recorder::default() })
        })
        .await?;
    Ok((server, accepted))
}

/// The client is connected after one round trip (L-02).
#[test]
fn connecting_takes_one_round_trip() {
    let at = run(|world| async move {
        let (_server, _) = accept_all(&world, false).await?;
        let client = world.host("client");
        client.create_connection(SERVER, Recorder::default).await?;
        Ok(client.time())
    });
    assert_eq!(at.since_epoch(), ms(2));
}

/// E-15: a refused port answers after one round trip (L-01).
#[test]
fn a_closed_port_refuses_after_one_round_trip() {
    let (error, at) = run(|world| async move {
        let client = world.host("client");
        world.host("server");
        let error = client.create_connection(SERVER, Recorder::default).await.err();
        Ok((error.unwrap(), client.time()))
    });
    assert_eq!(at.since_epoch(), ms(2));
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

/// The ladder of SYNs (L-03).
#[test]
fn an_address_without_a_host_times_out_after_131_seconds() {
    let (error, at) = run(|world| async move {
        let client = world.host("client");
        let error = client.create_connection(("10.0.0.99", 1), Recorder::default).await.err();
        Ok((error.unwrap(), client.time()))
    });
    assert_eq!((error.kind(), at.since_epoch().as_secs()), (io::ErrorKind::TimedOut, 131));
}

/// As in L-10.
#[test]
fn an_address_off_the_network_is_unreachable_at_once() {
    let (error, at) = run(|world| async move {
        let client = world.host("client");
        let error = client.create_connection(("192.0.2.1", 1), Recorder::default).await.err();
        Ok((error.unwrap(), client.time()))
    });
    assert_eq!((error.kind(), at), (io::ErrorKind::NetworkUnreachable, Time::ZERO));
}

#[test]
fn an_unknown_name_says_so() {
    let error = run(|world| async move {
        let client = world.host("client");
        Ok(client.create_connection(("nowhere", 1), Recorder::default).await.err().unwrap())
    });
    assert!(error.to_string().contains("\"nowhere\""), "{error}");
}

#[test]
fn an_echo_takes_a_round_trip_and_loopback_twenty_microseconds() {
    for (host, path, expected) in
        [("client", "server", ms(2)), ("server", "localhost", Duration::from_micros(40))]
    {
        let took = run(move |world| async move {
            let server = world.host("server");
            let _listening = server.create_server(("0.0.0.0", 7000), || Echo).await?;
            let client = world.host(host);
            let conn = client.create_connection((path, 7000), Recorder::default).await?;
            let began = client.time();
            conn.with(|_, cx| cx.write(b"ping"));
            client.sleep(ms(100)).await;
            Ok(conn.with(|recorder, _| recorder.arrivals[0]) - began)
        });
        assert_eq!(took, expected);
    }
}

/// C-30: everything arrives, in order, however large.
#[test]
fn a_megabyte_both_ways_arrives_whole() {
    let body: Vec<u8> = (0..1_000_000_u32).map(|i| (i * 7 + i / 251) as u8).collect();
    for latency in [ms(1)..ms(1) + Duration::from_nanos(1), ms(1)..ms(30)] {
        let sent = body.clone();
        let report = Sim::new(3).latency(latency).run(move |world| async move {
            let server = world.host("server");
            let _listening = server.create_server(SERVER, || Echo).await?;
            let conn = world
                .host("client")
                .create_connection(SERVER, move || Recorder::saying(&sent))
                .await?;
            world.host("client").sleep(Duration::from_secs(60)).await;
            conn.with(|_, cx| cx.write_eof());
            conn.closed().await?;
            io::Result::Ok(conn.with(|recorder, _| std::mem::take(&mut recorder.data)))
        });
        assert!(report.unwrap() == body);
    }
}

/// C-43, C-47: half-close and end of stream.
#[test]
fn an_end_of_stream_arrives_after_all_data() {
    let (data, ended, lost) = run(|world| async move {
        let (_server, accepted) = accept_all(&world, false).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, || Recorder::saying(b"bye")).await?;
        conn.transport().write_eof();
        conn.closed().await?;
        let server = accepted.borrow()[0].clone();
        Ok(server.with(|it, _| (it.data.clone(), it.ended, it.lost.is_some())))
    });
    assert_eq!((data.as_slice(), ended, lost), (&b"bye"[..], true, true));
}

/// C-77, C-34: an abort is a reset (ruling 9).
#[test]
fn abort_resets_the_peer() {
    let (own, peer, data) = run(|world| async move {
        let (_server, accepted) = accept_all(&world, false).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, || Recorder::saying(b"last words")).await?;
        client.sleep(ms(5)).await;
        conn.transport().abort();
        client.sleep(ms(5)).await;
        let server = accepted.borrow()[0].clone();
        let own = conn.with(|it, _| it.errno());
        Ok((own, server.with(|it, _| it.errno()), server.with(|it, _| it.data.clone())))
    });
    assert_eq!((own, peer, data.as_slice()), (None, Some(104), &b"last words"[..]));
}

/// The kernel of a closing host resets when data was not read (L-51).
#[test]
fn close_with_unread_data_resets() {
    let peer = run(|world| async move {
        let (_server, accepted) = accept_all(&world, false).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        client.sleep(ms(5)).await;
        let server = accepted.borrow()[0].clone();
        server.transport().pause_reading();
        conn.with(|_, cx| cx.write(b"unread"));
        client.sleep(ms(5)).await;
        server.transport().close();
        client.sleep(ms(5)).await;
        Ok(conn.with(|it, _| it.errno()))
    });
    assert_eq!(peer, Some(104));
}

/// K-02, C-41: a paused reader does not learn of a reset until it resumes.
#[test]
fn a_reset_is_found_when_reading_resumes() {
    let (before, after, data) = run(|world| async move {
        let (_server, accepted) = accept_all(&world, false).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        client.sleep(ms(5)).await;
        let server = accepted.borrow()[0].clone();
        server.transport().pause_reading();
        conn.with(|_, cx| cx.write(b"before"));
        client.sleep(ms(5)).await;
        conn.transport().abort();
        client.sleep(ms(5)).await;
        let before = server.with(|it, _| it.lost.is_some());
        server.transport().resume_reading();
        client.sleep(ms(5)).await;
        Ok((before, server.with(|it, _| it.errno()), server.with(|it, _| it.data.clone())))
    });
    assert_eq!((before, after, data.as_slice()), (false, Some(104), &b"before"[..]));
}

/// E-25: what nobody accepted is reset (L-61).
#[test]
fn connections_that_nobody_accepted_are_reset_when_the_listener_closes() {
    let (connected, lost) = run(|world| async move {
        let server = world.host("server");
        let listening = server.create_server(SERVER, || Echo).await?;
        server.call_soon({
            let server = server.clone();
            move || server.spend(ms(500))
        });
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        let connected = client.time().since_epoch();
        client.sleep(ms(10)).await;
        listening.close();
        conn.closed().await.unwrap_err();
        Ok((connected, conn.with(|it, _| (it.errno(), it.lost_at.since_epoch()))))
    });
    assert_eq!((connected, lost), (ms(2), (Some(104), ms(13))));
}

/// E-19: a server that does not serve yet refuses.
#[test]
fn a_server_that_does_not_serve_yet_refuses() {
    let kind = run(|world| async move {
        let server = world.host("server");
        let idle = server.server().start_serving(false).bind(SERVER, || Echo).await?;
        let client = world.host("client");
        let error = client.create_connection(SERVER, Recorder::default).await.err().unwrap();
        idle.close();
        Ok(error.kind())
    });
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
}

/// E-17, E-18: the address is free again at once, because servers reuse addresses.
#[test]
fn a_port_is_bound_once_and_again_after_its_server_closed() {
    let kind = run(|world| async move {
        let server = world.host("server");
        let first = server.create_server(SERVER, || Echo).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, || Recorder::saying(b"x")).await?;
        client.sleep(ms(10)).await;
        let kind = server.create_server(SERVER, || Echo).await.err().unwrap().kind();
        first.close();
        let _second = server.create_server(SERVER, || Echo).await?;
        conn.transport().close();
        client.sleep(ms(10)).await;
        Ok(kind)
    });
    assert_eq!(kind, io::ErrorKind::AddrInUse);
}

#[test]
fn wildcard_host_and_ipv6_addresses_can_all_be_reached() {
    for (bind, connect) in [
        ("0.0.0.0", "server"),
        ("server", "server"),
        ("::", "ip6-server"),
        ("ip6-server", "ip6-server"),
    ] {
        let (peer, name) = run(move |world| async move {
            let server = world.host("server");
            let listening = server.create_server((bind, 0), || Echo).await?;
            let port = listening.sockets()[0].port();
            assert!((32_768..61_000).contains(&port));
            let client = world.host("client");
            let conn = client.create_connection((connect, port), Recorder::default).await?;
            Ok((conn.transport().peername().unwrap(), conn.transport().sockname().unwrap()))
        });
        assert_eq!(peer.is_ipv6(), connect.starts_with("ip6"));
        let own: std::net::IpAddr =
            if peer.is_ipv6() { "fd00::2" } else { "10.0.0.2" }.parse().unwrap();
        assert_eq!(name.ip(), own);
    }
}

/// Backlog 2 lets three wait; the rest are dropped and try again a second later (L-07).
#[test]
fn one_more_than_the_backlog_may_wait() {
    let connected = run(|world| async move {
        let server = world.host("server");
        let listening = server.server().backlog(2).bind(SERVER, || Echo).await?;
        // The server's processor is busy, so nothing is accepted meanwhile.
        server.call_soon({
            let server = server.clone();
            move || server.spend(Duration::from_millis(500))
        });
        let connected = Rc::new(RefCell::new(Vec::new()));
        for index in 0..5 {
            let client = world.host(&format!("client{index}"));
            let (list, task_client) = (connected.clone(), client.clone());
            client.create_task(async move {
                let conn = task_client.create_connection(SERVER, Recorder::default).await;
                list.borrow_mut().push(task_client.time().since_epoch());
                std::mem::forget(conn);
            });
        }
        server.sleep(Duration::from_secs(3)).await;
        drop(listening);
        let connected = connected.borrow().clone();
        Ok(connected)
    });
    let at_once = connected.iter().filter(|&&at| at == ms(2)).count();
    let later = connected.iter().filter(|&&at| at == ms(1_002)).count();
    assert_eq!((at_once, later), (3, 2), "{connected:?}");
}

/// A server that closed first remembers the connection for a minute. A client that connects again from
/// the same port is let in at once: its first number is a higher one (RFC 6528), or, where that is just
/// about to wrap, the time that its SYN tells is a later one (RFC 6191).
#[test]
fn a_client_may_use_its_port_again_while_the_server_is_in_time_wait() {
    let took = |seed| {
        let connects_again = |world: World| async move {
            let closing = || {
                struct Closing;
                impl sim_core::Protocol for Closing {
                    fn data_received(&mut self, cx: &mut sim_core::Cx<'_, Self>, data: &[u8]) {
                        if data.ends_with(b".") {
                            cx.close();
                        }
                    }
                }
                Closing
            };
            let _server = world.host("server").create_server(SERVER, closing).await?;
            let client = world.host("client");
            let mut times = Vec::new();
            for bytes in [0, 10_000, 200_000, 10, 0] {
                let began = client.time();
                let local = client.connection().local_addr(("client", 5_000));
                let conn = local.connect(SERVER, Recorder::default).await?;
                times.push(client.time() - began);
                conn.transport().write(&vec![b' '; bytes]);
                conn.transport().write(b".");
                conn.closed().await?;
                client.sleep(ms(10)).await;
            }
            io::Result::Ok(times)
        };
        Sim::new(seed).run(connects_again).unwrap()
    };
    let times: Vec<Duration> = (0..50).flat_map(took).collect();
    assert_eq!(times, [ms(2); 250]);
}

/// L-112: a loss early in more segments than a receiver keeps beyond a gap delays the stream, and no
/// more.
#[test]
fn a_gap_below_more_than_the_receiver_keeps_is_filled() {
    const LENGTH: usize = 3_000_000;
    let link: sim_net::Link = "latency=50ms,mtu=128,loss=packets(14000)".parse().unwrap();
    let received = Sim::new(1).link(link).run(|world| async move {
        let received = world.host("server").create_future();
        let told = received.clone();
        let listening = world.host("server").server().receive_buffer(16 << 20);
        let _listening = listening.bind(SERVER, move || Counter(0, told.clone())).await?;
        let client = world.host("client");
        let conn =
            client.connection().send_buffer(16 << 20).connect(SERVER, Recorder::default).await?;
        conn.with(|_, cx| {
            cx.write(&vec![7; LENGTH]);
            cx.close();
        });
        let received = client.timeout(Duration::from_secs(600), received).await;
        io::Result::Ok(received.map(|received| received.unwrap()))
    });
    assert_eq!(received.unwrap().ok(), Some(LENGTH));

    struct Counter(usize, sim_core::LoopFuture<usize>);
    impl sim_core::Protocol for Counter {
        fn data_received(&mut self, _: &mut sim_core::Cx<'_, Self>, data: &[u8]) {
            self.0 += data.len();
        }
        fn connection_lost(&mut self, _: &mut sim_core::Cx<'_, Self>, _: Option<io::Error>) {
            self.1.set_result(self.0).ok();
        }
    }
}

/// A bounded network: a peer that does not read stops the writer (K-05).
#[test]
fn a_reader_that_pauses_stops_the_writer_and_nothing_is_lost() {
    let (unsent, received) = run(|world| async move {
        let (_server, accepted) = accept_all(&world, false).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        client.sleep(ms(5)).await;
        let server = accepted.borrow()[0].clone();
        server.transport().pause_reading();
        for _ in 0..64 {
            conn.with(|_, cx| cx.write(&[7; 16_384]));
        }
        client.sleep(Duration::from_secs(10)).await;
        let unsent = conn.transport().write_buffer_size();
        server.transport().resume_reading();
        client.sleep(Duration::from_secs(10)).await;
        assert_eq!(conn.transport().write_buffer_size(), 0);
        Ok((unsent, server.with(|it, _| it.data.len())))
    });
    assert_eq!(received, 64 * 16_384);
    assert!((780_000..880_000).contains(&unsent), "about 210 kB are in the network: {unsent}");
}

/// What a socket does that connects again, after a connect to a host three seconds away that it gave a second.
fn connects_again<R, T>(
    rejected: bool,
    again: impl FnOnce(World, Socket) -> R + 'static,
) -> Report<T>
where
    R: Future<Output = io::Result<T>> + 'static,
    T: 'static,
{
    let far: LinkRule = "client<->far: latency=3s".parse().expect("it is a rule");
    Sim::new(1).trace(true).link(far).run_with_links(move |world, links| async move {
        let (far, client) = (world.host("far"), world.host("client"));
        let _server = far.create_server(("far", 80), || Echo).await?;
        if rejected {
            links.partition(&Partition::one_way("client", "far").effect(Effect::Reject))?;
        }
        let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        socket.set_option(SocketOption::UserTimeout(Some(Duration::from_secs(1))))?;
        let error = socket.connect(([10, 0, 0, 1], 80).into()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        socket.set_option(SocketOption::UserTimeout(None))?;
        Ok::<_, Failure>(again(world, socket).await?)
    })
}

/// G-56: the answer to a connect that failed is nothing to the next one of the same socket: there is no such
/// connection, and a reset says so to whom it is about.
#[test]
fn a_late_answer_to_a_connect_that_failed_is_reset() {
    let report = connects_again(false, |world, mut socket| async move {
        let _server = world.host("near").create_server(("near", 80), || Echo).await?;
        socket.connect(([10, 0, 0, 3], 80).into()).await?;
        world.sleep(Duration::from_secs(10)).await;
        socket.send_all(b"to whom?").await?;
        socket.recv(100).await
    });
    let log = report.log.as_ref().expect("it was asked for");
    let resets = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) if packet.kind == PacketKind::Reset => Some((entry.host, entry.time)),
        _ => None,
    });
    // Of each SYN-ACK that comes, the first of them six seconds behind the SYN.
    let resets: Vec<_> = resets.collect();
    assert_eq!(resets.first(), Some(&(2, Time::ZERO + Duration::from_secs(6))), "{log}");
    assert_eq!(report.unwrap(), b"to whom?");
}

/// G-56: nor is what the network says of it.
#[test]
fn late_icmp_about_a_connect_that_failed_is_nobodys() {
    let report = connects_again(true, |_, mut socket| async move {
        let error = socket.connect(([10, 0, 0, 99], 80).into()).await.unwrap_err();
        Ok(error.kind())
    });
    assert_eq!(report.unwrap(), io::ErrorKind::TimedOut);
}

/// What 127.0.0.1 sends leaves no host: Linux refuses to (`EINVAL`). From `::1` it is sent, and nobody takes it.
#[test]
fn a_socket_at_a_loopback_address_reaches_its_own_host_alone() {
    let seen = run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let own = client.create_server(("", 7000), || Echo).await?;
        let _far = server.create_server(("", 7000), || Echo).await?;
        let mut seen = Vec::new();
        for (kind, family, to) in [
            (SocketKind::Stream, Family::V4, "10.0.0.1:7000"),
            (SocketKind::Datagram, Family::V4, "10.0.0.1:7000"),
            (SocketKind::Stream, Family::V6, "[fd00::1]:7000"),
            (SocketKind::Stream, Family::V4, "10.0.0.2:7000"),
            (SocketKind::Stream, Family::V6, "[fd00::2]:7000"),
        ] {
            let mut socket = Socket::open(&client, kind, family)?;
            let from = if family == Family::V4 { "127.0.0.1:0" } else { "[::1]:0" };
            socket.bind(from.parse().unwrap())?;
            let error = socket.connect(to.parse().unwrap()).await.err();
            seen.push(error.map(|error| error.kind()));
        }
        drop(own);
        Ok(seen)
    });
    let invalid = Some(io::ErrorKind::InvalidInput);
    assert_eq!(seen, [invalid, invalid, Some(io::ErrorKind::TimedOut), None, None]);
}

/// A connection whose handshake is not done goes with its listener, as on Linux: the SYN that comes again is
/// refused.
#[test]
fn a_listener_takes_its_half_open_connections_with_it() {
    let link: LinkRule = "server->client: loss=packets(1)".parse().unwrap();
    let report = Sim::new(1).link(link).run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let listener = server.create_server(SERVER, || Echo).await?;
        let _later = server.call_later(ms(500), move || listener.close());
        let error = client.create_connection(SERVER, Recorder::default).await.err();
        io::Result::Ok((error.map(|error| error.kind()), client.time()))
    });
    let (error, at) = report.unwrap();
    assert_eq!(error, Some(io::ErrorKind::ConnectionRefused));
    // The first refusal is lost as well, and the next SYN comes a second later.
    assert_eq!(at.since_epoch(), ms(2_002));
}

/// A write that waits for room goes on when the send buffer is made larger, though the peer reads nothing.
#[test]
fn a_larger_send_buffer_lets_a_write_go_on() {
    let (before, after) = run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.bind(server.getaddrinfo(SERVER).await?[0])?;
        listener.listen(1)?;
        let mut near = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        near.set_option(SocketOption::SendBuffer(4_096))?;
        near.connect(listener.local_addr()?).await?;
        let (near, _far) = (Rc::new(near), listener.accept().await?);
        let writes = Rc::clone(&near);
        let task = client.create_task(async move { writes.send_all(&[7; 200_000]).await });
        client.sleep(Duration::from_secs(10)).await;
        let before = task.done();
        near.set_option(SocketOption::SendBuffer(200_000))?;
        client.sleep(ms(1)).await;
        Ok((before, task.done()))
    });
    assert_eq!((before, after), (false, true));
}

/// A read into no room is done as soon as something waits, and takes none of it.
#[test]
fn a_read_of_nothing_takes_nothing() {
    let got = run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.bind(server.getaddrinfo(SERVER).await?[0])?;
        listener.listen(1)?;
        let mut near = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        near.connect(listener.local_addr()?).await?;
        let (far, _) = listener.accept().await?;
        far.send_all(b"hi").await?;
        let nothing = client.timeout(Duration::from_secs(9), near.recv(0)).await;
        assert_eq!(nothing.expect("something waits")?, b"");
        near.recv(100).await
    });
    assert_eq!(got, b"hi");
}
