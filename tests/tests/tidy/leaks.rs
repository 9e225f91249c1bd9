//! Ways out of a simulation that `clippy.toml` is to bar.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::{Workspace, none};

/// Code that asks the machine for something, by the standard library, and what bars it.
const OF_STD: &[(&str, &str)] = &[
    ("the wall clock", "std::time::Instant::now()"),
    ("the wall clock", "std::time::SystemTime::now()"),
    ("a time that passes, of a clock that somebody gave", "INSTANT.unwrap().elapsed()"),
    ("a time that passes, of a clock that somebody gave", "SYSTEM_TIME.unwrap().elapsed()"),
    ("when a file was written", "std::fs::metadata(\"x\").unwrap().modified()"),
    ("when a file was read", "std::fs::metadata(\"x\").unwrap().accessed()"),
    ("when a file was made", "std::fs::metadata(\"x\").unwrap().created()"),
    ("a thread", "std::thread::spawn(|| {})"),
    ("a thread with a name", "std::thread::Builder::new().spawn(|| {})"),
    ("threads of a scope", "std::thread::scope(|_| {})"),
    (
        "threads of a scope with names",
        "|scope: &'static std::thread::Scope<'static, 'static>| \
         std::thread::Builder::new().spawn_scoped(scope, || {})",
    ),
    ("which thread it is", "std::thread::current().id()"),
    ("a pause of the thread", "std::thread::sleep(std::time::Duration::ZERO)"),
    ("how many processors there are", "std::thread::available_parallelism()"),
    ("the number of the process", "std::process::id()"),
    ("the environment", "std::env::var(\"X\")"),
    ("the environment", "std::env::var_os(\"X\")"),
    ("the environment", "std::env::vars()"),
    ("the environment", "std::env::vars_os()"),
    ("the command line", "std::env::args()"),
    ("the command line", "std::env::args_os()"),
    ("where it was started", "std::env::current_dir()"),
    ("where there is room for a while", "std::env::temp_dir()"),
    ("the order of a hash map", "std::collections::HashMap::<u8, u8>::new()"),
    ("the order of a hash set", "std::collections::HashSet::<u8>::new()"),
    ("a random state", "std::hash::RandomState::new()"),
];

/// What crates of others have for the same, which a workspace may have or not.
const OF_OTHERS: &[&str] = &[
    "futures::select",
    "futures_util::select",
    "getrandom::fill",
    "getrandom::getrandom",
    "getrandom::u64",
    "rand::rng",
    "rand::random",
    "rand::thread_rng",
    "rand::rngs::OsRng",
    "rand::SeedableRng::from_entropy",
    "rand::SeedableRng::from_os_rng",
    "ring::rand::SystemRandom",
    "fastrand::Rng::new",
    "fastrand::u64",
    "uuid::Uuid::new_v4",
    "ahash::RandomState",
    "tokio::time::Instant",
    "tokio::task::spawn_blocking",
    "chrono::Utc::now",
    "rayon::spawn",
];

/// The entries of `clippy.toml`: their paths, and whether they may name what is not there.
fn entries(text: &str) -> Vec<(&str, bool)> {
    let entries = text.lines().filter_map(|line| {
        let path = line.trim().strip_prefix("{ path = \"")?.split('"').next()?;
        Some((path, line.contains("allow-invalid = true")))
    });
    entries.collect()
}

#[test]
fn what_crates_of_others_ask_the_machine_is_barred() {
    let workspace = Workspace::read();
    let entries = entries(workspace.text("clippy.toml"));
    let barred = |path: &str| entries.iter().any(|entry| entry.0 == path);
    none(
        "clippy.toml does not bar:",
        OF_OTHERS.iter().filter(|path| !barred(path)).map(|&p| p.into()).collect(),
    );
    // It is copied to where these crates are not, and a misspelt path of the standard library is to be told.
    let wrong = entries.iter().filter(|(path, may)| path.starts_with("std::") == *may);
    none(
        "allow-invalid is for crates that may be missing:",
        wrong.map(|entry| entry.0.into()).collect(),
    );
}

/// Each way in a function of its own, in a crate of its own, and clippy says which it bars.
#[test]
fn what_the_standard_library_asks_the_machine_is_barred() {
    let workspace = Workspace::read();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("leaks");
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest =
        "[package]\nname = \"leaks\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[workspace]\n";
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::write(folder.join("clippy.toml"), workspace.text("clippy.toml")).unwrap();
    // Nothing names the types of these two.
    let mut code = String::from(
        "#![allow(clippy::disallowed_types)]\n\
         const INSTANT: Option<std::time::Instant> = None;\n\
         const SYSTEM_TIME: Option<std::time::SystemTime> = None;\n\
         pub mod leaks {\n#![warn(clippy::disallowed_types)]\nuse super::*;\n",
    );
    let before = code.lines().count();
    for (number, (_, leak)) in OF_STD.iter().enumerate() {
        writeln!(code, "pub fn leak_{number}() {{ let _ = {leak}; }}").unwrap();
    }
    code.push_str("}\n");
    fs::write(folder.join("src/lib.rs"), code).unwrap();
    // So that it is looked at again.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut clippy = Command::new(cargo);
    clippy.args(["clippy", "--offline", "--quiet", "--message-format", "short"]);
    clippy.current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target"));
    for name in ["CLIPPY_CONF_DIR", "CLIPPY_ARGS", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        clippy.env_remove(name);
    }
    let told = match clippy.output() {
        Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
        Err(error) => return println!("skipped: cargo cannot be run: {error}"),
    };
    if told.contains("no such command") || told.contains("is not installed") {
        return println!("skipped: there is no clippy: {told}");
    }
    assert!(!told.contains("error"), "{told}");
    let is_barred = |number: usize| {
        let place = format!("src/lib.rs:{}:", before + 1 + number);
        told.lines().any(|line| line.starts_with(&place) && line.contains("disallowed"))
    };
    let open = OF_STD.iter().enumerate().filter(|(number, _)| !is_barred(*number));
    let open = open.map(|(_, (what, leak))| format!("{what}: {leak}"));
    none(&format!("clippy.toml does not bar these:\n{told}"), open.collect());
}
