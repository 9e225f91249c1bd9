//! The scenarios `arq` and `bulk` on hosts that stand still, and their wrong twins.

use scenarios::{arq, bulk};

use crate::trouble::{Kind, holds, ms, run, trouble};

#[test]
fn streams_outlast_hosts_that_stand_still() {
    for kind in [Kind::Pause, Kind::Freeze] {
        for moment in 0..40 {
            let lasts = ms(3 + 70 * moment);
            holds(&arq::scenario(), moment, &[trouble("right", kind, ms(3 + moment), lasts)]);
        }
    }
    for moment in 0..10 {
        let pause = trouble("server", Kind::Pause, ms(2 + moment), ms(10 + 300 * moment));
        holds(&bulk::scenario(), moment, &[pause]);
    }
}

/// Jitter reorders datagrams, and a host that stands still loses some.
#[test]
fn flaws_of_arq_are_caught_by_silence_and_jitter() {
    for flaw in [
        arq::Flaw::NoRetransmission,
        arq::Flaw::NoDuplicateFilter,
        arq::Flaw::NoReordering,
        arq::Flaw::AcknowledgeGaps,
    ] {
        let twin = arq::with_flaw(flaw);
        let caught = (0..20).any(|moment| {
            run(&twin, moment, &[trouble("right", Kind::Freeze, ms(2 + moment), ms(30))]).is_err()
        });
        assert!(caught, "{flaw:?}");
    }
}

#[test]
fn flaws_of_bulk_are_caught_anywhere() {
    for flaw in [bulk::Flaw::NoResume, bulk::Flaw::DropWhenFull] {
        assert!(run(&bulk::with_flaw(flaw), 0, &[]).is_err(), "{flaw:?}");
    }
}
