//! The contract against the tests.

use std::{env, fs};

use tests::coverage::{self, Coverage};

use crate::{Workspace, none};

const TABLE: &str = "sim-core/docs/coverage.md";

#[track_caller]
fn coverage(workspace: &Workspace) -> Coverage {
    let statements = coverage::statements(workspace.text("sim-core/docs/contract.md"));
    let deferrals = coverage::deferrals(workspace.text("sim-core/docs/deferred.md"));
    let mut citations = Vec::new();
    let mut wrong = Vec::new();
    let sources = workspace.rust("").filter(|file| {
        // This crate's own library and this test hold samples of citations.
        !file.path.starts_with("tests/src/") && !file.path.starts_with("tests/tests/tidy/")
    });
    for file in sources {
        match coverage::citations(&file.path, &file.text) {
            Ok(found) => citations.extend(found),
            Err(lines) => wrong.extend(lines),
        }
    }
    none("citations that cannot be read:", wrong);
    let unwrap = |lines: Vec<String>| -> ! { panic!("cannot be read:\n  {}", lines.join("\n  ")) };
    Coverage::new(
        statements.unwrap_or_else(|lines| unwrap(lines)),
        deferrals.unwrap_or_else(|lines| unwrap(lines)),
        citations,
    )
}

#[test]
fn every_cited_id_is_a_statement() {
    none("ids without a statement:", coverage(&Workspace::read()).unknown());
}

#[test]
fn every_statement_has_a_test_or_a_reason() {
    let coverage = coverage(&Workspace::read());
    none("statements without a test, and not in sim-core/docs/deferred.md:", coverage.gaps());
}

#[test]
fn no_reason_outlives_its_gap() {
    none("deferrals to take out:", coverage(&Workspace::read()).stale());
}

#[test]
fn the_coverage_table_is_current() {
    let workspace = Workspace::read();
    let table = coverage(&workspace).table();
    let path = workspace.root().join(TABLE);
    if env::var_os("SIM_BLESS").is_some() {
        fs::write(&path, table).expect("the table can be written");
        return;
    }
    let current = fs::read_to_string(&path).unwrap_or_default();
    let pairs = table.lines().zip(current.lines());
    let same = pairs.take_while(|(new, old)| new == old).count();
    let line = |text: &str| text.lines().nth(same).unwrap_or("(its end)").to_owned();
    assert!(
        table == current,
        "{TABLE} is out of date; SIM_BLESS=1 cargo test -p tests --test tidy writes it\n  \
         line {}\n  is        {}\n  should be {}",
        same + 1,
        line(&current),
        line(&table),
    );
}
