//! The contract, statement by statement, on both loops.

mod connected;
mod connection;
mod receiving;
