//! TLS that is cut at every byte, in the simulator: nothing hangs, and no cut stream looks like a whole one.

use std::io;
use std::time::Duration;

use sim_core::World;
use sim_net::Sim;
use tests::recorder::Recorder;

use crate::tls::Sides;
use crate::tls_relay::{Cut, Relay, Way, relay};

const QUESTION: &[u8] = b"What do you have for me?";
const ANSWER: &[u8] =
    b"An answer that is long enough to be cut in two, and has a few bytes more than that.";
const LATENCY: Duration = Duration::from_millis(1);

/// What a side heard.
#[derive(Debug)]
struct Heard {
    /// The error of the handshake, on the side that connects.
    handshake: Option<io::ErrorKind>,
    log: String,
    data: Vec<u8>,
}

/// What a run came to.
#[derive(Debug)]
struct Run {
    client: Heard,
    server: Heard,
    /// How many bytes went to the server and to the client.
    passed: [usize; 2],
}

/// A question and its answer through a relay that cuts.
async fn talk(world: World, cut: Option<Cut>, strict: bool) -> io::Result<Run> {
    let mut sides = Sides::of(&world);
    let patience = Duration::from_secs(5);
    sides.acceptor =
        sides.acceptor.clone().require_close_notify(strict).handshake_timeout(patience);
    sides.connector =
        sides.connector.clone().require_close_notify(strict).handshake_timeout(patience);
    let (asked, got) =
        (sides.server.create_future(), std::rc::Rc::new(std::cell::RefCell::new(Vec::new())));
    let (announce, collected) = (asked.clone(), std::rc::Rc::clone(&got));
    let answer = move |far: Recorder| {
        let (collected, mut received) = (std::rc::Rc::clone(&collected), 0);
        far.announce(announce.clone()).on_data(move |cx, data| {
            collected.borrow_mut().extend_from_slice(data);
            received += data.len();
            if received == QUESTION.len() {
                cx.write(ANSWER);
                cx.close();
            }
        })
    };
    let relay: std::rc::Rc<Relay> = relay(&world, &sides, cut, answer).await?;
    let connecting = sides.client.connection().tls(&sides.connector, "server");
    let asking = || Recorder::new(&sides.near).on_made(|cx| cx.write(QUESTION));
    let connected = connecting.connect(("relay", 443), asking).await;
    let (mut handshake, mut data) = (None, Vec::new());
    match connected {
        Err(error) => handshake = Some(error.kind()),
        Ok(near) => {
            near.closed().await.ok();
            data = near.with(|near, _| near.data.clone());
        }
    }
    // Longer than every time limit: whatever has not ended by then hangs.
    world.sleep(Duration::from_secs(40)).await;
    assert_eq!(
        relay.open_connections(),
        0,
        "cut {cut:?}: the server's side hangs: {:?}",
        sides.far
    );
    let passed = [relay.passed[0].get(), relay.passed[1].get()];
    let server = Heard { handshake: None, log: sides.far.text(), data: got.take() };
    Ok(Run { client: Heard { handshake, log: sides.near.text(), data }, server, passed })
}

fn run(cut: Option<Cut>, strict: bool) -> Run {
    let report =
        Sim::new(7).latency(LATENCY..2 * LATENCY).run(move |world| talk(world, cut, strict));
    report.outcome.unwrap_or_else(|finding| panic!("cut {cut:?}, strict {strict}: {finding}"))
}

/// What holds of a side whatever was cut.
fn check(side: &Heard, whole: &[u8], strict: bool, what: &str) {
    let Heard { handshake, log, data } = side;
    assert!(whole.starts_with(data), "{what}: bytes that nobody sent: {side:?}");
    // F-03: nothing is heard of a handshake that failed; F-02: what was made is lost once, and last.
    match handshake {
        Some(kind) => {
            assert_eq!(log, "", "{what}");
            assert_eq!(*kind, io::ErrorKind::ConnectionReset, "{what}");
        }
        None if log.is_empty() => {}
        None => {
            assert!(log.starts_with("CM"), "{what}: {log}");
            assert_eq!(log.matches("CL(").count(), 1, "{what}: {log}");
        }
    }
    let lost = log.rsplit(' ').next().unwrap_or_default();
    assert!(
        [
            "",
            "CL(None)",
            "CL(UnexpectedEof)",
            "CL(ConnectionReset)",
            "CL(BrokenPipe)",
            "CL(TimedOut)"
        ]
        .contains(&lost),
        "{what}: {log}"
    );
    // F-14, F-15: no error comes behind an end that was told as one, but that the peer did not answer our goodbye.
    if log.contains("ER") {
        assert!(["CL(None)", "CL(ConnectionReset)"].contains(&lost), "{what}: {log}");
        assert!(!strict || data.len() == whole.len(), "{what}: a cut stream looks whole: {side:?}");
    }
    if strict && lost == "CL(None)" {
        assert_eq!(data.len(), whole.len(), "{what}: a cut stream looks whole: {side:?}");
    }
}

/// F-03, F-04, F-14, F-15, J-44: cut at any byte of handshake and data, by an end or a reset, each side gets the
/// contract's answer in time, and with the strict option no cut stream looks like a whole one.
// on: sim
#[test]
fn a_cut_stream_never_looks_whole() {
    let calm = run(None, true);
    assert_eq!((calm.client.log.as_str(), &*calm.client.data), ("CM DR ER CL(None)", ANSWER));
    assert_eq!((calm.server.log.as_str(), &*calm.server.data), ("CM DR CL(None)", QUESTION));
    let (mut cuts, mut in_handshake, mut cut_short) = (0, 0, 0);
    for (way, total) in [(Way::ToServer, calm.passed[0]), (Way::ToClient, calm.passed[1])] {
        for after in 0..total {
            for (reset, strict) in [(false, true), (false, false), (true, true)] {
                let cut = Cut { way, after, reset };
                let what = format!("{cut:?}, strict {strict}");
                let run = run(Some(cut), strict);
                check(&run.client, ANSWER, strict, &format!("client, {what}"));
                check(&run.server, QUESTION, strict, &format!("server, {what}"));
                cuts += 1;
                in_handshake += usize::from(run.client.handshake.is_some());
                cut_short += usize::from(run.client.log.contains("CL(UnexpectedEof)"));
            }
        }
    }
    println!("{cuts} cuts: {in_handshake} in the handshake, {cut_short} told as cut short");
    assert!(in_handshake > 0 && cut_short > 0, "{cuts} cuts, {in_handshake}, {cut_short}");
}

/// F-34, TR-26: a run with TLS repeats to the byte, and another seed gives another one.
// on: sim
#[test]
fn a_run_with_tls_repeats_to_the_byte() {
    let run = |seed| {
        let sim = Sim::new(seed).latency(LATENCY..2 * LATENCY).capture(true);
        let report = sim.run(|world| talk(world, None, true));
        report.outcome.expect("it holds");
        (report.hash, report.capture.expect("it was asked for"))
    };
    let (first, again, other) = (run(1), run(1), run(2));
    assert_eq!(first.0, again.0);
    assert!(first.1.to_pcapng() == again.1.to_pcapng(), "the same seed, and other bytes");
    assert!(first.1.to_pcapng() != other.1.to_pcapng(), "another seed, and the same bytes");
}
