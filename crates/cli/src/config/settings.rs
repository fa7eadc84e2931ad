//! All values that were given, with their origins. The sources write into them one after the other;
//! then a [`Configuration`](super::Configuration) is made from them.

use std::collections::BTreeMap;

use super::problem::Origin;
use super::schema::{Key, Section};
use super::value::Value;

/// A value and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Setting {
    pub(crate) value: Value,
    pub(crate) origin: Origin,
}

/// One `[section]` or `[[section]]`.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    /// Where the section begins.
    pub(crate) origin: Origin,
    /// `None`: a value was given, but is wrong.
    settings: BTreeMap<&'static str, Option<Setting>>,
}

/// What was given for all sections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    tables: BTreeMap<&'static str, Vec<Table>>,
}

impl Table {
    pub(crate) fn new(origin: Origin) -> Self {
        Self { origin, settings: BTreeMap::new() }
    }

    /// Gives a key a value in place of the one that it had.
    pub(crate) fn set(&mut self, key: &Key, setting: Option<Setting>) {
        self.settings.insert(key.name, setting);
    }

    /// Returns the value of a key, if a valid one was given.
    pub(crate) fn get(&self, key: &str) -> Option<&Setting> {
        self.settings.get(key)?.as_ref()
    }

    /// Whether a value was given, valid or not.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.settings.contains_key(key)
    }

    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match &self.get(key)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn list(&self, key: &str) -> Option<&[String]> {
        match &self.get(key)?.value {
            Value::List(items) => Some(items),
            _ => None,
        }
    }

    pub(crate) fn boolean(&self, key: &str) -> Option<bool> {
        match self.get(key)?.value {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }
}

impl Settings {
    /// Returns all tables of a section, in their order.
    pub(crate) fn tables(&self, section: &str) -> &[Table] {
        self.tables.get(section).map_or(&[], Vec::as_slice)
    }

    /// Returns all tables of a section, to be added to.
    pub(crate) fn tables_mut(&mut self, section: &Section) -> &mut Vec<Table> {
        self.tables.entry(section.name).or_default()
    }

    /// Returns the only table of a section that cannot be repeated, and makes it if there is none.
    pub(crate) fn table_mut(&mut self, section: &Section, origin: Origin) -> &mut Table {
        let tables = self.tables_mut(section);
        if tables.is_empty() {
            tables.push(Table::new(origin));
        }
        &mut tables[0]
    }
}
