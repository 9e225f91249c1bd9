//! A plan in a file.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use sim_net::Plan;
use sim_net::plan::PlanErrors;

/// A plan that was read from a file, once: a file may be a pipe. What is done with it is up to a
/// [`Check`](crate::Check).
///
/// ```no_run
/// use sim_check::{PlanFile, check};
/// use sim_core::World;
///
/// async fn waits(world: World) {
///     world.host("n1").sleep(std::time::Duration::from_secs(1)).await;
/// }
///
/// let file = PlanFile::read("waits.plan")?;
/// println!("{}", check("waits").replay_file(&file, waits)?);
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug)]
pub struct PlanFile {
    path: PathBuf,
    text: String,
    plan: Plan,
}

/// The largest file that is read: some hundred thousand entries. What has no end is no plan.
const BYTES_MAX: u64 = 64 << 20;

impl PlanFile {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// One that cannot be read, that is empty or larger than 64 MiB, or that is no plan; in words, without its path.
    pub fn read(path: impl Into<PathBuf>) -> Result<Self, String> {
        let path = path.into();
        let mut text = String::new();
        let read =
            File::open(&path).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text));
        if read.map_err(|error| error.to_string())? as u64 > BYTES_MAX {
            return Err(format!("it is larger than {} MiB", BYTES_MAX >> 20));
        }
        // A plan without entries says at least of which format it is.
        if text.trim_start_matches('\u{feff}').trim().is_empty() {
            return Err("it is empty".to_owned());
        }
        let plan = text.parse().map_err(|errors: PlanErrors| format!("\n{errors}"))?;
        Ok(Self { path, text, plan })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it says.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan, if it is for the check of this name or for none by name.
    pub(crate) fn for_check(&self, name: &str) -> Result<&Plan, String> {
        self.plan.check_scenario(name).map_err(|error| error.to_string())?;
        Ok(&self.plan)
    }

    /// Checks it for a world that has these hosts.
    ///
    /// # Errors
    ///
    /// What is wrong with it, a line for each thing.
    pub fn check_hosts(&self, hosts: &[&str]) -> Result<(), String> {
        Plan::parse_for(&self.text, hosts).map(drop).map_err(|errors| errors.to_string())
    }
}
