//! Captures: read back block by block, and by Wireshark if it is here.

mod complaints;
mod pcapng;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::net::IpAddr;
use std::process::{self, Command};

use pcapng::{ACK, Body, FIN, File, Packet, RST, SYN, Segment};
use sim_net::{DropReason, PacketKind, PacketRecord, Record, Report};

fn file_of(report: &Report<()>) -> File {
    pcapng::read(&report.capture.as_ref().expect("it was asked for").to_pcapng())
}

fn segments(file: &File) -> impl Iterator<Item = (&Packet, &Segment)> {
    file.packets.iter().filter_map(|packet| match &packet.body {
        Body::Tcp(segment) => Some((packet, segment)),
        _ => None,
    })
}

/// What the trace says was sent.
fn sent(report: &Report<()>) -> Vec<PacketRecord> {
    let log = report.log.as_ref().expect("it was asked for");
    let sent = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) => Some(packet),
        _ => None,
    });
    sent.collect()
}

fn count(sent: &[PacketRecord], kind: PacketKind) -> usize {
    sent.iter().filter(|packet| packet.kind == kind).count()
}

/// How often the trace says that a packet was dropped.
fn dropped(report: &Report<()>, reason: DropReason) -> usize {
    let log = report.log.as_ref().expect("it was asked for");
    let is_such = |record| matches!(record, Record::Dropped(_, why) if why == reason);
    log.entries().filter(|entry| is_such(entry.record)).count()
}

#[test]
fn capturing_changes_nothing_and_is_the_same_every_time() {
    let (plain, first, second) =
        (traffic::run(7, false), traffic::run(7, true), traffic::run(7, true));
    assert!(plain.capture.is_none());
    assert_eq!((plain.hash, plain.time, plain.events), (first.hash, first.time, first.events));
    let bytes = |report: &Report<()>| report.capture.as_ref().map(|capture| capture.to_pcapng());
    assert_eq!(bytes(&first), bytes(&second));
    assert_ne!(bytes(&first), bytes(&traffic::run(8, true)));
    first.unwrap();
}

#[test]
fn a_capture_holds_what_the_trace_says_was_sent() {
    let report = traffic::run(1, true);
    let (file, sent) = (file_of(&report), sent(&report));
    assert_eq!(
        report.capture.as_ref().map(|capture| (capture.len(), capture.left_out())),
        Some((file.packets.len(), 0))
    );
    let with =
        |flags: u8, mask: u8| segments(&file).filter(|(_, s)| s.flags & mask == flags).count();
    assert_eq!(with(SYN, SYN | ACK), count(&sent, PacketKind::Syn));
    assert_eq!(with(SYN | ACK, SYN | ACK), count(&sent, PacketKind::SynAck));
    assert_eq!(with(FIN, FIN), count(&sent, PacketKind::Fin));
    assert_eq!(with(RST, RST), count(&sent, PacketKind::Reset));
    assert!(count(&sent, PacketKind::Fin) >= 10 && count(&sent, PacketKind::Reset) >= 2);
    let of_tcp = |kind| matches!(kind, PacketKind::Data | PacketKind::Fin | PacketKind::Reset);
    let bytes: usize =
        sent.iter().filter(|packet| of_tcp(packet.kind)).map(|packet| packet.bytes as usize).sum();
    assert_eq!(segments(&file).map(|(_, segment)| segment.data.len()).sum::<usize>(), bytes);
    let times: Vec<u64> = file.packets.iter().map(|packet| packet.nanos).collect();
    assert!(times.is_sorted() && Some(&report.time.as_nanos()) >= times.last());
    report.unwrap();
}

#[test]
fn streams_can_be_put_together_from_a_capture() {
    let report = traffic::run(2, true);
    let file = file_of(&report);
    let mut streams = BTreeMap::<_, (u32, Vec<u8>)>::new();
    for (packet, segment) in segments(&file) {
        let (from, to) = segment.ports;
        let key = (packet.interface, packet.source, packet.target, (from, to));
        let back = (packet.interface, packet.target, packet.source, (to, from));
        if segment.flags & ACK != 0
            && let Some((next, _)) = streams.get(&back)
        {
            let ahead = segment.ack.wrapping_sub(*next) as i32;
            assert!(ahead <= 0, "what was not sent is acknowledged: {segment:?}");
        }
        if segment.flags & SYN != 0 {
            // The connections to the narrow server are opened more than once.
            streams.insert(key, (segment.seq.wrapping_add(1), Vec::new()));
        } else if let Some((next, data)) = streams.get_mut(&key) {
            // An empty segment with an old number asks for a window, or whether the peer is there.
            if segment.data.is_empty() && segment.seq == next.wrapping_sub(1) {
                continue;
            }
            assert_eq!(segment.seq, *next, "nothing was lost");
            let fin = u32::from(segment.flags & FIN != 0);
            *next = next.wrapping_add(segment.data.len() as u32 + fin);
            data.extend_from_slice(&segment.data);
        }
    }
    let body: Vec<u8> = (0..traffic::BODY).map(traffic::body_byte).collect();
    let whole = streams.values().filter(|(_, data)| *data == body).count();
    // There and back, in two families and over two loopbacks.
    assert_eq!(whole, 8);
    report.unwrap();
}

#[test]
fn segments_are_no_larger_than_what_was_agreed() {
    let report = traffic::run(3, true);
    let file = file_of(&report);
    let mut largest = BTreeMap::<(bool, bool), usize>::new();
    for (packet, segment) in segments(&file) {
        let size = largest.entry((packet.interface == 0, packet.source.is_ipv4())).or_default();
        *size = (*size).max(segment.data.len());
        let syn: Vec<u8> = segment.options.iter().map(|option| option.0).collect();
        assert_eq!(segment.flags & SYN != 0, syn.contains(&2) && syn.contains(&3), "{syn:?}");
    }
    assert_eq!(largest[&(true, true)], 1_448);
    assert_eq!(largest[&(true, false)], 1_428);
    assert!(largest[&(false, true)] > 20_000, "{largest:?}");
    report.unwrap();
}

#[test]
fn hosts_and_loopbacks_have_names() {
    let report = traffic::run(4, true);
    let file = file_of(&report);
    assert_eq!(file.interfaces, ["net", "lo@server", "lo@client"]);
    let named = |address: &str, name: &str| (address.parse().unwrap(), name.to_owned());
    assert!(file.names.contains(&named("10.0.0.1", "server")), "{:?}", file.names);
    assert!(file.names.contains(&named("fd00::2", "client")), "{:?}", file.names);
    for packet in &file.packets {
        assert_eq!(packet.interface > 0, packet.source.is_loopback(), "{packet:?}");
    }
    let interfaces: BTreeSet<usize> = file.packets.iter().map(|packet| packet.interface).collect();
    assert_eq!(interfaces.len(), 3);
    report.unwrap();
}

#[test]
fn what_was_dropped_says_why_and_a_broadcast_is_one_packet() {
    let report = traffic::run(5, true);
    let file = file_of(&report);
    let about = |reason: &str| {
        let with = |packet: &&Packet| packet.comments.iter().any(|text| text.ends_with(reason));
        file.packets.iter().filter(with).collect::<Vec<_>>()
    };
    let refused = about(": the backlog is full");
    assert_eq!(refused.len(), dropped(&report, DropReason::Backlog));
    assert!(refused.len() >= 2);
    assert!(refused[0].comments[0].starts_with("dropped on server at "), "{refused:?}");
    assert!(refused.iter().all(|packet| matches!(&packet.body, Body::Tcp(s) if s.flags == SYN)));
    let lost = about(": no host has the address");
    assert_eq!(
        lost.iter().map(|packet| packet.target).collect::<Vec<_>>(),
        ["10.9.9.9".parse::<IpAddr>().unwrap()]
    );
    let everybody =
        file.packets.iter().filter(|packet| packet.target.to_string() == "10.255.255.255");
    let everybody: Vec<&Packet> = everybody.collect();
    assert_eq!(everybody.len(), 2, "it was said twice");
    let commented = file.packets.iter().filter(|packet| !packet.comments.is_empty()).count();
    let unheard = about(": no socket takes it").len();
    assert_eq!(commented, unheard + refused.len() + 1);
    report.unwrap();
}

#[test]
fn icmp_quotes_the_datagram_that_it_is_about() {
    let report = traffic::run(6, true);
    let file = file_of(&report);
    let mut quoted = Vec::new();
    for packet in &file.packets {
        if let Body::Icmp { kind, code, quote } = &packet.body {
            let four = packet.source.is_ipv4();
            assert_eq!((*kind, *code), if four { (3, 3) } else { (1, 4) });
            // A short one is quoted whole; of a long one, what fits.
            if quote.len() < 100 {
                let (source, target, body) = pcapng::ip(quote);
                assert_eq!((source, target), (packet.target, packet.source));
                assert!(matches!(body, Body::Udp { ports: (_, 9), data } if data == b"odd"));
            }
            quoted.push((four, quote.len()));
        }
    }
    assert_eq!(quoted, [(true, 31), (true, 548), (false, 51), (false, 1_232)]);
    report.unwrap();
}

/// What tshark says about a capture: a line of fields for each packet.
fn tshark(bytes: &[u8], fields: &[&str]) -> Option<Vec<Vec<String>>> {
    // Of each test by itself: they run at once.
    let test = std::thread::current().name().map(|name| name.replace("::", "-"));
    let name = format!("capture-{}-{}.pcapng", process::id(), test.unwrap_or_default());
    let path = env::temp_dir().join(name);
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&path).args(["-n", "-T", "fields"]);
    // What is in the streams is nobody's protocol, whatever their ports.
    command.args(["-d", "tcp.port==0-65535,data", "-d", "udp.port==0-65535,data"]);
    for checked in ["ip", "tcp", "udp"] {
        command.arg("-o").arg(format!("{checked}.check_checksum:TRUE"));
    }
    for field in fields {
        command.args(["-e", field]);
    }
    fs::write(&path, bytes).expect("the temporary folder takes files");
    let output = command.output();
    fs::remove_file(&path).expect("it was written");
    let output = output.ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect())
}

#[test]
fn tshark_finds_nothing_malformed_and_agrees_with_the_model() {
    let report = traffic::run(9, true);
    let bytes = report.capture.as_ref().expect("it was asked for").to_pcapng();
    let checksums = [
        "ip.checksum.status",
        "tcp.checksum.status",
        "udp.checksum.status",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
    ];
    let analysis = [
        "_ws.malformed",
        "tcp.analysis.flags",
        "tcp.analysis.retransmission",
        "tcp.analysis.zero_window",
        "tcp.flags.reset",
        "frame.comment",
    ];
    let Some(lines) = tshark(&bytes, &[&analysis[..], &checksums].concat()) else {
        return println!("skipped: there is no tshark here");
    };
    let (file, sent) = (pcapng::read(&bytes), sent(&report));
    assert_eq!(lines.len(), file.packets.len());
    let set = |column: usize| lines.iter().filter(|line| !line[column].is_empty()).count();
    assert_eq!(set(0), 0, "malformed");
    for (number, line) in (1..).zip(&lines) {
        // 1 is good. What ICMP quotes may be cut off, and is not looked at.
        let is_icmp = line[line.len() - 2..].iter().any(|status| !status.is_empty());
        let mut statuses = line[analysis.len()..].iter().filter_map(|all| all.split(',').next());
        let is_good = |status: &str| matches!(status, "" | "1");
        assert!(is_icmp || statuses.all(is_good), "packet {number}: {line:?}");
        assert!(line[line.len() - 2..].iter().all(|status| is_good(status)), "{number}: {line:?}");
    }
    // Every connection is opened once: a SYN that comes twice is sent again.
    let mut opened = BTreeSet::new();
    let again = sent.iter().filter(|packet| packet.kind == PacketKind::Syn);
    let again = again.filter(|packet| !opened.insert(format!("{:?}", packet.flow))).count();
    assert_eq!((set(2), again), (again, dropped(&report, DropReason::Backlog)), "retransmissions");
    let resets = lines.iter().filter(|line| line[4] == "1").count();
    assert_eq!(resets, count(&sent, PacketKind::Reset));
    let closed = |segment: &Segment| segment.window == 0 && segment.flags & (SYN | FIN | RST) == 0;
    let closed = segments(&file).filter(|(_, segment)| closed(segment)).count();
    assert_eq!(set(3), closed, "zero windows");
    assert!(closed > 0);
    let commented = file.packets.iter().filter(|packet| !packet.comments.is_empty()).count();
    assert_eq!(set(5), commented);
    report.unwrap();
}
