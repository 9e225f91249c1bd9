//! What was so for a while, on which hosts: hosts that were down or stood still, partitions, links.

use sim_core::Time;
use sim_net::{EpisodeKind, HostChange, Log, Record, When};

/// Something that was so for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Bar {
    pub(super) kind: Kind,
    pub(super) what: String,
    /// The hosts beside whose lanes it is drawn; none if it is about all.
    pub(super) hosts: Vec<u32>,
    pub(super) began: Edge,
    pub(super) ended: Option<Edge>,
}

/// An end of a bar: its time, and the place of the first event of the log that is not before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edge {
    pub(super) time: Time,
    pub(super) place: u64,
}

/// What a bar tells. The page knows them by their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// A host was down, or its process dead.
    Down,
    /// A process stood still, or a machine.
    Still,
    Cut,
    Link,
    Slow,
    /// A clock was set, at once.
    Clock,
}

/// What befell the hosts and links in a log, in the order of its beginning.
pub(super) fn bars(log: &Log) -> Vec<Bar> {
    let mut lives = Lives::default();
    let mut first = 1;
    for (place, entry) in log.entries().enumerate() {
        if place == 0 {
            first = entry.step;
        }
        if let Record::Host(change) = entry.record {
            let edge = Edge { time: entry.time, place: place as u64 };
            lives.change(entry.host, log.host(entry.host), change, edge);
        }
    }
    let edge = |When { time, step }| Edge { time, place: (step + 1).saturating_sub(first) };
    let episodes = log.episodes().iter().map(|episode| Bar {
        kind: match episode.kind {
            EpisodeKind::Cut => Kind::Cut,
            EpisodeKind::Slow => Kind::Slow,
            _ => Kind::Link,
        },
        what: episode.what.clone(),
        hosts: episode.hosts.clone(),
        began: edge(episode.began),
        ended: episode.ended.map(edge),
    });
    let mut bars: Vec<Bar> = lives.bars.into_iter().chain(episodes).collect();
    bars.sort_by_key(|bar| bar.began.place);
    bars
}

/// The lives of hosts, as a log tells them.
#[derive(Default)]
struct Lives {
    bars: Vec<Bar>,
    /// Bars that are not over, with their hosts and what ends them.
    open: Vec<(u32, HostChange, usize)>,
}

impl Lives {
    fn change(&mut self, host: u32, name: &str, change: HostChange, now: Edge) {
        let (kind, what, end) = match change {
            HostChange::Crash => (Kind::Down, "crash", HostChange::Start),
            HostChange::Kill => (Kind::Down, "kill", HostChange::Start),
            HostChange::PowerOn => (Kind::Down, "no process on", HostChange::Start),
            HostChange::Pause => (Kind::Still, "pause", HostChange::Resume),
            HostChange::Freeze => (Kind::Still, "freeze", HostChange::Thaw),
            HostChange::Clock => (Kind::Clock, "clock", HostChange::Clock),
            over => return self.end(host, now, |end| end == over),
        };
        match change {
            // A crash takes everything with it, a kill the process.
            HostChange::Crash => self.end(host, now, |_| true),
            HostChange::PowerOn => self.end(host, now, |end| end == HostChange::Start),
            HostChange::Kill => self.end(host, now, |end| end == HostChange::Resume),
            _ => {}
        }
        let ended = (kind == Kind::Clock).then_some(now);
        if ended.is_none() {
            self.open.push((host, end, self.bars.len()));
        }
        let what = format!("{what} {name}");
        self.bars.push(Bar { kind, what, hosts: vec![host], began: now, ended });
    }

    fn end(&mut self, host: u32, now: Edge, is_over: impl Fn(HostChange) -> bool) {
        let Self { open, bars } = self;
        open.retain(|&(of, end, bar)| {
            let over = of == host && is_over(end);
            if over {
                bars[bar].ended = Some(now);
            }
            !over
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kind of change, begin and end of the bars that these changes of one host make.
    fn told(changes: &[HostChange]) -> Vec<(String, u64, Option<u64>)> {
        let mut lives = Lives::default();
        for (place, &change) in (0..).zip(changes) {
            lives.change(3, "n3", change, Edge { time: Time::ZERO, place });
        }
        let bars = lives.bars.into_iter();
        bars.map(|bar| (bar.what, bar.began.place, bar.ended.map(|end| end.place))).collect()
    }

    #[test]
    fn what_stands_still_does_so_until_it_goes_on() {
        use HostChange::*;
        let bar = |what: &str, from, to| (what.to_owned(), from, to);
        assert_eq!(
            told(&[Freeze, Pause, Thaw, Resume]),
            [bar("freeze n3", 0, Some(2)), bar("pause n3", 1, Some(3))]
        );
        assert_eq!(
            told(&[Pause, Crash, Start, Kill]),
            [bar("pause n3", 0, Some(1)), bar("crash n3", 1, Some(2)), bar("kill n3", 3, None)]
        );
        assert_eq!(
            told(&[Crash, PowerOn, Crash, Start]),
            [
                bar("crash n3", 0, Some(1)),
                bar("no process on n3", 1, Some(2)),
                bar("crash n3", 2, Some(3))
            ]
        );
        assert_eq!(
            told(&[Freeze, Kill, Thaw, Clock, Start]),
            [bar("freeze n3", 0, Some(2)), bar("kill n3", 1, Some(4)), bar("clock n3", 3, Some(3))]
        );
    }
}
