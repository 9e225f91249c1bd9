//! Who holds which port of a host.

use std::collections::BTreeMap;

use crate::address::{Endpoint, Ip};
use crate::decisions::below;
use crate::memory::clear;
use crate::socket_table::SocketId;
use crate::tcp::time_wait::Pair;

/// The ports that the kernel gives out (`ip_local_port_range`).
const EPHEMERAL: std::ops::RangeInclusive<u16> = 32_768..=60_999;
const LOWEST: Ip = Ip::v4(0);
const HIGHEST: Ip = Ip::host6(u32::MAX);

/// A socket's hold on a port.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bind {
    pub(crate) ip: Ip,
    pub(crate) reuse_address: bool,
    pub(crate) reuse_port: bool,
    /// It accepts connections, so nobody shares the port by `SO_REUSEADDR`.
    pub(crate) listening: bool,
}

/// The bound sockets of a host, for one transport protocol.
#[derive(Debug, Default)]
pub(crate) struct Ports {
    /// By port and socket. A sorted list: it is searched for each datagram and seldom changed.
    binds: Vec<((u16, SocketId), Bind)>,
    /// The address that was last looked for, if one socket alone can have it.
    last: Option<(Endpoint, SocketId)>,
}

impl Bind {
    /// True if `other`, which is to be bound or to listen, may not share the port. As on Linux only
    /// a holder that listens already stands against `SO_REUSEADDR`: the first to listen wins.
    fn conflicts(&self, other: &Self) -> bool {
        let shared = self.reuse_port && other.reuse_port
            || self.reuse_address && other.reuse_address && !self.listening;
        self.ip.overlaps(other.ip) && !shared
    }
}

impl Ports {
    /// Makes it as new, but for its room.
    pub(crate) fn renew(&mut self) {
        let Self { binds, last } = self;
        clear(binds);
        *last = None;
    }

    fn place(&self, port: u16, id: SocketId) -> Result<usize, usize> {
        self.binds.binary_search_by_key(&(port, id), |&(key, _)| key)
    }

    /// Binds a socket, or replaces its bind.
    pub(crate) fn insert(&mut self, port: u16, id: SocketId, bind: Bind) {
        self.last = None;
        match self.place(port, id) {
            Ok(place) => self.binds[place].1 = bind,
            Err(place) => self.binds.insert(place, ((port, id), bind)),
        }
    }

    pub(crate) fn remove(&mut self, port: u16, id: SocketId) {
        self.last = None;
        if let Ok(place) = self.place(port, id) {
            self.binds.remove(place);
        }
    }

    pub(crate) fn get_mut(&mut self, port: u16, id: SocketId) -> Option<&mut Bind> {
        self.last = None;
        let place = self.place(port, id).ok()?;
        Some(&mut self.binds[place].1)
    }

    /// The sockets on a port.
    #[inline]
    pub(crate) fn on(&self, port: u16) -> impl Iterator<Item = (SocketId, &Bind)> {
        let first = self.binds.partition_point(|&((held, _), _)| held < port);
        let here = self.binds[first..].iter().take_while(move |((held, _), _)| *held == port);
        here.map(|((_, id), bind)| (*id, bind))
    }

    pub(crate) fn is_free(&self, port: u16) -> bool {
        self.on(port).next().is_none()
    }

    /// True if `bind` may not have the port because of a socket other than `id`.
    pub(crate) fn conflict(&self, port: u16, id: SocketId, bind: &Bind) -> bool {
        self.on(port).any(|(other, held)| other != id && held.conflicts(bind))
    }

    /// The socket that was found last, if it was for an arrival at `local`.
    #[inline]
    pub(crate) fn found_last(&self, local: Endpoint) -> Option<SocketId> {
        let (last, id) = self.last?;
        (last == local).then_some(id)
    }

    /// The socket for an arrival at `local`. One that is alone at the address is not asked about: whether
    /// it takes the arrival, its caller sees. Of several, `rank` says which take it and which of them go
    /// first.
    #[inline(always)]
    pub(crate) fn find<R: Ord>(
        &mut self,
        local: Endpoint,
        remote: Endpoint,
        rank: impl Fn(SocketId, &Bind) -> Option<R>,
    ) -> Option<SocketId> {
        self.found_last(local).or_else(|| self.search(local, remote, rank))
    }

    fn search<R: Ord>(
        &mut self,
        local: Endpoint,
        remote: Endpoint,
        rank: impl Fn(SocketId, &Bind) -> Option<R>,
    ) -> Option<SocketId> {
        let mut matching = self.at(local);
        let (first, _) = matching.next()?;
        if matching.next().is_some() {
            drop(matching);
            return self.choose(local, remote, rank);
        }
        drop(matching);
        self.last = Some((local, first));
        Some(first)
    }

    /// The sockets that are bound to an address or to the wildcard.
    fn at(&self, local: Endpoint) -> impl Iterator<Item = (SocketId, &Bind)> {
        let wildcard = Ip::any(local.ip.family());
        self.on(local.port).filter(move |(_, bind)| bind.ip == local.ip || bind.ip == wildcard)
    }

    /// One of several: the very address goes before the wildcard, and those that share it by
    /// `SO_REUSEPORT` are told apart by the sender.
    #[cold]
    fn choose<R: Ord>(
        &self,
        local: Endpoint,
        remote: Endpoint,
        rank: impl Fn(SocketId, &Bind) -> Option<R>,
    ) -> Option<SocketId> {
        let ranked = |(id, bind)| Some(((rank(id, bind)?, bind.ip == local.ip), id));
        let best = self.at(local).filter_map(ranked).map(|(rank, _)| rank).max()?;
        let candidates = || self.at(local).filter_map(ranked).filter(|(rank, _)| *rank == best);
        let choice = usize::from(remote.port) % candidates().count();
        candidates().nth(choice).map(|(_, id)| id)
    }
}

/// The entries of `map` whose own end has this port.
pub(crate) fn on_port<V>(map: &BTreeMap<Pair, V>, port: u16) -> impl Iterator<Item = (&Pair, &V)> {
    let (low, high) = (Endpoint::new(LOWEST, 0), Endpoint::new(HIGHEST, u16::MAX));
    map.range((Endpoint::new(LOWEST, port), low)..=(Endpoint::new(HIGHEST, port), high))
}

/// The first ephemeral port that is free, from a drawn place on (RFC 6056 §3.3.1).
pub(crate) fn ephemeral(draw: u64, mut is_free: impl FnMut(u16) -> bool) -> Option<u16> {
    let (first, last) = EPHEMERAL.into_inner();
    let count = u64::from(last - first) + 1;
    let start = first + below(draw, count) as u16;
    (start..=last).chain(first..start).find(|&port| is_free(port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ephemeral_port_is_found_before_giving_up() {
        assert_eq!(ephemeral(u64::MAX, |_| true), Some(60_999));
        assert_eq!(ephemeral(0, |_| true), Some(32_768));
        assert_eq!(ephemeral(u64::MAX / 2, |port| port == 32_768), Some(32_768));
        assert_eq!(ephemeral(7, |_| false), None);
    }

    #[test]
    fn a_listener_shares_its_port_with_no_newcomer_but_by_reuse_port() {
        let bind = Bind { ip: Ip::v4(0), reuse_address: true, reuse_port: false, listening: false };
        assert!(!bind.conflicts(&bind));
        let listening = Bind { listening: true, ..bind };
        assert!(listening.conflicts(&bind) && listening.conflicts(&listening));
        assert!(!bind.conflicts(&listening), "the first to listen");
        let shared = Bind { reuse_port: true, ..listening };
        assert!(!shared.conflicts(&shared));
        let elsewhere = Bind { ip: Ip::ANY6, ..listening };
        assert!(!elsewhere.conflicts(&listening));
    }
}
