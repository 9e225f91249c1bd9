//! Datagrams to groups and to everybody.

use std::io;
use std::net::{IpAddr, SocketAddr};

use sim_core::driver::{Family, Membership, SocketKind, SocketOption};
use sim_core::{Conn, DatagramTransport, Loop, Socket, World};
use sim_net::{DropReason, Partition, Record, Report, Sim};

use crate::protocols::{Datagrams, ms};

type Endpoint = Conn<Datagrams, DatagramTransport>;

const PORT: u16 = 7000;

fn group() -> IpAddr {
    [239, 1, 2, 3].into()
}

fn place() -> Option<SocketAddr> {
    Some((group(), PORT).into())
}

/// An endpoint at every address of its host.
async fn any(host: &Loop) -> io::Result<Endpoint> {
    host.datagram().local(("0.0.0.0", PORT)).reuse_port(true).bind(Datagrams::default).await
}

/// One that has joined the group.
async fn member(host: &Loop) -> io::Result<Endpoint> {
    let endpoint = any(host).await?;
    endpoint.transport().join_multicast(group(), None)?;
    Ok(endpoint)
}

/// What an endpoint received, and from whom.
fn heard(endpoint: &Endpoint) -> Vec<(String, String)> {
    let told = |(data, from, _): &(Vec<u8>, SocketAddr, sim_core::Time)| {
        (String::from_utf8_lossy(data).into_owned(), from.to_string())
    };
    endpoint.with(|it, _| it.received.iter().map(told).collect())
}

fn texts(endpoint: &Endpoint) -> Vec<String> {
    heard(endpoint).into_iter().map(|(text, _)| text).collect()
}

fn dropped<T>(report: &Report<T>, why: DropReason) -> usize {
    let log = report.log.as_ref().expect("it was asked for");
    let is_such = |record| matches!(record, Record::Dropped(_, reason) if reason == why);
    log.entries().filter(|entry| is_such(entry.record)).count()
}

/// Each member has a copy of its own on the way, and the sender hears itself unless it says no.
#[test]
fn each_member_gets_a_copy_and_the_sender_by_its_loop_flag() {
    let report = Sim::new(1).trace(true).run(|world| async move {
        let hosts = ["a", "b", "c", "d"].map(|name| world.host(name));
        let [a, b, c, d] = &hosts;
        let (one, two, three) = (member(a).await?, member(b).await?, member(c).await?);
        let outsider = any(d).await?;
        one.transport().send_to(b"all", place())?;
        world.settle().await;
        one.transport().set_multicast_loop(false)?;
        one.transport().send_to(b"others", place())?;
        world.settle().await;
        one.transport().set_multicast_hops(0)?;
        one.transport().send_to(b"nobody", place())?;
        one.transport().set_multicast_loop(true)?;
        one.transport().send_to(b"self", place())?;
        world.settle().await;
        let from = "10.0.0.1:7000".to_owned();
        let told = |text: &str| (text.to_owned(), from.clone());
        assert_eq!(heard(&one), [told("all"), told("self")]);
        for member in [&two, &three] {
            assert_eq!(heard(member), [told("all"), told("others")]);
        }
        assert_eq!(heard(&outsider), []);
        io::Result::Ok(())
    });
    let log = report.log.as_ref().unwrap();
    let sent = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) => Some(log.flow(packet.flow)),
        _ => None,
    });
    let sent: Vec<String> = sent.collect();
    let names = ["a", "b", "c", "b", "c", "a"].map(|to| format!("a@1→{to}:7000/udp#1"));
    assert_eq!(sent, names);
    report.unwrap();
}

/// What chance does to a copy is its own affair: each travels over its own link, with its own draws.
#[test]
fn copies_travel_over_links_of_their_own() {
    let run = |members: usize| {
        let lossy = "a->b: latency=1ms..5ms,loss=50%".parse::<sim_net::LinkRule>().unwrap();
        let slow = "a->c: latency=20ms".parse::<sim_net::LinkRule>().unwrap();
        Sim::new(4)
            .link(lossy)
            .link(slow)
            .run(move |world| async move {
                let hosts = ["a", "b", "c"].map(|name| world.host(name));
                let mut ears = Vec::new();
                for host in &hosts[1..=members] {
                    ears.push(member(host).await?);
                }
                let mouth = any(&hosts[0]).await?;
                for number in 0..40 {
                    mouth.transport().send_to(&[b'0' + number], place())?;
                    world.sleep(ms(10)).await;
                }
                world.settle().await;
                let lost = ears[0].with(|it, _| 40 - it.received.len());
                assert!((5..=35).contains(&lost), "{lost} of 40");
                if let Some(far) = ears.get(1) {
                    assert_eq!(texts(far).len(), 40, "another link");
                    let first = far.with(|it, _| it.received[0].2);
                    assert_eq!(first.since_epoch(), ms(20));
                }
                io::Result::Ok(texts(&ears[0]))
            })
            .unwrap()
    };
    assert_eq!(run(1), run(2), "one more member moves nothing");
}

/// A partition stops the copies that would cross it, and tells nobody: there is no ICMP about what goes
/// to many.
#[test]
fn partitions_stop_copies() {
    let simulation = Sim::new(1).trace(true).build();
    let (world, links) = (simulation.world(), simulation.links());
    simulation
        .run(async move {
            let hosts = ["a", "b", "c"].map(|name| world.host(name));
            let (one, two, three) =
                (member(&hosts[0]).await?, member(&hosts[1]).await?, member(&hosts[2]).await?);
            let reject = Partition::between("a", "b").effect(sim_net::Effect::Reject);
            links.partition(&reject).unwrap();
            one.transport().send_to(b"x", place())?;
            world.settle().await;
            let counts = [&one, &two, &three].map(|it| heard(it).len());
            assert_eq!(counts, [1, 0, 1]);
            assert!(one.with(|it, _| it.errors.is_empty()));
            io::Result::Ok(())
        })
        .unwrap();
    let log = simulation.log().unwrap();
    let is_icmp = |record| matches!(record, Record::Sent(packet) if packet.kind == sim_net::PacketKind::HostUnreachable);
    assert!(!log.entries().any(|entry| is_icmp(entry.record)));
}

/// As on Linux, what one socket of a host has joined, every socket of the host hears that is bound to
/// the port and to the group or to every address; one that is bound to an address does not.
#[test]
fn a_host_listens_as_one() {
    Sim::new(1)
        .run(|world| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let joined = member(&b).await?;
            let beside = any(&b).await?;
            let at = |ip: &'static str| {
                let endpoint = b.datagram().local((ip, PORT)).reuse_port(true);
                endpoint.bind(Datagrams::default)
            };
            let (own, of_group, of_other) =
                (at("10.0.0.2").await?, at("239.1.2.3").await?, at("239.9.9.9").await?);
            let far = b.datagram().local(("", PORT + 1)).bind(Datagrams::default).await?;
            let mouth = any(&a).await?;
            mouth.transport().send_to(b"x", place())?;
            world.settle().await;
            let all = [&joined, &beside, &own, &of_group, &of_other, &far];
            assert_eq!(all.map(|it| heard(it).len()), [1, 1, 0, 1, 0, 0]);
            // What is bound to a group sends from its host's address.
            let names =
                [&of_group, &joined].map(|it| it.transport().sockname().unwrap().to_string());
            assert_eq!(names, ["239.1.2.3:7000", "0.0.0.0:7000"]);
            of_group.transport().send_to(b"back", Some("10.0.0.1:7000".parse().unwrap()))?;
            world.settle().await;
            assert_eq!(heard(&mouth), [("back".to_owned(), "10.0.0.2:7000".to_owned())]);
            io::Result::Ok(())
        })
        .unwrap();
}

/// The loopback interface has members of its own, and carries to nobody else.
#[test]
fn the_loopback_interface_stays_on_its_host() {
    Sim::new(1)
        .run(|world| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let here = Some(IpAddr::from([127, 0, 0, 1]));
            let local = any(&a).await?;
            local.transport().join_multicast(group(), here)?;
            let far = any(&b).await?;
            far.transport().join_multicast(group(), here)?;
            let mouth = a.datagram().local(("127.0.0.1", 0)).bind(Datagrams::default).await?;
            mouth.transport().set_multicast_loop(false)?;
            mouth.transport().send_to(b"by address", place())?;
            world.settle().await;
            let other = a.datagram().local(("0.0.0.0", 0)).bind(Datagrams::default).await?;
            other.transport().send_to(b"by the network", place())?;
            other.transport().set_multicast_interface([127, 0, 0, 1].into())?;
            other.transport().send_to(b"by interface", place())?;
            world.settle().await;
            assert_eq!(texts(&local), ["by address", "by interface"]);
            let from: Vec<SocketAddr> =
                local.with(|it, _| it.received.iter().map(|it| it.1).collect());
            assert!(from.iter().all(|from| Some(from.ip()) == here), "{from:?}");
            assert!(heard(&far).is_empty());
            // Joined at one interface is not joined at the other.
            local.transport().join_multicast(group(), Some([10, 0, 0, 1].into()))?;
            other.transport().set_multicast_interface([10, 0, 0, 1].into())?;
            other.transport().send_to(b"now", place())?;
            world.settle().await;
            assert_eq!(texts(&local).last().unwrap(), "now");
            io::Result::Ok(())
        })
        .unwrap();
}

/// Groups of IPv6, with their scopes.
#[test]
fn groups_of_ipv6_have_scopes() {
    Sim::new(1)
        .run(|world| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let bind = |host: &Loop| host.datagram().local(("::", PORT)).bind(Datagrams::default);
            let (one, two) = (bind(&a).await?, bind(&b).await?);
            for (group, counts) in
                [("ff02::fb", [1, 1]), ("ff01::fb", [2, 1]), ("ff3e::8000:1", [3, 2])]
            {
                let group: IpAddr = group.parse().unwrap();
                for member in [&one, &two] {
                    member.transport().join_multicast(group, None)?;
                }
                one.transport().send_to(b"x", Some((group, PORT).into()))?;
                world.settle().await;
                assert_eq!([&one, &two].map(|it| heard(it).len()), counts, "{group}");
            }
            assert_eq!(heard(&two)[0].1, "[fd00::1]:7000");
            // The simulator has no groups with more than 32 bits.
            let group: IpAddr = "ff02::1:0:0:1".parse().unwrap();
            let error = one.transport().join_multicast(group, None).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(22));
            io::Result::Ok(())
        })
        .unwrap();
}

/// A crash ends the memberships of a host, and so does a kill; what was on the way to it is dropped.
#[test]
fn memberships_end_with_the_process() {
    for kill in [false, true] {
        let simulation = Sim::new(1).trace(true).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        simulation
            .run(async move {
                let a = world.host("a");
                world.boot("b", |lp: Loop| async move {
                    let lone = if lp.time().since_epoch() < ms(1) {
                        Some(member(&lp).await?)
                    } else {
                        None
                    };
                    lp.sleep(ms(1_000_000)).await;
                    drop(lone);
                    io::Result::Ok(())
                });
                let mouth = any(&a).await?;
                world.sleep(ms(5)).await;
                mouth.transport().send_to(b"on the way", place())?;
                let host = operator.host("b");
                assert!(if kill { host.kill() } else { host.crash() });
                world.sleep(ms(5)).await;
                assert!(host.start());
                mouth.transport().send_to(b"nobody", place())?;
                world.sleep(ms(5)).await;
                io::Result::Ok(())
            })
            .unwrap();
        let log = simulation.log().unwrap();
        let records: Vec<Record> = log.entries().map(|entry| entry.record).collect();
        let sent = records.iter().filter(|record| matches!(record, Record::Sent(_))).count();
        let reason = if kill { DropReason::NoSocket } else { DropReason::HostDown };
        let is_drop =
            |record: &&Record| matches!(record, Record::Dropped(_, why) if *why == reason);
        assert_eq!((sent, records.iter().filter(is_drop).count()), (1, 1));
    }
}

/// Leaving while a copy is on its way is in time.
#[test]
fn a_copy_for_who_left_is_dropped() {
    let report = Sim::new(1).trace(true).run(|world| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let (mouth, ear) = (any(&a).await?, member(&b).await?);
        mouth.transport().send_to(b"x", place())?;
        ear.transport().leave_multicast(group(), None)?;
        world.settle().await;
        assert!(heard(&ear).is_empty());
        // Joined twice by two sockets, left by one.
        let other = member(&b).await?;
        ear.transport().join_multicast(group(), None)?;
        other.transport().leave_multicast(group(), None)?;
        mouth.transport().send_to(b"y", place())?;
        world.settle().await;
        assert_eq!([&ear, &other].map(|it| heard(it).len()), [1, 1]);
        io::Result::Ok(())
    });
    assert_eq!(dropped(&report, DropReason::NoSocket), 1);
    report.unwrap();
}

/// A connected endpoint may be connected to a group; it hears its peer alone, which a group is not.
#[test]
fn an_endpoint_can_be_connected_to_a_group() {
    Sim::new(1)
        .run(|world| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let ear = member(&b).await?;
            let mouth = a.datagram().remote((group(), PORT)).bind(Datagrams::default).await?;
            assert_eq!(mouth.transport().peername(), place());
            assert_eq!(mouth.transport().sockname().unwrap().ip(), IpAddr::from([10, 0, 0, 1]));
            mouth.transport().send_to(b"x", None)?;
            world.settle().await;
            assert_eq!(heard(&ear).len(), 1);
            let back = ear.with(|it, _| it.received[0].1);
            ear.transport().send_to(b"y", Some(back))?;
            world.settle().await;
            assert!(heard(&mouth).is_empty());
            io::Result::Ok(())
        })
        .unwrap();
}

/// A send buffer that is full of copies is told when there is room again.
#[test]
fn copies_count_in_the_send_buffer() {
    Sim::new(1)
        .run(|world| async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let ear = member(&b).await?;
            let mouth = a
                .datagram()
                .local(("0.0.0.0", 0))
                .send_buffer(2_000)
                .bind(Datagrams::default)
                .await?;
            for number in 0..5 {
                mouth.transport().send_to(&[b'0' + number; 1_000], place())?;
            }
            assert!(mouth.transport().write_buffer_size() > 0);
            world.sleep(ms(20)).await;
            assert_eq!(heard(&ear).len(), 5);
            assert_eq!(mouth.transport().write_buffer_size(), 0);
            io::Result::Ok(())
        })
        .unwrap();
}

/// Groups are not for streams, and not for addresses that are none.
#[test]
fn a_stream_joins_no_group() {
    Sim::new(1)
        .run(|world| async move {
            let lp = world.host("a");
            let join = |kind, group: [u8; 4]| {
                let socket = Socket::open(&lp, kind, Family::V4)?;
                let membership = Membership { group: group.into(), interface: None };
                socket.set_option(SocketOption::JoinMulticast(membership))
            };
            let code = |result: io::Result<()>| result.unwrap_err().raw_os_error();
            assert_eq!(code(join(SocketKind::Stream, [239, 1, 2, 3])), Some(71));
            assert_eq!(code(join(SocketKind::Datagram, [10, 0, 0, 1])), Some(22));
            assert!(join(SocketKind::Datagram, [224, 0, 0, 1]).is_ok());
            io::Result::Ok(())
        })
        .unwrap();
}

/// A broadcast reaches every host, and stays on its own from a loopback address.
#[test]
fn a_broadcast_goes_by_an_interface() {
    let all = |world: World| async move {
        let (a, b) = (world.host("a"), world.host("b"));
        let (one, two) = (any(&a).await?, any(&b).await?);
        for (local, counts) in [("0.0.0.0", [1, 1]), ("127.0.0.1", [2, 1]), ("10.0.0.1", [3, 2])] {
            let mouth =
                a.datagram().local((local, 0)).broadcast(true).bind(Datagrams::default).await?;
            mouth.transport().send_to(b"x", Some(([255; 4], PORT).into()))?;
            world.settle().await;
            assert_eq!([&one, &two].map(|it| heard(it).len()), counts, "{local}");
        }
        io::Result::Ok(())
    };
    Sim::new(1).run(all).unwrap();
}

/// A socket that sends to one host and to a group, by turns, while others join the group and leave it.
#[test]
fn a_socket_that_knows_its_ways_notices_who_has_joined() {
    let (second, third) = Sim::new(1)
        .run(|world| async move {
            let hosts = ["a", "b", "c"].map(|name| world.host(name));
            let [a, b, c] = &hosts;
            let (one, two, three) = (any(a).await?, any(b).await?, any(c).await?);
            let (two_alone, group_of) = (Some(([10, 0, 0, 2], PORT).into()), group());
            let say = async |text: &[u8]| {
                for _ in 0..2 {
                    one.transport().send_to(text, two_alone)?;
                    one.transport().send_to(text, place())?;
                }
                world.settle().await;
                io::Result::Ok(())
            };
            say(b"1").await?;
            three.transport().join_multicast(group_of, None)?;
            say(b"2").await?;
            two.transport().join_multicast(group_of, None)?;
            three.transport().leave_multicast(group_of, None)?;
            say(b"3").await?;
            io::Result::Ok((texts(&two), texts(&three)))
        })
        .unwrap();
    assert_eq!(second, ["1", "1", "2", "2", "3", "3", "3", "3"]);
    assert_eq!(third, ["2", "2"]);
}

/// A broadcast reaches the machines of a world; the loop that its scenario runs on is none. A bare loop is the one
/// machine of its network.
#[test]
fn a_broadcast_reaches_machines_alone() {
    let all: Option<SocketAddr> = Some(([255, 255, 255, 255], PORT).into());
    let report = Sim::new(1).census(true).run(move |world: World| async move {
        let hosts = ["a", "b", "c"].map(|name| world.host(name));
        let heard = any(&hosts[1]).await?;
        let sender = hosts[0].datagram().local(("0.0.0.0", 0)).broadcast(true);
        sender.bind(Datagrams::default).await?.transport().send_to(b"x", all)?;
        world.settle().await;
        assert_eq!(texts(&heard), ["x"]);
        io::Result::Ok(())
    });
    let census = report.census.as_ref().unwrap();
    let to: Vec<String> = census.packets().map(|packet| packet.to.to_string()).collect();
    assert_eq!(to, ["b", "c"], "the sender's own copy stays on its machine");
    report.unwrap();

    let lp = sim_net::new_loop();
    let handle = lp.clone();
    let heard = lp.run_until_complete(async move {
        let local = ("0.0.0.0", PORT);
        let own = handle.datagram().local(local).broadcast(true).bind(Datagrams::default).await?;
        own.transport().send_to(b"self", all)?;
        handle.sleep(ms(10)).await;
        io::Result::Ok(texts(&own))
    });
    assert_eq!(heard.unwrap().unwrap(), ["self"]);
}
