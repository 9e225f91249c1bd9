//! Queues (H.4).

use std::cell::RefCell;
use std::rc::Rc;

use sim_core::queue::{GetError, LifoQueue, PriorityQueue, PutError, Queue, ShutDown, TooManyDone};
use sim_core::{Loop, Task};
use tests::both_bare_loops;
use tests::recorder::Log;

use crate::awaiting::{run, turns};

type Got = Rc<RefCell<Vec<(&'static str, u32)>>>;

/// A task that gets one item and notes it.
fn getter(lp: &Loop, queue: &Queue<u32>, got: &Got, name: &'static str) -> Task<()> {
    let (queue, got) = (queue.clone(), Rc::clone(got));
    lp.create_task(async move {
        let item = queue.get().await.expect("nobody shuts it down");
        got.borrow_mut().push((name, item));
    })
}

/// A task that puts an item.
fn putter(lp: &Loop, queue: &Queue<u32>, item: u32) -> Task<()> {
    let queue = queue.clone();
    lp.create_task(async move { queue.put(item).await.expect("nobody shuts it down") })
}

/// Compared by the first part alone.
#[derive(Debug)]
struct Ranked(u32, &'static str);

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Ranked {}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

both_bare_loops! {
    /// H-60: getting waits while it is empty, putting while it is full, and the calls that do not wait fail.
    fn a_queue_holds_back_getters_and_putters(make: Make) {
        run(make, async |lp| {
            let (queue, got) = (Queue::new(2), Got::default());
            assert_eq!(queue.get_nowait(), Err(GetError::Empty));
            queue.put_nowait(1).unwrap();
            queue.put(2).await.unwrap();
            assert_eq!(queue.put_nowait(3), Err(PutError::Full(3)));
            assert_eq!((queue.qsize(), queue.maxsize(), queue.full()), (2, 2, true));
            let waits = putter(&lp, &queue, 3);
            turns(&lp, 2).await;
            assert!(!waits.done());
            assert_eq!(queue.get().await, Ok(1));
            waits.await.unwrap();
            assert_eq!((queue.get().await, queue.get().await), (Ok(2), Ok(3)));
            let task = getter(&lp, &queue, &got, "late");
            turns(&lp, 2).await;
            assert!(!task.done() && queue.empty());
            queue.put_nowait(4).unwrap();
            task.await.unwrap();
            assert_eq!(*got.borrow(), [("late", 4)]);
        });
    }

    /// H-60: a queue without a bound is never full.
    fn a_queue_without_bound_is_never_full(make: Make) {
        run(make, async |_| {
            let queue = Queue::new(0);
            for item in 0..10_000_u32 {
                queue.put_nowait(item).unwrap();
            }
            assert!(!queue.full());
            for item in 0..10_000 {
                assert_eq!(queue.get().await, Ok(item));
            }
        });
    }

    /// H-61: getters and putters are woken in the order in which they came.
    fn getters_and_putters_are_served_in_order(make: Make) {
        run(make, async |lp| {
            let (queue, got) = (Queue::new(1), Got::default());
            let tasks = ["a", "b", "c"].map(|name| getter(&lp, &queue, &got, name));
            turns(&lp, 1).await;
            let puts = [1, 2, 3].map(|item| putter(&lp, &queue, item));
            for task in tasks.into_iter().chain(puts) {
                task.await.unwrap();
            }
            assert_eq!(*got.borrow(), [("a", 1), ("b", 2), ("c", 3)]);
        });
    }

    /// H-61: a call that does not wait may take what a woken task was woken for; that one waits again, and
    /// loses nothing.
    fn a_call_that_does_not_wait_may_overtake(make: Make) {
        run(make, async |lp| {
            let (queue, got) = (Queue::new(0), Got::default());
            let first = getter(&lp, &queue, &got, "first");
            let second = getter(&lp, &queue, &got, "second");
            turns(&lp, 1).await;
            queue.put_nowait(1).unwrap();
            assert_eq!(queue.get_nowait(), Ok(1));
            turns(&lp, 2).await;
            assert!(got.borrow().is_empty());
            queue.put_nowait(2).unwrap();
            queue.put_nowait(3).unwrap();
            first.await.unwrap();
            second.await.unwrap();
            assert_eq!(*got.borrow(), [("second", 2), ("first", 3)]);
        });
    }

    /// H-62, J-37: a getter that is cancelled after it was woken loses no item: the next that waits gets it.
    fn a_cancelled_getter_loses_no_item(make: Make) {
        run(make, async |lp| {
            let (queue, got) = (Queue::new(0), Got::default());
            let cancelled = getter(&lp, &queue, &got, "cancelled");
            let next = getter(&lp, &queue, &got, "next");
            turns(&lp, 1).await;
            queue.put_nowait(7).unwrap();
            cancelled.cancel();
            next.await.unwrap();
            assert!(cancelled.cancelled());
            assert_eq!(*got.borrow(), [("next", 7)]);
            // And with nobody next, it stays.
            let alone = getter(&lp, &queue, &got, "alone");
            turns(&lp, 1).await;
            queue.put_nowait(8).unwrap();
            alone.cancel();
            turns(&lp, 2).await;
            assert_eq!(queue.get_nowait(), Ok(8));
        });
    }

    /// H-62: a putter that is cancelled after it was woken loses no room: the next that waits has it.
    fn a_cancelled_putter_loses_no_room(make: Make) {
        run(make, async |lp| {
            let queue = Queue::new(1);
            queue.put_nowait(1).unwrap();
            let cancelled = putter(&lp, &queue, 2);
            let next = putter(&lp, &queue, 3);
            turns(&lp, 1).await;
            assert_eq!(queue.get_nowait(), Ok(1));
            cancelled.cancel();
            next.await.unwrap();
            assert!(cancelled.cancelled());
            assert_eq!((queue.get_nowait(), queue.get_nowait()), (Ok(3), Err(GetError::Empty)));
        });
    }

    /// H-63: waiters that were cancelled are gone at once.
    fn cancelled_waiters_leave_at_once(make: Make) {
        run(make, async |lp| {
            let (queue, got) = (Queue::new(0), Got::default());
            let tasks: Vec<_> = (0..1_000).map(|_| getter(&lp, &queue, &got, "gone")).collect();
            turns(&lp, 1).await;
            assert!(format!("{queue:?}").contains("getters: 1000"), "{queue:?}");
            for task in tasks {
                task.cancel();
            }
            turns(&lp, 2).await;
            assert!(format!("{queue:?}").contains("getters: 0"), "{queue:?}");
        });
    }

    /// H-64: joining waits until all that was put is done; saying so too often is an error; of an empty queue
    /// it does not wait.
    fn joining_waits_for_what_was_put(make: Make) {
        run(make, async |lp| {
            let (queue, log) = (Queue::new(0), Log::new());
            queue.join().await;
            assert_eq!(queue.task_done(), Err(TooManyDone));
            queue.put_nowait(1).unwrap();
            queue.put_nowait(2).unwrap();
            let (joined, joining) = (log.clone(), queue.clone());
            let task = lp.create_task(async move {
                joining.join().await;
                joined.push("joined");
            });
            for _ in 0..2 {
                queue.get().await.unwrap();
                turns(&lp, 2).await;
                log.push("done");
                queue.task_done().unwrap();
                turns(&lp, 2).await;
            }
            task.await.unwrap();
            assert_eq!(log.entries(), ["done", "done", "joined"]);
            assert_eq!(queue.task_done(), Err(TooManyDone));
        });
    }

    /// H-65: a priority queue gives back the lowest, and of those that are equal what came first; a
    /// last-in-first-out queue what came last.
    fn queues_of_other_orders(make: Make) {
        run(make, async |_| {
            let ranked = PriorityQueue::new(0);
            for item in [Ranked(2, "a"), Ranked(1, "b"), Ranked(2, "c"), Ranked(1, "d"), Ranked(0, "e")] {
                ranked.put(item).await.unwrap();
            }
            let order: Vec<_> = std::iter::from_fn(|| ranked.get_nowait().ok()).map(|it| it.1).collect();
            assert_eq!(order, ["e", "b", "d", "a", "c"]);
            let stack = LifoQueue::new(0);
            for item in 1..=3 {
                stack.put(item).await.unwrap();
            }
            let order: Vec<i32> = std::iter::from_fn(|| stack.get_nowait().ok()).collect();
            assert_eq!(order, [3, 2, 1]);
        });
    }

    /// H-66: a queue that is shut down takes nothing more, gives back what is left, and tells all that wait.
    fn a_queue_can_be_shut_down(make: Make) {
        run(make, async |lp| {
            let queue = Queue::new(1);
            queue.put_nowait(1).unwrap();
            let waits = queue.clone();
            let putting = lp.create_task(async move { waits.put(2).await });
            turns(&lp, 1).await;
            queue.shutdown(false);
            assert_eq!(putting.await, Ok(Err(ShutDown(2))));
            assert_eq!(queue.put_nowait(3), Err(PutError::ShutDown(3)));
            assert_eq!(queue.get().await, Ok(1));
            assert_eq!(queue.get().await, Err(ShutDown(())));
            assert_eq!(queue.get_nowait(), Err(GetError::ShutDown));
            let dropped: Queue<u32> = Queue::new(0);
            dropped.put_nowait(1).unwrap();
            dropped.shutdown(true);
            dropped.join().await;
            assert_eq!(dropped.get().await, Err(ShutDown(())));
        });
    }
}

/// H-65: comparing items is the user's code, and may use the queue that they are in.
// on: engine
#[test]
fn comparing_may_use_the_queue() {
    struct Nosy(u32, PriorityQueue<Nosy>);
    impl PartialEq for Nosy {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }
    impl Eq for Nosy {}
    impl PartialOrd for Nosy {
        fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
            Some(self.cmp(other))
        }
    }
    impl Ord for Nosy {
        fn cmp(&self, other: &Self) -> std::cmp::Ordering {
            if self.0 == 1 && self.1.qsize() < 4 {
                let _ = self.1.put_nowait(Nosy(9, self.1.clone()));
            }
            self.0.cmp(&other.0)
        }
    }
    let queue = PriorityQueue::new(4);
    for number in [3, 2, 1] {
        assert!(queue.put_nowait(Nosy(number, queue.clone())).is_ok());
    }
    let order: Vec<u32> = std::iter::from_fn(|| queue.get_nowait().ok()).map(|it| it.0).collect();
    assert_eq!(order[..3], [1, 2, 3], "nothing is lost: {order:?}");
    assert!(order[3..].iter().all(|&number| number == 9));
}
