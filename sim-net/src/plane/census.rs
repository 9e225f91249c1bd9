//! What could have gone wrong in a run, and at which of its events: what a sweep enumerates.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use sim_core::Time;

use super::packets::{PacketClass, PacketEvent};
use super::stream_name::StreamName;
use crate::flow::Flow;
use crate::packet::{Body, Packet};
use crate::plan::{EventId, FaultSite, FlowName, Near, SegmentClass};
use crate::scheduler::CONTROL;
use crate::trace::{Entry, Log, Record};

/// Everything in a run that a fault could have befallen; see [`Sim::census`](crate::Sim::census).
///
/// ```
/// use sim_core::{Cx, Protocol, World};
/// use sim_net::plan::{Deviation, FaultSite};
/// use sim_net::{Plan, Sim};
/// # struct Quiet;
/// # impl Protocol for Quiet {
/// #     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
/// # }
///
/// async fn greets(world: World) -> std::io::Result<()> {
///     let (server, client) = (world.host("server"), world.host("client"));
///     let _listening = server.create_server(("server", 7000), || Quiet).await?;
///     let conn = client.create_connection(("server", 7000), || Quiet).await?;
///     conn.with(|_, cx| cx.write(b"hello"));
///     conn.transport().close();
///     conn.closed().await
/// }
///
/// let census = Sim::new(1).census(true).run(greets).census.unwrap();
/// for packet in census.packets() {
///     let drop = Deviation::new(FaultSite::Loss, packet.event.clone(), 1);
///     let report = Sim::new(1).replay(&Plan::new().seed(1).with(drop))?.run(greets);
///     assert!(report.outcome.is_ok(), "without {}", packet.event);
///     assert_eq!(report.bindings.to_string(), "bound 1 of 1");
/// }
/// let stream = census.streams().next().unwrap();
/// assert_eq!(stream.writes[0].offset, 5);
/// # Ok::<(), sim_net::plan::PlanError>(())
/// ```
#[derive(Clone, Default, Debug)]
pub struct Census {
    hosts: Vec<Arc<str>>,
    packets: Vec<PacketSeen>,
    arrivals: Vec<PacketSeen>,
    streams: BTreeMap<StreamName, StreamSeen>,
    calls: Vec<OfferedCall>,
    turns: Vec<Moment>,
    workload: Vec<OfferedWorkload>,
}

/// A packet that began its way, and could have been dropped, delayed, copied, corrupted or held back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedPacket {
    /// What a plan calls it.
    pub event: EventId,
    /// Where it is in its flow.
    pub near: Near,
    /// What it is.
    pub message: Message,
    /// The host that sent it.
    pub from: Arc<str>,
    /// The host that it is for.
    pub to: Arc<str>,
    /// When, and how many records the trace had by then.
    pub moment: Moment,
}

/// A packet in short: what is known of it without its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PacketOutline {
    /// The flow; of ICMP that of the packet which it is about.
    pub flow: Flow,
    /// What it is.
    pub message: Message,
    /// The index of the host that it is for; its sender's is that of the moment.
    pub to: u32,
    /// When it was sent.
    pub moment: Moment,
}

/// What a packet is, for choosing one of each kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Message {
    /// A segment that is more than an acknowledgement.
    Segment(SegmentClass),
    /// An acknowledgement alone.
    Ack,
    /// A datagram.
    Datagram {
        /// How many bits its length has: 0 for nothing, 4 for 8 to 15 bytes.
        length_bits: u8,
        /// Its first byte, in which many protocols say what it is; 0 if there is none.
        first: u8,
    },
    /// What the network says of a packet.
    Icmp,
}

/// A packet at the end of its way: an event that a scheduled fault can follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Arrival {
    /// What a plan calls it.
    pub event: EventId,
    /// The host.
    pub host: Arc<str>,
    /// When.
    pub moment: Moment,
}

/// What one end of a connection, a Unix stream or a pipe wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedStream {
    name: OfferedName,
    /// Where each write that the kernel took ended, in the order of writing.
    pub writes: Vec<WriteEnd>,
    /// Where its writer ended it with `write_eof`, if it did: an end that can come late.
    pub end: Option<WriteEnd>,
}

/// What plans call a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
enum OfferedName {
    Tcp(FlowName),
    /// A Unix stream or a pipe.
    Local(String),
}

/// The end of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteEnd {
    /// How many bytes were written until here.
    pub offset: u64,
    /// When.
    pub moment: Moment,
}

/// A call that could have failed, or what a crash could have taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedCall {
    /// What could have happened.
    pub site: FaultSite,
    /// What a plan calls it.
    pub event: EventId,
    /// The largest value that means something.
    pub most: u64,
    /// The host.
    pub host: Arc<str>,
    /// When.
    pub moment: Moment,
}

/// A part of the workload that a plan can make smaller.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum OfferedWorkload {
    /// A size.
    Size {
        /// Its name.
        name: String,
        /// What it may be.
        range: RangeInclusive<u64>,
        /// What it was.
        value: u64,
        /// What the seed makes it: what it was, unless a plan set it.
        drawn: u64,
    },
    /// Operations.
    Operations {
        /// Their name.
        name: String,
        /// How many there could be, those that were left out included.
        count: u64,
    },
}

/// A place in a run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment {
    /// The index of the host; [`Census::host`] knows the name.
    pub host: u32,
    /// The virtual time.
    pub time: Time,
    /// How many records the trace had.
    pub step: u64,
}

#[derive(Clone, Copy, Debug)]
struct PacketSeen {
    event: PacketEvent,
    to: u32,
    first: u8,
    moment: Moment,
}

#[derive(Clone, Default, Debug)]
struct StreamSeen {
    writes: Vec<WriteEnd>,
    end: Option<WriteEnd>,
}

// Reading.
impl Census {
    /// The packets that began their way between hosts, in order.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = OfferedPacket> {
        self.packets.iter().map(|seen| self.offered(seen))
    }

    /// One of the packets, by its place among them.
    pub fn packet(&self, place: usize) -> Option<OfferedPacket> {
        self.packets.get(place).map(|seen| self.offered(seen))
    }

    /// The same packets in short, which costs no names.
    pub fn outlines(&self) -> impl ExactSizeIterator<Item = PacketOutline> {
        self.packets.iter().map(|seen| PacketOutline {
            flow: seen.event.flow,
            message: seen.message(),
            to: seen.to,
            moment: seen.moment,
        })
    }

    fn offered(&self, seen: &PacketSeen) -> OfferedPacket {
        OfferedPacket {
            event: seen.event.id(&self.hosts, ICMP),
            near: seen.event.near(),
            message: seen.message(),
            from: self.host(seen.moment.host),
            to: self.host(seen.to),
            moment: seen.moment,
        }
    }

    /// The packets that came to the end of their way, in order.
    pub fn arrivals(&self) -> impl ExactSizeIterator<Item = Arrival> {
        self.arrivals.iter().map(|seen| Arrival {
            event: seen.event.id(&self.hosts, ICMP),
            host: self.host(seen.moment.host),
            moment: seen.moment,
        })
    }

    /// What was written to connections, Unix streams and pipes: one for each direction that had a write or an end.
    pub fn streams(&self) -> impl ExactSizeIterator<Item = OfferedStream> {
        self.streams.iter().map(|(name, seen)| OfferedStream {
            name: match name {
                StreamName::Tcp(flow) => OfferedName::Tcp(flow.to_name(&self.hosts)),
                StreamName::Local(flow) => OfferedName::Local(flow.name(&self.hosts).to_string()),
            },
            writes: seen.writes.clone(),
            end: seen.end,
        })
    }

    /// The accepts, connects, questions about names and other calls, and what crashes could have taken.
    pub fn calls(&self) -> &[OfferedCall] {
        &self.calls
    }

    /// When a host did something: each turn of its loop. The loop that the scenario itself runs on is of no host.
    pub fn turns(&self) -> &[Moment] {
        &self.turns
    }

    /// What the scenario asked for of its workload, in order.
    pub fn workload(&self) -> &[OfferedWorkload] {
        &self.workload
    }

    /// The name of the host with this index.
    pub fn host(&self, index: u32) -> Arc<str> {
        self.hosts.get(index as usize).cloned().unwrap_or_else(|| Arc::from("?"))
    }
}

impl OfferedStream {
    /// The flow that carries it; `None` of a Unix stream or a pipe, which has no packets.
    pub fn flow(&self) -> Option<&FlowName> {
        match &self.name {
            OfferedName::Tcp(flow) => Some(flow),
            OfferedName::Local(_) => None,
        }
    }

    /// True if it can have faults of this site: nothing between the two ends resets what never leaves a host.
    pub fn can_have(&self, site: FaultSite) -> bool {
        self.flow().is_some() || site != FaultSite::Reset
    }

    /// What a plan calls a fault of this site behind so many of its bytes.
    pub fn event(&self, site: FaultSite, offset: u64) -> EventId {
        match &self.name {
            OfferedName::Tcp(flow) => EventId::Stream { flow: flow.clone(), offset },
            OfferedName::Local(name) => EventId::Draw {
                site: site.name().to_owned(),
                entity: name.clone(),
                ordinal: offset,
            },
        }
    }
}

/// What the key of a packet of ICMP says of its site.
const ICMP: &str = "packet.icmp";

impl PacketSeen {
    fn message(&self) -> Message {
        match self.event.class {
            PacketClass::Syn => Message::Segment(SegmentClass::Syn),
            PacketClass::SynAck => Message::Segment(SegmentClass::SynAck),
            PacketClass::Data => Message::Segment(SegmentClass::Data),
            PacketClass::Fin => Message::Segment(SegmentClass::Fin),
            PacketClass::Reset => Message::Segment(SegmentClass::Reset),
            PacketClass::Ack => Message::Ack,
            PacketClass::Datagram => Message::Datagram {
                length_bits: (u32::BITS - self.event.length.leading_zeros()) as u8,
                first: self.first,
            },
            PacketClass::Icmp => Message::Icmp,
        }
    }
}

// Writing.
impl Census {
    pub(crate) fn sent(&mut self, event: PacketEvent, packet: &Packet, moment: Moment) {
        let first = match &packet.body {
            Body::Udp { payload, .. } => payload.bytes().first().copied().unwrap_or(0),
            Body::Tcp(_) | Body::Icmp(..) => 0,
        };
        self.packets.push(PacketSeen { event, to: packet.to_host, first, moment });
    }

    pub(crate) fn arrived(&mut self, event: PacketEvent, moment: Moment) {
        self.arrivals.push(PacketSeen { event, to: moment.host, first: 0, moment });
    }

    pub(crate) fn wrote(&mut self, name: &StreamName, offset: u64, moment: Moment) {
        self.stream(name).writes.push(WriteEnd { offset, moment });
    }

    pub(crate) fn ended(&mut self, name: &StreamName, offset: u64, moment: Moment) {
        self.stream(name).end = Some(WriteEnd { offset, moment });
    }

    fn stream(&mut self, name: &StreamName) -> &mut StreamSeen {
        self.streams.entry(name.clone()).or_default()
    }

    pub(crate) fn called(&mut self, call: OfferedCall) {
        self.calls.push(call);
    }

    pub(crate) fn sized(&mut self, name: &str, range: RangeInclusive<u64>, value: u64, drawn: u64) {
        self.workload.push(OfferedWorkload::Size { name: name.to_owned(), range, value, drawn });
    }

    pub(crate) fn operated(&mut self, wanted: &str, index: u64) {
        let known = self.workload.iter_mut().rev().find_map(|workload| match workload {
            OfferedWorkload::Operations { name, count } if name == wanted => Some(count),
            _ => None,
        });
        match known {
            Some(count) => *count = (*count).max(index + 1),
            None => {
                let name = wanted.to_owned();
                self.workload.push(OfferedWorkload::Operations { name, count: index + 1 });
            }
        }
    }

    /// It at the end of a run with this log.
    pub(crate) fn finish(mut self, hosts: &[Arc<str>], log: &Log) -> Self {
        self.hosts = hosts.to_vec();
        let is_turn = |entry: &Entry| entry.record == Record::Turn && entry.host != CONTROL;
        let turns = log.entries().filter(is_turn);
        self.turns =
            turns.map(|it| Moment { host: it.host, time: it.time, step: it.step }).collect();
        self
    }
}
