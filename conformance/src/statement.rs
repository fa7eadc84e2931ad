//! The tables of normative statements: reading them, checking them against the tests, writing them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One of the two specifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specification {
    /// MQTT 3.1.1.
    V3,
    /// MQTT 5.0.
    V5,
}

/// Who is bound by a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Binds {
    /// Servers only.
    Server,
    /// Clients only.
    Client,
    /// Every sender, or a Client that the Server has to hold to it.
    Both,
}

/// One normative statement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Its number in the specification, such as `MQTT-3.1.0-1`.
    pub id: String,
    /// Who is bound by it.
    pub binds: Binds,
    /// What it says, in our own words.
    pub text: String,
    /// Why no test of a Server can prove it; only for statements that bind Clients.
    pub why: Option<String>,
    /// What is missing before it can be tested.
    pub not_yet: Option<String>,
    /// Why it says nothing about Midge, although it binds Servers.
    pub not_applicable: Option<String>,
    /// The test functions that prove it.
    #[serde(default)]
    pub tests: Vec<String>,
}

#[derive(Deserialize)]
struct File {
    statement: Vec<Statement>,
}

/// Returns the folder of the suite's sources.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Specification {
    /// Both specifications, the older one first.
    pub const ALL: [Self; 2] = [Self::V3, Self::V5];

    /// Returns its name for text.
    pub fn name(self) -> &'static str {
        match self {
            Self::V3 => "MQTT 3.1.1",
            Self::V5 => "MQTT 5.0",
        }
    }

    /// Returns the prefix of the names of its tests.
    pub fn test_prefix(self) -> &'static str {
        match self {
            Self::V3 => "mqtt311_",
            Self::V5 => "mqtt5_",
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Self::V3 => "mqtt-v3.1.1",
            Self::V5 => "mqtt-v5.0",
        }
    }

    /// Returns the path of its table.
    pub fn table_path(self) -> PathBuf {
        root().join(format!("statements/{}.toml", self.stem()))
    }

    /// Returns the ids that its table must have, no more and no fewer.
    ///
    /// # Panics
    /// When the list cannot be read.
    pub fn ids(self) -> Vec<String> {
        let path = root().join(format!("statements/{}.ids", self.stem()));
        read(&path).lines().map(str::to_owned).collect()
    }

    /// Returns its table.
    ///
    /// # Panics
    /// When the table cannot be read.
    pub fn statements(self) -> Vec<Statement> {
        let path = self.table_path();
        let file: File = toml::from_str(&read(&path))
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        file.statement
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Returns what is wrong with `statement` by itself.
pub fn fault(statement: &Statement) -> Option<&'static str> {
    let is_tested = !statement.tests.is_empty();
    let is_waiting = statement.not_yet.is_some();
    let is_excused = statement.not_applicable.is_some();
    let answers = [is_tested, is_waiting, is_excused].into_iter().filter(|it| *it).count();
    match (statement.binds, &statement.why) {
        (Binds::Client, None) => Some("binds Clients only and does not say why"),
        (Binds::Client, Some(_)) if is_waiting => Some("binds Clients only and waits"),
        (Binds::Client, Some(_)) if is_excused => Some("binds Clients only and is not applicable"),
        (Binds::Client, Some(_)) => None,
        (_, Some(_)) => Some("binds Servers and says why not"),
        (_, None) if answers == 0 => Some("has neither tests nor not_yet nor not_applicable"),
        (_, None) if answers > 1 => Some("has more than one of tests, not_yet, not_applicable"),
        (_, None) => None,
    }
}

/// Returns the text of a table whose statements list the tests of `proofs` (statement id to names).
pub fn table_text(statements: &[Statement], proofs: &BTreeMap<String, Vec<String>>) -> String {
    let entries = statements.iter().map(|statement| {
        let tests = proofs.get(&statement.id).map_or(&[][..], Vec::as_slice);
        entry_text(statement, tests)
    });
    entries.collect::<Vec<_>>().join("\n")
}

fn entry_text(statement: &Statement, tests: &[String]) -> String {
    let binds = match statement.binds {
        Binds::Server => "server",
        Binds::Client => "client",
        Binds::Both => "both",
    };
    let mut text = format!("[[statement]]\nid = {:?}\nbinds = {binds:?}\n", statement.id);
    append(&mut text, format_args!("text = {:?}\n", statement.text));
    if let Some(why) = &statement.why {
        append(&mut text, format_args!("why = {why:?}\n"));
    }
    if let Some(not_yet) = &statement.not_yet {
        append(&mut text, format_args!("not_yet = {not_yet:?}\n"));
    }
    if let Some(not_applicable) = &statement.not_applicable {
        append(&mut text, format_args!("not_applicable = {not_applicable:?}\n"));
    }
    match tests {
        [] => {}
        [test] => append(&mut text, format_args!("tests = [{test:?}]\n")),
        tests => {
            let lines: String = tests.iter().map(|test| format!("    {test:?},\n")).collect();
            append(&mut text, format_args!("tests = [\n{lines}]\n"));
        }
    }
    text
}

fn append(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("writing to a String");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(binds: Binds) -> Statement {
        let (id, text) = ("MQTT-1.0.0-1".to_owned(), "A rule.".to_owned());
        let tests = Vec::new();
        Statement { id, binds, text, why: None, not_yet: None, not_applicable: None, tests }
    }

    #[test]
    fn statement_that_binds_servers_has_exactly_one_answer() {
        let open = statement(Binds::Server);
        assert!(fault(&open).is_some());
        let reason = || Some("a reason".to_owned());
        let excused = Statement { not_applicable: reason(), ..open.clone() };
        let waiting = Statement { not_yet: reason(), ..open.clone() };
        let tested = Statement { tests: vec!["a_test".to_owned()], ..open };
        for one in [&excused, &waiting, &tested] {
            assert_eq!(fault(one), None);
        }
        assert!(fault(&Statement { not_yet: reason(), ..excused.clone() }).is_some());
        assert!(fault(&Statement { not_applicable: reason(), ..tested }).is_some());
    }

    #[test]
    fn statement_that_binds_clients_says_why() {
        let open = statement(Binds::Client);
        assert!(fault(&open).is_some());
        let explained = Statement { why: Some("a reason".to_owned()), ..open };
        assert_eq!(fault(&explained), None);
        let excused = Statement { not_applicable: Some("a reason".to_owned()), ..explained };
        assert!(fault(&excused).is_some());
    }
}
