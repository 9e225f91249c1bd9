//! The server behind the proxy: takes a body, and gives one.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Eof, Protocol, Rng, Timer, WriteBufferLimits};

use crate::body::Body;
use crate::upload::Receipt;
use crate::{Digest, Violation};

const LIMITS: WriteBufferLimits = WriteBufferLimits { high: 16 << 10, low: 4 << 10 };
/// How long it reads nothing, now and then, at most.
const REST_MAX: Duration = Duration::from_millis(3);

/// What a client says first: how long its body is, and how long it wants the answer's to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// The length of the client's body, in bytes.
    pub upload: u64,
    /// The length of the answer's body, in bytes.
    pub download: u64,
}

impl Request {
    /// How long it is on the wire.
    pub const BYTES: usize = 16;

    /// Two numbers of 64 bits, big-endian.
    pub fn encode(self) -> [u8; Self::BYTES] {
        (u128::from(self.upload) << 64 | u128::from(self.download)).to_be_bytes()
    }

    /// The request that these bytes are.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Self {
        let both = u128::from_be_bytes(bytes);
        Self { upload: (both >> 64) as u64, download: both as u64 }
    }
}

/// What servers saw that must not be.
pub(super) type Seen = Rc<RefCell<Option<Violation>>>;

/// One connection of the server: it takes the client's body and gives its own at the same time, rests
/// now and then, and ends with a [`Receipt`] of each.
#[derive(Debug)]
pub(super) struct Origin {
    head: Vec<u8>,
    request: Option<Request>,
    got: Digest,
    body: Option<Body>,
    is_ended: bool,
    rng: Option<Rng>,
    rest: Option<Timer>,
    seen: Seen,
}

impl Origin {
    pub(super) fn new(seen: &Seen) -> Self {
        Self {
            head: Vec::new(),
            request: None,
            got: Digest::default(),
            body: None,
            is_ended: false,
            rng: None,
            rest: None,
            seen: Rc::clone(seen),
        }
    }

    /// Writes while there is room; after the last byte of both bodies, the receipts.
    fn pump(&mut self, cx: &Cx<'_, Self>) {
        let Some(body) = &mut self.body else { return };
        while cx.is_writable() {
            if let Some(chunk) = body.next() {
                cx.write(chunk);
                continue;
            }
            if self.is_ended {
                cx.write(&Receipt::of(body.digest()).encode());
                cx.write(&Receipt::of(&self.got).encode());
                cx.close();
            }
            return;
        }
    }

    /// Takes the request off the first bytes: what is left of them.
    fn take_request<'d>(&mut self, cx: &Cx<'_, Self>, data: &'d [u8]) -> &'d [u8] {
        let (head, rest) = data.split_at(data.len().min(Request::BYTES - self.head.len()));
        self.head.extend_from_slice(head);
        if let Ok(bytes) = self.head.as_slice().try_into() {
            let request = Request::decode(bytes);
            let mut rng = cx.event_loop().rng(&format!("origin-{}", cx.number()));
            self.body = Some(Body::new(request.download, &mut rng));
            (self.request, self.rng) = (Some(request), Some(rng));
        }
        rest
    }
}

impl Protocol for Origin {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        if let Err(error) = cx.set_write_buffer_limits(LIMITS) {
            cx.fail(error);
        }
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, mut data: &[u8]) {
        if self.request.is_none() {
            data = self.take_request(cx, data);
        }
        self.got.update(data);
        self.pump(cx);
        if let Some(rng) = &mut self.rng
            && rng.ratio(1, 4)
        {
            cx.pause_reading();
            let rest = rng.duration(Duration::ZERO..REST_MAX);
            self.rest = Some(cx.call_later(rest, |_, cx| cx.resume_reading()));
        }
    }

    fn eof_received(&mut self, cx: &mut Cx<'_, Self>) -> Eof {
        let expected = self.request.map_or(0, |request| request.upload);
        let is_whole =
            self.got.bytes() == expected && (self.head.is_empty() == self.request.is_none());
        if !is_whole {
            let text = format!(
                "a client's body ended in good order after {} bytes of {expected}",
                self.got.bytes()
            );
            self.seen.borrow_mut().get_or_insert(Violation::new(text));
        }
        self.is_ended = true;
        self.pump(cx);
        if self.body.is_some() { Eof::KeepOpen } else { Eof::Close }
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        self.pump(cx);
    }
}
