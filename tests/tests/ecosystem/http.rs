//! hyper on both loops: both versions, bodies, time.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::future::{pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use scenarios::certificates::Authority;
use sim_core::hyper::hyper::body::{Body, Bytes, Incoming};
use sim_core::hyper::hyper::rt::Timer;
use sim_core::hyper::hyper::{Method, Request, Response, Version, header};
use sim_core::hyper::{HttpServer, IoProtocol, LoopIo, LoopTimer};
use sim_core::hyper::{http1_client, http2_client, service};
use sim_core::{Loop, RunError, Server, testing};
use tests::{both_loops, sim_only};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) type Failure = Box<dyn Error + Send + Sync>;

/// Reads a body to its end.
pub(crate) async fn read(mut body: Incoming) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        if let Some(data) = frame?.data_ref() {
            all.extend_from_slice(data);
        }
    }
    Ok(all)
}

pub(crate) fn get(path: &str) -> Request<String> {
    let request = Request::get(format!("http://server{path}")).header("host", "server");
    request.body(String::new()).expect("it is well formed")
}

/// Answers with the method, the version and the path.
pub(crate) async fn tell(request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let (head, _) = request.into_parts();
    Ok(Response::new(format!("{} {:?} {}", head.method, head.version, head.uri.path())))
}

pub(crate) async fn telling(server: &Loop) -> std::io::Result<(HttpServer, Server)> {
    let http = HttpServer::new(server);
    let listening = server.create_server(("server", 80), http.serving(service(tell))).await?;
    Ok((http, listening))
}

both_loops! {
    /// Both versions on one port; several requests on a connection, of HTTP/2 at once.
    async fn one_port_speaks_both_versions(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (_http, listening) = telling(&server).await?;
        let (mut first, connection) = http1_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        for path in ["/a", "/b"] {
            let answer = first.send_request(get(path)).await?;
            assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_11, 200));
            assert!(answer.headers().contains_key(header::DATE));
            let body = String::from_utf8(read(answer.into_body()).await?)?;
            assert_eq!(body, format!("GET HTTP/1.1 http://server{path}").replace("http://server", ""));
            first.ready().await?;
        }
        assert_eq!(listening.connection_count(), 1);
        drop(first);
        connection.await??;

        let (sender, connection) = http2_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let asking: Vec<_> = (0..10)
            .map(|number| {
                let mut sender = sender.clone();
                client.create_task(async move {
                    let answer = sender.send_request(get(&format!("/{number}"))).await?;
                    assert_eq!(answer.version(), Version::HTTP_2);
                    read(answer.into_body()).await
                })
            })
            .collect();
        for (number, task) in asking.into_iter().enumerate() {
            assert_eq!(task.await??, format!("GET HTTP/2.0 /{number}").into_bytes());
        }
        drop(sender);
        connection.await??;
        listening.close();
        listening.wait_closed().await;
        Ok(())
    }

    /// Dates are left out where none are wanted, over both versions; but for that there is one.
    async fn dates_are_left_out_if_asked(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        for (port, is_dated) in [(80, true), (81, false)] {
            let mut http = HttpServer::new(&server);
            http.date(is_dated);
            let listening = server.create_server(("server", port), http.serving(service(tell))).await?;
            let io = LoopIo::connect(&client, ("server", port)).await?;
            let (mut sender, _connection) = http1_client(io).await?;
            let first = sender.send_request(get("/")).await?;
            let io = LoopIo::connect(&client, ("server", port)).await?;
            let (mut sender, _connection) = http2_client(io).await?;
            let second = sender.send_request(get("/")).await?;
            for answer in [first, second] {
                assert_eq!(answer.headers().contains_key(header::DATE), is_dated, "{answer:?}");
            }
            listening.close();
        }
        Ok(())
    }

    /// A body that is larger than all buffers goes both ways, at once.
    async fn large_bodies_go_both_ways(world: World) -> Result<(), Failure> {
        const BYTES: usize = 5 << 20;
        let (server, client) = (world.host("server"), world.host("client"));
        let http = HttpServer::new(&server);
        let echo = service(|request: Request<Incoming>| async move {
            Ok::<_, Infallible>(Response::new(request.into_body()))
        });
        let _listening = server.create_server(("server", 80), http.serving(echo)).await?;
        let body: String = (0..BYTES).map(|place| char::from(b'a' + (place % 23) as u8)).collect();
        let put = |body: &str| {
            let request = Request::builder().method(Method::PUT).uri("http://server/");
            request.header("host", "server").body(body.to_owned()).expect("it is well formed")
        };
        let (mut first, _connection) = http1_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let came = read(first.send_request(put(&body)).await?.into_body()).await?;
        assert!(came == body.as_bytes(), "{} bytes came back over HTTP/1.1", came.len());
        let (mut second, _connection) = http2_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let came = read(second.send_request(put(&body)).await?.into_body()).await?;
        assert!(came == body.as_bytes(), "{} bytes came back over HTTP/2", came.len());
        Ok(())
    }

    /// Over TLS it is the same.
    async fn tls_lies_below(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut authority = Authority::of(&server);
        let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
        let http = HttpServer::new(&server);
        let builder = server.server().tls(&acceptor);
        let _listening = builder.bind(("server", 443), http.serving(service(tell))).await?;
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let connecting = client.connection().tls(&connector, "server");
            let io = LoopIo::new(&connecting.connect(("server", 443), IoProtocol::new).await?);
            let answer = if version == Version::HTTP_2 {
                let (mut sender, _connection) = http2_client(io).await?;
                sender.send_request(get("/")).await?
            } else {
                let (mut sender, _connection) = http1_client(io).await?;
                sender.send_request(get("/")).await?
            };
            assert_eq!(answer.version(), version);
            assert_eq!(read(answer.into_body()).await?, format!("GET {version:?} /").into_bytes());
        }
        Ok(())
    }

    /// Handlers need not be `Send`, and may wait.
    async fn handlers_wait_on_their_loop(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (http, seen) = (HttpServer::new(&server), Rc::new(RefCell::new(Vec::new())));
        let (lp, log) = (server.clone(), Rc::clone(&seen));
        let slow = service(move |request: Request<Incoming>| {
            let (lp, log) = (lp.clone(), Rc::clone(&log));
            async move {
                let path = request.uri().path().to_owned();
                let millis = path[1..].parse().expect("a path is a number here");
                lp.sleep(Duration::from_millis(millis)).await;
                log.borrow_mut().push(millis);
                Ok::<_, Infallible>(Response::new(Bytes::from(path).len().to_string()))
            }
        });
        let _listening = server.create_server(("server", 80), http.serving(slow)).await?;
        let (mut sender, _connection) = http2_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let (late, soon) = (sender.send_request(get("/200")), sender.send_request(get("/20")));
        let late = client.create_task(late);
        soon.await?;
        assert_eq!(*seen.borrow(), [20]);
        late.await??;
        assert_eq!(*seen.borrow(), [20, 200]);
        Ok(())
    }
}

sim_only! {
    /// A timer of hyper's counts the time of the loop that polls it.
    async fn timers_count_virtual_time(world: World) -> Result<(), Failure> {
        let (one, other) = (world.host("one"), world.host("other"));
        let timer = LoopTimer::new();
        let lp = one.clone();
        let slept = one.create_task(async move {
            let (begin, at) = (timer.now(), lp.time());
            timer.sleep_until(begin + Duration::from_secs(3)).await;
            let mut dropped = timer.sleep(Duration::from_secs(1000));
            poll_fn(|cx| {
                assert!(dropped.as_mut().poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
            timer.reset(&mut dropped, timer.now() + Duration::from_secs(2));
            dropped.await;
            (timer.now() - begin, lp.time() - at)
        });
        let elsewhere = other.create_task(async move {
            let begin = timer.now();
            timer.sleep(Duration::from_secs(7)).await;
            timer.now() - begin
        });
        assert_eq!(slept.await?, (Duration::from_secs(5), Duration::from_secs(5)));
        assert_eq!(elsewhere.await?, Duration::from_secs(7));
        assert_eq!(world.time().since_epoch(), Duration::from_secs(7));
        Ok(())
    }

    /// A client that begins a request and does not go on is given up, by the host's clock.
    async fn a_head_that_does_not_end_is_given_up(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (_http, listening) = telling(&server).await?;
        for (beginning, seconds) in [("GET / HT", 30), ("PRI * HTTP/2.0\r\n", 30), ("", 30)] {
            let begin = world.time();
            let (mut reader, writer) = client.open_connection(("server", 80)).await?;
            writer.write(beginning.as_bytes());
            let answer = reader.read_to_end().await?;
            let waited = (world.time() - begin).as_secs();
            assert!((seconds..=seconds + 1).contains(&waited), "{beginning:?}: {waited} s");
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 408"), "{beginning:?}: {answer:?}");
        }
        listening.close();
        listening.wait_closed().await;
        Ok(())
    }

    /// The date of an answer is the host's, and the handler's own is left alone.
    async fn dates_are_the_hosts(world: World) -> Result<(), Failure> {
        let (server, client) = (world.host("server"), world.host("client"));
        let (http, asked) = (HttpServer::new(&server), Cell::new(false));
        let dated = service(move |_: Request<Incoming>| {
            let mut response = Response::new(String::new());
            if asked.replace(true) {
                response.headers_mut().insert(header::DATE, header::HeaderValue::from_static("now"));
            }
            async move { Ok::<_, Infallible>(response) }
        });
        let _listening = server.create_server(("server", 80), http.serving(dated)).await?;
        let (mut sender, _connection) = http1_client(LoopIo::connect(&client, ("server", 80)).await?).await?;
        let dates = |answer: Response<Incoming>| answer.headers()[header::DATE].clone();
        let first = dates(sender.send_request(get("/")).await?);
        let wall = server.wall_time();
        let seconds: u64 = first.to_str()?[23..25].parse()?;
        assert_eq!((first.len(), seconds), (29, wall.as_secs() % 60), "{first:?}");
        sender.ready().await?;
        assert_eq!(dates(sender.send_request(get("/")).await?), "now");
        Ok(())
    }
}

/// A sleep of hyper's that is dropped, or set anew, leaves no timer: nothing happens any more after the last one.
#[test]
fn timers_go_when_they_are_dropped() {
    let lp = testing::new_loop();
    let run = lp.run_until_complete(async {
        let timer = LoopTimer::new();
        let (mut dropped, mut reset) = (timer.sleep(HOUR), timer.sleep(HOUR));
        poll_fn(|cx| {
            assert!(dropped.as_mut().poll(cx).is_pending());
            assert!(reset.as_mut().poll(cx).is_pending());
            Poll::Ready(())
        })
        .await;
        drop(dropped);
        timer.reset(&mut reset, timer.now() + Duration::from_secs(2));
        reset.await;
        pending::<()>().await;
    });
    assert!(matches!(run, Err(RunError::Deadlock { .. })), "{run:?}");
    assert_eq!(lp.time().since_epoch(), Duration::from_secs(2));
}
