//! Cancellations of real tasks at every turn of a loop: what `catch_cancel` and deadlines do with them.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::queue::Queue;
use sim_core::sync::{Condition, Lock};
use sim_core::{EventLoop, Loop, Task, TaskError, catch_cancel, testing};

/// So many turns are tried; all that these programs do is over before.
const TURNS: usize = 12;

fn run_a_turn(lp: &EventLoop) {
    lp.stop();
    lp.run_forever().expect("the loop is open");
}

/// Waits for one notification. Is the planted one, it takes a cancellation while it stands in line for the lock
/// as something that passes (bpo-32841).
async fn wait(condition: &Condition, planted: bool) {
    let guard = condition.lock().acquire().await;
    if !planted {
        drop(condition.wait(guard).await);
        return;
    }
    let mut waiting = Box::pin(condition.wait(guard));
    loop {
        if let Ok(guard) = catch_cancel(&mut waiting).await {
            return drop(guard);
        }
    }
}

/// Cancels a task that waits for a condition at each turn; says in which that was swallowed.
fn swallowed(planted: bool) -> Vec<usize> {
    let swallows = |turn: &usize| {
        let lp = testing::new_loop();
        let condition = Condition::new(&Lock::new(()));
        let waits = condition.clone();
        let task = lp.create_task(async move { wait(&waits, planted).await });
        let notifies = condition.clone();
        let handle = (*lp).clone();
        drop(lp.create_task(async move {
            handle.sleep(Duration::ZERO).await;
            let guard = notifies.lock().acquire().await;
            notifies.notify(&guard, 1);
            // The other stands in line for the lock meanwhile.
            for _ in 0..3 {
                handle.sleep(Duration::ZERO).await;
            }
            drop(guard);
        }));
        for _ in 0..*turn {
            run_a_turn(&lp);
        }
        let asked = task.cancel();
        for _ in 0..TURNS {
            run_a_turn(&lp);
        }
        asked && task.done() && !task.cancelled()
    };
    (1..TURNS).filter(swallows).collect()
}

/// J-36: a wait for a condition never swallows a cancellation, whenever it comes; one that does is found.
// on: engine
#[test]
fn a_condition_swallows_no_cancellation() {
    assert_eq!(swallowed(false), []);
    assert!(!swallowed(true).is_empty());
}

/// Gets an item within a time. The planted one asks in a task of its own, and leaves that alone when it is given
/// up (cpython #86296).
async fn get_within(lp: &Loop, queue: &Queue<u32>, planted: bool) -> Option<u32> {
    let hour = Duration::from_secs(3_600);
    if !planted {
        return lp.timeout(hour, queue.get()).await.ok().and_then(Result::ok);
    }
    let asks = queue.clone();
    let asking: Task<Option<u32>> = lp.create_task(async move { asks.get().await.ok() });
    while !asking.done() {
        lp.sleep(Duration::ZERO).await;
    }
    asking.take_result().and_then(Result::ok).flatten()
}

/// Cancels a task that gets an item within a time at each turn, while the item comes at each turn; says what goes
/// wrong.
fn losses(planted: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (put_at, cancel_at) in (0..TURNS).flat_map(|put| (1..TURNS).map(move |at| (put, at))) {
        let lp = testing::new_loop();
        let (queue, got) = (Queue::new(0), Rc::new(RefCell::new(None)));
        let (handle, asks, gets) = ((*lp).clone(), queue.clone(), Rc::clone(&got));
        let task = lp.create_task(async move {
            let item = get_within(&handle, &asks, planted).await;
            gets.replace(item);
        });
        let mut asked = false;
        for turn in 0..2 * TURNS {
            if turn == put_at {
                queue.put_nowait(7).expect("there is room");
            }
            if turn == cancel_at {
                asked = task.cancel();
            }
            run_a_turn(&lp);
        }
        let (got, left) = (got.take(), queue.qsize());
        let case = format!("put at turn {put_at}, cancelled at {cancel_at}");
        if got.is_some() == (left == 1) {
            wrong.push(format!("{case}: {got:?}, {left} left"));
        }
        if asked && task.take_result() != Some(Err(TaskError::Cancelled)) {
            wrong.push(format!("{case}: the cancellation is swallowed"));
        }
    }
    wrong
}

/// J-38, B-33: a deadline neither swallows a cancellation nor loses what came in the same turn.
// on: engine
#[test]
fn a_deadline_swallows_nothing_and_loses_nothing() {
    assert_eq!(losses(false), Vec::<String>::new());
    assert!(!losses(true).is_empty());
}
