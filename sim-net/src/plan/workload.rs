//! What a plan says about the workload: how large a part of it is, and which operations it leaves out.

use std::fmt;
use std::ops::RangeInclusive;

use super::reader::{Read, Reader, text};

/// A change to what the scenario does. Everything else about the workload is as the seed has it. It is no fault:
/// it says how large a scenario is, not what goes wrong in it.
///
/// | text | what |
/// | --- | --- |
/// | `size clients = 3` | what [`World::size`](sim_core::World::size) says of `clients` |
/// | `without writes 4,7-9` | operations that [`World::ops`](sim_core::World::ops) leaves out, by their index from 0 on |
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Workload {
    /// A part of the workload has this size.
    Size {
        /// The name of the part.
        name: String,
        /// The size; the nearest that the scenario allows, if it does not allow this one.
        value: u64,
    },
    /// Operations are left out, and no other is drawn anew.
    Without {
        /// The name of the operations.
        name: String,
        /// Which, from 0 on.
        operations: Vec<RangeInclusive<u64>>,
    },
}

pub(super) const SIZE: &str = "size";
pub(super) const WITHOUT: &str = "without";

impl Workload {
    /// Reads `clients = 3`.
    pub(super) fn read_size(reader: &mut Reader<'_>) -> Read<Self> {
        let name = reader.text("the name of a size")?;
        if !reader.next("=") {
            return Err(reader.expected("= and a number"));
        }
        Ok(Self::Size { name, value: reader.number("a number")? })
    }

    /// Reads `writes 4,7-9`.
    pub(super) fn read_without(reader: &mut Reader<'_>) -> Read<Self> {
        let name = reader.text("the name of operations")?;
        let mut operations = vec![read_operations(reader)?];
        while reader.next(",") {
            operations.push(read_operations(reader)?);
        }
        Ok(Self::Without { name, operations })
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size { name, value } => write!(f, "{SIZE} {} = {value}", text(name, true)),
            Self::Without { name, operations } => {
                write!(f, "{WITHOUT} {} ", text(name, true))?;
                operations.iter().enumerate().try_for_each(|(place, range)| {
                    let comma = if place > 0 { "," } else { "" };
                    match (range.start(), range.end()) {
                        (first, last) if first == last => write!(f, "{comma}{first}"),
                        (first, last) => write!(f, "{comma}{first}-{last}"),
                    }
                })
            }
        }
    }
}

/// Reads `4`, or `7-9`.
fn read_operations(reader: &mut Reader<'_>) -> Read<RangeInclusive<u64>> {
    let first = reader.number("the index of an operation, 0 for the first")?;
    if !reader.here("-") {
        return Ok(first..=first);
    }
    let before = *reader;
    match reader.number("the index of the last operation")? {
        last if last >= first => Ok(first..=last),
        _ => Err(before.expected("an index that is not before the first")),
    }
}
