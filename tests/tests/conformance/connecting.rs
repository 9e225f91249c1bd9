//! E.1: connecting, and giving up.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use sim_core::driver::{Family, SocketKind};
use sim_core::{AddressError, Conn, Loop, Socket, TaskError, World};
use sim_net::Sim;
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::{Log, Recorder};
use tests::{both_bare_loops, both_loops};

use crate::resolving::{address_of, with_names};
use crate::serving::{PLACE, failure, free_port, listen_by_hand, refusal};

const MS: Duration = Duration::from_millis(1);

/// Connects `lp` to port 7000 of `name`.
async fn connect(lp: &Loop, name: &str) -> io::Result<Conn<Recorder>> {
    lp.create_connection((name, 7000), || Recorder::new(&Log::new())).await
}

/// Serves at port 7000 of a host, and logs.
pub(crate) async fn serve(world: &World, host: &str) -> io::Result<Log> {
    let log = Log::new();
    let factory = {
        let log = log.clone();
        move || Recorder::new(&log)
    };
    world.host(host).create_server((host, 7000), factory).await?;
    Ok(log)
}

/// A listener with a full backlog: connects to it stay pending. The connection fills it.
pub(crate) async fn full_listener(
    world: &World,
    host: &str,
) -> io::Result<(Socket, Conn<Recorder>)> {
    let listener = listen_by_hand(&world.host(host), host, 0).await?;
    let filler = connect(&world.host("filler"), host).await?;
    world.settle().await;
    Ok((listener, filler))
}

/// The addresses of hosts.
pub(crate) async fn addresses(world: &World, hosts: &[&str]) -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for host in hosts {
        addresses.push(address_of(&world.host(host)).await?);
    }
    Ok(addresses)
}

/// What is wrong with the kind and the text of an error, beside what is expected of them.
#[track_caller]
fn check(error: &io::Error, kind: io::ErrorKind, parts: &[&str]) {
    assert_eq!(error.kind(), kind, "{error}");
    for part in parts {
        assert!(error.to_string().contains(part), "{error}: has not {part}");
    }
}

both_loops! {
    /// E-02: numeric addresses bypass the resolver, names do not.
    async fn numeric_addresses_bypass_the_resolver(world: World) -> io::Result<()> {
        serve(&world, "server").await?;
        let addresses = addresses(&world, &["server"]).await?;
        let (lp, asked) = with_names(&world.host("client"), &[("alias", &addresses)]).await?;
        connect(&lp, &addresses[0].to_string()).await?;
        lp.datagram().remote((addresses[0], 7)).bind(|| DatagramRecorder::new(&Log::new())).await?;
        let own = address_of(&world.host("client")).await?;
        lp.create_server((own, 7000), || Recorder::new(&Log::new())).await?;
        assert_eq!(asked.text(), "");
        connect(&lp, "alias").await?;
        assert_eq!(asked.text(), "alias");
        Ok(())
    }

    /// E-03: an empty answer of the resolver is an error that names the host, and so is an unknown
    /// name.
    async fn an_empty_answer_is_an_error(world: World) -> io::Result<()> {
        let (lp, asked) = with_names(&world.host("client"), &[("nobody", &[])]).await?;
        for name in ["nobody", "stranger"] {
            let error = connect(&lp, name).await.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            let error = lp.create_server((name, 0), || Recorder::new(&Log::new())).await.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
            let datagrams = lp.datagram().remote((name, 7));
            let error = datagrams.bind(|| DatagramRecorder::new(&Log::new())).await.unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
        assert_eq!(asked.entries().len(), 6);
        Ok(())
    }

    /// E-04: addresses are tried one after the other, the first success wins, and the sockets of
    /// failed attempts are closed.
    async fn addresses_are_tried_until_one_connects(world: World) -> io::Result<()> {
        let (second, third) = (serve(&world, "second").await?, serve(&world, "third").await?);
        let all = addresses(&world, &["first", "second", "third"]).await?;
        let own = addresses(&world, &["client"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all), ("client", &own)]).await?;
        let port = free_port(&world.host("client")).await?;
        let connecting = lp.connection().local_addr(("client", port));
        let mut factories = 0;
        let factory = || { factories += 1; Recorder::new(&Log::new()) };
        // Every attempt binds the same port, so the one before must be closed.
        let conn = connecting.connect(("any", 7000), factory).await?;
        assert_eq!(conn.transport().peername().unwrap().ip(), all[1]);
        assert_eq!(conn.transport().sockname().unwrap().port(), port);
        world.settle().await;
        assert_eq!((second.text().as_str(), third.text().as_str(), factories), ("CM", "", 1));
        Ok(())
    }

    /// E-05, E-06: one failure is returned as it is, with the address and the kernel's error behind.
    async fn one_failure_is_returned_as_it_is(world: World) -> io::Result<()> {
        let address = format!("{}:7000", address_of(&world.host("server")).await?);
        let error = refusal(&world.host("client"), PLACE).await;
        check(&error, io::ErrorKind::ConnectionRefused, &[&address]);
        let inner = error.get_ref().unwrap().downcast_ref::<AddressError>().unwrap();
        assert_eq!((inner.addr().to_string(), inner.raw_os_error()), (address, Some(111)));
        Ok(())
    }

    /// E-05: failures with the same text are one; others are listed in the order of the attempts, of
    /// their kind if they agree in it.
    async fn several_failures_are_one_error(world: World) -> io::Result<()> {
        let closed = addresses(&world, &["one", "two"]).await?;
        let twice = [closed[0], closed[0]];
        let mixed = [closed[0], IpAddr::V4(Ipv4Addr::BROADCAST), closed[1]];
        let names = [("both", &closed[..]), ("twice", &twice), ("mixed", &mixed)];
        let (lp, _) = with_names(&world.host("client"), &names).await?;
        let texts = closed.iter().map(|ip| format!("{ip}:7000")).collect::<Vec<_>>();

        let same = connect(&lp, "twice").await.unwrap_err();
        check(&same, io::ErrorKind::ConnectionRefused, &[&texts[0]]);
        assert_eq!(same.to_string().matches(&texts[0]).count(), 1, "{same}");
        assert!(same.get_ref().unwrap().is::<AddressError>());

        let both = connect(&lp, "both").await.unwrap_err();
        check(&both, io::ErrorKind::ConnectionRefused, &[&texts[0], &texts[1]]);
        let place = |error: &io::Error, text: &str| error.to_string().find(text);
        assert!(place(&both, &texts[0]) < place(&both, &texts[1]), "{both}");

        let mixed = connect(&lp, "mixed").await.unwrap_err();
        check(&mixed, io::ErrorKind::Other, &[&texts[0], "255.255.255.255", &texts[1]]);
        assert!(place(&mixed, "255.") < place(&mixed, &texts[1]), "{mixed}");
        Ok(())
    }

    /// E-07: a local address is tried only for remote ones of its family; if there is none the error
    /// says so.
    async fn a_local_address_needs_a_remote_of_its_family(world: World) -> io::Result<()> {
        serve(&world, "server").await?;
        let server = address_of(&world.host("server")).await?;
        let v6 = IpAddr::V6(Ipv6Addr::LOCALHOST);
        let own = address_of(&world.host("client")).await?;
        let names = [("two-families", &[v6, server][..]), ("server", &[server]), ("client", &[own]), ("six", &[v6])];
        let (lp, _) = with_names(&world.host("client"), &names).await?;
        let from = |name| lp.connection().local_addr((name, 0));
        let factory = || Recorder::new(&Log::new());
        let error = from("six").connect(("server", 7000), factory).await.unwrap_err();
        check(&error, io::ErrorKind::Other, &["no matching local address with family"]);
        let conn = from("client").connect(("two-families", 7000), factory).await?;
        let (local, remote) = (conn.transport().sockname(), conn.transport().peername());
        assert_eq!((local.unwrap().ip(), remote.unwrap().ip()), (own, server));
        Ok(())
    }

    /// E-07: of several local addresses the first that can be bound is taken; if none can, the error
    /// is that of the last.
    async fn the_first_local_address_that_binds_is_taken(world: World) -> io::Result<()> {
        serve(&world, "server").await?;
        let server = addresses(&world, &["server"]).await?;
        let own = address_of(&world.host("client")).await?;
        let foreign: [IpAddr; 2] = [[203, 0, 113, 1].into(), [203, 0, 113, 2].into()];
        let usable = [foreign[0], own];
        let names = [("server", &server[..]), ("foreign", &foreign), ("usable", &usable)];
        let (lp, _) = with_names(&world.host("client"), &names).await?;
        let factory = || Recorder::new(&Log::new());
        let error = lp.connection().local_addr(("foreign", 0)).connect(("server", 7000), factory).await.unwrap_err();
        check(&error, io::ErrorKind::AddrNotAvailable, &["203.0.113.2"]);
        let conn = lp.connection().local_addr(("usable", 0)).connect(("server", 7000), factory).await?;
        assert_eq!(conn.transport().sockname().unwrap().ip(), own);
        Ok(())
    }

    /// E-11, J-41: cancelling a connect closes its socket, once, and tries no further address.
    async fn a_cancelled_connect_closes_its_socket_and_tries_no_more(world: World) -> io::Result<()> {
        let (mut listener, _filler) = full_listener(&world, "full").await?;
        let other = serve(&world, "other").await?;
        let all = addresses(&world, &["full", "other"]).await?;
        let own = addresses(&world, &["client"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all), ("client", &own)]).await?;
        let port = free_port(&world.host("client")).await?;
        let connecting = lp.connection().local_addr(("client", port));
        let task = lp.create_task(async move {
            connecting.connect(("any", 7000), || Recorder::new(&Log::new())).await
        });
        world.settle().await;
        let again = || lp.connection().local_addr(("client", port));
        let taken = again().connect((all[1], 7000), || Recorder::new(&Log::new())).await;
        check(&taken.unwrap_err(), io::ErrorKind::AddrInUse, &[&format!(":{port}")]);
        assert!(!task.done() && task.cancel());
        assert!(matches!(task.await, Err(TaskError::Cancelled)));
        // The new socket has the slot and the descriptor of the old one.
        let conn = again().connect((all[1], 7000), || Recorder::new(&Log::new())).await?;
        world.settle().await;
        conn.with(|_, cx| cx.write(b"alive"));
        world.settle().await;
        assert_eq!(other.text(), "CM DR");
        let (filler, _) = listener.accept().await?;
        drop(filler);
        Ok(())
    }

    /// E-11: a timeout around a connect does the same.
    async fn a_timeout_around_a_connect_closes_its_socket(world: World) -> io::Result<()> {
        let (_listener, _filler) = full_listener(&world, "full").await?;
        let other = serve(&world, "other").await?;
        let all = addresses(&world, &["full", "other"]).await?;
        let (lp, _) = with_names(&world.host("client"), &[("any", &all)]).await?;
        let task = lp.create_task({
            let lp = lp.clone();
            async move { lp.timeout(20 * MS, connect(&lp, "any")).await.map(drop).is_err() }
        });
        assert!(task.await.unwrap(), "it was not stopped");
        world.settle().await;
        assert_eq!(other.text(), "");
        Ok(())
    }

    /// E-25: a listener by hand that is dropped resets what waits in its backlog.
    async fn a_dropped_listener_resets_its_backlog(world: World) -> io::Result<()> {
        let (listener, filler) = full_listener(&world, "full").await?;
        drop(listener);
        check(&filler.closed().await.unwrap_err(), io::ErrorKind::ConnectionReset, &[]);
        assert_eq!(failure(world.host("client"), ("full", 7000)).await, io::ErrorKind::ConnectionRefused);
        Ok(())
    }

    /// D-21: of several pairs of addresses the first that can be opened, bound and connected wins.
    async fn the_first_pair_of_addresses_that_works_wins(world: World) -> io::Result<()> {
        let own = address_of(&world.host("client")).await?;
        let server = address_of(&world.host("server")).await?;
        let foreign: IpAddr = [203, 0, 113, 1].into();
        let names = [("usable", &[foreign, own][..]), ("server", &[IpAddr::V4(Ipv4Addr::BROADCAST), server])];
        let (lp, _) = with_names(&world.host("client"), &names).await?;
        let quiet = || DatagramRecorder::new(&Log::new());
        let endpoint = lp.datagram().local(("usable", 4000)).remote(("server", 7)).bind(quiet).await?;
        let transport = endpoint.transport();
        assert_eq!(transport.sockname(), Some((own, 4000).into()));
        assert_eq!(transport.peername(), Some((server, 7).into()));
        Ok(())
    }

    /// D-21: if no pair works the first error is returned, and every socket is closed.
    async fn the_first_error_of_all_pairs_is_returned(world: World) -> io::Result<()> {
        let own = address_of(&world.host("client")).await?;
        let foreign: IpAddr = [203, 0, 113, 1].into();
        let names = [("mixed", &[own, foreign][..]), ("client", &[own])];
        let (lp, _) = with_names(&world.host("client"), &names).await?;
        let quiet = || DatagramRecorder::new(&Log::new());
        let holder = lp.datagram().local(("client", 4000)).bind(quiet).await?;
        let error = lp.datagram().local(("mixed", 4000)).bind(quiet).await.unwrap_err();
        check(&error, io::ErrorKind::AddrInUse, &[&format!("{own}:4000")]);
        let local = holder.transport().sockname().unwrap();
        let error = lp.datagram().local(("mixed", 4001)).remote((Ipv4Addr::BROADCAST, 7)).bind(quiet).await.unwrap_err();
        check(&error, io::ErrorKind::PermissionDenied, &["255.255.255.255"]);
        lp.datagram().local((local.ip(), 4001)).bind(quiet).await.map(drop)
    }
}

both_bare_loops! {
    /// E-01: on a closed loop nothing is connected, bound or opened, and it says so.
    fn a_closed_loop_connects_nothing(make: Make) {
        let (lp, other) = (make.new_loop(), make.new_loop());
        lp.close().unwrap();
        let closed = (*lp).clone();
        let errors = other.run_until_complete(async move {
            [
                connect(&closed, "127.0.0.1").await.unwrap_err(),
                closed.create_server(("127.0.0.1", 0), || Recorder::new(&Log::new())).await.unwrap_err(),
                closed.datagram().local(("127.0.0.1", 0)).bind(|| DatagramRecorder::new(&Log::new())).await.unwrap_err(),
                Socket::open(&closed, SocketKind::Stream, Family::V4).unwrap_err(),
            ]
        });
        for error in errors.unwrap() {
            check(&error, io::ErrorKind::Other, &["event loop is closed"]);
        }
    }
}

/// How long a connect to port 7000 of an address takes over links of 5 ms, and how it fails.
fn failed_connect(address: &'static str) -> (Duration, io::ErrorKind) {
    let run = Sim::new(3).latency(5 * MS).run(move |world| async move {
        world.host("server");
        let lp = world.host("client");
        let began = lp.time();
        let kind = refusal(&lp, (address, 7000)).await.kind();
        io::Result::Ok((lp.time() - began, kind))
    });
    run.outcome.unwrap()
}

/// E-15: a refused port is an error after exactly one round trip.
// on: sim
#[test]
fn a_refused_port_is_an_error_after_a_round_trip() {
    assert_eq!(failed_connect("server"), (10 * MS, io::ErrorKind::ConnectionRefused));
}

/// E-15: where nobody answers the connect ends when TCP gives up, after two minutes.
// on: sim
#[test]
fn a_silent_address_is_a_timeout_of_tcp() {
    let (after, kind) = failed_connect("10.1.2.3");
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(after > Duration::from_secs(120) && after < Duration::from_secs(140), "{after:?}");
}
