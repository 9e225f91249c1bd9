//! Which link lies between which hosts, and what the links remember.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use sim_core::Time;
use slab::Slab;

use super::chance::Odds;
use super::lane::Lane;
use super::rate::Gate;
use super::{Chance, Link, LinkRule, MTU, Oversize, Rate};
use crate::decisions::Entity;
use crate::faults::{Faults, QUEUE};
use crate::flow::Flow;
use crate::memory::{clear, clear_map, clear_queue, clear_slab};
use crate::packet::Packet;
use crate::partition::Cuts;
use crate::plan::FaultSite;
use crate::socket_table::SocketId;

/// How many packets jams hold in a world.
const HELD_MAX: usize = 65_536;
/// How many flows are remembered whose packets no socket sends. With more the first is forgotten,
/// and its draws begin anew.
const ANSWERED_MAX: usize = 4_096;

/// The links of a world.
#[derive(Debug)]
pub(crate) struct LinkTable {
    /// What packets take between any hosts, in nanoseconds, while `is_special` is false.
    pub(crate) least: u64,
    pub(crate) spread: u64,
    /// Packets do not take the short way: links differ, or somebody watches.
    pub(crate) is_special: bool,
    /// What chance does to the packets of all links, where these are alike, nothing else could happen to a
    /// packet, and the run has no plane.
    pub(crate) odds: Option<Odds>,
    /// Some link is more than a delay, or differs from the others, or a packet is held back for later ones: those
    /// are counted whatever links are by then.
    pub(crate) differs: bool,
    /// Counts the changes, of links and of who has which address, so that sockets notice them.
    pub(crate) version: u32,
    /// Something can stop packets at the end of their way.
    pub(crate) judges_arrivals: bool,
    /// In a run that has a plane: whether that watches all packets, where they begin their way and where they
    /// end it.
    watched: Option<(bool, bool)>,
    everywhere: Rc<Link>,
    pairs: BTreeMap<(u32, u32), Rc<Link>>,
    /// The state of the links that have any.
    channels: BTreeMap<(u32, u32), Channel>,
    uplinks: BTreeMap<u32, Gate>,
    downlinks: BTreeMap<u32, Gate>,
    /// The rules by name, for hosts that are yet to come.
    rules: Vec<LinkRule>,
    pub(crate) cuts: Cuts,
    /// What jams hold, in the order of arrival.
    held: VecDeque<Held>,
    held_number: u64,
    /// The forged resets among what jams hold: to whom, and since when.
    held_resets: Vec<(SocketId, Time)>,
    held_back: Slab<HeldBack>,
    held_back_serial: u32,
    answers: BTreeMap<Flow, Option<Box<Lane>>>,
}

/// What a link remembers of its packets.
#[derive(Debug, Default)]
struct Channel {
    gate: Option<Gate>,
    last_arrival: Time,
}

/// A packet in a jam.
#[derive(Debug)]
pub(super) struct Held {
    /// No other that was ever held has it.
    pub(super) number: u64,
    pub(super) packet: Packet,
    pub(super) since: Time,
    /// It has come through its host's downlink already.
    pub(super) is_through: bool,
}

/// A packet that later ones overtake.
#[derive(Debug)]
struct HeldBack {
    serial: u32,
    packet: Packet,
    arrival: Time,
    /// How many are still to go by.
    left: u32,
}

/// The name of a packet that is held back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HeldBackKey {
    slot: u32,
    serial: u32,
}

impl Default for LinkTable {
    /// Links that are alike.
    fn default() -> Self {
        let mut table = Self {
            least: 0,
            spread: 0,
            is_special: false,
            odds: None,
            differs: false,
            version: 0,
            judges_arrivals: false,
            watched: None,
            everywhere: Rc::default(),
            pairs: BTreeMap::new(),
            channels: BTreeMap::new(),
            uplinks: BTreeMap::new(),
            downlinks: BTreeMap::new(),
            rules: Vec::new(),
            cuts: Cuts::default(),
            held: VecDeque::new(),
            held_number: 0,
            held_resets: Vec::new(),
            held_back: Slab::new(),
            held_back_serial: 0,
            answers: BTreeMap::new(),
        };
        table.look_again();
        table
    }
}

impl LinkTable {
    /// Makes it as new, but for its room: the links of another world, which are as `everywhere`, save where the rules
    /// say otherwise.
    pub(crate) fn renew(&mut self, everywhere: &Link, rules: &[LinkRule]) {
        let Self {
            // What is found out anew, below.
            least: _,
            spread: _,
            is_special: _,
            odds: _,
            differs: _,
            version,
            judges_arrivals: _,
            watched,
            everywhere: own,
            pairs,
            channels,
            uplinks,
            downlinks,
            rules: own_rules,
            cuts,
            held,
            held_number,
            held_resets,
            held_back,
            held_back_serial,
            answers,
        } = self;
        (*version, *watched) = (0, None);
        if **own != *everywhere {
            *own = Rc::new(everywhere.clone());
        }
        clear_map(pairs);
        clear_map(channels);
        clear_map(uplinks);
        clear_map(downlinks);
        own_rules.clear();
        own_rules.extend_from_slice(rules);
        cuts.renew();
        clear_queue(held);
        *held_number = 0;
        clear(held_resets);
        clear_slab(held_back);
        *held_back_serial = 0;
        clear_map(answers);
        self.look_again();
    }

    // Parameters.

    /// Applies the rules that can be applied now that there is a host called `name`.
    pub(crate) fn host_added(
        &mut self,
        name: &str,
        now: Time,
        find: impl Fn(&str) -> Option<u32>,
        faults: &mut Faults,
    ) {
        if self.rules.is_empty() {
            return;
        }
        let rules = std::mem::take(&mut self.rules);
        let about_it = rules.iter().filter(|rule| rule.hosts().any(|host| host == name));
        about_it.for_each(|rule| {
            // If another host of it is missing, it is applied when that one comes.
            let _ = self.apply(rule, now, &find, faults);
        });
        self.rules = rules;
    }

    /// The hosts that rules are about and that never came.
    pub(crate) fn absent_hosts(&self, find: impl Fn(&str) -> Option<u32>) -> Vec<String> {
        let named = self.rules.iter().flat_map(LinkRule::hosts);
        let mut absent: Vec<String> =
            named.filter(|name| find(name).is_none()).map(str::to_owned).collect();
        absent.sort_unstable();
        absent.dedup();
        absent
    }

    /// Applies a rule; `Err` has a name that no host has.
    pub(crate) fn apply<'a>(
        &mut self,
        rule: &'a LinkRule,
        now: Time,
        find: impl Fn(&str) -> Option<u32>,
        faults: &mut Faults,
    ) -> Result<(), &'a str> {
        let find = |name: &'a str| find(name).ok_or(name);
        match rule {
            LinkRule::Everywhere(link) => self.set_everywhere(now, link.clone(), faults),
            LinkRule::OneWay(a, b, link) => {
                let pair = (find(a)?, find(b)?);
                self.set_pair(now, pair, Some(link.clone()), faults);
            }
            LinkRule::BothWays(a, b, link) => {
                let (a, b) = (find(a)?, find(b)?);
                self.set_pair(now, (a, b), Some(link.clone()), faults);
                self.set_pair(now, (b, a), Some(link.clone()), faults);
            }
            LinkRule::Uplink(host, rate) => self.set_uplink(now, find(host)?, Some(*rate), faults),
            LinkRule::Downlink(host, rate) => {
                self.set_downlink(now, find(host)?, Some(*rate), faults);
            }
        }
        Ok(())
    }

    fn set_everywhere(&mut self, now: Time, link: Link, faults: &mut Faults) {
        link.faults().for_each(|name| faults.enable(name));
        self.everywhere = Rc::new(link);
        for (pair, channel) in &mut self.channels {
            let link = self.pairs.get(pair).unwrap_or(&self.everywhere);
            channel.fit(now, link);
        }
        self.look_again();
    }

    /// Sets the link of a pair; `None` for the one that is everywhere.
    pub(crate) fn set_pair(
        &mut self,
        now: Time,
        pair: (u32, u32),
        link: Option<Link>,
        faults: &mut Faults,
    ) {
        match link {
            Some(link) => {
                link.faults().for_each(|name| faults.enable(name));
                self.pairs.insert(pair, Rc::new(link));
            }
            None => drop(self.pairs.remove(&pair)),
        }
        if let Some(channel) = self.channels.get_mut(&pair) {
            channel.fit(now, self.pairs.get(&pair).unwrap_or(&self.everywhere));
        }
        self.look_again();
    }

    /// What the rules say of the link from one host to another: where nothing changes it, it is that.
    pub(crate) fn base(&self, from: &str, to: &str) -> Option<Link> {
        self.rules.iter().rev().find_map(|rule| match rule {
            LinkRule::OneWay(a, b, link) if (&**a, &**b) == (from, to) => Some(link.clone()),
            LinkRule::BothWays(a, b, link)
                if [(from, to), (to, from)].contains(&(a.as_str(), b.as_str())) =>
            {
                Some(link.clone())
            }
            _ => None,
        })
    }

    /// Takes everything off the links that could do a packet harm; how long they take stays.
    pub(crate) fn calm(&mut self) {
        self.everywhere = Rc::new(self.everywhere.calmed());
        for link in self.pairs.values_mut() {
            *link = Rc::new(link.calmed());
        }
        // They are the base that links come back to, and what those of later hosts begin with.
        for rule in &mut self.rules {
            if let LinkRule::OneWay(_, _, link) | LinkRule::BothWays(_, _, link) = rule {
                *link = link.calmed();
            }
        }
        self.look_again();
    }

    pub(crate) fn set_uplink(
        &mut self,
        now: Time,
        host: u32,
        rate: Option<Rate>,
        faults: &mut Faults,
    ) {
        set_gate(&mut self.uplinks, now, host, rate, faults);
        self.look_again();
    }

    pub(crate) fn set_downlink(
        &mut self,
        now: Time,
        host: u32,
        rate: Option<Rate>,
        faults: &mut Faults,
    ) {
        set_gate(&mut self.downlinks, now, host, rate, faults);
        self.look_again();
    }

    /// Holds the link from one host to another until it is released.
    pub(crate) fn hold_link(&mut self, pair: (u32, u32)) {
        self.cuts.hold_link(pair);
        self.look_again();
    }

    pub(crate) fn release_link(&mut self, pair: (u32, u32)) {
        self.cuts.release_link(pair);
        self.look_again();
    }

    /// Something about partitions has changed.
    pub(crate) fn cuts_changed(&mut self) {
        self.look_again();
    }

    /// Addresses belong to other hosts than before.
    pub(crate) fn routes_changed(&mut self) {
        self.version += 1;
    }

    /// Names the faults that can happen everywhere.
    pub(crate) fn enable(&self, faults: &mut Faults) {
        self.everywhere.faults().for_each(|name| faults.enable(name));
    }

    /// The run has a plane. All packets take the long way if that watches them: where they begin it, and where
    /// they end it.
    pub(crate) fn watch(&mut self, sent: bool, arrived: bool) {
        self.watched = Some((sent, arrived));
        self.look_again();
    }

    /// Finds out anew what every packet needs to know.
    fn look_again(&mut self) {
        self.version += 1;
        let plain = self.everywhere.plain();
        let (least, spread) = plain.unwrap_or_default();
        (self.least, self.spread) = (u64::try_from(least.as_nanos()).unwrap_or(u64::MAX), spread);
        let (sent, arrived) = self.watched.unwrap_or_default();
        let (stops_arrivals, alike) = (self.stops_arrivals(), self.are_alike());
        self.differs = plain.is_none() || stops_arrivals || !alike || self.holds_back();
        self.judges_arrivals = stops_arrivals || arrived;
        self.is_special = self.differs || sent;
        let has_plane = self.watched.is_some();
        let is_left_to_chance = plain.is_none() && alike && !stops_arrivals && !has_plane;
        self.odds = if is_left_to_chance { self.everywhere.odds() } else { None };
    }

    fn stops_arrivals(&self) -> bool {
        !(self.cuts.is_empty() && self.downlinks.is_empty())
    }

    fn are_alike(&self) -> bool {
        self.pairs.is_empty() && self.uplinks.is_empty()
    }

    // What holds for a packet.

    /// The link that is everywhere unless another is said to be somewhere.
    pub(crate) fn everywhere(&self) -> &Link {
        &self.everywhere
    }

    /// The link from one host to another.
    pub(super) fn link(&self, from: u32, to: u32) -> &Rc<Link> {
        self.pairs.get(&(from, to)).unwrap_or(&self.everywhere)
    }

    /// True if a link does this by chance to packets from one host to another: once the faults of a run are over, if it
    /// does so for good.
    pub(crate) fn does_by_chance(&self, from: u32, to: u32, site: FaultSite) -> bool {
        let chance = match site {
            FaultSite::Loss => Chance::Loss,
            FaultSite::Duplicate => Chance::Duplicate,
            FaultSite::Corrupt => Chance::Corrupt,
            FaultSite::Reorder => Chance::Reorder,
            _ => return false,
        };
        !self.link(from, to).chance(chance).is_never()
    }

    /// True if the packets from one host to another all take the same time, whatever they are.
    #[inline]
    pub(crate) fn is_constant(&self, from: u32, to: Option<u32>) -> bool {
        if self.is_special { self.is_constant_of_pair(from, to) } else { self.spread == 0 }
    }

    /// True if all that links do to a packet is to delay it, each by the same time.
    pub(crate) fn are_plain(&self) -> bool {
        !self.is_special && self.spread == 0
    }

    #[cold]
    fn is_constant_of_pair(&self, from: u32, to: Option<u32>) -> bool {
        let to = to.unwrap_or(u32::MAX);
        let shared = self.uplinks.contains_key(&from) || self.downlinks.contains_key(&to);
        !shared && self.link(from, to).is_constant()
    }

    /// The largest packet from one host to another that the sender knows to fit.
    #[inline]
    pub(crate) fn mtu(&self, from: u32, to: u32) -> u32 {
        if self.is_special { self.known_mtu(from, to) } else { MTU }
    }

    #[cold]
    fn known_mtu(&self, from: u32, to: u32) -> u32 {
        self.link(from, to).known_mtu()
    }

    /// True if a host itself refuses to send a packet this large to another.
    #[inline]
    pub(crate) fn refuses(&self, from: u32, to: Option<u32>, size: u32) -> bool {
        self.is_special && self.link_refuses(from, to, size)
    }

    #[cold]
    fn link_refuses(&self, from: u32, to: Option<u32>, size: u32) -> bool {
        let mtu = to.and_then(|to| self.link(from, to).mtu);
        mtu.is_some_and(|mtu| mtu.oversize == Oversize::Refuse && size > mtu.bytes)
    }

    /// Sends a packet of `size` bytes through a host's uplink at `at`: when it leaves it, or `None`
    /// if it is lost.
    pub(super) fn through_uplink(&mut self, host: u32, at: Time, size: u32) -> Option<Time> {
        self.uplinks.get_mut(&host).map_or(Some(at), |gate| gate.admit(at, size))
    }

    /// Likewise through a downlink.
    pub(super) fn through_downlink(&mut self, host: u32, at: Time, size: u32) -> Option<Time> {
        self.downlinks.get_mut(&host).map_or(Some(at), |gate| gate.admit(at, size))
    }

    /// Likewise through the link of a pair.
    pub(super) fn through_rate(
        &mut self,
        pair: (u32, u32),
        rate: Rate,
        at: Time,
        size: u32,
    ) -> Option<Time> {
        let channel = self.channels.entry(pair).or_default();
        channel.gate.get_or_insert_with(|| Gate::new(rate)).admit(at, size)
    }

    /// When a packet arrives on a link that nobody overtakes on.
    pub(super) fn in_line(&mut self, pair: (u32, u32), arrival: Time) -> Time {
        let channel = self.channels.entry(pair).or_default();
        channel.last_arrival = channel.last_arrival.max(arrival);
        channel.last_arrival
    }

    /// The lane for answers that no socket of the flow sends, until it is put back.
    pub(crate) fn take_answers(&mut self, flow: Flow, entity: impl Fn() -> Entity) -> Box<Lane> {
        if self.answers.len() >= ANSWERED_MAX && !self.answers.contains_key(&flow) {
            self.answers.pop_first();
        }
        let lane = self.answers.entry(flow).or_default().take();
        lane.unwrap_or_else(|| Lane::new(entity()))
    }

    pub(crate) fn put_answers(&mut self, flow: Flow, lane: Option<Box<Lane>>) {
        if let Some(place) = self.answers.get_mut(&flow) {
            *place = lane;
        }
    }

    // Packets that wait.

    /// Holds a packet back until `left` others went by.
    pub(super) fn hold_back(&mut self, packet: Packet, arrival: Time, left: u32) -> HeldBackKey {
        self.held_back_serial = self.held_back_serial.wrapping_add(1);
        let serial = self.held_back_serial;
        let slot = self.held_back.insert(HeldBack { serial, packet, arrival, left }) as u32;
        if !self.differs {
            self.look_again();
        }
        HeldBackKey { slot, serial }
    }

    /// A later packet of its flow goes by. If that was the last one that it waited for: it, and when
    /// it would have arrived.
    pub(super) fn goes_by(&mut self, key: HeldBackKey) -> Option<(Packet, Time)> {
        let held = self.held_back.get_mut(key.slot as usize);
        let held = held.filter(|held| held.serial == key.serial)?;
        held.left -= 1;
        if held.left > 0 { None } else { self.take_held_back(key) }
    }

    /// Takes a packet that is held back.
    pub(super) fn take_held_back(&mut self, key: HeldBackKey) -> Option<(Packet, Time)> {
        let slot = key.slot as usize;
        if self.held_back.get(slot)?.serial != key.serial {
            return None;
        }
        let held = self.held_back.remove(slot);
        let is_bare = self.are_alike() && !self.stops_arrivals();
        if is_bare && !self.holds_back() && self.everywhere.plain().is_some() {
            self.look_again();
        }
        Some((held.packet, held.arrival))
    }

    /// True if a packet of this name is held back.
    pub(super) fn is_held_back(&self, key: HeldBackKey) -> bool {
        self.held_back.get(key.slot as usize).is_some_and(|held| held.serial == key.serial)
    }

    /// The packets that are held back, and when they would have arrived.
    pub(super) fn held_back(&self) -> impl Iterator<Item = (HeldBackKey, &Packet, Time)> {
        self.held_back.iter().map(|(slot, held)| {
            let key = HeldBackKey { slot: slot as u32, serial: held.serial };
            (key, &held.packet, held.arrival)
        })
    }

    /// True if packets are on their way that stand on no agenda.
    #[inline]
    pub(crate) fn holds_back(&self) -> bool {
        !self.held_back.is_empty()
    }

    /// Puts a packet into the jam; `Err` if there is no room.
    #[expect(clippy::result_large_err, reason = "a packet that is not taken comes back as it is")]
    pub(super) fn hold(
        &mut self,
        packet: Packet,
        since: Time,
        is_through: bool,
    ) -> Result<(), Packet> {
        if self.held.len() >= HELD_MAX {
            return Err(packet);
        }
        self.held_number += 1;
        let number = self.held_number;
        self.held.push_back(Held { number, packet, since, is_through });
        Ok(())
    }

    /// The packets in the jam, to look at or to change.
    pub(super) fn jam(&mut self) -> &mut VecDeque<Held> {
        &mut self.held
    }

    /// Puts a forged reset into the jam, where one to each connection does.
    pub(super) fn hold_reset(&mut self, to: SocketId, since: Time) {
        if self.held_resets.iter().all(|&(held, _)| held != to) {
            self.held_resets.push((to, since));
        }
    }

    /// The forged resets in the jam.
    pub(super) fn held_resets(&mut self) -> &mut Vec<(SocketId, Time)> {
        &mut self.held_resets
    }
}

impl Channel {
    /// Makes the state fit the parameters.
    fn fit(&mut self, now: Time, link: &Link) {
        match (&mut self.gate, link.rate) {
            (Some(gate), Some(rate)) => gate.set_rate(now, rate),
            (gate, rate) => *gate = rate.map(Gate::new),
        }
    }
}

fn set_gate(
    gates: &mut BTreeMap<u32, Gate>,
    now: Time,
    host: u32,
    rate: Option<Rate>,
    faults: &mut Faults,
) {
    if rate.is_some() {
        faults.enable(QUEUE);
    }
    match (rate, gates.get_mut(&host)) {
        (Some(rate), Some(gate)) => gate.set_rate(now, rate),
        (Some(rate), None) => drop(gates.insert(host, Gate::new(rate))),
        (None, _) => drop(gates.remove(&host)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_flows_are_answered_and_then_the_first_is_forgotten() {
        let mut table = LinkTable::default();
        let flow = |n| Flow::new((1, 1), (2, 80), n, false);
        let mut count = |n| {
            let mut lane = table.take_answers(flow(n), || Entity::named(n));
            let packets = lane.next();
            table.put_answers(flow(n), Some(lane));
            (packets, table.answers.len())
        };
        for n in 0..ANSWERED_MAX as u32 {
            assert_eq!(count(n), (0, n as usize + 1));
        }
        assert_eq!(count(0), (1, ANSWERED_MAX));
        assert_eq!(count(9_999), (0, ANSWERED_MAX));
        assert_eq!((count(1).0, count(0).0), (1, 0));
    }

    #[test]
    fn a_table_knows_what_is_special() {
        let mut faults = Faults::default();
        let mut table = LinkTable::default();
        let lossy: Link = "loss=5%".parse().unwrap();
        let rate = Rate::bits_per_second(1_000).unwrap();
        assert!(!table.is_special && table.is_constant(1, Some(2)));
        table.set_pair(Time::ZERO, (1, 2), Some(lossy), &mut faults);
        assert!(table.is_special && !table.judges_arrivals);
        assert!(!table.is_constant(1, Some(2)) && table.is_constant(2, Some(1)));
        table.set_pair(Time::ZERO, (1, 2), None, &mut faults);
        table.set_downlink(Time::ZERO, 2, Some(rate), &mut faults);
        assert!(table.is_special && table.judges_arrivals);
        assert!(!table.is_constant(1, Some(2)) && table.is_constant(2, Some(1)));
        table.set_downlink(Time::ZERO, 2, None, &mut faults);
        table.hold_link((1, 2));
        assert!(table.is_special && table.judges_arrivals && table.is_constant(1, Some(2)));
        table.release_link((1, 2));
        assert!(!table.is_special && !table.judges_arrivals);
    }

    #[test]
    fn odds_are_those_of_links_that_are_alike_in_a_run_without_a_plane() {
        let mut faults = Faults::default();
        let link = |text: &str| text.parse::<Link>().unwrap();
        let mut table = LinkTable::default();
        assert!(table.odds.is_none(), "a delay alone has a shorter way");
        for alone in ["loss=5%", "dup=1%,reorder=2%", "latency=exp(1ms,+2ms)"] {
            table.set_everywhere(Time::ZERO, link(alone), &mut faults);
            assert!(table.is_special && table.odds.is_some(), "{alone}");
        }
        for other in ["loss=burst(5%,4)", "loss=packets(1)", "rate=1Mbit", "mtu=1400", "order=fifo"]
        {
            table.set_everywhere(Time::ZERO, link(other), &mut faults);
            assert!(table.is_special && table.odds.is_none(), "{other}");
        }
        table.set_everywhere(Time::ZERO, link("loss=5%"), &mut faults);
        table.hold_link((1, 2));
        assert!(table.odds.is_none());
        table.release_link((1, 2));
        assert!(table.odds.is_some());
        table.set_pair(Time::ZERO, (1, 2), Some(link("loss=5%")), &mut faults);
        assert!(table.odds.is_none());
        table.set_pair(Time::ZERO, (1, 2), None, &mut faults);
        table.watch(false, false);
        assert!(table.is_special && table.odds.is_none());
    }
}
