//! G-50 to G-52: handlers of the readiness of descriptors that are the user's own.

use std::cell::{Cell, RefCell};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use real_net::{MioDriver, Watched, new_loop_and_driver};
use rustix::process::{Resource, getrlimit, setrlimit};
use sim_core::driver::{Driver, Next};
use sim_core::{EventLoop, Loop, Serving, Socket};
use tests::alone::end_of;
use tests::harness::only;
use tests::recorder::{Log, Recorder};
use tests::socket_path::SocketPath;
use tests::{real_only, sim_only};

use crate::serving::Heard;

type Stream = Watched<UnixStream>;

fn new_loop() -> (EventLoop, Rc<MioDriver>) {
    new_loop_and_driver().expect("there are descriptors left")
}

/// A loop, a watched stream of it, and the stream's peer, which does not block.
fn watched() -> (EventLoop, Rc<MioDriver>, Stream, UnixStream) {
    let (lp, driver) = new_loop();
    let (stream, peer) = UnixStream::pair().unwrap();
    peer.set_nonblocking(true).unwrap();
    let watched = driver.watch(&lp, stream).unwrap();
    (lp, driver, watched, peer)
}

/// Runs exactly so many turns, and writes "turn" before each.
fn run_turns(lp: &EventLoop, log: &Log, turns: usize) {
    for _ in 0..turns {
        log.push("turn");
        lp.stop();
        lp.run_forever().unwrap();
    }
}

/// A handler that writes an entry, and does nothing else.
fn writes(log: &Log, entry: &'static str) -> impl FnMut(&Stream) + 'static {
    let log = log.clone();
    move |_| log.push(entry)
}

/// Reads what one read gives.
fn read(stream: &Stream) -> Vec<u8> {
    let mut bytes = [0; 64];
    let length = stream.get_ref().read(&mut bytes).unwrap();
    bytes[..length].to_vec()
}

/// True if the loop would sleep: no descriptor of it is ready.
fn sleeps(driver: &MioDriver) -> bool {
    let (before, mut events) = (Instant::now(), Vec::new());
    driver.wait(Next::At(driver.now() + Duration::from_millis(20)), &mut events).unwrap();
    events.is_empty() && before.elapsed() >= Duration::from_millis(20)
}

/// G-50: a reader is called once in each turn while there is something to read, whether it reads or
/// not, and not at all when there is nothing: then the loop sleeps.
// on: real
#[test]
fn a_reader_is_called_in_each_turn_while_there_is_something() {
    let (lp, driver, stream, mut peer) = watched();
    let log = Log::new();
    stream.add_reader(writes(&log, "reader")).unwrap();
    run_turns(&lp, &log, 2);
    assert_eq!(log.count("reader"), 0);
    for round in 0..3 {
        assert!(sleeps(&driver), "round {round}");
        peer.write_all(b"abc").unwrap();
        let log = Log::new();
        stream.add_reader(writes(&log, "reader")).unwrap();
        run_turns(&lp, &log, 3);
        assert_eq!(log.text(), "turn reader turn reader turn reader");
        let mut one = [0];
        stream.get_ref().read_exact(&mut one).unwrap();
        run_turns(&lp, &log, 1);
        assert_eq!(log.count("reader"), 4, "two bytes are left");
        assert_eq!(read(&stream), b"bc");
        run_turns(&lp, &log, 3);
        assert_eq!(log.count("reader"), 4, "nothing is left");
    }
}

/// G-50: readiness ends the sleep of a loop, as often as it comes.
// on: real
#[test]
fn what_comes_wakes_the_loop() {
    let (lp, _driver, stream, mut peer) = watched();
    let (heard, stop) = (Rc::new(RefCell::new(Vec::new())), lp.stop_handle());
    let into = Rc::clone(&heard);
    stream
        .add_reader(move |stream| {
            into.borrow_mut().extend(read(stream));
            if into.borrow().len() == 5 {
                stop.stop();
            }
        })
        .unwrap();
    let writer = std::thread::spawn(move || {
        for byte in b"12345" {
            std::thread::sleep(Duration::from_millis(2));
            peer.write_all(&[*byte]).unwrap();
        }
    });
    lp.run_forever().unwrap();
    writer.join().unwrap();
    assert_eq!(*heard.borrow(), b"12345");
}

/// G-50: a loop that has nothing else to do does not sleep while a handler leaves something unread.
// on: real
#[test]
fn what_is_left_unread_keeps_the_loop_awake() {
    let (lp, _driver, stream, mut peer) = watched();
    let (calls, stop) = (Rc::new(Cell::new(0)), lp.stop_handle());
    let count = Rc::clone(&calls);
    let reading = stream.add_reader(move |_| {
        count.set(count.get() + 1);
        if count.get() == 5 {
            stop.stop();
        }
    });
    reading.unwrap();
    let stop = lp.stop_handle();
    let _overslept = lp.call_later(Duration::from_secs(5), move || stop.stop());
    peer.write_all(b"left").unwrap();
    lp.run_forever().unwrap();
    assert_eq!(calls.get(), 5);
}

/// G-50: a writer is called while there is room; a full descriptor lets the loop sleep.
// on: real
#[test]
fn a_writer_is_called_while_there_is_room() {
    let (lp, driver, stream, mut peer) = watched();
    stream.get_ref().set_nonblocking(true).unwrap();
    let (log, written) = (Log::new(), Rc::new(Cell::new(0)));
    let (own, sum) = (log.clone(), Rc::clone(&written));
    stream
        .add_writer(move |stream| {
            own.push("writer");
            sum.set(sum.get() + stream.get_ref().write(&[7; 4_096]).unwrap_or(0));
        })
        .unwrap();
    run_turns(&lp, &log, 100);
    let (calls, full) = (log.count("writer"), written.get());
    assert!((2..100).contains(&calls), "{calls}");
    assert!(sleeps(&driver));
    let mut read = 0;
    while let Ok(length) = peer.read(&mut [0; 65_536]) {
        read += length;
    }
    assert_eq!(read, full);
    run_turns(&lp, &log, 1);
    assert!(log.count("writer") > calls && written.get() > full);
}

/// G-50: a handler that is replaced is not called any more, even if it was queued in this very turn;
/// the new one has its first call in the next.
// on: real
#[test]
fn a_replaced_handler_is_not_called_though_it_was_queued() {
    let (lp, _driver, stream, mut peer) = watched();
    let (log, stream) = (Log::new(), Rc::new(stream));
    peer.write_all(b"ready").unwrap();
    stream.add_reader(writes(&log, "old")).unwrap();
    stream.add_writer(writes(&log, "old writer")).unwrap();
    let (own, shared) = (log.clone(), Rc::clone(&stream));
    lp.call_soon(move || {
        own.push("replaced");
        shared.add_reader(writes(&own, "new")).unwrap();
        shared.add_writer(writes(&own, "new writer")).unwrap();
    });
    run_turns(&lp, &log, 2);
    assert_eq!(log.text(), "turn replaced turn new new writer");
}

/// G-50: a handler that is removed in the instant in which it is queued is not called. Removing says
/// whether there was one; adding twice leaves one.
// on: real
#[test]
fn a_removed_handler_is_not_called_though_it_was_queued() {
    let (lp, driver, stream, mut peer) = watched();
    let (log, stream) = (Log::new(), Rc::new(stream));
    assert!(!stream.remove_reader() && !stream.remove_writer());
    peer.write_all(b"ready").unwrap();
    for name in ["first", "second"] {
        stream.add_reader(writes(&log, name)).unwrap();
    }
    let (own, shared) = (log.clone(), Rc::clone(&stream));
    lp.call_soon(move || {
        assert!(shared.remove_reader());
        assert!(!shared.remove_reader());
        own.push("removed");
    });
    run_turns(&lp, &log, 2);
    assert_eq!(log.text(), "turn removed turn");
    assert!(sleeps(&driver));
    stream.add_reader(writes(&log, "again")).unwrap();
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn removed turn turn again");
}

/// G-50: a handler replaces and removes itself while it runs.
// on: real
#[test]
fn a_handler_replaces_and_removes_itself() {
    let (lp, _driver, stream, mut peer) = watched();
    let log = Log::new();
    peer.write_all(b"ready").unwrap();
    let own = log.clone();
    stream
        .add_reader(move |stream| {
            own.push("first");
            let second = own.clone();
            let replacing = stream.add_reader(move |stream| {
                assert!(stream.remove_reader());
                second.push("second");
            });
            replacing.unwrap();
            own.push("replaced");
        })
        .unwrap();
    run_turns(&lp, &log, 4);
    assert_eq!(log.text(), "turn first replaced turn second turn turn");
    assert!(!stream.remove_reader());
}

/// G-50, A-21: handlers stand behind what was queued before the poll and ahead of the timers that are
/// due, and what they queue runs in the next turn.
// on: real
#[test]
fn handlers_stand_between_what_was_queued_and_timers() {
    let (lp, _driver, stream, mut peer) = watched();
    let log = Log::new();
    peer.write_all(b"ready").unwrap();
    let timer = log.clone();
    lp.call_later(Duration::ZERO, move || timer.push("timer")).detach();
    let (own, handle) = (log.clone(), (*lp).clone());
    stream.add_writer(writes(&log, "writer")).unwrap();
    stream
        .add_reader(move |stream| {
            stream.remove_reader();
            own.push("reader");
            let soon = own.clone();
            handle.call_soon(move || soon.push("of the reader"));
        })
        .unwrap();
    let soon = log.clone();
    lp.call_soon(move || soon.push("soon"));
    run_turns(&lp, &log, 2);
    assert_eq!(log.text(), "turn soon reader writer timer turn of the reader writer");
}

/// G-51: removing the reader keeps the writer, and the other way round, inside a handler too; a handler
/// that was queued in the same turn is not called.
// on: real
#[test]
fn a_reader_and_a_writer_do_not_touch_each_other() {
    let (lp, _driver, stream, mut peer) = watched();
    let log = Log::new();
    peer.write_all(b"ready").unwrap();
    for _ in 0..2 {
        stream.add_reader(writes(&log, "R")).unwrap();
        stream.add_writer(writes(&log, "W")).unwrap();
    }
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn R W");
    assert!(stream.remove_reader());
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn R W turn W");
    stream.add_reader(writes(&log, "R")).unwrap();
    assert!(stream.remove_writer());
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn R W turn W turn R");
    let (log, own) = (Log::new(), Log::new());
    stream.add_writer(writes(&log, "W")).unwrap();
    let entry = own.clone();
    stream
        .add_reader(move |stream| {
            entry.push("R");
            stream.remove_writer();
        })
        .unwrap();
    run_turns(&lp, &log, 2);
    assert_eq!((log.count("W"), own.count("R")), (0, 2));
}

/// G-50: a peer that has hung up makes a descriptor ready for both, a pipe that nobody writes or reads
/// any more too.
// on: real
#[test]
fn a_peer_that_has_hung_up_is_heard() {
    let (lp, driver, stream, peer) = watched();
    let log = Log::new();
    stream.add_reader(writes(&log, "R")).unwrap();
    drop(peer);
    run_turns(&lp, &log, 1);
    assert_eq!((log.text().as_str(), read(&stream).len()), ("turn R", 0));
    stream.remove_reader();
    assert!(sleeps(&driver), "a descriptor without handlers is nobody's");
    stream.add_writer(writes(&log, "W")).unwrap();
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn R turn W");
    drop(stream);

    let log = Log::new();
    let (reader, writer) = io::pipe().unwrap();
    let reader = driver.watch(&lp, reader).unwrap();
    let own = log.clone();
    reader.add_reader(move |_| own.push("end")).unwrap();
    run_turns(&lp, &log, 1);
    drop(writer);
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn turn end");
    drop(reader);

    let log = Log::new();
    let (reader, mut writer) = io::pipe().unwrap();
    while writer.write(&[0; 4096]).is_ok_and(|_| log.count("filled") < 15) {
        log.push("filled");
    }
    let writer = driver.watch(&lp, writer).unwrap();
    let own = log.clone();
    writer.add_writer(move |_| own.push("broken")).unwrap();
    run_turns(&lp, &log, 1);
    assert_eq!(log.count("broken"), 0, "the pipe is full");
    drop(reader);
    run_turns(&lp, &log, 1);
    assert_eq!(log.count("broken"), 1);
}

/// G-52: a descriptor that is dropped inside its own handler, or in the turn in which its handler
/// is queued, is closed and calls nobody.
// on: real
#[test]
fn a_dropped_descriptor_is_closed_and_calls_nobody() {
    for inside in [false, true] {
        let (lp, driver, stream, mut peer) = watched();
        let (log, slot) = (Log::new(), Rc::new(Cell::new(None)));
        peer.write_all(b"ready").unwrap();
        let (own, owner) = (log.clone(), Rc::clone(&slot));
        stream
            .add_reader(move |_| {
                own.push("reader");
                drop(owner.take());
            })
            .unwrap();
        stream.add_writer(writes(&log, "writer")).unwrap();
        slot.set(Some(stream));
        let owner = Rc::clone(&slot);
        if !inside {
            lp.call_soon(move || drop(owner.take()));
        }
        run_turns(&lp, &log, 2);
        let expected = if inside { "turn reader turn" } else { "turn turn" };
        assert_eq!(log.text(), expected);
        assert_eq!(peer.read(&mut [0]).unwrap_or(0), 0, "it is closed");
        assert!(peer.write(b"x").is_err());
        assert!(sleeps(&driver));
    }
}

/// G-52: a descriptor that is removed and closed, with a duplicate that lives on elsewhere, gives its
/// number to another one, which gets nothing that was meant for the first.
// on: real
#[test]
fn a_reused_number_gets_no_stale_event() {
    let output = end_of("readers_and_writers::a_reused_number_gets_no_stale_event", || {
        let (lp, driver) = new_loop();
        for round in 0..10 {
            let log = Log::new();
            let (stream, mut peer) = UnixStream::pair().unwrap();
            let (number, duplicate) = (stream.as_raw_fd(), stream.try_clone().unwrap());
            peer.write_all(b"for the first").unwrap();
            let first = driver.watch(&lp, stream).unwrap();
            first.add_reader(writes(&log, "first")).unwrap();
            let (own, watching, handle) = (log.clone(), Rc::clone(&driver), (*lp).clone());
            let second: Rc<RefCell<Option<(Stream, UnixStream)>>> = Rc::default();
            let place = Rc::clone(&second);
            // The readiness of the first is queued behind this.
            lp.call_soon(move || {
                // Dropping it alone is enough.
                assert!(round % 2 == 0 || first.remove_reader());
                drop(first);
                let (stream, peer) = UnixStream::pair().unwrap();
                assert_eq!(stream.as_raw_fd(), number);
                let stream = watching.watch(&handle, stream).unwrap();
                stream.add_reader(writes(&own, "second")).unwrap();
                place.replace(Some((stream, peer)));
            });
            run_turns(&lp, &log, 3);
            assert_eq!(log.text(), "turn turn turn");
            assert!(sleeps(&driver), "what waits in the duplicate is not the loop's");
            second.borrow_mut().as_mut().unwrap().1.write_all(b"for the second").unwrap();
            run_turns(&lp, &log, 1);
            assert_eq!(log.text(), "turn turn turn turn second");
            drop(duplicate);
        }
    });
    assert_eq!(output.status.code(), Some(77), "{}", String::from_utf8_lossy(&output.stderr));
}

/// G-52: a descriptor that was given back is nobody's: it is open, calls nobody, and may become a
/// transport's. In its own handler it is borrowed.
// on: real
#[test]
fn a_descriptor_that_is_given_back_may_become_a_transports() {
    let (lp, driver, stream, mut peer) = watched();
    let log = Log::new();
    let (own, slot) = (log.clone(), Rc::new(Cell::new(None)));
    let owner = Rc::clone(&slot);
    stream
        .add_reader(move |_| {
            own.push("reader");
            let kept: Stream = owner.take().unwrap();
            owner.set(Some(kept.into_inner().unwrap_err()));
        })
        .unwrap();
    slot.set(Some(stream));
    peer.write_all(b"hello").unwrap();
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn reader");
    let stream = slot.take().unwrap().into_inner().unwrap();
    run_turns(&lp, &log, 1);
    assert_eq!(log.text(), "turn reader turn");
    let socket = Socket::from_unix_source(&lp, driver.adopt_unix(stream).unwrap());
    let (handle, protocol) = ((*lp).clone(), Log::new());
    let own = protocol.clone();
    let adopting = async move {
        let conn = handle.connection().adopt(socket, || Recorder::new(&own)).await.unwrap();
        drop(peer);
        // What the peer has not read is nothing, so this is an end and no reset.
        conn.closed().await.unwrap();
        conn.with(|recorder, _| recorder.data.clone())
    };
    assert_eq!(lp.run_until_complete(adopting).unwrap(), b"hello");
    assert_eq!(protocol.text(), "CM DR ER CL(None)");
}

/// G-50: a thousand descriptors that are ready have a call each in one turn, and nothing is left of
/// them.
// on: real
#[test]
fn a_thousand_descriptors_leak_nothing() {
    const MANY: usize = 1_000;
    let output = end_of("readers_and_writers::a_thousand_descriptors_leak_nothing", || {
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit).unwrap();
        let open = || fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        {
            let (lp, driver) = new_loop();
            let calls = Rc::new(RefCell::new(vec![0; MANY]));
            let streams: Vec<_> = (0..MANY)
                .map(|place| {
                    let (stream, mut peer) = UnixStream::pair().unwrap();
                    peer.write_all(b"ready").unwrap();
                    let stream = driver.watch(&lp, stream).unwrap();
                    let own = Rc::clone(&calls);
                    stream.add_reader(move |_| own.borrow_mut()[place] += 1).unwrap();
                    (stream, peer)
                })
                .collect();
            run_turns(&lp, &Log::new(), 3);
            assert!(calls.borrow().iter().all(|calls| *calls == 3), "{calls:?}");
            assert!(open() >= before + 2 * MANY);
            for (stream, _) in streams.iter().skip(1) {
                stream.remove_reader();
            }
            run_turns(&lp, &Log::new(), 3);
            assert_eq!(calls.borrow()[..2], [6, 3]);
            // The loop is dropped first: what is watched keeps nothing of it but memory.
            drop(lp);
            drop(streams);
        }
        assert_eq!(open(), before);
    });
    assert_eq!(output.status.code(), Some(77), "{}", String::from_utf8_lossy(&output.stderr));
}

/// G-50: what is no socket and no pipe is watched, too, if the kernel can tell when it is ready; a file,
/// a directory and a device that always is are refused, and are as they were.
// on: real
#[test]
fn what_is_always_ready_is_refused() {
    let (lp, driver) = new_loop();
    let path = SocketPath::new();
    fs::write(path.path(), "a file").unwrap();
    for path in [path.path().as_path(), Path::new("/"), Path::new("/dev/null")] {
        let refused = driver.watch(&lp, File::open(path).unwrap()).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::InvalidInput, "{path:?}");
        assert!(refused.to_string().contains("always ready"), "{refused}");
        assert!(refused.descriptor.metadata().is_ok());
    }
    let (socket, log) = (UdpSocket::bind("127.0.0.1:0").unwrap(), Log::new());
    socket.send_to(b"to itself", socket.local_addr().unwrap()).unwrap();
    let shared = Rc::new(socket);
    let datagrams = driver.watch(&lp, Rc::clone(&shared)).unwrap();
    let own = log.clone();
    let reading = datagrams.add_reader(move |socket| {
        let (length, _) = socket.get_ref().recv_from(&mut [0; 64]).unwrap();
        own.push(length.to_string());
    });
    reading.unwrap();
    run_turns(&lp, &log, 2);
    assert_eq!(log.text(), "turn 9 turn");
}

/// G-50, A-61: a panic in a handler costs that call: it is reported, the handler stays, and so do the
/// others.
// on: real
#[test]
fn a_panic_costs_one_call() {
    let (lp, _driver, stream, mut peer) = watched();
    let (heard, log) = (Heard::by(&lp), Log::new());
    lp.set_debug(true);
    peer.write_all(b"ready").unwrap();
    let mut calls = 0;
    let own = log.clone();
    let panics_once = move |_: &Stream| {
        calls += 1;
        assert!(calls > 1, "the first call panics");
        own.push("reader");
    };
    let (added, line) = (stream.add_reader(panics_once), line!());
    added.unwrap();
    stream.add_writer(writes(&log, "writer")).unwrap();
    run_turns(&lp, &log, 2);
    assert_eq!(log.text(), "turn writer turn reader writer");
    assert_eq!(
        only(heard.take()).to_string(),
        format!(
            "Exception in callback: panicked: the first call panics, created at {}:{line}",
            file!()
        )
    );
}

/// G-50: a closed loop forgets the handlers and takes no more; the descriptor is still its owner's. A
/// loop over another driver is refused.
// on: real
#[test]
fn a_closed_loop_takes_no_handlers() {
    let (lp, driver, stream, mut peer) = watched();
    let held = Rc::new(());
    let own = Rc::clone(&held);
    stream.add_reader(move |_| drop(Rc::clone(&own))).unwrap();
    assert_eq!(Rc::strong_count(&held), 2);
    lp.close().unwrap();
    assert_eq!(Rc::strong_count(&held), 1);
    assert!(!stream.remove_reader());
    let closed = |error: io::Error| error.to_string().contains("event loop is closed");
    assert!(closed(stream.add_reader(|_| {}).unwrap_err()));
    assert!(closed(stream.add_writer(|_| {}).unwrap_err()));
    let mut stream = stream.into_inner().unwrap();
    stream.write_all(b"still open").unwrap();
    assert_eq!(peer.read(&mut [0; 64]).unwrap(), 10);
    let refused = driver.watch(&lp, stream).unwrap_err();
    assert!(closed(refused.error));
    let (other, _) = new_loop();
    let refused = driver.watch(&other as &Loop, refused.descriptor).unwrap_err();
    assert_eq!(refused.error.kind(), io::ErrorKind::InvalidInput);
}

/// Reads a byte from a descriptor that `lp` watches, once there is one.
async fn a_byte(lp: Loop) -> io::Result<u8> {
    let (stream, mut peer) = UnixStream::pair()?;
    let watched = Watched::new(&lp, stream)?;
    let came = lp.create_future();
    let told = came.clone();
    watched.add_reader(move |stream: &Stream| {
        stream.remove_reader();
        told.set_result(read(stream)[0]).unwrap();
    })?;
    peer.write_all(b"!")?;
    came.await.map_err(io::Error::other)
}

real_only! {
    /// G-50: the loop of a world watches descriptors, for any of its hosts.
    async fn a_world_watches_descriptors(world: World) -> io::Result<()> {
        for host in [world.host("server"), world.host("client")] {
            assert_eq!(a_byte(host).await?, b'!');
        }
        Ok(())
    }
}

/// G-50: so does the loop of a worker.
// on: real
#[test]
fn a_worker_watches_descriptors() {
    let seen = Arc::new(AtomicU8::new(0));
    let told = Arc::clone(&seen);
    let pool = real_net::workers(1).serve(([127, 0, 0, 1], 0).into(), move |lp, addr| {
        let told = Arc::clone(&told);
        async move {
            told.store(a_byte(lp.clone()).await?, Ordering::Relaxed);
            let server = lp.create_server(addr, || Recorder::new(&Log::new())).await?;
            Ok(Serving::from(server))
        }
    });
    drop(pool.unwrap());
    assert_eq!(seen.load(Ordering::Relaxed), b'!');
}

sim_only! {
    /// G-50: a simulation watches none, and gives the descriptor back.
    async fn a_simulation_watches_no_descriptors(world: World) -> io::Result<()> {
        let (stream, _peer) = UnixStream::pair()?;
        let refused = Watched::new(&world.host("client"), stream).unwrap_err();
        assert_eq!(refused.error.kind(), io::ErrorKind::Unsupported);
        assert!(refused.descriptor.local_addr().is_ok());
        Ok(())
    }
}
