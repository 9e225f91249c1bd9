//! C.4: writing.

use std::cell::Cell;
use std::io::{self, IoSlice};
use std::panic::{self, AssertUnwindSafe, Location};
use std::sync::Once;

use sim_core::{Eof, Transport, World, testing};
use sim_net::Sim;
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::connected::{
    Reports, connect, connect_to_anyone, drain, eventually, jam, length_of, log_soon, set_marks,
    text_of,
};
use crate::warnings::warnings;

thread_local! {
    /// Where the last panic of this thread was, while somebody wants to know.
    static PANICKED_AT: Cell<Option<(u32, bool)>> = const { Cell::new(None) };
    static WATCHED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `code`, which panics, and returns the line of this file that is to blame.
#[track_caller]
fn line_of_panic(code: impl FnOnce()) -> u32 {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let others = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !WATCHED.get() {
                return others(info);
            }
            let here = |place: &Location<'_>| (place.line(), place.file() == file!());
            PANICKED_AT.set(info.location().map(here));
        }));
    });
    WATCHED.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(code));
    WATCHED.set(false);
    let payload = outcome.expect_err("it should have panicked");
    let text = payload.downcast_ref::<&str>().copied().unwrap_or_default();
    assert_eq!(text, "cannot call write() after write_eof()");
    let (line, here) = PANICKED_AT.take().expect("a panic has a location");
    assert!(here, "the caller is to blame");
    line
}

/// Every way to write, nothing and something.
#[rustfmt::skip]
fn every_write_panics_here(transport: &Transport) {
    let none: [&str; 0] = [];
    assert_eq!(line_of_panic(|| transport.write(b"x")), line!());
    assert_eq!(line_of_panic(|| transport.write(b"")), line!());
    assert_eq!(line_of_panic(|| transport.write_vectored(&[IoSlice::new(b"x")])), line!());
    assert_eq!(line_of_panic(|| transport.write_vectored(&[])), line!());
    assert_eq!(line_of_panic(|| transport.writelines(["x"])), line!());
    assert_eq!(line_of_panic(|| transport.writelines(none)), line!());
}

both_loops! {
    /// C-60, C-66: a write after `write_eof` panics and names the caller, an empty one too, on a
    /// closed and on a lost connection as well.
    async fn a_write_after_the_end_names_the_caller(world: World) -> io::Result<()> {
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        let transport = conn.transport();
        transport.write_eof();
        every_write_panics_here(transport);
        transport.close();
        every_write_panics_here(transport);
        conn.closed().await?;
        every_write_panics_here(transport);
        peer.closed().await?;
        assert_eq!(text_of(&peer), "");
        Ok(())
    }

    /// C-60, C-65, C-66: an empty write does nothing, before and after the loss.
    async fn an_empty_write_does_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        let transport = conn.transport();
        let write_nothing = || {
            transport.write(b"");
            transport.write_vectored(&[]);
            transport.write_vectored(&[IoSlice::new(b""), IoSlice::new(b"")]);
            transport.writelines(["", "", ""]);
        };
        transport.set_write_buffer_limits(sim_core::WriteBufferLimits::from_high(0))?;
        write_nothing();
        world.settle().await;
        assert!(transport.is_writable());
        assert_eq!(log.text(), "CM");
        transport.abort();
        write_nothing();
        conn.closed().await?;
        write_nothing();
        assert_eq!(text_of(&peer), "");
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// C-61: a write that fails at once returns; the transport is closing and empty; lost comes in
    /// the next turn with the error.
    async fn a_failing_write_returns(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        let soon = log.clone();
        let conn2 = conn.clone();
        world.host("client").call_soon(move || conn2.with(|_, cx| {
            cx.write(b"hello?");
            assert!(cx.is_closing() && !cx.is_writable() && cx.write_buffer_size() == 0);
            cx.write(b"anybody?");
            soon.push("WROTE");
            log_soon(cx, &soon, "NEXT");
        }));
        let error = conn.closed().await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        world.settle().await;
        assert_eq!(log.text(), "CM WROTE CL(ConnectionReset) NEXT");
        Ok(())
    }

    /// C-61, C-41, TR-09: a peer that closed answers a write with a reset; the write after that
    /// returns too, and ends the connection.
    async fn a_write_to_a_dead_peer_returns(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.close());
        world.settle().await;
        conn.with(|_, cx| cx.write(b"first"));
        assert!(!conn.transport().is_closing());
        world.settle().await;
        assert_eq!(log.text(), "CM");
        conn.with(|_, cx| cx.write(b"second"));
        assert!(conn.transport().is_closing());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(BrokenPipe)");
        Ok(())
    }

    /// C-62, C-63, C-64: with an empty buffer a write is sent at once; what waits is a copy, in order.
    async fn what_waits_is_a_copy_in_order(world: World) -> io::Result<()> {
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        conn.with(|_, cx| {
            cx.write(b"at once;");
            assert_eq!(cx.write_buffer_size(), 0);
        });
        jam(&world, &conn, &peer).await;
        let mut scratch = [0; 5];
        for number in 0..500 {
            scratch.copy_from_slice(format!("{number:04};").as_bytes());
            let before = conn.transport().write_buffer_size();
            conn.with(|_, cx| cx.write(&scratch));
            assert_eq!(conn.transport().write_buffer_size(), before + 5);
            scratch.fill(b'?');
        }
        conn.with(|_, cx| cx.close());
        peer.with(|_, cx| cx.resume_reading());
        peer.closed().await?;
        let numbers: String = (0..500).map(|number| format!("{number:04};")).collect();
        let text = text_of(&peer);
        assert_eq!(text.trim_start_matches("at once;").trim_start_matches('.'), numbers);
        assert_eq!(conn.transport().write_buffer_size(), 0);
        Ok(())
    }

    /// C-65, C-66, J-08: the pieces of one call are one write: at equality nothing, one byte more is
    /// one crossing.
    async fn pieces_are_one_write(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| {
            let high = cx.write_buffer_size() + 10;
            cx.set_write_buffer_limits(sim_core::WriteBufferLimits { high, low: 0 }).unwrap();
            cx.writelines(["12345", "", "67890"]);
            assert!(cx.is_writable() && cx.write_buffer_size() == high);
            cx.writelines([""]);
            assert!(cx.is_writable());
            cx.writelines(["a", "b", "c", "d"]);
            assert!(!cx.is_writable());
            cx.write_vectored(&[IoSlice::new(b"e"), IoSlice::new(b"f")]);
        });
        world.settle().await;
        assert_eq!(log.text(), "CM PW");
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "CM PW RW");
        conn.with(|_, cx| cx.close());
        peer.closed().await?;
        assert!(text_of(&peer).ends_with(".1234567890abcdef"));
        Ok(())
    }

    /// C-66, J-07, C-62: many pieces, more than a kernel takes in a call, arrive whole without any
    /// push from outside, and small ones are sent at once.
    async fn many_pieces_arrive_whole(world: World) -> io::Result<()> {
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        let few: Vec<String> = (0..2_500).map(|at| format!("{}", at % 10)).collect();
        conn.with(|_, cx| {
            cx.writelines(&few);
            assert_eq!(cx.write_buffer_size(), 0, "it all fits");
        });
        world.settle().await;
        assert_eq!(text_of(&peer), few.concat());
        let many: Vec<String> = (0..20_000).map(|at| "x".repeat(at % 8)).collect();
        conn.with(|_, cx| { cx.writelines(&many); cx.close(); });
        peer.closed().await?;
        assert_eq!(length_of(&peer), few.concat().len() + many.concat().len());
        Ok(())
    }

    /// C-66, J-09, C-69: pieces after the loss are dropped.
    async fn pieces_after_the_loss_are_dropped(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_lost(|cx| cx.writelines(["into ", "the ", "void"]));
        let (conn, _peer) = connect_to_anyone(&world, subject).await?;
        conn.with(|_, cx| {
            cx.abort();
            cx.writelines(["into ", "the ", "void"]);
            assert_eq!(cx.write_buffer_size(), 0);
        });
        conn.closed().await?;
        conn.with(|_, cx| cx.write_vectored(&[IoSlice::new(b"void")]));
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// C-67: a write after `close` with an empty buffer is dropped in silence.
    async fn a_write_after_an_empty_close_is_dropped(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let reports = Reports::of(&world.host("client"), &log);
        let subject = Recorder::new(&log);
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        conn.with(|_, cx| {
            cx.write(b"before");
            cx.close();
            cx.write(b"after");
            cx.writelines(["after", "all"]);
            assert_eq!(cx.write_buffer_size(), 0);
        });
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        assert_eq!(peer_log.text(), "CM DR ER CL(None)");
        assert_eq!(text_of(&peer), "before");
        assert!(reports.all().is_empty());
        Ok(())
    }

    /// C-68, C-66, J-10: a write after `close` while older output waits is flushed too.
    async fn a_write_after_a_waiting_close_is_flushed(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| {
            cx.close();
            cx.write(b"late ");
            cx.writelines(["but ", "not ", "lost"]);
        });
        world.settle().await;
        conn.with(|_, cx| cx.write(b"!"));
        peer.with(|_, cx| cx.resume_reading());
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM CL(None)");
        assert!(text_of(&peer).ends_with(".late but not lost!"));
        Ok(())
    }

    /// C-69: from the fifth dropped write on each gives one warning.
    async fn the_fifth_dropped_write_warns(world: World) -> io::Result<()> {
        let (conn, _peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        conn.with(|_, cx| cx.abort());
        let dropped = |writes: u32| warnings(|| {
            (0..writes).for_each(|_| conn.with(|_, cx| cx.write(b"dropped")));
        });
        assert_eq!(dropped(4), 0);
        conn.closed().await?;
        conn.with(|_, cx| cx.write(b""));
        assert_eq!(dropped(1), 1);
        assert_eq!(dropped(3), 3);
        Ok(())
    }

    /// C-70, TR-11: `close` with output pending, and the peer fails.
    async fn a_waiting_close_hears_of_a_failure(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| cx.close());
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        assert_eq!(conn.transport().write_buffer_size(), 0);
        Ok(())
    }

    /// C-71: `close` with output pending and a peer that does not read waits, however long, until it
    /// reads.
    async fn a_waiting_close_waits(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| cx.close());
        world.host("client").sleep(std::time::Duration::from_millis(20)).await;
        world.settle().await;
        assert_eq!(log.text(), "CM");
        peer.with(|_, cx| cx.resume_reading());
        conn.closed().await?;
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// C-72, TR-16: `write_eof` with output pending: the end is sent behind it, reading goes on, and a
    /// second one does nothing.
    async fn the_end_is_sent_behind_what_waits(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let peer = Recorder::new(&peer_log).eof(Eof::KeepOpen);
        let (conn, peer) = connect(&world, Recorder::new(&log), peer).await?;
        jam(&world, &conn, &peer).await;
        set_marks(&conn, 0);
        conn.with(|_, cx| {
            assert!(cx.can_write_eof());
            cx.write(b"!");
            cx.write_eof();
            cx.write_eof();
            assert!(!cx.is_closing() && cx.is_reading() && !cx.is_writable());
        });
        world.settle().await;
        assert_eq!(peer_log.text(), "CM", "the end waits");
        peer.with(|_, cx| { cx.resume_reading(); cx.write(b"go on"); });
        eventually(&world, || peer_log.count("ER") == 1).await;
        assert_eq!(peer_log.text(), "CM DR ER");
        conn.with(|_, cx| cx.write_eof());
        assert!(!conn.transport().is_closing());
        peer.with(|_, cx| cx.close());
        world.settle().await;
        let rest = log.text().replace("PW DR RW", "PW RW DR");
        assert_eq!(rest, "CM PW RW DR ER CL(None)");
        assert!(text_of(&peer).ends_with(".!"));
        Ok(())
    }

    /// C-72: with nothing pending the end is sent at once; after `close` it does nothing.
    async fn the_end_is_sent_at_once(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let peer = Recorder::new(&peer_log).eof(Eof::KeepOpen);
        let (conn, peer) = connect(&world, Recorder::new(&log), peer).await?;
        conn.with(|_, cx| { cx.write_eof(); cx.write_eof(); });
        world.settle().await;
        assert_eq!(peer_log.text(), "CM ER");
        conn.with(|_, cx| { cx.close(); cx.write_eof(); });
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        peer.with(|_, cx| { cx.close(); cx.write_eof(); cx.write(b"no panic: it came too late"); });
        world.settle().await;
        assert_eq!(peer_log.text(), "CM ER CL(None)");
        Ok(())
    }

    /// C-73: `write_eof` and then `close` with output pending: flushed, then lost.
    async fn an_end_and_a_close_flush(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let (conn, peer) = connect(&world, Recorder::new(&log), Recorder::new(&peer_log)).await?;
        let waiting = jam(&world, &conn, &peer).await;
        conn.with(|_, cx| { cx.write_eof(); cx.close(); });
        peer.with(|_, cx| cx.resume_reading());
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM CL(None)");
        assert_eq!(peer_log.text(), "CM DR ER CL(None)");
        assert!(length_of(&peer) >= waiting);
        Ok(())
    }

    /// C-74, C-62: what the network takes in parts arrives whole.
    async fn a_megabyte_passes_through_small_buffers(world: World) -> io::Result<()> {
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        let data: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 253) as u8).collect();
        conn.with(|_, cx| {
            data.chunks(99_991).for_each(|chunk| cx.write(chunk));
            assert!(cx.write_buffer_size() > 0);
            cx.close();
        });
        peer.closed().await?;
        assert!(peer.with(|peer, _| peer.data == data));
        Ok(())
    }

    /// C-76: a failure in the writer drops the output and ends the connection, though nobody reads.
    async fn a_failing_writer_ends_the_connection(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        jam(&world, &conn, &peer).await;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        assert_eq!(conn.transport().write_buffer_size(), 0);
        Ok(())
    }

    /// C-77: `abort` drops the output and resets the peer; lost comes in the next turn, once.
    async fn abort_drops_the_output(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let (conn, peer) = connect(&world, Recorder::new(&log), Recorder::new(&peer_log)).await?;
        jam(&world, &conn, &peer).await;
        let (subject, soon) = (conn.clone(), log.clone());
        world.host("client").call_soon(move || subject.with(|_, cx| {
            log_soon(cx, &soon, "NEXT");
            cx.abort();
            assert!(cx.is_closing() && cx.write_buffer_size() == 0);
            cx.abort();
            log_soon(cx, &soon, "NEXT2");
        }));
        conn.closed().await?;
        peer.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM NEXT CL(None) NEXT2");
        assert!(peer_log.text().ends_with("CL(ConnectionReset)"), "{peer_log:?}");
        assert!(!peer_log.text().contains("ER"), "{peer_log:?}");
        Ok(())
    }
}

/// C-74: whatever part is taken, nothing, one byte or all, the tail waits and is sent in time.
// on: engine
#[test]
fn whatever_part_is_taken_the_tail_waits() {
    for parts in [[0, 12, 0], [1, 0, 11], [5, 6, 1], [11, 1, 0], [12, 0, 0], [4, 4, 4]] {
        let mut peer = testing::drive_with_window(Recorder::new(&Log::new()), parts[0]);
        peer.with(|_, cx| cx.writelines(["twelve", "", " bytes"]));
        let mut taken = parts[0];
        for part in [&[], &parts[1..]].concat() {
            assert_eq!(peer.transport().write_buffer_size(), 12 - taken);
            peer.take(part);
            taken += part;
        }
        assert_eq!(peer.take_written(), b"twelve bytes");
        assert_eq!(peer.transport().write_buffer_size(), 0);
    }
}

/// C-74: output that goes round the end of its buffer is sent whole.
// on: engine
#[test]
fn output_that_wraps_is_sent_whole() {
    let mut peer = testing::drive_with_window(Recorder::new(&Log::new()), 1);
    let mut sent = Vec::new();
    let mut written = Vec::new();
    for round in 0..200_usize {
        let data: Vec<u8> = (0..round % 37).map(|at| (at + round) as u8).collect();
        peer.with(|_, cx| cx.write(&data));
        written.extend(data);
        peer.take(round % 31);
        sent.extend(peer.take_written());
    }
    peer.take(usize::MAX);
    sent.extend(peer.take_written());
    assert_eq!(sent, written);
}

/// C-75: when the output is sent, an idle connection costs no turns, however long it idles.
// on: sim
#[test]
fn an_idle_connection_costs_no_turns() {
    let events_of = |seconds| {
        let report = Sim::new(5).run(move |world: World| async move {
            let (conn, peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
            jam(&world, &conn, &peer).await;
            drain(&world, &conn, &peer).await;
            world.settle().await;
            world.host("client").sleep(std::time::Duration::from_secs(seconds)).await;
            io::Result::Ok(())
        });
        report.outcome.as_ref().expect("it succeeds");
        report.events
    };
    assert_eq!(events_of(1), events_of(1_000_000));
}

/// C-75: the engine wants no turn for an idle connection: driving it comes to an end.
// on: engine
#[test]
fn the_writer_is_disarmed_when_all_is_sent() {
    let mut peer = testing::drive_with_window(Recorder::new(&Log::new()), 3);
    peer.with(|_, cx| cx.write(b"123456"));
    peer.take(3);
    let turns = |peer: &testing::Peer<Recorder>| {
        peer.settle();
        peer.transport().write_buffer_size()
    };
    assert_eq!(turns(&peer), 0);
    peer.take(100);
    assert_eq!(peer.take_written(), b"123456");
}
