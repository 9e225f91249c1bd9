//! What a person gets whose protocol is wrong, in a crate of their own that knows ours by path.
//!
//! The crate is `tests/fixtures/counter`. It is copied below `target`, since its failure leaves a plan next
//! to its test.

#![allow(
    clippy::disallowed_methods,
    reason = "it runs cargo, as a person would; no simulated code is here"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The copy of the crate.
struct Crate(PathBuf);

impl Crate {
    fn fresh() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("it is a member");
        let fixture = workspace.join("tests/fixtures/counter");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("counter");
        drop(fs::remove_dir_all(folder.join("tests")));
        for sub in ["src", "tests"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        for file in ["src/lib.rs", "tests/sums.rs"] {
            fs::copy(fixture.join(file), folder.join(file)).unwrap();
        }
        let manifest = fs::read_to_string(fixture.join("Cargo.toml")).unwrap();
        let here = format!("path = \"{}/", workspace.display());
        fs::write(folder.join("Cargo.toml"), manifest.replace("path = \"../../../", &here))
            .unwrap();
        // The versions that are here already.
        fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
        Self(folder)
    }

    /// Runs a line in a shell, in the crate's folder, and nothing of this test's own environment.
    fn shell(&self, line: &str) -> Output {
        let mut command = Command::new("sh");
        command.arg("-c").arg(line).current_dir(&self.0);
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO") && name != "CARGO_HOME" || name.starts_with("SIM_") {
                command.env_remove(name);
            }
        }
        command
            .env("CARGO_TARGET_DIR", self.0.join("target"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("RUST_BACKTRACE", "0");
        command.output().expect("there is a shell")
    }

    fn test(&self) -> String {
        failing(&self.shell("cargo test"))
    }

    fn corpus(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.0.join("tests/sim-corpus")).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

/// What a test that failed has printed.
#[track_caller]
fn failing(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("panicked"), "{text}\n{errors}");
    text
}

/// What stands behind a word at the beginning of a line.
#[track_caller]
fn behind<'a>(word: &str, text: &'a str) -> &'a str {
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.unwrap_or_else(|| panic!("no line begins with {word:?} in\n{text}")).trim()
}

#[test]
fn a_wrong_protocol_is_explained_replayed_and_found_again() {
    let user = Crate::fresh();

    let text = user.test();
    let broken = "each_number_is_added_once: each number is added once: the sum is ";
    assert!(text.contains(broken), "{text}");
    assert!(text.contains(" to 1 in ") && text.contains("(bound 1 of 1):\n  1. "), "{text}");
    assert!(text.contains("what happened:\n"), "{text}");
    for what in ["timeline", "capture", "kept"] {
        let path = Path::new(behind(what, &text));
        assert!(path.is_absolute() && path.is_file(), "{what}: {}", path.display());
    }
    let kept = user.corpus();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0], Path::new(behind("kept", &text)));

    // The line that is printed reproduces it in any shell, and keeps nothing more.
    let again = failing(&user.shell(behind("replay", &text)));
    assert!(again.contains(broken) && again.contains("the plan (bound 1 of 1):"), "{again}");
    let hash = |text: &str| text.split("trace hash ").nth(1).map(|rest| rest[..16].to_owned());
    assert_eq!(hash(&again), hash(&text));

    // It can be stopped on its way.
    let stop =
        |at: &str| failing(&user.shell(&format!("SIM_STOP_AT={at} {}", behind("replay", &text))));
    let stopped = stop("12");
    let first = "counter::each_number_is_added_once: stopped at step 12: step 12, ";
    assert!(stopped.contains(first) && stopped.contains("\nthe last records:\n"), "{stopped}");
    assert!(stopped.contains(" #12 ") && !stopped.contains(" #13 "), "{stopped}");
    let wrong =
        "SIM_STOP_AT=\"soon\": give it a step, such as 2844, or a virtual time, such as 1.2s";
    assert!(stop("soon").contains(wrong));

    // From now on the plan comes before any seed.
    let third = user.test();
    assert!(third.contains(broken) && third.contains("1 run failed, of 0 seeds"), "{third}");
    assert_eq!(user.corpus(), kept);

    // Mended, it passes, and the plan stays as a regression.
    let source = user.0.join("src/lib.rs");
    let wrong = fs::read_to_string(&source).unwrap();
    let mended = wrong
        .replace("pub sum: u64,\n", "pub sum: u64,\n    last: u8,\n")
        .replace("            self.sum +=", "            if number > self.last {\n                self.last = number;\n                self.sum +=")
        .replace("u64::from(more);\n", "u64::from(more);\n            }\n");
    fs::write(&source, mended).unwrap();
    let output = user.shell("cargo test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(user.corpus(), kept);
}
