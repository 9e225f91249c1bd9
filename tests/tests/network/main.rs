//! What the simulated TCP is held to: over whole hosts and links, beside Linux's figures.
//!
//! Plain runs take few seeds and hold them to the bounds. `NETWORK_SEEDS=100` takes as many of each
//! cell and compares the tables with those committed in `snapshots`; it wants a release build.

mod completion;
mod errors;
mod goodput;
mod integrity;
mod linux;
mod opening;
mod partitioned;
mod process;
mod reordered;
mod seeds;
mod steady;
mod stream;
mod transfer;
mod weather;
