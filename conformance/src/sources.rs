//! What the sources of the tests say: which tests prove which statements.
//!
//! A test names its statements in its documentation, as `[MQTT-3.1.0-1]`.

use std::collections::BTreeMap;
use std::fs;

use crate::statement::{Specification, root};

/// A test function and the statements that its documentation names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// The name of the function.
    pub name: String,
    /// The ids, in the order in which they are named.
    pub ids: Vec<String>,
}

/// Returns all test functions of the suite, file by file.
///
/// # Panics
/// When the sources cannot be read.
pub fn tests() -> Vec<Test> {
    let folder = root().join("tests/it");
    let mut paths: Vec<_> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("a file of the folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    paths.sort();
    let texts = paths.iter().map(|path| {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    });
    texts.flat_map(|text| tests_of(&text)).collect()
}

/// Returns the tests in the text of one file.
fn tests_of(text: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut ids = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if let Some(documentation) = line.strip_prefix("///") {
            ids.extend(ids_of(documentation));
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(signature) = line.strip_prefix("fn ") {
            let name = signature.split('(').next().unwrap_or_default().to_owned();
            let ids = std::mem::take(&mut ids);
            if std::mem::take(&mut is_test) {
                tests.push(Test { name, ids });
            }
        }
    }
    tests
}

fn ids_of(documentation: &str) -> impl Iterator<Item = String> {
    let parts = documentation.split('[').skip(1);
    let inner = parts.filter_map(|part| part.split_once(']').map(|(inner, _)| inner));
    inner.filter(|inner| inner.starts_with("MQTT-")).map(str::to_owned)
}

/// Returns, for each statement of `specification`, the sorted names of its tests.
pub fn proofs(specification: Specification, tests: &[Test]) -> BTreeMap<String, Vec<String>> {
    let mut proofs = BTreeMap::<String, Vec<String>>::new();
    let prefix = specification.test_prefix();
    for test in tests.iter().filter(|test| test.name.starts_with(prefix)) {
        for id in &test.ids {
            proofs.entry(id.clone()).or_default().push(test.name.clone());
        }
    }
    proofs.values_mut().for_each(|names| names.sort());
    proofs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_tests_and_their_ids() {
        let text =
            "/// [MQTT-1-1] [MQTT-1-2]: why\n#[test]\nfn a() {}\n/// [MQTT-1-3]\nfn b() {}\n";
        let ids = vec!["MQTT-1-1".to_owned(), "MQTT-1-2".to_owned()];
        assert_eq!(tests_of(text), [Test { name: "a".to_owned(), ids }]);
    }
}
