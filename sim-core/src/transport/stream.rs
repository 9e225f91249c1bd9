//! The state of one stream connection: reading, writing, flow control and its end.

mod failure;
mod file;
mod handler;
mod layered;
mod pipe;
mod waiting;
mod writing;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

pub(crate) use self::file::FileTurn;
pub(crate) use self::handler::{ReadInto, StreamHandler};
pub(crate) use self::writing::DROPPED_WRITES_LOGGED_FROM;
use super::{Medium, Transport, WriteBufferLimits};
use crate::Address;
use crate::arena::Key;
use crate::cell::ProtocolCell;
use crate::driver::{READ_MAX, Read, Readiness, Source, Token};
use crate::engine::FirstPanic;
use crate::engine::callbacks::Place;
use crate::engine::core::{Core, Life, Ready};
use crate::engine::look_ahead;
use crate::engine::report::ErrorContext;
use crate::engine::sources::{Flow, Registered};
use crate::layer::Layered;
use crate::protocol::Eof;
use crate::server::ServerState;
use crate::trace::{Callback, Control, Record};
use crate::wakers::Wakers;
use crate::{Conn, Loop, SharedError};

/// Where the connection is in its life. The order matters: later states include earlier ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// `connection_made` has not returned yet: reading is not armed.
    New,
    Open,
    /// Closing: no more reading, output still drains.
    Closing,
    /// Nothing is sent or received any more; `connection_lost` is queued.
    Losing,
    /// `connection_lost` is running or has returned.
    Lost,
}

#[repr(C)]
pub(crate) struct Stream {
    // What every read and write needs comes first.
    pub(crate) lp: Loop,
    source: Source,
    key: Cell<Key>,
    number: u32,
    pub(crate) medium: Medium,
    is_layered: Cell<bool>,
    phase: Cell<Phase>,
    made: Cell<bool>,
    paused_reading: Cell<bool>,
    readable: Cell<bool>,
    read_closed: Cell<bool>,
    read_queued: Cell<bool>,
    in_still_readable: Cell<bool>,
    eof_received: Cell<bool>,
    paused_writing: Cell<bool>,
    pause_undelivered: Cell<bool>,
    eof_written: Cell<bool>,
    /// A file has its turn: nothing else may be written.
    sends_file: Cell<bool>,
    /// Somebody waits until the output has ended.
    end_is_awaited: Cell<bool>,
    reset: Cell<bool>,
    /// What its handler says to [`is_buffered`](StreamHandler::is_buffered): that is asked for each read.
    is_buffered: Cell<bool>,
    handler: RefCell<Option<Rc<dyn StreamHandler>>>,
    limits: Cell<WriteBufferLimits>,
    buffer: RefCell<VecDeque<u8>>,
    // The ends of its life.
    dropped_writes: Cell<u32>,
    pub(crate) sockname: Option<Address>,
    pub(crate) peername: Option<Address>,
    server: Option<Rc<ServerState>>,
    /// The layer that the protocol is on; then `handler` is the lowest one.
    top: RefCell<Option<Rc<Layered>>>,
    /// The loss is the layer's to tell, and then to finish.
    loss_is_layers: Cell<bool>,
    reason: RefCell<Option<io::Error>>,
    outcome: RefCell<Outcome>,
    pub(crate) wakers: Wakers,
    /// Where user code made it, if it did and no server.
    place: Place,
}

/// How a connection ended.
enum Outcome {
    /// It has not.
    Pending,
    /// `connection_lost` has returned; with the error if there was one.
    Lost(Option<SharedError>),
    /// It went with its loop.
    LoopClosed,
}

/// Behind a read: the next iteration reads on, also if a panic ends the run, which may be followed by another.
struct ReadsOn<'a>(&'a Stream);

impl Drop for ReadsOn<'_> {
    fn drop(&mut self) {
        self.0.rearm_read();
    }
}

/// Behind `connection_made`: the connection is open, whatever came of that.
struct Begins<'a>(&'a Stream);

impl Drop for Begins<'_> {
    fn drop(&mut self) {
        let stream = self.0;
        stream.made.set(true);
        if stream.phase.get() == Phase::New {
            stream.phase.set(Phase::Open);
        }
        stream.rearm_read();
        stream.look_for_reader();
        stream.wake_all();
    }
}

/// Behind `connection_lost`: everything is released, whatever came of that.
pub(crate) struct Finishes<'a> {
    pub(crate) stream: &'a Rc<Stream>,
    pub(crate) reason: Option<SharedError>,
}

impl Drop for Finishes<'_> {
    fn drop(&mut self) {
        self.stream.finish(self.reason.take());
    }
}

impl Stream {
    /// What the driver calls it.
    #[inline]
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Asks for the memory of its handler.
    pub(crate) fn prefetch_handler(&self) {
        look_ahead::prefetch_shared(&self.handler);
    }

    /// A stream over a connected socket or an end of a pipe. It is registered, and `connection_made`
    /// is queued, by [`start`](Self::start).
    pub(crate) fn new(lp: &Loop, source: Source, medium: Medium, place: Place) -> Rc<Self> {
        let peername = medium.peer(&*lp.core.driver, source);
        Self::between(lp, source, medium, peername, None, place)
    }

    /// The stream of a connection that a server accepted from `peer`, which may be gone already.
    pub(crate) fn accepted(
        server: &Rc<ServerState>,
        source: Source,
        medium: Medium,
        peer: Address,
    ) -> Rc<Self> {
        let server = Rc::clone(server);
        let lp = server.event_loop().clone();
        Self::between(&lp, source, medium, Some(peer), Some(server), None)
    }

    fn between(
        lp: &Loop,
        source: Source,
        medium: Medium,
        peername: Option<Address>,
        server: Option<Rc<ServerState>>,
        place: Place,
    ) -> Rc<Self> {
        let core = &lp.core;
        let sockname = medium.local(&*core.driver, source);
        Rc::new(Self {
            source,
            number: core.next_connection(),
            key: Cell::new(Key::from_bits(u64::MAX)),
            medium,
            sockname,
            peername,
            lp: lp.clone(),
            server,
            is_buffered: Cell::new(false),
            handler: RefCell::new(None),
            top: RefCell::new(None),
            is_layered: Cell::new(false),
            phase: Cell::new(Phase::New),
            made: Cell::new(false),
            paused_reading: Cell::new(false),
            readable: Cell::new(false),
            read_closed: Cell::new(false),
            read_queued: Cell::new(false),
            in_still_readable: Cell::new(false),
            eof_received: Cell::new(medium == Medium::WritePipe),
            buffer: RefCell::default(),
            limits: Cell::default(),
            paused_writing: Cell::new(false),
            pause_undelivered: Cell::new(false),
            eof_written: Cell::new(medium == Medium::ReadPipe),
            sends_file: Cell::new(false),
            end_is_awaited: Cell::new(false),
            dropped_writes: Cell::new(0),
            reset: Cell::new(false),
            loss_is_layers: Cell::new(false),
            reason: RefCell::new(None),
            outcome: RefCell::new(Outcome::Pending),
            wakers: Wakers::default(),
            place,
        })
    }

    fn core(&self) -> &Rc<Core> {
        &self.lp.core
    }

    /// Takes the stream into the loop's table: under the key that it had while it connected, with
    /// the readiness seen since, or under a new one.
    pub(crate) fn start(self: &Rc<Self>, connected: Option<(Key, bool, bool)>) {
        let core = self.core();
        let entry = Registered::Stream(Rc::clone(self));
        let key = match connected {
            Some((key, readable, read_closed)) => {
                self.readable.set(readable || read_closed);
                self.read_closed.set(read_closed);
                let mut sources = core.sources.borrow_mut();
                let place = sources.get_mut(key).expect("a connecting socket is registered");
                let old = std::mem::replace(place, entry);
                drop(sources);
                drop(old);
                key
            }
            None => core.sources.borrow_mut().insert(entry),
        };
        self.key.set(key);
        core.push(Ready::Life(key, Life::ConnectionMade));
        if connected.is_none()
            && let Err(error) = core.driver.register(self.source, Token(key.to_bits()))
        {
            self.force_close(Some(error));
        }
    }

    /// Its socket, until it goes with the loss of the connection.
    pub(super) fn socket(&self) -> Option<Source> {
        (self.phase.get() < Phase::Lost).then_some(self.source)
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// Where user code made it, or the server that accepted it.
    pub(crate) fn place(&self) -> Place {
        self.place.or_else(|| self.server.as_ref()?.place())
    }

    /// The type of its protocol, if it has one.
    pub(crate) fn protocol_name(&self) -> Option<&'static str> {
        self.handler().map(|handler| handler.protocol_name())
    }

    /// Its protocol tells its state: the run is over.
    pub(crate) fn tell_last_state(&self) {
        if let Some(handler) = self.handler() {
            handler.tell_last_state();
        }
    }

    fn handler(&self) -> Option<Rc<dyn StreamHandler>> {
        self.handler.borrow().clone()
    }

    fn is_handled_by(&self, handler: &dyn StreamHandler) -> bool {
        let current = self.handler.borrow();
        current.as_ref().is_some_and(|current| std::ptr::addr_eq(Rc::as_ptr(current), handler))
    }

    pub(crate) fn install(&self, handler: Rc<dyn StreamHandler>) {
        if let Some(top) = self.top() {
            return top.install_above(handler);
        }
        let old = self.exchange_handler(handler);
        debug_assert!(old.is_none(), "a new stream has no protocol yet");
    }

    /// Contract C-55, C-57.
    pub(crate) fn replace_handler(self: &Rc<Self>, handler: Rc<dyn StreamHandler>) {
        if let Some(top) = self.top() {
            return top.replace_above(handler);
        }
        if self.phase.get() == Phase::Lost {
            return handler.detach();
        }
        if let Some(old) = self.exchange_handler(handler) {
            old.detach();
        }
        if self.paused_writing.get() && !self.pause_undelivered.replace(true) {
            self.core().push_flow(Flow::Pause(Rc::clone(self)));
        }
    }

    pub(crate) fn protocol<P: 'static>(&self) -> Option<Conn<P>> {
        let handler = self.top().map_or_else(|| self.handler(), |top| top.above())?;
        let cell = handler.as_any().downcast::<ProtocolCell<P, Transport>>().ok()?;
        Some(Conn::new(cell))
    }

    /// Under a layer the records are the layer's: they are about the protocol.
    fn trace(&self, callback: Callback, bytes: usize) {
        if self.is_layered.get() {
            return;
        }
        let record = Record::Callback { connection: self.number, callback, bytes: bytes as u64 };
        self.core().trace(record);
    }

    fn control(&self, control: Control) {
        if self.is_layered.get() {
            return;
        }
        self.core().trace(Record::Control { connection: self.number, control });
    }

    // Reading.

    fn wants_read(&self) -> bool {
        self.phase.get() == Phase::Open
            && self.made.get()
            && !self.paused_reading.get()
            && !self.eof_received.get()
    }

    #[inline]
    pub(crate) fn note_readiness(&self, event: &Readiness) -> (bool, bool) {
        if event.readable || event.read_closed {
            self.readable.set(true);
        }
        if event.read_closed {
            self.read_closed.set(true);
        }
        let read = self.readable.get() && self.wants_read() && !self.in_still_readable.get();
        let read = read && !self.read_queued.replace(true);
        let waits = !self.buffer.borrow().is_empty() || self.sends_file.get();
        let write = event.writable && (waits || self.is_unread_pipe());
        (read, write)
    }

    /// Comes off the list of sources with more to read.
    #[inline]
    pub(crate) fn begin_read(&self) -> bool {
        self.in_still_readable.set(false);
        self.readable.get() && self.wants_read() && !self.read_queued.replace(true)
    }

    /// If there may be more to read, and it is wanted, the next iteration reads it.
    fn rearm_read(&self) {
        if self.readable.get() && self.wants_read() && !self.in_still_readable.replace(true) {
            self.core().push_still_readable(self.key.get());
        }
    }

    pub(crate) fn on_readable(self: &Rc<Self>) {
        // A pause since the handle was queued has cancelled it (C-38).
        if !self.read_queued.replace(false) || !self.wants_read() {
            return;
        }
        let Some(handler) = self.handler() else {
            return;
        };
        let _reads_on = ReadsOn(self);
        if self.is_buffered.get() {
            self.read_buffered(&*handler);
        } else {
            self.read_plain(&*handler);
        }
    }

    fn read_plain(self: &Rc<Self>, handler: &dyn StreamHandler) {
        let core = self.core();
        let mut buffer = core.memory.take();
        match self.judge_read(core.driver.read_available(self.source, &mut buffer)) {
            Some(0) => self.on_eof(handler),
            Some(bytes) => {
                self.trace(Callback::DataReceived, bytes);
                self.guard(Callback::DataReceived, handler, || {
                    handler.data_received(&buffer[..bytes])
                });
            }
            None => {}
        }
        core.memory.put_back(buffer);
    }

    fn read_buffered(self: &Rc<Self>, handler: &dyn StreamHandler) {
        let core = self.core();
        self.trace(Callback::GetBuffer, 0);
        let hint = core.driver.read_hint(self.source).clamp(1, READ_MAX);
        let mut offered = None;
        let mut read = |buffer: &mut [u8]| {
            // get_buffer() may have paused, closed or handed the connection on: then nothing is read.
            if !self.wants_read() || !self.is_handled_by(handler) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            offered = Some(buffer.len());
            match buffer.len() {
                0 => Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "get_buffer() returned an empty buffer",
                )),
                _ => core.driver.read(self.source, buffer),
            }
        };
        let contained = core.contain(|| handler.with_buffer(hint, &mut read));
        let result = match contained {
            Err(message) => return self.callback_panicked(Callback::GetBuffer, handler, message),
            Ok(result) => result.expect("the protocol is buffered"),
        };
        let Some(offered) = offered else {
            return;
        };
        if offered == 0 {
            return self.fail_with(result.expect_err("an empty buffer is an error"));
        }
        match self.judge_read(result.map(|bytes| Read { bytes, more: bytes == offered })) {
            Some(0) => self.on_eof(handler),
            Some(bytes) => {
                self.trace(Callback::BufferUpdated, bytes);
                self.guard(Callback::BufferUpdated, handler, || handler.buffer_updated(bytes));
            }
            None => {}
        }
    }

    /// What a read means for the next one: how many bytes came, if any may be delivered.
    #[inline]
    fn judge_read(self: &Rc<Self>, result: io::Result<Read>) -> Option<usize> {
        match result {
            Ok(Read { bytes, more }) => {
                // The socket is empty, unless its end is still to be seen.
                if !more && !self.read_closed.get() {
                    self.readable.set(false);
                }
                Some(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable.set(false);
                None
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => {
                self.read_failed(error);
                None
            }
        }
    }

    fn on_eof(self: &Rc<Self>, handler: &dyn StreamHandler) {
        self.readable.set(false);
        self.eof_received.set(true);
        if self.medium == Medium::ReadPipe {
            return self.end_pipe();
        }
        self.trace(Callback::EofReceived, 0);
        let answer = self.guard(Callback::EofReceived, handler, || handler.eof_received());
        if answer == Some(Eof::Close) {
            self.close();
        }
    }

    pub(crate) fn pause_reading(&self) {
        if self.is_closing() || self.paused_reading.replace(true) {
            return;
        }
        self.control(Control::PauseReading);
        self.read_queued.set(false);
    }

    pub(crate) fn resume_reading(&self) {
        if self.is_closing() || !self.paused_reading.replace(false) {
            return;
        }
        self.control(Control::ResumeReading);
        self.rearm_read();
    }

    pub(crate) fn is_reading(&self) -> bool {
        !self.paused_reading.get() && !self.eof_received.get() && !self.is_closing()
    }

    // The beginning and the end.

    pub(crate) fn connection_made(self: &Rc<Self>) {
        let _begins = Begins(self);
        if let Some(handler) = self.handler() {
            self.trace(Callback::ConnectionMade, 0);
            if let Err(message) = self.core().contain(|| handler.connection_made()) {
                let context = ErrorContext::panic("Exception in callback connection_made", message);
                self.report(&*handler, context);
            }
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.phase.get() >= Phase::Closing
    }

    pub(crate) fn close(&self) {
        if self.is_closing() {
            return;
        }
        self.control(Control::Close);
        self.read_queued.set(false);
        if self.buffer.borrow().is_empty() {
            self.lose(None);
        } else {
            self.phase.set(Phase::Closing);
            self.tell_room();
        }
    }

    pub(crate) fn abort(&self) {
        if self.phase.get() == Phase::Lost {
            return;
        }
        self.control(Control::Abort);
        self.reset.set(true);
        self.force_close(None);
    }

    fn force_close(&self, reason: Option<io::Error>) {
        if self.phase.get() >= Phase::Losing {
            return;
        }
        self.buffer.borrow_mut().clear();
        self.read_queued.set(false);
        self.lose(reason);
    }

    /// Queues `connection_lost`.
    fn lose(&self, reason: Option<io::Error>) {
        self.phase.set(Phase::Losing);
        self.reason.replace(reason);
        self.core().push(Ready::Life(self.key.get(), Life::ConnectionLost));
    }

    pub(crate) fn connection_lost(self: &Rc<Self>) {
        if self.phase.get() != Phase::Losing {
            return;
        }
        // Terminal before the callback runs, on every path (C-14).
        self.phase.set(Phase::Lost);
        let reason = self.reason.take();
        if self.is_layered.get()
            && let Some(lowest) = self.handler()
        {
            self.loss_is_layers.set(true);
            return lowest.connection_lost(reason);
        }
        let reason = reason.map(SharedError::new);
        let error = reason.as_ref().map(SharedError::to_io);
        let _finishes = Finishes { stream: self, reason };
        if let Some(handler) = self.handler() {
            self.trace(Callback::ConnectionLost, 0);
            if let Err(message) = self.core().contain(|| handler.connection_lost(error)) {
                let context = ErrorContext::panic("Exception in callback connection_lost", message);
                self.report(&*handler, context);
            }
        }
    }

    /// Releases everything, after `connection_lost` has returned (C-12). What user code leaves behind may panic when it
    /// is dropped, also where a panic goes through here.
    pub(crate) fn finish(self: &Rc<Self>, reason: Option<SharedError>) {
        let mut panics = FirstPanic::default();
        self.loss_is_layers.set(false);
        let core = self.core();
        let registered = core.sources.borrow_mut().remove(self.key.get());
        self.close_source();
        self.outcome.replace(Outcome::Lost(reason));
        let handler = self.handler.take();
        if let Some(handler) = &handler {
            panics.run(|| handler.detach());
        }
        if let Some(server) = &self.server {
            server.detach(self.number);
        }
        self.buffer.take();
        self.wake_all();
        panics.run(|| drop((handler, registered)));
        panics.resume();
    }

    /// Closes the socket; with a reset if what was written is cut short (ruling 9).
    fn close_source(&self) {
        let driver = &self.core().driver;
        // With output that waits, the loop ends first.
        if self.reset.get() || !self.buffer.borrow().is_empty() {
            driver.reset(self.source);
        } else {
            driver.close(self.source);
        }
    }

    /// The loop is closed: no callback, the socket is closed.
    pub(crate) fn release(self: &Rc<Self>) {
        if self.phase.replace(Phase::Lost) == Phase::Lost && !self.loss_is_layers.replace(false) {
            return;
        }
        self.close_source();
        let handler = self.handler.take();
        if let Some(handler) = &handler {
            handler.detach();
        }
        self.outcome.replace(Outcome::LoopClosed);
        self.made.set(true);
        if let Some(server) = &self.server {
            server.detach(self.number);
        }
        self.wake_all();
        drop(handler);
    }
}
