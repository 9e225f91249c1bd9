//! The few records of a run that tell a person what happened.

use sim_core::trace::{Callback, Record as EngineRecord};
use sim_net::{Class, Entry, Log, Record};

/// How many records are told, at most.
const TOLD_MAX: usize = 12;
/// How many of the last records are told, whatever they are.
const LAST: usize = 2;
/// How many of them are faults, at most.
const FAULTS_MAX: usize = 6;

/// What a run comes down to, a line each: what went wrong, in order, and the last messages and losses of
/// connections before the end. Lines that are left out are `..`. Of a run that is too long for one log, `beginning` has
/// the first records.
pub(crate) fn story(beginning: Option<&Log>, log: &Log) -> Vec<String> {
    let entries = || {
        let first = beginning.into_iter().flat_map(Log::entries);
        first.take_while(|entry| entry.step <= log.before()).chain(log.entries())
    };
    let mut told: Vec<Entry> =
        entries().filter(|entry| is_fault(&entry.record)).take(FAULTS_MAX).collect();
    let room = TOLD_MAX - told.len();
    told.extend(log.entries().rev().filter(|entry| is_message(&entry.record)).take(room));
    // Whatever was last is nearest to what failed.
    if !told.is_empty() {
        told.extend(log.entries().rev().take(LAST));
    }
    told.sort_by_key(|entry| entry.step);
    told.dedup_by_key(|entry| entry.step);
    let mut lines = Vec::with_capacity(told.len() + 2);
    let mut has_gap = false;
    let mut last = 0;
    for entry in &told {
        let left_out = entries().filter(|it| it.step > last && it.step < entry.step);
        // Of a gap at the beginning or between a fault and what follows much later.
        if !has_gap && left_out.filter(|it| is_message(&it.record)).count() > 0 {
            lines.push(format!("{:>14}", ".."));
            has_gap = last > 0;
        }
        lines.push(log.line(entry));
        last = entry.step;
    }
    lines
}

/// True if something went wrong here.
fn is_fault(record: &Record) -> bool {
    match record {
        Record::Dropped(..)
        | Record::Duplicated(_)
        | Record::Corrupted(_)
        | Record::HeldBack(_)
        | Record::Held(_)
        | Record::Host(_)
        | Record::Engine(EngineRecord::TaskCancelled { .. }) => true,
        Record::Draw { site, value } => {
            // What befalls packets and tasks has a record of its own.
            let has_own = site.name().starts_with("packet.") || site.name() == "task.cancel";
            site.class() == Class::Fault && *value != 0 && !has_own
        }
        _ => false,
    }
}

/// True if somebody heard of something here.
fn is_message(record: &Record) -> bool {
    match record {
        Record::Delivered(_) | Record::Refused(_) => true,
        Record::Engine(EngineRecord::Property { holds, .. }) => !holds,
        Record::Engine(EngineRecord::Callback { callback, .. }) => {
            matches!(callback, Callback::ConnectionLost | Callback::EofReceived)
        }
        _ => false,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use sim_core::{Cx, DatagramProtocol, DatagramTransport, World};
    use sim_net::{Plan, Sim};

    use super::*;

    /// Takes datagrams, and does nothing with them.
    pub(crate) struct Sink;

    impl DatagramProtocol for Sink {
        fn datagram_received(
            &mut self,
            _cx: &mut Cx<'_, Self, DatagramTransport>,
            _data: &[u8],
            _from: std::net::SocketAddr,
        ) {
        }
    }

    async fn sends(world: World) -> std::io::Result<()> {
        let (a, b) = (world.host("a"), world.host("b"));
        let _sink = b.datagram().local(("b", 9)).bind(|| Sink).await?;
        let source = a.datagram().remote(("b", 9)).bind(|| Sink).await?;
        for n in 0..100_u8 {
            source.transport().send_to(&[n], None)?;
            a.sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    }

    #[test]
    fn faults_and_the_last_messages_are_told_and_the_rest_is_not() {
        let plan: Plan = "cut a b 20s..22s".parse().unwrap();
        let log = Sim::new(1).replay(&plan).unwrap().trace(true).run(sends).log.unwrap();
        let lines = story(None, &log);
        assert!(lines.len() <= TOLD_MAX + LAST + 2, "{lines:#?}");
        let drops = lines.iter().filter(|line| line.contains("drop")).count();
        let delivered = lines.iter().filter(|line| line.contains("deliver")).count();
        assert_eq!(drops + delivered, TOLD_MAX, "{lines:#?}");
        assert!((2..=3).contains(&drops), "{lines:#?}");
        assert_eq!(lines[0].trim(), "..");
    }

    #[test]
    fn of_a_run_in_which_nothing_happens_nothing_is_told() {
        let log = Sim::new(1).trace(true).run(|_| async {}).log.unwrap();
        assert!(story(None, &log).is_empty());
    }
}
