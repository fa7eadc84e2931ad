//! The effective configuration: every key that means something, with its value and where that is
//! from. It is what `midge config show` prints, and what a reload compares.

use super::problem::Origin;
use super::schema::{Key, Schema, Section};
use super::settings::{Settings, Table};
use super::value::Value;

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

/// Returns every key with the value that holds, in the order of the documentation. Keys that mean
/// nothing in their table are left out, such as `websocket.path` of a listener without WebSocket.
pub(super) fn effective(settings: &Settings, schema: &Schema) -> Vec<Effective> {
    let mut lines = Vec::new();
    for section in &schema.sections {
        let tables = settings.tables(section.name);
        let count = if section.repeated { tables.len() } else { 1 };
        for index in 0..count {
            let index_shown = section.repeated.then_some(index);
            let table = tables.get(index);
            let keys = section.keys.iter().filter(|key| means_something(key, table));
            lines.extend(keys.map(|key| line(section, index_shown, key, table)));
        }
    }
    lines
}

/// Whether a key is given, or would have an effect if it were.
fn means_something(key: &Key, table: Option<&Table>) -> bool {
    let Some(table) = table else { return true };
    table.has(key.name) || key.only.is_none_or(|only| only.holds(table))
}

fn line(section: &Section, index: Option<usize>, key: &Key, table: Option<&Table>) -> Effective {
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
