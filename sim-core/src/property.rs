//! Properties of a protocol, told by its own code: what always holds, what sometimes happens, what is
//! reached, and what holds in the end.
//!
//! [`always!`](crate::always) is an assertion with a name: where it does not hold, the run fails, whoever
//! takes its panic, and failures of one name are one finding. [`sometimes!`](crate::sometimes) and
//! [`reachable!`](crate::reachable) never fail a run. They say that a state worth testing came up, and a
//! check of many runs may demand that it does: a search that never gets there proves nothing.
//! [`eventually!`](crate::eventually) waits, after the last fault, for what must hold again by itself.
//!
//! The macros work wherever protocol code runs: in the simulator, where each is a step of the trace; on
//! the real loop and in plain unit tests, where `always!` is an assertion and the others do nothing.

use std::fmt;
use std::panic::Location;

use crate::current;
use crate::trace::Record;

/// What is claimed of a condition.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum PropertyKind {
    /// It holds whenever the code comes by.
    Always,
    /// It holds in some run.
    Sometimes,
    /// The code is reached in some run.
    Reachable,
    /// It holds in the end, once no fault stands in the way.
    Eventually,
}

/// A property that running code came by, for a [`Driver`](crate::driver::Driver).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Property {
    /// What it is called; the same everywhere in a program for the same property.
    pub name: &'static str,
    /// What is claimed.
    pub kind: PropertyKind,
    /// Whether it holds here and now.
    pub holds: bool,
}

impl PropertyKind {
    /// True if a run fails in which it does not hold.
    pub const fn is_demand(self) -> bool {
        matches!(self, Self::Always | Self::Eventually)
    }

    /// The name of its macro.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Sometimes => "sometimes",
            Self::Reachable => "reachable",
            Self::Eventually => "eventually",
        }
    }
}

impl Property {
    /// What stands for its name in a trace.
    pub fn label(&self) -> u64 {
        label(self.name)
    }

    /// True if it must hold, and does not.
    pub fn is_broken(&self) -> bool {
        self.kind.is_demand() && !self.holds
    }

    /// Tells the loop whose turn it is, if there is one. False if nobody hears: the host is dead, and
    /// what the rest of its callback sees is of no account.
    fn tell(self) -> bool {
        let Some(core) = current::core() else { return true };
        let heard = core.driver.property(&self);
        if heard {
            core.trace(Record::Property { name: self.label(), holds: self.holds });
        }
        heard
    }
}

/// The hash that stands for a name in a trace: FNV-1a.
pub(crate) fn label(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// What the macros call.
///
/// # Panics
///
/// If a property that must hold does not.
#[doc(hidden)]
#[track_caller]
pub fn meet(kind: PropertyKind, name: &'static str, holds: bool, detail: fmt::Arguments<'_>) {
    let property = Property { name, kind, holds };
    if property.tell() && property.is_broken() {
        let message = match detail.as_str() {
            Some("") => name.to_owned(),
            _ => format!("{name}: {detail}"),
        };
        if let Some(core) = current::core() {
            core.driver.broken(&property, &message, Location::caller());
        }
        panic!("{message}");
    }
}

/// Claims that a condition holds whenever the code comes by: `always!(condition, "name")`, with a
/// detail behind it as in `format!` if it takes more words. The name is what the failure is known
/// by: leave numbers and names of hosts to the detail.
///
/// ```
/// # let (granted, limit) = (3, 8);
/// sim_core::always!(granted <= limit, "credit is never over its limit", "{granted} > {limit}");
/// ```
///
/// # Panics
///
/// If it does not hold, which ends a simulated run as a finding. If the panic is contained or caught, the run
/// goes on, and that is what it ends with.
#[macro_export]
macro_rules! always {
    ($holds:expr, $name:literal $(,)?) => {
        $crate::always!($holds, $name, "")
    };
    ($holds:expr, $name:literal, $($detail:tt)+) => {
        $crate::property::meet(
            $crate::property::PropertyKind::Always,
            $name,
            $holds,
            ::std::format_args!($($detail)+),
        )
    };
}

/// Claims that a condition holds in some run when the code comes by, and counts how often it does. A
/// check can demand it.
///
/// ```
/// # let backup_answers = true;
/// sim_core::sometimes!(backup_answers, "the backup answers");
/// ```
#[macro_export]
macro_rules! sometimes {
    ($holds:expr, $name:literal $(,)?) => {
        $crate::property::meet(
            $crate::property::PropertyKind::Sometimes,
            $name,
            $holds,
            ::std::format_args!(""),
        )
    };
}

/// Claims that some run gets here, and counts how often.
///
/// ```
/// sim_core::reachable!("a reply came after its timeout");
/// ```
#[macro_export]
macro_rules! reachable {
    ($name:literal $(,)?) => {
        $crate::property::meet(
            $crate::property::PropertyKind::Reachable,
            $name,
            true,
            ::std::format_args!(""),
        )
    };
}

/// Waits until all faults of the run are over, then until a condition holds; asks from time to time. See
/// [`World::eventually`](crate::World::eventually).
///
/// ```
/// use sim_core::World;
/// use std::cell::Cell;
///
/// async fn agrees_in_the_end(world: World) {
///     let leaders = Cell::new(1);
///     sim_core::eventually!(world, leaders.get() == 1, "there is one leader");
/// }
/// # drop(agrees_in_the_end);
/// ```
///
/// # Panics
///
/// If it does not hold by the end of the time that the loop gives it.
#[macro_export]
macro_rules! eventually {
    ($world:expr, $holds:expr, $name:literal $(,)?) => {{
        let holds = $crate::World::eventually(&$world, || $holds).await;
        $crate::property::meet(
            $crate::property::PropertyKind::Eventually,
            $name,
            holds,
            ::std::format_args!("it does not hold long after the last fault"),
        )
    }};
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    #[test]
    fn a_property_that_does_not_hold_panics_with_its_name_and_detail() {
        let text = |run: fn()| *catch_unwind(run).unwrap_err().downcast::<String>().unwrap();
        assert_eq!(text(|| crate::always!(1 > 2, "order")), "order");
        let (a, b) = (1, 2);
        crate::always!(a < b, "order", "{a} < {b}");
        assert_eq!(text(|| crate::always!(1 > 2, "order", "{} > {}", 1, 2)), "order: 1 > 2");
    }

    #[test]
    fn what_need_only_happen_sometimes_never_panics() {
        crate::sometimes!(false, "never");
        crate::reachable!("here");
    }
}
