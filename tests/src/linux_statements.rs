//! Which statement about Linux's TCP is covered by which test, or deliberately not followed.
//!
//! Pure string processing: the `tidy` test reads `sim-net/docs/linux-statements.md` and the sources,
//! and calls this. A row of the table is `| L-07 | what Linux does | where we differ, and why | tests |`;
//! the last cell is made from the doc comments of tests, which name statements anywhere: `L-07`, or
//! `L-03..L-06` for several.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    number: u32,
    /// What Linux does.
    text: String,
    /// What we do instead, and why; empty if nothing else.
    difference: String,
}

/// The table, held against the tests.
#[derive(Debug)]
pub struct Statements {
    /// What stands before the table.
    head: String,
    rows: Vec<Row>,
    /// Tests, as `file` name, by number.
    tests: BTreeMap<u32, Vec<String>>,
}

impl Statements {
    /// Reads the table.
    ///
    /// # Errors
    ///
    /// A line for each row that is none, or out of order.
    pub fn read(text: &str) -> Result<Self, Vec<String>> {
        let (mut rows, mut wrong) = (Vec::<Row>::new(), Vec::new());
        let start = text.find("| L-").unwrap_or(text.len());
        for line in text[start..].lines() {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let row = match cells[..] {
                ["", id, text, difference, _, ""] => number(id).map(|number| Row {
                    number,
                    text: text.to_owned(),
                    difference: difference.to_owned(),
                }),
                _ => None,
            };
            match row {
                Some(row) if rows.last().is_none_or(|last| last.number < row.number) => {
                    rows.push(row);
                }
                _ => wrong.push(format!("not `| L-07 | .. | .. | .. |`, in order: {line}")),
            }
        }
        if wrong.is_empty() {
            Ok(Self { head: text[..start].to_owned(), rows, tests: BTreeMap::new() })
        } else {
            Err(wrong)
        }
    }

    /// Takes in what the tests of a file cite.
    pub fn cite(&mut self, file: &str, source: &str) {
        let (mut doc, mut is_test) = (String::new(), false);
        for line in source.lines().map(str::trim) {
            if let Some(text) = line.strip_prefix("///") {
                doc.push_str(text);
            } else if line.starts_with("#[") {
                is_test |= line.starts_with("#[test]");
            } else if let Some(rest) = line.trim_start_matches("async ").strip_prefix("fn ") {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                let test = format!("`{file}` {}", &rest[..end.unwrap_or(rest.len())]);
                for number in cited(&doc).into_iter().filter(|_| is_test) {
                    let tests = self.tests.entry(number).or_default();
                    if !tests.contains(&test) {
                        tests.push(test.clone());
                    }
                }
                (doc, is_test) = (String::new(), false);
            } else if !line.starts_with("//") {
                (doc, is_test) = (String::new(), false);
            }
        }
    }

    /// A line for each statement that has neither a test nor a difference.
    pub fn gaps(&self) -> Vec<String> {
        let open = self.rows.iter().filter(|row| row.difference.is_empty());
        let open = open.filter(|row| !self.tests.contains_key(&row.number));
        open.map(|row| format!("L-{:02}: {}", row.number, row.text)).collect()
    }

    /// A line for each test that cites a statement which the table does not have.
    pub fn unknown(&self) -> Vec<String> {
        let known = |number: &u32| self.rows.iter().any(|row| row.number == *number);
        let unknown = self.tests.iter().filter(|(number, _)| !known(number));
        unknown.map(|(number, tests)| format!("L-{number:02}: {}", tests.join(", "))).collect()
    }

    /// The file, with its tests as they are.
    pub fn text(&self) -> String {
        let mut out = self.head.clone();
        for row in &self.rows {
            let mut tests = self.tests.get(&row.number).cloned().unwrap_or_default();
            tests.sort_unstable();
            let Row { number, text, difference } = row;
            let tests = tests.join("<br>");
            let _ = writeln!(out, "| L-{number:02} | {text} | {difference} | {tests} |");
        }
        out
    }
}

/// `L-07` is 7.
fn number(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("L-")?;
    let valid = (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| valid)
}

/// The statements that a doc comment names.
fn cited(doc: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for (start, _) in doc.match_indices("L-") {
        let rest = &doc[start..];
        let length = |text: &str| 2 + text[2..].bytes().take_while(u8::is_ascii_digit).count();
        let end = length(rest);
        let Some(first) = number(&rest[..end]) else { continue };
        let last = rest[end..].strip_prefix("..").filter(|more| more.starts_with("L-"));
        let last = last.and_then(|more| number(&more[..length(more)])).unwrap_or(first);
        found.extend(first..=last);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# Head\n\n| id | Linux | differs | tests |\n| --- | --- | --- | --- |\n\
        | L-01 | refuses |  | stale |\n| L-09 | cookies | none: no need |  |\n| L-120 | copies |  |  |\n";
    const SOURCE: &str =
        "/// L-01: x\n// on: sim\n#[test]\nfn one() {}\n/// L-120\nfn no_test() {}\n";

    #[test]
    fn tests_fill_the_last_cell_and_what_is_open_is_a_gap() {
        let mut statements = Statements::read(TABLE).unwrap();
        statements.cite("a.rs", SOURCE);
        assert!(statements.text().contains("| L-01 | refuses |  | `a.rs` one |\n"));
        assert!(statements.text().starts_with("# Head\n\n| id "));
        assert_eq!(statements.gaps(), ["L-120: copies"]);
        assert!(statements.unknown().is_empty());
    }

    #[test]
    fn a_range_cites_all_of_it_and_unknown_numbers_are_named() {
        let mut statements = Statements::read(TABLE).unwrap();
        statements.cite("a.rs", "/// As L-08..L-10 (L-1, XL-, L-) say.\n#[test]\nfn one() {}\n");
        assert_eq!(statements.unknown(), ["L-08: `a.rs` one", "L-10: `a.rs` one"]);
    }

    #[test]
    fn a_row_that_is_none_is_named() {
        for bad in [
            "| L-1 | a | b | c |",
            "| L-01 | a | b |",
            "text",
            "| L-99 | a |  |  |\n| L-98 | a |  |  |",
        ] {
            let text = format!("head\n| L-02 | a |  |  |\n{bad}\n");
            assert_eq!(Statements::read(&text).unwrap_err().len(), 1, "{bad}");
        }
    }
}
