//! TLS: the handshake, and what is agreed upon in it (F).

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use scenarios::certificates::Authority;
use sim_core::layer::LayerOptions;
use sim_core::tls::rustls::{ProtocolVersion, RootCertStore};
use sim_core::tls::{self, TlsAcceptor, TlsConnector, TlsError};
use sim_core::{Conn, Loop, LoopFuture, Server, Task, TaskError, World};
use tests::recorder::{Log, Recorder};
use tests::{both_loops, sim_only};

/// Two hosts, with both sides of TLS and a log for each.
pub(crate) struct Sides {
    pub(crate) server: Loop,
    pub(crate) client: Loop,
    pub(crate) authority: Authority,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
    pub(crate) near: Log,
    pub(crate) far: Log,
}

/// A client's connection, and the server's end of it.
pub(crate) struct Secured {
    pub(crate) near: Conn<Recorder>,
    pub(crate) far: Conn<Recorder>,
    pub(crate) _server: Server,
}

impl Sides {
    pub(crate) fn of(world: &World) -> Self {
        let (server, client) = (world.host("server"), world.host("client"));
        let mut authority = Authority::of(&server);
        let (acceptor, connector) = (authority.acceptor("server"), authority.connector());
        Self { server, client, authority, acceptor, connector, near: Log::new(), far: Log::new() }
    }

    /// Connects, with what each side does.
    pub(crate) async fn connect(
        &self,
        near: impl FnOnce(Recorder) -> Recorder,
        far: impl Fn(Recorder) -> Recorder + 'static,
    ) -> io::Result<Secured> {
        let announced: LoopFuture<Conn<Recorder>> = self.server.create_future();
        let (log, announce) = (self.far.clone(), announced.clone());
        let factory = move || far(Recorder::new(&log).announce(announce.clone()));
        let server =
            self.server.server().tls(&self.acceptor).bind(("server", 443), factory).await?;
        let connecting = self.client.connection().tls(&self.connector, "server");
        let near = connecting.connect(("server", 443), || near(Recorder::new(&self.near))).await?;
        let far = announced.await.map_err(io::Error::other)?;
        Ok(Secured { near, far, _server: server })
    }
}

/// A recorder that only records.
pub(crate) fn plain(recorder: Recorder) -> Recorder {
    recorder
}

/// Waits until `done`, for a while.
pub(crate) async fn until(world: &World, what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if done() {
            return;
        }
        world.sleep(Duration::from_millis(5)).await;
    }
    panic!("{what} does not come");
}

both_loops! {
    /// F-02, F-26, C-03: a handshake, then `connection_made` on both sides; what was agreed upon; data both ways.
    async fn a_connection_is_made_when_the_handshake_is_done(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let echo = |far: Recorder| far.on_data(|cx, data| cx.write(data));
        let Secured { near, far, .. } = sides.connect(|near| near, echo).await?;
        assert_eq!(sides.near.text(), "CM");
        near.with(|_, cx| cx.write(b"hello"));
        until(&world, "the echo", || near.with(|near, _| near.data == b"hello")).await;
        assert_eq!(sides.far.text(), "CM DR");
        let info = near.transport().tls().expect("the handshake is over");
        assert_eq!(info.version, ProtocolVersion::TLSv1_3);
        assert_eq!(info.server_name.as_deref(), Some("server"));
        assert_eq!((info.peer_certificates.len(), info.resumed), (1, false));
        let info = far.transport().tls().expect("the handshake is over");
        assert_eq!(info.server_name.as_deref(), Some("server"));
        assert_eq!((info.peer_certificates.len(), info.alpn.clone()), (0, None));
        assert!(near.transport().peername().is_some() && near.transport().socket().nodelay()?);
        near.transport().close();
        near.closed().await?;
        assert!(near.transport().tls().is_some() && near.transport().peername().is_some());
        assert!(near.transport().socket().nodelay().is_err());
        Ok(())
    }

    /// C-16, E-11, F-06: a connect that is cancelled between `connection_made` and the next step of its task: the connection is
    /// closed, and its awaiter sees the cancellation.
    async fn a_connect_that_is_cancelled_behind_its_handshake_is_made_and_lost(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let log = sides.far.clone();
        let _server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), move || Recorder::new(&log)).await?;
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let own: Rc<RefCell<Option<Task<()>>>> = Rc::default();
        let (cancelled, ended) = (Rc::clone(&own), sides.client.create_future());
        let near = Recorder::new(&sides.near).on_made(move |_| {
            let task = cancelled.borrow_mut().take().expect("it was put there");
            assert!(task.cancel());
            cancelled.borrow_mut().replace(task);
        });
        let task = sides.client.create_task(async move {
            connecting.connect(("server", 443), || near).await.expect("it connects");
            unreachable!("it was cancelled");
        });
        let end = ended.clone();
        task.on_done(move || end.set_result(()).expect("it is done once"));
        own.borrow_mut().replace(task);
        ended.await.expect("it is completed");
        let task = own.borrow_mut().take().expect("it was put back");
        assert_eq!(task.await, Err(TaskError::Cancelled));
        until(&world, "the end", || sides.near.text().contains("CL") && sides.far.text().contains("CL")).await;
        assert_eq!((sides.near.text(), sides.far.text()), ("CM CL(None)".into(), "CM ER CL(None)".into()));
        Ok(())
    }

    /// F-26: both sides agree on an application protocol; a client shows its certificate.
    async fn protocols_and_certificates_of_both_sides_are_told(world: World) -> io::Result<()> {
        let mut sides = Sides::of(&world);
        let server = sides.authority.issue("server");
        let client = sides.authority.issue("client");
        let roots = std::sync::Arc::new(sides.authority.roots());
        let provider = std::sync::Arc::clone(tls::server_config().crypto_provider());
        let verifier = tls::rustls::server::WebPkiClientVerifier::builder_with_provider(roots, provider);
        let config = tls::server_config().with_client_cert_verifier(verifier.build().unwrap());
        let mut config = config.with_single_cert(vec![server.certificate], server.key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        sides.acceptor = TlsAcceptor::new(config);
        let config = tls::client_config().with_root_certificates(sides.authority.roots());
        let certificate = client.certificate.clone();
        let mut config = config.with_client_auth_cert(vec![client.certificate], client.key).unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        sides.connector = TlsConnector::new(config);
        let Secured { near, far, .. } = sides.connect(plain, plain).await?;
        let (near, far) = (near.transport().tls().unwrap(), far.transport().tls().unwrap());
        assert_eq!((near.alpn.as_deref(), far.alpn.as_deref()), (Some(&b"http/1.1"[..]), Some(&b"http/1.1"[..])));
        assert_eq!(far.peer_certificates, [certificate]);
        Ok(())
    }

    /// F-26: a client that comes again resumes its session.
    async fn a_second_connection_resumes_the_first(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, _server, .. } = sides.connect(plain, |far| far.on_made(|cx| cx.write(b"tickets come"))).await?;
        until(&world, "the data", || near.with(|near, _| !near.data.is_empty())).await;
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let again = connecting.connect(("server", 443), || Recorder::new(&sides.near)).await?;
        assert!(again.transport().tls().unwrap().resumed);
        Ok(())
    }

    /// F-03, F-08, TR-29: a certificate that does not hold is the connecting side's error; no protocol hears of anything.
    async fn a_bad_certificate_is_an_error_of_the_handshake(world: World) -> io::Result<()> {
        let mut sides = Sides::of(&world);
        let stranger = Authority::new(sides.client.rng("a stranger")).connector();
        let expired = sides.authority.issue_for_years("server", 1980, 1990).acceptor();
        let early = sides.authority.issue_for_years("server", 2990, 2999).acceptor();
        let good = sides.acceptor.clone();
        let trusting = sides.connector.clone();
        for (port, acceptor, connector, name, text) in [
            (1, &good, &stranger, "server", "UnknownIssuer"),
            (2, &expired, &trusting, "server", "expired"),
            (3, &early, &trusting, "server", "not valid yet"),
            (4, &good, &trusting, "elsewhere", "not valid for name \"elsewhere\""),
        ] {
            let log = sides.far.clone();
            let server = sides.server.server().tls(acceptor).bind(("server", port + 4000), move || Recorder::new(&log)).await?;
            let connecting = sides.client.connection().tls(connector, name);
            let error = connecting.connect(("server", port + 4000), || Recorder::new(&sides.near)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            let message = error.to_string();
            assert!(message.contains("certificate verify failed") && message.contains(text), "{message}");
            assert!(TlsError::of(&error).is_some());
            until(&world, "the end of the server's side", || server.connection_count() == 0).await;
        }
        assert_eq!((sides.near.text(), sides.far.text()), (String::new(), String::new()));
        assert_eq!(sides.server.report_count() + sides.client.report_count(), 0);
        Ok(())
    }

    /// F-08: a peer that does not speak TLS is an error of the handshake, on either side.
    async fn what_is_not_tls_is_an_error_of_the_handshake(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let greets = sides.server.create_server(("server", 25), || {
            Recorder::new(&Log::new()).on_made(|cx| cx.write(b"220 server ESMTP at your service\r\n"))
        });
        let _greets = greets.await?;
        let connecting = sides.client.connection().tls(&sides.connector, "server");
        let error = connecting.connect(("server", 25), || Recorder::new(&sides.near)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().contains("this is not TLS"), "{error}");
        let log = sides.far.clone();
        let server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), move || Recorder::new(&log)).await?;
        let chat = Log::new();
        let conn = sides.client.create_connection(("server", 443), || Recorder::new(&chat)).await?;
        conn.with(|_, cx| cx.write(b"GET / HTTP/1.1\r\n\r\n"));
        until(&world, "the end", || conn.transport().is_closing()).await;
        until(&world, "the end of the server's side", || server.connection_count() == 0).await;
        assert_eq!((sides.near.text(), sides.far.text()), (String::new(), String::new()));
        Ok(())
    }

    /// F-04, J-44: a peer that leaves in the handshake is an error of it, never a hang.
    async fn a_peer_that_leaves_in_the_handshake_resets_it(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        for abort in [false, true] {
            let port = 4000 + u16::from(abort);
            let leave = move || Recorder::new(&Log::new()).on_data(move |cx, _| if abort { cx.abort() } else { cx.close() });
            let _server = sides.server.create_server(("server", port), leave).await?;
            let connecting = sides.client.connection().tls(&sides.connector, "server");
            let error = connecting.connect(("server", port), || Recorder::new(&sides.near)).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
        }
        assert_eq!(sides.near.text(), "");
        Ok(())
    }

    /// F-05, J-52: a handshake that takes too long is given up, and its connection aborted; the timer of one that is done is
    /// gone.
    async fn a_handshake_has_a_time_limit(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        assert_eq!(LayerOptions::default().handshake_timeout, Duration::from_secs(60));
        let silent = Log::new();
        let log = silent.clone();
        let _server = sides.server.create_server(("server", 80), move || Recorder::new(&log)).await?;
        let connector = sides.connector.clone().handshake_timeout(Duration::from_millis(50));
        let began = sides.client.time();
        let connecting = sides.client.connection().tls(&connector, "server");
        let error = connecting.connect(("server", 80), || Recorder::new(&sides.near)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert!(sides.client.time() - began >= Duration::from_millis(50));
        until(&world, "the reset", || silent.text() == "CM DR CL(ConnectionReset)").await;
        let none = sides.connector.clone().handshake_timeout(Duration::ZERO);
        let connecting = sides.client.connection().tls(&none, "server");
        let error = connecting.connect(("server", 80), || Recorder::new(&sides.near)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(sides.near.text(), "");
        // One that is done outlives its limit.
        let quick = Sides { connector: sides.connector.clone().handshake_timeout(Duration::from_millis(400)), ..sides };
        let Secured { near, .. } = quick.connect(plain, plain).await?;
        world.sleep(Duration::from_millis(500)).await;
        assert!(!near.transport().is_closing());
        Ok(())
    }

    /// F-06: a connect that is given up in the handshake aborts the connection.
    async fn giving_up_in_the_handshake_aborts(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let silent = Log::new();
        let log = silent.clone();
        let server = sides.server.create_server(("server", 80), move || Recorder::new(&log)).await?;
        let (connecting, log) = (sides.client.connection().tls(&sides.connector, "server"), sides.near.clone());
        let task = sides.client.create_task(async move {
            connecting.connect(("server", 80), || Recorder::new(&log)).await.map(drop)
        });
        until(&world, "the hello", || silent.text() == "CM DR").await;
        task.cancel();
        assert!(task.await.is_err());
        until(&world, "the reset", || silent.text() == "CM DR CL(ConnectionReset)").await;
        until(&world, "the release", || server.connection_count() == 0).await;
        assert_eq!(sides.near.text(), "");
        Ok(())
    }

    /// F-07: closing in the handshake aborts.
    async fn closing_in_the_handshake_aborts(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let log = sides.far.clone();
        let server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), move || Recorder::new(&log)).await?;
        let silent = Log::new();
        let conn = sides.client.create_connection(("server", 443), || Recorder::new(&silent)).await?;
        until(&world, "the connection", || server.connection_count() == 1).await;
        server.close_clients();
        assert_eq!(conn.closed().await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
        until(&world, "the release", || server.connection_count() == 0).await;
        assert_eq!((silent.text(), sides.far.text()), ("CM CL(ConnectionReset)".to_owned(), String::new()));
        Ok(())
    }

    /// F-01, C-02: what is written in `connection_made` travels, and what comes with the last of the handshake is
    /// delivered after it.
    async fn both_sides_may_begin_to_speak(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let Secured { near, far, .. } =
            sides.connect(|near| near.on_made(|cx| cx.write(b"from the client")), |far| far.on_made(|cx| cx.write(b"from the server"))).await?;
        until(&world, "both", || {
            near.with(|near, _| near.data == b"from the server") && far.with(|far, _| far.data == b"from the client")
        }).await;
        assert_eq!((sides.near.text(), sides.far.text()), ("CM DR".to_owned(), "CM DR".to_owned()));
        Ok(())
    }

    /// C-03: who connects runs after `connection_made` and before the first data.
    async fn the_connecting_task_runs_before_the_first_data(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let log = sides.far.clone();
        let factory = move || Recorder::new(&log).on_made(|cx| cx.write(b"at once"));
        let _server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), factory).await?;
        let (connecting, log) = (sides.client.connection().tls(&sides.connector, "server"), sides.near.clone());
        let task = sides.client.create_task(async move {
            let conn = connecting.connect(("server", 443), || Recorder::new(&log)).await?;
            log.push("returned");
            io::Result::Ok(conn)
        });
        let conn = task.await.expect("nobody cancels it")?;
        until(&world, "the data", || conn.with(|near, _| !near.data.is_empty())).await;
        assert_eq!(sides.near.text(), "CM returned DR");
        Ok(())
    }
}

sim_only! {
    /// F-34: a configuration that draws from the operating system is refused in a simulation, and so is a key whose
    /// signatures do not repeat.
    async fn what_does_not_repeat_is_refused(world: World) -> io::Result<()> {
        let sides = Sides::of(&world);
        let log = sides.far.clone();
        let _server = sides.server.server().tls(&sides.acceptor).bind(("server", 443), move || Recorder::new(&log)).await?;
        let provider = std::sync::Arc::new(tls::rustls::crypto::ring::default_provider());
        let config = tls::rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let foreign = TlsConnector::new(config);
        let connecting = sides.client.connection().tls(&foreign, "server");
        let error = connecting.connect(("server", 443), || Recorder::new(&sides.near)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("tls::client_config"), "{error}");
        Ok(())
    }
}
