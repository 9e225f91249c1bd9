//! What user code has left on a loop.

use std::fmt;
use std::panic::Location;

use super::core::Core;
use super::sources::Registered;
use crate::{Address, Time};

/// What kind of thing was left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum LeftoverKind {
    /// A timer that waits: of `call_later` or `call_at`, detached or kept.
    Timer,
    /// A task that is not done.
    Task,
    /// A stream transport whose `connection_lost` has not been called.
    Connection,
    /// A datagram transport whose `connection_lost` has not been called.
    Endpoint,
    /// Bytes that were given to a transport and that the network has not taken.
    Buffer,
    /// A child process that has not exited.
    Process,
}

/// Something that user code made on a loop and that is still there.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Leftover {
    /// What kind of thing.
    pub kind: LeftoverKind,
    /// The name of a task; the number of a process; of a transport, or of what has a buffer, its addresses and its protocol.
    pub name: Option<String>,
    /// Where it was made: of a connection that a server accepted, where the server was made.
    pub place: Option<&'static Location<'static>>,
    /// The deadline of a timer, on the loop's clock.
    pub due: Option<Time>,
    /// The bytes of a buffer.
    pub bytes: usize,
}

impl LeftoverKind {
    /// All kinds, in the order in which they are told.
    pub const ALL: [Self; 6] =
        [Self::Timer, Self::Task, Self::Connection, Self::Endpoint, Self::Buffer, Self::Process];

    /// What so many of them are called, and what is the matter with them: `2` are `timers pending`.
    pub const fn what(self, count: usize) -> &'static str {
        match (self, count) {
            (Self::Timer, 1) => "timer pending",
            (Self::Timer, _) => "timers pending",
            (Self::Task, 1) => "task not done",
            (Self::Task, _) => "tasks not done",
            (Self::Connection, 1) => "connection open",
            (Self::Connection, _) => "connections open",
            (Self::Endpoint, 1) => "endpoint open",
            (Self::Endpoint, _) => "endpoints open",
            (Self::Buffer, 1) => "buffer not sent",
            (Self::Buffer, _) => "buffers not sent",
            (Self::Process, 1) => "process running",
            (Self::Process, _) => "processes running",
        }
    }
}

impl fmt::Display for LeftoverKind {
    /// As many are called: `timers`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what(2).split(' ').next().unwrap_or_default())
    }
}

impl fmt::Display for Leftover {
    /// Which one it is: `at 12.500000000s, created at src/x.rs:41`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        parts.extend(self.name.clone());
        parts.extend(self.due.map(|due| format!("at {due}")));
        parts.extend(self.place.map(|at| format!("created at {}:{}", at.file(), at.line())));
        if self.kind == LeftoverKind::Buffer {
            parts.push(format!("{} bytes", self.bytes));
        }
        f.write_str(&parts.join(", "))
    }
}

/// The addresses of a transport.
pub(super) fn ends(
    local: &Option<Address>,
    peer: &Option<Address>,
    name: &dyn Fn(&Address) -> String,
) -> String {
    let local = local.as_ref().map(name).unwrap_or_default();
    let peer = peer.as_ref().map(|peer| format!("→{}", name(peer))).unwrap_or_default();
    format!("{local}{peer}")
}

pub(super) fn of(core: &Core, name: &dyn Fn(&Address) -> String) -> Vec<Leftover> {
    let blank = |kind| Leftover { kind, name: None, place: None, due: None, bytes: 0 };
    let mut all: Vec<Leftover> = core
        .callbacks
        .borrow()
        .waiting()
        .map(|(due, place)| Leftover {
            place: Some(place),
            due: Some(due),
            ..blank(LeftoverKind::Timer)
        })
        .collect();
    all.sort_by_key(|timer| (timer.due, timer.place));
    let tasks = core.all_tasks();
    all.extend(tasks.iter().filter(|task| !task.header().is_daemon()).map(|task| Leftover {
        name: Some(format!("{:?}", task.header().name())),
        place: Some(task.header().place()),
        ..blank(LeftoverKind::Task)
    }));
    // By number: slots are used again.
    let (mut transports, mut processes) = (Vec::new(), Vec::new());
    for (_, source) in core.sources.borrow().iter() {
        let (kind, number, bytes, ends, protocol) = match source {
            Registered::Stream(it) => {
                let kind = LeftoverKind::Connection;
                let (bytes, protocol) = (it.write_buffer_size(), it.protocol_name());
                (kind, it.number(), bytes, ends(&it.sockname, &it.peername, name), protocol)
            }
            Registered::Endpoint(it) => {
                let kind = LeftoverKind::Endpoint;
                let (bytes, protocol) = (it.write_buffer_size(), it.protocol_name());
                (kind, it.number(), bytes, ends(&it.sockname, &it.peername, name), protocol)
            }
            Registered::Child(child) => {
                processes.extend(child.returncode().is_none().then_some((child.pid, child.place)));
                continue;
            }
            Registered::Waiting(_)
            | Registered::Listener(_)
            | Registered::Signal(_)
            | Registered::Handlers(_) => continue,
        };
        let protocol = protocol.map(|protocol| format!(" of {protocol}")).unwrap_or_default();
        transports.push((kind, number, bytes, format!("{ends}{protocol}"), source.place()));
    }
    transports.sort();
    all.extend(transports.iter().map(|(kind, .., name, place)| Leftover {
        name: Some(name.clone()),
        place: *place,
        ..blank(*kind)
    }));
    let unsent = transports.into_iter().filter(|(_, _, bytes, ..)| *bytes > 0);
    all.extend(unsent.map(|(_, _, bytes, name, _)| Leftover {
        name: Some(name),
        bytes,
        ..blank(LeftoverKind::Buffer)
    }));
    processes.sort_unstable();
    all.extend(processes.into_iter().map(|(pid, place)| Leftover {
        name: Some(format!("pid {pid}")),
        place,
        ..blank(LeftoverKind::Process)
    }));
    all
}
