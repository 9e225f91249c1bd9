//! Timeouts (B.3).

use std::cell::RefCell;
use std::future::{pending, ready};
use std::rc::Rc;

use sim_core::combinators::{Deadline, gather_all};
use sim_core::{Task, TaskError, catch_cancel};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::{gated, open, run, sleeper, swallower, tidy, tidying, turns};
use crate::loops::{ms, run_a_turn, run_for};

both_bare_loops! {
    /// B-31: with a duration of zero a future that is done gives its value.
    fn a_timeout_of_zero_gives_what_is_there(make: Make) {
        run(make, async |lp| {
            assert_eq!(lp.timeout(ms(0), ready(1)).await, Ok(1));
            let task = lp.create_task(async { 2 });
            turns(&lp, 1).await;
            assert_eq!(lp.timeout(ms(0), task).await, Ok(Ok(2)));
            let future = lp.create_future::<u32>();
            assert!(lp.timeout(ms(0), future.clone()).await.is_err());
            assert!(!future.done());
            future.set_result(3).unwrap();
            assert_eq!(lp.timeout(ms(0), future).await.unwrap().unwrap(), 3);
        });
    }

    /// B-31: with a duration of zero a task that has not begun never begins.
    fn a_timeout_of_zero_starts_nothing(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let body = log.clone();
            let mut task = lp.create_task(async move { body.push("ran") });
            assert!(lp.timeout(ms(0), &mut task).await.is_err());
            assert!(task.cancelled());
            turns(&lp, 3).await;
            assert_eq!(log.text(), "");
        });
    }

    /// B-32: at the deadline the task is cancelled and waited for.
    fn a_timeout_waits_for_the_task_that_it_cancels(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let task = tidy::<()>(&lp, &log, "tidied");
            let outcome = lp.timeout(ms(1), task).await;
            log.push("elapsed");
            assert_eq!(outcome.unwrap_err().to_string(), "timed out after 1ms");
            assert_eq!(log.entries(), ["tidied", "elapsed"]);
        });
    }

    /// B-32: a task that swallows the cancellation gives the outcome, late as it is.
    fn a_task_that_swallows_the_timeout_gives_its_value(make: Make) {
        run(make, async |lp| {
            let task = swallower(&lp, &Log::new(), "value");
            let timeout = lp.timeout(ms(1), task);
            let deadline = timeout.deadline().clone();
            assert_eq!(timeout.await, Ok(Ok("value")));
            assert!(deadline.expired());
        });
    }

    /// B-32: what is not a task may clean up too, or be dropped where it waits.
    fn a_body_may_clean_up_after_its_timeout(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tidied: Result<(), _> =
                lp.timeout(ms(1), tidying(lp.clone(), log.clone(), "tidied")).await;
            assert!(tidied.is_err());
            let swallowed = lp.timeout(ms(1), async {
                catch_cancel(pending::<()>()).await.unwrap_err();
                turns(&lp, 2).await;
                "value"
            });
            assert_eq!(swallowed.await, Ok("value"));
            let dropped = crate::loops::NoteDrop(log.clone(), "dropped");
            let plain = lp.timeout(ms(1), async move {
                pending::<()>().await;
                drop(dropped);
            });
            assert!(plain.await.is_err());
            assert_eq!(log.entries(), ["tidied", "dropped"]);
        });
    }

    /// B-33, J-38: a timeout that fires in the turn in which the future completes has elapsed, and a
    /// cancellation in that turn is not lost.
    fn a_cancellation_of_a_timeout_is_not_lost(make: Make) {
        let lp = make.new_loop();
        let future = lp.create_future::<u32>();
        let (handle, inner) = ((*lp).clone(), future.clone());
        let task = lp.create_task(async move { handle.timeout(ms(10_000), inner).await });
        run_a_turn(&lp);
        future.set_result(1).unwrap();
        task.cancel();
        run_a_turn(&lp);
        assert!(task.cancelled());

        for completion_first in [false, true] {
            // Far enough for both to be armed before it, on a busy machine, too.
            let at = lp.time() + ms(150);
            let future = lp.create_future::<u32>();
            let (handle, inner) = ((*lp).clone(), future.clone());
            let task = lp.create_task(async move { handle.timeout_at(at, inner).await });
            let complete = || {
                let future = future.clone();
                lp.call_at(at, move || future.set_result(1).unwrap()).detach();
            };
            if completion_first {
                complete();
                run_a_turn(&lp);
            } else {
                run_a_turn(&lp);
                complete();
            }
            let outcome = lp.run_until_complete(task).unwrap();
            assert_eq!(future.result().unwrap(), 1);
            assert!(matches!(outcome, Ok(Err(_))), "{outcome:?}");
        }
    }

    /// B-40: a deadline in the past fires through the loop, where the body first waits.
    fn a_deadline_in_the_past_fires_at_the_next_suspension(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            lp.sleep(ms(1)).await;
            let past = sim_core::Time::ZERO;
            assert_eq!(lp.timeout_at(past, async { "never waits" }).await, Ok("never waits"));
            let body = log.clone();
            let handle = lp.clone();
            let outcome = lp.timeout_at(past, async move {
                body.push("begins");
                let queued = body.clone();
                handle.call_soon(move || queued.push("queued"));
                handle.sleep(ms(10_000)).await;
            });
            assert!(outcome.await.is_err());
            assert_eq!(log.entries(), ["begins", "queued"]);
        });
    }

    /// B-41: a cancellation from outside goes through a timeout, also one that is expiring.
    fn a_cancellation_from_outside_stays_one(make: Make) {
        let (lp, log) = (make.new_loop(), Log::new());
        let handle = (*lp).clone();
        let plain = lp.create_task(async move { handle.timeout(ms(10_000), pending::<()>()).await });
        run_a_turn(&lp);
        plain.cancel();
        run_a_turn(&lp);
        assert!(plain.cancelled());

        let target: Rc<RefCell<Option<Task<_>>>> = Rc::default();
        let (handle, inner, itself) = ((*lp).clone(), log.clone(), Rc::clone(&target));
        target.replace(Some(lp.create_task(async move {
            let lp = handle.clone();
            let slow = async move {
                let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                inner.push("expired");
                // While it cleans up, the request comes, and goes to this wait.
                lp.call_soon(move || assert!(itself.borrow().as_ref().unwrap().cancel()));
                catch_cancel(pending::<()>()).await.unwrap_err();
                inner.push("cancelled");
                cancelled.raise::<()>().await;
            };
            let task = handle.create_task(slow);
            handle.timeout(ms(1), task).await
        })));
        let expiring = target.borrow().as_ref().map(Task::name);
        while lp.all_tasks().iter().any(|name| Some(name) == expiring.as_ref()) {
            run_for(&lp, ms(1));
        }
        assert_eq!(log.entries(), ["expired", "cancelled"]);
        assert!(target.borrow().as_ref().unwrap().cancelled());
    }

    /// B-41: so it does when the deadline passes while the body still cleans up for it.
    fn a_deadline_does_not_swallow_a_cancellation_that_its_body_cleans_up_for(make: Make) {
        run(make, async |lp| {
            let (handle, log) = (lp.clone(), Log::new());
            let inner = log.clone();
            let task = lp.create_task(async move {
                let late = handle.timeout(ms(5), async move {
                    catch_cancel(pending::<()>()).await.unwrap_err();
                    inner.push("cleans up");
                    pending::<()>().await;
                });
                late.await
            });
            turns(&lp, 1).await;
            assert!(task.cancel());
            assert_eq!(task.await, Err(TaskError::Cancelled));
            assert_eq!(log.text(), "cleans up");
        });
        // Taken back, it is nothing that the deadline knows of.
        run(make, async |lp| {
            let handle = lp.clone();
            let task = lp.create_task(async move {
                handle.timeout(ms(50), async {
                    catch_cancel(pending::<()>()).await.unwrap_err();
                    pending::<()>().await;
                }).await.is_err()
            });
            turns(&lp, 1).await;
            assert!(task.cancel());
            assert_eq!(task.uncancel(), 0);
            assert_eq!(task.await, Ok(true));
        });
    }

    /// B-41: of two deadlines the outer one reports, if it passed while the inner one waited, and the body still
    /// cleans up for it when the inner one passes.
    fn a_deadline_does_not_swallow_an_outer_one_that_its_body_cleans_up_for(make: Make) {
        run(make, async |lp| {
            let cleans_up = async || {
                catch_cancel(pending::<()>()).await.unwrap_err();
                pending::<()>().await;
            };
            let handle = lp.clone();
            let nested = lp.timeout(ms(5), async {
                let _late = handle.timeout(ms(15), cleans_up()).await;
                "went on"
            });
            assert!(nested.await.is_err());
            // A deadline that begins after the outer one has passed is an ordinary one.
            let handle = lp.clone();
            let nested = lp.timeout(ms(5), async {
                catch_cancel(pending::<()>()).await.unwrap_err();
                handle.timeout(ms(5), pending::<()>()).await.is_err()
            });
            assert_eq!(nested.await, Ok(true));
        });
    }

    /// B-33, B-41: so it does when what the deadline has cancelled is about to end.
    fn a_cancellation_from_outside_wins_over_a_deadline_that_is_being_delivered(make: Make) {
        run(make, async |lp| {
            let (handle, log, gate) = (lp.clone(), Log::new(), lp.create_future::<()>());
            let (cleaning, opens) = (log.clone(), gate.clone());
            let worker = lp.create_task(async move {
                let cancelled = catch_cancel(pending::<()>()).await.unwrap_err();
                cleaning.push("cleans up");
                opens.await.unwrap();
                cancelled.raise::<()>().await
            });
            let waits = log.clone();
            let task = lp.create_task(async move {
                waits.push(match handle.timeout(ms(1), gather_all([worker])).await {
                    Ok(_) => "value",
                    Err(_) => "elapsed",
                });
            });
            while log.text() != "cleans up" {
                lp.sleep(ms(1)).await;
            }
            open(&gate);
            assert!(task.cancel());
            assert_eq!(task.await, Err(TaskError::Cancelled));
            assert_eq!(log.entries(), ["cleans up"]);
        });
    }

    /// B-33: a deadline that passes when the last step of the task that it is around is queued has passed.
    fn a_deadline_wins_over_an_awaited_task_that_is_about_to_end(make: Make) {
        run(make, async |lp| {
            for gathers in [false, true] {
                let gate = lp.create_future::<()>();
                let worker = gated(&lp, &Log::new(), &gate, "value");
                turns(&lp, 1).await;
                // Far enough for both to be armed before it, on a busy machine, too.
                let at = lp.time() + ms(50);
                lp.call_at(at, move || open(&gate)).detach();
                let limit = lp.timeout_at(at, async move {
                    if gathers { drop(gather_all([worker]).await) } else { drop(worker.await) }
                });
                assert!(limit.await.is_err(), "{gathers}");
            }
        });
    }

    /// B-41: a body that catches a cancellation from outside and raises it passes all timeouts.
    fn a_raised_cancellation_goes_no_further_than_its_sender(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            let task = lp.create_task(async move {
                let tidying = tidying::<()>(handle.clone(), inner, "tidied");
                handle.timeout(ms(20_000), handle.timeout(ms(10_000), tidying)).await
            });
            turns(&lp, 1).await;
            task.cancel();
            assert!(matches!(task.await, Err(TaskError::Cancelled)));

            let tidying = tidying::<()>(lp.clone(), log.clone(), "tidied");
            let nested = lp.timeout(ms(10_000), lp.timeout(ms(1), tidying));
            assert!(nested.await.expect("the outer one has time").is_err());
            let tidying = crate::awaiting::tidying::<()>(lp.clone(), log.clone(), "tidied");
            let nested = lp.timeout(ms(1), lp.timeout(ms(10_000), tidying));
            assert!(nested.await.is_err());
            assert_eq!(log.count("tidied"), 3);
        });
    }

    /// B-41: of nested timeouts that are due at the same instant the outer one reports, whichever
    /// was armed first, and the task is not cancelled afterwards.
    fn the_outer_of_two_timeouts_due_together_reports(make: Make) {
        run(make, async |lp| {
            for (tidies, inner_first) in [(false, false), (false, true), (true, false), (true, true)] {
                let at = lp.time() + ms(25);
                let handle = lp.clone();
                let body = async |deadline: Deadline| {
                    let inner = handle.timeout_at(at, async {
                        if inner_first {
                            turns(&handle, 1).await;
                            deadline.reschedule(Some(at));
                        }
                        if tidies {
                            tidying::<()>(handle.clone(), Log::new(), "tidied").await;
                        }
                        pending::<()>().await;
                    });
                    inner.await
                };
                let first = (!inner_first).then_some(at);
                assert!(lp.timeout_with(first, body).await.is_err());
                turns(&lp, 2).await;
                let later = lp.timeout(ms(10_000), lp.sleep(ms(1)));
                assert_eq!(later.await, Ok(()));
            }
        });
    }

    /// B-42: an active timeout can be moved, taken away and set again.
    fn a_timeout_can_be_moved(make: Make) {
        run(make, async |lp| {
            let handle = lp.clone();
            let kept = Rc::new(RefCell::new(None));
            let keep = Rc::clone(&kept);
            let soon = lp.time() + ms(5);
            let moved = lp.timeout_with(Some(soon), async move |deadline: Deadline| {
                keep.replace(Some(deadline.clone()));
                assert_eq!(deadline.when(), Some(soon));
                assert!(deadline.reschedule(None));
                handle.sleep(ms(10)).await;
                assert!(deadline.reschedule(Some(handle.time() + ms(10_000))));
                handle.sleep(ms(1)).await;
                assert!(!deadline.expired());
                "value"
            });
            assert_eq!(moved.await, Ok("value"));
            let deadline = kept.take().unwrap();
            assert!(!deadline.expired() && !deadline.reschedule(None));
        });
    }

    /// B-42: a timeout that is moved closer fires, and is expired then and only then.
    fn a_timeout_is_expired_only_when_it_fired(make: Make) {
        run(make, async |lp| {
            let timeout = lp.timeout(ms(10_000), pending::<()>());
            let deadline = timeout.deadline().clone();
            assert!(!deadline.expired());
            let moving = deadline.clone();
            let past = lp.time();
            lp.call_soon(move || assert!(moving.reschedule(Some(past))));
            assert!(timeout.await.is_err());
            assert!(deadline.expired());
            assert!(!deadline.reschedule(None));
            assert_eq!(deadline.when(), Some(past));

            let dropped = lp.timeout(ms(0), pending::<()>());
            let deadline = dropped.deadline().clone();
            drop(dropped);
            assert!(!deadline.expired() && !deadline.reschedule(None));
        });
    }

    /// B-31, B-32: a task that ends in time is not touched, and may be awaited by one timeout after
    /// another.
    fn a_shielded_task_outlives_its_timeouts(make: Make) {
        run(make, async |lp| {
            let mut task: Task<&str> = sleeper(&lp, &Log::new(), 5, "value");
            let mut tries = 0;
            let value = loop {
                let shielded = sim_core::combinators::shield(&mut task);
                match lp.timeout(ms(1), shielded).await {
                    Ok(value) => break value,
                    Err(_) => tries += 1,
                }
            };
            assert_eq!(value, Ok("value"));
            assert!(tries > 0 && task.cancelling() == 0);
        });
    }
}
