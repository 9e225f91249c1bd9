//! A process of its own for a test: what signals do is the process's, and other tests share it.

use std::env;
use std::process::{Command, Output};

use crate::harness::Make;

/// Says in its environment that a process is for one test alone.
const ALONE: &str = "SIM_TEST_ALONE";

/// Runs `body`: in this process for a simulated loop, and in one of its own for a real one. `module`
/// is the test's `module_path!()`, in `both_bare_loops!`.
///
/// # Panics
///
/// If the test fails there.
#[track_caller]
pub fn alone(make: Make, module: &str, body: impl FnOnce()) {
    if matches!(make, Make::Sim) || env::var_os(ALONE).is_some() {
        return body();
    }
    let output = run_alone(&test_name(module, "real"));
    let text = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && text.contains("1 passed");
    assert!(passed, "{}\n{text}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}

/// Runs `body` in a process of its own and says how that ended: for what ends a process.
///
/// # Panics
///
/// If the process cannot be started.
#[track_caller]
pub fn end_of(test: &str, body: impl FnOnce()) -> Output {
    if env::var_os(ALONE).is_some() {
        body();
        // Not what was expected, and told apart from a test that failed.
        std::process::exit(77);
    }
    run_alone(test)
}

/// The name of a test that `both_bare_loops!` made.
fn test_name(module: &str, function: &str) -> String {
    let (_, path) = module.split_once("::").expect("a test is in a module");
    format!("{path}::{function}")
}

fn run_alone(test: &str) -> Output {
    let program = env::current_exe().expect("a test knows its program");
    let mut command = Command::new(program);
    command.args([test, "--exact", "--test-threads=1", "--nocapture"]).env(ALONE, test);
    command.output().expect("the test's program starts")
}
