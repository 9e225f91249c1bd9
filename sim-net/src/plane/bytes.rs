//! What a fuzzer says, as a plan.

use std::time::Duration;

use super::census::Census;
use crate::plan::{
    Action, Condition, Cut, Deviation, Entry, FIN_KILL, FIN_RECEIVER, Fault, FaultSite, Plan,
    RESET_BOTH, Sides, Start,
};

/// How many bytes say one entry: what, about which event, and how much.
const ENTRY: usize = 6;

/// What befalls packets and streams.
const OF_PACKETS: [FaultSite; 5] = [
    FaultSite::Loss,
    FaultSite::Duplicate,
    FaultSite::Delay,
    FaultSite::Corrupt,
    FaultSite::Reorder,
];
const OF_STREAMS: [FaultSite; 7] = [
    FaultSite::Boundary,
    FaultSite::ShortWrite,
    FaultSite::Coalesce,
    FaultSite::Stall,
    FaultSite::Reset,
    FaultSite::Fin,
    FaultSite::DelayFin,
];

impl Census {
    /// The plan that some bytes stand for: six of them are an entry about an event of this run, and a
    /// rest that is shorter is nothing. So what a fuzzer changes in one place changes one entry, and
    /// more bytes are more entries.
    ///
    /// Of the six the first says what befalls whom (packets, streams, calls, hosts), three which of
    /// them, and two how much: a time grows with the power of two. What there is none of in this
    /// run is left out.
    pub fn plan_of_bytes(&self, bytes: &[u8]) -> Plan {
        let entries = bytes.chunks_exact(ENTRY).filter_map(|entry| {
            let &[what, a, b, c, d, e] = entry else { return None };
            let which = u32::from_le_bytes([a, b, c, 0]) as usize;
            self.entry_of(what, which, u16::from_le_bytes([d, e]))
        });
        Plan { entries: entries.collect(), ..Plan::new() }
    }

    fn entry_of(&self, what: u8, which: usize, much: u16) -> Option<Entry> {
        let kind = usize::from(what / 8);
        match what % 8 {
            0..=2 => self.packet_fault(OF_PACKETS[kind % OF_PACKETS.len()], which, much),
            3 | 4 => self.stream_fault(OF_STREAMS[kind % OF_STREAMS.len()], which, much),
            5 => {
                let call = self.calls().get(which.checked_rem(self.calls().len())?)?;
                let value = 1 + u64::from(much) % call.most.max(1);
                Some(Deviation::new(call.site, call.event.clone(), value).into())
            }
            _ => self.host_fault(kind.is_multiple_of(2), which, much),
        }
    }

    fn packet_fault(&self, site: FaultSite, which: usize, much: u16) -> Option<Entry> {
        let count = self.packets().len();
        let packet = self.packets().nth(which.checked_rem(count)?)?;
        let value = match site {
            FaultSite::Loss => 1,
            FaultSite::Duplicate => 1 + nanos(much),
            FaultSite::Delay => nanos(much),
            FaultSite::Reorder => 1 + u64::from(much % 8),
            _ => 1 + u64::from(much),
        };
        let near = Some(packet.near);
        Some(Deviation { near, ..Deviation::new(site, packet.event, value) }.into())
    }

    /// About the ends of writes: a byte before one, at it, or a byte behind it.
    fn stream_fault(&self, site: FaultSite, which: usize, much: u16) -> Option<Entry> {
        let streams = || self.streams().filter(|stream| stream.can_have(site));
        let count = streams().map(|stream| stream.writes.len()).sum::<usize>();
        let mut left = (which / 3).checked_rem(count)?;
        let stream = streams().find(|stream| {
            let is_here = left < stream.writes.len();
            left -= if is_here { 0 } else { stream.writes.len() };
            is_here
        })?;
        let end = stream.writes[left].offset;
        let offset = (end + which as u64 % 3).saturating_sub(1);
        let value = match site {
            FaultSite::ShortWrite => 1 + u64::from(much),
            FaultSite::Stall | FaultSite::DelayFin => nanos(much),
            FaultSite::Reset => 1 + u64::from(much) % RESET_BOTH,
            // What never leaves its host ends with a process alone.
            FaultSite::Fin if stream.flow().is_none() => FIN_KILL,
            FaultSite::Fin => FIN_KILL + u64::from(much) % FIN_RECEIVER,
            _ => 1,
        };
        Some(Deviation::new(site, stream.event(site, offset), value).into())
    }

    /// A host crashes before one of its turns, or is cut off from then on.
    fn host_fault(&self, crashes: bool, which: usize, much: u16) -> Option<Entry> {
        let turn = self.turns().get(which.checked_rem(self.turns().len())?)?;
        let host = self.host(turn.host).to_string();
        let condition = match crashes {
            true => Condition::Crash { host, changes_address: false },
            false => Condition::Cut(Cut::new(Sides::Isolate(vec![host]))),
        };
        let length = Some(Duration::from_nanos(nanos(much)));
        let action = Action::Interval { condition, length };
        Some(Fault { start: Start::At(turn.time), action, is_permanent: false }.into())
    }
}

/// A time: from a microsecond on, doubled up to 24 times, with a fraction of it.
fn nanos(much: u16) -> u64 {
    let power = u64::from(much >> 8) % 25;
    let whole = 1_000 << power;
    whole + ((whole * u64::from(much & 0xff)) >> 8)
}
