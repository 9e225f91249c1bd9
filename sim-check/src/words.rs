//! Verdicts in words.

use std::fmt;

use sim_net::plan::Workload;
use sim_net::{Log, OfferedWorkload};

use crate::explain::{Explanation, Scale, Step};
use crate::verdict::{FAILURES_KEPT, Failed, KINDS_KEPT, Origin, Verdict};

/// How many other failures are named.
const OTHERS_MAX: usize = 10;

impl fmt::Display for Verdict {
    /// A few lines for a green verdict; for a red one what failed, what it comes down to, and what
    /// else failed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_green() { self.tell_green(f) } else { self.tell_red(f) }?;
        self.tell_corpus(f)?;
        self.tell_unbound(f)
    }
}

impl Verdict {
    /// Why it ended before its last run, if it did.
    fn cut(&self) -> &'static str {
        match (self.cut_short, self.interrupted) {
            (false, _) => "",
            (true, false) => ", cut short by its budget",
            (true, true) => ", cut short: it was told to stop",
        }
    }

    fn tell_green(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seeds, events, time, wall, .. } = self;
        let cut = self.cut();
        match &self.replayed {
            Some(replayed) => write!(f, "{name}: green under the plan, {}", replayed.bindings)?,
            None => write!(f, "{name}: green on {seeds} seeds")?,
        }
        write!(f, " ({events} events, {time:.1?} virtual, {wall:.1?}{cut})")?;
        if *seeds > 0 {
            // 3/n is for many; of one or two it would be more than all.
            let chance = (300.0 / *seeds as f64).min(100.0);
            // As many decimals as it takes for a figure that is not 0.
            let decimals = seeds.ilog10().max(2) as usize;
            write!(
                f,
                "; the chance that a seed fails is below {chance:.decimals$} % \
                 (3/n, at 95 % confidence)"
            )?;
        }
        self.tell_coverage(f)?;
        self.tell_faults(f)?;
        self.tell_properties(f)
    }

    fn tell_red(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, seeds, wall, .. } = self;
        let cut = self.cut();
        let Some(first) = self.failures.first() else {
            let missed = self.missed.join(", ");
            write!(f, "{name}: never happened in {seeds} seeds{cut}: {missed}")?;
            self.tell_coverage(f)?;
            return self.tell_faults(f);
        };
        write!(f, "{name}: ")?;
        match &self.explanation {
            Some(explanation) => explanation.tell(first, f)?,
            None => write!(f, "{first}")?,
        }
        if let Some(why) = &self.unexplained {
            write!(f, "\nnot made small: {why}")?;
        }
        for met in &self.met {
            let error = met.error.lines().next().unwrap_or_default();
            write!(f, "\nmet while it was made small: {error} ({})", met.origin)?;
        }
        if self.failures.len() > 1 {
            let others = self.failures[1..].iter().take(OTHERS_MAX);
            let others: Vec<String> = others.map(|failed| failed.origin.to_string()).collect();
            let more = if self.failed > OTHERS_MAX as u64 + 1 { "; .." } else { "" };
            write!(f, "\nalso failed: {}{more}", others.join("; "))?;
            let mut kinds: Vec<&str> =
                self.failures.iter().map(|failed| failed.signature.as_str()).collect();
            kinds.sort_unstable();
            kinds.dedup();
            if kinds.len() > 1 {
                let least = if self.may_miss_kinds() { "at least " } else { "" };
                write!(f, "\n{least}{} different failures: {}", kinds.len(), kinds.join("; "))?;
            }
        }
        for other in &self.others {
            let error = other.error.lines().next().unwrap_or_default();
            write!(f, "\nanother failure, made small: {error} ({})", other.origin)?;
        }
        if self.replayed.is_some() {
            write!(f, "\nthe run of the plan failed ({wall:.1?})")?;
            return self.tell_faults_that_bit(f);
        }
        let runs = self.failed;
        let were = if runs == 1 { "run" } else { "runs" };
        write!(f, "\n{runs} {were} failed, of {seeds} seeds")?;
        if self.failures.iter().any(|failed| matches!(failed.origin, Origin::Calm(_))) {
            f.write_str(" and the calm run")?;
        }
        let singles: u64 = self.coverage.iter().map(|coverage| coverage.done).sum();
        if singles > 0 {
            write!(f, " and {singles} single faults")?;
        }
        write!(f, " ({wall:.1?}{cut})")?;
        let counted = runs.saturating_sub(self.failures.len() as u64);
        if counted > 0 {
            let (first, kinds) = (FAILURES_KEPT, KINDS_KEPT);
            write!(
                f,
                "\nkept are the first {first} of them and one each of up to {kinds} further "
            )?;
            write!(f, "kinds; ")?;
            write!(f, "{counted} are counted and no more")?;
        }
        // Others had no time to.
        self.tell_faults_that_bit(f)
    }

    fn tell_coverage(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.coverage.is_empty() {
            return Ok(());
        }
        let families = self
            .coverage
            .iter()
            .map(|coverage| format!("{} {} of {}", coverage.family, coverage.done, coverage.total));
        write!(f, "\nsingle faults: {}", families.collect::<Vec<_>>().join(", "))
    }

    fn tell_faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tell_faults_that_bit(f)?;
        let idle: Vec<&str> = self.idle_faults().collect();
        if !idle.is_empty() {
            write!(f, "\nfaults that never bit: {}", idle.join(", "))?;
        }
        Ok(())
    }

    fn tell_faults_that_bit(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self
            .faults
            .iter()
            .filter(|(_, count)| **count > 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect();
        if counts.is_empty() {
            return Ok(());
        }
        write!(f, "\nfaults that bit: {}", counts.join(", "))
    }

    fn tell_properties(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.properties.iter().map(|((name, kind), count)| {
            let held = format!("{} {name:?} {}", kind.name(), count.held);
            match count.failed {
                0 => held,
                failed => format!("{held} of {}", count.held + failed),
            }
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() { Ok(()) } else { write!(f, "\nproperties: {}", told.join(", ")) }
    }

    fn tell_corpus(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.corpus.replayed {
            0 => {}
            // It is what this is about.
            _ if self.replayed.is_some() => {}
            1 => f.write_str("\nfirst 1 plan of an earlier failure was replayed")?,
            plans => write!(f, "\nfirst {plans} plans of earlier failures were replayed")?,
        }
        for path in &self.corpus.stale {
            write!(f, "\nstale, it does not find all that it names: {}", path.display())?;
        }
        for (path, error) in &self.corpus.unreadable {
            write!(f, "\npassed over, it is no plan: {}: {error}", path.display())?;
        }
        Ok(())
    }

    /// Which entries of the plan that was replayed found nothing.
    fn tell_unbound(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(replayed) = &self.replayed else { return Ok(()) };
        let mut unbound = replayed.bindings.unbound();
        unbound.try_for_each(|(_, entry)| write!(f, "\nunbound: {entry}"))
    }
}

impl Explanation {
    /// What the plan says of the workload, a line each; nothing if it leaves that to the seed. The lines begin as
    /// `workload  size clients = 1 (of 1 to 8; the seed has 5)` does.
    pub fn workload_lines(&self) -> impl Iterator<Item = String> {
        let heads = std::iter::once("workload").chain(std::iter::repeat(""));
        heads.zip(&self.workload).map(|(head, scale)| format!("{head:<9} {scale}"))
    }

    /// What failed, and what it comes down to.
    fn tell(&self, failed: &Failed, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shrunk, steps, error, host, time, hash, .. } = self;
        let seed = failed.seed();
        writeln!(f, "{error}")?;
        writeln!(f, "seed {seed:#x}, host {host}, {time} virtual, trace hash {hash:016x}")?;
        if steps.is_empty() {
            f.write_str("it fails without any fault")?;
        } else if shrunk.replays == 1 {
            write!(f, "the plan (bound {} of {}):", self.bound, steps.len())?;
        } else {
            write!(f, "{shrunk} (bound {} of {}):", self.bound, steps.len())?;
        }
        for (number, step) in (1..).zip(steps) {
            write!(f, "\n  {number}. {step}")?;
        }
        self.workload_lines().try_for_each(|line| write!(f, "\n{line}"))?;
        if !self.story.is_empty() {
            write!(f, "\nwhat happened:\n{}", self.story.join("\n"))?;
        }
        let left_out = self.report.log.as_ref().map_or(0, Log::before);
        if left_out > 0 {
            let first = left_out + 1;
            write!(f, "\nits log and timeline begin with event #{first}: {left_out} are left out")?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.time {
            Some(time) => write!(f, "{time:>13}  {}", self.entry)?,
            None => write!(f, "{:>13}  {}", "", self.entry)?,
        }
        match (self.necessary, self.sufficient) {
            (_, Some(true)) => f.write_str("   (enough alone)"),
            (Some(false), _) => f.write_str("   (not needed)"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.line.fmt(f)?;
        match (&self.line, &self.offered) {
            (_, Some(OfferedWorkload::Size { range, value, drawn, .. })) => {
                let (least, most) = (range.start(), range.end());
                f.write_str(" (")?;
                if !matches!(&self.line, Workload::Size { value: said, .. } if said == value) {
                    write!(f, "{value}, ")?;
                }
                write!(f, "of {least} to {most}; the seed has {drawn})")
            }
            (
                Workload::Without { operations, .. },
                Some(OfferedWorkload::Operations { count, .. }),
            ) => {
                let is_out = |it: &u64| operations.iter().any(|range| range.contains(it));
                match (0..*count).filter(|it| !is_out(it)).count() {
                    0 => write!(f, " (none of {count} is left)"),
                    1 => write!(f, " (1 of {count} is left)"),
                    left => write!(f, " ({left} of {count} are left)"),
                }
            }
            _ => f.write_str(" (the scenario asks for none)"),
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, error, host, time, hash, .. } = self;
        writeln!(f, "{error}")?;
        write!(f, "{origin}, host {host}, {time} virtual, trace hash {hash:016x}")?;
        if let Some(difference) = &self.difference {
            write!(
                f,
                "\nNOT DETERMINISTIC: a second run of the same went differently. The records up to \
                 where they part:\n{difference}"
            )?;
        }
        if self.tail.is_empty() {
            return Ok(());
        }
        write!(f, "\nthe last records:\n{}", self.tail.trim_end())
    }
}
