//! C.5: flow control.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use sim_core::{Conn, Cx, Transport, World, WriteBufferLimits, testing};
use tests::recorder::{Log, Recorder};
use tests::{both_loops, sim_only};

use crate::connected::{
    SMALL, connect, connect_to_anyone, cross_the_mark, drain, jam, length_of, log_soon, set_marks,
    text_of,
};

/// Two connections between the same hosts, each jammed, with one log.
struct Two {
    first: Conn<Recorder>,
    second: Conn<Recorder>,
    peers: [Conn<Recorder>; 2],
}

impl Two {
    async fn jammed(world: &World, first: Recorder, second: Recorder) -> io::Result<Self> {
        let (first, peer) = connect_to_anyone(world, first).await?;
        let (second, other) = connect_to_anyone(world, second).await?;
        jam(world, &first, &peer).await;
        jam(world, &second, &other).await;
        Ok(Self { first, second, peers: [peer, other] })
    }
}

fn marks(high: usize, low: usize) -> WriteBufferLimits {
    WriteBufferLimits { high, low }
}

/// Connects `subject`, and fills the network and the buffer until one byte more pauses.
async fn brimful(world: &World, subject: Recorder) -> io::Result<(Conn<Recorder>, Conn<Recorder>)> {
    let (conn, peer) = connect_to_anyone(world, subject).await?;
    jam(world, &conn, &peer).await;
    set_marks(&conn, 0);
    Ok((conn, peer))
}

both_loops! {
    /// C-80, J-06: the defaults, what one mark makes of the other, and what is refused.
    async fn marks_have_sensible_defaults(world: World) -> io::Result<()> {
        let (conn, _peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        let transport = conn.transport();
        assert_eq!(transport.write_buffer_limits(), marks(65_536, 16_384));
        for (limits, expected) in [
            (WriteBufferLimits::from_high(100), marks(100, 25)),
            (WriteBufferLimits::from_high(3), marks(3, 0)),
            (WriteBufferLimits::from_high(0), marks(0, 0)),
            (WriteBufferLimits::from_low(25), marks(100, 25)),
            (WriteBufferLimits::from_low(0), marks(0, 0)),
            (WriteBufferLimits::from_low(usize::MAX), marks(usize::MAX, usize::MAX)),
            (WriteBufferLimits::new(7, 7)?, marks(7, 7)),
            (WriteBufferLimits::default(), marks(65_536, 16_384)),
        ] {
            transport.set_write_buffer_limits(limits)?;
            assert_eq!(transport.write_buffer_limits(), expected);
        }
        for backwards in [marks(0, 1), marks(99, 100), marks(0, usize::MAX)] {
            let error = transport.set_write_buffer_limits(backwards).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert_eq!(transport.write_buffer_limits(), marks(65_536, 16_384));
            let error = WriteBufferLimits::new(backwards.high, backwards.low).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        Ok(())
    }

    /// C-81: at the high mark nothing; one byte more pauses, at once in `is_writable`, and by
    /// `pause_writing` right behind the callback.
    async fn one_byte_above_the_mark_pauses(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        jam(&world, &conn, &peer).await;
        let (soon, subject) = (log.clone(), conn.clone());
        let lp = world.host("client");
        lp.call_soon(move || subject.with(|_, cx| {
            let high = cx.write_buffer_size() + 5;
            cx.set_write_buffer_limits(marks(high, 0)).unwrap();
            cx.write(b"12345");
            assert!(cx.is_writable());
            cx.write(b"6");
            assert!(!cx.is_writable());
            log_soon(cx, &soon, "SOON");
            soon.push("WROTE");
        }));
        world.settle().await;
        assert_eq!(log.text(), "CM WROTE PW SOON");
        Ok(())
    }

    /// C-81: a change of marks judges too: at equality nothing, one below pauses.
    async fn a_change_of_marks_pauses(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        let waiting = jam(&world, &conn, &peer).await;
        conn.transport().set_write_buffer_limits(marks(waiting, 0))?;
        world.settle().await;
        assert_eq!(log.text(), "CM");
        assert!(conn.transport().is_writable());
        conn.with(|_, cx| {
            let size = cx.write_buffer_size();
            cx.set_write_buffer_limits(marks(size - 1, 0)).unwrap();
            assert!(!cx.is_writable());
        });
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        Ok(())
    }

    /// C-81: asyncio's loop of writes while not paused ends by itself inside one callback, one write
    /// above the mark.
    async fn writing_while_writable_ends(world: World) -> io::Result<()> {
        let log = Log::new();
        let written = Rc::new(Cell::new(0));
        let count = Rc::clone(&written);
        let subject = Recorder::new(&log).on_made(move |cx| {
            while cx.is_writable() {
                cx.write(&[b'x'; SMALL]);
                count.set(count.get() + SMALL);
            }
            let high = cx.write_buffer_limits().high;
            assert!((high + 1..=high + SMALL).contains(&cx.write_buffer_size()));
        });
        let peer = Recorder::new(&Log::new()).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect(&world, subject, peer).await?;
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "CM PW RW");
        conn.with(|_, cx| cx.close());
        peer.closed().await?;
        assert_eq!(length_of(&peer), written.get(), "nothing is lost");
        Ok(())
    }

    /// C-82: `pause_writing` comes once, whatever grows and changes meanwhile.
    async fn paused_once_until_resumed(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = brimful(&world, Recorder::new(&log)).await?;
        for round in 0..3 {
            conn.with(|_, cx| {
                cx.write(b"more");
                let size = cx.write_buffer_size();
                cx.set_write_buffer_limits(marks(size + 100, 0)).unwrap();
                cx.set_write_buffer_limits(marks(0, 0)).unwrap();
                cx.write(&[b'y'; 1_000]);
                assert!(!cx.is_writable());
            });
            world.settle().await;
            assert_eq!(log.text(), "CM PW", "round {round}");
        }
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "CM PW RW");
        Ok(())
    }

    /// C-83, C-85: resumed at or below the low mark, from the writer; with low zero when empty.
    async fn resumed_at_the_low_mark(world: World) -> io::Result<()> {
        for low in [0, 1, 20_000] {
            let (log, size) = (Log::new(), Rc::new(Cell::new(usize::MAX)));
            let seen = Rc::clone(&size);
            let subject = Recorder::new(&log).on_resume(move |cx| {
                assert!(cx.is_writable());
                seen.set(cx.write_buffer_size());
            });
            let (conn, peer) = connect_to_anyone(&world, subject).await?;
            jam(&world, &conn, &peer).await;
            set_marks(&conn, low);
            conn.with(|_, cx| cx.write(b"!"));
            drain(&world, &conn, &peer).await;
            assert_eq!(log.text(), "CM PW RW");
            assert!(size.get() <= low, "{} bytes at a low mark of {low}", size.get());
        }
        Ok(())
    }

    /// C-84, J-53: raising the marks, or draining by hand, resumes nothing; the next drain does.
    async fn raising_the_marks_does_not_resume(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = brimful(&world, Recorder::new(&log)).await?;
        conn.with(|_, cx| cx.write(b"!"));
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        conn.transport().set_write_buffer_limits(marks(usize::MAX, usize::MAX))?;
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        assert!(!conn.transport().is_writable());
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "CM PW RW");
        assert!(conn.transport().is_writable());
        Ok(())
    }

    /// C-85: high zero: any byte that waits pauses, and a byte that is sent at once does not.
    async fn at_high_zero_any_waiting_byte_pauses(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        conn.transport().set_write_buffer_limits(WriteBufferLimits::from_high(0))?;
        conn.with(|_, cx| cx.write(b"sent at once"));
        world.settle().await;
        assert_eq!(log.text(), "CM");
        jam(&world, &conn, &peer).await;
        conn.transport().set_write_buffer_limits(WriteBufferLimits::from_high(0))?;
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "CM PW RW");
        assert_eq!(conn.transport().write_buffer_size(), 0);
        Ok(())
    }

    /// C-87, C-83: `resume_writing` may write, more than the mark too: paused and resumed again,
    /// and everything is sent.
    async fn resuming_may_write(world: World) -> io::Result<()> {
        let log = Log::new();
        let mut rounds = 3;
        let subject = Recorder::new(&log).on_resume(move |cx| {
            if rounds > 0 {
                rounds -= 1;
                cx.write(&[b'r'; 50 * SMALL]);
            } else {
                cx.write(b"end");
                cx.close();
            }
        });
        let (conn, peer) = brimful(&world, subject).await?;
        conn.transport().set_write_buffer_limits(marks(SMALL, 10))?;
        peer.with(|_, cx| cx.resume_reading());
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM PW RW PW RW PW RW PW RW CL(None)");
        assert!(text_of(&peer).ends_with("rend"));
        Ok(())
    }

    /// C-87, C-91: writes in `resume_writing` are flushed before the end also when closing.
    async fn resuming_may_write_while_closing(world: World) -> io::Result<()> {
        let log = Log::new();
        let mut rounds = 2;
        let subject = Recorder::new(&log).on_resume(move |cx| {
            assert!(cx.is_closing() && !cx.is_writable());
            if rounds > 0 {
                rounds -= 1;
                cx.write(&[b'c'; 50 * SMALL]);
            }
        });
        let (conn, peer) = brimful(&world, subject).await?;
        conn.with(|_, cx| { cx.write(b"!"); cx.close(); });
        conn.transport().set_write_buffer_limits(marks(SMALL, 10))?;
        peer.with(|_, cx| cx.resume_reading());
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM PW RW PW RW PW RW CL(None)");
        let text = text_of(&peer);
        assert_eq!(text.matches('c').count(), 100 * SMALL);
        assert!(text.ends_with('c'));
        Ok(())
    }

    /// C-87: the writes of the last `resume_writing` go out before the end of the stream.
    async fn resuming_writes_before_the_end(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let subject = Recorder::new(&log).on_resume(|cx| { cx.write(b"more"); cx.write_eof(); });
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        jam(&world, &conn, &peer).await;
        set_marks(&conn, 0);
        conn.with(|_, cx| cx.write(b"!"));
        peer.with(|_, cx| cx.resume_reading());
        conn.closed().await?;
        assert_eq!(log.text(), "CM PW RW ER CL(None)");
        assert_eq!(peer_log.text(), "CM DR ER CL(None)");
        assert!(text_of(&peer).ends_with("!more"));
        Ok(())
    }

    /// C-88, J-01, TR-15: `close` or `abort` in `resume_writing`: one end.
    async fn ending_in_resume(world: World) -> io::Result<()> {
        type End = fn(&mut Cx<'_, Recorder>);
        let ends: [End; 4] = [
            |cx| cx.close(),
            |cx| cx.abort(),
            |cx| { cx.close(); cx.abort(); cx.close(); },
            |cx| { cx.write_eof(); cx.close(); },
        ];
        for (end, low) in ends.into_iter().flat_map(|end| [(end, 0), (end, 10_000)]) {
            let log = Log::new();
            let subject = Recorder::new(&log).on_resume(end);
            let (conn, peer) = connect_to_anyone(&world, subject).await?;
            jam(&world, &conn, &peer).await;
            set_marks(&conn, low);
            conn.with(|_, cx| cx.write(b"!"));
            peer.with(|_, cx| cx.resume_reading());
            conn.closed().await?;
            world.settle().await;
            assert_eq!(log.text(), "CM PW RW CL(None)");
        }
        Ok(())
    }

    /// C-89, J-02, TR-14: `abort` in `pause_writing`: paused, lost, not resumed.
    async fn abort_in_pause(world: World) -> io::Result<()> {
        let log = Log::new();
        let soon = log.clone();
        let subject = Recorder::new(&log).on_pause(move |cx| {
            cx.abort();
            assert_eq!(cx.write_buffer_size(), 0);
            log_soon(cx, &soon, "NEXT");
        });
        let (conn, peer) = brimful(&world, subject).await?;
        conn.with(|_, cx| cx.write(b"!"));
        peer.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM PW CL(None) NEXT");
        Ok(())
    }

    /// C-89: `close` in `pause_writing`: the output drains, and it is resumed on the way.
    async fn close_in_pause(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = brimful(&world, Recorder::new(&log).on_pause(|cx| cx.close())).await?;
        conn.with(|_, cx| cx.write(b"!"));
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        peer.with(|_, cx| cx.resume_reading());
        conn.closed().await?;
        assert_eq!(log.text(), "CM PW RW CL(None)");
        Ok(())
    }

    /// C-90, TR-13: a connection that is lost while paused is not resumed.
    async fn lost_while_paused(world: World) -> io::Result<()> {
        type End = fn(&Conn<Recorder>, &Conn<Recorder>);
        let ends: [(End, &str); 3] = [
            (|conn, _| conn.with(|_, cx| cx.abort()), "CM PW CL(None)"),
            (|conn, _| conn.with(|_, cx| cx.fail(io::ErrorKind::TimedOut.into())), "CM PW CL(TimedOut)"),
            (|_, peer| peer.with(|_, cx| cx.abort()), "CM PW CL(ConnectionReset)"),
        ];
        for (end, text) in ends {
            let log = Log::new();
            let (conn, peer) = brimful(&world, Recorder::new(&log)).await?;
            conn.with(|_, cx| cx.write(b"!"));
            world.settle().await;
            end(&conn, &peer);
            world.settle().await;
            assert_eq!(log.text(), text);
            assert!(!conn.transport().is_writable());
        }
        Ok(())
    }

    /// C-91, C-09, C-83, TR-10: `close` while paused: resumed at low, and lost in the same handle if
    /// the last chunk crosses both.
    async fn close_while_paused_resumes_and_ends_in_one_handle(world: World) -> io::Result<()> {
        let log = Log::new();
        let soon = log.clone();
        let subject = Recorder::new(&log).on_resume(move |cx| log_soon(cx, &soon, "NEXT"));
        let (conn, peer) = brimful(&world, subject).await?;
        conn.with(|_, cx| { cx.write(b"!"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        peer.with(|_, cx| cx.resume_reading());
        conn.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM PW RW CL(None) NEXT");
        Ok(())
    }

    /// C-92, J-05, C-93: `resume_writing` writes to another transport, which pauses by it: right
    /// behind, and not inside.
    async fn resuming_one_pauses_another(world: World) -> io::Result<()> {
        let log = Log::new();
        let other: Rc<RefCell<Option<Transport>>> = Rc::default();
        let (target, done, next) = (Rc::clone(&other), log.clone(), log.clone());
        let first = Recorder::new(&log).named("1.").on_resume(move |cx| {
            let target = target.borrow().clone().expect("it is there by now");
            cross_the_mark(&target);
            assert!(!target.is_writable());
            log_soon(cx, &next, "NEXT");
            done.push("RESUMED");
        });
        let second = Recorder::new(&log).named("2.");
        let Two { first, second, peers } = Two::jammed(&world, first, second).await?;
        set_marks(&first, 0);
        set_marks(&second, 0);
        other.replace(Some(second.transport().clone()));
        first.with(|_, cx| cx.write(b"!"));
        drain(&world, &first, &peers[0]).await;
        assert_eq!(log.text(), "1.CM 2.CM 1.PW 1.RW RESUMED 2.PW NEXT");
        drain(&world, &second, &peers[1]).await;
        assert_eq!(log.text(), "1.CM 2.CM 1.PW 1.RW RESUMED 2.PW NEXT 2.RW");
        Ok(())
    }

    /// C-92, C-91: ruling 1: what `resume_writing` made another transport do comes before the end of
    /// its own connection, which is in the same handle.
    async fn the_pause_of_another_comes_before_the_end(world: World) -> io::Result<()> {
        let log = Log::new();
        let other: Rc<RefCell<Option<Transport>>> = Rc::default();
        let target = Rc::clone(&other);
        let first = Recorder::new(&log).named("1.").on_resume(move |_| {
            cross_the_mark(target.borrow().as_ref().expect("it is there by now"));
        });
        let second = Recorder::new(&log).named("2.");
        let Two { first, second, peers } = Two::jammed(&world, first, second).await?;
        set_marks(&first, 0);
        set_marks(&second, 0);
        other.replace(Some(second.transport().clone()));
        first.with(|_, cx| { cx.write(b"!"); cx.close(); });
        peers[0].with(|_, cx| cx.resume_reading());
        first.closed().await?;
        assert_eq!(log.text(), "1.CM 2.CM 1.PW 1.RW 2.PW 1.CL(None)");
        Ok(())
    }

    /// C-93: two protocols that make each other pause: the events come one behind the other, and no
    /// callback runs inside another.
    async fn flow_events_do_not_nest(world: World) -> io::Result<()> {
        let (log, depth) = (Log::new(), Rc::new(Cell::new(0)));
        let others: [Rc<RefCell<Option<Transport>>>; 2] = Default::default();
        let recorder = |name, own: usize| {
            let (depth, target) = (Rc::clone(&depth), Rc::clone(&others[1 - own]));
            Recorder::new(&log).named(name).on_pause(move |_| {
                depth.set(depth.get() + 1);
                assert_eq!(depth.get(), 1, "a callback inside another");
                cross_the_mark(target.borrow().as_ref().expect("it is there"));
                depth.set(depth.get() - 1);
            })
        };
        let two = Two::jammed(&world, recorder("1.", 0), recorder("2.", 1)).await?;
        others[0].replace(Some(two.first.transport().clone()));
        others[1].replace(Some(two.second.transport().clone()));
        set_marks(&two.first, 0);
        set_marks(&two.second, 0);
        two.first.with(|_, cx| cx.write(b"!"));
        world.settle().await;
        assert_eq!(log.text(), "1.CM 2.CM 1.PW 2.PW");
        drain(&world, &two.first, &two.peers[0]).await;
        drain(&world, &two.second, &two.peers[1]).await;
        assert_eq!((log.count("1.RW"), log.count("2.RW")), (1, 1));
        others.iter().for_each(|other| drop(other.take()));
        Ok(())
    }

    /// C-81: ruling 1: crossings of several connections in one callback come in their order, before
    /// anything that was queued.
    async fn crossings_come_in_order(world: World) -> io::Result<()> {
        let log = Log::new();
        let recorder = |name| Recorder::new(&log).named(name);
        let two = Two::jammed(&world, recorder("1."), recorder("2.")).await?;
        set_marks(&two.first, 0);
        set_marks(&two.second, 0);
        let (lp, noted) = (world.host("client"), log.clone());
        let (first, second) = (two.first.transport().clone(), two.second.transport().clone());
        let queued = log.clone();
        lp.call_soon(move || {
            cross_the_mark(&second);
            cross_the_mark(&first);
            cross_the_mark(&second);
            noted.push("WROTE");
        });
        lp.call_soon(move || queued.push("QUEUED"));
        world.settle().await;
        assert_eq!(log.text(), "1.CM 2.CM WROTE 2.PW 1.PW QUEUED");
        Ok(())
    }

    /// C-81: ruling 1: a crossing in a step of a task comes right behind the step.
    async fn a_crossing_in_a_task_comes_behind_its_step(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, _peer) = brimful(&world, Recorder::new(&log)).await?;
        let (lp, noted, transport) = (world.host("client"), log.clone(), conn.transport().clone());
        let (inner, queued) = (lp.clone(), log.clone());
        lp.create_task(async move {
            cross_the_mark(&transport);
            inner.call_soon(move || queued.push("QUEUED"));
            noted.push("STEP1");
            inner.sleep(std::time::Duration::ZERO).await;
            noted.push("STEP2");
        })
        .await
        .expect("it ends");
        assert_eq!(log.text(), "CM STEP1 PW QUEUED STEP2");
        Ok(())
    }

    /// C-81: ruling 1: a crossing comes before a `connection_lost` that the same callback caused.
    async fn a_crossing_comes_before_the_loss_of_the_same_callback(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, _peer) = brimful(&world, Recorder::new(&log)).await?;
        let (subject, noted) = (conn.clone(), log.clone());
        world.host("client").call_soon(move || subject.with(|_, cx| {
            cross_the_mark(cx);
            cx.abort();
            noted.push("ABORTED");
        }));
        world.settle().await;
        assert_eq!(log.text(), "CM ABORTED PW CL(None)");
        Ok(())
    }
}

sim_only! {
    /// K-05: bytes in flight are bounded, so growth, pause and resume repeat, as often as the amount
    /// says, whatever the seed.
    async fn pausing_and_resuming_repeat(world: World) -> io::Result<()> {
        const TOTAL: usize = 1_000_000;
        let (log, peak) = (Log::new(), Rc::new(Cell::new(0)));
        let left = Rc::new(Cell::new(TOTAL));
        fn pump(cx: &mut Cx<'_, Recorder>, left: &Cell<usize>, peak: &Cell<usize>) {
            while cx.is_writable() && left.get() > 0 {
                cx.write(&[b'k'; 1_000]);
                left.set(left.get() - 1_000);
                peak.set(peak.get().max(cx.write_buffer_size()));
            }
            if left.get() == 0 {
                cx.close();
            }
        }
        let counters = (Rc::clone(&left), Rc::clone(&peak));
        let again = counters.clone();
        let subject = Recorder::new(&log)
            .on_made(move |cx| pump(cx, &counters.0, &counters.1))
            .on_resume(move |cx| pump(cx, &again.0, &again.1));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(length_of(&peer), TOTAL);
        assert!((65_537..=66_536).contains(&peak.get()), "{}", peak.get());
        let (paused, resumed) = (log.count("PW"), log.count("RW"));
        // Each round takes at least the distance between the marks.
        assert!((10..=TOTAL / (65_536 - 16_384)).contains(&paused), "{paused}");
        assert_eq!(paused, resumed);
        assert_eq!(log.text(), format!("CM{} CL(None)", " PW RW".repeat(paused)));
        Ok(())
    }
}

/// C-81, C-83, C-85: the exact bytes at which writing pauses and resumes.
// on: engine
#[test]
fn marks_are_exact() {
    for (high, low) in [(10, 4), (10, 10), (10, 0), (1, 1), (1, 0), (0, 0)] {
        let log = Log::new();
        let mut peer = testing::drive_with_window(Recorder::new(&log), 0);
        peer.transport().set_write_buffer_limits(marks(high, low)).unwrap();
        peer.with(|_, cx| cx.write(&vec![0; high]));
        assert_eq!(log.text(), "CM", "{high}/{low}: at the high mark");
        peer.with(|_, cx| cx.write(b"!"));
        assert_eq!(log.text(), "CM PW", "{high}/{low}: above the high mark");
        peer.take(high - low);
        assert_eq!(log.text(), "CM PW", "{high}/{low}: above the low mark");
        peer.take(1);
        assert_eq!(log.text(), "CM PW RW", "{high}/{low}: at the low mark");
    }
}

/// C-83, C-09: resumed before the end that the same handle decides.
// on: engine
#[test]
fn resumed_before_the_end_of_the_stream() {
    let log = Log::new();
    let mut peer = testing::drive_with_window(Recorder::new(&log), 0);
    peer.transport().set_write_buffer_limits(marks(3, 3)).unwrap();
    peer.with(|_, cx| {
        cx.write(b"four");
        cx.write_eof();
    });
    assert!(!peer.is_eof_written());
    peer.take(1);
    assert_eq!(log.text(), "CM PW RW");
    assert!(!peer.is_eof_written(), "three bytes wait");
    peer.take(3);
    assert!(peer.is_eof_written());
}
