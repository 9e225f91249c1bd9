//! A child process in its loop: who hears of what, and in which order (contract G.2).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::Waker;

use crate::arena::Key;
use crate::driver::{Source, Token};
use crate::engine::FirstPanic;
use crate::engine::callbacks::{Action, Place};
use crate::engine::core::Core;
use crate::engine::report::ErrorContext;
use crate::engine::sources::Registered;
use crate::trace::{Callback, Record};
use crate::wakers::Wakers;
use crate::{Loop, SharedError, Signal, Transport};

/// `ESRCH`: there is no such process.
const NO_SUCH_PROCESS: i32 = 3;

/// What a child calls: a protocol without its type.
pub(crate) trait SubprocessHandler {
    fn connection_made(&self);
    fn pipe_data_received(&self, fd: usize, data: &[u8]);
    fn pipe_connection_lost(&self, fd: usize, error: Option<io::Error>);
    fn pause_writing(&self);
    fn resume_writing(&self);
    fn process_exited(&self);
    fn connection_lost(&self);
    /// Puts what the protocol says of its state into the trace: the run is over.
    fn tell_last_state(&self);
    fn protocol_name(&self) -> &'static str;
    fn detach(&self);
}

/// What the protocol is to hear.
enum Event {
    Made,
    Data(usize, Vec<u8>),
    PipeLost(usize, Option<io::Error>),
    Exited,
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Its pipes are being connected; what happens waits.
    New,
    Open,
    /// The exit is reaped and the pipes are closed.
    Losing,
    Lost,
}

pub(crate) struct Child {
    pub(crate) lp: Loop,
    pub(crate) pid: u32,
    pub(crate) number: u32,
    source: Source,
    key: Cell<Option<Key>>,
    phase: Cell<Phase>,
    made: Cell<bool>,
    closing: Cell<bool>,
    returncode: Cell<Option<i32>>,
    handler: RefCell<Option<Rc<dyn SubprocessHandler>>>,
    pipes: RefCell<[Option<Transport>; 3]>,
    /// How many pipes are not lost.
    open_pipes: Cell<usize>,
    early: RefCell<VecDeque<Event>>,
    outcome: RefCell<Option<Option<SharedError>>>,
    pub(crate) wakers: Wakers,
    /// Where user code made it.
    pub(crate) place: Place,
}

/// Behind `connection_made`: who waits for the start has the child, whatever came of that.
struct Begins<'a>(&'a Child);

impl Drop for Begins<'_> {
    fn drop(&mut self) {
        self.0.made.set(true);
        self.0.wake_all();
    }
}

/// Behind `connection_lost`: everything is released, whatever came of that.
struct Ends<'a>(&'a Child);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.end(None);
    }
}

impl Child {
    pub(crate) fn new(lp: &Loop, source: Source, pid: u32, place: Place) -> Rc<Self> {
        Rc::new(Self {
            lp: lp.clone(),
            pid,
            number: lp.core.next_connection(),
            source,
            key: Cell::new(None),
            phase: Cell::new(Phase::New),
            made: Cell::new(false),
            closing: Cell::new(false),
            returncode: Cell::new(None),
            handler: RefCell::new(None),
            pipes: RefCell::default(),
            open_pipes: Cell::new(0),
            early: RefCell::default(),
            outcome: RefCell::new(None),
            wakers: Wakers::default(),
            place,
        })
    }

    /// Takes the child into the loop's table: its exit is heard of from now on.
    pub(crate) fn start(self: &Rc<Self>, handler: Rc<dyn SubprocessHandler>) -> io::Result<()> {
        let core = self.core();
        self.handler.replace(Some(handler));
        let key = core.sources.borrow_mut().insert(Registered::Child(Rc::clone(self)));
        self.key.set(Some(key));
        if let Err(error) = core.driver.register(self.source, Token(key.to_bits())) {
            self.release();
            return Err(error);
        }
        Ok(())
    }

    /// Notes the parent's end of a pipe.
    pub(crate) fn add_pipe(&self, fd: usize, transport: Transport) {
        self.pipes.borrow_mut()[fd] = Some(transport);
        self.open_pipes.set(self.open_pipes.get() + 1);
    }

    /// The pipes are connected: `connection_made` comes, then whatever happened before (G-20).
    pub(crate) fn open(self: &Rc<Self>) {
        if self.phase.get() != Phase::New {
            return;
        }
        self.phase.set(Phase::Open);
        self.queue(Event::Made);
        let early = self.early.take();
        early.into_iter().for_each(|event| self.queue(event));
        self.lose_if_done();
    }

    fn core(&self) -> &Rc<Core> {
        &self.lp.core
    }

    /// The type of its protocol, if it has one.
    pub(crate) fn protocol_name(&self) -> Option<&'static str> {
        self.handler.borrow().as_ref().map(|handler| handler.protocol_name())
    }

    /// Its protocol tells its state: the run is over.
    pub(crate) fn tell_last_state(&self) {
        let handler = self.handler.borrow().clone();
        if let Some(handler) = handler {
            handler.tell_last_state();
        }
    }

    pub(crate) fn returncode(&self) -> Option<i32> {
        self.returncode.get()
    }

    pub(crate) fn pipe(&self, fd: usize) -> Option<Transport> {
        self.pipes.borrow().get(fd)?.clone()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.get() || self.phase.get() == Phase::Lost
    }

    // What happens.

    pub(crate) fn data_received(self: &Rc<Self>, fd: usize, data: &[u8]) {
        self.queue(Event::Data(fd, data.to_vec()));
    }

    pub(crate) fn pipe_lost(self: &Rc<Self>, fd: usize, error: Option<io::Error>) {
        self.open_pipes.set(self.open_pipes.get() - 1);
        self.queue(Event::PipeLost(fd, error));
        self.lose_if_done();
    }

    /// The driver says that it may have exited.
    pub(crate) fn on_ready(self: &Rc<Self>) {
        if self.returncode.get().is_some() {
            return;
        }
        let processes = self.core().driver.processes();
        let status = processes.and_then(|processes| processes.exit_status(self.source));
        let code = match status {
            Ok(None) => return,
            Ok(Some(code)) => code,
            Err(error) => {
                // Somebody else has reaped it: how it ended is known to nobody, as asyncio has it.
                let error = SharedError::new(error);
                let message = "the exit status of a child process is not known";
                let context = ErrorContext::error(message, error);
                self.report(context);
                255
            }
        };
        self.returncode.set(Some(code));
        self.queue(Event::Exited);
        self.wake_all();
        self.lose_if_done();
    }

    fn lose_if_done(self: &Rc<Self>) {
        let is_done = self.returncode.get().is_some() && self.open_pipes.get() == 0;
        if is_done && self.phase.get() == Phase::Open {
            self.phase.set(Phase::Losing);
            self.queue(Event::Lost);
        }
    }

    // What the protocol hears.

    /// All callbacks are queued (G-23).
    fn queue(self: &Rc<Self>, event: Event) {
        match self.phase.get() {
            Phase::New => self.early.borrow_mut().push_back(event),
            Phase::Open | Phase::Losing => {
                let child = Rc::clone(self);
                let deliver = move || child.deliver(event);
                drop(self.core().call_soon(None, Action::Call(Box::new(deliver))));
            }
            Phase::Lost => {}
        }
    }

    fn deliver(&self, event: Event) {
        match event {
            Event::Made => {
                let _begins = Begins(self);
                self.call(Callback::ConnectionMade, 0, |handler| handler.connection_made());
            }
            Event::Data(fd, data) => {
                self.call(Callback::PipeDataReceived, data.len(), |handler| {
                    handler.pipe_data_received(fd, &data);
                });
            }
            Event::PipeLost(fd, error) => {
                self.call(Callback::PipeConnectionLost, 0, |handler| {
                    handler.pipe_connection_lost(fd, error);
                });
            }
            Event::Exited => {
                self.call(Callback::ProcessExited, 0, |handler| handler.process_exited());
            }
            Event::Lost => {
                if self.phase.replace(Phase::Lost) != Phase::Lost {
                    let _ends = Ends(self);
                    self.call(Callback::ConnectionLost, 0, |handler| handler.connection_lost());
                }
            }
        }
    }

    /// Flow events of the child's input are handed on at once (G-23).
    pub(crate) fn pause_writing(&self) {
        self.call(Callback::PauseWriting, 0, |handler| handler.pause_writing());
    }

    pub(crate) fn resume_writing(&self) {
        self.call(Callback::ResumeWriting, 0, |handler| handler.resume_writing());
    }

    fn call(&self, callback: Callback, bytes: usize, code: impl FnOnce(&dyn SubprocessHandler)) {
        let handler = self.handler.borrow().clone();
        let Some(handler) = handler else {
            return;
        };
        let connection = self.number;
        self.core().trace(Record::Callback { connection, callback, bytes: bytes as u64 });
        if let Err(message) = self.core().contain(|| code(&*handler)) {
            let text = format!("Exception in callback protocol.{}()", callback.name());
            self.report(ErrorContext::panic(text, message));
        }
    }

    /// A report about the child.
    fn report(&self, context: ErrorContext) {
        let protocol = self.protocol_name().unwrap_or("no protocol");
        self.core().report_made(context.on(self.number, protocol), self.place);
    }

    // What its parent does.

    pub(crate) fn send_signal(&self, signal: Signal) -> io::Result<()> {
        if self.phase.get() == Phase::Lost {
            return Err(io::Error::from_raw_os_error(NO_SUCH_PROCESS));
        }
        // Between the exit and the loss its number may be another's.
        if self.returncode.get().is_some() {
            return Ok(());
        }
        self.core().driver.processes()?.send_signal(self.source, signal)
    }

    pub(crate) fn close(&self) {
        if self.phase.get() == Phase::Lost || self.closing.replace(true) {
            return;
        }
        let pipes = self.pipes.borrow().clone();
        for pipe in pipes.iter().flatten() {
            // Input that waits has no reader from now on, though a descendant may keep its pipe open.
            if pipe.write_buffer_size() > 0 {
                pipe.abort();
            } else {
                pipe.close();
            }
        }
        if let Err(error) = self.send_signal(Signal::KILL) {
            tracing::debug!(target: "sim_core", pid = self.pid, %error, "killing a child failed");
        }
    }

    /// Nobody waits for the start any more (G-28).
    pub(crate) fn abandon(self: &Rc<Self>) {
        self.close();
        self.open();
    }

    // The end.

    /// Releases everything. What user code leaves behind may panic when it is dropped, also where a panic goes through
    /// here.
    fn end(&self, error: Option<SharedError>) {
        let mut panics = FirstPanic::default();
        let removed = match self.key.take() {
            Some(key) => {
                let removed = self.core().sources.borrow_mut().remove(key);
                self.core().driver.close(self.source);
                removed
            }
            None => None,
        };
        self.outcome.replace(Some(error));
        self.made.set(true);
        let handler = self.handler.take();
        if let Some(handler) = &handler {
            panics.run(|| handler.detach());
        }
        self.wake_all();
        panics.run(|| drop((handler, removed)));
        panics.resume();
    }

    /// The loop is closed: no callback; the driver kills the child and reaps it.
    pub(crate) fn release(&self) {
        if self.phase.replace(Phase::Lost) == Phase::Lost {
            return;
        }
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, "the event loop is closed");
        self.early.take();
        self.end(Some(SharedError::new(error)));
    }

    // Who waits.

    /// True once `connection_made` has returned.
    pub(crate) fn poll_made(&self, waker: &Waker) -> bool {
        if !self.made.get() {
            self.wakers.add(waker);
        }
        self.made.get()
    }

    /// How it exited, once it has; an error if the loop was closed before.
    pub(crate) fn exit(&self) -> Option<io::Result<i32>> {
        if let Some(code) = self.returncode.get() {
            return Some(Ok(code));
        }
        self.outcome().map(|outcome| {
            let error = outcome.map_or(io::ErrorKind::ConnectionAborted.into(), |e| e.to_io());
            Err(error)
        })
    }

    pub(crate) fn outcome(&self) -> Option<Option<SharedError>> {
        self.outcome.borrow().clone()
    }

    fn wake_all(&self) {
        self.wakers.wake_all();
    }
}
