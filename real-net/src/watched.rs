//! Descriptors of the user's own: asyncio's `add_reader` and `add_writer`.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::event::epoll::EventFlags;
use sim_core::Loop;
use sim_core::driver::{Direction, ReadyHandlers};

use crate::level_selector::LevelSelector;
use crate::{MioDriver, NotTaken};

/// A descriptor of the user's own, whose readiness calls handlers: asyncio's `add_reader`,
/// `add_writer`, `remove_reader` and `remove_writer` (contract G-50 to G-52).
///
/// [`Watched::new`] makes one of anything that is a descriptor: a socket of the standard library,
/// an end of a pipe, what a foreign library has, or an `Rc` of one. It owns it, so it is nobody's
/// transport, and nobody closes it behind the loop's back (C-97). [`into_inner`](Self::into_inner)
/// gives it back; dropped, it is closed.
///
/// A handler is called in each turn of the loop in which the descriptor is ready, as a handle of that
/// turn behind those that were queued before (A-21), the reader before the writer. One that does
/// nothing about it is called again in the next turn. A peer that has hung up, or an error, makes it
/// ready for both.
///
/// The descriptor stays blocking or not, as it was: a handler that reads a blocking one more than
/// once may block the loop.
///
/// ```
/// use std::cell::RefCell;
/// use std::io::{Read, Write};
/// use std::os::unix::net::UnixStream;
/// use std::rc::Rc;
/// use real_net::Watched;
///
/// let lp = real_net::new_loop()?;
/// let (stream, mut peer) = UnixStream::pair()?;
/// let watched = Watched::new(&lp, stream)?;
/// let heard = Rc::new(RefCell::new(Vec::new()));
/// let (into, stop) = (Rc::clone(&heard), lp.stop_handle());
/// watched.add_reader(move |stream: &Watched<UnixStream>| {
///     let mut bytes = [0; 64];
///     match stream.get_ref().read(&mut bytes) {
///         Ok(length) if length > 0 => into.borrow_mut().extend_from_slice(&bytes[..length]),
///         _ => {
///             stream.remove_reader();
///             stop.stop();
///         }
///     }
/// })?;
/// peer.write_all(b"hello")?;
/// drop(peer);
/// lp.run_forever().expect("it is stopped");
/// assert_eq!(*heard.borrow(), b"hello");
/// # std::io::Result::Ok(())
/// ```
pub struct Watched<T: AsFd>(Rc<Inner<T>>);

struct Inner<T: AsFd> {
    handlers: ReadyHandlers,
    selector: Rc<LevelSelector>,
    /// What the selector looks for.
    interest: Cell<EventFlags>,
    /// `None` once it was given back.
    descriptor: Option<T>,
}

impl MioDriver {
    /// Watches a descriptor for a loop over this driver.
    ///
    /// # Errors
    ///
    /// With the descriptor, which is as it was: `InvalidInput` for a regular file, a directory or a
    /// device that is always ready, and if `lp` runs on another driver; when the kernel has no room
    /// for it; on a closed loop.
    ///
    /// ```
    /// let (lp, driver) = real_net::new_loop_and_driver()?;
    /// let file = std::fs::File::open("/")?;
    /// let refused = driver.watch(&lp, file).unwrap_err();
    /// assert_eq!(refused.error.kind(), std::io::ErrorKind::InvalidInput);
    /// assert!(refused.descriptor.metadata()?.is_dir());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn watch<T: AsFd>(&self, lp: &Loop, descriptor: T) -> Result<Watched<T>, NotTaken<T>> {
        let prepared = ReadyHandlers::new(lp, self).and_then(|handlers| {
            let selector = self.level_selector()?;
            selector.check(descriptor.as_fd())?;
            Ok((handlers, Rc::clone(selector)))
        });
        match prepared {
            Ok((handlers, selector)) => {
                let (interest, descriptor) = (Cell::new(EventFlags::empty()), Some(descriptor));
                Ok(Watched(Rc::new(Inner { handlers, selector, interest, descriptor })))
            }
            Err(error) => Err(NotTaken { descriptor, error }),
        }
    }
}

impl<T: AsFd> Watched<T> {
    /// Watches a descriptor for a real loop: a bare one, that of a world, that of a worker.
    ///
    /// # Errors
    ///
    /// As [`MioDriver::watch`]; `Unsupported` in a simulation, whose loops have no descriptors.
    ///
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use real_net::Watched;
    /// use sim_core::World;
    ///
    /// async fn a_byte_comes(world: World) -> std::io::Result<()> {
    ///     let lp = world.host("client");
    ///     let (stream, mut peer) = UnixStream::pair()?;
    ///     let watched = Watched::new(&lp, stream)?;
    ///     let came = lp.create_future();
    ///     let told = came.clone();
    ///     watched.add_reader(move |stream: &Watched<UnixStream>| {
    ///         stream.remove_reader();
    ///         drop(told.set_result(()));
    ///     })?;
    ///     peer.write_all(b"!")?;
    ///     came.await.map_err(std::io::Error::other)?;
    ///     watched.get_ref().read_exact(&mut [0])
    /// }
    /// real_net::run(a_byte_comes)?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn new(lp: &Loop, descriptor: T) -> Result<Self, NotTaken<T>> {
        match lp.driver::<MioDriver>() {
            Some(driver) => driver.watch(lp, descriptor),
            None => {
                let text = "only a real loop watches descriptors";
                let error = io::Error::new(io::ErrorKind::Unsupported, text);
                Err(NotTaken { descriptor, error })
            }
        }
    }

    /// Calls `handler` in each turn in which the descriptor can be read from, has come to its end or
    /// failed. It replaces the reader that was there, which is not called any more even if it was
    /// queued.
    ///
    /// A panic in it is one in any callback of the loop; it stays added.
    ///
    /// # Errors
    ///
    /// What `epoll_ctl` gives; on a closed loop.
    #[track_caller]
    pub fn add_reader(&self, handler: impl FnMut(&Self) + 'static) -> io::Result<()>
    where
        T: 'static,
    {
        self.add(Direction::Read, handler)
    }

    /// Calls `handler` in each turn in which the descriptor takes what is written, or has failed. It
    /// replaces the writer that was there, which is not called any more even if it was queued.
    ///
    /// Most descriptors can be written to most of the time: remove a writer that has nothing to
    /// write.
    ///
    /// # Errors
    ///
    /// As [`add_reader`](Self::add_reader).
    #[track_caller]
    pub fn add_writer(&self, handler: impl FnMut(&Self) + 'static) -> io::Result<()>
    where
        T: 'static,
    {
        self.add(Direction::Write, handler)
    }

    /// Takes the reader away, which is not called any more even if it was queued. False if there was
    /// none. The writer stays (G-51).
    pub fn remove_reader(&self) -> bool {
        self.remove(Direction::Read)
    }

    /// Takes the writer away, which is not called any more even if it was queued. False if there was
    /// none. The reader stays.
    pub fn remove_writer(&self) -> bool {
        self.remove(Direction::Write)
    }

    /// The descriptor, to be read from and written to.
    pub fn get_ref(&self) -> &T {
        self.0.descriptor()
    }

    /// Gives the descriptor back, without handlers.
    ///
    /// # Errors
    ///
    /// In one of its own handlers, which has it borrowed: gives it back as it was.
    pub fn into_inner(self) -> Result<T, Self> {
        let mut inner = Rc::try_unwrap(self.0).map_err(Self)?;
        inner.forget();
        Ok(inner.descriptor.take().expect("only this takes it, and consumes the owner"))
    }

    #[track_caller]
    fn add(&self, direction: Direction, mut handler: impl FnMut(&Self) + 'static) -> io::Result<()>
    where
        T: 'static,
    {
        // Not held by itself, or nobody could drop it.
        let inner = Rc::downgrade(&self.0);
        self.0.handlers.add(direction, move || {
            if let Some(inner) = inner.upgrade() {
                handler(&Self(inner));
            }
        })?;
        let looked_for = self.0.look_for(flag(direction));
        if looked_for.is_err() {
            self.0.handlers.remove(direction);
        }
        looked_for
    }

    fn remove(&self, direction: Direction) -> bool {
        if !self.0.handlers.remove(direction) {
            return false;
        }
        self.0.stop_looking_for(flag(direction));
        true
    }
}

impl<T: AsFd> Inner<T> {
    fn descriptor(&self) -> &T {
        self.descriptor.as_ref().expect("only `into_inner` takes it, and consumes the owner")
    }

    fn look_for(&self, flag: EventFlags) -> io::Result<()> {
        let before = self.interest.get();
        self.change(before, before | flag)?;
        self.interest.set(before | flag);
        Ok(())
    }

    fn stop_looking_for(&self, flags: EventFlags) {
        let before = self.interest.replace(self.interest.get() - flags);
        if let Err(error) = self.change(before, self.interest.get()) {
            tracing::warn!(target: "real_net", %error, "deregistering a descriptor failed");
        }
    }

    fn change(&self, before: EventFlags, after: EventFlags) -> io::Result<()> {
        self.selector.change(self.descriptor().as_fd(), self.handlers.token(), before, after)
    }

    /// Takes the descriptor out of the selector, while it is still open: a duplicate that lives on
    /// elsewhere would keep the registration alive.
    fn forget(&self) {
        self.stop_looking_for(EventFlags::all());
    }
}

impl<T: AsFd> Drop for Inner<T> {
    fn drop(&mut self) {
        if self.descriptor.is_some() {
            self.forget();
        }
    }
}

fn flag(direction: Direction) -> EventFlags {
    match direction {
        Direction::Read => EventFlags::IN,
        Direction::Write => EventFlags::OUT,
    }
}

impl<T: AsFd> AsFd for Watched<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.get_ref().as_fd()
    }
}

impl<T: AsFd + fmt::Debug> fmt::Debug for Watched<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched")
            .field("descriptor", self.get_ref())
            .field("handlers", &self.0.handlers)
            .finish()
    }
}
