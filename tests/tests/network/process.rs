//! Processes that a test starts, to be killed or to run out of descriptors: the test's own program, which
//! runs one test, with a variable that says that it is a child.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Set in a child.
const CHILD: &str = "NETWORK_CHILD";
/// Before what a child has to say; the test harness says other things.
const MARK: &str = "said: ";
/// How many descriptors are few: enough for a loop, and for reporting a failure.
const FEW: u64 = 64;

/// A child that runs a test. It ends with its input, which ends with this.
struct Process {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(test: &str) -> Self {
        let program = std::env::current_exe().expect("a test knows its program");
        let mut child = Command::new(program)
            .args(["--exact", test, "--nocapture"])
            .env(CHILD, "")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test's own program starts");
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, output }
    }

    /// Waits for the next that it says.
    fn hear(&mut self) -> String {
        let mut lines = self.output.by_ref().lines().map_while(Result::ok);
        let said = lines.find_map(|line| Some(line.split_once(MARK)?.1.to_owned()));
        said.unwrap_or_else(|| panic!("it said nothing more: {:?}", self.child.wait()))
    }
}

fn say(what: impl std::fmt::Display) {
    println!("{MARK}{what}");
}

fn is_child() -> bool {
    std::env::var_os(CHILD).is_some()
}

/// What `work` gives in a process with few descriptors, for the test called `test`: the child runs it, and
/// comes here again. `None` in the child.
pub(crate) fn with_few_descriptors(test: &str, work: impl FnOnce() -> String) -> Option<String> {
    if is_child() {
        let limit = getrlimit(Resource::Nofile);
        let few = Rlimit { current: Some(FEW), ..limit };
        setrlimit(Resource::Nofile, few).expect("it is lowered");
        say(work());
        return None;
    }
    let mut process = Process::start(test);
    let said = process.hear();
    let ended = process.child.wait().expect("it was started");
    assert!(ended.success(), "{test}: {ended}");
    Some(said)
}

/// A process that accepts connections and does nothing with them.
pub(crate) struct Server {
    process: Process,
    port: u16,
}

impl Server {
    pub(crate) fn start() -> Self {
        let mut process = Process::start("process::a_killed_process_has_closed_its_sockets");
        let port = process.hear().parse().expect("it says its port");
        Self { process, port }
    }

    /// Where it listens, on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Waits until it has accepted a connection.
    pub(crate) fn accepted(&mut self) {
        assert_eq!(self.process.hear(), ACCEPTED);
    }

    /// Kills it; its sockets are closed on return.
    pub(crate) fn kill(mut self) {
        self.process.child.kill().expect("it runs");
        self.process.child.wait().expect("it was started");
    }
}

const ACCEPTED: &str = "accepted";

/// Serves until it is killed, or whoever started it is gone.
fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    say(listener.local_addr().expect("it is bound").port());
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for accepted in listener.incoming() {
            kept.push(accepted);
            say(ACCEPTED);
        }
    });
    let _ = std::io::stdin().read(&mut [0]);
}

/// What the kernel does for a process that is killed, and what [`Server::kill`] waits for (L-64).
#[test]
fn a_killed_process_has_closed_its_sockets() {
    if is_child() {
        return serve();
    }
    let mut server = Server::start();
    let place = ("127.0.0.1", server.port());
    let mut stream = TcpStream::connect(place).expect("it listens");
    server.accepted();
    server.kill();
    assert_eq!(stream.read(&mut [0]).expect("its end"), 0);
    let error = TcpStream::connect(place).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
