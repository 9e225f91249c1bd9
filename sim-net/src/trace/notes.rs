//! What a log has beside its records: texts, and what joins one record to another. None of it is
//! hashed, and none of it is kept without a log.

use std::collections::BTreeMap;

use sim_core::Time;

use super::{HostChange, Record};

/// How many bytes of its data are kept of each packet.
const DATA_MAX: usize = 256;

/// The notes of a log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Notes {
    /// The number of the packet that each record is about; 0 for one that is about none.
    packets: Vec<u32>,
    /// What was sent, in order of its numbers.
    sent: Vec<SentNote>,
    /// The first bytes of what was sent, one packet after another.
    data: Vec<u8>,
    states: Vec<State>,
    /// The last state of each protocol, by its host and connection.
    last_states: BTreeMap<(u32, u32), usize>,
    episodes: Vec<Episode>,
    /// The episodes that are not over.
    open: Vec<(Subject, usize)>,
}

/// A packet that was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct SentNote {
    packet: u32,
    /// The packet that it answers, if the network sends it; else 0.
    about: u32,
    /// Where its bytes end in the data.
    end: usize,
}

/// What a protocol said of its state, by its [`digest`](sim_core::Protocol::digest).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct State {
    /// The last step before it was asked.
    pub step: u64,
    /// The index of the host.
    pub host: u32,
    /// The number of the transport on its host's loop.
    pub connection: u32,
    /// What it said.
    pub text: String,
}

/// Something that was so for a while, and that no record tells: a partition, another link, a slow
/// host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Episode {
    /// Of what kind it is.
    pub kind: EpisodeKind,
    /// What was so.
    pub what: String,
    /// The indices of the hosts that it names; none if it is about all.
    pub hosts: Vec<u32>,
    /// Since when.
    pub began: When,
    /// Until when, if it ended within the run.
    pub ended: Option<When>,
}

/// What an episode is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum EpisodeKind {
    /// Packets did not get through: a partition, or a link that was held.
    Cut,
    /// Links were others.
    Link,
    /// Callbacks of a host cost time.
    Slow,
}

/// A place in a run between two records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct When {
    /// The virtual time.
    pub time: Time,
    /// The last step before it.
    pub step: u64,
}

/// What an episode is about: of one subject one thing is so at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Subject {
    /// A partition.
    Cut(u64),
    /// A link that is held.
    Jam(u32, u32),
    /// The link from one host to another.
    Link(u32, u32),
    /// All other links.
    Everywhere,
    /// What a host sends.
    Uplink(u32),
    /// What a host receives.
    Downlink(u32),
    /// What callbacks of a host cost.
    Slow(u32),
}

impl Subject {
    fn hosts(self) -> Vec<u32> {
        match self {
            Self::Cut(_) | Self::Everywhere => Vec::new(),
            Self::Jam(from, to) | Self::Link(from, to) => vec![from, to],
            Self::Uplink(host) | Self::Downlink(host) | Self::Slow(host) => vec![host],
        }
    }

    fn kind(self) -> EpisodeKind {
        match self {
            Self::Cut(_) | Self::Jam(..) => EpisodeKind::Cut,
            Self::Link(..) | Self::Everywhere | Self::Uplink(_) | Self::Downlink(_) => {
                EpisodeKind::Link
            }
            Self::Slow(_) => EpisodeKind::Slow,
        }
    }

    /// True for what the end of all faults ends.
    pub(crate) fn is_of_links(self) -> bool {
        matches!(self, Self::Link(..) | Self::Everywhere)
    }
}

// Taking notes.
impl Notes {
    /// Notes which packet the next record is about.
    pub(super) fn add(&mut self, packet: u32) {
        self.packets.push(packet);
    }

    /// Notes what a record ends.
    pub(super) fn heed(&mut self, host: u32, record: &Record, after: When) {
        if let Record::Host(HostChange::Crash | HostChange::Kill) = record {
            self.last_states.retain(|&(of, _), _| of != host);
            self.end_where(after, |subject| subject == Subject::Slow(host));
        }
    }

    pub(super) fn add_sent(&mut self, packet: u32, about: u32, data: &[u8]) {
        self.data.extend_from_slice(&data[..data.len().min(DATA_MAX)]);
        self.sent.push(SentNote { packet, about, end: self.data.len() });
    }

    /// Notes a protocol's state, unless it is what it was.
    pub(super) fn add_state(&mut self, step: u64, host: u32, connection: u32, text: &str) {
        let last = self.last_states.get(&(host, connection));
        if last.is_some_and(|&last| self.states[last].text == text) {
            return;
        }
        self.last_states.insert((host, connection), self.states.len());
        self.states.push(State { step, host, connection, text: text.to_owned() });
    }

    /// An episode begins, and so ends the one before it on the same subject.
    pub(super) fn begin(
        &mut self,
        now: When,
        subject: Subject,
        what: String,
        hosts: Option<Vec<u32>>,
    ) {
        self.end_where(now, |open| open == subject);
        self.open.push((subject, self.episodes.len()));
        let hosts = hosts.unwrap_or_else(|| subject.hosts());
        let kind = subject.kind();
        self.episodes.push(Episode { kind, what, hosts, began: now, ended: None });
    }

    /// Ends the episodes on some subjects.
    pub(super) fn end_where(&mut self, now: When, is_over: impl Fn(Subject) -> bool) {
        let Self { open, episodes, .. } = self;
        open.retain(|&(subject, episode)| {
            let over = is_over(subject);
            if over {
                episodes[episode].ended = Some(now);
            }
            !over
        });
    }
}

// Reading them.
impl Notes {
    /// The number of the packet that a record is about, by the place of the record.
    pub(super) fn packet(&self, place: usize) -> Option<u32> {
        self.packets.get(place).copied().filter(|&packet| packet > 0)
    }

    fn sent(&self, packet: u32) -> Option<usize> {
        self.sent.binary_search_by_key(&packet, |sent| sent.packet).ok()
    }

    pub(super) fn data(&self, packet: u32) -> Option<&[u8]> {
        let place = self.sent(packet)?;
        let start = place.checked_sub(1).map_or(0, |before| self.sent[before].end);
        Some(&self.data[start..self.sent[place].end])
    }

    pub(super) fn about(&self, packet: u32) -> Option<u32> {
        let place = self.sent(packet)?;
        Some(self.sent[place].about).filter(|&about| about > 0)
    }

    pub(super) fn states(&self) -> &[State] {
        &self.states
    }

    /// What a protocol said of its state last, until a step.
    pub(super) fn state_at(&self, step: u64, host: u32, connection: u32) -> Option<&str> {
        let said = self.states.partition_point(|state| state.step <= step);
        let its = |state: &&State| (state.host, state.connection) == (host, connection);
        self.states[..said].iter().rfind(its).map(|state| &*state.text)
    }

    pub(super) fn episodes(&self) -> &[Episode] {
        &self.episodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(step: u64) -> When {
        When { time: Time::from_nanos(step * 10), step }
    }

    #[test]
    fn a_state_is_noted_when_it_changes_and_anew_after_the_death_of_its_host() {
        let mut notes = Notes::default();
        notes.add_state(1, 1, 1, "idle");
        notes.add_state(2, 1, 1, "idle");
        notes.add_state(3, 1, 2, "idle");
        notes.add_state(4, 1, 1, "busy");
        notes.heed(2, &Record::Host(HostChange::Crash), at(5));
        notes.add_state(5, 1, 1, "busy");
        notes.heed(1, &Record::Host(HostChange::Kill), at(6));
        notes.add_state(6, 1, 1, "busy");
        let noted: Vec<_> =
            notes.states().iter().map(|it| (it.step, it.connection, &*it.text)).collect();
        assert_eq!(noted, [(1, 1, "idle"), (3, 2, "idle"), (4, 1, "busy"), (6, 1, "busy")]);
    }

    #[test]
    fn of_one_subject_one_thing_is_so_at_a_time() {
        let mut notes = Notes::default();
        let mut begin = |step, subject, what: &str| {
            notes.begin(at(step), subject, what.to_owned(), None);
        };
        begin(1, Subject::Link(1, 2), "loss=1%");
        begin(2, Subject::Link(2, 1), "loss=2%");
        begin(3, Subject::Link(1, 2), "loss=3%");
        begin(4, Subject::Slow(1), "slow");
        notes.heed(1, &Record::Host(HostChange::Crash), at(5));
        notes.end_where(at(6), Subject::is_of_links);
        notes.end_where(at(7), Subject::is_of_links);
        let ends: Vec<_> =
            notes.episodes().iter().map(|it| it.ended.map(|ended| ended.step)).collect();
        assert_eq!(ends, [Some(3), Some(6), Some(6), Some(5)]);
        assert_eq!(notes.episodes()[1].hosts, [2, 1]);
    }

    #[test]
    fn the_data_of_a_packet_is_found_by_its_number_and_long_data_is_cut() {
        let mut notes = Notes::default();
        notes.add_sent(1, 0, b"one");
        notes.add_sent(2, 0, b"");
        notes.add_sent(5, 2, &[7; 1_000]);
        assert_eq!(notes.data(1), Some(&b"one"[..]));
        assert_eq!(notes.data(2), Some(&b""[..]));
        assert_eq!(notes.data(5), Some(&[7; DATA_MAX][..]));
        assert_eq!((notes.data(3), notes.data(0)), (None, None));
        assert_eq!((notes.about(5), notes.about(1)), (Some(2), None));
    }
}
