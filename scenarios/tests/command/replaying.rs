//! What a replay tells of its plan and of its run.

use serde_json::{Value, json as array};

use super::{fails, folder, json, printed, run, text};

const UNBOUND: &str = "drop client-0@1→server:1#9 syn";
const BOUND: &str = "cut client-0 server 1ms..1s";

/// A plan of which one entry finds what it is about, and the other does not; it passes.
fn half_bound(test: &str) -> String {
    let path = folder(test).join("half.plan");
    let plan = format!("plan 1.0\nscenario rpc\nseed 3\n{BOUND}\n{UNBOUND}\n");
    std::fs::write(&path, plan).expect("it can be written");
    path.display().to_string()
}

#[test]
fn entries_that_do_not_bind_are_named() {
    let plan = half_bound("unbound");
    let said = printed(&format!("replay {plan}"));
    assert!(said.contains(&format!("\nunbound: {UNBOUND}\n")), "{said}");
    assert!(
        said.starts_with("rpc: green under the plan, bound 1 of 2 (") && !said.contains("earlier"),
        "{said}"
    );
    for how in ["replay", "explain"] {
        let told = json(&format!("{how} {plan} --json"));
        assert_eq!((&told["bound"], &told["unbound"]), (&array!([BOUND]), &array!([UNBOUND])));
    }
}

#[test]
fn entries_of_a_failing_plan_that_do_not_bind_are_named() {
    let plan = super::failing_plan(&folder("unbound-failure"));
    let bound = std::fs::read_to_string(&plan).expect("it was written");
    let unbound = "drop subscriber@1→publisher:7000#9 syn";
    std::fs::write(&plan, format!("{bound}{unbound}\n")).expect("it can be written");
    let line = format!("replay {}", plan.display());
    let output = run(&line);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("(bound 1 of 2):\n"), "{said}");
    assert!(said.contains(&format!("\nunbound: {unbound}\n")), "{said}");
    assert!(said.contains("\nthe run of the plan failed (") && !said.contains("seeds"), "{said}");
    let output = run(&format!("{line} --json"));
    let told: Value = serde_json::from_str(text(&output.stdout)).expect("it is JSON");
    let has_workload = |line: &&str| line.starts_with("size ");
    let entry = bound.lines().rfind(|line| !has_workload(line)).expect("it has one");
    assert_eq!((&told["bound"], &told["unbound"]), (&array!([entry]), &array!([unbound])));
    assert_eq!(told["explanation"]["bound"], array!([entry]));
}

/// What a small plan says of the workload is told, and is none of the entries that are counted.
#[test]
fn what_a_plan_says_of_the_workload_is_told_apart() {
    let folder = folder("workload");
    let plan = super::failing_plan(&folder);
    let small = std::fs::read_to_string(&plan).expect("it was written");
    let size = small.lines().find(|line| line.starts_with("size ")).expect(&small);
    let fault = small.lines().find(|line| line.starts_with("isolate ")).expect(&small);
    let (scale, unbound) = (format!("{size} (of 6 to 8; the seed has 8)"), "size nothing = 3");

    std::fs::write(&plan, format!("{small}{unbound}\n")).expect("it can be written");
    let said = |how: &str| {
        let output = run(&format!("{how} {}", plan.display()));
        assert_eq!(output.status.code(), Some(1), "{how}: {}", text(&output.stderr));
        text(&output.stdout).to_owned() + text(&output.stderr)
    };
    let told = format!("\nworkload  {scale}\n          {unbound} (the scenario asks for none)\n");
    for how in ["replay", "explain"] {
        let said = said(how);
        assert!(said.contains("\nthe plan (bound 1 of 1):\n  1. "), "{said}");
        assert!(said.contains(&told) && !said.contains("  2. "), "{said}");
        assert!(said.contains(&format!("\nunbound: {unbound}\n")), "{said}");
    }
    let shrunk = said("shrink");
    assert!(shrunk.starts_with(&small), "{shrunk}");
    assert!(shrunk.contains(": shrunk from 1 entry to 1 in "), "{shrunk}");
    assert!(shrunk.ends_with(&format!("\nworkload  {scale}\n")), "{shrunk}");

    let told: Value = serde_json::from_str(&said("explain --json")).expect("it is JSON");
    let (bound, nowhere) = (array!(true), array!(false));
    assert_eq!((&told["bound"], &told["unbound"]), (&array!([fault]), &array!([unbound])));
    let said = array!([
        { "entry": size, "bound": bound },
        { "entry": unbound, "bound": nowhere },
    ]);
    assert_eq!(told["workload"], said);
    let explanation = &told["explanation"];
    assert_eq!(explanation["steps"].as_array().map(Vec::len), Some(1), "{told}");
    let said = array!([
        { "entry": size, "bound": bound, "value": 7, "of_seed": 8, "least": 6, "most": 8 },
        { "entry": unbound, "bound": nowhere },
    ]);
    assert_eq!(explanation["workload"], said);

    // A line that finds nothing makes a plan that passes stale, as ever.
    let corpus = folder.join("corpus");
    std::fs::create_dir_all(&corpus).expect("it can be made");
    for (id, line, is_stale) in
        [("1", "size rpc.clients = 1", false), ("2", "without writes 4-7", true)]
    {
        let path = corpus.join(format!("rpc.{id}.plan"));
        std::fs::write(&path, format!("plan 1.0\nscenario rpc\n{line}\n")).expect("it can be");
        let told = json(&format!("check rpc --seeds 1 --json --corpus {}", corpus.display()));
        let stale = if is_stale { array!([path.display().to_string()]) } else { array!([]) };
        assert_eq!(told["corpus"]["stale"], stale, "{line}");
        let ran = json(&format!("run rpc --plan {} --json", path.display()));
        assert_eq!(ran["bound"], array!([]), "{line}");
        assert_eq!(ran["workload"], array!([{ "entry": line, "bound": !is_stale }]));
    }
}

/// Whether it passes or fails, each of its records is printed: those that `run` prints.
#[test]
fn every_record_of_a_replay_is_printed() {
    let plan = half_bound("traced");
    let ran = run(&format!("run rpc --plan {plan} --trace --json"));
    let output = run(&format!("replay {plan} --calm --trace"));
    assert_eq!(output.status.code(), Some(0));
    let told: Value = serde_json::from_str(text(&ran.stdout)).expect("it is JSON");
    let traced = text(&output.stderr);
    assert_eq!(Some(traced.lines().count() as u64), told["events"].as_u64());
    assert_eq!(traced, text(&ran.stderr));
    assert!(run(&format!("replay {plan} --calm")).stderr.is_empty(), "nobody asked for it");

    let plan = super::failing_plan(&folder("traced-failure"));
    let output = run(&format!("replay {} --trace", plan.display()));
    assert_eq!(output.status.code(), Some(1));
    let traced = text(&output.stderr);
    // Every one, from the first on.
    assert!(traced.lines().next().expect("there are records").contains(" #1 "), "{traced}");
    let last = traced.lines().last().expect("there are records");
    assert!(last.contains(&format!(" #{} ", traced.lines().count())), "{last}");
}

#[test]
fn a_check_says_how_many_plans_came_first() {
    let corpus = folder("corpus-counted");
    for (id, told) in [
        ("1", "\nfirst 1 plan of an earlier failure was replayed\n"),
        ("2", "\nfirst 2 plans of earlier failures were replayed\n"),
    ] {
        let plan = format!("plan 1.0\nscenario rpc\n{BOUND}\n");
        std::fs::write(corpus.join(format!("rpc.{id}.plan")), plan).expect("it can be written");
        let said = printed(&format!("check rpc --seeds 1 --corpus {}", corpus.display()));
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn a_check_tells_what_came_of_its_corpus() {
    let corpus = folder("corpus-told");
    let file = |id: &str, text: &str| {
        let path = corpus.join(format!("rpc.{id}.plan"));
        std::fs::write(&path, text).expect("it can be written");
        path.display().to_string()
    };
    file("1", &format!("plan 1.0\nscenario rpc\n{BOUND}\n"));
    let stale = file("2", &format!("plan 1.0\nscenario rpc\n{UNBOUND}\n"));
    let unreadable = file("3", "plan 99.0\n");
    let told = json(&format!("check rpc --seeds 1 --json --corpus {}", corpus.display()));
    let told = &told["corpus"];
    assert_eq!((&told["replayed"], &told["stale"]), (&2.into(), &array!([stale])));
    assert_eq!(told["unreadable"].as_array().map(Vec::len), Some(1));
    let passed_over = &told["unreadable"][0];
    assert_eq!(passed_over["file"], unreadable);
    assert!(passed_over["error"].as_str().is_some_and(|error| error.contains("99.0")), "{told}");
    let said = fails(&format!("replay {unreadable}"), 2);
    assert!(said.contains("99.0"), "{said}");
}
