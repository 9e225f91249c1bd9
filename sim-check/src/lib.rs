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
//! `SIM_JOBS` on how many threads.
//!
//! # The map
//!
//! | where | what |
//! | --- | --- |
//! | `check` | what a test says: [`Check`] |
//! | `settings` | how many seeds, on how many threads, for how long, from where |
//! | `profile` | what befalls the seeds: [`Profile`], [`Family`] |
//! | `subject` | a scenario with everything that a run of it takes |
//! | `signature` | what makes two failures the same: [`Signature`] |
//! | `sweep` | the seeds, in parallel |
//! | `verdict` | what a sweep found, as a value and in words: [`Verdict`], [`Failed`] |
//! | [`shrink`] | makes a failing plan small |
//! | `panics` | where a panic happened, without a line on the terminal for each |

mod check;
mod panics;
mod profile;
mod settings;
pub mod shrink;
mod signature;
mod subject;
mod sweep;
mod verdict;

pub use check::{Check, check};
pub use profile::{Family, Profile};
pub use settings::SettingsError;
pub use signature::Signature;
pub use verdict::{Failed, Verdict};
