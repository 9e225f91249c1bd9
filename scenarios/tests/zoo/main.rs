//! The bug zoo: twins hold under everything that they say they stand, and mutants are caught by it.
//!
//! Each twin is swept over 300 seeds; `ZOO_SEEDS` is another number.

#![allow(
    clippy::disallowed_methods,
    reason = "a test reads how far to sweep from the environment; the runs do not"
)]

mod keeper;
mod trial;

mod channel;
mod dns;
mod http_orders;
mod mqtt;
mod mux;
mod pubsub;
mod raft;
mod resp;
mod snapshot;
mod starttls;
mod websocket;
mod window;
