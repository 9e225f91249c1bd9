//! A run that is stopped somewhere, to be looked at there.

use std::collections::BTreeMap;
use std::fmt;

use sim_core::Time;
use sim_net::{Log, Report, StopAt};

/// How many of the last records are shown.
const RECORDS_SHOWN: usize = 30;

/// A run that was to be stopped somewhere, as far as it came: what `SIM_STOP_AT` shows.
///
/// ```
/// use sim_check::check;
/// use sim_core::World;
/// use std::time::Duration;
///
/// async fn waits(world: World) {
///     world.host("n1").sleep(Duration::from_secs(5)).await;
/// }
///
/// let stopped = check("waits").stopped(None, "2s".parse()?, waits)?;
/// assert!(stopped.is_reached());
/// assert!(stopped.to_string().starts_with("waits: stopped at 2s: step "));
/// assert!(!check("waits").stopped(None, "6s".parse()?, waits)?.is_reached());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Stopped {
    name: String,
    at: StopAt,
    report: Report<()>,
}

impl Stopped {
    pub(crate) fn new(name: &str, at: StopAt, report: Report<()>) -> Self {
        Self { name: name.to_owned(), at, report }
    }

    /// False if the run was over before.
    pub fn is_reached(&self) -> bool {
        match self.at {
            StopAt::Step(step) => self.report.events >= step,
            StopAt::Time(time) => self.report.time >= Time::ZERO + time,
        }
    }

    /// The run until there, with its log.
    pub fn report(&self) -> &Report<()> {
        &self.report
    }

    /// Its records.
    pub fn log(&self) -> &Log {
        self.report.log.as_ref().unwrap_or(&self.report.tail)
    }
}

/// What each protocol said of its state last, with its host and the number of its transport.
fn states(log: &Log) -> BTreeMap<(u32, u32), &str> {
    // They are in the order of steps, so the last one stays.
    log.states().iter().map(|state| ((state.host, state.connection), &*state.text)).collect()
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, at, report } = self;
        let log = self.log();
        let last = log.entries().next_back();
        let (step, time) = last.map_or((0, report.time), |last| (last.step, last.time));
        if self.is_reached() {
            write!(f, "{name}: stopped at {at}: step {step}, {time} virtual")?;
        } else {
            write!(f, "{name}: it never came to {at}: it was over at step {step}, {time} virtual")?;
            match report.finding() {
                Some(finding) => write!(f, ", with {finding}")?,
                None => f.write_str(", and did not fail")?,
            }
        }
        f.write_str("\nthe last records:")?;
        let skipped = log.entries().len().saturating_sub(RECORDS_SHOWN);
        log.entries().skip(skipped).try_for_each(|entry| write!(f, "\n{}", log.line(&entry)))?;
        let states = states(log);
        if !states.is_empty() {
            f.write_str("\nwhat protocols said of their state last:")?;
        }
        for ((host, connection), text) in states {
            write!(f, "\n  {} #{connection}: {text}", log.host(host))?;
        }
        f.write_str("\ndebugger  break sim_net::stop_at::reached")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sim_core::World;

    use crate::check;

    async fn marks_seconds(world: World) {
        let lp = world.host("clock");
        for n in 0..10 {
            lp.sleep(Duration::from_secs(1)).await;
            lp.mark("n", n);
        }
    }

    fn stopped(at: &str) -> String {
        let check = check("marks");
        check.stopped(None, at.parse().unwrap(), marks_seconds).unwrap().to_string()
    }

    #[test]
    fn a_run_stops_at_a_step_or_a_time_and_shows_what_was_before() {
        let whole = check("marks").verdict(marks_seconds);
        assert!(whole.is_green());
        let text = stopped("#20");
        assert!(text.starts_with("marks: stopped at step 20: step 20, "), "{text}");
        let last = text.lines().rev().nth(1).unwrap();
        assert!(last.contains(" #20 ") && text.contains(" #19 ") && !text.contains(" #21 "));
        let text = stopped("3.5s");
        assert!(text.starts_with("marks: stopped at 3.5s: step "), "{text}");
        assert!(text.contains("= 2") && !text.contains("= 3"), "{text}");
        // What happens at that very moment is there.
        assert!(stopped("4s").contains("= 3"));
    }

    #[test]
    fn a_run_that_is_over_before_says_how_it_ended() {
        for at in ["100000", "11s"] {
            let text = stopped(at);
            assert!(text.starts_with("marks: it never came to "), "{text}");
            assert!(text.contains(", and did not fail\n"), "{text}");
        }
    }
}
