//! The connections of a host, by their two ends.

use std::collections::BTreeMap;

use super::time_wait::Pair;
use crate::memory::clear;
use crate::ports::on_port;
use crate::socket_table::SocketId;

/// How many connections are kept in a list.
const FEW_MAX: usize = 16;

/// A map from the two ends of a connection to its socket. A host with few has them in a sorted list,
/// whose memory the next world takes.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    few: Vec<(Pair, SocketId)>,
    /// All of them, once there were many.
    many: BTreeMap<Pair, SocketId>,
}

impl Connections {
    fn place(&self, pair: &Pair) -> Result<usize, usize> {
        self.few.binary_search_by_key(pair, |&(own, _)| own)
    }

    #[inline]
    pub(crate) fn get(&self, pair: &Pair) -> Option<SocketId> {
        match self.place(pair) {
            Ok(place) => Some(self.few[place].1),
            Err(_) => self.many.get(pair).copied(),
        }
    }

    pub(crate) fn contains(&self, pair: &Pair) -> bool {
        self.get(pair).is_some()
    }

    pub(crate) fn insert(&mut self, pair: Pair, id: SocketId) {
        if self.few.len() == FEW_MAX {
            self.many.extend(self.few.drain(..));
        }
        if !self.many.is_empty() {
            self.many.insert(pair, id);
            return;
        }
        match self.place(&pair) {
            Ok(place) => self.few[place].1 = id,
            Err(place) => self.few.insert(place, (pair, id)),
        }
    }

    pub(crate) fn remove(&mut self, pair: &Pair) {
        match self.place(pair) {
            Ok(place) => drop(self.few.remove(place)),
            Err(_) => drop(self.many.remove(pair)),
        }
    }

    /// Those with this local port.
    pub(crate) fn on_port(&self, port: u16) -> impl Iterator<Item = (Pair, SocketId)> {
        let few = self.few.iter().copied().filter(move |((local, _), _)| local.port == port);
        few.chain(on_port(&self.many, port).map(|(&pair, &id)| (pair, id)))
    }

    /// Makes it as new, but for the room of a short list.
    pub(crate) fn renew(&mut self) {
        let Self { few, many } = self;
        clear(few);
        many.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::{Endpoint, Ip};

    #[test]
    fn few_and_many_are_found_alike() {
        for count in [1, FEW_MAX, FEW_MAX + 1, 3 * FEW_MAX] {
            let mut connections = Connections::default();
            let pair = |port: usize| {
                let end = |port| Endpoint::new(Ip::v4(0x0a00_0001), port);
                (end(7_000 + port as u16 % 2), end(40_000 + port as u16))
            };
            let id = |number: usize| SocketId::of_device(number as u32);
            for number in (0..count).rev() {
                connections.insert(pair(number), id(number));
            }
            assert!((0..count).all(|number| connections.get(&pair(number)) == Some(id(number))));
            assert_eq!(connections.on_port(7_000).count(), count.div_ceil(2));
            connections.remove(&pair(0));
            assert!(!connections.contains(&pair(0)) && !connections.contains(&pair(count)));
            assert_eq!(connections.on_port(7_000).count(), count.div_ceil(2) - 1);
        }
    }
}
