//! Limits against each other: one that another makes useless, and one that nobody could keep to.

use midge_store::Options as StoreOptions;

use super::super::problem::Problem;
use super::super::settings::{Setting, Settings, Table};
use super::super::value::Value;
use super::{limit, one, stands, useless};

/// Limits of which the first one is 0, and those that bound nothing then.
const NOTHING_OF_THE_KIND: [(&str, &[&str], &str); 6] = [
    ("retained_messages_max", &["retained_bytes_max"], "nothing is retained"),
    ("retained_bytes_max", &["retained_messages_max"], "nothing is retained"),
    (
        "delayed_messages_max",
        &["delayed_bytes_max", "delay_seconds_max"],
        "no message can be delayed",
    ),
    (
        "delayed_bytes_max",
        &["delayed_messages_max", "delay_seconds_max"],
        "no message can be delayed",
    ),
    (
        "shared_backlog_messages_max",
        &["shared_backlog_bytes_max"],
        "shared subscriptions keep nothing",
    ),
    (
        "shared_backlog_bytes_max",
        &["shared_backlog_messages_max"],
        "shared subscriptions keep nothing",
    ),
];

/// Bytes of a CONNECT of MQTT 3.1.1 besides the Client Identifier, at least.
const CONNECT_BYTES: u64 = 14;

/// What to do about a bound that is never reached.
const SMALLER: &str = "make it smaller, or leave it out";

/// So many segments are on the disk at any time.
const SEGMENTS_MIN: u64 = 6;

pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    check_nothing_of_the_kind(settings, problems);
    problems.extend(check_receive_maximum(settings));
    problems.extend(check_in_flight(settings));
    problems.extend(check_sessions(settings));
    problems.extend(check_client_identifier(settings));
    problems.extend(check_store(settings));
    for table in settings.tables("listener") {
        check_listener(settings, table, problems);
    }
}

fn check_nothing_of_the_kind(settings: &Settings, problems: &mut Vec<Problem>) {
    for (zero, others, meaning) in NOTHING_OF_THE_KIND {
        let Some(cause) = one(settings, "limits", zero) else { continue };
        if cause.value != Value::Integer(0) {
            continue;
        }
        let is_zero = |key: &str| {
            one(settings, "limits", key).is_some_and(|it| it.value == Value::Integer(0))
        };
        let others = others.iter().filter(|key| !is_zero(key));
        problems.extend(others.filter_map(|key| {
            let why = format!("`{zero}` is 0: {meaning}");
            useless(settings, ("limits", key), Some(cause), &why)
        }));
    }
}

/// A Client that keeps to the announced Receive Maximum must not be disconnected for it.
fn check_receive_maximum(settings: &Settings) -> Option<Problem> {
    let receive = limit(settings, "receive_maximum");
    let release = limit(settings, "awaiting_release_max");
    if release >= receive {
        return None;
    }
    let given = ["awaiting_release_max", "receive_maximum"];
    let setting = given.into_iter().find_map(|key| one(settings, "limits", key))?;
    let message = format!(
        "`awaiting_release_max` ({release}) is below `receive_maximum` ({receive}): a Client that \
         may have {receive} messages under way would be disconnected for it"
    );
    let help = "make `awaiting_release_max` at least as large as `receive_maximum`";
    Some(Problem::new(setting.origin.clone(), message).help(help))
}

/// A bound that is never reached, as a larger one comes first.
struct Unreached<'s> {
    setting: &'s Setting,
    /// The bound that comes first, if somebody has set it.
    first: Option<&'s Setting>,
    message: String,
    help: String,
}

impl Unreached<'_> {
    /// None if the first bound comes from a source that goes above the other's.
    fn told(self) -> Option<Problem> {
        let Self { setting, first, message, help } = self;
        stands(setting, first).then(|| Problem::new(setting.origin.clone(), message).help(help))
    }
}

/// Any Client's bound holds for those of MQTT 3, too.
fn check_in_flight(settings: &Settings) -> Option<Problem> {
    let setting = one(settings, "limits", "inflight_messages_mqtt3_max")?;
    let (given, any) = (integer(setting)?, limit(settings, "inflight_messages_max"));
    if given <= any {
        return None;
    }
    let message = format!(
        "`inflight_messages_mqtt3_max` ({given}) is never reached, as `inflight_messages_max` \
         ({any}) bounds all Clients"
    );
    let first = one(settings, "limits", "inflight_messages_max");
    Unreached { setting, first, message, help: SMALLER.to_string() }.told()
}

/// Each Client has a Session. A bound that nobody has set is none.
fn check_sessions(settings: &Settings) -> Option<Problem> {
    let setting = one(settings, "limits", "connections_max")?;
    let first = one(settings, "limits", "sessions_max")?;
    let (given, bound) = (integer(setting)?, integer(first)?);
    if given <= bound {
        return None;
    }
    let message = format!(
        "`connections_max` ({given}) is never reached, as each Client has a Session, and \
         `sessions_max` is {bound}"
    );
    let help = "make `sessions_max` larger, as there are Sessions without a connection, too";
    Unreached { setting, first: Some(first), message, help: help.to_string() }.told()
}

/// The longest Client Identifier has to fit into the largest CONNECT, at one listener at least.
fn check_client_identifier(settings: &Settings) -> Option<Problem> {
    let setting = one(settings, "limits", "client_identifier_bytes_max")?;
    let longest = integer(setting)?;
    let key = "packet_before_connect_bytes_max";
    let all = limit(settings, key);
    let of_listener = |table: &Table| table.get(key).and_then(integer).unwrap_or(all);
    let largest = settings.tables("listener").iter().map(of_listener).max().unwrap_or(all);
    if longest + CONNECT_BYTES <= largest {
        return None;
    }
    let message = format!(
        "`client_identifier_bytes_max` ({longest}) is never reached: a CONNECT with such an \
         identifier is larger than `{key}` ({largest})"
    );
    let help = format!("make `{key}` larger: a CONNECT has a Will and a password, too");
    Unreached { setting, first: one(settings, "limits", key), message, help }.told()
}

/// A store that has room for no message.
fn check_store(settings: &Settings) -> Option<Problem> {
    let bytes = one(settings, "limits", "store_bytes_max");
    let segment = one(settings, "storage", "segment_bytes");
    let given = limit(settings, "store_bytes_max");
    let length = segment.and_then(integer).unwrap_or(StoreOptions::default().segment_bytes);
    let least = length.saturating_mul(SEGMENTS_MIN);
    if given >= least {
        return None;
    }
    let message = format!(
        "`store_bytes_max` ({given}) is less than {SEGMENTS_MIN} times `segment_bytes` ({length}), \
         which are on the disk at any time: no message could be kept"
    );
    let help = format!("make it much more than {least}, or `segment_bytes` smaller");
    Some(Problem::new(bytes.or(segment)?.origin.clone(), message).help(help))
}

/// Bounds of a listener against each other, and against that of the broker.
fn check_listener(settings: &Settings, table: &Table, problems: &mut Vec<Problem>) {
    let own = "connections_max";
    if let Some((setting, given)) = given(table, own)
        && given > limit(settings, own)
    {
        let bound = limit(settings, own);
        let message = format!(
            "`{own}` ({given}) is never reached, as `{own}` of [limits] ({bound}) bounds all \
             listeners together"
        );
        let first = one(settings, "limits", own);
        problems.extend(Unreached { setting, first, message, help: SMALLER.to_string() }.told());
    }
    for (narrow, wide) in [
        ("connection_rate_per_address_max", "connection_rate_max"),
        ("handshakes_max", "connections_max"),
    ] {
        // 0: no bound.
        let (Some((setting, bound)), Some((_, outer @ 1..))) =
            (given(table, narrow), given(table, wide))
        else {
            continue;
        };
        if bound > outer {
            let message = format!("`{narrow}` ({bound}) is never reached, as `{wide}` is {outer}");
            problems.push(Problem::new(setting.origin.clone(), message).help(SMALLER));
        }
    }
}

fn given<'t>(table: &'t Table, key: &str) -> Option<(&'t Setting, u64)> {
    let setting = table.get(key)?;
    Some((setting, integer(setting)?))
}

fn integer(setting: &Setting) -> Option<u64> {
    match setting.value {
        Value::Integer(number) => Some(number),
        _ => None,
    }
}
