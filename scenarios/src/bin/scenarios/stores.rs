//! Where the stores of a run on real sockets are.

use std::path::{Path, PathBuf};

/// A directory for one run: removed with whatever is in it.
pub(crate) struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    /// A directory that no other process has. It is made when something is put into it.
    pub(crate) fn new() -> Self {
        let name = format!("scenarios-{}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        // A run without stores has not made it.
        drop(std::fs::remove_dir_all(&self.0));
    }
}
