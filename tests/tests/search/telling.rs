//! What a verdict tells: nothing that failed is left out, and nothing that did nothing looks as if it had.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sim_check::{Check, Family, Origin, Profile, Verdict, check};
use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};
use sim_net::Plan;

struct Marks;

impl DatagramProtocol for Marks {
    fn datagram_received(
        &mut self,
        cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: SocketAddr,
    ) {
        let age = cx.event_loop().time().since_epoch();
        sim_core::always!(age != Duration::from_millis(1), "none is as quick as can be");
    }
}

/// Fails if a datagram takes the least that its link can take: it does where nothing goes wrong, and never by chance.
async fn too_quick(world: World) -> io::Result<()> {
    let (a, b) = (world.host("a"), world.host("b"));
    let _heard = b.datagram().local(("b", 9)).bind(|| Marks).await?;
    let source = a.datagram().remote(("b", 9)).bind(|| Marks).await?;
    source.transport().send_to(b"now", None)?;
    a.sleep(Duration::from_secs(1)).await;
    Ok(())
}

#[test]
fn a_calm_run_that_fails_is_a_failure_though_no_seed_is_calm_enough() {
    let latency = Duration::from_millis(1)..Duration::from_millis(9);
    let check = |profile| {
        let check = check("quick").seeds(40).jobs(1).profile(profile);
        check.sim(move |sim| sim.latency(latency.clone())).verdict(too_quick)
    };
    let verdict = check(Profile::only([Family::Drop]));
    let failed = verdict.failures.first().unwrap_or_else(|| panic!("{verdict}"));
    assert_eq!(failed.origin.to_string(), "seed 0 and no fault");
    assert_eq!((verdict.failures.len(), verdict.seeds), (1, 40), "{verdict}");
    assert_eq!(verdict.coverage, []);
    assert!(
        verdict.to_string().contains("1 run failed, of 40 seeds and the calm run"),
        "{verdict}"
    );
    let explanation = verdict.explanation.as_ref().unwrap_or_else(|| panic!("{verdict}"));
    assert_eq!(explanation.shrunk.plan.entries, []);
}

#[test]
fn a_calm_run_is_no_single_fault_though_the_check_has_a_plan_of_its_own() {
    let own: Plan = "pause a 1s..2s\n".parse().unwrap();
    let fails = |world: World| async move {
        world.host("a").sleep(Duration::from_secs(2)).await;
        Err::<(), _>(io::Error::other("always"))
    };
    let check = check("own").seeds(2).jobs(1).profile(Profile::only([Family::Spurious]));
    let verdict = check.sim(move |sim| sim.plan(&own).unwrap()).verdict(fails);
    let origins: Vec<String> = verdict.failures.iter().map(|it| it.origin.to_string()).collect();
    assert_eq!(origins, ["seed 0", "seed 0 and no fault but its own plan", "seed 1"]);
}

#[test]
fn failures_that_are_said_to_be_the_same_are_one_kind() {
    let verdict = |check: Check| check.seeds(60).jobs(1).verdict(three_ways);
    assert_eq!(verdict(check("die")).others.len(), 2);
    assert_eq!(verdict(check("die").same_failure(|_, _| true)).others.len(), 0);
}

#[test]
fn a_family_that_is_on_and_never_bites_is_named() {
    let families = [Family::Crash, Family::Pause, Family::Cut, Family::Cancel, Family::SpawnError];
    let verdict = |seeds| {
        let profile = Profile::only(families).mortals(["nobody"]);
        check("idle").seeds(seeds).profile(profile).verdict(|world: World| async move {
            world.host("a").sleep(Duration::from_secs(1)).await;
        })
    };
    let idle = ["host.crash", "host.pause", "partition.drop", "process.spawn", "task.cancel"];
    let all = verdict(100);
    assert!(all.idle_faults().eq(idle) && all.is_idle() && all.is_green(), "{all}");
    let told = format!("\nfaults that never bit: {}", idle.join(", "));
    assert!(all.to_string().contains(&told), "{all}");
    assert!(!verdict(99).is_idle(), "of few seeds that says little");
}

fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(fs::remove_dir_all(&folder));
    folder
}

/// Fails in three ways.
async fn three_ways(world: World) -> io::Result<()> {
    match world.rng("die").below(6) {
        0 => Err(io::Error::other("a one")),
        1 => Err(io::Error::other("a two")),
        2 => panic!("a three"),
        _ => Ok(()),
    }
}

#[test]
fn each_kind_of_failure_has_a_small_plan_that_is_kept_and_replayed() {
    let folder = folder("kinds");
    let verdict = |jobs| check("die").seeds(60).jobs(jobs).corpus(&folder).verdict(three_ways);
    let first = verdict(1);
    let errors = |verdict: &Verdict| {
        let all = [&verdict.failures[0]].into_iter().chain(&verdict.others);
        let mut told: Vec<String> = all
            .map(|failed| failed.error.split(',').next().unwrap_or_default().to_owned())
            .collect();
        told.sort_unstable();
        told
    };
    assert_eq!(errors(&first), ["a one", "a three", "a two"], "{first}");
    assert_eq!(first.others.len(), 2);
    for other in &first.others {
        let Origin::Kept(path, plan) = &other.origin else { panic!("{other:?}") };
        assert!(path.starts_with(&folder) && path.is_file());
        let again = check("die").replay(plan, three_ways);
        assert_eq!((&again.failures[0].error, again.failures[0].hash), (&other.error, other.hash));
        assert!(first.to_string().contains(&format!("made small: {}", other.error)), "{first}");
    }
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    // From then on they are known, and come first.
    let later = verdict(2);
    assert_eq!((later.corpus.replayed, later.others.len()), (3, 0), "{later}");
}

#[test]
fn a_first_seed_that_goes_otherwise_the_second_time_is_never_green() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    async fn odd(world: World) {
        let odd = RUNS.fetch_add(1, Ordering::Relaxed) % 2;
        world.host("a").sleep(Duration::from_millis(1 + odd)).await;
    }
    let verdict = check("odd").seeds(1).jobs(1).verdict(odd);
    let failed = verdict.failures.first().unwrap_or_else(|| panic!("{verdict}"));
    let difference = failed.difference.as_ref().unwrap_or_else(|| panic!("{verdict}"));
    assert!(difference.contains("\n- ") && difference.contains("\n+ "), "{difference}");

    // Odd for once, the next two runs are alike.
    static ONCE: AtomicU64 = AtomicU64::new(0);
    async fn once(world: World) {
        let first = u64::from(ONCE.fetch_add(1, Ordering::Relaxed) == 0);
        world.host("a").sleep(Duration::from_millis(1 + first)).await;
    }
    let verdict = check("once").seeds(1).jobs(1).verdict(once);
    let failed = verdict.failures.first().unwrap_or_else(|| panic!("{verdict}"));
    assert!(failed.difference.as_ref().is_some_and(|it| it.starts_with("trace hashes ")));
}

#[test]
fn what_fails_in_another_way_once_while_a_plan_is_made_small_is_not_passed_over() {
    static CALM_RUNS: AtomicU64 = AtomicU64::new(0);
    async fn unsteady(world: World) -> io::Result<()> {
        let boots = std::rc::Rc::new(std::cell::Cell::new(0));
        let count = std::rc::Rc::clone(&boots);
        world.boot("a", move |_| {
            count.set(count.get() + 1);
            std::future::pending::<io::Result<()>>()
        });
        world.sleep(Duration::from_secs(20)).await;
        if boots.get() == 2 {
            return Err(io::Error::other("it was started again"));
        }
        // The seed itself is run twice before.
        match CALM_RUNS.fetch_add(1, Ordering::Relaxed) {
            2 => Err(io::Error::other("once only")),
            _ => Ok(()),
        }
    }
    let folder = folder("unsteady");
    fs::create_dir_all(&folder).unwrap();
    let plan = "plan 1.0\nscenario unsteady\nseed 0x0\ncrash a 1s for 1s\n";
    fs::write(folder.join("unsteady.first.plan"), plan).unwrap();
    let verdict = check("unsteady").seeds(0).jobs(1).corpus(&folder).verdict(unsteady);
    assert_eq!(verdict.met.len(), 1, "{verdict}");
    let difference = verdict.met[0].difference.as_deref();
    assert_eq!(difference, Some("- failure once only\n+ it succeeds"));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "it is not kept");
}

#[test]
fn every_replay_says_what_it_found_also_a_green_one() {
    let plan: Plan = "pause a 100ms for 1s\nkill b at 1s\n".parse().unwrap();
    let verdict = check("replay").replay(&plan, |world: World| async move {
        world.host("a").sleep(Duration::from_secs(3)).await;
    });
    let told = verdict.to_string();
    assert!(told.starts_with("replay: green under the plan, bound 1 of 2 ("), "{told}");
    assert!(told.ends_with("\nunbound: kill b at 1s"), "{told}");
}
