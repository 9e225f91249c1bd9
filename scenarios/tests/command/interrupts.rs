//! Ctrl-C during a check or a zoo: what was found is told, and the second one ends it.
//!
//! A pipe stands where the corpus has a file. The check is at it, and has its handlers in place, when the
//! pipe can be opened here, and goes on when it has read its end.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Once};

use serde_json::Value;
use signal_hook::consts::SIGINT;
use signal_hook::flag;

use super::{command, failing_plan, folder, signal};

/// More than any test has time for.
const SEEDS: u64 = u64::MAX / 4;
const CAME: &str = "SIGINT came: no further run is started; a second one ends it at once";

/// What runs these tests in the background may have them ignore `SIGINT`, and then so would what they start. Where a
/// signal has a handler, a program that is started has its usual effect.
fn heed_interrupts() {
    static HEED: Once = Once::new();
    HEED.call_once(|| {
        let as_usual = Arc::new(AtomicBool::new(true));
        flag::register_conditional_default(SIGINT, as_usual).expect("it can have a handler");
    });
}

/// A check that reads its corpus.
struct Checking {
    child: Child,
    /// Where it reads a plan from.
    plan: Option<File>,
    told: BufReader<ChildStderr>,
    corpus: PathBuf,
}

impl Checking {
    fn start(names: &str, first: &str, test: &str) -> Self {
        Self::begin(first, test, command(&format!("check {names} --json --seeds {SEEDS}")))
    }

    /// A check that reads the corpus of `first`.
    fn begin(first: &str, test: &str, mut check: Command) -> Self {
        heed_interrupts();
        let corpus = folder(test).join("corpus");
        std::fs::create_dir_all(&corpus).expect("it can be made");
        let pipe = corpus.join(format!("{first}.0.plan"));
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("there is a command `mkfifo`").success());
        check.arg("--corpus").arg(&corpus).arg("--junit").arg(corpus.join("report.xml"));
        let check = check.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = check.spawn().expect("it can be started");
        let told = BufReader::new(child.stderr.take().expect("it is piped"));
        let plan = OpenOptions::new().write(true).open(pipe).expect("it is read");
        Self { child, plan: Some(plan), told, corpus }
    }

    /// Gives it the plan that its corpus has.
    fn goes_on_with(&mut self, plan: &str) {
        let mut pipe = self.plan.take().expect("it is given once");
        pipe.write_all(plan.as_bytes()).expect("it is read");
    }

    /// Interrupts it, and waits until it says that it has noticed.
    fn interrupt(&mut self) {
        signal(&self.child, "INT");
        let mut line = String::new();
        self.told.read_line(&mut line).expect("it is text");
        assert_eq!(line.trim_end(), CAME);
    }

    /// What it prints and how it ends.
    fn ended(self) -> Ended {
        let Self { mut child, mut told, corpus, .. } = self;
        let (mut said, mut more) = (String::new(), String::new());
        child.stdout.take().expect("it is piped").read_to_string(&mut said).expect("it is text");
        told.read_to_string(&mut more).expect("it is text");
        let status = child.wait().expect("it ends");
        let lines = said.lines().map(|line| serde_json::from_str(line).expect("it is JSON"));
        Ended { status, verdicts: lines.collect(), told: more, corpus }
    }
}

struct Ended {
    status: ExitStatus,
    verdicts: Vec<Value>,
    told: String,
    corpus: PathBuf,
}

impl Ended {
    /// The verdict on the one scenario that was run.
    #[track_caller]
    fn verdict(&self) -> &Value {
        let [verdict] = &self.verdicts[..] else { panic!("one was run: {:?}", self.verdicts) };
        verdict
    }

    fn report(&self) -> String {
        std::fs::read_to_string(self.corpus.join("report.xml")).expect("it was written")
    }
}

#[test]
fn what_was_found_is_told_and_what_was_not_run_is_named() {
    let plan = failing_plan(&folder("interrupted-plan"));
    let plan = std::fs::read_to_string(plan).expect("it was written");
    let mut checking = Checking::start("Z05 echo rpc", "Z05", "interrupted-failure");
    checking.interrupt();
    checking.goes_on_with(&plan);
    let ended = checking.ended();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.told);
    let verdict = ended.verdict();
    assert_eq!((&verdict["cut_short"], &verdict["interrupted"]), (&true.into(), &true.into()));
    assert_eq!((&verdict["failed"], &verdict["corpus"]["replayed"]), (&1.into(), &1.into()));
    let file = verdict["explanation"]["file"].as_str().expect("it was looked into");
    assert!(Path::new(file).is_file(), "{file}");
    assert_eq!(ended.told, "interrupted before they were run: echo, rpc\n");
    let report = ended.report();
    assert!(report.contains("tests=\"3\" failures=\"1\" skipped=\"2\""), "{report}");
    assert!(report.contains("name=\"rpc\" time=\"0.000\"><skipped"), "{report}");
}

#[test]
fn one_that_has_found_nothing_says_so_and_dies_of_the_signal() {
    let mut checking = Checking::start("echo", "echo", "interrupted-success");
    // It runs, and would do so for ever.
    checking.goes_on_with("plan 1.0\nscenario echo\n");
    checking.interrupt();
    let ended = checking.ended();
    assert_eq!(ended.status.signal(), Some(SIGINT), "{}", ended.told);
    let verdict = ended.verdict();
    assert_eq!((&verdict["interrupted"], &verdict["failed"]), (&true.into(), &0.into()));
    assert_eq!(ended.told, "error: interrupted; nothing failed in what was run\n");
    let report = ended.report();
    assert!(report.contains("tests=\"1\" failures=\"0\" time="), "{report}");
    assert!(report.contains("told to stop"), "{report}");
}

/// A shell starts what it runs in the background so.
#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_that_was_ignored_before_is_ignored() {
    let line = "trap '' INT; exec \"$0\" check echo --seeds 3 --json \"$@\"";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(line).arg(env!("CARGO_BIN_EXE_scenarios"));
    let mut checking = Checking::begin("echo", "interrupt-ignored", shell);
    signal(&checking.child, "INT");
    checking.goes_on_with("plan 1.0\nscenario echo\n");
    let ended = checking.ended();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.told);
    assert_eq!(ended.verdict()["interrupted"], false, "{}", ended.told);
}

#[test]
fn the_second_interrupt_ends_it_at_once() {
    let mut checking = Checking::start("echo", "echo", "interrupted-twice");
    checking.interrupt();
    signal(&checking.child, "INT");
    let status = checking.child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(SIGINT), "{status}");
    assert!(!checking.corpus.join("report.xml").exists());
}

/// More searches than there is time for.
const SEARCHES: u64 = 1_024;

/// Interrupts a zoo that has said so many lines: what it says in all, and what it tells.
fn zoo_interrupted(line: &str, lines: usize) -> (Vec<String>, String) {
    heed_interrupts();
    let mut zoo = command(line);
    let mut child = zoo.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut line = || said.next().map(|line| line.expect("it is text"));
    let mut all: Vec<String> = (0..lines).map(|_| line().expect("it says more")).collect();
    signal(&child, "INT");
    all.extend(std::iter::from_fn(line));
    let mut told = String::new();
    let stderr = child.stderr.as_mut().expect("it is piped");
    stderr.read_to_string(&mut told).expect("it is text");
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(SIGINT), "{status}: {told}");
    assert!(told.contains("error: interrupted; "), "{told}");
    (all, told)
}

#[test]
fn a_zoo_tells_what_it_found_so_far() {
    // Fifty searches for each of twenty bugs: it is at the second one.
    let (rows, told) = zoo_interrupted("zoo --searches 50", 2);
    assert!((2..21).contains(&rows.len()), "{rows:?}");
    assert!(rows[0].starts_with("id ") && rows[1].contains(" 50/50 "), "{rows:?}");
    assert!(!rows.iter().any(|row| row.contains("not found")), "{rows:?}, {told}");
}

/// Its head comes first, so it has a table as soon as it has begun.
#[test]
fn a_zoo_that_is_interrupted_in_its_first_row_ends_it_there() {
    let (rows, told) = zoo_interrupted(&format!("zoo Z05 --searches {SEARCHES} --plans"), 1);
    let [head, rest @ ..] = &rows[..] else { panic!("it has a head: {told}") };
    assert!(head.starts_with("id "), "{head}");
    // It may have been interrupted before it had found anything.
    let Some(row) = rest.first() else { return };
    assert!(row.starts_with("Z05 ") && !row.contains("not found"), "{row}");
    let searches = row.split('/').nth(1).expect("it says how many there were");
    let searches: u64 = searches.split(' ').next().unwrap_or_default().parse().expect("a number");
    assert!((1..SEARCHES).contains(&searches), "{row}");
}
