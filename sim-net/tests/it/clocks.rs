//! TCP on hosts whose clocks are not the world's.

use std::io;
use std::time::Duration;

use sim_core::{Conn, Failure, Time, World};
use sim_net::{Links, Operator, PacketKind, Partition, Record, Sim, Simulation};

use crate::protocols::{Echo, Recorder, ms};

const SERVER: (&str, u16) = ("server", 7000);
const BILLION: i128 = 1_000_000_000;
/// Five parts in a hundred, forty in a million.
const PERCENT_5: i64 = 50_000_000;
const PPM_40: i64 = 40_000;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// How long `local` of a clock with this drift takes.
fn in_the_world(local: Duration, drift: i64) -> Duration {
    let nanos = local.as_nanos() as i128 * BILLION / (BILLION + i128::from(drift));
    Duration::from_nanos(nanos as u64)
}

#[track_caller]
fn assert_close(found: Duration, expected: Duration) {
    assert!(found.abs_diff(expected) < Duration::from_micros(1), "{found:?}, not {expected:?}");
}

/// When the client, which is host 2, sent packets of this kind.
fn sent(simulation: &Simulation, kind: PacketKind) -> Vec<Duration> {
    let log = simulation.log().expect("it was asked for");
    let of_kind = log.entries().filter(|entry| {
        entry.host == 2 && matches!(entry.record, Record::Sent(packet) if packet.kind == kind)
    });
    of_kind.map(|entry| entry.time.since_epoch()).collect()
}

/// Runs a scenario on a server and a client whose clocks drift.
fn run<F, R, T>(sim: &Sim, drifts: [i64; 2], scenario: F) -> (T, Simulation)
where
    F: FnOnce(World, Links, Operator) -> R,
    R: Future<Output = Result<T, Failure>> + 'static,
    T: 'static,
{
    let simulation = sim.clone().trace(true).build();
    let (world, links, operator) = (simulation.world(), simulation.links(), simulation.operator());
    for (name, drift) in ["server", "client"].into_iter().zip(drifts) {
        world.host(name);
        operator.host(name).drift(drift);
    }
    let value = simulation.run(scenario(world, links, operator)).unwrap();
    (value, simulation)
}

/// The ladder of SYNs (L-03) is on the clock of the host: all of it takes so much longer.
#[test]
fn a_slow_clock_stretches_the_ladder_of_syns() {
    for drift in [0, PERCENT_5, -PERCENT_5, PPM_40, -500_000_000] {
        let ((own, world), simulation) = run(&Sim::new(1), [0, drift], |world, _, _| async move {
            let client = world.host("client");
            let error = client.create_connection(("10.0.0.99", 1), Recorder::default).await;
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
            Ok((client.time(), world.time()))
        });
        assert_close(own.since_epoch(), secs(131));
        assert_close(world.since_epoch(), in_the_world(secs(131), drift));
        let syns = sent(&simulation, PacketKind::Syn);
        let nominal = [0, 1, 2, 3, 4, 5, 7, 11, 19, 35, 67];
        assert_eq!(syns.len(), nominal.len());
        for (at, seconds) in syns.into_iter().zip(nominal) {
            assert_close(at, in_the_world(secs(seconds), drift));
        }
    }
}

/// A rate that changes bends the timers that run: those that come sooner are not missed.
#[test]
fn a_change_of_rate_moves_the_timers_of_connections() {
    for drift in [PERCENT_5, 500_000_000, -500_000_000] {
        let (failed_at, _) = run(&Sim::new(1), [0, 0], |world, _, operator| async move {
            let client = world.host("client");
            let connecting = {
                let (client, world) = (client.clone(), world.clone());
                client.clone().create_task(async move {
                    let made = client.create_connection(("10.0.0.99", 1), Recorder::default).await;
                    assert_eq!(made.unwrap_err().kind(), io::ErrorKind::TimedOut);
                    world.time()
                })
            };
            world.sleep(secs(100)).await;
            operator.host("client").drift(drift);
            Ok(connecting.await?)
        });
        assert_close(failed_at.since_epoch(), secs(100) + in_the_world(secs(31), drift));
    }
}

/// When the client sends a byte that nobody acknowledges, and gives up (L-21, L-25), counted on its
/// own clock from the write.
fn ladder(delay: Duration, drifts: [i64; 2]) -> Vec<Duration> {
    let sim = Sim::new(1).latency(delay);
    let ((wrote_at, lost_at), simulation) = run(&sim, drifts, |world, links, _| async move {
        let _server = world.host("server").create_server(SERVER, || Echo).await?;
        let client = world.host("client");
        let conn = client.create_connection(SERVER, Recorder::default).await?;
        links.partition(&Partition::isolate("server"))?;
        let wrote_at = (client.time(), world.time());
        conn.with(|_, cx| cx.write(b"x"));
        world.sleep(secs(3_600)).await;
        Ok((wrote_at, conn.with(|it, _| it.lost_at)))
    });
    let (own, world) = wrote_at;
    let rate = (BILLION + i128::from(drifts[1])) as f64 / BILLION as f64;
    let data = sent(&simulation, PacketKind::Data).into_iter();
    let on_own_clock = data.map(|at| (at - world.since_epoch()).mul_f64(rate));
    on_own_clock.chain([lost_at.saturating_since(own)]).collect()
}

/// What a host with a fast clock sees of a path is what one with a true clock sees of a path that is
/// slower, from the samples of its round trips to giving up; its peer's clock has no part in it.
#[test]
fn samples_and_timeouts_are_on_the_hosts_own_clock() {
    for (drift, delay) in [
        (PERCENT_5, Duration::from_micros(10_500)),
        (-PERCENT_5, Duration::from_micros(9_500)),
        (PPM_40, Duration::from_nanos(10_000_400)),
    ] {
        let (bent, true_one) = (ladder(ms(10), [-PPM_40, drift]), ladder(delay, [0, 0]));
        assert!(true_one.len() == 18 && true_one[17] > secs(924), "{true_one:?}");
        assert_eq!(bent.len(), true_one.len());
        for (bent, true_one) in bent.into_iter().zip(true_one) {
            assert_close(bent, true_one);
        }
    }
}

/// Sixty seconds of TIME-WAIT are a minute of the host that waits.
#[test]
fn time_wait_is_a_minute_of_the_host() {
    let connects_again = |drift, after: Duration| {
        let (again, _) = run(&Sim::new(1), [0, drift], |world, _, _| async move {
            let _server = world.host("server").create_server(SERVER, || Echo).await?;
            let client = world.host("client");
            let connect = || {
                client.connection().local_addr(("client", 5_000)).connect(SERVER, Recorder::default)
            };
            connect().await?.transport().close();
            // The peer's FIN is back after two round trips.
            world.sleep(ms(3) + after).await;
            Ok(connect().await.is_ok())
        });
        again
    };
    for drift in [0, PERCENT_5, -PERCENT_5] {
        let minute = in_the_world(secs(60), drift);
        assert!(!connects_again(drift, minute - ms(5)), "{drift}");
        assert!(connects_again(drift, minute + ms(5)), "{drift}");
    }
}

/// What a server has heard.
async fn listen(
    world: &World,
) -> Result<(sim_core::Server, sim_core::LoopFuture<Conn<Keeper>>), Failure> {
    let here = world.host("client").create_future();
    let announced = here.clone();
    let make = move || Keeper { here: announced.clone(), data: Vec::new() };
    Ok((world.host("server").create_server(SERVER, make).await?, here))
}

struct Keeper {
    here: sim_core::LoopFuture<Conn<Self>>,
    data: Vec<u8>,
}

impl sim_core::Protocol for Keeper {
    fn connection_made(&mut self, cx: &mut sim_core::Cx<'_, Self>) {
        self.here.set_result(cx.conn()).ok();
    }

    fn data_received(&mut self, _: &mut sim_core::Cx<'_, Self>, data: &[u8]) {
        self.data.extend_from_slice(data);
    }
}

/// PAWS (RFC 7323 §5.3): a segment that is older than what was heard last is not taken, whatever the
/// clocks of either end; its repetition is.
#[test]
fn an_old_segment_is_not_taken_whatever_the_clocks() {
    for drifts in [[0, 0], [PERCENT_5, -PPM_40], [-PPM_40, PERCENT_5], [500_000_000, -500_000_000]]
    {
        let (heard, _) = run(&Sim::new(1), drifts, |world, links, _| async move {
            let (_server, here) = listen(&world).await?;
            let client = world.host("client");
            let conn = client.create_connection(SERVER, Recorder::default).await?;
            let peer = here.await?;
            world.sleep(secs(1)).await;
            let link = links.link("client", "server")?;
            link.hold();
            conn.with(|_, cx| cx.write(b"one "));
            world.sleep(ms(5)).await;
            conn.with(|_, cx| cx.write(b"two "));
            world.sleep(secs(2)).await;
            let held = link.in_flight();
            let mut firsts = held.iter().filter(|it| it.kind == PacketKind::Data && it.offset == 1);
            let last = firsts.next_back().expect("it was sent again");
            let second = held.iter().find(|it| it.offset == 5).expect("it was sent");
            assert!(links.deliver(last) && links.deliver(second));
            world.sleep(ms(1)).await;
            let mut heard = vec![peer.with(|it, _| it.data.clone())];
            world.sleep(secs(10)).await;
            link.release();
            world.sleep(secs(10)).await;
            heard.push(peer.with(|it, _| it.data.clone()));
            Ok(heard)
        });
        assert_eq!(heard, [b"one ".to_vec(), b"one two ".to_vec()], "{drifts:?}");
    }
}

/// Nothing that is new is taken for old: streams arrive whole both ways, however far the clocks of their
/// ends go apart and whenever their rates change.
#[test]
fn streams_arrive_whole_between_clocks_that_disagree() {
    for drifts in [[PERCENT_5, -PPM_40], [-500_000_000, 500_000_000]] {
        let sim = Sim::new(1).link(sim_net::Link::default().latency(ms(1)..ms(20)));
        let (echoed, _) = run(&sim, drifts, |world, _, operator| async move {
            let _server = world.host("server").create_server(SERVER, || Echo).await?;
            let client = world.host("client");
            let hello = vec![7; 200_000];
            let conn = client.create_connection(SERVER, move || Recorder::saying(&hello)).await?;
            for drift in [0, -500_000_000, 500_000_000] {
                world.sleep(ms(100)).await;
                operator.host("client").drift(drift);
                operator.host("server").drift(-drift);
            }
            world.sleep(secs(600)).await;
            assert!(conn.with(|it, _| it.lost.is_none()) && client.time() > Time::ZERO);
            Ok(conn.with(|it, _| it.data.len()))
        });
        assert_eq!(echoed, 200_000, "{drifts:?}");
    }
}

/// Half of the true rate either way is the most; a rate of which there is no opposite is too much, too.
#[test]
fn a_drift_has_bounds() {
    let simulation = Sim::new(1).build();
    let (world, operator) = (simulation.world(), simulation.operator());
    simulation
        .run(async move {
            world.host("a");
            let host = operator.host("a");
            for drift in [-500_000_000, 500_000_000] {
                host.drift(drift);
            }
            for drift in [i64::MIN, -500_000_001, 500_000_001, i64::MAX] {
                let host = std::panic::AssertUnwindSafe(&host);
                let panic = std::panic::catch_unwind(|| host.drift(drift)).unwrap_err();
                let text = panic.downcast_ref::<String>().unwrap();
                assert!(text.contains("at most 500 000 000 either way"), "{text}");
            }
        })
        .unwrap();
}
