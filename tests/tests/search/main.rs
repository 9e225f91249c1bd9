//! The search over runs: what it detects, and that it is the same on any number of threads.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "leaks of nondeterminism are planted here, and each is one of those"
)]

mod ends;
mod keeping;
mod leaks;
mod meeting;
mod nesting;
mod replaying;
mod shrinking;
mod stopping;
mod telling;
mod ties;
mod timed;
mod unrelated;
mod workload;
