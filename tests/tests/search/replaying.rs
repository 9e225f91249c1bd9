//! Plans that are replayed, from a test and by the environment.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sim_check::{PlanFile, check};
use sim_core::World;

async fn is_on_time(world: World) {
    let lp = world.host("n1");
    lp.sleep(Duration::from_secs(2)).await;
    sim_core::always!(world.time().since_epoch() < Duration::from_secs(3), "on time");
}

/// It is late if its host is paused, and nothing ever comes from port 9.
const LATE: &str = "pause n1 1s for 5s\ndrop n1@1→n1:9#7 syn\n";
const ON_TIME: &str = "drop n1@1→n1:9#7 syn\n";
const UNBOUND: &str = "drop n1@1→n1:9#7 syn";

/// What the environment has a check replay, when the tests below run this one.
#[test]
fn a_timer_is_on_time() {
    check("timer").seeds(1).corpus(folder("timer").join("corpus")).run(is_on_time);
}

/// A folder for one test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("replaying").join(test);
    std::fs::create_dir_all(&folder).expect("it can be made");
    folder
}

/// Runs the test above as a person would, under a plan.
fn under(plan: &str, test: &str, variables: &[(&str, &str)]) -> Output {
    let path = folder(test).join("given.plan");
    std::fs::write(&path, plan).expect("it can be written");
    let mut command = Command::new(std::env::current_exe().expect("it is running"));
    command.args(["--exact", "replaying::a_timer_is_on_time", "--nocapture"]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SIM_") {
            command.env_remove(name);
        }
    }
    command.env("SIM_PLAN", path).env("RUST_BACKTRACE", "0").envs(variables.iter().copied());
    command.output().expect("it can be started")
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_panic_under_a_plan_names_what_did_not_bind() {
    let output = under(LATE, "panic", &[]);
    let told = told(&output);
    assert!(!output.status.success(), "{told}");
    let begins = "\ntimer: on time, at tests/tests/search/replaying.rs:";
    assert!(told.contains(begins) && told.contains("\nthe plan (bound 1 of 2):\n"), "{told}");
    assert!(told.contains(&format!("\nunbound: {UNBOUND}\nreplay    SIM_PLAN=")), "{told}");
}

#[test]
fn a_plan_that_passes_and_does_not_bind_is_told() {
    let output = under(ON_TIME, "stale", &[]);
    let told = told(&output);
    assert!(output.status.success(), "{told}");
    assert!(told.contains(&format!("\nunbound: {UNBOUND}\n")), "{told}");
}

#[test]
fn every_record_is_printed_whether_the_plan_passes_or_fails() {
    for (plan, passes) in [("pause n1 1s for 1ms\n", true), (LATE, false)] {
        let traced = under(plan, "trace", &[("SIM_TRACE", "1")]);
        let plain = under(plan, "trace", &[]);
        assert_eq!((traced.status.success(), plain.status.success()), (passes, passes));
        // The first and the last thing that happens on the host: its task, and the end of its sleep.
        let records = |output: &Output| told(output).matches("  n1       #").count();
        assert!(records(&traced) > records(&plain) + 2, "{}", told(&traced));
        assert!(!passes || records(&plain) == 0, "{}", told(&plain));
    }
}

#[test]
fn a_plan_that_passes_is_run_once() {
    let path = folder("once").join("given.plan");
    std::fs::write(&path, ON_TIME).expect("it can be written");
    let runs = AtomicU64::new(0);
    let counted = |world| {
        runs.fetch_add(1, Ordering::Relaxed);
        is_on_time(world)
    };
    let verdict = check("timer")
        .replay_file(&PlanFile::read(&path).unwrap(), counted)
        .expect("it is a plan for it");
    let replayed = verdict.replayed.as_ref().expect("a plan was replayed");
    assert_eq!((replayed.bindings.bound(), replayed.bindings.len()), (0, 1));
    assert_eq!(replayed.hosts, ["n1"]);
    assert!(replayed.log.is_none(), "nobody asked for it");
    assert!(verdict.is_green() && runs.into_inner() == 1, "{verdict}");
}
