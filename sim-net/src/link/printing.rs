//! Links as text. The grammar is that of [`Link`]'s documentation.

use std::fmt;
use std::time::Duration;

use super::parsing::{RATES, TIMES, Unit};
use super::rate::QUEUE_PACKETS;
use super::{Latency, Link, Loss, Mtu, Order, Oversize, Probability, Rate, delay, loss};

/// A number in the largest unit in which it is whole.
fn in_unit(value: u64, units: &'static [Unit]) -> impl fmt::Display {
    let fits = |&&(_, exponent): &&Unit| value.is_multiple_of(10_u64.pow(exponent));
    let (name, exponent) = match units.iter().find(fits) {
        Some(&unit) if value > 0 => unit,
        _ => units[units.len() - 1],
    };
    fmt::from_fn(move |f| write!(f, "{}{name}", value / 10_u64.pow(exponent)))
}

fn time(duration: Duration) -> impl fmt::Display {
    in_unit(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), &TIMES)
}

fn size(bytes: u64) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let units = [("MiB", 1 << 20), ("MB", 1_000_000), ("KiB", 1 << 10), ("kB", 1_000)];
        let unit = units.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
        let &(name, unit) = unit.unwrap_or(&("B", 1));
        write!(f, "{}{name}", bytes / unit)
    })
}

/// `value` / 10^`digits`, without zeros at its end.
fn fraction(value: u32, digits: usize) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let unit = 10_u32.pow(digits as u32);
        let part = format!("{:0digits$}", value % unit);
        match part.trim_end_matches('0') {
            "" => write!(f, "{}", value / unit),
            part => write!(f, "{}.{part}", value / unit),
        }
    })
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", fraction(self.as_billionths(), 7))
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use delay::Model;
        match &self.0 {
            Model::Constant(delay) => write!(f, "{}", time(*delay)),
            Model::Uniform { least, spread } => {
                write!(f, "{}..{}", time(*least), time(*least + Duration::from_nanos(*spread)))
            }
            Model::Exponential { least, mean } => {
                write!(f, "exp({},+{})", time(*least), time(*mean))
            }
            Model::LogNormal { median, p99 } => {
                write!(f, "lognormal({},p99={})", time(*median), time(*p99))
            }
            Model::Pareto { least, alpha, cap } => {
                let alpha = fraction(*alpha, 3);
                write!(f, "pareto({},alpha={alpha},cap={})", time(*least), time(*cap))
            }
            Model::Table(delays) => list(f, "table", delays.iter().map(|delay| time(*delay))),
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use loss::Model;
        match &self.0 {
            Model::Each(loss) => loss.fmt(f),
            Model::Burst { mean, burst } => write!(f, "burst({mean},{})", fraction(*burst, 3)),
            Model::Packets { numbers, others } => {
                list(f, "packets", numbers.iter())?;
                if others.is_never() { Ok(()) } else { write!(f, "+{others}") }
            }
        }
    }
}

fn list(
    f: &mut fmt::Formatter<'_>,
    name: &str,
    items: impl Iterator<Item = impl fmt::Display>,
) -> fmt::Result {
    write!(f, "{name}(")?;
    for (index, item) in items.enumerate() {
        let comma = if index == 0 { "" } else { "," };
        write!(f, "{comma}{item}")?;
    }
    f.write_str(")")
}

impl fmt::Display for Rate {
    /// The parts `rate`, `burst` and `queue` of a link's text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rate={}", in_unit(self.bits, &RATES))?;
        if self.burst > 0 {
            write!(f, ",burst={}", size(self.burst))?;
        }
        match (self.queue_packets, self.queue_bytes) {
            (QUEUE_PACKETS, None) => Ok(()),
            (QUEUE_PACKETS, Some(bytes)) => write!(f, ",queue={}", size(bytes)),
            (packets, None) => write!(f, ",queue={packets}"),
            (packets, Some(bytes)) => write!(f, ",queue={packets}/{}", size(bytes)),
        }
    }
}

impl fmt::Display for Link {
    /// The [text form](Link#text): what differs from the default, or the latency if nothing does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = Vec::new();
        let base = Self::default();
        if self.latency != base.latency || *self == base {
            parts.push(format!("latency={}", self.latency));
        }
        if self.loss != base.loss {
            parts.push(format!("loss={}", self.loss));
        }
        if let Some(rate) = &self.rate {
            parts.push(rate.to_string());
        }
        if self.duplicate != base.duplicate {
            parts.push(format!("dup={}", self.duplicate));
        }
        if self.corruption != base.corruption {
            let how = if self.corruption.delivers { "/deliver" } else { "" };
            parts.push(format!("corrupt={}{how}", self.corruption.probability));
        }
        if self.reorder != base.reorder {
            let packets = self.reorder.packets;
            let packets = if packets == 1 { String::new() } else { format!("/{packets}") };
            parts.push(format!("reorder={}{packets}", self.reorder.probability));
        }
        if let Some(Mtu { bytes, oversize }) = self.mtu {
            let how = match oversize {
                Oversize::Report => "",
                Oversize::Silent => "/silent",
                Oversize::Refuse => "/refuse",
            };
            parts.push(format!("mtu={bytes}{how}"));
        }
        match self.order {
            Order::Tcp => {}
            Order::Fifo => parts.push("order=fifo".to_owned()),
            Order::Free => parts.push("order=free".to_owned()),
        }
        f.write_str(&parts.join(","))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::link::Corruption;

    pub(in crate::link) fn links() -> impl Strategy<Value = Link> {
        (latencies(), losses(), rates(), faults()).prop_map(|(latency, loss, rate, faults)| Link {
            latency,
            loss,
            rate,
            ..faults
        })
    }

    fn probabilities() -> impl Strategy<Value = Probability> {
        prop_oneof![
            Just(Probability::NEVER),
            Just(Probability::ALWAYS),
            (0..=100_u32).prop_map(|percent| Probability::percent(percent).unwrap()),
            (0..=1_000_000_000_u32).prop_map(|b| Probability::billionths(b).unwrap()),
        ]
    }

    fn durations() -> impl Strategy<Value = Duration> {
        (1_u64..100_000, prop::sample::select(vec![1, 1_000, 1_000_000, 1_000_000_000]))
            .prop_map(|(count, unit)| Duration::from_nanos(count * unit))
    }

    fn latencies() -> impl Strategy<Value = Latency> {
        let pair = || (durations(), durations());
        prop_oneof![
            durations().prop_map(Latency::from),
            Just(Latency::from(Duration::ZERO)),
            pair().prop_map(|(least, spread)| Latency::from(least..least + spread)),
            pair().prop_map(|(least, mean)| Latency::exponential(least, mean)),
            pair().prop_map(|(median, more)| Latency::log_normal(median, median + more).unwrap()),
            (pair(), 1_u32..1_000_000).prop_map(|((least, more), alpha)| {
                Latency::pareto_thousandths(least, alpha, least + more).unwrap()
            }),
            prop::collection::vec(durations(), 1..5).prop_map(|all| Latency::table(all).unwrap()),
        ]
    }

    fn losses() -> impl Strategy<Value = Loss> {
        prop_oneof![
            probabilities().prop_map(Loss::from),
            (probabilities(), 1_000_u32..1_000_000)
                .prop_filter_map("a chain that exists", |(mean, burst)| {
                    Loss::burst_thousandths(mean, burst).ok()
                }),
            (prop::collection::vec(1_u64..10_000, 0..5), prop::option::of(probabilities()))
                .prop_map(|(numbers, others)| {
                    let list = Loss::packets(numbers);
                    others.map_or(list.clone(), |others| list.with_chance(others))
                }),
        ]
    }

    fn rates() -> impl Strategy<Value = Option<Rate>> {
        let rate = (1_u64.., 0_u64..3_000_000, 1_u32..2_000, prop::option::of(64_u64..1 << 40));
        prop::option::of(rate.prop_map(|(bits, burst, packets, bytes)| {
            let rate = Rate::bits_per_second(bits).unwrap().burst(burst);
            let rate = rate.queue_packets(packets).unwrap();
            bytes.map_or(rate, |bytes| rate.queue_bytes(bytes).unwrap())
        }))
    }

    fn faults() -> impl Strategy<Value = Link> {
        let oversize =
            prop::sample::select(vec![Oversize::Report, Oversize::Silent, Oversize::Refuse]);
        let order = prop::sample::select(vec![Order::Tcp, Order::Fifo, Order::Free]);
        let mtu = prop::option::of((128_u32..=65_536, oversize));
        let corruption = (probabilities(), any::<bool>());
        let reorder = (probabilities(), 1_u32..=1_000);
        (probabilities(), corruption, reorder, mtu, order).prop_map(
            |(duplicate, (probability, delivers), (reordered, packets), mtu, order)| {
                let link = Link::default().duplicate(duplicate).order(order);
                let link = link.corrupt(Corruption { probability, delivers });
                let link = link.reorder(reordered, packets).unwrap();
                mtu.map_or(link.clone(), |(bytes, how)| link.mtu(bytes, how).unwrap())
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same_link(link in links()) {
            let text = link.to_string();
            prop_assert_eq!(text.parse::<Link>(), Ok(link), "{}", text);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a-z=(),.%/0-9+ µ]{0,60}") {
            let _ = text.parse::<Link>();
        }
    }
}
