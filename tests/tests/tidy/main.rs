//! Checks of the source itself: the contract's coverage, the law of the crates, the house style.
//!
//! What a reviewer would otherwise have to remember is a test here. Each one lists everything that
//! it found, with file and line.

mod contract;
mod crates;
mod leaks;
mod linux;
mod source;
mod workspace;

use workspace::Workspace;

/// Fails with `found`, if there is any.
#[track_caller]
fn none(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}\n  {}\n", found.join("\n  "));
}
