//! Probabilities as integers.

use crate::link::LinkError;

/// Parts of a whole.
const WHOLE: u32 = 1_000_000_000;

/// How likely something is, in parts per billion.
///
/// ```
/// use sim_net::Probability;
///
/// assert_eq!(Probability::new(0.05)?, Probability::percent(5)?);
/// assert!(Probability::new(1.5).is_err());
/// # Ok::<(), sim_net::LinkError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Probability {
    billionths: u32,
}

impl Probability {
    /// It never happens.
    pub const NEVER: Self = Self { billionths: 0 };
    /// It happens in every other case.
    pub const HALF: Self = Self { billionths: WHOLE / 2 };
    /// It always happens.
    pub const ALWAYS: Self = Self { billionths: WHOLE };

    /// The nearest to `value`, which is between 0 and 1.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if it is not.
    pub fn new(value: f64) -> Result<Self, LinkError> {
        if !(0.0..=1.0).contains(&value) {
            return Err(impossible(value));
        }
        // Adding a half and cutting off is exact on every platform.
        Ok(Self { billionths: (value * f64::from(WHOLE) + 0.5) as u32 })
    }

    /// So many in a hundred.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if it is more than a hundred.
    pub fn percent(percent: u32) -> Result<Self, LinkError> {
        match percent {
            0..=100 => Ok(Self { billionths: percent * (WHOLE / 100) }),
            _ => Err(impossible(format_args!("{percent}%"))),
        }
    }

    /// So many in a billion.
    ///
    /// # Errors
    ///
    /// [`LinkError::Value`] if it is more than a billion.
    pub fn billionths(billionths: u32) -> Result<Self, LinkError> {
        match billionths {
            0..=WHOLE => Ok(Self { billionths }),
            _ => Err(impossible(format_args!("{billionths} in a billion"))),
        }
    }

    /// It in parts per billion.
    pub const fn as_billionths(self) -> u32 {
        self.billionths
    }

    /// True if it can never happen.
    pub const fn is_never(self) -> bool {
        self.billionths == 0
    }

    /// How many of the 2⁶⁴ values of a draw mean that it happens.
    pub(crate) const fn threshold(self) -> u128 {
        ((self.billionths as u128) << 64) / WHOLE as u128
    }

    /// The largest draw that means that it happens, if it can.
    pub(crate) fn largest(self) -> Option<u64> {
        self.threshold().checked_sub(1).map(|largest| largest as u64)
    }

    /// If a draw says that it happens: what is left of the draw, which is again uniform.
    pub(crate) fn rest(self, draw: u64) -> Option<u64> {
        let threshold = self.threshold();
        (u128::from(draw) < threshold).then(|| ((u128::from(draw) << 64) / threshold) as u64)
    }
}

fn impossible(value: impl std::fmt::Display) -> LinkError {
    let problem = format!("{value} is no probability: it lies between 0 and 1, or 0% and 100%");
    LinkError::value("probability", problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_happens_as_often_as_it_says() {
        let even = Probability::percent(50).unwrap();
        assert_eq!(even.rest(u64::MAX / 2).map(|rest| rest >> 32), Some(u64::from(u32::MAX)));
        assert_eq!(even.rest(u64::MAX / 2 + 1), None);
        assert_eq!(Probability::NEVER.rest(0), None);
        assert_eq!(Probability::NEVER.largest(), None);
        for likely in [1, 999, 50_000_000, WHOLE - 1].map(|n| Probability::billionths(n).unwrap()) {
            let largest = likely.largest().unwrap();
            assert!(likely.rest(largest).is_some() && likely.rest(largest + 1).is_none());
        }
        assert_eq!(Probability::ALWAYS.largest(), Some(u64::MAX));
        assert_eq!(Probability::ALWAYS.rest(u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for value in [-0.1, 1.000_001, f64::NAN, f64::INFINITY] {
            assert!(Probability::new(value).is_err(), "{value}");
        }
        assert!(Probability::percent(101).is_err());
        assert!(Probability::billionths(WHOLE + 1).is_err());
        assert_eq!(Probability::new(1.0), Ok(Probability::ALWAYS));
        let message = Probability::percent(500).unwrap_err().to_string();
        assert!(message.contains("500%") && message.contains("between 0 and 1"), "{message}");
    }
}
