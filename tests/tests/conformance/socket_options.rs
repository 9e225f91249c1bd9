//! C.6: what a transport's socket can be told, and tells.

use std::io;
use std::time::Duration;

use sim_core::driver::{Family, SocketKind, SocketOption, TcpOptions};
use sim_core::{Conn, Keepalive, Loop, Socket, World};
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::serving::{PLACE, listen_by_hand};

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const KEEPALIVE: Keepalive = Keepalive { idle: secs(7), interval: secs(2), count: 3 };
const TIMEOUT: Duration = Duration::from_millis(12_345);

fn quiet() -> Recorder {
    Recorder::new(&Log::new())
}

async fn connect(world: &World) -> io::Result<(Conn<Recorder>, sim_core::Server)> {
    let server = world.host("server").create_server(PLACE, quiet).await?;
    Ok((world.host("client").create_connection(PLACE, quiet).await?, server))
}

#[track_caller]
fn fails<T>(kind: io::ErrorKind, outcome: io::Result<T>) {
    let Err(error) = outcome else {
        panic!("it succeeded");
    };
    assert_eq!(error.kind(), kind, "{error}");
}

both_loops! {
    /// C-95: what is set of a socket is what it tells, and each setting leaves the others alone.
    async fn what_is_set_is_told(world: World) -> io::Result<()> {
        let (conn, _server) = connect(&world).await?;
        let socket = conn.transport().socket();
        assert_eq!((socket.nodelay()?, socket.keepalive()?, socket.user_timeout()?), (true, None, None));
        socket.set_keepalive(Some(KEEPALIVE))?;
        socket.set_user_timeout(Some(TIMEOUT))?;
        for on in [false, false, true] {
            socket.set_nodelay(on)?;
            assert_eq!(socket.nodelay()?, on);
        }
        assert_eq!((socket.keepalive()?, socket.user_timeout()?), (Some(KEEPALIVE), Some(TIMEOUT)));
        let once = Keepalive { count: 1, ..KEEPALIVE };
        conn.transport().socket().set_keepalive(Some(once))?;
        assert_eq!(socket.keepalive()?, Some(once));
        socket.set_keepalive(None)?;
        socket.set_user_timeout(None)?;
        assert_eq!((socket.nodelay()?, socket.keepalive()?, socket.user_timeout()?), (true, None, None));
        Ok(())
    }

    /// C-95: they can be set in `connection_made`, and after `close` until the connection is lost; from
    /// `connection_lost` on every call fails, and nothing happens.
    async fn a_lost_connection_has_no_options(world: World) -> io::Result<()> {
        let (outcome, lost) = (Log::new(), Log::new());
        let (made, gone) = (outcome.clone(), lost.clone());
        let protocol = quiet()
            .on_made(move |cx| {
                cx.transport().socket().set_keepalive(Some(KEEPALIVE)).expect("it is open");
                made.push("made");
            })
            .on_lost(move |cx| {
                let error = cx.transport().socket().set_nodelay(true).expect_err("it is lost");
                gone.push(format!("{:?}", error.kind()));
            });
        let _server = world.host("server").create_server(PLACE, quiet).await?;
        let conn = world.host("client").create_connection(PLACE, || protocol).await?;
        let socket = conn.transport().socket();
        assert_eq!((socket.keepalive()?, outcome.text()), (Some(KEEPALIVE), "made".to_owned()));
        conn.transport().close();
        socket.set_user_timeout(Some(TIMEOUT))?;
        conn.closed().await?;
        assert_eq!(lost.text(), "NotConnected");
        fails(io::ErrorKind::NotConnected, socket.set_nodelay(false));
        fails(io::ErrorKind::NotConnected, socket.set_keepalive(None));
        fails(io::ErrorKind::NotConnected, socket.set_user_timeout(None));
        fails(io::ErrorKind::NotConnected, socket.nodelay());
        fails(io::ErrorKind::NotConnected, socket.keepalive());
        fails(io::ErrorKind::NotConnected, socket.user_timeout());
        Ok(())
    }

    /// C-95: what no kernel's option can say is refused on either loop alike, and changes nothing.
    async fn what_an_option_cannot_say_is_refused(world: World) -> io::Result<()> {
        let (conn, _server) = connect(&world).await?;
        let socket = conn.transport().socket();
        socket.set_keepalive(Some(KEEPALIVE))?;
        for refused in [
            Keepalive { idle: Duration::from_millis(500), ..KEEPALIVE },
            Keepalive { idle: secs(32_768), ..KEEPALIVE },
            Keepalive { interval: Duration::ZERO, ..KEEPALIVE },
            Keepalive { count: 0, ..KEEPALIVE },
            Keepalive { count: 128, ..KEEPALIVE },
        ] {
            fails(io::ErrorKind::InvalidInput, socket.set_keepalive(Some(refused)));
        }
        for refused in [Duration::ZERO, Duration::from_micros(1), Duration::MAX] {
            fails(io::ErrorKind::InvalidInput, socket.set_user_timeout(Some(refused)));
            let client = world.host("client").connection().user_timeout(refused);
            fails(io::ErrorKind::InvalidInput, client.connect(PLACE, quiet).await);
        }
        assert_eq!((socket.keepalive()?, socket.user_timeout()?), (Some(KEEPALIVE), None));
        let most = Keepalive { idle: secs(32_767), interval: secs(32_767), count: 127 };
        socket.set_keepalive(Some(most))?;
        socket.set_user_timeout(Some(Duration::from_millis(i32::MAX as u64)))?;
        assert_eq!(socket.keepalive()?, Some(most));
        Ok(())
    }

    /// C-95: a socket has its options before it is connected, and a listener's connections have the
    /// listener's, as far as they were set when the connection came.
    async fn options_are_inherited_from_a_listener(world: World) -> io::Result<()> {
        let mut listener = listen_by_hand(&world.host("server"), PLACE.0, 8).await?;
        listener.set_option(SocketOption::Keepalive(Some(KEEPALIVE)))?;
        listener.set_option(SocketOption::NoDelay(false))?;
        let client = world.host("client");
        let place = world.host("server").getaddrinfo(PLACE).await?[0];
        let mut socket = Socket::open(&client, SocketKind::Stream, Family::of(&place))?;
        assert_eq!(socket.tcp_options()?, TcpOptions::default());
        socket.set_option(SocketOption::UserTimeout(Some(TIMEOUT)))?;
        socket.connect(place).await?;
        let conn = client.connection().adopt(socket, quiet).await?;
        assert_eq!(conn.transport().socket().user_timeout()?, Some(TIMEOUT));
        let (accepted, _) = listener.accept().await?;
        listener.set_option(SocketOption::Keepalive(None))?;
        let expected = TcpOptions { nodelay: false, keepalive: Some(KEEPALIVE), user_timeout: None };
        assert_eq!(accepted.tcp_options()?, expected);
        assert_eq!(listener.tcp_options()?, TcpOptions { keepalive: None, ..expected });
        let timed = client.connection().user_timeout(TIMEOUT).connect(PLACE, quiet).await?;
        assert_eq!(timed.transport().socket().user_timeout()?, Some(TIMEOUT));
        Ok(())
    }

    /// C-95: a datagram socket has no options of TCP.
    async fn datagrams_have_no_options_of_tcp(world: World) -> io::Result<()> {
        const ENOPROTOOPT: i32 = 92;
        let lp: Loop = world.host("client");
        let socket = Socket::open(&lp, SocketKind::Datagram, Family::V4)?;
        for option in [
            SocketOption::Keepalive(Some(KEEPALIVE)),
            SocketOption::NoDelay(false),
            SocketOption::UserTimeout(Some(TIMEOUT)),
        ] {
            let error = socket.set_option(option).expect_err("it has none");
            assert_eq!(error.raw_os_error(), Some(ENOPROTOOPT), "{option:?}: {error}");
        }
        assert!(socket.tcp_options().is_err());
        Ok(())
    }
}
