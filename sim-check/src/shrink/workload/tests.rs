//! Workloads of scenarios that are known by what they ask for and by when they fail.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use sim_net::plan::{Entry, Workload};
use sim_net::{OfferedWorkload, Plan};

use crate::shrink::{Bounds, Judge, Offered, Shrunk, Trial, shrink};

/// A run of a scenario: what it asks for, and which entries of the plan found something.
struct Run<'p> {
    plan: &'p Plan,
    bound: BTreeSet<usize>,
    offered: Vec<OfferedWorkload>,
}

impl Run<'_> {
    /// The place of an entry; it is bound then.
    fn find(&mut self, wanted: impl Fn(&Entry) -> bool) -> Option<usize> {
        let found = self.plan.entries.iter().position(wanted)?;
        self.bound.insert(found);
        Some(found)
    }

    fn size(&mut self, wanted: &str, range: RangeInclusive<u64>, drawn: u64) -> u64 {
        let is_said = |entry: &Entry| matches!(entry, Entry::Workload(Workload::Size { name, .. }) if name == wanted);
        let said = self.find(is_said).map(|place| match self.plan.entries[place] {
            Entry::Workload(Workload::Size { value, .. }) => value,
            _ => unreachable!("it was found by what it is"),
        });
        let value = said.map_or(drawn, |said| said.clamp(*range.start(), *range.end()));
        self.offered.push(OfferedWorkload::Size { name: wanted.to_owned(), range, value, drawn });
        value
    }

    fn ops(&mut self, wanted: &str, count: u64) -> Vec<u64> {
        if count > 0 {
            let name = wanted.to_owned();
            self.offered.push(OfferedWorkload::Operations { name, count });
        }
        let is_left = |index: &u64| {
            let leaves_out = |entry: &Entry| match entry {
                Entry::Workload(Workload::Without { name, operations }) => {
                    name == wanted && operations.iter().any(|range| range.contains(index))
                }
                _ => false,
            };
            self.find(leaves_out).is_none()
        };
        (0..count).filter(is_left).collect()
    }

    /// True if the plan has a line that begins so.
    fn fault(&mut self, line: &str) -> bool {
        self.find(|entry| entry.to_string().starts_with(line)).is_some()
    }
}

/// A scenario that says whether it fails.
struct Scenario<F> {
    fails: F,
    runs: AtomicU64,
}

impl<F: Fn(&mut Run<'_>) -> bool + Sync> Scenario<F> {
    fn new(fails: F) -> Self {
        Self { fails, runs: AtomicU64::new(0) }
    }

    fn run<'p>(&self, plan: &'p Plan) -> (bool, Run<'p>) {
        self.runs.fetch_add(1, Ordering::Relaxed);
        let mut run = Run { plan, bound: BTreeSet::new(), offered: Vec::new() };
        ((self.fails)(&mut run), run)
    }

    /// The small plan, which is the same on two threads.
    #[track_caller]
    fn shrunk(&self, text: &str) -> Shrunk {
        let plan = plan(text);
        let [one, two] = [1, 2].map(|jobs| shrink(&plan, self, jobs, Bounds::default()));
        assert_eq!(one, two);
        assert!(one.reproduced && one.is_minimal);
        one
    }

    /// The lines of the small plan.
    #[track_caller]
    fn lines(&self, text: &str) -> Vec<String> {
        self.shrunk(text).plan.entries.iter().map(ToString::to_string).collect()
    }
}

impl<F: Fn(&mut Run<'_>) -> bool + Sync> Judge for Scenario<F> {
    fn judge(&self, plan: &Plan) -> Trial {
        let (interesting, run) = self.run(plan);
        let places = 0..plan.entries.len();
        Trial {
            interesting,
            unbound: places.filter(|place| !run.bound.contains(place)).collect(),
            events: 1,
            otherwise: None,
        }
    }

    fn offered(&self, plan: &Plan) -> Offered {
        Offered { workload: self.run(plan).1.offered, ..Offered::default() }
    }
}

fn plan(text: &str) -> Plan {
    text.parse().unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

const FAULTS: &str = "kill a at 1s\nkill b at 2s\nkill c at 3s\n";

#[test]
fn one_client_and_one_operation_of_many_are_left() {
    let scenario = Scenario::new(|run| {
        let clients = run.size("clients", 1..=8, 5);
        let count = run.size("writes", 4..=20, 18);
        run.ops("writes", count).contains(&7) && clients > 0 && run.fault("kill b")
    });
    let shrunk = scenario.shrunk(FAULTS);
    assert_eq!(
        shrunk.plan.to_string(),
        "plan 1.0\nkill b at 2s\nsize clients = 1\nsize writes = 8\nwithout writes 0-6\n"
    );
    assert!(shrunk.to_string().starts_with("shrunk from 3 entries to 1 in "), "{shrunk}");
    assert!(shrunk.replays < 60, "{shrunk}");
    assert_eq!(scenario.lines(&shrunk.plan.to_string()).len(), 4, "it stays as small as it is");
}

#[test]
fn what_cannot_be_smaller_is_not_written() {
    let scenario = Scenario::new(|run| {
        let (one, least) = (run.size("one", 4..=4, 4), run.size("least", 2..=9, 2));
        let none = run.ops("none", 0);
        let needed = run.ops("needed", 2);
        one == 4 && least == 2 && none.is_empty() && needed == [0, 1]
    });
    assert!(scenario.lines(FAULTS).is_empty());
    // What the seed says anyway, and what is beyond all there is.
    let text = "size one = 9\nsize least = 2\nwithout needed 7\n";
    assert!(scenario.lines(text).is_empty());
}

#[test]
fn all_operations_can_go_and_one_in_the_middle_can_stay() {
    let all = Scenario::new(|run| !run.ops("writes", 18).contains(&18));
    assert_eq!(all.lines(""), ["without writes 0-17"]);
    for needed in [vec![0], vec![17], vec![9], vec![0, 17], vec![4, 9, 10], (0..18).collect()] {
        let some = Scenario::new(|run| {
            let left: BTreeSet<u64> = run.ops("writes", 18).into_iter().collect();
            needed.iter().all(|it| left.contains(it))
        });
        let plan = some.shrunk("").plan;
        let (_, run) = some.run(&plan);
        let left = Run { offered: Vec::new(), ..run }.ops("writes", 18);
        assert_eq!(left, needed, "{plan}");
        assert_eq!(plan.entries.len(), usize::from(needed.len() < 18), "{plan}");
    }
}

#[test]
fn sizes_that_need_each_other_are_as_small_as_one_of_them_allows() {
    let scenario = Scenario::new(|run| run.size("a", 1..=9, 5) + run.size("b", 1..=9, 6) >= 7);
    // The first goes first: it may be 1 while the other is what the seed makes it.
    assert_eq!(scenario.lines(""), ["size a = 1"]);
    let scenario = Scenario::new(|run| run.size("a", 1..=9, 5) + run.size("b", 1..=9, 6) >= 9);
    assert_eq!(scenario.lines(""), ["size a = 3"]);
    let product = Scenario::new(|run| run.size("a", 1..=9, 5) * run.size("b", 1..=9, 6) >= 6);
    assert_eq!(product.lines(""), ["size a = 1"]);
}

#[test]
fn a_smaller_size_may_change_what_else_there_is() {
    // Each client has writes of its own, and of the last one there are more.
    let scenario = Scenario::new(|run| {
        let clients = run.size("clients", 2..=6, 6);
        let all = (0..clients).map(|client| {
            let count = run.size(&format!("writes-{client}"), 1..=20, 10 + client);
            let count = if client + 1 == clients { count + 2 } else { count };
            run.ops(&format!("writes-{client}"), count).len() as u64
        });
        all.sum::<u64>() >= 5
    });
    let shrunk = scenario.shrunk("size writes-5 = 19\nwithout writes-4 1-3\n");
    assert!(scenario.run(&shrunk.plan).0);
    let text = shrunk.plan.to_string();
    assert!(text.contains("\nsize clients = 2\n"), "{text}");
    let total = |plan: &Plan| {
        let counted = Scenario::new(|run: &mut Run<'_>| (scenario.fails)(run));
        counted.judge(plan).unbound.len()
    };
    assert_eq!(total(&shrunk.plan), 0, "nothing is left of clients that are gone: {text}");
    // A smaller number of hosts may as well make more of something else.
    let scenario = Scenario::new(|run| {
        let hosts = run.size("hosts", 1..=4, 4);
        let shards = run.size("shards", 1..=64 / hosts, 12);
        run.ops("moves", shards * 4 / hosts).len() > 2
    });
    let lines = scenario.lines("");
    assert_eq!(lines, ["size hosts = 1", "size shards = 1", "without moves 0"]);
}

#[test]
fn what_gets_smaller_lets_other_things_get_smaller_after_it() {
    // A seat for each guest: with no guests one seat is enough, and then one kill is.
    let scenario = Scenario::new(|run| {
        let seats = run.size("seats", 1..=9, 5);
        let guests = run.ops("guests", 5).len() as u64;
        let kills = ["kill a", "kill b"].into_iter().filter(|line| run.fault(line)).count() as u64;
        seats >= guests && kills >= seats.min(2)
    });
    let lines = scenario.lines(FAULTS);
    assert_eq!(lines, ["kill b at 2s", "without guests 0-4", "size seats = 1"]);
}

#[test]
fn a_failure_without_faults_may_need_a_large_workload() {
    let scenario = Scenario::new(|run| run.size("clients", 1..=100, 5) >= 37);
    assert_eq!(scenario.lines("size clients = 80\n"), ["size clients = 37"]);
    assert_eq!(scenario.lines("kill a at 1s\nsize clients = 999\n"), ["size clients = 37"]);
    // As many as the seed has need no line.
    let scenario = Scenario::new(|run| run.size("clients", 1..=100, 5) >= 5);
    assert!(scenario.lines("size clients = 80\n").is_empty());
    let largest = Scenario::new(|run| run.size("bytes", 0..=u64::MAX, u64::MAX / 3) > 1 << 40);
    assert_eq!(largest.lines(""), [format!("size bytes = {}", (1_u64 << 40) + 1)]);
}

#[test]
fn a_fault_less_is_worth_more_than_a_smaller_workload() {
    // With one client it takes two faults, with five one.
    let scenario = Scenario::new(|run| {
        let clients = run.size("clients", 1..=8, 6);
        let (a, b) = (run.fault("kill a"), run.fault("kill b"));
        a && (b || clients >= 5)
    });
    assert_eq!(scenario.lines(FAULTS), ["kill a at 1s", "size clients = 5"]);
    // Where fewer clients do without a fault, it goes.
    let scenario = Scenario::new(|run| {
        let clients = run.size("clients", 1..=8, 6);
        let (a, b) = (run.fault("kill a"), run.fault("kill b"));
        a && (b || clients == 1)
    });
    assert_eq!(scenario.lines(FAULTS), ["kill a at 1s", "size clients = 1"]);
}

#[test]
fn faults_that_no_longer_bind_are_taken_out_with_the_clients_that_they_were_about() {
    let scenario = Scenario::new(|run| {
        let clients = run.size("clients", 1..=3, 3);
        let hosts = ["a", "b", "c"].into_iter().take(clients as usize);
        let killed = hosts.filter(|host| run.fault(&format!("kill {host}"))).count() as u64;
        killed == clients
    });
    assert_eq!(scenario.lines(FAULTS), ["kill a at 1s", "size clients = 1"]);
}

#[test]
fn lines_between_faults_and_twice_become_one_behind_them() {
    let scenario = Scenario::new(|run| {
        let left = run.ops("writes", 12);
        left.contains(&6) && run.size("clients", 1..=8, 5) > 1 && run.fault("kill b")
    });
    let text = "without writes 3\nkill a at 1s\nsize clients = 7\nwithout writes 8,4-5\n\
                kill b at 2s\nsize clients = 4\nwithout reads 1\n";
    let expected = ["kill b at 2s", "size clients = 2", "without writes 0-5,7-11"];
    let mut lines = scenario.lines(text);
    lines.sort();
    assert_eq!(lines, expected);
    let never = Scenario::new(|_| false);
    let shrunk = shrink(&plan(text), &never, 1, Bounds::default());
    assert_eq!((shrunk.plan, shrunk.reproduced), (plan(text), false), "it is as it was given");
}

#[test]
fn a_name_that_is_asked_for_with_other_ranges_has_one_line() {
    let scenario = Scenario::new(|run| {
        let (few, many) = (run.size("n", 1..=3, 2), run.size("n", 2..=30, 20));
        few + many >= 9
    });
    assert_eq!(scenario.lines(""), ["size n = 6"]);
    let always = Scenario::new(|run| run.size("n", 1..=3, 2) + run.size("n", 2..=30, 20) > 0);
    assert_eq!(always.lines(""), ["size n = 1"]);
    assert_eq!(always.lines("size n = 0\n"), ["size n = 1"]);
}

#[test]
fn a_bound_in_the_middle_ends_it_with_the_same_plan_on_any_number_of_threads() {
    let scenario = Scenario::new(|run| {
        let (clients, count) = (run.size("clients", 1..=90, 70), run.size("writes", 1..=90, 80));
        let left = run.ops("writes", count);
        clients >= 11 && left.contains(&7) && left.contains(&40) && run.fault("kill b")
    });
    let whole = scenario.shrunk(FAULTS);
    assert_eq!(whole.plan.entries.len(), 4, "{}", whole.plan);
    for replays in 1..whole.replays {
        let bounds = Bounds { replays, ..Bounds::default() };
        let [one, three] = [1, 3].map(|jobs| shrink(&plan(FAULTS), &scenario, jobs, bounds));
        assert_eq!(one, three);
        assert!(!one.is_minimal && one.replays <= replays, "{one}");
        assert!(scenario.run(&one.plan).0, "{}", one.plan);
    }
    for events in [1, 9, 33] {
        let bounds = Bounds { events, ..Bounds::default() };
        assert_eq!(shrink(&plan(FAULTS), &scenario, 1, bounds).replays, events);
    }
    assert_eq!(
        shrink(&plan(FAULTS), &scenario, 1, Bounds { replays: whole.replays, ..Bounds::default() })
            .plan,
        whole.plan
    );
}

#[test]
fn each_run_is_one_of_the_replays_that_are_counted() {
    let scenario = Scenario::new(|run| {
        let count = run.size("writes", 1..=40, 33);
        run.ops("writes", count).contains(&5) && run.fault("kill b")
    });
    let shrunk = shrink(&plan(FAULTS), &scenario, 1, Bounds::default());
    assert_eq!(scenario.runs.into_inner(), shrunk.replays);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever sizes and operations it takes, no more is left.
    #[test]
    fn what_is_needed_is_what_is_left(
        sizes in proptest::collection::vec((0_u64..9, 0_u64..30, 0_u64..9), 0..4),
        needed in proptest::collection::btree_set(0_u64..25, 0..5),
        jobs in 1_usize..4,
    ) {
        let scenario = Scenario::new(|run| {
            let mut fails = run.fault("kill b");
            for (number, &(least, drawn, need)) in sizes.iter().enumerate() {
                let drawn = least + drawn;
                let value = run.size(&format!("size-{number}"), least..=least + 30, drawn);
                fails &= value >= (least + need).min(drawn);
            }
            let left: BTreeSet<u64> = run.ops("writes", 25).into_iter().collect();
            fails && needed.is_subset(&left)
        });
        let plan = shrink(&plan(FAULTS), &scenario, jobs, Bounds::default()).plan;
        let mut expected = BTreeMap::new();
        for (number, &(least, drawn, need)) in sizes.iter().enumerate() {
            if need < drawn {
                expected.insert(format!("size-{number}"), least + need);
            }
        }
        let said: BTreeMap<String, u64> = plan.entries.iter().filter_map(|entry| match entry {
            Entry::Workload(Workload::Size { name, value }) => Some((name.clone(), *value)),
            _ => None,
        }).collect();
        prop_assert_eq!(said, expected);
        let (_, run) = scenario.run(&plan);
        let left: BTreeSet<u64> = Run { offered: Vec::new(), ..run }.ops("writes", 25).into_iter().collect();
        prop_assert_eq!(left, needed);
        prop_assert_eq!(plan.faults().count(), 1);
    }
}
