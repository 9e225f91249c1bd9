//! Paths for Unix sockets that no other test uses.

use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

use sim_core::{ToUnixAddr, UnixAddr};

/// A path in the machine's directory for temporary files; whatever is there is removed at the end.
/// Simulated hosts take it for a name like any other.
#[derive(Debug)]
pub struct SocketPath(PathBuf);

impl SocketPath {
    /// A path of its own.
    #[must_use]
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("sim-{}-{number}.sock", process::id())))
    }

    /// It as an address.
    ///
    /// # Panics
    ///
    /// If the machine's directory for temporary files has a very long name.
    #[must_use]
    pub fn addr(&self) -> UnixAddr {
        self.0.to_unix_addr().expect("the directory for temporary files has a short name")
    }

    /// An abstract name of its own.
    ///
    /// # Panics
    ///
    /// As [`addr`](Self::addr).
    #[must_use]
    pub fn hidden(&self) -> UnixAddr {
        let name = format!("\0{}", self.0.display());
        UnixAddr::new(name).expect("the directory for temporary files has a short name")
    }

    /// The path.
    #[must_use]
    pub fn path(&self) -> &PathBuf {
        &self.0
    }
}

impl Default for SocketPath {
    fn default() -> Self {
        Self::new()
    }
}

impl ToUnixAddr for &SocketPath {
    fn to_unix_addr(self) -> std::io::Result<UnixAddr> {
        self.0.to_unix_addr()
    }
}

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Most tests leave nothing behind, and simulated ones never had a file.
        let _ = fs::remove_file(&self.0);
    }
}
