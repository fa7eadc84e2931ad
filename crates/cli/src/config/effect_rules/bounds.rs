//! Limits against each other: a limit that another one makes useless, and one that nobody could
//! keep to.
//!
//! A limit that is merely larger than another one is neither: people write it to say that it is not
//! to bound anything by itself.

use midge_store::Options as StoreOptions;

use super::super::problem::Problem;
use super::super::settings::{Setting, Settings};
use super::super::value::Value;
use super::{limit, one, useless};

/// Memory that a broker takes without a single Client, or more: with less it is short of memory
/// from its start.
const MEMORY_BYTES_MIN: u64 = 8 << 20;

/// Limits, each with those that bound nothing if it is 0, and what 0 means.
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

pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    check_nothing_of_the_kind(settings, problems);
    problems.extend(check_store(settings));
    problems.extend(check_memory(settings));
}

fn check_nothing_of_the_kind(settings: &Settings, problems: &mut Vec<Problem>) {
    for (zero, others, meaning) in NOTHING_OF_THE_KIND {
        let Some(cause) = one(settings, "limits", zero) else { continue };
        if cause.value != Value::Integer(0) {
            continue;
        }
        problems.extend(others.iter().filter_map(|key| {
            let why = format!("`{zero}` is 0: {meaning}");
            useless(settings, ("limits", key), &[cause], &why)
        }));
    }
}

/// Reports a store that has room for no message.
fn check_store(settings: &Settings) -> Option<Problem> {
    let bytes = one(settings, "limits", "store_bytes_max");
    let segment = one(settings, "storage", "segment_bytes");
    let bytes_max = limit(settings, "store_bytes_max");
    let default = StoreOptions::default();
    let segment_bytes = segment.and_then(integer).unwrap_or(default.segment_bytes);
    let options = StoreOptions { segment_bytes, bytes_max, ..default };
    if options.have_room_for_messages() {
        return None;
    }
    let message = format!(
        "`store_bytes_max` ({bytes_max}) is too small for two files of the journal \
         (`segment_bytes`: {segment_bytes}) and what is kept free for acknowledgements: no message \
         could be kept"
    );
    let help = "make it at least three times, better many times as large as `segment_bytes`";
    Some(Problem::new(bytes.or(segment)?.origin.clone(), message).help(help))
}

/// Reports memory that does not even suffice for a broker without Clients.
fn check_memory(settings: &Settings) -> Option<Problem> {
    let setting = one(settings, "limits", "memory_bytes_max")?;
    let bytes = integer(setting).filter(|bytes| (1..MEMORY_BYTES_MIN).contains(bytes))?;
    let message = format!(
        "`memory_bytes_max` ({bytes}) is too small: a broker takes more without a single Client"
    );
    let help =
        format!("write at least {MEMORY_BYTES_MIN}, or 0 for a share of the machine's memory");
    Some(Problem::new(setting.origin.clone(), message).help(help))
}

fn integer(setting: &Setting) -> Option<u64> {
    match setting.value {
        Value::Integer(number) => Some(number),
        _ => None,
    }
}
