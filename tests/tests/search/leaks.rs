//! Leaks of nondeterminism, planted: each is detected, and the report shows where two runs part.

use std::cell::Cell;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use sim_check::check;
use sim_core::{Cx, Protocol, World};

/// Something that is not a function of the seed.
type Leak = fn() -> u64;

/// A scenario that is sound but for one value in the middle of it.
async fn leaks(world: World, leak: Leak) {
    let (client, server) = (world.host("client"), world.host("server"));
    for round in 0..20 {
        client.sleep(Duration::from_millis(10)).await;
        client.mark("round", round);
        if round == 10 {
            server.mark("leak", leak());
        }
        server.sleep(Duration::from_millis(5)).await;
    }
}

#[track_caller]
fn is_detected_and_located(leak: Leak) {
    let verdict = check("leak").seeds(1).verdict(|world| leaks(world, leak));
    let failed = verdict.failures.first().expect("two runs differ");
    let difference = failed.difference.as_ref().expect("it is no failure of the scenario");
    let lines: Vec<&str> = difference.lines().collect();
    let [.., one, other] = lines[..] else { panic!("{difference}") };
    assert!(one.starts_with("- ") && other.starts_with("+ "), "{difference}");
    // It is on the server, after ten rounds, and the twenty records before it are told.
    for line in [one, other] {
        assert!(line.contains("server") && line.contains("mark"), "{difference}");
    }
    assert!(lines.len() > 20, "{difference}");
    let text = verdict.to_string();
    assert!(text.contains("NOT DETERMINISTIC") && text.contains(one), "{text}");
}

#[test]
fn the_order_of_a_hash_map() {
    is_detected_and_located(|| {
        let map: HashMap<u64, ()> = (0..64).map(|n| (n, ())).collect();
        map.keys().fold(0_u64, |hash, key| hash.wrapping_mul(31).wrapping_add(*key))
    });
}

#[test]
fn the_first_of_a_hash_set() {
    is_detected_and_located(|| {
        let set: HashSet<u64> = (0..1_000_000).step_by(1_000).collect();
        set.into_iter().next().unwrap()
    });
}

#[test]
fn the_hash_of_a_random_state() {
    is_detected_and_located(|| RandomState::new().hash_one(7));
}

#[test]
fn the_wall_clock() {
    is_detected_and_located(|| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap().as_nanos() as u64
    });
}

#[test]
fn time_that_passes() {
    static BEGAN: OnceLock<Instant> = OnceLock::new();
    is_detected_and_located(|| BEGAN.get_or_init(Instant::now).elapsed().as_nanos() as u64);
}

#[test]
fn the_thread() {
    is_detected_and_located(|| {
        let id = format!("{:?}", std::thread::current().id());
        id.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
    });
}

#[test]
fn an_address() {
    is_detected_and_located(|| {
        let local = 7_u8;
        std::hint::black_box(&raw const local) as usize as u64
    });
}

#[test]
fn a_counter_that_goes_on_across_runs() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    is_detected_and_located(|| COUNT.fetch_add(1, Ordering::Relaxed));
}

#[test]
fn what_a_thread_remembers() {
    thread_local! { static RUNS: Cell<u64> = const { Cell::new(0) }; }
    // The second run is on another thread, which remembers less.
    is_detected_and_located(|| {
        static OTHERS: AtomicU64 = AtomicU64::new(0);
        let others = OTHERS.fetch_add(1, Ordering::Relaxed);
        RUNS.set(RUNS.get() + 1 + others);
        RUNS.get()
    });
}

#[test]
fn a_cache_that_grows() {
    static CACHE: Mutex<Vec<u64>> = Mutex::new(Vec::new());
    is_detected_and_located(|| {
        let mut cache = CACHE.lock().unwrap();
        cache.push(7);
        cache.len() as u64
    });
}

#[test]
fn a_race_between_threads() {
    is_detected_and_located(|| {
        let turns = AtomicU64::new(0);
        std::thread::scope(|scope| {
            let spin = || {
                let until = Instant::now() + Duration::from_micros(300);
                while Instant::now() < until {
                    turns.fetch_add(1, Ordering::Relaxed);
                }
            };
            scope.spawn(spin);
            scope.spawn(spin);
        });
        turns.into_inner()
    });
}

/// Remembers something that is not a function of the seed, and does nothing with it.
struct Secretive(Option<u64>);

impl Protocol for Secretive {
    fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {
        static ARRIVALS: AtomicU64 = AtomicU64::new(0);
        self.0 = Some(ARRIVALS.fetch_add(1, Ordering::Relaxed));
    }

    fn digest(&self) -> Option<String> {
        self.0.map(|arrival| format!("arrival {arrival} is the last"))
    }
}

async fn keeps_a_secret(world: World, closes: bool) -> io::Result<()> {
    let (client, server) = (world.host("client"), world.host("server"));
    let _listening = server.create_server(("server", 7000), || Secretive(None)).await?;
    let conn = client.create_connection(("server", 7000), || Secretive(None)).await?;
    conn.transport().write(b"well?");
    client.sleep(Duration::from_millis(10)).await;
    if closes {
        conn.transport().close();
        client.sleep(Duration::from_millis(10)).await;
    }
    // Long after the one place that knows of it.
    for _ in 0..20 {
        client.sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

#[test]
fn what_a_protocol_says_of_its_state_last_and_nothing_else_tells() {
    for closes in [true, false] {
        let verdict = check("secret").seeds(1).verdict(move |world| keeps_a_secret(world, closes));
        let failed = verdict.failures.first().expect("two runs differ");
        let difference = failed.difference.as_ref().expect("it is no failure of the scenario");
        let [.., before, one, other] = difference.lines().collect::<Vec<_>>()[..] else {
            panic!("{difference}")
        };
        for line in [one, other] {
            let says = line.contains("server") && line.contains(" state: arrival ");
            assert!(says && line.ends_with(" is the last"), "{difference}");
        }
        // It was asked when it had been told of the loss, or in the end.
        assert_eq!(before.contains("connection_lost"), closes, "{difference}");
        assert!(verdict.to_string().contains("NOT DETERMINISTIC"), "{verdict}");
    }
}

/// The other way round: what is a function of the seed is no leak, however it is asked for.
#[test]
fn the_seed_is_no_leak() {
    let verdict = check("sound").seeds(32).verdict(|world: World| async move {
        let lp = world.host("client");
        lp.mark("drawn", lp.rng("x").next_u64());
        lp.sleep(Duration::from_secs(1)).await;
    });
    assert!(verdict.is_green(), "{verdict}");
}

/// A run that fails once and succeeds once is no failure like others, and never green, though its records are the same.
#[test]
fn an_outcome_that_leaves_no_record() {
    static RUNS: AtomicU64 = AtomicU64::new(0);
    for even_fails in [true, false] {
        let verdict = check("outcome").seeds(1).verdict(move |world: World| async move {
            world.host("n1").sleep(Duration::from_millis(10)).await;
            let is_even = RUNS.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            if is_even == even_fails { Err(io::Error::other("unlucky")) } else { Ok(()) }
        });
        let difference = verdict.failures[0].difference.as_deref().unwrap();
        assert!(
            difference.contains("unlucky") && difference.contains("it succeeds"),
            "{difference}"
        );
        assert!(verdict.to_string().contains("NOT DETERMINISTIC"), "{verdict}");
    }
}
