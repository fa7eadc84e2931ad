//! Switches that make other keys useless: a feature that no Client may use, or whose protocol
//! version nobody speaks, needs no limits and no rules.

use super::super::problem::Problem;
use super::super::settings::{Setting, Settings, Table};
use super::super::value::{VERSIONS, Value};
use super::topics::may_be_rewritten;
use super::{one, stands, useless};

/// A switch that is off for all Clients, and the keys that mean nothing then.
struct Off {
    /// Whether this value, in `[capabilities]` or of a listener, switches it off.
    is_off: fn(&Value) -> bool,
    /// The name of the switch in `[capabilities]`.
    switch: &'static str,
    /// Why the keys mean nothing, as the rest of a sentence. It has to fit whether `[capabilities]`
    /// or the listeners switch it off.
    why: &'static str,
    keys: &'static [(&'static str, &'static str)],
}

const SWITCHES: [Off; 6] = [
    Off {
        is_off: is_false,
        switch: "shared_subscriptions",
        why: "`shared_subscriptions` is false for all Clients",
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
        why: "`retain` is false for all Clients: nothing is retained",
        keys: &[("limits", "retained_messages_max"), ("limits", "retained_bytes_max")],
    },
    Off {
        is_off: |value| *value == Value::Integer(0),
        switch: "qos_max",
        why: "`qos_max` is 0 for all Clients: no message is acknowledged",
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
        why: "`qos_max` is below 2 for all Clients: there is no PUBREL to wait for",
        keys: &[("limits", "awaiting_release_max")],
    },
    Off {
        is_off: |value| !speaks(value, |version| version == "5.0"),
        switch: "versions",
        why: "no listener speaks \"5.0\" (`versions`), and only MQTT 5 Clients have that",
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
        why: "\"5.0\" alone is spoken (`versions`), and that is for MQTT 3 Clients",
        keys: &[("limits", "inflight_messages_mqtt3_max"), ("limits", "awaiting_release_max")],
    },
];

pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    for off in &SWITCHES {
        if let Some(causes) = off_everywhere(settings, off.switch, off.is_off) {
            let keys = off.keys.iter();
            problems.extend(keys.filter_map(|key| useless(settings, *key, &causes, off.why)));
        }
    }
    for table in settings.tables("listener") {
        problems.extend(check_identifiers(settings, table));
    }
    check_backlog(settings, problems);
    check_automatic(settings, problems);
    check_automatic_qos(settings, problems);
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

/// Returns the settings that keep every Client from using this, whatever listener it comes by;
/// `None` if some Client can use it. A wrong value keeps nobody from it.
fn off_everywhere<'s>(
    settings: &'s Settings,
    switch: &str,
    is_off: fn(&Value) -> bool,
) -> Option<Vec<&'s Setting>> {
    let of_broker = one(settings, "capabilities", switch);
    let listeners = settings.tables("listener");
    let key = format!("capabilities.{switch}");
    let of_listener = |table: &'s Table| match table.get(&key) {
        None if !table.has(&key) => of_broker,
        own => own,
    };
    let deciding: Vec<_> = match listeners {
        [] => vec![of_broker],
        listeners => listeners.iter().map(of_listener).collect(),
    };
    deciding.into_iter().map(|setting| setting.filter(|it| is_off(&it.value))).collect()
}

/// Reports a listener that lets Clients use Subscription Identifiers, although none of them can.
fn check_identifiers(settings: &Settings, table: &Table) -> Option<Problem> {
    let setting = table.get("capabilities.subscription_identifiers")?;
    if is_false(&setting.value) {
        return None;
    }
    let all = VERSIONS.map(String::from);
    let versions = table.list("capabilities.versions");
    let of_broker = settings.tables("capabilities").first().and_then(|it| it.list("versions"));
    let versions = versions.or(of_broker).unwrap_or(&all);
    let message = "`capabilities.subscription_identifiers` has no effect, as no \"5.0\" is spoken \
                   there, and only MQTT 5 Clients have that";
    (!versions.iter().any(|version| version == "5.0"))
        .then(|| Problem::new(setting.origin.clone(), message).help("leave it out"))
}

/// Reports limits for what shared subscriptions keep, if they keep nothing.
fn check_backlog(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(backlog) = one(settings, "shared_subscriptions", "backlog") else { return };
    if !is_false(&backlog.value) {
        return;
    }
    let why = "`backlog` of [shared_subscriptions] is false: shared subscriptions keep nothing";
    let keys = ["shared_backlog_messages_max", "shared_backlog_bytes_max"];
    problems
        .extend(keys.iter().filter_map(|key| useless(settings, ("limits", key), &[backlog], why)));
}

/// Reports automatic subscriptions that Clients could not make themselves.
fn check_automatic(settings: &Settings, problems: &mut Vec<Problem>) {
    let off = |switch: &str| off_everywhere(settings, switch, is_false);
    let (no_shared, no_wildcards) = (off("shared_subscriptions"), off("wildcard_subscriptions"));
    for table in settings.tables("auto_subscribe") {
        let (Some(filter), Some(setting)) = (table.text("filter"), table.get("filter")) else {
            continue;
        };
        let is_shared = filter.starts_with("$share/") || filter.starts_with("$queue/");
        // A rewrite rule may put something else in the place of a wildcard.
        let has_wildcard = filter.contains(['+', '#']) && !may_be_rewritten(settings, filter);
        let (switch, causes) = match (&no_shared, &no_wildcards) {
            (Some(causes), _) if is_shared => ("shared_subscriptions", causes),
            (_, Some(causes)) if has_wildcard => ("wildcard_subscriptions", causes),
            _ => continue,
        };
        if !causes.iter().all(|cause| stands(setting, Some(cause))) {
            continue;
        }
        let message = format!("nobody gets this subscription, as `{switch}` is false");
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("leave out the one or the other"));
    }
}

/// Reports automatic subscriptions with a QoS, if every subscription is granted 0 anyway. Any other
/// `qos_max` only lowers it, which is worth a warning (`effect_warnings`).
fn check_automatic_qos(settings: &Settings, problems: &mut Vec<Problem>) {
    let is_0 = |value: &Value| *value == Value::Integer(0);
    let Some(causes) = off_everywhere(settings, "qos_max", is_0) else { return };
    for table in settings.tables("auto_subscribe") {
        let Some(setting) = table.get("qos") else { continue };
        let is_overridden = !causes.iter().all(|cause| stands(setting, Some(cause)));
        if is_overridden || !matches!(setting.value, Value::Integer(1 | 2)) {
            continue;
        }
        let message = "`qos` has no effect, as `qos_max` is 0 for all Clients";
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("write a QoS that is granted, or make `qos_max` larger"));
    }
}
