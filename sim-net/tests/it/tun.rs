//! A host's packets as bytes: what a TUN device lets out, takes in and refuses.

use std::io;

use sim_core::{Conn, DatagramTransport, Loop, World};
use sim_net::{DropReason, PacketError, PacketKind, Record, Sim, Simulation, Tun};

use crate::protocols::{Datagrams, Name, endpoint, ms};

const ANY: Option<Name> = None;
const PORT: u16 = 9;

/// A world whose host `foreign` has a TUN device, and the device.
fn world() -> (Simulation, World, Tun) {
    let simulation = Sim::new(1).trace(true).build();
    let (world, tun) = (simulation.world(), simulation.tun("foreign"));
    (simulation, world, tun)
}

/// An endpoint of host `client` that sends to `foreign`.
async fn sender(world: &World) -> io::Result<Conn<Datagrams, DatagramTransport>> {
    let client: Loop = world.host("client");
    endpoint(&client, ANY, Some(("foreign", PORT)), Datagrams::default).await
}

/// The packet on its way back: with source and target exchanged no checksum changes.
fn turned(mut packet: Vec<u8>) -> Vec<u8> {
    for at in 0..4 {
        packet.swap(12 + at, 16 + at);
    }
    packet.swap(20, 22);
    packet.swap(21, 23);
    packet
}

fn dropped(simulation: &Simulation, why: DropReason) -> usize {
    let log = simulation.log().expect("it was asked for");
    let is_such = |record| matches!(record, Record::Dropped(_, reason) if reason == why);
    log.entries().filter(|entry| is_such(entry.record)).count()
}

#[test]
fn a_datagram_goes_out_as_bytes_and_bytes_come_back_as_a_datagram() {
    let (simulation, world, tun) = world();
    let received = simulation
        .run(async move {
            let conn = sender(&world).await?;
            conn.transport().send_to(b"question", None)?;
            tun.readable().await;
            let (time, packet) = tun.receive().expect("it is readable");
            assert_eq!((time.since_epoch(), world.time()), (ms(1), time));
            assert_eq!((&packet[28..], tun.receive()), (&b"question"[..], None));
            assert_eq!(tun.send(&turned(packet)), Ok(()));
            world.sleep(ms(2)).await;
            io::Result::Ok(conn.with(|it, _| std::mem::take(&mut it.received)))
        })
        .unwrap();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].0, b"question");
    assert_eq!(received[0].1.to_string(), format!("10.0.0.1:{PORT}"));
    assert_eq!(received[0].2.since_epoch(), ms(2));
    let log = simulation.log().expect("it was asked for");
    let sent = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) => Some(log.flow(packet.flow)),
        _ => None,
    });
    let sent: Vec<String> = sent.collect();
    assert_eq!(sent[0], "client@1→foreign:9/udp#1");
    assert!(sent[1].starts_with("foreign@1→client:") && sent[1].ends_with("/udp#1"), "{sent:?}");
}

#[test]
fn packets_that_are_not_well_formed_are_refused_and_counted() {
    let (simulation, world, tun) = world();
    let device = tun.clone();
    simulation
        .run(async move {
            let conn = sender(&world).await?;
            conn.transport().send_to(b"question", None)?;
            tun.readable().await;
            let (_, packet) = tun.receive().expect("it is readable");
            // It comes from another host.
            assert_eq!(tun.send(&packet), Err(PacketError::Address));
            let mut packet = turned(packet);
            assert_eq!(tun.send(&packet[..30]), Err(PacketError::Truncated));
            packet[30] ^= 1;
            assert_eq!(tun.send(&packet), Err(PacketError::Checksum));
            assert_eq!(tun.send(&[]), Err(PacketError::Truncated));
            world.sleep(ms(5)).await;
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(device.refused(), 4);
    let log = simulation.log().expect("it was asked for");
    let is_sent = |record: &Record| matches!(record, Record::Sent(_));
    assert_eq!(log.entries().filter(|entry| is_sent(&entry.record)).count(), 1);
}

/// A device that nobody reads holds 500 packets.
#[test]
fn what_nobody_receives_fills_the_queue() {
    let (simulation, world, tun) = world();
    let device = tun.clone();
    simulation
        .run(async move {
            let conn = sender(&world).await?;
            for _ in 0..510 {
                conn.transport().send_to(b"x", None)?;
            }
            world.sleep(ms(5)).await;
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(std::iter::from_fn(|| device.receive()).count(), 500);
    assert_eq!(dropped(&simulation, DropReason::ReceiveBuffer), 10);
}

/// The kernel of the host answers nothing: no refusal of a closed port, no reset.
#[test]
fn the_hosts_own_kernel_is_silent() {
    let (simulation, world, _tun) = world();
    simulation
        .run(async move {
            let client = world.host("client");
            let connecting =
                client.create_connection(("foreign", PORT), crate::protocols::Recorder::default);
            assert!(client.timeout(ms(900), connecting).await.is_err(), "nobody answers");
            io::Result::Ok(())
        })
        .unwrap();
    let log = simulation.log().expect("it was asked for");
    let kinds = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) => Some(packet.kind),
        _ => None,
    });
    assert_eq!(kinds.collect::<Vec<_>>(), [PacketKind::Syn]);
}

#[test]
fn a_crash_takes_what_was_not_received_and_a_start_brings_the_device_back() {
    let (simulation, world, tun) = world();
    let operator = simulation.operator();
    simulation
        .run(async move {
            let conn = sender(&world).await?;
            let say = |text: &[u8]| conn.transport().send_to(text, None);
            say(b"before")?;
            world.sleep(ms(2)).await;
            let kept = operator.host("foreign");
            assert!(kept.crash());
            assert_eq!(tun.receive(), None);
            say(b"during")?;
            world.sleep(ms(2)).await;
            assert!(kept.start() && kept.freeze());
            say(b"frozen")?;
            world.sleep(ms(2)).await;
            assert!(kept.thaw());
            say(b"after")?;
            world.sleep(ms(2)).await;
            let (_, packet) = tun.receive().expect("the host is up");
            assert_eq!((&packet[28..], tun.receive()), (&b"after"[..], None));
            // What is off sends nothing.
            kept.crash();
            assert_eq!(tun.send(&turned(packet)), Ok(()));
            world.sleep(ms(5)).await;
            assert!(conn.with(|it, _| it.received.is_empty()));
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(dropped(&simulation, DropReason::HostDown), 2);
}

/// A frozen machine sends when it goes on, in order, and what is wrong with a packet is told at once.
#[test]
fn a_device_of_a_frozen_machine_sends_when_that_goes_on() {
    let (simulation, world, tun) = world();
    let (operator, device) = (simulation.operator(), tun.clone());
    simulation
        .run(async move {
            let conn = sender(&world).await?;
            let say = |text: &[u8]| conn.transport().send_to(text, None);
            say(b"one")?;
            say(b"two")?;
            world.sleep(ms(2)).await;
            let packets: Vec<Vec<u8>> =
                std::iter::from_fn(|| tun.receive()).map(|(_, packet)| turned(packet)).collect();
            let host = operator.host("foreign");
            assert!(host.freeze());
            for packet in &packets {
                assert_eq!(tun.send(packet), Ok(()));
            }
            assert_eq!(tun.send(&packets[0][..30]), Err(PacketError::Truncated));
            assert_eq!(tun.send(&turned(packets[0].clone())), Err(PacketError::Address));
            let mut nowhere = packets[0].clone();
            // To 192.168.0.x instead of 10.0.0.x, with checksums that are so much less.
            nowhere[16..18].copy_from_slice(&[192, 168]);
            for at in [10, 26] {
                let sum = u16::from_be_bytes([nowhere[at], nowhere[at + 1]]);
                let less = 0xc0a8 - 0x0a00;
                let sum = if sum > less { sum - less } else { sum.wrapping_sub(less + 1) };
                nowhere[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            }
            assert_eq!(tun.send(&nowhere), Err(PacketError::NoRoute));
            world.sleep(ms(1_000)).await;
            assert_eq!(conn.with(|it, _| it.received.len()), 0);
            assert!(host.thaw());
            world.sleep(ms(2)).await;
            let texts = conn.with(|it, _| {
                it.received.iter().map(|(text, ..)| text.clone()).collect::<Vec<_>>()
            });
            assert_eq!(texts, [b"one", b"two"]);
            // A crash takes what waits.
            assert!(host.freeze());
            assert_eq!(tun.send(&packets[0]), Ok(()));
            assert!(host.crash() && host.start() && host.thaw());
            world.sleep(ms(5)).await;
            assert_eq!(conn.with(|it, _| it.received.len()), 2);
            io::Result::Ok(())
        })
        .unwrap();
    assert_eq!(device.refused(), 3);
}

#[test]
fn a_device_keeps_no_world_alive() {
    let (simulation, world, tun) = world();
    drop((world, simulation));
    assert_eq!((tun.receive(), tun.send(b"anything"), tun.refused()), (None, Ok(()), 0));
}
