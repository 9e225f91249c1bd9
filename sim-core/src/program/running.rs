//! A process of a program: its task, and the signals that it is sent.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};

use super::{ProcessContext, Program, ProgramOutput};
use crate::connect::start_stream;
use crate::driver::{Launch, Source};
use crate::signal::DefaultAction;
use crate::stream::StreamProtocol;
use crate::transport::Medium;
use crate::{Conn, Loop, Signal, Transport, WriteBufferLimits};

/// The first signal of which each that is sent counts (`SIGRTMIN` of the kernel).
const REALTIME: i32 = 32;

/// How a program that panicked exits, as Rust's do.
const PANICKED: i32 = 101;

/// The ends of pipes that are a process's standard streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProgramEnds {
    /// What it reads.
    pub stdin: Source,
    /// What it writes its output to, if to anything.
    pub stdout: Option<Source>,
    /// What it writes its errors to, if to anything. The same as `stdout` where they are merged.
    pub stderr: Option<Source>,
}

/// A process of a [`Program`], for drivers that run programs themselves. Dropping it changes nothing:
/// the process goes on.
pub struct RunningProgram(Weak<Process>);

/// What a process does, up to its exit code.
type Body = Pin<Box<dyn Future<Output = i32>>>;
type OnExit = Box<dyn FnOnce(i32)>;

struct Process {
    lp: Loop,
    future: RefCell<Option<Body>>,
    /// Its standard streams.
    streams: Vec<Transport>,
    signals: Rc<SignalTable>,
    stopped: Cell<bool>,
    /// What came while it stood still.
    pending: RefCell<Vec<Signal>>,
    /// Wakes its task.
    waker: RefCell<Option<Waker>>,
    on_exit: RefCell<Option<OnExit>>,
}

impl RunningProgram {
    /// Starts a process of `program`, as a task on `lp`. When it ends, `on_exit` is told its exit
    /// code, or a signal as a negative number; it calls no code of a user.
    pub fn start(
        lp: &Loop,
        program: &Program,
        launch: &Launch,
        pid: u32,
        ends: ProgramEnds,
        on_exit: impl FnOnce(i32) + 'static,
    ) -> Self {
        let signals = Rc::<SignalTable>::default();
        let stdin = start_stream(lp, StreamProtocol::new(), ends.stdin, Medium::ReadPipe, None);
        let output = |source: Source| {
            let conn = start_stream(lp, StreamProtocol::new(), source, Medium::WritePipe, None);
            // A process waits for its writes.
            let limits = WriteBufferLimits { high: 0, low: 0 };
            conn.transport().set_write_buffer_limits(limits).expect("they are in order");
            conn
        };
        let stdout = ends.stdout.map(output);
        let stderr = match ends.stderr {
            merged if merged == ends.stdout => None,
            stderr => stderr.map(output),
        };
        let conns = [Some(&stdin), stdout.as_ref(), stderr.as_ref()];
        let streams: Vec<Transport> =
            conns.into_iter().flatten().map(|conn| conn.transport().clone()).collect();
        let writer = |conn: &Conn<StreamProtocol>| Rc::new(StreamProtocol::writer(conn));
        let output = ProgramOutput(stdout.as_ref().map(writer));
        let errors = match (&stderr, ends.stderr) {
            (None, Some(_)) => output.clone(),
            (stderr, _) => ProgramOutput(stderr.as_ref().map(writer)),
        };
        let process = ProcessContext {
            stdin: StreamProtocol::reader(&stdin),
            stdout: output.clone(),
            stderr: errors.clone(),
            lp: lp.clone(),
            pid,
            args: launch.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect(),
            env: environment(launch),
            current_dir: launch.current_dir.as_ref().map(|path| path.display().to_string()),
            signals: Rc::clone(&signals),
        };
        let (program, own) = (Rc::clone(program), streams.clone());
        let future = async move {
            for stream in &own {
                poll_fn(|cx| {
                    if stream.0.poll_made(cx.waker()) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
            let code = program(process).await;
            output.finish().await;
            errors.finish().await;
            code
        };
        let name = launch.program.to_string_lossy();
        let process = Rc::new(Process {
            lp: lp.clone(),
            future: RefCell::new(Some(Box::pin(future))),
            streams,
            signals,
            stopped: Cell::new(false),
            pending: RefCell::default(),
            waker: RefCell::new(None),
            on_exit: RefCell::new(Some(Box::new(on_exit))),
        });
        let running = Self(Rc::downgrade(&process));
        drop(lp.create_named_task(format!("process {pid} {name}"), Drive(process)));
        running
    }

    /// Sends the process a signal. Nothing of it runs in this call: its handler is queued, and so is
    /// its end.
    pub fn signal(&self, signal: Signal) {
        if let Some(process) = self.0.upgrade()
            && !process.lp.is_closed()
        {
            process.signal(signal);
        }
    }
}

/// The variables that a parent set.
fn environment(launch: &Launch) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in &launch.env {
        let name = name.to_string_lossy().into_owned();
        match value {
            Some(value) => env.insert(name, value.to_string_lossy().into_owned()),
            None => env.remove(&name),
        };
    }
    env
}

impl Process {
    fn signal(self: &Rc<Self>, signal: Signal) {
        if signal == Signal::CONT && self.stopped.replace(false) {
            // It takes back the stops that are pending (signal(7)).
            let mut pending = self.pending.take();
            pending.retain(|signal| signal.default_action() != DefaultAction::Stop);
            pending.into_iter().for_each(|signal| self.signal(signal));
            self.wake();
        }
        if self.stopped.get() && signal != Signal::KILL {
            // A standard signal is pending once, however often it comes.
            let mut pending = self.pending.borrow_mut();
            if signal.number() >= REALTIME || !pending.contains(&signal) {
                pending.push(signal);
            }
            return;
        }
        if let Some(callback) = self.signals.get(signal) {
            let process = Rc::clone(self);
            self.lp.call_soon(move || {
                if process.on_exit.borrow().is_some() {
                    callback();
                }
            });
            return;
        }
        match signal.default_action() {
            DefaultAction::Ignore | DefaultAction::Continue => {}
            DefaultAction::Stop => self.stopped.set(true),
            DefaultAction::End => {
                let process = Rc::clone(self);
                self.lp.call_soon(move || process.end(-signal.number()));
            }
        }
    }

    /// The process is over: what it had is dropped, and its ends of pipes are closed.
    fn end(&self, code: i32) {
        let Some(on_exit) = self.on_exit.take() else {
            return;
        };
        // Before the future is dropped, whose writers would close in good order.
        self.streams.iter().for_each(Transport::abort);
        let future = self.future.take();
        drop(future);
        self.signals.clear();
        on_exit(code);
        self.wake();
    }

    fn wake(&self) {
        let waker = self.waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The task of a process.
struct Drive(Rc<Process>);

impl Future for Drive {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let process = &self.0;
        process.waker.replace(Some(cx.waker().clone()));
        if process.stopped.get() {
            return Poll::Pending;
        }
        let Some(mut future) = process.future.take() else {
            return Poll::Ready(());
        };
        match future.as_mut().poll(cx) {
            Poll::Ready(code) => {
                drop(future);
                process.end(code);
                Poll::Ready(())
            }
            Poll::Pending => {
                process.future.replace(Some(future));
                Poll::Pending
            }
        }
    }
}

impl Drop for Drive {
    /// The program panicked, or its loop is closed.
    fn drop(&mut self) {
        self.0.end(PANICKED);
    }
}

/// The signals that a process handles.
#[derive(Default)]
pub(super) struct SignalTable(RefCell<BTreeMap<Signal, Rc<dyn Fn()>>>);

impl SignalTable {
    pub(super) fn add(&self, signal: Signal, callback: Rc<dyn Fn()>) -> io::Result<()> {
        signal.check_catchable()?;
        let replaced = self.0.borrow_mut().insert(signal, callback);
        drop(replaced);
        Ok(())
    }

    pub(super) fn remove(&self, signal: Signal) -> bool {
        let removed = self.0.borrow_mut().remove(&signal);
        removed.is_some()
    }

    fn get(&self, signal: Signal) -> Option<Rc<dyn Fn()>> {
        self.0.borrow().get(&signal).cloned()
    }

    fn clear(&self) {
        let handlers = self.0.take();
        drop(handlers);
    }
}

impl fmt::Debug for RunningProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningProgram").finish_non_exhaustive()
    }
}
