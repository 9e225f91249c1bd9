//! Tasks and their cancellation (B.2).

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;

use futures::future::select;
use sim_core::combinators::{TaskGroup, gather, gather_all};
use sim_core::{Loop, Task, TaskError, catch_cancel};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::{open, run, sleeper, swallower, tidy, turns};
use crate::loops::{ms, note, reports_of, run_a_turn, run_for};

both_bare_loops! {
    /// B-10: nothing of the body runs inside `create_task`, and handles queued before run first.
    fn the_first_step_is_queued(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        lp.call_soon(note(&log, "before"));
        let stepped = log.clone();
        let task = lp.create_task(async move { stepped.push("step") });
        lp.call_soon(note(&log, "after"));
        assert_eq!(log.text(), "");
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["before", "step", "after"]);
        assert!(task.done());
    }

    /// B-11: waiters resume in the turn after completion, in the order in which they began to wait.
    fn waiters_resume_in_order_a_turn_later(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        for name in ["first", "second", "third"] {
            let (future, log) = (future.clone(), log.clone());
            drop(lp.create_task(async move {
                future.await.unwrap();
                log.push(name);
            }));
        }
        run_a_turn(&lp);
        let (setter, after) = (future.clone(), log.clone());
        lp.call_soon(move || {
            setter.set_result(0).unwrap();
            after.push("set");
        });
        run_a_turn(&lp);
        assert_eq!(log.text(), "set");
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["set", "first", "second", "third"]);
    }

    /// B-11: a task that awaits a task resumes in the turn after that one ended.
    fn joining_takes_one_turn_boundary(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let (handle, outer) = ((*lp).clone(), log.clone());
        drop(lp.create_task(async move {
            let inner = outer.clone();
            handle.create_task(async move { inner.push("inner") }).await.unwrap();
            outer.push("outer");
        }));
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "inner");
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["inner", "outer"]);
    }

    /// B-12: a sleep of zero takes one turn, and comes before timers that are due, being none.
    fn a_sleep_of_zero_yields_one_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        lp.call_later(ms(0), note(&log, "timer")).detach();
        let (handle, slept) = ((*lp).clone(), log.clone());
        drop(lp.create_task(async move {
            slept.push("begins");
            handle.call_soon(note(&slept, "queued before"));
            handle.call_later(ms(0), note(&slept, "timer set before")).detach();
            handle.sleep(ms(0)).await;
            slept.push("goes on");
        }));
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["begins", "timer"]);
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["begins", "timer", "queued before", "goes on", "timer set before"]);
    }

    /// B-13: a cancellation is seen at the await in a later turn, and the task ends then.
    fn a_cancellation_is_seen_in_a_later_turn(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let task = swallower(&lp, &log, "seen");
        let plain: Task<()> = lp.create_task(pending());
        run_a_turn(&lp);
        assert!(task.cancel() && plain.cancel());
        assert!(!task.cancelled() && !plain.cancelled() && !plain.done());
        assert_eq!(log.text(), "");
        run_a_turn(&lp);
        assert_eq!(log.text(), "seen");
        assert!(plain.done() && plain.cancelled());
        assert!(!plain.cancel());
        assert_eq!(plain.take_result(), Some(Err(TaskError::Cancelled)));
        assert_eq!(plain.take_result(), None);
    }

    /// B-13: two requests before the step are one cancellation, and end the innermost scope alone.
    fn cancelling_twice_at_once_is_cancelling_once(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let caught = log.clone();
        let task = lp.create_task(async move {
            let outer = catch_cancel(async {
                catch_cancel(pending::<()>()).await.unwrap_err();
                caught.push("inner");
                pending::<()>().await;
            });
            outer.await.unwrap_err();
            caught.push("outer");
        });
        run_a_turn(&lp);
        assert!(task.cancel() && task.cancel());
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "inner");
        assert!(task.cancel());
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["inner", "outer"]);
        assert!(task.done() && !task.cancelled());
    }

    /// B-13: a future that a cancelled task waited for is left to the others that wait for it.
    fn cancelling_a_task_leaves_the_future_alone(make: Make) {
        run(make, async |lp| {
            let future = lp.create_future::<u32>();
            let cancelled = lp.create_task(future.clone());
            let other = lp.create_task(future.clone());
            turns(&lp, 1).await;
            cancelled.cancel();
            turns(&lp, 2).await;
            assert!(cancelled.cancelled() && !future.done());
            future.set_result(5).unwrap();
            assert_eq!(other.await.unwrap().unwrap(), 5);
        });
    }

    /// B-14: a task that is cancelled before its first step never runs.
    fn a_task_cancelled_before_its_first_step_never_runs(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let body = log.clone();
        let task = lp.create_task(async move { body.push("ran") });
        assert!(task.cancel());
        assert!(!task.done());
        run_a_turn(&lp);
        assert!(task.cancelled());
        assert_eq!(log.text(), "");
    }

    /// B-15: a task that swallows the cancellation finishes with its value.
    fn a_swallowed_cancellation_leaves_a_finished_task(make: Make) {
        run(make, async |lp| {
            let task = swallower(&lp, &Log::new(), "value");
            turns(&lp, 1).await;
            task.cancel();
            assert_eq!(task.cancelling(), 1);
            while !task.done() {
                turns(&lp, 1).await;
            }
            assert!(!task.cancelled());
            assert_eq!(task.await, Ok("value"));
        });
    }

    /// B-15: what was caught may be let go on after cleaning up, and the task ends cancelled.
    fn a_caught_cancellation_can_be_raised_again(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let task = tidy::<()>(&lp, &log, "tidied");
            turns(&lp, 1).await;
            task.cancel();
            assert_eq!(task.await, Err(TaskError::Cancelled));
            assert_eq!(log.text(), "tidied");
        });
    }

    /// B-16: a task that cancels itself and returns is cancelled; one that waits is, where it waits.
    fn a_task_may_cancel_itself(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let mine: Rc<RefCell<Option<Task<u32>>>> = Rc::default();
        let (me, went_on) = (Rc::clone(&mine), log.clone());
        mine.replace(Some(lp.create_task(async move {
            me.borrow().as_ref().unwrap().cancel();
            went_on.push("goes on");
            7
        })));
        let other: Rc<RefCell<Option<Task<()>>>> = Rc::default();
        let (me, caught) = (Rc::clone(&other), log.clone());
        other.replace(Some(lp.create_task(async move {
            me.borrow().as_ref().unwrap().cancel();
            caught.push("waits");
            catch_cancel(pending::<()>()).await.unwrap_err();
            caught.push("caught");
        })));
        run_a_turn(&lp);
        let task = mine.take().unwrap();
        assert!(task.cancelled());
        assert_eq!(task.take_result(), Some(Err(TaskError::Cancelled)));
        assert_eq!(log.entries(), ["goes on", "waits"]);
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["goes on", "waits", "caught"]);
        assert!(!other.take().unwrap().cancelled());
    }

    /// B-17: cancelling a task that awaits another cancels that one first, through any number.
    fn a_cancellation_goes_through_the_awaits_of_tasks(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let inner = tidy::<u32>(&lp, &log, "inner");
            let passed = log.clone();
            let middle = lp.create_task(async move {
                let value = inner.await;
                passed.push("the middle went on");
                value
            });
            let caught = log.clone();
            let outer = lp.create_task(async move {
                catch_cancel(middle).await.unwrap_err();
                caught.push("outer");
            });
            turns(&lp, 2).await;
            outer.cancel();
            assert_eq!(outer.await, Ok(()));
            assert_eq!(log.entries(), ["inner", "outer"]);
        });
    }

    /// B-17: if the inner task swallows the cancellation, the outer one goes on.
    fn a_cancellation_that_the_inner_task_swallows_ends_there(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let inner = swallower(&lp, &log, "inner");
            let outer = lp.create_task(async move { inner.await.unwrap().len() });
            turns(&lp, 1).await;
            outer.cancel();
            assert_eq!(outer.await, Ok(5));
        });
    }

    /// B-17: an inner task that somebody else cancels is an outcome for the outer one.
    fn an_inner_task_cancelled_by_others_is_an_outcome(make: Make) {
        run(make, async |lp| {
            let inner: Task<()> = lp.create_task(pending());
            let handle = Rc::new(RefCell::new(Some(inner)));
            let awaited = Rc::clone(&handle);
            let outer = lp.create_task(async move {
                let inner = awaited.take().unwrap();
                inner.cancel();
                inner.await
            });
            assert_eq!(outer.await, Ok(Err(TaskError::Cancelled)));
        });
    }

    /// B-18: `cancelling` counts requests, `uncancel` takes one back and stops at zero.
    fn requests_are_counted_and_taken_back(make: Make) {
        run(make, async |lp| {
            let task = swallower(&lp, &Log::new(), "done");
            assert_eq!((task.cancelling(), task.uncancel()), (0, 0));
            turns(&lp, 1).await;
            task.cancel();
            task.cancel();
            assert_eq!(task.cancelling(), 2);
            assert_eq!(task.uncancel(), 1);
            turns(&lp, 2).await;
            assert!(task.done());
            assert!(!task.cancel());
            assert_eq!(task.cancelling(), 1);
            assert_eq!((task.uncancel(), task.uncancel()), (0, 0));
        });
    }

    /// B-19: a task that awaits itself panics, and is the only one that does.
    fn a_task_cannot_await_itself(make: Make) {
        let lp = make.containing_loop();
        let reports = reports_of(&lp);
        let mine: Rc<RefCell<Option<Task<()>>>> = Rc::default();
        let me = Rc::clone(&mine);
        mine.replace(Some(lp.create_named_task("narcissus", async move {
            let mut task = me.take().unwrap();
            drop((&mut task).await);
        })));
        run_for(&lp, ms(1));
        assert_eq!(reports.entries(), ["Exception in task"]);
        assert!(lp.all_tasks().is_empty());
    }

    /// B-20: the current task is known in steps alone, and tasks that are done are not listed.
    fn the_current_task_is_known_in_its_steps(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let named = |lp: &Loop| lp.current_task().unwrap_or_else(|| "none".to_owned());
        let (handle, seen) = ((*lp).clone(), log.clone());
        let task = lp.create_named_task("short", async move { seen.push(named(&handle)) });
        let (handle, seen) = ((*lp).clone(), log.clone());
        lp.call_soon(move || seen.push(named(&handle)));
        let long: Task<()> = lp.create_named_task("long", pending());
        assert_eq!(named(&lp), "none");
        assert_eq!(lp.all_tasks(), ["short", "long"]);
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["short", "none"]);
        assert!(task.done());
        assert_eq!(lp.all_tasks(), ["long"]);
        long.set_name("renamed");
        assert_eq!(lp.all_tasks(), ["renamed"]);
    }

    /// B-11, B-17: dropping the handle of a task lets it run on.
    fn a_task_runs_on_without_its_handle(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        drop(sleeper(&lp, &log, 0, "done"));
        run_a_turn(&lp);
        run_a_turn(&lp);
        assert_eq!(log.text(), "done");
    }

    /// B-33: a cancellation in the turn in which the future completes wins, in either order.
    fn a_cancellation_wins_over_a_completion_of_the_same_turn(make: Make) {
        for cancel_first in [false, true] {
            let lp = make.new_loop();
            let future = lp.create_future::<u32>();
            let caught = lp.create_task(catch_cancel(future.clone()));
            let plain = lp.create_task(future.clone());
            run_a_turn(&lp);
            if cancel_first {
                assert!(caught.cancel() && plain.cancel());
            }
            future.set_result(1).unwrap();
            if !cancel_first {
                assert!(caught.cancel() && plain.cancel());
            }
            run_a_turn(&lp);
            assert!(matches!(caught.take_result(), Some(Ok(Err(_)))));
            assert!(plain.cancelled());
        }
    }

    /// B-33: so it does when the task that was awaited has just ended, whose value is not lost.
    fn a_cancellation_wins_over_an_awaited_task_that_has_just_ended(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let future = lp.create_future::<u32>();
        let mut inner = lp.create_task(future.clone());
        let caught = log.clone();
        let task = lp.create_task(async move {
            catch_cancel(&mut inner).await.unwrap_err();
            caught.push("caught");
            assert_eq!(inner.await.unwrap().unwrap(), 3);
            caught.push("value");
        });
        let inner = lp.create_task(future.clone());
        let plain = Rc::new(lp.create_task(inner));
        run_a_turn(&lp);
        future.set_result(3).unwrap();
        let (first, second) = (Rc::new(task), Rc::clone(&plain));
        lp.call_soon(move || assert!(first.cancel() && second.cancel()));
        run_a_turn(&lp);
        assert_eq!(log.entries(), [""; 0]);
        run_a_turn(&lp);
        assert_eq!(log.entries(), ["caught", "value"]);
        assert!(plain.cancelled());
    }

    /// B-13, B-16, B-33, B-35: so it does when the last step of the task that is awaited is queued by then, however
    /// it is awaited. Nothing behind the await runs.
    fn a_cancellation_wins_over_an_awaited_task_that_is_about_to_end(make: Make) {
        for around in Around::ALL {
            run(make, async move |lp| {
                let (log, gate) = (Log::new(), lp.create_future::<()>());
                let (opens, ended) = (gate.clone(), log.clone());
                let inner = lp.create_task(async move {
                    opens.await.map_err(drop)?;
                    ended.push("ended");
                    Ok(())
                });
                let (handle, behind) = (lp.clone(), log.clone());
                let task = lp.create_task(async move {
                    around.wait_for(&handle, inner, &behind).await;
                    behind.push("went on");
                });
                turns(&lp, 2).await;
                // Its last step is queued, and comes before any of the one that is cancelled.
                open(&gate);
                assert!(task.cancel());
                assert_eq!(task.await, Err(TaskError::Cancelled), "{around:?}");
                let caught: &[&str] = if around == Around::Catch { &["ended", "caught"] } else { &["ended"] };
                assert_eq!(log.entries(), caught, "{around:?}");
            });
        }
    }

    /// B-13, B-16: a task that waits for the first of several things, and returns in the step that was to show which
    /// tasks it awaits, is cancelled; if it waits again, it is cancelled there.
    fn a_cancellation_wins_over_whatever_comes_first(make: Make) {
        for goes_on in [false, true] {
            run(make, async move |lp| {
                let gate = lp.create_future::<()>();
                let worker = swallower(&lp, &Log::new(), "worker");
                let opens = gate.clone();
                let task = lp.create_task(async move {
                    drop(select(worker, opens).await);
                    if goes_on {
                        pending::<()>().await;
                    }
                });
                turns(&lp, 2).await;
                open(&gate);
                assert!(task.cancel());
                assert_eq!(task.await, Err(TaskError::Cancelled));
            });
        }
        // What catches it gets it, and not a value.
        run(make, async |lp| {
            let gate = lp.create_future::<()>();
            let worker = swallower(&lp, &Log::new(), "worker");
            let task = lp.create_task(catch_cancel(select(worker, gate.clone())));
            turns(&lp, 2).await;
            open(&gate);
            assert!(task.cancel());
            assert!(task.await.unwrap().is_err());
        });
    }

    /// B-35: a gathering whose first task is about to fail cancels the others all the same.
    fn a_gathering_that_is_about_to_fail_is_cancelled_as_a_whole(make: Make) {
        run(make, async |lp| {
            let gate = lp.create_future::<()>();
            let opens = gate.clone();
            let fails = lp.create_task(async move { opens.await.map_err(drop).and(Err::<(), ()>(())) });
            let log = Log::new();
            let other = tidy::<Result<(), ()>>(&lp, &log, "tidied");
            let task = lp.create_task(gather([fails, other]));
            turns(&lp, 2).await;
            open(&gate);
            assert!(task.cancel());
            assert!(matches!(task.await, Err(TaskError::Cancelled)));
            turns(&lp, 4).await;
            assert_eq!(log.text(), "tidied");
        });
    }
}

/// What is around the await of a task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Around {
    Nothing,
    Gather,
    GatherAll,
    Timeout,
    Group,
    Catch,
}

impl Around {
    const ALL: [Self; 6] =
        [Self::Nothing, Self::Gather, Self::GatherAll, Self::Timeout, Self::Group, Self::Catch];

    async fn wait_for(self, lp: &Loop, task: Task<Result<(), ()>>, log: &Log) {
        match self {
            Self::Nothing => drop(task.await),
            Self::Gather => drop(gather([task]).await),
            Self::GatherAll => drop(gather_all([task]).await),
            Self::Timeout => drop(lp.timeout(ms(10_000), task).await),
            Self::Group => {
                let body = async |_: TaskGroup<()>| task.await.unwrap_or(Ok(()));
                drop(lp.task_group(body).await);
            }
            Self::Catch => {
                if let Err(cancelled) = catch_cancel(task).await {
                    log.push("caught");
                    cancelled.raise().await
                }
            }
        }
    }
}
