//! A run can be written down as a plan and run again from it: to the hash.
//!
//! Takes a few seeds of each scenario; `REPLAY_SEEDS=1000 cargo test --release -p tests --test
//! replays` takes a thousand.

mod scheduled;

use sim_check::Profile;
use sim_core::{FaultMix, Scenario};
use sim_net::plan::{Entry, Environment, Scope, Stream};
use sim_net::{Finding, Link, Plan, Recording, Report, Sim};

/// How many seeds of each scenario under each of its networks.
fn seeds() -> u64 {
    let wanted = std::env::var("REPLAY_SEEDS").ok();
    wanted.map_or(2, |wanted| wanted.parse().expect("REPLAY_SEEDS is a number"))
}

/// A network on which everything goes wrong that can, all the time.
const ROUGH: &str =
    "latency=lognormal(5ms,p99=80ms),loss=burst(3%,3),dup=2%,corrupt=1%/deliver,reorder=3%/2";

/// A scenario with the network of a seed.
struct Case {
    scenario: Scenario,
    name: String,
    check: sim_check::Check,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for which in 0..4 {
        for scenario in scenarios::all() {
            let check = sim_check::check(scenario.name());
            let (word, check) = match (which, scenario.fault_mix()) {
                (0, _) => ("plain", check),
                (1, Some(mix)) => ("own faults", check.profile(Profile::of(mix).unwrap())),
                (2, Some(mix)) => {
                    let rough = mix.streams(FaultMix::ROUGH);
                    ("own, rough streams", check.profile(Profile::of(&rough).unwrap()))
                }
                (3, _) => {
                    let check = check.profile(Profile::swarm());
                    let link = |sim: Sim| sim.link(ROUGH.parse::<Link>().unwrap());
                    ("everything, rough links", check.sim(link))
                }
                _ => continue,
            };
            let name = format!("{}, {word}", scenario.name());
            cases.push(Case { scenario, name, check });
        }
    }
    cases
}

/// What a run is compared by.
fn print(report: &Report<()>) -> (u64, u64, u64, Option<Finding>) {
    (report.hash, report.events, report.time.as_nanos(), report.finding().cloned())
}

impl Case {
    /// The simulation of a seed, in which no run takes for ever.
    fn sim(&self, seed: u64) -> Sim {
        let run = |world| self.scenario.run(world);
        self.check.simulation(seed, run).max_events(2_000_000)
    }

    fn run(&self, sim: &Sim) -> Report<()> {
        sim.run(|world| self.scenario.run(world))
    }

    /// The run from a plan as its text says it.
    #[track_caller]
    fn replay(&self, sim: &Sim, plan: &Plan) -> Report<()> {
        let text = plan.to_string();
        let parsed: Plan = text.parse().unwrap_or_else(|errors| panic!("{errors}\n{text}"));
        assert_eq!(parsed, *plan);
        let sim = sim.clone().replay(&parsed).unwrap_or_else(|error| panic!("{error}"));
        self.run(&sim.record(Recording::new()).trace(std::env::var_os("REPLAY_LOG").is_some()))
    }
}

fn differ(case: &str, seed: u64, plan: &Plan, one: &Report<()>, two: &Report<()>) -> String {
    let mut text = format!("{case}, seed {seed}: {:?} and {:?}\n{plan}", print(one), print(two));
    if let (Some(one), Some(two)) = (&one.log, &two.log) {
        let pairs = one.entries().zip(two.entries()).enumerate();
        let mut differing = pairs.filter(|(_, (a, b))| a != b);
        if let Some((place, _)) = differing.next() {
            for log in [one, two] {
                text += "----\n";
                for entry in log.entries().skip(place.saturating_sub(12)).take(16) {
                    text += &format!("{}\n", log.line(&entry));
                }
            }
        }
    }
    text
}

/// A plan gave the run that it was recorded of.
#[track_caller]
fn assert_same(case: &str, seed: u64, plan: &Plan, found: &Report<()>, again: &Report<()>) {
    assert!(print(again) == print(found), "{}", differ(case, seed, plan, found, again));
}

/// What is recorded of a run from a seed is a plan that gives the same run: to the hash, in time and
/// outcome. All its entries find what they are about, and what is recorded of its run is that plan.
#[test]
fn a_recorded_run_is_run_again_from_its_plan() {
    let (mut entries, mut runs) = (0, 0);
    for case in cases() {
        for seed in 0..seeds() {
            let keep = std::env::var_os("REPLAY_LOG").is_some();
            let sim = case.sim(seed);
            let found = case.run(&sim.clone().record(Recording::new()).trace(keep));
            let plan = found.recording.as_ref().unwrap();
            let again = case.replay(&sim, plan);
            assert_same(&case.name, seed, plan, &found, &again);
            let unbound: Vec<_> = again.bindings.unbound().collect();
            assert!(unbound.is_empty(), "{}, seed {seed}: {unbound:?}\n{plan}", case.name);
            let diff = plan.diff(again.recording.as_ref().unwrap());
            assert!(diff.is_empty(), "{}, seed {seed}:\n{diff}", case.name);
            entries += plan.entries.len();
            runs += 1;
        }
    }
    assert!(entries > runs, "{entries} entries in {runs} runs");
}

/// So is that of a run from a plan, in which ties and jitter are not the seed's but where the plan says so.
#[test]
fn a_recorded_replay_is_run_again_from_its_plan() {
    let is_ties =
        |entry: &&Entry| matches!(entry, Entry::Environment(it) if it.stream == Stream::Ties);
    let mut ties = 0;
    for (number, case) in cases().iter().enumerate() {
        for seed in 0..seeds().div_ceil(2) {
            let sim = case.sim(seed);
            let whole = case.run(&sim.clone().record(Recording::new())).recording.unwrap();
            // Two thirds of it.
            let mut part = whole.clone();
            let mut place = number;
            part.entries.retain(|_| {
                place += 1;
                !place.is_multiple_of(3)
            });
            let found = case.replay(&sim, &part);
            let plan = found.recording.as_ref().unwrap();
            let again = case.replay(&sim, plan);
            assert_same(&case.name, seed, plan, &found, &again);
            ties += plan.entries.iter().filter(is_ties).count();
        }
    }
    assert!(ties > 0);
}

/// Hash, times and outcome are the same whoever looks on.
#[test]
fn observation_changes_nothing() {
    for case in cases() {
        for seed in 0..seeds().min(20) {
            let alone = case.sim(seed);
            let (sim, alone) = (|| alone.clone(), print(&case.run(&alone)));
            let observed = [
                ("trace", sim().trace(true)),
                ("capture", sim().capture(true)),
                ("recording", sim().record(Recording::new())),
                ("anchors", sim().record(Recording::new().anchors())),
                ("census", sim().census(true)),
                (
                    "all of them",
                    sim().trace(true).capture(true).record(Recording::new().anchors()).census(true),
                ),
            ];
            for (observer, sim) in observed {
                let observed = print(&case.run(&sim));
                assert_eq!(observed, alone, "{}, seed {seed}, {observer}", case.name);
            }
        }
    }
}

/// The jitter of a link can be said packet by packet, and so can that of a flow alone.
#[test]
fn jitter_is_split_into_its_packets() {
    for case in cases() {
        for seed in 0..seeds().min(20) {
            let sim = case.sim(seed);
            let found = case.run(&sim.clone().record(Recording::new()));
            let plan = found.recording.as_ref().unwrap();
            let of_links = plan.entries.iter().find_map(|entry| match entry {
                Entry::Environment(it) if it.stream == Stream::Jitter => Some(it.clone()),
                _ => None,
            });
            let Some(of_link) = of_links else { continue };
            let recording = Recording::new().split(of_link.clone());
            let split = case.run(&sim.clone().record(recording)).recording.unwrap();
            assert!(!split.entries.contains(&of_link.clone().into()), "{split}");
            let again = case.replay(&sim, &split);
            assert_eq!(print(&again), print(&found), "{}, seed {seed}\n{split}", case.name);
            assert_eq!(again.bindings.bound(), split.entries.len());
            // One flow of the link.
            let flow = split.entries.iter().find_map(|entry| match entry {
                Entry::Deviation(deviation) => deviation.event.flow().cloned(),
                _ => None,
            });
            let Some(flow) = flow else { continue };
            let of_flow = Environment::new(Stream::Jitter, Scope::Flow(flow));
            let recording = Recording::new().split(of_flow);
            let split = case.run(&sim.clone().record(recording)).recording.unwrap();
            let again = case.replay(&sim, &split);
            assert_eq!(print(&again), print(&found), "{}, seed {seed}\n{split}", case.name);
        }
    }
}

/// A plan with nothing in it is a network on which nothing goes wrong, whatever links could do.
#[test]
fn in_a_run_from_an_empty_plan_nothing_goes_wrong() {
    let link: Link = "latency=1ms..9ms,loss=50%,dup=20%,corrupt=20%,reorder=20%".parse().unwrap();
    for scenario in scenarios::all() {
        let sim = Sim::new(5).link(link.clone()).replay(&Plan::new()).unwrap();
        let report = sim.run(|world| scenario.run(world));
        assert!(report.outcome.is_ok(), "{}: {:?}", scenario.name(), report.outcome);
        assert!(report.faults.values().all(|&count| count == 0), "{:?}", report.faults);
        let watched = sim.record(Recording::new()).run(|world| scenario.run(world));
        assert_eq!(watched.hash, report.hash, "{}: who looks on changes nothing", scenario.name());
    }
}
