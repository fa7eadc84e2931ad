//! Keys that would mean nothing beside others: Midge refuses them, mosquitto takes such lines.

use toml::Value;

use super::draft::Draft;
use super::listener::Listener;

/// Takes keys without effect out of a draft.
pub(super) fn drop_keys(draft: &mut Draft) {
    let mut dropped: Vec<(&str, &str)> = Vec::new();
    if draft.keys.get(&("storage", "in_memory")) == Some(&Value::Boolean(true)) {
        dropped.push(("storage", "path"));
    }
    let opened: Vec<_> = draft.listeners.iter().filter(|it| it.is_opened()).collect();
    let all = |key: &str, holds: fn(&Value) -> bool| {
        let holds = |listener: &&Listener| listener.get(key).is_some_and(holds);
        !opened.is_empty() && opened.iter().all(holds)
    };
    if all("capabilities.qos_max", |value| value.as_integer() == Some(0)) {
        dropped.push(("limits", "receive_maximum"));
        dropped.push(("limits", "inflight_messages_max"));
        dropped.push(("limits", "inflight_messages_mqtt3_max"));
        dropped.push(("limits", "inflight_bytes_max"));
    }
    if all("capabilities.versions", |versions| !speaks(versions, |version| version == "5.0")) {
        dropped.push(("limits", "receive_maximum"));
        dropped.push(("limits", "topic_alias_maximum"));
        dropped.push(("limits", "outgoing_topic_alias_maximum"));
    }
    if all("capabilities.versions", |versions| !speaks(versions, |version| version != "5.0")) {
        dropped.push(("limits", "inflight_messages_mqtt3_max"));
    }
    draft.keys.retain(|key, _| !dropped.contains(key));
}

fn speaks(versions: &Value, is_meant: fn(&str) -> bool) -> bool {
    let versions = versions.as_array().map(Vec::as_slice).unwrap_or_default();
    versions.iter().filter_map(Value::as_str).any(is_meant)
}
