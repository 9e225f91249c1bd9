//! C.2: receiving.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use sim_core::{Conn, Eof, World, testing};
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::connected::{
    ADDRESS, connect, connect_to_anyone, eventually, jam, length_of, log_soon, serve_one,
    set_marks, text_of,
};

/// The most that one read takes (C-31).
const READ_MAX: usize = 256 << 10;

/// Bytes that tell where they belong.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at % 251) as u8).collect()
}

/// Connects with buffers that hold much, and a peer that has already sent `data` to the subject,
/// which reads nothing yet.
async fn connect_with_data_waiting(
    world: &World,
    subject: Recorder,
    data: Vec<u8>,
) -> io::Result<Conn<Recorder>> {
    let factory = move || {
        let data = data.clone();
        Recorder::new(&Log::new()).on_made(move |cx| cx.write(&data))
    };
    let server = world.host("server").server().send_buffer(4 << 20);
    let server = server.bind(ADDRESS, factory).await?;
    let client = world.host("client").connection().receive_buffer(4 << 20);
    let conn = client.connect(ADDRESS, || subject.on_made(|cx| cx.pause_reading())).await?;
    world.settle().await;
    server.close();
    Ok(conn)
}

both_loops! {
    /// C-30: everything arrives, in order, once, whatever the sizes of the writes; the recorder
    /// checks that no call brings nothing.
    async fn all_bytes_arrive_in_order(world: World) -> io::Result<()> {
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&Log::new())).await?;
        let data = pattern(400_000);
        let mut rest = &data[..];
        for size in [0, 1, 2, 3, 999, 1_448, 1_449, 65_536, 200_000].into_iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (now, later) = rest.split_at(size.min(rest.len()));
            conn.with(|_, cx| cx.write(now));
            rest = later;
        }
        conn.with(|_, cx| cx.close());
        peer.closed().await?;
        assert!(peer.with(|peer, _| peer.data == data));
        Ok(())
    }

    /// C-31: one read a turn, of at most 256 KiB: between two reads the loop runs everything else.
    async fn a_turn_reads_once_and_a_bounded_amount(world: World) -> io::Result<()> {
        let sizes: Rc<RefCell<Vec<usize>>> = Rc::default();
        let (log, seen) = (Log::new(), Rc::clone(&sizes));
        let turns = log.clone();
        let subject = Recorder::new(&log).on_data(move |cx, data| {
            seen.borrow_mut().push(data.len());
            log_soon(cx, &turns, "TURN");
        });
        let data = pattern(1_200_000);
        let conn = connect_with_data_waiting(&world, subject, data.clone()).await?;
        conn.with(|_, cx| cx.resume_reading());
        eventually(&world, || length_of(&conn) == data.len()).await;
        assert!(conn.with(|subject, _| subject.data == data));
        let sizes = sizes.borrow();
        assert!(sizes.iter().all(|&size| size <= READ_MAX), "{sizes:?}");
        assert_eq!(sizes[0], READ_MAX, "as much as was there");
        // The recorder joins data that nothing separates: every read had a turn of its own.
        assert_eq!(log.text(), format!("CM{}", " DR TURN".repeat(sizes.len())));
        Ok(())
    }

    /// C-31: a fast peer does not starve another connection of the same loop.
    async fn a_fast_peer_does_not_starve_others(world: World) -> io::Result<()> {
        let (order, fast_log) = (Log::new(), Log::new());
        let noted = order.clone();
        let subject = Recorder::new(&fast_log).on_data(move |_, _| noted.push("FAST"));
        let fast = connect_with_data_waiting(&world, subject, pattern(2_000_000)).await?;
        let noted = order.clone();
        let subject = Recorder::new(&Log::new()).on_data(move |_, _| noted.push("SLOW"));
        let slow = connect_with_data_waiting(&world, subject, b"!".to_vec()).await?;
        // The two are resumed in one go, the fast one first.
        fast.with(|_, cx| cx.resume_reading());
        slow.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert!(order.text().starts_with("FAST SLOW FAST FAST"), "{order:?}");
        Ok(())
    }

    /// C-34, C-41, TR-07, TR-08, K-02: what reached the receive queue before a reset is delivered on
    /// resuming, then the reset, without an end.
    async fn bytes_before_a_reset_are_delivered(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"last words"));
        world.settle().await;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM", "a paused reader notices nothing");
        conn.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM DR CL(ConnectionReset)");
        assert_eq!(conn.with(|subject, _| subject.data.clone()), b"last words");
        Ok(())
    }

    /// C-33, C-34, TR-07, K-02: a reset of an armed reader is an error of its read, without an end.
    async fn a_reset_is_told_at_once(world: World) -> io::Result<()> {
        let log = Log::new();
        let (_conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM DR CL(ConnectionReset)");
        Ok(())
    }

    /// C-34: closing with data unread resets the peer.
    async fn closing_with_data_unread_resets_the_peer(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&Log::new()).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect(&world, subject, Recorder::new(&log)).await?;
        peer.with(|_, cx| cx.write(b"nobody will read this"));
        world.settle().await;
        conn.with(|_, cx| cx.close());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        Ok(())
    }

    /// C-35, C-36: `close` in `data_received`: what was queued behind, the end too, never comes.
    async fn close_ends_reception_at_once(world: World) -> io::Result<()> {
        for abort in [false, true] {
            let log = Log::new();
            let seen = Rc::new(Cell::new(0));
            let count = Rc::clone(&seen);
            let subject = Recorder::new(&log).on_data(move |cx, data| {
                count.set(count.get() + data.len());
                if abort { cx.abort() } else { cx.close() }
            });
            let data = pattern(600_000);
            let conn = connect_with_data_waiting(&world, subject, data).await?;
            conn.with(|_, cx| cx.resume_reading());
            world.settle().await;
            assert_eq!(log.text(), "CM DR CL(None)");
            assert!((1..=READ_MAX).contains(&seen.get()), "one read");
        }
        Ok(())
    }

    /// C-36: `close` in `data_received` with the end of stream already queued: no end.
    async fn close_hides_a_queued_end(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log)
            .on_made(|cx| cx.pause_reading())
            .on_data(|cx, _| cx.close());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"bye"); cx.close(); });
        world.settle().await;
        conn.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM DR CL(None)");
        Ok(())
    }

    /// C-35: data that is ready in the same turn as a close of another callback is not delivered.
    async fn data_of_the_same_turn_is_not_delivered_after_a_close(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        // Resuming lets the next turn read; the callback runs before the read in that turn.
        let transport = conn.transport().clone();
        conn.with(|_, cx| cx.resume_reading());
        conn.transport().event_loop().call_soon(move || transport.close());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(None)");
        Ok(())
    }

    /// C-37, C-40: a pause acts at once, and may be repeated; nothing is lost.
    async fn a_pause_acts_at_once(world: World) -> io::Result<()> {
        let log = Log::new();
        let reads = Rc::new(Cell::new(0));
        let count = Rc::clone(&reads);
        let subject = Recorder::new(&log).on_data(move |cx, _| {
            count.set(count.get() + 1);
            assert!(cx.is_reading());
            cx.pause_reading();
            cx.pause_reading();
            assert!(!cx.is_reading());
        });
        let data = pattern(READ_MAX * 2 + 1);
        let conn = connect_with_data_waiting(&world, subject, data.clone()).await?;
        for read in 1.. {
            assert_eq!(reads.get(), read - 1);
            conn.with(|_, cx| { cx.resume_reading(); cx.resume_reading(); });
            eventually(&world, || reads.get() >= read).await;
            if length_of(&conn) == data.len() {
                break;
            }
        }
        assert!(reads.get() >= 3, "a read takes {READ_MAX} bytes at most");
        assert!(conn.with(|subject, _| subject.data == data));
        Ok(())
    }

    /// C-38, J-15: a pause that comes before a queued read cancels it, and loses nothing.
    async fn a_pause_cancels_a_queued_read(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        let (transport, lp) = (conn.transport().clone(), world.host("client"));
        conn.with(|_, cx| cx.resume_reading());
        let pausing = transport.clone();
        lp.call_soon(move || pausing.pause_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM", "the read was queued behind the pause");
        // The same with a resume behind the pause: the read comes a turn later, and once.
        conn.with(|_, cx| cx.resume_reading());
        let (inner, noted) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            transport.pause_reading();
            transport.resume_reading();
            inner.call_soon(move || noted.push("NEXT"));
        });
        world.settle().await;
        assert_eq!(log.text(), "CM NEXT DR");
        assert_eq!(conn.with(|subject, _| subject.data.clone()), b"data");
        Ok(())
    }

    /// C-39: `resume_reading` delivers nothing by itself: what is queued runs first. Resume and pause
    /// in one callback leave it paused.
    async fn resuming_delivers_nothing_by_itself(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        conn.with(|_, cx| { cx.resume_reading(); cx.pause_reading(); });
        world.settle().await;
        assert_eq!(log.text(), "CM");
        let (transport, noted) = (conn.transport().clone(), log.clone());
        let lp = world.host("client");
        let (inner, queued) = (lp.clone(), log.clone());
        lp.call_soon(move || {
            inner.call_soon(move || queued.push("QUEUED"));
            transport.resume_reading();
            noted.push("RESUMED");
        });
        world.settle().await;
        assert_eq!(log.text(), "CM RESUMED QUEUED DR");
        Ok(())
    }

    /// C-40: `is_reading` means neither paused nor closing; true from the start.
    async fn is_reading_means_neither_paused_nor_closing(world: World) -> io::Result<()> {
        let subject = Recorder::new(&Log::new())
            .on_made(|cx| assert!(cx.is_reading()))
            .on_lost(|cx| assert!(!cx.is_reading()));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        conn.with(|_, cx| {
            assert!(cx.is_reading());
            cx.pause_reading();
            assert!(!cx.is_reading());
            cx.resume_reading();
            assert!(cx.is_reading());
        });
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| {
            cx.close();
            assert!(!cx.is_reading(), "closing, though output waits");
            cx.resume_reading();
            assert!(!cx.is_reading());
            cx.abort();
        });
        conn.closed().await?;
        assert!(!conn.transport().is_reading());
        Ok(())
    }

    /// C-41, C-42, K-01, TR-08: a reader that was paused in `connection_made` notices neither data
    /// nor end; on resuming both come, in order.
    async fn a_paused_reader_notices_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"data"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "CM");
        assert!(!conn.transport().is_closing());
        conn.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        assert_eq!(conn.with(|subject, _| subject.data.clone()), b"data");
        Ok(())
    }

    /// C-41, C-61, K-02: a paused reader learns of a reset by its next write, which returns; the
    /// loss follows.
    async fn a_paused_reader_learns_of_a_reset_by_writing(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert!(!conn.transport().is_closing());
        conn.with(|_, cx| cx.write(b"hello?"));
        assert!(conn.transport().is_closing());
        assert_eq!(conn.transport().write_buffer_size(), 0);
        assert_eq!(log.text(), "CM");
        world.settle().await;
        assert_eq!(log.text(), "CM CL(ConnectionReset)");
        Ok(())
    }

    /// C-43, TR-04, J-54: data and end at once: all bytes, the end, and lost in the next turn.
    async fn the_end_comes_after_all_data(world: World) -> io::Result<()> {
        let log = Log::new();
        let soon = log.clone();
        let subject = Recorder::new(&log)
            .on_made(|cx| cx.pause_reading())
            .on_eof(move |cx| { log_soon(cx, &soon, "NEXT"); log_soon(cx, &soon, "NEXT2"); });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(&pattern(3_000)); cx.close(); });
        world.settle().await;
        conn.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM DR ER NEXT NEXT2 CL(None)");
        assert!(conn.with(|subject, _| subject.data == pattern(3_000)));
        Ok(())
    }

    /// C-43, C-46, C-09, TR-05: the end with output pending: closing at once, what `eof_received`
    /// writes is taken too, and lost comes from the writer behind all of it.
    async fn the_end_flushes_what_is_pending(world: World) -> io::Result<()> {
        let log = Log::new();
        let soon = log.clone();
        let subject = Recorder::new(&log)
            .on_eof(|cx| {
                let before = cx.write_buffer_size();
                cx.write(b"farewell");
                assert_eq!(cx.write_buffer_size(), before + 8);
            })
            .on_resume(move |cx| {
                assert!(cx.is_closing());
                log_soon(cx, &soon, "NEXT");
            });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        jam(&world, &conn, &peer).await;
        peer.with(|_, cx| cx.write_eof());
        world.settle().await;
        assert_eq!(log.text(), "CM ER");
        assert!(conn.transport().is_closing());
        // Paused, and to be resumed by the very last byte.
        set_marks(&conn, 0);
        conn.transport().write(b"!");
        world.settle().await;
        peer.with(|_, cx| cx.resume_reading());
        conn.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM ER PW RW CL(None) NEXT");
        assert!(text_of(&peer).ends_with(".farewell!"));
        Ok(())
    }

    /// C-44, J-04: an end that is kept open is told once, whatever reading does afterwards.
    async fn a_kept_end_is_told_once(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).eof(Eof::KeepOpen);
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write_eof());
        world.settle().await;
        for _ in 0..3 {
            conn.with(|_, cx| {
                assert!(!cx.is_reading() && !cx.is_closing() && cx.is_writable());
                cx.pause_reading();
                cx.resume_reading();
                assert!(!cx.is_reading());
                cx.write(b"on");
            });
            world.settle().await;
        }
        assert_eq!(log.text(), "CM ER");
        assert_eq!(text_of(&peer), "ononon");
        Ok(())
    }

    /// C-45, TR-06: it ends by `close`.
    async fn a_kept_connection_ends_by_close(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let subject = Recorder::new(&log).eof(Eof::KeepOpen);
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        peer.with(|_, cx| cx.write_eof());
        world.settle().await;
        conn.with(|_, cx| { cx.write(b"the answer"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "CM ER CL(None)");
        assert_eq!(peer_log.text(), "CM DR ER CL(None)");
        Ok(())
    }

    /// C-45: it ends by `abort`.
    async fn a_kept_connection_ends_by_abort(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let subject = Recorder::new(&log).eof(Eof::KeepOpen);
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        peer.with(|_, cx| cx.write_eof());
        world.settle().await;
        conn.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM ER CL(None)");
        assert_eq!(peer_log.text(), "CM CL(ConnectionReset)");
        Ok(())
    }

    /// C-45, K-02, TR-09: a reset is not noticed on its own; the next write returns, and ends it.
    async fn a_kept_connection_notices_a_reset_by_writing(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).eof(Eof::KeepOpen);
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write_eof());
        world.settle().await;
        peer.with(|_, cx| cx.abort());
        world.settle().await;
        assert_eq!(log.text(), "CM ER");
        assert!(!conn.transport().is_closing());
        conn.with(|_, cx| cx.write(b"hello?"));
        assert!(conn.transport().is_closing());
        world.settle().await;
        assert_eq!(log.text(), "CM ER CL(BrokenPipe)");
        Ok(())
    }

    /// C-47: half-close from end to end: a request and its end, a late answer, the close.
    async fn half_close_works_end_to_end(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let peer = Recorder::new(&peer_log).eof(Eof::KeepOpen);
        let (conn, peer) = connect(&world, Recorder::new(&log), peer).await?;
        conn.with(|_, cx| { cx.write(b"request"); cx.write_eof(); });
        world.settle().await;
        assert_eq!(peer_log.text(), "CM DR ER");
        assert_eq!(log.text(), "CM");
        peer.with(|_, cx| { cx.write(b"answer"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "CM DR ER CL(None)");
        assert_eq!(peer_log.text(), "CM DR ER CL(None)");
        assert_eq!(text_of(&conn), "answer");
        assert_eq!(text_of(&peer), "request");
        Ok(())
    }

    /// C-43, C-30: an end without any data; the accepting side's answer still arrives.
    async fn an_end_alone(world: World) -> io::Result<()> {
        let (server, accepted) = serve_one(&world, Recorder::new(&Log::new())
            .on_eof(|cx| cx.write(b"so soon?"))).await?;
        let log = Log::new();
        let subject = Recorder::new(&log).on_made(|cx| cx.write_eof());
        let conn = world.host("client").create_connection(ADDRESS, || subject).await?;
        accepted.await.expect("it is accepted").closed().await?;
        conn.closed().await?;
        server.close();
        assert_eq!(log.text(), "CM DR ER CL(None)");
        assert_eq!(text_of(&conn), "so soon?");
        Ok(())
    }
}

/// K-07: cut anywhere, a stream is the same to its protocol.
// on: engine
#[test]
fn where_a_stream_is_cut_means_nothing() {
    let data = pattern(7);
    // Each bit says whether the stream is cut behind a byte.
    for cuts in 0..1_u32 << 6 {
        let log = Log::new();
        let mut peer = testing::drive(Recorder::new(&log));
        let mut piece = Vec::new();
        for (at, byte) in data.iter().enumerate() {
            piece.push(*byte);
            if cuts >> at & 1 == 1 {
                peer.feed(&std::mem::take(&mut piece));
            }
        }
        peer.feed(&piece);
        peer.feed_eof();
        assert_eq!(log.text(), "CM DR ER CL(None)", "cuts {cuts:b}");
        assert_eq!(peer.conn().with(|recorder, _| recorder.data.clone()), data);
    }
}
