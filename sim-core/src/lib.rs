//! One asyncio-like Transport/Protocol API over any loop.
//!
//! A protocol is a plain value whose callbacks a loop calls. The loop is the engine of this crate
//! over a [`driver`]: the simulator's (crate `sim-net`), the operating system's (`real-net`), or a
//! scripted one for unit tests ([`testing`]). Flow control, connection life cycle, timers, tasks
//! and their order are engine code, so what a simulated run proves about them is proved about the
//! code that runs in production.
//!
//! ```
//! use sim_core::{Cx, Protocol, testing};
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
//!         cx.write(data);
//!     }
//! }
//!
//! let mut peer = testing::drive(Echo);
//! peer.feed(b"hello");
//! assert_eq!(peer.take_written(), b"hello");
//! ```
//!
//! # The map
//!
//! | where | what |
//! | --- | --- |
//! | [`Protocol`], [`BufferedProtocol`], [`DatagramProtocol`] | what a user implements |
//! | [`Cx`], [`Conn`], [`Transport`], [`DatagramTransport`] | how a protocol acts, from inside and from outside |
//! | [`Loop`], [`EventLoop`] | asyncio's loop, as a handle and as an owned value with a life cycle |
//! | [`Task`], [`LoopFuture`], [`combinators`], [`catch_cancel`] | asyncio's tasks, futures and their combinators |
//! | [`stream`] | connections for tasks: readers, writers, and the traits of `futures` |
//! | [`subprocess`], [`Signal`] | child processes and signals |
//! | [`sync`], [`queue`] | locks, events, semaphores, barriers and queues, fair and cancel-safe |
//! | [`layer`], [`tls`] (with the feature `tls`) | TLS and the like, over any stream |
//! | [`hyper`] (with the feature `hyper`) | HTTP/1 and HTTP/2 |
//! | [`World`], [`Scenario`] | named hosts, and what runs over them |
//! | [`history`] | what clients were told, and whether that can be: linearizability |
//! | [`property`] | what always holds, sometimes happens, is reached, holds in the end |
//! | [`engine`], [`driver`] | the iteration, and the seam below it |
//! | [`trace`] | what an engine does, step by step |
//! | [`contract`] | what every callback and method does, by id |
//!
//! # The law
//!
//! Calls go down at once; events come up only from the loop. `write` hands bytes to the driver
//! immediately, and no user code ever runs inside a call on a transport. A crossing of the
//! high-water mark shows at once in [`Transport::is_writable`]; `pause_writing` is delivered right
//! after the callback or task step that caused it, before any other event of any connection.

mod address;
mod arena;
pub mod cache;
mod cell;
pub mod combinators;
mod conn;
mod connect;
mod current;
mod cx;
mod datagram;
pub mod driver;
mod endpoint;
pub mod engine;
mod error;
mod event_loop;
mod executor;
mod future;
mod handle;
pub mod history;
#[cfg(feature = "hyper")]
pub mod hyper;
pub mod layer;
mod multicast;
mod names;
mod pipe;
pub mod program;
pub mod property;
mod protocol;
pub mod queue;
mod ready_handlers;
mod rng;
mod runner;
mod scenario;
mod sendfile;
mod server;
mod signal;
pub mod slots;
mod socket;
mod socket_buffers;
mod socket_file;
mod store;
pub mod stream;
pub mod subprocess;
pub mod sync;
mod task;
mod tcp_options;
pub mod testing;
mod time;
pub mod time_queue;
mod timer;
#[cfg(feature = "tls")]
pub mod tls;
pub mod trace;
mod transport;
mod unix_addr;
mod unix_endpoint;
mod wakers;
mod world;

pub use address::{Address, DatagramAddress, HostPort, Port, ToHostPort};
pub use conn::{Closed, Conn};
pub use connect::Connecting;
pub use current::{current_host, current_time};
pub use cx::Cx;
pub use datagram::DatagramTransport;
pub use endpoint::DatagramBuilder;
pub use engine::report::{ErrorContext, ExceptionHandler};
pub use error::{
    AddressError, CallbackPanicked, Cancelled, Elapsed, RunError, SharedError, TaskError,
};
pub use event_loop::{EventLoop, StopHandle};
pub use executor::{Executing, Executor, Job};
pub use future::{DoneCallbackId, FutureError, LoopFuture};
pub use handle::{HostView, Loop, PanicPolicy};
pub use names::{Hints, NameInfo, ResolveError, ResolveFailure};
pub use pipe::{PipeEnd, PipeReader, PipeWriter};
pub use protocol::{Attach, BufferedProtocol, DatagramProtocol, Eof, Protocol};
pub use rng::Rng;
pub use runner::Runner;
pub use scenario::{Failure, FaultMix, Outcome, Scenario, Serving};
pub use server::{Server, ServerBuilder};
pub use signal::{DefaultAction, Signal};
pub use socket::Socket;
pub use store::{Reading, Storage, Store};
pub use task::{Sleep, Task, catch_cancel};
pub use tcp_options::Keepalive;
pub use time::Time;
pub use timer::{Handle, Timer};
pub use transport::{Transport, TransportSocket, WriteBufferLimits};
pub use unix_addr::{ToUnixAddr, UnixAddr};
pub use unix_endpoint::UnixDatagramBuilder;
pub use world::{Boot, World, WorldBackend};

#[doc = include_str!("../docs/contract.md")]
pub mod contract {}
