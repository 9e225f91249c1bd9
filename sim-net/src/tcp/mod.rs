//! TCP, at the granularity of segments, in the words of RFC 9293.
//!
//! [`connection`] is a state machine without any input or output of its own: segments, calls and
//! times go in; segments, readiness and a deadline come out. `linux-tcp` statements (L-nn) say which
//! choice is made where the RFCs leave one.
//!
//! | module | what |
//! | --- | --- |
//! | [`connection`], [`arrival`], [`timers`] | states and calls; what a segment does; what time does |
//! | [`config`], [`initial`], [`counters`] | what a connection is made with, where its numbers begin, and what it has done |
//! | [`segment`], [`stamps`] | headers and their options |
//! | [`send`], [`flights`], [`queue`] | the sending half, and what of it is on its way |
//! | [`rtt`], [`congestion`] | how long to wait, and how much to send |
//! | [`recovery`], [`rack`], [`probe`] | what is done when something is missing |
//! | [`receive`], [`reassembly`], [`autotune`] | the receiving half, what waits beyond a gap, and its buffer |
//! | [`stream`], [`stack`], [`connections`], [`time_wait`] | a connection on the wire, the sockets of a host, which is whose, and what is left |

mod arrival;
mod autotune;
pub(crate) mod config;
pub(crate) mod congestion;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod counters;
mod flights;
mod initial;
mod oracle;
mod probe;
mod queue;
mod rack;
mod reassembly;
pub(crate) mod receive;
mod recovery;
mod rtt;
pub(crate) mod segment;
pub(crate) mod send;
pub(crate) mod stack;
mod stamps;
pub(crate) mod stream;
#[cfg(test)]
mod tests;
pub(crate) mod time_wait;
mod timers;
