//! Plans that failed once, kept as files, replayed before anything else.
//!
//! Each plan is a file of its own, `NAME.ID.plan` in the folder of the corpus (`NAME.ID-2.plan` if that is something
//! else), where `NAME` is the check's. A file that is none is named, passed over and left alone.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sim_net::Plan;

use crate::places;
use crate::plan_file::PlanFile;

/// The plans of one check.
#[derive(Clone, Debug)]
pub(crate) struct Corpus {
    folder: PathBuf,
    check: String,
    /// What its files begin with.
    name: String,
}

/// A file of a corpus.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) path: PathBuf,
    /// The plan, or what is wrong with the file.
    pub(crate) plan: Result<Plan, String>,
}

impl Corpus {
    /// The corpus of the check called `name` in a folder, which need not be there.
    pub(crate) fn new(folder: PathBuf, name: &str) -> Self {
        Self { folder, check: name.to_owned(), name: places::file_name(name) }
    }

    /// What is in it, by the names of the files.
    pub(crate) fn read(&self) -> io::Result<Vec<Kept>> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if self.owns(&path) {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        Ok(paths.into_iter().map(|path| Kept { plan: self.parse(&path), path }).collect())
    }

    fn owns(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let id = name.and_then(|name| name.strip_prefix(&self.name)?.strip_prefix('.'));
        let id = id.and_then(|rest| rest.strip_suffix(".plan"));
        id.is_some_and(|id| !id.contains('.'))
    }

    fn parse(&self, path: &Path) -> Result<Plan, String> {
        // Checks of different names may have one name for files.
        PlanFile::read(path)?.for_check(&self.check).cloned()
    }

    /// Keeps a plan, and says where. One that is there already is left as it is, and so is a file of its name that is
    /// something else: then the plan is beside it.
    pub(crate) fn keep(&self, plan: &Plan) -> io::Result<PathBuf> {
        let (name, id) = (&self.name, plan.id());
        let mut path = self.folder.join(format!("{name}.{id}.plan"));
        let mut number = 1;
        while fs::symlink_metadata(&path).is_ok() {
            if PlanFile::read(&path).is_ok_and(|file| file.plan() == plan) {
                return Ok(path);
            }
            number += 1;
            path = self.folder.join(format!("{name}.{id}-{number}.plan"));
        }
        places::write_whole(&path, |file| write!(file, "{plan}"))?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_kept_beside_a_file_of_its_name_that_is_another() {
        let corpus = Corpus::new(folder("beside"), "a");
        let plan = Plan::new().scenario("a").seed(7);
        let first = corpus.keep(&plan).unwrap();
        let mut taken = first.clone();
        for (number, content) in [(2, &b"\xff\xfe"[..]), (3, b"plan 1.0\nscenario a\n")] {
            fs::write(&taken, content).unwrap();
            let path = corpus.keep(&plan).unwrap();
            assert_eq!(path, folder("beside").join(format!("a.{}-{number}.plan", plan.id())));
            assert_eq!(corpus.keep(&plan).unwrap(), path);
            assert_eq!(fs::read(&taken).unwrap(), content);
            taken = path;
        }
        // One that somebody has written a remark in is the same plan.
        fs::write(&first, format!("{plan}# why\n")).unwrap();
        assert_eq!(corpus.keep(&plan).unwrap(), first);
        fs::remove_dir_all(corpus.folder).unwrap();
    }

    fn folder(name: &str) -> PathBuf {
        places::artifacts().join(format!("test-{name}-{}", std::process::id()))
    }

    #[test]
    fn what_is_kept_is_read_and_kept_once() {
        let corpus = Corpus::new(folder("kept"), "a::b");
        assert!(corpus.read().unwrap().is_empty());
        let plan = Plan::new().scenario("a::b").seed(7).crash(
            std::time::Duration::from_secs(1),
            "n1",
            std::time::Duration::from_secs(2),
        );
        let path = corpus.keep(&plan).unwrap();
        assert_eq!(corpus.keep(&plan).unwrap(), path);
        // That of another check with a longer name is not its own.
        Corpus::new(corpus.folder.clone(), "a::b::c").keep(&plan).unwrap();
        let kept = corpus.read().unwrap();
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].plan.as_ref().unwrap(), &plan);
        fs::remove_dir_all(corpus.folder).unwrap();
    }

    #[test]
    fn a_plan_of_another_check_is_passed_over_and_both_are_named() {
        let corpus = Corpus::new(folder("names"), "a::b");
        corpus.keep(&Plan::new().scenario("a::b").seed(7)).unwrap();
        let other = Corpus::new(corpus.folder.clone(), "a.b");
        let [kept] = &other.read().unwrap()[..] else { panic!("they share their files") };
        let error = kept.plan.as_ref().unwrap_err();
        assert!(error.contains("a::b") && error.contains("a.b"), "{error}");
        fs::remove_dir_all(corpus.folder).unwrap();
    }

    #[test]
    fn a_file_that_is_no_plan_is_told_with_the_others_and_stays() {
        let corpus = Corpus::new(folder("corrupt"), "a");
        corpus.keep(&Plan::new()).unwrap();
        let bad = corpus.folder.join("a.0000.plan");
        for content in [&b"crash nobody whenever\n"[..], b"\xff\xfe", b"plan 9.0\n", b"\n"] {
            fs::write(&bad, content).unwrap();
            let kept = corpus.read().unwrap();
            assert_eq!(kept.len(), 2);
            assert_eq!(kept[0].path, bad);
            assert!(kept[0].plan.is_err() && kept[1].plan.is_ok());
            assert_eq!(fs::read(&bad).unwrap(), content);
        }
        fs::remove_dir_all(corpus.folder).unwrap();
    }
}
