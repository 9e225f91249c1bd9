//! What a failure leaves behind for people to look at.

use std::io;
use std::path::{Path, PathBuf};

use sim_net::Plan;

use crate::explain::Explanation;
use crate::places;
use crate::report::Timeline;

/// The files of a failure.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Files {
    /// The plan that replays it.
    pub plan: PathBuf,
    /// Its timeline, a page for a browser.
    pub timeline: Option<PathBuf>,
    /// Its packets, as pcapng.
    pub capture: Option<PathBuf>,
}

impl Files {
    /// Writes what an explanation has, for the check called `name`, into a folder.
    ///
    /// # Errors
    ///
    /// What the file system gives.
    pub fn write(folder: &Path, name: &str, explanation: &Explanation) -> io::Result<Self> {
        let folder = std::path::absolute(folder)?;
        let path = |end: &str| folder.join(format!("{}.{end}", places::file_name(name)));
        let plan = path("plan");
        places::write_whole(&plan, |file| write!(file, "{}", explanation.shrunk.plan))?;
        let title = format!("{name}: {}", explanation.error);
        let timeline = match Timeline::new(title, &explanation.report) {
            Some(timeline) => {
                let path = path("html");
                let plan = &explanation.shrunk.plan;
                let faults = Plan { entries: plan.faults().cloned().collect(), ..plan.clone() };
                let mut timeline = timeline.plan(&faults);
                for scale in &explanation.workload {
                    timeline = timeline.note(format!("Workload: {scale}"));
                }
                places::write_whole(&path, |mut file| timeline.write_html(&mut file))?;
                Some(path)
            }
            None => None,
        };
        let capture = match &explanation.report.capture {
            Some(capture) => {
                let path = path("pcapng");
                places::write_whole(&path, |mut file| capture.write_pcapng(&mut file))?;
                Some(path)
            }
            None => None,
        };
        Ok(Self { plan, timeline, capture })
    }

    /// Calls `see` with each file that is for looking at, and what it is.
    pub fn each(&self, mut see: impl FnMut(&str, &Path)) {
        for (what, path) in [("timeline", &self.timeline), ("capture", &self.capture)] {
            if let Some(path) = path {
                see(what, path);
            }
        }
    }
}
