//! TLS: the end of a connection, in good order and otherwise (F).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::layer::LayerOptions;
use sim_core::{Cx, Eof, Transport, World, WriteBufferLimits};
use tests::recorder::{Log, Recorder};
use tests::{both_loops, sim_only};

use crate::tls::{Secured, Sides, plain, until};
use crate::tls_relay::relayed;

/// More than the buffers of both ends take.
const FLOOD: usize = 8 << 20;

both_loops! {
    /// F-11, F-01, TR-26: a clean close is one for both sides; the one that did not close hears of the end.
    async fn a_clean_close_is_one_for_both(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        near.transport().close();
        assert!(near.transport().is_closing());
        near.closed().await?;
        far.closed().await?;
        assert_eq!((sides.near.text(), sides.far.text()), ("CM CL(None)".into(), "CM ER CL(None)".into()));
        Ok(())
    }

    /// F-09: there is no half-close.
    async fn there_is_no_half_close(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, .. } = sides.connect(plain, plain).await?;
        assert!(!near.transport().can_write_eof());
        let transport: Transport = near.transport().clone();
        let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || transport.write_eof()));
        let message = *asked.unwrap_err().downcast::<&str>().unwrap();
        assert!(message.contains("no half-close"), "{message}");
        near.transport().close();
        near.transport().write_eof();
        near.closed().await
    }

    /// F-10: `KeepOpen` changes nothing: the connection ends with the peer's half.
    async fn an_end_cannot_be_kept_open(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, |far| far.eof(Eof::KeepOpen)).await?;
        near.transport().close();
        far.closed().await?;
        assert_eq!(sides.far.text(), "CM ER CL(None)");
        Ok(())
    }

    /// F-12, F-23: what was written before a close is all delivered before the goodbye; what is written after it is
    /// dropped.
    async fn a_close_flushes(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        far.transport().pause_reading();
        let body: Vec<u8> = (0..FLOOD).map(|i| (i / 251) as u8).collect();
        near.transport().write(&body);
        assert!(near.transport().write_buffer_size() > 0);
        near.transport().close();
        assert!(near.transport().is_closing());
        near.transport().write(b"too late");
        far.transport().resume_reading();
        far.closed().await?;
        near.closed().await?;
        assert!(far.with(|far, _| far.data == body));
        assert_eq!(sides.far.text(), "CM DR ER CL(None)");
        assert_eq!(near.transport().write_buffer_size(), 0);
        Ok(())
    }

    /// F-20: the peer's goodbye leaves us to send what we have.
    async fn output_outlives_the_peers_goodbye(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        // The other side has more to send than fits, and closes last.
        near.transport().pause_reading();
        far.transport().write(&vec![b'x'; FLOOD]);
        far.transport().close();
        near.transport().write(b"and the rest");
        near.transport().resume_reading();
        near.closed().await?;
        far.closed().await?;
        assert_eq!(near.with(|near, _| near.data.len()), FLOOD);
        Ok(())
    }

    /// F-13: a peer that does not say goodbye is waited for until the shutdown timeout, and no timer is left of an
    /// orderly end.
    async fn an_end_has_a_time_limit(world: World) -> io::Result<()> {
        assert_eq!(LayerOptions::default().shutdown_timeout, Duration::from_secs(30));
        let mut sides = Sides::of(&world);
        sides.connector = sides.connector.shutdown_timeout(Duration::from_millis(100));
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        // It does not read, so it does not see our goodbye.
        far.transport().pause_reading();
        far.transport().write(b"first");
        world.settle().await;
        let began = sides.client.time();
        near.transport().close();
        let error = near.closed().await.unwrap_err();
        assert_eq!((error.kind(), error.to_string().contains("SSL shutdown timed out")), (io::ErrorKind::TimedOut, true));
        assert!(sides.client.time() - began >= Duration::from_millis(100));
        assert!(sides.near.text().ends_with("CL(TimedOut)"));
        Ok(())
    }

    /// F-13: no shutdown timeout of nothing.
    async fn an_end_takes_some_time(world: World) -> io::Result<()> {
        let mut sides = Sides::of(&world);
        sides.connector = sides.connector.shutdown_timeout(Duration::ZERO);
        let error = sides.connect(plain, plain).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    }

    /// F-14, TR-28: an end without a goodbye is an end; with the strict option it is an error, and nobody hears of an
    /// end. What came is delivered in either case.
    async fn an_end_without_a_goodbye_is_as_it_is_asked_for(world: World) -> io::Result<()> {
        for strict in [false, true] {
            let mut sides = Sides::of(&world);
            sides.connector = sides.connector.require_close_notify(strict);
            let (near, relay) = relayed(&world, &sides, |far| far.on_made(|cx| cx.write(b"all of it?"))).await?;
            until(&world, "the data", || near.with(|near, _| !near.data.is_empty())).await;
            relay.end_towards_client(false);
            let outcome = near.closed().await;
            let (kind, text) = if strict {
                (Some(io::ErrorKind::UnexpectedEof), "CM DR CL(UnexpectedEof)")
            } else {
                (None, "CM DR ER CL(None)")
            };
            assert_eq!(outcome.err().map(|error| error.kind()), kind);
            assert_eq!(sides.near.text(), text);
        }
        Ok(())
    }

    /// F-15: a reset is a reset.
    async fn a_reset_is_told_as_one(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        far.transport().abort();
        assert_eq!(near.closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        far.closed().await?;
        assert_eq!((sides.near.text(), sides.far.text()), ("CM CL(ConnectionReset)".into(), "CM CL(None)".into()));
        Ok(())
    }

    /// F-35: a reset is told at once to a protocol that has paused, and takes what waited for it.
    async fn a_reset_takes_what_waits_behind_a_pause(world: World) -> io::Result<()> {
        for paused in [true, false] {
            let sides = Sides::of(&world);
            let Secured { near, far, _server } = sides.connect(plain, plain).await?;
            if paused {
                near.transport().pause_reading();
            }
            far.transport().write(b"too late");
            world.sleep(Duration::from_millis(50)).await;
            far.transport().abort();
            assert_eq!(near.closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            near.transport().resume_reading();
            world.settle().await;
            let told = if paused { "CM CL(ConnectionReset)" } else { "CM DR CL(ConnectionReset)" };
            assert_eq!(sides.near.text(), told);
            _server.close();
            _server.wait_closed().await;
        }
        Ok(())
    }

    /// C-34, F-15, F-30: what came with the last of the handshake is delivered, though a reset came right behind it;
    /// whatever the protocol does with it, one end is told next: the reset, or its own if that was first.
    async fn data_that_came_before_a_reset_is_delivered(world: World) -> io::Result<()> {
        type Act = fn(&mut Cx<'_, Recorder>);
        let acts: [(Act, bool); 4] =
            [(|_| (), false), (|cx| cx.pause_reading(), false), (|cx| cx.close(), true), (|cx| cx.abort(), true)];
        for (port, (act, ends)) in (4430..).zip(acts) {
            let sides = Sides::of(&world);
            let (log, got) = (sides.far.clone(), Rc::new(RefCell::new(Vec::new())));
            let sink = Rc::clone(&got);
            let factory = move || {
                let sink = Rc::clone(&sink);
                Recorder::new(&log).on_data(move |cx, data| {
                    sink.borrow_mut().extend_from_slice(data);
                    act(cx);
                })
            };
            let _server = sides.server.server().tls(&sides.acceptor).bind(("server", port), factory).await?;
            let connecting = sides.client.connection().tls(&sides.connector, "server");
            let leave = |cx: &mut Cx<'_, Recorder>| {
                cx.write(b"last words");
                cx.abort();
            };
            let near = connecting.connect(("server", port), || Recorder::new(&sides.near).on_made(leave)).await?;
            near.closed().await?;
            until(&world, "the reset", || sides.far.text().contains("CL")).await;
            assert_eq!(String::from_utf8_lossy(&got.borrow()), "last words");
            let text = sides.far.text();
            assert!(text == "CM DR CL(ConnectionReset)" || ends && text == "CM DR CL(None)", "{text}");
        }
        Ok(())
    }

    /// F-16, F-17, J-45, TR-27: while reading is paused nothing comes, though it is there; then data, end and loss, in
    /// this order.
    async fn a_paused_reader_hears_nothing(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        near.transport().pause_reading();
        assert!(!near.transport().is_reading());
        for _ in 0..5 {
            far.transport().write(b"record ");
        }
        far.transport().close();
        world.settle().await;
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!(sides.near.text(), "CM");
        near.transport().resume_reading();
        assert_eq!(sides.near.text(), "CM");
        near.closed().await?;
        assert_eq!(near.with(|near, _| near.data.len()), 35);
        assert_eq!(sides.near.text(), "CM DR ER CL(None)");
        Ok(())
    }

    /// F-17: a pause in `data_received` holds the next record back, even if it came with this one.
    async fn a_pause_in_data_received_holds(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let once = |near: Recorder| near.on_data(|cx, _| cx.pause_reading());
        let Secured { near, far, .. } = sides.connect(once, plain).await?;
        far.transport().write(b"one");
        until(&world, "the first", || near.with(|near, _| near.data == b"one")).await;
        far.transport().write(b"two");
        far.transport().write(b"three");
        world.settle().await;
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!(near.with(|near, _| near.data.len()), 3);
        near.transport().resume_reading();
        near.transport().pause_reading();
        near.transport().resume_reading();
        until(&world, "the rest", || near.with(|near, cx| { cx.resume_reading(); near.data == b"onetwothree" })).await;
        Ok(())
    }

    /// F-18: closing while reading is paused completes.
    async fn a_close_completes_while_reading_is_paused(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        near.transport().pause_reading();
        far.transport().write(&vec![b'x'; 1 << 20]);
        world.settle().await;
        near.transport().close();
        near.closed().await?;
        far.closed().await?;
        assert_eq!((sides.near.text(), near.with(|near, _| near.data.len())), ("CM CL(None)".into(), 0));
        Ok(())
    }

    /// F-19, J-51: what the peer still sends after our close is dropped, and no error.
    async fn trailing_data_is_dropped(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, |far| far.on_eof(|cx| cx.write(b"one more thing"))).await?;
        far.transport().write(&vec![b'x'; 100_000]);
        near.transport().close();
        near.closed().await?;
        far.closed().await?;
        assert_eq!(sides.near.text(), "CM CL(None)");
        Ok(())
    }

    /// F-25: `connection_lost` comes by way of the loop, in an iteration after `abort`.
    async fn the_loss_comes_from_the_loop(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, .. } = sides.connect(plain, plain).await?;
        near.transport().abort();
        assert_eq!(sides.near.text(), "CM");
        near.closed().await?;
        assert_eq!(sides.near.text(), "CM CL(None)");
        Ok(())
    }

    /// F-27, J-48: every method is safe in every state, a second close among them.
    async fn every_method_is_safe_after_the_end(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, .. } = sides.connect(plain, plain).await?;
        let transport = near.transport().clone();
        let all = || {
            transport.close();
            transport.write(b"dropped");
            transport.writelines(["also", "dropped"]);
            transport.pause_reading();
            transport.resume_reading();
            transport.write_eof();
            transport.set_write_buffer_limits(WriteBufferLimits::from_high(10)).unwrap();
            assert!(transport.is_closing() && !transport.is_reading() && !transport.is_writable());
            assert!(transport.sockname().is_some() && transport.tls().is_some());
        };
        transport.close();
        all();
        near.closed().await?;
        all();
        transport.abort();
        transport.fail(io::Error::other("too late"));
        world.settle().await;
        assert_eq!(sides.near.text(), "CM CL(None)");
        assert_eq!(transport.write_buffer_size(), 0);
        assert_eq!(sides.client.report_count(), 0);
        Ok(())
    }

    /// F-33, J-50: what is written over a connection that is gone is dropped, not kept.
    async fn nothing_is_kept_for_a_connection_that_is_gone(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        near.transport().pause_reading();
        far.transport().abort();
        far.closed().await?;
        for _ in 0..200 {
            near.transport().write(&[b'x'; 10_000]);
            world.sleep(Duration::from_millis(1)).await;
        }
        assert!(near.transport().is_closing());
        assert!(near.closed().await.is_err());
        assert_eq!(near.transport().write_buffer_size(), 0);
        near.transport().write(b"dropped");
        assert_eq!(near.transport().write_buffer_size(), 0);
        Ok(())
    }
}

both_loops! {
    contain;

    /// F-24: a callback that panics is reported and costs the connection; one of flow control is only reported.
    async fn errors_of_callbacks_cost_the_connection(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(|near| near.on_data(|_, _| panic!("no")), plain).await?;
        far.transport().write(b"data");
        assert!(near.closed().await.unwrap_err().to_string().contains("panicked"));
        assert!(far.closed().await.is_err());
        assert_eq!(sides.near.text(), "CM DR CL(Other)");
        let reports = sides.client.report_count();
        assert!(reports >= 1);
        let flow = Sides::of(&world);
        let log = Log::new();
        let pauses = |near: Recorder| near.on_pause(|_| panic!("not now")).on_resume(|_| panic!("not yet"));
        let port = ("server", 4443);
        let far = log.clone();
        let _server = flow.server.server().tls(&flow.acceptor).bind(port, move || Recorder::new(&far)).await?;
        let connecting = flow.client.connection().tls(&flow.connector, "server");
        let near = connecting.connect(port, || pauses(Recorder::new(&flow.near))).await?;
        near.transport().write(&vec![b'x'; FLOOD]);
        until(&world, "the resume", || flow.near.count("RW") == 1).await;
        assert!(!near.transport().is_closing());
        near.transport().close();
        near.closed().await?;
        assert_eq!(flow.near.text(), "CM PW RW CL(None)");
        Ok(())
    }
}

/// F-05, F-13, J-52: no timer is left of a handshake, of an end, or of connections that were lost.
// on: sim
#[test]
fn no_timer_is_left() {
    let ends = |world: World| async move {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        near.transport().close();
        near.closed().await?;
        far.closed().await?;
        let log = Log::new();
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let near = connecting.connect(("server", 443), || Recorder::new(&log)).await?;
        near.transport().abort();
        near.closed().await?;
        world.settle().await;
        io::Result::Ok(())
    };
    let report = sim_net::Sim::new(1).trace(true).run(ends);
    report.outcome.expect("it holds");
    let log = report.log.expect("it was asked for").to_string();
    let count = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    // Two handshakes on each side, and two ends in good order.
    assert!(count("timer armed for") >= 6, "{log}");
    assert_eq!(count("timer armed for"), count("timer fired, due") + count("timer cancelled, due"));
}

sim_only! {
    /// F-18, F-19: what is read between a close and the turn behind it is behind what came during the pause before it.
    async fn a_close_takes_what_comes_in_its_order(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let (orders, closing) = (sides.server.create_future(), Rc::new(RefCell::new(None::<Transport>)));
        let (log, announced, told) = (Log::new(), orders.clone(), Rc::clone(&closing));
        let heard = log.clone();
        let factory = move || Recorder::new(&log).announce(announced.clone());
        let _server = sides.server.create_server(("server", 7), factory).await?;
        let closes = || Recorder::new(&heard).on_data(move |_, _| told.borrow().iter().for_each(Transport::close));
        let _told = sides.client.create_connection(("server", 7), closes).await?;
        let orders = orders.await.map_err(io::Error::other)?;
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        closing.replace(Some(near.transport().clone()));
        near.transport().pause_reading();
        far.transport().write(b"during the pause");
        world.settle().await;
        // Both are there at once, the order first: the client is busy until then.
        let busy = sides.client.clone();
        drop(sides.client.call_soon(move || busy.spend(Duration::from_millis(20))));
        world.sleep(Duration::from_millis(1)).await;
        orders.transport().write(b"close");
        world.sleep(Duration::from_millis(5)).await;
        far.transport().write(b"behind it");
        near.closed().await?;
        far.closed().await?;
        assert_eq!((sides.near.text(), sides.far.text()), ("CM CL(None)".into(), "CM ER CL(None)".into()));
        Ok(())
    }
}
