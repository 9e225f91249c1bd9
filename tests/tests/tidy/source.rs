//! House style, and what simulated code must not touch.

use crate::workspace::File;
use crate::{Workspace, none};

/// The sources that run inside a simulation, `scenarios`' binary left out.
fn simulated(workspace: &Workspace) -> impl Iterator<Item = &File> {
    let scenarios = workspace
        .rust("scenarios/src/")
        .filter(|file| file.path != "scenarios/src/main.rs" && !file.path.contains("/bin/"));
    workspace.rust("sim-core/src/").chain(workspace.rust("sim-net/src/")).chain(scenarios)
}

fn uses_of<'a>(files: impl Iterator<Item = &'a File>, words: &[&str]) -> Vec<String> {
    let files: Vec<&File> = files.collect();
    let pairs = files.iter().flat_map(|file| words.iter().map(move |word| file.uses(word)));
    pairs.flatten().collect()
}

#[test]
fn simulated_code_reads_no_wall_clock() {
    // hyper's timer is made of `Instant`, which counts the loop's time there.
    let workspace = Workspace::read();
    let files = simulated(&workspace).filter(|file| file.path != "sim-core/src/hyper/timer.rs");
    let found = uses_of(files, &["Instant", "SystemTime", "UNIX_EPOCH"]);
    none("time comes from the loop (`Loop::time`):", found);
}

#[test]
fn simulated_code_starts_no_thread() {
    let words = ["thread::spawn", "thread::scope", "thread::sleep", "thread::Builder"];
    none("work belongs in tasks of the loop:", uses_of(simulated(&Workspace::read()), &words));
}

#[test]
fn simulated_code_reads_no_environment_and_no_file() {
    let words = ["env::var", "env::var_os", "env::vars", "env::args", "fs", "process"];
    let paths = words.map(|word| format!("std::{word}"));
    let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
    let mut found = uses_of(simulated(&Workspace::read()), &paths);
    found.extend(uses_of(simulated(&Workspace::read()), &words[..4]));
    found.sort();
    found.dedup();
    none("a run is a function of program, seed and plan:", found);
}

#[test]
fn simulated_code_has_no_order_that_depends_on_a_hasher() {
    let found = uses_of(simulated(&Workspace::read()), &["HashMap", "HashSet", "RandomState"]);
    none("use BTreeMap, a slab, or a vector that is kept sorted:", found);
}

#[test]
fn simulated_code_does_not_select_at_random() {
    let found = uses_of(simulated(&Workspace::read()), &["select!"]);
    none("`futures::select!` picks at random; use `select_biased!`:", found);
}

#[test]
fn libraries_keep_no_state_outside_values() {
    let workspace = Workspace::read();
    let current = "sim-core/src/current.rs";
    // What a signal does is the process's, so who handles it is, too.
    let signals = "real-net/src/signals.rs";
    let elsewhere = || simulated(&workspace).chain(workspace.rust("real-net/src/"));
    let mut found = uses_of(elsewhere().filter(|file| file.path != current), &["thread_local!"]);
    let cells = ["Mutex<", "RwLock<", "Atomic", "OnceLock<", "LazyLock<", "OnceCell<"];
    for file in elsewhere().filter(|file| file.path != signals) {
        let statics = file.code().filter(|(_, line)| {
            let line = line.trim_start();
            let item = line.strip_prefix("pub ").unwrap_or(line);
            let item = item.strip_prefix("pub(crate) ").unwrap_or(item);
            item.starts_with("static ") && cells.iter().any(|cell| line.contains(cell))
        });
        found.extend(statics.map(|(n, line)| format!("{}:{n}: {}", file.path, line.trim())));
    }
    none("the one thread-local is the current turn in sim-core/src/current.rs:", found);
}

#[test]
fn files_stay_below_800_lines() {
    let workspace = Workspace::read();
    let long = workspace.rust("").map(|file| (file, file.text.lines().count()));
    let long = long.filter(|(_, lines)| *lines > 800);
    let found = long.map(|(file, lines)| format!("{}: {lines} lines", file.path)).collect();
    none("a file this long has two ideas:", found);
}

#[test]
fn every_file_is_compiled() {
    let workspace = Workspace::read();
    let stem = |path: &str| path.strip_suffix(".rs").unwrap_or(path).to_owned();
    let declares = |parent: &str, module: &str| {
        let declaration = format!("mod {module};");
        let mut parents = workspace.files().iter().filter(|file| file.path == parent);
        // Those of tests, too, which are no code to the other rules.
        let declared = |line: &str| !line.starts_with("//") && line.ends_with(&declaration);
        parents.any(|file| file.text.lines().any(|line| declared(line.trim())))
    };
    let sources = workspace.rust("").filter(|file| file.path.contains("/src/"));
    let modules = sources.filter(|file| {
        !matches!(file.name(), "main.rs" | "lib.rs") && !file.path.contains("/src/bin/")
    });
    let orphans = modules.filter(|file| {
        let module = stem(file.path.strip_suffix("/mod.rs").unwrap_or(&file.path));
        let (folder, name) = module.rsplit_once('/').expect("it is in src/");
        let parents = ["lib.rs", "main.rs", "mod.rs"].map(|parent| format!("{folder}/{parent}"));
        let beside = format!("{folder}.rs");
        !parents.iter().chain([&beside]).any(|parent| declares(parent, name))
    });
    none("no module declares it:", orphans.map(|file| file.path.clone()).collect());
}

#[test]
fn file_names_say_what_is_inside() {
    let vague = ["util", "utils", "helper", "helpers", "common", "misc", "types", "stuff"];
    let workspace = Workspace::read();
    let is_vague = |part: &str| vague.contains(&part.strip_suffix(".rs").unwrap_or(part));
    let found = workspace.rust("").filter(|file| file.path.split('/').any(is_vague));
    none("name the file for its one idea:", found.map(|file| file.path.clone()).collect());
}

#[test]
fn nothing_is_left_undone() {
    let workspace = Workspace::read();
    let marks = ["todo!", "unimplemented!", "dbg!", "FIXME", "XXX", "#[ignore"];
    let others = workspace.rust("").filter(|file| !file.path.starts_with("tests/tests/tidy/"));
    let lines =
        others.flat_map(|file| (1..).zip(file.text.lines()).map(move |(n, l)| (file, n, l)));
    let marked = lines.filter(|(_, _, line)| marks.iter().any(|mark| line.contains(mark)));
    let found = marked.map(|(file, n, line)| format!("{}:{n}: {}", file.path, line.trim()));
    none("finish it, or take it out:", found.collect());
}

#[test]
fn no_path_of_a_machine_is_written_down() {
    let workspace = Workspace::read();
    let paths = ["/root/", "/home/", "/Users/", "/work/", "/tmp/"];
    let others = workspace.files().iter().filter(|f| !f.path.starts_with("tests/tests/tidy/"));
    let lines =
        others.flat_map(|file| (1..).zip(file.text.lines()).map(move |(n, l)| (file, n, l)));
    let named = lines.filter(|(_, _, line)| paths.iter().any(|path| line.contains(path)));
    let found = named.map(|(file, n, line)| format!("{}:{n}: {}", file.path, line.trim()));
    none("paths are relative, or made by `std::env::temp_dir`:", found.collect());
}

#[test]
fn text_ends_in_one_newline_and_has_no_trailing_blanks() {
    let workspace = Workspace::read();
    let mut found = Vec::new();
    for file in workspace.files().iter().filter(|file| !file.name().ends_with(".html")) {
        let blank = (1..).zip(file.text.lines()).filter(|(_, line)| line.ends_with([' ', '\t']));
        found.extend(blank.map(|(n, _)| format!("{}:{n}: trailing blank", file.path)));
        if !file.text.is_empty() && (!file.text.ends_with('\n') || file.text.ends_with("\n\n")) {
            found.push(format!("{}: does not end in one newline", file.path));
        }
    }
    none("white space:", found);
}
