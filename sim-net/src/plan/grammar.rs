//! The text of plans, read. Printing is beside the types.

use std::time::Duration;

use sim_core::{Signal, Time};

use super::deviation::{Deviation, Environment, FaultSite, Stream};
use super::error::{Place, PlanError, PlanErrors, Problem};
use super::event::EventId;
use super::fault::{
    Action, Anchor, Clock, Condition, Cut, CutMode, Fault, Incident, LinkText, Sides, Start,
};
use super::quantity::{A_TIME, parse_rate, parse_shift, parse_time};
use super::reader::{Mistake, MistakeKind, Read, Reader};
use super::workload::{SIZE, WITHOUT, Workload};
use super::{Entry, Plan, VERSION};
use crate::names::NameFault;

/// What came of reading a text.
#[derive(Debug, Default)]
pub(super) struct Parsed {
    /// What could be read.
    pub(super) plan: Plan,
    /// The line of each entry.
    pub(super) lines: Vec<usize>,
    /// What could not.
    pub(super) errors: Vec<PlanError>,
}

impl Parsed {
    pub(super) fn into_result(self) -> Result<Plan, PlanErrors> {
        if self.errors.is_empty() { Ok(self.plan) } else { Err(PlanErrors(self.errors)) }
    }
}

impl From<Mistake> for Problem {
    fn from(mistake: Mistake) -> Self {
        match mistake.kind {
            MistakeKind::Unexpected { expected, found, hint } => {
                Self::Syntax { expected, found, hint }
            }
            MistakeKind::Backwards => Self::Backwards,
            MistakeKind::Version(found) => {
                Self::Version { found, supported: format!("{}.{}", VERSION.0, VERSION.1) }
            }
        }
    }
}

/// Reads a plan, each line on its own.
pub(super) fn parse(text: &str) -> Parsed {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parsed = Parsed::default();
    let mut is_first = true;
    for (number, line) in (1..).zip(text.lines()) {
        let mut reader = Reader::new(line);
        if reader.is_at_end() {
            continue;
        }
        let read = read_line(&mut reader, &mut parsed.plan, is_first).map(|entry| {
            parsed.lines.extend(entry.is_some().then_some(number));
            parsed.plan.entries.extend(entry);
        });
        is_first = false;
        if let Err(mistake) = read {
            let place = Place::Text { line: number, column: mistake.column };
            let is_foreign = matches!(mistake.kind, MistakeKind::Version(_));
            parsed.errors.push(PlanError { place, problem: mistake.into() });
            if is_foreign {
                // What its lines mean is not known here.
                return parsed;
            }
        }
    }
    parsed
}

/// Reads one entry.
pub(super) fn parse_entry(text: &str) -> Result<Entry, PlanErrors> {
    let Parsed { mut plan, errors, .. } = parse(text);
    match (plan.entries.pop(), plan.entries.is_empty() && errors.is_empty()) {
        (Some(entry), true) => Ok(entry),
        _ if !errors.is_empty() => Err(PlanErrors(errors)),
        _ => {
            let mistake = Reader::new("").expected("one entry");
            let place = Place::Text { line: 1, column: 1 };
            Err(PlanErrors(vec![PlanError { place, problem: mistake.into() }]))
        }
    }
}

fn set<T>(place: &mut Option<T>, value: T, at: Reader<'_>) -> Read<()> {
    if place.is_some() {
        return Err(at.expected("an entry: that is said already"));
    }
    *place = Some(value);
    Ok(())
}

/// Reads a line that is not empty: an entry, or what is said about the plan as a whole.
fn read_line(reader: &mut Reader<'_>, plan: &mut Plan, is_first: bool) -> Read<Option<Entry>> {
    let start = *reader;
    let mut found = None;
    match reader.letters() {
        "plan" if is_first => version(reader)?,
        "plan" => return Err(start.expected("an entry: the format is said first")),
        "scenario" => set(&mut plan.scenario, reader.text("the name of a scenario")?, start)?,
        "seed" => set(&mut plan.seed, reader.number("a seed, decimal or 0x..")?, start)?,
        word => found = Some(entry(reader, word, start)?),
    }
    if reader.is_at_end() { Ok(found) } else { Err(reader.expected("the end of the line")) }
}

fn version(reader: &mut Reader<'_>) -> Read<()> {
    let start = *reader;
    let word = reader.word();
    let major = word.split_once('.').and_then(|(major, minor)| {
        minor.parse::<u32>().ok()?;
        major.parse::<u32>().ok()
    });
    match major {
        None => Err(start.expected("the version of the format, such as 1.0")),
        Some(major) if major == VERSION.0 => Ok(()),
        Some(_) => Err(start.mistake(MistakeKind::Version(word.to_owned()))),
    }
}

/// What an entry begins with, beside the words of [`FaultSite`] and [`Stream`].
const WORDS: [&str; 13] = [
    "cut", "isolate", "crash", "pause", "freeze", "slow", "dns", "link", "kill", "signal", "clock",
    SIZE, WITHOUT,
];

fn entry(reader: &mut Reader<'_>, word: &str, start: Reader<'_>) -> Read<Entry> {
    if let Some(site) = FaultSite::with_word(word) {
        return Deviation::read(reader, site).map(Entry::Deviation);
    }
    if let Some(stream) = Stream::ALL.into_iter().find(|stream| stream.word() == word) {
        return Environment::read(reader, stream).map(Entry::Environment);
    }
    let mut options = Options::default();
    let condition = match word {
        "cut" => Condition::Cut(Cut::new(sides(reader)?)),
        "isolate" => Condition::Cut(Cut::new(Sides::Isolate(names(reader)?))),
        "crash" => Condition::Crash { host: reader.name()?, changes_address: false },
        "pause" => Condition::Pause { host: reader.name()? },
        "freeze" => Condition::Freeze { host: reader.name()? },
        "slow" => Condition::Slow { host: reader.name()?, cost: Duration::ZERO },
        "dns" => Condition::Names { host: reader.name()?, fault: NameFault::default() },
        "link" => {
            let (from, to, is_mutual) = link_ends(reader)?;
            Condition::Link { from, to, is_mutual, link: LinkText(String::new()) }
        }
        "kill" => {
            let host = reader.name()?;
            options.read(reader, &[])?;
            return options.moment(Incident::Kill { host }, *reader);
        }
        "signal" => {
            let (host, at) = (reader.name()?, *reader);
            let signal = reader.name()?.parse::<Signal>();
            let signal = signal.map_err(|_| at.expected("a signal, such as SIGTERM"))?;
            options.read(reader, &[])?;
            return options.moment(Incident::Signal { host, signal }, *reader);
        }
        "clock" => return clock(reader),
        SIZE => return Workload::read_size(reader).map(Entry::Workload),
        WITHOUT => return Workload::read_without(reader).map(Entry::Workload),
        _ => {
            let sites = FaultSite::ALL.map(FaultSite::word);
            let streams = Stream::ALL.map(Stream::word);
            let others = ["plan", "scenario", "seed"];
            let words = [&WORDS[..], &sites, &streams, &others].concat();
            return Err(start.expected_one_of("an entry", &words));
        }
    };
    interval(reader, condition)
}

/// Reads the rest of an interval, and puts into its condition what stands there about it.
fn interval(reader: &mut Reader<'_>, mut condition: Condition) -> Read<Entry> {
    let own: &[&str] = match condition {
        Condition::Cut(_) => &["drop", "hold", "reject", "port"],
        Condition::Crash { .. } => &["new-address", "keep-address"],
        Condition::Slow { .. } => &["by"],
        Condition::Names { .. } => &NameFault::ALL.map(NameFault::word),
        Condition::Link { .. } => &[LINK],
        Condition::Pause { .. } | Condition::Freeze { .. } => &[],
    };
    let mut options = Options { is_interval: true, ..Options::default() };
    options.read(reader, own)?;
    match &mut condition {
        Condition::Cut(cut) => {
            cut.mode = options.mode.unwrap_or_default();
            cut.port = options.port;
        }
        Condition::Crash { changes_address, .. } => {
            *changes_address = options.changes_address == Some(true);
        }
        Condition::Slow { cost, .. } => {
            *cost = options.cost.ok_or_else(|| reader.expected("by and what a callback costs"))?;
        }
        Condition::Names { fault, .. } => *fault = options.names.unwrap_or_default(),
        Condition::Link { link, .. } => {
            let given = options.link.take();
            *link = given.ok_or_else(|| reader.expected("what the link is, such as loss=20%"))?;
        }
        Condition::Pause { .. } | Condition::Freeze { .. } => {}
    }
    if options.length.is_none()
        && !options.is_open
        && options.anchor.is_none()
        && !matches!(condition, Condition::Crash { .. })
    {
        return Err(reader.expected("an end, as in 1.2s..4.2s or 1.2s for 3s"));
    }
    let action = Action::Interval { condition, length: options.length };
    Ok(Entry::Fault(options.fault(action, *reader)?))
}

fn clock(reader: &mut Reader<'_>) -> Read<Entry> {
    let host = reader.name()?;
    let mut options = Options::default();
    options.read(reader, &["step", "offset", "drift"])?;
    let at = *reader;
    if let Some(step_nanos) = options.step {
        if options.offset.or(options.drift).is_some() {
            return Err(at.expected("either a step or an offset and a drift"));
        }
        return options.moment(Incident::ClockStep { host, step_nanos }, at);
    }
    if options.offset.or(options.drift).is_none() {
        return Err(at
            .expected("step, offset or drift")
            .with_hint("as in offset +3ms drift +40ppm"));
    }
    if options.start.is_some() || options.anchor.is_some() {
        return Err(at.expected("no time: offset and drift hold for the whole run"));
    }
    let (offset_nanos, drift_ppb) = (options.offset.unwrap_or(0), options.drift.unwrap_or(0));
    let is_permanent = options.is_permanent;
    Ok(Entry::Clock(Clock { host, offset_nanos, drift_ppb, is_permanent }))
}

fn names(reader: &mut Reader<'_>) -> Read<Vec<String>> {
    let mut names = vec![reader.name()?];
    while reader.next(",") {
        names.push(reader.name()?);
    }
    Ok(names)
}

fn sides(reader: &mut Reader<'_>) -> Read<Sides> {
    let one = names(reader)?;
    if reader.next("|") {
        return Ok(Sides::Between(one, names(reader)?));
    }
    if reader.next("->") || reader.next("→") {
        return Ok(Sides::OneWay(one, names(reader)?));
    }
    if reader.next("<-") || reader.next("←") {
        return Ok(Sides::OneWay(names(reader)?, one));
    }
    if one.len() > 1 {
        return Err(reader.expected("| or -> and the other side"));
    }
    Ok(Sides::Between(one, vec![reader.name()?]))
}

fn link_ends(reader: &mut Reader<'_>) -> Read<(String, String, bool)> {
    let first = reader.name()?;
    if reader.next("->") || reader.next("→") {
        return Ok((first, reader.name()?, false));
    }
    if reader.next("<->") || reader.next("↔") {
        return Ok((first, reader.name()?, true));
    }
    if reader.next("<-") || reader.next("←") {
        return Ok((reader.name()?, first, false));
    }
    Ok((first, reader.name()?, true))
}

/// What a link is has no word before it.
const LINK: &str = "what the link is";

/// What can stand behind the name of a host, in any order, each at most once.
#[derive(Debug, Default)]
struct Options {
    is_interval: bool,
    start: Option<Time>,
    /// The interval is said to have no end.
    is_open: bool,
    length: Option<Duration>,
    anchor: Option<Anchor>,
    is_permanent: bool,
    mode: Option<CutMode>,
    port: Option<u16>,
    changes_address: Option<bool>,
    cost: Option<Duration>,
    names: Option<NameFault>,
    link: Option<LinkText>,
    step: Option<i64>,
    offset: Option<i64>,
    drift: Option<i64>,
}

impl Options {
    /// Reads to the end of the line. `own` are the words of this kind of entry.
    fn read(&mut self, reader: &mut Reader<'_>, own: &[&str]) -> Read<()> {
        while !reader.is_at_end() {
            let at = *reader;
            let mut ahead = *reader;
            match ahead.word() {
                word if own.contains(&word) => {
                    *reader = ahead;
                    self.own(word, reader, at)?;
                }
                "for" if self.is_interval => {
                    *reader = ahead;
                    if self.is_open {
                        return Err(at.expected("no length: the interval has its end already"));
                    }
                    set(&mut self.length, reader.duration()?, at)?;
                }
                "after" => {
                    *reader = ahead;
                    set(&mut self.anchor, anchor(reader)?, at)?;
                }
                "permanent" => {
                    *reader = ahead;
                    self.is_permanent = true;
                }
                "at" => {
                    *reader = ahead;
                    self.time(reader)?;
                }
                word if word.starts_with(|c: char| c.is_ascii_digit()) => self.time(reader)?,
                word if own.contains(&LINK)
                    && (word.starts_with('"') || LinkText::is_told_by(word)) =>
                {
                    let link = LinkText(reader.text(LINK)?);
                    set(&mut self.link, link, at)?;
                }
                _ => {
                    let length: &[&str] = if self.is_interval { &["for"] } else { &[] };
                    let others = ["a time", "after", "permanent"];
                    let words = [own, length, &others].concat();
                    return Err(at.expected_one_of("more about it, or the end", &words));
                }
            }
        }
        Ok(())
    }

    fn own(&mut self, word: &str, reader: &mut Reader<'_>, at: Reader<'_>) -> Read<()> {
        if let Some(mode) = CutMode::ALL.into_iter().find(|mode| mode.word() == word) {
            return set(&mut self.mode, mode, at);
        }
        if let Some(fault) = NameFault::ALL.into_iter().find(|fault| fault.word() == word) {
            return set(&mut self.names, fault, at);
        }
        match word {
            "port" => set(&mut self.port, reader.small_number("a port")?, at),
            "by" => set(&mut self.cost, reader.duration()?, at),
            "step" => set(&mut self.step, reader.parsed(parse_shift)?, at),
            "offset" => set(&mut self.offset, reader.parsed(parse_shift)?, at),
            "drift" => set(&mut self.drift, reader.parsed(parse_rate)?, at),
            word => set(&mut self.changes_address, word == "new-address", at),
        }
    }

    /// Reads `1.2s`, or in an interval also `1.2s..` and `1.2s..4.2s`.
    fn time(&mut self, reader: &mut Reader<'_>) -> Read<()> {
        let at = *reader;
        let word = reader.word();
        let expected = |expected: String| at.expected(expected);
        let Some((start, end)) = word.split_once("..").filter(|_| self.is_interval) else {
            if word.contains("..") {
                return Err(at.expected(A_TIME).with_hint("it happens at once, and has no end"));
            }
            return set(&mut self.start, parse_time(word).map_err(expected)?, at);
        };
        let start = parse_time(start).map_err(expected)?;
        set(&mut self.start, start, at)?;
        if self.length.is_some() {
            return Err(at.expected("a start alone: the length is said already"));
        }
        if end.is_empty() {
            self.is_open = true;
            return Ok(());
        }
        let end = parse_time(end).map_err(expected)?;
        if end < start {
            return Err(at.mistake(MistakeKind::Backwards));
        }
        self.length = Some(end - start);
        Ok(())
    }

    fn fault(self, action: Action, end: Reader<'_>) -> Read<Fault> {
        let start = match (self.start, self.anchor) {
            (Some(time), Some(anchor)) => Start::Both(time, anchor),
            (Some(time), None) => Start::At(time),
            (None, Some(anchor)) => Start::After(anchor),
            (None, None) => return Err(end.expected(format!("when: {A_TIME}"))),
        };
        Ok(Fault { start, action, is_permanent: self.is_permanent })
    }

    fn moment(self, incident: Incident, end: Reader<'_>) -> Read<Entry> {
        self.fault(Action::Moment(incident), end).map(Entry::Fault)
    }
}

fn anchor(reader: &mut Reader<'_>) -> Read<Anchor> {
    let event = EventId::read(reader, None)?;
    if !reader.keyword("on") {
        return Err(reader.expected("on and the host that the event happens on"));
    }
    let host = reader.name()?;
    let delay = if reader.next("+") { reader.duration()? } else { Duration::ZERO };
    Ok(Anchor { event, host, delay })
}
