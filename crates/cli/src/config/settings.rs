//! All values that were given, with their origins. The sources write into them one after the other;
//! then a [`Configuration`](super::Configuration) is made from them.

use std::collections::BTreeMap;

use super::problem::Origin;
use super::schema::{Key, Schema, Section};
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

/// A line of the effective configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    pub(crate) section: &'static str,
    /// The number of the section, if it can be repeated.
    pub(crate) index: Option<usize>,
    pub(crate) key: &'static str,
    /// `None`: not given, and there is no default.
    pub(crate) value: Option<Value>,
    pub(crate) origin: Origin,
    /// Whether a new value takes effect without a restart.
    pub(crate) live: bool,
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

    /// Returns every key with the value that holds, in the order of the documentation. Keys that
    /// mean nothing in their table are left out, such as `websocket.path` of a listener without
    /// WebSocket.
    pub(crate) fn effective(&self, schema: &Schema) -> Vec<Effective> {
        let mut lines = Vec::new();
        for section in &schema.sections {
            let tables = self.tables(section.name);
            let count = if section.repeated { tables.len() } else { 1 };
            for index in 0..count {
                let index_shown = section.repeated.then_some(index);
                let table = tables.get(index);
                let keys = section.keys.iter().filter(|key| key.means_something_in(table));
                lines.extend(keys.map(|key| effective(section, index_shown, key, table)));
            }
        }
        lines
    }
}

fn effective(
    section: &Section,
    index: Option<usize>,
    key: &Key,
    table: Option<&Table>,
) -> Effective {
    let setting = table.and_then(|table| table.get(key.name)).cloned();
    let (value, origin) = match setting {
        Some(setting) => (Some(setting.value), setting.origin),
        None => (key.default_value().cloned(), Origin::Default),
    };
    Effective { section: section.name, index, key: key.name, value, origin, live: key.live }
}

impl Effective {
    /// The section's full name, if it can be repeated: `listener.0`.
    pub(crate) fn table(&self) -> Option<String> {
        Some(format!("{}.{}", self.section, self.index?))
    }

    /// Whether the value was given, rather than being a default.
    pub(crate) fn is_given(&self) -> bool {
        self.origin != Origin::Default
    }

    /// The key's full name: `limits.queue_messages_max`, `listener.0.bind`.
    pub(crate) fn name(&self) -> String {
        match self.index {
            Some(index) => format!("{}.{index}.{}", self.section, self.key),
            None => format!("{}.{}", self.section, self.key),
        }
    }
}
