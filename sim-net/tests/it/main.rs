//! The virtual driver under the engine: what a protocol meets on a simulated network.

mod backlog;
mod cancellations;
mod clocks;
mod determinism;
mod frozen;
mod holds;
mod hosts;
mod leftovers;
mod links;
mod multicast;
mod names;
mod partitions;
mod plans;
mod processes;
mod properties;
mod protocols;
mod replays;
mod scheduling;
mod segments;
mod socket_options;
mod stream_faults;
mod tcp;
mod tun;
mod tun_icmp;
mod udp;
mod unix;
