//! The addresses that a datagram socket has sent to.

use crate::address::Endpoint;
use crate::flow::Flow;
use crate::host_set::HostSet;
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
    /// [`ALIKE`] for the one of `alike` that is shown.
    last: usize,
    /// More peers, if there are many.
    alike: Option<Box<Alike>>,
}

/// How many peers stand in the list before it is asked what newcomers have in common.
const MANY: usize = 4;
const ALIKE: usize = usize::MAX;

/// Peers that differ in their hosts alone, as the members of a cluster do: where links only delay, a bit says of each
/// all that there is to say. A list of them has a cache line for each, and a cluster the square of that.
#[derive(Debug)]
struct Alike {
    /// One of them: the one that is shown.
    shown: Peer,
    /// The address of host 0, as a number; those of the others follow it.
    base: u64,
    /// Those to whom the way holds, as of the version of the one that is shown.
    hosts: HostSet,
    /// Those to whom it must be looked for again: links have changed since.
    stale: HostSet,
}

impl Alike {
    fn new(shown: Peer, host: u32) -> Self {
        let base = base(&shown, host);
        Self { shown, base, hosts: HostSet::default(), stale: HostSet::default() }
    }

    /// The host with this address, if the address is of the same form as theirs.
    #[inline]
    fn host_at(&self, remote: Endpoint) -> Option<u32> {
        u32::try_from(remote.bits().wrapping_sub(self.base)).ok()
    }

    fn is_empty(&self) -> bool {
        self.hosts.is_empty() && self.stale.is_empty()
    }

    fn show(&mut self, remote: Endpoint, host: u32) {
        let Peer { address, path, flow, .. } = &mut self.shown;
        (*address, path.host, *flow) = (remote, Some(host), flow.to_server(host));
    }

    /// Takes a peer in, and shows it, if it is like the others.
    fn take_in(&mut self, peer: &Peer, host: u32) -> bool {
        let Peer { path, source, flow, .. } = &self.shown;
        let is_alike = path.to(host) == peer.path
            && *source == peer.source
            && flow.to_server(host) == peer.flow
            && base(peer, host) == self.base;
        if !is_alike {
            return false;
        }
        if self.shown.version != peer.version {
            self.stale.take_all(&mut self.hosts);
            self.shown.version = peer.version;
        }
        let is_in = self.hosts.insert(host);
        if is_in {
            self.show(peer.address, host);
        }
        is_in
    }
}

/// What is left of a peer's address without its host.
fn base(peer: &Peer, host: u32) -> u64 {
    peer.address.bits().wrapping_sub(host.into())
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
        match &mut self.alike {
            Some(alike) if self.last == ALIKE => &mut alike.shown,
            _ => &mut self.list[self.last],
        }
    }

    /// True if the way to this address is known and still holds: then it is the last peer.
    #[inline]
    pub(crate) fn knows_way_to(&mut self, remote: Endpoint, version: u32) -> bool {
        let last = self.list.get(self.last);
        last.is_some_and(|peer| peer.version == version && peer.address == remote)
            || self.find_way_to(remote, version)
    }

    fn find_way_to(&mut self, remote: Endpoint, version: u32) -> bool {
        let Self { list, places, alike, .. } = self;
        if let Some(alike) = alike
            && alike.shown.version == version
            && let Some(host) = alike.host_at(remote).filter(|&host| alike.hosts.has(host))
        {
            alike.show(remote, host);
            self.last = ALIKE;
            return true;
        }
        // An address that has changed hands stands there several times.
        let holds = |place: usize| list[place].version == version && list[place].address == remote;
        let found = places.find(list.len(), hash(remote, None), holds);
        self.last = found.unwrap_or(self.last);
        found.is_some()
    }

    /// Makes the peer with this address, on this host, the last one; false if there is none in the list.
    pub(crate) fn find(&mut self, remote: Endpoint, host: Option<u32>) -> bool {
        let Self { list, places, .. } = self;
        let is_it = |place: usize| list[place].address == remote && list[place].path.host == host;
        let found = places.find(list.len(), hash(remote, host), is_it);
        self.last = found.unwrap_or(self.last);
        found.is_some()
    }

    /// Takes out a peer that is like others; returns its flow. It must be added again, as what it is now.
    pub(crate) fn take_out(&mut self, remote: Endpoint, host: Option<u32>) -> Option<Flow> {
        let alike = self.alike.as_mut()?;
        let host = alike.host_at(remote).filter(|&it| host == Some(it))?;
        let was_there = alike.hosts.remove(host) | alike.stale.remove(host);
        was_there.then(|| alike.shown.flow.to_server(host))
    }

    /// Adds a peer that is not there yet, as the last one. `is_plain` if there is no more to say about its packets than
    /// how long they take, which is the same for all.
    pub(crate) fn add(&mut self, peer: Peer, is_plain: bool) {
        let host = peer.path.host.filter(|&host| host != peer.path.from);
        if is_plain
            && self.list.len() >= MANY
            && host.is_some_and(|host| self.add_alike(&peer, host))
        {
            self.last = ALIKE;
            return;
        }
        self.last = self.list.len();
        self.list.push(peer);
        let list = &self.list;
        self.places.added(list.len(), |place| list[place].hash());
    }

    /// Adds a peer to those that are alike, if it is like them.
    fn add_alike(&mut self, peer: &Peer, host: u32) -> bool {
        if self.alike.as_ref().is_none_or(|alike| alike.is_empty()) {
            let shown = Peer { lane: None, ..*peer };
            self.alike = Some(Box::new(Alike::new(shown, host)));
        }
        self.alike.as_mut().is_some_and(|alike| alike.take_in(peer, host))
    }

    /// Every way must be looked for again.
    pub(crate) fn forget_ways(&mut self) {
        self.list.iter_mut().for_each(|peer| peer.version = 0);
        if let Some(alike) = &mut self.alike {
            alike.shown.version = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Ip;
    use crate::wire::Wire;

    const PORT: u16 = 7;

    fn address(host: u32) -> Endpoint {
        Endpoint::new(Ip::host6(host + 100), PORT)
    }

    fn peer(wire: &Wire, host: u32, number: u32) -> Peer {
        let flow = Flow::new((1, 1), (host, PORT), number, true);
        let (path, source) = (wire.path_between(1, host), Endpoint::new(Ip::host6(101), 9));
        Peer { address: address(host), path, source, version: 3, flow, lane: None }
    }

    fn shown(peers: &mut Peers) -> (Endpoint, Option<u32>, Flow) {
        let peer = peers.last();
        (peer.address, peer.path.host, peer.flow)
    }

    #[test]
    fn peers_that_are_alike_are_each_shown_as_they_were_added() {
        let wire = Wire::default();
        let mut peers = Peers::default();
        // 1 is the host itself, and 40 has another number: they are not like the others.
        let number = |host| if host == 40 { 2 } else { 1 };
        for host in 0..200 {
            peers.add(peer(&wire, host, number(host)), true);
            assert_eq!(shown(&mut peers).1, Some(host));
        }
        assert_eq!(peers.list.len(), MANY + 1);
        for host in (0..200).rev() {
            assert!(peers.knows_way_to(address(host), 3) && !peers.knows_way_to(address(host), 4));
            let flow = Flow::new((1, 1), (host, PORT), number(host), true);
            assert_eq!(shown(&mut peers), (address(host), Some(host), flow));
        }
        assert!(!peers.knows_way_to(address(200), 3));
        assert!(!peers.knows_way_to(Endpoint::new(address(90).ip, PORT + 1), 3));
    }

    #[test]
    fn a_peer_that_is_taken_out_keeps_its_flow_and_others_stay() {
        let wire = Wire::default();
        let mut peers = Peers::default();
        (0..90).for_each(|host| peers.add(peer(&wire, host, 1), true));
        let flow = peer(&wire, 80, 1).flow;
        assert_eq!(peers.take_out(address(80), Some(81)), None, "the address has changed hands");
        assert_eq!(peers.take_out(address(80), Some(80)), Some(flow));
        assert_eq!(peers.take_out(address(80), Some(80)), None);
        assert!(!peers.knows_way_to(address(80), 3) && peers.knows_way_to(address(79), 3));
        peers.forget_ways();
        assert!(!peers.knows_way_to(address(79), 3));
        assert_eq!(peers.take_out(address(79), Some(79)), Some(peer(&wire, 79, 1).flow));
    }

    #[test]
    fn when_links_have_changed_each_way_is_looked_for_again_and_peers_stay_alike() {
        let wire = Wire::default();
        let mut peers = Peers::default();
        (0..90).for_each(|host| peers.add(peer(&wire, host, 1), true));
        for version in 4..7 {
            for host in (10..90).filter(|host| host % version != 0) {
                assert!(!peers.knows_way_to(address(host), version), "{host} {version}");
                let flow = peers.take_out(address(host), Some(host));
                assert_eq!(flow, Some(peer(&wire, host, 1).flow), "{host} {version}");
                peers.add(Peer { version, ..peer(&wire, host, 1) }, true);
                assert!(peers.knows_way_to(address(host), version), "{host} {version}");
            }
        }
        assert_eq!(peers.list.len(), MANY);
        assert_eq!(
            peers.take_out(address(60), Some(60)),
            Some(peer(&wire, 60, 1).flow),
            "it was left out"
        );
    }
}
