//! The contract, statement by statement, on both loops.

mod awaiting;
mod buffered;
mod connected;
mod connection;
mod flow;
mod futures;
mod lifecycle;
mod lifetimes;
mod loops;
mod panics;
mod receiving;
mod tasks;
mod warnings;
mod writing;
