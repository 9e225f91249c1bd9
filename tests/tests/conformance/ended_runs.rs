//! what a panic in one of the ends of a life leaves to the next run, where it ended the run.

use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use scenarios::certificates::Authority;
use sim_core::subprocess::{SubprocessProtocol, SubprocessTransport};
use sim_core::{
    BufferedProtocol, Conn, Cx, DatagramProtocol, DatagramTransport, EventLoop, PanicPolicy,
    Protocol, Server, Timer, WriteBufferLimits,
};
use tests::both_bare_loops;
use tests::recorder::{Log, Recorder};

use crate::loops::{ms, panic_of, run_for};

/// Logs its callbacks, and panics in one of them.
#[derive(Clone)]
struct Stumbles {
    log: Log,
    callback: &'static str,
}

impl Stumbles {
    fn new(log: &Log, callback: &'static str) -> Self {
        Self { log: log.clone(), callback }
    }

    fn hear(&self, callback: &str) {
        self.log.push(callback);
        assert_ne!(callback, self.callback);
    }
}

impl Protocol for Stumbles {
    fn connection_made(&mut self, _: &mut Cx<'_, Self>) {
        self.hear("CM");
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {
        self.hear("DR");
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self>, _: Option<io::Error>) {
        self.hear("CL");
    }
}

impl DatagramProtocol for Stumbles {
    fn connection_made(&mut self, _: &mut Cx<'_, Self, DatagramTransport>) {
        self.hear("CM");
    }

    fn datagram_received(
        &mut self,
        _: &mut Cx<'_, Self, DatagramTransport>,
        _: &[u8],
        _: SocketAddr,
    ) {
        self.hear("DG");
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self, DatagramTransport>, _: Option<io::Error>) {
        self.hear("CL");
    }
}

impl SubprocessProtocol for Stumbles {
    fn connection_made(&mut self, _: &mut Cx<'_, Self, SubprocessTransport>) {
        self.hear("CM");
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self, SubprocessTransport>, _: Option<io::Error>) {
        self.hear("CL");
    }
}

/// A loop on which a panic ends the run.
fn ending(lp: EventLoop) -> EventLoop {
    lp.set_panic_policy(PanicPolicy::EndRun);
    lp
}

/// Lets a run end by a panic of a protocol's.
#[track_caller]
fn run_into_a_panic(lp: &EventLoop) {
    assert!(catch_unwind(AssertUnwindSafe(|| lp.run_forever())).is_err());
}

/// A server that is closed, and has a connection whose client closes.
fn lost_by_its_client<P: Protocol>(
    lp: &EventLoop,
    factory: impl FnMut() -> P + 'static,
) -> (Server, sim_core::Task<io::Result<()>>) {
    let handle = (**lp).clone();
    let listen = async move { handle.create_server(("127.0.0.1", 0), factory).await };
    let server = lp.run_until_complete(listen).unwrap().unwrap();
    let (handle, closing) = ((**lp).clone(), server.clone());
    let client = lp.create_task(async move {
        let at = closing.sockets()[0];
        let client = handle.create_connection(at, || Recorder::new(&Log::new())).await?;
        while closing.connection_count() == 0 {
            handle.sleep(ms(1)).await;
        }
        closing.close();
        client.transport().close();
        client.closed().await
    });
    (server, client)
}

both_bare_loops! {
    /// A-18, C-11: a panic in `connection_lost` leaves nothing of its connection: the server has it no more, and who
    /// waits for the server's end hears of it.
    fn nothing_is_left_of_a_connection_behind_a_panic_in_its_loss(make: Make) {
        let (lp, log) = (ending(make.new_loop()), Log::new());
        let protocol = Stumbles::new(&log, "CL");
        let (server, client) = lost_by_its_client(&lp, move || protocol.clone());
        let waited = server.clone();
        let waiting = lp.create_task(async move { waited.wait_closed().await });
        run_into_a_panic(&lp);
        assert_eq!(server.connection_count(), 0);
        run_for(&lp, ms(50));
        assert!(waiting.done() && client.done());
        assert_eq!(log.text(), "CM CL");
    }

    /// A-18, C-11: what a protocol leaves behind may panic as well when it is dropped; the first panic ends the run.
    fn a_destructor_that_panics_behind_a_panic_in_a_loss_is_passed_over(make: Make) {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("the second");
            }
        }
        struct Leaves(Option<Timer>);
        impl Protocol for Leaves {
            fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
                let bomb = Bomb;
                self.0 = Some(cx.call_later(Duration::from_secs(3_600), move |_, _| drop(bomb)));
            }
            fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
            fn connection_lost(&mut self, _: &mut Cx<'_, Self>, _: Option<io::Error>) {
                panic!("the first");
            }
        }
        let lp = ending(make.new_loop());
        let (server, client) = lost_by_its_client(&lp, || Leaves(None));
        assert_eq!(panic_of(|| lp.run_forever()), "the first");
        assert_eq!(server.connection_count(), 0);
        run_for(&lp, ms(50));
        assert!(client.done());
    }

    /// A-18, F-25: the same of a connection over TLS, and a panic in its `connection_made` leaves who waits for the
    /// handshake a connection that works.
    fn a_connection_over_tls_lives_and_ends_behind_panics(make: Make) {
        let (lp, near, far) = (ending(make.new_loop()), Log::new(), Log::new());
        let mut authority = Authority::of(&lp);
        let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
        let (handle, protocol) = ((*lp).clone(), Stumbles::new(&far, "CL"));
        let listen = async move {
            handle.server().tls(&acceptor).bind(("127.0.0.1", 0), move || protocol.clone()).await
        };
        let server = lp.run_until_complete(listen).unwrap().unwrap();
        let (handle, at, protocol) =
            ((*lp).clone(), server.sockets()[0], Stumbles::new(&near, "CM"));
        let client = lp.create_task(async move {
            let connecting = handle.connection().tls(&connector, "server");
            connecting.connect(at, || protocol).await
        });
        run_into_a_panic(&lp);
        let client: Conn<Stumbles> = lp.run_until_complete(client).unwrap().unwrap().unwrap();
        client.transport().write(b"hello");
        run_for(&lp, ms(50));
        assert_eq!((near.text().as_str(), far.text().as_str()), ("CM", "CM DR"));
        client.transport().close();
        run_into_a_panic(&lp);
        assert_eq!(server.connection_count(), 0);
        lp.run_until_complete(client.closed()).unwrap().unwrap();
        assert_eq!((near.text().as_str(), far.text().as_str()), ("CM CL", "CM DR CL"));
    }

    /// A-18, F-12, F-16: nor does one in `resume_writing`, `data_received` or `eof_received` over TLS leave anything half
    /// done: what was written before the close is sent, and what came with the peer's goodbye has its end behind it.
    fn data_over_tls_goes_on_behind_panics(make: Make) {
        const SENT: usize = 4 << 20;
        for (callback, near_text) in [
            ("RW", "CM PW RW CL(None)"),
            ("DR", "CM DR ER CL(None)"),
            ("ER", "CM DR ER CL(None)"),
        ] {
            let (lp, near, far) = (ending(make.new_loop()), Log::new(), Log::new());
            let mut authority = Authority::of(&lp);
            let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
            let (handle, log) = ((*lp).clone(), far.clone());
            let speak = move || Recorder::new(&log).on_made(move |cx| {
                if callback != "RW" {
                    cx.write(b"words");
                    cx.close();
                }
            });
            let listen = async move {
                let server = handle.server().tls(&acceptor).bind(("127.0.0.1", 0), speak).await?;
                let at = server.sockets()[0];
                let stumble = move |here| assert_ne!(callback, here, "on purpose");
                let recorder = Recorder::new(&near)
                    .on_made(|cx| cx.pause_reading())
                    .on_data(move |_, _| stumble("DR"))
                    .on_eof(move |_| stumble("ER"))
                    .on_resume(move |_| stumble("RW"));
                let connecting = handle.connection().tls(&connector, "server");
                let conn = connecting.connect(at, || recorder).await?;
                // Its end has come, too.
                while callback != "RW" && far.count("CM") == 0 {
                    handle.sleep(ms(1)).await;
                }
                handle.sleep(ms(20)).await;
                Ok::<_, io::Error>((server, conn, near, far))
            };
            let (server, conn, near, far) = lp.run_until_complete(listen).unwrap().unwrap();
            if callback == "RW" {
                let limits = WriteBufferLimits::from_high(0);
                conn.transport().set_write_buffer_limits(limits).unwrap();
                conn.transport().write(&vec![b'x'; SENT]);
                lp.call_soon({
                    let transport = conn.transport().clone();
                    move || transport.close()
                });
            } else {
                conn.transport().resume_reading();
            }
            run_into_a_panic(&lp);
            let lost = lp.run_until_complete(conn.closed()).unwrap();
            assert!(lost.is_ok(), "{callback}: {lost:?} {near:?} {far:?}");
            assert_eq!(near.text(), near_text, "{callback}");
            drop(server);
        }
    }

    /// A-18, F-32: a panic in `buffer_updated` over TLS costs what it is about, and what is behind that is delivered.
    fn a_buffer_over_tls_is_filled_on_behind_a_panic(make: Make) {
        #[derive(Default)]
        struct Small([u8; 2], Vec<u8>);
        impl BufferedProtocol for Small {
            fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
                cx.pause_reading();
            }
            fn get_buffer(&mut self, _: &mut Cx<'_, Self>, _: usize) -> &mut [u8] {
                &mut self.0
            }
            fn buffer_updated(&mut self, _: &mut Cx<'_, Self>, bytes: usize) {
                self.1.extend(&self.0[..bytes]);
                assert_ne!(self.1, b"wo", "on purpose");
            }
        }
        let lp = ending(make.new_loop());
        let mut authority = Authority::of(&lp);
        let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
        let handle = (*lp).clone();
        let connect = async move {
            let speak = || Recorder::new(&Log::new()).on_made(|cx| cx.write(b"words"));
            let server = handle.server().tls(&acceptor).bind(("127.0.0.1", 0), speak).await?;
            let connecting = handle.connection().tls(&connector, "server");
            let conn = connecting.connect(server.sockets()[0], Small::default).await?;
            handle.sleep(ms(20)).await;
            Ok::<_, io::Error>((server, conn))
        };
        let (_server, conn) = lp.run_until_complete(connect).unwrap().unwrap();
        conn.transport().resume_reading();
        run_into_a_panic(&lp);
        run_for(&lp, ms(50));
        assert_eq!(conn.with(|small, _| small.1.clone()), b"words");
    }

    /// A-18, D-01, D-13: an endpoint is there for who waits for it behind a panic in its `connection_made`, and is
    /// gone behind one in its loss.
    fn an_endpoint_lives_and_ends_behind_panics(make: Make) {
        for callback in ["CM", "CL"] {
            let (lp, log) = (ending(make.new_loop()), Log::new());
            let (handle, protocol) = ((*lp).clone(), Stumbles::new(&log, callback));
            let endpoint = lp.create_task(async move {
                let endpoint =
                    handle.datagram().local(("127.0.0.1", 0)).bind(|| protocol).await?;
                let own = endpoint.transport().sockname();
                endpoint.transport().send_to(b"to me", own)?;
                while endpoint.with(|this, _| this.log.count("DG")) == 0 {
                    handle.sleep(ms(1)).await;
                }
                endpoint.transport().close();
                endpoint.closed().await
            });
            run_into_a_panic(&lp);
            lp.run_until_complete(endpoint).unwrap().unwrap().unwrap();
            assert_eq!(log.text(), "CM DG CL");
        }
    }
}

/// A-18, G-20: a child is there for who waits for its start behind a panic in `connection_made`, and is gone behind one
/// in `connection_lost`.
#[test]
// on: real
fn a_child_lives_and_ends_behind_panics() {
    for callback in ["CM", "CL"] {
        let (lp, log) = (ending(real_net::new_loop().unwrap()), Log::new());
        let (handle, protocol) = ((*lp).clone(), Stumbles::new(&log, callback));
        let child = lp.create_task(async move {
            let child = handle.subprocess_exec("true", [""; 0]).connect(|| protocol).await?;
            child.closed().await
        });
        run_into_a_panic(&lp);
        run_for(&lp, ms(500));
        assert!(child.done(), "{callback}");
        assert_eq!(log.text(), "CM CL");
    }
}
