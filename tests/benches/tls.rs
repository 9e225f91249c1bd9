//! TLS echoes on the real loop beside a server written by hand with `rustls` over `mio`: processor time of the
//! server's thread a message, in turn, medians.
//!
//! `cargo bench -p tests --bench tls`

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "servers and their client are threads, and their time is the processor's"
)]

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{ClockId, clock_gettime};
use scenarios::certificates::{Authority, Identity};
use sim_core::tls::rustls::pki_types::ServerName;
use sim_core::tls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned,
};
use sim_core::{Cx, LoopFuture, Protocol, Rng};

/// How often each server is measured at each size.
const TURNS: usize = 9;
/// The sizes of messages, how many are echoed a turn, and how many are on their way at once.
const SIZES: [(usize, usize, usize); 3] =
    [(64, 20_000, 1), (16 << 10, 6_000, 4), (256 << 10, 500, 2)];

/// Processor time of this thread so far.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// Certificates that both sides share.
fn authority() -> (Identity, RootCertStore) {
    let mut authority = Authority::new(Rng::from_seed([7; 32]));
    (authority.issue("localhost"), authority.roots())
}

/// Echoes; tells when the first message has come, and when the connection is lost.
struct Echo {
    begun: Option<mpsc::Sender<Duration>>,
    over: LoopFuture<()>,
}

impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        if let Some(begun) = self.begun.take() {
            begun.send(processor_time()).expect("the measurement waits for it");
        }
        cx.write(data);
    }

    fn pause_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.pause_reading();
    }

    fn resume_writing(&mut self, cx: &mut Cx<'_, Self>) {
        cx.resume_reading();
    }

    fn connection_lost(&mut self, _cx: &mut Cx<'_, Self>, _error: Option<io::Error>) {
        let _ = self.over.set_result(());
    }
}

/// Serves one connection on the real loop.
fn serve_loop(bound: &mpsc::Sender<SocketAddr>, begun: mpsc::Sender<Duration>) -> io::Result<()> {
    let lp = real_net::new_loop()?;
    let (handle, bound) = (lp.clone(), bound.clone());
    lp.run_until_complete(async move {
        let acceptor = authority().0.acceptor();
        let over = handle.create_future();
        let (mut begun, end) = (Some(begun), over.clone());
        let echo = move || Echo { begun: begun.take(), over: end.clone() };
        let server = handle.server().tls(&acceptor).bind(("127.0.0.1", 0), echo).await?;
        bound.send(server.sockets()[0]).expect("the client waits for it");
        over.await?;
        server.close();
        server.wait_closed().await;
        io::Result::Ok(())
    })?
}

/// Serves one connection by hand.
fn serve_by_hand(
    bound: &mpsc::Sender<SocketAddr>,
    begun: &mpsc::Sender<Duration>,
) -> io::Result<()> {
    let identity = authority().0;
    let config = ServerConfig::builder_with_provider(Arc::new(
        sim_core::tls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(io::Error::other)?
    .with_no_client_auth()
    .with_single_cert(vec![identity.certificate], identity.key)
    .map_err(io::Error::other)?;
    let config = Arc::new(config);
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(64);
    let mut listener = TcpListener::bind("127.0.0.1:0".parse().expect("an address"))?;
    bound.send(listener.local_addr()?).expect("the client waits for it");
    poll.registry().register(&mut listener, Token(0), Interest::READABLE)?;
    let mut socket = loop {
        poll.poll(&mut events, None)?;
        match listener.accept() {
            Ok((socket, _)) => break socket,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    socket.set_nodelay(true)?;
    poll.registry().register(&mut socket, Token(1), Interest::READABLE | Interest::WRITABLE)?;
    let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut told = false;
    let mut plain = vec![0; 64 << 10];
    // What was read and did not fit into the session's own buffer.
    let mut waiting: VecDeque<u8> = VecDeque::new();
    loop {
        let mut ended = false;
        loop {
            match tls.read_tls(&mut socket) {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
            loop {
                match tls.reader().read(&mut plain) {
                    Ok(0) => {
                        ended = true;
                        break;
                    }
                    Ok(length) => {
                        if !told {
                            told = true;
                            begun.send(processor_time()).expect("the measurement waits for it");
                        }
                        let taken = if waiting.is_empty() {
                            tls.writer().write(&plain[..length])?
                        } else {
                            0
                        };
                        waiting.extend(&plain[taken..length]);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(_) => {
                        ended = true;
                        break;
                    }
                }
            }
            while tls.wants_write() {
                match tls.write_tls(&mut socket) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if ended {
                break;
            }
        }
        while !waiting.is_empty() || tls.wants_write() {
            let taken = tls.writer().write(waiting.as_slices().0)?;
            waiting.drain(..taken);
            match tls.write_tls(&mut socket) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if ended {
            return Ok(());
        }
        poll.poll(&mut events, None)?;
    }
}

/// Sends `count` messages, `window` of them at once, and waits for their echoes.
fn drive(addr: SocketAddr, size: usize, count: usize, window: usize) -> io::Result<()> {
    let config = ClientConfig::builder_with_provider(Arc::new(
        sim_core::tls::rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()
    .map_err(io::Error::other)?
    .with_root_certificates(authority().1)
    .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let socket = TcpStream::connect(addr)?;
    socket.set_nodelay(true)?;
    let mut stream = StreamOwned::new(tls, socket);
    let (message, mut echo) = (vec![7; size], vec![0; size]);
    for sent in 0..count + window {
        if sent < count {
            stream.write_all(&message)?;
            stream.flush()?;
        }
        if sent >= window {
            stream.read_exact(&mut echo)?;
        }
    }
    stream.conn.send_close_notify();
    stream.flush()
}

/// Processor time of the server a message.
fn measure(by_hand: bool, size: usize, count: usize, window: usize) -> io::Result<f64> {
    let (bound, address) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    let server = thread::spawn(move || -> io::Result<Duration> {
        if by_hand {
            serve_by_hand(&bound, &begin)?;
        } else {
            serve_loop(&bound, begin)?;
        }
        Ok(processor_time())
    });
    drive(address.recv().map_err(io::Error::other)?, size, count, window)?;
    let end = server.join().expect("the server does not panic")?;
    let begin = begun.recv().map_err(io::Error::other)?;
    Ok((end - begin).as_nanos() as f64 / count as f64)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() -> io::Result<()> {
    println!("size        real-net ns  by hand ns  ratio (each pair: least, median, most)");
    for (size, count, window) in SIZES {
        let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let (our, their) =
                (measure(false, size, count, window)?, measure(true, size, count, window)?);
            ours.push(our);
            theirs.push(their);
            ratios.push(our / their);
        }
        let (our, their, ratio) = (median(&mut ours), median(&mut theirs), median(&mut ratios));
        println!(
            "{size:>7} B  {our:>12.0}  {their:>10.0}  {ratio:.2} ({:.2} to {:.2})",
            ratios[0],
            ratios[TURNS - 1]
        );
    }
    Ok(())
}
