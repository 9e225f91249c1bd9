//! Records as they are hashed and kept: five words each.

use sim_core::Time;
use sim_core::trace::Record as EngineRecord;

use super::{DropReason, Entry, HostChange, PacketKind, PacketRecord, Record};
use crate::decisions::Site;
use crate::flow::Flow;

/// An entry of a trace without its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Packed {
    time: Time,
    /// The host, what the record is of a packet or draw, and the kind of record, from the high bits
    /// down: 32, 8 and 8 bits.
    place: u64,
    words: [u64; 3],
}

const ENGINE: u64 = 1;
const TURN: u64 = 2;
const SENT: u64 = 3;
const DELIVERED: u64 = 4;
const REFUSED: u64 = 5;
const DRAW: u64 = 6;
const DUPLICATED: u64 = 7;
const CORRUPTED: u64 = 8;
const HELD_BACK: u64 = 9;
const HELD: u64 = 10;
const RELEASED: u64 = 11;
const HOST: u64 = 12;
/// And the reason.
const DROPPED: u64 = 16;

impl Packed {
    pub(super) const BLANK: Self = Self { time: Time::ZERO, place: TURN, words: [0; 3] };

    #[inline(always)]
    pub(super) fn new(time: Time, host: u32, record: &Record) -> Self {
        let (kind, detail, words) = match record {
            Record::Engine(record) => return Self::of_engine(time, host, record.words()),
            Record::Turn => (TURN, 0, [0; 3]),
            Record::Sent(packet) => of_packet(SENT, packet),
            Record::Delivered(packet) => of_packet(DELIVERED, packet),
            Record::Dropped(packet, reason) => of_packet(DROPPED + *reason as u64, packet),
            Record::Refused(packet) => of_packet(REFUSED, packet),
            Record::Duplicated(packet) => of_packet(DUPLICATED, packet),
            Record::Corrupted(packet) => of_packet(CORRUPTED, packet),
            Record::HeldBack(packet) => of_packet(HELD_BACK, packet),
            Record::Held(packet) => of_packet(HELD, packet),
            Record::Released(packet) => of_packet(RELEASED, packet),
            Record::Host(change) => (HOST, *change as u64, [*change as u64, 0, 0]),
            Record::Draw { site, value } => (DRAW, *site as u64, [*site as u64, *value, 0]),
        };
        Self { time, place: u64::from(host) << 32 | detail << 8 | kind, words }
    }

    /// A record of an engine, by its words.
    #[inline(always)]
    pub(super) fn of_engine(time: Time, host: u32, words: [u64; 3]) -> Self {
        Self { time, place: u64::from(host) << 32 | ENGINE, words }
    }

    /// Writes it to `place`, word by word: a copy of it as a whole would wait for its words.
    #[inline(always)]
    pub(super) fn store(&self, place: &mut Self) {
        place.time = self.time;
        place.place = self.place;
        place.words[0] = self.words[0];
        place.words[1] = self.words[1];
        place.words[2] = self.words[2];
    }

    pub(super) fn unpack(self, step: u64) -> Entry {
        let detail = (self.place >> 8) as u8 as usize;
        let record = match self.place & 0xff {
            ENGINE => EngineRecord::from_words(self.words).map(Record::Engine),
            TURN => Some(Record::Turn),
            SENT => self.packet(detail).map(Record::Sent),
            DELIVERED => self.packet(detail).map(Record::Delivered),
            REFUSED => self.packet(detail).map(Record::Refused),
            DUPLICATED => self.packet(detail).map(Record::Duplicated),
            CORRUPTED => self.packet(detail).map(Record::Corrupted),
            HELD_BACK => self.packet(detail).map(Record::HeldBack),
            HELD => self.packet(detail).map(Record::Held),
            RELEASED => self.packet(detail).map(Record::Released),
            DRAW => {
                let site = Site::ALL.get(detail);
                site.map(|&site| Record::Draw { site, value: self.words[1] })
            }
            HOST => HostChange::ALL.get(detail).map(|&change| Record::Host(change)),
            dropped => {
                let reason = DropReason::ALL.get((dropped - DROPPED) as usize);
                self.packet(detail).zip(reason).map(|(packet, &why)| Record::Dropped(packet, why))
            }
        };
        let record = record.expect("it was packed from a record");
        Entry { time: self.time, step, host: (self.place >> 32) as u32, record }
    }

    fn packet(&self, kind: usize) -> Option<PacketRecord> {
        let [ends, name, size] = self.words;
        let flow = Flow::from_words([(ends ^ kind as u64).rotate_right(17), name]);
        let kind = *PacketKind::ALL.get(kind)?;
        Some(PacketRecord { flow, kind, offset: (size >> 32) as u32, bytes: size as u32 })
    }

    /// Its words as one: folded products of two each, as wyhash makes them.
    #[inline(always)]
    fn mixed(&self) -> u64 {
        let [a, b, c] = self.words;
        let when = folded(
            self.time.as_nanos() ^ 0x9e37_79b9_7f4a_7c15,
            self.place ^ 0xff51_afd7_ed55_8ccd,
        );
        when ^ folded(a ^ 0xc2b2_ae3d_27d4_eb4f, b ^ 0xd6e8_feb8_6659_fd93) ^ c
    }
}

/// The high and the low half of a product, in one.
#[inline(always)]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Takes a word into a rolling hash, so that order counts.
#[inline(always)]
fn rolled(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(23) ^ word).wrapping_mul(0x2545_f491_4f6c_dd1d)
}

const LANES: usize = 4;

/// A rolling hash of records. They take turns in its lanes, none of which waits for another.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RollingHash([u64; LANES]);

impl RollingHash {
    /// Takes records in, in order, the first of them into the first lane.
    pub(super) fn take_in(&mut self, records: &[Packed]) {
        let [mut a, mut b, mut c, mut d] = self.0;
        let mut turns = records.chunks_exact(LANES);
        for turn in &mut turns {
            a = rolled(a, turn[0].mixed());
            b = rolled(b, turn[1].mixed());
            c = rolled(c, turn[2].mixed());
            d = rolled(d, turn[3].mixed());
        }
        self.0 = [a, b, c, d];
        for (lane, record) in self.0.iter_mut().zip(turns.remainder()) {
            *lane = rolled(*lane, record.mixed());
        }
    }

    pub(super) fn value(self) -> u64 {
        let hash = self.0.into_iter().fold(0, rolled);
        hash ^ hash >> 32
    }
}

#[inline(always)]
fn of_packet(record: u64, packet: &PacketRecord) -> (u64, u64, [u64; 3]) {
    let [ends, name] = packet.flow.words();
    let size = u64::from(packet.offset) << 32 | u64::from(packet.bytes);
    let kind = packet.kind as u64;
    (record, kind, [ends.rotate_left(17) ^ kind, name, size])
}

#[cfg(test)]
mod tests {
    use sim_core::trace::Callback;

    use super::*;

    #[test]
    fn a_record_survives_the_round_trip() {
        let flow = Flow::new((1, 1), (2, 7000), 3, true).reversed();
        let packet = |kind| PacketRecord { flow, kind, offset: 7, bytes: 64 };
        let packets = PacketKind::ALL.into_iter().flat_map(|kind| {
            let drops = DropReason::ALL.map(|reason| Record::Dropped(packet(kind), reason));
            let others = [
                Record::Sent,
                Record::Delivered,
                Record::Refused,
                Record::Duplicated,
                Record::Corrupted,
                Record::HeldBack,
                Record::Held,
                Record::Released,
            ]
            .map(|record| record(packet(kind)));
            drops.into_iter().chain(others)
        });
        let callback = Callback::DataReceived;
        let engine = EngineRecord::Callback { connection: 9, callback, bytes: 64 };
        let draws = Site::ALL.map(|site| Record::Draw { site, value: u64::MAX });
        let changes = HostChange::ALL.map(Record::Host);
        let others = [Record::Turn, Record::Engine(engine)];
        for record in packets.chain(draws).chain(changes).chain(others) {
            let time = Time::from_nanos(5);
            let entry = Entry { time, step: 3, host: 8, record };
            assert_eq!(Packed::new(time, 8, &record).unpack(3), entry);
        }
    }
}
