//! C.6: what a transport tells about itself.

use std::io;
use std::net::SocketAddr;

use sim_core::driver::{Family, SocketKind};
use sim_core::{Socket, UnixAddr, World};
use sim_net::Sim;
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::{Log, Recorder};
use tests::socket_path::SocketPath;
use tests::{both_loops, real_only};

use crate::serving::{PLACE, keep_busy};

/// The addresses of a connection as its two ends have them: local and remote of the client, then of
/// the server.
async fn addresses(world: World) -> io::Result<[SocketAddr; 4]> {
    let lp = world.host("server");
    let accepted = lp.create_future();
    let made = accepted.clone();
    let factory = move || {
        let made = made.clone();
        Recorder::new(&Log::new())
            .on_made(move |cx| made.set_result(cx.transport().clone()).unwrap())
    };
    let _server = lp.create_server(PLACE, factory).await?;
    let conn = world.host("client").create_connection(PLACE, || Recorder::new(&Log::new())).await?;
    let (client, server) = (conn.transport().clone(), accepted.await.expect("it is made"));
    let ends = || {
        [client.sockname(), client.peername(), server.sockname(), server.peername()]
            .map(|address| address.expect("a connection has both"))
    };
    let before = ends();
    client.close();
    assert_eq!(ends(), before);
    conn.closed().await?;
    world.settle().await;
    assert!(server.is_closing());
    assert_eq!(ends(), before);
    Ok(before)
}

both_loops! {
    /// C-95: both ends have both addresses, which agree, are there in `connection_made` and stay
    /// valid after the close.
    async fn addresses_agree_and_stay_valid(world: World) -> io::Result<()> {
        let [local, remote, servers_local, servers_remote] = addresses(world.clone()).await?;
        assert_eq!((local, remote), (servers_remote, servers_local));
        assert_eq!(remote, world.host("server").getaddrinfo(PLACE).await?[0]);
        assert_eq!(local.ip(), world.host("client").getaddrinfo(("client", 0)).await?[0].ip());
        assert_ne!(local.port(), 0);
        Ok(())
    }

    /// C-95, D-23: a datagram endpoint has its local address and, if it is connected, its peer's, and
    /// after the close too.
    async fn endpoints_have_addresses(world: World) -> io::Result<()> {
        let quiet = || DatagramRecorder::new(&Log::new());
        let server = world.host("server").datagram().local(PLACE).bind(quiet).await?;
        let place = world.host("server").getaddrinfo(PLACE).await?[0];
        let client = world.host("client").datagram().remote(PLACE).bind(quiet).await?;
        for closed in [false, true] {
            let (client, server) = (client.transport(), server.transport());
            assert_eq!((server.sockname(), server.peername()), (Some(place), None));
            assert_eq!(client.peername(), Some(place));
            let local = client.sockname().unwrap();
            assert_eq!(local.ip(), world.host("client").getaddrinfo(("client", 0)).await?[0].ip());
            assert_ne!(local.port(), 0);
            if !closed {
                client.close();
                server.abort();
                world.settle().await;
            }
        }
        Ok(())
    }

    /// C-95: the end of a server knows the address of a peer that is gone before the transport is made; so does that of
    /// a Unix server.
    async fn a_peer_that_is_gone_had_an_address(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let names = Log::new();
        let make = |names: &Log| {
            let names = names.clone();
            move || {
                let names = names.clone();
                Recorder::new(&Log::new()).on_made(move |cx| {
                    let (peer, unix) = (cx.transport().peername(), cx.transport().unix_peername());
                    names.push(format!("{peer:?} {unix:?}"));
                })
            }
        };
        let _server = server.create_server(PLACE, make(&names)).await?;
        let place = server.getaddrinfo(PLACE).await?[0];
        let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        keep_busy(&server);
        socket.connect(place).await?;
        let name = socket.local_addr()?;
        let conn = client.connection().adopt(socket, || Recorder::new(&Log::new())).await?;
        conn.transport().abort();
        world.settle().await;
        assert_eq!(names.text(), format!("{:?} {:?}", Some(name), None::<UnixAddr>));

        let (names, path, own) = (Log::new(), SocketPath::new(), SocketPath::new());
        let _server = server.create_unix_server(&path, make(&names)).await?;
        let socket = Socket::open_unix(&server, SocketKind::Stream)?;
        socket.bind_unix(&own)?;
        socket.connect_unix(&path)?;
        drop(socket);
        world.settle().await;
        assert_eq!(names.text(), format!("{:?} {:?}", None::<SocketAddr>, Some(own.addr())));
        Ok(())
    }

    /// C-95: transports have numbers, and know their loop.
    async fn transports_have_numbers(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let _server = lp.create_server(PLACE, || Recorder::new(&Log::new())).await?;
        let client = world.host("client");
        let connect = || client.create_connection(PLACE, || Recorder::new(&Log::new()));
        let (one, two) = (connect().await?, connect().await?);
        assert!(one.transport().number() < two.transport().number());
        assert_ne!(one.transport(), two.transport());
        assert_eq!(one.transport(), &one.transport().clone());
        assert_eq!(one.transport().event_loop().host(), "client");
        Ok(())
    }
}

real_only! {
    /// C-96: what is handed out are plain addresses: nothing that is done with them, or with handles,
    /// closes the descriptor or changes its mode.
    async fn nothing_handed_out_can_touch_the_descriptor(world: World) -> io::Result<()> {
        fn is_plain_data<T: Copy + Send + Sync + 'static>(_: T) {}
        let log = Log::new();
        let serving = log.clone();
        let lp = world.host("server");
        let _server = lp.create_server(PLACE, move || Recorder::new(&serving)).await?;
        let conn = world.host("client").create_connection(PLACE, || Recorder::new(&Log::new())).await?;
        is_plain_data((conn.transport().sockname(), conn.transport().peername()));
        drop(conn.transport().clone());
        conn.with(|_, cx| cx.write(b"open"));
        world.settle().await;
        assert_eq!(log.text(), "CM DR");
        Ok(())
    }
}

/// C-98: the simulated loop tells the same, and the values are stable for a seed.
// on: sim
#[test]
fn addresses_are_stable_for_a_seed() {
    let run = |seed| Sim::new(seed).run(addresses).outcome.unwrap();
    let first = run(1);
    assert_eq!(first, run(1));
    assert_eq!(
        first.map(|address| address.ip().to_string()),
        ["10.0.0.2", "10.0.0.1", "10.0.0.1", "10.0.0.2"]
    );
    assert!((2..10).any(|seed| run(seed)[0] != first[0]), "the ephemeral port is the seed's");
}
