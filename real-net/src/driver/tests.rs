//! The driver alone, without an engine: what each call gives on Linux.

use super::*;

use std::net::Ipv4Addr;
use std::thread;

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
const LISTENER: Token = Token(1);
const CLIENT: Token = Token(2);
const SERVER: Token = Token(3);

/// A driver, and the readiness seen so far.
struct Bench {
    driver: MioDriver,
    seen: Vec<Readiness>,
}

/// A connected pair of registered streams.
struct Pair {
    bench: Bench,
    client: Source,
    server: Source,
}

impl Bench {
    fn new() -> Self {
        Self { driver: MioDriver::new().unwrap(), seen: Vec::new() }
    }

    /// Tries `call` until it does not give `WouldBlock`, waiting for readiness in between.
    #[track_caller]
    fn until<T>(&mut self, mut call: impl FnMut(&MioDriver) -> io::Result<T>) -> io::Result<T> {
        loop {
            match call(&self.driver) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                outcome => return outcome,
            }
        }
    }

    /// Waits until the selector or the alarm says something.
    #[track_caller]
    fn wait(&mut self) {
        self.driver.wait(Next::Never, &mut self.seen).unwrap();
    }

    /// What was said about `token`, merged, since the last call.
    fn take_seen(&mut self, token: Token) -> Readiness {
        let nothing = Readiness { token, readable: false, writable: false, read_closed: false };
        let (about, rest) = self.seen.drain(..).partition(|event: &Readiness| event.token == token);
        self.seen = rest;
        Vec::into_iter(about).fold(nothing, |all, one: Readiness| Readiness {
            token,
            readable: all.readable | one.readable,
            writable: all.writable | one.writable,
            read_closed: all.read_closed | one.read_closed,
        })
    }

    fn listen(&self) -> (Source, SocketAddr) {
        let listener = self.driver.open(SocketKind::Stream, Family::V4).unwrap();
        self.driver.bind(listener, ANY_PORT).unwrap();
        self.driver.listen(listener, 8).unwrap();
        self.driver.register(listener, LISTENER).unwrap();
        (listener, self.driver.local_addr(listener).unwrap())
    }

    fn connect(&self, remote: SocketAddr) -> Source {
        let client = self.driver.open(SocketKind::Stream, Family::V4).unwrap();
        self.driver.connect(client, remote).unwrap();
        self.driver.register(client, CLIENT).unwrap();
        client
    }

    fn datagram(&self, token: Token) -> (Source, SocketAddr) {
        let source = self.driver.open(SocketKind::Datagram, Family::V4).unwrap();
        self.driver.bind(source, ANY_PORT).unwrap();
        self.driver.register(source, token).unwrap();
        (source, self.driver.local_addr(source).unwrap())
    }
}

impl Pair {
    #[track_caller]
    fn new() -> Self {
        let mut bench = Bench::new();
        let (listener, address) = bench.listen();
        let client = bench.connect(address);
        bench.until(|driver| driver.finish_connect(client)).unwrap();
        let (server, peer) = bench.until(|driver| driver.accept(listener)).unwrap();
        assert_eq!(peer, bench.driver.local_addr(client).unwrap());
        bench.driver.register(server, SERVER).unwrap();
        bench.driver.close(listener);
        Self { bench, client, server }
    }

    #[track_caller]
    fn read(&mut self, source: Source) -> io::Result<Vec<u8>> {
        self.bench.until(|driver| {
            let mut buf = [0; 64];
            let length = driver.read(source, &mut buf)?;
            Ok(buf[..length].to_vec())
        })
    }
}

#[test]
fn bytes_cross_a_connection_both_ways_and_end_at_the_shutdown() {
    let mut pair = Pair::new();
    let (client, server) = (pair.client, pair.server);
    assert_eq!(pair.bench.driver.write(client, b"ping").unwrap(), 4);
    assert_eq!(pair.read(server).unwrap(), b"ping");
    let pieces = [IoSlice::new(b"po"), IoSlice::new(b""), IoSlice::new(b"ng")];
    assert_eq!(pair.bench.driver.write_vectored(server, &pieces).unwrap(), 4);
    assert_eq!(pair.read(client).unwrap(), b"pong");
    pair.bench.driver.shutdown_write(client).unwrap();
    assert_eq!(pair.read(server).unwrap(), b"");
    assert_eq!(pair.bench.driver.write(server, b"half").unwrap(), 4);
    assert_eq!(pair.read(client).unwrap(), b"half");
}

/// C-18: `TCP_NODELAY` is set on both ends of a stream.
#[test]
fn both_ends_know_their_addresses_and_send_without_delay() {
    let pair = Pair::new();
    let driver = &pair.bench.driver;
    let (client, server) = (pair.client, pair.server);
    assert_eq!(driver.local_addr(client).unwrap(), driver.peer_addr(server).unwrap());
    assert_eq!(driver.peer_addr(client).unwrap(), driver.local_addr(server).unwrap());
    for source in [client, server] {
        driver
            .with(source, |socket| {
                assert!(socket.tcp_nodelay()? && socket.nonblocking()?);
                let flags = rustix::io::fcntl_getfd(socket)?;
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn data_and_end_in_one_event_are_flagged_together() {
    let mut pair = Pair::new();
    let (client, server) = (pair.client, pair.server);
    while !pair.bench.take_seen(SERVER).writable {
        pair.bench.wait();
    }
    pair.bench.driver.write(client, b"last words").unwrap();
    pair.bench.driver.close(client);
    let mut seen = pair.bench.take_seen(SERVER);
    while !seen.read_closed {
        pair.bench.wait();
        seen = pair.bench.take_seen(SERVER);
    }
    assert!(seen.readable);
    assert_eq!(pair.read(server).unwrap(), b"last words");
    assert_eq!(pair.read(server).unwrap(), b"");
}

#[test]
fn reset_and_close_with_unread_data_are_both_resets_for_the_peer() {
    for close in [MioDriver::reset, MioDriver::close] {
        let mut pair = Pair::new();
        let (client, server) = (pair.client, pair.server);
        pair.bench.driver.write(server, b"unread").unwrap();
        while !pair.bench.take_seen(CLIENT).readable {
            pair.bench.wait();
        }
        close(&pair.bench.driver, client);
        while !pair.bench.take_seen(SERVER).read_closed {
            pair.bench.wait();
        }
        let error = pair.read(server).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn a_write_to_a_reset_connection_is_an_error_and_no_signal() {
    let mut pair = Pair::new();
    let (client, server) = (pair.client, pair.server);
    pair.bench.driver.reset(client);
    assert!(pair.read(server).is_err());
    let error = pair.bench.driver.write(server, b"too late").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::PIPE.raw_os_error()));
}

#[test]
fn a_full_peer_blocks_the_writer_until_it_reads() {
    let mut pair = Pair::new();
    let (client, server) = (pair.client, pair.server);
    let chunk = [7; 64 * 1_024];
    let mut sent = 0;
    let full = loop {
        match pair.bench.driver.write(client, &chunk) {
            Ok(length) => sent += length,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    pair.bench.take_seen(CLIENT);
    let mut received = 0;
    let mut buf = vec![0; pair.bench.driver.read_hint(server)];
    while received < sent {
        received += pair.bench.until(|driver| driver.read(server, &mut buf)).unwrap();
    }
    while !pair.bench.take_seen(CLIENT).writable {
        pair.bench.wait();
    }
    assert_eq!(received, sent);
}

#[test]
fn a_closed_port_refuses_with_the_kernels_code() {
    let mut bench = Bench::new();
    let (listener, address) = bench.listen();
    bench.driver.close(listener);
    let client = bench.connect(address);
    let error = bench.until(|driver| driver.finish_connect(client)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::CONNREFUSED.raw_os_error()));
}

#[test]
fn a_socket_that_never_connected_has_no_outcome_yet() {
    let mut bench = Bench::new();
    let idle = bench.driver.open(SocketKind::Stream, Family::V4).unwrap();
    bench.driver.register(idle, CLIENT).unwrap();
    // Linux reports it as hung up and writable at once: the spurious readiness.
    while !bench.take_seen(CLIENT).writable {
        bench.wait();
    }
    let error = bench.driver.finish_connect(idle).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    assert_eq!(bench.driver.peer_addr(idle).unwrap_err().kind(), io::ErrorKind::NotConnected);
}

#[test]
fn a_port_is_taken_once_unless_it_is_shared() {
    let driver = MioDriver::new().unwrap();
    let bound = |share| {
        let source = driver.open(SocketKind::Stream, Family::V4).unwrap();
        driver.set_option(source, SocketOption::ReusePort(share)).unwrap();
        source
    };
    let (first, second, other) = (bound(true), bound(true), bound(false));
    driver.bind(first, ANY_PORT).unwrap();
    driver.listen(first, 1).unwrap();
    let address = driver.local_addr(first).unwrap();
    driver.bind(second, address).unwrap();
    assert_eq!(driver.bind(other, address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
}

#[test]
fn accept_and_read_would_block_when_nothing_waits() {
    let bench = Bench::new();
    let (listener, _) = bench.listen();
    assert_eq!(bench.driver.accept(listener).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    let (datagram, _) = bench.datagram(CLIENT);
    let error = bench.driver.receive_from(datagram, &mut [0; 8]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn the_number_of_a_closed_socket_names_nothing_even_when_its_place_is_taken() {
    let driver = MioDriver::new().unwrap();
    let old = driver.open(SocketKind::Stream, Family::V4).unwrap();
    driver.close(old);
    let new = driver.open(SocketKind::Stream, Family::V4).unwrap();
    assert_ne!(old, new);
    let bad = Some(Errno::BADF.raw_os_error());
    assert_eq!(driver.local_addr(old).unwrap_err().raw_os_error(), bad);
    driver.close(old);
    driver.reset(old);
    driver.local_addr(new).unwrap();
}

#[test]
fn datagrams_keep_their_bounds_and_may_be_empty() {
    let mut bench = Bench::new();
    let (a, from) = bench.datagram(CLIENT);
    let (b, to) = bench.datagram(SERVER);
    for data in [&b"one"[..], b"", b"three"] {
        assert_eq!(bench.driver.send_to(a, data, Some(&to)).unwrap(), data.len());
        let received = bench
            .until(|driver| {
                let mut buf = [0; 16];
                let (length, sender) = driver.receive_from(b, &mut buf)?;
                Ok((buf[..length].to_vec(), sender))
            })
            .unwrap();
        assert_eq!(received, (data.to_vec(), from));
    }
}

#[test]
fn an_oversized_datagram_is_refused_with_the_kernels_code() {
    let bench = Bench::new();
    let (a, to) = bench.datagram(CLIENT);
    let error = bench.driver.send_to(a, &vec![0; 70_000], Some(&to)).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(Errno::MSGSIZE.raw_os_error()));
}

/// Contract D-08.
#[test]
fn a_closed_port_is_told_to_a_connected_endpoint_once_for_each_datagram() {
    let mut bench = Bench::new();
    let (a, _) = bench.datagram(CLIENT);
    let (b, gone) = bench.datagram(SERVER);
    bench.driver.close(b);
    bench.driver.connect(a, gone).unwrap();
    for _ in 0..2 {
        bench.driver.send_to(a, b"anybody?", None).unwrap();
        let error = bench.until(|driver| driver.receive_from(a, &mut [0; 8])).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}

#[test]
fn ipv6_sockets_carry_ipv6_alone() {
    let driver = MioDriver::new().unwrap();
    // A machine without IPv6 has nothing to test here.
    if let Ok(six) = driver.open(SocketKind::Stream, Family::V6) {
        assert!(driver.with(six, Socket::only_v6).unwrap());
    }
}

#[test]
fn a_wait_is_over_no_sooner_than_its_time() {
    let driver = MioDriver::new().unwrap();
    let at = driver.now() + Duration::from_micros(1_300);
    while driver.now() < at {
        let before = driver.now();
        driver.wait(Next::At(at), &mut Vec::new()).unwrap();
        assert!(driver.now() >= at || driver.now() > before);
    }
    // A time that has passed, and none at all, only look.
    driver.wait(Next::At(Time::ZERO), &mut Vec::new()).unwrap();
    driver.wait(Next::Now, &mut Vec::new()).unwrap();
}

#[test]
fn a_wait_past_the_limit_fails_and_names_it() {
    let driver = MioDriver::new().unwrap();
    driver.set_limit(Some(Duration::from_millis(1)));
    let ended = loop {
        if let Err(error) = driver.wait(Next::Never, &mut Vec::new()) {
            break error;
        }
    };
    assert!(matches!(ended, RunError::Limit { name: "limit", .. }), "{ended}");
    assert_eq!(driver.timeout(Next::Now).unwrap_err().to_string(), ended.to_string());
}

#[test]
fn an_alarm_from_another_thread_ends_a_wait_without_a_limit() {
    let mut bench = Bench::new();
    for _ in 0..3 {
        let alarm = bench.driver.alarm();
        let ringer = thread::spawn(move || (0..100).for_each(|_| alarm.ring()));
        bench.wait();
        ringer.join().unwrap();
        // What rang after the wait is heard by another: no ring is lost, none is left.
        bench.driver.wait(Next::Now, &mut bench.seen).unwrap();
    }
    assert!(bench.seen.is_empty());
}

#[test]
fn random_streams_differ_even_under_one_name() {
    let driver = MioDriver::new().unwrap();
    assert_ne!(driver.rng("a").next_u64(), driver.rng("a").next_u64());
}

/// Contract E-12, C-95: a stream that was connected elsewhere.
#[test]
fn an_adopted_stream_is_a_transport_like_any_other() {
    use sim_core::{Cx, Protocol};

    struct Greeted(Vec<u8>);
    impl Protocol for Greeted {
        fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
            self.0.extend_from_slice(data);
            cx.write(b"bye");
            cx.close();
        }
    }

    let (lp, driver) = crate::new_loop_and_driver().unwrap();
    let listener = std::net::TcpListener::bind(ANY_PORT).unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    io::Write::write_all(&mut peer, b"hello").unwrap();
    let socket = sim_core::Socket::from_source(&lp, driver.adopt(stream).unwrap());
    let handle = lp.clone();
    let seen = lp
        .run_until_complete(async move {
            let conn = handle.connection().adopt(socket, || Greeted(Vec::new())).await?;
            conn.closed().await?;
            io::Result::Ok(conn.with(|greeted, _| greeted.0.clone()))
        })
        .unwrap()
        .unwrap();
    assert_eq!(seen, b"hello");
    let mut answer = Vec::new();
    io::Read::read_to_end(&mut peer, &mut answer).unwrap();
    assert_eq!(answer, b"bye");
}

/// Contract.
#[test]
fn no_timer_of_a_loop_fires_before_its_time() {
    let lp = crate::new_loop().unwrap();
    let handle = lp.clone();
    lp.run_until_complete(async move {
        for micros in [0, 1, 999, 1_000, 1_001, 2_500] {
            let due = handle.time() + Duration::from_micros(micros);
            handle.sleep(Duration::from_micros(micros)).await;
            assert!(handle.time() >= due);
        }
    })
    .unwrap();
}
