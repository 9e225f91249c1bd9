//! Datagrams between hosts.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use sim_core::{Conn, Cx, DatagramProtocol, DatagramTransport, Loop, Time};
use sim_net::{LinkRule, PacketKind, Record, Sim};

use crate::protocols::{Datagrams, Name, endpoint, ms, udp_echo};

/// How long the datagrams were that one endpoint received, and the numbers of the errors that another was told.
fn what_came(
    sink: &Conn<Datagrams, DatagramTransport>,
    sender: &Conn<Datagrams, DatagramTransport>,
) -> (Vec<usize>, Vec<Option<i32>>) {
    let lengths = sink.with(|it, _| it.received.iter().map(|r| r.0.len()).collect());
    let errors = sender.with(|it, _| it.errors.iter().map(io::Error::raw_os_error).collect());
    (lengths, errors)
}

const ANY: Option<Name> = None;

#[test]
fn a_datagram_and_its_echo_take_a_round_trip_and_empty_ones_arrive() {
    let received = Sim::new(1)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let _echo = endpoint(&server, Some(("server", 53)), ANY, udp_echo).await?;
            let conn = endpoint(&client, ANY, Some(("server", 53)), Datagrams::default).await?;
            conn.transport().send_to(b"question", None)?;
            conn.transport().send_to(b"", None)?;
            world.settle().await;
            client.sleep(ms(1)).await;
            io::Result::Ok(conn.with(|it, _| std::mem::take(&mut it.received)))
        })
        .unwrap();
    let data: Vec<&[u8]> = received.iter().map(|(data, ..)| &**data).collect();
    assert_eq!(data, [&b"question"[..], b""]);
    assert_eq!(received[0].1.to_string(), "10.0.0.1:53");
    assert_eq!(received[0].2.since_epoch(), ms(2));
}

/// D-08: only a connected endpoint hears of a closed port, and it stays usable.
#[test]
fn a_connected_endpoint_hears_of_a_closed_port() {
    let (connected, unconnected) = Sim::new(1)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let target = Some(("server", 9));
            let one = endpoint(&client, ANY, target, Datagrams::default).await?;
            let other = endpoint(&client, Some(("0.0.0.0", 0)), ANY, Datagrams::default).await?;
            one.transport().send_to(b"x", None)?;
            other.transport().send_to(b"x", Some("10.0.0.1:9".parse().unwrap()))?;
            client.sleep(ms(10)).await;
            let _late = endpoint(&server, target, ANY, Datagrams::default).await?;
            one.transport().send_to(b"y", None)?;
            client.sleep(ms(10)).await;
            let errors = |conn: &Conn<Datagrams, _>| {
                conn.with(|it, _| it.errors.iter().map(io::Error::kind).collect::<Vec<_>>())
            };
            io::Result::Ok((errors(&one), errors(&other)))
        })
        .unwrap();
    assert_eq!(connected, [io::ErrorKind::ConnectionRefused]);
    assert!(unconnected.is_empty());
}

/// A broadcast comes from the sender's address, at the sender itself too.
#[test]
fn a_broadcast_comes_from_its_sender_everywhere() {
    let sources = Sim::new(1)
        .run(|world| async move {
            let hosts = ["one", "two"].map(|name| world.host(name));
            let mut endpoints = Vec::new();
            for host in &hosts {
                let any = host.datagram().local(("", 7000)).broadcast(true);
                endpoints.push(any.bind(Datagrams::default).await?);
            }
            let everybody = "10.255.255.255:7000".parse().unwrap();
            endpoints[0].transport().send_to(b"all", Some(everybody))?;
            world.settle().await;
            let source = |conn: &Conn<Datagrams, _>| {
                conn.with(|it, _| it.received.iter().map(|(_, from, _)| *from).collect::<Vec<_>>())
            };
            io::Result::Ok(endpoints.iter().flat_map(source).collect::<Vec<_>>())
        })
        .unwrap();
    assert_eq!(sources, ["10.0.0.1:7000".parse().unwrap(); 2]);
}

/// D-07: 65507 bytes fit, 65508 do not, and the endpoint stays open.
#[test]
fn a_datagram_has_a_largest_size() {
    let (lengths, errors) = Sim::new(1)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let target = Some(("server", 9));
            let sink = endpoint(&server, target, ANY, Datagrams::default).await?;
            let conn = endpoint(&client, ANY, target, Datagrams::default).await?;
            conn.transport().send_to(&[1; 65_508], None)?;
            conn.transport().send_to(&[1; 65_507], None)?;
            client.sleep(ms(10)).await;
            io::Result::Ok(what_came(&sink, &conn))
        })
        .unwrap();
    assert_eq!((lengths.as_slice(), errors.as_slice()), (&[65_507][..], &[Some(90)][..]));
}

#[test]
fn broadcasts_need_permission_and_reach_every_host() {
    let (denied, received) = Sim::new(1)
        .run(|world| async move {
            let client = world.host("client");
            let mut sinks = Vec::new();
            for name in ["a", "b"] {
                let any = Some(("0.0.0.0", 9));
                let host = world.host(name);
                sinks.push(endpoint(&host, any, ANY, Datagrams::default).await?);
            }
            let all = Some("255.255.255.255:9".parse().unwrap());
            let any = ("0.0.0.0", 0);
            let plain = endpoint(&client, Some(any), ANY, Datagrams::default).await?;
            plain.transport().send_to(b"x", all)?;
            let caster =
                client.datagram().local(any).broadcast(true).bind(Datagrams::default).await?;
            caster.transport().send_to(b"hello", all)?;
            client.sleep(ms(10)).await;
            let denied = plain.with(|it, _| it.errors.first().and_then(io::Error::raw_os_error));
            let received: Vec<usize> =
                sinks.iter().map(|sink| sink.with(|it, _| it.received.len())).collect();
            io::Result::Ok((denied, received))
        })
        .unwrap();
    assert_eq!((denied, received), (Some(13), vec![1, 1]));
}

/// D-10, D-11, D-13: a bounded send buffer makes datagrams wait, and none is lost.
#[test]
fn datagrams_queue_behind_a_full_send_buffer_and_all_leave() {
    let (paused, resumed, received) = Sim::new(1)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let target = ("server", 9);
            let sink = endpoint(&server, Some(target), ANY, Datagrams::default).await?;
            let conn = client
                .datagram()
                .remote(target)
                .send_buffer(20_000)
                .bind(Datagrams::default)
                .await?;
            for index in 0..100_u8 {
                conn.transport().send_to(&[index; 1_000], None)?;
            }
            client.sleep(ms(1_000)).await;
            let order = sink.with(|it, _| it.received.iter().map(|r| r.0[0]).collect::<Vec<_>>());
            io::Result::Ok((conn.with(|it, _| it.paused), conn.with(|it, _| it.resumed), order))
        })
        .unwrap();
    assert_eq!((paused, resumed), (1, 1));
    assert_eq!(received, (0..100).collect::<Vec<u8>>());
}

/// D-10, D-11, D-16: a datagram to a machine that is off or frozen, or to an address that it had, has
/// left the send buffer when it is lost, whether it went to one host or to all.
#[test]
fn datagrams_to_a_host_that_is_down_leave_the_send_buffer() {
    type Fault = fn(&sim_net::HostOperator) -> bool;
    let crash: Fault = sim_net::HostOperator::crash;
    let freeze: Fault = sim_net::HostOperator::freeze;
    let moved: Fault = |host| host.crash() && host.move_addresses() && host.start();
    for (fault, to) in [
        (crash, "10.0.0.2:9"),
        (freeze, "10.0.0.2:9"),
        (moved, "10.0.0.2:9"),
        (crash, "255.255.255.255:9"),
    ] {
        let simulation = Sim::new(1).build();
        let (world, operator) = (simulation.world(), simulation.operator());
        let run = simulation.run(async move {
            let [a, _, c] = ["a", "b", "c"].map(|name| world.host(name));
            let alive = endpoint(&c, Some(("c", 10)), ANY, Datagrams::default).await?;
            let local = a.datagram().local(("0.0.0.0", 0)).broadcast(true).send_buffer(2_000);
            let sender = local.bind(Datagrams::default).await?;
            assert!(fault(&operator.host("b")));
            for _ in 0..2 {
                sender.transport().send_to(&[1; 1_000], Some(to.parse().unwrap()))?;
                world.sleep(ms(10)).await;
            }
            sender.transport().send_to(b"hello", Some("10.0.0.3:10".parse().unwrap()))?;
            world.sleep(ms(10)).await;
            assert_eq!(sender.transport().write_buffer_size(), 0, "{to}");
            io::Result::Ok(alive.with(|it, _| it.received.len()))
        });
        assert_eq!(run.unwrap(), 1, "{to}");
    }
}

#[test]
fn a_full_receive_buffer_drops() {
    let report = Sim::new(1).trace(true).run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let target = Some(("server", 9));
        let sink = endpoint(&server, target, ANY, Datagrams::default).await?;
        sink.transport().pause_reading();
        let conn = endpoint(&client, ANY, target, Datagrams::default).await?;
        for _ in 0..100 {
            conn.transport().send_to(&[1; 10_000], None)?;
        }
        client.sleep(ms(10)).await;
        sink.transport().resume_reading();
        client.sleep(ms(10)).await;
        io::Result::Ok(sink.with(|it, _| it.received.len()))
    });
    let log = report.log.clone().unwrap().to_string();
    assert_eq!(log.matches("the receive buffer is full").count(), 100 - 19);
    assert_eq!(report.unwrap(), 19);
}

/// What endpoints heard, in order.
type Heard = Rc<RefCell<Vec<String>>>;

/// Puts down what it hears.
struct Listener(Heard);

impl DatagramProtocol for Listener {
    fn datagram_received(
        &mut self,
        _: &mut Cx<'_, Self, DatagramTransport>,
        data: &[u8],
        _: SocketAddr,
    ) {
        self.0.borrow_mut().push(String::from_utf8_lossy(data).into_owned());
    }
}

/// A socket sends to an address that it has sent to before, whose host has another by now, and to the
/// new one.
#[test]
fn a_socket_notices_that_a_host_has_moved() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    let heard = Heard::default();
    let list = heard.clone();
    let run = simulation.run(async move {
        let client = world.host("client");
        world.boot("server", move |lp: Loop| {
            let list = list.clone();
            async move {
                let _sink = lp
                    .datagram()
                    .local(("0.0.0.0", 9))
                    .bind(move || Listener(list.clone()))
                    .await?;
                std::future::pending::<io::Result<()>>().await
            }
        });
        world.sleep(ms(10)).await;
        let server = operator.host("server");
        let old = server.addresses()[0];
        let socket = endpoint(&client, Some(("0.0.0.0", 0)), ANY, Datagrams::default).await?;
        let send = |text: &str, to: IpAddr| {
            socket.transport().send_to(text.as_bytes(), Some((to, 9).into()))
        };
        send("one", old)?;
        send("two", old)?;
        world.sleep(ms(10)).await;
        assert!(server.crash() && server.move_addresses() && server.start());
        world.sleep(ms(10)).await;
        send("to nobody", old)?;
        send("three", server.addresses()[0])?;
        send("to nobody again", old)?;
        send("four", server.addresses()[0])?;
        world.sleep(ms(10)).await;
        io::Result::Ok(())
    });
    run.unwrap();
    assert_eq!(heard.take(), ["one", "two", "three", "four"]);
}

/// A link that changes between two datagrams to the same address, and back.
#[test]
fn a_socket_notices_that_a_link_has_changed() {
    let simulation = Sim::new(1).build();
    let (world, links) = (simulation.world(), simulation.links());
    let (received, errors) = simulation
        .run(async move {
            let (a, b) = (world.host("a"), world.host("b"));
            let sink = endpoint(&b, Some(("b", 9)), ANY, Datagrams::default).await?;
            let socket = endpoint(&a, ANY, Some(("b", 9)), Datagrams::default).await?;
            let rules = ["latency=1ms", "latency=7ms", "latency=1ms,mtu=1000", "latency=2ms"];
            for rule in rules {
                links.set(rule.parse::<LinkRule>().unwrap()).unwrap();
                for length in [1, 1_200] {
                    socket.transport().send_to(&vec![0; length], None)?;
                }
                world.sleep(ms(10)).await;
            }
            let received = sink.with(|it, _| {
                let told = |(data, _, at): &(Vec<u8>, SocketAddr, Time)| {
                    (data.len(), at.since_epoch().as_millis())
                };
                it.received.iter().map(told).collect::<Vec<_>>()
            });
            io::Result::Ok((received, socket.with(|it, _| it.errors.len())))
        })
        .unwrap();
    assert_eq!(received, [(1, 1), (1_200, 1), (1, 17), (1_200, 17), (1, 21), (1, 32), (1_200, 32)]);
    assert_eq!(errors, 1);
}

/// Over IPv6 a datagram is larger by the IPv4 header that it does not have: 65535 less the header of UDP.
#[test]
fn a_datagram_over_ipv6_has_a_largest_size() {
    let (lengths, errors) = Sim::new(1)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let sink = server.datagram().local(("fd00::1", 9)).bind(Datagrams::default).await?;
            let far = client.datagram().remote(("fd00::1", 9));
            let conn = far.bind(Datagrams::default).await?;
            for length in [65_528, 65_527, 65_528, 65_527] {
                conn.transport().send_to(&vec![1; length], None)?;
            }
            client.sleep(ms(10)).await;
            io::Result::Ok(what_came(&sink, &conn))
        })
        .unwrap();
    assert_eq!((lengths.as_slice(), errors.as_slice()), (&[65_527; 2][..], &[Some(90); 2][..]));
}

/// What 127.0.0.1 sends leaves no host: Linux refuses to (`EINVAL`). From `::1` it is sent, and nobody takes it.
#[test]
fn a_datagram_from_a_loopback_address_leaves_no_host() {
    let (kinds, received) = Sim::new(1)
        .run(|world| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let (mut sinks, mut kinds) = (Vec::new(), Vec::new());
            for (own, any, far) in
                [("127.0.0.1", "0.0.0.0", "10.0.0.1:9"), ("::1", "::", "[fd00::1]:9")]
            {
                sinks.push(server.datagram().local((any, 9)).bind(Datagrams::default).await?);
                let conn = client.datagram().local((own, 9)).bind(Datagrams::default).await?;
                conn.transport().send_to(b"out", Some(far.parse().unwrap()))?;
                client.sleep(ms(10)).await;
                kinds.extend(
                    conn.with(|it, _| it.errors.iter().map(io::Error::kind).collect::<Vec<_>>()),
                );
                sinks.push(conn);
            }
            let received =
                sinks.iter().map(|sink| sink.with(|it, _| it.received.len())).sum::<usize>();
            io::Result::Ok((kinds, received))
        })
        .unwrap();
    assert_eq!((kinds.as_slice(), received), (&[io::ErrorKind::InvalidInput][..], 0));
}

/// What a script does with the flows of datagrams.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A socket sends to a port of a host, or to its own.
    Send { socket: usize, host: usize, port: u16 },
    /// All links get another delay, loss or jitter, or what they had.
    Links(&'static str),
}

const LINKS: [&str; 4] = ["latency=1ms", "latency=2ms", "latency=1ms..2ms", "latency=1ms,loss=10%"];

fn step() -> impl Strategy<Value = Step> {
    let send = (0..3_usize, 0..100_usize, prop_oneof![9 => Just(9_u16), 1 => Just(10)])
        .prop_map(|(socket, host, port)| Step::Send { socket, host, port });
    prop_oneof![60 => send, 1 => prop::sample::select(&LINKS[..]).prop_map(Step::Links)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// However many hosts a socket sends to, and whatever the links do on the way: each datagram goes from the right
    /// socket to the right host, under the name of the flow that says how many sockets have sent there before.
    #[test]
    fn datagrams_keep_their_flows_among_many_peers(steps in prop::collection::vec(step(), 0..600)) {
        let simulation = Sim::new(1).trace(true).build();
        let (world, links) = (simulation.world(), simulation.links());
        let script = steps.clone();
        let run = simulation.run(async move {
            let sender = world.host("sender");
            let name = |host: usize| if host == 0 { "sender".into() } else { format!("host-{host}") };
            let mut sinks = Vec::new();
            for host in 1..100 {
                let local = (name(host), 9);
                sinks.push(world.host(&name(host)).datagram().local(local).bind(Datagrams::default).await?);
            }
            let mut sockets = Vec::new();
            for _ in 0..3 {
                sockets.push(endpoint(&sender, Some(("sender", 0)), ANY, Datagrams::default).await?);
            }
            for step in script {
                match step {
                    Step::Links(rule) => links.set(rule.parse::<LinkRule>().unwrap()).unwrap(),
                    Step::Send { socket, host, port } => {
                        let to = SocketAddr::new([10, 0, 0, host as u8 + 1].into(), port);
                        sockets[socket].transport().send_to(&[socket as u8], Some(to))?;
                    }
                }
                sender.sleep(Duration::from_micros(100)).await;
            }
            world.settle().await;
            Ok::<_, io::Error>(())
        });
        run.unwrap();
        let log = simulation.log().expect("it was asked for");
        let flows = log.entries().filter_map(|entry| match entry.record {
            Record::Sent(packet) if packet.kind == PacketKind::Datagram => Some(log.flow(packet.flow)),
            _ => None,
        });
        let mut known: BTreeMap<(usize, u16), Vec<usize>> = BTreeMap::new();
        let named = steps.iter().filter_map(|step| {
            let &Step::Send { socket, host, port } = step else { return None };
            let sockets = known.entry((host, port)).or_default();
            let number = sockets.iter().position(|&it| it == socket).unwrap_or_else(|| {
                sockets.push(socket);
                sockets.len() - 1
            });
            let server = if host == 0 { "sender".into() } else { format!("host-{host}") };
            Some(format!("sender@1→{server}:{port}/udp#{}", number + 1))
        });
        prop_assert_eq!(flows.collect::<Vec<_>>(), named.collect::<Vec<_>>());
    }
}
