//! Task groups (B.3).

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;

use sim_core::combinators::{GroupError, TaskFailure, TaskGroup};
use sim_core::{Loop, TaskError, catch_cancel};
use tests::recorder::Log;
use tests::{both_bare_loops, both_loops};

use crate::awaiting::{run, tidying, turns};
use crate::loops::{ms, reports_of};

type Text = &'static str;

/// Logs its name after a while, and fails with it.
async fn fails(lp: Loop, log: Log, millis: u64, name: Text) -> Result<(), Text> {
    lp.sleep(ms(millis)).await;
    log.push(name);
    Err(name)
}

/// Cleans up when it is cancelled, logs its name, and fails with it.
async fn fails_when_cancelled(lp: Loop, log: Log, name: Text) -> Result<(), Text> {
    catch_cancel(pending::<()>()).await.unwrap_err();
    turns(&lp, 1).await;
    log.push(name);
    Err(name)
}

fn failed(names: &[Text]) -> Vec<TaskFailure<Text>> {
    names.iter().map(|name| TaskFailure::Failed(*name)).collect()
}

both_bare_loops! {
    /// B-38: leaving a group waits for all its children, those that children start included.
    fn leaving_waits_for_all_children(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            let value = lp.task_group(async move |group: TaskGroup<Text>| {
                let (siblings, lp, log) = (group.clone(), handle.clone(), inner.clone());
                group.spawn(async move {
                    lp.sleep(ms(2)).await;
                    let late = lp.clone();
                    siblings.spawn(async move {
                        late.sleep(ms(2)).await;
                        log.push("grandchild");
                        Ok(())
                    });
                    Ok(())
                });
                inner.push("body");
                Ok(7)
            });
            assert_eq!(value.await, Ok(7));
            assert_eq!(log.entries(), ["body", "grandchild"]);
            let empty: Result<u32, GroupError<Text>> = lp.task_group(async |_| Ok(1)).await;
            assert_eq!(empty, Ok(1));
        });
    }

    /// B-38: the first failure cancels the siblings, then the body; all are waited for.
    fn a_failure_cancels_siblings_and_body(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            let error = lp.task_group(async move |group| {
                group.spawn(tidying::<Result<(), Text>>(handle.clone(), inner.clone(), "sibling"));
                group.spawn(fails(handle.clone(), inner.clone(), 2, "child"));
                tidying::<Result<(), Text>>(handle, inner, "body").await
            });
            let error = error.await.unwrap_err();
            assert_eq!(log.entries(), ["child", "sibling", "body"]);
            assert_eq!(error.into_failures(), failed(&["child"]));
        });
    }

    /// B-38: a body that waits for nothing catchable is dropped, one that is over is not cancelled.
    fn a_failure_ends_the_body_where_it_waits(make: Make) {
        run(make, async |lp| {
            let handle = lp.clone();
            let error = lp.task_group(async move |group| {
                group.spawn(fails(handle.clone(), Log::new(), 0, "child"));
                pending::<Result<(), Text>>().await
            });
            assert_eq!(error.await.unwrap_err().failures(), failed(&["child"]));
            let handle = lp.clone();
            let error = lp.task_group(async move |group| {
                group.spawn(fails(handle.clone(), Log::new(), 1, "child"));
                Ok::<_, Text>("a value that is lost")
            });
            assert_eq!(error.await.unwrap_err().failures(), failed(&["child"]));
        });
    }

    /// B-38: failures are collected in order of completion, panics too, the body's last; a child
    /// that was merely cancelled is none.
    fn failures_come_in_order_of_completion(make: Make) {
        run(make, async |lp| {
            lp.set_panic_policy(sim_core::PanicPolicy::Contain);
            let log = Log::new();
            let handle = lp.clone();
            let error = lp.task_group(async move |group| {
                let cancelled = group.spawn(pending::<Result<(), Text>>());
                group.spawn(fails_when_cancelled(handle.clone(), log.clone(), "late"));
                group.spawn(async move {
                    catch_cancel(pending::<()>()).await.unwrap_err();
                    panic!("early");
                    #[allow(unreachable_code, reason = "it gives the type")]
                    Ok(())
                });
                cancelled.cancel();
                turns(&handle, 2).await;
                assert!(cancelled.cancelled());
                Err::<(), Text>("body")
            });
            let failures = error.await.unwrap_err().into_failures();
            let early = TaskFailure::Panicked("early".into());
            assert_eq!(failures, [early, TaskFailure::Failed("late"), TaskFailure::Failed("body")]);
        });
    }

    /// B-38: the parent's count of requests is what it was before.
    fn a_group_leaves_no_request_behind(make: Make) {
        run(make, async |lp| {
            let handle = lp.clone();
            let parent = lp.create_task(async move {
                let lp = handle.clone();
                let group = handle.task_group(async move |group| {
                    group.spawn(fails(lp, Log::new(), 1, "child"));
                    pending::<Result<(), Text>>().await
                });
                assert!(group.await.is_err());
                handle.sleep(ms(1)).await;
                pending::<()>().await;
            });
            lp.sleep(ms(10)).await;
            assert_eq!((parent.cancelling(), parent.done()), (0, false));
            parent.cancel();
        });
    }

    /// B-39: cancelling the parent cancels the children, waits for them, and goes on.
    fn cancelling_the_parent_cancels_the_children(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            let parent = lp.create_task(async move {
                let (lp, log) = (handle.clone(), inner.clone());
                let group = handle.task_group(async move |group| {
                    group.spawn(tidying::<Result<(), Text>>(lp.clone(), log.clone(), "child"));
                    pending::<Result<(), Text>>().await
                });
                catch_cancel(group).await.unwrap_err();
                inner.push("parent");
            });
            turns(&lp, 2).await;
            parent.cancel();
            parent.await.unwrap();
            assert_eq!(log.entries(), ["child", "parent"]);
        });
    }

    /// B-39: so does a cancellation that comes when the body is over and the children are not.
    fn a_parent_that_waits_for_its_children_is_cancelled_with_them(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            let parent = lp.create_task(async move {
                let lp = handle.clone();
                let group = handle.task_group(async move |group| {
                    group.spawn(tidying::<Result<(), Text>>(lp, inner, "child"));
                    Ok(())
                });
                group.await
            });
            turns(&lp, 2).await;
            parent.cancel();
            assert_eq!(parent.await, Err(TaskError::Cancelled));
            assert_eq!(log.text(), "child");
        });
    }

    /// B-39: a child that fails when the parent is cancelled is what the group ends in.
    fn a_child_that_fails_wins_over_the_cancellation(make: Make) {
        run(make, async |lp| {
            let handle = lp.clone();
            let parent = lp.create_task(async move {
                let lp = handle.clone();
                let group = handle.task_group(async move |group| {
                    group.spawn(fails_when_cancelled(lp.clone(), Log::new(), "child"));
                    pending::<Result<(), Text>>().await
                });
                group.await.unwrap_err().into_failures()
            });
            turns(&lp, 2).await;
            parent.cancel();
            assert_eq!(parent.await, Ok(failed(&["child"])));
        });
    }

    /// B-39: no child begins while the group is being cancelled, or after its end.
    fn a_group_that_ends_takes_no_more_children(make: Make) {
        run(make, async |lp| {
            let (reports, log) = (reports_of(&lp), Log::new());
            let outside: Rc<RefCell<Option<TaskGroup<Text>>>> = Rc::default();
            let (keep, ran) = (Rc::clone(&outside), log.clone());
            let group = lp.task_group(async move |group| {
                keep.replace(Some(group.clone()));
                let (late, ran) = (group.clone(), ran.clone());
                group.spawn(async move {
                    catch_cancel(pending::<()>()).await.unwrap_err();
                    let refused = late.spawn(async move {
                        ran.push("ran");
                        Ok(())
                    });
                    assert!(refused.cancelled());
                    Ok(())
                });
                Err::<(), _>("body")
            });
            assert!(group.await.is_err());
            assert_eq!(reports.text(), "");
            let late = outside.take().unwrap().spawn(async move {
                log.push("ran");
                Ok(())
            });
            assert_eq!(late.await, Err(TaskError::Cancelled));
            assert_eq!(reports.entries(), ["spawn in a task group that is over: dropped"]);
        });
    }

    /// B-39, B-41: a timeout around a group cancels its children and reports itself.
    fn a_timeout_around_a_group_elapses(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            let group = lp.task_group(async move |group| {
                group.spawn(tidying::<Result<(), Text>>(handle, inner, "child"));
                pending::<Result<(), Text>>().await
            });
            assert!(lp.timeout(ms(2), group).await.is_err());
            assert_eq!(log.text(), "child");
        });
    }

    /// B-39: a group that is dropped cancels its children.
    fn a_dropped_group_cancels_its_children(make: Make) {
        run(make, async |lp| {
            let log = Log::new();
            let (handle, inner) = (lp.clone(), log.clone());
            {
                let group = lp.task_group(async move |group| {
                    group.spawn(tidying::<Result<(), Text>>(handle, inner, "child"));
                    pending::<Result<(), Text>>().await
                });
                let mut group = std::pin::pin!(group);
                std::future::poll_fn(|cx| {
                    assert!(group.as_mut().poll(cx).is_pending());
                    std::task::Poll::Ready(())
                })
                .await;
                turns(&lp, 1).await;
            }
            turns(&lp, 4).await;
            assert_eq!(log.text(), "child");
        });
    }
}

both_loops! {
    /// B-38, A-12: the group of a scenario has children on several hosts.
    async fn a_group_spans_hosts(world: World) {
        let (one, two) = (world.host("one"), world.host("two"));
        let log = Log::new();
        let (slow, inner) = (two.clone(), log.clone());
        let error = one.task_group(async |group| {
            group.spawn_on(&two, tidying::<Result<(), Text>>(slow, inner, "two"));
            group.spawn(fails(one.clone(), log.clone(), 2, "one"));
            Ok(())
        });
        assert_eq!(error.await.unwrap_err().into_failures(), failed(&["one"]));
        assert_eq!(log.entries(), ["one", "two"]);
    }
}
