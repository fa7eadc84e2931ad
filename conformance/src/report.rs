//! The table of all statements as a page of the documentation.

use std::path::PathBuf;

use crate::statement::{Binds, Specification, Statement, root};

/// Returns the path of the page.
pub fn path() -> PathBuf {
    root().join("../docs/conformance.md")
}

/// Returns the text of the page.
pub fn text() -> String {
    let sections: Vec<_> = Specification::ALL.into_iter().map(section).collect();
    format!("{INTRODUCTION}\n{}", sections.join("\n"))
}

const INTRODUCTION: &str = "\
# Conformance

<!-- Generated from conformance/statements by `MIDGE_CONFORMANCE_UPDATE=1 cargo test -p
     midge-conformance table`; do not edit. -->

Every normative statement of MQTT 3.1.1 and MQTT 5.0 in our words, and the tests of the
`midge-conformance` crate that prove it for the broker. A statement that binds Clients only has a
reason instead, and so has one that does not apply to Midge; what cannot be tested yet says what it
waits for.
";

fn section(specification: Specification) -> String {
    let statements = specification.statements();
    let rows: String = statements.iter().map(row).collect();
    format!(
        "## {}\n\n{}\n\n| statement | binds | in short | shown by |\n\
         | --- | --- | --- | --- |\n{rows}",
        specification.name(),
        summary(&statements),
    )
}

fn summary(statements: &[Statement]) -> String {
    let tested = statements.iter().filter(|statement| !statement.tests.is_empty()).count();
    let waiting = statements.iter().filter(|statement| statement.not_yet.is_some()).count();
    let excused = statements.iter().filter(|statement| statement.not_applicable.is_some()).count();
    let others = statements.len() - tested - waiting - excused;
    let all = statements.len();
    format!(
        "{all} statements: {tested} tested, {waiting} not yet, {excused} not applicable, {others} \
         for Clients only."
    )
}

fn row(statement: &Statement) -> String {
    let binds = match statement.binds {
        Binds::Server => "Server",
        Binds::Client => "Client",
        Binds::Both => "both",
    };
    let tests: Vec<_> = statement.tests.iter().map(|test| format!("`{test}`")).collect();
    let shown = match (&statement.why, &statement.not_yet, &statement.not_applicable) {
        (Some(why), _, _) => why.clone(),
        (None, Some(not_yet), _) => format!("not yet: {not_yet}"),
        (None, None, Some(reason)) => format!("not applicable: {reason}"),
        (None, None, None) => tests.join("<br>"),
    };
    let text = statement.text.replace('|', "\\|");
    format!("| {} | {binds} | {text} | {shown} |\n", statement.id)
}
