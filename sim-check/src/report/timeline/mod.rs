//! A run as a picture: one page that a browser shows, with everything in it.

mod bars;
mod classes;
mod joins;
mod json;
mod states;
#[cfg(test)]
mod tests;
mod wording;

use std::collections::BTreeMap;
use std::io::{self, Write};

use sim_core::Time;
use sim_net::plan::Entry as PlanEntry;
use sim_net::{Finding, Log, Plan, Report};

use self::bars::{Bar, bars};
use self::classes::Class;
use self::joins::{Arrow, Joins, first_packet};
use self::json::{Object, ToJson, base64};
use self::states::said;
use self::wording::Wording;

const PAGE: &str = include_str!("page/timeline.html");
const STYLE: &str = include_str!("page/timeline.css");
/// The parts of the page's program, each of which uses those before it.
const SCRIPTS: [&str; 7] = [
    include_str!("page/model.js"),
    include_str!("page/view.js"),
    include_str!("page/draw.js"),
    include_str!("page/overview.js"),
    include_str!("page/panel.js"),
    include_str!("page/app.js"),
    include_str!("page/selftest.js"),
];

/// How much of what is in packets goes into a page, in bytes. If there is more, less of each does.
const DATA_MAX: usize = 3 << 20;

/// A run as a picture, for a person who looks for a bug: a lane for each host, an arrow for each packet
/// with what became of it, bars for what befell hosts and links, the states of protocols
/// ([`Protocol::digest`](sim_core::Protocol::digest)), and the finding. A click on an event shows all that is known of
/// it, and everything that it can have been caused by.
///
/// It is one HTML file that asks for nothing from anywhere. It needs the log of a run, so a check that
/// failed writes it by running its seed once more:
///
/// ```
/// use sim_check::{Timeline, check};
/// use sim_core::World;
///
/// async fn waits(world: World) {
///     world.host("client").sleep(std::time::Duration::from_secs(1)).await;
/// }
///
/// let check = check("waits");
/// let report = check.simulation(7, waits).trace(true).run(waits);
/// let timeline = Timeline::new("waits", &report).expect("a log was kept");
/// let mut page = Vec::new();
/// timeline.note("seed 7").write_html(&mut page)?;
/// assert!(page.starts_with(b"<!doctype html>"));
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// An event's causes are what its host did before it, the sending of a packet that arrives with it, and
/// their causes. What hosts share inside the program, such as a future that one of them completes
/// and another awaits, leaves no record and is no cause here, with one exception: a turn of the
/// scenario itself, of `control`, is taken to be caused by what was right before it at the same instant.
#[derive(Clone, Debug)]
pub struct Timeline<'a> {
    title: String,
    notes: Vec<String>,
    plan: Vec<(Option<Time>, String)>,
    log: &'a Log,
    finding: Option<&'a Finding>,
    end: Time,
    hash: u64,
}

impl<'a> Timeline<'a> {
    /// The picture of a run; `None` if it kept no log ([`Sim::trace`](sim_net::Sim::trace)).
    pub fn new<T>(title: impl Into<String>, report: &'a Report<T>) -> Option<Self> {
        Some(Self {
            title: title.into(),
            notes: Vec::new(),
            plan: Vec::new(),
            log: report.log.as_ref()?,
            finding: report.finding(),
            end: report.time,
            hash: report.hash,
        })
    }

    /// It with one more line under its title: the seed, or how to run it again.
    #[must_use]
    pub fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }

    /// It with the entries of the plan that the run had. What that says of the workload is a line under the title.
    #[must_use]
    pub fn plan(mut self, plan: &Plan) -> Self {
        let time = |entry: &PlanEntry| match entry {
            PlanEntry::Fault(fault) => fault.start.time(),
            _ => None,
        };
        self.plan.extend(plan.faults().map(|entry| (time(entry), entry.to_string())));
        let workload = plan.entries.iter().filter(|entry| entry.is_workload());
        let told: Vec<String> = workload.map(PlanEntry::to_string).collect();
        if told.is_empty() { self } else { self.note(format!("Workload: {}", told.join(", "))) }
    }

    /// Writes the page.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_html(&self, out: &mut impl Write) -> io::Result<()> {
        let mut rest = PAGE;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (name, behind) = behind.split_once("}}").expect("the page closes its braces");
            out.write_all(before.as_bytes())?;
            match name {
                "style" => out.write_all(STYLE.as_bytes())?,
                "script" => write!(out, "\"use strict\";\n{}", SCRIPTS.join("\n"))?,
                "data" => self.write_data(out)?,
                _ => out.write_all(escaped(&self.title).as_bytes())?,
            }
            rest = behind;
        }
        out.write_all(rest.as_bytes())
    }

    /// Writes what the page shows, as JSON. `model.js` reads it.
    fn write_data(&self, out: &mut impl Write) -> io::Result<()> {
        let log = self.log;
        let joins = Joins::of(log);
        let mut events = Events::default();
        for entry in log.entries() {
            events.add(log, &entry);
        }
        let mut object = Object::begin(out)?;
        object.member("title", &self.title)?;
        object.member("notes", &self.all_notes())?;
        object.member("hash", &format!("{:016x}", self.hash))?;
        object.member("hosts", &log.hosts().map(str::to_owned).collect::<Vec<_>>())?;
        object.member("end", &clock(self.end))?;
        object.member("first", &log.entries().next().map_or(1, |entry| entry.step))?;
        object.member("finding", &self.finding.map(|found| found.to_string()))?;
        object.member("found", &self.found().map(|place| place as u64))?;
        object.member("times", &events.times)?;
        object.member("at", &events.hosts)?;
        object.member("kinds", &events.shapes)?;
        let classes = events.wording.shapes.iter().map(|&(class, _)| class as u64);
        object.member("classes", &classes.collect::<Vec<_>>())?;
        let shapes = events.wording.shapes.iter().map(|(_, shape)| shape.clone());
        object.member("shapes", &shapes.collect::<Vec<_>>())?;
        object.member("fillings", &events.wording.fillings)?;
        object.member("arrows", &arrows(&joins.arrows))?;
        object.member("causes", &pairs(&joins.causes))?;
        object.member("timers", &pairs(&joins.timers))?;
        self.write_states(&mut object)?;
        write_bars(&bars(log), &mut object)?;
        object.member(
            "planTimes",
            &self.plan.iter().map(|&(at, _)| moment(at)).collect::<Vec<_>>(),
        )?;
        let texts = self.plan.iter().map(|(_, text)| text.clone());
        object.member("planTexts", &texts.collect::<Vec<_>>())?;
        object.member("firstPacket", &u64::from(first_packet(log)))?;
        object.member("data", &data(log, &joins.arrows))?;
        object.end()
    }

    /// The notes, with what of the run is not on the page.
    fn all_notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        if self.log.before() > 0 {
            let (left_out, first) = (self.log.before(), self.log.before() + 1);
            notes.push(format!(
                "The first {left_out} events are left out: this begins with #{first}."
            ));
        }
        notes
    }

    /// The event at which the run failed: the last of the host.
    fn found(&self) -> Option<usize> {
        let host = &self.finding?.host;
        let places = self.log.entries().enumerate();
        let of_host = places.rev().find(|(_, entry)| self.log.host(entry.host) == host);
        of_host.map(|(place, _)| place).or(self.log.entries().len().checked_sub(1))
    }

    fn write_states<W: Write>(&self, object: &mut Object<'_, W>) -> io::Result<()> {
        let (mut numbers, mut texts, mut states) = (BTreeMap::new(), Vec::new(), Vec::new());
        for said in said(self.log) {
            let number = *numbers.entry(said.text).or_insert_with(|| {
                texts.push(said.text.to_owned());
                texts.len() as u64 - 1
            });
            states.extend([said.place as u64, u64::from(said.connection), number]);
        }
        object.member("states", &states)?;
        object.member("stateTexts", &texts)
    }
}

/// The columns of the events.
#[derive(Default)]
struct Events {
    /// Nanoseconds since the event before; before it, whole seconds as a negative number if there
    /// are many, since the page's numbers have 53 bits.
    times: Vec<i64>,
    hosts: Vec<u64>,
    shapes: Vec<u64>,
    wording: Wording,
    last: Time,
}

impl Events {
    fn add(&mut self, log: &Log, entry: &sim_net::Entry) {
        const SECOND: u64 = 1_000_000_000;
        let since = entry.time.as_nanos() - self.last.as_nanos();
        self.last = entry.time;
        if since > 1_000 * SECOND {
            self.times.push(-((since / SECOND) as i64));
            self.times.push((since % SECOND) as i64);
        } else {
            self.times.push(since as i64);
        }
        self.hosts.push(u64::from(entry.host));
        self.shapes.push(self.wording.add(Class::of(log, &entry.record), &log.text(entry)));
    }
}

/// A time as seconds and nanoseconds: the page's numbers have 53 bits.
fn clock(time: Time) -> [u64; 2] {
    [time.as_nanos() / 1_000_000_000, time.as_nanos() % 1_000_000_000]
}

fn moment(time: Option<Time>) -> Vec<u64> {
    time.map_or_else(Vec::new, |time| clock(time).to_vec())
}

/// A place that may be missing, as a number: -1.
fn place(place: Option<usize>) -> i64 {
    place.map_or(-1, |place| place as i64)
}

fn arrows(arrows: &[Arrow]) -> Vec<i64> {
    let flat = arrows.iter().flat_map(|arrow| {
        let Arrow { packet, from, to_host, to, fate } = *arrow;
        let to_host = if to_host == u32::MAX { -1 } else { i64::from(to_host) };
        [i64::from(packet), from as i64, to_host, place(to), fate as i64]
    });
    flat.collect()
}

fn pairs(pairs: &[(usize, usize)]) -> Vec<u64> {
    pairs.iter().flat_map(|&(a, b)| [a as u64, b as u64]).collect()
}

fn write_bars<W: Write>(bars: &[Bar], object: &mut Object<'_, W>) -> io::Result<()> {
    let ends = |bar: &Bar| {
        let [seconds, nanos] = clock(bar.began.time);
        let mut ends = vec![bar.kind as u64, bar.began.place, seconds, nanos];
        if let Some(ended) = bar.ended {
            let [seconds, nanos] = clock(ended.time);
            ends.extend([ended.place, seconds, nanos]);
        }
        ends
    };
    let hosts = |bar: &Bar| bar.hosts.iter().map(|&host| u64::from(host)).collect::<Vec<_>>();
    object.member("bars", &bars.iter().map(ends).collect::<Vec<_>>())?;
    object.member("barHosts", &bars.iter().map(hosts).collect::<Vec<_>>())?;
    object.member("barTexts", &bars.iter().map(|bar| bar.what.clone()).collect::<Vec<_>>())
}

/// What is in the packets, in the order of their numbers from the first that was sent in the log on.
fn data(log: &Log, arrows: &[Arrow]) -> Vec<String> {
    let first = first_packet(log);
    let last = arrows.iter().map(|arrow| arrow.packet).max().unwrap_or(0);
    let of = |packet| log.packet_data(packet).unwrap_or_default();
    let mut length_max = usize::MAX;
    let size = |length_max| (first..=last).map(|packet| of(packet).len().min(length_max)).sum();
    let mut total: usize = size(length_max);
    while total > DATA_MAX {
        length_max = length_max.min(256) / 2;
        total = size(length_max);
    }
    let texts = (first..=last).map(|packet| {
        let bytes = of(packet);
        base64(&bytes[..bytes.len().min(length_max)])
    });
    texts.collect()
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

impl ToJson for [u64; 2] {
    fn write(&self, out: &mut impl Write) -> io::Result<()> {
        self.as_slice().write(out)
    }
}
