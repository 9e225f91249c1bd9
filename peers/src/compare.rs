//! The servers in turn, under load.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// How many connections `wrk` keeps.
const CONNECTIONS: u32 = 100;

/// A server in a process of its own.
struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    fn start(which: &str) -> io::Result<Self> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let program = std::env::current_exe()?;
        let process = Command::new(program).args([which, &addr.to_string()]).spawn()?;
        let server = Self { process, addr };
        for _ in 0..200 {
            if TcpStream::connect(addr).is_ok() {
                return Ok(server);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(io::Error::other(format!("the server {which} does not start")))
    }

    /// The processor time that it has had, in microseconds.
    fn micros(&self) -> io::Result<f64> {
        let path = format!("/proc/{}/schedstat", self.process.id());
        let nanos = fs::read_to_string(path)?.split(' ').next().and_then(|text| text.parse().ok());
        let nanos: f64 = nanos.ok_or_else(|| io::Error::other("schedstat is not as expected"))?;
        Ok(nanos / 1_000.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Loads a server for a while: how many requests it answered.
fn load(addr: SocketAddr, seconds: u64) -> io::Result<f64> {
    let output = Command::new("wrk")
        .args(["-t1", &format!("-c{CONNECTIONS}"), &format!("-d{seconds}s")])
        .arg(format!("http://{addr}/"))
        .output()
        .map_err(|error| {
            io::Error::new(error.kind(), format!("wrk, which loads the servers: {error}"))
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests = requests.and_then(|(number, _)| number.parse().ok());
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(io::Error::other(format!("wrk saw errors:\n{text}")));
    }
    requests.ok_or_else(|| io::Error::other(format!("wrk said:\n{text}")))
}

/// Microseconds of processor time for a request.
fn measure(which: &str, seconds: u64) -> io::Result<f64> {
    let server = Server::start(which)?;
    load(server.addr, 1)?;
    let before = server.micros()?;
    let requests = load(server.addr, seconds)?;
    Ok((server.micros()? - before) / requests)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn compare(rounds: u64, seconds: u64) -> io::Result<()> {
    let mut ratios = Vec::new();
    println!("microseconds of processor time for a request");
    for round in 0..rounds.max(1) {
        // Whoever comes first is first no more often than the other.
        let mut order = ["ours", "tokio"];
        order.rotate_left(round as usize % 2);
        let mut costs = [0.0; 2];
        for which in order {
            costs[usize::from(which == "tokio")] = measure(which, seconds)?;
        }
        let [ours, tokio] = costs;
        ratios.push(ours / tokio);
        println!("ours {ours:.2}, tokio {tokio:.2}: ratio {:.3}", ours / tokio);
    }
    println!("median ratio {:.3}", median(ratios));
    Ok(())
}
