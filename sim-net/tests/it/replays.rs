//! Runs from plans: what entries find, and what they do.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::{Conn, Failure, Loop, World};
use sim_net::plan::{Entry, FaultSite, Start};
use sim_net::{
    Bound, Exhaustive, Link, LinkRule, Message, OfferedWorkload, Plan, Record, Recording, Report,
    Sim, Site,
};

use crate::protocols::{Datagrams, Echo, Recorder, endpoint, ms, udp_echo};

const SERVER: (&str, u16) = ("server", 7000);
const OUT: &str = "client@1→server:7000#1";
const BACK: &str = "client@1←server:7000#1";

#[track_caller]
fn plan(text: &str) -> Plan {
    text.parse().unwrap_or_else(|errors| panic!("{errors}"))
}

#[track_caller]
fn replaying(text: &str) -> Sim {
    Sim::new(1).replay(&plan(text)).unwrap_or_else(|error| panic!("{error}"))
}

/// What a server saw of a client's writes.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
struct Seen {
    data: Vec<u8>,
    /// When each read came, and how many bytes were there by then.
    reads: Vec<(Duration, usize)>,
    ended: Option<Duration>,
    lost: Option<Option<io::ErrorKind>>,
}

struct Sink(Rc<RefCell<Seen>>);

impl sim_core::Protocol for Sink {
    fn data_received(&mut self, cx: &mut sim_core::Cx<'_, Self>, data: &[u8]) {
        let mut seen = self.0.borrow_mut();
        seen.data.extend_from_slice(data);
        let (now, count) = (cx.event_loop().time().since_epoch(), seen.data.len());
        seen.reads.push((now, count));
    }

    fn eof_received(&mut self, cx: &mut sim_core::Cx<'_, Self>) -> sim_core::Eof {
        self.0.borrow_mut().ended = Some(cx.event_loop().time().since_epoch());
        sim_core::Eof::Close
    }

    fn connection_lost(&mut self, _: &mut sim_core::Cx<'_, Self>, error: Option<io::Error>) {
        self.0.borrow_mut().lost = Some(error.map(|error| error.kind()));
    }
}

/// A client that writes these pieces, 10 ms apart, and then ends the stream.
fn writing(sim: &Sim, pieces: &[usize]) -> (Report<()>, Seen) {
    let seen = Rc::<RefCell<Seen>>::default();
    let (own, pieces) = (seen.clone(), pieces.to_vec());
    let report = sim.run(|world: World| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = server.create_server(SERVER, move || Sink(own.clone())).await?;
        let lp = client.clone();
        client.create_task(async move {
            let Ok(conn) = lp.create_connection(SERVER, Recorder::default).await else { return };
            let mut bytes = (0..=u8::MAX).cycle();
            for length in pieces {
                let piece: Vec<u8> = bytes.by_ref().take(length).collect();
                conn.transport().write(&piece);
                lp.sleep(ms(10)).await;
            }
            conn.transport().write_eof();
            let _ = conn.closed().await;
        });
        world.sleep(Duration::from_secs(60)).await;
        io::Result::Ok(())
    });
    let seen = seen.borrow().clone();
    (report, seen)
}

#[track_caller]
fn bound(report: &Report<()>, wanted: &str) {
    assert_eq!(report.bindings.to_string(), wanted, "{:?}", report.bindings);
}

const ALL: [usize; 3] = [100, 50, 50];

#[test]
fn a_dropped_segment_comes_again() {
    for (text, late) in [
        (format!("drop {OUT} syn"), true),
        (format!("drop {BACK} syn-ack"), true),
        (format!("drop {OUT} data 101"), true),
        (format!("drop {OUT} fin 201"), true),
        (format!("drop {OUT} data 101\ndrop {OUT} data 101 2nd"), true),
        (format!("drop {BACK} ack 101"), false),
        (format!("delay {OUT} data 1 +37ms"), true),
        (format!("corrupt {OUT} data 1 = 1"), true),
        (format!("duplicate {OUT} data 1 +5ms"), false),
        (format!("reorder {OUT} data 1 = 1"), true),
    ] {
        let (report, seen) = writing(&replaying(&text), &ALL);
        let entries = text.lines().count();
        bound(&report, &format!("bound {entries} of {entries}"));
        let (clean, before) = writing(&replaying(""), &ALL);
        assert_eq!(
            report.faults.values().sum::<u64>(),
            u64::from(!text.contains("delay")) * entries as u64,
            "{text}"
        );
        assert_eq!((&seen.data, seen.lost), (&before.data, Some(None)), "{text}");
        assert_eq!(seen.ended > before.ended || seen.reads != before.reads, late, "{text}");
        assert_ne!(report.hash, clean.hash, "{text}");
        report.unwrap();
    }
}

/// On links that are a delay and nothing else segments travel as trains; a plan finds those in it.
#[test]
fn a_segment_of_a_train_is_found() {
    let sim = Sim::new(1).census(true);
    let (report, _) = writing(&sim, &[100_000]);
    let census = report.census.unwrap();
    let data: Vec<_> = census
        .packets()
        .filter(|packet| packet.message == Message::Segment(sim_net::plan::SegmentClass::Data))
        .collect();
    assert!(data.len() > 60, "{}", data.len());
    for packet in data.iter().step_by(7) {
        let text = format!("drop {}", packet.event);
        let (report, seen) = writing(&replaying(&text), &[100_000]);
        bound(&report, "bound 1 of 1");
        assert_eq!((report.faults["packet.loss"], seen.data.len()), (1, 100_000), "{text}");
    }
}

/// What a sweep of single faults does: every packet of the clean run can be named.
#[test]
fn every_packet_of_the_census_can_be_dropped() {
    let sim = Sim::new(1).census(true);
    let (report, _) = writing(&sim, &ALL);
    let census = report.census.unwrap();
    assert!(census.packets().len() >= 10 && census.arrivals().len() == census.packets().len());
    for packet in census.packets() {
        let (report, seen) = writing(&replaying(&format!("drop {}", packet.event)), &ALL);
        bound(&report, "bound 1 of 1");
        assert_eq!(report.faults["packet.loss"], 1, "{}", packet.event);
        assert_eq!(seen.data.len(), 200, "{}", packet.event);
    }
    let streams: Vec<_> = census.streams().collect();
    assert_eq!(streams.len(), 1, "the server closes without a word");
    let offsets: Vec<u64> = streams[0].writes.iter().map(|write| write.offset).collect();
    assert_eq!((offsets, streams[0].end.map(|end| end.offset)), (vec![100, 150, 200], Some(200)));
    assert_eq!(streams[0].flow().unwrap().to_string(), OUT);
    let calls: Vec<String> =
        census.calls().iter().map(|call| format!("{} {}", call.site.word(), call.event)).collect();
    assert_eq!(
        calls,
        [
            "dns-again dns.again client@1?server nr 0",
            "dns-nxdomain dns.nxdomain client@1?server nr 0",
            "dns-empty dns.empty client@1?server nr 0",
            "dns-silent dns.silent client@1?server nr 0",
            "connect socket.connect client@1/connect nr 0",
            "emfile socket.emfile server@1/accept:7000 nr 0",
            "accept-reset client@1→server:7000#1 syn",
            "emfile socket.emfile server@1/accept:7000 nr 1",
        ]
    );
    assert!(census.turns().iter().any(|turn| &*census.host(turn.host) == "server"));
}

// Streams.

#[test]
fn reads_end_where_the_plan_says() {
    let (report, seen) = writing(
        &replaying(&format!("boundary@17 {OUT}\nboundary@60 {OUT}\nboundary@100 {OUT}")),
        &ALL,
    );
    bound(&report, "bound 3 of 3");
    let counts: Vec<usize> = seen.reads.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [17, 60, 100, 150, 200]);
    assert_eq!(report.faults["stream.boundary"], 2, "at 100 nothing more was there");
}

#[test]
fn a_write_takes_what_the_plan_says() {
    let (report, seen) =
        writing(&replaying(&format!("short-write@0 {OUT} = 7\nshort-write@120 {OUT} = 1")), &ALL);
    bound(&report, "bound 2 of 2");
    assert_eq!((seen.data.len(), report.faults["stream.short-write"]), (200, 2));
}

#[test]
fn writes_are_read_as_one_and_with_the_end() {
    let (report, seen) = writing(&replaying(&format!("coalesce@100 {OUT}")), &ALL);
    bound(&report, "bound 1 of 1");
    let counts: Vec<usize> = seen.reads.iter().map(|(_, count)| *count).collect();
    assert_eq!(counts, [150, 200]);
    let (_, seen) = writing(&replaying(&format!("coalesce@200 {OUT}")), &ALL);
    assert_eq!(seen.reads.last().map(|&(at, count)| (Some(at), count)), Some((seen.ended, 200)));
    let (_, seen) = writing(&replaying(&format!("coalesce@100 {OUT} +3ms")), &ALL);
    let (_, clean) = writing(&replaying(""), &ALL);
    assert_eq!(seen.reads[0], (clean.reads[0].0 + ms(3), 100));
    // Nothing more comes: news are not held for ever.
    let (_, seen) = writing(&replaying(&format!("coalesce@50 {OUT}")), &[50]);
    assert_eq!(seen.data.len(), 50);
}

/// What ended an earlier hold early says nothing of a later one, when its own time comes.
#[test]
fn a_hold_lasts_its_own_time_whatever_held_before() {
    let text = format!("coalesce@100 {OUT}\nstall@200 {OUT} +3s");
    let (report, seen) = writing(&replaying(&text), &ALL);
    bound(&report, "bound 2 of 2");
    let [first, second] = seen.reads[..] else { panic!("{:?}", seen.reads) };
    // The third piece came 10 ms behind the second, and its news 3 s later.
    assert_eq!((first.1, second.1), (150, 200));
    assert_eq!(second.0 - first.0, ms(3_010));
}

#[test]
fn stalls_and_late_ends_last_as_long_as_the_plan_says() {
    let (_, clean) = writing(&replaying(""), &ALL);
    let (report, seen) =
        writing(&replaying(&format!("stall@120 {OUT} +2s\ndelay-fin@7 {OUT} +1s")), &ALL);
    assert_eq!(seen.reads[1], (clean.reads[1].0 + Duration::from_secs(2), 200));
    assert_eq!(
        seen.ended,
        Some(clean.ended.unwrap() + Duration::from_secs(1)).max(Some(seen.reads[1].0))
    );
    bound(&report, "bound 2 of 2");
    // The end was elsewhere.
    let near = report.bindings.iter().nth(1).unwrap();
    assert!(
        matches!(near.1, Bound::Near { event, .. } if event.to_string() == format!("{OUT} @200"))
    );
    assert!(report.bindings.rewritten(&plan("")).to_string().contains("delay-fin@200"));
}

#[test]
fn connections_are_reset_where_the_plan_says() {
    use io::ErrorKind::ConnectionReset;
    for (ends, here) in [
        ("sender", None),
        ("receiver", Some(Some(ConnectionReset))),
        ("both", Some(Some(ConnectionReset))),
    ] {
        let (report, seen) = writing(&replaying(&format!("rst@120 {OUT} to {ends}")), &ALL);
        bound(&report, "bound 1 of 1");
        // What a resetting sender leaves behind is reset too, as soon as it hears of more.
        assert!(seen.lost == here || ends == "sender", "{ends}: {seen:?}");
        assert_eq!(seen.data.len(), 120, "{ends}");
    }
    let (_, seen) = writing(&replaying(&format!("rst@0 {OUT} to receiver")), &ALL);
    assert!(seen.data.is_empty(), "{seen:?}");
}

/// A stream ends where its writer's process is killed, since the kernel sends what it has taken and then the end (K-04); and
/// where something on the way ends it, in which nobody is killed. Nothing behind that is about anything.
#[test]
fn a_stream_ends_behind_a_byte() {
    for text in ["", " to receiver"].map(|to| format!("{OUT}{to}")) {
        for place in [0, 1, 60, 100, 199, 200] {
            let text = format!("fin@{place} {text}");
            let (report, seen) = writing(&replaying(&text).record(Recording::new()), &ALL);
            bound(&report, "bound 1 of 1");
            assert_eq!((seen.data.len(), seen.lost), (place, Some(None)), "{text}");
            assert!(seen.ended.is_some());
            assert_eq!(report.faults["stream.fin"], 1);
            assert!(report.recording.unwrap().to_string().ends_with(&format!("{text}\n")));
        }
        let (report, _) = writing(&replaying(&format!("fin@201 {text}")), &ALL);
        bound(&report, "bound 0 of 1");
    }
    let all = format!("fin@60 {OUT} to receiver\nrst@61 {OUT} to both\nfin@61 {OUT}");
    let (report, seen) = writing(&replaying(&all), &ALL);
    bound(&report, "bound 1 of 3");
    assert_eq!(seen.data.len(), 60);
    let error = Sim::new(1).replay(&plan("fin a@1→unix:/x#1 nr 3 to receiver")).unwrap_err();
    assert!(error.to_string().contains("a place in a stream"), "{error}");
}

#[test]
fn readiness_is_told_for_nothing() {
    let (report, seen) = writing(&replaying(&format!("spurious@150 {OUT}")), &ALL);
    bound(&report, "bound 1 of 1");
    assert_eq!((seen.data.len(), report.faults["socket.spurious"]), (200, 1));
}

#[test]
fn calls_fail_where_the_plan_says() {
    let connects = |text: &str| {
        let report = replaying(text).run(|world: World| async move {
            let (server, client) = (world.host("server"), world.host("client"));
            let _server = server.create_server(SERVER, || Echo).await?;
            let mut ends = Vec::new();
            for _ in 0..4 {
                let hello = || Recorder::saying(b"hello");
                let Ok(conn) = client.create_connection(SERVER, hello).await else {
                    ends.push("refused");
                    continue;
                };
                client.sleep(ms(100)).await;
                ends.push(conn.with(|it, _| match (&it.lost, it.data.len()) {
                    (Some(_), _) => "lost",
                    (None, 5) => "answered",
                    (None, _) => "waits",
                }));
            }
            io::Result::Ok(ends)
        });
        let (bindings, faults) = (report.bindings.to_string(), report.faults.values().sum());
        (report.unwrap(), bindings, faults)
    };
    let (ends, bindings, faults): (_, _, u64) =
        connects("connect client@1/connect nr 1\nconnect client@1/connect nr 2 = 3");
    assert_eq!(ends, ["answered", "refused", "refused", "answered"]);
    assert_eq!((&*bindings, faults), ("bound 2 of 2", 2));
    let (ends, bindings, faults) = connects("accept-reset client@1→server:7000#3 syn");
    assert_eq!(ends, ["answered", "answered", "lost", "answered"]);
    assert_eq!((&*bindings, faults), ("bound 1 of 1", 1));
    let (_, bindings, faults) =
        connects("emfile server@1/accept:7000 nr 2 = 2\nemfile server@1/accept:7000 nr 99");
    assert_eq!((&*bindings, faults), ("bound 1 of 2", 1));
}

/// A crash takes nothing of a disk unless the plan says so.
#[test]
fn a_crash_takes_what_the_plan_says() {
    let left = |text: &str| {
        let found = Rc::new(RefCell::new(Vec::new()));
        let own = found.clone();
        let report =
            replaying(&format!("crash n 1s for 1s\n{text}")).run(|world: World| async move {
                world.boot("n", move |lp: Loop| {
                    let found = own.clone();
                    async move {
                        let file = lp.store("f")?;
                        found.borrow_mut().push(file.read()?);
                        for piece in [b"abc", b"def", b"ghi"] {
                            file.append(piece)?;
                        }
                        std::future::pending::<()>().await;
                        io::Result::Ok(())
                    }
                });
                world.sleep(Duration::from_secs(3)).await;
            });
        let left = found.borrow()[1].clone();
        (left, report.bindings.to_string())
    };
    assert_eq!(left(""), (b"abcdefghi".to_vec(), "bound 1 of 1".to_owned()));
    assert_eq!(left("lose n@1/f nr 0 = 1"), (b"abcdef".to_vec(), "bound 2 of 2".to_owned()));
    assert_eq!(
        left("lose n@1/f nr 0 = 2\ntear n@1/f nr 0 = 1"),
        (b"abcd".to_vec(), "bound 3 of 3".to_owned())
    );
    assert_eq!(left("lose n@1/f nr 0 = 99"), (Vec::new(), "bound 2 of 2".to_owned()));
    assert_eq!(left("lose n@2/f nr 0 = 1"), (b"abcdefghi".to_vec(), "bound 1 of 2".to_owned()));
}

// Datagrams, and packets that are not the one that is meant.

/// A client asks `count` questions, 10 ms apart; those that were answered.
fn asking(sim: &Sim, count: u8, version: u8) -> (Report<()>, Vec<u8>) {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let list = answers.clone();
    let report = sim.run(|world: World| async move {
        let (server, client) = (world.host("server"), world.host("client"));
        let _server = endpoint(&server, Some(("server", 53)), None, udp_echo).await?;
        let conn: Conn<Datagrams, _> =
            endpoint(&client, None, Some(("server", 53)), Datagrams::default).await?;
        for number in 0..count {
            conn.transport().send_to(&[number, version, 7], None)?;
            client.sleep(ms(10)).await;
        }
        client.sleep(ms(100)).await;
        conn.with(|it, _| list.borrow_mut().extend(it.received.iter().map(|(data, ..)| data[0])));
        io::Result::Ok(())
    });
    let answers = answers.borrow().clone();
    (report, answers)
}

fn all_but(count: u8, missing: u8) -> Vec<u8> {
    (0..count).filter(|&number| number != missing).collect()
}

/// The plan of one lost datagram.
fn lost_datagram(number: u8) -> Plan {
    let (report, _) = asking(&Sim::new(1).census(true), 20, 1);
    let packet = report
        .census
        .unwrap()
        .packets()
        .filter(|it| &*it.from == "client")
        .nth(number.into())
        .unwrap();
    let mut drop = sim_net::plan::Deviation::new(FaultSite::Loss, packet.event, 1);
    drop.near = Some(packet.near);
    Plan::new().with(drop)
}

#[test]
fn a_datagram_is_named_by_its_content() {
    let plan = lost_datagram(6);
    let (report, answers) = asking(&Sim::new(1).replay(&plan).unwrap(), 20, 1);
    assert_eq!(answers, all_but(20, 6));
    assert_eq!(report.bindings.iter().next().unwrap().1, &Bound::Exact);
}

/// Where no datagram is the one that is meant, one near it of the same length is taken, and the plan
/// can be written anew.
#[test]
fn a_datagram_like_the_one_that_is_meant_is_taken_if_that_does_not_come() {
    let plan = lost_datagram(6);
    let (report, answers) = asking(&Sim::new(1).replay(&plan).unwrap(), 20, 2);
    assert_eq!(answers, all_but(20, 10), "4 went by beyond its number");
    bound(&report, "bound 1 of 1");
    let rewritten = report.bindings.rewritten(&plan);
    assert_ne!(rewritten, plan);
    let (again, answers) = asking(&Sim::new(1).replay(&rewritten).unwrap(), 20, 2);
    assert_eq!((answers, again.hash), (all_but(20, 10), report.hash));
    assert_eq!(again.bindings.iter().next().unwrap().1, &Bound::Exact);
    // Too few come, or none with this length.
    let (report, _) = asking(&Sim::new(1).replay(&plan).unwrap(), 9, 2);
    bound(&report, "bound 0 of 1");
    let mut longer = plan.clone();
    let Entry::Deviation(deviation) = &mut longer.entries[0] else { unreachable!() };
    deviation.near.as_mut().unwrap().length = 4;
    let (report, _) = asking(&Sim::new(1).replay(&longer).unwrap(), 20, 2);
    bound(&report, "bound 0 of 1");
}

/// Data that begins elsewhere, because what was written before is longer now.
#[test]
fn a_segment_like_the_one_that_is_meant_is_taken_when_its_place_is_passed() {
    let text = format!("drop {OUT} data 101 near 1 len 50");
    let (report, _) = writing(&replaying(&text), &[103, 50, 50]);
    let (_, found) = report.bindings.iter().next().unwrap();
    let event = format!("{OUT} data 104");
    assert!(matches!(found, Bound::Near { event: it, .. } if it.to_string() == event), "{found:?}");
    // Without saying where it was, it is the one that it names or none.
    let (report, _) = writing(&replaying(&format!("drop {OUT} data 101")), &[103, 50, 50]);
    bound(&report, "bound 0 of 1");
}

#[test]
fn an_event_is_claimed_once_for_each_kind_of_choice() {
    let text = format!("delay {OUT} data 101 +1ms\ndrop {OUT} data 101\ndrop {OUT} data 101");
    let (report, _) = writing(&replaying(&text), &ALL);
    bound(&report, "bound 2 of 3");
    assert_eq!(report.bindings.unbound().map(|(number, _)| number).collect::<Vec<_>>(), [3]);
}

// Faults that follow events.

#[test]
fn a_fault_follows_a_packet_where_it_is_sent_and_where_it_arrives() {
    let (clean, _) = writing(&Sim::new(1).census(true), &ALL);
    let census = clean.census.unwrap();
    let event = format!("{OUT} data 101");
    let sent = census.packets().find(|packet| packet.event.to_string() == event).unwrap();
    let arrived = census.arrivals().find(|packet| packet.event.to_string() == event).unwrap();
    for (host, moment) in [("client", sent.moment), ("server", arrived.moment)] {
        for delay in [0, 3] {
            let text = format!("kill server after {event} on {host} +{delay}ms");
            let sim = replaying(&text).trace(true);
            let (report, _) = writing(&sim, &ALL);
            bound(&report, "bound 1 of 1");
            let log = report.log.unwrap();
            let killed =
                log.entries().find(|it| it.record == Record::Host(sim_net::HostChange::Kill));
            assert_eq!(killed.unwrap().time, moment.time + ms(delay), "{text}");
        }
    }
    let (report, _) =
        writing(&replaying(&format!("kill server after {OUT} data 9999 on client")), &ALL);
    bound(&report, "bound 0 of 1");
}

#[test]
fn a_fault_follows_a_place_in_a_stream() {
    let (report, seen) =
        writing(&replaying(&format!("cut client server for 1s after {OUT} @150 on server")), &ALL);
    bound(&report, "bound 1 of 1");
    assert_eq!(seen.data.len(), 200);
    assert!(seen.reads.last().unwrap().0 > Duration::from_secs(1));
}

/// A recorded anchor can stand for the time: the same run.
#[test]
fn recorded_anchors_say_what_times_say() {
    let scheduled = plan("cut client server 15ms..1s\npause server 1.5s..2s\n");
    let sim = Sim::new(1).plan(&scheduled).unwrap().record(Recording::new().anchors());
    let (found, seen) = writing(&sim, &ALL);
    let mut recorded = found.recording.clone().unwrap();
    for entry in &mut recorded.entries {
        let Entry::Fault(fault) = entry else { continue };
        let Start::Both(_, anchor) = &fault.start else { panic!("{fault} has an anchor") };
        fault.start = Start::After(anchor.clone());
    }
    assert_eq!(recorded.entries.len(), 2);
    let text = recorded.to_string();
    let (again, seen_again) = writing(&replaying(&text), &ALL);
    assert_eq!((again.hash, seen_again), (found.hash, seen), "{text}");
    bound(&again, "bound 2 of 2");
}

#[test]
fn what_cannot_be_carried_out_is_refused_with_what_could_be() {
    for (text, wanted) in [
        (format!("drop@17 {OUT}"), "a packet, such as"),
        (format!("boundary {OUT} data 1"), "a place in a stream, such as"),
        (format!("accept-reset {OUT} data 1"), "the SYN of a connection"),
        ("drop a@1 nr 3".to_owned(), "a packet, such as"),
        ("emfile store.lost a@1 nr 3".to_owned(), "the number of a choice"),
        ("kill a after tcp.isn a@1 nr 0 on a".to_owned(), "to follow"),
        (format!("ties {OUT}"), "two hosts"),
        ("link a->b 1s..2s loss=150%".to_owned(), "a link"),
    ] {
        let said = Sim::new(1).replay(&plan(&text)).unwrap_err().to_string();
        assert!(said.contains(wanted), "{text}: {said}");
    }
    // By chance, what goes wrong is not for a plan to say.
    for text in [format!("drop {OUT} syn"), "jitter a->b".to_owned()] {
        assert!(Sim::new(1).plan(&plan(&text)).is_err());
    }
}

// The environment.

/// Hosts that are ready at the same instant, in the order in which they had their turns.
fn ties(sim: &Sim) -> (Report<()>, Vec<&'static str>) {
    const HOSTS: [&str; 5] = ["a", "b", "c", "d", "e"];
    let order = Rc::new(RefCell::new(Vec::new()));
    let list = order.clone();
    let report = sim.run(|world: World| async move {
        for name in HOSTS {
            let (lp, list) = (world.host(name), list.clone());
            lp.clone().create_task(async move {
                for _ in 0..4 {
                    lp.sleep(ms(10)).await;
                    list.borrow_mut().push(name);
                }
            });
        }
        world.sleep(Duration::from_secs(1)).await;
        io::Result::Ok(())
    });
    let order = order.borrow().clone();
    (report, order)
}

#[test]
fn ties_are_left_to_the_seed_where_the_plan_says() {
    let (_, by_chance) = ties(&Sim::new(3));
    let (report, order) = ties(&Sim::new(3).replay(&plan("")).unwrap());
    assert_eq!(order, ["a", "b", "c", "d", "e"].repeat(4));
    bound(&report, "bound 0 of 0");
    // Two of them alone: the others keep their places among themselves.
    let (report, order) = ties(&Sim::new(3).replay(&plan("ties b d")).unwrap());
    let only = |order: &[&'static str], hosts: [&str; 2]| {
        order.iter().copied().filter(|host| hosts.contains(host)).collect::<Vec<_>>()
    };
    assert_ne!(only(&order, ["b", "d"]), ["b", "d"].repeat(4));
    assert_eq!(only(&order, ["a", "c"]), ["a", "c"].repeat(4));
    bound(&report, "bound 1 of 1");
    let recorded = ties(&Sim::new(3).record(Recording::new())).0.recording.unwrap();
    assert_eq!(recorded.entries.len(), 4, "as few pairs as connect all\n{recorded}");
    assert_eq!(ties(&Sim::new(3).replay(&recorded).unwrap()).1, by_chance);
}

#[test]
fn jitter_is_left_to_the_seed_where_the_plan_says() {
    let sim = || Sim::new(4).latency(ms(1)..ms(30));
    let (_, by_chance) = writing(&sim().replay(&plan("jitter client server")).unwrap(), &ALL);
    assert_eq!(writing(&sim(), &ALL).1, by_chance);
    let one_way = writing(&sim().replay(&plan("jitter client->server")).unwrap(), &ALL).1;
    let none = writing(&sim().replay(&plan("")).unwrap(), &ALL).1;
    assert_eq!(none.reads[0].0, ms(3), "three ways of a millisecond");
    assert!(one_way.reads != none.reads && one_way.reads != by_chance.reads);
    // A delay of its own goes before the seed's.
    let text = format!("jitter client server\ndelay {OUT} syn +1s");
    let (report, _) = writing(&sim().replay(&plan(&text)).unwrap().trace(true), &ALL);
    let log = report.log.as_ref().unwrap();
    let delays = log.entries().filter_map(|entry| match entry.record {
        Record::Draw { site: Site::PacketDelay, value } => Some(value),
        _ => None,
    });
    assert!(delays.into_iter().any(|value| value == 1_000_000_000));
    bound(&report, "bound 2 of 2");
}

/// A beginning from a plan, and then the seed.
#[test]
fn a_plan_can_be_a_beginning() {
    let link: Link = "loss=30%".parse().unwrap();
    let lossy = |until: u64| {
        let sim = Sim::new(1).link(link.clone()).replay(&plan("")).unwrap();
        let sim = sim.then_by_chance(ms(until)).trace(true);
        let (report, answers) = asking(&sim, 40, 1);
        let log = report.log.as_ref().unwrap().clone();
        let drops = log.entries().filter(|it| matches!(it.record, Record::Dropped(..)));
        let times: Vec<_> = drops.map(|it| it.time.since_epoch()).collect();
        (times, answers, report.hash)
    };
    let (times, answers, _) = lossy(200);
    assert!(times.len() > 4 && times.iter().all(|&at| at >= ms(200)), "{times:?}");
    assert!(answers.starts_with(&(0..20).collect::<Vec<u8>>()));
    assert_eq!(lossy(1_000_000).0, []);
    let (report, _) = asking(&Sim::new(1).link(link.clone()), 40, 1);
    assert_eq!(lossy(0).2, report.hash);
}

/// What chance did behind a plan's beginning is in the plan of the run, with the time from which it did.
#[test]
fn the_plan_of_a_run_that_goes_on_by_chance_gives_the_run_again() {
    let link: Link = "latency=1ms..20ms,loss=10%".parse().unwrap();
    let beginnings = ["", "jitter client->server", "ties b d\nties a d", "jitter client server"];
    let mut from = 0;
    for (seed, text) in (0..6).flat_map(|seed| beginnings.map(|text| (seed, text))) {
        for until in [0, 5, 15, 25, 10_000] {
            let sim = Sim::new(seed).link(link.clone());
            let begun = sim.clone().replay(&plan(text)).unwrap().then_by_chance(ms(until));
            let again =
                |plan: &Plan| sim.clone().replay(&plan.to_string().parse().unwrap()).unwrap();
            let what = |plan: &Plan| format!("seed {seed}, {text:?} until {until} ms:\n{plan}");

            let (report, seen) = writing(&begun.clone().record(Recording::new()), &ALL);
            let recorded = report.recording.as_ref().unwrap();
            let (same, seen_again) = writing(&again(recorded), &ALL);
            assert_eq!((same.hash, seen_again), (report.hash, seen), "{}", what(recorded));
            assert_eq!(same.bindings.bound(), recorded.entries.len(), "{}", what(recorded));
            from += usize::from(recorded.to_string().contains(" from "));
            let split = writing(&begun.clone().record(Recording::new().split_all()), &ALL).0;
            let recorded = split.recording.as_ref().unwrap();
            assert_eq!(writing(&again(recorded), &ALL).0.hash, report.hash, "{}", what(recorded));

            let (report, order) = ties(&begun.clone().record(Recording::new()));
            let recorded = report.recording.as_ref().unwrap();
            let (same, order_again) = ties(&again(recorded));
            assert_eq!((same.hash, order_again), (report.hash, order), "{}", what(recorded));
            assert_eq!(same.bindings.bound(), recorded.entries.len(), "{}", what(recorded));
        }
    }
    assert!(from > 20, "{from}");
}

/// After the end of all faults no deviation does anything.
#[test]
fn nothing_is_injected_after_the_quiesce() {
    let text = format!("drop {OUT} data 151\nrst@200 {OUT} to both");
    let sim = replaying(&text).quiesce(ms(20));
    let (report, seen) = writing(&sim, &ALL);
    bound(&report, "bound 0 of 2");
    assert_eq!(seen.data.len(), 200);
}

/// What chance did to a run is in its plan, loss by loss.
#[test]
fn the_plan_of_a_lossy_run_gives_the_run_again() {
    let link: LinkRule = "latency=1ms..5ms,loss=20%".parse().unwrap();
    let mut lost = 0;
    for seed in 0..20 {
        let sim = Sim::new(seed).link(link.clone());
        let (report, seen) = writing(&sim.clone().record(Recording::new()), &ALL);
        let plan = report.recording.as_ref().unwrap();
        let (again, same) = writing(&sim.replay(plan).unwrap(), &ALL);
        let entries = plan.entries.len();
        bound(&again, &format!("bound {entries} of {entries}"));
        assert_eq!((again.hash, same), (report.hash, seen), "seed {seed}:\n{plan}");
        lost += report.faults["packet.loss"];
    }
    assert!(lost > 20, "{lost}");
}

// The workload.

#[test]
fn the_workload_is_made_smaller_and_the_rest_stays() {
    let run = |text: &str| {
        let made = Rc::new(Cell::new(0));
        let counter = made.clone();
        let report = replaying(text).census(true).run(|world: World| async move {
            let count = world.size("writes", 5..=9);
            let writes = world.ops("writes", count, |index, rng| {
                counter.set(counter.get() + 1);
                // How much one takes of its stream is nothing to the next.
                (0..index).for_each(|_| _ = rng.next_u64());
                (index, rng.next_u64())
            });
            Ok::<_, Failure>((count, writes))
        });
        // They are no faults, and do not count among them.
        assert_eq!(report.bindings.to_string(), "bound 0 of 0");
        let bindings = (report.bindings.bound(), report.bindings.len());
        let workload = report.census.as_ref().unwrap().workload().to_vec();
        let (count, writes) = report.unwrap();
        assert_eq!(made.get(), writes.len());
        (count, writes, bindings, workload)
    };
    let (count, all, _, offered) = run("");
    assert_eq!(all.len() as u64, count);
    assert_eq!(
        offered,
        [
            OfferedWorkload::Size {
                name: "writes".to_owned(),
                range: 5..=9,
                value: count,
                drawn: count,
            },
            OfferedWorkload::Operations { name: "writes".to_owned(), count },
        ]
    );
    let (_, some, bindings, _) = run("without writes 1,3-4\nwithout reads 1");
    assert_eq!(bindings, (1, 2));
    assert_eq!(
        some,
        all.iter().copied().filter(|(index, _)| ![1, 3, 4].contains(index)).collect::<Vec<_>>()
    );
    let (five, first, _, offered) = run("size writes = 5");
    assert_eq!((five, &first[..]), (5, &all[..5]));
    let OfferedWorkload::Size { value, drawn, .. } = offered[0] else { panic!("{offered:?}") };
    assert_eq!((value, drawn), (5, count), "what the seed makes it is known all the same");
    assert_eq!(run("size writes = 100").0, 9, "the scenario allows no more");
}

/// The seed of a plan goes before that of the simulation.
#[test]
fn a_plan_has_its_own_seed() {
    let port = |sim: Sim| writing(&sim, &[1]).0.hash;
    let with_seed = port(Sim::new(5).replay(&plan("seed 9")).unwrap());
    assert_eq!(with_seed, port(Sim::new(9).replay(&plan("")).unwrap()));
    assert_ne!(with_seed, port(Sim::new(5).replay(&plan("")).unwrap()));
}

// Plans that others make of a census.

/// All combinations of a lost or copied packet among the first five of a connection: each is run once.
#[test]
fn a_small_scope_is_exhausted() {
    let mut all = Exhaustive::new(Plan::new(), 5)
        .choice(FaultSite::Loss, 1)
        .choice(FaultSite::Duplicate, 1)
        .scope(|packet| packet.event.flow().is_some_and(|flow| !flow.is_reply));
    let mut plans = std::collections::BTreeSet::new();
    loop {
        let plan = all.plan();
        let (report, seen) = writing(&Sim::new(1).replay(&plan).unwrap().census(true), &[10]);
        assert_eq!(seen.data.len(), 10, "{plan}");
        bound(&report, &format!("bound {0} of {0}", plan.entries.len()));
        assert!(plans.insert(plan.to_string()), "{plan}");
        if !all.advance(report.census.as_ref().unwrap()) {
            break;
        }
    }
    // Fewer where a run has fewer than five packets.
    assert!((100..=3_usize.pow(5)).contains(&plans.len()), "{}", plans.len());
    let mut none = Exhaustive::new(Plan::new(), 0).choice(FaultSite::Loss, 1);
    assert!(!none.advance(&sim_net::Census::default()));
}

/// Whatever a fuzzer says is a plan that can be carried out, and what it changes in one place changes
/// one entry.
#[test]
fn bytes_are_sparse_plans() {
    let (report, _) = writing(&Sim::new(1).census(true), &ALL);
    let census = report.census.unwrap();
    assert!(census.plan_of_bytes(&[]).entries.is_empty());
    let mut entries = 0;
    for seed in 0..60_u8 {
        let byte = |at: u8| at.wrapping_mul(37).wrapping_add(seed.wrapping_mul(91)) ^ seed;
        let bytes: Vec<u8> = (0..50).map(byte).collect();
        let plan = census.plan_of_bytes(&bytes);
        assert_eq!(plan.entries.len(), 8);
        entries += writing(&Sim::new(1).replay(&plan).unwrap(), &ALL).0.bindings.bound();
        let mut other = bytes.clone();
        other[13] ^= 0x15;
        let diff = plan.diff(&census.plan_of_bytes(&other));
        assert!(diff.added.len() <= 1 && diff.removed.len() == diff.added.len(), "{diff}");
    }
    assert!(entries > 60, "{entries}");
    // Of a run in which nothing happened nothing can be made.
    assert!(sim_net::Census::default().plan_of_bytes(&[7; 60]).entries.is_empty());
}
