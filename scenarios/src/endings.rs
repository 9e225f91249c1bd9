//! How the connections of a server ended.

use std::cell::{Cell, RefCell};
use std::io;

use crate::Violation;
use crate::violation::ensure;

/// The errors that are kept in full.
const ERRORS_MAX: usize = 16;

/// What `connection_lost` got on each of a server's connections: the server's protocols note it, the
/// scenario judges it.
#[derive(Debug, Default)]
pub struct Endings {
    clean: Cell<usize>,
    failed: Cell<usize>,
    errors: RefCell<Vec<String>>,
}

impl Endings {
    /// Notes how a connection ended.
    pub fn note(&self, error: Option<&io::Error>) {
        let Some(error) = error else {
            return self.clean.set(self.clean.get() + 1);
        };
        self.failed.set(self.failed.get() + 1);
        let mut errors = self.errors.borrow_mut();
        if errors.len() < ERRORS_MAX {
            errors.push(error.to_string());
        }
    }

    /// Holds if exactly `connections` ended, each without an error.
    ///
    /// # Errors
    ///
    /// A [`Violation`] with the counts and the first errors.
    pub fn expect_clean(&self, connections: usize) -> Result<(), Violation> {
        let (clean, failed) = (self.clean.get(), self.failed.get());
        ensure!(
            (clean, failed) == (connections, 0),
            "{connections} connections should have ended without an error; \
             {clean} did, {failed} did not: {:?}",
            self.errors.borrow()
        );
        Ok(())
    }
}
