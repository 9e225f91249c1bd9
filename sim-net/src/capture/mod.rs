//! What was on the wire, as a file for Wireshark.

pub(crate) mod decoding;
pub(crate) mod headers;
pub(crate) mod icmp;
mod pcapng;
pub(crate) mod segments;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::sync::Arc;

use sim_core::Time;
use sim_core::driver::Family;

use self::headers::{Ends, Protocol, write_ip, write_udp};
use self::icmp::{quote_max, write_icmp};
use self::pcapng::Writer;
use self::segments::Agreements;
use crate::address::Ip;
use crate::packet::{Body, Icmp, Packet};
use crate::trace::DropReason;

/// How many bytes of packets a capture keeps: 256 MiB. Later packets are counted.
const BYTES_MAX: usize = 256 << 20;
/// The interface of everything but loopback.
const NETWORK: u32 = 0;

/// The packets of a run, each once, as its sender sent it.
///
/// [`to_pcapng`](Self::to_pcapng) makes a file of it that Wireshark reads: packets from the IP header on
/// (link type 101), with nanoseconds of virtual time, right lengths and checksums, and the sequence
/// numbers that the connection had. A train of segments is written as the segments. What went wrong with a
/// packet is its comment: `dropped on server at 1.002000000s: the backlog is full`. Packets over a host's
/// loopback are on an interface of that host, called `lo@client`; all others are on `net`. The names
/// of the hosts are in the file.
///
/// It holds the first 256 MiB of packets; the file says how many others there were.
///
/// ```
/// use sim_net::Sim;
/// # use sim_core::{Cx, Protocol};
/// # struct Quiet;
/// # impl Protocol for Quiet {
/// #     fn data_received(&mut self, _cx: &mut Cx<'_, Self>, _data: &[u8]) {}
/// # }
///
/// let report = Sim::new(1).capture(true).run(|world| async move {
///     let (server, client) = (world.host("server"), world.host("client"));
///     let _listening = server.create_server(("server", 7000), || Quiet).await?;
///     let conn = client.create_connection(("server", 7000), || Quiet).await?;
///     conn.transport().close();
///     conn.closed().await
/// });
/// let capture = report.capture.unwrap();
/// assert!(capture.len() >= 4, "SYN, SYN-ACK, ACK, FIN");
/// assert_eq!(capture.to_pcapng()[..4], [0x0a, 0x0d, 0x0d, 0x0a]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Capture {
    frames: Vec<Frame>,
    /// The bytes of the frames, one after another.
    bytes: Vec<u8>,
    bytes_max: usize,
    /// What is to be said about a packet, by its number.
    comments: BTreeMap<u32, Vec<String>>,
    /// Packets that are the broadcast before them once more, with the number of the first.
    repeated: BTreeMap<u32, u32>,
    left_out: u64,
    /// The interfaces of the hosts whose loopback was used, in order, from 1 on.
    loopbacks: Vec<u32>,
    agreements: Agreements,
    hosts: Vec<Name>,
    /// The host that the last datagram to many was for: on the wire, those to all of them are one
    /// packet.
    broadcast_to: Option<u32>,
    /// When the last packet was sent.
    last: Time,
}

/// A host's name, and the number in its addresses.
#[derive(Clone, PartialEq, Eq)]
struct Name {
    name: Arc<str>,
    number: u32,
}

/// What is a packet on the wire: a packet of the simulator, or a segment of a train.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Frame {
    time: Time,
    interface: u32,
    /// The number of the packet that it is of.
    packet: u32,
    /// Where it ends in the bytes.
    end: usize,
}

// Recording.
impl Capture {
    pub(crate) fn new() -> Self {
        Self {
            frames: Vec::new(),
            bytes: Vec::new(),
            bytes_max: BYTES_MAX,
            comments: BTreeMap::new(),
            repeated: BTreeMap::new(),
            left_out: 0,
            loopbacks: Vec::new(),
            agreements: Agreements::default(),
            hosts: Vec::new(),
            broadcast_to: None,
            last: Time::ZERO,
        }
    }

    /// A host sends a packet; if it is ICMP, `about` the packet of that number. Numbers grow.
    #[cold]
    pub(crate) fn sent(&mut self, now: Time, host: u32, packet: &Packet, about: u32) {
        self.last = now;
        let Some(ends) = Ends::new(packet.source.ip.to_addr(), packet.target.ip.to_addr()) else {
            return;
        };
        if self.bytes.len() >= self.bytes_max {
            self.left_out += 1;
            return;
        }
        let interface = self.interface(host, packet);
        let (first_frame, first_byte) = (self.frames.len(), self.bytes.len());
        let frame = Frame { time: now, interface, packet: packet.number, end: 0 };
        match &packet.body {
            Body::Tcp(segment) => {
                let Self { agreements, bytes, frames, .. } = self;
                agreements.write(packet, segment, ends, bytes, |bytes| {
                    frames.push(Frame { end: bytes.len(), ..frame });
                });
            }
            Body::Udp { payload, .. } => {
                let (source, target) = (packet.source.port, packet.target.port);
                write_ip(ends, Protocol::Udp, &mut self.bytes, |out| {
                    write_udp(source, target, payload.len(), out);
                    out.extend(payload.bytes());
                });
                self.end_frame(frame);
            }
            Body::Icmp(icmp, None) => self.icmp(*icmp, self.first_of(about), ends, frame),
            Body::Icmp(icmp, Some(quote)) => {
                write_icmp(*icmp, ends, quote.bytes(), &mut self.bytes);
                self.end_frame(frame);
            }
        }
        if is_to_others(packet) {
            let is_next = self.broadcast_to.replace(packet.to_host) < Some(packet.to_host);
            if is_next && self.is_repeated(first_frame, first_byte) {
                let first = self.frames[first_frame - 1].packet;
                self.repeated.insert(packet.number, first);
                self.frames.truncate(first_frame);
                self.bytes.truncate(first_byte);
            }
        }
    }

    /// The number by which a packet is known here.
    fn first_of(&self, packet: u32) -> u32 {
        self.repeated.get(&packet).copied().unwrap_or(packet)
    }

    /// The place of the first frame of a packet, if it is here.
    fn place_of(&self, packet: u32) -> Option<usize> {
        let place = self.frames.partition_point(|frame| frame.packet < packet);
        self.frames.get(place).is_some_and(|frame| frame.packet == packet).then_some(place)
    }

    /// A packet was lost.
    #[cold]
    pub(crate) fn dropped(&mut self, packet: u32, now: Time, host: &str, reason: DropReason) {
        self.comment(packet, format!("dropped on {host} at {now}: {}", reason.name()));
    }

    /// Says something about a packet, known by its number, unless it is left out.
    pub(crate) fn comment(&mut self, packet: u32, text: String) {
        let packet = self.first_of(packet);
        if self.place_of(packet).is_some() {
            self.comments.entry(packet).or_default().push(text);
        }
    }

    fn interface(&mut self, host: u32, packet: &Packet) -> u32 {
        if packet.to_host != host || is_to_others(packet) {
            return NETWORK;
        }
        let known = self.loopbacks.iter().position(|&other| other == host);
        let place = known.unwrap_or_else(|| {
            self.loopbacks.push(host);
            self.loopbacks.len() - 1
        });
        place as u32 + 1
    }

    fn end_frame(&mut self, frame: Frame) {
        self.frames.push(Frame { end: self.bytes.len(), ..frame });
    }

    /// True if the frame from `first_byte` on is the one before it once more.
    fn is_repeated(&self, first_frame: usize, first_byte: usize) -> bool {
        let Some(before) = first_frame.checked_sub(1) else {
            return false;
        };
        let start = before.checked_sub(1).map_or(0, |frame| self.frames[frame].end);
        let is_same = self.bytes[start..first_byte] == self.bytes[first_byte..];
        is_same && self.frames[before].time == self.last
    }

    /// ICMP, which quotes the packet that it is about.
    fn icmp(&mut self, icmp: Icmp, about: u32, ends: Ends, frame: Frame) {
        let Some(place) = self.place_of(about) else {
            return;
        };
        let start = place.checked_sub(1).map_or(0, |before| self.frames[before].end);
        let end = self.frames[place].end;
        let quoted = self.bytes[start..end.min(start + quote_max(ends))].to_vec();
        write_icmp(icmp, ends, &quoted, &mut self.bytes);
        self.end_frame(frame);
    }

    /// It with the names of hosts, each with the number in its addresses.
    pub(crate) fn with_hosts(mut self, hosts: impl Iterator<Item = (Arc<str>, u32)>) -> Self {
        self.hosts = hosts.map(|(name, number)| Name { name, number }).collect();
        self
    }
}

// Reading.
impl Capture {
    /// How many packets there are on the wire.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// True if nothing was sent.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// How many packets were sent after the capture was full.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The file, as pcapng.
    pub fn to_pcapng(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes.len() + 64 * (self.frames.len() + 8));
        self.write_pcapng(&mut bytes).expect("a vector takes all that is written");
        bytes
    }

    /// Writes the file, as pcapng. Each block is a few small writes: buffer what is no memory.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_pcapng(&self, out: &mut impl Write) -> io::Result<()> {
        let mut writer = Writer::new(out);
        writer.section_header("sim-net")?;
        writer.interface("net")?;
        for &host in &self.loopbacks {
            let name = self.hosts.get(host as usize).map_or("?", |host| &host.name);
            writer.interface(&format!("lo@{name}"))?;
        }
        writer.names([Family::V4, Family::V6].into_iter().flat_map(|family| {
            self.hosts
                .iter()
                .map(move |host| (octets(Ip::of_host(host.number, family)), &*host.name))
        }))?;
        let mut start = 0;
        for frame in &self.frames {
            let comments = self.comments.get(&frame.packet).into_iter().flatten();
            let bytes = &self.bytes[start..frame.end];
            writer.packet(frame.interface, frame.time, bytes, comments.map(String::as_str))?;
            start = frame.end;
        }
        if self.left_out > 0 {
            writer.left_out(NETWORK, self.last, self.left_out)?;
        }
        Ok(())
    }
}

/// True for a datagram to a group or to everybody that does not stay on its host's loopback.
fn is_to_others(packet: &Packet) -> bool {
    packet.target.ip.is_to_many() && !packet.source.ip.is_loopback()
}

fn octets(ip: Ip) -> Vec<u8> {
    match ip.to_addr() {
        std::net::IpAddr::V4(address) => address.octets().into(),
        std::net::IpAddr::V6(address) => address.octets().into(),
    }
}

impl fmt::Debug for Capture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Capture")
            .field("packets", &self.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::headers::{IP_LENGTH_MAX, IP4};
    use super::*;
    use crate::address::Endpoint;
    use crate::buffer::Pool;
    use crate::flow::Flow;
    use crate::socket_table::SocketId;
    use crate::tcp::segment::{Flags, Segment, Seq, SynOptions, Timestamps};

    fn packet(body: Body) -> Packet {
        Packet {
            source: Endpoint::new(Ip::v4(0x0a00_0001), 40_000),
            target: Endpoint::new(Ip::v4(0x0a00_0002), 7_000),
            to_host: 2,
            from: SocketId::NONE,
            to: SocketId::NONE,
            flow: Flow::new((1, 1), (2, 7_000), 1, false),
            offset: 0,
            number: 0,
            body,
        }
    }

    fn segment(seq: u32, flags: Flags, mss: u16, data: &[u8]) -> Packet {
        let payload = (!data.is_empty()).then(|| Pool::default().copy(data));
        let window_scale = flags.has(Flags::SYN).then_some(7);
        packet(Body::Tcp(Segment {
            seq: Seq(seq),
            ack: Seq(9),
            window: 1_000 << 7,
            flags,
            attempt: 0,
            syn: SynOptions { mss, window_scale, sack: false },
            timestamps: Some(Timestamps { value: 1, echo: 2 }),
            sacks: None,
            payload,
        }))
    }

    /// A host sends the packet of this number.
    fn send(capture: &mut Capture, number: u32, host: u32, packet: Packet) {
        capture.sent(Time::ZERO, host, &Packet { number, ..packet }, 0);
    }

    /// Sequence number, control bits and length of the data of each frame.
    fn told(capture: &Capture) -> Vec<(u32, u8, usize)> {
        let starts = std::iter::once(0).chain(capture.frames.iter().map(|frame| frame.end));
        let frames = starts.zip(&capture.frames).map(|(start, frame)| {
            let tcp = &capture.bytes[start + IP4..frame.end];
            let seq = u32::from_be_bytes(tcp[4..8].try_into().unwrap());
            (seq, tcp[13], tcp.len() - usize::from(tcp[12] >> 4) * 4)
        });
        frames.collect()
    }

    #[test]
    fn a_train_is_written_as_segments_of_the_size_that_both_ends_take() {
        let mut capture = Capture::new();
        let syn_ack = Flags::SYN.with(Flags::ACK);
        let mut answer = segment(0, syn_ack, 112, b"");
        answer.flow = answer.flow.reversed();
        send(&mut capture, 1, 1, segment(0, Flags::SYN, 1_460, b""));
        send(&mut capture, 2, 2, answer);
        let train = segment(u32::MAX - 149, Flags::FIN.with(Flags::ACK), 0, &[7; 250]);
        send(&mut capture, 3, 1, train);
        let parts = [(u32::MAX - 149, 16, 100), (u32::MAX - 49, 16, 100), (50, 17, 50)];
        assert_eq!(told(&capture)[2..], parts);
        assert_eq!(told(&capture)[0], (0, 2, 0));
    }

    #[test]
    fn no_segment_is_larger_than_ip_allows() {
        let mut capture = Capture::new();
        send(&mut capture, 1, 1, segment(0, Flags::SYN, u16::MAX, b""));
        send(&mut capture, 2, 1, segment(1, Flags::ACK, 0, &[7; 65_500]));
        assert_eq!(capture.len(), 3);
        assert!(told(&capture).iter().all(|&(.., data)| data + 40 <= IP_LENGTH_MAX));
    }

    #[test]
    fn the_window_is_scaled_but_not_on_a_syn() {
        let mut capture = Capture::new();
        let mut answer = segment(0, Flags::SYN.with(Flags::ACK), 1_460, b"");
        answer.flow = answer.flow.reversed();
        send(&mut capture, 1, 1, segment(0, Flags::SYN, 1_460, b""));
        send(&mut capture, 2, 2, answer);
        send(&mut capture, 3, 1, segment(1, Flags::ACK, 0, b""));
        let start = capture.frames[1].end;
        let window =
            |ip: usize| u16::from_be_bytes([capture.bytes[ip + 34], capture.bytes[ip + 35]]);
        assert_eq!((window(0), window(start)), (u16::MAX, 1_000));
    }

    #[test]
    fn a_capture_that_is_full_counts_what_it_leaves_out() {
        let mut capture = Capture { bytes_max: 100, ..Capture::new() };
        let ack = segment(1, Flags::ACK, 0, &[7; 60]);
        // It takes what comes while there is room, and is full beyond its bound.
        (1..=3).for_each(|number| send(&mut capture, number, 1, ack.copy()));
        capture.dropped(2, Time::ZERO, "b", DropReason::NoSocket);
        assert_eq!((capture.len(), capture.left_out()), (1, 2));
        assert!(capture.comments.is_empty());
        let file = capture.to_pcapng();
        let statistics = &file[file.len() - 40..];
        assert_eq!(statistics[..8], [5, 0, 0, 0, 40, 0, 0, 0]);
        assert_eq!(statistics[20..32], [5, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn a_train_is_cut_without_a_gap(
            seq in any::<u32>(),
            mss in 1..3_000_u16,
            data in prop::collection::vec(any::<u8>(), 0..10_000),
            fin in any::<bool>(),
        ) {
            let mut capture = Capture::new();
            send(&mut capture, 1, 1, segment(0, Flags::SYN, mss, b""));
            let flags = if fin { Flags::ACK.with(Flags::FIN) } else { Flags::ACK };
            send(&mut capture, 2, 1, segment(seq, flags, 0, &data));
            let size = usize::from(mss).saturating_sub(12).max(1);
            let parts = told(&capture).split_off(1);
            prop_assert_eq!(parts.len(), data.len().div_ceil(size).max(1));
            let mut next = seq;
            for (number, &(seq, flags, length)) in (1..).zip(&parts) {
                let is_last = number == parts.len();
                prop_assert_eq!(seq, next);
                prop_assert_eq!(flags & 1 != 0, fin && is_last);
                prop_assert!(length == size || is_last);
                next = next.wrapping_add(length as u32);
            }
            prop_assert_eq!(next, seq.wrapping_add(data.len() as u32));
            let ends: Vec<usize> = capture.frames.iter().map(|frame| frame.end).collect();
            let written: Vec<u8> = ends.windows(2).zip(&parts)
                .flat_map(|(frame, part)| capture.bytes[frame[1] - part.2..frame[1]].to_vec())
                .collect();
            prop_assert_eq!(written, data);
        }
    }

    #[test]
    fn a_broadcast_is_one_frame_that_bears_the_comments_of_all() {
        let mut capture = Capture::new();
        let to = |to_host| {
            let payload = Pool::default().copy(b"all");
            let target = Endpoint::new(Ip::v4(0x0aff_ffff), 9);
            let body = Body::Udp { payload, counted: false };
            Packet { target, to_host, ..packet(body) }
        };
        send(&mut capture, 1, 1, segment(0, Flags::SYN, 1_460, b""));
        (2..=4).for_each(|host| send(&mut capture, host, 1, to(host)));
        send(&mut capture, 5, 1, segment(1, Flags::ACK, 0, b""));
        capture.comment(2, "two".to_owned());
        capture.comment(4, "four".to_owned());
        assert_eq!(capture.len(), 3);
        assert_eq!(capture.comments, BTreeMap::from([(2, vec!["two".into(), "four".into()])]));
    }

    #[test]
    fn every_frame_of_a_train_bears_its_comment() {
        let mut capture = Capture::new();
        send(&mut capture, 1, 1, segment(0, Flags::SYN, 112, b""));
        send(&mut capture, 2, 1, segment(1, Flags::ACK, 0, &[7; 150]));
        capture.dropped(2, Time::from_nanos(5), "b", DropReason::NoSocket);
        let text = b"dropped on b at 0.000000005s: no socket takes it";
        let file = capture.to_pcapng();
        assert_eq!(file.windows(text.len()).filter(|part| part == text).count(), 2);
    }
}
