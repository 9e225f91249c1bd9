//! C.1: the life of a connection.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use sim_core::driver::{Family, SocketKind};
use sim_core::{Conn, Cx, Eof, Loop, Socket, Task, World};
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::connected::{
    ADDRESS, Reports, connect, connect_to_anyone, jam, log_soon, serve_one, text_of,
};

/// What ends a connection, from inside.
type End = fn(&mut Cx<'_, Recorder>);

/// Polls `future` once.
async fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) {
    let mut future = Some(future);
    poll_fn(|cx| {
        if let Some(future) = future.take() {
            assert!(future.poll(cx).is_pending(), "a connect takes its time");
        }
        Poll::Ready(())
    })
    .await;
}

/// Connects `subject` in a task of the host "client", which writes "TASK" into `log` when it has
/// the connection. The peer's data is there before the subject's protocol is made.
async fn connect_late(
    world: &World,
    log: &Log,
    subject: Recorder,
    peer: Recorder,
) -> io::Result<Conn<Recorder>> {
    let (_server, _accepted) = serve_one(world, peer).await?;
    let client = world.host("client");
    let (go, log, lp) = (client.create_future::<()>(), log.clone(), client.clone());
    let may_go = go.clone();
    let task: Task<io::Result<Conn<Recorder>>> = client.create_task(async move {
        let mut connecting = pin!(lp.create_connection(ADDRESS, || subject));
        poll_once(connecting.as_mut()).await;
        may_go.await.expect("the scenario completes it");
        let conn = connecting.await?;
        log.push("TASK");
        Ok(conn)
    });
    world.settle().await;
    go.set_result(()).expect("nobody else does");
    let conn = task.await??;
    world.settle().await;
    Ok(conn)
}

/// True if a socket could be bound where `transport` is: its descriptor is closed.
fn is_released(lp: &Loop, local: std::net::SocketAddr) -> bool {
    let socket = Socket::open(lp, SocketKind::Stream, Family::V4).expect("a descriptor is left");
    socket.bind(local).is_ok()
}

both_loops! {
    /// C-01, C-17: the factory is called once, after the network has connected; `connection_made`
    /// comes later, from the loop.
    async fn made_comes_from_the_loop(world: World) -> io::Result<()> {
        let log = Log::new();
        let (_server, _accepted) = serve_one(&world, Recorder::new(&Log::new())).await?;
        let (lp, seen) = (world.host("client"), log.clone());
        let client = lp.clone();
        let task = lp.create_task(async move {
            let factory = || {
                seen.push("FACTORY");
                let soon = seen.clone();
                client.call_soon(move || soon.push("SOON"));
                Recorder::new(&seen)
            };
            let connected = client.create_connection(ADDRESS, factory).await;
            seen.push("TASK");
            connected.map(drop)
        });
        task.await??;
        assert_eq!(log.text(), "FACTORY SOON CM TASK");
        Ok(())
    }

    /// C-17: a server calls its factory once for each accepted socket, and not before.
    async fn a_server_calls_its_factory_once_a_connection(world: World) -> io::Result<()> {
        let calls = Rc::new(Cell::new(0));
        let counted = Rc::clone(&calls);
        let factory = move || {
            counted.set(counted.get() + 1);
            Recorder::new(&Log::new())
        };
        let _server = world.host("server").create_server(ADDRESS, factory).await?;
        world.settle().await;
        for connections in 0..3 {
            assert_eq!(calls.get(), connections);
            let log = Log::new();
            world.host("client").create_connection(ADDRESS, || Recorder::new(&log)).await?;
            world.settle().await;
        }
        Ok(())
    }

    /// C-17: without a TCP connection the factory is not called.
    async fn a_refused_connect_makes_no_protocol(world: World) -> io::Result<()> {
        world.host("server");
        let client = world.host("client");
        let refused = client.create_connection(ADDRESS, || -> Recorder { unreachable!() }).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    }

    /// C-02, C-03, C-04, TR-01: made, what it queued, the task, then the data that was there before
    /// all of it.
    async fn the_task_resumes_between_made_and_the_first_data(world: World) -> io::Result<()> {
        let log = Log::new();
        let soon = log.clone();
        let subject = Recorder::new(&log).on_made(move |cx| log_soon(cx, &soon, "SOON"));
        let peer = Recorder::new(&Log::new()).on_made(|cx| {
            cx.write(b"early");
            cx.write_eof();
        });
        let conn = connect_late(&world, &log, subject, peer).await?;
        assert_eq!(log.text(), "CM SOON TASK DR ER CL(None)");
        assert_eq!(conn.with(|subject, _| subject.data.clone()), b"early");
        Ok(())
    }

    /// TR-03, C-02: on the accepting side data that was there before `connection_made` comes after
    /// it, in a later turn.
    async fn an_accepted_connection_is_made_before_its_data(world: World) -> io::Result<()> {
        let log = Log::new();
        let soon = log.clone();
        let peer = Recorder::new(&log).on_made(move |cx| log_soon(cx, &soon, "SOON"));
        let subject = Recorder::new(&Log::new()).on_made(|cx| {
            cx.write(b"at once");
            cx.close();
        });
        connect(&world, subject, peer).await?;
        world.settle().await;
        assert_eq!(log.text(), "CM SOON DR ER CL(None)");
        Ok(())
    }

    /// C-06, TR-02: `close` in `connection_made`: lost before the task resumes, which gets its
    /// connection all the same, and no data or end though they were there.
    async fn close_in_made(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.close());
        let peer = Recorder::new(&Log::new()).on_made(|cx| {
            cx.write(b"never seen");
            cx.write_eof();
        });
        let conn = connect_late(&world, &log, subject, peer).await?;
        assert_eq!(log.text(), "CM CL(None) TASK");
        assert!(conn.transport().is_closing());
        Ok(())
    }

    /// C-06: `abort` in `connection_made`.
    async fn abort_in_made(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.abort());
        let peer = Recorder::new(&Log::new()).on_made(|cx| cx.write(b"never seen"));
        let conn = connect_late(&world, &log, subject, peer).await?;
        assert_eq!(log.text(), "CM CL(None) TASK");
        assert!(conn.transport().is_closing());
        Ok(())
    }

    /// C-07: what `connection_made` wrote before it closed reaches the peer.
    async fn what_made_wrote_is_sent(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&Log::new()).on_made(|cx| {
            cx.write(b"hello ");
            cx.write(b"and goodbye");
            cx.close();
        });
        let (_conn, peer) = connect(&world, subject, Recorder::new(&log)).await?;
        world.settle().await;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        assert_eq!(text_of(&peer), "hello and goodbye");
        Ok(())
    }

    /// C-08, C-09: whatever ends the connection, and however often, `connection_lost` comes once, is
    /// the last callback, and never comes from inside the call.
    async fn lost_comes_once_and_never_from_inside_a_call(world: World) -> io::Result<()> {
        fn failure() -> io::Error {
            io::Error::from_raw_os_error(5)
        }
        let ends: [(End, &str); 8] = [
            (|cx| cx.close(), "CL(None)"),
            (|cx| cx.abort(), "CL(None)"),
            (|cx| cx.fail(failure()), "CL(Uncategorized)"),
            (|cx| { cx.close(); cx.close(); cx.close(); }, "CL(None)"),
            (|cx| { cx.close(); cx.abort(); }, "CL(None)"),
            (|cx| { cx.abort(); cx.close(); cx.abort(); }, "CL(None)"),
            (|cx| { cx.abort(); cx.fail(failure()); }, "CL(None)"),
            (|cx| { cx.fail(failure()); cx.abort(); cx.close(); }, "CL(Uncategorized)"),
        ];
        for (end, lost) in ends {
            let log = Log::new();
            let after = log.clone();
            let subject = Recorder::new(&log).on_data(move |cx, _| {
                end(cx);
                after.push("ENDED");
                assert!(cx.is_closing() && !cx.is_reading() && !cx.is_writable());
            });
            let (conn, peer) = connect_to_anyone(&world, subject).await?;
            peer.with(|_, cx| cx.write(b"now"));
            world.settle().await;
            assert_eq!(log.text(), format!("CM DR ENDED {lost}"));
            peer.with(|_, cx| cx.write(b"more"));
            conn.with(|_, cx| end(cx));
            world.settle().await;
            assert_eq!(log.text(), format!("CM DR ENDED {lost}"));
        }
        Ok(())
    }

    /// C-09: `connection_lost` is queued behind what was queued before, in the next turn.
    async fn lost_comes_in_the_next_turn(world: World) -> io::Result<()> {
        let ends: [End; 2] = [|cx| cx.close(), |cx| cx.abort()];
        for end in ends {
            let log = Log::new();
            let soon = log.clone();
            let subject = Recorder::new(&log).on_data(move |cx, _| {
                let (lp, later) = (cx.event_loop().clone(), soon.clone());
                let next = soon.clone();
                cx.event_loop().call_soon(move || {
                    next.push("NEXT");
                    lp.call_soon(move || later.push("LATER"));
                });
                end(cx);
                log_soon(cx, &soon, "NEXT2");
            });
            let (_conn, peer) = connect_to_anyone(&world, subject).await?;
            peer.with(|_, cx| cx.write(b"now"));
            world.settle().await;
            assert_eq!(log.text(), "CM DR NEXT CL(None) NEXT2 LATER");
        }
        Ok(())
    }

    /// C-10: `None` for ends that were wanted, the error for those that were not.
    async fn lost_says_why(world: World) -> io::Result<()> {
        let log = Log::new();
        let (_conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        peer.with(|_, cx| cx.write_eof());
        world.settle().await;
        assert_eq!(log.text(), "CM ER CL(None)");

        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        let error = conn.closed().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert!(error.raw_os_error().is_some(), "it is the kernel's own");

        let log = Log::new();
        let (conn, _peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        conn.with(|_, cx| cx.fail(io::Error::from(io::ErrorKind::TimedOut)));
        world.settle().await;
        assert_eq!(log.text(), "CM CL(TimedOut)");
        Ok(())
    }

    /// C-12: the addresses, the protocol and the descriptor are there until `connection_lost` has
    /// returned; then the descriptor is gone.
    async fn the_descriptor_outlives_lost(world: World) -> io::Result<()> {
        let (_server, _accepted) = serve_one(&world, Recorder::new(&Log::new())).await?;
        let client = world.host("client");
        let seen = Rc::new(Cell::new(None));
        let note = Rc::clone(&seen);
        let subject = Recorder::new(&Log::new()).on_lost(move |cx| {
            let local = cx.sockname().expect("it was connected");
            let known = cx.peername().is_some() && cx.transport().protocol::<Recorder>().is_some();
            note.set(Some((known, is_released(cx.event_loop(), local))));
        });
        let connecting = client.connection().local_addr(("client", 4_001));
        let conn = connecting.connect(ADDRESS, || subject).await?;
        let local = conn.transport().sockname().expect("it is connected");
        conn.with(|_, cx| cx.abort());
        conn.closed().await?;
        assert_eq!(seen.get(), Some((true, false)));
        assert!(is_released(&client, local));
        assert!(conn.transport().protocol::<Recorder>().is_none());
        Ok(())
    }

    /// C-13, C-14, J-03, J-14: in and after `connection_lost`, however it came about, everything
    /// answers and does nothing.
    async fn a_lost_transport_is_silent(world: World) -> io::Result<()> {
        fn poke(cx: &mut Cx<'_, Recorder>) {
            assert!(cx.is_closing() && !cx.is_reading() && !cx.is_writable());
            assert_eq!(cx.write_buffer_size(), 0);
            assert!(cx.sockname().is_some() && cx.peername().is_some());
            let limits = cx.write_buffer_limits();
            cx.write(b"into the void");
            cx.writelines(["into", "the", "void"]);
            cx.pause_reading();
            cx.resume_reading();
            cx.pause_reading();
            cx.set_write_buffer_limits(sim_core::WriteBufferLimits::from_high(0)).unwrap();
            cx.write_eof();
            cx.close();
            cx.abort();
            cx.fail(io::ErrorKind::Other.into());
            assert!(cx.is_closing() && !cx.is_reading() && cx.write_buffer_size() == 0);
            assert_eq!(cx.write_buffer_limits(), limits);
        }
        type End = fn(&Conn<Recorder>, &Conn<Recorder>);
        let ends: [(End, &str); 5] = [
            (|conn, _| conn.with(|_, cx| cx.close()), "CM CL(None)"),
            (|conn, _| conn.with(|_, cx| cx.abort()), "CM CL(None)"),
            (|conn, _| conn.with(|_, cx| cx.fail(io::ErrorKind::NotFound.into())), "CM CL(NotFound)"),
            (|_, peer| peer.with(|_, cx| cx.abort()), "CM CL(ConnectionReset)"),
            (|_, peer| peer.with(|_, cx| cx.close()), "CM ER CL(None)"),
        ];
        for (end, text) in ends {
            let log = Log::new();
            let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log).on_lost(poke)).await?;
            end(&conn, &peer);
            world.settle().await;
            conn.with(|_, cx| poke(cx));
            world.settle().await;
            assert_eq!(log.text(), text);
        }
        Ok(())
    }

    /// C-14, J-03: the same after a close that flushed, where the end comes from the writer.
    async fn a_flushed_transport_is_silent(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_lost(|cx| {
            assert!(cx.is_closing() && cx.write_buffer_size() == 0);
            cx.write(b"late");
            cx.abort();
            cx.close();
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| cx.close());
        peer.with(|_, cx| cx.resume_reading());
        conn.closed().await?;
        conn.with(|_, cx| { cx.write(b"later"); cx.abort(); });
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        assert!(!text_of(&peer).contains("late"));
        Ok(())
    }

    /// C-15, TR-12: `close` and then `abort` with output pending: the output is dropped, and there is
    /// one end.
    async fn abort_overtakes_a_close(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let peer = Recorder::new(&peer_log);
        let (conn, peer) = connect(&world, Recorder::new(&log), peer).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| cx.close());
        world.settle().await;
        assert_eq!(log.text(), "CM", "the output waits");
        conn.with(|_, cx| {
            cx.abort();
            assert_eq!(cx.write_buffer_size(), 0);
        });
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        peer.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert!(peer_log.text().ends_with("CL(ConnectionReset)"), "{peer_log:?}");
        Ok(())
    }

    /// C-16: a connect that is given up after the factory was called and before `connection_made`:
    /// made, then lost, and the peer sees the end.
    async fn a_connect_given_up_too_late_is_made_and_lost(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let (_server, _accepted) = serve_one(&world, Recorder::new(&peer_log)).await?;
        let client = world.host("client");
        let made = Rc::new(Cell::new(false));
        let (called, seen) = (Rc::clone(&made), log.clone());
        let mut connecting = Box::pin(client.create_connection(ADDRESS, move || {
            called.set(true);
            Recorder::new(&seen)
        }));
        poll_fn(|cx| {
            assert!(connecting.as_mut().poll(cx).is_pending(), "it waits for connection_made");
            if made.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(log.text(), "", "the transport is there, connection_made is not");
        drop(connecting);
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        assert_eq!(peer_log.text(), "CM ER CL(None)");
        Ok(())
    }

    /// C-16: cancelling the task at that point: the same, and its awaiter sees the cancellation.
    async fn a_cancelled_connect_is_made_and_lost(world: World) -> io::Result<()> {
        let log = Log::new();
        let (_server, _accepted) = serve_one(&world, Recorder::new(&Log::new())).await?;
        let lp = world.host("client");
        let (client, seen) = (lp.clone(), log.clone());
        let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
        let cancelled = Rc::clone(&own);
        let task = lp.create_task(async move {
            let soon = client.clone();
            let factory = move || {
                soon.call_soon(move || {
                    let task = cancelled.borrow_mut().take().expect("it was put there");
                    assert!(task.cancel());
                    cancelled.borrow_mut().replace(task);
                });
                Recorder::new(&seen)
            };
            client.create_connection(ADDRESS, factory).await.expect("it connects");
            unreachable!("it was cancelled");
        });
        let ended = lp.create_future();
        let end = ended.clone();
        task.on_done(move || end.set_result(()).expect("it is done once"));
        own.borrow_mut().replace(task);
        ended.await.expect("it is completed");
        let task = own.borrow_mut().take().expect("it was put back");
        assert_eq!(task.await, Err(sim_core::TaskError::Cancelled));
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// C-16: a connect given up before the network answered makes no protocol at all.
    async fn a_connect_given_up_early_is_never_made(world: World) -> io::Result<()> {
        let (_server, _accepted) = serve_one(&world, Recorder::new(&Log::new())).await?;
        let client = world.host("client");
        let factory = || -> Recorder { unreachable!("it was given up") };
        let mut connecting = Box::pin(client.create_connection(ADDRESS, factory));
        poll_once(connecting.as_mut()).await;
        drop(connecting);
        world.settle().await;
        Ok(())
    }

    /// C-08: an accepted connection whose peer is gone at once is made and lost.
    async fn a_peer_that_is_gone_at_once_is_made_and_lost(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&Log::new()).on_made(|cx| cx.abort());
        connect(&world, subject, Recorder::new(&log)).await?;
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        Ok(())
    }
}

both_loops! { contain;
    /// C-05, J-55, TR-18: a panic in `connection_made` is reported and costs nothing: reading starts,
    /// the connect succeeds, the end comes.
    async fn a_panic_in_made_costs_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let reports = Reports::of(&world.host("client"), &log);
        let subject = Recorder::new(&log).on_made(|_| panic!("made"));
        let peer = Recorder::new(&Log::new()).on_data(|cx, data| cx.write(data));
        let (conn, peer) = connect(&world, subject, peer).await?;
        assert!(!conn.transport().is_closing() && conn.transport().is_reading());
        conn.with(|_, cx| cx.write(b"still here"));
        world.settle().await;
        peer.with(|_, cx| cx.close());
        world.settle().await;
        assert_eq!(log.text(), "CM REPORT DR ER CL(None)");
        assert_eq!(conn.with(|subject, _| subject.data.clone()), b"still here");
        let report = tests::harness::only(reports.all());
        assert_eq!(report.panic.as_deref(), Some("made"));
        assert_eq!(report.transport, Some(conn.transport().number()));
        Ok(())
    }

    /// C-05: the same for an accepted connection.
    async fn a_panic_in_made_of_an_accepted_connection(world: World) -> io::Result<()> {
        let log = Log::new();
        let _reports = Reports::of(&world.host("server"), &log);
        let peer = Recorder::new(&log).on_made(|_| panic!("made"));
        let (conn, _peer) = connect(&world, Recorder::new(&Log::new()), peer).await?;
        conn.with(|_, cx| { cx.write(b"data"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "CM REPORT DR ER CL(None)");
        Ok(())
    }

    /// C-11: a panic in `connection_lost` is reported; the descriptor is released, the server's
    /// count goes down, and whoever waits for the end is told.
    async fn a_panic_in_lost_keeps_nothing(world: World) -> io::Result<()> {
        let (log, client_log) = (Log::new(), Log::new());
        let reports = Reports::of(&world.host("server"), &log);
        let peer = Recorder::new(&log).on_lost(|_| panic!("lost"));
        let (server, accepted) = serve_one(&world, peer).await?;
        let client = world.host("client");
        client.create_connection(ADDRESS, || Recorder::new(&client_log).eof(Eof::Close)).await?;
        let peer = accepted.await.expect("it is accepted");
        assert_eq!(server.connection_count(), 1);
        peer.with(|_, cx| cx.close());
        peer.closed().await?;
        assert_eq!(server.connection_count(), 0);
        server.close();
        server.wait_closed().await;
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None) REPORT");
        assert_eq!(client_log.text(), "CM ER CL(None)");
        assert_eq!(tests::harness::only(reports.all()).panic.as_deref(), Some("lost"));
        Ok(())
    }

    /// C-19: a factory that panics fails its connect, and the socket is closed.
    async fn a_factory_that_panics_fails_the_connect(world: World) -> io::Result<()> {
        let peer_log = Log::new();
        let (_server, _accepted) = serve_one(&world, Recorder::new(&peer_log)).await?;
        let lp = world.host("client");
        let client = lp.clone();
        let task = lp.create_task(async move {
            let factory = || -> Recorder { panic!("no protocol") };
            client.create_connection(ADDRESS, factory).await.map(drop)
        });
        let error = task.await.unwrap_err();
        assert_eq!(error, sim_core::TaskError::Panicked("no protocol".into()));
        world.settle().await;
        assert_eq!(peer_log.text(), "CM ER CL(None)");
        Ok(())
    }

    /// C-19: a server whose factory panics drops that connection alone.
    async fn a_factory_that_panics_costs_its_connection(world: World) -> io::Result<()> {
        let mut calls = 0;
        let factory = move || {
            calls += 1;
            assert!(calls != 2, "no protocol for the second");
            Recorder::new(&Log::new()).on_data(|cx, data| cx.write(data))
        };
        let server = world.host("server").create_server(ADDRESS, factory).await?;
        let client = world.host("client");
        let logs = [Log::new(), Log::new(), Log::new()];
        let mut conns = Vec::new();
        for log in &logs {
            conns.push(client.create_connection(ADDRESS, || Recorder::new(log)).await?);
            world.settle().await;
        }
        assert_eq!(server.connection_count(), 2);
        for conn in &conns {
            conn.with(|_, cx| cx.write(b"echo"));
        }
        world.settle().await;
        assert_eq!(logs.map(|log| log.text()), ["CM DR", "CM ER CL(None)", "CM DR"]);
        Ok(())
    }
}
