//! G-02, G-03: descriptors that were opened elsewhere, as ends of pipes on the real loop.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::rc::Rc;

use real_net::{MioDriver, new_loop_and_driver};
use rustix::net::sockopt::set_socket_linger;
use sim_core::driver::Driver;
use sim_core::{Conn, EventLoop, PipeEnd, PipeReader, PipeWriter, Socket};
use tests::recorder::{Log, Recorder};
use tests::socket_path::SocketPath;

use crate::loops::{ms, run_for};
use crate::serving::Heard;

fn new_loop() -> (EventLoop, Rc<MioDriver>) {
    new_loop_and_driver().expect("there are descriptors left")
}

/// G-02: a regular file is refused and still open; a pipe, a socket and a character device are taken.
// on: real
#[test]
fn only_what_is_like_a_pipe_is_taken() {
    let (_lp, driver) = new_loop();
    let path = SocketPath::new();
    fs::write(path.path(), "a file").unwrap();
    let refused = driver.adopt_pipe(File::open(path.path()).unwrap(), PipeEnd::Read).unwrap_err();
    assert_eq!(refused.error.kind(), io::ErrorKind::InvalidInput);
    assert!(refused.to_string().contains("pipes, sockets and character devices"));
    let mut text = String::new();
    File::from(refused.descriptor).read_to_string(&mut text).unwrap();
    assert_eq!(text, "a file");
    let (reader, writer) = io::pipe().unwrap();
    let (socket, _peer) = UnixStream::pair().unwrap();
    for source in [
        driver.adopt_pipe(reader, PipeEnd::Read).unwrap(),
        driver.adopt_pipe(writer, PipeEnd::Write).unwrap(),
        driver.adopt_pipe(socket, PipeEnd::Read).unwrap(),
        driver.adopt_pipe(File::open("/dev/null").unwrap(), PipeEnd::Read).unwrap(),
    ] {
        driver.close(source);
    }
}

/// G-02, G-01: what a blocking end elsewhere writes is read, and then its end.
// on: real
#[test]
fn an_adopted_pipe_is_read_to_its_end() {
    let (lp, driver) = new_loop();
    let (reader, mut writer) = io::pipe().unwrap();
    let reader = PipeReader::from_source(&lp, driver.adopt_pipe(reader, PipeEnd::Read).unwrap());
    let (handle, log) = ((*lp).clone(), Log::new());
    let own = log.clone();
    let read = async move {
        let conn = handle.connect_read_pipe(reader, || Recorder::new(&own)).await?;
        writer.write_all(b"from elsewhere")?;
        drop(writer);
        conn.closed().await?;
        io::Result::Ok(conn.with(|recorder, _| recorder.data.clone()))
    };
    assert_eq!(lp.run_until_complete(read).unwrap().unwrap(), b"from elsewhere");
    assert_eq!(log.text(), "CM DR ER CL(None)");
}

/// G-03: a read error is told to the exception handler and to the protocol, though it is the operating
/// system's.
// on: real
#[test]
fn a_read_error_of_a_pipe_is_reported() {
    let (lp, driver) = new_loop();
    let heard = Heard::by(&lp);
    let (socket, peer) = UnixStream::pair().unwrap();
    (&socket).write_all(b"never read").unwrap();
    let reader = PipeReader::from_source(&lp, driver.adopt_pipe(socket, PipeEnd::Read).unwrap());
    let (handle, log) = ((*lp).clone(), Log::new());
    let own = log.clone();
    let read = async move {
        let conn = handle.connect_read_pipe(reader, || Recorder::new(&own)).await.unwrap();
        drop(peer);
        conn.closed().await.unwrap_err()
    };
    let error = lp.run_until_complete(read).unwrap();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(log.text(), "CM CL(ConnectionReset)");
    assert_eq!(heard.messages(), ["Fatal read error on pipe transport"]);
}

/// G-02: where a read takes one message however many wait, as of a terminal one line, none is left waiting for the next
/// to come.
// on: real
#[test]
fn messages_that_came_together_are_all_read() {
    let (lp, driver) = new_loop();
    let (near, far) = UnixDatagram::pair().unwrap();
    let reader = PipeReader::from_source(&lp, driver.adopt_pipe(near, PipeEnd::Read).unwrap());
    let handle = (*lp).clone();
    let connect =
        async move { handle.connect_read_pipe(reader, || Recorder::new(&Log::new())).await };
    let conn = lp.run_until_complete(connect).unwrap().unwrap();
    for _ in 0..2 {
        for message in [b"one", b"two", b"six"] {
            far.send(message).unwrap();
        }
        run_for(&lp, ms(20));
    }
    assert_eq!(conn.with(|recorder, _| recorder.data.clone()), b"onetwosixonetwosix");
}

/// G-04: what the other end of a socket says back is no end of what is written to it.
// on: real
#[test]
fn an_end_to_write_to_outlasts_what_is_said_back() {
    let (lp, driver) = new_loop();
    let (near, mut peer) = UnixStream::pair().unwrap();
    let writer = PipeWriter::from_source(&lp, driver.adopt_pipe(near, PipeEnd::Write).unwrap());
    let (handle, log) = ((*lp).clone(), Log::new());
    let own = log.clone();
    let connect = async move { handle.connect_write_pipe(writer, || Recorder::new(&own)).await };
    let conn = lp.run_until_complete(connect).unwrap().unwrap();
    peer.write_all(b"said back").unwrap();
    run_for(&lp, ms(20));
    conn.transport().write(b"heard");
    let mut heard = [0; 5];
    peer.read_exact(&mut heard).unwrap();
    assert_eq!((&heard, &*log.text()), (b"heard", "CM"));
}

/// A socket as the writing end of a pipe, on a loop of its own.
fn written_to(near: impl Into<OwnedFd>) -> (EventLoop, Conn<Recorder>, Log) {
    let (lp, driver) = new_loop();
    let writer = PipeWriter::from_source(&lp, driver.adopt_pipe(near, PipeEnd::Write).unwrap());
    let (handle, log) = ((*lp).clone(), Log::new());
    let own = log.clone();
    let connect = async move { handle.connect_write_pipe(writer, || Recorder::new(&own)).await };
    let conn = lp.run_until_complete(connect).unwrap().unwrap();
    (lp, conn, log)
}

/// G-04: whoever will say nothing more, of a socket that is written to, still reads: its half-close is no end.
// on: real
#[test]
fn an_end_to_write_to_outlasts_a_half_close() {
    fn exchange(near: impl Into<OwnedFd>, mut peer: impl Read, half_close: impl FnOnce()) {
        let (lp, conn, log) = written_to(near);
        conn.transport().write(b"first");
        run_for(&lp, ms(20));
        half_close();
        run_for(&lp, ms(20));
        conn.transport().write(b"second");
        conn.transport().close();
        run_for(&lp, ms(20));
        let mut heard = Vec::new();
        peer.read_to_end(&mut heard).unwrap();
        assert_eq!((&*heard, &*log.text()), (&b"firstsecond"[..], "CM CL(None)"));
    }
    let (near, peer) = UnixStream::pair().unwrap();
    exchange(near, &peer, || peer.shutdown(Shutdown::Write).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    exchange(near, &peer, || peer.shutdown(Shutdown::Write).unwrap());
}

/// G-04: a socket's reader that is gone is noticed without a write: a Unix stream's when it is closed, a connection's
/// when it is reset.
// on: real
#[test]
fn an_end_to_write_to_ends_with_its_reader() {
    fn end(near: impl Into<OwnedFd>, go: impl FnOnce()) -> String {
        let (lp, _conn, log) = written_to(near);
        go();
        run_for(&lp, ms(20));
        log.text()
    }
    let (near, peer) = UnixStream::pair().unwrap();
    assert_eq!(end(near, || drop(peer)), "CM CL(None)");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (peer, _) = listener.accept().unwrap();
    let reset = || {
        set_socket_linger(&peer, Some(ms(0))).unwrap();
        drop(peer);
    };
    assert_eq!(end(near, reset), "CM CL(None)");
}

/// G-04: a device that is always ready takes what is written, and is nobody's end.
// on: real
#[test]
fn a_device_takes_what_is_written() {
    let (lp, driver) = new_loop();
    let device = File::options().write(true).open("/dev/null").unwrap();
    let writer = PipeWriter::from_source(&lp, driver.adopt_pipe(device, PipeEnd::Write).unwrap());
    let (handle, log) = ((*lp).clone(), Log::new());
    let own = log.clone();
    let write = async move {
        let conn = handle.connect_write_pipe(writer, || Recorder::new(&own)).await?;
        for _ in 0..3 {
            conn.transport().write(&[7; 100_000]);
            handle.sleep(std::time::Duration::ZERO).await;
        }
        conn.transport().close();
        conn.closed().await
    };
    lp.run_until_complete(write).unwrap().unwrap();
    assert_eq!(log.text(), "CM CL(None)");
}

/// E-14, C-95: a Unix stream that was made elsewhere is a transport like any other.
// on: real
#[test]
fn an_adopted_unix_stream_is_a_transport_like_any_other() {
    let (lp, driver) = new_loop();
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let socket = Socket::from_unix_source(&lp, driver.adopt_unix(stream).unwrap());
    let (handle, log) = ((*lp).clone(), Log::new());
    let own = log.clone();
    let exchange = async move {
        let conn = handle.connection().adopt(socket, || Recorder::new(&own)).await?;
        peer.write_all(b"hello")?;
        drop(peer);
        conn.closed().await?;
        io::Result::Ok(conn.transport().unix_peername())
    };
    let peername = lp.run_until_complete(exchange).unwrap().unwrap();
    assert_eq!(peername, Some(sim_core::UnixAddr::UNNAMED));
    assert_eq!(log.text(), "CM DR ER CL(None)");
}
