//! The tables name every statement once, each with the tests that prove it, and nothing else.
//!
//! `MIDGE_CONFORMANCE_UPDATE=1` rewrites the lists of tests and the page of the documentation.

use std::collections::BTreeSet;
use std::env;
use std::fs;

use midge_conformance::report;
use midge_conformance::sources::{proofs, tests};
use midge_conformance::statement::{Specification, fault, table_text};

const UPDATE_VARIABLE: &str = "MIDGE_CONFORMANCE_UPDATE";

#[test]
fn table_has_exactly_the_statements_of_the_specification() {
    for specification in Specification::ALL {
        let statements = specification.statements();
        let ids: Vec<_> = statements.into_iter().map(|statement| statement.id).collect();
        assert_eq!(ids, specification.ids(), "{}", specification.name());
    }
}

#[test]
fn table_lists_the_tests_that_name_their_statements() {
    let tests = tests();
    for specification in Specification::ALL {
        let statements = specification.statements();
        let text = table_text(&statements, &proofs(specification, &tests));
        compare_or_update(&specification.table_path(), &text);
    }
    compare_or_update(&report::path(), &report::text());
}

#[test]
fn table_leaves_no_statement_for_a_server_open() {
    let statements = Specification::ALL.into_iter().flat_map(|specification| {
        let name = specification.name();
        specification.statements().into_iter().map(move |statement| (name, statement))
    });
    let faults: Vec<_> = statements
        .filter_map(|(name, statement)| {
            fault(&statement).map(|fault| format!("{name} {}: {fault}", statement.id))
        })
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn table_knows_every_id_that_a_test_names() {
    for specification in Specification::ALL {
        let known: BTreeSet<_> = specification.ids().into_iter().collect();
        let proofs = proofs(specification, &tests());
        let unknown: Vec<_> = proofs.keys().filter(|id| !known.contains(*id)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", specification.name());
    }
}

#[test]
fn table_test_names_are_unique_and_carry_their_first_statement() {
    let mut seen = BTreeSet::new();
    for test in tests().into_iter().filter(|test| !test.ids.is_empty()) {
        let number = test.ids[0].trim_start_matches("MQTT-").replace(['.', '-'], "_");
        let names = Specification::ALL.map(|it| format!("{}{number}_", it.test_prefix()));
        let is_named = names.iter().any(|name| test.name.starts_with(name));
        assert!(is_named, "{} should begin with one of {names:?}", test.name);
        assert!(seen.insert(test.name.clone()), "{} occurs twice", test.name);
    }
}

fn compare_or_update(path: &std::path::Path, text: &str) {
    if env::var_os(UPDATE_VARIABLE).is_some() {
        fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    let is_current = written == text;
    assert!(is_current, "{} is out of date: run with {UPDATE_VARIABLE}=1", path.display());
}
