//! Readiness of descriptors for as long as it lasts.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::{Errno, retry_on_intr};
use sim_core::driver::{Readiness, Token};

/// A selector that reports a descriptor whenever it is asked while the descriptor is ready. It is
/// registered with the driver's own, which reports edges alone, and so ends a sleep.
pub(crate) struct LevelSelector {
    epoll: OwnedFd,
    /// How many descriptors it has.
    used: Cell<usize>,
    /// Room for what it reports.
    ready: RefCell<Vec<Event>>,
}

impl LevelSelector {
    /// An empty selector, which `registry` calls `token`.
    ///
    /// # Errors
    ///
    /// What `epoll_create` gives: mostly `EMFILE`.
    pub(crate) fn new(registry: &Registry, token: mio::Token) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        registry.register(&mut SourceFd(&epoll.as_raw_fd()), token, Interest::READABLE)?;
        Ok(Self { epoll, used: Cell::new(0), ready: RefCell::default() })
    }

    /// True if it has descriptors.
    #[inline]
    pub(crate) fn is_used(&self) -> bool {
        self.used.get() > 0
    }

    /// Whether the kernel selects among descriptors of this kind at all.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for those that are always ready; what else `epoll_ctl` gives.
    pub(crate) fn check(&self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        match epoll::add(&self.epoll, descriptor, EventData::new_u64(0), EventFlags::IN) {
            Ok(()) => Ok(epoll::delete(&self.epoll, descriptor)?),
            Err(Errno::PERM) => {
                let text = "a file, a directory or a device that is always ready cannot be watched";
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Reports a descriptor as `token` while it is ready for `after`, instead of for `before`. Without
    /// either it is not in the selector.
    ///
    /// # Errors
    ///
    /// What `epoll_ctl` gives.
    pub(crate) fn change(
        &self,
        descriptor: BorrowedFd<'_>,
        token: Token,
        before: EventFlags,
        after: EventFlags,
    ) -> io::Result<()> {
        let (epoll, data) = (&self.epoll, EventData::new_u64(token.0));
        match (before.is_empty(), after.is_empty()) {
            (true, true) => {}
            (true, false) => {
                epoll::add(epoll, descriptor, data, after)?;
                self.used.set(self.used.get() + 1);
            }
            (false, false) if before == after => {}
            (false, false) => epoll::modify(epoll, descriptor, data, after)?,
            (false, true) => {
                self.used.set(self.used.get() - 1);
                epoll::delete(epoll, descriptor)?;
            }
        }
        Ok(())
    }

    /// Adds those that are ready now to `events`, all of them, and says whether there are any.
    ///
    /// # Errors
    ///
    /// What `epoll_wait` gives.
    pub(crate) fn collect(&self, events: &mut Vec<Readiness>) -> io::Result<bool> {
        let mut ready = self.ready.borrow_mut();
        ready.clear();
        ready.reserve(self.used.get());
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        retry_on_intr(|| epoll::wait(&self.epoll, spare_capacity(&mut *ready), Some(&at_once)))?;
        events.extend(ready.iter().map(readiness));
        Ok(!ready.is_empty())
    }
}

/// An error and a peer that hung up are reasons to try both directions, as for asyncio's selectors.
fn readiness(event: &Event) -> Readiness {
    let Event { flags, data } = *event;
    Readiness {
        token: Token(data.u64()),
        readable: flags.intersects(!EventFlags::OUT),
        writable: flags.intersects(!EventFlags::IN),
        read_closed: false,
    }
}
