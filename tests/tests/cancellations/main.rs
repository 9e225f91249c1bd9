//! Random trees of awaits, each cancelled at some moment from outside: no cancellation and no deadline is lost on
//! its way, no task is left behind, and none hangs.
//!
//! A [tree](tree::Tree) is what a task awaits: tasks, gatherings, groups, deadlines, catches that clean up, the first
//! of two things. It is played in a simulation, where whatever comes at the same instant comes in one turn.
//!
//! Nothing in a tree swallows a cancellation, so a task that was cancelled ends so, save where the contract says
//! otherwise: [`Tree`](tree::Tree) knows where.
//!
//! `PROPTEST_CASES=2000000 cargo test --release -p tests --test cancellations` plays more trees, and
//! `PROPTEST_RNG_SEED` others.

mod play;
mod tree;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tests::cases;

/// How many trees are played unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 20_000;

/// B-13, B-16, B-17, B-33, B-35, B-39, B-41: whatever a task awaits, a cancellation ends it, and what it awaited; a
/// deadline that has passed is one, and in time.
// on: sim
#[test]
fn no_cancellation_is_lost_in_any_tree() {
    let holds = |case| play::holds(&case).map_err(TestCaseError::fail);
    if let Err(failure) = TestRunner::new(cases::fixed(CASES)).run(&tree::cases(), holds) {
        panic!("{failure}");
    }
}
