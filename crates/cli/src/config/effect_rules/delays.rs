//! Rewrite rules that make messages delayed ones: those whose messages would all be refused.

use super::super::filters::DELAYED;
use super::super::problem::Problem;
use super::super::settings::{Settings, Table};
use super::super::value::Value;
use super::{limit, one, stands};

/// Checks a rewrite rule whose `to` begins with `$delayed`.
pub(super) fn check(settings: &Settings, table: &Table) -> Option<Problem> {
    let (to, setting) = (table.text("to")?, table.get("to")?);
    if to.split('/').next() != Some("$delayed") {
        return None;
    }
    let problem = |message: String, help: &str| {
        Some(Problem::new(setting.origin.clone(), message).help(help))
    };
    if table.boolean("publish") == Some(false) {
        if table.boolean("subscribe") == Some(false) {
            return None; // reported as a rule that has no effect
        }
        let message = "`to` begins with $delayed/: nobody can subscribe to that";
        return problem(message.to_string(), "write the topic only");
    }
    if !may_be_delay(to, table.text("from").unwrap_or_default()) {
        let message = "`to` is not of the form $delayed/SECONDS/TOPIC: nobody can publish there";
        let help = match to.contains("$1") {
            true => "`#` of `from` stands for several levels, `+` for one",
            false => "for example: to = \"$delayed/60/a\"",
        };
        return problem(message.to_string(), help);
    }
    let seconds_max = limit(settings, "delay_seconds_max");
    let limit_setting = one(settings, "limits", "delay_seconds_max");
    let seconds = to.strip_prefix(DELAYED)?.split('/').next()?;
    let is_beyond = seconds.parse().unwrap_or(u64::MAX) > seconds_max;
    if is_number(seconds) && is_beyond && stands(setting, limit_setting) {
        let message = format!(
            "`to` delays messages by more than `delay_seconds_max` ({seconds_max}): nobody can \
             publish there"
        );
        return problem(message, "write fewer seconds, or make `delay_seconds_max` larger");
    }
    let zero = ["delayed_messages_max", "delayed_bytes_max"].into_iter().find(|key| {
        let limit = one(settings, "limits", key);
        let is_zero = limit.is_some_and(|limit| limit.value == Value::Integer(0));
        is_zero && stands(setting, limit)
    })?;
    let message = format!("`to` delays messages, but `{zero}` is 0: all of them would be refused");
    problem(message, "leave out the one or the other")
}

/// Returns the part of `to` whose levels are those of the topic; `None` if only a message tells
/// which they are.
pub(super) fn undelayed(to: &str) -> Option<&str> {
    let Some(rest) = to.strip_prefix(DELAYED) else { return Some(to) };
    let (seconds, topic) = rest.split_once('/')?;
    seconds.parse::<u32>().is_ok().then_some(topic)
}

/// Whether `to` is of the form `$delayed/SECONDS/TOPIC` for some topic that `from` matches.
fn may_be_delay(to: &str, from: &str) -> bool {
    let wildcards: Vec<_> = from.split('/').filter(|it| matches!(*it, "+" | "#")).collect();
    // What a wildcard can stand for at best: digits are good as seconds and as a topic, and only
    // `#` can give both.
    let mut example = to.to_string();
    for (index, wildcard) in wildcards.iter().enumerate().rev() {
        let match_at_best = if *wildcard == "#" { "1/1" } else { "1" };
        example = example.replace(&format!("${}", index + 1), match_at_best);
    }
    // A `$N` without its wildcard is reported as such.
    if example[1..].contains('$') {
        return true;
    }
    let parts = example.strip_prefix(DELAYED).and_then(|rest| rest.split_once('/'));
    parts.is_some_and(|(seconds, topic)| is_number(seconds) && !topic.is_empty())
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
