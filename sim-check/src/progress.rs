//! A bar that shows how far a check has come, when a person watches.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// After how long a check is worth a bar: most are over by then.
const WORTH: Duration = Duration::from_secs(1);

/// The bars of all checks that run at a time, below each other; nothing, unless standard error is a terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// The bar of one check.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// When it is to be shown; `None` if it is, or never will be.
    hidden_until: Option<Instant>,
}

impl Progress {
    /// A bar of so many runs, if it is wanted.
    pub(crate) fn new(is_wanted: bool, name: &str, total: u64) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} runs, {eta} left");
        let bar = ProgressBar::hidden().with_message(name.to_owned());
        bar.set_length(total);
        bar.set_style(style.expect("the template is well-formed"));
        Self { bar, hidden_until: is_wanted.then(|| Instant::now() + WORTH) }
    }

    /// So many more runs are done.
    pub(crate) fn inc(&mut self, runs: u64) {
        if self.hidden_until.is_some_and(|until| Instant::now() >= until) {
            self.hidden_until = None;
            self.bar = BARS.add(self.bar.clone());
        }
        self.bar.inc(runs);
    }

    /// There is nothing left to show.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
        BARS.remove(&self.bar);
    }
}
