//! D: what the network does not take at once.
//!
//! Loopback takes every datagram at once, so these tests are about the engine over a scripted
//! network, which both loops run, and about the simulator with a small send buffer.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use sim_core::testing::{DatagramPeer, drive_datagrams};
use sim_core::{PanicPolicy, WriteBufferLimits};
use tests::datagram_recorder::DatagramRecorder;
use tests::recorder::Log;
use tests::sim_only;

use crate::loops::panic_of;
use crate::serving::{Heard, PLACE};

/// What a queued datagram counts beside its payload.
const HEADER: usize = 8;

fn to() -> Option<SocketAddr> {
    Some("192.0.2.9:9".parse().unwrap())
}

/// A recorder on a network that takes `window` datagrams, which pauses above `high` and resumes at
/// `low`.
fn drive(
    recorder: DatagramRecorder,
    window: usize,
    high: usize,
    low: usize,
) -> DatagramPeer<DatagramRecorder> {
    let mut peer = drive_datagrams(recorder, window);
    peer.with(|_, cx| cx.set_write_buffer_limits(WriteBufferLimits { high, low }).unwrap());
    peer
}

fn send(peer: &mut DatagramPeer<DatagramRecorder>, data: &[u8]) {
    peer.with(|_, cx| cx.send_to(data, to()).unwrap());
}

/// What the network took since the last call, as text.
fn sent(peer: &mut DatagramPeer<DatagramRecorder>) -> String {
    let sent = peer.take_sent();
    assert!(sent.iter().all(|(_, address)| *address == to()), "{sent:?}");
    let text = sent.iter().map(|(data, _)| String::from_utf8_lossy(data).into_owned());
    text.collect::<Vec<_>>().join(" ")
}

fn size(peer: &DatagramPeer<DatagramRecorder>) -> usize {
    peer.conn().transport().write_buffer_size()
}

/// D-10: the first one goes at once; what the network does not take is copied and queued whole, and
/// later ones queue behind it, with their own addresses.
// on: engine
#[test]
fn what_is_not_taken_is_queued_whole_and_in_order() {
    let mut peer = drive_datagrams(DatagramRecorder::new(&Log::new()), 1);
    let addresses: Vec<SocketAddr> =
        (1..=3).map(|port| SocketAddr::from(([192, 0, 2, 9], port))).collect();
    let mut data = *b"abc";
    for (turn, &address) in addresses.iter().enumerate() {
        data[0] = b'1' + turn as u8;
        peer.with(|_, cx| cx.send_to(&data, Some(address)).unwrap());
    }
    data.fill(0);
    assert_eq!(peer.take_sent(), [(b"1bc".to_vec(), Some(addresses[0]))]);
    peer.take(1);
    assert_eq!(peer.take_sent(), [(b"2bc".to_vec(), Some(addresses[1]))]);
    peer.take(1);
    assert_eq!(peer.take_sent(), [(b"3bc".to_vec(), Some(addresses[2]))]);
}

/// D-12, J-27: each queued datagram counts its payload and 8 bytes, in and out alike; the size
/// returns to zero, by sending, by errors and by `abort`.
// on: engine
#[test]
fn the_size_counts_payload_and_header_and_returns_to_zero() {
    let mut peer = drive(DatagramRecorder::new(&Log::new()), 0, usize::MAX, 0);
    for (data, expected) in [(&b""[..], 8), (b"1", 17), (b"1234567", 32)] {
        send(&mut peer, data);
        assert_eq!(size(&peer), expected);
    }
    peer.take(1);
    assert_eq!(size(&peer), 24);
    peer.fail_next_send(90);
    assert_eq!(size(&peer), 15);
    peer.take(1);
    assert_eq!(size(&peer), 0);
    send(&mut peer, b"again");
    assert_eq!(size(&peer), 13);
    peer.with(|_, cx| cx.abort());
    assert_eq!(size(&peer), 0);
}

/// D-11: writing pauses strictly above the high mark and resumes at the low one; each comes once.
// on: engine
#[test]
fn flow_control_counts_what_is_queued() {
    let log = Log::new();
    let mut peer = drive(DatagramRecorder::new(&log), 0, 2 * (4 + HEADER), 4 + HEADER);
    send(&mut peer, b"1111");
    send(&mut peer, b"2222");
    assert_eq!((log.text().as_str(), peer.conn().transport().is_writable()), ("CM", true));
    peer.with(|recorder, cx| {
        cx.send_to(b"", to()).unwrap();
        assert!(!cx.is_writable());
        assert_eq!(recorder.log.text(), "CM", "the callback comes after this one");
    });
    assert_eq!(log.text(), "CM PW");
    send(&mut peer, b"more");
    peer.take(2);
    // 8 and 12 bytes are left: above the low mark.
    assert_eq!((log.text().as_str(), size(&peer)), ("CM PW", 20));
    peer.take(1);
    assert_eq!((log.text().as_str(), size(&peer)), ("CM PW RW", 12));
    assert!(peer.conn().transport().is_writable());
    peer.take(1);
    assert_eq!(log.text(), "CM PW RW");
}

/// D-11: an empty datagram alone crosses a high mark of zero; the marks are as those of streams.
// on: engine
#[test]
fn the_marks_are_those_of_streams() {
    let log = Log::new();
    let mut peer = drive_datagrams(DatagramRecorder::new(&log), 0);
    let transport = peer.conn().transport().clone();
    let default = transport.write_buffer_limits();
    assert_eq!((default.high, default.low), (65_536, 16_384));
    let backwards = transport.set_write_buffer_limits(WriteBufferLimits { high: 1, low: 2 });
    assert_eq!(backwards.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    assert_eq!(transport.write_buffer_limits(), default);
    send(&mut peer, b"");
    transport.set_write_buffer_limits(WriteBufferLimits { high: 0, low: 0 }).unwrap();
    assert!(!transport.is_writable());
    peer.settle();
    assert_eq!(log.text(), "CM PW");
    // Raising them does not resume, the next datagram that leaves does.
    transport.set_write_buffer_limits(WriteBufferLimits { high: 100, low: 50 }).unwrap();
    peer.settle();
    assert_eq!(log.text(), "CM PW");
    peer.take(1);
    assert_eq!(log.text(), "CM PW RW");
}

/// D-11: `resume_writing` may send: it may pause again, and all is sent before a close.
// on: engine
#[test]
fn resume_writing_may_send_and_pause_again() {
    let log = Log::new();
    let rounds = Cell::new(2);
    let recorder = DatagramRecorder::new(&log).on_resume(move |cx| {
        if rounds.get() > 0 {
            rounds.set(rounds.get() - 1);
            cx.send_to(b"x", to()).unwrap();
            cx.send_to(b"y", to()).unwrap();
        }
    });
    let mut peer = drive(recorder, 0, 0, 0);
    send(&mut peer, b"a");
    for expected in ["CM PW RW PW", "CM PW RW PW", "CM PW RW PW RW PW"] {
        peer.take(1);
        assert_eq!(log.text(), expected);
    }
    peer.with(|_, cx| cx.close());
    assert_eq!(log.text(), "CM PW RW PW RW PW");
    peer.take(2);
    assert_eq!(log.text(), "CM PW RW PW RW PW RW CL(None)");
    assert_eq!(sent(&mut peer), "a x y x y");
}

/// D-13, TR-22, J-26: `close` sends what is queued; writing may be resumed; then, in the same
/// handle as the last datagram, the endpoint is lost.
// on: engine
#[test]
fn close_sends_what_is_queued() {
    let log = Log::new();
    let mut peer = drive(DatagramRecorder::new(&log), 1, 20, 10);
    for data in [b"1", b"2", b"3", b"4"] {
        send(&mut peer, data);
    }
    peer.with(|_, cx| {
        cx.close();
        cx.close();
        assert!(cx.is_closing() && !cx.is_writable() && !cx.is_reading());
        cx.send_to(b"late", to()).unwrap();
    });
    peer.feed(b"deaf", to().unwrap());
    assert_eq!((log.text().as_str(), size(&peer)), ("CM PW", 27));
    peer.take(2);
    assert_eq!((log.text().as_str(), size(&peer)), ("CM PW RW", 9));
    let soon = log.clone();
    peer.conn().transport().event_loop().call_soon(move || soon.push("soon"));
    peer.take(1);
    assert_eq!(log.text(), "CM PW RW soon CL(None)");
    assert_eq!(sent(&mut peer), "1 2 3 4");
}

/// D-14: `abort` drops the queue, after `close` too, and the loss is queued; no resume comes.
// on: engine
#[test]
fn abort_drops_what_is_queued() {
    for close_first in [false, true] {
        let log = Log::new();
        let mut peer = drive(DatagramRecorder::new(&log), 0, 0, 0);
        send(&mut peer, b"never");
        peer.with(|recorder, cx| {
            if close_first {
                cx.close();
            }
            cx.abort();
            cx.abort();
            assert_eq!((recorder.log.text().as_str(), cx.write_buffer_size()), ("CM PW", 0));
        });
        peer.take(10);
        assert_eq!((log.text().as_str(), sent(&mut peer).as_str()), ("CM PW CL(None)", ""));
    }
}

/// D-14, D-16: what `pause_writing`, `resume_writing` and `error_received` close or abort is lost
/// once.
// on: engine
#[test]
fn every_callback_may_end_the_endpoint() {
    type With = fn(DatagramRecorder) -> DatagramRecorder;
    let cases: [(With, &str); 6] = [
        (|recorder| recorder.on_pause(|cx| cx.abort()), "CM PW CL(None)"),
        (|recorder| recorder.on_pause(|cx| cx.close()), "CM PW EX(os 90) RW CL(None)"),
        (|recorder| recorder.on_error(|cx| cx.abort()), "CM PW EX(os 90) CL(None)"),
        (|recorder| recorder.on_error(|cx| cx.close()), "CM PW EX(os 90) RW CL(None)"),
        (|recorder| recorder.on_resume(|cx| cx.abort()), "CM PW EX(os 90) RW CL(None)"),
        (|recorder| recorder.on_resume(|cx| cx.close()), "CM PW EX(os 90) RW CL(None)"),
    ];
    for (place, (with, expected)) in cases.into_iter().enumerate() {
        let log = Log::new();
        let mut peer = drive(with(DatagramRecorder::new(&log)), 0, 10, 0);
        peer.with(|_, cx| {
            cx.send_to(b"1", to()).unwrap();
            cx.send_to(b"2", to()).unwrap();
        });
        peer.fail_next_send(90);
        peer.take(10);
        assert_eq!((place, log.text().as_str()), (place, expected));
        assert_eq!(size(&peer), 0);
    }
}

/// D-16, J-25: an error of a queued datagram drops that one alone and is told; the rest is sent, and
/// a paused protocol is resumed, also if it was the last one that failed.
// on: engine
#[test]
fn an_error_costs_one_queued_datagram() {
    let log = Log::new();
    let mut peer = drive(DatagramRecorder::new(&log), 0, 20, 0);
    for data in [b"1", b"2", b"3"] {
        send(&mut peer, data);
    }
    peer.fail_next_send(90);
    assert_eq!(log.text(), "CM PW EX(os 90)");
    peer.take(1);
    assert_eq!((log.text().as_str(), sent(&mut peer).as_str()), ("CM PW EX(os 90)", "2"));
    peer.fail_next_send(111);
    assert_eq!(log.text(), "CM PW EX(os 90) EX(ConnectionRefused) RW");
    peer.take(1);
    send(&mut peer, b"4");
    assert_eq!(sent(&mut peer), "4");
    assert!(!peer.conn().transport().is_closing());
}

/// D-16: what `error_received` sends queues behind what waits.
// on: engine
#[test]
fn a_send_inside_error_received_goes_last() {
    let log = Log::new();
    let recorder = DatagramRecorder::new(&log).on_error(|cx| cx.send_to(b"instead", to()).unwrap());
    let mut peer = drive(recorder, 0, usize::MAX, 0);
    for data in [b"1", b"2"] {
        send(&mut peer, data);
    }
    peer.fail_next_send(90);
    peer.take(10);
    assert_eq!((log.text().as_str(), sent(&mut peer).as_str()), ("CM EX(os 90)", "2 instead"));
    assert_eq!(size(&peer), 0);
}

/// A-18, D-16: a datagram whose error ended the run by a panic has left the queue: the next run tries those behind it,
/// and ends the pause, without another word of the network.
// on: engine
#[test]
fn the_queue_goes_on_behind_a_panic_that_ended_the_run() {
    const MARK: usize = 2 * (1 + HEADER);
    let log = Log::new();
    let recorder = DatagramRecorder::new(&log).on_error(|_| panic!("error"));
    let mut peer = drive(recorder, 0, MARK, MARK);
    peer.conn().transport().event_loop().set_panic_policy(PanicPolicy::EndRun);
    for data in [b"1", b"2", b"3"] {
        send(&mut peer, data);
    }
    assert_eq!(panic_of(|| peer.fail_next_send(90)), "error");
    peer.settle();
    assert_eq!((log.text().as_str(), size(&peer)), ("CM PW EX(os 90) RW", MARK));
    peer.take(2);
    assert_eq!(sent(&mut peer), "2 3");
}

/// A-18, D-13: an endpoint that is closed while datagrams wait ends behind a panic in `resume_writing` that ended the
/// run.
// on: engine
#[test]
fn a_closing_endpoint_ends_behind_a_panic_that_ended_the_run() {
    let log = Log::new();
    let recorder = DatagramRecorder::new(&log).on_resume(|_| panic!("resume"));
    let mut peer = drive(recorder, 0, 0, 0);
    peer.conn().transport().event_loop().set_panic_policy(PanicPolicy::EndRun);
    send(&mut peer, b"last");
    peer.with(|_, cx| cx.close());
    assert_eq!(panic_of(|| peer.take(1)), "resume");
    peer.settle();
    assert_eq!((log.text().as_str(), sent(&mut peer).as_str()), ("CM PW RW CL(None)", "last"));
}

/// D-07: errors of receiving go to `error_received`, in order with the datagrams; would-block and
/// interrupted are nobody's business.
// on: engine
#[test]
fn errors_of_receiving_are_told_in_order() {
    let log = Log::new();
    let mut peer = drive_datagrams(DatagramRecorder::new(&log), usize::MAX);
    let from = to().unwrap();
    peer.feed_error(11);
    peer.feed_error(4);
    peer.feed(b"1", from);
    peer.feed_error(111);
    peer.feed(b"2", from);
    assert_eq!(log.text(), "CM DG(1) EX(ConnectionRefused) DG(2)");
    assert!(peer.with(|_, cx| !cx.is_closing()));
}

/// D-18: a panic in a flow event or in `error_received` from the writer is reported; the endpoint
/// stays open, the state has changed, and the queue goes on.
// on: engine
#[test]
fn panics_of_flow_events_and_errors_are_reported() {
    let log = Log::new();
    let recorder = DatagramRecorder::new(&log)
        .on_pause(|_| panic!("pause"))
        .on_resume(|_| panic!("resume"))
        .on_error(|_| panic!("error"));
    let mut peer = drive(recorder, 0, 0, 0);
    let lp = peer.conn().transport().event_loop().clone();
    lp.set_panic_policy(PanicPolicy::Contain);
    let heard = Heard::by(&lp);
    peer.with(|_, cx| {
        cx.send_to(b"1", to()).unwrap();
        cx.send_to(b"2", to()).unwrap();
    });
    peer.fail_next_send(90);
    peer.take(5);
    assert_eq!(heard.panics(), ["pause", "error", "resume"]);
    assert_eq!((log.text().as_str(), sent(&mut peer).as_str()), ("CM PW EX(os 90) RW", "2"));
    assert!(peer.conn().transport().is_writable());
}

sim_only! {
    /// D-10, D-11, D-13, TR-22, J-26: over the simulated network with a small send buffer: pause,
    /// resume, and everything that was queued before the close arrives.
    async fn a_small_send_buffer_queues_and_nothing_is_lost(world: World) -> io::Result<()> {
        let (log, heard) = (Log::new(), Log::new());
        let receiver = world.host("server").datagram().local(PLACE);
        let receiver = receiver.bind(|| DatagramRecorder::new(&heard)).await?;
        let recorder = DatagramRecorder::new(&log);
        let sender = world.host("client").datagram().remote(PLACE).send_buffer(4_096);
        let sender = sender.bind(|| recorder).await?;
        let transport = sender.transport();
        transport.set_write_buffer_limits(WriteBufferLimits { high: 3_000, low: 1_000 })?;
        sender.with(|_, cx| for fill in 0..8_u8 {
            cx.send_to(&[fill; 1_000], None).unwrap();
        });
        assert!(!transport.is_writable());
        transport.close();
        assert_eq!(log.text(), "CM");
        sender.closed().await?;
        world.settle().await;
        assert_eq!(log.text(), "CM PW RW CL(None)");
        let mut fills = receiver.with(|recorder, _| {
            recorder.received.iter().map(|(data, _)| data[0]).collect::<Vec<_>>()
        });
        // Datagrams may overtake each other.
        fills.sort_unstable();
        assert_eq!(fills, (0..8).collect::<Vec<_>>());
        Ok(())
    }
}

/// D-10, D-11: `while is_writable { send }` in the callbacks sends a whole file of datagrams.
// on: engine
#[test]
fn the_idiom_of_a_sender_that_obeys_flow_control_works() {
    let left = Rc::new(Cell::new(50_u32));
    let pump = |left: Rc<Cell<u32>>| {
        move |cx: &mut sim_core::Cx<'_, DatagramRecorder, sim_core::DatagramTransport>| {
            while cx.is_writable() && left.get() > 0 {
                left.set(left.get() - 1);
                cx.send_to(b"0123456789", to()).unwrap();
            }
        }
    };
    let recorder = DatagramRecorder::new(&Log::new()).on_resume(pump(Rc::clone(&left)));
    let mut peer = drive(recorder, 3, 100, 20);
    peer.with(|_, cx| pump(Rc::clone(&left))(cx));
    while left.get() > 0 {
        assert!(size(&peer) <= 100 + 18, "{} bytes are queued", size(&peer));
        peer.take(2);
    }
    peer.take(10);
    assert_eq!(peer.take_sent().len(), 50);
}
