//! How connections of hyper's end, on both loops.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Context;
use std::time::Duration;

use sim_core::hyper::hyper::body::Incoming;
use sim_core::hyper::hyper::rt::Read;
use sim_core::hyper::hyper::rt::{ReadBuf, Write};
use sim_core::hyper::hyper::{Request, Response};
use sim_core::hyper::{HttpServer, IoProtocol, LoopIo, READ_LIMIT};
use sim_core::hyper::{http1_client, http2_client, service};
use sim_core::sync::Event;
use sim_core::testing;
use tests::both_loops;

use crate::http::{Failure, get, read, telling};

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
        let http = HttpServer::new(&server);
        let never = service(|_: Request<Incoming>| {
            std::future::pending::<Result<Response<String>, Infallible>>()
        });
        let listening = server.create_server(("server", 80), http.serving(never)).await?;
        let (mut first, first_ends) = http1_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let (mut second, second_ends) = http2_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let first = client.create_task(async move { first.send_request(get("/")).await.map(drop) });
        let second = client.create_task(async move { second.send_request(get("/")).await.map(drop) });
        world.sleep(Duration::from_millis(50)).await;
        listening.close();
        listening.abort_clients();
        assert!(first.await?.is_err());
        assert!(second.await?.is_err());
        drop((first_ends.await?, second_ends.await?));
        listening.wait_closed().await;
        Ok(())
    }

    /// Dropping what hyper reads and writes closes the connection, after what was written.
    async fn dropping_closes(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (_http, listening) = telling(&server).await?;
        let conn = client.create_connection(("server", 80), IoProtocol::new).await?;
        let io = LoopIo::new(&conn);
        io.transport().write(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n");
        drop(io);
        conn.closed().await?;
        listening.close();
        listening.wait_closed().await;
        Ok(())
    }
}

/// Reads into `room` bytes: what came, or `None` if there is nothing yet.
fn read_some(io: &mut LoopIo, room: usize) -> Option<std::io::Result<Vec<u8>>> {
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
    let late = pin!(std::future::poll_fn(|cx| Pin::new(&mut io).poll_write(cx, b"late")));
    let std::task::Poll::Ready(Err(error)) = late.poll(&mut cx) else {
        panic!("a write after the end is taken");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
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
