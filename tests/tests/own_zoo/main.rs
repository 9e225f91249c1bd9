//! The simulator's own zoo: bugs planted in our engine, driver, TCP, links, plans and search, each with
//! the test that must notice.
//!
//! `tests/own-zoo/*.patch` says what they are (see [`patch`]). They go into a copy of the source, so
//! that the shipped code has no switch; there an environment variable chooses one of them, and one
//! build has them all. `SIMULATOR_ZOO=1 cargo test -p tests --test own_zoo` builds the copy and runs
//! the tests; `SIMULATOR_ZOO=fifo-ties,timer-order` runs those of some mutants alone.

#![allow(
    clippy::disallowed_methods,
    reason = "it copies files and runs cargo and tests; no simulated code is here"
)]

mod copy;
mod patch;
mod trial;

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use self::copy::Copy;
use self::patch::{Mutant, Mutants};
use self::trial::Trial;

fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in it")
}

/// A mutant that no longer fits into the source is told by its name, without building anything.
#[test]
fn every_patch_applies() {
    let mutants = Mutants::read(&workspace().join("tests/own-zoo"));
    let mut sources = mutants.sources(workspace());
    let failures = mutants.apply(&mut sources);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(mutants.0.len() >= 20, "{} mutants", mutants.0.len());
    let names: BTreeSet<&str> = mutants.0.iter().map(|mutant| &*mutant.name).collect();
    assert_eq!(names.len(), mutants.0.len(), "a name is used twice: {names:?}");
    for (path, text) in &sources {
        assert!(!text.contains("MUTANT"), "{}: a switch without a name", path.display());
    }
}

#[test]
fn every_mutant_is_caught_by_its_test() {
    let Ok(wanted) = env::var("SIMULATOR_ZOO") else {
        return println!("skipped: SIMULATOR_ZOO is not set");
    };
    let mutants = Mutants::read(&workspace().join("tests/own-zoo"));
    let tests = Copy::make(workspace(), &mutants).build();

    let named: Vec<&str> = wanted.split(',').collect();
    let is_wanted = |mutant: &&Mutant| wanted == "1" || named.contains(&&*mutant.name);
    let mutants: Vec<&Mutant> = mutants.0.iter().filter(is_wanted).collect();
    assert!(!mutants.is_empty(), "SIMULATOR_ZOO={wanted}: no mutant has such a name");

    let distinct: BTreeSet<(&str, &str)> = mutants.iter().map(|mutant| mutant.test()).collect();
    let sound = distinct.into_iter().map(|test| Trial { mutant: None, test });
    let broken = mutants.iter().map(|&mutant| Trial { mutant: Some(mutant), test: mutant.test() });
    let failures = trial::judge_all(&tests, sound.chain(broken).collect());
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    println!("{} mutants, each caught by its test", mutants.len());
}
