//! What the integration tests of the workspace share.

pub mod coverage;
