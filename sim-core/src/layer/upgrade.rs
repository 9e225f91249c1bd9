//! Layers that come to a connection in the middle of its life.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::hosting::State;
use super::{LayerFactory, Layered};
use crate::Transport;
use crate::transport::stream::Stream;

/// A handshake that is under way.
///
/// Its output comes when the handshake is over, before the first data over the new layer (contract
/// F-30). Dropping it before that aborts the connection (F-06).
///
/// # Errors
///
/// `ConnectionReset` if the peer left, `ConnectionAborted` if it took too long or this side closed the
/// connection, `InvalidData` for what the layer itself objects to, `Other` if the layer panicked.
#[must_use = "dropping it aborts the connection"]
pub struct Upgrade {
    /// The stream stays alive as long as its handshake is waited for.
    _stream: Rc<Stream>,
    layer: Result<Rc<Layered>, Option<io::Error>>,
}

impl Upgrade {
    /// Waits for the handshake of a layer that is on a stream.
    pub(crate) fn of(stream: &Rc<Stream>, layer: Rc<Layered>) -> Self {
        Self { _stream: Rc::clone(stream), layer: Ok(layer) }
    }

    /// Puts a layer between a stream and its protocol, with what the protocol received of the
    /// layer's bytes.
    pub(crate) fn start(
        transport: &Transport,
        factory: &Rc<dyn LayerFactory>,
        received: &[u8],
    ) -> Self {
        let stream = &transport.0;
        if let Err(error) = stream.may_have_layer() {
            return Self { _stream: Rc::clone(stream), layer: Err(Some(error)) };
        }
        let layer = Layered::insert(stream, factory);
        layer.incoming.borrow_mut().extend_from_slice(received);
        layer.resume_below();
        layer.call_soon(Layered::begin);
        Self::of(stream, layer)
    }
}

impl Future for Upgrade {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.layer {
            Err(error) => {
                let error = error.take().unwrap_or_else(|| io::ErrorKind::InvalidInput.into());
                Poll::Ready(Err(error))
            }
            Ok(layer) => match layer.poll_handshake(cx.waker()) {
                None => Poll::Pending,
                Some(None) => Poll::Ready(Ok(())),
                Some(Some(error)) => Poll::Ready(Err(error.to_io())),
            },
        }
    }
}

impl Drop for Upgrade {
    fn drop(&mut self) {
        if let Ok(layer) = &self.layer
            && layer.state() == State::Handshake
        {
            layer.abort();
        }
    }
}

impl fmt::Debug for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upgrade").finish_non_exhaustive()
    }
}
