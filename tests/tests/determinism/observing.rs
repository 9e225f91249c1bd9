//! Debug mode, and whether segments travel in trains.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use sim_core::World;
use sim_core::trace::{Callback, Record as EngineRecord};
use sim_net::{Log, PacketKind, Record, Report, Sim};

use crate::programs::{bulk, everything, greeting, jittered};

/// Everything, on hosts that tell what debug mode has to say; in debug mode each callback is too slow.
async fn debugged(world: World, debug: bool, reports: Rc<Cell<u64>>) -> io::Result<()> {
    for name in ["server", "client0", "client1", "client2", "client3", "client4", "client5"] {
        let lp = world.host(name);
        let count = Rc::clone(&reports);
        let handler = move |_: &sim_core::Loop, _: &sim_core::ErrorContext| {
            count.set(count.get() + 1);
        };
        lp.set_exception_handler(Some(Rc::new(handler)));
        lp.set_slow_callback_duration(Duration::ZERO);
        lp.set_debug(debug);
        let busy = lp.clone();
        lp.call_soon(move || busy.spend(Duration::from_millis(200)));
        // Nobody asks how it ended.
        drop(lp.create_task(async { Err::<(), _>(io::Error::other("unheard")) }));
    }
    everything(world).await
}

#[test]
fn debug_mode_changes_neither_hash_nor_times() {
    for seed in 0..8 {
        let run = |debug| {
            let reports = Rc::new(Cell::new(0));
            let count = Rc::clone(&reports);
            let report = jittered(seed).run(|world| debugged(world, debug, count));
            ((report.hash, report.events, report.time, report.outcome), reports.get())
        };
        let ((plain, quiet), (debugged, loud)) = (run(false), run(true));
        assert_eq!(debugged, plain);
        plain.3.unwrap();
        assert!(loud > quiet + 30, "{quiet} reports, and {loud} in debug mode");
    }
}

/// What the protocols of a run heard: how many bytes on each connection, and how it began and ended. In how many pieces the
/// bytes come, and how often writing pauses for them, goes with the acknowledgements.
type Heard = BTreeMap<(String, u32), (u64, Vec<Callback>)>;

fn heard(log: &Log) -> Heard {
    let mut heard = Heard::new();
    for entry in log.entries() {
        if let Record::Engine(EngineRecord::Callback { connection, callback, bytes }) = entry.record
        {
            let its = heard.entry((log.host(entry.host).to_owned(), connection)).or_default();
            its.0 += bytes;
            let is_of_life = matches!(
                callback,
                Callback::ConnectionMade | Callback::EofReceived | Callback::ConnectionLost
            );
            its.1.extend(is_of_life.then_some(callback));
        }
    }
    heard
}

/// The largest piece of a stream that travels as one, and how many there are.
fn pieces(log: &Log) -> (u32, usize) {
    let pieces = log.entries().filter_map(|entry| match entry.record {
        Record::Sent(packet) if packet.kind != PacketKind::Datagram => Some(packet.bytes),
        _ => None,
    });
    let pieces: Vec<u32> = pieces.filter(|bytes| *bytes > 0).collect();
    (pieces.iter().copied().max().unwrap_or(0), pieces.len())
}

#[test]
fn without_trains_streams_carry_the_same_and_end_in_the_same_way_and_at_the_same_time() {
    /// What fits into a packet of an Ethernet.
    const SEGMENT: u32 = 1_460;
    type Run = fn(&Sim) -> Report<()>;
    let programs: [(&str, Run); 3] = [
        ("greeting", |sim| sim.run(greeting)),
        ("everything", |sim| sim.run(everything)),
        ("bulk", |sim| sim.run(bulk)),
    ];
    for (name, run) in programs {
        for seed in 0..8 {
            let [with, without] = [true, false].map(|form| {
                let report = run(&Sim::new(seed).trace(true).segment_trains(form));
                let log = report.log.clone().expect("it was asked for");
                let time = report.time;
                report.unwrap();
                (log, time)
            });
            assert_eq!(with.1, without.1, "{name}, seed {seed}");
            assert_eq!(heard(&with.0), heard(&without.0), "{name}, seed {seed}");
            let ((most, count), (most_alone, count_alone)) = (pieces(&with.0), pieces(&without.0));
            assert!(most_alone <= SEGMENT, "{name}, seed {seed}: {most_alone}");
            let has_trains = name != "greeting";
            assert_eq!(most > SEGMENT && count < count_alone, has_trains, "{name}, seed {seed}");
        }
    }
}
