//! G.1: pipes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use sim_core::{Conn, Eof, Loop, PipeEnd, PipeReader, WriteBufferLimits};
use tests::recorder::{BufferedRecorder, Log, Recorder};
use tests::{both_bare_loops, both_loops};

use crate::serving::Heard;

/// More than a pipe takes.
const FLOOD: usize = 1 << 20;

/// A pipe with a recorder at each end: who reads, and who writes.
async fn pipe(
    lp: &Loop,
    reads: Recorder,
    writes: Recorder,
) -> io::Result<(Conn<Recorder>, Conn<Recorder>)> {
    let (reader, writer) = lp.pipe()?;
    let reader = lp.connect_read_pipe(reader, || reads).await?;
    Ok((reader, lp.connect_write_pipe(writer, || writes).await?))
}

fn quiet() -> Recorder {
    Recorder::new(&Log::new())
}

fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

both_loops! {
    /// G-01, TR-23, C-03: made, data, the end and the loss, whatever the protocol answers to the end.
    async fn the_end_of_a_pipe_closes_it(world: World) -> io::Result<()> {
        for eof in [Eof::Close, Eof::KeepOpen] {
            let (lp, log) = (world.host("a"), Log::new());
            let soon = log.clone();
            let recorder = Recorder::new(&log).eof(eof).on_eof(move |cx| {
                assert!(cx.is_closing() && !cx.is_reading());
                cx.close();
                let soon = soon.clone();
                cx.event_loop().call_soon(move || soon.push("later"));
            });
            let (reader, writer) = pipe(&lp, recorder, quiet()).await?;
            writer.with(|_, cx| cx.write(&body(100_000)));
            writer.transport().write_eof();
            reader.closed().await?;
            world.settle().await;
            assert_eq!(log.text(), "CM DR ER CL(None) later");
            assert!(reader.with(|recorder, _| recorder.data == body(100_000)));
        }
        Ok(())
    }

    /// G-01: a buffered protocol reads a pipe too.
    async fn a_buffered_protocol_reads_a_pipe(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("a"), Log::new());
        let (reader, writer) = lp.pipe()?;
        let reader = lp.connect_read_pipe(reader, || BufferedRecorder::new(&log, 4)).await?;
        let writer = lp.connect_write_pipe(writer, quiet).await?;
        writer.with(|_, cx| { cx.write(b"abcdef"); cx.close(); });
        reader.closed().await?;
        assert_eq!(reader.with(|recorder, _| recorder.data.clone()), b"abcdef");
        Ok(())
    }

    /// G-01, C-41, J-54: a paused reader does not hear of the end; then it gets all data first.
    async fn a_paused_reader_of_a_pipe_hears_of_no_end(world: World) -> io::Result<()> {
        let log = Log::new();
        let (reader, writer) = pipe(&world.host("a"), Recorder::new(&log), quiet()).await?;
        reader.transport().pause_reading();
        writer.with(|_, cx| { cx.write(b"data"); cx.close(); });
        writer.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM");
        reader.transport().resume_reading();
        reader.closed().await?;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        Ok(())
    }

    /// G-04, TR-24: a writer with nothing to write hears that its reader is gone; before it is made, too.
    async fn an_idle_writer_hears_that_its_reader_is_gone(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("a"), Log::new());
        let (reader, writer) = pipe(&lp, quiet(), Recorder::new(&log)).await?;
        writer.transport().write(b"read or not");
        reader.transport().close();
        writer.closed().await?;
        assert_eq!(log.text(), "CM CL(None)");

        let log = Log::new();
        let (reader, writer) = lp.pipe()?;
        drop(reader);
        let writer = lp.connect_write_pipe(writer, || Recorder::new(&log)).await?;
        writer.closed().await?;
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// G-04, TR-24, J-13: with output that waits it is a broken pipe, also while closing; and a write to
    /// a pipe that nobody reads is one.
    async fn output_that_nobody_reads_is_a_broken_pipe(world: World) -> io::Result<()> {
        let lp = world.host("a");
        for closing in [false, true] {
            let log = Log::new();
            let (reader, writer) = pipe(&lp, quiet(), Recorder::new(&log)).await?;
            reader.transport().pause_reading();
            writer.transport().write(&body(FLOOD));
            if closing {
                writer.transport().close();
            }
            world.settle().await;
            reader.transport().close();
            assert!(writer.closed().await.is_err());
            assert_eq!(log.text(), "CM PW CL(BrokenPipe)");
        }
        let log = Log::new();
        let (reader, writer) = pipe(&lp, quiet(), Recorder::new(&log)).await?;
        let tail = writer.clone();
        reader.with(|_, cx| cx.close());
        reader.closed().await?;
        tail.transport().write(b"x");
        let _ = writer.closed().await;
        assert!(["CM CL(None)", "CM CL(BrokenPipe)"].contains(&log.text().as_str()), "{log:?}");
        Ok(())
    }

    /// G-05, C-09: the end of output is a close: what waits is flushed, later writes are dropped without
    /// a word, and the loss comes with the last byte.
    async fn the_end_of_output_closes_a_pipe(world: World) -> io::Result<()> {
        let (lp, log, ended) = (world.host("a"), Log::new(), Log::new());
        let heard = Heard::by(&lp);
        let (reader, writer) = pipe(&lp, Recorder::new(&ended), Recorder::new(&log)).await?;
        assert!(writer.transport().can_write_eof() && !reader.transport().can_write_eof());
        reader.transport().pause_reading();
        writer.with(|_, cx| {
            cx.write(&body(FLOOD));
            cx.write_eof();
            assert!(cx.is_closing() && !cx.is_writable());
            cx.write(b"dropped");
            cx.write(b"");
            cx.write_eof();
        });
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        reader.transport().resume_reading();
        writer.closed().await?;
        reader.closed().await?;
        assert_eq!((log.text(), ended.text()), ("CM PW RW CL(None)".into(), "CM DR ER CL(None)".into()));
        assert!(reader.with(|recorder, _| recorder.data == body(FLOOD)));
        assert_eq!(heard.messages(), Vec::<String>::new());
        Ok(())
    }

    /// G-06, J-11: writing resumes at the low mark, with output still waiting.
    async fn a_pipe_resumes_at_the_low_mark(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("a"), Log::new());
        let (high, low) = (100_000, 90_000);
        let recorder = Recorder::new(&log).on_resume(move |cx| {
            let waiting = cx.write_buffer_size();
            assert!(waiting > 0 && waiting <= low, "{waiting}");
        });
        let (reader, writer) = pipe(&lp, quiet(), recorder).await?;
        writer.transport().set_write_buffer_limits(WriteBufferLimits { high, low })?;
        reader.transport().pause_reading();
        writer.transport().write(&body(65_536 + 100_001));
        world.settle().await;
        assert_eq!(writer.transport().write_buffer_size(), 100_001);
        assert_eq!(log.text(), "CM PW");
        reader.transport().resume_reading();
        world.settle().await;
        assert_eq!(log.text(), "CM PW RW");
        assert_eq!(reader.with(|recorder, _| recorder.data.len()), 165_537);
        Ok(())
    }

    /// G-07, J-12, G-05: an abort drops what waits; twice, or after the reader has gone, there is one
    /// loss.
    async fn an_aborted_pipe_is_lost_once(world: World) -> io::Result<()> {
        let lp = world.host("a");
        let heard = Heard::by(&lp);
        for gone in [false, true] {
            let log = Log::new();
            let (reader, writer) = pipe(&lp, quiet(), Recorder::new(&log)).await?;
            writer.with(|_, cx| {
                cx.write(&body(FLOOD));
                if gone {
                    reader.transport().close();
                }
                cx.abort();
                cx.abort();
                cx.close();
            });
            writer.closed().await?;
            reader.closed().await?;
            writer.transport().abort();
            world.settle().await;
            assert_eq!(log.text(), "CM PW CL(None)");
        }
        assert_eq!(heard.messages(), Vec::<String>::new());
        Ok(())
    }

    /// G-08: pausing and resuming may be repeated, does nothing while closing, and nothing at all on the
    /// end that is written to.
    async fn pausing_a_pipe_may_be_repeated(world: World) -> io::Result<()> {
        let log = Log::new();
        let (reader, writer) = pipe(&world.host("a"), Recorder::new(&log), quiet()).await?;
        let (reads, writes) = (reader.transport(), writer.transport());
        reads.pause_reading();
        reads.pause_reading();
        assert!(!reads.is_reading());
        writes.write(b"held");
        world.settle().await;
        assert_eq!(log.text(), "CM");
        reads.resume_reading();
        reads.resume_reading();
        assert!(reads.is_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM DR");
        for _ in 0..2 {
            writes.pause_reading();
            writes.resume_reading();
            assert!(!writes.is_reading());
        }
        reads.close();
        reads.pause_reading();
        reads.resume_reading();
        assert!(!reads.is_reading());
        reader.closed().await
    }

    /// G-09, C-95: a transport says which end of a pipe it is, and has no addresses.
    async fn a_transport_names_its_end_of_a_pipe(world: World) -> io::Result<()> {
        let (reader, writer) = pipe(&world.host("a"), quiet(), quiet()).await?;
        for (conn, end) in [(&reader, PipeEnd::Read), (&writer, PipeEnd::Write)] {
            let transport = conn.transport();
            assert_eq!(transport.pipe_end(), Some(end));
            assert_eq!((transport.sockname(), transport.unix_sockname()), (None, None));
            assert_eq!((transport.peername(), transport.unix_peername()), (None, None));
            transport.close();
            conn.closed().await?;
            assert_eq!(transport.pipe_end(), Some(end));
        }
        Ok(())
    }

    /// C-60: writing to the end that is read from is a mistake that is told; the end of output is none.
    async fn the_reading_end_takes_no_writes(world: World) -> io::Result<()> {
        let (reader, _writer) = pipe(&world.host("a"), quiet(), quiet()).await?;
        let write = AssertUnwindSafe(|| reader.transport().write(b"x"));
        let panic = catch_unwind(write).unwrap_err();
        let text = panic.downcast_ref::<&str>().copied().unwrap_or_default();
        assert_eq!(text, "cannot call write() on the reading end of a pipe");
        reader.transport().write_eof();
        assert!(!reader.transport().is_writable() && !reader.transport().is_closing());
        Ok(())
    }

    /// C-35, C-08: a reader that closes gets nothing more, and one loss; the loss of one end leaves the
    /// process as it was.
    async fn a_closed_reader_gets_nothing_more(world: World) -> io::Result<()> {
        let log = Log::new();
        let recorder = Recorder::new(&log).on_data(|cx, _| cx.close());
        let (reader, writer) = pipe(&world.host("a"), recorder, quiet()).await?;
        writer.transport().write(b"one");
        world.settle().await;
        writer.transport().write(b"two");
        world.settle().await;
        assert_eq!(log.text(), "CM DR CL(None)");
        assert_eq!(reader.with(|recorder, _| recorder.data.clone()), b"one");
        Ok(())
    }
}

both_bare_loops! {
    /// G-02, E-01: an end is its own loop's; another refuses it, and so does a closed one.
    fn a_pipe_belongs_to_its_loop(make: Make) {
        let (lp, other) = (make.new_loop(), make.new_loop());
        let (reader, writer) = lp.pipe().unwrap();
        let foreign = (*other).clone();
        let refused = async move {
            let reader: PipeReader = reader;
            foreign.connect_read_pipe(reader, quiet).await.unwrap_err()
        };
        let error = other.run_until_complete(refused).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        drop(writer);
        let handle = (*lp).clone();
        lp.close().unwrap();
        assert!(handle.pipe().is_err());
        drop(other);
    }
}
