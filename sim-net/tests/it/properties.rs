//! What code claims of itself, as a run's report tells it.

use std::cell::Cell;
use std::io;
use std::panic::catch_unwind;
use std::rc::Rc;
use std::time::Duration;

use sim_core::property::PropertyKind;
use sim_core::{Cx, PanicPolicy, Protocol, Time, always, eventually, reachable, sometimes};
use sim_net::{Finding, FindingKind, Plan, PropertyCount, Sim, StopAt};

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
        .map(|(&(name, kind), count)| (name, kind, count.held, count.failed))
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

/// A protocol that claims too much of what it receives.
struct Claims;

impl Protocol for Claims {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
        always!(data.len() > 100, "frames are long", "{} bytes", data.len());
    }
}

/// One that says something.
struct Says;

impl Protocol for Says {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(b"hi");
    }

    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
}

#[test]
fn a_property_that_does_not_hold_is_the_finding_whoever_takes_its_panic_and_whatever_comes_later() {
    let contained = Sim::new(1).panic_policy(PanicPolicy::Contain).run(|world| async move {
        let lp = world.host("n1");
        lp.call_later(SECOND, || always!(1 > 2, "order", "{} > {}", 1, 2)).detach();
        lp.call_later(SECOND * 2, || always!(1 > 2, "another")).detach();
        lp.sleep(SECOND * 3).await;
    });
    let caught = Sim::new(1).run(|world| async move {
        let lp = world.host("n1");
        lp.call_later(SECOND, || {
            assert!(catch_unwind(|| always!(1 > 2, "order", "{} > {}", 1, 2)).is_err());
        })
        .detach();
        lp.sleep(SECOND * 3).await;
        Err::<(), _>(io::Error::other("quite another error"))
    });
    let before_a_panic = Sim::new(1).run(|world| async move {
        let lp = world.host("n1");
        lp.call_later(SECOND, || {
            assert!(catch_unwind(|| always!(1 > 2, "order", "{} > {}", 1, 2)).is_err());
            panic!("quite another panic");
        })
        .detach();
        lp.sleep(SECOND * 3).await;
    });
    for report in [contained, caught, before_a_panic] {
        let finding = report.outcome.unwrap_err();
        assert_eq!((finding.kind, &*finding.message), (FindingKind::Property, "order: 1 > 2"));
        assert_eq!((&*finding.host, finding.time), ("n1", Time::ZERO + SECOND));
        let claim = finding.property.expect("it is one");
        assert_eq!(claim.name, "order");
        assert!(claim.place.file().ends_with("properties.rs"), "{}", claim.place);
    }
    let in_protocol = Sim::new(1).run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        server.set_panic_policy(PanicPolicy::Contain);
        let _listening = server.create_server(("server", 1), || Claims).await?;
        let connection = client.create_connection(("server", 1), || Says).await?;
        drop(connection.closed().await);
        io::Result::Ok(())
    });
    let finding = in_protocol.outcome.unwrap_err();
    assert_eq!((&*finding.message, &*finding.host), ("frames are long: 2 bytes", "server"));
}

async fn boom() {
    panic!("boom");
}

#[test]
fn each_run_of_a_built_world_tells_of_its_own_property() {
    let simulation = Sim::new(1).build();
    let broken = simulation.run(async {
        drop(catch_unwind(|| always!(1 > 2, "order")));
    });
    assert_eq!(broken.unwrap_err().kind, FindingKind::Property);
    let panicked = simulation.run(boom());
    let finding: Finding = panicked.unwrap_err();
    assert_eq!((finding.kind, finding.property), (FindingKind::Panic, None));
    assert!(simulation.run(async {}).is_ok());
}

#[test]
fn a_run_that_is_stopped_is_stopped_whatever_it_broke_before() {
    let sim = Sim::new(1).stop_at(StopAt::Time(SECOND));
    let report = sim.run(|world| async move {
        drop(catch_unwind(|| always!(1 > 2, "order")));
        world.sleep(SECOND * 2).await;
    });
    assert_eq!(report.outcome.unwrap_err().kind, FindingKind::Stopped);
}

#[test]
fn one_name_for_two_claims_is_counted_twice() {
    let report = Sim::new(1).run(|_| async {
        sometimes!(false, "x");
        always!(true, "x");
    });
    let counts: Vec<_> = report.properties.into_iter().collect();
    let expected = [
        (("x", PropertyKind::Always), PropertyCount { held: 1, failed: 0 }),
        (("x", PropertyKind::Sometimes), PropertyCount { held: 0, failed: 1 }),
    ];
    assert_eq!(counts, expected);
}

#[test]
fn a_panic_of_the_scenario_says_the_same_under_each_policy() {
    for policy in [PanicPolicy::EndRun, PanicPolicy::Contain] {
        let report = Sim::new(1).panic_policy(policy).run(|_| boom());
        let finding: Finding = report.outcome.unwrap_err();
        assert_eq!((finding.kind, &*finding.message), (FindingKind::Panic, "boom"));
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
