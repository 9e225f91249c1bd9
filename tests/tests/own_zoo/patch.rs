//! What the mutants are, and how they get into the source.
//!
//! A patch file has blocks with blank lines between. The first words of a block's lines say what they
//! are: `mutant` its name, `wrong` what is wrong, `caught` the test binary and the test that must fail,
//! `file` where it is. What follows is what is there now, each line behind a `-`, and what takes its
//! place, behind a `+`. No line has a number: what is there now must be there once. `MUTANT` in the
//! new lines is true while the mutant is on, so that one text has all of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// A bug, and the test that must notice it.
#[derive(Debug, Default)]
pub(crate) struct Mutant {
    pub(crate) name: String,
    pub(crate) wrong: String,
    /// The test binary, and the test in it.
    caught: (String, String),
    file: PathBuf,
    old: String,
    new: String,
}

/// All of them.
pub(crate) struct Mutants(pub(crate) Vec<Mutant>);

/// Texts of source files by their paths in the workspace.
pub(crate) type Sources = BTreeMap<PathBuf, String>;

impl Mutant {
    /// The test binary, and the test in it.
    pub(crate) fn test(&self) -> (&str, &str) {
        (&self.caught.0, &self.caught.1)
    }

    /// What is wrong with a block is told with the block.
    fn parse(block: &str) -> Self {
        let mut mutant = Self::default();
        let switch = |name: &str| format!("crate::own_zoo::is(\"{name}\")");
        for line in block.lines() {
            match (line.strip_prefix('-'), line.strip_prefix('+')) {
                (Some(old), _) => mutant.old += &format!("{old}\n"),
                (_, Some(new)) => {
                    let new = new.replace("MUTANT", &switch(&mutant.name));
                    mutant.new += &format!("{new}\n");
                }
                (None, None) => {
                    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
                    let rest = rest.trim();
                    match word {
                        "mutant" => mutant.name = rest.to_owned(),
                        "wrong" => mutant.wrong = rest.to_owned(),
                        "file" => mutant.file = PathBuf::from(rest),
                        "caught" => {
                            let (binary, test) = rest.split_once(' ').unwrap_or_default();
                            mutant.caught = (binary.to_owned(), test.to_owned());
                        }
                        _ => panic!("{word:?} says nothing in\n{block}"),
                    }
                }
            }
        }
        let said = [&mutant.name, &mutant.wrong, &mutant.caught.1, &mutant.old, &mutant.new];
        assert!(said.iter().all(|text| !text.is_empty()), "something is missing in\n{block}");
        mutant
    }
}

impl Mutants {
    /// Reads the patch files of a folder, in the order of their names.
    pub(crate) fn read(folder: &Path) -> Self {
        let entries = fs::read_dir(folder).expect("the folder of the mutants");
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "patch"));
        paths.sort();
        let texts = paths.iter().map(|path| fs::read_to_string(path).expect("text in UTF-8"));
        let texts: Vec<String> = texts.collect();
        let blocks = texts.iter().flat_map(|text| text.split("\n\n"));
        Self(blocks.map(Mutant::parse).collect())
    }

    /// The files that they change, as they are.
    pub(crate) fn sources(&self, workspace: &Path) -> Sources {
        let mut sources = Sources::new();
        for mutant in &self.0 {
            let read = || fs::read_to_string(workspace.join(&mutant.file)).unwrap_or_default();
            sources.entry(mutant.file.clone()).or_insert_with(read);
        }
        sources
    }

    /// Puts them all into the sources; says which do not fit, and why.
    pub(crate) fn apply(&self, sources: &mut Sources) -> Vec<String> {
        let mut failures = Vec::new();
        for Mutant { name, file, old, new, .. } in &self.0 {
            let text = sources.get_mut(file).expect("it was read");
            match text.matches(&**old).count() {
                1 => *text = text.replacen(&**old, new, 1),
                count => failures.push(format!(
                    "mutant {name} does not apply: {} has {count} places with\n{old}",
                    file.display()
                )),
            }
        }
        failures
    }
}

#[test]
fn a_patch_that_does_not_fit_is_told_by_its_name() {
    let block = "mutant off-by-one\nwrong  it counts one too few\ncaught it counts::all\n\
        file   a.rs\n-    count\n+    count - u32::from(MUTANT)";
    let mutants = Mutants(vec![Mutant::parse(block)]);
    assert_eq!(mutants.0[0].test(), ("it", "counts::all"));
    let with = |text: &str| {
        let mut sources = Sources::from([(PathBuf::from("a.rs"), text.to_owned())]);
        let failures = mutants.apply(&mut sources).join("");
        (sources[Path::new("a.rs")].clone(), failures)
    };
    let (applied, failures) = with("{\n    count\n}\n");
    assert_eq!(applied, "{\n    count - u32::from(crate::own_zoo::is(\"off-by-one\"))\n}\n");
    assert_eq!(failures, "");
    for text in ["", "    counts\n", "    count\n    count\n"] {
        let (applied, failures) = with(text);
        assert_eq!(applied, text);
        assert!(failures.starts_with("mutant off-by-one does not apply: a.rs has "), "{failures}");
    }
}
