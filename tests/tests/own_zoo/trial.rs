//! One test with one mutant, or with none.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::copy::Binaries;
use crate::patch::Mutant;

/// How long a test may take. A mutant that makes it hang is not caught: nobody would learn of what.
const PATIENCE: Duration = Duration::from_secs(600);

/// A test to be run: it must fail if there is a mutant, and pass if there is none.
pub(crate) struct Trial<'a> {
    pub(crate) mutant: Option<&'a Mutant>,
    /// The test binary, and the test in it.
    pub(crate) test: (&'a str, &'a str),
}

/// Runs them, as many at once as there are processors, and says what did not come out as it should.
pub(crate) fn judge_all(binaries: &Binaries, trials: Vec<Trial<'_>>) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(trial) = trials.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = trial.judge(binaries) {
                failures.lock().expect("no thread panics with it").push(failure);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().expect("no thread panics with it");
    failures.sort();
    failures
}

impl Trial<'_> {
    fn judge(&self, binaries: &Binaries) -> Result<(), String> {
        let (binary, test) = self.test;
        let name = self.mutant.map_or("", |mutant| &mutant.name);
        let (path, folder) =
            binaries.get(binary).ok_or_else(|| format!("{name}: there is no {binary}"))?;
        let (passes, said) = run(path, folder, test, name)?;
        if !said.contains("running 1 test\n") {
            return Err(format!("{name}: {binary} has no test {test}"));
        }
        match self.mutant {
            Some(Mutant { wrong, .. }) if passes => {
                Err(format!("mutant {name} ({wrong}) is not caught by {binary} {test}"))
            }
            None if !passes => Err(format!("{binary} {test} fails without a mutant:\n{said}")),
            _ => Ok(()),
        }
    }
}

/// Runs a test: whether it passes, and what it says.
fn run(path: &Path, folder: &Path, test: &str, mutant: &str) -> Result<(bool, String), String> {
    // A file, since a pipe that nobody reads would fill up.
    let place = path.with_extension(format!("{}.out", thread_name()));
    let file = |made: std::io::Result<File>| made.expect("its output can be kept");
    let out = file(File::create(&place));
    let mut child = Command::new(path)
        .args(["--exact", test, "--test-threads=1"])
        .env("OWN_ZOO", mutant)
        .env("RUST_BACKTRACE", "0")
        .env_remove("SIMULATOR_ZOO")
        // As cargo would have it.
        .env("CARGO_PKG_NAME", folder.file_name().unwrap_or_default())
        .env("CARGO_MANIFEST_DIR", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stderr(out.try_clone().expect("a file can be shared"))
        .stdout(out)
        .spawn()
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is our child") {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            return Err(format!("mutant {mutant:?}: {test} hangs"));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let mut said = String::new();
    let read = file(File::open(&place)).read_to_string(&mut said);
    read.map_err(|error| format!("{}: {error}", place.display()))?;
    Ok((status.success(), said))
}

fn thread_name() -> String {
    format!("{:?}", thread::current().id()).replace(['(', ')'], "")
}
