//! Every scenario, unchanged, in the simulator and on real sockets.

use sim_check::check;

#[test]
fn every_scenario_is_green_in_the_simulator() {
    for scenario in scenarios::all() {
        let verdict = check(scenario.name()).seeds(3).verdict(|world| scenario.run(world));
        assert!(verdict.is_green(), "{verdict}");
    }
}

#[test]
fn every_scenario_is_green_on_real_sockets() {
    for scenario in scenarios::all() {
        let report = real_net::run_report(&scenario);
        assert!(report.is_ok(), "{report}");
    }
}

#[test]
fn names_are_unique_and_found() {
    let all = scenarios::all();
    for scenario in &all {
        let same = all.iter().filter(|other| other.name() == scenario.name());
        assert_eq!(same.count(), 1, "{}", scenario.name());
        assert!(scenarios::find(scenario.name()).is_some());
        assert!(!scenario.summary().is_empty());
    }
    assert!(scenarios::find("").is_none());
}
