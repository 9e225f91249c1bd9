//! TCP, at the granularity of segments, in the words of RFC 9293.
//!
//! [`connection`] is a state machine without any input or output of its own: segments, calls and
//! times go in; segments, readiness and a deadline come out. [`send`] and [`receive`] are its two
//! halves. [`stream`] joins a connection to the wire, [`stack`] to sockets and hosts. `linux-tcp` statements
//! (L-nn) say which choice is made where the RFC leaves one.

pub(crate) mod connection;
pub(crate) mod receive;
pub(crate) mod segment;
pub(crate) mod send;
pub(crate) mod stack;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod time_wait;
