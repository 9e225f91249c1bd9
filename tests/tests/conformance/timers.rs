//! Timers and the clock (A.3).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use sim_core::testing;
use sim_core::{Loop, Time, Timer};
use sim_net::Sim;
use tests::both_bare_loops;
use tests::harness::Make;
use tests::recorder::Log;

use crate::loops::{NoteDrop, ms, note, note_soon, run_a_turn, run_for};
use crate::watched::{real_loop, scripted_loop};

fn ns(n: u64) -> Duration {
    Duration::from_nanos(n)
}

/// Logs the deadline that a timer had and the time at which it fired.
fn note_times(lp: &Loop, fired: &Rc<RefCell<Vec<(Time, Time)>>>, delay: Duration) -> Timer {
    let (handle, fired) = (lp.clone(), Rc::clone(fired));
    let when = Rc::new(Cell::new(Time::ZERO));
    let deadline = Rc::clone(&when);
    let timer =
        lp.call_later(delay, move || fired.borrow_mut().push((deadline.get(), handle.time())));
    when.set(timer.when());
    timer
}

both_bare_loops! {
    /// `call_later` counts from the time at the call, and `when` tells the deadline, also
    /// after it fired and after it was cancelled.
    fn call_later_is_call_at_from_now(make: Make) {
        let lp = make.new_loop();
        let delay = ms(1);
        let before = lp.time();
        let timer = lp.call_later(delay, || {});
        let after = lp.time();
        let when = timer.when();
        assert!(before + delay <= when && when <= after + delay, "{before} {when} {after}");
        run_for(&lp, ms(2));
        assert_eq!((timer.when(), timer.cancelled()), (when, false));
        timer.cancel();
        assert_eq!(timer.when(), when);
        let at = lp.call_at(Time::from_nanos(77), || {});
        at.cancel();
        assert_eq!((at.when().as_nanos(), at.cancelled()), (77, true));
    }

    /// deadlines that have passed, and delays of zero, are due in the next turn, by deadline.
    fn past_deadlines_are_due_in_the_next_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        run_for(&lp, ms(1));
        let _now = lp.call_later(ms(0), note(&log, "now"));
        let _one = lp.call_at(Time::from_nanos(500), note(&log, "-1"));
        let _two = lp.call_at(Time::from_nanos(499), note(&log, "-2"));
        let _zero = lp.call_at(Time::ZERO, note(&log, "epoch"));
        assert_eq!(log.text(), "");
        run_a_turn(&lp);
        assert_eq!(log.text(), "epoch -2 -1 now");
    }

    /// equal deadlines fire in the order in which they were set, whatever came between.
    fn equal_deadlines_keep_their_order(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let when = lp.time() + ms(1);
        let mut names = Vec::new();
        let mut timers = Vec::new();
        for n in 0..200 {
            // Neighbours come and go, so that the queue is not filled in order.
            timers.push(lp.call_at(when + ns(n % 7 + 1), || {}));
            lp.call_at(when, || panic!("it was cancelled")).cancel();
            names.push(n.to_string());
            timers.push(lp.call_at(when, note(&log, names.last().unwrap())));
        }
        run_for(&lp, ms(2));
        assert_eq!(log.entries(), names);
    }

    /// A-42, J-30: a timer never fires before its deadline, however small the delay.
    fn a_timer_never_fires_early(make: Make) {
        let lp = make.new_loop();
        let fired: Rc<RefCell<Vec<_>>> = Rc::default();
        let delays = [0, 1, 999, 1_000, 1_001, 10_000, 499_999, 999_999, 1_000_000, 1_000_001];
        let timers = delays.map(|delay| note_times(&lp, &fired, ns(delay)));
        run_for(&lp, ms(3));
        let fired = fired.take();
        assert_eq!(fired.len(), timers.len());
        for (when, at) in &fired {
            assert!(at >= when, "due at {when}, fired at {at}");
            if let Make::Sim = make {
                assert_eq!(at, when);
            }
        }
        assert!(fired.is_sorted(), "{fired:?}");
    }

    /// `cancel` again, and after the timer fired, has no effect; `cancelled` is about cancelling
    /// alone.
    fn cancelling_twice_or_late_is_harmless(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let fires = lp.call_later(ms(0), note(&log, "fires"));
        let cancelled = lp.call_later(ms(0), note(&log, "cancelled"));
        cancelled.cancel();
        cancelled.cancel();
        run_a_turn(&lp);
        assert_eq!((fires.cancelled(), cancelled.cancelled()), (false, true));
        // The place of the one that fired may belong to another by now.
        let next = lp.call_later(ms(0), note(&log, "next"));
        fires.cancel();
        drop(cancelled);
        run_a_turn(&lp);
        assert_eq!((fires.cancelled(), next.cancelled()), (false, false));
        assert_eq!(log.text(), "fires next");
    }

    /// a timer that is dropped is cancelled, one that is detached is not; re-arming by
    /// assignment, from inside the callback too, leaves the newest.
    fn dropping_cancels_and_detaching_does_not(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let kept = NoteDrop(log.clone(), "dropped");
        drop(lp.call_later(ms(0), move || drop(kept)));
        assert_eq!(log.text(), "dropped");
        lp.call_later(ms(0), note(&log, "detached")).detach();
        let slot: Rc<RefCell<Option<Timer>>> = Rc::default();
        let (handle, own, seen) = (lp.clone(), Rc::clone(&slot), log.clone());
        let rearms = move || {
            seen.push("first");
            let timer = handle.call_later(ms(0), note(&seen, "second"));
            own.replace(Some(timer));
        };
        slot.replace(Some(lp.call_later(ms(0), || panic!("it was replaced"))));
        slot.replace(Some(lp.call_later(ms(0), rearms)));
        run_a_turn(&lp);
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "dropped detached first second");
    }

    /// cancelling from the destructor of what a timer captured meets no borrow.
    fn a_destructor_may_cancel_other_timers(make: Make) {
        struct CancelsBoth(Rc<RefCell<Vec<Timer>>>, Log);
        impl Drop for CancelsBoth {
            fn drop(&mut self) {
                self.0.borrow().iter().for_each(Timer::cancel);
                self.1.push("cancelled");
            }
        }
        let (lp, log) = (make.new_loop(), Log::new());
        let timers: Rc<RefCell<Vec<Timer>>> = Rc::default();
        let guard = CancelsBoth(Rc::clone(&timers), log.clone());
        let first = lp.call_later(ms(1), move || drop(guard));
        let second = lp.call_later(ms(1), || panic!("it was cancelled"));
        timers.borrow_mut().extend([first, second]);
        timers.borrow()[0].cancel();
        run_for(&lp, ms(2));
        assert_eq!(log.text(), "cancelled");
    }

    /// of many timers, most of them cancelled, the others fire, in order.
    fn the_timers_that_are_left_fire(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        for round in 0..3 {
            let start = lp.time();
            let timers: Vec<Timer> = (0..1_000)
                .map(|n| lp.call_at(start + ns(1_000 - n), note(&log, &(1_000 - n).to_string())))
                .collect();
            let cancelled = timers.iter().filter(|timer| timer.when().as_nanos() % 10 != 0);
            cancelled.for_each(Timer::cancel);
            let left: Vec<String> = timers
                .iter()
                .rev()
                .filter(|timer| !timer.cancelled())
                .map(|timer| (timer.when() - start).as_nanos().to_string())
                .collect();
            assert_eq!(left.len(), 100, "round {round}");
            let before = log.entries().len();
            run_for(&lp, ms(1));
            assert_eq!(log.entries()[before..], left[..], "round {round}");
        }
    }

    /// cancelling timers that are in the ready queue already keeps the count of those that are
    /// not, so that none is lost.
    fn cancelling_what_is_due_keeps_the_count(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let due: Rc<RefCell<Vec<Timer>>> = Rc::default();
        let all = Rc::clone(&due);
        let _first = lp.call_at(Time::ZERO, move || all.borrow().iter().for_each(Timer::cancel));
        for _ in 0..200 {
            due.borrow_mut().push(lp.call_at(Time::from_nanos(1), || panic!("it was cancelled")));
        }
        let later: Vec<Timer> =
            (0..150).map(|n| lp.call_later(ms(1), note(&log, &n.to_string()))).collect();
        later[100..].iter().for_each(Timer::cancel);
        run_for(&lp, ms(2));
        assert_eq!(log.entries(), (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    }

    /// a huge delay is accepted and never comes, a huge deadline too; others are not disturbed.
    fn a_huge_delay_never_comes(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let never = || panic!("centuries passed");
        let timers = [
            lp.call_later(Duration::MAX, never),
            lp.call_later(Duration::from_secs(u64::MAX), never),
            lp.call_later(ns(u64::MAX), never),
            lp.call_at(Time::NEVER, never),
            lp.call_at(Time::from_nanos(u64::MAX - 1), never),
        ];
        let _near = lp.call_later(ms(1), note(&log, "near"));
        run_for(&lp, ms(2));
        assert_eq!(log.text(), "near");
        assert_eq!(timers[0].when(), Time::NEVER);
        assert!(timers.iter().all(|timer| !timer.cancelled()));
        let handle = lp.clone();
        lp.create_task(async move { handle.sleep(Duration::MAX).await });
        run_for(&lp, ms(1));
        assert_eq!(lp.all_tasks().len(), 1);
    }

    /// a timer that another one of the same turn cancels does not fire.
    fn a_timer_may_cancel_one_that_is_due_with_it(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        run_for(&lp, ms(1));
        let second = Rc::new(RefCell::new(None::<Timer>));
        let (other, seen) = (Rc::clone(&second), log.clone());
        let _first = lp.call_at(Time::ZERO, move || {
            seen.push("first");
            other.borrow().as_ref().unwrap().cancel();
        });
        second.replace(Some(lp.call_at(Time::ZERO, note(&log, "second"))));
        let _third = lp.call_at(Time::ZERO, note(&log, "third"));
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "first third");
        assert!(second.borrow().as_ref().unwrap().cancelled());
    }

    /// a timer that is set by a timer, with a deadline that has passed, waits for the next
    /// turn.
    fn a_timer_set_by_a_timer_waits_for_the_next_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        run_for(&lp, ms(1));
        let (handle, seen) = (lp.clone(), log.clone());
        let _first = lp.call_at(Time::from_nanos(5), move || {
            seen.push("first");
            handle.call_at(Time::from_nanos(1), note(&seen, "earlier")).detach();
            note_soon(&handle, &seen, &["soon"]);
        });
        let _second = lp.call_at(Time::from_nanos(6), note(&log, "second"));
        run_a_turn(&lp);
        assert_eq!(log.text(), "first second");
        run_a_turn(&lp);
        assert_eq!(log.text(), "first second soon earlier");
    }

    /// the simulated clock stands still while callbacks run, and moves by what they spent
    /// after them; the real one is read anew on every call.
    fn the_clock_while_callbacks_run(make: Make) {
        let lp = make.new_loop();
        let handle = lp.clone();
        let (before, after, when) = lp
            .run_until_complete(async move {
                let before = handle.time();
                handle.spend(ms(2));
                let timer = handle.call_later(ms(1), || {});
                (before, handle.time(), timer.when())
            })
            .unwrap();
        match make {
            Make::Sim => assert_eq!((before, after, when), (before, before, before + ms(1))),
            Make::Real => assert!(after >= before + ms(2) && when >= after, "{before} {after}"),
        }
        run_a_turn(&lp);
        assert!(lp.time() >= before + ms(2));
    }
}

/// a timer that is due at d fires in a turn at d, and not in one a nanosecond before.
#[test]
// on: engine
fn a_timer_is_due_at_its_deadline_and_not_before() {
    for deadline in [1, 2, 1_000_000, u64::MAX - 1] {
        let (engine, log) = (testing::engine(), Log::new());
        let lp = engine.handle();
        let _timer = lp.call_at(Time::from_nanos(deadline), note(&log, "fired"));
        engine.turn(Time::from_nanos(deadline - 1), &mut Vec::new());
        assert_eq!(log.text(), "", "{deadline}");
        engine.turn(Time::from_nanos(deadline), &mut Vec::new());
        assert_eq!(log.text(), "fired", "{deadline}");
    }
}

/// the last moment of all is never due.
#[test]
// on: engine
fn the_end_of_time_is_never_due() {
    let (engine, log) = (testing::engine(), Log::new());
    let _timer = engine.handle().call_at(Time::NEVER, note(&log, "fired"));
    engine.turn(Time::NEVER, &mut Vec::new());
    assert_eq!((log.text(), engine.next()), (String::new(), sim_core::driver::Next::Never));
}

/// A-43, J-29: after centuries the clock still tells nanoseconds apart, and a jump to a deadline
/// finds it due.
#[test]
// on: sim
fn a_jump_finds_its_deadline_due_after_centuries() {
    let report = Sim::new(1).max_time(Duration::from_secs(u64::MAX)).run(|world| async move {
        let lp = world.host("host");
        lp.sleep(Duration::from_secs(500 * 365 * 86_400)).await;
        let mut now = lp.time();
        for delay in [1, 1, 2, 3, 1_000_000_001] {
            lp.sleep(ns(delay)).await;
            assert_eq!(lp.time() - now, ns(delay));
            now = lp.time();
        }
    });
    report.unwrap();
}

/// time jumps exactly to the earliest deadline of a live timer, and no cancelled one
/// stops it on the way.
#[test]
// on: sim
fn time_jumps_to_the_earliest_live_deadline() {
    let lp = sim_net::new_loop();
    let (handle, seen): (_, Rc<RefCell<Vec<u64>>>) = (lp.clone(), Rc::default());
    let mut timers = Vec::new();
    for deadline in [9, 3, 7, 3, 8, 5] {
        let (clock, seen) = (handle.clone(), Rc::clone(&seen));
        let timer = handle.call_at(Time::from_nanos(deadline), move || {
            seen.borrow_mut().push(clock.time().as_nanos());
        });
        timers.push(timer);
    }
    timers[5].cancel();
    timers[4].cancel();
    run_for(&lp, ns(20));
    assert_eq!(seen.take(), [3, 3, 7, 9]);
    assert_eq!(lp.time().as_nanos(), 20);
}

/// time stands still as long as anything is ready.
#[test]
// on: sim
fn time_stands_still_while_anything_is_ready() {
    let lp = sim_net::new_loop();
    let (handle, log) = (lp.clone(), Log::new());
    let _timer = lp.call_later(ns(1), note(&log, "timer"));
    let seen = log.clone();
    lp.run_until_complete(async move {
        for _ in 0..1_000 {
            handle.sleep(Duration::ZERO).await;
            assert_eq!(handle.time(), Time::ZERO);
        }
        seen.push("yielded");
        handle.sleep(ns(1)).await;
    })
    .unwrap();
    assert_eq!((log.text().as_str(), lp.time().as_nanos()), ("yielded timer", 1));
}

/// a timer that is cancelled in time is not waited for, on any path.
#[test]
// on: engine
fn a_cancelled_timer_is_not_waited_for() {
    let (lp, waits) = scripted_loop();
    let near = lp.call_later(ms(1), || {});
    let handle = lp.clone();
    lp.run_until_complete(async move {
        drop(handle.sleep(ms(1)));
        let task_lp = handle.clone();
        let task = handle.create_task(async move { task_lp.sleep(ms(2)).await });
        handle.sleep(Duration::ZERO).await;
        near.cancel();
        task.cancel();
        task.await.unwrap_err();
        handle.sleep(ms(3)).await;
    })
    .unwrap();
    let mut waited = waits.take();
    waited.retain(|next| *next != sim_core::driver::Next::Now);
    assert_eq!(waited, [sim_core::driver::Next::At(Time::ZERO + ms(3))]);
}

/// five tiny sleeps cost a few turns each, since waits are rounded up.
#[test]
// on: real
fn tiny_sleeps_do_not_spin() {
    let (lp, waits) = real_loop();
    let handle = lp.clone();
    lp.run_until_complete(async move {
        for delay in [10_000_000, 1_000_000, 100_000, 10_000, 1] {
            handle.sleep(ns(delay)).await;
        }
    })
    .unwrap();
    let waited = waits.take();
    assert!((6..=20).contains(&waited.len()), "{waited:?}");
}

/// on the real loop time never goes back.
#[test]
// on: real
fn the_real_clock_is_monotonic() {
    let lp = real_net::new_loop().unwrap();
    let times: Vec<Time> = (0..1_000).map(|_| lp.time()).collect();
    assert!(times.is_sorted());
    assert!(times[0] < lp.time() + ns(1));
}
