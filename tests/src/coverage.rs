//! Which statement of the contract is covered by which test, on which loop.
//!
//! Pure string processing: the `tidy` test reads the files and calls this. Three inputs meet here.
//!
//! * *Statements*, from `sim-core/docs/contract.md`: list items `- **A-01** [both] text` and table
//!   rows `| J-01 | both | text |`.
//! * *Citations*, from test sources: the doc comment of a test begins with ids and a colon,
//!   `/// A-03, A-04: every handle of the snapshot runs.`
//! * *Deferrals*, from `sim-core/docs/deferred.md`: `- **E-08..E-10** issue 5: happy eyeballs.`

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A loop that a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum On {
    /// The simulated loop.
    Sim,
    /// The real loop.
    Real,
    /// The engine alone, over a scripted driver. It is the same code under both loops, so such a
    /// test counts for either.
    Engine,
}

impl On {
    fn name(self) -> &'static str {
        match self {
            Self::Sim => "sim",
            Self::Real => "real",
            Self::Engine => "engine",
        }
    }

    /// Whether a test that runs here shows what `scope` asks of `wanted`.
    fn shows(self, wanted: On) -> bool {
        self == wanted || self == Self::Engine
    }
}

const BOTH: &[On] = &[On::Sim, On::Real];

/// A statement of the contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Its id.
    pub id: String,
    /// The word in brackets: `both`, `sim` or `real`.
    pub scope: String,
    /// The heading of the section that it stands in.
    pub section: String,
}

impl Statement {
    /// The loops that it speaks of.
    fn loops(&self) -> &'static [On] {
        match self.scope.as_str() {
            "sim" => &[On::Sim],
            "real" => &[On::Real],
            _ => BOTH,
        }
    }
}

/// A test that cites an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Citation {
    /// The id.
    pub id: String,
    /// The test's file, relative to the workspace.
    pub file: String,
    /// The test's name.
    pub test: String,
    /// The loops it runs on.
    pub on: Vec<On>,
}

/// A reason why ids have no test yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deferral {
    /// The first id.
    pub first: String,
    /// The last id, the first one itself for a single id.
    pub last: String,
    /// `issue 5`, `types`, `python` or `restated`.
    pub state: String,
    /// The reason.
    pub reason: String,
}

impl Deferral {
    fn covers(&self, id: &str) -> bool {
        let (Some((group, n)), Some((first_group, first)), Some((_, last))) =
            (split(id), split(&self.first), split(&self.last))
        else {
            return false;
        };
        group == first_group && (first..=last).contains(&n)
    }

    fn label(&self) -> String {
        if self.first == self.last {
            self.first.clone()
        } else {
            format!("{}..{}", self.first, self.last)
        }
    }
}

/// What can follow the ids of a deferral, besides `issue N`.
const STATES: &[&str] = &["types", "python", "restated"];

/// An id in its parts: `A-03` is `("A", 3)`.
fn split(id: &str) -> Option<(&str, u32)> {
    let (group, digits) = id.split_once('-')?;
    let two_digits = digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_digit());
    let contract = group == "TR" || (group.len() == 1 && ("A"..="K").contains(&group));
    (two_digits && contract).then(|| (group, digits.parse().expect("two digits")))
}

/// The statements of `contract`, in its order, or what is wrong with it.
///
/// # Errors
///
/// A line each for items that do not parse and for ids that come twice.
pub fn statements(contract: &str) -> Result<Vec<Statement>, Vec<String>> {
    let mut found: Vec<Statement> = Vec::new();
    let mut section = String::new();
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(contract.lines()) {
        if let Some(heading) = line.strip_prefix('#') {
            section = heading.trim_start_matches('#').trim().to_owned();
            continue;
        }
        let Some((id, scope)) = statement(line) else {
            if line.starts_with("- **") {
                wrong.push(format!("contract.md:{number}: not `- **A-01** [scope] text`: {line}"));
            }
            continue;
        };
        if !["both", "sim", "real"].contains(&scope) {
            wrong.push(format!(
                "contract.md:{number}: {id}: scope `{scope}`: say both, sim or real"
            ));
        }
        if found.iter().any(|other| other.id == id) {
            wrong.push(format!("contract.md:{number}: {id} is there already"));
        }
        found.push(Statement { id: id.into(), scope: scope.into(), section: section.clone() });
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

fn statement(line: &str) -> Option<(&str, &str)> {
    let (id, scope) = if let Some(rest) = line.strip_prefix("- **") {
        let (id, rest) = rest.split_once("** [")?;
        (id, rest.split_once("] ")?.0)
    } else {
        let mut cells = line.strip_prefix("| ")?.split(" | ");
        (cells.next()?, cells.next()?)
    };
    split(id).map(|_| (id, scope))
}

/// The deferrals of `text`, or what is wrong with it.
///
/// # Errors
///
/// A line for each item that does not parse.
pub fn deferrals(text: &str) -> Result<Vec<Deferral>, Vec<String>> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let Some(item) = line.strip_prefix("- **") else {
            continue;
        };
        match deferral(item) {
            Some(deferral) => found.push(deferral),
            None => wrong.push(format!(
                "deferred.md:{number}: not `- **A-01** issue N: reason` (or types, python, \
                 restated; a range is `A-01..A-03`): {line}"
            )),
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

fn deferral(item: &str) -> Option<Deferral> {
    let (ids, rest) = item.split_once("** ")?;
    let (first, last) = ids.split_once("..").unwrap_or((ids, ids));
    let (state, reason) = rest.split_once(": ")?;
    let issue = state.strip_prefix("issue ").is_some_and(|n| n.parse::<u32>().is_ok());
    let (first_group, last_group) = (split(first)?.0, split(last)?.0);
    let valid = first_group == last_group && (issue || STATES.contains(&state));
    valid.then(|| Deferral {
        first: first.into(),
        last: last.into(),
        state: state.into(),
        reason: reason.trim_end_matches('.').into(),
    })
}

/// The citations in the tests of `source`, which is the file `file` of the workspace, or what is
/// wrong with them.
///
/// A test is a function inside `both_loops! { .. }`, `sim_only! { .. }` or `real_only! { .. }`, or
/// one with `#[test]`. The latter runs where a line `// on: sim, real` between its doc comment and
/// its signature says, or else where its crate's tests run.
///
/// # Errors
///
/// A line for each test whose ids or loops cannot be told.
pub fn citations(file: &str, source: &str) -> Result<Vec<Citation>, Vec<String>> {
    let mut found = Vec::new();
    let mut wrong = Vec::new();
    let mut harness: Option<(&'static [On], usize)> = None;
    let mut above = Above::default();
    for (number, line) in (1..).zip(source.lines()) {
        let text = line.trim_start();
        let indent = line.len() - text.len();
        if let Some(on) = harness_of(text) {
            harness = Some((on, indent));
            above = Above::default();
        } else if harness.is_some_and(|(_, opened)| text == "}" && indent == opened) {
            harness = None;
        } else if let Some(doc) = text.strip_prefix("///") {
            above.doc.push(doc.trim());
        } else if let Some(marker) = text.strip_prefix("// on:") {
            above.marker = Some(marker);
        } else if text.starts_with("#[") {
            above.is_test |= text.starts_with("#[test]");
        } else if let Some(test) = function_name(text) {
            let place = format!("{file}:{number}: {test}");
            let is_test = above.is_test || harness.is_some();
            match ids(&above.doc.join(" ")) {
                _ if !is_test => {}
                Err(token) => wrong.push(format!("{place}: `{token}` is not an id like A-03")),
                Ok(ids) if ids.is_empty() => {}
                Ok(ids) => match loops(above.marker, harness.map(|(on, _)| on), file) {
                    Some(on) => found.extend(ids.into_iter().map(|id| Citation {
                        id,
                        file: file.into(),
                        test: test.into(),
                        on: on.clone(),
                    })),
                    None => wrong.push(format!(
                        "{place}: say where it runs: `// on: engine` (or sim, real) above the fn"
                    )),
                },
            }
            above = Above::default();
        } else if !text.starts_with("//") {
            above = Above::default();
        }
    }
    if wrong.is_empty() { Ok(found) } else { Err(wrong) }
}

/// What stands above a function.
#[derive(Default)]
struct Above<'a> {
    doc: Vec<&'a str>,
    marker: Option<&'a str>,
    is_test: bool,
}

/// The loops of a harness macro that is opened on this line: its name says it.
fn harness_of(text: &str) -> Option<&'static [On]> {
    let name = text.split_once("! {")?.0.rsplit("::").next()?;
    match name.split('_').next()? {
        "both" => Some(BOTH),
        "sim" => Some(&[On::Sim]),
        "real" => Some(&[On::Real]),
        _ => None,
    }
}

fn function_name(text: &str) -> Option<&str> {
    let text = text.strip_prefix("pub ").unwrap_or(text);
    let text = text.strip_prefix("async ").unwrap_or(text);
    let rest = text.strip_prefix("fn ")?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some(&rest[..end])
}

/// The ids that a doc comment begins with: none if it does not begin with one, an error if it
/// begins like one that is not well formed. `L-12` is a statement about Linux, not of this contract.
fn ids(doc: &str) -> Result<Vec<String>, String> {
    let first = doc.split([',', ':', ' ']).next().unwrap_or_default();
    if !looks_like_an_id(first) {
        return Ok(Vec::new());
    }
    let head = doc.split_once(": ").or_else(|| doc.split_once(':')).map_or(doc, |(head, _)| head);
    let tokens = head.split(',').map(str::trim).filter(|token| !token.starts_with("L-"));
    tokens
        .map(|token| split(token).map(|_| token.to_owned()).ok_or_else(|| token.to_owned()))
        .collect()
}

fn looks_like_an_id(token: &str) -> bool {
    token.split_once('-').is_some_and(|(group, digits)| {
        (1..=2).contains(&group.len())
            && group.bytes().all(|b| b.is_ascii_uppercase())
            && digits.bytes().next().is_some_and(|b| b.is_ascii_digit())
    })
}

/// Where a test runs: what its marker says, else its harness, else its crate.
fn loops(marker: Option<&str>, harness: Option<&'static [On]>, file: &str) -> Option<Vec<On>> {
    if let Some(marker) = marker {
        let named = |word: &str| {
            [On::Sim, On::Real, On::Engine].into_iter().find(|on| on.name() == word.trim())
        };
        return marker.split(',').map(named).collect();
    }
    if let Some(on) = harness {
        return Some(on.to_vec());
    }
    match file.split('/').next()? {
        "sim-core" => Some(vec![On::Engine]),
        "sim-net" | "sim-check" => Some(vec![On::Sim]),
        "real-net" => Some(vec![On::Real]),
        _ => None,
    }
}

/// The contract, its tests and its deferrals, held against each other.
#[derive(Debug)]
pub struct Coverage {
    statements: Vec<Statement>,
    deferrals: Vec<Deferral>,
    by_id: BTreeMap<String, Vec<Citation>>,
}

impl Coverage {
    /// Sorts `citations` to their statements.
    pub fn new(
        statements: Vec<Statement>,
        deferrals: Vec<Deferral>,
        citations: Vec<Citation>,
    ) -> Self {
        let mut by_id: BTreeMap<String, Vec<Citation>> = BTreeMap::new();
        for citation in citations {
            by_id.entry(citation.id.clone()).or_default().push(citation);
        }
        for tests in by_id.values_mut() {
            tests.sort_by(|a, b| (&a.file, &a.test).cmp(&(&b.file, &b.test)));
        }
        Self { statements, deferrals, by_id }
    }

    /// A line for each test that cites an id which the contract does not have.
    pub fn unknown(&self) -> Vec<String> {
        let known: BTreeSet<&str> = self.statements.iter().map(|s| s.id.as_str()).collect();
        let tests = self.by_id.values().flatten();
        let unknown = tests.filter(|test| !known.contains(test.id.as_str()));
        unknown
            .map(|t| format!("{}: {} cites {}, which is no statement", t.file, t.test, t.id))
            .collect()
    }

    /// A line for each statement that has no test on a loop that it speaks of, and no deferral.
    pub fn gaps(&self) -> Vec<String> {
        let open = self.statements.iter().filter(|s| self.deferral(&s.id).is_none());
        open.filter_map(|s| {
            let missing = self.missing(s);
            (!missing.is_empty())
                .then(|| format!("{} [{}]: no test on {}", s.id, s.scope, names(&missing)))
        })
        .collect()
    }

    /// A line for each deferral that names no statement, or only statements that are covered.
    pub fn stale(&self) -> Vec<String> {
        let stale = self.deferrals.iter().filter_map(|deferral| {
            let mut named = self.statements.iter().filter(|s| deferral.covers(&s.id)).peekable();
            if named.peek().is_none() {
                return Some(format!("deferred.md: {}: no such statement", deferral.label()));
            }
            let covered = named.all(|s| self.missing(s).is_empty());
            covered
                .then(|| format!("deferred.md: {} is covered now: take it out", deferral.label()))
        });
        stale.collect()
    }

    fn tests(&self, id: &str) -> &[Citation] {
        self.by_id.get(id).map_or(&[], Vec::as_slice)
    }

    fn deferral(&self, id: &str) -> Option<&Deferral> {
        self.deferrals.iter().find(|deferral| deferral.covers(id))
    }

    /// The loops on which a statement should be tested and is not.
    fn missing(&self, statement: &Statement) -> Vec<On> {
        let shown = |wanted: On| {
            self.tests(&statement.id).iter().flat_map(|test| &test.on).any(|on| on.shows(wanted))
        };
        statement.loops().iter().copied().filter(|&wanted| !shown(wanted)).collect()
    }

    /// The table, as markdown.
    pub fn table(&self) -> String {
        let mut out = String::from(
            "# What is tested where\n\n\
             Made by the `tidy` test from the contract, from the ids that tests cite, and from\n\
             `deferred.md`; `SIM_BLESS=1 cargo test -p tests --test tidy` writes it anew.\n\n\
             \"engine\" is a test of the engine over a scripted driver: both loops run that code. Files\n\
             without a folder are in `tests/tests/conformance`.\n\n",
        );
        self.summary(&mut out);
        let mut section = None;
        for statement in &self.statements {
            if section != Some(&statement.section) {
                section = Some(&statement.section);
                let title = &statement.section;
                let _ = write!(
                    out,
                    "\n## {title}\n\n| id | scope | on | tests |\n| --- | --- | --- | --- |\n"
                );
            }
            let (on, tests) = self.row(statement);
            let _ = writeln!(out, "| {} | {} | {on} | {tests} |", statement.id, statement.scope);
        }
        out
    }

    fn summary(&self, out: &mut String) {
        let group = |s: &Statement| split(&s.id).map_or("", |(group, _)| group).to_owned();
        let mut counts: BTreeMap<String, [usize; 4]> = BTreeMap::new();
        for statement in &self.statements {
            let count = counts.entry(group(statement)).or_default();
            count[0] += 1;
            let kind = match (self.missing(statement).is_empty(), self.deferral(&statement.id)) {
                (true, _) => 1,
                (false, Some(_)) => 2,
                (false, None) => 3,
            };
            count[kind] += 1;
        }
        let total = counts.values().fold([0; 4], |mut sum, count| {
            sum.iter_mut().zip(count).for_each(|(sum, n)| *sum += n);
            sum
        });
        out.push_str("| section | statements | tested | left for a reason | open |\n");
        out.push_str("| --- | --- | --- | --- | --- |\n");
        for (group, [all, tested, left, open]) in counts.into_iter().chain([("all".into(), total)])
        {
            let _ = writeln!(out, "| {group} | {all} | {tested} | {left} | {open} |");
        }
    }

    /// The last two cells of a statement's row.
    fn row(&self, statement: &Statement) -> (String, String) {
        let tests = self.tests(&statement.id);
        let on: BTreeSet<On> = tests.iter().flat_map(|test| test.on.iter().copied()).collect();
        let on: Vec<On> = on.into_iter().collect();
        let mut cells: Vec<String> = tests.iter().map(name).collect();
        cells.dedup();
        let missing = self.missing(statement);
        if !missing.is_empty() {
            cells.push(match self.deferral(&statement.id) {
                Some(Deferral { state, reason, .. }) => match state.as_str() {
                    "types" => format!("held by types: {reason}"),
                    "python" => format!("does not apply: {reason}"),
                    "restated" => reason.clone(),
                    issue => format!("left for {issue}: {reason}"),
                },
                None => format!("**open** on {}", names(&missing)),
            });
        }
        (names(&on), cells.join("<br>"))
    }
}

fn names(on: &[On]) -> String {
    on.iter().map(|on| on.name()).collect::<Vec<_>>().join(", ")
}

fn name(test: &Citation) -> String {
    let file = test.file.strip_prefix("tests/tests/conformance/").unwrap_or(&test.file);
    format!("`{file}` {}", test.test)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTRACT: &str = "# A. Loop\n\n- **A-01** [both] text\n- **A-02** [sim] ≠ text\n\n\
        # J. Bugs\n\n| id | scope | bug |\n| --- | --- | --- |\n| J-01 | real | text |\n";

    fn coverage(deferred: &str, tests: &str) -> Coverage {
        Coverage::new(
            statements(CONTRACT).unwrap(),
            deferrals(deferred).unwrap(),
            citations("tests/tests/conformance/x.rs", tests).unwrap(),
        )
    }

    #[test]
    fn items_and_rows_are_statements_and_their_headings_are_known() {
        let found = statements(CONTRACT).unwrap();
        let short: Vec<_> =
            found.iter().map(|s| (s.id.as_str(), s.scope.as_str(), s.section.as_str())).collect();
        assert_eq!(
            short,
            [("A-01", "both", "A. Loop"), ("A-02", "sim", "A. Loop"), ("J-01", "real", "J. Bugs")]
        );
    }

    #[test]
    fn a_contract_with_a_bad_item_an_odd_scope_or_a_double_id_is_refused() {
        for bad in ["- **A-1** [both] x", "- **A-01** both x", "- **A-01** [sims] x"] {
            assert_eq!(statements(bad).unwrap_err().len(), 1, "{bad}");
        }
        let twice = "- **A-01** [both] x\n- **A-01** [both] y\n";
        assert_eq!(statements(twice).unwrap_err(), ["contract.md:2: A-01 is there already"]);
    }

    #[test]
    fn a_test_in_a_harness_runs_on_the_loops_of_the_harness() {
        let source = "both_loops! {\n    /// A-01, A-02: text that\n    /// goes on: here.\n    \
            async fn one(world: World) {\n        if x {\n        }\n    }\n}\n\
            sim_only! {\n    /// A-02: x\n    fn two() {}\n}\n\
            /// A-01: no test, since neither harness nor attribute says so.\nfn three() {}\n";
        let found = citations("tests/tests/conformance/x.rs", source).unwrap();
        let short: Vec<_> =
            found.iter().map(|c| (c.id.as_str(), c.test.as_str(), names(&c.on))).collect();
        assert_eq!(
            short,
            [
                ("A-01", "one", "sim, real".into()),
                ("A-02", "one", "sim, real".into()),
                ("A-02", "two", "sim".into())
            ]
        );
    }

    #[test]
    fn a_plain_test_runs_where_its_marker_or_its_crate_says() {
        let plain = "/// A-01: x\n#[test]\nfn t() {}\n";
        let on = |file: &str, source: &str| citations(file, source).map(|c| names(&c[0].on));
        assert_eq!(on("sim-core/src/x.rs", plain), Ok("engine".into()));
        assert_eq!(on("real-net/src/x.rs", plain), Ok("real".into()));
        assert!(on("tests/tests/x.rs", plain).is_err());
        let marked = "/// A-01: x\n// on: engine, real\n#[test]\nfn t() {}\n";
        assert_eq!(on("tests/tests/x.rs", marked), Ok("engine, real".into()));
    }

    #[test]
    fn a_malformed_id_is_an_error_and_other_docs_are_none() {
        let source = |doc: &str| format!("/// {doc}\n#[test]\nfn t() {{}}\n");
        let cited =
            |doc: &str| citations("sim-core/src/x.rs", &source(doc)).map(|found| found.len());
        assert_eq!(cited("Nothing to see: here."), Ok(0));
        assert_eq!(cited("UTF-8: text"), Ok(0));
        assert_eq!(cited("L-12: about Linux"), Ok(0));
        assert_eq!(cited("A-01, L-12: both"), Ok(1));
        assert!(cited("A-1: text").is_err());
        assert!(cited("A-01 and A-02: text").is_err());
    }

    #[test]
    fn a_gap_names_the_loops_that_lack_a_test() {
        let coverage = coverage("", "sim_only! {\n/// A-01, A-02: x\nfn t() {}\n}\n");
        assert_eq!(
            coverage.gaps(),
            ["A-01 [both]: no test on real", "J-01 [real]: no test on real"]
        );
    }

    #[test]
    fn an_engine_test_counts_for_both_loops() {
        let coverage = coverage("", "/// A-01: x\n// on: engine\n#[test]\nfn t() {}\n");
        assert_eq!(coverage.gaps().len(), 2);
        assert!(coverage.table().contains("| A-01 | both | engine | `x.rs` t |"));
    }

    #[test]
    fn a_deferral_fills_a_gap_until_a_test_makes_it_stale() {
        let deferred = "- **A-01** issue 5: because.\n- **A-02..A-09** types: so it is.\n- **B-01** python: x\n";
        let coverage = coverage(deferred, "both_loops! {\n/// A-01: x\nfn t() {}\n}\n");
        assert_eq!(coverage.gaps(), ["J-01 [real]: no test on real"]);
        assert_eq!(
            coverage.stale(),
            [
                "deferred.md: A-01 is covered now: take it out",
                "deferred.md: B-01: no such statement"
            ]
        );
        assert!(coverage.table().contains("| A-02 | sim |  | held by types: so it is |"));
    }

    #[test]
    fn a_deferral_needs_a_known_state_and_a_reason() {
        for bad in ["- **A-01** later: x", "- **A-01** issue 5", "- **A-01..B-02** types: x"] {
            assert!(deferrals(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_unknown_id_is_named_with_its_test() {
        let coverage = coverage("", "sim_only! {\n/// K-99: x\nfn t() {}\n}\n");
        assert_eq!(
            coverage.unknown(),
            ["tests/tests/conformance/x.rs: t cites K-99, which is no statement"]
        );
    }
}
