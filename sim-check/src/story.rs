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
/// connections before the end. Where any of these are left out, a line says `..`. Of a run that is too long for one log, `beginning` has
/// the first records.
pub(crate) fn story(beginning: Option<&Log>, log: &Log) -> Vec<String> {
    let entries = || {
        let first = beginning.into_iter().flat_map(Log::entries);
        first.take_while(|entry| entry.step <= log.before()).chain(log.entries())
    };
    let mut told: Vec<Entry> =
        entries().filter(|entry| is_fault(&entry.record)).take(FAULTS_MAX).collect();
    let room = TOLD_MAX - told.len();
    let is_message = |entry: &Entry| is_message(log, &entry.record);
    told.extend(log.entries().rev().filter(is_message).take(room));
    // Whatever was last is nearest to what failed.
    if !told.is_empty() {
        told.extend(log.entries().rev().take(LAST));
    }
    told.sort_by_key(|entry| entry.step);
    told.dedup_by_key(|entry| entry.step);
    let mut lines = Vec::with_capacity(2 * told.len());
    let mut untold = entries().peekable();
    for entry in &told {
        let left_out = std::iter::from_fn(|| untold.next_if(|it| it.step < entry.step));
        // All of them are gone through, to stand at the entry itself.
        if left_out.filter(|it| is_message(it) || is_fault(&it.record)).count() > 0 {
            lines.push(format!("{:>14}", ".."));
        }
        untold.next();
        lines.push(log.line(entry));
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
fn is_message(log: &Log, record: &Record) -> bool {
    match record {
        Record::Delivered(_) | Record::Refused(_) => true,
        Record::Engine(EngineRecord::Property { .. }) => log.is_broken_property(record),
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
    fn each_gap_is_told_and_what_need_not_hold_is_no_part_of_it() {
        let plan: Plan = "cut a b 20s..21s\ncut a b 40s..41s\ncut a b 60s..61s".parse().unwrap();
        let log = Sim::new(1).replay(&plan).unwrap().trace(true);
        let log = log.run(|world: World| async move {
            let lp = world.host("a");
            let wishing = lp.clone();
            lp.create_task(async move {
                for _ in 0..1_000 {
                    sim_core::sometimes!(false, "a wish");
                    wishing.sleep(Duration::from_millis(100)).await;
                }
            });
            sends(world).await
        });
        let lines = story(None, &log.log.unwrap());
        let gap = |line: &String| line.trim() == "..";
        let drops: Vec<usize> = (0..lines.len()).filter(|&at| lines[at].contains("drop")).collect();
        assert!(drops.len() >= 3, "{lines:#?}");
        // Before the first, between any two cuts, and before the last messages.
        assert_eq!(lines.iter().filter(|line| gap(line)).count(), 4, "{lines:#?}");
        assert!(gap(&lines[0]) && gap(&lines[drops[drops.len() - 1] + 1]), "{lines:#?}");
        assert!(lines.windows(2).all(|two| !gap(&two[0]) || !gap(&two[1])), "{lines:#?}");
        assert!(lines.iter().filter(|line| line.contains("a wish")).count() <= LAST, "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("deliver")), "{lines:#?}");
    }

    #[test]
    fn of_a_run_in_which_nothing_happens_nothing_is_told() {
        let log = Sim::new(1).trace(true).run(|_| async {}).log.unwrap();
        assert!(story(None, &log).is_empty());
    }
}
