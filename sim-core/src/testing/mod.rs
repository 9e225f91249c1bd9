//! Drives one protocol with no network at all: unit tests of protocols.
//!
//! [`drive`] gives a protocol a connection whose other end is the test: feed it bytes, read what
//! it wrote, make the network take less than it writes, let time pass. The engine is the real one,
//! over the smallest complete [`Driver`](crate::driver::Driver), so callbacks come exactly as
//! they do everywhere else.
//!
//! ```
//! use sim_core::{Cx, Protocol, WriteBufferLimits, testing};
//!
//! #[derive(Default)]
//! struct Source { paused: bool }
//! impl Protocol for Source {
//!     fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
//!         cx.set_write_buffer_limits(WriteBufferLimits { high: 10, low: 4 }).unwrap();
//!         cx.write(&[7; 20]);
//!     }
//!     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
//!     fn pause_writing(&mut self, _cx: &mut Cx<'_, Self>) {
//!         self.paused = true;
//!     }
//!     fn resume_writing(&mut self, _cx: &mut Cx<'_, Self>) {
//!         self.paused = false;
//!     }
//! }
//!
//! let mut peer = testing::drive_with_window(Source::default(), 5);
//! assert!(peer.with(|source, _| source.paused));
//! peer.take(10); // 5 bytes are left: above the low-water mark
//! assert!(peer.with(|source, _| source.paused));
//! peer.take(1);
//! assert!(!peer.with(|source, _| source.paused));
//! ```

mod datagram_peer;
mod peer;
mod script;

pub use self::datagram_peer::{DatagramPeer, drive_connected_datagrams, drive_datagrams};
pub use self::peer::{Peer, drive, drive_with_window};
pub use self::script::ScriptDriver;

use std::rc::Rc;

use crate::EventLoop;
use crate::engine::{Engine, EngineMemory};

/// An engine whose clock stands at zero and whose network is empty.
pub fn engine() -> Engine {
    Engine::new(Rc::new(ScriptDriver::new()), EngineMemory::default())
}

/// A bare loop over a virtual clock and no network: for tests of timers, tasks and futures.
pub fn new_loop() -> EventLoop {
    EventLoop::new(engine())
}
