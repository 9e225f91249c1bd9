//! What the command does when it cannot say what it has to say.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::{command, failing_plan, folder, signal, text};

/// A device that is always full.
fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it")
}

/// A pipe whose reader has gone away.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a descriptor is left");
    drop(reader);
    writer.into()
}

const UNWRITTEN: &str = "error: standard output cannot be written: No space left on device";

#[test]
fn output_that_cannot_be_written_is_a_failure_and_told_once() {
    let plan = failing_plan(&folder("full-output"));
    let plan = plan.display();
    for line in [
        "--help",
        "list",
        "list --json",
        "run echo",
        "run echo --json",
        "run echo --loop real",
        "check echo udp-echo --seeds 2",
        "check echo --seeds 2 --json",
        "zoo Z05 --seeds 1",
        &format!("replay {plan}"),
        &format!("shrink {plan}"),
        &format!("explain {plan} --json"),
    ] {
        let output = command(line).stdout(full()).output().expect("it can be started");
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line}: {told}");
        assert_eq!(told.matches(UNWRITTEN).count(), 1, "{line}: {told}");
    }
}

#[test]
fn a_finding_that_cannot_be_written_keeps_its_plan_and_its_report() {
    let folder = folder("full-finding");
    let report = folder.join("report.xml");
    let mut check = command("check Z05 --seeds 40 --first --junit");
    check.arg(&report).arg("--corpus").arg(&folder);
    let output = check.stdout(full()).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with(UNWRITTEN), "{}", text(&output.stderr));
    assert!(std::fs::read_to_string(report).expect("it is there").contains("failures=\"1\""));
    let kept = std::fs::read_dir(folder).expect("it is there").filter_map(Result::ok);
    assert_eq!(kept.filter(|it| it.path().extension().is_some_and(|end| end == "plan")).count(), 1);
}

#[test]
fn standard_error_that_cannot_be_written_is_no_panic() {
    for (line, code) in [
        // What was asked for is not there.
        ("run echo --trace", 1),
        // The call is as wrong as it was.
        ("run nothing", 2),
        ("dance", 2),
        ("", 2),
    ] {
        let output = command(line).stderr(full()).output().expect("it can be started");
        assert_eq!(output.status.code(), Some(code), "{line}");
    }
    let output =
        command("run Z05 --seed 6 --faults").env("RUST_LOG", "trace").stderr(full()).output();
    assert_eq!(output.expect("it can be started").status.code(), Some(1));
}

#[test]
fn a_reader_that_has_gone_away_changes_nothing() {
    let plan = failing_plan(&folder("closed-output"));
    for (line, code) in [
        ("--help", 0),
        ("list", 0),
        ("run echo --trace", 0),
        ("check echo --seeds 2", 0),
        ("run nothing", 2),
        ("", 2),
        (&format!("replay {} --trace", plan.display()), 1),
    ] {
        let status = command(line).stdout(closed()).stderr(closed()).status();
        assert_eq!(status.expect("it can be started").code(), Some(code), "{line}");
    }
}

fn serving(configured: &mut Command) -> Child {
    configured.spawn().expect("it can be started")
}

#[test]
fn a_server_whose_address_cannot_be_written_serves_and_fails_at_its_end() {
    let line = "serve echo --listen 127.0.0.1:0";
    let mut child = serving(command(line).stdout(full()).stderr(Stdio::piped()));
    let mut told = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    let first = told.next().expect("it says so").expect("it is text");
    assert!(first.starts_with(UNWRITTEN), "{first}");
    signal(&child, "TERM");
    assert_eq!(told.next().expect("it says so").expect("it is text"), "SIGTERM came, stopping");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));

    let mut child = serving(command(line).stdout(Stdio::piped()).stderr(closed()));
    let mut said = String::new();
    let stdout = child.stdout.take().expect("it is piped");
    BufReader::new(stdout).read_line(&mut said).expect("it prints a line");
    signal(&child, "TERM");
    assert_eq!(child.wait().expect("it ends").code(), Some(0), "{said}");
}

#[test]
fn files_of_a_run_are_written_whole_or_not_at_all() {
    let folder = folder("whole-files");
    for (option, name) in
        [("--pcap", "run.pcapng"), ("--timeline", "run.html"), ("--record", "run.plan")]
    {
        // Below a folder that is not there yet.
        let path = folder.join("below").join(name);
        let run = |limit: &str| {
            let script = format!("trap '' XFSZ; {limit} exec \"$0\" \"$@\"");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script, env!("CARGO_BIN_EXE_scenarios")]);
            shell.args(["run", "rpc", "--faults", "--seed", "3", option]).arg(&path);
            shell.output().expect("there is a shell")
        };
        let output = run("");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let whole = std::fs::read(&path).expect("it is there");
        assert!(!whole.is_empty(), "{option}");
        // No file may grow.
        let output = run("ulimit -f 0;");
        let told = text(&output.stderr);
        assert!(output.status.code() == Some(1) && told.contains("File too large"), "{told}");
        assert!(told.contains(name), "{told}");
        assert_eq!(std::fs::read(&path).expect("it is there"), whole, "{option}");
    }
    assert_eq!(std::fs::read_dir(folder.join("below")).expect("it is there").count(), 3);
}

/// It has its own place in the file of a standard stream: behind what was written before, and before what is written
/// after it.
#[test]
fn a_file_that_is_a_standard_stream_is_written_behind_what_was_said_before() {
    let folder = folder("standard-streams");
    let file = |name: &str| folder.join(name).display().to_string();
    for (name, line, [stream, path]) in [
        ("out", "check echo --seeds 1 --junit", [">", "/dev/stdout"]),
        ("error", "check echo --seeds 1 --junit", ["2>", "/dev/stderr"]),
        ("itself", "check echo --seeds 1 --junit", [">", &file("itself")]),
        ("record", "run rpc --record", [">", "/dev/stdout"]),
    ] {
        let (file, streams) = (file(name), if stream == ">" { "" } else { " >&2" });
        let line = format!(
            "{{ echo before{streams}; \"$0\" {line} {path}; echo behind{streams}; }} {stream} {file}"
        );
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", &line, env!("CARGO_BIN_EXE_scenarios")]).output();
        let output = output.expect("there is a shell");
        assert!(output.status.success(), "{}", text(&output.stderr));
        let all = std::fs::read_to_string(&file).expect("it is there");
        let places: Vec<Option<usize>> = match name {
            "out" | "itself" => {
                vec!["before\n", "echo: green", "<?xml", "</testsuites>\n", "behind"]
            }
            "error" => vec!["before\n", "<?xml", "</testsuites>\n", "behind"],
            _ => vec!["before\n", "plan 1.0\n", "seed 0x0\n", "rpc: ok", "behind"],
        }
        .into_iter()
        .map(|part| all.find(part))
        .collect();
        assert!(places[0] == Some(0) && places.is_sorted(), "{name}: {places:?} in\n{all}");
        assert!(places.iter().all(Option::is_some), "{name}: {places:?} in\n{all}");
    }
}
