//! The values of a table with the defaults of its section, and those of them that the broker and
//! its listeners alike have: durability and capabilities.

use midge_broker::{Capabilities, Durability};
use midge_codec::QoS;

use super::schema::Schema;
use super::settings::Table;
use super::value::Value;

/// The values of a table, with the defaults of its section.
pub(super) struct Values<'v> {
    pub(super) schema: &'v Schema,
    pub(super) section: &'static str,
    pub(super) table: Option<&'v Table>,
}

impl Values<'_> {
    fn value(&self, key: &str) -> Option<Value> {
        let given = self.table.and_then(|table| table.get(key)).map(|setting| &setting.value);
        let default = || self.schema.section(self.section)?.key(key)?.default_value();
        given.or_else(default).cloned()
    }

    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.value(key)? {
            Value::Text(text) => Some(text.into_owned()),
            _ => None,
        }
    }

    pub(super) fn integer(&self, key: &str) -> Option<u64> {
        match self.value(key)? {
            Value::Integer(number) => Some(number),
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.value(key) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    pub(super) fn boolean(&self, key: &str) -> bool {
        self.given_boolean(key) == Some(true)
    }

    pub(super) fn given_boolean(&self, key: &str) -> Option<bool> {
        match self.value(key)? {
            Value::Boolean(value) => Some(value),
            _ => None,
        }
    }
}

/// Reads the durability that a key names.
pub(super) fn durability(values: &Values<'_>, key: &str) -> Option<Durability> {
    match values.text(key)?.as_str() {
        "fsync" => Some(Durability::Fsync),
        "interval" => Some(Durability::Interval),
        _ => Some(Durability::Memory),
    }
}

/// Reads the keys with this prefix; `default` holds where they say nothing.
pub(super) fn capabilities(
    values: &Values<'_>,
    prefix: &str,
    default: Capabilities,
) -> Capabilities {
    let key = |name: &str| format!("{prefix}{name}");
    let versions = values.list(&key("versions"));
    let speaks = |version: &str, default: bool| match versions.is_empty() {
        true => default,
        false => versions.iter().any(|it| it == version),
    };
    let flag = |name: &str, default| values.given_boolean(&key(name)).unwrap_or(default);
    let qos_max = values.integer(&key("qos_max"));
    Capabilities {
        mqtt_3_1: speaks("3.1", default.mqtt_3_1),
        mqtt_3_1_1: speaks("3.1.1", default.mqtt_3_1_1),
        mqtt_5_0: speaks("5.0", default.mqtt_5_0),
        qos_max: qos_max.map_or(default.qos_max, qos),
        retain: flag("retain", default.retain),
        wildcard_subscriptions: flag("wildcard_subscriptions", default.wildcard_subscriptions),
        shared_subscriptions: flag("shared_subscriptions", default.shared_subscriptions),
        subscription_identifiers: flag(
            "subscription_identifiers",
            default.subscription_identifiers,
        ),
        assigned_client_identifiers: flag(
            "assigned_client_identifiers",
            default.assigned_client_identifiers,
        ),
        packet_bytes_max: None,
    }
}

/// Returns the QoS of this number.
pub(super) fn qos(number: u64) -> QoS {
    match number {
        2 => QoS::ExactlyOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::AtMostOnce,
    }
}
