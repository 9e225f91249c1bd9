//! Reports to the exception handler.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;

use crate::{Loop, SharedError};

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

    /// Calls the handler. If it fails itself, the default one hears of both.
    pub(crate) fn report(&self, lp: &Loop, context: &ErrorContext) {
        self.count.set(self.count.get() + 1);
        let Some(handler) = self.get() else {
            return log(context);
        };
        if let Err(panic) = lp.core.contain(|| handler(lp, context)) {
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
