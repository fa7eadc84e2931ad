//! Environment variables over the file: `MIDGE_SECTION_KEY`, and `MIDGE_SECTION_NUMBER_KEY` for a
//! section that can be repeated (`MIDGE_LISTENER_0_BIND`). A dot in the name of a key becomes a `_`
//! (`MIDGE_LISTENER_0_TLS_CERTIFICATE`).
//!
//! A variable that begins with `MIDGE_` but names no key is an error, because it was meant to have
//! an effect. Three kinds are no error: those of other commands, those of the tests, and those that
//! Kubernetes sets in every container for a Service whose name begins with "midge".

use midge_core::counted;

use super::document::TABLES_MAX;
use super::nearest::nearest;
use super::problem::{Origin, Problem};
use super::schema::{Key, Schema, Section};
use super::settings::{Setting, Settings, Table};
use super::value::Given;

/// Environment variables: names and values. A value that is not UTF-8 is `None`.
pub(crate) type Variables = Vec<(String, Option<String>)>;

/// The variable that names the configuration file.
pub(crate) const FILE_VARIABLE: &str = "MIDGE_CONFIG";

const PREFIX: &str = "MIDGE_";

/// Variables of other commands and of the tests.
const PREFIXES_OF_OTHERS: &[&str] =
    &["MIDGE_CONFORMANCE_", "MIDGE_TEST_", "MIDGE_BENCH_", "MIDGE_PASSWORD"];

/// A key that a variable names.
struct Target<'s> {
    section: &'s Section,
    index: usize,
    key: &'s Key,
}

/// Returns the variables of this process that may concern the configuration.
pub(crate) fn of_process() -> Variables {
    let variables = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.into_string().ok().filter(|name| name.starts_with(PREFIX))?;
        Some((name, value.into_string().ok()))
    });
    variables.collect()
}

/// Writes the variables over what the file says.
pub(crate) fn apply(
    variables: &Variables,
    schema: &Schema,
    settings: &mut Settings,
    problems: &mut Vec<Problem>,
) {
    let mut targets = Vec::new();
    for (name, value) in variables {
        let value = value.as_deref();
        if !concerns_configuration(name, value.unwrap_or_default()) {
            continue;
        }
        match find_target(name, schema) {
            Some(target) => targets.push((name, value, target)),
            None => problems.push(unknown(name, schema)),
        }
    }
    // By number, so that one section can be added after another.
    targets.sort_by_key(|(name, _, target)| (target.index, *name));
    for (name, value, target) in targets {
        if let Err(problem) = write(name, value, &target, settings) {
            problems.push(problem);
        }
    }
}

fn concerns_configuration(name: &str, value: &str) -> bool {
    let is_of_others = PREFIXES_OF_OTHERS.iter().any(|prefix| name.starts_with(prefix));
    name.starts_with(PREFIX)
        && name != FILE_VARIABLE
        && !is_of_others
        && !is_of_kubernetes(name, value)
}

/// Whether Kubernetes sets a variable like this one: `MIDGE_SERVICE_HOST`,
/// `MIDGE_PORT=tcp://10.0.0.1:1883`, `MIDGE_PORT_1883_TCP_ADDR` and so on.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    let is_port = name.split_once("_PORT_").is_some_and(|(_, rest)| {
        let (number, rest) = rest.split_once('_').unwrap_or_default();
        let is_number = !number.is_empty() && number.chars().all(|char| char.is_ascii_digit());
        is_number && ["TCP", "UDP", "SCTP"].iter().any(|protocol| rest.starts_with(protocol))
    });
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    is_port
        || (name.ends_with("_PORT") && is_url)
        || name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
}

fn find_target<'s>(name: &str, schema: &'s Schema) -> Option<Target<'s>> {
    let rest = name.strip_prefix(PREFIX)?;
    schema.sections.iter().find_map(|section| {
        let rest = rest.strip_prefix(&section.name.to_ascii_uppercase())?.strip_prefix('_')?;
        let (index, rest) = match (section.repeated, rest.split_once('_')) {
            (false, _) => (0, rest),
            (true, Some((number, rest))) => (number.parse().ok()?, rest),
            (true, None) => return None,
        };
        let key = section.keys.iter().find(|key| in_variable(key) == rest)?;
        Some(Target { section, index, key })
    })
}

fn unknown(name: &str, schema: &Schema) -> Problem {
    let problem = Problem::new(
        Origin::Environment(name.to_string()),
        format!("{name} names no key of the configuration"),
    );
    let names = names(schema);
    // A number in the middle is no typing mistake.
    let pattern: Vec<_> = name.split('_').map(number_as_n).collect();
    match nearest(&pattern.join("_"), names.iter().map(String::as_str)) {
        Some(name) => problem.help(format!("the nearest is {name}")),
        None => problem.help("variables are called MIDGE_SECTION_KEY"),
    }
}

fn number_as_n(part: &str) -> &str {
    let is_number = !part.is_empty() && part.chars().all(|char| char.is_ascii_digit());
    if is_number { "N" } else { part }
}

/// Lists the names of all variables, with `N` for numbers.
fn names(schema: &Schema) -> Vec<String> {
    let sections = schema.sections.iter();
    sections.flat_map(|section| section.keys.iter().map(|key| variable(section, key))).collect()
}

/// Names the variable that sets a key, with `N` for the number of a section.
pub(crate) fn variable(section: &Section, key: &Key) -> String {
    let number = if section.repeated { "N_" } else { "" };
    format!("{PREFIX}{}_{number}{}", section.name.to_ascii_uppercase(), in_variable(key))
}

/// The name of a key as it stands in a variable.
fn in_variable(key: &Key) -> String {
    key.name.replace('.', "_").to_ascii_uppercase()
}

fn write(
    name: &str,
    value: Option<&str>,
    target: &Target<'_>,
    settings: &mut Settings,
) -> Result<(), Problem> {
    let origin = Origin::Environment(name.to_string());
    let problem = |message: String| Problem::new(origin.clone(), message);
    let tables = settings.tables_mut(target.section);
    if target.index >= TABLES_MAX || target.index > tables.len() {
        let header = target.section.header();
        return Err(problem(format!(
            "{name} is for {header} number {}, but that stands only {}",
            target.index,
            counted(tables.len(), "time")
        ))
        .help("numbers begin with 0; the next number adds one"));
    }
    if target.index == tables.len() {
        tables.push(Table::new(origin.clone()));
    }
    let table = &mut tables[target.index];
    let value = value.ok_or_else(|| problem(format!("{name} is not UTF-8")));
    let checked = value.and_then(|value| {
        target.key.kind.check(&Given::Untyped(value)).map_err(|complaint| Problem {
            origin: origin.clone(),
            message: format!("{name} {}", complaint.message),
            help: complaint.help,
        })
    });
    match checked {
        Ok(value) => {
            table.set(target.key, Some(Setting { value, origin }));
            Ok(())
        }
        Err(problem) => {
            table.set(target.key, None);
            Err(problem)
        }
    }
}
