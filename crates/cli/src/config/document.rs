//! Reads a configuration file into [`Settings`]: what its TOML says, checked against the schema.
//!
//! Reading goes on after an error, so that all errors are reported at once. Only errors of TOML
//! itself are reported alone, because what follows them may not be what was meant.

use std::borrow::Cow;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::nearest::nearest;
use super::problem::{Origin, Problem};
use super::schema::{Key, Schema, Section};
use super::settings::{Setting, Settings, Table};
use super::value::Given;

/// How often a section that can be repeated may occur.
pub(crate) const TABLES_MAX: usize = 1_000;

/// Reads the text of a file.
pub(crate) fn read(text: &str, schema: &Schema, problems: &mut Vec<Problem>) -> Settings {
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        problems.extend(errors.iter().map(|error| not_toml(text, error)));
        return Settings::default();
    }
    let mut reader = Reader { schema, problems, settings: Settings::default() };
    for (name, value) in document.get_ref() {
        reader.section(name.get_ref(), name.span(), value);
    }
    reader.settings
}

fn not_toml(text: &str, error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or_default();
    let word = text.get(span.clone()).unwrap_or_default();
    let is_value = text.get(..span.start).is_some_and(|before| before.trim_end().ends_with('='));
    let is_word = word.starts_with(|char: char| char.is_ascii_alphabetic());
    let origin = Origin::File(span);
    if is_value && is_word && word.len() <= 100 {
        let help = format!("text stands in quotes: \"{word}\"");
        return Problem::new(origin, "this is no value of TOML").help(help);
    }
    Problem::new(origin, format!("this is not TOML: {}", error.message()))
}

struct Reader<'r> {
    schema: &'r Schema,
    problems: &'r mut Vec<Problem>,
    settings: Settings,
}

impl Reader<'_> {
    fn problem(&mut self, span: Range<usize>, message: String, help: Option<String>) {
        self.problems.push(Problem { origin: Origin::File(span), message, help });
    }

    fn section(&mut self, name: &str, name_span: Range<usize>, value: &Spanned<DeValue<'_>>) {
        let schema = self.schema;
        let Some(section) = schema.section(name) else {
            return self.unknown_section(name, name_span);
        };
        match (section.repeated, value.get_ref()) {
            (false, DeValue::Table(entries)) => {
                let table = self.table(section, name_span.clone(), entries);
                *self.settings.table_mut(section, Origin::File(name_span)) = table;
            }
            (true, DeValue::Array(items)) => self.repeated(section, &name_span, items),
            _ => {
                let message = format!("`{name}` must be a section");
                self.problem(name_span, message, Some(format!("write {}", section.header())));
            }
        }
    }

    fn repeated(
        &mut self,
        section: &Section,
        name_span: &Range<usize>,
        items: &[Spanned<DeValue<'_>>],
    ) {
        if items.is_empty() || items.len() > TABLES_MAX {
            let message = format!("`{}` stands 1 to {TABLES_MAX} times", section.name);
            let help = format!("write {}, or leave it out", section.header());
            return self.problem(name_span.clone(), message, Some(help));
        }
        for item in items {
            let DeValue::Table(entries) = item.get_ref() else {
                let message = format!("`{}` must be a list of sections", section.name);
                let help = format!("write {}", section.header());
                self.problem(item.span(), message, Some(help));
                continue;
            };
            let table = self.table(section, item.span(), entries);
            self.settings.tables_mut(section).push(table);
        }
    }

    fn table(&mut self, section: &Section, span: Range<usize>, entries: &DeTable<'_>) -> Table {
        let mut table = Table::new(Origin::File(span));
        self.entries(section, "", entries, &mut table);
        table
    }

    /// Reads the keys of a section, or of the table of keys `group` inside it.
    fn entries(
        &mut self,
        section: &Section,
        group: &str,
        entries: &DeTable<'_>,
        table: &mut Table,
    ) {
        for (name, value) in entries {
            // A dot inside quotes does not separate names.
            let is_name = !name.get_ref().contains('.');
            let full = match group {
                "" => name.get_ref().to_string(),
                _ => format!("{group}.{}", name.get_ref()),
            };
            if let Some(key) = section.key(&full).filter(|_| is_name) {
                self.key(section, key, value, table);
            } else if is_name && section.has(&full) {
                self.group(section, &full, name.span(), value, table);
            } else {
                self.unknown_key(section, group, name);
            }
        }
    }

    fn key(
        &mut self,
        section: &Section,
        key: &Key,
        value: &Spanned<DeValue<'_>>,
        table: &mut Table,
    ) {
        let setting = match key.kind.check(&given(value.get_ref())) {
            Ok(checked) => Some(Setting { value: checked, origin: Origin::File(value.span()) }),
            Err(complaint) => {
                let message =
                    format!("`{}` in {} {}", key.name, section.header(), complaint.message);
                let item = match (value.get_ref(), complaint.item) {
                    (DeValue::Array(items), Some(index)) => items.get(index).map(Spanned::span),
                    _ => None,
                };
                self.problem(item.unwrap_or(value.span()), message, complaint.help);
                None
            }
        };
        table.set(key, setting);
    }

    fn group(
        &mut self,
        section: &Section,
        group: &str,
        name_span: Range<usize>,
        value: &Spanned<DeValue<'_>>,
        table: &mut Table,
    ) {
        let header = section.header();
        match value.get_ref() {
            DeValue::Table(entries) if !entries.is_empty() => {
                self.entries(section, group, entries, table);
            }
            // Whoever wrote an empty table meant something by it.
            DeValue::Table(_) => {
                let message = format!("`{group}` in {header} has no keys");
                let help = format!("its keys are {}", names_in(section, group));
                self.problem(name_span, message, Some(help));
            }
            other => {
                let message =
                    format!("`{group}` in {header} must be a table, but is {}", given(other));
                let first = section.group(group).next().map_or("", |key| key.name);
                let help = format!("write its keys, such as `{first}`");
                self.problem(value.span(), message, Some(help));
            }
        }
    }

    fn unknown_section(&mut self, name: &str, span: Range<usize>) {
        if let Some(owners) = self.owners(name) {
            let message = format!("`{name}` stands outside of its section");
            return self.problem(span, message, Some(format!("write it below {owners}")));
        }
        let sections = &self.schema.sections;
        let help = match nearest(name, sections.iter().map(|section| section.name)) {
            Some(name) => format!("the nearest section is {}", self.header(name)),
            None => {
                let headers: Vec<_> = sections.iter().map(Section::header).collect();
                format!("the sections are {}", headers.join(", "))
            }
        };
        self.problem(span, format!("there is no section [{name}]"), Some(help));
    }

    fn unknown_key(&mut self, section: &Section, group: &str, name: &Spanned<Cow<'_, str>>) {
        let (header, span, name) = (section.header(), name.span(), name.get_ref());
        let prefix = if group.is_empty() { String::new() } else { format!("{group}.") };
        let full = format!("{prefix}{name}");
        let mut names = section.keys.iter().map(|key| key.name);
        let inside = names.find(|key| key.rsplit('.').next() == Some(&**name));
        let help = if name.contains('.') && section.key(&full).is_some() {
            format!("write it without quotes: {full}")
        } else if let Some(inside) = inside {
            format!("the nearest key is `{inside}`")
        } else if let Some(owners) = self.owners(name) {
            format!("`{name}` belongs to {owners}")
        } else if let Some(nearest) = nearest_in(section, group, name) {
            format!("the nearest key is `{nearest}`")
        } else if !group.is_empty() {
            format!("the keys of `{group}` are {}", names_in(section, group))
        } else if section.keys.len() <= 8 {
            let names: Vec<_> = section.keys.iter().map(|key| format!("`{}`", key.name)).collect();
            format!("the keys of {header} are {}", names.join(", "))
        } else {
            format!("`midge config reference` lists the keys of {header}")
        };
        self.problem(span, format!("there is no key `{full}` in {header}"), Some(help));
    }

    /// Names the sections that have a key of this name.
    fn owners(&self, name: &str) -> Option<String> {
        let owners = self.schema.sections.iter().filter(|section| section.has(name));
        let headers: Vec<_> = owners.map(Section::header).collect();
        (!headers.is_empty()).then(|| headers.join(" or "))
    }

    fn header(&self, section: &str) -> String {
        self.schema.section(section).map(Section::header).unwrap_or_default()
    }
}

/// Finds the key, or the table of keys, that was meant by `name` in the table `group`.
fn nearest_in(section: &Section, group: &str, name: &str) -> Option<String> {
    let names = section.keys.iter().map(|key| key.name);
    if group.is_empty() {
        // The names of tables can be mistyped, too.
        let tables = names.clone().filter_map(|name| Some(name.split_once('.')?.0));
        return nearest(name, names.chain(tables)).map(str::to_string);
    }
    // Without the table's name, which is right already.
    let inside = names.filter_map(|name| name.strip_prefix(group)?.strip_prefix('.'));
    nearest(name, inside).map(|name| format!("{group}.{name}"))
}

/// Lists the keys in the table of keys `group`, for a sentence.
fn names_in(section: &Section, group: &str) -> String {
    let names: Vec<_> = section.group(group).map(|key| format!("`{}`", key.name)).collect();
    names.join(", ")
}

fn given<'v>(value: &'v DeValue<'_>) -> Given<'v> {
    match value {
        DeValue::String(text) => Given::Text(text),
        DeValue::Boolean(value) => Given::Boolean(*value),
        DeValue::Integer(number) => Given::Integer(integer(number)),
        DeValue::Float(_) => Given::Other("a number with a fraction"),
        DeValue::Datetime(_) => Given::Other("a date or time"),
        DeValue::Array(items) => {
            Given::List(items.iter().map(|item| shallow(item.get_ref())).collect())
        }
        DeValue::Table(_) => Given::Other("a table"),
    }
}

/// Converts an item of a list; no kind has lists of lists.
fn shallow<'v>(value: &'v DeValue<'_>) -> Given<'v> {
    match value {
        DeValue::Array(_) => Given::Other("a list"),
        other => given(other),
    }
}

fn integer(number: &DeInteger<'_>) -> Option<i128> {
    i128::from_str_radix(number.as_str(), number.radix()).ok()
}
