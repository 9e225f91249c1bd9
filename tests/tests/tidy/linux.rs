//! The statements about Linux's TCP against the tests.

use std::{env, fs};

use tests::linux_statements::Statements;

use crate::{Workspace, none};

const TABLE: &str = "sim-net/docs/linux-statements.md";

#[track_caller]
fn statements(workspace: &Workspace) -> Statements {
    let read = Statements::read(workspace.text(TABLE));
    let mut statements = read.unwrap_or_else(|lines| panic!("{TABLE}:\n  {}", lines.join("\n  ")));
    let folders = ["sim-net/src/", "sim-net/tests/", "tests/tests/"];
    for file in folders.iter().flat_map(|folder| workspace.rust(folder)) {
        statements.cite(&file.path, &file.text);
    }
    statements
}

#[test]
fn every_statement_about_linux_has_a_test_or_a_difference() {
    let gaps = statements(&Workspace::read()).gaps();
    none("neither a test nor a deliberate difference in sim-net/docs/linux-statements.md:", gaps);
}

#[test]
fn every_cited_statement_about_linux_is_one() {
    none("numbers without a statement:", statements(&Workspace::read()).unknown());
}

#[test]
fn the_table_of_statements_about_linux_is_current() {
    let workspace = Workspace::read();
    let (table, current) = (statements(&workspace).text(), workspace.text(TABLE));
    if env::var_os("SIM_BLESS").is_some() {
        fs::write(workspace.root().join(TABLE), table).expect("the table can be written");
        return;
    }
    let changed = table.lines().zip(current.lines()).filter(|(new, old)| new != old);
    let mut found: Vec<String> = changed.map(|(new, _)| new.to_owned()).collect();
    if found.is_empty() && table != current {
        found.push("its end".to_owned());
    }
    none("out of date; SIM_BLESS=1 cargo test -p tests --test tidy writes it:", found);
}
