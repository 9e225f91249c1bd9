//! The servers in turn, under load.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

/// How many connections `wrk` keeps.
const CONNECTIONS: u32 = 100;
/// The unit of processor time in `/proc`, in microseconds.
const TICK_MICROS: f64 = 10_000.0;

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

    /// The processor time that it has had, in user and in all.
    fn ticks(&self) -> io::Result<(f64, f64)> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let after_name = stat.rsplit(") ").next().unwrap_or_default();
        let field = |index: usize| -> Option<f64> {
            after_name.split(' ').nth(index)?.parse().ok()
        };
        let (user, system) = field(11).zip(field(12)).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a process's stat is not as expected")
        })?;
        Ok((user, user + system))
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
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests = requests.and_then(|(number, _)| number.parse().ok());
    if text.contains("Socket errors") || text.contains("Non-2xx") {
        return Err(io::Error::other(format!("wrk saw errors:\n{text}")));
    }
    requests.ok_or_else(|| io::Error::other(format!("wrk said:\n{text}")))
}

/// Microseconds of processor time for a request, in user and in all.
fn measure(which: &str, seconds: u64) -> io::Result<(f64, f64)> {
    let server = Server::start(which)?;
    load(server.addr, 1)?;
    let before = server.ticks()?;
    let requests = load(server.addr, seconds)?;
    let after = server.ticks()?;
    let each = |before: f64, after: f64| (after - before) * TICK_MICROS / requests;
    Ok((each(before.0, after.0), each(before.1, after.1)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub(crate) fn compare(rounds: u64, seconds: u64) -> io::Result<()> {
    let mut ratios = (Vec::new(), Vec::new());
    println!("microseconds of processor time for a request, in user / in all");
    for round in 0..rounds.max(1) {
        // Whoever comes first is first no more often than the other.
        let mut order = ["ours", "tokio"];
        order.rotate_left(round as usize % 2);
        let mut costs = [(0.0, 0.0); 2];
        for which in order {
            costs[usize::from(which == "tokio")] = measure(which, seconds)?;
        }
        let [ours, tokio] = costs;
        ratios.0.push(ours.0 / tokio.0);
        ratios.1.push(ours.1 / tokio.1);
        println!(
            "ours {:.2} / {:.2}, tokio {:.2} / {:.2}: ratio {:.3} / {:.3}",
            ours.0,
            ours.1,
            tokio.0,
            tokio.1,
            ours.0 / tokio.0,
            ours.1 / tokio.1
        );
    }
    println!("median ratio {:.3} / {:.3}", median(ratios.0), median(ratios.1));
    Ok(())
}
