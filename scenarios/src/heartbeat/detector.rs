//! Who is suspected, from what was heard and what was not.

use std::collections::BTreeMap;

/// A sign of life: who sends it, in which of its lives, and how many it sent before in that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender's number.
    pub from: u32,
    /// Its life: higher after each restart.
    pub life: u32,
    /// Its place among the heartbeats of that life.
    pub sequence: u64,
}

/// What a detector changed its mind about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The peer with this number has been silent for too long.
    Suspected(u32),
    /// The peer with this number was suspected, and gave a sign of life.
    Trusted(u32),
}

impl Heartbeat {
    const BYTES: usize = 16;

    /// Two numbers of 32 bits and one of 64, big-endian.
    pub fn encode(self) -> [u8; Self::BYTES] {
        let words = u128::from(self.from) << 96 | u128::from(self.life) << 64;
        (words | u128::from(self.sequence)).to_be_bytes()
    }

    /// The heartbeat that `bytes` encode, if they are exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let words = u128::from_be_bytes(bytes.try_into().ok()?);
        Some(Self {
            from: (words >> 96) as u32,
            life: (words >> 64) as u32,
            sequence: words as u64,
        })
    }
}

/// A failure detector: suspects a peer after a number of its own ticks without a sign of life.
///
/// A value without I/O or clock. It counts ticks of its own, not time: when the machine that it
/// runs on stands still, so do its ticks, and it suspects nobody for that.
///
/// ```
/// use scenarios::heartbeat::{Change, Detector, Heartbeat};
///
/// let mut detector = Detector::new([7], 3);
/// assert_eq!(detector.tick(), []);
/// assert_eq!(detector.tick(), []);
/// assert_eq!(detector.tick(), [Change::Suspected(7)]);
/// let sign = Heartbeat { from: 7, life: 1, sequence: 0 };
/// assert_eq!(detector.hear(sign), Some(Change::Trusted(7)));
/// ```
#[derive(Debug)]
pub struct Detector {
    peers: BTreeMap<u32, Peer>,
    missed_max: u32,
}

#[derive(Debug, Default)]
struct Peer {
    /// The latest heartbeat, by life and sequence.
    latest: Option<(u32, u64)>,
    /// How many ticks have passed since.
    missed: u32,
    suspected: bool,
}

impl Detector {
    /// A detector that trusts all of `peers`, and suspects who misses `missed_max` ticks in a row.
    pub fn new(peers: impl IntoIterator<Item = u32>, missed_max: u32) -> Self {
        let peers = peers.into_iter().map(|number| (number, Peer::default())).collect();
        Self { peers, missed_max }
    }

    /// Takes in a sign of life. One that is not newer than the latest, because the network
    /// duplicated or delayed it, is none; nor is one of somebody who is no peer.
    pub fn hear(&mut self, heartbeat: Heartbeat) -> Option<Change> {
        let peer = self.peers.get_mut(&heartbeat.from)?;
        let place = Some((heartbeat.life, heartbeat.sequence));
        if place <= peer.latest {
            return None;
        }
        peer.latest = place;
        peer.missed = 0;
        let suspected = std::mem::take(&mut peer.suspected);
        suspected.then_some(Change::Trusted(heartbeat.from))
    }

    /// One interval has passed.
    pub fn tick(&mut self) -> Vec<Change> {
        let mut changes = Vec::new();
        for (&number, peer) in &mut self.peers {
            peer.missed = peer.missed.saturating_add(1);
            if peer.missed >= self.missed_max && !peer.suspected {
                peer.suspected = true;
                changes.push(Change::Suspected(number));
            }
        }
        changes
    }

    /// True if every peer was heard at least once.
    pub fn knows_everybody(&self) -> bool {
        self.peers.values().all(|peer| peer.latest.is_some())
    }

    /// The numbers of those who are suspected.
    pub fn suspects(&self) -> Vec<u32> {
        let suspected = self.peers.iter().filter(|(_, peer)| peer.suspected);
        suspected.map(|(&number, _)| number).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(life: u32, sequence: u64) -> Heartbeat {
        Heartbeat { from: 1, life, sequence }
    }

    #[test]
    fn a_heartbeat_survives_the_wire() {
        let sign = Heartbeat { from: u32::MAX, life: 2, sequence: u64::MAX - 1 };
        assert_eq!(Heartbeat::decode(&sign.encode()), Some(sign));
        assert_eq!(Heartbeat::decode(&sign.encode()[..15]), None);
    }

    #[test]
    fn a_peer_is_suspected_at_the_tick_that_is_one_too_many_and_once() {
        let mut detector = Detector::new([1], 2);
        detector.tick();
        detector.hear(beat(0, 0));
        assert_eq!(detector.tick(), []);
        assert_eq!(detector.suspects(), []);
        assert_eq!(detector.tick(), [Change::Suspected(1)]);
        assert_eq!(detector.tick(), []);
        assert_eq!(detector.suspects(), [1]);
    }

    #[test]
    fn what_is_not_newer_is_no_sign_of_life() {
        let mut detector = Detector::new([1], 1);
        assert!(!detector.knows_everybody());
        detector.hear(beat(1, 5));
        assert!(detector.knows_everybody());
        detector.tick();
        for stale in [beat(1, 5), beat(1, 4), beat(0, 9), Heartbeat { from: 2, ..beat(9, 9) }] {
            assert_eq!(detector.hear(stale), None, "{stale:?}");
        }
        assert_eq!(detector.suspects(), [1]);
        assert_eq!(detector.hear(beat(2, 0)), Some(Change::Trusted(1)));
    }
}
