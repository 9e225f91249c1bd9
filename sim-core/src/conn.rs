//! asyncio's pair of transport and protocol.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::cell::{ProtocolCell, StreamCallbacks};
use crate::subprocess::SubprocessTransport;
use crate::wakers::{Ticket, Wakers};
use crate::{Cx, DatagramAddress, DatagramTransport, Loop, SharedError, Transport};

/// What [`Transport`], [`DatagramTransport`] and [`SubprocessTransport`] have in common.
///
/// Sealed: the three are all there are.
pub trait AnyTransport: Clone + sealed::Sealed + 'static {
    /// How the protocol's callbacks are reached.
    #[doc(hidden)]
    type Callbacks<P: 'static>: 'static;

    /// The state of a protocol in a few words, if it has some.
    #[doc(hidden)]
    fn digest<P: 'static>(callbacks: &Self::Callbacks<P>, protocol: &P) -> Option<String>;

    /// The loop it belongs to.
    #[doc(hidden)]
    fn event_loop(&self) -> &Loop;

    #[doc(hidden)]
    fn connection_number(&self) -> u32;

    #[doc(hidden)]
    fn outcome(&self) -> Option<Option<SharedError>>;

    #[doc(hidden)]
    fn wakers(&self) -> &Wakers;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::Transport {}
    impl<A: crate::DatagramAddress> Sealed for crate::DatagramTransport<A> {}
    impl Sealed for crate::subprocess::SubprocessTransport {}
}

impl AnyTransport for Transport {
    type Callbacks<P: 'static> = &'static dyn StreamCallbacks<P>;

    fn digest<P: 'static>(callbacks: &Self::Callbacks<P>, protocol: &P) -> Option<String> {
        callbacks.digest(protocol)
    }

    fn event_loop(&self) -> &Loop {
        &self.0.lp
    }

    fn connection_number(&self) -> u32 {
        self.0.number()
    }

    fn outcome(&self) -> Option<Option<SharedError>> {
        self.0.outcome()
    }

    fn wakers(&self) -> &Wakers {
        &self.0.wakers
    }
}

impl<A: DatagramAddress> AnyTransport for DatagramTransport<A> {
    // The others are found by the type alone.
    type Callbacks<P: 'static> = fn(&P) -> Option<String>;

    fn digest<P: 'static>(callbacks: &Self::Callbacks<P>, protocol: &P) -> Option<String> {
        callbacks(protocol)
    }

    fn event_loop(&self) -> &Loop {
        &self.endpoint.lp
    }

    fn connection_number(&self) -> u32 {
        self.endpoint.number()
    }

    fn outcome(&self) -> Option<Option<SharedError>> {
        self.endpoint.outcome()
    }

    fn wakers(&self) -> &Wakers {
        &self.endpoint.wakers
    }
}

impl AnyTransport for SubprocessTransport {
    type Callbacks<P: 'static> = fn(&P) -> Option<String>;

    fn digest<P: 'static>(callbacks: &Self::Callbacks<P>, protocol: &P) -> Option<String> {
        callbacks(protocol)
    }

    fn event_loop(&self) -> &Loop {
        &self.0.lp
    }

    fn connection_number(&self) -> u32 {
        self.0.number
    }

    fn outcome(&self) -> Option<Option<SharedError>> {
        self.0.outcome()
    }

    fn wakers(&self) -> &Wakers {
        &self.0.wakers
    }
}

/// A connection with its protocol, from outside: asyncio's `(transport, protocol)`.
///
/// The protocol lives as long as somebody holds the pair, so a test can look at it after the
/// connection is gone.
///
/// ```
/// use sim_core::{Cx, Protocol, testing};
///
/// #[derive(Default)]
/// struct Count(usize);
/// impl Protocol for Count {
///     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, data: &[u8]) {
///         self.0 += data.len();
///     }
/// }
///
/// let mut peer = testing::drive(Count::default());
/// peer.feed(b"four");
/// let conn = peer.conn();
/// conn.with(|_, cx| cx.close());
/// peer.settle();
/// assert_eq!(conn.with(|count, _| count.0), 4);
/// ```
pub struct Conn<P: 'static, T: AnyTransport = Transport>(Rc<ProtocolCell<P, T>>);

impl<P: 'static, T: AnyTransport> Conn<P, T> {
    pub(crate) fn new(cell: Rc<ProtocolCell<P, T>>) -> Self {
        Self(cell)
    }

    /// Enters the protocol from outside its callbacks.
    ///
    /// # Ordering
    ///
    /// What it does goes down at once. A crossing of the high-water mark is delivered right after
    /// the callback or task step that `with` is called in; from outside any turn of the loop, it
    /// comes first in the next one.
    ///
    /// # Panics
    ///
    /// If the protocol is entered already: from inside one of its own callbacks, act on `self`.
    #[track_caller]
    pub fn with<R>(&self, code: impl FnOnce(&mut P, &mut Cx<'_, P, T>) -> R) -> R {
        self.0.enter_from_outside(code)
    }

    /// Enters the protocol for something that calls nothing of the loop and none of its user's code.
    #[cfg(feature = "hyper")]
    #[track_caller]
    pub(crate) fn look<R>(&self, code: impl FnOnce(&mut P) -> R) -> R {
        self.0.look(code)
    }

    /// Completes when `connection_lost` has returned, with the error that it got, if any. May be
    /// awaited by several tasks, and again.
    pub fn closed(&self) -> Closed<T> {
        Closed(self.0.transport().clone(), Ticket::default())
    }

    /// The transport.
    pub fn transport(&self) -> &T {
        self.0.transport()
    }
}

impl<P: 'static, T: AnyTransport> Clone for Conn<P, T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<P: 'static, T: AnyTransport + fmt::Debug> fmt::Debug for Conn<P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conn").field(self.transport()).finish()
    }
}

/// The future of [`Conn::closed`].
#[must_use = "futures do nothing unless awaited"]
pub struct Closed<T: AnyTransport = Transport>(T, Ticket);

impl<T: AnyTransport> Future for Closed<T> {
    type Output = io::Result<()>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0.outcome() {
            None => {
                self.0.wakers().wait(&self.1, cx.waker());
                Poll::Pending
            }
            Some(None) => Poll::Ready(Ok(())),
            Some(Some(error)) => Poll::Ready(Err(error.to_io())),
        }
    }
}

impl<T: AnyTransport> Drop for Closed<T> {
    fn drop(&mut self) {
        self.0.wakers().leave(&self.1);
    }
}

impl<T: AnyTransport> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Closed").finish_non_exhaustive()
    }
}
