//! Files that outlive the process that wrote them.

use std::any::Any;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use crate::Loop;

/// A file of a host, by [`Loop::store`]: bytes that survive a crash once they are synced.
///
/// What was written is read back at once, by this process and, after a kill, by the next one. A
/// *crash* of the machine may lose any suffix of the writes since the last [`sync`](Self::sync), and
/// tear the first of those in two: in the simulator it does, as the seed draws it. What a
/// protocol needs after that (checksums, a log's records) it builds from bytes, as over a disk.
///
/// ```
/// # use sim_core::{Loop, World};
/// async fn votes(world: World) -> std::io::Result<()> {
///     let ballots = world.host("n1").store("votes")?;
///     ballots.append(b"term 3: n2\n")?;
///     ballots.sync().await?; // only now may the vote be cast
///     assert_eq!(ballots.read()?, b"term 3: n2\n");
///     Ok(())
/// }
/// # drop(votes);
/// ```
#[derive(Clone)]
pub struct Store {
    lp: Loop,
    storage: Rc<dyn Storage>,
}

/// What [`Storage::begin_read`] answers.
pub enum Reading {
    /// The bytes, and how long it takes until they are there.
    After(Duration, io::Result<Vec<u8>>),
    /// They are had by this, which may block: for a thread of the executor.
    Blocks(Box<dyn FnOnce() -> io::Result<Vec<u8>> + Send>),
}

impl fmt::Debug for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::After(takes, bytes) => f.debug_tuple("After").field(takes).field(bytes).finish(),
            Self::Blocks(_) => f.write_str("Blocks(..)"),
        }
    }
}

/// What a driver provides to make a [`Store`]: one file. Offsets and lengths are in bytes.
pub trait Storage {
    /// How long it is.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    fn size(&self) -> io::Result<u64>;

    /// The whole of it.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Begins to read `length` bytes from `offset` on, or those that there are.
    fn begin_read(&self, offset: u64, length: usize) -> Reading;

    /// Itself, for a driver that sends files of its own kind by other means
    /// ([`Driver::send_file`](crate::driver::Driver::send_file)).
    fn as_any(&self) -> &dyn Any;

    /// Writes at an offset; a gap before it is zeros.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts it, or lengthens it with zeros.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    fn set_size(&self, size: u64) -> io::Result<()>;

    /// Begins to make what was written so far durable: the number of that state, and how long it
    /// takes.
    fn begin_sync(&self) -> (u64, Duration);

    /// Makes the state of that number durable.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    fn end_sync(&self, state: u64) -> io::Result<()>;
}

impl Store {
    /// A file over `storage`, for reads and syncs on `lp`: for drivers that open files by other ways
    /// than [`Loop::store`].
    pub fn new(lp: &Loop, storage: Rc<dyn Storage>) -> Self {
        Self { lp: lp.clone(), storage }
    }

    /// How many bytes it has.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    pub fn size(&self) -> io::Result<u64> {
        self.storage.size()
    }

    /// All of its bytes.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        self.storage.read()
    }

    /// `length` of its bytes from `offset` on, or those that there are: none at its end.
    ///
    /// The loop goes on meanwhile: the simulated disk takes a twentieth of a millisecond, the real one
    /// is read on a thread of the executor.
    ///
    /// # Errors
    ///
    /// What the file system gives; as [`Loop::run_in_executor`].
    pub async fn read_at(&self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        match self.storage.begin_read(offset, length) {
            Reading::After(takes, bytes) => {
                if !takes.is_zero() {
                    self.lp.sleep(takes).await;
                }
                bytes
            }
            Reading::Blocks(read) => {
                self.lp.run_in_executor(read)?.await.map_err(io::Error::other)?
            }
        }
    }

    /// The loop that it is of.
    pub fn event_loop(&self) -> &Loop {
        &self.lp
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// Writes at its end.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    pub fn append(&self, data: &[u8]) -> io::Result<()> {
        self.storage.write_at(self.storage.size()?, data)
    }

    /// Writes at `offset`, over what is there. A gap before it is filled with zeros.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    pub fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.storage.write_at(offset, data)
    }

    /// Cuts it to `size` bytes, or lengthens it with zeros.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    pub fn set_size(&self, size: u64) -> io::Result<()> {
        self.storage.set_size(size)
    }

    /// Completes when everything that was written before the call survives a crash.
    ///
    /// The simulated disk takes a tenth of a millisecond. The real one is asked in the loop's thread,
    /// which waits for it.
    ///
    /// # Errors
    ///
    /// What the file system gives. What is durable then is not known.
    pub async fn sync(&self) -> io::Result<()> {
        let (state, takes) = self.storage.begin_sync();
        if !takes.is_zero() {
            self.lp.sleep(takes).await;
        }
        self.storage.end_sync(state)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
