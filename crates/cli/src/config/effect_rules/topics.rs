//! Topics and Topic Filters of rules: those that are never matched, never reached or never allowed.

use super::super::filters::{DELAYED, FILTER_KINDS, covers, is_reserved, overlap};
use super::super::problem::Problem;
use super::super::settings::{Settings, Table};
use super::super::value::Value;
use super::{delays, limit, one, stands};

/// Where a bridge publishes below `$SYS`.
const BRIDGE_STATES: &str = "$SYS/broker/connection/";

/// The Topic Filter of a bridge's topics there.
const BRIDGE_STATE_FILTER: &str = "$SYS/broker/connection/+/state";

pub(super) fn check(settings: &Settings, problems: &mut Vec<Problem>) {
    check_response_prefix(settings, problems);
    problems.extend(check_response_levels(settings));
    check_prefixes(settings.tables("rewrite"), "from", problems);
    check_prefixes(settings.tables("durability"), "filter", problems);
    check_own_topics(settings.tables("durability"), problems);
    let rewrites = settings.tables("rewrite");
    for (index, table) in rewrites.iter().enumerate() {
        check_rewrite(table, problems);
        problems.extend(delays::check(settings, table));
        problems.extend(check_same(table, &rewrites[index + 1..]));
    }
    check_order(rewrites, "from", have_the_same_kinds, problems);
    check_order(settings.tables("durability"), "filter", |_, _| true, problems);
    let automatic = settings.tables("auto_subscribe");
    check_twice(automatic, problems);
    for table in automatic {
        problems.extend(check_automatic(settings, table));
        problems.extend(check_automatic_own(settings, table));
    }
    problems.extend(check_count(settings, automatic));
    check_all_levels(settings, problems);
}

/// Whether a rewrite rule applies to Topic Filters, too.
fn rewrites_filters(rule: &Table) -> bool {
    rule.boolean("subscribe").unwrap_or(true)
}

/// Whether a rewrite rule may turn the filter of a subscription into another one.
pub(super) fn may_be_rewritten(settings: &Settings, filter: &str) -> bool {
    // A variable may stand for anything.
    let levels = plain_filter(filter).split('/');
    let levels = levels.map(|level| if level.contains("${") { "+" } else { level });
    let filter = levels.collect::<Vec<_>>().join("/");
    let mut rules = settings.tables("rewrite").iter().filter(|rule| rewrites_filters(rule));
    rules.any(|rule| rule.text("from").is_none_or(|from| overlap(from, &filter)))
}

/// Reports a rewrite rule that can never be applied.
fn check_rewrite(table: &Table, problems: &mut Vec<Problem>) {
    let flag = |key: &str| table.boolean(key).unwrap_or(true);
    let (publish, subscribe) = (flag("publish"), flag("subscribe"));
    let is_wrong = |key: &str| table.has(key) && table.get(key).is_none();
    if is_wrong("publish") || is_wrong("subscribe") {
        return;
    }
    if !publish && !subscribe {
        let message = "this rule has no effect: `publish` and `subscribe` are both false";
        let problem = Problem::new(table.origin.clone(), message);
        return problems.push(problem.help("make one of them true, or leave the rule out"));
    }
    let (Some(to), Some(setting)) = (table.text("to"), table.get("to")) else { return };
    let mut complain = |message: String, help: &str| {
        problems.push(Problem::new(setting.origin.clone(), message).help(help));
    };
    if publish && to.split('/').any(|level| matches!(level, "+" | "#")) {
        let message = "`to` has a wildcard: no Topic Name can be rewritten to that".to_string();
        complain(message, "write $1, $2... for what `from` matches, or publish = false");
    }
    let first = to.split('/').next().unwrap_or_default();
    if FILTER_KINDS.contains(&first) {
        let message = format!(
            "`to` begins with {first}/: a rule cannot make a subscription shared or \
                               exclusive, so it would never be applied"
        );
        complain(message, "write the topic only; a shared subscription keeps its $share/NAME/");
    }
    if publish && is_reserved(to) && !may_be_bridge_state(to) {
        let message = "`to` is a topic of the broker's own: whatever is published there is refused";
        complain(message.to_string(), "choose another topic, or write publish = false");
    }
    if let Some(number) = numbers(to).find(|number| !number.parse().is_ok_and(|it: usize| it > 0)) {
        let message = format!("`to` has ${number}, which stands for nothing");
        complain(message, "$1 stands for what the first wildcard of `from` matches");
    }
    if to.contains("${") {
        let message = "`to` has ${...}, but there are no variables here".to_string();
        complain(message, "$1, $2... stand for what the wildcards of `from` match");
    }
}

/// Whether a filter is about topics where bridges publish their state.
fn may_be_of_bridges(filter: &str) -> bool {
    filter.starts_with(BRIDGE_STATES) || overlap(filter, BRIDGE_STATE_FILTER)
}

/// Whether a message for `to` may end up where bridges publish their state.
fn may_be_bridge_state(to: &str) -> bool {
    let end = to.match_indices('$').map(|(at, _)| at).find(|at| *at > 0);
    let literal = &to[..end.unwrap_or(to.len())];
    literal.starts_with(BRIDGE_STATES) || end.is_some() && BRIDGE_STATES.starts_with(literal)
}

/// The digits behind each `$` that is followed by digits.
fn numbers(to: &str) -> impl Iterator<Item = &str> {
    let digits = to.split('$').skip(1).map(|rest| {
        let end = rest.find(|char: char| !char.is_ascii_digit()).unwrap_or(rest.len());
        &rest[..end]
    });
    digits.filter(|digits| !digits.is_empty())
}

/// Reports a rule that changes nothing, unless it keeps its topics from rules behind it.
fn check_same(table: &Table, behind: &[Table]) -> Option<Problem> {
    let (from, to) = (table.text("from")?, table.text("to")?);
    let mut count = 0;
    let levels = from.split('/').map(|level| match level {
        "+" | "#" => {
            count += 1;
            format!("${count}")
        }
        _ => level.to_string(),
    });
    if levels.collect::<Vec<_>>().join("/") != to {
        return None;
    }
    let is_kept_from = |rule: &Table| rule.text("from").is_none_or(|other| overlap(from, other));
    if behind.iter().any(is_kept_from) {
        return None;
    }
    let message = "this rule has no effect: it gives topics the name that they have";
    let problem = Problem::new(table.get("to")?.origin.clone(), message);
    Some(problem.help("leave it out; it would only keep topics from rules below it"))
}

/// Reports topics with more levels than a topic may have. Levels are counted after rewriting.
fn check_all_levels(settings: &Settings, problems: &mut Vec<Problem>) {
    let mut check = |table: &Table, key: &str, topic: Option<&str>| {
        problems.extend(topic.and_then(|topic| check_levels(settings, table, key, topic)));
    };
    for rule in settings.tables("rewrite") {
        check(rule, "to", rule.text("to").and_then(delays::undelayed));
    }
    for rule in settings.tables("durability") {
        // `#` matches the level above it, too.
        let filter = rule.text("filter");
        check(rule, "filter", filter.map(|it| it.strip_suffix("/#").unwrap_or(it)));
    }
    for table in settings.tables("auto_subscribe") {
        let filter = table.text("filter").filter(|it| !may_be_rewritten(settings, it));
        check(table, "filter", filter.map(plain_filter));
    }
}

fn check_levels(settings: &Settings, table: &Table, key: &str, topic: &str) -> Option<Problem> {
    let (text, setting) = (table.text(key)?, table.get(key)?);
    let levels_max = limit(settings, "topic_levels_max");
    let levels = topic.split('/').count() as u64;
    let stands = stands(setting, one(settings, "limits", "topic_levels_max"));
    if levels <= levels_max || !stands {
        return None;
    }
    let message = format!(
        "{text:?} has {levels} levels, but no topic may have more than `topic_levels_max` \
         ({levels_max})"
    );
    let help = "make `topic_levels_max` larger, or leave the rule out";
    Some(Problem::new(setting.origin.clone(), message).help(help))
}

/// Returns the filter behind `$share/NAME/`, `$queue/` or `$exclusive/`.
fn plain_filter(filter: &str) -> &str {
    match filter.split_once('/') {
        Some(("$share", rest)) => rest.split_once('/').map_or(rest, |(_, filter)| filter),
        Some(("$queue" | "$exclusive", rest)) => rest,
        _ => filter,
    }
}

/// Reports a subscription that nothing is ever sent for, or that nobody can have.
fn check_automatic(settings: &Settings, table: &Table) -> Option<Problem> {
    let (filter, setting) = (table.text("filter")?, table.get("filter")?);
    if may_be_rewritten(settings, filter) {
        return None;
    }
    let plain = plain_filter(filter);
    let first = plain.split('/').next().unwrap_or_default();
    let problem = |message: String, help: &str| {
        Some(Problem::new(setting.origin.clone(), message).help(help))
    };
    if first == "$delayed" {
        let message = format!(
            "nothing is ever sent for {filter:?}: a delayed message has the topic behind \
             $delayed/SECONDS/"
        );
        return problem(message, "write the topic only");
    }
    if FILTER_KINDS.contains(&first) {
        let message = format!("nobody can subscribe to {filter:?}: no topic begins with {first}/");
        return problem(message, "write one of $share/NAME/, $queue/ and $exclusive/, once");
    }
    None
}

/// Reports a subscription to the broker's own topics if it tells nothing there.
fn check_automatic_own(settings: &Settings, table: &Table) -> Option<Problem> {
    let (filter, setting) = (table.text("filter")?, table.get("filter")?);
    let interval = one(settings, "sys_topics", "interval_seconds");
    let is_off =
        interval.is_some_and(|it| it.value == Value::Integer(0)) && stands(setting, interval);
    let plain = plain_filter(filter);
    let is_own = plain.split('/').next() == Some("$SYS") && !may_be_of_bridges(plain);
    if !is_off || !is_own || may_be_rewritten(settings, filter) {
        return None;
    }
    let message = format!(
        "nothing is ever sent for {filter:?}, as `interval_seconds` of [sys_topics] is 0: the \
         broker publishes nothing there"
    );
    Some(Problem::new(setting.origin.clone(), message).help("leave out the one or the other"))
}

/// Reports the first subscription beyond those that a Session may have.
fn check_count(settings: &Settings, automatic: &[Table]) -> Option<Problem> {
    let key = "subscriptions_per_session_max";
    let most = usize::try_from(limit(settings, key)).ok()?;
    // Not every Client has a user name, and two filters may be rewritten to the same one.
    let is_everybodys = |(_, table): &(usize, &Table)| {
        let filter = table.text("filter");
        filter.is_some_and(|it| !it.contains("${") && !may_be_rewritten(settings, it))
    };
    let mut everybodys = automatic.iter().enumerate().filter(is_everybodys);
    let (last, _) = everybodys.nth(most.checked_sub(1)?)?;
    let beyond = automatic.get(last + 1)?;
    if !stands(beyond.get("filter")?, one(settings, "limits", key)) {
        return None;
    }
    let message = format!("nobody gets this subscription, as a Session may have {most} (`{key}`)");
    let problem = Problem::new(beyond.origin.clone(), message);
    Some(problem.help("make that larger, as Clients have subscriptions of their own"))
}

/// Reports a rule for topics that only the broker publishes to.
fn check_own_topics(tables: &[Table], problems: &mut Vec<Problem>) {
    for table in tables {
        let (Some(filter), Some(setting)) = (table.text("filter"), table.get("filter")) else {
            continue;
        };
        if is_reserved(filter) && !may_be_of_bridges(filter) {
            let message = format!(
                "{filter:?} is about the broker's own topics, which no store keeps; of Clients, \
                 only bridges publish there, to {BRIDGE_STATES}NAME/state"
            );
            let problem = Problem::new(setting.origin.clone(), message);
            let help = format!("write {BRIDGE_STATES}+/state for bridges, or leave the rule out");
            problems.push(problem.help(help));
        }
    }
}

/// Reports a prefix below which no answer could be published, because Client Identifiers add a
/// level to it.
fn check_response_levels(settings: &Settings) -> Option<Problem> {
    let setting = one(settings, "requests", "response_prefix")?;
    let Value::Text(prefix) = &setting.value else { return None };
    let levels = prefix.split('/').count() as u64 + 1;
    let levels_max = limit(settings, "topic_levels_max");
    let stands = stands(setting, one(settings, "limits", "topic_levels_max"));
    if prefix.is_empty() || levels <= levels_max || !stands {
        return None;
    }
    let message = format!(
        "nobody could answer at `response_prefix`/CLIENT-IDENTIFIER: that has {levels} levels, but \
         no topic may have more than `topic_levels_max` ({levels_max})"
    );
    let help = "make `topic_levels_max` larger, or write a prefix with fewer levels";
    Some(Problem::new(setting.origin.clone(), message).help(help))
}

/// Reports a prefix that Clients cannot publish to, because Response Information has to name a
/// topic that they can.
fn check_response_prefix(settings: &Settings, problems: &mut Vec<Problem>) {
    let Some(setting) = one(settings, "requests", "response_prefix") else { return };
    let Value::Text(prefix) = &setting.value else { return };
    let first = prefix.split('/').next().unwrap_or_default();
    if is_reserved(prefix) || first == "$delayed" || FILTER_KINDS.contains(&first) {
        let message = format!(
            "`response_prefix` is {prefix:?}, but topics that begin with {first}/ are the \
             broker's: nobody could answer there"
        );
        let problem = Problem::new(setting.origin.clone(), message);
        problems.push(problem.help("for example: response_prefix = \"response\""));
    }
}

/// Reports filters that begin with a prefix. Rules are compared with topics as they are published
/// or subscribed to, without prefixes. Only a rule for subscriptions alone can have a use for
/// `$delayed/`.
fn check_prefixes(tables: &[Table], key: &str, problems: &mut Vec<Problem>) {
    for table in tables {
        let (Some(filter), Some(setting)) = (table.text(key), table.get(key)) else { continue };
        if filter.starts_with(DELAYED) && table.boolean("publish") == Some(false) {
            continue;
        }
        let prefixes = ["$share/", "$queue/", "$exclusive/", DELAYED];
        if let Some(prefix) = prefixes.into_iter().find(|prefix| filter.starts_with(prefix)) {
            let message = format!("this rule is never applied: no topic begins with {prefix}");
            let problem = Problem::new(setting.origin.clone(), message);
            problems.push(problem.help("write the topic behind it"));
        }
    }
}

/// Whether `earlier` rewrites every kind that `later` does: Topic Names and Topic Filters.
fn have_the_same_kinds(earlier: &Table, later: &Table) -> bool {
    ["publish", "subscribe"]
        .into_iter()
        .all(|key| earlier.boolean(key).unwrap_or(true) || !later.boolean(key).unwrap_or(true))
}

/// Reports rules that are never reached: the first rule that matches counts, so that a rule behind
/// one that matches all of its topics has no effect.
fn check_order(
    tables: &[Table],
    key: &str,
    counts: impl Fn(&Table, &Table) -> bool,
    problems: &mut Vec<Problem>,
) {
    for (index, later) in tables.iter().enumerate() {
        let (Some(filter), Some(setting)) = (later.text(key), later.get(key)) else { continue };
        let mut earlier = tables[..index].iter().filter(|earlier| counts(earlier, later));
        let above =
            earlier.find_map(|earlier| earlier.text(key).filter(|earlier| covers(earlier, filter)));
        if let Some(above) = above {
            let message = format!(
                "this rule is never reached: the rule for {above:?} above it matches all topics of \
                 {filter:?}"
            );
            let problem = Problem::new(setting.origin.clone(), message);
            problems.push(problem.help("put it above that rule, or leave it out"));
        }
    }
}

/// Reports a filter that is subscribed to twice: the second subscription replaces the first one.
fn check_twice(tables: &[Table], problems: &mut Vec<Problem>) {
    for (index, table) in tables.iter().enumerate() {
        let (Some(filter), Some(setting)) = (table.text("filter"), table.get("filter")) else {
            continue;
        };
        if tables[..index].iter().any(|earlier| earlier.text("filter") == Some(filter)) {
            let message = format!("{filter:?} is subscribed to twice; only the last one counts");
            problems.push(Problem::new(setting.origin.clone(), message));
        }
    }
}
