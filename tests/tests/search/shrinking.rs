//! Failures of the zoo, made small: to what is known to be enough, on any number of threads.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use scenarios::zoo::{Specimen, specimens};
use sim_check::shrink::{Bounds, Shrunk};
use sim_check::{Check, Family, Origin, Profile, Verdict, check};
use sim_core::{Cx, DatagramProtocol, DatagramTransport, FaultMix, World};
use sim_net::plan::{Deviation, Entry, FaultSite};

fn found(specimen: &Specimen, jobs: usize) -> Verdict {
    let (mutant, twin) = ((specimen.mutant)(), (specimen.twin)());
    let profile = Profile::of(mutant.fault_mix().expect("it has one")).expect("its link is one");
    let check = check(specimen.id).seeds(2_000).jobs(jobs).profile(profile).stop_at_first(true);
    let verdict = check.shrinks(false).verdict(|world| mutant.run(world));
    let check = sim_check::check(specimen.id)
        .jobs(jobs)
        .profile(Profile::of(mutant.fault_mix().expect("it has one")).expect("its link is one"));
    check.explained(verdict, |world| mutant.run(world), |world| twin.run(world))
}

/// The same failure, the same small plan and the same number of replays, whoever was ready first.
#[test]
fn one_thread_and_two_give_the_same_plan() {
    for specimen in specimens().iter().step_by(3) {
        let [one, two] = [1, 2].map(|jobs| {
            let verdict = found(specimen, jobs);
            let first = verdict.failures.first().unwrap_or_else(|| panic!("{}", specimen.id));
            let shrunk = verdict.explanation.as_ref().map(|it| it.shrunk.clone());
            (first.origin.clone(), shrunk.unwrap_or_else(|| panic!("{verdict}")))
        });
        assert_eq!(one, two, "{}", specimen.id);
    }
}

/// Every bug is found, and what it comes down to is the known minimum and passes for the twin.
#[test]
fn every_bug_comes_down_to_its_known_minimum() {
    for specimen in specimens() {
        let verdict = found(&specimen, 2);
        let explanation =
            verdict.explanation.as_ref().unwrap_or_else(|| panic!("{}: {verdict}", specimen.id));
        let plan = &explanation.shrunk.plan;
        assert_eq!(plan.faults().count(), specimen.minimum, "{}: {plan}", specimen.id);
        assert_eq!(explanation.bound, specimen.minimum, "{}: {plan}", specimen.id);
        assert_eq!(explanation.steps.len(), specimen.minimum, "{}: {plan}", specimen.id);
        let lines = plan.entries.len() + explanation.story.len() + 1;
        assert!(lines <= 25, "{}: {lines} lines", specimen.id);
    }
}

/// Counts each 100 ms, and fails if it forgets a three.
async fn counts(world: World) -> io::Result<()> {
    let (highest, forgotten) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let cells = (Rc::clone(&highest), Rc::clone(&forgotten));
    world.boot("a", move |host| {
        let (highest, forgotten) = cells.clone();
        async move {
            forgotten.set(highest.get());
            for count in 0.. {
                highest.set(count);
                host.sleep(Duration::from_millis(100)).await;
            }
            Ok::<(), io::Error>(())
        }
    });
    world.sleep(Duration::from_secs(20)).await;
    if forgotten.get() < 3 { Ok(()) } else { Err(io::Error::other("a three is forgotten")) }
}

/// At 300 ms the host counts to three: whenever a crash comes behind that, the first moment is told, and it is round.
#[test]
fn a_crash_is_moved_to_the_earliest_turn_behind_which_it_does_the_same() {
    for (late, early) in [
        ("crash a 7.7654321s for 3s", "crash a 310ms for 1ms"),
        ("crash a 300000001ns for 3s", "crash a 310ms for 1ms"),
    ] {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("earliest");
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(&folder).unwrap();
        let plan = format!("plan 1.0\nscenario counts\nseed 0x0\n{late}\n");
        fs::write(folder.join("counts.first.plan"), plan).unwrap();
        let small = |jobs: usize| {
            let verdict = check("counts").seeds(0).jobs(jobs).corpus(&folder).verdict(counts);
            let explanation = verdict.explanation.unwrap_or_else(|| panic!("{late}"));
            (explanation.shrunk.plan.entries[0].to_string(), explanation.shrunk.replays)
        };
        let one = small(1);
        assert_eq!(one.0, early, "{late}");
        assert_eq!(one, small(2), "{late}");
    }
}

/// When each datagram came, by the number in it.
type Heard = Rc<RefCell<BTreeMap<u8, Duration>>>;

struct Listener(Heard);

impl DatagramProtocol for Listener {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        _from: SocketAddr,
    ) {
        let now = cx.event_loop().time().since_epoch();
        self.0.borrow_mut().entry(data[0]).or_insert(now);
    }
}

const DATAGRAMS: u8 = 40;
const APART: Duration = Duration::from_millis(20);

/// Sends so many datagrams from `from` to `a`, one behind the other, and says when each came.
async fn heard(world: World) -> io::Result<BTreeMap<u8, Duration>> {
    let heard = Heard::default();
    let (from, a) = (world.host("from"), world.host("a"));
    let _listening = a.datagram().local(("a", 7000)).bind(|| Listener(Rc::clone(&heard))).await?;
    let to = from.getaddrinfo(("a", 7000)).await?[0];
    let sender = from.datagram().local(("from", 7000)).bind(|| Listener(Heard::default())).await?;
    for number in 0..DATAGRAMS {
        sender.transport().send_to(&[number], Some(to))?;
        world.sleep(APART).await;
    }
    world.sleep(Duration::from_secs(1)).await;
    Ok(heard.take())
}

/// What a check's failure came down to, the same on one thread and on two.
fn came_down_to(check: impl Fn(usize) -> Verdict) -> Shrunk {
    let [one, two] = [1, 2].map(|jobs| {
        let verdict = check(jobs);
        assert!(matches!(verdict.failures[0].origin, Origin::Seed(_)), "{verdict}");
        verdict.explanation.as_ref().unwrap_or_else(|| panic!("{verdict}")).shrunk.clone()
    });
    assert_eq!(one, two);
    one
}

async fn one_comes_late(world: World) -> io::Result<()> {
    let heard = heard(world).await?;
    let took = heard[&17] - APART * 17;
    if took < Duration::from_millis(7) { Ok(()) } else { Err(io::Error::other("17 comes late")) }
}

/// Of all that a link's jitter does, the one packet is named that matters, with as much as it takes.
#[test]
fn one_late_packet_comes_down_to_a_line_that_names_it() {
    let latency = Duration::from_millis(1)..Duration::from_millis(9);
    let shrunk = came_down_to(|jobs| {
        check("late").seeds(100).jobs(jobs).latency(latency.clone()).verdict(one_comes_late)
    });
    assert!(shrunk.is_minimal, "{shrunk}");
    let [Entry::Deviation(delay @ Deviation { site: FaultSite::Delay, near: Some(near), .. })] =
        &shrunk.plan.entries[..]
    else {
        panic!("{}", shrunk.plan);
    };
    assert_eq!((near.ordinal, near.length), (17, 1));
    // One millisecond it takes anyway.
    assert!(delay.to_string().contains(" +6ms "), "{delay}");
}

/// A check whose seeds lose much, and cut hosts off.
fn lossy(seeds: u64, jobs: usize) -> Check {
    let profile = lossy_profile();
    check("lossy").seeds(seeds).jobs(jobs).singles(false).stop_at_first(true).profile(profile)
}

fn lossy_profile() -> Profile {
    const MIX: FaultMix = FaultMix::new("latency=1ms,loss=50%")
        .cuts(1, Duration::from_secs(3))
        .within(Duration::from_secs(1));
    Profile::of(&MIX).expect("it is a link")
}

async fn three_in_a_row(world: World) -> io::Result<()> {
    let heard = heard(world).await?;
    let is_lost = |number: u8| !heard.contains_key(&number);
    // Between the others some must have come, or whatever cuts them off for long would do.
    let is_wrong = (10..DATAGRAMS - 12).any(|first| (first..first + 3).all(is_lost));
    if is_wrong { Err(io::Error::other("three in a row are lost")) } else { Ok(()) }
}

/// No loss of three is needed for it, and none of two does: a single cut is simpler, and nothing that the seed did.
#[test]
fn several_faults_become_the_single_one_that_does_the_same() {
    let shrunk = came_down_to(|jobs| lossy(50, jobs).verdict(three_in_a_row));
    assert!(shrunk.is_minimal && shrunk.before > 3, "{shrunk}");
    let line = shrunk.plan.entries[0].to_string();
    assert!(shrunk.plan.entries.len() == 1, "{}", shrunk.plan);
    assert!(line.starts_with("isolate ") || line.starts_with("cut "), "{line}");
}

/// The search for a single fault takes its replays from the same bounds, and so does making that one small.
#[test]
fn no_more_is_replayed_than_the_bounds_allow() {
    let shrunk = |replays: u64, events: u64| {
        let bounds = Bounds { replays, events };
        let verdict = lossy(50, 1).shrink_bounds(bounds).verdict(three_in_a_row);
        verdict.explanation.unwrap_or_else(|| panic!("a replay is left")).shrunk
    };
    let whole = shrunk(u64::MAX, u64::MAX);
    assert!(whole.is_minimal && whole.plan.entries.len() == 1, "{whole}");
    let mut singles = 0;
    for replays in 1..=whole.replays {
        let bounded = shrunk(replays, u64::MAX);
        assert!(bounded.replays <= replays, "{replays}: {bounded}");
        assert!(!bounded.is_minimal, "{replays}: {bounded}");
        singles += u64::from(bounded.plan.entries.len() == 1);
    }
    assert!(singles > 1, "what is found with the last replay counts");
    // The last run that counts may go beyond what is left, and no other may follow.
    let most = whole.events / whole.replays * 3;
    for part in 1..10 {
        let bounded = shrunk(u64::MAX, whole.events * part / 10);
        assert!(bounded.events <= whole.events * part / 10 + most, "{part}: {bounded}");
    }
}

/// Fails if all of these are lost, under losses alone: a cut would do.
fn lost(numbers: &'static [u8], jobs: usize) -> Verdict {
    lost_in(losses_alone(2_000, jobs), numbers)
}

fn losses_alone(seeds: u64, jobs: usize) -> Check {
    lossy(seeds, jobs).profile(lossy_profile().without(Family::Cut))
}

fn lost_in(check: Check, numbers: &'static [u8]) -> Verdict {
    check.verdict(move |world: World| async move {
        let heard = heard(world).await?;
        match numbers.iter().any(|number| heard.contains_key(number)) {
            true => Ok(()),
            false => Err(io::Error::other("all that matters is lost")),
        }
    })
}

/// No fewer do, no single fault does, and nothing else is left.
#[test]
fn so_many_lost_datagrams_as_it_takes_are_what_is_left() {
    for numbers in [&[3_u8, 9, 30][..], &[3, 9, 21, 30]] {
        let shrunk = came_down_to(|jobs| lost(numbers, jobs));
        assert!(shrunk.is_minimal, "{shrunk}");
        let drops = shrunk.plan.entries.iter().map(|entry| match entry {
            Entry::Deviation(Deviation { site: FaultSite::Loss, near: Some(near), .. }) => {
                near.ordinal
            }
            other => panic!("{other}"),
        });
        let expected: Vec<u64> = numbers.iter().map(|&number| u64::from(number)).collect();
        assert_eq!(drops.collect::<Vec<u64>>(), expected, "{}", shrunk.plan);
    }
}

/// A plan of the corpus says it in the order in which somebody wrote it.
#[test]
fn the_lines_of_a_small_plan_stand_as_the_steps_of_the_report_do() {
    const NUMBERS: &[u8] = &[3, 9, 30];
    let expected = came_down_to(|jobs| lost(NUMBERS, jobs)).plan;
    let mut written = expected.clone();
    written.entries.reverse();
    assert_ne!(written, expected);
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("order");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("lossy.first.plan"), written.to_string()).unwrap();
    let [one, two] = [1, 2].map(|jobs| {
        let verdict = lost_in(losses_alone(0, jobs).corpus(&folder), NUMBERS);
        let explanation = verdict.explanation.unwrap_or_else(|| panic!("it fails"));
        let steps: Vec<Entry> = explanation.steps.iter().map(|it| it.entry.clone()).collect();
        assert_eq!(steps, explanation.shrunk.plan.entries);
        explanation.shrunk
    });
    assert_eq!(one.plan, expected, "{one}");
    assert_eq!(one, two);
}
