//! A reader of captures that shares no code with their writer: it believes nothing, and checks every
//! length and checksum.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A capture, read.
#[derive(Debug, Default)]
pub(crate) struct File {
    pub(crate) interfaces: Vec<String>,
    pub(crate) names: Vec<(IpAddr, String)>,
    pub(crate) packets: Vec<Packet>,
}

/// A packet of it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) interface: usize,
    pub(crate) nanos: u64,
    pub(crate) comments: Vec<String>,
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
    pub(crate) body: Body,
}

/// What is behind its IP header.
#[derive(Debug)]
pub(crate) enum Body {
    Tcp(Segment),
    Udp {
        ports: (u16, u16),
        data: Vec<u8>,
    },
    /// Type, code, and the packet that it quotes.
    Icmp {
        kind: u8,
        code: u8,
        quote: Vec<u8>,
    },
}

/// A TCP segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) ports: (u16, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) window: u16,
    /// Kind and value of each option but padding.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
    pub(crate) data: Vec<u8>,
}

pub(crate) const FIN: u8 = 1;
pub(crate) const SYN: u8 = 2;
pub(crate) const RST: u8 = 4;
pub(crate) const ACK: u8 = 16;

/// Reads a file.
#[track_caller]
pub(crate) fn read(bytes: &[u8]) -> File {
    let mut file = File::default();
    let mut rest = bytes;
    let mut blocks = 0;
    while !rest.is_empty() {
        let (kind, length) = (u32_at(rest, 0), u32_at(rest, 4) as usize);
        assert!(length >= 12 && length.is_multiple_of(4) && length <= rest.len(), "block {blocks}");
        assert_eq!(u32_at(rest, length - 4) as usize, length, "block {blocks} repeats its length");
        let body = &rest[8..length - 4];
        assert_eq!(kind == 0x0a0d_0d0a, blocks == 0, "the section header is first");
        match kind {
            0x0a0d_0d0a => {
                assert_eq!(u32_at(body, 0), 0x1a2b_3c4d, "byte order");
                assert_eq!((u16_at(body, 4), u16_at(body, 6)), (1, 0), "version");
                options(&body[16..]);
            }
            1 => {
                assert!(file.packets.is_empty(), "interfaces come before packets");
                assert_eq!(u16_at(body, 0), 101, "raw IP");
                let options = options(&body[8..]);
                assert_eq!(option(&options, 9), Some(&[9][..]), "nanoseconds");
                file.interfaces.push(text(option(&options, 2).expect("a name")));
            }
            4 => file.names = options(body).iter().map(|(_, record)| name(record)).collect(),
            6 => file.packets.push(packet(body, file.interfaces.len())),
            other => panic!("block {blocks} is of type {other}"),
        }
        rest = &rest[length..];
        blocks += 1;
    }
    file
}

fn name(record: &[u8]) -> (IpAddr, String) {
    let (record, zero) = record.split_at(record.len() - 1);
    assert_eq!(zero, [0]);
    // An IPv6 address here begins with fd00, an IPv4 address with 10.
    let length = if record[0] == 10 { 4 } else { 16 };
    let (address, name) = record.split_at(length);
    let address = match address.try_into() {
        Ok(four) => IpAddr::V4(Ipv4Addr::from_octets(four)),
        Err(_) => IpAddr::V6(Ipv6Addr::from_octets(address.try_into().expect("16 bytes"))),
    };
    (address, text(name))
}

fn packet(body: &[u8], interfaces: usize) -> Packet {
    let interface = u32_at(body, 0) as usize;
    assert!(interface < interfaces);
    let nanos = u64::from(u32_at(body, 4)) << 32 | u64::from(u32_at(body, 8));
    let length = u32_at(body, 12) as usize;
    assert_eq!(u32_at(body, 16) as usize, length, "it is captured whole");
    let padded = length.next_multiple_of(4);
    let options = options(&body[20 + padded..]);
    let comments = options.iter().inspect(|(code, _)| assert_eq!(*code, 1));
    let comments = comments.map(|(_, comment)| text(comment)).collect();
    let (source, target, body) = ip(&body[20..20 + length]);
    Packet { interface, nanos, comments, source, target, body }
}

/// Reads an IP packet, which has to be right to the last bit.
pub(crate) fn ip(bytes: &[u8]) -> (IpAddr, IpAddr, Body) {
    let (source, target, protocol, addresses, payload) = match bytes[0] >> 4 {
        4 => {
            assert_eq!(bytes[0], 0x45, "no options");
            assert_eq!(usize::from(be16(bytes, 2)), bytes.len(), "the total length");
            assert_eq!(checksum(0, &bytes[..20]), 0, "the header's checksum");
            let address = |at: usize| {
                IpAddr::V4(Ipv4Addr::from_octets(bytes[at..at + 4].try_into().unwrap()))
            };
            (address(12), address(16), bytes[9], &bytes[12..20], &bytes[20..])
        }
        6 => {
            assert_eq!(usize::from(be16(bytes, 4)) + 40, bytes.len(), "the payload length");
            let address = |at: usize| {
                IpAddr::V6(Ipv6Addr::from_octets(bytes[at..at + 16].try_into().unwrap()))
            };
            (address(8), address(24), bytes[6], &bytes[8..40], &bytes[40..])
        }
        version => panic!("IP of version {version}"),
    };
    let pseudo_header =
        u32::from(!checksum(0, addresses)) + u32::from(protocol) + payload.len() as u32;
    let start = if protocol == 1 { 0 } else { pseudo_header };
    assert_eq!(checksum(start, payload), 0, "the checksum of protocol {protocol}");
    let ports = || (be16(payload, 0), be16(payload, 2));
    let body = match protocol {
        6 => Body::Tcp(segment(payload)),
        17 => {
            assert_eq!(usize::from(be16(payload, 4)), payload.len(), "the length of the datagram");
            assert_ne!(be16(payload, 6), 0, "it has a checksum");
            Body::Udp { ports: ports(), data: payload[8..].to_vec() }
        }
        1 | 58 => Body::Icmp { kind: payload[0], code: payload[1], quote: payload[8..].to_vec() },
        other => panic!("protocol {other}"),
    };
    (source, target, body)
}

fn segment(bytes: &[u8]) -> Segment {
    let header = usize::from(bytes[12] >> 4) * 4;
    let mut options = Vec::new();
    let mut at = 20;
    while at < header {
        match bytes[at] {
            0 => at = header,
            1 => at += 1,
            kind => {
                let length = usize::from(bytes[at + 1]);
                assert!(length >= 2 && at + length <= header);
                options.push((kind, bytes[at + 2..at + length].to_vec()));
                at += length;
            }
        }
    }
    Segment {
        ports: (be16(bytes, 0), be16(bytes, 2)),
        seq: be32(bytes, 4),
        ack: be32(bytes, 8),
        flags: bytes[13],
        window: be16(bytes, 14),
        options,
        data: bytes[header..].to_vec(),
    }
}

/// Code and value of each option; the last ends them, unless there is none.
fn options(mut bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut options = Vec::new();
    while !bytes.is_empty() {
        let (code, length) = (u16_at(bytes, 0), usize::from(u16_at(bytes, 2)));
        let end = 4 + length.next_multiple_of(4);
        if code == 0 {
            assert_eq!((length, end), (0, bytes.len()), "the end is the end");
        } else {
            assert!(end < bytes.len(), "an end follows");
            assert!(bytes[4 + length..end].iter().all(|&byte| byte == 0), "padding");
            options.push((code, bytes[4..4 + length].to_vec()));
        }
        bytes = &bytes[end..];
    }
    options
}

fn option(options: &[(u16, Vec<u8>)], code: u16) -> Option<&[u8]> {
    options.iter().find(|option| option.0 == code).map(|option| &*option.1)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The Internet checksum, bit by bit as RFC 1071 §1 says it.
fn checksum(start: u32, bytes: &[u8]) -> u16 {
    let mut sum = u64::from(start);
    for (place, &byte) in bytes.iter().enumerate() {
        sum += u64::from(byte) << if place % 2 == 0 { 8 } else { 0 };
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn be16(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
}

fn be32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}
