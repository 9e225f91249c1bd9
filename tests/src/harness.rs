//! One test, two loops.
//!
//! [`both_loops!`] takes async functions over a [`World`], and makes two tests of each: `sim`, in
//! the simulator, over three seeds and with some jitter on its links, each run twice and held to
//! the same trace hash; and `real`, on real sockets. [`both_bare_loops!`] takes functions over a
//! [`Make`] of bare loops, for the life cycle. [`sim_only!`] and [`real_only!`] are for statements
//! about one loop.
//!
//! The doc comment of such a test begins with the ids of the contract's statements that it shows.
//!
//! [`both_loops!`]: crate::both_loops
//! [`both_bare_loops!`]: crate::both_bare_loops
//! [`sim_only!`]: crate::sim_only
//! [`real_only!`]: crate::real_only

use std::fmt::Debug;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sim_core::{EventLoop, Outcome, PanicPolicy, World};
use sim_net::Sim;

/// The seeds that a simulated test runs on.
const SEEDS: std::ops::Range<u64> = 0..3;
/// The latency of the links between hosts.
const LATENCY: std::ops::Range<Duration> = Duration::from_micros(500)..Duration::from_micros(1500);

/// Makes bare loops, of the kind that the test is about.
#[derive(Debug, Clone, Copy)]
pub enum Make {
    /// In the simulator.
    Sim,
    /// On real sockets.
    Real,
}

impl Make {
    /// A new bare loop.
    pub fn new_loop(self) -> EventLoop {
        match self {
            Self::Sim => sim_net::new_loop(),
            Self::Real => real_net::new_loop().expect("there are descriptors left"),
        }
    }

    /// A new bare loop on which panics in callbacks are contained, as most of the contract's
    /// statements about them assume (ruling 2).
    pub fn containing_loop(self) -> EventLoop {
        let lp = self.new_loop();
        lp.set_panic_policy(PanicPolicy::Contain);
        lp
    }
}

/// What a panic in a callback does to the test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panics {
    /// It fails it.
    Fail,
    /// It is contained, and the test looks at what it cost.
    Contain,
}

/// Runs a scenario in the simulator.
///
/// # Panics
///
/// If it fails, or two runs of a seed differ.
#[track_caller]
pub fn on_sim<S, F>(scenario: S, panics: Panics)
where
    S: Fn(World) -> F,
    F: Future + 'static,
    F::Output: Outcome + 'static,
{
    for seed in SEEDS {
        let run = || {
            let policy = match panics {
                Panics::Fail => PanicPolicy::EndRun,
                Panics::Contain => PanicPolicy::Contain,
            };
            Sim::new(seed).latency(LATENCY).panic_policy(policy).run(&scenario)
        };
        let (first, second) = (run(), run());
        let hashes = (first.hash, second.hash);
        if let Err(finding) = first.outcome {
            panic!("seed {seed}: {finding}");
        }
        assert_eq!(hashes.0, hashes.1, "seed {seed}: two runs differ");
    }
}

/// Runs a scenario on real sockets.
///
/// # Panics
///
/// If it fails.
#[track_caller]
pub fn on_real<S, F>(scenario: S, panics: Panics)
where
    S: Fn(World) -> F,
    F: Future + 'static,
    F::Output: Outcome,
{
    let stores = Stores::new();
    let runner = real_net::Runner::new()
        .limit(Duration::from_secs(60))
        .store_dir(&stores.0)
        .allow_contained_panics(panics == Panics::Contain);
    if let Err(error) = runner.run(scenario) {
        panic!("on real sockets: {error}");
    }
}

/// A directory for the stores of one run on real sockets, removed at its end.
struct Stores(PathBuf);

impl Stores {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("sim-stores-{}-{number}", std::process::id())))
    }
}

impl Drop for Stores {
    fn drop(&mut self) {
        // Most tests have no store.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The only item of something, for tests that expect one.
///
/// # Panics
///
/// If there are more or fewer.
#[track_caller]
pub fn only<T: Debug>(items: impl IntoIterator<Item = T>) -> T {
    let mut items: Vec<T> = items.into_iter().collect();
    assert_eq!(items.len(), 1, "expected one item: {items:?}");
    items.remove(0)
}

/// Makes a simulated and a real test of each async function over a `World`.
///
/// With `contain;` before the functions, panics in callbacks are contained, and the test looks at
/// what they cost; otherwise they fail it.
#[macro_export]
macro_rules! both_loops {
    (contain; $($tests:tt)*) => { $crate::world_tests! { [sim real] Contain $($tests)* } };
    ($($tests:tt)*) => { $crate::world_tests! { [sim real] Fail $($tests)* } };
}

/// As [`both_loops!`](crate::both_loops), for statements about the simulator.
#[macro_export]
macro_rules! sim_only {
    (contain; $($tests:tt)*) => { $crate::world_tests! { [sim] Contain $($tests)* } };
    ($($tests:tt)*) => { $crate::world_tests! { [sim] Fail $($tests)* } };
}

/// As [`both_loops!`](crate::both_loops), for statements about real sockets.
#[macro_export]
macro_rules! real_only {
    (contain; $($tests:tt)*) => { $crate::world_tests! { [real] Contain $($tests)* } };
    ($($tests:tt)*) => { $crate::world_tests! { [real] Fail $($tests)* } };
}

/// As [`both_loops!`](crate::both_loops), for functions over a [`Make`](crate::harness::Make) of
/// bare loops.
#[macro_export]
macro_rules! both_bare_loops {
    ($($(#[$meta:meta])* fn $name:ident($make:ident: Make) $body:block)*) => { $(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "a test need not use all of its file's imports")]
            use super::*;

            fn scenario($make: $crate::harness::Make) $body

            #[test]
            fn sim() {
                scenario($crate::harness::Make::Sim);
            }

            #[test]
            fn real() {
                scenario($crate::harness::Make::Real);
            }
        }
    )* };
}

/// The common part of [`both_loops!`](crate::both_loops) and its siblings.
#[doc(hidden)]
#[macro_export]
macro_rules! world_tests {
    ($loops:tt $panics:ident $($(#[$meta:meta])* async fn $name:ident($world:ident: World) $(-> $output:ty)? $body:block)*) => { $(
        $(#[$meta])*
        mod $name {
            #[allow(unused_imports, reason = "a test need not use all of its file's imports")]
            use super::*;

            async fn scenario($world: sim_core::World) $(-> $output)? $body

            $crate::world_test_functions! { $loops $panics }
        }
    )* };
}

#[doc(hidden)]
#[macro_export]
macro_rules! world_test_functions {
    ([sim real] $panics:ident) => {
        $crate::world_test_functions! { [sim] $panics }
        $crate::world_test_functions! { [real] $panics }
    };
    ([sim] $panics:ident) => {
        #[test]
        fn sim() {
            $crate::harness::on_sim(scenario, $crate::harness::Panics::$panics);
        }
    };
    ([real] $panics:ident) => {
        #[test]
        fn real() {
            $crate::harness::on_real(scenario, $crate::harness::Panics::$panics);
        }
    };
}
