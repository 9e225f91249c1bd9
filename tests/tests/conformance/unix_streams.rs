//! E-42 and what of C holds on Unix stream sockets: they differ from TCP in their names and ends.

use std::io;

use sim_core::driver::SocketKind;
use sim_core::{Conn, Eof, Loop, Server, Socket, UnixAddr, WriteBufferLimits};
use tests::both_loops;
use tests::recorder::{BufferedRecorder, Log, Recorder};
use tests::socket_path::SocketPath;

use crate::serving::Heard;

/// More than the kernel takes.
const FLOOD: usize = 1 << 20;

/// A server, and a connection to it from both sides.
pub(crate) struct Pair {
    pub(crate) _server: Server,
    pub(crate) client: Conn<Recorder>,
    pub(crate) accepted: Conn<Recorder>,
    pub(crate) path: SocketPath,
}

/// A connection between two recorders.
pub(crate) async fn connect(lp: &Loop, client: Recorder, served: Recorder) -> io::Result<Pair> {
    let path = SocketPath::new();
    let accepted = lp.create_future();
    let mut served = Some(served.announce(accepted.clone()));
    let factory = move || served.take().expect("there is one connection");
    let server = lp.create_unix_server(&path, factory).await?;
    let client = lp.create_unix_connection(&path, || client).await?;
    let accepted = accepted.await.expect("it is made");
    Ok(Pair { _server: server, client, accepted, path })
}

fn quiet() -> Recorder {
    Recorder::new(&Log::new())
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

both_loops! {
    /// C-95, C-03, C-13: a server's side is named as its path, a client unnamed; the names stay after the
    /// end, and there are no internet addresses.
    async fn unix_names_agree_and_stay(world: World) -> io::Result<()> {
        let pair = connect(&world.host("a"), quiet(), quiet()).await?;
        let (client, served) = (pair.client.transport(), pair.accepted.transport());
        for _ in 0..2 {
            assert_eq!(client.unix_sockname(), Some(UnixAddr::UNNAMED));
            assert_eq!(client.unix_peername(), Some(pair.path.addr()));
            assert_eq!(served.unix_sockname(), Some(pair.path.addr()));
            assert_eq!(served.unix_peername(), Some(UnixAddr::UNNAMED));
            assert_eq!((client.sockname(), client.peername()), (None, None));
            assert_eq!(client.pipe_end(), None);
            client.close();
            pair.client.closed().await?;
            pair.accepted.closed().await?;
        }
        Ok(())
    }

    /// C-01, C-03, C-04: made, what `connection_made` queued, the task, and then the data that waited.
    async fn a_unix_connection_is_made_in_the_usual_order(world: World) -> io::Result<()> {
        let (lp, log, path) = (world.host("a"), Log::new(), SocketPath::new());
        let greeting = || quiet().on_made(|cx| cx.write(b"hello"));
        let _server = lp.create_unix_server(&path, greeting).await?;
        let queued = log.clone();
        let client = Recorder::new(&log).on_made(move |cx| {
            let queued = queued.clone();
            cx.call_soon(move |_, _| queued.push("queued"));
        });
        let (connecting, own) = (lp.clone(), log.clone());
        // A task of the host: the scenario's own runs between its turns.
        let task = lp.create_task(async move {
            let conn = connecting.create_unix_connection(&path, || client).await;
            own.push("task");
            conn
        });
        let conn = task.await.expect("nobody cancels it")?;
        world.settle().await;
        assert_eq!(log.text(), "CM queued task DR");
        assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"hello");
        Ok(())
    }

    /// E-42: a path that is not there is not found; one that nobody listens at, or an abstract name that
    /// nobody has, refuses. The text names the address.
    async fn unix_connects_fail_as_the_kernel_says(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let kind = async |addr: UnixAddr| {
            let error = lp.create_unix_connection(&addr, quiet).await.unwrap_err();
            assert!(error.to_string().contains(&addr.to_string()), "{error}");
            error.kind()
        };
        assert_eq!(kind(path.addr()).await, io::ErrorKind::NotFound);
        assert_eq!(kind(path.hidden()).await, io::ErrorKind::ConnectionRefused);
        let silent = lp.server().start_serving(false).bind_unix(&path, quiet)?;
        assert_eq!(kind(path.addr()).await, io::ErrorKind::ConnectionRefused);
        silent.start_serving()?;
        lp.create_unix_connection(&path, quiet).await?;
        for wrong in ["", "a\0b", &"x".repeat(108)] {
            let error = lp.create_unix_connection(wrong, quiet).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        }
        Ok(())
    }

    /// E-42: a datagram socket is of the wrong type for a connection.
    async fn a_datagram_socket_takes_no_connection(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let socket = Socket::open_unix(&lp, SocketKind::Datagram)?;
        socket.bind_unix(&path)?;
        let error = lp.create_unix_connection(&path, quiet).await.unwrap_err();
        assert!(error.to_string().contains("os error 91"), "{error}");
        let error = lp.connection().adopt(socket, quiet).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    }

    /// E-42, G-56: with one more than the backlog waiting, the next connect would block, and that is an
    /// error; there is room again after an accept.
    async fn a_full_unix_backlog_is_an_error(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let mut listener = Socket::open_unix(&lp, SocketKind::Stream)?;
        listener.bind_unix(&path)?;
        listener.listen(1)?;
        let connect = || lp.create_unix_connection(&path, quiet);
        let waiting = [connect().await?, connect().await?];
        assert_eq!(connect().await.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        let (accepted, peer) = listener.accept_unix().await?;
        assert!(peer.is_unnamed());
        assert_eq!(accepted.unix_local_addr()?, path.addr());
        connect().await?;
        drop(waiting);
        Ok(())
    }

    /// C-72, C-47: a request ends with the end of the stream, and the answer comes after it.
    async fn unix_streams_have_a_half_close(world: World) -> io::Result<()> {
        let (log, served) = (Log::new(), Log::new());
        let server = Recorder::new(&served).eof(Eof::KeepOpen).on_eof(|cx| {
            cx.write(b"answer");
            cx.close();
        });
        let pair = connect(&world.host("a"), Recorder::new(&log), server).await?;
        assert!(pair.client.transport().can_write_eof());
        pair.client.with(|_, cx| {
            cx.write(b"request");
            cx.write_eof();
            assert!(!cx.is_closing());
        });
        pair.client.closed().await?;
        world.settle().await;
        assert_eq!((log.text(), served.text()), ("CM DR ER CL(None)".into(), "CM DR ER CL(None)".into()));
        assert_eq!(pair.client.with(|recorder, _| recorder.data.clone()), b"answer");
        Ok(())
    }

    /// J-54, C-30, C-43: what was written before the close comes whole, then the end.
    async fn a_unix_stream_ends_after_all_its_data(world: World) -> io::Result<()> {
        let log = Log::new();
        let pair = connect(&world.host("a"), quiet(), Recorder::new(&log)).await?;
        pair.accepted.transport().pause_reading();
        pair.client.with(|_, cx| {
            cx.write(&body(100_000));
            cx.close();
        });
        pair.client.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM");
        pair.accepted.transport().resume_reading();
        pair.accepted.closed().await?;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        assert!(pair.accepted.with(|recorder, _| recorder.data == body(100_000)));
        Ok(())
    }

    /// C-34, K-04: closing with unread data is a reset to the peer, behind the data that it was sent.
    async fn closing_a_unix_stream_with_unread_data_resets_the_peer(world: World) -> io::Result<()> {
        let log = Log::new();
        let pair = connect(&world.host("a"), Recorder::new(&log), quiet()).await?;
        pair.accepted.with(|_, cx| {
            cx.pause_reading();
            cx.write(b"last words");
        });
        pair.client.transport().write(b"never read");
        world.settle().await;
        pair.accepted.transport().close();
        assert!(pair.client.closed().await.is_err());
        assert_eq!(log.text(), "CM DR CL(ConnectionReset)");
        assert_eq!(pair.client.with(|recorder, _| recorder.data.clone()), b"last words");
        Ok(())
    }

    /// C-77: an abort drops what waits; there is no reset on a Unix stream, so the peer sees what was
    /// sent before, and the end.
    async fn an_aborted_unix_stream_just_ends(world: World) -> io::Result<()> {
        let (log, own) = (Log::new(), Log::new());
        let pair = connect(&world.host("a"), Recorder::new(&own), Recorder::new(&log)).await?;
        pair.accepted.transport().pause_reading();
        pair.client.with(|_, cx| {
            cx.write(&body(FLOOD));
            cx.abort();
            cx.abort();
        });
        pair.client.closed().await?;
        pair.accepted.transport().resume_reading();
        pair.accepted.closed().await?;
        assert_eq!((log.text(), own.text()), ("CM DR ER CL(None)".into(), "CM PW CL(None)".into()));
        let received = pair.accepted.with(|recorder, _| std::mem::take(&mut recorder.data));
        assert!(received.len() < FLOOD && received == body(FLOOD)[..received.len()]);
        Ok(())
    }

    /// C-61, K-02: who does not read learns of a peer that is gone by writing.
    async fn a_write_to_a_unix_peer_that_is_gone_breaks_the_pipe(world: World) -> io::Result<()> {
        let log = Log::new();
        let pair = connect(&world.host("a"), Recorder::new(&log), quiet()).await?;
        pair.client.transport().pause_reading();
        pair.accepted.transport().close();
        pair.accepted.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM");
        pair.client.transport().write(b"hello?");
        assert!(pair.client.transport().is_closing());
        assert!(pair.client.closed().await.is_err());
        assert_eq!(log.text(), "CM CL(BrokenPipe)");
        Ok(())
    }

    /// C-81, C-83, C-71: a reader that rests holds the writer back; when it reads again the writer goes
    /// on, and every byte comes.
    async fn a_unix_stream_pushes_back(world: World) -> io::Result<()> {
        let log = Log::new();
        let pair = connect(&world.host("a"), Recorder::new(&log), quiet()).await?;
        pair.accepted.transport().pause_reading();
        let limits = WriteBufferLimits::from_high(10_000);
        pair.client.transport().set_write_buffer_limits(limits)?;
        pair.client.with(|_, cx| {
            cx.write(&body(FLOOD));
            assert!(!cx.is_writable());
        });
        world.settle().await;
        let waiting = pair.client.transport().write_buffer_size();
        assert!(waiting > FLOOD - 300_000 && waiting < FLOOD - 100_000, "{waiting}");
        assert_eq!(log.text(), "CM PW");
        pair.client.transport().close();
        pair.accepted.transport().resume_reading();
        pair.client.closed().await?;
        pair.accepted.closed().await?;
        assert_eq!(log.text(), "CM PW RW CL(None)");
        assert!(pair.accepted.with(|recorder, _| recorder.data == body(FLOOD)));
        Ok(())
    }

    /// C-50, C-53: a buffered protocol reads from a Unix stream too, a small buffer at a time.
    async fn a_buffered_protocol_reads_a_unix_stream(world: World) -> io::Result<()> {
        let (lp, log, path) = (world.host("a"), Log::new(), SocketPath::new());
        let greeting = || quiet().on_made(|cx| { cx.write(&body(1_000)); cx.close(); });
        let _server = lp.create_unix_server(&path, greeting).await?;
        let recorder = BufferedRecorder::new(&log, 300);
        let conn = lp.create_unix_connection(&path, || recorder).await?;
        conn.closed().await?;
        assert!(conn.with(|recorder, _| recorder.data == body(1_000)));
        assert_eq!((log.count("BU(300)"), log.count("BU(100)"), log.count("ER")), (3, 1, 1));
        Ok(())
    }

    /// E-12, E-14, C-95: a pair of sockets is adopted, both unnamed; a socket that is not connected is
    /// adopted too, has no peer, and its first read fails.
    async fn unix_sockets_are_adopted(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("a"), Log::new());
        let (one, other) = Socket::pair(&lp)?;
        let one = lp.connection().adopt(one, quiet).await?;
        let other = lp.connection().adopt(other, || Recorder::new(&log)).await?;
        assert_eq!(one.transport().unix_peername(), Some(UnixAddr::UNNAMED));
        one.with(|_, cx| { cx.write(b"hi"); cx.close(); });
        other.closed().await?;
        assert_eq!(log.text(), "CM DR ER CL(None)");

        let socket = Socket::open_unix(&lp, SocketKind::Stream)?;
        let lost = lp.connection().adopt(socket, quiet).await?;
        assert_eq!(lost.transport().unix_peername(), None);
        assert_eq!(lost.closed().await.unwrap_err().kind(), io::ErrorKind::InvalidInput);
        Ok(())
    }

    /// E-01, E-40: addresses of the wrong kind, and calls for the other kind of socket, are refused with
    /// a reason.
    async fn sockets_take_addresses_of_their_own_kind(world: World) -> io::Result<()> {
        fn refused<T>(result: io::Result<T>, reason: &str) {
            let error = result.err().expect("it is refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(reason), "{error}");
        }
        let (lp, path) = (world.host("a"), SocketPath::new());
        let place = lp.getaddrinfo(("a", 7000)).await?[0];
        let mut unix = Socket::open_unix(&lp, SocketKind::Stream)?;
        refused(unix.bind(place), "call bind_unix");
        refused(unix.connect(place).await, "call connect_unix");
        refused(unix.bind_unix(UnixAddr::UNNAMED), "unnamed");
        refused(unix.local_addr(), "call unix_local_addr");
        refused(unix.accept().await, "call accept_unix");
        assert_eq!(unix.unix_local_addr()?, UnixAddr::UNNAMED);
        let mut internet = Socket::open(&lp, SocketKind::Stream, sim_core::driver::Family::V4)?;
        refused(internet.bind_unix(&path), "call bind");
        refused(internet.connect_unix(&path), "call connect");
        refused(internet.accept_unix().await, "call accept");
        refused(internet.unix_peer_addr(), "call peer_addr");
        let from = lp.connection().local_addr(("a", 1));
        refused(from.connect_unix(&path, quiet).await, "no host and port");
        Ok(())
    }

    /// C-45, C-44: a half-closed Unix stream is not told of the peer's end again, and ends by a write.
    async fn a_half_closed_unix_stream_ends_by_a_write(world: World) -> io::Result<()> {
        let log = Log::new();
        let client = Recorder::new(&log).eof(Eof::KeepOpen);
        let pair = connect(&world.host("a"), client, quiet()).await?;
        let heard = Heard::by(&world.host("a"));
        pair.accepted.transport().close();
        pair.accepted.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM ER");
        pair.client.transport().write(b"x");
        assert!(pair.client.closed().await.is_err());
        assert_eq!(log.text(), "CM ER CL(BrokenPipe)");
        assert_eq!(heard.messages(), Vec::<String>::new());
        Ok(())
    }
}
