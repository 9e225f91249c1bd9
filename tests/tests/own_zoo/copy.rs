//! A copy of the source with all mutants in it, and its tests.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::patch::Mutants;

/// The crates that have mutants.
const CRATES: [&str; 3] = ["sim-core", "sim-net", "sim-check"];

/// What chooses the mutant, in the copy alone.
const SWITCH: &str = "//! Which mutant is on.

use std::sync::OnceLock;

/// True if it is this one.
pub(crate) fn is(name: &str) -> bool {
    static ON: OnceLock<String> = OnceLock::new();
    ON.get_or_init(|| std::env::var(\"OWN_ZOO\").unwrap_or_default()) == name
}
";

/// A copy of the workspace.
pub(crate) struct Copy {
    folder: PathBuf,
    /// What was written anew or is as it was: whatever else is there is of an earlier copy.
    files: Vec<PathBuf>,
}

/// The test binaries by their names, each with the folder that its tests run in.
pub(crate) type Binaries = BTreeMap<String, (PathBuf, PathBuf)>;

impl Copy {
    /// Copies the workspace to below `target`, with the mutants in it.
    pub(crate) fn make(workspace: &Path, mutants: &Mutants) -> Self {
        let mut sources = mutants.sources(workspace);
        let failures = mutants.apply(&mut sources);
        assert!(failures.is_empty(), "{}", failures.join("\n"));
        for name in CRATES {
            let root = Path::new(name).join("src/lib.rs");
            let read = || fs::read_to_string(workspace.join(&root)).expect("a crate has a root");
            let text = sources.entry(root.clone()).or_insert_with(read);
            text.push_str("\nmod own_zoo;\n");
            sources.insert(Path::new(name).join("src/own_zoo.rs"), SWITCH.to_owned());
        }
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("own-zoo");
        let mut copy = Self { folder, files: Vec::new() };
        copy.take(workspace, Path::new(""), &sources);
        for (path, text) in &sources {
            copy.write(path, text.as_bytes());
        }
        copy.clear(Path::new(""));
        copy
    }

    fn take(&mut self, workspace: &Path, below: &Path, others: &crate::patch::Sources) {
        for entry in fs::read_dir(workspace.join(below)).expect("a folder of the workspace") {
            let entry = entry.expect("it can be read");
            let path = below.join(entry.file_name());
            let name = entry.file_name();
            if entry.path().is_dir() {
                let is_source = name != "target" && name != "fuzz" && name != ".git";
                if is_source {
                    self.take(workspace, &path, others);
                }
            } else if !others.contains_key(&path) && name != ".git" {
                self.write(&path, &fs::read(entry.path()).expect("it can be read"));
            }
        }
    }

    /// Writes a file, unless it is there as it is: what did not change is not built again.
    fn write(&mut self, path: &Path, content: &[u8]) {
        self.files.push(path.to_owned());
        let path = self.folder.join(path);
        if fs::read(&path).is_ok_and(|there| there == content) {
            return;
        }
        fs::create_dir_all(path.parent().expect("it is below the copy")).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Takes away what an earlier copy had and this one has not.
    fn clear(&self, below: &Path) {
        for entry in fs::read_dir(self.folder.join(below)).expect("it was made") {
            let entry = entry.expect("it can be read");
            let path = below.join(entry.file_name());
            if entry.path().is_dir() {
                if path != Path::new("target") {
                    self.clear(&path);
                }
            } else if !self.files.contains(&path) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    /// Builds the tests.
    pub(crate) fn build(&self) -> Binaries {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.args(["test", "--no-run", "--offline", "-p", "sim-core", "-p", "sim-net"]);
        command.args(["-p", "sim-check", "-p", "tests"]);
        command.args(["--lib", "--test", "it", "--test", "conformance", "--test", "search"]);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with("CARGO") && name != "CARGO_HOME" || text.starts_with("SIM_") {
                command.env_remove(&name);
            }
        }
        // They are built once and run once.
        command
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_TEST_DEBUG", "0")
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("CARGO_TERM_COLOR", "never")
            .current_dir(&self.folder);
        let output = command.output().expect("cargo can be run");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "the copy with the mutants does not build:\n{text}");
        text.lines().filter_map(|line| self.binary(line)).collect()
    }

    /// The binary that a line of cargo names: `Executable tests/it/main.rs (target/../it-0123)`.
    fn binary(&self, line: &str) -> Option<(String, (PathBuf, PathBuf))> {
        let path = line.trim().strip_prefix("Executable ")?.split_once('(')?.1.strip_suffix(')')?;
        let path = self.folder.join(path);
        let (name, _) = path.file_name()?.to_str()?.rsplit_once('-')?;
        let package = match name {
            "sim_core" => "sim-core",
            "sim_check" => "sim-check",
            "sim_net" | "it" => "sim-net",
            _ => "tests",
        };
        Some((name.to_owned(), (path.clone(), self.folder.join(package))))
    }
}
