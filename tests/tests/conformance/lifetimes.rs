//! Ruling 11: how long what a connection starts lives.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Protocol, Timer};
use tests::both_loops;
use tests::programs::install;
use tests::recorder::{Log, Recorder};

use crate::connected::{connect_to_anyone, text_of};

/// Longer than any test.
const FAR: Duration = Duration::from_secs(3_600);

/// Says in a log that it was dropped.
struct Trail(Log, &'static str);

impl Drop for Trail {
    fn drop(&mut self) {
        self.0.push(self.1);
    }
}

/// Hears nothing.
struct Deaf;

impl DatagramProtocol for Deaf {
    fn datagram_received(
        &mut self,
        _: &mut Cx<'_, Self, DatagramTransport>,
        _: &[u8],
        _: SocketAddr,
    ) {
    }
}

/// Starts one of each kind, none of which will come to its end by itself.
fn start_everything(cx: &mut Cx<'_, Recorder>, log: &Log) {
    let trail = |name| Trail(log.clone(), name);
    let (soon, timed, task, then) =
        (trail("-soon"), trail("-timer"), trail("-task"), trail("-then"));
    cx.call_soon(move |_, _| drop(soon));
    cx.call_later(FAR, move |_, _| drop(timed)).detach();
    cx.spawn(
        async move {
            pending::<()>().await;
            drop(task);
        },
        move |_, _, ()| drop(then),
    );
}

/// A protocol that is part of another, and starts things of its own.
#[derive(Default)]
struct Part {
    ran: Vec<&'static str>,
}

/// A protocol that lends a part of itself while it has one.
struct Whole {
    part: Option<Part>,
    timer: Option<Timer>,
}

impl Protocol for Whole {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if data == b"drop" {
            self.part = None;
            return;
        }
        let timer = cx.lend(
            |this: &mut Self| this.part.as_mut(),
            |cx| {
                cx.call_soon(|part: &mut Part, _| part.ran.push("soon"));
                cx.spawn(async { "spawned" }, |part, _, name| part.ran.push(name));
                let no_conn = catch_unwind(AssertUnwindSafe(|| cx.conn()));
                assert!(no_conn.is_err(), "a part is no connection's protocol");
                cx.call_later(Duration::from_millis(1), |part, cx| {
                    part.ran.push("later");
                    cx.write(b"part");
                })
            },
        );
        self.timer = Some(timer);
    }
}

/// A waker that counts nothing: how many hold it is what counts.
struct Idle;

impl Wake for Idle {
    fn wake(self: Arc<Self>) {}
}

/// How many more hold the waker after a wait was begun, and after it was dropped.
fn held_by(wait: impl Future) -> (usize, usize) {
    let idle = Arc::new(Idle);
    let waker = Waker::from(Arc::clone(&idle));
    let before = Arc::strong_count(&idle);
    let mut wait = Box::pin(wait);
    for _ in 0..2 {
        assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let during = Arc::strong_count(&idle) - before;
    drop(wait);
    (during, Arc::strong_count(&idle) - before)
}

both_loops! {
    /// E-21, G-30: whoever stops waiting for the end of a connection, a server or a child leaves nothing behind,
    /// however long that lives.
    async fn a_wait_that_is_dropped_leaves_nothing(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        install(&world);
        let log = Log::new();
        let echo = log.clone();
        let listening = server.create_server(("server", 0), move || Recorder::new(&echo)).await?;
        let addr = listening.sockets()[0];
        let conn = client.create_connection(addr, || Recorder::new(&log)).await?;
        let endpoint = client.datagram().local(("client", 0)).bind(|| Deaf).await?;
        let child = client.create_subprocess_exec("cat", [""; 0]).await?;
        assert_eq!(held_by(conn.closed()), (1, 0));
        assert_eq!(held_by(endpoint.closed()), (1, 0));
        assert_eq!(held_by(listening.wait_closed()), (1, 0));
        assert_eq!(held_by(listening.serve_forever()), (1, 0));
        assert_eq!(held_by(child.wait()), (1, 0));
        child.transport().kill()?;
        child.wait().await?;
        endpoint.with(|_, cx| cx.close());
        conn.with(|_, cx| cx.close());
        conn.closed().await?;
        Ok(())
    }

    /// C-08: ruling 11: closures, timers and tasks of a connection are cancelled when
    /// `connection_lost` has returned, those that it starts itself too, and dropped.
    async fn a_lost_connection_takes_everything_along(world: World) -> io::Result<()> {
        let (log, trail) = (Log::new(), Log::new());
        let (early, late) = (trail.clone(), trail.clone());
        let subject = Recorder::new(&log)
            .on_made(move |cx| start_everything(cx, &early))
            .on_lost(move |cx| {
                assert_eq!(late.text(), "-soon", "nothing is cancelled before it returns");
                start_everything(cx, &late);
            });
        let (conn, _peer) = connect_to_anyone(&world, subject).await?;
        world.settle().await;
        conn.with(|_, cx| cx.abort());
        conn.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        let mut dropped = trail.entries();
        dropped.sort_unstable();
        assert_eq!(dropped, ["-soon", "-soon", "-task", "-task", "-then", "-then", "-timer", "-timer"]);
        Ok(())
    }

    /// C-08: ruling 11: what is started after the loss is cancelled at once.
    async fn after_the_loss_nothing_starts(world: World) -> io::Result<()> {
        let trail = Log::new();
        let (conn, _peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        conn.with(|_, cx| cx.abort());
        conn.closed().await?;
        conn.with(|_, cx| {
            start_everything(cx, &trail);
            assert!(cx.call_soon(|_, _| unreachable!()).cancelled());
            assert!(cx.call_later(Duration::ZERO, |_, _| unreachable!()).cancelled());
        });
        world.settle().await;
        let mut dropped = trail.entries();
        dropped.sort_unstable();
        assert_eq!(dropped, ["-soon", "-task", "-then", "-timer"]);
        Ok(())
    }

    /// C-08: ruling 11: a closure queued before the loss, to run behind it, does not run.
    async fn a_closure_behind_the_loss_does_not_run(world: World) -> io::Result<()> {
        let log = Log::new();
        let own = log.clone();
        let subject = Recorder::new(&log).on_data(move |cx, _| {
            let (before, behind, foreign) = (own.clone(), own.clone(), own.clone());
            cx.call_soon(move |_, _| before.push("BEFORE"));
            cx.close();
            cx.call_soon(move |_, _| behind.push("BEHIND"));
            cx.event_loop().call_soon(move || foreign.push("LOOP"));
        });
        let (_conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        assert_eq!(log.text(), "CM DR BEFORE CL(None) LOOP");
        Ok(())
    }

    /// C-08: ruling 11: timers of the loop outlive the connection.
    async fn timers_of_the_loop_outlive_it(world: World) -> io::Result<()> {
        let log = Log::new();
        let lp = world.host("client");
        let fired = lp.create_future::<()>();
        let (done, own) = (fired.clone(), log.clone());
        let subject = Recorder::new(&log).on_made(move |cx| {
            let (done, own, typed) = (done.clone(), own.clone(), own.clone());
            let timer = cx.event_loop().call_later(Duration::from_millis(2), move || {
                own.push("LOOP");
                done.set_result(()).expect("it fires once");
            });
            timer.detach();
            cx.call_later(Duration::from_millis(1), move |_, _| typed.push("TYPED")).detach();
            cx.abort();
        });
        connect_to_anyone(&world, subject).await?;
        fired.await.expect("it fires");
        assert_eq!(log.text(), "CM CL(None) LOOP");
        Ok(())
    }

    /// Ruling 11: `spawn` hands its output to the protocol, in a callback of its own.
    async fn a_spawned_task_reports_to_its_protocol(world: World) -> io::Result<()> {
        let log = Log::new();
        let own = log.clone();
        let subject = Recorder::new(&log).on_made(move |cx| {
            let (lp, own) = (cx.event_loop().clone(), own.clone());
            let work = async move {
                lp.sleep(Duration::from_millis(1)).await;
                6 * 7
            };
            cx.spawn(work, move |subject, cx, answer| {
                own.push(format!("{answer}"));
                subject.data.push(answer);
                cx.write(b"done");
                cx.close();
            });
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM 42 CL(None)");
        assert_eq!(conn.with(|subject, _| subject.data.clone()), [42]);
        assert_eq!(text_of(&peer), "done");
        Ok(())
    }

    /// Ruling 11: assigning a timer drops, so cancels, the one before; dropping the protocol's own
    /// timer in a callback of that timer is harmless.
    async fn assigning_a_timer_rearms_it(world: World) -> io::Result<()> {
        struct Idle(Option<Timer>, u32);
        impl Protocol for Idle {
            fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
                self.0 = Some(cx.call_later(FAR, |_, _| unreachable!("it was replaced")));
                self.0 = Some(cx.call_later(Duration::from_millis(1), |this, cx| {
                    this.1 += 1;
                    this.0 = None;
                    cx.close();
                }));
            }

            fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
        }
        let (conn, _peer) = connect_to_anyone(&world, Idle(None, 0)).await?;
        conn.closed().await?;
        assert_eq!(conn.with(|idle, _| idle.1), 1);
        Ok(())
    }

    /// C-55: ruling 11: after `set_protocol` the old pair can still be entered; what it had pending
    /// is cancelled, and what it starts now too.
    async fn a_replaced_protocol_can_be_entered(world: World) -> io::Result<()> {
        let (log, trail) = (Log::new(), Log::new());
        let started = trail.clone();
        let subject = Recorder::new(&log).named("old.").on_data(move |cx, _| {
            start_everything(cx, &started);
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        let new = conn.transport().set_protocol(Recorder::new(&log).named("new."));
        let mut dropped = trail.entries();
        dropped.sort_unstable();
        assert_eq!(dropped, ["-soon", "-task", "-then", "-timer"]);
        conn.with(|old, cx| {
            assert_eq!(old.data, b"data");
            cx.write(b"from the old, ");
            assert!(cx.call_soon(|_, _| unreachable!()).cancelled());
        });
        new.with(|_, cx| cx.write(b"from the new"));
        world.settle().await;
        assert_eq!(text_of(&peer), "from the old, from the new");
        conn.with(|_, cx| cx.close());
        conn.closed().await?;
        new.closed().await?;
        assert_eq!(log.text(), "old.CM old.DR new.CL(None)");
        Ok(())
    }

    /// Ruling 11: the protocol lives as long as somebody holds its pair, and no longer.
    async fn the_protocol_lives_with_its_pair(world: World) -> io::Result<()> {
        struct Tracked(Trail);
        impl Protocol for Tracked {
            fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}

            fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
                self.0.0.push("lost");
            }
        }
        let trail = Log::new();
        let tracked = || Tracked(Trail(trail.clone(), "dropped"));
        let (conn, _peer) = connect_to_anyone(&world, tracked()).await?;
        let transport = conn.transport().clone();
        conn.with(|_, cx| cx.abort());
        conn.closed().await?;
        assert_eq!(trail.text(), "lost");
        drop(conn);
        assert_eq!(trail.text(), "lost dropped");
        drop(transport);

        // Nobody holds the pair: the connection does, until it is lost.
        let (conn, peer) = connect_to_anyone(&world, tracked()).await?;
        drop(conn);
        world.settle().await;
        assert_eq!(trail.text(), "lost dropped");
        peer.with(|_, cx| cx.close());
        world.settle().await;
        assert_eq!(trail.text(), "lost dropped lost dropped");
        Ok(())
    }

    /// Ruling 11: a part that was lent out starts things too; when it is gone they are dropped. It
    /// has no pair of its own.
    async fn what_a_part_starts_finds_the_part(world: World) -> io::Result<()> {
        let whole = Whole { part: Some(Part::default()), timer: None };
        let (conn, peer) = connect_to_anyone(&world, whole).await?;
        peer.with(|_, cx| cx.write(b"start"));
        let answered = peer.clone();
        while length(&answered) == 0 {
            world.host("client").sleep(Duration::from_millis(1)).await;
            world.settle().await;
        }
        let ran = conn.with(|whole, _| std::mem::take(&mut whole.part.as_mut().unwrap().ran));
        assert_eq!(ran, ["soon", "spawned", "later"]);
        peer.with(|_, cx| cx.write(b"start"));
        world.settle().await;
        peer.with(|_, cx| cx.write(b"drop"));
        world.settle().await;
        world.host("client").sleep(Duration::from_millis(3)).await;
        world.settle().await;
        assert!(length(&peer) <= 8);
        assert!(conn.with(|whole, _| whole.part.is_none()));
        Ok(())
    }

    /// Ruling 1: entering a protocol from inside itself panics and names it; the connection is not
    /// harmed by it.
    async fn entering_from_inside_is_refused(world: World) -> io::Result<()> {
        let log = Log::new();
        let refused = Rc::new(Cell::new(false));
        let seen = Rc::clone(&refused);
        let subject = Recorder::new(&log).on_data(move |cx, _| {
            let conn = cx.conn();
            let entered = catch_unwind(AssertUnwindSafe(|| conn.with(|_, _| ())));
            let payload = entered.expect_err("it is entered already");
            let text = payload.downcast_ref::<String>().expect("a message");
            assert!(text.contains("Recorder") && text.contains("entered from inside itself"));
            seen.set(true);
        });
        let (_conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        assert!(refused.get());
        assert_eq!(log.text(), "CM DR");
        Ok(())
    }
}

fn length(conn: &sim_core::Conn<Recorder>) -> usize {
    crate::connected::length_of(conn)
}
