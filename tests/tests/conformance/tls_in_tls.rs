//! TLS in TLS: what the end of the outer layer leaves to the inner one (F).

use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::tls::TlsConnector;
use sim_core::{Conn, LoopFuture, World};
use tests::both_loops;
use tests::recorder::Recorder;

use crate::tls::{Sides, until};
use crate::tls_relay::{Relay, relayed};

/// More than the buffers of both ends take.
const FLOOD: usize = 8 << 20;

/// A client's connection with TLS in TLS through a relay, and the server's end of it, which has said `words`.
struct Twice {
    near: Conn<Recorder>,
    far: Conn<Recorder>,
    relay: Rc<Relay>,
}

impl Twice {
    async fn connect(
        world: &World,
        sides: &mut Sides,
        inner: &TlsConnector,
        words: &'static [u8],
    ) -> io::Result<Self> {
        let acceptor = sides.authority.acceptor("inner");
        let announced: LoopFuture<Conn<Recorder>> = sides.server.create_future();
        let announce = announced.clone();
        let upgrade = move |far: Recorder| {
            let acceptor = acceptor.clone();
            far.announce(announce.clone()).on_data(move |cx, data| {
                if let Some(received) = data.strip_prefix(b"go") {
                    let upgrade = cx.start_layer(acceptor.clone(), received);
                    cx.spawn(upgrade, move |_, cx, outcome| {
                        outcome.expect("it becomes TLS in TLS");
                        cx.write(words);
                    });
                }
            })
        };
        let (near, relay) = relayed(world, sides, upgrade).await?;
        near.transport().write(b"go");
        near.transport().start_tls(inner.to("inner")).await?;
        let far = announced.await.map_err(io::Error::other)?;
        Ok(Self { near, far, relay })
    }
}

both_loops! {
    /// F-14, F-16, F-29: the connection below ends while reading is paused: what the inner layer has is delivered all the
    /// same, and the end is as the inner layer is asked to take it.
    async fn a_paused_reader_of_an_inner_layer_hears_all_before_the_end(world: World) -> io::Result<()> {
        for strict in [false, true] {
            let mut sides = Sides::of(&world);
            let inner = sides.connector.clone().require_close_notify(strict);
            let Twice { near, relay, .. } = Twice::connect(&world, &mut sides, &inner, b"all of it?").await?;
            near.transport().pause_reading();
            world.sleep(Duration::from_millis(50)).await;
            relay.end_towards_client(false);
            world.sleep(Duration::from_millis(50)).await;
            assert_eq!(sides.near.text(), "CM");
            near.transport().resume_reading();
            let outcome = near.closed().await;
            assert_eq!(near.with(|near, _| near.data.clone()), b"all of it?");
            let (kind, text) = if strict {
                (Some(io::ErrorKind::UnexpectedEof), "CM DR CL(UnexpectedEof)")
            } else {
                (None, "CM DR ER CL(None)")
            };
            assert_eq!(outcome.err().map(|error| error.kind()), kind);
            assert_eq!(sides.near.text(), text);
        }
        Ok(())
    }

    /// F-12, F-20, F-29: an inner layer sends what it has, though the other direction below has ended.
    async fn output_of_an_inner_layer_outlives_the_end_below(world: World) -> io::Result<()> {
        let mut sides = Sides::of(&world);
        let inner = sides.connector.clone();
        let Twice { near, far, relay } = Twice::connect(&world, &mut sides, &inner, b"over to you").await?;
        until(&world, "the words", || near.with(|near, _| !near.data.is_empty())).await;
        near.transport().write(&vec![b'x'; FLOOD]);
        assert!(near.transport().write_buffer_size() > 0);
        relay.end_towards_client(false);
        near.closed().await?;
        far.closed().await?;
        assert!(far.with(|far, _| far.data.ends_with(&vec![b'x'; FLOOD])));
        assert_eq!((sides.near.count("ER"), sides.near.count("CL(None)")), (1, 1), "{:?}", sides.near);
        Ok(())
    }
}
