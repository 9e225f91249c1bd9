//! How a protocol acts from inside its callbacks.

use std::any::type_name;
use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::panic::Location;
use std::time::Duration;

use crate::cell::{Mailbox, PartMailbox};
use crate::conn::AnyTransport;
use crate::protocol::Attach;
use crate::timer::{Handle, Timer};
use crate::{Conn, Loop, Time, Transport};

/// What a callback acts through: the transport, and what needs the protocol's type.
///
/// It derefs to the transport, so `cx.write(..)` and `cx.close()` are
/// [`Transport`](crate::Transport)'s methods. It adds the loop's scheduling, with closures that get
/// the protocol itself. What is scheduled through it belongs to the connection: it is cancelled
/// when `connection_lost` has returned (contract, ruling 11).
///
/// ```
/// use sim_core::{Cx, Protocol, Timer, testing};
/// use std::time::Duration;
///
/// #[derive(Default)]
/// struct Impatient { idle: Option<Timer> }
/// impl Protocol for Impatient {
///     fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
///         self.idle = Some(cx.call_later(Duration::from_secs(5), |_, cx| cx.abort()));
///     }
///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, _data: &[u8]) {
///         // Assigning drops, so cancels, the old timer.
///         self.idle = Some(cx.call_later(Duration::from_secs(5), |_, cx| cx.abort()));
///     }
/// }
///
/// let mut peer = testing::drive(Impatient::default());
/// peer.advance(Duration::from_secs(4));
/// peer.feed(b"still here");
/// peer.advance(Duration::from_secs(4));
/// assert!(!peer.is_lost());
/// peer.advance(Duration::from_secs(1));
/// assert!(peer.is_lost());
/// ```
pub struct Cx<'a, P: 'static, T: AnyTransport = Transport> {
    transport: &'a T,
    mailbox: &'a dyn Mailbox<P, T>,
}

impl<'a, P: 'static, T: AnyTransport> Cx<'a, P, T> {
    pub(crate) fn new(transport: &'a T, mailbox: &'a dyn Mailbox<P, T>) -> Self {
        Self { transport, mailbox }
    }

    /// The transport, to keep.
    pub fn transport(&self) -> &'a T {
        self.transport
    }

    /// The loop.
    pub fn event_loop(&self) -> &'a Loop {
        self.transport.event_loop()
    }

    /// Runs `callback` on the protocol in the next iteration.
    #[track_caller]
    pub fn call_soon<F>(&self, callback: F) -> Handle
    where
        F: FnOnce(&mut P, &mut Cx<'_, P, T>) + 'static,
    {
        self.mailbox.post_soon(Some(Location::caller()), Box::new(callback))
    }

    /// Runs `callback` on the protocol after `delay`. Dropping the timer cancels it.
    #[track_caller]
    pub fn call_later<F>(&self, delay: Duration, callback: F) -> Timer
    where
        F: FnOnce(&mut P, &mut Cx<'_, P, T>) + 'static,
    {
        self.call_at(self.event_loop().time() + delay, callback)
    }

    /// Runs `callback` on the protocol at `when`. Dropping the timer cancels it.
    #[track_caller]
    pub fn call_at<F>(&self, when: Time, callback: F) -> Timer
    where
        F: FnOnce(&mut P, &mut Cx<'_, P, T>) + 'static,
    {
        self.mailbox.post_at(when, Location::caller(), Box::new(callback))
    }

    /// Runs `future` as a task of the connection, and `then` on the protocol with its output.
    ///
    /// The task is cancelled when `connection_lost` has returned, or the protocol is replaced.
    #[track_caller]
    pub fn spawn<F, C>(&self, future: F, then: C)
    where
        F: Future + 'static,
        C: FnOnce(&mut P, &mut Cx<'_, P, T>, F::Output) + 'static,
    {
        let (mailbox, place) = (self.mailbox.to_rc(), Some(Location::caller()));
        let task = self.event_loop().create_task(async move {
            let output = future.await;
            mailbox.post_soon(place, Box::new(move |protocol, cx| then(protocol, cx, output)));
        });
        self.mailbox.adopt(task);
    }

    /// The pair of transport and protocol, to keep.
    ///
    /// # Panics
    ///
    /// In a part that was [lent](Self::lend): a part is no connection's protocol.
    #[track_caller]
    pub fn conn(&self) -> Conn<P, T> {
        match self.mailbox.cell() {
            Some(cell) => Conn::new(cell),
            None => panic!(
                "{} is lent as a part of another protocol: it has no conn()",
                type_name::<P>()
            ),
        }
    }

    /// Lends a part of the protocol a context of its own, typed for the part, for the time of
    /// `code`: how a protocol wraps another.
    ///
    /// `project` finds the part again when something that the part scheduled comes due; if it
    /// returns `None` then, the part is gone and the callback is dropped.
    ///
    /// ```
    /// use sim_core::{Cx, Protocol, testing};
    ///
    /// struct Shout;
    /// impl Protocol for Shout {
    ///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
    ///         cx.write(&data.to_ascii_uppercase());
    ///     }
    /// }
    ///
    /// /// Hands everything after a greeting to another protocol.
    /// struct Greeted { inner: Option<Shout> }
    /// impl Protocol for Greeted {
    ///     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
    ///         let inner = self.inner.get_or_insert(Shout);
    ///         cx.lend(|this: &mut Self| this.inner.as_mut(), |cx| inner.data_received(cx, data));
    ///     }
    /// }
    ///
    /// let mut peer = testing::drive(Greeted { inner: None });
    /// peer.feed(b"hey");
    /// assert_eq!(peer.take_written(), b"HEY");
    /// ```
    pub fn lend<Q: 'static, R>(
        &self,
        project: fn(&mut P) -> Option<&mut Q>,
        code: impl FnOnce(&mut Cx<'_, Q, T>) -> R,
    ) -> R {
        let mailbox = PartMailbox { whole: self.mailbox, project };
        code(&mut Cx { transport: self.transport, mailbox: &mailbox })
    }
}

impl<P: 'static> Cx<'_, P> {
    /// [`Transport::set_protocol`] of the connection.
    ///
    /// # Panics
    ///
    /// In a part that was [lent](Self::lend): only the whole may give the connection away.
    #[track_caller]
    pub fn set_protocol<Q, K>(&self, protocol: Q) -> Conn<Q>
    where
        Q: Attach<K>,
    {
        assert!(
            self.mailbox.cell().is_some(),
            "{} is lent as a part of another protocol: it has no set_protocol()",
            type_name::<P>()
        );
        self.transport.set_protocol(protocol)
    }
}

impl<P: 'static, T: AnyTransport> Deref for Cx<'_, P, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.transport
    }
}

impl<P: 'static, T: AnyTransport + fmt::Debug> fmt::Debug for Cx<'_, P, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cx").field("transport", self.transport).finish_non_exhaustive()
    }
}
