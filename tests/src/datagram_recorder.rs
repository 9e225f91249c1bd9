//! A datagram protocol that writes down its callbacks, and does in each what the test says.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use sim_core::{Cx, DatagramProtocol, DatagramTransport};

use crate::recorder::{Log, lost_text};

type DatagramCx<'a> = Cx<'a, DatagramRecorder, DatagramTransport>;
type Act = Box<dyn FnMut(&mut DatagramCx<'_>)>;
type ReceivedAct = Box<dyn FnMut(&mut DatagramCx<'_>, &[u8], SocketAddr)>;

/// Datagrams up to this length are logged as text.
const SHORT: usize = 16;

/// A [`DatagramProtocol`] that logs its callbacks, keeps what it was given, and acts as told.
///
/// Callbacks are written `CM`, `DG(ping)`, `DG(1200 bytes)`, `EX(ConnectionRefused)`, `PW`, `RW`,
/// `CL(None)`.
///
/// ```
/// use sim_core::testing;
/// use tests::{datagram_recorder::DatagramRecorder, recorder::Log};
///
/// let log = Log::new();
/// let recorder = DatagramRecorder::new(&log).on_datagram(|cx, _, _| cx.close());
/// let mut peer = testing::drive_datagrams(recorder, usize::MAX);
/// peer.feed(b"bye", "192.0.2.9:9".parse().unwrap());
/// assert_eq!(log.text(), "CM DG(bye) CL(None)");
/// ```
pub struct DatagramRecorder {
    /// The log.
    pub log: Log,
    /// What was received, with the senders.
    pub received: Vec<(Vec<u8>, SocketAddr)>,
    /// What `error_received` got.
    pub errors: Vec<io::Error>,
    made: Option<Act>,
    datagram: Option<ReceivedAct>,
    error: Option<Act>,
    paused: Option<Act>,
    resumed: Option<Act>,
    lost: Option<Act>,
}

impl DatagramRecorder {
    /// A recorder that only records.
    pub fn new(log: &Log) -> Self {
        Self {
            log: log.clone(),
            received: Vec::new(),
            errors: Vec::new(),
            made: None,
            datagram: None,
            error: None,
            paused: None,
            resumed: None,
            lost: None,
        }
    }

    /// What `connection_made` does.
    #[must_use]
    pub fn on_made(mut self, act: impl FnMut(&mut DatagramCx<'_>) + 'static) -> Self {
        self.made = Some(Box::new(act));
        self
    }

    /// What `datagram_received` does.
    #[must_use]
    pub fn on_datagram(
        mut self,
        act: impl FnMut(&mut DatagramCx<'_>, &[u8], SocketAddr) + 'static,
    ) -> Self {
        self.datagram = Some(Box::new(act));
        self
    }

    /// What `error_received` does.
    #[must_use]
    pub fn on_error(mut self, act: impl FnMut(&mut DatagramCx<'_>) + 'static) -> Self {
        self.error = Some(Box::new(act));
        self
    }

    /// What `pause_writing` does.
    #[must_use]
    pub fn on_pause(mut self, act: impl FnMut(&mut DatagramCx<'_>) + 'static) -> Self {
        self.paused = Some(Box::new(act));
        self
    }

    /// What `resume_writing` does.
    #[must_use]
    pub fn on_resume(mut self, act: impl FnMut(&mut DatagramCx<'_>) + 'static) -> Self {
        self.resumed = Some(Box::new(act));
        self
    }

    /// What `connection_lost` does.
    #[must_use]
    pub fn on_lost(mut self, act: impl FnMut(&mut DatagramCx<'_>) + 'static) -> Self {
        self.lost = Some(Box::new(act));
        self
    }
}

impl fmt::Debug for DatagramRecorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramRecorder").field("log", &self.log).finish_non_exhaustive()
    }
}

/// How a datagram is written.
fn datagram_text(data: &[u8]) -> String {
    if data.len() <= SHORT {
        format!("DG({})", String::from_utf8_lossy(data))
    } else {
        format!("DG({} bytes)", data.len())
    }
}

/// How an error is written: its kind, or its number where there is no kind for it.
fn error_text(error: &io::Error) -> String {
    match (format!("{:?}", error.kind()), error.raw_os_error()) {
        (kind, Some(number)) if kind == "Uncategorized" => format!("EX(os {number})"),
        (kind, _) => format!("EX({kind})"),
    }
}

impl DatagramProtocol for DatagramRecorder {
    fn connection_made(&mut self, cx: &mut DatagramCx<'_>) {
        self.log.push("CM");
        if let Some(act) = &mut self.made {
            act(cx);
        }
    }

    fn datagram_received(&mut self, cx: &mut DatagramCx<'_>, data: &[u8], from: SocketAddr) {
        self.log.push(datagram_text(data));
        self.received.push((data.to_vec(), from));
        if let Some(act) = &mut self.datagram {
            act(cx, data, from);
        }
    }

    fn error_received(&mut self, cx: &mut DatagramCx<'_>, error: io::Error) {
        self.log.push(error_text(&error));
        self.errors.push(error);
        if let Some(act) = &mut self.error {
            act(cx);
        }
    }

    fn pause_writing(&mut self, cx: &mut DatagramCx<'_>) {
        self.log.push("PW");
        if let Some(act) = &mut self.paused {
            act(cx);
        }
    }

    fn resume_writing(&mut self, cx: &mut DatagramCx<'_>) {
        self.log.push("RW");
        if let Some(act) = &mut self.resumed {
            act(cx);
        }
    }

    fn connection_lost(&mut self, cx: &mut DatagramCx<'_>, error: Option<io::Error>) {
        self.log.push(lost_text(error.as_ref()));
        if let Some(act) = &mut self.lost {
            act(cx);
        }
    }
}
