//! What a page is told of a run.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use sim_core::{Cx, DatagramProtocol, DatagramTransport, Failure, Loop, World};
use sim_net::{Links, Operator, Partition, Record, Report, Sim};

use super::bars::{Kind, bars};
use super::joins::{Arrow, Fate, Joins};
use super::states::said;
use super::*;

const PORT: u16 = 7000;

/// Counts what it gets.
#[derive(Default)]
struct Sink {
    got: usize,
    silent: bool,
}

impl DatagramProtocol for Sink {
    fn datagram_received(
        &mut self,
        _cx: &mut Cx<'_, Self, DatagramTransport>,
        _data: &[u8],
        _from: SocketAddr,
    ) {
        self.got += 1;
    }

    fn digest(&self) -> Option<String> {
        (!self.silent).then(|| format!("{} got", self.got / 2 * 2))
    }
}

/// Hosts `a` and `b`, a sink at `b`, and what sends to it from `a`.
struct Pair {
    a: Loop,
    b: Loop,
    send: DatagramTransport,
}

impl Pair {
    async fn open(world: &World) -> io::Result<Self> {
        let (a, b) = (world.host("a"), world.host("b"));
        let sink = b.datagram().local(("b", PORT)).bind(Sink::default).await?;
        let silent = || Sink { silent: true, ..Sink::default() };
        let source = a.datagram().remote(("b", PORT)).bind(silent).await?;
        drop(sink);
        Ok(Self { a, b, send: source.transport().clone() })
    }

    fn send(&self, data: &[u8]) {
        self.send.send_to(data, None).expect("it is connected");
    }
}

/// Runs what `test` does with two hosts, and gives the report with its log.
fn run<F: Future<Output = Result<(), Failure>> + 'static>(
    link: &str,
    test: impl FnOnce(World, Pair, Links) -> F + 'static,
) -> Report<()> {
    let rule: sim_net::LinkRule = link.parse().unwrap();
    let sim = Sim::new(1).link(rule).trace(true);
    sim.run_with_links(|world, links| async move {
        let pair = Pair::open(&world).await?;
        test(world, pair, links).await
    })
}

fn joins(report: &Report<()>) -> Joins {
    Joins::of(report.log.as_ref().unwrap())
}

fn fates(report: &Report<()>) -> Vec<Fate> {
    joins(report).arrows.iter().map(|arrow| arrow.fate).collect()
}

/// The name of the host on which an event was.
fn host_of(report: &Report<()>, place: usize) -> &str {
    let log = report.log.as_ref().unwrap();
    log.host(log.entries().nth(place).unwrap().host)
}

/// One datagram from `a` to `b`, and then a while.
fn one(link: &str) -> Report<()> {
    run(link, |world, pair, _| async move {
        pair.send(b"one");
        world.sleep(Duration::from_secs(1)).await;
        Ok(())
    })
}

#[test]
fn an_arrow_joins_what_was_sent_to_where_it_arrived() {
    let report = one("latency=5ms");
    let joins = joins(&report);
    let [arrow] = joins.arrows[..] else { panic!("{joins:?}") };
    let log = report.log.as_ref().unwrap();
    let entry = |place| log.entries().nth(place).unwrap();
    let (from, to) = (entry(arrow.from), entry(arrow.to.unwrap()));
    assert!(matches!(from.record, Record::Sent(_)) && matches!(to.record, Record::Delivered(_)));
    assert_eq!(to.time - from.time, Duration::from_millis(5));
    assert_eq!((log.host(from.host), log.host(to.host)), ("a", "b"));
    assert_eq!((log.host(arrow.to_host), arrow.fate, arrow.packet), ("b", Fate::Delivered, 1));
    assert_eq!(log.packet_data(1), Some(&b"one"[..]));
}

#[test]
fn each_fate_is_told() {
    assert_eq!(fates(&one("loss=100%")), [Fate::Dropped]);
    assert_eq!(fates(&one("dup=100%")), [Fate::Delivered, Fate::Copy]);
    assert_eq!(fates(&one("corrupt=100%")), [Fate::Dropped]);
    assert_eq!(fates(&one("corrupt=100%/deliver")), [Fate::Corrupted]);
    assert_eq!(fates(&one("latency=2s")), [Fate::OnTheWay]);
    assert_eq!(fates(&one("reorder=100%")), [Fate::Late]);
}

#[test]
fn what_is_dropped_is_dropped_where_it_was() {
    let report = one("loss=100%");
    let Arrow { to, .. } = joins(&report).arrows[0];
    assert_eq!(host_of(&report, to.unwrap()), "a");
    let report = run("latency=5ms", |world, pair, links| async move {
        pair.send(b"one");
        pair.a.sleep(Duration::from_millis(1)).await;
        links.partition(&Partition::isolate("b"))?;
        world.sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    let Arrow { to, fate, .. } = joins(&report).arrows[0];
    assert_eq!((fate, host_of(&report, to.unwrap())), (Fate::Dropped, "b"));
}

#[test]
fn a_packet_that_a_later_one_overtook_is_late_and_so_is_one_that_was_held() {
    let report = run("latency=5ms", |world, pair, links| async move {
        pair.send(b"slow");
        links.link("a", "b")?.set("latency=1ms".parse()?);
        pair.send(b"fast");
        pair.b.sleep(Duration::from_millis(100)).await;
        links.link("a", "b")?.hold();
        pair.send(b"held");
        pair.b.sleep(Duration::from_millis(100)).await;
        links.link("a", "b")?.release();
        world.sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    assert_eq!(fates(&report), [Fate::Late, Fate::Delivered, Fate::Late]);
}

#[test]
fn what_the_network_says_is_caused_by_what_it_is_about() {
    let report = run("latency=5ms", |world, pair, _| async move {
        let silent = || Sink { silent: true, ..Sink::default() };
        let lost = pair.a.datagram().remote(("b", 9)).bind(silent).await?;
        lost.transport().send_to(b"?", None)?;
        world.sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    let joins = joins(&report);
    assert_eq!(
        joins.arrows.iter().map(|it| it.fate).collect::<Vec<_>>(),
        [Fate::Dropped, Fate::Delivered]
    );
    let about = (joins.arrows[1].from, joins.arrows[0].from);
    assert!(joins.causes.contains(&about), "{joins:?}");
}

#[test]
fn a_turn_of_the_scenario_is_caused_by_what_woke_it_unless_its_timer_did() {
    let report = Sim::new(1).trace(true).run(|world: World| async move {
        let client = world.host("client");
        client.sleep(Duration::from_millis(1)).await;
        world.sleep(Duration::from_millis(1)).await;
    });
    let log = report.log.as_ref().unwrap();
    let entry = |place: usize| log.entries().nth(place).unwrap();
    let causes = joins(&report).causes;
    let told: Vec<_> = causes
        .iter()
        .map(|&(woken, by)| (log.host(entry(woken).host), log.host(entry(by).host), entry(by).time))
        .collect();
    assert_eq!(told, [("control", "client", Time::from_nanos(1_000_000))]);
}

#[test]
fn a_timer_that_fires_is_joined_to_its_arming() {
    let report = run("latency=1ms", |world, pair, _| async move {
        let cancelled = pair.a.call_later(Duration::from_millis(7), || {});
        pair.a.call_later(Duration::from_millis(9), || {}).detach();
        cancelled.cancel();
        world.sleep(Duration::from_millis(20)).await;
        Ok(())
    });
    let log = report.log.as_ref().unwrap();
    let entries: Vec<_> = log.entries().collect();
    let timers = joins(&report).timers;
    let on_a = |&&(fired, _): &&(usize, usize)| log.host(entries[fired].host) == "a";
    let [(fired, armed)] = timers.iter().filter(on_a).collect::<Vec<_>>()[..] else {
        panic!("{timers:?}")
    };
    assert_eq!(entries[*fired].time - entries[*armed].time, Duration::from_millis(9));
    assert_eq!(entries[*fired].host, entries[*armed].host);
}

#[test]
fn states_stand_at_the_callbacks_after_which_they_were_said_once_each_change() {
    let report = run("latency=1ms", |world, pair, _| async move {
        for _ in 0..4 {
            pair.send(b"one");
            world.sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    });
    let log = report.log.as_ref().unwrap();
    let said: Vec<_> = said(log)
        .iter()
        .map(|said| {
            let entry = log.entries().nth(said.place).unwrap();
            (log.host(entry.host), log.text(&entry), said.text)
        })
        .collect();
    let expected = [
        ("b", "#1 connection_made".to_owned(), "0 got"),
        ("b", "#1 datagram_received 3 B".to_owned(), "2 got"),
        ("b", "#1 datagram_received 3 B".to_owned(), "4 got"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn bars_have_the_times_and_hosts_of_what_they_tell() {
    let millis = Duration::from_millis;
    let simulation = Sim::new(1).trace(true).build();
    let (world, links, operator): (World, Links, Operator) =
        (simulation.world(), simulation.links(), simulation.operator());
    simulation
        .run(async move {
            let _pair = Pair::open(&world).await?;
            let cut = links.partition(&Partition::isolate("b"))?;
            world.sleep(millis(1)).await;
            operator.host("a").pause();
            operator.host("b").slow(millis(1));
            links.link("a", "b")?.set("latency=7ms".parse()?);
            world.sleep(millis(1)).await;
            links.heal_one(cut);
            operator.host("a").resume();
            world.sleep(millis(1)).await;
            operator.host("b").crash();
            Ok::<(), Failure>(())
        })
        .unwrap();
    let log = simulation.log().unwrap();
    let told: Vec<_> = bars(&log)
        .into_iter()
        .map(|bar| {
            let hosts = bar.hosts.iter().map(|&host| log.host(host).to_owned());
            let times = (bar.began.time.as_nanos(), bar.ended.map(|end| end.time.as_nanos()));
            (bar.kind, bar.what, hosts.collect::<Vec<_>>().join(" "), times)
        })
        .collect();
    let bar = |kind, what: &str, hosts: &str, from: u64, to: Option<u64>| {
        let times = (from * 1_000_000, to.map(|to| to * 1_000_000));
        (kind, what.to_owned(), hosts.to_owned(), times)
    };
    let expected = [
        bar(Kind::Cut, "cut b | all but b", "b", 0, Some(2)),
        bar(Kind::Still, "pause a", "a", 1, Some(2)),
        bar(Kind::Slow, "slow b: 1ms a callback", "b", 1, Some(3)),
        bar(Kind::Link, "a->b: latency=7ms", "a b", 1, None),
        bar(Kind::Down, "crash b", "b", 3, None),
    ];
    assert_eq!(told, expected);
}

/// The data of a page.
fn data_of(page: &str) -> Value {
    let open = "<script type=\"application/json\" id=\"data\">";
    let (_, rest) = page.split_once(open).expect("the page has data");
    let (json, _) = rest.split_once("</script>").expect("the data end");
    serde_json::from_str(json).expect("the data are JSON")
}

fn page(timeline: &Timeline<'_>) -> String {
    let mut page = Vec::new();
    timeline.write_html(&mut page).unwrap();
    String::from_utf8(page).unwrap()
}

fn numbers(data: &Value, name: &str) -> Vec<i64> {
    data[name].as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
}

#[test]
fn the_page_has_every_record_of_the_log_as_the_log_tells_it() {
    let report = run("latency=1ms..2ms,loss=20%,dup=20%", |world, pair, _| async move {
        for _ in 0..50 {
            pair.send(b"one");
            world.sleep(Duration::from_millis(1)).await;
        }
        // Longer than a number of JavaScript has nanoseconds.
        world.sleep(Duration::from_secs(200 * 24 * 3_600)).await;
        pair.send(b"two");
        world.sleep(Duration::from_nanos(1_234_567_891)).await;
        Ok(())
    });
    let log = report.log.as_ref().unwrap();
    let data = data_of(&page(&Timeline::new("run", &report).unwrap()));
    let mut fillings = data["fillings"].as_array().unwrap().iter();
    let mut times = numbers(&data, "times").into_iter();
    let (kinds, hosts) = (numbers(&data, "kinds"), numbers(&data, "at"));
    assert_eq!((kinds.len(), hosts.len()), (log.entries().len(), log.entries().len()));
    let (mut seconds, mut nanos) = (0_u64, 0_u64);
    for ((entry, kind), host) in log.entries().zip(kinds).zip(hosts) {
        let shape = data["shapes"][kind as usize].as_str().unwrap();
        let mut pieces = shape.split('\u{1}');
        let mut text = pieces.next().unwrap().to_owned();
        for piece in pieces {
            let filling = fillings.next().unwrap();
            text += &filling.as_str().map_or_else(|| filling.to_string(), str::to_owned);
            text += piece;
        }
        assert_eq!(text, log.text(&entry));
        let mut step = times.next().unwrap();
        if step < 0 {
            seconds += step.unsigned_abs();
            step = times.next().unwrap();
        }
        nanos += step as u64;
        assert!(nanos < 1 << 53 && seconds < 1 << 32);
        assert_eq!(seconds * 1_000_000_000 + nanos, entry.time.as_nanos());
        seconds += nanos / 1_000_000_000;
        nanos %= 1_000_000_000;
        assert_eq!(log.hosts().nth(host as usize), Some(log.host(entry.host)));
    }
    assert!(fillings.next().is_none() && times.next().is_none());
}

#[test]
fn a_run_without_a_log_has_no_picture_and_one_without_events_has() {
    let idle = |_| async {};
    assert!(Timeline::new("run", &Sim::new(1).run(idle)).is_none());
    let report = Sim::new(1).trace(true).run(idle);
    let data = data_of(&page(&Timeline::new("run", &report).unwrap()));
    assert_eq!(data["finding"], Value::Null);
    assert_eq!(data["arrows"], Value::Array(Vec::new()));
}

#[test]
fn the_finding_stands_where_the_run_failed() {
    let report = Sim::new(1).trace(true).run(|world: World| async move {
        let client = world.host("client");
        client.sleep(Duration::from_secs(1)).await;
        client.call_soon(|| panic!("</script><b>out & of luck"));
        world.host("server").sleep(Duration::from_secs(1)).await;
    });
    let page = page(&Timeline::new("a < b", &report).unwrap().note("seed 1"));
    let data = data_of(&page);
    assert!(data["finding"].as_str().unwrap().contains("</script><b>out & of luck"), "{data:?}");
    let log = report.log.as_ref().unwrap();
    let found = log.entries().nth(data["found"].as_u64().unwrap() as usize).unwrap();
    assert_eq!((log.host(found.host), log.text(&found)), ("client", "call_soon".to_owned()));
    assert!(page.contains("<title>a &lt; b</title>") && !page.contains("<b>"));
    assert_eq!(data["notes"][0], "seed 1");
}

#[test]
fn nothing_in_the_page_asks_for_anything_or_ends_its_script() {
    let scripts = SCRIPTS.concat();
    for word in ["</script", "import(", "XMLHttpRequest", "WebSocket", "innerHTML", "eval("] {
        assert!(!scripts.contains(word), "{word}");
    }
    assert!(PAGE.contains("default-src 'none'"));
    assert!(!PAGE.contains("src=") && !PAGE.contains("href=") && !STYLE.contains("url("));
}

#[test]
fn the_entries_of_a_plan_have_their_times() {
    let plan: Plan = "plan 1.0\ncut a b 1.5s..2s\nclock a drift +40ppm\n".parse().unwrap();
    let report = Sim::new(1).trace(true).run(|world: World| async move {
        world.sleep(Duration::from_secs(1)).await;
    });
    let data = data_of(&page(&Timeline::new("run", &report).unwrap().plan(&plan)));
    assert_eq!(data["planTimes"], serde_json::json!([[1, 500_000_000], []]));
    assert_eq!(data["planTexts"][0], "cut a b 1.5s..2s");
}
