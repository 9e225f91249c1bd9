//! The name space of a host: paths and abstract names that Unix sockets are bound to.

use std::collections::BTreeMap;

use sim_core::UnixAddr;

use crate::memory::clear_map;
use crate::socket_table::SocketId;

/// The names of a host.
///
/// A path is a file: it outlives its socket, and the process and the machine too. A crash may in
/// truth take a file that was made just before; that it is still there is what a program that starts
/// again has to cope with. Directories need not be made. Abstract names go with their sockets.
#[derive(Debug, Default)]
pub(crate) struct Names {
    bound: BTreeMap<UnixAddr, Name>,
    files_made: u64,
    /// How many connections were opened to each name, and pairs and pipes to none.
    opened: BTreeMap<UnixAddr, u32>,
}

/// What is bound to a name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// What `stat` calls the file, if it is one.
    pub(crate) file: u64,
    /// The socket, which may be gone.
    pub(crate) socket: SocketId,
}

impl Names {
    /// There are none, and never were any.
    pub(crate) fn renew(&mut self) {
        let Self { bound, files_made, opened } = self;
        clear_map(bound);
        *files_made = 0;
        clear_map(opened);
    }

    pub(crate) fn get(&self, addr: &UnixAddr) -> Option<Name> {
        self.bound.get(addr).copied()
    }

    /// Binds a name that is not bound yet.
    pub(crate) fn insert(&mut self, addr: UnixAddr, socket: SocketId) {
        self.files_made += 1;
        self.bound.insert(addr, Name { file: self.files_made, socket });
    }

    /// Removes a file; false if there is none.
    pub(crate) fn remove_file(&mut self, path: &UnixAddr) -> bool {
        path.is_path() && self.bound.remove(path).is_some()
    }

    /// A socket that was bound to this name is gone.
    pub(crate) fn release(&mut self, addr: &UnixAddr, socket: SocketId) {
        if addr.is_abstract() && self.get(addr).is_some_and(|name| name.socket == socket) {
            self.bound.remove(addr);
        }
    }

    /// The number of the next connection to a name, from 1 on.
    pub(crate) fn open(&mut self, addr: &UnixAddr) -> u32 {
        let number = self.opened.entry(addr.clone()).or_default();
        *number += 1;
        *number
    }

    /// The host starts again.
    pub(crate) fn begin_incarnation(&mut self) {
        self.opened.clear();
    }

    /// The machine lost power: what is in no file is gone.
    pub(crate) fn wipe(&mut self) {
        self.bound.retain(|addr, _| addr.is_path());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_stay_and_abstract_names_go() {
        let mut names = Names::default();
        let (path, hidden) = (UnixAddr::new("a").unwrap(), UnixAddr::new("\0a").unwrap());
        names.insert(path.clone(), SocketId::NONE);
        names.insert(hidden.clone(), SocketId::NONE);
        let first = names.get(&path).unwrap().file;
        names.wipe();
        assert!(names.get(&path).is_some() && names.get(&hidden).is_none());
        names.release(&path, SocketId::NONE);
        assert!(!names.remove_file(&hidden) && names.remove_file(&path));
        names.insert(path.clone(), SocketId::NONE);
        assert_ne!(names.get(&path).unwrap().file, first);
    }
}
