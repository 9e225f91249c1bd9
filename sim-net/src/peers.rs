//! The addresses that a datagram socket has sent to.

use crate::address::Endpoint;
use crate::flow::Flow;
use crate::link::lane::Lane;
use crate::places::{Places, hash_of};
use crate::wire::Path;

/// An address that datagrams went to: how they get there, under which name, and what chance does to
/// them.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: Endpoint,
    /// The way there. Its host belongs to the key: an address can change hands, and a group has many.
    pub(crate) path: Path,
    /// What datagrams to it come from.
    pub(crate) source: Endpoint,
    /// As of which version of the links `path` and `source` hold; 0 if they do not.
    pub(crate) version: u32,
    pub(crate) flow: Flow,
    pub(crate) lane: Option<Box<Lane>>,
}

/// The peers of a socket, and which of them the last datagram went to.
#[derive(Debug, Default)]
pub(crate) struct Peers {
    list: Vec<Peer>,
    places: Places,
    last: usize,
}

impl Peer {
    fn hash(&self) -> u64 {
        hash(self.address, self.path.host)
    }
}

/// The hash of an address that `host` has. The members of a group have one address and each a hash of
/// its own.
fn hash(address: Endpoint, host: Option<u32>) -> u64 {
    let host = if address.ip.is_to_many() { host.map_or(0, |host| u64::from(host) + 1) } else { 0 };
    hash_of(address.bits() ^ host.rotate_right(24))
}

impl Peers {
    /// The peer that the last datagram went to, or is to go to.
    ///
    /// # Panics
    ///
    /// If none was ever added.
    #[inline]
    pub(crate) fn last(&mut self) -> &mut Peer {
        &mut self.list[self.last]
    }

    /// True if the way to this address is known and still holds: then it is the last peer.
    #[inline]
    pub(crate) fn knows_way_to(&mut self, remote: Endpoint, version: u32) -> bool {
        let last = self.list.get(self.last);
        last.is_some_and(|peer| peer.version == version && peer.address == remote)
            || self.find_way_to(remote, version)
    }

    fn find_way_to(&mut self, remote: Endpoint, version: u32) -> bool {
        let Self { list, places, .. } = self;
        // An address that has changed hands stands there several times.
        let holds = |place: usize| list[place].version == version && list[place].address == remote;
        let found = places.find(list.len(), hash(remote, None), holds);
        self.last = found.unwrap_or(self.last);
        found.is_some()
    }

    /// Makes the peer with this address, on this host, the last one; false if there is none.
    pub(crate) fn find(&mut self, remote: Endpoint, host: Option<u32>) -> bool {
        let Self { list, places, .. } = self;
        let is_it = |place: usize| list[place].address == remote && list[place].path.host == host;
        let found = places.find(list.len(), hash(remote, host), is_it);
        self.last = found.unwrap_or(self.last);
        found.is_some()
    }

    /// Adds a peer that is not there yet, as the last one.
    pub(crate) fn add(&mut self, peer: Peer) {
        self.last = self.list.len();
        self.list.push(peer);
        let list = &self.list;
        self.places.added(list.len(), |place| list[place].hash());
    }

    /// Every way must be looked for again.
    pub(crate) fn forget_ways(&mut self) {
        self.list.iter_mut().for_each(|peer| peer.version = 0);
    }
}
