//! A protocol in its cell: how the loop and its users enter it, and the typed closures that wait
//! for it.

use std::any::{Any, type_name};
use std::cell::{Cell, RefCell, RefMut};
use std::io;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::{Rc, Weak};

use slab::Slab;

use crate::address::sealed::AddressRef;
use crate::arena::Key;
use crate::conn::AnyTransport;
use crate::current;
use crate::datagram::DatagramHandler;
use crate::engine::callbacks::{Action, Place, Posted};
use crate::engine::report::ErrorContext;
use crate::error::panic_message;
#[cfg(feature = "hyper")]
use crate::hyper::IoProtocol;
use crate::protocol::Eof;
use crate::stream::StreamProtocol;
use crate::task::Task;
use crate::timer::{Handle, Timer};
use crate::trace::{Callback, Record};
use crate::transport::stream::{ReadInto, StreamHandler};
use crate::{Cx, DatagramAddress, DatagramProtocol, DatagramTransport, Time, Transport};

/// A closure for a protocol.
pub(crate) type PostedFn<P, T> = Box<dyn FnOnce(&mut P, &mut Cx<'_, P, T>)>;

/// A closure that waits, with the engine's key of its turn.
type Waiting<P, T> = (Option<Key>, PostedFn<P, T>);

/// The callbacks of a stream protocol of type `P`, plain or buffered.
pub trait StreamCallbacks<P: 'static> {
    fn connection_made(&self, protocol: &mut P, cx: &mut Cx<'_, P>);
    /// True if it takes data by [`get_buffer`](Self::get_buffer) and not by [`data_received`](Self::data_received).
    fn is_buffered(&self) -> bool;
    fn data_received(&self, protocol: &mut P, cx: &mut Cx<'_, P>, data: &[u8]);
    fn get_buffer<'p>(
        &self,
        protocol: &'p mut P,
        cx: &mut Cx<'_, P>,
        hint: usize,
    ) -> Option<&'p mut [u8]>;
    fn buffer_updated(&self, protocol: &mut P, cx: &mut Cx<'_, P>, bytes: usize);
    fn eof_received(&self, protocol: &mut P, cx: &mut Cx<'_, P>) -> Eof;
    fn pause_writing(&self, protocol: &mut P, cx: &mut Cx<'_, P>);
    fn resume_writing(&self, protocol: &mut P, cx: &mut Cx<'_, P>);
    fn connection_lost(&self, protocol: &mut P, cx: &mut Cx<'_, P>, error: Option<io::Error>);
    fn digest(&self, protocol: &P) -> Option<String>;
}

/// A protocol, its transport, and the closures, timers and tasks that belong to the pair.
pub(crate) struct ProtocolCell<P: 'static, T: AnyTransport> {
    this: Weak<Self>,
    protocol: RefCell<P>,
    transport: T,
    callbacks: T::Callbacks<P>,
    /// Closures that wait, each with the engine's key of its turn.
    posted: RefCell<Slab<Waiting<P, T>>>,
    tasks: RefCell<Vec<Task<()>>>,
    detached: Cell<bool>,
}

impl<P: 'static, T: AnyTransport> ProtocolCell<P, T> {
    pub(crate) fn new(protocol: P, transport: T, callbacks: T::Callbacks<P>) -> Rc<Self> {
        Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            protocol: RefCell::new(protocol),
            transport,
            callbacks,
            posted: RefCell::new(Slab::new()),
            tasks: RefCell::default(),
            detached: Cell::new(false),
        })
    }

    fn rc(&self) -> Rc<Self> {
        self.this.upgrade().expect("it is borrowed, so it lives")
    }

    pub(crate) fn transport(&self) -> &T {
        &self.transport
    }

    #[track_caller]
    fn borrow(&self) -> RefMut<'_, P> {
        match self.protocol.try_borrow_mut() {
            Ok(protocol) => protocol,
            Err(_) => panic!(
                "the protocol {} was entered from inside itself; act on `self` and `cx` there, or \
                 use call_soon",
                type_name::<P>()
            ),
        }
    }

    /// Enters the protocol.
    #[track_caller]
    #[inline]
    pub(crate) fn enter<R>(&self, code: impl FnOnce(&mut P, &mut Cx<'_, P, T>) -> R) -> R {
        let mut protocol = self.borrow();
        let result = code(&mut protocol, &mut Cx::new(&self.transport, self));
        if self.transport.event_loop().core.keeps_states() {
            self.note_state(&protocol);
        }
        result
    }

    /// Tells whoever keeps a log what has become of the protocol. A run without a log does not ask it, so a
    /// panic of its answer ends here.
    #[cold]
    fn note_state(&self, protocol: &P) {
        let asked = catch_unwind(AssertUnwindSafe(|| T::digest(&self.callbacks, protocol)));
        let state = asked
            .unwrap_or_else(|panic| Some(format!("its digest panics: {}", panic_message(&*panic))));
        if let Some(state) = state {
            let driver = &self.transport.event_loop().core.driver;
            driver.keep_state(self.transport.connection_number(), &state);
        }
    }

    /// Enters the protocol for the last time, and has it tell what has become of it.
    pub(crate) fn enter_last(&self, code: impl FnOnce(&mut P, &mut Cx<'_, P, T>)) {
        code(&mut self.borrow(), &mut Cx::new(&self.transport, self));
        if self.transport.event_loop().core.driver.is_simulated() {
            self.tell_last_state();
        }
    }

    /// Puts what the protocol says of its state into the trace.
    pub(crate) fn tell_last_state(&self) {
        let core = &self.transport.event_loop().core;
        let connection = self.transport.connection_number();
        match core.contain(|| T::digest(&self.callbacks, &self.borrow())) {
            Ok(None) => {}
            Ok(Some(state)) => core.trace_state(connection, &state),
            Err(message) => {
                let context = ErrorContext::panic("Exception in digest", message);
                core.report(context.on(connection, type_name::<P>()));
            }
        }
    }

    /// Enters the protocol from outside its callbacks.
    #[track_caller]
    pub(crate) fn enter_from_outside<R>(
        &self,
        code: impl FnOnce(&mut P, &mut Cx<'_, P, T>) -> R,
    ) -> R {
        let _current = current::enter(&self.transport.event_loop().core);
        self.enter(code)
    }

    /// Enters the protocol alone.
    #[cfg(feature = "hyper")]
    #[track_caller]
    pub(crate) fn look<R>(&self, code: impl FnOnce(&mut P) -> R) -> R {
        code(&mut self.borrow())
    }

    fn post(&self, closure: PostedFn<P, T>, queue: impl FnOnce(Action) -> (Option<Key>, bool)) {
        let slot = self.posted.borrow_mut().insert((None, closure));
        let slot = u32::try_from(slot).expect("fewer than 2³² closures");
        let (key, queued) = queue(Action::Posted(self.rc(), slot));
        if queued && let Some(entry) = self.posted.borrow_mut().get_mut(slot as usize) {
            entry.0 = key;
        }
    }

    fn take(&self, slot: u32) -> Option<PostedFn<P, T>> {
        let mut posted = self.posted.borrow_mut();
        posted.try_remove(slot as usize).map(|(_, closure)| closure)
    }

    /// Cancels what belongs to the pair: its connection is over, or another protocol took it.
    pub(crate) fn cancel_all(&self) {
        if self.detached.replace(true) {
            return;
        }
        let core = &self.transport.event_loop().core;
        let posted: Vec<_> = self.posted.borrow_mut().drain().collect();
        for (key, closure) in posted {
            if let Some(key) = key {
                core.cancel(key);
            }
            drop(closure);
        }
        for task in self.tasks.take() {
            task.cancel_now();
        }
    }
}

impl<P: 'static, T: AnyTransport> Posted for ProtocolCell<P, T> {
    fn run(&self, slot: u32, place: Place) {
        let Some(closure) = self.take(slot) else {
            return;
        };
        let core = &self.transport.event_loop().core;
        let connection = self.transport.connection_number();
        core.trace(Record::Callback { connection, callback: Callback::Posted, bytes: 0 });
        if let Err(message) = core.contain(|| self.enter(closure)) {
            let context = ErrorContext::panic("Exception in callback", message);
            core.report_made(context.on(connection, type_name::<P>()), place);
        }
    }

    fn discard(self: Rc<Self>, slot: u32) {
        let closure = self.take(slot);
        drop(closure);
    }
}

/// Where a [`Cx`] posts closures for its protocol: the protocol's cell, or, for a part that was
/// lent out, the way through the protocol that it is a part of.
pub(crate) trait Mailbox<P: 'static, T: AnyTransport> {
    fn post_soon(&self, place: Place, closure: PostedFn<P, T>) -> Handle;
    fn post_at(
        &self,
        at: Time,
        place: &'static Location<'static>,
        closure: PostedFn<P, T>,
    ) -> Timer;
    /// Remembers a task that is to be cancelled with the pair.
    fn adopt(&self, task: Task<()>);
    /// The cell itself; `None` for a part.
    fn cell(&self) -> Option<Rc<ProtocolCell<P, T>>>;
    fn to_rc(&self) -> Rc<dyn Mailbox<P, T>>;
}

impl<P: 'static, T: AnyTransport> Mailbox<P, T> for ProtocolCell<P, T> {
    fn post_soon(&self, place: Place, closure: PostedFn<P, T>) -> Handle {
        let core = &self.transport.event_loop().core;
        if self.detached.get() {
            drop(closure);
            return Handle::cancelled_one(Rc::clone(core));
        }
        let mut handle = None;
        self.post(closure, |action| {
            let queued = core.call_soon(place, action);
            let key = queued.key();
            handle = Some(queued);
            (key, key.is_some())
        });
        handle.expect("post queues it")
    }

    fn post_at(
        &self,
        at: Time,
        place: &'static Location<'static>,
        closure: PostedFn<P, T>,
    ) -> Timer {
        let core = &self.transport.event_loop().core;
        if self.detached.get() {
            drop(closure);
            return Timer::cancelled_one(Rc::clone(core), at);
        }
        let mut timer = None;
        self.post(closure, |action| {
            let armed = core.call_at(at, Some(place), action);
            let key = armed.key();
            timer = Some(armed);
            (key, key.is_some())
        });
        timer.expect("post arms it")
    }

    fn adopt(&self, task: Task<()>) {
        if self.detached.get() {
            return task.cancel_now();
        }
        let mut tasks = self.tasks.borrow_mut();
        tasks.retain(|task| !task.done());
        tasks.push(task);
    }

    fn cell(&self) -> Option<Rc<ProtocolCell<P, T>>> {
        Some(self.rc())
    }

    fn to_rc(&self) -> Rc<dyn Mailbox<P, T>> {
        self.rc()
    }
}

/// The way to a part `Q` of a protocol `P`.
pub(crate) struct PartMailbox<'a, P: 'static, Q: 'static, T: AnyTransport> {
    pub(crate) whole: &'a dyn Mailbox<P, T>,
    pub(crate) project: fn(&mut P) -> Option<&mut Q>,
}

/// [`PartMailbox`] for keeping.
struct OwnedPartMailbox<P: 'static, Q: 'static, T: AnyTransport> {
    whole: Rc<dyn Mailbox<P, T>>,
    project: fn(&mut P) -> Option<&mut Q>,
}

impl<P: 'static, Q: 'static, T: AnyTransport> OwnedPartMailbox<P, Q, T> {
    fn lent(&self) -> PartMailbox<'_, P, Q, T> {
        PartMailbox { whole: &*self.whole, project: self.project }
    }
}

impl<P: 'static, Q: 'static, T: AnyTransport> PartMailbox<'_, P, Q, T> {
    /// The closure for the whole that runs `closure` on the part, if it is still there.
    fn widen(&self, closure: PostedFn<Q, T>) -> PostedFn<P, T> {
        let project = self.project;
        Box::new(move |whole, cx| {
            cx.lend(project, |part_cx| {
                if let Some(part) = project(whole) {
                    closure(part, part_cx);
                }
            });
        })
    }
}

impl<P: 'static, Q: 'static, T: AnyTransport> Mailbox<Q, T> for PartMailbox<'_, P, Q, T> {
    fn post_soon(&self, place: Place, closure: PostedFn<Q, T>) -> Handle {
        self.whole.post_soon(place, self.widen(closure))
    }

    fn post_at(
        &self,
        at: Time,
        place: &'static Location<'static>,
        closure: PostedFn<Q, T>,
    ) -> Timer {
        self.whole.post_at(at, place, self.widen(closure))
    }

    fn adopt(&self, task: Task<()>) {
        self.whole.adopt(task);
    }

    fn cell(&self) -> Option<Rc<ProtocolCell<Q, T>>> {
        None
    }

    fn to_rc(&self) -> Rc<dyn Mailbox<Q, T>> {
        Rc::new(OwnedPartMailbox { whole: self.whole.to_rc(), project: self.project })
    }
}

impl<P: 'static, Q: 'static, T: AnyTransport> Mailbox<Q, T> for OwnedPartMailbox<P, Q, T> {
    fn post_soon(&self, place: Place, closure: PostedFn<Q, T>) -> Handle {
        self.lent().post_soon(place, closure)
    }

    fn post_at(
        &self,
        at: Time,
        place: &'static Location<'static>,
        closure: PostedFn<Q, T>,
    ) -> Timer {
        self.lent().post_at(at, place, closure)
    }

    fn adopt(&self, task: Task<()>) {
        self.whole.adopt(task);
    }

    fn cell(&self) -> Option<Rc<ProtocolCell<Q, T>>> {
        None
    }

    fn to_rc(&self) -> Rc<dyn Mailbox<Q, T>> {
        self.lent().to_rc()
    }
}

impl<P: 'static> StreamHandler for ProtocolCell<P, Transport> {
    fn connection_made(&self) {
        self.enter(|protocol, cx| self.callbacks.connection_made(protocol, cx));
    }

    fn data_received(&self, data: &[u8]) {
        self.enter(|protocol, cx| self.callbacks.data_received(protocol, cx, data));
    }

    fn with_buffer(&self, hint: usize, read: &mut ReadInto<'_>) -> Option<io::Result<usize>> {
        self.enter(|protocol, cx| self.callbacks.get_buffer(protocol, cx, hint).map(read))
    }

    fn buffer_updated(&self, bytes: usize) {
        self.enter(|protocol, cx| self.callbacks.buffer_updated(protocol, cx, bytes));
    }

    fn is_buffered(&self) -> bool {
        self.callbacks.is_buffered()
    }

    fn eof_received(&self) -> Eof {
        self.enter(|protocol, cx| self.callbacks.eof_received(protocol, cx))
    }

    fn pause_writing(&self) {
        self.enter(|protocol, cx| self.callbacks.pause_writing(protocol, cx));
    }

    fn resume_writing(&self) {
        self.enter(|protocol, cx| self.callbacks.resume_writing(protocol, cx));
    }

    fn connection_lost(&self, error: Option<io::Error>) {
        self.enter_last(|protocol, cx| self.callbacks.connection_lost(protocol, cx, error));
    }

    fn tell_last_state(&self) {
        ProtocolCell::tell_last_state(self);
    }

    fn protocol_name(&self) -> &'static str {
        type_name::<P>()
    }

    fn detach(&self) {
        self.cancel_all();
        if self.transport.event_loop().core.is_dead() {
            self.abandon();
        }
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}

impl<P: 'static> ProtocolCell<P, Transport> {
    /// The machine died, of which a protocol hears nothing: who reads or writes its stream from
    /// another host does.
    fn abandon(&self) {
        let Ok(mut protocol) = self.protocol.try_borrow_mut() else { return };
        let protocol: &mut dyn Any = &mut *protocol;
        let lost = || io::Error::new(io::ErrorKind::ConnectionAborted, "the event loop is closed");
        if let Some(stream) = protocol.downcast_mut::<StreamProtocol>() {
            stream.lose(Some(lost()));
        }
        #[cfg(feature = "hyper")]
        if let Some(stream) = protocol.downcast_mut::<IoProtocol>() {
            stream.lose(Some(lost()));
        }
    }
}

impl<A, P> DatagramHandler for ProtocolCell<P, DatagramTransport<A>>
where
    A: DatagramAddress,
    P: DatagramProtocol<A>,
{
    fn connection_made(&self) {
        self.enter(|protocol, cx| protocol.connection_made(cx));
    }

    fn datagram_received(&self, data: &[u8], from: AddressRef<'_>) {
        self.enter(|protocol, cx| protocol.datagram_received(cx, data, A::sender(from)));
    }

    fn error_received(&self, error: io::Error) {
        self.enter(|protocol, cx| protocol.error_received(cx, error));
    }

    fn pause_writing(&self) {
        self.enter(|protocol, cx| protocol.pause_writing(cx));
    }

    fn resume_writing(&self) {
        self.enter(|protocol, cx| protocol.resume_writing(cx));
    }

    fn connection_lost(&self, error: Option<io::Error>) {
        self.enter_last(|protocol, cx| protocol.connection_lost(cx, error));
    }

    fn tell_last_state(&self) {
        ProtocolCell::tell_last_state(self);
    }

    fn protocol_name(&self) -> &'static str {
        type_name::<P>()
    }

    fn detach(&self) {
        self.cancel_all();
    }

    fn as_any(self: Rc<Self>) -> Rc<dyn Any> {
        self
    }
}
