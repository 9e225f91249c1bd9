//! The disk of a host: what is on it for good, and what a crash may still take.

use std::any::Any;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Reading, Storage};

use crate::decisions::Site;
use crate::errno::{self, EFBIG, EIO};
use crate::network::Network;
use crate::plan::FaultSite;
use crate::scheduler::Scheduler;

/// How long it takes to read some bytes of a file.
const READ_TIME: Duration = Duration::from_micros(50);
/// How long a sync takes.
const SYNC_TIME: Duration = Duration::from_micros(100);
/// The largest file.
const SIZE_MAX: u64 = 1 << 30;

/// A file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    name: String,
    /// What reads see.
    content: Vec<u8>,
    /// What is on the disk for good.
    durable: Vec<u8>,
    /// What lies between: the changes since, in order.
    unsynced: Vec<Change>,
    /// How many changes came before these.
    synced: u64,
}

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, data: Vec<u8> },
    SetLen(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { offset, data } => {
                let end = offset + data.len();
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[*offset..end].copy_from_slice(data);
            }
            Self::SetLen(len) => content.resize(*len, 0),
        }
    }

    /// The first `bytes` of a write.
    fn torn(&self, bytes: usize) -> Option<Self> {
        match self {
            Self::Write { offset, data } if bytes > 0 => {
                Some(Self::Write { offset: *offset, data: data[..bytes].to_vec() })
            }
            _ => None,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Write { data, .. } => data.len(),
            Self::SetLen(_) => 0,
        }
    }
}

impl File {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            content: Vec::new(),
            durable: Vec::new(),
            unsynced: Vec::new(),
            synced: 0,
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.unsynced.push(change);
    }

    /// Makes everything up to change number `state` durable.
    fn sync(&mut self, state: u64) {
        let count = state.saturating_sub(self.synced).min(self.unsynced.len() as u64);
        for change in self.unsynced.drain(..count as usize) {
            change.apply(&mut self.durable);
        }
        self.synced += count;
    }

    /// The machine lost power: the last `lost` changes are gone, and of the first of those `torn`
    /// bytes are left.
    fn lose(&mut self, lost: usize, torn: usize) {
        let kept = self.unsynced.len() - lost;
        let half = self.unsynced.get(kept).and_then(|change| change.torn(torn));
        for change in self.unsynced.drain(..).take(kept).chain(half) {
            change.apply(&mut self.durable);
        }
        self.content.clone_from(&self.durable);
    }
}

impl Network {
    /// The machine lost power: its files lose what the seed takes of their unsynced ends.
    pub(crate) fn lose_unsynced(&mut self, index: u32) {
        let mut files = std::mem::take(&mut self.host(index).files);
        for file in files.iter_mut().filter(|file| !file.unsynced.is_empty()) {
            let lost = (Site::StoreLost, FaultSite::StoreLost);
            let lost = self.disk_loss(index, lost, &file.name, file.unsynced.len() as u64) as usize;
            let mut torn = 0;
            if lost > 0 {
                let first = file.unsynced[file.unsynced.len() - lost].size() as u64;
                let left = (Site::StoreTorn, FaultSite::StoreTorn);
                torn = self.disk_loss(index, left, &file.name, first.saturating_sub(1)) as usize;
            }
            file.lose(lost, torn);
        }
        self.host(index).files = files;
    }
}

/// A file as its process has it open.
pub(crate) struct OpenFile {
    scheduler: Rc<Scheduler>,
    host: u32,
    place: usize,
    /// Of the process; when it is gone, its writes do nothing.
    incarnation: u16,
}

impl OpenFile {
    /// Opens the file of a host, which is made if it is not there.
    pub(crate) fn open(scheduler: &Rc<Scheduler>, index: u32, name: &str) -> Self {
        let mut network = scheduler.network();
        let host = network.host(index);
        let place = host.files.iter().position(|file| file.name == name).unwrap_or_else(|| {
            host.files.push(File::new(name));
            host.files.len() - 1
        });
        let incarnation = host.incarnation;
        drop(network);
        Self { scheduler: Rc::clone(scheduler), host: index, place, incarnation }
    }

    fn with<R>(&self, act: impl FnOnce(&mut File) -> R) -> R {
        act(&mut self.scheduler.network().host(self.host).files[self.place])
    }

    fn is_dead(&self) -> bool {
        let mut network = self.scheduler.network();
        let host = network.host(self.host);
        host.life.dead || host.incarnation != self.incarnation
    }

    fn change(&self, end: u64, change: impl FnOnce() -> Change) -> io::Result<()> {
        if end > SIZE_MAX {
            return Err(errno::os(EFBIG));
        }
        if !self.is_dead() {
            let change = change();
            self.with(|file| file.change(change));
        }
        Ok(())
    }
}

impl Storage for OpenFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.content.len() as u64))
    }

    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(self.with(|file| file.content.clone()))
    }

    fn begin_read(&self, offset: u64, length: usize) -> Reading {
        if self.is_dead() {
            return Reading::After(Duration::ZERO, Err(errno::os(EIO)));
        }
        let bytes = self.with(|file| {
            let from =
                usize::try_from(offset).map_or(file.content.len(), |at| at.min(file.content.len()));
            file.content[from..].iter().take(length).copied().collect()
        });
        Reading::After(READ_TIME, Ok(bytes))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(data.len() as u64);
        self.change(end, || Change::Write { offset: offset as usize, data: data.to_vec() })
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.change(size, || Change::SetLen(size as usize))
    }

    fn begin_sync(&self) -> (u64, Duration) {
        (self.with(|file| file.synced + file.unsynced.len() as u64), SYNC_TIME)
    }

    fn end_sync(&self, state: u64) -> io::Result<()> {
        if self.is_dead() {
            return Err(errno::os(EIO));
        }
        self.with(|file| file.sync(state));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(offset: usize, data: &[u8]) -> Change {
        Change::Write { offset, data: data.to_vec() }
    }

    #[test]
    fn a_crash_keeps_what_was_synced_and_a_prefix_of_the_rest() {
        let mut file = File::new("f");
        file.change(write(0, b"abc"));
        file.sync(1);
        file.change(write(3, b"def"));
        file.change(write(6, b"ghi"));
        for (lost, torn, left) in
            [(0, 0, &b"abcdefghi"[..]), (1, 0, b"abcdef"), (1, 2, b"abcdefgh"), (2, 1, b"abcd")]
        {
            let mut crashed = file.clone();
            crashed.lose(lost, torn);
            assert_eq!((crashed.content.as_slice(), crashed.durable.as_slice()), (left, left));
        }
    }

    #[test]
    fn a_sync_covers_what_was_written_before_it_began() {
        let mut file = File::new("f");
        file.change(write(0, b"abc"));
        let state = file.synced + file.unsynced.len() as u64;
        file.change(Change::SetLen(1));
        file.sync(state);
        assert_eq!((file.durable.as_slice(), file.content.as_slice()), (&b"abc"[..], &b"a"[..]));
        file.lose(1, 0);
        assert_eq!(file.content, b"abc");
    }
}
