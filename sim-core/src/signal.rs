//! Signals, and the callbacks that handle them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

use crate::Loop;
use crate::arena::Key;
use crate::driver::{Source, Token};
use crate::engine::callbacks::Action;
use crate::engine::core::Core;
use crate::engine::sources::Registered;
use crate::handle::closed_error;

/// A signal, by Linux's numbers: 1 to 64.
///
/// ```
/// use sim_core::Signal;
///
/// assert_eq!(Signal::TERM.number(), 15);
/// assert_eq!(Signal::TERM.to_string(), "SIGTERM");
/// assert_eq!("SIGUSR1".parse::<Signal>()?, Signal::USR1);
/// assert!(Signal::new(65).is_err());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(u8);

/// The signals that have names, by number from 1 on.
const NAMES: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

impl Signal {
    /// The terminal hung up; servers read their configuration again.
    pub const HUP: Self = Self(1);
    /// Somebody pressed Ctrl-C.
    pub const INT: Self = Self(2);
    /// Somebody pressed Ctrl-\.
    pub const QUIT: Self = Self(3);
    /// The program gave up.
    pub const ABRT: Self = Self(6);
    /// Ends a process at once. Nobody can catch it.
    pub const KILL: Self = Self(9);
    /// A program's own.
    pub const USR1: Self = Self(10);
    /// A fault of the processor's; nobody can go on after it.
    pub const SEGV: Self = Self(11);
    /// Another of a program's own.
    pub const USR2: Self = Self(12);
    /// A write to a pipe that nobody reads.
    pub const PIPE: Self = Self(13);
    /// An alarm clock.
    pub const ALRM: Self = Self(14);
    /// Asks a process to end.
    pub const TERM: Self = Self(15);
    /// A child process ended, stopped or went on.
    pub const CHLD: Self = Self(17);
    /// A process that stands still goes on.
    pub const CONT: Self = Self(18);
    /// A process stands still. Nobody can catch it.
    pub const STOP: Self = Self(19);
    /// Somebody pressed Ctrl-Z.
    pub const TSTP: Self = Self(20);
    /// Urgent data came.
    pub const URG: Self = Self(23);
    /// The window has another size.
    pub const WINCH: Self = Self(28);

    /// The signal with this number.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it is not one of 1 to 64 (contract G-42).
    pub fn new(number: i32) -> io::Result<Self> {
        match u8::try_from(number) {
            Ok(number @ 1..=64) => Ok(Self(number)),
            _ => {
                let text = format!("invalid signal number {number}: they are 1 to 64");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self.0.into()
    }

    /// False for those that no handler can be added for: `SIGKILL` and `SIGSTOP`, which the kernel
    /// keeps for itself, and `SIGILL`, `SIGFPE` and `SIGSEGV`, after which a program cannot go on.
    pub fn can_be_caught(self) -> bool {
        !matches!(self.0, 4 | 8 | 9 | 11 | 19)
    }

    /// The error of adding a handler for what cannot be caught (contract G-42).
    pub(crate) fn check_catchable(self) -> io::Result<()> {
        if self.can_be_caught() {
            return Ok(());
        }
        let text = format!("sig {} cannot be caught", self.number());
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }

    /// What it does to a process that does not handle it.
    pub fn default_action(self) -> DefaultAction {
        match self {
            Self::CHLD | Self::URG | Self::WINCH => DefaultAction::Ignore,
            Self::CONT => DefaultAction::Continue,
            Self::STOP | Self::TSTP | Self(21 | 22) => DefaultAction::Stop,
            _ => DefaultAction::End,
        }
    }
}

/// What a signal does to a process that does not handle it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DefaultAction {
    /// The process ends.
    End,
    /// Nothing.
    Ignore,
    /// The process stands still.
    Stop,
    /// A process that stands still goes on.
    Continue,
}

impl std::str::FromStr for Signal {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Self> {
        match NAMES.iter().position(|known| *known == name) {
            Some(place) => Ok(Self(place as u8 + 1)),
            None => {
                let text = format!("{name:?} is no signal: they are SIGHUP, SIGINT, and so on");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => f.write_str(name),
            None => write!(f, "signal {}", self.0),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The handlers of a loop, in order of their adding.
pub(crate) type SignalHandlers = RefCell<Vec<SignalHandler>>;

/// A handler.
pub(crate) struct SignalHandler {
    /// The host that added it, of those that share the loop.
    host: Option<String>,
    signal: Signal,
    callback: Rc<dyn Fn()>,
    /// What the driver has for it; nothing for a host that shares the loop.
    watch: Option<Rc<SignalWatch>>,
}

/// A signal that the driver watches.
pub(crate) struct SignalWatch {
    core: Rc<Core>,
    pub(crate) signal: Signal,
    source: Source,
    /// `None` once it is closed.
    key: Cell<Option<Key>>,
}

impl SignalWatch {
    fn start(core: &Rc<Core>, signal: Signal) -> io::Result<Rc<Self>> {
        let source = core.driver.signals()?.watch(signal)?;
        let watch = Rc::new(Self { core: Rc::clone(core), signal, source, key: Cell::new(None) });
        let key = core.sources.borrow_mut().insert(Registered::Signal(Rc::clone(&watch)));
        watch.key.set(Some(key));
        if let Err(error) = core.driver.register(source, Token(key.to_bits())) {
            watch.release();
            return Err(error);
        }
        Ok(watch)
    }

    /// The signal came: its handler is queued, once for each time (contract G-40).
    pub(crate) fn on_ready(&self) {
        let came = self.core.driver.signals().and_then(|signals| signals.take_signals(self.source));
        for _ in 0..came.unwrap_or(0) {
            queue_handler(&self.core, None, self.signal);
        }
    }

    /// Gives the signal back to its default action.
    pub(crate) fn release(&self) {
        let Some(key) = self.key.take() else {
            return;
        };
        let removed = self.core.sources.borrow_mut().remove(key);
        self.core.driver.close(self.source);
        drop(removed);
    }
}

/// Queues the handler that a host of the loop, or the loop itself, has for a signal; false without
/// one.
fn queue_handler(core: &Rc<Core>, host: Option<&str>, signal: Signal) -> bool {
    let handlers = core.signals.borrow();
    let own = handlers.iter().find(|it| it.host.as_deref() == host && it.signal == signal);
    let Some(callback) = own.map(|handler| Rc::clone(&handler.callback)) else {
        return false;
    };
    drop(handlers);
    core.call_soon(None, Action::Call(Box::new(move || callback())));
    true
}

impl Loop {
    /// Calls `callback` when the signal comes, instead of what the signal does by default: as a
    /// callback of the loop like any other, once for each time that the kernel tells of
    /// (contract G-40). A handler that the signal had before is replaced (G-41).
    ///
    /// A signal is the process's: on real loops every one that has a handler for it hears of it, on
    /// whatever thread it runs, and what it does by default is off until the last of them is removed.
    ///
    /// Hosts of a world handle signals of their own. Those of a simulated host come from
    /// [`raise_signal`](Self::raise_signal), the simulation's operator or a plan. Where hosts share
    /// one real loop, and so one process, they come from `raise_signal` alone.
    ///
    /// # Errors
    ///
    /// `InvalidInput` for a signal that [cannot be caught](Signal::can_be_caught) (G-42); when there
    /// are no descriptors left; on a closed loop.
    ///
    /// ```
    /// use sim_core::sync::Event;
    /// use sim_core::{Loop, Signal};
    ///
    /// async fn until_asked_to_end(lp: Loop) -> std::io::Result<()> {
    ///     let ending = Event::new();
    ///     let asked = ending.clone();
    ///     lp.add_signal_handler(Signal::TERM, move || asked.set())?;
    ///     ending.wait().await;
    ///     Ok(())
    /// }
    /// # drop(until_asked_to_end);
    /// ```
    pub fn add_signal_handler(
        &self,
        signal: Signal,
        callback: impl Fn() + 'static,
    ) -> io::Result<()> {
        if self.core.is_closed() {
            return Err(closed_error());
        }
        signal.check_catchable()?;
        let callback: Rc<dyn Fn()> = Rc::new(callback);
        let host = self.view.as_ref().map(|view| view.name().to_owned());
        {
            let mut handlers = self.core.signals.borrow_mut();
            let known = handlers.iter_mut().find(|it| it.host == host && it.signal == signal);
            if let Some(handler) = known {
                let replaced = std::mem::replace(&mut handler.callback, callback);
                drop(handlers);
                drop(replaced);
                return Ok(());
            }
        }
        let watch = match host {
            Some(_) => None,
            None => Some(SignalWatch::start(&self.core, signal)?),
        };
        self.core.signals.borrow_mut().push(SignalHandler { host, signal, callback, watch });
        Ok(())
    }

    /// The handler of a signal, if there is one.
    pub(crate) fn signal_handler(&self, signal: Signal) -> Option<Rc<dyn Fn()>> {
        let host = self.view.as_ref().map(|view| view.name());
        let handlers = self.core.signals.borrow();
        let own = handlers.iter().find(|it| it.host.as_deref() == host && it.signal == signal);
        own.map(|handler| Rc::clone(&handler.callback))
    }

    /// Takes the handler of a signal away, which does what it does by default from then on
    /// (contract G-41). False if there was none. A call that was queued for the handler still comes.
    pub fn remove_signal_handler(&self, signal: Signal) -> bool {
        let host = self.view.as_ref().map(|view| view.name());
        let mut handlers = self.core.signals.borrow_mut();
        let own = handlers.iter().position(|it| it.host.as_deref() == host && it.signal == signal);
        let Some(place) = own else {
            return false;
        };
        let handler = handlers.remove(place);
        drop(handlers);
        if let Some(watch) = &handler.watch {
            watch.release();
        }
        true
    }

    /// Sends a signal to the process that this loop runs in: asyncio has it as
    /// `signal.raise_signal`. Its handler is queued, or what it does by default is done: it ends the
    /// process of a simulated host.
    ///
    /// Where hosts share one real loop, a signal that the host has no handler for does nothing.
    ///
    /// # Errors
    ///
    /// What `kill` gives; on a closed loop.
    ///
    /// ```
    /// # use sim_core::{Signal, World};
    /// async fn the_server_is_asked_to_end(world: World) -> std::io::Result<()> {
    ///     let server = world.host("server");
    ///     server.add_signal_handler(Signal::TERM, || println!("draining"))?;
    ///     server.raise_signal(Signal::TERM)
    /// }
    /// # drop(the_server_is_asked_to_end);
    /// ```
    pub fn raise_signal(&self, signal: Signal) -> io::Result<()> {
        if self.core.is_closed() {
            return Err(closed_error());
        }
        if let Some(view) = &self.view {
            if !queue_handler(&self.core, Some(view.name()), signal) {
                let host = view.name();
                tracing::debug!(target: "sim_core", %signal, host, "no handler, and no process");
            }
            return Ok(());
        }
        self.core.driver.signals()?.raise(signal)
    }
}
