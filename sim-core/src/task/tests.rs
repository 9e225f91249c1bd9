//! The ways of a cancellation, on the scripted driver.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};

use crate::combinators::{ReturnWhen, as_completed, gather_all, shield, wait};
use crate::{
    Cancelled, EventLoop, Loop, LoopFuture, PanicPolicy, RunError, Task, TaskError, catch_cancel,
    testing,
};

type Log = Rc<RefCell<Vec<&'static str>>>;

fn note(log: &Log, entry: &'static str) {
    log.borrow_mut().push(entry);
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn turn(lp: &EventLoop) {
    lp.stop();
    lp.run_forever().expect("the loop is open");
}

#[track_caller]
fn run<T: 'static>(scenario: impl AsyncFnOnce(Loop) -> T + 'static) -> T {
    let lp = testing::new_loop();
    let handle = (*lp).clone();
    lp.run_until_complete(async move { scenario(handle).await }).expect("the scenario ends")
}

/// Waits to be cancelled, and says so.
async fn caught(log: Log, entry: &'static str) -> Cancelled {
    let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
    note(&log, entry);
    cancelled
}

#[test]
fn every_branch_of_a_join_is_cancelled() {
    let (lp, log) = (testing::new_loop(), Log::default());
    let branches = futures::future::join(caught(log.clone(), "one"), caught(log.clone(), "two"));
    let task = lp.create_task(branches);
    turn(&lp);
    task.cancel();
    turn(&lp);
    assert_eq!(*log.borrow(), ["one", "two"]);
    assert!(task.done() && !task.cancelled());
}

#[test]
fn every_task_that_is_awaited_together_is_cancelled() {
    let lp = testing::new_loop();
    let [one, two]: [Task<()>; 2] = [lp.create_task(pending()), lp.create_task(pending())];
    let inner = (one.as_any(), two.as_any());
    let both = lp.create_task(futures::future::join(one, two));
    turn(&lp);
    both.cancel();
    // The first shows that they are awaited.
    turn(&lp);
    assert!(!inner.0.header().is_done() && !inner.1.header().is_done());
    turn(&lp);
    assert!(inner.0.header().is_done() && inner.1.header().is_done());
    turn(&lp);
    assert!(both.cancelled());
}

#[test]
fn scopes_are_woken_inside_a_set_of_futures() {
    let (lp, log) = (testing::new_loop(), Log::default());
    let mut set: FuturesUnordered<Pin<Box<dyn Future<Output = Cancelled>>>> =
        FuturesUnordered::new();
    set.push(Box::pin(caught(log.clone(), "one")));
    set.push(Box::pin(caught(log.clone(), "two")));
    let task = lp.create_task(async move { while set.next().await.is_some() {} });
    turn(&lp);
    task.cancel();
    turn(&lp);
    assert!(task.done() && !task.cancelled());
    assert_eq!(log.borrow().len(), 2);
}

/// B-13: a second request before the step does not reach the scope around.
#[test]
fn requests_that_meet_in_a_scope_are_one() {
    let (lp, log) = (testing::new_loop(), Log::default());
    let inner = log.clone();
    let task = lp.create_task(catch_cancel(async move {
        caught(inner, "inner").await;
        pending::<()>().await;
    }));
    turn(&lp);
    assert!(task.cancel() && task.cancel() && task.cancel());
    turn(&lp);
    turn(&lp);
    assert_eq!((task.done(), task.cancelling()), (false, 3));
    assert_eq!(*log.borrow(), ["inner"]);
}

#[test]
fn a_raised_cancellation_ends_the_task_in_the_same_turn() {
    let lp = testing::new_loop();
    let task: Task<()> =
        lp.create_task(async { catch_cancel(pending::<()>()).await.unwrap_err().raise().await });
    turn(&lp);
    task.cancel();
    turn(&lp);
    assert!(task.cancelled());
}

#[test]
fn a_raise_that_loses_a_race_is_forgotten() {
    run(async |lp| {
        let task = lp.create_task(async {
            let raise = std::pin::pin!(Cancelled::default().raise::<u32>());
            let ready = std::pin::pin!(async { 1 });
            futures::future::select(raise, ready).await.factor_first().0
        });
        assert_eq!(task.await, Ok(1));
    });
}

/// B-41: a cancellation that is raised in another task is a request there.
#[test]
fn a_cancellation_of_another_task_is_a_request() {
    run(async |lp| {
        let handle = lp.clone();
        let inner = lp.create_task(async move {
            handle.timeout(secs(1), catch_cancel(pending::<()>())).await.unwrap().unwrap_err()
        });
        let handle = lp.clone();
        let outer = lp.create_task(async move {
            let foreign = inner.await.unwrap();
            handle.timeout(secs(9), foreign.raise::<()>()).await
        });
        assert_eq!(outer.await, Err(TaskError::Cancelled));
    });
}

/// B-17, B-32: a task may be awaited inside one deadline after another.
#[test]
fn an_await_moves_from_scope_to_scope() {
    run(async |lp| {
        let log = Log::default();
        let (handle, inner) = (lp.clone(), log.clone());
        let mut task = lp.create_task(async move {
            handle.sleep(secs(3)).await;
            caught(inner, "cancelled").await.raise::<()>().await
        });
        assert!(lp.timeout(secs(1), shield(&mut task)).await.is_err());
        {
            let mut join = Box::pin(&mut task);
            let once = poll_fn(|cx| Poll::Ready(join.as_mut().poll(cx).is_pending()));
            assert_eq!(lp.timeout(secs(1), once).await, Ok(true));
        }
        assert_eq!(task.cancelling(), 0);
        assert!(lp.timeout(secs(7), &mut task).await.is_err());
        assert_eq!((lp.time().since_epoch(), task.cancelling()), (secs(8), 1));
        assert_eq!(*log.borrow(), ["cancelled"]);
    });
}

/// Awaits `task` until something else is there, and lets the await lie.
async fn glance<T: 'static>(task: &mut Task<T>) {
    let other = std::pin::pin!(async {});
    let first = futures::future::select(task, other).await;
    assert!(matches!(first, futures::future::Either::Right(_)));
}

/// B-13: the await that goes on hears of it, in a later turn, and the other task goes on, too.
#[test]
fn a_cancellation_is_not_lost_in_an_await_that_lies() {
    run(async |lp| {
        let mut worker: Task<()> = lp.create_task(pending());
        let inner = worker.as_any();
        let task = lp.create_task(async move {
            glance(&mut worker).await;
            pending::<()>().await;
        });
        lp.sleep(Duration::ZERO).await;
        assert!(task.cancel() && !task.cancelled());
        assert_eq!(task.await, Err(TaskError::Cancelled));
        assert_eq!(inner.header().outcome(), None);
    });
}

/// B-13: nor in a set of awaits, whose wakers wake once for every time that it is polled.
#[test]
fn a_cancellation_is_not_lost_in_a_set_of_awaits_that_lies() {
    run(async |lp| {
        let gates = [lp.create_future::<()>(), lp.create_future::<()>()];
        let mut set: FuturesUnordered<Task<_>> =
            gates.iter().map(|gate| lp.create_task(gate.clone())).collect();
        let both = gather_all(gates.clone().map(|gate| lp.create_task(gate)));
        let task = lp.create_task(async move {
            let (next, both) = (set.next(), std::pin::pin!(both));
            let other = std::pin::pin!(async {});
            drop(futures::future::select(futures::future::select(next, both), other).await);
            pending::<()>().await;
        });
        lp.sleep(Duration::ZERO).await;
        gates[0].set_result(()).unwrap();
        lp.sleep(secs(1)).await;
        task.cancel();
        assert_eq!(task.await, Err(TaskError::Cancelled));
    });
}

/// B-32, B-38, B-41: it reaches the deadline, the group or the catcher around, and no task that is not awaited.
#[test]
fn what_an_await_that_lies_does_not_take_reaches_the_scope_around() {
    run(async |lp| {
        let mut worker: Task<()> = lp.create_task(pending());
        let late = lp.timeout(secs(1), async {
            glance(&mut worker).await;
            pending::<()>().await;
        });
        assert!(late.await.is_err());
        assert!(!worker.done());

        let handle = lp.clone();
        let group = lp.task_group(async move |group| {
            let mut worker: Task<()> = handle.create_task(pending());
            glance(&mut worker).await;
            group.spawn(async { Err::<(), _>("failed") });
            pending::<Result<(), _>>().await
        });
        assert_eq!(group.await.unwrap_err().failures().len(), 1);

        let mut worker: Task<()> = lp.create_task(pending());
        let task = lp.create_task(async move {
            let caught = catch_cancel(async {
                glance(&mut worker).await;
                pending::<()>().await;
            });
            caught.await.is_err() && !worker.done()
        });
        lp.sleep(Duration::ZERO).await;
        task.cancel();
        assert_eq!(task.await, Ok(true));
    });
}

/// B-15, B-17: it has been dealt with by whoever caught it; a task that would catch it and is not awaited does not.
#[test]
fn a_cancellation_that_was_dealt_with_is_not_raised_by_an_await_that_lies() {
    run(async |lp| {
        let mut worker: Task<()> = lp.create_task(pending());
        let handle = lp.clone();
        let catches = lp.create_task(async move {
            glance(&mut worker).await;
            assert!(catch_cancel(pending::<()>()).await.is_err());
            handle.sleep(secs(5)).await;
        });
        let mut worker = lp.create_task(catch_cancel(pending::<()>()));
        let handle = lp.clone();
        let glances = lp.create_task(async move {
            glance(&mut worker).await;
            handle.sleep(secs(5)).await;
            worker.await.is_ok()
        });
        lp.sleep(secs(1)).await;
        assert!(catches.cancel() && glances.cancel());
        assert_eq!((catches.await, glances.await), (Ok(()), Err(TaskError::Cancelled)));
    });
}

/// Polls something once, as who looks at it and then at something else.
async fn look_at<F: Future>(mut future: Pin<&mut F>) {
    let is_pending = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(is_pending);
}

/// B-13, B-17: who looked at a task once and does something else now is cancelled there; the task goes on.
#[test]
fn a_task_that_is_awaited_no_more_is_not_cancelled_instead() {
    run(async |lp| {
        let handle = lp.clone();
        let worker = lp.create_task(async move { handle.sleep(secs(9)).await });
        let worker = Rc::new(RefCell::new(Box::pin(worker)));
        let (handle, own) = (lp.clone(), Rc::clone(&worker));
        let task = lp.create_task(async move {
            look_at(pin!(poll_fn(|cx| own.borrow_mut().as_mut().poll(cx)))).await;
            handle.sleep(secs(100)).await;
        });
        lp.sleep(secs(1)).await;
        assert!(task.cancel());
        assert_eq!(lp.timeout(secs(1), task).await.unwrap(), Err(TaskError::Cancelled));
        let worker = Rc::into_inner(worker).expect("the task is gone").into_inner();
        assert_eq!(worker.await, Ok(()));
    });
}

/// B-41, B-35: a deadline is not put off by tasks that its body has looked at, and a catch around what is awaited
/// hears of a cancellation before a gathering that is not.
#[test]
fn a_deadline_and_a_catch_do_not_wait_for_what_is_awaited_no_more() {
    run(async |lp| {
        let slow_to_end = |lp: &Loop| {
            let handle = lp.clone();
            lp.create_task(async move {
                let _caught = catch_cancel(handle.sleep(secs(1_000))).await;
                handle.sleep(secs(50)).await;
            })
        };
        let (worker, began) = (slow_to_end(&lp), lp.time());
        let mut worker = pin!(worker);
        let body = async {
            look_at(worker.as_mut()).await;
            lp.sleep(secs(100)).await;
        };
        assert!(lp.timeout(secs(5), body).await.is_err());
        assert_eq!(lp.time() - began, secs(5));

        let handle = lp.clone();
        let task = lp.create_task(async move {
            let mut gathering = pin!(gather_all([slow_to_end(&handle)]));
            look_at(gathering.as_mut()).await;
            let caught = catch_cancel(handle.sleep(secs(100))).await;
            (caught.is_err(), handle.time())
        });
        lp.sleep(secs(1)).await;
        let now = lp.time();
        assert!(task.cancel());
        assert_eq!(task.await, Ok((true, now)));
    });
}

/// What is done before something that catches a cancellation, which is dropped then.
async fn before<F: Future>(gate: LoopFuture<()>, catches: F) {
    let catches = std::pin::pin!(catches);
    let first = futures::future::select(gate, catches).await;
    assert!(matches!(first, futures::future::Either::Left(_)));
}

/// A task that is cancelled in the turn in which a gate opens, and what it ends with.
async fn cancelled_at_the_gate<F>(lp: &Loop, body: impl FnOnce(LoopFuture<()>) -> F) -> Ended
where
    F: Future<Output = &'static str> + 'static,
{
    let gate = lp.create_future::<()>();
    let task = lp.create_task(body(gate.clone()));
    lp.sleep(secs(1)).await;
    assert!(task.cancel());
    gate.set_result(()).unwrap();
    lp.timeout(secs(5), task).await.expect("it ends")
}

type Ended = Result<&'static str, TaskError>;

/// B-33: what took a cancellation and is dropped before it has heard of it hands it on.
#[test]
fn a_cancellation_is_not_lost_in_a_catch_that_is_dropped() {
    run(async |lp| {
        let ended = cancelled_at_the_gate(&lp, |gate| async move {
            before(gate, catch_cancel(pending::<()>())).await;
            pending().await
        });
        assert_eq!(ended.await, Err(TaskError::Cancelled));
        let ended = cancelled_at_the_gate(&lp, |gate| async move {
            let caught = catch_cancel(async {
                before(gate, catch_cancel(pending::<()>())).await;
                pending::<()>().await;
            });
            if caught.await.is_err() { "caught further out" } else { "lost" }
        });
        assert_eq!(ended.await, Ok("caught further out"));
        // A task that returns has not heard of it either (B-16).
        let ended = cancelled_at_the_gate(&lp, |gate| async move {
            before(gate, catch_cancel(pending::<()>())).await;
            "done"
        });
        assert_eq!(ended.await, Err(TaskError::Cancelled));
    });
}

/// B-33, B-39: nor in a group that is dropped before its tasks have ended.
#[test]
fn a_cancellation_is_not_lost_in_a_group_that_is_dropped() {
    run(async |lp| {
        for rests in [false, true] {
            let handle = lp.clone();
            let ended = cancelled_at_the_gate(&lp, move |gate| async move {
                let lp = handle.clone();
                let group = handle.task_group(async |group| {
                    group.spawn(async move {
                        let caught = catch_cancel(pending::<()>()).await.unwrap_err();
                        lp.sleep(secs(9)).await;
                        caught.raise::<Result<(), ()>>().await
                    });
                    pending::<Result<(), ()>>().await
                });
                if rests {
                    // It is cancelled, and waits for its task.
                    let rest = async { drop((gate.await, handle.sleep(secs(1)).await)) };
                    let (rest, group) = (std::pin::pin!(rest), std::pin::pin!(group));
                    drop(futures::future::select(rest, group).await);
                } else {
                    before(gate, group).await;
                }
                pending().await
            });
            assert_eq!(ended.await, Err(TaskError::Cancelled), "{rests}");
        }
    });
}

/// B-13: nor in one that is there and that nobody polls any more.
#[test]
fn a_cancellation_is_not_lost_in_a_catch_that_is_not_polled() {
    run(async |lp| {
        let task = lp.create_task(async {
            let mut catches = std::pin::pin!(catch_cancel(pending::<()>()));
            look_at(catches.as_mut()).await;
            catch_cancel(pending::<()>()).await.unwrap_err();
            // The first was cancelled as well, and it is told.
            catches.await.unwrap_err();
            let mut catches = std::pin::pin!(catch_cancel(pending::<()>()));
            look_at(catches.as_mut()).await;
            pending().await
        });
        lp.sleep(secs(1)).await;
        task.cancel();
        lp.sleep(secs(1)).await;
        assert!(!task.done(), "it has caught that one");
        task.cancel();
        assert_eq!(lp.timeout(secs(5), task).await, Ok(Err::<(), _>(TaskError::Cancelled)));

        let handle = lp.clone();
        let task = lp.create_task(async move {
            let group = handle.task_group(async |_| pending::<Result<(), ()>>().await);
            let mut group = std::pin::pin!(group);
            look_at(group.as_mut()).await;
            pending().await
        });
        lp.sleep(secs(1)).await;
        task.cancel();
        assert_eq!(lp.timeout(secs(5), task).await, Ok(Err::<(), _>(TaskError::Cancelled)));
    });
}

/// B-32, B-41: a deadline's goes as far as the deadline.
#[test]
fn what_a_catch_that_is_dropped_had_of_a_deadline_goes_no_further() {
    run(async |lp| {
        for inside in [true, false] {
            let (gate, timer) = (lp.create_future::<()>(), lp.clone());
            let opens = gate.clone();
            let _timer = lp.call_later(secs(1), move || drop(opens.set_result(())));
            let task = lp.create_task(async move {
                let catches = catch_cancel(pending::<()>());
                if inside {
                    let late = timer.timeout(secs(1), async {
                        before(gate, catches).await;
                        pending::<()>().await;
                    });
                    assert!(late.await.is_err());
                } else {
                    // The deadline is dropped, too.
                    before(gate, timer.timeout(secs(1), catches)).await;
                }
                timer.sleep(secs(1)).await;
                "goes on"
            });
            assert_eq!(task.await, Ok("goes on"), "{inside}");
        }
    });
}

/// B-15: one of two that caught it together has dealt with it for both.
#[test]
fn what_one_catch_heard_another_does_not_hand_on() {
    run(async |lp| {
        let handle = lp.clone();
        let task = lp.create_task(async move {
            let [one, two] = [(); 2].map(|()| Box::pin(catch_cancel(pending::<()>())));
            // The second is dropped before it is polled.
            let (caught, two) = futures::future::select(one, two).await.factor_first();
            drop(two);
            handle.sleep(secs(1)).await;
            caught.is_err()
        });
        lp.sleep(secs(1)).await;
        task.cancel();
        assert_eq!(task.await, Ok(true));
    });
}

/// B-33: a cancellation that comes while the future completes wins.
#[test]
fn a_cancellation_that_is_raised_beside_a_completion_is_caught() {
    run(async |lp| {
        let task = lp.create_task(async {
            catch_cancel(async {
                let caught = catch_cancel(pending::<()>()).await.unwrap_err();
                let raises = std::pin::pin!(caught.raise::<()>());
                let ready = std::future::ready(());
                assert!(matches!(
                    futures::future::select(raises, ready).await,
                    futures::future::Either::Right(_)
                ));
            })
            .await
            .is_err()
        });
        lp.sleep(secs(1)).await;
        task.cancel();
        assert_eq!(task.await, Ok(true));
    });
}

#[test]
fn tasks_that_await_each_other_can_be_cancelled() {
    let lp = testing::new_loop();
    let places: [Rc<RefCell<Option<Task<()>>>>; 2] = Default::default();
    let awaits = |place: &Rc<RefCell<Option<Task<()>>>>| {
        let place = Rc::clone(place);
        lp.create_task(async move {
            let other = place.take().expect("it was put there");
            drop(other.await);
        })
    };
    let (one, two) = (awaits(&places[1]), awaits(&places[0]));
    let first = one.as_any();
    places[0].replace(Some(one));
    places[1].replace(Some(two));
    turn(&lp);
    assert!(first.header().cancel());
    assert_eq!(first.header().requests(), 2);
}

/// B-33: a deadline and a completion in one turn: the deadline has passed; a nanosecond later it
/// has not.
#[test]
fn a_deadline_wins_over_a_completion_of_the_same_turn() {
    run(async |lp| {
        for (nanos, elapses) in [(0, true), (1, false)] {
            let limit = secs(1) + Duration::from_nanos(nanos);
            let awake = lp.timeout(limit, lp.sleep(secs(1)));
            assert_eq!(awake.await.is_err(), elapses);
            let task = lp.create_task({
                let lp = lp.clone();
                async move { lp.timeout(limit, lp.create_task(lp.sleep(secs(1)))).await.is_err() }
            });
            assert_eq!(task.await, Ok(elapses));
        }
    });
}

/// B-31, B-32: what catches a cancellation hears of a deadline of zero, in the step that it first waited in.
#[test]
fn a_deadline_of_zero_reaches_what_catches_it() {
    run(async |lp| {
        let caught = lp.timeout(Duration::ZERO, catch_cancel(pending::<()>())).await;
        assert!(matches!(caught, Ok(Err(_))));
        let group = lp.task_group(async |group| {
            group.spawn(pending::<Result<(), ()>>());
            pending::<Result<(), ()>>().await
        });
        assert!(lp.timeout(Duration::ZERO, group).await.is_err());
        let nested = lp.timeout(secs(1), catch_cancel(pending::<()>()));
        assert!(matches!(lp.timeout(Duration::ZERO, nested).await, Ok(Ok(Err(_)))));
        assert_eq!(lp.time().since_epoch(), Duration::ZERO);
    });
}

/// B-31: what it does not wake takes no step more.
#[test]
fn a_deadline_of_zero_gives_up_in_one_step() {
    let lp = testing::new_loop();
    let (handle, polls) = ((*lp).clone(), Rc::new(Cell::new(0)));
    let count = Rc::clone(&polls);
    let task = lp.create_task(async move {
        let given_up = handle.timeout(Duration::ZERO, pending::<()>());
        let mut given_up = std::pin::pin!(given_up);
        assert!(poll_fn(|cx| given_up.as_mut().poll(cx)).await.is_err());
        poll_fn(|_| {
            count.set(count.get() + 1);
            Poll::<()>::Pending
        })
        .await;
    });
    for _ in 0..3 {
        turn(&lp);
    }
    assert!(!task.done());
    assert_eq!(polls.get(), 1);
}

#[test]
fn a_timeout_leaves_no_timer_behind() {
    let lp = testing::new_loop();
    let handle = (*lp).clone();
    lp.run_until_complete(async move {
        assert!(handle.timeout(secs(60), async {}).await.is_ok());
        drop(handle.timeout(secs(60), async {}));
        assert!(handle.timeout(secs(1), pending::<()>()).await.is_err());
    })
    .unwrap();
    assert!(matches!(lp.run_forever(), Err(RunError::Deadlock { .. })));
    assert_eq!(lp.time().since_epoch(), secs(1));
}

/// A long-lived task is waited for again and again.
#[test]
fn a_task_forgets_who_waits_no_more() {
    run(async |lp| {
        let mut shutdown: Task<()> = lp.create_task(pending());
        let inner = shutdown.as_any();
        for _ in 0..3 {
            let job = lp.create_task(async {});
            let (_, pending) =
                wait([shutdown, job], ReturnWhen::FIRST_COMPLETED, None).await.unwrap();
            shutdown = pending.into_iter().next().expect("it goes on");
            assert_eq!(inner.header().waiter_count(), 0);
        }
        let mut outcomes = as_completed([shutdown], Some(secs(1)));
        assert_eq!(inner.header().waiter_count(), 1);
        assert!(outcomes.next().await.unwrap().is_err());
        drop(outcomes);
        assert_eq!(inner.header().waiter_count(), 0);

        let mut stubborn = lp.create_task(async {
            catch_cancel(pending::<()>()).await.unwrap_err();
            pending::<()>().await;
        });
        let inner = stubborn.as_any();
        lp.sleep(Duration::ZERO).await;
        let task = lp.create_task(async move {
            drop(futures::future::select(&mut stubborn, pending::<()>()).await);
        });
        lp.sleep(Duration::ZERO).await;
        task.cancel();
        lp.sleep(Duration::ZERO).await;
        assert_eq!(inner.header().waiter_count(), 2);
        lp.sleep(Duration::ZERO).await;
        task.cancel_now();
        assert_eq!(inner.header().waiter_count(), 0);
    });
}

#[test]
fn a_panic_while_a_task_is_dropped_is_its_outcome() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let lp = testing::new_loop();
    lp.set_panic_policy(PanicPolicy::Contain);
    let task: Task<()> = lp.create_task(async {
        let _bomb = Bomb;
        pending().await
    });
    turn(&lp);
    task.cancel();
    turn(&lp);
    assert_eq!(task.take_result(), Some(Err(TaskError::Panicked("dropped".into()))));
    assert_eq!(lp.report_count(), 1);
}

/// the task that ended the run with its panic is over in the next run.
#[test]
fn a_panic_that_ends_the_run_ends_the_task() {
    let lp = testing::new_loop();
    let task: Task<()> = lp.create_task(async { panic!("a finding") });
    let ended = catch_unwind(AssertUnwindSafe(|| turn(&lp)));
    assert!(ended.is_err());
    assert_eq!(lp.report_count(), 0);
    let outcome = lp.run_until_complete(task).unwrap();
    assert_eq!(outcome, Err(TaskError::Panicked("a finding".into())));
}

/// Its task may be held for long, which holds nothing of it.
#[test]
fn a_future_that_panics_is_dropped_at_once_as_part_of_its_task() {
    struct Bomb(Loop, Log);
    impl Future for Bomb {
        type Output = ();
        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("polled")
        }
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            let inside = self.0.current_task().as_deref() == Some("dying");
            note(&self.1, if inside { "inside" } else { "outside" });
            panic!("dropped")
        }
    }
    let ends = testing::new_loop();
    let task = ends.create_task(Bomb((*ends).clone(), Log::default()));
    let ended = catch_unwind(AssertUnwindSafe(|| turn(&ends))).unwrap_err();
    assert_eq!(ended.downcast_ref::<&str>(), Some(&"polled"));
    assert_eq!(ends.report_count(), 0);
    assert_eq!(task.take_result(), Some(Err(TaskError::Panicked("polled".into()))));

    let (lp, log) = (testing::new_loop(), Log::default());
    lp.set_panic_policy(PanicPolicy::Contain);
    let reports = Rc::new(RefCell::new(Vec::new()));
    let told = Rc::clone(&reports);
    lp.set_exception_handler(Some(Rc::new(move |_, context| {
        told.borrow_mut().push((context.message.clone(), context.panic.clone().unwrap()));
    })));
    let task = lp.create_named_task("dying", Bomb((*lp).clone(), log.clone()));
    turn(&lp);
    assert_eq!(*log.borrow(), ["inside"]);
    let expected = [
        ("Exception in task".to_owned(), "polled".into()),
        ("Exception in the destructor of a task that panicked".to_owned(), "dropped".into()),
    ];
    assert_eq!(*reports.borrow(), expected);
    assert_eq!(task.take_result(), Some(Err(TaskError::Panicked("polled".into()))));
}

#[test]
fn a_panic_that_the_task_contains_leaves_its_scopes_right() {
    use futures::FutureExt as _;
    run(async |lp| {
        let task = lp.create_task(async {
            let inner = AssertUnwindSafe(catch_cancel(async { panic!("inside a scope") }));
            assert!(inner.catch_unwind().await.is_err());
            catch_cancel(pending::<()>()).await.is_err()
        });
        lp.sleep(Duration::ZERO).await;
        task.cancel();
        assert_eq!(task.await, Ok(true));
    });
}

#[test]
fn a_destructor_of_a_cancelled_task_runs_as_part_of_the_task() {
    struct Ask(Loop, Log);
    impl Drop for Ask {
        fn drop(&mut self) {
            let inside = self.0.current_task().as_deref() == Some("dying");
            note(&self.1, if inside { "inside" } else { "outside" });
        }
    }
    let (lp, log) = (testing::new_loop(), Log::default());
    let ask = Ask((*lp).clone(), log.clone());
    let task: Task<()> = lp.create_named_task("dying", async move {
        pending::<()>().await;
        drop(ask);
    });
    turn(&lp);
    task.cancel();
    turn(&lp);
    assert_eq!(*log.borrow(), ["inside"]);
}

#[test]
fn nothing_outlives_the_loop() {
    struct Count(Rc<Cell<usize>>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.set(self.0.get() + 1);
        }
    }
    let dropped = Rc::new(Cell::new(0));
    let lp = testing::new_loop();
    let forever = |lp: &Loop| {
        let count = Count(Rc::clone(&dropped));
        lp.create_task(async move {
            pending::<()>().await;
            drop(count);
        })
    };
    let gathering = gather_all([forever(&lp), forever(&lp)]);
    drop(lp.create_task(gathering));
    let (child, handle) = (forever(&lp), (*lp).clone());
    drop(lp.create_task(async move {
        let group = handle.task_group(async |group| {
            group.spawn(async move {
                drop(child.await);
                Ok(())
            });
            pending::<Result<(), ()>>().await
        });
        handle.timeout(secs(1_000), group).await
    }));
    turn(&lp);
    turn(&lp);
    drop(lp);
    assert_eq!(dropped.get(), 3);
}
