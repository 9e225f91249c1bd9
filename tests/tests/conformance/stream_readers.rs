//! Reading from streams (H.1).

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures::StreamExt;
use futures::io::{AsyncBufReadExt, AsyncReadExt};
use sim_core::stream::{DEFAULT_LIMIT, ReadError, StreamProtocol, StreamReader, StreamWriter};
use sim_core::{Conn, Loop, LoopFuture, World, catch_cancel};
use tests::both_loops;
use tests::recorder::{Log, Recorder};

/// A stream, and its peer.
pub(crate) struct Streamed {
    pub(crate) lp: Loop,
    pub(crate) reader: StreamReader,
    pub(crate) writer: StreamWriter,
    pub(crate) peer: Conn<Recorder>,
    /// What the peer hears.
    pub(crate) heard: Log,
}

/// A stream whose reader keeps `limit` bytes, from host `client` to host `server`.
pub(crate) async fn streamed(world: &World, limit: usize) -> io::Result<Streamed> {
    let (server, lp) = (world.host("server"), world.host("client"));
    let (accepted, heard) = (server.create_future(), Log::new());
    let (announced, log): (LoopFuture<Conn<Recorder>>, Log) = (accepted.clone(), heard.clone());
    let make = move || Recorder::new(&log).announce(announced.clone());
    let listening = server.create_server(("server", 0), make).await?;
    let addr = listening.sockets()[0];
    let conn = lp.create_connection(addr, || StreamProtocol::with_limit(limit)).await?;
    let (reader, writer) = StreamProtocol::split(&conn);
    let peer = accepted.await?;
    listening.close();
    Ok(Streamed { lp, reader, writer, peer, heard })
}

thread_local! {
    /// What [`Inline`] polls.
    static READING: RefCell<Option<Pin<Box<dyn Future<Output = ()>>>>> = const { RefCell::new(None) };
}

/// A waker that does not wait for a turn.
struct Inline;

impl Inline {
    fn poll() {
        let Some(mut reading) = READING.take() else { return };
        let waker = Waker::from(Arc::new(Self));
        if reading.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            READING.set(Some(reading));
        }
    }
}

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        Self::poll();
    }
}

/// Polls once, and gives up: true if it was done.
pub(crate) async fn is_ready(future: impl Future) -> bool {
    let mut future = Box::pin(future);
    poll_fn(move |cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await
}

both_loops! {
    /// H-01: reading pauses when more than twice the limit waits, and goes on when the limit is left.
    async fn a_reader_holds_its_peer_back(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 10).await?;
        let transport = reader.transport().clone();
        peer.transport().write(&[b'x'; 20]);
        world.settle().await;
        assert!(transport.is_reading());
        peer.transport().write(b"y");
        world.settle().await;
        assert!(!transport.is_reading());
        assert_eq!(reader.read(10).await?.len(), 10);
        assert!(!transport.is_reading(), "11 are left");
        assert_eq!(reader.read(1).await?.len(), 1);
        assert!(transport.is_reading(), "10 are left");
        assert_eq!(reader.limit(), 10);
        let listening = world.host("server").create_server(("server", 0), StreamProtocol::new).await?;
        let (reader, _writer) = world.host("client").open_connection(listening.sockets()[0]).await?;
        assert_eq!(reader.limit(), DEFAULT_LIMIT);
        Ok(())
    }

    /// H-01: the largest limit there is holds nobody back.
    async fn a_limit_may_be_as_large_as_can_be(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, usize::MAX).await?;
        peer.transport().write(&[b'x'; 1 << 20]);
        peer.transport().write(b"\n");
        assert_eq!(reader.read_line().await?.len(), (1 << 20) + 1);
        Ok(())
    }

    /// H-02: a read that needs more than is kept does not wait for ever.
    async fn a_long_read_does_not_deadlock(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 10).await?;
        peer.transport().write(&[b'x'; 25]);
        world.settle().await;
        assert!(!reader.transport().is_reading());
        let more = peer.clone();
        world.host("server").call_soon(move || more.transport().write(&[b'y'; 75]));
        assert_eq!(reader.read_exact(100).await.map_err(io::Error::from)?.len(), 100);
        Ok(())
    }

    /// H-01, H-02: nor does one that goes on inside of its waker, as other executors may have it.
    async fn a_reader_that_is_polled_by_its_waker_reads_on(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 10).await?;
        let read = Log::new();
        let noted = read.clone();
        READING.set(Some(Box::pin(async move {
            let all = reader.read_to_end().await.expect("nothing is lost");
            noted.push(all.len().to_string());
        })));
        Inline::poll();
        for _ in 0..3 {
            peer.transport().write(&[b'x'; 100]);
            world.settle().await;
        }
        peer.transport().close();
        world.settle().await;
        READING.take();
        assert_eq!(read.text(), "300");
        Ok(())
    }

    /// H-04: a read takes what there is, at most what was asked for and whatever the limit; nothing of
    /// nothing, and at the end.
    async fn a_read_takes_what_there_is(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 4).await?;
        assert_eq!(reader.read(0).await?, b"");
        peer.transport().write(b"abcdef");
        world.settle().await;
        assert_eq!(reader.read(2).await?, b"ab");
        assert_eq!(reader.read(100).await?, b"cdef");
        peer.transport().write(&[b'x'; 1_000]);
        peer.transport().write_eof();
        assert_eq!(reader.read_to_end().await?, [b'x'; 1_000]);
        assert_eq!(reader.read(1).await?, b"");
        assert_eq!(reader.read_to_end().await?, b"");
        Ok(())
    }

    /// H-05: a read of a certain length that meets the end says what there was, and takes it.
    async fn a_read_of_a_length_says_what_there_was(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 100).await?;
        peer.transport().write(b"abcde");
        assert_eq!(reader.read_exact(0).await.unwrap(), b"");
        assert_eq!(reader.read_exact(2).await.unwrap(), b"ab");
        peer.transport().write_eof();
        match reader.read_exact(9).await {
            Err(ReadError::Incomplete { partial, expected: Some(9) }) => assert_eq!(partial, b"cde"),
            other => panic!("{other:?}"),
        }
        assert!(reader.at_eof());
        Ok(())
    }

    /// H-05, H-12: so does one into a buffer of the caller's, which changes when it is full and not before.
    async fn a_read_into_a_buffer_fills_it_or_leaves_it(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 3).await?;
        let mut buf = *b"____";
        reader.read_exact_into(&mut []).await.unwrap();
        peer.transport().write(b"abc");
        world.settle().await;
        assert!(!is_ready(reader.read_exact_into(&mut buf)).await);
        assert_eq!(&buf, b"____");
        peer.transport().write(b"defghi");
        reader.read_exact_into(&mut buf).await.unwrap();
        assert_eq!(&buf, b"abcd");
        peer.transport().write_eof();
        world.settle().await;
        reader.read_exact_into(&mut buf).await.unwrap();
        assert_eq!(&buf, b"efgh");
        match reader.read_exact_into(&mut buf).await {
            Err(ReadError::Incomplete { partial, expected: Some(4) }) => assert_eq!(partial, b"i"),
            other => panic!("{other:?}"),
        }
        assert_eq!(&buf, b"efgh");
        assert!(reader.at_eof());
        Ok(())
    }

    /// H-06: a separator may be of several bytes and come in pieces; what is before it may be as long as the
    /// limit.
    async fn a_separator_may_come_in_pieces(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 5).await?;
        assert!(matches!(reader.read_until(b"").await, Err(ReadError::EmptySeparator)));
        for piece in ["ab", "c\r", "\rde", "\r", "\n", "12345\r\n"] {
            peer.transport().write(piece.as_bytes());
            world.settle().await;
            if piece == "\n" {
                assert!(matches!(
                    reader.read_until(b"\r\n").await,
                    Err(ReadError::LimitOverrun { consumed: 7 })
                ));
                assert_eq!(reader.read_until(b"e\r\n").await.unwrap_err().to_string(),
                    "the separator does not come within the limit: 6 bytes are before it");
                assert_eq!(reader.read_exact(9).await.unwrap(), b"abc\r\rde\r\n");
            }
        }
        assert_eq!(reader.read_until(b"\r\n").await.unwrap(), b"12345\r\n");
        Ok(())
    }

    /// H-07: over the limit nothing is taken, and the error says how much certainly belongs before the
    /// separator: found or not.
    async fn over_the_limit_nothing_is_taken(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 5).await?;
        peer.transport().write(b"123456\r\n");
        world.settle().await;
        let overrun = reader.read_until(b"\r\n").await;
        assert!(matches!(overrun, Err(ReadError::LimitOverrun { consumed: 6 })), "{overrun:?}");
        assert_eq!(reader.read_exact(8).await.unwrap(), b"123456\r\n");
        peer.transport().write(b"1234567890");
        world.settle().await;
        let overrun = reader.read_until(b"\r\n").await;
        assert!(matches!(overrun, Err(ReadError::LimitOverrun { consumed: 9 })), "{overrun:?}");
        assert_eq!(reader.read(100).await?, b"1234567890");
        Ok(())
    }

    /// H-08: an end without the separator says what there was, and takes it.
    async fn an_end_without_the_separator_says_what_there_was(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 100).await?;
        peer.transport().write(b"no end");
        peer.transport().write_eof();
        match reader.read_until(b"\r\n").await {
            Err(ReadError::Incomplete { partial, expected: None }) => assert_eq!(partial, b"no end"),
            other => panic!("{other:?}"),
        }
        assert!(reader.at_eof());
        Ok(())
    }

    /// H-09: the last line may have no newline; one that is too long is dropped up to its newline, or whole if
    /// that has not come.
    async fn a_line_that_is_too_long_is_dropped(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 5).await?;
        peer.transport().write(b"1234567\nab\n");
        world.settle().await;
        assert!(matches!(reader.read_line().await, Err(ReadError::LineTooLong)));
        assert_eq!(reader.read_line().await.unwrap(), b"ab\n");
        peer.transport().write(b"123456789");
        world.settle().await;
        assert!(matches!(reader.read_line().await, Err(ReadError::LineTooLong)));
        peer.transport().write(b"cd");
        peer.transport().write_eof();
        assert_eq!(reader.read_line().await.unwrap(), b"cd");
        assert_eq!(reader.read_line().await.unwrap(), b"");
        Ok(())
    }

    /// H-10: the error that the connection was lost with beats what is left to read.
    async fn an_error_beats_what_is_left(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer, peer, .. } = streamed(&world, 100).await?;
        peer.transport().write(b"line\nmore");
        world.settle().await;
        assert_eq!(reader.read(1).await?, b"l");
        peer.transport().abort();
        assert_eq!(writer.wait_closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        let reset = io::ErrorKind::ConnectionReset;
        assert_eq!(reader.read(1).await.unwrap_err().kind(), reset);
        assert_eq!(reader.read(0).await.unwrap_err().kind(), reset);
        assert_eq!(AsyncReadExt::read(&mut reader, &mut []).await.unwrap_err().kind(), reset);
        assert_eq!(io::Error::from(reader.read_exact(0).await.unwrap_err()).kind(), reset);
        assert_eq!(reader.read_to_end().await.unwrap_err().kind(), reset);
        assert_eq!(io::Error::from(reader.read_exact(1).await.unwrap_err()).kind(), reset);
        assert_eq!(io::Error::from(reader.read_exact_into(&mut [0]).await.unwrap_err()).kind(), reset);
        assert_eq!(io::Error::from(reader.read_line().await.unwrap_err()).kind(), reset);
        Ok(())
    }

    /// H-11: the end wakes who reads; at the end means that nothing is left, either; data that came with the
    /// end come first.
    async fn the_end_comes_after_the_data(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 100).await?;
        peer.transport().write(b"last");
        peer.transport().write_eof();
        world.settle().await;
        assert!(!reader.at_eof());
        assert_eq!(reader.read(100).await?, b"last");
        assert!(reader.at_eof());
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 100).await?;
        let ends = peer.clone();
        world.host("server").call_soon(move || ends.transport().write_eof());
        assert_eq!(reader.read(100).await?, b"");
        Ok(())
    }

    /// H-12: a read that is given up takes nothing, and an error afterwards is told to the next.
    async fn a_read_that_is_given_up_takes_nothing(world: World) -> io::Result<()> {
        let Streamed { lp, mut reader, writer: _writer, peer, .. } = streamed(&world, 100).await?;
        peer.transport().write(b"half");
        world.settle().await;
        assert!(!is_ready(reader.read_exact(8)).await);
        assert!(!is_ready(reader.read_line()).await);
        let task = lp.create_task(async move {
            assert!(catch_cancel(reader.read_until(b"!")).await.is_err());
            let got = reader.read(100).await?;
            Ok::<_, io::Error>((got, reader.read(100).await.map_err(|error| error.kind())))
        });
        world.settle().await;
        task.cancel();
        world.settle().await;
        peer.transport().abort();
        let (got, error) = task.await.expect("it catches the cancellation")?;
        assert_eq!(got, b"half");
        assert_eq!(error, Err(io::ErrorKind::ConnectionReset));
        Ok(())
    }

    /// H-13: the lines of a stream, one after another, until it ends.
    async fn lines_come_one_after_another(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 100).await?;
        peer.transport().write(b"one\ntwo\n\nlast");
        peer.transport().write_eof();
        let lines: Vec<Vec<u8>> = reader.read_lines().map(Result::unwrap).collect().await;
        assert_eq!(lines, [&b"one\n"[..], b"two\n", b"\n", b"last"]);
        Ok(())
    }

    /// H-14: the end of the peer's half leaves a stream open for writing; it closes when its writer does.
    async fn the_peers_end_leaves_a_stream_open(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer, peer, heard, .. } = streamed(&world, 100).await?;
        peer.transport().write_eof();
        assert_eq!(reader.read_to_end().await?, b"");
        world.settle().await;
        assert!(!writer.is_closing());
        writer.write(b"still here");
        writer.close();
        writer.wait_closed().await?;
        peer.closed().await?;
        assert_eq!(peer.with(|peer, _| peer.data.clone()), b"still here");
        assert_eq!(heard.text(), "CM DR ER CL(None)");
        Ok(())
    }

    /// H-04: the traits of the ecosystem read what the reader's own methods do.
    async fn the_traits_of_futures_read_the_same(world: World) -> io::Result<()> {
        let Streamed { mut reader, writer: _writer, peer, .. } = streamed(&world, 8).await?;
        peer.transport().write(b"one\ntwo\nthe rest of it all");
        peer.transport().write_eof();
        let mut line = String::new();
        AsyncBufReadExt::read_line(&mut reader, &mut line).await?;
        assert_eq!(line, "one\n");
        let mut four = [0; 4];
        AsyncReadExt::read_exact(&mut reader, &mut four).await?;
        assert_eq!(&four, b"two\n");
        assert_eq!(Pin::new(&mut reader).read(&mut []).await?, 0);
        let mut rest = String::new();
        AsyncReadExt::read_to_string(&mut reader, &mut rest).await?;
        assert_eq!(rest, "the rest of it all");
        Ok(())
    }

    /// H-01: a reader that is dropped holds nobody back, and the end of the stream is still noticed.
    async fn a_dropped_reader_holds_nobody_back(world: World) -> io::Result<()> {
        let Streamed { reader, writer, peer, heard, .. } = streamed(&world, 10).await?;
        peer.transport().write(&[b'x'; 100]);
        world.settle().await;
        drop(reader);
        peer.transport().write(&vec![b'y'; 1 << 20]);
        peer.transport().write_eof();
        world.settle().await;
        writer.close();
        peer.closed().await?;
        writer.wait_closed().await?;
        assert_eq!(heard.count("CL(None)"), 1);
        Ok(())
    }
}

/// H-01: a limit of nothing is a mistake.
// on: engine
#[test]
#[should_panic(expected = "the limit of a stream is at least one byte")]
fn a_limit_of_nothing_is_refused() {
    drop(StreamProtocol::with_limit(0));
}
