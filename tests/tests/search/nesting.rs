//! Checks inside scenarios of other checks, and what goes wrong around runs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use sim_check::check;
use sim_core::World;

async fn sleeps(world: World) {
    world.host("sleeper").sleep(Duration::from_secs(1)).await;
}

#[test]
fn a_check_inside_a_run_waits_for_nobody_and_hides_no_panic_of_it() {
    for jobs in [1, 2] {
        let outer = check("outer").seeds(24).jobs(jobs).shrinks(false);
        let verdict = outer.verdict(|world: World| async move {
            let coin = world.rng("coin").below(3);
            if coin == 0 {
                check("inner").seeds(3).jobs(2).shrinks(false).run(sleeps);
            }
            assert!(coin != 1, "the coin shows its face");
        });
        assert!(verdict.failures.len() > 3, "{verdict}");
        for failed in &verdict.failures {
            assert!(failed.is_deterministic() && failed.error.contains("nesting.rs"), "{verdict}");
        }
        let first = &verdict.failures[0].signature;
        assert!(verdict.failures.iter().all(|it| it.signature == *first), "{verdict}");
    }
}

#[test]
fn a_simulation_that_cannot_be_made_is_a_panic_of_the_check() {
    let check = check("odd").seeds(4).sim(|_| panic!("no such simulation"));
    let panic = catch_unwind(AssertUnwindSafe(|| check.run(sleeps))).unwrap_err();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"no such simulation"));
}
