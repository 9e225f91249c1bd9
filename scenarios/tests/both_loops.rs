//! Every scenario, unchanged, in the simulator and on real sockets.

use std::path::Path;
use std::time::Duration;

use sim_check::check;
use sim_core::FaultMix;

/// How long a scenario may take on real sockets, generously: a loaded machine runs this.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn every_scenario_is_green_in_the_simulator() {
    for scenario in scenarios::all() {
        let verdict = check(scenario.name()).seeds(3).verdict(|world| scenario.run(world));
        assert!(verdict.is_green(), "{verdict}");
    }
}

#[test]
fn every_scenario_is_green_on_real_sockets() {
    let stores = Path::new(env!("CARGO_TARGET_TMPDIR")).join("both_loops");
    let clear = || {
        if stores.exists() {
            std::fs::remove_dir_all(&stores).unwrap();
        }
    };
    for scenario in scenarios::all() {
        // What an earlier run left behind is not this one's.
        clear();
        let report = real_net::Runner::new().store_dir(&stores).report(&scenario);
        assert!(report.is_ok(), "{report}");
        assert!(report.elapsed < LIMIT, "{report}");
    }
    clear();
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

/// Every scenario says what it stands, and says nothing that means nothing.
#[test]
fn every_fault_mix_makes_sense() {
    for scenario in scenarios::all() {
        let name = scenario.name();
        let mix: &FaultMix = scenario.fault_mix().expect(name);
        assert!(mix.link.split(',').all(|part| part.contains('=')), "{name}");
        assert_eq!(mix.cuts > 0, mix.cut_for > Duration::ZERO, "{name}");
        assert_eq!(mix.crashes_max > 0, mix.down_for > Duration::ZERO, "{name}");
        assert_eq!(mix.crashes_max > 0, !mix.crashes.is_empty(), "{name}");
        let begins = mix.cuts > 0 || mix.crashes_max > 0;
        assert_eq!(begins, mix.within > Duration::ZERO, "{name}");
    }
}
