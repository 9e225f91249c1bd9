//! E-28 to E-35: accepting, turn by turn, and running out of descriptors.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, Loop, Task, World};
use sim_net::Sim;
use tests::both_loops;
use tests::recorder::{Log, Recorder};

use crate::serving::{Heard, PLACE, keep_busy};

/// Starts `count` connects at once.
fn connect_many(client: &Loop, port: u16, count: usize) -> Vec<Task<io::Result<Conn<Recorder>>>> {
    let connect = || {
        let lp = client.clone();
        client.create_task(async move {
            lp.create_connection(("server", port), || Recorder::new(&Log::new())).await
        })
    };
    (0..count).map(|_| connect()).collect()
}

/// A factory that logs each call as `new`, and the turn after the first one as `turn`.
fn counting(lp: &Loop, log: &Log) -> impl FnMut() -> Recorder + 'static {
    let (lp, log) = (lp.clone(), log.clone());
    let mut first = true;
    move || {
        log.push("new");
        if std::mem::take(&mut first) {
            let log = log.clone();
            lp.call_soon(move || log.push("turn"));
        }
        Recorder::new(&Log::new())
    }
}

/// The log, with each run of `new` as its length.
fn runs(log: &Log) -> Vec<usize> {
    log.text().split(" turn").map(|part| part.matches("new").count()).collect()
}

both_loops! {
    /// E-28: one turn accepts up to `backlog` connections, and the next one goes on.
    async fn a_turn_accepts_as_many_as_the_backlog(world: World) -> io::Result<()> {
        let (lp, client) = (world.host("server"), world.host("client"));
        for (port, backlog, expected) in [(7001, 1, [1, 1]), (7002, 2, [2, 1]), (7003, 3, [3, 0])] {
            let log = Log::new();
            let factory = counting(&lp, &log);
            let server = lp.server().backlog(backlog).bind(("server", port), factory).await?;
            // The kernel lets one more wait than the backlog says.
            let conns = connect_many(&client, port, expected.iter().sum());
            keep_busy(&lp);
            for conn in conns {
                conn.await.unwrap()?;
            }
            world.settle().await;
            assert_eq!((runs(&log), backlog), (expected.to_vec(), backlog));
            server.close();
        }
        Ok(())
    }

    /// E-35: the backlog is 100 by default.
    async fn the_default_backlog_is_100(world: World) -> io::Result<()> {
        let (lp, client, log) = (world.host("server"), world.host("client"), Log::new());
        let server = lp.create_server(PLACE, counting(&lp, &log)).await?;
        let conns = connect_many(&client, PLACE.1, 101);
        keep_busy(&lp);
        for conn in conns {
            conn.await.unwrap()?;
        }
        world.settle().await;
        assert_eq!((runs(&log), server.connection_count()), (vec![100, 1], 101));
        Ok(())
    }

    /// E-31, TR-03: the factory, `connection_made`, what that queues, and then the first data.
    async fn data_comes_in_a_later_turn_than_connection_made(world: World) -> io::Result<()> {
        let (lp, log) = (world.host("server"), Log::new());
        let factory = {
            let log = log.clone();
            move || {
                log.push("factory");
                let soon = log.clone();
                Recorder::new(&log).on_made(move |cx| {
                    let log = soon.clone();
                    cx.event_loop().call_soon(move || log.push("soon"));
                })
            }
        };
        let _server = lp.create_server(PLACE, factory).await?;
        let eager = || Recorder::new(&Log::new()).on_made(|cx| cx.write(b"at once"));
        let client = world.host("client");
        let connecting = client.create_task({
            let client = client.clone();
            async move { client.create_connection(PLACE, eager).await }
        });
        keep_busy(&lp);
        let _conn = connecting.await.unwrap()?;
        world.settle().await;
        assert_eq!(log.text(), "factory CM soon DR");
        Ok(())
    }

    /// E-32: connections that one turn accepts are made in the order of acceptance.
    async fn connections_are_made_in_the_order_of_acceptance(world: World) -> io::Result<()> {
        let (lp, client, log) = (world.host("server"), world.host("client"), Log::new());
        let number = Rc::new(Cell::new(0));
        let factory = {
            let log = log.clone();
            move || {
                let mine = number.get();
                number.set(mine + 1);
                log.push(format!("new{mine}"));
                let made = log.clone();
                Recorder::new(&Log::new()).on_made(move |_| made.push(format!("made{mine}")))
            }
        };
        let _server = lp.create_server(PLACE, factory).await?;
        let conns = connect_many(&client, PLACE.1, 3);
        keep_busy(&lp);
        for conn in conns {
            conn.await.unwrap()?;
        }
        world.settle().await;
        assert_eq!(log.text(), "new0 new1 new2 made0 made1 made2");
        Ok(())
    }
}

/// Three connects, from hosts of their own, to a host with room for the listener and one connection.
async fn out_of_descriptors(world: World) -> io::Result<()> {
    let lp = world.host("server");
    let connect = async |client: &str| {
        world.host(client).create_connection(PLACE, || Recorder::new(&Log::new())).await
    };
    let heard = Heard::by(&lp);
    let server = lp.create_server(PLACE, || Recorder::new(&Log::new())).await?;
    let conns = [connect("first").await?, connect("second").await?];
    world.settle().await;
    let report = "socket.accept() out of system resource";
    assert_eq!((server.connection_count(), heard.messages()), (1, vec![report.to_owned()]));
    let tried_at = lp.time();
    // What becomes free is not noticed before the retry, and neither is another connection.
    server.close_clients();
    let third = connect("third").await?;
    lp.sleep(Duration::from_millis(980)).await;
    assert_eq!((server.connection_count(), heard.messages().len()), (0, 1));
    lp.sleep(Duration::from_millis(30)).await;
    // One is accepted, the next try runs out again, and so on.
    assert_eq!((server.connection_count(), heard.messages().len()), (1, 2));
    assert!(lp.time() - tried_at < Duration::from_millis(1_100));
    server.close_clients();
    lp.sleep(Duration::from_secs(1)).await;
    assert_eq!((server.connection_count(), heard.messages().len()), (1, 3));
    server.close();
    lp.sleep(Duration::from_secs(5)).await;
    assert_eq!(heard.messages().len(), 3, "a closed server tries no more");
    drop((conns, third));
    Ok(())
}

/// E-29, J-20: out of descriptors: a report, a rest of a second, one retry; none once the server is
/// closed.
// on: sim
#[test]
fn a_listener_out_of_descriptors_rests_for_a_second() {
    let report = Sim::new(5).max_descriptors(2).run(out_of_descriptors);
    report.outcome.unwrap();
}
