//! Links that change while connections use them.

use std::io;
use std::time::Duration;

use sim_core::{Failure, World};
use sim_net::{Link, Links, PacketKind, Partition, Record, Sim};
use tests::recorder::{Log, Recorder};

use crate::stream::{Stream, link, over};
use crate::transfer::{MEBIBYTE, SERVER, exchange};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long a mebibyte each way takes while `change` happens to the links, without any error.
fn exchange_while<R>(sim: &Sim, change: impl FnOnce(World, Links) -> R) -> Duration
where
    R: Future<Output = Result<(), Failure>> + 'static,
{
    let report = sim.run_with_links(|world, links| {
        // Links are changed between hosts that are there.
        let changing = (world.host("client"), world.host("server"));
        let change = change(world.clone(), links);
        async move {
            let task = changing.0.create_task(change);
            let ends = exchange(world, true, secs(3_600)).await?;
            task.cancel();
            io::Result::Ok(ends)
        }
    });
    let ends = report.unwrap();
    for end in &ends {
        assert_eq!(end.received, MEBIBYTE);
        let (error, _) = end.lost.as_ref().expect("both ended");
        assert!(error.is_none(), "{error:?}");
    }
    ends.iter().filter_map(|end| end.ended).max().expect("both ended").since_epoch()
}

async fn nothing(_: World, _: Links) -> Result<(), Failure> {
    Ok(())
}

/// L-21, L-30: nothing happens until the next expiry after the hole; the stream has then lost the two
/// seconds, at most one more interval of the ladder, and what its smaller window costs.
#[test]
fn a_black_hole_of_two_seconds_costs_little_more_than_them() {
    for seed in 0..5 {
        let sim = Sim::new(seed).link(link("latency=10ms,rate=10Mbit,queue=100"));
        let without = exchange_while(&sim, nothing);
        let with = exchange_while(&sim, |world, links| async move {
            world.sleep(ms(300)).await;
            let hole = links.partition(&Partition::between("client", "server"))?;
            world.sleep(secs(2)).await;
            links.heal_one(hole);
            Ok(())
        });
        let cost = with.saturating_sub(without);
        assert!((ms(2_000)..ms(4_500)).contains(&cost), "{without:?}, then {with:?}");
    }
}

/// L-25, L-28: a connection outlives every hole that ends before the last transmission, which at RTT
/// 2 ms is nominally 808.9 s after the first; 120 s later the kernel gives up.
#[test]
fn a_black_hole_that_does_not_end_is_a_timeout() {
    for (hole, outcome) in [(800, "CM DR"), (820, "CM DR CL(TimedOut)")] {
        let report = Sim::new(1).run_with_links(|world, links| async move {
            let (client, server) = (world.host("client"), world.host("server"));
            let echo = || Recorder::new(&Log::new()).on_data(|cx, data| cx.write(data));
            let _listening = server.create_server(SERVER, echo).await?;
            let log = Log::new();
            let lost_at = client.create_future();
            let (told, recorder) = (lost_at.clone(), Recorder::new(&log));
            let recorder = recorder.on_lost(move |cx| {
                told.set_result(cx.event_loop().time()).ok();
            });
            let conn = client.create_connection(SERVER, move || recorder).await?;
            conn.with(|_, cx| cx.write(b"heard"));
            world.sleep(secs(1)).await;
            let cut = links.partition(&Partition::between("client", "server"))?;
            let began = world.time();
            conn.with(|_, cx| cx.write(b"unheard"));
            world.sleep(secs(hole)).await;
            links.heal_one(cut);
            world.sleep(secs(200)).await;
            let received = conn.with(|it, _| it.data.clone());
            let lost = lost_at.done().then(|| lost_at.result());
            let lost = lost.transpose()?.map(|at| at - began);
            Result::<_, Failure>::Ok((log.text(), received, lost))
        });
        let (text, received, lost) = report.unwrap();
        assert_eq!(text, outcome);
        let whole = if lost.is_none() { &b"heardunheard"[..] } else { b"heard" };
        assert_eq!(received, whole);
        assert!(lost.is_none_or(|after| (secs(926)..secs(931)).contains(&after)), "{lost:?}");
    }
}

/// The stream follows its capacity down and up again. (What waited beyond a gap when the measurement
/// began may count in it: up to a queue, which is a tenth of what half a Mbit/s carries meanwhile.)
#[test]
fn capacity_steps_are_followed() {
    for seed in 0..3 {
        let rates = [10.0, 1.0, 0.5, 10.0];
        let shares = over(&Sim::new(seed), ms(10), move |world, links| async move {
            let at = |rate: f64| link(&format!("latency=10ms,rate={}kbit,queue=50", rate * 1e3));
            let stream =
                Stream::begin(world, links.clone(), at(rates[0]), usize::MAX, None).await?;
            let mut shares = Vec::new();
            for rate in rates {
                links.set(at(rate)).map_err(io::Error::other)?;
                let took = stream.during(secs(20), secs(20)).await;
                shares.push(took / (rate * 1_448.0 / 1_500.0));
            }
            Ok(shares)
        });
        for (share, rate) in shares.iter().zip(rates) {
            assert!((0.9..=1.1).contains(share), "{rate} Mbit/s: {shares:?}");
        }
    }
}

/// A radio that sleeps one second of three delays everything, and edits nothing.
#[test]
fn a_sleeping_radio_delays_and_loses_nothing() {
    for seed in 0..5 {
        let sim = Sim::new(seed).link(link("latency=20ms,rate=1Mbit,queue=100"));
        let awake = exchange_while(&sim, nothing);
        let sleepy = exchange_while(&sim, |world, links| async move {
            let ways = [links.link("client", "server")?, links.link("server", "client")?];
            loop {
                world.sleep(secs(2)).await;
                ways.iter().for_each(sim_net::LinkHandle::hold);
                world.sleep(secs(1)).await;
                ways.iter().for_each(sim_net::LinkHandle::release);
            }
        });
        assert!(sleepy > awake && sleepy < awake * 2, "{awake:?}, then {sleepy:?}");
    }
}

/// L-03, L-06, L-81: the SYN is sent again before the answer can be there; the connection stands after
/// one round trip all the same, and then knows better.
#[test]
fn a_round_trip_longer_than_the_first_timeout() {
    for (delay, syns) in [(400, 1), (800, 2), (2_000, 4), (5_500, 7)] {
        let sim = Sim::new(1).latency(ms(delay)).trace(true);
        let report = sim.run(|world| async move {
            let (client, server) = (world.host("client"), world.host("server"));
            let echo = || Recorder::new(&Log::new()).on_data(|cx, data| cx.write(data));
            let _listening = server.create_server(SERVER, echo).await?;
            let log = Log::new();
            let recorder = Recorder::new(&log);
            let conn = client.create_connection(SERVER, move || recorder).await?;
            let connected = world.time().since_epoch();
            conn.with(|_, cx| cx.write(b"far away"));
            world.sleep(ms(delay * 2 + 10)).await;
            assert_eq!(conn.with(|it, _| it.data.clone()), b"far away");
            conn.transport().close();
            world.sleep(secs(60)).await;
            assert_eq!(log.text(), "CM DR CL(None)");
            Result::<_, Failure>::Ok(connected)
        });
        let log = report.log.as_ref().expect("it was asked for");
        let sent = |kind: PacketKind| {
            let of_kind = move |record| matches!(record, Record::Sent(it) if it.kind == kind);
            log.entries().filter(|entry| of_kind(entry.record)).count()
        };
        assert_eq!(sent(PacketKind::Syn), syns, "delay {delay} ms\n{log}");
        assert_eq!(report.unwrap(), ms(delay * 2));
    }
}

/// The end of a stream arrives, whichever of data and FIN are lost, and whether it was ended before or
/// after the data was sent again.
///
/// L-31, L-50: the FIN follows the data, and both are repeated until they are acknowledged.
#[test]
fn a_fin_after_a_retransmission_ends_the_stream() {
    // Packets 1 and 2 of the client are the handshake.
    for lost in ["3", "4", "3,4", "3,4,5", "4,5,6", "3,5,7"] {
        for pause in [0, 100, 300] {
            let rule = format!("client->server: latency=10ms,loss=packets({lost})");
            let rule: sim_net::LinkRule = rule.parse().expect("a rule");
            let sim = Sim::new(1).link(Link::default().latency(ms(10))).link(rule);
            let text = sim.run(|world| async move {
                let (client, server) = (world.host("client"), world.host("server"));
                let (log, accepted) = (Log::new(), client.create_future());
                let (peer_log, announced) = (log.clone(), accepted.clone());
                let make =
                    move || Recorder::new(&peer_log).named("server:").announce(announced.clone());
                let _listening = server.create_server(SERVER, make).await?;
                let recorder = Recorder::new(&log).named("client:");
                let conn = client.create_connection(SERVER, move || recorder).await?;
                let peer = accepted.await?;
                conn.with(|_, cx| cx.write(b"last words"));
                world.sleep(ms(pause)).await;
                conn.with(|_, cx| cx.write_eof());
                world.sleep(secs(4)).await;
                assert_eq!(peer.with(|it, _| it.data.clone()), b"last words");
                Result::<_, Failure>::Ok(log.text())
            });
            let expected = "client:CM server:CM server:DR server:ER server:CL(None) \
                            client:ER client:CL(None)";
            assert_eq!(text.unwrap(), expected, "lost {lost}, pause {pause} ms");
        }
    }
}
