//! E-01, E-12 to E-14: sockets as values, and transports made of them.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;

use sim_core::driver::{Family, SocketKind};
use sim_core::{Conn, Loop, Socket, TaskError, World};
use tests::recorder::{Log, Recorder};
use tests::{both_bare_loops, both_loops};

use crate::serving::{PLACE, listen_by_hand};

/// A socket that listens at [`PLACE`].
async fn listener(world: &World) -> io::Result<Socket> {
    listen_by_hand(&world.host("server"), PLACE.0, 8).await
}

/// A connection to a [`listener`] and the accepted socket.
async fn accepted(world: &World, log: &Log) -> io::Result<(Conn<Recorder>, Socket)> {
    let mut listener = listener(world).await?;
    let conn = world.host("client").create_connection(PLACE, || Recorder::new(log)).await?;
    let (socket, peer) = listener.accept().await?;
    assert_eq!(Some(peer), conn.transport().sockname());
    Ok((conn, socket))
}

/// A connected socket of the host "client".
async fn connected(world: &World) -> io::Result<Socket> {
    let lp = world.host("client");
    let mut socket = Socket::open(&lp, SocketKind::Stream, Family::V4)?;
    socket.connect(world.host("server").getaddrinfo(PLACE).await?[0]).await?;
    Ok(socket)
}

fn quiet() -> Recorder {
    Recorder::new(&Log::new())
}

#[track_caller]
fn invalid<T>(outcome: io::Result<T>) {
    let Err(error) = outcome else {
        panic!("it was taken");
    };
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
}

both_loops! {
    /// E-01, E-13: a socket and a local address contradict each other, and so does a datagram socket;
    /// the socket is closed all the same.
    async fn contradictions_are_errors_and_close_the_socket(world: World) -> io::Result<()> {
        let log = Log::new();
        let (_conn, socket) = accepted(&world, &log).await?;
        let lp = world.host("server");
        invalid(lp.connection().local_addr(("server", 0)).adopt(socket, quiet).await);
        world.settle().await;
        assert_eq!(log.text(), "CM ER CL(None)");
        let datagrams = Socket::open(&lp, SocketKind::Datagram, Family::V4)?;
        invalid(lp.connection().adopt(datagrams, quiet).await);
        Ok(())
    }

    /// E-12: a socket that is not connected is adopted: it has no peer, and the first read fails.
    async fn an_unconnected_socket_fails_at_the_first_read(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("client"), Log::new());
        let socket = Socket::open(&lp, SocketKind::Stream, Family::V4)?;
        let conn = lp.connection().adopt(socket, || Recorder::new(&log)).await?;
        assert_eq!(conn.transport().peername(), None);
        let error = conn.closed().await.unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::NotConnected, Some(107)));
        assert_eq!(log.text(), "CM CL(NotConnected)");
        Ok(())
    }

    /// E-12: a write to it fails as well, without reading.
    async fn an_unconnected_socket_fails_at_the_first_write(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("client"), Log::new());
        let socket = Socket::open(&lp, SocketKind::Stream, Family::V4)?;
        let recorder = Recorder::new(&log).on_made(|cx| {
            cx.pause_reading();
            cx.write(b"nobody");
            assert!(cx.is_closing());
        });
        let conn = lp.connection().adopt(socket, || recorder).await?;
        assert_eq!(conn.closed().await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(log.text(), "CM CL(BrokenPipe)");
        Ok(())
    }

    /// E-14, C-03: an accepted socket is adopted: made, what it queued, the task, the data that was
    /// there before.
    async fn an_accepted_socket_is_adopted_in_the_usual_order(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let (conn, socket) = accepted(&world, &Log::new()).await?;
        conn.with(|_, cx| cx.write(b"early"));
        world.settle().await;
        let task = lp.create_task({
            let (lp, log) = (lp.clone(), log.clone());
            async move {
                let soon = log.clone();
                let recorder = Recorder::new(&log).on_made(move |cx| {
                    let soon = soon.clone();
                    cx.event_loop().call_soon(move || soon.push("soon"));
                });
                let adopted = lp.connection().adopt(socket, || recorder).await;
                log.push("task");
                adopted
            }
        });
        let adopted = task.await.unwrap()?;
        world.settle().await;
        assert_eq!(log.text(), "CM soon task DR");
        assert_eq!(adopted.transport().sockname(), conn.transport().peername());
        assert_eq!(adopted.transport().peername(), conn.transport().sockname());
        adopted.with(|recorder, cx| {
            assert_eq!(recorder.data, b"early");
            cx.write(b"answer");
            cx.close();
        });
        conn.closed().await?;
        assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"answer");
        Ok(())
    }

    /// E-12, E-14: a socket that was connected by hand is adopted; what came before is delivered,
    /// data and end.
    async fn a_connected_socket_is_adopted(world: World) -> io::Result<()> {
        let (log, mut listener) = (Log::new(), listener(&world).await?);
        let socket = connected(&world).await?;
        let (accepted, _) = listener.accept().await?;
        let eager = || quiet().on_made(|cx| { cx.write(b"all there is"); cx.close(); });
        let server = world.host("server").connection().adopt(accepted, eager).await?;
        server.closed().await?;
        world.settle().await;
        let adopting = world.host("client").connection().send_buffer(8_192).receive_buffer(8_192);
        let conn = adopting.adopt(socket, || Recorder::new(&log)).await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"all there is");
        Ok(())
    }

    /// E-13: a caller that is cancelled in the turn in which it gave its socket away closes it, once:
    /// made, lost, and the peer sees the end.
    async fn a_cancelled_adoption_closes_the_socket(world: World) -> io::Result<()> {
        let (lp, log, peer) = (world.host("server"), Log::new(), Log::new());
        let (_conn, socket) = accepted(&world, &peer).await?;
        let task = lp.create_task({
            let (lp, log) = (lp.clone(), log.clone());
            async move { lp.connection().adopt(socket, || Recorder::new(&log)).await.map(drop) }
        });
        let cancelled = lp.create_future();
        lp.call_soon({
            let cancelled = cancelled.clone();
            move || { cancelled.set_result(task.cancel()).unwrap(); drop(task); }
        });
        assert!(cancelled.await.unwrap());
        world.settle().await;
        assert_eq!((log.text().as_str(), peer.text().as_str()), ("CM CL(None)", "CM ER CL(None)"));
        Ok(())
    }

    /// E-13: a caller that is cancelled before its first step never gave the socket away; it is
    /// dropped with the task, and closed.
    async fn a_task_that_never_ran_closes_its_socket(world: World) -> io::Result<()> {
        let (lp, peer) = (world.host("server"), Log::new());
        let (_conn, socket) = accepted(&world, &peer).await?;
        let adopting = lp.clone();
        let task = lp.create_task(async move { adopting.connection().adopt(socket, quiet).await.map(drop) });
        task.cancel();
        assert!(matches!(task.await, Err(TaskError::Cancelled)));
        world.settle().await;
        assert_eq!(peer.text(), "CM ER CL(None)");
        Ok(())
    }

    /// E-13: a socket that is dropped is closed.
    async fn a_dropped_socket_is_closed(world: World) -> io::Result<()> {
        let peer = Log::new();
        let (_conn, socket) = accepted(&world, &peer).await?;
        assert_eq!(socket.peer_addr()?.ip(), world.host("client").getaddrinfo(("client", 0)).await?[0].ip());
        drop(socket);
        world.settle().await;
        assert_eq!(peer.text(), "CM ER CL(None)");
        Ok(())
    }

    /// E-14: `Socket::accept` waits, and a cancelled one loses no connection.
    async fn a_cancelled_accept_loses_nothing(world: World) -> io::Result<()> {
        let client = world.host("client");
        let mut socket = listener(&world).await?;
        for _ in 0..2 {
            assert!(poll_once(socket.accept()).await.is_none(), "nobody has connected yet");
            let conn = client.create_connection(PLACE, quiet).await?;
            world.settle().await;
            let (_, peer) = socket.accept().await?;
            assert_eq!(Some(peer), conn.transport().sockname());
        }
        Ok(())
    }

    /// E-06, E-11: connecting a socket by hand to a closed port is an error with the address.
    async fn a_refused_socket_names_the_address(world: World) -> io::Result<()> {
        let address = world.host("server").getaddrinfo(PLACE).await?[0];
        let error = connected(&world).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        Ok(())
    }
}

/// What one poll of a future gives; it is dropped then.
async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

both_loops! {
    contain;

    /// C-19, E-13: a factory that panics fails the adoption, and the socket is closed.
    async fn a_panic_in_the_factory_closes_the_socket(world: World) -> io::Result<()> {
        let (lp, peer) = (world.host("server"), Log::new());
        let (_conn, socket) = accepted(&world, &peer).await?;
        let adopting = lp.clone();
        let factory = || -> Recorder { panic!("no protocol") };
        let task = lp.create_task(async move { adopting.connection().adopt(socket, factory).await.map(drop) });
        assert!(matches!(task.await, Err(TaskError::Panicked(_))));
        world.settle().await;
        assert_eq!(peer.text(), "CM ER CL(None)");
        Ok(())
    }
}

/// A new socket of a loop.
fn socket(lp: &Loop) -> Socket {
    Socket::open(lp, SocketKind::Stream, Family::V4).unwrap()
}

both_bare_loops! {
    /// E-01: a socket is its own loop's; another one does not take it. A closed loop takes none, and
    /// a socket may outlive its loop.
    fn a_socket_is_its_own_loops(make: Make) {
        let (lp, other) = (make.new_loop(), make.new_loop());
        let (own, handle, foreign) = (socket(&lp), (*lp).clone(), socket(&other));
        let (adopter, late) = (handle.clone(), socket(&lp));
        lp.run_until_complete(async move {
            invalid(adopter.connection().adopt(foreign, quiet).await);
            adopter.connection().adopt(own, quiet).await.unwrap();
        })
        .unwrap();
        let survivor = socket(&lp);
        lp.close().unwrap();
        let error = other.run_until_complete(async move { handle.connection().adopt(late, quiet).await.unwrap_err() });
        assert!(error.unwrap().to_string().contains("closed"));
        drop(lp);
        drop(survivor);
    }

    /// E-11: a loop that is closed closes the sockets that wait, and whoever awaits one is told.
    fn a_closed_loop_closes_sockets_that_wait(make: Make) {
        let (lp, other) = (make.new_loop(), make.new_loop());
        let mut listener = socket(&lp);
        listener.bind(([127, 0, 0, 1], 0).into()).unwrap();
        listener.listen(1).unwrap();
        let waiting = lp.create_task(async move { listener.accept().await.map(drop) });
        let pass = (*lp).clone();
        lp.run_until_complete(async move { pass.sleep(std::time::Duration::ZERO).await }).unwrap();
        assert!(!waiting.done());
        lp.close().unwrap();
        let late = socket(&other);
        late.bind(([127, 0, 0, 1], 0).into()).unwrap();
        late.listen(1).unwrap();
        other.close().unwrap();
        drop((waiting, late, lp, other));
    }
}
