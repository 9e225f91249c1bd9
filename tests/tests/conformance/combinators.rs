//! gather, wait, as_completed and shield (B.3).

use std::future::pending;
use std::io;

use sim_core::combinators::{
    ReturnWhen, TaskFailure, as_completed, gather, gather_all, shield, wait,
};
use sim_core::{Loop, Task, TaskError, catch_cancel};
use tests::recorder::Log;
use tests::{both_bare_loops, both_loops};

use crate::awaiting::{run, sleeper, swallower, tidy, turns};
use crate::loops::ms;

/// A task that fails after a while.
fn failing(lp: &Loop, log: &Log, millis: u64, name: &'static str) -> Task<Outcome> {
    let (lp, log) = (lp.clone(), log.clone());
    let handle = lp.clone();
    handle.create_task(async move {
        lp.sleep(ms(millis)).await;
        log.push(name);
        Err(name)
    })
}

type Outcome = Result<&'static str, &'static str>;

/// A [`sleeper`] of a `Result`.
fn fine(lp: &Loop, log: &Log, millis: u64, name: &'static str) -> Task<Outcome> {
    let task = sleeper(lp, log, millis, name);
    lp.create_task(async move { Ok(task.await.expect("it is not cancelled alone")) })
}

fn names<T: 'static>(tasks: &[Task<T>]) -> Vec<String> {
    tasks.iter().map(Task::name).collect()
}

/// Three tasks called `0`, `1` and `2` that sleep for so many milliseconds.
fn three(lp: &Loop, log: &Log, millis: [u64; 3]) -> [Task<&'static str>; 3] {
    let mut place = 0;
    millis.map(|millis| {
        let task = sleeper(lp, log, millis, ["a", "b", "c"][place]);
        task.set_name(place.to_string());
        place += 1;
        task
    })
}

both_bare_loops! {
    /// B-30: waiting for nothing is an error.
    fn waiting_for_nothing_is_an_error(make: Make) {
        run(make, async |_| {
            let nothing: [Task<()>; 0] = [];
            let error = wait(nothing, ReturnWhen::ALL_COMPLETED, None).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        });
    }

    /// B-30: the first completed, or all, and what is pending goes on.
    fn wait_ends_at_the_first_or_with_all(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tasks = three(&lp, &log, [20, 1, 30]);
            let (done, pending) = wait(tasks, ReturnWhen::FIRST_COMPLETED, None).await.unwrap();
            assert_eq!((names(&done), names(&pending)), (vec!["1".into()], vec!["0".into(), "2".into()]));
            let tasks = done.into_iter().chain(pending).collect::<Vec<_>>();
            let (done, pending) = wait(tasks, ReturnWhen::ALL_COMPLETED, None).await.unwrap();
            assert_eq!((done.len(), pending.len()), (3, 0));
            assert_eq!(log.entries(), ["b", "a", "c"]);
            let (done, pending) = wait(done, ReturnWhen::FIRST_COMPLETED, None).await.unwrap();
            assert_eq!((done.len(), pending.len()), (3, 0));
        });
    }

    /// B-30: the first failure is an `Err` or a panic; a cancelled task has not failed.
    fn wait_ends_at_the_first_failure(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            lp.set_panic_policy(sim_core::PanicPolicy::Contain);
            let cancelled: Task<Outcome> = lp.create_task(pending());
            cancelled.cancel();
            let tasks = [cancelled, fine(&lp, &log, 0, "fine"), failing(&lp, &log, 2, "failed"), lp.create_task(pending())];
            let (done, mut rest) = wait(tasks, ReturnWhen::FIRST_EXCEPTION, None).await.unwrap();
            assert_eq!((done.len(), rest.len()), (3, 1));
            rest.push(lp.create_task(async { panic!("this task") }));
            let (done, mut rest) = wait(rest, ReturnWhen::FIRST_EXCEPTION, None).await.unwrap();
            assert_eq!((done.len(), rest.len()), (1, 1));
            rest[0].cancel();
            rest.push(fine(&lp, &log, 1, "fine"));
            let (done, rest) = wait(rest, ReturnWhen::FIRST_EXCEPTION, None).await.unwrap();
            assert_eq!((done.len(), rest.len()), (2, 0));
        });
    }

    /// B-30: its timeout neither fails nor cancels, and with zero it still sees what is done.
    fn wait_gives_up_without_harm(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let done = sleeper(&lp, &log, 0, "done");
            turns(&lp, 3).await;
            let tasks = [done, sleeper(&lp, &log, 10, "late")];
            let (done, pending) = wait(tasks, ReturnWhen::ALL_COMPLETED, Some(ms(0))).await.unwrap();
            assert_eq!((done.len(), pending.len()), (1, 1));
            let (done, late) = wait(pending, ReturnWhen::ALL_COMPLETED, Some(ms(1))).await.unwrap();
            assert_eq!((done.len(), late.len()), (0, 1));
            assert_eq!(late[0].cancelling(), 0);
            let (done, _) = wait(late, ReturnWhen::ALL_COMPLETED, Some(ms(30_000))).await.unwrap();
            assert_eq!(done.len(), 1);
        });
    }

    /// B-30: cancelling the one who waits leaves the tasks alone.
    fn a_cancelled_wait_cancels_nothing(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let task = sleeper(&lp, &log, 2, "went on");
            let waiting = lp.create_task(wait([task], ReturnWhen::ALL_COMPLETED, None));
            turns(&lp, 1).await;
            waiting.cancel();
            assert!(matches!(waiting.await, Err(TaskError::Cancelled)));
            lp.sleep(ms(10)).await;
            assert_eq!(log.text(), "went on");
        });
    }

    /// B-34: results come in the order of the arguments; nothing gives an empty list.
    fn gather_keeps_the_order_of_its_arguments(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tasks = [fine(&lp, &log, 3, "x"), fine(&lp, &log, 1, "y"), fine(&lp, &log, 2, "z")];
            assert_eq!(gather(tasks).await.unwrap(), ["x", "y", "z"]);
            assert_eq!(log.entries(), ["y", "z", "x"]);
            let nothing: [Task<Outcome>; 0] = [];
            assert_eq!(gather(nothing).await.unwrap(), [""; 0]);
            let nothing: [Task<Outcome>; 0] = [];
            assert!(gather_all(nothing).await.is_empty());
        });
    }

    /// B-34: the first failure is handed on at once, and the others run on.
    fn gather_hands_on_the_first_failure(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tasks = [
                fine(&lp, &log, 20, "late"),
                failing(&lp, &log, 10, "second"),
                failing(&lp, &log, 1, "first"),
            ];
            assert_eq!(gather(tasks).await, Err(TaskFailure::Failed("first")));
            assert_eq!(log.text(), "first");
            lp.sleep(ms(30)).await;
            assert_eq!(log.entries(), ["first", "second", "late"]);
        });
    }

    /// B-34: the collecting form waits for all.
    fn gather_all_collects_every_outcome(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let cancelled: Task<Outcome> = lp.create_task(pending());
            cancelled.cancel();
            let tasks = [failing(&lp, &log, 1, "bad"), cancelled, fine(&lp, &log, 3, "good")];
            let outcomes = gather_all(tasks).await;
            assert_eq!(outcomes, [Ok(Err("bad")), Err(TaskError::Cancelled), Ok(Ok("good"))]);
        });
    }

    /// B-35: cancelling a gather cancels its children, and the caller is cancelled.
    fn cancelling_a_gather_cancels_its_children(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tasks = [tidy::<Outcome>(&lp, &log, "one"), tidy(&lp, &log, "two")];
            let caught = log.clone();
            let gathering = lp.create_task(async move {
                catch_cancel(gather(tasks)).await.unwrap_err();
                caught.push("caller");
            });
            turns(&lp, 2).await;
            gathering.cancel();
            gathering.await.unwrap();
            assert_eq!(log.entries(), ["one", "two", "caller"]);
        });
    }

    /// B-35: the caller is cancelled even if every child swallows it.
    fn a_cancelled_gather_is_cancelled_whatever_its_children_do(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tasks = [swallower(&lp, &log, "one"), swallower(&lp, &log, "two")];
            let gathering = lp.create_task(gather_all(tasks));
            turns(&lp, 1).await;
            gathering.cancel();
            assert_eq!(gathering.await, Err(TaskError::Cancelled));
            assert_eq!(log.entries(), ["one", "two"]);

            let swallowing = swallower(&lp, &log, "three");
            let child = lp.create_task(async move { Err::<u32, _>(swallowing.await.unwrap()) });
            let gathering = lp.create_task(gather([child]));
            turns(&lp, 2).await;
            gathering.cancel();
            assert_eq!(gathering.await, Err(TaskError::Cancelled));
        });
    }

    /// B-35: a child that somebody else cancels is a failure.
    fn a_child_cancelled_by_others_fails_the_gather(make: Make) {
        run(make, async |lp| {
            let child: Task<Outcome> = lp.create_task(pending());
            child.cancel();
            let other = fine(&lp, &Log::new(), 1, "fine");
            assert_eq!(gather([other, child]).await, Err(TaskFailure::Cancelled));
        });
    }

    /// B-36: cancelling the outside of a shield leaves the inside running.
    fn a_shield_keeps_a_cancellation_out(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let mut inside = sleeper(&lp, &log, 5, "inside");
            let outside = lp.create_task(async move {
                catch_cancel(shield(&mut inside)).await.unwrap_err();
                assert_eq!(inside.cancelling(), 0);
                inside.await.unwrap()
            });
            let dropped = sleeper(&lp, &log, 5, "dropped");
            let plain = lp.create_task(shield(dropped));
            turns(&lp, 1).await;
            assert!(outside.cancel() && plain.cancel());
            turns(&lp, 1).await;
            assert!(plain.cancelled());
            assert_eq!(outside.await, Ok("inside"));
            lp.sleep(ms(10)).await;
            assert_eq!(log.entries(), ["inside", "dropped"]);
        });
    }

    /// B-36: cancelling the inside is heard outside.
    fn a_shield_hears_of_the_inside(make: Make) {
        run(make, async |lp| {
            let mut inside: Task<()> = lp.create_task(pending());
            turns(&lp, 1).await;
            inside.cancel();
            assert_eq!(shield(&mut inside).await, Err(TaskError::Cancelled));
        });
    }

    /// B-36: a failure of the inside after the outside was cancelled is nobody's concern.
    fn a_failure_behind_a_cancelled_shield_is_silent(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let inside = failing(&lp, &log, 2, "failed");
            let outside = lp.create_task(shield(inside));
            turns(&lp, 1).await;
            outside.cancel();
            lp.sleep(ms(10)).await;
            assert_eq!((log.text().as_str(), lp.report_count()), ("failed", 0));
        });
    }

    /// B-37: outcomes come in order of completion, those that are there already first.
    fn as_completed_yields_in_order_of_completion(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let first: Task<&str> = lp.create_task(async { "first" });
            turns(&lp, 1).await;
            let [a, b, c] = three(&lp, &log, [20, 1, 10]);
            let mut outcomes = as_completed([a, first, b, c], None);
            let mut order = Vec::new();
            while let Some(outcome) = outcomes.next().await {
                order.push(outcome.unwrap().unwrap());
            }
            assert_eq!(order, ["first", "b", "c", "a"]);
            assert!(outcomes.next().await.is_none());
        });
    }

    /// B-37: after the timeout what remains yields `Elapsed`, and runs on.
    fn as_completed_gives_up_on_what_remains(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let tasks = three(&lp, &log, [30, 1, 25]);
            let mut outcomes = as_completed(tasks, Some(ms(10)));
            assert_eq!(outcomes.next().await, Some(Ok(Ok("b"))));
            assert!(outcomes.next().await.unwrap().is_err());
            lp.sleep(ms(30)).await;
            assert_eq!(log.entries(), ["b", "c", "a"]);
            assert!(outcomes.next().await.unwrap().is_err());
            assert_eq!(outcomes.next().await, None);
            assert_eq!(as_completed(Vec::<Task<()>>::new(), None).next().await, None);
        });
    }
}

both_loops! {
    /// B-34, B-35, A-12: the control task gathers, and cancels, tasks of several hosts.
    async fn tasks_of_several_hosts_can_be_gathered(world: World) {
        let (one, two) = (world.host("one"), world.host("two"));
        let log = Log::new();
        let tasks = [fine(&one, &log, 10, "one"), fine(&two, &log, 1, "two")];
        assert_eq!(gather(tasks).await.unwrap(), ["one", "two"]);
        assert_eq!(log.entries(), ["two", "one"]);

        let tasks = [tidy::<Outcome>(&one, &log, "on one"), tidy(&two, &log, "on two")];
        turns(&two, 2).await;
        let limited = two.timeout(ms(5), gather_all(tasks)).await;
        assert!(limited.is_err());
        assert_eq!(log.count("on one") + log.count("on two"), 2);
    }
}
