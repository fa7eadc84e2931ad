//! What has to hold between values: required keys are there, captures exist. The rules for
//! listeners are in [`listener_rules`]; [`effect_rules`] finds keys without effect.

use midge_core::counted;

use super::access_rules;
use super::effect_rules;
use super::listener_rules;
use super::problem::Problem;
use super::schema::{Default, Schema, Section};
use super::settings::{Settings, Table};
use super::value::Value;

/// Checks values against each other; each value on its own was checked before.
pub(crate) fn check(schema: &Schema, settings: &Settings, problems: &mut Vec<Problem>) {
    for section in &schema.sections {
        for table in settings.tables(section.name) {
            check_required(section, table, problems);
            check_lists(section, table, problems);
        }
    }
    if let Some(section) = schema.section("listener") {
        listener_rules::check(section, settings.tables("listener"), problems);
    }
    for table in settings.tables("rewrite") {
        check_captures(table, problems);
    }
    for table in settings.tables("auto_subscribe") {
        check_shared(table, problems);
    }
    access_rules::check(settings, problems);
    effect_rules::check(settings, problems);
}

fn check_required(section: &Section, table: &Table, problems: &mut Vec<Problem>) {
    for key in &section.keys {
        if let Default::Required(example) = &key.default
            && !table.has(key.name)
        {
            let message = format!("this {} has no `{}`", section.header(), key.name);
            let problem = Problem::new(table.origin.clone(), message);
            problems.push(problem.help(format!("for example: {} = {example}", key.name)));
        }
    }
}

/// Reports an item that a list has twice, because it counts only once. `tls.key` may repeat an
/// item: it has a key for each certificate.
fn check_lists(section: &Section, table: &Table, problems: &mut Vec<Problem>) {
    for key in section.keys.iter().filter(|key| key.name != "tls.key") {
        let (Some(items), Some(setting)) = (table.list(key.name), table.get(key.name)) else {
            continue;
        };
        let mut places = items.iter().enumerate();
        if let Some((_, twice)) = places.find(|(place, item)| items[..*place].contains(item)) {
            let message = format!("`{}` has {twice:?} twice", key.name);
            problems.push(Problem::new(setting.origin.clone(), message).help("write it once"));
        }
    }
}

/// Reports a rewrite rule whose target names a wildcard that its filter does not have: it would
/// never be applied.
fn check_captures(table: &Table, problems: &mut Vec<Problem>) {
    let (Some(from), Some(to), Some(setting)) =
        (table.text("from"), table.text("to"), table.get("to"))
    else {
        return;
    };
    let wildcards = from.split('/').filter(|level| matches!(*level, "+" | "#")).count();
    let numbers = to.split('$').skip(1).filter_map(|rest| {
        let digits = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        rest[..digits].parse::<usize>().ok()
    });
    if let Some(number) = numbers.filter(|&number| number > wildcards).max() {
        let wildcards = counted(wildcards, "wildcard");
        let message = format!("`to` has ${number}, but `from` has {wildcards}");
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("$1 stands for what the first wildcard of `from` matches"));
    }
}

/// Reports options that a shared subscription cannot have: No Local is a Protocol Error there
/// [MQTT-3.8.3-4], and it gets no retained messages.
fn check_shared(table: &Table, problems: &mut Vec<Problem>) {
    let Some(filter) = table.text("filter") else { return };
    if !filter.starts_with("$share/") && !filter.starts_with("$queue/") {
        return;
    }
    if let Some(no_local) = table.get("no_local").filter(|it| it.value == Value::Boolean(true)) {
        let message = "`no_local` is not possible on a shared subscription";
        problems.push(Problem::new(no_local.origin.clone(), message));
    }
    if let Some(retain_handling) = table.get("retain_handling") {
        let message = "`retain_handling` has no effect on a shared subscription, which gets no \
                       retained messages";
        let problem = Problem::new(retain_handling.origin.clone(), message);
        problems.push(problem.help("leave it out"));
    }
}
