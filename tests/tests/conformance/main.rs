//! The contract, statement by statement, on both loops.

mod accepting;
mod awaiting;
mod buffered;
mod combinators;
mod connected;
mod connection;
mod flow;
mod futures;
mod groups;
mod lifecycle;
mod lifetimes;
mod loops;
mod panics;
mod receiving;
mod servers;
mod serving;
mod tasks;
mod timeouts;
mod warnings;
mod writing;
