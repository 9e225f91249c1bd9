//! What makes two failures the same: what kind, where, and what the text says without its numbers.

use std::collections::BTreeSet;
use std::fmt;

use sim_net::{Finding, FindingKind};

/// How long an item of a list may be that is looked for beside itself, in bytes.
const ITEM_MAX: usize = 100;

/// What a failure is known by. Two runs with one signature found one thing.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Signature(String);

impl Signature {
    /// The signature of a finding; `place` is where its panic happened, if it was one.
    ///
    /// A property is known by its name, a panic by its place, a limit by its name, anything else by its message. A place
    /// in the standard library is everybody's, and another with each compiler: there it is the file and the message.
    /// Of a message it is the gist of the first line: those behind it tell who and when. Numbers are left out,
    /// since they change from run to run, with their signs, and equal neighbours in a list are one: `two leaders in term 3`
    /// is the same as `two leaders in term 17`, and `lost [4, 7, 9]` as `lost [3]`.
    ///
    /// A deadlock has nothing but the tasks that wait: which ones do is what tells one from another, and how many of a
    /// kind is not. So it is the set of their hosts and names without any number, those in words included:
    /// `worker-1` and `worker-4`, `n1` and `n3` are one. Where a task of another name is stuck, it is another deadlock.
    pub(crate) fn of(finding: &Finding, place: Option<&str>) -> Self {
        let message = &finding.message;
        let claim = || gist(message.lines().next().unwrap_or_default());
        Self(match (finding.kind, place) {
            (FindingKind::Property, _) => match finding.property {
                Some(property) => format!("property {}", property.name),
                None => format!("property {}", claim()),
            },
            (FindingKind::Panic, Some(place)) => match file_in_std(place) {
                Some(file) => format!("panic in {file}: {}", claim()),
                None => format!("panic at {place}"),
            },
            (FindingKind::Panic, None) => format!("panic {}", claim()),
            (FindingKind::Deadlock, _) => format!("deadlock {}", kinds_of_tasks(message)),
            // Its bound may be another with each seed, and so its unit.
            (FindingKind::Limit, _) => match message.split('`').nth(1) {
                Some(name) => format!("limit {name}"),
                None => format!("limit {}", claim()),
            },
            (FindingKind::Leftover, _) => format!("leftovers {}", claim()),
            (_, _) => format!("failure {}", claim()),
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

/// The tasks of a deadlock, each kind once, whatever their number: all lines of it but the first.
fn kinds_of_tasks(message: &str) -> String {
    let kind = |line: &str| {
        let mut kind = String::new();
        for c in without_numbers(line.trim()).chars() {
            match c {
                '0'..='9' | '#' if kind.ends_with('#') => {}
                '0'..='9' => kind.push('#'),
                c => kind.push(c),
            }
        }
        kind
    };
    let kinds: BTreeSet<String> = message.lines().skip(1).map(kind).collect();
    Vec::from_iter(kinds).join(", ")
}

/// What a text says whatever the numbers in it and the lengths of its lists.
fn gist(text: &str) -> String {
    let mut text = without_numbers(text);
    // Lists in lists: the inner ones first.
    loop {
        let shorter = without_repetition(&text);
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

/// The text without items of lists that are the same as the one before them.
fn without_repetition(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((item, behind)) = rest.split_once(',') {
        out.push_str(item);
        let next = behind.trim_start();
        let is_repeated = |length: &usize| {
            let Some((before, item)) = out.split_at_checked(out.len() - length) else {
                return false;
            };
            let begins = before.chars().next_back().is_none_or(|c| " [({=:\"'".contains(c));
            let ends =
                |behind: &str| behind.chars().next().is_none_or(|c| " ,;.])}\"'".contains(c));
            begins && next.strip_prefix(item).is_some_and(ends)
        };
        match (1..=out.len().min(ITEM_MAX)).find(is_repeated) {
            Some(length) => rest = &next[length..],
            None => {
                out.push(',');
                rest = behind;
            }
        }
    }
    out + rest
}

/// The text with a `#` for each number in it, hexadecimal, fractions and signs included. Digits in a name, as in
/// `n1` or `tcp4`, stay, and so does a hyphen behind one.
fn without_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_word = false;
    while let Some(c) = chars.next() {
        let is_sign = matches!(c, '-' | '+') && chars.peek().is_some_and(char::is_ascii_digit);
        if !in_word && is_sign {
            // It goes with the number behind it.
        } else if c.is_ascii_digit() && !in_word {
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
    use std::panic::Location;

    use sim_core::{RunError, Time};
    use sim_net::Claim;

    use super::*;

    #[test]
    fn numbers_are_left_out_and_names_are_not() {
        for (text, expected) in [
            ("two leaders in term 3", "two leaders in term #"),
            ("n1 sent 0x1f3a bytes, 17.", "n1 sent # bytes, #."),
            ("1.5 s late", "# s late"),
            ("4.213s late", "#s late"),
            ("client@1→server:7000#2", "client@#→server:###"),
            ("balance is -3", "balance is #"),
            ("x=-3, y=+4", "x=#, y=#"),
            ("worker-3 of n-1, 4-7, a - 3", "worker-# of n-#, #-#, a - #"),
            ("", ""),
            ("99", "#"),
        ] {
            assert_eq!(without_numbers(text), expected);
        }
    }

    #[test]
    fn lists_of_any_length_have_one_gist() {
        for (lists, expected) in [
            (&["lost [3]", "lost [3, 4]", "lost [1, 2, 3]"][..], "lost [#]"),
            (&["lost 1,2,3", "lost 7"], "lost #"),
            (&["[(1, 2), (3, 4)]", "[(1, 2)]"], "[(#)]"),
            (&["{1: 2, 3: 4, 5: 6}", "{1: 2}"], "{#: #}"),
            (
                &["[Put { key: 1 }, Put { key: 2 }] of 3", "[Put { key: 2 }] of 3"],
                "[Put { key: # }] of #",
            ),
            (&["\u{e9} 1, \u{e9} 2", "\u{e9} 2"], "\u{e9} #"),
            (&["expected 1, got 2"], "expected #, got #"),
            (&["lost, t1"], "lost, t1"),
            (&["a##, #"], "a##, #"),
        ] {
            for text in lists {
                assert_eq!(gist(text), expected, "{text}");
            }
        }
    }

    #[test]
    fn a_deadlock_goes_by_the_kinds_of_its_tasks_and_a_limit_by_its_name() {
        let of = |kind, message: &str| Signature::of(&finding(kind, message), None).to_string();
        let deadlock = |tasks: &[&str]| {
            let pending = tasks.iter().map(|task| (*task).to_owned()).collect();
            of(FindingKind::Deadlock, &RunError::Deadlock { pending }.to_string())
        };
        let one = deadlock(&["control: task \"task-1\"", "n2: task \"worker-2\""]);
        assert_eq!(one, "deadlock control: task \"task-#\", n#: task \"worker-#\"");
        let many = ["n1: task \"worker-17\"", "control: task \"task-9\"", "n12: task \"worker-3\""];
        assert_eq!(deadlock(&many), one);
        assert_ne!(deadlock(&many[..2]), deadlock(&many[1..2]));
        assert_ne!(deadlock(&["n1: task \"a\""]), deadlock(&["n1: task \"b\""]));
        let limit = |bound: &str| {
            let error = RunError::Limit { name: "liveness", bound: bound.to_owned() };
            of(FindingKind::Limit, &error.to_string())
        };
        assert_eq!(limit("not done by 60s"), "limit liveness");
        assert_eq!(limit("not done by 700ms"), limit("not done by 60s"));
    }

    fn finding(kind: FindingKind, message: &str) -> Finding {
        let (message, host) = (message.to_owned(), "n1".to_owned());
        Finding { kind, message, host, time: Time::ZERO, property: None }
    }

    #[test]
    fn a_property_goes_by_its_name_and_a_panic_by_its_place() {
        let of = |kind, message, place| Signature::of(&finding(kind, message), place).to_string();
        for name in ["one leader", "one leader: in term 4"] {
            let claim = Claim { name, place: Location::caller() };
            let told = finding(FindingKind::Property, &format!("{name}: n1 and n2 in term 4"));
            let told = Finding { property: Some(claim), ..told };
            let signature = Signature::of(&told, Some("a.rs:1:2"));
            assert_eq!(signature.as_str(), format!("property {name}"));
        }
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
    }
}
