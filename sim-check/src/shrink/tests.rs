//! Shrinking with judges that know what fails.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use sim_core::Time;
use sim_net::Plan;
use sim_net::plan::{Action, Condition, Entry, Environment, Fault, Incident};

use super::trials::{Trials, key};
use super::{Bounds, Judge, Offered, Trial, shrink};

fn plan(text: &str) -> Plan {
    text.parse().unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

/// A plan with `drops` lost packets of two flows, and some scheduled faults.
fn large(drops: usize) -> Plan {
    let mut text = String::from("cut a b 1.234567s..4.2s\ncrash b 5.5s for 200ms\n");
    for n in 0..drops {
        let flow = if n % 3 == 0 { "a@1→b:7000#1" } else { "a@1←b:7000#1" };
        text += &format!("drop {flow} data {}\n", 1 + n * 1_448);
    }
    plan(&text)
}

/// Interesting if the plan has all of these lines, whatever their values behind the first words.
fn needs(lines: &[&str]) -> impl Fn(&Plan) -> Trial + Sync {
    let lines: Vec<String> = lines.iter().map(|&line| line.to_owned()).collect();
    move |plan: &Plan| {
        let text = plan.to_string();
        let has = |line: &String| text.lines().any(|found| found.starts_with(line.as_str()));
        Trial { interesting: lines.iter().all(has), events: 1, ..Trial::default() }
    }
}

#[test]
fn what_is_needed_is_found_among_much_and_nothing_else_is_left() {
    let needed = ["drop a@1→b:7000#1 data 130321", "drop a@1←b:7000#1 data 1449"];
    let shrunk = shrink(&large(400), &needs(&needed), 1, Bounds::default());
    let lines: Vec<String> = shrunk.plan.entries.iter().map(ToString::to_string).collect();
    assert_eq!(lines, [needed[1], needed[0]]);
    assert!(shrunk.is_minimal && shrunk.reproduced);
    assert!(shrunk.replays < 120, "{}", shrunk.replays);
    assert_eq!(shrunk.before, 402);
}

#[test]
fn any_number_of_threads_gives_the_same_plan_in_the_same_number_of_replays() {
    let needed = ["drop a@1→b:7000#1 data 130321", "cut a", "drop a@1←b:7000#1 data 1449"];
    let one = shrink(&large(300), &needs(&needed), 1, Bounds::default());
    for jobs in [2, 3, 8] {
        assert_eq!(shrink(&large(300), &needs(&needed), jobs, Bounds::default()), one);
    }
    // With any bound, too.
    for replays in [1, 7, 20] {
        let bounds = Bounds { replays, ..Bounds::default() };
        let one = shrink(&large(300), &needs(&needed), 1, bounds);
        assert!(!one.is_minimal && one.replays <= replays);
        assert_eq!(shrink(&large(300), &needs(&needed), 4, bounds), one);
    }
}

#[test]
fn a_failure_that_needs_no_fault_has_an_empty_plan() {
    let always = |_: &Plan| Trial { interesting: true, ..Trial::default() };
    let shrunk = shrink(&large(50), &always, 2, Bounds::default());
    assert!(shrunk.plan.entries.is_empty() && shrunk.replays <= 2);
}

#[test]
fn a_plan_that_does_not_fail_is_left_as_it_is() {
    let never = |_: &Plan| Trial::default();
    let shrunk = shrink(&large(50), &never, 2, Bounds::default());
    assert_eq!((shrunk.plan, shrunk.reproduced, shrunk.is_minimal), (large(50), false, false));
}

#[test]
fn what_does_not_bind_is_gone_without_being_asked_about() {
    // Two thirds of the plan bind to nothing.
    let asked = AtomicU64::new(0);
    let judge = |plan: &Plan| {
        let unbound: Vec<usize> = (0..plan.entries.len())
            .filter(|&place| plan.entries[place].to_string().contains('←'))
            .collect();
        asked.fetch_add(u64::from(!unbound.is_empty()), Ordering::Relaxed);
        let interesting = plan.to_string().contains("data 1\n");
        Trial { interesting, unbound, events: 1, otherwise: None }
    };
    let shrunk = shrink(&large(40), &judge, 1, Bounds::default());
    assert_eq!(shrunk.plan.to_string(), "plan 1.0\ndrop a@1→b:7000#1 data 1\n");
    assert_eq!(asked.into_inner(), 1, "only the plan as it was given has such entries");
}

#[test]
fn values_become_short_round_and_one_sided() {
    let shrunk = |text: &str, judge: &(dyn Fn(&Plan) -> bool + Sync)| {
        let judge = |plan: &Plan| Trial {
            interesting: !plan.entries.is_empty() && judge(plan),
            ..Trial::default()
        };
        shrink(&plan(text), &judge, 1, Bounds::default()).plan.entries[0].to_string()
    };
    let any = |_: &Plan| true;
    assert_eq!(shrunk("cut a,b | c,d 1.234567s..9.87s", &any), "cut a->c 1s..1.001s");
    assert_eq!(shrunk("crash b 5.512s for 200ms new-address", &any), "crash b 5s for 1ms");
    assert_eq!(shrunk("rst@99 a@1→b:7000#1 to both", &any), "rst@99 a@1→b:7000#1 to sender");
    assert_eq!(
        shrunk("delay a@1→b:7000#1 data 1 +37219us", &any),
        "delay a@1→b:7000#1 data 1 +1us"
    );
    let long = |plan: &Plan| match &plan.entries[0] {
        Entry::Deviation(delay) => delay.value > 30_000_000,
        _ => false,
    };
    let delay = "delay a@1→b:7000#1 data 1 +37219us";
    assert_eq!(shrunk(delay, &long), "delay a@1→b:7000#1 data 1 +32ms", "just enough");
    let delay = shrunk("delay a@1→b:7000#1 data 1 +372191us", &long);
    assert_eq!(delay, "delay a@1→b:7000#1 data 1 +50ms");
}

#[test]
fn what_needs_more_than_a_round_time_has_just_enough() {
    let shrunk = |text: &str, needed: Duration| {
        let judge = |plan: &Plan| {
            let lasts = match plan.entries.first() {
                Some(Entry::Deviation(deviation)) => deviation.delay(),
                Some(Entry::Fault(fault)) => Some(fault.length().unwrap_or(Duration::MAX)),
                _ => None,
            };
            Trial { interesting: lasts.is_some_and(|it| it >= needed), ..Trial::default() }
        };
        let shrunk = shrink(&plan(text), &judge, 1, Bounds::default());
        (shrunk.plan.entries[0].to_string(), shrunk.replays)
    };
    let us = Duration::from_micros;
    let late = "delay a@1→b:7000#1 data 1 +37219us";
    let (small, replays) = shrunk(late, us(20_500));
    assert_eq!(small, "delay a@1→b:7000#1 data 1 +22ms");
    assert!(replays < 25, "{replays}");
    assert_eq!(shrunk(late, us(37_000)).0, late, "nothing shorter is enough");
    let down = |text: &str| shrunk(text, us(20_500_000)).0;
    assert_eq!(down("crash a 1s for 29s"), "crash a 1s for 22s");
    assert_eq!(down("cut a->b 1s for 21s"), "cut a->b 1s..22s");
    assert_eq!(down("cut a->b 1s.. permanent"), "cut a->b 1s..61s");
    let copy = "duplicate a@1→b:7000#1 data 1 +37219us";
    assert_eq!(shrunk(copy, us(20_500)).0, "duplicate a@1→b:7000#1 data 1 +22ms");
    assert_eq!(shrunk(copy, us(0)).0, "duplicate a@1→b:7000#1 data 1");
}

#[test]
fn what_is_held_back_slow_late_or_for_ever_becomes_as_little_of_that_as_is_needed() {
    let shrunk = |text: &str, needed: Duration| {
        let judge = |plan: &Plan| {
            let lasts = match plan.entries.first() {
                Some(Entry::Deviation(deviation)) => deviation.delay(),
                Some(Entry::Fault(Fault {
                    action: Action::Interval { condition: Condition::Slow { cost, .. }, .. },
                    ..
                })) => Some(*cost),
                _ => None,
            };
            Trial { interesting: lasts.is_some_and(|it| it >= needed), ..Trial::default() }
        };
        shrink(&plan(text), &judge, 1, Bounds::default()).plan.entries[0].to_string()
    };
    let ms = Duration::from_millis;
    let coalesce = "coalesce@5 a@1→b:7000#1 +176492056ns";
    assert_eq!(shrunk(coalesce, Duration::ZERO), "coalesce@5 a@1→b:7000#1");
    assert_eq!(shrunk(coalesce, ms(60)), "coalesce@5 a@1→b:7000#1 +100ms");
    let late = "dns-delay a@1/names nr 0 +176492056ns";
    assert_eq!(shrunk(late, ms(60)), "dns-delay a@1/names nr 0 +100ms");
    assert_eq!(shrunk("slow a 1s for 1ms by 7654321ns", ms(2)), "slow a 1s..1.001s by 2ms");

    let kept = |text: &str| {
        let judge =
            |plan: &Plan| Trial { interesting: !plan.entries.is_empty(), ..Trial::default() };
        shrink(&plan(text), &judge, 1, Bounds::default()).plan.entries[0].to_string()
    };
    let off = |text: &str, least: u64| {
        let judge = |plan: &Plan| {
            let amount = match plan.entries.first() {
                Some(Entry::Clock(clock)) => clock.offset_nanos.max(clock.drift_ppb * 1_000_000),
                Some(Entry::Fault(Fault {
                    action: Action::Moment(Incident::ClockStep { step_nanos, .. }),
                    ..
                })) => step_nanos.saturating_neg(),
                _ => 0,
            };
            let interesting = u64::try_from(amount).is_ok_and(|amount| amount >= least);
            Trial { interesting, ..Trial::default() }
        };
        shrink(&plan(text), &judge, 1, Bounds::default()).plan.entries[0].to_string()
    };
    let late = "clock a offset +3528185954454ns drift -7777ppb";
    assert_eq!(off(late, 1), "clock a offset +1us");
    assert_eq!(off(late, 1_800_000_000_000), "clock a offset +30m");
    assert_eq!(off(late, 2_000_000_000_000), "clock a offset +36m");
    assert_eq!(off("clock a offset -1ms drift +77777ppb", 60_000_000_000), "clock a drift +60ppm");
    assert_eq!(off("clock a at 1s step -1234567890ns", 600_000_000), "clock a at 1s step -1s");

    assert_eq!(kept("crash a 1s for 1ms permanent"), "crash a 1s for 1ms");
    assert_eq!(kept("kill a at 1s permanent"), "kill a at 1s");
    assert_eq!(kept("clock a offset +1ns permanent"), "clock a offset +1ns");
}

#[test]
fn the_end_of_time_is_no_panic() {
    for text in [
        "cut a b 18446744073.7s for 1s",
        "crash a 18446744073.709551615s for 1s",
        "kill a at 18446744073709551615ns",
    ] {
        let judge =
            |plan: &Plan| Trial { interesting: !plan.entries.is_empty(), ..Trial::default() };
        assert_eq!(shrink(&plan(text), &judge, 1, Bounds::default()).plan.entries.len(), 1);
    }
}

/// Where two hosts are stopped, the turns of each may depend on when the other is.
#[test]
fn stops_that_move_each_others_turns_come_to_rest() {
    const fn ms(millis: u64) -> Time {
        Time::from_nanos(millis * 1_000_000)
    }
    struct Chasing;
    impl Chasing {
        fn time(plan: &Plan, host: &str) -> Option<Time> {
            let begins = format!("crash {host} ");
            plan.entries.iter().find_map(|entry| match entry {
                Entry::Fault(fault) if entry.to_string().starts_with(&begins) => fault.start.time(),
                _ => None,
            })
        }
    }
    impl Judge for Chasing {
        /// Both must crash, each behind its first turn.
        fn judge(&self, plan: &Plan) -> Trial {
            let is_late = |host| Self::time(plan, host).is_some_and(|time| time > ms(1));
            Trial { interesting: is_late("a") && is_late("b"), events: 1, ..Trial::default() }
        }
        fn offered(&self, plan: &Plan) -> Offered {
            let turns = |more: bool| {
                if more { vec![ms(1), ms(500), ms(2_000)] } else { vec![ms(1), ms(2_000)] }
            };
            // At 500 ms a hears of b if that is alive then, and b notices it if a is gone.
            let a = Self::time(plan, "b").map(|b| ("a".to_owned(), turns(b > ms(500))));
            let b = Self::time(plan, "a").map(|a| ("b".to_owned(), turns(a < ms(500))));
            Offered { turns: a.into_iter().chain(b).collect(), ..Offered::default() }
        }
    }
    let two = plan("crash a 100ms for 1ms\ncrash b 100ms for 1ms\n");
    let shrunk = shrink(&two, &Chasing, 1, Bounds::default());
    assert!(shrunk.is_minimal && shrunk.replays < 60, "{shrunk}");
}

#[test]
fn nothing_is_judged_twice() {
    let asked = AtomicU64::new(0);
    let inner = needs(&["drop a@1→b:7000#1 data 130321"]);
    let judge = |plan: &Plan| {
        asked.fetch_add(1, Ordering::Relaxed);
        inner(plan)
    };
    let shrunk = shrink(&large(300), &judge, 1, Bounds::default());
    assert_eq!(asked.into_inner(), shrunk.replays);
}

#[test]
fn candidates_are_made_when_they_are_judged_and_not_before() {
    let whole = large(300);
    for jobs in [1, 2] {
        let made = AtomicU64::new(0);
        let make = |n: usize| {
            made.fetch_add(1, Ordering::Relaxed);
            Plan { entries: vec![whole.entries[n].clone()], ..Plan::new() }
        };
        let judge = |plan: &Plan| Trial {
            interesting: plan.entries == whole.entries[10..11],
            unbound: vec![0],
            events: 1,
            otherwise: None,
        };
        let mut trials = Trials::new(&judge, jobs, Bounds::default());
        let (found, trial) = trials.first_interesting(300, &make).unwrap();
        assert_eq!((found, trial.unbound, trials.spent().replays), (10, vec![0], 11));
        assert!((11..=16).contains(&made.load(Ordering::Relaxed)));
    }
}

#[test]
fn plans_that_differ_in_anything_are_remembered_apart() {
    let texts = [
        "",
        "seed 1\n",
        "scenario x\n",
        "kill a at 1s\n",
        "kill a at 1s\nkill b at 1s\n",
        "kill b at 1s\nkill a at 1s\n",
        "kill a at 1s permanent\n",
        "kill ab at 1s\n",
    ];
    let keys: BTreeSet<_> = texts.iter().map(|text| key(&plan(text))).collect();
    assert_eq!(keys.len(), texts.len());
    assert!(texts.iter().all(|text| keys.contains(&key(&plan(text)))));
    assert!(keys.iter().all(|[one, other]| one != other));
}

/// A run in which so many packets came late that a plan leaves to its seed, each by a time of its own; and which fails if
/// some of these do.
struct Jittered {
    packets: u64,
    late: Vec<u64>,
}

impl Jittered {
    fn delay(packet: u64) -> String {
        format!(
            "delay a@1→b:7/udp#1 dgram {packet:#018x} +{}us near {packet} len 1",
            2_000 + packet
        )
    }

    fn shrunk(&self, text: &str) -> Vec<String> {
        let [one, two] = [1, 2].map(|jobs| shrink(&plan(text), self, jobs, Bounds::default()));
        assert_eq!(one, two);
        assert!(one.reproduced && one.is_minimal && one.replays < 150, "{one}");
        one.plan.entries.iter().map(ToString::to_string).collect()
    }
}

impl Judge for Jittered {
    fn judge(&self, plan: &Plan) -> Trial {
        let text = plan.to_string();
        let is_left = text.contains("jitter a->b");
        let mut comes_late = self
            .late
            .iter()
            .map(|packet| is_left || text.contains(&format!("dgram {packet:#018x}")));
        let interesting = comes_late.all(|late| late) && text.contains("kill b");
        Trial { interesting, events: 1, ..Trial::default() }
    }

    fn split(&self, plan: &Plan, environment: &[Environment]) -> Option<Plan> {
        let kept = plan.entries.iter().filter(|entry| match entry {
            Entry::Environment(left) => !environment.contains(left),
            _ => true,
        });
        let mut text: String = kept.map(|entry| format!("{entry}\n")).collect();
        if environment.iter().any(|it| it.to_string() == "jitter a->b") {
            text.extend((0..self.packets).map(|packet| Self::delay(packet) + "\n"));
        }
        Some(self::plan(&text))
    }
}

#[test]
fn what_is_left_to_the_seed_is_said_packet_by_packet_where_that_takes_no_more_lines() {
    let text = "jitter a->b\nkill b at 1s\njitter b->a\n";
    let one = Jittered { packets: 400, late: vec![137] };
    let delay = "delay a@1→b:7/udp#1 dgram 0x0000000000000089 +1us near 137 len 1";
    assert_eq!(one.shrunk(text), ["kill b at 1s", delay]);
    // Two lines say no more than one.
    let two = Jittered { packets: 400, late: vec![5, 137] };
    assert_eq!(two.shrunk(text), ["jitter a->b", "kill b at 1s"]);
    let all = Jittered { packets: 400, late: (0..400).collect() };
    assert_eq!(all.shrunk(text), ["jitter a->b", "kill b at 1s"]);
}

#[test]
fn a_bound_may_end_it_while_it_looks_into_the_jitter() {
    let judge = Jittered { packets: 400, late: vec![137] };
    let text = plan("jitter a->b\nkill b at 1s\njitter b->a\n");
    for replays in 1..40 {
        let bounds = Bounds { replays, ..Bounds::default() };
        let [one, two] = [1, 3].map(|jobs| shrink(&text, &judge, jobs, bounds));
        assert_eq!(one, two);
        assert!(one.replays <= replays && judge.judge(&one.plan).interesting, "{one}");
        assert!(one.plan.entries.len() <= 3, "{}", one.plan);
    }
}

/// Fails whatever the plan says, as long as that are all of its lines; each is carried out in the second that its line
/// ends with.
struct Told {
    lines: Vec<&'static str>,
    /// The only order in which it fails, if not in all.
    only: Option<&'static str>,
}

impl Judge for Told {
    fn judge(&self, plan: &Plan) -> Trial {
        let text = plan.to_string();
        let has_all = self.lines.iter().all(|line| text.contains(line));
        let in_order = self.only.is_none_or(|only| text.ends_with(only));
        Trial { interesting: has_all && in_order, events: 1, ..Trial::default() }
    }

    fn offered(&self, plan: &Plan) -> Offered {
        let second = |entry: &Entry| {
            let text = entry.to_string();
            let digit = text.chars().last().and_then(|last| last.to_digit(10));
            digit.map(|digit| Time::from_nanos(u64::from(digit) * 1_000_000_000))
        };
        Offered { times: plan.entries.iter().map(second).collect(), ..Offered::default() }
    }
}

#[test]
fn entries_stand_in_the_order_of_what_they_do_if_it_fails_in_that_order() {
    let lines = vec!["size x = 2", "drop a@1→b:7#1 data 6", "jitter a->b", "drop a@1→b:7#1 data 3"];
    let text = lines.join("\n");
    let told = |only| {
        let shrunk =
            shrink(&plan(&text), &Told { lines: lines.clone(), only }, 1, Bounds::default());
        assert!(shrunk.is_minimal);
        shrunk.plan.to_string()
    };
    let ordered = "drop a@1→b:7#1 data 3\ndrop a@1→b:7#1 data 6\njitter a->b\nsize x = 2\n";
    assert_eq!(told(None), format!("plan 1.0\n{ordered}"));
    let other = "drop a@1→b:7#1 data 6\njitter a->b\ndrop a@1→b:7#1 data 3\nsize x = 2\n";
    assert_eq!(told(Some(other)), format!("plan 1.0\n{other}"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever must be there, in any combination, is what is left.
    #[test]
    fn any_set_of_needed_entries_is_what_is_left(
        needed in proptest::collection::btree_set(0_usize..60, 0..6),
        jobs in 1_usize..4,
    ) {
        let whole = large(60);
        let wanted: Vec<_> = needed.iter().map(|&n| whole.entries[n + 2].clone()).collect();
        let judge = |plan: &Plan| Trial {
            interesting: wanted.iter().all(|entry| plan.entries.contains(entry)),
            ..Trial::default()
        };
        let shrunk = shrink(&whole, &judge, jobs, Bounds::default());
        prop_assert_eq!(&shrunk.plan.entries, &wanted);
    }
}
