//! Files of Unix sockets: those that earlier sockets left behind, and one's own.

use std::io;

use crate::{Loop, UnixAddr};

/// The file that a listening socket was bound to, to be removed with it.
#[derive(Clone, Debug)]
pub(crate) struct SocketFile {
    path: UnixAddr,
    number: u64,
}

impl SocketFile {
    /// Removes the file of a socket at `path`, as asyncio does before it binds: a socket's alone, and
    /// whether somebody listens there or not (contract E-40). What fails is left to the bind.
    pub(crate) fn remove_stale(lp: &Loop, path: &UnixAddr) {
        let remove = || {
            let unix = lp.core.driver.unix()?;
            if path.is_path() && unix.socket_file(path)?.is_some() {
                unix.remove_file(path)?;
            }
            io::Result::Ok(())
        };
        if let Err(error) = remove() {
            tracing::error!(
                target: "sim_core", %path, %error, "unable to check or remove a stale Unix socket"
            );
        }
    }

    /// The file at `path`, which a socket has just been bound to.
    pub(crate) fn at(lp: &Loop, path: &UnixAddr) -> Option<Self> {
        let unix = lp.core.driver.unix().ok().filter(|_| path.is_path())?;
        let number = unix.socket_file(path).ok()??;
        Some(Self { path: path.clone(), number })
    }

    /// Removes it, unless another has taken its place (E-41).
    pub(crate) fn remove(&self, lp: &Loop) {
        let remove = || {
            let unix = lp.core.driver.unix()?;
            if unix.socket_file(&self.path)? == Some(self.number) {
                unix.remove_file(&self.path)?;
            }
            io::Result::Ok(())
        };
        if let Err(error) = remove() {
            let path = &self.path;
            tracing::error!(target: "sim_core", %path, %error, "unable to remove a Unix socket");
        }
    }
}
