//! Locks, events and conditions (H.3).

use std::cell::Cell;
use std::rc::Rc;

use sim_core::sync::{Condition, Event, Lock};
use sim_core::{Loop, Task};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::{run, turns};

/// A task that takes the lock, logs its name, keeps it for some turns, and logs that it lets go.
fn holder(lp: &Loop, lock: &Lock, log: &Log, name: &'static str, keeps: usize) -> Task<()> {
    let (handle, lock, log) = (lp.clone(), lock.clone(), log.clone());
    lp.create_task(async move {
        let guard = lock.acquire().await;
        log.push(name);
        turns(&handle, keeps).await;
        drop(guard);
    })
}

/// A task that waits for an event and logs its name.
fn waiter(lp: &Loop, event: &Event, log: &Log, name: &'static str) -> Task<()> {
    let (event, log) = (event.clone(), log.clone());
    lp.create_task(async move {
        event.wait().await;
        log.push(name);
    })
}

/// A task that waits for a condition, logs its name, and keeps the lock for some turns.
fn notified(
    lp: &Loop,
    condition: &Condition,
    log: &Log,
    name: &'static str,
    keeps: usize,
) -> Task<()> {
    let (handle, condition, log) = (lp.clone(), condition.clone(), log.clone());
    lp.create_task(async move {
        let guard = condition.lock().acquire().await;
        let guard = condition.wait(guard).await;
        log.push(name);
        turns(&handle, keeps).await;
        drop(guard);
    })
}

both_bare_loops! {
    /// H-40: tasks get a lock in the order in which they asked, and who asks when it was just released for
    /// another does not get in between.
    fn a_lock_is_fair(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let guard = lock.acquire().await;
            let tasks = ["first", "second", "third"].map(|name| holder(&lp, &lock, &log, name, 1));
            turns(&lp, 1).await;
            assert!(lock.locked() && lock.try_acquire().is_none());
            drop(guard);
            assert!(lock.locked(), "it is on its way to the first");
            assert!(lock.try_acquire().is_none(), "nobody barges in");
            let late = holder(&lp, &lock, &log, "late", 0);
            for task in tasks.into_iter().chain([late]) {
                task.await.unwrap();
            }
            assert_eq!(log.entries(), ["first", "second", "third", "late"]);
            assert!(!lock.locked());
        });
    }

    /// H-40: when all that waited have given up, who asks gets it at once.
    fn a_lock_whose_waiters_have_all_gone_is_free(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let guard = lock.acquire().await;
            let waiting = holder(&lp, &lock, &log, "never", 0);
            turns(&lp, 1).await;
            drop(guard);
            waiting.cancel();
            turns(&lp, 2).await;
            assert!(waiting.cancelled() && !lock.locked());
            assert!(lock.try_acquire().is_some());
            assert_eq!(log.text(), "");
        });
    }

    /// H-41: releasing wakes the first that waits and nobody else.
    fn releasing_wakes_the_first_alone(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let guard = lock.acquire().await;
            let tasks = ["first", "second"].map(|name| holder(&lp, &lock, &log, name, 50));
            turns(&lp, 1).await;
            drop(guard);
            turns(&lp, 10).await;
            assert_eq!(log.entries(), ["first"]);
            for task in tasks {
                task.cancel();
            }
        });
    }

    /// H-42, J-33: a waiter that is cancelled after the lock was handed to it hands it on, and a holder is
    /// never joined by a second one.
    fn a_cancelled_waiter_hands_the_lock_on(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let guard = lock.acquire().await;
            let woken = holder(&lp, &lock, &log, "woken", 0);
            let next = holder(&lp, &lock, &log, "next", 3);
            turns(&lp, 1).await;
            drop(guard);
            woken.cancel();
            turns(&lp, 2).await;
            assert!(woken.cancelled());
            assert_eq!(log.entries(), ["next"]);
            assert!(lock.try_acquire().is_none());
            next.await.unwrap();
            assert!(!lock.locked());
        });
    }

    /// H-43: a waiter that was cancelled while it stood in line does not stand in anybody's way.
    fn a_waiter_that_left_the_line_blocks_nobody(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let guard = lock.acquire().await;
            let gone = holder(&lp, &lock, &log, "gone", 0);
            let stays = holder(&lp, &lock, &log, "stays", 0);
            turns(&lp, 1).await;
            gone.cancel();
            turns(&lp, 1).await;
            drop(guard);
            stays.await.unwrap();
            assert_eq!(log.entries(), ["stays"]);
        });
    }

    /// H-42: what a lock guards is changed by one task at a time, whoever is cancelled on the way.
    fn what_a_lock_guards_is_changed_by_one_at_a_time(make: Make) {
        run(make, async |lp| {
            let total = Lock::new(0);
            let tasks: Vec<Task<()>> = (0..100)
                .map(|number| {
                    let (handle, total) = (lp.clone(), total.clone());
                    lp.create_task(async move {
                        let mut guard = total.acquire().await;
                        let before = *guard;
                        turns(&handle, number % 3).await;
                        *guard = before + 1;
                    })
                })
                .collect();
            for (number, task) in tasks.iter().enumerate() {
                if number % 7 == 0 {
                    task.cancel();
                }
            }
            let mut done = 0;
            for task in tasks {
                done += i32::from(task.await.is_ok());
            }
            assert_eq!(*total.acquire().await, done);
            assert_eq!(done, 85);
        });
    }

    /// H-44: setting wakes all that wait then, even if it is cleared before they run; those that come after
    /// wait.
    fn an_event_wakes_all_that_wait(make: Make) {
        run(make, async |lp| {
            let (event, log) = (Event::new(), Log::new());
            let early = ["a", "b"].map(|name| waiter(&lp, &event, &log, name));
            turns(&lp, 1).await;
            event.set();
            event.clear();
            let late = waiter(&lp, &event, &log, "late");
            for task in early {
                task.await.unwrap();
            }
            turns(&lp, 3).await;
            assert_eq!(log.entries(), ["a", "b"]);
            event.set();
            late.await.unwrap();
            event.wait().await;
            assert!(event.is_set());
        });
    }

    /// H-45: a wait releases the lock, and has it again when it returns.
    fn waiting_for_a_condition_gives_up_the_lock_meanwhile(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let condition = Condition::new(&lock);
            let task = notified(&lp, &condition, &log, "notified", 2);
            turns(&lp, 1).await;
            let guard = lock.try_acquire().expect("the wait released it");
            condition.notify(&guard, 1);
            turns(&lp, 3).await;
            assert_eq!(log.text(), "", "it does not return while another has the lock");
            drop(guard);
            turns(&lp, 1).await;
            assert_eq!(log.entries(), ["notified"]);
            assert!(lock.try_acquire().is_none(), "it has the lock again");
            task.await.unwrap();
        });
    }

    /// H-45, J-36: a wait that is cancelled ends cancelled, and leaves the lock free.
    fn a_cancelled_wait_leaves_the_lock_free(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let condition = Condition::new(&lock);
            let waits = notified(&lp, &condition, &log, "waits", 0);
            let wakes = notified(&lp, &condition, &log, "wakes", 0);
            turns(&lp, 1).await;
            waits.cancel();
            turns(&lp, 1).await;
            assert!(waits.cancelled() && !lock.locked());
            // And one that is cancelled when it was notified, and stands in line for the lock.
            let guard = lock.try_acquire().unwrap();
            condition.notify(&guard, 1);
            turns(&lp, 2).await;
            wakes.cancel();
            turns(&lp, 1).await;
            assert!(wakes.cancelled());
            drop(guard);
            assert!(!lock.locked());
            assert_eq!(log.text(), "");
        });
    }

    /// H-46, J-35: a notification whose task is cancelled goes to the next, before that task ran and while
    /// it stands in line for the lock.
    fn a_notification_is_not_lost_by_a_cancellation(make: Make) {
        for wait_before in [0, 2] {
            run(make, async move |lp| {
                let (lock, log) = (Lock::new(()), Log::new());
                let condition = Condition::new(&lock);
                let first = notified(&lp, &condition, &log, "first", 0);
                let second = notified(&lp, &condition, &log, "second", 0);
                turns(&lp, 1).await;
                let guard = lock.try_acquire().unwrap();
                condition.notify(&guard, 1);
                turns(&lp, wait_before).await;
                first.cancel();
                turns(&lp, 1).await;
                drop(guard);
                second.await.unwrap();
                assert!(first.cancelled());
                assert_eq!(log.entries(), ["second"]);
            });
        }
    }

    /// H-47: one that was notified is not notified again, so two notifications wake two.
    fn notifications_wake_different_waiters(make: Make) {
        run(make, async |lp| {
            let (lock, log) = (Lock::new(()), Log::new());
            let condition = Condition::new(&lock);
            let tasks = ["a", "b", "c"].map(|name| notified(&lp, &condition, &log, name, 0));
            turns(&lp, 1).await;
            let guard = lock.try_acquire().unwrap();
            condition.notify(&guard, 1);
            condition.notify(&guard, 1);
            drop(guard);
            turns(&lp, 5).await;
            assert_eq!(log.entries(), ["a", "b"]);
            condition.notify_all(&lock.try_acquire().unwrap());
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(log.entries(), ["a", "b", "c"]);
        });
    }

    /// H-47: waiting for what is true already does not wait, and what is not true is asked again after each
    /// notification.
    fn a_wait_for_something_asks_again(make: Make) {
        run(make, async |lp| {
            let number = Lock::new(0);
            let changed = Condition::new(&number);
            let guard = changed.wait_for(number.acquire().await, |number| *number == 0).await;
            drop(guard);
            let (asked, waits) = (Rc::new(Cell::new(0)), changed.clone());
            let count = Rc::clone(&asked);
            let task = lp.create_task(async move {
                let guard = waits.lock().acquire().await;
                *waits.wait_for(guard, |number| { count.set(count.get() + 1); *number >= 2 }).await
            });
            for _ in 0..3 {
                turns(&lp, 3).await;
                let mut guard = number.acquire().await;
                *guard += 1;
                changed.notify(&guard, 1);
            }
            assert_eq!(task.await, Ok(2));
            assert_eq!(asked.get(), 3);
        });
    }
}

/// H-47: a condition takes no guard of another lock.
// on: engine
#[test]
#[should_panic(expected = "the guard is of another lock than the condition")]
fn a_guard_of_another_lock_is_refused() {
    let condition = Condition::new(&Lock::new(()));
    let guard = Lock::new(()).try_acquire().expect("it is new");
    condition.notify_all(&guard);
}
