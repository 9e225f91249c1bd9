use super::*;

fn flow() -> Flow {
    Flow::new((1, 1), (2, 7000), 1, false)
}

fn data(offset: u32) -> Record {
    Record::Delivered(PacketRecord { flow: flow(), kind: PacketKind::Data, offset, bytes: 64 })
}

#[test]
fn a_line_reads_as_a_sentence() {
    let hosts = ["control", "client", "server"].map(Arc::from).to_vec();
    let packed = Packed::new(Time::from_nanos(1_002_000_000), 2, &data(1));
    let (names, notes) = (Names::new(), Notes::default());
    let log = Log { before: 16, records: vec![packed], hosts, names, notes };
    assert_eq!(
        log.to_string(),
        "  1.002000000s  server   #17    deliver client@1→server:7000#1 DATA seq 1 len 64\n"
    );
}

#[test]
fn the_hash_sees_time_host_order_and_content_but_not_the_log() {
    let run = |keep_log: bool, records: &[(u64, u32, Record)]| {
        let mut trace = Trace::new();
        if keep_log {
            trace.keep_log();
        }
        for &(nanos, host, record) in records {
            trace.record(Time::from_nanos(nanos), host, record);
        }
        trace.hash()
    };
    let base = [(1, 1, data(1)), (2, 2, data(65))];
    let hash = run(false, &base);
    assert_eq!(run(true, &base), hash);
    assert_ne!(run(false, &[base[1], base[0]]), hash);
    assert_ne!(run(false, &[base[0], (3, 2, data(65))]), hash);
    assert_ne!(run(false, &[base[0], (2, 1, data(65))]), hash);
    assert_ne!(run(false, &[base[0], (2, 2, data(66))]), hash);
}

#[test]
fn a_log_that_begins_late_has_what_comes_then_and_what_was_so_before() {
    let mut trace = Trace::new();
    trace.keep_log();
    trace.leave_out(3);
    let at = Time::from_nanos;
    for step in 1..=5 {
        if step == 2 {
            trace.note_begin(at(2), Subject::Slow(1), "slow".to_owned(), None);
        }
        let packet = step as u32;
        trace.note_sent(packet, 0, &[packet as u8]);
        trace.record_packet(at(step), 1, data(packet), packet);
        trace.note_state(1, 1, &format!("{step}"));
    }
    let log = trace.log().unwrap();
    let known = log.entries().map(|entry| (entry.step, log.packet(&entry)));
    assert_eq!(known.collect::<Vec<_>>(), [(4, Some(4)), (5, Some(5))]);
    assert_eq!((log.before(), log.packet_data(4), log.packet_data(3)), (3, Some(&[4][..]), None));
    let states = log.states().iter().map(|state| (state.step, &*state.text));
    assert_eq!(states.collect::<Vec<_>>(), [(3, "3"), (4, "4"), (5, "5")]);
    assert_eq!(log.episodes()[0].began.step, 1);
}

#[test]
fn every_record_is_in_the_hash_wherever_in_the_ring_it_stands() {
    let count = 2 * TAIL as u32 + 3;
    let hash = |odd: Option<u32>| {
        let mut trace = Trace::new();
        for step in 0..count {
            let offset = if odd == Some(step) { count } else { step };
            trace.record(Time::from_nanos(1), 0, data(offset));
        }
        trace.hash()
    };
    let whole = hash(None);
    for step in 0..count {
        assert_ne!(hash(Some(step)), whole, "record {step} of {count}");
    }
}

#[test]
fn the_tail_is_the_last_records_in_order() {
    let mut trace = Trace::new();
    for step in 0..200 {
        trace.record(Time::from_nanos(step), 0, Record::Turn);
    }
    let steps: Vec<u64> = trace.tail().entries().map(|entry| entry.step).collect();
    assert_eq!(steps, (200 - TAIL as u64 + 1..=200).collect::<Vec<_>>());
}
