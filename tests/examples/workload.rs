//! Runs one workload and prints a line in the format of the peers' benchmark programs:
//! `workload,peer,ops,seconds,ns_per_op,peak_rss_kib`. The seconds are the process's CPU time for
//! the real loop, and wall time for the simulator.
//!
//! `cargo run --release -p tests --example workload -- S2 n=100000 size=64`

use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tests::workloads::{self, Echoing};

/// `key=value` arguments.
struct Options(Vec<(String, u64)>);

impl Options {
    fn parse(args: impl Iterator<Item = String>) -> Option<Self> {
        let pair = |arg: String| {
            let (key, value) = arg.split_once('=')?;
            Some((key.to_owned(), value.parse().ok()?))
        };
        args.map(pair).collect::<Option<_>>().map(Self)
    }

    fn get(&self, key: &str, default: u64) -> u64 {
        self.0.iter().find(|(known, _)| known == key).map_or(default, |&(_, value)| value)
    }
}

fn run(workload: &str, options: &Options) -> Option<u64> {
    let get = |key, default| options.get(key, default);
    let delay = Duration::from_micros(get("max_us", 1_000_000));
    let pending = get("pending", 10_000);
    Some(match workload {
        "S1" => workloads::timers(&sim_net::new_loop(), pending, get("n", 1_000_000), delay),
        "S1t" => workloads::sleeps(&sim_net::new_loop(), pending, get("sleeps", 100), delay),
        "S2" => workloads::tcp_round_trips(get("n", 100_000), get("size", 64) as usize),
        "S2m" | "S2s" | "R2m" | "R2s" => {
            let by_streams = workload.ends_with('s');
            let echoing = if by_streams { Echoing::Streams } else { Echoing::Callbacks };
            let (bursts, window, size) =
                (get("n", 20_000), get("window", 1) as usize, get("size", 64) as usize);
            if workload.starts_with('S') {
                return Some(workloads::messages(echoing, bursts, window, size));
            }
            let echo = |world| workloads::message_echo(world, echoing, bursts, window, size);
            real_net::run(echo).expect("loopback echoes");
            bursts * window as u64
        }
        "S2u" => workloads::udp_round_trips(get("n", 100_000), get("size", 64) as usize),
        "S3" => workloads::bulk(get("mib", 256), get("chunk", 65_536) as usize),
        "S4" => workloads::many_clients(get("hosts", 1_000), get("reqs", 20)),
        "S5" => {
            workloads::datagrams(get("n", 200_000), get("size", 512) as usize, get("burst", 10))
        }
        "S6" => {
            let period = Duration::from_millis(get("period_ms", 100));
            workloads::gossip(get("hosts", 200), period, get("seconds", 60))
        }
        "S7" => workloads::worlds(get("n", 10_000)),
        "S8" => workloads::idle_hosts(get("hosts", 10_000)),
        "S9" => workloads::open_connections(get("connections", 100_000)),
        "R1" => {
            let lp = real_net::new_loop().expect("there are descriptors left");
            let delay = Duration::from_micros(get("max_us", 10_000));
            workloads::timers(&lp, pending, get("n", 1_000_000), delay)
        }
        "R4" => {
            let lp = real_net::new_loop().expect("there are descriptors left");
            workloads::timers_half_cancelled(&lp, get("n", 1_000_000))
        }
        _ => return None,
    })
}

/// What the processor has worked for the process so far.
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn peak_rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let workload = args.next().unwrap_or_default();
    let began = Instant::now();
    let Some(ops) = Options::parse(args).and_then(|options| run(&workload, &options)) else {
        eprintln!(
            "usage: workload S1|S1t|S2|S2m|S2s|S2u|S3|S4|S5|S6|S7|S8|S9|R1|R2m|R2s|R4 [key=value ..]"
        );
        return ExitCode::from(2);
    };
    let is_real = workload.starts_with('R');
    let seconds = if is_real { cpu_seconds() } else { began.elapsed().as_secs_f64() };
    let per_op = seconds * 1e9 / ops as f64;
    let name = if is_real { "real-net" } else { "sim-net" };
    println!("{workload},{name},{ops},{seconds:.6},{per_op:.1},{}", peak_rss_kib());
    ExitCode::SUCCESS
}
