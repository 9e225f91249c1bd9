//! What the integration tests of the workspace share.

pub mod alone;
pub mod cases;
pub mod coverage;
pub mod datagram_recorder;
pub mod echo;
pub mod harness;
pub mod linux_statements;
pub mod programs;
pub mod recorder;
pub mod socket_path;
pub mod workloads;

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
