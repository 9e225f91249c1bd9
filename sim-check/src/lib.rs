//! Runs simulated worlds by the thousand, and tells what it found.
//!
//! [`check`] is the door: it runs a scenario on many seeds, in parallel, a world per thread, and
//! fails the test with the lowest seed that failed, what happened there, and how to run it again.
//!
//! ```
//! use sim_check::check;
//! use sim_core::World;
//!
//! async fn names_resolve(world: World) -> std::io::Result<()> {
//!     let client = world.host("client");
//!     world.host("server");
//!     assert!(!client.getaddrinfo(("server", 80)).await?.is_empty());
//!     Ok(())
//! }
//!
//! check("names_resolve").seeds(20).run(names_resolve);
//! ```
//!
//! The environment overrides what a test says, so that a failure can be run again without editing
//! it: `SIM_SEED` runs one seed, `SIM_SEEDS` says how many, `SIM_BUDGET` for how many seconds,
//! `SIM_JOBS` on how many threads; `SIM_PLAN` runs the plan in a file and nothing else, and `SIM_TRACE=1` prints
//! every record of that, or of one seed, whether it passes or fails. `SIM_STOP_AT` stops that run at a step (`2844`) or at a virtual time
//! (`1.2s`), and shows what was before; it is where `sim_net::stop_at::reached` is called, for a debugger.
//!
//! # The map
//!
//! | where | what |
//! | --- | --- |
//! | `check` | what a test says: [`Check`] |
//! | `settings` | how many seeds, on how many threads, for how long, from where |
//! | `family`, `profile` | what befalls the runs: [`Family`], [`Profile`] |
//! | `calm` | a run in which nothing does: what the faults are aimed at |
//! | `subject` | a scenario with everything that a run of it takes |
//! | `single` | one fault at a time, at every place of a calm run: [`Coverage`] |
//! | `search`, `turns` | the runs, in parallel, each in its turn |
//! | `jobs` | how many worlds run at once in the whole process |
//! | `determinism` | two runs of one thing, held against each other |
//! | `signature` | what makes two failures the same: [`Signature`] |
//! | [`shrink`] | makes a failing plan small |
//! | `explain` | what a failure comes down to: [`Explanation`], [`Step`], [`Scale`] |
//! | `plan_file` | a plan in a file: [`PlanFile`] |
//! | `corpus`, `files`, `places` | plans that are kept, and what else a failure leaves behind: [`Files`] |
//! | `strategies` | strategies for `proptest`, with the feature of that name |
//! | `stop` | a run that is stopped to be looked at: [`Stopped`] |
//! | `story` | the few records of a run that tell what happened |
//! | `verdict`, `words` | what a check found, as a value and in words: [`Verdict`], [`Failed`] |
//! | `report` | a run as a picture: [`Timeline`] |
//! | `panics` | where a panic happened, without a line on the terminal for each |

mod calm;
mod check;
mod corpus;
mod determinism;
mod draws;
mod explain;
mod family;
mod files;
mod jobs;
mod panics;
mod places;
mod plan_file;
mod profile;
mod progress;
mod report;
mod search;
mod settings;
pub mod shrink;
mod signature;
mod single;
mod stop;
mod story;
#[cfg(any(test, feature = "proptest"))]
pub mod strategies;
mod subject;
#[cfg(test)]
mod tests;
mod turns;
mod verdict;
mod words;

pub use check::{Check, check};
pub use explain::{Explanation, Scale, Step};
pub use family::Family;
pub use files::Files;
pub use places::{artifacts, quoted, write_whole};
pub use plan_file::PlanFile;
pub use profile::Profile;
pub use report::{Timeline, junit};
pub use settings::{SettingsError, stop_at};
pub use signature::Signature;
pub use single::Coverage;
pub use stop::Stopped;
pub use verdict::{CorpusVerdict, Failed, Origin, Replayed, Verdict};
