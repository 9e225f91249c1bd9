//! gather, wait, as_completed and shield (B.3).

use std::future::pending;
use std::io;

use futures::FutureExt;
use sim_core::combinators::{
    ReturnWhen, TaskFailure, as_completed, gather, gather_all, shield, wait,
};
use sim_core::{Loop, LoopFuture, Task, TaskError, catch_cancel};
use tests::recorder::Log;
use tests::{both_bare_loops, both_loops};

use crate::awaiting::{gated, open, run, swallower, tidy, turns};
use crate::loops::ms;

type Outcome = Result<&'static str, &'static str>;

/// A [`gated`] task that fails.
fn failing(lp: &Loop, log: &Log, gate: &LoopFuture<()>, name: &'static str) -> Task<Outcome> {
    let task = gated(lp, log, gate, name);
    lp.create_task(async move { Err(task.await.expect("it is not cancelled alone")) })
}

/// A [`gated`] task of a `Result`.
fn fine(lp: &Loop, log: &Log, gate: &LoopFuture<()>, name: &'static str) -> Task<Outcome> {
    let task = gated(lp, log, gate, name);
    lp.create_task(async move { Ok(task.await.expect("it is not cancelled alone")) })
}

/// Three gates, and a [`gated`] task called "a", "b", "c" behind each.
fn three(lp: &Loop, log: &Log) -> ([LoopFuture<()>; 3], [Task<&'static str>; 3]) {
    let gates = [(); 3].map(|()| lp.create_future());
    let mut names = ["a", "b", "c"].iter();
    let tasks = gates.each_ref().map(|gate| {
        let name = names.next().expect("one for each gate");
        let task = gated(lp, log, gate, name);
        task.set_name(*name);
        task
    });
    (gates, tasks)
}

fn names<T: 'static>(tasks: &[Task<T>]) -> String {
    tasks.iter().map(Task::name).collect()
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
            let ([a, b, c], tasks) = three(&lp, &log);
            open(&b);
            let (done, pending) = wait(tasks, ReturnWhen::FIRST_COMPLETED, None).await.unwrap();
            assert_eq!((names(&done), names(&pending)), ("b".into(), "ac".into()));
            lp.call_soon(move || open(&a));
            lp.call_soon(move || open(&c));
            let tasks = done.into_iter().chain(pending);
            let (done, pending) = wait(tasks, ReturnWhen::ALL_COMPLETED, None).await.unwrap();
            assert_eq!((names(&done), names(&pending)), ("bac".into(), String::new()));
            let (done, pending) = wait(done, ReturnWhen::FIRST_COMPLETED, None).await.unwrap();
            assert_eq!((done.len(), pending.len()), (3, 0));
        });
    }

    /// B-30: the first failure is an `Err` or a panic; a cancelled task has not failed.
    fn wait_ends_at_the_first_failure(make: Make) {
        run(make, async |lp| {
            lp.set_panic_policy(sim_core::PanicPolicy::Contain);
            let (log, gate, never) = (Log::new(), lp.create_future(), lp.create_future());
            let cancelled: Task<Outcome> = lp.create_task(pending());
            cancelled.cancel();
            let fine_one = fine(&lp, &log, &gate, "fine");
            let failed = failing(&lp, &log, &gate, "failed");
            let tasks = [cancelled, fine_one, failed, fine(&lp, &log, &never, "never")];
            open(&gate);
            let (done, mut rest) = wait(tasks, ReturnWhen::FIRST_EXCEPTION, None).await.unwrap();
            assert_eq!((done.len(), rest.len()), (3, 1));
            rest.push(lp.create_task(async { panic!("this task") }));
            let (done, mut rest) = wait(rest, ReturnWhen::FIRST_EXCEPTION, None).await.unwrap();
            assert_eq!((done.len(), rest.len()), (1, 1));
            rest[0].cancel();
            rest.push(fine(&lp, &log, &gate, "fine"));
            let (done, rest) = wait(rest, ReturnWhen::FIRST_EXCEPTION, None).await.unwrap();
            assert_eq!((done.len(), rest.len()), (2, 0));
        });
    }

    /// B-30: its timeout neither fails nor cancels, and with zero it still sees what is done.
    fn wait_gives_up_without_harm(make: Make) {
        run(make, async |lp| {
            let ([a, b, _], [done, late, _]) = three(&lp, &Log::new());
            open(&a);
            turns(&lp, 3).await;
            let all = || ReturnWhen::ALL_COMPLETED;
            let (done, pending) = wait([done, late], all(), Some(ms(0))).await.unwrap();
            assert_eq!((names(&done), names(&pending)), ("a".into(), "b".into()));
            let (done, pending) = wait(pending, all(), Some(ms(1))).await.unwrap();
            assert_eq!((done.len(), pending[0].cancelling()), (0, 0));
            open(&b);
            let (done, _) = wait(pending, all(), Some(ms(30_000))).await.unwrap();
            assert_eq!(names(&done), "b");
        });
    }

    /// B-30: cancelling the one who waits leaves the tasks alone.
    fn a_cancelled_wait_cancels_nothing(make: Make) {
        run(make, async |lp| {
            let (log, gate) = (Log::new(), lp.create_future());
            let task = gated(&lp, &log, &gate, "went on");
            let waiting = lp.create_task(wait([task], ReturnWhen::ALL_COMPLETED, None));
            turns(&lp, 1).await;
            waiting.cancel();
            assert!(matches!(waiting.await, Err(TaskError::Cancelled)));
            open(&gate);
            turns(&lp, 2).await;
            assert_eq!(log.text(), "went on");
        });
    }

    /// B-34: results come in the order of the arguments; nothing gives an empty list.
    fn gather_keeps_the_order_of_its_arguments(make: Make) {
        run(make, async |lp| {
            let (log, gates) = (Log::new(), [(); 3].map(|()| lp.create_future()));
            let task = |gate, name| fine(&lp, &log, &gates[gate], name);
            let gathering = gather([task(0, "x"), task(1, "y"), task(2, "z")]);
            turns(&lp, 2).await;
            for gate in [1, 2, 0] {
                open(&gates[gate]);
            }
            assert_eq!(gathering.await.unwrap(), ["x", "y", "z"]);
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
            let (log, now, later) = (Log::new(), lp.create_future(), lp.create_future());
            let tasks = [
                fine(&lp, &log, &later, "fine"),
                failing(&lp, &log, &later, "second"),
                failing(&lp, &log, &now, "first"),
            ];
            open(&now);
            assert_eq!(gather(tasks).await, Err(TaskFailure::Failed("first")));
            assert_eq!(log.text(), "first");
            turns(&lp, 2).await;
            open(&later);
            turns(&lp, 2).await;
            assert_eq!(log.entries(), ["first", "fine", "second"]);
        });
    }

    /// B-34: the collecting form waits for all.
    fn gather_all_collects_every_outcome(make: Make) {
        run(make, async |lp| {
            let (log, now, later) = (Log::new(), lp.create_future(), lp.create_future());
            let cancelled: Task<Outcome> = lp.create_task(pending());
            cancelled.cancel();
            open(&now);
            let (bad, good) = (failing(&lp, &log, &now, "bad"), fine(&lp, &log, &later, "good"));
            lp.call_later(ms(2), move || open(&later)).detach();
            let outcomes = gather_all([bad, cancelled, good]).await;
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
            let other = fine(&lp, &Log::new(), &lp.create_future(), "never");
            assert_eq!(gather([other, child]).await, Err(TaskFailure::Cancelled));
        });
    }

    /// B-36: cancelling the outside of a shield leaves the inside running.
    fn a_shield_keeps_a_cancellation_out(make: Make) {
        run(make, async |lp| {
            let (log, gate) = (Log::new(), lp.create_future());
            let mut inside = gated(&lp, &log, &gate, "inside");
            let outside = lp.create_task(async move {
                catch_cancel(shield(&mut inside)).await.unwrap_err();
                assert_eq!(inside.cancelling(), 0);
                inside.await.unwrap()
            });
            let dropped = gated(&lp, &log, &gate, "dropped");
            let plain = lp.create_task(shield(dropped));
            turns(&lp, 1).await;
            assert!(outside.cancel() && plain.cancel());
            turns(&lp, 1).await;
            assert!(plain.cancelled());
            open(&gate);
            assert_eq!(outside.await, Ok("inside"));
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
            let (log, gate) = (Log::new(), lp.create_future());
            let inside = failing(&lp, &log, &gate, "failed");
            let outside = lp.create_task(shield(inside));
            turns(&lp, 2).await;
            outside.cancel();
            turns(&lp, 1).await;
            assert!(outside.cancelled());
            open(&gate);
            turns(&lp, 3).await;
            assert_eq!((log.text().as_str(), lp.report_count()), ("failed", 0));
        });
    }

    /// B-37: outcomes come in order of completion, those that are there already first.
    fn as_completed_yields_in_order_of_completion(make: Make) {
        run(make, async |lp| {
            let first: Task<&str> = lp.create_task(async { "first" });
            let ([a, b, c], [task_a, task_b, task_c]) = three(&lp, &Log::new());
            turns(&lp, 1).await;
            let mut outcomes = as_completed([task_a, first, task_b, task_c], None);
            let mut order = Vec::new();
            [b, c, a].iter().for_each(open);
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
            let ([a, b, c], tasks) = three(&lp, &log);
            open(&b);
            let mut outcomes = as_completed(tasks, Some(ms(5)));
            assert_eq!(outcomes.next().await, Some(Ok(Ok("b"))));
            assert!(outcomes.next().await.unwrap().is_err());
            open(&c);
            open(&a);
            turns(&lp, 2).await;
            assert_eq!(log.entries(), ["b", "c", "a"]);
            assert!(outcomes.next().await.unwrap().is_err());
            assert_eq!(outcomes.next().await, None);
            assert_eq!(as_completed(Vec::<Task<()>>::new(), None).next().await, None);
        });
    }

    /// B-37: the time runs while the caller does something else; what ended by then is still to be had.
    fn as_completed_counts_its_time_from_the_first_outcome_asked_for(make: Make) {
        run(make, async |lp| {
            let ([a, b, _c], tasks) = three(&lp, &Log::new());
            open(&a);
            turns(&lp, 3).await;
            let mut outcomes = as_completed(tasks, Some(ms(5)));
            assert_eq!(outcomes.next().await, Some(Ok(Ok("a"))));
            open(&b);
            lp.sleep(ms(10)).await;
            assert_eq!(outcomes.next().now_or_never(), Some(Some(Ok(Ok("b")))));
            assert!(matches!(outcomes.next().now_or_never(), Some(Some(Err(_)))));
            assert_eq!(outcomes.next().await, None);
        });
    }
}

both_loops! {
    /// B-34, B-35, A-12: the control task gathers, and cancels, tasks of several hosts.
    async fn tasks_of_several_hosts_can_be_gathered(world: World) {
        let (one, two) = (world.host("one"), world.host("two"));
        let log = Log::new();
        let (first, second) = (one.create_future(), two.create_future());
        let tasks = [fine(&one, &log, &first, "one"), fine(&two, &log, &second, "two")];
        two.call_later(ms(2), move || open(&second)).detach();
        one.call_later(ms(25), move || open(&first)).detach();
        assert_eq!(gather(tasks).await.unwrap(), ["one", "two"]);
        assert_eq!(log.entries(), ["two", "one"]);

        let tasks = [tidy::<Outcome>(&one, &log, "on one"), tidy(&two, &log, "on two")];
        turns(&two, 2).await;
        let limited = two.timeout(ms(5), gather_all(tasks)).await;
        assert!(limited.is_err());
        assert_eq!(log.count("on one") + log.count("on two"), 2);
    }
}
