//! The table of registered sockets: whom readiness concerns.

use std::io;
use std::rc::Rc;

use super::callbacks::Place;
use super::core::{Core, Life};
use crate::arena::Key;
use crate::datagram::Endpoint;
use crate::driver::{Direction, Readiness};
use crate::layer::Layered;
use crate::ready_handlers::Slots;
use crate::server::Listener;
use crate::signal::SignalWatch;
use crate::socket::Watch;
use crate::subprocess::child::Child;
use crate::transport::stream::Stream;

/// What a token stands for.
#[derive(Clone)]
pub(crate) enum Registered {
    /// A socket that no transport has.
    Waiting(Rc<Watch>),
    Stream(Rc<Stream>),
    Endpoint(Rc<Endpoint>),
    Listener(Rc<Listener>),
    Signal(Rc<SignalWatch>),
    Child(Rc<Child>),
    /// A descriptor of the user's own.
    Handlers(Rc<Slots>),
}

/// Events of flow control and sending that are delivered right after the callback that caused them.
pub(crate) enum Flow {
    Pause(Rc<Stream>),
    PauseLayer(Rc<Layered>),
    PauseDatagrams(Rc<Endpoint>),
    Error(Rc<Endpoint>, io::Error),
}

impl Registered {
    /// Takes readiness in, and only notes it: no user code runs. Says whether a read and a write handle
    /// are to be queued for it.
    pub(super) fn note(&self, event: &Readiness) -> (bool, bool) {
        match self {
            Self::Waiting(watch) => (false, watch.note_readiness(event)),
            Self::Stream(stream) => stream.note_readiness(event),
            Self::Endpoint(endpoint) => endpoint.note_readiness(event),
            Self::Listener(listener) => (listener.note_readable(event.readable), false),
            Self::Signal(_) | Self::Child(_) => (event.readable, false),
            Self::Handlers(slots) => slots.note_readiness(event),
        }
    }

    /// It had more to read: says whether a read handle is to be queued for it.
    pub(super) fn begin_read(&self) -> bool {
        match self {
            Self::Waiting(_) | Self::Signal(_) | Self::Child(_) | Self::Handlers(_) => false,
            Self::Stream(stream) => stream.begin_read(),
            Self::Endpoint(endpoint) => endpoint.begin_read(),
            Self::Listener(listener) => listener.note_readable(true),
        }
    }

    /// Where user code made it, as far as that is known: of what a server accepted, where the server was
    /// made.
    pub(super) fn place(&self) -> Place {
        match self {
            Self::Stream(stream) => stream.place(),
            Self::Endpoint(endpoint) => endpoint.place,
            Self::Listener(listener) => listener.server()?.place(),
            Self::Child(child) => child.place,
            Self::Handlers(slots) => slots.place.get(),
            Self::Waiting(_) | Self::Signal(_) => None,
        }
    }

    /// The number of its transport, if it has one.
    pub(super) fn transport_number(&self) -> Option<u32> {
        match self {
            Self::Stream(stream) => Some(stream.number()),
            Self::Endpoint(endpoint) => Some(endpoint.number()),
            Self::Child(child) => Some(child.number),
            Self::Waiting(_) | Self::Listener(_) | Self::Signal(_) | Self::Handlers(_) => None,
        }
    }

    /// Its protocol, if it has one, tells its state: the run is over.
    pub(super) fn tell_last_state(&self) {
        match self {
            Self::Stream(stream) => stream.tell_last_state(),
            Self::Endpoint(endpoint) => endpoint.tell_last_state(),
            Self::Child(child) => child.tell_last_state(),
            Self::Waiting(_) | Self::Listener(_) | Self::Signal(_) | Self::Handlers(_) => {}
        }
    }

    /// The loop is closed: closes the socket without a callback.
    pub(crate) fn release(self) {
        match self {
            Self::Waiting(watch) => watch.release(),
            Self::Stream(stream) => stream.release(),
            Self::Endpoint(endpoint) => endpoint.release(),
            Self::Listener(listener) => listener.close(),
            Self::Signal(watch) => watch.release(),
            Self::Child(child) => child.release(),
            Self::Handlers(slots) => slots.release(),
        }
    }
}

/// The source with this key.
pub(super) fn find(core: &Core, source: Key) -> Option<Registered> {
    core.sources.borrow().get(source).cloned()
}

/// Runs the I/O handles of a source, the read handle before the write handle (contract A-26).
pub(super) fn run_io(core: &Rc<Core>, source: &Registered, read: bool, write: bool) {
    match source {
        Registered::Waiting(watch) => watch.on_ready(),
        Registered::Stream(stream) => run_stream(core, stream, read, write),
        Registered::Endpoint(endpoint) => run_endpoint(core, endpoint, read, write),
        Registered::Listener(listener) => listener.on_readable(),
        Registered::Signal(watch) => watch.on_ready(),
        Registered::Child(child) => child.on_ready(),
        Registered::Handlers(slots) => {
            if read {
                slots.on_ready(Direction::Read);
            }
            if write {
                super::iteration::drain_flow(core);
                slots.on_ready(Direction::Write);
            }
        }
    }
}

#[inline(always)]
pub(super) fn run_stream(core: &Rc<Core>, stream: &Rc<Stream>, read: bool, write: bool) {
    if read {
        stream.on_readable();
    }
    if write {
        super::iteration::drain_flow(core);
        stream.on_writable();
    }
}

#[inline(always)]
pub(super) fn run_endpoint(core: &Rc<Core>, endpoint: &Rc<Endpoint>, read: bool, write: bool) {
    if read {
        endpoint.on_readable();
    }
    if write {
        super::iteration::drain_flow(core);
        endpoint.on_writable();
    }
}

pub(super) fn run_life(core: &Rc<Core>, source: Key, step: Life) {
    match (find(core, source), step) {
        (Some(Registered::Stream(stream)), Life::ConnectionMade) => stream.connection_made(),
        (Some(Registered::Stream(stream)), Life::ConnectionLost) => stream.connection_lost(),
        (Some(Registered::Stream(stream)), Life::PipeEnded) => stream.pipe_ended(),
        (Some(Registered::Endpoint(endpoint)), Life::ConnectionMade) => endpoint.connection_made(),
        (Some(Registered::Endpoint(endpoint)), Life::ConnectionLost) => endpoint.connection_lost(),
        (Some(Registered::Listener(listener)), Life::Accepted) => listener.build_transport(),
        (Some(Registered::Listener(listener)), Life::RetryAccept) => listener.retry_accept(),
        _ => {}
    }
}

/// What debug mode calls a source.
pub(super) fn describe(source: Option<&Registered>) -> String {
    match source {
        Some(Registered::Stream(stream)) => format!("transport #{}", stream.number()),
        Some(Registered::Endpoint(endpoint)) => format!("endpoint #{}", endpoint.number()),
        Some(Registered::Listener(listener)) => format!("listener {}", listener.local_addr()),
        Some(Registered::Child(child)) => format!("child process {}", child.pid),
        Some(Registered::Signal(watch)) => format!("{}", watch.signal),
        Some(Registered::Handlers(_)) => "a watched descriptor".to_owned(),
        Some(Registered::Waiting(_)) => "a waiting socket".to_owned(),
        None => "a closed transport".to_owned(),
    }
}
