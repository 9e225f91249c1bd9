//! A host of a world: what its kernel knows, and when its engine wants a turn.

use std::collections::BTreeMap;

use sim_core::Time;

use crate::agenda::LazyTimer;
use crate::decisions::{Draws, Entity, NameHash};
use crate::ports::Ports;
use crate::socket_table::SocketId;
use crate::tcp::time_wait::{Pair, TimeWaits};

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    /// Its addresses are 10.0.0.0 + number and fd00:: + number.
    pub(crate) number: u32,
    /// How many times it has booted.
    pub(crate) incarnation: u16,
    /// `name@incarnation`.
    pub(crate) entity: Entity,

    pub(crate) tcp: Ports,
    pub(crate) connections: BTreeMap<Pair, SocketId>,
    pub(crate) time_waits: TimeWaits,
    pub(crate) udp: Ports,
    /// How many flows it has opened to each (host, port, datagrams).
    pub(crate) flows: BTreeMap<(u32, u16, bool), u32>,
    /// How many ephemeral ports it has drawn.
    pub(crate) ports_drawn: u64,

    /// Sockets with news for the engine.
    pub(crate) ready: Vec<SocketId>,
    /// It stands in the set of hosts that are ready now.
    pub(crate) queued: bool,
    /// It has something to do as soon as its processor is free.
    pub(crate) delayed: bool,
    /// Until when its processor is busy.
    pub(crate) busy_until: Time,
    /// When its engine wants a turn.
    pub(crate) deadline: Time,
    pub(crate) timer: LazyTimer<4>,
    /// Its ranks among hosts that are ready at the same instant.
    pub(crate) ranks: Option<Box<Draws>>,
}

impl Host {
    pub(crate) fn new(number: u32, name: &str) -> Self {
        let incarnation = 1;
        Self {
            number,
            incarnation,
            entity: entity(name, incarnation),
            tcp: Ports::default(),
            connections: BTreeMap::new(),
            time_waits: TimeWaits::default(),
            udp: Ports::default(),
            flows: BTreeMap::new(),
            ports_drawn: 0,
            ready: Vec::new(),
            queued: false,
            delayed: false,
            busy_until: Time::ZERO,
            deadline: Time::NEVER,
            timer: LazyTimer::default(),
            ranks: None,
        }
    }
}

/// What a host's own draws are keyed by: `name@incarnation`.
fn entity(name: &str, incarnation: u16) -> Entity {
    let mut hash = NameHash::new();
    hash.text(name);
    hash.text("@");
    hash.number(u32::from(incarnation));
    hash.finish()
}
