//! What a search keeps of its runs.

use sim_check::check;
use sim_core::World;

/// What came of a run waits in memory for those before it, and is gone when it was its turn.
#[test]
fn a_search_keeps_nothing_of_runs_that_were_gathered() {
    const RUNS: u64 = 20_000;
    const BYTES_MAX: u64 = 1 << 20;
    let counted = allocation_counter::measure(|| {
        // On one thread none is done before its turn.
        let verdict = check("all the same").seeds(RUNS).jobs(1).verdict(|_: World| async {});
        assert_eq!((verdict.seeds, verdict.is_green()), (RUNS, true));
    });
    assert!(counted.count_total > 0, "nothing was counted");
    let most = counted.bytes_max;
    assert!(most < BYTES_MAX, "{most} bytes at once on the thread that gathers");
}
