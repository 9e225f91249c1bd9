//! The bug zoo: twins hold, mutants are caught, and by what they are said to be caught by.

mod dns;
mod mqtt;
mod mux;
mod pubsub;
mod raft;
mod snapshot;
mod specimens;
mod trial;
mod window;
