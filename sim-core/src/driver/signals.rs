//! What a backend with signals provides beside [`Driver`](super::Driver).

use std::io;

use super::Source;
use crate::Signal;

/// Signals: [`Driver::signals`](super::Driver::signals) of a backend that has them.
///
/// A watched signal is a [`Source`] like a socket: it is [registered](super::Driver::register),
/// becomes readable when the signal comes, and is [closed](super::Driver::close) when nobody handles
/// the signal any more. Until then the signal does not do what it does by default.
pub trait Signals {
    /// Takes a signal over from its default action.
    ///
    /// # Errors
    ///
    /// What installing a handler gives, and `EMFILE` and its kin.
    fn watch(&self, signal: Signal) -> io::Result<Source>;

    /// How often the watched signal came since it was last asked. A kernel may count several for
    /// one.
    ///
    /// # Errors
    ///
    /// When the source is not a watched signal.
    fn take_signals(&self, source: Source) -> io::Result<usize>;

    /// Sends the process of this loop a signal, which does what it does to it: its watch becomes
    /// readable, or its default action is carried out.
    ///
    /// # Errors
    ///
    /// What `kill` gives.
    fn raise(&self, signal: Signal) -> io::Result<()>;
}
