//! A foreign stack: our TCP speaks with `smoltcp`, in real bytes, over the same links (network.md,
//! "Held to" 3). It is how we know that the model speaks TCP and not only to itself.
//!
//! `smoltcp` waits a second at least before it sends anything again, so this looks at bytes, endings
//! and resets, and not at speed. Its congestion control is Reno: without any it can lose a FIN for
//! good.

mod datagrams;
mod stack;
mod talk;

use std::io::ErrorKind;
use std::time::Duration;

use stack::Options;
use talk::{Ending, Heard, Side, Talk};

const SEEDS: std::ops::Range<u64> = 0..20;
/// Loss up to 5 %, delay up to 50 ms.
const LINKS: [&str; 7] = [
    "latency=0ms",
    "latency=1ms,loss=1%",
    "latency=1ms,loss=5%",
    "latency=10ms,loss=5%",
    "latency=50ms,loss=1%",
    "latency=50ms,loss=5%",
    "latency=5ms..50ms,loss=2%,dup=2%,reorder=2%/3",
];
/// More than either side's first windows and buffers.
const BYTES: usize = 150_000;

/// Every byte arrives both ways at once, and the streams end well, whoever ends first.
fn all_is_heard(foreign_opens: bool, ours: Ending, theirs: Ending, options: Options) {
    for link in LINKS {
        for seed in SEEDS {
            let (ours, theirs) = (Side::new(BYTES, 1, ours), Side::new(BYTES, 2, theirs));
            let talk = Talk::new(seed, link, foreign_opens, ours, theirs);
            Talk { options, ..talk }.succeeds();
        }
    }
}

macro_rules! conversations {
    ($($name:ident: $foreign_opens:expr, $ours:ident, $theirs:ident;)*) => { $(
        /// network.md, "Held to" 3: bytes and closing order.
        #[test]
        fn $name() {
            all_is_heard($foreign_opens, Ending::$ours, Ending::$theirs, Options::default());
        }
    )* };
}

conversations! {
    a_foreign_client_closes_first: true, AfterPeer, AtOnce;
    a_foreign_client_closes_last: true, AtOnce, AfterPeer;
    a_foreign_client_and_our_server_close_at_once: true, AtOnce, AtOnce;
    a_foreign_server_closes_first: false, AfterPeer, AtOnce;
    a_foreign_server_closes_last: false, AtOnce, AfterPeer;
    a_foreign_server_and_our_client_close_at_once: false, AtOnce, AtOnce;
    a_foreign_client_hears_all_after_its_end: true, SpeaksAfterPeer, AtOnce;
    a_foreign_client_says_all_after_our_end: true, AtOnce, SpeaksAfterPeer;
    a_foreign_server_hears_all_after_its_end: false, SpeaksAfterPeer, AtOnce;
    a_foreign_server_says_all_after_our_end: false, AtOnce, SpeaksAfterPeer;
}

/// network.md, "Held to" 3, with timestamps on both sides (RFC 7323 §3).
#[test]
fn timestamps_are_agreed_on() {
    let options = Options { timestamps: true, ..Options::default() };
    all_is_heard(true, Ending::AtOnce, Ending::AfterPeer, options);
    all_is_heard(false, Ending::AfterPeer, Ending::AtOnce, options);
}

/// network.md, "Held to" 3, with a window that takes scaling to tell (RFC 7323 §2).
#[test]
fn windows_are_scaled_both_ways() {
    let options = Options { receive_buffer: 1 << 20, ..Options::default() };
    all_is_heard(true, Ending::AtOnce, Ending::AfterPeer, options);
    all_is_heard(false, Ending::AfterPeer, Ending::AtOnce, options);
    // A megabyte with 64 KiB a round trip of 100 ms would take 1.6 s.
    for foreign_opens in [true, false] {
        let (ours, theirs) =
            (Side::new(1 << 20, 1, Ending::AtOnce), Side::new(0, 2, Ending::AfterPeer));
        let time = |options| {
            let (ours, theirs) = (ours.clone(), theirs.clone());
            let talk = Talk::new(1, "latency=50ms", foreign_opens, ours, theirs);
            Talk { options, ..talk }.succeeds().time.since_epoch()
        };
        let (scaled, unscaled) = (time(options), time(Options::default()));
        let bound = Duration::from_millis(1_600);
        assert!(scaled < bound && bound < unscaled, "{scaled:?} {unscaled:?}");
    }
}

/// network.md, "TCP": zero windows and their probes. Each side reads nothing for 20 s.
#[test]
fn a_window_that_was_closed_opens_again() {
    for seed in SEEDS {
        for foreign_opens in [true, false] {
            for (ours_waits, theirs_waits) in [(20, 0), (0, 20)] {
                let mut ours = Side::new(600_000, 1, Ending::AtOnce);
                let mut theirs = Side::new(600_000, 2, Ending::AtOnce);
                ours.deaf_for = Duration::from_secs(ours_waits);
                theirs.deaf_for = Duration::from_secs(theirs_waits);
                let link = "latency=10ms,loss=2%";
                let mut talk = Talk::new(seed, link, foreign_opens, ours, theirs);
                talk.options.receive_buffer = 8_192;
                let outcome = talk.succeeds();
                assert!(outcome.time.since_epoch() > Duration::from_secs(20));
            }
        }
    }
}

/// network.md, "Held to" 3: RST. What a side has heard when the other resets is a prefix.
#[test]
fn a_reset_is_heard_by_the_other_side() {
    for link in ["latency=1ms", "latency=50ms", "latency=10ms,loss=2%"] {
        for seed in SEEDS {
            for foreign_opens in [true, false] {
                let silent = Side::new(0, 1, Ending::AfterPeer);
                let talker = Side::new(BYTES, 2, Ending::AfterPeer);
                let aborter = Side::new(0, 0, Ending::Abort(10_000));
                let run = |ours: &Side, theirs: &Side| {
                    Talk::new(seed, link, foreign_opens, ours.clone(), theirs.clone()).run()
                };
                let is_prefix = |heard: &Heard| talker.says.starts_with(&heard.data);
                let by_them = run(&talker, &aborter);
                assert_eq!(by_them.ours.lost, Some(Err(ErrorKind::ConnectionReset)), "{link}");
                assert!(is_prefix(&by_them.theirs) && by_them.theirs.data.len() >= 10_000);
                let by_us = run(&aborter, &talker);
                assert_eq!(by_us.ours.lost, Some(Ok(())), "{link} seed {seed}");
                assert_eq!(by_us.theirs.lost, Some(Err(ErrorKind::ConnectionReset)), "{link}");
                assert!(is_prefix(&by_us.ours) && by_us.ours.data.len() >= 10_000);
                if link.contains("loss") {
                    continue;
                }
                // A side that says nothing hears of it too, unless the reset is lost.
                let at_once = Side::new(0, 0, Ending::Abort(0));
                let by_us = run(&at_once, &silent);
                assert_eq!(by_us.theirs.lost, Some(Err(ErrorKind::ConnectionReset)), "{link}");
            }
        }
    }
}

/// network.md, "TCP": a closed port answers RST (RFC 9293 §3.10.7.1, L-01).
#[test]
fn a_closed_port_refuses_in_both_directions() {
    for seed in SEEDS {
        for foreign_opens in [true, false] {
            let (ours, theirs) = (Side::new(9, 1, Ending::AtOnce), Side::new(9, 2, Ending::AtOnce));
            let link = "latency=10ms";
            let talk = Talk::new(seed, link, foreign_opens, ours, theirs);
            let outcome = Talk { refused: true, ..talk }.run();
            let (heard, refusal) = match foreign_opens {
                true => (&outcome.theirs, ErrorKind::ConnectionReset),
                false => (&outcome.ours, ErrorKind::ConnectionRefused),
            };
            assert_eq!((heard.data.len(), heard.lost), (0, Some(Err(refusal))));
            let round_trip = Duration::from_millis(20);
            let time = outcome.time.since_epoch();
            assert!(time >= round_trip && time < 2 * round_trip, "{time:?}");
        }
    }
}

/// network.md, "Shape": a run with a foreign stack is as much a function of its seed as any other, and
/// its packets are in the capture.
#[test]
fn a_foreign_stack_is_deterministic() {
    let run = |seed, capture| {
        let (ours, theirs) =
            (Side::new(BYTES, 1, Ending::AtOnce), Side::new(BYTES, 2, Ending::AfterPeer));
        let talk = Talk::new(seed, LINKS[6], true, ours, theirs);
        Talk { capture, ..talk }.succeeds()
    };
    let (first, again, captured, other) =
        (run(3, false), run(3, false), run(3, true), run(4, false));
    assert_eq!((first.hash, first.time), (again.hash, again.time));
    assert_eq!((first.hash, first.time), (captured.hash, captured.time));
    assert_ne!(first.hash, other.hash);
    let packets = captured.capture.expect("it was asked for").len();
    assert!(packets > 2 * BYTES / 1_460, "{packets}");
}
