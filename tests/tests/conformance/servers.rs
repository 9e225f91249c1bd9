//! E.2: servers, from bind to close.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use sim_core::{Cancelled, Conn, Server, TaskError, World};
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::serving::{BUSY, Heard, PLACE, failure, keep_busy, refusal};

/// A server of recorders that log into `log`.
async fn serve(world: &World, log: &Log) -> io::Result<Server> {
    let log = log.clone();
    world.host("server").create_server(PLACE, move || Recorder::new(&log)).await
}

async fn connect(world: &World) -> io::Result<Conn<Recorder>> {
    world.host("client").create_connection(PLACE, || Recorder::new(&Log::new())).await
}

fn kind_of<T>(outcome: io::Result<T>) -> Option<io::ErrorKind> {
    outcome.err().map(|error| error.kind())
}

both_loops! {
    /// E-16: a server listens at each of its addresses; one that is named twice is bound once.
    async fn several_addresses_are_served_and_a_duplicate_is_bound_once(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let places = [("server", 7000), ("server", 7001), ("server", 7000)];
        let factory = { let log = log.clone(); move || Recorder::new(&log) };
        let server = lp.server().bind_all(places, factory).await?;
        let ports: Vec<u16> = server.sockets().iter().map(|local| local.port()).collect();
        assert_eq!(ports, [7000, 7001]);
        for port in ports {
            world.host("client").create_connection(("server", port), || Recorder::new(&Log::new())).await?;
        }
        world.settle().await;
        assert_eq!((log.text().as_str(), server.connection_count()), ("CM CM", 2));
        let none: [(&str, u16); 0] = [];
        let nowhere = lp.server().bind_all(none, || Recorder::new(&Log::new())).await;
        assert_eq!(kind_of(nowhere), Some(io::ErrorKind::InvalidInput));
        Ok(())
    }

    /// E-16: no host means all interfaces, a socket for each family; port 0 gives each a port of its
    /// own, which `sockets` tells; the IPv6 one carries IPv6 alone.
    async fn no_host_is_every_interface_and_port_zero_is_a_free_port(world: World) -> io::Result<()> {
        let (lp, client) = (world.host("server"), world.host("client"));
        let server = lp.create_server(("", 0), || Recorder::new(&Log::new())).await?;
        let sockets = server.sockets();
        assert!(sockets.iter().all(|local| local.ip().is_unspecified() && local.port() != 0));
        let families: Vec<bool> = sockets.iter().map(|local| local.is_ipv4()).collect();
        assert_eq!(families, [true, false]);
        client.create_connection(("server", sockets[0].port()), || Recorder::new(&Log::new())).await?;
        lp.create_connection(("::1", sockets[1].port()), || Recorder::new(&Log::new())).await?;
        server.close();

        let v6 = lp.create_server(("::", 0), || Recorder::new(&Log::new())).await?;
        let port = v6.sockets()[0].port();
        let refused = refusal(&client, ("server", port)).await;
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        Ok(())
    }

    /// E-17: a bind that fails names the address and keeps its kind, and the sockets that were
    /// opened before it are closed.
    async fn a_failed_bind_names_its_address_and_leaves_nothing_bound(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let taken = serve(&world, &Log::new()).await?;
        let places = [("server", 7901), PLACE];
        let bind = || lp.server().reuse_address(false);
        let error = bind().bind_all(places, || Recorder::new(&Log::new())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let address = taken.sockets()[0].to_string();
        assert!(error.to_string().contains(&address), "{error} has not {address}");
        bind().bind(("server", 7901), || Recorder::new(&Log::new())).await?;
        let foreign = lp.create_server(("203.0.113.1", 7002), || Recorder::new(&Log::new())).await;
        assert_eq!(kind_of(foreign), Some(io::ErrorKind::AddrNotAvailable));
        let unknown = lp.create_server(("nobody.invalid", 1), || Recorder::new(&Log::new())).await;
        assert!(unknown.is_err());
        Ok(())
    }

    /// E-17: two servers may be bound to one port while neither listens; the second that starts to
    /// serve gets the error, with the address, and is closed.
    async fn a_failed_listen_is_the_callers_error_and_closes_the_server(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let bind = || lp.server().start_serving(false).bind(PLACE, || Recorder::new(&Log::new()));
        let (first, second, third) = (bind().await?, bind().await?, bind().await?);
        first.start_serving()?;
        let error = second.start_serving().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let address = first.sockets()[0].to_string();
        assert!(error.to_string().contains(&address), "{error} has not {address}");
        assert!(!second.is_serving() && second.sockets().is_empty());
        second.wait_closed().await;
        let error = third.serve_forever().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(third.sockets().is_empty() && first.is_serving());
        connect(&world).await.map(drop)
    }

    /// E-18: a port whose connections are in TIME_WAIT is bound by default, and not without
    /// `reuse_address`.
    async fn reuse_address_is_on_by_default(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let closing = || Recorder::new(&Log::new()).on_made(|cx| cx.close());
        let server = lp.create_server(PLACE, closing).await?;
        connect(&world).await?.closed().await?;
        server.close();
        server.wait_closed().await;
        world.settle().await;
        let strict = lp.server().reuse_address(false).bind(PLACE, || Recorder::new(&Log::new())).await;
        assert_eq!(kind_of(strict), Some(io::ErrorKind::AddrInUse));
        serve(&world, &Log::new()).await.map(drop)
    }

    /// E-18: servers share a port by `reuse_port`, if all of them ask for it.
    async fn servers_share_a_port_by_reuse_port(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let bind = |reuse| {
            let log = log.clone();
            lp.server().reuse_port(reuse).bind(PLACE, move || Recorder::new(&log))
        };
        let (first, second) = (bind(true).await?, bind(true).await?);
        assert_eq!(kind_of(bind(false).await), Some(io::ErrorKind::AddrInUse));
        for _ in 0..4 {
            connect(&world).await?;
        }
        world.settle().await;
        assert_eq!(first.connection_count() + second.connection_count(), 4);
        Ok(())
    }

    /// E-19: a server that does not serve yet is bound and refuses connects; starting it twice is
    /// starting it once.
    async fn a_server_that_is_not_started_refuses_connects(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let factory = { let log = log.clone(); move || Recorder::new(&log) };
        let server = lp.server().start_serving(false).bind(PLACE, factory).await?;
        assert!(!server.is_serving());
        assert_eq!(server.sockets()[0].port(), 7000);
        let refused = refusal(&world.host("client"), PLACE).await;
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        server.start_serving()?;
        server.start_serving()?;
        assert!(server.is_serving());
        let _conn = connect(&world).await?;
        world.settle().await;
        assert_eq!((log.text().as_str(), server.sockets().len()), ("CM", 1));
        Ok(())
    }

    /// E-33: a server whose handle is dropped serves on; one that never served leaves its port.
    async fn a_dropped_handle_keeps_serving_and_an_unserved_one_closes(world: World) -> io::Result<()> {
        let lp = world.host("server");
        drop(serve(&world, &Log::new()).await?);
        connect(&world).await?;
        let unserved = || {
            let server = lp.server().start_serving(false).reuse_address(false);
            server.bind(("server", 7902), || Recorder::new(&Log::new()))
        };
        let server = unserved().await?;
        let clone = server.clone();
        drop(server);
        assert_eq!(kind_of(unserved().await), Some(io::ErrorKind::AddrInUse));
        drop(clone);
        unserved().await.map(drop)
    }

    /// E-20, E-27, J-23: `close` acts at once and may be called again; connections live on, and
    /// starting the server anew is an error.
    async fn close_ends_listening_at_once_and_leaves_connections_alone(world: World) -> io::Result<()> {
        let log = Log::new();
        let server = serve(&world, &log).await?;
        let conn = connect(&world).await?;
        world.settle().await;
        server.close();
        server.close();
        assert!(!server.is_serving() && server.sockets().is_empty());
        assert!(server.start_serving().is_err());
        assert!(!server.is_serving());
        let refused = refusal(&world.host("client"), PLACE).await;
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        conn.with(|_, cx| cx.write(b"still there?"));
        world.settle().await;
        assert_eq!((log.text().as_str(), server.connection_count()), ("CM DR", 1));
        conn.with(|_, cx| cx.close());
        server.wait_closed().await;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        serve(&world, &log).await.map(drop)
    }

    /// E-20, E-23: `close_clients` closes each connection, `abort_clients` aborts each; on none they
    /// do nothing.
    async fn all_clients_can_be_closed_or_aborted(world: World) -> io::Result<()> {
        let log = Log::new();
        let server = serve(&world, &log).await?;
        server.close_clients();
        server.abort_clients();
        let conns = [connect(&world).await?, connect(&world).await?];
        world.settle().await;
        server.close_clients();
        for conn in conns {
            conn.closed().await?;
        }
        let conn = connect(&world).await?;
        world.settle().await;
        server.abort_clients();
        assert_eq!(kind_of(conn.closed().await), Some(io::ErrorKind::ConnectionReset));
        assert!(server.is_serving());
        world.settle().await;
        assert_eq!(log.text(), "CM CM CL(None) CL(None) CM CL(None)");
        assert_eq!(server.connection_count(), 0);
        Ok(())
    }

    /// E-22, J-18: `wait_closed` of an open server waits, also if it has no connection; `close`
    /// completes it for all that wait.
    async fn wait_closed_waits_for_close(world: World) -> io::Result<()> {
        let (lp, server) = (world.host("server"), serve(&world, &Log::new()).await?);
        let waits = [0, 1].map(|_| {
            let server = server.clone();
            lp.create_task(async move { server.wait_closed().await })
        });
        world.settle().await;
        let conn = connect(&world).await?;
        conn.with(|_, cx| cx.close());
        conn.closed().await?;
        world.settle().await;
        assert_eq!(server.connection_count(), 0);
        assert!(waits.iter().all(|wait| !wait.done()));
        server.close();
        for wait in waits {
            wait.await.unwrap();
        }
        server.wait_closed().await;
        Ok(())
    }

    /// E-21, E-34, J-18: after `close`, `wait_closed` waits for the last connection to be lost.
    async fn wait_closed_waits_for_the_last_connection(world: World) -> io::Result<()> {
        let (lp, server) = (world.host("server"), serve(&world, &Log::new()).await?);
        let conns = [connect(&world).await?, connect(&world).await?];
        world.settle().await;
        assert_eq!(server.connection_count(), 2);
        server.close();
        let wait = { let server = server.clone(); lp.create_task(async move { server.wait_closed().await }) };
        for (left, conn) in [1, 0].into_iter().zip(conns) {
            world.settle().await;
            assert!(!wait.done());
            conn.with(|_, cx| cx.abort());
            conn.closed().await?;
            world.settle().await;
            assert_eq!(server.connection_count(), left);
        }
        wait.await.unwrap();
        Ok(())
    }

    /// E-23: a connection counts from the factory's call on, in `connection_made` and until
    /// `connection_lost` has returned.
    async fn a_connection_counts_until_connection_lost_has_returned(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let server: Rc<Cell<Option<Server>>> = Rc::default();
        let count = {
            let server = Rc::clone(&server);
            move || {
                let handle = server.take().expect("it is there between uses");
                let count = handle.connection_count();
                server.set(Some(handle));
                count
            }
        };
        let factory = {
            let (log, count) = (log.clone(), Rc::new(count));
            move || {
                log.push(format!("factory:{}", count()));
                let (made, lost) = (Rc::clone(&count), Rc::clone(&count));
                let (log_made, log_lost) = (log.clone(), log.clone());
                Recorder::new(&log)
                    .on_made(move |_| log_made.push(format!("made:{}", made())))
                    .on_lost(move |_| log_lost.push(format!("lost:{}", lost())))
            }
        };
        let handle = lp.create_server(PLACE, factory).await?;
        server.set(Some(handle.clone()));
        let conn = connect(&world).await?;
        conn.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.entries()[..3], ["factory:1", "CM", "made:1"]);
        assert_eq!(log.entries()[3..], ["CL(ConnectionReset)", "lost:1"]);
        assert_eq!(handle.connection_count(), 0);
        Ok(())
    }

    /// E-24, J-19: a connection that is accepted and has no transport when the server closes is
    /// reset, its factory is never called, and `wait_closed` does not wait for it.
    async fn an_accepted_connection_without_a_transport_is_reset_by_close(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let server = serve(&world, &log).await?;
        let client = world.host("client").create_task(failure(world.host("client"), PLACE));
        keep_busy(&lp);
        // One turn accepts, then runs this timer; the transport is for the turn after it.
        let _closing = lp.call_later(BUSY / 2, { let server = server.clone(); move || server.close() });
        assert_eq!(client.await.unwrap(), io::ErrorKind::ConnectionReset);
        server.wait_closed().await;
        world.settle().await;
        assert_eq!((log.text().as_str(), server.connection_count()), ("", 0));
        Ok(())
    }

    /// E-24: one turn later the transport exists, and `close` leaves it alone.
    async fn a_connection_with_a_transport_survives_close(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let server = serve(&world, &log).await?;
        let client = world.host("client").create_task({ let world = world.clone(); async move { connect(&world).await } });
        keep_busy(&lp);
        let _closing = lp.call_later(BUSY / 2, {
            let (lp, server, log) = (lp.clone(), server.clone(), log.clone());
            move || { lp.call_soon(move || { log.push("close"); server.close(); }); }
        });
        let conn = client.await.unwrap()?;
        conn.with(|_, cx| cx.write(b"!"));
        world.settle().await;
        assert_eq!((log.text().as_str(), server.connection_count()), ("close CM DR", 1));
        Ok(())
    }

    /// E-25: connections that wait in the backlog are reset when the server closes.
    async fn connections_in_the_backlog_are_reset_by_close(world: World) -> io::Result<()> {
        let (lp, client, log) = (world.host("server"), world.host("client"), Log::new());
        let server = serve(&world, &log).await?;
        let clients = [0, 1].map(|_| client.create_task(failure(client.clone(), PLACE)));
        // Both run before the next poll, so nothing is accepted in between.
        keep_busy(&lp);
        lp.call_soon({ let server = server.clone(); move || server.close() });
        for client in clients {
            assert_eq!(client.await.unwrap(), io::ErrorKind::ConnectionReset);
        }
        server.wait_closed().await;
        assert_eq!(log.text(), "");
        Ok(())
    }

    /// E-26, J-22: `serve_forever` starts serving; a second one is an error; `close` from elsewhere
    /// ends it with `Cancelled`, once its connections are lost.
    async fn serve_forever_ends_with_cancelled_when_the_server_closes(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let factory = { let log = log.clone(); move || Recorder::new(&log) };
        let server = lp.server().start_serving(false).bind(PLACE, factory).await?;
        let serving = { let server = server.clone(); lp.create_task(async move { server.serve_forever().await }) };
        world.settle().await;
        assert!(server.is_serving());
        let second = server.serve_forever().await.unwrap_err();
        assert!(second.to_string().contains("serve_forever"), "{second}");
        assert!(server.is_serving(), "the second call has closed it");
        let conn = connect(&world).await?;
        world.settle().await;
        server.close();
        world.settle().await;
        assert!(!serving.done(), "a connection is left");
        conn.with(|_, cx| cx.close());
        let error = serving.await.unwrap().unwrap_err();
        assert!(error.get_ref().is_some_and(|inner| inner.is::<Cancelled>()), "{error}");
        let closed = server.serve_forever().await.unwrap_err();
        assert!(closed.to_string().contains("closed"), "{closed}");
        Ok(())
    }

    /// E-26: cancelling `serve_forever` closes the server; another may serve at its place.
    async fn cancelling_serve_forever_closes_the_server(world: World) -> io::Result<()> {
        let (lp, server) = (world.host("server"), serve(&world, &Log::new()).await?);
        let serving = { let server = server.clone(); lp.create_task(async move { server.serve_forever().await }) };
        world.settle().await;
        assert!(serving.cancel());
        assert!(matches!(serving.await, Err(TaskError::Cancelled)));
        assert!(!server.is_serving() && server.sockets().is_empty());
        server.wait_closed().await;
        serve(&world, &Log::new()).await.map(drop)
    }
}

both_loops! {
    contain;

    /// E-23: a panic in `connection_lost` is reported, and the connection counts no more.
    async fn a_panic_in_connection_lost_ends_the_count(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let heard = Heard::by(&lp);
        let factory = || Recorder::new(&Log::new()).on_lost(|_| panic!("at the end"));
        let server = lp.create_server(PLACE, factory).await?;
        let conn = connect(&world).await?;
        world.settle().await;
        assert_eq!(server.connection_count(), 1);
        server.close();
        conn.with(|_, cx| cx.close());
        server.wait_closed().await;
        assert_eq!((heard.panics(), server.connection_count()), (vec!["at the end".to_owned()], 0));
        Ok(())
    }

    /// C-19, E-23: a factory that panics costs its connection and a report; the others are served,
    /// and nothing is left to wait for.
    async fn a_panic_in_the_factory_costs_one_connection(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let heard = Heard::by(&lp);
        let mut calls = 0;
        let factory = {
            let log = log.clone();
            move || {
                calls += 1;
                assert!(calls != 2, "the second one");
                Recorder::new(&log)
            }
        };
        let server = lp.create_server(PLACE, factory).await?;
        let mut conns = Vec::new();
        for _ in 0..3 {
            conns.push(connect(&world).await?);
            world.settle().await;
        }
        assert_eq!(heard.panics(), ["the second one"]);
        assert_eq!(heard.messages(), ["Error on transport creation for incoming connection"]);
        assert_eq!((log.text().as_str(), server.connection_count()), ("CM CM", 2));
        let closing: Vec<bool> = conns.iter().map(|conn| conn.transport().is_closing()).collect();
        assert_eq!(closing, [false, true, false]);
        server.close();
        server.close_clients();
        server.wait_closed().await;
        Ok(())
    }
}
