//! Z42 by what it takes: one lost connection, between `PUBREL` and `PUBCOMP`.

use scenarios::zoo::mqtt::{Bug, scenario, with_bug};

use crate::trial::{finds, run_with_plan};

/// Four packets take four milliseconds, and the first of them leaves with the fourth. The client gives up
/// a connection that is silent for more than a second.
#[test]
fn a_released_message_is_published_again() {
    for (from, is_caught) in [("5.5ms", false), ("6.5ms", false), ("7.5ms", true)] {
        let plan = format!("cut client broker {from}..2s");
        let outcome = run_with_plan(&with_bug(Bug::Z42), 1, &plan);
        if is_caught {
            finds(outcome, "was delivered 2 times");
        } else {
            assert!(outcome.is_ok(), "{plan}: {outcome:?}");
        }
        assert!(run_with_plan(&scenario(), 1, &plan).is_ok(), "{plan}");
    }
}
