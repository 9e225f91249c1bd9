//! How many cases a property test plays, and which.

use std::env;

use proptest::test_runner::{Config, RngSeed};

/// So many cases, the same ones each time. `PROPTEST_CASES` sets another number, and `PROPTEST_RNG_SEED` others.
pub fn fixed(cases: u32) -> Config {
    let mut config = Config { failure_persistence: None, ..Config::default() };
    if env::var_os("PROPTEST_CASES").is_none() {
        config.cases = cases;
    }
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(0);
    }
    config
}
