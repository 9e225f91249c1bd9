//! What is wrong with a plan, where, and what would be right.

use std::error::Error;
use std::fmt;

/// Where in a plan something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// At a character of its text; lines and columns count from 1.
    Text {
        /// The line.
        line: usize,
        /// The character in it.
        column: usize,
    },
    /// In a line of its text, counted from 1.
    Line(usize),
    /// In an entry.
    Entry {
        /// Its number, from 1 on.
        number: usize,
        /// The entry as text.
        text: String,
    },
    /// In the plan as a whole.
    Plan,
}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Problem {
    /// The text is in another major version of the format.
    Version {
        /// Its version.
        found: String,
        /// The version that is read here.
        supported: String,
    },
    /// The plan is for another scenario.
    Scenario {
        /// The one that it is for.
        found: String,
        /// The one that is to be run.
        wanted: String,
    },
    /// The text says something else than it could.
    Syntax {
        /// What could stand there.
        expected: String,
        /// What stands there.
        found: String,
        /// What may help.
        hint: Option<String>,
    },
    /// The world has no such host.
    UnknownHost {
        /// The name.
        name: String,
        /// The names of the world's hosts.
        known: Vec<String>,
    },
    /// The end of an interval is before its start.
    Backwards,
    /// An interval has no length, or a deviation the value 0: nothing would happen.
    Empty,
    /// A host is on both sides of a cut, or is the whole of it.
    Sides {
        /// The host.
        host: String,
    },
    /// A link is one of a host to itself, of which there is none.
    OwnLink {
        /// The host.
        host: String,
    },
    /// A machine is off then: there is no process that could be paused, or killed.
    Off {
        /// The host.
        host: String,
        /// The number of the entry that crashes it, from 1 on.
        other: usize,
    },
    /// Two entries set the clock of one host.
    ClockSetTwice {
        /// The host.
        host: String,
        /// The number of the entry before, from 1 on.
        other: usize,
    },
}

/// Something that is wrong with a plan. It prints as a sentence with its place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanError {
    /// Where.
    pub place: Place,
    /// What.
    pub problem: Problem,
}

/// Everything that is wrong with a plan: at least one thing. It prints as a line for each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanErrors(pub(super) Vec<PlanError>);

impl PlanErrors {
    /// The errors, in the order of the plan.
    pub fn iter(&self) -> std::slice::Iter<'_, PlanError> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a PlanErrors {
    type Item = &'a PlanError;
    type IntoIter = std::slice::Iter<'a, PlanError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl Problem {
    /// The problem with the number that `number` gives for the index of the other entry.
    pub(super) fn renumbered(self, number: impl Fn(usize) -> usize) -> Self {
        match self {
            Self::Off { host, other } => Self::Off { host, other: number(other - 1) },
            Self::ClockSetTwice { host, other } => {
                Self::ClockSetTwice { host, other: number(other - 1) }
            }
            other => other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { line, column } => write!(f, "line {line}, column {column}"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Plan => f.write_str("the plan"),
            Self::Entry { number, text } => write!(f, "entry {number} ({text})"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version { found, supported } => write!(
                f,
                "the plan is in format {found}, and this program reads format {supported}: \
                 write it again with a program of its version"
            ),
            Self::Scenario { found, wanted } => write!(
                f,
                "it is for scenario {found}, and this is {wanted}: run that one, or take the \
                 line out"
            ),
            Self::Syntax { expected, found, hint } => {
                write!(f, "expected {expected}, found {found}")?;
                hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
            }
            Self::UnknownHost { name, known } => {
                write!(f, "no host is called {name:?}; host names are {}", known.join(", "))?;
                let known = known.iter().map(String::as_str);
                nearest(name, known).map_or(Ok(()), |near| write!(f, "; did you mean {near}?"))
            }
            Self::Backwards => {
                f.write_str("the interval ends before it starts: exchange the times")
            }
            Self::Empty => f.write_str("nothing would happen: make it longer, or take it out"),
            Self::Sides { host } => {
                write!(f, "host {host} cannot be cut off from itself: name it on one side")
            }
            Self::OwnLink { host } => {
                write!(f, "host {host} has no link to itself: name two hosts")
            }
            Self::Off { host, other } => {
                write!(f, "host {host} is off then, by entry {other}: move one of the two")
            }
            Self::ClockSetTwice { host, other } => {
                write!(f, "the clock of host {host} is set in entry {other} already: join them")
            }
        }
    }
}

impl fmt::Display for PlanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl fmt::Display for PlanErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, error) in self.0.iter().enumerate() {
            if number > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl Error for PlanError {}

impl Error for PlanErrors {}

/// The known word that `word` may be a slip of: at most two characters differ, and fewer than half.
pub(super) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let close = known.map(|other| (edits(word, other), other));
    let close = close.filter(|&(edits, _)| edits <= 2 && 2 * edits < word.chars().count());
    close.min_by_key(|&(edits, _)| edits).map(|(_, other)| other)
}

/// How many characters must be added, removed or replaced to make `b` of `a` (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = || ["partition", "server", "n1"].into_iter();
        assert_eq!(nearest("sever", known()), Some("server"));
        assert_eq!(nearest("serverr", known()), Some("server"));
        assert_eq!(nearest("client", known()), None);
        assert_eq!(nearest("n2", known()), None);
        assert_eq!(edits("kitten", "sitting"), 3);
    }
}
