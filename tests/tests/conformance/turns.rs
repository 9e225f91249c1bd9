//! The turn (A.2), and the order of callbacks and wake-ups (ruling 8).

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use sim_core::driver::Next;
use sim_core::stream::{StreamReader, StreamWriter};
use sim_core::{Conn, EventLoop, Handle, Loop, RunError, Time, Timer, World, WriteBufferLimits};
use sim_net::Sim;
use tests::harness::Make;
use tests::recorder::{Log, Recorder};
use tests::{both_bare_loops, both_loops, real_only};

use crate::connected::{ADDRESS, connect};
use crate::loops::{NoteDrop, connect_on, ms, note, note_soon, reports_of, run_a_turn, run_for};
use crate::watched::{Waits, real_loop, scripted_loop};

/// Queues `link`, which queues itself until `ends`.
fn chain(lp: &Loop, count: Rc<Cell<u64>>, ends: impl Fn(u64) -> bool + 'static) {
    let handle = lp.clone();
    lp.call_soon(move || {
        count.set(count.get() + 1);
        if !ends(count.get()) {
            chain(&handle, count, ends);
        }
    });
}

/// What a client hears that becomes readable and writable at once.
async fn order_of_both_directions(world: &World) -> io::Result<Vec<String>> {
    let (log, lp) = (Log::new(), world.host("client"));
    let mut answers = true;
    let peer = Recorder::new(&Log::new()).on_made(|cx| cx.pause_reading()).on_data(move |cx, _| {
        // Reading made room for the client; now it has something to read as well.
        if std::mem::take(&mut answers) {
            cx.write(b"answer");
        }
    });
    let (conn, peer) = connect(world, Recorder::new(&log), peer).await?;
    // What the network does not take is little, and leaves at once when there is room.
    conn.with(|_, cx| {
        cx.set_write_buffer_limits(WriteBufferLimits { high: 0, low: 0 }).unwrap();
    });
    while conn.with(|_, cx| cx.is_writable()) {
        conn.with(|_, cx| {
            while cx.is_writable() {
                cx.write(&[7; 1_024]);
            }
        });
        world.settle().await;
    }
    let before = log.entries().len();
    // In the simulator the client's processor is busy until both have arrived.
    let busy = lp.clone();
    lp.call_soon(move || busy.spend(ms(20)));
    world.host("server").call_soon(move || peer.with(|_, cx| cx.resume_reading()));
    world.settle().await;
    Ok(log.entries().split_off(before))
}

both_bare_loops! {
    /// callbacks run in the order of the calls, each once.
    fn callbacks_run_in_order_and_once(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        run_a_turn(&lp);
        let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        for name in &names {
            lp.call_soon(note(&log, name));
        }
        run_a_turn(&lp);
        assert_eq!(log.entries(), names);
        run_a_turn(&lp);
        assert_eq!(log.entries().len(), 1_000);
    }

    /// a turn runs exactly what was queued before its poll; what that queues runs in the
    /// next one.
    fn what_a_callback_queues_runs_in_the_next_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (handle, seen) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            seen.push("1");
            let (inner, again) = (handle.clone(), seen.clone());
            handle.call_soon(move || {
                again.push("2");
                note_soon(&inner, &again, &["3"]);
                inner.call_later(ms(0), note(&again, "3.timer")).detach();
            });
            handle.call_later(ms(0), note(&seen, "2.timer")).detach();
        });
        note_soon(&lp, &log, &["1b"]);
        for expected in ["1 1b", "1 1b 2 2.timer", "1 1b 2 2.timer 3 3.timer"] {
            run_a_turn(&lp);
            assert_eq!(log.text(), expected);
        }
    }

    /// TR-31: what was queued runs before a timer that expired long before.
    fn queued_callbacks_run_before_expired_timers(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        run_for(&lp, ms(1));
        let _late = lp.call_at(Time::ZERO + ms(1), note(&log, "late"));
        let _later = lp.call_at(Time::ZERO, note(&log, "earlier"));
        note_soon(&lp, &log, &["a", "b"]);
        run_a_turn(&lp);
        assert_eq!(log.text(), "a b earlier late");
    }

    /// A-22, B-11: first in, first out holds across `call_soon` and the wake-ups of tasks (ruling 8).
    fn wake_ups_keep_their_place_among_callbacks(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let futures = [lp.create_future::<()>(), lp.create_future(), lp.create_future()];
        for (name, future) in ["x", "y", "z"].into_iter().zip(&futures) {
            let (future, seen) = (future.clone(), log.clone());
            lp.create_task(async move {
                future.await.unwrap();
                seen.push(name);
            });
        }
        run_a_turn(&lp);
        let [x, y, z] = futures;
        let (handle, seen) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            note_soon(&handle, &seen, &["a"]);
            x.set_result(()).unwrap();
            note_soon(&handle, &seen, &["b", "c"]);
            z.set_result(()).unwrap();
            handle.create_task({
                let seen = seen.clone();
                async move { seen.push("new") }
            });
            y.set_result(()).unwrap();
            note_soon(&handle, &seen, &["d"]);
        });
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "a x b c z new y d");
    }

    /// the same for wake-ups from outside any turn, and between two runs.
    fn wake_ups_outside_turns_keep_their_place(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let futures: Vec<_> = (0..3).map(|_| lp.create_future::<()>()).collect();
        for (name, future) in ["x", "y", "z"].into_iter().zip(&futures) {
            let (future, seen) = (future.clone(), log.clone());
            lp.create_task(async move {
                future.await.unwrap();
                seen.push(name);
            });
        }
        note_soon(&lp, &log, &["start"]);
        run_a_turn(&lp);
        futures[2].set_result(()).unwrap();
        note_soon(&lp, &log, &["a"]);
        futures[0].set_result(()).unwrap();
        note_soon(&lp, &log, &["b"]);
        futures[1].set_result(()).unwrap();
        run_a_turn(&lp);
        assert_eq!(log.text(), "start z a x b y");
    }

    /// a task that is woken several times before it runs takes one step.
    fn several_wake_ups_are_one_step(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let waker = Rc::new(RefCell::new(None));
        let (slot, seen) = (Rc::clone(&waker), log.clone());
        lp.create_task(std::future::poll_fn(move |cx| {
            seen.push("step");
            slot.replace(Some(cx.waker().clone()));
            std::task::Poll::<()>::Pending
        }));
        run_a_turn(&lp);
        for _ in 0..3 {
            waker.borrow().clone().unwrap().wake();
            waker.borrow().as_ref().unwrap().wake_by_ref();
        }
        note_soon(&lp, &log, &["queued"]);
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "step step queued");
    }

    /// an endless chain of callbacks starves no timer on the real loop; in the simulator time
    /// stands still, and the bound on turns ends the run.
    fn an_endless_chain_of_callbacks(make: Make) {
        let (lp, count) = (make.new_loop(), Rc::new(Cell::new(0)));
        let (stop, fired) = (lp.stop_handle(), Rc::new(Cell::new(false)));
        let flag = Rc::clone(&fired);
        let _timer = lp.call_later(ms(2), move || {
            flag.set(true);
            stop.stop();
        });
        chain(&lp, Rc::clone(&count), |_| false);
        match (make, lp.run_forever()) {
            (Make::Real, Ok(())) => assert!(fired.get()),
            (Make::Sim, Err(RunError::Limit { name, .. })) => {
                assert_eq!(name, "max_turns_per_instant");
                assert_eq!((fired.get(), count.get(), lp.time()), (false, 1_000_000, Time::ZERO));
            }
            (_, other) => panic!("{other:?}"),
        }
    }

    /// a chain of callbacks starves no connection: each link is a turn of its own.
    fn a_chain_of_callbacks_does_not_starve_a_connection(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (client, _server) =
            connect_on(&lp, Recorder::new(&Log::new()), Recorder::new(&log).named("S:"));
        client.with(|_, cx| cx.write(b"data"));
        let (count, seen) = (Rc::new(Cell::new(0)), log.clone());
        let costs = lp.clone();
        let (stop, links) = (lp.stop_handle(), Rc::clone(&count));
        chain(&lp, count, move |_| {
            if let Make::Sim = make {
                costs.spend(Duration::from_micros(1));
            }
            let ended = seen.count("S:DR") == 1;
            if ended {
                stop.stop();
            }
            ended
        });
        lp.run_forever().unwrap();
        assert!((1..10_000).contains(&links.get()), "{}", links.get());
    }

    /// what is cancelled in the turn whose snapshot holds it does not run, callbacks and
    /// timers alike; its destructor runs in `cancel`.
    fn what_is_cancelled_in_its_own_turn_does_not_run(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let callback = Rc::new(RefCell::new(None::<Handle>));
        let timer = Rc::new(RefCell::new(None::<Timer>));
        let (queued, due, seen) = (Rc::clone(&callback), Rc::clone(&timer), log.clone());
        lp.call_soon(move || {
            seen.push("cancel");
            queued.borrow().as_ref().unwrap().cancel();
            seen.push("timer");
            due.borrow().as_ref().unwrap().cancel();
            due.borrow().as_ref().unwrap().cancel();
        });
        let kept = NoteDrop(log.clone(), "dropped");
        let ran = note(&log, "ran");
        callback.replace(Some(lp.call_soon(move || {
            ran();
            drop(kept);
        })));
        timer.replace(Some(lp.call_later(ms(0), note(&log, "fired"))));
        note_soon(&lp, &log, &["after"]);
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "cancel dropped timer after");
        assert!(callback.borrow().as_ref().unwrap().cancelled());
        assert!(timer.borrow().as_ref().unwrap().cancelled());
    }

    /// the handle of a callback that has run, or runs, cancels nothing.
    fn a_callback_cannot_be_cancelled_once_it_runs(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let own = Rc::new(RefCell::new(None::<Handle>));
        let (slot, seen) = (Rc::clone(&own), log.clone());
        own.replace(Some(lp.call_soon(move || {
            slot.borrow().as_ref().unwrap().cancel();
            seen.push("ran");
        })));
        run_a_turn(&lp);
        let handle = own.take().unwrap();
        // Its place in the table may belong to another by now.
        note_soon(&lp, &log, &["next"]);
        handle.cancel();
        assert!(!handle.cancelled());
        run_a_turn(&lp);
        assert_eq!(log.text(), "ran next");
    }

    /// a crossing outside any turn comes first in the next one (ruling 1), and what it
    /// queues is not part of that turn.
    fn a_crossing_outside_a_turn_comes_first_and_adds_nothing_to_it(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let seen = log.clone();
        let client = Recorder::new(&log).on_pause(move |cx| {
            cx.call_soon(|recorder, _| recorder.log.push("child"));
            cx.event_loop().call_later(ms(0), note(&seen, "child.timer")).detach();
        });
        let server = Recorder::new(&Log::new()).on_made(|cx| cx.pause_reading());
        let (client, _server) = connect_on(&lp, client, server);
        note_soon(&lp, &log, &["queued"]);
        let _due = lp.call_later(ms(0), note(&log, "due"));
        client.with(|_, cx| cx.write(&vec![7; 4 << 20]));
        assert_eq!(log.text(), "CM");
        run_a_turn(&lp);
        assert_eq!(log.text(), "CM PW queued due");
        run_a_turn(&lp);
        assert_eq!(log.text(), "CM PW queued due child child.timer");
    }

    /// J-32, A-04: an event whose callback stops the loop is delivered once.
    fn an_event_that_stops_the_loop_comes_once(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let stop = lp.stop_handle();
        let server = Recorder::new(&log).named("S:").on_data(move |_, _| stop.stop());
        let (client, server) = connect_on(&lp, Recorder::new(&Log::new()), server);
        client.with(|_, cx| cx.write(b"once"));
        lp.run_forever().unwrap();
        run_for(&lp, ms(1));
        run_a_turn(&lp);
        assert_eq!(log.text(), "S:CM S:DR");
        server.with(|recorder, _| assert_eq!(recorder.data, b"once"));
    }
}

both_loops! {
    /// A-21, TR-31: within a turn, what was queued runs first, then I/O, then due timers.
    async fn queued_then_io_then_timers(world: World) -> io::Result<()> {
        let (log, lp) = (Log::new(), world.host("client"));
        let (conn, peer) = connect(&world, Recorder::new(&log), Recorder::new(&Log::new())).await?;
        let done = lp.create_future::<()>();
        let (handle, seen, end) = (lp.clone(), log.clone(), done.clone());
        lp.call_soon(move || {
            peer.with(|_, cx| cx.write(b"data"));
            let timer = note(&seen, "timer");
            let ended = move || {
                timer();
                end.set_result(()).unwrap();
            };
            handle.call_later(ms(1), ended).detach();
            note_soon(&handle, &seen, &["queued"]);
            // The data arrives and the timer expires before the turn after this one.
            handle.spend(ms(5));
        });
        done.await.unwrap();
        assert_eq!(log.text(), "CM queued DR timer");
        drop(conn);
        Ok(())
    }

    /// what is readable and writable at once is read first.
    async fn a_connection_is_read_before_it_is_written(world: World) -> io::Result<()> {
        let mut orders = Vec::new();
        // A busy kernel may tell the one before the other; it does not do so always.
        while orders.len() < 8 && orders.last() != Some(&["DR", "RW"].map(str::to_owned).to_vec()) {
            orders.push(order_of_both_directions(&world).await?);
        }
        assert_eq!(orders.pop().unwrap(), ["DR", "RW"], "{orders:?}");
        Ok(())
    }

    /// A-29, C-35: readiness of a connection that was aborted in the same turn is discarded, and does
    /// not reach the connection that takes its place.
    async fn readiness_of_a_closed_connection_is_discarded(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let peers: Rc<RefCell<Vec<Conn<Recorder>>>> = Rc::default();
        let accepted = Rc::clone(&peers);
        let factory = move || {
            let accepted = Rc::clone(&accepted);
            Recorder::new(&Log::new()).on_made(move |cx| accepted.borrow_mut().push(cx.conn()))
        };
        let listening = server.create_server(ADDRESS, factory).await?;
        let logs = [Log::new(), Log::new()];
        let conns: Rc<RefCell<Vec<Conn<Recorder>>>> = Rc::default();
        for (own, log) in logs.iter().enumerate() {
            let all = Rc::clone(&conns);
            let first_aborts_the_other = move |_: &mut sim_core::Cx<'_, Recorder>, _: &[u8]| {
                let other = all.borrow()[1 - own].transport().clone();
                if !other.is_closing() {
                    other.abort();
                }
            };
            let recorder = Recorder::new(log).on_data(first_aborts_the_other);
            let conn = client.create_connection(ADDRESS, || recorder).await?;
            conns.borrow_mut().push(conn);
        }
        world.settle().await;
        // Both have data, and the client sees it in one turn.
        let (sends, busy) = (Rc::clone(&peers), client.clone());
        client.call_soon(move || {
            for peer in &*sends.borrow() {
                peer.with(|_, cx| cx.write(b"data"));
            }
            busy.spend(ms(4));
        });
        client.sleep(ms(5)).await;
        let late = Log::new();
        let third = client.create_connection(ADDRESS, || Recorder::new(&late)).await?;
        world.settle().await;
        let mut texts = [logs[0].text(), logs[1].text()];
        texts.sort();
        assert_eq!(texts, ["CM CL(None)", "CM DR"]);
        assert_eq!(late.text(), "CM");
        drop((third, listening));
        Ok(())
    }
}

real_only! {
    /// connections that are ready in one poll are all served, in whatever order.
    async fn all_that_is_ready_is_served(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let log = Log::new();
        let seen = log.clone();
        let _listening = server.create_server(ADDRESS, move || Recorder::new(&seen)).await?;
        let mut conns = Vec::new();
        for _ in 0..8 {
            conns.push(client.create_connection(ADDRESS, || Recorder::new(&Log::new())).await?);
        }
        world.settle().await;
        for (number, conn) in (0..).zip(&conns) {
            conn.with(|_, cx| cx.write(&[number]));
        }
        world.settle().await;
        // Consecutive `DR`s are one entry of a log.
        assert_eq!(log.text(), format!("{}DR", "CM ".repeat(8)));
        for conn in conns {
            conn.with(|_, cx| cx.close());
        }
        world.settle().await;
        assert_eq!(log.count("ER"), 8);
        Ok(())
    }
}

/// When a wait ends at the latest.
fn order(next: &Next) -> Time {
    match *next {
        Next::Now => Time::ZERO,
        Next::At(at) => at,
        Next::Never => Time::NEVER,
    }
}

/// What the loop waits for, turn by turn, on any driver whose clock is the loop's own.
fn waits_for_what_it_has(lp: &EventLoop, waits: &Waits) {
    let log = Log::new();
    // A stop before the run: one look.
    let _far = lp.call_later(ms(3_600_000), || {});
    run_a_turn(lp);
    assert_eq!(waits.take(), [Next::Now]);

    // Something is ready: a look for each link of the chain.
    let (count, stop) = (Rc::new(Cell::new(0)), lp.stop_handle());
    chain(lp, Rc::clone(&count), move |links| {
        if links == 5 {
            stop.stop();
        }
        links == 5
    });
    lp.run_forever().unwrap();
    assert_eq!(waits.take(), [Next::Now; 5]);

    // Nothing is: until the earliest live timer, in a wait or several.
    let near = lp.call_later(ms(1), || panic!("it was cancelled"));
    let stop = lp.stop_handle();
    let end = lp.call_later(ms(3), move || stop.stop());
    let between = lp.call_later(ms(2), note(&log, "between"));
    near.cancel();
    lp.run_forever().unwrap();
    let waited = waits.take();
    assert_eq!(waited[0], Next::At(between.when()));
    // A late kernel may make both due at once.
    let last = [Next::At(between.when()), Next::At(end.when())];
    assert!(waited.iter().all(|next| last.contains(next)) && waited.is_sorted_by_key(order));
    assert_eq!(log.text(), "between");

    // A wake-up is something ready; a stop in a turn is a look.
    let future = lp.create_future::<()>();
    future.set_result(()).unwrap();
    lp.run_until_complete(future).unwrap().unwrap();
    assert_eq!(waits.take(), [Next::Now]);
}

/// the loop looks if anything is ready or the stop
/// flag is set, and waits for the earliest live timer otherwise.
// on: engine
#[test]
fn waits_over_the_scripted_driver() {
    let (lp, waits) = scripted_loop();
    waits_for_what_it_has(&lp, &waits);
}

/// the same over the kernel's selector.
// on: real
#[test]
fn waits_over_the_real_driver() {
    let (lp, waits) = real_loop();
    waits_for_what_it_has(&lp, &waits);
}

/// a task that data woke has its turn without another poll, and what it queues waits for one.
// on: real
#[test]
fn data_reach_a_task_without_another_poll() {
    let (lp, waits) = real_loop();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (client, addr) = (Loop::clone(&lp), listener.local_addr().unwrap());
    let connecting = async move { client.open_connection(addr).await };
    let (mut reader, writer) = lp.run_until_complete(connecting).unwrap().unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    for yields in 0..3 {
        let (handle, stop) = (lp.clone(), lp.stop_handle());
        let task = lp.create_task(async move {
            reader.read(1).await.unwrap();
            for _ in 0..yields {
                handle.sleep(Duration::ZERO).await;
            }
            stop.stop();
            reader
        });
        // The task waits, and what the connection was told of itself is heard.
        run_for(&lp, ms(20));
        waits.take();
        peer.write_all(b"x").unwrap();
        lp.run_forever().unwrap();
        let waited = waits.take();
        let looks = waited.iter().filter(|&&next| next == Next::Now).count();
        assert!(looks < waited.len(), "it waits for the data");
        assert_eq!(looks, yields, "a look for each time that the task yields, and none before");
        reader = task.take_result().expect("it stopped the loop").unwrap();
    }
    drop(writer);
}

/// nor does it have a turn of its own in the simulator. What it queues has.
// on: sim
#[test]
fn data_reach_a_task_in_the_turn_that_read_them() {
    let report = Sim::new(1).trace(true).run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let greet = |mut reader: StreamReader, writer: StreamWriter| async move {
            writer.write(b"x");
            reader.read(1).await.map(drop)
        };
        let _server = server.start_server(("server", 7), greet).await?;
        let (mut reader, _writer) = client.open_connection(("server", 7)).await?;
        let lp = client.clone();
        let reading = client.create_task(async move {
            reader.read(1).await?;
            lp.mark("read", 0);
            lp.sleep(Duration::ZERO).await;
            lp.mark("yielded", 0);
            io::Result::Ok(())
        });
        reading.await.unwrap()
    });
    let log = report.log.unwrap();
    let steps: Vec<String> = log
        .entries()
        .filter(|entry| log.host(entry.host) == "client")
        .map(|entry| log.text(&entry))
        .skip_while(|step| !step.ends_with("data_received 1 B"))
        .map(|step| if step.starts_with("mark") { "mark".to_owned() } else { step })
        .take(6)
        .collect();
    let (polled, turn) = ("task 1 polled", "turn");
    assert_eq!(steps, ["#1 data_received 1 B", polled, "mark", turn, polled, "mark"]);
}

/// without a live timer the loop waits for an event, however long.
// on: engine
#[test]
fn without_timers_it_waits_for_ever() {
    let (lp, waits) = scripted_loop();
    let reports = reports_of(&lp);
    lp.call_later(Duration::MAX, || {}).detach();
    lp.call_later(ms(1), || {}).cancel();
    assert!(matches!(lp.run_forever(), Err(RunError::Deadlock { .. })));
    assert_eq!(waits.take(), [Next::Never]);
    assert_eq!(reports.text(), "");
}
