//! The state of a layer in its transport, and its handshake.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::{Rc, Weak};
use std::task::Waker;
use std::time::Duration;

use super::{Layer, LayerFactory, LayerOptions};
use crate::SharedError;
use crate::engine::callbacks::Action;
use crate::engine::core::Core;
use crate::engine::report::ErrorContext;
use crate::engine::sources::Flow;
use crate::protocol::Eof;
use crate::timer::Timer;
use crate::trace::{Callback, Control, Record};
use crate::transport::WriteBufferLimits;
use crate::transport::stream::{ReadInto, Stream, StreamHandler};

/// Where the layer is; contract F-01.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Handshake,
    Wrapped,
    Flushing,
    Shutdown,
    Unwrapped,
}

/// What the protocol above has heard of the connection; contract F-02.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Heard {
    Nothing,
    Made,
    Eof,
    Lost,
}

/// A panic of the layer itself takes the connection along: nothing can be sent or received without it.
struct FallsWith<'a>(&'a Layered);

impl Drop for FallsWith<'_> {
    fn drop(&mut self) {
        self.0.end(io::Error::other("the layer of the connection panicked"), true);
    }
}

/// A panic of the protocol's ends the run: the next one goes on with what waits, and with the end.
pub(super) struct GoesOn<'a>(pub(super) &'a Layered);

impl Drop for GoesOn<'_> {
    fn drop(&mut self) {
        if !self.0.pump_queued.replace(true) {
            self.0.call_soon(|this| {
                this.pump();
                this.go_on_closing();
            });
        }
    }
}

/// A panic in `connection_made` ends the run: the handshake is done all the same, and the next run goes on from there.
struct BeginsAnyway<'a>(&'a Layered);

impl Drop for BeginsAnyway<'_> {
    fn drop(&mut self) {
        self.0.call_soon(Layered::begin_wrapped);
    }
}

/// The water marks of what a protocol writes; contract F-21.
const WRITE_LIMITS: WriteBufferLimits = WriteBufferLimits { high: 512 << 10, low: 128 << 10 };

/// A layer in its transport: the protocol of what is below, the transport of what is above.
pub(crate) struct Layered {
    pub(super) this: Weak<Self>,
    stream: Weak<Stream>,
    /// The layer that this one lies upon; else it is the stream itself.
    below: Option<Rc<Self>>,
    factory: Rc<dyn LayerFactory>,
    pub(super) options: Cell<LayerOptions>,
    /// Out of its place while it works, since it may call what its user gave it: a verifier, say.
    session: RefCell<Option<Box<dyn Layer>>>,
    above: RefCell<Option<Rc<dyn StreamHandler>>>,
    state: Cell<State>,
    pub(super) heard: Cell<Heard>,
    // Reading.
    /// What came from below and was not looked at.
    pub(super) incoming: RefCell<Vec<u8>>,
    /// What is for the protocol and was not delivered.
    pub(super) plain: RefCell<Vec<u8>>,
    /// What was wrong with what came after that.
    pub(super) fault: RefCell<Option<io::Error>>,
    pub(super) below_ended: Cell<bool>,
    pub(super) paused_reading: Cell<bool>,
    pub(super) paused_below: Cell<bool>,
    pub(super) pump_queued: Cell<bool>,
    // Writing.
    pub(super) backlog: RefCell<VecDeque<u8>>,
    pub(super) limits: Cell<WriteBufferLimits>,
    pub(super) paused_writing: Cell<bool>,
    pub(super) pause_undelivered: Cell<bool>,
    pub(super) dropped_writes: Cell<u32>,
    // The handshake and the end.
    pub(super) timer: RefCell<Option<Timer>>,
    outcome: RefCell<Option<Option<SharedError>>>,
    wakers: RefCell<Vec<Waker>>,
    info: RefCell<Option<Rc<dyn Any>>>,
}

impl Layered {
    /// Puts a layer on a stream whose protocol comes with its connection.
    pub(crate) fn install(stream: &Rc<Stream>, factory: &Rc<dyn LayerFactory>) -> Rc<Self> {
        let layer = Self::new(stream, factory, None, Heard::Nothing);
        stream.put_layer(&layer);
        layer
    }

    /// Puts a layer between a stream and the protocol that has it.
    pub(super) fn insert(stream: &Rc<Stream>, factory: &Rc<dyn LayerFactory>) -> Rc<Self> {
        let below = stream.top();
        let layer = Self::new(stream, factory, below.clone(), Heard::Made);
        let above = match &below {
            Some(below) => below.above.replace(Some(Rc::clone(&layer) as _)),
            None => stream.exchange_handler(Rc::clone(&layer) as _),
        };
        layer.above.replace(above);
        // A pause that the protocol has heard of is undone by the layer.
        let paused = match &below {
            Some(below) => below.paused_writing.get() && !below.pause_undelivered.get(),
            None => stream.has_told_pause(),
        };
        layer.paused_writing.set(paused);
        stream.put_layer(&layer);
        layer
    }

    fn new(
        stream: &Rc<Stream>,
        factory: &Rc<dyn LayerFactory>,
        below: Option<Rc<Self>>,
        heard: Heard,
    ) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            stream: Rc::downgrade(stream),
            below,
            factory: Rc::clone(factory),
            options: Cell::default(),
            session: RefCell::new(None),
            above: RefCell::new(None),
            state: Cell::new(State::Handshake),
            heard: Cell::new(heard),
            incoming: RefCell::default(),
            plain: RefCell::default(),
            fault: RefCell::new(None),
            below_ended: Cell::new(false),
            paused_reading: Cell::new(false),
            paused_below: Cell::new(false),
            pump_queued: Cell::new(false),
            backlog: RefCell::default(),
            limits: Cell::new(WRITE_LIMITS),
            paused_writing: Cell::new(false),
            pause_undelivered: Cell::new(false),
            dropped_writes: Cell::new(0),
            timer: RefCell::new(None),
            outcome: RefCell::new(None),
            wakers: RefCell::default(),
            info: RefCell::new(None),
        })
    }

    pub(super) fn rc(&self) -> Rc<Self> {
        self.this.upgrade().expect("it is borrowed, so it lives")
    }

    /// The stream that it is for. It is alive whenever something reaches its layer.
    pub(super) fn stream(&self) -> Rc<Stream> {
        self.stream.upgrade().expect("a layer is reached through its stream")
    }

    pub(super) fn state(&self) -> State {
        self.state.get()
    }

    pub(super) fn set_state(&self, state: State) {
        let old = self.state.replace(state);
        debug_assert!(
            matches!(
                (old, state),
                (_, State::Unwrapped)
                    | (State::Handshake, State::Wrapped)
                    | (State::Wrapped, State::Flushing)
                    | (State::Flushing, State::Shutdown)
            ),
            "a layer goes from {old:?} to {state:?} (F-01)"
        );
    }

    /// Lets the layer work; `None` if it is at work, or there is none any more.
    pub(super) fn work<R>(&self, code: impl FnOnce(&mut dyn Layer) -> R) -> Option<R> {
        let mut session = self.session.take()?;
        let falls = FallsWith(self);
        let result = code(&mut *session);
        std::mem::forget(falls);
        if self.state.get() != State::Unwrapped {
            self.session.replace(Some(session));
        }
        Some(result)
    }

    pub(super) fn has_session(&self) -> bool {
        self.session.borrow().is_some()
    }

    // The protocol above.

    pub(crate) fn above(&self) -> Option<Rc<dyn StreamHandler>> {
        self.above.borrow().clone()
    }

    pub(super) fn is_above(&self, handler: &dyn StreamHandler) -> bool {
        let current = self.above.borrow();
        current.as_ref().is_some_and(|current| std::ptr::addr_eq(Rc::as_ptr(current), handler))
    }

    pub(crate) fn install_above(&self, handler: Rc<dyn StreamHandler>) {
        let old = self.above.replace(Some(handler));
        debug_assert!(old.is_none(), "a new layer has no protocol yet");
    }

    /// As [`Stream::replace_handler`].
    pub(crate) fn replace_above(&self, handler: Rc<dyn StreamHandler>) {
        if self.heard.get() == Heard::Lost || self.above.borrow().is_none() {
            return handler.detach();
        }
        let old = self.above.replace(Some(handler));
        if let Some(old) = old {
            old.detach();
        }
        if self.paused_writing.get() && !self.pause_undelivered.replace(true) {
            self.core().push_flow(Flow::PauseLayer(self.rc()));
        }
    }

    pub(super) fn take_above(&self) -> Option<Rc<dyn StreamHandler>> {
        self.above.take()
    }

    pub(super) fn core(&self) -> Rc<Core> {
        Rc::clone(&self.stream().lp.core)
    }

    /// True if the protocol above is the user's, and not another layer.
    pub(super) fn is_top(&self) -> bool {
        self.stream().top().is_some_and(|top| Rc::ptr_eq(&top, &self.rc()))
    }

    pub(super) fn trace(&self, callback: Callback, bytes: usize) {
        if self.is_top() {
            let connection = self.stream().number();
            self.core().trace(Record::Callback { connection, callback, bytes: bytes as u64 });
        }
    }

    pub(super) fn control(&self, control: Control) {
        if self.is_top() {
            self.core().trace(Record::Control { connection: self.stream().number(), control });
        }
    }

    /// A report about the connection.
    pub(super) fn report(&self, context: ErrorContext) {
        let (stream, above) = (self.stream(), self.above());
        let name = above.map_or("no protocol", |above| above.protocol_name());
        self.core().report_made(context.on(stream.number(), name), stream.place());
    }

    pub(super) fn call_soon(&self, code: impl FnOnce(&Self) + 'static) {
        let this = Weak::clone(&self.this);
        let call = move || {
            if let Some(this) = this.upgrade() {
                code(&this);
            }
        };
        self.core().call_soon(None, Action::Call(Box::new(call)));
    }

    /// Sets the one timer: of the handshake, later of the end.
    pub(super) fn arm(&self, timeout: Duration, expired: fn(&Self)) {
        let this = Weak::clone(&self.this);
        let call = move || {
            if let Some(this) = this.upgrade() {
                expired(&this);
            }
        };
        let core = self.core();
        let timer = core.call_at(core.driver.now() + timeout, None, Action::Call(Box::new(call)));
        let old = self.timer.replace(Some(timer));
        drop(old);
    }

    pub(super) fn disarm(&self) {
        let timer = self.timer.take();
        drop(timer);
    }

    // What is below.

    pub(super) fn write_below(&self, bytes: &[u8]) {
        match &self.below {
            Some(layer) => layer.write(bytes),
            None => self.stream().write(bytes),
        }
    }

    pub(super) fn below_is_writable(&self) -> bool {
        match &self.below {
            Some(layer) => layer.is_writable(),
            None => self.stream().is_writable(),
        }
    }

    pub(super) fn below_is_closing(&self) -> bool {
        match &self.below {
            Some(layer) => layer.is_closing(),
            None => self.stream().is_closing(),
        }
    }

    pub(super) fn close_below(&self) {
        match &self.below {
            Some(layer) => layer.close(),
            None => self.stream().close(),
        }
    }

    /// Ends the connection at once, with what its `connection_lost` is to get.
    pub(super) fn end_below(&self, reason: Option<io::Error>, reset: bool) {
        match &self.below {
            Some(layer) => layer.end_below(reason, reset),
            None => self.stream().end(reason, reset),
        }
    }

    /// Has what is below read, whether its protocol had paused it or not.
    pub(super) fn resume_below(&self) {
        self.paused_below.set(true);
        self.set_below_paused(false);
    }

    pub(super) fn set_below_paused(&self, paused: bool) {
        if self.paused_below.replace(paused) == paused {
            return;
        }
        match (&self.below, paused) {
            (Some(layer), true) => layer.pause_reading(),
            (Some(layer), false) => layer.resume_reading(),
            (None, true) => self.stream().pause_reading(),
            (None, false) => self.stream().resume_reading(),
        }
    }

    // The handshake.

    /// Begins it, if it has not begun.
    pub(super) fn begin(&self) {
        if self.state() != State::Handshake || self.has_session() || self.below_is_closing() {
            return;
        }
        let falls = FallsWith(self);
        let options = self.factory.options();
        self.options.set(options);
        let stream = self.stream();
        let made = options.check().and_then(|()| self.factory.make(&stream.lp, stream.number()));
        std::mem::forget(falls);
        match made {
            Ok(session) => drop(self.session.replace(Some(session))),
            Err(error) => return self.handshake_failed(error, false),
        }
        self.arm(options.handshake_timeout, |this| {
            let text = "SSL handshake is taking too long: aborting the connection";
            let error = io::Error::new(io::ErrorKind::ConnectionAborted, text);
            this.handshake_failed(error, true);
        });
        let received = self.incoming.take();
        self.shake_hands(&received);
    }

    /// Goes on with it, after `bytes` came.
    pub(super) fn shake_hands(&self, bytes: &[u8]) {
        if !self.has_session() {
            // It has not begun, or one of its user's callbacks is at work.
            return self.incoming.borrow_mut().extend_from_slice(bytes);
        }
        let mut result = Ok(());
        if !bytes.is_empty() {
            let mut plain = self.plain.take();
            let received = self.work(|session| session.receive(bytes, &mut plain));
            result = received.expect("it is not at work");
            self.plain.replace(plain);
        }
        self.push_output();
        if self.work(|session| session.is_handshaking()).unwrap_or(true) {
            if let Err(error) = result {
                self.handshake_failed(error, false);
            }
            return;
        }
        if let Err(error) = result {
            self.fault.replace(Some(error));
        }
        if self.state() == State::Handshake {
            self.handshake_done();
        }
    }

    fn handshake_done(&self) {
        self.set_state(State::Wrapped);
        self.disarm();
        let info = self.work(|session| session.info()).flatten();
        self.info.replace(info);
        // What comes is delivered after who waits for the handshake has run, be it a task (C-03, F-30)
        // or what a task of the protocol runs on it then.
        self.pump_queued.set(true);
        if self.heard.get() == Heard::Nothing {
            self.heard.set(Heard::Made);
            if let Some(above) = self.above() {
                self.trace(Callback::ConnectionMade, 0);
                let anyway = BeginsAnyway(self);
                if let Err(message) = self.core().contain(|| above.connection_made()) {
                    let text = "Exception in callback connection_made";
                    self.report(ErrorContext::panic(text, message));
                }
                std::mem::forget(anyway);
            }
        }
        self.begin_wrapped();
    }

    /// The handshake is over for who waits for it, and what waits is sent and delivered.
    fn begin_wrapped(&self) {
        self.settle_handshake(None);
        if self.state() == State::Wrapped {
            self.flush();
            let anyway = BeginsAnyway(self);
            self.judge_resume();
            std::mem::forget(anyway);
        }
        self.call_soon(|this| this.call_soon(Self::pump));
    }

    /// Nothing comes of it: whoever waits gets the error, and the connection ends.
    pub(super) fn handshake_failed(&self, error: io::Error, reset: bool) {
        if self.state() != State::Handshake {
            return;
        }
        let shared = SharedError::new(error);
        let transport = self.stream().number();
        tracing::debug!(target: "sim_core", transport, error = %shared.to_io(), "handshake failed");
        self.set_state(State::Unwrapped);
        self.session.take();
        self.disarm();
        // Who waits hears of it before the protocol does.
        self.settle_handshake(Some(shared.clone()));
        self.end_below(Some(shared.to_io()), reset);
    }

    pub(super) fn settle_handshake(&self, error: Option<SharedError>) {
        if self.outcome.borrow().is_some() {
            return;
        }
        self.outcome.replace(Some(error));
        self.wakers.take().into_iter().for_each(Waker::wake);
    }

    /// How the handshake ended, once it has and `connection_made` has returned; else the waker is
    /// told.
    pub(super) fn poll_handshake(&self, waker: &Waker) -> Option<Option<SharedError>> {
        let outcome = self.outcome.borrow().clone();
        if outcome.is_none() {
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|known| known.will_wake(waker)) {
                wakers.push(waker.clone());
            }
        }
        outcome
    }

    /// What the handshake agreed upon.
    #[cfg(feature = "tls")]
    pub(crate) fn info<T: 'static>(&self) -> Option<Rc<T>> {
        let info = self.info.borrow().clone();
        let own = info.and_then(|info| info.downcast::<T>().ok());
        own.or_else(|| self.below.as_ref().and_then(|below| below.info()))
    }
}

/// The layer as the protocol of what is below it.
impl StreamHandler for Layered {
    fn connection_made(&self) {
        self.begin();
    }

    fn data_received(&self, data: &[u8]) {
        self.receive(data);
    }

    fn eof_received(&self) -> Eof {
        self.end_received();
        // It closes what is below by itself, when it is through with it.
        Eof::KeepOpen
    }

    fn pause_writing(&self) {}

    fn resume_writing(&self) {
        self.room_below();
    }

    fn connection_lost(&self, error: Option<io::Error>) {
        self.below_lost(error);
    }

    fn tell_last_state(&self) {
        if let Some(above) = self.above() {
            above.tell_last_state();
        }
    }

    fn with_buffer(&self, _: usize, _: &mut ReadInto<'_>) -> Option<io::Result<usize>> {
        None
    }

    fn buffer_updated(&self, _: usize) {}

    fn is_buffered(&self) -> bool {
        false
    }

    fn protocol_name(&self) -> &'static str {
        self.above().map_or("no protocol", |above| above.protocol_name())
    }

    fn detach(&self) {
        self.release();
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
