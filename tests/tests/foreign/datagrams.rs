//! Datagrams and ICMP between `smoltcp` and our hosts: each side reads what the other writes.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use sim_core::World;
use sim_net::{Effect, LinkRule, Partition, Sim, Tun};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Message, Icmpv4Packet, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket,
    UdpRepr,
};
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::Log;

use crate::stack::{Opening, Options, Stack};

/// D-08: a foreign stack refuses a datagram by ICMP of its own, and a connected endpoint of ours hears of
/// it, once for each.
// on: sim
#[test]
fn a_foreign_stack_refuses_our_datagrams() {
    let simulation = Sim::new(1).build();
    let (world, tun) = (simulation.world(), simulation.tun("foreign"));
    let refusing = move |world: World| async move {
        let (client, log) = (world.host("client"), Log::new());
        let recorder = DatagramRecorder::new(&log);
        let conn = client.datagram().remote(("foreign", 9)).bind(|| recorder).await?;
        let foreign = world.host("foreign");
        let mut stack = Stack::new(foreign.clone(), tun, Opening::Nothing, Options::default());
        foreign.create_task(async move { stack.refuse().await });
        for data in [&b"question"[..], &[7; 1_400]] {
            conn.transport().send_to(data, None)?;
            world.sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(log.text(), "CM EX(ConnectionRefused) EX(ConnectionRefused)");
        io::Result::Ok(())
    };
    simulation.run(refusing(world)).unwrap();
}

/// A datagram from port 7 of the device's host to port 9 of another, in the bytes of `smoltcp`.
fn datagram(from: Ipv4Addr, to: Ipv4Addr, data: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let udp = UdpRepr { src_port: 7, dst_port: 9 };
    let payload_len = udp.header_len() + data.len();
    let ip = Ipv4Repr {
        src_addr: from,
        dst_addr: to,
        next_header: IpProtocol::Udp,
        payload_len,
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + payload_len];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet, &checksums);
    let mut payload = UdpPacket::new_unchecked(packet.payload_mut());
    let fill = |buffer: &mut [u8]| buffer.copy_from_slice(data);
    udp.emit(&mut payload, &from.into(), &to.into(), data.len(), fill, &checksums);
    bytes
}

/// What a packet of ICMP says and quotes, as `smoltcp` reads it. What is quoted of a long packet is less
/// than its header says, so that its length is not looked at.
#[track_caller]
fn read(bytes: &[u8]) -> (Icmpv4DstUnreachable, Ipv4Packet<Vec<u8>>) {
    let packet = Ipv4Packet::new_checked(bytes).expect("a packet");
    assert!(packet.verify_checksum());
    let icmp = Icmpv4Packet::new_checked(packet.payload()).expect("a message");
    assert!(icmp.verify_checksum());
    assert_eq!(icmp.msg_type(), Icmpv4Message::DstUnreachable);
    let quoted = Ipv4Packet::new_unchecked(icmp.data().to_vec());
    assert!(quoted.verify_checksum());
    (icmp.msg_code().into(), quoted)
}

/// What our hosts and links say, a foreign stack reads: a closed port, a partition that rejects, a narrow
/// link.
#[test]
fn a_foreign_stack_reads_our_icmp() {
    let narrow: LinkRule = "foreign->client: latency=1ms,mtu=900".parse().unwrap();
    let simulation = Sim::new(1).link(narrow).build();
    let (world, tun, links) = (simulation.world(), simulation.tun("foreign"), simulation.links());
    let address = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(_) => panic!("IPv4 comes first"),
    };
    simulation
        .run(async move {
            let client = world.host("client");
            let to = address(client.getaddrinfo(("client", 9)).await?[0].ip());
            let from = address(tun.addresses()[0]);
            let ask = async |tun: &Tun, data: &[u8]| {
                let sent = datagram(from, to, data);
                tun.send(&sent).unwrap();
                tun.readable().await;
                let (reason, quoted) = read(&tun.receive().unwrap().1);
                assert_eq!((quoted.src_addr(), quoted.dst_addr()), (from, to));
                assert_eq!(quoted.next_header(), IpProtocol::Udp);
                let quote = quoted.into_inner();
                assert!(quote.len() >= 28 && quote == sent[..quote.len()]);
                reason
            };
            assert_eq!(ask(&tun, b"question").await, Icmpv4DstUnreachable::PortUnreachable);
            assert_eq!(ask(&tun, &[7; 873]).await, Icmpv4DstUnreachable::FragRequired);
            let cut = Partition::between("foreign", "client").effect(Effect::Reject);
            links.partition(&cut).unwrap();
            assert_eq!(ask(&tun, b"question").await, Icmpv4DstUnreachable::HostUnreachable);
            io::Result::Ok(())
        })
        .unwrap();
}
