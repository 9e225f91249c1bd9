//! ICMP of every kind that the simulator knows, and datagrams to groups, in one capture.

use std::io;
use std::time::Duration;

use sim_core::Cx;
use sim_core::{Conn, DatagramProtocol, DatagramTransport, World};
use sim_net::{Capture, Effect, LinkRule, Links, Partition, Sim, Tun};

use crate::pcapng::{self, Body, Packet};
use crate::tshark;

struct Quiet;

impl DatagramProtocol for Quiet {
    fn datagram_received(
        &mut self,
        _cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: std::net::SocketAddr,
    ) {
    }
}

type Endpoint = Conn<Quiet, DatagramTransport>;

/// Sends from `client` to `server` in both families what is too large, what is rejected and what nobody
/// takes, to a group what one host has joined, and to `foreign` what is refused in bytes.
async fn complaints(world: World, links: Links, tun: Tun) -> io::Result<()> {
    let (client, server) = (world.host("client"), world.host("server"));
    let pause = || world.sleep(Duration::from_millis(20));
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for name in ["server", "ip6-server"] {
        endpoints.push(client.datagram().remote((name, 9)).bind(|| Quiet).await?);
    }
    let say = |data: &[u8]| {
        endpoints.iter().try_for_each(|endpoint| endpoint.transport().send_to(data, None))
    };
    say(b"nobody")?;
    pause().await;
    say(&[7; 1_450])?;
    pause().await;
    let cut = links.partition(&Partition::between("client", "server").effect(Effect::Reject));
    say(b"rejected")?;
    pause().await;
    links.heal_one(cut.expect("both hosts are there"));

    let group = std::net::IpAddr::from([239, 1, 2, 3]);
    let member = server.datagram().local((group, 7_000)).bind(|| Quiet).await?;
    member.transport().join_multicast(group, None)?;
    let mouth = client.datagram().local(("", 7_000)).bind(|| Quiet).await?;
    mouth.transport().join_multicast(group, None)?;
    mouth.transport().send_to(b"all", Some((group, 7_000).into()))?;
    pause().await;

    let refused = client.datagram().remote(("foreign", 9)).bind(|| Quiet).await?;
    refused.transport().send_to(b"in bytes", None)?;
    // What is for everybody reached the device, too.
    let mut packet = loop {
        tun.readable().await;
        let (_, packet) = tun.receive().expect("it is readable");
        if packet[16] != 239 {
            break packet;
        }
    };
    let mut answer = packet.clone();
    // A header that is as long as the packet and 28 more, from there to here, of ICMP.
    (answer[2], answer[3], answer[9]) = (0, packet.len() as u8 + 28, 1);
    for at in 0..4 {
        answer.swap(12 + at, 16 + at);
    }
    answer.truncate(20);
    fix(&mut answer, 10);
    let mut message = vec![3, 3, 0, 0, 0, 0, 0, 0];
    message.append(&mut packet);
    fix(&mut message, 2);
    answer.append(&mut message);
    tun.send(&answer).expect("it is well formed");
    pause().await;
    Ok(())
}

/// Sets a checksum over all bytes.
fn fix(bytes: &mut [u8], at: usize) {
    bytes[at..at + 2].fill(0);
    let words =
        bytes.chunks(2).map(|it| u32::from(it[0]) << 8 | u32::from(*it.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

fn capture() -> Capture {
    let narrow: LinkRule = "client->server: latency=1ms,mtu=1300".parse().expect("a rule");
    let simulation = Sim::new(1).link(narrow).capture(true).build();
    let (world, links, tun) = (simulation.world(), simulation.links(), simulation.tun("foreign"));
    simulation.run(complaints(world, links, tun)).unwrap_or_else(|finding| panic!("{finding}"));
    simulation.capture().expect("it was asked for")
}

/// Each message has its type and code, quotes its packet, and is there once, also one that came as bytes.
#[test]
fn every_kind_of_icmp_is_captured_with_what_it_quotes() {
    let file = pcapng::read(&capture().to_pcapng());
    let told = |packet: &Packet| match &packet.body {
        Body::Icmp { kind, code, quote } => {
            let (source, target, body) = (packet.source, packet.target, quote);
            // The reader wants whole packets: those that were cut off say how long they were.
            if body.len() < 500 {
                let (from, to, _) = pcapng::ip(body);
                assert_eq!((from, to), (target, source));
            }
            Some((packet.source.is_ipv4(), *kind, *code, quote.len()))
        }
        _ => None,
    };
    let told: Vec<_> = file.packets.iter().filter_map(told).collect();
    let expected = [
        (true, 3, 3, 34),
        (false, 1, 4, 54),
        (true, 3, 4, 548),
        (false, 2, 0, 1_232),
        (true, 3, 1, 36),
        (false, 1, 3, 56),
        (true, 3, 3, 36),
    ];
    let sorted = |mut list: Vec<(bool, u8, u8, usize)>| {
        list.sort_unstable();
        list
    };
    assert_eq!(sorted(told), sorted(expected.to_vec()));
    let group = file.packets.iter().filter(|packet| packet.target.is_multicast());
    assert_eq!(group.count(), 1, "the copies of a datagram are one packet on the wire");
}

/// tshark finds every checksum right, nothing malformed, and the MTU where it is said.
#[test]
fn tshark_reads_the_icmp_of_a_capture() {
    let fields = [
        "_ws.malformed",
        "icmp.checksum.status",
        "icmpv6.checksum.status",
        "icmp.mtu",
        "icmpv6.mtu",
        "ip.ttl",
    ];
    let Some(lines) = tshark(&capture().to_pcapng(), &fields) else {
        return println!("skipped: there is no tshark here");
    };
    let set =
        |column: usize, value: &str| lines.iter().filter(|line| line[column] == value).count();
    assert_eq!(set(0, ""), lines.len(), "malformed: {lines:?}");
    // 1 is good.
    assert_eq!((set(1, "1"), set(2, "1")), (4, 3), "{lines:?}");
    assert_eq!((set(1, "") + set(1, "1"), set(2, "") + set(2, "1")), (lines.len(), lines.len()));
    assert_eq!((set(3, "1300"), set(4, "1300")), (1, 1), "{lines:?}");
    assert_eq!(set(5, "1"), 1, "a group is for one network: {lines:?}");
}
