//! A member of the group: sends heartbeats, and listens to those of the others.

use std::net::SocketAddr;
use std::time::Duration;

use sim_core::{Cx, DatagramProtocol, DatagramTransport, Loop, LoopFuture, Timer};

use super::detector::{Change, Detector, Heartbeat};
use crate::Progress;

/// The datagram transport of a callback.
type Datagrams<'a> = Cx<'a, Member, DatagramTransport>;

/// What a member is told when it starts.
#[derive(Debug, Clone)]
pub struct Group {
    /// Every member's address; a member's number is its place here.
    pub members: Vec<SocketAddr>,
    /// How often each sends a heartbeat.
    pub interval: Duration,
    /// How many intervals without a heartbeat make a member suspected.
    pub missed_max: u32,
}

/// A member: a [`Detector`] with a socket and a timer.
#[derive(Debug)]
pub struct Member {
    group: Group,
    number: u32,
    life: u32,
    detector: Detector,
    ticks: Progress,
    /// What it changed its mind about, with the tick at which it did.
    changes: Vec<(u64, Change)>,
    changed: Progress,
    next_tick: Option<Timer>,
}

impl Member {
    /// The member with `number` in `group`, in its `life`: higher than in any life before.
    pub fn new(group: &Group, number: u32, life: u32) -> Self {
        let others = (0..).take(group.members.len()).filter(|&other| other != number);
        Self {
            group: group.clone(),
            number,
            life,
            detector: Detector::new(others, group.missed_max),
            ticks: Progress::default(),
            changes: Vec::new(),
            changed: Progress::default(),
            next_tick: None,
        }
    }

    /// What it knows.
    pub fn detector(&self) -> &Detector {
        &self.detector
    }

    /// How many intervals it has lived.
    pub fn ticks(&self) -> u64 {
        self.ticks.count()
    }

    /// What it changed its mind about so far, with its tick at the time.
    pub fn changes(&self) -> &[(u64, Change)] {
        &self.changes
    }

    /// Completes when it has lived `ticks` intervals.
    pub fn lives(&mut self, lp: &Loop, ticks: u64) -> LoopFuture<()> {
        self.ticks.reaches(lp, ticks)
    }

    /// Completes when it has changed its mind `changes` times.
    pub fn changes_its_mind(&mut self, lp: &Loop, changes: u64) -> LoopFuture<()> {
        self.changed.reaches(lp, changes)
    }

    fn tick(&mut self, cx: &mut Datagrams<'_>) {
        let sequence = self.ticks.count();
        self.ticks.add(1);
        for change in self.detector.tick() {
            self.note(change);
        }
        let heartbeat = Heartbeat { from: self.number, life: self.life, sequence }.encode();
        for (number, &member) in (0..).zip(&self.group.members) {
            if number != self.number {
                // An endpoint without a remote address takes any; losses are what this is about.
                let _ = cx.send_to(&heartbeat, Some(member));
            }
        }
        // Counted from now: a member that stood still does not catch up.
        self.next_tick = Some(cx.call_later(self.group.interval, Self::tick));
    }

    fn note(&mut self, change: Change) {
        self.changes.push((self.ticks.count(), change));
        self.changed.add(1);
    }
}

impl DatagramProtocol for Member {
    fn connection_made(&mut self, cx: &mut Datagrams<'_>) {
        self.tick(cx);
    }

    fn datagram_received(&mut self, _cx: &mut Datagrams<'_>, data: &[u8], from: SocketAddr) {
        let Some(heartbeat) = Heartbeat::decode(data) else { return };
        if self.group.members.get(heartbeat.from as usize) != Some(&from) {
            return;
        }
        if let Some(change) = self.detector.hear(heartbeat) {
            self.note(change);
        }
    }
}

#[cfg(test)]
mod tests {
    use sim_core::testing;

    use super::*;

    const INTERVAL: Duration = Duration::from_millis(20);

    fn address(number: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, number], 7000))
    }

    fn member() -> testing::DatagramPeer<Member> {
        let members = (0..3).map(address).collect();
        let group = Group { members, interval: INTERVAL, missed_max: 3 };
        testing::drive_datagrams(Member::new(&group, 0, 1), usize::MAX)
    }

    #[test]
    fn every_interval_each_peer_gets_a_heartbeat() {
        let mut peer = member();
        let beat = |sequence| Heartbeat { from: 0, life: 1, sequence }.encode().to_vec();
        let to_both = |sequence| [1, 2].map(|peer| (beat(sequence), Some(address(peer))));
        assert_eq!(peer.take_sent(), to_both(0));
        peer.advance(INTERVAL - Duration::from_nanos(1));
        assert_eq!(peer.take_sent(), []);
        peer.advance(Duration::from_nanos(1));
        assert_eq!(peer.take_sent(), to_both(1));
    }

    #[test]
    fn silence_is_suspected_and_a_heartbeat_from_its_own_address_is_trusted() {
        let mut peer = member();
        peer.advance(2 * INTERVAL);
        let both = [(3, Change::Suspected(1)), (3, Change::Suspected(2))];
        peer.with(|member, _| assert_eq!(member.changes(), both));
        let sign = Heartbeat { from: 1, life: 0, sequence: 0 }.encode();
        peer.feed(&sign, address(2));
        peer.feed(b"noise", address(1));
        peer.with(|member, _| assert_eq!(member.detector().suspects(), [1, 2]));
        peer.feed(&sign, address(1));
        peer.with(|member, _| assert_eq!(member.detector().suspects(), [2]));
    }
}
