//! The links of a running world, by the test's own hand.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::{Rc, Weak};

use sim_core::Time;

use crate::link::delivery::Whereabouts;
use crate::link::{Link, LinkError, LinkRule, Rate};
use crate::network::Network;
use crate::packet::Packet;
use crate::partition::{Cut, Cuts, Effect, Partition};
use crate::scheduler::Scheduler;
use crate::trace::{PacketKind, PacketRecord, Subject};

/// The links and partitions of a world, to look at and to change while it runs. It can be cloned
/// and kept: by the scenario, by tasks, by protocols. It keeps no world alive: after the end of its
/// world no link is found, and nothing happens any more.
///
/// What is changed holds for the packets that are sent from then on; partitions hold for those in
/// flight too.
///
/// ```
/// use std::time::Duration;
/// use sim_core::World;
/// use sim_net::{Links, Partition, Sim};
///
/// async fn cut_off(world: World, links: Links) -> Result<(), sim_core::Failure> {
///     let (server, client) = (world.host("server"), world.host("client"));
///     let cut = links.partition(&Partition::isolate("server"))?;
///     client.sleep(Duration::from_secs(1)).await;
///     links.heal_one(cut);
///     links.link("client", "server")?.set("latency=50ms,loss=1%".parse()?);
///     Ok(())
/// }
///
/// let report = Sim::new(1).run_with_links(cut_off);
/// assert!(report.outcome.is_ok());
/// assert_eq!(report.faults["partition.drop"], 0);
/// ```
#[derive(Clone)]
pub struct Links(Weak<Scheduler>);

impl Links {
    pub(crate) fn new(scheduler: &Rc<Scheduler>) -> Self {
        Self(Rc::downgrade(scheduler))
    }

    /// Does something to the network, if it is still there.
    fn with<T>(&self, act: impl FnOnce(&mut Network) -> T) -> Option<T> {
        let scheduler = self.0.upgrade()?;
        let mut network = scheduler.network();
        Some(act(&mut network))
    }

    fn try_with<T>(
        &self,
        act: impl FnOnce(&mut Network) -> Result<T, LinkError>,
    ) -> Result<T, LinkError> {
        let over = || LinkError::value("links", "their world is over: there is nothing to change");
        self.with(act).unwrap_or_else(|| Err(over()))
    }

    /// The link from one host to another. The way back is a link of its own.
    ///
    /// # Errors
    ///
    /// A name that no host has; a world that is over.
    pub fn link(&self, from: &str, to: &str) -> Result<LinkHandle, LinkError> {
        let pair = self.try_with(|network| Ok((host(network, from)?, host(network, to)?)))?;
        if pair.0 == pair.1 {
            return Err(of_itself(from));
        }
        Ok(LinkHandle { links: self.clone(), pair })
    }

    /// Changes what a rule is about.
    ///
    /// # Errors
    ///
    /// A name that no host has; a link of a host to itself, of which there is none; a world that is over.
    pub fn set(&self, rule: impl Into<LinkRule>) -> Result<(), LinkError> {
        let rule = rule.into();
        if let Some(host) = rule.of_itself() {
            return Err(of_itself(host));
        }
        self.try_with(|network| {
            network.apply_rule(&rule)?;
            network.note_rule(&rule);
            Ok(())
        })
    }

    /// Sets the rate that everything shares which a host sends to others; `None` for no bound.
    ///
    /// # Errors
    ///
    /// A name that no host has; a world that is over.
    pub fn set_uplink(&self, name: &str, rate: Option<Rate>) -> Result<(), LinkError> {
        self.try_with(|network| {
            let index = host(network, name)?;
            let wire = &mut network.wire;
            wire.links.set_uplink(wire.now, index, rate, &mut wire.faults);
            network.note_gate(Subject::Uplink(index), &format!("{name}->*"), rate);
            Ok(())
        })
    }

    /// Sets the rate that everything shares which a host receives from others; `None` for no bound.
    ///
    /// # Errors
    ///
    /// A name that no host has; a world that is over.
    pub fn set_downlink(&self, name: &str, rate: Option<Rate>) -> Result<(), LinkError> {
        self.try_with(|network| {
            let index = host(network, name)?;
            let wire = &mut network.wire;
            wire.links.set_downlink(wire.now, index, rate, &mut wire.faults);
            network.note_gate(Subject::Downlink(index), &format!("*->{name}"), rate);
            Ok(())
        })
    }

    /// Begins a partition. Several can be in force; where they overlap, the worst holds.
    ///
    /// # Errors
    ///
    /// A name that no host has; a world that is over.
    pub fn partition(&self, partition: &Partition) -> Result<Cut, LinkError> {
        self.try_with(|network| {
            let new = Cuts::resolve(partition, network)?;
            let cut = network.wire.links.cuts.add(new);
            network.wire.links.cuts_changed();
            network.wire.faults.enable(partition.fault());
            network.note_partition(cut, partition);
            Ok(cut)
        })
    }

    /// Ends every partition and releases every held link. What was held arrives now.
    pub fn heal(&self) {
        self.with(|network| network.heal_all_but(&[]));
    }

    /// Ends one partition, if it is still in force.
    pub fn heal_one(&self, cut: Cut) {
        self.with(|network| network.heal(cut));
    }

    /// All packets on their way between hosts: those that have a time by when they arrive, then
    /// those that are held. Takes as long as there is to look at.
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.in_flight_where(|from, to| from != to)
    }

    /// How often each fault bit until now, by its name.
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.with(|network| network.wire.faults.counts()).unwrap_or_default()
    }

    /// Delivers a packet now, whatever is in its way; false if it is no longer on its way.
    pub fn deliver(&self, packet: &InFlight) -> bool {
        self.intercept(packet, Network::deliver_by_hand)
    }

    /// Drops a packet; false if it is no longer on its way.
    pub fn discard(&self, packet: &InFlight) -> bool {
        self.intercept(packet, Network::drop_by_hand)
    }

    /// Takes a packet off its way, if it is still on it; true if it was.
    fn intercept(&self, packet: &InFlight, then: impl FnOnce(&mut Network, Packet)) -> bool {
        let found = self.with(|network| {
            let packet = network.intercept(packet.place)?;
            then(network, packet);
            Some(())
        });
        found.flatten().is_some()
    }

    fn in_flight_where(&self, wanted: impl Fn(u32, u32) -> bool) -> Vec<InFlight> {
        let named = self.with(|network| {
            let mut found = Vec::new();
            network.each_in_flight(|place, arrives, packet| {
                if wanted(packet.flow.sender(), packet.to_host) {
                    found.push((place, arrives, packet.record()));
                }
            });
            let hosts = &network.wire.trace.hosts;
            let named = found.into_iter().map(|(place, arrives, packet)| {
                let PacketRecord { flow, kind, offset, bytes } = packet;
                let flow = flow.name(hosts).to_string();
                InFlight { flow, kind, offset, bytes, arrives, place }
            });
            named.collect()
        });
        named.unwrap_or_default()
    }
}

fn of_itself(name: &str) -> LinkError {
    LinkError::value("link", format!("{name:?} has no link to itself: name two hosts"))
}

fn host(network: &Network, name: &str) -> Result<u32, LinkError> {
    network.host_named(name).ok_or_else(|| LinkError::UnknownHost { name: name.to_owned() })
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

/// The link from one host to another, in a running world.
///
/// ```
/// use std::time::Duration;
/// use std::net::SocketAddr;
/// use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};
/// use sim_net::{Links, Sim};
///
/// struct Sink;
/// impl DatagramProtocol for Sink {
///     fn datagram_received(
///         &mut self,
///         _: &mut Cx<'_, Self, DatagramTransport>,
///         _: &[u8],
///         _: SocketAddr,
///     ) {
///     }
/// }
///
/// async fn jam(world: World, links: Links) -> Result<(), sim_core::Failure> {
///     let (a, b) = (world.host("a"), world.host("b"));
///     let _sink = b.datagram().local(("b", 9)).bind(|| Sink).await?;
///     let source = a.datagram().remote(("b", 9)).bind(|| Sink).await?;
///     let link = links.link("a", "b")?;
///     link.hold();
///     source.transport().send_to(b"hello", None)?;
///     a.sleep(Duration::from_secs(5)).await;
///     let waiting = link.in_flight();
///     assert_eq!((waiting[0].flow.as_str(), waiting[0].bytes), ("a@1→b:9/udp#1", 5));
///     link.release();
///     Ok(())
/// }
///
/// assert!(Sim::new(1).run_with_links(jam).outcome.is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct LinkHandle {
    links: Links,
    pair: (u32, u32),
}

impl LinkHandle {
    /// Gives it parameters of its own, all of them.
    pub fn set(&self, link: Link) {
        self.replace(Some(link));
    }

    /// Makes it a link as everywhere again.
    pub fn reset(&self) {
        self.replace(None);
    }

    fn replace(&self, link: Option<Link>) {
        self.links.with(|network| {
            let wire = &mut network.wire;
            wire.links.set_pair(wire.now, self.pair, link.clone(), &mut wire.faults);
            network.note_link(self.pair, link.as_ref());
        });
    }

    /// Holds everything that is on its way or sent from now on, until it is released.
    pub fn hold(&self) {
        self.links.with(|network| {
            network.wire.links.hold_link(self.pair);
            network.wire.faults.enable(Effect::Hold.fault());
            network.note_jam(self.pair);
        });
    }

    /// Lets go what [`hold`](Self::hold) holds: it arrives now, unless a partition is in its way.
    pub fn release(&self) {
        self.links.with(|network| {
            network.wire.links.release_link(self.pair);
            let (from, to) = self.pair;
            network.note_end(|subject| subject == Subject::Jam(from, to));
            network.let_go();
        });
    }

    /// The packets that are on their way.
    pub fn in_flight(&self) -> Vec<InFlight> {
        self.links.in_flight_where(|from, to| (from, to) == self.pair)
    }
}

/// A packet on its way, as it was when somebody looked.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// The name of its flow, such as `client@1→server:7000#2`.
    pub flow: String,
    /// What it is.
    pub kind: PacketKind,
    /// Its sequence number, counted from the initial one; 0 if it is no segment.
    pub offset: u32,
    /// How many bytes of data it carries.
    pub bytes: u32,
    /// When it arrives; `None` while it is held.
    pub arrives: Option<Time>,
    place: Whereabouts,
}
