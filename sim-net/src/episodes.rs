//! What is so for a while, noted where it begins and ends, for those who look at a log.

use std::time::Duration;

use crate::link::{Link, LinkRule, Rate};
use crate::network::Network;
use crate::partition::{Cut, Partition};
use crate::trace::Subject;

/// Each of these does something only while a log is kept.
impl Network {
    fn note_begin(&mut self, subject: Subject, what: String, hosts: Option<Vec<u32>>) {
        let wire = &mut self.wire;
        wire.trace.note_begin(wire.now, subject, what, hosts);
    }

    /// What is about these subjects is over.
    pub(crate) fn note_end(&mut self, is_over: impl Fn(Subject) -> bool) {
        let wire = &mut self.wire;
        wire.trace.note_end(wire.now, is_over);
    }

    fn is_noted(&self) -> bool {
        self.wire.trace.takes_notes()
    }

    fn name(&self, host: u32) -> &str {
        &self.wire.trace.hosts[host as usize]
    }

    pub(crate) fn note_partition(&mut self, cut: Cut, partition: &Partition) {
        if self.is_noted() {
            let mut hosts: Vec<u32> =
                partition.named().filter_map(|name| self.host_named(name)).collect();
            hosts.sort_unstable();
            hosts.dedup();
            let what = format!("cut {partition}");
            self.note_begin(Subject::Cut(cut.number()), what, Some(hosts));
        }
    }

    /// A partition is over.
    pub(crate) fn note_healed(&mut self, cut: Cut) {
        self.note_end(|subject| subject == Subject::Cut(cut.number()));
    }

    /// All partitions but these are over, and every held link is released.
    pub(crate) fn note_all_healed_but(&mut self, stay: &[Cut]) {
        self.note_end(|subject| match subject {
            Subject::Cut(number) => stay.iter().all(|cut| cut.number() != number),
            Subject::Jam(..) => true,
            _ => false,
        });
    }

    pub(crate) fn note_jam(&mut self, (from, to): (u32, u32)) {
        if self.is_noted() {
            let what = format!("{}->{} held", self.name(from), self.name(to));
            self.note_begin(Subject::Jam(from, to), what, None);
        }
    }

    /// A link is another; or as everywhere, without one.
    pub(crate) fn note_link(&mut self, (from, to): (u32, u32), link: Option<&Link>) {
        let subject = Subject::Link(from, to);
        match link {
            Some(link) if self.is_noted() => {
                let what = format!("{}->{}: {link}", self.name(from), self.name(to));
                self.note_begin(subject, what, None);
            }
            _ => self.note_end(|open| open == subject),
        }
    }

    /// A rule about hosts that exist holds from now on.
    pub(crate) fn note_rule(&mut self, rule: &LinkRule) {
        if !self.is_noted() {
            return;
        }
        let find = |name: &String| self.host_named(name);
        match rule {
            LinkRule::Everywhere(link) => {
                self.note_begin(Subject::Everywhere, format!("everywhere: {link}"), None);
            }
            LinkRule::OneWay(from, to, link) => {
                if let Some(pair) = find(from).zip(find(to)) {
                    self.note_link(pair, Some(link));
                }
            }
            LinkRule::BothWays(a, b, link) => {
                if let Some((a, b)) = find(a).zip(find(b)) {
                    self.note_link((a, b), Some(link));
                    self.note_link((b, a), Some(link));
                }
            }
            LinkRule::Uplink(host, _) | LinkRule::Downlink(host, _) => {
                if let Some(index) = find(host) {
                    let subject = match rule {
                        LinkRule::Uplink(..) => Subject::Uplink(index),
                        _ => Subject::Downlink(index),
                    };
                    self.note_begin(subject, rule.to_string(), None);
                }
            }
        }
    }

    /// What a host sends to all others, or receives, has a rate of its own; or none any more.
    pub(crate) fn note_gate(&mut self, subject: Subject, whose: &str, rate: Option<Rate>) {
        match rate {
            Some(rate) if self.is_noted() => {
                self.note_begin(subject, format!("{whose}: {rate}"), None);
            }
            _ => self.note_end(|open| open == subject),
        }
    }

    /// Every callback of a host costs so much.
    pub(crate) fn note_cost(&mut self, host: u32, cost: Duration) {
        let subject = Subject::Slow(host);
        if cost.is_zero() {
            self.note_end(|open| open == subject);
        } else if self.is_noted() {
            let what = format!("slow {}: {cost:?} a callback", self.name(host));
            self.note_begin(subject, what, None);
        }
    }
}
