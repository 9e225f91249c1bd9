//! ICMP at a TUN device: what the network and other hosts say about packets that were sent as bytes, and
//! what bytes say about packets of ours.

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use sim_core::{Conn, DatagramTransport, World};
use sim_net::{Effect, LinkRule, PacketError, PacketKind, Partition, Record, Sim, Simulation, Tun};

use crate::protocols::{Datagrams, Name, Recorder, endpoint, ms};

const ANY: Option<Name> = None;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// The addresses of `foreign`, which is made first, and of `client`.
const FOREIGN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const PORT_UNREACHABLE: [u8; 8] = [3, 3, 0, 0, 0, 0, 0, 0];
const HOST_UNREACHABLE: [u8; 8] = [3, 1, 0, 0, 0, 0, 0, 0];

fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
    bytes.chunks(2).map(word).sum()
}

fn checksum(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A packet with right lengths and checksums, given what follows its IP header with a checksum of 0.
fn packet(source: IpAddr, target: IpAddr, protocol: u8, mut payload: Vec<u8>) -> Vec<u8> {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let (source, target) = (octets(source), octets(target));
    let length = payload.len() as u16;
    let pseudo = match protocol {
        ICMP => 0,
        _ => sum(&source) + sum(&target) + u32::from(protocol) + u32::from(length),
    };
    let at = match protocol {
        TCP => 16,
        UDP => 6,
        _ => 2,
    };
    let value = checksum(pseudo + sum(&payload));
    payload[at..at + 2].copy_from_slice(&value);
    let mut bytes = if source.len() == 4 {
        let [high, low] = (length + 20).to_be_bytes();
        let mut header = vec![0x45, 0, high, low, 0, 0, 0x40, 0, 64, protocol, 0, 0];
        header.extend(source.iter().chain(&target));
        let value = checksum(sum(&header));
        header[10..12].copy_from_slice(&value);
        header
    } else {
        let [high, low] = length.to_be_bytes();
        let mut header = vec![0x60, 0, 0, 0, high, low, protocol, 64];
        header.extend(source.iter().chain(&target));
        header
    };
    bytes.extend(payload);
    bytes
}

fn datagram(
    source: impl Into<IpAddr>,
    target: impl Into<IpAddr>,
    ports: [u16; 2],
    data: &[u8],
) -> Vec<u8> {
    let mut payload: Vec<u8> = ports.iter().flat_map(|port| port.to_be_bytes()).collect();
    payload.extend((data.len() as u16 + 8).to_be_bytes());
    payload.extend([0; 2]);
    payload.extend(data);
    packet(source.into(), target.into(), UDP, payload)
}

/// What `foreign` says about a packet that it got from `client`.
fn complaint(head: [u8; 8], about: &[u8]) -> Vec<u8> {
    let payload = [&head[..], &about[..about.len().min(548)]].concat();
    packet(FOREIGN.into(), CLIENT.into(), ICMP, payload)
}

/// The type, the code, the MTU and the quote of ICMP, whose checksums are right.
#[track_caller]
fn read(bytes: &[u8]) -> (u8, u8, u32, Vec<u8>) {
    let six = bytes[0] >> 4 == 6;
    let (header, payload) = bytes.split_at(if six { 40 } else { 20 });
    let (protocol, addresses, length) = match six {
        true => (header[6], &header[8..], u16::from_be_bytes([header[4], header[5]])),
        false => (header[9], &header[12..], u16::from_be_bytes([header[2], header[3]]) - 20),
    };
    assert_eq!((usize::from(length), protocol), (payload.len(), if six { ICMP6 } else { ICMP }));
    let pseudo = if six { sum(addresses) + u32::from(length) + u32::from(ICMP6) } else { 0 };
    assert_eq!(checksum(pseudo + sum(payload)), [0, 0]);
    assert!(six || checksum(sum(header)) == [0, 0]);
    let mtu = u32::from_be_bytes(payload[4..8].try_into().unwrap());
    (payload[0], payload[1], mtu, payload[8..].to_vec())
}

fn world(sim: Sim) -> (Simulation, World, Tun) {
    let simulation = sim.trace(true).build();
    let (world, tun) = (simulation.world(), simulation.tun("foreign"));
    (simulation, world, tun)
}

/// A datagram to a closed port is answered; the answer quotes it as it was sent.
#[test]
fn a_closed_port_is_told_in_bytes() {
    let (simulation, world, tun) = world(Sim::new(1));
    simulation
        .run(async move {
            world.host("client");
            let long = vec![7; 1_400];
            for (data, quoted) in [(&b"question"[..], usize::MAX), (&long, 548)] {
                let sent = datagram(FOREIGN, CLIENT, [5_000, 9], data);
                tun.send(&sent).unwrap();
                tun.readable().await;
                let (kind, code, mtu, quote) = read(&tun.receive().unwrap().1);
                assert_eq!((kind, code, mtu), (3, 3, 0));
                assert_eq!(quote, sent[..sent.len().min(quoted)]);
            }
            let [foreign, client]: [IpAddr; 2] =
                ["fd00::1", "fd00::2"].map(|ip| ip.parse().unwrap());
            let sent = datagram(foreign, client, [5_000, 9], &long);
            tun.send(&sent).unwrap();
            tun.readable().await;
            let (kind, code, _, quote) = read(&tun.receive().unwrap().1);
            assert_eq!((kind, code), (1, 4));
            assert_eq!(quote, sent[..1_232]);
            io::Result::Ok(())
        })
        .unwrap();
}

/// A partition that rejects says that the host is unreachable, of segments too, and a narrow link how
/// large a packet may be.
#[test]
fn what_the_network_says_comes_as_bytes() {
    let narrow: LinkRule = "foreign->client: latency=1ms,mtu=600".parse().unwrap();
    let (simulation, world, tun) = world(Sim::new(1).link(narrow));
    let links = simulation.links();
    simulation
        .run(async move {
            world.host("client");
            let sent = datagram(FOREIGN, CLIENT, [5_000, 9], &[7; 700]);
            tun.send(&sent).unwrap();
            tun.readable().await;
            let (kind, code, mtu, quote) = read(&tun.receive().unwrap().1);
            assert_eq!((kind, code, mtu), (3, 4, 600));
            assert_eq!(quote, sent[..548]);

            links
                .partition(&Partition::between("foreign", "client").effect(Effect::Reject))
                .unwrap();
            let mut syn =
                vec![0x13, 0x88, 0, 9, 1, 2, 3, 4, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0];
            for seq in [4, 5] {
                syn[7] = seq;
                let sent = packet(FOREIGN.into(), CLIENT.into(), TCP, syn.clone());
                tun.send(&sent).unwrap();
                tun.readable().await;
                let (kind, code, _, quote) = read(&tun.receive().unwrap().1);
                assert_eq!((kind, code, quote), (3, 1, sent));
            }
            io::Result::Ok(())
        })
        .unwrap();
}

/// What is said about a packet that was sent long ago is dropped: 1 024 are known.
#[test]
fn a_packet_that_is_forgotten_is_not_quoted() {
    let slow: LinkRule = "latency=10ms".parse().unwrap();
    let (simulation, world, tun) = world(Sim::new(1).link(slow));
    let device = tun.clone();
    simulation
        .run(async move {
            world.host("client");
            let silent = world
                .host("silent")
                .datagram()
                .local(("silent", 9))
                .bind(Datagrams::default)
                .await?;
            tun.send(&datagram(FOREIGN, CLIENT, [5_000, 9], b"first")).unwrap();
            tun.send(&datagram(FOREIGN, CLIENT, [5_000, 9], b"second")).unwrap();
            for _ in 0..1_023 {
                tun.send(&datagram(FOREIGN, [10, 0, 0, 3], [5_000, 9], b"x")).unwrap();
            }
            world.sleep(ms(50)).await;
            drop(silent);
            io::Result::Ok(())
        })
        .unwrap();
    let (_, answer) = device.receive().expect("about the second");
    assert!(read(&answer).3.ends_with(b"second"));
    assert_eq!(device.receive(), None);
}

async fn connected(world: &World, port: u16) -> io::Result<Conn<Datagrams, DatagramTransport>> {
    endpoint(&world.host("client"), ANY, Some(("foreign", port)), Datagrams::default).await
}

/// D-08: a connected endpoint of ours hears that a foreign stack has no such port; what quotes another
/// datagram, or nothing that is known, is nobody's.
#[test]
fn bytes_refuse_a_datagram() {
    let (simulation, world, tun) = world(Sim::new(1));
    let device = tun.clone();
    simulation
        .run(async move {
            let (one, other) = (connected(&world, 9).await?, connected(&world, 10).await?);
            let errors = |conn: &Conn<Datagrams, DatagramTransport>| {
                conn.with(|it, _| {
                    it.errors.drain(..).map(|error| error.raw_os_error()).collect::<Vec<_>>()
                })
            };
            one.transport().send_to(b"question", None)?;
            tun.readable().await;
            let (_, question) = tun.receive().unwrap();
            for (quoted, expected) in [
                (&question[..], vec![Some(111)]),
                (&question[..28], vec![Some(111)]),
                // To another port, and from another.
                (&datagram(CLIENT, FOREIGN, [5_000, 9], b"question"), vec![]),
            ] {
                tun.send(&complaint(PORT_UNREACHABLE, quoted)).unwrap();
                world.sleep(ms(2)).await;
                assert_eq!((errors(&one), errors(&other)), (expected, vec![]));
            }
            // Too large, it hears; without a route, Linux tells nobody.
            tun.send(&complaint([3, 4, 0, 0, 0, 0, 3, 0], &question)).unwrap();
            tun.send(&complaint(HOST_UNREACHABLE, &question)).unwrap();
            world.sleep(ms(2)).await;
            assert_eq!(errors(&one), [Some(90)]);
            one.transport().send_to(b"again", None)?;
            world.sleep(ms(2)).await;
            assert_eq!(tun.receive().unwrap().1[28..], *b"again");

            let wrong = |change: fn(&mut Vec<u8>)| {
                let mut bytes = complaint(PORT_UNREACHABLE, &question);
                change(&mut bytes);
                tun.send(&bytes)
            };
            assert_eq!(wrong(|bytes| bytes[30] ^= 1), Err(PacketError::Checksum));
            assert_eq!(
                tun.send(&complaint([8, 0, 0, 0, 0, 0, 0, 0], &question)),
                Err(PacketError::Icmp)
            );
            assert_eq!(
                tun.send(&complaint(PORT_UNREACHABLE, &question[..27])),
                Err(PacketError::Quote)
            );
            assert_eq!(tun.send(&complaint(PORT_UNREACHABLE, &[])), Err(PacketError::Quote));
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(device.refused(), 4);
    let log = simulation.log().unwrap();
    let flows = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) if packet.kind == PacketKind::PortUnreachable => {
            Some(log.flow(packet.flow))
        }
        _ => None,
    });
    assert_eq!(flows.count(), 3);
}

/// The errors of `linux-tcp.md` for a handshake, told by a foreign stack; a sequence number that was never
/// sent counts for nothing (RFC 5927 §4.1).
#[test]
fn bytes_end_a_handshake() {
    for (head, errno) in [(PORT_UNREACHABLE, 111), (HOST_UNREACHABLE, 113)] {
        let (simulation, world, tun) = world(Sim::new(1));
        simulation
            .run(async move {
                let client = world.host("client");
                let lp = client.clone();
                let connecting = client.create_task(async move {
                    lp.create_connection(("foreign", 9), Recorder::default).await.map(drop)
                });
                tun.readable().await;
                let (_, syn) = tun.receive().unwrap();
                let mut other = syn.clone();
                other[24] ^= 0x40;
                tun.send(&complaint(head, &other)).unwrap();
                world.sleep(ms(5)).await;
                assert!(!connecting.done());
                tun.send(&complaint(head, &syn[..28])).unwrap();
                let error = connecting.await.unwrap().unwrap_err();
                let error =
                    error.get_ref().unwrap().downcast_ref::<sim_core::AddressError>().unwrap();
                assert_eq!(
                    (error.raw_os_error(), world.time().since_epoch()),
                    (Some(errno), ms(7))
                );
                io::Result::Ok(())
            })
            .unwrap();
    }
}

/// A connection sends smaller segments when a foreign stack says so, none smaller than Linux would; that a
/// host or a port is unreachable does not end it.
#[test]
fn bytes_make_segments_smaller() {
    let (simulation, world, tun) = world(Sim::new(1));
    simulation
        .run(async move {
            let client = world.host("client");
            let lp = client.clone();
            let connecting = client.create_task(async move {
                lp.create_connection(("foreign", 9), Recorder::default).await
            });
            tun.readable().await;
            let (_, syn) = tun.receive().unwrap();
            let seq = u32::from_be_bytes(syn[24..28].try_into().unwrap()).wrapping_add(1);
            let mut answer = vec![0, 9, syn[20], syn[21], 0, 0, 0, 99];
            answer.extend(seq.to_be_bytes());
            answer.extend([0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4]);
            tun.send(&packet(FOREIGN.into(), CLIENT.into(), TCP, answer)).unwrap();
            let conn = connecting.await.unwrap()?;
            let received = || {
                std::iter::from_fn(|| tun.receive()).map(|(_, packet)| packet).collect::<Vec<_>>()
            };
            let sizes = |packets: &[Vec<u8>]| {
                packets
                    .iter()
                    .map(|packet| packet.len())
                    .filter(|&length| length > 40)
                    .collect::<Vec<_>>()
            };
            conn.with(|_, cx| cx.write(&[7; 4_000]));
            world.sleep(ms(2)).await;
            let first: Vec<Vec<u8>> =
                received().into_iter().filter(|packet| packet.len() > 40).collect();
            assert_eq!(sizes(&first), [1_500, 1_500, 1_120]);

            for head in [PORT_UNREACHABLE, HOST_UNREACHABLE] {
                tun.send(&complaint(head, &first[0])).unwrap();
            }
            tun.send(&complaint([3, 4, 0, 0, 0, 0, 3, 0xe8], &first[0])).unwrap();
            world.sleep(ms(2_000)).await;
            let after = sizes(&received());
            assert!(!after.is_empty() && after.iter().all(|&size| size <= 1_000), "{after:?}");
            assert!(after.iter().any(|&size| size > 900), "{after:?}");
            tun.send(&complaint([3, 4, 0, 0, 0, 0, 0, 0], &first[0])).unwrap();
            world.sleep(ms(20_000)).await;
            let after = sizes(&received());
            assert!(!after.is_empty() && after.iter().all(|&size| size <= 552), "{after:?}");
            assert!(conn.with(|it, _| it.lost.is_none()));
            conn.transport().abort();
            io::Result::Ok(())
        })
        .unwrap();
}

/// Two foreign stacks tell each other in their own bytes.
#[test]
fn bytes_go_from_device_to_device() {
    let (simulation, world, tun) = world(Sim::new(1));
    let other = simulation.tun("client");
    simulation
        .run(async move {
            other.send(&datagram(CLIENT, FOREIGN, [5_000, 9], b"question")).unwrap();
            world.sleep(ms(2)).await;
            let (_, question) = tun.receive().unwrap();
            tun.send(&complaint(PORT_UNREACHABLE, &question[..30])).unwrap();
            world.sleep(ms(2)).await;
            let (kind, code, _, quote) = read(&other.receive().unwrap().1);
            assert_eq!((kind, code, &quote[..]), (3, 3, &question[..30]));
            io::Result::Ok(())
        })
        .unwrap();
}

/// A device sends to groups and to everybody, and hears all of both.
#[test]
fn datagrams_to_many_pass_a_device() {
    let (simulation, world, tun) = world(Sim::new(1));
    let other = simulation.tun("other");
    simulation
        .run(async move {
            let client = world.host("client");
            let ear = client
                .datagram()
                .local(("0.0.0.0", 9))
                .broadcast(true)
                .bind(Datagrams::default)
                .await?;
            let group = Ipv4Addr::new(239, 1, 2, 3);
            let heard = || {
                ear.with(|it, _| {
                    it.received.drain(..).map(|it| it.1.to_string()).collect::<Vec<_>>()
                })
            };
            for target in [group, Ipv4Addr::BROADCAST] {
                tun.send(&datagram(FOREIGN, target, [9, 9], b"x")).unwrap();
            }
            world.settle().await;
            assert_eq!(heard(), ["10.0.0.1:9"], "it has joined nothing");
            ear.transport().join_multicast(group.into(), None)?;
            tun.send(&datagram(FOREIGN, group, [9, 9], b"x")).unwrap();
            ear.transport().send_to(b"y", Some((group, 9).into()))?;
            ear.transport().send_to(b"y", Some((Ipv4Addr::BROADCAST, 9).into()))?;
            world.settle().await;
            assert_eq!(heard(), ["10.0.0.3:9", "10.0.0.3:9", "10.0.0.1:9"]);
            let targets = |tun: &Tun| {
                let received = std::iter::from_fn(|| tun.receive());
                received.map(|(_, packet)| packet[16]).collect::<Vec<_>>()
            };
            assert_eq!(targets(&tun), [239, 255]);
            assert_eq!(targets(&other), [239, 255, 239, 239, 255]);
            io::Result::Ok(())
        })
        .unwrap();
}
