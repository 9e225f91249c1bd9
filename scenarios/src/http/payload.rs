//! Bodies that are made as they are sent.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use sim_core::Rng;
use sim_core::hyper::hyper;
use sim_core::hyper::hyper::body::{Body as HttpBody, Bytes, Frame, Incoming, SizeHint};

use sim_core::sync::Event;

use crate::body::Body;

/// How many bytes of a body were made.
pub(super) type Made = Rc<Cell<u64>>;

/// What is waited for; `None` when it has happened.
type Waiting = Option<Pin<Box<dyn Future<Output = ()>>>>;

/// The body of a request or an answer.
pub(super) enum Payload {
    /// A few bytes at once.
    Text(Option<Bytes>),
    /// Made chunk by chunk, when there is room for the next.
    Made { body: Body, made: Made, tells_length: bool },
    /// A part that goes at once, and a rest that waits for something.
    InTwoParts { first: Option<Bytes>, until: Waiting, rest: Body },
    /// What comes from the peer goes back.
    Echo(Incoming),
}

impl Payload {
    pub(super) fn text(text: impl Into<Bytes>) -> Self {
        Self::Text(Some(text.into()))
    }

    /// `bytes` bytes that are a function of `seed`. Without its length it is sent in chunks.
    pub(super) fn made(seed: u64, bytes: u64, tells_length: bool, made: &Made) -> Self {
        Self::Made { body: body(seed, bytes), made: Rc::clone(made), tells_length }
    }

    /// The same bytes, made all at once, whoever reads them.
    pub(super) fn made_ahead(seed: u64, bytes: u64, made: &Made) -> Self {
        let (mut body, mut all) = (body(seed, bytes), Vec::new());
        while let Some(chunk) = body.next() {
            all.extend_from_slice(chunk);
        }
        made.set(bytes);
        Self::text(all)
    }

    /// The same bytes, of which those after the first chunk wait until `go` is set.
    pub(super) fn in_two_parts(seed: u64, bytes: u64, go: &Event) -> Self {
        let (mut rest, go) = (body(seed, bytes), go.clone());
        let first = rest.next().map(Bytes::copy_from_slice);
        let until: Waiting = Some(Box::pin(async move { go.wait().await }));
        Self::InTwoParts { first, until, rest }
    }
}

/// The digest of what [`Payload::made`] makes.
pub(super) fn digest(seed: u64, bytes: u64) -> u64 {
    let mut body = body(seed, bytes);
    while body.next().is_some() {}
    body.digest().finish()
}

fn body(seed: u64, bytes: u64) -> Body {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    Body::new(bytes, &mut Rng::from_seed(key))
}

impl HttpBody for Payload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Self::Made { body, made, .. } => Poll::Ready(body.next().map(|chunk| {
                made.set(made.get() + chunk.len() as u64);
                Ok(Frame::data(Bytes::copy_from_slice(chunk)))
            })),
            Self::InTwoParts { first, until, rest } => {
                if let (None, Some(waiting)) = (&first, &mut *until) {
                    ready!(waiting.as_mut().poll(cx));
                    *until = None;
                }
                let part = first.take().or_else(|| rest.next().map(Bytes::copy_from_slice));
                Poll::Ready(part.map(|part| Ok(Frame::data(part))))
            }
            Self::Echo(incoming) => Pin::new(incoming).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Text(text) => text.is_none(),
            Self::Made { body, .. } => body.left() == 0,
            Self::InTwoParts { .. } => false,
            Self::Echo(incoming) => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Text(text) => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
            Self::Made { body, tells_length: true, .. } => SizeHint::with_exact(body.left()),
            Self::Made { .. } | Self::InTwoParts { .. } => SizeHint::default(),
            Self::Echo(incoming) => incoming.size_hint(),
        }
    }
}
