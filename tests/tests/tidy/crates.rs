//! The crates' dependencies: which way they point, and how many there are.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::process::Command;

use crate::{Workspace, none};

/// What each crate may depend on, of those in the workspace. `scenarios` is two things: its library
/// knows `sim-core` alone, which a test below holds; its binary sees everything.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sim-core", &[]),
    ("sim-net", &["sim-core"]),
    ("sim-check", &["sim-core", "sim-net"]),
    ("real-net", &["sim-core"]),
    ("scenarios", &["sim-core", "sim-net", "sim-check", "real-net"]),
    ("tests", &["sim-core", "sim-net", "sim-check", "real-net", "scenarios"]),
];

/// The names under `[dependencies]` and `[target.*.dependencies]` of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<&str> {
    let mut inside = false;
    let mut names = BTreeSet::new();
    for line in manifest.lines() {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            inside = section == "dependencies"
                || (section.starts_with("target.") && section.ends_with(".dependencies"));
            if let Some(name) = section.strip_prefix("dependencies.") {
                names.insert(name);
            }
        } else if inside && let Some(end) = line.find(['.', ' ', '=']) {
            names.insert(&line[..end]);
        }
    }
    names
}

#[test]
fn dependencies_point_one_way() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for (name, allowed) in ALLOWED {
        let manifest = workspace.text(&format!("{name}/Cargo.toml"));
        let ours = |other: &&str| ALLOWED.iter().any(|(name, _)| name == other);
        let wrong =
            dependencies(manifest).into_iter().filter(ours).filter(|d| !allowed.contains(d));
        found.extend(wrong.map(|other| format!("{name} depends on {other}")));
    }
    none("scenarios → sim-core ← sim-net ← sim-check; sim-core ← real-net; tests → all:", found);
}

#[test]
fn only_the_real_loop_depends_on_the_operating_system() {
    let workspace = Workspace::read();
    let system = ["mio", "socket2", "rustix", "libc", "signal-hook", "signal-hook-mio", "tokio"];
    let mut found = Vec::new();
    for name in ["sim-core", "sim-net"] {
        let manifest = workspace.text(&format!("{name}/Cargo.toml"));
        let wrong = dependencies(manifest).into_iter().filter(|d| system.contains(d));
        found.extend(wrong.map(|other| format!("{name} depends on {other}")));
    }
    none("sockets, signals and threads belong to real-net:", found);
}

#[test]
fn the_library_of_scenarios_does_not_know_its_loop() {
    let workspace = Workspace::read();
    let library = workspace
        .rust("scenarios/src/")
        .filter(|file| file.path != "scenarios/src/main.rs" && !file.path.contains("/bin/"));
    let words = ["sim_net", "real_net", "sim_check", "is_simulated"];
    let found = library.flat_map(|file| words.iter().flat_map(|word| file.uses(word)));
    none("a scenario is written against sim-core alone:", found.collect());
}

#[test]
fn the_simulator_stays_small() {
    let workspace = Workspace::read();
    let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let tree = Command::new(cargo)
        .args(["tree", "-p", "sim-net", "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(workspace.root())
        .output();
    let output = match tree {
        Ok(output) => output,
        Err(error) => return println!("skipped: cargo cannot be run: {error}"),
    };
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let names = text.lines().filter(|line| !line.is_empty()).map(|line| {
        let mut words = line.split(' ');
        format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default())
    });
    let mut names: BTreeSet<String> = names.collect();
    names.retain(|name| !name.starts_with("sim-net "));
    assert!(names.len() <= 30, "sim-net pulls {} crates, more than 30: {names:#?}", names.len());
}

#[test]
fn a_manifest_gives_its_normal_dependencies() {
    let manifest = "[package]\nname = \"x\"\n\n[dependencies]\na.workspace = true\nb = \"1\"\n\n\
        [dependencies.c]\nversion = \"1\"\n\n[dev-dependencies]\nd = \"1\"\n\n\
        [target.'cfg(unix)'.dependencies]\ne = { version = \"1\" }\n";
    assert_eq!(dependencies(manifest), BTreeSet::from(["a", "b", "c", "e"]));
}
