//! Sockets by hand (G.4).

use std::future::Future;
use std::io;
use std::net::{Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use sim_core::driver::{Family, SocketKind, SocketOption};
use sim_core::{AddressError, Loop, Socket, TaskError, World};
use tests::both_loops;
use tests::socket_path::SocketPath;

use crate::resolving::address_of;
use crate::serving::free_port;
use crate::stream_readers::is_ready;

/// More than the buffers of both ends take.
const FLOOD: usize = 16 << 20;

/// Two connected sockets by hand: who connected, and who accepted.
async fn pair(world: &World) -> io::Result<(Loop, Socket, Socket)> {
    let (server, client) = (world.host("server"), world.host("client"));
    let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
    listener.bind((address_of(&server).await?, 0).into())?;
    listener.listen(1)?;
    let mut connected = Socket::open(&client, SocketKind::Stream, Family::V4)?;
    connected.connect(listener.local_addr()?).await?;
    let (accepted, _) = listener.accept().await?;
    Ok((client, connected, accepted))
}

/// A datagram socket that is bound to its host's address.
async fn datagrams(lp: &Loop) -> io::Result<Socket> {
    let socket = Socket::open(lp, SocketKind::Datagram, Family::V4)?;
    socket.bind((address_of(lp).await?, 0).into())?;
    Ok(socket)
}

/// What a connect to `place` fails with at once: the code of the operating system.
async fn refusal(lp: &Loop, socket: &mut Socket, place: SocketAddr) -> io::Result<Option<i32>> {
    let error = lp.timeout(Duration::from_secs(5), socket.connect(place)).await?.unwrap_err();
    assert!(error.to_string().contains(&place.to_string()), "{error}");
    let error = error.get_ref().and_then(|error| error.downcast_ref::<AddressError>());
    Ok(error.and_then(AddressError::raw_os_error))
}

/// `EINVAL`, `EOPNOTSUPP`, `EISCONN`, `EDESTADDRREQ`, `EAFNOSUPPORT`, `ECONNREFUSED` and `EALREADY`.
const INVALID: Option<i32> = Some(22);
const NOT_SUPPORTED: Option<i32> = Some(95);
const IS_CONNECTED: Option<i32> = Some(106);
const NO_DESTINATION: Option<i32> = Some(89);
const NO_SUCH_FAMILY: Option<i32> = Some(97);
const REFUSED: Option<i32> = Some(111);
const UNDER_WAY: Option<i32> = Some(114);

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

both_loops! {
    /// G-53, G-58: what is sent is received, at once or when it comes; the end is empty.
    async fn bytes_go_both_ways(world: World) -> io::Result<()> {
        let (lp, client, server) = pair(&world).await?;
        let client = Rc::new(client);
        let waits = Rc::clone(&client);
        let task = lp.create_task(async move { waits.recv(100).await });
        world.settle().await;
        assert!(!task.done());
        server.send_all(b"hello").await?;
        assert_eq!(task.await.unwrap()?, b"hello");
        client.send_all(b"four").await?;
        world.settle().await;
        let mut two = [0; 2];
        assert_eq!(server.recv_into(&mut two).await?, 2);
        assert_eq!((&two, server.recv(100).await?), (b"fo", b"ur".to_vec()));
        drop(client);
        assert_eq!(server.recv(100).await?, b"");
        assert_eq!(server.recv(100).await?, b"");
        Ok(())
    }

    /// G-53: one task may write while another reads the same socket.
    async fn a_socket_is_read_and_written_at_once(world: World) -> io::Result<()> {
        let (lp, client, server) = pair(&world).await?;
        let (client, server) = (Rc::new(client), Rc::new(server));
        let flood = |lp: &Loop, socket: &Rc<Socket>| {
            let socket = Rc::clone(socket);
            lp.create_task(async move { socket.send_all(&vec![7; FLOOD]).await })
        };
        let drain = |lp: &Loop, socket: &Rc<Socket>| {
            let socket = Rc::clone(socket);
            lp.create_task(async move {
                let mut received = 0;
                while received < FLOOD {
                    received += socket.recv(1 << 20).await?.len();
                }
                io::Result::Ok(received)
            })
        };
        let there = world.host("server");
        let sends = [flood(&lp, &client), flood(&there, &server)];
        let drains = [drain(&lp, &client), drain(&there, &server)];
        for sent in sends {
            sent.await.unwrap()?;
        }
        for drained in drains {
            assert_eq!(drained.await.unwrap()?, FLOOD);
        }
        Ok(())
    }

    /// G-54: a receive that is cancelled loses nothing, and one right after it is not disturbed.
    async fn a_cancelled_receive_loses_nothing(world: World) -> io::Result<()> {
        let (lp, client, server) = pair(&world).await?;
        let client = Rc::new(client);
        let receive = || {
            let client = Rc::clone(&client);
            lp.create_task(async move { client.recv(100).await })
        };
        let cancelled = receive();
        world.settle().await;
        cancelled.cancel();
        let next = receive();
        world.settle().await;
        server.send_all(b"data").await?;
        assert!(matches!(cancelled.await, Err(TaskError::Cancelled)));
        assert_eq!(next.await.unwrap()?, b"data");
        // Cancelled when the data are there already.
        let cancelled = receive();
        world.settle().await;
        server.send_all(b"more").await?;
        world.settle().await;
        if !cancelled.done() {
            cancelled.cancel();
            assert_eq!(client.recv(100).await?, b"more");
        }
        Ok(())
    }

    /// G-54: of a receive that is given up nothing is left, and nobody is woken for it.
    async fn nothing_is_left_of_a_receive_that_was_given_up(world: World) -> io::Result<()> {
        let (_, client, server) = pair(&world).await?;
        let wakes = Arc::new(Wakes::default());
        let waker = Waker::from(Arc::clone(&wakes));
        for _ in 0..3 {
            let mut receive = Box::pin(client.recv(1));
            assert!(receive.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert_eq!(Arc::strong_count(&wakes), 3, "the receive has one");
            drop(receive);
            assert_eq!(Arc::strong_count(&wakes), 2);
        }
        server.send_all(b"x").await?;
        assert_eq!(client.recv(1).await?, b"x");
        assert_eq!(wakes.0.load(Ordering::Relaxed), 0);
        Ok(())
    }

    /// G-55: everything is sent, or an error comes; a cancelled send may have sent a part, and the next goes on
    /// behind it.
    async fn everything_is_sent_or_an_error_comes(world: World) -> io::Result<()> {
        let (lp, client, server) = pair(&world).await?;
        let client = Rc::new(client);
        let floods = Rc::clone(&client);
        let sending = lp.create_task(async move { floods.send_all(&vec![b'a'; FLOOD]).await });
        world.settle().await;
        assert!(sending.cancel());
        assert!(sending.await.is_err());
        let finishes = Rc::clone(&client);
        let last = lp.create_task(async move { finishes.send_all(b"b").await });
        let mut received = Vec::new();
        while received.last() != Some(&b'b') {
            received.extend(server.recv(1 << 20).await?);
        }
        last.await.unwrap()?;
        assert!((2..=FLOOD).contains(&received.len()));
        assert!(received[..received.len() - 1].iter().all(|byte| *byte == b'a'));
        // And to a peer that is gone.
        drop(server);
        let gone = async {
            loop {
                if let Err(error) = client.send_all(&[0; 1_000]).await {
                    return error.kind();
                }
                lp.sleep(Duration::from_millis(1)).await;
            }
        };
        let kind = lp.timeout(Duration::from_secs(60), gone).await?;
        assert!(matches!(kind, io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{kind}");
        Ok(())
    }

    /// G-56: a refused connect names the address, and may be tried again on the same socket.
    async fn a_refused_connect_may_be_tried_again(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let addr = (address_of(&server).await?, free_port(&server).await?).into();
        let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        let error = socket.connect(addr).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&addr.to_string()), "{error}");
        let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.set_option(SocketOption::ReuseAddress(true))?;
        listener.bind(addr)?;
        listener.listen(1)?;
        socket.connect(addr).await?;
        let (accepted, _) = listener.accept().await?;
        accepted.send_all(b"at last").await?;
        assert_eq!(socket.recv(100).await?, b"at last");
        Ok(())
    }

    /// G-56: a connect that was given up, and came to its end since, may be waited for again; so may one that has not.
    async fn a_connect_that_was_given_up_may_be_waited_for_again(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.bind((address_of(&server).await?, 0).into())?;
        listener.listen(2)?;
        let place = listener.local_addr()?;
        for pause in [0, 50] {
            let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
            let _is_connected = is_ready(socket.connect(place)).await;
            client.sleep(Duration::from_millis(pause)).await;
            client.timeout(Duration::from_secs(30), socket.connect(place)).await??;
            assert_eq!(listener.accept().await?.1, socket.local_addr()?);
        }
        Ok(())
    }

    /// G-56: a connect that was given up, and has failed since, is no answer to another: that one has its own, at once or
    /// later, and the place of the first may be tried again.
    async fn a_connect_that_failed_for_nobody_is_no_answer_to_another(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.bind((address_of(&server).await?, 0).into())?;
        listener.listen(1)?;
        let bad = (address_of(&server).await?, free_port(&server).await?).into();
        let failed = async || {
            let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
            let _has_failed = is_ready(socket.connect(bad)).await;
            client.sleep(Duration::from_millis(50)).await;
            io::Result::Ok(socket)
        };
        let mut socket = failed().await?;
        let good = listener.local_addr()?;
        client.timeout(Duration::from_secs(5), socket.connect(good)).await??;
        assert_eq!(listener.accept().await?.1, socket.local_addr()?);
        let mut socket = failed().await?;
        let other_family = (Ipv6Addr::LOCALHOST, 7).into();
        assert_eq!(refusal(&client, &mut socket, other_family).await?, NO_SUCH_FAMILY);
        assert_eq!(refusal(&client, &mut socket, bad).await?, REFUSED);
        Ok(())
    }

    /// G-56: a connect to elsewhere while one is under way, or has come to its end for nobody, is an error and takes
    /// nothing from the first.
    async fn a_connect_to_elsewhere_leaves_the_first_alone(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
        listener.bind((address_of(&server).await?, 0).into())?;
        listener.listen(2)?;
        let place = listener.local_addr()?;
        let elsewhere = (address_of(&server).await?, free_port(&server).await?).into();
        for pause in [0, 50] {
            let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
            let _is_connected = is_ready(socket.connect(place)).await;
            client.sleep(Duration::from_millis(pause)).await;
            let code = refusal(&client, &mut socket, elsewhere).await?;
            assert!(code == IS_CONNECTED || code == UNDER_WAY && pause == 0, "{code:?}");
            client.timeout(Duration::from_secs(30), socket.connect(place)).await??;
            assert_eq!(listener.accept().await?.1, socket.local_addr()?);
        }
        Ok(())
    }

    /// G-56: a stream that is connected is not connected again, wherever to and however it came to be: that is an
    /// error at once.
    async fn a_connected_stream_is_not_connected_again(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let listen = async || {
            let listener = Socket::open(&server, SocketKind::Stream, Family::V4)?;
            listener.bind((address_of(&server).await?, 0).into())?;
            listener.listen(2)?;
            io::Result::Ok(listener)
        };
        let (mut listener, other) = (listen().await?, listen().await?);
        let (place, elsewhere) = (listener.local_addr()?, other.local_addr()?);
        let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        socket.connect(place).await?;
        for remote in [place, place, elsewhere] {
            assert_eq!(refusal(&client, &mut socket, remote).await?, IS_CONNECTED);
        }
        let (mut accepted, peer) = listener.accept().await?;
        assert_eq!(refusal(&server, &mut accepted, peer).await?, IS_CONNECTED);
        accepted.send_all(b"the same").await?;
        assert_eq!(socket.recv(100).await?, b"the same");
        // One whose connect was given up before it came to its end.
        let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        let _is_connected = is_ready(socket.connect(place)).await;
        client.sleep(Duration::from_millis(50)).await;
        assert_eq!(refusal(&client, &mut socket, elsewhere).await?, IS_CONNECTED);
        assert_eq!(listener.accept().await?.1, socket.local_addr()?);
        Ok(())
    }

    /// Who connects to a port that a listener shares with a socket that has connected from there meets the
    /// listener.
    async fn a_listener_alone_accepts_on_a_port_that_is_shared(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let share = async |port: u16| {
            let socket = Socket::open(&server, SocketKind::Stream, Family::V4)?;
            socket.set_option(SocketOption::ReusePort(true))?;
            socket.bind((address_of(&server).await?, port).into())?;
            io::Result::Ok(socket)
        };
        let mut listener = share(0).await?;
        listener.listen(8)?;
        let place = listener.local_addr()?;
        let elsewhere = Socket::open(&client, SocketKind::Stream, Family::V4)?;
        elsewhere.bind((address_of(&client).await?, 0).into())?;
        elsewhere.listen(1)?;
        let mut outgoing = share(place.port()).await?;
        outgoing.connect(elsewhere.local_addr()?).await?;
        for _ in 0..8 {
            let mut socket = Socket::open(&client, SocketKind::Stream, Family::V4)?;
            socket.connect(place).await?;
            assert_eq!(listener.accept().await?.1, socket.local_addr()?);
        }
        Ok(())
    }

    /// G-53: datagrams by hand.
    async fn datagrams_go_by_hand(world: World) -> io::Result<()> {
        let (one, other) = (world.host("one"), world.host("other"));
        let (sender, receiver) = (datagrams(&one).await?, datagrams(&other).await?);
        assert_eq!(sender.send_to(b"ping", receiver.local_addr()?).await?, 4);
        let mut buf = [0; 100];
        let (length, from) = receiver.recv_from(&mut buf).await?;
        assert_eq!((&buf[..length], from), (&b"ping"[..], sender.local_addr()?));
        Ok(())
    }

    /// A socket of datagrams does not listen, and what does not listen accepts nothing: the kernel's errors.
    async fn what_is_no_listener_says_so(world: World) -> io::Result<()> {
        let lp = world.host("host");
        let mut socket = datagrams(&lp).await?;
        let errors = [socket.listen(1).unwrap_err(), socket.accept().await.unwrap_err()];
        assert_eq!(errors.map(|error| error.raw_os_error()), [NOT_SUPPORTED; 2]);
        let mut socket = Socket::open_unix(&lp, SocketKind::Datagram)?;
        socket.bind_unix(&SocketPath::new())?;
        let errors = [socket.listen(1).unwrap_err(), socket.accept_unix().await.unwrap_err()];
        assert_eq!(errors.map(|error| error.raw_os_error()), [NOT_SUPPORTED; 2]);
        let mut socket = Socket::open(&lp, SocketKind::Stream, Family::V4)?;
        assert_eq!(socket.accept().await.unwrap_err().raw_os_error(), INVALID);
        let mut socket = Socket::open_unix(&lp, SocketKind::Stream)?;
        let errors = [socket.listen(1).unwrap_err(), socket.accept_unix().await.unwrap_err()];
        assert_eq!(errors.map(|error| error.raw_os_error()), [INVALID; 2]);
        Ok(())
    }

    /// G-59: a datagram socket that is connected sends to its peer, one datagram a call, be it empty; any is
    /// received without its sender, too, and what is longer than the buffer is cut off.
    async fn connected_datagrams_are_sent_and_received_whole(world: World) -> io::Result<()> {
        let (one, other) = (world.host("one"), world.host("other"));
        let (mut near, far) = (datagrams(&one).await?, datagrams(&other).await?);
        let error = near.send_all(b"to nobody").await.unwrap_err();
        assert_eq!(error.raw_os_error(), NO_DESTINATION);
        near.connect(far.local_addr()?).await?;
        // A datagram socket may be connected again.
        near.connect(far.local_addr()?).await?;
        for datagram in [&b"first"[..], b"", b"third"] {
            near.send_all(datagram).await?;
            world.settle().await;
        }
        assert_eq!(far.recv(3).await?, b"fir");
        assert_eq!(far.recv(100).await?, b"");
        let mut buf = [0; 100];
        let length = far.recv_into(&mut buf).await?;
        assert_eq!(&buf[..length], b"third");
        assert_eq!(far.send_to(b"answer", near.local_addr()?).await?, 6);
        let (length, from) = near.recv_from(&mut buf).await?;
        assert_eq!((&buf[..length], from), (&b"answer"[..], far.local_addr()?));
        let error = near.send_all(&[0; 70_000]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(90), "{error}");
        Ok(())
    }

    /// G-59: Unix datagrams, the same.
    async fn unix_datagrams_are_sent_and_received_whole(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("host"), SocketPath::new());
        let open = || Socket::open_unix(&lp, SocketKind::Datagram);
        let (near, far) = (open()?, Rc::new(open()?));
        far.bind_unix(&path)?;
        let error = near.send_all(b"to nobody").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        near.connect_unix(&path)?;
        let waits = Rc::clone(&far);
        let received = lp.create_task(async move { waits.recv(3).await });
        world.settle().await;
        near.send_all(b"first").await?;
        near.send_all(b"").await?;
        assert_eq!(received.await.unwrap()?, b"fir");
        assert_eq!(far.recv(100).await?, b"");
        near.send_all(b"third").await?;
        let error = far.recv_from(&mut [0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(far.recv(100).await?, b"third");
        let nowhere = ([127, 0, 0, 1], 9).into();
        let error = near.send_to(b"there", nowhere).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        Ok(())
    }

    /// G-59: a stream has no datagrams: asking it for one takes nothing, and giving it one sends nothing.
    async fn a_stream_has_no_datagrams(world: World) -> io::Result<()> {
        let (_, client, server) = pair(&world).await?;
        server.send_all(b"hi").await?;
        world.settle().await;
        let error = client.recv_from(&mut [0; 100]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(client.recv(100).await?, b"hi");
        let error = client.send_to(b"lost", client.peer_addr()?).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        client.send_all(b"found").await?;
        assert_eq!(server.recv(100).await?, b"found");
        Ok(())
    }
}
