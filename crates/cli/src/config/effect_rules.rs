//! Keys that would have no effect because of what another section, or another rule, says.
//!
//! Such a key is an error, because whoever wrote it relies on it. A value in the file that a
//! variable or a flag overrides is no error.

mod bounds;
mod delays;
mod switches;
mod topics;

use midge_core::Limits;

use super::problem::{Origin, Problem};
use super::settings::{Setting, Settings, Table};
use super::value::Value;

/// Checks the sections against each other.
pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    check_in_memory(settings, problems);
    check_interval(settings, problems);
    switches::check(settings, problems);
    bounds::check(settings, problems);
    topics::check(settings, problems);
}

/// Ranks the sources: one with a higher rank overrides one with a lower rank.
fn rank(origin: &Origin) -> u8 {
    match origin {
        Origin::Default => 0,
        Origin::File(_) => 1,
        Origin::Environment(_) => 2,
        Origin::Flag(_) => 3,
    }
}

/// The name by which the user knows a value.
fn name_of(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::Flag(flag) => format!("`{flag}`"),
        Origin::Environment(variable) => format!("`{variable}`"),
        _ => format!("`{key}`"),
    }
}

fn one<'s>(settings: &'s Settings, section: &str, key: &str) -> Option<&'s Setting> {
    settings.tables(section).first()?.get(key)
}

/// Whether a value is meant to hold beside `other`. It is not if `other` comes from a source that
/// overrides the value's own.
fn stands(setting: &Setting, other: Option<&Setting>) -> bool {
    other.is_none_or(|other| rank(&other.origin) <= rank(&setting.origin))
}

/// Reports a key that has no effect because of `causes`. It is no problem if one of these comes
/// from a source that overrides the key's own, or if the key also says that there is nothing of the
/// kind.
fn useless(
    settings: &Settings,
    (section, key): (&str, &str),
    causes: &[&Setting],
    why: &str,
) -> Option<Problem> {
    let setting = one(settings, section, key)?;
    if says_nothing(&setting.value) || !causes.iter().all(|cause| stands(setting, Some(cause))) {
        return None;
    }
    let name = name_of(key, &setting.origin);
    let problem = Problem::new(setting.origin.clone(), format!("{name} has no effect, as {why}"));
    Some(problem.help("leave out the one or the other"))
}

/// Whether a value switches something off, or says nothing.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Integer(number) => *number == 0,
        Value::Boolean(is_on) => !is_on,
        Value::Text(text) => text.is_empty(),
        Value::List(_) => false,
    }
}

/// Returns the value of a limit, or its default.
fn limit(settings: &Settings, key: &str) -> u64 {
    match one(settings, "limits", key) {
        Some(Setting { value: Value::Integer(number), .. }) => *number,
        _ => Limits::default().get(key).unwrap_or(u64::MAX),
    }
}

/// Reports settings about the disk if the broker keeps nothing on disk.
fn check_in_memory(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(in_memory) = one(settings, "storage", "in_memory") else { return };
    if in_memory.value != Value::Boolean(true) {
        return;
    }
    let keys = ["path", "durability", "interval_ms", "segment_bytes"];
    let storage = keys.map(|key| (key, one(settings, "storage", key)));
    let limit = [("store_bytes_max", one(settings, "limits", "store_bytes_max"))];
    let listeners = settings.tables("listener").iter();
    let listeners = listeners.map(|table| ("durability", table.get("durability")));
    let rules = settings.tables("durability").iter().map(|table| ("level", table.get("level")));
    for (key, setting) in storage.into_iter().chain(limit).chain(listeners).chain(rules) {
        let Some(setting) = setting else { continue };
        let is_memory = setting.value == Value::Text("memory".into());
        if is_memory || !stands(setting, Some(in_memory)) {
            continue;
        }
        let (name, cause) =
            (name_of(key, &setting.origin), name_of("in_memory", &in_memory.origin));
        let message = format!("{name} has no effect, as {cause} is true: nothing is kept on disk");
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("leave out the one or the other"));
    }
}

/// Reports an interval that no durability uses.
fn check_interval(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(interval) = one(settings, "storage", "interval_ms") else { return };
    // A wrong durability was reported already; one from a source above may have replaced
    // "interval".
    let is_interval = |table: &Table, key: &str| match (table.text(key), table.get(key)) {
        (Some(level), setting) => level == "interval" || !stands(interval, setting),
        (None, _) => table.has(key),
    };
    let sections = [("storage", "durability"), ("listener", "durability"), ("durability", "level")];
    let mut levels = sections.into_iter().flat_map(|(section, key)| {
        settings.tables(section).iter().map(move |table| is_interval(table, key))
    });
    let in_memory = one(settings, "storage", "in_memory");
    if levels.any(|is_interval| is_interval) || in_memory.is_some() {
        return;
    }
    let message = "`interval_ms` has no effect, as no durability is \"interval\"";
    let problem = Problem::new(interval.origin.clone(), message);
    problems.push(problem.help("write durability = \"interval\", or leave it out"));
}
