//! Pools of workers: sharing a port, stopping, failing.

use super::*;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use sim_core::{Cx, Protocol};

const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Answers every connection with the name of the worker that has it.
struct WhoAmI;
impl Protocol for WhoAmI {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(thread::current().name().unwrap_or("?").as_bytes());
        cx.close();
    }
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}

async fn who_am_i(lp: Loop, addr: SocketAddr) -> io::Result<Serving> {
    Ok(Serving::from(lp.create_server(addr, || WhoAmI).await?))
}

fn ask(addr: SocketAddr) -> String {
    let mut answer = String::new();
    TcpStream::connect(addr).unwrap().read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn every_worker_gets_connections_of_the_one_port() {
    let pool = workers(2).name("twin").serve(ANY_PORT, who_am_i).unwrap();
    assert_eq!(pool.count(), 2);
    let (mut first, mut second) = (false, false);
    while !(first && second) {
        match ask(pool.local_addr()).as_str() {
            "twin-1" => first = true,
            "twin-2" => second = true,
            other => panic!("{other}"),
        }
    }
    pool.shutdown().unwrap();
}

#[test]
fn a_pool_that_was_shut_down_or_dropped_gives_its_port_back() {
    let pool = workers(2).serve(ANY_PORT, who_am_i).unwrap();
    let addr = pool.local_addr();
    pool.shutdown().unwrap();
    TcpListener::bind(addr).unwrap();
    let pool = workers(1).serve(addr, who_am_i).unwrap();
    drop(pool);
    TcpListener::bind(addr).unwrap();
}

#[test]
fn open_connections_are_aborted_by_the_shutdown() {
    struct Silent;
    impl Protocol for Silent {
        fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
            cx.write(data);
        }
    }
    let pool = workers(1)
        .serve(ANY_PORT, |lp, addr| async move {
            Ok(Serving::from(lp.create_server(addr, || Silent).await?))
        })
        .unwrap();
    let mut client = TcpStream::connect(pool.local_addr()).unwrap();
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    pool.shutdown().unwrap();
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_worker_that_cannot_serve_is_named_and_the_others_stop() {
    let addresses = Arc::new(Mutex::new(Vec::new()));
    let (seen, calls) = (Arc::clone(&addresses), AtomicUsize::new(0));
    let error = workers(2)
        .serve(ANY_PORT, move |lp, addr| {
            seen.lock().unwrap().push(addr);
            let fails = calls.fetch_add(1, Ordering::Relaxed) == 1;
            async move {
                if fails {
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not today"));
                }
                who_am_i(lp, addr).await
            }
        })
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(error.to_string(), "worker-2: not today");
    let second = addresses.lock().unwrap()[1];
    assert_ne!(second.port(), 0);
    TcpListener::bind(second).unwrap();
}

#[test]
fn a_worker_that_panics_is_named() {
    let error = workers(1).serve(ANY_PORT, |_, _| async { panic!("ouch") }).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("worker-1") && text.contains("ouch"), "{text}");
    let error = workers(1)
        .serve(ANY_PORT, |_, _| -> std::future::Ready<io::Result<Serving>> { panic!("ouch") })
        .map(drop)
        .unwrap_err();
    assert_eq!(error.to_string(), "worker-1 panicked: ouch");
}

#[test]
fn no_workers_are_refused() {
    let error = workers(0).serve(ANY_PORT, who_am_i).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_port_that_another_pool_serves_is_refused() {
    for (first, second) in [(1, 1), (1, 2), (2, 1), (2, 2)] {
        let pool = workers(first).serve(ANY_PORT, who_am_i).unwrap();
        let error = workers(second).serve(pool.local_addr(), who_am_i).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse, "{first} and {second}: {error}");
        assert!(error.to_string().contains(&pool.local_addr().to_string()), "{error}");
        pool.shutdown().unwrap();
    }
}
