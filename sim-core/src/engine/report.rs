//! Reports to the exception handler.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::error::panic_message;
use crate::{Address, Loop, SharedError};

/// What the exception handler is told (contract A-61): asyncio's context dictionary, typed.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ErrorContext {
    /// What happened, in a line. Always there.
    pub message: String,
    /// The text of a contained panic.
    pub panic: Option<Arc<str>>,
    /// The error, if it was one.
    pub error: Option<SharedError>,
    /// The name of the task it happened in.
    pub task: Option<String>,
    /// The number of the transport it happened on.
    pub transport: Option<u32>,
    /// The type of the protocol it happened in.
    pub protocol: Option<&'static str>,
    /// The address of the listening socket it happened on.
    pub socket: Option<Address>,
    /// In debug mode: where user code made what the report is about. asyncio's `source_traceback`.
    pub created: Option<&'static Location<'static>>,
    /// The report that a failing handler was given.
    pub original: Option<Box<ErrorContext>>,
}

/// Hears reports.
pub type ExceptionHandler = Rc<dyn Fn(&Loop, &ErrorContext)>;

impl ErrorContext {
    /// A report that has only a message.
    pub fn message(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// A report of a contained panic.
    pub(crate) fn panic(message: impl Into<String>, panic: Arc<str>) -> Self {
        Self { message: message.into(), panic: Some(panic), ..Self::default() }
    }

    /// A report of an error.
    pub(crate) fn error(message: impl Into<String>, error: SharedError) -> Self {
        Self { message: message.into(), error: Some(error), ..Self::default() }
    }

    pub(crate) fn on(mut self, transport: u32, protocol: &'static str) -> Self {
        self.transport = Some(transport);
        self.protocol = Some(protocol);
        self
    }
}

impl fmt::Display for ErrorContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some(panic) = &self.panic {
            write!(f, ": panicked: {panic}")?;
        }
        if let Some(error) = &self.error {
            write!(f, ": {error}")?;
        }
        if let Some(task) = &self.task {
            write!(f, " (task {task})")?;
        }
        if let Some(transport) = self.transport {
            write!(f, " (transport #{transport}, {})", self.protocol.unwrap_or("no protocol"))?;
        }
        if let Some(socket) = &self.socket {
            write!(f, " (socket {socket})")?;
        }
        if let Some(at) = self.created {
            write!(f, ", created at {}:{}", at.file(), at.line())?;
        }
        match &self.original {
            Some(original) => write!(f, "; while handling: {original}"),
            None => Ok(()),
        }
    }
}

/// The handler in use, and how many reports it was given.
#[derive(Default)]
pub(crate) struct Reporter {
    handler: RefCell<Option<ExceptionHandler>>,
    count: Cell<u64>,
    /// How many of its calls are running: a handler may cause reports itself.
    depth: Cell<u8>,
}

/// How deep handlers may lie in each other. What is reported inside the innermost is logged: a handler
/// that schedules something on a closed loop would be told of that, and of that again.
const DEPTH_MAX: u8 = 2;

/// A call of the handler, which ends however it ends.
struct Inside<'a>(&'a Cell<u8>);

impl<'a> Inside<'a> {
    fn begin(depth: &'a Cell<u8>) -> Self {
        depth.set(depth.get() + 1);
        Self(depth)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Reporter {
    pub(crate) fn set(&self, handler: Option<ExceptionHandler>) {
        let old = self.handler.replace(handler);
        drop(old);
    }

    pub(crate) fn get(&self) -> Option<ExceptionHandler> {
        self.handler.borrow().clone()
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.get()
    }

    pub(crate) fn clear(&self) {
        self.set(None);
    }

    /// Makes it as new.
    pub(crate) fn renew(&mut self) {
        let Self { handler, count, depth } = self;
        handler.take();
        count.set(0);
        depth.set(0);
    }

    /// Calls the handler. If it fails itself, the default one hears of both.
    pub(crate) fn report(&self, lp: &Loop, context: &ErrorContext) {
        self.count.set(self.count.get() + 1);
        let Some(handler) = self.get().filter(|_| self.depth.get() < DEPTH_MAX) else {
            return log(context);
        };
        let _inside = Inside::begin(&self.depth);
        // A destructor reports, too: what panics while a panic goes through it would end the process.
        let told = if std::thread::panicking() {
            catch_unwind(AssertUnwindSafe(|| handler(lp, context)))
                .map_err(|payload| panic_message(&*payload))
        } else {
            lp.core.contain(|| handler(lp, context))
        };
        if let Err(panic) = told {
            let mut failed = ErrorContext::panic("Unhandled error in exception handler", panic);
            failed.original = Some(Box::new(context.clone()));
            log(&failed);
        }
    }
}

/// The default handler: an error event for `tracing`.
pub(crate) fn log(context: &ErrorContext) {
    tracing::error!(target: "sim_core", "{context}");
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter").field("count", &self.count).finish_non_exhaustive()
    }
}
