//! The virtual driver under the engine: what a protocol meets on a simulated network.

mod determinism;
mod hosts;
mod links;
mod partitions;
mod plans;
mod properties;
mod protocols;
mod scheduling;
mod segments;
mod stream_faults;
mod tcp;
mod tun;
mod udp;
mod unix;
