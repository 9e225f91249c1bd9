//! The smallest complete driver: a clock that is set, and sockets whose other end is the test.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use slab::Slab;

use crate::driver::{
    Alarm, Driver, Family, Next, Question, Readiness, Resolution, SocketKind, SocketOption, Source,
    TcpOptions, Token,
};
use crate::{NameInfo, Rng, RunError, Time};

/// A driver whose sockets do what a test says.
///
/// Its clock jumps to the next deadline when the loop waits. There are no peers: what is written
/// is kept for the test, what is read is what the test fed.
pub struct ScriptDriver {
    now: Cell<u64>,
    busy_until: Cell<u64>,
    sockets: RefCell<Slab<Script>>,
    events: RefCell<Vec<Readiness>>,
}

/// One socket's other end.
#[derive(Default)]
struct Script {
    token: Option<Token>,
    /// What the next reads give, oldest first.
    incoming: VecDeque<Incoming>,
    /// What was written and not taken by the test.
    outgoing: Vec<u8>,
    datagrams: Vec<(Vec<u8>, Option<SocketAddr>)>,
    /// How many bytes (or datagrams) the network takes before it would block.
    window: usize,
    write_error: Option<i32>,
    options: TcpOptions,
    end: SocketEnd,
}

enum Incoming {
    Data(Vec<u8>),
    Datagram(Vec<u8>, SocketAddr),
    /// A connection to accept, or that a pending connect is done.
    #[cfg_attr(not(test), expect(dead_code, reason = "unit tests of this crate feed it"))]
    Connection,
    Eof,
    Error(i32),
}

/// What became of a socket's sending side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum SocketEnd {
    #[default]
    Open,
    HalfClosed,
    Closed,
    Reset,
}

fn would_block() -> io::Error {
    io::ErrorKind::WouldBlock.into()
}

fn unsupported(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, format!("the scripted driver has no {what}"))
}

struct NoAlarm;

impl Alarm for NoAlarm {
    fn ring(&self) {}
}

impl ScriptDriver {
    /// A driver at time zero.
    pub fn new() -> Self {
        Self {
            now: Cell::new(0),
            busy_until: Cell::new(0),
            sockets: RefCell::default(),
            events: RefCell::default(),
        }
    }

    pub(super) fn add_socket(&self, window: usize) -> Source {
        let script = Script { window, ..Script::default() };
        Source(self.sockets.borrow_mut().insert(script) as u64)
    }

    pub(super) fn set_now(&self, now: Time) {
        self.now.set(now.as_nanos());
    }

    pub(super) fn take_events(&self, into: &mut Vec<Readiness>) {
        into.append(&mut self.events.borrow_mut());
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.borrow().is_empty()
    }

    fn with<R>(&self, source: Source, code: impl FnOnce(&mut Script) -> R) -> io::Result<R> {
        match self.sockets.borrow_mut().get_mut(source.0 as usize) {
            Some(script) => Ok(code(script)),
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn notify(&self, source: Source, readable: bool, read_closed: bool, writable: bool) {
        let token = self.with(source, |script| script.token).ok().flatten();
        if let Some(token) = token {
            let event = Readiness { token, readable, writable, read_closed };
            self.events.borrow_mut().push(event);
        }
    }

    fn push(&self, source: Source, incoming: Incoming) {
        let ends = matches!(incoming, Incoming::Eof | Incoming::Error(_));
        let pushed = self.with(source, |script| script.incoming.push_back(incoming));
        if pushed.is_ok() {
            self.notify(source, true, ends, false);
        }
    }

    pub(super) fn feed(&self, source: Source, data: &[u8]) {
        if !data.is_empty() {
            self.push(source, Incoming::Data(data.to_vec()));
        }
    }

    pub(super) fn feed_datagram(&self, source: Source, data: &[u8], from: SocketAddr) {
        self.push(source, Incoming::Datagram(data.to_vec(), from));
    }

    pub(super) fn feed_eof(&self, source: Source) {
        self.push(source, Incoming::Eof);
    }

    /// Lets a listener's next accept, or a pending connect, succeed or fail.
    #[cfg(test)]
    pub(crate) fn feed_connection(&self, source: Source, outcome: Result<(), i32>) {
        let incoming = outcome.map_or_else(Incoming::Error, |()| Incoming::Connection);
        self.push(source, incoming);
        self.notify(source, false, false, true);
    }

    /// Tells of readiness that nothing is behind.
    #[cfg(test)]
    pub(crate) fn notify_in_vain(&self, source: Source) {
        self.notify(source, true, false, true);
    }

    /// How many of the things fed to a socket nobody has asked for yet.
    #[cfg(test)]
    pub(crate) fn unasked(&self, source: Source) -> usize {
        self.with(source, |script| script.incoming.len()).unwrap_or(0)
    }

    /// True when the socket was closed with a reset.
    #[cfg(test)]
    pub(crate) fn is_reset(&self, source: Source) -> bool {
        self.end(source) == SocketEnd::Reset
    }

    /// What a listener's next accept, or a pending connect, comes to.
    fn take_connection(&self, source: Source) -> io::Result<()> {
        self.with(source, |script| match script.incoming.pop_front() {
            None => Err(would_block()),
            Some(Incoming::Connection) => Ok(()),
            Some(Incoming::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(_) => Err(unsupported("data before the connection")),
        })?
    }

    pub(crate) fn feed_error(&self, source: Source, code: i32) {
        self.push(source, Incoming::Error(code));
    }

    /// Makes every later write fail.
    pub(super) fn fail_writes(&self, source: Source, code: i32) {
        let failing = self.with(source, |script| script.write_error = Some(code));
        if failing.is_ok() {
            self.notify(source, false, false, true);
        }
    }

    pub(super) fn widen(&self, source: Source, more: usize) {
        let widened =
            self.with(source, |script| script.window = script.window.saturating_add(more));
        if widened.is_ok() && more > 0 {
            self.notify(source, false, false, true);
        }
    }

    pub(super) fn take_outgoing(&self, source: Source) -> Vec<u8> {
        self.with(source, |script| std::mem::take(&mut script.outgoing)).unwrap_or_default()
    }

    pub(super) fn take_datagrams(&self, source: Source) -> Vec<(Vec<u8>, Option<SocketAddr>)> {
        self.with(source, |script| std::mem::take(&mut script.datagrams)).unwrap_or_default()
    }

    pub(super) fn end(&self, source: Source) -> SocketEnd {
        self.with(source, |script| script.end).unwrap_or(SocketEnd::Closed)
    }
}

impl Default for ScriptDriver {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ScriptDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptDriver").field("now", &self.now).finish_non_exhaustive()
    }
}

impl Driver for ScriptDriver {
    fn now(&self) -> Time {
        Time::from_nanos(self.now.get())
    }

    fn wall_time(&self) -> Duration {
        self.now().since_epoch()
    }

    fn open(&self, _kind: SocketKind, _family: Family) -> io::Result<Source> {
        Ok(self.add_socket(usize::MAX))
    }

    fn set_option(&self, source: Source, option: SocketOption) -> io::Result<()> {
        self.with(source, |script| script.options.set(option))?;
        Ok(())
    }

    fn tcp_options(&self, source: Source) -> io::Result<TcpOptions> {
        self.with(source, |script| script.options)
    }

    fn bind(&self, _source: Source, _local: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    fn listen(&self, _source: Source, _backlog: u32) -> io::Result<()> {
        Ok(())
    }

    /// Nobody connects but by the script of a test.
    fn accept(&self, listener: Source) -> io::Result<(Source, SocketAddr)> {
        self.take_connection(listener)?;
        let source = self.add_socket(usize::MAX);
        Ok((source, self.peer_addr(source)?))
    }

    fn connect(&self, _source: Source, _remote: SocketAddr) -> io::Result<()> {
        Ok(())
    }

    /// Nobody answers but by the script of a test.
    fn finish_connect(&self, source: Source) -> io::Result<()> {
        self.take_connection(source)
    }

    fn read_hint(&self, source: Source) -> usize {
        let first = |script: &mut Script| match script.incoming.front() {
            Some(Incoming::Data(data) | Incoming::Datagram(data, _)) => data.len(),
            _ => 0,
        };
        self.with(source, first).unwrap_or(0)
    }

    fn read(&self, source: Source, buf: &mut [u8]) -> io::Result<usize> {
        self.with(source, |script| match script.incoming.front_mut() {
            None | Some(Incoming::Datagram(..) | Incoming::Connection) => Err(would_block()),
            Some(Incoming::Eof) => Ok(0),
            Some(Incoming::Error(code)) => Err(io::Error::from_raw_os_error(*code)),
            Some(Incoming::Data(data)) => {
                let bytes = data.len().min(buf.len());
                buf[..bytes].copy_from_slice(&data[..bytes]);
                data.drain(..bytes);
                if data.is_empty() {
                    script.incoming.pop_front();
                }
                Ok(bytes)
            }
        })?
        .inspect(|&bytes| {
            // A read that filled the buffer, or left another piece behind, leaves readiness.
            let more = self.with(source, |script| !script.incoming.is_empty()).unwrap_or(false);
            if more && bytes > 0 && bytes < buf.len() {
                self.notify(source, true, false, false);
            }
        })
    }

    fn write(&self, source: Source, data: &[u8]) -> io::Result<usize> {
        self.with(source, |script| {
            if let Some(code) = script.write_error {
                return Err(io::Error::from_raw_os_error(code));
            }
            let bytes = data.len().min(script.window);
            if bytes == 0 {
                return Err(would_block());
            }
            script.window -= if script.window == usize::MAX { 0 } else { bytes };
            script.outgoing.extend_from_slice(&data[..bytes]);
            Ok(bytes)
        })?
    }

    fn shutdown_write(&self, source: Source) -> io::Result<()> {
        self.with(source, |script| script.end = SocketEnd::HalfClosed)
    }

    fn send_to(&self, source: Source, data: &[u8], to: Option<&SocketAddr>) -> io::Result<usize> {
        self.with(source, |script| {
            if let Some(code) = script.write_error.take() {
                return Err(io::Error::from_raw_os_error(code));
            }
            if script.window == 0 {
                return Err(would_block());
            }
            script.window -= usize::from(script.window != usize::MAX);
            script.datagrams.push((data.to_vec(), to.copied()));
            Ok(data.len())
        })?
    }

    fn receive_from(&self, source: Source, buf: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.with(source, |script| match script.incoming.pop_front() {
            None => Err(would_block()),
            Some(Incoming::Datagram(data, from)) => {
                let bytes = data.len().min(buf.len());
                buf[..bytes].copy_from_slice(&data[..bytes]);
                Ok((bytes, from))
            }
            Some(Incoming::Error(code)) => Err(io::Error::from_raw_os_error(code)),
            Some(_) => Err(unsupported("streams of datagrams")),
        })?
    }

    fn close(&self, source: Source) {
        let closed = self.with(source, |script| script.end = SocketEnd::Closed);
        debug_assert!(closed.is_ok(), "an unknown socket was closed");
    }

    fn reset(&self, source: Source) {
        let closed = self.with(source, |script| script.end = SocketEnd::Reset);
        debug_assert!(closed.is_ok(), "an unknown socket was reset");
    }

    fn local_addr(&self, _source: Source) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::new(192, 0, 2, 1), 1).into())
    }

    fn peer_addr(&self, _source: Source) -> io::Result<SocketAddr> {
        Ok((Ipv4Addr::new(192, 0, 2, 2), 2).into())
    }

    fn register(&self, source: Source, token: Token) -> io::Result<()> {
        self.with(source, |script| script.token = Some(token))?;
        if self.with(source, |script| !script.incoming.is_empty())? {
            self.notify(source, true, false, false);
        }
        Ok(())
    }

    fn wait(&self, next: Next, events: &mut Vec<Readiness>) -> Result<(), RunError> {
        if !self.has_events() {
            match next {
                Next::Now => {}
                Next::At(time) => self.now.set(self.now.get().max(time.as_nanos())),
                Next::Never => {
                    return Err(RunError::Deadlock { pending: Vec::new() });
                }
            }
        }
        self.take_events(events);
        Ok(())
    }

    fn alarm(&self) -> Arc<dyn Alarm> {
        Arc::new(NoAlarm)
    }

    fn one_run_per_thread(&self) -> bool {
        false
    }

    fn is_simulated(&self) -> bool {
        true
    }

    fn spend(&self, cost: Duration) {
        let from = self.now.get().max(self.busy_until.get());
        self.busy_until.set((Time::from_nanos(from) + cost).as_nanos());
    }

    fn busy_until(&self) -> Option<Time> {
        let until = self.busy_until.get();
        (until > self.now.get()).then_some(Time::from_nanos(until))
    }

    fn resolve(&self, question: Question<'_>) -> Resolution<Vec<SocketAddr>> {
        Resolution::Now(Err(unsupported(&format!("names, so none for {:?}", question.host))))
    }

    fn name_of(&self, addr: SocketAddr) -> Resolution<NameInfo> {
        Resolution::Now(Err(unsupported(&format!("names, so none for {addr}"))))
    }

    fn rng(&self, name: &str) -> Rng {
        let mut seed = [0; 32];
        for (place, byte) in name.bytes().enumerate() {
            seed[place % 32] ^= byte;
        }
        Rng::from_seed(seed)
    }

    fn host(&self) -> &str {
        "test"
    }
}

/// The driver as the engine wants it, kept by the test as well.
pub(super) fn shared() -> Rc<ScriptDriver> {
    Rc::new(ScriptDriver::new())
}
