//! A simulated network for the engine of `sim-core`: a virtual clock, hosts, TCP and UDP, one seed.
//!
//! A world is a pure function of its seed: no wall clock, no threads, no files, no environment, no
//! randomness of the operating system. The same seed gives the same run, to the byte.
//!
//! ```
//! use sim_core::{Cx, Protocol, World};
//! use sim_net::Sim;
//!
//! struct Echo;
//! impl Protocol for Echo {
//!     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
//!         cx.write(data);
//!     }
//! }
//!
//! #[derive(Default)]
//! struct Ping(Vec<u8>);
//! impl Protocol for Ping {
//!     fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
//!         cx.write(b"ping");
//!     }
//!     fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
//!         self.0.extend_from_slice(data);
//!         cx.close();
//!     }
//! }
//!
//! async fn ping_is_echoed(world: World) -> std::io::Result<Vec<u8>> {
//!     let (server, client) = (world.host("server"), world.host("client"));
//!     let _listening = server.create_server(("server", 7000), || Echo).await?;
//!     let conn = client.create_connection(("server", 7000), Ping::default).await?;
//!     conn.closed().await?;
//!     Ok(conn.with(|ping, _| std::mem::take(&mut ping.0)))
//! }
//!
//! let report = Sim::new(1).run(ping_is_echoed);
//! assert_eq!(report.outcome.unwrap(), b"ping");
//! assert_eq!(report.hash, Sim::new(1).run(ping_is_echoed).hash);
//! ```
//!
//! # Where things are
//!
//! | module | what |
//! | --- | --- |
//! | `sim`, `simulation`, `report` | setting up, running, and what came of it |
//! | `scheduler`, `ready_hosts`, `bell` | whose turn it is |
//! | `driver` | what a host offers its engine |
//! | `network`, `host` | the kernels of the hosts |
//! | `memory`, `scheduler/next_world` | what a world leaves to the next |
//! | `wire` | what is between them |
//! | `agenda` | what happens when |
//! | `packet`, `flow` | what travels, and its name |
//! | `link/` | what lies between two hosts: its parts and their text, the pipeline, the delivery |
//! | `partition`, `schedule` | what does not get through, and when |
//! | `links` | both while a world runs, by the test's own hand |
//! | `names/` | what hosts are called, and the name servers that know it |
//! | `faults` | how often each fault bit |
//! | `tcp` | the state machine of RFC 9293, and its sockets |
//! | `udp` | datagram sockets |
//! | `multicast` | datagrams to groups and to everybody |
//! | `process/` | signals, and child processes of programs |
//! | `tun` | a host's packets as bytes, for a stack that is not ours |
//! | `socket_table`, `ports`, `address`, `buffer` | what both are made of |
//! | `decisions` | every choice, as a function of (seed, site, entity, ordinal) |
//! | [`plan`] | what goes wrong, as data and as text |
//! | `plane` | who decides, the seed or a plan; recording and census |
//! | `trace` | what happened: hash, tail, log |
//! | `leftovers` | what is still there when a scenario is done |
//! | `stop_at` | where a run is stopped, to be looked at |
//! | `episodes` | what was so for a while, for a log |
//! | `capture` | what was sent, as a file for Wireshark |

mod address;
mod agenda;
mod bell;
mod buffer;
mod capture;
mod chacha;
mod clock;
mod decisions;
mod disk;
mod driver;
mod episodes;
mod errno;
mod faults;
mod flow;
mod holds;
mod host;
mod host_set;
mod jobs;
mod leftovers;
mod life;
mod link;
mod links;
mod look_ahead;
mod memory;
mod missed;
mod multicast;
mod names;
mod network;
mod operator;
mod orders;
mod packet;
mod partition;
mod peers;
mod places;
pub mod plan;
mod plane;
mod ports;
mod process;
mod properties;
mod ready_hosts;
mod report;
mod schedule;
mod scheduler;
mod sim;
mod simulation;
mod socket_options;
mod socket_table;
mod stop_at;
mod stream_faults;
mod tcp;
mod trace;
mod tun;
mod udp;
mod unix;
mod wire;

pub use capture::Capture;
pub use decisions::{Class, Entity, Site};
pub use flow::Flow;
pub use leftovers::HostLeftovers;
pub use link::{
    Chance, Corruption, Latency, Link, LinkError, LinkRule, Loss, Order, Oversize, Probability,
    Rate,
};
pub use links::{InFlight, LinkHandle, Links};
pub use memory::Memory;
pub use names::operator::Names;
pub use names::{NameFault, Resolver};
pub use operator::{HostOperator, Operator};
pub use partition::{Cut, Effect, HostSet, Partition};
pub use plan::Plan;
pub use plane::binding::{Bindings, Bound};
pub use plane::census::{
    Arrival, Census, Message, Moment, OfferedCall, OfferedPacket, OfferedStream, OfferedWorkload,
    PacketOutline, WriteEnd,
};
pub use plane::exhaustive::Exhaustive;
pub use plane::recording::Recording;
pub use properties::{Claim, PropertyCount, PropertyId};
pub use report::{Finding, FindingKind, Report};
pub use schedule::{Interval, Schedule};
pub use sim::{Sim, new_loop};
pub use simulation::Simulation;
pub use stop_at::{StopAt, StopAtError};
pub use stream_faults::{Boundary, StreamFaults};
pub use tcp::config::TcpConfig;
pub use tcp::congestion::CongestionControl;
pub use trace::{
    DropReason, Entry, Episode, EpisodeKind, HostChange, Log, PacketKind, PacketRecord, Record,
    State, When,
};
pub use tun::{PacketError, Tun};
