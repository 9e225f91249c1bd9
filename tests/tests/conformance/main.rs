//! The contract, statement by statement, on both loops.

mod awaiting;
mod connected;
mod connection;
mod futures;
mod lifecycle;
mod loops;
mod receiving;
mod tasks;
