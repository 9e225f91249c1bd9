//! Which record is the cause of which: packets, and timers.

use std::collections::{BTreeMap, VecDeque};

use sim_core::Time;
use sim_core::trace::Record as EngineRecord;
use sim_net::{Entry, Flow, HostChange, Log, Record};

/// The way of a packet, as an arrow. Events are places in the log, from 0 on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Arrow {
    pub(super) packet: u32,
    /// Where it was sent, or copied.
    pub(super) from: usize,
    /// The host that it is for.
    pub(super) to_host: u32,
    /// Where it ended, if it did.
    pub(super) to: Option<usize>,
    pub(super) fate: Fate,
}

/// What became of a packet. The page knows them by their number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fate {
    Delivered,
    /// It waited on its way, or one of its flow that was sent after it was delivered before it.
    Late,
    /// It was delivered, and is the later of two.
    Copy,
    /// It was delivered, and is not what was sent.
    Corrupted,
    Dropped,
    /// It came to a port on which nobody listens.
    Refused,
    /// It was on its way at the end of the run.
    OnTheWay,
}

/// What joins the records of a log.
#[derive(Debug, Default)]
pub(super) struct Joins {
    pub(super) arrows: Vec<Arrow>,
    /// Other events with what caused them: what the network said about a packet, with the sending of
    /// that packet; and the turns of the scenario, with what woke it.
    pub(super) causes: Vec<(usize, usize)>,
    /// The firing of a timer, and its arming.
    pub(super) timers: Vec<(usize, usize)>,
}

/// What is known of a packet while the log is read.
#[derive(Clone, Debug, Default)]
struct Travels {
    sent: usize,
    /// Its arrows that have no end yet, oldest first.
    open: VecDeque<usize>,
    was_held: bool,
    is_corrupted: bool,
    copies: u32,
    ended: u32,
}

impl Joins {
    pub(super) fn of(log: &Log) -> Self {
        let mut reader = Reader { before: first_packet(log) - 1, ..Reader::default() };
        for (place, entry) in log.entries().enumerate() {
            reader.control(place, &entry);
            match (entry.record, log.packet(&entry)) {
                (Record::Engine(record), _) => reader.timer(place, entry.host, &record),
                (Record::Host(HostChange::Crash | HostChange::Kill), _) => {
                    reader.armed.retain(|&(host, _), _| host != entry.host);
                }
                (_, Some(packet)) => reader.packet(log, place, &entry, packet),
                _ => {}
            }
        }
        reader.joins
    }
}

/// The number of the first packet that was sent in a log; of those before it nothing is known.
pub(super) fn first_packet(log: &Log) -> u32 {
    let mut sent = log.entries().filter(|entry| matches!(entry.record, Record::Sent(_)));
    sent.find_map(|entry| log.packet(&entry)).unwrap_or(1)
}

#[derive(Default)]
struct Reader {
    joins: Joins,
    /// How many packets were sent before the log.
    before: u32,
    /// What is known of each packet, by its number less one and those before the log.
    packets: Vec<Travels>,
    /// The last sending that was delivered of each flow.
    newest: BTreeMap<Flow, usize>,
    /// Timers that wait, by host and deadline, in the order of their setting.
    armed: BTreeMap<(u32, Time), VecDeque<usize>>,
    /// The time and host of the event before.
    last: Option<(Time, u32)>,
    /// A turn of the scenario that began with the event before.
    turn: Option<usize>,
}

/// The host of the scenario itself.
const CONTROL: u32 = 0;

impl Reader {
    /// The scenario has its turn at once when somebody wakes it. So what is right before its turn, at the
    /// same instant on another host, is what did, unless a timer of its own was due.
    fn control(&mut self, place: usize, entry: &Entry) {
        let fired = matches!(entry.record, Record::Engine(EngineRecord::TimerFired { .. }));
        if let Some(turn) = self.turn.take()
            && !fired
        {
            self.joins.causes.push((turn, turn - 1));
        }
        let is_woken = self.last.is_some_and(|(time, host)| time == entry.time && host != CONTROL);
        if entry.host == CONTROL && entry.record == Record::Turn && is_woken {
            self.turn = Some(place);
        }
        self.last = Some((entry.time, entry.host));
    }

    fn timer(&mut self, place: usize, host: u32, record: &EngineRecord) {
        match *record {
            EngineRecord::TimerArmed { at } => {
                self.armed.entry((host, at)).or_default().push_back(place);
            }
            EngineRecord::TimerFired { at } => {
                if let Some(armed) = self.take_timer(host, at) {
                    self.joins.timers.push((place, armed));
                }
            }
            EngineRecord::TimerCancelled { at } => {
                self.take_timer(host, at);
            }
            _ => {}
        }
    }

    /// Those of one deadline fire in the order in which they were set.
    fn take_timer(&mut self, host: u32, at: Time) -> Option<usize> {
        let waiting = self.armed.get_mut(&(host, at))?;
        let armed = waiting.pop_front();
        if waiting.is_empty() {
            self.armed.remove(&(host, at));
        }
        armed
    }

    fn packet(&mut self, log: &Log, place: usize, entry: &Entry, packet: u32) {
        let before = self.before;
        let place_of = |packet: u32| (packet - 1).checked_sub(before).map(|place| place as usize);
        let Some(number) = place_of(packet) else { return };
        if number >= self.packets.len() {
            self.packets.resize_with(number + 1, Travels::default);
        }
        match entry.record {
            Record::Sent(sent) => {
                self.packets[number].sent = place;
                self.set_out(number, place, sent.flow.receiver());
                let about = log.packet_answered(packet).and_then(|about| {
                    self.packets.get(place_of(about)?).map(|travels| travels.sent)
                });
                self.joins.causes.extend(about.map(|about| (place, about)));
            }
            Record::Duplicated(copied) => {
                self.packets[number].copies += 1;
                self.set_out(number, place, copied.flow.receiver());
            }
            Record::Corrupted(_) => self.packets[number].is_corrupted = true,
            Record::HeldBack(_) | Record::Held(_) => self.packets[number].was_held = true,
            Record::Delivered(delivered) => {
                let newest = self.newest.entry(delivered.flow).or_default();
                let sent = self.packets[number].sent;
                let is_overtaken = sent < *newest;
                *newest = sent.max(*newest);
                let travels = &self.packets[number];
                let fate = if travels.is_corrupted {
                    Fate::Corrupted
                } else if travels.copies > 0 && travels.ended > 0 {
                    Fate::Copy
                } else if travels.was_held || is_overtaken {
                    Fate::Late
                } else {
                    Fate::Delivered
                };
                self.arrive(number, place, fate);
            }
            Record::Refused(_) => self.arrive(number, place, Fate::Refused),
            Record::Dropped(..) => self.arrive(number, place, Fate::Dropped),
            _ => {}
        }
    }

    fn set_out(&mut self, number: usize, from: usize, to_host: u32) {
        self.packets[number].open.push_back(self.joins.arrows.len());
        let packet = number as u32 + 1 + self.before;
        self.joins.arrows.push(Arrow { packet, from, to_host, to: None, fate: Fate::OnTheWay });
    }

    /// A packet ends. A broadcast that several sockets of a host take ends once.
    fn arrive(&mut self, number: usize, to: usize, fate: Fate) {
        let travels = &mut self.packets[number];
        if let Some(arrow) = travels.open.pop_front() {
            travels.ended += 1;
            let arrow = &mut self.joins.arrows[arrow];
            (arrow.to, arrow.fate) = (Some(to), fate);
        }
    }
}
