//! Content ids: names of events that survive edits of the code around them.

use std::fmt;
use std::str::FromStr;

use super::error::{Place, PlanError};
use super::reader::{Read, Reader, name, text};
use crate::decisions::Entity;

/// The name of a flow, as traces print it: `client@1→server:7000#2`, with `←` for what the server
/// sends back, and `/udp` behind the port for datagrams.
///
/// `->` and `<-` are read, too. A host that has other characters in its name than letters, digits,
/// `_`, `-`, `.` and `?` is written in quotes.
///
/// ```
/// use sim_net::plan::FlowName;
///
/// let flow: FlowName = "client@1<-server:7000#2".parse()?;
/// assert_eq!(flow.to_string(), "client@1←server:7000#2");
/// assert_eq!((&*flow.client, flow.port, flow.is_reply), ("client", 7000, true));
/// # Ok::<(), sim_net::plan::PlanError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct FlowName {
    /// The host that opened it.
    pub client: String,
    /// The incarnation of that host, 1 for the first.
    pub incarnation: u16,
    /// The host that it was opened to; `?` if no host has the address.
    pub server: String,
    /// The port there.
    pub port: u16,
    /// The how-manieth it is from that host to that port, 1 for the first.
    pub number: u32,
    /// True for datagrams.
    pub is_udp: bool,
    /// True for what the server sends.
    pub is_reply: bool,
}

impl FlowName {
    /// What the draws about its packets are keyed by.
    pub fn entity(&self) -> Entity {
        Entity::named(fmt::from_fn(|f| self.spell(f, &self.client, &self.server)))
    }

    fn spell(
        &self,
        f: &mut fmt::Formatter<'_>,
        client: impl fmt::Display,
        server: impl fmt::Display,
    ) -> fmt::Result {
        let Self { incarnation, port, number, .. } = self;
        let arrow = if self.is_reply { '←' } else { '→' };
        let udp = if self.is_udp { "/udp" } else { "" };
        write!(f, "{client}@{incarnation}{arrow}{server}:{port}{udp}#{number}")
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Read<Self> {
        const FORM: &str = "a flow is written client@1→server:7000#2";
        let start = *reader;
        let client =
            reader.name().map_err(|_| start.expected("the name of a flow").with_hint(FORM))?;
        let after = |reader: &mut Reader<'_>, mark: &str, what: &str| {
            let here = *reader;
            reader.here(mark).then_some(()).ok_or_else(|| here.expected(what).with_hint(FORM))
        };
        after(reader, "@", "@ and the incarnation of the host")?;
        let incarnation = reader.small_number("an incarnation")?;
        let is_reply = reader.here("←") || reader.here("<-");
        if !is_reply && !reader.here("→") {
            after(reader, "->", "an arrow, → or ←")?;
        }
        let server = reader.name()?;
        after(reader, ":", ": and a port")?;
        let port = reader.small_number("a port")?;
        let is_udp = reader.here("/udp");
        after(reader, "#", "# and the number of the flow")?;
        let number = reader.small_number("the number of the flow")?;
        Ok(Self { client, incarnation, server, port, number, is_udp, is_reply })
    }
}

impl fmt::Display for FlowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.spell(f, name(&self.client), name(&self.server))
    }
}

impl FromStr for FlowName {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut reader = Reader::new(text);
        let flow = Self::read(&mut reader).and_then(|flow| {
            let rest = reader;
            if rest.is_at_end() { Ok(flow) } else { Err(rest.expected("the end of the name")) }
        });
        flow.map_err(|mistake| PlanError {
            place: Place::Text { line: 1, column: mistake.column },
            problem: mistake.into(),
        })
    }
}

/// What a segment is, for its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum SegmentClass {
    /// It opens the connection.
    Syn,
    /// The answer to that.
    SynAck,
    /// It carries data.
    Data,
    /// It ends the stream, perhaps with the last data.
    Fin,
    /// A reset.
    Reset,
}

impl SegmentClass {
    pub(super) const ALL: [Self; 5] = [Self::Syn, Self::SynAck, Self::Data, Self::Fin, Self::Reset];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn-ack",
            Self::Data => "data",
            Self::Fin => "fin",
            Self::Reset => "rst",
        }
    }
}

/// The content id of an event: what it is about, not when it was or the how-manieth of all.
///
/// | event | text |
/// | --- | --- |
/// | a segment | `client@1→server:7000#2 data 1449 2nd`: second transmission of what begins at 1449 |
/// | a bare acknowledgement | `client@1←server:7000#2 ack 2897 3rd` |
/// | a place in a stream | `client@1→server:7000#2 @1449` |
/// | a place in a Unix stream or pipe | `boundary client@1→unix:/run/app.sock#1 nr 1449` |
/// | a datagram | `client@1→server:53/udp#1 dgram 0x00f31a90c21d5b7e 2nd` |
/// | anything else | `store.lost server@1 nr 0` |
///
/// `1st` and the offset 0 of a SYN are left out.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EventId {
    /// A TCP segment that takes sequence space, or a reset.
    Segment {
        /// Its flow.
        flow: FlowName,
        /// What it is.
        class: SegmentClass,
        /// Its sequence number, counted from the initial one, beyond 32 bits too.
        offset: u64,
        /// The how-manieth transmission, 1 for the first.
        transmission: u32,
    },
    /// A segment that only acknowledges.
    Ack {
        /// Its flow.
        flow: FlowName,
        /// The offset that it acknowledges.
        offset: u64,
        /// The how-manieth of those that acknowledge it, 1 for the first.
        occurrence: u32,
    },
    /// A place in a stream, for the faults that an application sees.
    Stream {
        /// The flow that carries the stream.
        flow: FlowName,
        /// Bytes of data before it.
        offset: u64,
    },
    /// A UDP datagram.
    Datagram {
        /// Its flow.
        flow: FlowName,
        /// The hash of its data.
        payload: u64,
        /// The how-manieth of the flow with this data, 1 for the first.
        occurrence: u32,
    },
    /// A choice, by its key.
    Draw {
        /// What kind of choice.
        site: String,
        /// About what.
        entity: String,
        /// The how-manieth, 0 for the first.
        ordinal: u64,
    },
}

impl EventId {
    /// The flow that it is an event of.
    pub fn flow(&self) -> Option<&FlowName> {
        match self {
            Self::Segment { flow, .. }
            | Self::Ack { flow, .. }
            | Self::Stream { flow, .. }
            | Self::Datagram { flow, .. } => Some(flow),
            Self::Draw { .. } => None,
        }
    }

    /// Reads one. `site` is what a draw is about that does not name its site.
    pub(super) fn read(reader: &mut Reader<'_>, site: Option<&str>) -> Read<Self> {
        if let Some((named, entity)) = draw_ahead(reader, site) {
            let ordinal = reader.number("the number of the draw, 0 for the first")?;
            return Ok(Self::Draw { site: named, entity, ordinal });
        }
        let flow = FlowName::read(reader)?;
        if reader.next("@") {
            return Ok(Self::Stream { flow, offset: reader.number("an offset in the stream")? });
        }
        let start = *reader;
        let word = reader.word();
        if let Some(&class) = SegmentClass::ALL.iter().find(|class| class.name() == word) {
            let opens = matches!(class, SegmentClass::Syn | SegmentClass::SynAck);
            let number_follows = reader.peek().starts_with(|c: char| c.is_ascii_digit());
            let offset = if opens && (!number_follows || ordinal(reader.peek()).is_some()) {
                0
            } else {
                reader.number("an offset, counted from the initial sequence number")?
            };
            let transmission = read_ordinal(reader);
            return Ok(Self::Segment { flow, class, offset, transmission });
        }
        match word {
            "ack" => {
                let offset = reader.number("the offset that it acknowledges")?;
                Ok(Self::Ack { flow, offset, occurrence: read_ordinal(reader) })
            }
            "dgram" => {
                let payload = reader.number("the hash of the datagram's data")?;
                Ok(Self::Datagram { flow, payload, occurrence: read_ordinal(reader) })
            }
            _ => {
                let words = ["syn", "syn-ack", "data", "fin", "rst", "ack", "dgram", "@offset"];
                Err(start.expected_one_of("which packet of the flow", &words))
            }
        }
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { flow, class, offset, transmission } => {
                write!(f, "{flow} {}", class.name())?;
                if *offset != 0 || !matches!(class, SegmentClass::Syn | SegmentClass::SynAck) {
                    write!(f, " {offset}")?;
                }
                write_ordinal(f, *transmission)
            }
            Self::Ack { flow, offset, occurrence } => {
                write!(f, "{flow} ack {offset}")?;
                write_ordinal(f, *occurrence)
            }
            Self::Stream { flow, offset } => write!(f, "{flow} @{offset}"),
            Self::Datagram { flow, payload, occurrence } => {
                write!(f, "{flow} dgram {payload:#018x}")?;
                write_ordinal(f, *occurrence)
            }
            Self::Draw { site, entity, ordinal } => {
                let word = |word: &str| text(word, word != DRAW).to_string();
                write!(f, "{} {} {DRAW} {ordinal}", word(site), word(entity))
            }
        }
    }
}

/// The word before the number of a draw.
const DRAW: &str = "nr";

/// An entity of a draw as text.
pub(super) fn entity(name: &str) -> impl fmt::Display {
    text(name, name != DRAW)
}

/// Reads site and entity of a draw, if that is what comes.
fn draw_ahead(reader: &mut Reader<'_>, default: Option<&str>) -> Option<(String, String)> {
    let mut ahead = *reader;
    let first = ahead.text("a site").ok()?;
    let found = match default {
        Some(site) if ahead.keyword(DRAW) => (site.to_owned(), first),
        _ => {
            let second = ahead.text("an entity").ok()?;
            ahead.keyword(DRAW).then_some((first, second))?
        }
    };
    *reader = ahead;
    Some(found)
}

/// The number in `1st`, `2nd`, `3rd`, `4th`, ..
fn ordinal(word: &str) -> Option<u32> {
    let suffix = ["st", "nd", "rd", "th"].iter().find_map(|suffix| word.strip_suffix(suffix));
    suffix?.parse().ok()
}

/// Reads an ordinal, or takes the first to be meant.
fn read_ordinal(reader: &mut Reader<'_>) -> u32 {
    let Some(number) = ordinal(reader.peek()) else {
        return 1;
    };
    reader.word();
    number
}

fn write_ordinal(f: &mut fmt::Formatter<'_>, number: u32) -> fmt::Result {
    let suffix = match (number % 10, number % 100) {
        _ if number == 1 => return Ok(()),
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    write!(f, " {number}{suffix}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::flow::Flow;

    #[test]
    fn a_flow_has_the_name_and_the_entity_of_the_trace() {
        let hosts = ["control", "client", "odd name"].map(Arc::from);
        let plain = Flow::new((1, 3), (1, 7000), 10, false);
        let name: FlowName = plain.name(&hosts).to_string().parse().unwrap();
        assert_eq!(name.to_string(), plain.name(&hosts).to_string());
        assert_eq!(name.entity(), plain.entity(&hosts));
        let odd = Flow::new((2, 1), (u32::MAX, 53), 1, true).reversed();
        let name: FlowName = "\"odd name\"@1<-?:53/udp#1".parse().unwrap();
        assert_eq!(name.entity(), odd.entity(&hosts));
    }

    #[test]
    fn the_first_is_not_counted_and_the_others_are_counted_in_english() {
        let said = |number| fmt::from_fn(move |f| write_ordinal(f, number)).to_string();
        let told = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111, 113].map(said);
        let wanted = [
            "", " 2nd", " 3rd", " 4th", " 11th", " 12th", " 13th", " 21st", " 102nd", " 111th",
            " 113th",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_flow_that_is_none_is_told_where_and_how() {
        let said = |text: &str| text.parse::<FlowName>().unwrap_err().to_string();
        assert_eq!(
            said("client→server:7000#2"),
            "line 1, column 7: expected @ and the incarnation of the host, found \
             \"→server:7000#2\"; a flow is written client@1→server:7000#2"
        );
        assert!(said("client@1→server:70000#2").contains("column 17: expected a port"));
        assert!(said("client@1→server:7000#2 data").contains("the end of the name"));
    }
}
