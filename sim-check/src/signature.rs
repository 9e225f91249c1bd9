//! What makes two failures the same: what kind, where, and what the text says without its numbers.

use std::fmt;

use sim_net::{Finding, FindingKind};

/// What a failure is known by. Two runs with one signature found one thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signature(String);

impl Signature {
    /// The signature of a finding; `place` is where its panic happened, if it was one.
    ///
    /// A property is known by its name, a panic by its place, anything else by its message. A place in the standard
    /// library is everybody's, and another with each compiler: there it is the file and the message. Numbers
    /// are left out of messages, since they change from run to run: `two leaders in term 3` is the
    /// same as `two leaders in term 17`. So are all lines of a failure but the first, which tell who and when.
    pub(crate) fn of(finding: &Finding, place: Option<&str>) -> Self {
        let message = &finding.message;
        Self(match (finding.kind, place) {
            (FindingKind::Property, _) => {
                let name = message.split_once(": ").map_or(message.as_str(), |(name, _)| name);
                format!("property {}", without_numbers(name))
            }
            (FindingKind::Panic, Some(place)) => match file_in_std(place) {
                Some(file) => {
                    let says = message.lines().next().unwrap_or_default();
                    format!("panic in {file}: {}", without_numbers(says))
                }
                None => format!("panic at {place}"),
            },
            (FindingKind::Panic, None) => format!("panic {}", without_numbers(message)),
            (FindingKind::Deadlock, _) => format!("deadlock {}", without_numbers(message)),
            (FindingKind::Limit, _) => format!("limit {}", without_numbers(message)),
            (FindingKind::Leftover, _) => {
                let kinds = message.lines().next().unwrap_or_default();
                format!("leftovers {}", without_numbers(kinds))
            }
            (_, _) => {
                let claim = message.lines().next().unwrap_or_default();
                format!("failure {}", without_numbers(claim))
            }
        })
    }

    /// That of a seed that failed once and passed once.
    pub(crate) fn nondeterminism() -> Self {
        Self("two runs differ".to_owned())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The file of the standard library that a place is in, from `library/` on, if it is in one.
fn file_in_std(place: &str) -> Option<&str> {
    // As compilers name it, and where its sources are installed.
    let (_, behind) = match place.strip_prefix("/rustc/") {
        Some(behind) => behind.split_once('/')?,
        None => place.split_once("/lib/rustlib/src/rust/")?,
    };
    behind.split(':').next()
}

/// The text with a `#` for each number in it, hexadecimal and fractions included. Digits in a name, as in
/// `n1` or `tcp4`, stay.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_word = false;
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() && !in_word {
            let in_number = |c: &char| c.is_ascii_hexdigit() || *c == 'x' || *c == '_';
            loop {
                while chars.next_if(in_number).is_some() {}
                // A fraction, unless the dot ends a sentence.
                let mut ahead = chars.clone();
                let is_fraction = ahead.next_if_eq(&'.').is_some()
                    && ahead.next_if(char::is_ascii_digit).is_some();
                if !is_fraction {
                    break;
                }
                chars = ahead;
            }
            out.push('#');
            in_word = true;
        } else {
            in_word = c.is_alphanumeric() || c == '_';
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use sim_core::Time;

    use super::*;

    #[test]
    fn numbers_are_left_out_and_names_are_not() {
        for (text, expected) in [
            ("two leaders in term 3", "two leaders in term #"),
            ("n1 sent 0x1f3a bytes, 17.", "n1 sent # bytes, #."),
            ("1.5 s late", "# s late"),
            ("4.213s late", "#s late"),
            ("client@1→server:7000#2", "client@#→server:###"),
            ("", ""),
            ("99", "#"),
        ] {
            assert_eq!(without_numbers(text), expected);
        }
    }

    #[test]
    fn a_property_goes_by_its_name_and_a_panic_by_its_place() {
        let finding = |kind, message: &str| Finding {
            kind,
            message: message.to_owned(),
            host: "n1".to_owned(),
            time: Time::ZERO,
        };
        let of = |kind, message, place| Signature::of(&finding(kind, message), place).to_string();
        let property =
            of(FindingKind::Property, "one leader: n1 and n2 in term 4", Some("a.rs:1:2"));
        assert_eq!(property, "property one leader");
        assert_eq!(of(FindingKind::Panic, "index 7", Some("a.rs:1:2")), "panic at a.rs:1:2");
        let time =
            Some("/rustc/59807616e1fa2540724bfbac14d7976d7e4a3860/library/core/src/time.rs:7:9");
        let overflow = "panic in library/core/src/time.rs: overflow when adding durations";
        assert_eq!(of(FindingKind::Panic, "overflow when adding durations", time), overflow);
        let installed = Some("/x/lib/rustlib/src/rust/library/core/src/time.rs:8:1");
        assert_eq!(of(FindingKind::Panic, "overflow when adding durations", installed), overflow);
        let index = of(FindingKind::Panic, "index 7 of 3", time);
        assert_eq!(index, "panic in library/core/src/time.rs: index # of #");
        assert_eq!(of(FindingKind::Failure, "lost 7 of 9", None), "failure lost # of #");
        let lines = "one leader a term: two lead term 3\n  n1: leads term 3\n  n2: leads term 3";
        let expected = "failure one leader a term: two lead term #";
        assert_eq!(of(FindingKind::Failure, lines, None), expected);
        assert_eq!(of(FindingKind::Limit, "not done by 60s", None), "limit not done by #s");
    }
}
