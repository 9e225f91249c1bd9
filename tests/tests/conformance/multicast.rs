//! Groups and broadcast, on both loops: C-95 for datagram endpoints.
//!
//! On real sockets the hosts of a world share the loopback interface: what they join, they join there,
//! and members on one port share it by `SO_REUSEPORT`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use sim_core::{Conn, DatagramTransport, Loop};
use tests::both_loops;
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::Log;

use crate::resolving::address_of;

type Endpoint = Conn<DatagramRecorder, DatagramTransport>;

/// Groups that are for local use (RFC 2365 §6.2), one for each test.
const GROUPS: [[u8; 4]; 5] =
    [[239, 192, 7, 1], [239, 192, 7, 2], [239, 192, 7, 3], [239, 192, 7, 4], [239, 192, 7, 5]];

/// An endpoint that is bound to a group, and has not joined it.
async fn bind(host: &Loop, group: [u8; 4], port: u16, log: &Log) -> io::Result<Endpoint> {
    let recorder = DatagramRecorder::new(log);
    host.datagram().local((IpAddr::from(group), port)).reuse_port(true).bind(|| recorder).await
}

/// A member of a group, where its host is.
async fn join(host: &Loop, group: [u8; 4], port: u16, log: &Log) -> io::Result<Endpoint> {
    let endpoint = bind(host, group, port, log).await?;
    endpoint.transport().join_multicast(group.into(), Some(address_of(host).await?))?;
    Ok(endpoint)
}

/// An endpoint that sends from its host's address.
async fn sender(host: &Loop, log: &Log) -> io::Result<Endpoint> {
    let recorder = DatagramRecorder::new(log);
    host.datagram().local((address_of(host).await?, 0)).bind(|| recorder).await
}

fn port_of(endpoint: &Endpoint) -> u16 {
    endpoint.transport().sockname().expect("it is bound").port()
}

both_loops! {
    /// C-95: a datagram to a group reaches each of its members once, on every host, and nobody else.
    async fn a_group_is_heard_by_its_members(world: World) -> io::Result<()> {
        let (one, two, three) = (world.host("one"), world.host("two"), world.host("three"));
        let logs = [Log::new(), Log::new(), Log::new(), Log::new()];
        let first = join(&one, GROUPS[0], 0, &logs[0]).await?;
        let port = port_of(&first);
        let _second = join(&two, GROUPS[0], port, &logs[1]).await?;
        let other = [239, 192, 8, 1];
        let _elsewhere = join(&two, other, port, &logs[2]).await?;
        let mouth = sender(&three, &logs[3]).await?;
        let to = |group: [u8; 4]| Some(SocketAddr::from((group, port)));
        mouth.transport().send_to(b"all", to(GROUPS[0]))?;
        world.settle().await;
        mouth.transport().send_to(b"", to(GROUPS[0]))?;
        world.settle().await;
        mouth.transport().send_to(b"others", to(other))?;
        world.settle().await;
        assert_eq!(logs[0].text(), "CM DG(all) DG()");
        assert_eq!(logs[1].text(), "CM DG(all) DG()");
        assert_eq!(logs[2].text(), "CM DG(others)");
        assert_eq!(logs[3].text(), "CM");
        Ok(())
    }

    /// C-95: a member that leaves hears no more, and may join again; the membership of a closed
    /// endpoint is over.
    async fn a_member_can_leave(world: World) -> io::Result<()> {
        let (one, two) = (world.host("one"), world.host("two"));
        let (heard, log) = (Log::new(), Log::new());
        let group = IpAddr::from(GROUPS[1]);
        let member = join(&one, GROUPS[1], 0, &heard).await?;
        let at = Some(address_of(&one).await?);
        let place = Some(SocketAddr::from((group, port_of(&member))));
        let mouth = sender(&two, &log).await?;
        mouth.transport().send_to(b"in", place)?;
        world.settle().await;
        member.transport().leave_multicast(group, at)?;
        mouth.transport().send_to(b"out", place)?;
        world.settle().await;
        member.transport().join_multicast(group, at)?;
        mouth.transport().send_to(b"in", place)?;
        world.settle().await;
        member.transport().close();
        member.closed().await?;
        mouth.transport().send_to(b"gone", place)?;
        world.settle().await;
        assert_eq!((heard.text().as_str(), log.text().as_str()), ("CM DG(in) DG(in) CL(None)", "CM"));
        Ok(())
    }

    /// C-95: what is wrong with a membership is an error of the call, with the kernel's number or a
    /// text that says what to do; the endpoint stays as it is.
    async fn wrong_memberships_are_errors(world: World) -> io::Result<()> {
        let lp = world.host("one");
        let own = Some(address_of(&lp).await?);
        let log = Log::new();
        let member = join(&lp, GROUPS[2], 0, &log).await?;
        let transport = member.transport();
        let group = IpAddr::from(GROUPS[2]);
        let code = |result: io::Result<()>| result.unwrap_err().raw_os_error();
        assert_eq!(code(transport.join_multicast(group, own)), Some(98), "EADDRINUSE");
        transport.leave_multicast(group, own)?;
        assert_eq!(code(transport.leave_multicast(group, own)), Some(99), "EADDRNOTAVAIL");
        let nowhere = Some([192, 0, 2, 77].into());
        assert_eq!(code(transport.join_multicast(group, nowhere)), Some(19), "ENODEV");
        assert_eq!(code(transport.set_multicast_interface([192, 0, 2, 77].into())), Some(99));
        for (group, interface) in [
            ([127, 0, 0, 1].into(), None),
            ("ff02::1".parse().unwrap(), None),
            (group, Some("::1".parse().unwrap())),
        ] {
            let error = transport.join_multicast(group, interface).unwrap_err();
            assert_eq!((error.kind(), error.raw_os_error()), (io::ErrorKind::InvalidInput, None));
            let error = transport.leave_multicast(group, interface).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        let error = transport.set_multicast_interface("::1".parse().unwrap()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);

        for number in 0..20 {
            transport.join_multicast([239, 192, 9, number].into(), own)?;
        }
        assert_eq!(code(transport.join_multicast(group, own)), Some(105), "ENOBUFS");
        transport.close();
        member.closed().await?;
        for result in [
            transport.join_multicast(group, own),
            transport.leave_multicast(group, own),
            transport.set_multicast_loop(true),
            transport.set_multicast_hops(1),
            transport.set_broadcast(true),
        ] {
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::NotConnected);
        }
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// C-95: the switches of sending to groups can be set at any time; without hops a datagram still
    /// reaches its own host.
    async fn switches_of_sending_can_be_set(world: World) -> io::Result<()> {
        let lp = world.host("one");
        let (heard, log) = (Log::new(), Log::new());
        let member = join(&lp, GROUPS[3], 0, &heard).await?;
        let mouth = sender(&lp, &log).await?;
        let place = Some(SocketAddr::from((GROUPS[3], port_of(&member))));
        let transport = mouth.transport();
        transport.set_multicast_interface(address_of(&lp).await?)?;
        for hops in [0, 1, 255] {
            transport.set_multicast_hops(hops)?;
            transport.send_to(&[b'0' + hops / 100], place)?;
            world.settle().await;
        }
        transport.set_multicast_loop(false)?;
        transport.set_multicast_loop(true)?;
        transport.send_to(b"loop", place)?;
        world.settle().await;
        assert_eq!((heard.text().as_str(), log.text().as_str()), ("CM DG(0) DG(0) DG(2) DG(loop)", "CM"));
        Ok(())
    }

    /// C-95, D-07: without leave to broadcast a datagram to everybody ends in `EACCES`, as
    /// `error_received`; leave can be given and taken.
    async fn broadcast_needs_leave(world: World) -> io::Result<()> {
        let log = Log::new();
        let recorder = DatagramRecorder::new(&log);
        let mouth = world.host("one").datagram().local(("0.0.0.0", 0)).bind(|| recorder).await?;
        let everybody = Some("255.255.255.255:9".parse().unwrap());
        mouth.with(|_, cx| cx.send_to(b"no", everybody))?;
        world.settle().await;
        assert_eq!(log.text(), "CM EX(PermissionDenied)");
        mouth.transport().set_broadcast(true)?;
        mouth.transport().set_broadcast(false)?;
        mouth.with(|_, cx| cx.send_to(b"no", everybody))?;
        world.settle().await;
        assert_eq!(log.text(), "CM EX(PermissionDenied) EX(PermissionDenied)");
        Ok(())
    }

    /// C-95: groups of IPv6, at the loopback interface, if the machine carries them there.
    async fn groups_of_ipv6_are_joined_at_an_interface(world: World) -> io::Result<()> {
        let lp = world.host("one");
        let (heard, log) = (Log::new(), Log::new());
        let group: IpAddr = "ff02::7:7".parse().unwrap();
        let (here, any) = ("::1".parse::<IpAddr>().unwrap(), "::");
        let recorder = DatagramRecorder::new(&heard);
        let Ok(member) = lp.datagram().local((any, 0)).bind(|| recorder).await else {
            println!("skipped: the machine has no IPv6");
            return Ok(());
        };
        let recorder = DatagramRecorder::new(&log);
        let mouth = lp.datagram().local((any, 0)).bind(|| recorder).await?;
        let joined = member.transport().join_multicast(group, Some(here));
        let aimed = mouth.transport().set_multicast_interface(here);
        if let Err(error) = joined.and(aimed) {
            println!("skipped: no groups of IPv6 at the loopback interface: {error}");
            return Ok(());
        }
        mouth.transport().set_multicast_hops(3)?;
        mouth.transport().set_multicast_loop(true)?;
        let place = SocketAddr::from((group, port_of(&member)));
        mouth.with(|_, cx| cx.send_to(b"six", Some(place)))?;
        world.settle().await;
        if log.text() != "CM" {
            println!("skipped: nothing is sent to groups there: {}", log.text());
            return Ok(());
        }
        assert_eq!(heard.text(), "CM DG(six)");
        member.transport().leave_multicast(group, Some(here))?;
        assert_eq!(member.transport().leave_multicast(group, Some(here)).unwrap_err().raw_os_error(), Some(99));
        Ok(())
    }
}
