//! Real sockets below the loop: the driver over [mio], a world on loopback, and what a server needs
//! to be deployed. Linux only.
//!
//! A protocol that was tested in the simulator runs here unchanged, on the same engine:
//!
//! ```
//! use std::io;
//! use sim_core::World;
//!
//! async fn two_hosts_have_names(world: World) -> io::Result<()> {
//!     let client = world.host("client");
//!     world.host("server");
//!     assert_eq!(client.getaddrinfo(("server", 7000)).await?.len(), 1);
//!     Ok(())
//! }
//!
//! real_net::run(two_hosts_have_names)?;
//! # io::Result::Ok(())
//! ```
//!
//! # The map
//!
//! | where | what |
//! | --- | --- |
//! | [`new_loop`] | a bare loop, asyncio's `new_event_loop` |
//! | [`run`], [`Runner`], [`run_report`] | a scenario in a world of named hosts on loopback |
//! | [`workers`] | a loop per core, all serving one port |
//! | [`file()`] | a file of the machine, to be sent by `Loop::sendfile` |
//! | [`ThreadPool`] | threads for what blocks, asyncio's executor |
//! | [`Remote`] | callbacks from other threads, asyncio's `call_soon_threadsafe` |
//! | [`Watched`] | readiness of a descriptor of the user's own, asyncio's `add_reader` and `add_writer` |
//! | [`shutdown_signal`] | `SIGTERM` and `SIGINT` as a future |
//! | [`MioDriver`] | what the loop stands on |
//!
//! # What differs from a simulation
//!
//! Time passes by itself; timers are up to a millisecond late, never early. Random streams are
//! seeded by the operating system. The order of readiness among connections is the kernel's (contract
//! A-28). A panic in a callback is contained, and [`run`] fails afterwards. Threads may wake tasks.
//!
//! [mio]: https://docs.rs/mio

#[cfg(not(target_os = "linux"))]
compile_error!("real-net supports Linux only");

mod alarm;
mod block;
mod driver;
mod executor;
mod files;
mod level_selector;
mod multicast;
mod pipes;
mod pool;
mod processes;
mod remote;
mod resolver;
mod run;
mod shutdown;
mod signals;
mod sockets;
mod unix;
mod watched;
mod workers;
mod world;

pub use driver::MioDriver;
pub use executor::ThreadPool;
pub use files::file;
pub use pipes::NotTaken;
pub use remote::{LoopClosed, Remote};
pub use run::{
    ContainedPanics, LIMIT_DEFAULT, Report, Runner, TimedOut, new_loop, new_loop_and_driver, run,
    run_report,
};
pub use shutdown::{Shutdown, ShutdownSignal, shutdown_signal};
pub use watched::Watched;
pub use workers::{WorkerPool, Workers, workers};
