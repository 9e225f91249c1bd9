//! Layers over streams: TLS, and whatever else turns one stream of bytes into another.
//!
//! A [`Layer`] is a value without input or output of its own: bytes go in, bytes come out. A stream
//! transport hosts it, between its socket and its protocol, and sees to what every layer needs: the
//! handshake and its time limit, order, flow control in both directions, the two goodbyes of an
//! orderly end, and the loss of the connection underneath. The [`Transport`] stays the same handle
//! throughout; layers may lie upon layers.
//!
//! With the feature `tls`, [`tls`](crate::tls) has the one that most programs want.
//!
//! # Where it stands
//!
//! ```text
//! unwrapped ─▶ handshake ─▶ wrapped ─▶ flushing ─▶ shutdown ─▶ unwrapped
//! ```
//!
//! Any of them may fall back to *unwrapped*, which is the end (contract F-01). The protocol hears of
//! the connection when the handshake has succeeded, and of nothing if it has not (F-02, F-03).
//!
//! * *Flushing* begins with [`Transport::close`], or with the peer's end: what was written is still
//!   sent, and what comes is dropped (F-12, F-18).
//! * *Shutdown*: our goodbye is sent, the peer's is awaited. Both together take the shutdown timeout at
//!   most (F-13).

mod closing;
mod hosting;
mod reading;
mod upgrade;
mod writing;

use std::any::Any;
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

pub(crate) use self::hosting::Layered;
pub use self::upgrade::Upgrade;
use crate::Loop;
#[cfg(doc)]
use crate::Transport;

/// A transformation of a stream of bytes in both directions, with a handshake before and a goodbye
/// after it.
///
/// *Plain* is what the protocol reads and writes, *below* is what travels. Nothing here waits or
/// calls back. The host asks for [`take_output`](Self::take_output) at first, and after each
/// [`receive`](Self::receive) and [`close`](Self::close). One that panics, or whose factory does,
/// takes its connection along.
///
/// ```
/// use sim_core::layer::{Layer, LayerFactory};
/// use sim_core::{Loop, Protocol};
/// use std::io;
///
/// /// Turns every byte around: no handshake, no goodbye.
/// struct Inverted;
/// impl Layer for Inverted {
///     fn receive(&mut self, below: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
///         plain.extend(below.iter().map(|byte| !byte));
///         Ok(())
///     }
///     fn send(&mut self, plain: &[u8], below: &mut Vec<u8>) -> io::Result<()> {
///         below.extend(plain.iter().map(|byte| !byte));
///         Ok(())
///     }
///     fn take_output(&mut self, _below: &mut Vec<u8>) {}
///     fn is_handshaking(&self) -> bool { false }
///     fn close(&mut self) {}
///     fn is_closed_by_peer(&self) -> bool { false }
/// }
///
/// struct Inversion;
/// impl LayerFactory for Inversion {
///     fn make(&self, _lp: &Loop, _connection: u32) -> io::Result<Box<dyn Layer>> {
///         Ok(Box::new(Inverted))
///     }
/// }
///
/// async fn upside_down<P: Protocol>(client: Loop, protocol: P) -> io::Result<()> {
///     client.connection().layer(Inversion).connect(("server", 7000), || protocol).await?;
///     Ok(())
/// }
/// # drop(upside_down::<Never>);
/// # struct Never;
/// # impl Protocol for Never {
/// #     fn data_received(&mut self, _: &mut sim_core::Cx<'_, Self>, _: &[u8]) {}
/// # }
/// ```
pub trait Layer {
    /// Takes bytes that came from below, and appends what they say to `plain`.
    ///
    /// # Errors
    ///
    /// If they are not what the peer may send. What came before the fault is in `plain`; the layer is
    /// not used any more but for what it still has to tell the peer.
    fn receive(&mut self, below: &[u8], plain: &mut Vec<u8>) -> io::Result<()>;

    /// Appends to `below` what is to travel for `plain`. Called after the handshake alone.
    ///
    /// # Errors
    ///
    /// If it can send no more; that ends the connection.
    fn send(&mut self, plain: &[u8], below: &mut Vec<u8>) -> io::Result<()>;

    /// Appends to `below` what the layer has to say for itself: its part of the handshake, answers,
    /// alerts, its goodbye.
    fn take_output(&mut self, below: &mut Vec<u8>);

    /// True until the handshake is over.
    fn is_handshaking(&self) -> bool;

    /// Says goodbye: nothing is sent after it.
    fn close(&mut self);

    /// True if the peer has said goodbye: it will send no more.
    fn is_closed_by_peer(&self) -> bool;

    /// What the handshake agreed upon, for who knows the layer's type. Asked once, after it.
    fn info(&self) -> Option<Rc<dyn Any>> {
        None
    }
}

/// Makes the [`Layer`] of each connection.
pub trait LayerFactory {
    /// A layer for the loop's transport with this number.
    ///
    /// # Errors
    ///
    /// If there can be none; they are the handshake's.
    fn make(&self, lp: &Loop, connection: u32) -> io::Result<Box<dyn Layer>>;

    /// What its hosts are to hold the connections to.
    fn options(&self) -> LayerOptions {
        LayerOptions::default()
    }
}

/// What the host of a layer holds a connection to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LayerOptions {
    /// How long the handshake may take; more than nothing. 60 s by default (contract F-05).
    pub handshake_timeout: Duration,
    /// How long the end may take, from [`Transport::close`] to the peer's goodbye; more than nothing.
    /// 30 s by default (F-13).
    pub shutdown_timeout: Duration,
    /// Whether an end of the stream below without the peer's goodbye is an error, `UnexpectedEof`, as
    /// somebody may have cut the stream short. By default it is an end like any other (F-14).
    pub require_goodbye: bool,
}

impl Default for LayerOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(60),
            shutdown_timeout: Duration::from_secs(30),
            require_goodbye: false,
        }
    }
}

impl LayerOptions {
    fn check(&self) -> io::Result<()> {
        let limits = [("handshake", self.handshake_timeout), ("shutdown", self.shutdown_timeout)];
        match limits.iter().find(|(_, timeout)| timeout.is_zero()) {
            None => Ok(()),
            Some((name, _)) => {
                let text = format!("the {name} timeout of a layer is more than nothing");
                Err(io::Error::new(io::ErrorKind::InvalidInput, text))
            }
        }
    }
}

impl fmt::Debug for dyn LayerFactory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerFactory").field("options", &self.options()).finish_non_exhaustive()
    }
}
