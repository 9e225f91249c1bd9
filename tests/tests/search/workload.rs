//! A failure that needs one teller of many and a few of its writes: that is what its small plan says.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sim_check::{Check, Files, PlanFile, Verdict, check};
use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};
use sim_net::plan::Entry;
use sim_net::{LinkRule, OfferedWorkload};

const BANK: (&str, u16) = ("bank", 9);
type Datagrams<'a, P> = Cx<'a, P, DatagramTransport>;

/// The write that the bank books as often as it comes.
const TWICE: u8 = 7;
/// And the one without which nobody notices.
const MISSED: u8 = 9;

#[derive(Default)]
struct Bank {
    booked: BTreeSet<[u8; 2]>,
    twice: BTreeSet<[u8; 2]>,
}

impl DatagramProtocol for Bank {
    fn datagram_received(&mut self, _: &mut Datagrams<'_, Self>, data: &[u8], _: SocketAddr) {
        let write = [data[0], data[1]];
        if !self.booked.insert(write) {
            self.twice.insert(write);
        }
    }
}

struct Teller;

impl DatagramProtocol for Teller {
    fn datagram_received(&mut self, _: &mut Datagrams<'_, Self>, _: &[u8], _: SocketAddr) {}
}

/// Some tellers send all writes each, and the books of the first must be right in the end: as many as there are.
async fn books(world: World) -> io::Result<()> {
    let bank = world.host("bank").datagram().local(BANK).bind(Bank::default).await?;
    let tellers = world.size("tellers", 1..=8);
    let count = world.size("writes", 4..=20);
    let writes = world.ops("writes", count, |index, rng| (index as u8, rng.next_u64()));
    for number in 0..tellers {
        let host = world.host(&format!("teller-{number}"));
        let teller = host.datagram().remote(BANK).bind(|| Teller).await?;
        for (index, amount) in &writes {
            let mut write = vec![number as u8, *index];
            write.extend(amount.to_be_bytes());
            teller.transport().send_to(&write, None)?;
        }
    }
    world.sleep(Duration::from_secs(1)).await;
    let made: Vec<u8> = writes.iter().map(|(index, _)| *index).collect();
    let is_wrong = bank.with(|bank, _| {
        let is_missed = made.contains(&MISSED) && !bank.booked.contains(&[0, MISSED]);
        is_missed && bank.twice.contains(&[0, TWICE])
    });
    if is_wrong { Err(io::Error::other("the books of teller 0 are wrong")) } else { Ok(()) }
}

/// A check on links that lose and copy much.
fn books_check() -> Check {
    let rule: LinkRule = "loss=30%,dup=30%".parse().expect("it is a rule");
    check("books").seeds(200).stop_at_first(true).sim(move |sim| sim.link(rule.clone()))
}

fn shrunk(jobs: usize) -> Verdict {
    books_check().jobs(jobs).verdict(books)
}

/// A folder for one test.
fn folder(test: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workload").join(test);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("it can be made");
    folder
}

/// What a verdict says up to the records, without what any change of the engine changes.
fn told(verdict: &Verdict) -> String {
    let explanation = verdict.explanation.as_ref().unwrap_or_else(|| panic!("{verdict}"));
    let text = verdict.to_string().replace(&format!("{:016x}", explanation.hash), "(hash)");
    let ends =
        ["\nwhat happened:", "\n1 run failed"].map(|end| text.find(end).unwrap_or(text.len()));
    text[..ends[0].min(ends[1])].to_owned()
}

#[test]
fn a_small_plan_has_one_teller_and_the_writes_that_it_takes() {
    let [one, two] = [1, 2].map(shrunk);
    let [first, second] =
        [&one, &two].map(|verdict| verdict.explanation.as_ref().expect("it is looked into"));
    assert_eq!(first.shrunk, second.shrunk);
    assert!(first.shrunk.is_minimal, "{one}");
    insta::assert_snapshot!(told(&one), @r"
    books: the books of teller 0 are wrong
    seed 0x23, host control, 1.000000000s virtual, trace hash (hash)
    shrunk from 34 entries to 2 in 39 replays (bound 2 of 2):
      1. 0.000000000s  duplicate teller-0@1→bank:9/udp#1 dgram 0xfad1a8abad76f361 near 7 len 10
      2. 0.000000000s  drop teller-0@1→bank:9/udp#1 dgram 0xddc5799c197c8b42 near 9 len 10
    workload  size tellers = 1 (of 1 to 8; the seed has 5)
              size writes = 10 (of 4 to 20; the seed has 16)
              without writes 0-6,8 (2 of 10 are left)
    ");

    // Its lines about the workload count nowhere.
    let explanation = first;
    assert_eq!((explanation.shrunk.plan.entries.len(), explanation.workload.len()), (5, 3));
    assert_eq!((explanation.steps.len(), explanation.bound), (2, 2));
    for step in &explanation.steps {
        assert!(!matches!(step.entry, Entry::Workload(_)));
        assert_eq!((step.necessary, step.sufficient), (Some(true), Some(false)));
    }
    let all_asked = explanation.workload.iter().all(|scale| match &scale.offered {
        Some(OfferedWorkload::Size { range, value, .. }) => range.contains(value),
        Some(OfferedWorkload::Operations { count, .. }) => *count == 10,
        _ => false,
    });
    assert!(all_asked, "{:?}", explanation.workload);
}

#[test]
fn what_it_says_of_the_workload_is_in_its_files_and_holds_when_it_is_replayed() {
    let verdict = shrunk(2);
    let explanation = verdict.explanation.as_ref().expect("it is looked into");
    let files = Files::write(&folder("files"), "books", explanation).expect("they can be written");
    let file = PlanFile::read(&files.plan).expect("it was written");
    let again = books_check().replay_file(&file, books).expect("it is for this check");
    assert_eq!(again.failures[0].signature, verdict.failures[0].signature);
    assert_eq!(again.explanation.as_ref().map(|it| it.hash), Some(explanation.hash));
    let bindings = &again.replayed.as_ref().expect("it was replayed").bindings;
    assert_eq!((bindings.bound(), bindings.to_string().as_str()), (5, "bound 2 of 2"));
    insta::assert_snapshot!(told(&again), @r"
    books: the books of teller 0 are wrong
    seed 0x23, host control, 1.000000000s virtual, trace hash (hash)
    the plan (bound 2 of 2):
      1. 0.000000000s  duplicate teller-0@1→bank:9/udp#1 dgram 0xfad1a8abad76f361 near 7 len 10
      2. 0.000000000s  drop teller-0@1→bank:9/udp#1 dgram 0xddc5799c197c8b42 near 9 len 10
    workload  size tellers = 1 (of 1 to 8; the seed has 5)
              size writes = 10 (of 4 to 20; the seed has 16)
              without writes 0-6,8 (2 of 10 are left)
    ");

    let page = std::fs::read_to_string(files.timeline.expect("there is one")).expect("it is there");
    for scale in &explanation.workload {
        assert!(page.contains(&format!("\"Workload: {scale}\"")), "{scale}");
    }
    assert!(!page.contains("\"size tellers = 1\""), "it is none of the entries there");

    // It is as small as it can be, also for who shrinks it again.
    let smaller = books_check().shrink_file(&file, books).expect("it is for this check");
    assert_eq!(smaller.explanation.expect("it fails").shrunk.plan.entries, file.plan().entries);
}

#[test]
fn a_corpus_keeps_it_and_it_is_stale_when_the_scenario_asks_for_something_else() {
    let corpus = folder("corpus");
    let kept = books_check().corpus(&corpus).verdict(books).kept.expect("it is new").unwrap();
    let again = books_check().corpus(&corpus).verdict(books);
    assert_eq!((again.corpus.replayed, again.failures[0].origin.plan().is_some()), (1, true));
    // The writes have another name now, and nothing is wrong with them.
    let renamed = async |world: World| {
        world.size("transfers", 4..=20);
        world.host("bank");
    };
    let verdict = check("books").seeds(1).corpus(&corpus).verdict(renamed);
    assert!(verdict.is_green() && verdict.corpus.stale == [kept.clone()], "{verdict}");
    let text = "plan 1.0\nscenario books\nsize transfers = 4\n";
    std::fs::write(&kept, text).expect("it can be written");
    let verdict = check("books").seeds(1).corpus(&corpus).verdict(renamed);
    assert!(verdict.is_green() && verdict.corpus.is_sound(), "{verdict}");
}

/// Fails in any run with enough to do.
async fn tires(world: World) -> io::Result<()> {
    let workers = world.size("workers", 2..=8);
    let jobs = world.ops("jobs", 30, |index, _| index);
    let enough = workers >= 3 && jobs.contains(&11) && jobs.contains(&12);
    if enough { Err(io::Error::other("too much")) } else { Ok(()) }
}

#[test]
fn a_failure_that_needs_no_fault_may_need_some_work() {
    let verdict = check("tires").stop_at_first(true).verdict(tires);
    let explanation = verdict.explanation.as_ref().expect("it is looked into");
    assert_eq!((explanation.shrunk.before, explanation.steps.len()), (0, 0));
    insta::assert_snapshot!(told(&verdict), @r"
    tires: too much
    seed 0x0, host control, 0.000000000s virtual, trace hash (hash)
    it fails without any fault
    workload  size workers = 3 (of 2 to 8; the seed has 6)
              without jobs 0-10,13-29 (2 of 30 are left)
    ");
    // More than the seed has, and more than it takes.
    let seed =
        (0..).find(|&seed| check("tires").seeds(1).first_seed(seed).verdict(tires).is_green());
    let path = folder("large").join("large.plan");
    let text = format!("plan 1.0\nseed {}\nsize workers = 7\n", seed.expect("some seed passes"));
    std::fs::write(&path, text).expect("it can be written");
    let file = PlanFile::read(&path).expect("it was written");
    let verdict = check("tires").shrink_file(&file, tires).expect("it is for any check");
    let plan = verdict.explanation.expect("it fails").shrunk.plan;
    let lines: Vec<String> = plan.entries.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["size workers = 3", "without jobs 0-10,13-29"]);
}

#[test]
fn a_census_changes_nothing_where_the_workload_is_set() {
    let plan = "size tellers = 3\nwithout writes 2-5\n".parse().expect("it is a plan");
    let [without, with] = [false, true].map(|census| {
        let sim = books_check().simulation(3, books).replay(&plan).expect("it can be carried out");
        let report = sim.census(census).run(books);
        (report.hash, report.events, report.time, report.bindings)
    });
    assert_eq!(without, with);
}

/// Fails where all workers are there at once.
async fn crowds(world: World) -> io::Result<()> {
    match world.size("workers", 2..=8) {
        8 => Err(io::Error::other("a crowd")),
        _ => Ok(()),
    }
}

/// What the environment has a check replay, when the test below runs this one.
#[test]
fn a_few_workers_are_no_crowd() {
    check("crowd").seeds(1).corpus(folder("crowd").join("corpus")).run(crowds);
}

#[test]
fn a_plan_of_the_environment_may_be_about_the_workload_alone() {
    let path = folder("environment").join("given.plan");
    let replayed = |plan: &str| {
        std::fs::write(&path, plan).expect("it can be written");
        let mut command = Command::new(std::env::current_exe().expect("it is running"));
        command.args(["--exact", "workload::a_few_workers_are_no_crowd", "--nocapture"]);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("SIM_") {
                command.env_remove(name);
            }
        }
        let output = command.env("SIM_PLAN", &path).output().expect("it can be started");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), told)
    };
    let (passes, told) = replayed("size workers = 8\n");
    let said =
        "\nit fails without any fault\nworkload  size workers = 8 (of 2 to 8; the seed has 6)\n";
    assert!(!passes && told.contains(said) && told.contains("\nreplay    SIM_PLAN="), "{told}");
    let (passes, told) = replayed("size workers = 7\n");
    assert!(passes && !told.contains("unbound"), "{told}");
    let (passes, told) = replayed("size wrokers = 8\n");
    assert!(passes && told.contains("\nunbound: size wrokers = 8\n"), "{told}");
}

/// Where there is a twin, a workload counts only if it is the twin's, too.
#[test]
fn what_the_twin_does_not_ask_for_stays_as_the_seed_has_it() {
    let twin = async |world: World| {
        world.ops("jobs", 30, |index, _| index);
    };
    let check = check("tires").stop_at_first(true).shrinks(false);
    let verdict = check.explained(check.verdict(tires), tires, twin);
    let plan = verdict.explanation.expect("it fails").shrunk.plan;
    let lines: Vec<String> = plan.entries.iter().map(ToString::to_string).collect();
    assert_eq!(lines, ["without jobs 0-10,13-29"]);
    assert!(check.replay(&plan, twin).corpus.is_sound(), "all of it binds there");
}
