//! Partitions: which packets do not get through, and what becomes of them.

use std::fmt;

use crate::link::LinkError;
use crate::memory::clear;
use crate::network::Network;
use crate::packet::Packet;

/// Some hosts of a world, those to come included: these, or all but these.
///
/// ```
/// use sim_net::HostSet;
///
/// let two = HostSet::from(["a", "b"]);
/// let rest = HostSet::all_but(["a", "b"]);
/// assert_ne!(two, rest);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostSet {
    names: Vec<String>,
    is_complement: bool,
}

impl HostSet {
    /// Every host but these.
    pub fn all_but<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), is_complement: true }
    }

    fn resolve(&self, network: &Network) -> Result<Members, LinkError> {
        let index = |name: &String| {
            let unknown = || LinkError::UnknownHost { name: name.clone() };
            network.host_named(name).ok_or_else(unknown)
        };
        let mut hosts = self.names.iter().map(index).collect::<Result<Vec<u32>, _>>()?;
        hosts.sort_unstable();
        Ok(Members { hosts, is_complement: self.is_complement })
    }
}

impl From<&str> for HostSet {
    fn from(name: &str) -> Self {
        [name].into()
    }
}

impl<S: Into<String>, const N: usize> From<[S; N]> for HostSet {
    fn from(names: [S; N]) -> Self {
        Vec::from(names).into()
    }
}

impl<S: Into<String>> From<Vec<S>> for HostSet {
    fn from(names: Vec<S>) -> Self {
        Self { names: names.into_iter().map(Into::into).collect(), is_complement: false }
    }
}

/// What becomes of a packet that a partition is in the way of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Effect {
    /// It waits at the end of its way until nothing is in its way any more: a jam. A segment that
    /// waited for more than 30 s is dropped then. At most 65 536 packets wait in a world.
    Hold,
    /// It is dropped, and ICMP "host unreachable" is back with its sender after one delay of the
    /// link: an attempt to connect fails with `EHOSTUNREACH`.
    Reject,
    /// It is dropped.
    #[default]
    Drop,
}

/// A partition, as data: pairs of sets, the packets from one to the other of which do not get
/// through. It is directed, and judged when a packet leaves and again when it arrives, so that it
/// catches what is in flight. (A jam is judged at the arrival alone.)
///
/// ```
/// use sim_net::{Effect, Partition};
///
/// let halves = Partition::between(["a", "b"], ["c", "d"]);
/// let leader_alone = Partition::isolate("leader").effect(Effect::Reject);
/// let deaf = Partition::one_way("leader", "follower").port(7000);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Partition {
    pairs: Vec<(HostSet, HostSet)>,
    port: Option<u16>,
    effect: Effect,
}

impl Partition {
    /// Nothing gets from the ones to the others; the other way is open.
    pub fn one_way(from: impl Into<HostSet>, to: impl Into<HostSet>) -> Self {
        Self { pairs: vec![(from.into(), to.into())], port: None, effect: Effect::Drop }
    }

    /// Nothing gets from the ones to the others or back.
    pub fn between(left: impl Into<HostSet>, right: impl Into<HostSet>) -> Self {
        let (left, right) = (left.into(), right.into());
        let pairs = vec![(left.clone(), right.clone()), (right, left)];
        Self { pairs, port: None, effect: Effect::Drop }
    }

    /// A host hears nobody, and nobody hears it.
    pub fn isolate(host: &str) -> Self {
        Self::split([host])
    }

    /// The world falls in two: these hosts, and all others.
    pub fn split<S: Into<String>>(group: impl IntoIterator<Item = S>) -> Self {
        let group: Vec<String> = group.into_iter().map(Into::into).collect();
        Self::between(group.clone(), HostSet::all_but(group))
    }

    /// The world falls in two, these hosts and all others, and only `bridge` talks to both.
    pub fn bridge<S: Into<String>>(bridge: &str, group: impl IntoIterator<Item = S>) -> Self {
        let group: Vec<String> =
            group.into_iter().map(Into::into).filter(|h| h != bridge).collect();
        let others = HostSet::all_but(group.iter().map(String::as_str).chain([bridge]));
        Self::between(group, others)
    }

    /// Only packets to or from this port are concerned.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets what becomes of the packets: they are dropped by default.
    #[must_use]
    pub fn effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// The name of the fault that it is.
    pub(crate) fn fault(&self) -> &'static str {
        self.effect.fault()
    }
}

impl Effect {
    /// The name of the fault that it is.
    pub(crate) fn fault(self) -> &'static str {
        match self {
            Self::Hold => crate::faults::HOLD,
            Self::Reject => crate::faults::REJECT,
            Self::Drop => crate::faults::CUT,
        }
    }
}

impl fmt::Display for HostSet {
    /// The names, as `a, b` or `all but a, b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names.join(", ");
        match (self.is_complement, self.names.is_empty()) {
            (false, true) => f.write_str("nobody"),
            (false, false) => f.write_str(&names),
            (true, true) => f.write_str("all"),
            (true, false) => write!(f, "all but {names}"),
        }
    }
}

impl fmt::Display for Partition {
    /// Who does not reach whom, as `a | b, c` for both ways and `a -> b` for one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pairs[..] {
            [(left, right), (from, to)] if (left, right) == (to, from) => {
                write!(f, "{left} | {right}")?;
            }
            pairs => {
                for (number, (from, to)) in pairs.iter().enumerate() {
                    let comma = if number > 0 { "; " } else { "" };
                    write!(f, "{comma}{from} -> {to}")?;
                }
            }
        }
        if let Some(port) = self.port {
            write!(f, ", port {port}")?;
        }
        f.write_str(match self.effect {
            Effect::Hold => ", held",
            Effect::Reject => ", rejected",
            Effect::Drop => "",
        })
    }
}

impl Partition {
    /// The names of the hosts that it names.
    pub(crate) fn named(&self) -> impl Iterator<Item = &str> {
        let sets = self.pairs.iter().flat_map(|(from, to)| [from, to]);
        sets.flat_map(|set| set.names.iter().map(String::as_str))
    }
}

/// A partition that is in force, until it is healed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Cut(u64);

impl Cut {
    /// The number of it in its world, from 1 on.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// The partitions in force.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    masks: Vec<Mask>,
    last: u64,
    /// The links that are held, sorted.
    jams: Vec<(u32, u32)>,
}

#[derive(Debug)]
struct Mask {
    cut: Cut,
    from: Members,
    to: Members,
    port: Option<u16>,
    effect: Effect,
}

/// A [`HostSet`] by indices.
#[derive(Debug)]
struct Members {
    /// Sorted.
    hosts: Vec<u32>,
    is_complement: bool,
}

impl Members {
    fn has(&self, host: u32) -> bool {
        self.hosts.binary_search(&host).is_ok() != self.is_complement
    }
}

impl Cuts {
    /// Nothing is cut, or ever was.
    pub(crate) fn renew(&mut self) {
        let Self { masks, last, jams } = self;
        clear(masks);
        *last = 0;
        clear(jams);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.masks.is_empty() && self.jams.is_empty()
    }

    /// Holds a link until it is released.
    pub(crate) fn hold_link(&mut self, link: (u32, u32)) {
        if let Err(place) = self.jams.binary_search(&link) {
            self.jams.insert(place, link);
        }
    }

    pub(crate) fn release_link(&mut self, link: (u32, u32)) {
        self.jams.retain(|jam| *jam != link);
    }

    /// The masks of a partition, to be [added](Self::add).
    ///
    /// # Errors
    ///
    /// A name that no host has.
    pub(crate) fn resolve(partition: &Partition, network: &Network) -> Result<NewCut, LinkError> {
        let (port, effect) = (partition.port, partition.effect);
        let mask = |(from, to): &(HostSet, HostSet)| {
            let (from, to) = (from.resolve(network)?, to.resolve(network)?);
            Ok(Mask { cut: Cut(0), from, to, port, effect })
        };
        partition.pairs.iter().map(mask).collect::<Result<_, _>>().map(NewCut)
    }

    pub(crate) fn add(&mut self, new: NewCut) -> Cut {
        self.last += 1;
        let cut = Cut(self.last);
        self.masks.extend(new.0.into_iter().map(|mask| Mask { cut, ..mask }));
        cut
    }

    pub(crate) fn remove(&mut self, cut: Cut) {
        self.masks.retain(|mask| mask.cut != cut);
    }

    /// Ends all partitions but these, and releases every link.
    pub(crate) fn clear_but(&mut self, stay: &[Cut]) {
        self.masks.retain(|mask| stay.contains(&mask.cut));
        self.jams.clear();
    }

    /// What is to become of a packet from one host to another, if anything is in its way: the worst
    /// of it.
    pub(crate) fn judge(&self, from: u32, to: u32, packet: &Packet) -> Option<Effect> {
        self.judge_ports(from, to, [packet.source.port, packet.target.port])
    }

    /// What is to become of a packet between two ports.
    pub(crate) fn judge_ports(&self, from: u32, to: u32, ports: [u16; 2]) -> Option<Effect> {
        let stops = |mask: &&Mask| {
            mask.port.is_none_or(|port| ports.contains(&port))
                && mask.from.has(from)
                && mask.to.has(to)
        };
        let worst = self.masks.iter().filter(stops).map(|mask| mask.effect).max();
        worst.or_else(|| {
            let is_jammed = self.jams.binary_search(&(from, to)).is_ok();
            is_jammed.then_some(Effect::Hold)
        })
    }
}

/// The masks of a partition whose hosts all exist.
#[derive(Debug)]
pub(crate) struct NewCut(Vec<Mask>);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::address::{Endpoint, Ip};
    use crate::flow::Flow;
    use crate::link::Link;
    use crate::packet::{Body, Icmp};
    use crate::socket_table::SocketId;

    fn network() -> Network {
        let mut network = Network::default();
        network.begin(1, &Link::default(), &[], false, 0);
        for name in ["control", "a", "b", "c", "d"] {
            network.add_host(&Arc::from(name), true);
        }
        network
    }

    fn packet(from_port: u16, to_port: u16) -> Packet {
        Packet {
            source: Endpoint::new(Ip::v4(1), from_port),
            target: Endpoint::new(Ip::v4(2), to_port),
            to_host: 2,
            from: SocketId::NONE,
            to: SocketId::NONE,
            flow: Flow::new((1, 1), (2, to_port), 1, true),
            offset: 0,
            number: 0,
            body: Body::Icmp(Icmp::PortUnreachable, None),
        }
    }

    /// Which of the pairs of a, b, c and d are open, as `ab ac ..`.
    fn open(partition: &Partition) -> String {
        let network = network();
        let mut cuts = Cuts::default();
        cuts.add(Cuts::resolve(partition, &network).unwrap());
        let names = ['a', 'b', 'c', 'd'];
        let pairs = (1..=4).flat_map(|from| (1..=4).map(move |to| (from, to)));
        let open =
            pairs.filter(|&(from, to)| from != to && cuts.judge(from, to, &packet(1, 2)).is_none());
        let spelled = open
            .map(|(from, to)| format!("{}{}", names[from as usize - 1], names[to as usize - 1]));
        spelled.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn shapes_cut_what_their_names_say() {
        assert_eq!(open(&Partition::isolate("a")), "bc bd cb cd db dc");
        assert_eq!(open(&Partition::split(["a", "b"])), "ab ba cd dc");
        assert_eq!(open(&Partition::between("a", "b")), "ac ad bc bd ca cb cd da db dc");
        assert_eq!(open(&Partition::one_way("a", ["b", "c"])), "ad ba bc bd ca cb cd da db dc");
        // b talks to both sides; a is alone with it.
        assert_eq!(open(&Partition::bridge("b", ["a"])), "ab ba bc bd cb cd db dc");
    }

    #[test]
    fn a_port_is_cut_alone_and_in_both_roles() {
        let network = network();
        let mut cuts = Cuts::default();
        let partition = Partition::isolate("a").port(7).effect(Effect::Reject);
        let cut = cuts.add(Cuts::resolve(&partition, &network).unwrap());
        assert_eq!(cuts.judge(1, 2, &packet(7, 9)), Some(Effect::Reject));
        assert_eq!(cuts.judge(1, 2, &packet(9, 7)), Some(Effect::Reject));
        assert_eq!(cuts.judge(1, 2, &packet(9, 9)), None);
        // Of two partitions the worse decides.
        let all = Partition::isolate("a").effect(Effect::Drop);
        cuts.add(Cuts::resolve(&all, &network).unwrap());
        assert_eq!(cuts.judge(1, 2, &packet(9, 7)), Some(Effect::Drop));
        cuts.remove(cut);
        assert_eq!(cuts.judge(2, 1, &packet(9, 9)), Some(Effect::Drop));
        cuts.hold_link((1, 2));
        cuts.hold_link((3, 2));
        assert_eq!(cuts.judge(1, 2, &packet(9, 9)), Some(Effect::Drop));
        assert_eq!(cuts.judge(3, 2, &packet(9, 9)), Some(Effect::Hold));
        assert_eq!(cuts.judge(2, 3, &packet(9, 9)), None);
        cuts.release_link((3, 2));
        assert_eq!(cuts.judge(3, 2, &packet(9, 9)), None);
        cuts.clear_but(&[]);
        assert!(cuts.is_empty());
    }

    #[test]
    fn it_says_who_does_not_reach_whom() {
        let told = [
            Partition::isolate("a"),
            Partition::between(["a", "b"], "c").effect(Effect::Hold),
            Partition::one_way("a", "b").port(7).effect(Effect::Reject),
            Partition::split([""; 0]),
        ]
        .map(|partition| partition.to_string());
        assert_eq!(
            told,
            ["a | all but a", "a, b | c, held", "a -> b, port 7, rejected", "nobody | all"]
        );
    }

    #[test]
    fn an_unknown_host_is_an_error_with_its_name() {
        let error = Cuts::resolve(&Partition::isolate("e"), &network()).unwrap_err().to_string();
        assert!(error.contains("no host of this world is called \"e\""), "{error}");
    }
}
