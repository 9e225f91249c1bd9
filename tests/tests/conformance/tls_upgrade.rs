//! TLS that comes in the middle of a connection, over streams, and for buffered protocols (F, H.1).

use std::io;
use std::time::Duration;

use sim_core::stream::{StreamProtocol, serving};
use sim_core::tls::TlsAcceptor;
use sim_core::{Conn, Cx, Protocol, World, WriteBufferLimits};
use tests::both_loops;
use tests::recorder::{BufferedRecorder, Log, Recorder};

use crate::tls::{Secured, Sides, plain, until};

/// A server that says `220` and becomes TLS at `STARTTLS`, whatever came behind it.
struct Upgrading {
    log: Log,
    acceptor: TlsAcceptor,
    data: Vec<u8>,
}

impl Protocol for Upgrading {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        self.log.push("CM");
        cx.write(b"220\n");
    }

    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        self.log.push(if cx.is_layered() { "secret" } else { "plain" });
        self.data.extend_from_slice(data);
        if cx.is_layered() {
            cx.write(b"echo: ");
            cx.write(data);
        } else if let Some(received) = self.data.strip_prefix(b"STARTTLS\n") {
            let upgrade = cx.start_layer(self.acceptor.clone(), received);
            self.data.clear();
            cx.spawn(upgrade, |this, _, outcome| {
                let outcome = outcome
                    .map_or_else(|error| format!("{:?}", error.kind()), |()| "upgraded".into());
                this.log.push(outcome);
            });
        }
    }

    fn connection_lost(&mut self, _: &mut Cx<'_, Self>, error: Option<io::Error>) {
        self.log.push(tests::recorder::lost_text(error.as_ref()));
    }
}

/// A plain connection to a server that is about to become TLS.
async fn before(world: &World, sides: &Sides) -> io::Result<Conn<Recorder>> {
    let (log, acceptor) = (sides.far.clone(), sides.acceptor.clone());
    let factory =
        move || Upgrading { log: log.clone(), acceptor: acceptor.clone(), data: Vec::new() };
    let server = sides.server.create_server(("server", 25), factory).await?;
    let near =
        sides.client.create_connection(("server", 25), || Recorder::new(&sides.near)).await?;
    until(world, "the greeting", || near.with(|near, _| near.data == b"220\n")).await;
    server.close();
    Ok(near)
}

both_loops! {
    /// F-28: the protocol stays, and so does its handle; `connection_made` does not come again, and data is secret from
    /// then on.
    async fn a_connection_becomes_tls(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let near = before(&world, &sides).await?;
        near.with(|near, cx| { near.data.clear(); cx.write(b"STARTTLS\n"); });
        world.settle().await;
        let transport = near.transport().clone();
        let upgrade = transport.start_tls(sides.connector.to("server"));
        assert!(transport.is_layered() && transport.tls().is_none());
        transport.write(b"written before the handshake; ");
        upgrade.await?;
        assert!(transport.tls().is_some() && transport == *near.transport());
        near.with(|_, cx| cx.write(b"and after it"));
        let expected = |data: &[u8]| data.strip_prefix(b"echo: ").is_some_and(|data| data.ends_with(b"after it"));
        until(&world, "the echo", || near.with(|near, _| expected(&near.data))).await;
        transport.close();
        near.closed().await?;
        assert_eq!(sides.near.text(), "CM DR CL(None)");
        until(&world, "the end", || sides.far.text().ends_with("CL(None)")).await;
        assert!(sides.far.text().starts_with("CM plain upgraded secret"), "{:?}", sides.far);
        Ok(())
    }

    /// F-30, J-47: who waits for the upgrade runs before the first data of it, even if both come in one piece.
    async fn who_waits_for_the_upgrade_runs_before_its_first_data(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let near = before(&world, &sides).await?;
        near.with(|_, cx| cx.write(b"STARTTLS\n"));
        let upgrade = near.transport().start_tls(sides.connector.to("server"));
        // It travels with the last of the handshake.
        near.transport().write(b"at once");
        upgrade.await?;
        until(&world, "the data", || sides.far.count("secret") > 0).await;
        assert_eq!(sides.far.text(), "CM plain upgraded secret");
        Ok(())
    }

    /// F-31, J-46: what the plain protocol received of the handshake already is handed back.
    async fn a_hello_that_came_early_is_not_lost(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let near = before(&world, &sides).await?;
        // Both in one segment, most likely, and in any case before the server has turned around.
        near.transport().pause_reading();
        near.transport().write(b"STARTTLS\n");
        let upgrade = near.transport().start_tls(sides.connector.to("server"));
        upgrade.await?;
        near.transport().write(b"hello");
        until(&world, "the echo", || near.with(|near, _| near.data.ends_with(b"echo: hello"))).await;
        Ok(())
    }

    /// F-29: an upgrade that fails closes the connection; the task gets the error, and the protocol too.
    async fn a_failed_upgrade_closes_the_connection(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let near = before(&world, &sides).await?;
        near.with(|_, cx| cx.write(b"STARTTLS\n"));
        let error = near.transport().start_tls(sides.connector.to("elsewhere")).await.unwrap_err();
        assert!(error.to_string().contains("certificate verify failed"), "{error}");
        assert!(near.closed().await.is_err());
        assert_eq!(sides.near.text(), "CM DR CL(InvalidData)");
        until(&world, "the end", || sides.far.text().contains("CL(")).await;
        assert!(sides.far.text().starts_with("CM plain InvalidData CL"), "{:?}", sides.far);
        let error = near.transport().start_tls(sides.connector.to("server")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotConnected);
        Ok(())
    }

    /// F-06, F-28: an upgrade that is dropped aborts the connection, and the protocol hears of that.
    async fn an_upgrade_that_is_given_up_aborts(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let near = before(&world, &sides).await?;
        drop(near.transport().start_tls(sides.connector.to("server")));
        near.closed().await?;
        assert_eq!(sides.near.text(), "CM DR CL(None)");
        until(&world, "the reset", || sides.far.text() == "CM CL(ConnectionReset)").await;
        Ok(())
    }

    /// F-29: TLS in TLS.
    async fn tls_lies_upon_tls(world: World) -> io::Result<()> {
        let mut sides = Sides::of(&world);
        let inner = sides.authority.acceptor("inner");
        let upgrade = move |far: Recorder| {
            let inner = inner.clone();
            far.on_data(move |cx, data| if let Some(received) = data.strip_prefix(b"go") {
                let upgrade = cx.start_layer(inner.clone(), received);
                cx.spawn(upgrade, |_, cx, outcome| { outcome.unwrap(); cx.write(b"twice as secret"); });
            })
        };
        let Secured { near, far, .. } = sides.connect(plain, upgrade).await?;
        near.transport().write(b"go");
        near.transport().start_tls(sides.connector.to("inner")).await?;
        assert_eq!(near.transport().tls().unwrap().server_name.as_deref(), Some("inner"));
        let body = vec![b'x'; 3 << 20];
        near.transport().write(&body);
        until(&world, "the answer", || near.with(|near, _| near.data == b"twice as secret")).await;
        near.transport().close();
        near.closed().await?;
        far.closed().await?;
        assert!(far.with(|far, _| far.data.ends_with(&body)));
        assert!(sides.near.text().ends_with("CL(None)") && sides.near.count("CM") == 1, "{:?}", sides.near);
        assert!(sides.far.text().ends_with("DR ER CL(None)"), "{:?}", sides.far);
        Ok(())
    }

    /// H-14: a stream over TLS ends with the peer's half, and reads all of it before.
    async fn streams_go_over_tls(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let handler = serving(|mut reader, writer| async move {
            let line = reader.read_line().await.map_err(io::Error::from)?;
            writer.write(&line.to_ascii_uppercase());
            writer.drain().await?;
            writer.close();
            writer.wait_closed().await
        });
        let _server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), handler).await?;
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let conn = connecting.connect(("server", 443), StreamProtocol::new).await?;
        let (mut reader, writer) = StreamProtocol::split(&conn);
        assert!(!writer.can_write_eof());
        writer.write(b"hello\n");
        assert_eq!(reader.read_to_end().await?, b"HELLO\n");
        writer.wait_closed().await
    }

    /// F-31: an upgrade of a stream takes what its reader has of the handshake already; the halves stay.
    async fn a_stream_becomes_tls(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let acceptor = sides.acceptor.clone();
        let handler = serving(move |mut reader, writer| {
            let acceptor = acceptor.clone();
            async move {
                reader.read_line().await.map_err(io::Error::from)?;
                // By now the hello is in the reader.
                writer.transport().event_loop().sleep(Duration::from_millis(20)).await;
                writer.start_tls(&mut reader, acceptor).await?;
                let line = reader.read_line().await.map_err(io::Error::from)?;
                writer.write(&line.to_ascii_uppercase());
                writer.close();
                writer.wait_closed().await
            }
        });
        let _server = sides.server.create_server(("server", 25), handler).await?;
        let (mut reader, writer) = sides.client.open_connection(("server", 25)).await?;
        writer.write(b"STARTTLS\n");
        writer.start_tls(&mut reader, sides.connector.to("server")).await?;
        writer.write(b"hello\n");
        assert_eq!(reader.read_to_end().await?, b"HELLO\n");
        writer.wait_closed().await
    }

    /// F-31: an upgrade that cannot begin, since the peer has ended its half, leaves the reader
    /// what it has.
    async fn a_stream_that_cannot_become_tls_keeps_what_it_has(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let handler = serving(|mut reader, writer| async move {
            reader.read_line().await.map_err(io::Error::from)?;
            writer.write(b"451 no TLS\r\n");
            writer.write_eof();
            reader.read_to_end().await?;
            writer.close();
            writer.wait_closed().await
        });
        let _server = sides.server.create_server(("server", 25), handler).await?;
        let (mut reader, writer) = sides.client.open_connection(("server", 25)).await?;
        writer.write(b"STARTTLS\n");
        world.settle().await;
        world.sleep(Duration::from_millis(20)).await;
        let error = writer.start_tls(&mut reader, sides.connector.to("server")).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(!writer.transport().is_layered() && !writer.transport().is_closing());
        assert_eq!(reader.read_line().await.map_err(io::Error::from)?, b"451 no TLS\r\n");
        writer.close();
        writer.wait_closed().await
    }

    /// F-32, J-49, C-56: a buffered protocol gets what several records say, in buffers of its own size, and never a
    /// byte that was not put there.
    async fn a_buffered_protocol_is_filled(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let _server = {
            let (log, acceptor) = (sides.far.clone(), sides.acceptor.clone());
            let factory = move || Recorder::new(&log).on_made(|cx| {
                for record in [&b"one "[..], b"two ", b"three"] {
                    cx.write(record);
                }
            }).on_data(|cx, _| cx.close());
            sides.server.server().tls(&acceptor).bind(("server", 443), factory).await?
        };
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let near = connecting.connect(("server", 443), || BufferedRecorder::new(&sides.near, 3)).await?;
        until(&world, "the data", || near.with(|near, _| near.data == b"one two three")).await;
        let updated: usize = sides.near.entries().iter().filter_map(|entry| {
            entry.strip_prefix("BU(")?.strip_suffix(')')?.parse::<usize>().ok()
        }).sum();
        assert_eq!(updated, 13);
        near.with(|_, cx| cx.write(b"enough"));
        near.closed().await?;
        assert!(sides.near.text().ends_with("ER CL(None)"), "{:?}", sides.near);
        Ok(())
    }

    /// F-32, F-17, C-54: a pause in the middle holds the rest back.
    async fn a_pause_between_two_buffers_holds(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let log = sides.far.clone();
        let factory = move || Recorder::new(&log).on_made(|cx| cx.write(b"0123456789"));
        let _server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), factory).await?;
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let pausing = BufferedRecorder::new(&sides.near, 4).on_updated(|cx| cx.pause_reading());
        let near = connecting.connect(("server", 443), || pausing).await?;
        for expected in [4, 8, 10] {
            until(&world, "the next", || near.with(|near, _| near.data.len() == expected)).await;
            world.settle().await;
            assert_eq!(near.with(|near, _| near.data.len()), expected);
            near.transport().resume_reading();
        }
        assert_eq!(near.with(|near, _| near.data.clone()), b"0123456789");
        Ok(())
    }

    /// F-21, F-22, F-23: the water marks of TLS, and strictly above the high one; what was encrypted and handed on does
    /// not count.
    async fn writing_pauses_strictly_above_the_mark(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        let transport = near.transport();
        assert_eq!(transport.write_buffer_limits(), WriteBufferLimits { high: 512 << 10, low: 128 << 10 });
        transport.set_write_buffer_limits(WriteBufferLimits { high: 0, low: 0 })?;
        // Each goes down at once, so nothing waits and nothing pauses.
        for _ in 0..10 {
            transport.write(b"tiny");
            assert_eq!(transport.write_buffer_size(), 0);
        }
        world.settle().await;
        assert_eq!(sides.near.text(), "CM");
        transport.set_write_buffer_limits(WriteBufferLimits { high: 512 << 10, low: 128 << 10 })?;
        far.transport().pause_reading();
        // Kernels grow their buffers while they are asked to.
        let mut waiting = 0;
        while transport.write_buffer_size() == 0 || transport.write_buffer_size() != waiting {
            if transport.write_buffer_size() == 0 {
                transport.write(&[b'x'; 64 << 10]);
            }
            waiting = transport.write_buffer_size();
            world.settle().await;
            world.sleep(Duration::from_millis(10)).await;
        }
        let room = (512 << 10) - transport.write_buffer_size();
        transport.write(&vec![b'x'; room]);
        assert!(transport.is_writable());
        transport.write(b"x");
        assert!(!transport.is_writable());
        world.settle().await;
        assert_eq!(sides.near.text(), "CM PW");
        far.transport().resume_reading();
        until(&world, "the resume", || sides.near.count("RW") == 1).await;
        assert!(transport.write_buffer_size() <= 128 << 10);
        assert_eq!(sides.near.text(), "CM PW RW");
        Ok(())
    }

    /// F-21: a paused protocol holds its peer back, with little of what it sent in memory.
    async fn a_paused_protocol_holds_its_peer_back(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        near.transport().pause_reading();
        let body = vec![b'x'; 24 << 20];
        far.transport().write(&body);
        world.settle().await;
        world.sleep(Duration::from_millis(50)).await;
        assert!(far.transport().write_buffer_size() > 1 << 20, "{}", far.transport().write_buffer_size());
        near.transport().resume_reading();
        until(&world, "all of it", || near.with(|near, _| near.data.len()) == body.len()).await;
        Ok(())
    }
}
