//! Protocols with workloads and invariants, written once for any loop.
//!
//! Each module is one protocol of the field, as a user of [`sim_core`] would write it, with a
//! workload over a [`World`](sim_core::World) and the invariants that must hold in every run: on a
//! simulated network, with faults or without, and on real sockets. Nothing here knows, or can ask,
//! which loop runs it.
//!
//! | scenario | what it is about |
//! | --- | --- |
//! | [`echo`] | streams, half-close, the end of connections |
//! | [`udp_echo`] | datagrams that may be lost: ids, timers, retries |
//! | [`upload`] | flow control: a large body through small water marks |
//! | [`rpc`] | framing, concurrency, timeouts, retries, at-most-once execution |
//! | [`chat`] | fan-out, and slow readers that do not hurt the others |
//! | [`heartbeat`] | a failure detector |
//! | [`bulk`] | goodput: bodies of some MiB over bad links |
//! | [`partition`] | calls through partitions, resets and restarts: a store, exactly-once execution |
//! | [`arq`] | a reliable stream each way over datagrams: windows, acknowledgements, timeouts |
//! | [`gossip`] | SWIM membership at a constant cost for each host, up to thousands |
//! | [`failover`] | primary, backup and witness: no acknowledged write is lost |
//! | [`starttls`] | mail over TLS that begins in the middle of a connection |
//! | [`supervisor`] | a worker process that crashes, and is started again with back-off |
//! | [`graceful`] | a server that drains on `SIGTERM`, and ends |
//! | [`dispatch`] | workers that may be cancelled wherever they wait: no job and no slot is lost |
//! | [`http`] | hyper: bodies both ways over HTTP/1.1 and HTTP/2, on one port |
//! | [`proxy`] | two transports: back-pressure, ends and errors carried across |
//! | [`pool`] | connections that are lent, checked and let go: limits and time-outs |
//! | [`websocket`](zoo::websocket) | messages in frames, and an end that both sides agree on |
//! | [`http-orders`](zoo::http_orders) | chunked bodies, and orders that are not executed twice |
//! | [`channel`](zoo::channel) | a transport on a transport: windows, water marks, ends |
//! | [`starttls-lines`](zoo::starttls) | lines, then lines in records: what was protected, and what was not |
//! | [`resp`](zoo::resp) | a pool of connections: each reply is that of its own command |
//! | [`dns`](zoo::dns) | a stub resolver: late and doubled answers |
//! | [`mqtt`](zoo::mqtt) | quality of service 2 over connections that break |
//! | [`mux`](zoo::mux) | streams on one connection: credit for each and for all |
//! | [`pubsub`](zoo::pubsub) | subscribers that notice that their broker is gone |
//! | [`raft`](zoo::raft) | an election and a log, among hosts that crash |
//! | [`snapshot`](zoo::snapshot) | a copy of a changing state, by a snapshot and updates |
//! | [`window`](zoo::window) | a sliding window, and a reader that is slow |
//!
//! ```
//! let echo = scenarios::find("echo").expect("it is one of them");
//! assert!(echo.can_serve());
//! assert_eq!(scenarios::all().len(), 30);
//! ```
//!
//! # How they are written
//!
//! A broken invariant is an `Err` with a [`Violation`] that says what was expected, never a panic:
//! a wrong protocol is a finding. Every wait ends, at the latest after [`PATIENCE`]. Random choices
//! come from [`World::rng`](sim_core::World::rng), [`Loop::rng`](sim_core::Loop::rng) and
//! [`World::size`](sim_core::World::size) alone. Codecs and state machines are values without I/O,
//! with unit tests of their own.
//!
//! A scenario says what it stands, its [`FaultMix`](sim_core::FaultMix), and holds to it. Some have
//! *wrong twins*: the same protocol with one line broken, chosen by a `Flaw`, that its invariants are
//! to catch. Those of the [`zoo`] have *mutants*: with a bug that somebody shipped. The [`canary`] is
//! wrong by design: a search that does not find it so is broken.

mod body;
mod digest;
mod ending;
mod endings;
mod journal;
mod patience;
mod progress;
mod service;
mod violation;

pub mod arq;
pub mod bulk;
pub mod canary;
pub mod certificates;
pub mod chat;
pub mod dispatch;
pub mod echo;
pub mod failover;
pub mod gossip;
pub mod graceful;
pub mod heartbeat;
pub mod http;
pub mod partition;
pub mod pool;
pub mod proxy;
pub mod rpc;
pub mod starttls;
pub mod supervisor;
pub mod udp_echo;
pub mod upload;
pub mod zoo;

use sim_core::Scenario;

pub use self::digest::Digest;
pub use self::endings::Endings;
pub use self::patience::{PATIENCE, within};
pub use self::progress::Progress;
pub use self::violation::Violation;

/// Every scenario, in the order in which a command lists them.
pub fn all() -> Vec<Scenario> {
    vec![
        echo::scenario(),
        udp_echo::scenario(),
        upload::scenario(),
        rpc::scenario(),
        chat::scenario(),
        heartbeat::scenario(),
        bulk::scenario(),
        partition::scenario(),
        arq::scenario(),
        gossip::scenario(),
        failover::scenario(),
        starttls::scenario(),
        supervisor::scenario(),
        graceful::scenario(),
        dispatch::scenario(),
        http::scenario(),
        proxy::scenario(),
        pool::scenario(),
        zoo::websocket::scenario(),
        zoo::http_orders::scenario(),
        zoo::channel::scenario(),
        zoo::starttls::scenario(),
        zoo::resp::scenario(),
        zoo::dns::scenario(),
        zoo::mqtt::scenario(),
        zoo::mux::scenario(),
        zoo::pubsub::scenario(),
        zoo::raft::scenario(),
        zoo::snapshot::scenario(),
        zoo::window::scenario(),
    ]
}

/// The scenario called `name`: one of [`all`], a mutant of the [`zoo`], by its id,
/// [`raft3`](zoo::raft::raft3), or the [`canary`].
pub fn find(name: &str) -> Option<Scenario> {
    let mutant = || zoo::specimens().into_iter().find(|specimen| specimen.id == name);
    let unlisted = [zoo::raft::raft3(), canary::scenario()];
    let found = all().into_iter().chain(unlisted).find(|scenario| scenario.name() == name);
    found.or_else(|| Some((mutant()?.mutant)()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_summaries_are_one_line() {
        let scenarios = all();
        for scenario in &scenarios {
            let same = scenarios.iter().filter(|other| other.name() == scenario.name());
            assert_eq!(same.count(), 1, "{}", scenario.name());
            assert!(!scenario.summary().is_empty() && !scenario.summary().contains('\n'));
        }
    }

    #[test]
    fn those_that_one_host_alone_can_serve_have_a_server_half() {
        let without: Vec<_> =
            all().into_iter().filter(|scenario| !scenario.can_serve()).map(|s| s.name()).collect();
        let of_zoo: Vec<_> = zoo::specimens().iter().map(|s| (s.twin)().name()).collect();
        let without: Vec<_> = without.into_iter().filter(|name| !of_zoo.contains(name)).collect();
        assert_eq!(
            without,
            [
                "heartbeat",
                "partition",
                "arq",
                "gossip",
                "failover",
                "supervisor",
                "graceful",
                "dispatch"
            ]
        );
        assert!(find("raft3").is_some());
        assert!(find("no such scenario").is_none());
    }
}
