//! What code claims of itself, as a run's report tells it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::property::PropertyKind;
use sim_core::{always, eventually, reachable, sometimes};
use sim_net::{FindingKind, Plan, Sim};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn properties_are_counted_by_name_and_are_in_the_hash() {
    let run = |odd: u64| {
        let report = Sim::new(1).trace(true).run(move |world| async move {
            let lp = world.host("n1");
            for n in 0..10 {
                lp.sleep(SECOND).await;
                always!(n < 10, "it is small");
                sometimes!(n % 2 == odd, "it is odd");
                if n == 7 {
                    reachable!("the eighth");
                }
            }
        });
        assert!(report.outcome.is_ok());
        report
    };
    let report = run(1);
    let counts: Vec<_> = report
        .properties
        .iter()
        .map(|(name, count)| (*name, count.kind, count.held, count.failed))
        .collect();
    let expected = [
        ("it is odd", PropertyKind::Sometimes, 5, 5),
        ("it is small", PropertyKind::Always, 10, 0),
        ("the eighth", PropertyKind::Reachable, 1, 0),
    ];
    assert_eq!(counts, expected);
    assert_ne!(report.hash, run(0).hash);
    let log = report.log.unwrap().to_string();
    assert!(log.contains("property \"it is odd\": NOT so"), "{log}");
}

#[test]
fn a_property_that_does_not_hold_is_a_finding_of_its_own_kind_wherever_the_code_runs() {
    let in_callback = Sim::new(1).run(|world| async move {
        world.host("n1").call_soon(|| always!(1 > 2, "order", "{} > {}", 1, 2));
        world.settle().await;
    });
    let in_task = Sim::new(1).run(|world| async move {
        let lp = world.host("n1");
        lp.create_task(async { always!(1 > 2, "order", "{} > {}", 1, 2) });
        world.settle().await;
    });
    for report in [in_callback, in_task] {
        let finding = report.outcome.unwrap_err();
        assert_eq!(
            (finding.kind, finding.message.as_str()),
            (FindingKind::Property, "order: 1 > 2")
        );
        assert_eq!(finding.host, "n1");
    }
}

#[test]
fn what_a_dead_host_claims_is_of_no_account() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let outcome = simulation.run(async move {
        let lp = world.host("n1");
        lp.call_soon(move || {
            operator.host("n1").crash();
            always!(1 > 2, "order");
        });
        world.settle().await;
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(simulation.properties().is_empty());
}

#[test]
fn what_holds_in_the_end_is_asked_when_all_faults_are_over() {
    let plan = Plan::new().crash(SECOND, "n1", SECOND * 20);
    let run = |heals: bool| {
        let sim = Sim::new(1).plan(&plan).unwrap().quiesce(SECOND * 10).liveness(SECOND * 60);
        sim.run(move |world| async move {
            let up = Rc::new(Cell::new(true));
            let lives = Rc::new(Cell::new(0));
            let (of_boot, count) = (Rc::clone(&up), Rc::clone(&lives));
            world.boot("n1", move |_| {
                count.set(count.get() + 1);
                of_boot.set(heals || count.get() == 1);
                async {}
            });
            eventually!(world, up.get() && lives.get() == 2, "it is up again");
            let took = world.time().since_epoch();
            assert!(took >= SECOND * 10 && took < SECOND * 11, "{took:?}");
        })
    };
    assert!(run(true).outcome.is_ok());
    let finding = run(false).outcome.unwrap_err();
    assert_eq!(finding.kind, FindingKind::Property);
    assert_eq!(finding.message, "it is up again: it does not hold long after the last fault");
    assert!(finding.time.since_epoch() < SECOND * 70 && finding.time.since_epoch() > SECOND * 69);
}
