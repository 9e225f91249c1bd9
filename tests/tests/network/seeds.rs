//! How many seeds a cell gets, and what is made of their figures.

use std::env;
use std::ops::RangeInclusive;

/// The size at which tables are compared with the committed ones.
pub(crate) const FULL: u64 = 100;

/// The size of this run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// What plain `cargo test` does.
    Quick,
    /// `NETWORK_SEEDS`.
    Seeds(u64),
}

impl Size {
    /// What `NETWORK_SEEDS` says.
    ///
    /// # Panics
    ///
    /// If that is no number above 0.
    pub(crate) fn of_run() -> Self {
        let Ok(text) = env::var("NETWORK_SEEDS") else {
            return Self::Quick;
        };
        match text.parse() {
            Ok(seeds) if seeds > 0 => Self::Seeds(seeds),
            _ => panic!("NETWORK_SEEDS={text}: how many seeds each cell gets, such as 100"),
        }
    }

    /// The seeds of a cell: `quick` of them in a plain run, and the named part of a large one.
    pub(crate) fn seeds(self, quick: u64, part: u64) -> RangeInclusive<u64> {
        match self {
            Self::Quick => 1..=quick,
            Self::Seeds(seeds) => 1..=seeds.div_ceil(part),
        }
    }

    /// Compares a table with the committed one, if this run is of its size.
    #[track_caller]
    pub(crate) fn check_table(self, name: &str, table: &str) {
        if self == Self::Seeds(FULL) {
            insta::with_settings!({ omit_expression => true }, {
                insta::assert_snapshot!(name, table);
            });
        }
    }
}

/// The value in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}
