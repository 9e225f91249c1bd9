//! A host of a world: what its kernel knows, and when its engine wants a turn.

use std::num::NonZeroU32;
use std::time::Duration;

use sim_core::{Time, UnixAddr};

use crate::agenda::LazyTimer;
use crate::decisions::{Draws, Entity, NameHash};
use crate::disk::File;
use crate::host_set::HostSet;
use crate::life::Life;
use crate::memory::clear;
use crate::places::{Places, hash_of};
use crate::ports::Ports;
use crate::socket_table::SocketId;
use crate::tcp::connections::Connections;
use crate::tcp::time_wait::TimeWaits;
use crate::tun::interface::Interface;
use crate::unix::names::Names;

/// When a world begins: 1 January 2000, 00:00 UTC.
const EPOCH: Duration = Duration::from_secs(946_684_800);

/// How often a host starts at most: what names it in its flows has no room for more.
pub(crate) const INCARNATIONS_MAX: u16 = 0x3fff;

/// A host.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Host {
    // What every turn and every packet needs comes first.
    /// Sockets with news for the engine.
    pub(crate) ready: News,
    /// Until when its processor is busy; `NEVER` while its process does not run.
    pub(crate) busy_until: Time,
    /// When its engine wants a turn.
    pub(crate) deadline: Time,
    /// It stands in the set of hosts that are ready now.
    pub(crate) queued: bool,
    /// It has something to do as soon as its processor is free.
    pub(crate) delayed: bool,
    /// What reaches it does not go to its sockets: it is deaf, or its packets go to a TUN device.
    pub(crate) diverts: bool,
    /// Not every packet reaches it: its machine is off or frozen, or has had another address.
    deaf: bool,
    /// How many times it has booted.
    pub(crate) incarnation: u16,
    /// Its addresses are 10.0.0.0 + number and fd00:: + number.
    pub(crate) number: u32,
    pub(crate) timer: LazyTimer<4>,
    pub(crate) life: Life,
    /// `name@incarnation`.
    pub(crate) entity: Entity,
    pub(crate) tcp: Ports,
    pub(crate) connections: Connections,
    pub(crate) time_waits: TimeWaits,
    pub(crate) udp: Ports,
    /// What Unix sockets are bound to.
    pub(crate) unix: Names,
    pub(crate) flows: FlowCounts,
    /// What the names of its process's calls begin with: `name@incarnation/`.
    pub(crate) calls: NameHash,
    /// How many ephemeral ports it has drawn.
    pub(crate) ports_drawn: u64,
    /// Its ranks among hosts that are ready at the same instant.
    pub(crate) ranks: Option<Box<Draws>>,
    /// What is on its disk, in order of creation.
    pub(crate) files: Vec<File>,
    /// Its TUN device, if it has one.
    interface: Option<Box<Interface>>,
    /// How far its time of day is from the true one, in nanoseconds.
    pub(crate) wall_ahead: i64,
    /// The number of the process that was started last; its own is 1.
    pub(crate) last_pid: u32,
}

impl Host {
    /// How many bytes every turn and every packet needs.
    pub(crate) const HOT: usize = std::mem::offset_of!(Self, life);
}

/// Sockets with news, in order. Mostly it is one, which takes no memory of its own.
#[derive(Debug, Default)]
pub(crate) struct News {
    first: Option<SocketId>,
    others: Vec<SocketId>,
}

impl News {
    /// The first of them.
    pub(crate) fn first(&self) -> Option<SocketId> {
        self.first
    }

    #[inline]
    pub(crate) fn push(&mut self, id: SocketId) {
        match self.first {
            None => self.first = Some(id),
            Some(_) => self.others.push(id),
        }
    }

    /// Takes them out, and calls `each` with each.
    #[inline(always)]
    pub(crate) fn take(&mut self, mut each: impl FnMut(SocketId)) {
        if let Some(first) = self.first.take() {
            each(first);
            if !self.others.is_empty() {
                self.take_others(each);
            }
        }
    }

    #[inline(never)]
    fn take_others(&mut self, each: impl FnMut(SocketId)) {
        self.others.drain(..).for_each(each);
    }

    pub(crate) fn clear(&mut self) {
        self.first = None;
        clear(&mut self.others);
    }
}

/// How many flows a host has opened to each port of each host.
#[derive(Debug, Default)]
pub(crate) struct FlowCounts {
    /// Whom it has opened one of the usual kind to.
    once: HostSet,
    /// The port of the first flow, and whether it is of datagrams: most others are of this kind.
    usual: Option<NonZeroU32>,
    /// What the bits do not say.
    others: Option<Box<OtherFlows>>,
}

/// Flows of another kind than the usual, and those that are not the first to their host.
#[derive(Debug, Default)]
struct OtherFlows {
    /// Host and kind, as one number; and how many flows.
    list: Vec<(u64, u32)>,
    places: Places,
}

impl FlowCounts {
    /// The number of the next flow to a port of `server`: counted from 1.
    pub(crate) fn next(&mut self, server: u32, port: u16, datagrams: bool) -> u32 {
        let kind = NonZeroU32::MIN | u32::from(port) << 8 | u32::from(datagrams) << 1;
        let key = u64::from(server) << 32 | u64::from(kind.get());
        if let Some(number) = self.others.as_mut().and_then(|others| others.next(key)) {
            return number;
        }
        let is_usual = *self.usual.get_or_insert(kind) == kind;
        let number = if is_usual && self.once.has(server) { 2 } else { 1 };
        if number == 1 && is_usual && self.once.insert(server) {
            return 1;
        }
        self.others.get_or_insert_default().add(key, number);
        number
    }

    /// Makes it as new, but for its room.
    fn renew(&mut self) {
        self.usual = None;
        self.once.clear();
        if let Some(others) = &mut self.others {
            clear(&mut others.list);
            others.places.clear();
        }
    }
}

impl OtherFlows {
    /// The number of the next flow with this key, if there was one.
    fn next(&mut self, key: u64) -> Option<u32> {
        let Self { list, places } = self;
        let place = places.find(list.len(), hash_of(key), |place| list[place].0 == key)?;
        list[place].1 += 1;
        Some(list[place].1)
    }

    fn add(&mut self, key: u64, number: u32) {
        let Self { list, places } = self;
        list.push((key, number));
        places.added(list.len(), |place| hash_of(list[place].0));
    }
}

impl Host {
    pub(crate) fn new(number: u32, name: &str) -> Self {
        let mut host = Self {
            number,
            incarnation: 0,
            entity: NameHash::new().finish(),
            calls: NameHash::new(),
            tcp: Ports::default(),
            connections: Connections::default(),
            time_waits: TimeWaits::default(),
            udp: Ports::default(),
            unix: Names::default(),
            flows: FlowCounts::default(),
            ports_drawn: 0,
            ready: News::default(),
            queued: false,
            delayed: false,
            busy_until: Time::ZERO,
            deadline: Time::NEVER,
            timer: LazyTimer::default(),
            ranks: None,
            files: Vec::new(),
            diverts: false,
            deaf: false,
            interface: None,
            life: Life::default(),
            wall_ahead: 0,
            last_pid: 1,
        };
        host.set_name(name, 1);
        host
    }

    /// Makes it as new, but for its room, when its world has ended.
    pub(crate) fn rest(&mut self) {
        let Self {
            // What another world gives it.
            number: _,
            incarnation: _,
            entity: _,
            calls: _,
            ready,
            busy_until,
            deadline,
            queued,
            delayed,
            diverts,
            deaf,
            timer,
            life,
            tcp,
            connections,
            time_waits,
            udp,
            unix,
            flows,
            ports_drawn,
            ranks,
            files,
            interface,
            wall_ahead,
            last_pid,
        } = self;
        ready.clear();
        (*busy_until, *deadline) = (Time::ZERO, Time::NEVER);
        (*queued, *delayed, *diverts, *deaf) = (false, false, false, false);
        *timer = LazyTimer::default();
        life.renew();
        tcp.renew();
        connections.renew();
        time_waits.renew();
        udp.renew();
        unix.renew();
        flows.renew();
        *ranks = None;
        clear(files);
        *interface = None;
        (*ports_drawn, *wall_ahead, *last_pid) = (0, 0, 1);
    }

    /// It is a host of another world from now on.
    pub(crate) fn begin(&mut self, number: u32, name: &str) {
        self.number = number;
        self.set_name(name, 1);
    }

    /// Its own draws are keyed by this name, and by how many times it has booted.
    fn set_name(&mut self, name: &str, incarnation: u16) {
        self.incarnation = incarnation;
        let mut hash = NameHash::new();
        hash.text(name);
        hash.text("@");
        hash.number(u32::from(incarnation));
        self.entity = hash.finish();
        hash.text("/");
        self.calls = hash;
    }

    /// True while it gets no turns: its machine is off or frozen, or its process paused or dead.
    pub(crate) fn is_halted(&self) -> bool {
        self.busy_until == Time::NEVER
    }

    /// True while not every packet reaches it.
    pub(crate) fn is_deaf(&self) -> bool {
        self.deaf
    }

    /// From now on not every packet reaches it, or each does.
    pub(crate) fn set_deaf(&mut self, deaf: bool) {
        self.deaf = deaf;
        self.diverts = deaf || self.interface.is_some();
    }

    /// True if a store of the host has the name that a Unix socket's path is: both are files.
    pub(crate) fn has_file(&self, path: &UnixAddr) -> bool {
        self.files.iter().any(|file| file.name().as_bytes() == path.as_bytes())
    }

    pub(crate) fn interface(&mut self) -> Option<&mut Interface> {
        self.interface.as_deref_mut()
    }

    pub(crate) fn has_interface(&self) -> bool {
        self.interface.is_some()
    }

    /// All packets go to a TUN device from now on, if they do not yet.
    pub(crate) fn open_interface(&mut self, interface: impl FnOnce() -> Interface) {
        self.interface.get_or_insert_with(|| Box::new(interface()));
        self.diverts = true;
    }

    /// Its TUN device, until it is put back.
    pub(crate) fn take_interface(&mut self) -> Option<Box<Interface>> {
        self.interface.take()
    }

    pub(crate) fn put_interface(&mut self, interface: Box<Interface>) {
        self.interface = Some(interface);
    }

    /// What its clock of the day shows when its monotonic one shows `local`, since the Unix epoch.
    pub(crate) fn wall_time(&self, local: Time) -> Duration {
        let shown =
            EPOCH.as_nanos() as i128 + i128::from(local.as_nanos()) + i128::from(self.wall_ahead);
        Duration::from_nanos_u128(shown.max(0) as u128)
    }

    /// It starts again, under a new incarnation.
    pub(crate) fn begin_incarnation(&mut self, name: &str) {
        self.set_name(name, self.incarnation + 1);
        self.flows.renew();
        self.unix.begin_incarnation();
        self.ports_drawn = 0;
        self.ranks = None;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_host_takes_nine_cache_lines() {
        assert_eq!(size_of::<Host>(), 9 * 64);
    }

    #[test]
    fn flows_to_each_port_of_each_host_are_counted() {
        let (mut counts, mut model) = (FlowCounts::default(), BTreeMap::new());
        for step in 0..5_000_u32 {
            let random = step.wrapping_mul(2_654_435_761) >> 8;
            // Some stand too far out for a bit each, and the first kind is one of four.
            let server = if step % 7 == 0 { random } else { random % 300 };
            let (port, datagrams) = ((random >> 10) as u16 % 2, random >> 12 & 1 == 0);
            let known: &mut u32 = model.entry((server, port, datagrams)).or_default();
            *known += 1;
            assert_eq!(counts.next(server, port, datagrams), *known);
        }
        counts.renew();
        assert_eq!(counts.next(3, 1, true), 1);
    }
}
