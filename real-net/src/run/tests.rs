//! What a run yields, and what fails it.

use super::*;

use std::cell::Cell;

use sim_core::{Cx, Protocol};

struct Echo;
impl Protocol for Echo {
    fn data_received(&mut self, cx: &mut Cx<'_, Self>, data: &[u8]) {
        cx.write(data);
    }
}

/// Sends what it is told, ends the stream, and collects what comes back.
struct Exchange {
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Exchange {
    fn of(request: &[u8]) -> Self {
        Self { request: request.to_vec(), answer: Vec::new() }
    }
}

impl Protocol for Exchange {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(&std::mem::take(&mut self.request));
        cx.write_eof();
    }

    fn data_received(&mut self, _: &mut Cx<'_, Self>, data: &[u8]) {
        self.answer.extend_from_slice(data);
    }
}

struct Panics;
impl Protocol for Panics {
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {
        panic!("ouch");
    }
}

async fn exchange(world: &World, request: &[u8]) -> io::Result<Vec<u8>> {
    let client = world.host("client");
    let conn = client.create_connection(("server", 7000), || Exchange::of(request)).await?;
    conn.closed().await?;
    Ok(conn.with(|exchange, _| std::mem::take(&mut exchange.answer)))
}

async fn is_echoed(world: World, request: Vec<u8>) -> io::Result<usize> {
    let server = world.host("server");
    let _listening = server.create_server(("server", 7000), || Echo).await?;
    let answer = exchange(&world, &request).await?;
    assert!(answer == request, "{} of {} bytes came back", answer.len(), request.len());
    Ok(answer.len())
}

async fn callback_panics(world: World) -> io::Result<()> {
    let _listening = world.host("server").create_server(("server", 7000), || Panics).await?;
    // The panic costs the connection: the client sees a reset, or an end.
    exchange(&world, b"go").await.map(drop).or(Ok(()))
}

#[test]
fn what_a_scenario_yields_is_what_run_returns() {
    assert_eq!(run(|world| is_echoed(world, b"hello".to_vec())).unwrap(), 5);
    assert_eq!(run(|_| async { Ok::<_, io::Error>(7) }).unwrap(), 7);
    run(|_| async {}).unwrap();
}

#[test]
fn a_large_exchange_crosses_every_buffer() {
    let request: Vec<u8> = (0..8 << 20).map(|n: u32| (n >> 3) as u8).collect();
    assert_eq!(run(|world| is_echoed(world, request)).unwrap(), 8 << 20);
}

#[test]
fn connections_come_from_the_address_of_their_host() {
    #[derive(Default)]
    struct Peer(Rc<Cell<Option<std::net::IpAddr>>>);
    impl Protocol for Peer {
        fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
            self.0.set(cx.peername().map(|addr| addr.ip()));
            cx.close();
        }
        fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
    }

    run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let peer = Rc::new(Cell::new(None));
        let seen = Rc::clone(&peer);
        let _listening =
            server.create_server(("server", 7000), move || Peer(Rc::clone(&seen))).await?;
        client.create_connection(("server", 7000), || Exchange::of(b"")).await?.closed().await.ok();
        let address = client.getaddrinfo(("client", 0)).await?[0].ip();
        assert_eq!(peer.get(), Some(address));
        io::Result::Ok(())
    })
    .unwrap();
}

#[test]
fn a_refused_connection_has_its_kind() {
    let error = run(|world| async move {
        world.host("server");
        exchange(&world, b"").await
    })
    .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn settle_waits_for_what_is_on_its_way() {
    run(|world| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let _listening = server.create_server(("server", 7000), || Echo).await?;
        let conn = client.create_connection(("server", 7000), || Exchange::of(b"hello")).await?;
        world.settle().await;
        conn.with(|exchange, _| assert_eq!(exchange.answer, b"hello"));
        io::Result::Ok(())
    })
    .unwrap();
}

#[test]
fn a_scenarios_own_error_comes_back_as_it_was() {
    let error = run(|_| async { Err::<(), _>(io::Error::from_raw_os_error(104)) }).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(104));
    let error = run(|_| async { Err::<(), _>("odd") }).unwrap_err();
    assert_eq!(error.to_string(), "odd");
}

#[test]
fn a_panic_of_the_scenario_is_an_error_with_its_text() {
    let error = run(|_| async { assert_eq!(1, 2, "the assertion") }).unwrap_err();
    assert!(error.to_string().contains("the assertion"), "{error}");
}

#[test]
fn a_panic_in_a_callback_fails_the_run_unless_allowed() {
    let error = run(callback_panics).unwrap_err();
    let panics = error.get_ref().and_then(|inner| inner.downcast_ref::<ContainedPanics>());
    assert_eq!(panics.map(|panics| panics.count), Some(1), "{error}");
    assert!(error.to_string().contains("ouch"), "{error}");
    Runner::new().allow_contained_panics(true).run(callback_panics).unwrap();
}

#[test]
fn a_run_past_its_limit_is_timed_out_and_names_what_waits() {
    let stuck = |world: World| async move {
        let lp = world.host("stuck");
        let never = lp.create_future::<()>();
        let waits = never.clone();
        let task = lp.create_named_task("waits for ever", async move { waits.await.ok() });
        task.await.ok();
        drop(never);
    };
    let error = Runner::new().limit(Duration::from_millis(1)).run(stuck).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(error.to_string().contains("waits for ever"), "{error}");
}

#[test]
fn a_report_tells_the_outcome_the_time_and_the_events() {
    let fine = Scenario::new("fine", "is fine", |world| is_echoed(world, b"hi".to_vec()));
    let report = run_report(&fine);
    assert!(report.is_ok() && report.events > 0, "{report}");
    assert!(report.to_string().starts_with("fine: ok ("), "{report}");

    let panics = Scenario::new("panics", "is not", callback_panics);
    let report = run_report(&panics);
    assert!(!report.is_ok());
    assert!(report.to_string().contains("ouch"), "{report}");
}

#[test]
fn a_run_inside_a_run_is_refused() {
    let inner = run(|_| async { run(|_| async {}).map_err(|error| error.to_string()) });
    let error = inner.unwrap_err();
    assert!(error.to_string().contains("already running"), "{error}");
}
