//! Real bugs of real protocols, each beside its correct twin.
//!
//! A *specimen* is a protocol and the same protocol with a bug that somebody shipped: a mutant of one
//! to five lines. What catches the mutant is the protocol's own property. The twin holds under
//! everything that its [`FaultMix`](sim_core::FaultMix) names. The zoo measures whether a search
//! finds such bugs, how fast, and how small it makes them.

pub mod channel;
pub mod dns;
pub mod http_orders;
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
pub(crate) const RECONNECTING: &str =
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
    vec![
        Specimen {
            id: "Z01",
            bug: "the two bytes that begin a frame are taken to come together",
            seen_in: "espressif/esp-idf#14704",
            minimum: 1,
            twin: websocket::scenario,
            mutant: || websocket::with_bug(websocket::Bug::AtomicStart),
        },
        Specimen {
            id: "Z02",
            bug: "a length of 0 stands for a header that was not read yet",
            seen_in: "eclipse-mosquitto/mosquitto#3721",
            minimum: 1,
            twin: websocket::scenario,
            mutant: || websocket::with_bug(websocket::Bug::LengthAsState),
        },
        Specimen {
            id: "Z03",
            bug: "the two bytes that end the size of a chunk are taken to come together",
            seen_in: "benoitc/hackney#901",
            minimum: 1,
            twin: http_orders::scenario,
            mutant: || http_orders::with_bug(http_orders::Bug::EndOfSizeInHalves),
        },
        Specimen {
            id: "Z05",
            bug: "a channel is shut while something still waits to be sent",
            seen_in: "hyperium/hyper#4018",
            minimum: 1,
            twin: channel::scenario,
            mutant: || channel::with_bug(channel::Bug::ClosesUnflushed),
        },
        Specimen {
            id: "Z06",
            bug: "an end that comes with the last data is told before them, and they are lost",
            seen_in: "netty/netty#4317",
            minimum: 1,
            twin: channel::scenario,
            mutant: || channel::with_bug(channel::Bug::EndBeforeData),
        },
        Specimen {
            id: "Z08",
            bug: "plain text behind STARTTLS is taken for what came through the layer",
            seen_in: "CVE-2011-0411",
            minimum: 1,
            twin: starttls::scenario,
            mutant: || starttls::with_bug(starttls::Bug::KeepsPlaintext),
        },
        Specimen {
            id: "Z09",
            bug: "the end of a connection without close_notify is taken for the end of the stream",
            seen_in: "rustls/ktls#74",
            minimum: 1,
            twin: starttls::scenario,
            mutant: || starttls::with_bug(starttls::Bug::EndWithoutNotify),
        },
        Specimen {
            id: "Z12",
            bug: "writing is resumed on what was aborted while it was paused",
            seen_in: "Kludex/zuvloop#33",
            minimum: 1,
            twin: channel::scenario,
            mutant: || channel::with_bug(channel::Bug::ResumesWhenAborted),
        },
        Specimen {
            id: "Z13",
            bug: "a connection goes back to its pool although replies are to come over it",
            seen_in: "redis-rs/redis-rs#1252",
            minimum: 1,
            twin: resp::scenario,
            mutant: || resp::with_bug(resp::Bug::KeepsOwing),
        },
        Specimen {
            id: "Z14",
            bug: "what is not to be done twice is asked for again when a kept connection is lost",
            seen_in: "golang/go#22158",
            minimum: 1,
            twin: http_orders::scenario,
            mutant: || http_orders::with_bug(http_orders::Bug::RetriesAll),
        },
        Specimen {
            id: "Z15",
            bug: "a late answer to one query is taken for the answer to the next",
            seen_in: "pi-hole/FTL#2978",
            minimum: 1,
            twin: dns::scenario,
            mutant: || dns::with_bug(dns::Bug::AnyAnswer),
        },
        Specimen {
            id: "Z18",
            bug: "a subscriber that never writes never notices that its peer is gone",
            seen_in: "tyagihas/java_nats#4",
            minimum: 1,
            twin: pubsub::scenario,
            mutant: || pubsub::with_bug(pubsub::Bug::NoPings),
        },
        Specimen {
            id: "Z19",
            bug: "no probe when there is no room: a lost window update is never made up for",
            seen_in: "apsun/loliOS#34",
            minimum: 1,
            twin: window::scenario,
            mutant: || window::with_bug(window::Bug::NoProbe),
        },
        Specimen {
            id: "Z21",
            bug: "a duplicate acknowledgement takes the retransmission timer away",
            seen_in: "smoltcp-rs/smoltcp#62",
            minimum: 1,
            twin: window::scenario,
            mutant: || window::with_bug(window::Bug::TimerTakenAway),
        },
        Specimen {
            id: "Z22",
            bug: "an acknowledgement of the whole window looks like one of nothing",
            seen_in: "ke6jjj/ka9q-unix#4",
            minimum: 1,
            twin: window::scenario,
            mutant: || window::with_bug(window::Bug::FullLooksEmpty),
        },
        Specimen {
            id: "Z25",
            bug: "the connection's credit for data of a stream that was reset is never returned",
            seen_in: "hyperium/h2#183",
            minimum: 1,
            twin: mux::scenario,
            mutant: || mux::with_bug(mux::Bug::KeepsCredit),
        },
        Specimen {
            id: "Z31",
            bug: "a follower cuts off committed entries at a late, shorter message of its leader",
            seen_in: "ktoso/akka-raft#66",
            minimum: 1,
            twin: raft::scenario,
            mutant: || raft::with_bug(raft::Bug::CutsLog),
        },
        Specimen {
            id: "Z34",
            bug: "a node votes twice in a term, because a restart forgets its vote",
            seen_in: "datatechnology/cornerstone#65",
            minimum: 1,
            twin: raft::scenario,
            mutant: || raft::with_bug(raft::Bug::ForgetsVote),
        },
        Specimen {
            id: "Z42",
            bug: "after a reconnect a message is published again although it was released",
            seen_in: "fusesource/mqtt-client#120",
            minimum: 1,
            twin: mqtt::scenario,
            mutant: || mqtt::with_bug(mqtt::Bug::PublishesReleased),
        },
        Specimen {
            id: "Z45",
            bug: "an update between the snapshot and the subscription is lost",
            seen_in: "booksbyus/zguide#818",
            minimum: 1,
            twin: snapshot::scenario,
            mutant: || snapshot::with_bug(snapshot::Bug::AsksEarly),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specimens_are_in_order_and_found_by_their_ids() {
        let specimens = specimens();
        assert!(specimens.is_sorted_by(|one, other| one.id < other.id));
        let listed: Vec<&str> = crate::all().iter().map(Scenario::name).collect();
        for specimen in specimens {
            assert_eq!((specimen.mutant)().name(), specimen.id);
            assert_eq!(crate::find(specimen.id).unwrap().name(), specimen.id);
            assert!(!listed.contains(&specimen.id));
            assert!(listed.contains(&(specimen.twin)().name()), "{}", specimen.id);
            // They differ in the bug alone.
            let stands = |scenario: fn() -> Scenario| scenario().fault_mix().copied();
            assert_eq!(stands(specimen.twin), stands(specimen.mutant), "{}", specimen.id);
            assert!(specimen.minimum > 0 && !specimen.bug.is_empty());
        }
    }
}
