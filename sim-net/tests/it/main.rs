//! The virtual driver under the engine: what a protocol meets on a simulated network.

mod determinism;
mod hosts;
mod protocols;
mod scheduling;
mod tcp;
mod udp;
