//! Hosts that stand still or are slow, clocks that are wrong, names that nobody knows: what a protocol does not expect of
//! them is found, and comes down to one line.

use std::io;
use std::time::Duration;

use sim_check::{Family, Origin, Profile, Verdict, check};
use sim_core::World;

const SECOND: Duration = Duration::from_secs(1);

/// What a protocol takes for granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trust {
    /// That the time of day goes as fast as time.
    Day,
    /// That a tenth of a second takes no ten.
    Pace,
    /// That the name that was known is known.
    Names,
    /// Nothing.
    Nothing,
}

/// Ten rounds of a tenth of a second, each with a lookup.
async fn rounds(world: World, trust: Trust) -> io::Result<()> {
    let (a, _b) = (world.host("a"), world.host("b"));
    for _ in 0..10 {
        let (began, day) = (a.time(), a.wall_time());
        a.sleep(SECOND / 10).await;
        let (took, day) = (a.time() - began, a.wall_time().abs_diff(day));
        if trust == Trust::Day && day > 10 * SECOND {
            return Err(io::Error::other("the day jumped"));
        }
        if trust == Trust::Pace && took > SECOND {
            return Err(io::Error::other("a round took too long"));
        }
        let found = a.getaddrinfo(("b", 9)).await;
        if trust == Trust::Names && !found.is_ok_and(|all| !all.is_empty()) {
            return Err(io::Error::other("b is unknown"));
        }
    }
    Ok(())
}

fn found(family: Family, trust: Trust, singles: bool) -> Verdict {
    let check = check("rounds").seeds(100).jobs(1).stop_at_first(true);
    let verdict = check
        .profile(Profile::only([family]))
        .singles(singles)
        .verdict(move |world| rounds(world, trust));
    if singles {
        let covered = verdict.coverage.first().expect("there is something to be done");
        assert_eq!(covered.family, family);
        assert!(covered.done > 0 && covered.total >= covered.done, "{verdict}");
    }
    verdict
}

#[test]
fn what_is_taken_for_granted_is_found_by_seeds_and_by_single_faults_and_is_one_line() {
    for (family, trust, lines) in [
        (Family::Clock, Trust::Day, ["clock a at ", "clock a offset"]),
        (Family::Freeze, Trust::Pace, ["freeze a ", ""]),
        (Family::Pause, Trust::Pace, ["pause a ", ""]),
        (Family::Names, Trust::Names, ["dns a ", "dns-"]),
    ] {
        for singles in [false, true] {
            let verdict = found(family, trust, singles);
            let explanation =
                verdict.explanation.as_ref().unwrap_or_else(|| panic!("{family}: {verdict}"));
            let entries = &explanation.shrunk.plan.entries;
            let [line] = &entries[..] else { panic!("{family}: {}", explanation.shrunk.plan) };
            let line = line.to_string();
            let begins = |begin: &&str| !begin.is_empty() && line.starts_with(begin);
            assert!(lines.iter().any(begins), "{family}: {line}");
            assert_eq!(explanation.bound, 1, "{line}");
        }
        let right = found(family, Trust::Nothing, true);
        assert!(right.is_green() && !right.is_idle(), "{right}");
    }
}

/// Each callback of a slow host costs time: a hundred of them a second.
#[test]
fn a_slow_host_is_found_by_single_faults() {
    async fn in_time(world: World) -> io::Result<()> {
        let lp = world.host("a");
        let began = lp.time();
        for _ in 0..100 {
            lp.sleep(SECOND / 1_000).await;
        }
        let took = lp.time() - began;
        if took < SECOND / 2 { Ok(()) } else { Err(io::Error::other("it took too long")) }
    }
    let profile = Profile::only([Family::Slow]);
    let verdict = check("slow").seeds(10).jobs(1).profile(profile).verdict(in_time);
    let mut singles = verdict.failures.iter().filter(|it| matches!(it.origin, Origin::Single(_)));
    assert!(singles.next().is_some(), "{verdict}");
    let plan = &verdict.explanation.as_ref().unwrap_or_else(|| panic!("{verdict}")).shrunk.plan;
    let lines: Vec<String> = plan.entries.iter().map(ToString::to_string).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("slow a "), "{lines:?}");
}

/// What a calm run offers is there: none of the faults is about something that no world has.
#[test]
fn single_faults_are_about_hosts_and_not_about_the_scenario_itself() {
    let families = [Family::Crash, Family::Pause, Family::Freeze, Family::Slow, Family::Clock];
    for family in families {
        let check = check("one").seeds(100).profile(Profile::only([family])).jobs(1);
        let verdict = check.verdict(|world: World| async move {
            let lp = world.host("a");
            for _ in 0..4 {
                lp.sleep(SECOND / 10).await;
                world.sleep(SECOND / 100).await;
            }
        });
        let covered = verdict.coverage[0];
        // At each of its eight turns, in two ways: none of the scenario, which is on no host.
        let wanted = if family == Family::Slow { 2 } else { 16 };
        assert_eq!((covered.done, covered.total), (wanted, wanted), "{verdict}");
    }
    let nobody = check("nobody").seeds(20).profile(Profile::only(families));
    assert_eq!(nobody.verdict(|_: World| async {}).coverage, []);
}

/// A clock that the check itself sets stays as it is.
#[test]
fn no_seed_sets_a_clock_that_is_set() {
    let own: sim_net::Plan = "clock a offset +1s\n".parse().unwrap();
    let check = check("clock").seeds(60).profile(Profile::only([Family::Clock])).singles(false);
    let check = check.sim(move |sim| sim.plan(&own).unwrap());
    let verdict = check.jobs(1).verdict(|world: World| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        // 1 January 2000, when worlds begin.
        let begin = Duration::from_secs(946_684_800);
        match (a.wall_time() == begin + SECOND, b.wall_time() == begin) {
            (true, true) => Ok(()),
            (true, false) => Err(io::Error::other("b")),
            (false, _) => Err(io::Error::other("a")),
        }
    });
    let errors: Vec<&str> = verdict.failures.iter().map(|it| it.error.as_str()).collect();
    assert!(errors.len() > 10 && errors.iter().all(|&error| error == "b"), "{verdict}");
}
