//! Writing to streams, and serving them (H.2).

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures::io::AsyncWriteExt;
use sim_core::stream::{Duplex, StreamProtocol, StreamReader, StreamWriter, serving};
use sim_core::{Cancelled, ErrorContext, World, WriteBufferLimits};
use tests::both_loops;
use tests::harness::only;
use tests::recorder::Log;
use tests::socket_path::SocketPath;

use crate::loops::reports_of;
use crate::serving::Heard;
use crate::stream_readers::{Streamed, is_ready, streamed};

/// More than the buffers of both ends take.
const FLOOD: usize = 16 << 20;

/// Fills a stream whose peer does not read until writing is paused.
async fn filled(world: &World) -> io::Result<Streamed> {
    let stream = streamed(world, 100).await?;
    stream.peer.transport().pause_reading();
    stream.writer.write(&vec![b'x'; FLOOD]);
    world.settle().await;
    assert!(!stream.writer.transport().is_writable());
    Ok(stream)
}

both_loops! {
    contain;

    /// H-25: the connection of a handler that fails, panics or is cancelled is closed, whoever has its writer.
    async fn a_handler_that_does_not_end_well_takes_its_connection_along(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let heard = Heard::by(&server);
        let kept: Rc<RefCell<Vec<StreamWriter>>> = Rc::default();
        let keeps = Rc::clone(&kept);
        let handler = move |mut reader: StreamReader, writer| {
            keeps.borrow_mut().push(writer);
            async move {
                match &*reader.read_line().await? {
                    b"fail\n" => Err(io::Error::other("as asked")),
                    b"panic\n" => panic!("as asked"),
                    _ => Cancelled::default().raise::<io::Result<()>>().await,
                }
            }
        };
        let listening = server.start_server(("server", 0), handler).await?;
        for how in ["fail", "panic", "cancel"] {
            let (mut reader, writer) = client.open_connection(listening.sockets()[0]).await?;
            writer.write(format!("{how}\n").as_bytes());
            let rest = client.timeout(Duration::from_secs(60), reader.read_to_end()).await;
            assert_eq!(rest.expect(how)?, b"");
        }
        let numbers: Vec<u32> = kept.take().iter().map(|writer| writer.transport().number()).collect();
        let reports = heard.take();
        assert_eq!(numbers.len(), 3);
        assert_eq!(
            reports.iter().map(ErrorContext::to_string).collect::<Vec<_>>(),
            [
                format!("Unhandled exception in client_connected_cb: as asked (transport #{}, {})", numbers[0], std::any::type_name::<StreamProtocol>()),
                "Exception in task: panicked: as asked (task stream handler)".to_owned(),
            ],
        );
        Ok(())
    }
}

both_loops! {
    /// H-20: a drain waits while writing is paused, and not at all otherwise.
    async fn a_drain_waits_for_room(world: World) -> io::Result<()> {
        let Streamed { lp, writer, peer, reader, .. } = filled(&world).await?;
        let drained = Log::new();
        let noted = drained.clone();
        let task = lp.create_task(async move {
            let outcome = writer.drain().await;
            noted.push("drained");
            outcome.map(|()| writer)
        });
        world.settle().await;
        assert_eq!(drained.text(), "");
        peer.transport().resume_reading();
        let writer = task.await.expect("nobody cancels it")?;
        assert!(writer.transport().write_buffer_size() <= writer.transport().write_buffer_limits().low);
        writer.drain().await?;
        drop(reader);
        Ok(())
    }

    /// H-20: a drain after the end of a stream that has room does not wait.
    async fn a_drain_does_not_wait_for_the_end(world: World) -> io::Result<()> {
        let Streamed { mut writer, reader, .. } = streamed(&world, 100).await?;
        writer.write(b"last");
        writer.write_eof();
        assert!(is_ready(writer.drain()).await);
        assert!(is_ready(writer.flush()).await);
        world.settle().await;
        writer.drain().await?;
        assert!(!writer.is_closing());
        drop(reader);
        Ok(())
    }

    /// H-20, H-24, J-17: a loop that writes to a connection which is closing, and drains, waits for the loss and ends
    /// with it, although there is room.
    async fn a_drain_of_a_closing_stream_waits_for_the_loss(world: World) -> io::Result<()> {
        let Streamed { lp, writer, peer, reader, .. } = streamed(&world, 100).await?;
        peer.transport().pause_reading();
        writer.transport().set_write_buffer_limits(WriteBufferLimits::new(2 * FLOOD, 0)?)?;
        writer.write(&vec![b'x'; FLOOD]);
        world.settle().await;
        writer.close();
        let rounds = Rc::new(Cell::new(0));
        let count = Rc::clone(&rounds);
        let task = lp.create_task(async move {
            loop {
                count.set(count.get() + 1);
                writer.write(b"more");
                if let Err(error) = writer.drain().await {
                    return error.kind();
                }
            }
        });
        world.settle().await;
        assert_eq!(rounds.get(), 1);
        peer.transport().resume_reading();
        assert_eq!(task.await.unwrap(), io::ErrorKind::ConnectionReset);
        assert!(rounds.get() <= 2, "{} rounds", rounds.get());
        drop(reader);
        Ok(())
    }

    /// H-21, J-16: several drains end together; one that is given up takes nothing from the others.
    async fn several_drains_end_together(world: World) -> io::Result<()> {
        let Streamed { lp, writer, peer, reader, .. } = filled(&world).await?;
        let writer = Rc::new(writer);
        let drains: Vec<_> = (0..3)
            .map(|_| {
                let writer = Rc::clone(&writer);
                lp.create_task(async move { writer.drain().await })
            })
            .collect();
        world.settle().await;
        drains[1].cancel();
        peer.transport().resume_reading();
        let mut drains = drains.into_iter();
        drains.next().unwrap().await.unwrap()?;
        assert!(drains.next().unwrap().await.is_err());
        drains.next().unwrap().await.unwrap()?;
        drop(reader);
        Ok(())
    }

    /// H-22: a drain that waits when the connection is closed ends in an error, since data were lost; those that
    /// begin afterwards do, too.
    async fn a_drain_that_is_cut_off_says_so(world: World) -> io::Result<()> {
        let Streamed { lp, writer, reader, .. } = filled(&world).await?;
        let writer = Rc::new(writer);
        let waits = Rc::clone(&writer);
        let task = lp.create_task(async move { waits.drain().await });
        world.settle().await;
        writer.transport().abort();
        assert_eq!(task.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        writer.wait_closed().await?;
        assert_eq!(writer.drain().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        drop(reader);
        Ok(())
    }

    /// H-20, H-21, C-91: a drain that finds room has found it, though the connection, which was closed meanwhile, ends
    /// with the same write; one that began when it was closing hears of the loss.
    async fn a_drain_is_not_cut_off_by_an_end_that_loses_nothing(world: World) -> io::Result<()> {
        for closes_first in [false, true] {
            let Streamed { lp, writer, peer, reader, .. } = filled(&world).await?;
            writer.transport().set_write_buffer_limits(WriteBufferLimits::new(1, 0)?)?;
            let writer = Rc::new(writer);
            let waits = Rc::clone(&writer);
            if closes_first {
                writer.close();
            }
            let task = lp.create_task(async move { waits.drain().await.map_err(|error| error.kind()) });
            world.settle().await;
            writer.close();
            peer.transport().resume_reading();
            let expected = if closes_first { Err(io::ErrorKind::ConnectionReset) } else { Ok(()) };
            assert_eq!(task.await.unwrap(), expected);
            writer.wait_closed().await?;
            drop(reader);
        }
        Ok(())
    }

    /// H-23: whoever waits when the connection is lost with an error hears of it, again and again.
    async fn an_error_reaches_all_that_wait(world: World) -> io::Result<()> {
        let Streamed { lp, mut reader, writer, peer, .. } = filled(&world).await?;
        let writer = Rc::new(writer);
        let waits = Rc::clone(&writer);
        let draining = lp.create_task(async move { waits.drain().await.map_err(|error| error.kind()) });
        let reading = lp.create_task(async move { reader.read(1).await.map_err(|error| error.kind()) });
        world.settle().await;
        peer.transport().abort();
        assert_eq!(draining.await.unwrap(), Err(io::ErrorKind::ConnectionReset));
        assert_eq!(reading.await.unwrap(), Err(io::ErrorKind::ConnectionReset));
        for _ in 0..2 {
            assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
            assert_eq!(writer.drain().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        }
        Ok(())
    }

    /// H-20, H-24, J-17: a loop that writes and drains ends when its peer is gone.
    async fn writing_to_a_dead_peer_ends(world: World) -> io::Result<()> {
        let Streamed { writer, peer, reader, .. } = streamed(&world, 100).await?;
        peer.transport().abort();
        let mut rounds = 0;
        while writer.drain().await.is_ok() {
            writer.write(b"are you there?");
            world.settle().await;
            rounds += 1;
            assert!(rounds < 100, "it spins");
        }
        let Streamed { writer, reader: other, .. } = streamed(&world, 100).await?;
        writer.close();
        writer.wait_closed().await?;
        assert_eq!(writer.drain().await.unwrap_err().to_string(), "Connection lost");
        drop((reader, other));
        Ok(())
    }

    /// H-25: a server runs a task for each connection; its error is reported, and its connection closed.
    async fn a_handler_that_fails_is_reported(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let reports = reports_of(&server);
        let handler = |mut reader: StreamReader, writer: StreamWriter| async move {
            let line = reader.read_line().await?;
            if line == b"fail\n" {
                return Err(io::Error::other("as asked"));
            }
            writer.write(&line);
            writer.drain().await?;
            writer.close();
            writer.wait_closed().await
        };
        let listening = server.start_server(("server", 0), handler).await?;
        let addr = listening.sockets()[0];
        for (line, answer) in [("hello\n", "hello\n"), ("fail\n", ""), ("again\n", "again\n")] {
            let (mut reader, writer) = client.open_connection(addr).await?;
            writer.write(line.as_bytes());
            assert_eq!(reader.read_to_end().await?, answer.as_bytes());
        }
        assert_eq!(reports.text(), "Unhandled exception in client_connected_cb");
        Ok(())
    }

    /// H-25: a handler that ends well leaves its connection to whoever has the writer.
    async fn a_handler_that_ends_well_leaves_its_connection_open(world: World) -> io::Result<()> {
        let (server, client) = (world.host("server"), world.host("client"));
        let kept: Rc<RefCell<Vec<StreamWriter>>> = Rc::default();
        let keeps = Rc::clone(&kept);
        let handler = move |_, writer| {
            keeps.borrow_mut().push(writer);
            async { io::Result::Ok(()) }
        };
        let listening = server.start_server(("server", 0), handler).await?;
        let (mut reader, _writer) = client.open_connection(listening.sockets()[0]).await?;
        world.settle().await;
        let writer = only(kept.take());
        writer.write(b"later");
        assert_eq!(reader.read_exact(5).await?, b"later");
        assert!(!writer.is_closing());
        Ok(())
    }

    /// H-25: a server with options, and over a Unix socket.
    async fn streams_over_unix_sockets(world: World) -> io::Result<()> {
        let lp = world.host("server");
        let path = SocketPath::new().hidden();
        let echo = |mut reader: StreamReader, writer: StreamWriter| async move {
            let all = reader.read_to_end().await?;
            writer.write(&all);
            io::Result::Ok(())
        };
        let listening = lp.server().backlog(5).bind_unix(path.clone(), serving(echo))?;
        let (mut reader, writer) = lp.open_unix_connection(path).await?;
        writer.writelines([b"one ", b"two "]);
        writer.write_eof();
        assert_eq!(reader.read_to_end().await?, b"one two ");
        listening.close();
        Ok(())
    }

    /// H-26: dropping a writer that nobody closed closes the connection, after what was written.
    async fn dropping_a_writer_closes_it(world: World) -> io::Result<()> {
        let Streamed { writer, peer, heard, reader, .. } = streamed(&world, 100).await?;
        writer.write(b"last words");
        drop(writer);
        drop(reader);
        peer.closed().await?;
        assert_eq!(heard.text(), "CM DR ER CL(None)");
        assert_eq!(peer.with(|peer, _| peer.data.clone()), b"last words");
        Ok(())
    }

    /// H-20: the traits of the ecosystem write as the writer does: they wait for room, and end in an error when
    /// nothing can be sent.
    async fn the_traits_of_futures_write_the_same(world: World) -> io::Result<()> {
        let Streamed { lp, reader, writer, peer, .. } = streamed(&world, 100).await?;
        writer.transport().set_write_buffer_limits(WriteBufferLimits { low: 10, high: 100 })?;
        let mut stream = Duplex::new(reader, writer);
        peer.transport().pause_reading();
        let body = vec![b'z'; FLOOD];
        let length = body.len();
        let writing = lp.create_task(async move {
            for chunk in body.chunks(10_000) {
                stream.write_all(chunk).await?;
            }
            stream.flush().await?;
            stream.close().await?;
            assert_eq!(stream.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
            io::Result::Ok(stream)
        });
        world.settle().await;
        assert!(!writing.done(), "it waits for room");
        peer.transport().resume_reading();
        let stream = writing.await.expect("nobody cancels it")?;
        lp.timeout(Duration::from_secs(60), peer.closed()).await??;
        assert_eq!(peer.with(|peer, _| peer.data.len()), length);
        let (mut reader, writer) = stream.into_halves();
        assert_eq!(reader.read(1).await?, b"");
        writer.close();
        Ok(())
    }

    /// H-22: the traits of the ecosystem end in an error, too, where the end was written or the connection given up
    /// behind their backs.
    async fn the_traits_of_futures_notice_what_the_transport_did(world: World) -> io::Result<()> {
        let Streamed { mut writer, reader, .. } = streamed(&world, 100).await?;
        writer.transport().write_eof();
        let written = writer.write_all(b"more").await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        drop((writer, reader));

        let Streamed { mut writer, reader, .. } = filled(&world).await?;
        writer.transport().abort();
        for _ in 0..2 {
            let flushed = writer.flush().await;
            assert_eq!(flushed.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
            world.settle().await;
        }
        drop(reader);
        Ok(())
    }
}
