//! E-40, E-41: the paths of Unix servers.

use std::fs;
use std::io;

use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
use sim_core::driver::SocketKind;
use sim_core::{Loop, Socket};
use tests::recorder::{Log, Recorder};
use tests::socket_path::SocketPath;
use tests::{both_loops, real_only, sim_only};

use crate::loops::{ms, run_for};

fn quiet() -> Recorder {
    Recorder::new(&Log::new())
}

/// How a connect to `path` ends.
async fn outcome(lp: &Loop, path: &SocketPath) -> Option<io::ErrorKind> {
    lp.create_unix_connection(path, quiet).await.err().map(|error| error.kind())
}

both_loops! {
    /// E-40: the file that an earlier socket left behind is no obstacle.
    async fn a_stale_socket_is_removed(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let socket = Socket::open_unix(&lp, SocketKind::Stream)?;
        socket.bind_unix(&path)?;
        drop(socket);
        assert_eq!(outcome(&lp, &path).await, Some(io::ErrorKind::ConnectionRefused));
        let by_hand = Socket::open_unix(&lp, SocketKind::Stream)?;
        let error = by_hand.bind_unix(&path).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let server = lp.create_unix_server(&path, quiet).await?;
        assert_eq!(outcome(&lp, &path).await, None);
        assert_eq!((server.unix_sockets(), server.sockets()), (vec![path.addr()], vec![]));
        Ok(())
    }

    /// E-40, E-41: a server whose path is taken over keeps its connections and gets no more, and does not
    /// remove the file of its successor.
    async fn a_path_goes_to_whoever_binds_it_last(world: World) -> io::Result<()> {
        let (lp, path, log) = (world.host("a"), SocketPath::new(), Log::new());
        let first = lp.create_unix_server(&path, quiet).await?;
        let served = log.clone();
        assert_eq!(outcome(&lp, &path).await, None);
        let second = lp.create_unix_server(&path, move || Recorder::new(&served)).await?;
        first.close();
        assert_eq!(outcome(&lp, &path).await, None);
        world.settle().await;
        assert_eq!(log.text(), "CM");
        second.close();
        assert_eq!(outcome(&lp, &path).await, Some(io::ErrorKind::NotFound));
        Ok(())
    }

    /// E-41, E-20: a server takes its file along unless it was told not to.
    async fn a_closed_server_removes_its_file(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        for (cleanup, left) in
            [(true, io::ErrorKind::NotFound), (false, io::ErrorKind::ConnectionRefused)]
        {
            let server = lp.server().cleanup_socket(cleanup).bind_unix(&path, quiet)?;
            assert_eq!(outcome(&lp, &path).await, None);
            server.close();
            server.close();
            assert_eq!(server.unix_sockets(), vec![]);
            assert_eq!(outcome(&lp, &path).await, Some(left));
        }
        Ok(())
    }

    /// E-40: an abstract name is not checked, so a second server cannot have it; it is free when the
    /// first is closed.
    async fn an_abstract_name_has_one_owner(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let first = lp.create_unix_server(&path.hidden(), quiet).await?;
        let error = lp.create_unix_server(&path.hidden(), quiet).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&path.hidden().to_string()), "{error}");
        let conn = lp.create_unix_connection(&path.hidden(), quiet).await?;
        assert_eq!(conn.transport().unix_peername(), Some(path.hidden()));
        first.close();
        lp.create_unix_server(&path.hidden(), quiet).await?;
        Ok(())
    }

    /// E-25, E-20: connections that wait to be accepted when the server closes are reset, and those that
    /// it has stay.
    async fn waiting_unix_connections_are_reset_at_the_close(world: World) -> io::Result<()> {
        let (lp, path, log) = (world.host("a"), SocketPath::new(), Log::new());
        let mut listener = Socket::open_unix(&lp, SocketKind::Stream)?;
        listener.bind_unix(&path)?;
        listener.listen(8)?;
        let kept = lp.create_unix_connection(&path, quiet).await?;
        let (accepted, _) = listener.accept_unix().await?;
        let accepted = lp.connection().adopt(accepted, quiet).await?;
        let waiting = lp.create_unix_connection(&path, || Recorder::new(&log)).await?;
        waiting.transport().write(b"too late");
        drop(listener);
        assert!(waiting.closed().await.is_err());
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        kept.transport().write(b"hello");
        world.settle().await;
        assert_eq!(accepted.with(|recorder, _| recorder.data.clone()), b"hello");
        Ok(())
    }

    /// E-21, E-23, E-32: a Unix server counts its connections as any, and waits for their ends.
    async fn a_unix_server_waits_for_its_connections(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let server = lp.create_unix_server(&path, quiet).await?;
        let clients = [
            lp.create_unix_connection(&path, quiet).await?,
            lp.create_unix_connection(&path, quiet).await?,
        ];
        world.settle().await;
        assert_eq!(server.connection_count(), 2);
        server.close();
        clients.iter().for_each(|client| client.transport().close());
        server.wait_closed().await;
        assert_eq!(server.connection_count(), 0);
        Ok(())
    }
}

real_only! {
    /// E-40: a file that is no socket stays, and the error names the path.
    async fn another_kind_of_file_is_in_the_way(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        fs::write(path.path(), "precious")?;
        let error = lp.create_unix_server(&path, quiet).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&path.addr().to_string()), "{error}");
        assert_eq!(fs::read_to_string(path.path())?, "precious");
        assert_eq!(outcome(&lp, &path).await, Some(io::ErrorKind::ConnectionRefused));
        Ok(())
    }
}

sim_only! {
    /// E-40, E-43: a store of the host is a file that is no socket; the error names the path, and another
    /// host has a name space of its own.
    async fn a_store_is_in_the_way(world: World) -> io::Result<()> {
        let lp = world.host("a");
        lp.store("precious")?;
        let error = lp.create_unix_server("precious", quiet).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert!(error.to_string().contains("precious"), "{error}");
        let refused = lp.create_unix_connection("precious", quiet).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        world.host("b").create_unix_server("precious", quiet).await?;
        Ok(())
    }
}

/// E-40: a path that fills its place in the kernel's address, as clients of other languages may have, and the longest
/// abstract name are peers like any others.
#[test]
// on: real
fn clients_may_have_the_longest_names() {
    let lp = real_net::new_loop().unwrap();
    let (path, log) = (SocketPath::new(), Log::new());
    let (served, at, handle) = (log.clone(), path.addr(), lp.clone());
    let server = lp
        .run_until_complete(async move {
            handle.create_unix_server(&at, move || Recorder::new(&served)).await
        })
        .unwrap()
        .unwrap();
    let folder = std::env::temp_dir();
    let longest = folder.join("n".repeat(107 - folder.as_os_str().len()));
    assert_eq!(longest.as_os_str().len(), 108);
    let _ = fs::remove_file(&longest);
    let abstract_name = format!("{:x>107}", std::process::id());
    let names = [
        SocketAddrUnix::new(&longest).unwrap(),
        SocketAddrUnix::new_abstract_name(abstract_name.as_bytes()).unwrap(),
    ];
    for name in names {
        let kind = (AddressFamily::UNIX, SocketType::STREAM, None);
        let client = rustix::net::socket(kind.0, kind.1, kind.2).unwrap();
        rustix::net::bind(&client, &name).unwrap();
        let to = SocketAddrUnix::new(path.addr().to_string().as_str()).unwrap();
        rustix::net::connect(&client, &to).unwrap();
        rustix::io::write(&client, b"hi").unwrap();
        drop(client);
        run_for(&lp, ms(20));
    }
    server.close();
    fs::remove_file(&longest).unwrap();
    assert_eq!(log.text(), "CM DR ER CL(None) CM DR ER CL(None)");
}
