//! Z18 by what it takes: one crash, at any time after the subscription.

use scenarios::zoo::pubsub::{Bug, scenario, with_bug};

use crate::trial::{finds, run_with_plan};

#[test]
fn a_crash_is_never_noticed_by_who_only_listens() {
    for millis in [10, 100, 300, 400] {
        let plan = format!("crash server {millis}ms for 50ms");
        finds(run_with_plan(&with_bug(Bug::Z18), 1, &plan), "the subscriber heard nothing");
        assert!(run_with_plan(&scenario(), 1, &plan).is_ok(), "{plan}");
    }
}
