//! The files of the workspace, read once a test.

use std::fs;
use std::path::{Path, PathBuf};

/// The text files of the workspace.
pub(crate) struct Workspace {
    root: PathBuf,
    files: Vec<File>,
}

/// A text file.
pub(crate) struct File {
    /// Its path, relative to the workspace, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

const KINDS: &[&str] = &["rs", "toml", "md", "html", "yml"];

impl Workspace {
    /// Reads it.
    pub(crate) fn read() -> Self {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in it").to_owned();
        let mut files = Vec::new();
        collect(&root, &root, &mut files);
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Self { root, files }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// The Rust files below `folder`.
    pub(crate) fn rust(&self, folder: &str) -> impl Iterator<Item = &File> {
        let files = self.files.iter().filter(|file| file.path.ends_with(".rs"));
        files.filter(move |file| file.path.starts_with(folder))
    }

    #[track_caller]
    pub(crate) fn text(&self, path: &str) -> &str {
        let file = self.files.iter().find(|file| file.path == path);
        file.map_or_else(|| panic!("{path} is missing"), |file| &file.text)
    }
}

impl File {
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// Its lines of code with their numbers: no comments, and no unit tests.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        let lines = (1..).zip(self.text[..end].lines());
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// A line for each line of code that has `word` as a word.
    pub(crate) fn uses(&self, word: &str) -> Vec<String> {
        let lines = self.code().filter(|(_, line)| has_word(line, word));
        lines.map(|(number, line)| format!("{}:{number}: {}", self.path, line.trim())).collect()
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).expect("a folder of the workspace").flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if path.is_dir() {
            if name != "target" && !name.starts_with(".git") {
                collect(root, &path, files);
            }
            continue;
        }
        let relative = path.strip_prefix(root).expect("it is below the root");
        let relative = relative.to_string_lossy().replace('\\', "/");
        let kind = path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known));
        if kind || relative.starts_with(".ci/") {
            let text = fs::read_to_string(&path).expect("text in UTF-8");
            files.push(File { path: relative, text });
        }
    }
}

/// Whether `line` has `word`, not as a part of a longer one.
fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

#[test]
fn a_word_is_not_found_inside_a_longer_one() {
    assert!(has_word("use std::time::{Duration, Instant};", "Instant"));
    assert!(!has_word("fn instantly() -> MyInstant", "Instant"));
}
