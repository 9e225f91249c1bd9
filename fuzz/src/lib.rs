//! What a fuzzer turns, and what it must not find: a function from bytes for each target.
//!
//! `cargo fuzz` calls them from its targets, with coverage for a guide; the binary of this package
//! calls them with bytes from files or from a generator, on any toolchain. What is found is printed
//! either way.
//!
//! | target | the bytes are | a finding is |
//! | --- | --- | --- |
//! | [`faults`] | what goes wrong, six bytes for each entry of a plan | a run that fails, and would not without the planted bug |
//! | [`plans`] | the text of a plan | a panic; text that is another plan when it is printed and read |
//! | [`segments`] | what a foreign peer sends to a host of ours | a panic, a byte that nobody sent, a livelock |

#![forbid(unsafe_code)]

pub mod faults;
pub mod plans;
pub mod segments;

/// What was found, in words for whoever is to look into it.
pub type Finding = String;

/// A target: runs what some bytes stand for.
pub type Target = fn(&[u8]) -> Result<(), Finding>;

/// The targets, by their names.
pub const TARGETS: [(&str, Target); 3] =
    [("faults", faults::run), ("plans", plans::run), ("segments", segments::run)];

/// The target called `name`.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|(known, _)| *known == name).map(|(_, target)| target)
}

/// Runs a target for a fuzzer. What it finds is printed, and ends the process, as a fuzzer expects of
/// a crash.
///
/// # Panics
///
/// If there is no such target.
pub fn judge(name: &str, bytes: &[u8]) {
    let target = target(name).expect("it is one of the targets");
    if let Err(finding) = target(bytes) {
        eprintln!("{finding}");
        std::process::abort();
    }
}
