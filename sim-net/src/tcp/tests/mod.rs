//! Two connections and a pipe between them: RFC 9293 as a whole, without hosts or sockets.

mod closing;
mod integrity;
mod ladders;
mod opening;
mod path;
mod recovery;
mod window;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use sim_core::Time;

use super::config::{BufferSize, Config};
use super::connection::{Connection, State};
use super::counters::Counters;
use super::segment::{Flags, Segment, Seq};
use crate::buffer::Pool;
use crate::errno::{ECONNREFUSED, ECONNRESET, EPIPE, ETIMEDOUT};
use crate::socket_table::Ready;

/// Small buffers, so that they matter.
const CONFIG: Config = Config {
    send_buffer: BufferSize::fixed(20_000),
    receive_buffer: BufferSize::fixed(10_000),
    ..LINUX
};
/// Linux's defaults.
const LINUX: Config = Config::new(1_448);
const DELAY: Duration = Duration::from_millis(10);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A segment that an end sent.
#[derive(Clone, Copy)]
struct Sent {
    at: Time,
    by: usize,
    flags: Flags,
    /// Relative to the initial number.
    offset: u32,
    bytes: u32,
    window: u32,
    attempt: u16,
    sacks: usize,
}

impl Sent {
    fn millis(&self) -> u64 {
        self.at.as_nanos() / 1_000_000
    }
}

/// What becomes of a segment: how long each copy of it travels. The pipe keeps no order.
type Fate = Box<dyn FnMut(&Sent) -> Vec<Duration>>;

/// Two ends and the segments between them.
struct Pair {
    now: Time,
    pool: Pool,
    ends: [Option<Connection>; 2],
    /// What is on its way, and to which end.
    wire: BTreeMap<(Time, u64), (usize, Segment)>,
    log: Vec<Sent>,
    fate: Fate,
    /// What the second end accepts with.
    second: Config,
    /// A SYN opens the second end, if there is none.
    listens: bool,
    /// How often each number was the first of a segment with data, by end.
    attempts: BTreeMap<(usize, u32), u16>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sent in &self.log {
            let Sent { at, by, flags, offset, bytes, attempt, sacks, .. } = sent;
            writeln!(f, "{at} {by} {flags:?} seq {offset} len {bytes} #{attempt} sacks {sacks}")?;
        }
        Ok(())
    }
}

/// Everything arrives after `delay`.
fn faultless(delay: Duration) -> Fate {
    Box::new(move |_| vec![delay])
}

/// Nothing arrives.
fn dead() -> Fate {
    Box::new(|_| Vec::new())
}

/// A repeatable choice: true in `per_mille` of the cases.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0 ^ (self.0 >> 29)) * u128::from(bound)) >> 64) as u64
    }
}

impl Pair {
    /// A client that has just asked to connect, and a listening server.
    fn new(first: Config, second: Config) -> Self {
        Self::over(faultless(DELAY), first, second)
    }

    fn over(fate: Fate, first: Config, second: Config) -> Self {
        let now = Time::ZERO;
        let first = Config { stamps_from: 77_777, ..first };
        let client = Connection::connect(now, Seq(u32::MAX - 3_000), first);
        let mut pair = Self {
            now,
            pool: Pool::default(),
            ends: [Some(client), None],
            wire: BTreeMap::new(),
            log: Vec::new(),
            fate,
            second: Config { stamps_from: u32::MAX - 500, ..second },
            listens: true,
            attempts: BTreeMap::new(),
        };
        pair.flush();
        pair
    }

    fn connected() -> Self {
        Self::connected_with(CONFIG, DELAY)
    }

    #[track_caller]
    fn connected_with(config: Config, delay: Duration) -> Self {
        let mut pair = Self::over(faultless(delay), config, config);
        pair.run(delay * 3);
        assert_eq!(pair.states(), [State::Established; 2]);
        pair
    }

    /// After 30 exchanges of request and response, as in `linux-tcp.md` T4.
    fn talking(config: Config, delay: Duration) -> Self {
        let mut pair = Self::connected_with(config, delay);
        for _ in 0..30 {
            pair.write(0, b"ping");
            pair.run(delay);
            pair.read(1, 9).unwrap();
            pair.write(1, b"pong");
            pair.run(delay);
            pair.read(0, 9).unwrap();
        }
        pair.run(secs(1));
        pair
    }

    #[track_caller]
    fn end(&mut self, end: usize) -> &mut Connection {
        self.ends[end].as_mut().expect("it exists")
    }

    fn counters(&mut self, end: usize) -> Counters {
        self.end(end).counters()
    }

    fn states(&self) -> [State; 2] {
        [0, 1].map(|end| self.ends[end].as_ref().map_or(State::Closed, Connection::state))
    }

    fn flush(&mut self) {
        for end in 0..2 {
            let Some(connection) = &mut self.ends[end] else {
                continue;
            };
            let mut sent = Vec::new();
            while let Some(segment) = connection.transmit(self.now, &mut self.pool) {
                sent.push((connection.offset(segment.seq), segment));
            }
            sent.into_iter().for_each(|(offset, segment)| self.send(end, offset, segment));
        }
    }

    fn send(&mut self, by: usize, offset: u32, segment: Segment) {
        let sent = Sent {
            at: self.now,
            by,
            flags: segment.flags,
            offset,
            bytes: segment.data_len(),
            window: segment.window,
            attempt: segment.attempt,
            sacks: segment.sacks.as_ref().map_or(0, |sacks| sacks.blocks().len()),
        };
        self.check(&sent);
        self.log.push(sent);
        for delay in (self.fate)(&sent) {
            let key = (self.now + delay, self.log.len() as u64);
            self.wire.insert(key, (1 - by, segment.clone()));
        }
    }

    /// What holds of every segment.
    fn check(&mut self, sent: &Sent) {
        assert!(sent.sacks <= 3, "there is room for three beside timestamps");
        assert!(sent.sacks == 0 || sent.bytes == 0, "blocks travel alone");
        if sent.bytes > 0 {
            let count = self.attempts.entry((sent.by, sent.offset)).or_default();
            assert!(sent.attempt >= *count, "{sent:?} was sent {count} times before");
            *count = sent.attempt + 1;
        }
    }

    /// The next moment at which something happens.
    fn next_time(&self) -> Time {
        let arrival = self.wire.first_key_value().map(|(&(at, _), _)| at);
        let timers = self.ends.iter().flatten().map(Connection::deadline);
        timers.chain(arrival).min().unwrap_or(Time::NEVER)
    }

    /// Delivers what is due, then runs the timers that are.
    fn step(&mut self) {
        while let Some(entry) = self.wire.first_entry()
            && entry.key().0 <= self.now
        {
            let (end, segment) = entry.remove();
            self.deliver(end, segment);
            self.flush();
        }
        for end in 0..2 {
            if let Some(connection) = &mut self.ends[end]
                && connection.deadline() <= self.now
            {
                connection.on_timer(self.now, &mut self.pool);
            }
        }
        self.flush();
    }

    fn deliver(&mut self, end: usize, mut segment: Segment) {
        match &mut self.ends[end] {
            Some(connection) => connection.on_segment(&mut segment, self.now, &mut self.pool),
            None if segment.flags.has(Flags::SYN) && self.listens => {
                let server = Connection::accept(&segment, self.now, Seq(77), self.second);
                self.ends[end] = Some(server);
            }
            None if segment.flags.has(Flags::RST) => {}
            None => self.send(end, 0, segment.refusal()),
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.next_time() <= until {
            self.now = self.next_time().max(self.now);
            self.step();
        }
        self.now = until;
    }

    /// Runs until nothing happens any more, or for `most`.
    fn run_out(&mut self, most: Duration) {
        let until = self.now + most;
        while self.next_time() <= until {
            self.now = self.next_time().max(self.now);
            self.step();
        }
    }

    /// Runs while the first end reads all it can of what the second sends, and so on; returns how
    /// much each has read.
    fn run_reading(&mut self, time: Duration) -> [usize; 2] {
        let until = self.now + time;
        let mut read = [0; 2];
        loop {
            for (end, total) in read.iter_mut().enumerate() {
                while self.ends[end].as_ref().is_some_and(|end| end.available() > 0) {
                    *total += self.read(end, 1 << 16).unwrap().unwrap().len();
                }
            }
            if self.next_time() > until {
                self.now = until;
                return read;
            }
            self.now = self.next_time().max(self.now);
            self.step();
        }
    }

    /// What end `by` has sent since the log had `from` entries.
    fn sent(&self, by: usize, from: usize) -> impl Iterator<Item = &Sent> {
        self.log[from..].iter().filter(move |sent| sent.by == by)
    }

    #[track_caller]
    fn write(&mut self, end: usize, data: &[u8]) -> usize {
        let connection = self.ends[end].as_mut().expect("it exists");
        let written = connection.write(data, &mut self.pool).expect("it can be written to");
        self.flush();
        written
    }

    fn try_write(&mut self, end: usize, data: &[u8]) -> Result<usize, i32> {
        let connection = self.ends[end].as_mut().expect("it exists");
        let written = connection.write(data, &mut self.pool);
        self.flush();
        written
    }

    fn read(&mut self, end: usize, most: usize) -> Result<Option<Vec<u8>>, i32> {
        let mut buf = vec![0; most];
        let connection = self.ends[end].as_mut().expect("it exists");
        let read = connection.read(&mut buf, self.now, &mut self.pool);
        self.flush();
        read.map(|read| {
            read.map(|length| {
                buf.truncate(length);
                buf
            })
        })
    }

    fn close(&mut self, end: usize) {
        let now = self.now;
        let connection = self.ends[end].as_mut().expect("it exists");
        connection.close(now, &mut self.pool);
        self.flush();
    }

    fn shutdown(&mut self, end: usize) {
        self.end(end).shutdown_write();
        self.flush();
    }

    fn abort(&mut self, end: usize) {
        let connection = self.ends[end].as_mut().expect("it exists");
        connection.abort(&mut self.pool);
        self.flush();
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, by, flags, offset, bytes, attempt, .. } = self;
        write!(f, "{at} by {by} {flags:?} seq {offset} len {bytes} #{attempt}")
    }
}
