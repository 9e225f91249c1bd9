//! Z25 by what it takes: one silence, while bodies are on their way.

use scenarios::zoo::mux::{Bug, scenario, with_bug};

use crate::trial::run_with_plan;

#[test]
fn a_silence_costs_the_connection_its_credit() {
    let mut caught = 0;
    for millis in 3..12 {
        let plan = format!("cut client server {millis}ms..{}ms", millis + 100);
        caught += u32::from(run_with_plan(&with_bug(Bug::Z25), 1, &plan).is_err());
        assert!(run_with_plan(&scenario(), 1, &plan).is_ok(), "{plan}");
    }
    assert!(caught > 4, "{caught} of 9");
}
