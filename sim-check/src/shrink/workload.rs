//! A smaller workload: fewer hosts, fewer operations, and every fault as it is.
//!
//! What there is to be made smaller is known from a census of the plan's own run. It changes with the plan: of
//! fewer clients there are fewer requests. So the passes ask anew after each change, until none changes anything.

use std::ops::RangeInclusive;

use sim_net::plan::{Entry, Workload};
use sim_net::{OfferedWorkload, Plan};

use super::Shrinker;

/// A size, as far as one line of a plan can set it: for all times that the scenario asks for it.
struct Size {
    name: String,
    /// The least that it may be.
    least: u64,
    /// The most that it may be.
    most: u64,
    /// What it was in the run.
    value: u64,
    /// What the seed makes it; `None` if not the same each time, since it is asked for with other ranges.
    drawn: Option<u64>,
}

impl Shrinker<'_> {
    /// Makes sizes smaller, and leaves operations out.
    pub(super) fn make_workload_smaller(&mut self) {
        let sizes = sizes(&self.trials.offered(&self.best).workload);
        self.make_sizes_smaller(&sizes);
        // How many operations there are may depend on the sizes.
        for (name, count) in operations(&self.trials.offered(&self.best).workload) {
            self.leave_out_operations(&name, count);
        }
    }

    /// Sets all sizes to their least; or else each, and those that must be larger to the least that does.
    fn make_sizes_smaller(&mut self, sizes: &[Size]) {
        for size in sizes {
            // As it is said best: a line that says what the seed says anyway is none.
            let plain = size.planned(&self.best).map(|value| size.set(&self.best, value));
            if let Some(plain) = plain.filter(|plain| *plain != self.best) {
                self.try_first(1, &|_, _| plain.clone());
            }
        }
        let all: Vec<&Size> = sizes.iter().filter(|size| size.value > size.least).collect();
        let all_least = |best: &Plan, _| {
            all.iter().fold(best.clone(), |plan, size| size.set(&plan, size.least))
        };
        if all.is_empty() || self.try_first(1, &all_least).is_some() {
            return;
        }
        let mut larger = Vec::new();
        let mut left = &all[..];
        while let Some(index) =
            self.try_first(left.len(), &|best, n| left[n].set(best, left[n].least))
        {
            larger.extend(&left[..index]);
            left = &left[index + 1..];
        }
        larger.extend(left);
        for size in larger {
            self.bisect(size);
        }
    }

    /// Sets a size to less, but not to its least: that has been tried.
    fn bisect(&mut self, size: &Size) {
        let (mut too_small, mut enough) = (size.least, size.value);
        while enough - too_small > 1 && !self.trials.is_spent() {
            let between = too_small + (enough - too_small) / 2;
            match self.try_first(1, &|best, _| size.set(best, between)) {
                Some(_) => enough = between,
                None => too_small = between,
            }
        }
    }

    /// Leaves out all of the `count` operations of a name, halves, quarters, and so on to single ones.
    fn leave_out_operations(&mut self, name: &str, count: u64) {
        let mut left: Vec<u64> = (0..count).filter(|&it| !is_out(&self.best, name, it)).collect();
        let plain = with_operations(&self.best, name, count, left.iter().copied());
        if plain != self.best {
            self.try_first(1, &|_, _| plain.clone());
        }
        let mut size = left.len();
        while size > 0 {
            let mut done = 0;
            loop {
                let windows = left.len().saturating_sub(done).div_ceil(size);
                let (begin, all) = (done, &left);
                let fewer = |best: &Plan, n: usize| {
                    let start = begin + n * size;
                    let end = (start + size).min(all.len());
                    let kept = all[..start].iter().chain(&all[end..]);
                    with_operations(best, name, count, kept.copied())
                };
                let Some(index) = self.try_first(windows, &fewer) else { break };
                done += index * size;
                left.drain(done..(done + size).min(left.len()));
            }
            size = if size == 1 { 0 } else { size.div_ceil(2).min(size - 1) };
        }
    }
}

/// The sizes that a scenario asked for, in order, each once.
fn sizes(offered: &[OfferedWorkload]) -> Vec<Size> {
    let mut sizes: Vec<Size> = Vec::new();
    for offered in offered {
        let OfferedWorkload::Size { name, range, value, drawn } = offered else { continue };
        match sizes.iter_mut().find(|size| size.name == *name) {
            Some(size) => {
                size.least = size.least.min(*range.start());
                size.most = size.most.max(*range.end());
                size.value = size.value.max(*value);
                size.drawn = size.drawn.filter(|known| known == drawn);
            }
            None => sizes.push(Size {
                name: name.clone(),
                least: *range.start(),
                most: *range.end(),
                value: *value,
                drawn: Some(*drawn),
            }),
        }
    }
    sizes
}

/// The names of the operations that a scenario asked for, and how many there are of each.
fn operations(offered: &[OfferedWorkload]) -> Vec<(String, u64)> {
    let operations = offered.iter().filter_map(|offered| match offered {
        OfferedWorkload::Operations { name, count } => Some((name.clone(), *count)),
        _ => None,
    });
    operations.collect()
}

impl Size {
    /// What a plan makes it, if that says anything of it.
    fn planned(&self, plan: &Plan) -> Option<u64> {
        let said = plan.entries.iter().find_map(|entry| match entry {
            Entry::Workload(Workload::Size { name, value }) if *name == self.name => Some(*value),
            _ => None,
        });
        said.map(|said| said.clamp(self.least, self.most))
    }

    /// A plan that makes it `value`: without a line for that, if it is what the seed makes it.
    fn set(&self, plan: &Plan, value: u64) -> Plan {
        let line = Workload::Size { name: self.name.clone(), value };
        let line = (self.drawn != Some(value)).then_some(line);
        let is_same =
            |said: &Workload| matches!(said, Workload::Size { name, .. } if *name == self.name);
        replaced(plan, line, is_same)
    }
}

/// A plan that leaves out all operations of a name but some, which are in order.
fn with_operations(plan: &Plan, wanted: &str, count: u64, left: impl Iterator<Item = u64>) -> Plan {
    let mut operations: Vec<RangeInclusive<u64>> = Vec::new();
    let mut begin = 0;
    for end in left.chain([count]) {
        if begin < end {
            operations.push(begin..=end - 1);
        }
        begin = end + 1;
    }
    let line =
        (!operations.is_empty()).then(|| Workload::Without { name: wanted.to_owned(), operations });
    let is_same =
        |said: &Workload| matches!(said, Workload::Without { name, .. } if name == wanted);
    replaced(plan, line, is_same)
}

fn is_out(plan: &Plan, wanted: &str, operation: u64) -> bool {
    plan.entries.iter().any(|entry| match entry {
        Entry::Workload(Workload::Without { name, operations }) => {
            name == wanted && operations.iter().any(|range| range.contains(&operation))
        }
        _ => false,
    })
}

/// A plan with a line instead of those that are about the same: where the first of them was, or else at the end.
fn replaced(plan: &Plan, line: Option<Workload>, is_same: impl Fn(&Workload) -> bool) -> Plan {
    let mut line = line.map(Entry::Workload);
    let mut entries = Vec::with_capacity(plan.entries.len() + 1);
    for entry in &plan.entries {
        match entry {
            Entry::Workload(workload) if is_same(workload) => entries.extend(line.take()),
            other => entries.push(other.clone()),
        }
    }
    entries.extend(line);
    super::with_entries(plan, entries)
}

#[cfg(test)]
mod tests;
