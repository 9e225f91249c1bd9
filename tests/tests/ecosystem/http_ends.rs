//! How connections of hyper's end, on both loops.

use std::cell::Cell;
use std::convert::Infallible;
use std::error::Error as _;
use std::future::{Future, pending, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Context;
use std::time::Duration;

use scenarios::certificates::Authority;
use sim_core::hyper::hyper;
use sim_core::hyper::hyper::body::{Body as _, Incoming};
use sim_core::hyper::hyper::rt::Read;
use sim_core::hyper::hyper::rt::{ReadBuf, Write};
use sim_core::hyper::hyper::{Request, Response};
use sim_core::hyper::{HttpServer, IoProtocol, LoopIo, READ_LIMIT};
use sim_core::hyper::{http1_client, http2_client, service};
use sim_core::stream::{StreamReader, StreamWriter};
use sim_core::sync::Event;
use sim_core::{Cx, Protocol, testing};
use tests::both_loops;

use crate::http::{Failure, get, read, tell};

both_loops! {
    /// `drain` answers what has begun, over both versions, ends who is idle or has said nothing, and nobody is cut.
    async fn draining_answers_what_has_begun(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (begun, go) = (Event::new(), Event::new());
        let http = HttpServer::new(&server);
        let (says, waits) = (begun.clone(), go.clone());
        let waiting = service(move |_: Request<Incoming>| {
            says.set();
            let go = waits.clone();
            async move {
                go.wait().await;
                Ok::<_, Infallible>(Response::new("done".to_owned()))
            }
        });
        let listening = server.create_server(("server", 80), http.serving(waiting)).await?;
        let io = LoopIo::connect(&client, ("server", 80)).await?;
        let (mut first, first_ends) = http1_client(io).await?;
        let io = LoopIo::connect(&client, ("server", 80)).await?;
        let (mut second, second_ends) = http2_client(io).await?;
        let first = client.create_task(first.send_request(get("/")));
        begun.wait().await;
        begun.clear();
        let mut later = second.clone();
        let second = client.create_task(second.send_request(get("/")));
        begun.wait().await;
        let silent = LoopIo::connect(&client, ("server", 80)).await?;
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!(listening.connection_count(), 3);

        listening.close();
        http.drain();
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!(listening.connection_count(), 2, "who has said nothing is gone");
        go.set();
        assert_eq!(read(first.await??.into_body()).await?, b"done");
        assert_eq!(read(second.await??.into_body()).await?, b"done");
        listening.wait_closed().await;
        assert!(later.send_request(get("/")).await.is_err());
        first_ends.await??;
        second_ends.await??;
        drop(silent);
        Ok(())
    }

    /// A lost connection is an error for who asks, and ends the handlers of its requests.
    async fn a_reset_is_told(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (http, begun, ended) = (HttpServer::new(&server), Event::new(), Rc::new(Cell::new(0)));
        let (says, counter) = (begun.clone(), Rc::clone(&ended));
        let never = service(move |_: Request<Incoming>| {
            says.set();
            let counted = CountedDrop(Rc::clone(&counter));
            async move {
                let _counted = counted;
                pending::<Result<Response<String>, Infallible>>().await
            }
        });
        let listening = server.create_server(("server", 80), http.serving(never)).await?;
        let (mut first, first_ends) = http1_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let (mut second, second_ends) = http2_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let first = client.create_task(async move { first.send_request(get("/")).await.map(drop) });
        begun.wait().await;
        begun.clear();
        let second = client.create_task(async move { second.send_request(get("/")).await.map(drop) });
        begun.wait().await;
        assert_eq!(ended.get(), 0);
        listening.close();
        listening.abort_clients();
        assert!(first.await?.is_err());
        assert!(second.await?.is_err());
        drop((first_ends.await?, second_ends.await?));
        listening.wait_closed().await;
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!(ended.get(), 2, "a handler outlives its connection");
        Ok(())
    }

    /// A connection that is broken off on this side is an error for who reads a body that has no length, not its end.
    async fn an_abort_is_not_the_end_of_a_body(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let answer = |mut reader: StreamReader, writer: StreamWriter| async move {
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nbeginning");
            drop(reader.read_to_end().await);
            Ok::<_, Failure>(())
        };
        let _listening = server.start_server(("server", 80), answer).await?;
        let io = LoopIo::connect(&client, ("server", 80)).await?;
        let transport = io.transport().clone();
        let (mut sender, _connection) = http1_client(io).await?;
        let mut body = sender.send_request(get("/")).await?.into_body();
        let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.expect("it has begun")?;
        assert_eq!(frame.data_ref().map(|data| &data[..]), Some(&b"beginning"[..]));
        transport.abort();
        let error = read(body).await.expect_err("it looks complete");
        let cause = error.downcast_ref::<hyper::Error>().and_then(|error| error.source());
        let cause = cause.and_then(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        assert_eq!(cause, Some(io::ErrorKind::ConnectionAborted), "{error:?}");
        Ok(())
    }

    /// Dropping what hyper reads and writes closes the connection, after what was written.
    async fn dropping_closes(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (http, asked) = (HttpServer::new(&server), Event::new());
        let says = asked.clone();
        let saying = service(move |request| {
            says.set();
            tell(request)
        });
        let listening = server.create_server(("server", 80), http.serving(saying)).await?;
        let conn = client.create_connection(("server", 80), IoProtocol::new).await?;
        let io = LoopIo::new(&conn);
        io.transport().write(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n");
        drop(io);
        conn.closed().await?;
        let came = server.timeout(Duration::from_secs(5), asked.wait()).await;
        assert!(came.is_ok(), "what was written before is lost");
        listening.close();
        listening.wait_closed().await;
        Ok(())
    }
}

both_loops! {
    /// F-12, F-19: a client that is answered before it has sent its whole body hears the whole answer, and no reset: over
    /// TCP since the connection lingers, over TLS since its end waits for the client's.
    async fn an_answer_outlives_what_still_comes(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut authority = Authority::of(&server);
        let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
        let http = HttpServer::new(&server);
        let at_once = || service(|_: Request<Incoming>| async {
            Ok::<_, Infallible>(Response::new("no".repeat(ANSWER / 2)))
        });
        let plain = server.create_server(("server", 80), http.serving(at_once())).await?;
        let builder = server.server().tls(&acceptor);
        let sealed = builder.bind(("server", 443), http.serving(at_once())).await?;
        for port in [80, 443] {
            let connecting = client.connection();
            let connecting = if port == 443 { connecting.tls(&connector, "server") } else { connecting };
            let conn = connecting.connect(("server", port), Hears::default).await?;
            let head = format!("POST / HTTP/1.1\r\nhost: server\r\ncontent-length: {BODY}\r\n\r\n");
            conn.transport().write(head.as_bytes());
            conn.transport().write(&vec![7; BODY]);
            client.timeout(Duration::from_secs(20), conn.closed()).await??;
            let heard = conn.with(|it, _| std::mem::take(&mut it.0));
            let end = heard.windows(4).position(|it| it == b"\r\n\r\n").expect("there is a head");
            assert!(heard.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert_eq!(heard.len() - end - 4, ANSWER, "port {port}");
        }
        for listening in [plain, sealed] {
            listening.close();
            client.timeout(Duration::from_secs(20), listening.wait_closed()).await?;
        }
        Ok(())
    }
}

/// How much a client sends that nobody reads, and how long the answer is.
const BODY: usize = 4 << 20;
const ANSWER: usize = 600_000;

/// Keeps what it hears.
#[derive(Default)]
struct Hears(Vec<u8>);

impl Protocol for Hears {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.0.extend_from_slice(data);
    }
}

/// Counts how many were dropped.
struct CountedDrop(Rc<Cell<u32>>);

impl Drop for CountedDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// Reads into `room` bytes: what came, or `None` if there is nothing yet.
fn read_some(io: &mut LoopIo, room: usize) -> Option<io::Result<Vec<u8>>> {
    let mut place = vec![0; room];
    let mut buf = ReadBuf::new(&mut place);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    match Pin::new(io).poll_read(&mut cx, buf.unfilled()) {
        std::task::Poll::Ready(result) => Some(result.map(|()| buf.filled().to_vec())),
        std::task::Poll::Pending => None,
    }
}

/// What came is read in pieces of any size; above the limit reading pauses, and goes on when all was read.
#[test]
fn the_limit_holds_the_peer_back() {
    let mut peer = testing::drive(IoProtocol::new());
    let mut io =
        LoopIo::new(&peer.transport().protocol::<IoProtocol>().expect("it is its protocol"));
    assert!(read_some(&mut io, 10).is_none());
    peer.feed(&vec![1; READ_LIMIT]);
    assert!(peer.transport().is_reading());
    peer.feed(&[2]);
    assert!(!peer.transport().is_reading());
    assert_eq!(read_some(&mut io, 10).unwrap().unwrap(), [1; 10]);
    assert_eq!(read_some(&mut io, READ_LIMIT - 10).unwrap().unwrap().len(), READ_LIMIT - 10);
    assert!(!peer.transport().is_reading());
    assert_eq!(read_some(&mut io, 10).unwrap().unwrap(), [2]);
    assert!(peer.transport().is_reading());
    assert!(read_some(&mut io, 10).is_none());
    peer.feed(b"last");
    peer.feed_eof();
    assert_eq!(read_some(&mut io, 10).unwrap().unwrap(), b"last");
    assert_eq!(read_some(&mut io, 10).unwrap().unwrap(), b"");
}

/// Above the high-water mark there is no room for more; after the end of the half there never is.
#[test]
fn writes_wait_for_room_and_end() {
    let mut peer = testing::drive_with_window(IoProtocol::new(), 0);
    let mut io =
        LoopIo::new(&peer.transport().protocol::<IoProtocol>().expect("it is its protocol"));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let high = peer.transport().write_buffer_limits().high;
    let whole = vec![7; high + 1];
    assert!(Pin::new(&mut io).poll_write(&mut cx, &whole).is_ready());
    assert!(Pin::new(&mut io).poll_write(&mut cx, b"more").is_pending());
    peer.take(high + 1);
    assert!(Pin::new(&mut io).poll_write(&mut cx, b"more").is_ready());
    assert!(Pin::new(&mut io).poll_shutdown(&mut cx).is_ready());
    let late = pin!(poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"late")));
    let std::task::Poll::Ready(Err(error)) = late.poll(&mut cx) else {
        panic!("a write after the end is taken");
    };
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

/// Of one write no more is taken than goes a little above the high-water mark, whatever its pieces; nothing is lost by it.
#[test]
fn a_write_is_taken_as_far_as_there_is_room() {
    const LITTLE: usize = 1 << 16;
    let mut peer = testing::drive_with_window(IoProtocol::new(), 0);
    let mut io =
        LoopIo::new(&peer.transport().protocol::<IoProtocol>().expect("it is its protocol"));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let most = peer.transport().write_buffer_limits().high + LITTLE;
    let body: Vec<u8> = (0..1_000_000_u32).map(|place| (place % 251) as u8).collect();
    let (mut sent, mut writes) = (0, 0);
    while sent < body.len() {
        // A head, a large piece, and a tail; every other time in one piece.
        let left = &body[sent..];
        let (head, rest) = left.split_at(left.len().min(10));
        let (middle, tail) = rest.split_at(rest.len().saturating_sub(10));
        let pieces = [IoSlice::new(head), IoSlice::new(middle), IoSlice::new(tail)];
        writes += 1;
        let taken = if writes % 2 == 0 {
            Pin::new(&mut io).poll_write_vectored(&mut cx, &pieces)
        } else {
            Pin::new(&mut io).poll_write(&mut cx, left)
        };
        let waits = peer.transport().write_buffer_size();
        assert!(waits <= most, "{waits} bytes wait");
        match taken {
            std::task::Poll::Ready(bytes) => sent += bytes.unwrap(),
            std::task::Poll::Pending => peer.take(LITTLE + 1),
        }
    }
    peer.take(body.len());
    assert!(peer.take_written() == body);
}

/// A connection has one reader and one writer.
#[test]
#[should_panic(expected = "the connection has a reader and a writer already")]
fn a_connection_is_taken_once() {
    let peer = testing::drive(IoProtocol::new());
    let conn = peer.transport().protocol::<IoProtocol>().expect("it is its protocol");
    let _first = LoopIo::new(&conn);
    let _second = LoopIo::new(&conn);
}
