//! What lies between two hosts, as data: [`Link`] and its parts.
//!
//! A link is directed, and a packet goes through its parts in one order, be it a segment, a datagram
//! or an answer of the network:
//!
//! ```text
//! mtu → admission (queue) → rate → loss → duplicate → corrupt → delay → order → delivery
//! ```
//!
//! `table` knows which hosts have which, and `pipeline` is the way itself.

mod chance;
#[cfg(test)]
mod conservation;
mod corruption;
mod delay;
pub(crate) mod delivery;
mod error;
pub(crate) mod lane;
mod loss;
mod parsing;
pub(crate) mod pipeline;
mod printing;
mod probability;
mod quantile;
mod rate;
mod rule;
#[cfg(test)]
mod statistics;
pub(crate) mod table;

use std::time::Duration;

pub use self::chance::Chance;
pub use self::corruption::Corruption;
pub use self::delay::Latency;
pub use self::error::LinkError;
pub use self::loss::Loss;
pub use self::probability::Probability;
pub use self::rate::Rate;
pub use self::rule::LinkRule;

/// The largest packet between hosts, in bytes (Ethernet).
pub(crate) const MTU: u32 = 1_500;
/// The least MTU: what every IPv4 link must carry is 68, and a segment needs room behind headers of
/// IPv6 and TCP.
const MTU_MIN: u32 = 128;
/// The largest packet on a host's loopback interface, in bytes.
pub(crate) const LOOPBACK_MTU: u32 = 65_536;
/// How long a packet takes over a host's loopback interface.
pub(crate) const LOOPBACK_DELAY: Duration = Duration::from_micros(20);

/// What happens to packets from one host to another. [`Link::default`] is a sound network with a
/// millisecond of delay; every method makes it differ in one part.
///
/// # Text
///
/// A link prints and parses as its parts, separated by commas; printing and parsing give the same
/// link again. What is not named is as in [`Link::default`], and white space around parts does not
/// matter.
///
/// | part | what | default |
/// | --- | --- | --- |
/// | `latency=20ms` | constant delay; units `h`, `m`, `s`, `ms`, `us`, `ns`, with a decimal point if wanted | `1ms` |
/// | `latency=20ms..80ms` | uniform | |
/// | `latency=exp(20ms,+5ms)` | 20 ms, and an exponential time with mean 5 ms on top | |
/// | `latency=lognormal(20ms,p99=200ms)` | log-normal by median and 99th percentile | |
/// | `latency=pareto(20ms,alpha=1.5,cap=2s)` | Pareto from 20 ms on, what is above the cap takes the cap | |
/// | `latency=table(18ms,20ms,35ms)` | one of these, all equally likely | |
/// | `loss=5%` | each packet by itself; also `0.05` | `0%` |
/// | `loss=burst(5%,4)` | Gilbert–Elliott: mean loss, mean burst in packets | |
/// | `loss=packets(17,42)` | these packets of each flow and direction, counted from 1; `packets(17,42)+5%`: each other one by itself, too | |
/// | `rate=10Mbit` | each second; units `bit`, `kbit`, `Mbit`, `Gbit` | no limit |
/// | `burst=15kB` | bytes that leave at once; units `B`, `kB`, `MB`, `KiB`, `MiB`; needs `rate` | `0B` |
/// | `queue=100`, `queue=64kB`, `queue=100/64kB` | bound of the queue in packets, bytes, both; needs `rate` | `1000` |
/// | `dup=1%` | a copy with its own delay follows | `0%` |
/// | `corrupt=0.1%`, `corrupt=0.1%/deliver` | dropped for the checksum; datagrams delivered corrupt | `0%` |
/// | `reorder=2%`, `reorder=2%/3` | held back until 1 (3) later packets of the flow went by | `0%` |
/// | `mtu=1400` | what is larger is dropped, and ICMP tells the sender | 1500 for TCP |
/// | `mtu=1400/silent` | a black hole: nobody is told, and TCP does not know it | |
/// | `mtu=1400/refuse` | the sender's own interface: a larger datagram fails with `EMSGSIZE` | |
/// | `order=tcp` | segments of a connection keep their order, datagrams may overtake | `tcp` |
/// | `order=fifo`, `order=free` | nothing overtakes; anything may | |
///
/// ```
/// use sim_net::Link;
///
/// let text = "latency=20ms..80ms,loss=5%,rate=10Mbit,queue=100,mtu=1400";
/// let link: Link = text.parse()?;
/// assert_eq!(link.to_string(), text);
/// let error = "latency=20ms,loss=150%".parse::<Link>().unwrap_err().to_string();
/// assert!(error.starts_with("\"loss=150%\" at character 14:"));
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Link {
    pub(crate) latency: Latency,
    pub(crate) loss: Loss,
    pub(crate) rate: Option<Rate>,
    pub(crate) duplicate: Probability,
    pub(crate) corruption: Corruption,
    pub(crate) reorder: Reorder,
    pub(crate) mtu: Option<Mtu>,
    pub(crate) order: Order,
}

/// Who may overtake whom because of its delay.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Order {
    /// The segments of a connection keep their order; all else goes as fast as it can.
    #[default]
    Tcp,
    /// The packets of the link keep their order, as on one wire.
    Fifo,
    /// Each packet arrives after its own delay.
    Free,
}

/// How often packets are held back, and for how many others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reorder {
    pub(crate) probability: Probability,
    /// How many later packets of the flow go by.
    pub(crate) packets: u32,
}

/// The largest packet of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mtu {
    /// In bytes from IP on.
    pub(crate) bytes: u32,
    pub(crate) oversize: Oversize,
}

/// What becomes of a packet that is larger than the link's MTU. None is ever fragmented.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Oversize {
    /// It is dropped, and ICMP "fragmentation needed" goes back to the sender (RFC 1191). New
    /// connections know the MTU.
    #[default]
    Report,
    /// It is dropped, and nobody is told: a black hole (RFC 2923 §2.1). Not even new connections
    /// know.
    Silent,
    /// As for `Report`, but the MTU is the sender's own: sending a larger datagram fails with
    /// `EMSGSIZE`.
    Refuse,
}

impl Default for Reorder {
    fn default() -> Self {
        Self { probability: Probability::NEVER, packets: 1 }
    }
}

impl Link {
    /// It without what harms packets. What it is too narrow for, it says so from then on.
    pub(crate) fn calmed(&self) -> Self {
        let Self { latency, rate, mtu, order, .. } = self.clone();
        let told = |mtu: Mtu| match mtu.oversize {
            Oversize::Silent => Mtu { oversize: Oversize::Report, ..mtu },
            Oversize::Report | Oversize::Refuse => mtu,
        };
        Self { latency, rate, mtu: mtu.map(told), order, ..Self::default() }
    }

    /// Sets the one-way delay.
    #[must_use]
    pub fn latency(mut self, latency: impl Into<Latency>) -> Self {
        self.latency = latency.into();
        self
    }

    /// The shortest time that a packet takes.
    pub fn least_delay(&self) -> Duration {
        self.latency.least()
    }

    /// Sets which packets are lost.
    #[must_use]
    pub fn loss(mut self, loss: impl Into<Loss>) -> Self {
        self.loss = loss.into();
        self
    }

    /// Sets the bandwidth, and the queue before it.
    #[must_use]
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }

    /// Sets how likely it is that a copy of a packet follows, with a delay of its own. A copy of a
    /// segment arrives at most 30 s later.
    #[must_use]
    pub fn duplicate(mut self, probability: Probability) -> Self {
        self.duplicate = probability;
        self
    }

    /// Sets how packets are corrupted.
    #[must_use]
    pub fn corrupt(mut self, corruption: Corruption) -> Self {
        self.corruption = corruption;
        self
    }

    /// Sets how likely it is that a packet is held back until `packets` later ones of its flow went
    /// by, or 100 ms if fewer follow.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if `packets` is 0 or above 1000.
    pub fn reorder(mut self, probability: Probability, packets: u32) -> Result<Self, LinkError> {
        if !(1..=1_000).contains(&packets) {
            let problem =
                format!("held back for {packets} packets: it is at least 1, at most 1000");
            return Err(LinkError::value("reorder", problem));
        }
        self.reorder = Reorder { probability, packets };
        Ok(self)
    }

    /// Sets the largest packet, in bytes from IP on, and what becomes of larger ones. Without it TCP
    /// sends 1500 bytes at most, and datagrams may have any size.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if `bytes` is below 128 or above 65536.
    pub fn mtu(mut self, bytes: u32, oversize: Oversize) -> Result<Self, LinkError> {
        if !(MTU_MIN..=LOOPBACK_MTU).contains(&bytes) {
            let problem = format!(
                "an MTU of {bytes} bytes: it is at least {MTU_MIN}, at most {LOOPBACK_MTU}"
            );
            return Err(LinkError::value("mtu", problem));
        }
        self.mtu = Some(Mtu { bytes, oversize });
        Ok(self)
    }

    /// Sets who may overtake whom.
    #[must_use]
    pub fn order(mut self, order: Order) -> Self {
        self.order = order;
        self
    }

    /// The least delay and the spread, if a delay is all that the link does to packets.
    pub(crate) fn plain(&self) -> Option<(Duration, u64)> {
        let is_bare = self.loss.is_none()
            && self.rate.is_none()
            && self.duplicate.is_never()
            && self.corruption.probability.is_never()
            && self.reorder.probability.is_never()
            && self.mtu.is_none()
            && self.order == Order::Tcp;
        self.latency.plain().filter(|_| is_bare)
    }

    /// True if packets of any size are treated alike, so that a train needs no splitting.
    pub(crate) fn is_constant(&self) -> bool {
        self.plain().is_some_and(|(_, spread)| spread == 0)
    }

    /// The largest packet that senders know of.
    pub(crate) fn known_mtu(&self) -> u32 {
        self.mtu.filter(|mtu| mtu.oversize != Oversize::Silent).map_or(MTU, |mtu| mtu.bytes)
    }

    /// The names of the faults that it can do.
    pub(crate) fn faults(&self) -> impl Iterator<Item = &'static str> {
        use crate::faults::{CORRUPT, DUPLICATE, LOSS, MTU, QUEUE, REORDER};
        let all = [
            (!self.loss.is_none(), LOSS),
            (self.rate.is_some(), QUEUE),
            (!self.duplicate.is_never(), DUPLICATE),
            (!self.corruption.probability.is_never(), CORRUPT),
            (!self.reorder.probability.is_never(), REORDER),
            (self.mtu.is_some(), MTU),
        ];
        all.into_iter().filter_map(|(on, name)| on.then_some(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_alone_is_plain_and_anything_more_is_not() {
        let ms = Duration::from_millis;
        let base = Link::default();
        assert_eq!(base.plain(), Some((ms(1), 0)));
        assert!(base.is_constant());
        let jitter = base.clone().latency(ms(1)..ms(2));
        assert_eq!(jitter.plain(), Some((ms(1), 1_000_000)));
        assert!(!jitter.is_constant());
        let one = Probability::percent(1).unwrap();
        let others = [
            base.clone().latency(Latency::exponential(ms(1), ms(1))),
            base.clone().loss(one),
            base.clone().rate(Rate::bits_per_second(1).unwrap()),
            base.clone().duplicate(one),
            base.clone().corrupt(Corruption { probability: one, delivers: false }),
            base.clone().reorder(one, 1).unwrap(),
            base.clone().mtu(1_400, Oversize::Report).unwrap(),
            base.clone().order(Order::Fifo),
        ];
        for link in others {
            assert!(link.plain().is_none() && !link.is_constant(), "{link:?}");
        }
    }

    #[test]
    fn impossible_parts_are_refused() {
        let one = Probability::percent(1).unwrap();
        assert!(Link::default().reorder(one, 0).is_err());
        assert!(Link::default().reorder(one, 1_001).is_err());
        assert!(Link::default().mtu(127, Oversize::Report).is_err());
        assert!(Link::default().mtu(65_537, Oversize::Report).is_err());
    }
}
