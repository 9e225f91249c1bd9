//! What befalls hosts: crashes and restarts, and what lies between.
//!
//! A host is a machine with a kernel, and a process on it. A *crash* takes both: nothing more is
//! sent, and the peers hear nothing. A *kill* takes the process: the kernel closes its sockets, as
//! one does. A *pause* stops the process, a *freeze* the machine. A host that starts again runs its
//! boot function under a new incarnation. Who keeps its machine off or frozen, its process away or paused,
//! and until when, is in [`Holds`]: it goes on when nobody does any more.

use std::time::Duration;

use sim_core::{Signal, Time};

use crate::address::Ip;
use crate::holds::{End, Holder, Holds, State};
use crate::host::Host;
use crate::missed::{Missed, MissedEvents};
use crate::network::Network;
use crate::ports::Ports;
use crate::socket_table::Kind;
use crate::tcp::connections::Connections;
use crate::tcp::time_wait::TimeWaits;
use crate::trace::{DropReason, HostChange, Record};

/// Where a host's machine and process are in their lives.
#[derive(Debug, Default)]
pub(crate) struct Life {
    /// Who keeps it from going on.
    pub(crate) holds: Holds,
    pub(crate) off: bool,
    pub(crate) frozen: bool,
    pub(crate) paused: bool,
    /// The process is gone.
    pub(crate) dead: bool,
    /// It has come back with another address.
    pub(crate) moved: bool,
    /// Something wanted a turn while there were none.
    missed: bool,
    /// Until when the processor was busy when the turns stopped.
    busy_until: Time,
    /// What was due while the machine was frozen.
    missed_events: MissedEvents,
    /// What the process is to meet when it or its machine goes on.
    fate: Fate,
}

/// What a process that does not run will meet.
#[derive(Debug, Default)]
struct Fate {
    /// It is killed when its machine goes on.
    dies: bool,
    /// Signals that would end it when it goes on.
    signals: Vec<Signal>,
    /// It starts again once it has died of the above.
    starts: bool,
}

impl Fate {
    fn is_death(&self) -> bool {
        self.dies || !self.signals.is_empty()
    }
}

impl Life {
    /// Makes it as new.
    pub(crate) fn renew(&mut self) {
        let Self {
            holds,
            off,
            frozen,
            paused,
            dead,
            moved,
            missed,
            busy_until,
            missed_events,
            fate: Fate { dies, signals, starts },
        } = self;
        holds.renew();
        for flag in [off, frozen, paused, dead, moved, missed, dies, starts] {
            *flag = false;
        }
        *busy_until = Time::ZERO;
        *missed_events = MissedEvents::default();
        signals.clear();
    }

    fn is_running(&self) -> bool {
        !(self.off || self.frozen || self.paused || self.dead)
    }

    /// The process is gone, with whatever was to befall it.
    fn lose_process(&mut self) {
        self.dead = true;
        self.paused = false;
        self.fate = Fate::default();
        self.holds.forget_process();
    }
}

impl Host {
    /// True if a packet for this address reaches it.
    pub(crate) fn hears(&self, ip: Ip) -> bool {
        !self.life.off && !self.life.frozen && (ip.is_local_to(self.number) || ip.is_to_many())
    }

    /// Until when its processor is busy, or was when the turns stopped.
    pub(crate) fn processor_busy_until(&self) -> Time {
        if self.is_halted() { self.life.busy_until } else { self.busy_until }
    }

    /// Notes that it would have had something to do.
    pub(crate) fn miss_turn(&mut self) {
        self.life.missed = true;
    }

    /// Notes what the kernel would have done were the machine not frozen.
    pub(crate) fn miss(&mut self, event: Missed) {
        self.life.missed_events.add(event);
    }

    /// Forgets everything that was in the machine's memory.
    fn wipe(&mut self) {
        self.tcp = Ports::default();
        self.udp = Ports::default();
        self.unix.wipe();
        self.connections = Connections::default();
        self.time_waits = TimeWaits::default();
        self.ready.clear();
        if let Some(interface) = self.interface() {
            interface.wipe();
        }
    }
}

/// Each of these says whether it changed anything.
impl Network {
    /// The machine loses power: its sockets are gone, and nobody is told.
    pub(crate) fn crash(&mut self, index: u32, by: Holder) -> bool {
        let life = &mut self.host(index).life;
        let is_news = life.holds.begin(State::Off, by);
        if life.off {
            return is_news;
        }
        self.record(index, Record::Host(HostChange::Crash));
        let sockets = self.sockets.of_host(index);
        for id in sockets {
            self.udp_discard(id);
            self.sockets.remove(id);
            self.injection.forget(id);
        }
        self.end_questions_of(index);
        self.halt(index);
        self.lose_unsynced(index);
        self.groups.forget(index);
        let host = self.host(index);
        host.wipe();
        host.life.off = true;
        // Whoever freezes it finds it frozen when it starts again.
        host.life.frozen = false;
        let missed = host.life.missed_events.take();
        host.life.lose_process();
        host.set_deaf(true);
        for event in missed {
            if let Missed::Arrival(packet) = event {
                self.drop_packet(index, *packet, DropReason::HostDown);
            }
        }
        true
    }

    /// The process dies, and the kernel closes its sockets: unread data is answered by a reset, what
    /// was written is still sent (contract K-04).
    pub(crate) fn kill(&mut self, index: u32) -> bool {
        if self.host(index).life.dead {
            return false;
        }
        self.record(index, Record::Host(HostChange::Kill));
        let sockets = self.sockets.of_host(index);
        // Closing a listener resets the connections that wait in it (E-25).
        let (listeners, others): (Vec<_>, Vec<_>) =
            sockets.into_iter().partition(|&id| self.sockets.listener(id).is_some());
        for id in listeners {
            self.injection.forget(id);
            self.tcp_close(id, index, false);
        }
        for id in others {
            self.injection.forget(id);
            match self.sockets.get(id).map(|socket| &socket.kind) {
                Some(Kind::Datagrams(_)) => self.udp_close(id, index),
                Some(Kind::Unix(_)) => self.unix_close(id, index),
                Some(Kind::Notice(_)) => drop(self.sockets.remove(id)),
                Some(Kind::Stream(stream)) if stream.connection.is_orphan() => {}
                Some(_) => self.tcp_close(id, index, false),
                None => {}
            }
        }
        self.end_questions_of(index);
        self.halt(index);
        let host = self.host(index);
        host.ready.clear();
        host.life.lose_process();
        true
    }

    /// A host has no process from now on, or from the death on that awaits that, until the test's own hand says
    /// otherwise.
    pub(crate) fn keep_gone(&mut self, index: u32) {
        self.host(index).life.holds.begin(State::Gone, Holder::Incident);
    }

    /// A machine that nobody keeps off any more is on again, without a process: its kernel answers.
    pub(crate) fn power_on(&mut self, index: u32) -> bool {
        let life = &mut self.host(index).life;
        if !life.off || life.holds.has(State::Off) {
            return false;
        }
        life.off = false;
        let is_deaf = life.moved;
        self.host(index).set_deaf(is_deaf);
        self.record(index, Record::Host(HostChange::PowerOn));
        self.freeze_or_thaw(index);
        true
    }

    /// True if a host has no process, and nobody holds it down.
    pub(crate) fn can_start(&mut self, index: u32) -> bool {
        let life = &self.host(index).life;
        life.dead && !life.holds.has(State::Off) && !life.holds.has(State::Gone)
    }

    /// A host without a process starts one, and first its machine if that is off, unless somebody keeps it from
    /// either.
    pub(crate) fn start(&mut self, index: u32) -> bool {
        if !self.can_start(index) {
            return false;
        }
        let name = std::sync::Arc::clone(&self.wire.trace.hosts[index as usize]);
        let host = self.host(index);
        host.begin_incarnation(&name);
        host.deadline = Time::NEVER;
        host.life.missed = false;
        host.life.busy_until = Time::ZERO;
        host.life.dead = false;
        host.life.off = false;
        host.set_deaf(host.life.frozen || host.life.moved);
        self.record(index, Record::Host(HostChange::Start));
        self.freeze_or_thaw(index);
        self.go_on(index);
        true
    }

    /// Stops the process, if there is one; its kernel goes on.
    pub(crate) fn pause(&mut self, index: u32, by: Holder) -> bool {
        let life = &mut self.host(index).life;
        let is_news = !life.dead && life.holds.begin(State::Paused, by);
        self.pause_or_resume(index);
        is_news
    }

    /// Ends pauses; the process goes on if they were the last ones.
    pub(crate) fn resume(&mut self, index: u32, end: End) -> bool {
        let changed = self.host(index).life.holds.end(State::Paused, end);
        self.pause_or_resume(index);
        changed
    }

    fn pause_or_resume(&mut self, index: u32) {
        let life = &mut self.host(index).life;
        let paused = life.holds.has(State::Paused);
        if life.paused == paused {
            return;
        }
        life.paused = paused;
        let change = if paused { HostChange::Pause } else { HostChange::Resume };
        self.record(index, Record::Host(change));
        self.halt_or_go_on(index);
    }

    /// Stops the machine, now or when it starts: packets to it are lost, its timers wait.
    pub(crate) fn freeze(&mut self, index: u32, by: Holder) -> bool {
        let is_news = self.host(index).life.holds.begin(State::Frozen, by);
        self.freeze_or_thaw(index);
        is_news
    }

    /// Ends freezes; the machine goes on if they were the last ones.
    pub(crate) fn thaw(&mut self, index: u32, end: End) -> bool {
        let changed = self.host(index).life.holds.end(State::Frozen, end);
        self.freeze_or_thaw(index);
        changed
    }

    fn freeze_or_thaw(&mut self, index: u32) {
        let host = self.host(index);
        let frozen = host.life.holds.has(State::Frozen);
        if host.life.off || host.life.frozen == frozen {
            return;
        }
        host.life.frozen = frozen;
        host.set_deaf(frozen || host.life.moved);
        let missed = host.life.missed_events.take();
        if frozen {
            // Whoever sends from there looks at the links anew, and then at the machine.
            self.wire.links.routes_changed();
        }
        let change = if frozen { HostChange::Freeze } else { HostChange::Thaw };
        self.record(index, Record::Host(change));
        self.halt_or_go_on(index);
        for event in missed {
            match event {
                Missed::Timer(id) => {
                    self.tcp_open_late(id);
                    self.tcp_timer_due(id);
                }
                Missed::Output(id) => self.tcp_missed_output(id),
                Missed::Close(id) => drop(self.sockets.remove(id)),
                Missed::Device(packet) => {
                    // It was found to be one, and to have a way.
                    let _ = self.interface_send(index, &packet);
                }
                Missed::Question(id) => self.name_missed_question(id),
                Missed::Answer(id) => self.name_missed_answer(id),
                Missed::Arrival(packet) => self.take_in(*packet),
                Missed::Datagram { from, to, data, counted } => {
                    if counted {
                        self.udp_gone(from, data.len());
                    }
                    // What is wrong with it was told when it was sent; of what has changed there is nobody to tell.
                    let _ = self.udp_send_anywhere(from, index, &data, to);
                }
            }
        }
    }

    /// Nothing ends the process of a frozen machine: notes that it is to die when that goes on, and not
    /// to start again after all. `None` if it may die now, else whether that is news.
    pub(crate) fn put_off_kill(&mut self, index: u32) -> Option<bool> {
        let life = &mut self.host(index).life;
        if !life.frozen || life.dead {
            return None;
        }
        let Fate { dies, starts, .. } = &mut life.fate;
        Some(!std::mem::replace(dies, true) | std::mem::take(starts))
    }

    /// A stopped process acts on no signal but those that end or continue any process: notes one
    /// that would end it. It does not start again after that, whoever wanted it to before. False if it may
    /// act now.
    pub(crate) fn put_off_signal(&mut self, index: u32, signal: Signal) -> bool {
        let life = &mut self.host(index).life;
        if !life.paused || signal == Signal::KILL {
            return false;
        }
        life.fate.starts = false;
        if !life.fate.signals.contains(&signal) {
            life.fate.signals.push(signal);
        }
        true
    }

    /// Notes that a process which will die when it goes on is to start again then. False if it will
    /// not, or if that was known.
    pub(crate) fn put_off_start(&mut self, index: u32) -> bool {
        let fate = &mut self.host(index).life.fate;
        fate.is_death() && !std::mem::replace(&mut fate.starts, true)
    }

    /// What a process that may go on is to meet: whether it dies, signals, and whether it starts
    /// again then. What has to wait for more than what has just ended stays.
    pub(crate) fn take_fate(&mut self, index: u32) -> (bool, Vec<Signal>, bool) {
        let life = &mut self.host(index).life;
        let waits = life.frozen || life.paused && !life.fate.dies;
        let Fate { dies, signals, starts } =
            if waits { Fate::default() } else { std::mem::take(&mut life.fate) };
        (dies, signals, starts)
    }

    /// Makes the host's clocks run faster by `drift` parts in a billion.
    pub(crate) fn set_drift(&mut self, index: u32, drift: i64) {
        let now = self.wire.now;
        self.wire.clocks.set_drift(index, now, drift);
        self.record(index, Record::Host(HostChange::Clock));
        self.tcp_clock_changed(index);
    }

    /// Sets the host's clock of the day ahead, or back.
    pub(crate) fn step_wall_clock(&mut self, index: u32, nanos: i64) {
        let host = self.host(index);
        host.wall_ahead = host.wall_ahead.saturating_add(nanos);
        self.record(index, Record::Host(HostChange::Clock));
    }

    fn halt_or_go_on(&mut self, index: u32) {
        if self.host(index).life.is_running() {
            self.go_on(index);
        } else {
            self.halt(index);
        }
    }

    /// No turns from now on.
    fn halt(&mut self, index: u32) {
        let host = self.host(index);
        if host.is_halted() {
            return;
        }
        host.life.busy_until = std::mem::replace(&mut host.busy_until, Time::NEVER);
        if std::mem::take(&mut host.delayed) {
            host.life.missed = true;
            self.delayed_hosts -= 1;
        }
    }

    /// Turns again, if nothing else is in the way, and at once if one was missed.
    fn go_on(&mut self, index: u32) {
        let now = self.wire.now;
        let host = self.host(index);
        if !host.life.is_running() {
            return;
        }
        host.busy_until = host.life.busy_until;
        let missed = std::mem::take(&mut host.life.missed) || host.deadline <= now;
        if missed {
            self.wake_host(index);
        }
    }

    /// Notes that the running callback of a host costs `cost` of its processor's time.
    pub(crate) fn spend(&mut self, index: u32, cost: Duration) {
        let now = self.wire.now;
        let host = self.host(index);
        let until = if host.is_halted() { &mut host.life.busy_until } else { &mut host.busy_until };
        *until = (*until).max(now) + cost;
    }
}
