//! A plan at work: its scheduled faults, each carried out at its time, and the end of them all.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sim_core::{DefaultAction, Signal, Time};

use crate::agenda::Event;
use crate::holds::{End, Holder};
use crate::link::{Link, LinkRule};
use crate::links::Links;
use crate::memory::{clear, clear_map};
use crate::network::Network;
use crate::partition::{self, Effect, HostSet, Partition};
use crate::plan::{
    Action, Clock, Condition, Cut, CutMode, Entry, Environment, Fault, Incident, Place, Plan,
    PlanError, Problem, Scope, Sides, Stream,
};
use crate::plane::claims::{can_be_followed, expected_event};
use crate::scheduler::Scheduler;
use crate::stream_faults::StreamFaults;
use crate::trace::Subject;

/// The order that ends the faults of a run.
const QUIESCE: u32 = u32::MAX;

/// What a plan has done, and what it is to do.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    faults: RefCell<Vec<Standing>>,
    /// Each with its place among the entries of the plan.
    clocks: RefCell<Vec<(usize, Clock)>>,
    /// How many faults have begun.
    begun: Cell<u64>,
    absent: RefCell<Vec<String>>,
    /// Clocks that are not permanent are right again.
    clocks_are_right: Cell<bool>,
    /// By how much a hand has set the time of day of hosts ahead, since the faults were over last.
    stepped_by_hand: RefCell<BTreeMap<u32, i64>>,
}

/// A scheduled fault.
#[derive(Debug)]
pub(crate) struct Standing {
    fault: Fault,
    /// Its place among the entries of the plan.
    entry: usize,
    state: State,
    /// How many had begun when it began, with it.
    began: u64,
    /// The partition that it made.
    cut: Option<partition::Cut>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Ahead,
    Begun,
    Over,
}

/// Says of a plan what a simulation cannot carry out: links that are none, entries about what they
/// cannot be about, and, unless the plan alone decides (`is_replay`), deviations and environment.
pub(crate) fn check(plan: &Plan, is_replay: bool) -> Result<(), PlanError> {
    for (index, entry) in plan.entries.iter().enumerate() {
        let wrong = |expected: &str, found: String| PlanError {
            place: Place::Entry { number: index + 1, text: entry.to_string() },
            problem: Problem::Syntax { expected: expected.to_owned(), found, hint: None },
        };
        match entry {
            Entry::Deviation(_) | Entry::Environment(_) if !is_replay => {
                let found = "a choice that a run from a seed makes by chance".to_owned();
                return Err(wrong("scheduled faults, clocks and workload alone", found));
            }
            Entry::Deviation(deviation) => {
                if let Some(expected) = expected_event(deviation) {
                    return Err(wrong(expected, deviation.event.to_string()));
                }
            }
            Entry::Environment(Environment {
                stream: Stream::Ties,
                scope: Scope::Flow(flow),
                ..
            }) => {
                return Err(wrong("two hosts, such as ties a b", flow.to_string()));
            }
            Entry::Fault(fault) if fault.start.time().is_none() && !follows(fault) => {
                let found = "another choice of the simulator".to_owned();
                return Err(wrong("a packet or a place in a stream to follow", found));
            }
            Entry::Fault(Fault {
                action: Action::Interval { condition: Condition::Link { from, to, link, .. }, .. },
                ..
            }) => {
                if from == to {
                    let place = Place::Entry { number: index + 1, text: entry.to_string() };
                    return Err(PlanError {
                        place,
                        problem: Problem::OwnLink { host: from.clone() },
                    });
                }
                if let Err(error) = link.0.parse::<Link>() {
                    return Err(wrong("a link", format!("{link:?}: {error}", link = link.0)));
                }
            }
            Entry::Clock(Clock { drift_ppb, .. }) if drift_ppb.unsigned_abs() > 500_000_000 => {
                let found = format!("{drift_ppb} parts in a billion");
                return Err(wrong("a drift of at most half of the true rate", found));
            }
            Entry::Fault(_) | Entry::Clock(_) | Entry::Environment(_) | Entry::Workload(_) => {}
        }
    }
    Ok(())
}

/// The host that a fault ends or stops, and its rank among such faults of one instant.
fn rank_at_instant(fault: &Fault) -> Option<(&str, u8)> {
    match &fault.action {
        Action::Moment(Incident::Signal { host, .. }) => Some((host, 0)),
        Action::Moment(Incident::Kill { host }) => Some((host, 1)),
        Action::Interval { condition, .. } => match condition {
            Condition::Crash { host, .. }
            | Condition::Pause { host }
            | Condition::Freeze { host } => Some((host, 2)),
            Condition::Cut(_)
            | Condition::Slow { .. }
            | Condition::Names { .. }
            | Condition::Link { .. } => None,
        },
        Action::Moment(Incident::ClockStep { .. }) => None,
    }
}

/// True if a fault follows an event that can be followed.
fn follows(fault: &Fault) -> bool {
    fault.start.anchor().is_some_and(|anchor| can_be_followed(&anchor.event))
}

impl Orders {
    /// There are none.
    pub(crate) fn renew(&self) {
        let Self { faults, clocks, begun, absent, clocks_are_right, stepped_by_hand } = self;
        clear(&mut faults.borrow_mut());
        clear(&mut clocks.borrow_mut());
        begun.set(0);
        clear(&mut absent.borrow_mut());
        clocks_are_right.set(false);
        clear_map(&mut stepped_by_hand.borrow_mut());
    }

    /// They are those of a plan that [`check`] found no fault with.
    pub(crate) fn begin(&self, plan: &Plan) {
        let (mut faults, mut clocks) = (self.faults.borrow_mut(), self.clocks.borrow_mut());
        for (number, entry) in plan.entries.iter().enumerate() {
            match entry {
                Entry::Fault(fault) => {
                    let (fault, state) = (fault.clone(), State::Ahead);
                    faults.push(Standing { fault, entry: number, state, began: 0, cut: None });
                }
                Entry::Clock(clock) => clocks.push((number, clock.clone())),
                Entry::Deviation(_) | Entry::Environment(_) | Entry::Workload(_) => {}
            }
        }
    }

    /// What the fault that began last says of something, of those in force that say anything of it, and when
    /// it began among them all.
    fn last_word<T>(&self, said_by: impl Fn(&Condition) -> Option<T>) -> Option<(u64, T)> {
        let faults = self.faults.borrow();
        let begun = faults.iter().filter(|standing| standing.state == State::Begun);
        let words = begun.filter_map(|standing| match &standing.fault.action {
            Action::Interval { condition, .. } => Some((standing.began, said_by(condition)?)),
            Action::Moment(_) => None,
        });
        words.max_by_key(|&(began, _)| began)
    }

    /// The permanent faults that have begun, in this order, each with its number; and the partitions that
    /// they made.
    fn permanent(&self) -> (Vec<(usize, Fault)>, Vec<partition::Cut>) {
        let faults = self.faults.borrow();
        let stays =
            |(_, it): &(usize, &Standing)| it.fault.is_permanent && it.state == State::Begun;
        let mut permanent: Vec<_> = faults.iter().enumerate().filter(stays).collect();
        permanent.sort_by_key(|(_, standing)| standing.began);
        let cuts = permanent.iter().filter_map(|(_, standing)| standing.cut).collect();
        let faults = permanent.into_iter().map(|(index, standing)| (index, standing.fault.clone()));
        (faults.collect(), cuts)
    }

    /// The hosts that orders were about when the world had none of that name, and still has not.
    pub(crate) fn absent_hosts(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        let (clocks, absent) = (self.clocks.borrow(), self.absent.borrow());
        let clocks = clocks.iter().map(|(_, clock)| clock.host.clone());
        let named = absent.iter().cloned().chain(clocks);
        named.filter(|name| !is_there(name)).collect()
    }
}

impl Standing {
    /// The number of the order that begins it, or ends it.
    pub(crate) fn order(index: usize, is_end: bool) -> u32 {
        index as u32 * 2 + u32::from(is_end)
    }
}

impl Scheduler {
    /// Puts the orders on the agenda, and the end of the faults if it has a time.
    pub(crate) fn schedule_orders(&self, quiesce: Option<Duration>) {
        let mut network = self.network();
        let agenda = &mut network.wire.agenda;
        for (index, standing) in self.orders.faults.borrow().iter().enumerate() {
            // What follows an event is scheduled when that happens.
            let Some(at) = standing.fault.start.time() else { continue };
            agenda.push(at, Event::Order(Standing::order(index, false)));
            if let Action::Interval { length: Some(length), .. } = standing.fault.action {
                agenda.push(at + length, Event::Order(Standing::order(index, true)));
            }
        }
        if let Some(at) = quiesce {
            agenda.push(Time::ZERO + at, Event::Order(QUIESCE));
        }
    }

    /// An order's time has come.
    #[cold]
    pub(crate) fn carry_out(self: &Rc<Self>, order: u32) {
        if order == QUIESCE {
            return self.quiesce();
        }
        let index = (order / 2) as usize;
        if order.is_multiple_of(2) { self.begin(index) } else { self.end(index) }
    }

    /// Ends every fault that is not permanent, and everything that links and streams do beyond the
    /// ordinary: hosts are up, links at base, and nothing new is injected.
    pub(crate) fn quiesce(self: &Rc<Self>) {
        let (permanent, cuts) = self.orders.permanent();
        let count = self.orders.faults.borrow().len();
        for index in 0..count {
            let is_permanent = self.orders.faults.borrow()[index].fault.is_permanent;
            if !is_permanent {
                self.end(index);
            }
        }
        let mut network = self.network();
        if let Some(plane) = &mut network.wire.plane {
            plane.calm();
        }
        network.set_stream_faults(StreamFaults::new());
        network.name_service.calm();
        network.wire.links.calm();
        network.note_end(Subject::is_of_links);
        network.heal_all_but(&cuts);
        let hosts = network.hosts.len() as u32;
        drop(network);
        let were_right = self.orders.clocks_are_right.replace(true);
        let clocks = self.orders.clocks.borrow();
        for (_, Clock { host, offset_nanos, .. }) in
            clocks.iter().filter(|(_, clock)| !clock.is_permanent && !were_right)
        {
            if let Some(index) = self.index_of(host) {
                self.set_drift(index, 0);
                self.network().step_wall_clock(index, offset_nanos.saturating_neg());
            }
        }
        self.take_back_clocks_by_hand(hosts);
        for (index, fault) in &permanent {
            if let Action::Interval { condition: link @ Condition::Link { .. }, .. } = &fault.action
            {
                self.make_so(*index, link);
            }
        }
        // By hand, too, a host may have been stopped.
        for host in 1..hosts {
            self.thaw(host, End::OfAllFaults);
            self.resume(host, End::OfAllFaults);
            self.quicken(host, End::OfAllFaults);
            self.start(host, End::OfAllFaults);
            self.crash_after(host, 0);
        }
    }

    /// The time of day that a host shows is set ahead by hand, or back.
    pub(crate) fn step_by_hand(&self, index: u32, nanos: i64) {
        let mut stepped = self.orders.stepped_by_hand.borrow_mut();
        let ahead = stepped.entry(index).or_default();
        *ahead = ahead.saturating_add(nanos);
        self.network().step_wall_clock(index, nanos);
    }

    /// What a hand has done to the clocks of hosts is over: they run as permanent entries say.
    fn take_back_clocks_by_hand(&self, hosts: u32) {
        for index in 1..hosts {
            let name = Arc::clone(&self.network().wire.trace.hosts[index as usize]);
            let clocks = self.orders.clocks.borrow();
            let mut clocks = clocks.iter().map(|(_, clock)| clock);
            let permanent = clocks.rfind(|clock| clock.is_permanent && *clock.host == *name);
            let drift = permanent.map_or(0, |clock| clock.drift_ppb);
            let is_other = self.network().wire.clocks.drift(index) != drift;
            if is_other {
                self.set_drift(index, drift);
            }
        }
        for (index, nanos) in self.orders.stepped_by_hand.take() {
            self.network().step_wall_clock(index, nanos.saturating_neg());
        }
    }

    /// Sets the clocks of a host that has just been made.
    pub(crate) fn set_clocks_of(&self, name: &str, index: u32) {
        let are_right = self.orders.clocks_are_right.get();
        let clocks = self.orders.clocks.borrow();
        for (entry, clock) in clocks.iter().filter(|(_, clock)| clock.host == name) {
            if are_right && !clock.is_permanent {
                continue;
            }
            self.bind(*entry);
            self.count("host.clock");
            if clock.offset_nanos != 0 {
                self.network().step_wall_clock(index, clock.offset_nanos);
            }
            if clock.drift_ppb != 0 {
                self.set_drift(index, clock.drift_ppb);
            }
        }
    }

    /// Has what stands befall a host that has just been made: cuts, links and lookups at once, and what stops it behind the
    /// turn in which it was made, so that it can be given what it is for.
    pub(crate) fn befall(self: &Rc<Self>, name: &str) {
        let mut order: Vec<usize> = (0..self.orders.faults.borrow().len()).collect();
        // Of two about the same the later one holds.
        order.sort_by_key(|&index| self.orders.faults.borrow()[index].began);
        for index in order {
            let standing = {
                let standing = &self.orders.faults.borrow()[index];
                let is_concerned =
                    standing.state == State::Begun && standing.fault.hosts().contains(&name);
                is_concerned.then(|| standing.fault.clone())
            };
            let Some(fault) = standing else { continue };
            let Action::Interval { condition, .. } = &fault.action else { continue };
            match condition {
                Condition::Crash { .. } | Condition::Pause { .. } | Condition::Freeze { .. } => {
                    self.orders.faults.borrow_mut()[index].state = State::Ahead;
                    let Network { wire, .. } = &mut *self.network();
                    wire.agenda.push(wire.now, Event::Order(Standing::order(index, false)));
                    continue;
                }
                Condition::Cut(_)
                | Condition::Slow { .. }
                | Condition::Names { .. }
                | Condition::Link { .. } => {
                    let cut = self.make_so(index, condition);
                    self.orders.faults.borrow_mut()[index].cut = cut;
                }
            }
            self.note_begin(index, &fault);
        }
    }

    fn index_of(&self, name: &str) -> Option<u32> {
        let index = self.network().host_named(name);
        if index.is_none() {
            let mut absent = self.orders.absent.borrow_mut();
            if !absent.iter().any(|known| known == name) {
                absent.push(name.to_owned());
            }
        }
        index
    }

    fn begin(self: &Rc<Self>, index: usize) {
        self.begin_what_goes_before(index);
        let Some(fault) = self.move_on(index, State::Ahead, State::Begun) else { return };
        self.note_begin(index, &fault);
        match &fault.action {
            Action::Interval { condition, .. } => {
                let cut = self.make_so(index, condition);
                self.orders.faults.borrow_mut()[index].cut = cut;
            }
            Action::Moment(Incident::Kill { host }) => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.kill");
                    self.kill(host);
                    if fault.is_permanent {
                        self.network().keep_gone(host);
                    }
                }
            }
            Action::Moment(Incident::Signal { host, signal }) => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.signal");
                    let by = if fault.is_permanent { Holder::Incident } else { Holder::Hand };
                    // Of what else the process may die then, that ends as it says itself.
                    let ends_it = self.network().is_ended_by(host, *signal);
                    let is_told = self.signal(host, *signal, by);
                    // This one is a kill, which needs no process.
                    let is_kill = *signal == Signal::KILL;
                    if (is_kill || is_told && ends_it) && fault.is_permanent {
                        self.network().keep_gone(host);
                    }
                }
            }
            Action::Moment(Incident::ClockStep { host, step_nanos }) => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.clock");
                    self.network().step_wall_clock(host, *step_nanos);
                } else {
                    // Nobody's clock is to be set back at the end of all faults.
                    self.orders.faults.borrow_mut()[index].state = State::Over;
                }
            }
        }
    }

    /// At one instant a host's process is sent signals first, then it is killed, and then it stops or its machine
    /// does, whatever the order of the plan: so much is heard of it in either.
    fn begin_what_goes_before(self: &Rc<Self>, index: usize) {
        let now = self.network().wire.now;
        let first = {
            let faults = self.orders.faults.borrow();
            let Standing { fault, state: State::Ahead, .. } = &faults[index] else { return };
            let Some((host, rank)) = rank_at_instant(fault) else { return };
            let goes_before = |it: &Standing| {
                it.state == State::Ahead
                    && it.fault.start.time() == Some(now)
                    && rank_at_instant(&it.fault).is_some_and(|(of, it)| of == host && it < rank)
            };
            faults.iter().position(goes_before)
        };
        if let Some(first) = first {
            self.begin(first);
            self.begin_what_goes_before(index);
        }
    }

    fn end(self: &Rc<Self>, index: usize) {
        let before = self.orders.faults.borrow()[index].state;
        let Some(fault) = self.move_on(index, before, State::Over) else { return };
        if before != State::Begun {
            return;
        }
        match &fault.action {
            Action::Interval { condition, .. } => self.make_no_longer_so(index, condition),
            Action::Moment(Incident::Kill { host }) => {
                if let Some(host) = self.index_of(host) {
                    self.start(host, End::OfAllFaults);
                }
            }
            Action::Moment(Incident::Signal { host, signal }) => {
                if let Some(host) = self.index_of(host) {
                    match signal.default_action() {
                        DefaultAction::End => {
                            self.start(host, End::OfAllFaults);
                        }
                        DefaultAction::Stop => {
                            self.resume(host, End::OfAllFaults);
                        }
                        DefaultAction::Ignore | DefaultAction::Continue => {}
                    }
                }
            }
            Action::Moment(Incident::ClockStep { host, step_nanos }) => {
                if let Some(host) = self.index_of(host) {
                    self.network().step_wall_clock(host, step_nanos.saturating_neg());
                }
            }
        }
    }

    /// Moves a fault from one state to another, if it is in the first.
    fn move_on(&self, index: usize, from: State, to: State) -> Option<Fault> {
        let standing = &mut self.orders.faults.borrow_mut()[index];
        (standing.state == from && from != to).then(|| {
            standing.state = to;
            if to == State::Begun {
                standing.began = self.orders.begun.get() + 1;
                self.orders.begun.set(standing.began);
            }
            standing.fault.clone()
        })
    }

    /// A fault begins: it has found what it is about, if its hosts are there.
    fn note_begin(&self, index: usize, fault: &Fault) {
        let entry = self.orders.faults.borrow()[index].entry;
        let mut network = self.network();
        let is_there = |name: &&str| network.host_named(name).is_some();
        let all = fault.hosts().iter().all(is_there);
        let Network { wire, names, .. } = &mut *network;
        if let Some(plane) = wire.plane.as_mut() {
            if all {
                plane.bind(entry);
            }
            if let Some(recorder) = &mut plane.recorder {
                let find = |name: &str| names.get(name).copied();
                recorder.begins(entry, fault, wire.now, find, &wire.trace.hosts);
            }
        }
    }

    fn bind(&self, entry: usize) {
        if let Some(plane) = &mut self.network().wire.plane {
            plane.bind(entry);
        }
    }

    fn count(&self, name: &'static str) {
        self.network().wire.faults.count(name);
    }

    fn make_so(self: &Rc<Self>, index: usize, condition: &Condition) -> Option<partition::Cut> {
        let by = Holder::Fault(index as u32);
        match condition {
            Condition::Cut(cut) => {
                let links = Links::new(self);
                let (first, second) = cut.sides.groups();
                let known = first.iter().chain(second).filter(|name| self.index_of(name).is_some());
                if known.count() == first.len() + second.len() {
                    return links.partition(&partition_of(cut)).ok();
                }
            }
            Condition::Crash { host, .. } => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.crash");
                    self.crash(host, by);
                }
            }
            Condition::Pause { host } => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.pause");
                    self.network().pause(host, by);
                }
            }
            Condition::Freeze { host } => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.freeze");
                    self.network().freeze(host, by);
                }
            }
            Condition::Slow { host, cost } => {
                if let Some(host) = self.index_of(host) {
                    self.count("host.slow");
                    self.slow(host, by, *cost);
                }
            }
            Condition::Names { host, fault } => {
                if self.index_of(host).is_some() {
                    self.network().begin_name_fault(index as u32, host, *fault);
                }
            }
            Condition::Link { from, to, is_mutual, link } => {
                let both = self.index_of(from).is_some() & self.index_of(to).is_some();
                if both && let Ok(link) = link.0.parse::<Link>() {
                    let (from, to) = (from.clone(), to.clone());
                    let rule = if *is_mutual {
                        LinkRule::BothWays(from, to, link)
                    } else {
                        LinkRule::OneWay(from, to, link)
                    };
                    let changed = Links::new(self).set(rule);
                    debug_assert!(changed.is_ok(), "its hosts are there");
                }
            }
        }
        None
    }

    fn make_no_longer_so(self: &Rc<Self>, index: usize, condition: &Condition) {
        let (began, end) = (self.orders.faults.borrow()[index].began, End::Of(index as u32));
        match condition {
            Condition::Cut(_) => {
                if let Some(cut) = self.orders.faults.borrow_mut()[index].cut.take() {
                    self.network().heal(cut);
                }
            }
            Condition::Crash { host, changes_address } => {
                if let Some(host) = self.index_of(host) {
                    if *changes_address {
                        self.network().move_host(host);
                    }
                    self.start(host, end);
                }
            }
            Condition::Pause { host } => {
                if let Some(host) = self.index_of(host) {
                    self.resume(host, end);
                }
            }
            Condition::Freeze { host } => {
                if let Some(host) = self.index_of(host) {
                    self.thaw(host, end);
                }
            }
            Condition::Slow { host, .. } => {
                if let Some(host) = self.index_of(host) {
                    self.quicken(host, end);
                }
            }
            Condition::Names { .. } => {
                self.network().name_service.end(index as u32);
            }
            Condition::Link { from, to, is_mutual, .. } => {
                self.give_back_link(began, from, to);
                if *is_mutual {
                    self.give_back_link(began, to, from);
                }
            }
        }
    }

    /// A fault of a link is over: what another says of it holds, or what it was set up as.
    fn give_back_link(&self, began: u64, from: &str, to: &str) {
        let other = self.orders.last_word(|other| match other {
            Condition::Link { from: a, to: b, is_mutual, link }
                if (&**a, &**b) == (from, to) || *is_mutual && (&**a, &**b) == (to, from) =>
            {
                link.0.parse::<Link>().ok()
            }
            _ => None,
        });
        let mut network = self.network();
        let Some(pair) = network.host_named(from).zip(network.host_named(to)) else { return };
        if other.as_ref().is_none_or(|(other, _)| *other < began) {
            let link = other.map(|(_, link)| link);
            network.note_link(pair, link.as_ref());
            let Network { wire, .. } = &mut *network;
            let link = link.or_else(|| wire.links.base(from, to));
            wire.links.set_pair(wire.now, pair, link, &mut wire.faults);
        }
    }
}

fn partition_of(cut: &Cut) -> Partition {
    let partition = match &cut.sides {
        Sides::Between(left, right) => Partition::between(left.clone(), right.clone()),
        Sides::OneWay(from, to) => Partition::one_way(from.clone(), to.clone()),
        Sides::Isolate(hosts) => {
            Partition::between(hosts.clone(), HostSet::all_but(hosts.iter().cloned()))
        }
    };
    let partition = partition.effect(match cut.mode {
        CutMode::Drop => Effect::Drop,
        CutMode::Hold => Effect::Hold,
        CutMode::Reject => Effect::Reject,
    });
    match cut.port {
        Some(port) => partition.port(port),
        None => partition,
    }
}
