//! Times, shifts and rates as text: exact, and as short as a person would write them.

use std::fmt;
use std::time::Duration;

use sim_core::Time;

/// Units of time, largest first: name, nanoseconds, and whether a fraction of it is printed.
const UNITS: [(&str, u128, bool); 6] = [
    ("h", 3_600_000_000_000, false),
    ("m", 60_000_000_000, false),
    ("s", 1_000_000_000, true),
    ("ms", 1_000_000, true),
    ("us", 1_000, true),
    ("ns", 1, true),
];

/// What a time should look like, for messages.
pub(super) const A_TIME: &str = "a time with its unit, such as 1.2s or 200ms";

/// A time as text: the shortest exact form, `1.2s` and not `1200ms`, but `200ms` and not `0.2s`.
pub(super) fn nanos(nanos: u128) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let mut shortest: Option<(usize, u128, u128, &str)> = None;
        for (name, unit, fractions) in UNITS {
            let (whole, rest) = (nanos / unit, nanos % unit);
            if whole == 0 || rest != 0 && !fractions {
                continue;
            }
            let mut length = name.len() + whole.ilog10() as usize + 1;
            if rest != 0 {
                let (digits, _) = fraction(rest, unit);
                length += 1 + digits;
            }
            // Of two forms of one length, the one with the larger unit.
            if shortest.is_none_or(|(least, ..)| length < least) {
                shortest = Some((length, whole, rest, name));
            }
        }
        let Some((_, whole, rest, name)) = shortest else {
            return f.write_str("0s");
        };
        write!(f, "{whole}")?;
        if rest != 0 {
            let unit = UNITS.iter().find(|unit| unit.0 == name).map_or(1, |unit| unit.1);
            let (digits, value) = fraction(rest, unit);
            write!(f, ".{value:0digits$}")?;
        }
        f.write_str(name)
    })
}

/// The digits behind the decimal point of `rest` units / `unit`, a power of ten: how many, and
/// their value.
fn fraction(rest: u128, unit: u128) -> (usize, u128) {
    let (mut digits, mut value) = (unit.ilog10() as usize, rest);
    while value.is_multiple_of(10) {
        (digits, value) = (digits - 1, value / 10);
    }
    (digits, value)
}

/// A duration as text.
pub(crate) fn duration(duration: Duration) -> impl fmt::Display {
    nanos(duration.as_nanos())
}

/// A moment as text.
pub(super) fn moment(time: Time) -> impl fmt::Display {
    nanos(u128::from(time.as_nanos()))
}

/// A shift of a clock in nanoseconds as text, with its sign.
pub(super) fn shift(value: i64) -> impl fmt::Display {
    let sign = if value < 0 { '-' } else { '+' };
    fmt::from_fn(move |f| write!(f, "{sign}{}", nanos(u128::from(value.unsigned_abs()))))
}

/// A rate in parts per billion as text, with its sign: `+40ppm`, `-1ppb`.
pub(super) fn rate(ppb: i64) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        if ppb % 1_000 == 0 { write!(f, "{:+}ppm", ppb / 1_000) } else { write!(f, "{ppb:+}ppb") }
    })
}

/// The nanoseconds that `text` stands for, or what should stand there.
pub(super) fn parse_nanos(text: &str) -> Result<u128, String> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, name) = text.split_at(digits_end);
    let name = if matches!(name, "µs" | "μs") { "us" } else { name };
    let Some(&(_, unit, _)) = UNITS.iter().find(|unit| unit.0 == name) else {
        return Err(A_TIME.to_owned());
    };
    scaled(number, unit)
}

/// A time of 64 bits.
pub(super) fn parse_time(text: &str) -> Result<Time, String> {
    let nanos = parse_nanos(text)?;
    let nanos = u64::try_from(nanos).map_err(|_| "a time of at most 584 years".to_owned())?;
    Ok(Time::from_nanos(nanos))
}

/// A duration.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let nanos = parse_nanos(text)?;
    let seconds = u64::try_from(nanos / 1_000_000_000);
    let seconds = seconds.map_err(|_| "a shorter time".to_owned())?;
    Ok(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// A shift of a clock: a time with its sign.
pub(super) fn parse_shift(text: &str) -> Result<i64, String> {
    let (negative, rest) = signed(text).ok_or("a time with its sign, such as +250ms or -3ms")?;
    with_sign(negative, parse_nanos(rest)?).ok_or_else(|| "a shift below 292 years".to_owned())
}

/// A rate with its sign, in parts per billion.
pub(super) fn parse_rate(text: &str) -> Result<i64, String> {
    let expected = "a rate with its sign, such as +40ppm or -500ppb";
    let (negative, rest) = signed(text).ok_or(expected)?;
    let (number, unit) = match (rest.strip_suffix("ppm"), rest.strip_suffix("ppb")) {
        (Some(number), _) => (number, 1_000),
        (_, Some(number)) => (number, 1),
        _ => return Err(expected.to_owned()),
    };
    with_sign(negative, scaled(number, unit)?).ok_or_else(|| "a rate of 64 bits".to_owned())
}

fn signed(text: &str) -> Option<(bool, &str)> {
    let plus = text.strip_prefix('+').map(|rest| (false, rest));
    plus.or_else(|| text.strip_prefix('-').map(|rest| (true, rest)))
}

fn with_sign(negative: bool, magnitude: u128) -> Option<i64> {
    let magnitude = i128::try_from(magnitude).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// `number · unit`, where `number` is a decimal one and the product is whole.
fn scaled(number: &str, unit: u128) -> Result<u128, String> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || number.contains('.') && !is_number(fraction) {
        return Err(format!("a decimal number, and not {number:?}"));
    }
    let too_large = || "a smaller number".to_owned();
    let whole: u128 = whole.parse().map_err(|_| too_large())?;
    let mut result = whole.checked_mul(unit).ok_or_else(too_large)?;
    let mut place = unit;
    for digit in fraction.trim_end_matches('0').bytes().map(|byte| u128::from(byte - b'0')) {
        let tenths = place * digit;
        if !tenths.is_multiple_of(10) || place == 0 {
            return Err("a whole number of the smallest unit".to_owned());
        }
        result = result.checked_add(tenths / 10).ok_or_else(too_large)?;
        // Of 36 · 10ⁿ a fifth is whole, where a tenth is not; what is behind that digit is not.
        place = if place.is_multiple_of(10) { place / 10 } else { 0 };
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_time_is_printed_in_its_shortest_form() {
        for (value, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5us"),
            (37_000_000, "37ms"),
            (200_000_000, "200ms"),
            (1_200_000_000, "1.2s"),
            (1_203_000_000, "1.203s"),
            (1_000_000_001, "1.000000001s"),
            (60_000_000_000, "1m"),
            (90_000_000_000, "90s"),
            (3_600_000_000_000, "1h"),
            (5_400_000_000_000, "90m"),
            (3_600_000_000_001, "3600.000000001s"),
        ] {
            assert_eq!(nanos(value).to_string(), text);
            assert_eq!(parse_nanos(text), Ok(value));
        }
        assert_eq!(shift(-250_000_000).to_string(), "-250ms");
        assert_eq!(
            (rate(40_000).to_string(), rate(-1).to_string()),
            ("+40ppm".into(), "-1ppb".into())
        );
    }

    #[test]
    fn a_person_may_write_other_forms() {
        for (text, value) in [
            ("0.2s", 200_000_000),
            ("1.50m", 90_000_000_000),
            ("0.5us", 500),
            ("2µs", 2_000),
            ("1.000h", 3_600_000_000_000),
            ("0.25m", 15_000_000_000),
            ("0.0001h", 360_000_000),
        ] {
            assert_eq!(parse_nanos(text), Ok(value), "{text}");
        }
        assert_eq!(parse_rate("+0.5ppm"), Ok(500));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in
            ["", "s", "1", "1.2", "1.s", ".5s", "1x", "1..2s", "0.3ns", "-1s", "1 s", "1e3s"]
        {
            assert!(parse_nanos(text).is_err(), "{text:?}");
        }
        assert!(parse_time("600000h").is_ok());
        assert!(parse_time("6000000h").is_err());
        assert!(parse_shift("3ms").is_err() && parse_rate("40ppm").is_err());
        assert!(parse_rate("+0.5ppb").is_err());
    }

    proptest! {
        #[test]
        fn printed_times_are_read_back(
            value in prop_oneof![any::<u64>(), 0..10_000_u64, (0..5_000_u64).prop_map(|ms| ms * 1_000_000)],
            signed in any::<i64>(),
        ) {
            let text = nanos(u128::from(value)).to_string();
            prop_assert_eq!(parse_nanos(&text), Ok(u128::from(value)));
            prop_assert_eq!(parse_shift(&shift(signed).to_string()), Ok(signed));
            prop_assert_eq!(parse_rate(&rate(signed).to_string()), Ok(signed));
        }
    }
}
