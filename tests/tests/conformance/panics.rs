//! Ruling 2: callbacks that panic, and protocols that give up in good order.

use std::io;

use sim_core::{CallbackPanicked, Cx, Eof, World};
use sim_net::{FindingKind, Sim};
use tests::both_loops;
use tests::harness::only;
use tests::recorder::{BufferedRecorder, Log, Recorder};

use crate::connected::{Reports, connect, connect_to_anyone, drain, jam, set_marks};

/// The panic inside the error that `connection_lost` got.
fn panic_in(error: &io::Error) -> (&'static str, String) {
    let shared = error.get_ref().expect("it is no error of the operating system");
    let mut cause: &(dyn std::error::Error + 'static) = shared;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let panic = cause.downcast_ref::<CallbackPanicked>().expect("a callback panicked");
    (panic.callback, panic.message.to_string())
}

both_loops! { contain;
    /// C-32, C-10, TR-17: a panic in `data_received` is reported, drops the output, and costs the
    /// connection: no end, lost with the panic; the peer gets a reset.
    async fn a_panic_in_data_received(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let reports = Reports::of(&world.host("client"), &log);
        let subject = Recorder::new(&log).on_data(|cx, _| {
            cx.write(b"never sent: it waits behind what waits");
            panic!("bad data")
        });
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        jam(&world, &conn, &peer).await;
        peer.with(|_, cx| { cx.write(b"data"); cx.write_eof(); });
        world.settle().await;
        assert_eq!(log.text(), "CM DR REPORT CL(Other)");
        assert_eq!(conn.transport().write_buffer_size(), 0);
        let error = conn.with(|subject, _| subject.error.take()).expect("it had one");
        assert_eq!(panic_in(&error), ("data_received", "bad data".to_owned()));
        let report = only(reports.all());
        assert_eq!(report.panic.as_deref(), Some("bad data"));
        assert_eq!(report.transport, Some(conn.transport().number()));
        assert!(report.protocol.is_some_and(|name| name.ends_with("Recorder")));
        peer.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert!(peer_log.text().ends_with("CL(ConnectionReset)"), "{peer_log:?}");
        Ok(())
    }

    /// C-32, C-10: a panic in `eof_received`.
    async fn a_panic_in_eof_received(world: World) -> io::Result<()> {
        for eof in [Eof::Close, Eof::KeepOpen] {
            let log = Log::new();
            let reports = Reports::of(&world.host("client"), &log);
            let subject = Recorder::new(&log).eof(eof).on_eof(|_| panic!("bad end"));
            let (conn, peer) = connect_to_anyone(&world, subject).await?;
            peer.with(|_, cx| { cx.write(b"data"); cx.write_eof(); });
            world.settle().await;
            assert_eq!(log.text(), "CM DR ER REPORT CL(Other)");
            let error = conn.with(|subject, _| subject.error.take()).expect("it had one");
            assert_eq!(panic_in(&error), ("eof_received", "bad end".to_owned()));
            assert_eq!(only(reports.all()).panic.as_deref(), Some("bad end"));
        }
        Ok(())
    }

    /// C-32, C-10: a panic in `buffer_updated`.
    async fn a_panic_in_buffer_updated(world: World) -> io::Result<()> {
        let log = Log::new();
        let reports = Reports::of(&world.host("client"), &log);
        let subject = BufferedRecorder::new(&log, 2).on_updated(|_| panic!("bad bytes"));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| { cx.write(b"data"); cx.write_eof(); });
        world.settle().await;
        assert_eq!(log.text(), "CM GB BU(2) REPORT CL(Other)");
        let error = conn.closed().await.unwrap_err();
        assert_eq!(panic_in(&error), ("buffer_updated", "bad bytes".to_owned()));
        assert_eq!(only(reports.all()).panic.as_deref(), Some("bad bytes"));
        Ok(())
    }

    /// C-52, C-10: a panic in `get_buffer`; nothing is updated.
    async fn a_panic_in_get_buffer(world: World) -> io::Result<()> {
        let log = Log::new();
        let reports = Reports::of(&world.host("client"), &log);
        let subject = BufferedRecorder::new(&log, 2).on_buffer(|_| panic!("no buffer"));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        assert_eq!(log.text(), "CM GB REPORT CL(Other)");
        let error = conn.closed().await.unwrap_err();
        assert_eq!(panic_in(&error), ("get_buffer", "no buffer".to_owned()));
        assert_eq!(only(reports.all()).panic.as_deref(), Some("no buffer"));
        Ok(())
    }

    /// C-32: a protocol that closes and then panics is still closed by the panic's error once.
    async fn a_panic_behind_a_close(world: World) -> io::Result<()> {
        type End = fn(&mut Cx<'_, Recorder>);
        let ends: [(End, &str); 2] = [
            (|cx| cx.close(), "CM DR REPORT CL(None)"),
            (|cx| cx.fail(io::ErrorKind::TimedOut.into()), "CM DR REPORT CL(TimedOut)"),
        ];
        for (end, text) in ends {
            let log = Log::new();
            let _reports = Reports::of(&world.host("client"), &log);
            let subject = Recorder::new(&log).on_data(move |cx, _| { end(cx); panic!("late") });
            let (_conn, peer) = connect_to_anyone(&world, subject).await?;
            peer.with(|_, cx| cx.write(b"data"));
            world.settle().await;
            assert_eq!(log.text(), text);
        }
        Ok(())
    }

    /// C-86: a panic in `pause_writing` or `resume_writing` is reported with transport and protocol;
    /// the connection lives, and the state has changed all the same.
    async fn a_panic_in_a_flow_event(world: World) -> io::Result<()> {
        let log = Log::new();
        let reports = Reports::of(&world.host("client"), &log);
        let subject = Recorder::new(&log)
            .on_pause(|_| panic!("no pause"))
            .on_resume(|_| panic!("no resume"));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        jam(&world, &conn, &peer).await;
        set_marks(&conn, 0);
        conn.with(|_, cx| cx.write(b"!"));
        world.settle().await;
        assert_eq!(log.text(), "CM PW REPORT");
        assert!(!conn.transport().is_writable() && !conn.transport().is_closing());
        conn.with(|_, cx| cx.write(b"?"));
        drain(&world, &conn, &peer).await;
        assert_eq!(log.text(), "CM PW REPORT RW REPORT");
        assert!(conn.transport().is_writable() && !conn.transport().is_closing());
        for (report, text) in reports.all().iter().zip(["no pause", "no resume"]) {
            assert_eq!(report.panic.as_deref(), Some(text));
            assert_eq!(report.transport, Some(conn.transport().number()));
            assert!(report.protocol.is_some_and(|name| name.ends_with("Recorder")));
        }
        conn.with(|_, cx| cx.close());
        peer.closed().await?;
        assert_eq!(log.text(), "CM PW REPORT RW REPORT CL(None)");
        assert!(peer.with(|peer, _| peer.data.ends_with(b"!?")));
        Ok(())
    }

    /// C-86, C-91: a panic in the `resume_writing` of a closing transport does not keep it from ending.
    async fn a_panic_in_the_last_resume(world: World) -> io::Result<()> {
        let log = Log::new();
        let _reports = Reports::of(&world.host("client"), &log);
        let subject = Recorder::new(&log).on_resume(|_| panic!("no resume"));
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        jam(&world, &conn, &peer).await;
        set_marks(&conn, 0);
        conn.with(|_, cx| { cx.write(b"!"); cx.close(); });
        peer.with(|_, cx| cx.resume_reading());
        peer.closed().await?;
        conn.closed().await?;
        assert_eq!(log.text(), "CM PW RW REPORT CL(None)");
        Ok(())
    }

    /// C-32: what a panic costs is its own connection: another one of the same protocol goes on.
    async fn a_panic_costs_one_connection(world: World) -> io::Result<()> {
        let (bad_log, good_log) = (Log::new(), Log::new());
        let bad = Recorder::new(&bad_log).on_data(|_, _| panic!("bad data"));
        let (_bad, bad_peer) = connect_to_anyone(&world, bad).await?;
        let (_good, good_peer) = connect_to_anyone(&world, Recorder::new(&good_log)).await?;
        let lp = world.host("server");
        // Both have data in the same turn.
        lp.call_soon(move || {
            bad_peer.with(|_, cx| cx.write(b"data"));
            good_peer.with(|_, cx| cx.write(b"data"));
        });
        world.settle().await;
        assert_eq!(bad_log.text(), "CM DR CL(Other)");
        assert_eq!(good_log.text(), "CM DR");
        Ok(())
    }
}

both_loops! {
    /// C-32, TR-17: `fail` with an OS error drops the output and costs the connection without a
    /// report; the peer gets a reset.
    async fn fail_with_an_os_error_is_not_reported(world: World) -> io::Result<()> {
        let (log, peer_log) = (Log::new(), Log::new());
        let reports = Reports::of(&world.host("client"), &log);
        let after = log.clone();
        let subject = Recorder::new(&log).on_data(move |cx, _| {
            cx.fail(io::Error::from_raw_os_error(71));
            cx.fail(io::Error::other("too late"));
            assert!(cx.is_closing() && cx.write_buffer_size() == 0);
            after.push("FAILED");
        });
        let (conn, peer) = connect(&world, subject, Recorder::new(&peer_log)).await?;
        jam(&world, &conn, &peer).await;
        peer.with(|_, cx| { cx.write(b"data"); cx.write_eof(); });
        let error = conn.closed().await.unwrap_err();
        assert_eq!(error.raw_os_error(), Some(71));
        assert!(log.text().starts_with("CM DR FAILED CL("), "{log:?}");
        assert!(reports.all().is_empty());
        peer.with(|_, cx| cx.resume_reading());
        world.settle().await;
        assert!(peer_log.text().ends_with("CL(ConnectionReset)"), "{peer_log:?}");
        Ok(())
    }

    /// C-10, A-64: `fail` with an error of the protocol's own is reported, and handed on.
    async fn fail_with_an_error_of_its_own_is_reported(world: World) -> io::Result<()> {
        let log = Log::new();
        let reports = Reports::of(&world.host("client"), &log);
        let subject = Recorder::new(&log).on_data(|cx, _| {
            cx.fail(io::Error::new(io::ErrorKind::InvalidData, "bad frame"));
        });
        let (conn, peer) = connect_to_anyone(&world, subject).await?;
        peer.with(|_, cx| cx.write(b"data"));
        world.settle().await;
        assert_eq!(log.text(), "CM DR REPORT CL(InvalidData)");
        let report = only(reports.all());
        assert!(report.panic.is_none());
        assert!(report.to_string().contains("bad frame"), "{report}");
        let error = conn.with(|subject, _| subject.error.take()).expect("it had one");
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidData, "bad frame".into()));
        Ok(())
    }

    /// C-10, C-15: `fail` overtakes a close that waits, from outside too.
    async fn fail_overtakes_a_close(world: World) -> io::Result<()> {
        let log = Log::new();
        let (conn, peer) = connect_to_anyone(&world, Recorder::new(&log)).await?;
        jam(&world, &conn, &peer).await;
        conn.with(|_, cx| cx.close());
        conn.transport().fail(io::ErrorKind::TimedOut.into());
        conn.transport().fail(io::ErrorKind::NotFound.into());
        world.settle().await;
        assert_eq!(log.text(), "CM CL(TimedOut)");
        Ok(())
    }
}

/// C-32: under the simulator's own policy a panic in any callback ends the run, and is what it found.
// on: sim
#[test]
fn a_panic_is_a_finding() {
    type Spoil = fn(Recorder) -> Recorder;
    let spoilt: [(Spoil, &str); 5] = [
        (|subject| subject.on_made(|_| panic!("made")), "made"),
        (|subject| subject.on_data(|_, _| panic!("data")), "data"),
        (|subject| subject.on_eof(|_| panic!("eof")), "eof"),
        (|subject| subject.on_lost(|_| panic!("lost")), "lost"),
        (|subject| subject.on_data(|cx, _| drop(cx.call_soon(|_, _| panic!("soon")))), "soon"),
    ];
    for (spoil, text) in spoilt {
        let report = Sim::new(1).run(move |world: World| async move {
            let subject = spoil(Recorder::new(&Log::new()));
            let (conn, peer) = connect_to_anyone(&world, subject).await?;
            peer.with(|_, cx| {
                cx.write(b"data");
                cx.close();
            });
            conn.closed().await
        });
        let finding = report.finding().expect("a panic is one");
        assert_eq!((finding.kind, &*finding.message), (FindingKind::Panic, text));
        assert_eq!(finding.host, "client");
    }
}
