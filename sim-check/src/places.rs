//! Where files go: plans that are kept next to their tests, and what a failure leaves behind.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The folder next to a test's source in which its plans are kept.
const CORPUS: &str = "sim-corpus";

/// The folder of the corpus of a test whose source is at `test`: next to it.
///
/// The compiler names sources relative to the workspace; a test runs in its package's folder, which
/// is the workspace's or one below it.
pub(crate) fn corpus_of(test: &Location<'_>) -> Option<PathBuf> {
    let source = Path::new(test.file());
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let package = package.or_else(|| std::env::current_dir().ok())?;
    let found =
        package.ancestors().map(|folder| folder.join(source)).find(|path| path.is_file())?;
    Some(found.parent()?.join(CORPUS))
}

/// The folder for what failures leave behind: `target/sim`, wherever the running binary's `target` is.
pub fn artifacts() -> PathBuf {
    let target = std::env::current_exe().ok().and_then(|exe| {
        // target/debug/deps/test-0123, or target/debug/scenarios.
        let profile = exe
            .ancestors()
            .find(|folder| folder.join("deps").is_dir() && folder.join(".fingerprint").is_dir())?;
        Some(profile.parent()?.to_owned())
    });
    target.unwrap_or_else(|| PathBuf::from("target")).join("sim")
}

/// How long the name of a check is in names of files, at most: file systems take 255 bytes, and more comes behind it.
const NAME_MAX: usize = 150;

/// The name of a check as the name of a file: letters, digits, `-`, `_` and dots. The rest of a very long one is a hash.
pub(crate) fn file_name(check: &str) -> String {
    let mut name = String::with_capacity(check.len());
    for part in check.split("::").map(str::trim) {
        if !name.is_empty() {
            name.push('.');
        }
        name.extend(part.chars().map(|c| {
            if c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.' { c } else { '-' }
        }));
    }
    if name.is_empty() || name.starts_with('.') {
        name.insert_str(0, "check");
    }
    if name.len() > NAME_MAX {
        let hash = fnv1a(check.as_bytes());
        name.truncate(NAME_MAX - 17);
        name += &format!("-{hash:016x}");
    }
    name
}

/// A hash that is the same in every version.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A path or another word as a shell takes it: between quotes, unless it needs none.
pub fn quoted(word: impl fmt::Display) -> String {
    let word = word.to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./:@%+=,-".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Writes a file whole or not at all: what reads it meanwhile finds the old one, or none. What is there
/// already and is no plain file, such as a device or a link, is written to as it stands. Where standard output or
/// standard error go there, it is written to that stream, behind what it has already: `/dev/stdout` leads to the
/// file that a shell has opened for it.
///
/// # Errors
///
/// What the file system gives.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder {
        fs::create_dir_all(folder)?;
    }
    if let Some(mut stream) = standard_stream(path)? {
        let mut file = io::BufWriter::new(&mut stream);
        write(&mut file)?;
        return file.flush();
    }
    // To take its place would cost the machine its `/dev/stdout`.
    if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) {
        let mut file = io::BufWriter::new(fs::File::create(path)?);
        write(&mut file)?;
        return file.flush();
    }
    // Of its own: two threads may write one file, and the last one stays.
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let unfinished = path.with_file_name(format!(".{}.{number}.tmp", std::process::id()));
    let written = (|| {
        let mut file = io::BufWriter::new(fs::File::create(&unfinished)?);
        write(&mut file)?;
        file.flush()?;
        file.into_inner()?.sync_all()?;
        fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        drop(fs::remove_file(&unfinished));
    }
    written
}

/// The standard stream that goes where a path leads, with its place in the file.
fn standard_stream(path: &Path) -> io::Result<Option<fs::File>> {
    // What the path leads to now; nothing, if there is nothing yet.
    let Ok(there) = fs::metadata(path) else { return Ok(None) };
    let leads_to = |stream: io::Result<OwnedFd>| -> io::Result<Option<fs::File>> {
        // Without such a stream it cannot go there.
        let Ok(stream) = stream.map(fs::File::from) else { return Ok(None) };
        let is = stream.metadata()?;
        Ok(((is.dev(), is.ino()) == (there.dev(), there.ino())).then_some(stream))
    };
    if let Some(stream) = leads_to(io::stdout().as_fd().try_clone_to_owned())? {
        // What was printed before comes before it.
        io::stdout().flush()?;
        return Ok(Some(stream));
    }
    leads_to(io::stderr().as_fd().try_clone_to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_lies_next_to_its_test() {
        let folder = corpus_of(Location::caller()).unwrap();
        assert!(folder.ends_with("sim-check/src/sim-corpus"), "{folder:?}");
        assert!(folder.parent().unwrap().join("places.rs").is_file());
    }

    #[test]
    fn artifacts_are_below_target() {
        assert!(artifacts().ends_with("sim"), "{:?}", artifacts());
    }

    #[test]
    fn names_of_checks_become_names_of_files() {
        for (check, file) in [
            ("raft::single_leader", "raft.single_leader"),
            ("kv survives one partition", "kv-survives-one-partition"),
            ("../../etc/passwd", "check..-..-etc-passwd"),
            ("", "check"),
        ] {
            assert_eq!(file_name(check), file);
        }
        let long = |end: &str| file_name(&format!("{}{end}", "x".repeat(300)));
        assert_eq!((long("").len(), long("a").len()), (NAME_MAX, NAME_MAX));
        assert_ne!(long("a"), long("b"));
        assert_eq!(file_name(&"x".repeat(NAME_MAX)), "x".repeat(NAME_MAX));
    }

    #[test]
    fn words_are_quoted_for_a_shell_if_they_need_it() {
        for (word, line) in [
            ("/srv/a-b_c.plan", "/srv/a-b_c.plan"),
            ("/my work/x.plan", "'/my work/x.plan'"),
            ("it's", r"'it'\''s'"),
            ("$HOME", "'$HOME'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(word), line);
        }
    }

    #[test]
    fn a_file_whose_writing_fails_is_not_there_and_an_old_one_stays() {
        let folder = artifacts().join(format!("test-{}", std::process::id()));
        let path = folder.join("file");
        let fails = |_: &mut dyn io::Write| Err(io::Error::other("full"));
        assert!(write_whole(&path, fails).is_err() && !path.exists());
        write_whole(&path, |file| file.write_all(b"old")).unwrap();
        assert!(write_whole(&path, fails).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        // A link stays one, and leads to what was written.
        let link = folder.join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_whole(&link, |file| file.write_all(b"new")).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        fs::remove_dir_all(folder).unwrap();
    }
}
