//! D-22 and what of D holds on Unix datagram sockets.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use sim_core::{Conn, Cx, DatagramProtocol, DatagramTransport, Loop, UnixAddr, WriteBufferLimits};
use tests::both_loops;
use tests::recorder::{Log, lost_text};
use tests::socket_path::SocketPath;

use crate::tls::until;

/// A protocol that logs its callbacks and keeps what it was given.
struct Recorder {
    log: Log,
    received: Vec<(Vec<u8>, Option<UnixAddr>)>,
    errors: Vec<io::ErrorKind>,
    /// How many errors it answers by sending again.
    tries: usize,
    /// How often others ran between those errors.
    turns: Rc<Cell<usize>>,
}

type UnixCx<'a> = Cx<'a, Recorder, DatagramTransport<UnixAddr>>;
type Endpoint = Conn<Recorder, DatagramTransport<UnixAddr>>;

impl Recorder {
    fn new(log: &Log) -> Self {
        let turns = Rc::default();
        Self { log: log.clone(), received: Vec::new(), errors: Vec::new(), tries: 0, turns }
    }
}

impl DatagramProtocol<UnixAddr> for Recorder {
    fn connection_made(&mut self, _: &mut UnixCx<'_>) {
        self.log.push("CM");
    }

    fn datagram_received(&mut self, _: &mut UnixCx<'_>, data: &[u8], from: Option<UnixAddr>) {
        self.received.push((data.to_vec(), from));
    }

    fn error_received(&mut self, cx: &mut UnixCx<'_>, error: io::Error) {
        self.log.push("EX");
        self.errors.push(error.kind());
        if self.tries > 0 {
            self.tries -= 1;
            let (turns, seen) = (Rc::clone(&self.turns), self.turns.get());
            cx.event_loop().call_soon(move || turns.set(seen + 1));
            cx.send_to(b"again", None).expect("it has one peer");
        }
    }

    fn pause_writing(&mut self, _: &mut UnixCx<'_>) {
        self.log.push("PW");
    }

    fn resume_writing(&mut self, _: &mut UnixCx<'_>) {
        self.log.push("RW");
    }

    fn connection_lost(&mut self, _: &mut UnixCx<'_>, error: Option<io::Error>) {
        self.log.push(lost_text(error.as_ref()));
    }
}

async fn bound(lp: &Loop, path: &SocketPath) -> io::Result<Endpoint> {
    lp.unix_datagram().local(path).bind(|| Recorder::new(&Log::new())).await
}

async fn unbound(lp: &Loop, log: &Log) -> io::Result<Endpoint> {
    lp.create_unix_datagram_endpoint(None, None, || Recorder::new(log)).await
}

async fn connected(lp: &Loop, path: &SocketPath, log: &Log) -> io::Result<Endpoint> {
    lp.create_unix_datagram_endpoint(None, Some(path.addr()), || Recorder::new(log)).await
}

fn received(endpoint: &Endpoint) -> Vec<(Vec<u8>, Option<UnixAddr>)> {
    endpoint.with(|recorder, _| std::mem::take(&mut recorder.received))
}

both_loops! {
    /// D-22, D-02, D-03, D-04: a sender that was never bound has no address; one that was can be
    /// answered. Boundaries stay, of empty datagrams too.
    async fn unix_senders_have_addresses_if_they_are_bound(world: World) -> io::Result<()> {
        let (lp, here, there) = (world.host("a"), SocketPath::new(), SocketPath::new());
        let receiver = bound(&lp, &here).await?;
        let (nameless, named) = (unbound(&lp, &Log::new()).await?, bound(&lp, &there).await?);
        nameless.with(|_, cx| cx.send_to(b"who?", Some(here.addr())))?;
        nameless.with(|_, cx| cx.send_to(b"", Some(here.addr())))?;
        named.with(|_, cx| cx.send_to(b"me", Some(here.addr())))?;
        world.settle().await;
        let sent = [(b"who?".to_vec(), None), (vec![], None), (b"me".to_vec(), Some(there.addr()))];
        let got = received(&receiver);
        assert_eq!(got, sent);
        receiver.with(|_, cx| cx.send_to(b"you", got[2].1.clone()))?;
        world.settle().await;
        assert_eq!(received(&named), [(b"you".to_vec(), Some(here.addr()))]);
        assert_eq!(nameless.transport().sockname(), Some(UnixAddr::UNNAMED));
        assert_eq!((named.transport().sockname(), named.transport().peername()), (Some(there.addr()), None));
        Ok(())
    }

    /// D-22: the path of a socket that is gone is bound again; an endpoint does not take it along.
    async fn a_stale_unix_path_is_bound_again(world: World) -> io::Result<()> {
        let (lp, path, log) = (world.host("a"), SocketPath::new(), Log::new());
        let first = bound(&lp, &path).await?;
        first.transport().close();
        first.closed().await?;
        let sender = unbound(&lp, &log).await?;
        sender.with(|_, cx| cx.send_to(b"?", Some(path.addr())))?;
        world.settle().await;
        assert_eq!(sender.with(|sender, _| sender.errors.clone()), [io::ErrorKind::ConnectionRefused]);
        let second = bound(&lp, &path).await?;
        sender.with(|_, cx| cx.send_to(b"!", Some(path.addr())))?;
        world.settle().await;
        assert_eq!(received(&second), [(b"!".to_vec(), None)]);
        Ok(())
    }

    /// D-05, D-06, D-23: a connected endpoint sends to its peer alone, an unconnected one needs an
    /// address.
    async fn a_connected_unix_endpoint_has_one_peer(world: World) -> io::Result<()> {
        let (lp, path, log) = (world.host("a"), SocketPath::new(), Log::new());
        let receiver = bound(&lp, &path).await?;
        let sender = connected(&lp, &path, &log).await?;
        assert_eq!(sender.transport().peername(), Some(path.addr()));
        let send = |to| sender.with(|_, cx| cx.send_to(b"x", to));
        send(None)?;
        send(Some(path.addr()))?;
        for (error, text) in [
            (send(Some(path.hidden())).unwrap_err(), "must be None or"),
            (receiver.with(|_, cx| cx.send_to(b"x", None)).unwrap_err(), "no remote address"),
            (receiver.with(|_, cx| cx.send_to(b"x", Some(UnixAddr::UNNAMED))).unwrap_err(), "unnamed"),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(error.to_string().contains(text), "{error}");
        }
        world.settle().await;
        assert_eq!(received(&receiver).len(), 2);
        assert_eq!(log.text(), "CM");
        Ok(())
    }

    /// D-07, D-09: errors of sending go to `error_received`, and the endpoint stays open: no such path, a
    /// datagram that is too long, a peer that hears of another alone, a peer that is gone.
    async fn unix_send_errors_cost_nothing(world: World) -> io::Result<()> {
        let (lp, path, other) = (world.host("a"), SocketPath::new(), SocketPath::new());
        let log = Log::new();
        let sender = unbound(&lp, &log).await?;
        sender.with(|_, cx| cx.send_to(b"x", Some(path.addr())))?;
        let receiver = bound(&lp, &path).await?;
        sender.with(|_, cx| cx.send_to(&vec![0; 300_000], Some(path.addr())))?;
        let peer = connected(&lp, &path, &log).await?;
        let exclusive = lp.unix_datagram().local(&other).remote(&path);
        let exclusive = exclusive.bind(|| Recorder::new(&Log::new())).await?;
        sender.with(|_, cx| cx.send_to(b"x", Some(other.addr())))?;
        sender.with(|_, cx| cx.send_to(b"fine", Some(path.addr())))?;
        world.settle().await;
        assert_eq!(received(&receiver), [(b"fine".to_vec(), None)]);
        let errors = sender.with(|sender, _| sender.errors.clone());
        assert_eq!((errors.len(), errors[0]), (3, io::ErrorKind::NotFound));
        assert_eq!(errors[2], io::ErrorKind::PermissionDenied);
        assert_eq!(received(&exclusive), []);
        receiver.transport().close();
        receiver.closed().await?;
        peer.with(|_, cx| cx.send_to(b"x", None))?;
        peer.with(|_, cx| cx.send_to(b"x", None))?;
        world.settle().await;
        let gone = [io::ErrorKind::ConnectionRefused, io::ErrorKind::NotConnected];
        assert_eq!(peer.with(|peer, _| peer.errors.clone()), gone);
        assert!(!peer.transport().is_closing());
        Ok(())
    }

    /// D-10, D-11, D-17, D-12: a receiver that rests fills up; senders queue behind it, hear of that, and
    /// go on when it reads: one that is connected, and one that is not.
    async fn a_full_unix_receiver_holds_its_senders_back(world: World) -> io::Result<()> {
        let (lp, path) = (world.host("a"), SocketPath::new());
        let (log, other_log) = (Log::new(), Log::new());
        let receiver = bound(&lp, &path).await?;
        receiver.transport().pause_reading();
        let sender = connected(&lp, &path, &log).await?;
        let other = unbound(&lp, &other_log).await?;
        for endpoint in [&sender, &other] {
            endpoint.transport().set_write_buffer_limits(WriteBufferLimits::from_high(100))?;
        }
        for number in 0..40_u8 {
            sender.with(|_, cx| cx.send_to(&[number; 8], None))?;
        }
        for number in 40..60_u8 {
            other.with(|_, cx| cx.send_to(&[number; 8], Some(path.addr())))?;
        }
        world.settle().await;
        assert_eq!((log.text(), other_log.text()), ("CM PW".into(), "CM PW".into()));
        let queued = sender.transport().write_buffer_size();
        assert!(queued % 16 == 0 && queued < 40 * 16 && queued > 100, "{queued}");
        assert_eq!(other.transport().write_buffer_size(), 20 * 16);
        receiver.transport().resume_reading();
        other.transport().close();
        sender.transport().close();
        other.closed().await?;
        sender.closed().await?;
        world.settle().await;
        assert_eq!((log.text(), other_log.text()), ("CM PW RW CL(None)".into(), "CM PW RW CL(None)".into()));
        let got: Vec<u8> = received(&receiver).iter().map(|(data, _)| data[0]).collect();
        let of = |numbers: std::ops::Range<u8>| {
            got.iter().copied().filter(|number| numbers.contains(number)).collect::<Vec<_>>()
        };
        assert_eq!((of(0..40), of(40..60)), ((0..40).collect(), (40..60).collect()));
        Ok(())
    }

    /// A-24, D-16: a protocol that sends again whenever a queued datagram fails has the loop to itself for no longer than
    /// its queue was long.
    async fn a_sender_that_always_tries_again_leaves_turns_to_others(world: World) -> io::Result<()> {
        let (lp, path, log) = (world.host("a"), SocketPath::new(), Log::new());
        let receiver = bound(&lp, &path).await?;
        receiver.transport().pause_reading();
        let sender = connected(&lp, &path, &log).await?;
        while sender.transport().write_buffer_size() < 30 {
            sender.with(|_, cx| cx.send_to(b"x", None))?;
        }
        sender.with(|sender, _| sender.tries = 1_000);
        receiver.transport().close();
        receiver.closed().await?;
        until(&world, "the last error", || sender.with(|sender, _| sender.tries == 0)).await;
        let turns = sender.with(|sender, _| sender.turns.get());
        assert!(turns > 100, "1000 errors in {turns} turns");
        world.settle().await;
        assert_eq!(sender.transport().write_buffer_size(), 0);
        assert!(!sender.transport().is_closing());
        Ok(())
    }

    /// D-13, D-14, D-15: an abort drops what is queued; what is sent after the close is dropped.
    async fn an_aborted_unix_endpoint_sends_no_more(world: World) -> io::Result<()> {
        let (lp, path, log) = (world.host("a"), SocketPath::new(), Log::new());
        let receiver = bound(&lp, &path).await?;
        receiver.transport().pause_reading();
        let sender = connected(&lp, &path, &log).await?;
        for _ in 0..40 {
            sender.with(|_, cx| cx.send_to(b"x", None))?;
        }
        let queued = sender.transport().write_buffer_size();
        sender.transport().abort();
        sender.with(|_, cx| cx.send_to(b"late", None))?;
        sender.closed().await?;
        receiver.transport().resume_reading();
        world.settle().await;
        assert_eq!(received(&receiver).len(), 40 - queued / 9);
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }
}
