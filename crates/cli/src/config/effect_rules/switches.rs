//! Switches that make other keys useless: what no Client may ask for, or nobody speaks, needs no
//! limits and no rules.

use super::super::problem::Problem;
use super::super::settings::{Settings, Table};
use super::super::value::{VERSIONS, Value};
use super::{one, stands, useless};

/// A switch that is off for all Clients, and the keys that mean nothing then.
struct Off {
    /// Whether it is off where `[capabilities]` or a listener says this.
    is_off: fn(&Value) -> bool,
    /// Its name in `[capabilities]`.
    switch: &'static str,
    /// Why, as the rest of a sentence.
    why: &'static str,
    keys: &'static [(&'static str, &'static str)],
}

const SWITCHES: [Off; 6] = [
    Off {
        is_off: is_false,
        switch: "shared_subscriptions",
        why: "`shared_subscriptions` of [capabilities] is false",
        keys: &[
            ("shared_subscriptions", "strategy"),
            ("shared_subscriptions", "backlog"),
            ("limits", "shared_backlog_messages_max"),
            ("limits", "shared_backlog_bytes_max"),
        ],
    },
    Off {
        is_off: is_false,
        switch: "retain",
        why: "`retain` of [capabilities] is false: nothing is retained",
        keys: &[("limits", "retained_messages_max"), ("limits", "retained_bytes_max")],
    },
    Off {
        is_off: |value| *value == Value::Integer(0),
        switch: "qos_max",
        why: "`qos_max` of [capabilities] is 0: no message is acknowledged",
        keys: &[
            ("limits", "receive_maximum"),
            ("limits", "inflight_messages_max"),
            ("limits", "inflight_messages_mqtt3_max"),
            ("limits", "inflight_bytes_max"),
        ],
    },
    Off {
        is_off: |value| matches!(value, Value::Integer(0 | 1)),
        switch: "qos_max",
        why: "`qos_max` of [capabilities] is below 2: there is no PUBREL to wait for",
        keys: &[("limits", "awaiting_release_max")],
    },
    Off {
        is_off: |value| !speaks(value, |version| version == "5.0"),
        switch: "versions",
        why: "`versions` has no \"5.0\", and only MQTT 5 Clients have that",
        keys: &[
            ("limits", "receive_maximum"),
            ("limits", "topic_alias_maximum"),
            ("limits", "outgoing_topic_alias_maximum"),
            ("limits", "user_properties_max"),
            ("requests", "response_prefix"),
            ("capabilities", "subscription_identifiers"),
        ],
    },
    Off {
        is_off: |value| !speaks(value, |version| version != "5.0"),
        switch: "versions",
        why: "`versions` has \"5.0\" alone, and that is for MQTT 3 Clients",
        keys: &[("limits", "inflight_messages_mqtt3_max"), ("limits", "awaiting_release_max")],
    },
];

pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    for off in &SWITCHES {
        if is_off_everywhere(settings, off.switch, off.is_off) {
            let cause = one(settings, "capabilities", off.switch);
            let keys = off.keys.iter();
            problems.extend(keys.filter_map(|key| useless(settings, *key, cause, off.why)));
        }
    }
    for table in settings.tables("listener") {
        problems.extend(check_identifiers(settings, table));
    }
    check_backlog(settings, problems);
    check_automatic(settings, problems);
    problems.extend(check_trace_client(settings));
}

fn is_false(value: &Value) -> bool {
    *value == Value::Boolean(false)
}

fn speaks(versions: &Value, is_meant: fn(&str) -> bool) -> bool {
    match versions {
        Value::List(versions) => versions.iter().any(|version| is_meant(version)),
        _ => true,
    }
}

/// Whether no Client can use it, whatever listener it comes by. A wrong value is none.
fn is_off_everywhere(settings: &Settings, switch: &str, is_off: fn(&Value) -> bool) -> bool {
    let of_broker = one(settings, "capabilities", switch);
    let is_off_by_default = of_broker.is_some_and(|setting| is_off(&setting.value));
    let key = format!("capabilities.{switch}");
    let listeners = settings.tables("listener");
    let is_off_at = |table: &Table| match table.get(&key) {
        Some(setting) => is_off(&setting.value),
        None => is_off_by_default && !table.has(&key),
    };
    if listeners.is_empty() { is_off_by_default } else { listeners.iter().all(is_off_at) }
}

/// A listener where nobody could have what it lets Clients have.
fn check_identifiers(settings: &Settings, table: &Table) -> Option<Problem> {
    let setting = table.get("capabilities.subscription_identifiers")?;
    let all = VERSIONS.map(String::from);
    let versions = table.list("capabilities.versions");
    let of_broker = settings.tables("capabilities").first().and_then(|it| it.list("versions"));
    let versions = versions.or(of_broker).unwrap_or(&all);
    let message = "`capabilities.subscription_identifiers` has no effect, as no \"5.0\" is spoken \
                   there, and only MQTT 5 Clients have that";
    (!versions.iter().any(|version| version == "5.0"))
        .then(|| Problem::new(setting.origin.clone(), message).help("leave it out"))
}

/// Shared subscriptions that keep nothing have no limits for it.
fn check_backlog(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(backlog) = one(settings, "shared_subscriptions", "backlog") else { return };
    if !is_false(&backlog.value) {
        return;
    }
    let why = "`backlog` of [shared_subscriptions] is false: shared subscriptions keep nothing";
    let keys = ["shared_backlog_messages_max", "shared_backlog_bytes_max"];
    problems.extend(
        keys.iter().filter_map(|key| useless(settings, ("limits", key), Some(backlog), why)),
    );
}

/// Subscriptions that are made for Clients are such as they could make themselves.
fn check_automatic(settings: &Settings, problems: &mut Vec<Problem>) {
    let is_off = |switch: &str| is_off_everywhere(settings, switch, is_false);
    let (no_shared, no_wildcards) =
        (is_off("shared_subscriptions"), is_off("wildcard_subscriptions"));
    for table in settings.tables("auto_subscribe") {
        let (Some(filter), Some(setting)) = (table.text("filter"), table.get("filter")) else {
            continue;
        };
        let is_shared = filter.starts_with("$share/") || filter.starts_with("$queue/");
        let switch = match () {
            () if is_shared && no_shared => "shared_subscriptions",
            () if filter.contains(['+', '#']) && no_wildcards => "wildcard_subscriptions",
            () => continue,
        };
        let message = format!("nobody gets this subscription, as `{switch}` is false");
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("leave out the one or the other"));
    }
}

/// Packets of one Client are shown at one level only.
fn check_trace_client(settings: &Settings) -> Option<Problem> {
    let client = one(settings, "log", "trace_client")?;
    let level = one(settings, "log", "level");
    if settings.tables("log").first()?.has("level") && level.is_none() || !stands(client, level) {
        return None;
    }
    let word = level.map_or("info".to_string(), |level| match &level.value {
        Value::Text(word) => word.to_string(),
        other => other.to_string(),
    });
    let message = format!("`trace_client` has no effect, as `level` is \"{word}\"");
    let help = "write level = \"trace\", or leave it out";
    (word != "trace").then(|| Problem::new(client.origin.clone(), message).help(help))
}
