//! Threads (A.5), and wake-ups from them (ruling 8).

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use real_net::{LoopClosed, Remote};
use sim_core::{EventLoop, Loop, RunError, StopHandle};
use sim_net::{FindingKind, Sim};
use tests::recorder::Log;

use crate::loops::{ms, note_soon, reports_of, run_a_turn};
use crate::watched::real_loop;

/// What remote calls leave behind on the loop's thread: they carry no `Rc`.
#[derive(Default)]
struct Board {
    calls: Vec<(usize, usize)>,
    wanted: usize,
    stop: Option<StopHandle>,
}

thread_local! {
    static BOARD: RefCell<Board> = RefCell::default();
}

/// A call that writes itself down, and stops the loop when all that are wanted have come.
fn call(by: usize, number: usize) -> impl FnOnce(&Loop) + Send {
    move |_| {
        BOARD.with_borrow_mut(|board| {
            board.calls.push((by, number));
            if board.calls.len() == board.wanted
                && let Some(stop) = &board.stop
            {
                stop.stop();
            }
        });
    }
}

/// Runs the loop until `wanted` calls came.
fn run_until(lp: &EventLoop, wanted: usize) -> Vec<(usize, usize)> {
    BOARD.with_borrow_mut(|board| {
        board.wanted = wanted;
        board.stop = Some(lp.stop_handle());
    });
    lp.run_forever().unwrap();
    BOARD.take().calls
}

/// a call wakes a loop that waits without a limit, again and again.
#[test]
// on: real
fn a_remote_call_wakes_a_waiting_loop() {
    let lp = real_net::new_loop().unwrap();
    let remote = Remote::new(&lp);
    let stopper = lp.stop_handle();
    let _last = lp.call_later(ms(60_000), move || stopper.stop());
    let (arrived, arrivals) = mpsc::channel();
    let caller = thread::spawn(move || {
        for number in 0..200 {
            let arrived = arrived.clone();
            remote
                .call_soon(move |lp| {
                    call(0, number)(lp);
                    arrived.send(()).unwrap();
                })
                .unwrap();
            // The loop has nothing else to do: it waits when the next call comes.
            arrivals.recv().unwrap();
        }
    });
    let calls = run_until(&lp, 200);
    caller.join().unwrap();
    assert_eq!(calls, (0..200).map(|number| (0, number)).collect::<Vec<_>>());
}

/// the calls of each thread keep their order, whatever the others do.
#[test]
// on: real
fn the_calls_of_a_thread_keep_their_order() {
    let lp = real_net::new_loop().unwrap();
    let remote = Remote::new(&lp);
    let callers: Vec<_> = (0..4)
        .map(|by| {
            let remote = remote.clone();
            thread::spawn(move || {
                (0..250).for_each(|number| remote.call_soon(call(by, number)).unwrap());
            })
        })
        .collect();
    let calls = run_until(&lp, 1_000);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    for by in 0..4 {
        let own = calls.iter().filter(|call| call.0 == by).map(|call| call.1);
        assert_eq!(own.collect::<Vec<_>>(), (0..250).collect::<Vec<_>>());
    }
}

/// a call from the loop's own thread works, before a run and inside a callback.
#[test]
// on: real
fn a_remote_call_from_the_loops_own_thread_works() {
    let lp = real_net::new_loop().unwrap();
    let remote = Remote::new(&lp);
    remote.call_soon(call(0, 1)).unwrap();
    let inside = remote.clone();
    lp.call_soon(move || inside.call_soon(call(0, 2)).unwrap());
    assert_eq!(run_until(&lp, 2), [(0, 1), (0, 2)]);
}

/// after the close a call returns an error, and its closure is dropped; one that raced with the
/// close is harmless.
#[test]
// on: real
fn a_remote_call_after_the_close_is_an_error() {
    struct CountsDrops(Arc<AtomicUsize>);
    impl Drop for CountsDrops {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let lp = real_net::new_loop().unwrap();
    let reports = reports_of(&lp);
    let remote = Remote::new(&lp);
    let counted = || CountsDrops(Arc::clone(&drops));
    let (early, late) = (counted(), counted());
    remote.call_soon(move |_| drop(early)).unwrap();
    assert!(!remote.is_closed());
    lp.close().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    assert_eq!(remote.call_soon(move |_| drop(late)), Err(LoopClosed));
    assert_eq!(drops.load(Ordering::Relaxed), 2);
    let other = remote.clone();
    assert_eq!(thread::spawn(move || other.call_soon(|_| {})).join().unwrap(), Err(LoopClosed));
    drop(lp);
    assert_eq!(remote.call_soon(|_| {}), Err(LoopClosed));
    assert!(reports.entries().iter().all(|report| report.contains("remote")), "{reports:?}");

    for _ in 0..50 {
        let lp = real_net::new_loop().unwrap();
        let remote = Remote::new(&lp);
        let caller = thread::spawn(move || while remote.call_soon(|_| {}).is_ok() {});
        run_a_turn(&lp);
        lp.close().unwrap();
        caller.join().unwrap();
    }
}

/// calls that come while the loop is away neither block nor fail, however many; one wake-up
/// brings them all.
#[test]
// on: real
fn many_remote_calls_cost_one_wake_up() {
    const CALLS: usize = 100_000;
    let (lp, waits) = real_loop();
    let remote = Remote::new(&lp);
    run_a_turn(&lp);
    waits.take();
    let caller = thread::spawn(move || {
        (0..CALLS).for_each(|number| remote.call_soon(call(0, number)).unwrap());
    });
    caller.join().unwrap();
    assert_eq!(run_until(&lp, CALLS).len(), CALLS);
    // The task that brings them over, then they.
    assert_eq!(waits.take().len(), 2);
}

/// a waker may be used on any thread; the task is woken once, and keeps its place.
#[test]
// on: real
fn a_waker_works_on_any_thread() {
    let (lp, log) = (real_net::new_loop().unwrap(), Log::new());
    let (sender, receiver) = mpsc::channel::<Waker>();
    let waking = thread::spawn(move || receiver.into_iter().for_each(Waker::wake));
    let (seen, handle) = (log.clone(), lp.clone());
    let mut steps = 0;
    let polled = std::future::poll_fn(move |cx| {
        steps += 1;
        if steps == 100 {
            return Poll::Ready(steps);
        }
        if steps == 50 {
            note_soon(&handle, &seen, &["halfway"]);
        }
        sender.send(cx.waker().clone()).unwrap();
        Poll::Pending
    });
    assert_eq!(lp.run_until_complete(polled).unwrap(), 100);
    waking.join().unwrap();
    assert_eq!(log.text(), "halfway");
}

/// what another thread did before it woke a task is seen by the step that follows, even if the task was
/// woken already and its step is beginning.
#[test]
// on: real
fn a_wake_up_while_a_step_begins_is_not_lost() {
    const ROUNDS: usize = 200_000;
    const PATIENCE: u64 = 1_000_000;
    let lp = real_net::new_loop().unwrap();
    let (value, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (sender, receiver) = mpsc::sync_channel::<Waker>(1);
    let (given, taken) = (Arc::clone(&value), Arc::clone(&seen));
    let waking = thread::spawn(move || {
        let waker = receiver.recv().unwrap();
        for round in 1..=ROUNDS {
            waker.wake_by_ref();
            // The step begins somewhere here.
            (0..round % 64).for_each(|_| std::hint::spin_loop());
            given.store(round, Ordering::Relaxed);
            waker.wake_by_ref();
            while taken.load(Ordering::Relaxed) < round {
                std::hint::spin_loop();
            }
        }
    });
    let (last, handle) = (Arc::clone(&seen), lp.clone());
    let awake = lp.create_task(async move {
        // Turns follow each other closely, and it is noticed if the other task is not among them.
        let (mut before, mut turns) = (0, 0);
        while before < ROUNDS {
            let now = last.load(Ordering::Relaxed);
            turns = if now == before { turns + 1 } else { 0 };
            assert!(turns < PATIENCE, "the wake-up of round {} was lost", now + 1);
            before = now;
            handle.sleep(Duration::ZERO).await;
        }
    });
    lp.create_task(std::future::poll_fn(move |cx| {
        seen.store(value.load(Ordering::Relaxed), Ordering::Relaxed);
        let _ = sender.try_send(cx.waker().clone());
        Poll::<()>::Pending
    }));
    lp.run_until_complete(awake).unwrap().unwrap();
    waking.join().unwrap();
}

/// Wakes on a thread of the given name, and waits until it did.
fn wake_on(thread: Option<&str>, waker: Waker) {
    let builder = thread::Builder::new();
    let builder = match thread {
        Some(name) => builder.name(name.to_owned()),
        None => builder,
    };
    builder.spawn(move || waker.wake()).unwrap().join().unwrap();
}

/// A task that has a foreign thread wake it, and waits for ever.
async fn woken_by(thread: Option<&'static str>) {
    let mut woken = false;
    std::future::poll_fn(move |cx| {
        if !std::mem::replace(&mut woken, true) {
            wake_on(thread, cx.waker().clone());
        }
        Poll::<()>::Pending
    })
    .await;
}

/// a wake-up from a foreign thread ends a simulated run with an error that names the thread.
#[test]
// on: sim
fn a_foreign_wake_up_ends_a_simulated_run() {
    let lp = sim_net::new_loop();
    let error = lp.run_until_complete(woken_by(Some("intruder"))).unwrap_err();
    assert!(matches!(&error, RunError::ForeignWake { thread } if thread == "intruder"), "{error}");
    assert!(error.to_string().contains("\"intruder\""), "{error}");
    let lp = sim_net::new_loop();
    let error = lp.run_until_complete(woken_by(None)).unwrap_err();
    assert!(matches!(&error, RunError::ForeignWake { thread } if thread.contains("ThreadId")));
}

/// on any host of a world too.
#[test]
// on: sim
fn a_foreign_wake_up_on_a_host_ends_the_run() {
    let report = Sim::new(1).run(|world| async move {
        let host = world.host("host");
        host.create_task(woken_by(Some("intruder")));
        host.sleep(ms(1)).await;
    });
    let finding = report.outcome.unwrap_err();
    assert_eq!(finding.kind, FindingKind::ForeignWake);
    assert!(finding.message.contains("intruder"), "{finding}");
}

/// a foreign wake-up of a task that is queued already ends the run: that it changes nothing is
/// a matter of timing.
#[test]
// on: sim
fn a_foreign_wake_up_of_a_queued_task_ends_the_run() {
    let report = Sim::new(1).run(|world| async move {
        let host = world.host("host");
        let mut woken = false;
        let task = host.create_task(std::future::poll_fn(move |cx| {
            if std::mem::replace(&mut woken, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            wake_on(Some("intruder"), cx.waker().clone());
            Poll::Pending
        }));
        task.await.ok();
        host.sleep(ms(1)).await;
    });
    assert_eq!(report.outcome.unwrap_err().kind, FindingKind::ForeignWake);
}

/// a foreign wake-up that comes after one of the host's own, in the same turn, ends the run.
#[test]
// on: sim
fn a_foreign_wake_up_behind_another_ends_the_run() {
    let report = Sim::new(1).run(|world| async move {
        let host = world.host("host");
        let future = host.create_future::<()>();
        let waits = future.clone();
        let native = host.create_task(async move { waits.await.unwrap() });
        let (keep, kept) = kept_waker();
        host.create_task(keep);
        host.sleep(ms(1)).await;
        host.call_soon(move || {
            future.set_result(()).unwrap();
            wake_on(Some("intruder"), kept.take().unwrap());
        });
        native.await.ok();
        host.sleep(ms(1)).await;
    });
    assert_eq!(report.outcome.unwrap_err().kind, FindingKind::ForeignWake);
}

/// A future that never completes, and the place where it leaves its waker.
fn kept_waker() -> (impl Future<Output = ()>, Rc<RefCell<Option<Waker>>>) {
    let slot: Rc<RefCell<Option<Waker>>> = Rc::default();
    let kept = Rc::clone(&slot);
    let keep = std::future::poll_fn(move |cx| {
        kept.replace(Some(cx.waker().clone()));
        Poll::Pending
    });
    (keep, slot)
}

/// a wake-up between two runs ends the next one.
#[test]
// on: sim
fn a_foreign_wake_up_between_runs_ends_the_next() {
    let lp = sim_net::new_loop();
    let (keep, kept) = kept_waker();
    lp.create_task(keep);
    run_a_turn(&lp);
    wake_on(Some("intruder"), kept.take().unwrap());
    lp.stop();
    assert!(matches!(lp.run_forever(), Err(RunError::ForeignWake { .. })));
}

/// work that a foreign thread submits through a `Remote` of a simulated loop is such an error;
/// the loop's own thread may.
#[test]
// on: sim
fn remote_work_in_a_simulation_is_an_error() {
    let lp = sim_net::new_loop();
    let remote = Remote::new(&lp);
    remote.call_soon(call(0, 1)).unwrap();
    assert_eq!(run_until(&lp, 1), [(0, 1)]);
    let submit = move || remote.call_soon(call(0, 2));
    let submitted = thread::Builder::new().name("intruder".into()).spawn(submit).unwrap();
    submitted.join().unwrap().unwrap();
    match lp.run_until_complete(async {}) {
        Err(RunError::ForeignWake { thread }) => assert_eq!(thread, "intruder"),
        other => panic!("{other:?}"),
    }
}

/// A-22, B-11: wake-ups by another thread and by the loop's own keep their place among each other and
/// among callbacks, in one turn.
#[test]
// on: real
fn wake_ups_of_this_thread_and_of_another_keep_their_place() {
    let (lp, log) = (real_net::new_loop().unwrap(), Log::new());
    let (near, far) = (lp.create_future::<()>(), Rc::new(RefCell::new(None::<Waker>)));
    let (future, seen) = (near.clone(), log.clone());
    lp.create_task(async move {
        future.await.unwrap();
        seen.push("x");
    });
    let (slot, seen) = (Rc::clone(&far), log.clone());
    lp.create_task(std::future::poll_fn(move |cx| {
        if slot.replace(Some(cx.waker().clone())).is_some() {
            seen.push("z");
            return Poll::Ready(());
        }
        Poll::Pending
    }));
    run_a_turn(&lp);
    let (handle, seen) = (lp.clone(), log.clone());
    lp.call_soon(move || {
        near.set_result(()).unwrap();
        let waker = far.borrow().clone().unwrap();
        thread::spawn(move || waker.wake()).join().unwrap();
        note_soon(&handle, &seen, &["a"]);
    });
    run_a_turn(&lp);
    run_a_turn(&lp);
    assert_eq!(log.text(), "x z a");
}
