//! What is still there when a scenario is done: one planted leak of each kind, and what is none.

use std::future::{Future, pending};
use std::io;
use std::time::Duration;

use sim_core::engine::LeftoverKind;
use sim_core::{Cx, Loop, Outcome, Protocol, World};
use sim_net::{FindingKind, Link, Report, Sim};

use crate::protocols::{Datagrams, Echo, Recorder, ms};

const SERVER: (&str, u16) = ("server", 7000);

/// Runs a scenario that must leave nothing.
fn run<F, R>(scenario: F) -> Report<<R::Output as Outcome>::Value>
where
    F: FnOnce(World) -> R,
    R: Future + 'static,
    R::Output: Outcome + 'static,
{
    Sim::new(1).leftovers(true).run(scenario)
}

/// What is found of a scenario: the lines of its message, and the kinds that the report names.
#[track_caller]
fn found<F, R>(scenario: F) -> (Vec<String>, Vec<LeftoverKind>)
where
    F: FnOnce(World) -> R,
    R: Future + 'static,
    R::Output: Outcome + 'static,
{
    let report = run(scenario);
    let finding = report.finding().expect("something was left over");
    assert_eq!(finding.kind, FindingKind::Leftover);
    let items = report.leftovers.iter().flat_map(|host| &host.items);
    let kinds = items.map(|item| item.kind).collect();
    (finding.message.lines().map(str::to_owned).collect(), kinds)
}

/// Never reads.
struct Stuck;
impl Protocol for Stuck {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.pause_reading();
    }
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}

/// Says something and closes.
struct Goodbye;
impl Protocol for Goodbye {
    fn connection_made(&mut self, cx: &mut Cx<'_, Self>) {
        cx.write(b"goodbye");
        cx.close();
    }
    fn data_received(&mut self, _: &mut Cx<'_, Self>, _: &[u8]) {}
}

#[test]
fn timers_are_told_with_the_next_one_and_where_they_were_made() {
    let (lines, kinds) = found(|world| async move {
        let lp = world.host("server");
        lp.call_later(Duration::from_secs(30), || {}).detach();
        lp.call_at(lp.time() + Duration::from_millis(12_500), || {}).detach();
        // Neither one that was cancelled nor one that ran.
        drop(lp.call_later(Duration::from_secs(1), || {}));
        lp.call_later(ms(1), || {}).detach();
        lp.sleep(ms(2)).await;
    });
    assert_eq!(kinds, [LeftoverKind::Timer; 2]);
    assert_eq!(lines[0], "left over: timers 2");
    let place = "created at sim-net/tests/it/leftovers.rs:";
    let next = format!("  host server: 2 timers pending (next at 12.500000000s, {place}");
    assert!(lines[1].starts_with(&next) && lines[1].contains("; at 30.000000000s, "), "{lines:?}");
}

#[test]
fn a_task_that_is_not_done_is_told_with_its_name() {
    let (lines, kinds) = found(|world| async move {
        world.host("a");
        let lp = world.host("b");
        lp.create_named_task("waits", pending::<()>());
        let done = lp.create_task(async {});
        done.await.unwrap();
    });
    assert_eq!((kinds, lines[0].as_str()), (vec![LeftoverKind::Task], "left over: tasks 1"));
    let expected =
        "  host b: 1 task not done (\"waits\", created at sim-net/tests/it/leftovers.rs:";
    assert!(lines[1].starts_with(expected), "{lines:?}");
}

#[test]
fn a_connection_that_nobody_closed_is_told_on_both_hosts() {
    let (lines, kinds) = found(|world| async move {
        let _server = world.host("server").create_server(SERVER, || Echo).await?;
        world.host("client").create_connection(SERVER, Recorder::default).await?;
        io::Result::Ok(())
    });
    assert_eq!(
        (kinds, lines[0].as_str()),
        (vec![LeftoverKind::Connection; 2], "left over: connections 2")
    );
    assert!(
        lines[1].starts_with("  host server: 1 connection open (server:7000→client:"),
        "{lines:?}"
    );
    let of_client = "  host client: 1 connection open (client:";
    assert!(
        lines[2].starts_with(of_client)
            && lines[2].contains("→server:7000 of it::protocols::Recorder, created at "),
        "{lines:?}"
    );
}

#[test]
fn a_datagram_endpoint_that_nobody_closed_is_told() {
    let (lines, kinds) = found(|world| async move {
        world.host("dns").datagram().local(("dns", 53)).bind(Datagrams::default).await.map(drop)
    });
    assert_eq!(
        (kinds, lines[0].as_str()),
        (vec![LeftoverKind::Endpoint], "left over: endpoints 1")
    );
    let expected = "  host dns: 1 endpoint open (dns:53 of it::protocols::Datagrams, created at ";
    assert!(lines[1].starts_with(expected) && lines[1].contains("leftovers.rs:"), "{lines:?}");
}

#[test]
fn bytes_that_the_peer_does_not_take_are_told_with_their_connection() {
    let (lines, kinds) = found(|world| async move {
        let server = world.host("server").server().receive_buffer(4_096);
        let _server = server.bind(SERVER, || Stuck).await?;
        let connecting = world.host("client").connection().send_buffer(4_096);
        let conn = connecting.connect(SERVER, Recorder::default).await?;
        conn.with(|_, cx| {
            cx.write(&[7; 1 << 20]);
            cx.close();
        });
        io::Result::Ok(())
    });
    let connection = LeftoverKind::Connection;
    assert_eq!(kinds, [connection, connection, LeftoverKind::Buffer]);
    assert_eq!(lines[0], "left over: connections 2, buffers 1");
    assert!(lines[2].contains(", 1 buffer not sent (client:"), "{lines:?}");
    assert!(lines[2].ends_with(" bytes)"), "{lines:?}");
}

#[test]
fn what_is_on_its_way_comes_to_its_end_first() {
    for link in ["latency=30ms", "latency=30ms,loss=40%"] {
        let link: Link = link.parse().unwrap();
        for seed in 0..20 {
            let report =
                Sim::new(seed).link(link.clone()).leftovers(true).run(|world| async move {
                    let server = world.host("server").create_server(SERVER, || Echo).await?;
                    world.host("client").create_connection(SERVER, || Goodbye).await?;
                    server.close();
                    io::Result::Ok(())
                });
            assert!(report.outcome.is_ok() && report.leftovers.is_empty(), "{:?}", report.outcome);
        }
    }
}

#[test]
fn what_boots_a_host_and_what_listens_is_no_leftover() {
    let report = run(|world| async move {
        world.boot("server", |lp: Loop| async move {
            lp.create_server(SERVER, || Echo).await?.serve_forever().await
        });
        world.sleep(ms(1)).await;
    });
    assert!(report.outcome.is_ok() && report.leftovers.is_empty());
}

#[test]
fn a_run_that_leaves_nothing_is_the_same_with_the_search_and_without() {
    let scenario = |world: World| async move {
        let lp = world.host("client");
        lp.sleep(ms(5)).await;
        lp.create_task(async {}).await.unwrap();
    };
    let (with, without) = (run(scenario), Sim::new(1).run(scenario));
    assert_eq!((with.hash, with.time, with.events), (without.hash, without.time, without.events));
}

#[test]
fn without_the_search_the_run_is_green() {
    let report = Sim::new(1).run(|world| async move {
        let lp = world.host("client");
        lp.create_task(pending::<()>());
    });
    assert!(report.outcome.is_ok() && report.leftovers.is_empty());
}

#[test]
fn a_run_that_fails_is_known_by_its_failure() {
    let report = run(|world| async move {
        world.host("client").call_later(Duration::from_secs(9), || {}).detach();
        Err::<(), _>(io::Error::other("no luck"))
    });
    assert_eq!(report.finding().unwrap().kind, FindingKind::Failure);
    assert_eq!(report.leftovers.len(), 1);
}
