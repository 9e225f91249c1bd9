//! What a foreign peer sends to a host of ours: segments with right checksums that say anything.
//!
//! The first byte says who opens the connection, and how. Then eight bytes are a segment: its flags,
//! where it lies in the streams, window, options and length, and how much time passes before it. The
//! data at a place of the peer's stream are a function of the place, so whatever a server of ours
//! reads must be their beginning.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Cx, Protocol, World};
use sim_net::{Sim, Tun};

use crate::Finding;

const OURS: u16 = 7_000;
const THEIRS: u16 = 40_000;
/// The peer's initial sequence number: its stream wraps around before long.
const FIRST: u32 = u32::MAX - 5_000;
const SEGMENT: usize = 8;
const SEGMENTS_MAX: usize = 64;
/// What a run has at most: some of what a minute of retransmissions takes.
const EVENTS_MAX: u64 = 1_000_000;

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// The flags of segments, the usual ones more often than others.
const FLAGS: [u8; 16] = [
    ACK,
    ACK,
    ACK,
    ACK,
    ACK | PSH,
    ACK | PSH,
    ACK | PSH,
    ACK | FIN,
    ACK | FIN | PSH,
    SYN,
    SYN | ACK,
    RST,
    RST | ACK,
    FIN,
    FIN | SYN | RST,
    0,
];

/// The data at a place of the peer's stream.
fn datum(place: u32) -> u8 {
    (place ^ place >> 8).wrapping_mul(31) as u8
}

/// What one connection of ours has read, sent back as it came.
#[derive(Default)]
struct Server {
    read: u32,
    wrong: Rc<RefCell<Option<String>>>,
}

impl Protocol for Server {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        for &byte in data {
            if byte != datum(self.read) {
                let text =
                    format!("byte {} is {byte}, and was sent as {}", self.read, datum(self.read));
                self.wrong.borrow_mut().get_or_insert(text);
            }
            self.read = self.read.wrapping_add(1);
        }
        cx.write(data);
    }
}

/// Sends what some bytes stand for to a host of ours.
///
/// # Errors
///
/// A byte that nobody sent, or how the run failed: with a panic, or without end.
pub fn run(bytes: &[u8]) -> Result<(), Finding> {
    let Some((&how, segments)) = bytes.split_first() else { return Ok(()) };
    let simulation = Sim::new(1).max_events(EVENTS_MAX).build();
    let (world, tun) = (simulation.world(), simulation.tun("foreign"));
    let segments: Vec<[u8; SEGMENT]> = segments.as_chunks().0.to_vec();
    let wrong = Rc::<RefCell<Option<String>>>::default();
    let talk = talk(world, tun, how, segments, Rc::clone(&wrong));
    let ran = simulation.run(talk).map_err(|finding| finding.to_string());
    let wrong = wrong.take().map_or(Ok(()), Err);
    ran.and(wrong).map_err(|error| format!("{error}\nthe segments are {bytes:?}"))
}

async fn talk(
    world: World,
    tun: Tun,
    how: u8,
    segments: Vec<[u8; SEGMENT]>,
    wrong: Rc<RefCell<Option<String>>>,
) -> io::Result<()> {
    let host = world.host("ours");
    let server = move || Server { read: 0, wrong: Rc::clone(&wrong) };
    let IpAddr::V4(ours) = host.getaddrinfo(("ours", OURS)).await?[0].ip() else {
        return Err(io::Error::other("names resolve to IPv4"));
    };
    let theirs = tun.addresses().into_iter().find_map(|address| match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    let theirs = theirs.ok_or_else(|| io::Error::other("a host has an address of IPv4"))?;
    let mut peer = Peer { tun, theirs, ours, port: OURS, next: FIRST, heard: 0 };

    let _listening = host.create_server(("ours", OURS), server.clone()).await?;
    let options = syn_options(how);
    if how & 1 == 0 {
        peer.send(SYN, FIRST, 0, 65_535, &options, &[]);
    } else {
        let lp = host.clone();
        host.create_task(async move {
            // Whether it is connected is up to the peer.
            drop(lp.create_connection(("foreign", THEIRS), server).await);
        });
        peer.tun.readable().await;
        peer.hear();
        peer.send(SYN | ACK, FIRST, peer.heard, 65_535, &options, &[]);
    }
    peer.next = FIRST.wrapping_add(1);
    world.sleep(Duration::from_millis(3)).await;
    peer.hear();
    peer.send(ACK, peer.next, peer.heard, 65_535, &[], &[]);
    for segment in segments.into_iter().take(SEGMENTS_MAX) {
        world.sleep(Duration::from_micros(50 << (segment[5] % 20))).await;
        peer.hear();
        peer.say(segment);
    }
    // Whatever is repeated is repeated for a while.
    world.sleep(Duration::from_secs(60)).await;
    Ok(())
}

/// Maximum segment size, window scale, SACK and timestamps, each if `how` says so.
fn syn_options(how: u8) -> Vec<u8> {
    let has = |bit: u8| how & (1 << bit) != 0;
    let mut options = Vec::new();
    if has(1) {
        options.extend([2, 4, 1, if has(5) { 0 } else { 200 }]);
    }
    if has(2) {
        options.extend([3, 3, if has(6) { 14 } else { 2 }, 1]);
    }
    if has(3) {
        options.extend([4, 2, 1, 1]);
    }
    if has(4) {
        options.extend([8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 1]);
    }
    options
}

/// The foreign end.
struct Peer {
    tun: Tun,
    theirs: Ipv4Addr,
    ours: Ipv4Addr,
    /// The port of our end.
    port: u16,
    /// What it sends next, if it goes on where it was.
    next: u32,
    /// What it expects next of us.
    heard: u32,
}

impl Peer {
    /// Takes in what came: it only remembers how far our stream has got.
    fn hear(&mut self) {
        while let Some((_, packet)) = self.tun.receive() {
            let Some(header) = packet.get(20..40).filter(|_| packet[9] == 6) else { continue };
            let number =
                |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four"));
            let flags = u32::from(header[13]);
            self.port = u16::from_be_bytes([header[0], header[1]]);
            let data = packet.len() as u32 - 20 - u32::from(header[12] >> 4) * 4;
            let end = number(4).wrapping_add(data + (flags & 1) + (flags >> 1 & 1));
            if end.wrapping_sub(self.heard) as i32 > 0 || flags & u32::from(SYN) != 0 {
                self.heard = end;
            }
        }
    }

    /// Says what eight bytes stand for.
    fn say(&mut self, [flags, scales, seq, ack, window, _, length, options]: [u8; SEGMENT]) {
        let flags = FLAGS[usize::from(flags % 16)];
        // In two of four cases it goes on where it was.
        let scale = |bits: u8| [0_u32, 0, 1, 1_448][usize::from(bits % 4)];
        let delta = |by: u8, bits| (i32::from(by.cast_signed()) as u32).wrapping_mul(scale(bits));
        // A SYN may open another connection, whose stream is to be the same.
        let opens = flags & SYN != 0;
        let seq = if opens { FIRST } else { self.next.wrapping_add(delta(seq, scales)) };
        let ack = self.heard.wrapping_add(delta(ack, scales >> 2));
        let length = if opens { 0 } else { length };
        let length = u32::from(length) * [0, 1, 5, 1][usize::from(scales >> 4 & 3)];
        let first = seq.wrapping_sub(FIRST).wrapping_sub(1);
        let data: Vec<u8> = (0..length).map(|at| datum(first.wrapping_add(at))).collect();
        let window = u16::from(window) << (scales >> 6 << 1);
        // Options of any kind, well formed or not, on one segment of four.
        let bytes = [options & 15, options >> 2 & 15, flags, scales];
        let options = if options >= 192 { &bytes[..] } else { &[] };
        self.send(flags, seq, ack, window, options, &data);
        let end = seq.wrapping_add(length + u32::from(flags & FIN));
        if opens {
            self.next = FIRST.wrapping_add(1);
        } else if end.wrapping_sub(self.next) as i32 > 0 {
            self.next = end;
        }
    }

    /// Sends a segment. One that is refused for its options is refused.
    fn send(&self, flags: u8, seq: u32, ack: u32, window: u16, options: &[u8], data: &[u8]) {
        let mut tcp = Vec::with_capacity(20 + options.len() + data.len());
        tcp.extend(THEIRS.to_be_bytes());
        tcp.extend(self.port.to_be_bytes());
        tcp.extend(seq.to_be_bytes());
        tcp.extend(ack.to_be_bytes());
        tcp.extend([((20 + options.len()) as u8 / 4) << 4, flags]);
        tcp.extend(window.to_be_bytes());
        tcp.extend([0; 4]);
        tcp.extend(options);
        tcp.extend(data);
        let (theirs, ours) = (self.theirs.octets(), self.ours.octets());
        let pseudo = [&theirs[..], &ours, &[0, 6], &(tcp.len() as u16).to_be_bytes()].concat();
        let checksum = checksum(&[&pseudo[..], &tcp].concat());
        tcp[16..18].copy_from_slice(&checksum.to_be_bytes());

        let length = (20 + tcp.len()) as u16;
        let mut packet = vec![0x45, 0];
        packet.extend(length.to_be_bytes());
        packet.extend([0, 0, 0x40, 0, 64, 6, 0, 0]);
        packet.extend(theirs);
        packet.extend(ours);
        let checksum = self::checksum(&packet);
        packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        packet.extend(tcp);
        let _ = self.tun.send(&packet);
    }
}

/// The internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |&low| low.into());
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
