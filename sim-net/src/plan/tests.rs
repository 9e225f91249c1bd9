use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use sim_core::{Signal, Time};

use super::*;

const HOSTS: [&str; 6] = ["a", "b", "c", "d", "client", "server"];

const EVERYTHING: &str = "\
plan 1.0
scenario raft::single_leader
seed 0x1f3a
cut a b 1.2s..4.2s
cut a->b 1.2s..4.2s hold port 7000
cut a,b | c,d 1s..2s reject
cut a,b -> c 1s..2s
isolate a 1.2s.. permanent
isolate a,b 1s..2s
crash b 1.9s for 200ms
crash c 1.9s for 200ms new-address after client@1→server:7000#2 data 1449 on server +10ms
crash d for 200ms after client@1←server:7000#2 ack 2897 3rd on client
pause c 3s..4s
freeze a 1s..2s
slow a 1s..2s by 3ms
dns a 1s..2s
dns a 1s.. silent permanent
link a->b 1s..3s loss=20%,latency=20ms..80ms
link a<->b 1s..3s \"loss=packets(17, 42)\"
kill a at 2.5s
signal a SIGTERM at 2.5s
clock a at 3s step +250ms
clock b offset +3ms drift +40ppm permanent
drop client@1→server:7000#2 syn
drop client@1→server:7000#2 data 1449 2nd
drop client@1→server:7000#2 data 2897 near 2 len 1448
delay client@1→server:7000#2 fin 2897 +37ms
delay client@1←server:7000#2 ack 1449 +37ms
duplicate client@1→server:53/udp#1 dgram 0x00f31a90c21d5b7e
duplicate client@1→server:7000#2 syn-ack +5ms
corrupt client@1→server:53/udp#1 dgram 0x0000000000000001 2nd = 17
reorder client@1→server:7000#2 rst 1449 = 3
boundary@17 client@1→server:7000#2
short-write@17 client@1→server:7000#2 = 3
coalesce@1448 client@1→server:7000#2
coalesce@1449 client@1→server:7000#2 +20ms
stall@100 client@1→server:7000#2 +2s
rst@1449 client@1→server:7000#2 to both
fin@1449 client@1→server:7000#2
fin@1449 client@1→server:7000#2 to receiver
delay-fin@1449 client@1→server:7000#2 +1m
spurious@17 client@1→server:7000#2
emfile a@1/accept:7000 nr 3
emfile a@1/accept:7000 nr 4 = 2
connect a@1/connect nr 0
spawn a@1/spawn:sh nr 3 = 2
early-death a@1/child:sh nr 3
cancel a@1/task:worker#1 nr 3
cancel a@1/woken:worker#2 nr 0
lose a@1/journal nr 0 = 3
tear a@1/journal nr 0 = 17
accept-reset client@1→server:7000#2 syn
jitter client@1→server:7000#2
jitter a->b
ties a b
size clients = 3
without writes 4,7-9
without \"bad writes\" 0
";

#[test]
fn every_kind_of_entry_reads_as_it_is_written() {
    let plan: Plan = EVERYTHING.parse().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.to_string(), EVERYTHING);
    assert_eq!(plan.check(&HOSTS), Ok(()));
}

#[test]
fn the_example_of_the_documentation_is_a_plan() {
    let docs = include_str!("mod.rs").lines().map_while(|line| line.strip_prefix("//!"));
    let example = docs.skip_while(|line| *line != " ```text").skip(1);
    let example: Vec<&str> = example.take_while(|line| *line != " ```").collect();
    let plan: Plan = example.join("\n").parse().unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(plan.entries.len(), 25);
}

#[test]
fn what_a_person_writes_means_the_same() {
    for (written, canonical) in [
        ("cut a b 1200ms for 3s # and so on", "cut a b 1.2s..4.2s"),
        ("  cut  a|b   at 1.2s for 3s drop", "cut a b 1.2s..4.2s"),
        ("cut b<-a 1s..2s", "cut a->b 1s..2s"),
        ("cut a , b → c 1s..2s", "cut a,b -> c 1s..2s"),
        ("cut a b reject 1s..2s", "cut a b 1s..2s reject"),
        ("dns a again 1s for 1s", "dns a 1s..2s"),
        ("crash b 1.9s..2.1s keep-address", "crash b 1.9s for 200ms"),
        ("crash b at 1.9s", "crash b 1.9s"),
        ("crash b 1.9s..", "crash b 1.9s"),
        ("link a b 1s..3s loss=2%", "link a<->b 1s..3s loss=2%"),
        ("link a<-b 1s..3s loss=2%", "link b->a 1s..3s loss=2%"),
        ("link a->b \"0=\" 1s..2s", "link a->b 1s..2s \"0=\""),
        ("kill a 2.5s", "kill a at 2.5s"),
        ("signal a SIGTERM 2.5s", "signal a SIGTERM at 2.5s"),
        ("clock a step -1s at 1m", "clock a at 1m step -1s"),
        ("clock a drift +0.5ppm", "clock a drift +500ppb"),
        ("drop client@1->server:7000#2 data 1449 1st", "drop client@1→server:7000#2 data 1449"),
        ("drop client@1→server:7000#2 syn 0 2nd", "drop client@1→server:7000#2 syn 2nd"),
        ("rst client@1→server:7000#2 @9 = 3", "rst@9 client@1→server:7000#2 to both"),
        ("duplicate client@1→server:7000#2 syn = 1", "duplicate client@1→server:7000#2 syn"),
        ("drop packet.loss \"a b\" nr 0", "drop \"a b\" nr 0"),
        ("kill \"a\" at 1s", "kill a at 1s"),
        ("kill \"for ever\" at 1s", "kill \"for ever\" at 1s"),
    ] {
        let entry: Entry = written.parse().unwrap_or_else(|errors| panic!("{written}: {errors}"));
        assert_eq!(entry.to_string(), canonical, "{written}");
        assert_eq!(canonical.parse(), Ok(entry), "{canonical}");
    }
}

#[test]
fn the_builder_says_what_the_text_says() {
    let ms = Duration::from_millis;
    let flow: FlowName = "a@1→b:7000#1".parse().unwrap();
    let event = EventId::Stream { flow, offset: 1_449 };
    let anchor = Anchor { event: event.clone(), host: "b".to_owned(), delay: ms(10) };
    let side = |host: &str| vec![host.to_owned()];
    let plan = Plan::new()
        .seed(7)
        .partition(ms(200), "a", "b", ms(3_000))
        .permanent()
        .cut(
            ms(1),
            Cut::new(Sides::OneWay(side("a"), side("b"))).mode(CutMode::Hold).port(7),
            ms(1),
        )
        .isolate(ms(1), "a", ms(1))
        .crash(ms(1_900), "b", ms(200))
        .anchored(anchor)
        .pause(ms(1), "a", ms(1))
        .freeze(ms(1), "a", ms(1))
        .slow(ms(1), "a", ms(3), ms(1))
        .link(ms(1), "a", "b", "loss=1%", ms(1))
        .kill(ms(5), "a")
        .clock_step(ms(5), "b", -7)
        .clock("a", 0, 40_000)
        .deviation(FaultSite::Reset, event, RESET_SENDER)
        .environment(Stream::Ties, Scope::Pair("a".to_owned(), "b".to_owned()));
    let text = "\
seed 7
cut a b 200ms..3.2s permanent
cut a->b 1ms..2ms hold port 7
isolate a 1ms..2ms
crash b 1.9s for 200ms after a@1→b:7000#1 @1449 on b +10ms
pause a 1ms..2ms
freeze a 1ms..2ms
slow a 1ms..2ms by 3ms
link a->b 1ms..2ms loss=1%
kill a at 5ms
clock b at 5ms step -7ns
clock a drift +40ppm
rst@1449 a@1→b:7000#1 to sender
ties a b
";
    assert_eq!(text.parse(), Ok(plan.clone()));
    assert_eq!(plan.check(&HOSTS), Ok(()));
}

#[track_caller]
fn errors(text: &str) -> Vec<String> {
    let errors = Plan::parse_for(text, &["a", "b", "server"]).expect_err("it has errors");
    errors.iter().map(PlanError::to_string).collect()
}

#[test]
fn all_errors_are_told_with_their_place_and_what_would_be_right() {
    let found = errors(
        "plan 1.7\n\ncut a 1s..2s\ncrsh b 1s\nkill b at 2\nkill a at 1s\ncut a sever 1s..2s # so\n\
         isolate a 2s..1s\npause b 1s\nlink a->b 1s..2s\nlink a->b los=\nseed x\nseed 1\nseed 2\nscenario\n",
    );
    assert_eq!(
        found,
        [
            "line 3, column 13: expected an end, as in 1.2s..4.2s or 1.2s for 3s, found the end of \
             the line",
            "line 4, column 1: expected an entry, found \"crsh\"; did you mean crash?",
            "line 5, column 11: expected a time with its unit, such as 1.2s or 200ms, found \"2\"",
            "line 7: no host is called \"sever\"; host names are a, b, server; did you mean server?",
            "line 8, column 11: the interval ends before it starts: exchange the times",
            "line 9, column 11: expected an end, as in 1.2s..4.2s or 1.2s for 3s, found the end of \
             the line",
            "line 10, column 17: expected what the link is, such as loss=20%, found the end of the \
             line",
            "line 11, column 15: expected an end, as in 1.2s..4.2s or 1.2s for 3s, found the end of \
             the line",
            "line 12, column 6: expected a seed, decimal or 0x.., found \"x\"",
            "line 14, column 1: expected an entry: that is said already, found \"seed\"",
            "line 15, column 9: expected the name of a scenario, found the end of the line",
        ]
    );
}

#[test]
fn a_word_in_the_wrong_place_is_told_with_those_that_fit() {
    for (text, hint) in [
        ("cut a b 1s..2s by 3ms", "drop, hold, reject, port, for, a time, after, permanent"),
        ("cut a b 1s..2s rejet", "did you mean reject?"),
        ("cut a b 1s..2s for 1s", "that is said already"),
        ("cut a b 1s.. for 1s", "the interval has its end already"),
        ("cut a b 1s..2s 3s..4s", "that is said already"),
        ("cut a,b c 1s..2s", "| or -> and the other side"),
        ("kill a at 1s..2s", "it happens at once"),
        ("kill a", "when"),
        ("signal a TERM at 1s", "a signal, such as SIGTERM"),
        ("kill a for 3s", "a time, after, permanent"),
        ("clock a", "offset +3ms drift +40ppm"),
        ("clock a at 3s", "step, offset or drift"),
        ("clock a at 3s offset +1s", "for the whole run"),
        ("clock a at 3s step +1s drift +1ppm", "either a step"),
        ("clock a at 3s step 1s", "with its sign"),
        ("slow a 1s..2s", "by and what a callback costs"),
        ("crash a after a@1→b:1#1 syn", "on and the host"),
        ("drop a@1→b:1#1", "which packet of the flow"),
        ("drop a@1→b:1#1 dta 7", "did you mean data?"),
        ("drop a@1→b:1#1 data", "an offset"),
        ("drop a@1-b:1#1 data", "an arrow"),
        ("drop syn", "a flow is written client@1→server:7000#2"),
        ("drop a@1→b:1#1 syn 2nd 3rd", "the end of the line"),
        ("delay a@1→b:1#1 syn", "+ and a time"),
        ("rst@7 a@1→b:1#1", "to sender, to receiver or to both"),
        ("fin@7 a@1→b:1#1 to both", "receiver"),
        ("corrupt a@1→b:1#1 syn", "= and a number"),
        ("jitter a", "a host name"),
        ("drop a@1→b:1#1 syn near 3", "len and how many bytes"),
        ("size clients 3", "= and a number"),
        ("without writes", "the index of an operation"),
        ("without writes 4,", "the index of an operation"),
        ("without writes 4-", "the index of the last operation"),
        ("without writes 4-3", "an index that is not before the first"),
        ("kill \"a at 1s", "a closing quotation mark"),
        ("kill a at 1s\nplan 1.0", "the format is said first"),
        ("plan one", "such as 1.0"),
    ] {
        let found = errors(text).join("\n");
        assert!(found.contains(hint), "{text:?} says {found:?}");
    }
}

#[test]
fn another_major_format_is_refused_with_both_named() {
    let found = errors("# from the future\nplan 2.1\nteleport a b\n");
    assert_eq!(
        found,
        [
            "line 2, column 6: the plan is in format 2.1, and this program reads format 1.0: write it \
          again with a program of its version"
        ]
    );
    assert_eq!("plan 1.9\nkill a at 1s".parse(), Ok(Plan::new().kill(Duration::from_secs(1), "a")));
}

#[test]
fn the_mark_of_an_editor_before_a_plan_is_passed_over() {
    let plan: Plan = "plan 1.0\nkill a at 1s\n".parse().unwrap();
    assert_eq!("\u{feff}plan 1.0\nkill a at 1s\n".parse(), Ok(plan.clone()));
    assert_eq!(Plan::parse_for("\u{feff}plan 1.0\nkill a at 1s\n", &["a"]), Ok(plan));
    let errors = "\u{feff}plan 1.0\nkil a at 1s\n".parse::<Plan>().unwrap_err().to_string();
    assert!(errors.contains("line 2, column 1"), "{errors}");
    assert!("plan 1.0\n\u{feff}kill a at 1s\n".parse::<Plan>().is_err());
}

#[test]
fn a_plan_for_another_scenario_is_refused_with_both_named() {
    let plan = Plan::new().scenario("raft::single_leader");
    assert_eq!(plan.check_scenario("raft::single_leader"), Ok(()));
    assert_eq!(Plan::new().check_scenario("echo"), Ok(()));
    let said = plan.check_scenario("echo").unwrap_err().to_string();
    assert!(said.contains("raft::single_leader") && said.contains("echo"), "{said}");
}

#[test]
fn one_entry_is_not_two_and_not_none() {
    assert!("kill a at 1s\nkill b at 1s".parse::<Entry>().is_err());
    assert!("# kill a at 1s".parse::<Entry>().is_err());
}

#[test]
fn what_cannot_happen_is_told() {
    for (text, said) in [
        ("cut a b 1s..1s", "line 1: nothing would happen: make it longer, or take it out"),
        ("slow a 1s..2s by 0s", "line 1: nothing would happen: make it longer, or take it out"),
        ("drop a@1→b:1#1 syn = 0", "line 1: nothing would happen: make it longer, or take it out"),
        ("cut a,b | b 1s..2s", "line 1: host b cannot be cut off from itself: name it on one side"),
        (
            "crash a 1s for 2s\n\npause a 2.999999999s..9s",
            "line 3: host a is off then, by entry 1: move one of the two",
        ),
        (
            "pause a 1s..2s\ncrash a 1s..",
            "line 1: host a is off then, by entry 2: move one of the two",
        ),
        (
            "kill a at 1.000000001s\nkill b at 2s\ncrash a 1s..2s\nkill a at 1.5s permanent\ncrash a 1s..9s\npause a 3s..4s",
            "line 1: host a is off then, by entry 3: move one of the two\n\
             line 6: host a is off then, by entry 5: move one of the two",
        ),
        (
            "clock a drift +1ppm\nclock a offset +1s",
            "line 2: the clock of host a is set in entry 1 already: join them",
        ),
    ] {
        assert_eq!(errors(text).join("\n"), said, "{text}");
    }
    for fine in [
        "crash a 1s for 2s\ncrash a 3s for 1s",
        "crash a 1s for 2s\ncrash b 2s for 1s",
        "pause a 1s..3s\ncrash a 2s for 1s",
        "crash a 1s for 2s\ncrash a 2s for 2s",
        "crash a 1s for 2s\npause a 3s..4s\nkill a at 3s",
        "crash a 1s for 2s\nkill a at 1s",
        "crash a 1s for 2s\nkill a at 2s permanent",
        "crash a 1s for 2s\nfreeze a 2s..4s",
        "crash a 1s for 2s\npause b 2s..4s",
        "kill a at 1s\npause a 9s..10s",
        "kill a at 1s\nkill a at 2s",
        "pause a 1s..9s\npause a 2s..3s\npause a 8s..10s",
        "freeze a 1s..\nfreeze a 2s..3s",
        "pause a 1s..3s\nfreeze a 2s..4s",
        "crash a 1s for 2s\nclock a at 2s step +1s",
        "crash a 1s for 2s\ncrash a for 2s after a@1→b:1#1 syn on a",
        "drop a@1→?:1#1 syn",
        "slow a 1s..3s by 1ms\nslow a 2s..4s by 1ms",
    ] {
        assert!(Plan::parse_for(fine, &["a", "b"]).is_ok(), "{fine}");
    }
}

#[test]
fn hosts_are_looked_for_everywhere() {
    for text in [
        "cut a,x | b 1s..2s",
        "isolate x 1s..2s",
        "link a->x 1s..2s loss=1%",
        "kill x at 1s",
        "clock x drift +1ppm",
        "crash a 1s for 1s after a@1→b:1#1 syn on x",
        "crash a 1s for 1s after a@1→x:1#1 syn on a",
        "drop x@1→b:1#1 syn",
        "jitter a@1→x:1#1",
        "ties a x",
    ] {
        assert!(errors(text).join("").contains("no host is called \"x\""), "{text}");
    }
}

#[test]
fn identity_is_the_text_and_never_changes() {
    let plan: Plan = EVERYTHING.parse().unwrap();
    let mut ids: Vec<EntryId> = plan.entries.iter().map(Entry::id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), plan.entries.len());
    // Computed by another program.
    let entry: Entry = "crash n2 1.9s for 200ms".parse().unwrap();
    assert_eq!(entry.id().to_string(), "018173cbadcfa30f");
}

#[test]
fn a_diff_counts_entries_and_not_their_order() {
    let old: Plan = "kill a at 1s\nkill b at 1s\nkill b at 1s\nties a b".parse().unwrap();
    let new: Plan = "kill b at 1s\nkill a at 1s\nties b a".parse().unwrap();
    assert_eq!(old.diff(&new).to_string(), "- kill b at 1s\n- ties a b\n+ ties b a\n");
    assert!(old.diff(&old.clone()).is_empty());
    assert_ne!(old.id(), new.id());
}

// Random plans.

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "[a-z][a-z0-9_.-]{0,6}",
        1 => prop::sample::select(vec!["for", "at", "after", "nr", "1st", "port", "permanent", "?", "-"])
            .prop_map(str::to_owned),
        1 => ".{0,6}",
    ]
}

fn hosts() -> impl Strategy<Value = Vec<String>> {
    vec(name(), 1..4)
}

fn nanos() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (0..100_000_u64).prop_map(|ms| ms * 1_000_000),
        1 => any::<u64>(),
        1 => Just(u64::MAX),
    ]
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![9 => nanos().prop_map(Duration::from_nanos), 1 => Just(Duration::MAX)]
}

fn flow() -> impl Strategy<Value = FlowName> {
    let ends = (name(), any::<u16>(), name(), any::<u16>(), any::<u32>(), any::<[bool; 2]>());
    ends.prop_map(|(client, incarnation, server, port, number, [is_udp, is_reply])| FlowName {
        client,
        incarnation,
        server,
        port,
        number,
        is_udp,
        is_reply,
    })
}

fn event() -> impl Strategy<Value = EventId> {
    let class = prop::sample::select(SegmentClass::ALL.to_vec());
    let offset = prop_oneof![Just(0), any::<u64>()];
    let times = prop_oneof![Just(1), Just(2), any::<u32>()];
    let site = prop_oneof![name(), Just("packet.loss".to_owned())];
    prop_oneof![
        (flow(), class, offset, times.clone()).prop_map(|(flow, class, offset, transmission)| {
            EventId::Segment { flow, class, offset, transmission }
        }),
        (flow(), any::<u64>(), times.clone()).prop_map(|(flow, offset, occurrence)| EventId::Ack {
            flow,
            offset,
            occurrence
        }),
        (flow(), any::<u64>()).prop_map(|(flow, offset)| EventId::Stream { flow, offset }),
        (flow(), any::<u64>(), times).prop_map(|(flow, payload, occurrence)| EventId::Datagram {
            flow,
            payload,
            occurrence
        }),
        (site, name(), any::<u64>()).prop_map(|(site, entity, ordinal)| EventId::Draw {
            site,
            entity,
            ordinal
        }),
    ]
}

fn start() -> impl Strategy<Value = Start> {
    let anchor = (event(), name(), duration()).prop_map(|(event, host, delay)| Anchor {
        event,
        host,
        delay,
    });
    (nanos().prop_map(Time::from_nanos), anchor, 0..3).prop_map(|(time, anchor, kind)| match kind {
        0 => Start::At(time),
        1 => Start::After(anchor),
        _ => Start::Both(time, anchor),
    })
}

fn sides() -> impl Strategy<Value = Sides> {
    (hosts(), hosts(), 0..3).prop_map(|(a, b, kind)| match kind {
        0 => Sides::Between(a, b),
        1 => Sides::OneWay(a, b),
        _ => Sides::Isolate(a),
    })
}

fn condition() -> impl Strategy<Value = Condition> {
    let mode = prop::sample::select(CutMode::ALL.to_vec());
    let link = prop_oneof![Just("loss=20%,latency=20ms..80ms".to_owned()), ".{0,12}"];
    prop_oneof![
        (sides(), mode, option::of(any::<u16>()))
            .prop_map(|(sides, mode, port)| Condition::Cut(Cut { sides, mode, port })),
        (name(), any::<bool>())
            .prop_map(|(host, changes_address)| Condition::Crash { host, changes_address }),
        name().prop_map(|host| Condition::Pause { host }),
        name().prop_map(|host| Condition::Freeze { host }),
        (name(), duration()).prop_map(|(host, cost)| Condition::Slow { host, cost }),
        (name(), prop::sample::select(NameFault::ALL.to_vec()))
            .prop_map(|(host, fault)| Condition::Names { host, fault }),
        (name(), name(), any::<bool>(), link).prop_map(|(from, to, is_mutual, link)| {
            Condition::Link { from, to, is_mutual, link: LinkText(link) }
        }),
    ]
}

fn entry() -> impl Strategy<Value = Entry> {
    let interval = (condition(), option::of(duration()))
        .prop_map(|(condition, length)| Action::Interval { condition, length });
    let moment = prop_oneof![
        name().prop_map(|host| Incident::Kill { host }),
        (name(), 1..=31).prop_map(|(host, signal)| Incident::Signal {
            host,
            signal: Signal::new(signal).unwrap()
        }),
        (name(), any::<i64>())
            .prop_map(|(host, step_nanos)| Incident::ClockStep { host, step_nanos }),
    ];
    let action = prop_oneof![3 => interval, 1 => moment.prop_map(Action::Moment)];
    let rate = prop_oneof![Just(0), Just(40_000), any::<i64>()];
    let site = prop::sample::select(FaultSite::ALL.to_vec());
    let value = prop_oneof![0..4_u64, nanos(), any::<u64>()];
    let scope = prop_oneof![
        flow().prop_map(Scope::Flow),
        (name(), name()).prop_map(|(from, to)| Scope::Link { from, to }),
        (name(), name()).prop_map(|(a, b)| Scope::Pair(a, b)),
    ];
    prop_oneof![
        4 => (start(), action, any::<bool>())
            .prop_map(|(start, action, is_permanent)| Fault { start, action, is_permanent }.into()),
        1 => (name(), any::<i64>(), rate, any::<bool>()).prop_map(
            |(host, offset_nanos, drift_ppb, is_permanent)| {
                Clock { host, offset_nanos, drift_ppb, is_permanent }.into()
            }
        ),
        4 => (site, event(), value, option::of((any::<u64>(), any::<u32>()))).prop_map(
            |(site, event, value, near)| {
                let near = near.map(|(ordinal, length)| Near { ordinal, length });
                Deviation { site, event, value, near }.into()
            }
        ),
        1 => (name(), any::<u64>()).prop_map(|(name, value)| Workload::Size { name, value }.into()),
        1 => (name(), vec((any::<u64>(), 0..3_u64), 1..4)).prop_map(|(name, operations)| {
            let operations = operations.into_iter().map(|(n, more)| n..=n.saturating_add(more));
            Workload::Without { name, operations: operations.collect() }.into()
        }),
        1 => (prop::sample::select(Stream::ALL.to_vec()), scope, option::of(any::<u64>())).prop_map(
            |(stream, scope, from)| {
                let from = Time::from_nanos(from.unwrap_or(0));
                Environment { stream, scope, from }.into()
            }
        ),
    ]
}

/// What a plan calls a site is what draws, traces and counters of faults call it.
#[test]
fn sites_have_the_names_that_they_draw_under() {
    let drawn = crate::decisions::Site::ALL.map(|site| site.name());
    for site in FaultSite::ALL {
        assert!(drawn.contains(&site.name()), "{}", site.name());
    }
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(
        scenario in option::of(name()),
        seed in option::of(any::<u64>()),
        entries in vec(entry(), 0..6),
    ) {
        let plan = Plan { scenario, seed, entries };
        let text = plan.to_string();
        prop_assert_eq!(text.lines().count(), plan.entries.len()
            + 1 + usize::from(plan.scenario.is_some()) + usize::from(plan.seed.is_some()));
        prop_assert_eq!(text.parse::<Plan>().map_err(|errors| format!("{errors}\n{text}")), Ok(plan));
    }

    #[test]
    fn what_was_read_once_is_read_again(lines in vec(prop_oneof![
        3 => prop::sample::select(EVERYTHING.lines().skip(3).collect::<Vec<_>>()).prop_map(str::to_owned),
        1 => "[a-z]{2,8} [a-d@→:#0-9 .]{0,20}",
    ], 0..6)) {
        // Hand-written text: what cannot be read is an error, and what can be is the same again.
        if let Ok(plan) = lines.join(" # x\n").parse::<Plan>() {
            prop_assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    #[test]
    fn no_text_breaks_the_reader(text in "(cut|kill|drop|rst@|clock|link|jitter) ?\\PC{0,40}", cuts in any::<usize>()) {
        drop(text.parse::<Plan>());
        // Every prefix of something sound, too.
        let end = EVERYTHING.char_indices().nth(cuts % EVERYTHING.chars().count());
        drop(EVERYTHING[..end.map_or(0, |(index, _)| index)].parse::<Plan>());
    }
}
