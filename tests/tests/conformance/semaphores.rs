//! Semaphores and barriers (H.3).

use std::cell::RefCell;
use std::rc::Rc;

use sim_core::sync::{Barrier, BoundedSemaphore, BrokenBarrier, Semaphore};
use sim_core::{Loop, Task};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::{run, turns};

/// A task that takes a permit, logs its name, and keeps the permit for some turns.
fn taker(
    lp: &Loop,
    semaphore: &Semaphore,
    log: &Log,
    name: &'static str,
    keeps: usize,
) -> Task<()> {
    let (handle, semaphore, log) = (lp.clone(), semaphore.clone(), log.clone());
    lp.create_task(async move {
        let permit = semaphore.acquire().await;
        log.push(name);
        turns(&handle, keeps).await;
        drop(permit);
    })
}

type Met = Rc<RefCell<Vec<(&'static str, Result<usize, BrokenBarrier>)>>>;

/// A task that waits at a barrier and notes what came of it.
fn party(lp: &Loop, barrier: &Barrier, met: &Met, name: &'static str) -> Task<()> {
    let (barrier, met) = (barrier.clone(), Rc::clone(met));
    lp.create_task(async move {
        let outcome = barrier.wait().await;
        met.borrow_mut().push((name, outcome));
    })
}

both_bare_loops! {
    /// H-48: a permit goes to the first that waits, and none is free meanwhile: nobody gets in between.
    fn a_permit_goes_to_the_first_that_waits(make: Make) {
        run(make, async |lp| {
            let (semaphore, log) = (Semaphore::new(1), Log::new());
            let permit = semaphore.acquire().await;
            let tasks = ["a", "b", "c"].map(|name| taker(&lp, &semaphore, &log, name, 1));
            turns(&lp, 1).await;
            drop(permit);
            assert!(semaphore.locked() && semaphore.value() == 0);
            assert!(semaphore.try_acquire().is_none());
            let late = taker(&lp, &semaphore, &log, "late", 0);
            for task in tasks.into_iter().chain([late]) {
                task.await.unwrap();
            }
            assert_eq!(log.entries(), ["a", "b", "c", "late"]);
            assert_eq!(semaphore.value(), 1);
        });
    }

    /// H-49, J-34: one that is cancelled after it got a permit hands it on, one that is cancelled before is
    /// skipped, and nothing hangs.
    fn a_cancelled_taker_hands_its_permit_on(make: Make) {
        run(make, async |lp| {
            let (semaphore, log) = (Semaphore::new(1), Log::new());
            let permit = semaphore.acquire().await;
            let after = taker(&lp, &semaphore, &log, "after", 0);
            let before = taker(&lp, &semaphore, &log, "before", 0);
            let stays = taker(&lp, &semaphore, &log, "stays", 0);
            turns(&lp, 1).await;
            before.cancel();
            turns(&lp, 1).await;
            drop(permit);
            after.cancel();
            stays.await.unwrap();
            assert_eq!(log.entries(), ["stays"]);
            assert_eq!(semaphore.value(), 1);
        });
    }

    /// H-49: several permits that are released before anybody runs wake several.
    fn several_releases_wake_several(make: Make) {
        run(make, async |lp| {
            let (semaphore, log) = (Semaphore::new(0), Log::new());
            let tasks = ["a", "b", "c"].map(|name| taker(&lp, &semaphore, &log, name, 100));
            turns(&lp, 1).await;
            semaphore.release();
            semaphore.release();
            turns(&lp, 2).await;
            assert_eq!(log.entries(), ["a", "b"]);
            for task in tasks {
                task.cancel();
            }
            turns(&lp, 2).await;
            assert_eq!(semaphore.value(), 2, "cancelled holders give back what they had");
        });
    }

    /// H-50: a bounded semaphore refuses to be released more often than it was taken, and is none the worse.
    fn a_bounded_semaphore_refuses_to_grow(make: Make) {
        run(make, async |_| {
            let slots = BoundedSemaphore::new(2);
            slots.acquire().await.forget();
            assert_eq!((slots.value(), slots.locked()), (1, false));
            assert!(slots.release().is_ok());
            assert!(slots.release().is_err());
            assert_eq!(slots.value(), 2);
            let none = BoundedSemaphore::new(0);
            assert!(none.try_acquire().is_none() && none.release().is_err());
        });
    }

    /// H-50: a permit that goes back by itself cannot be released as well, whether somebody holds it or it is on its
    /// way to somebody who waits.
    fn a_bounded_semaphore_counts_each_permit_once(make: Make) {
        run(make, async |lp| {
            let slots = BoundedSemaphore::new(1);
            let held = slots.acquire().await;
            assert!(slots.release().is_err());
            drop(held);
            assert_eq!(slots.value(), 1);
            let held = slots.acquire().await;
            let waits = slots.clone();
            let waiter = lp.create_task(async move { waits.acquire().await });
            turns(&lp, 1).await;
            drop(held);
            assert!(slots.release().is_err());
            waiter.await.unwrap().forget();
            assert_eq!(slots.value(), 0);
            assert!(slots.release().is_ok());
            assert_eq!(slots.value(), 1);
        });
    }

    /// H-51: when all have come they go on, each with its number in order of arrival; until then they count
    /// as waiting, and not while they leave.
    fn a_barrier_lets_all_go_together(make: Make) {
        run(make, async |lp| {
            let (barrier, met) = (Barrier::new(3), Met::default());
            let early = ["a", "b"].map(|name| party(&lp, &barrier, &met, name));
            turns(&lp, 3).await;
            assert_eq!((barrier.n_waiting(), barrier.parties()), (2, 3));
            assert!(met.borrow().is_empty());
            assert_eq!(barrier.wait().await, Ok(2));
            assert_eq!(barrier.n_waiting(), 0);
            for task in early {
                task.await.unwrap();
            }
            assert_eq!(*met.borrow(), [("a", Ok(0)), ("b", Ok(1))]);
        });
    }

    /// H-51: newcomers wait while those that have met leave, and make the next round.
    fn newcomers_wait_while_a_barrier_drains(make: Make) {
        run(make, async |lp| {
            let (barrier, met) = (Barrier::new(2), Met::default());
            let tasks = ["a", "b", "c", "d", "e"].map(|name| party(&lp, &barrier, &met, name));
            turns(&lp, 10).await;
            let rounds = [("b", Ok(1)), ("a", Ok(0)), ("d", Ok(1)), ("c", Ok(0))];
            assert_eq!(*met.borrow(), rounds);
            assert_eq!(barrier.n_waiting(), 1);
            for task in tasks {
                task.cancel();
            }
        });
    }

    /// H-51: one that is cancelled while others are missed counts no more, and the numbers close up.
    fn a_cancelled_party_is_missed_again(make: Make) {
        run(make, async |lp| {
            let (barrier, met) = (Barrier::new(3), Met::default());
            let gone = party(&lp, &barrier, &met, "gone");
            let stays = party(&lp, &barrier, &met, "stays");
            turns(&lp, 1).await;
            gone.cancel();
            turns(&lp, 1).await;
            assert_eq!(barrier.n_waiting(), 1);
            let others = ["x", "y"].map(|name| party(&lp, &barrier, &met, name));
            for task in others.into_iter().chain([stays]) {
                task.await.unwrap();
            }
            let mut met = met.take();
            met.sort_unstable_by_key(|(_, outcome)| *outcome.as_ref().unwrap());
            assert_eq!(met, [("stays", Ok(0)), ("x", Ok(1)), ("y", Ok(2))]);
        });
    }

    /// H-51: a reset breaks the wait of those that are there, and nobody else's.
    fn resetting_a_barrier_breaks_the_waits_of_now(make: Make) {
        run(make, async |lp| {
            let (barrier, met) = (Barrier::new(2), Met::default());
            let broken = party(&lp, &barrier, &met, "broken");
            turns(&lp, 1).await;
            barrier.reset();
            assert!(!barrier.broken());
            let next = ["a", "b"].map(|name| party(&lp, &barrier, &met, name));
            for task in [broken].into_iter().chain(next) {
                task.await.unwrap();
            }
            assert_eq!(*met.borrow(), [("broken", Err(BrokenBarrier)), ("b", Ok(1)), ("a", Ok(0))]);
        });
    }

    /// H-51: an abort breaks it for those that are there and all that come, until it is reset.
    fn an_aborted_barrier_stays_broken_until_it_is_reset(make: Make) {
        run(make, async |lp| {
            let (barrier, met) = (Barrier::new(2), Met::default());
            let waits = party(&lp, &barrier, &met, "waits");
            turns(&lp, 1).await;
            barrier.abort();
            assert!(barrier.broken() && barrier.n_waiting() == 0);
            waits.await.unwrap();
            assert_eq!(barrier.wait().await, Err(BrokenBarrier));
            barrier.reset();
            assert!(!barrier.broken());
            let other = party(&lp, &barrier, &met, "other");
            turns(&lp, 1).await;
            assert_eq!(barrier.wait().await, Ok(1));
            other.await.unwrap();
            assert_eq!(Barrier::new(1).wait().await, Ok(0));
        });
    }
}

/// H-51: a barrier for nobody is a mistake.
// on: engine
#[test]
#[should_panic(expected = "a barrier is for at least one task")]
fn a_barrier_for_nobody_is_refused() {
    drop(Barrier::new(0));
}
