//! Real bugs of real protocols, each beside its correct twin.
//!
//! A *specimen* is a protocol and the same protocol with a bug that somebody shipped: a mutant of one
//! to five lines. What catches the mutant is the protocol's own property. The twin holds under
//! everything that its [`FaultMix`](sim_core::FaultMix) names. The zoo measures whether a search
//! finds such bugs, how fast, and how small it makes them.

pub mod channel;
pub mod dns;
pub mod http;
pub mod mqtt;
pub mod mux;
pub mod pubsub;
pub mod raft;
pub mod resp;
pub mod snapshot;
pub mod starttls;
pub mod websocket;
pub mod window;

use sim_core::Scenario;

/// What streams show to a protocol whose client connects again: all of [`FaultMix::ROUGH`] but accepts
/// that fail. A listener rests for a second behind each of them, and no client is so patient.
///
/// [`FaultMix::ROUGH`]: sim_core::FaultMix::ROUGH
const RECONNECTING: &str =
    "boundary,short-write,coalesce,stall,delay-fin,spurious,rst,accept-reset,connect";

/// A bug and the protocol that it was found in.
#[derive(Debug, Clone, Copy)]
pub struct Specimen {
    /// What the zoo calls it, such as `Z01`; the name of the mutant, too.
    pub id: &'static str,
    /// What is wrong, in a line.
    pub bug: &'static str,
    /// Where it happened, such as `espressif/esp-idf#14704`.
    pub seen_in: &'static str,
    /// The fewest deviations from a faultless run that show it; an interval counts as one.
    pub minimum: usize,
    /// The protocol as it should be.
    pub twin: fn() -> Scenario,
    /// The protocol with the bug.
    pub mutant: fn() -> Scenario,
}

/// Every specimen, in the order of their ids.
pub fn specimens() -> Vec<Specimen> {
    let mut all = Vec::new();
    all.extend(channel::SPECIMENS);
    all.extend(dns::SPECIMENS);
    all.extend(http::SPECIMENS);
    all.extend(mqtt::SPECIMENS);
    all.extend(mux::SPECIMENS);
    all.extend(pubsub::SPECIMENS);
    all.extend(raft::SPECIMENS);
    all.extend(resp::SPECIMENS);
    all.extend(snapshot::SPECIMENS);
    all.extend(starttls::SPECIMENS);
    all.extend(websocket::SPECIMENS);
    all.extend(window::SPECIMENS);
    all.sort_by_key(|specimen| specimen.id);
    all
}
