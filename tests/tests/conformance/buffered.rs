//! C.3: buffered protocols, and changes of protocol.

use std::io;

use sim_core::{BufferedProtocol, Conn, Cx, Eof, Protocol, testing};
use tests::both_loops;
use tests::harness::only;
use tests::recorder::{BufferedRecorder, Log, Recorder};

use crate::connected::{Reports, connect, connect_to_anyone, drain, jam, set_marks, text_of};

fn data_of(conn: &Conn<BufferedRecorder>) -> String {
    conn.with(|subject, _| String::from_utf8_lossy(&subject.data).into_owned())
}

/// A buffered protocol that hands its connection to a recorder inside `get_buffer`.
struct Fickle {
    log: Log,
    buffer: [u8; 8],
}

impl BufferedProtocol for Fickle {
    fn get_buffer(&mut self, cx: &mut Cx<'_, Self>, _hint: usize) -> &mut [u8] {
        self.log.push("GB");
        cx.set_protocol(Recorder::new(&self.log).named("new."));
        &mut self.buffer
    }

    fn buffer_updated(&mut self, _cx: &mut Cx<'_, Self>, _bytes: usize) {
        self.log.push("BU");
    }
}

both_loops! {
    /// C-50, C-51, C-53, TR-19: a buffer of 50 bytes for 51 bytes and the end: two rounds, and the end
    /// after a buffer that gets nothing.
    async fn a_small_buffer_takes_more_rounds(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, BufferedRecorder::new(&log, 50)).await?;
        peer.with(|_, cx| { cx.write(&[b'x'; 51]); cx.write_eof(); });
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(50) GB BU(1) GB ER CL(None)");
        assert_eq!(data_of(&conn), "x".repeat(51));
        Ok(())
    }

    /// C-50: a buffer that is filled to the last byte is asked for again, and gets nothing; the next
    /// data then takes one round.
    async fn a_full_buffer_is_asked_for_once_more(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, BufferedRecorder::new(&log, 5)).await?;
        peer.with(|_, cx| cx.write(b"exact"));
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(5) GB");
        peer.with(|_, cx| cx.write(b"more"));
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(5) GB GB BU(4)");
        peer.with(|_, cx| cx.close());
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(5) GB GB BU(4) GB ER CL(None)");
        assert_eq!(data_of(&conn), "exactmore");
        Ok(())
    }

    /// C-53: a buffer of one byte loses nothing.
    async fn a_buffer_of_one_byte_loses_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, BufferedRecorder::new(&log, 1)).await?;
        let data: String = ('a'..='z').cycle().take(300).collect();
        peer.with(|_, cx| { cx.write(data.as_bytes()); cx.close(); });
        conn.closed().await?;
        assert_eq!(data_of(&conn), data);
        assert_eq!(log.count("BU(1)"), 300);
        Ok(())
    }

    /// C-50, C-53: the buffer may have another length each time, and a huge one is as good.
    async fn the_length_of_the_buffer_may_change(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = BufferedRecorder::new(&log, 1);
        let size = subject.size.clone();
        let subject = subject.on_updated(move |_| size.set(size.get() * 3));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(&[b'y'; 15]));
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(1) GB BU(3) GB BU(9) GB BU(2)");
        conn.with(|subject, _| subject.size.set(1 << 20));
        peer.with(|_, cx| { cx.write(b"z"); cx.close(); });
        world.settle().await;
        assert!(log.text().ends_with("GB BU(2) GB BU(1) GB ER CL(None)"), "{log:?}");
        Ok(())
    }

    /// C-52, C-10: an empty buffer is reported, closes the connection with the error, and is not
    /// updated; the peer gets a reset.
    async fn an_empty_buffer_is_an_error(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let reports = Reports::of(&world.host("client"), &log);
        let subject = BufferedRecorder::new(&log, 0);
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        assert_eq!(log.text(), "CM GB REPORT CL(InvalidInput)");
        assert_eq!(peer_log.text(), "CM CL(ConnectionReset)");
        let report = only(reports.all());
        assert_eq!(report.transport, Some(conn.transport().number()));
        assert!(report.to_string().contains("get_buffer() returned an empty buffer"), "{report}");
        Ok(())
    }

    /// C-54: `pause_reading` in `buffer_updated` stops the rounds; nothing is lost.
    async fn a_pause_in_updated_stops_the_rounds(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = BufferedRecorder::new(&log, 2).on_updated(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"abcde"); cx.close(); });
        let mut expected = "CM".to_owned();
        for round in [" GB BU(2)", " GB BU(2)", " GB BU(1)", " GB ER CL(None)"] {
            world.settle().await;
            expected.push_str(round);
            assert_eq!(log.text(), expected);
            conn.with(|_, cx| cx.resume_reading());
        }
        assert_eq!(data_of(&conn), "abcde");
        Ok(())
    }

    /// C-37, C-54: `pause_reading` in `get_buffer` itself: nothing is delivered behind it.
    async fn a_pause_in_get_buffer_reads_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let mut pauses = true;
        let subject = BufferedRecorder::new(&log, 8).on_buffer(move |cx| {
            if std::mem::take(&mut pauses) {
                cx.pause_reading();
            }
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"abc"));
        world.settle().await;
        assert_eq!(log.text(), "CM GB");
        conn.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert_eq!(log.text(), "CM GB GB BU(3)");
        Ok(())
    }

    /// C-35, C-50: `close` in `get_buffer`: no byte is delivered.
    async fn a_close_in_get_buffer_reads_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = BufferedRecorder::new(&log, 8).on_buffer(|cx| cx.close());
        let (_conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"abc"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "CM GB CL(None)");
        Ok(())
    }

    /// C-55: `set_protocol` in `get_buffer`: the bytes go to the new protocol.
    async fn a_change_in_get_buffer_reads_into_the_new_protocol(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Fickle { log: log.clone(), buffer: [0; 8] };
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"abc"); cx.close(); });
        conn.closed().await?;
        assert_eq!(log.text(), "GB new.DR new.ER new.CL(None)");
        Ok(())
    }

    /// C-55, TR-20: plain to buffered inside `data_received`: what comes later, and the end, goes to
    /// the new protocol, which is not made; the old one is not lost.
    async fn plain_to_buffered_inside_data_received(world: World) -> io::Result<()> {
        let log = Log::new();
        let new = log.clone();
        let subject = Recorder::new(&log).named("old.").on_data(move |cx, _| {
            cx.set_protocol(BufferedRecorder::new(&new, 2));
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"first"));
        world.settle().await;
        let now = conn.transport().protocol::<BufferedRecorder>().expect("it is in charge");
        assert!(conn.transport().protocol::<Recorder>().is_none());
        peer.with(|_, cx| { cx.write(b"new"); cx.close(); });
        world.settle().await;
        assert_eq!(log.text(), "old.CM old.DR GB BU(2) GB BU(1) GB ER CL(None)");
        assert_eq!(conn.with(|old, _| old.data.clone()), b"first");
        assert_eq!(data_of(&now), "new");
        Ok(())
    }

    /// C-55: buffered to plain inside `buffer_updated`: the rest of what is there goes to the new
    /// protocol.
    async fn buffered_to_plain_inside_updated(world: World) -> io::Result<()> {
        let log = Log::new();
        let new = log.clone();
        let subject = BufferedRecorder::new(&log, 4).on_updated(move |cx| {
            cx.set_protocol(Recorder::new(&new).named("new."));
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"headbody"));
        world.settle().await;
        let now = conn.transport().protocol::<Recorder>().expect("it is in charge");
        peer.with(|_, cx| cx.close());
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(4) new.DR new.ER new.CL(None)");
        assert_eq!(data_of(&conn), "head");
        assert_eq!(text_of(&now), "body");
        Ok(())
    }

    /// C-55: a change inside `connection_made` and inside `eof_received`: each event goes to the one
    /// in charge then, and the answer of the old one counts.
    async fn changes_inside_made_and_at_the_end(world: World) -> io::Result<()> {
        let log = Log::new();
        let (second, third) = (log.clone(), log.clone());
        let subject = Recorder::new(&log).named("1.").on_made(move |cx| {
            let third = third.clone();
            let next = Recorder::new(&second).named("2.").eof(Eof::Close).on_eof(move |cx| {
                cx.set_protocol(Recorder::new(&third).named("3."));
            });
            cx.set_protocol(next);
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"data"); cx.close(); });
        conn.closed().await?;
        assert_eq!(log.text(), "1.CM 2.DR 2.ER 3.CL(None)");
        Ok(())
    }

    /// C-55: a change from outside, while data waits behind a pause.
    async fn a_change_from_outside(world: World) -> io::Result<()> {
        let log = Log::new();
        let subject = Recorder::new(&log).named("1.").on_made(|cx| cx.pause_reading());
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        let transport = conn.transport();
        let second = transport.set_protocol(Recorder::new(&log).named("2."));
        assert!(!transport.is_reading(), "the pause is the transport's");
        transport.resume_reading();
        world.settle().await;
        assert_eq!(log.text(), "1.CM 2.DR");
        transport.close();
        world.settle().await;
        assert_eq!(log.text(), "1.CM 2.DR 2.CL(None)");
        assert_eq!(text_of(&second), "data");
        Ok(())
    }

    /// C-55: on a lost connection the new protocol is attached to nothing.
    async fn a_change_after_the_loss_does_nothing(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, _peer) = connect_to_anyone(&world, Recorder::new(&log).named("1.")).await?;
        conn.with(|_, cx| cx.abort());
        conn.closed().await?;
        let late = conn.transport().set_protocol(Recorder::new(&log).named("2."));
        late.closed().await?;
        late.with(|_, cx| cx.write(b"into the void"));
        world.settle().await;
        assert!(conn.transport().protocol::<Recorder>().is_none());
        assert_eq!(log.text(), "1.CM 1.CL(None)");
        Ok(())
    }

    /// C-57, C-55: a change while writing is paused: the new protocol is paused, then resumed.
    async fn a_change_while_paused_pauses_the_new_protocol(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log).named("1.")).await?;
        jam(&world, &conn, &peer).await;
        set_marks(&conn, 0);
        conn.with(|_, cx| cx.write(b"!"));
        world.settle().await;
        assert_eq!(log.text(), "1.CM 1.PW");
        conn.transport().set_protocol(Recorder::new(&log).named("2."));
        world.settle().await;
        assert_eq!(log.text(), "1.CM 1.PW 2.PW");
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "1.CM 1.PW 2.PW 2.RW");
        Ok(())
    }

    /// C-57: a change right behind the crossing, before `pause_writing` was delivered: it goes to the
    /// protocol in charge then, once.
    async fn a_change_right_behind_the_crossing(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log).named("1.")).await?;
        jam(&world, &conn, &peer).await;
        set_marks(&conn, 0);
        conn.with(|_, cx| {
            cx.write(b"!");
            cx.set_protocol(Recorder::new(&log).named("2."));
        });
        world.settle().await;
        assert_eq!(log.text(), "1.CM 2.PW");
        // Inside pause_writing: the old one has had its event, the new one gets its own.
        let (third, transport) = (log.clone(), conn.transport());
        transport.set_protocol(Recorder::new(&log).named("3.").on_pause(move |cx| {
            cx.set_protocol(Recorder::new(&third).named("4."));
        }));
        world.settle().await;
        assert_eq!(log.text(), "1.CM 2.PW 3.PW 4.PW");
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "1.CM 2.PW 3.PW 4.PW 4.RW");
        Ok(())
    }
}

/// A plain protocol that hands over to a buffered one behind its first data.
struct Handover(Log);

impl Protocol for Handover {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, _data: &[u8]) {
        cx.set_protocol(BufferedRecorder::new(&self.0, 3));
    }
}

/// C-56, C-53: bytes that are fed go round by round until they are consumed.
// on: engine
#[test]
fn fed_bytes_go_round_by_round() {
    let log = Log::new();
    let mut peer = testing::drive(BufferedRecorder::new(&log, 3));
    peer.feed(b"1234567");
    assert_eq!(log.text(), "CM GB BU(3) GB BU(3) GB BU(1)");
    peer.feed(b"");
    peer.feed(b"8");
    assert_eq!(log.text(), "CM GB BU(3) GB BU(3) GB BU(1) GB BU(1)");
    assert_eq!(data_of(&peer.conn()), "12345678");
}

/// C-56: an empty buffer is an error for fed bytes too.
// on: engine
#[test]
fn fed_bytes_do_not_accept_an_empty_buffer() {
    let log = Log::new();
    let mut peer = testing::drive(BufferedRecorder::new(&log, 0));
    peer.feed(b"12");
    assert_eq!(log.text(), "CM GB CL(InvalidInput)");
    assert!(peer.is_reset());
}

/// C-56: after a change the rest of what was fed goes to the new protocol; after a pause it waits.
// on: engine
#[test]
fn fed_bytes_follow_changes_and_pauses() {
    let log = Log::new();
    let mut peer = testing::drive(Handover(log.clone()));
    peer.feed(b"to the old");
    peer.feed(b"to new");
    assert_eq!(log.text(), "GB BU(3) GB BU(3) GB");

    let log = Log::new();
    let subject = BufferedRecorder::new(&log, 4).on_updated(|cx| cx.pause_reading());
    let mut peer = testing::drive(subject);
    peer.feed(b"held back");
    assert_eq!(log.text(), "CM GB BU(4)");
    peer.with(|_, cx| cx.resume_reading());
    peer.with(|_, cx| cx.resume_reading());
    assert_eq!(data_of(&peer.conn()), "held back");
}
