//! Small programs over the primitives of `sim_core::sync` and `sim_core::queue`, under every schedule, with a
//! cancellation at every await: no lost wake-up, no double grant, no lost item. The bugs that asyncio had there,
//! planted, are found.
//!
//! `SCHEDULE_CANCELLATIONS=3 cargo test --release -p tests --test schedules` goes further.

mod explore;
mod injected;
mod planted;
mod programs;
mod turns;

use sim_core::queue::Queue;
use sim_core::sync::{Condition, Lock, Semaphore};

use crate::explore::{Program, explore};
use crate::programs::{meeting, notifying, passing_on, signalling, taking_turns};

/// How many tasks are cancelled at most.
fn cancellations() -> usize {
    let asked = std::env::var("SCHEDULE_CANCELLATIONS").ok();
    asked.map_or(2, |text| text.parse().expect("SCHEDULE_CANCELLATIONS is a number"))
}

/// All schedules of a program are right, and there are at least so many.
#[track_caller]
fn holds(program: impl Fn(&mut Program), at_least: u64) {
    let explored = explore(program, cancellations());
    if let Some((steps, what)) = explored.finding {
        panic!("{what}\n{}", steps.join("\n"));
    }
    assert!(explored.schedules >= at_least, "{} schedules", explored.schedules);
}

/// Some schedule of a program goes wrong, in these words.
#[track_caller]
fn is_found(program: impl Fn(&mut Program), words: &str) {
    let (steps, what) = explore(program, 2).finding.expect("it is found");
    assert!(what.starts_with(words), "{what}");
    assert!(steps.iter().any(|step| step.starts_with("cancel")), "{steps:?}");
}

/// H-42, H-43: a lock under every schedule.
// on: engine
#[test]
fn a_lock_is_had_by_one_at_a_time_and_by_all_in_the_end() {
    holds(taking_turns::<Lock>(4), 1_000);
}

/// H-48, H-49: a semaphore under every schedule.
// on: engine
#[test]
fn a_semaphore_loses_no_permit() {
    holds(taking_turns::<Semaphore>(4), 1_000);
}

/// H-44: an event under every schedule.
// on: engine
#[test]
fn an_event_wakes_all_that_waited_when_it_was_set() {
    holds(signalling, 1_000);
}

/// H-46: a condition under every schedule.
// on: engine
#[test]
fn a_condition_loses_no_notification() {
    holds(notifying::<Condition>(3), 1_000);
}

/// H-51: a barrier under every schedule.
// on: engine
#[test]
fn a_barrier_brings_pairs_together() {
    holds(meeting, 1_000);
}

/// H-62: a queue under every schedule, with and without a bound.
// on: engine
#[test]
fn a_queue_loses_no_item_and_no_room() {
    holds(passing_on::<Queue<u32>>(3, 2, 1), 1_000);
    holds(passing_on::<Queue<u32>>(4, 1, 1), 1_000);
    holds(passing_on::<Queue<u32>>(2, 3, 0), 1_000);
}

/// J-33: the two bugs of asyncio's lock.
// on: engine
#[test]
fn planted_bugs_of_a_lock_are_found() {
    is_found(taking_turns::<planted::LosesWakeUps>(3), "it is free, and somebody waits");
    is_found(taking_turns::<planted::GrantsTwice>(3), "two have it at once");
}

/// J-34: the deadlock of asyncio's semaphore.
// on: engine
#[test]
fn a_planted_bug_of_a_semaphore_is_found() {
    is_found(taking_turns::<planted::HangsAfterCancel>(3), "it is free, and somebody waits");
}

/// J-35: the lost notification of asyncio's condition.
// on: engine
#[test]
fn a_planted_bug_of_a_condition_is_found() {
    is_found(notifying::<planted::LosesNotifications>(2), "a notification reached nobody");
}

/// J-37: the lost item of asyncio's queue.
// on: engine
#[test]
fn a_planted_bug_of_a_queue_is_found() {
    is_found(passing_on::<planted::LosesItems>(2, 2, 0), "an item is lost");
}
