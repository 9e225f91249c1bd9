//! What the integration tests of the workspace share.

pub mod coverage;
pub mod harness;
pub mod recorder;
pub mod workloads;
