//! The `scenarios` command, from outside.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the command is a process, and its clients are threads"
)]

mod interrupts;
mod output;
mod replaying;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(30);

fn command(line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scenarios"));
    command.args(line.split_whitespace());
    for variable in ["RUST_LOG", "SIM_SEED", "SIM_SEEDS", "SIM_BUDGET", "SIM_JOBS", "SIM_STOP_AT"] {
        command.env_remove(variable);
    }
    command
}

fn run(line: &str) -> Output {
    command(line).stdin(Stdio::null()).output().expect("the command can be started")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("it prints UTF-8")
}

/// What a command that succeeds prints.
#[track_caller]
fn printed(line: &str) -> String {
    let output = run(line);
    assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// The one line of JSON that a command prints.
#[track_caller]
fn json(line: &str) -> Value {
    let printed = printed(line);
    assert_eq!(printed.lines().count(), 1, "{printed}");
    serde_json::from_str(&printed).expect("it is JSON")
}

/// Runs a command that fails, and returns what it says.
#[track_caller]
fn fails(line: &str, code: i32) -> String {
    let output = run(line);
    let said = text(&output.stderr).to_owned();
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert_eq!(text(&output.stdout), "", "{line}: errors belong to standard error");
    said
}

/// Tells a process something by a signal, such as `INT`.
fn signal(child: &Child, name: &str) {
    let kill = Command::new("kill").args(["-s", name, &child.id().to_string()]).status();
    assert!(kill.expect("there is a command `kill`").success());
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<&str> = value.as_object().expect("an object").keys().map(|k| &**k).collect();
    keys.sort_unstable();
    keys
}

// list

#[test]
fn list_tells_every_scenario() {
    let printed = printed("list");
    let entries = json("list --json");
    let entries = entries.as_array().expect("an array");
    assert_eq!(entries.len(), scenarios::all().len());
    assert_eq!(printed.lines().count(), entries.len());
    for (entry, (line, scenario)) in entries.iter().zip(printed.lines().zip(scenarios::all())) {
        assert_eq!(keys(entry), ["name", "summary"]);
        assert_eq!(entry["name"], scenario.name());
        assert_eq!(entry["summary"], scenario.summary());
        assert!(line.starts_with(scenario.name()) && line.contains(scenario.summary()), "{line}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = command("list").stdout(Stdio::piped()).spawn().expect("it starts");
    drop(child.stdout.take());
    assert!(child.wait().expect("it ends").success());
}

// run

#[test]
fn run_prints_what_a_replay_needs() {
    let ran = json("run echo --loop sim --seed 7 --json");
    let wanted = [
        "error",
        "events",
        "faults",
        "loop",
        "outcome",
        "scenario",
        "seed",
        "time_ns",
        "trace_hash",
    ];
    assert_eq!(keys(&ran), wanted);
    assert_eq!(
        (&ran["scenario"], &ran["loop"], &ran["seed"], &ran["outcome"], &ran["error"]),
        (&"echo".into(), &"sim".into(), &7.into(), &"ok".into(), &Value::Null)
    );
    assert!(ran["events"].as_u64() > Some(0) && ran["time_ns"].as_u64() > Some(0), "{ran}");
    let hash = ran["trace_hash"].as_str().expect("a string");
    assert!(hash.len() == 16 && hash.bytes().all(|b| b.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn a_seed_is_a_run_and_another_seed_another() {
    for scenario in scenarios::all() {
        let run = |seed: &str| json(&format!("run {} --seed {seed} --json", scenario.name()));
        let (first, again, other) = (run("7"), run("0x7"), run("8"));
        assert_eq!(first, again);
        assert_ne!(first["trace_hash"], other["trace_hash"]);
    }
}

#[test]
fn run_on_real_sockets_has_no_trace_hash() {
    let ran = json("run echo --loop real --json");
    let wanted = ["error", "events", "faults", "loop", "outcome", "scenario", "seed", "time_ns"];
    assert_eq!(keys(&ran), wanted);
    assert_eq!((&ran["loop"], &ran["outcome"]), (&"real".into(), &"ok".into()));
}

#[test]
fn run_in_words_has_the_same_hash() {
    let hash = json("run rpc --seed 3 --json")["trace_hash"].clone();
    let line = printed("run rpc --seed 3");
    assert!(line.starts_with("rpc: ok, seed 3, "), "{line}");
    assert!(line.contains(hash.as_str().expect("a string")), "{line}");
}

#[test]
fn observing_a_run_does_not_change_it() {
    let plain = printed("run echo --seed 5 --json");
    let traced = run("run echo --seed 5 --json --trace");
    assert_eq!(text(&traced.stdout), plain);
    let events = serde_json::from_str::<Value>(&plain).expect("it is JSON")["events"].as_u64();
    assert_eq!(Some(text(&traced.stderr).lines().count() as u64), events);
    let logged = command("run echo --seed 5 --json").env("RUST_LOG", "trace").output();
    assert_eq!(text(&logged.expect("it runs").stdout), plain);
}

#[test]
fn a_run_can_be_captured() {
    let path = std::env::temp_dir().join(format!("scenarios-{}.pcapng", std::process::id()));
    let line = "run upload --seed 5 --json";
    let plain = printed(line);
    let captured = command(line).arg("--pcap").arg(&path).output().expect("it runs");
    assert_eq!(text(&captured.stdout), plain, "{}", text(&captured.stderr));
    let bytes = std::fs::read(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is there");
    assert_eq!(bytes[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
    // Block after block, to the end of the file: enough of them are packets.
    let (mut at, mut packets) = (0, 0);
    while at < bytes.len() {
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a word"));
        packets += u32::from(word(at) == 6);
        at += word(at + 4) as usize;
    }
    assert!(at == bytes.len() && packets > 10, "{packets} packets");
}

#[test]
fn what_cannot_be_captured_is_told() {
    let said = fails("run echo --loop real --pcap x.pcapng", 2);
    assert!(said.contains("tcpdump"), "{said}");
    let folder = std::env::temp_dir();
    let output = run(&format!("run echo --pcap {}", folder.display()));
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains(&folder.display().to_string()), "{said}");
    // The run went well all the same, and says so.
    assert!(text(&output.stdout).starts_with("echo: ok, seed 0, "), "{}", text(&output.stdout));
}

#[test]
fn a_run_can_be_made_a_page() {
    let path = std::env::temp_dir().join(format!("scenarios-{}.html", std::process::id()));
    let line = "run failover --seed 3 --faults --json";
    let plain = printed(line);
    let pictured = command(line).arg("--timeline").arg(&path).output().expect("it runs");
    assert_eq!(text(&pictured.stdout), plain, "{}", text(&pictured.stderr));
    assert!(pictured.stderr.is_empty(), "the log is printed only if it is asked for");
    let page = std::fs::read_to_string(&path).expect("it was written");
    std::fs::remove_file(&path).expect("it is there");
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"));
    assert!(page.contains("scenarios run failover --seed 3 --faults"), "how to run it again");
    let said = fails("run echo --loop real --timeline x.html", 2);
    assert!(said.contains("--loop real"), "{said}");
}

#[test]
fn links_and_plans_bite_and_are_counted() {
    let lossy = json("run rpc --seed 3 --json --link latency=20ms..80ms,loss=5%");
    assert!(
        lossy["outcome"] == "ok" && lossy["faults"]["packet.loss"].as_u64() > Some(0),
        "{lossy}"
    );
    let path = std::env::temp_dir().join(format!("scenarios-{}.plan", std::process::id()));
    std::fs::write(&path, "cut server client-0 1ms..1s\n").unwrap();
    let cut = json(&format!("run rpc --json --plan {}", path.display()));
    assert!(cut["outcome"] == "ok" && cut["faults"]["partition.drop"].as_u64() > Some(0), "{cut}");
    let wanted = serde_json::json!(["cut server client-0 1ms..1s"]);
    assert_eq!((&cut["bound"], &cut["unbound"]), (&wanted, &serde_json::json!([])));
    let calm = json("run rpc --json");
    assert!(calm["faults"].as_object().is_some_and(serde_json::Map::is_empty), "{calm}");
    std::fs::remove_file(path).unwrap();
}

/// What was recorded is run again to the same hash, and what it is about is found.
#[test]
fn a_run_is_recorded_and_run_again() {
    let path = std::env::temp_dir().join(format!("scenarios-{}.recorded", std::process::id()));
    let found = json(&format!("run rpc --seed 3 --faults --json --record {}", path.display()));
    let again = json(&format!("run rpc --faults --json --plan {}", path.display()));
    let entries = std::fs::read_to_string(&path).unwrap();
    assert!(entries.starts_with("plan 1.0\nscenario rpc\nseed 0x3\n"), "{entries}");
    assert_eq!((&again["trace_hash"], &again["seed"]), (&found["trace_hash"], &3.into()));
    let bound = again["bound"].as_array().expect("an array").iter().map(Value::as_str);
    assert!(bound.eq(entries.lines().skip(3).map(Some)), "{again}");
    std::fs::write(&path, "drop client-0@1→server:1#9 syn\n").unwrap();
    let unbound = json(&format!("run rpc --json --plan {}", path.display()));
    assert_eq!(unbound["unbound"], serde_json::json!(["drop client-0@1→server:1#9 syn"]));
    assert_eq!((&unbound["bound"], &unbound["outcome"]), (&serde_json::json!([]), &"ok".into()));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_plan_or_link_that_is_wrong_is_told_with_its_place() {
    let path = std::env::temp_dir().join(format!("scenarios-{}.wrong", std::process::id()));
    let told = |text: &str| {
        std::fs::write(&path, text).unwrap();
        fails(&format!("run rpc --plan {}", path.display()), 2)
    };
    let unknown = told("cut server client-0 1ms..1s\ncrash nobody 1s for 1s\n");
    assert!(unknown.contains("line 2") && unknown.contains("nobody"), "{unknown}");
    assert!(unknown.contains("client-3"), "it names those that there are: {unknown}");
    let unread = told("cut server\nfoo\n");
    assert!(unread.contains("line 1") && unread.contains("line 2"), "{unread}");
    assert!(told("scenario echo\n").contains("echo"));
    assert!(told("plan 2.0\n").contains("2.0"));
    for empty in ["", "\n \n", "\u{feff}", "\u{feff}\n"] {
        assert!(told(empty).contains("it is empty"), "{empty:?}");
    }
    assert!(fails("run rpc --plan /dev/zero", 2).contains("larger than 64 MiB"));
    std::fs::write(&path, "seed 0x3\n").unwrap();
    let two = fails(&format!("run rpc --seed 5 --plan {}", path.display()), 2);
    assert!(two.contains("the plan is of seed 0x3: leave out --seed 0x5"), "{two}");
    assert_eq!(json(&format!("run rpc --seed 3 --json --plan {}", path.display()))["seed"], 3);
    std::fs::remove_file(&path).unwrap();
    assert!(fails("run rpc --plan /does/not/exist", 2).contains("/does/not/exist"));
    assert!(fails("run rpc --link loss=200%", 2).contains("loss=200%"));
    assert!(fails("run echo --link rate=0bit", 2).contains("rate=0bit"));
    assert!(fails("run echo --loop real --link loss=1%", 2).contains("--loop real"));
}

/// What `check` found, `run --faults` runs again.
#[test]
fn a_run_with_the_faults_of_a_check_is_that_run() {
    let checked: Value = serde_json::from_str(&printed(
        "check partition --seeds 1 --first-seed 5 --no-singles --json",
    ))
    .unwrap();
    let ran = json("run partition --seed 5 --faults --json");
    assert_eq!((&checked["faults"], &checked["events"]), (&ran["faults"], &ran["events"]));
    assert_ne!(json("run partition --seed 5 --json")["trace_hash"], ran["trace_hash"]);
    let calm: Value =
        serde_json::from_str(&printed("check partition --seeds 2 --calm --json")).unwrap();
    assert!(calm["faults"].as_object().is_some_and(serde_json::Map::is_empty), "{calm}");
}

// check

#[test]
fn check_prints_a_line_of_json_for_each_scenario() {
    let printed = printed("check echo udp-echo --seeds 5 --first-seed 10 --jobs 2 --json");
    let lines: Vec<Value> =
        printed.lines().map(|line| serde_json::from_str(line).expect("it is JSON")).collect();
    assert_eq!(lines.len(), 2);
    for (line, name) in lines.iter().zip(["echo", "udp-echo"]) {
        let wanted = [
            "corpus",
            "coverage",
            "cut_short",
            "events",
            "failed",
            "failures",
            "faults",
            "interrupted",
            "met",
            "missed",
            "others",
            "properties",
            "scenario",
            "seeds",
            "time_ns",
            "wall_ns",
        ];
        assert_eq!(keys(line), wanted);
        assert_eq!((&line["scenario"], &line["seeds"]), (&name.into(), &5.into()));
        assert_eq!(line["failures"], Value::Array(Vec::new()));
        let corpus = serde_json::json!({ "replayed": 0, "stale": [], "unreadable": [] });
        assert_eq!((&line["failed"], &line["corpus"]), (&0.into(), &corpus));
        assert!(line["events"].as_u64() > Some(0) && line["time_ns"].as_u64() > Some(0));
    }
}

#[test]
fn check_in_words_says_what_a_green_sweep_is_worth() {
    let line = printed("check echo --seeds 3");
    assert!(line.starts_with("echo: green on 3 seeds") && line.contains('%'), "{line}");
}

// Wrong calls

#[test]
fn a_wrong_call_is_told_what_would_be_right() {
    for (line, hint) in [
        ("", "Usage"),
        ("dance", "dance"),
        ("run", "NAME"),
        ("run nothing", "udp-echo"),
        ("check echo nothing", "heartbeat"),
        ("serve nothing --listen 127.0.0.1:0", "there are echo"),
        ("run echo --sede 7", "--seed"),
        ("run echo --pcap", "FILE"),
        ("run echo --seed seven", "decimal or 0x"),
        ("run echo --seed 18446744073709551616", "64 bits"),
        ("run echo --loop both", "sim, real"),
        ("check echo --seeds 0", "--seeds"),
        ("check echo --jobs 0", "--jobs"),
        ("serve echo", "--listen"),
        ("serve echo --listen 7007", "--listen"),
        ("serve echo --listen 127.0.0.1:0 --workers 0", "--workers"),
        ("serve heartbeat --listen 127.0.0.1:0", "no server half"),
    ] {
        let said = fails(line, 2);
        assert!(said.contains(hint), "{line:?} says {said:?}");
    }
}

#[test]
fn help_is_no_error() {
    for line in ["--help", "run --help", "check --help", "serve --help", "list --help"] {
        assert!(printed(line).contains("Usage"), "{line}");
    }
}

#[test]
fn a_log_filter_that_is_none_is_told() {
    let output = command("list").env("RUST_LOG", "loud=very").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("RUST_LOG"), "{}", text(&output.stderr));
}

// serve

/// A server that was started, and is killed at the latest when the test is over.
struct Served {
    child: Child,
    addr: SocketAddr,
}

impl Served {
    /// Starts `serve` and reads the address that it prints.
    fn start(name: &str, options: &str) -> Self {
        let line = format!("serve {name} --listen 127.0.0.1:0 {options}");
        let mut child = command(&line);
        let child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut child = child.expect("it starts");
        let mut said = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut said).expect("it prints a line");
        let addr = said.trim_end().strip_prefix(&format!("serving {name} at "));
        let addr = addr.and_then(|addr| addr.parse().ok());
        Self { child, addr: addr.unwrap_or_else(|| panic!("it says {said:?}")) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        stream
    }

    fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    fn stopped(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // It is gone already, most of the time.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Writes, reads the echo, ends its stream, and reads the end.
fn converse(mut stream: TcpStream, message: &[u8]) {
    stream.write_all(message).expect("it is taken");
    let mut echo = vec![0; message.len()];
    stream.read_exact(&mut echo).expect("it comes back");
    assert_eq!(echo, message);
    stream.write_all(b"bye").expect("it is taken");
    stream.shutdown(Shutdown::Write).expect("it is connected");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the end comes after the echo");
    assert_eq!(rest, b"bye");
}

#[test]
fn serve_echoes_until_it_is_terminated() {
    let served = Served::start("echo", "");
    converse(served.connect(), b"hello");
    let open: Vec<TcpStream> = (0..150).map(|_| served.connect()).collect();
    for (number, stream) in open.into_iter().enumerate() {
        converse(stream, format!("connection {number}").as_bytes());
    }
    // One that is still open does not hold it up.
    let mut left = served.connect();
    left.write_all(b"x").expect("it is taken");
    left.read_exact(&mut [0]).expect("it comes back");
    served.signal("TERM");
    let addr = served.addr;
    assert_eq!(served.stopped().code(), Some(0));
    let last = left.read(&mut [0; 8]);
    assert!(matches!(last, Ok(0) | Err(_)), "its connections are over: {last:?}");
    assert!(TcpStream::connect(addr).is_err(), "it listens no more");
}

#[test]
fn serve_carries_more_than_its_buffers() {
    carries_more_than_its_buffers("echo");
}

/// What is served behind the proxy is an echo.
#[test]
fn serve_puts_a_proxy_before_an_echo() {
    carries_more_than_its_buffers("proxy");
}

fn carries_more_than_its_buffers(scenario: &str) {
    let served = Served::start(scenario, "");
    let mut stream = served.connect();
    let body: Vec<u8> = (0..3_000_000_u32).map(|place| (place % 251) as u8).collect();
    let sent = body.clone();
    let mut half = stream.try_clone().expect("a descriptor is left");
    let writer = thread::spawn(move || {
        half.write_all(&sent).expect("it is taken");
        half.shutdown(Shutdown::Write).expect("it is connected");
    });
    let mut echo = Vec::new();
    stream.read_to_end(&mut echo).expect("the end comes after the echo");
    writer.join().expect("it is written");
    assert!(echo == body, "{} of {} bytes, or others", echo.len(), body.len());
}

#[test]
fn serve_with_workers_is_one_server_and_ends_at_an_interrupt() {
    let served = Served::start("echo", "--workers 3");
    let streams: Vec<TcpStream> = (0..30).map(|_| served.connect()).collect();
    streams.into_iter().for_each(|stream| converse(stream, b"hello, whoever it is"));
    served.signal("INT");
    assert_eq!(served.stopped().code(), Some(0));
}

#[test]
fn serve_on_a_port_in_use_is_refused() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = taken.local_addr().expect("it is bound");
    let said = fails(&format!("serve echo --listen {addr}"), 1);
    assert!(said.contains(&addr.to_string()), "{said}");
}

#[test]
fn every_server_half_starts_and_stops() {
    for scenario in scenarios::all().iter().filter(|scenario| scenario.can_serve()) {
        let served = Served::start(scenario.name(), "");
        served.signal("TERM");
        assert_eq!(served.stopped().code(), Some(0), "{}", scenario.name());
    }
}

/// `SIM_STOP_AT` ends a replay where it says, and shows what was before.
#[test]
fn a_replay_is_stopped_at_a_step_or_a_time() {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("stop.plan");
    std::fs::write(&path, "plan 1.0\nscenario arq\nseed 7\ncut left right 5ms..40ms\n").unwrap();
    let stop = |at: &str, more: &str| {
        let mut command = command(&format!("replay {}{more}", path.display()));
        let output = command.env("SIM_STOP_AT", at).output().expect("the command can be started");
        let (said, told) = (text(&output.stdout).to_owned(), text(&output.stderr).to_owned());
        (output.status.code(), said, told)
    };
    let (code, said, _) = stop("#30", "");
    assert!(code == Some(1) && said.starts_with("arq: stopped at step 30: step 30, "), "{said}");
    assert!(said.contains(" #30 ") && !said.contains(" #31 "), "{said}");
    let (code, said, _) = stop("20ms", "");
    assert!(code == Some(1) && said.starts_with("arq: stopped at 20ms: step "), "{said}");
    assert!(said.contains("what protocols said of their state last:\n  left #1: sends "), "{said}");
    let (code, said, _) = stop("5h", "");
    assert!(
        code == Some(1) && said.starts_with("arq: it never came to 5h: it was over at"),
        "{said}"
    );
    for (at, more, wrong) in [
        ("never", "", "SIM_STOP_AT=\"never\": give it a step, such as 2844, or a virtual time"),
        ("30", " --json", "SIM_STOP_AT (step 30): it is for `replay`, without --json"),
    ] {
        let (code, said, told) = stop(at, more);
        assert!(code == Some(2) && said.is_empty() && told.contains(wrong), "{told}");
    }
}

/// OpenSSL hands a letter to `starttls`, in either version of TLS.
#[test]
fn serve_starttls_speaks_with_openssl() {
    if Command::new("openssl").arg("version").output().is_err() {
        return println!("skipped: there is no openssl here");
    }
    let served = Served::start("starttls", "");
    for version in ["-tls1_2", "-tls1_3"] {
        let addr = served.addr.to_string();
        let mut client = Command::new("openssl");
        client.args([
            "s_client",
            "-starttls",
            "smtp",
            "-quiet",
            "-crlf",
            version,
            "-connect",
            &addr,
        ]);
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut client = client.spawn().expect("it starts");
        let letter = b"MAIL FROM:me\nRCPT TO:<you>\nDATA\nhello\n.\nQUIT\n";
        client.stdin.as_mut().expect("it is piped").write_all(letter).expect("it is taken");
        let output = client.wait_with_output().expect("it ends");
        let answers: Vec<&str> = text(&output.stdout).lines().map(|line| &line[..3]).collect();
        // The last answer to what was said in plain text is printed too.
        let secured = &answers[answers.len().saturating_sub(5)..];
        assert_eq!(secured, ["250", "250", "354", "250", "221"], "{version}: {output:?}");
    }
}

/// What `curl` gets, with these options before the address.
fn curl(options: &[&str], served: &Served, path: &str) -> String {
    let url = format!("http://{}{path}", served.addr);
    let output = Command::new("curl").args(["-s", "-S"]).args(options).arg(url).output();
    let output = output.expect("it was asked for its version");
    assert!(output.status.success(), "curl {options:?} {path}: {}", text(&output.stderr));
    text(&output.stdout).to_owned()
}

/// `curl` speaks with `http` over both versions, on one port; it ends in good order.
#[test]
fn serve_http_speaks_with_curl() {
    let Ok(version) = Command::new("curl").arg("--version").output() else {
        return println!("skipped: there is no curl here");
    };
    let served = Served::start("http", "");
    let mut versions = vec![("--http1.1", "HTTP/1.1")];
    if text(&version.stdout).contains("HTTP2") {
        versions.push(("--http2-prior-knowledge", "HTTP/2.0"));
    } else {
        println!("skipped: this curl does not speak HTTP/2");
    }
    for (option, name) in versions {
        assert_eq!(curl(&[option], &served, "/"), format!("hello over {name}\n"));
        let options = [option, "-o", "/dev/null", "-w", "%{size_download}"];
        assert_eq!(curl(&options, &served, "/bytes/7/1000000"), "1000000");
        let digest = curl(&[option, "-X", "PUT", "-d", "a body"], &served, "/digest");
        assert_eq!(digest, format!("6 {:016x}\n", scenarios::Digest::of(b"a body")));
        assert_eq!(curl(&[option, "-X", "POST", "-d", "a body"], &served, "/echo"), "a body");
        let code = curl(&[option, "-o", "-", "-w", "%{http_code}"], &served, "/nothing");
        assert!(code.ends_with("404"), "{code}");
    }
    // A kept connection does not hold it up.
    let mut kept = served.connect();
    kept.write_all(b"GET / HTTP/1.1\r\nhost: server\r\n\r\n").expect("it is taken");
    let mut head = [0; 15];
    kept.read_exact(&mut head).expect("it is answered");
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    served.signal("TERM");
    let mut rest = Vec::new();
    kept.read_to_end(&mut rest).expect("the connection ends");
    assert!(served.stopped().success());
}

/// A hundred connections at once, each asking as fast as it is answered.
#[test]
fn serve_http_stands_wrk() {
    if Command::new("wrk").arg("-v").output().is_err() {
        return println!("skipped: there is no wrk here");
    }
    let served = Served::start("http", "");
    let url = format!("http://{}/", served.addr);
    let output = Command::new("wrk").args(["-t1", "-c100", "-d1s", &url]).output();
    let output = output.expect("it was asked for its version");
    let told = text(&output.stdout);
    assert!(output.status.success() && !told.contains("Socket errors"), "{told}");
    assert!(!told.contains("Non-2xx"), "{told}");
    let requests = told.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: u64 = requests.and_then(|(number, _)| number.parse().ok()).expect(told);
    assert!(requests > 100, "{told}");
    served.signal("TERM");
    assert!(served.stopped().success());
}

// What cannot be written.

/// A folder of a test's own, empty.
fn folder(test: &str) -> std::path::PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).expect("it can be made");
    folder
}

/// The command in a place where the folder for what failures leave behind cannot be made.
fn without_artifacts(line: &str, test: &str) -> Command {
    let folder = folder(test);
    let binary = folder.join("scenarios");
    // By its own name it would find the `target` that it was built in.
    std::fs::hard_link(env!("CARGO_BIN_EXE_scenarios"), &binary).expect("one file system");
    std::fs::write(folder.join("target"), "a file").expect("it can be written");
    let mut command = Command::new(binary);
    command.args(line.split_whitespace()).current_dir(folder);
    command
}

#[test]
fn a_finding_is_told_though_its_files_cannot_be_written() {
    let line = "check Z05 echo --seeds 40 --first --junit report.xml";
    let output = without_artifacts(line, "unwritten").output().expect("it runs");
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(said.contains("1 run failed, of "), "{said}");
    assert!(said.contains("\nfiles     could not be written: target/sim: "), "{said}");
    // The others have their turn, and the report is there.
    assert!(said.contains("echo: green on 40 seeds"), "{said}");
    assert!(told.contains("error: target/sim: "), "{told}");
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unwritten/report.xml");
    assert!(std::fs::read_to_string(report).expect("it is there").contains("tests=\"2\""));
}

/// A plan under which a specimen of the zoo fails.
fn failing_plan(folder: &Path) -> std::path::PathBuf {
    let output = run("check Z05 --seeds 40 --first --json");
    let found: Value = serde_json::from_str(text(&output.stdout)).expect("it is JSON");
    let path = folder.join("z05.plan");
    let plan = found["explanation"]["plan"].as_str().expect("it fails, and was made small");
    std::fs::write(&path, plan).expect("it can be written");
    path
}

/// A pipe can be read once.
#[test]
fn a_plan_may_come_through_a_pipe() {
    let plan = failing_plan(&folder("piped"));
    for how in ["replay", "explain"] {
        let plan = std::fs::File::open(&plan).expect("it was written");
        let cat = Command::new("cat").stdin(plan).stdout(Stdio::piped()).spawn();
        let pipe = cat.expect("there is a command `cat`").stdout.expect("it is piped");
        let output = command(&format!("{how} /dev/stdin")).stdin(pipe).output();
        let output = output.expect("the command can be started");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with("Z05: "), "{}", text(&output.stdout));
    }
    let told = fails("replay /dev/null", 2);
    assert!(told.contains("/dev/null: it is empty"), "{told}");
}

/// Where nothing can be written to, the plan of a single fault is told.
#[test]
fn a_failure_without_files_says_how_to_run_it_again() {
    let said = |line: &str| {
        let output = without_artifacts(line, "told").output().expect("it runs");
        text(&output.stdout).to_owned()
    };
    let of_a_seed = said("check Z15 --seeds 200 --first --first-seed 17 --no-singles");
    assert!(of_a_seed.contains("replay    scenarios run Z15 --seed "), "{of_a_seed}");
    // As a rule Z08 falls to a single fault.
    let of_a_single = said("check Z08 --seeds 400 --first --first-seed 17");
    let (_, plan) = of_a_single.split_once(", with this plan in it:\n").expect(&of_a_single);
    let (plan, _) = plan.split_once("files  ").expect(&of_a_single);
    let path = folder("told-plan").join("told.plan");
    std::fs::write(&path, plan).expect("it can be written");
    let output = command("replay").arg(&path).output().expect("it can be started");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stdout));
}

#[test]
fn a_small_plan_is_printed_if_its_file_cannot_be_written() {
    let folder = folder("shrink-out");
    let plan = failing_plan(&folder);
    let out = folder.join("z05.plan/below-a-file");
    let output = run(&format!("shrink {} --out {}", plan.display(), out.display()));
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(said.starts_with("plan 1.0\nscenario Z05\n"), "{said}");
    assert!(told.contains("below-a-file: "), "{told}");
    let out = folder.join("small.plan");
    let output = run(&format!("shrink {} --out {}", plan.display(), out.display()));
    assert_eq!(text(&output.stdout), "");
    assert_eq!(std::fs::read_to_string(out).expect("it is there"), said);
}

#[test]
fn check_keeps_the_plan_of_a_failure_in_its_corpus() {
    let corpus = folder("kept");
    let line = format!("check Z05 --seeds 40 --first --corpus {}", corpus.display());
    let output = run(&line);
    let said = text(&output.stdout);
    let kept = said.lines().find_map(|line| line.strip_prefix("kept      ")).expect(said);
    assert!(kept.starts_with(&corpus.display().to_string()) && Path::new(kept).is_file());
    let again = run(&line);
    assert!(text(&again.stdout).contains("\nfirst 1 plan of an earlier failure was replayed\n"));
    std::fs::remove_file(kept).expect("it is there");
    let output = run(&format!("{line} --json"));
    let found: Value = serde_json::from_str(text(&output.stdout)).expect("it is JSON");
    assert_eq!(found["kept"], kept);
}

#[test]
fn a_failure_of_a_plan_of_the_corpus_tells_all_of_it_and_its_file() {
    let corpus = folder("corpus-failure");
    let found = |more: &str| -> Value {
        let line = format!("check Z05 {more} --json --corpus {}", corpus.display());
        serde_json::from_str(text(&run(&line).stdout)).expect("it is JSON")
    };
    let kept = found("--seeds 40 --first")["kept"].as_str().expect("it fails").to_owned();
    let plan =
        std::fs::read_to_string(&kept).expect("it is there") + "slow client 100h..101h by 1ns\n";
    std::fs::write(&kept, &plan).expect("it can be");
    let again = found("--seeds 1");
    let failure = &again["failures"][0];
    assert_eq!(failure["file"], kept, "{again}");
    let fault = failure["fault"].as_str().expect("it has entries");
    assert!(fault.ends_with("slow client 100h..101h by 1ns"), "{fault}");
    assert!(fault.split("; ").all(|entry| plan.contains(entry)), "{fault}");
    let entries = plan.lines().filter(|line| !line.starts_with('#')).skip(3).count();
    assert_eq!(fault.split("; ").count(), entries, "{plan}");
}

#[test]
fn as_many_seeds_as_there_are_is_no_overflow() {
    let corpus = folder("overflow");
    std::fs::write(corpus.join("echo.0.plan"), "plan 1.0\nscenario echo\n").expect("it can be");
    let seeds = u64::MAX;
    let more = format!("--json --budget 1 --corpus {}", corpus.display());
    let found = json(&format!("check echo --seeds {seeds} {more}"));
    assert!(found["seeds"].as_u64() > Some(0) && found["cut_short"] == true, "{found}");
    assert!(printed("check echo --seeds 1").contains("is below 100.00 %"));
}

#[test]
fn a_plan_about_hosts_that_are_not_there_is_refused() {
    let path = folder("hosts").join("typo.plan");
    let plan = "plan 1.0\nscenario echo\ncrash serverr 1s for 1s\n";
    std::fs::write(&path, plan).expect("it can be written");
    for how in ["replay", "explain", "shrink"] {
        let said = fails(&format!("{how} {}", path.display()), 2);
        assert!(said.contains("line 3") && said.contains("did you mean server?"), "{said}");
    }
}
