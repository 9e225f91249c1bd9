//! G-63: `getaddrinfo` and `getnameinfo`, and what they mean to connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use sim_core::driver::{Family, SocketKind};
use sim_core::{Hints, ResolveError, ResolveFailure, TaskError};
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::{Log, Recorder};
use tests::{both_loops, real_only};

use crate::resolving::{address_of, with_names};

/// A name that nobody has (RFC 6761 §6.4).
const NOBODY: &str = "nobody.invalid";

/// What a future has when it is polled once.
fn at_once<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// What the resolver said of it.
#[track_caller]
fn failure<T: std::fmt::Debug>(result: io::Result<T>) -> ResolveError {
    let error = result.expect_err("there is no answer");
    ResolveError::of(&error).unwrap_or_else(|| panic!("not the resolver's: {error:?}")).clone()
}

both_loops! {
    /// A host's name is that of the folder of its stores, so it is none that every folder has. Other names may
    /// have dots.
    async fn no_host_is_called_like_a_folder_of_every_folder(world: World) -> io::Result<()> {
        for name in [".", ".."] {
            let names = [
                catch_unwind(AssertUnwindSafe(|| world.host(name))),
                catch_unwind(AssertUnwindSafe(|| world.boot(name, async |_| ()))),
            ];
            for made in names {
                let panic = made.unwrap_err();
                let text = panic.downcast_ref::<String>().unwrap();
                assert!(text.contains(&format!("host name {name:?}: ")), "{text}");
            }
        }
        for name in ["...", ".hidden", "db.example"] {
            let store = world.host(name).store("notes")?;
            store.append(b"x")?;
            assert_eq!(store.read()?, b"x");
        }
        Ok(())
    }

    /// The loop that a world's own scenario runs on has a name already.
    async fn no_host_is_called_like_the_loop_of_the_scenario(world: World) -> io::Result<()> {
        let made = catch_unwind(AssertUnwindSafe(|| world.host("control")));
        let panic = made.unwrap_err();
        let text = panic.downcast_ref::<String>().unwrap();
        assert!(text.contains("host name \"control\": "), "{text}");
        world.host("controls");
        Ok(())
    }

    /// RFC 4343, RFC 1034 §3.1: the case of letters makes no other name, nor does a dot at the end. Of two hosts the one
    /// of exactly this name is meant.
    async fn names_have_no_case_and_may_end_in_a_dot(world: World) -> io::Result<()> {
        let (client, _server) = (world.host("client"), world.host("server"));
        let of = async |name: &str| io::Result::Ok(client.getaddrinfo((name, 7)).await?[0].ip());
        let known = of("server").await?;
        for name in ["Server", "SERVER.", "server."] {
            assert_eq!(of(name).await?, known, "{name}");
        }
        let _other = world.host("Server");
        assert_eq!(of("server").await?, known);
        assert_ne!(of("Server").await?, known);
        Ok(())
    }

    /// E-02, G-63: numeric hosts with numeric ports are known at once, in either family.
    async fn numeric_addresses_resolve_without_delay(world: World) -> io::Result<()> {
        let lp = world.host("client");
        for text in ["127.0.0.1:80", "0.0.0.0:0", "[::1]:80", "[2001:db8::1]:65535"] {
            let addr: SocketAddr = text.parse().unwrap();
            let host = addr.ip().to_string();
            let found = at_once(pin!(lp.getaddrinfo((&*host, addr.port()))));
            assert_eq!(found.expect("at once")?, [addr]);
            let digits = addr.port().to_string();
            let found = at_once(pin!(lp.getaddrinfo((&*host, &*digits))));
            assert_eq!(found.expect("digits are a number")?, [addr]);
        }
        Ok(())
    }

    /// E-02: a service has a name, and then even a numeric host needs the resolver.
    async fn a_port_may_be_the_name_of_a_service(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let own = address_of(&lp).await?;
        for (service, port) in [("http", 80), ("domain", 53)] {
            assert_eq!(lp.getaddrinfo(("127.0.0.1", service)).await?, [([127, 0, 0, 1], port).into()]);
            assert_eq!(lp.getaddrinfo(("client", service)).await?, [(own, port).into()]);
        }
        let datagrams = Hints::new().kind(SocketKind::Datagram);
        assert_eq!(lp.getaddrinfo_with(("client", "ntp"), datagrams).await?, [(own, 123).into()]);
        for host in ["127.0.0.1", "client", ""] {
            let addr = (host, "no-such-service");
            let server = lp.create_server(addr, || Recorder::new(&Log::new())).await;
            assert_eq!(failure(server).failure(), &ResolveFailure::UnknownService);
            let endpoint = lp.datagram().local(addr).bind(|| DatagramRecorder::new(&Log::new())).await;
            assert_eq!(failure(endpoint).failure(), &ResolveFailure::UnknownService);
        }
        Ok(())
    }

    /// E-02: an IPv6 address with a scope is the resolver's, not the loop's.
    async fn a_scope_goes_to_the_resolver(world: World) -> io::Result<()> {
        let (lp, asked) = with_names(&world.host("client"), &[]).await?;
        lp.getaddrinfo(("fe80::1%nowhere", 80)).await.unwrap_err();
        assert_eq!(asked.text(), "fe80::1%nowhere");
        Ok(())
    }

    /// G-63: a name that nobody has is an error of the resolver that says the name, whoever asks.
    async fn failures_are_resolver_errors(world: World) -> io::Result<()> {
        let lp = world.host("client");
        assert_eq!(failure(lp.getaddrinfo((NOBODY, 7)).await).name(), NOBODY);
        let connecting = lp.create_connection((NOBODY, 7), || Recorder::new(&Log::new())).await;
        assert_eq!(failure(connecting).name(), NOBODY);
        let serving = lp.create_server((NOBODY, 7), || Recorder::new(&Log::new())).await;
        assert_eq!(failure(serving).name(), NOBODY);
        let sending = lp.datagram().remote((NOBODY, 7)).bind(|| DatagramRecorder::new(&Log::new())).await;
        assert_eq!(failure(sending).name(), NOBODY);
        Ok(())
    }

    /// E-03: an empty answer is such an error, too.
    async fn an_empty_answer_is_a_resolver_error(world: World) -> io::Result<()> {
        let (lp, _) = with_names(&world.host("client"), &[("nobody", &[])]).await?;
        let error = failure(lp.getaddrinfo(("nobody", 7)).await);
        assert_eq!((error.name(), error.failure()), ("nobody", &ResolveFailure::NoAddress));
        Ok(())
    }

    /// G-63: an address has the name of its host, and its port that of its service.
    async fn addresses_and_ports_have_names(world: World) -> io::Result<()> {
        let (client, server) = (world.host("client"), world.host("server"));
        let place = (address_of(&server).await?, 80).into();
        let names = client.getnameinfo(place).await?;
        assert_eq!((&*names.host, &*names.service), ("server", "http"));
        let names = client.getnameinfo((address_of(&client).await?, 48_127).into()).await?;
        assert_eq!((&*names.host, &*names.service), ("client", "48127"));
        let names = client.getnameinfo(([127, 0, 0, 1], 443).into()).await?;
        assert_eq!((&*names.host, &*names.service), ("localhost", "https"));
        Ok(())
    }

    /// G-63: a family that is wanted is the only one; a numeric address of another is a mistake.
    async fn a_family_can_be_wanted(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let (four, six) = (Hints::new().family(Family::V4), Hints::new().family(Family::V6));
        assert!(lp.getaddrinfo_with(("client", 7), four).await?.iter().all(SocketAddr::is_ipv4));
        let error = lp.getaddrinfo_with(("127.0.0.1", 7), six).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        let quiet = || Recorder::new(&Log::new());
        let server = lp.server().family(Family::V4).bind(("", 0), quiet).await?;
        assert!(server.sockets().iter().all(SocketAddr::is_ipv4));
        let place = (address_of(&lp).await?, server.sockets()[0].port());
        let error = lp.connection().family(Family::V6).connect(place, quiet).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        lp.connection().family(Family::V4).connect(place, quiet).await?;
        Ok(())
    }

    /// G-63: a lookup that is cancelled leaves nothing behind, and others go on.
    async fn a_lookup_can_be_cancelled(world: World) -> io::Result<()> {
        let lp = world.host("client");
        for _ in 0..20 {
            let asking = lp.clone();
            let task = lp.create_task(async move { asking.getaddrinfo((NOBODY, 7)).await });
            task.cancel();
            assert!(matches!(task.await, Err(TaskError::Cancelled)));
        }
        failure(lp.getaddrinfo((NOBODY, 7)).await);
        assert_eq!(lp.report_count(), 0);
        Ok(())
    }
}

real_only! {
    /// G-63: while the system looks a name up, the loop runs.
    async fn a_lookup_does_not_block_the_loop(world: World) -> io::Result<()> {
        let lp = world.host("client");
        let mut lookup = pin!(lp.getaddrinfo((NOBODY, 7)));
        assert!(at_once(lookup.as_mut()).is_none(), "it is on a thread");
        let ran = lp.create_future::<()>();
        let other = ran.clone();
        lp.call_soon(move || drop(other.set_result(())));
        ran.await.unwrap();
        failure(lookup.await);
        Ok(())
    }
}

/// G-63: a lookup that is under way when its loop is closed ends with the loop.
// on: real
#[test]
fn a_closed_loop_answers_no_lookup() {
    let lp = real_net::new_loop().unwrap();
    let handle = (*lp).clone();
    let mut lookup = Box::pin(async move { handle.getaddrinfo((NOBODY, 7)).await });
    assert!(at_once(lookup.as_mut()).is_none());
    lp.close().unwrap();
    let answer = at_once(lookup.as_mut()).expect("the loop is closed");
    assert!(answer.unwrap_err().to_string().contains("closed"));
}
