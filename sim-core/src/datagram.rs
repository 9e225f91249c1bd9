//! Datagram transports.

mod life;

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use crate::address::sealed::AddressRef;
use crate::arena::Key;
use crate::cell::ProtocolCell;
use crate::driver::{Readiness, Received, ReceivedUnix, Source, Token};
use crate::engine::callbacks::{Action, Place};
use crate::engine::core::{Core, Life, Ready};
use crate::engine::iteration::drain_flow;
use crate::engine::look_ahead;
use crate::engine::report::ErrorContext;
use crate::engine::sources::{Flow, Registered};
use crate::trace::{Callback, Control, Record};
use crate::transport::{Medium, WriteBufferLimits};
use crate::wakers::Wakers;
use crate::{Address, Conn, DatagramAddress, Loop, SharedError};

/// What each queued datagram counts beside its payload, in bytes (contract D-12, ruling 13).
const HEADER: usize = 8;
/// From this many dropped sends on, each is logged (D-15, C-69).
const DROPPED_SENDS_LOGGED_FROM: u32 = 5;

/// A handle of a datagram endpoint: asyncio's datagram transport.
///
/// Handles are clones of each other. Every method acts at once, and none runs user code. `A` is what
/// it sends to: internet addresses, or [`UnixAddr`](crate::UnixAddr)esses.
pub struct DatagramTransport<A: DatagramAddress = SocketAddr> {
    pub(crate) endpoint: Rc<Endpoint>,
    addresses: PhantomData<A>,
}

impl<A: DatagramAddress> DatagramTransport<A> {
    pub(crate) fn new(endpoint: &Rc<Endpoint>) -> Self {
        Self { endpoint: Rc::clone(endpoint), addresses: PhantomData }
    }

    /// Sends `data` as one datagram: to `to`, or to the remote address that the endpoint was made
    /// with. An empty datagram is sent too (contract D-04).
    ///
    /// If the network takes none now, the datagram is queued (D-10). An error of the network
    /// comes as `error_received`, right after this callback (D-07, D-09). After `close` it is
    /// dropped (D-15).
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `to` is missing and the endpoint has no remote address (D-06), or if it
    /// is another address than the one that the endpoint is connected to (D-05).
    pub fn send_to(&self, data: &[u8], to: Option<A>) -> io::Result<()> {
        self.endpoint.send_to(data, to.as_ref().map(A::to_ref))
    }

    /// Closes the endpoint: receiving stops, what is queued is sent, then `connection_lost(None)`
    /// comes (D-13). Idempotent.
    pub fn close(&self) {
        self.endpoint.close();
    }

    /// Closes the endpoint at once; what is queued is dropped (D-14). Idempotent.
    pub fn abort(&self) {
        self.endpoint.abort();
    }

    /// True from `close` or `abort` on.
    pub fn is_closing(&self) -> bool {
        self.endpoint.is_closing()
    }

    /// Stops `datagram_received` (D-17). Idempotent.
    pub fn pause_reading(&self) {
        self.endpoint.pause_reading();
    }

    /// Undoes [`pause_reading`](Self::pause_reading).
    pub fn resume_reading(&self) {
        self.endpoint.resume_reading();
    }

    /// True unless paused or closing.
    pub fn is_reading(&self) -> bool {
        !self.endpoint.paused_reading.get() && !self.endpoint.is_closing()
    }

    /// True while at most the high-water mark is queued, and the endpoint is not closing.
    pub fn is_writable(&self) -> bool {
        !self.endpoint.paused_writing.get() && !self.endpoint.is_closing()
    }

    /// How much is queued: payload and 8 bytes for each datagram (D-12).
    pub fn write_buffer_size(&self) -> usize {
        self.endpoint.write_buffer_size()
    }

    /// The water marks.
    pub fn write_buffer_limits(&self) -> WriteBufferLimits {
        self.endpoint.limits.get()
    }

    /// Sets the water marks, as [`Transport::set_write_buffer_limits`] does.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if `high < low`; the old ones stay.
    ///
    /// [`Transport::set_write_buffer_limits`]: crate::Transport::set_write_buffer_limits
    pub fn set_write_buffer_limits(&self, limits: WriteBufferLimits) -> io::Result<()> {
        let limits = WriteBufferLimits::new(limits.high, limits.low)?;
        if self.endpoint.phase.get() != Phase::Lost {
            self.endpoint.limits.set(limits);
            self.endpoint.judge_pause();
        }
        Ok(())
    }

    /// The protocol in charge, if its type is `P`; `None` after the loss.
    pub fn protocol<P: 'static>(&self) -> Option<Conn<P, Self>> {
        let handler = self.endpoint.handler()?;
        let cell = handler.as_any().downcast::<ProtocolCell<P, Self>>().ok()?;
        Some(Conn::new(cell))
    }

    /// The local address. A Unix socket that was never bound is unnamed.
    pub fn sockname(&self) -> Option<A> {
        self.endpoint.sockname.as_ref().and_then(A::of)
    }

    /// The address it is connected to; `None` if it is not (D-23).
    pub fn peername(&self) -> Option<A> {
        self.endpoint.peername.as_ref().and_then(A::of)
    }

    /// The number that the loop gave this transport, counted from 1.
    pub fn number(&self) -> u32 {
        self.endpoint.number
    }

    /// The loop it belongs to.
    pub fn event_loop(&self) -> &Loop {
        &self.endpoint.lp
    }
}

impl<A: DatagramAddress> Clone for DatagramTransport<A> {
    fn clone(&self) -> Self {
        Self::new(&self.endpoint)
    }
}

impl<A: DatagramAddress> PartialEq for DatagramTransport<A> {
    /// True for handles of the same endpoint.
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.endpoint, &other.endpoint)
    }
}

impl<A: DatagramAddress> Eq for DatagramTransport<A> {}

impl<A: DatagramAddress> fmt::Debug for DatagramTransport<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("number", &self.number())
            .field("sockname", &self.sockname())
            .field("closing", &self.is_closing())
            .finish_non_exhaustive()
    }
}

/// What an endpoint calls: a protocol without its type.
pub(crate) trait DatagramHandler {
    fn connection_made(&self);
    fn datagram_received(&self, data: &[u8], from: AddressRef<'_>);
    fn error_received(&self, error: io::Error);
    fn pause_writing(&self);
    fn resume_writing(&self);
    fn connection_lost(&self, error: Option<io::Error>);
    /// Puts what the protocol says of its state into the trace: the run is over.
    fn tell_last_state(&self);
    fn protocol_name(&self) -> &'static str;
    fn detach(&self);
    fn as_any(self: Rc<Self>) -> Rc<dyn Any>;
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    New,
    Open,
    Closing,
    Losing,
    Lost,
}

/// Where an endpoint sends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Remote {
    /// To whom each datagram says.
    Any,
    /// To the address that its socket is connected to.
    Connected(Address),
    /// To this address unless a datagram says otherwise; not connected, so that broadcasts and
    /// their answers work (D-20).
    Default(Address),
}

struct Queued {
    data: Box<[u8]>,
    to: Option<Address>,
}

pub(crate) struct Endpoint {
    pub(crate) lp: Loop,
    source: Source,
    number: u32,
    key: Cell<Key>,
    medium: Medium,
    pub(crate) sockname: Option<Address>,
    pub(crate) peername: Option<Address>,
    remote: Remote,
    handler: RefCell<Option<Rc<dyn DatagramHandler>>>,
    phase: Cell<Phase>,
    made: Cell<bool>,
    paused_reading: Cell<bool>,
    readable: Cell<bool>,
    read_queued: Cell<bool>,
    write_queued: Cell<bool>,
    in_still_readable: Cell<bool>,
    queue: RefCell<VecDeque<Queued>>,
    queued: Cell<usize>,
    limits: Cell<WriteBufferLimits>,
    paused_writing: Cell<bool>,
    pause_undelivered: Cell<bool>,
    dropped_sends: Cell<u32>,
    outcome: RefCell<Option<Option<SharedError>>>,
    pub(crate) wakers: Wakers,
    /// Where user code made it.
    pub(crate) place: Place,
}

/// Behind a read: the next iteration reads on, also if a panic ends the run, which may be followed by another.
struct ReadsOn<'a>(&'a Endpoint);

impl Drop for ReadsOn<'_> {
    fn drop(&mut self) {
        self.0.rearm_read();
    }
}

/// A panic in the writer ends the run: the next one goes on with the queue, and with what depends on how full it is.
struct WritesOn<'a>(&'a Endpoint);

impl Drop for WritesOn<'_> {
    fn drop(&mut self) {
        if self.0.phase.get() < Phase::Losing {
            self.0.queue_write();
        }
    }
}

impl Endpoint {
    pub(crate) fn new(
        lp: &Loop,
        source: Source,
        medium: Medium,
        remote: Remote,
        place: Place,
    ) -> Rc<Self> {
        let core = &lp.core;
        let sockname = medium.local(&*core.driver, source);
        let peername = medium.peer(&*core.driver, source);
        Rc::new(Self {
            lp: lp.clone(),
            source,
            number: core.next_connection(),
            key: Cell::new(Key::from_bits(u64::MAX)),
            medium,
            sockname,
            peername,
            remote,
            handler: RefCell::new(None),
            phase: Cell::new(Phase::New),
            made: Cell::new(false),
            paused_reading: Cell::new(false),
            readable: Cell::new(false),
            read_queued: Cell::new(false),
            write_queued: Cell::new(false),
            in_still_readable: Cell::new(false),
            queue: RefCell::default(),
            queued: Cell::new(0),
            limits: Cell::default(),
            paused_writing: Cell::new(false),
            pause_undelivered: Cell::new(false),
            dropped_sends: Cell::new(0),
            outcome: RefCell::new(None),
            wakers: Wakers::default(),
            place,
        })
    }

    /// Takes the endpoint into the loop's table and queues `connection_made`.
    pub(crate) fn start(self: &Rc<Self>, handler: Rc<dyn DatagramHandler>) -> io::Result<()> {
        let core = self.core();
        self.handler.replace(Some(handler));
        let key = core.sources.borrow_mut().insert(Registered::Endpoint(Rc::clone(self)));
        self.key.set(key);
        if let Err(error) = core.driver.register(self.source, Token(key.to_bits())) {
            self.release();
            let removed = core.sources.borrow_mut().remove(key);
            drop(removed);
            return Err(error);
        }
        core.push(Ready::Life(key, Life::ConnectionMade));
        Ok(())
    }

    fn core(&self) -> &Rc<Core> {
        &self.lp.core
    }

    pub(crate) fn number(&self) -> u32 {
        self.number
    }

    /// What the driver calls it.
    #[inline]
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Asks for the memory of its handler.
    pub(crate) fn prefetch_handler(&self) {
        look_ahead::prefetch_shared(&self.handler);
    }

    /// How much is queued: payload and 8 bytes for each datagram.
    pub(crate) fn write_buffer_size(&self) -> usize {
        self.queued.get()
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

    fn handler(&self) -> Option<Rc<dyn DatagramHandler>> {
        self.handler.borrow().clone()
    }

    fn trace(&self, callback: Callback, bytes: usize) {
        let record = Record::Callback { connection: self.number, callback, bytes: bytes as u64 };
        self.core().trace(record);
    }

    fn control(&self, control: Control) {
        self.core().trace(Record::Control { connection: self.number, control });
    }

    /// Runs a callback; its failure is reported and costs nothing (D-18, C-86).
    #[inline(always)]
    fn call(&self, callback: Callback, bytes: usize, code: impl FnOnce(&dyn DatagramHandler)) {
        let Some(handler) = self.handler() else {
            return;
        };
        self.trace(callback, bytes);
        if let Err(message) = self.core().contain(|| code(&*handler)) {
            self.callback_panicked(callback, &*handler, message);
        }
    }

    fn callback_panicked(
        &self,
        callback: Callback,
        handler: &dyn DatagramHandler,
        message: Arc<str>,
    ) {
        let text = format!("Exception in callback protocol.{}()", callback.name());
        let context = ErrorContext::panic(text, message);
        self.core().report_made(context.on(self.number, handler.protocol_name()), self.place);
    }

    // Receiving: one datagram for each readiness and iteration (D-02).

    fn wants_read(&self) -> bool {
        self.phase.get() == Phase::Open && self.made.get() && !self.paused_reading.get()
    }

    #[inline]
    pub(crate) fn note_readiness(&self, event: &Readiness) -> (bool, bool) {
        if event.readable || event.read_closed {
            self.readable.set(true);
        }
        let read = self.readable.get() && self.wants_read() && !self.in_still_readable.get();
        let read = read && !self.read_queued.replace(true);
        (read, event.writable && !self.queue.borrow().is_empty() && !self.write_queued.get())
    }

    #[inline]
    pub(crate) fn begin_read(&self) -> bool {
        self.in_still_readable.set(false);
        self.readable.get() && self.wants_read() && !self.read_queued.replace(true)
    }

    fn rearm_read(&self) {
        if self.readable.get() && self.wants_read() && !self.in_still_readable.replace(true) {
            self.core().push_still_readable(self.key.get());
        }
    }

    pub(crate) fn on_readable(self: &Rc<Self>) {
        if !self.read_queued.replace(false) || !self.wants_read() {
            return;
        }
        let _reads_on = ReadsOn(self);
        let core = self.core();
        let mut buffer = core.memory.take();
        if self.medium == Medium::Unix {
            self.receive_unix(&mut buffer);
        } else {
            match core.driver.receive_available(self.source, &mut buffer) {
                Ok(Received { bytes, ref from, more }) => {
                    self.deliver(&buffer[..bytes], AddressRef::Ip(from), more);
                }
                Err(error) => self.receive_failed(error),
            }
        }
        core.memory.put_back(buffer);
    }

    #[inline(never)]
    fn receive_unix(&self, buffer: &mut Vec<u8>) {
        let sockets = self.core().driver.unix();
        match sockets.and_then(|sockets| sockets.receive_available(self.source, buffer)) {
            Ok(ReceivedUnix { bytes, from, more }) => {
                self.deliver(&buffer[..bytes], AddressRef::Unix(&from), more);
            }
            Err(error) => self.receive_failed(error),
        }
    }

    /// Gives a datagram to the protocol; `more` says whether there may be another.
    #[inline(always)]
    fn deliver(&self, data: &[u8], from: AddressRef<'_>, more: bool) {
        self.readable.set(more);
        self.call(Callback::DatagramReceived, data.len(), |handler| {
            handler.datagram_received(data, from);
        });
    }

    #[cold]
    fn receive_failed(&self, error: io::Error) {
        match error.kind() {
            io::ErrorKind::WouldBlock => self.readable.set(false),
            io::ErrorKind::Interrupted => {}
            _ => self.deliver_error(error),
        }
    }

    pub(crate) fn deliver_error(&self, error: io::Error) {
        struct InError<'a>(&'a Cell<bool>, bool);
        impl Drop for InError<'_> {
            fn drop(&mut self) {
                self.0.set(self.1);
            }
        }
        // What was queued comes before the loss, as ruling 1 has it.
        if self.phase.get() < Phase::Lost {
            let in_error = &self.core().in_error;
            let _in_error = InError(in_error, in_error.replace(true));
            self.call(Callback::ErrorReceived, 0, |handler| handler.error_received(error));
        }
    }

    fn pause_reading(&self) {
        if self.is_closing() || self.paused_reading.replace(true) {
            return;
        }
        self.control(Control::PauseReading);
        self.read_queued.set(false);
    }

    fn resume_reading(&self) {
        if self.is_closing() || !self.paused_reading.replace(false) {
            return;
        }
        self.control(Control::ResumeReading);
        self.rearm_read();
    }

    // Sending.

    /// Where a datagram goes, as the driver wants it (D-05, D-06).
    fn destination<'a>(&'a self, to: Option<AddressRef<'a>>) -> io::Result<Option<AddressRef<'a>>> {
        let wrong = |text: String| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        match (&self.remote, to) {
            (Remote::Any, Some(AddressRef::Unix(to))) if to.is_unnamed() => {
                wrong("send_to: the address is unnamed, so nothing can be sent to it".into())
            }
            (Remote::Any, Some(to)) => Ok(Some(to)),
            (Remote::Any, None) => {
                wrong("send_to(None): the endpoint has no remote address".into())
            }
            (Remote::Connected(remote) | Remote::Default(remote), Some(to)) if to != *remote => {
                wrong(format!("invalid address {}: must be None or {remote}", to.to_address()))
            }
            (Remote::Connected(_), _) => Ok(None),
            (Remote::Default(remote), _) => Ok(Some(remote.into())),
        }
    }

    fn send_to(self: &Rc<Self>, data: &[u8], to: Option<AddressRef<'_>>) -> io::Result<()> {
        let to = match (&self.remote, to) {
            (Remote::Connected(_), None) => None,
            (Remote::Any, Some(to @ AddressRef::Ip(_))) => Some(to),
            (_, to) => self.destination(to)?,
        };
        if self.is_closing() {
            self.drop_send();
            return Ok(());
        }
        self.core().trace(Record::Write { connection: self.number, bytes: data.len() as u64 });
        if self.queue.borrow().is_empty() {
            match self.send_now(data, to) {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    self.tell_error(error);
                    return Ok(());
                }
            }
        }
        let to = to.map(AddressRef::to_address);
        self.queue.borrow_mut().push_back(Queued { data: data.into(), to });
        self.queued.set(self.queued.get() + data.len() + HEADER);
        self.judge_pause();
        Ok(())
    }

    /// Tells an error of sending right after the callback that sent; one of a send inside an
    /// `error_received`, be it of another endpoint, a turn later, or protocols that always try again
    /// would keep the loop (D-09, ruling 1).
    fn tell_error(self: &Rc<Self>, error: io::Error) {
        if !self.core().in_error.get() {
            return self.core().push_flow(Flow::Error(Rc::clone(self), error));
        }
        let endpoint = Rc::clone(self);
        let tell = move || endpoint.deliver_error(error);
        drop(self.core().call_soon(None, Action::Call(Box::new(tell))));
    }

    fn drop_send(&self) {
        let dropped = self.dropped_sends.get().saturating_add(1);
        self.dropped_sends.set(dropped);
        if dropped >= DROPPED_SENDS_LOGGED_FROM {
            tracing::warn!(target: "sim_core", transport = self.number, "send on a closed endpoint");
        }
    }

    #[inline(always)]
    fn send_now(&self, data: &[u8], to: Option<AddressRef<'_>>) -> io::Result<()> {
        let driver = &self.core().driver;
        loop {
            let sent = match to {
                None => driver.send_to(self.source, data, None),
                Some(AddressRef::Ip(to)) => driver.send_to(self.source, data, Some(to)),
                Some(AddressRef::Unix(to)) => driver.unix()?.send_to(self.source, data, to),
            };
            match sent {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result.map(drop),
            }
        }
    }

    fn judge_pause(self: &Rc<Self>) {
        if self.queued.get() > self.limits.get().high && !self.paused_writing.replace(true) {
            self.pause_undelivered.set(true);
            self.core().push_flow(Flow::PauseDatagrams(Rc::clone(self)));
        }
    }

    pub(crate) fn deliver_pause(&self) {
        if self.pause_undelivered.replace(false) && self.phase.get() != Phase::Lost {
            self.call(Callback::PauseWriting, 0, |handler| handler.pause_writing());
        }
    }

    /// Sends from the queue. An error costs its datagram alone (D-16); what `error_received` queues has its turn later,
    /// or a protocol that always tries again would keep the loop.
    pub(crate) fn on_writable(self: &Rc<Self>) {
        if self.phase.get() >= Phase::Losing {
            return;
        }
        self.write_queued.set(false);
        let writes_on = WritesOn(self);
        self.write_queue();
        std::mem::forget(writes_on);
    }

    fn write_queue(&self) {
        let waiting = self.queue.borrow().len();
        let mut blocked = false;
        for _ in 0..waiting {
            let Some(next) = self.queue.borrow_mut().pop_front() else {
                break;
            };
            match self.send_now(&next.data, next.to.as_ref().map(AddressRef::from)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.queue.borrow_mut().push_front(next);
                    blocked = true;
                    break;
                }
                result => {
                    self.queued.set(self.queued.get() - next.data.len() - HEADER);
                    if let Err(error) = result {
                        self.deliver_error(error);
                        drain_flow(self.core());
                    }
                }
            }
            if self.phase.get() >= Phase::Losing {
                return;
            }
        }
        if !blocked && !self.queue.borrow().is_empty() {
            self.queue_write();
        }
        if self.paused_writing.get() && self.queued.get() <= self.limits.get().low {
            self.paused_writing.set(false);
            self.call(Callback::ResumeWriting, 0, |handler| handler.resume_writing());
            drain_flow(self.core());
        }
        if self.phase.get() == Phase::Closing && self.queue.borrow().is_empty() {
            self.phase.set(Phase::Losing);
            self.connection_lost();
        }
    }

    /// Has the next iteration write, unless it is to do so already.
    fn queue_write(&self) {
        if !self.write_queued.replace(true) {
            self.core().push(Ready::Io { source: self.key.get(), read: false, write: true });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::{Cx, DatagramProtocol, PanicPolicy, testing};

    /// A-18, D-02: a panic that ends the run costs its own datagram, and the next run takes the one behind it.
    #[test]
    fn what_is_behind_a_panic_that_ended_the_run_is_received() {
        struct Stumbles(Vec<u8>);
        impl DatagramProtocol for Stumbles {
            fn datagram_received(
                &mut self,
                _: &mut Cx<'_, Self, DatagramTransport>,
                data: &[u8],
                _: SocketAddr,
            ) {
                self.0.extend(data);
                assert_ne!(data, b"1", "on purpose");
            }
        }
        let mut peer = testing::drive_datagrams(Stumbles(Vec::new()), usize::MAX);
        let lp = peer.with(|_, cx| cx.transport().event_loop().clone());
        lp.set_panic_policy(PanicPolicy::EndRun);
        peer.with(|_, cx| cx.pause_reading());
        for data in [b"1", b"2"] {
            peer.feed(data, "10.0.0.2:7".parse().unwrap());
        }
        assert!(catch_unwind(AssertUnwindSafe(|| peer.with(|_, cx| cx.resume_reading()))).is_err());
        peer.settle();
        peer.with(|protocol, _| assert_eq!(protocol.0, b"12"));
    }
}
