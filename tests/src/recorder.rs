//! A protocol that writes down its callbacks, and does in each what the test says.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::Rc;

use sim_core::{BufferedProtocol, Conn, Cx, Eof, LoopFuture, Protocol};

/// What happened, in order; shared by everything that a test wants in one order.
///
/// Callbacks are written as in the contract: `CM`, `DR`, `GB`, `BU`, `ER`, `PW`, `RW`, `CL(None)`,
/// `CL(ConnectionReset)`. Consecutive `DR`s are one entry, since where data is cut is nobody's
/// promise (C-30).
#[derive(Clone, Default)]
pub struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    /// An empty log.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry.
    pub fn push(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }

    fn push_once(&self, entry: &str) {
        let repeated = self.0.borrow().last().is_some_and(|last| last == entry);
        if !repeated {
            self.push(entry);
        }
    }

    /// The entries so far.
    pub fn entries(&self) -> Vec<String> {
        self.0.borrow().clone()
    }

    /// The entries so far, with a space between them: `"CM DR ER CL(None)"`.
    pub fn text(&self) -> String {
        self.0.borrow().join(" ")
    }

    /// How often an entry stands there.
    pub fn count(&self, entry: &str) -> usize {
        self.0.borrow().iter().filter(|known| *known == entry).count()
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// How the contract writes a `connection_lost`.
pub fn lost_text(error: Option<&io::Error>) -> String {
    error.map_or_else(|| "CL(None)".to_owned(), |error| format!("CL({:?})", error.kind()))
}

type Act<A = ()> = Box<dyn FnMut(&mut Cx<'_, Recorder>, A)>;

/// A protocol that logs its callbacks, collects its data, and acts as told.
///
/// ```
/// use sim_core::testing;
/// use tests::recorder::{Log, Recorder};
///
/// let log = Log::new();
/// let mut peer = testing::drive(Recorder::new(&log).on_data(|cx, _| cx.close()));
/// peer.feed(b"enough");
/// assert_eq!(log.text(), "CM DR CL(None)");
/// assert_eq!(peer.with(|recorder, _| recorder.data.clone()), b"enough");
/// ```
pub struct Recorder {
    /// The log.
    pub log: Log,
    /// Put before each entry.
    name: &'static str,
    /// What was received.
    pub data: Vec<u8>,
    /// The error that `connection_lost` got.
    pub error: Option<io::Error>,
    eof: Eof,
    announced: Option<LoopFuture<Conn<Self>>>,
    made: Option<Act>,
    received: Option<Act<Vec<u8>>>,
    eof_received: Option<Act>,
    paused: Option<Act>,
    resumed: Option<Act>,
    lost: Option<Act>,
}

impl Recorder {
    /// A recorder that only records.
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            name: "",
            data: Vec::new(),
            error: None,
            eof: Eof::Close,
            announced: None,
            made: None,
            received: None,
            eof_received: None,
            paused: None,
            resumed: None,
            lost: None,
        }
    }

    /// Puts `name` before each entry, for logs that several protocols share.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = name;
        self
    }

    /// What `eof_received` answers.
    #[must_use]
    pub fn eof(mut self, eof: Eof) -> Self {
        self.eof = eof;
        self
    }

    /// Completes `connection` in `connection_made`, with the pair: for the accepting side.
    #[must_use]
    pub fn announce(mut self, connection: LoopFuture<Conn<Self>>) -> Self {
        self.announced = Some(connection);
        self
    }

    /// What `connection_made` does.
    #[must_use]
    pub fn on_made(mut self, mut act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.made = Some(Box::new(move |cx, ()| act(cx)));
        self
    }

    /// What `data_received` does, with the data.
    #[must_use]
    pub fn on_data(mut self, mut act: impl FnMut(&mut Cx<'_, Self>, &[u8]) + 'static) -> Self {
        self.received = Some(Box::new(move |cx, data| act(cx, &data)));
        self
    }

    /// What `eof_received` does.
    #[must_use]
    pub fn on_eof(mut self, mut act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.eof_received = Some(Box::new(move |cx, ()| act(cx)));
        self
    }

    /// What `pause_writing` does.
    #[must_use]
    pub fn on_pause(mut self, mut act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.paused = Some(Box::new(move |cx, ()| act(cx)));
        self
    }

    /// What `resume_writing` does.
    #[must_use]
    pub fn on_resume(mut self, mut act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.resumed = Some(Box::new(move |cx, ()| act(cx)));
        self
    }

    /// What `connection_lost` does.
    #[must_use]
    pub fn on_lost(mut self, mut act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.lost = Some(Box::new(move |cx, ()| act(cx)));
        self
    }

    fn entry(&self, text: &str) -> String {
        format!("{}{text}", self.name)
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("log", &self.log).finish_non_exhaustive()
    }
}

/// Runs the act of a callback. The act is out while it runs, so that it may not meet itself.
macro_rules! act {
    ($this:ident.$field:ident, $cx:ident, $argument:expr) => {
        if let Some(mut act) = $this.$field.take() {
            act($cx, $argument);
            $this.$field = Some(act);
        }
    };
}

impl Protocol for Recorder {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.log.push(self.entry("CM"));
        if let Some(connection) = self.announced.take() {
            // Nobody waits any more if the test was cancelled.
            connection.set_result(cx.conn()).ok();
        }
        act!(self.made, cx, ());
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        assert!(!data.is_empty(), "data_received with no data (C-30)");
        self.log.push_once(&self.entry("DR"));
        self.data.extend_from_slice(data);
        act!(self.received, cx, data.to_vec());
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        self.log.push(self.entry("ER"));
        act!(self.eof_received, cx, ());
        self.eof
    }

    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.log.push(self.entry("PW"));
        act!(self.paused, cx, ());
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.log.push(self.entry("RW"));
        act!(self.resumed, cx, ());
    }

    fn connection_lost(&mut self, cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.log.push(self.entry(&lost_text(error.as_ref())));
        self.error = error;
        act!(self.lost, cx, ());
    }
}

type BufferedAct = Box<dyn FnMut(&mut Cx<'_, BufferedRecorder>)>;

/// A [`BufferedProtocol`] that logs its callbacks and collects its data.
pub struct BufferedRecorder {
    /// The log.
    pub log: Log,
    /// What was received.
    pub data: Vec<u8>,
    /// How long a buffer `get_buffer` returns; shared, so that a test may change it.
    pub size: Rc<Cell<usize>>,
    buffer: Vec<u8>,
    lent: Option<BufferedAct>,
    updated: Option<BufferedAct>,
}

impl BufferedRecorder {
    /// A recorder whose buffer is `size` bytes long.
    pub fn new(log: &Log, size: usize) -> Self {
        Self {
            log: log.clone(),
            data: Vec::new(),
            size: Rc::new(Cell::new(size)),
            buffer: Vec::new(),
            lent: None,
            updated: None,
        }
    }

    /// What `get_buffer` does.
    #[must_use]
    pub fn on_buffer(mut self, act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.lent = Some(Box::new(act));
        self
    }

    /// What `buffer_updated` does.
    #[must_use]
    pub fn on_updated(mut self, act: impl FnMut(&mut Cx<'_, Self>) + 'static) -> Self {
        self.updated = Some(Box::new(act));
        self
    }
}

impl fmt::Debug for BufferedRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BufferedRecorder").field("log", &self.log).finish_non_exhaustive()
    }
}

impl BufferedProtocol for BufferedRecorder {
    fn connection_made(&mut self, _cx: &mut Cx<'_, Self>) {
        self.log.push("CM");
    }

    fn get_buffer(&mut self, cx: &mut Cx<'_, Self>, hint: usize) -> &mut [u8] {
        assert!(hint > 0, "a hint of no bytes");
        self.log.push("GB");
        if let Some(mut act) = self.lent.take() {
            act(cx);
            self.lent = Some(act);
        }
        self.buffer.resize(self.size.get(), 0);
        &mut self.buffer
    }

    fn buffer_updated(&mut self, cx: &mut Cx<'_, Self>, bytes: usize) {
        assert!(bytes > 0 && bytes <= self.buffer.len(), "BU({bytes}) (C-50)");
        self.log.push(format!("BU({bytes})"));
        self.data.extend_from_slice(&self.buffer[..bytes]);
        if let Some(mut act) = self.updated.take() {
            act(cx);
            self.updated = Some(act);
        }
    }

    fn eof_received(&mut self, _cx: &mut Cx<'_, Self>) -> Eof {
        self.log.push("ER");
        Eof::Close
    }

    fn pause_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        self.log.push("PW");
    }

    fn resume_writing(&mut self, _cx: &mut Cx<'_, Self>) {
        self.log.push("RW");
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.log.push(lost_text(error.as_ref()));
    }
}
