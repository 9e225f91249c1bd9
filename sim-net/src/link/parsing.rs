//! Links from text. The grammar is that of [`Link`]'s documentation.

use std::str::FromStr;
use std::time::Duration;

use super::{Corruption, Latency, Link, LinkError, Loss, Order, Oversize, Probability, Rate};

/// What is wrong with a value.
type Problem = String;

/// A unit: its name, and the decimal exponent of it in terms of the smallest one.
pub(super) type Unit = (&'static str, u32);

pub(super) const TIMES: [Unit; 4] = [("s", 9), ("ms", 6), ("us", 3), ("ns", 0)];
/// The units of time that are read and not printed, in seconds.
const LONG_TIMES: [(&str, u128); 2] = [("h", 3_600), ("m", 60)];
pub(super) const RATES: [Unit; 4] = [("Gbit", 9), ("Mbit", 6), ("kbit", 3), ("bit", 0)];

/// The parts of `text`: each with the place where it begins, in characters from 1 on. Commas within
/// parentheses separate nothing.
fn parts(text: &str, first_place: usize) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let (mut depth, mut start, mut place) = (0_usize, 0, first_place);
    for (count, (index, c)) in text.char_indices().enumerate() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push((place, &text[start..index]));
                (start, place) = (index + 1, first_place + count + 1);
            }
            _ => {}
        }
    }
    parts.push((place, &text[start..]));
    for (place, part) in &mut parts {
        *place += part.chars().take_while(|c| c.is_whitespace()).count();
        *part = part.trim();
    }
    parts
}

/// The names of parts, in the order in which they are printed.
const NAMES: [&str; 10] =
    ["latency", "loss", "rate", "burst", "queue", "dup", "corrupt", "reorder", "mtu", "order"];

/// Parses a link whose text begins at character `first_place` of a larger one.
pub(super) fn parse(text: &str, first_place: usize) -> Result<Link, LinkError> {
    let mut values: [Option<(usize, &str, &str)>; NAMES.len()] = [None; NAMES.len()];
    for (place, part) in parts(text, first_place) {
        let error =
            |problem: String| Err(LinkError::Text { place, part: part.to_owned(), problem });
        let Some((name, value)) = part.split_once('=') else {
            return error(format!("write it as name=value; the names are {}", NAMES.join(", ")));
        };
        let Some(index) = NAMES.iter().position(|known| *known == name.trim()) else {
            let name = name.trim();
            return error(format!("no part is called {name:?}; there are {}", NAMES.join(", ")));
        };
        if values[index].is_some() {
            return error(format!("{} is given twice: leave one out", NAMES[index]));
        }
        values[index] = Some((place, part, value.trim()));
    }
    let mut link = Link::default();
    for (name, given) in NAMES.into_iter().zip(values) {
        if let Some((place, part, value)) = given {
            set(&mut link, name, value).map_err(|problem| LinkError::Text {
                place,
                part: part.to_owned(),
                problem,
            })?;
        }
    }
    Ok(link)
}

/// Sets a part. Those of `NAMES` come in its order, so that the rate is there before its queue.
fn set(link: &mut Link, name: &str, value: &str) -> Result<(), Problem> {
    match name {
        "latency" => link.latency = latency(value)?,
        "loss" => link.loss = loss(value)?,
        "rate" => {
            let bits = with_unit(value, &RATES, "a rate, such as 10Mbit")?;
            link.rate = Some(Rate::bits_per_second(bits).map_err(LinkError::problem)?);
        }
        "burst" => {
            let rate = link.rate.ok_or("a burst needs a rate: add rate=..")?;
            link.rate = Some(rate.burst(bytes(value)?));
        }
        "queue" => {
            let rate = link.rate.ok_or("a queue needs a rate: add rate=..")?;
            link.rate = Some(queue(rate, value)?);
        }
        "dup" => link.duplicate = probability(value)?,
        "corrupt" => {
            let (probability_text, how) = split_option(value);
            let delivers = match how {
                None => false,
                Some("deliver") => true,
                Some(how) => return Err(format!("{how:?}: write /deliver or nothing")),
            };
            link.corruption = Corruption { probability: probability(probability_text)?, delivers };
        }
        "reorder" => {
            let (probability_text, packets) = split_option(value);
            let packets = packets.map_or(Ok(1), |text| number(text, "a number of packets"))?;
            let reordered = link.clone().reorder(probability(probability_text)?, packets);
            *link = reordered.map_err(LinkError::problem)?;
        }
        "mtu" => {
            let (bytes, how) = split_option(value);
            let oversize = match how {
                None => Oversize::Report,
                Some("silent") => Oversize::Silent,
                Some("refuse") => Oversize::Refuse,
                Some(how) => return Err(format!("{how:?}: write /silent, /refuse or nothing")),
            };
            let bytes = number(bytes, "a number of bytes")?;
            *link = link.clone().mtu(bytes, oversize).map_err(LinkError::problem)?;
        }
        _ => {
            link.order = match value {
                "tcp" => Order::Tcp,
                "fifo" => Order::Fifo,
                "free" => Order::Free,
                _ => return Err("the orders are tcp, fifo and free".to_owned()),
            };
        }
    }
    Ok(())
}

/// `value/option`.
fn split_option(text: &str) -> (&str, Option<&str>) {
    text.split_once('/').map_or((text, None), |(value, option)| (value.trim(), Some(option.trim())))
}

/// `name(a,b,..)`: the name and what is in the parentheses.
fn call(text: &str) -> Option<(&str, Vec<&str>)> {
    let (name, rest) = text.split_once('(')?;
    let inside = rest.strip_suffix(')')?;
    Some((name.trim(), inside.split(',').map(str::trim).collect()))
}

fn latency(text: &str) -> Result<Latency, Problem> {
    if let Some((from, to)) = text.split_once("..") {
        let (from, to) = (duration(from)?, duration(to)?);
        if from >= to {
            return Err(format!("the range {text} is empty: its end must lie above its start"));
        }
        return Ok(Latency::from(from..to));
    }
    let Some((name, arguments)) = call(text) else {
        return duration(text).map(Latency::from);
    };
    let latency = match (name, &*arguments) {
        ("exp", [least, mean]) => {
            let mean = mean.strip_prefix('+').ok_or("write exp(20ms,+5ms): least, then + mean")?;
            Ok(Latency::exponential(duration(least)?, duration(mean)?))
        }
        ("lognormal", [median, p99]) => {
            let p99 = p99.strip_prefix("p99=").ok_or("write lognormal(20ms,p99=200ms)")?;
            Latency::log_normal(duration(median)?, duration(p99)?)
        }
        ("pareto", [least, alpha, cap]) => {
            let form = "write pareto(20ms,alpha=1.5,cap=2s)";
            let alpha = alpha.strip_prefix("alpha=").ok_or(form)?;
            let cap = cap.strip_prefix("cap=").ok_or(form)?;
            Latency::pareto_thousandths(duration(least)?, thousandths(alpha)?, duration(cap)?)
        }
        ("table", delays) => {
            Latency::table(delays.iter().map(|text| duration(text)).collect::<Result<Vec<_>, _>>()?)
        }
        _ => {
            return Err("the delays are 20ms, 20ms..80ms, exp(20ms,+5ms), \
                        lognormal(20ms,p99=200ms), pareto(20ms,alpha=1.5,cap=2s) and \
                        table(18ms,20ms,35ms)"
                .to_owned());
        }
    };
    latency.map_err(LinkError::problem)
}

fn loss(text: &str) -> Result<Loss, Problem> {
    if let Some((list, others)) = text.rsplit_once('+')
        && list.starts_with("packets")
        && list.trim_end().ends_with(')')
    {
        return Ok(loss(list.trim_end())?.with_chance(probability(others.trim())?));
    }
    let Some((name, arguments)) = call(text) else {
        return probability(text).map(Loss::from);
    };
    match (name, &*arguments) {
        ("burst", [mean, burst]) => {
            Loss::burst_thousandths(probability(mean)?, thousandths(burst)?)
                .map_err(LinkError::problem)
        }
        ("packets", [""]) => Ok(Loss::packets([])),
        ("packets", numbers) => {
            let numbers = numbers.iter().map(|text| number(text, "the number of a packet"));
            Ok(Loss::packets(numbers.collect::<Result<Vec<u64>, _>>()?))
        }
        _ => Err("the losses are 5%, burst(5%,4), packets(17,42) and packets(17,42)+5%".to_owned()),
    }
}

fn queue(rate: Rate, text: &str) -> Result<Rate, Problem> {
    let is_bytes = |text: &str| text.ends_with('B');
    let (packets, bytes_text) = match split_option(text) {
        (packets, Some(bytes)) => (Some(packets), Some(bytes)),
        (bytes, None) if is_bytes(bytes) => (None, Some(bytes)),
        (packets, None) => (Some(packets), None),
    };
    let mut rate = rate;
    if let Some(packets) = packets {
        let packets = number(packets, "a number of packets, or of bytes with a unit")?;
        rate = rate.queue_packets(packets).map_err(LinkError::problem)?;
    }
    if let Some(text) = bytes_text {
        rate = rate.queue_bytes(bytes(text)?).map_err(LinkError::problem)?;
    }
    Ok(rate)
}

fn probability(text: &str) -> Result<Probability, Problem> {
    let billionths = match text.strip_suffix('%') {
        Some(percent) => decimal(percent, 7),
        None => decimal(text, 9),
    };
    let problem = || {
        format!("{text:?} is no probability: write 5% or 0.05, with at most 9 digits after the 0")
    };
    let billionths = billionths.ok_or_else(problem)?;
    let known = u32::try_from(billionths).ok().and_then(|b| Probability::billionths(b).ok());
    known.ok_or_else(|| format!("a probability of {text}: it is at most 1, or 100%"))
}

fn duration(text: &str) -> Result<Duration, Problem> {
    let text = text.trim();
    let long = LONG_TIMES.iter().find_map(|&(unit, seconds)| {
        let nanos = decimal(text.strip_suffix(unit)?.trim(), 9)? * seconds;
        u64::try_from(nanos).ok()
    });
    let nanos = long.or_else(|| in_units(text, &TIMES)).ok_or_else(|| {
        let units = LONG_TIMES.iter().map(|(name, _)| *name).chain(TIMES.iter().map(|it| it.0));
        not_in_units(text, units, "a time, such as 20ms or 1.5s")
    })?;
    Ok(Duration::from_nanos(nanos))
}

fn bytes(text: &str) -> Result<u64, Problem> {
    let binary = [("KiB", 10), ("MiB", 20)].iter().find_map(|&(unit, shift)| {
        let count: u64 = text.strip_suffix(unit)?.trim().parse().ok()?;
        count.checked_mul(1 << shift)
    });
    match binary {
        Some(bytes) => Ok(bytes),
        None => with_unit(text, &[("kB", 3), ("MB", 6), ("B", 0)], "a size, such as 64kB or 1MiB"),
    }
}

fn thousandths(text: &str) -> Result<u32, Problem> {
    let value = decimal(text, 3).and_then(|value| u32::try_from(value).ok());
    value.ok_or_else(|| {
        format!("{text:?} is no number with at most three digits behind the decimal point")
    })
}

fn number<T: FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| format!("{text:?} is not {what}"))
}

/// A decimal number with a unit, in terms of the smallest one.
fn with_unit(text: &str, units: &[Unit], what: &str) -> Result<u64, Problem> {
    let names = units.iter().map(|(name, _)| *name);
    in_units(text, units).ok_or_else(|| not_in_units(text, names, what))
}

fn in_units(text: &str, units: &[Unit]) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = &text[digits.len()..];
    let unit = if unit == "µs" { "us" } else { unit };
    let &(_, exponent) = units.iter().find(|(name, _)| *name == unit)?;
    u64::try_from(decimal(digits.trim(), exponent)?).ok()
}

fn not_in_units<'a>(text: &str, names: impl Iterator<Item = &'a str>, what: &str) -> Problem {
    let names: Vec<&str> = names.collect();
    format!("{text:?} is not {what}; the units are {}", names.join(", "))
}

/// `text` times 10 to the `exponent`, if that is a whole number that is not negative.
fn decimal(text: &str, exponent: u32) -> Option<u128> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let part = part.trim_end_matches('0');
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let missing = exponent.checked_sub(u32::try_from(part.len()).ok()?)?;
    if whole.is_empty() || whole.len() > 20 || !is_number(whole) || !is_number(part) {
        return None;
    }
    let part = if part.is_empty() { 0 } else { part.parse::<u128>().ok()? };
    Some(whole.parse::<u128>().ok()? * 10_u128.pow(exponent) + part * 10_u128.pow(missing))
}

impl FromStr for Link {
    type Err = LinkError;

    /// Parses the [text form](Link#text).
    fn from_str(text: &str) -> Result<Self, LinkError> {
        parse(text, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_mean_what_they_say() {
        let ms = Duration::from_millis;
        let same = [
            ("latency=20ms..80ms", Link::default().latency(ms(20)..ms(80))),
            ("latency=0.0205s", Link::default().latency(Duration::from_micros(20_500))),
            (" latency = 3µs ", Link::default().latency(Duration::from_micros(3))),
            ("latency=5m..1.5h", Link::default().latency(ms(300_000)..ms(5_400_000))),
            ("latency=exp(20ms, +5ms)", {
                Link::default().latency(Latency::exponential(ms(20), ms(5)))
            }),
            ("latency=pareto(20ms,alpha=1.5,cap=2s)", {
                Link::default().latency(Latency::pareto(ms(20), 1.5, ms(2_000)).unwrap())
            }),
            ("loss=0.05", Link::default().loss(Probability::percent(5).unwrap())),
            ("loss=burst(5%,4.5)", {
                let five = Probability::percent(5).unwrap();
                Link::default().loss(Loss::burst(five, 4.5).unwrap())
            }),
            ("queue=10/64KiB,burst=1.5kB,rate=2.5Mbit", {
                let rate = Rate::bits_per_second(2_500_000).unwrap().burst(1_500);
                let rate = rate.queue_packets(10).unwrap().queue_bytes(65_536).unwrap();
                Link::default().rate(rate)
            }),
            ("reorder=2%/3", Link::default().reorder(Probability::percent(2).unwrap(), 3).unwrap()),
        ];
        for (text, link) in same {
            assert_eq!(text.parse(), Ok(link), "{text}");
        }
    }

    #[test]
    fn errors_name_the_part_its_place_and_a_remedy() {
        let errors = [
            ("", r#""" at character 1: write it as name=value"#),
            ("loss", r#""loss" at character 1: write it as name=value"#),
            ("loss=5%,lag=3ms", r#""lag=3ms" at character 9: no part is called "lag"; there are"#),
            ("loss=5%, loss=6%", r#""loss=6%" at character 10: loss is given twice"#),
            ("loss=150%", "it is at most 1, or 100%"),
            ("loss=-5%", r#""-5%" is no probability"#),
            ("loss=burst(90%,2)", "the mean burst must be at least 9.000 packets"),
            ("loss=burst(5%,0.5)", "lies between 1 and a million"),
            ("latency=-3ms", r#""-3ms" is not a time"#),
            ("latency=20", "the units are h, m, s, ms, us, ns"),
            ("latency=99999999h", r#""99999999h" is not a time"#),
            ("latency=80ms..20ms", "is empty: its end must lie above its start"),
            ("latency=lognormal(20ms,p99=10ms)", "the percentile above the median"),
            ("latency=normal(20ms)", "the delays are"),
            ("rate=0bit", "a rate of 0 would keep every packet for ever"),
            ("rate=10", "the units are Gbit, Mbit, kbit, bit"),
            ("queue=100", "a queue needs a rate: add rate=.."),
            ("rate=1Mbit,queue=0", "passes nothing"),
            ("burst=3kB", "a burst needs a rate"),
            ("reorder=1%/0", "it is at least 1"),
            ("mtu=20", "it is at least 128"),
            ("mtu=1400/loud", "write /silent, /refuse or nothing"),
            ("corrupt=1%/hidden", "write /deliver or nothing"),
            ("order=lifo", "the orders are tcp, fifo and free"),
        ];
        for (text, told) in errors {
            let error = text.parse::<Link>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
