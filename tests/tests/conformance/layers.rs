//! A layer that is not TLS: the seam itself.

use std::io;
use std::time::Duration;

use sim_core::Loop;
use sim_core::layer::{Layer, LayerFactory, LayerOptions};
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::tls::until;

/// Turns every byte around; `!` is the goodbye.
#[derive(Default)]
struct Inverted {
    output: Vec<u8>,
    closed: bool,
}

const GOODBYE: u8 = !b'!';

impl Layer for Inverted {
    fn receive(&mut self, below: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        let end = below.iter().position(|&byte| byte == GOODBYE);
        self.closed |= end.is_some();
        let said = &below[..end.unwrap_or(below.len())];
        plain.extend(said.iter().map(|byte| !byte));
        if said.contains(&!b'?') {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no questions"));
        }
        Ok(())
    }

    fn send(&mut self, plain: &[u8], below: &mut Vec<u8>) -> io::Result<()> {
        below.extend(plain.iter().map(|byte| !byte));
        Ok(())
    }

    fn take_output(&mut self, below: &mut Vec<u8>) {
        below.append(&mut self.output);
    }

    fn is_handshaking(&self) -> bool {
        false
    }

    fn close(&mut self) {
        self.output.push(GOODBYE);
    }

    fn is_closed_by_peer(&self) -> bool {
        self.closed
    }
}

struct Inversion;

impl LayerFactory for Inversion {
    fn make(&self, _: &Loop, _: u32) -> io::Result<Box<dyn Layer>> {
        Ok(Box::<Inverted>::default())
    }
}

/// A layer that panics in one of its calls.
#[derive(Clone, Copy)]
struct Stumbling(&'static str);

struct StumblingLayer(&'static str, Inverted);

impl LayerFactory for Stumbling {
    fn make(&self, _: &Loop, _: u32) -> io::Result<Box<dyn Layer>> {
        assert_ne!(self.0, "make", "on purpose");
        Ok(Box::new(StumblingLayer(self.0, Inverted::default())))
    }

    fn options(&self) -> LayerOptions {
        assert_ne!(self.0, "options", "on purpose");
        LayerOptions::default()
    }
}

impl Layer for StumblingLayer {
    fn receive(&mut self, below: &[u8], plain: &mut Vec<u8>) -> io::Result<()> {
        assert_ne!(self.0, "receive", "on purpose");
        self.1.receive(below, plain)
    }

    fn send(&mut self, plain: &[u8], below: &mut Vec<u8>) -> io::Result<()> {
        assert_ne!(self.0, "send", "on purpose");
        self.1.send(plain, below)
    }

    fn take_output(&mut self, below: &mut Vec<u8>) {
        assert_ne!(self.0, "output", "on purpose");
        self.1.take_output(below);
    }

    fn is_handshaking(&self) -> bool {
        false
    }

    fn close(&mut self) {
        assert_ne!(self.0, "close", "on purpose");
        self.1.close();
    }

    fn is_closed_by_peer(&self) -> bool {
        self.1.is_closed_by_peer()
    }
}

both_loops! { contain;
    /// F-03, F-29: a layer that panics before its handshake is over is one that fails: who waits for it gets an error.
    async fn a_layer_that_panics_in_its_handshake_fails(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        for place in ["make", "options", "output"] {
            let (near, far) = (Log::new(), Log::new());
            let listening = {
                let log = far.clone();
                server.create_server(("server", 0), move || Recorder::new(&log)).await?
            };
            let at = ("server", listening.sockets()[0].port());
            let connecting = client.connection().layer(Stumbling(place));
            let connected = world.timeout(Duration::from_secs(5), connecting.connect(at, || Recorder::new(&near))).await;
            let error = connected.expect("nobody waits for ever").unwrap_err();
            assert_eq!((error.kind(), near.text()), (io::ErrorKind::Other, String::new()), "{place}");
            let conn = client.create_connection(at, || Recorder::new(&near)).await?;
            let upgrade = conn.transport().start_layer(Stumbling(place), &[]);
            let upgraded = world.timeout(Duration::from_secs(5), upgrade).await.expect("nobody waits for ever");
            assert_eq!(upgraded.unwrap_err().kind(), io::ErrorKind::Other, "{place}");
            assert_eq!(conn.closed().await.unwrap_err().kind(), io::ErrorKind::Other);
            assert_eq!(near.text(), "CM CL(Other)");
            until(&world, "the end", || far.count("CM") == far.text().matches("CL").count()).await;
        }
        Ok(())
    }

    /// F-24, F-33: one that panics later takes its connection along, wherever it is at work: nothing can be sent or
    /// received without it.
    async fn a_layer_that_panics_later_takes_its_connection_along(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        for place in ["receive", "send", "close"] {
            let (near, far) = (Log::new(), Log::new());
            let log = far.clone();
            let speak = move || Recorder::new(&log).on_made(|cx| cx.write(b"words"));
            let listening = server.create_server(("server", 0), speak).await?;
            let connecting = client.connection().layer(Stumbling(place));
            let at = ("server", listening.sockets()[0].port());
            let conn = connecting.connect(at, || Recorder::new(&near).on_made(|cx| cx.pause_reading())).await?;
            world.settle().await;
            world.sleep(Duration::from_millis(20)).await;
            let transport = conn.transport().clone();
            match place {
                // It is opened in the next turn.
                "receive" => transport.resume_reading(),
                "send" => drop(client.call_soon(move || transport.write(b"x"))),
                _ => drop(client.call_soon(move || transport.close())),
            }
            let lost = world.timeout(Duration::from_secs(5), conn.closed()).await.expect("it ends");
            assert_eq!(lost.unwrap_err().kind(), io::ErrorKind::Other, "{place}");
            assert_eq!(near.text(), "CM CL(Other)", "{place}");
            until(&world, "the end", || far.text().contains("CL")).await;
        }
        Ok(())
    }
}

both_loops! {
    /// F-02, F-11, F-24: a layer without a handshake; data, an end, and an error that it finds.
    async fn a_layer_of_ones_own(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        for (said, far_text, lost) in [
            ("hello", "CM DR ER CL(None)", None),
            ("hello?", "CM DR CL(InvalidData)", Some("no questions")),
        ] {
            let (near, far) = (Log::new(), Log::new());
            let log = far.clone();
            let listening = server.server().layer(Inversion).bind(("server", 0), move || Recorder::new(&log)).await?;
            let port = listening.sockets()[0].port();
            let connecting = client.connection().layer(Inversion);
            let conn = connecting.connect(("server", port), || Recorder::new(&near)).await?;
            assert!(conn.transport().is_layered() && conn.transport().tls().is_none());
            conn.transport().write(said.as_bytes());
            if lost.is_none() {
                conn.transport().close();
            }
            until(&world, "the end", || far.text().contains("CL")).await;
            assert_eq!(far.text(), far_text);
            conn.closed().await.ok();
            assert!(near.text().ends_with("CL(None)"), "{near:?}");
        }
        Ok(())
    }

    /// F-16, F-29: the goodbye of an outer layer ends nothing that the inner one still has for a protocol that has paused.
    async fn the_end_of_an_outer_layer_comes_behind_what_the_inner_one_has(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (near, far) = (Log::new(), Log::new());
        let log = far.clone();
        // Turned around twice, the words travel as they are.
        let speak = move || Recorder::new(&log).on_data(|cx, _| {
            cx.write(b"words");
            cx.write(&[GOODBYE]);
        });
        let listening = server.create_server(("server", 0), speak).await?;
        let port = listening.sockets()[0].port();
        let connecting = client.connection().layer(Inversion);
        let conn = connecting.connect(("server", port), || Recorder::new(&near)).await?;
        conn.transport().start_layer(Inversion, &[]).await?;
        conn.transport().pause_reading();
        conn.transport().write(b"speak");
        world.settle().await;
        world.sleep(Duration::from_millis(20)).await;
        assert_eq!((near.text(), conn.transport().is_closing()), ("CM".into(), false));
        conn.transport().resume_reading();
        conn.closed().await?;
        assert_eq!(conn.with(|near, _| near.data.clone()), b"words");
        assert_eq!(near.text(), "CM DR ER CL(None)");
        until(&world, "the end", || far.text().contains("CL")).await;
        Ok(())
    }
}
